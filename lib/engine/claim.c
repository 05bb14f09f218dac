/* Claiming due jobs, and finding those whose holder is gone. */
#include "engine/job.h"

/* Somebody may set the wall clock while we wait for a time of day. */
enum { WALL_LOOK_MS = 5000 };
enum { CLAIM_MAX = 512, EXPIRED_MAX = 256, ROWS_MAX = 64 << 20 };

struct claim {
    struct rider rider;
    struct job_room *room;
    struct list jobs; /* by work.link */
    cdtx_rows rows;
    int64_t next_ms; /* until the next due job, INT64_MAX: none */
    uint64_t dead;   /* given up by this claim */
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
        .token = MUTANT(claim->rows.env, "bug-28-token") ? 1 : cdtx__rows_int(&claim->rows, row, 2) + 1,
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
    const char *statement = "UPDATE cdtx_job SET state = 2, attempts = attempts + 1, token = token + 1, due = ?"
                            " WHERE id = ? AND state = 1 AND " ALONE_BY_KEY;
    if (MUTANT(claim->rows.env, "trap-24"))
        statement = "UPDATE cdtx_job SET state = 2, token = token + 1, due = ? WHERE id = ? AND state = 1";
    if (MUTANT(claim->rows.env, "bug-28-token"))
        statement = "UPDATE cdtx_job SET state = 2, attempts = attempts + 1, token = 1, due = ?"
                    " WHERE id = ? AND state = 1";
    if (MUTANT(claim->rows.env, "trap-23"))
        handler = LIST_OF(claim->room->handlers.next, struct handler, link);
    cdtx_error why = {0};
    int32_t rc = cdtx__sql_run(sql, statement, arguments, 2, NULL, &changes, &why);
    if (rc == CDTX_SQL) { /* our statement has no fault, so the row has: it must not hold up the others */
        cdtx__log(claim->rows.env, CDTX_LOG_ALARM, "job %lld of '%s' is left alone, its row is damaged: %s",
                  (long long)id, handler->name, why.text);
        return 0;
    }
    if (rc != 0 && err != NULL)
        *err = why;
    if (rc != 0 || changes == 0)
        return rc;
    if (new_job(claim, handler, row) == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a job of '%s'", handler->name);
    (*room)--;
    if (handler->options.lease_ms < claim->next_ms)
        claim->next_ms = handler->options.lease_ms; /* somebody must look when it ends */
    return 0;
}

/* How long until the row found is due, ten years at most; INT64_MAX when there is none, or its due time is damaged. */
static int64_t found_in_ms(const struct claim *claim, int64_t now) {
    const cdtx_value *due = cdtx__rows_at(&claim->rows, 0, 0);
    if (due->type != CDTX_INT)
        return INT64_MAX;
    if (due->integer <= now)
        return 0;
    return due->integer > now + CDTX_TIME_MAX_MS ? CDTX_TIME_MAX_MS : due->integer - now;
}

static int64_t now_on(const cdtx_sql *sql, int64_t clock) {
    return clock == JOB_CLOCK_WALL || MUTANT(sql->store->env, "bug-17") ? cdtx__wall_ms(sql->store->env)
                                                                        : cdtx__store_clock_ms(sql->store);
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
    for (uint32_t i = 0; rc == 0 && i < claim->rows.count && 0 < *room; i++)
        rc = lease(claim, sql, handler, i, room, err);
    return rc;
}

/* When the level's next job is due, and whether one is due that we left. */
static int32_t look_ahead(struct claim *claim, cdtx_sql *sql, const struct handler *handler, int64_t clock,
                          int64_t priority, int *left, cdtx_error *err) {
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
    int64_t next_ms = found_in_ms(claim, now);
    if (clock == JOB_CLOCK_WALL && next_ms != INT64_MAX && next_ms > WALL_LOOK_MS &&
        !MUTANT(claim->rows.env, "at-late"))
        next_ms = WALL_LOOK_MS;
    if (next_ms < claim->next_ms)
        claim->next_ms = next_ms;
    cdtx__rows_reset(&claim->rows);
    rc = cdtx__sql_run(
        sql,
        "SELECT 1 FROM cdtx_job WHERE queue = ? AND handler = ? AND clock = ? AND priority = ? AND state = 1"
        " AND due <= ? LIMIT 1",
        arguments, 5, &claim->rows, NULL, err);
    if (rc == 0 && claim->rows.count == 1)
        claim->more = *left = 1;
    return rc;
}

static int32_t claim_handler(struct claim *claim, cdtx_sql *sql, struct handler *handler, cdtx_error *err) {
    uint32_t claimed = __atomic_load_n(&handler->claimed, __ATOMIC_RELAXED);
    uint32_t room = claimed < CLAIM_MAX ? CLAIM_MAX - claimed : 0;
    int few_takers = 0, left = 0;
    if (handler->options.handler == NULL) {
        uint32_t hungry = cdtx__pump_hungry(&claim->room->db->engine->pump);
        few_takers = hungry < room;
        room = few_takers ? hungry : room;
    }
    int32_t rc = 0;
    for (int64_t priority = CDTX_PRIORITY_MAX; rc == 0 && priority >= 0; priority--)
        for (int64_t clock = JOB_CLOCK_DURABLE; rc == 0 && clock <= JOB_CLOCK_WALL; clock++) {
            if (room > 0)
                rc = claim_level(claim, sql, handler, clock, priority, &room, err);
            if (rc == 0)
                rc = look_ahead(claim, sql, handler, clock, priority, &left, err);
        }
    /* Not when a concurrency key or too many claimed ones hold it back: another taker would not change that. */
    claim->pullable |= few_takers && room == 0 && left;
    return rc;
}

/* A lease that ran out is a crash of its holder, as far as anybody can tell. */
static int32_t expire(struct claim *claim, cdtx_sql *sql, const struct handler *handler, int64_t id, int64_t crashes,
                      cdtx_error *err) {
    int dead = crashes >= (int64_t)handler->options.crashes_max - 1;
    cdtx_value arguments[] = {SQL_INT(dead ? JOB_DEAD : JOB_READY), SQL_INT(cdtx__store_stamp_ms(sql->store)),
                              SQL_INT(id)};
    claim->dead += (uint64_t)dead;
    if (dead)
        cdtx__log(claim->rows.env, CDTX_LOG_WARNING,
                  "job %lld of '%s' is dead: its holder crashed or lost its lease %lld times", (long long)id,
                  handler->name, (long long)crashes + (crashes < INT64_MAX));
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_job SET state = ?, clock = 0, due = ?, crashes = crashes + 1, token = token + 1,"
                         " error = 'its holder crashed or lost its lease' WHERE id = ?",
                         arguments, 3, NULL, NULL, err);
}

/* Handlers are never taken out while the engine is open, so they outlive the lock; a host's connection may not be
 * called with it held. */
static struct handler *find_handler(struct job_room *room, const char *name) {
    cdtx__lock(room->db->engine->env, &room->lock);
    struct handler *found = cdtx__handler_find_locked(room, name);
    cdtx__unlock(room->db->engine->env, &room->lock);
    return found;
}

static struct handler *handler_after(struct job_room *room, struct handler *handler) {
    cdtx__lock(room->db->engine->env, &room->lock);
    struct list *link = handler == NULL ? room->handlers.next : handler->link.next;
    struct handler *next = link == &room->handlers ? NULL : LIST_OF(link, struct handler, link);
    cdtx__unlock(room->db->engine->env, &room->lock);
    return next;
}

static int32_t expire_leases(struct claim *claim, cdtx_sql *sql, cdtx_error *err) {
    if (MUTANT(claim->rows.env, "bug-27"))
        return 0;
    int64_t now = cdtx__store_clock_ms(sql->store);
    /* In a file of our own, whoever held a lease before this life is dead. */
    int all = !claim->room->recovered && sql->store->ownership == CDTX_OWN_ALONE;
    cdtx_value arguments[] = {SQL_INT(all ? INT64_MAX : now), SQL_INT(EXPIRED_MAX)};
    cdtx__rows_reset(&claim->rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT id, handler, crashes FROM cdtx_job WHERE state = 2 AND due <= ? LIMIT ?",
                               arguments, 2, &claim->rows, NULL, err);
    for (uint32_t i = 0; rc == 0 && i < claim->rows.count; i++) {
        const cdtx_value *name = cdtx__rows_at(&claim->rows, i, 1);
        struct handler *handler = name->type == CDTX_TEXT ? find_handler(claim->room, name->bytes) : NULL;
        if (handler != NULL)
            rc = expire(claim, sql, handler, cdtx__rows_int(&claim->rows, i, 0), cdtx__rows_int(&claim->rows, i, 2),
                        err);
    }
    if (rc != 0)
        return rc;
    cdtx__rows_reset(&claim->rows);
    rc = cdtx__sql_run(sql, "SELECT due FROM cdtx_job WHERE state = 2 ORDER BY due LIMIT 1", NULL, 0, &claim->rows,
                       NULL, err);
    if (rc == 0 && found_in_ms(claim, now) > 0) /* one that ran out already is of a handler that is not here */
        claim->next_ms = found_in_ms(claim, now);
    return rc;
}

static int32_t run_claim(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct claim *claim = LIST_OF(rider, struct claim, rider);
    struct job_room *room = claim->room;
    drop_claimed(claim);
    claim->next_ms = INT64_MAX;
    claim->more = claim->pullable = 0;
    claim->dead = 0;
    int32_t rc = expire_leases(claim, sql, err);
    struct handler *handler = NULL;
    while (rc == 0 && (handler = handler_after(room, handler)) != NULL)
        rc = claim_handler(claim, sql, handler, err);
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
        __atomic_add_fetch(&engine->jobs_dead, claim->dead, __ATOMIC_RELAXED);
        __atomic_store_n(&room->more, claim->more, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&room->scanning, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&room->again, __ATOMIC_SEQ_CST))
        next_ms = 0;
    if (room->db->store->ownership != CDTX_OWN_ALONE && next_ms > 500)
        next_ms = 500; /* other processes do not ring here */
    if (next_ms != INT64_MAX && rider->result != CDTX_STOPPED)
        cdtx__job_ring(room, next_ms * 1000);
    struct list *link;
    while ((link = list_pop(&claim->jobs)) != NULL)
        cdtx__job_start(LIST_OF(link, struct job, work.link));
    if (claim->pullable)
        cdtx__pump_pullable(&engine->pump);
    if (claim->pullable && cdtx__pump_hungry(&engine->pump) > 0)
        cdtx__job_ring(room, 0); /* a taker came while we claimed without it */
    cdtx__rows_free(&claim->rows);
    cdtx__free(engine->env, claim, sizeof *claim);
}

void cdtx__claim_fire(struct timer *timer) {
    struct job_room *room = LIST_OF(timer, struct job_room, scan);
    cdtx *engine = room->db->engine;
    if (__atomic_exchange_n(&room->scanning, 1, __ATOMIC_ACQ_REL)) {
        /* It may have looked too early for what rang now; and it may wait long, for a turn in its database. */
        __atomic_store_n(&room->again, 1, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&room->scanning, __ATOMIC_SEQ_CST))
            cdtx__job_ring(room, 0);
        return;
    }
    __atomic_store_n(&room->again, 0, __ATOMIC_SEQ_CST);
    struct claim *claim = cdtx__alloc(engine->env, sizeof *claim);
    if (claim == NULL) {
        __atomic_store_n(&room->scanning, 0, __ATOMIC_RELEASE);
        cdtx__job_ring(room, 1000000);
        return;
    }
    claim->room = room;
    claim->rider.run = run_claim;
    claim->rider.done = claim_done;
    list_init(&claim->jobs);
    cdtx__rows_init(&claim->rows, engine->env, ROWS_MAX);
    cdtx__store_submit(room->db->store, &claim->rider);
}
