#include "weather.h"

#include <stdio.h>

#include "cover.h"
#include "scenario.h"

/* ---- disks ---- */

static struct life *life_of(struct sim *sim, const struct disk_life *disk_life) {
    for (struct life *life = sim->lives; life != NULL; life = life->all)
        if (life->disk_life == disk_life)
            return life;
    return NULL;
}

static int disk_weather(void *user, const struct disk_call *call) {
    struct host *host = user;
    struct sim *sim = host->sim;
    struct prng *disk = &sim->world.disk;
    uint64_t in = sim->knobs.fault_in;
    struct life *life = sim->faults_on ? life_of(sim, call->life) : NULL;
    if (life == NULL || life->owner.gone)
        return DISK_PASS;
    int verdict = DISK_PASS;
    int writes =
        call->op == DISK_WRITE || call->op == DISK_SYNC || call->op == DISK_TRUNCATE || call->op == DISK_DELETE;
    if (writes && sim_fault(sim, FAULT_DIE_WRITING, disk, in)) {
        verdict = prng_chance(disk, 1, 2) ? DISK_DIE_BEFORE : DISK_DIE_AFTER;
        life_die(life, "at a disk operation");
    } else if (call->op == DISK_SYNC && (life->sync_fails || sim_fault(sim, FAULT_SYNC, disk, in / 2 + 1))) {
        verdict = DISK_FAIL_SYNC;
        life->sync_fails = 0;
    } else if (call->op == DISK_WRITE && sim_fault(sim, FAULT_DISK_FULL, disk, in)) {
        verdict = prng_chance(disk, 1, 2) ? DISK_FAIL_FULL : DISK_SHORT_WRITE;
    } else if (sim_fault(sim, FAULT_DISK_ERROR, disk, 4 * in)) {
        verdict = DISK_FAIL_IO;
    }
    if (verdict == DISK_PASS)
        return verdict;
    life->doubtful = 1;
    tell(&sim->world, life->name, "disk fault %d at operation %d on %s", verdict, (int)call->op, call->file);
    return verdict;
}

static int64_t disk_clock(void *user) {
    return host_wall_us(user);
}

/* ---- what happens by itself ---- */

static struct node *any_node(struct sim *sim) {
    return &sim->nodes[prng_below(&sim->world.faults, sim->node_count)];
}

static void crash(struct sim *sim) {
    struct node *node = any_node(sim);
    if (node->life != NULL)
        life_die(node->life, "kill -9");
}

static void restart(struct sim *sim) {
    struct life *life = node_up(any_node(sim));
    if (life != NULL)
        life_quit(life);
}

static void power(struct sim *sim) {
    life_power_loss(&sim->hosts[prng_below(&sim->world.faults, sim->host_count)]);
}

static void stand_still(struct sim *sim) {
    struct life *life = any_node(sim)->life;
    int64_t length = prng_range(&sim->world.faults, 10 * MS, 12 * SECOND);
    int64_t left = sim->knobs.run + sim->knobs.night - sim->world.now; /* it is a fault, and faults end with the heal */
    if (life == NULL)
        return;
    length = length < left ? length : left;
    tell(&sim->world, life->name, "stands still for %lld ms", (long long)(length / MS));
    life->owner.paused_until = sim->world.now + length;
}

static void step_clock(struct sim *sim) {
    struct host *host = &sim->hosts[prng_below(&sim->world.faults, sim->host_count)];
    int64_t most = prng_chance(&sim->world.faults, 1, 2) ? SECOND : 86400 * (int64_t)SECOND;
    int64_t step = prng_range(&sim->world.faults, -most, most);
    host_jump(host, step);
    tell(&sim->world, host->name, "its wall clock jumps by %lld ms", (long long)(step / MS));
}

static void unclog(struct world *world, void *argument, uint64_t from) {
    struct node *node = argument;
    (void)world;
    node->clogged[from] = 0;
}

static void clog_path(struct sim *sim) {
    struct node *to = any_node(sim);
    uint64_t from = prng_below(&sim->world.faults, sim->node_count);
    to->clogged[from] = 1;
    world_post(&sim->world, prng_range(&sim->world.faults, 50 * MS, 6 * SECOND), unclog, to, from);
}

static const struct {
    enum fault_kind kind;
    void (*happen)(struct sim *sim);
    int64_t every; /* on average, microseconds */
} kinds[] = {
    {FAULT_CRASH_TIME, crash, 3 * SECOND},  {FAULT_RESTART, restart, 5 * SECOND},  {FAULT_POWER, power, 6 * SECOND},
    {FAULT_PAUSE, stand_still, 4 * SECOND}, {FAULT_CLOCK, step_clock, 3 * SECOND}, {FAULT_CLOG, clog_path, 2 * SECOND},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

int64_t weather_morning(const struct sim *sim) {
    int64_t morning = sim->knobs.run / 2 + sim->knobs.night;
    return sim->knobs.night != 0 && sim->world.now < morning ? morning - sim->world.now : 0;
}

static void blow(struct world *world, void *argument, uint64_t which) {
    struct sim *sim = argument;
    if (!sim->faults_on)
        return;
    if (sim->asleep) {
        world_post(world, weather_morning(sim) + prng_range(&world->faults, 1, 2 * kinds[which].every), blow, sim,
                   which);
        return;
    }
    if (tape_happens(sim, kinds[which].kind, 1)) {
        cover(fault_name(kinds[which].kind));
        kinds[which].happen(sim);
    }
    world_post(world, prng_range(&world->faults, 0, 2 * kinds[which].every), blow, sim, which);
}

int weather_dead(const struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].away)
            return 1;
    return 0;
}

/* A participant goes, and does not come back until all is healed. */
static void take_away(struct world *world, void *argument, uint64_t participant) {
    struct sim *sim = argument;
    (void)world;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].serves == 1U << participant) {
            sim->nodes[i].away = 1;
            cover("dead participant");
            if (sim->nodes[i].life != NULL)
                life_die(sim->nodes[i].life, "for long");
        }
}

void weather_begin(struct sim *sim) {
    struct world *world = &sim->world;
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct host *host = &sim->hosts[i];
        disk_set_fault(host->disk, disk_weather, host);
        disk_set_clock(host->disk, disk_clock, host);
        host->boot = -prng_range(&world->faults, 0, 1000 * (int64_t)SECOND);
        if (knobs_have(&sim->knobs, FAULT_DRIFT)) {
            host->ppm = prng_range(&world->faults, -50000, 50000);
            cover(fault_name(FAULT_DRIFT));
        }
    }
    if (sim->knobs.dead != 0)
        world_post(world, sim->knobs.run / 3, take_away, sim, (uint64_t)sim->knobs.dead - 1);
    for (uint64_t which = 0; which < KINDS; which++)
        if (knobs_have(&sim->knobs, kinds[which].kind))
            world_post(world, prng_range(&world->faults, 0, 2 * kinds[which].every), blow, sim, which);
}

int weather_night(struct sim *sim) {
    struct world *world = &sim->world;
    cover("night");
    tell(world, "world", "goes to sleep");
    sim->asleep = 1;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].life != NULL)
            life_quit(sim->nodes[i].life);
    if (!world_run(world, world->now + 60 * SECOND))
        return 0;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].life != NULL)
            life_die(sim->nodes[i].life, "it does not end before the night");
    if (!world_run(world, world->now + weather_morning(sim)))
        return 0;
    sim->asleep = 0;
    tell(world, "world", "wakes up");
    for (uint32_t i = 0; i < sim->node_count; i++)
        life_start(&sim->nodes[i], prng_range(&world->faults, 1 * MS, 2 * SECOND));
    return 1;
}

/* The last jump, when those who only wait for a time of day have nothing else to wake them. */
static void set_ahead(struct world *world, void *argument, uint64_t number) {
    struct sim *sim = argument;
    (void)number;
    for (uint32_t i = 0; i < sim->host_count; i++)
        host_jump(&sim->hosts[i], prng_range(&world->faults, 0, 86400 * (int64_t)SECOND));
    tell(world, "world", "sets its wall clocks ahead");
}

void weather_heal(struct sim *sim) {
    if (knobs_have(&sim->knobs, FAULT_CLOCK))
        world_post(&sim->world, 2 * SECOND, set_ahead, sim, 0);
    sim->faults_on = 0;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].away) {
            sim->nodes[i].away = 0;
            life_start(&sim->nodes[i], 10 * MS);
        }
    tell(&sim->world, "world", "is healed");
}
