/* Orders that must be paid in time, or are closed: the closing is a delayed job, put in the local transaction that
 * makes the order and taken back in the one that records the payment. Who else must know of a closed order reads the
 * topic "order.closed": an order line, keyed by its request, put in the local transaction that closes the order. */
#ifndef PAYMENT_H
#define PAYMENT_H

#include "watch.h"

#define ORDER_CLOSE  "order.close"
#define ORDER_CLOSED "order.closed"

/* What orders are made under; may be changed between two of them. */
struct payment_terms {
    int64_t within_ms; /* 0: on account, never closed */
    const struct shop_watch *watch;
};

/* Makes the table and the topic, and registers the job's handler. The terms must outlive the engine. */
int32_t payment_open(cdtx_db *orders, struct payment_terms *terms, cdtx_error *err);
/* Puts the closing of a new order. */
int32_t payment_expect(cdtx_sql *sql, const struct payment_terms *terms, const struct order_line *line,
                       cdtx_error *err);
/* Takes it back. An attempt that is under way already is left alone, for it looks at the order itself. */
int32_t payment_expect_no_more(cdtx_sql *sql, const char *request, cdtx_error *err);
/* Pays the order of a request, a text; again is as good as once. A closure of cdtx_local on the database of orders.
 * Errors: REFUSED (there is no such order, or it is not CONFIRMED: closed, for instance). */
int32_t payment_record(cdtx_sql *sql, void *request, cdtx_error *err);

#endif
