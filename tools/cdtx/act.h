/* What actions have in common: who does it, whether it is meant, and how it is told. */
#ifndef TOOLS_ACT_H
#define TOOLS_ACT_H

#include "which.h"

/* --actor, else the login name, else that of the user; never NULL. */
const char *act_actor(const struct options *options);
/* Whether act_confirm could ask; to be known before anything is done. */
enum status act_can_confirm(const struct options *options);
/* Asks on the terminal whether it is meant; STATUS_NO when it is not. --yes answers it. */
enum status act_confirm(const struct options *options, const char *question);
/* Looks first, where it is not answered beforehand: opens what the options name for reading, lets show print to stderr
 * what would be lost, and asks. Another answer of show than STATUS_DONE is the end of it. */
typedef enum status (*show_fn)(cdtx_db *db, const struct options *options, const void *user);
enum status act_look_first(const struct options *options, const struct which *which, show_fn show, const void *user,
                           const char *question);
/* Tells that it was done: sentence, or with --json what and subject. */
void act_done(const struct options *options, const char *what, const char *subject, const char *sentence);
/* The same for as many things at once as count says, which the sentence goes on from: "12 jobs are due". */
void act_done_many(const struct options *options, const char *what, const char *subject, int64_t count,
                   const char *sentence);

#endif
