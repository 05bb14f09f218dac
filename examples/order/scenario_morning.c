/* Three in the morning: an order hangs between decision and end because a service is down, and somebody is woken. What
 * is asked here through cdtx/admin.h is what the commands named beside it ask. */
#include "scenarios.h"

#include <cdtx/admin.h>
#include <inttypes.h>

#include "courier.h"
#include "stock_service.h"
#include "story.h"

enum { CALL_MS = 20, PARK_ATTEMPTS = 3, STEP_MS = 10, STEPS = 1000, PATIENCE_MS = 10000 };
/* Columns of cdtx_tx_list and cdtx_tx_branches. */
enum { TX_PARKED = 2, TX_KEY = 4, TX_BRANCHES = 5, TX_ANSWERED = 6, BRANCH_PARTICIPANT = 1, BRANCH_ANSWERED = 2 };
enum { BRANCH_GUARD = 5 };

/* Works on until the order of that gid is parked. */
static int32_t until_parked(struct shop *shop, const char *gid, cdtx_error *err) {
    for (int i = 0; i < STEPS; i++) {
        cdtx_report *report = NULL;
        int32_t rc = cdtx_tx_show(shop->engine, gid, &report, err);
        int parked = rc == 0 && cdtx_report_next(report) && cdtx_report_type(report, TX_PARKED) == CDTX_TEXT;
        cdtx_report_close(report);
        if (rc == 0 && !parked)
            rc = cdtx_run(shop->engine, STEP_MS, err);
        if (rc != 0 || parked)
            return rc;
    }
    return say_no(err, CDTX_TIMEOUT, "%s was not parked", gid);
}

static int32_t list_parked(struct stage *stage, struct shop *shop, cdtx_error *err) {
    cdtx_tx_filter filter = {.size = sizeof filter, .parked = 1};
    cdtx_report *report = NULL;
    int found = 0;
    int32_t rc = cdtx_tx_list(shop->engine, &filter, &report, err);
    if (rc != 0)
        return rc;
    story_event("$ cdtx tx list --parked");
    for (; cdtx_report_next(report); found++)
        story_event("  %s: %" PRId64 " of %" PRId64 " branches done; %s", cdtx_report_text(report, TX_KEY, NULL),
                    cdtx_report_int(report, TX_ANSWERED), cdtx_report_int(report, TX_BRANCHES),
                    cdtx_report_text(report, TX_PARKED, NULL));
    cdtx_report_close(report);
    stage_expect(stage, found == 1, "not just the one order is parked");
    return 0;
}

static int32_t show_branches(struct shop *shop, const char *key, const char *gid, cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = cdtx_tx_branches(shop->engine, gid, &report, err);
    if (rc != 0)
        return rc;
    story_event("$ cdtx tx show %s", key);
    while (cdtx_report_next(report)) {
        const char *guard = cdtx_report_text(report, BRANCH_GUARD, NULL);
        story_event("  %s: %s, its guard is %s", cdtx_report_text(report, BRANCH_PARTICIPANT, NULL),
                    cdtx_report_int(report, BRANCH_ANSWERED) ? "done" : "not done", guard != NULL ? guard : "missing");
    }
    cdtx_report_close(report);
    return 0;
}

static int32_t step_in(struct stage *stage, struct shop *shop, struct courier *courier, const char *key,
                       cdtx_error *err) {
    char gid[CDTX_GID_MAX];
    int32_t rc = cdtx_tx_find(shop->engine, key, gid, err);
    if (rc == 0)
        rc = until_parked(shop, gid, err);
    if (rc == 0)
        rc = stage_show(stage, "stuck", err);
    if (rc == 0)
        rc = list_parked(stage, shop, err);
    if (rc == 0)
        rc = show_branches(shop, key, gid, err);
    if (rc != 0)
        return rc;
    courier->mishap = COURIER_NONE;
    story_event("- the stock service is started again");
    story_event("$ cdtx tx unpark %s --reason \"stock is up again\"", key);
    rc = cdtx_tx_unpark(shop->engine, gid, "operator", "stock is up again", err);
    return rc != 0 ? rc : stage_settle(stage, shop, err);
}

int32_t play_morning(struct stage *stage, cdtx_error *err) {
    struct courier courier;
    struct shop shop;
    courier_start(&courier);
    struct shop_options options = {.link = &courier.link, .call_timeout_ms = CALL_MS, .park_attempts = PARK_ATTEMPTS};
    int32_t rc = stage_open(stage, &shop, &options, 10, err);
    if (rc != 0)
        return rc;
    courier.mishap = COURIER_KEEPS_CALLS;
    courier.op = CDTX_CALL_CONFIRM;
    courier.participant = STOCK_RESERVE;
    struct order_line line = stage_request(stage, 2);
    stage_expect(stage, stage_order(&shop, &line, PATIENCE_MS) == 0, "the order was not decided");
    story_why("committed, but the stock service is down before its confirm: after %d attempts a person is asked",
              PARK_ATTEMPTS);
    rc = step_in(stage, &shop, &courier, line.request, err);
    if (rc == 0)
        rc = stage_judge(stage, 2, err);
    shop_close(&shop);
    return rc;
}
