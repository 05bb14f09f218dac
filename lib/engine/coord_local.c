/* The local coordinator: global transactions as rows of cdtx_tx in the log, every verb one rider of the log's groups.
 * It keeps nothing in memory, so several engines on one log need no more than what is in the rows (README.md, D1 to
 * D5). */
#include <stdio.h>

#include "base/sm.h"
#include "engine/case.h"
#include "engine/engine.h"
#include "store/guard.h"
#include "store/record.h"

enum { RECORD_MAX = 16 << 20, ROWS_MAX = RECORD_MAX + 65536 };

struct coord_local {
    cdtx_db *db;
};

struct op {
    struct rider rider;
    struct coord_local *self;
    struct coord_request *request;
    int32_t reason;
    int64_t epoch; /* both as asked: a rerun starts from them, while the request gets the answer */
    struct buf record;
    cdtx_rows rows;
    struct coord_item *items;
    struct coord_branch *branches; /* of all items */
    uint32_t item_room, branch_room;
};

/* The published graph of a global transaction's states (README.md, D2). */
static const struct sm_state states[] = {
    [CDTX_TX_ACTIVE] = {"ACTIVE", SM_TO(CDTX_TX_COMMITTING) | SM_TO(CDTX_TX_ROLLING_BACK), 0},
    [CDTX_TX_COMMITTING] = {"COMMITTING", SM_TO(CDTX_TX_COMMITTED) | SM_TO(CDTX_TX_REVERSING), 0},
    [CDTX_TX_ROLLING_BACK] = {"ROLLING_BACK", SM_TO(CDTX_TX_ROLLED_BACK), 0},
    [CDTX_TX_COMMITTED] = {"COMMITTED", 0, 1},
    [CDTX_TX_ROLLED_BACK] = {"ROLLED_BACK", 0, 1},
    [CDTX_TX_REVERSING] = {"REVERSING", SM_TO(CDTX_TX_REVERSED), 0},
    [CDTX_TX_REVERSED] = {"REVERSED", 0, 1},
};
static const struct sm machine = {"global transaction", states, CDTX_TX_REVERSED + 1};

/* Where each decision ends. */
static const int32_t ends[] = {[CDTX_TX_COMMITTING] = CDTX_TX_COMMITTED,
                               [CDTX_TX_ROLLING_BACK] = CDTX_TX_ROLLED_BACK,
                               [CDTX_TX_REVERSING] = CDTX_TX_REVERSED};

static int64_t now_ms(const cdtx_sql *sql) {
    return cdtx__store_clock_ms(sql->store);
}

static int64_t in_ms(const cdtx_sql *sql, int64_t ms) {
    return cdtx__store_stamp_ms(sql->store) + ms;
}

static int32_t absent(const cdtx_sql *sql, int64_t sequence, cdtx_error *err) {
    if (sequence <= sql->store->meta.sequence)
        return cdtx__fail(err, CDTX_EXPIRED, "the record of gid number %lld is no longer kept", (long long)sequence);
    return cdtx__fail(err, CDTX_NOT_FOUND, "gid number %lld was never begun in this log", (long long)sequence);
}

/* rows gets (seq, state, epoch, reason, reverse_after). */
static int32_t read_row(struct op *op, cdtx_sql *sql, const char *statement, const cdtx_value *key, cdtx_error *err) {
    cdtx__rows_reset(&op->rows);
    int32_t rc = cdtx__sql_run(sql, statement, key, 1, &op->rows, NULL, err);
    if (rc == 0 && op->rows.count == 1 && !cdtx__sm_known(&machine, cdtx__rows_int(&op->rows, 0, 1)))
        rc = cdtx__fail(err, CDTX_CORRUPT, "the log's row of gid number %lld has state %lld",
                        (long long)cdtx__rows_int(&op->rows, 0, 0), (long long)cdtx__rows_int(&op->rows, 0, 1));
    return rc;
}

static int32_t read_sequence(struct op *op, cdtx_sql *sql, int64_t sequence, cdtx_error *err) {
    cdtx_value key = SQL_INT(sequence);
    return read_row(op, sql, "SELECT seq, state, epoch, reason, reverse_after FROM cdtx_tx WHERE seq = ?", &key, err);
}

static int32_t read_key(struct op *op, cdtx_sql *sql, const char *business_key, cdtx_error *err) {
    cdtx_value key = cdtx__sql_text(business_key);
    return read_row(op, sql, "SELECT seq, state, epoch, reason, reverse_after FROM cdtx_tx WHERE key = ?", &key, err);
}

static void answer_row(struct op *op) {
    op->request->sequence = cdtx__rows_int(&op->rows, 0, 0);
    op->request->state = (int32_t)cdtx__rows_int(&op->rows, 0, 1);
    op->request->epoch = cdtx__rows_int(&op->rows, 0, 2);
    op->request->reason = (int32_t)cdtx__rows_int(&op->rows, 0, 3);
    op->request->reverse_after = (uint32_t)cdtx__rows_int(&op->rows, 0, 4);
}

/* ---- begin and register ---- */

static int32_t encode(struct op *op, cdtx_error *err) {
    if (op->record.failed == CDTX_LIMIT)
        return cdtx__fail(err, CDTX_LIMIT, "the payloads of one transaction are together over %d MiB",
                          RECORD_MAX >> 20);
    if (op->record.failed != 0)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the branches of a transaction");
    return 0;
}

/* A known bug (MUTANT "bug-28"): the gid of an attempt that has ended is given to the next one. */
static int32_t begin_again(struct op *op, cdtx_sql *sql, cdtx_error *err) {
    answer_row(op);
    op->request->epoch++;
    op->request->state = CDTX_TX_ACTIVE;
    cdtx_value arguments[] = {SQL_INT(in_ms(sql, op->request->timeout_ms)), SQL_INT(op->request->sequence)};
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_tx SET state = 1, epoch = epoch + 1, attempts = 0, acked = 0, due = ?"
                         " WHERE seq = ?",
                         arguments, 2, NULL, NULL, err);
}

static int32_t run_begin(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    request->found = 0;
    if (request->key != NULL) {
        int32_t rc = read_key(op, sql, request->key, err);
        if (rc != 0)
            return rc;
        if (op->rows.count == 1 && cdtx__rows_int(&op->rows, 0, 1) == CDTX_TX_ROLLED_BACK &&
            MUTANT(sql->store->env, "bug-28"))
            return begin_again(op, sql, err);
        if (op->rows.count == 1) {
            request->found = 1;
            answer_row(op);
            return 0;
        }
    }
    op->record.length = 0;
    cdtx__record_branches(&op->record, request->branches, request->branch_count);
    int32_t rc = encode(op, err);
    if (rc != 0)
        return rc;
    int64_t sequence = sql->store->meta.sequence + 1;
    cdtx_value arguments[] = {SQL_INT(sequence),
                              SQL_INT(in_ms(sql, request->timeout_ms)),
                              cdtx__sql_text(request->name),
                              cdtx__sql_text(request->key),
                              cdtx__sql_blob(op->record.bytes, op->record.length),
                              SQL_INT(cdtx__wall_ms(sql->store->env)),
                              SQL_INT(request->reverse_after)};
    rc = cdtx__sql_run(sql,
                       "INSERT INTO cdtx_tx (seq, state, reason, epoch, attempts, due, acked, name, key, branches,"
                       " began, reverse_after) VALUES (?, 1, 0, 1, 0, ?, 0, ?, ?, ?, ?, ?)",
                       arguments, 7, NULL, NULL, err);
    if (rc != 0)
        return rc;
    sql->store->meta.sequence = sequence;
    sql->store->meta.dirty = 1;
    request->sequence = sequence;
    request->epoch = 1;
    request->state = CDTX_TX_ACTIVE;
    request->reason = COORD_REASON_NONE;
    return 0;
}

static int32_t read_branches(struct op *op, cdtx_sql *sql, cdtx_error *err) {
    cdtx_value key = SQL_INT(op->request->sequence);
    cdtx__rows_reset(&op->rows);
    return cdtx__sql_run(sql, "SELECT state, epoch, branches FROM cdtx_tx WHERE seq = ?", &key, 1, &op->rows, NULL,
                         err);
}

static int32_t run_register(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    int32_t rc = read_branches(op, sql, err);
    if (rc != 0)
        return rc;
    if (op->rows.count == 0)
        return absent(sql, request->sequence, err);
    int64_t state = cdtx__rows_int(&op->rows, 0, 0), epoch = cdtx__rows_int(&op->rows, 0, 1);
    if (!MUTANT(sql->store->env, "late-register") && (state != CDTX_TX_ACTIVE || epoch != op->epoch))
        return cdtx__fail(err, CDTX_REFUSED, "gid number %lld is %s: it takes no more branches",
                          (long long)request->sequence, cdtx__sm_name(&machine, state));
    const cdtx_value *record = cdtx__rows_at(&op->rows, 0, 2);
    struct coord_branch known[CDTX_BRANCHES_MAX];
    rc = cdtx__record_read(record->bytes, record->length, known, &request->branch, err);
    if (rc != 0)
        return rc;
    if (request->branch == CDTX_BRANCHES_MAX)
        return cdtx__fail(err, CDTX_LIMIT, "gid number %lld has %d branches already", (long long)request->sequence,
                          CDTX_BRANCHES_MAX);
    op->record.length = 0;
    cdtx__buf_bytes(&op->record, record->bytes, record->length);
    cdtx__record_append_branch(&op->record, &request->branches[0]);
    rc = encode(op, err);
    if (rc != 0)
        return rc;
    cdtx_value arguments[] = {cdtx__sql_blob(op->record.bytes, op->record.length), SQL_INT(request->sequence)};
    rc = cdtx__sql_run(sql, "UPDATE cdtx_tx SET branches = ?, epoch = epoch + 1 WHERE seq = ?", arguments, 2, NULL,
                       NULL, err);
    if (rc == 0) {
        request->epoch = epoch + 1;
        request->state = (int32_t)state;
    }
    return rc;
}

/* ---- decide ---- */

static int32_t move(struct op *op, cdtx_sql *sql, int32_t outcome, int32_t reason, int *moved, cdtx_error *err) {
    struct coord_request *request = op->request;
    int64_t now = now_ms(sql), changes = 0;
    INVARIANT(cdtx__sm_allows(&machine, CDTX_TX_ACTIVE, outcome));
    cdtx_value arguments[] = {SQL_INT(outcome), SQL_INT(reason), SQL_INT(in_ms(sql, request->lease_ms)),
                              SQL_INT(request->sequence), SQL_INT(op->epoch),
                              /* Only a commit can come too late: no deadline is before the clock's start. */
                              SQL_INT(outcome == CDTX_TX_COMMITTING ? now : INT64_MIN)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-1"))
        rc = cdtx__sql_run(
            sql, "UPDATE cdtx_tx SET state = ?, reason = ?, epoch = epoch + 1, attempts = 1, due = ? WHERE seq = ?",
            arguments, 4, NULL, &changes, err);
    else
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET state = ?, reason = ?, epoch = epoch + 1, attempts = 1, due = ?"
                           " WHERE seq = ? AND state = 1 AND epoch = ? AND due > ?",
                           arguments, 6, NULL, &changes, err);
    if (rc != 0)
        return rc;
    *moved = changes == 1;
    if (*moved) {
        request->found = 0;
        request->state = outcome;
        request->reason = reason;
        request->epoch = op->epoch + 1;
    }
    return 0;
}

/* The policy's second decision (trap 18). Its acknowledgements are new ones: those of the confirms say nothing about
 * what is reversed. */
static int32_t run_reverse(struct op *op, cdtx_sql *sql, cdtx_error *err) {
    struct coord_request *request = op->request;
    INVARIANT(cdtx__sm_allows(&machine, CDTX_TX_COMMITTING, CDTX_TX_REVERSING));
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(in_ms(sql, request->lease_ms)), SQL_INT(request->noes),
                              SQL_INT(request->sequence), SQL_INT(op->epoch)};
    int32_t rc = cdtx__sql_run(sql,
                               "UPDATE cdtx_tx SET state = 6, epoch = epoch + 1, attempts = 1, acked = 0, due = ?,"
                               " noes = ? WHERE seq = ? AND epoch = ? AND state = 2",
                               arguments, 4, NULL, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return cdtx__fail(err, CDTX_CONFLICT, "another engine has taken gid number %lld over",
                          (long long)request->sequence);
    request->found = 0;
    request->state = CDTX_TX_REVERSING;
    request->epoch = op->epoch + 1;
    return 0;
}

static int32_t run_decide(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    int moved = 0;
    if (request->outcome == CDTX_TX_REVERSING)
        return run_reverse(op, sql, err);
    int32_t rc = move(op, sql, request->outcome, op->reason, &moved, err);
    if (rc != 0 || moved)
        return rc;
    rc = read_sequence(op, sql, request->sequence, err);
    if (rc != 0)
        return rc;
    if (op->rows.count == 0)
        return absent(sql, request->sequence, err);
    if (cdtx__rows_int(&op->rows, 0, 1) != CDTX_TX_ACTIVE) {
        request->found = 1;
        answer_row(op);
        return 0;
    }
    if (cdtx__rows_int(&op->rows, 0, 2) != op->epoch)
        return cdtx__fail(err, CDTX_CONFLICT, "gid number %lld has changed since epoch %lld",
                          (long long)request->sequence, (long long)op->epoch);
    rc = move(op, sql, CDTX_TX_ROLLING_BACK, COORD_REASON_TIMEOUT, &moved, err);
    INVARIANT(rc != 0 || moved); /* the row stood in ACTIVE at this epoch in this very transaction */
    return rc;
}

/* ---- query and list ---- */

static int32_t run_query(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    int32_t rc =
        request->key != NULL ? read_key(op, sql, request->key, err) : read_sequence(op, sql, request->sequence, err);
    if (rc != 0)
        return rc;
    if (op->rows.count == 1) {
        answer_row(op);
        return 0;
    }
    if (request->key != NULL)
        return cdtx__fail(err, CDTX_NOT_FOUND, "no transaction has the key '%.120s'", request->key);
    return absent(sql, request->sequence, err);
}

static int32_t reserve_items(struct op *op, uint32_t count, cdtx_error *err) {
    const cdtx_env *env = op->rows.env;
    if (count <= op->item_room)
        return 0;
    cdtx__free(env, op->items, op->item_room * sizeof *op->items);
    op->items = cdtx__alloc(env, count * sizeof *op->items);
    op->item_room = op->items == NULL ? 0 : count;
    return op->items == NULL ? cdtx__fail(err, CDTX_NO_MEMORY, "no memory for %u transactions", count) : 0;
}

static int32_t reserve_branches(struct op *op, uint32_t count, cdtx_error *err) {
    const cdtx_env *env = op->rows.env;
    if (count <= op->branch_room)
        return 0;
    cdtx__free(env, op->branches, op->branch_room * sizeof *op->branches);
    op->branches = cdtx__alloc(env, count * sizeof *op->branches);
    op->branch_room = op->branches == NULL ? 0 : count;
    return op->branches == NULL ? cdtx__fail(err, CDTX_NO_MEMORY, "no memory for %u branches", count) : 0;
}

/* What rows_to_items reads, but for the branches. */
#define ITEM_COLUMNS "seq, state, epoch, acked, attempts, reason, due, name, reverse_after, noes, parked IS NOT NULL"
enum { ITEM_ACKED = 3, ITEM_DUE = 6, ITEM_NAME = 7, ITEM_BRANCHES = 11 };

/* Beyond what any counter or clock comes to. */
#define NUMBER_MAX (INT64_C(1) << 53)

/* Whether a row can be what we wrote; read and count get its branches. */
static int is_sound(const struct op *op, uint32_t row, struct coord_branch *read, uint32_t *count, cdtx_error *err) {
    const cdtx_value *record = cdtx__rows_at(&op->rows, row, ITEM_BRANCHES);
    long long sequence = (long long)cdtx__rows_int(&op->rows, row, 0);
    for (uint32_t i = 0; i < ITEM_BRANCHES; i++) {
        const cdtx_value *value = cdtx__rows_at(&op->rows, row, i);
        int number = value->type == CDTX_INT &&
                     (i == ITEM_ACKED || (value->integer >= -NUMBER_MAX && value->integer <= NUMBER_MAX));
        if (i == ITEM_NAME ? value->type != CDTX_TEXT : !number && (i != ITEM_DUE || value->type != CDTX_NULL)) {
            cdtx__fail(err, CDTX_CORRUPT, "the log's row of gid number %lld is damaged in column %u", sequence, i);
            return 0;
        }
    }
    if (!cdtx__sm_known(&machine, cdtx__rows_int(&op->rows, row, 1))) {
        cdtx__fail(err, CDTX_CORRUPT, "the log's row of gid number %lld has state %lld", sequence,
                   (long long)cdtx__rows_int(&op->rows, row, 1));
        return 0;
    }
    return cdtx__record_read(record->bytes, record->length, read, count, err) == 0;
}

static void fill_item(struct op *op, uint32_t row, struct coord_item *item) {
    *item = (struct coord_item){
        .sequence = cdtx__rows_int(&op->rows, row, 0),
        .state = (int32_t)cdtx__rows_int(&op->rows, row, 1),
        .epoch = cdtx__rows_int(&op->rows, row, 2),
        .acked = cdtx__rows_int(&op->rows, row, 3),
        .attempts = (uint32_t)cdtx__rows_int(&op->rows, row, 4),
        .reason = (int32_t)cdtx__rows_int(&op->rows, row, 5),
        .name = cdtx__rows_at(&op->rows, row, ITEM_NAME)->bytes,
        .reverse_after = (uint32_t)cdtx__rows_int(&op->rows, row, 8),
        .noes = (uint32_t)cdtx__rows_int(&op->rows, row, 9),
        .parked = (int32_t)cdtx__rows_int(&op->rows, row, 10),
    };
}

/* Item i is row i. Damaged rows become items with state 0 when that is allowed, else CORRUPT. */
static int32_t rows_to_items(struct op *op, int damaged_too, cdtx_error *err) {
    struct coord_branch read[CDTX_BRANCHES_MAX];
    cdtx_error why;
    uint32_t total = 0, count = 0, at = 0;
    int32_t rc = reserve_items(op, op->rows.count, err);
    for (uint32_t i = 0; rc == 0 && i < op->rows.count; i++) {
        fill_item(op, i, &op->items[i]);
        if (is_sound(op, i, read, &count, &why)) {
            op->items[i].branch_count = count;
            total += count;
        } else {
            cdtx__log(op->rows.env, CDTX_LOG_ALARM, "gid number %lld is left alone: %s",
                      (long long)op->items[i].sequence, why.text);
            op->items[i].state = 0;
            if (!damaged_too)
                rc = cdtx__fail(err, CDTX_CORRUPT, "%s", why.text);
        }
    }
    if (rc == 0)
        rc = reserve_branches(op, total, err);
    for (uint32_t i = 0; rc == 0 && i < op->rows.count; i++) {
        struct coord_item *item = &op->items[i];
        if (item->branch_count == 0)
            continue;
        const cdtx_value *record = cdtx__rows_at(&op->rows, i, ITEM_BRANCHES);
        rc = cdtx__record_read(record->bytes, record->length, read, &count, err);
        item->branches = op->branches + at;
        memcpy(item->branches, read, count * sizeof *read);
        at += count;
    }
    op->request->items = op->items;
    op->request->item_count = rc == 0 ? op->rows.count : 0;
    return rc;
}

static int32_t run_list(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    cdtx_value arguments[] = {SQL_INT(request->after), SQL_INT(request->state), SQL_INT(request->state),
                              SQL_INT(request->limit)};
    cdtx__rows_reset(&op->rows);
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT " ITEM_COLUMNS ", x'01' FROM cdtx_tx"
                               " WHERE seq > ? AND (state = ? OR (? = 0 AND due IS NOT NULL)) ORDER BY seq LIMIT ?",
                               arguments, 4, &op->rows, NULL, err);
    return rc != 0 ? rc : rows_to_items(op, 0, err);
}

/* ---- take and settle ---- */

/* Undecided and out of time is decided by the very write that takes it. */
static int32_t take_item(struct op *op, cdtx_sql *sql, uint32_t row, cdtx_error *err) {
    struct coord_item *item = &op->items[row];
    int timed_out = item->state == CDTX_TX_ACTIVE;
    if (MUTANT(sql->store->env, "timeout-moves-decided"))
        timed_out = item->state == CDTX_TX_ACTIVE || item->state == CDTX_TX_COMMITTING;
    if (timed_out) {
        item->state = CDTX_TX_ROLLING_BACK;
        item->reason = cdtx__rows_int(&op->rows, row, 6) == 0 ? COORD_REASON_ABANDONED : COORD_REASON_TIMEOUT;
    }
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(item->state), SQL_INT(item->reason), SQL_INT(in_ms(sql, op->request->lease_ms)),
                              SQL_INT(item->sequence), SQL_INT(item->epoch)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-11")) {
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET state = ?, reason = ?, due = ?, attempts = attempts + 1 WHERE seq = ?",
                           arguments, 4, NULL, &changes, err);
        item->attempts++;
        return rc;
    }
    rc = cdtx__sql_run(sql,
                       "UPDATE cdtx_tx SET state = ?, reason = ?, due = ?, epoch = epoch + 1, attempts = attempts + 1"
                       " WHERE seq = ? AND epoch = ?",
                       arguments, 5, NULL, &changes, err);
    INVARIANT(rc != 0 || changes == 1); /* read in this very transaction */
    if (rc == 0 && MUTANT(sql->store->env, "trap-24-tx"))
        rc = cdtx__sql_run(sql, "UPDATE cdtx_tx SET attempts = attempts - 1 WHERE seq = ?", &arguments[3], 1, NULL,
                           NULL, err);
    item->epoch++;
    item->attempts++;
    return rc;
}

/* The earliest that was not due when the due ones were read. */
static int32_t next_due(struct op *op, cdtx_sql *sql, int64_t now, cdtx_error *err) {
    cdtx_rows rows;
    cdtx_value argument = SQL_INT(now);
    cdtx__rows_init(&rows, op->rows.env, 4096);
    int32_t rc = cdtx__sql_run(sql, "SELECT min(due) FROM cdtx_tx WHERE due > ?", &argument, 1, &rows, NULL, err);
    if (rc == 0) {
        const cdtx_value *due = cdtx__rows_at(&rows, 0, 0);
        int64_t latest = now + CDTX_TIME_MAX_MS;
        op->request->next_due_ms = due->type != CDTX_INT ? -1 : (due->integer < latest ? due->integer : latest) - now;
    }
    cdtx__rows_free(&rows);
    return rc;
}

static int32_t select_due(struct op *op, cdtx_sql *sql, int64_t now, uint32_t limit, cdtx_error *err) {
    cdtx_value arguments[] = {SQL_INT(now), SQL_INT(limit)};
    cdtx__rows_reset(&op->rows);
    const char *statement = "SELECT " ITEM_COLUMNS ", branches FROM cdtx_tx WHERE due <= ? ORDER BY due, seq LIMIT ?";
    if (MUTANT(sql->store->env, "bug-26"))
        statement = "SELECT " ITEM_COLUMNS ", branches FROM cdtx_tx WHERE due <= ? AND state <> 1 ORDER BY due, seq"
                    " LIMIT ?";
    return cdtx__sql_run(sql, statement, arguments, 2, &op->rows, NULL, err);
}

enum { DAMAGED_AGAIN_MS = 60000 };

/* Takes what can be taken; what is damaged stays as it is, due, for a person, and must not hold up the others. */
static int32_t take_items(struct op *op, cdtx_sql *sql, uint32_t *damaged, cdtx_error *err) {
    uint32_t taken = 0;
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < op->request->item_count; i++) {
        cdtx_error why = {0};
        if (op->items[i].state == 0)
            continue;
        if (cdtx__sm_final(&machine, op->items[i].state))
            rc = cdtx__fail(&why, CDTX_SQL, "it has ended, and is due");
        else
            rc = take_item(op, sql, i, &why);
        if (rc == 0) {
            op->items[taken++] = op->items[i];
        } else if (rc == CDTX_SQL) { /* our statement has no fault, so the row has */
            cdtx__log(op->rows.env, CDTX_LOG_ALARM, "gid number %lld is left alone, its row is damaged: %s",
                      (long long)op->items[i].sequence, why.text);
            rc = 0;
        } else if (err != NULL) {
            *err = why;
        }
    }
    *damaged = op->request->item_count - taken;
    op->request->item_count = rc == 0 ? taken : 0;
    return rc;
}

static int32_t run_take(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    int64_t now = now_ms(sql);
    uint32_t limit = request->limit, damaged = 0;
    int32_t rc = select_due(op, sql, now, limit, err);
    if (rc == CDTX_LIMIT) { /* large payloads: one always fits */
        limit = 1;
        rc = select_due(op, sql, now, limit, err);
    }
    if (rc == 0)
        rc = rows_to_items(op, 1, err);
    if (rc == 0)
        rc = take_items(op, sql, &damaged, err);
    if (rc == 0)
        rc = next_due(op, sql, now, err);
    if (rc == 0 && op->rows.count == limit && damaged < limit)
        request->next_due_ms = 0;
    else if (rc == 0 && damaged > 0 && (request->next_due_ms < 0 || request->next_due_ms > DAMAGED_AGAIN_MS))
        request->next_due_ms = DAMAGED_AGAIN_MS;
    return rc;
}

/* ---- settle ---- */

/* By the epoch and state that the holder knows; CONFLICT when somebody else has it. */
static int32_t held(const struct coord_request *request, int64_t changes, cdtx_error *err) {
    if (changes != 0)
        return 0;
    return cdtx__fail(err, CDTX_CONFLICT, "another engine has taken gid number %lld over",
                      (long long)request->sequence);
}

static int32_t end_row(struct op *op, cdtx_sql *sql, cdtx_error *err) {
    struct coord_request *request = op->request;
    int32_t state = ends[request->outcome];
    INVARIANT(cdtx__sm_allows(&machine, request->outcome, state));
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(state),          SQL_INT(cdtx__store_stamp_ms(sql->store)),
                              SQL_INT(request->acked), SQL_INT(request->sequence),
                              SQL_INT(op->epoch),      SQL_INT(request->outcome)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-11"))
        rc = cdtx__sql_run(
            sql, "UPDATE cdtx_tx SET state = ?, due = NULL, ended = ?, acked = ?, epoch = epoch + 1 WHERE seq = ?",
            arguments, 4, NULL, &changes, err);
    else
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET state = ?, due = NULL, ended = ?, acked = ?, epoch = epoch + 1,"
                           " parked = NULL WHERE seq = ? AND epoch = ? AND state = ?",
                           arguments, 6, NULL, &changes, err);
    if (rc == 0 && MUTANT(sql->store->env, "due-stays"))
        rc = cdtx__sql_run(sql, "UPDATE cdtx_tx SET due = 9000000000000 WHERE seq = ?", &arguments[3], 1, NULL, NULL,
                           err);
    if (rc == 0)
        rc = held(request, changes, err);
    if (rc == 0)
        request->state = state;
    return rc;
}

static int32_t keep_row(struct op *op, cdtx_sql *sql, cdtx_error *err) {
    struct coord_request *request = op->request;
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(in_ms(sql, request->due_in_ms)),
                              SQL_INT(request->acked),
                              SQL_INT(request->noes),
                              cdtx__sql_text(request->error),
                              cdtx__sql_text(request->park),
                              SQL_INT(request->sequence),
                              SQL_INT(op->epoch),
                              SQL_INT(request->outcome)};
    int32_t rc;
    if (MUTANT(sql->store->env, "bug-11"))
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET due = ?, acked = ?, noes = ?, error = ?, parked = ?, epoch = epoch + 1"
                           " WHERE seq = ?",
                           arguments, 6, NULL, &changes, err);
    else
        rc = cdtx__sql_run(sql,
                           "UPDATE cdtx_tx SET due = ?, acked = ?, noes = ?, error = ?, parked = coalesce(parked, ?),"
                           " epoch = epoch + 1 WHERE seq = ? AND epoch = ? AND state = ?",
                           arguments, 8, NULL, &changes, err);
    if (rc == 0 && changes == 0 && MUTANT(sql->store->env, "bug-16")) {
        cdtx_value late[] = {SQL_INT(request->outcome), arguments[0], arguments[1], arguments[5]};
        return cdtx__sql_run(sql,
                             "INSERT INTO cdtx_tx (state, due, acked, seq, reason, epoch, attempts, name, branches)"
                             " VALUES (?, ?, ?, ?, 0, 1, 0, '', x'01') ON CONFLICT (seq)"
                             " DO UPDATE SET state = excluded.state, due = excluded.due, acked = excluded.acked",
                             late, 4, NULL, NULL, err);
    }
    if (rc == 0)
        rc = held(request, changes, err);
    if (rc == 0)
        request->state = request->outcome;
    return rc;
}

static int32_t open_case(struct op *op, cdtx_sql *sql, const char *gid, cdtx_error *err) {
    struct coord_request *request = op->request;
    char evidence[512];
    int opened = 0;
    snprintf(evidence, sizeof evidence, "%s; branches answered: bits %llx; definite noes: %u; last answer: %.300s",
             cdtx__sm_name(&machine, request->outcome), (unsigned long long)request->acked, request->noes,
             request->error == NULL ? "none" : request->error);
    int32_t rc = cdtx__case_open(sql, "tx", gid, request->park, evidence, "cdtx", &opened, err);
    if (rc == 0)
        request->found = opened;
    return rc;
}

/* Parking, and the end of what was parked, go with their case in one commit. */
static int32_t run_settle(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    char gid[CDTX_GID_MAX];
    request->found = 0;
    int32_t rc = request->ended ? end_row(op, sql, err) : keep_row(op, sql, err);
    if (rc != 0 || (request->park == NULL && !request->parked))
        return rc;
    cdtx__gid_text(sql->store->uuid, request->sequence, gid);
    if (request->ended)
        return cdtx__case_close(sql, "tx", gid, "cdtx", "it has ended", err);
    return request->parked || MUTANT(sql->store->env, "parked-no-case") ? 0 : open_case(op, sql, gid, err);
}

/* ---- trim ---- */

enum { FLOOR_STEP = 20000 };

/* Looked for from where it stood: each row is passed once. NOT INDEXED, because the index of due rows would have to be
 * sorted. */
static int32_t raise_floor(cdtx_sql *sql, int *more, cdtx_error *err) {
    struct store_meta *meta = &sql->store->meta;
    cdtx_rows rows;
    cdtx__rows_init(&rows, sql->store->env, 4096);
    int64_t end = meta->sequence + 1, upto = meta->floor + FLOOR_STEP < end ? meta->floor + FLOOR_STEP : end;
    cdtx_value arguments[] = {SQL_INT(meta->floor), SQL_INT(upto)};
    int32_t rc = cdtx__sql_run(sql,
                               "SELECT seq FROM cdtx_tx NOT INDEXED WHERE seq >= ? AND seq < ? AND due IS NOT NULL"
                               " ORDER BY seq LIMIT 1",
                               arguments, 2, &rows, NULL, err);
    if (rc == 0) {
        int64_t floor = rows.count == 1 ? cdtx__rows_int(&rows, 0, 0) : upto;
        if (MUTANT(sql->store->env, "floor-over-open"))
            floor = upto;
        *more = rows.count == 0 && upto < end;
        sql->store->meta.dirty |= floor != meta->floor;
        meta->floor = floor;
    }
    cdtx__rows_free(&rows);
    return rc;
}

/* The oldest ended ones first; what is still open among them is passed over. */
static int32_t drop_outcomes(struct op *op, cdtx_sql *sql, int64_t *dropped, cdtx_error *err) {
    int64_t kept_ms = MUTANT(sql->store->env, "dropped-at-once") ? 0 : op->request->retention_ms;
    cdtx_value arguments[] = {SQL_INT(op->request->limit), SQL_INT(now_ms(sql) - kept_ms)};
    return cdtx__sql_run(sql,
                         "DELETE FROM cdtx_tx WHERE seq IN (SELECT seq FROM (SELECT seq, ended FROM cdtx_tx NOT INDEXED"
                         " WHERE due IS NULL ORDER BY seq LIMIT ?) WHERE ended <= ?)",
                         arguments, 2, NULL, dropped, err);
}

static int32_t next_expiry(struct op *op, cdtx_sql *sql, cdtx_error *err) {
    cdtx__rows_reset(&op->rows);
    int32_t rc = cdtx__sql_run(sql, "SELECT ended FROM cdtx_tx NOT INDEXED WHERE due IS NULL ORDER BY seq LIMIT 1",
                               NULL, 0, &op->rows, NULL, err);
    if (rc != 0 || op->rows.count == 0)
        return rc;
    int64_t in = cdtx__rows_int(&op->rows, 0, 0) + op->request->retention_ms - now_ms(sql);
    op->request->next_due_ms = in < 1000 ? 1000 : in;
    return 0;
}

static int32_t run_trim(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    int64_t dropped = 0;
    int more = 0;
    request->next_due_ms = -1;
    int32_t rc = raise_floor(sql, &more, err);
    if (rc == 0)
        rc = drop_outcomes(op, sql, &dropped, err);
    if (rc == 0)
        rc = next_expiry(op, sql, err);
    if (rc == 0 && (more || dropped == (int64_t)request->limit))
        request->next_due_ms = 0;
    request->floor = sql->store->meta.floor;
    return rc;
}

/* ---- the port ---- */

static void free_op(struct op *op) {
    const cdtx_env *env = op->rows.env;
    cdtx__buf_free(&op->record);
    cdtx__rows_free(&op->rows);
    cdtx__free(env, op->items, op->item_room * sizeof *op->items);
    cdtx__free(env, op->branches, op->branch_room * sizeof *op->branches);
    cdtx__free(env, op, sizeof *op);
}

static void done(struct rider *rider) {
    struct op *op = LIST_OF(rider, struct op, rider);
    struct coord_request *request = op->request;
    request->result = rider->result;
    if (rider->result != 0)
        request->err = rider->err;
    if (request->item_count > 0)
        request->held = op; /* the items point into it */
    else
        free_op(op);
    request->done(request);
}

static void release(void *self, struct coord_request *request) {
    (void)self;
    if (request->held != NULL)
        free_op(request->held);
    request->held = NULL;
    request->items = NULL;
    request->item_count = 0;
}

static const struct {
    int32_t (*run)(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
    uint32_t flags; /* one writing statement leaves nothing behind when it fails */
} verbs[] = {
    [COORD_BEGIN] = {run_begin, RIDER_PLAIN},   [COORD_REGISTER] = {run_register, RIDER_PLAIN},
    [COORD_DECIDE] = {run_decide, RIDER_PLAIN}, [COORD_QUERY] = {run_query, RIDER_PLAIN},
    [COORD_LIST] = {run_list, RIDER_PLAIN},     [COORD_TAKE] = {run_take, 0},
    [COORD_SETTLE] = {run_settle, RIDER_PLAIN}, [COORD_TRIM] = {run_trim, 0},
};

static void submit(void *self, struct coord_request *request) {
    struct coord_local *local = self;
    INVARIANT(request->verb >= COORD_BEGIN && request->verb <= COORD_TRIM);
    const cdtx_env *env = local->db->engine->env;
    request->held = NULL;
    request->items = NULL;
    request->item_count = 0;
    struct op *op = cdtx__alloc(env, sizeof *op);
    if (op == NULL) {
        request->result = cdtx__fail(&request->err, CDTX_NO_MEMORY, "no memory to ask the coordinator");
        request->done(request);
        return;
    }
    op->self = local;
    op->request = request;
    op->epoch = request->epoch;
    op->reason = request->reason;
    cdtx__buf_init(&op->record, env, RECORD_MAX);
    cdtx__rows_init(&op->rows, env, ROWS_MAX);
    op->rider.run = verbs[request->verb].run;
    op->rider.done = done;
    op->rider.flags = verbs[request->verb].flags;
    if (request->verb == COORD_SETTLE && (request->park != NULL || request->parked))
        op->rider.flags = 0; /* its row and its case are more than one statement */
    if ((request->verb == COORD_SETTLE && request->ended) || request->verb == COORD_TRIM)
        op->rider.flags |= RIDER_LAZY; /* losing it only means that it is done once more */
    cdtx__store_submit(local->db->store, &op->rider);
}

static const uint8_t *log_of(void *self) {
    return ((struct coord_local *)self)->db->store->uuid;
}

static void close_local(void *self) {
    struct coord_local *local = self;
    cdtx__free(local->db->engine->env, local, sizeof *local);
}

/* ---- recovery ---- */

/* The only writer was another life of ours, and it is over: nobody can still decide what it left undecided, and
 * nobody drives what it left decided. */
static int32_t run_recover(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    (void)rider;
    if (MUTANT(sql->store->env, "bug-15")) {
        cdtx_rows rows;
        cdtx__rows_init(&rows, sql->store->env, 4096);
        int32_t rc = cdtx__sql_run(sql, "DELETE FROM cdtx_tx WHERE due IS NULL", NULL, 0, NULL, NULL, err);
        if (rc == 0)
            rc = cdtx__sql_run(sql, "SELECT max(seq) FROM cdtx_tx", NULL, 0, &rows, NULL, err);
        sql->store->meta.sequence = cdtx__rows_int(&rows, 0, 0);
        sql->store->meta.dirty = 1;
        cdtx__rows_free(&rows);
        if (rc != 0)
            return rc;
    }
    if (MUTANT(sql->store->env, "bug-10"))
        return cdtx__sql_run(sql, "DELETE FROM cdtx_tx WHERE attempts > 1 AND due IS NOT NULL", NULL, 0, NULL, NULL,
                             err);
    cdtx_error why = {0};
    int32_t rc = cdtx__sql_run(sql, "UPDATE cdtx_tx SET due = 0 WHERE due IS NOT NULL", NULL, 0, NULL, NULL, &why);
    if (rc == CDTX_SQL) /* our statement has no fault */
        rc = cdtx__fail(&why, CDTX_CORRUPT, "the log's rows are damaged: %.400s", why.text);
    if (rc != 0 && err != NULL)
        *err = why;
    return rc;
}

int32_t cdtx__coord_local_open(cdtx_db *log, struct coord_port *port, cdtx_error *err) {
    cdtx *engine = log->engine;
    if (log->store->ownership == CDTX_OWN_ALONE && !engine->options.passive) {
        struct waited_rider waited = {.rider.run = run_recover};
        int32_t rc = cdtx__ride(engine, log->store, &waited, err);
        if (rc != 0)
            return rc;
    }
    struct coord_local *local = cdtx__alloc(engine->env, sizeof *local);
    if (local == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the coordinator");
    local->db = log;
    *port =
        (struct coord_port){.self = local, .submit = submit, .release = release, .log = log_of, .close = close_local};
    return 0;
}

/* ---- a log restored from a backup ---- */

struct outrun {
    struct waited_rider waited;
    const uint8_t *log;
    int64_t sequence;
};

static int32_t run_read_guards(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct outrun *outrun = LIST_OF(rider, struct outrun, waited.rider);
    return cdtx__guard_highest(sql, outrun->log, &outrun->sequence, err);
}

static int32_t run_raise(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct outrun *outrun = LIST_OF(rider, struct outrun, waited.rider);
    (void)err;
    if (outrun->sequence > sql->store->meta.sequence) {
        cdtx__log(sql->store->env, CDTX_LOG_WARNING,
                  "the log is older than its participants (restored?): gid numbers go on after %lld instead of %lld",
                  (long long)outrun->sequence, (long long)sql->store->meta.sequence);
        sql->store->meta.sequence = outrun->sequence;
        sql->store->meta.dirty = 1;
    }
    return 0;
}

int32_t cdtx__coord_outrun_guards(cdtx_db *log, cdtx_db *db, cdtx_error *err) {
    struct outrun read = {.log = log->store->uuid, .waited.rider.run = run_read_guards};
    int32_t rc = cdtx__ride(db->engine, db->store, &read.waited, err);
    if (rc != 0 || read.sequence == 0)
        return rc;
    struct outrun raise = {.sequence = read.sequence, .waited.rider.run = run_raise};
    return cdtx__ride(log->engine, log->store, &raise.waited, err);
}
