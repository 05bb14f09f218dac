/* A user of the database beside the patterns: local transactions of its own in every way the interface offers, good
 * ones and bad ones, so that the groups in which guards ride are also lost, rerun and waited for. */
#ifndef SIM_CLERK_H
#define SIM_CLERK_H

#include "sim.h"

/* Which database's clerk: a participant's, or the log's. */
enum { CLERK_LOG = PARTICIPANTS, CLERKS };

void clerk_init(struct sim *sim);
/* Registers what it needs in life->dbs[which], and starts its strand. */
int32_t clerk_serve(struct life *life, int which, cdtx_error *err);
int32_t clerk_tables(cdtx_sql *sql, cdtx_error *err);
/* Everything told durable stands in the file, and nothing that was told not to have happened. */
void clerk_final(struct sim *sim, int which, sqlite3 *db);

#endif
