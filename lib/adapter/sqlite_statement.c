/* Statements: a bounded cache of prepared ones, binding, running, copying rows out. */
#include <math.h>

#include "adapter/sqlite.h"

/* Texts longer than CACHED_TEXT_MAX carry data; they would fill the cache and never come again. */
enum { CACHED_MAX = 256, CACHED_TEXT_MAX = 16384 };

struct sqlite_statement {
    struct list used;
    struct sqlite_statement *next; /* in its bucket */
    sqlite3_stmt *prepared;
    uint64_t hash;
    size_t length;
    int ours;
    char text[];
};

/* ---- the adapter's own ---- */

static const char *const control_texts[CONTROL_COUNT] = {
    [CONTROL_BEGIN] = "BEGIN IMMEDIATE",
    [CONTROL_COMMIT] = "COMMIT",
    [CONTROL_ROLLBACK] = "ROLLBACK",
    [CONTROL_SAVEPOINT] = "SAVEPOINT cdtx",
    [CONTROL_RELEASE] = "RELEASE cdtx",
    [CONTROL_UNDO] = "ROLLBACK TO cdtx",
    [CONTROL_INNER_SAVEPOINT] = "SAVEPOINT cdtx_statement",
    [CONTROL_INNER_RELEASE] = "RELEASE cdtx_statement",
    [CONTROL_INNER_UNDO] = "ROLLBACK TO cdtx_statement",
};

int cdtx__sqlite_prepare_controls(struct sqlite *self) {
    for (int i = 0; i < CONTROL_COUNT; i++) {
        const char *text = self->url.read && i == CONTROL_BEGIN ? "BEGIN" : control_texts[i];
        int rc = sqlite3_prepare_v3(self->db, text, -1, SQLITE_PREPARE_PERSISTENT, &self->control[i], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

int cdtx__sqlite_control(struct sqlite *self, enum sqlite_control which) {
    self->ours = 1;
    int rc = sqlite3_step(self->control[which]);
    sqlite3_reset(self->control[which]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int cdtx__sqlite_in_transaction(const struct sqlite *self) {
    return self->db != NULL && !sqlite3_get_autocommit(self->db);
}

/* SQLite ends the transaction even when ROLLBACK itself meets an error; if it should not, nothing may follow it. */
void cdtx__sqlite_roll_back(struct sqlite *self) {
    if (!cdtx__sqlite_in_transaction(self))
        return;
    cdtx__sqlite_control(self, CONTROL_ROLLBACK);
    if (cdtx__sqlite_in_transaction(self))
        self->stopped = 1;
}

/* ---- the cache ---- */

/* Our own texts are static, so their address finds them; the text is compared all the same. */
static uint64_t hash_of(const char *text, int ours) {
    if (ours)
        return (uint64_t)(uintptr_t)text * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = text; *at != '\0'; at++)
        hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
    return hash;
}

static struct sqlite_statement *look_up(struct sqlite *self, uint64_t hash, const char *text, int ours) {
    struct sqlite_statement *found = self->buckets[hash % SQLITE_BUCKETS];
    while (found != NULL && (found->hash != hash || found->ours != ours || strcmp(found->text, text) != 0))
        found = found->next;
    return found;
}

static void forget(struct sqlite *self, struct sqlite_statement *statement) {
    struct sqlite_statement **at = &self->buckets[statement->hash % SQLITE_BUCKETS];
    while (*at != statement)
        at = &(*at)->next;
    *at = statement->next;
    list_remove(&statement->used);
    self->cached--;
    sqlite3_finalize(statement->prepared);
    cdtx__free(self->env, statement, sizeof *statement + statement->length + 1);
}

void cdtx__sqlite_forget_statements(struct sqlite *self) {
    while (!list_empty(&self->used))
        forget(self, LIST_OF(self->used.next, struct sqlite_statement, used));
    for (int i = 0; i < CONTROL_COUNT; i++) {
        sqlite3_finalize(self->control[i]);
        self->control[i] = NULL;
    }
}

/* Is there anything but white space, comments and semicolons? */
static int has_more(struct sqlite *self, const char *rest) {
    while (*(rest += strspn(rest, " \t\r\n\f;")) != '\0') {
        sqlite3_stmt *next = NULL;
        const char *end = rest;
        int rc = sqlite3_prepare_v2(self->db, rest, -1, &next, &end);
        sqlite3_finalize(next);
        if (rc != SQLITE_OK || next != NULL || end == rest)
            return 1;
        rest = end;
    }
    return 0;
}

static int32_t prepare(struct sqlite *self, const char *text, sqlite3_stmt **prepared, cdtx_error *err) {
    const char *rest = NULL;
    self->alters = 0;
    int rc = sqlite3_prepare_v3(self->db, text, -1, SQLITE_PREPARE_PERSISTENT, prepared, &rest);
    if (rc == SQLITE_ERROR && self->refusal[0] != '\0')
        rc = SQLITE_AUTH; /* a refused function is reported as any other error */
    if (rc != SQLITE_OK)
        return cdtx__sqlite_fail(self, rc, err);
    if (*prepared == NULL)
        return cdtx__fail(err, CDTX_SQL, "the statement is empty");
    int32_t code = 0;
    if (self->alters && !self->ours && cdtx__sqlite_mentions_ours(text))
        code = cdtx__fail(err, CDTX_MISUSE,
                          "ALTER TABLE with a name that starts with cdtx_ is not allowed: "
                          "such names are the library's own");
    else if (has_more(self, rest))
        code = cdtx__fail(err, CDTX_MISUSE, "more than one statement in one text; run them one by one");
    if (code != 0) {
        sqlite3_finalize(*prepared);
        *prepared = NULL;
    }
    return code;
}

static int32_t find(struct sqlite *self, const char *text, struct sqlite_statement **out, cdtx_error *err) {
    uint64_t hash = hash_of(text, self->ours);
    struct sqlite_statement *statement = look_up(self, hash, text, self->ours);
    if (statement != NULL) {
        list_remove(&statement->used);
        list_push(&self->used, &statement->used);
        *out = statement;
        return 0;
    }
    sqlite3_stmt *prepared = NULL;
    int32_t rc = prepare(self, text, &prepared, err);
    if (rc != 0)
        return rc;
    size_t length = strlen(text);
    statement = cdtx__alloc(self->env, sizeof *statement + length + 1);
    if (statement == NULL) {
        sqlite3_finalize(prepared);
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a statement of %zu bytes", length);
    }
    if (self->cached == CACHED_MAX)
        forget(self, LIST_OF(self->used.next, struct sqlite_statement, used));
    struct sqlite_statement **bucket = &self->buckets[hash % SQLITE_BUCKETS];
    statement->next = *bucket;
    statement->prepared = prepared;
    statement->hash = hash;
    statement->length = length;
    statement->ours = self->ours;
    memcpy(statement->text, text, length + 1);
    *bucket = statement;
    list_push(&self->used, &statement->used);
    self->cached++;
    *out = statement;
    return 0;
}

/* ---- running ---- */

static int32_t bind_all(struct sqlite *self, sqlite3_stmt *statement, const cdtx_value *values, uint32_t count,
                        cdtx_error *err) {
    int wanted = sqlite3_bind_parameter_count(statement);
    if ((uint32_t)wanted != count)
        return cdtx__fail(err, CDTX_INVALID, "the statement wants %d arguments and got %u", wanted, count);
    for (int i = 0; i < wanted; i++) {
        const cdtx_value *value = &values[i];
        const void *bytes = value->bytes != NULL ? value->bytes : "";
        int rc;
        switch (value->type) {
        case CDTX_NULL:
            rc = sqlite3_bind_null(statement, i + 1);
            break;
        case CDTX_INT:
            rc = sqlite3_bind_int64(statement, i + 1, value->integer);
            break;
        case CDTX_REAL:
            if (isnan(value->real)) /* SQLite would store NULL */
                return cdtx__fail(err, CDTX_INVALID, "argument %d is not a number (NaN)", i + 1);
            rc = sqlite3_bind_double(statement, i + 1, value->real);
            break;
        case CDTX_TEXT:
            rc = sqlite3_bind_text64(statement, i + 1, bytes, value->length, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case CDTX_BLOB:
            rc = sqlite3_bind_blob64(statement, i + 1, bytes, value->length, SQLITE_STATIC);
            break;
        default:
            return cdtx__fail(err, CDTX_INVALID, "argument %d has the unknown type %d", i + 1, value->type);
        }
        if (rc != SQLITE_OK)
            return cdtx__sqlite_fail(self, rc, err);
    }
    return 0;
}

static int32_t read_column(struct sqlite *self, sqlite3_stmt *statement, int column, cdtx_value *value,
                           cdtx_error *err) {
    *value = (cdtx_value){.type = CDTX_NULL};
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        value->type = CDTX_INT;
        value->integer = sqlite3_column_int64(statement, column);
        return 0;
    case SQLITE_FLOAT:
        value->type = CDTX_REAL;
        value->real = sqlite3_column_double(statement, column);
        return 0;
    case SQLITE_TEXT:
        value->type = CDTX_TEXT;
        value->bytes = sqlite3_column_text(statement, column);
        break;
    case SQLITE_BLOB:
        value->type = CDTX_BLOB;
        value->bytes = sqlite3_column_blob(statement, column);
        break;
    default:
        return 0;
    }
    value->length = (uint32_t)sqlite3_column_bytes(statement, column);
    if (value->bytes == NULL && (value->length > 0 || value->type == CDTX_TEXT))
        return cdtx__sqlite_fail(self, SQLITE_NOMEM, err);
    if (value->bytes == NULL)
        value->bytes = "";
    return 0;
}

static int32_t add_row(struct sqlite *self, sqlite3_stmt *statement, cdtx_rows *rows, cdtx_error *err) {
    size_t count = (size_t)sqlite3_data_count(statement);
    if (count > self->row_room) {
        cdtx_value *row = cdtx__realloc(self->env, self->row, self->row_room * sizeof *row, count * sizeof *row);
        if (row == NULL)
            return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a row of %zu columns", count);
        self->row = row;
        self->row_room = count;
    }
    for (size_t i = 0; i < count; i++) {
        int32_t rc = read_column(self, statement, (int)i, &self->row[i], err);
        if (rc != 0)
            return rc;
    }
    return cdtx_rows_add(rows, self->row, (uint32_t)count, err);
}

static int32_t step(struct sqlite *self, sqlite3_stmt *statement, cdtx_rows *rows, cdtx_error *err) {
    for (;;) {
        int result = sqlite3_step(statement);
        if (result == SQLITE_DONE)
            return 0;
        if (result != SQLITE_ROW)
            return cdtx__sqlite_fail(self, result, err);
        int32_t rc = rows == NULL ? 0 : add_row(self, statement, rows, err);
        if (rc != 0)
            return rc;
    }
}

/* A write that returns rows has made all its changes before its first row. If we then run out of room, "it did not
 * happen" needs a savepoint of its own. */
static int32_t run_guarded(struct sqlite *self, sqlite3_stmt *statement, cdtx_rows *rows, cdtx_error *err) {
    int result = cdtx__sqlite_control(self, CONTROL_INNER_SAVEPOINT);
    if (result != SQLITE_OK)
        return cdtx__sqlite_fail(self, result, err);
    int32_t rc = step(self, statement, rows, err);
    sqlite3_reset(statement);
    if (!cdtx__sqlite_in_transaction(self))
        return rc;
    if (rc != 0)
        result = cdtx__sqlite_control(self, CONTROL_INNER_UNDO);
    if (result == SQLITE_OK)
        result = cdtx__sqlite_control(self, CONTROL_INNER_RELEASE);
    if (result == SQLITE_OK)
        return rc;
    rc = rc != 0 ? rc : cdtx__sqlite_fail(self, result, err);
    cdtx__sqlite_roll_back(self);
    return rc;
}

static int32_t run(struct sqlite *self, sqlite3_stmt *statement, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    int writes = !sqlite3_stmt_readonly(statement);
    if (writes && self->url.read)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s' is open for reading only (read=1 in its URL)",
                          self->url.path);
    if (writes && !cdtx__sqlite_in_transaction(self))
        return cdtx__fail(err, CDTX_MISUSE, "a statement that writes needs an open transaction");
    int64_t before = sqlite3_total_changes64(self->db);
    int32_t rc = writes && rows != NULL && sqlite3_column_count(statement) > 0 ? run_guarded(self, statement, rows, err)
                                                                               : step(self, statement, rows, err);
    /* SQLite's own count is the last writing statement's, which need not be this one. */
    if (rc == 0 && changes != NULL)
        *changes = sqlite3_total_changes64(self->db) == before ? 0 : sqlite3_changes64(self->db);
    return rc;
}

int32_t cdtx__sqlite_exec(void *connection, uint32_t flags, const char *text, const cdtx_value *arguments,
                          uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    struct sqlite *self = connection;
    int32_t rc = cdtx__sqlite_stopped(self, err);
    if (rc != 0)
        return rc;
    self->ours = (flags & CDTX_SQL_OURS) != 0;
    self->refusal[0] = '\0';
    struct sqlite_statement *statement = NULL;
    rc = find(self, text, &statement, err);
    if (rc != 0)
        return rc;
    rc = bind_all(self, statement->prepared, arguments, count, err);
    if (rc == 0)
        rc = run(self, statement->prepared, rows, changes, err);
    sqlite3_reset(statement->prepared);
    sqlite3_clear_bindings(statement->prepared);
    if (statement->length > CACHED_TEXT_MAX)
        forget(self, statement);
    return rc;
}
