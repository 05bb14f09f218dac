/* What customers of the post office do, and what they are told. */
#include <cdtx/msg.h>
#include <cdtx/retry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "post.h"
#include "post_names.h"

enum { DRAIN_MS = 60000, TIMEOUT_MS = 500, IMMUNITY_MS = 150 };

static uint32_t announce(struct ledger *ledger, enum post_deed deed, const char *key, int32_t code) {
    ledger_hear(ledger, (int)deed, key, code);
    return ledger->count - 1;
}

static int32_t answered(struct ledger *ledger, uint32_t place, const char *call, int32_t code, const cdtx_error *err) {
    ledger->list[place].code = ledger_check(ledger, call, code, err);
    return code;
}

/* 1: the key is there already: this was asked for before, and happened. */
static int32_t is_there(cdtx_sql *sql, const char *query, const char *key, int *there, cdtx_error *err) {
    post_bind(sql, key);
    int32_t rc = cdtx_sql_query(sql, query, err);
    *there = rc == 0 && cdtx_sql_next(sql);
    return rc;
}

/* ---- letters ---- */

struct letter {
    const char *key;
    int torn;
};

static int32_t write_letter(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct letter *letter = user;
    char order[2] = {letter->key[0], '\0'};
    cdtx_msg_options o = {.size = sizeof o, .key = order};
    int there = 0;
    int32_t rc = is_there(sql, "SELECT 1 FROM sent WHERE key = ?", letter->key, &there, err);
    if (rc != 0 || there)
        return rc;
    post_bind(sql, letter->key);
    rc = cdtx_sql_exec(sql, "INSERT INTO sent(key) VALUES (?)", NULL, err);
    if (rc == 0)
        rc = cdtx_msg_put(sql, TOPIC, letter->key, strlen(letter->key), &o, NULL, err);
    return rc == 0 && letter->torn ? cdtx_error_set(err, CDTX_REFUSED, "the letter is torn") : rc;
}

static int32_t by_hand(struct house *house, struct ledger *ledger, struct letter *letter, cdtx_error *err) {
    cdtx_sql *sql = NULL;
    cdtx_error last = {0};
    int32_t rc = ledger_check(ledger, "cdtx_sql_begin", cdtx_sql_begin(house->post, &sql, err), err);
    if (rc == 0) {
        rc = ledger_check(ledger, "a letter by hand", write_letter(sql, letter, err), err);
        if (rc == 0)
            rc = cdtx_sql_commit(sql, err);
        else
            (void)ledger_check(ledger, "cdtx_sql_rollback", cdtx_sql_rollback(sql, &last), &last);
    }
    cdtx_sql_close(sql);
    return rc;
}

int32_t post_letter(struct house *house, struct ledger *ledger, enum letter_way way, const char *key) {
    cdtx_error err = {0};
    struct letter letter = {key, way == LETTER_TORN || way == LETTER_TORN_BY_HAND};
    uint32_t place = announce(ledger, DEED_LETTER, key, letter.torn ? CDTX_REFUSED : CDTX_UNKNOWN);
    int hand = way == LETTER_BY_HAND || way == LETTER_TORN_BY_HAND;
    int32_t rc = hand ? by_hand(house, ledger, &letter, &err) : cdtx_local(house->post, write_letter, &letter, &err);
    return answered(ledger, place, "a letter", rc, &err);
}

/* ---- promises ---- */

static int32_t new_promise(struct house *house, const char *key, cdtx_tx **tx, cdtx_error *err) {
    cdtx_tx_options o = {.size = sizeof o, .name = "promise", .key = key, .timeout_ms = TIMEOUT_MS};
    o.reverse_after = strstr(key, "taken-back") != NULL;
    int32_t rc = cdtx_tx_new(house->engine, &o, tx, err);
    if (rc == 0)
        rc = cdtx_tx_after_commit(*tx, HOOK_COMMIT_JOB, key, strlen(key), NULL, err);
    if (rc == 0)
        rc = cdtx_tx_after_rollback(*tx, HOOK_UNDO_JOB, key, strlen(key), NULL, err);
    return rc;
}

static int32_t declare(cdtx_tx *tx, const char *key, cdtx_error *err) {
    int32_t rc = cdtx_tx_add(tx, IN_POST, key, strlen(key), err);
    return rc != 0 ? rc : cdtx_tx_add(tx, IN_SHOP, key, strlen(key), err);
}

/* Whoever joined one that was begun before has its hooks already. */
static int32_t try_both(cdtx_tx *tx, struct ledger *ledger, const char *key, cdtx_error *err) {
    int32_t rc = ledger_check(ledger, "cdtx_tx_begin", cdtx_tx_begin(tx, err), err);
    if (rc == 0 && strstr(key, "late") != NULL) {
        rc = cdtx_tx_after_commit(tx, HOOK_LATE_JOB, key, strlen(key), NULL, err);
        if (ledger_check(ledger, "cdtx_tx_after_commit", rc, err) == CDTX_REFUSED)
            rc = 0;
    }
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_tx_try", cdtx_tx_try(tx, IN_POST, key, strlen(key), err), err);
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_tx_try", cdtx_tx_try(tx, IN_SHOP, key, strlen(key), err), err);
    return rc;
}

/* A transaction that nobody asked to commit cannot have been committed. */
static int32_t steps(cdtx_tx *tx, struct ledger *ledger, enum promise_way way, const char *key, cdtx_error *err) {
    cdtx_error last = {0};
    int32_t rc = try_both(tx, ledger, key, err);
    if (way == PROMISE_FORGOTTEN)
        return CDTX_REFUSED;
    if (rc == 0 && way == PROMISE_STEPS)
        return ledger_check(ledger, "cdtx_tx_commit", cdtx_tx_commit(tx, err), err);
    int32_t ended = ledger_check(ledger, "cdtx_tx_rollback", cdtx_tx_rollback(tx, &last), &last);
    if (way == PROMISE_STEPS && ended == CDTX_REFUSED) /* joined by its key: committed before */
        return 0;
    return rc != 0 && cdtx_happened(rc) == 0 ? rc : CDTX_REFUSED;
}

int32_t post_promise(struct house *house, struct ledger *ledger, enum promise_way way, const char *key) {
    cdtx_error err = {0};
    cdtx_tx *tx = NULL;
    int never = way == PROMISE_GIVEN_UP || way == PROMISE_FORGOTTEN || strstr(key, "refuse") != NULL ||
                strstr(key, "taken-back") != NULL;
    uint32_t place = announce(ledger, DEED_PROMISE, key, never ? CDTX_REFUSED : CDTX_UNKNOWN);
    int32_t rc = ledger_check(ledger, "cdtx_tx_new", new_promise(house, key, &tx, &err), &err);
    if (rc == 0 && way == PROMISE_DECLARED) {
        rc = declare(tx, key, &err);
        if (rc == 0)
            rc = cdtx_tx_run(tx, &err);
        (void)ledger_check(ledger, "cdtx_tx_run", rc, &err);
    } else if (rc == 0) {
        rc = steps(tx, ledger, way, key, &err);
    }
    cdtx_tx_close(tx);
    ledger->list[place].code = rc;
    return rc;
}

void post_leave_open(struct house *house, struct ledger *ledger, const char *key, cdtx_tx **tx) {
    cdtx_error err = {0};
    (void)announce(ledger, DEED_PROMISE, key, CDTX_REFUSED);
    if (ledger_check(ledger, "cdtx_tx_new", new_promise(house, key, tx, &err), &err) == 0)
        (void)try_both(*tx, ledger, key, &err);
}

/* ---- deals ---- */

struct deal {
    const char *key, *handle;
    int broken;
};

static int32_t strike(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct deal *deal = user;
    int32_t rc = cdtx_half_mark(sql, deal->handle, err);
    if (rc != 0)
        return rc;
    post_bind(sql, deal->key);
    post_bind(sql, deal->handle);
    rc = cdtx_sql_exec(sql, "INSERT INTO deal VALUES (?, ?)", NULL, err);
    return rc == 0 && deal->broken ? cdtx_error_set(err, CDTX_REFUSED, "no deal") : rc;
}

static int32_t prepare(struct house *house, struct ledger *ledger, const char *key, char handle[CDTX_GID_MAX]) {
    char order[2] = {key[0], '\0'};
    cdtx_error err = {0};
    cdtx_half_options o = {.size = sizeof o, .key = order, .producer = PRODUCER, .immunity_ms = IMMUNITY_MS};
    int32_t rc = cdtx_half_prepare(house->post, TOPIC, key, strlen(key), &o, handle, &err);
    return ledger_check(ledger, "cdtx_half_prepare", rc, &err);
}

/* Its local transaction said so, so nobody can have been told the opposite. */
static void tell(struct house *house, struct ledger *ledger, const char *handle, int32_t outcome) {
    cdtx_error err = {0};
    int32_t state = 0;
    int32_t rc = ledger_check(ledger, "cdtx_half_resolve", cdtx_half_resolve(house->post, handle, outcome, &err), &err);
    if (rc == CDTX_CONFLICT)
        ledger_complain(ledger, "a half was resolved as its transaction ended: %s", err.text);
    if (rc == 0 && house->left != NULL)
        house->left(house->witness, LEFT_RESOLUTION, strtoll(strrchr(handle, '-') + 1, NULL, 10), outcome);
    rc = ledger_check(ledger, "cdtx_half_query", cdtx_half_query(house->post, handle, &state, &err), &err);
    if (rc == 0 && state != CDTX_HALF_OPEN && state != outcome)
        ledger_complain(ledger, "a half that was resolved as %d is %d", outcome, state);
}

int32_t post_deal(struct house *house, struct ledger *ledger, enum deal_way way, const char *key,
                  char handle[CDTX_GID_MAX]) {
    char own[CDTX_GID_MAX];
    cdtx_error err = {0};
    if (handle == NULL)
        handle = own;
    handle[0] = '\0';
    struct deal deal = {.key = key, .handle = handle, .broken = way == DEAL_BROKEN};
    int never = way == DEAL_BROKEN || way == DEAL_FORGOTTEN;
    uint32_t place = announce(ledger, DEED_DEAL, key, never ? CDTX_REFUSED : CDTX_UNKNOWN);
    int32_t rc = prepare(house, ledger, key, handle);
    if (rc != 0 || way == DEAL_FORGOTTEN)
        return ledger->list[place].code = rc != 0 && cdtx_happened(rc) == 0 ? rc : CDTX_REFUSED;
    rc = answered(ledger, place, "a deal", cdtx_local(house->shop, strike, &deal, &err), &err);
    if (way != DEAL_UNTOLD && cdtx_happened(rc) >= 0)
        tell(house, ledger, handle, rc == 0 ? CDTX_HALF_COMMITTED : CDTX_HALF_ROLLED_BACK);
    return rc;
}

void post_deal_late(struct house *house, struct ledger *ledger, const char *key, const char *handle) {
    cdtx_error err = {0};
    struct deal deal = {.key = key, .handle = handle};
    for (uint32_t i = 0; handle[0] != '\0' && i < ledger->count; i++)
        if (ledger->list[i].deed == DEED_DEAL && strcmp(ledger->list[i].key, key) == 0) {
            ledger->list[i].code = CDTX_UNKNOWN;
            (void)answered(ledger, i, "a late deal", cdtx_local(house->shop, strike, &deal, &err), &err);
        }
}

void post_contradict(struct house *house, struct ledger *ledger, const char *key, const char *handle) {
    cdtx_error err = {0};
    int32_t state = 0;
    if (handle[0] == '\0')
        return;
    int32_t rc = ledger_check(ledger, "cdtx_half_query", cdtx_half_query(house->post, handle, &state, &err), &err);
    if (rc != 0 || state == CDTX_HALF_OPEN)
        return;
    int32_t other = state == CDTX_HALF_COMMITTED ? CDTX_HALF_ROLLED_BACK : CDTX_HALF_COMMITTED;
    rc = ledger_check(ledger, "cdtx_half_resolve", cdtx_half_resolve(house->post, handle, other, &err), &err);
    if (rc == 0)
        ledger_complain(ledger, "the half of %s was told both", key);
    rc = ledger_check(ledger, "cdtx_half_resolve", cdtx_half_resolve(house->post, handle, state, &err), &err);
    if (rc == CDTX_CONFLICT)
        ledger_complain(ledger, "the half of %s was told again what it is: %s", key, err.text);
}

/* One that was prepared before, and of which nobody knows, is ruled out by the check. */
static int32_t deal_again(struct house *house, struct ledger *ledger, const char *key) {
    cdtx_sql *sql = NULL;
    cdtx_error err = {0};
    int there = 0;
    int32_t rc = ledger_check(ledger, "cdtx_sql_begin", cdtx_sql_begin(house->shop, &sql, &err), &err);
    if (rc == 0)
        rc = is_there(sql, "SELECT 1 FROM deal WHERE key = ?", key, &there, &err);
    cdtx_sql_close(sql);
    return rc != 0 || there ? rc : post_deal(house, ledger, DEAL_TOLD, key, NULL);
}

/* ---- jobs ---- */

struct job {
    const char *handler, *key;
    const cdtx_job_options *options;
    int64_t id;
};

static int32_t put(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct job *job = user;
    return cdtx_job_put(sql, job->handler, job->key, strlen(job->key), job->options, &job->id, err);
}

int32_t post_chore(struct house *house, struct ledger *ledger, enum post_deed deed, const char *key,
                   const cdtx_job_options *options, int64_t *id) {
    cdtx_error err = {0};
    struct job job = {CHORE, key, options, 0};
    uint32_t place = announce(ledger, deed, key, CDTX_UNKNOWN);
    int32_t rc = cdtx_local(house->post, put, &job, &err);
    if (id != NULL)
        *id = rc == 0 ? job.id : 0;
    return answered(ledger, place, "a chore", rc, &err);
}

struct call_off {
    const char *key;
    int64_t id;
    int torn;
};

static int32_t call_off(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct call_off *off = user;
    int32_t rc = cdtx_retry_cancel(sql, off->id, err);
    if (rc != 0)
        return rc;
    post_bind(sql, off->key);
    rc = cdtx_sql_exec(sql, "INSERT INTO cancelled VALUES (?)", NULL, err);
    return rc == 0 && off->torn ? cdtx_error_set(err, CDTX_REFUSED, "it shall be done after all") : rc;
}

void post_call_off(struct house *house, struct ledger *ledger, const char *key, int64_t id, int torn) {
    cdtx_error err = {0};
    struct call_off off = {key, id, torn};
    if (id == 0)
        return;
    uint32_t place = announce(ledger, DEED_OFF, key, torn ? CDTX_REFUSED : CDTX_UNKNOWN);
    (void)answered(ledger, place, "cdtx_retry_cancel", cdtx_local(house->post, call_off, &off, &err), &err);
}

void post_errand(struct house *house, struct ledger *ledger, enum post_deed deed, const char *key) {
    cdtx_error err = {0};
    cdtx_job_options o = {.size = sizeof o, .unique_key = "errand", .unique_policy = CDTX_UNIQUE_REPLACE};
    if (deed == DEED_KEPT) {
        o.unique_key = "kept";
        o.unique_policy = CDTX_UNIQUE_KEEP;
    }
    struct job job = {ERRAND, key, &o, 0};
    uint32_t place = announce(ledger, deed, key, CDTX_UNKNOWN);
    (void)answered(ledger, place, "an errand", cdtx_local(house->post, put, &job, &err), &err);
}

/* ---- rest ---- */

int32_t post_drain(struct house *house, struct ledger *ledger, int64_t for_ms) {
    cdtx_error err = {0};
    int32_t rc = ledger_check(ledger, "cdtx_run", cdtx_run(house->engine, for_ms, &err), &err);
    post_pull(house, ledger, for_ms);
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_drain", cdtx_drain(house->engine, DRAIN_MS, &err), &err);
    if (rc != 0 && rc != CDTX_STOPPED)
        ledger_complain(ledger, "the house does not come to rest: %s", err.text);
    return rc;
}

static int32_t ask(struct house *house, struct ledger *ledger, int deed, const char *key) {
    switch (deed) {
    case DEED_LETTER:
        return post_letter(house, ledger, LETTER_SENT, key);
    case DEED_PROMISE:
        return post_promise(house, ledger, strstr(key, "late") != NULL ? PROMISE_STEPS : PROMISE_DECLARED, key);
    default:
        return deal_again(house, ledger, key);
    }
}

uint32_t post_ask_again(struct house *house, struct ledger *ledger) {
    uint32_t asked = 0;
    for (uint32_t i = 0, count = ledger->count; i < count; i++) {
        struct heard heard = ledger->list[i];
        if (heard.deed > DEED_DEAL || heard.code == 0 || heard.code == CDTX_REFUSED)
            continue;
        int32_t code = ask(house, ledger, heard.deed, heard.key);
        ledger->list[i].code = code;
        ledger->count = count;
        if (cdtx_happened(code) < 0)
            ledger_complain(ledger, "%s was asked about again without faults, and answered %s", heard.key,
                            cdtx_code_name(code));
        asked++;
    }
    return asked;
}
