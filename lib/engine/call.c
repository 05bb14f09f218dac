#include "engine/engine.h"

int32_t cdtx__call_register(cdtx *engine, cdtx_tx *tx, uint64_t *id, cdtx_error *err) {
    uint64_t next = __atomic_add_fetch(&engine->last_call, 1, __ATOMIC_RELAXED);
    cdtx__lock(engine->env, &engine->calls_lock);
    int32_t rc = cdtx__map_put(engine->env, &engine->calls, next, tx);
    cdtx__unlock(engine->env, &engine->calls_lock);
    if (rc != 0)
        return cdtx__fail(err, rc, "no memory to send a call");
    *id = next;
    return 0;
}

static cdtx_tx *take(cdtx *engine, uint64_t id) {
    cdtx__lock(engine->env, &engine->calls_lock);
    cdtx_tx *tx = cdtx__map_take(&engine->calls, id);
    cdtx__unlock(engine->env, &engine->calls_lock);
    return tx;
}

int32_t cdtx__call_send(cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    if (__atomic_load_n(&engine->closed, __ATOMIC_ACQUIRE)) /* the link is detached */
        return cdtx__fail(err, CDTX_STOPPED, "the engine is closing");
    if (FAILPOINT(engine->env, "call.send"))
        return cdtx__fail(err, CDTX_IO, "failpoint call.send");
    cdtx__add(&engine->calls_sent);
    return engine->link.send(engine->link.user, engine, call, err);
}

int cdtx__call_forget(cdtx *engine, uint64_t id) {
    return take(engine, id) != NULL;
}

void cdtx__calls_close(cdtx *engine) {
    cdtx__map_free(engine->env, &engine->calls);
}

void cdtx_link_reply(cdtx *engine, uint64_t id, const cdtx_reply *reply) {
    if (reply == NULL || cdtx__enter(engine, NULL) != 0)
        return;
    cdtx_tx *tx = take(engine, id);
    if (tx != NULL)
        cdtx__drive_replied(tx, id, reply);
    cdtx__leave(engine);
}

/* ---- the local link ---- */

static int32_t local_knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    return cdtx_serves(engine, participant);
}

static void local_answer(void *user, uint64_t id, const cdtx_reply *reply) {
    cdtx_link_reply(user, id, reply);
}

static int32_t local_send(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    (void)user;
    return cdtx_serve(engine, call, local_answer, engine, err);
}

const cdtx_link *cdtx__link_local(void) {
    static const cdtx_link link = {.size = sizeof link, .knows = local_knows, .send = local_send};
    return &link;
}
