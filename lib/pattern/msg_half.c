/* Half messages: prepared, marked by the local transaction that they stand for, and resolved. */
#include "pattern/msg_half.h"

#include <stdio.h>

#include "engine/ask.h"
#include "engine/case.h"
#include "store/guard.h"

enum { HALF_ROWS_MAX = PAYLOAD_LIMIT + 65536 };

/* ---- handles ---- */

void cdtx__half_handler(const char *producer, char name[CDTX_NAME_MAX + 1]) {
    snprintf(name, CDTX_NAME_MAX + 1, "cdtx.half/%s", producer);
}

int32_t cdtx__half_space(const uint8_t uuid[16], uint8_t space[16], cdtx_error *err) {
    return cdtx__guard_space("cdtx half marks", uuid, NULL, space, err);
}

int32_t cdtx__half_check_outcome(int32_t outcome, cdtx_error *err) {
    if (outcome == CDTX_HALF_COMMITTED || outcome == CDTX_HALF_ROLLED_BACK)
        return 0;
    return cdtx__fail(err, CDTX_INVALID, "%d is no resolution of a half message", outcome);
}

static int32_t parse(const char *handle, uint8_t uuid[16], int64_t *number, cdtx_error *err) {
    if (cdtx__gid_parse(handle, uuid, number, NULL) == 0)
        return 0;
    return cdtx__fail(err, CDTX_INVALID, "'%.80s' is no handle of a half message", handle == NULL ? "" : handle);
}

static int32_t parse_own(const struct store *store, const char *handle, int64_t *number, cdtx_error *err) {
    uint8_t uuid[16];
    int32_t rc = parse(handle, uuid, number, err);
    if (rc == 0 && memcmp(uuid, store->uuid, sizeof uuid) != 0)
        rc = cdtx__fail(err, CDTX_INVALID, "%s is a half message of another database than '%s'", handle, store->name);
    return rc;
}

static int32_t absent(const cdtx_sql *sql, int64_t number, cdtx_error *err) {
    if (number > 0 && number <= sql->store->meta.job)
        return cdtx__fail(err, CDTX_EXPIRED, "half message %lld was resolved, and is no longer kept in '%s'",
                          (long long)number, sql->store->name);
    return cdtx__fail(err, CDTX_NOT_FOUND, "half message %lld was never prepared in '%s'", (long long)number,
                      sql->store->name);
}

/* ---- preparing ---- */

struct preparation {
    struct message message;
    const char *producer;
    int64_t immunity_ms;
    char handle[CDTX_GID_MAX];
};

static int32_t insert_half(cdtx_sql *sql, const struct preparation *half, cdtx_error *err) {
    const struct message *m = &half->message;
    cdtx_value arguments[] = {SQL_INT(m->number),
                              cdtx__sql_text(m->key),
                              SQL_INT(m->priority),
                              SQL_INT(m->delay_ms),
                              cdtx__sql_blob(m->payload, m->length),
                              cdtx__sql_text(half->producer),
                              SQL_INT(cdtx__store_stamp_ms(sql->store)),
                              cdtx__sql_text(m->id),
                              cdtx__sql_text(m->topic)};
    int64_t changes = 0;
    int32_t rc = cdtx__sql_run(sql,
                               "INSERT INTO cdtx_half (id, state, topic, key, priority, delay_ms, payload, producer,"
                               " checks, begun, at, msg_id) SELECT ?, 1, name, ?, ?, ?, ?, ?, 0, 0, ?, ?"
                               " FROM cdtx_topic WHERE name = ?",
                               arguments, 9, NULL, &changes, err);
    if (rc == 0 && changes == 0)
        rc = cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no topic '%s'", sql->store->name, m->topic);
    return rc;
}

/* The check is a job that is due when the half is no longer immune. */
static int32_t put_check(cdtx_sql *sql, const struct preparation *half, cdtx_error *err) {
    char handler[CDTX_NAME_MAX + 1], key[32];
    int64_t id = 0;
    cdtx__half_handler(half->producer, handler);
    snprintf(key, sizeof key, "%lld", (long long)half->message.number);
    struct job_put put = {
        .handler = handler,
        .payload = key,
        .length = strlen(key),
        .options = {.queue = "default",
                    .delay_ms = half->immunity_ms,
                    .unique_key = key,
                    .unique_policy = CDTX_UNIQUE_KEEP,
                    .concurrency_key = MUTANT(sql->store->env, "bug-25") ? handler : NULL},
    };
    if (cdtx__store_stamp_ms(sql->store) % 8 == 0 && MUTANT(sql->store->env, "bug-21"))
        return 0; /* as if the scan were at that very millisecond */
    return cdtx__job_insert(sql, &put, &id, err);
}

#ifdef CDTX_FAILPOINTS
/* What a new one must not be numbered by, for the simulator to find: it is that of one that is gone. */
static int32_t number_by_rows(cdtx_sql *sql, int64_t *number, cdtx_error *err) {
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT coalesce(max(id), 0) + 1 FROM cdtx_half", NULL, 0, rows, NULL, err);
    if (rc == 0)
        *number = cdtx__rows_int(rows, 0, 0);
    return rc;
}
#endif

static int32_t run_prepare(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct preparation *half = user;
    if (FAILPOINT(sql->store->env, "msg.half_put"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.half_put");
    int32_t rc = 0;
#ifdef CDTX_FAILPOINTS
    if (MUTANT(sql->store->env, "bug-28-half"))
        rc = number_by_rows(sql, &half->message.number, err);
#endif
    if (rc == 0)
        rc = cdtx__message_number(sql, &half->message.number, err);
    if (rc == 0)
        rc = insert_half(sql, half, err);
    if (rc == 0)
        rc = put_check(sql, half, err);
    if (rc == 0)
        cdtx__gid_text(sql->store->uuid, half->message.number, half->handle);
    return rc;
}

static int32_t fill(cdtx_db *db, struct preparation *half, const cdtx_half_options *o, cdtx_error *err) {
    half->producer = o->producer;
    half->immunity_ms = o->immunity_ms == 0 ? 6000 : o->immunity_ms;
    half->message.key = o->key;
    half->message.priority = o->priority;
    half->message.delay_ms = o->delay_ms;
    int32_t rc = cdtx__msg_check(db->engine, &half->message, err);
    if (rc == 0)
        rc = cdtx__check_text(o->producer, CDTX_PRODUCER_NAME_MAX, "the producer's name", err);
    return rc != 0 ? rc : cdtx__check_ms(o->immunity_ms, "immunity_ms", err);
}

int32_t cdtx__half_prepare(cdtx_db *db, const struct message *message, const cdtx_half_options *options,
                           char handle[CDTX_GID_MAX], cdtx_error *err) {
    cdtx_half_options o = {0};
    struct preparation half = {.message = *message};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    if (handle == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the handle is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_half_options", err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = fill(db, &half, &o, err);
    cdtx__leave(db->engine);
    if (rc == 0)
        rc = cdtx_local(db, run_prepare, &half, err);
    if (rc == 0)
        memcpy(handle, half.handle, sizeof half.handle);
    return rc;
}

int32_t cdtx_half_prepare(cdtx_db *db, const char *topic, const void *payload, size_t length,
                          const cdtx_half_options *options, char handle[CDTX_GID_MAX], cdtx_error *err) {
    struct message message = {.topic = topic, .payload = payload, .length = length};
    return cdtx__half_prepare(db, &message, options, handle, err);
}

/* ---- the mark ---- */

enum half_mark { MARK_OF_COMMIT = GUARD_CONFIRMED, MARK_OF_ROLLBACK = GUARD_CANCELLED };

/* Writes the mark, or finds the one that stands there: a conflicting write either way (trap 20). */
static int32_t mark(cdtx_sql *sql, const char *handle, int32_t wanted, int *written, int32_t *stands, cdtx_error *err) {
    uint8_t uuid[16], space[16];
    struct guard_key key = {.log = space};
    int32_t rc = parse(handle, uuid, &key.sequence, err);
    if (rc == 0)
        rc = cdtx__half_space(uuid, space, err);
    if (rc == 0)
        rc = cdtx__guard_insert(sql, &key, wanted, NULL, 0, written, err);
    *stands = wanted;
    if (rc != 0 || *written)
        return rc;
    cdtx__rows_reset(&sql->store->rows);
    return cdtx__guard_read(sql, &key, &sql->store->rows, stands, err);
}

static int32_t mark_committed(cdtx_sql *sql, const char *handle, cdtx_error *err) {
    int32_t stands = 0;
    int written = 0;
    int32_t rc = mark(sql, handle, MARK_OF_COMMIT, &written, &stands, err);
    if (rc != 0 || written)
        return rc;
    if (stands == MARK_OF_COMMIT)
        return cdtx__fail(err, CDTX_CONFLICT, "half message %s was marked by a local transaction that committed",
                          handle);
    return cdtx__fail(err, CDTX_REFUSED, "half message %s is %s: roll back", handle,
                      stands == MARK_OF_ROLLBACK ? "ruled out by a check" : "resolved");
}

int32_t cdtx_half_mark(cdtx_sql *sql, const char *handle, cdtx_error *err) {
    int32_t rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    rc = mark_committed(sql, handle, err);
    cdtx__sql_leave(sql);
    return rc;
}

static int32_t rule_out(cdtx_sql *sql, const char *handle, int32_t *state, cdtx_error *err) {
    int32_t stands = 0;
    int written = 0;
    int32_t rc = mark(sql, handle, MARK_OF_ROLLBACK, &written, &stands, err);
    if (rc != 0)
        return rc;
    if (stands == GUARD_ABSENT)
        return cdtx__fail(err, CDTX_EXPIRED, "half message %s was resolved, and its mark is gone", handle);
    *state = stands == MARK_OF_COMMIT ? CDTX_HALF_COMMITTED : CDTX_HALF_ROLLED_BACK;
    return 0;
}

int32_t cdtx_half_rule_out(cdtx_sql *sql, const char *handle, int32_t *state, cdtx_error *err) {
    if (state == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the state is NULL");
    int32_t rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    rc = rule_out(sql, handle, state, err);
    cdtx__sql_leave(sql);
    return rc;
}

/* ---- reading ---- */

enum {
    COL_STATE,
    COL_TOPIC,
    COL_KEY,
    COL_PRIORITY,
    COL_DELAY,
    COL_PAYLOAD,
    COL_PRODUCER,
    COL_CHECKS,
    COL_BEGUN,
    COL_PARKED,
    COL_ID
};

int32_t cdtx__half_read(cdtx_sql *sql, int64_t number, cdtx_rows *rows, struct half *half, cdtx_error *err) {
    cdtx_value key = SQL_INT(number);
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT state, topic, key, priority, delay_ms, payload, producer, checks, begun,"
                               " parked IS NOT NULL, msg_id FROM cdtx_half WHERE id = ?",
                               &key, 1, rows, NULL, err);
    if (rc != 0)
        return rc;
    if (rows->count == 0)
        return absent(sql, number, err);
    const cdtx_value *payload = cdtx__rows_at(rows, 0, COL_PAYLOAD);
    *half = (struct half){
        .number = number,
        .state = (int32_t)cdtx__rows_int(rows, 0, COL_STATE),
        .checks = (uint32_t)cdtx__rows_int(rows, 0, COL_CHECKS),
        .begun = (uint32_t)cdtx__rows_int(rows, 0, COL_BEGUN),
        .parked = cdtx__rows_int(rows, 0, COL_PARKED) != 0,
        .producer = cdtx__rows_at(rows, 0, COL_PRODUCER)->bytes,
        .message = {.number = number,
                    .id = cdtx__rows_at(rows, 0, COL_ID)->bytes,
                    .topic = cdtx__rows_at(rows, 0, COL_TOPIC)->bytes,
                    .key = cdtx__rows_at(rows, 0, COL_KEY)->bytes,
                    .priority = (int32_t)cdtx__rows_int(rows, 0, COL_PRIORITY),
                    .delay_ms = cdtx__rows_int(rows, 0, COL_DELAY),
                    .payload = payload->bytes,
                    .length = payload->length},
    };
    return 0;
}

/* ---- resolving ---- */

static const char *state_name(int32_t state) {
    return state == CDTX_HALF_COMMITTED ? "committed" : "rolled back";
}

static int32_t note(cdtx_sql *sql, const struct resolution *r, const char *action, const char *reason,
                    cdtx_error *err) {
    char subject[CDTX_GID_MAX + 8];
    snprintf(subject, sizeof subject, "half ");
    cdtx__gid_text(sql->store->uuid, r->number, subject + strlen(subject));
    struct audit_line line = {
        .actor = r->actor == NULL ? AUDIT_ENGINE : r->actor, .action = action, .subject = subject, .reason = reason};
    return cdtx__audit_append(sql, &line, err);
}

/* It was resolved before: the same is the same, and a contradiction is refused and recorded (N2). */
static int32_t resolved_before(cdtx_sql *sql, struct resolution *r, const struct half *half, cdtx_error *err) {
    r->already = half->state == r->outcome || MUTANT(sql->store->env, "bug-23");
    if (r->already)
        return 0;
    r->code = cdtx__fail(&r->err, CDTX_CONFLICT, "half message %lld is %s already, and cannot be %s",
                         (long long)r->number, state_name(half->state), state_name(r->outcome));
    return note(sql, r, "half-conflict", r->err.text, err);
}

static int32_t withdraw_check(cdtx_sql *sql, const struct half *half, cdtx_error *err) {
    char handler[CDTX_NAME_MAX + 1], key[32];
    cdtx__half_handler(half->producer, handler);
    snprintf(key, sizeof key, "%lld", (long long)half->number);
    cdtx_value arguments[] = {cdtx__sql_text(handler), cdtx__sql_text(key)};
    return cdtx__sql_run(sql,
                         "DELETE FROM cdtx_job WHERE handler = ? AND unique_key = ? AND state <> 2 AND " JOB_HOLDS_KEY,
                         arguments, 2, NULL, NULL, err);
}

static int32_t end_half(cdtx_sql *sql, const struct resolution *r, struct half *half, cdtx_error *err) {
    cdtx_value arguments[] = {SQL_INT(r->outcome), SQL_INT(cdtx__store_stamp_ms(sql->store)), SQL_INT(r->number)};
    int32_t rc = cdtx__sql_run(sql, "UPDATE cdtx_half SET state = ?, at = ?, payload = x'', parked = NULL WHERE id = ?",
                               arguments, 3, NULL, NULL, err);
    if (rc == 0 && (r->outcome == CDTX_HALF_COMMITTED || MUTANT(sql->store->env, "half-always-visible")))
        rc = cdtx__message_publish(sql, &half->message, err);
    return rc != 0 ? rc : withdraw_check(sql, half, err);
}

static int32_t close_case(cdtx_sql *sql, const struct resolution *r, cdtx_error *err) {
    char handle[CDTX_GID_MAX];
    cdtx__gid_text(sql->store->uuid, r->number, handle);
    return cdtx__case_close(sql, "half", handle, r->actor == NULL ? AUDIT_ENGINE : r->actor,
                            r->reason == NULL ? "it is resolved" : r->reason, err);
}

static int32_t find_lowest(cdtx_sql *sql, struct resolution *r, cdtx_error *err) {
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc =
        cdtx__sql_run(sql, "SELECT id FROM cdtx_half WHERE state = 1 ORDER BY id LIMIT 1", NULL, 0, rows, NULL, err);
    if (rc == 0)
        r->lowest = rows->count == 1 && !MUTANT(sql->store->env, "half-floor-high") ? cdtx__rows_int(rows, 0, 0)
                                                                                    : sql->store->meta.job + 1;
    return rc;
}

static int32_t resolve_read(cdtx_sql *sql, struct resolution *r, struct half *half, cdtx_error *err) {
    r->code = 0;
    r->already = 0;
    r->lowest = 0;
    if (half->state != CDTX_HALF_OPEN && !MUTANT(sql->store->env, "half-twice"))
        return resolved_before(sql, r, half, err);
    int32_t rc = end_half(sql, r, half, err);
    if (rc == 0 && half->parked)
        rc = close_case(sql, r, err);
    if (rc == 0 && r->actor != NULL)
        rc = note(sql, r, r->outcome == CDTX_HALF_COMMITTED ? "half-commit" : "half-rollback", r->reason, err);
    return rc != 0 ? rc : find_lowest(sql, r, err);
}

int32_t cdtx__half_resolve(cdtx_sql *sql, struct resolution *r, cdtx_error *err) {
    cdtx_rows rows;
    struct half half;
    if (FAILPOINT(sql->store->env, "msg.end_recv"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.end_recv");
    cdtx__rows_init(&rows, sql->store->env, HALF_ROWS_MAX);
    int32_t rc = cdtx__half_read(sql, r->number, &rows, &half, err);
    if (rc == 0)
        rc = resolve_read(sql, r, &half, err);
    if (rc == 0)
        snprintf(r->producer, sizeof r->producer, "%s", half.producer);
    cdtx__rows_free(&rows);
    return rc;
}

static int32_t run_resolve(cdtx_sql *sql, void *user, cdtx_error *err) {
    return cdtx__half_resolve(sql, user, err);
}

int32_t cdtx__half_end(cdtx_db *db, const char *handle, struct resolution *r, cdtx_error *err) {
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__half_check_outcome(r->outcome, err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = parse_own(db->store, handle, &r->number, err);
    if (rc == 0)
        rc = cdtx_local(db, run_resolve, r, err);
    if (rc == 0 && r->lowest > 0)
        cdtx__half_floor(db, r->producer, r->lowest);
    cdtx__leave(db->engine);
    if (rc == 0 && r->code != 0 && err != NULL)
        *err = r->err;
    return rc != 0 ? rc : r->code;
}

int32_t cdtx_half_resolve(cdtx_db *db, const char *handle, int32_t outcome, cdtx_error *err) {
    struct resolution r = {.outcome = outcome};
    return cdtx__half_end(db, handle, &r, err);
}

int32_t cdtx_half_settle(cdtx_db *db, const char *handle, int32_t outcome, const char *actor, const char *reason,
                         cdtx_error *err) {
    struct resolution r = {.outcome = outcome, .actor = actor, .reason = reason};
    int32_t rc = cdtx__audit_check(actor, reason, err);
    return rc != 0 ? rc : cdtx__half_end(db, handle, &r, err);
}

/* ---- asking ---- */

struct query {
    int64_t number;
    int32_t state;
};

static int32_t run_query(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct query *query = user;
    cdtx_value key = SQL_INT(query->number);
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT state FROM cdtx_half WHERE id = ?", &key, 1, rows, NULL, err);
    if (rc == 0 && rows->count == 0)
        return absent(sql, query->number, err);
    query->state = (int32_t)cdtx__rows_int(rows, 0, 0);
    return rc;
}

int32_t cdtx_half_query(cdtx_db *db, const char *handle, int32_t *state, cdtx_error *err) {
    struct query query = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    if (state == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the state is NULL");
    int32_t rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = parse_own(db->store, handle, &query.number, err);
    if (rc == 0)
        rc = cdtx_local(db, run_query, &query, err);
    cdtx__leave(db->engine);
    if (rc == 0)
        *state = query.state;
    return rc;
}

static const char *const names[] = {"handle", "topic", "producer", "checks", "parked", "age_ms", "payload", NULL};
enum { LIST_AGE = 5, LIST_COLUMNS = 7 };

struct list_ask {
    struct ask ask;
    const char *after;
    uint32_t limit;
};

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    int64_t now = cdtx__store_clock_ms(sql->store), after = 0;
    int32_t rc = list->after == NULL ? 0 : parse_own(sql->store, list->after, &after, err);
    cdtx_value arguments[] = {SQL_INT(after), SQL_INT(list->limit)};
    if (rc == 0)
        rc = cdtx__sql_run(sql,
                           "SELECT id, topic, producer, checks, parked, at, length(payload) FROM cdtx_half"
                           " WHERE state = 1 AND id > ? ORDER BY id LIMIT ?",
                           arguments, 2, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        char handle[CDTX_GID_MAX];
        cdtx_value values[LIST_COLUMNS];
        for (uint32_t c = 0; c < LIST_COLUMNS; c++)
            values[c] = *cdtx__rows_at(&ask->rows, i, c);
        cdtx__gid_text(sql->store->uuid, values[0].integer, handle);
        values[0] = cdtx__sql_text(handle);
        values[LIST_AGE].integer = now > values[LIST_AGE].integer ? now - values[LIST_AGE].integer : 0;
        rc = cdtx__report_add(ask->report, values, err);
    }
    return rc;
}

int32_t cdtx_half_list(cdtx_db *db, const char *after, uint32_t limit, cdtx_report **report, cdtx_error *err) {
    struct list_ask list = {.ask.run = run_list, .after = after};
    int32_t rc = cdtx__ask_limit(limit, &list.limit, err);
    return rc != 0 ? rc : cdtx__ask_report_db(db, "cdtx_half_list", names, &list.ask, report, err);
}
