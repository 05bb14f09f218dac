#include "mint.h"

#include <string.h>

enum { BACKOFF_MIN_MS = 20, BACKOFF_MAX_MS = 200 };

struct minted {
    const char *request, *token;
};

/* A repeat finds its own token there. */
static int32_t record(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct minted *minted = user;
    int64_t changes = 0;
    size_t length = strlen(minted->token);
    cdtx_sql_bind_text(sql, minted->token, length);
    cdtx_sql_bind_text(sql, minted->request, strlen(minted->request));
    cdtx_sql_bind_text(sql, minted->token, length);
    int32_t rc = cdtx_sql_exec(sql, "UPDATE orders SET token = ? WHERE request_id = ? AND (token IS NULL OR token = ?)",
                               &changes, err);
    if (rc == 0 && changes != 1)
        rc = say_no(err, CDTX_CORRUPT, "order %s has another token than %s", minted->request, minted->token);
    return rc;
}

/* What is known after a request, as an answer of a job: done, never again, or again and when. */
static int32_t judge(cdtx_work *work, const struct minting *minting, const struct order_line *line,
                     const struct mint_outcome *outcome, cdtx_error *err) {
    struct minted minted = {.request = line->request, .token = outcome->token};
    switch (outcome->answer) {
    case MINTED:
        return cdtx_local(minting->orders, record, &minted, err);
    case MINT_REFUSED:
        return say_no(err, CDTX_REFUSED, "%s", outcome->text);
    case MINT_LATER:
        if (outcome->retry_after_ms > 0)
            return cdtx_work_retry_after(work, outcome->retry_after_ms, outcome->text, err);
        return say_no(err, CDTX_UNKNOWN, "%s", outcome->text);
    case MINT_UNKNOWN:
    default:
        return say_no(err, CDTX_UNKNOWN, "%s", outcome->text);
    }
}

/* At least once, under one key for all attempts: the gid of the order's transaction. */
static int32_t mint(cdtx_work *work, void *user, cdtx_error *err) {
    const struct minting *minting = user;
    const struct shop_watch *watch = minting->watch;
    struct order_line line;
    struct mint_outcome outcome;
    size_t length;
    const void *payload = cdtx_work_payload(work, &length);
    int32_t rc = order_line_read(payload, length, &line, err);
    if (rc != 0)
        return rc;
    struct mint_order order = {.order = line.request, .article = line.sku, .owner = "customer"};
    chain_client_mint(minting->url, cdtx_work_gid(work), &order, minting->timeout_ms, &outcome);
    if (watch != NULL && watch->on_mint != NULL)
        watch->on_mint(watch->user, cdtx_work_attempt(work), &outcome);
    return judge(work, minting, &line, &outcome, err);
}

static int32_t regret(cdtx_work *work, void *user, cdtx_error *err) {
    const struct minting *minting = user;
    const struct shop_watch *watch = minting->watch;
    struct order_line line;
    size_t length;
    const void *payload = cdtx_work_payload(work, &length);
    int32_t rc = order_line_read(payload, length, &line, err);
    if (rc == 0 && watch != NULL && watch->on_regret != NULL)
        watch->on_regret(watch->user, &line);
    return rc;
}

int32_t mint_open(cdtx_db *log, struct minting *minting, cdtx_error *err) {
    cdtx_handler_options options = {.size = sizeof options,
                                    .handler = mint,
                                    .user = minting,
                                    .backoff_min_ms = BACKOFF_MIN_MS,
                                    .backoff_max_ms = BACKOFF_MAX_MS};
    int32_t rc = cdtx_handler_add(log, ORDER_MINT, &options, err);
    options.handler = regret;
    return rc != 0 ? rc : cdtx_handler_add(log, ORDER_REGRET, &options, err);
}

int32_t mint_hook(cdtx_tx *tx, const void *text, size_t length, cdtx_error *err) {
    int32_t rc = cdtx_tx_after_commit(tx, ORDER_MINT, text, length, NULL, err);
    return rc != 0 ? rc : cdtx_tx_after_rollback(tx, ORDER_REGRET, text, length, NULL, err);
}
