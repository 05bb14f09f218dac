/* What the checkers know: a mirror of all rows and effects ever seen, and the rules that each change must keep. dump.c
 * reads the tables and reports here; mirror.c judges what is recorded, told.c what is sent, answered and told. */
#ifndef SIM_MIRROR_H
#define SIM_MIRROR_H

#include "checks.h"

enum { BRANCHES = 8, EFFECTS_MAX = 4096, GIDS_MAX = 2048 };

struct branch {
    uint32_t tried, confirmed, cancelled, reversed; /* effects */
    enum mark mark;
    enum participant participant; /* whose mark it is */
    uint64_t seen;                /* the look that found its guard last */
    int gone;                     /* its guard was deleted, as it may be below the floor */
    uint64_t cancelled_in;        /* the commit of its database that set a mark of undoing */
    int64_t tried_at;             /* when its mark became TRIED */
    int answered;                 /* a definite answer to its try is known */
    int32_t code;
    char *answer;
    uint32_t length;
    char *text; /* of a definite no */
    struct {
        uint32_t late; /* since the heal */
        int64_t at;    /* when one was sent last, and by whom */
        const struct life *by;
        uint32_t engine; /* of its openings */
    } calls[CDTX_CALL_REVERSE + 1]; /* by operation */
};

/* A row of cdtx_tx as it stands committed. */
struct tx_row {
    int64_t sequence, state, epoch, attempts, acked, reason, reverse_after, noes;
    int parked;
    uint32_t count; /* registered branches */
    const char *name;
};

/* One global transaction. */
struct row {
    int stored; /* a committed row was seen */
    struct tx_row now;
    char name[40];
    uint64_t seen;             /* the look that found it last */
    int dropped;               /* its outcome is no longer kept */
    int64_t ended_at;          /* no look before had seen its end */
    const struct life *writer; /* of its last change; NULL: unknown */
    uint32_t possible;         /* bits of enum outcome: what all that was recorded, sent and told leaves open */
    const char *how[2];        /* what said first that it is undone, and that it is committed */
    int aborted;               /* its client gave it up */
    uint32_t stepped_in;       /* bits of enum step_in: what a person has tried */
    int resolved;              /* a person has ended it, whatever its branches say */
    uint32_t said_no;          /* confirms that a handler refused */
    uint32_t asked;            /* bits of enum participant: who was sent a call of its */
    uint32_t parkings;         /* alarms about it, and its cases so far */
    int64_t cases;
    struct branch branches[BRANCHES];
};

/* All gids of one log: the real one's, or the rogue's. */
struct book {
    uint8_t log[16];
    int known;
    struct row *rows[GIDS_MAX];
    int64_t highest;
    int64_t floor; /* the highest that was published: everything below had ended */
};

struct effect {
    int64_t gid;
    uint32_t branch;
    int32_t value;
    char op;
    uint8_t book;
};

enum { REAL = 0, ROGUE = 1, BOOKS };

/* One participant's database. */
struct ledger {
    struct effect effects[EFFECTS_MAX];
    int64_t last;           /* effect_log.seq of the last known; they are 1, 2, 3 ... without gaps */
    int64_t guards;         /* that stood there at the last look */
    int64_t floors[BOOKS];  /* as it has stored them ... */
    uint64_t raised[BOOKS]; /* ... and in which commit last */
    int64_t held, sold;     /* by the effects so far, in pieces */
    uint64_t commits, looks;
};

struct checker {
    struct book books[BOOKS];
    struct ledger ledgers[PARTICIPANTS];
    uint64_t looks; /* at the log */
    int64_t looked_at;
    int unattributed; /* a process died since the last look at the log: changes may be its */
    int64_t healed;   /* when; 0: not yet */
    struct prng prng;
};

extern const char *const state_names[CDTX_TX_REVERSED + 1];

/* The row of a gid, made when new; NULL after a violation (a log that nobody has). */
struct row *mirror_row(struct sim *sim, const uint8_t log[16], int64_t sequence, int *book);
struct row *mirror_gid(struct sim *sim, const char *gid);
int mirror_is_end(int64_t state);
/* What a recorded state says about the outcome: of a commit under the policy, only that it was not rolled back. */
enum outcome mirror_says(int64_t state, int64_t reverse_after);
/* C1: the outcome is one of these, as `how` says. */
void mirror_outcome(struct sim *sim, struct row *row, enum outcome outcome, const char *how);
/* Below it all gids of the real log have ended; INT64_MAX: all have. */
int64_t mirror_lowest_open(const struct sim *sim);

/* ---- for dump.c; a look begins, reports what it finds, and ends ---- */

/* writer NULL: unknown. */
void mirror_tx(struct sim *sim, const struct life *writer, const struct tx_row *now);
void mirror_case(struct sim *sim, const char *gid, int64_t cases, int open);
/* The log's own counters. */
void mirror_meta(struct sim *sim, int64_t sequence, int64_t floor);
void mirror_log_end(struct sim *sim);

/* An effect not seen before, in commit order. */
void mirror_effect(struct sim *sim, enum participant participant, const char *gid, uint32_t branch, char op,
                   int32_t value);
/* A floor and a guard as they stand committed. */
void mirror_floor(struct sim *sim, enum participant participant, const uint8_t log[16], int64_t floor);
void mirror_mark(struct sim *sim, enum participant participant, const uint8_t log[16], int64_t sequence,
                 uint32_t branch, int64_t state);
/* After all of them; guards: how many there are. Every branch that had an effect since `from` has a mark, and what is
 * not there any more was allowed to go. */
void mirror_participant_end(struct sim *sim, enum participant participant, int64_t from, int64_t guards);

/* ---- dump.c ---- */

/* Reads what is committed in that file through a connection at rest; first: compares all, also what is known already.
 */
void dump_look(struct sim *sim, sqlite3 *db, const char *file, const struct life *writer, int first);
/* The state of a gid in the log as it would be recovered after a power loss now; 0 when it would be lost. */
int64_t dump_image_state(struct sim *sim, int64_t sequence);
/* Effects op of that gid's branch in an image of the participant's database. */
int64_t dump_image_effects(struct sim *sim, enum participant participant, const char *gid, uint32_t branch, char op);
/* What that query about a number answers in an image of the database, by clerk.h's numbers. */
int64_t dump_image_count(struct sim *sim, int which, const char *query, int64_t number);
/* The files themselves, when nothing runs: everything once more, integrity and the business sums. */
void dump_final(struct sim *sim);

#endif
