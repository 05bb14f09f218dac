/* Hooks on the clients' transactions: jobs that the decision itself puts. Those of the side that was decided have their
 * effect, once where it is in the log's database, after the decision is durable (under the policy: after the end);
 * those of the other side never run. */
#ifndef SIM_HOOK_H
#define SIM_HOOK_H

#include "sim.h"

void hook_init(struct sim *sim);
int32_t hook_tables(cdtx_sql *sql, cdtx_error *err);
int32_t hook_register(struct life *life, cdtx_error *err);
/* Perhaps puts some hooks on that client's transaction. keyed: it may join another's, whose hooks count then. */
void hook_attach(struct life *life, cdtx_tx *tx, const char *name, int keyed);
/* The log's file at the end. */
void hook_final(struct sim *sim, sqlite3 *db);

#endif
