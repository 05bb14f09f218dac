/* Databases that the host opens: naming, preparing, and turns on its connections. */
#include "engine/host.h"

/* ---- naming ---- */

static int32_t check_port(const cdtx_host_port *port, const char *name, cdtx_error *err) {
    if (port->exec == NULL || port->in_transaction == NULL)
        return cdtx__fail(err, CDTX_INVALID, "database '%s': cdtx_host_port has no exec or no in_transaction", name);
    if (port->dialect < CDTX_DIALECT_SQLITE || port->dialect > CDTX_DIALECT_MARIADB)
        return cdtx__fail(err, CDTX_INVALID, "database '%s': there is no dialect %d", name, port->dialect);
    if (port->parameters < CDTX_PARAMETERS_QUESTION || port->parameters > CDTX_PARAMETERS_COLON)
        return cdtx__fail(err, CDTX_INVALID, "database '%s': there is no style of parameters %d", name,
                          port->parameters);
    if (port->dialect != CDTX_DIALECT_SQLITE)
        return cdtx__fail(err, CDTX_UNSUPPORTED,
                          "database '%s': lent connections are served for SQLite only, not for %s", name,
                          port->dialect == CDTX_DIALECT_POSTGRES ? "PostgreSQL" : "MariaDB");
    return 0;
}

static struct host *new_host(const cdtx_env *env, const cdtx_host_port *port) {
    struct host *host = cdtx__alloc(env, sizeof *host);
    if (host == NULL)
        return NULL;
    host->port = *port;
    list_init(&host->loans);
    list_init(&host->spare);
    return host;
}

static int32_t name_host(cdtx *engine, const char *name, const struct cdtx_host_port *port, cdtx_db **db,
                         cdtx_error *err) {
    cdtx_host_port p = {0};
    int32_t rc = cdtx__check_name(name, "the database's name", err);
    if (rc == 0 && (port == NULL || db == NULL))
        rc = cdtx__fail(err, CDTX_INVALID, "database '%s': its port or the place for its handle is NULL", name);
    if (rc == 0)
        rc = cdtx__options(port, &p, sizeof p, sizeof p, "cdtx_host_port", err);
    if (rc == 0)
        rc = check_port(&p, name, err);
    if (rc != 0)
        return rc;
    struct host *host = new_host(engine->env, &p);
    if (host == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for database '%s'", name);
    rc = cdtx__add_host_database(engine, name, host, db, err);
    if (rc != 0)
        cdtx__free(engine->env, host, sizeof *host);
    return rc;
}

int32_t cdtx_db_host(cdtx *engine, const char *name, const struct cdtx_host_port *port, cdtx_db **db, cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = name_host(engine, name, port, db, err);
    cdtx__leave(engine);
    return rc;
}

void cdtx__host_drop(cdtx_db *db) {
    if (db->host != NULL && db->host->port.drop != NULL)
        db->host->port.drop(db->host->port.user);
}

int32_t cdtx__host_enter(cdtx_db *db, const void *connection, const char *what, cdtx_error *err) {
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    if (db->host == NULL)
        rc = cdtx__fail(err, CDTX_MISUSE, "%s: the engine itself has database '%s' open; nothing can be lent to it",
                        what, db->store->name);
    if (rc == 0 && connection == NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "%s: the connection to database '%s' is NULL", what, db->store->name);
    if (rc == 0)
        rc = cdtx__may_wait(db->engine, what, err);
    if (rc != 0)
        cdtx__leave(db->engine);
    return rc;
}

/* ---- one connection for one turn ---- */

struct lending {
    cdtx_db *db;
    void *connection; /* the adapter's */
    struct store view;
};

static int32_t idle(const struct lending *lending, const void *theirs, const char *what, cdtx_error *err) {
    const cdtx_db *db = lending->db;
    if (db->host->port.in_transaction(db->host->port.user, (void *)(uintptr_t)theirs) != 0)
        return cdtx__fail(err, CDTX_MISUSE, "%s: a transaction is open on the connection to '%s'; end it first", what,
                          db->store->name);
    return 0;
}

/* So that nobody lends it meanwhile. */
static void note_turn(cdtx_db *db, const void *theirs) {
    const cdtx_env *env = db->engine->env;
    cdtx__lock(env, &db->host->lock);
    db->host->turn_theirs = theirs;
    db->host->turn_thread = env->self(env->user);
    cdtx__unlock(env, &db->host->lock);
}

static void take_back(struct lending *lending) {
    cdtx_db *db = lending->db;
    note_turn(db, NULL);
    cdtx__lent_turn(db->store, NULL);
    cdtx__pump_turn_end(&db->engine->pump, &db->host->turn);
    cdtx__lent_view_free(&lending->view);
    db->store->port->close(lending->connection);
}

static int32_t take_turn(cdtx_db *db, void *theirs, const char *what, struct lending *lending, cdtx_error *err) {
    struct store *store = db->store;
    *lending = (struct lending){.db = db};
    int32_t rc = cdtx__loans_check(db, theirs, what, err);
    if (rc == 0)
        rc = idle(lending, theirs, what, err);
    if (rc == 0)
        rc = cdtx__lent_open(db->engine->env, &db->host->port, theirs, 0, store->name, &lending->connection, err);
    if (rc != 0)
        return rc;
    if (cdtx__pump_turn_begin(&db->engine->pump, &db->host->turn) != 0) {
        store->port->close(lending->connection);
        return cdtx__busy(err, 10, "%s: another thread has the turn in database '%s'", what, store->name);
    }
    note_turn(db, theirs);
    cdtx__lent_view(store, lending->connection, &lending->view);
    return 0;
}

int cdtx__host_lends(cdtx_db *db) {
    if (db->host == NULL)
        return 1;
    cdtx__lock(db->engine->env, &db->host->lock);
    int lends = db->host->turn_theirs != NULL;
    cdtx__unlock(db->engine->env, &db->host->lock);
    return lends;
}

/* ---- preparing ---- */

/* Before anything is written: our own log must not see its epoch rise. */
static int32_t check_stranger(struct store *view, cdtx_error *err) {
    cdtx__rows_reset(&view->rows);
    if (view->port->exec(view->connection, CDTX_SQL_OURS, "SELECT uuid FROM cdtx_meta WHERE id = 1", NULL, 0,
                         &view->rows, NULL, NULL) != 0)
        return 0; /* it has no tables of ours yet, or what is wrong will show again */
    const cdtx_value *uuid = cdtx__rows_at(&view->rows, 0, 0);
    const char *name = uuid->length == 16 ? view->hooks.known(view->hooks.user, uuid->bytes) : NULL;
    if (name == NULL)
        return 0;
    return cdtx__fail(
        err, CDTX_CONFLICT,
        "'%s' is the database that is open already as '%s': the host's transactions and the engine's would "
        "wait for each other",
        view->name, name);
}

static int32_t publish(cdtx_db *db, const struct store *view, cdtx_error *err) {
    cdtx *engine = db->engine;
    int32_t rc = 0;
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; rc == 0 && link != &engine->databases; link = link->next) {
        const cdtx_db *other = LIST_OF(link, struct cdtx_db, link);
        if (other != db && memcmp(other->store->uuid, view->uuid, sizeof view->uuid) == 0)
            rc = cdtx__fail(err, CDTX_CONFLICT, "'%s' is the database that is open already as '%s'", view->name,
                            other->store->name);
    }
    if (rc == 0)
        rc = cdtx__lent_publish(db->store, view, err);
    cdtx__unlock(engine->env, &engine->lock);
    return rc;
}

/* What an earlier life left in doubt must be on the disk before anything is built on it. Whoever is at work on the file
 * only now may have had no doubt; after one of our own it must make way. */
static int32_t settle_doubts(const struct lending *lending, cdtx_error *err) {
    struct store *store = lending->db->store;
    cdtx_error why = {0};
    int32_t rc = store->port->tidy(lending->connection, &why);
    if (rc == CDTX_BUSY && !cdtx__lent_in_doubt(store))
        return 0;
    if (rc != 0 && err != NULL)
        *err = why;
    return rc;
}

static int32_t prepare(struct lending *lending, cdtx_error *err) {
    cdtx_db *db = lending->db;
    int32_t ownership;
    int32_t rc = db->store->port->own(lending->connection, &ownership, err);
    if (rc == 0)
        rc = check_stranger(&lending->view, err);
    if (rc == 0)
        rc = settle_doubts(lending, err);
    if (rc == 0)
        rc = cdtx__store_set_up(&lending->view, err);
    if (rc == 0)
        rc = publish(db, &lending->view, err);
    if (rc != 0)
        return rc;
    cdtx__lent_turn(db->store, lending->connection);
    cdtx__pump_open_turn(&db->engine->pump, &db->host->turn, 1);
    cdtx_error why;
    if (db->engine->log != NULL && cdtx__coord_outrun_guards(db->engine->log, db, &why) != 0)
        cdtx__log(db->engine->env, CDTX_LOG_WARNING, "database '%s': %s", db->store->name, why.text);
    cdtx__jobs_ring(db);
    return 0;
}

int32_t cdtx_host_prepare(cdtx_db *db, void *connection, cdtx_error *err) {
    struct lending lending;
    int32_t rc = cdtx__host_enter(db, connection, "cdtx_host_prepare", err);
    if (rc != 0)
        return rc;
    rc = take_turn(db, connection, "cdtx_host_prepare", &lending, err);
    if (rc == 0) {
        rc = prepare(&lending, err);
        take_back(&lending);
    }
    cdtx__leave(db->engine);
    return rc;
}

/* ---- turns ---- */

void cdtx__host_stopped(cdtx_db *db) {
    cdtx *engine = db->engine;
    cdtx__add(&engine->alarms);
    cdtx__pump_open_turn(&engine->pump, &db->host->turn, 0);
    if (db->host->over != NULL)
        cdtx__pump_open(&engine->pump, db->host->over);
}

/* A gap for other writers is no end of what is due. */
static void work(cdtx_db *db, struct gate *over, int64_t for_ms) {
    struct pump *pump = &db->engine->pump;
    const unsigned what = PUMP_TASKS | PUMP_WORK | PUMP_STOPS;
    int32_t rc = cdtx__pump_until(pump, over, cdtx__until_us(db->engine, for_ms), what);
    while (for_ms == 0 && rc == CDTX_TIMEOUT && cdtx__lent_pauses(db->store)) {
        rc = cdtx__pump_until(pump, over, cdtx__until_us(db->engine, 5), what);
        if (rc == CDTX_TIMEOUT)
            rc = cdtx__pump_until(pump, over, cdtx__until_us(db->engine, 0), what);
    }
}

static int32_t run(struct lending *lending, int64_t for_ms, cdtx_error *err) {
    cdtx_db *db = lending->db;
    cdtx *engine = db->engine;
    struct gate over = {0};
    int32_t ownership;
    int32_t rc = db->store->port->own(lending->connection, &ownership, err);
    if (rc == 0)
        rc = cdtx__lent_recognise(&lending->view, err);
    if (rc != 0)
        return rc;
    cdtx__lent_turn(db->store, lending->connection);
    db->host->over = &over;
    work(db, &over, for_ms);
    db->host->over = NULL;
    rc = cdtx__lent_stopped(db->store, err);
    return rc != 0 ? rc : cdtx__any_stopped(engine, err);
}

int32_t cdtx_host_run(cdtx_db *db, void *connection, int64_t for_ms, cdtx_error *err) {
    struct lending lending;
    int32_t rc = for_ms == -1 ? 0 : cdtx__check_ms(for_ms, "for_ms", err);
    if (rc == 0)
        rc = cdtx__host_enter(db, connection, "cdtx_host_run", err);
    if (rc != 0)
        return rc;
    rc = cdtx__lent_stopped(db->store, err);
    if (rc == 0)
        rc = take_turn(db, connection, "cdtx_host_run", &lending, err);
    if (rc == 0) {
        rc = run(&lending, for_ms, err);
        take_back(&lending);
    }
    cdtx__leave(db->engine);
    return rc;
}
