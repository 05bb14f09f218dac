/* The environment of a life: virtual clocks, fibers for threads, memory that is gone with the process, and failpoints
 * as places where a process may stop for a while or for ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "clerk.h"
#include "cover.h"
#include "half.h"
#include "scenario.h"
#include "sim.h"

enum { SPINS_MAX = 3000000 };

struct block {
    struct block *next, **before;
    size_t size;
    max_align_t bytes[];
};

int sim_fault(struct sim *sim, enum fault_kind kind, struct prng *prng, uint64_t in) {
    if (!sim->faults_on || sim->looking || !knobs_have(&sim->knobs, kind) ||
        !tape_happens(sim, kind, prng_chance(prng, 1, in)))
        return 0;
    cover(fault_name(kind));
    return 1;
}

struct life *sim_life(struct sim *sim) {
    struct strand *strand = sim->world.current;
    return strand == NULL ? NULL : (struct life *)(void *)strand->owner; /* owner is a life's first member */
}

void env_alive(struct life *life) {
    if (life->owner.gone && life->sim->world.current != NULL && life->sim->world.current->owner == &life->owner)
        strand_end(&life->sim->world);
}

void env_think(struct life *life, int64_t delay) {
    env_alive(life);
    life->spins = 0;
    strand_sleep(&life->sim->world, delay);
    env_alive(life);
}

/* ---- clocks: per host ---- */

int64_t host_monotonic_us(const struct host *host) {
    int64_t since = host->sim->world.now - host->boot;
    return since + since / 1000 * host->ppm / 1000;
}

int64_t host_wall_us(const struct host *host) {
    return INT64_C(1700000000) * SECOND + host->sim->world.now + host->wall_offset;
}

void host_jump(struct host *host, int64_t step) {
    struct jump *jump = world_alloc(&host->sim->world, sizeof *jump);
    *jump = (struct jump){host->jumps, host->sim->world.now, step, host_wall_us(host)};
    host->jumps = jump;
    host->wall_offset += step;
}

int64_t host_wall_peak_us(const struct host *host, int64_t since) {
    int64_t peak = host_wall_us(host);
    for (const struct jump *jump = host->jumps; jump != NULL && jump->at >= since; jump = jump->next)
        peak = jump->wall > peak ? jump->wall : peak;
    return peak;
}

int host_jumped_ahead(const struct host *host, int64_t since) {
    for (const struct jump *jump = host->jumps; jump != NULL && jump->at >= since; jump = jump->next)
        if (jump->step > 0)
            return 1;
    return 0;
}

/* How long until the host's clock shows that time. */
static int64_t delay_until(const struct host *host, int64_t until) {
    int64_t left = until - host_monotonic_us(host);
    if (left <= 0)
        return 0;
    int64_t delay = left > INT64_MAX / 2000000 ? left : left * 1000000 / (1000000 + host->ppm);
    return delay + 1001; /* a clock with drift moves in small steps */
}

static int64_t monotonic_us(void *user) {
    struct life *life = user;
    if (++life->spins > SPINS_MAX) {
        violate(&life->sim->world, "L1", "%s reads the clock for ever without waiting", life->name);
        strand_end(&life->sim->world);
    }
    return host_monotonic_us(life->node->host);
}

static int64_t wall_us(void *user) {
    const struct life *life = user;
    return host_wall_us(life->node->host);
}

static int32_t random_bytes(void *user, void *bytes, size_t length) {
    struct life *life = user;
    prng_bytes(&life->random, bytes, length);
    return 0;
}

/* ---- memory ---- */

static void unlink_block(struct life *life, struct block *block) {
    *block->before = block->next;
    if (block->next != NULL)
        block->next->before = block->before;
    life->block_count--;
}

static void link_block(struct life *life, struct block *block) {
    block->next = life->blocks;
    block->before = &life->blocks;
    if (block->next != NULL)
        block->next->before = &block->next;
    life->blocks = block;
    life->block_count++;
}

static void *memory(void *user, void *old, size_t old_size, size_t new_size) {
    struct life *life = user;
    struct block *block = old == NULL ? NULL : (struct block *)(void *)((char *)old - offsetof(struct block, bytes));
    if (block != NULL && block->size != old_size)
        violate(&life->sim->world, "memory", "%s gives back %zu bytes that were %zu", life->name, old_size,
                block->size);
    struct block *fresh = NULL;
    if (new_size > old_size && sim_fault(life->sim, FAULT_MEMORY, &life->sim->world.faults, 4000)) {
        tell(&life->sim->world, life->name, "no memory for %zu bytes", new_size);
        return NULL;
    }
    if (new_size != 0) {
        fresh = malloc(sizeof *fresh + new_size);
        if (fresh == NULL)
            abort();
        fresh->size = new_size;
        size_t keep = block == NULL ? 0 : old_size < new_size ? old_size : new_size;
        if (keep > 0)
            memcpy(fresh->bytes, old, keep);
        memset((char *)fresh->bytes + keep, life->sim->fill, new_size - keep);
        link_block(life, fresh);
    }
    if (block != NULL) {
        unlink_block(life, block);
        free(block);
    }
    return fresh == NULL ? NULL : fresh->bytes;
}

void env_free(struct life *life) {
    while (life->blocks != NULL) {
        struct block *block = life->blocks;
        unlink_block(life, block);
        free(block);
    }
}

/* ---- threads and waiting ---- */

static int32_t wait_word(void *user, uint32_t *word, uint32_t seen, int64_t until_us) {
    struct life *life = user;
    struct world *world = &life->sim->world;
    env_alive(life);
    if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != seen)
        return 0;
    struct strand *self = world->current;
    life->spins = 0;
    self->word = word;
    if (until_us != INT64_MAX)
        strand_resume(self, delay_until(life->node->host, until_us));
    if (sim_fault(life->sim, FAULT_SPURIOUS, &world->schedule, 6))
        strand_resume(self, prng_range(&world->schedule, 0, 20 * MS));
    strand_park(world);
    self->word = NULL;
    env_alive(life);
    return 0;
}

static void wake_word(void *user, uint32_t *word, uint32_t count) {
    struct life *life = user;
    struct prng *prng = &life->sim->world.schedule;
    env_alive(life);
    for (; count > 0; count--) {
        struct strand *chosen = NULL;
        uint64_t seen = 0;
        for (struct strand *s = life->owner.strands; s != NULL; s = s->next)
            if (s->word == word && prng_chance(prng, 1, ++seen)) /* each waiter is as likely */
                chosen = s;
        if (chosen == NULL)
            return;
        chosen->word = NULL;
        strand_resume(chosen, prng_range(prng, 0, 60));
    }
}

static int32_t spawn(void *user, void (*body)(void *argument), void *argument, uint64_t *thread) {
    struct life *life = user;
    struct world *world = &life->sim->world;
    env_alive(life);
    *thread = strand_new(world, &life->owner, "thread", body, argument, prng_range(&world->schedule, 1, 100))->id;
    return 0;
}

static void join(void *user, uint64_t thread) {
    struct life *life = user;
    for (;;) {
        struct strand *s = life->owner.strands;
        while (s != NULL && s->id != thread)
            s = s->next;
        if (s == NULL)
            return;
        env_think(life, 500);
    }
}

static uint64_t self(void *user) {
    const struct life *life = user;
    return life->sim->world.current->id;
}

static uint64_t process(void *user) {
    const struct life *life = user;
    return (uint64_t)(life->node - life->sim->nodes + 1) * 1000 + life->number;
}

static void log_line(void *user, int32_t level, const char *line) {
    struct life *life = user;
    static const char *const levels[] = {"ALARM", "warning", "info", "debug"};
    if (life->owner.gone || level > CDTX_LOG_WARNING)
        return;
    tell(&life->sim->world, life->name, "%s: %s", levels[level], line);
    if (level == CDTX_LOG_ALARM && strstr(line, "found its guard") != NULL)
        life->alarms++;
    else if (level == CDTX_LOG_ALARM && strncmp(line, "half message", 12) == 0)
        half_parked(life->sim, line);
    else if (level == CDTX_LOG_ALARM && strstr(line, "is parked") != NULL)
        check_parked(life->sim, line);
    else if (level == CDTX_LOG_ALARM && strstr(line, "stopped itself") == NULL)
        violate(&life->sim->world, "T7", "%s raises an alarm that nothing explains: %s", life->name, line);
}

/* ---- failpoints ---- */

/* What the look at the next commit is to see. */
static int writes_leases(const char *name) {
    static const char *const names[] = {"retry.claim", "retry.complete", "msg.half_put", "msg.end_recv", "msg.park"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            return 1;
    return 0;
}

static int32_t failpoint(void *user, const char *name) {
    struct life *life = user;
    struct sim *sim = life->sim;
    struct world *world = &sim->world;
    if (strncmp(name, "mutant:", 7) == 0)
        return sim->mutant != NULL && strcmp(name + 7, sim->mutant) == 0;
    env_alive(life);
    if (strcmp(name, "store.commit.after") == 0)
        check_commit(life);
    cover(name);
    if (writes_leases(name))
        for (int which = 0; which < CLERKS; which++)
            if (life->dbs[which] != NULL)
                check_touched(sim, which, TOUCH_LEASES);
    if (strcmp(name, "drive.decide") == 0 && sim_fault(sim, FAULT_SYNC, &world->faults, 25))
        life->sync_fails = 1; /* most likely the decision's */
    world->current->at = name;
    if (sim_fault(sim, FAULT_CRASH_POINT, &world->faults, sim->knobs.crash_in)) {
        life_die(life, name);
        strand_end(world);
    }
    if (sim_fault(sim, FAULT_YIELD, &world->schedule, 50))
        env_think(life, prng_range(&world->schedule, 1, 3 * SECOND));
    else if (prng_chance(&world->schedule, 1, 6))
        env_think(life, prng_range(&world->schedule, 0, 3 * MS));
    world->current->at = NULL;
    return 0;
}

void env_init(struct life *life) {
    life->env = (cdtx_env){
        .size = sizeof life->env,
        .user = life,
        .monotonic_us = monotonic_us,
        .wall_us = wall_us,
        .random = random_bytes,
        .memory = memory,
        .wait = wait_word,
        .wake = wake_word,
        .spawn = spawn,
        .join = join,
        .self = self,
        .process = process,
        .log = log_line,
        .failpoint = failpoint,
    };
    life->random = prng_new(life->sim->world.seed, life->name);
}
