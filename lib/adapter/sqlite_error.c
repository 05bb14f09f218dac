/* SQLite's results by what the caller must do next. */
#include "adapter/sqlite.h"

static const char *text_of(const struct sqlite *self, int result) {
    if (self->db != NULL && sqlite3_extended_errcode(self->db) == result)
        return sqlite3_errmsg(self->db);
    return sqlite3_errstr(result);
}

static int is_failed_sync(int result) {
    return result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC;
}

int32_t cdtx__sqlite_fail(struct sqlite *self, int result, cdtx_error *err) {
    const char *path = self->url.path, *text = text_of(self, result);
    if (is_failed_sync(result))
        self->stopped = 1;
    if (result == SQLITE_IOERR_NOMEM)
        result = SQLITE_NOMEM;
    if (result == SQLITE_IOERR_CORRUPTFS)
        result = SQLITE_CORRUPT;
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: /* lost a race for the log's locks too often */
        return cdtx__busy(err, SQLITE_RETRY_MS, "database '%s' is in use: %s", path, text);
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
        return cdtx__fail(err, CDTX_SQL, "%s", text);
    case SQLITE_AUTH:
        return cdtx__fail(err, CDTX_MISUSE, "%s", self->refusal[0] != '\0' ? self->refusal : text);
    case SQLITE_NOMEM:
        return cdtx__fail(err, CDTX_NO_MEMORY, "database '%s': SQLite has no memory", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': %s", path, text);
    case SQLITE_FULL:
        return cdtx__fail(err, CDTX_IO, "database '%s': disk full", path);
    case SQLITE_READONLY:
        return cdtx__fail(err, CDTX_IO, "database '%s' is read-only", path);
    default:
        return cdtx__fail(err, CDTX_IO, "database '%s': %s (SQLite result %d)", path, text, result);
    }
}

int32_t cdtx__sqlite_stopped(const struct sqlite *self, cdtx_error *err) {
    if (self->stopped)
        return cdtx__fail(err, CDTX_STOPPED, "database '%s' stopped itself after a failed write or sync; reopen it",
                          self->url.path);
    if (self->db == NULL)
        return cdtx__fail(err, CDTX_STOPPED, "database '%s' could not be opened to write; reopen it", self->url.path);
    return 0;
}
