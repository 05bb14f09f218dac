/* What a long life does to an engine: does it get slower, does it grow? And what one holds that has not begun to live.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"

enum { STRETCHES = 10 };

/* The small tables and buffers of a first use belong to the engine, not to the load. */
int idle(const char *dir, struct memory *memory) {
    struct memory before = memory_now();
    struct shop shop;
    if (!shop_open(dir, (cdtx_options){.env = &counting_env}, &shop))
        return 0;
    cdtx_error err = {0};
    int32_t rc = cdtx_run(shop.engine, 20, &err);
    struct memory now = memory_now();
    shop_close(&shop);
    *memory = (struct memory){.engine = now.engine - before.engine,
                              .sqlite = now.sqlite - before.sqlite,
                              .resident = now.resident - before.resident};
    return rc == 0 ? 1 : complain("an idle engine: %s: %s", cdtx_code_name(rc), err.text);
}

static int64_t cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

struct life {
    struct run run;
    struct shop shop;
    int64_t per_stretch;
    struct samples latency; /* of the stretch under way, in memory that is there from the start */
    struct history *history;
};

/* Takes back as many as a stretch has, keeping GROUP in flight. */
static int stretch(struct life *life, struct stretch *stretch) {
    int64_t from_us = now_us(), from_cpu = cpu_us();
    life->latency.count = 0;
    for (int64_t n = 0; n < life->per_stretch; n++) {
        int64_t latency = flight_take(&life->run, &life->shop);
        if (latency < 0 || !samples_add(&life->latency, latency))
            return 0;
        flight_submit(&life->run, &life->shop, ORDER_PLACE, STOCK_RESERVE);
    }
    double count = (double)life->per_stretch;
    stretch->transactions = life->per_stretch;
    stretch->per_second = count / ((double)(now_us() - from_us) / 1e6);
    stretch->cpu_us = (double)(cpu_us() - from_cpu) / count;
    stretch->p50_ms = percentile_ms(&life->latency, 50);
    stretch->p99_ms = percentile_ms(&life->latency, 99);
    return !complained();
}

static int live(struct life *life) {
    int ok = 1;
    run_start(&life->run);
    for (int flying = 0; ok && flying < GROUP; flying++)
        ok = flight_submit(&life->run, &life->shop, ORDER_PLACE, STOCK_RESERVE);
    life->history->fresh = memory_now();
    for (int i = 0; ok && i < STRETCHES; i++) {
        ok = stretch(life, i == 0 ? &life->history->first : &life->history->last);
        if (ok && i == 0)
            life->history->early = memory_now();
    }
    life->history->late = memory_now();
    return ok;
}

int history(const char *dir, int64_t count, struct history *history) {
    struct life life = {.per_stretch = count / STRETCHES, .history = history};
    history->transactions = life.per_stretch * STRETCHES;
    life.run = (struct run){.dir = dir, .count = history->transactions};
    if (life.per_stretch < GROUP)
        return complain("a history has at least %d transactions", GROUP * STRETCHES);
    life.latency.room = (size_t)life.per_stretch;
    life.latency.us = malloc(life.latency.room * sizeof *life.latency.us);
    if (life.latency.us == NULL)
        return complain("no memory for %zu latencies", life.latency.room);
    memset(life.latency.us, 1, life.latency.room * sizeof *life.latency.us);
    int ok = shop_open(dir, (cdtx_options){.env = &counting_env}, &life.shop);
    if (ok) {
        ok = live(&life);
        shop_close(&life.shop);
    }
    samples_free(&life.latency);
    return ok && shop_check(dir, history->transactions, history->transactions);
}
