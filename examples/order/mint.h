/* What happens behind the decision of an order: a token is minted for one that was committed, and the customer of one
 * that was rolled back is told. Both are hooks of the global transaction, jobs that its decision puts into the log's
 * database. */
#ifndef MINT_H
#define MINT_H

#include "watch.h"

#define ORDER_MINT   "order.mint"
#define ORDER_REGRET "order.regret"

struct minting {
    char url[64]; /* of the chain: the shop's own setting, never a payload's */
    int64_t timeout_ms;
    cdtx_db *orders; /* where the tokens are recorded */
    const struct shop_watch *watch;
};

/* Registers both handlers. minting must outlive the engine. */
int32_t mint_open(cdtx_db *log, struct minting *minting, cdtx_error *err);
/* Puts both hooks at an order's transaction, with its order line. */
int32_t mint_hook(cdtx_tx *tx, const void *text, size_t length, cdtx_error *err);

#endif
