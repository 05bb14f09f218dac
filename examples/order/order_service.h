/* The order service: keeps orders in its own database. Participant "order.place": a NEW order becomes CONFIRMED or
 * CANCELLED; a CONFIRMED one that is not paid in time becomes CLOSED (payment.h). Payload: an order line; answer: the
 * order's number as text. */
#ifndef ORDER_SERVICE_H
#define ORDER_SERVICE_H

#include "payment.h"

#define ORDER_PLACE "order.place"

/* Opens the service's database, makes its tables and registers the participant. The terms must outlive the engine;
 * NULL: orders are on account. */
int32_t order_service_open(cdtx *engine, const char *url, struct payment_terms *terms, cdtx_db **db, cdtx_error *err);

#endif
