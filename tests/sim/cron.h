/* A schedule in the log's database: each slot of it is put once, none before its time, and none is left out that its
 * policy does not leave out. What was run is in the table `tick`. */
#ifndef SIM_CRON_H
#define SIM_CRON_H

#include "sim.h"

void cron_init(struct sim *sim);
int32_t cron_tables(cdtx_sql *sql, cdtx_error *err);
int32_t cron_register(struct life *life, cdtx_error *err);
/* The log's file at the end. */
void cron_final(struct sim *sim, sqlite3 *db);

#endif
