/* Jobs with all that durable retry has beyond errand.h's: unique keys by each policy, keys that wait, in order or not,
 * limits, deadlines, heartbeats, snoozes and retry-after, effects in another database, cancels inside transactions, and
 * people who pause, resume, retry and redrive. What happened is in the table `chore`, row by row in the order of
 * commits: P a put, E an effect, X a job taken back, K a unique key taken back. */
#ifndef SIM_CHORE_H
#define SIM_CHORE_H

#include "clerk.h"

void chore_init(struct sim *sim);
int32_t chore_tables(cdtx_sql *sql, cdtx_error *err);
/* The handlers of a life, once all its databases are open. */
int32_t chore_register(struct life *life, cdtx_error *err);
/* A clerk does one thing: puts, takes back, or steps in. */
void chore_step(struct life *life, int which);
/* A job that was taken; what to settle it with. */
int32_t chore_pulled(struct life *life, cdtx_work *work);
/* What was paused goes on. */
void chore_heal(struct sim *sim);
/* The rows as they stand committed: who is leased, who is paused, what was put. */
void chore_look(struct sim *sim, int which, sqlite3 *db, uint32_t touched);
/* The end: each file is read, then all is judged. */
void chore_read(struct sim *sim, int which, sqlite3 *db);
void chore_final(struct sim *sim);

#endif
