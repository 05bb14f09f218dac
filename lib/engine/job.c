/* Running and ending jobs. */
#include "engine/job.h"

#include "base/backoff.h"
#include "store/guard.h"

/* How soon after an end its guard in another database may go. Attempts without a failure that give hope. */
/* AWAY_CURVE: how seldom a database that lets nothing in is asked, as if after so many failures. */
enum { FLOOR_LOOK_US = 1000000, HOPE_AFTER = 64, AWAY_CURVE = 6 };

/* ---- ending ---- */

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

int32_t cdtx__job_write_end(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    job->dead = 0;
    if (FAILPOINT(sql->store->env, "retry.complete"))
        return cdtx__fail(err, CDTX_IO, "failpoint retry.complete");
    if (job->code != CDTX_BUSY)
        job->wish = WISH_NONE; /* it has changed its mind */
    if (job->code == 0)
        return cdtx__job_delete(job, sql, err);
    return job->wish == WISH_SNOOZE ? snooze(job, sql, err) : failed(job, sql, err);
}

void cdtx__job_count(const struct job *job) {
    cdtx *engine = job->work.engine;
    if (job->code != 0 && job->wish != WISH_SNOOZE)
        cdtx__add(&engine->jobs_failed);
    if (job->dead)
        cdtx__add(&engine->jobs_dead);
}

void cdtx__job_free(struct job *job) {
    struct job_room *room = job->handler->room;
    const cdtx_env *env = job->work.engine->env;
    __atomic_sub_fetch(&job->handler->claimed, 1, __ATOMIC_RELAXED);
    cdtx__free(env, job, job->size);
    if (__atomic_load_n(&room->more, __ATOMIC_RELAXED))
        cdtx__job_ring(room, 0);
}

static void ended(struct rider *rider) {
    struct job *job = LIST_OF(rider, struct job, rider);
    if (rider->result != 0 && rider->result != CDTX_CONFLICT) /* the lease runs out, and the job is run again */
        cdtx__log(job->work.engine->env, CDTX_LOG_WARNING, "job %lld of '%s': %s", (long long)job->id,
                  job->handler->name, rider->err.text);
    if (rider->result == 0)
        cdtx__job_count(job);
    if (job->handler->options.local_db != NULL)
        cdtx__job_ring(job->handler->room, FLOOR_LOOK_US);
    cdtx__job_free(job);
}

static int32_t run_end(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    return cdtx__job_write_end(LIST_OF(rider, struct job, rider), sql, err);
}

uint32_t cdtx__job_end_flags(const struct job *job) {
    return job->unique_key == NULL && job->concurrency_key == NULL ? RIDER_PLAIN : 0;
}

static void end(struct job *job) {
    job->rider.flags = cdtx__job_end_flags(job);
    job->rider.run = run_end;
    job->rider.done = ended;
    cdtx__store_submit(job->handler->room->db->store, &job->rider);
}

static int32_t run_give_back(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = LIST_OF(rider, struct job, rider);
    job->wish_ms = 0;
    return snooze(job, sql, err);
}

void cdtx__job_give_back(struct job *job) {
    job->rider.flags = cdtx__job_end_flags(job);
    job->rider.run = run_give_back;
    job->rider.done = ended;
    cdtx__store_submit(job->handler->room->db->store, &job->rider);
}

/* ---- running ---- */

static int32_t call_handler(struct job *job, cdtx_error *err) {
    const cdtx_handler_options *o = &job->handler->options;
    err->text[0] = '\0';
    err->retry_after_ms = 0;
    job->wish = WISH_NONE;
    int32_t rc = o->handler(&job->work, o->user, err);
    if (rc != 0 && err->text[0] == '\0')
        cdtx__fail(err, rc, "the handler answered %s", cdtx_code_name(rc));
    return rc;
}

static void note_success(struct handler *handler, int success) {
    uint32_t before = __atomic_load_n(&handler->successes, __ATOMIC_RELAXED);
    if (!success || before < HOPE_AFTER)
        __atomic_store_n(&handler->successes, success ? before + 1 : 0, __ATOMIC_RELAXED);
}

static int32_t call_in_local(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    job->sql = sql;
    job->code = call_handler(job, err);
    note_success(job->handler, job->code == 0);
    job->answered = 1;
    job->sql = NULL;
    job->err = *err;
    return job->code;
}

/* The row goes first: a lost lease must stop the handler's effects, not follow them. */
static int32_t run_in_local(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = LIST_OF(rider, struct job, rider);
    job->answered = 0;
    int32_t rc = cdtx__job_delete(job, sql, err);
    return rc != 0 ? rc : call_in_local(job, sql, err);
}

static void local_done(struct rider *rider) {
    struct job *job = LIST_OF(rider, struct job, rider);
    int its_own_no = job->answered && job->code != 0 && rider->result == job->code;
    int nothing_to_write = rider->result == 0 || rider->result == CDTX_CONFLICT || rider->result == CDTX_STOPPED ||
                           rider->result == CDTX_UNKNOWN;
    if (nothing_to_write && !its_own_no) {
        ended(rider);
        return;
    }
    job->code = rider->result;
    job->err = rider->err;
    end(job);
}

/* In another database a guard goes first. Where it stands already, or is below the floor, an attempt before this one
 * has taken effect, and only its end was lost. */
static int32_t run_elsewhere(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = LIST_OF(rider, struct job, rider);
    struct guard_key key = {.log = job->handler->space, .sequence = job->id, .branch = 0};
    int first = 0;
    job->tried = 1;
    job->wish = WISH_NONE;
    int32_t rc = cdtx__guard_insert(sql, &key, GUARD_CONFIRMED, NULL, 0, &first, err);
    if (MUTANT(sql->store->env, "inbox-unguarded"))
        first = 1;
    if (rc == 0 && FAILPOINT(sql->store->env, "msg.inbox_insert"))
        return cdtx__fail(err, CDTX_IO, "failpoint msg.inbox_insert");
    return rc != 0 || !first ? rc : call_in_local(job, sql, err);
}

/* The database there let nothing in: no attempt was made, and none is counted. */
static void put_off(struct job *job) {
    const cdtx_handler_options *o = &job->handler->options;
    job->code = CDTX_BUSY;
    job->wish = WISH_SNOOZE;
    job->wish_ms = cdtx__backoff_ms(job->work.engine->env, AWAY_CURVE, o->backoff_min_ms, o->backoff_max_ms);
}

/* Whatever became of it over there, the row says it: UNKNOWN comes again, and then meets its guard. */
static void elsewhere_done(struct rider *rider) {
    struct job *job = LIST_OF(rider, struct job, rider);
    job->code = rider->result;
    job->err = rider->err;
    if (!job->tried)
        put_off(job);
    end(job);
}

/* A handler that has done well for a while goes without a savepoint; once it fails, its group goes again behind them,
 * which is as much as a host may be surprised by. */
static void run_local(struct job *job) {
    const cdtx_db *elsewhere = job->handler->options.local_db;
    uint32_t successes = __atomic_load_n(&job->handler->successes, __ATOMIC_RELAXED);
    job->rider.flags = successes < HOPE_AFTER ? 0 : RIDER_HOPEFUL;
    job->tried = 0;
    job->rider.run = elsewhere == NULL ? run_in_local : run_elsewhere;
    job->rider.done = elsewhere == NULL ? local_done : elsewhere_done;
    cdtx__store_submit(elsewhere == NULL ? job->handler->room->db->store : elsewhere->store, &job->rider);
}

static void note_time(struct handler *handler, int64_t took_us) {
    int64_t before = __atomic_load_n(&handler->takes_us, __ATOMIC_RELAXED);
    int64_t after = before == 0 ? took_us : before + (took_us - before) / 8;
    __atomic_store_n(&handler->takes_us, after < 1 ? 1 : after, __ATOMIC_RELAXED);
}

/* One that has waited for a thread until its lease ran out is somebody else's by now, or may be at any moment. */
static void run_plain(struct task *task) {
    struct job *job = LIST_OF(task, struct job, task);
    if (cdtx__now_us(job->work.engine->env) >= job->leased_us && !MUTANT(job->work.engine->env, "late-start")) {
        cdtx__job_give_back(job);
        return;
    }
    int64_t since = cdtx__now_us(job->work.engine->env);
    job->code = call_handler(job, &job->err);
    note_time(job->handler, cdtx__now_us(job->work.engine->env) - since);
    end(job);
}

static void run_many(struct task *task);

static int of_handler(const struct task *task, const void *handler) {
    return task->run == run_many && LIST_OF((struct task *)(uintptr_t)task, struct job, task)->handler == handler;
}

/* With those of its handler that are there. Their ends ride together. */
static void run_many(struct task *task) {
    struct job *jobs[JOB_MANY_MAX] = {LIST_OF(task, struct job, task)};
    struct handler *handler = jobs[0]->handler;
    struct pump *pump = &jobs[0]->work.engine->pump;
    struct list more, *link;
    uint32_t count = 1;
    list_init(&more);
    cdtx__pump_gather(pump, of_handler, handler, handler->many_max - 1, &more);
    while ((link = list_pop(&more)) != NULL)
        jobs[count++] = LIST_OF(link, struct job, task.link);
    for (uint32_t i = 0; i < count; i++)
        jobs[i]->wish = WISH_NONE;
    handler->many(jobs, count, handler->options.user);
    cdtx__pump_hold(pump);
    for (uint32_t i = 0; i < count; i++)
        end(jobs[i]);
    cdtx__pump_let_go(pump);
}

void cdtx__job_start(struct job *job) {
    cdtx *engine = job->work.engine;
    cdtx__add(&engine->jobs_run);
    (void)FAILPOINT(engine->env, "retry.run");
    if (job->handler->options.handler == NULL) {
        cdtx__pump_deliver(&engine->pump, &job->work.link);
    } else if (job->handler->options.in_local) {
        run_local(job);
    } else {
        job->task.run = __atomic_load_n(&job->handler->many, __ATOMIC_ACQUIRE) == NULL ? run_plain : run_many;
        cdtx__pump_post_work(&engine->pump, &job->task);
    }
}
