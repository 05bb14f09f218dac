/* Jobs: the clerks put them in their local transactions, and handlers of three sorts run them (inside a local
 * transaction, plain, pulled). An acknowledged job is done in the end, its effect in the database is there exactly
 * once, and one that was never put is never run (R1 to R3). */
#ifndef SIM_ERRAND_H
#define SIM_ERRAND_H

#include "clerk.h"

void errand_init(struct sim *sim);
int32_t errand_tables(cdtx_sql *sql, cdtx_error *err);
/* The handlers of a life on one of its databases. */
int32_t errand_register(struct life *life, int which, cdtx_error *err);
/* Puts one job in a local transaction of its own. */
void errand_put(struct life *life, int which);
/* A job that cdtx_take gave out; settles it. */
void errand_pulled(struct life *life, cdtx_work *work);
/* A person retries or cancels one of the jobs. */
void errand_step_in(struct life *life, int which);
/* Has that database's clock followed a wall clock that jumped ahead since then? It does while nobody has it open. */
int errand_clock_moved(const struct life *life, int which, int64_t since);
void errand_final(struct sim *sim, int which, sqlite3 *db);

#endif
