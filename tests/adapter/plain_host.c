#include "plain_host.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int32_t class_of(int result) {
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return CDTX_BUSY;
    case SQLITE_NOMEM:
        return CDTX_NO_MEMORY;
    case SQLITE_IOERR:
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return CDTX_IO;
    default:
        return CDTX_SQL;
    }
}

static int bind(sqlite3_stmt *statement, int at, const cdtx_value *value) {
    switch (value->type) {
    case CDTX_INT:
        return sqlite3_bind_int64(statement, at, value->integer);
    case CDTX_REAL:
        return sqlite3_bind_double(statement, at, value->real);
    case CDTX_TEXT:
        return sqlite3_bind_text64(statement, at, value->bytes, value->length, SQLITE_TRANSIENT, SQLITE_UTF8);
    case CDTX_BLOB:
        return sqlite3_bind_blob64(statement, at, value->bytes, value->length, SQLITE_TRANSIENT);
    default:
        return sqlite3_bind_null(statement, at);
    }
}

static cdtx_value column(sqlite3_stmt *statement, int at) {
    cdtx_value value = {.type = CDTX_NULL};
    switch (sqlite3_column_type(statement, at)) {
    case SQLITE_INTEGER:
        value = (cdtx_value){.type = CDTX_INT, .integer = sqlite3_column_int64(statement, at)};
        break;
    case SQLITE_FLOAT:
        value = (cdtx_value){.type = CDTX_REAL, .real = sqlite3_column_double(statement, at)};
        break;
    case SQLITE_TEXT:
        value = (cdtx_value){.type = CDTX_TEXT, .bytes = sqlite3_column_text(statement, at)};
        break;
    case SQLITE_BLOB:
        value = (cdtx_value){.type = CDTX_BLOB, .bytes = sqlite3_column_blob(statement, at)};
        break;
    default:
        break;
    }
    if (value.type == CDTX_TEXT || value.type == CDTX_BLOB)
        value.length = (uint32_t)sqlite3_column_bytes(statement, at);
    if (value.bytes == NULL)
        value.bytes = "";
    return value;
}

static int32_t add_row(sqlite3_stmt *statement, cdtx_rows *rows, cdtx_error *err) {
    cdtx_value values[64];
    int count = sqlite3_column_count(statement);
    for (int i = 0; i < count; i++)
        values[i] = column(statement, i);
    return cdtx_rows_add(rows, values, (uint32_t)count, err);
}

static int32_t run(sqlite3 *db, const char *text, const cdtx_value *values, uint32_t count, cdtx_rows *rows,
                   int64_t *changes, cdtx_error *err) {
    sqlite3_stmt *statement = NULL;
    int32_t rc = 0;
    int result = sqlite3_prepare_v2(db, text, -1, &statement, NULL);
    for (uint32_t i = 0; result == SQLITE_OK && i < count; i++)
        result = bind(statement, (int)i + 1, &values[i]);
    while (result == SQLITE_OK && rc == 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        rc = rows == NULL ? 0 : add_row(statement, rows, err);
        result = SQLITE_OK;
    }
    if (rc == 0 && result != SQLITE_DONE)
        rc = cdtx_error_set(err, class_of(result), sqlite3_errmsg(db));
    if (rc == 0)
        *changes = sqlite3_changes64(db);
    sqlite3_finalize(statement);
    return rc;
}

static int fails_now(struct plain_host *host, const char *statement) {
    if (host->only != NULL && strncmp(statement, host->only, strlen(host->only)) != 0)
        return 0;
    host->calls++;
    if (host->fail_nth == 0)
        return 0;
    if (host->fail_nth > 1) {
        host->fail_nth--;
        return 0;
    }
    host->fail_nth = (uint64_t)host->fail_for_ever;
    return 1;
}

static int32_t exec(void *user, void *connection, const char *statement, const cdtx_value *values, uint32_t count,
                    cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    struct plain_host *host = user;
    if (host->crowded)
        return run(connection, statement, values, count, rows, changes, err);
    strncpy(host->last, statement, sizeof host->last - 1);
    host->last_count = count;
    host->thread = (uint64_t)pthread_self();
    int fails = fails_now(host, statement);
    int32_t rc = fails && !host->fail_after ? 0 : run(connection, statement, values, count, rows, changes, err);
    if (!fails)
        return rc;
    return host->silent ? host->fail_code : cdtx_error_set(err, host->fail_code, "the host was told to fail");
}

static int32_t in_transaction(void *user, void *connection) {
    (void)user;
    return !sqlite3_get_autocommit(connection);
}

static void drop(void *user) {
    ((struct plain_host *)user)->dropped++;
}

void plain_host_init(struct plain_host *host) {
    *host = (struct plain_host){.port = {.size = sizeof host->port, .dialect = CDTX_DIALECT_SQLITE}};
    host->port.user = host;
    host->port.exec = exec;
    host->port.in_transaction = in_transaction;
    host->port.drop = drop;
}

sqlite3 *plain_host_open(const char *path) {
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", NULL, NULL, NULL) != SQLITE_OK)
        abort();
    return db;
}
