/* kill -9 of the whole shop at a chosen moment: before the decision everything goes back, after it all goes on. */
#include "scenarios.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "courier.h"
#include "life.h"
#include "story.h"

enum { HEAR_MS = 5000, DEADLINE_MS = 60000, BRANCHES = 2 };

struct moment {
    const char *name;
    int32_t mishap, op;
    uint32_t kept; /* reached when so many were kept */
};

static const struct moment UNDECIDED = {"undecided", COURIER_KEEPS_ANSWERS, CDTX_CALL_TRY, BRANCHES};
static const struct moment DECIDED = {"decided", COURIER_KEEPS_CALLS, CDTX_CALL_CONFIRM, 1};

static void tell(void *user, uint32_t kept) {
    const struct moment *moment = user;
    if (kept == moment->kept)
        (void)printf("now\n");
}

int32_t live_until(char **argv, cdtx_error *err) {
    struct moment moment = strcmp(argv[2], UNDECIDED.name) == 0 ? UNDECIDED : DECIDED;
    struct order_line line;
    struct courier courier;
    struct shop shop;
    courier_start(&courier);
    courier.mishap = moment.mishap;
    courier.op = moment.op;
    courier.on_keep = tell;
    courier.user = &moment;
    struct shop_options options = {.link = &courier.link, .call_timeout_ms = DEADLINE_MS};
    int32_t rc = order_line_read(argv[3], strlen(argv[3]), &line, err);
    if (rc == 0)
        rc = shop_open(&shop, argv[1], &options, err);
    if (rc != 0)
        return rc;
    rc = shop_order(&shop, &line, DEADLINE_MS, NULL, err);
    shop_close(&shop);
    return rc != 0 ? rc : say_no(err, CDTX_MISUSE, "the order ended, nothing stopped it when %s", moment.name);
}

/* The first life: places the order and dies at the moment. */
static int32_t first_life(struct stage *stage, const struct moment *moment, const struct order_line *line,
                          cdtx_error *err) {
    struct life life;
    char order[ORDER_TEXT_MAX];
    (void)order_line_write(line, order);
    const char *const arguments[] = {"until", stage->folder, moment->name, order, NULL};
    int32_t rc = life_start(&life, arguments, err);
    return rc != 0 ? rc : life_kill(&life, life_hear(&life, HEAR_MS, err), NULL, err);
}

static int32_t play_kill(struct stage *stage, const struct moment *moment, int64_t sold, cdtx_error *err) {
    struct shop shop;
    int32_t rc = stage_open(stage, &shop, NULL, 10, err);
    if (rc != 0)
        return rc;
    shop_close(&shop);
    struct order_line line = stage_request(stage, 2);
    story_event("- wants %" PRId64 " %s: kill -9 of the whole shop while it is %s", line.quantity, line.sku,
                moment->name);
    rc = first_life(stage, moment, &line, err);
    if (rc == 0)
        rc = stage_show(stage, "dead", err);
    if (rc == 0)
        rc = shop_open(&shop, stage->folder, NULL, err);
    if (rc != 0)
        return rc;
    rc = stage_settle(stage, &shop, err);
    if (rc != 0)
        goto out;
    story_why(sold > 0 ? "restarted: the decision is in the log, so both are confirmed now"
                       : "restarted: the log has no decision, so both are cancelled now");
    story_event("- the customer, who got no answer, asks again with the same request");
    int32_t again = stage_order(&shop, &line, DEADLINE_MS);
    stage_expect(stage, cdtx_happened(again) == (sold > 0), "the customer got another answer than the log's");
    rc = stage_judge(stage, sold, err);
out:
    shop_close(&shop);
    return rc;
}

int32_t play_kill_undecided(struct stage *stage, cdtx_error *err) {
    return play_kill(stage, &UNDECIDED, 0, err);
}

int32_t play_kill_decided(struct stage *stage, cdtx_error *err) {
    return play_kill(stage, &DECIDED, 2, err);
}
