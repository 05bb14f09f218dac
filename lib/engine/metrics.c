#include "engine/ask.h"

/* ---- gauges ---- */

enum { JOBS_COUNTED_MAX = 100000 };

struct log_ask {
    struct ask ask;
    int64_t open, decided, parked, due, oldest_ms;
};

static int32_t run_log(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct log_ask *log = LIST_OF(ask, struct log_ask, ask);
    cdtx_value now = SQL_INT(cdtx__store_clock_ms(sql->store));
    /* A row from before began was kept has 0 there. */
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT count(*), sum(state <> 1), sum(parked IS NOT NULL), sum(due <= ?),"
                               " min(CASE WHEN began > 0 THEN began END)"
                               " FROM cdtx_tx INDEXED BY cdtx_tx_due WHERE due IS NOT NULL",
                               &now, 1, &ask->rows, NULL, err);
    if (rc != 0)
        return rc;
    log->open = cdtx__rows_int(&ask->rows, 0, 0);
    log->decided = cdtx__rows_int(&ask->rows, 0, 1);
    log->parked = cdtx__rows_int(&ask->rows, 0, 2);
    log->due = cdtx__rows_int(&ask->rows, 0, 3);
    const cdtx_value *oldest = cdtx__rows_at(&ask->rows, 0, 4);
    int64_t age = cdtx__wall_ms(sql->store->env) - oldest->integer;
    log->oldest_ms = oldest->type == CDTX_INT && age > 0 ? age : 0;
    return 0;
}

static void ask_log(cdtx *engine, cdtx_metrics *m) {
    struct log_ask log = {.ask.run = run_log};
    if (engine->log == NULL || cdtx__ask_ride(engine, engine->log->store, &log.ask, NULL) != 0)
        return;
    m->log_open = log.open;
    m->log_decided = log.decided;
    m->log_parked = log.parked;
    m->log_due = log.due;
    m->oldest_ms = log.oldest_ms;
}

struct jobs_ask {
    struct ask ask;
    int64_t due;
};

static int32_t run_jobs(struct ask *ask, cdtx_sql *sql, cdtx_error *err) {
    struct jobs_ask *jobs = LIST_OF(ask, struct jobs_ask, ask);
    cdtx_value arguments[] = {SQL_INT(cdtx__store_clock_ms(sql->store)), SQL_INT(cdtx__wall_ms(sql->store->env)),
                              SQL_INT(JOBS_COUNTED_MAX)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT count(*) FROM (SELECT 1 FROM cdtx_job INDEXED BY cdtx_job_due WHERE state = 1"
                               " AND due <= CASE clock WHEN 0 THEN ? ELSE ? END LIMIT ?)",
                               arguments, 3, &ask->rows, NULL, err);
    jobs->due = cdtx__rows_int(&ask->rows, 0, 0);
    return rc;
}

static void ask_jobs(cdtx *engine, cdtx_metrics *m) {
    int64_t due = 0;
    for (cdtx_db *db = cdtx__db_after(engine, NULL); db != NULL; db = cdtx__db_after(engine, db)) {
        struct jobs_ask jobs = {.ask.run = run_jobs};
        if (!cdtx__host_lends(db) || cdtx__ask_ride(engine, db->store, &jobs.ask, NULL) != 0)
            return;
        due += jobs.due;
    }
    m->jobs_due = due;
}

/* ---- counters ---- */

static uint64_t now(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void read_engine(const cdtx *engine, cdtx_metrics *m) {
    m->begun = now(&engine->begun);
    m->committed = now(&engine->committed);
    m->rolled_back = now(&engine->rolled_back);
    m->reversed = now(&engine->reversed);
    m->parked = now(&engine->parked);
    m->calls = now(&engine->calls_sent);
    m->alarms = now(&engine->alarms);
    m->jobs_run = now(&engine->jobs_run);
    m->jobs_failed = now(&engine->jobs_failed);
    m->jobs_dead = now(&engine->jobs_dead);
    m->in_work = __atomic_load_n(&engine->begun_count, __ATOMIC_RELAXED) +
                 __atomic_load_n(&engine->adopted_count, __ATOMIC_RELAXED);
    cdtx__histogram_merge(&m->decide_us, &engine->decide_us);
    cdtx__histogram_merge(&m->end_us, &engine->end_us);
    cdtx__histogram_merge(&m->call_us, &engine->call_us);
}

static void read_stores(cdtx *engine, cdtx_metrics *m) {
    for (cdtx_db *db = cdtx__db_after(engine, NULL); db != NULL; db = cdtx__db_after(engine, db)) {
        const struct store *store = db->store;
        m->groups += now(&store->groups);
        m->riders += now(&store->riders);
        cdtx__histogram_merge(&m->sync_us, &store->sync_us);
        cdtx__histogram_merge(&m->group_size, &store->group_size);
    }
}

int32_t cdtx_metrics_read(cdtx *engine, cdtx_metrics *metrics, cdtx_error *err) {
    if (metrics == NULL || metrics->size < sizeof *metrics)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_metrics: set its size to sizeof");
    if (metrics->ask > 1)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_metrics: ask is %u; it is 0 or 1", metrics->ask);
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    cdtx_metrics m = {.size = metrics->size, .ask = metrics->ask};
    m.log_open = m.log_decided = m.log_parked = m.log_due = m.oldest_ms = m.jobs_due = -1;
    read_engine(engine, &m);
    read_stores(engine, &m);
    if (m.ask && cdtx__may_wait(engine, "cdtx_metrics_read", NULL) == 0) {
        ask_log(engine, &m);
        ask_jobs(engine, &m);
    }
    *metrics = m;
    cdtx__leave(engine);
    return 0;
}
