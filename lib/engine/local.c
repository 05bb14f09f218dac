#include "engine/engine.h"

static void waited_done(struct rider *rider) {
    struct waited_rider *waited = LIST_OF(rider, struct waited_rider, rider);
    cdtx__pump_open(&waited->engine->pump, &waited->gate);
}

int32_t cdtx__ride(cdtx *engine, struct store *store, struct waited_rider *waited, cdtx_error *err) {
    waited->engine = engine;
    waited->rider.done = waited_done;
    cdtx__store_submit(store, &waited->rider);
    int64_t until = cdtx__now_us(engine->env) + engine->options.wait_ms * 1000;
    int32_t rc = cdtx__pump_until(&engine->pump, &waited->gate, until, PUMP_TASKS);
    if (rc != 0 && cdtx__store_withdraw(store, &waited->rider)) {
        if (rc == CDTX_STOPPED)
            return cdtx__fail(err, CDTX_STOPPED, "the engine was closed before a local transaction on '%s' began",
                              store->name);
        if (store->lent)
            return cdtx__busy(err, 100, "database '%s' was lent no turn for it within %lld ms (cdtx_host_run)",
                              store->name, (long long)engine->options.wait_ms);
        return cdtx__busy(err, 100, "database '%s' was held by another transaction for %lld ms", store->name,
                          (long long)engine->options.wait_ms);
    }
    /* It is in a group: that ends soon, and the rider is on our stack. */
    while (rc != 0)
        rc = cdtx__pump_until(&engine->pump, &waited->gate, INT64_MAX, PUMP_TASKS | PUMP_FIRM);
    if (waited->rider.result != 0 && err != NULL)
        *err = waited->rider.err;
    return waited->rider.result;
}

static int32_t enter_db(cdtx_db *db, const char *what, cdtx_error *err) {
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__may_wait(db->engine, what, err);
    if (rc != 0)
        cdtx__leave(db->engine);
    return rc;
}

/* ---- closures ---- */

struct closure {
    struct waited_rider waited;
    cdtx_local_fn run;
    void *user;
};

static int32_t run_closure(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct closure *closure = LIST_OF(rider, struct closure, waited.rider);
    return closure->run(sql, closure->user, err);
}

int32_t cdtx_local(cdtx_db *db, cdtx_local_fn closure, void *user, cdtx_error *err) {
    if (closure == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the closure is NULL");
    int32_t rc = enter_db(db, "cdtx_local", err);
    if (rc != 0)
        return rc;
    struct closure c = {.run = closure, .user = user, .waited.rider = {.flags = RIDER_BOUNDED, .run = run_closure}};
    rc = cdtx__ride(db->engine, db->store, &c.waited, err);
    cdtx__leave(db->engine);
    return rc;
}

/* ---- handles ---- */

int32_t cdtx_sql_begin(cdtx_db *db, cdtx_sql **sql, cdtx_error *err) {
    if (sql == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the transaction's handle is NULL");
    int32_t rc = enter_db(db, "cdtx_sql_begin", err);
    if (rc != 0)
        return rc;
    cdtx_sql *handle = NULL;
    if (db->host != NULL)
        rc = cdtx__fail(err, CDTX_MISUSE,
                        "cdtx_sql_begin: the host opens the transactions of database '%s'; lend one (cdtx_lend)",
                        db->store->name);
    if (rc == 0)
        rc = cdtx__sql_new(db->store, 1, &handle, err);
    if (rc == 0) {
        struct waited_rider turn = {.rider.flags = RIDER_HANDLE | RIDER_BOUNDED};
        rc = cdtx__ride(db->engine, db->store, &turn, err);
        if (rc != 0)
            cdtx__sql_delete(handle);
    }
    if (rc == 0) {
        handle->engine = db->engine;
        cdtx__ref(db->engine);
        cdtx__store_handle_begin(db->store, handle);
        *sql = handle;
    }
    cdtx__leave(db->engine);
    return rc;
}

/* Not between enter and leave: whoever holds the turn must be able to give it back while the engine is being closed. */
static int32_t end(cdtx_sql *sql, int commit, const char *what, cdtx_error *err) {
    if (sql == NULL || !sql->handle)
        return cdtx__fail(err, CDTX_MISUSE, "%s is only for handles of cdtx_sql_begin", what);
    const cdtx *engine = sql->engine;
    if (engine->env->process(engine->env->user) != engine->process)
        return cdtx__fail(err, CDTX_MISUSE, "this local transaction belongs to the parent of a forked process");
    int32_t rc = cdtx__store_handle_end(sql, commit, err);
    if (rc == CDTX_MISUSE && __atomic_load_n(&engine->closed, __ATOMIC_ACQUIRE))
        return cdtx__fail(err, rc, "%s: the engine is closed; a local transaction that was open was rolled back", what);
    return rc;
}

int32_t cdtx_sql_commit(cdtx_sql *sql, cdtx_error *err) {
    return end(sql, 1, "cdtx_sql_commit", err);
}

int32_t cdtx_sql_rollback(cdtx_sql *sql, cdtx_error *err) {
    return end(sql, 0, "cdtx_sql_rollback", err);
}

void cdtx_sql_close(cdtx_sql *sql) {
    if (sql == NULL || !sql->handle)
        return;
    cdtx *engine = sql->engine;
    struct store *store = sql->store;
    if (engine->env->process(engine->env->user) != engine->process)
        return;
    end(sql, 0, "cdtx_sql_close", NULL); /* an ended one says MISUSE, to nobody */
    cdtx__sql_delete(sql);
    cdtx__store_unref(store);
    cdtx__unref(engine);
}
