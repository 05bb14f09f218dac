/* Handlers for a person: pause, resume, list, and another life for their dead jobs. */
#include <stdio.h>

#include "engine/ask.h"
#include "engine/job.h"

/* ---- pausing ---- */

struct pause_ask {
    struct ask ask;
    const char *handler, *actor, *reason;
    int pauses;
};

static int32_t run_pause(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct pause_ask *pause = LIST_OF(ask, struct pause_ask, ask);
    char subject[CDTX_NAME_MAX + 16];
    cdtx_value arguments[] = {cdtx__sql_text(pause->handler), SQL_INT(cdtx__wall_ms(sql->store->env))};
    int64_t changes = 0;
    int32_t rc = pause->pauses ? cdtx__sql_run(sql, "INSERT INTO cdtx_pause VALUES (?, ?) ON CONFLICT DO NOTHING",
                                               arguments, 2, NULL, &changes, err)
                               : cdtx__sql_run(sql, "DELETE FROM cdtx_pause WHERE handler = ?", arguments, 1, NULL,
                                               &changes, err);
    if (rc == 0 && changes == 1 && pause->pauses)
        rc = cdtx__job_pass_turns_of(sql, pause->handler, err);
    if (rc != 0 || changes == 0)
        return rc;
    sql->store->meta.rings = 1;
    snprintf(subject, sizeof subject, "handler %s", pause->handler);
    struct audit_line line = {.actor = pause->actor,
                              .action = pause->pauses ? "pause" : "resume",
                              .subject = subject,
                              .reason = pause->reason};
    return cdtx__audit_append(sql, &line, err);
}

static int32_t set_pause(cdtx_db *db, const char *what, struct pause_ask *pause, cdtx_error *err) {
    pause->ask.run = run_pause;
    int32_t rc = cdtx__check_name(pause->handler, "the handler's name", err);
    if (rc == 0)
        rc = cdtx__audit_check(pause->actor, pause->reason, err);
    return rc != 0 ? rc : cdtx__ask_action_db(db, what, &pause->ask, err);
}

int32_t cdtx_handler_pause(cdtx_db *db, const char *handler, const char *actor, const char *reason, cdtx_error *err) {
    struct pause_ask pause = {.handler = handler, .actor = actor, .reason = reason, .pauses = 1};
    return set_pause(db, "cdtx_handler_pause", &pause, err);
}

int32_t cdtx_handler_resume(cdtx_db *db, const char *handler, const char *actor, const char *reason, cdtx_error *err) {
    struct pause_ask pause = {.handler = handler, .actor = actor, .reason = reason};
    return set_pause(db, "cdtx_handler_resume", &pause, err);
}

/* ---- list ---- */

static const char *const list_names[] = {"handler", "here",    "paused_ms", "ready",     "due",
                                         "leased",  "waiting", "dead",      "oldest_ms", NULL};
static const struct handler_columns columns = {.handler = 0, .here = 1, .oldest = 8, .count = 9};

struct list_ask {
    struct ask ask;
    cdtx_db *db;
};

int32_t cdtx__handler_report(struct ask *ask, cdtx_db *db, const struct handler_columns *at, int64_t now,
                             cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < ask->rows.count; i++) {
        cdtx_value values[HANDLER_COLUMNS_MAX];
        for (uint32_t c = 0; c < at->count; c++)
            values[c] = *cdtx__rows_at(&ask->rows, i, c);
        values[at->here] = SQL_INT(cdtx__handler_is_here(db, values[at->handler].bytes));
        if (values[at->oldest].type == CDTX_INT)
            values[at->oldest].integer = now > values[at->oldest].integer ? now - values[at->oldest].integer : 0;
        rc = cdtx__report_add(ask->report, values, err);
    }
    return rc;
}

static int32_t run_list(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    const struct list_ask *list = LIST_OF(ask, struct list_ask, ask);
    int64_t now = cdtx__store_clock_ms(sql->store);
    cdtx_value arguments[] = {SQL_INT(now), SQL_INT(cdtx__wall_ms(sql->store->env))};
    int32_t rc = cdtx__sql_run(
        sql,
        "WITH count (handler, ready, due, leased, waiting, dead, oldest) AS (SELECT handler, sum(state = 1),"
        " sum(state = 1 AND due <= CASE clock WHEN 0 THEN ? ELSE ? END), sum(state = 2), sum(state > 3), sum(state = "
        "3),"
        " min(CASE state WHEN 3 THEN NULL ELSE put END) FROM cdtx_job GROUP BY handler)"
        " SELECT handler, 0, (SELECT since_ms FROM cdtx_pause WHERE cdtx_pause.handler = count.handler), ready, due,"
        " leased, waiting, dead, oldest FROM count"
        " UNION ALL SELECT handler, 0, since_ms, 0, 0, 0, 0, 0, NULL FROM cdtx_pause"
        " WHERE handler NOT IN (SELECT handler FROM count) ORDER BY handler",
        arguments, 2, &ask->rows, NULL, err);
    return rc != 0 ? rc : cdtx__handler_report(ask, list->db, &columns, now, err);
}

int32_t cdtx_handler_list(cdtx_db *db, cdtx_report **report, cdtx_error *err) {
    struct list_ask list = {.ask.run = run_list, .db = db};
    return cdtx__ask_report_db(db, "cdtx_handler_list", list_names, &list.ask, report, err);
}

/* ---- redrive ---- */

enum { REDRIVE_STEP = 1000 };

struct redrive_ask {
    struct ask ask;
    const cdtx_redrive_filter *filter;
    const char *actor, *reason;
    int64_t limit, last;   /* of this step: how many, and behind which number */
    int64_t done;          /* by the steps before */
    int64_t seen, reached; /* by this step: rows looked at, the last one's number, ... */
    int64_t redriven;      /* ... and how many live again */
};

static int32_t redrive_one(struct redrive_ask *redrive, cdtx_sql *sql, int64_t id, int64_t now, cdtx_error *err) {
    const cdtx_redrive_filter *f = redrive->filter;
    int64_t nth = redrive->done + redrive->redriven, changes = 0;
    cdtx_value arguments[] = {SQL_INT(now + (f->per_s == 0 ? 0 : nth * 1000 / f->per_s)), SQL_INT(id)};
    const char *statement = "UPDATE OR IGNORE cdtx_job SET " JOB_NEW_LIFE ", due = ? WHERE id = ? AND state = 3";
    if (MUTANT(sql->store->env, "redrive-empties"))
        statement = "UPDATE OR IGNORE cdtx_job SET " JOB_NEW_LIFE ", due = ?, payload = x'' WHERE id = ? AND state = 3";
    int32_t rc = cdtx__sql_run(sql, statement, arguments, 2, NULL, &changes, err);
    redrive->redriven += changes;
    return rc;
}

static int32_t note_redrive(const struct redrive_ask *redrive, cdtx_sql *sql, cdtx_error *err) {
    char subject[CDTX_NAME_MAX + 16], reason[REASON_MAX + 64];
    snprintf(subject, sizeof subject, "handler %s", redrive->filter->handler);
    snprintf(reason, sizeof reason, "%lld dead jobs: %s", (long long)redrive->redriven, redrive->reason);
    struct audit_line line = {.actor = redrive->actor, .action = "redrive", .subject = subject, .reason = reason};
    sql->store->meta.rings = 1;
    return cdtx__audit_append(sql, &line, err);
}

static int32_t run_redrive(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct redrive_ask *redrive = LIST_OF(ask, struct redrive_ask, ask);
    const cdtx_redrive_filter *f = redrive->filter;
    cdtx_value error = cdtx__sql_text(f->error);
    cdtx_value arguments[] = {cdtx__sql_text(f->handler), SQL_INT(redrive->last), SQL_INT(f->upto), error, error,
                              SQL_INT(redrive->limit)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT id FROM cdtx_job WHERE handler = ? AND state = 3 AND id > ? AND id <= ?"
                               " AND (? IS NULL OR instr(error, ?) > 0) ORDER BY id LIMIT ?",
                               arguments, 6, &ask->rows, NULL, err);
    int64_t now = cdtx__store_stamp_ms(sql->store);
    redrive->redriven = 0;
    redrive->seen = rc == 0 ? ask->rows.count : 0;
    for (uint32_t i = 0; rc == 0 && i < redrive->seen; i++) {
        redrive->reached = cdtx__rows_int(&ask->rows, i, 0);
        rc = redrive_one(redrive, sql, redrive->reached, now, err);
    }
    return rc != 0 || redrive->redriven == 0 ? rc : note_redrive(redrive, sql, err);
}

static int32_t redrive_steps(cdtx_db *db, struct redrive_ask *redrive, int64_t *count, cdtx_error *err) {
    int64_t most = redrive->filter->most > 0 ? redrive->filter->most : INT64_MAX;
    redrive->last = redrive->filter->after;
    for (;;) {
        redrive->limit = most - redrive->done < REDRIVE_STEP ? most - redrive->done : REDRIVE_STEP;
        int32_t rc = cdtx__ask_action_db(db, "cdtx_job_redrive", &redrive->ask, err);
        if (rc != 0)
            return rc;
        *count = redrive->done += redrive->redriven;
        redrive->last = redrive->reached;
        if (redrive->seen < redrive->limit || redrive->done >= most)
            return 0;
    }
}

int32_t cdtx_job_redrive(cdtx_db *db, const cdtx_redrive_filter *filter, const char *actor, const char *reason,
                         int64_t *count, cdtx_error *err) {
    cdtx_redrive_filter f = {0};
    struct redrive_ask redrive = {.ask.run = run_redrive, .filter = &f, .actor = actor, .reason = reason};
    int64_t done = 0;
    int32_t rc = cdtx__options(filter, &f, sizeof f, sizeof f, "cdtx_redrive_filter", err);
    if (rc == 0)
        rc = cdtx__check_name(f.handler, "the handler to redrive", err);
    if (rc == 0 && (f.after < 0 || f.upto < 0 || f.most < 0))
        rc = cdtx__fail(err, CDTX_INVALID, "a number of the redrive filter is negative");
    if (rc == 0)
        rc = cdtx__audit_check(actor, reason, err);
    if (f.upto == 0)
        f.upto = INT64_MAX;
    if (rc == 0)
        rc = redrive_steps(db, &redrive, &done, err);
    if (count != NULL)
        *count = done;
    return rc;
}
