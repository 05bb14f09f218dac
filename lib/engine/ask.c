#include "engine/ask.h"

enum { ROWS_MAX = 64 << 20 };

static int32_t enter_store(cdtx *engine, const cdtx_db *db, const char *what, int writes, struct store **store,
                           cdtx_error *err) {
    if (db == NULL)
        db = engine->log;
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "%s: this engine was opened without a log", what);
    int32_t rc = writes ? cdtx__may_write(db, what, err) : 0;
    if (rc == 0)
        rc = cdtx__may_wait(engine, what, err);
    if (rc == 0)
        *store = db->store;
    return rc;
}

int32_t cdtx__ask_enter(cdtx *engine, const cdtx_db *db, const char *what, int writes, struct store **store,
                        cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = enter_store(engine, db, what, writes, store, err);
    if (rc != 0)
        cdtx__leave(engine);
    return rc;
}

void cdtx__ask_leave(cdtx *engine) {
    cdtx__leave(engine);
}

static int32_t run(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct ask *ask = LIST_OF(rider, struct ask, waited.rider);
    cdtx__rows_reset(&ask->rows);
    if (ask->report != NULL)
        cdtx__rows_reset(&ask->report->rows);
    return ask->run(ask, sql, err);
}

int32_t cdtx__ask_ride(cdtx *engine, struct store *store, struct ask *ask, cdtx_error *err) {
    ask->waited = (struct waited_rider){.rider.run = run};
    cdtx__rows_init(&ask->rows, engine->env, ROWS_MAX);
    int32_t rc = cdtx__ride(engine, store, &ask->waited, err);
    cdtx__rows_free(&ask->rows);
    return rc;
}

int32_t cdtx__ask_report(cdtx *engine, const cdtx_db *db, const char *what, const char *const *names, struct ask *ask,
                         cdtx_report **report, cdtx_error *err) {
    struct store *store = NULL;
    if (report == NULL)
        return cdtx__fail(err, CDTX_INVALID, "%s: the place for the report is NULL", what);
    int32_t rc = cdtx__ask_enter(engine, db, what, 0, &store, err);
    if (rc != 0)
        return rc;
    rc = cdtx__report_new(engine->env, names, &ask->report, err);
    if (rc == 0)
        rc = cdtx__ask_ride(engine, store, ask, err);
    if (rc == 0)
        *report = ask->report;
    else
        cdtx_report_close(ask->report);
    cdtx__ask_leave(engine);
    return rc;
}

int32_t cdtx__ask_action(cdtx *engine, const cdtx_db *db, const char *what, struct ask *ask, cdtx_error *err) {
    struct store *store = NULL;
    int32_t rc = cdtx__ask_enter(engine, db, what, 1, &store, err);
    if (rc != 0)
        return rc;
    rc = cdtx__ask_ride(engine, store, ask, err);
    cdtx__ask_leave(engine);
    return rc;
}

int32_t cdtx__ask_report_db(const cdtx_db *db, const char *what, const char *const *names, struct ask *ask,
                            cdtx_report **report, cdtx_error *err) {
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "%s: the database is NULL", what);
    return cdtx__ask_report(db->engine, db, what, names, ask, report, err);
}

int32_t cdtx__ask_action_db(const cdtx_db *db, const char *what, struct ask *ask, cdtx_error *err) {
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "%s: the database is NULL", what);
    return cdtx__ask_action(db->engine, db, what, ask, err);
}

int32_t cdtx__ask_gid(const cdtx *engine, const char *gid, int64_t *sequence, cdtx_error *err) {
    uint8_t log[16];
    int32_t rc = cdtx__gid_parse(gid, log, sequence, err);
    if (rc == 0 && memcmp(log, engine->log->store->uuid, sizeof log) != 0)
        rc = cdtx__fail(err, CDTX_INVALID, "%s is a gid of another log", gid);
    return rc;
}

int32_t cdtx__ask_limit(uint32_t given, uint32_t *limit, cdtx_error *err) {
    if (given > LIST_MOST)
        return cdtx__fail(err, CDTX_INVALID, "a limit of %u rows; at most %d", given, LIST_MOST);
    *limit = given == 0 ? LIST_DEFAULT : given;
    return 0;
}

cdtx_db *cdtx__db_after(cdtx *engine, const cdtx_db *db) {
    cdtx__lock(engine->env, &engine->lock);
    const struct list *link = db == NULL ? engine->databases.next : db->link.next;
    cdtx_db *next = link == &engine->databases ? NULL : LIST_OF(link, struct cdtx_db, link);
    cdtx__unlock(engine->env, &engine->lock);
    return next;
}
