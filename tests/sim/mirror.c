/* What is recorded: the log's rows, the participants' effects and guards, and the rules that each change must keep. */
#include "mirror.h"

#include <stdio.h>
#include <string.h>

#include "clerk.h"
#include "cover.h"
#include "rogue.h"

const char *const mark_names[MARKS] = {"absent", "tried", "rejected", "confirmed", "cancelled", "empty", "reversed"};
const char *const state_names[] = {"nothing",   "ACTIVE",      "COMMITTING", "ROLLING_BACK",
                                   "COMMITTED", "ROLLED_BACK", "REVERSING",  "REVERSED"};

void gid_text(const uint8_t log[16], int64_t sequence, char text[CDTX_GID_MAX]) {
    size_t at = 0;
    for (int i = 0; i < 16; i++)
        at += (size_t)snprintf(text + at, CDTX_GID_MAX - at, "%02x", log[i]);
    snprintf(text + at, CDTX_GID_MAX - at, "-%lld", (long long)sequence);
}

int gid_parts(const char *gid, uint8_t log[16], int64_t *sequence) {
    unsigned byte;
    long long number;
    for (int i = 0; i < 16; i++) {
        if (sscanf(gid + 2 * i, "%2x", &byte) != 1)
            return 0;
        log[i] = (uint8_t)byte;
    }
    if (sscanf(gid + 32, "-%lld", &number) != 1)
        return 0;
    *sequence = number;
    return 1;
}

struct row *mirror_row(struct sim *sim, const uint8_t log[16], int64_t sequence, int *book) {
    struct checker *checker = sim->checker;
    int which = rogue_is(sim, log) ? ROGUE : REAL;
    struct book *b = &checker->books[which];
    if (!b->known) {
        memcpy(b->log, log, sizeof b->log);
        b->known = 1;
    }
    if (memcmp(b->log, log, sizeof b->log) != 0 || sequence < 1 || sequence >= GIDS_MAX) {
        violate(&sim->world, "C8", "a gid of a log that nobody has, number %lld", (long long)sequence);
        return NULL;
    }
    if (b->rows[sequence] == NULL) {
        b->rows[sequence] = world_alloc(&sim->world, sizeof(struct row));
        b->rows[sequence]->now.sequence = sequence;
        b->rows[sequence]->possible = OUTCOME_ANY;
    }
    if (sequence > b->highest)
        b->highest = sequence;
    if (book != NULL)
        *book = which;
    return b->rows[sequence];
}

struct row *mirror_gid(struct sim *sim, const char *gid) {
    uint8_t log[16];
    int64_t sequence;
    if (gid_parts(gid, log, &sequence))
        return mirror_row(sim, log, sequence, NULL);
    violate(&sim->world, "C8", "'%s' is no gid", gid);
    return NULL;
}

/* One decision over all time and all places where it shows. */
void mirror_outcome(struct sim *sim, struct row *row, enum outcome outcome, const char *how) {
    int may_commit = (outcome & OUTCOME_COMMIT) != 0, may_not = (outcome & OUTCOME_UNDONE) != 0;
    row->possible &= (uint32_t)outcome;
    if (may_commit != may_not && row->how[may_commit] == NULL)
        row->how[may_commit] = how;
    if (row->possible == 0)
        violate(&sim->world, "C1", "gid %lld has two outcomes (%s; committed: %s; not committed: %s)",
                (long long)row->now.sequence, how, row->how[1] == NULL ? "-" : row->how[1],
                row->how[0] == NULL ? "-" : row->how[0]);
    if (!may_not && row->aborted)
        violate(&sim->world, "C5", "gid %lld is committed (%s), though its client gave it up",
                (long long)row->now.sequence, how);
}

enum outcome mirror_says(int64_t state, int64_t reverse_after) {
    switch (state) {
    case CDTX_TX_COMMITTING:
        return reverse_after > 0 ? OUTCOME_COMMIT | OUTCOME_REVERSED : OUTCOME_COMMIT;
    case CDTX_TX_COMMITTED:
        return OUTCOME_COMMIT;
    case CDTX_TX_ROLLING_BACK:
    case CDTX_TX_ROLLED_BACK:
        return OUTCOME_ROLLBACK;
    case CDTX_TX_REVERSING:
    case CDTX_TX_REVERSED:
        return OUTCOME_REVERSED;
    default:
        return OUTCOME_ANY;
    }
}

int mirror_is_end(int64_t state) {
    return state == CDTX_TX_COMMITTED || state == CDTX_TX_ROLLED_BACK || state == CDTX_TX_REVERSED;
}

int64_t mirror_lowest_open(const struct sim *sim) {
    const struct book *book = &sim->checker->books[REAL];
    for (int64_t i = 1; i <= book->highest; i++)
        if (book->rows[i] != NULL && book->rows[i]->stored && !mirror_is_end(book->rows[i]->now.state))
            return i;
    return INT64_MAX;
}

uint32_t check_open_without(const struct sim *sim, enum participant participant) {
    const struct book *book = &sim->checker->books[REAL];
    uint32_t open = 0;
    for (int64_t i = 1; i <= book->highest; i++) {
        const struct row *row = book->rows[i];
        open += row != NULL && row->stored && !mirror_is_end(row->now.state) && !(row->asked >> participant & 1);
    }
    return open;
}

/* ---- the log ---- */

/* C5: a commit needs a durable success of every registered branch. */
static void check_valid(struct sim *sim, const struct row *row) {
    for (uint32_t b = 0; b < row->now.count && b < BRANCHES; b++)
        if (row->branches[b].tried == 0 || row->branches[b].mark == MARK_REJECTED)
            violate(&sim->world, "C5", "gid %lld is committed, but branch %u is %s", (long long)row->now.sequence, b,
                    mark_names[row->branches[b].mark]);
}

/* C5: taking back needs the policy, and as many definite noes as it says: time-outs are none. */
static void check_taken_back(struct sim *sim, const struct row *row) {
    if (row->now.reverse_after == 0 || row->said_no < row->now.reverse_after)
        violate(&sim->world, "C5", "gid %lld is taken back after %u definite noes from confirms; its policy says %lld",
                (long long)row->now.sequence, row->said_no, (long long)row->now.reverse_after);
}

static int fits_end(const struct branch *branch, int64_t state) {
    switch (mirror_says(state, 0)) {
    case OUTCOME_COMMIT:
        return branch->mark == MARK_CONFIRMED;
    case OUTCOME_ROLLBACK:
        return branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY || branch->mark == MARK_REJECTED;
    default:
        return branch->mark == MARK_REVERSED;
    }
}

/* T4, at once: a branch is recorded as acknowledged, and the end is recorded, only when the branch has answered phase
 * two. */
static void check_acknowledged(struct sim *sim, const struct row *row) {
    int ended = mirror_is_end(row->now.state) && !row->resolved;
    for (uint32_t b = 0; b < row->now.count && b < BRANCHES; b++)
        if ((ended || (row->now.acked >> b & 1)) && !fits_end(&row->branches[b], row->now.state))
            violate(&sim->world, "T4", "gid %lld is %s with branch %u recorded as done, but it is %s",
                    (long long)row->now.sequence, state_names[row->now.state], b, mark_names[row->branches[b].mark]);
}

static int may_move(int64_t from, int64_t to) {
    static const uint32_t next[CDTX_TX_REVERSED + 1] = {
        [CDTX_TX_ACTIVE] = 1U << CDTX_TX_COMMITTING | 1U << CDTX_TX_ROLLING_BACK,
        [CDTX_TX_COMMITTING] = 1U << CDTX_TX_COMMITTED | 1U << CDTX_TX_REVERSING,
        [CDTX_TX_ROLLING_BACK] = 1U << CDTX_TX_ROLLED_BACK,
        [CDTX_TX_REVERSING] = 1U << CDTX_TX_REVERSED,
    };
    if (from == to || (next[from] >> to & 1) != 0)
        return 1;
    for (int64_t via = CDTX_TX_ACTIVE; via <= CDTX_TX_REVERSED; via++)
        if ((next[from] >> via & 1) != 0 && may_move(via, to))
            return 1;
    return 0;
}

/* C6: every change raises the epoch, and one that is not a take is made by whoever holds the last epoch. */
static void check_fenced(struct sim *sim, const struct row *row, const struct life *writer, const struct tx_row *now) {
    if (now->epoch <= row->now.epoch) {
        violate(&sim->world, "C6", "gid %lld was changed at epoch %lld, though epoch %lld stood there",
                (long long)row->now.sequence, (long long)now->epoch, (long long)row->now.epoch);
        return;
    }
    int decided = now->state != row->now.state && (now->state == CDTX_TX_COMMITTING || now->state == CDTX_TX_REVERSING);
    int takes = now->attempts != row->now.attempts && !decided;
    if (row->stepped_in == 0 && !takes && writer != NULL && row->writer != NULL && writer != row->writer &&
        !row->writer->doubtful)
        violate(&sim->world, "C6", "gid %lld was changed by %s, though %s had taken it over",
                (long long)row->now.sequence, writer->name, row->writer->name);
}

/* Between two looks it may have moved twice. */
static void cover_move(int64_t from, int64_t to) {
    char text[64];
    if (from == CDTX_TX_ACTIVE && to > CDTX_TX_ROLLING_BACK) {
        int64_t via = to == CDTX_TX_ROLLED_BACK ? CDTX_TX_ROLLING_BACK : CDTX_TX_COMMITTING;
        cover_move(from, via);
        from = via;
    }
    if (from == CDTX_TX_COMMITTING && to == CDTX_TX_REVERSED) {
        cover_move(from, CDTX_TX_REVERSING);
        from = CDTX_TX_REVERSING;
    }
    snprintf(text, sizeof text, "%s>%s", state_names[from], state_names[to]);
    cover(text);
}

/* What must hold between what stood there and what stands there now. */
static void check_change(struct sim *sim, const struct row *row, const struct life *writer, const struct tx_row *now) {
    int taken_back = now->state == CDTX_TX_REVERSING || now->state == CDTX_TX_REVERSED;
    if (strcmp(row->name, now->name) != 0)
        violate(&sim->world, "C8", "gid %lld was given out twice: to %s and to %s", (long long)row->now.sequence,
                row->name, now->name);
    if (!may_move(row->now.state, now->state))
        violate(&sim->world, "C7", "gid %lld went from %s to %s", (long long)row->now.sequence,
                state_names[row->now.state], state_names[now->state]);
    check_fenced(sim, row, writer, now);
    if (now->count > row->now.count && row->now.state != CDTX_TX_ACTIVE)
        violate(&sim->world, "C4", "gid %lld got branch %u when it was %s", (long long)row->now.sequence,
                row->now.count, state_names[row->now.state]);
    if (now->count < row->now.count || ((row->now.acked & ~now->acked) != 0 && !taken_back))
        violate(&sim->world, "C7", "gid %lld lost branches or acknowledgements", (long long)row->now.sequence);
    if (now->reverse_after != row->now.reverse_after)
        violate(&sim->world, "C7", "the policy of gid %lld has changed", (long long)row->now.sequence);
}

static void note_change(struct sim *sim, struct row *row, int64_t before) {
    const char *by = row->writer == NULL ? "somebody" : row->writer->name;
    tell(&sim->world, "log", "gid %lld (%s): %s, epoch %lld, by %s", (long long)row->now.sequence, row->name,
         state_names[row->now.state], (long long)row->now.epoch, by);
    if (before != 0)
        cover_move(before, row->now.state);
    if (mirror_is_end(row->now.state))
        row->ended_at = sim->checker->looked_at; /* at the earliest: its writer may have died with it unseen */
    int committed = row->now.state == CDTX_TX_COMMITTING || row->now.state == CDTX_TX_COMMITTED;
    if (committed && before != CDTX_TX_COMMITTING)
        check_valid(sim, row);
    if (row->now.state == CDTX_TX_REVERSING || row->now.state == CDTX_TX_REVERSED)
        check_taken_back(sim, row);
}

void mirror_tx(struct sim *sim, const struct life *writer, const struct tx_row *now) {
    struct row *row = mirror_row(sim, sim->checker->books[REAL].log, now->sequence, NULL);
    if (row == NULL)
        return;
    if (now->state < CDTX_TX_ACTIVE || now->state > CDTX_TX_REVERSED) {
        violate(&sim->world, "C7", "gid %lld has state %lld", (long long)now->sequence, (long long)now->state);
        return;
    }
    row->seen = sim->checker->looks;
    if (row->dropped)
        violate(&sim->world, "C8", "gid %lld stands in the log again after it was dropped", (long long)now->sequence);
    struct tx_row known = row->now;
    known.name = now->name;
    if (row->stored && memcmp(&known, now, sizeof known) == 0 && strcmp(row->name, now->name) == 0)
        return;
    if (row->stored)
        check_change(sim, row, writer, now);
    int64_t before = row->stored ? row->now.state : 0;
    row->resolved |=
        (row->stepped_in & STEP_RESOLVE) != 0 && row->now.parked && !mirror_is_end(before) && mirror_is_end(now->state);
    row->stored = 1;
    row->writer = writer;
    row->now = *now;
    snprintf(row->name, sizeof row->name, "%s", now->name);
    row->now.name = row->name;
    mirror_outcome(sim, row, mirror_says(row->now.state, row->now.reverse_after), "recorded");
    check_acknowledged(sim, row);
    if (before != row->now.state)
        note_change(sim, row, before);
}

/* C10: what is parked is a case, what is not is none, and nobody was alarmed twice about one. */
void mirror_case(struct sim *sim, const char *gid, int64_t cases, int open) {
    struct row *row = mirror_gid(sim, gid);
    if (row == NULL)
        return;
    row->cases = cases;
    if (open != row->now.parked)
        violate(&sim->world, "C10", "gid %lld is %sparked and has %s case", (long long)row->now.sequence,
                row->now.parked ? "" : "not ", open ? "an open" : "no open");
    if (row->parkings > cases)
        violate(&sim->world, "C10", "%u alarms about gid %lld, which has become a case %lld times", row->parkings,
                (long long)row->now.sequence, (long long)cases);
}

/* T6, at its source: a published floor passes nothing that is open. */
void mirror_meta(struct sim *sim, int64_t sequence, int64_t floor) {
    struct book *book = &sim->checker->books[REAL];
    if (floor > mirror_lowest_open(sim) || floor < book->floor || floor > sequence + 1)
        violate(&sim->world, "T6", "the floor is raised from %lld to %lld; gid %lld has not ended, %lld are given out",
                (long long)book->floor, (long long)floor, (long long)mirror_lowest_open(sim), (long long)sequence);
    book->floor = floor;
}

/* An outcome is kept for its time by the log's clock, which may follow a wall clock that jumps. */
static void check_dropped_row(struct sim *sim, struct row *row) {
    const struct knobs *knobs = &sim->knobs;
    int64_t kept = sim->world.now - row->ended_at;
    int clocks = knobs_have(knobs, FAULT_CLOCK) || knobs_have(knobs, FAULT_DRIFT);
    row->dropped = 1;
    if (!mirror_is_end(row->now.state))
        violate(&sim->world, "C8", "gid %lld, which was %s, is not in the log any more", (long long)row->now.sequence,
                state_names[row->now.state]);
    else if (!clocks && kept < knobs->retention_ms * MS - 100 * MS)
        violate(&sim->world, "C8", "the outcome of gid %lld was dropped after %lld ms; it is kept for %lld",
                (long long)row->now.sequence, (long long)(kept / MS), (long long)knobs->retention_ms);
    cover("outcome dropped");
}

void mirror_log_end(struct sim *sim) {
    struct checker *checker = sim->checker;
    for (int64_t i = 1; i <= checker->books[REAL].highest; i++) {
        struct row *row = checker->books[REAL].rows[i];
        if (row == NULL || !row->stored || row->dropped)
            continue;
        if (row->seen != checker->looks)
            check_dropped_row(sim, row);
        else if (row->now.parked && row->cases == 0)
            violate(&sim->world, "C10", "gid %lld is parked and has become no case", (long long)i);
    }
    checker->looks++;
    checker->looked_at = sim->world.now;
}

/* ---- the participants ---- */

static const char *whose(int book) {
    return book == ROGUE ? "the rogue's gid" : "gid";
}

/* C3: an effect follows its decision. A confirm may still arrive when its transaction is being taken back. */
static void check_decided(struct sim *sim, const struct row *row, uint32_t b, char op) {
    int64_t state = row->now.state;
    int taken_back = state == CDTX_TX_REVERSING || (state == CDTX_TX_REVERSED && row->resolved);
    int fits = op == 'T'   ? 1
               : op == 'C' ? state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED || taken_back
               : op == 'X' ? mirror_says(state, 0) == OUTCOME_ROLLBACK || taken_back
                           : taken_back;
    if (!fits)
        violate(&sim->world, "C3", "gid %lld is %s when branch %u shows effect %c", (long long)row->now.sequence,
                state_names[state], b, op);
    if (op == 'T' && (!row->stored || b >= row->now.count))
        violate(&sim->world, "C4", "gid %lld: branch %u took effect before it was registered",
                (long long)row->now.sequence, b);
}

static void count_effect(struct ledger *ledger, struct branch *branch, char op, int32_t value) {
    uint32_t *count = op == 'T'   ? &branch->tried
                      : op == 'C' ? &branch->confirmed
                      : op == 'X' ? &branch->cancelled
                                  : &branch->reversed;
    ++*count;
    ledger->held += op == 'T' ? value : op == 'R' ? 0 : -value;
    ledger->sold += op == 'C' ? value : op == 'R' ? -value : 0;
}

void mirror_effect(struct sim *sim, enum participant participant, const char *gid, uint32_t b, char op, int32_t value) {
    struct ledger *ledger = &sim->checker->ledgers[participant];
    uint8_t log[16];
    int64_t sequence;
    int book;
    if (!gid_parts(gid, log, &sequence) || b >= BRANCHES || ledger->last + 1 >= EFFECTS_MAX) {
        violate(&sim->world, "C8", "an effect of gid '%s', branch %u", gid, b);
        return;
    }
    struct row *row = mirror_row(sim, log, sequence, &book);
    if (row == NULL)
        return;
    struct branch *branch = &row->branches[b];
    ledger->effects[++ledger->last] = (struct effect){sequence, b, value, op, (uint8_t)book};
    count_effect(ledger, branch, op, value);
    tell(&sim->world, participant_names[participant], "effect %c of %s %lld/%u", op, whose(book), (long long)sequence,
         b);
    if (branch->tried > 1 || branch->confirmed > 1 || branch->cancelled > 1 || branch->reversed > 1 ||
        branch->confirmed + branch->cancelled > 1)
        violate(&sim->world, "T1", "%s %lld, branch %u: %u tries, %u confirms, %u cancels, %u reverses", whose(book),
                (long long)sequence, b, branch->tried, branch->confirmed, branch->cancelled, branch->reversed);
    if ((op != 'T' && branch->tried == 0) || (op == 'R' && branch->confirmed == 0))
        violate(&sim->world, "T2", "%s %lld, branch %u: effect %c without what it follows", whose(book),
                (long long)sequence, b, op);
    if (op == 'T' && (branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY || branch->mark == MARK_REVERSED))
        violate(&sim->world, "T3", "%s %lld, branch %u: a try took effect after the cancel", whose(book),
                (long long)sequence, b);
    if (book == REAL)
        check_decided(sim, row, b, op);
}

/* T5: the mark and the effects change together. */
static void check_marked(struct sim *sim, int book, int64_t sequence, uint32_t b, const struct branch *branch) {
    static const struct {
        uint8_t tried, confirmed, cancelled;
    } stands[MARKS] = {[MARK_TRIED] = {1, 0, 0}, [MARK_CONFIRMED] = {1, 1, 0}, [MARK_CANCELLED] = {1, 0, 1}};
    int fits = branch->tried == stands[branch->mark].tried && branch->confirmed == stands[branch->mark].confirmed &&
               branch->cancelled == stands[branch->mark].cancelled && branch->reversed == 0;
    if (branch->mark == MARK_REVERSED) /* what was confirmed is reversed, what was only tried is cancelled */
        fits =
            branch->tried == 1 && branch->confirmed + branch->cancelled == 1 && branch->reversed == branch->confirmed;
    if (!fits)
        violate(&sim->world, "T5", "%s %lld, branch %u is %s with %u tries, %u confirms, %u cancels, %u reverses",
                whose(book), (long long)sequence, b, mark_names[branch->mark], branch->tried, branch->confirmed,
                branch->cancelled, branch->reversed);
}

static void check_move(struct sim *sim, int64_t sequence, uint32_t b, enum mark from, enum mark to) {
    if (from == to || from == MARK_ABSENT || (from == MARK_TRIED && (to == MARK_CONFIRMED || to == MARK_CANCELLED)) ||
        ((from == MARK_TRIED || from == MARK_CONFIRMED) && to == MARK_REVERSED))
        return;
    const char *invariant = from == MARK_CANCELLED || from == MARK_EMPTY || from == MARK_REVERSED ? "T3"
                            : from == MARK_REJECTED                                               ? "T8"
                                                                                                  : "T1";
    violate(&sim->world, invariant, "the mark of gid %lld, branch %u went from %s to %s", (long long)sequence, b,
            mark_names[from], mark_names[to]);
}

/* T6: only a floor that its log has published, or the rogue has named, and never backwards. */
void mirror_floor(struct sim *sim, enum participant participant, const uint8_t log[16], int64_t floor) {
    struct checker *checker = sim->checker;
    int which = rogue_is(sim, log) ? ROGUE : REAL;
    struct ledger *ledger = &checker->ledgers[participant];
    int64_t published = which == ROGUE ? rogue_floor(sim) : checker->books[REAL].floor;
    if (floor > published || floor < ledger->floors[which])
        violate(&sim->world, "T6", "%s has floor %lld of %s log; %lld is published, and it had %lld",
                participant_names[participant], (long long)floor, which == ROGUE ? "the rogue's" : "the",
                (long long)published, (long long)ledger->floors[which]);
    if (floor > ledger->floors[which] && which == REAL)
        cover("floor raised");
    if (floor > ledger->floors[which])
        ledger->raised[which] = ledger->commits;
    ledger->floors[which] = floor;
}

void mirror_mark(struct sim *sim, enum participant participant, const uint8_t log[16], int64_t sequence, uint32_t b,
                 int64_t state) {
    int book;
    struct row *row = mirror_row(sim, log, sequence, &book);
    if (row == NULL || b >= BRANCHES || state <= MARK_ABSENT || state >= MARKS) {
        violate(&sim->world, "T5", "a guard of gid %lld, branch %u with state %lld", (long long)sequence, b,
                (long long)state);
        return;
    }
    struct ledger *ledger = &sim->checker->ledgers[participant];
    struct branch *branch = &row->branches[b];
    enum mark before = branch->mark;
    if (branch->gone || sequence < ledger->floors[book])
        violate(&sim->world, "T6", "%s: branch %u of %s %lld has a guard below the floor, %lld",
                participant_names[participant], b, whose(book), (long long)sequence, (long long)ledger->floors[book]);
    check_move(sim, sequence, b, before, (enum mark)state);
    branch->mark = (enum mark)state;
    branch->seen = ledger->looks;
    branch->participant = participant;
    check_marked(sim, book, sequence, b, branch);
    if (before == branch->mark)
        return;
    ledger->guards += before == MARK_ABSENT;
    if (branch->mark == MARK_TRIED)
        branch->tried_at = sim->world.now;
    int cancelled = branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY;
    if (cancelled || branch->mark == MARK_REVERSED)
        branch->cancelled_in = ledger->commits;
    if (cancelled && book == REAL && mirror_says(row->now.state, 0) != OUTCOME_ROLLBACK)
        violate(&sim->world, "C3", "gid %lld is %s when branch %u is cancelled", (long long)sequence,
                state_names[row->now.state], b);
}

static void find_gone(struct sim *sim, enum participant participant, int which) {
    struct book *book = &sim->checker->books[which];
    struct ledger *ledger = &sim->checker->ledgers[participant];
    for (int64_t i = 1; i <= book->highest; i++)
        for (uint32_t b = 0; book->rows[i] != NULL && b < BRANCHES; b++) {
            struct branch *branch = &book->rows[i]->branches[b];
            if (branch->mark == MARK_ABSENT || branch->gone || branch->participant != participant ||
                branch->seen == ledger->looks)
                continue;
            branch->gone = 1;
            ledger->guards--;
            if (i >= ledger->floors[which])
                violate(&sim->world, "T6", "%s: the guard of %s %lld, branch %u (%s) is gone; the floor is %lld",
                        participant_names[participant], whose(which), (long long)i, b, mark_names[branch->mark],
                        (long long)ledger->floors[which]);
        }
}

void mirror_participant_end(struct sim *sim, enum participant participant, int64_t from, int64_t guards) {
    struct checker *checker = sim->checker;
    struct ledger *ledger = &checker->ledgers[participant];
    for (int64_t i = from + 1; i <= ledger->last; i++) {
        const struct effect *effect = &ledger->effects[i];
        if (effect->gid < ledger->floors[effect->book])
            continue; /* its mark went with the floor that rose in the same commit, and was never seen */
        check_marked(sim, effect->book, effect->gid, effect->branch,
                     &checker->books[effect->book].rows[effect->gid]->branches[effect->branch]);
    }
    if (guards < ledger->guards) {
        find_gone(sim, participant, REAL);
        find_gone(sim, participant, ROGUE);
    }
    ledger->looks++;
}

/* ---- the whole ---- */

int check_dropped(struct sim *sim, const char *gid) {
    const struct row *row = mirror_gid(sim, gid);
    return row != NULL && row->dropped;
}

int check_all_ended(struct sim *sim, char *why, size_t size) {
    const struct book *book = &sim->checker->books[REAL];
    for (int64_t i = 1; i <= book->highest; i++)
        if (book->rows[i] != NULL && book->rows[i]->stored && !mirror_is_end(book->rows[i]->now.state)) {
            snprintf(why, size, "gid %lld is still %s, epoch %lld, after %lld attempts", (long long)i,
                     state_names[book->rows[i]->now.state], (long long)book->rows[i]->now.epoch,
                     (long long)book->rows[i]->now.attempts);
            return 0;
        }
    return 1;
}

void check_touched(struct sim *sim, int which, enum touch touch) {
    sim->touched[which] |= (uint32_t)touch;
}

void check_died(struct sim *sim) {
    sim->checker->unattributed = 1;
    for (int which = 0; which < CLERKS; which++)
        check_touched(sim, which, TOUCH_ALL);
}

void check_healed(struct sim *sim) {
    sim->checker->healed = sim->world.now;
}

void check_init(struct sim *sim) {
    sim->checker = world_alloc(&sim->world, sizeof *sim->checker);
    sim->checker->prng = prng_new(sim->world.seed, "checker");
    sim->checker->looks = 1;
    for (int p = 0; p < PARTICIPANTS; p++)
        sim->checker->ledgers[p].looks = 1;
}

/* L3: what a try holds is let go within the bound. */
void check_locks(struct sim *sim, int64_t bound) {
    const struct book *book = &sim->checker->books[REAL];
    int64_t healed = sim->checker->healed;
    for (int64_t i = 1; healed != 0 && i <= book->highest; i++)
        for (uint32_t b = 0; book->rows[i] != NULL && b < BRANCHES; b++) {
            const struct branch *branch = &book->rows[i]->branches[b];
            int64_t since = branch->tried_at > healed ? branch->tried_at : healed;
            if (branch->mark == MARK_TRIED && !book->rows[i]->resolved && sim->world.now - since > bound)
                violate(&sim->world, "L3", "gid %lld, branch %u has held what it tried for %lld s", (long long)i, b,
                        (long long)((sim->world.now - since) / SECOND));
        }
}

/* T4: every branch stands where the outcome says, and no try is left without an end. */
static void check_branches(struct sim *sim, const struct row *row) {
    enum outcome outcome = mirror_says(row->now.state, 0);
    for (uint32_t b = 0; b < BRANCHES; b++) {
        const struct branch *branch = &row->branches[b];
        int fits = outcome == OUTCOME_COMMIT ? branch->tried == branch->confirmed && branch->cancelled == 0
                   : outcome == OUTCOME_ROLLBACK
                       ? branch->tried == branch->cancelled && branch->confirmed == 0
                       : branch->tried == branch->cancelled + branch->confirmed && branch->mark != MARK_CONFIRMED;
        if (!fits || branch->reversed != (outcome == OUTCOME_REVERSED ? branch->confirmed : 0) ||
            (b < row->now.count && outcome != OUTCOME_ROLLBACK && branch->tried != 1))
            violate(&sim->world, "T4", "gid %lld is %s; branch %u had %u tries, %u confirms, %u cancels, %u reverses",
                    (long long)row->now.sequence, state_names[row->now.state], b, branch->tried, branch->confirmed,
                    branch->cancelled, branch->reversed);
    }
}

void check_final(struct sim *sim) {
    dump_final(sim);
    const struct book *book = &sim->checker->books[REAL];
    char why[200];
    if (!check_all_ended(sim, why, sizeof why))
        violate(&sim->world, "L1", "%s", why);
    for (int64_t i = 1; i <= book->highest; i++)
        if (book->rows[i] != NULL && !book->rows[i]->resolved)
            check_branches(sim, book->rows[i]);
}
