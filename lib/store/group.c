#include "store/group.h"

#include "store/lent.h"
#include "store/sql.h"

void cdtx__group_stop(struct store *store, const char *why) {
    if (store->lent) {
        cdtx__lent_stop(store, why);
        return;
    }
    cdtx__lock(store->env, &store->lock);
    if (store->stopped == 0)
        store->stopped =
            cdtx__fail(&store->stop_err, CDTX_STOPPED, "database '%s' stopped itself: %.300s", store->name, why);
    cdtx__unlock(store->env, &store->lock);
    cdtx__log(store->env, CDTX_LOG_ALARM, "database '%s' stopped itself: %s", store->name, why);
    store->hooks.stopped(store->hooks.user, store);
}

int32_t cdtx__meta_check(const struct store *store, uint32_t first, uint32_t last, cdtx_error *err) {
    for (uint32_t i = first; i <= last; i++) {
        const cdtx_value *value = cdtx__rows_at(&store->rows, 0, i);
        if (value->type != CDTX_INT || value->integer > META_MAX || value->integer < -META_MAX)
            return cdtx__fail(err, CDTX_CORRUPT, "database '%s': a number in cdtx_meta is damaged", store->name);
    }
    return 0;
}

static int32_t read_meta(struct store *store, cdtx_error *err) {
    cdtx__rows_reset(&store->rows);
    int32_t rc = store->port->exec(store->connection, CDTX_SQL_OURS,
                                   "SELECT epoch, seq, job, floor, clock, mono FROM cdtx_meta WHERE id = 1", NULL, 0,
                                   &store->rows, NULL, err);
    if (rc != 0)
        return rc;
    if (store->rows.count != 1)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': cdtx_meta has no row", store->name);
    rc = cdtx__meta_check(store, 0, 5, err);
    if (rc != 0)
        return rc;
    store->meta = (struct store_meta){
        .epoch = cdtx__rows_int(&store->rows, 0, 0),
        .sequence = cdtx__rows_int(&store->rows, 0, 1),
        .job = cdtx__rows_int(&store->rows, 0, 2),
        .floor = cdtx__rows_int(&store->rows, 0, 3),
    };
    int64_t offset_ms = cdtx__rows_int(&store->rows, 0, 4) - cdtx__rows_int(&store->rows, 0, 5);
    if (store->ownership == CDTX_OWN_ALONE && store->meta.epoch != store->epoch) {
        cdtx__group_stop(store, "another process took its ownership over");
        return cdtx__fail(err, CDTX_STOPPED, "database '%s': another process took its ownership over", store->name);
    }
    if (store->lent && store->meta.epoch != store->epoch) {
        rc = cdtx__lent_owner(store, err);
        if (rc != 0)
            return rc;
    }
    /* Processes that share the file each run the clock from their own opening; who is ahead leads. */
    if (store->ownership != CDTX_OWN_ALONE && offset_ms > store->clock_offset_ms) {
        cdtx__lock(store->env, &store->lock); /* lent transactions start from it */
        store->clock_offset_ms = offset_ms;
        cdtx__unlock(store->env, &store->lock);
    }
    return 0;
}

int32_t cdtx__group_open(struct store *store, cdtx_error *err) {
    if (FAILPOINT(store->env, "store.begin"))
        return cdtx__fail(err, CDTX_IO, "database '%s': failpoint store.begin", store->name);
    cdtx_error why;
    int32_t rc = store->port->begin(store->connection, &why);
    if (rc == CDTX_STOPPED)
        cdtx__group_stop(store, why.text);
    if (rc != 0) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    rc = read_meta(store, err);
    if (rc != 0)
        store->port->rollback(store->connection);
    return rc;
}

static int32_t write_meta(struct store *store, cdtx_error *err) {
    if (!store->meta.dirty)
        return 0;
    int64_t mono = cdtx__now_us(store->env) / 1000;
    cdtx_value arguments[] = {SQL_INT(store->meta.sequence),      SQL_INT(store->meta.job),
                              SQL_INT(store->meta.floor),         SQL_INT(store->clock_offset_ms + mono),
                              SQL_INT(cdtx__wall_ms(store->env)), SQL_INT(mono)};
    return store->port->exec(
        store->connection, CDTX_SQL_OURS,
        "UPDATE cdtx_meta SET seq = ?, job = ?, floor = ?, clock = ?, wall = ?, mono = ? WHERE id = 1", arguments, 6,
        NULL, NULL, err);
}

int32_t cdtx__group_commit(struct store *store, cdtx_error *err) {
    int32_t rc = write_meta(store, err);
    if (rc != 0) {
        store->port->rollback(store->connection);
        return rc;
    }
    if (FAILPOINT(store->env, "store.commit.before")) {
        store->port->rollback(store->connection);
        return cdtx__fail(err, CDTX_IO, "database '%s': failpoint store.commit.before", store->name);
    }
    cdtx_error why;
    int64_t from = cdtx__now_us(store->env);
    rc = store->port->commit(store->connection, &why);
    cdtx__histogram_add(&store->sync_us, cdtx__now_us(store->env) - from);
    if (rc == CDTX_UNKNOWN && MUTANT(store->env, "trap-15"))
        rc = 0;
    if (rc == CDTX_UNKNOWN && !MUTANT(store->env, "sync-failure-is-no"))
        cdtx__group_stop(store, why.text);
    (void)FAILPOINT(store->env, "store.commit.after");
    if (rc != 0 && err != NULL)
        *err = why;
    if (rc == 0 && store->meta.rings)
        store->hooks.ring(store->hooks.user, store);
    return rc;
}

static void tell(struct rider *rider, int32_t result, const cdtx_error *err) {
    rider->result = result;
    if (result != 0 && err != NULL)
        rider->err = *err;
    rider->done(rider);
}

static void tell_all(struct list *group, int32_t result, const cdtx_error *err) {
    struct list *link;
    while ((link = list_pop(group)) != NULL)
        tell(LIST_OF(link, struct rider, link), result, err);
}

/* What each rider was told inside the transaction becomes true with its commit, the refusals included (trap 12). */
static void tell_own(struct list *group) {
    struct list *link;
    while ((link = list_pop(group)) != NULL) {
        struct rider *rider = LIST_OF(link, struct rider, link);
        tell(rider, rider->result, NULL);
    }
}

static int32_t behind_savepoint(struct store *store, struct rider *rider, cdtx_error *err) {
    const struct cdtx_sql_port *port = store->port;
    int32_t rc = port->savepoint(store->connection, err);
    if (rc != 0)
        return rc;
    rc = rider->run(rider, store->sql, err);
    if (!port->in_transaction(store->connection))
        return rc;
    cdtx_error later;
    if (rc == 0) {
        rc = port->release(store->connection, err);
        if (rc == 0 || !port->in_transaction(store->connection))
            return rc;
    }
    int32_t undone = MUTANT(store->env, "trap-13-undo") ? 0 : port->undo(store->connection, &later);
    if (undone == 0)
        undone = port->release(store->connection, &later);
    if (undone != 0) {
        /* A rider that cannot be undone must not be committed with the others. */
        port->rollback(store->connection);
        if (err != NULL)
            *err = later;
        return undone;
    }
    return rc;
}

static void tell_slow(struct store *store, int64_t since_us) {
    int64_t took = cdtx__now_us(store->env) - since_us;
    if (took < store->limits.closure_us)
        return;
    /* Whoever takes the mark away tells. */
    if (__atomic_compare_exchange_n(&store->closure_since_us, &since_us, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        store->hooks.slow(store->hooks.user, store, took);
}

int64_t cdtx__store_watch(struct store *store) {
    int64_t since = __atomic_load_n(&store->closure_since_us, __ATOMIC_ACQUIRE);
    if (since == 0)
        return 0;
    tell_slow(store, since);
    int64_t left = since + store->limits.closure_us - cdtx__now_us(store->env);
    return left > 0 ? left : 0;
}

/* A disappointed hope costs a second run of the group. Where tries are often refused that must not happen to each, so
 * that many groups go behind savepoints before hope comes back. */
enum { WARY_GROUPS = 32 };

static void choose(struct store *store, const struct list *group) {
    uint32_t riders = 0, hopeful = 0;
    for (struct list *link = group->next; link != group; link = link->next) {
        riders++;
        hopeful += (LIST_OF(link, struct rider, link)->flags & RIDER_HOPEFUL) != 0;
    }
    store->disappointed = 0;
    store->hopeful = riders > 1 && hopeful > 0 && store->wary == 0;
    if (hopeful > 0 && store->wary > 0)
        store->wary--;
}

static int32_t run_rider(struct store *store, struct rider *rider, cdtx_error *err) {
    if (rider->flags & RIDER_PLAIN)
        return rider->run(rider, store->sql, err);
    if (!store->hopeful || !(rider->flags & RIDER_HOPEFUL))
        return behind_savepoint(store, rider, err);
    int32_t rc = rider->run(rider, store->sql, err);
    if (rc != 0 && !MUTANT(store->env, "failed-rider-stays"))
        store->disappointed = 1;
    return rc;
}

static void ride(struct store *store, struct rider *rider) {
    cdtx__sql_reset(store->sql);
    store->sql->open = 1;
    int64_t since = cdtx__now_us(store->env);
    __atomic_store_n(&store->closure_thread, store->env->self(store->env->user), __ATOMIC_RELEASE);
    __atomic_store_n(&store->closure_since_us, since, __ATOMIC_RELEASE);
    cdtx_error err = {0};
    rider->result = run_rider(store, rider, &err);
    if (!(rider->flags & RIDER_PLAIN))
        tell_slow(store, since);
    __atomic_store_n(&store->closure_since_us, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&store->closure_thread, 0, __ATOMIC_RELEASE);
    store->sql->open = 0;
    if (rider->result == 0)
        return;
    if (err.code == 0)
        cdtx__fail(&err, rider->result, "a local transaction on '%s' answered %s without a text", store->name,
                   cdtx_code_name(rider->result));
    rider->err = err;
}

/* All in one transaction. On every failure none of it happened, except that UNKNOWN says that it may have. */
static int32_t ride_together(struct store *store, struct list *group, cdtx_error *err) {
    for (struct list *link = group->next; link != group; link = link->next) {
        ride(store, LIST_OF(link, struct rider, link));
        if (!store->port->in_transaction(store->connection) && MUTANT(store->env, "trap-13") &&
            store->port->begin(store->connection, err) == 0)
            continue;
        if (!store->port->in_transaction(store->connection)) {
            store->disappointed = 0; /* savepoints would not have helped */
            return cdtx__fail(err, CDTX_SQL, "database '%s': a statement ended the transaction that it was in",
                              store->name);
        }
        if (store->disappointed) {
            store->port->rollback(store->connection);
            return cdtx__fail(err, CDTX_SQL, "database '%s': a group goes again behind savepoints", store->name);
        }
    }
    if (MUTANT(store->env, "answer-before-sync")) {
        tell_own(group);
        return cdtx__group_commit(store, err);
    }
    int32_t rc = cdtx__group_commit(store, err);
    if (rc == 0)
        __atomic_add_fetch(&store->groups, 1, __ATOMIC_RELAXED);
    else if (rc != CDTX_UNKNOWN && store->hopeful)
        store->disappointed = 1; /* perhaps one's unmet constraint, which the release of a savepoint would have shown */
    return rc;
}

static int32_t count(const struct list *group) {
    int32_t n = 0;
    for (struct list *link = group->next; link != group; link = link->next)
        n++;
    return n;
}

/* Whatever destroyed the group, none of it happened. Each goes again by itself, so that the culprit hurts only itself.
 */
static int32_t run_alone(struct store *store, struct list *group, cdtx_error *err) {
    struct list one;
    while (!list_empty(group)) {
        list_init(&one);
        struct list *link = list_pop(group);
        list_push(&one, link);
        int32_t rc = cdtx__group_run(store, &one, err);
        if (rc != 0) {
            list_push_front(group, list_pop(&one));
            return rc;
        }
    }
    return 0;
}

/* CDTX_BUSY: another process has the turn, nothing has run. */
static int32_t run_once(struct store *store, struct list *group, int *opened, cdtx_error *err) {
    int32_t rc = cdtx__group_open(store, err);
    *opened = rc == 0;
    return rc != 0 ? rc : ride_together(store, group, err);
}

/* In hope if that is allowed; and if it was in vain, again behind savepoints. */
static int32_t run_group(struct store *store, struct list *group, int *opened, cdtx_error *err) {
    choose(store, group);
    int32_t rc = run_once(store, group, opened, err);
    if (!store->disappointed)
        return rc;
    store->wary = WARY_GROUPS;
    store->hopeful = store->disappointed = 0;
    return run_once(store, group, opened, err);
}

int32_t cdtx__group_run(struct store *store, struct list *group, cdtx_error *err) {
    if (list_empty(group))
        return 0;
    cdtx_error why = {0};
    int32_t riders = count(group);
    int opened = 0;
    int32_t rc = run_group(store, group, &opened, &why);
    if (rc == CDTX_BUSY && !opened) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    if (!opened) {
        tell_all(group, rc, &why);
        return 0;
    }
    if (rc == 0) {
        __atomic_add_fetch(&store->riders, (uint64_t)riders, __ATOMIC_RELAXED);
        cdtx__histogram_add(&store->group_size, riders);
        if (riders > 1)
            store->hooks.hold(store->hooks.user);
        tell_own(group);
        if (riders > 1)
            store->hooks.let_go(store->hooks.user);
        return 0;
    }
    if (rc == CDTX_UNKNOWN && MUTANT(store->env, "sync-failure-is-no"))
        rc = CDTX_IO;
    if (rc == CDTX_UNKNOWN || store->stopped) {
        tell_all(group, rc, &why);
        return 0;
    }
    if (riders > 1)
        return run_alone(store, group, err);
    struct rider *only = LIST_OF(group->next, struct rider, link);
    if (only->result != 0) /* its own words say more than that it ended the transaction */
        why = only->err;
    tell_all(group, only->result != 0 ? only->result : rc, &why);
    return 0;
}
