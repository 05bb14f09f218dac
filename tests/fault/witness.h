/* What cannot be taken back: answers that left the participants, posted letters, and decisions that an image of the
 * disk has shown. The house keeps it outside its disk; after a power cut the disk must not contradict it. */
#ifndef FAULT_WITNESS_H
#define FAULT_WITNESS_H

#include "judge.h"

enum { SAID_MAX = 96, GIDS_MAX = 32, EFFECTS_MAX = 64, HALVES_MAX = 256 };

/* One call that was served, and its answer once it has left. */
struct said {
    uint64_t id;
    int64_t sequence;
    uint32_t branch;
    int32_t op, code;
    int in_stock; /* else in orders */
    int left;
};

struct witness {
    cdtx *engine; /* that sends */
    struct said said[SAID_MAX];
    uint32_t said_count;
    int too_many;            /* calls: more than an honest recovery needs */
    int32_t state[GIDS_MAX]; /* by sequence: the highest cdtx_tx_state that an image has shown; 0: none */
    int32_t letter;          /* what putting the letter was answered; CDTX_NOT_FOUND: it was not put yet */
    uint32_t posts;          /* of the letter, each with a higher token */
    int64_t token;
    /* Of a post office: what its plain readers did, and as what halves were resolved, by number. */
    struct effect {
        int64_t job, token;
    } effects[EFFECTS_MAX];
    uint32_t effect_count;
    int32_t half[HALVES_MAX];
};

void witness_init(struct witness *witness);
/* Delivers calls to the sender's own participants. */
cdtx_link witness_link(struct witness *witness);
/* The letter is a job of the third kind: its handler runs outside any transaction, at least once. */
int32_t witness_serve_letters(struct witness *witness, struct house *house, cdtx_error *err);
void witness_put_letter(struct witness *witness, struct house *house, struct ledger *ledger);
/* Complains if a letter that was accepted has never been posted. All must have come to rest. */
void witness_check_letter(const struct witness *witness, struct ledger *ledger);
/* Only that no decision is ever another one later. */
void witness_look_at_decisions(sqlite3 *db, struct witness *witness, struct ledger *ledger);
/* Compares the tables (db is of judge_open), at rest or not, with all that has left, and notes what they say is
 * decided. */
void witness_look(struct witness *witness, sqlite3 *db, struct ledger *ledger);

#endif
