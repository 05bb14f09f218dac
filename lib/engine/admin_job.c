/* Jobs for a person: list, show, retry, cancel. */
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "engine/ask.h"
#include "engine/job.h"

static const char *const list_names[] = {"id",       "handler", "queue",     "state",      "priority",
                                         "attempts", "crashes", "due_in_ms", "unique_key", "concurrency_key",
                                         "error",    "age_ms",  NULL};
static const char *const show_names[] = {
    "id",         "handler",         "queue", "state",  "priority", "attempts", "crashes",        "due_in_ms",
    "unique_key", "concurrency_key", "error", "age_ms", "token",    "payload",  "deadline_in_ms", NULL};
enum { LIST_COLUMNS = 12, SHOW_COLUMNS = LIST_COLUMNS + 3 };

#define JOB_COLUMNS                                                                                                    \
    "id, handler, queue, state, priority, attempts, crashes, due, unique_key, concurrency_key, error, put, clock"
enum { JOB_STATE = 3, JOB_DUE = 7, JOB_PUT = 11, JOB_CLOCK = 12, JOB_TOKEN, JOB_PAYLOAD, JOB_DEADLINE };

static int64_t not_negative(int64_t ms) {
    return ms < 0 ? 0 : ms;
}

/* A leased one's due is the end of its lease, which is always on the durable clock. */
static cdtx_value due_in(const cdtx_sql *sql, const cdtx_rows *rows, uint32_t row) {
    int64_t state = cdtx__rows_int(rows, row, JOB_STATE);
    if (state == JOB_DEAD)
        return SQL_NULL;
    int wall = state != JOB_LEASED && cdtx__rows_int(rows, row, JOB_CLOCK) == JOB_CLOCK_WALL;
    int64_t now = wall ? cdtx__wall_ms(sql->store->env) : cdtx__store_clock_ms(sql->store);
    return SQL_INT(not_negative(cdtx__rows_int(rows, row, JOB_DUE) - now));
}

static void fill_row(const cdtx_sql *sql, const cdtx_rows *rows, uint32_t row, cdtx_value *values) {
    for (uint32_t i = 0; i < LIST_COLUMNS; i++)
        values[i] = *cdtx__rows_at(rows, row, i);
    values[JOB_DUE] = due_in(sql, rows, row);
    values[JOB_PUT] = SQL_INT(not_negative(cdtx__store_clock_ms(sql->store) - cdtx__rows_int(rows, row, JOB_PUT)));
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
    if (rc == 0 && (f.state < 0 || f.state > CDTX_JOB_NEXT))
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

static int32_t run_show(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    cdtx_value key = SQL_INT(one->id);
    int32_t rc = cdtx__sql_run(sql, "SELECT " JOB_COLUMNS ", token, payload, deadline FROM cdtx_job WHERE id = ?", &key,
                               1, &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count == 0)
        rc = cdtx__job_absent(sql, one->id, err);
    if (rc != 0)
        return rc;
    cdtx_value values[SHOW_COLUMNS];
    fill_row(sql, &ask->rows, 0, values);
    values[LIST_COLUMNS] = *cdtx__rows_at(&ask->rows, 0, JOB_TOKEN);
    values[LIST_COLUMNS + 1] = *cdtx__rows_at(&ask->rows, 0, JOB_PAYLOAD);
    values[LIST_COLUMNS + 2] = *cdtx__rows_at(&ask->rows, 0, JOB_DEADLINE);
    if (values[LIST_COLUMNS + 2].type == CDTX_INT)
        values[LIST_COLUMNS + 2].integer =
            not_negative(values[LIST_COLUMNS + 2].integer - cdtx__store_clock_ms(sql->store));
    return cdtx__report_add(ask->report, values, err);
}

int32_t cdtx_job_show(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_show, .id = id};
    return cdtx__ask_report_db(db, "cdtx_job_show", show_names, &one.ask, report, err);
}

/* ---- history ---- */

static const char *const history_names[] = {"at_ms", "attempt", "code", "error", NULL};

/* One line of the column: numbers and names without a tab, then a sentence. The first one may be cut. */
static int32_t add_line(struct ask *ask, const char *line, size_t length, cdtx_error *err) {
    const char *tabs[3], *at = line;
    for (int i = 0; i < 3; i++) {
        tabs[i] = memchr(at, '\t', length - (size_t)(at - line));
        if (tabs[i] == NULL)
            return 0;
        at = tabs[i] + 1;
    }
    cdtx_value values[] = {SQL_INT(strtoll(line, NULL, 10)),
                           SQL_INT(strtoll(tabs[0] + 1, NULL, 10)),
                           {.type = CDTX_TEXT, .length = (uint32_t)(tabs[2] - tabs[1] - 1), .bytes = tabs[1] + 1},
                           {.type = CDTX_TEXT, .length = (uint32_t)(line + length - at), .bytes = at}};
    return cdtx__report_add(ask->report, values, err);
}

static int32_t run_history(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct one_ask *one = LIST_OF(ask, struct one_ask, ask);
    cdtx_value key = SQL_INT(one->id);
    int32_t rc =
        cdtx__sql_run(sql, "SELECT coalesce(history, '') FROM cdtx_job WHERE id = ?", &key, 1, &ask->rows, NULL, err);
    if (rc == 0 && ask->rows.count == 0)
        rc = cdtx__job_absent(sql, one->id, err);
    if (rc != 0)
        return rc;
    const cdtx_value *history = cdtx__rows_at(&ask->rows, 0, 0);
    const char *line = history->bytes, *end = line + history->length, *next;
    for (; rc == 0 && line < end && (next = memchr(line, '\n', (size_t)(end - line))) != NULL; line = next + 1)
        rc = add_line(ask, line, (size_t)(next - line), err);
    return rc;
}

int32_t cdtx_job_history(cdtx_db *db, int64_t id, cdtx_report **report, cdtx_error *err) {
    struct one_ask one = {.ask.run = run_history, .id = id};
    return cdtx__ask_report_db(db, "cdtx_job_history", history_names, &one.ask, report, err);
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
        rc = cdtx__job_absent(sql, one->id, err);
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

static const char *state_word(int64_t state) {
    return state == JOB_DEAD ? "dead" : state == JOB_WAITING ? "waiting" : state == JOB_NEXT ? "next" : "ready";
}

static int32_t note_line(const struct one_ask *one, cdtx_sql *sql, const struct seen_job *job, const char *action,
                         cdtx_error *err) {
    char subject[32], reason[REASON_MAX + CDTX_NAME_MAX + 64];
    snprintf(subject, sizeof subject, "job %lld", (long long)one->id);
    snprintf(reason, sizeof reason, "of '%s', %s, payload %lld bytes: %s", job->handler, state_word(job->state),
             (long long)job->length, one->reason);
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
    if (job.state == JOB_WAITING || job.state == JOB_NEXT)
        return cdtx__fail(err, CDTX_CONFLICT, "job %lld of '%s' is behind another of its key", (long long)one->id,
                          job.handler);
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store)), SQL_INT(one->id)};
    rc = cdtx__sql_run(sql, "UPDATE OR IGNORE cdtx_job SET " JOB_NEW_LIFE ", due = ? WHERE id = ? AND state <> 2",
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
    int gone = 0;
    rc = cdtx__job_withdraw(sql, one->id, &gone, err);
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
