/* The stock service: keeps pieces in its own database. A piece is free, held for an order, or sold. Participant
 * "stock.reserve": try holds free pieces or refuses, confirm sells what it held, cancel frees it. Payload: an
 * order line. */
#ifndef STOCK_SERVICE_H
#define STOCK_SERVICE_H

#include <cdtx/tcc.h>

#define STOCK_RESERVE "stock.reserve"

/* Opens the service's database, makes its tables and registers the participant. */
int32_t stock_service_open(cdtx *engine, const char *url, cdtx_db **db, cdtx_error *err);
/* New pieces arrive: an ordinary local transaction. Blocks. */
int32_t stock_service_deliver(cdtx_db *db, const char *sku, int64_t quantity, cdtx_error *err);

#endif
