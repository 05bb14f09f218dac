#include "stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "stock_service.h"
#include "story.h"

enum { SETTLE_MS = 5000, STEP_MS = 10 };

struct order_line stage_request(struct stage *stage, int64_t quantity) {
    struct order_line line = {.quantity = quantity};
    (void)snprintf(line.request, sizeof line.request, "%s-%s-%u", stage->nonce, stage->sku, ++stage->asked);
    (void)snprintf(line.sku, sizeof line.sku, "%s", stage->sku);
    return line;
}

static int32_t look(const char *folder, const char *sku, struct balance *balance, cdtx_error *err) {
    struct books *books;
    int32_t rc = books_open(folder, &books, err);
    memset(balance, 0, sizeof *balance);
    if (rc == 0 && books != NULL)
        rc = books_balance(books, sku, balance, err);
    books_close(books);
    return rc;
}

static int32_t fill(struct stage *stage, struct shop *shop, int64_t pieces, cdtx_error *err) {
    int32_t rc = look(stage->folder, stage->sku, &stage->before, err);
    if (rc == 0 && stage->before.free < pieces)
        rc = stock_service_deliver(shop->stock, stage->sku, pieces - stage->before.free, err);
    if (rc == 0)
        rc = look(stage->folder, stage->sku, &stage->before, err);
    if (rc == 0)
        story_balance("before", &stage->before);
    return rc;
}

int32_t stage_open(struct stage *stage, struct shop *shop, const struct shop_options *options, int64_t pieces,
                   cdtx_error *err) {
    int32_t rc = shop_open(shop, stage->folder, options, err);
    if (rc != 0)
        return rc;
    rc = fill(stage, shop, pieces, err);
    if (rc != 0)
        shop_close(shop);
    return rc;
}

int32_t stage_order(struct shop *shop, const struct order_line *line, int64_t timeout_ms) {
    cdtx_error err = {0};
    int64_t number = 0;
    int32_t rc = shop_order(shop, line, timeout_ms, &number, &err);
    if (rc == 0 && number > 0)
        story_event("- wants %" PRId64 " %s: confirmed, order no. %" PRId64, line->quantity, line->sku, number);
    else if (rc == 0)
        story_event("- wants %" PRId64 " %s: confirmed", line->quantity, line->sku);
    else
        story_event("- wants %" PRId64 " %s: %s, %s", line->quantity, line->sku, cdtx_code_name(rc), err.text);
    return rc;
}

int32_t stage_settle(struct stage *stage, struct shop *shop, cdtx_error *err) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    struct balance now;
    for (int waited = 0; waited < SETTLE_MS; waited += STEP_MS) {
        int32_t rc = cdtx_run(shop->engine, STEP_MS, err);
        if (rc == 0)
            rc = cdtx_metrics_read(shop->engine, &metrics, err);
        if (rc == 0)
            rc = look(stage->folder, stage->sku, &now, err);
        if (rc != 0 || (metrics.in_work == 0 && now.held == 0 && now.fresh == 0 && now.jobs == 0))
            return rc;
    }
    return 0;
}

int32_t stage_look(struct stage *stage, struct balance *now, cdtx_error *err) {
    return look(stage->folder, stage->sku, now, err);
}

int32_t stage_show(struct stage *stage, const char *moment, cdtx_error *err) {
    struct balance now;
    int32_t rc = look(stage->folder, stage->sku, &now, err);
    if (rc == 0)
        story_balance(moment, &now);
    return rc;
}

void stage_expect(struct stage *stage, int condition, const char *what) {
    if (!condition && stage->wrong[0] == '\0')
        (void)snprintf(stage->wrong, sizeof stage->wrong, "%s", what);
}

int32_t stage_dead_job(struct stage *stage, const char *handler, const char *database, char job[STAGE_JOB_MAX],
                       cdtx_error *err) {
    struct books *books = NULL;
    int64_t id = 0;
    int32_t rc = books_open(stage->folder, &books, err);
    if (rc == 0 && books != NULL)
        rc = books_dead_job(books, handler, &id, err);
    books_close(books);
    stage_expect(stage, rc != 0 || id > 0, "no job was given up");
    (void)snprintf(job, STAGE_JOB_MAX, "%s/%" PRId64, database, id);
    return rc;
}

static void pronounce(struct stage *stage, const struct balance *now, int64_t sold, const cdtx_error *wrong) {
    int64_t more = now->sold - stage->before.sold;
    stage->consistent = 0;
    if (wrong->code != 0)
        story_verdict(0, "%s", wrong->text);
    else if (sold != STAGE_ANY && more != sold)
        story_verdict(0, "%" PRId64 " should have been sold, but %" PRId64 " were", sold, more);
    else if (stage->wrong[0] != '\0')
        story_verdict(0, "%s", stage->wrong);
    else
        stage->consistent = 1;
    if (!stage->consistent)
        return;
    char closed[80] = "", tokens[80] = "";
    if (now->closed > 0)
        (void)snprintf(closed, sizeof closed, "; %" PRId64 " orders closed, each given back once", now->closed);
    if (now->tokens > 0)
        (void)snprintf(tokens, sizeof tokens, "; %" PRId64 " tokens, each for one confirmed order", now->tokens);
    story_verdict(1,
                  "%" PRId64 " delivered = %" PRId64 " free + %" PRId64 " sold; %" PRId64
                  " in confirmed orders; nothing held%s%s",
                  now->delivered, now->free, now->sold, now->confirmed_pieces, closed, tokens);
}

int32_t stage_judge(struct stage *stage, int64_t sold, cdtx_error *err) {
    struct books *books = NULL;
    struct balance now;
    cdtx_error wrong = {0};
    int32_t rc = books_open(stage->folder, &books, err);
    if (rc == 0 && books == NULL)
        rc = say_no(err, CDTX_NOT_FOUND, "%s has no tables to judge", stage->folder);
    if (rc == 0)
        rc = books_balance(books, stage->sku, &now, err);
    if (rc == 0) {
        story_balance("after", &now);
        rc = books_check(books, &wrong);
        if (rc == 0 || rc == CDTX_REFUSED)
            pronounce(stage, &now, sold, &wrong);
        if (rc == CDTX_REFUSED)
            rc = 0;
        else if (rc != 0)
            *err = wrong;
    }
    books_close(books);
    return rc;
}
