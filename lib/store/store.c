#include "store/store.h"

#include <stdio.h>

#include "store/group.h"
#include "store/lent.h"
#include "store/schema.h"
#include "store/sql.h"

int64_t cdtx__store_clock_ms(const struct store *store) {
    return store->clock_offset_ms + cdtx__now_us(store->env) / 1000;
}

int64_t cdtx__store_stamp_ms(struct store *store) {
    store->meta.dirty = 1;
    return cdtx__store_clock_ms(store);
}

/* ---- the queue ---- */

static void schedule_locked(struct store *store, int *call_ready) {
    *call_ready = !store->scheduled;
    store->scheduled = 1;
}

static void count_locked(struct store *store, const struct rider *rider, int by) {
    if (!(rider->flags & RIDER_LAZY))
        store->eager += (uint32_t)by;
    if (rider->flags & RIDER_BOUNDED)
        store->waiting += (uint32_t)by;
}

void cdtx__store_submit(struct store *store, struct rider *rider) {
    int ready = 0, later = 0;
    rider->result = 0;
    cdtx__lock(store->env, &store->lock);
    if (store->stopped != 0) {
        rider->result = CDTX_STOPPED;
        rider->err = store->stop_err;
    } else if ((rider->flags & RIDER_BOUNDED) && store->waiting >= store->limits.waiting_max) {
        rider->result =
            cdtx__busy(&rider->err, 50, "%u local transactions wait for database '%s' already (waiting_max)",
                       store->waiting, store->name);
    }
    if (rider->result != 0) {
        cdtx__unlock(store->env, &store->lock);
        rider->done(rider);
        return;
    }
    rider->flags &= ~(uint32_t)RIDER_TAKEN;
    count_locked(store, rider, 1);
    if (rider->flags & RIDER_LAZY)
        later = list_empty(&store->queue) && !store->scheduled;
    else
        schedule_locked(store, &ready);
    list_push(&store->queue, &rider->link);
    cdtx__unlock(store->env, &store->lock);
    if (ready)
        store->hooks.ready(store->hooks.user, store);
    if (later)
        store->hooks.later(store->hooks.user, store, 5000);
}

int cdtx__store_withdraw(struct store *store, struct rider *rider) {
    cdtx__lock(store->env, &store->lock);
    int queued = list_linked(&rider->link) && !(rider->flags & RIDER_TAKEN);
    if (queued) {
        list_remove(&rider->link);
        count_locked(store, rider, -1);
    }
    cdtx__unlock(store->env, &store->lock);
    return queued;
}

void cdtx__store_kick(struct store *store) {
    int ready = 0;
    cdtx__lock(store->env, &store->lock);
    if (store->busy) {
        store->busy = 0;
        ready = 1;
    } else if (!list_empty(&store->queue)) {
        schedule_locked(store, &ready);
    }
    cdtx__unlock(store->env, &store->lock);
    if (ready)
        store->hooks.ready(store->hooks.user, store);
}

static struct rider *pop_locked(struct store *store) {
    struct rider *rider = LIST_OF(list_pop(&store->queue), struct rider, link);
    rider->flags |= RIDER_TAKEN;
    count_locked(store, rider, -1);
    return rider;
}

/* A handle goes alone: either it is first and is returned, or the group ends before it. */
static struct rider *take_group(struct store *store, struct list *group) {
    struct rider *handle = NULL;
    cdtx__lock(store->env, &store->lock);
    for (uint32_t n = 0; n < store->limits.group_max && !list_empty(&store->queue); n++) {
        struct rider *next = LIST_OF(store->queue.next, struct rider, link);
        if ((next->flags & RIDER_HANDLE) && n > 0)
            break;
        next = pop_locked(store);
        if (next->flags & RIDER_HANDLE) {
            handle = next;
            break;
        }
        list_push(group, &next->link);
    }
    cdtx__unlock(store->env, &store->lock);
    return handle;
}

static void put_back(struct store *store, struct list *group) {
    cdtx__lock(store->env, &store->lock);
    while (!list_empty(group)) { /* from the last, so that the order stays */
        struct list *link = group->prev;
        struct rider *rider = LIST_OF(link, struct rider, link);
        list_remove(link);
        rider->flags &= ~(uint32_t)RIDER_TAKEN;
        count_locked(store, rider, 1);
        list_push_front(&store->queue, link);
    }
    cdtx__unlock(store->env, &store->lock);
}

/* The others look for their turn at most so often, and a gap is long enough for each of them to look once. */
enum { PAUSE_MIN_US = 200, PAUSE_MAX_US = 2000, GAP_US = 3000, YIELD_MIN_US = 25000, YIELD_MAX_US = 400000 };

/* Group behind group would leave other processes no moment to come in; so a long run ends in a gap. Whoever seems to be
 * the only one makes gaps more and more seldom, until it meets somebody. */
static int must_yield_locked(struct store *store) {
    if (!cdtx__store_is_shared(store) || store->stopped != 0)
        return 0;
    store->turn_ended_us = cdtx__now_us(store->env);
    if (store->turn_ended_us - store->run_since_us < store->yield_us)
        return 0;
    store->run_since_us = 0;
    store->yield_us = store->yield_us * 2 < YIELD_MAX_US ? store->yield_us * 2 : YIELD_MAX_US;
    return 1;
}

static void note_turn(struct store *store) {
    if (!cdtx__store_is_shared(store))
        return;
    int64_t now = cdtx__now_us(store->env);
    if (store->run_since_us == 0 || now - store->turn_ended_us > GAP_US)
        store->run_since_us = now;
    if (store->yield_us == 0)
        store->yield_us = YIELD_MIN_US;
}

/* The turn is over: pass it on, or let it rest. */
static void pass_turn(struct store *store) {
    int ready = 0;
    int64_t later_us = 0;
    cdtx__lock(store->env, &store->lock);
    store->busy_since_us = 0;
    store->scheduled = 0;
    if (must_yield_locked(store)) {
        store->scheduled = store->busy = 1;
        later_us = GAP_US;
    } else if (store->eager > 0) {
        schedule_locked(store, &ready);
    } else if (!list_empty(&store->queue)) {
        later_us = 5000;
    }
    cdtx__unlock(store->env, &store->lock);
    if (ready)
        store->hooks.ready(store->hooks.user, store);
    if (later_us > 0)
        store->hooks.later(store->hooks.user, store, later_us);
}

static void fail_all(struct list *group, int32_t code, const cdtx_error *err) {
    struct list *link;
    while ((link = list_pop(group)) != NULL) {
        struct rider *rider = LIST_OF(link, struct rider, link);
        rider->result = code;
        rider->err = *err;
        rider->done(rider);
    }
}

/* Between half of it and all, so that two who wait do not knock in step. */
static int64_t jittered(const cdtx_env *env, int64_t us) {
    uint32_t random = 0;
    (void)env->random(env->user, &random, sizeof random);
    return us / 2 + (int64_t)random % (us / 2 + 1);
}

/* Another process has the turn. Waiting happens out here, never inside the database (DESIGN.md, no hidden threads). */
static void wait_for_turn(struct store *store, struct list *group, const cdtx_error *err) {
    int64_t now = cdtx__now_us(store->env);
    if (store->busy_since_us == 0) {
        store->busy_since_us = now;
        store->busy_pause_us = PAUSE_MIN_US;
    }
    if (now - store->busy_since_us > store->limits.wait_us) {
        fail_all(group, CDTX_BUSY, err);
        pass_turn(store);
        return;
    }
    put_back(store, group);
    cdtx__lock(store->env, &store->lock);
    store->busy = 1;
    store->run_since_us = 0;
    store->yield_us = YIELD_MIN_US; /* we are not alone */
    cdtx__unlock(store->env, &store->lock);
    store->hooks.later(store->hooks.user, store, jittered(store->env, store->busy_pause_us));
    store->busy_pause_us = store->busy_pause_us * 2 < PAUSE_MAX_US ? store->busy_pause_us * 2 : PAUSE_MAX_US;
}

static void grant(struct store *store, struct rider *rider) {
    struct list alone;
    cdtx_error err = {0};
    int32_t rc = cdtx__group_open(store, &err);
    if (rc == 0) {
        rider->result = 0;
        rider->done(rider); /* the turn is the handle's until cdtx__store_handle_end */
        return;
    }
    list_init(&alone);
    list_push(&alone, &rider->link);
    if (rc == CDTX_BUSY) {
        wait_for_turn(store, &alone, &err);
        return;
    }
    fail_all(&alone, rc, &err);
    pass_turn(store);
}

static void drain_stopped(struct store *store) {
    struct list group;
    list_init(&group);
    cdtx__lock(store->env, &store->lock);
    while (!list_empty(&store->queue))
        list_push(&group, &pop_locked(store)->link);
    cdtx__unlock(store->env, &store->lock);
    fail_all(&group, CDTX_STOPPED, &store->stop_err);
}

void cdtx__store_lead(struct store *store) {
    struct list group;
    list_init(&group);
    cdtx_error err = {0};
    note_turn(store);
    struct rider *handle = take_group(store, &group);
    if (handle != NULL) {
        grant(store, handle);
        return;
    }
    store->hooks.watch(store->hooks.user, store);
    if (cdtx__group_run(store, &group, &err) == CDTX_BUSY) {
        wait_for_turn(store, &group, &err);
        return;
    }
    if (store->stopped != 0) {
        drain_stopped(store);
    } else if (!store->lent) { /* the host keeps its own house */
        int32_t rc = store->port->tidy(store->connection, &err);
        if (rc == CDTX_STOPPED)
            cdtx__group_stop(store, err.text);
        else if (rc != 0 && rc != CDTX_BUSY)
            cdtx__log(store->env, CDTX_LOG_WARNING, "database '%s': housekeeping: %s", store->name, err.text);
    }
    pass_turn(store);
}

void cdtx__store_handle_begin(struct store *store, cdtx_sql *sql) {
    __atomic_add_fetch(&store->refs, 1, __ATOMIC_RELAXED);
    cdtx__lock(store->env, &store->handle_lock);
    sql->open = 1;
    store->handle = sql;
    cdtx__unlock(store->env, &store->handle_lock);
}

static int32_t end_transaction(struct store *store, int commit, cdtx_error *err) {
    if (!commit) {
        store->port->rollback(store->connection);
        return 0;
    }
    if (!store->port->in_transaction(store->connection))
        return cdtx__fail(err, CDTX_SQL, "database '%s': a failed statement had ended the transaction", store->name);
    int32_t rc = cdtx__group_commit(store, err);
    if (rc == 0) {
        __atomic_add_fetch(&store->groups, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&store->riders, 1, __ATOMIC_RELAXED);
        cdtx__histogram_add(&store->group_size, 1);
    }
    return rc;
}

int32_t cdtx__store_handle_end(cdtx_sql *sql, int commit, cdtx_error *err) {
    struct store *store = sql->store;
    cdtx__lock(store->env, &store->handle_lock);
    int open = sql->open;
    int32_t rc = 0;
    if (open) {
        sql->open = 0;
        store->handle = NULL;
        cdtx__sql_reset(sql);
        rc = end_transaction(store, commit, err);
    }
    cdtx__unlock(store->env, &store->handle_lock);
    if (!open)
        return cdtx__fail(err, CDTX_MISUSE, "this local transaction has ended already");
    pass_turn(store);
    return rc;
}

/* ---- opening and closing ---- */

static void rest(const cdtx_env *env, int64_t us) {
    uint32_t word = 0;
    int64_t until = cdtx__now_us(env) + us;
    while (cdtx__now_us(env) < until && env->wait(env->user, &word, 0, until) == 0) {
    }
}

/* Two names for one database would wait for each other's commits. */
static int32_t check_unknown(const struct store *store, const cdtx_value *uuid, cdtx_error *err) {
    const char *name = uuid->length == 16 ? store->hooks.known(store->hooks.user, uuid->bytes) : NULL;
    if (name == NULL)
        return 0;
    return cdtx__fail(err, CDTX_CONFLICT, "'%s' is the database that is open already as '%s'", store->name, name);
}

/* Names the one who has the database, as far as its row can still be read. */
static int32_t owned_by_other(struct store *store, cdtx_error *err) {
    cdtx__rows_reset(&store->rows);
    const char *owner = "another process";
    int32_t rc = store->port->exec(store->connection, CDTX_SQL_OURS, "SELECT owner, uuid FROM cdtx_meta WHERE id = 1",
                                   NULL, 0, &store->rows, NULL, NULL);
    if (rc == 0 && store->rows.count == 1 && cdtx__rows_at(&store->rows, 0, 0)->length > 0)
        owner = cdtx__rows_at(&store->rows, 0, 0)->bytes;
    rc = check_unknown(store, cdtx__rows_at(&store->rows, 0, 1), err);
    if (rc != 0)
        return rc;
    return cdtx__busy(err, 1000, "database '%s' is owned by %s; with read=1 in its URL it can be read all the same",
                      store->name, owner);
}

enum {
    SHORTLY_MS = 100
}; /* a port's hint below this: somebody is in the middle of something; else: it is another owner's */

/* One step of opening, again while the port says that it is only a moment. */
static int32_t in_turn(struct store *store, int32_t (*step)(struct store *store, cdtx_error *err), cdtx_error *err) {
    int64_t until = cdtx__now_us(store->env) + store->limits.wait_us;
    for (;;) {
        cdtx_error why = {0};
        int32_t rc = step(store, &why);
        if (rc == CDTX_BUSY && why.retry_after_ms < SHORTLY_MS && cdtx__now_us(store->env) < until) {
            rest(store->env, 2000);
            continue;
        }
        if (rc != 0 && err != NULL)
            *err = why;
        return rc;
    }
}

static int32_t reach(struct store *store, cdtx_error *err) {
    return store->port->open(store->env, store->url, &store->connection, err);
}

static int32_t own(struct store *store, cdtx_error *err) {
    return store->port->own(store->connection, &store->ownership, err); /* HEIR until it has signed in */
}

static int32_t begin(struct store *store, cdtx_error *err) {
    return store->port->begin(store->connection, err);
}

/* Who this database is, and where its clock stands. */
static int32_t read_identity(struct store *store, int64_t wall, cdtx_error *err) {
    cdtx__rows_reset(&store->rows);
    int32_t rc = cdtx__schema_exec(store->port, store->connection,
                                   "SELECT uuid, epoch, clock, wall, mono FROM cdtx_meta WHERE id = 1", NULL, 0,
                                   &store->rows, err);
    if (rc != 0)
        return rc;
    const cdtx_value *uuid = cdtx__rows_at(&store->rows, 0, 0);
    if (uuid->type != CDTX_BLOB || uuid->length != sizeof store->uuid)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': its uuid is not 16 bytes", store->name);
    rc = cdtx__meta_check(store, 1, 4, err);
    if (rc == 0)
        rc = check_unknown(store, uuid, err);
    if (rc != 0)
        return rc;
    memcpy(store->uuid, uuid->bytes, sizeof store->uuid);
    store->epoch = cdtx__rows_int(&store->rows, 0, 1);
    int64_t away = wall - cdtx__rows_int(&store->rows, 0, 3), mono = cdtx__now_us(store->env) / 1000;
    /* While another process has the file open, this machine has not been restarted since the clock was saved: then its
     * monotonic clock knows how long ago that was, and no step of the wall clock can make anything due. */
    int64_t since = mono - cdtx__rows_int(&store->rows, 0, 4);
    int among_others = store->ownership != CDTX_OWN_ALONE && store->ownership != CDTX_OWN_FIRST;
    if (among_others && since >= 0) /* else it has been restarted all the same: others open at this moment too */
        away = since;
    store->clock_offset_ms = cdtx__rows_int(&store->rows, 0, 2) + (away > 0 ? away : 0) - mono;
    return 0;
}

static int32_t sign_in(struct store *store, cdtx_error *err) {
    char owner[64];
    snprintf(owner, sizeof owner, "%sprocess %llu", store->lent ? STORE_HOST_OWNER : "",
             (unsigned long long)store->process);
    int64_t wall = cdtx__wall_ms(store->env);
    int32_t rc = read_identity(store, wall, err);
    if (rc != 0)
        return rc;
    store->epoch++;
    if (store->ownership == CDTX_OWN_HEIR)
        store->ownership = CDTX_OWN_FIRST;
    int64_t mono = cdtx__now_us(store->env) / 1000;
    cdtx_value arguments[] = {cdtx__sql_text(owner), SQL_INT(store->epoch), SQL_INT(store->clock_offset_ms + mono),
                              SQL_INT(wall), SQL_INT(mono)};
    return cdtx__schema_exec(store->port, store->connection,
                             "UPDATE cdtx_meta SET owner = ?, epoch = ?, clock = ?, wall = ?, mono = ? WHERE id = 1",
                             arguments, 5, NULL, err);
}

/* A reader leaves no trace: it takes the tables as they are. */
static int32_t look_in(struct store *store, cdtx_error *err) {
    int32_t rc = cdtx__schema_check(store->port, store->connection, store->env, store->name, err);
    return rc != 0 ? rc : read_identity(store, cdtx__wall_ms(store->env), err);
}

int32_t cdtx__store_set_up(struct store *store, cdtx_error *err) {
    int32_t rc = in_turn(store, own, err);
    if (rc == CDTX_BUSY)
        return owned_by_other(store, err);
    if (rc == 0)
        rc = in_turn(store, begin, err);
    if (rc != 0)
        return rc;
    if (store->ownership == CDTX_OWN_NONE) {
        rc = look_in(store, err);
        store->port->rollback(store->connection);
        return rc;
    }
    cdtx_error why = {0};
    rc = cdtx__schema_upgrade(store->port, store->connection, store->env, store->name, &why);
    if (rc == 0)
        rc = sign_in(store, &why);
    if (rc == CDTX_SQL) /* the statements are ours and have no fault */
        rc = cdtx__fail(&why, CDTX_CORRUPT, "database '%s': our tables are damaged: %.300s", store->name, why.text);
    if (rc != 0) {
        store->port->rollback(store->connection);
        if (err != NULL)
            *err = why;
        return rc;
    }
    return store->port->commit(store->connection, err);
}

void cdtx__store_unref(struct store *store) {
    if (__atomic_sub_fetch(&store->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    const cdtx_env *env = store->env;
    cdtx__sql_delete(store->sql);
    cdtx__rows_free(&store->rows);
    cdtx__free_text(env, store->name);
    cdtx__free(env, store, sizeof *store);
}

void cdtx__store_close(struct store *store) {
    if (store == NULL)
        return;
    if (store->connection != NULL)
        store->port->close(store->connection);
    store->connection = NULL;
    cdtx__store_unref(store);
}

int32_t cdtx__store_new(const cdtx_env *env, const cdtx_sql_port *port, const char *name,
                        const struct store_hooks *hooks, const struct store_limits *limits, struct store **store,
                        cdtx_error *err) {
    struct store *s = cdtx__alloc(env, sizeof *s);
    if (s == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to open database '%s'", name);
    *s = (struct store){.env = env, .port = port, .hooks = *hooks, .limits = *limits};
    s->refs = 1;
    s->process = env->process(env->user);
    list_init(&s->queue);
    cdtx__rows_init(&s->rows, env, 65536);
    s->name = cdtx__copy_text(env, name);
    int32_t rc = s->name == NULL ? cdtx__fail(err, CDTX_NO_MEMORY, "no memory to open database '%s'", name) : 0;
    if (rc == 0)
        rc = cdtx__sql_new(s, 0, &s->sql, err);
    if (rc != 0) {
        cdtx__store_close(s);
        return rc;
    }
    *store = s;
    return 0;
}

int32_t cdtx__store_open(const cdtx_env *env, const cdtx_sql_port *port, const char *name, const char *url,
                         const struct store_hooks *hooks, const struct store_limits *limits, struct store **store,
                         cdtx_error *err) {
    struct store *s = NULL;
    int32_t rc = cdtx__store_new(env, port, name, hooks, limits, &s, err);
    if (rc != 0)
        return rc;
    s->url = url;
    rc = in_turn(s, reach, err);
    if (rc == 0)
        rc = cdtx__store_set_up(s, err);
    s->url = NULL; /* the caller's */
    if (rc != 0) {
        cdtx__store_close(s);
        return rc;
    }
    *store = s;
    return 0;
}

void cdtx__store_shut(struct store *store) {
    cdtx__lock(store->env, &store->handle_lock);
    if (store->handle != NULL) {
        store->port->rollback(store->connection);
        store->handle->open = 0;
        store->handle = NULL;
    }
    cdtx__unlock(store->env, &store->handle_lock);
    cdtx__lock(store->env, &store->lock);
    if (store->stopped == 0)
        store->stopped = cdtx__fail(&store->stop_err, CDTX_STOPPED, "database '%s' is closed", store->name);
    cdtx__unlock(store->env, &store->lock);
    drain_stopped(store);
}
