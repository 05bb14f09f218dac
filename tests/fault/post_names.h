/* What the files of the post office share. */
#ifndef FAULT_POST_NAMES_H
#define FAULT_POST_NAMES_H

#include "post.h"

#define TOPIC           "letters"
#define PRODUCER        "shop"
#define IN_POST         "post.promise"
#define IN_SHOP         "shop.promise"
#define CHORE           "chore"
#define ERRAND          "errand"
#define STROKE          "stroke"
#define CLOCK           "clock"
#define HOOK_COMMIT_JOB "hook.commit"
#define HOOK_LATE_JOB   "hook.late"
#define HOOK_UNDO_JOB   "hook.undo"

void post_bind(cdtx_sql *sql, const char *text);
void post_key(const cdtx_work *work, char key[LEDGER_KEY_MAX]);
/* What was done, by key, number and token: the three values of that statement. */
int32_t post_write_done(cdtx_sql *sql, const char *statement, const cdtx_work *work, cdtx_error *err);
/* What `here` and `pulled` say to a letter; 0: it is accepted. */
int32_t post_verdict(const cdtx_work *work, cdtx_error *err);

#endif
