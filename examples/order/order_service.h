/* The order service: keeps orders in its own database. Participant "order.place": a NEW order becomes CONFIRMED or
 * CANCELLED. Payload: an order line; answer: the order's number as text. */
#ifndef ORDER_SERVICE_H
#define ORDER_SERVICE_H

#include <cdtx/tcc.h>

#define ORDER_PLACE "order.place"

/* Opens the service's database, makes its table and registers the participant. */
int32_t order_service_open(cdtx *engine, const char *url, cdtx_db **db, cdtx_error *err);

#endif
