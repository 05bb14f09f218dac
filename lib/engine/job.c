/* Putting, running and ending jobs. */
#include "engine/job.h"

#include "base/backoff.h"
#include "store/lent.h"

/* ---- putting ---- */

static int32_t check_job(cdtx *engine, const char *handler, const void *payload, size_t length,
                         const cdtx_job_options *o, cdtx_error *err) {
    int32_t rc = cdtx__check_name(handler, "the handler's name", err);
    if (rc == 0)
        rc = cdtx__check_payload(engine, payload, length, err);
    if (rc == 0)
        rc = cdtx__check_name(o->queue, "the queue's name", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->delay_ms, "delay_ms", err);
    if (rc == 0 && o->at_ms < 0)
        rc = cdtx__fail(err, CDTX_INVALID, "at_ms is %lld, which is before 1970", (long long)o->at_ms);
    if (rc == 0 && o->at_ms > 0 && o->delay_ms > 0)
        rc = cdtx__fail(err, CDTX_INVALID, "a job has a delay_ms or an at_ms, not both");
    if (rc == 0 && o->at_ms > cdtx__wall_ms(engine->env) + CDTX_TIME_MAX_MS)
        rc = cdtx__fail(err, CDTX_INVALID, "at_ms is more than ten years from now");
    if (rc == 0 && (o->priority < 0 || o->priority > CDTX_PRIORITY_MAX))
        rc = cdtx__fail(err, CDTX_INVALID, "priority is %d; it must be from 0 to %d", o->priority, CDTX_PRIORITY_MAX);
    if (rc == 0 && o->unique_key != NULL)
        rc = cdtx__check_name(o->unique_key, "the unique key", err);
    if (rc == 0 && o->concurrency_key != NULL)
        rc = cdtx__check_name(o->concurrency_key, "the concurrency key", err);
    return rc;
}

static int32_t insert(cdtx_sql *sql, const char *handler, const void *payload, size_t length, const cdtx_job_options *o,
                      int64_t *id, cdtx_error *err) {
    struct store *store = sql->store;
    int64_t number = 0, changes = 0;
    int64_t due = o->at_ms > 0 ? o->at_ms : cdtx__store_stamp_ms(store) + o->delay_ms;
    if (o->at_ms == 0 && MUTANT(store->env, "bug-17"))
        due = cdtx__wall_ms(store->env) + o->delay_ms;
    int32_t rc = cdtx__lent_next_job(sql, &number, err); /* also saves the clock that due is measured by */
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {SQL_INT(number),
                              cdtx__sql_text(o->queue),
                              cdtx__sql_text(handler),
                              SQL_INT(o->priority),
                              SQL_INT(o->at_ms > 0 ? JOB_CLOCK_WALL : JOB_CLOCK_DURABLE),
                              SQL_INT(due),
                              cdtx__sql_text(o->unique_key),
                              cdtx__sql_text(o->concurrency_key),
                              cdtx__sql_blob(payload, length)};
    rc = cdtx__sql_run(sql,
                       "INSERT INTO cdtx_job (id, queue, handler, state, priority, clock, due, attempts, crashes,"
                       " token, unique_key, concurrency_key, payload, error)"
                       " VALUES (?, ?, ?, 1, ?, ?, ?, 0, 0, 0, ?, ?, ?, NULL) ON CONFLICT DO NOTHING",
                       arguments, 9, NULL, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return cdtx__fail(err, CDTX_CONFLICT, "a job of '%s' with the unique key '%.120s' is live already", handler,
                          o->unique_key == NULL ? "" : o->unique_key);
    store->meta.rings = 1;
    if (id != NULL)
        *id = number;
    return 0;
}

int32_t cdtx_job_put_many(cdtx_sql *sql, const char *handler, const cdtx_bytes *payloads, uint32_t count,
                          const cdtx_job_options *options, int64_t *first_id, cdtx_error *err) {
    cdtx_job_options o = {0};
    if (payloads == NULL || count == 0 || count > CDTX_MANY_MAX)
        return cdtx__fail(err, CDTX_INVALID, "%u payloads at once; it must be from 1 to %d", count, CDTX_MANY_MAX);
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_job_options", err);
    if (rc == 0)
        rc = cdtx__sql_enter(sql, err);
    if (rc != 0)
        return rc;
    if (o.queue == NULL)
        o.queue = "default";
    cdtx *engine = ((cdtx_db *)sql->store->owner)->engine;
    int64_t first = 0;
    if (count > 1 && o.unique_key != NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "%u jobs with one unique key: the second would conflict with the first",
                        count);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = check_job(engine, handler, payloads[i].bytes, payloads[i].length, &o, err);
    for (uint32_t i = 0; i < count && rc == 0; i++)
        rc = insert(sql, handler, payloads[i].bytes, payloads[i].length, &o, i == 0 ? &first : NULL, err);
    if (rc == 0 && first_id != NULL)
        *first_id = first;
    cdtx__sql_leave(sql);
    return rc;
}

int32_t cdtx_job_put(cdtx_sql *sql, const char *handler, const void *payload, size_t length,
                     const cdtx_job_options *options, int64_t *id, cdtx_error *err) {
    return cdtx_job_put_many(sql, handler, &(cdtx_bytes){payload, length}, 1, options, id, err);
}

/* ---- ending ---- */

int32_t cdtx__job_delete(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(job->id), SQL_INT(job->token)};
    int32_t rc = cdtx__sql_run(sql, "DELETE FROM cdtx_job WHERE id = ? AND token = ? AND state = 2", arguments, 2, NULL,
                               &changes, err);
    if (rc == 0 && changes == 0)
        rc = cdtx__fail(err, CDTX_CONFLICT, "job %lld: its lease %lld was lost, another has it or had it",
                        (long long)job->id, (long long)job->token);
    return rc;
}

static int64_t backoff_ms(const struct job *job) {
    const cdtx_handler_options *o = &job->handler->options;
    int64_t delay = cdtx__backoff_ms(job->work.engine->env, job->attempt, o->backoff_min_ms, o->backoff_max_ms);
    return job->code == CDTX_BUSY && job->err.retry_after_ms > delay ? job->err.retry_after_ms : delay;
}

static int32_t failed(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int dead = job->code == CDTX_REFUSED || job->attempt >= job->handler->options.attempts_max;
    int64_t changes = 0;
    job->dead = dead;
    cdtx_value arguments[] = {SQL_INT(dead ? JOB_DEAD : JOB_READY),
                              SQL_INT(dead ? 0 : cdtx__store_stamp_ms(sql->store) + backoff_ms(job)),
                              cdtx__sql_text(job->err.text), SQL_INT(job->id), SQL_INT(job->token)};
    int32_t rc = cdtx__sql_run(sql,
                               "UPDATE cdtx_job SET state = ?, clock = 0, due = ?, error = ?"
                               " WHERE id = ? AND token = ? AND state = 2",
                               arguments, 5, NULL, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return cdtx__fail(err, CDTX_CONFLICT, "job %lld: its lease %lld was lost", (long long)job->id,
                          (long long)job->token);
    if (dead)
        cdtx__log(sql->store->env, CDTX_LOG_WARNING, "job %lld of '%s' is dead: %s", (long long)job->id,
                  job->handler->name, job->err.text);
    sql->store->meta.rings = 1;
    return 0;
}

int32_t cdtx__job_write_end(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    return job->code == 0 ? cdtx__job_delete(job, sql, err) : failed(job, sql, err);
}

void cdtx__job_count(const struct job *job) {
    cdtx *engine = job->work.engine;
    if (job->code != 0)
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
    cdtx__job_free(job);
}

static int32_t run_end(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    return cdtx__job_write_end(LIST_OF(rider, struct job, rider), sql, err);
}

static void end(struct job *job) {
    job->rider.flags = RIDER_PLAIN;
    job->rider.run = run_end;
    job->rider.done = ended;
    cdtx__store_submit(job->handler->room->db->store, &job->rider);
}

static int32_t run_give_back(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = LIST_OF(rider, struct job, rider);
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store)), SQL_INT(job->id), SQL_INT(job->token)};
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_job SET state = 1, clock = 0, due = ?, attempts = attempts - 1"
                         " WHERE id = ? AND token = ? AND state = 2",
                         arguments, 3, NULL, NULL, err);
}

void cdtx__job_give_back(struct job *job) {
    job->rider.flags = RIDER_PLAIN;
    job->rider.run = run_give_back;
    job->rider.done = ended;
    cdtx__store_submit(job->handler->room->db->store, &job->rider);
}

/* ---- running ---- */

static int32_t call_handler(struct job *job, cdtx_error *err) {
    const cdtx_handler_options *o = &job->handler->options;
    err->text[0] = '\0';
    int32_t rc = o->handler(&job->work, o->user, err);
    if (rc != 0 && err->text[0] == '\0')
        cdtx__fail(err, rc, "the handler answered %s", cdtx_code_name(rc));
    return rc;
}

/* The row goes first: a lost lease must stop the handler's effects, not follow them. */
static int32_t run_in_local(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct job *job = LIST_OF(rider, struct job, rider);
    job->answered = 0;
    int32_t rc = cdtx__job_delete(job, sql, err);
    if (rc != 0)
        return rc;
    job->sql = sql;
    job->code = call_handler(job, err);
    job->answered = 1;
    job->sql = NULL;
    job->err = *err;
    return job->code;
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

static void run_plain(struct task *task) {
    struct job *job = LIST_OF(task, struct job, task);
    job->code = call_handler(job, &job->err);
    end(job);
}

void cdtx__job_start(struct job *job) {
    cdtx *engine = job->work.engine;
    cdtx__add(&engine->jobs_run);
    if (job->handler->options.handler == NULL) {
        cdtx__pump_deliver(&engine->pump, &job->work.link);
    } else if (job->handler->options.in_local) {
        job->rider.run = run_in_local;
        job->rider.done = local_done;
        cdtx__store_submit(job->handler->room->db->store, &job->rider);
    } else {
        job->task.run = run_plain;
        cdtx__pump_post_work(&engine->pump, &job->task);
    }
}
