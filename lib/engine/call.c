#include "engine/engine.h"

int32_t cdtx__call_register(cdtx *engine, const struct outgoing *outgoing, uint64_t *id, cdtx_error *err) {
    struct outgoing *slot = cdtx__alloc(engine->env, sizeof *slot);
    if (slot == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to send a call");
    *slot = *outgoing;
    slot->sent_us = cdtx__now_us(engine->env);
    uint64_t next = __atomic_add_fetch(&engine->last_call, 1, __ATOMIC_RELAXED);
    cdtx__lock(engine->env, &engine->calls_lock);
    int32_t rc = cdtx__map_put(engine->env, &engine->calls, next, slot);
    cdtx__unlock(engine->env, &engine->calls_lock);
    if (rc != 0) {
        cdtx__free(engine->env, slot, sizeof *slot);
        return cdtx__fail(err, rc, "no memory to send a call");
    }
    *id = next;
    return 0;
}

static struct outgoing *take(cdtx *engine, uint64_t id) {
    cdtx__lock(engine->env, &engine->calls_lock);
    struct outgoing *slot = cdtx__map_take(&engine->calls, id);
    cdtx__unlock(engine->env, &engine->calls_lock);
    return slot;
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
    struct outgoing *slot = take(engine, id);
    if (slot == NULL)
        return 0;
    cdtx__free(engine->env, slot, sizeof *slot);
    return 1;
}

void cdtx__calls_close(cdtx *engine) {
    for (size_t i = 0; i < engine->calls.room; i++)
        cdtx__free(engine->env, engine->calls.slots[i].value, sizeof(struct outgoing));
    cdtx__map_free(engine->env, &engine->calls);
}

void cdtx_link_reply(cdtx *engine, uint64_t id, const cdtx_reply *reply) {
    if (reply == NULL || cdtx__enter(engine, NULL) != 0)
        return;
    struct outgoing *slot = take(engine, id);
    if (slot != NULL) {
        cdtx__histogram_add(&engine->call_us, cdtx__now_us(engine->env) - slot->sent_us);
        slot->replied(slot->user, slot->branch, id, reply);
        cdtx__free(engine->env, slot, sizeof *slot);
    }
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
