#include "explore_memory.h"

#include <string.h>

#include "engine/drive.h"

/* The finalizer of splitmix64 by Steele, Lea and Flood. */
uint64_t explore_mix(uint64_t hash, uint64_t value) {
    uint64_t z = (hash ^ value) + UINT64_C(0x9E3779B97F4A7C15) + (hash << 6) + (hash >> 2);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

uint64_t explore_mix_bytes(uint64_t hash, const void *bytes, size_t length) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001B3);
    return explore_mix(hash, length);
}

/* Work that has been handed to a database and is not done is not looked into. */
static int stores_rest(struct cdtx *engine) {
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next) {
        const struct store *store = LIST_OF(link, struct cdtx_db, link)->store;
        if (store == NULL || !list_empty(&store->queue) || store->scheduled || store->stopped)
            return 0;
    }
    return !engine->scanning && list_empty(&engine->pump.tasks) && list_empty(&engine->pump.work);
}

/* In these steps no request to the coordinator is under way. */
static int drive_rests(const struct cdtx_tx *tx) {
    return tx->step == STEP_IDLE || tx->step == STEP_TRYING || tx->step == STEP_FINISHING ||
           (tx->step == STEP_JOINED && list_linked(&tx->timer.link));
}

/* Ids of calls are arbitrary; a message says whether it is about the one that is waited for. */
static uint64_t hash_branch(uint64_t hash, const struct drive_branch *branch) {
    struct drive_branch plain = *branch;
    plain.participant = NULL;
    plain.payload = NULL;
    plain.result = NULL;
    plain.peer = NULL;
    plain.call = plain.call != 0;
    hash = explore_mix_bytes(hash, &plain, sizeof plain);
    return branch->result == NULL ? hash : explore_mix_bytes(hash, branch->result, branch->result_length);
}

/* All bytes but those of pointers, so that whatever is added to it counts. */
static uint64_t hash_drive(uint64_t hash, const struct cdtx_tx *tx) {
    struct cdtx_tx plain;
    memcpy(&plain, tx, sizeof plain);
    memset(&plain.link, 0, sizeof plain.link);
    plain.engine = NULL;
    plain.gate.waiter = NULL;
    plain.name = plain.key = NULL;
    plain.branches = NULL;
    plain.wire = NULL;
    memset(&plain.request, 0, sizeof plain.request);
    memset(&plain.completion, 0, sizeof plain.completion);
    memset(&plain.timer, 0, sizeof plain.timer);
    hash = explore_mix_bytes(hash, &plain, sizeof plain);
    for (uint32_t b = 0; b < tx->branch_count; b++)
        hash = hash_branch(hash, &tx->branches[b]);
    return hash;
}

int explore_memory(cdtx *engine, int64_t now_us, uint64_t *hash) {
    if (!stores_rest(engine))
        return 0;
    for (struct list *link = engine->drives.next; link != &engine->drives; link = link->next)
        if (!drive_rests(LIST_OF(link, struct cdtx_tx, link)))
            return 0;
    *hash = explore_mix(1, (uint64_t)engine->floor);
    for (struct list *link = engine->drives.next; link != &engine->drives; link = link->next)
        *hash = hash_drive(*hash, LIST_OF(link, struct cdtx_tx, link));
    for (struct list *link = engine->pump.timers.next; link != &engine->pump.timers; link = link->next) {
        const struct timer *timer = LIST_OF(link, struct timer, link);
        *hash = explore_mix(explore_mix(*hash, (uint64_t)(timer->at_us - now_us)), (uint64_t)(uintptr_t)timer->fire);
    }
    return 1;
}

int explore_idle(const cdtx *engine) {
    return list_empty(&engine->drives);
}

int explore_awaits(const cdtx *engine, uint64_t call) {
    for (const struct list *link = engine->drives.next; link != &engine->drives; link = link->next) {
        const struct cdtx_tx *tx = LIST_OF(link, struct cdtx_tx, link);
        for (uint32_t b = 0; b < tx->branch_count; b++)
            if (tx->branches[b].call == call)
                return 1;
    }
    return 0;
}
