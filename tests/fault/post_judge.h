/* The judge of the post office. What must always hold, also in what a power cut left, stands apart from what must hold
 * at rest. */
#ifndef FAULT_POST_JUDGE_H
#define FAULT_POST_JUDGE_H

#include "judge.h"
#include "post.h"

/* post.db as main, shop.db as s, log.db as l. */
sqlite3 *post_judge_open(const struct house_site *site, struct ledger *ledger);
void post_judge_always(sqlite3 *db, struct ledger *ledger);
/* And compares it with what was heard, as far as that is there at once. */
void post_judge_ruins(sqlite3 *db, struct ledger *ledger);
void post_judge_rest(sqlite3 *db, struct ledger *ledger);
/* Of a house that has gone on after its last reopening, and rested: no guard stands for work that has ended. */
void post_judge_guards(sqlite3 *db, struct ledger *ledger);

/* All of it at rest. */
void post_judge(const struct house_site *site, struct ledger *ledger);

#endif
