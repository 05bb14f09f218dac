/* Running jobs. */
#include "engine/job.h"

#include "base/backoff.h"
#include "store/guard.h"

/* HOPE_AFTER: attempts without a failure that give hope. AWAY_CURVE: how seldom a database that lets nothing in is
 * asked, as if after so many failures. */
enum { HOPE_AFTER = 64, AWAY_CURVE = 6 };

/* Once, although its group may run it again. Its part of the rate goes first: a claim that sees it begun sees that too.
 */
void cdtx__job_begin(struct job *job) {
    struct handler *handler = job->handler;
    if (handler->options.rate_per_s == 0 || job->begun)
        return;
    job->begun = 1;
    int64_t now = cdtx__now_us(job->work.engine->env), before = __atomic_load_n(&handler->spent_us, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&handler->spent_us, &before,
                                        cdtx__rate_gone_us(handler, before, now) + cdtx__rate_part_us(handler), 0,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    __atomic_sub_fetch(&handler->unbegun, 1, __ATOMIC_RELEASE);
}

static void end(struct job *job) {
    struct list one;
    list_init(&one);
    list_push(&one, &job->work.link);
    cdtx__jobs_end(&one, cdtx__job_ended);
}

static int32_t call_handler(struct job *job, cdtx_error *err) {
    const cdtx_handler_options *o = &job->handler->options;
    err->text[0] = '\0';
    err->retry_after_ms = 0;
    job->wish = WISH_NONE;
    cdtx__job_begin(job);
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
        cdtx__job_ended(job);
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
    for (uint32_t i = 0; i < count; i++) {
        jobs[i]->wish = WISH_NONE;
        cdtx__job_begin(jobs[i]);
    }
    handler->many(jobs, count, handler->options.user);
    for (uint32_t i = 0; i < count; i++)
        list_push(&more, &jobs[i]->work.link);
    cdtx__pump_hold(pump);
    cdtx__jobs_end(&more, cdtx__job_ended);
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
