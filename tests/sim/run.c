/* One seed: set-up, faults, heal, everything ends within a bound, the late echo of old calls, and the residue. */
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "chore.h"
#include "clerk.h"
#include "client.h"
#include "cover.h"
#include "cron.h"
#include "errand.h"
#include "half.h"
#include "hook.h"
#include "net.h"
#include "person.h"
#include "post.h"
#include "rogue.h"
#include "scenario.h"
#include "sim.h"
#include "weather.h"

static void add_host(struct sim *sim, const char *name) {
    struct host *host = &sim->hosts[sim->host_count++];
    *host = (struct host){.sim = sim, .name = name, .disk = disk_new(name, prng_new(sim->world.seed, name))};
}

static void add_node(struct sim *sim, const char *name, uint32_t host, int coordinator, int shared, uint32_t serves) {
    struct node *node = &sim->nodes[sim->node_count++];
    *node = (struct node){
        .sim = sim,
        .name = name,
        .host = &sim->hosts[host],
        .coordinator = coordinator,
        .shared = shared,
        .serves = serves,
    };
    life_start(node, prng_range(&sim->world.schedule, 0, 30 * MS));
}

void sim_build(struct sim *sim) {
    check_init(sim);
    net_init(sim);
    client_init(sim);
    clerk_init(sim);
    errand_init(sim);
    chore_init(sim);
    hook_init(sim);
    post_init(sim);
    half_init(sim);
    rogue_init(sim);
    person_init(sim);
    int topology = sim->knobs.topology;
    int pair = topology == SHARED_LOG || topology == ALL_SHARED;
    int apart = topology == SHARED_LOG || topology == ONE_LOG;
    uint32_t both = 1U << ORDER | 1U << STOCK;
    add_host(sim, "hostC");
    if (apart) {
        add_host(sim, "hostO");
        add_host(sim, "hostS");
    }
    add_node(sim, "E0", 0, 1, pair, apart ? 0 : both);
    if (pair)
        add_node(sim, "E1", 0, 1, 1, apart ? 0 : both);
    if (apart) {
        add_node(sim, "order", 1, 0, 0, 1U << ORDER);
        add_node(sim, "stock", 2, 0, 0, 1U << STOCK);
    }
    cron_init(sim);
    cover(topology_name(topology));
    if (sim->knobs.loopback)
        cover("loopback");
    if (sim->knobs.rogue)
        cover("rogue");
}

int sim_all_up(struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (node_up(&sim->nodes[i]) == NULL || sim->nodes[i].life->owner.paused_until > sim->world.now)
            return 0;
    return 1;
}

static int all_down(const struct sim *sim) {
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].life != NULL)
            return 0;
    return 1;
}

/* Who is not up, and what its threads are. */
static void who_is_down(struct sim *sim, char *text, size_t size) {
    size_t length = (size_t)snprintf(text, size, "down:");
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const struct node *node = &sim->nodes[i];
        if (node_up(&sim->nodes[i]) != NULL || length >= size)
            continue;
        length += (size_t)snprintf(text + length, size - length, " %s,", node->name);
        for (struct strand *s = node->life == NULL ? NULL : node->life->owner.strands; s != NULL && length < size;
             s = s->next)
            length += (size_t)snprintf(text + length, size - length, " %s%s", s->role, s->word != NULL ? " waits" : "");
    }
}

/* L1: after the heal everything ends within the bound, with few further calls. */
static void run_to_the_end(struct sim *sim) {
    struct world *world = &sim->world;
    int64_t end = world->now + knobs_bound(&sim->knobs);
    char why[200] = "";
    while (!sim_all_up(sim) && world->now < end)
        if (!world_run(world, world->now + 50 * MS))
            return;
    /* What was on its way, or asleep in a slow handler, comes to its end: the last trace of the faults. */
    if (!world_run(world, world->now + 40 * sim->knobs.latency_max + 3 * SECOND))
        return;
    check_healed(sim);
    chore_heal(sim);
    post_heal(sim);
    while (!sim_all_up(sim) || !rogue_done(sim) || !check_all_ended(sim, why, sizeof why)) {
        if (world->now > end && !sim_all_up(sim))
            who_is_down(sim, why, sizeof why);
        check_locks(sim, knobs_bound(&sim->knobs));
        if (world->now > end)
            violate(world, "L1", "%lld s after the heal %s", (long long)(knobs_bound(&sim->knobs) / SECOND),
                    sim_all_up(sim) && !rogue_done(sim) ? "the rogue still waits" : why);
        if (!world_run(world, world->now + 200 * MS))
            return;
    }
    world_run(world, world->now + 6 * SECOND); /* jobs: three leases and as many pauses between attempts */
    while (!dump_quiet(sim) && world->now < end)
        if (!world_run(world, world->now + 2 * SECOND))
            return;
}

static void ask(void *argument) {
    struct life *life = argument;
    client_ask_all(life);
    person_ask(life);
    life->sim->asked = 1;
}

/* Copies of old calls come again when all is over; nobody may do anything about them. */
static void echo(struct sim *sim) {
    struct world *world = &sim->world;
    if (net_echo(sim) > 0)
        cover("echo");
    if (!world_run(world, world->now + 2 * SECOND))
        return;
    client_final(sim);
    strand_new(world, &node_up(&sim->nodes[0])->owner, "ask", ask, node_up(&sim->nodes[0]), 0);
    for (int i = 0; i < 200 && !sim->asked; i++)
        if (!world_run(world, world->now + 50 * MS))
            return;
    if (!sim->asked)
        violate(world, "L1", "the last queries take longer than 10 s");
}

static void shut(struct sim *sim) {
    struct world *world = &sim->world;
    sim->ending = 1;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (node_up(&sim->nodes[i]) != NULL)
            life_quit(sim->nodes[i].life);
    for (int i = 0; i < 400 && !all_down(sim); i++)
        if (!world_run(world, world->now + 100 * MS))
            return;
    if (!all_down(sim))
        violate(world, "L1", "a clean end takes longer than 40 s");
}

/* Only cells of the guard table that a correct coordinator never meets raise alarms. */
void sim_check_alarms(struct sim *sim) {
    uint32_t alarms = 0;
    for (const struct life *life = sim->lives; life != NULL; life = life->all)
        alarms += life->alarms;
    if (alarms > rogue_alarms(sim))
        violate(&sim->world, "T7", "%u alarms; the rogue's calls explain %u", alarms, rogue_alarms(sim));
}

static void play(struct sim *sim) {
    if (sim->knobs.night != 0 && (!world_run(&sim->world, sim->knobs.run / 2) || !weather_night(sim)))
        return;
    if (!world_run(&sim->world, sim->tape == NULL ? sim->knobs.run + sim->knobs.night : sim->tape->scenario->heal))
        return;
    weather_heal(sim);
    run_to_the_end(sim);
    if (sim->world.broken[0] == '\0')
        echo(sim);
    if (sim->world.broken[0] == '\0')
        shut(sim);
    if (sim->world.broken[0] != '\0')
        return;
    check_final(sim);
    sim_check_alarms(sim);
    for (uint32_t i = 0; i < sim->host_count; i++)
        tell(&sim->world, sim->hosts[i].name, "digest %016llx",
             (unsigned long long)disk_digest(sim->hosts[i].disk, DISK_CACHED));
}

void sim_init(struct sim *sim, uint64_t seed, const char *mutant, int tell_it, uint8_t fill) {
    memset(sim, 0, sizeof *sim);
    /* A late wake may meet a new waiter at the same address of a used stack, so which stack comes next is part of the
     * run. */
    fiber_trim();
    world_init(&sim->world, seed, tell_it);
    sim->world.after = life_reap;
    sim->world.user = sim;
    sim->mutant = mutant;
    sim->fill = fill;
    disk_reset_sqlite_random(seed);
}

void sim_kill_all(struct sim *sim, const char *why) {
    sim->ending = 1;
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].life != NULL)
            life_die(sim->nodes[i].life, why);
    life_reap(&sim->world, sim);
}

static void tear_down(struct sim *sim) {
    sim_kill_all(sim, "the run is over");
    for (uint32_t i = 0; i < sim->host_count; i++)
        disk_free(sim->hosts[i].disk);
    world_free(&sim->world);
}

static void run(uint64_t seed, const char *mutant, int tell_it, uint8_t fill, struct tape *tape,
                struct result *result) {
    static struct sim the_sim; /* too large for a stack */
    struct sim *sim = &the_sim;
    sim_init(sim, seed, mutant, tell_it, fill);
    sim->tape = tape;
    if (tape == NULL)
        knobs_draw(&sim->knobs, seed);
    else
        sim->knobs = tape->scenario->knobs;
    knobs_tell(&sim->world, &sim->knobs);
    sim->faults_on = 1;
    sim_build(sim);
    weather_begin(sim);
    client_begin(sim);
    rogue_begin(sim);
    play(sim);
    memcpy(result->broken, sim->world.broken, sizeof result->broken);
    memcpy(result->why, sim->world.why, sizeof result->why);
    result->hash = sim->world.hash;
    result->virtual_us = sim->world.now;
    result->events = sim->world.events;
    tear_down(sim);
}

void sim_run(uint64_t seed, const char *mutant, int tell_it, uint8_t fill, struct result *result) {
    run(seed, mutant, tell_it, fill, NULL, result);
}

void sim_play(struct scenario *scenario, const char *mutant, int tell_it, struct result *result) {
    struct tape tape = {.scenario = scenario};
    run(scenario->seed, mutant == NULL || mutant[0] == '\0' ? NULL : mutant, tell_it, 0, &tape, result);
}

void sim_record(struct scenario *scenario, const char *mutant, struct result *result) {
    struct tape tape = {.scenario = scenario, .records = 1};
    run(scenario->seed, mutant, 0, 0, &tape, result);
}
