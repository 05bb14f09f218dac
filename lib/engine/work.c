#include "engine/drive.h"
#include "engine/job.h"

struct job *cdtx__job_of(const cdtx_work *work) {
    if (work == NULL || work->kind != CDTX_WORK_JOB)
        return NULL;
    return LIST_OF((cdtx_work *)(uintptr_t)work, struct job, work);
}

static cdtx_tx *tx_of(const cdtx_work *work) {
    if (work == NULL || work->kind != CDTX_WORK_COMPLETION)
        return NULL;
    return LIST_OF((cdtx_work *)(uintptr_t)work, struct cdtx_tx, completion);
}

/* ---- taking ---- */

static void ring_all(cdtx *engine) {
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next) {
        cdtx_db *db = LIST_OF(link, struct cdtx_db, link);
        if (db->jobs != NULL && __atomic_load_n(&db->jobs->more, __ATOMIC_RELAXED))
            cdtx__jobs_ring(db);
    }
    cdtx__unlock(engine->env, &engine->lock);
}

static uint32_t take(cdtx *engine, int64_t for_ms, cdtx_work **works, uint32_t most) {
    struct list taken, *link;
    uint32_t count = 0;
    list_init(&taken);
    cdtx__pump_want(&engine->pump, most);
    ring_all(engine);
    cdtx__pump_take(&engine->pump, most, cdtx__until_us(engine, for_ms), &taken);
    while ((link = list_pop(&taken)) != NULL) {
        cdtx__ref(engine); /* the work's, until it is settled */
        works[count] = LIST_OF(link, struct cdtx_work, link);
        if (works[count]->kind == CDTX_WORK_JOB)
            cdtx__job_begin(cdtx__job_of(works[count]));
        count++;
    }
    return count;
}

int32_t cdtx_take_many(cdtx *engine, int64_t for_ms, cdtx_work **works, uint32_t most, uint32_t *count,
                       cdtx_error *err) {
    if (works == NULL || count == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the work or for its count is NULL");
    if (most == 0 || most > CDTX_MANY_MAX)
        return cdtx__fail(err, CDTX_INVALID, "%u pieces of work at once; it must be from 1 to %d", most, CDTX_MANY_MAX);
    int32_t rc = for_ms == -1 ? 0 : cdtx__check_ms(for_ms, "for_ms", err);
    if (rc == 0)
        rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__may_wait(engine, "cdtx_take", err);
    if (rc == 0) {
        uint32_t taken = take(engine, for_ms, works, most);
        if (taken == 0)
            rc = cdtx__any_stopped(engine, err);
        if (rc == 0)
            *count = taken;
    }
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_take(cdtx *engine, int64_t for_ms, cdtx_work **work, cdtx_error *err) {
    cdtx_work *one = NULL;
    uint32_t count = 0;
    if (work == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the work is NULL");
    int32_t rc = cdtx_take_many(engine, for_ms, &one, 1, &count, err);
    if (rc == 0)
        *work = one;
    return rc;
}

void cdtx__inbox_close(cdtx *engine) {
    struct list *link;
    struct task *task;
    while ((task = cdtx__pump_unrun(&engine->pump)) != NULL)
        cdtx__job_give_back(LIST_OF(task, struct job, task));
    while ((link = cdtx__pump_untaken(&engine->pump)) != NULL) {
        cdtx_work *work = LIST_OF(link, struct cdtx_work, link);
        if (work->kind == CDTX_WORK_JOB)
            cdtx__job_give_back(cdtx__job_of(work));
        else
            cdtx__tx_unref(tx_of(work));
    }
}

/* ---- settling ---- */

/* Jobs that are answered together: one gate opens when the last is done. */
struct batch {
    struct gate gate;
    cdtx *engine;
    uint32_t left; /* atomic */
};

static void one_less(struct batch *batch) {
    if (__atomic_sub_fetch(&batch->left, 1, __ATOMIC_ACQ_REL) == 0)
        cdtx__pump_open(&batch->engine->pump, &batch->gate);
}

static void settled(struct job *job) {
    one_less(job->batch);
}

static void answer(struct job *job, struct batch *batch, int32_t code, const char *reason) {
    job->batch = batch;
    job->code = code;
    if (code != 0)
        cdtx__fail(&job->err, code, "%s", reason == NULL ? cdtx_code_name(code) : reason);
    batch->left++;
}

static void await(struct batch *batch, cdtx_work *const *works, uint32_t count) {
    cdtx *engine = batch->engine;
    int64_t until = cdtx__now_us(engine->env) + engine->options.wait_ms * 1000;
    one_less(batch); /* the one that kept it shut while there were more to come */
    if (cdtx__pump_until(&engine->pump, &batch->gate, until, PUMP_TASKS) == 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (cdtx__job_of(works[i]) != NULL && cdtx__job_of(works[i])->batch == batch)
            cdtx__job_withdraw_end(cdtx__job_of(works[i]));
    /* The rest is in a group: that ends soon, and the riders are ours. */
    while (cdtx__pump_until(&engine->pump, &batch->gate, INT64_MAX, PUMP_TASKS | PUMP_FIRM) != 0) {
    }
}

/* The engine is closed: the row keeps its lease, which the next opening finds. Only memory is left to free. */
static void abandon(cdtx_work *work) {
    cdtx *engine = work->engine;
    struct job *job = cdtx__job_of(work);
    if (engine->env->process(engine->env->user) != engine->process)
        return; /* a forked child: it is the parent's */
    if (job == NULL)
        cdtx__tx_unref(tx_of(work));
    else
        cdtx__free(engine->env, job, job->size);
    cdtx__unref(engine);
}

/* Frees it; what its answer met. */
static int32_t finish(cdtx_work *work, struct batch *batch, cdtx_error *err) {
    cdtx *engine = work->engine;
    struct job *job = cdtx__job_of(work);
    int32_t rc = 0;
    if (job == NULL) {
        cdtx__tx_unref(tx_of(work));
    } else {
        if (job->batch == batch)
            rc = job->rider.result;
        if (job->batch == batch && rc == 0)
            cdtx__job_count(job);
        if (rc != 0 && err != NULL)
            *err = job->rider.err;
        cdtx__job_free(job);
    }
    cdtx__unref(engine);
    return rc;
}

static int32_t settle(cdtx *engine, cdtx_work *const *works, const int32_t *codes, const char *reason, uint32_t count,
                      int32_t *results, cdtx_error *err) {
    struct batch batch = {.engine = engine, .left = 1};
    struct list jobs;
    int32_t first = 0;
    list_init(&jobs);
    for (uint32_t i = 0; i < count; i++) {
        struct job *job = cdtx__job_of(works[i]);
        int32_t code = codes == NULL ? 0 : codes[i];
        if (job == NULL || (job->ended && code == 0))
            continue;
        answer(job, &batch, code, reason);
        list_push(&jobs, &job->work.link);
    }
    cdtx__jobs_end(&jobs, settled);
    await(&batch, works, count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t rc = finish(works[i], &batch, first == 0 ? err : NULL);
        if (results != NULL)
            results[i] = rc;
        if (first == 0)
            first = rc;
    }
    return first;
}

static int32_t refuse(cdtx_work *const *works, uint32_t count, int32_t *results, int32_t rc) {
    for (uint32_t i = 0; i < count; i++) {
        abandon(works[i]);
        if (results != NULL)
            results[i] = rc;
    }
    return rc;
}

int32_t cdtx_settle_many(cdtx_work *const *works, const int32_t *codes, const char *reason, uint32_t count,
                         int32_t *results, cdtx_error *err) {
    if (count > CDTX_MANY_MAX || (works == NULL && count > 0))
        return cdtx__fail(err, CDTX_INVALID, "%u pieces of work at once; it must be at most %d", count, CDTX_MANY_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (works[i] == NULL || works[i]->engine != works[0]->engine)
            return cdtx__fail(err, CDTX_MISUSE, "work %u of %u is NULL, or of another engine", i, count);
    if (count == 0)
        return 0;
    cdtx *engine = works[0]->engine;
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return refuse(works, count, results, rc);
    rc = cdtx__may_wait(engine, "cdtx_settle", err);
    rc = rc != 0 ? refuse(works, count, results, rc) : settle(engine, works, codes, reason, count, results, err);
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_settle(cdtx_work *work, int32_t code, const char *reason, cdtx_error *err) {
    return cdtx_settle_many(&work, &code, reason, 1, NULL, err);
}

int32_t cdtx_work_done(cdtx_work *work, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = cdtx__job_of(work);
    if (job == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "cdtx_work_done is for jobs");
    int32_t rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    if (sql->store->owner != job->handler->room->db)
        rc = cdtx__fail(err, CDTX_MISUSE, "cdtx_work_done needs a local transaction on the job's own database, '%s'",
                        job->handler->room->db->store->name);
    if (rc == 0)
        rc = cdtx__job_delete(job, sql, err);
    if (rc == 0)
        job->ended = 1;
    cdtx__sql_leave(sql);
    return rc;
}

/* ---- during an attempt ---- */

static int32_t job_for(cdtx_work *work, const char *what, struct job **job, cdtx_error *err) {
    *job = cdtx__job_of(work);
    return *job != NULL ? 0 : cdtx__fail(err, CDTX_MISUSE, "%s is for jobs", what);
}

struct beat {
    struct waited_rider waited;
    struct job *job;
};

static int32_t run_beat(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    return cdtx__job_extend(LIST_OF(rider, struct beat, waited.rider)->job, sql, err);
}

int32_t cdtx_work_heartbeat(cdtx_work *work, cdtx_error *err) {
    struct beat beat = {.waited.rider = {.flags = RIDER_PLAIN, .run = run_beat}};
    int32_t rc = job_for(work, "cdtx_work_heartbeat", &beat.job, err);
    if (rc != 0)
        return rc;
    cdtx *engine = work->engine;
    rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__may_wait(engine, "cdtx_work_heartbeat", err);
    if (rc == 0)
        rc = cdtx__ride(engine, beat.job->handler->room->db->store, &beat.waited, err);
    cdtx__leave(engine);
    return rc;
}

static int32_t put_off(cdtx_work *work, enum job_wish wish, const char *what, int64_t delay_ms, const char *reason,
                       cdtx_error *err) {
    struct job *job = NULL;
    int32_t rc = job_for(work, what, &job, err);
    if (rc == 0)
        rc = cdtx__check_ms(delay_ms, "delay_ms", err);
    if (rc != 0)
        return rc;
    job->wish = wish;
    job->wish_ms = delay_ms;
    return cdtx__fail(err, CDTX_BUSY, "%s", reason == NULL ? "not yet" : reason);
}

int32_t cdtx_work_retry_after(cdtx_work *work, int64_t delay_ms, const char *reason, cdtx_error *err) {
    return put_off(work, WISH_AFTER, "cdtx_work_retry_after", delay_ms, reason, err);
}

int32_t cdtx_work_snooze(cdtx_work *work, int64_t delay_ms, const char *reason, cdtx_error *err) {
    return put_off(work, WISH_SNOOZE, "cdtx_work_snooze", delay_ms, reason, err);
}

/* ---- what a piece of work says of itself ---- */

int32_t cdtx_work_kind(const cdtx_work *work) {
    return work == NULL ? 0 : work->kind;
}

const char *cdtx_work_handler(const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    return job == NULL ? "" : job->handler->name;
}

const void *cdtx_work_payload(const cdtx_work *work, size_t *length) {
    const struct job *job = cdtx__job_of(work);
    if (length != NULL)
        *length = job == NULL ? 0 : job->length;
    return job == NULL ? NULL : job + 1;
}

int64_t cdtx_work_id(const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    return job == NULL ? 0 : job->id;
}

uint32_t cdtx_work_attempt(const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    return job == NULL ? 0 : job->attempt;
}

int64_t cdtx_work_token(const cdtx_work *work) {
    const struct job *job = cdtx__job_of(work);
    return job == NULL ? 0 : job->token;
}

cdtx_sql *cdtx_work_sql(cdtx_work *work) {
    struct job *job = cdtx__job_of(work);
    return job == NULL ? NULL : job->sql;
}

uint64_t cdtx_work_tag(const cdtx_work *work) {
    const cdtx_tx *tx = tx_of(work);
    return tx == NULL ? 0 : tx->tag;
}

int32_t cdtx_work_result(const cdtx_work *work, cdtx_error *err) {
    const cdtx_tx *tx = tx_of(work);
    if (tx == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "cdtx_work_result is for completions");
    if (tx->result != 0 && err != NULL)
        *err = tx->err;
    return tx->result;
}

const char *cdtx_work_gid(const cdtx_work *work) {
    const cdtx_tx *tx = tx_of(work);
    const struct job *job = cdtx__job_of(work);
    return tx != NULL ? tx->gid : job != NULL ? job->gid : "";
}
