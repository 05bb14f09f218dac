/* What the checkers know: a mirror of all rows and effects ever seen, and the rules that each change must keep. dump.c
 * reads the tables and reports here; mirror.c judges. */
#ifndef SIM_MIRROR_H
#define SIM_MIRROR_H

#include "checks.h"

enum { BRANCHES = 8, EFFECTS_MAX = 4096, GIDS_MAX = 2048 };

struct branch {
    uint32_t tried, confirmed, cancelled; /* effects */
    enum mark mark;
    uint64_t cancelled_in; /* the commit of its database that set a cancel mark */
    int answered;          /* a definite answer to its try is known */
    int32_t code;
    char *answer;
    uint32_t length;
    char *text;       /* of a definite no */
    int64_t tried_at; /* when its mark became TRIED */
    struct {
        uint32_t late; /* since the heal */
        int64_t at;    /* when one was sent last, and by whom */
        const struct life *by;
    } calls[5]; /* by operation */
};

/* One global transaction. */
struct row {
    int stored; /* a committed row was seen */
    int64_t sequence;
    int64_t state, epoch, attempts, acked, reason;
    uint32_t count; /* registered branches */
    char name[40];
    const struct life *writer; /* of its last change; NULL: unknown */
    uint32_t outcomes;         /* bits of enum outcome: recorded, sent or told */
    const char *how[3];        /* by which of them first */
    int aborted;               /* its client gave it up */
    struct branch branches[BRANCHES];
};

/* All gids of one log: the real one's, or the rogue's. */
struct book {
    uint8_t log[16];
    int known;
    struct row *rows[GIDS_MAX];
    int64_t highest;
};

struct effect {
    int64_t gid;
    uint32_t branch;
    int32_t value;
    char op;
    uint8_t book;
};

/* One participant's database. */
struct ledger {
    struct effect effects[EFFECTS_MAX];
    int64_t last;       /* effect_log.seq of the last known; they are 1, 2, 3 ... without gaps */
    int64_t guards;     /* rows at the last look */
    int64_t held, sold; /* by the effects so far, in pieces */
    uint64_t commits;
};

enum { REAL = 0, ROGUE = 1 };

struct checker {
    struct book books[2];
    struct ledger ledgers[PARTICIPANTS];
    int unattributed; /* a process died since the last look at the log: changes may be its */
    int64_t healed;   /* when; 0: not yet */
    struct prng prng;
};

/* The row of a gid, made when new; NULL after a violation (a log that nobody has). */
struct row *mirror_row(struct sim *sim, const uint8_t log[16], int64_t sequence, int *book);
struct row *mirror_gid(struct sim *sim, const char *gid);

/* A row of cdtx_tx as it stands committed; writer NULL: unknown. */
struct tx_row {
    int64_t sequence, state, epoch, attempts, acked, reason;
    uint32_t count;
    const char *name;
};
void mirror_tx(struct sim *sim, const struct life *writer, const struct tx_row *now);
/* An effect not seen before, in commit order. */
void mirror_effect(struct sim *sim, enum participant participant, const char *gid, uint32_t branch, char op,
                   int32_t value);
/* A guard as it stands committed. */
void mirror_mark(struct sim *sim, enum participant participant, const uint8_t log[16], int64_t sequence,
                 uint32_t branch, int64_t state);
/* After all effects and marks of one look: every branch that had an effect since `from` has a mark. */
void mirror_match(struct sim *sim, enum participant participant, int64_t from);
void mirror_outcome(struct sim *sim, struct row *row, enum outcome outcome, const char *how);

/* ---- dump.c ---- */

/* Reads what is committed in that file through a connection at rest; first: compares all, also what is known already.
 */
void dump_look(struct sim *sim, sqlite3 *db, const char *file, const struct life *writer, int first);
/* The state of a gid in the log as it would be recovered after a power loss now; 0 when it would be lost. */
int64_t dump_image_state(struct sim *sim, int64_t sequence);
/* Effects op of that gid's branch in an image of the participant's database. */
int64_t dump_image_effects(struct sim *sim, enum participant participant, const char *gid, uint32_t branch, char op);
/* The files themselves, when nothing runs: everything once more, integrity and the business sums. */
void dump_final(struct sim *sim);

#endif
