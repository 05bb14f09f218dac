#include "engine/drive.h"
#include "engine/job.h"

static struct job *job_of(const cdtx_work *work) {
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

int32_t cdtx_take(cdtx *engine, int64_t for_ms, cdtx_work **work, cdtx_error *err) {
    if (work == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the work is NULL");
    int32_t rc = for_ms == -1 ? 0 : cdtx__check_ms(for_ms, "for_ms", err);
    if (rc == 0)
        rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__may_wait(engine, "cdtx_take", err);
    if (rc == 0) {
        cdtx__pump_taker(&engine->pump);
        ring_all(engine);
        struct list *link = cdtx__pump_take(&engine->pump, cdtx__until_us(engine, for_ms));
        if (link == NULL)
            rc = cdtx__any_stopped(engine, err);
        else
            cdtx__ref(engine); /* the work's, until it is settled */
        if (rc == 0)
            *work = link == NULL ? NULL : LIST_OF(link, struct cdtx_work, link);
    }
    cdtx__leave(engine);
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
            cdtx__job_give_back(job_of(work));
        else
            cdtx__tx_unref(tx_of(work));
    }
}

/* ---- settling ---- */

struct settling {
    struct waited_rider waited;
    struct job *job;
};

static int32_t run_settling(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    return cdtx__job_write_end(LIST_OF(rider, struct settling, waited.rider)->job, sql, err);
}

static int32_t settle_job(struct job *job, int32_t code, const char *reason, cdtx_error *err) {
    if (job->ended && code == 0)
        return 0;
    job->code = code;
    cdtx__fail(&job->err, code, "%s", reason == NULL ? cdtx_code_name(code) : reason);
    struct settling settling = {.job = job, .waited.rider = {.flags = RIDER_PLAIN, .run = run_settling}};
    return cdtx__ride(job->work.engine, job->handler->room->db->store, &settling.waited, err);
}

/* The engine is closed: the row keeps its lease, which the next opening finds. Only memory is left to free. */
static void abandon(struct job *job) {
    cdtx__free(job->work.engine->env, job, job->size);
}

int32_t cdtx_settle(cdtx_work *work, int32_t code, const char *reason, cdtx_error *err) {
    if (work == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the work is NULL");
    cdtx *engine = work->engine;
    struct job *job = job_of(work);
    if (job == NULL) {
        cdtx__tx_unref(tx_of(work));
        cdtx__unref(engine);
        return 0;
    }
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0) {
        if (engine->env->process(engine->env->user) == engine->process)
            abandon(job);
        cdtx__unref(engine);
        return rc;
    }
    rc = cdtx__may_wait(engine, "cdtx_settle", err);
    if (rc == 0)
        rc = settle_job(job, code, reason, err);
    cdtx__job_free(job);
    cdtx__leave(engine);
    cdtx__unref(engine);
    return rc;
}

int32_t cdtx_work_done(cdtx_work *work, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = job_of(work);
    if (job == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "cdtx_work_done is for jobs");
    int32_t rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    if (sql->store != job->handler->room->db->store)
        rc = cdtx__fail(err, CDTX_MISUSE, "cdtx_work_done needs a local transaction on the job's own database, '%s'",
                        job->handler->room->db->store->name);
    if (rc == 0)
        rc = cdtx__job_delete(job, sql, err);
    if (rc == 0)
        job->ended = 1;
    cdtx__sql_leave(sql);
    return rc;
}

/* ---- what a piece of work says of itself ---- */

int32_t cdtx_work_kind(const cdtx_work *work) {
    return work == NULL ? 0 : work->kind;
}

const char *cdtx_work_handler(const cdtx_work *work) {
    const struct job *job = job_of(work);
    return job == NULL ? "" : job->handler->name;
}

const void *cdtx_work_payload(const cdtx_work *work, size_t *length) {
    const struct job *job = job_of(work);
    if (length != NULL)
        *length = job == NULL ? 0 : job->length;
    return job == NULL ? NULL : job + 1;
}

int64_t cdtx_work_id(const cdtx_work *work) {
    const struct job *job = job_of(work);
    return job == NULL ? 0 : job->id;
}

uint32_t cdtx_work_attempt(const cdtx_work *work) {
    const struct job *job = job_of(work);
    return job == NULL ? 0 : job->attempt;
}

int64_t cdtx_work_token(const cdtx_work *work) {
    const struct job *job = job_of(work);
    return job == NULL ? 0 : job->token;
}

cdtx_sql *cdtx_work_sql(cdtx_work *work) {
    struct job *job = job_of(work);
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
    return tx == NULL ? "" : tx->gid;
}
