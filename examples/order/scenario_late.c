/* A slow network: an answer that comes after the deadline, and a try that comes after its own cancel. */
#include "scenarios.h"

#include <cdtx/test.h>

#include "courier.h"
#include "order_service.h"
#include "stock_service.h"
#include "story.h"

enum { DEADLINE_MS = 400, CALL_MS = 150 };

static void show_held(void *user, uint32_t kept) {
    cdtx_error err = {0};
    if (kept != 1)
        return;
    story_event("- the stock service has held the pieces, but its answer is stuck on the way");
    if (stage_show(user, "now", &err) != 0)
        story_event("- %s", err.text);
}

int32_t play_late_answer(struct stage *stage, cdtx_error *err) {
    struct courier courier;
    struct shop shop;
    courier_start(&courier);
    struct shop_options options = {.link = &courier.link, .call_timeout_ms = CALL_MS};
    int32_t rc = stage_open(stage, &shop, &options, 10, err);
    if (rc != 0)
        return rc;
    courier.mishap = COURIER_KEEPS_ANSWERS;
    courier.op = CDTX_CALL_TRY;
    courier.participant = STOCK_RESERVE;
    courier.on_keep = show_held;
    courier.user = stage;
    struct order_line line = stage_request(stage, 2);
    stage_expect(stage, stage_order(&shop, &line, DEADLINE_MS) == CDTX_TIMEOUT, "the deadline did not stop the order");
    stage_expect(stage, courier.kept > 0, "no answer was kept");
    rc = stage_settle(stage, &shop, err);
    if (rc != 0)
        goto out;
    story_why("the deadline rolled it back: the order is cancelled, the held pieces are free again");
    courier_hand_over(&courier);
    story_event("- the late answer arrives: \"yes, 2 are held\"");
    rc = stage_settle(stage, &shop, err);
    if (rc == 0)
        rc = stage_judge(stage, 0, err);
out:
    shop_close(&shop);
    return rc;
}

static int32_t play_held_try(struct stage *stage, cdtx_test_link *link, cdtx_error *err) {
    struct shop shop;
    int32_t rc = stage_open(stage, &shop, &(struct shop_options){.link = cdtx_test_link_port(link)}, 10, err);
    if (rc != 0)
        return rc;
    struct order_line line = stage_request(stage, 2);
    story_event("- the try for the stock service is stuck on the way");
    stage_expect(stage, stage_order(&shop, &line, DEADLINE_MS) == CDTX_TIMEOUT, "the deadline did not stop the order");
    rc = stage_settle(stage, &shop, err);
    if (rc != 0)
        goto out;
    story_why("the cancel overtook the try: the stock service notes an empty cancel and changes nothing");
    uint32_t late = cdtx_test_link_release(link);
    stage_expect(stage, late > 0, "no try was stuck");
    story_event("- the try arrives after its cancel, and is refused by that note");
    rc = stage_settle(stage, &shop, err);
    if (rc == 0)
        rc = stage_judge(stage, 0, err);
out:
    shop_close(&shop);
    return rc;
}

int32_t play_late_try(struct stage *stage, cdtx_error *err) {
    cdtx_test_link *link = NULL;
    int32_t rc = cdtx_test_link_new(&link, err);
    if (rc == 0)
        rc = cdtx_test_link_rule(link, STOCK_RESERVE, CDTX_CALL_TRY, CDTX_FAULT_HOLD, 1000, err);
    if (rc == 0)
        rc = play_held_try(stage, link, err);
    cdtx_test_link_free(link);
    return rc;
}
