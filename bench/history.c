/* What a long life does to an engine: does it get slower, does it grow? And what one holds that has not begun to live.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "bench.h"

enum { STRETCHES = 10, SLICE = 32 * GROUP };

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
    return rc == 0 ? 1 : refused("an idle engine", rc, &err);
}

static int64_t cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

/* One engine, and its stretch under way. */
struct life {
    struct run run;
    struct shop shop;
    struct samples latency; /* in memory that is there from the start */
    struct stretch now;
    int64_t us, cpu;
};

static int life_open(struct life *life, const char *dir, int64_t count, size_t samples) {
    *life = (struct life){.run = {.dir = dir, .count = count}, .latency.room = samples};
    life->latency.us = malloc(samples * sizeof *life->latency.us);
    if (life->latency.us == NULL)
        return complain("no memory for %zu latencies", samples);
    memset(life->latency.us, 1, samples * sizeof *life->latency.us);
    /* One engine stands still while another one's slice runs. */
    if (!shop_open(dir, (cdtx_options){.env = &counting_env, .call_timeout_ms = 60000}, &life->shop))
        return 0;
    run_start(&life->run);
    return 1;
}

static void life_close(struct life *life) {
    if (life->shop.engine != NULL)
        shop_close(&life->shop);
    samples_free(&life->latency);
}

/* So many more, from an empty sky to an empty sky. */
static int slice(struct life *life, int64_t count) {
    int64_t from_us = now_us(), from_cpu = cpu_us(), begun = 0, ended = 0;
    for (; ended < count; ended++) {
        while (begun < count && begun - ended < GROUP &&
               flight_submit(&life->run, &life->shop, ORDER_PLACE, STOCK_RESERVE))
            begun++;
        int64_t latency = begun > ended ? flight_take(&life->run, &life->shop) : -1;
        if (latency < 0 || !samples_add(&life->latency, latency))
            return 0;
    }
    life->us += now_us() - from_us;
    life->cpu += cpu_us() - from_cpu;
    life->now.transactions += count;
    return 1;
}

static void stretch_start(struct life *life) {
    life->latency.count = 0;
    life->now = (struct stretch){0};
    life->us = life->cpu = 0;
}

static struct stretch stretch_end(struct life *life) {
    double count = (double)life->now.transactions;
    life->now.per_second = count / ((double)life->us / 1e6);
    life->now.cpu_us = (double)life->cpu / count;
    life->now.p50_ms = percentile_ms(&life->latency, 50);
    life->now.p99_ms = percentile_ms(&life->latency, 99);
    return life->now;
}

/* One stretch of each, slice by slice in turn, so that a disk or a machine that changes its pace changes it for all. */
static int side_by_side(struct life *lives, int count, int64_t per_stretch) {
    int ok = 1;
    for (int i = 0; i < count; i++)
        stretch_start(&lives[i]);
    for (int64_t left = per_stretch; ok && left > 0; left -= SLICE)
        for (int i = 0; ok && i < count; i++)
            ok = slice(&lives[i], left < SLICE ? left : SLICE);
    return ok;
}

static int live(struct life lives[2], const char *fresh_dir, int64_t per_stretch, struct history *history) {
    history->fresh = memory_now();
    int ok = 1;
    for (int i = 0; ok && i < STRETCHES - 1; i++) {
        ok = side_by_side(lives, 1, per_stretch);
        if (ok && i == 0)
            history->early = memory_now();
    }
    history->late = memory_now();
    ok = ok && life_open(&lives[1], fresh_dir, per_stretch, (size_t)per_stretch) && side_by_side(lives, 2, per_stretch);
    if (ok) {
        history->last = stretch_end(&lives[0]);
        history->first = stretch_end(&lives[1]);
    }
    return ok;
}

int history(const char *dir, int64_t count, struct history *history) {
    int64_t per_stretch = count / STRETCHES;
    char fresh[4200];
    snprintf(fresh, sizeof fresh, "%s/fresh", dir);
    if (per_stretch < SLICE)
        return complain("a history has at least %d transactions", SLICE * STRETCHES);
    if (mkdir(fresh, 0700) != 0)
        return complain("cannot make '%s': %s", fresh, strerror(errno));
    history->transactions = per_stretch * STRETCHES;
    struct life lives[2] = {0};
    int ok = life_open(&lives[0], dir, history->transactions, (size_t)per_stretch) &&
             live(lives, fresh, per_stretch, history);
    life_close(&lives[0]);
    life_close(&lives[1]);
    return ok && shop_check(dir, history->transactions, history->transactions) &&
           shop_check(fresh, per_stretch, per_stretch);
}
