/* A token for each confirmed order, minted by a service outside that is busy, hangs, loses answers, breaks down,
 * refuses and dies, while the shop itself is killed. */
#include "scenarios.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "chain_service.h"
#include "command.h"
#include "life.h"
#include "story.h"

enum { PATIENCE_MS = 10000, STEP_MS = 5, STEPS = 2000, PIECES = 10, ANSWER_MS = 1000, TOKENS = 5 };

struct mint_day {
    struct chain_service chain;
    struct shop_watch watch;
    struct shop_options options;
    uint32_t regrets;
    int chain_dies;  /* it is started again when that is noticed */
    int32_t trouble; /* of that start */
    cdtx_error err;
};

/* ---- what the shop's handlers tell ---- */

static void restart_chain(struct mint_day *day) {
    day->chain_dies = 0;
    day->trouble = chain_service_restart(&day->chain, &day->err);
    story_event(day->trouble == 0 ? "- the chain is started again" : "- the chain cannot be started again");
}

static void on_mint(void *user, uint32_t attempt, const struct mint_outcome *outcome) {
    struct mint_day *day = user;
    switch (outcome->answer) {
    case MINTED:
        story_event("  attempt %u: %s, %s", attempt, outcome->text, outcome->token);
        break;
    case MINT_UNKNOWN:
        story_event("  attempt %u: no answer, so it may have been minted", attempt);
        break;
    default:
        if (outcome->retry_after_ms > 0)
            story_event("  attempt %u: %s, come back in %" PRId64 " ms", attempt, outcome->text,
                        outcome->retry_after_ms);
        else
            story_event("  attempt %u: %s", attempt, outcome->text);
    }
    if (outcome->status == 0 && outcome->answer == MINT_LATER && day->chain_dies)
        restart_chain(day);
}

static void on_regret(void *user, const struct order_line *line) {
    struct mint_day *day = user;
    (void)line;
    day->regrets++;
    story_event("  the hook of the rollback: the customer is told, and nothing is minted");
}

/* ---- the chain's bad day ---- */

/* Places an order whose requests to the chain meet these mishaps, and works on until nothing is left to do. */
static int32_t order_under(struct stage *stage, struct shop *shop, struct mint_day *day,
                           const enum chain_mishap *mishaps, size_t count, cdtx_error *err) {
    struct order_line line = stage_request(stage, 1);
    int32_t rc = chain_service_script(&day->chain, mishaps, count, err);
    if (rc != 0)
        return rc;
    stage_expect(stage, stage_order(shop, &line, PATIENCE_MS) == 0, "the order was not confirmed");
    rc = stage_settle(stage, shop, err);
    if (rc == 0 && day->trouble != 0)
        *err = day->err;
    return rc != 0 ? rc : day->trouble;
}

static int32_t play_slow_and_lost(struct stage *stage, struct shop *shop, struct mint_day *day, cdtx_error *err) {
    static const enum chain_mishap slow[] = {CHAIN_BUSY, CHAIN_HANGS}, lost[] = {CHAIN_DROPS, CHAIN_FAILS};
    int32_t rc = order_under(stage, shop, day, slow, 2, err);
    if (rc != 0)
        return rc;
    story_why("every attempt names the order's gid as its key, so the chain mints once, however often it is asked");
    return order_under(stage, shop, day, lost, 2, err);
}

static int32_t play_refused(struct stage *stage, struct shop *shop, struct mint_day *day, cdtx_error *err) {
    static const enum chain_mishap refused[] = {CHAIN_REFUSES};
    int32_t rc = order_under(stage, shop, day, refused, 1, err);
    if (rc == 0)
        story_why("a definite no is not repeated: the job is given up, and kept for a person, who retries it");
    return rc;
}

/* The shop's files have one owner, so it is closed for that. */
static int32_t step_in(struct stage *stage, cdtx_error *err) {
    char job[STAGE_JOB_MAX];
    int32_t rc = stage_dead_job(stage, ORDER_MINT, "log", job, err);
    const char *const list[] = {"job", "list", "--log", "./log.db", "--state", "dead", NULL};
    const char *const retry[] = {
        "job", "retry", job, "--log", "./log.db", "--actor", "ann", "--reason", "the chain takes it now", NULL};
    if (rc == 0)
        rc = command_run(stage->folder, list, err);
    return rc != 0 ? rc : command_run(stage->folder, retry, err);
}

static int32_t play_chain_dies(struct stage *stage, struct shop *shop, struct mint_day *day, cdtx_error *err) {
    static const enum chain_mishap dies[] = {CHAIN_DIES};
    story_event("- the chain is about to die by kill -9, when it has minted and not yet answered");
    day->chain_dies = 1;
    return order_under(stage, shop, day, dies, 1, err);
}

/* Until somebody must step in. */
static int32_t play_first_half(struct stage *stage, struct mint_day *day, cdtx_error *err) {
    struct shop shop;
    int32_t rc = stage_open(stage, &shop, &day->options, PIECES, err);
    if (rc != 0)
        return rc;
    story_why("the decision of an order puts the job that mints its token, in its own commit");
    rc = play_slow_and_lost(stage, &shop, day, err);
    if (rc == 0)
        rc = play_refused(stage, &shop, day, err);
    shop_close(&shop);
    return rc != 0 ? rc : step_in(stage, err);
}

static int32_t play_second_half(struct stage *stage, struct mint_day *day, cdtx_error *err) {
    struct shop shop;
    int32_t rc = shop_open(&shop, stage->folder, &day->options, err);
    if (rc != 0)
        return rc;
    rc = stage_settle(stage, &shop, err);
    if (rc == 0)
        rc = play_chain_dies(stage, &shop, day, err);
    shop_close(&shop);
    return rc;
}

/* ---- kill -9 of the shop while the answer is on its way ---- */

int32_t live_and_mint(char **argv, cdtx_error *err) {
    struct shop shop;
    struct order_line line;
    struct shop_options options = {.chain = argv[2]};
    int32_t rc = order_line_read(argv[3], strlen(argv[3]), &line, err);
    if (rc == 0)
        rc = chain_client_start(err);
    if (rc == 0)
        rc = shop_open(&shop, argv[1], &options, err);
    if (rc != 0)
        return rc;
    rc = shop_order(&shop, &line, PATIENCE_MS, NULL, err);
    while (rc == 0)
        rc = cdtx_run(shop.engine, STEP_MS, err);
    shop_close(&shop);
    return rc;
}

/* The chain writes down what arrives, and with it the token. */
static int32_t until_minted(struct chain_service *chain, int64_t tokens, cdtx_error *err) {
    int64_t count = 0;
    for (int i = 0; i < STEPS; i++) {
        int32_t rc = chain_service_tokens(chain, NULL, &count, err);
        if (rc != 0 || count > tokens)
            return rc;
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
    return say_no(err, CDTX_TIMEOUT, "the chain was not asked");
}

static int32_t kill_while_asking(struct stage *stage, struct mint_day *day, cdtx_error *err) {
    static const enum chain_mishap hangs[] = {CHAIN_HANGS};
    struct order_line line = stage_request(stage, 1);
    struct life life;
    int64_t tokens = 0;
    char order[ORDER_TEXT_MAX];
    (void)order_line_write(&line, order);
    const char *const arguments[] = {"mint", stage->folder, day->chain.url, order, NULL};
    story_event("- wants %" PRId64
                " %s: kill -9 of the whole shop when the chain has minted and its answer is on the way",
                line.quantity, line.sku);
    int32_t rc = chain_service_script(&day->chain, hangs, 1, err);
    if (rc == 0)
        rc = chain_service_tokens(&day->chain, NULL, &tokens, err);
    if (rc == 0)
        rc = life_start(&life, arguments, err);
    if (rc != 0)
        return rc;
    rc = life_kill(&life, until_minted(&day->chain, tokens, err), NULL, err);
    return rc != 0 ? rc : stage_show(stage, "dead", err);
}

static int32_t play_killed(struct stage *stage, struct mint_day *day, cdtx_error *err) {
    struct shop shop;
    int32_t rc = kill_while_asking(stage, day, err);
    if (rc == 0)
        rc = shop_open(&shop, stage->folder, &day->options, err);
    if (rc != 0)
        return rc;
    story_why("restarted: the job is still there, and asks again with the same key");
    rc = stage_settle(stage, &shop, err);
    if (rc == 0) {
        struct order_line greedy = stage_request(stage, PIECES);
        stage_expect(stage, stage_order(&shop, &greedy, PATIENCE_MS) == CDTX_REFUSED, "the last order was not refused");
        rc = stage_settle(stage, &shop, err);
        stage_expect(stage, day->regrets == 1, "the customer of the order that was rolled back was not told");
    }
    shop_close(&shop);
    return rc;
}

static int32_t judge(struct stage *stage, int64_t tokens_before, cdtx_error *err) {
    struct balance now = {0};
    int32_t rc = stage_look(stage, &now, err);
    if (rc != 0)
        return rc;
    stage_expect(stage, now.tokens - tokens_before == TOKENS, "not each confirmed order has its token");
    return stage_judge(stage, TOKENS, err);
}

int32_t play_mint(struct stage *stage, cdtx_error *err) {
    static struct mint_day day;
    char path[4096];
    int64_t tokens = 0;
    memset(&day, 0, sizeof day);
    day.watch = (struct shop_watch){.user = &day, .on_mint = on_mint, .on_regret = on_regret};
    day.options = (struct shop_options){.chain = day.chain.url, .chain_timeout_ms = ANSWER_MS, .watch = &day.watch};
    (void)snprintf(path, sizeof path, "%s/chain.db", stage->folder);
    int32_t rc = chain_service_start(&day.chain, path, 0, err);
    if (rc != 0)
        return rc;
    rc = chain_service_tokens(&day.chain, stage->sku, &tokens, err);
    if (rc == 0)
        rc = play_first_half(stage, &day, err);
    if (rc == 0)
        rc = play_second_half(stage, &day, err);
    if (rc == 0)
        rc = play_killed(stage, &day, err);
    chain_service_stop(&day.chain);
    return rc != 0 ? rc : judge(stage, tokens, err);
}
