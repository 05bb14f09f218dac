/* Guards: once-only marks by (gid, branch), written in the same local transaction as the effect that they guard. Insert
 * and move are conflicting writes, so two transactions can never both win (traps 1 and 20). */
#ifndef CDTX_STORE_GUARD_H
#define CDTX_STORE_GUARD_H

#include "store/sql.h"

enum guard_state {
    GUARD_ABSENT = 0,
    GUARD_TRIED = 1,
    GUARD_REJECTED = 2,
    GUARD_CONFIRMED = 3,
    GUARD_CANCELLED = 4,
    GUARD_EMPTY_CANCELLED = 5,
    GUARD_REVERSED = 6,
    GUARD_STATES = 7
};

struct guard_key {
    const uint8_t *log; /* 16 bytes */
    int64_t sequence;
    uint32_t branch;
};

/* What stands for the log where no global transaction is behind it: made of what kind of guard it is, whose numbers
 * they are, and a name (NULL: none). */
int32_t cdtx__guard_space(const char kind[16], const uint8_t uuid[16], const char *name, uint8_t space[16],
                          cdtx_error *err);

/* *done gets 1 if it was absent and now stands in state; never below the log's floor here, where guards are gone. */
int32_t cdtx__guard_insert(cdtx_sql *sql, const struct guard_key *key, int32_t state, const void *answer, size_t length,
                           int *done, cdtx_error *err);
/* *done gets 1 if it stood in from and now stands in to. */
int32_t cdtx__guard_move(cdtx_sql *sql, const struct guard_key *key, int32_t from, int32_t to, int *done,
                         cdtx_error *err);
int32_t cdtx__guard_set_answer(cdtx_sql *sql, const struct guard_key *key, const void *answer, size_t length,
                               cdtx_error *err);
/* rows gets (state, answer), or nothing when absent. CORRUPT when the state is none of ours. */
int32_t cdtx__guard_read(cdtx_sql *sql, const struct guard_key *key, cdtx_rows *rows, int32_t *state, cdtx_error *err);
/* The highest sequence of that log that is known here, 0 if none: a restored log must not give it out again. */
int32_t cdtx__guard_highest(cdtx_sql *sql, const uint8_t *log, int64_t *sequence, cdtx_error *err);

/* The floor of that log as it is known here: every guard below it is gone, because its gid has ended. 0: none. */
int32_t cdtx__guard_floor(cdtx_sql *sql, const uint8_t *log, int64_t *floor, cdtx_error *err);
/* Raises it towards floor and deletes the guards below, at most about most of them; *reached gets where it stands
 * now. */
int32_t cdtx__guard_trim(cdtx_sql *sql, const uint8_t *log, int64_t floor, uint32_t most, int64_t *reached,
                         cdtx_error *err);

#endif
