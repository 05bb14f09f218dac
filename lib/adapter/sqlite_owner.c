/* Becoming a writer: the owner lock, and the repair of what a failed sync of an earlier process may have left.
 *
 * The lock is on a side file of its own, PATH-owner, taken with SQLite's lock levels through SQLite's file system: so
 * the kernel frees it when the process dies, another engine in this process conflicts too, and the simulator sees it.
 * Alone is EXCLUSIVE. Sharers hold SHARED, and the one that also has RESERVED checkpoints. The file is never deleted:
 * a process that still had the old one open would own it beside us. */
#include "adapter/sqlite.h"

enum { REWRITE_CHUNK = 65536, OWNED_RETRY_MS = 100 };
/* A sharer that opens tries to be alone, and keeps the others out for that moment: so often they come again at once. */
enum { SHARER_RETRY_MS = 5, SHARER_TRIES = 25 };

/* ---- locks ---- */

/* From no lock up to level, as SQLite's protocol wants it; all or nothing, also when a PENDING lock remained. */
static int climb(sqlite3_file *file, int level) {
    static const int levels[] = {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE};
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof levels / sizeof levels[0] && levels[i] <= level; i++)
        rc = file->pMethods->xLock(file, levels[i]);
    if (rc != SQLITE_OK)
        file->pMethods->xUnlock(file, SQLITE_LOCK_NONE);
    return rc;
}

void cdtx__sqlite_disown(struct sqlite *self) {
    self->ownership = CDTX_OWN_NONE;
    if (self->owner == NULL)
        return;
    if (self->owner->pMethods != NULL) {
        self->owner->pMethods->xUnlock(self->owner, SQLITE_LOCK_NONE);
        self->owner->pMethods->xClose(self->owner);
    }
    cdtx__free(self->env, self->owner, (size_t)self->vfs->szOsFile);
    self->owner = NULL;
    sqlite3_free_filename(self->owner_name);
    self->owner_name = NULL;
}

static int32_t lock_failed(struct sqlite *self, int result, cdtx_error *err) {
    if ((result & 0xff) == SQLITE_NOMEM || result == SQLITE_IOERR_NOMEM)
        return cdtx__sqlite_fail(self, result, err);
    return cdtx__fail(err, CDTX_IO, "the owner lock '%s-owner' cannot be taken: %s (SQLite result %d)", self->url.path,
                      sqlite3_errstr(result), result);
}

static int32_t open_owner_file(struct sqlite *self, cdtx_error *err) {
    const char *path = sqlite3_db_filename(self->db, "main");
    char *side = sqlite3_mprintf("%s-owner", path);
    if (side != NULL)
        self->owner_name = sqlite3_create_filename(side, "", "", 0, NULL);
    sqlite3_free(side);
    if (self->owner_name != NULL)
        self->owner = cdtx__alloc(self->env, (size_t)self->vfs->szOsFile);
    if (self->owner == NULL) {
        sqlite3_free_filename(self->owner_name);
        self->owner_name = NULL;
        return lock_failed(self, SQLITE_NOMEM, err);
    }
    /* As a main database, since SQLite's file system locks no other kind. */
    int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, got = 0;
    int rc = self->vfs->xOpen(self->vfs, self->owner_name, self->owner, flags, &got);
    if (rc == SQLITE_OK && (got & SQLITE_OPEN_READONLY) != 0)
        rc = SQLITE_READONLY;
    return rc == SQLITE_OK ? 0 : lock_failed(self, rc, err);
}

/* With SHARED held. Whether others are here already shows by trying to be alone; that leaves the lock as it was. */
static int32_t share_lock(sqlite3_file *owner) {
    if (owner->pMethods->xLock(owner, SQLITE_LOCK_RESERVED) != SQLITE_OK)
        return CDTX_OWN_SHARED;
    int alone = owner->pMethods->xLock(owner, SQLITE_LOCK_EXCLUSIVE) == SQLITE_OK;
    owner->pMethods->xUnlock(owner, SQLITE_LOCK_SHARED);
    if (owner->pMethods->xLock(owner, SQLITE_LOCK_RESERVED) != SQLITE_OK)
        return CDTX_OWN_SHARED;
    return alone ? CDTX_OWN_FIRST : CDTX_OWN_HEIR;
}

static int32_t take_lock(struct sqlite *self, int32_t *ownership, cdtx_error *err) {
    int32_t rc = open_owner_file(self, err);
    if (rc != 0)
        return rc;
    int result = climb(self->owner, self->url.share ? SQLITE_LOCK_SHARED : SQLITE_LOCK_EXCLUSIVE);
    int moment = self->url.share && self->owner_tries < SHARER_TRIES;
    self->owner_tries++;
    if ((result & 0xff) == SQLITE_BUSY)
        return cdtx__busy(err, moment ? SHARER_RETRY_MS : OWNED_RETRY_MS, "database '%s' has another owner",
                          self->url.path);
    if (result != SQLITE_OK)
        return lock_failed(self, result, err);
    *ownership = CDTX_OWN_ALONE;
    if (!self->url.share)
        return 0;
    *ownership = share_lock(self->owner);
    return 0;
}

void cdtx__sqlite_promote(struct sqlite *self) {
    if (self->ownership == CDTX_OWN_SHARED &&
        self->owner->pMethods->xLock(self->owner, SQLITE_LOCK_RESERVED) == SQLITE_OK)
        self->ownership = CDTX_OWN_FIRST;
}

/* ---- repair ---- */

/* After a failed sync the page cache may hold, as clean, bytes that the disk never got. SQLite reads them as committed;
 * a power cut would take them away, and every later commit behind them. Written again they are dirty again, and the
 * sync reaches them. */
static int rewrite(struct sqlite *self, sqlite3_file *file) {
    sqlite3_int64 size = 0;
    int rc = file->pMethods->xFileSize(file, &size);
    if (rc != SQLITE_OK || size == 0)
        return rc;
    void *chunk = cdtx__alloc(self->env, REWRITE_CHUNK);
    if (chunk == NULL)
        return SQLITE_NOMEM;
    for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += REWRITE_CHUNK) {
        int length = size - at < REWRITE_CHUNK ? (int)(size - at) : REWRITE_CHUNK;
        rc = file->pMethods->xRead(file, chunk, length, at);
        if (rc == SQLITE_OK)
            rc = file->pMethods->xWrite(file, chunk, length, at);
    }
    if (rc == SQLITE_OK)
        rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    cdtx__free(self->env, chunk, REWRITE_CHUNK);
    return rc;
}

/* Nobody is connected: before SQLite reads the log, since a page that is clean may be dropped at any time, and the
 * disk's older bytes would stand where SQLite has seen newer ones. */
static int rewrite_offline(struct sqlite *self) {
    const char *name = sqlite3_filename_wal(sqlite3_db_filename(self->db, "main"));
    int exists = 0;
    int rc = self->vfs->xAccess(self->vfs, name, SQLITE_ACCESS_EXISTS, &exists);
    if (rc != SQLITE_OK || !exists)
        return rc;
    sqlite3_file *wal = cdtx__alloc(self->env, (size_t)self->vfs->szOsFile);
    if (wal == NULL)
        return SQLITE_NOMEM;
    int got = 0;
    rc = self->vfs->xOpen(self->vfs, name, wal, SQLITE_OPEN_WAL | SQLITE_OPEN_READWRITE, &got);
    if (rc == SQLITE_OK && (got & SQLITE_OPEN_READONLY) != 0)
        rc = SQLITE_READONLY;
    if (rc == SQLITE_OK)
        rc = rewrite(self, wal);
    if (wal->pMethods != NULL)
        wal->pMethods->xClose(wal);
    cdtx__free(self->env, wal, (size_t)self->vfs->szOsFile);
    return rc;
}

/* Others are connected, readers or sharers: under SQLite's write lock, so that nobody appends meanwhile. The bytes are
 * the same, so reading goes on. */
static int rewrite_online(struct sqlite *self) {
    sqlite3_file *wal = NULL;
    int rc = cdtx__sqlite_control(self, CONTROL_BEGIN);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_file_control(self->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (rc == SQLITE_OK && wal != NULL && wal->pMethods != NULL)
        rc = rewrite(self, wal);
    cdtx__sqlite_roll_back(self);
    return rc;
}

/* The database's own lock tells whether anybody is connected, since in WAL mode each connection holds SHARED. We have
 * not read yet, so SQLite holds none on this file and does not notice. */
static int repair_before_reading(struct sqlite *self, int *done) {
    sqlite3_file *file = NULL;
    int rc = sqlite3_file_control(self->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc != SQLITE_OK)
        return rc;
    rc = climb(file, SQLITE_LOCK_EXCLUSIVE);
    *done = rc == SQLITE_OK;
    if ((rc & 0xff) == SQLITE_BUSY)
        return SQLITE_OK;
    if (rc != SQLITE_OK)
        return rc;
    rc = rewrite_offline(self);
    int unlocked = file->pMethods->xUnlock(file, SQLITE_LOCK_NONE);
    return rc != SQLITE_OK ? rc : unlocked;
}

/* A fresh connection, so that nothing this one has read before can be older than the repair. */
static int32_t reconnect(struct sqlite *self, cdtx_error *err) {
    cdtx__sqlite_disconnect(self);
    int32_t rc = cdtx__sqlite_connect(self, err);
    if (rc != 0)
        return rc;
    int done = 0;
    int result = repair_before_reading(self, &done);
    if (result != SQLITE_OK)
        return cdtx__sqlite_fail(self, result, err);
    rc = cdtx__sqlite_settle(self, 1, err);
    if (rc != 0 || done)
        return rc;
    result = rewrite_online(self);
    return result == SQLITE_OK ? 0 : cdtx__sqlite_fail(self, result, err);
}

int32_t cdtx__sqlite_own(void *connection, int32_t *ownership, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = cdtx__sqlite_stopped(self, err), got = CDTX_OWN_NONE;
    if (rc != 0)
        return rc;
    if (self->ownership != CDTX_OWN_NONE)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s' is owned by this connection already", self->url.path);
    if (self->url.read) {
        *ownership = CDTX_OWN_NONE;
        return 0;
    }
    rc = take_lock(self, &got, err);
    if (rc == 0)
        rc = reconnect(self, err);
    if (rc != 0) {
        cdtx__sqlite_disown(self);
        return rc;
    }
    self->ownership = got == CDTX_OWN_HEIR ? CDTX_OWN_FIRST : got;
    *ownership = got;
    return 0;
}
