/* Preloaded into a program: from the sync numbered BAD_SYNC on, the disk says no. */
#include <errno.h>
#include <stdlib.h>

static int says_no(void) {
    static int count;
    const char *from = getenv("BAD_SYNC");
    return from != NULL && __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) >= atoi(from);
}

/* Nothing in these tests needs a sync to be real: no power is cut. */
static int answer(void) {
    if (!says_no())
        return 0;
    errno = EIO;
    return -1;
}

int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd) {
    (void)fd;
    return answer();
}

int fdatasync(int fd) {
    (void)fd;
    return answer();
}
