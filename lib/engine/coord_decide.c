/* Beginning, adding branches, deciding, and asking what was decided. */
#include "engine/coord_op.h"
#include "engine/hook.h"
#include "store/record.h"

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
const struct sm cdtx__coord_machine = {"global transaction", states, CDTX_TX_REVERSED + 1};

/* Where each decision ends. */
const int32_t cdtx__coord_ends[] = {[CDTX_TX_COMMITTING] = CDTX_TX_COMMITTED,
                                    [CDTX_TX_ROLLING_BACK] = CDTX_TX_ROLLED_BACK,
                                    [CDTX_TX_REVERSING] = CDTX_TX_REVERSED};

int32_t cdtx__coord_absent(const cdtx_sql *sql, int64_t sequence, cdtx_error *err) {
    if (sequence <= sql->store->meta.sequence)
        return cdtx__fail(err, CDTX_EXPIRED, "the record of gid number %lld is no longer kept", (long long)sequence);
    return cdtx__fail(err, CDTX_NOT_FOUND, "gid number %lld was never begun in this log", (long long)sequence);
}

/* rows gets (seq, state, epoch, reason, reverse_after). */
static int32_t read_row(struct coord_op *op, cdtx_sql *sql, const char *statement, const cdtx_value *key,
                        cdtx_error *err) {
    cdtx__rows_reset(&op->rows);
    int32_t rc = cdtx__sql_run(sql, statement, key, 1, &op->rows, NULL, err);
    if (rc == 0 && op->rows.count == 1 && !cdtx__sm_known(&cdtx__coord_machine, cdtx__rows_int(&op->rows, 0, 1)))
        rc = cdtx__fail(err, CDTX_CORRUPT, "the log's row of gid number %lld has state %lld",
                        (long long)cdtx__rows_int(&op->rows, 0, 0), (long long)cdtx__rows_int(&op->rows, 0, 1));
    return rc;
}

static int32_t read_sequence(struct coord_op *op, cdtx_sql *sql, int64_t sequence, cdtx_error *err) {
    cdtx_value key = SQL_INT(sequence);
    return read_row(op, sql, "SELECT seq, state, epoch, reason, reverse_after FROM cdtx_tx WHERE seq = ?", &key, err);
}

static int32_t read_key(struct coord_op *op, cdtx_sql *sql, const char *business_key, cdtx_error *err) {
    cdtx_value key = cdtx__sql_text(business_key);
    return read_row(op, sql, "SELECT seq, state, epoch, reason, reverse_after FROM cdtx_tx WHERE key = ?", &key, err);
}

static void answer_row(struct coord_op *op) {
    op->request->sequence = cdtx__rows_int(&op->rows, 0, 0);
    op->request->state = (int32_t)cdtx__rows_int(&op->rows, 0, 1);
    op->request->epoch = cdtx__rows_int(&op->rows, 0, 2);
    op->request->reason = (int32_t)cdtx__rows_int(&op->rows, 0, 3);
    op->request->reverse_after = (uint32_t)cdtx__rows_int(&op->rows, 0, 4);
}

/* ---- begin and register ---- */

static int32_t encode(struct coord_op *op, cdtx_error *err) {
    if (op->record.failed == CDTX_LIMIT)
        return cdtx__fail(err, CDTX_LIMIT, "the payloads of one transaction are together over %d MiB",
                          COORD_RECORD_MAX >> 20);
    if (op->record.failed != 0)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the branches of a transaction");
    return 0;
}

/* A known bug (MUTANT "bug-28"): the gid of an attempt that has ended is given to the next one. */
static int32_t begin_again(struct coord_op *op, cdtx_sql *sql, cdtx_error *err) {
    answer_row(op);
    op->request->epoch++;
    op->request->state = CDTX_TX_ACTIVE;
    cdtx_value arguments[] = {SQL_INT(cdtx__coord_in_ms(sql, op->request->timeout_ms)), SQL_INT(op->request->sequence)};
    return cdtx__sql_run(sql,
                         "UPDATE cdtx_tx SET state = 1, epoch = epoch + 1, attempts = 0, acked = 0, due = ?"
                         " WHERE seq = ?",
                         arguments, 2, NULL, NULL, err);
}

static cdtx_value hooks_of(const struct coord_request *request) {
    return request->hooks_length == 0 ? SQL_NULL : cdtx__sql_blob(request->hooks, request->hooks_length);
}

int32_t cdtx__coord_begin(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
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
                              SQL_INT(cdtx__coord_in_ms(sql, request->timeout_ms)),
                              cdtx__sql_text(request->name),
                              cdtx__sql_text(request->key),
                              cdtx__sql_blob(op->record.bytes, op->record.length),
                              SQL_INT(cdtx__wall_ms(sql->store->env)),
                              SQL_INT(request->reverse_after),
                              hooks_of(request)};
    rc = cdtx__sql_run(sql,
                       "INSERT INTO cdtx_tx (seq, state, reason, epoch, attempts, due, acked, name, key, branches,"
                       " began, reverse_after, hooks) VALUES (?, 1, 0, 1, 0, ?, 0, ?, ?, ?, ?, ?, ?)",
                       arguments, 8, NULL, NULL, err);
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

static int32_t read_branches(struct coord_op *op, cdtx_sql *sql, cdtx_error *err) {
    cdtx_value key = SQL_INT(op->request->sequence);
    cdtx__rows_reset(&op->rows);
    return cdtx__sql_run(sql, "SELECT state, epoch, branches FROM cdtx_tx WHERE seq = ?", &key, 1, &op->rows, NULL,
                         err);
}

int32_t cdtx__coord_register(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
    struct coord_request *request = op->request;
    int32_t rc = read_branches(op, sql, err);
    if (rc != 0)
        return rc;
    if (op->rows.count == 0)
        return cdtx__coord_absent(sql, request->sequence, err);
    int64_t state = cdtx__rows_int(&op->rows, 0, 0), epoch = cdtx__rows_int(&op->rows, 0, 1);
    if (!MUTANT(sql->store->env, "late-register") && (state != CDTX_TX_ACTIVE || epoch != op->epoch))
        return cdtx__fail(err, CDTX_REFUSED, "gid number %lld is %s: it takes no more branches",
                          (long long)request->sequence, cdtx__sm_name(&cdtx__coord_machine, state));
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

int32_t cdtx__coord_hook(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
    struct coord_request *request = op->request;
    int64_t changes = 0;
    cdtx_value arguments[] = {hooks_of(request), SQL_INT(request->sequence), SQL_INT(op->epoch)};
    int32_t rc =
        cdtx__sql_run(sql, "UPDATE cdtx_tx SET hooks = ?, epoch = epoch + 1 WHERE seq = ? AND epoch = ? AND state = 1",
                      arguments, 3, NULL, &changes, err);
    if (rc == 0 && changes == 0)
        rc = cdtx__fail(err, CDTX_REFUSED,
                        "gid number %lld is decided, or its number was never begun: it takes no hooks",
                        (long long)request->sequence);
    if (rc == 0)
        request->epoch = op->epoch + 1;
    return rc;
}

/* ---- decide ---- */

static int32_t move(struct coord_op *op, cdtx_sql *sql, int32_t outcome, int32_t reason, int *moved, cdtx_error *err) {
    struct coord_request *request = op->request;
    int64_t now = cdtx__coord_now_ms(sql), changes = 0;
    INVARIANT(cdtx__sm_allows(&cdtx__coord_machine, CDTX_TX_ACTIVE, outcome));
    cdtx_value arguments[] = {SQL_INT(outcome), SQL_INT(reason), SQL_INT(cdtx__coord_in_ms(sql, request->lease_ms)),
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
    return *moved && request->hooked ? cdtx__hooks_run(sql, request->sequence, outcome, err) : 0;
}

int32_t cdtx__coord_held(const struct coord_request *request, int64_t changes, cdtx_error *err) {
    if (changes != 0)
        return 0;
    return cdtx__fail(err, CDTX_CONFLICT, "another engine has taken gid number %lld over",
                      (long long)request->sequence);
}

/* The policy's second decision (trap 18). Its acknowledgements are new ones: those of the confirms say nothing about
 * what is reversed. */
static int32_t run_reverse(struct coord_op *op, cdtx_sql *sql, cdtx_error *err) {
    struct coord_request *request = op->request;
    INVARIANT(cdtx__sm_allows(&cdtx__coord_machine, CDTX_TX_COMMITTING, CDTX_TX_REVERSING));
    int64_t changes = 0;
    cdtx_value arguments[] = {SQL_INT(cdtx__coord_in_ms(sql, request->lease_ms)), SQL_INT(request->noes),
                              SQL_INT(request->sequence), SQL_INT(op->epoch)};
    int32_t rc = cdtx__sql_run(sql,
                               "UPDATE cdtx_tx SET state = 6, epoch = epoch + 1, attempts = 1, acked = 0, due = ?,"
                               " noes = ? WHERE seq = ? AND epoch = ? AND state = 2",
                               arguments, 4, NULL, &changes, err);
    if (rc == 0)
        rc = cdtx__coord_held(request, changes, err);
    if (rc != 0)
        return rc;
    request->found = 0;
    request->state = CDTX_TX_REVERSING;
    request->epoch = op->epoch + 1;
    return 0;
}

int32_t cdtx__coord_decide(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
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
        return cdtx__coord_absent(sql, request->sequence, err);
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

int32_t cdtx__coord_query(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
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
    return cdtx__coord_absent(sql, request->sequence, err);
}
