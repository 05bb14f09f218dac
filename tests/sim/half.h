/* Half messages: prepared in one database, marked by a local transaction in another (or in the same), and resolved,
 * forgotten, resolved the other way, or left to another life; checkers answer by marks or by a function, some of them
 * never. The effect of the local transaction is a row of `half` in its database. Deliveries are post.h's. */
#ifndef SIM_HALF_H
#define SIM_HALF_H

#include "clerk.h"

void half_init(struct sim *sim);
int32_t half_tables(cdtx_sql *sql, cdtx_error *err);
/* The checkers of a life, once all its databases and topics are there. */
int32_t half_register(struct life *life, cdtx_error *err);
/* A clerk of the queue goes one half's whole way, or ends one that another left. */
void half_step(struct life *life, int which);
/* An alarm says that one is parked. */
void half_parked(struct sim *sim, const char *line);
/* The message of that queue is delivered: M1, M3, M4. */
void half_delivered(struct sim *sim, int which, uint32_t number);
/* May it be seen, at the end? */
int half_is_visible(const struct sim *sim, int which, uint32_t number);
/* How many of that queue nobody ever answers for, as seen last. */
int64_t half_left(const struct sim *sim, int which);
void half_look(struct sim *sim, int which, sqlite3 *db, uint32_t touched);
void half_read(struct sim *sim, int which, sqlite3 *db);
void half_final(struct sim *sim);

#endif
