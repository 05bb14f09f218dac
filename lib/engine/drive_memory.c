/* What a transaction in work keeps in memory: itself and its branches, given back with the last reference. */
#include "engine/drive.h"

cdtx_tx *cdtx__tx_alloc(cdtx *engine) {
    cdtx_tx *tx = cdtx__alloc(engine->env, sizeof *tx);
    if (tx == NULL)
        return NULL;
    tx->engine = engine;
    tx->refs = 1;
    cdtx__buf_init(&tx->hooks, engine->env, PAYLOAD_LIMIT);
    cdtx__ref(engine);
    return tx;
}

static void free_branches(cdtx_tx *tx) {
    const cdtx_env *env = tx->engine->env;
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        struct drive_branch *b = &tx->branches[i];
        cdtx__free_text(env, b->participant);
        cdtx__free(env, b->payload, b->length);
        cdtx__free(env, b->result, b->result_length);
    }
    cdtx__free(env, tx->branches, tx->branch_room * sizeof *tx->branches);
    cdtx__free(env, tx->wire, tx->wire_room * sizeof *tx->wire);
}

void cdtx__tx_ref(cdtx_tx *tx) {
    __atomic_add_fetch(&tx->refs, 1, __ATOMIC_RELAXED);
}

void cdtx__tx_unref(cdtx_tx *tx) {
    if (__atomic_sub_fetch(&tx->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    cdtx *engine = tx->engine;
    free_branches(tx);
    cdtx__buf_free(&tx->hooks);
    cdtx__free_text(engine->env, tx->name);
    cdtx__free_text(engine->env, tx->key);
    cdtx__free(engine->env, tx, sizeof *tx);
    cdtx__unref(engine);
}

static void *copy_bytes(const cdtx_env *env, const void *bytes, uint32_t length) {
    void *copy = cdtx__alloc(env, length);
    if (copy != NULL)
        memcpy(copy, bytes, length);
    return copy;
}

int32_t cdtx__tx_add_branch(cdtx_tx *tx, const char *participant, const void *payload, uint32_t length,
                            cdtx_error *err) {
    const cdtx_env *env = tx->engine->env;
    if (tx->branch_count == CDTX_BRANCHES_MAX)
        return cdtx__fail(err, CDTX_LIMIT, "a transaction has at most %d branches", CDTX_BRANCHES_MAX);
    if (tx->branch_count == tx->branch_room) {
        uint32_t room = tx->branch_room == 0 ? 4 : tx->branch_room * 2;
        struct drive_branch *bigger =
            cdtx__realloc(env, tx->branches, tx->branch_room * sizeof *bigger, room * sizeof *bigger);
        if (bigger == NULL)
            return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for branch '%s'", participant);
        tx->branches = bigger;
        tx->branch_room = room;
    }
    struct drive_branch b = {
        .length = length, .expiry_us = INT64_MAX, .participant = cdtx__copy_text(env, participant)};
    b.peer = cdtx__peer(tx->engine, participant);
    if (length > 0)
        b.payload = copy_bytes(env, payload, length);
    if (b.participant == NULL || b.peer == NULL || (length > 0 && b.payload == NULL)) {
        cdtx__free_text(env, b.participant);
        cdtx__free(env, b.payload, length);
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for branch '%s'", participant);
    }
    tx->branches[tx->branch_count++] = b;
    return 0;
}

void cdtx__tx_drop_last_branch(cdtx_tx *tx) {
    const cdtx_env *env = tx->engine->env;
    struct drive_branch *b = &tx->branches[--tx->branch_count];
    cdtx__free_text(env, b->participant);
    cdtx__free(env, b->payload, b->length);
}

int32_t cdtx__tx_keep_result(cdtx_tx *tx, struct drive_branch *b, const cdtx_reply *reply, cdtx_error *err) {
    if (reply->length == 0)
        return 0;
    b->result = copy_bytes(tx->engine->env, reply->result, reply->length);
    if (b->result == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the answer of '%s'", b->participant);
    b->result_length = reply->length;
    return 0;
}
