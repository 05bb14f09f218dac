/* Putting jobs, and what a unique key makes of a put. */
#include "engine/job.h"
#include "store/lent.h"

/* ---- checks ---- */

static int32_t check_times(const cdtx *engine, const cdtx_job_options *o, cdtx_error *err) {
    int32_t rc = cdtx__check_ms(o->delay_ms, "delay_ms", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->deadline_ms, "deadline_ms", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->debounce_max_ms, "debounce_max_ms", err);
    if (rc != 0)
        return rc;
    if (o->at_ms < 0)
        return cdtx__fail(err, CDTX_INVALID, "at_ms is %lld, which is before 1970", (long long)o->at_ms);
    if (o->at_ms > 0 && o->delay_ms > 0)
        return cdtx__fail(err, CDTX_INVALID, "a job has a delay_ms or an at_ms, not both");
    if (o->at_ms > cdtx__wall_ms(engine->env) + CDTX_TIME_MAX_MS)
        return cdtx__fail(err, CDTX_INVALID, "at_ms is more than ten years from now");
    if (o->deadline_ms > 0 && o->delay_ms >= o->deadline_ms)
        return cdtx__fail(err, CDTX_INVALID, "its deadline_ms, %lld, would be over before its delay_ms, %lld",
                          (long long)o->deadline_ms, (long long)o->delay_ms);
    return 0;
}

static int32_t check_keys(const cdtx_job_options *o, cdtx_error *err) {
    int32_t rc = 0;
    if (o->unique_key != NULL)
        rc = cdtx__check_name(o->unique_key, "the unique key", err);
    if (rc == 0 && o->concurrency_key != NULL)
        rc = cdtx__check_name(o->concurrency_key, "the concurrency key", err);
    if (rc != 0)
        return rc;
    if (o->unique_policy < CDTX_UNIQUE_REJECT || o->unique_policy > CDTX_UNIQUE_DEBOUNCE)
        return cdtx__fail(err, CDTX_INVALID, "unique_policy %d is no cdtx_unique_policy", o->unique_policy);
    if (o->unique_policy != CDTX_UNIQUE_REJECT && o->unique_key == NULL)
        return cdtx__fail(err, CDTX_INVALID, "a unique_policy without a unique_key");
    if (o->debounce_max_ms > 0 && o->unique_policy != CDTX_UNIQUE_DEBOUNCE)
        return cdtx__fail(err, CDTX_INVALID, "debounce_max_ms is for the policy CDTX_UNIQUE_DEBOUNCE");
    if (o->debounce_max_ms > 0 && o->at_ms > 0)
        return cdtx__fail(err, CDTX_INVALID, "debounce_max_ms is for a delay_ms; an at_ms is not put off");
    return 0;
}

int32_t cdtx__job_check(const cdtx *engine, struct job_put *put, cdtx_error *err) {
    cdtx_job_options *o = &put->options;
    if (o->queue == NULL)
        o->queue = "default";
    int32_t rc = cdtx__check_name(put->handler, "the handler's name", err);
    if (rc == 0)
        rc = cdtx__check_payload(engine, put->payload, put->length, err);
    if (rc == 0)
        rc = cdtx__check_name(o->queue, "the queue's name", err);
    if (rc == 0)
        rc = check_times(engine, o, err);
    if (rc == 0 && (o->priority < 0 || o->priority > CDTX_PRIORITY_MAX))
        rc = cdtx__fail(err, CDTX_INVALID, "priority is %d; it must be from 0 to %d", o->priority, CDTX_PRIORITY_MAX);
    return rc != 0 ? rc : check_keys(o, err);
}

/* ---- one row ---- */

static int64_t due_of(cdtx_sql *sql, const cdtx_job_options *o, int64_t now) {
    if (o->at_ms > 0)
        return o->at_ms;
    if (MUTANT(sql->store->env, "bug-17"))
        now = cdtx__wall_ms(sql->store->env);
    return now + o->delay_ms;
}

static cdtx_value deadline_of(const cdtx_job_options *o, int64_t now) {
    return o->deadline_ms > 0 ? SQL_INT(now + o->deadline_ms) : SQL_NULL;
}

/* Not remembered beyond the put: a lane that was made in this transaction may yet be undone. */
static int32_t find_lane(cdtx_sql *sql, struct job_put *put, cdtx_error *err) {
    if (put->lane != 0)
        return 0;
    const char *handler = put->handler, *queue = put->options.queue;
    cdtx_value arguments[] = {cdtx__sql_text(queue), cdtx__sql_text(handler)};
    int32_t rc = cdtx__job_lane(sql, handler, queue, &put->lane, err);
    if (rc != 0 || put->lane != 0)
        return rc;
    rc = cdtx__sql_run(sql, "INSERT INTO cdtx_lane (queue, handler) VALUES (?, ?)", arguments, 2, NULL, NULL, err);
    if (rc == 0)
        rc = cdtx__job_lane(sql, handler, queue, &put->lane, err);
    if (rc == 0 && put->lane > JOB_LANES_MAX)
        rc = cdtx__fail(err, CDTX_LIMIT, "database '%s' knows jobs of %d handlers already; '%s' would be one more",
                        sql->store->name, JOB_LANES_MAX, handler);
    return rc;
}

/* A row, and the marks of its values in their order. */
enum { ROW_VALUES = 16, PACK = 16 };
#define ROW       "(?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define FOUR_ROWS ROW ", " ROW ", " ROW ", " ROW
#define INSERT_INTO                                                                                                    \
    "INSERT INTO cdtx_job (id, queue, handler, state, priority, clock, due, attempts, crashes, token, unique_key,"     \
    " concurrency_key, payload, deadline, put, msg, msg_key, msg_id, lane) VALUES "

static void fill_row(cdtx_sql *sql, const struct job_put *put, int64_t state, int64_t id, int64_t now,
                     cdtx_value values[ROW_VALUES]) {
    const cdtx_job_options *o = &put->options;
    cdtx_value row[ROW_VALUES] = {SQL_INT(id),
                                  cdtx__sql_text(o->queue),
                                  cdtx__sql_text(put->handler),
                                  SQL_INT(state),
                                  SQL_INT(o->priority),
                                  SQL_INT(o->at_ms > 0 ? JOB_CLOCK_WALL : JOB_CLOCK_DURABLE),
                                  SQL_INT(due_of(sql, o, now)),
                                  cdtx__sql_text(o->unique_key),
                                  cdtx__sql_text(o->concurrency_key),
                                  cdtx__sql_blob(put->payload, put->length),
                                  deadline_of(o, now),
                                  SQL_INT(now),
                                  put->message == 0 ? SQL_NULL : SQL_INT(put->message),
                                  cdtx__sql_text(put->message_key),
                                  cdtx__sql_text(put->message_id),
                                  SQL_INT(put->lane)};
    memcpy(values, row, sizeof row);
}

static int32_t insert(cdtx_sql *sql, const struct job_put *put, int64_t state, int64_t *id, int *inserted,
                      cdtx_error *err) {
    cdtx_value values[ROW_VALUES];
    int64_t now = cdtx__store_stamp_ms(sql->store), changes = 0;
    int32_t rc = cdtx__lent_next_job(sql, id, err); /* also saves the clock that due is measured by */
    if (rc != 0)
        return rc;
    fill_row(sql, put, state, *id, now, values);
    rc = cdtx__sql_run(sql, INSERT_INTO ROW " ON CONFLICT DO NOTHING", values, ROW_VALUES, NULL, &changes, err);
    if (rc == 0)
        *inserted = changes == 1;
    return rc;
}

/* Numbers are given out once; somebody has set the counter back. */
static int32_t number_taken(const cdtx_sql *sql, int64_t id, cdtx_error *err) {
    return cdtx__fail(err, CDTX_CORRUPT, "database '%s': job number %lld was given out anew, and there is such a job",
                      sql->store->name, (long long)id);
}

/* ---- unique keys ---- */

struct holder {
    int64_t id, state, put, token;
    const char *concurrency_key; /* borrowed from the store's rows; NULL: none */
};

static int32_t find(cdtx_sql *sql, const struct job_put *put, const char *statement, struct holder *holder,
                    cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(put->handler), cdtx__sql_text(put->options.unique_key)};
    cdtx_rows *rows = &sql->store->rows;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, statement, arguments, 2, rows, NULL, err);
    *holder = (struct holder){0};
    if (rc == 0 && rows->count == 1)
        *holder = (struct holder){cdtx__rows_int(rows, 0, 0), cdtx__rows_int(rows, 0, 1), cdtx__rows_int(rows, 0, 2),
                                  cdtx__rows_int(rows, 0, 3), cdtx__rows_at(rows, 0, 4)->bytes};
    return rc;
}

static int32_t find_live(cdtx_sql *sql, const struct job_put *put, struct holder *holder, cdtx_error *err) {
    return find(sql, put,
                "SELECT id, state, put, token, concurrency_key FROM cdtx_job WHERE handler = ? AND unique_key = ?"
                " AND " JOB_HOLDS_KEY,
                holder, err);
}

static int32_t find_next(cdtx_sql *sql, const struct job_put *put, struct holder *holder, cdtx_error *err) {
    return find(sql, put,
                "SELECT id, state, put, token, concurrency_key FROM cdtx_job WHERE handler = ? AND unique_key = ?"
                " AND state = 5",
                holder, err);
}

/* A debounced one is put off, but not for ever. */
static int64_t put_off(cdtx_sql *sql, const struct job_put *put, const struct holder *holder, int64_t now) {
    int64_t due = due_of(sql, &put->options, now), latest = holder->put + put->options.debounce_max_ms;
    return put->options.debounce_max_ms > 0 && due > latest ? latest : due;
}

/* Nobody works on it: it becomes what was put now. One that waits for its turn asks for it anew. *id is a number that
 * nobody has, and gets the job's: an attempt may have left its mark in another database under the old one, which would
 * count for the new job. */
static int32_t replace(cdtx_sql *sql, const struct job_put *put, const struct holder *holder, int64_t *id,
                       cdtx_error *err) {
    const cdtx_job_options *o = &put->options;
    int64_t now = cdtx__store_stamp_ms(sql->store);
    if (holder->token == 0)
        *id = holder->id;
    int32_t rc = cdtx__job_pass_on(sql, put->handler, NULL, holder->concurrency_key, err); /* it may have been first */
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {SQL_INT(holder->state == JOB_NEXT ? JOB_NEXT : JOB_READY),
                              cdtx__sql_text(o->queue),
                              SQL_INT(o->priority),
                              SQL_INT(o->at_ms > 0 ? JOB_CLOCK_WALL : JOB_CLOCK_DURABLE),
                              SQL_INT(put_off(sql, put, holder, now)),
                              cdtx__sql_text(o->concurrency_key),
                              cdtx__sql_blob(put->payload, put->length),
                              deadline_of(o, now),
                              SQL_INT(put->lane),
                              SQL_INT(*id),
                              SQL_INT(holder->id)};
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_job SET state = ?, queue = ?, priority = ?, clock = ?, due = ?, attempts = 0,"
                         " crashes = 0, curve = 0, concurrency_key = ?, payload = ?, deadline = ?, lane = ?, id = ?"
                         " WHERE id = ?",
                         arguments, 11, NULL, NULL, err);
}

static int32_t keep_payload(cdtx_sql *sql, int64_t from, int64_t to, cdtx_error *err) {
    cdtx_value arguments[] = {SQL_INT(from), SQL_INT(to)};
    return cdtx__sql_run(sql, "UPDATE cdtx_job SET payload = (SELECT payload FROM cdtx_job WHERE id = ?) WHERE id = ?",
                         arguments, 2, NULL, NULL, err);
}

/* An attempt at the live one is under way: what is put now comes behind it. */
static int32_t put_behind(cdtx_sql *sql, const struct job_put *put, const struct holder *live, int64_t *id,
                          cdtx_error *err) {
    struct holder next;
    int inserted = 0, keeps = put->options.unique_policy == CDTX_UNIQUE_KEEP;
    int32_t rc = find_next(sql, put, &next, err);
    if (rc == 0 && next.id != 0 && !keeps)
        return replace(sql, put, &next, id, err);
    if (rc != 0 || next.id != 0) {
        *id = next.id;
        return rc;
    }
    rc = insert(sql, put, JOB_NEXT, id, &inserted, err);
    if (rc == 0 && !inserted)
        return number_taken(sql, *id, err);
    return rc == 0 && keeps ? keep_payload(sql, live->id, *id, err) : rc;
}

/* The newest put is the last to run: an older one behind it, of which nothing has begun, goes. */
static int32_t replace_both(cdtx_sql *sql, const struct job_put *put, const struct holder *live, int64_t *id,
                            cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(put->handler), cdtx__sql_text(put->options.unique_key)};
    int32_t rc = replace(sql, put, live, id, err);
    return rc != 0 ? rc
                   : cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE handler = ? AND unique_key = ? AND state = 5",
                                   arguments, 2, NULL, NULL, err);
}

static int32_t put_onto(cdtx_sql *sql, const struct job_put *put, int64_t *id, cdtx_error *err) {
    struct holder live;
    int32_t rc = find_live(sql, put, &live, err);
    if (rc != 0)
        return rc;
    if (live.id == 0)
        return number_taken(sql, *id, err);
    if (put->options.unique_policy == CDTX_UNIQUE_REJECT)
        return cdtx__fail(err, CDTX_CONFLICT, "a job of '%s' with the unique key '%.120s' is live already",
                          put->handler, put->options.unique_key);
    if (live.state == JOB_LEASED)
        return put_behind(sql, put, &live, id, err);
    if (put->options.unique_policy != CDTX_UNIQUE_KEEP && !MUTANT(sql->store->env, "replace-keeps"))
        return replace_both(sql, put, &live, id, err);
    *id = live.id;
    return 0;
}

int32_t cdtx__job_insert(cdtx_sql *sql, struct job_put *put, int64_t *id, cdtx_error *err) {
    int inserted = 0;
    int32_t rc = find_lane(sql, put, err);
    if (rc == 0)
        rc = insert(sql, put, JOB_READY, id, &inserted, err);
    if (rc == 0 && !inserted)
        rc = put_onto(sql, put, id, err);
    if (rc == 0)
        sql->store->meta.rings = 1;
    return rc;
}

/* ---- many at once ---- */

/* PACK jobs without a unique key by one statement: most of what a row costs is the statement around it. */
static int32_t insert_pack(cdtx_sql *sql, struct job_put *put, const cdtx_bytes *payloads, int64_t *first_id,
                           cdtx_error *err) {
    cdtx_value values[PACK * ROW_VALUES];
    int64_t now = cdtx__store_stamp_ms(sql->store), changes = 0, id = 0;
    int32_t rc = find_lane(sql, put, err);
    for (uint32_t i = 0; i < PACK && rc == 0; i++) {
        put->payload = payloads[i].bytes;
        put->length = payloads[i].length;
        rc = cdtx__lent_next_job(sql, &id, err);
        if (i == 0)
            *first_id = id;
        fill_row(sql, put, JOB_READY, id, now, &values[i * ROW_VALUES]);
    }
    if (rc == 0)
        rc = cdtx__sql_run(sql,
                           INSERT_INTO FOUR_ROWS ", " FOUR_ROWS ", " FOUR_ROWS ", " FOUR_ROWS " ON CONFLICT DO NOTHING",
                           values, PACK * ROW_VALUES, NULL, &changes, err);
    if (rc == 0 && changes != PACK)
        rc = number_taken(sql, *first_id, err);
    sql->store->meta.rings = 1;
    return rc;
}

static int32_t insert_one(cdtx_sql *sql, struct job_put *put, const cdtx_bytes *payload, int64_t *id, cdtx_error *err) {
    put->payload = payload->bytes;
    put->length = payload->length;
    return cdtx__job_insert(sql, put, id, err);
}

static int32_t insert_all(cdtx_sql *sql, struct job_put *put, const cdtx_bytes *payloads, uint32_t count,
                          int64_t *first_id, cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t i = 0, step; i < count && rc == 0; i += step) {
        int64_t id = 0;
        int packed = count - i >= PACK && put->options.unique_key == NULL;
        step = packed ? PACK : 1;
        rc = packed ? insert_pack(sql, put, payloads + i, &id, err) : insert_one(sql, put, payloads + i, &id, err);
        if (i == 0)
            *first_id = id;
    }
    return rc;
}

/* ---- the public calls ---- */

int32_t cdtx_job_put_many(cdtx_sql *sql, const char *handler, const cdtx_bytes *payloads, uint32_t count,
                          const cdtx_job_options *options, int64_t *first_id, cdtx_error *err) {
    struct job_put put = {.handler = handler};
    if (payloads == NULL || count == 0 || count > CDTX_MANY_MAX)
        return cdtx__fail(err, CDTX_INVALID, "%u payloads at once; it must be from 1 to %d", count, CDTX_MANY_MAX);
    int32_t rc = cdtx__options(options, &put.options, sizeof put.options, sizeof put.options, "cdtx_job_options", err);
    if (rc == 0)
        rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    if (handler != NULL && cdtx__handler_is_ours(handler))
        rc = cdtx__fail(err, CDTX_INVALID, "jobs of '%.120s' are the library's own", handler);
    const cdtx *engine = ((cdtx_db *)sql->store->owner)->engine;
    int64_t first = 0;
    if (count > 1 && put.options.unique_key != NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "%u jobs with one unique key: the second would conflict with the first",
                        count);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        put.payload = payloads[i].bytes;
        put.length = payloads[i].length;
        rc = i == 0 ? cdtx__job_check(engine, &put, err) : cdtx__check_payload(engine, put.payload, put.length, err);
    }
    if (rc == 0)
        rc = insert_all(sql, &put, payloads, count, &first, err);
    if (rc == 0 && first_id != NULL)
        *first_id = first;
    cdtx__sql_leave(sql);
    return rc;
}

int32_t cdtx_job_put(cdtx_sql *sql, const char *handler, const void *payload, size_t length,
                     const cdtx_job_options *options, int64_t *id, cdtx_error *err) {
    return cdtx_job_put_many(sql, handler, &(cdtx_bytes){payload, length}, 1, options, id, err);
}
