/* The shop: one process with the order service, the stock service and the engine that keeps them in step. Three files
 * in one folder: log.db, orders.db, stock.db. Its handlers point into it, so it must stay where it was opened. */
#ifndef SHOP_H
#define SHOP_H

#include "mint.h"
#include "payment.h"

struct shop {
    cdtx *engine;
    cdtx_db *orders, *stock, *log;
    struct payment_terms terms; /* of the next orders; at first all are on account */
    struct minting minting;
};

/* Zeroes are the engine's defaults. */
struct shop_options {
    const struct cdtx_link *link; /* how calls reach the services */
    uint32_t threads;
    int64_t call_timeout_ms;
    uint32_t park_attempts;
    const char *chain; /* URL of the chain that mints a token for each order; NULL: none is minted */
    int64_t chain_timeout_ms;
    const struct shop_watch *watch;
};

/* Opens the shop; what a dead process left is taken up, and brought to its end by cdtx_run. A file that a killed
 * process is still giving up is waited for. */
int32_t shop_open(struct shop *shop, const char *folder, const struct shop_options *options, cdtx_error *err);
void shop_close(struct shop *shop);

/* A global transaction for one order, keyed by its request: two branches and, with a chain, two hooks; not begun. */
int32_t shop_prepare(struct shop *shop, const struct order_line *line, const cdtx_tx_options *options, cdtx_tx **tx,
                     cdtx_error *err);
/* Places an order and waits for its end. 0: *number (may be NULL) is the order's number. */
int32_t shop_order(struct shop *shop, const struct order_line *line, int64_t timeout_ms, int64_t *number,
                   cdtx_error *err);

#endif
