#include "store/sql.h"

enum { ROWS_MAX = 16 << 20, MEMO_MAX = 65536, ARGUMENT_BYTES_MAX = 64 << 20 };

int32_t cdtx__sql_new(struct store *store, int handle, cdtx_sql **sql, cdtx_error *err) {
    cdtx_sql *s = cdtx__alloc(store->env, sizeof *s);
    if (s == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a local transaction on '%s'", store->name);
    s->store = store;
    s->handle = handle;
    cdtx__buf_init(&s->bytes, store->env, ARGUMENT_BYTES_MAX);
    cdtx__rows_init(&s->rows, store->env, ROWS_MAX);
    cdtx__rows_init(&s->memo, store->env, MEMO_MAX);
    *sql = s;
    return 0;
}

void cdtx__sql_delete(cdtx_sql *sql) {
    if (sql == NULL)
        return;
    const cdtx_env *env = sql->bytes.env;
    cdtx__buf_free(&sql->bytes);
    cdtx__rows_free(&sql->rows);
    cdtx__rows_free(&sql->memo);
    cdtx__free(env, sql, sizeof *sql);
}

static void clear_arguments(cdtx_sql *sql) {
    sql->argument_count = 0;
    sql->bind_failed = 0;
    sql->bytes.length = 0;
    sql->bytes.failed = 0;
}

void cdtx__sql_reset(cdtx_sql *sql) {
    clear_arguments(sql);
    cdtx__rows_reset(&sql->rows);
    sql->cursor = 0;
    sql->memo_of[0] = '\0';
}

int32_t cdtx__sql_run(cdtx_sql *sql, const char *statement, const cdtx_value *arguments, uint32_t count,
                      cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    struct store *store = sql->store;
    if (!store->port->in_transaction(store->connection))
        return cdtx__fail(err, CDTX_SQL, "database '%s': an earlier statement ended the transaction", store->name);
    return store->port->exec(store->connection, CDTX_SQL_OURS, statement, arguments, count, rows, changes, err);
}

int32_t cdtx__sql_undo(cdtx_sql *sql, cdtx_error *err) {
    struct store *store = sql->store;
    sql->memo_of[0] = '\0';
    int32_t rc = store->port->undo(store->connection, err);
    if (rc != 0 && store->hopeful)
        store->disappointed = 1; /* there is no savepoint: the group goes again with one */
    return rc;
}

/* ---- arguments ---- */

static cdtx_value *next_argument(cdtx_sql *sql) {
    if (sql == NULL || sql->bind_failed != 0)
        return NULL;
    if (sql->argument_count == SQL_ARGUMENTS_MAX) {
        sql->bind_failed = CDTX_LIMIT;
        return NULL;
    }
    cdtx_value *value = &sql->arguments[sql->argument_count++];
    *value = SQL_NULL;
    return value;
}

void cdtx_sql_bind_null(cdtx_sql *sql) {
    next_argument(sql);
}

void cdtx_sql_bind_int(cdtx_sql *sql, int64_t value) {
    cdtx_value *v = next_argument(sql);
    if (v != NULL)
        *v = SQL_INT(value);
}

void cdtx_sql_bind_real(cdtx_sql *sql, double value) {
    cdtx_value *v = next_argument(sql);
    if (v != NULL)
        *v = (cdtx_value){.type = CDTX_REAL, .real = value};
}

static void bind_bytes(cdtx_sql *sql, int32_t type, const void *bytes, size_t length) {
    cdtx_value *v = next_argument(sql);
    if (v == NULL || bytes == NULL)
        return;
    sql->offsets[sql->argument_count - 1] = sql->bytes.length;
    cdtx__buf_bytes(&sql->bytes, bytes, length);
    cdtx__buf_u8(&sql->bytes, 0);
    sql->bind_failed = sql->bytes.failed;
    *v = (cdtx_value){.type = type, .length = (uint32_t)length};
}

void cdtx_sql_bind_text(cdtx_sql *sql, const char *text, size_t length) {
    bind_bytes(sql, CDTX_TEXT, text, length);
}

void cdtx_sql_bind_blob(cdtx_sql *sql, const void *bytes, size_t length) {
    bind_bytes(sql, CDTX_BLOB, bytes, length);
}

/* ---- statements ---- */

int32_t cdtx__sql_enter(cdtx_sql *sql, cdtx_error *err) {
    if (sql == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "there is no local transaction here");
    if (sql->enter != NULL)
        return sql->enter(sql, err);
    const cdtx_env *env = sql->store->env;
    if (sql->handle && env->process(env->user) != sql->store->process)
        return cdtx__fail(err, CDTX_MISUSE, "this local transaction belongs to the parent of a forked process");
    if (sql->handle)
        cdtx__lock(env, &sql->store->handle_lock);
    if (sql->open)
        return 0;
    cdtx__sql_leave(sql);
    return cdtx__fail(err, CDTX_MISUSE, "this local transaction has ended");
}

void cdtx__sql_leave(cdtx_sql *sql) {
    if (sql->leave != NULL)
        sql->leave(sql);
    else if (sql->handle)
        cdtx__unlock(sql->store->env, &sql->store->handle_lock);
}

static int32_t runnable(const cdtx_sql *sql, const char *statement, cdtx_error *err) {
    if (statement == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the statement is NULL");
    if (!sql->store->port->in_transaction(sql->store->connection))
        return cdtx__fail(err, CDTX_SQL, "database '%s': an earlier statement ended the transaction", sql->store->name);
    if (sql->bind_failed == CDTX_LIMIT)
        return cdtx__fail(err, CDTX_LIMIT, "more than %d arguments or %d MiB of them for: %.200s", SQL_ARGUMENTS_MAX,
                          ARGUMENT_BYTES_MAX >> 20, statement);
    if (sql->bind_failed != 0)
        return cdtx__fail(err, sql->bind_failed, "no memory for the arguments of: %.200s", statement);
    return 0;
}

static int32_t run_bound(cdtx_sql *sql, const char *statement, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    for (uint32_t i = 0; i < sql->argument_count; i++)
        if (sql->arguments[i].type == CDTX_TEXT || sql->arguments[i].type == CDTX_BLOB)
            sql->arguments[i].bytes = sql->bytes.bytes + sql->offsets[i];
    cdtx__rows_reset(&sql->rows);
    sql->cursor = 0;
    const struct store *store = sql->store;
    int32_t rc =
        store->port->exec(store->connection, 0, statement, sql->arguments, sql->argument_count, rows, changes, err);
    if (rc != 0)
        cdtx__rows_reset(&sql->rows);
    return rc;
}

static int32_t run(cdtx_sql *sql, const char *statement, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    int32_t rc = cdtx__sql_enter(sql, err);
    if (rc == 0) {
        rc = runnable(sql, statement, err);
        if (rc == 0)
            rc = run_bound(sql, statement, rows, changes, err);
        cdtx__sql_leave(sql);
    }
    if (sql != NULL)
        clear_arguments(sql);
    return rc;
}

int32_t cdtx_sql_exec(cdtx_sql *sql, const char *statement, int64_t *changes, cdtx_error *err) {
    int64_t changed = 0;
    int32_t rc = run(sql, statement, NULL, &changed, err);
    if (rc == 0 && changes != NULL)
        *changes = changed;
    return rc;
}

int32_t cdtx_sql_query(cdtx_sql *sql, const char *statement, cdtx_error *err) {
    return run(sql, statement, sql == NULL ? NULL : &sql->rows, NULL, err);
}

int32_t cdtx_sql_next(cdtx_sql *sql) {
    return sql == NULL ? 0 : cdtx__rows_step(&sql->rows, &sql->cursor);
}

/* ---- columns ---- */

static const cdtx_value *column_of(cdtx_sql *sql, uint32_t column) {
    static const cdtx_value null;
    return sql == NULL ? &null : cdtx__rows_current(&sql->rows, sql->cursor, column);
}

int64_t cdtx_sql_int(cdtx_sql *sql, uint32_t column) {
    const cdtx_value *v = column_of(sql, column);
    return v->type == CDTX_INT ? v->integer : 0;
}

double cdtx_sql_real(cdtx_sql *sql, uint32_t column) {
    const cdtx_value *v = column_of(sql, column);
    return v->type == CDTX_REAL ? v->real : v->type == CDTX_INT ? (double)v->integer : 0.0;
}

static const void *bytes_of(const cdtx_value *v, int32_t type, size_t *length) {
    int fits = v->type == type;
    if (length != NULL)
        *length = fits ? v->length : 0;
    return fits ? v->bytes : NULL;
}

const char *cdtx_sql_text(cdtx_sql *sql, uint32_t column, size_t *length) {
    return bytes_of(column_of(sql, column), CDTX_TEXT, length);
}

const void *cdtx_sql_blob(cdtx_sql *sql, uint32_t column, size_t *length) {
    return bytes_of(column_of(sql, column), CDTX_BLOB, length);
}

int32_t cdtx_sql_is_null(cdtx_sql *sql, uint32_t column) {
    return column_of(sql, column)->type == CDTX_NULL;
}
