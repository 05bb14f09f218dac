#include "knobs.h"

#include <stdio.h>

#include "world.h"

static const char *const names[FAULT_KINDS] = {
    "crash-point", "crash-time", "power",    "die-writing",   "disk-error",   "disk-full",   "sync",    "memory",
    "restart",     "loss",       "double",   "reorder",       "clog",         "replay",      "send",    "pause",
    "clock",       "drift",      "spurious", "handler-error", "handler-slow", "client-slow", "abandon", "yield",
};

const char *fault_name(enum fault_kind kind) {
    return names[kind];
}

const char *topology_name(int topology) {
    static const char *const topologies[TOPOLOGIES] = {"shared-log", "one-log", "all-in-one", "all-shared"};
    return topologies[topology];
}

static uint32_t pick(struct prng *prng, const uint32_t *from, uint32_t count) {
    return from[prng_below(prng, count)];
}

/* For L2: nothing else goes wrong, so that the others' times can be compared. */
static void one_is_dead(struct knobs *knobs, struct prng *prng) {
    knobs->dead = 1 + (int)prng_below(prng, 2);
    knobs->faults = 0;
    knobs->rogue = 0;
    knobs->ops = 60;
    knobs->open_max = 8;
    knobs->call_timeout_ms = 1500;
    knobs->backoff_min_ms = 100;
    knobs->backoff_max_ms = 800;
    knobs->park_attempts = 30;
    knobs->policy_in = 0;
    knobs->run = 18 * (int64_t)SECOND;
    knobs->timeout_min_ms = 800;
    knobs->timeout_max_ms = 2000;
}

static void draw_patterns(struct knobs *knobs, uint64_t seed) {
    struct prng prng = prng_new(seed, "patterns");
    if (knobs->dead != 0)
        return;
    knobs->chores = prng_chance(&prng, 1, 2);
    knobs->hooks_in = pick(&prng, (const uint32_t[]){0, 0, 2, 4}, 4);
    knobs->posts = prng_chance(&prng, 1, 2);
    knobs->halves = prng_chance(&prng, 1, 2) && knobs->posts;
    knobs->cron = prng_chance(&prng, 1, 3);
    knobs->killers = knobs->chores && prng_chance(&prng, 1, 3);
    if (knobs->halves && prng_chance(&prng, 1, 2)) /* a check does not get its turn while a local transaction is long */
        knobs->wait_ms = prng_range(&prng, 300, 1500);
}

void knobs_draw(struct knobs *knobs, uint64_t seed) {
    struct prng prng = prng_new(seed, "knobs");
    *knobs = (struct knobs){0};
    uint32_t density = pick(&prng, (const uint32_t[]){0, 1, 2, 4}, 4); /* some seeds meet nothing but one another */
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++)
        if (prng_chance(&prng, density, 6))
            knobs->faults |= UINT32_C(1) << kind;
    uint64_t draw = prng_below(&prng, 20);
    knobs->topology = draw < 11 ? SHARED_LOG : draw < 14 ? ONE_LOG : draw < 17 ? ALL_IN_ONE : ALL_SHARED;
    knobs->loopback = prng_chance(&prng, 3, 10);
    knobs->rogue = prng_chance(&prng, 1, 2);
    knobs->pumps = pick(&prng, (const uint32_t[]){1, 1, 2, 3}, 4);
    knobs->ops = (uint32_t)prng_range(&prng, 8, 42);
    knobs->group_max = pick(&prng, (const uint32_t[]){1, 2, 8, 0}, 4);
    knobs->backoff_min_ms = prng_range(&prng, 5, 300);
    knobs->backoff_max_ms = knobs->backoff_min_ms + prng_range(&prng, 50, 4000);
    knobs->wait_ms = prng_range(&prng, 500, 10000);
    knobs->timeout_min_ms = prng_range(&prng, 50, 1000);
    knobs->timeout_max_ms = knobs->timeout_min_ms + prng_range(&prng, 100, 8000);
    knobs->latency_min = prng_range(&prng, 50, 2000);
    knobs->latency_max = knobs->latency_min + prng_range(&prng, 100, 80 * MS);
    /* A call must be able to come back in time, or nothing could ever end. */
    knobs->call_timeout_ms = 2 * knobs->latency_max / MS + prng_range(&prng, 50, 2000);
    knobs->run = prng_range(&prng, 3, 18) * SECOND;
    knobs->crash_in = pick(&prng, (const uint32_t[]){60, 200, 600}, 3);
    knobs->fault_in = pick(&prng, (const uint32_t[]){100, 400, 2000}, 3);
    knobs->loss_in = pick(&prng, (const uint32_t[]){3, 8, 30}, 3);
    knobs->stock = (uint32_t)prng_range(&prng, 5, 60);
    knobs->retention_ms = prng_chance(&prng, 1, 3) ? prng_range(&prng, 1000, 8000) : 86400000;
    knobs->park_attempts = pick(&prng, (const uint32_t[]){2, 4, 30}, 3);
    knobs->park_retry_ms = prng_range(&prng, 200, 6000);
    knobs->policy_in = pick(&prng, (const uint32_t[]){0, 2, 6}, 3);
    if (knobs->topology <= ONE_LOG && prng_chance(&prng, 1, 16))
        one_is_dead(knobs, &prng);
    knobs->person = knobs->dead == 0 && prng_chance(&prng, 1, 3);
    if (knobs->dead == 0 && prng_chance(&prng, 1, 8))
        knobs->night = prng_range(&prng, 10, 300) * 60 * SECOND;
    draw_patterns(knobs, seed);
}

void knobs_tell(struct world *world, const struct knobs *knobs) {
    char list[400] = "";
    size_t length = 0;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++)
        if (knobs_have(knobs, kind))
            length += (size_t)snprintf(list + length, sizeof list - length, " %s", names[kind]);
    tell(world, "knobs", "topology %s%s%s%s; faults:%s", topology_name(knobs->topology),
         knobs->loopback ? ", loopback" : "", knobs->rogue ? ", rogue" : "", knobs->person ? ", person" : "",
         list[0] == '\0' ? " none" : list);
    tell(world, "knobs", "pumps %u, operations %u, group_max %u, stock %u, run %lld s", knobs->pumps, knobs->ops,
         knobs->group_max, knobs->stock, (long long)(knobs->run / SECOND));
    tell(world, "knobs",
         "call_timeout %lld, backoff %lld to %lld, wait %lld, timeout %lld to %lld ms, latency %lld to %lld us",
         (long long)knobs->call_timeout_ms, (long long)knobs->backoff_min_ms, (long long)knobs->backoff_max_ms,
         (long long)knobs->wait_ms, (long long)knobs->timeout_min_ms, (long long)knobs->timeout_max_ms,
         (long long)knobs->latency_min, (long long)knobs->latency_max);
    tell(world, "knobs", "retention %lld ms, parked after %u attempts, then every %lld ms, policy one in %u",
         (long long)knobs->retention_ms, knobs->park_attempts, (long long)knobs->park_retry_ms, knobs->policy_in);
    if (knobs->night != 0)
        tell(world, "knobs", "a night of %lld minutes half way", (long long)(knobs->night / SECOND / 60));
    if (knobs->dead != 0)
        tell(world, "knobs", "participant %d is dead for most of the run, open_max %u", knobs->dead - 1,
             knobs->open_max);
    tell(world, "knobs", "chores %d, of them killers %d, hooks one in %u, messages %d, halves %d, cron %d",
         knobs->chores, knobs->killers, knobs->hooks_in, knobs->posts, knobs->halves, knobs->cron);
    tell(world, "knobs", "one in: crash %u, disk fault %u, loss %u", knobs->crash_in, knobs->fault_in, knobs->loss_in);
}

/* After the heal a transaction may still run into its deadline, be leased to a process that is gone, wait out one
 * capped back-off with its call, and queue behind a handle for the longest wait; each at most three times (L1), plus
 * the drift. */
int64_t knobs_bound(const struct knobs *knobs) {
    int64_t lease = (2 * knobs->call_timeout_ms + 1000) * MS;
    int64_t pause = knobs->backoff_max_ms > knobs->park_retry_ms ? knobs->backoff_max_ms : knobs->park_retry_ms;
    int64_t once = (knobs->call_timeout_ms * 2 + pause + knobs->wait_ms) * MS + lease;
    return knobs->timeout_max_ms * MS + 3 * once + 60 * (int64_t)SECOND;
}
