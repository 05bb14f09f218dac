#include "engine/drive.h"
#include "engine/hook.h"

/* ---- the handle ---- */

static int32_t check_options(const cdtx_tx_options *o, cdtx_error *err) {
    int32_t rc = cdtx__check_name(o->name, "the transaction's name", err);
    if (rc == 0 && o->key != NULL)
        rc = cdtx__check_name(o->key, "the business key", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->timeout_ms, "the transaction's timeout_ms", err);
    if (rc == 0)
        rc = cdtx__check_ms(o->branch_timeout_ms, "the transaction's branch_timeout_ms", err);
    if (rc == 0 && o->wait_for != CDTX_WAIT_ENDED && o->wait_for != CDTX_WAIT_DECIDED)
        rc = cdtx__fail(err, CDTX_INVALID, "wait_for is %d, which is no cdtx_tx_wait_for", o->wait_for);
    if (rc == 0 && o->wait_for == CDTX_WAIT_DECIDED && o->reverse_after > 0)
        rc = cdtx__fail(err, CDTX_INVALID,
                        "with reverse_after the outcome is known only at the end: "
                        "wait_for must be CDTX_WAIT_ENDED");
    return rc;
}

static int32_t new_tx(cdtx *engine, const cdtx_tx_options *o, cdtx_tx **tx, cdtx_error *err) {
    if (engine->log == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "this engine was opened without a log, so it begins no transactions");
    if (engine->options.passive)
        return cdtx__fail(err, CDTX_MISUSE, "this engine is passive: it looks and steps in, and begins nothing");
    cdtx_tx *t = cdtx__tx_alloc(engine);
    if (t == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a transaction '%s'", o->name);
    t->hosted = 1;
    t->timeout_ms = o->timeout_ms;
    t->branch_timeout_ms = o->branch_timeout_ms == 0 ? o->timeout_ms : o->branch_timeout_ms;
    t->reverse_after = o->reverse_after;
    t->wait_for = o->wait_for;
    t->tag = o->tag;
    t->name = cdtx__copy_text(engine->env, o->name);
    t->key = o->key == NULL ? NULL : cdtx__copy_text(engine->env, o->key);
    if (t->name == NULL || (o->key != NULL && t->key == NULL)) {
        cdtx__tx_unref(t);
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a transaction '%s'", o->name);
    }
    *tx = t;
    return 0;
}

int32_t cdtx_tx_new(cdtx *engine, const cdtx_tx_options *options, cdtx_tx **tx, cdtx_error *err) {
    cdtx_tx_options o = {0};
    if (tx == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the transaction's handle is NULL");
    int32_t rc = cdtx__options(options, &o, sizeof o, sizeof o, "cdtx_tx_options", err);
    if (rc != 0)
        return rc;
    if (o.name == NULL)
        o.name = "tx";
    if (o.timeout_ms == 0)
        o.timeout_ms = 10000;
    rc = check_options(&o, err);
    if (rc == 0)
        rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = new_tx(engine, &o, tx, err);
    cdtx__leave(engine);
    return rc;
}

static int32_t enter_tx(cdtx_tx *tx, const char *what, int waits, cdtx_error *err) {
    if (tx == NULL)
        return cdtx__fail(err, CDTX_MISUSE, "the transaction is NULL");
    int32_t rc = cdtx__enter(tx->engine, err);
    if (rc != 0 || !waits)
        return rc;
    rc = cdtx__may_wait(tx->engine, what, err);
    if (rc != 0)
        cdtx__leave(tx->engine);
    return rc;
}

/* Claims the step from -> to for this thread; MISUSE when the handle stands elsewhere. */
static int32_t claim(cdtx_tx *tx, enum step from, enum step to, const char *what, cdtx_error *err) {
    int32_t rc = 0;
    cdtx__lock(tx->engine->env, &tx->lock);
    if (tx->step != from) {
        const char *why = tx->step == STEP_NEW        ? "is not begun"
                          : from == STEP_NEW          ? "is begun already"
                          : tx->step == STEP_OVER     ? "has ended already"
                          : tx->step >= STEP_DECIDING ? "is decided already"
                                                      : "is in another call";
        rc = cdtx__fail(err, CDTX_MISUSE, "%s: the transaction %s %s", what, tx->gid, why);
    } else {
        tx->step = to;
        tx->answered = 0;
        tx->gate = (struct gate){0};
    }
    cdtx__unlock(tx->engine->env, &tx->lock);
    return rc;
}

/* Helps until the answer to the claimed step is there. */
static int32_t await(cdtx_tx *tx, cdtx_error *err) {
    cdtx *engine = tx->engine;
    /* Longer than all that may lawfully come first; past it the truth is that we do not know. */
    int64_t bound_ms = tx->timeout_ms + 4 * engine->options.call_timeout_ms + engine->options.wait_ms;
    int64_t until = cdtx__now_us(engine->env) + bound_ms * 1000;
    int32_t waited = cdtx__pump_until(&engine->pump, &tx->gate, until, PUMP_TASKS);
    cdtx__lock(engine->env, &tx->lock);
    int32_t rc = tx->result;
    if (!tx->answered)
        rc = cdtx__fail(err, CDTX_UNKNOWN, "transaction %s: %s", tx->gid,
                        waited == CDTX_STOPPED ? "the engine was closed before its outcome was known"
                                               : "no answer from the log in time");
    else if (rc != 0 && err != NULL)
        *err = tx->err;
    cdtx__unlock(engine->env, &tx->lock);
    return rc;
}

/* ---- declared ---- */

int32_t cdtx_tx_add(cdtx_tx *tx, const char *participant, const void *payload, size_t length, cdtx_error *err) {
    int32_t rc = enter_tx(tx, "cdtx_tx_add", 0, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    rc = cdtx__check_name(participant, "the participant's name", err);
    if (rc == 0)
        rc = cdtx__check_payload(engine, payload, length, err);
    cdtx__lock(engine->env, &tx->lock);
    if (rc == 0 && tx->step != STEP_NEW)
        rc = cdtx__fail(err, CDTX_MISUSE, "cdtx_tx_add: the transaction %s is begun already", tx->gid);
    if (rc == 0)
        rc = cdtx__tx_add_branch(tx, participant, payload, (uint32_t)length, err);
    cdtx__unlock(engine->env, &tx->lock);
    cdtx__leave(engine);
    return rc;
}

/* peer: the participant's, if it was looked up already. */
static int32_t check_known(cdtx_tx *tx, const char *participant, const struct peer *peer, cdtx_error *err) {
    const struct cdtx_link *link = &tx->engine->link;
    if (!link->knows(link->user, tx->engine, participant))
        return cdtx__fail(err, CDTX_NOT_FOUND, "no participant '%s' is known here; nothing was begun", participant);
    if (peer == NULL)
        peer = cdtx__peer(tx->engine, participant);
    if (peer == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for participant '%s'; nothing was begun", participant);
    return cdtx__peer_has_room(tx->engine, peer, err);
}

/* ---- hooks ---- */

enum { HOOKS_MAX = 16 };

static int32_t check_hook(cdtx_tx *tx, struct job_put *put, const cdtx_job_options *options, cdtx_error *err) {
    cdtx_job_options *o = &put->options;
    int32_t rc = cdtx__options(options, o, sizeof *o, sizeof *o, "cdtx_job_options", err);
    if (rc == 0)
        rc = cdtx__job_check(tx->engine, put, err);
    if (rc == 0 && cdtx__handler_is_ours(put->handler))
        rc = cdtx__fail(err, CDTX_INVALID, "jobs of '%s' are the library's own", put->handler);
    if (rc == 0 && (o->unique_key != NULL || o->at_ms > 0))
        rc = cdtx__fail(err, CDTX_INVALID, "a hook has no unique_key and no at_ms");
    return rc;
}

static int32_t keep_hook(cdtx_tx *tx, enum hook_when when, const struct job_put *put, cdtx_error *err) {
    if (tx->hook_count == HOOKS_MAX)
        return cdtx__fail(err, CDTX_LIMIT, "a transaction has at most %d hooks", HOOKS_MAX);
    int32_t rc = cdtx__hook_append(&tx->hooks, when, put, err);
    if (rc == 0)
        tx->hook_count++;
    return rc;
}

/* Step by step it is recorded at once, so that the hooks outlive whoever asked for them. */
static int32_t record_hook(cdtx_tx *tx, enum hook_when when, const struct job_put *put, const char *what,
                           cdtx_error *err) {
    int32_t rc = claim(tx, STEP_IDLE, STEP_REGISTERING, what, err);
    if (rc != 0)
        return rc;
    if (tx->joined)
        rc = cdtx__fail(err, CDTX_REFUSED, "%s was joined by its key: its hooks are those that it was begun with",
                        tx->gid);
    else if (tx->refusal != 0)
        rc = cdtx__fail(err, CDTX_REFUSED, "%s can only be rolled back: %.350s", tx->gid, tx->refusal_err.text);
    else
        rc = keep_hook(tx, when, put, err);
    if (rc != 0) {
        tx->step = STEP_IDLE;
        return rc;
    }
    cdtx__drive_hook(tx);
    return await(tx, err);
}

static int32_t add_hook(cdtx_tx *tx, enum hook_when when, struct job_put *put, const cdtx_job_options *options,
                        const char *what, cdtx_error *err) {
    int32_t rc = enter_tx(tx, what, 0, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    rc = check_hook(tx, put, options, err);
    cdtx__lock(engine->env, &tx->lock);
    int new = tx->step == STEP_NEW;
    if (rc == 0 && new)
        rc = keep_hook(tx, when, put, err);
    cdtx__unlock(engine->env, &tx->lock);
    if (rc == 0 && !new)
        rc = cdtx__may_wait(engine, what, err);
    if (rc == 0 && !new)
        rc = record_hook(tx, when, put, what, err);
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_tx_after_commit(cdtx_tx *tx, const char *handler, const void *payload, size_t length,
                             const cdtx_job_options *options, cdtx_error *err) {
    struct job_put put = {.handler = handler, .payload = payload, .length = length};
    return add_hook(tx, HOOK_COMMIT, &put, options, "cdtx_tx_after_commit", err);
}

int32_t cdtx_tx_after_rollback(cdtx_tx *tx, const char *handler, const void *payload, size_t length,
                               const cdtx_job_options *options, cdtx_error *err) {
    struct job_put put = {.handler = handler, .payload = payload, .length = length};
    return add_hook(tx, HOOK_ROLLBACK, &put, options, "cdtx_tx_after_rollback", err);
}

/* ---- beginning ---- */

enum form { STEP_BY_STEP, RUN, SUBMIT };

static int32_t begin(cdtx_tx *tx, enum form form, const char *what, cdtx_error *err) {
    int32_t rc = 0;
    for (uint32_t i = 0; i < tx->branch_count && rc == 0; i++)
        rc = check_known(tx, tx->branches[i].participant, tx->branches[i].peer, err);
    if (rc == 0)
        rc = claim(tx, STEP_NEW, STEP_BEGINNING, what, err);
    if (rc != 0)
        return rc;
    tx->declared = form != STEP_BY_STEP; /* the step is ours: nobody else looks at these now */
    tx->submitted = form == SUBMIT;
    rc = cdtx__drive_begin(tx, err);
    if (rc != 0)
        tx->step = STEP_NEW;
    return rc;
}

int32_t cdtx_tx_run(cdtx_tx *tx, cdtx_error *err) {
    int32_t rc = enter_tx(tx, "cdtx_tx_run", 1, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    rc = begin(tx, RUN, "cdtx_tx_run", err);
    if (rc == 0)
        rc = await(tx, err);
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_tx_submit(cdtx_tx *tx, cdtx_error *err) {
    int32_t rc = enter_tx(tx, "cdtx_tx_submit", 0, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    rc = begin(tx, SUBMIT, "cdtx_tx_submit", err);
    cdtx__leave(engine);
    return rc;
}

/* ---- questions to the log ---- */

/* Outlives the asker, who does not wait for ever: somebody may hold the log. */
struct question {
    struct coord_request request;
    struct gate gate;
    cdtx *engine;
    char key[CDTX_NAME_MAX + 1];
    uint32_t holders; /* atomic: the asker, and the coordinator until it has answered */
};

static struct question *new_question(cdtx *engine, int32_t verb, cdtx_error *err) {
    struct question *question = cdtx__alloc(engine->env, sizeof *question);
    if (question == NULL) {
        cdtx__fail(err, CDTX_NO_MEMORY, "no memory to ask the log");
        return NULL;
    }
    question->engine = engine;
    question->holders = 1;
    question->request.verb = verb;
    return question;
}

static void drop_question(struct question *question) {
    cdtx *engine = question->engine;
    if (__atomic_sub_fetch(&question->holders, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    engine->coord.release(engine->coord.self, &question->request);
    cdtx__free(engine->env, question, sizeof *question);
}

static void question_done(struct coord_request *request) {
    struct question *question = LIST_OF(request, struct question, request);
    cdtx__pump_open(&question->engine->pump, &question->gate);
    drop_question(question);
}

static int32_t pose(struct question *question, cdtx_error *err) {
    cdtx *engine = question->engine;
    question->request.done = question_done;
    question->holders = 2;
    engine->coord.submit(engine->coord.self, &question->request);
    int64_t until = cdtx__now_us(engine->env) + engine->options.wait_ms * 1000;
    if (cdtx__pump_until(&engine->pump, &question->gate, until, PUMP_TASKS) != 0)
        return cdtx__fail(err, CDTX_UNKNOWN, "the log did not answer in %lld ms", (long long)engine->options.wait_ms);
    int32_t rc = question->request.result;
    if (rc == 0)
        return 0;
    if (rc == CDTX_NOT_FOUND || rc == CDTX_EXPIRED || rc == CDTX_CORRUPT)
        return cdtx__fail(err, rc, "%s", question->request.err.text);
    return cdtx__fail(err, CDTX_UNKNOWN, "the log could not be asked: %.400s", question->request.err.text);
}

static int32_t enter_log(cdtx *engine, const char *what, cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    if (engine->log == NULL)
        rc = cdtx__fail(err, CDTX_MISUSE, "%s: this engine was opened without a log", what);
    else
        rc = cdtx__may_wait(engine, what, err);
    if (rc != 0)
        cdtx__leave(engine);
    return rc;
}

/* *known, if not NULL, gets whether that state says the outcome. */
static int32_t query_gid(cdtx *engine, const char *gid, int32_t *state, int *known, cdtx_error *err) {
    uint8_t log[16];
    int64_t sequence;
    int32_t rc = cdtx__gid_parse(gid, log, &sequence, err);
    if (rc != 0)
        return rc;
    if (memcmp(log, engine->coord.log(engine->coord.self), sizeof log) != 0)
        return cdtx__fail(err, CDTX_INVALID, "%s is a gid of another log", gid);
    struct question *question = new_question(engine, COORD_QUERY, err);
    if (question == NULL)
        return CDTX_NO_MEMORY;
    question->request.sequence = sequence;
    rc = pose(question, err);
    if (rc == 0)
        *state = question->request.state;
    if (rc == 0 && known != NULL)
        *known = cdtx__outcome_known(*state, question->request.reverse_after);
    drop_question(question);
    return rc;
}

enum wait_until { OUTCOME_KNOWN, ENDED };

/* Asks again and again, with a growing pause, helping meanwhile. */
static int32_t wait_state(cdtx *engine, const char *gid, int64_t until, enum wait_until what, int32_t *state,
                          cdtx_error *err) {
    for (int64_t pause = 500;; pause = pause < 50000 ? pause * 2 : 100000) {
        int known = 0;
        int32_t rc = query_gid(engine, gid, state, &known, err);
        int64_t now = cdtx__now_us(engine->env);
        if (rc != 0 || (what == ENDED ? cdtx__has_ended(*state) : known))
            return rc;
        if (now >= until)
            return cdtx__fail(err, CDTX_TIMEOUT, "%s is still not %s", gid, what == ENDED ? "ended" : "decided");
        int64_t next = now + pause < until ? now + pause : until;
        if (cdtx__pump_until(&engine->pump, NULL, next, PUMP_TASKS) == CDTX_STOPPED)
            return cdtx__fail(err, CDTX_UNKNOWN, "%s: the engine was closed while waiting", gid);
    }
}

/* ---- step by step ---- */

int32_t cdtx_tx_begin(cdtx_tx *tx, cdtx_error *err) {
    int32_t rc = enter_tx(tx, "cdtx_tx_begin", 1, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    if (tx->branch_count > 0 && tx->step == STEP_NEW)
        rc = cdtx__fail(err, CDTX_MISUSE, "cdtx_tx_begin: branches were added; use cdtx_tx_run or cdtx_tx_submit");
    if (rc == 0)
        rc = begin(tx, STEP_BY_STEP, "cdtx_tx_begin", err);
    if (rc == 0)
        rc = await(tx, err);
    cdtx__leave(engine);
    return rc;
}

/* What a handle that joined by key answers instead of deciding: did what it asks for happen? */
static int32_t joined_outcome(cdtx_tx *tx, int32_t asked, cdtx_error *err) {
    int32_t state = 0;
    int64_t until = cdtx__now_us(tx->engine->env) + tx->timeout_ms * 1000;
    int32_t rc = wait_state(tx->engine, tx->gid, until, OUTCOME_KNOWN, &state, err);
    if (rc != 0)
        return cdtx__fail(err, CDTX_UNKNOWN, "%s, joined by its key, is not decided yet", tx->gid);
    int committed = state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED;
    if (committed == (asked == CDTX_TX_COMMITTING))
        return 0;
    const char *how = committed                                                 ? "is committed already"
                      : state == CDTX_TX_REVERSING || state == CDTX_TX_REVERSED ? "was taken back"
                                                                                : "was rolled back";
    return cdtx__fail(err, CDTX_REFUSED, "%s, joined by its key, %s", tx->gid, how);
}

static int32_t try_branch(cdtx_tx *tx, const char *participant, const void *payload, size_t length, cdtx_error *err) {
    int32_t rc = cdtx__check_name(participant, "the participant's name", err);
    if (rc == 0)
        rc = cdtx__check_payload(tx->engine, payload, length, err);
    if (rc == 0)
        rc = check_known(tx, participant, NULL, err);
    if (rc == 0)
        rc = claim(tx, STEP_IDLE, STEP_REGISTERING, "cdtx_tx_try", err);
    if (rc != 0)
        return rc;
    if (tx->joined)
        rc = cdtx__fail(err, CDTX_REFUSED, "%s was joined by its key: it takes no branches from here", tx->gid);
    else if (tx->refusal != 0)
        rc = cdtx__fail(err, CDTX_REFUSED, "%s can only be rolled back: %.350s", tx->gid, tx->refusal_err.text);
    else
        rc = cdtx__tx_add_branch(tx, participant, payload, (uint32_t)length, err);
    if (rc != 0) {
        tx->step = STEP_IDLE;
        return rc;
    }
    cdtx__drive_try(tx);
    return await(tx, err);
}

int32_t cdtx_tx_try(cdtx_tx *tx, const char *participant, const void *payload, size_t length, cdtx_error *err) {
    int32_t rc = enter_tx(tx, "cdtx_tx_try", 1, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    rc = try_branch(tx, participant, payload, length, err);
    cdtx__leave(engine);
    return rc;
}

static int32_t decide(cdtx_tx *tx, int32_t outcome, const char *what, cdtx_error *err) {
    int32_t rc = enter_tx(tx, what, 1, err);
    if (rc != 0)
        return rc;
    cdtx *engine = tx->engine;
    rc = claim(tx, STEP_IDLE, STEP_DECIDING, what, err);
    if (rc == 0 && tx->joined) {
        rc = joined_outcome(tx, outcome, err);
        tx->step = STEP_IDLE;
    } else if (rc == 0) {
        cdtx__drive_decide(tx, tx->refusal != 0 ? CDTX_TX_ROLLING_BACK : outcome);
        cdtx_error why;
        rc = await(tx, &why);
        if (outcome == CDTX_TX_ROLLING_BACK && cdtx_happened(rc) == 0 && tx->refusal != 0)
            rc = 0; /* it was asked for, whatever a try had said */
        if (rc != 0 && err != NULL)
            *err = why;
    }
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_tx_commit(cdtx_tx *tx, cdtx_error *err) {
    return decide(tx, CDTX_TX_COMMITTING, "cdtx_tx_commit", err);
}

int32_t cdtx_tx_rollback(cdtx_tx *tx, cdtx_error *err) {
    return decide(tx, CDTX_TX_ROLLING_BACK, "cdtx_tx_rollback", err);
}

void cdtx_tx_close(cdtx_tx *tx) {
    if (tx == NULL)
        return;
    cdtx *engine = tx->engine;
    if (engine->env->process(engine->env->user) != engine->process)
        return;
    int entered = cdtx__enter(engine, NULL) == 0;
    cdtx__lock(engine->env, &tx->lock);
    tx->hosted = 0;
    int abandoned = entered && tx->step == STEP_IDLE;
    int joined = abandoned && tx->joined;
    if (abandoned)
        tx->step = STEP_DECIDING;
    cdtx__unlock(engine->env, &tx->lock);
    if (joined)
        cdtx__drive_leave(tx);
    else if (abandoned)
        cdtx__drive_decide(tx, CDTX_TX_ROLLING_BACK);
    cdtx__tx_unref(tx);
    if (entered)
        cdtx__leave(engine);
}

const char *cdtx_tx_gid(cdtx_tx *tx) {
    return tx == NULL ? "" : tx->gid;
}

const void *cdtx_tx_result(cdtx_tx *tx, uint32_t branch, size_t *length) {
    const struct drive_branch *b = tx == NULL || branch >= tx->branch_count ? NULL : &tx->branches[branch];
    if (length != NULL)
        *length = b == NULL ? 0 : b->result_length;
    return b == NULL ? NULL : b->result;
}

/* ---- asking by gid or key ---- */

int32_t cdtx_tx_query(cdtx *engine, const char *gid, int32_t *state, cdtx_error *err) {
    if (state == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the state is NULL");
    int32_t rc = enter_log(engine, "cdtx_tx_query", err);
    if (rc != 0)
        return rc;
    rc = query_gid(engine, gid, state, NULL, err);
    cdtx__leave(engine);
    return rc;
}

int32_t cdtx_tx_wait(cdtx *engine, const char *gid, int64_t for_ms, int32_t *state, cdtx_error *err) {
    if (state == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the place for the state is NULL");
    int32_t rc = cdtx__check_ms(for_ms, "for_ms", err);
    if (rc == 0)
        rc = enter_log(engine, "cdtx_tx_wait", err);
    if (rc != 0)
        return rc;
    rc = wait_state(engine, gid, cdtx__until_us(engine, for_ms), ENDED, state, err);
    cdtx__leave(engine);
    return rc;
}

/* The coordinator may still read the key after the asker has gone, so the question carries a copy. */
static int32_t find_key(cdtx *engine, const char *key, char gid[CDTX_GID_MAX], cdtx_error *err) {
    struct question *question = new_question(engine, COORD_QUERY, err);
    if (question == NULL)
        return CDTX_NO_MEMORY;
    memcpy(question->key, key, strlen(key) + 1);
    question->request.key = question->key;
    int32_t rc = pose(question, err);
    if (rc == 0)
        cdtx__gid_text(engine->coord.log(engine->coord.self), question->request.sequence, gid);
    drop_question(question);
    return rc;
}

int32_t cdtx_tx_find(cdtx *engine, const char *key, char gid[CDTX_GID_MAX], cdtx_error *err) {
    int32_t rc = cdtx__check_name(key, "the business key", err);
    if (rc == 0 && gid == NULL)
        rc = cdtx__fail(err, CDTX_INVALID, "the place for the gid is NULL");
    if (rc == 0)
        rc = enter_log(engine, "cdtx_tx_find", err);
    if (rc != 0)
        return rc;
    rc = find_key(engine, key, gid, err);
    cdtx__leave(engine);
    return rc;
}

/* ---- draining ---- */

static int32_t any_open(cdtx *engine, int *open, cdtx_error *err) {
    struct question *question = new_question(engine, COORD_LIST, err);
    if (question == NULL)
        return CDTX_NO_MEMORY;
    question->request.limit = 1;
    int32_t rc = pose(question, err);
    *open = rc == 0 && question->request.item_count > 0;
    drop_question(question);
    return rc;
}

int32_t cdtx_drain(cdtx *engine, int64_t for_ms, cdtx_error *err) {
    int32_t rc = cdtx__check_ms(for_ms, "for_ms", err);
    if (rc == 0)
        rc = enter_log(engine, "cdtx_drain", err);
    if (rc != 0)
        return rc;
    int64_t until = cdtx__until_us(engine, for_ms);
    for (int open = 1;;) {
        rc = any_open(engine, &open, err);
        if (rc == 0 && open)
            rc = cdtx__any_stopped(engine, err); /* what waits for that database will not end here */
        if (rc != 0 || !open)
            break;
        int64_t now = cdtx__now_us(engine->env);
        if (now >= until) {
            rc = cdtx__fail(err, CDTX_TIMEOUT, "transactions are still open after %lld ms", (long long)for_ms);
            break;
        }
        int64_t next = now + 5000 < until ? now + 5000 : until;
        if (cdtx__pump_until(&engine->pump, NULL, next, PUMP_TASKS | PUMP_WORK) == CDTX_STOPPED) {
            rc = cdtx__fail(err, CDTX_STOPPED, "the engine was closed while draining");
            break;
        }
    }
    cdtx__leave(engine);
    return rc;
}
