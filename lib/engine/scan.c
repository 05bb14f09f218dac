/* Looking into the log: what nobody decided in time, what was decided and has not ended, and what may be forgotten. */
#include "engine/drive.h"

struct scan {
    struct coord_request request;
    cdtx *engine;
};

static int32_t adopt(cdtx *engine, const struct coord_item *item) {
    cdtx_tx *tx = cdtx__tx_alloc(engine);
    if (tx == NULL)
        return CDTX_NO_MEMORY;
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < item->branch_count; i++) {
        const struct coord_branch *b = &item->branches[i];
        rc = cdtx__tx_add_branch(tx, b->participant, b->payload, b->length, NULL);
    }
    if (rc == 0) {
        tx->adopted = 1;
        tx->sequence = item->sequence;
        tx->epoch = item->epoch;
        tx->outcome = item->state;
        tx->acked = item->acked & ((INT64_C(1) << tx->branch_count) - 1);
        tx->attempts = item->attempts;
        tx->reverse_after = item->reverse_after;
        tx->noes = item->noes;
        tx->parked = item->parked;
        tx->hooked = item->hooked;
        cdtx__gid_text(engine->coord.log(engine->coord.self), tx->sequence, tx->gid);
        cdtx__drive_resume(tx);
        if (item->attempts == 1 && item->state == CDTX_TX_ROLLING_BACK)
            cdtx__add(&engine->rolled_back); /* decided by the take itself */
    }
    cdtx__tx_unref(tx);
    return rc;
}

static void scan_done(struct coord_request *request) {
    struct scan *scan = LIST_OF(request, struct scan, request);
    cdtx *engine = scan->engine;
    int64_t next_ms = request->result == 0 ? request->next_due_ms : 1000;
    if (request->result == 0)
        for (uint32_t i = 0; i < request->item_count; i++)
            if (adopt(engine, &request->items[i]) != 0)
                next_ms = request->lease_ms; /* its lease ends, and it is taken again */
    engine->coord.release(engine->coord.self, request);
    __atomic_store_n(&engine->scanning, 0, __ATOMIC_RELEASE);
    /* Other processes on this log do not ring here: look now and then. */
    if (engine->log->store->ownership != CDTX_OWN_ALONE && (next_ms < 0 || next_ms > 500))
        next_ms = 500;
    if (next_ms >= 0 && request->result != CDTX_STOPPED)
        cdtx__scan_by(engine, next_ms);
    cdtx__free(engine->env, scan, sizeof *scan);
}

void cdtx__scan_fire(struct timer *timer) {
    cdtx *engine = LIST_OF(timer, struct cdtx, scan);
    if (__atomic_exchange_n(&engine->scanning, 1, __ATOMIC_ACQ_REL)) {
        cdtx__scan_by(engine, 10); /* it may have looked too early for what rang now */
        return;
    }
    struct scan *scan = cdtx__alloc(engine->env, sizeof *scan);
    uint32_t under_way = __atomic_load_n(&engine->adopted_count, __ATOMIC_RELAXED);
    if (scan == NULL || under_way >= engine->options.open_max) {
        cdtx__free(engine->env, scan, sizeof *scan);
        __atomic_store_n(&engine->scanning, 0, __ATOMIC_RELEASE);
        cdtx__scan_by(engine, 100);
        return;
    }
    uint32_t room = engine->options.open_max - under_way;
    scan->engine = engine;
    scan->request.verb = COORD_TAKE;
    scan->request.limit = room < 128 ? room : 128;
    scan->request.lease_ms = cdtx__lease_ms(engine);
    scan->request.done = scan_done;
    engine->coord.submit(engine->coord.self, &scan->request);
}

/* ---- trimming ---- */

enum { TRIM_MS = 1000, TRIM_ROWS = 2000 };

static void trim_by(cdtx *engine, int64_t in_ms) {
    cdtx__pump_arm_by(&engine->pump, &engine->trim, cdtx__now_us(engine->env) + in_ms * 1000);
}

void cdtx__trim_soon(cdtx *engine) {
    if (__atomic_exchange_n(&engine->trimming, 1, __ATOMIC_ACQ_REL) == 0)
        trim_by(engine, TRIM_MS);
}

/* Databases of this engine hear of the floor here, so that they come clean when no call brings it any more. */
static void tell_databases(cdtx *engine, int64_t floor) {
    const uint8_t *log = engine->coord.log(engine->coord.self);
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->databases.next; link != &engine->databases; link = link->next)
        cdtx__floor_heard(LIST_OF(link, struct cdtx_db, link), log, floor);
    cdtx__unlock(engine->env, &engine->lock);
}

static void trim_done(struct coord_request *request) {
    struct scan *scan = LIST_OF(request, struct scan, request);
    cdtx *engine = scan->engine;
    int64_t next_ms = request->next_due_ms;
    if (request->result == 0) {
        __atomic_store_n(&engine->floor, request->floor, __ATOMIC_RELAXED);
        tell_databases(engine, request->floor);
    } else if (request->result != CDTX_STOPPED) {
        cdtx__log(engine->env, CDTX_LOG_WARNING, "the log keeps old outcomes: %s", request->err.text);
        next_ms = 10 * TRIM_MS;
    }
    engine->coord.release(engine->coord.self, request);
    if (next_ms >= 0 && request->result != CDTX_STOPPED)
        trim_by(engine, next_ms);
    cdtx__free(engine->env, scan, sizeof *scan);
}

void cdtx__trim_fire(struct timer *timer) {
    cdtx *engine = LIST_OF(timer, struct cdtx, trim);
    __atomic_store_n(&engine->trimming, 0, __ATOMIC_RELEASE); /* what ends from now on asks for the next one */
    struct scan *scan = FAILPOINT(engine->env, "trim.start") ? NULL : cdtx__alloc(engine->env, sizeof *scan);
    if (scan == NULL) {
        trim_by(engine, 10 * TRIM_MS);
        return;
    }
    scan->engine = engine;
    scan->request.verb = COORD_TRIM;
    scan->request.limit = TRIM_ROWS;
    scan->request.retention_ms = engine->options.retention_ms;
    scan->request.done = trim_done;
    engine->coord.submit(engine->coord.self, &scan->request);
}
