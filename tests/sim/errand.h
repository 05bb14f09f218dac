/* Jobs: the clerks put them in their local transactions, and handlers of four sorts run them (inside a local
 * transaction, plain, pulled, and pulled and settled without effects). An acknowledged job is done in the end, its
 * effect in the database is there exactly once, and one that was never put is never run (R1 to R3). */
#ifndef SIM_ERRAND_H
#define SIM_ERRAND_H

#include "clerk.h"

void errand_init(struct sim *sim);
int32_t errand_tables(cdtx_sql *sql, cdtx_error *err);
/* The handlers of a life on one of its databases. */
int32_t errand_register(struct life *life, int which, cdtx_error *err);
/* Puts one job, or a few at once, in a local transaction. */
void errand_put(struct life *life, int which);
struct errand;
/* A job that was taken; what to settle it with, and which one it is. */
int32_t errand_pulled(struct life *life, cdtx_work *work, struct errand **errand);
/* What settling it met. */
void errand_settled(struct errand *errand, int32_t code, int32_t result);
/* A person retries or cancels one of the jobs. */
void errand_step_in(struct life *life, int which);
/* Has that database's clock followed a wall clock that jumped ahead since then? It does while nobody has it open. */
int errand_clock_moved(const struct life *life, int which, int64_t since);
void errand_final(struct sim *sim, int which, sqlite3 *db);

#endif
