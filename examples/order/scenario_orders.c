/* Ordinary days: an order, a sold-out shelf, and a network that brings everything twice. */
#include "scenarios.h"

#include "courier.h"
#include "story.h"

enum { PATIENCE_MS = 10000 };

int32_t play_ordinary(struct stage *stage, cdtx_error *err) {
    struct shop shop;
    int32_t rc = stage_open(stage, &shop, NULL, 10, err);
    if (rc != 0)
        return rc;
    struct order_line line = stage_request(stage, 2);
    story_why("order.place and stock.reserve are tried, the commit is decided in the log, both are confirmed");
    stage_expect(stage, stage_order(&shop, &line, PATIENCE_MS) == 0, "an ordinary order was not confirmed");
    rc = stage_judge(stage, 2, err);
    shop_close(&shop);
    return rc;
}

int32_t play_sold_out(struct stage *stage, cdtx_error *err) {
    struct shop shop;
    int32_t rc = stage_open(stage, &shop, NULL, 3, err);
    if (rc != 0)
        return rc;
    struct order_line first = stage_request(stage, 2), second = stage_request(stage, stage->before.free);
    stage_expect(stage, stage_order(&shop, &first, PATIENCE_MS) == 0, "the first order was not confirmed");
    stage_expect(stage, stage_order(&shop, &second, PATIENCE_MS) == CDTX_REFUSED, "the second order was not refused");
    story_why("a definite no from one service: the order that the other service had placed is cancelled");
    rc = stage_judge(stage, 2, err);
    shop_close(&shop);
    return rc;
}

int32_t play_doubled(struct stage *stage, cdtx_error *err) {
    struct courier courier;
    struct shop shop;
    courier_start(&courier);
    courier.mishap = COURIER_DOUBLES;
    int32_t rc = stage_open(stage, &shop, &(struct shop_options){.link = &courier.link}, 10, err);
    if (rc != 0)
        return rc;
    story_why("every customer clicks twice, and every call between the services is delivered twice");
    for (int i = 0; i < 3; i++) {
        struct order_line line = stage_request(stage, 2);
        stage_expect(stage, stage_order(&shop, &line, PATIENCE_MS) == 0, "an order was not confirmed");
        stage_expect(stage, stage_order(&shop, &line, PATIENCE_MS) == 0, "a second click got another answer");
    }
    struct order_line greedy = stage_request(stage, stage->before.free);
    stage_expect(stage, stage_order(&shop, &greedy, PATIENCE_MS) == CDTX_REFUSED, "the last order was not refused");
    stage_expect(stage, stage_order(&shop, &greedy, PATIENCE_MS) == CDTX_REFUSED, "its second click was not refused");
    stage_expect(stage, courier.sent >= 16 && courier.delivered == 2 * courier.sent, "the calls were not doubled");
    story_event("- %u calls were sent, %u arrived", courier.sent, courier.delivered);
    rc = stage_judge(stage, 6, err);
    shop_close(&shop);
    return rc;
}
