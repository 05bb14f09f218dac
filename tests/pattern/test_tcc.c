/* TCC by hand-made calls: every cell of the guard table, exact answers, and what a handler may do. */
#include "../engine/lab.h"

enum { ABSENT, TRIED, REJECTED, CONFIRMED, CANCELLED, EMPTY_CANCELLED, STATES };
enum { TRY = CDTX_CALL_TRY, CONFIRM = CDTX_CALL_CONFIRM, CANCEL = CDTX_CALL_CANCEL };

static const char *const state_names[] = {"absent", "tried", "rejected", "confirmed", "cancelled", "empty"};

static cdtx *engine;
static cdtx_db *db;
static uint32_t handler_runs, dropped;
static int32_t next_code; /* what handlers answer instead, once they have written; 0: what is right */
static uint8_t log_uuid[16] = {1, 2, 3};

/* ---- the participant: one sku; the payload "no" asks for more than there is ---- */

static int32_t move_stock(cdtx_sql *sql, cdtx_tcc_call *call, const char *op, const char *move, cdtx_error *err) {
    handler_runs++;
    cdtx_sql_bind_text(sql, cdtx_tcc_gid(call), strlen(cdtx_tcc_gid(call)));
    cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    cdtx_sql_bind_text(sql, op, strlen(op));
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO effect VALUES (?, ?, ?)", NULL, err);
    if (rc == 0)
        rc = cdtx_sql_exec(sql, move, NULL, err);
    if (rc == 0 && next_code != 0)
        rc = cdtx_error_set(err, next_code, "the handler has its own reasons");
    return rc;
}

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    char answer[64];
    size_t length = 0;
    (void)user;
    int32_t rc = move_stock(sql, call, "try", "UPDATE stock SET free = free - 1, held = held + 1", err);
    if (rc == 0)
        rc = cdtx_sql_query(sql, "SELECT free FROM stock", err);
    if (rc != 0)
        return rc;
    cdtx_sql_next(sql);
    int64_t left = cdtx_sql_int(sql, 0);
    const char *payload = cdtx_tcc_payload(call, &length);
    if (length == 2 && memcmp(payload, "no", 2) == 0) {
        snprintf(answer, sizeof answer, "sold out with %lld left", (long long)left);
        return cdtx_error_set(err, CDTX_REFUSED, answer);
    }
    snprintf(answer, sizeof answer, "held, %lld left", (long long)left);
    rc = cdtx_tcc_answer(call, "overwritten", 11, err);
    return rc != 0 ? rc : cdtx_tcc_answer(call, answer, strlen(answer), err);
}

/* What the try answered must be what the confirm and the cancel see. */
static void check_memory(const cdtx_tcc_call *call) {
    size_t length = 0;
    const char *result = cdtx_tcc_try_result(call, &length);
    ck_assert_msg(length > 5 && memcmp(result, "held,", 5) == 0, "%.*s", (int)length, result);
    ck_assert_mem_eq(cdtx_tcc_payload(call, &length), "yes", 3);
    ck_assert_uint_eq(length, 3);
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    check_memory(call);
    ck_assert_int_eq(cdtx_tcc_answer(call, "x", 1, NULL), CDTX_MISUSE);
    return move_stock(sql, call, "confirm", "UPDATE stock SET held = held - 1, sold = sold + 1", err);
}

static int32_t on_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    check_memory(call);
    ck_assert_int_eq(cdtx_tcc_answer(call, "x", 1, NULL), CDTX_MISUSE);
    return move_stock(sql, call, "cancel", "UPDATE stock SET held = held - 1, free = free + 1", err);
}

static void drop(void *user) {
    ck_assert_ptr_eq(user, &dropped);
    dropped++;
}

static cdtx_tcc_handlers handlers(void) {
    return (cdtx_tcc_handlers){.size = sizeof(cdtx_tcc_handlers),
                               .on_try = on_try,
                               .on_confirm = on_confirm,
                               .on_cancel = on_cancel,
                               .user = &dropped,
                               .drop = drop};
}

static void open_stock(void) {
    cdtx_options options = {.size = sizeof options, .payload_max = 1000};
    cdtx_tcc_handlers three = handlers();
    next_code = 0;
    OK(cdtx_open(&options, &engine, &E));
    OK(cdtx_db_open(engine, "stock", lab_url("stock.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock.reserve", &three, &E));
}

static void make_stock(void) {
    handler_runs = dropped = 0;
    open_stock();
    lab_exec(db, "CREATE TABLE stock (free INTEGER, held INTEGER, sold INTEGER)");
    lab_exec(db, "INSERT INTO stock VALUES (1000, 0, 0)");
    lab_exec(db, "CREATE TABLE effect (gid TEXT, branch INTEGER, op TEXT)");
}

static void close_stock(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

/* ---- calls ---- */

struct answer {
    int32_t code, answered;
    uint32_t length;
    uint64_t id;
    char result[2000];
    char text[512];
};

static void keep(void *user, uint64_t id, const cdtx_reply *reply) {
    struct answer *answer = user;
    answer->answered++;
    answer->id = id;
    answer->code = reply->code;
    answer->length = reply->length;
    if (reply->length > 0)
        memcpy(answer->result, reply->result, reply->length);
    snprintf(answer->text, sizeof answer->text, "%s", reply->text == NULL ? "" : reply->text);
}

static uint64_t last_id;

static cdtx_call make_call(int64_t sequence, uint32_t branch, int32_t op, const char *payload) {
    cdtx_call call = {.sequence = sequence,
                      .id = ++last_id,
                      .epoch = 1,
                      .branch = branch,
                      .op = op,
                      .attempt = 1,
                      .length = (uint32_t)strlen(payload),
                      .participant = "stock.reserve",
                      .payload = payload};
    memcpy(call.log, log_uuid, sizeof log_uuid);
    return call;
}

static void run_until_answered(const struct answer *answer) {
    for (int i = 0; i < 100 && !answer->answered; i++)
        OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(answer->answered, 1);
}

static struct answer serve(int64_t sequence, uint32_t branch, int32_t op, const char *payload) {
    struct answer answer = {0};
    cdtx_call call = make_call(sequence, branch, op, payload);
    OK(cdtx_serve(engine, &call, keep, &answer, &E));
    run_until_answered(&answer);
    ck_assert_uint_eq(answer.id, call.id);
    return answer;
}

static int64_t guard_state(int64_t sequence) {
    char query[128];
    snprintf(query, sizeof query, "SELECT state FROM cdtx_guard WHERE seq = %lld", (long long)sequence);
    int64_t state = lab_sql("stock.db", query);
    return state < 0 ? ABSENT : state;
}

static int64_t effects(int64_t sequence, const char *op) {
    char query[160];
    snprintf(query, sizeof query, "SELECT count(*) FROM effect WHERE gid LIKE '%%-%lld' AND op LIKE '%s'",
             (long long)sequence, op);
    return lab_sql("stock.db", query);
}

/* Brings the guard of a fresh gid to that state; the answer of its try, if it had one. */
static struct answer bring_to(int64_t sequence, int state) {
    struct answer first = {0};
    if (state == TRIED || state == CONFIRMED || state == CANCELLED)
        first = serve(sequence, 0, TRY, "yes");
    if (state == REJECTED)
        first = serve(sequence, 0, TRY, "no");
    if (state == CONFIRMED)
        serve(sequence, 0, CONFIRM, "yes");
    if (state == CANCELLED || state == EMPTY_CANCELLED)
        serve(sequence, 0, CANCEL, "yes");
    ck_assert_msg(guard_state(sequence) == state, "not brought to %s", state_names[state]);
    return first;
}

/* ---- the table ---- */

struct cell {
    int state, op, code, after, runs, alarms;
};

static const struct cell cells[] = {
    {ABSENT, TRY, 0, TRIED, 1, 0},
    {ABSENT, CONFIRM, CDTX_NOT_FOUND, ABSENT, 0, 1},
    {ABSENT, CANCEL, 0, EMPTY_CANCELLED, 0, 0},
    {TRIED, TRY, 0, TRIED, 0, 0},
    {TRIED, CONFIRM, 0, CONFIRMED, 1, 0},
    {TRIED, CANCEL, 0, CANCELLED, 1, 0},
    {REJECTED, TRY, CDTX_REFUSED, REJECTED, 0, 0},
    {REJECTED, CONFIRM, CDTX_CONFLICT, REJECTED, 0, 1},
    {REJECTED, CANCEL, 0, REJECTED, 0, 0},
    {CONFIRMED, TRY, 0, CONFIRMED, 0, 0},
    {CONFIRMED, CONFIRM, 0, CONFIRMED, 0, 0},
    {CONFIRMED, CANCEL, CDTX_REFUSED, CONFIRMED, 0, 1},
    {CANCELLED, TRY, CDTX_REFUSED, CANCELLED, 0, 0},
    {CANCELLED, CONFIRM, CDTX_REFUSED, CANCELLED, 0, 1},
    {CANCELLED, CANCEL, 0, CANCELLED, 0, 0},
    {EMPTY_CANCELLED, TRY, CDTX_REFUSED, EMPTY_CANCELLED, 0, 0},
    {EMPTY_CANCELLED, CONFIRM, CDTX_REFUSED, EMPTY_CANCELLED, 0, 1},
    {EMPTY_CANCELLED, CANCEL, 0, EMPTY_CANCELLED, 0, 0},
};

/* Expects the cell's answer once, and then, from where the guard stands, nothing new however often it is repeated. */
static void check_cell(const struct cell *cell, int64_t sequence) {
    char where[64];
    snprintf(where, sizeof where, "%s, op %d", state_names[cell->state], cell->op);
    struct answer first = bring_to(sequence, cell->state);
    uint32_t runs = handler_runs;
    uint64_t alarms = lab_metrics(engine).alarms;
    int64_t before = effects(sequence, "%");
    struct answer answer = serve(sequence, 0, cell->op, "yes");
    ck_assert_msg(answer.code == cell->code, "%s: %s %s", where, cdtx_code_name(answer.code), answer.text);
    ck_assert_msg(guard_state(sequence) == cell->after, "%s: state %d", where, (int)guard_state(sequence));
    ck_assert_msg(handler_runs - runs == (uint32_t)cell->runs, "%s: %u runs", where, handler_runs - runs);
    ck_assert_msg(effects(sequence, "%") - before == cell->runs, "%s: effects", where);
    ck_assert_msg(lab_metrics(engine).alarms - alarms == (uint64_t)cell->alarms, "%s: alarms", where);
    ck_assert_msg((answer.code == 0) == (answer.text[0] == '\0'), "%s: text '%s'", where, answer.text);
    if (cell->op == TRY && first.answered && cell->state != CANCELLED) { /* the first answer again, to the byte */
        ck_assert_int_eq(answer.code, first.code);
        ck_assert_uint_eq(answer.length, first.length);
        ck_assert_mem_eq(answer.result, first.result, first.length);
        ck_assert_str_eq(answer.text, first.text);
    }
    struct answer again = serve(sequence, 0, cell->op, "yes");
    ck_assert_msg(again.code == answer.code && strcmp(again.text, answer.text) == 0, "%s again: %s", where, again.text);
    ck_assert_msg(again.length == answer.length && memcmp(again.result, answer.result, answer.length) == 0, "%s again",
                  where);
    ck_assert_msg(handler_runs - runs == (uint32_t)cell->runs, "%s again: %u runs", where, handler_runs - runs);
    ck_assert_msg(guard_state(sequence) == cell->after, "%s again: state", where);
}

START_TEST(every_cell) {
    make_stock();
    ck_assert_uint_eq(sizeof cells / sizeof cells[0], STATES * 3);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++)
        check_cell(&cells[i], 100 + (int64_t)i);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT free + held + sold FROM stock"), 1000);
    close_stock();
}
END_TEST

/* ---- the first answer ---- */

START_TEST(first_answer_outlives_business_state_and_process) {
    make_stock();
    struct answer yes = serve(1, 0, TRY, "yes"), no = serve(2, 0, TRY, "no");
    ck_assert_str_eq(yes.result, "held, 999 left");
    ck_assert_int_eq(no.code, CDTX_REFUSED);
    ck_assert_str_eq(no.text, "sold out with 998 left");
    ck_assert_uint_eq(no.length, 0);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT free FROM stock"),
                     999); /* what the refusing handler wrote is undone */
    ck_assert_int_eq(effects(2, "%"), 0);
    lab_exec(db, "UPDATE stock SET free = 5000");
    for (int life = 0; life < 2; life++) {
        struct answer again = serve(1, 0, TRY, "yes");
        ck_assert_int_eq(again.code, 0);
        ck_assert_uint_eq(again.length, yes.length);
        ck_assert_mem_eq(again.result, yes.result, yes.length);
        again = serve(2, 0, TRY, "yes"); /* would be a yes now, if it were asked */
        ck_assert_int_eq(again.code, CDTX_REFUSED);
        ck_assert_str_eq(again.text, no.text);
        close_stock();
        open_stock();
    }
    ck_assert_int_eq(serve(1, 0, CONFIRM, "yes").code, 0); /* the try's result is still there for the confirm */
    ck_assert_str_eq(serve(1, 0, TRY, "yes").result, yes.result);
    ck_assert_int_eq(effects(1, "try"), 1);
    close_stock();
}
END_TEST

START_TEST(gid_is_log_and_sequence_and_branch) {
    make_stock();
    serve(7, 0, TRY, "yes");
    serve(7, 1, TRY, "yes");
    log_uuid[15] ^= 1;
    serve(7, 0, TRY, "yes");
    log_uuid[15] ^= 1;
    ck_assert_int_eq(effects(7, "try"), 3);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(*) FROM effect WHERE branch = 1"), 1);
    ck_assert_int_eq(
        lab_sql("stock.db", "SELECT count(*) FROM effect WHERE gid = '01020300000000000000000000000000-7'"), 2);
    serve(7, 1, CANCEL, "yes");
    ck_assert_int_eq(serve(7, 0, CONFIRM, "yes").code, 0);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT held FROM stock"), 1);
    close_stock();
}
END_TEST

/* ---- calls that arrive together ---- */

/* Both are on their way before either is answered, so they ride in one commit. */
static void together(int64_t sequence, int32_t first_op, int32_t second_op, struct answer out[2]) {
    cdtx_call first = make_call(sequence, 0, first_op, "yes"), second = make_call(sequence, 0, second_op, "yes");
    memset(out, 0, 2 * sizeof *out);
    OK(cdtx_serve(engine, &first, keep, &out[0], &E));
    OK(cdtx_serve(engine, &second, keep, &out[1], &E));
    run_until_answered(&out[0]);
    run_until_answered(&out[1]);
}

START_TEST(doubled_calls_act_once) {
    make_stock();
    struct answer both[2];
    together(1, TRY, TRY, both);
    ck_assert_int_eq(both[0].code, 0);
    ck_assert_int_eq(both[1].code, 0);
    ck_assert_str_eq(both[0].result, both[1].result);
    ck_assert_int_eq(effects(1, "try"), 1);
    together(1, CONFIRM, CONFIRM, both);
    ck_assert_int_eq(both[0].code + both[1].code, 0);
    ck_assert_int_eq(effects(1, "confirm"), 1);
    together(2, CANCEL, TRY, both);
    ck_assert_int_eq(both[0].code, 0);
    ck_assert_int_eq(both[1].code, CDTX_REFUSED);
    ck_assert_int_eq(effects(2, "%"), 0);
    together(3, TRY, CANCEL, both);
    ck_assert_int_eq(both[0].code + both[1].code, 0);
    ck_assert_int_eq(guard_state(3), CANCELLED);
    together(4, TRY, CONFIRM, both);
    ck_assert_int_eq(both[0].code + both[1].code, 0);
    ck_assert_int_eq(guard_state(4), CONFIRMED);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT held FROM stock"), 0);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT sold FROM stock"), 2);
    close_stock();
}
END_TEST

/* ---- handlers that fail ---- */

START_TEST(no_answer_leaves_nothing) {
    make_stock();
    for (next_code = CDTX_USER; next_code < CDTX_REFUSED; next_code++) {
        struct answer answer = serve(1, 0, TRY, "yes");
        ck_assert_int_ne(answer.code, 0);
        ck_assert_int_ne(answer.code, CDTX_REFUSED); /* not a definite no: it may be asked again */
        ck_assert_ptr_nonnull(strstr(answer.text, "own reasons"));
        ck_assert_int_eq(guard_state(1), ABSENT);
    }
    ck_assert_int_eq(effects(1, "%"), 0);
    next_code = 0;
    ck_assert_int_eq(serve(1, 0, TRY, "yes").code, 0);
    close_stock();
}
END_TEST

START_TEST(failed_phase_two_is_repeated) {
    make_stock();
    for (int op = CONFIRM; op <= CANCEL; op++) {
        int64_t sequence = 10 + op;
        serve(sequence, 0, TRY, "yes");
        for (next_code = CDTX_USER; next_code < 0; next_code++) {
            ck_assert_int_ne(serve(sequence, 0, op, "yes").code, 0);
            ck_assert_int_eq(guard_state(sequence), TRIED); /* a confirm's REFUSED is no decision either */
            ck_assert_int_eq(effects(sequence, "%"), 1);
        }
        next_code = 0;
        ck_assert_int_eq(serve(sequence, 0, op, "yes").code, 0);
        ck_assert_int_eq(effects(sequence, "%"), 2);
    }
    ck_assert_int_eq(lab_sql("stock.db", "SELECT held FROM stock"), 0);
    close_stock();
}
END_TEST

/* ---- limits and bad input ---- */

static int32_t answer_length(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    static const char bytes[1100];
    size_t length = 0;
    (void)sql, (void)user;
    int32_t rc = cdtx_tcc_answer(call, "kept", 4, err);
    const char *payload = cdtx_tcc_payload(call, &length);
    if (rc == 0)
        rc = cdtx_tcc_answer(call, bytes, (size_t)atoi(payload), err); /* the payload has a NUL behind its end */
    return rc == CDTX_LIMIT ? 0 : rc;                                  /* the one before still counts */
}

START_TEST(answers_have_a_limit) {
    make_stock();
    cdtx_tcc_handlers three = handlers();
    three.on_try = answer_length;
    three.drop = NULL;
    OK(cdtx_tcc_add(db, "answers", &three, &E));
    static const struct {
        const char *payload;
        uint32_t length;
    } edges[] = {{"0", 0}, {"999", 999}, {"1000", 1000}, {"1001", 4}};
    for (size_t i = 0; i < 4; i++) {
        struct answer answer = {0};
        cdtx_call call = make_call(50 + (int64_t)i, 0, TRY, edges[i].payload);
        call.participant = "answers";
        OK(cdtx_serve(engine, &call, keep, &answer, &E));
        run_until_answered(&answer);
        ck_assert_msg(answer.code == 0, "%s: %s", edges[i].payload, answer.text);
        ck_assert_msg(answer.length == edges[i].length, "%s: %u", edges[i].payload, answer.length);
    }
    close_stock();
}
END_TEST

static void refuse_call(cdtx_call call, int32_t code, const char *word) {
    struct answer answer = {0};
    FAILS(code, word, cdtx_serve(engine, &call, keep, &answer, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(answer.answered, 0);
}

START_TEST(bad_calls_are_refused) {
    make_stock();
    static char big[1002], name[129];
    memset(big, 'x', 1001);
    memset(name, 'n', 128);
    cdtx_call call = make_call(1, 0, 0, "yes");
    refuse_call(call, CDTX_INVALID, "0");
    refuse_call(make_call(1, 0, CDTX_CALL_REVERSE + 1, "yes"), CDTX_INVALID, "5");
    refuse_call(make_call(1, 0, -1, "yes"), CDTX_INVALID, "-1");
    refuse_call(make_call(0, 0, TRY, "yes"), CDTX_INVALID, "0");
    refuse_call(make_call(-5, 0, TRY, "yes"), CDTX_INVALID, "-5");
    refuse_call(make_call(1, CDTX_BRANCHES_MAX, TRY, "yes"), CDTX_INVALID, "62");
    refuse_call(make_call(1, UINT32_MAX, TRY, "yes"), CDTX_INVALID, "4294967295");
    refuse_call(make_call(1, 0, TRY, big), CDTX_LIMIT, "payload_max");
    call = make_call(1, 0, TRY, "yes");
    call.participant = "";
    refuse_call(call, CDTX_INVALID, "empty");
    call.participant = name;
    refuse_call(call, CDTX_INVALID, "127");
    call.participant = "a\nb";
    refuse_call(call, CDTX_INVALID, "control");
    call.participant = NULL;
    refuse_call(call, CDTX_INVALID, "name");
    FAILS(CDTX_INVALID, "NULL", cdtx_serve(engine, NULL, keep, &call, &E));
    call = make_call(1, 0, TRY, "yes");
    FAILS(CDTX_INVALID, "NULL", cdtx_serve(engine, &call, NULL, NULL, &E));
    call.participant = "nobody";
    struct answer answer = {0};
    OK(cdtx_serve(engine, &call, keep, &answer, &E));
    run_until_answered(&answer);
    ck_assert_int_eq(answer.code, CDTX_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(answer.text, "nobody"));
    big[1000] = '\0';
    ck_assert_int_eq(serve(9, CDTX_BRANCHES_MAX - 1, TRY, big).code, 0);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(*) FROM cdtx_guard"), 1);
    close_stock();
}
END_TEST

START_TEST(registering) {
    make_stock();
    cdtx_tcc_handlers three = handlers();
    FAILS(CDTX_CONFLICT, "stock.reserve", cdtx_tcc_add(db, "stock.reserve", &three, &E));
    three.on_try = NULL;
    FAILS(CDTX_INVALID, "on_try", cdtx_tcc_add(db, "other", &three, &E));
    three = handlers();
    three.on_confirm = NULL;
    FAILS(CDTX_INVALID, "on_confirm", cdtx_tcc_add(db, "other", &three, &E));
    three = handlers();
    three.on_cancel = NULL;
    FAILS(CDTX_INVALID, "on_cancel", cdtx_tcc_add(db, "other", &three, &E));
    FAILS(CDTX_INVALID, "", cdtx_tcc_add(db, "other", NULL, &E));
    three = handlers();
    FAILS(CDTX_INVALID, "empty", cdtx_tcc_add(db, "", &three, &E));
    FAILS(CDTX_INVALID, "", cdtx_tcc_add(db, NULL, &three, &E));
    ck_assert_int_eq(cdtx_serves(engine, "other"), 0);
    ck_assert_int_eq(cdtx_serves(engine, "stock.reserve"), 1);
    ck_assert_int_eq(cdtx_serves(engine, NULL), 0);
    ck_assert_uint_eq(dropped, 0); /* a refused registration takes nothing over */
    close_stock();
    ck_assert_uint_eq(dropped, 1);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, every_cell);
    tcase_add_test(tcase, first_answer_outlives_business_state_and_process);
    tcase_add_test(tcase, gid_is_log_and_sequence_and_branch);
    tcase_add_test(tcase, doubled_calls_act_once);
    tcase_add_test(tcase, no_answer_leaves_nothing);
    tcase_add_test(tcase, failed_phase_two_is_repeated);
    tcase_add_test(tcase, answers_have_a_limit);
    tcase_add_test(tcase, bad_calls_are_refused);
    tcase_add_test(tcase, registering);
}

int main(void) {
    return lab_main("tcc", tests);
}
