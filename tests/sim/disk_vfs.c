#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk_inner.h"

enum { PATH_MAX_BYTES = 512, SECTOR = 4096 };

static struct handle *handle_of(sqlite3_file *file) {
    return (struct handle *)(void *)file;
}

/* ---- faults ---- */

/* Shows the call to the hook and carries out what may happen before it. DISK_DIE_BEFORE: the life is dead now, and what
 * it had open is cut off. */
static int ask(struct disk_life *life, enum disk_op op, const char *file, int64_t offset, int64_t length) {
    struct disk *disk = life->disk;
    struct disk_call call = {.op = op, .life = life, .file = file, .offset = offset, .length = length};
    call.index = disk->shown++;
    disk->counts.calls[op]++;
    if (disk->fault == NULL)
        return DISK_PASS;
    int verdict = disk->fault(disk->fault_user, &call);
    if (verdict != DISK_PASS)
        disk->counts.faults++;
    if (verdict == DISK_DIE_BEFORE)
        disk_kill_life(life);
    return life->dead ? DISK_DIE_BEFORE : verdict;
}

static int ask_file(struct handle *handle, enum disk_op op, int64_t offset, int64_t length) {
    return ask(handle->life, op, handle->entry == NULL ? "" : handle->entry->name, offset, length);
}

static int goes_on(int verdict) {
    return verdict == DISK_PASS || verdict == DISK_LIE || verdict == DISK_DIE_AFTER;
}

/* Ends a call that had its effect. */
static int ended(struct disk_life *life, int verdict, int result, int io_error) {
    if (verdict != DISK_DIE_AFTER)
        return result;
    disk_kill_life(life);
    return io_error;
}

/* ---- bytes ---- */

static int file_read(sqlite3_file *file, void *into, int amount, sqlite3_int64 at) {
    struct handle *handle = handle_of(file);
    struct disk_life *life = handle->life;
    int verdict = ask_file(handle, DISK_READ, at, amount);
    if (!goes_on(verdict))
        return SQLITE_IOERR_READ;
    bytes_read(&handle->node->cached, at, into, (size_t)amount);
    int whole = at + amount <= handle->node->cached.size;
    return ended(life, verdict, whole ? SQLITE_OK : SQLITE_IOERR_SHORT_READ, SQLITE_IOERR_READ);
}

static int file_write(sqlite3_file *file, const void *from, int amount, sqlite3_int64 at) {
    struct handle *handle = handle_of(file);
    struct disk_life *life = handle->life;
    int verdict = ask_file(handle, DISK_WRITE, at, amount);
    if (verdict == DISK_FAIL_FULL)
        return SQLITE_FULL;
    size_t length = (size_t)amount;
    if (verdict == DISK_SHORT_WRITE)
        length = (size_t)prng_below(&life->disk->prng, length);
    else if (!goes_on(verdict))
        return SQLITE_IOERR_WRITE;
    if (length > 0)
        disk__write(handle->node, at, from, length);
    life->disk->counts.bytes_written += length;
    return ended(life, verdict, verdict == DISK_SHORT_WRITE ? SQLITE_FULL : SQLITE_OK, SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
    struct handle *handle = handle_of(file);
    struct disk_life *life = handle->life;
    int verdict = ask_file(handle, DISK_TRUNCATE, size, 0);
    if (!goes_on(verdict))
        return SQLITE_IOERR_TRUNCATE;
    disk__truncate(handle->node, size);
    return ended(life, verdict, SQLITE_OK, SQLITE_IOERR_TRUNCATE);
}

static int file_sync(sqlite3_file *file, int flags) {
    struct handle *handle = handle_of(file);
    struct disk_life *life = handle->life;
    (void)flags;
    int verdict = ask_file(handle, DISK_SYNC, 0, 0);
    if (verdict == DISK_FAIL_SYNC)
        disk__fail_sync(life->disk, handle->node);
    if (!goes_on(verdict))
        return SQLITE_IOERR_FSYNC;
    if (verdict == DISK_LIE)
        return SQLITE_OK;
    disk__sync(handle->node);
    if (handle->syncs_directory)
        disk__sync_directory(life->disk);
    handle->syncs_directory = 0;
    return ended(life, verdict, SQLITE_OK, SQLITE_IOERR_FSYNC);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
    *size = handle_of(file)->node->cached.size;
    return SQLITE_OK;
}

/* ---- file locks, as SQLite's unix VFS grants them: its own records within a process, fcntl between processes ---- */

/* What others hold on the file. */
struct rivals {
    int mine;     /* strongest lock of the same life */
    int theirs;   /* strongest lock of other lives */
    int reserved; /* somebody has the reserved byte */
};

static struct rivals rivals_of(const struct handle *handle) {
    struct rivals rivals = {0};
    const struct list *head = &handle->node->handles;
    for (struct list *link = head->next; link != head; link = link->next) {
        const struct handle *other = LIST_OF(link, struct handle, in_node);
        int *strongest = other->life == handle->life ? &rivals.mine : &rivals.theirs;
        if (other == handle)
            continue;
        if (other->level > *strongest)
            *strongest = other->level;
        rivals.reserved |= other->reserved;
    }
    return rivals;
}

static int may_share(const struct rivals *rivals) {
    /* A process that reads already lets its other connections read, whoever waits outside. */
    if (rivals->mine == SQLITE_LOCK_SHARED || rivals->mine == SQLITE_LOCK_RESERVED)
        return 1;
    return rivals->mine < SQLITE_LOCK_PENDING && rivals->theirs < SQLITE_LOCK_PENDING;
}

/* A writer that must wait for readers keeps PENDING, so that no new ones come. */
static int may_exclude(struct handle *handle, const struct rivals *rivals) {
    if (rivals->mine > SQLITE_LOCK_SHARED || rivals->theirs >= SQLITE_LOCK_PENDING)
        return 0;
    handle->level = SQLITE_LOCK_PENDING;
    return rivals->mine == SQLITE_LOCK_NONE && rivals->theirs == SQLITE_LOCK_NONE;
}

static int file_lock(sqlite3_file *file, int level) {
    struct handle *handle = handle_of(file);
    if (handle->level >= level)
        return SQLITE_OK;
    struct rivals rivals = rivals_of(handle);
    if (level == SQLITE_LOCK_SHARED && !may_share(&rivals))
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_RESERVED && (rivals.mine > SQLITE_LOCK_SHARED || rivals.reserved))
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_EXCLUSIVE && !may_exclude(handle, &rivals))
        return SQLITE_BUSY;
    handle->reserved |= level == SQLITE_LOCK_RESERVED;
    handle->level = level;
    return SQLITE_OK;
}

static int file_unlock(sqlite3_file *file, int level) {
    struct handle *handle = handle_of(file);
    if (handle->level > level) {
        handle->level = level;
        handle->reserved = 0;
    }
    return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *file, int *reserved) {
    struct handle *handle = handle_of(file);
    struct rivals rivals = rivals_of(handle);
    *reserved = handle->level > SQLITE_LOCK_SHARED || rivals.mine > SQLITE_LOCK_SHARED || rivals.reserved;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *argument) {
    struct handle *handle = handle_of(file);
    int *number = argument;
    switch (op) {
    case SQLITE_FCNTL_LOCKSTATE:
        *number = handle->level;
        return SQLITE_OK;
    case SQLITE_FCNTL_PERSIST_WAL:
        if (*number < 0)
            *number = handle->keeps_wal;
        else
            handle->keeps_wal = *number;
        return SQLITE_OK;
    case SQLITE_FCNTL_HAS_MOVED:
        *number = handle->entry != NULL && handle->entry->cached != handle->node;
        return SQLITE_OK;
    case SQLITE_FCNTL_VFSNAME:
        *(char **)argument = sqlite3_mprintf("%s", handle->life->name);
        return SQLITE_OK;
    case SQLITE_FCNTL_SIZE_HINT:
        return SQLITE_OK;
    default:
        return SQLITE_NOTFOUND;
    }
}

static int file_sector_size(sqlite3_file *file) {
    (void)file;
    return SECTOR;
}

static int file_characteristics(sqlite3_file *file) {
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- WAL shared memory ---- */

static void shm_join(struct handle *handle, int region_size) {
    struct node *node = handle->node;
    if (node->shm == NULL) {
        node->shm = bytes_alloc(sizeof *node->shm);
        node->shm->fd = memfd_create("sim-shm", MFD_CLOEXEC);
        node->shm->region_size = region_size;
    }
    node->shm->users++;
    handle->shm = node->shm;
    handle->region_size = region_size;
}

/* The last one to leave takes the contents with it, as SQLite truncates a shared-memory file that nobody uses. */
static void shm_leave(struct handle *handle) {
    struct shm *shm = handle->shm;
    handle->shm = NULL;
    handle->shared = handle->exclusive = 0;
    if (shm == NULL || --shm->users > 0)
        return;
    handle->node->shm = NULL;
    close(shm->fd);
    free(shm->saved);
    free(shm);
}

static void unmap(struct handle *handle) {
    for (int i = 0; i < handle->region_count; i++)
        munmap(handle->regions[i], (size_t)handle->region_size);
    free(handle->regions);
    handle->regions = NULL;
    handle->region_count = 0;
}

static int map_next(struct handle *handle) {
    size_t size = (size_t)handle->region_size, count = (size_t)handle->region_count;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, handle->shm->fd, (off_t)(count * size));
    if (map == MAP_FAILED)
        return SQLITE_IOERR_SHMMAP;
    void **regions = bytes_alloc((count + 1) * sizeof(void *));
    if (count > 0)
        memcpy(regions, handle->regions, count * sizeof(void *));
    free(handle->regions);
    regions[count] = map;
    handle->regions = regions;
    handle->region_count++;
    return SQLITE_OK;
}

static int shm_region(struct handle *handle, int region, int extend, void volatile **map) {
    struct shm *shm = handle->shm;
    if (region >= shm->regions) {
        if (!extend)
            return SQLITE_OK;
        if (ftruncate(shm->fd, (off_t)(region + 1) * shm->region_size) != 0)
            return SQLITE_IOERR_SHMSIZE;
        shm->regions = region + 1;
    }
    while (handle->region_count <= region)
        if (map_next(handle) != SQLITE_OK)
            return SQLITE_IOERR_SHMMAP;
    *map = handle->regions[region];
    return SQLITE_OK;
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **map) {
    struct handle *handle = handle_of(file);
    struct disk_life *life = handle->life;
    *map = NULL;
    int verdict = ask_file(handle, DISK_SHM_MAP, region, size);
    if (!goes_on(verdict))
        return SQLITE_IOERR_SHMMAP;
    if (handle->shm == NULL)
        shm_join(handle, size);
    int result = shm_region(handle, region, extend, map);
    if (verdict == DISK_DIE_AFTER)
        *map = NULL;
    return ended(life, verdict, result, SQLITE_IOERR_SHMMAP);
}

static int file_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    struct handle *handle = handle_of(file);
    uint32_t mask = ((UINT32_C(1) << count) - 1) << offset;
    if (flags & SQLITE_SHM_UNLOCK) {
        handle->shared &= ~mask;
        handle->exclusive &= ~mask;
        return SQLITE_OK;
    }
    uint32_t against = 0;
    const struct list *head = &handle->node->handles;
    for (struct list *link = head->next; link != head; link = link->next) {
        const struct handle *other = LIST_OF(link, struct handle, in_node);
        if (other != handle)
            against |= other->exclusive | ((flags & SQLITE_SHM_EXCLUSIVE) ? other->shared : 0);
    }
    if (against & mask)
        return SQLITE_BUSY;
    if (flags & SQLITE_SHM_EXCLUSIVE)
        handle->exclusive |= mask;
    else
        handle->shared |= mask;
    return SQLITE_OK;
}

static void file_shm_barrier(sqlite3_file *file) {
    (void)file; /* one OS thread */
}

static int file_shm_unmap(sqlite3_file *file, int delete) {
    struct handle *handle = handle_of(file);
    (void)delete;
    unmap(handle);
    shm_leave(handle);
    return SQLITE_OK;
}

/* ---- closing and dying ---- */

static void leave(struct handle *handle) {
    shm_leave(handle);
    list_remove(&handle->in_life);
    list_remove(&handle->in_node);
    disk__node_drop(handle->node);
    handle->node = NULL;
    handle->entry = NULL;
    handle->life = NULL;
}

static int file_close(sqlite3_file *file) {
    struct handle *handle = handle_of(file);
    if (handle->deletes && handle->entry != NULL && handle->entry->cached == handle->node)
        disk__name(handle->entry, NULL);
    unmap(handle);
    leave(handle);
    return SQLITE_OK;
}

static int dead_close(sqlite3_file *file) {
    unmap(handle_of(file));
    return SQLITE_OK;
}

static int dead_read(sqlite3_file *file, void *into, int amount, sqlite3_int64 at) {
    (void)file, (void)into, (void)amount, (void)at;
    return SQLITE_IOERR_READ;
}

static int dead_write(sqlite3_file *file, const void *from, int amount, sqlite3_int64 at) {
    (void)file, (void)from, (void)amount, (void)at;
    return SQLITE_IOERR_WRITE;
}

static int dead_truncate(sqlite3_file *file, sqlite3_int64 size) {
    (void)file, (void)size;
    return SQLITE_IOERR_TRUNCATE;
}

static int dead_sync(sqlite3_file *file, int flags) {
    (void)file, (void)flags;
    return SQLITE_IOERR_FSYNC;
}

static int dead_size(sqlite3_file *file, sqlite3_int64 *size) {
    (void)file, (void)size;
    return SQLITE_IOERR_FSTAT;
}

static int dead_lock(sqlite3_file *file, int level) {
    (void)file, (void)level;
    return SQLITE_IOERR_LOCK;
}

static int dead_unlock(sqlite3_file *file, int level) {
    (void)file, (void)level;
    return SQLITE_IOERR_UNLOCK;
}

static int dead_check_reserved(sqlite3_file *file, int *reserved) {
    (void)file, (void)reserved;
    return SQLITE_IOERR_CHECKRESERVEDLOCK;
}

static int dead_control(sqlite3_file *file, int op, void *argument) {
    (void)file, (void)op, (void)argument;
    return SQLITE_IOERR;
}

static int dead_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **map) {
    (void)file, (void)region, (void)size, (void)extend;
    *map = NULL;
    return SQLITE_IOERR_SHMMAP;
}

static int dead_shm_lock(sqlite3_file *file, int offset, int count, int flags) {
    (void)file, (void)offset, (void)count, (void)flags;
    return SQLITE_IOERR_SHMLOCK;
}

static int dead_shm_unmap(sqlite3_file *file, int delete) {
    (void)delete;
    unmap(handle_of(file));
    return SQLITE_OK;
}

static const sqlite3_io_methods alive = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static const sqlite3_io_methods dead = {
    .iVersion = 2,
    .xClose = dead_close,
    .xRead = dead_read,
    .xWrite = dead_write,
    .xTruncate = dead_truncate,
    .xSync = dead_sync,
    .xFileSize = dead_size,
    .xLock = dead_lock,
    .xUnlock = dead_unlock,
    .xCheckReservedLock = dead_check_reserved,
    .xFileControl = dead_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = dead_shm_map,
    .xShmLock = dead_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = dead_shm_unmap,
};

/* The dead connection still has pointers into shared memory, and writes through them even while it is closed. Each
 * region becomes a private copy at the same address. */
static void cut_off(struct handle *handle) {
    size_t size = (size_t)handle->region_size;
    void *copy = handle->region_count == 0 ? NULL : bytes_alloc(size);
    for (int i = 0; i < handle->region_count; i++) {
        memcpy(copy, handle->regions[i], size);
        if (mmap(handle->regions[i], size, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
            handle->regions[i])
            abort();
        memcpy(handle->regions[i], copy, size);
    }
    free(copy);
}

void disk__handle_bury(struct handle *handle) {
    cut_off(handle);
    leave(handle);
    handle->base.pMethods = &dead;
}

/* ---- fork ---- */

void disk_before_fork(struct disk *disk) {
    for (struct entry *entry = disk->entries; entry != NULL; entry = entry->next) {
        struct shm *shm = entry->cached == NULL ? NULL : entry->cached->shm;
        if (shm == NULL)
            continue;
        size_t size = (size_t)shm->regions * (size_t)shm->region_size;
        free(shm->saved);
        shm->saved = bytes_alloc(size + 1);
        if (pread(shm->fd, shm->saved, size, 0) != (ssize_t)size)
            abort();
    }
}

static void renew(struct node *node) {
    struct shm *shm = node->shm;
    size_t size = (size_t)shm->regions * (size_t)shm->region_size;
    close(shm->fd);
    shm->fd = memfd_create("sim-shm", MFD_CLOEXEC);
    if (ftruncate(shm->fd, (off_t)size) != 0 || pwrite(shm->fd, shm->saved, size, 0) != (ssize_t)size)
        abort();
    for (struct list *link = node->handles.next; link != &node->handles; link = link->next) {
        struct handle *handle = LIST_OF(link, struct handle, in_node);
        size_t region = (size_t)handle->region_size;
        for (int i = 0; handle->shm == shm && i < handle->region_count; i++)
            if (mmap(handle->regions[i], region, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_SHARED, shm->fd,
                     (off_t)((size_t)i * region)) != handle->regions[i])
                abort();
    }
}

void disk_in_child(struct disk *disk) {
    for (struct entry *entry = disk->entries; entry != NULL; entry = entry->next)
        if (entry->cached != NULL && entry->cached->shm != NULL)
            renew(entry->cached);
}

/* ---- the VFS ---- */

static struct disk_life *life_of(sqlite3_vfs *vfs) {
    return vfs->pAppData;
}

/* The file of that name, made if asked for; NULL: none. */
static struct node *open_node(struct disk *disk, const char *name, int flags, struct entry **entry) {
    if (name == NULL) {
        struct node *node = disk__node_new();
        node->temporary = 1;
        return node;
    }
    *entry = disk__entry(disk, name);
    int creates = (flags & SQLITE_OPEN_CREATE) != 0;
    if ((*entry)->cached != NULL)
        return creates && (flags & SQLITE_OPEN_EXCLUSIVE) ? NULL : (*entry)->cached;
    if (!creates)
        return NULL;
    disk__name(*entry, disk__node_new());
    return (*entry)->cached;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out) {
    static const int journals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
    struct disk_life *life = life_of(vfs);
    struct handle *handle = handle_of(file);
    file->pMethods = NULL;
    if (life->dead)
        return SQLITE_IOERR;
    int verdict = ask(life, DISK_OPEN, name == NULL ? "" : name, 0, 0);
    if (!goes_on(verdict))
        return verdict == DISK_DIE_BEFORE ? SQLITE_IOERR : SQLITE_CANTOPEN;
    struct entry *entry = NULL;
    struct node *node = open_node(life->disk, name, flags, &entry);
    if (verdict == DISK_DIE_AFTER || node == NULL) {
        if (node != NULL && node->temporary) {
            node->uses++;
            disk__node_drop(node);
        }
        return ended(life, verdict, SQLITE_CANTOPEN, SQLITE_IOERR);
    }
    *handle = (struct handle){.base.pMethods = &alive, .life = life, .node = node, .entry = entry};
    handle->syncs_directory = (flags & SQLITE_OPEN_CREATE) != 0 && (flags & journals) != 0;
    handle->deletes = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    node->uses++;
    list_push(&life->handles, &handle->in_life);
    list_push(&node->handles, &handle->in_node);
    if (flags_out != NULL)
        *flags_out = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory) {
    struct disk_life *life = life_of(vfs);
    if (life->dead)
        return SQLITE_IOERR_DELETE;
    int verdict = ask(life, DISK_DELETE, name, 0, 0);
    if (!goes_on(verdict))
        return SQLITE_IOERR_DELETE;
    struct entry *entry = disk__entry(life->disk, name);
    if (entry->cached == NULL)
        return ended(life, verdict, SQLITE_IOERR_DELETE_NOENT, SQLITE_IOERR_DELETE);
    disk__name(entry, NULL);
    if (sync_directory)
        disk__sync_directory(life->disk);
    return ended(life, verdict, SQLITE_OK, SQLITE_IOERR_DELETE);
}

/* Like the unix VFS, an empty file does not count as existing. */
static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    struct disk_life *life = life_of(vfs);
    if (life->dead)
        return SQLITE_IOERR_ACCESS;
    const struct node *node = disk__entry(life->disk, name)->cached;
    *result = node != NULL && (flags != SQLITE_ACCESS_EXISTS || node->cached.size > 0);
    return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int size, char *full) {
    (void)vfs;
    return snprintf(full, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *bytes) {
    prng_bytes(&life_of(vfs)->disk->prng, bytes, (size_t)size);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return microseconds;
}

/* Milliseconds of the Julian day. */
static int vfs_time_int(sqlite3_vfs *vfs, sqlite3_int64 *now) {
    const struct disk *disk = life_of(vfs)->disk;
    int64_t wall_us = disk->wall_us == NULL ? INT64_C(946684800000000) : disk->wall_us(disk->clock_user);
    *now = wall_us / 1000 + INT64_C(210866760000000);
    return SQLITE_OK;
}

static int vfs_time(sqlite3_vfs *vfs, double *now) {
    sqlite3_int64 milliseconds;
    vfs_time_int(vfs, &milliseconds);
    *now = (double)milliseconds / 86400000.0;
    return SQLITE_OK;
}

void disk__vfs_init(struct disk_life *life) {
    life->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)sizeof(struct handle),
        .mxPathname = PATH_MAX_BYTES,
        .zName = life->name,
        .pAppData = life,
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xRandomness = vfs_random,
        .xSleep = vfs_sleep,
        .xCurrentTime = vfs_time,
        .xCurrentTimeInt64 = vfs_time_int,
    };
}
