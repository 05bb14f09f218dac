/* The invariants (README.md lists them by number). The checkers trust three things: the effect log that the handlers
 * write in their own local transactions, what clients were told, and the rows of the tables; never the library's
 * status. */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "sim.h"

/* Outcomes as C1 counts them: bits, because sometimes one learns only that it is one of two. */
enum outcome {
    OUTCOME_COMMIT = 1,
    OUTCOME_ROLLBACK = 2,
    OUTCOME_REVERSED = 4,
    OUTCOME_UNDONE = OUTCOME_ROLLBACK | OUTCOME_REVERSED,
    OUTCOME_ANY = OUTCOME_COMMIT | OUTCOME_UNDONE
};
/* Rows of the guard table as the checkers read them; the numbers are the schema's. */
enum mark { MARK_ABSENT, MARK_TRIED, MARK_REJECTED, MARK_CONFIRMED, MARK_CANCELLED, MARK_EMPTY, MARK_REVERSED, MARKS };
extern const char *const mark_names[MARKS];
const char *call_name(int32_t op);

void check_init(struct sim *sim);

/* A local transaction of that life has just committed: looks at all its connections that are at rest. */
void check_commit(struct life *life);
/* What is being written in that database, for the look at its next commit: rows of the handlers' own tables, leases. */
enum touch { TOUCH_ROWS = 1, TOUCH_LEASES = 2, TOUCH_ALL = 3 };
void check_touched(struct sim *sim, int which, enum touch touch);
/* A process has died: what it committed last may show only later. */
void check_died(struct sim *sim);
/* A call leaves for a participant. */
void check_send(struct life *life, const cdtx_call *call);
/* A participant's life answered a call; rogue: not from a coordinator. */
void check_answer(struct life *life, const cdtx_call *call, const cdtx_reply *reply);
/* A handler refuses to confirm, and an alarm says that a transaction has become a case. */
void check_said_no(struct sim *sim, const char *gid);
void check_parked(struct sim *sim, const char *gid);
/* A person is about to step in at a gid, which may or may not succeed. */
enum step_in { STEP_RETRY = 1, STEP_PARK = 2, STEP_UNPARK = 4, STEP_RESOLVE = 8 };
void check_steps_in(struct sim *sim, const char *gid, enum step_in kind);
/* A client was told something about a gid: which outcomes are left, or only that it exists (ANY). */
void check_told(struct sim *sim, const char *gid, enum outcome outcome, const char *how);
/* A client asked for a rollback before it asked for anything else: the gid must never commit. */
void check_aborted(struct sim *sim, const char *gid);
/* The first answer of a branch's try, for those who compare; NULL while none. */
const char *check_first_answer(struct sim *sim, const char *gid, uint32_t branch, uint32_t *length);
/* Has the log dropped the outcome of that gid, as it may after a while? */
int check_dropped(struct sim *sim, const char *gid);
/* How many open ones have asked nothing of that participant. */
uint32_t check_open_without(const struct sim *sim, enum participant participant);
/* Are all known gids ended? */
int check_all_ended(struct sim *sim, char *why, size_t size);
/* From now on calls are counted for L1. */
void check_healed(struct sim *sim);
/* Nobody may hold what it tried for longer than bound after the heal. */
void check_locks(struct sim *sim, int64_t bound);
/* Are all jobs, messages and halves ended that ever end? Read in images of the disks. */
int dump_quiet(struct sim *sim);
/* Everything has ended and nothing runs: the files themselves. */
void check_final(struct sim *sim);

int gid_parts(const char *gid, uint8_t log[16], int64_t *sequence);
void gid_text(const uint8_t log[16], int64_t sequence, char text[CDTX_GID_MAX]);

#endif
