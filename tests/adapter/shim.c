#include "shim.h"

#include <stdlib.h>
#include <string.h>

struct shim shim;

struct shim_handle {
    sqlite3_file base;
    int file;
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *real_vfs;

static struct shim_handle *handle_of(sqlite3_file *file) {
    return (struct shim_handle *)(void *)file;
}

static int note(const struct shim_handle *handle, int op, sqlite3_int64 at, int length, int same) {
    if (shim.count < SHIM_EVENTS_MAX)
        shim.events[shim.count] =
            (struct shim_event){.op = op, .file = handle->file, .at = at, .length = length, .same = same};
    shim.count++;
    if (shim.fail_nth == 0 || (shim.fail_op != SHIM_ANY && shim.fail_op != op) ||
        (shim.fail_file != SHIM_ALL && shim.fail_file != handle->file))
        return SQLITE_OK;
    if (--shim.fail_nth > 0)
        return SQLITE_OK;
    shim.failed = 1;
    if (shim.fail_result != 0)
        return shim.fail_result;
    return op == SHIM_READ ? SQLITE_IOERR_READ : op == SHIM_WRITE ? SQLITE_IOERR_WRITE : SQLITE_IOERR_FSYNC;
}

static int shim_close(sqlite3_file *file) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xClose(real);
}

static int shim_read(sqlite3_file *file, void *into, int length, sqlite3_int64 at) {
    sqlite3_file *real = handle_of(file)->real;
    int rc = note(handle_of(file), SHIM_READ, at, length, 0);
    return rc != SQLITE_OK ? rc : real->pMethods->xRead(real, into, length, at);
}

static int stands_there(sqlite3_file *real, const void *bytes, int length, sqlite3_int64 at) {
    void *old = malloc((size_t)length);
    int same = old != NULL && real->pMethods->xRead(real, old, length, at) == SQLITE_OK &&
               memcmp(old, bytes, (size_t)length) == 0;
    free(old);
    return same;
}

static int shim_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 at) {
    sqlite3_file *real = handle_of(file)->real;
    int rc = note(handle_of(file), SHIM_WRITE, at, length, stands_there(real, bytes, length, at));
    int written = rc == SQLITE_OK || shim.writes_anyway ? real->pMethods->xWrite(real, bytes, length, at) : SQLITE_OK;
    return rc != SQLITE_OK ? rc : written;
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xTruncate(real, size);
}

static int shim_sync(sqlite3_file *file, int flags) {
    sqlite3_file *real = handle_of(file)->real;
    int rc = note(handle_of(file), SHIM_SYNC, 0, 0, 0);
    return rc != SQLITE_OK ? rc : real->pMethods->xSync(real, flags);
}

static int shim_size(sqlite3_file *file, sqlite3_int64 *size) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xFileSize(real, size);
}

static int shim_lock(sqlite3_file *file, int level) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xLock(real, level);
}

static int shim_unlock(sqlite3_file *file, int level) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xUnlock(real, level);
}

static int shim_reserved(sqlite3_file *file, int *reserved) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xCheckReservedLock(real, reserved);
}

static int shim_control(sqlite3_file *file, int op, void *argument) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xFileControl(real, op, argument);
}

static int shim_sector(sqlite3_file *file) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xSectorSize(real);
}

static int shim_characteristics(sqlite3_file *file) {
    sqlite3_file *real = handle_of(file)->real;
    int all = real->pMethods->xDeviceCharacteristics(real);
    return shim.not_powersafe ? all & ~SQLITE_IOCAP_POWERSAFE_OVERWRITE : all;
}

static int shim_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **map) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xShmMap(real, region, size, extend, map);
}

static int shim_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xShmLock(real, offset, count, flags);
}

static void shim_shm_barrier(sqlite3_file *file) {
    sqlite3_file *real = handle_of(file)->real;
    real->pMethods->xShmBarrier(real);
}

static int shim_shm_unmap(sqlite3_file *file, int delete) {
    sqlite3_file *real = handle_of(file)->real;
    return real->pMethods->xShmUnmap(real, delete);
}

#define FILE_METHODS                                                                                                   \
    .xClose = shim_close, .xRead = shim_read, .xWrite = shim_write, .xTruncate = shim_truncate, .xSync = shim_sync,    \
    .xFileSize = shim_size, .xLock = shim_lock, .xUnlock = shim_unlock, .xCheckReservedLock = shim_reserved,           \
    .xFileControl = shim_control, .xSectorSize = shim_sector, .xDeviceCharacteristics = shim_characteristics

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    FILE_METHODS,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static const sqlite3_io_methods methods_without_shm = {.iVersion = 1, FILE_METHODS};

static int kind_of(const char *name, int flags) {
    const char *dash = name == NULL ? NULL : strrchr(name, '-');
    if (dash != NULL && strcmp(dash, "-owner") == 0)
        return SHIM_OWNER;
    if (flags & SQLITE_OPEN_WAL)
        return SHIM_WAL;
    return flags & SQLITE_OPEN_MAIN_DB ? SHIM_DB : SHIM_OTHER;
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *got) {
    (void)vfs;
    struct shim_handle *handle = handle_of(file);
    memset(handle, 0, (size_t)vfs->szOsFile);
    handle->real = (sqlite3_file *)(void *)(handle + 1);
    handle->file = kind_of(name, flags);
    int rc = real_vfs->xOpen(real_vfs, name, handle->real, flags, got);
    if (handle->real->pMethods != NULL)
        handle->base.pMethods = shim.no_shared_memory ? &methods_without_shm : &methods;
    return rc;
}

void shim_reset(void) {
    static sqlite3_vfs vfs;
    memset(&shim, 0, sizeof shim);
    if (real_vfs != NULL)
        return;
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "shim";
    vfs.pNext = NULL;
    vfs.szOsFile = (int)sizeof(struct shim_handle) + real_vfs->szOsFile;
    vfs.xOpen = shim_open;
    sqlite3_vfs_register(&vfs, 0);
}

void shim_fail(int op, int file, uint64_t nth, int result) {
    shim.fail_op = op;
    shim.fail_file = file;
    shim.fail_nth = nth;
    shim.fail_result = result;
    shim.failed = 0;
}

uint32_t shim_count(int op, int file) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < shim.count && i < SHIM_EVENTS_MAX; i++)
        found += (op == SHIM_ANY || shim.events[i].op == op) && (file == SHIM_ALL || shim.events[i].file == file);
    return found;
}
