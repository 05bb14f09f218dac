/* The SQL port for SQLite: its table, opening and closing, and the ends of transactions. */
#include "adapter/sqlite.h"

/* Pages in the log before tidy moves them into the database file; and how often a sharer looks, since the pages of
 * others are not counted here. */
enum { WAL_PAGES_MAX = 1000, LOOK_US = 1000000 };

static void free_connection(struct sqlite *self) {
    const cdtx_env *env = self->env;
    cdtx__sqlite_disconnect(self);
    cdtx__sqlite_disown(self);
    cdtx__free(env, self->row, self->row_room * sizeof *self->row);
    cdtx__sqlite_url_free(env, &self->url);
    cdtx__free(env, self, sizeof *self);
}

static int32_t open_connection(const cdtx_env *env, const char *url, void **connection, cdtx_error *err) {
    if (sqlite3_threadsafe() == 0)
        return cdtx__fail(err, CDTX_UNSUPPORTED, "this SQLite was built without threads");
    struct sqlite *self = cdtx__alloc(env, sizeof *self);
    if (self == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a connection to '%s'", url);
    self->env = env;
    list_init(&self->used);
    int32_t rc = cdtx__sqlite_url_read(env, url, &self->url, err);
    if (rc != 0)
        goto out;
    self->vfs = sqlite3_vfs_find(self->url.vfs);
    if (self->vfs == NULL) {
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "SQLite has no file system named '%s'",
                        self->url.vfs != NULL ? self->url.vfs : "default");
        goto out;
    }
    rc = cdtx__sqlite_connect(self, err);
    if (rc == 0)
        rc = cdtx__sqlite_settle(self, 0, err);
out:
    if (rc == 0)
        *connection = self;
    else
        free_connection(self);
    return rc;
}

static void close_connection(void *connection) {
    struct sqlite *self = connection;
    if (!self->stopped)
        cdtx__sqlite_roll_back(self);
    /* Leaves one file behind if nobody else is connected. After a failed sync the log is the only truth: it stays. */
    if (self->db != NULL && !self->stopped && self->ownership >= CDTX_OWN_FIRST)
        sqlite3_db_config(self->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    free_connection(self);
}

static int32_t control(struct sqlite *self, enum sqlite_control which, cdtx_error *err) {
    int rc = cdtx__sqlite_control(self, which);
    return rc == SQLITE_OK ? 0 : cdtx__sqlite_fail(self, rc, err);
}

static int32_t needs_transaction(struct sqlite *self, cdtx_error *err) {
    int32_t rc = cdtx__sqlite_stopped(self, err);
    if (rc == 0 && !cdtx__sqlite_in_transaction(self))
        rc = cdtx__fail(err, CDTX_MISUSE, "no transaction is open in database '%s'", self->url.path);
    return rc;
}

static int32_t begin(void *connection, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = cdtx__sqlite_stopped(self, err);
    if (rc != 0)
        return rc;
    if (self->ownership == CDTX_OWN_NONE && !self->url.read)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s' is open for reading only; own it first", self->url.path);
    if (cdtx__sqlite_in_transaction(self))
        return cdtx__fail(err, CDTX_MISUSE, "a transaction is open in database '%s' already", self->url.path);
    self->savepoint = 0;
    rc = control(self, CONTROL_BEGIN, err);
    if (rc != 0)
        cdtx__sqlite_roll_back(self);
    return rc;
}

static int32_t in_transaction(void *connection) {
    return cdtx__sqlite_in_transaction(connection);
}

static int32_t needs_savepoint(struct sqlite *self, cdtx_error *err) {
    int32_t rc = needs_transaction(self, err);
    if (rc == 0 && !self->savepoint)
        rc = cdtx__fail(err, CDTX_MISUSE, "no savepoint is open in database '%s'", self->url.path);
    return rc;
}

static int32_t savepoint(void *connection, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = needs_transaction(self, err);
    if (rc != 0)
        return rc;
    if (self->savepoint)
        return cdtx__fail(err, CDTX_MISUSE, "a savepoint is open in database '%s' already", self->url.path);
    rc = control(self, CONTROL_SAVEPOINT, err);
    self->savepoint = rc == 0;
    return rc;
}

/* Each rider was whole when it was released, so any open foreign key is this one's. */
static int32_t release(void *connection, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = needs_savepoint(self, err);
    if (rc != 0)
        return rc;
    int unmet = 0, most = 0;
    if (sqlite3_db_status(self->db, SQLITE_DBSTATUS_DEFERRED_FKS, &unmet, &most, 0) != SQLITE_OK || unmet != 0)
        return cdtx__fail(err, CDTX_SQL, "FOREIGN KEY constraint failed: a deferred one is unmet at the end");
    rc = control(self, CONTROL_RELEASE, err);
    self->savepoint = rc != 0;
    return rc;
}

static int32_t undo(void *connection, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = needs_savepoint(self, err);
    if (rc != 0)
        return rc;
    rc = control(self, CONTROL_UNDO, err);
    if (rc != 0)
        cdtx__sqlite_roll_back(self); /* half undone must not be committed */
    return rc;
}

/* A definite no, for reasons of SQLite's order of work at COMMIT in WAL mode (README, S6): deferred constraints and
 * statements in progress are looked at before anything is written; and a disk that is full stops in the middle of a
 * frame, the commit frame being the last one written. The latter only where a frame is not written twice to fill a
 * sector. Whatever else fails may fail after the commit frame has reached the file. */
static int is_definite(struct sqlite *self, int result) {
    sqlite3_file *file = NULL;
    switch (result & 0xff) {
    case SQLITE_CONSTRAINT:
    case SQLITE_BUSY:
        return 1;
    case SQLITE_FULL:
        return sqlite3_file_control(self->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
               (file->pMethods->xDeviceCharacteristics(file) & SQLITE_IOCAP_POWERSAFE_OVERWRITE) != 0;
    default:
        return 0;
    }
}

static int32_t commit(void *connection, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = needs_transaction(self, err);
    if (rc != 0)
        return rc;
    int result = cdtx__sqlite_control(self, CONTROL_COMMIT);
    if (result == SQLITE_OK)
        return 0;
    if (is_definite(self, result)) {
        rc = cdtx__sqlite_fail(self, result, err);
        cdtx__sqlite_roll_back(self);
        return rc;
    }
    rc = cdtx__fail(err, CDTX_UNKNOWN, "a commit to database '%s' failed and may have happened: %s (SQLite result %d)",
                    self->url.path, sqlite3_errmsg(self->db), result);
    cdtx__sqlite_roll_back(self);
    self->stopped = 1;
    return rc;
}

static void rollback(void *connection) {
    struct sqlite *self = connection;
    cdtx__sqlite_roll_back(self);
}

static int32_t checkpoint(struct sqlite *self, cdtx_error *err) {
    int pages = 0, done = 0;
    self->tidied_us = cdtx__now_us(self->env);
    int result = sqlite3_wal_checkpoint_v2(self->db, "main", SQLITE_CHECKPOINT_PASSIVE, &pages, &done);
    if ((result & 0xff) == SQLITE_BUSY)
        return 0; /* somebody else's tool does it */
    if ((result & 0xff) == SQLITE_IOERR && result != SQLITE_IOERR_NOMEM) {
        self->stopped = 1; /* which write or sync failed is not told; none may be tried again */
        return cdtx__fail(err, CDTX_STOPPED,
                          "database '%s' stopped itself: its checkpoint failed: %s (SQLite result "
                          "%d)",
                          self->url.path, sqlite3_errmsg(self->db), result);
    }
    if (result != SQLITE_OK)
        return cdtx__sqlite_fail(self, result, err);
    self->wal_pages = pages;
    self->wal_done = done;
    return 0;
}

static int32_t tidy(void *connection, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = cdtx__sqlite_stopped(self, err);
    if (rc != 0)
        return rc;
    if (cdtx__sqlite_in_transaction(self))
        return cdtx__fail(err, CDTX_MISUSE, "a transaction is open in database '%s'", self->url.path);
    cdtx__sqlite_promote(self);
    if (self->ownership < CDTX_OWN_FIRST)
        return 0;
    int look = self->ownership == CDTX_OWN_FIRST && cdtx__now_us(self->env) - self->tidied_us >= LOOK_US;
    return look || self->wal_pages - self->wal_done > WAL_PAGES_MAX ? checkpoint(self, err) : 0;
}

const cdtx_sql_port cdtx__sqlite_port = {
    .size = sizeof cdtx__sqlite_port,
    .scheme = "sqlite",
    .open = open_connection,
    .close = close_connection,
    .own = cdtx__sqlite_own,
    .begin = begin,
    .exec = cdtx__sqlite_exec,
    .in_transaction = in_transaction,
    .savepoint = savepoint,
    .release = release,
    .undo = undo,
    .commit = commit,
    .rollback = rollback,
    .tidy = tidy,
    .inspect = cdtx__sqlite_inspect,
};
