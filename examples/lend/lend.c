/* A shop that opens its SQLite file itself. An order and the mail that confirms it are one transaction of the shop's
 * own connection: cdtx_lend lets the library write the job into it. Later the shop lends a turn, and the mail is sent.
 */
#include <cdtx/port.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* ---- what a host writes once: two functions over its own driver ---- */

static int bind(sqlite3_stmt *s, int at, const cdtx_value *v) {
    switch (v->type) {
    case CDTX_INT:
        return sqlite3_bind_int64(s, at, v->integer);
    case CDTX_REAL:
        return sqlite3_bind_double(s, at, v->real);
    case CDTX_TEXT:
        return sqlite3_bind_text64(s, at, v->bytes, v->length, SQLITE_TRANSIENT, SQLITE_UTF8);
    case CDTX_BLOB:
        return sqlite3_bind_blob64(s, at, v->bytes, v->length, SQLITE_TRANSIENT);
    default:
        return sqlite3_bind_null(s, at);
    }
}

static int32_t add_row(sqlite3_stmt *s, cdtx_rows *rows, cdtx_error *err) {
    static const int32_t types[] = {
        [SQLITE_INTEGER] = CDTX_INT, [SQLITE_FLOAT] = CDTX_REAL, [SQLITE_TEXT] = CDTX_TEXT, [SQLITE_BLOB] = CDTX_BLOB};
    cdtx_value values[32];
    int count = sqlite3_column_count(s);
    if (count > 32)
        return cdtx_error_set(err, CDTX_LIMIT, "more than 32 columns");
    for (int i = 0; i < count; i++) {
        cdtx_value *v = &values[i];
        *v = (cdtx_value){.type = types[sqlite3_column_type(s, i) % SQLITE_NULL], .bytes = ""};
        v->integer = v->type == CDTX_INT ? sqlite3_column_int64(s, i) : 0;
        v->real = v->type == CDTX_REAL ? sqlite3_column_double(s, i) : 0;
        if (v->type == CDTX_TEXT)
            v->bytes = sqlite3_column_text(s, i);
        if (v->type == CDTX_BLOB && sqlite3_column_blob(s, i) != NULL)
            v->bytes = sqlite3_column_blob(s, i);
        if (v->bytes == NULL)
            return cdtx_error_set(err, CDTX_NO_MEMORY, "SQLite has no memory");
        v->length = v->type == CDTX_TEXT || v->type == CDTX_BLOB ? (uint32_t)sqlite3_column_bytes(s, i) : 0;
    }
    return cdtx_rows_add(rows, values, (uint32_t)count, err);
}

static int32_t class_of(int result) {
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return CDTX_BUSY;
    case SQLITE_NOMEM:
        return CDTX_NO_MEMORY;
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG:
        return CDTX_SQL;
    default:
        return CDTX_IO; /* at a COMMIT this also says: it may have happened */
    }
}

static int32_t exec(void *user, void *connection, const char *statement, const cdtx_value *values, uint32_t count,
                    cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    sqlite3_stmt *s = NULL;
    int32_t rc = 0;
    (void)user;
    int result = sqlite3_prepare_v2(connection, statement, -1, &s, NULL);
    for (uint32_t i = 0; result == SQLITE_OK && i < count; i++)
        result = bind(s, (int)i + 1, &values[i]);
    while (result == SQLITE_OK && rc == 0 && (result = sqlite3_step(s)) == SQLITE_ROW) {
        rc = rows == NULL ? 0 : add_row(s, rows, err);
        result = SQLITE_OK;
    }
    if (rc == 0 && result != SQLITE_DONE)
        rc = cdtx_error_set(err, class_of(result), sqlite3_errmsg(connection));
    *changes = sqlite3_changes64(connection);
    sqlite3_finalize(s);
    return rc;
}

static int32_t in_transaction(void *user, void *connection) {
    (void)user;
    return !sqlite3_get_autocommit(connection);
}

static const cdtx_host_port port = {
    .size = sizeof port, .dialect = CDTX_DIALECT_SQLITE, .exec = exec, .in_transaction = in_transaction};

/* ---- the shop ---- */

static int32_t send_mail(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length;
    const char *mail = cdtx_work_payload(work, &length);
    (void)user;
    printf("mail: %.*s\n", (int)length, mail);
    cdtx_sql *sql = cdtx_work_sql(work); /* the end of the job and this row are one commit */
    return cdtx_sql_exec(sql, "UPDATE orders SET mailed = mailed + 1", NULL, err);
}

static int says_no(sqlite3 *db, const char *statements) {
    if (sqlite3_exec(db, statements, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    fprintf(stderr, "%s: %s\n", statements, sqlite3_errmsg(db));
    return 1;
}

/* commit 0: the customer changes her mind in the last moment. */
static int32_t order(cdtx_db *shop, sqlite3 *db, const char *mail, int commit, cdtx_error *err) {
    cdtx_sql *sql = NULL;
    if (says_no(db, "BEGIN IMMEDIATE; INSERT INTO orders (mailed) VALUES (0)"))
        return cdtx_error_set(err, CDTX_SQL, "the order could not be written");
    int32_t rc = cdtx_lend(shop, db, &sql, err);
    if (rc == 0)
        rc = cdtx_job_put(sql, "mail", mail, strlen(mail), NULL, NULL, err);
    int committed = rc == 0 && commit && !says_no(db, "COMMIT");
    if (!sqlite3_get_autocommit(db))
        says_no(db, "ROLLBACK");
    if (sql == NULL)
        return rc;
    int32_t outcome = committed ? 0 : rc == 0 && commit ? CDTX_UNKNOWN : CDTX_REFUSED;
    int32_t settled = cdtx_lent_settle(sql, outcome, rc == 0 ? err : NULL);
    return rc != 0 ? rc : settled;
}

int main(void) {
    cdtx *engine = NULL;
    cdtx_db *shop = NULL;
    sqlite3 *db = NULL;
    cdtx_error err = {0};
    cdtx_options options = {.size = sizeof options}; /* no log: nothing here is global */
    cdtx_handler_options mail = {.size = sizeof mail, .handler = send_mail, .in_local = 1};
    if (sqlite3_open("shop.db", &db) != SQLITE_OK ||
        says_no(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                    "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, mailed INTEGER)"))
        return 1;
    int ok = !cdtx_open(&options, &engine, &err) && !cdtx_db_host(engine, "shop", &port, &shop, &err) &&
             !cdtx_host_prepare(shop, db, &err) && !cdtx_handler_add(shop, "mail", &mail, &err);
    ok = ok && !order(shop, db, "your order is on its way", 1, &err) &&
         !order(shop, db, "this one is never sent", 0, &err);
    ok = ok && !cdtx_host_run(shop, db, 0, &err); /* as often as the shop likes, on whatever thread it likes */
    puts(ok ? "done" : err.text);
    cdtx_db_close(shop);
    cdtx_close(engine);
    sqlite3_close(db);
    return ok ? 0 : 1;
}
