#include "engine/drive.h"

#include <stdio.h>

#include "base/backoff.h"

/* Every event locks the transaction, moves it by one step, and only then, unlocked, does what the new step asks for:
 * links and coordinators may answer before they return. Whoever made the move is the only one to act on it. */

static void send_calls(cdtx_tx *tx, int32_t op);
typedef void (*move_fn)(cdtx_tx *tx); /* what to do next, unlocked; NULL: nothing */

static void decide(cdtx_tx *tx);
static void reverse(cdtx_tx *tx);
static void settle(cdtx_tx *tx);
static void over(cdtx_tx *tx);

/* ---- answers to the host ---- */

static void answer_locked(cdtx_tx *tx, int32_t result, const cdtx_error *err) {
    if (tx->answered)
        return;
    tx->answered = 1;
    tx->result = result;
    if (result != 0 && err != NULL)
        tx->err = *err;
}

/* After unlocking, whenever an answer may have been given. A completion goes out with the answer, as a blocking call
 * returns with it: the end that is still to be written to the log waits for somebody else's sync. */
static void tell(cdtx_tx *tx) {
    cdtx *engine = tx->engine;
    if (!tx->submitted) {
        cdtx__pump_open(&engine->pump, &tx->gate);
        return;
    }
    cdtx__lock(engine->env, &tx->lock);
    int due = tx->answered && tx->completion.kind == 0;
    if (due) {
        tx->completion.kind = CDTX_WORK_COMPLETION;
        tx->completion.engine = engine;
        cdtx__tx_ref(tx); /* the completion's */
    }
    cdtx__unlock(engine->env, &tx->lock);
    if (due)
        cdtx__pump_deliver(&engine->pump, &tx->completion.link);
}

/* The outcome as cdtx_tx_run answers it; tx->err gets the sentence. */
static int32_t outcome_result(cdtx_tx *tx, int32_t state, int32_t reason, cdtx_error *err) {
    if (state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED)
        return 0;
    if (state == CDTX_TX_REVERSING || state == CDTX_TX_REVERSED)
        return cdtx__fail(err, CDTX_REFUSED,
                          "%s was taken back by its policy, after definite noes from confirms%s%.300s", tx->gid,
                          tx->refusal_err.text[0] == '\0' ? "" : "; the last: ", tx->refusal_err.text);
    int timed_out = tx->refusal == CDTX_TIMEOUT;
    if (tx->refusal != 0 && reason == (timed_out ? COORD_REASON_TIMEOUT : COORD_REASON_ASKED)) {
        *err = tx->refusal_err;
        return tx->refusal;
    }
    if (reason == COORD_REASON_ASKED)
        return cdtx__fail(err, CDTX_REFUSED, "%s was rolled back on request", tx->gid);
    if (reason == COORD_REASON_ABANDONED)
        return cdtx__fail(err, CDTX_REFUSED, "%s was rolled back: its initiator ended before its decision", tx->gid);
    return cdtx__fail(err, CDTX_TIMEOUT, "%s was rolled back: its global timeout_ms was over before it was decided",
                      tx->gid);
}

/* ---- timer ---- */

/* A timer that is set holds a reference, which passes to its firing. */
static void arm_locked(cdtx_tx *tx, int64_t at_us) {
    cdtx__tx_ref(tx);
    if (!cdtx__pump_arm(&tx->engine->pump, &tx->timer, at_us))
        cdtx__tx_unref(tx); /* it had one already; never the last */
}

/* ---- calls ---- */

static void wait_locked(struct drive_branch *b, int waiting) {
    if (b->waiting != waiting)
        cdtx__peer_waits(b->peer, waiting ? 1 : -1);
    b->waiting = waiting;
}

static void forget_calls_locked(cdtx_tx *tx) {
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        struct drive_branch *b = &tx->branches[i];
        wait_locked(b, 0);
        if (b->call != 0 && cdtx__call_forget(tx->engine, b->call))
            cdtx__tx_unref(tx); /* never the last: being under way holds one */
        b->call = 0;
    }
}

static int64_t backoff_ms(const cdtx *engine, uint32_t attempt) {
    return cdtx__backoff_ms(engine->env, attempt, engine->options.backoff_min_ms, engine->options.backoff_max_ms);
}

/* Registers a call to every branch that has not answered and is due; the caller sends them once unlocked. */
static uint64_t register_calls_locked(cdtx_tx *tx, uint64_t strangers) {
    uint64_t which = 0;
    int64_t now = cdtx__now_us(tx->engine->env);
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        struct drive_branch *b = &tx->branches[i];
        if (b->answered || b->again_us > now)
            continue;
        if (b->call != 0 && cdtx__call_forget(tx->engine, b->call))
            cdtx__tx_unref(tx);
        b->call = 0;
        b->again_us = now + tx->engine->options.call_timeout_ms * 1000;
        if (strangers & UINT64_C(1) << i)
            continue; /* cdtx__drives_recheck may still come in time for this attempt */
        b->attempt++;
        b->sent_us = now;
        if (tx->step == STEP_TRYING && b->expiry_us == INT64_MAX)
            b->expiry_us = now + tx->branch_timeout_ms * 1000;
        wait_locked(b, 1);
        cdtx__tx_ref(tx);
        if (cdtx__call_register(tx->engine, tx, &b->call, NULL) != 0) {
            b->call = 0; /* as if it had been lost on its way */
            cdtx__tx_unref(tx);
            continue;
        }
        which |= UINT64_C(1) << i;
    }
    return which;
}

static int64_t next_call_locked(const cdtx_tx *tx) {
    int64_t at = tx->step == STEP_TRYING ? tx->deadline_us : INT64_MAX;
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        const struct drive_branch *b = &tx->branches[i];
        if (!b->answered && b->again_us < at)
            at = b->again_us;
        if (!b->answered && tx->step == STEP_TRYING && b->expiry_us < at)
            at = b->expiry_us;
    }
    return at;
}

/* After a restart the log is read before the host has registered its participants. Asked without a lock: the link looks
 * in the engine. */
static uint64_t find_strangers(const cdtx_tx *tx) {
    const struct cdtx_link *link = &tx->engine->link;
    uint64_t strangers = 0;
    for (uint32_t i = 0; i < tx->branch_count; i++)
        if (!link->knows(link->user, tx->engine, tx->branches[i].participant))
            strangers |= UINT64_C(1) << i;
    return strangers;
}

/* Calls are made up under the lock: a reply to the first may move the transaction on before the second is sent. */
static void send_calls(cdtx_tx *tx, int32_t op) {
    cdtx *engine = tx->engine;
    cdtx_call calls[CDTX_BRANCHES_MAX];
    uint32_t count = 0;
    uint64_t strangers = tx->adopted ? find_strangers(tx) : 0;
    cdtx__lock(engine->env, &tx->lock);
    uint64_t which = register_calls_locked(tx, strangers);
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        if (!(which & UINT64_C(1) << i))
            continue;
        struct drive_branch *b = &tx->branches[i];
        cdtx_call *call = &calls[count++];
        *call = (cdtx_call){.sequence = tx->sequence,
                            .id = b->call,
                            .epoch = tx->epoch,
                            .branch = i,
                            .op = op,
                            .attempt = b->attempt,
                            .length = b->length,
                            .flags = tx->reverse_after > 0 ? CDTX_CALL_REVERSIBLE : 0,
                            .floor = __atomic_load_n(&engine->floor, __ATOMIC_RELAXED),
                            .participant = b->participant,
                            .payload = b->payload};
        memcpy(call->log, engine->coord.log(engine->coord.self), sizeof call->log);
    }
    int64_t at = next_call_locked(tx);
    if (at != INT64_MAX)
        arm_locked(tx, at);
    cdtx__tx_ref(tx); /* the calls borrow from it, and a reply to the first may end it before the last is sent */
    cdtx__unlock(engine->env, &tx->lock);
    for (uint32_t i = 0; i < count; i++)
        (void)cdtx__call_send(engine, &calls[i], NULL); /* not sent is like lost: the timer sends again */
    cdtx__tx_unref(tx);
}

/* A definite no: repeating the same call cannot help. */
static int is_definite(int32_t code) {
    return code == CDTX_REFUSED || code == CDTX_CONFLICT || code == CDTX_NOT_FOUND || code == CDTX_INVALID ||
           code == CDTX_LIMIT || code == CDTX_UNSUPPORTED || code == CDTX_EXPIRED;
}

static void keep_text(cdtx_error *err, const struct drive_branch *b, const cdtx_reply *reply) {
    cdtx__fail(err, reply->code, "%s: %.380s", b->participant, reply->text == NULL ? "" : reply->text);
}

/* 1 when the try phase is over for what was asked. */
static int try_replied_locked(cdtx_tx *tx, struct drive_branch *b, const cdtx_reply *reply) {
    if (reply->code == 0) {
        tx->refusal = cdtx__tx_keep_result(tx, b, reply, &tx->refusal_err);
        if (tx->refusal != 0)
            return 1;
        b->answered = 1;
        wait_locked(b, 0);
        return --tx->outstanding == 0;
    }
    keep_text(&tx->refusal_err, b, reply);
    if (is_definite(reply->code)) {
        tx->refusal = reply->code;
        return 1;
    }
    b->again_us = cdtx__now_us(tx->engine->env) + backoff_ms(tx->engine, b->attempt) * 1000;
    arm_locked(tx, next_call_locked(tx));
    return 0;
}

/* Tries are over: decide, or give the step's answer to the host. 1: decide. */
static int tries_over_locked(cdtx_tx *tx, int32_t code, const cdtx_error *err) {
    forget_calls_locked(tx);
    if (tx->declared) {
        tx->step = STEP_DECIDING;
        tx->outcome = code == 0 ? CDTX_TX_COMMITTING : CDTX_TX_ROLLING_BACK;
        return 1;
    }
    tx->step = STEP_IDLE;
    answer_locked(tx, code, err);
    return 0;
}

static int finish_replied_locked(cdtx_tx *tx, uint32_t branch, const cdtx_reply *reply) {
    struct drive_branch *b = &tx->branches[branch];
    b->answered = 1; /* for this attempt */
    wait_locked(b, 0);
    if (reply->code == 0)
        tx->acked |= INT64_C(1) << branch;
    else
        keep_text(&tx->refusal_err, b, reply);
    if (reply->code == CDTX_REFUSED && tx->outcome == CDTX_TX_COMMITTING)
        tx->noes++;
    return --tx->outstanding == 0;
}

static int all_acked(const cdtx_tx *tx) {
    int64_t all = (INT64_C(1) << tx->branch_count) - 1;
    return (tx->acked & all) == all;
}

/* One attempt at phase two is over. Only definite noes count for the policy, never time-outs (trap 18). */
static move_fn attempt_over_locked(cdtx_tx *tx) {
    if (tx->outcome == CDTX_TX_COMMITTING && MUTANT(tx->engine->env, "trap-18"))
        tx->noes += tx->outstanding;
    forget_calls_locked(tx);
    int give_up = tx->outcome == CDTX_TX_COMMITTING && tx->reverse_after > 0 && tx->noes >= tx->reverse_after;
    if (give_up && !all_acked(tx)) {
        tx->step = STEP_DECIDING;
        return reverse;
    }
    tx->step = STEP_SETTLING;
    return settle;
}

void cdtx__drive_replied(cdtx_tx *tx, uint64_t id, const cdtx_reply *reply) {
    move_fn next = NULL;
    int told = 0;
    cdtx__lock(tx->engine->env, &tx->lock);
    uint32_t branch = 0;
    while (branch < tx->branch_count && tx->branches[branch].call != id)
        branch++;
    if (branch < tx->branch_count) { /* else it was forgotten while it came in */
        struct drive_branch *b = &tx->branches[branch];
        cdtx__histogram_add(&tx->engine->call_us, cdtx__now_us(tx->engine->env) - b->sent_us);
        b->call = 0;
        if (tx->step == STEP_TRYING && try_replied_locked(tx, b, reply)) {
            if (tries_over_locked(tx, tx->refusal, &tx->refusal_err))
                next = decide;
            else
                told = 1;
        } else if (tx->step == STEP_FINISHING && finish_replied_locked(tx, branch, reply)) {
            next = attempt_over_locked(tx);
        }
    }
    cdtx__unlock(tx->engine->env, &tx->lock);
    if (told)
        tell(tx);
    if (next != NULL)
        next(tx);
    cdtx__tx_unref(tx);
}

static void query_joined(cdtx_tx *tx);

static void send_finishing(cdtx_tx *tx) {
    send_calls(tx, tx->outcome == CDTX_TX_COMMITTING  ? CDTX_CALL_CONFIRM
                   : tx->outcome == CDTX_TX_REVERSING ? CDTX_CALL_REVERSE
                                                      : CDTX_CALL_CANCEL);
}

static const struct drive_branch *late_branch_locked(const cdtx_tx *tx, int64_t now) {
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        const struct drive_branch *b = &tx->branches[i];
        if (!b->answered && (b->expiry_us <= now || tx->deadline_us <= now))
            return b;
    }
    return NULL;
}

/* Says which of the three time-outs was over: the global one, the branch's, and how many calls had run into theirs. */
static void time_out_locked(cdtx_tx *tx, const struct drive_branch *b, int64_t now) {
    const char *last = tx->refusal_err.text;
    cdtx_error err;
    char which[64];
    if (tx->deadline_us <= now)
        snprintf(which, sizeof which, "global timeout_ms, %lld,", (long long)tx->timeout_ms);
    else
        snprintf(which, sizeof which, "branch_timeout_ms, %lld,", (long long)tx->branch_timeout_ms);
    cdtx__fail(&err, CDTX_TIMEOUT,
               "%s: its %s was over before '%s' had answered try (%u calls, call_timeout_ms %lld%s%.200s)", tx->gid,
               which, b->participant, b->attempt, (long long)tx->engine->options.call_timeout_ms,
               last[0] == '\0' ? "" : "; last answer: ", last);
    tx->refusal_err = err;
    tx->refusal = CDTX_TIMEOUT; /* a step-by-step one can only be rolled back from here */
}

static void fire(struct timer *timer) {
    cdtx_tx *tx = LIST_OF(timer, struct cdtx_tx, timer);
    move_fn next = NULL;
    int told = 0, again = 0;
    cdtx__lock(tx->engine->env, &tx->lock);
    int64_t now = cdtx__now_us(tx->engine->env);
    const struct drive_branch *late = tx->step == STEP_TRYING ? late_branch_locked(tx, now) : NULL;
    if (late != NULL) {
        time_out_locked(tx, late, now);
        if (tries_over_locked(tx, tx->refusal, &tx->refusal_err))
            next = decide;
        else
            told = 1;
    } else if (tx->step == STEP_TRYING) {
        again = 1;
    } else if (tx->step == STEP_FINISHING && tx->recheck) {
        tx->recheck = 0;
        for (uint32_t i = 0; i < tx->branch_count; i++)
            if (tx->branches[i].call == 0)
                tx->branches[i].again_us = 0;
        next = send_finishing;
    } else if (tx->step == STEP_FINISHING && now < next_call_locked(tx)) {
        arm_locked(tx, next_call_locked(tx));
    } else if (tx->step == STEP_FINISHING) { /* the log says when the next attempt is due */
        next = attempt_over_locked(tx);
    } else if (tx->step == STEP_JOINED) {
        next = query_joined;
    }
    cdtx__unlock(tx->engine->env, &tx->lock);
    if (told)
        tell(tx);
    if (again)
        send_calls(tx, CDTX_CALL_TRY);
    if (next != NULL)
        next(tx);
    cdtx__tx_unref(tx);
}

/* ---- asking the coordinator ---- */

static void ask(cdtx_tx *tx, int32_t verb, void (*done)(struct coord_request *)) {
    struct coord_request *r = &tx->request;
    r->verb = verb;
    if (verb != COORD_BEGIN && verb != COORD_REGISTER) {
        r->branches = NULL; /* those of an earlier verb may be gone */
        r->branch_count = 0;
    }
    r->name = tx->name;
    r->key = tx->key;
    r->sequence = tx->sequence;
    r->epoch = tx->epoch;
    r->timeout_ms = tx->timeout_ms;
    r->acked = tx->acked;
    r->noes = tx->noes;
    r->parked = tx->parked;
    r->reverse_after = tx->reverse_after;
    r->outcome = tx->outcome;
    r->hooked = tx->hooked;
    r->hooks = verb == COORD_BEGIN || verb == COORD_HOOK ? tx->hooks.bytes : NULL;
    r->hooks_length = r->hooks == NULL ? 0 : (uint32_t)tx->hooks.length;
    r->lease_ms = cdtx__lease_ms(tx->engine);
    r->done = done;
    r->user = tx;
    tx->engine->coord.submit(tx->engine->coord.self, r);
}

static int32_t fill_wire(cdtx_tx *tx, cdtx_error *err) {
    const cdtx_env *env = tx->engine->env;
    if (tx->branch_count > tx->wire_room) {
        cdtx__free(env, tx->wire, tx->wire_room * sizeof *tx->wire);
        tx->wire_room = 0;
        tx->wire = cdtx__alloc(env, tx->branch_room * sizeof *tx->wire);
        if (tx->wire == NULL)
            return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to begin a transaction");
        tx->wire_room = tx->branch_room;
    }
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        const struct drive_branch *b = &tx->branches[i];
        tx->wire[i] = (struct coord_branch){.participant = b->participant, .payload = b->payload, .length = b->length};
    }
    return 0;
}

static uint32_t *counter_of(const cdtx_tx *tx) {
    return tx->adopted && !MUTANT(tx->engine->env, "adopted-take-all") ? &tx->engine->adopted_count
                                                                       : &tx->engine->begun_count;
}

static void enlist(cdtx_tx *tx) {
    cdtx *engine = tx->engine;
    tx->timer.fire = fire;
    cdtx__tx_ref(tx);
    cdtx__lock(engine->env, &engine->lock);
    list_push(&engine->drives, &tx->link);
    __atomic_add_fetch(counter_of(tx), 1, __ATOMIC_RELAXED);
    cdtx__unlock(engine->env, &engine->lock);
}

/* No more events: gives the last answer out and lets go. */
static void over(cdtx_tx *tx) {
    cdtx *engine = tx->engine;
    cdtx__lock(engine->env, &tx->lock);
    tx->step = STEP_OVER;
    forget_calls_locked(tx);
    int unset = cdtx__pump_disarm(&engine->pump, &tx->timer);
    INVARIANT(tx->answered || !tx->submitted);
    cdtx__unlock(engine->env, &tx->lock);
    cdtx__lock(engine->env, &engine->lock);
    list_remove(&tx->link);
    __atomic_sub_fetch(counter_of(tx), 1, __ATOMIC_RELAXED);
    cdtx__unlock(engine->env, &engine->lock);
    tell(tx);
    if (unset)
        cdtx__tx_unref(tx);
    cdtx__tx_unref(tx);
}

static void conclude(cdtx_tx *tx, int32_t code, const cdtx_error *err) {
    cdtx__lock(tx->engine->env, &tx->lock);
    answer_locked(tx, code, err);
    cdtx__unlock(tx->engine->env, &tx->lock);
    over(tx);
}

/* ---- begin ---- */

static void begin_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx *engine = tx->engine;
    if (request->result != 0) { /* whatever was written of it, nobody will ever decide it to commit */
        cdtx_error err = request->err;
        int32_t code = request->result;
        if (code == CDTX_UNKNOWN)
            code = cdtx__fail(&err, CDTX_STOPPED, "the transaction was not begun: %.400s", request->err.text);
        conclude(tx, code, &err);
        return;
    }
    cdtx__lock(engine->env, &tx->lock);
    tx->sequence = request->sequence;
    tx->epoch = request->epoch;
    cdtx__gid_text(engine->coord.log(engine->coord.self), tx->sequence, tx->gid);
    tx->deadline_us = cdtx__now_us(engine->env) + tx->timeout_ms * 1000;
    tx->joined = request->found;
    tx->hooked = !tx->joined && tx->hooks.length > 0;
    if (tx->joined)
        tx->reverse_after = request->reverse_after;
    tx->outstanding = tx->branch_count;
    int idle = !tx->declared;
    if (idle) {
        tx->step = STEP_IDLE;
        answer_locked(tx, 0, NULL);
    } else {
        tx->step = tx->joined ? STEP_JOINED : STEP_TRYING;
        tx->outcome = CDTX_TX_COMMITTING;
    }
    int nothing_to_try = tx->step == STEP_TRYING && tx->branch_count == 0;
    if (nothing_to_try)
        tx->step = STEP_DECIDING;
    cdtx__unlock(engine->env, &tx->lock);
    if (!request->found) {
        cdtx__add(&engine->begun);
        cdtx__scan_by(engine, tx->timeout_ms); /* should nobody decide it */
    }
    if (idle)
        tell(tx);
    else if (tx->joined)
        query_joined(tx);
    else if (nothing_to_try)
        decide(tx);
    else
        send_calls(tx, CDTX_CALL_TRY);
}

int32_t cdtx__drive_begin(cdtx_tx *tx, cdtx_error *err) {
    cdtx *engine = tx->engine;
    int32_t rc = fill_wire(tx, err);
    if (rc != 0)
        return rc;
    if (__atomic_load_n(&engine->begun_count, __ATOMIC_RELAXED) >= engine->options.open_max)
        return cdtx__busy(err, 50, "open_max, %u global transactions, are in work here", engine->options.open_max);
    tx->step = STEP_BEGINNING;
    tx->began_us = cdtx__now_us(engine->env);
    enlist(tx);
    tx->request.branches = tx->wire;
    tx->request.branch_count = tx->branch_count;
    ask(tx, COORD_BEGIN, begin_done);
    return 0;
}

/* ---- step by step ---- */

static void register_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx *engine = tx->engine;
    cdtx__lock(engine->env, &tx->lock);
    if (request->result != 0 || request->branch != tx->branch_count - 1) {
        cdtx_error err = request->err;
        int32_t code = request->result;
        if (code == 0)
            code = cdtx__fail(&err, CDTX_CONFLICT, "%s has branches that this handle did not add", tx->gid);
        tx->refusal = code;
        tx->refusal_err = err;
        tx->step = STEP_IDLE;
        if (cdtx_happened(code) == 0) /* the log's row does not have it, so nobody is to be asked about it */
            cdtx__tx_drop_last_branch(tx);
        answer_locked(tx, code, &err);
        cdtx__unlock(engine->env, &tx->lock);
        tell(tx);
        return;
    }
    tx->epoch = request->epoch;
    tx->step = STEP_TRYING;
    tx->outstanding = 1;
    cdtx__unlock(engine->env, &tx->lock);
    send_calls(tx, CDTX_CALL_TRY);
}

void cdtx__drive_try(cdtx_tx *tx) {
    const struct drive_branch *b = &tx->branches[tx->branch_count - 1];
    if (fill_wire(tx, &tx->request.err) != 0) {
        tx->request.result = CDTX_NO_MEMORY;
        tx->request.user = tx;
        register_done(&tx->request);
        return;
    }
    tx->request.branches = &tx->wire[b - tx->branches];
    tx->request.branch_count = 1;
    ask(tx, COORD_REGISTER, register_done);
}

static void hook_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx_error err = request->err;
    cdtx__lock(tx->engine->env, &tx->lock);
    tx->hooked = 1; /* perhaps only those before it */
    tx->refusal = request->result;
    if (request->result == 0)
        tx->epoch = request->epoch;
    else
        tx->refusal_err = err;
    tx->step = STEP_IDLE;
    answer_locked(tx, request->result, &err);
    cdtx__unlock(tx->engine->env, &tx->lock);
    tell(tx);
}

void cdtx__drive_hook(cdtx_tx *tx) {
    ask(tx, COORD_HOOK, hook_done);
}

void cdtx__drive_decide(cdtx_tx *tx, int32_t outcome) {
    tx->outcome = outcome;
    decide(tx);
}

void cdtx__drive_leave(cdtx_tx *tx) {
    conclude(tx, 0, NULL);
}

/* ---- decide ---- */

static void start_finishing_locked(cdtx_tx *tx) {
    tx->step = STEP_FINISHING;
    tx->outstanding = 0;
    for (uint32_t i = 0; i < tx->branch_count; i++) {
        struct drive_branch *b = &tx->branches[i];
        if (!b->answered && !tx->adopted && tx->outcome == CDTX_TX_ROLLING_BACK && MUTANT(tx->engine->env, "bug-20"))
            tx->acked |= INT64_C(1) << i;
        b->answered = (tx->acked & INT64_C(1) << i) != 0;
        b->attempt = tx->attempts - 1; /* register_calls_locked counts up */
        b->again_us = 0;
        if (!b->answered)
            tx->outstanding++;
    }
}

static void finish(cdtx_tx *tx) {
    cdtx__lock(tx->engine->env, &tx->lock);
    int nothing = tx->outstanding == 0;
    if (nothing)
        tx->step = STEP_SETTLING;
    cdtx__unlock(tx->engine->env, &tx->lock);
    if (nothing)
        settle(tx);
    else
        send_finishing(tx);
}

static void count_outcome(cdtx *engine, int32_t state) {
    cdtx__add(state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED ? &engine->committed
              : state == CDTX_TX_REVERSED                               ? &engine->reversed
                                                                        : &engine->rolled_back);
}

static void decide_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx *engine = tx->engine;
    cdtx_error err = request->err;
    int32_t code = request->result;
    if (code == CDTX_UNKNOWN &&
        (tx->outcome == CDTX_TX_ROLLING_BACK || MUTANT(engine->env, "trap-20"))) /* it was never going to commit */
        code = cdtx__fail(&err, CDTX_STOPPED, "%s was not committed: %.400s", tx->gid, request->err.text);
    if (code != 0) {
        cdtx__scan_by(engine, tx->timeout_ms);
        conclude(tx, code, &err);
        return;
    }
    cdtx__lock(engine->env, &tx->lock);
    int32_t wanted = tx->outcome;
    tx->epoch = request->epoch;
    code = outcome_result(tx, request->state, request->reason, &err);
    if (wanted == CDTX_TX_ROLLING_BACK && !tx->declared) {
        if (code == 0) /* asked to roll back what is committed */
            code = cdtx__fail(&err, CDTX_REFUSED, "%s is committed already", tx->gid);
        else if (tx->hosted && tx->refusal == 0)
            code = 0;
    }
    if (request->found) { /* whoever decided drives it on */
        answer_locked(tx, code, &err);
        cdtx__unlock(engine->env, &tx->lock);
        over(tx);
        return;
    }
    tx->outcome = request->state;
    tx->attempts = 1;
    tx->result = code;
    tx->err = err;
    int settled = tx->reverse_after == 0 || tx->outcome == CDTX_TX_ROLLING_BACK;
    start_finishing_locked(tx);
    int told = tx->wait_for == CDTX_WAIT_DECIDED;
    if (told)
        answer_locked(tx, code, &err);
    cdtx__unlock(engine->env, &tx->lock);
    if (settled)
        count_outcome(engine, request->state);
    cdtx__histogram_add(&engine->decide_us, cdtx__now_us(engine->env) - tx->began_us);
    (void)FAILPOINT(engine->env, "drive.decided");
    if (told)
        tell(tx);
    finish(tx);
}

static void decide(cdtx_tx *tx) {
    (void)FAILPOINT(tx->engine->env, "drive.decide");
    tx->request.reason = COORD_REASON_ASKED;
    if (tx->refusal == CDTX_TIMEOUT)
        tx->request.reason = COORD_REASON_TIMEOUT;
    if (tx->outcome == CDTX_TX_COMMITTING && MUTANT(tx->engine->env, "call-before-decision")) {
        cdtx__lock(tx->engine->env, &tx->lock);
        tx->attempts = 1;
        start_finishing_locked(tx);
        tx->step = STEP_DECIDING;
        cdtx__unlock(tx->engine->env, &tx->lock);
        send_calls(tx, CDTX_CALL_CONFIRM);
    }
    ask(tx, COORD_DECIDE, decide_done);
}

void cdtx__drive_resume(cdtx_tx *tx) {
    start_finishing_locked(tx);
    enlist(tx);
    finish(tx);
}

/* ---- the second decision ---- */

/* The row is not ended and not ours any more; it is taken again when it is due. Whoever waits for the outcome of a
 * transaction that may still be reversed goes on asking. */
static void let_go(cdtx_tx *tx) {
    cdtx *engine = tx->engine;
    cdtx__lock(engine->env, &tx->lock);
    int asks = !tx->answered && !tx->adopted;
    if (asks) {
        tx->step = STEP_JOINED;
        arm_locked(tx, cdtx__now_us(engine->env) + 1000);
    }
    cdtx__unlock(engine->env, &tx->lock);
    if (!asks)
        over(tx);
}

static void reverse_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx *engine = tx->engine;
    if (request->result != 0) {
        if (request->result != CDTX_CONFLICT)
            cdtx__scan_by(engine, request->lease_ms);
        let_go(tx);
        return;
    }
    cdtx__lock(engine->env, &tx->lock);
    tx->epoch = request->epoch;
    if (!MUTANT(engine->env, "trap-18-acked"))
        tx->acked = 0;
    tx->attempts = 1;
    tx->result = outcome_result(tx, CDTX_TX_REVERSING, COORD_REASON_NONE, &tx->err);
    start_finishing_locked(tx);
    cdtx__unlock(engine->env, &tx->lock);
    (void)FAILPOINT(engine->env, "drive.reversing");
    finish(tx);
}

static void reverse(cdtx_tx *tx) {
    tx->outcome = CDTX_TX_REVERSING;
    ask(tx, COORD_DECIDE, reverse_done);
}

/* ---- settle ---- */

static int answers_at_end(const cdtx_tx *tx) {
    return tx->reverse_after > 0 && tx->outcome != CDTX_TX_ROLLING_BACK && !MUTANT(tx->engine->env, "trap-18-early");
}

static void settle_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx *engine = tx->engine;
    if (request->result != 0 && request->result != CDTX_CONFLICT)
        cdtx__log(engine->env, CDTX_LOG_WARNING, "%s: %s", tx->gid, request->err.text);
    if (request->result != CDTX_CONFLICT && (request->result != 0 || !request->ended))
        cdtx__scan_by(engine, request->result != 0 ? request->lease_ms : request->due_in_ms);
    if (request->result == 0 && request->found)
        cdtx__add(&engine->parked);
    if (request->result == 0 && (request->found || (tx->parked && MUTANT(engine->env, "parked-alarms"))))
        cdtx__alarm(engine, "%s is parked and has become a case: %s; last answer: %s", tx->gid, tx->parking,
                    tx->refusal_err.text);
    if (request->result != 0 || !request->ended) {
        let_go(tx);
        return;
    }
    cdtx__trim_soon(engine);
    if (answers_at_end(tx))
        count_outcome(engine, request->state);
    conclude(tx, tx->result, &tx->err);
}

/* The last attempt of a parked one may be long ago, and still be the only news: it keeps its text. */
static void note_failure(cdtx_tx *tx) {
    cdtx *engine = tx->engine;
    struct coord_request *r = &tx->request;
    r->error = tx->refusal_err.text[0] == '\0' ? "no answer within call_timeout_ms" : tx->refusal_err.text;
    r->park = NULL;
    if (!tx->parked && tx->attempts >= engine->options.park_attempts) {
        snprintf(tx->parking, sizeof tx->parking, "%u attempts at phase two without an end", tx->attempts);
        r->park = tx->parking;
    }
    r->due_in_ms = tx->parked || r->park != NULL ? engine->options.park_retry_ms : backoff_ms(engine, tx->attempts);
}

static void settle(cdtx_tx *tx) {
    cdtx *engine = tx->engine;
    struct coord_request *r = &tx->request;
    cdtx__lock(engine->env, &tx->lock);
    r->ended = all_acked(tx) || MUTANT(engine->env, "end-unacked");
    r->error = r->park = NULL;
    r->due_in_ms = 0;
    if (!r->ended)
        note_failure(tx);
    int told = !answers_at_end(tx);
    if (told)
        answer_locked(tx, tx->result, &tx->err);
    cdtx__unlock(engine->env, &tx->lock);
    if (r->ended && !tx->adopted)
        cdtx__histogram_add(&engine->end_us, cdtx__now_us(engine->env) - tx->began_us);
    if (told)
        tell(tx);
    ask(tx, COORD_SETTLE, settle_done);
}

/* ---- joined by key ---- */

static void query_done(struct coord_request *request) {
    cdtx_tx *tx = request->user;
    cdtx *engine = tx->engine;
    cdtx_error err = request->err;
    if (request->result == CDTX_EXPIRED || request->result == CDTX_NOT_FOUND || request->result == CDTX_STOPPED) {
        int32_t code =
            cdtx__fail(&err, CDTX_UNKNOWN, "%s: its outcome could not be asked: %.350s", tx->gid, request->err.text);
        conclude(tx, code, &err);
        return;
    }
    int known = request->result == 0 && cdtx__outcome_known(request->state, request->reverse_after);
    if (!known && !tx->hosted && !tx->submitted) { /* nobody waits any more */
        over(tx);
        return;
    }
    if (!known) {
        cdtx__lock(engine->env, &tx->lock);
        tx->poll_us = tx->poll_us == 0 ? 1000 : tx->poll_us >= 500000 ? 1000000 : tx->poll_us * 2;
        arm_locked(tx, cdtx__now_us(engine->env) + tx->poll_us);
        cdtx__unlock(engine->env, &tx->lock);
        return;
    }
    int32_t code = outcome_result(tx, request->state, request->reason, &err);
    conclude(tx, code, &err);
}

static void query_joined(cdtx_tx *tx) {
    char *key = tx->key;
    tx->key = NULL; /* by sequence: the key led here once already */
    ask(tx, COORD_QUERY, query_done);
    tx->key = key;
}

/* ---- all of them ---- */

void cdtx__drives_recheck(cdtx *engine) {
    cdtx__lock(engine->env, &engine->lock);
    for (struct list *link = engine->drives.next; link != &engine->drives; link = link->next) {
        cdtx_tx *tx = LIST_OF(link, struct cdtx_tx, link);
        cdtx__lock(engine->env, &tx->lock);
        if (tx->step == STEP_FINISHING) {
            tx->recheck = 1;
            arm_locked(tx, cdtx__now_us(engine->env));
        }
        cdtx__unlock(engine->env, &tx->lock);
    }
    cdtx__unlock(engine->env, &engine->lock);
}

void cdtx__drives_close(cdtx *engine) {
    while (!list_empty(&engine->drives)) {
        cdtx_tx *tx = LIST_OF(engine->drives.next, struct cdtx_tx, link);
        cdtx_error err;
        cdtx__fail(&err, CDTX_UNKNOWN, "%s: the engine was closed before its end", tx->gid);
        conclude(tx, CDTX_UNKNOWN, &err);
    }
}
