#include "engine/host.h"

/* ---- databases ---- */

static void lead(struct task *task) {
    cdtx__store_lead(LIST_OF(task, struct cdtx_db, lead)->store);
}

static void kick(struct timer *timer) {
    cdtx__store_kick(LIST_OF(timer, struct cdtx_db, kick)->store);
}

static void ready(void *user, struct store *store) {
    cdtx_db *db = user;
    (void)store;
    if (db->host != NULL)
        cdtx__pump_post_turn(&db->engine->pump, &db->host->turn, &db->lead);
    else
        cdtx__pump_post(&db->engine->pump, &db->lead);
}

static void hold(void *user) {
    cdtx__pump_hold(&((cdtx_db *)user)->engine->pump);
}

static void let_go(void *user) {
    cdtx__pump_let_go(&((cdtx_db *)user)->engine->pump);
}

static void later(void *user, struct store *store, int64_t delay_us) {
    cdtx_db *db = user;
    (void)store;
    cdtx__pump_arm_by(&db->engine->pump, &db->kick, cdtx__now_us(db->engine->env) + delay_us);
}

/* Set once for many groups, so that a busy database pays for it once in closure_ms. */
static void watch_by(cdtx_db *db, int64_t in_us) {
    if (__atomic_exchange_n(&db->watched, 1, __ATOMIC_ACQ_REL) == 0)
        cdtx__pump_arm(&db->engine->pump, &db->watch, cdtx__now_us(db->engine->env) + in_us);
}

static void watch(void *user, struct store *store) {
    watch_by(user, store->limits.closure_us);
}

static void watch_fire(struct timer *timer) {
    cdtx_db *db = LIST_OF(timer, struct cdtx_db, watch);
    __atomic_store_n(&db->watched, 0, __ATOMIC_RELEASE);
    int64_t left = cdtx__store_watch(db->store);
    if (left > 0)
        watch_by(db, left);
}

/* Trap 14: nobody can be interrupted inside a database, but somebody must know who holds all others up. */
static void slow(void *user, struct store *store, int64_t us) {
    cdtx_db *db = user;
    cdtx__alarm(db->engine, "a closure or handler has held database '%s' for %lld ms (closure_ms %lld)", store->name,
                (long long)us / 1000, (long long)db->engine->options.closure_ms);
}

static void ring(void *user, struct store *store) {
    (void)store;
    cdtx__jobs_ring(user);
}

/* Whoever sits in cdtx_run must learn of it. */
static void stopped(void *user, struct store *store) {
    cdtx_db *db = user;
    (void)store;
    if (db->host != NULL)
        cdtx__host_stopped(db);
    else
        cdtx__pump_break(&db->engine->pump);
}

static const char *known(void *user, const uint8_t uuid[16]) {
    cdtx *engine = ((cdtx_db *)user)->engine;
    const char *name = NULL;
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next) {
        struct store *store = LIST_OF(link, struct cdtx_db, link)->store;
        if (store->owner != user && memcmp(store->uuid, uuid, sizeof store->uuid) == 0)
            name = store->name; /* stays: databases are closed only with the engine */
    }
    cdtx__unlock(engine->env, &engine->lock);
    return name;
}

static const cdtx_sql_port *adapter_for(const cdtx *engine, const char *url) {
    for (uint32_t i = 0; i < engine->options.adapter_count; i++)
        if (cdtx__url_has_scheme(url, engine->options.adapters[i]->scheme))
            return engine->options.adapters[i];
    return cdtx__adapter_builtin(url);
}

static int32_t name_is_free(cdtx *engine, const char *name, cdtx_error *err) {
    int32_t rc = 0;
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; link != &engine->databases && rc == 0; link = link->next)
        if (strcmp(LIST_OF(link, struct cdtx_db, link)->store->name, name) == 0)
            rc = cdtx__fail(err, CDTX_CONFLICT, "a database named '%s' is open already", name);
    cdtx__unlock(engine->env, &engine->lock);
    return rc;
}

static int32_t open_store(cdtx *engine, cdtx_db *db, const char *name, const char *url, cdtx_error *err) {
    struct store_hooks hooks = {.user = db,
                                .ready = ready,
                                .hold = hold,
                                .let_go = let_go,
                                .later = later,
                                .ring = ring,
                                .stopped = stopped,
                                .watch = watch,
                                .slow = slow,
                                .known = known};
    struct store_limits limits = {.group_max = engine->options.group_max,
                                  .waiting_max = engine->options.waiting_max,
                                  .wait_us = engine->options.wait_ms * 1000,
                                  .closure_us = engine->options.closure_ms * 1000};
    int32_t rc;
    if (db->host != NULL) {
        rc = cdtx__store_new(engine->env, cdtx__adapter_lent(), name, &hooks, &limits, &db->store, err);
        if (rc == 0)
            cdtx__lent_begin(db->store);
    } else {
        const cdtx_sql_port *port = adapter_for(engine, url);
        if (port == NULL)
            return cdtx__fail(err, CDTX_UNSUPPORTED, "no adapter of this build opens '%.200s'", url);
        rc = cdtx__store_open(engine->env, port, name, url, &hooks, &limits, &db->store, err);
    }
    if (rc == 0)
        db->store->owner = db;
    return rc;
}

/* The engine's own at url, or the host's. */
static int32_t add_database(cdtx *engine, const char *name, const char *url, struct host *host, cdtx_db **db,
                            cdtx_error *err) {
    int32_t rc = name_is_free(engine, name, err);
    if (rc != 0)
        return rc;
    cdtx_db *d = cdtx__alloc(engine->env, sizeof *d);
    if (d == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to open database '%s'", name);
    d->engine = engine;
    d->host = host;
    d->lead.run = lead;
    d->kick.fire = kick;
    d->watch.fire = watch_fire;
    rc = open_store(engine, d, name, url, err);
    if (rc != 0) {
        cdtx__free(engine->env, d, sizeof *d);
        return rc;
    }
    cdtx__lock(engine->env, &engine->lock);
    list_push(&engine->databases, &d->link);
    cdtx__unlock(engine->env, &engine->lock);
    if (cdtx__store_is_shared(d->store) && !d->store->lent && !engine->options.passive)
        cdtx__doctor_warn(d);
    *db = d;
    return 0;
}

static cdtx_db *handle_of(cdtx_db *db) {
    __atomic_add_fetch(&db->handles, 1, __ATOMIC_RELAXED);
    cdtx__ref(db->engine);
    return db;
}

int32_t cdtx__add_host_database(cdtx *engine, const char *name, struct host *host, cdtx_db **db, cdtx_error *err) {
    cdtx_db *named = NULL;
    int32_t rc = add_database(engine, name, NULL, host, &named, err);
    if (rc != 0)
        return rc;
    cdtx__pump_add_turn(&engine->pump, &host->turn);
    *db = handle_of(named);
    return 0;
}

int32_t cdtx_db_open(cdtx *engine, const char *name, const char *url, cdtx_db **db, cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    cdtx_db *opened = NULL;
    rc = cdtx__check_name(name, "the database's name", err);
    if (rc == 0 && (url == NULL || db == NULL))
        rc = cdtx__fail(err, CDTX_INVALID, "database '%s': its URL or the place for its handle is NULL", name);
    if (rc == 0)
        rc = cdtx__may_wait(engine, "cdtx_db_open", err);
    if (rc == 0)
        rc = add_database(engine, name, url, NULL, &opened, err);
    if (rc == 0 && engine->log != NULL && !engine->options.passive) {
        /* The database stays open for the engine even if this fails; a later open of the same name would conflict, so
         * the failure is worth only a warning: what it protects against is a log restored from a backup. */
        cdtx_error why;
        if (cdtx__coord_outrun_guards(engine->log, opened, &why) != 0)
            cdtx__log(engine->env, CDTX_LOG_WARNING, "database '%s': %s", name, why.text);
    }
    if (rc == 0)
        *db = handle_of(opened);
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_db_log(cdtx *engine, cdtx_db **db, cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    if (engine->log == NULL)
        rc = cdtx__fail(err, CDTX_NOT_FOUND, "this engine was opened without a log");
    else
        *db = handle_of(engine->log);
    cdtx__leave(engine);
    return rc;
}

void cdtx_db_close(cdtx_db *db) {
    if (db == NULL)
        return;
    const cdtx *engine = db->engine;
    uint32_t left = __atomic_sub_fetch(&db->handles, 1, __ATOMIC_RELAXED);
    if (left == 0 && db->host != NULL && engine->env->process(engine->env->user) == engine->process)
        cdtx__loans_noticed(db, "when the last handle of its database was closed");
    cdtx__unref(db->engine);
}

/* ---- the engine ---- */

static uint32_t or_default(uint32_t value, uint32_t standard) {
    return value == 0 ? standard : value;
}

static int32_t default_ms(int64_t *ms, int64_t standard, const char *what, cdtx_error *err) {
    if (*ms == 0)
        *ms = standard;
    return cdtx__check_ms(*ms, what, err);
}

static int32_t fill_options(cdtx_options *o, cdtx_error *err) {
    o->payload_max = or_default(o->payload_max, CDTX_PAYLOAD_DEFAULT);
    o->open_max = or_default(o->open_max, 10000);
    o->participant_max = or_default(o->participant_max, o->open_max / 2 + 1);
    o->park_attempts = or_default(o->park_attempts, 30);
    o->group_max = or_default(o->group_max, 512);
    o->waiting_max = or_default(o->waiting_max, 20000);
    if (o->coordinator == NULL)
        o->coordinator = "local";
    if (o->threads > THREADS_MAX)
        return cdtx__fail(err, CDTX_INVALID, "threads is %u; at most %d", o->threads, THREADS_MAX);
    if (o->payload_max > PAYLOAD_LIMIT)
        return cdtx__fail(err, CDTX_INVALID, "payload_max is %u; at most 16 MiB", o->payload_max);
    if (strcmp(o->coordinator, "local") != 0 && strcmp(o->coordinator, "loopback") != 0)
        return cdtx__fail(err, CDTX_INVALID, "there is no coordinator '%.40s'; it is local or loopback",
                          o->coordinator);
    int32_t rc = default_ms(&o->call_timeout_ms, 2000, "call_timeout_ms", err);
    if (rc == 0)
        rc = default_ms(&o->wait_ms, 10000, "wait_ms", err);
    if (rc == 0)
        rc = default_ms(&o->backoff_min_ms, 100, "backoff_min_ms", err);
    if (rc == 0)
        rc = default_ms(&o->backoff_max_ms, 30000, "backoff_max_ms", err);
    if (rc == 0)
        rc = default_ms(&o->park_retry_ms, 600000, "park_retry_ms", err);
    if (rc == 0)
        rc = default_ms(&o->retention_ms, INT64_C(7) * 86400000, "retention_ms", err);
    if (rc == 0)
        rc = default_ms(&o->closure_ms, 1000, "closure_ms", err);
    if (rc == 0 && o->backoff_max_ms < o->backoff_min_ms)
        rc = cdtx__fail(err, CDTX_INVALID, "backoff_max_ms is less than backoff_min_ms");
    for (uint32_t i = 0; rc == 0 && i < o->adapter_count; i++)
        if (o->adapters == NULL || o->adapters[i] == NULL || o->adapters[i]->size < sizeof(cdtx_sql_port))
            rc = cdtx__fail(err, CDTX_INVALID, "adapter %u is NULL or of an older size", i);
    if (rc == 0 && o->link != NULL &&
        (o->link->size < sizeof(cdtx_link) || o->link->send == NULL || o->link->knows == NULL))
        rc = cdtx__fail(err, CDTX_INVALID, "the link has no send or knows, or an older size");
    if (rc == 0 && o->env != NULL && o->env->size < ENV_SIZE_MIN)
        rc = cdtx__fail(err, CDTX_INVALID, "the environment is of an older size");
    return rc;
}

static int32_t keep_adapters(cdtx *engine, cdtx_error *err) {
    size_t size = engine->options.adapter_count * sizeof(void *);
    if (size == 0) {
        engine->options.adapters = NULL; /* not ours to free */
        return 0;
    }
    const cdtx_sql_port **copy = cdtx__alloc(engine->env, size);
    if (copy == NULL) {
        engine->options.adapters = NULL;
        engine->options.adapter_count = 0;
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for an engine");
    }
    memcpy(copy, engine->options.adapters, size);
    engine->options.adapters = copy;
    return 0;
}

static int32_t open_log(cdtx *engine, cdtx_error *err) {
    if (engine->options.log == NULL)
        return 0;
    int32_t rc = add_database(engine, "log", engine->options.log, NULL, &engine->log, err);
    if (rc == 0 && engine->log->store->ownership == CDTX_OWN_NONE)
        engine->options.passive = 1; /* it could write nothing down */
    if (rc == 0)
        rc = cdtx__coord_local_open(engine->log, &engine->coord, err);
    if (rc == 0 && strcmp(engine->options.coordinator, "loopback") == 0) {
        struct coord_port inner = engine->coord;
        size_t message_max = (size_t)CDTX_BRANCHES_MAX * (engine->options.payload_max + 512) + 65536;
        rc = cdtx__coord_loopback_open(engine->env, message_max, &inner, &engine->coord, err);
    }
    if (rc == 0 && !engine->options.passive) {
        cdtx__pump_arm(&engine->pump, &engine->scan, cdtx__now_us(engine->env));
        cdtx__pump_arm(&engine->pump, &engine->trim, cdtx__now_us(engine->env));
    }
    return rc;
}

static void run_thread(void *argument) {
    cdtx *engine = argument;
    while (!__atomic_load_n(&engine->closed, __ATOMIC_ACQUIRE))
        if (cdtx__pump_until(&engine->pump, NULL, INT64_MAX, PUMP_TASKS | PUMP_WORK) == CDTX_STOPPED)
            return;
}

static int32_t start_threads(cdtx *engine, cdtx_error *err) {
    for (; engine->thread_count < engine->options.threads; engine->thread_count++) {
        uint64_t *thread = &engine->threads[engine->thread_count];
        if (engine->env->spawn(engine->env->user, run_thread, engine, thread) != 0)
            return cdtx__fail(err, CDTX_NO_MEMORY, "thread %u of %u could not be started", engine->thread_count + 1,
                              engine->options.threads);
    }
    return 0;
}

static void shut(cdtx *engine) {
    __atomic_store_n(&engine->closed, 1, __ATOMIC_RELEASE);
    cdtx__pump_close(&engine->pump);
    for (uint32_t i = 0; i < engine->thread_count; i++)
        engine->env->join(engine->env->user, engine->threads[i]);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next)
        if (LIST_OF(link, struct cdtx_db, link)->host != NULL)
            cdtx__loans_noticed(LIST_OF(link, struct cdtx_db, link), "when the engine was closed");
    if (engine->link.detach != NULL)
        engine->link.detach(engine->link.user, engine);
    cdtx__inbox_close(engine);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next)
        cdtx__store_kick(LIST_OF(link, struct cdtx_db, link)->store);
    cdtx__pump_drain(&engine->pump);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next)
        cdtx__store_shut(LIST_OF(link, struct cdtx_db, link)->store);
    cdtx__pump_drain(&engine->pump);
    cdtx__drives_close(engine);
    cdtx__inbox_close(engine); /* the completions of those */
    if (engine->coord.self != NULL)
        engine->coord.close(engine->coord.self);
    cdtx__participants_free(engine);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next) {
        cdtx_db *db = LIST_OF(link, struct cdtx_db, link);
        cdtx__jobs_close(db);
        cdtx__floor_close(db);
        cdtx__host_drop(db);
        cdtx__store_close(db->store);
        db->store = NULL;
    }
    cdtx__calls_close(engine);
    cdtx__peers_free(engine);
    cdtx__unref(engine);
}

static cdtx *new_engine(const cdtx_options *options) {
    const cdtx_env *env = options->env != NULL ? options->env : cdtx__env_posix();
    cdtx *engine = cdtx__alloc(env, sizeof *engine);
    if (engine == NULL)
        return NULL;
    engine->env = env;
    engine->options = *options;
    engine->process = env->process(env->user);
    engine->refs = 1;
    /* A link that still has a reply to an earlier engine of this process must not hit a call of this one. */
    if (env->random(env->user, &engine->last_call, sizeof engine->last_call) != 0)
        engine->last_call = 0;
    engine->last_call >>= 1; /* far from the end: ids only count up, and 0 is none */
    engine->link = options->link != NULL ? *options->link : *cdtx__link_local();
    engine->scan.fire = cdtx__scan_fire;
    engine->trim.fire = cdtx__trim_fire;
    cdtx__pump_init(&engine->pump, env);
    list_init(&engine->databases);
    list_init(&engine->participants);
    list_init(&engine->drives);
    list_init(&engine->peers);
    return engine;
}

int32_t cdtx_open(const cdtx_options *options, cdtx **engine, cdtx_error *err) {
    cdtx_options o = {0};
    if (engine == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the engine's handle is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_options", err);
    if (rc == 0)
        rc = fill_options(&o, err);
    if (rc != 0)
        return rc;
    cdtx *e = new_engine(&o);
    if (e == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for an engine");
    rc = keep_adapters(e, err);
    if (rc == 0)
        rc = open_log(e, err);
    if (rc == 0)
        rc = start_threads(e, err);
    e->options.log = NULL; /* the host's string */
    e->options.coordinator = NULL;
    if (rc != 0) {
        shut(e);
        return rc;
    }
    *engine = e;
    return 0;
}

void cdtx_close(cdtx *engine) {
    if (engine == NULL || engine->env->process(engine->env->user) != engine->process)
        return; /* in a forked child nothing here is ours to touch */
    shut(engine);
}
