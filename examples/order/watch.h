/* A scenario's eyes and hands inside the shop: what its handlers tell it, and where it may make one of them fail. All
 * may be NULL. */
#ifndef WATCH_H
#define WATCH_H

#include "chain_client.h"
#include "order_line.h"

struct shop_watch {
    void *user;
    /* In the local transaction that closes the order, before its effects. */
    void (*on_close)(void *user, const struct order_line *line);
    /* In the local transaction that gives the pieces back, behind its effects: another answer than 0 undoes them. */
    int32_t (*on_give_back)(void *user, const struct order_line *line, uint32_t attempt, cdtx_error *err);
    /* Behind each request to the chain. */
    void (*on_mint)(void *user, uint32_t attempt, const struct mint_outcome *outcome);
    /* When the customer of an order that was rolled back is told. */
    void (*on_regret)(void *user, const struct order_line *line);
};

#endif
