#include "witness.h"

#include <string.h>

#include "stock_service.h"
#include "store/guard.h"

#define LETTER "letter.post"

void witness_init(struct witness *witness) {
    memset(witness, 0, sizeof *witness);
    witness->letter = CDTX_NOT_FOUND;
}

/* ---- calls ---- */

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    return cdtx_serves(engine, participant);
}

/* From here on the coordinator knows it, perhaps on another machine. */
static void answer(void *user, uint64_t id, const cdtx_reply *reply) {
    struct witness *witness = user;
    for (uint32_t i = witness->said_count; i-- > 0;)
        if (witness->said[i].id == id && !witness->said[i].left) {
            witness->said[i].code = reply->code;
            witness->said[i].left = 1;
            break;
        }
    cdtx_link_reply(witness->engine, id, reply);
}

static int32_t send(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    struct witness *witness = user;
    witness->engine = engine;
    if (witness->said_count < SAID_MAX)
        witness->said[witness->said_count++] = (struct said){.id = call->id,
                                                             .sequence = call->sequence,
                                                             .branch = call->branch,
                                                             .op = call->op,
                                                             .in_stock = strcmp(call->participant, STOCK_RESERVE) == 0};
    else
        witness->too_many = 1;
    return cdtx_serve(engine, call, answer, witness, err);
}

cdtx_link witness_link(struct witness *witness) {
    return (cdtx_link){.size = sizeof(cdtx_link), .user = witness, .knows = knows, .send = send};
}

/* ---- the letter ---- */

/* A token that came before would let an old holder's effect pass for the new one's. */
static int32_t post(cdtx_work *work, void *user, cdtx_error *err) {
    struct witness *witness = user;
    if (cdtx_work_token(work) <= witness->token)
        return cdtx_error_set(err, CDTX_REFUSED, "the letter was given out twice under one token");
    witness->token = cdtx_work_token(work);
    witness->posts++;
    return 0;
}

int32_t witness_serve_letters(struct witness *witness, struct house *house, cdtx_error *err) {
    const cdtx_handler_options options = {.size = sizeof options,
                                          .handler = post,
                                          .user = witness,
                                          .attempts_max = 1000000,
                                          .crashes_max = 1000000,
                                          .lease_ms = 1000,
                                          .backoff_min_ms = 20,
                                          .backoff_max_ms = 200};
    return cdtx_handler_add(house->orders, LETTER, &options, err);
}

static int32_t put(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_job_put(sql, LETTER, "dear", 4, NULL, NULL, err);
}

void witness_put_letter(struct witness *witness, struct house *house, struct ledger *ledger) {
    cdtx_error err = {0};
    witness->letter = CDTX_UNKNOWN;
    witness->letter = ledger_check(ledger, "cdtx_job_put", cdtx_local(house->orders, put, NULL, &err), &err);
}

void witness_check_letter(const struct witness *witness, struct ledger *ledger) {
    if (witness->letter == 0 && witness->posts == 0)
        ledger_complain(ledger, "the letter was accepted, and never posted");
    if (cdtx_happened(witness->letter) == 0 && witness->posts > 0)
        ledger_complain(ledger, "the letter was answered %s, and posted", cdtx_code_name(witness->letter));
}

/* ---- looking ---- */

static int commits(int64_t state) {
    return state == CDTX_TX_COMMITTING || state == CDTX_TX_COMMITTED;
}

static int rolls_back(int64_t state) {
    return state == CDTX_TX_ROLLING_BACK || state == CDTX_TX_ROLLED_BACK;
}

static int ended(int64_t state) {
    return state == CDTX_TX_COMMITTED || state == CDTX_TX_ROLLED_BACK;
}

/* A guard may be gone once its gid has ended, and is then below the floor that its database knows. */
enum { GUARD_BELOW_FLOOR = -1 };

#define GUARD_IN(database)                                                                                             \
    "SELECT coalesce((SELECT state FROM " database ".cdtx_guard WHERE seq = ?1 AND branch = ?2),"                      \
    " (SELECT -1 FROM " database ".cdtx_floor WHERE floor > ?1), 0)"

/* Whether a guard agrees with an answer that has left. What came after the answer may have moved it on, but never back,
 * and never from one outcome to the other. */
static int agrees(const struct said *said, int64_t guard) {
    switch (said->op) {
    case CDTX_CALL_TRY:
        if (said->code == 0)
            return guard == GUARD_TRIED || guard == GUARD_CONFIRMED || guard == GUARD_CANCELLED;
        return said->code != CDTX_REFUSED || guard == GUARD_REJECTED || guard == GUARD_CANCELLED ||
               guard == GUARD_EMPTY_CANCELLED;
    case CDTX_CALL_CONFIRM:
        return said->code != 0 || guard == GUARD_CONFIRMED;
    default:
        return said->code != 0 || guard == GUARD_REJECTED || guard == GUARD_CANCELLED || guard == GUARD_EMPTY_CANCELLED;
    }
}

static int guard_of(sqlite3_stmt *statement, const struct said *said, int64_t *guard) {
    if (sqlite3_bind_int64(statement, 1, said->sequence) == SQLITE_OK &&
        sqlite3_bind_int64(statement, 2, said->branch) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        *guard = sqlite3_column_int64(statement, 0);
    return sqlite3_reset(statement);
}

static void look_at_guards(sqlite3 *db, const struct witness *witness, struct ledger *ledger) {
    sqlite3_stmt *guards[2] = {NULL};
    int rc = sqlite3_prepare_v2(db, GUARD_IN("o"), -1, &guards[0], NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, GUARD_IN("main"), -1, &guards[1], NULL);
    for (uint32_t i = 0; rc == SQLITE_OK && i < witness->said_count; i++) {
        const struct said *said = &witness->said[i];
        int64_t state = said->sequence < GIDS_MAX ? witness->state[said->sequence] : 0;
        int64_t guard = GUARD_ABSENT;
        if (!said->left)
            continue;
        rc = guard_of(guards[said->in_stock], said, &guard);
        if (rc == SQLITE_OK && !(guard == GUARD_BELOW_FLOOR ? ended(state) : agrees(said, guard)))
            ledger_complain(
                ledger,
                "gid %lld: branch %u answered %s to call %d, but its guard is %lld, and the log says state %lld",
                (long long)said->sequence, said->branch, cdtx_code_name(said->code), said->op, (long long)guard,
                (long long)state);
    }
    if (rc != SQLITE_OK)
        ledger_complain(ledger, "the guards cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(guards[0]);
    (void)sqlite3_finalize(guards[1]);
}

/* A call of phase two shows a decision as well as the row does. */
static void look_at_calls(const struct witness *witness, struct ledger *ledger) {
    for (uint32_t i = 0; i < witness->said_count; i++) {
        const struct said *said = &witness->said[i];
        int64_t state = said->sequence < GIDS_MAX ? witness->state[said->sequence] : 0;
        if ((said->op == CDTX_CALL_CONFIRM && !commits(state)) || (said->op == CDTX_CALL_CANCEL && !rolls_back(state)))
            ledger_complain(ledger, "gid %lld: call %d was sent to branch %u, but the log says state %lld",
                            (long long)said->sequence, said->op, said->branch, (long long)state);
    }
}

/* By its policy a commit that has not ended may be decided anew. */
static int is_reversed(int32_t before, int32_t now) {
    return before == CDTX_TX_COMMITTING && (now == CDTX_TX_REVERSING || now == CDTX_TX_REVERSED);
}

static void look_at_decision(struct witness *witness, int64_t sequence, int32_t now, struct ledger *ledger) {
    int32_t before = witness->state[sequence];
    if (now < before || (commits(before) && !commits(now) && !is_reversed(before, now)) ||
        (rolls_back(before) && !rolls_back(now)))
        ledger_complain(ledger, "gid %lld was in state %d before, and is in state %d after", (long long)sequence,
                        before, now);
    witness->state[sequence] = now;
}

void witness_look_at_decisions(sqlite3 *db, struct witness *witness, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int32_t states[GIDS_MAX] = {0};
    int rc = sqlite3_prepare_v2(db, "SELECT seq, state FROM l.cdtx_tx", -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t sequence = sqlite3_column_int64(statement, 0);
        if (sequence < 1 || sequence >= GIDS_MAX)
            ledger_complain(ledger, "nobody has begun a gid %lld", (long long)sequence);
        else
            states[sequence] = sqlite3_column_int(statement, 1);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        ledger_complain(ledger, "the log cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(statement);
    for (int64_t sequence = 1; sequence < GIDS_MAX; sequence++)
        look_at_decision(witness, sequence, states[sequence], ledger);
}

/* An order that was answered yes is decided so, whether or not its confirms have been made. */
static void look_at_orders(sqlite3 *db, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT state FROM l.cdtx_tx WHERE key = ?", -1, &statement, NULL);
    for (uint32_t i = 0; rc == SQLITE_OK && i < ledger->count; i++) {
        const struct heard *heard = &ledger->list[i];
        if (heard->deed != DEED_ORDER || heard->code != 0)
            continue;
        rc = sqlite3_bind_text(statement, 1, heard->key, -1, SQLITE_STATIC);
        if (rc == SQLITE_OK && (sqlite3_step(statement) != SQLITE_ROW || !commits(sqlite3_column_int64(statement, 0))))
            ledger_complain(ledger, "order %s was answered yes, but the log does not say so", heard->key);
        if (rc == SQLITE_OK)
            rc = sqlite3_reset(statement);
    }
    if (rc != SQLITE_OK)
        ledger_complain(ledger, "the log cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(statement);
}

void witness_look(struct witness *witness, sqlite3 *db, struct ledger *ledger) {
    witness_look_at_decisions(db, witness, ledger);
    look_at_calls(witness, ledger);
    look_at_guards(db, witness, ledger);
    look_at_orders(db, ledger);
    if (witness->too_many)
        ledger_complain(ledger, "more than %d calls were sent", SAID_MAX);
}
