#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "order_line.h"

static int32_t make(struct folder *folder, const char *path, cdtx_error *err) {
    const char *place = getenv("TMPDIR");
    if (place == NULL || place[0] == '\0')
        place = "/tmp";
    int length = path != NULL ? snprintf(folder->path, sizeof folder->path, "%s", path)
                              : snprintf(folder->path, sizeof folder->path, "%s/order-demo-XXXXXX", place);
    if (length <= 0 || (size_t)length >= sizeof folder->path)
        return say_no(err, CDTX_INVALID, "the folder's name is empty or over %zu bytes", sizeof folder->path - 1);
    if (path == NULL) {
        folder->temporary = 1;
        if (mkdtemp(folder->path) == NULL)
            return say_no(err, CDTX_IO, "no temporary folder in %s: %s", place, strerror(errno));
    } else if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return say_no(err, CDTX_IO, "folder %s cannot be made: %s", path, strerror(errno));
    }
    return 0;
}

int32_t folder_take(struct folder *folder, const char *path, cdtx_error *err) {
    char name[sizeof folder->path + 16];
    *folder = (struct folder){.lock = -1};
    int32_t rc = make(folder, path, err);
    if (rc != 0)
        return rc;
    (void)snprintf(name, sizeof name, "%s/demo.lock", folder->path);
    folder->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (folder->lock < 0)
        rc = say_no(err, CDTX_IO, "folder %s cannot be written: %s", folder->path, strerror(errno));
    else if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0)
        rc = say_no(err, CDTX_BUSY, "folder %s is in use by another demo", folder->path);
    if (rc != 0)
        folder_drop(folder);
    return rc;
}

static void empty(const char *path) {
    DIR *list = opendir(path);
    if (list == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;)
        (void)unlinkat(dirfd(list), entry->d_name, 0);
    (void)closedir(list);
}

void folder_drop(struct folder *folder) {
    if (folder->temporary) {
        empty(folder->path);
        (void)rmdir(folder->path);
    }
    if (folder->lock >= 0)
        (void)close(folder->lock);
    folder->lock = -1;
}
