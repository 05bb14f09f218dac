#include "engine/job.h"

enum { CLAIM_MAX = 128, EXPIRED_MAX = 256, ROWS_MAX = 64 << 20 };

/* ---- rooms and handlers ---- */

static void scan_fire(struct timer *timer);

struct job_room *cdtx__job_room(cdtx_db *db, cdtx_error *err) {
    cdtx *engine = db->engine;
    cdtx__lock(engine->env, &engine->lock);
    if (db->jobs == NULL) {
        db->jobs = cdtx__alloc(engine->env, sizeof *db->jobs);
        if (db->jobs != NULL) {
            db->jobs->db = db;
            db->jobs->scan.fire = scan_fire;
            list_init(&db->jobs->handlers);
        }
    }
    struct job_room *room = db->jobs;
    cdtx__unlock(engine->env, &engine->lock);
    if (room == NULL)
        cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the jobs of '%s'", db->store->name);
    return room;
}

static void ring(struct job_room *room, int64_t in_us) {
    cdtx *engine = room->db->engine;
    cdtx__pump_arm_by(&engine->pump, &room->scan, cdtx__now_us(engine->env) + in_us);
}

void cdtx__jobs_ring(cdtx_db *db) {
    if (db->jobs != NULL)
        ring(db->jobs, 0);
}

static struct handler *find_locked(struct job_room *room, const char *name) {
    for (struct list *link = room->handlers.next; link != &room->handlers; link = link->next) {
        struct handler *handler = LIST_OF(link, struct handler, link);
        if (strcmp(handler->name, name) == 0)
            return handler;
    }
    return NULL;
}

static void free_handler(const cdtx_env *env, struct handler *handler) {
    cdtx__free_text(env, handler->name);
    cdtx__free_text(env, handler->queue);
    cdtx__free(env, handler, sizeof *handler);
}

static int32_t add(struct job_room *room, const char *name, const cdtx_handler_options *o, cdtx_error *err) {
    const cdtx_env *env = room->db->engine->env;
    struct handler *handler = cdtx__alloc(env, sizeof *handler);
    if (handler == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to register handler '%s'", name);
    *handler = (struct handler){.room = room, .options = *o};
    handler->name = cdtx__copy_text(env, name);
    handler->queue = cdtx__copy_text(env, o->queue);
    int32_t rc = 0;
    if (handler->name == NULL || handler->queue == NULL)
        rc = cdtx__fail(err, CDTX_NO_MEMORY, "no memory to register handler '%s'", name);
    cdtx__lock(env, &room->lock);
    if (rc == 0 && find_locked(room, name) != NULL)
        rc = cdtx__fail(err, CDTX_CONFLICT, "a handler named '%s' is registered already on '%s'", name,
                        room->db->store->name);
    if (rc == 0)
        list_push(&room->handlers, &handler->link);
    cdtx__unlock(env, &room->lock);
    if (rc != 0)
        free_handler(env, handler);
    return rc;
}

static int32_t fill_options(cdtx_handler_options *o, cdtx_error *err) {
    if (o->queue == NULL)
        o->queue = "default";
    if (o->attempts_max == 0)
        o->attempts_max = 20;
    if (o->crashes_max == 0)
        o->crashes_max = 3;
    if (o->lease_ms == 0)
        o->lease_ms = 30000;
    if (o->backoff_min_ms == 0)
        o->backoff_min_ms = 1000;
    if (o->backoff_max_ms == 0)
        o->backoff_max_ms = o->backoff_min_ms > 600000 ? o->backoff_min_ms : 600000;
    int32_t rc = cdtx__check_name(o->queue, "the queue's name", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->lease_ms, "lease_ms", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->backoff_min_ms, "backoff_min_ms", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->backoff_max_ms, "backoff_max_ms", err);
    if (rc == 0 && o->backoff_max_ms < o->backoff_min_ms)
        rc = cdtx__fail(err, CDTX_INVALID, "backoff_max_ms is less than backoff_min_ms");
    if (rc == 0 && o->in_local && o->handler == NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "in_local needs a handler function; pulled jobs end with cdtx_work_done");
    return rc;
}

int32_t cdtx_handler_add(cdtx_db *db, const char *name, const cdtx_handler_options *options, cdtx_error *err) {
    cdtx_handler_options o = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_handler_options", err);
    if (rc == 0)
        rc = cdtx__check_name(name, "the handler's name", err);
    if (rc == 0)
        rc = fill_options(&o, err);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    struct job_room *room = cdtx__job_room(db, err);
    rc = room == NULL ? CDTX_NO_MEMORY : add(room, name, &o, err);
    if (rc == 0)
        ring(room, 0);
    cdtx__leave(db->engine);
    return rc;
}

void cdtx__jobs_close(cdtx_db *db) {
    struct job_room *room = db->jobs;
    if (room == NULL)
        return;
    const cdtx_env *env = db->engine->env;
    struct list *link;
    while ((link = list_pop(&room->handlers)) != NULL) {
        struct handler *handler = LIST_OF(link, struct handler, link);
        if (handler->options.drop != NULL)
            handler->options.drop(handler->options.user);
        free_handler(env, handler);
    }
    db->jobs = NULL;
    cdtx__free(env, room, sizeof *room);
}

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
    int64_t number = store->meta.job + 1, changes = 0;
    int64_t due = o->at_ms > 0 ? o->at_ms : cdtx__store_stamp_ms(store) + o->delay_ms;
    cdtx_value arguments[] = {SQL_INT(number),
                              cdtx__sql_text(o->queue),
                              cdtx__sql_text(handler),
                              SQL_INT(o->priority),
                              SQL_INT(o->at_ms > 0 ? JOB_CLOCK_WALL : JOB_CLOCK_DURABLE),
                              SQL_INT(due),
                              cdtx__sql_text(o->unique_key),
                              cdtx__sql_text(o->concurrency_key),
                              cdtx__sql_blob(payload, length)};
    int32_t rc =
        cdtx__sql_run(sql,
                      "INSERT INTO cdtx_job (id, queue, handler, state, priority, clock, due, attempts, crashes,"
                      " token, unique_key, concurrency_key, payload, error)"
                      " VALUES (?, ?, ?, 1, ?, ?, ?, 0, 0, 0, ?, ?, ?, NULL) ON CONFLICT DO NOTHING",
                      arguments, 9, NULL, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return cdtx__fail(err, CDTX_CONFLICT, "a job of '%s' with the unique key '%.120s' is live already", handler,
                          o->unique_key == NULL ? "" : o->unique_key);
    store->meta.job = number;
    store->meta.dirty = 1;
    store->meta.rings = 1;
    if (id != NULL)
        *id = number;
    return 0;
}

int32_t cdtx_job_put(cdtx_sql *sql, const char *handler, const void *payload, size_t length,
                     const cdtx_job_options *options, int64_t *id, cdtx_error *err) {
    cdtx_job_options o = {0};
    int32_t rc = cdtx__sql_usable(sql, err);
    if (rc == 0)
        rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_job_options", err);
    if (rc != 0)
        return rc;
    if (o.queue == NULL)
        o.queue = "default";
    cdtx_db *db = sql->store->owner;
    rc = check_job(db->engine, handler, payload, length, &o, err);
    return rc != 0 ? rc : insert(sql, handler, payload, length, &o, id, err);
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
    const cdtx_env *env = job->work.engine->env;
    int64_t top = o->backoff_min_ms;
    for (uint32_t i = 0; i < job->attempt && top < o->backoff_max_ms; i++)
        top *= 2;
    if (top > o->backoff_max_ms)
        top = o->backoff_max_ms;
    uint32_t dice = 0;
    if (env->random(env->user, &dice, sizeof dice) != 0)
        dice = UINT32_MAX / 2;
    int64_t delay = o->backoff_min_ms + (int64_t)((double)(top - o->backoff_min_ms) * dice / UINT32_MAX);
    return job->code == CDTX_BUSY && job->err.retry_after_ms > delay ? job->err.retry_after_ms : delay;
}

static int32_t failed(struct job *job, cdtx_sql *sql, cdtx_error *err) {
    int dead = job->code == CDTX_REFUSED || job->attempt >= job->handler->options.attempts_max;
    int64_t changes = 0;
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

void cdtx__job_free(struct job *job) {
    struct job_room *room = job->handler->room;
    const cdtx_env *env = job->work.engine->env;
    __atomic_sub_fetch(&job->handler->claimed, 1, __ATOMIC_RELAXED);
    cdtx__free(env, job, job->size);
    if (__atomic_load_n(&room->more, __ATOMIC_RELAXED))
        ring(room, 0);
}

static void ended(struct rider *rider) {
    struct job *job = LIST_OF(rider, struct job, rider);
    if (rider->result != 0 && rider->result != CDTX_CONFLICT) /* the lease runs out, and the job is run again */
        cdtx__log(job->work.engine->env, CDTX_LOG_WARNING, "job %lld of '%s': %s", (long long)job->id,
                  job->handler->name, rider->err.text);
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

static void start(struct job *job) {
    cdtx *engine = job->work.engine;
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

/* ---- claiming ---- */

struct claim {
    struct rider rider;
    struct job_room *room;
    struct list jobs; /* by work.link */
    cdtx_rows rows;
    int64_t next_ms; /* until the next due job, INT64_MAX: none */
    int more, pullable;
};

static void drop_claimed(struct claim *claim) {
    struct list *link;
    while ((link = list_pop(&claim->jobs)) != NULL) {
        struct job *job = LIST_OF(link, struct job, work.link);
        __atomic_sub_fetch(&job->handler->claimed, 1, __ATOMIC_RELAXED);
        cdtx__free(claim->rows.env, job, job->size);
    }
}

static struct job *new_job(struct claim *claim, struct handler *handler, uint32_t row) {
    const cdtx_value *payload = cdtx__rows_at(&claim->rows, row, 3);
    size_t size = sizeof(struct job) + payload->length + 1;
    struct job *job = cdtx__alloc(claim->rows.env, size);
    if (job == NULL)
        return NULL;
    *job = (struct job){
        .work = {.kind = CDTX_WORK_JOB, .engine = claim->room->db->engine},
        .handler = handler,
        .id = cdtx__rows_int(&claim->rows, row, 0),
        .attempt = (uint32_t)cdtx__rows_int(&claim->rows, row, 1) + 1,
        .token = cdtx__rows_int(&claim->rows, row, 2) + 1,
        .size = size,
        .length = payload->length,
    };
    if (payload->length > 0)
        memcpy(job + 1, payload->bytes, payload->length);
    __atomic_add_fetch(&handler->claimed, 1, __ATOMIC_RELAXED);
    list_push(&claim->jobs, &job->work.link);
    return job;
}

/* NOT EXISTS also in the update: two jobs of one key may stand in one batch. */
#define ALONE_BY_KEY                                                                                                   \
    "(concurrency_key IS NULL OR NOT EXISTS (SELECT 1 FROM cdtx_job AS other WHERE other.state = 2"                    \
    " AND other.concurrency_key = cdtx_job.concurrency_key))"

static int32_t lease(struct claim *claim, cdtx_sql *sql, struct handler *handler, uint32_t row, uint32_t *room,
                     cdtx_error *err) {
    int64_t changes = 0, id = cdtx__rows_int(&claim->rows, row, 0);
    cdtx_value arguments[] = {SQL_INT(cdtx__store_stamp_ms(sql->store) + handler->options.lease_ms), SQL_INT(id)};
    int32_t rc = cdtx__sql_run(sql,
                               "UPDATE cdtx_job SET state = 2, attempts = attempts + 1, token = token + 1, due = ?"
                               " WHERE id = ? AND state = 1 AND " ALONE_BY_KEY,
                               arguments, 2, NULL, &changes, err);
    if (rc != 0 || changes == 0)
        return rc;
    if (new_job(claim, handler, row) == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a job of '%s'", handler->name);
    (*room)--;
    if (handler->options.lease_ms < claim->next_ms)
        claim->next_ms = handler->options.lease_ms; /* somebody must look when it ends */
    return 0;
}

static int64_t now_on(const cdtx_sql *sql, int64_t clock) {
    return clock == JOB_CLOCK_WALL ? cdtx__wall_ms(sql->store->env) : cdtx__store_clock_ms(sql->store);
}

static int32_t claim_level(struct claim *claim, cdtx_sql *sql, struct handler *handler, int64_t clock, int64_t priority,
                           uint32_t *room, cdtx_error *err) {
    cdtx_value arguments[] = {cdtx__sql_text(handler->queue),
                              cdtx__sql_text(handler->name),
                              SQL_INT(clock),
                              SQL_INT(priority),
                              SQL_INT(now_on(sql, clock)),
                              SQL_INT(*room)};
    cdtx__rows_reset(&claim->rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT id, attempts, token, payload FROM cdtx_job WHERE queue = ? AND handler = ?"
                               " AND clock = ? AND priority = ? AND state = 1 AND due <= ? AND " ALONE_BY_KEY
                               " ORDER BY due LIMIT ?",
                               arguments, 6, &claim->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i<claim->rows.count && * room> 0; i++)
        rc = lease(claim, sql, handler, i, room, err);
    return rc;
}

/* When the level's next job is due, and whether one is due that we left. */
static int32_t look_ahead(struct claim *claim, cdtx_sql *sql, const struct handler *handler, int64_t clock,
                          int64_t priority, cdtx_error *err) {
    int64_t now = now_on(sql, clock);
    cdtx_value arguments[] = {cdtx__sql_text(handler->queue), cdtx__sql_text(handler->name), SQL_INT(clock),
                              SQL_INT(priority), SQL_INT(now)};
    cdtx__rows_reset(&claim->rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT due FROM cdtx_job WHERE queue = ? AND handler = ? AND clock = ? AND priority = ?"
                               " AND state = 1 AND due > ? ORDER BY due LIMIT 1",
                               arguments, 5, &claim->rows, NULL, err);
    if (rc != 0)
        return rc;
    if (claim->rows.count == 1 && cdtx__rows_int(&claim->rows, 0, 0) - now < claim->next_ms)
        claim->next_ms = cdtx__rows_int(&claim->rows, 0, 0) - now;
    cdtx__rows_reset(&claim->rows);
    rc = cdtx__sql_run(
        sql,
        "SELECT 1 FROM cdtx_job WHERE queue = ? AND handler = ? AND clock = ? AND priority = ? AND state = 1"
        " AND due <= ? LIMIT 1",
        arguments, 5, &claim->rows, NULL, err);
    if (rc == 0 && claim->rows.count == 1) {
        claim->more = 1;
        claim->pullable |= handler->options.handler == NULL;
    }
    return rc;
}

static int32_t claim_handler(struct claim *claim, cdtx_sql *sql, struct handler *handler, cdtx_error *err) {
    uint32_t claimed = __atomic_load_n(&handler->claimed, __ATOMIC_RELAXED);
    uint32_t room = claimed < CLAIM_MAX ? CLAIM_MAX - claimed : 0;
    if (handler->options.handler == NULL) {
        uint32_t hungry = cdtx__pump_hungry(&claim->room->db->engine->pump);
        room = room < hungry ? room : hungry;
    }
    int32_t rc = 0;
    for (int64_t priority = CDTX_PRIORITY_MAX; rc == 0 && priority >= 0; priority--)
        for (int64_t clock = JOB_CLOCK_DURABLE; rc == 0 && clock <= JOB_CLOCK_WALL; clock++) {
            if (room > 0)
                rc = claim_level(claim, sql, handler, clock, priority, &room, err);
            if (rc == 0)
                rc = look_ahead(claim, sql, handler, clock, priority, err);
        }
    return rc;
}

/* A lease that ran out is a crash of its holder, as far as anybody can tell. */
static int32_t expire(struct claim *claim, cdtx_sql *sql, const struct handler *handler, int64_t id, int64_t crashes,
                      cdtx_error *err) {
    int dead = crashes + 1 >= handler->options.crashes_max;
    cdtx_value arguments[] = {SQL_INT(dead ? JOB_DEAD : JOB_READY), SQL_INT(cdtx__store_stamp_ms(sql->store)),
                              SQL_INT(id)};
    if (dead)
        cdtx__log(claim->rows.env, CDTX_LOG_WARNING,
                  "job %lld of '%s' is dead: its holder crashed or lost its lease %lld times", (long long)id,
                  handler->name, (long long)crashes + 1);
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_job SET state = ?, clock = 0, due = ?, crashes = crashes + 1, token = token + 1,"
                         " error = 'its holder crashed or lost its lease' WHERE id = ?",
                         arguments, 3, NULL, NULL, err);
}

static int32_t expire_leases(struct claim *claim, cdtx_sql *sql, cdtx_error *err) {
    int64_t now = cdtx__store_clock_ms(sql->store);
    /* In a file of our own, whoever held a lease before this life is dead. */
    int all = !claim->room->recovered && sql->store->ownership == CDTX_OWN_ALONE;
    cdtx_value arguments[] = {SQL_INT(all ? INT64_MAX : now), SQL_INT(EXPIRED_MAX)};
    cdtx__rows_reset(&claim->rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT id, handler, crashes FROM cdtx_job WHERE state = 2 AND due <= ? LIMIT ?",
                               arguments, 2, &claim->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < claim->rows.count; i++) {
        struct handler *handler = find_locked(claim->room, cdtx__rows_at(&claim->rows, i, 1)->bytes);
        if (handler != NULL)
            rc = expire(claim, sql, handler, cdtx__rows_int(&claim->rows, i, 0), cdtx__rows_int(&claim->rows, i, 2),
                        err);
    }
    if (rc != 0)
        return rc;
    cdtx__rows_reset(&claim->rows);
    rc = cdtx__sql_run(sql, "SELECT due FROM cdtx_job WHERE state = 2 ORDER BY due LIMIT 1", NULL, 0, &claim->rows,
                       NULL, err);
    if (rc == 0 && claim->rows.count == 1 && cdtx__rows_int(&claim->rows, 0, 0) > now)
        claim->next_ms = cdtx__rows_int(&claim->rows, 0, 0) - now;
    return rc;
}

static int32_t run_claim(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct claim *claim = LIST_OF(rider, struct claim, rider);
    struct job_room *room = claim->room;
    drop_claimed(claim);
    claim->next_ms = INT64_MAX;
    claim->more = claim->pullable = 0;
    cdtx__lock(sql->store->env, &room->lock);
    int32_t rc = expire_leases(claim, sql, err);
    for (struct list *link = room->handlers.next; rc == 0 && link != &room->handlers; link = link->next)
        rc = claim_handler(claim, sql, LIST_OF(link, struct handler, link), err);
    cdtx__unlock(sql->store->env, &room->lock);
    return rc;
}

static void claim_done(struct rider *rider) {
    struct claim *claim = LIST_OF(rider, struct claim, rider);
    struct job_room *room = claim->room;
    cdtx *engine = room->db->engine;
    int64_t next_ms = rider->result == 0 ? claim->next_ms : 1000;
    if (rider->result != 0) {
        drop_claimed(claim);
        if (rider->result != CDTX_STOPPED)
            cdtx__log(engine->env, CDTX_LOG_WARNING, "jobs of '%s': %s", room->db->store->name, rider->err.text);
    } else {
        room->recovered = 1;
        __atomic_store_n(&room->more, claim->more, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&room->scanning, 0, __ATOMIC_RELEASE);
    if (room->db->store->ownership != CDTX_OWN_ALONE && next_ms > 500)
        next_ms = 500; /* other processes do not ring here */
    if (next_ms != INT64_MAX && rider->result != CDTX_STOPPED)
        ring(room, next_ms * 1000);
    if (claim->pullable)
        cdtx__pump_pullable(&engine->pump);
    struct list *link;
    while ((link = list_pop(&claim->jobs)) != NULL)
        start(LIST_OF(link, struct job, work.link));
    cdtx__rows_free(&claim->rows);
    cdtx__free(engine->env, claim, sizeof *claim);
}

static void scan_fire(struct timer *timer) {
    struct job_room *room = LIST_OF(timer, struct job_room, scan);
    cdtx *engine = room->db->engine;
    if (__atomic_exchange_n(&room->scanning, 1, __ATOMIC_ACQ_REL)) {
        ring(room, 5000); /* it may have looked too early for what rang now */
        return;
    }
    struct claim *claim = cdtx__alloc(engine->env, sizeof *claim);
    if (claim == NULL) {
        __atomic_store_n(&room->scanning, 0, __ATOMIC_RELEASE);
        ring(room, 1000000);
        return;
    }
    claim->room = room;
    claim->rider.run = run_claim;
    claim->rider.done = claim_done;
    list_init(&claim->jobs);
    cdtx__rows_init(&claim->rows, engine->env, ROWS_MAX);
    cdtx__store_submit(room->db->store, &claim->rider);
}
