#include "cron.h"

#include <cdtx/retry.h>
#include <stdio.h>

#include "attempt.h"
#include "clerk.h"
#include "cover.h"
#include "query.h"
#include "weather.h"

/* Slots are numbered from the wall clock's begin in this simulation, by their distance. */
enum { SLOTS_MAX = 4096, CALM = 8 * SECOND };
#define WALL_BEGIN_MS INT64_C(1699999200000) /* a full hour */

struct crons {
    const char *when;
    int64_t every_ms, grace_ms;
    int32_t catch_up;
    uint32_t catch_up_max;
    int64_t asked_ms; /* by the wall clock, when it was first to be added: no slot before runs; 0: not yet */
    int64_t added_ms; /* when somebody was first told that it is: every slot after is its; 0: not yet */
    /* Once its text is replaced, perhaps by one that says the same; NULL: it is not. */
    const char *then;
    int64_t then_every_ms;
    int replacing;      /* it was asked for: whoever adds the schedule from now on adds that */
    int64_t changed_ms; /* when somebody was first told so; 0: not yet */
    struct attempts slots[SLOTS_MAX];
    uint32_t effects[SLOTS_MAX];
};

/* ---- adding ---- */

static int32_t add(struct life *life, cdtx_error *err) {
    struct crons *crons = life->sim->crons;
    int replacing = crons->replacing;
    cdtx_cron_options options = {
        .size = sizeof options,
        .catch_up = crons->catch_up,
        .when = replacing ? crons->then : crons->when,
        .handler = "cron-local",
        .grace_ms = crons->grace_ms,
        .catch_up_max = crons->catch_up_max,
    };
    if (crons->asked_ms == 0)
        crons->asked_ms = host_wall_us(life->node->host) / MS;
    int32_t rc = cdtx_cron_add(life->dbs[CLERK_LOG], "clock", &options, err);
    env_alive(life);
    int64_t now_ms = host_wall_us(life->node->host) / MS;
    if (rc == 0 && crons->added_ms == 0)
        crons->added_ms = now_ms;
    if (rc == 0 && replacing && crons->changed_ms == 0)
        crons->changed_ms = now_ms;
    return rc;
}

static struct life *life_of_log(struct sim *sim) {
    struct life *found = NULL;
    for (struct life *life = sim->lives; life != NULL; life = life->all) {
        if (!life->owner.gone && !life->open)
            return NULL; /* it may be adding the text that is to be replaced */
        if (!life->owner.gone && life->dbs[CLERK_LOG] != NULL)
            found = life;
    }
    return found;
}

static void replace(void *argument) {
    struct life *life = argument;
    cdtx_error err = {0};
    life->sim->crons->replacing = 1;
    int32_t rc = add(life, &err);
    tell(&life->sim->world, life->name, "replaces the schedule's text: %s", cdtx_code_name(rc));
    if (rc == 0)
        cover("schedule replaced");
}

static void when_nobody_adds(struct world *world, void *argument, uint64_t number) {
    struct sim *sim = argument;
    struct life *life = life_of_log(sim);
    if (life != NULL)
        strand_new(world, &life->owner, "replace", replace, life, 0);
    else if (sim->faults_on)
        world_post(world, sim->asleep ? weather_morning(sim) + MS : 20 * MS, when_nobody_adds, sim, number);
}

/* Most likely about when the first slot comes. */
static void draw_change(struct sim *sim, struct prng *prng) {
    struct crons *crons = sim->crons;
    int64_t minute = 60 * (int64_t)SECOND, slot = minute - host_wall_us(&sim->hosts[0]) % minute;
    int same = prng_chance(prng, 1, 2), soon = prng_chance(prng, 3, 4);
    crons->then = same ? "*/1 * * * *" : "*/2 * * * *";
    crons->then_every_ms = same ? 60000 : 120000;
    int64_t at = soon ? slot - prng_range(prng, -200 * MS, 800 * MS) : prng_range(prng, 0, sim->knobs.run);
    world_post(&sim->world, at > 0 ? at : 0, when_nobody_adds, sim, 0);
}

void cron_init(struct sim *sim) {
    struct crons *crons = sim->crons = world_alloc(&sim->world, sizeof *sim->crons);
    struct prng prng = prng_new(sim->world.seed, "cron");
    int jumps = knobs_have(&sim->knobs, FAULT_CLOCK);
    crons->when = jumps ? "*/20 * * * *" : "* * * * *";
    crons->every_ms = jumps ? 1200000 : 60000;
    crons->catch_up = (int32_t)prng_below(&prng, 3);
    crons->catch_up_max = prng_chance(&prng, 1, 2) ? 3 : 40;
    crons->grace_ms = prng_range(&prng, 1000, 600000);
    for (uint32_t i = 0; i < sim->host_count && sim->knobs.cron; i++) /* soon it is the next minute */
        sim->hosts[i].wall_offset += prng_range(&prng, 20, 39) * SECOND;
    if (sim->knobs.cron && !jumps && prng_chance(&prng, 1, 2))
        draw_change(sim, &prng);
}

int32_t cron_tables(cdtx_sql *sql, cdtx_error *err) {
    return cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS tick (seq INTEGER PRIMARY KEY AUTOINCREMENT, slot INTEGER)",
                         NULL, err);
}

/* ---- running ---- */

static void check_slot(struct life *life, int64_t slot) {
    struct sim *sim = life->sim;
    const struct crons *crons = sim->crons;
    int replaced = crons->changed_ms > 0 && slot > crons->changed_ms;
    if (slot <= 0 || slot % (replaced ? crons->then_every_ms : crons->every_ms) != 0)
        violate(&sim->world, "cron", "%s runs slot %lld, which is none", life->name, (long long)slot);
    else if (slot > host_wall_peak_us(life->node->host, 0) / MS)
        violate(&sim->world, "cron", "slot %lld runs %lld ms before its time", (long long)slot,
                (long long)(slot - host_wall_us(life->node->host) / MS));
    else if (slot <= crons->asked_ms && !knobs_have(&sim->knobs, FAULT_CLOCK))
        violate(&sim->world, "cron", "slot %lld runs; the schedule was added %lld ms after it", (long long)slot,
                (long long)(crons->asked_ms - slot));
}

static int32_t run(cdtx_work *work, void *user, cdtx_error *err) {
    struct life *life = user;
    struct sim *sim = life->sim;
    int64_t slot = cdtx_cron_slot_ms(work), number = (slot - WALL_BEGIN_MS) / sim->crons->every_ms;
    check_slot(life, slot);
    if (number < 0 || number >= SLOTS_MAX)
        return 0; /* a clock went very far */
    struct attempts *attempts = &sim->crons->slots[number];
    *attempts =
        attempts->what != NULL ? *attempts : (struct attempts){.what = "cron", .which = CLERK_LOG, .id = number};
    attempt_begin(life, attempts, work);
    cdtx_sql_bind_int(cdtx_work_sql(work), slot);
    int32_t rc = cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO tick (slot) VALUES (?)", NULL, err);
    if (rc != 0)
        return rc;
    enum answer say = sim_fault(sim, FAULT_HANDLER_ERROR, &sim->world.faults, 5) ? SAID_FAILED : SAID_YES;
    attempt_answer(life, attempts, work, say, 0);
    cover("cron");
    return attempt_code(work, say, 0, err);
}

int32_t cron_register(struct life *life, cdtx_error *err) {
    if (!life->sim->knobs.cron || life->dbs[CLERK_LOG] == NULL)
        return 0;
    cdtx_handler_options handler = {
        .size = sizeof handler,
        .in_local = 1,
        .handler = run,
        .user = life,
        .attempts_max = 100000,
        .crashes_max = 100000,
        .lease_ms = ATTEMPT_LEASE_MS,
        .backoff_min_ms = ATTEMPT_BACKOFF_MIN_MS,
        .backoff_max_ms = ATTEMPT_BACKOFF_MAX_MS,
    };
    int32_t rc = cdtx_handler_add(life->dbs[CLERK_LOG], "cron-local", &handler, err);
    return rc != 0 ? rc : add(life, err);
}

/* ---- the end ---- */

static void read_ticks(struct sim *sim, sqlite3 *db) {
    sqlite3_stmt *s = query(db, "SELECT slot FROM tick ORDER BY seq");
    while (s != NULL && sqlite3_step(s) == SQLITE_ROW) {
        int64_t number = (sqlite3_column_int64(s, 0) - WALL_BEGIN_MS) / sim->crons->every_ms;
        if (number >= 0 && number < SLOTS_MAX && ++sim->crons->effects[number] > 1)
            violate(&sim->world, "cron", "slot %lld has run twice", (long long)sqlite3_column_int64(s, 0));
    }
    sqlite3_finalize(s);
}

/* What stands at the end; its slots begin after since_ms, 0: nobody was told so. */
struct standing {
    const char *when;
    int64_t every_ms, since_ms;
};

static struct standing standing_of(const struct crons *crons) {
    return crons->replacing ? (struct standing){crons->then, crons->then_every_ms, crons->changed_ms}
                            : (struct standing){crons->when, crons->every_ms, crons->added_ms};
}

/* How many slots after that one were run in a row, from the first that was. */
static uint32_t run_after(const struct crons *crons, int64_t number, int64_t last, int64_t step) {
    uint32_t count = 0;
    while (number <= last && crons->effects[number] == 0)
        number += step;
    for (; number <= last && crons->effects[number] > 0; number += step)
        count++;
    return count;
}

/* A slot that was not run was left out by the policy: then so many after it were not. */
static void check_left_out(struct sim *sim, const struct standing *stands, int64_t last) {
    const struct crons *crons = sim->crons;
    uint32_t least = crons->catch_up == CDTX_CATCH_UP_ALL                 ? crons->catch_up_max
                     : crons->catch_up == CDTX_CATCH_UP_ONCE              ? 1
                     : knobs_are_calm(&sim->knobs) && !sim->knobs.killers ? UINT32_MAX
                                                                          : 0;
    int64_t step = stands->every_ms / crons->every_ms;
    int64_t first = ((stands->since_ms - WALL_BEGIN_MS) / stands->every_ms + 1) * step;
    for (int64_t number = first; number >= 0 && number <= last; number += step) {
        if (crons->effects[number] > 0)
            continue;
        cover("slot left out");
        if (run_after(crons, number, last, step) < least) {
            violate(&sim->world, "cron", "slot %lld of \"%s\" was not run; policy %d, at most %u", (long long)number,
                    stands->when, crons->catch_up, crons->catch_up_max);
            return;
        }
    }
}

/* The last slot that was due a while ago is settled, unless a clock has jumped since. */
static void check_settled(struct sim *sim, const struct standing *stands, int64_t settled_ms) {
    const struct host *host = &sim->hosts[0];
    int64_t calm_ms = (host_wall_us(host) - CALM) / MS;
    int64_t slot = calm_ms - calm_ms % stands->every_ms;
    int calm = host->jumps == NULL || host->jumps->at < sim->world.now - CALM;
    if (calm && slot > stands->since_ms && slot > settled_ms)
        violate(&sim->world, "cron", "slot %lld has passed, and only those up to %lld are settled", (long long)slot,
                (long long)settled_ms);
}

void cron_final(struct sim *sim, sqlite3 *db) {
    if (!sim->knobs.cron)
        return;
    struct standing stands = standing_of(sim->crons);
    int64_t settled_ms = query_number(query(db, "SELECT settled_ms FROM cdtx_cron"));
    int64_t last = (settled_ms - WALL_BEGIN_MS) / sim->crons->every_ms;
    read_ticks(sim, db);
    if (query_number(query(db, "SELECT count(*) FROM cdtx_job WHERE handler = 'cron-local'")) != 0)
        violate(&sim->world, "L1", "jobs of the schedule are still there when all has ended");
    if (stands.since_ms == 0)
        return;
    if (last < SLOTS_MAX)
        check_left_out(sim, &stands, last);
    check_settled(sim, &stands, settled_ms);
}
