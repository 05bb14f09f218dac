/* Opening the file, and the settings that make its commits durable. */
#include "adapter/sqlite.h"

static int count_pages(void *connection, sqlite3 *db, const char *database, int pages) {
    (void)db;
    (void)database;
    struct sqlite *self = connection;
    if (pages < self->wal_done)
        self->wal_done = 0; /* the log began anew */
    self->wal_pages = pages;
    return SQLITE_OK;
}

/* Settings that need no look into the file. Nobody but tidy checkpoints: not SQLite after a commit, and not a reader
 * that happens to close last. */
static int configure(struct sqlite *self) {
    static const struct {
        int option, value;
    } settings[] = {
        {SQLITE_DBCONFIG_ENABLE_FKEY, 1},      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_DEFENSIVE, 1},        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        int value = -1;
        int rc = sqlite3_db_config(self->db, settings[i].option, settings[i].value, &value);
        if (rc != SQLITE_OK || value != settings[i].value)
            return rc != SQLITE_OK ? rc : SQLITE_ERROR;
    }
    sqlite3_extended_result_codes(self->db, 1);
    sqlite3_busy_timeout(self->db, 0);
    sqlite3_wal_autocheckpoint(self->db, 0);
    sqlite3_wal_hook(self->db, count_pages, self);
    sqlite3_set_authorizer(self->db, cdtx__sqlite_authorize, self);
    self->ours = 1;
    return cdtx__sqlite_prepare_controls(self);
}

static int folder_exists(const struct sqlite *self) {
    const char *path = self->url.path, *slash = strrchr(path, '/');
    if (slash == NULL)
        return 1;
    int exists = 0;
    char *folder = sqlite3_mprintf("%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (folder == NULL || self->vfs->xAccess(self->vfs, folder, SQLITE_ACCESS_EXISTS, &exists) != SQLITE_OK)
        exists = 1; /* not known to be missing */
    sqlite3_free(folder);
    return exists;
}

static int32_t cannot_open(struct sqlite *self, int rc, cdtx_error *err) {
    const char *path = self->url.path;
    if (self->db == NULL || (rc & 0xff) == SQLITE_NOMEM)
        return cdtx__fail(err, CDTX_NO_MEMORY, "database '%s': SQLite has no memory", path);
    if (rc == SQLITE_CANTOPEN_ISDIR)
        return cdtx__fail(err, CDTX_IO, "'%s' is a folder, not a database", path);
    if ((rc & 0xff) == SQLITE_CANTOPEN && !folder_exists(self))
        return cdtx__fail(err, CDTX_NOT_FOUND, "the folder of database '%s' does not exist", path);
    return cdtx__sqlite_fail(self, rc, err);
}

int32_t cdtx__sqlite_connect(struct sqlite *self, cdtx_error *err) {
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= self->url.read ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int32_t rc;
    int result = sqlite3_open_v2(self->url.path, &self->db, flags, self->vfs->zName);
    if (result != SQLITE_OK) {
        rc = cannot_open(self, result, err);
        goto out;
    }
    if (!self->url.read && sqlite3_db_readonly(self->db, "main") != 0) {
        rc = cdtx__fail(err, CDTX_IO, "database '%s' is read-only", self->url.path);
        goto out;
    }
    result = configure(self);
    rc = result == SQLITE_OK ? 0 : cdtx__sqlite_fail(self, result, err);
out:
    if (rc != 0)
        cdtx__sqlite_disconnect(self);
    return rc;
}

void cdtx__sqlite_disconnect(struct sqlite *self) {
    cdtx__sqlite_forget_statements(self);
    INVARIANT(sqlite3_close(self->db) == SQLITE_OK);
    self->db = NULL;
    self->savepoint = 0;
    self->wal_pages = self->wal_done = 0;
}

/* Runs a pragma and compares the first column of its last row. */
static int32_t demand(struct sqlite *self, const char *pragma, const char *wanted, cdtx_error *err) {
    sqlite3_stmt *statement = NULL;
    char got[32] = "nothing";
    int result = sqlite3_prepare_v2(self->db, pragma, -1, &statement, NULL);
    while (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        sqlite3_snprintf(sizeof got, got, "%s", (const char *)sqlite3_column_text(statement, 0));
        result = SQLITE_OK;
    }
    int32_t rc = 0;
    if (result != SQLITE_DONE)
        rc = cdtx__sqlite_fail(self, result, err);
    else if (wanted != NULL && sqlite3_stricmp(got, wanted) != 0)
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "database '%s': %s answered %s, not %s: commits would not be safe here",
                        self->url.path, pragma, got, wanted);
    sqlite3_finalize(statement);
    return rc;
}

int32_t cdtx__sqlite_settle(struct sqlite *self, int writer, cdtx_error *err) {
    static const struct {
        const char *pragma, *wanted;
        int writer; /* only as a writer: a reader leaves the file as it is */
    } settings[] = {
        {"PRAGMA mmap_size = 0", NULL, 0},
        /* Sorters and statement journals do no I/O, so COMMIT has one file to fail in (README, S6). */
        {"PRAGMA temp_store = MEMORY", NULL, 0},
        {"PRAGMA temp_store", "2", 0},
        {"PRAGMA recursive_triggers = ON", NULL, 0},
        {"PRAGMA recursive_triggers", "1", 0},
        {"PRAGMA cell_size_check = ON", NULL, 0},
        {"PRAGMA cell_size_check", "1", 0},
        {"PRAGMA trusted_schema", "0", 0},
        {"PRAGMA foreign_keys", "1", 0},
        {"PRAGMA synchronous = FULL", NULL, 0},
        {"PRAGMA synchronous", "2", 0},
        {"PRAGMA journal_mode = WAL", "wal", 1},
        {"PRAGMA journal_mode", "wal", 1},
        {"PRAGMA wal_autocheckpoint", "0", 0},
        {"PRAGMA schema_version", NULL, 0}, /* the first look into the file */
    };
    self->ours = 1;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        if (settings[i].writer && !writer)
            continue;
        int32_t rc = demand(self, settings[i].pragma, settings[i].wanted, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}
