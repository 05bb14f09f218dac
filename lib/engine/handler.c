/* The handlers of a database, and its room of jobs. */
#include <stdio.h>

#include "engine/job.h"
#include "store/guard.h"

struct job_room *cdtx__job_room(cdtx_db *db, cdtx_error *err) {
    cdtx *engine = db->engine;
    cdtx__lock(engine->env, &engine->lock);
    if (db->jobs == NULL) {
        db->jobs = cdtx__alloc(engine->env, sizeof *db->jobs);
        if (db->jobs != NULL) {
            db->jobs->db = db;
            db->jobs->scan.fire = cdtx__claim_fire;
            list_init(&db->jobs->handlers);
        }
    }
    struct job_room *room = db->jobs;
    cdtx__unlock(engine->env, &engine->lock);
    if (room == NULL)
        cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the jobs of '%s'", db->store->name);
    return room;
}

void cdtx__jobs_ring(cdtx_db *db) {
    if (db->jobs != NULL)
        cdtx__job_ring(db->jobs, 0);
}

struct handler *cdtx__handler_find_locked(struct job_room *room, const char *name) {
    for (struct list *link = room->handlers.next; link != &room->handlers; link = link->next) {
        struct handler *handler = LIST_OF(link, struct handler, link);
        if (strcmp(handler->name, name) == 0)
            return handler;
    }
    return NULL;
}

struct handler *cdtx__handler_find(struct job_room *room, const char *name) {
    cdtx__lock(room->db->engine->env, &room->lock);
    struct handler *found = cdtx__handler_find_locked(room, name);
    cdtx__unlock(room->db->engine->env, &room->lock);
    return found;
}

int cdtx__handler_is_here(cdtx_db *db, const char *name) {
    cdtx__lock(db->engine->env, &db->engine->lock);
    struct job_room *room = db->jobs;
    cdtx__unlock(db->engine->env, &db->engine->lock);
    return room != NULL && name != NULL && cdtx__handler_find(room, name) != NULL;
}

int32_t cdtx__handler_space(struct handler *handler, cdtx_error *err) {
    return cdtx__guard_space("cdtx job guards", handler->room->db->store->uuid, handler->name, handler->space, err);
}

struct handler *cdtx__handler_after(struct job_room *room, struct handler *handler) {
    cdtx__lock(room->db->engine->env, &room->lock);
    struct list *link = handler == NULL ? room->handlers.next : handler->link.next;
    struct handler *next = link == &room->handlers ? NULL : LIST_OF(link, struct handler, link);
    cdtx__unlock(room->db->engine->env, &room->lock);
    return next;
}

static void free_handler(const cdtx_env *env, struct handler *handler) {
    cdtx__free_text(env, handler->name);
    cdtx__free_text(env, handler->queue);
    cdtx__free(env, handler, sizeof *handler);
}

/* Of a delivery's handler: its topic and group. */
static void find_parts(struct handler *handler) {
    static const char prefix[] = DELIVERY_PREFIX;
    const char *slash = strrchr(handler->name, '/');
    if (strncmp(handler->name, prefix, strlen(prefix)) != 0)
        return;
    const char *topic = handler->name + strlen(prefix);
    snprintf(handler->topic, sizeof handler->topic, "%.*s", (int)(slash - topic), topic);
    snprintf(handler->group, sizeof handler->group, "%s", slash + 1);
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
    else
        find_parts(handler);
    cdtx__lock(env, &room->lock);
    if (rc == 0 && cdtx__handler_find_locked(room, name) != NULL)
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
    if (o->key_running_max == 0 || o->in_order)
        o->key_running_max = 1;
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
    if (rc == 0)
        rc = cdtx__check_ms(o->dead_retention_ms, "dead_retention_ms", err);
    if (rc == 0 && o->backoff_max_ms < o->backoff_min_ms)
        rc = cdtx__fail(err, CDTX_INVALID, "backoff_max_ms is less than backoff_min_ms");
    if (rc == 0 && o->in_local && o->handler == NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "in_local needs a handler function; pulled jobs end with cdtx_work_done");
    if (rc == 0 && o->local_db != NULL && !o->in_local)
        rc = cdtx__fail(err, CDTX_INVALID, "a local_db is for handlers that are in_local");
    return rc;
}

int32_t cdtx__handler_check(const cdtx_db *db, const char *name, cdtx_handler_options *o, cdtx_error *err) {
    int32_t rc = cdtx__check_name(name, "the handler's name", err);
    if (rc == 0)
        rc = fill_options(o, err);
    if (rc == 0 && o->local_db == db)
        o->local_db = NULL;
    if (rc == 0 && o->local_db != NULL && o->local_db->engine != db->engine)
        rc = cdtx__fail(err, CDTX_MISUSE, "handler '%s': its local_db is a database of another engine", name);
    if (rc == 0)
        rc = cdtx__may_write(db, "registering a handler", err);
    if (rc == 0 && o->local_db != NULL)
        rc = cdtx__may_write(o->local_db, "registering a handler", err);
    return rc;
}

int32_t cdtx__handler_add(cdtx_db *db, const char *name, const cdtx_handler_options *options, cdtx_error *err) {
    cdtx_handler_options o = *options;
    int32_t rc = cdtx__handler_check(db, name, &o, err);
    if (rc == 0 && o.local_db != NULL)
        rc = cdtx__floor_keep(o.local_db, err);
    if (rc != 0)
        return rc;
    struct job_room *room = cdtx__job_room(db, err);
    if (room == NULL)
        return CDTX_NO_MEMORY;
    rc = add(room, name, &o, err);
    if (rc == 0)
        cdtx__job_ring(room, 0);
    return rc;
}

int32_t cdtx__handler_add_ours(cdtx_db *db, const char *name, cdtx_handler_fn run, cdtx_error *err) {
    cdtx_handler_options o = {.size = sizeof o,
                              .in_local = 1,
                              .handler = run,
                              .attempts_max = UINT32_MAX,
                              .crashes_max = UINT32_MAX,
                              .backoff_max_ms = 60000};
    cdtx_error why = {0};
    int32_t rc = cdtx__handler_add(db, name, &o, &why);
    if (rc == CDTX_CONFLICT) /* it is there already */
        return 0;
    if (rc != 0 && err != NULL)
        *err = why;
    return rc;
}

void cdtx__handler_set_many(struct handler *handler, job_many_fn many, uint32_t most) {
    INVARIANT(most > 0 && most <= JOB_MANY_MAX);
    handler->many_max = most;
    __atomic_store_n(&handler->many, many, __ATOMIC_RELEASE);
}

int32_t cdtx_handler_add(cdtx_db *db, const char *name, const cdtx_handler_options *options, cdtx_error *err) {
    cdtx_handler_options o = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_handler_options", err);
    if (rc == 0 && name != NULL && cdtx__handler_is_ours(name))
        rc = cdtx__fail(err, CDTX_INVALID, "'%.120s': names that begin with 'cdtx.' are the library's own", name);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__handler_add(db, name, &o, err);
    cdtx__leave(db->engine);
    return rc;
}

void cdtx__jobs_close(cdtx_db *db) {
    struct handler *handler = NULL;
    while (db->jobs != NULL && (handler = cdtx__handler_after(db->jobs, handler)) != NULL)
        if (handler->options.drop != NULL)
            handler->options.drop(handler->options.user);
}

void cdtx__jobs_free(cdtx_db *db) {
    struct job_room *room = db->jobs;
    const cdtx_env *env = db->engine->env;
    struct list *link;
    while (room != NULL && (link = list_pop(&room->handlers)) != NULL)
        free_handler(env, LIST_OF(link, struct handler, link));
    cdtx__free(env, room, sizeof *room);
}
