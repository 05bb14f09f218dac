/* The same two-branch TCC through the library, in the ways that a host can ask for it. */
#include "bench.h"

enum { TIMEOUT_MS = 60000 };

static int32_t new_tx(struct shop *shop, uint64_t tag, cdtx_tx **tx, cdtx_error *err) {
    cdtx_tx_options options = {.size = sizeof options, .name = "bench", .timeout_ms = TIMEOUT_MS, .tag = tag};
    return cdtx_tx_new(shop->engine, &options, tx, err);
}

static int32_t declare(cdtx_tx *tx, int64_t number, const char *first, const char *second, cdtx_error *err) {
    struct line line = line_of(number);
    int32_t rc = cdtx_tx_add(tx, first, &line, sizeof line, err);
    return rc != 0 ? rc : cdtx_tx_add(tx, second, &line, sizeof line, err);
}

/* ---- one transaction, by a caller that waits ---- */

static int32_t run_declared(void *place, int caller, int64_t number, cdtx_error *err) {
    (void)caller;
    struct shop *shop = place;
    cdtx_tx *tx = NULL;
    int32_t rc = new_tx(shop, 0, &tx, err);
    if (rc == 0)
        rc = declare(tx, number, ORDER_PLACE, STOCK_RESERVE, err);
    if (rc == 0)
        rc = cdtx_tx_run(tx, err);
    cdtx_tx_close(tx);
    return rc;
}

static int32_t run_stepwise(void *place, int caller, int64_t number, cdtx_error *err) {
    (void)caller;
    struct shop *shop = place;
    cdtx_tx *tx = NULL;
    struct line line = line_of(number);
    int32_t rc = new_tx(shop, 0, &tx, err);
    if (rc == 0)
        rc = cdtx_tx_begin(tx, err);
    if (rc == 0)
        rc = cdtx_tx_try(tx, ORDER_PLACE, &line, sizeof line, err);
    if (rc == 0)
        rc = cdtx_tx_try(tx, STOCK_RESERVE, &line, sizeof line, err);
    if (rc == 0)
        rc = cdtx_tx_commit(tx, err);
    cdtx_tx_close(tx);
    return rc;
}

static void call_all(struct run *run, struct shop *shop, int count, call_fn call) {
    struct callers callers = {.run = run, .call = call, .place = shop};
    callers_start(&callers, count);
    callers_join(&callers);
}

/* ---- submitted: one thread keeps GROUP in flight ---- */

int flight_submit(struct run *run, struct shop *shop, const char *first, const char *second) {
    int64_t number = run_next(run);
    if (number == 0)
        return 0;
    cdtx_error err = {0};
    cdtx_tx *tx = NULL;
    int32_t rc = new_tx(shop, (uint64_t)now_us(), &tx, &err);
    if (rc == 0)
        rc = declare(tx, number, first, second, &err);
    if (rc == 0)
        rc = cdtx_tx_submit(tx, &err);
    cdtx_tx_close(tx);
    return rc == 0 ? 1 : refused("submit", rc, &err);
}

int64_t flight_take(struct run *run, struct shop *shop) {
    cdtx_error err = {0};
    cdtx_work *work = NULL;
    int32_t rc = cdtx_take(shop->engine, TIMEOUT_MS, &work, &err);
    if (rc == 0 && work == NULL)
        complain("no completion within %d ms", TIMEOUT_MS);
    else if (rc != 0)
        refused("cdtx_take", rc, &err);
    if (work == NULL)
        return -1;
    rc = cdtx_work_result(work, &err);
    run->ended_us = now_us();
    int64_t latency = run->ended_us - (int64_t)cdtx_work_tag(work);
    if (rc != 0)
        refused("one transaction", rc, &err);
    else
        run->done++;
    int32_t settled = cdtx_settle(work, 0, NULL, &err);
    if (settled != 0)
        refused("cdtx_settle", settled, &err);
    return rc == 0 && settled == 0 ? latency : -1;
}

static void keep_in_flight(struct run *run, struct shop *shop, const char *first, const char *second) {
    int flying = 0;
    int64_t latency;
    run_start(run);
    while (flying < GROUP && flight_submit(run, shop, first, second))
        flying++;
    while (flying > 0 && (latency = flight_take(run, shop)) >= 0 && samples_add(&run->latency, latency))
        if (!flight_submit(run, shop, first, second))
            flying--;
}

/* ---- the modes ---- */

static int measure(struct run *run, void (*all)(struct run *run, struct shop *shop)) {
    struct shop shop;
    if (!shop_open(run->dir, (cdtx_options){.threads = run->threads}, &shop))
        return 0;
    uint64_t before = syncs_of(shop.engine);
    all(run, &shop);
    run->syncs = syncs_of(shop.engine) - before;
    shop_close(&shop);
    return !complained();
}

static void all_submitted(struct run *run, struct shop *shop) {
    keep_in_flight(run, shop, ORDER_PLACE, STOCK_RESERVE);
}

static void all_noop(struct run *run, struct shop *shop) {
    keep_in_flight(run, shop, ORDER_NOOP, STOCK_NOOP);
}

static void all_blocking(struct run *run, struct shop *shop) {
    call_all(run, shop, GROUP, run_declared);
}

static void all_stepwise(struct run *run, struct shop *shop) {
    call_all(run, shop, GROUP, run_stepwise);
}

static void all_alone(struct run *run, struct shop *shop) {
    call_all(run, shop, 1, run_declared);
}

int tcc_submitted(struct run *run) {
    return measure(run, all_submitted);
}

int tcc_noop(struct run *run) {
    return measure(run, all_noop);
}

int tcc_blocking(struct run *run) {
    return measure(run, all_blocking);
}

int tcc_stepwise(struct run *run) {
    return measure(run, all_stepwise);
}

int tcc_alone(struct run *run) {
    return measure(run, all_alone);
}
