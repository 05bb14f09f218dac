/* The stock service as a reader of the orders' topic "order.closed", group "stock": the pieces of a closed order are
 * free again, exactly once, however often the message is delivered. */
#ifndef GIVE_BACK_H
#define GIVE_BACK_H

#include "payment.h"

/* The deliveries of that group, as jobs are listed. */
#define STOCK_GROUP "cdtx.msg/" ORDER_CLOSED "/stock"

/* Makes the table of what was given back, and joins the group. watch (may be NULL) must outlive the engine. */
int32_t give_back_open(cdtx_db *stock, cdtx_db *orders, const struct shop_watch *watch, cdtx_error *err);

#endif
