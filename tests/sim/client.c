#include "client.h"

#include <cdtx/msg.h>
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "chore.h"
#include "cover.h"
#include "errand.h"
#include "hook.h"
#include "net.h"
#include "post.h"
#include "scenario.h"
#include "shop.h"
#include "weather.h"

enum { OPS_MAX = 64, OP_BRANCHES = 4 };
enum kind { KIND_RUN, KIND_SUBMIT, KIND_STEPS, KINDS };

/* One thing that a client wants. */
struct op {
    struct sim *sim;
    uint32_t number;
    enum kind kind;
    char name[24];
    char key[24];     /* "" for none */
    struct op *first; /* the one with the same key that was made first; itself otherwise */
    uint32_t count;
    struct shop_order orders[OP_BRANCHES];
    enum participant participants[OP_BRANCHES];
    int64_t timeout_ms, branch_timeout_ms;
    int32_t wait_for;
    uint32_t reverse_after; /* its policy */
    int rolls_back;         /* step by step: the client changes its mind */
    struct life *life;      /* that it was given to last */
    int submitted;
    uint32_t completions;
    char gid[CDTX_GID_MAX]; /* of the key, once known; kept in first */
};

/* How long those took that have nothing to do with the dead participant, while it lived and after (L2). */
struct times {
    int64_t longest;
    uint32_t count;
};

struct history {
    struct times alive, dead;
    struct op ops[OPS_MAX];
    uint32_t count;
};

void client_init(struct sim *sim) {
    sim->history = world_alloc(&sim->world, sizeof *sim->history);
}

/* ---- what a client remembers ---- */

/* C8: one key, one gid, as long as its outcome is kept. */
static void learn_gid(struct op *op, const char *gid) {
    struct sim *sim = op->sim;
    if (gid[0] == '\0')
        return;
    int again = op->first->gid[0] != '\0' && strcmp(op->first->gid, gid) != 0;
    if (op->first->gid[0] == '\0' || (again && check_dropped(sim, op->first->gid) && !check_dropped(sim, gid)))
        snprintf(op->first->gid, sizeof op->first->gid, "%s", gid);
    else if (again && !check_dropped(sim, gid))
        violate(&sim->world, "C8", "%s has gid %s and gid %s", op->first->name, op->first->gid, gid);
    check_told(sim, gid, OUTCOME_ANY, "gid");
}

/* What a result of run, commit or a completion says about the gid (C1, C9). A key may have been joined, so what failed
 * for a reason of this process' own says nothing about it. */
static void learn_result(struct op *op, const char *gid, int32_t code, const char *how) {
    struct sim *sim = op->sim;
    char text[40];
    snprintf(text, sizeof text, "client %s", cdtx_code_name(code));
    cover(text);
    tell(&sim->world, op->name, "%s: %s%s%s", how, cdtx_code_name(code), gid[0] == '\0' ? "" : " ", gid);
    if (code == CDTX_CORRUPT || code == CDTX_INVALID || code == CDTX_LIMIT || code == CDTX_MISUSE)
        violate(&sim->world, "C9", "%s: %s answered %s", op->name, how, cdtx_code_name(code));
    learn_gid(op, gid);
    if (gid[0] == '\0')
        return;
    int32_t happened = cdtx_happened(code);
    int own =
        code == CDTX_BUSY || code == CDTX_IO || code == CDTX_STOPPED || code == CDTX_NO_MEMORY || code == CDTX_SQL;
    if (happened == 1)
        check_told(sim, gid, OUTCOME_COMMIT, how);
    else if (happened == 0 && !(own && op->key[0] != '\0'))
        check_told(sim, gid, op->reverse_after > 0 ? OUTCOME_UNDONE : OUTCOME_ROLLBACK, how);
}

static void learn_state(struct op *op, const char *gid, int32_t code, int32_t state, const char *how) {
    struct sim *sim = op->sim;
    if (code == CDTX_NOT_FOUND || code == CDTX_INVALID || (code == CDTX_EXPIRED && !check_dropped(sim, gid)))
        violate(&sim->world, "C8", "%s of gid %s answered %s, though it was begun", how, gid, cdtx_code_name(code));
    if (code == CDTX_EXPIRED)
        cover("client CDTX_EXPIRED");
    if (code != 0 && code != CDTX_TIMEOUT)
        return;
    if (state == CDTX_TX_COMMITTED || (state == CDTX_TX_COMMITTING && op->reverse_after == 0))
        check_told(sim, gid, OUTCOME_COMMIT, how);
    else if (state == CDTX_TX_ROLLING_BACK || state == CDTX_TX_ROLLED_BACK)
        check_told(sim, gid, OUTCOME_ROLLBACK, how);
    else if (state == CDTX_TX_REVERSING || state == CDTX_TX_REVERSED)
        check_told(sim, gid, OUTCOME_REVERSED, how);
}

/* T8: what the caller sees as a try's answer is the first answer that the participant ever gave. */
static void compare_results(struct op *op, cdtx_tx *tx) {
    for (uint32_t b = 0; b < op->count; b++) {
        uint32_t expected_length;
        size_t length;
        const char *expected = check_first_answer(op->sim, cdtx_tx_gid(tx), b, &expected_length);
        const char *result = cdtx_tx_result(tx, b, &length);
        if (expected != NULL && result != NULL && (length != expected_length || memcmp(result, expected, length) != 0))
            violate(&op->sim->world, "T8", "%s: branch %u answered '%s', the caller got '%.*s'", op->name, b, expected,
                    (int)length, result);
    }
}

/* ---- L2 ---- */

static int unrelated(const struct op *op) {
    int dead = op->sim->knobs.dead;
    for (uint32_t b = 0; b < op->count; b++)
        if ((int)op->participants[b] == dead - 1)
            return 0;
    return dead != 0;
}

/* Do those who do not need the dead participant fill the part of open_max that it can not take? It may take half. */
static int full_without(const struct sim *sim) {
    uint32_t left = sim->knobs.open_max - (sim->knobs.open_max / 2 + 1);
    return check_open_without(sim, (enum participant)(sim->knobs.dead - 1)) >= left;
}

/* A dead participant neither takes the room of those who do not need it nor slows them down: they take at most twice as
 * long as before, or as two round trips and their commits may. */
static void compare_times(struct op *op, int32_t code, int64_t taken, int since_dead) {
    struct sim *sim = op->sim;
    struct times *times = since_dead ? &sim->history->dead : &sim->history->alive;
    const struct times *alive = &sim->history->alive;
    int64_t plain = 4 * sim->knobs.latency_max + 150 * MS;
    int64_t most = 2 * (alive->longest > plain ? alive->longest : plain);
    times->count++;
    if (taken > times->longest)
        times->longest = taken;
    int asked_for = code == CDTX_TIMEOUT && op->branch_timeout_ms > 0 && op->branch_timeout_ms * MS < plain;
    int by_others = code == CDTX_BUSY && full_without(sim);
    if (since_dead && (code == CDTX_BUSY || code == CDTX_TIMEOUT) && !asked_for && !by_others)
        violate(&sim->world, "L2", "%s does not need the dead participant, and was answered %s", op->name,
                cdtx_code_name(code));
    if (since_dead && taken > most)
        violate(&sim->world, "L2",
                "%s does not need the dead participant, and took %lld ms; before, %u took %lld at most", op->name,
                (long long)(taken / MS), alive->count, (long long)(alive->longest / MS));
    if (since_dead)
        cover("compared with the dead");
}

/* ---- the ways to run one ---- */

static void think(struct op *op, struct life *life) {
    struct sim *sim = op->sim;
    if (sim_fault(sim, FAULT_CLIENT_SLOW, &sim->world.work, 4))
        env_think(life, prng_range(&sim->world.work, 1, 2 * op->timeout_ms) * MS);
    else if (prng_chance(&sim->world.work, 1, 3))
        env_think(life, prng_range(&sim->world.work, 0, 20 * MS));
}

static int32_t add_branches(struct op *op, cdtx_tx *tx, cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t b = 0; rc == 0 && b < op->count; b++)
        rc = cdtx_tx_add(tx, participant_names[op->participants[b]], &op->orders[b], sizeof op->orders[b], err);
    return rc;
}

/* Asks about a gid until it is known or patience ends. */
static void ask_later(struct op *op, struct life *life) {
    int32_t state = 0;
    env_think(life, prng_range(&op->sim->world.work, 0, 500 * MS));
    if (!life->open || op->first->gid[0] == '\0')
        return;
    char gid[CDTX_GID_MAX];
    snprintf(gid, sizeof gid, "%s", op->first->gid);
    int32_t rc = cdtx_tx_wait(life->engine, gid, prng_range(&op->sim->world.work, 0, 3000), &state, NULL);
    env_alive(life);
    tell(&op->sim->world, op->name, "wait: %s, state %d", cdtx_code_name(rc), state);
    if (rc != CDTX_MISUSE)
        learn_state(op, gid, rc, state, "wait");
}

static void run_declared(struct op *op, struct life *life, cdtx_tx *tx) {
    cdtx_error err = {0};
    int64_t begun = op->sim->world.now;
    int dead = weather_dead(op->sim);
    int32_t rc = add_branches(op, tx, &err);
    if (rc == 0)
        rc = cdtx_tx_run(tx, &err);
    env_alive(life);
    if (rc == CDTX_MISUSE && !life->open)
        return; /* the engine was closed before */
    if (unrelated(op) && dead == weather_dead(op->sim))
        compare_times(op, rc, op->sim->world.now - begun, dead);
    learn_result(op, cdtx_tx_gid(tx), rc, "run");
    if (rc == 0)
        compare_results(op, tx);
    else if (rc == CDTX_UNKNOWN || prng_chance(&op->sim->world.work, 1, 4))
        ask_later(op, life);
}

static void submit_declared(struct op *op, struct life *life, cdtx_tx *tx) {
    cdtx_error err = {0};
    int32_t rc = add_branches(op, tx, &err);
    if (rc == 0)
        rc = cdtx_tx_submit(tx, &err);
    env_alive(life);
    tell(&op->sim->world, op->name, "submit: %s", cdtx_code_name(rc));
    op->submitted = rc == 0;
    if (op->submitted && prng_chance(&op->sim->world.work, 1, 2))
        env_think(life, prng_range(&op->sim->world.work, 0, 2 * SECOND));
}

static void end_steps(struct op *op, struct life *life, cdtx_tx *tx, int32_t tried) {
    cdtx_error err = {0};
    if (tried == 0 && !op->rolls_back) {
        int32_t rc = cdtx_tx_commit(tx, &err);
        env_alive(life);
        if (rc == CDTX_MISUSE && !life->open)
            return;
        learn_result(op, cdtx_tx_gid(tx), rc, "commit");
        return;
    }
    if (op->key[0] == '\0')
        check_aborted(op->sim, cdtx_tx_gid(tx));
    int32_t rc = cdtx_tx_rollback(tx, &err);
    env_alive(life);
    tell(&op->sim->world, op->name, "rollback: %s %s", cdtx_code_name(rc), rc == 0 ? "" : err.text);
    if (rc == 0)
        check_told(op->sim, cdtx_tx_gid(tx), op->reverse_after > 0 ? OUTCOME_UNDONE : OUTCOME_ROLLBACK, "rollback");
    else if (rc == CDTX_REFUSED && op->reverse_after == 0)
        check_told(op->sim, cdtx_tx_gid(tx), OUTCOME_COMMIT, "rollback refused");
}

static void run_steps(struct op *op, struct life *life, cdtx_tx *tx) {
    struct sim *sim = op->sim;
    cdtx_error err = {0};
    int32_t rc = cdtx_tx_begin(tx, &err);
    env_alive(life);
    tell(&sim->world, op->name, "begin: %s %s", cdtx_code_name(rc), cdtx_tx_gid(tx));
    if (rc != 0)
        return;
    learn_gid(op, cdtx_tx_gid(tx));
    for (uint32_t b = 0; rc == 0 && b < op->count; b++) {
        think(op, life);
        if (sim_fault(sim, FAULT_ABANDON, &sim->world.work, 6)) {
            if (op->key[0] == '\0')
                check_aborted(sim, cdtx_tx_gid(tx));
            tell(&sim->world, op->name, "leaves");
            return;
        }
        rc = cdtx_tx_try(tx, participant_names[op->participants[b]], &op->orders[b], sizeof op->orders[b], &err);
        env_alive(life);
        tell(&sim->world, op->name, "try %u: %s %s", b, cdtx_code_name(rc), rc == 0 ? "" : err.text);
        if (rc == 0 && life->open)
            hook_attach(life, tx, op->first->name, op->key[0] != '\0');
    }
    think(op, life);
    end_steps(op, life, tx, rc);
}

static void run_op(void *argument) {
    struct op *op = argument;
    struct life *life = sim_life(op->sim);
    if (!life->open)
        return;
    cdtx_tx_options options = {
        .size = sizeof options,
        .wait_for = op->wait_for,
        .name = op->first->name,
        .key = op->key[0] == '\0' ? NULL : op->key,
        .timeout_ms = op->timeout_ms,
        .tag = op->number,
        .reverse_after = op->reverse_after,
        .branch_timeout_ms = op->branch_timeout_ms,
    };
    cdtx_tx *tx = NULL;
    cdtx_error err = {0};
    int32_t rc = cdtx_tx_new(life->engine, &options, &tx, &err);
    if (rc != 0) {
        if (rc != CDTX_NO_MEMORY)
            violate(&op->sim->world, "C9", "cdtx_tx_new: %s", err.text);
        return;
    }
    hook_attach(life, tx, op->first->name, op->key[0] != '\0');
    if (op->kind == KIND_RUN)
        run_declared(op, life, tx);
    else if (op->kind == KIND_SUBMIT)
        submit_declared(op, life, tx);
    else
        run_steps(op, life, tx);
    cdtx_tx_close(tx);
}

/* ---- completions ---- */

static void complete(struct sim *sim, cdtx_work *work) {
    uint64_t tag = cdtx_work_tag(work);
    if (cdtx_work_kind(work) != CDTX_WORK_COMPLETION || tag == 0 || tag > sim->history->count) {
        violate(&sim->world, "C9", "cdtx_take gave something that nobody submitted, tag %llu", (unsigned long long)tag);
        return;
    }
    struct op *op = &sim->history->ops[tag - 1];
    if (op->kind != KIND_SUBMIT || ++op->completions > 1)
        violate(&sim->world, "C9", "%s was completed %u times", op->name, op->completions);
    cdtx_error err = {0};
    learn_result(op, cdtx_work_gid(work), cdtx_work_result(work, &err), "completion");
}

/* What one call gave out, and one call settles. */
enum { TAKE_MAX = 6 };
struct taken {
    uint32_t count;
    cdtx_work *works[TAKE_MAX];
    int32_t codes[TAKE_MAX], results[TAKE_MAX];
    struct errand *errands[TAKE_MAX];
};

static int32_t do_work(struct life *life, cdtx_work *work, struct errand **errand) {
    if (cdtx_work_kind(work) != CDTX_WORK_JOB) {
        complete(life->sim, work);
        return 0;
    }
    if (strncmp(cdtx_work_handler(work), "chore", 5) == 0)
        return chore_pulled(life, work);
    if (cdtx_msg_topic(work) != NULL)
        return post_pulled(life, work);
    return errand_pulled(life, work, errand);
}

/* What has not been begun when the engine is closed goes unanswered. */
static void settle(struct life *life, struct taken *taken) {
    for (uint32_t i = 0; i < taken->count; i++)
        taken->codes[i] = life->open ? do_work(life, taken->works[i], &taken->errands[i]) : CDTX_BUSY;
    cdtx_settle_many(taken->works, taken->codes, "it failed", taken->count, taken->results, NULL);
    env_alive(life);
    for (uint32_t i = 0; i < taken->count; i++)
        if (taken->errands[i] != NULL)
            errand_settled(taken->errands[i], taken->codes[i], taken->results[i]);
    if (taken->count > 1)
        cover("settled together");
}

static void take(void *argument) {
    struct life *life = argument;
    struct sim *sim = life->sim;
    while (life->open) {
        struct taken taken = {0};
        int64_t for_ms = prng_chance(&sim->world.work, 1, 2) ? -1 : prng_range(&sim->world.work, 200, 3000);
        uint32_t most = prng_chance(&sim->world.work, 1, 2) ? 1 : TAKE_MAX;
        int32_t rc = cdtx_take_many(life->engine, for_ms, taken.works, most, &taken.count, NULL);
        env_alive(life);
        if (prng_chance(&sim->world.work, 1, 20))
            cdtx_stop(life->engine); /* everybody inside comes out, and goes in again */
        if (taken.count > 0)
            settle(life, &taken);
        else if (rc != 0)
            env_think(life, 100 * MS);
    }
}

void client_serve(struct life *life) {
    strand_new(&life->sim->world, &life->owner, "take", take, life, 50);
}

/* ---- the workload ---- */

/* For L2: half of them need only the participant that lives. */
static void draw_one_side(struct op *op) {
    enum participant alive = op->sim->knobs.dead - 1 == ORDER ? STOCK : ORDER;
    op->kind = KIND_RUN;
    op->wait_for = CDTX_WAIT_ENDED;
    op->count = (uint32_t)prng_range(&op->sim->world.work, 1, 2);
    op->branch_timeout_ms = 0;
    for (uint32_t b = 0; b < op->count; b++)
        op->participants[b] = alive;
}

static void draw_branches(struct op *op) {
    struct sim *sim = op->sim;
    struct prng *work = &sim->world.work;
    op->count = prng_chance(work, 3, 4) ? 2 : (uint32_t)prng_range(work, 1, OP_BRANCHES);
    for (uint32_t b = 0; b < op->count; b++) {
        op->participants[b] =
            op->count == 2 ? (b == 0 ? ORDER : STOCK) : (enum participant)prng_below(work, PARTICIPANTS);
        op->orders[b] = (struct shop_order){
            .op = op->number,
            .article = (uint8_t)prng_below(work, ARTICLES),
            .quantity = (uint8_t)prng_range(work, 1, 4),
            .posts = op->reverse_after > 0 ? 0 : post_draw(sim),
        };
        if (op->reverse_after > 0 && prng_chance(work, 1, 3))
            op->orders[b].mode = prng_chance(work, 1, 2) ? SHOP_NO_AT_LAST : SHOP_NO_AT_TIMES;
    }
}

static struct op *make_op(struct sim *sim) {
    struct history *history = sim->history;
    struct prng *work = &sim->world.work;
    struct op *op = &history->ops[history->count++];
    *op = (struct op){.sim = sim, .number = history->count, .first = op, .kind = (enum kind)prng_below(work, KINDS)};
    snprintf(op->name, sizeof op->name, "op-%u", op->number);
    op->timeout_ms = prng_range(work, sim->knobs.timeout_min_ms, sim->knobs.timeout_max_ms);
    op->wait_for = prng_chance(work, 1, 3) ? CDTX_WAIT_DECIDED : CDTX_WAIT_ENDED;
    op->rolls_back = prng_chance(work, 1, 5);
    op->branch_timeout_ms = prng_chance(work, 1, 3) ? prng_range(work, 50, op->timeout_ms) : 0;
    if (sim->knobs.policy_in > 0 && prng_chance(work, 1, sim->knobs.policy_in)) {
        op->reverse_after = (uint32_t)prng_range(work, 1, 3);
        op->wait_for = CDTX_WAIT_ENDED;
    }
    draw_branches(op);
    if (sim->knobs.dead != 0 && prng_chance(work, 1, 3))
        draw_one_side(op);
    if (sim->knobs.dead != 0 || !prng_chance(work, 1, 3))
        return op;
    snprintf(op->key, sizeof op->key, "key-%llu", (unsigned long long)prng_below(work, 8));
    for (struct op *other = history->ops; other < op; other++)
        if (strcmp(other->key, op->key) == 0 && op->first == op)
            op->first = other;
    if (op->first != op) { /* the same request once more: the same branches */
        op->count = op->first->count;
        memcpy(op->orders, op->first->orders, sizeof op->orders);
        memcpy(op->participants, op->first->participants, sizeof op->participants);
        op->rolls_back = op->first->rolls_back;
        op->reverse_after = op->first->reverse_after;
        op->wait_for = op->reverse_after > 0 ? CDTX_WAIT_ENDED : op->wait_for;
        op->kind = op->first->kind == KIND_STEPS ? KIND_STEPS : op->kind == KIND_STEPS ? KIND_RUN : op->kind;
    }
    return op;
}

static struct life *any_coordinator(struct sim *sim) {
    struct life *chosen = NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct life *life = sim->nodes[i].coordinator ? node_up(&sim->nodes[i]) : NULL;
        if (life != NULL && prng_chance(&sim->world.work, 1, ++seen))
            chosen = life;
    }
    return chosen;
}

static void issue(struct world *world, void *argument, uint64_t number) {
    struct sim *sim = argument;
    (void)number;
    struct life *life = any_coordinator(sim);
    if (life == NULL) {
        world_post(world, sim->asleep ? weather_morning(sim) + MS : 50 * MS, issue, sim, 0);
        return;
    }
    struct op *op = make_op(sim);
    op->life = life;
    if (!tape_client(sim, op->number))
        return;
    static const char *const kinds[] = {"run", "submit", "steps"};
    tell(world, op->name, "%s at %s, %u branches, timeout %lld ms%s%s", kinds[op->kind], life->name, op->count,
         (long long)op->timeout_ms, op->key[0] == '\0' ? "" : ", ", op->key);
    strand_new(world, &life->owner, op->name, run_op, op, 0);
}

void client_begin(struct sim *sim) {
    struct prng *work = &sim->world.work;
    for (uint32_t i = 0; i < sim->knobs.ops; i++) {
        int64_t at = prng_range(work, 0, sim->knobs.run * 9 / 10);
        world_post(&sim->world, at < sim->knobs.run / 2 ? at : at + sim->knobs.night, issue, sim, 0);
    }
}

/* ---- the end ---- */

void client_ask_all(struct life *life) {
    struct sim *sim = life->sim;
    for (uint32_t i = 0; i < sim->history->count; i++) {
        struct op *op = &sim->history->ops[i];
        char gid[CDTX_GID_MAX] = "";
        cdtx_error err = {0};
        if (op->key[0] != '\0') {
            int32_t rc = cdtx_tx_find(life->engine, op->key, gid, &err);
            if (rc == 0)
                learn_gid(op, gid);
            else if (op->first->gid[0] != '\0' && !check_dropped(sim, op->first->gid))
                violate(&sim->world, "C8", "the key %s of gid %s is not found: %s", op->key, op->first->gid, err.text);
        }
        if (op->first->gid[0] == '\0')
            continue;
        int32_t state = 0;
        int32_t rc = cdtx_tx_query(life->engine, op->first->gid, &state, &err);
        int ended = state == CDTX_TX_COMMITTED || state == CDTX_TX_ROLLED_BACK || state == CDTX_TX_REVERSED;
        if (rc == CDTX_EXPIRED ? !check_dropped(sim, op->first->gid) : rc != 0 || !ended)
            violate(&sim->world, "C9", "%s: the last query of %s answers %s, state %d", op->name, op->first->gid,
                    cdtx_code_name(rc), state);
        learn_state(op, op->first->gid, rc, state, "last query");
    }
}

void client_final(struct sim *sim) {
    for (uint32_t i = 0; i < sim->history->count; i++) {
        const struct op *op = &sim->history->ops[i];
        if (op->submitted && op->completions == 0 && op->life->open)
            violate(&sim->world, "L1", "%s was submitted, has ended, and was never completed", op->name);
    }
}
