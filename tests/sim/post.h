/* Messages: clerks put them in their local transactions, branches in tries (held), confirms and cancels, and two groups
 * get them, one in order by key, in four forms: in the queue's database, in another one, plain, pulled. What was put is
 * in the table `post` of the queue's database in the order of commits (P a put, V a held one that became visible),
 * what consumers did in `letter`, each written in the local transaction that it is about. */
#ifndef SIM_POST_H
#define SIM_POST_H

#include "clerk.h"

void post_init(struct sim *sim);
int32_t post_tables(cdtx_sql *sql, cdtx_error *err);
/* Topics and groups of a life, once all its databases are open. */
int32_t post_register(struct life *life, cdtx_error *err);
/* A clerk does one thing. */
void post_step(struct life *life, int which);
/* What a branch's handlers are to put, for struct shop_order. */
uint8_t post_draw(struct sim *sim);
/* Called by them after their effect, T, C or X; posts: as drawn. */
int32_t post_in_branch(struct life *life, int which, cdtx_sql *sql, const char *gid, uint32_t branch, char op,
                       uint8_t posts, cdtx_error *err);
/* For half messages: a new message of that queue, and what its payload is; 0: there are too many. Which it is by its
 * payload. */
struct post_note {
    uint32_t which, number;
};
int post_new_half(struct sim *sim, int which, struct post_note *note);
uint32_t post_number(const void *payload, size_t length);
/* A delivery that was taken; what to settle it with. */
int32_t post_pulled(struct life *life, cdtx_work *work);
/* What was paused goes on. */
void post_heal(struct sim *sim);
void post_look(struct sim *sim, int which, sqlite3 *db, uint32_t touched);
/* The end: each file is read, then all is judged. */
void post_read(struct sim *sim, int which, sqlite3 *db);
void post_final(struct sim *sim);

#endif
