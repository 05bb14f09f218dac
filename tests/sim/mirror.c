#include "mirror.h"

#include <stdio.h>
#include <string.h>

#include "cover.h"
#include "rogue.h"

const char *const mark_names[MARKS] = {"absent", "tried", "rejected", "confirmed", "cancelled", "empty"};
static const char *const state_names[] = {"nothing",      "ACTIVE",    "COMMITTING",
                                          "ROLLING_BACK", "COMMITTED", "ROLLED_BACK"};

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
        b->rows[sequence]->sequence = sequence;
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

/* C1: one decision over all time and all places where it shows. */
void mirror_outcome(struct sim *sim, struct row *row, enum outcome outcome, const char *how) {
    if (outcome == OUTCOME_NONE)
        return;
    row->outcomes |= (uint32_t)outcome;
    if (row->how[outcome] == NULL)
        row->how[outcome] = how;
    if (row->outcomes == (OUTCOME_COMMIT | OUTCOME_ROLLBACK))
        violate(&sim->world, "C1", "gid %lld has two outcomes: commit (%s) and rollback (%s)", (long long)row->sequence,
                row->how[OUTCOME_COMMIT], row->how[OUTCOME_ROLLBACK]);
    if (outcome == OUTCOME_COMMIT && row->aborted)
        violate(&sim->world, "C5", "gid %lld is committed (%s), though its client gave it up", (long long)row->sequence,
                how);
}

static enum outcome outcome_of(int64_t state) {
    return state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED       ? OUTCOME_COMMIT
           : state == CDTX_TX_ROLLING_BACK || state == CDTX_TX_ROLLED_BACK ? OUTCOME_ROLLBACK
                                                                           : OUTCOME_NONE;
}

static int is_end(int64_t state) {
    return state == CDTX_TX_COMMITTED || state == CDTX_TX_ROLLED_BACK;
}

/* ---- the log ---- */

/* C5: a commit needs a durable success of every registered branch. */
static void check_valid(struct sim *sim, const struct row *row) {
    for (uint32_t b = 0; b < row->count && b < BRANCHES; b++)
        if (row->branches[b].tried == 0 || row->branches[b].mark == MARK_REJECTED)
            violate(&sim->world, "C5", "gid %lld is committed, but branch %u is %s", (long long)row->sequence, b,
                    mark_names[row->branches[b].mark]);
}

/* T4, at once: a branch is recorded as acknowledged, and the end is recorded, only when the branch has answered phase
 * two. */
static void check_acknowledged(struct sim *sim, const struct row *row) {
    int ended = is_end(row->state);
    for (uint32_t b = 0; b < row->count && b < BRANCHES; b++) {
        const struct branch *branch = &row->branches[b];
        int fits = outcome_of(row->state) == OUTCOME_COMMIT
                       ? branch->mark == MARK_CONFIRMED
                       : branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY || branch->mark == MARK_REJECTED;
        if (!fits && (ended || (row->acked >> b & 1)))
            violate(&sim->world, "T4", "gid %lld is %s with branch %u recorded as done, but it is %s",
                    (long long)row->sequence, state_names[row->state], b, mark_names[branch->mark]);
    }
}

/* C7: only moves of the published graph, perhaps two at once between two looks; the last states absorb. */
static void check_path(struct sim *sim, const struct row *row, int64_t to) {
    int64_t from = row->state;
    int fits = from == to || (from == CDTX_TX_ACTIVE && to > from && to <= CDTX_TX_ROLLED_BACK) ||
               (from == CDTX_TX_COMMITTING && to == CDTX_TX_COMMITTED) ||
               (from == CDTX_TX_ROLLING_BACK && to == CDTX_TX_ROLLED_BACK);
    if (!fits)
        violate(&sim->world, "C7", "gid %lld went from %s to state %lld", (long long)row->sequence, state_names[from],
                (long long)to);
}

/* C6: every change raises the epoch, and one that is not a take is made by whoever holds the last epoch. */
static void check_fenced(struct sim *sim, const struct row *row, const struct life *writer, const struct tx_row *now) {
    if (now->epoch <= row->epoch) {
        violate(&sim->world, "C6", "gid %lld was changed at epoch %lld, though epoch %lld stood there",
                (long long)row->sequence, (long long)now->epoch, (long long)row->epoch);
        return;
    }
    int takes = now->attempts != row->attempts && !(row->state == CDTX_TX_ACTIVE && now->state == CDTX_TX_COMMITTING);
    if (!takes && writer != NULL && row->writer != NULL && writer != row->writer && !row->writer->doubtful)
        violate(&sim->world, "C6", "gid %lld was changed by %s, though %s had taken it over", (long long)row->sequence,
                writer->name, row->writer->name);
}

static void cover_move(int64_t from, int64_t to) {
    char text[64];
    if (from == CDTX_TX_ACTIVE && is_end(to)) {
        cover_move(from, to - 2);
        from = to - 2;
    }
    snprintf(text, sizeof text, "%s>%s", state_names[from], state_names[to]);
    cover(text);
}

void mirror_tx(struct sim *sim, const struct life *writer, const struct tx_row *now) {
    struct row *row = mirror_row(sim, sim->checker->books[REAL].log, now->sequence, NULL);
    if (row == NULL)
        return;
    if (now->state < CDTX_TX_ACTIVE || now->state > CDTX_TX_ROLLED_BACK) {
        violate(&sim->world, "C7", "gid %lld has state %lld", (long long)now->sequence, (long long)now->state);
        return;
    }
    int changed = row->state != now->state || row->epoch != now->epoch || row->attempts != now->attempts ||
                  row->acked != now->acked || row->count != now->count || row->reason != now->reason;
    if (row->stored && !changed && strcmp(row->name, now->name) == 0)
        return;
    if (row->stored) {
        if (strcmp(row->name, now->name) != 0)
            violate(&sim->world, "C8", "gid %lld was given out twice: to %s and to %s", (long long)row->sequence,
                    row->name, now->name);
        check_path(sim, row, now->state);
        check_fenced(sim, row, writer, now);
        if (now->count > row->count && row->state != CDTX_TX_ACTIVE)
            violate(&sim->world, "C4", "gid %lld got branch %u when it was %s", (long long)row->sequence, row->count,
                    state_names[row->state]);
        if (now->count < row->count || (row->acked & ~now->acked) != 0)
            violate(&sim->world, "C7", "gid %lld lost branches or acknowledgements", (long long)row->sequence);
    }
    int64_t before = row->stored ? row->state : 0;
    row->stored = 1;
    row->writer = writer;
    row->state = now->state;
    row->epoch = now->epoch;
    row->attempts = now->attempts;
    row->acked = now->acked;
    row->reason = now->reason;
    row->count = now->count;
    snprintf(row->name, sizeof row->name, "%s", now->name);
    mirror_outcome(sim, row, outcome_of(row->state), "recorded");
    check_acknowledged(sim, row);
    if (before == row->state)
        return;
    tell(&sim->world, "log", "gid %lld (%s): %s, epoch %lld, by %s", (long long)row->sequence, row->name,
         state_names[row->state], (long long)row->epoch, writer == NULL ? "somebody" : writer->name);
    if (before != 0)
        cover_move(before, row->state);
    if (outcome_of(row->state) == OUTCOME_COMMIT && outcome_of(before) != OUTCOME_COMMIT)
        check_valid(sim, row);
}

/* ---- the participants ---- */

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
    ledger->held += op == 'T' ? value : -value;
    ledger->sold += op == 'C' ? value : 0;
    const char *who = book == ROGUE ? "the rogue's gid" : "gid";
    uint32_t *count = op == 'T' ? &branch->tried : op == 'C' ? &branch->confirmed : &branch->cancelled;
    ++*count;
    tell(&sim->world, participant_names[participant], "effect %c of %s %lld/%u", op, who, (long long)sequence, b);
    if (*count > 1 || branch->confirmed + branch->cancelled > 1)
        violate(&sim->world, "T1", "%s %lld, branch %u: %u tries, %u confirms, %u cancels", who, (long long)sequence, b,
                branch->tried, branch->confirmed, branch->cancelled);
    if (op != 'T' && branch->tried == 0)
        violate(&sim->world, "T2", "%s %lld, branch %u: effect %c without a try before it", who, (long long)sequence, b,
                op);
    if (op == 'T' && (branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY))
        violate(&sim->world, "T3", "%s %lld, branch %u: a try took effect after the cancel", who, (long long)sequence,
                b);
    if (book == ROGUE)
        return;
    if (op == 'T' && (!row->stored || b >= row->count))
        violate(&sim->world, "C4", "gid %lld: branch %u took effect before it was registered", (long long)sequence, b);
    if (op != 'T' && outcome_of(row->state) != (op == 'C' ? OUTCOME_COMMIT : OUTCOME_ROLLBACK))
        violate(&sim->world, "C3", "gid %lld is %s when branch %u shows effect %c", (long long)sequence,
                state_names[row->state], b, op);
}

/* T5: the mark and the effects change together. */
static void check_marked(struct sim *sim, int book, int64_t sequence, uint32_t b, const struct branch *branch) {
    uint32_t tried = branch->mark == MARK_TRIED || branch->mark == MARK_CONFIRMED || branch->mark == MARK_CANCELLED;
    uint32_t confirmed = branch->mark == MARK_CONFIRMED, cancelled = branch->mark == MARK_CANCELLED;
    if (branch->tried != tried || branch->confirmed != confirmed || branch->cancelled != cancelled)
        violate(&sim->world, "T5", "%s %lld, branch %u is %s with %u tries, %u confirms, %u cancels",
                book == ROGUE ? "the rogue's gid" : "gid", (long long)sequence, b, mark_names[branch->mark],
                branch->tried, branch->confirmed, branch->cancelled);
}

static void check_move(struct sim *sim, int64_t sequence, uint32_t b, enum mark from, enum mark to) {
    if (from == to || from == MARK_ABSENT || (from == MARK_TRIED && (to == MARK_CONFIRMED || to == MARK_CANCELLED)))
        return;
    const char *invariant = from == MARK_CANCELLED || from == MARK_EMPTY ? "T3" : from == MARK_REJECTED ? "T8" : "T1";
    violate(&sim->world, invariant, "the mark of gid %lld, branch %u went from %s to %s", (long long)sequence, b,
            mark_names[from], mark_names[to]);
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
    struct branch *branch = &row->branches[b];
    enum mark before = branch->mark;
    check_move(sim, sequence, b, before, (enum mark)state);
    branch->mark = (enum mark)state;
    check_marked(sim, book, sequence, b, branch);
    if (before == branch->mark)
        return;
    if (branch->mark == MARK_TRIED)
        branch->tried_at = sim->world.now;
    if (branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY) {
        branch->cancelled_in = sim->checker->ledgers[participant].commits;
        if (book == REAL && outcome_of(row->state) != OUTCOME_ROLLBACK)
            violate(&sim->world, "C3", "gid %lld is %s when branch %u is cancelled", (long long)sequence,
                    state_names[row->state], b);
    }
}

void mirror_match(struct sim *sim, enum participant participant, int64_t from) {
    struct checker *checker = sim->checker;
    for (int64_t i = from + 1; i <= checker->ledgers[participant].last; i++) {
        const struct effect *effect = &checker->ledgers[participant].effects[i];
        check_marked(sim, effect->book, effect->gid, effect->branch,
                     &checker->books[effect->book].rows[effect->gid]->branches[effect->branch]);
    }
}

/* ---- what is sent, answered and told ---- */

/* L4: one process repeats a call no sooner than the shortest back-off, or its time-out if that is shorter. A process
 * whose threads may stand still between the look at the clock and the sending says nothing about it. */
static void check_distance(struct life *life, const cdtx_call *call, struct branch *branch) {
    struct sim *sim = life->sim;
    const struct knobs *knobs = &sim->knobs;
    int64_t least = knobs->backoff_min_ms < knobs->call_timeout_ms ? knobs->backoff_min_ms : knobs->call_timeout_ms;
    int64_t since = sim->world.now - branch->calls[call->op].at;
    int stands = knobs_have(knobs, FAULT_PAUSE) || knobs_have(knobs, FAULT_YIELD);
    if (branch->calls[call->op].by == life && !stands && since < least * MS * 9 / 10 - 5 * MS)
        violate(&sim->world, "L4", "%s calls branch %u of gid %lld again after %lld us; the least back-off is %lld ms",
                life->name, call->branch, (long long)call->sequence, (long long)since, (long long)least);
    branch->calls[call->op].at = sim->world.now;
    branch->calls[call->op].by = life;
}

void check_send(struct life *life, const cdtx_call *call) {
    struct sim *sim = life->sim;
    struct row *row = mirror_row(sim, call->log, call->sequence, NULL);
    if (row == NULL || call->branch >= BRANCHES || call->op < CDTX_CALL_TRY || call->op > CDTX_CALL_REVERSE)
        return;
    struct branch *branch = &row->branches[call->branch];
    /* A cancel may go to a branch whose registration has failed: that it was not registered is not always known. */
    if (!row->stored || (call->branch >= row->count && call->op != CDTX_CALL_CANCEL))
        violate(&sim->world, "C4", "%s calls branch %u of gid %lld, which is not registered", life->name, call->branch,
                (long long)call->sequence);
    if (call->op != CDTX_CALL_TRY) {
        enum outcome outcome = call->op == CDTX_CALL_CONFIRM ? OUTCOME_COMMIT : OUTCOME_ROLLBACK;
        if (outcome_of(row->state) != outcome)
            violate(&sim->world, "C3", "%s sends a %s of gid %lld, which is %s", life->name,
                    outcome == OUTCOME_COMMIT ? "confirm" : "cancel", (long long)call->sequence,
                    state_names[row->state]);
        if (call->attempt > row->attempts)
            violate(&sim->world, "R3", "%s makes attempt %u at gid %lld, of which %lld are recorded", life->name,
                    call->attempt, (long long)call->sequence, (long long)row->attempts);
        mirror_outcome(sim, row, outcome, "sent");
    }
    check_distance(life, call, branch);
    if (sim->checker->healed != 0 && ++branch->calls[call->op].late > 3)
        violate(&sim->world, "L1", "gid %lld, branch %u: more than 3 calls of operation %d after the heal",
                (long long)call->sequence, call->branch, call->op);
}

static void check_first(struct sim *sim, const cdtx_call *call, const cdtx_reply *reply, struct branch *branch) {
    const char *text = reply->code == 0 || reply->text == NULL ? "" : reply->text;
    if (!branch->answered) {
        branch->answered = 1;
        branch->code = reply->code;
        branch->length = reply->length;
        branch->answer = world_copy(&sim->world, reply->result, reply->length);
        branch->text = world_copy(&sim->world, text, strlen(text));
        return;
    }
    if (reply->code != 0 && strcmp(text, branch->text) != 0)
        violate(&sim->world, "T8", "the try of gid %lld, branch %u was refused with '%s' first and '%s' later",
                (long long)call->sequence, call->branch, branch->text, text);
    if (branch->code != reply->code || branch->length != reply->length ||
        memcmp(branch->answer, reply->result == NULL ? "" : reply->result, reply->length) != 0)
        violate(&sim->world, "T8", "the try of gid %lld, branch %u answered %s '%s' first and %s '%.*s' later",
                (long long)call->sequence, call->branch, cdtx_code_name(branch->code), branch->answer,
                cdtx_code_name(reply->code), (int)reply->length, reply->length == 0 ? "" : (const char *)reply->result);
}

static void answered_try(struct life *life, const cdtx_call *call, const cdtx_reply *reply, struct branch *branch) {
    struct sim *sim = life->sim;
    int cancelled = branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY;
    if (reply->code != 0 && reply->code != CDTX_REFUSED)
        return;
    int participant = strcmp(call->participant, participant_names[ORDER]) == 0 ? ORDER : STOCK;
    if (cancelled && branch->cancelled_in == sim->checker->ledgers[participant].commits)
        return; /* both in one commit: the try may have been first */
    if (cancelled && reply->code == 0)
        violate(&sim->world, "T3", "%s answers the try of gid %lld, branch %u with success after its cancel",
                life->name, (long long)call->sequence, call->branch);
    if (cancelled)
        return;
    if (reply->code == 0 && branch->tried == 0)
        violate(&sim->world, "C5", "%s answers the try of gid %lld, branch %u with success, but it had no effect",
                life->name, (long long)call->sequence, call->branch);
    check_first(sim, call, reply, branch);
    if (reply->code != 0 || !prng_chance(&sim->checker->prng, 1, 12))
        return;
    char gid[CDTX_GID_MAX];
    gid_text(call->log, call->sequence, gid);
    if (dump_image_effects(sim, (enum participant)participant, gid, call->branch, 'T') == 0)
        violate(&sim->world, "C2", "%s answered the try of gid %lld, branch %u, but a power loss would undo it",
                life->name, (long long)call->sequence, call->branch);
}

void check_answer(struct life *life, const cdtx_call *call, const cdtx_reply *reply) {
    struct sim *sim = life->sim;
    int book;
    struct row *row = mirror_row(sim, call->log, call->sequence, &book);
    if (row == NULL || call->branch >= BRANCHES)
        return;
    struct branch *branch = &row->branches[call->branch];
    if (call->op == CDTX_CALL_TRY) {
        answered_try(life, call, reply, branch);
    } else if (reply->code == 0) {
        int fits = call->op == CDTX_CALL_CONFIRM
                       ? branch->mark == MARK_CONFIRMED
                       : branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY || branch->mark == MARK_REJECTED;
        if (!fits)
            violate(&sim->world, "T4", "%s answers a %s of %s %lld, branch %u with success, but it is %s", life->name,
                    call->op == CDTX_CALL_CONFIRM ? "confirm" : "cancel", book == ROGUE ? "the rogue's gid" : "gid",
                    (long long)call->sequence, call->branch, mark_names[branch->mark]);
    }
}

void check_told(struct sim *sim, const char *gid, enum outcome outcome, const char *how) {
    struct row *row = mirror_gid(sim, gid);
    if (row == NULL)
        return;
    if (!row->stored)
        violate(&sim->world, "C2", "a client was told of gid %lld (%s), which is not recorded",
                (long long)row->sequence, how);
    mirror_outcome(sim, row, outcome, how);
    if (outcome != OUTCOME_COMMIT)
        return;
    if (outcome_of(row->state) != OUTCOME_COMMIT)
        violate(&sim->world, "C2", "a client was told that gid %lld is committed (%s); it is %s",
                (long long)row->sequence, how, state_names[row->state]);
    else if (prng_chance(&sim->checker->prng, 1, 5) &&
             outcome_of(dump_image_state(sim, row->sequence)) != OUTCOME_COMMIT)
        violate(&sim->world, "C2", "a client was told that gid %lld is committed (%s); a power loss would undo it",
                (long long)row->sequence, how);
}

void check_aborted(struct sim *sim, const char *gid) {
    struct row *row = mirror_gid(sim, gid);
    if (row == NULL)
        return;
    row->aborted = 1;
    if (row->outcomes & OUTCOME_COMMIT)
        violate(&sim->world, "C5", "gid %lld was committed before its client had asked", (long long)row->sequence);
}

const char *check_first_answer(struct sim *sim, const char *gid, uint32_t branch, uint32_t *length) {
    const struct row *row = mirror_gid(sim, gid);
    if (row == NULL || branch >= BRANCHES || !row->branches[branch].answered)
        return NULL;
    *length = row->branches[branch].length;
    return row->branches[branch].answer;
}

/* ---- the whole ---- */

int check_ended(struct sim *sim, const char *gid) {
    const struct row *row = mirror_gid(sim, gid);
    return row != NULL && is_end(row->state);
}

int check_all_ended(struct sim *sim, char *why, size_t size) {
    const struct book *book = &sim->checker->books[REAL];
    for (int64_t i = 1; i <= book->highest; i++)
        if (book->rows[i] != NULL && book->rows[i]->stored && !is_end(book->rows[i]->state)) {
            snprintf(why, size, "gid %lld is still %s, epoch %lld, after %lld attempts", (long long)i,
                     state_names[book->rows[i]->state], (long long)book->rows[i]->epoch,
                     (long long)book->rows[i]->attempts);
            return 0;
        }
    return 1;
}

void check_died(struct sim *sim) {
    sim->checker->unattributed = 1;
}

void check_healed(struct sim *sim) {
    sim->checker->healed = sim->world.now;
}

void check_init(struct sim *sim) {
    sim->checker = world_alloc(&sim->world, sizeof *sim->checker);
    sim->checker->prng = prng_new(sim->world.seed, "checker");
}

/* L3: what a try holds is let go within the bound. */
void check_locks(struct sim *sim, int64_t bound) {
    const struct book *book = &sim->checker->books[REAL];
    int64_t healed = sim->checker->healed;
    for (int64_t i = 1; healed != 0 && i <= book->highest; i++)
        for (uint32_t b = 0; book->rows[i] != NULL && b < BRANCHES; b++) {
            const struct branch *branch = &book->rows[i]->branches[b];
            int64_t since = branch->tried_at > healed ? branch->tried_at : healed;
            if (branch->mark == MARK_TRIED && sim->world.now - since > bound)
                violate(&sim->world, "L3", "gid %lld, branch %u has held what it tried for %lld s", (long long)i, b,
                        (long long)((sim->world.now - since) / SECOND));
        }
}

/* T4 and the residue: every branch stands where the outcome says, and no try is left without an end. */
void check_final(struct sim *sim) {
    dump_final(sim);
    const struct book *book = &sim->checker->books[REAL];
    char why[200];
    if (!check_all_ended(sim, why, sizeof why))
        violate(&sim->world, "L1", "%s", why);
    for (int64_t i = 1; i <= book->highest; i++) {
        const struct row *row = book->rows[i];
        for (uint32_t b = 0; row != NULL && b < BRANCHES; b++) {
            const struct branch *branch = &row->branches[b];
            uint32_t done = row->state == CDTX_TX_COMMITTED ? branch->confirmed : branch->cancelled;
            uint32_t other = row->state == CDTX_TX_COMMITTED ? branch->cancelled : branch->confirmed;
            if (branch->tried != done || other != 0 || (b < row->count && row->state == CDTX_TX_COMMITTED && done != 1))
                violate(&sim->world, "T4", "gid %lld is %s; branch %u had %u tries, %u confirms, %u cancels",
                        (long long)i, state_names[row->state], b, branch->tried, branch->confirmed, branch->cancelled);
        }
    }
}
