/* TCC: what a call does to a branch, decided by its guard. */
#include <cdtx/tcc.h>

#include <stdio.h>

#include "engine/engine.h"
#include "store/guard.h"

struct cdtx_tcc_call {
    struct served *served;
    cdtx_sql *sql;
    struct guard_key key;
    char gid[CDTX_GID_MAX];
    cdtx_rows rows; /* the guard's (state, answer), when it was read */
    int read;
};

/* ---- the guard table (DESIGN.md section 5) ---- */

enum action {
    RUN,        /* mark the guard and run the handler */
    AGAIN,      /* the first answer again, a definite no included */
    OK_AGAIN,   /* it is done already */
    NOTHING,    /* OK, and nothing to do */
    MARK_EMPTY, /* cancelled before it was tried: mark it, so that a late try is refused */
    REFUSE,     /* it is over */
    ALARM_OVER, /* the opposite was done: refused, and somebody must know */
    ALARM_NO_TRY,
    ALARM_REJECTED
};

enum { OPS = CDTX_CALL_REVERSE + 1 };

static const uint8_t table[GUARD_STATES][OPS] = {
    /* guard \\ arrives      try     confirm         cancel      reverse */
    [GUARD_ABSENT] = {0, RUN, ALARM_NO_TRY, MARK_EMPTY, ALARM_NO_TRY},
    [GUARD_TRIED] = {0, AGAIN, RUN, RUN, RUN},
    [GUARD_REJECTED] = {0, AGAIN, ALARM_REJECTED, NOTHING, NOTHING},
    [GUARD_CONFIRMED] = {0, AGAIN, OK_AGAIN, ALARM_OVER, RUN},
    [GUARD_CANCELLED] = {0, REFUSE, ALARM_OVER, OK_AGAIN, NOTHING},
    [GUARD_EMPTY_CANCELLED] = {0, REFUSE, ALARM_OVER, OK_AGAIN, NOTHING},
    [GUARD_REVERSED] = {0, REFUSE, REFUSE, NOTHING, OK_AGAIN},
};

static const char *const state_names[GUARD_STATES] = {"absent",    "tried", "rejected", "confirmed",
                                                      "cancelled", "empty", "reversed"};
static const char *const op_names[OPS] = {"", "try", "confirm", "cancel", "reverse"};
/* Where an operation that runs leaves the guard. */
static const int32_t marks[OPS] = {0, GUARD_TRIED, GUARD_CONFIRMED, GUARD_CANCELLED, GUARD_REVERSED};

static enum action action_for(int32_t state, int32_t op) {
    return table[state][op];
}

/* What runs: taking back what was only tried is its cancel. NULL: this participant cannot. */
static cdtx_tcc_fn handler_for(const cdtx_tcc_handlers *handlers, int32_t state, int32_t op) {
    const cdtx_tcc_fn by_op[OPS] = {NULL, handlers->on_try, handlers->on_confirm, handlers->on_cancel,
                                    state == GUARD_TRIED ? handlers->on_cancel : handlers->on_reverse};
    return by_op[op];
}

/* ---- what a handler may ask ---- */

const char *cdtx_tcc_gid(const cdtx_tcc_call *call) {
    return call->gid;
}

uint32_t cdtx_tcc_branch(const cdtx_tcc_call *call) {
    return call->served->call.branch;
}

const void *cdtx_tcc_payload(const cdtx_tcc_call *call, size_t *length) {
    if (length != NULL)
        *length = call->served->call.length;
    return call->served->call.payload;
}

const void *cdtx_tcc_try_result(const cdtx_tcc_call *call, size_t *length) {
    cdtx_tcc_call *c = (cdtx_tcc_call *)(uintptr_t)call; /* reads the guard once, on demand: most handlers never ask */
    int32_t state;
    if (!c->read)
        c->read = cdtx__guard_read(c->sql, &c->key, &c->rows, &state, NULL) == 0;
    const cdtx_value *answer = cdtx__rows_at(&c->rows, 0, 1);
    int known = c->served->call.op != CDTX_CALL_TRY && answer->type == CDTX_BLOB;
    if (length != NULL)
        *length = known ? answer->length : 0;
    return known ? answer->bytes : NULL;
}

int32_t cdtx_tcc_answer(cdtx_tcc_call *call, const void *result, size_t length, cdtx_error *err) {
    struct buf *kept = &call->served->result;
    if (call->served->call.op != CDTX_CALL_TRY)
        return cdtx__fail(err, CDTX_MISUSE, "cdtx_tcc_answer: only on_try has an answer to give");
    if (result == NULL && length > 0)
        return cdtx__fail(err, CDTX_INVALID, "cdtx_tcc_answer: %zu bytes at NULL", length);
    if (length > kept->max)
        return cdtx__fail(err, CDTX_LIMIT, "an answer of %zu bytes is over payload_max, %zu", length, kept->max);
    kept->length = 0;
    cdtx__buf_bytes(kept, result, length);
    if (kept->failed == 0)
        return 0;
    kept->failed = 0;
    return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for an answer of %zu bytes", length);
}

/* ---- serving a call ---- */

static int32_t definite(struct served *served, int32_t code, const char *text) {
    served->code = cdtx__fail(&served->refusal, code, "%s", text);
    served->result.length = 0;
    return 0;
}

/* Of a handler's codes only REFUSED is a definite no. Those that our own serving also uses for one would be mistaken
 * for it. */
static int32_t own_failure(int32_t code) {
    switch (code) {
    case CDTX_CONFLICT:
    case CDTX_NOT_FOUND:
    case CDTX_INVALID:
    case CDTX_LIMIT:
    case CDTX_UNSUPPORTED:
    case CDTX_EXPIRED:
        return CDTX_USER;
    default:
        return code;
    }
}

static int32_t handle(cdtx_tcc_call *call, cdtx_tcc_fn handler, cdtx_error *err) {
    const cdtx_tcc_handlers *handlers = call->served->participant->state;
    err->text[0] = '\0';
    int32_t rc = handler(call->sql, call, handlers->user, err);
    if (rc != 0 && err->text[0] == '\0')
        cdtx__fail(err, rc, "%s answered %s", call->served->participant->name, cdtx_code_name(rc));
    return own_failure(rc);
}

/* The guard goes first, so that a second transaction on it conflicts before either has had an effect. */
static int32_t run_try(cdtx_tcc_call *call, cdtx_error *err) {
    struct served *served = call->served;
    const cdtx_tcc_handlers *handlers = served->participant->state;
    int32_t rc = handle(call, handlers->on_try, err);
    if (rc == CDTX_REFUSED) {
        /* A definite no undoes the reservation but not the mark: a repeat must get the same no (trap 17). */
        cdtx_error why = *err;
        int inserted = 0;
        rc = cdtx__sql_undo(call->sql, err);
        if (rc == 0 && !MUTANT(served->engine->env, "trap-17"))
            rc = cdtx__guard_insert(call->sql, &call->key, GUARD_REJECTED, why.text, strlen(why.text), &inserted, err);
        return rc != 0 ? rc : definite(served, CDTX_REFUSED, why.text);
    }
    if (rc == 0 && served->result.length > 0)
        rc = cdtx__guard_set_answer(call->sql, &call->key, served->result.bytes, served->result.length, err);
    return rc;
}

static int32_t first_answer(cdtx_tcc_call *call, int32_t state, cdtx_error *err) {
    struct served *served = call->served;
    const cdtx_value *answer = cdtx__rows_at(&call->rows, 0, 1);
    if (state == GUARD_REJECTED)
        return definite(served, CDTX_REFUSED, answer->type == CDTX_BLOB ? answer->bytes : "refused");
    if (answer->type != CDTX_BLOB)
        return 0;
    cdtx__buf_bytes(&served->result, answer->bytes, answer->length);
    if (served->result.failed != 0)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to repeat an answer of %u bytes", answer->length);
    return 0;
}

static int32_t alarm(cdtx_tcc_call *call, int32_t code, const char *state) {
    struct served *served = call->served;
    char text[400];
    snprintf(text, sizeof text, "%s of %s branch %u (%s) found its guard %s: refused, no effect",
             op_names[served->call.op], call->gid, served->call.branch, served->participant->name, state);
    served->alarm = 1;
    return definite(served, code, text);
}

#ifdef CDTX_FAILPOINTS
/* What each cell of the table would do if it were wrong, for the simulator to find; 1: done, *rc is the result. */
static int mutated(cdtx_tcc_call *call, int32_t state, int32_t *rc, cdtx_error *err) {
    const cdtx_env *env = call->served->engine->env;
    const cdtx_tcc_handlers *handlers = call->served->participant->state;
    int32_t op = call->served->call.op;
    char name[64];
    int done = 0;
    if (op == CDTX_CALL_TRY && (state == GUARD_CANCELLED || state == GUARD_EMPTY_CANCELLED) && MUTANT(env, "bug-19")) {
        *rc = 0;
        return 1;
    }
    if (op == CDTX_CALL_CANCEL && state == GUARD_ABSENT && MUTANT(env, "bug-13")) {
        *rc = cdtx__fail(err, CDTX_NOT_FOUND, "no guard");
        return 1;
    }
    snprintf(name, sizeof name, "mutant:guard-%s-%s", state_names[state], op_names[op]);
    if (env->failpoint == NULL || env->failpoint(env->user, name) == 0)
        return 0;
    cdtx_tcc_fn handler = handler_for(handlers, state, op);
    switch (action_for(state, op)) {
    case RUN: /* tries without a mark; ends without an effect */
        *rc = op == CDTX_CALL_TRY ? handle(call, handler, err) : 0;
        return 1;
    case MARK_EMPTY:
        *rc = 0;
        return 1;
    default: /* whatever should have been kept out runs */
        *rc = cdtx__guard_insert(call->sql, &call->key, GUARD_TRIED, NULL, 0, &done, err);
        for (int32_t s = GUARD_TRIED; s < GUARD_STATES && *rc == 0; s++)
            *rc = cdtx__guard_move(call->sql, &call->key, s, marks[op], &done, err);
        if (*rc == 0 && handler != NULL)
            *rc = handle(call, handler, err);
        return 1;
    }
}
#endif

/* Below the floor there are no guards, because everything there has ended: whatever still comes is an old copy. */
static int32_t below_floor(cdtx_tcc_call *call, int *below, cdtx_error *err) {
    int64_t floor = 0;
    int32_t rc = cdtx__guard_floor(call->sql, call->key.log, &floor, err);
    *below = rc == 0 && call->key.sequence < floor;
    return rc;
}

/* The guard could not be marked for RUN, or the operation never runs from this state. */
static int32_t settled(cdtx_tcc_call *call, int32_t state, cdtx_error *err) {
    int marked = 0, below = 0;
    if (state == GUARD_ABSENT) {
        int32_t rc = below_floor(call, &below, err);
        if (rc != 0 || below)
            return rc != 0 ? rc : definite(call->served, CDTX_EXPIRED, "this gid has ended, and its guard is gone");
    }
    switch (action_for(state, call->served->call.op)) {
    case AGAIN:
        return first_answer(call, state, err);
    case OK_AGAIN:
    case NOTHING:
        return 0;
    case MARK_EMPTY:
        return cdtx__guard_insert(call->sql, &call->key, GUARD_EMPTY_CANCELLED, NULL, 0, &marked, err);
    case REFUSE:
        return definite(call->served, CDTX_REFUSED, "this branch was cancelled: its try came too late");
    case ALARM_OVER:
        return alarm(call, CDTX_REFUSED, state_names[state]);
    case ALARM_NO_TRY:
        return alarm(call, CDTX_NOT_FOUND, "absent");
    case ALARM_REJECTED:
        return alarm(call, CDTX_CONFLICT, "rejected");
    case RUN:
        break;
    }
    /* It changed between our conflicting write and our read: only possible where writers are not serialised. */
    return cdtx__busy(err, 1, "the guard of %s branch %u is being changed", call->gid, call->served->call.branch);
}

/* The rare one: it may run from two states, so it looks first. */
static int32_t serve_reverse(cdtx_tcc_call *call, cdtx_error *err) {
    int32_t state = GUARD_ABSENT;
    int marked = 0;
    int32_t rc = cdtx__guard_read(call->sql, &call->key, &call->rows, &state, err);
    if (rc != 0 || action_for(state, CDTX_CALL_REVERSE) != RUN)
        return rc != 0 ? rc : settled(call, state, err);
    cdtx_tcc_fn handler = handler_for(call->served->participant->state, state, CDTX_CALL_REVERSE);
    if (handler == NULL)
        return alarm(call, CDTX_UNSUPPORTED, "confirmed, and it has no on_reverse");
    rc = cdtx__guard_move(call->sql, &call->key, state, GUARD_REVERSED, &marked, err);
    if (rc != 0)
        return rc;
    return marked ? handle(call, handler, err) : settled(call, state, err);
}

static int32_t serve_call(cdtx_tcc_call *call, cdtx_error *err) {
    const cdtx_tcc_handlers *handlers = call->served->participant->state;
    int32_t op = call->served->call.op, state = GUARD_ABSENT, rc;
    int marked = 0;
    if (op == CDTX_CALL_TRY && (call->served->call.flags & CDTX_CALL_REVERSIBLE) && handlers->on_reverse == NULL)
        return definite(call->served, CDTX_UNSUPPORTED, "this participant has no on_reverse, which the policy needs");
#ifdef CDTX_FAILPOINTS
    rc = cdtx__guard_read(call->sql, &call->key, &call->rows, &state, err);
    if (rc != 0 || mutated(call, state, &rc, err))
        return rc;
#endif
    if (op == CDTX_CALL_REVERSE)
        return serve_reverse(call, err);
    if (op == CDTX_CALL_TRY)
        rc = cdtx__guard_insert(call->sql, &call->key, GUARD_TRIED, NULL, 0, &marked, err);
    else
        rc = cdtx__guard_move(call->sql, &call->key, GUARD_TRIED, marks[op], &marked, err);
    if (rc != 0)
        return rc;
    if (marked && op == CDTX_CALL_TRY)
        return run_try(call, err);
    if (marked)
        return handle(call, handler_for(handlers, GUARD_TRIED, op), err);
    rc = cdtx__guard_read(call->sql, &call->key, &call->rows, &state, err);
    return rc != 0 ? rc : settled(call, state, err);
}

static int32_t serve(struct served *served, cdtx_sql *sql, cdtx_error *err) {
    cdtx_tcc_call call = {
        .served = served,
        .sql = sql,
        .key = {.log = served->call.log, .sequence = served->call.sequence, .branch = served->call.branch},
    };
    cdtx__gid_text(served->call.log, served->call.sequence, call.gid);
    cdtx__rows_init(&call.rows, served->engine->env, PAYLOAD_LIMIT + 4096);
    int32_t rc = serve_call(&call, err);
    cdtx__rows_free(&call.rows);
    return rc;
}

/* ---- registering ---- */

static void drop(struct participant *participant) {
    cdtx_tcc_handlers *handlers = participant->state;
    if (handlers->drop != NULL)
        handlers->drop(handlers->user);
    cdtx__free(participant->db->engine->env, handlers, sizeof *handlers);
}

int32_t cdtx_tcc_add(cdtx_db *db, const char *participant, const cdtx_tcc_handlers *handlers, cdtx_error *err) {
    cdtx_tcc_handlers h = {0};
    if (db == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the database is NULL");
    if (handlers == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the handlers are NULL");
    int32_t rc = cdtx__options(handlers, &h, sizeof h, sizeof h, "cdtx_tcc_handlers", err);
    if (rc == 0)
        rc = cdtx__check_name(participant, "the participant's name", err);
    if (rc == 0 && (h.on_try == NULL || h.on_confirm == NULL || h.on_cancel == NULL))
        rc = cdtx__fail(err, CDTX_INVALID, "participant '%s' needs on_try, on_confirm and on_cancel", participant);
    if (rc == 0)
        rc = cdtx__enter(db->engine, err);
    if (rc != 0)
        return rc;
    cdtx_tcc_handlers *kept = cdtx__alloc(db->engine->env, sizeof *kept);
    if (kept == NULL) {
        rc = cdtx__fail(err, CDTX_NO_MEMORY, "no memory to register participant '%s'", participant);
    } else {
        *kept = h;
        rc = cdtx__participant_add(db, participant, serve, drop, kept, err);
        if (rc != 0)
            cdtx__free(db->engine->env, kept, sizeof *kept);
    }
    cdtx__leave(db->engine);
    return rc;
}
