/* The lives of a node: start, sudden death, clean end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "chore.h"
#include "clerk.h"
#include "client.h"
#include "cover.h"
#include "cron.h"
#include "half.h"
#include "hook.h"
#include "net.h"
#include "person.h"
#include "post.h"
#include "shop.h"
#include "sim.h"

/* ---- connections: SQLite's memory of a dead process must be given back too ---- */

/* The one run of this process; SQLite's hook for new connections carries no argument. */
static struct sim *running;

static void forget_connection(void *user) {
    struct connection *connection = user;
    *connection->before = connection->next;
    if (connection->next != NULL)
        connection->next->before = connection->before;
    free(connection);
}

static void never_called(sqlite3_context *context, int count, sqlite3_value **values) {
    (void)values;
    sqlite3_result_int(context, count);
}

static int new_connection(sqlite3 *db, char **message, const void *api) {
    (void)message;
    (void)api;
    struct life *life = running == NULL ? NULL : sim_life(running);
    if (life == NULL)
        return SQLITE_OK;
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return SQLITE_NOMEM;
    connection->db = db;
    connection->next = life->connections;
    connection->before = &life->connections;
    if (connection->next != NULL)
        connection->next->before = &connection->next;
    life->connections = connection;
    /* The function's destructor runs when the connection is closed. */
    return sqlite3_create_function_v2(db, "sim_life", 0, SQLITE_UTF8, connection, never_called, NULL, NULL,
                                      forget_connection);
}

void life_watch_connections(void) {
    sqlite3_auto_extension((void (*)(void))new_connection);
}

static void close_connections(struct life *life) {
    while (life->connections != NULL) {
        sqlite3 *db = life->connections->db;
        for (sqlite3_stmt *statement; (statement = sqlite3_next_stmt(db, NULL)) != NULL;)
            sqlite3_finalize(statement);
        sqlite3_close_v2(db);
    }
}

/* ---- death ---- */

static void restart_later(struct node *node) {
    struct sim *sim = node->sim;
    if (!sim->ending && !sim->asleep && !node->away)
        life_start(node, prng_range(&sim->world.faults, 1 * MS, sim->faults_on ? 2 * SECOND : 50 * MS));
}

void life_die(struct life *life, const char *why) {
    struct sim *sim = life->sim;
    if (life->owner.gone)
        return;
    tell(&sim->world, life->name, "dies: %s", why);
    life->owner.gone = 1;
    check_died(sim);
    life->open = life->attached = 0;
    disk_kill_life(life->disk_life);
    if (life->node->life == life)
        life->node->life = NULL;
    life->dead = sim->dead;
    sim->dead = life;
}

void life_power_loss(struct host *host) {
    struct sim *sim = host->sim;
    tell(&sim->world, host->name, "loses power");
    disk_power_loss(host->disk, DISK_KEEP_SOME);
    for (uint32_t i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].host == host && sim->nodes[i].life != NULL)
            life_die(sim->nodes[i].life, "no power");
    host->boot = sim->world.now - prng_range(&sim->world.faults, 1, 10 * SECOND);
}

void life_reap(struct world *world, void *user) {
    struct sim *sim = user;
    (void)world;
    while (sim->dead != NULL) {
        struct life *life = sim->dead;
        sim->dead = life->dead;
        for (struct strand *strand = life->owner.strands; strand != NULL; strand = strand->next) {
            strand->done = 1;
            fiber_free(strand->fiber);
            strand->fiber = NULL;
        }
        life->owner.strands = NULL;
        close_connections(life);
        env_free(life);
        life->reaped = 1;
        restart_later(life->node);
    }
}

/* ---- birth ---- */

static void pump(void *argument) {
    struct life *life = argument;
    while (life->open) {
        cdtx_error err = {0};
        int32_t rc = cdtx_run(life->engine, -1, &err);
        env_alive(life);
        if (rc == 0 || !life->open)
            continue;
        /* A database that stopped itself: what a service does is to end, and to start again. */
        tell(&life->sim->world, life->name, "cdtx_run: %s", err.text);
        if (prng_chance(&life->sim->world.schedule, 1, 2))
            life_quit(life);
        else
            life_die(life, "its database stopped");
        env_alive(life);
        return;
    }
}

static int others_left(const struct life *life) {
    return life->owner.strands != NULL &&
           (life->owner.strands->next != NULL || life->owner.strands != life->sim->world.current);
}

static int32_t open_engine(struct life *life, cdtx_error *err) {
    const struct knobs *knobs = &life->sim->knobs;
    char url[120];
    snprintf(url, sizeof url, "sqlite:log.db?vfs=%s%s", life->vfs, life->node->shared ? "&share=1" : "");
    cdtx_options options = {
        .size = sizeof options,
        .log = life->node->coordinator ? url : NULL,
        .env = &life->env,
        .link = life->node->serves != 0 ? NULL : &life->link,
        .open_max = knobs->open_max,
        .group_max = knobs->group_max,
        .call_timeout_ms = knobs->call_timeout_ms,
        .backoff_min_ms = knobs->backoff_min_ms,
        .backoff_max_ms = knobs->backoff_max_ms,
        .wait_ms = knobs->wait_ms,
        .retention_ms = knobs->retention_ms,
        .park_attempts = knobs->park_attempts,
        .park_retry_ms = knobs->park_retry_ms,
        .closure_ms = 3600000,
        .coordinator = knobs->loopback ? "loopback" : "local",
        .threads = knobs->pumps > 2 ? 1 : 0,
    };
    return cdtx_open(&options, &life->engine, err);
}

static int32_t make_log_tables(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    int32_t rc = clerk_tables(sql, err);
    if (rc == 0)
        rc = hook_tables(sql, err);
    return rc != 0 ? rc : cron_tables(sql, err);
}

/* Business tables may live in the log too. */
static int32_t open_log(struct life *life, cdtx_error *err) {
    int32_t rc = cdtx_db_log(life->engine, &life->dbs[CLERK_LOG], err);
    if (rc == 0)
        rc = cdtx_local(life->dbs[CLERK_LOG], make_log_tables, NULL, err);
    return rc != 0 ? rc : clerk_serve(life, CLERK_LOG, err);
}

static void close_engine(struct life *life) {
    int handles_first = prng_chance(&life->sim->world.schedule, 1, 2); /* any order is allowed */
    if (!handles_first)
        cdtx_close(life->engine);
    for (int which = 0; which < CLERKS; which++) {
        cdtx_db_close(life->dbs[which]);
        life->dbs[which] = NULL;
    }
    if (handles_first)
        cdtx_close(life->engine);
    life->engine = NULL;
    env_alive(life);
}

static int32_t open_all(struct life *life, cdtx_error *err) {
    life->engines++;
    int32_t rc = open_engine(life, err);
    env_alive(life);
    if (rc != 0)
        return rc;
    life->attached = 1;
    for (int p = 0; rc == 0 && p < PARTICIPANTS; p++)
        if (life->node->serves >> p & 1)
            rc = shop_open(life, (enum participant)p, err);
    if (rc == 0 && life->node->coordinator)
        rc = open_log(life, err);
    if (rc == 0)
        rc = chore_register(life, err);
    if (rc == 0)
        rc = hook_register(life, err);
    if (rc == 0)
        rc = post_register(life, err);
    if (rc == 0)
        rc = half_register(life, err);
    if (rc == 0)
        rc = cron_register(life, err);
    env_alive(life);
    if (rc != 0) {
        life->attached = 0;
        life->quit = 1; /* the clerks of this attempt */
        close_engine(life);
        while (others_left(life))
            env_think(life, 20 * MS);
        life->quit = 0;
    }
    return rc;
}

static void open_until_it_works(struct life *life) {
    struct sim *sim = life->sim;
    for (uint32_t attempt = 1;; attempt++) {
        cdtx_error err = {0};
        int32_t rc = open_all(life, &err);
        if (rc == 0)
            return;
        tell(&sim->world, life->name, "cannot open: %s: %s", cdtx_code_name(rc), err.text);
        if (rc == CDTX_CORRUPT || rc == CDTX_INVALID || rc == CDTX_UNSUPPORTED || rc == CDTX_CONFLICT)
            violate(&sim->world, "C2", "%s cannot open its databases: %s", life->name, err.text);
        if (attempt == 200 && !sim->faults_on)
            violate(&sim->world, "L1", "%s cannot open its databases for long: %s", life->name, err.text);
        env_think(life, prng_range(&sim->world.schedule, 5 * MS, 300 * MS));
    }
}

static void end_cleanly(struct life *life) {
    struct sim *sim = life->sim;
    tell(&sim->world, life->name, "ends");
    life->open = 0;
    close_engine(life);
    for (int i = 0; others_left(life); i++) {
        if (i == 3000)
            violate(&sim->world, "L1", "%s: a call has not returned long after cdtx_close", life->name);
        env_think(life, 20 * MS);
    }
    if (life->block_count != 0)
        violate(&sim->world, "memory", "%s leaves %zu blocks of memory after cdtx_close", life->name,
                life->block_count);
    if (life->connections != NULL || disk_life_handles(life->disk_life) != 0)
        violate(&sim->world, "memory", "%s leaves connections or files open after cdtx_close", life->name);
    life_die(life, "a clean end");
    strand_end(&sim->world);
}

/* The first thread of the process. */
static void live(void *argument) {
    struct life *life = argument;
    open_until_it_works(life);
    life->open = 1;
    tell(&life->sim->world, life->name, "is up");
    for (uint32_t i = 0; i < life->sim->knobs.pumps; i++)
        strand_new(&life->sim->world, &life->owner, "pump", pump, life, (int64_t)i);
    client_serve(life);
    person_serve(life);
    life->main = life->sim->world.current;
    while (!life->quit)
        strand_park(&life->sim->world);
    life->main = NULL;
    end_cleanly(life);
}

void life_quit(struct life *life) {
    life->quit = 1;
    life->open = 0;
    if (life->main != NULL)
        strand_resume(life->main, 0);
}

struct life *node_up(struct node *node) {
    return node->life != NULL && node->life->open ? node->life : NULL;
}

static void start(struct world *world, void *argument, uint64_t number) {
    struct node *node = argument;
    struct sim *sim = node->sim;
    (void)number;
    running = sim;
    node->starting = 0;
    if (sim->ending || sim->asleep || node->away || node->life != NULL)
        return;
    struct life *life = world_alloc(world, sizeof *life);
    life->sim = sim;
    life->node = node;
    life->number = ++node->lives;
    snprintf(life->name, sizeof life->name, "%s.%u", node->name, life->number);
    life->disk_life = disk_life_new(node->host->disk, &life->vfs);
    life->all = sim->lives;
    sim->lives = life;
    env_init(life);
    net_link(life);
    node->life = life;
    tell(world, life->name, "starts");
    strand_new(world, &life->owner, "main", live, life, 0);
}

void life_start(struct node *node, int64_t delay) {
    if (node->starting)
        return;
    node->starting = 1;
    world_post(&node->sim->world, delay, start, node, 0);
}
