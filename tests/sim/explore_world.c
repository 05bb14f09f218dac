/* The small worlds: two coordinators on one log, two participants, and customers with one transaction of two branches.
 */
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "clerk.h"
#include "explore.h"
#include "mirror.h"
#include "shop.h"

enum { TIMEOUT_MS = 500, STOCK_EACH = 10 };

/* ---- customers ---- */

static uint64_t remember(uint64_t told, const char *gid, int32_t code) {
    for (; *gid != '\0'; gid++)
        told = (told ^ (uint8_t)*gid) * UINT64_C(0x100000001B3);
    return (told ^ (uint32_t)code) * UINT64_C(0x100000001B3);
}

/* An answer counts from the moment when the customer has it: a crash may follow. */
static void learn(struct customer *customer, const char *gid, int32_t code, const char *how) {
    struct sim *sim = &customer->explorer->sim;
    customer->told = remember(customer->told, gid, code);
    customer->explorer->effects[customer->side]++;
    customer->phase++;
    tell(&sim->world, "customer", "%s: %s %s", how, cdtx_code_name(code), gid);
    if (code == CDTX_CORRUPT || code == CDTX_INVALID || code == CDTX_LIMIT || code == CDTX_MISUSE)
        violate(&sim->world, "C9", "%s answered %s", how, cdtx_code_name(code));
    if (gid[0] == '\0')
        return;
    int32_t happened = cdtx_happened(code);
    check_told(sim, gid, happened == 1 ? OUTCOME_COMMIT : happened == 0 ? OUTCOME_ROLLBACK : OUTCOME_ANY, how);
}

static cdtx_tx *new_tx(struct customer *customer, struct life *life, const char *key) {
    cdtx_tx_options options = {
        .size = sizeof options,
        .name = "purchase",
        .key = key,
        .timeout_ms = customer->explorer->world->timeout_ms,
    };
    cdtx_tx *tx = NULL;
    cdtx_error err = {0};
    if (cdtx_tx_new(life->engine, &options, &tx, &err) != 0)
        violate(&customer->explorer->sim.world, "C9", "cdtx_tx_new: %s", err.text);
    return tx;
}

/* What he does next is a function of how far he is. */
static void advance(struct customer *customer, struct life *life) {
    env_alive(life);
    customer->phase++;
}

static const struct shop_order wanted = {.op = 1, .article = 1, .quantity = 2};
static const struct shop_order most = {.op = 1, .article = 1, .quantity = STOCK_EACH / 2 + 1};
static const struct shop_order hopeless = {.op = 1, .article = 1, .quantity = 2, .mode = SHOP_NO};

/* T8: the answers that the caller sees are the first ones. */
static void compare(struct customer *customer, cdtx_tx *tx) {
    struct sim *sim = &customer->explorer->sim;
    for (uint32_t b = 0; b < 2; b++) {
        uint32_t expected_length = 0;
        size_t length = 0;
        const char *expected = check_first_answer(sim, cdtx_tx_gid(tx), b, &expected_length);
        const char *result = cdtx_tx_result(tx, b, &length);
        if (expected == NULL || result == NULL || length != expected_length || memcmp(result, expected, length) != 0)
            violate(&sim->world, "T8", "branch %u answered '%s', the caller got '%.*s'", b,
                    expected == NULL ? "nothing" : expected, (int)length, result == NULL ? "" : result);
    }
}

static void buy(struct customer *customer, struct life *life, const char *key, const struct shop_order *second) {
    cdtx_error err = {0};
    cdtx_tx *tx = new_tx(customer, life, key);
    int32_t rc = tx == NULL ? CDTX_NO_MEMORY : cdtx_tx_add(tx, "order", &wanted, sizeof wanted, &err);
    if (rc == 0)
        rc = cdtx_tx_add(tx, "stock", second, sizeof *second, &err);
    if (rc == 0)
        rc = cdtx_tx_run(tx, &err);
    env_alive(life);
    learn(customer, tx == NULL ? "" : cdtx_tx_gid(tx), rc, "run");
    if (rc == 0 && key == NULL)
        compare(customer, tx);
    cdtx_tx_close(tx);
}

static void play_commit(struct customer *customer, struct life *life) {
    buy(customer, life, NULL, &wanted);
}

static void play_refused(struct customer *customer, struct life *life) {
    buy(customer, life, NULL, &hopeless);
}

/* Both branches want most of the same article: whichever comes second is refused, until the first is cancelled. */
static void play_rivals(struct customer *customer, struct life *life) {
    cdtx_error err = {0};
    cdtx_tx *tx = new_tx(customer, life, NULL);
    int32_t rc = tx == NULL ? CDTX_NO_MEMORY : cdtx_tx_add(tx, "stock", &most, sizeof most, &err);
    if (rc == 0)
        rc = cdtx_tx_add(tx, "stock", &most, sizeof most, &err);
    if (rc == 0)
        rc = cdtx_tx_run(tx, &err);
    env_alive(life);
    learn(customer, tx == NULL ? "" : cdtx_tx_gid(tx), rc, "run");
    cdtx_tx_close(tx);
}

static void play_join(struct customer *customer, struct life *life) {
    buy(customer, life, "the one purchase", &wanted);
}

/* Step by step, and so slowly that the deadline comes between the steps. */
static void play_late(struct customer *customer, struct life *life) {
    cdtx_error err = {0};
    cdtx_tx *tx = new_tx(customer, life, NULL);
    int32_t rc = tx == NULL ? CDTX_NO_MEMORY : cdtx_tx_begin(tx, &err);
    advance(customer, life);
    if (rc == 0)
        rc = cdtx_tx_try(tx, "order", &wanted, sizeof wanted, &err);
    advance(customer, life);
    tell(&customer->explorer->sim.world, "customer", "first try: %s", cdtx_code_name(rc));
    env_think(life, 3 * TIMEOUT_MS * MS / 2);
    advance(customer, life);
    if (rc == 0)
        rc = cdtx_tx_try(tx, "stock", &wanted, sizeof wanted, &err);
    advance(customer, life);
    tell(&customer->explorer->sim.world, "customer", "second try: %s %s", cdtx_code_name(rc), rc == 0 ? "" : err.text);
    if (tx != NULL && cdtx_tx_gid(tx)[0] != '\0')
        learn(customer, cdtx_tx_gid(tx), cdtx_tx_commit(tx, &err), "commit");
    advance(customer, life);
    cdtx_tx_close(tx);
}

/* Step by step with a pause in which nothing is known to the engine but the row, and then the commit. */
static void play_pause(struct customer *customer, struct life *life) {
    cdtx_error err = {0};
    cdtx_tx *tx = new_tx(customer, life, NULL);
    int32_t rc = tx == NULL ? CDTX_NO_MEMORY : cdtx_tx_begin(tx, &err);
    advance(customer, life);
    if (rc == 0)
        rc = cdtx_tx_try(tx, "order", &wanted, sizeof wanted, &err);
    advance(customer, life);
    if (rc == 0)
        rc = cdtx_tx_try(tx, "stock", &wanted, sizeof wanted, &err);
    advance(customer, life);
    env_think(life, 3 * TIMEOUT_MS * MS / 2);
    advance(customer, life);
    if (tx != NULL && cdtx_tx_gid(tx)[0] != '\0')
        learn(customer, cdtx_tx_gid(tx), cdtx_tx_commit(tx, &err), "commit");
    advance(customer, life);
    cdtx_tx_close(tx);
}

const struct explore_world explore_worlds[] = {
    {"commit", "both tries succeed", TIMEOUT_MS, 1, play_commit},
    {"refused", "the second try is refused", TIMEOUT_MS, 1, play_refused},
    {"rivals", "two branches at one participant, of which one must be refused", TIMEOUT_MS, 1, play_rivals},
    {"late", "step by step, and the deadline comes before the second branch", TIMEOUT_MS, 1, play_late},
    {"pause", "step by step, and the deadline comes before the decision", TIMEOUT_MS, 1, play_pause},
    {"join", "two customers at two coordinators with one business key", TIMEOUT_MS, 2, play_join},
};
const uint32_t explore_world_count = sizeof explore_worlds / sizeof explore_worlds[0];

static void live(void *argument) {
    struct customer *customer = argument;
    struct life *life = sim_life(&customer->explorer->sim);
    customer->explorer->world->play(customer, life);
    customer->done = 1;
}

/* ---- beginning and end ---- */

void explore_build(struct explorer *explorer, const struct explore_world *world, const char *mutant, int tell_it) {
    struct sim *sim = &explorer->sim;
    memset(explorer, 0, sizeof *explorer);
    explorer->world = world;
    sim_init(sim, 1, mutant, tell_it, 0);
    sim->world.schedule = sim->world.net = sim->world.disk = sim->world.work = sim->world.faults = (struct prng){0};
    sim->knobs = (struct knobs){
        .topology = SHARED_LOG,
        .call_timeout_ms = 200,
        .backoff_min_ms = 50,
        .backoff_max_ms = 50,
        .wait_ms = 2000,
        .timeout_min_ms = world->timeout_ms,
        .timeout_max_ms = world->timeout_ms,
        .stock = STOCK_EACH,
        .retention_ms = 7 * 86400 * INT64_C(1000),
        .park_attempts = 1000,
        .park_retry_ms = 1000,
    };
    sim_build(sim);
    while (!sim_all_up(sim) && world_run(&sim->world, sim->world.now + MS))
        continue;
    world_run(&sim->world, sim->world.now + 10 * MS);
    sim->ending = 1; /* whoever dies starts again when the explorer says so */
    for (uint32_t i = 0; i < world->customers; i++) {
        struct customer *customer = &explorer->customers[explorer->customer_count++];
        *customer = (struct customer){.explorer = explorer, .side = (int)i};
        strand_new(&sim->world, &sim->nodes[i].life->owner, "customer", live, customer, 0);
    }
}

int explore_is_over(struct explorer *explorer) {
    char why[200];
    for (uint32_t i = 0; i < explorer->customer_count; i++)
        if (!explorer->customers[i].done)
            return 0;
    return check_all_ended(&explorer->sim, why, sizeof why);
}

uint64_t explore_end(const struct explorer *explorer) {
    const struct book *book = &explorer->sim.checker->books[REAL];
    uint64_t hash = 1;
    for (int64_t i = 1; i <= book->highest; i++) {
        const struct row *row = book->rows[i];
        hash = explore_mix(explore_mix(hash, (uint64_t)row->now.state), (uint64_t)row->now.epoch);
        hash = explore_mix(explore_mix(hash, (uint64_t)row->now.acked), (uint64_t)row->now.reason);
        for (uint32_t b = 0; b < BRANCHES; b++)
            hash = explore_mix(hash, (uint64_t)row->branches[b].mark);
    }
    for (enum participant p = ORDER; p < PARTICIPANTS; p++)
        for (int64_t i = 1; i <= explorer->sim.checker->ledgers[p].last; i++)
            hash = explore_mix(hash, (uint64_t)explorer->sim.checker->ledgers[p].effects[i].op);
    for (uint32_t i = 0; i < explorer->customer_count; i++)
        hash = explore_mix(hash, explorer->customers[i].told);
    return hash;
}

void explore_settle(struct explorer *explorer) {
    struct world *world = &explorer->sim.world;
    world_run(world, world->now + 5 * SECOND);
}

struct question {
    struct explorer *explorer;
    int answered;
};

/* C9: whoever asks now gets the outcome, from either coordinator. */
static void ask(void *argument) {
    struct question *question = argument;
    struct sim *sim = &question->explorer->sim;
    struct life *life = sim_life(sim);
    const struct book *book = &sim->checker->books[REAL];
    for (int64_t i = 1; i <= book->highest; i++) {
        char gid[CDTX_GID_MAX];
        int32_t state = 0;
        cdtx_error err = {0};
        if (book->rows[i] == NULL || !book->rows[i]->stored)
            continue;
        gid_text(book->log, i, gid);
        int32_t rc = cdtx_tx_query(life->engine, gid, &state, &err);
        env_alive(life);
        if (rc != 0 || (state != CDTX_TX_COMMITTED && state != CDTX_TX_ROLLED_BACK))
            violate(&sim->world, "C9", "%s: the last query of gid %s answers %s, state %d", life->name, gid,
                    cdtx_code_name(rc), state);
        check_told(sim, gid, state == CDTX_TX_COMMITTED ? OUTCOME_COMMIT : OUTCOME_ROLLBACK, "last query");
    }
    question->answered = 1;
}

void explore_judge(struct explorer *explorer) {
    struct sim *sim = &explorer->sim;
    struct world *world = &sim->world;
    for (uint32_t n = 0; n < sim->node_count; n++) {
        if (!sim->nodes[n].coordinator)
            continue;
        struct question *question = world_alloc(world, sizeof *question);
        *question = (struct question){explorer, 0};
        strand_new(world, &sim->nodes[n].life->owner, "ask", ask, question, 0);
        if (world_run(world, world->now + 100 * MS) && !question->answered)
            violate(world, "L1", "the last query of %s takes longer than 100 ms", sim->nodes[n].name);
    }
    if (world->broken[0] != '\0')
        return;
    sim_kill_all(sim, "all is over");
    for (uint32_t i = 0; i < sim->host_count; i++)
        disk_power_loss(sim->hosts[i].disk, DISK_KEEP_NONE);
    check_final(sim);
    sim_check_alarms(sim);
}
