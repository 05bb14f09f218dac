/* Jobs for a person: list, show, retry, cancel. */
#include <stdio.h>

#include "base/text.h"
#include "engine/ask.h"
#include "engine/job.h"

static const char *const list_names[] = {"id",         "handler",         "queue",   "state",
                                         "priority",   "attempts",        "crashes", "due_in_ms",
                                         "unique_key", "concurrency_key", "error",   NULL};
static const char *const show_names[] = {"id",       "handler", "queue",     "state",      "priority",
                                         "attempts", "crashes", "due_in_ms", "unique_key", "concurrency_key",
                                         "error",    "token",   "payload",   NULL};
enum { LIST_COLUMNS = 11, SHOW_COLUMNS = LIST_COLUMNS + 2 };

#define JOB_COLUMNS                                                                                                    \
    "id, handler, queue, state, priority, attempts, crashes, due, unique_key, concurrency_key, error, clock"
enum { JOB_STATE = 3, JOB_DUE = 7, JOB_CLOCK = 11 };

/* A leased one's due is the end of its lease, which is always on the durable clock. */
static cdtx_value due_in(const cdtx_sql *sql, const cdtx_rows *rows, uint32_t row) {
    int64_t state = cdtx__rows_int(rows, row, JOB_STATE);
    if (state == JOB_DEAD)
        return SQL_NULL;
    int wall = state == JOB_READY && cdtx__rows_int(rows, row, JOB_CLOCK) == JOB_CLOCK_WALL;
    int64_t now = wall ? cdtx__wall_ms(sql->store->env) : cdtx__store_clock_ms(sql->store);
    int64_t in = cdtx__rows_int(rows, row, JOB_DUE) - now;
    return SQL_INT(in < 0 ? 0 : in);
}

static void fill_row(const cdtx_sql *sql, const cdtx_rows *rows, uint32_t row, cdtx_value *values) {
    for (uint32_t i = 0; i < LIST_COLUMNS; i++)
        values[i] = *cdtx__rows_at(rows, row, i);
    values[JOB_DUE] = due_in(sql, rows, row);
}

/* ---- list and show ---- */

struct list_ask {
    struct ask ask;
    const cdtx_job_filter *filter;
    uint32_t limit;
};

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    const cdtx_job_filter *f = list->filter;
    cdtx_value handler = cdtx__sql_text(f->handler);
    cdtx_value arguments[] = {SQL_INT(f->after), SQL_INT(f->state), SQL_INT(f->state),
                              handler,           handler,           SQL_INT(list->limit)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT " JOB_COLUMNS " FROM cdtx_job WHERE id > ? AND (? = 0 OR state = ?)"
                               " AND (? IS NULL OR handler = ?) ORDER BY id LIMIT ?",
                               arguments, 6, &ask->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        cdtx_value values[LIST_COLUMNS];
        fill_row(sql, &ask->rows, i, values);
        rc = cdtx__report_add(ask->report, values, err);
    }
    return rc;
}

int32_t cdtx_job_list(cdtx_db *db, const cdtx_job_filter *filter, cdtx_report **report, cdtx_error *err) {
    cdtx_job_filter f = {0};
    struct list_ask list = {.ask.run = run_list, .filter = &f};
    int32_t rc = cdtx__options(filter, &f, sizeof f, sizeof f, "cdtx_job_filter", err);
    if (rc == 0)
        rc = cdtx__ask_limit(f.limit, &list.limit, err);
    if (rc == 0 && (f.state < 0 || f.state > CDTX_JOB_DEAD))
        rc = cdtx__fail(err, CDTX_INVALID, "state %d is no cdtx_job_state", f.state);
    if (rc == 0 && f.handler != NULL)
        rc = cdtx__check_name(f.handler, "the handler to list", err);
    return rc != 0 ? rc : cdtx__ask_report_db(db, "cdtx_job_list", list_names, &list.ask, report, err);
}

struct one_ask {
    struct ask ask;
    int64_t id;
    const char *actor, *reason; /* of an action */
};

static int32_t not_found(const cdtx_sql *sql, int64_t id, cdtx_error *err) {
    return cdtx__fail(err, CDTX_NOT_FOUND, "database '%s' has no job %lld: %s", sql->store->name, (long long)id,
                      id > 0 && id <= sql->store->meta.job ? "it is done or cancelled" : "that was never put");
}

static int32_t run_show(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    cdtx_value key = SQL_INT(one->id);
    int32_t rc = cdtx__sql_run(sql, "SELECT " JOB_COLUMNS ", token, payload FROM cdtx_job WHERE id = ?", &key, 1,
                               &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count == 0)
        rc = not_found(sql, one->id, err);
    if (rc != 0)
        return rc;
    cdtx_value values[SHOW_COLUMNS];
    fill_row(sql, &ask->rows, 0, values);
    values[LIST_COLUMNS] = *cdtx__rows_at(&ask->rows, 0, JOB_CLOCK + 1);
    values[LIST_COLUMNS + 1] = *cdtx__rows_at(&ask->rows, 0, JOB_CLOCK + 2);
    return cdtx__report_add(ask->report, values, err);
}

int32_t cdtx_job_show(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_show, .id = id};
    return cdtx__ask_report_db(db, "cdtx_job_show", show_names, &one.ask, report, err);
}

/* ---- actions ---- */

struct seen_job {
    char handler[CDTX_NAME_MAX + 1];
    int64_t state, length;
};

/* What an action is about to change; CONFLICT when somebody works on it. */
static int32_t read_idle(struct one_ask *one, cdtx_sql *sql, struct seen_job *job, cdtx_error *err) {
    const cdtx_rows *rows = &one->ask.rows;
    cdtx_value key = SQL_INT(one->id);
    int32_t rc = cdtx__sql_run(sql, "SELECT handler, state, length(payload) FROM cdtx_job WHERE id = ?", &key, 1,
                               &one->ask.rows, NULL, err);
    if (rc == 0 && rows->count == 0)
        rc = not_found(sql, one->id, err);
    if (rc != 0)
        return rc;
    cdtx__clean_text(job->handler, sizeof job->handler, cdtx__rows_at(rows, 0, 0)->bytes);
    job->state = cdtx__rows_int(rows, 0, 1);
    job->length = cdtx__rows_int(rows, 0, 2);
    if (job->state == JOB_LEASED)
        return cdtx__fail(err, CDTX_CONFLICT, "job %lld of '%s' is leased: somebody works on it", (long long)one->id,
                          job->handler);
    return 0;
}

static int32_t note_line(const struct one_ask *one, cdtx_sql *sql, const struct seen_job *job, const char *action,
                         cdtx_error *err) {
    char subject[32], reason[REASON_MAX + CDTX_NAME_MAX + 64];
    snprintf(subject, sizeof subject, "job %lld", (long long)one->id);
    snprintf(reason, sizeof reason, "of '%s', %s, payload %lld bytes: %s", job->handler,
             job->state == JOB_DEAD ? "dead" : "ready", (long long)job->length, one->reason);
    struct audit_line line = {.actor = one->actor, .action = action, .subject = subject, .reason = reason};
    return cdtx__audit_append(sql, &line, err);
}

static int32_t run_retry(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    struct seen_job job;
    int32_t rc = read_idle(one, sql, &job, err);
    if (rc != 0)
        return rc;
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store)), SQL_INT(one->id)};
    rc = cdtx__sql_run(sql,
                       "UPDATE OR IGNORE cdtx_job SET state = 1, clock = 0, due = ?, attempts = 0, crashes = 0"
                       " WHERE id = ? AND state <> 2",
                       arguments, 2, NULL, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return cdtx__fail(err, CDTX_CONFLICT, "job %lld: a live job of '%s' has its unique key", (long long)one->id,
                          job.handler);
    sql->store->meta.rings = 1;
    return note_line(one, sql, &job, "retry", err);
}

static int32_t run_cancel(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    struct seen_job job;
    int32_t rc = read_idle(one, sql, &job, err);
    if (rc != 0)
        return rc;
    cdtx_value key = SQL_INT(one->id);
    if (!MUTANT(sql->store->env, "cancel-forgets"))
        rc = cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE id = ? AND state <> 2", &key, 1, NULL, NULL, err);
    return rc != 0 ? rc : note_line(one, sql, &job, "cancel", err);
}

static int32_t act(cdtx_db *db, const char *what, struct one_ask *one, cdtx_error *err) {
    int32_t rc = cdtx__audit_check(one->actor, one->reason, err);
    return rc != 0 ? rc : cdtx__ask_action_db(db, what, &one->ask, err);
}

int32_t cdtx_job_retry(cdtx_db *db, int64_t id, const char *actor, const char *reason, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_retry, .id = id, .actor = actor, .reason = reason};
    return act(db, "cdtx_job_retry", &one, err);
}

int32_t cdtx_job_cancel(cdtx_db *db, int64_t id, const char *actor, const char *reason, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_cancel, .id = id, .actor = actor, .reason = reason};
    return act(db, "cdtx_job_cancel", &one, err);
}
