/* The audit chain for a person: list, and the check that nobody has changed it. */
#include "engine/ask.h"

enum { PAGE = 256, TEXTS_MAX = CDTX_NAME_MAX * 4 };

/* ---- list ---- */

static const char *const list_names[] = {"id", "at_ms", "actor", "action", "subject", "reason", "hash", NULL};
enum { HASH_COLUMN = 6, LIST_COLUMNS = 7 };

struct list_ask {
    struct ask ask;
    const cdtx_audit_filter *filter;
    uint32_t limit;
};

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    cdtx_value subject = cdtx__sql_text(list->filter->subject);
    cdtx_value arguments[] = {SQL_INT(list->filter->after), subject, subject, SQL_INT(list->limit)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT id, at_ms, actor, action, subject, reason, lower(hex(hash)) FROM cdtx_audit"
                               " WHERE id > ? AND (? IS NULL OR subject = ?) ORDER BY id LIMIT ?",
                               arguments, 4, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++)
        rc = cdtx__report_add(ask->report, cdtx__rows_at(&ask->rows, i, 0), err);
    return rc;
}

int32_t cdtx_audit_list(cdtx_db *db, const cdtx_audit_filter *filter, cdtx_report **report, cdtx_error *err) {
    cdtx_audit_filter f = {0};
    struct list_ask list = {.ask.run = run_list, .filter = &f};
    int32_t rc = cdtx__options(filter, &f, sizeof f, sizeof f, "cdtx_audit_filter", err);
    if (rc == 0)
        rc = cdtx__ask_limit(f.limit, &list.limit, err);
    if (rc == 0 && f.subject != NULL)
        rc = cdtx__check_text(f.subject, TEXTS_MAX, "the subject", err);
    return rc != 0 ? rc : cdtx__ask_report_db(db, "cdtx_audit_list", list_names, &list.ask, report, err);
}

/* ---- verify ---- */

/* How far the chain is proven. */
struct proven {
    int64_t lines;
    uint8_t head[DIGEST_SIZE];
};

/* A page is a rider of its own, so that others come in between; the next goes on behind the last proven line. */
struct verify_ask {
    struct ask ask;
    struct proven before; /* this page */
    struct proven after;
    uint32_t page;
    int more;
};

/* The line from which it goes on, as somebody outside knows it. */
struct known_ask {
    struct ask ask;
    const struct proven *known;
};

static int32_t run_known(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct proven *known = LIST_OF(ask, struct known_ask, ask)->known;
    cdtx_value arguments[] = {SQL_INT(known->lines), cdtx__sql_blob(known->head, DIGEST_SIZE)};
    int32_t rc =
        cdtx__sql_run(sql, "SELECT 1 FROM cdtx_audit WHERE id = ? AND hash = ?", arguments, 2, &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count == 0)
        rc = cdtx__fail(err, CDTX_CORRUPT,
                        "database '%s': audit line %lld has not the hash known of it: the end was cut off, or written "
                        "anew",
                        sql->store->name, (long long)known->lines);
    return rc;
}

static int32_t check_line(const struct verify_ask *verify, uint32_t row, const cdtx_env *env, const char *database,
                          struct proven *proven, cdtx_error *err) {
    const cdtx_rows *rows = &verify->ask.rows;
    const cdtx_value *previous = cdtx__rows_at(rows, row, 2), *hash = cdtx__rows_at(rows, row, 7);
    int64_t id = cdtx__rows_int(rows, row, 0), next = proven->lines + 1;
    if (id != next)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': audit line %lld is missing; %lld stands behind %lld",
                          database, (long long)next, (long long)id, (long long)proven->lines);
    if (previous->length != DIGEST_SIZE || memcmp(previous->bytes, proven->head, DIGEST_SIZE) != 0)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': audit line %lld does not follow on the line before it",
                          database, (long long)id);
    struct audit_bytes bytes = {.previous = previous->bytes,
                                .id = id,
                                .at_ms = cdtx__rows_int(rows, row, 1),
                                .texts = cdtx__rows_at(rows, row, 3)};
    uint8_t computed[DIGEST_SIZE];
    int32_t rc = cdtx__audit_hash(env, &bytes, computed, err);
    if (rc != 0)
        return rc;
    if (hash->length != DIGEST_SIZE || memcmp(hash->bytes, computed, DIGEST_SIZE) != 0)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': audit line %lld was changed: its hash is another",
                          database, (long long)id);
    proven->lines = id;
    memcpy(proven->head, computed, DIGEST_SIZE);
    return 0;
}

static int32_t run_verify(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct verify_ask *verify = LIST_OF(ask, struct verify_ask, ask);
    verify->after = verify->before;
    /* A number below 1 is nobody's; from the start it must be seen, not skipped. */
    cdtx_value arguments[] = {SQL_INT(verify->before.lines == 0 ? INT64_MIN : verify->before.lines),
                              SQL_INT(verify->page)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT id, at_ms, previous, actor, action, subject, reason, hash FROM cdtx_audit"
                               " WHERE id > ? ORDER BY id LIMIT ?",
                               arguments, 2, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++)
        rc = check_line(verify, i, sql->store->env, sql->store->name, &verify->after, err);
    verify->more = ask->rows.count == verify->page;
    return rc;
}

static int32_t verify_all(cdtx *engine, struct store *store, struct verify_ask *verify, uint32_t limit,
                          cdtx_error *err) {
    uint32_t left = limit;
    do {
        verify->before = verify->after;
        verify->page = limit != 0 && left < PAGE ? left : PAGE;
        int32_t rc = cdtx__ask_ride(engine, store, &verify->ask, err);
        if (rc != 0)
            return rc;
        left -= verify->page;
    } while (verify->more && (limit == 0 || left > 0));
    return 0;
}

int32_t cdtx__audit_verify(cdtx *engine, struct store *store, uint32_t limit, int64_t *lines,
                           char head[DIGEST_HEX_SIZE], cdtx_error *err) {
    struct verify_ask verify = {.ask.run = run_verify};
    struct known_ask known = {.ask.run = run_known, .known = &verify.after};
    int32_t rc = 0;
    if (*lines < 0)
        return cdtx__fail(err, CDTX_INVALID, "audit line %lld: lines are numbered from 1", (long long)*lines);
    if (*lines > 0 && !cdtx__digest_read(head, verify.after.head))
        return cdtx__fail(err, CDTX_INVALID, "the hash of audit line %lld is not 64 hexadecimal digits",
                          (long long)*lines);
    verify.after.lines = *lines;
    if (*lines > 0)
        rc = cdtx__ask_ride(engine, store, &known.ask, err);
    if (rc == 0)
        rc = verify_all(engine, store, &verify, limit, err);
    if (rc != 0)
        return rc;
    *lines = verify.after.lines;
    cdtx__digest_hex(verify.after.head, head);
    return 0;
}

int32_t cdtx_audit_verify(cdtx_db *db, uint32_t limit, int64_t *lines, char head[65], cdtx_error *err) {
    struct store *store = NULL;
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "cdtx_audit_verify: the database is NULL");
    if (lines == NULL || head == NULL)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_audit_verify: the place for the lines or the head is NULL");
    int32_t rc = cdtx__ask_enter(db->engine, db, "cdtx_audit_verify", 0, &store, err);
    if (rc != 0)
        return rc;
    rc = cdtx__audit_verify(db->engine, store, limit, lines, head, err);
    cdtx__ask_leave(db->engine);
    return rc;
}
