/* The local coordinator: global transactions as rows of cdtx_tx in the log, every verb one rider of the log's groups.
 * It keeps nothing in memory, so several engines on one log need no more than what is in the rows (README.md, D1 to
 * D10). */
#include "engine/coord_op.h"
#include "store/guard.h"

struct coord_local {
    cdtx_db *db;
};

/* ---- the port ---- */

static void free_op(struct coord_op *op) {
    const cdtx_env *env = op->rows.env;
    cdtx__buf_free(&op->record);
    cdtx__rows_free(&op->rows);
    cdtx__free(env, op->items, op->item_room * sizeof *op->items);
    cdtx__free(env, op->branches, op->branch_room * sizeof *op->branches);
    cdtx__free(env, op, sizeof *op);
}

static void done(struct rider *rider) {
    struct coord_op *op = LIST_OF(rider, struct coord_op, rider);
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
    [COORD_BEGIN] = {cdtx__coord_begin, RIDER_PLAIN},
    [COORD_REGISTER] = {cdtx__coord_register, RIDER_PLAIN},
    [COORD_HOOK] = {cdtx__coord_hook, RIDER_PLAIN},
    [COORD_DECIDE] = {cdtx__coord_decide, RIDER_PLAIN},
    [COORD_QUERY] = {cdtx__coord_query, RIDER_PLAIN},
    [COORD_LIST] = {cdtx__coord_list, RIDER_PLAIN},
    [COORD_TAKE] = {cdtx__coord_take, 0},
    [COORD_SETTLE] = {cdtx__coord_settle, RIDER_PLAIN},
    [COORD_TRIM] = {cdtx__coord_trim, 0},
};

static void submit(void *self, struct coord_request *request) {
    struct coord_local *local = self;
    INVARIANT(request->verb >= COORD_BEGIN && request->verb <= COORD_TRIM);
    const cdtx_env *env = local->db->engine->env;
    request->held = NULL;
    request->items = NULL;
    request->item_count = 0;
    struct coord_op *op = cdtx__alloc(env, sizeof *op);
    if (op == NULL) {
        request->result = cdtx__fail(&request->err, CDTX_NO_MEMORY, "no memory to ask the coordinator");
        request->done(request);
        return;
    }
    op->request = request;
    op->epoch = request->epoch;
    op->reason = request->reason;
    cdtx__buf_init(&op->record, env, COORD_RECORD_MAX);
    cdtx__rows_init(&op->rows, env, COORD_ROWS_MAX);
    op->rider.run = verbs[request->verb].run;
    op->rider.done = done;
    op->rider.flags = verbs[request->verb].flags;
    int with_case = request->verb == COORD_SETTLE && (request->park != NULL || request->parked);
    if (with_case || request->hooked) /* its row and its case, or its hooks, are more than one statement */
        op->rider.flags = 0;
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
