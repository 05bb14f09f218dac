/* What is sent, answered and told, against what is recorded. */
#include <stdio.h>
#include <string.h>

#include "cover.h"
#include "mirror.h"

const char *call_name(int32_t op) {
    static const char *const names[] = {"?", "try", "confirm", "cancel", "reverse"};
    return op >= CDTX_CALL_TRY && op <= CDTX_CALL_REVERSE ? names[op] : names[0];
}

static enum participant participant_of(const cdtx_call *call) {
    return strcmp(call->participant, participant_names[ORDER]) == 0 ? ORDER : STOCK;
}

static const char *whose(int book) {
    return book == ROGUE ? "the rogue's gid" : "gid";
}

/* ---- sent ---- */

/* L4: one engine repeats a call no sooner than the shortest back-off, or its time-out if that is shorter; the next one
 * takes up at once what the last has left. A process whose threads may stand still between the look at the clock and
 * the sending says nothing about it. */
static void check_distance(struct life *life, const cdtx_call *call, struct branch *branch) {
    struct sim *sim = life->sim;
    const struct knobs *knobs = &sim->knobs;
    int64_t least = knobs->backoff_min_ms < knobs->call_timeout_ms ? knobs->backoff_min_ms : knobs->call_timeout_ms;
    int64_t since = sim->world.now - branch->calls[call->op].at;
    int stands = knobs_have(knobs, FAULT_PAUSE) || knobs_have(knobs, FAULT_YIELD);
    int again = branch->calls[call->op].by == life && branch->calls[call->op].engine == life->engines;
    if (again && !stands && since < least * MS * 9 / 10 - 5 * MS)
        violate(&sim->world, "L4", "%s calls branch %u of gid %lld again after %lld us; the least back-off is %lld ms",
                life->name, call->branch, (long long)call->sequence, (long long)since, (long long)least);
    branch->calls[call->op].at = sim->world.now;
    branch->calls[call->op].by = life;
    branch->calls[call->op].engine = life->engines;
}

/* C3, and R3 for attempts at phase two. */
static void check_second(struct life *life, const cdtx_call *call, struct row *row) {
    struct sim *sim = life->sim;
    int64_t state = row->now.state;
    enum outcome outcome = call->op == CDTX_CALL_CANCEL    ? OUTCOME_ROLLBACK
                           : call->op == CDTX_CALL_REVERSE ? OUTCOME_REVERSED
                                                           : mirror_says(CDTX_TX_COMMITTING, row->now.reverse_after);
    /* What is sent may be overtaken by what another engine has recorded: a thread may stand between. */
    int fits = call->op == CDTX_CALL_CONFIRM
                   ? state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED ||
                         (row->now.reverse_after > 0 && mirror_says(state, 0) == OUTCOME_REVERSED)
                   : mirror_says(state, 0) == outcome;
    if (!fits)
        violate(&sim->world, "C3", "%s sends a %s of gid %lld, which is %s", life->name, call_name(call->op),
                (long long)call->sequence, state_names[state]);
    int counted_anew = (row->stepped_in & STEP_UNPARK) != 0;
    if (!counted_anew && call->attempt > row->now.attempts &&
        (call->op != CDTX_CALL_CONFIRM || state == CDTX_TX_COMMITTING))
        violate(&sim->world, "R3", "%s makes attempt %u at gid %lld, of which %lld are recorded", life->name,
                call->attempt, (long long)call->sequence, (long long)row->now.attempts);
    mirror_outcome(sim, row, outcome, "sent");
}

void check_send(struct life *life, const cdtx_call *call) {
    struct sim *sim = life->sim;
    struct row *row = mirror_row(sim, call->log, call->sequence, NULL);
    if (row == NULL || call->branch >= BRANCHES || call->op < CDTX_CALL_TRY || call->op > CDTX_CALL_REVERSE)
        return;
    struct branch *branch = &row->branches[call->branch];
    row->asked |= UINT32_C(1) << participant_of(call);
    /* A cancel may go to a branch whose registration has failed: that it was not registered is not always known. */
    if (!row->stored || (call->branch >= row->now.count && call->op != CDTX_CALL_CANCEL))
        violate(&sim->world, "C4", "%s calls branch %u of gid %lld, which is not registered", life->name, call->branch,
                (long long)call->sequence);
    if (call->floor > sim->checker->books[REAL].floor)
        violate(&sim->world, "T6", "%s sends floor %lld; %lld is recorded", life->name, (long long)call->floor,
                (long long)sim->checker->books[REAL].floor);
    if ((call->flags & CDTX_CALL_REVERSIBLE) != 0 && row->now.reverse_after == 0)
        violate(&sim->world, "C7", "gid %lld has no policy, and its try says it has", (long long)call->sequence);
    if (call->op != CDTX_CALL_TRY)
        check_second(life, call, row);
    if (row->stepped_in == 0) /* a person asks for an attempt at once */
        check_distance(life, call, branch);
    if (sim->checker->healed != 0 && ++branch->calls[call->op].late > 3)
        violate(&sim->world, "L1", "gid %lld, branch %u: more than 3 calls of %s after the heal",
                (long long)call->sequence, call->branch, call_name(call->op));
}

/* ---- answered ---- */

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
    int cancelled = branch->mark == MARK_CANCELLED || branch->mark == MARK_EMPTY || branch->mark == MARK_REVERSED;
    enum participant participant = participant_of(call);
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

static int fits_success(int32_t op, enum mark mark) {
    switch (op) {
    case CDTX_CALL_CONFIRM:
        return mark == MARK_CONFIRMED || mark == MARK_REVERSED; /* which may have come after it, in the same commit */
    case CDTX_CALL_CANCEL:
        return mark == MARK_CANCELLED || mark == MARK_EMPTY || mark == MARK_REJECTED || mark == MARK_REVERSED;
    default:
        return mark == MARK_REVERSED || mark == MARK_CANCELLED || mark == MARK_EMPTY || mark == MARK_REJECTED;
    }
}

void check_answer(struct life *life, const cdtx_call *call, const cdtx_reply *reply) {
    struct sim *sim = life->sim;
    int book;
    struct row *row = mirror_row(sim, call->log, call->sequence, &book);
    if (row == NULL || call->branch >= BRANCHES)
        return;
    const struct branch *branch = &row->branches[call->branch];
    /* A call may ride in the very commit that raises the floor and deletes its guard, and before that. */
    const struct ledger *ledger = &sim->checker->ledgers[strcmp(call->participant, participant_names[ORDER]) != 0];
    int passed = call->sequence < ledger->floors[book] && ledger->raised[book] == ledger->commits;
    int gone = branch->gone && !passed;
    if (reply->code == CDTX_EXPIRED && call->sequence >= sim->checker->books[book].floor && book == REAL)
        violate(&sim->world, "T6", "%s answers a %s of gid %lld with EXPIRED; the floor is %lld", life->name,
                call_name(call->op), (long long)call->sequence, (long long)sim->checker->books[book].floor);
    if (gone && reply->code == 0)
        violate(&sim->world, "T6", "%s answers a %s of %s %lld with success, though its guard is gone", life->name,
                call_name(call->op), whose(book), (long long)call->sequence);
    else if (call->op == CDTX_CALL_TRY && (reply->code == 0 || reply->code == CDTX_REFUSED))
        answered_try(life, call, reply, &row->branches[call->branch]);
    else if (call->op != CDTX_CALL_TRY && reply->code == 0 && !passed && !fits_success(call->op, branch->mark))
        violate(&sim->world, "T4", "%s answers a %s of %s %lld, branch %u with success, but it is %s", life->name,
                call_name(call->op), whose(book), (long long)call->sequence, call->branch, mark_names[branch->mark]);
}

void check_said_no(struct sim *sim, const char *gid) {
    struct row *row = mirror_gid(sim, gid);
    if (row != NULL)
        row->said_no++;
}

void check_parked(struct sim *sim, const char *gid) {
    struct row *row = mirror_gid(sim, gid);
    if (row == NULL)
        return;
    cover("parked");
    if (++row->parkings > row->cases)
        violate(&sim->world, "C10", "%u alarms about gid %lld, which has become a case %lld times", row->parkings,
                (long long)row->now.sequence, (long long)row->cases);
}

void check_steps_in(struct sim *sim, const char *gid, enum step_in kind) {
    struct row *row = mirror_gid(sim, gid);
    if (row != NULL)
        row->stepped_in |= (uint32_t)kind;
}

/* ---- told ---- */

void check_told(struct sim *sim, const char *gid, enum outcome outcome, const char *how) {
    struct row *row = mirror_gid(sim, gid);
    if (row == NULL)
        return;
    if (!row->stored)
        violate(&sim->world, "C2", "a client was told of gid %lld (%s), which is not recorded",
                (long long)row->now.sequence, how);
    mirror_outcome(sim, row, outcome, how);
    if (outcome != OUTCOME_COMMIT || row->dropped)
        return;
    if (mirror_says(row->now.state, row->now.reverse_after) != OUTCOME_COMMIT)
        violate(&sim->world, "C2", "a client was told that gid %lld is committed (%s); it is %s",
                (long long)row->now.sequence, how, state_names[row->now.state]);
    else if (prng_chance(&sim->checker->prng, 1, 5) &&
             mirror_says(dump_image_state(sim, row->now.sequence), row->now.reverse_after) != OUTCOME_COMMIT)
        violate(&sim->world, "C2", "a client was told that gid %lld is committed (%s); a power loss would undo it",
                (long long)row->now.sequence, how);
}

void check_aborted(struct sim *sim, const char *gid) {
    struct row *row = mirror_gid(sim, gid);
    if (row == NULL)
        return;
    row->aborted = 1;
    if (row->possible == OUTCOME_COMMIT)
        violate(&sim->world, "C5", "gid %lld was committed before its client had asked", (long long)row->now.sequence);
}

const char *check_first_answer(struct sim *sim, const char *gid, uint32_t branch, uint32_t *length) {
    const struct row *row = mirror_gid(sim, gid);
    if (row == NULL || branch >= BRANCHES || !row->branches[branch].answered)
        return NULL;
    *length = row->branches[branch].length;
    return row->branches[branch].answer;
}
