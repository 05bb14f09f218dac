/* The Nth allocation fails, once or from then on: the engine's, or SQLite's, which has a heap of its own. */
#include <sqlite3.h>
#include <stdlib.h>

#include "sweep.h"

/* ---- the engine's heap ---- */

static uint64_t first;

static void arm(struct run *run) {
    first = cdtx_test_env_allocations(run->heap);
    cdtx_test_env_fail_memory(run->heap, run->n, run->sweep->for_ever);
}

static int disarm(struct run *run) {
    cdtx_test_env_fail_memory(run->heap, 0, 0);
    return cdtx_test_env_allocations(run->heap) - first >= run->n;
}

/* ---- SQLite's heap ---- */

/* SQLite allocates so often that only each so-manyth place is tried. */
enum { STRIDE = 23, LONG_STRIDE = 211 };

static sqlite3_mem_methods real;
static struct {
    int armed, for_ever;
    uint64_t nth, seen;
} plan;

static int runs_out(void) {
    if (!plan.armed)
        return 0;
    plan.seen++;
    return plan.seen == plan.nth || (plan.seen > plan.nth && plan.for_ever);
}

static void *faulty_malloc(int size) {
    return runs_out() ? NULL : real.xMalloc(size);
}

static void *faulty_realloc(void *block, int size) {
    return runs_out() ? NULL : real.xRealloc(block, size);
}

static void take_heap(void) {
    sqlite3_mem_methods faulty;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real) != SQLITE_OK)
        abort();
    faulty = real;
    faulty.xMalloc = faulty_malloc;
    faulty.xRealloc = faulty_realloc;
    /* Lookaside memory is not asked for piece by piece: without it every piece may be missing. */
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK)
        abort();
}

static void arm_sqlite(struct run *run) {
    plan.nth = run->n;
    plan.for_ever = run->sweep->for_ever;
    plan.seen = 0;
    plan.armed = 1;
}

static int disarm_sqlite(struct run *run) {
    (void)run;
    plan.armed = 0;
    return plan.seen >= plan.nth;
}

int main(int argc, char **argv) {
    static const struct sweep sweeps[] = {
        {.name = "memory once", .least = 300, .arm = arm, .disarm = disarm},
        {.name = "memory for ever", .least = 300, .for_ever = 1, .arm = arm, .disarm = disarm},
        {.name = "memory to the end", .least = 300, .for_ever = 1, .close_too = 1, .arm = arm, .disarm = disarm},
        {.name = "memory once, loopback", .least = 300, .loopback = 1, .arm = arm, .disarm = disarm},
        {.name = "memory once, on ruins", .least = 100, .ruins = 1, .arm = arm, .disarm = disarm},
        {.name = "memory for ever, on ruins", .least = 100, .for_ever = 1, .ruins = 1, .arm = arm, .disarm = disarm},
        {.name = "SQLite's memory once", .least = 150, .stride = STRIDE, .stops = 1, .arm = arm_sqlite,
         .disarm = disarm_sqlite},
        {.name = "SQLite's memory to the end", .least = 150, .stride = STRIDE, .stops = 1, .for_ever = 1,
         .close_too = 1, .arm = arm_sqlite, .disarm = disarm_sqlite},
    };
    static const struct sweep once = {.name = "memory once", .arm = arm, .disarm = disarm};
    static const struct sweep to_the_end = {
        .name = "memory to the end", .for_ever = 1, .close_too = 1, .stride = 2, .arm = arm, .disarm = disarm};
    static const struct sweep sqlite = {.name = "SQLite's memory once",
                                        .stride = LONG_STRIDE,
                                        .stops = 1,
                                        .arm = arm_sqlite,
                                        .disarm = disarm_sqlite};
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++)
        sweep_add(&sweeps[i]);
    sweep_add_post(&once, (uint64_t[CHAPTERS]){300, 200, 200, 80, 120});
    sweep_add_post(&to_the_end, (uint64_t[CHAPTERS]){0, 0, 120, 50, 70});
    sweep_add_post(&sqlite, (uint64_t[CHAPTERS]){60, 50, 25, 18, 30});
    take_heap();
    return sweep_main(argc, argv);
}
