/* What every public call checks, and what keeps the engine alive. */
#include <stdarg.h>
#include <stdio.h>

#include "engine/engine.h"

int32_t cdtx__enter(cdtx *engine, cdtx_error *err) {
    if (engine == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the engine is NULL");
    if (engine->env->process(engine->env->user) != engine->process)
        return cdtx__fail(err, CDTX_MISUSE, "this engine belongs to the parent of a forked process");
    if (__atomic_load_n(&engine->closed, __ATOMIC_ACQUIRE) || cdtx__pump_enter(&engine->pump) != 0)
        return cdtx__fail(err, CDTX_MISUSE, "the engine is closed");
    return 0;
}

void cdtx__leave(cdtx *engine) {
    cdtx__pump_leave(&engine->pump);
}

int32_t cdtx__may_wait(cdtx *engine, const char *what, cdtx_error *err) {
    uint64_t self = engine->env->self(engine->env->user);
    int32_t rc = 0;
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; link != &engine->databases && rc == 0; link = link->next) {
        struct store *store = LIST_OF(link, struct cdtx_db, link)->store;
        if (__atomic_load_n(&store->closure_thread, __ATOMIC_ACQUIRE) == self && !MUTANT(engine->env, "trap-14"))
            rc = cdtx__fail(err, CDTX_MISUSE, "%s inside a local transaction on '%s' would wait for its own commit",
                            what, store->name);
    }
    cdtx__unlock(engine->env, &engine->lock);
    return rc;
}

int32_t cdtx__may_write(const cdtx_db *db, const char *what, cdtx_error *err) {
    if (db->store->ownership != CDTX_OWN_NONE)
        return 0;
    return cdtx__fail(err, CDTX_MISUSE, "%s: database '%s' is open for reading only", what, db->store->name);
}

int32_t cdtx__options(const void *from, void *into, size_t size, size_t least, const char *what, cdtx_error *err) {
    if (from == NULL)
        return 0;
    uint32_t given;
    memcpy(&given, from, sizeof given);
    if (given < least)
        return cdtx__fail(err, CDTX_INVALID, "%s: its size is %u; set it to sizeof", what, given);
    for (size_t i = size; i < given; i++)
        if (((const unsigned char *)from)[i] != 0)
            return cdtx__fail(err, CDTX_INVALID, "%s: it has options that this library does not know", what);
    memcpy(into, from, given < size ? given : size);
    return 0;
}

int32_t cdtx__check_ms(int64_t ms, const char *what, cdtx_error *err) {
    if (ms < 0 || ms > CDTX_TIME_MAX_MS)
        return cdtx__fail(err, CDTX_INVALID, "%s is %lld ms; it must be from 0 to ten years", what, (long long)ms);
    return 0;
}

int32_t cdtx__check_payload(const cdtx *engine, const void *payload, size_t length, cdtx_error *err) {
    if (length > engine->options.payload_max)
        return cdtx__fail(err, CDTX_LIMIT, "a payload of %zu bytes is over payload_max, %u", length,
                          engine->options.payload_max);
    if (payload == NULL && length > 0)
        return cdtx__fail(err, CDTX_INVALID, "a payload of %zu bytes at NULL", length);
    return 0;
}

void cdtx__alarm(cdtx *engine, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cdtx__add(&engine->alarms);
    cdtx__log(engine->env, CDTX_LOG_ALARM, "%s", text);
}

int32_t cdtx__any_stopped(cdtx *engine, cdtx_error *err) {
    int32_t rc = 0;
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; link != &engine->databases && rc == 0; link = link->next) {
        struct store *store = LIST_OF(link, struct cdtx_db, link)->store;
        cdtx__lock(engine->env, &store->lock);
        rc = store->stopped;
        if (rc != 0 && err != NULL)
            *err = store->stop_err;
        cdtx__unlock(engine->env, &store->lock);
    }
    cdtx__unlock(engine->env, &engine->lock);
    return rc;
}

/* ---- references ---- */

void cdtx__ref(cdtx *engine) {
    __atomic_add_fetch(&engine->refs, 1, __ATOMIC_RELAXED);
}

void cdtx__unref(cdtx *engine) {
    if (__atomic_sub_fetch(&engine->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    const cdtx_env *env = engine->env;
    struct list *link;
    while ((link = list_pop(&engine->databases)) != NULL) {
        cdtx_db *db = LIST_OF(link, struct cdtx_db, link);
        cdtx__jobs_free(db);
        cdtx__host_free(env, db->host);
        cdtx__free(env, db, sizeof *db);
    }
    cdtx__free(env, (void *)(uintptr_t)engine->options.adapters, engine->options.adapter_count * sizeof(void *));
    cdtx__free(env, engine, sizeof *engine);
}
