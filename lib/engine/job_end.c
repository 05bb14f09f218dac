/* Ending jobs. */
#include "engine/job.h"

#include "base/backoff.h"

/* How soon after an end its guard in another database may go. */
enum { FLOOR_LOOK_US = 1000000 };

/* ---- one row ---- */

static int32_t lost(const struct job *job, cdtx_error *err) {
    return cdtx__fail(err, CDTX_CONFLICT, "job %lld: its lease %lld was lost, another has it or had it",
                      (long long)job->id, (long long)job->token);
}

/* It is live no longer: whoever stands behind its keys may go on. */
static int32_t pass_on(const struct job *job, cdtx_sql *sql, cdtx_error *err) {
    return cdtx__job_pass_on(sql, job->handler->name, job->unique_key, job->concurrency_key, err);
}

int32_t cdtx__job_delete(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(job->id), SQL_INT(job->token)};
    int32_t rc = cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE id = ? AND token = ? AND state = 2", arguments, 2, NULL,
                               &changes, err);
    if (rc != 0)
        return rc;
    return changes == 0 ? lost(job, err) : pass_on(job, sql, err);
}

int32_t cdtx__job_extend(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int64_t changes = 0, until = cdtx__store_stamp_ms(sql->store) + job->handler->options.lease_ms;
    cdtx_value arguments[] = {SQL_INT(until), SQL_INT(job->id), SQL_INT(job->token)};
    const char *statement = "UPDATE cdtx_job SET due = ? WHERE id = ? AND token = ? AND state = 2";
    if (MUTANT(sql->store->env, "beat-revives"))
        statement = "UPDATE cdtx_job SET due = ? WHERE id = ? AND token >= ? AND state = 2";
    int32_t rc = cdtx__sql_run(sql, statement, arguments, 3, NULL, &changes, err);
    return rc != 0 || changes == 1 ? rc : lost(job, err);
}

/* In order, it stays the first of its key while it waits; else its turn is free. */
static int32_t rest(const struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int keeps = job->handler->options.in_order;
    return cdtx__job_pass_on(sql, job->handler->name, NULL, keeps ? NULL : job->concurrency_key, err);
}

/* At its deadline at the latest: that is when it is dead. */
static int32_t snooze(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int64_t changes = 0, due = cdtx__store_stamp_ms(sql->store) + job->wish_ms;
    cdtx_value arguments[] = {SQL_INT(due < job->deadline ? due : job->deadline), SQL_INT(job->id),
                              SQL_INT(job->token)};
    const char *statement = "UPDATE cdtx_job SET state = 1, clock = 0, due = ?, attempts = attempts - 1"
                            " WHERE id = ? AND token = ? AND state = 2";
    if (MUTANT(sql->store->env, "snooze-counts"))
        statement = "UPDATE cdtx_job SET state = 1, clock = 0, due = ? WHERE id = ? AND token = ? AND state = 2";
    int32_t rc = cdtx__sql_run(sql, statement, arguments, 3, NULL, &changes, err);
    if (rc != 0)
        return rc;
    sql->store->meta.rings = 1;
    return changes == 0 ? lost(job, err) : rest(job, sql, err);
}

static int64_t backoff_ms(const struct job *job) {
    const cdtx_handler_options *o = &job->handler->options;
    if (job->wish == WISH_AFTER && !MUTANT(job->work.engine->env, "after-ignored"))
        return job->wish_ms;
    int64_t delay = cdtx__backoff_ms(job->work.engine->env, job->curve + 1, o->backoff_min_ms, o->backoff_max_ms);
    return job->code == CDTX_BUSY && job->err.retry_after_ms > delay ? job->err.retry_after_ms : delay;
}

/* Why no attempt comes after this one; NULL: one does, at *due. */
static const char *why_dead(const struct job *job, int64_t *due) {
    if (job->code == CDTX_REFUSED)
        return "the handler refused it for good";
    if (job->attempt >= job->handler->options.attempts_max && !MUTANT(job->work.engine->env, "poison-immortal"))
        return "that was its last attempt";
    *due += backoff_ms(job);
    return *due >= job->deadline ? "its deadline is over before the next attempt" : NULL;
}

static int32_t failed(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    char line[JOB_LINE_SIZE];
    int64_t changes = 0, now = cdtx__store_stamp_ms(sql->store), due = now;
    const char *why = why_dead(job, &due);
    job->dead = why != NULL;
    if (job->dead && FAILPOINT(sql->store->env, "retry.dead"))
        return cdtx__fail(err, CDTX_IO, "failpoint retry.dead");
    cdtx__job_history_line(sql, job->attempt, job->code, job->err.text, line);
    cdtx_value arguments[] = {SQL_INT(job->dead ? JOB_DEAD : JOB_READY),
                              SQL_INT(job->dead ? 0 : due),
                              job->dead ? SQL_INT(now) : SQL_NULL,
                              job->dead && MUTANT(sql->store->env, "dead-nameless") ? SQL_NULL
                                                                                    : cdtx__sql_text(job->err.text),
                              SQL_INT(job->wish != WISH_AFTER),
                              cdtx__sql_text(line),
                              SQL_INT(JOB_HISTORY_MAX),
                              SQL_INT(job->id),
                              SQL_INT(job->token)};
    int32_t rc = cdtx__sql_run(sql,
                               "UPDATE cdtx_job SET state = ?, clock = 0, due = ?, died = ?, error = ?,"
                               " curve = curve + ?, " JOB_HISTORY_AND_LINE " WHERE id = ? AND token = ? AND state = 2",
                               arguments, 9, NULL, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return lost(job, err);
    if (job->dead)
        cdtx__log(sql->store->env, CDTX_LOG_WARNING, "job %lld of '%s' is dead, %s: %s", (long long)job->id,
                  job->handler->name, why, job->err.text);
    sql->store->meta.rings = 1;
    return job->dead ? pass_on(job, sql, err) : rest(job, sql, err);
}

static int32_t write_end(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    job->dead = 0;
    if (job->code != CDTX_BUSY)
        job->wish = WISH_NONE; /* it has changed its mind */
    if (job->code == 0)
        return cdtx__job_delete(job, sql, err);
    return job->wish == WISH_SNOOZE ? snooze(job, sql, err) : failed(job, sql, err);
}

/* ---- several rows ---- */

static int has_keys(const struct job *job) {
    return job->unique_key != NULL || job->concurrency_key != NULL;
}

/* Both have only to go, and a claim has found that between the two, in number, it leases no other of their lane. */
static int goes_with(const struct job *job, const struct job *before) {
    return before != NULL && job->after == before->id && job->handler == before->handler &&
           job->token == before->token && job->code == 0 && before->code == 0 && !has_keys(job) && !has_keys(before);
}

#define LEASED_BETWEEN "id BETWEEN ? AND ? AND token = ? AND state = 2 AND lane = ?"

/* Do all of them still have their leases, and nobody else one among them? */
static int32_t are_all_leased(const struct job *first, cdtx_sql *sql, const cdtx_value arguments[4], int *all,
                              cdtx_error *err) {
    cdtx_rows *rows = &sql->store->rows;
    uint32_t row = 0;
    cdtx__rows_reset(rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT id FROM cdtx_job WHERE " LEASED_BETWEEN " ORDER BY id", arguments, 4, rows,
                               NULL, err);
    *all = rc == 0;
    if (MUTANT(sql->store->env, "ends-unlooked"))
        return rc;
    for (const struct job *job = first; job != NULL && *all; job = job->with_it, row++)
        *all = row < rows->count && cdtx__rows_int(rows, row, 0) == job->id;
    *all &= row == rows->count;
    return rc;
}

/* All of them by one statement, since most of what an end costs is the statement around it; *all: it was possible. */
static int32_t delete_all(const struct job *first, cdtx_sql *sql, int *all, cdtx_error *err) {
    const struct job *last = first;
    while (last->with_it != NULL)
        last = last->with_it;
    cdtx_value arguments[] = {SQL_INT(first->id), SQL_INT(last->id), SQL_INT(first->token), SQL_INT(first->lane)};
    int32_t rc = are_all_leased(first, sql, arguments, all, err);
    if (rc == 0 && *all)
        rc = cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE " LEASED_BETWEEN, arguments, 4, NULL, NULL, err);
    *all &= rc == 0;
    return rc;
}

static int32_t run_ends(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *first = LIST_OF(rider, struct job, rider);
    int all = 0;
    cdtx_error why;
    if (FAILPOINT(sql->store->env, "retry.complete"))
        return cdtx__fail(err, CDTX_IO, "failpoint retry.complete");
    for (struct job *job = first; job != NULL; job = job->with_it)
        job->outcome = 0;
    if (first->with_it == NULL)
        return write_end(first, sql, err);
    int32_t rc = delete_all(first, sql, &all, &why);
    if (rc != 0 && rc != CDTX_SQL) {
        *err = why;
        return rc;
    }
    /* Otherwise one has lost its lease, or its row is damaged: each by itself. */
    for (struct job *job = first; job != NULL && !all; job = job->with_it)
        job->outcome = write_end(job, sql, &job->rider.err);
    return 0;
}

static void tell_ends(struct rider *rider) {
    struct job *job = LIST_OF(rider, struct job, rider), *next;
    int32_t together = rider->result;
    cdtx_error err;
    if (together != 0)
        err = rider->err;
    for (; job != NULL; job = next) {
        next = job->with_it; /* told may free it */
        if (together != 0)
            job->rider.err = err;
        job->rider.result = together != 0 ? together : job->outcome;
        job->told(job);
    }
}

static void set_off(struct job *first) {
    first->rider = (struct rider){.flags = has_keys(first) ? 0 : RIDER_PLAIN, .run = run_ends, .done = tell_ends};
    cdtx__store_submit(first->handler->room->db->store, &first->rider);
}

void cdtx__jobs_end(struct list *jobs, void (*told)(struct job *job)) {
    struct job *first = NULL, *before = NULL;
    struct list *link;
    while ((link = list_pop(jobs)) != NULL) {
        struct job *job = LIST_OF(link, struct job, work.link);
        job->told = told;
        job->with_it = NULL;
        job->leads = !goes_with(job, before);
        if (!job->leads) {
            before->with_it = job;
        } else {
            if (first != NULL)
                set_off(first);
            first = job;
        }
        before = job;
    }
    if (first != NULL)
        set_off(first);
}

void cdtx__job_withdraw_end(struct job *job) {
    struct store *store = job->handler->room->db->store;
    if (!job->leads || !cdtx__store_withdraw(store, &job->rider))
        return;
    job->rider.result = cdtx__busy(&job->rider.err, 100, "database '%s' was held by another transaction", store->name);
    tell_ends(&job->rider);
}

/* ---- afterwards ---- */

void cdtx__job_count(const struct job *job) {
    cdtx *engine = job->work.engine;
    if (job->code != 0 && job->wish != WISH_SNOOZE)
        cdtx__add(&engine->jobs_failed);
    if (job->dead)
        cdtx__add(&engine->jobs_dead);
}

void cdtx__job_let_go(const struct job *job) {
    struct handler *handler = job->handler;
    if (handler->options.rate_per_s > 0 && !job->begun)
        __atomic_sub_fetch(&handler->unbegun, 1, __ATOMIC_RELAXED);
    __atomic_sub_fetch(&handler->claimed, 1, __ATOMIC_RELAXED);
}

void cdtx__job_free(struct job *job) {
    struct job_room *room = job->handler->room;
    const cdtx_env *env = job->work.engine->env;
    cdtx__job_let_go(job);
    cdtx__free(env, job, job->size);
    if (__atomic_load_n(&room->more, __ATOMIC_RELAXED))
        cdtx__job_ring(room, 0);
}

void cdtx__job_ended(struct job *job) {
    const struct rider *rider = &job->rider;
    if (rider->result != 0 && rider->result != CDTX_CONFLICT) /* the lease runs out, and the job is run again */
        cdtx__log(job->work.engine->env, CDTX_LOG_WARNING, "job %lld of '%s': %s", (long long)job->id,
                  job->handler->name, rider->err.text);
    if (rider->result == 0)
        cdtx__job_count(job);
    if (job->handler->options.local_db != NULL)
        cdtx__job_ring(job->handler->room, FLOOR_LOOK_US);
    cdtx__job_free(job);
}

static int32_t run_give_back(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = LIST_OF(rider, struct job, rider);
    job->wish_ms = 0;
    return snooze(job, sql, err);
}

static void given_back(struct rider *rider) {
    cdtx__job_ended(LIST_OF(rider, struct job, rider));
}

void cdtx__job_give_back(struct job *job) {
    job->rider = (struct rider){.flags = has_keys(job) ? 0 : RIDER_PLAIN, .run = run_give_back, .done = given_back};
    cdtx__store_submit(job->handler->room->db->store, &job->rider);
}
