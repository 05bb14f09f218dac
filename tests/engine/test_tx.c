/* Global transactions, declared, submitted and step by step, over both coordinators, in virtual time. */
#include <pthread.h>

#include "lab.h"

static const char *const kinds[] = {"local", "loopback"};
enum { KINDS = 2 };

static cdtx_test_env *world;
static cdtx_test_link *courier;
static cdtx *engine;
static int confirm_failures; /* how many confirms of stock fail before one succeeds */
static int64_t confirm_times[64];
static int confirm_runs;

/* ---- two participants; the payload "no" is refused, and "not yet" succeeds when it is asked the third time ---- */

static int not_yet_runs;
static int32_t not_yet_code;

static int32_t note(cdtx_sql *sql, cdtx_tcc_call *call, const char *op, cdtx_error *err) {
    size_t length = 0;
    const char *payload = cdtx_tcc_payload(call, &length);
    cdtx_sql_bind_text(sql, cdtx_tcc_gid(call), strlen(cdtx_tcc_gid(call)));
    cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    cdtx_sql_bind_text(sql, op, strlen(op));
    cdtx_sql_bind_blob(sql, payload, length);
    return cdtx_sql_exec(sql, "INSERT INTO effect VALUES (?, ?, ?, ?)", NULL, err);
}

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    char answer[80];
    size_t length = 0;
    int32_t rc = note(sql, call, "try", err);
    const char *payload = cdtx_tcc_payload(call, &length);
    if (rc == 0 && strcmp(payload, "no") == 0)
        rc = cdtx_error_set(err, CDTX_REFUSED, "sold out");
    if (rc == 0 && strcmp(payload, "not yet") == 0 && ++not_yet_runs < 3)
        rc = cdtx_error_set(err, not_yet_code, "come again");
    if (rc != 0)
        return rc;
    snprintf(answer, sizeof answer, "%s did %.40s", (const char *)user, payload);
    return cdtx_tcc_answer(call, answer, strlen(answer), err);
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    int32_t rc = note(sql, call, "confirm", err);
    if (strcmp(user, "stock") != 0)
        return rc;
    const cdtx_env *env = cdtx_test_env_port(world);
    confirm_times[confirm_runs++ % 64] = env->monotonic_us(env->user) / 1000;
    return rc == 0 && confirm_runs <= confirm_failures ? cdtx_error_set(err, CDTX_USER, "the printer is jammed") : rc;
}

static int32_t on_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return note(sql, call, "cancel", err);
}

static void add_participant(const char *name) {
    cdtx_db *db = NULL;
    char file[32];
    cdtx_tcc_handlers three = {.size = sizeof three,
                               .on_try = on_try,
                               .on_confirm = on_confirm,
                               .on_cancel = on_cancel,
                               .user = (void *)(uintptr_t)name};
    snprintf(file, sizeof file, "%s.db", name);
    OK(cdtx_db_open(engine, name, lab_url(file), &db, &E));
    lab_exec(db, "CREATE TABLE IF NOT EXISTS effect (gid TEXT, branch INTEGER, op TEXT, payload BLOB)");
    OK(cdtx_tcc_add(db, name, &three, &E));
    cdtx_db_close(db);
}

static void open_shop_with(int kind, cdtx_options options) {
    options.env = cdtx_test_env_port(world);
    options.link = cdtx_test_link_port(courier);
    options.coordinator = kinds[kind];
    engine = lab_engine(options);
    add_participant("order");
    add_participant("stock");
}

static void make_world(void) {
    confirm_failures = confirm_runs = not_yet_runs = 0;
    not_yet_code = CDTX_USER;
    OK(cdtx_test_env_new(&world, &E));
    OK(cdtx_test_link_new(&courier, &E));
}

static void make_shop(int kind) {
    make_world();
    open_shop_with(kind, (cdtx_options){0});
}

/* Everything that the engine ever took must be given back. */
static void free_shop(void) {
    cdtx_close(engine);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_link_free(courier);
    cdtx_test_env_free(world);
}

static void reopen_shop(int kind) {
    cdtx_close(engine);
    open_shop_with(kind, (cdtx_options){0});
}

static void drain(void) {
    OK(cdtx_drain(engine, 600000, &E));
}

static void drain_all_but(uint32_t open) {
    for (int i = 0; i < 1000 && lab_metrics(engine).in_work > open; i++)
        OK(cdtx_run(engine, 10, &E));
    ck_assert_uint_eq(lab_metrics(engine).in_work, open);
}

static int64_t now_ms(void) {
    const cdtx_env *env = cdtx_test_env_port(world);
    return env->monotonic_us(env->user) / 1000;
}

static int64_t effects(const char *participant, const char *op) {
    char file[32], query[128];
    snprintf(file, sizeof file, "%s.db", participant);
    snprintf(query, sizeof query, "SELECT count(*) FROM effect WHERE op = '%s'", op);
    return lab_sql(file, query);
}

/* The tries, confirms and cancels that ever took effect, as "tcc" digits for order and then for stock. */
static const char *all_effects(void) {
    static char text[32];
    snprintf(text, sizeof text, "%d%d%d %d%d%d", (int)effects("order", "try"), (int)effects("order", "confirm"),
             (int)effects("order", "cancel"), (int)effects("stock", "try"), (int)effects("stock", "confirm"),
             (int)effects("stock", "cancel"));
    return text;
}

static cdtx_tx *new_tx(cdtx_tx_options options) {
    cdtx_tx *tx = NULL;
    options.size = sizeof options;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    return tx;
}

static void add(cdtx_tx *tx, const char *participant, const char *payload) {
    OK(cdtx_tx_add(tx, participant, payload, strlen(payload), &E));
}

static cdtx_tx *order_of(cdtx_tx_options options, const char *order, const char *stock) {
    cdtx_tx *tx = new_tx(options);
    add(tx, "order", order);
    add(tx, "stock", stock);
    return tx;
}

static int32_t state_of(const char *gid) {
    int32_t state = 0;
    OK(cdtx_tx_query(engine, gid, &state, &E));
    return state;
}

static void check_result(cdtx_tx *tx, uint32_t branch, const char *want) {
    size_t length = 77;
    const char *result = cdtx_tx_result(tx, branch, &length);
    if (want == NULL) {
        ck_assert_ptr_null(result);
        ck_assert_uint_eq(length, 0);
        return;
    }
    ck_assert_uint_eq(length, strlen(want));
    ck_assert_mem_eq(result, want, length);
}

/* ---- declared ---- */

START_TEST(declared_commits) {
    make_shop(_i);
    cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "two");
    ck_assert_str_eq(cdtx_tx_gid(tx), "");
    check_result(tx, 0, NULL);
    OK(cdtx_tx_run(tx, &E));
    ck_assert_uint_gt(strlen(cdtx_tx_gid(tx)), 33);
    ck_assert_uint_lt(strlen(cdtx_tx_gid(tx)), CDTX_GID_MAX);
    check_result(tx, 0, "order did one");
    check_result(tx, 1, "stock did two");
    check_result(tx, 2, NULL);
    ck_assert_str_eq(all_effects(), "110 110"); /* by default the first attempt at phase two is over */
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    FAILS(CDTX_MISUSE, "already", cdtx_tx_run(tx, &E));
    FAILS(CDTX_MISUSE, "already", cdtx_tx_submit(tx, &E));
    FAILS(CDTX_MISUSE, "already", cdtx_tx_begin(tx, &E));
    FAILS(CDTX_MISUSE, "already", cdtx_tx_add(tx, "order", "x", 1, &E));
    cdtx_metrics metrics = lab_metrics(engine);
    ck_assert_uint_eq(metrics.begun, 1);
    ck_assert_uint_eq(metrics.committed, 1);
    ck_assert_uint_eq(metrics.rolled_back, 0);
    ck_assert_uint_eq(metrics.in_work, 0);
    ck_assert_uint_eq(metrics.calls, 4);
    ck_assert_uint_eq(metrics.alarms, 0);
    cdtx_tx_close(tx);
    cdtx_tx_close(NULL);
    ck_assert_str_eq(all_effects(), "110 110");
    free_shop();
}
END_TEST

START_TEST(declared_refused) {
    make_shop(_i);
    cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "no");
    FAILS(CDTX_REFUSED, "sold out", cdtx_tx_run(tx, &E));
    ck_assert_ptr_nonnull(strstr(E.text, "stock")); /* says who refused */
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    ck_assert_str_eq(all_effects(), "101 000");
    cdtx_tx_close(tx);
    ck_assert_uint_eq(lab_metrics(engine).rolled_back, 1);
    free_shop();
}
END_TEST

START_TEST(nobody_of_that_name) {
    make_shop(_i);
    cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "two");
    add(tx, "paymint", "three");
    FAILS(CDTX_NOT_FOUND, "paymint", cdtx_tx_run(tx, &E));
    FAILS(CDTX_NOT_FOUND, "paymint", cdtx_tx_submit(tx, &E));
    ck_assert_str_eq(cdtx_tx_gid(tx), "");
    cdtx_tx_close(tx);
    tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    FAILS(CDTX_NOT_FOUND, "paymint", cdtx_tx_try(tx, "paymint", "x", 1, &E));
    OK(cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    drain();
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx"), 1);
    ck_assert_str_eq(all_effects(), "000 000");
    free_shop();
}
END_TEST

/* Any code but REFUSED is no answer, whatever the library itself uses it for. */
START_TEST(no_answer_is_asked_again) {
    make_shop(_i);
    for (not_yet_code = CDTX_USER; not_yet_code < CDTX_REFUSED; not_yet_code++) {
        not_yet_runs = 0;
        cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "not yet");
        OK(cdtx_tx_run(tx, &E));
        ck_assert_int_eq(not_yet_runs, 3);
        cdtx_tx_close(tx);
    }
    drain();
    ck_assert_int_eq(effects("stock", "confirm"), CDTX_REFUSED - CDTX_USER);
    ck_assert_int_eq(effects("stock", "try"), CDTX_REFUSED - CDTX_USER);
    free_shop();
}
END_TEST

START_TEST(no_answer_for_ever_is_a_timeout_that_says_why) {
    make_shop(_i);
    not_yet_runs = -1000000;
    cdtx_tx *tx = order_of((cdtx_tx_options){.timeout_ms = 3000}, "one", "not yet");
    FAILS(CDTX_TIMEOUT, "come again", cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    drain();
    ck_assert_str_eq(all_effects(), "101 000");
    free_shop();
}
END_TEST

START_TEST(branches_have_edges) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    for (int i = 0; i < CDTX_BRANCHES_MAX; i++)
        add(tx, i % 2 ? "stock" : "order", "x");
    FAILS(CDTX_LIMIT, "62", cdtx_tx_add(tx, "order", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    check_result(tx, CDTX_BRANCHES_MAX - 1, "stock did x");
    cdtx_tx_close(tx);
    drain();
    ck_assert_int_eq(effects("order", "confirm"), 31);
    ck_assert_int_eq(effects("stock", "confirm"), 31);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(DISTINCT branch) FROM effect"), 31);
    tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    for (int i = 0; i < CDTX_BRANCHES_MAX; i++)
        OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    FAILS(CDTX_LIMIT, "62", cdtx_tx_try(tx, "order", "x", 1, &E));
    OK(cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    drain();
    ck_assert_int_eq(effects("order", "cancel"), 62);
    free_shop();
}
END_TEST

START_TEST(payloads_have_a_sum) {
    make_world();
    open_shop_with(_i, (cdtx_options){.payload_max = 16 << 20});
    static char bytes[9 << 20];
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_add(tx, "order", bytes, 6 << 20, &E));
    OK(cdtx_tx_add(tx, "stock", bytes, 9 << 20, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_add(tx, "order", bytes, 9 << 20, &E));
    OK(cdtx_tx_add(tx, "stock", bytes, 9 << 20, &E));
    FAILS(CDTX_LIMIT, "16 MiB", cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    drain();
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx"), 1);
    ck_assert_str_eq(all_effects(), "110 110");
    free_shop();
}
END_TEST

START_TEST(a_transaction_without_branches_commits) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_run(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    cdtx_tx_close(tx);
    tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_rollback(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(decided_is_enough_if_asked) {
    make_shop(_i);
    cdtx_tx *tx = order_of((cdtx_tx_options){.wait_for = CDTX_WAIT_DECIDED}, "one", "two");
    OK(cdtx_test_link_rule(courier, NULL, CDTX_CALL_CONFIRM, CDTX_FAULT_HOLD, 2, &E));
    int64_t before = now_ms();
    OK(cdtx_tx_run(tx, &E));
    ck_assert_int_lt(now_ms() - before, 1000);
    ck_assert_str_eq(all_effects(), "100 100");
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTING);
    cdtx_test_link_release(courier);
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    cdtx_tx_close(tx);
    ck_assert_str_eq(all_effects(), "110 110");
    free_shop();
}
END_TEST

/* ---- submitted ---- */

static cdtx_work *take(void) {
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 60000, &work, &E));
    return work;
}

START_TEST(submitted_completes_once_with_its_tag) {
    make_shop(_i);
    static const char *const payloads[] = {"one", "no", "two"};
    for (uint64_t tag = 0; tag < 3; tag++) {
        cdtx_tx *tx = order_of((cdtx_tx_options){.tag = UINT64_MAX - tag}, "x", payloads[tag]);
        OK(cdtx_tx_submit(tx, &E));
        FAILS(CDTX_MISUSE, "already", cdtx_tx_submit(tx, &E));
        FAILS(CDTX_MISUSE, "already", cdtx_tx_run(tx, &E));
        cdtx_tx_close(tx); /* it goes on, and its completion still comes */
    }
    uint32_t seen = 0;
    for (int i = 0; i < 3; i++) {
        cdtx_work *work = take();
        ck_assert_ptr_nonnull(work);
        ck_assert_int_eq(cdtx_work_kind(work), CDTX_WORK_COMPLETION);
        uint64_t tag = UINT64_MAX - cdtx_work_tag(work);
        ck_assert_uint_lt(tag, 3);
        seen |= UINT32_C(1) << tag;
        if (tag == 1)
            FAILS(CDTX_REFUSED, "sold out", cdtx_work_result(work, &E));
        else
            OK(cdtx_work_result(work, &E));
        ck_assert_ptr_null(cdtx_work_payload(work, NULL));
        ck_assert_ptr_null(cdtx_work_sql(work));
        ck_assert_int_eq(cdtx_work_id(work) + cdtx_work_token(work) + cdtx_work_attempt(work), 0);
        int32_t state = 0;
        OK(cdtx_tx_wait(engine, cdtx_work_gid(work), 60000, &state, &E));
        ck_assert_int_eq(state, tag == 1 ? CDTX_TX_ROLLED_BACK : CDTX_TX_COMMITTED);
        OK(cdtx_settle(work, 0, NULL, &E));
    }
    ck_assert_uint_eq(seen, 7);
    cdtx_work *none = (cdtx_work *)(uintptr_t)1;
    OK(cdtx_take(engine, 0, &none, &E));
    ck_assert_ptr_null(none);
    drain();
    ck_assert_str_eq(all_effects(), "321 220");
    free_shop();
}
END_TEST

/* In virtual time only waiting moves the clock. */
START_TEST(a_completion_does_not_wait_for_the_lazy_end) {
    make_shop(_i);
    int64_t from = now_ms();
    cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "two");
    OK(cdtx_tx_submit(tx, &E));
    cdtx_tx_close(tx);
    cdtx_work *work = take();
    ck_assert_int_eq(now_ms(), from);
    OK(cdtx_work_result(work, &E));
    OK(cdtx_settle(work, 0, NULL, &E)); /* the host's last hold on it, while its end still queues */
    ck_assert_uint_eq(lab_metrics(engine).in_work, 1);
    drain();
    ck_assert_str_eq(all_effects(), "110 110");
    free_shop();
}
END_TEST

START_TEST(unsettled_completions_are_freed) {
    make_shop(_i);
    cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "two");
    OK(cdtx_tx_submit(tx, &E));
    cdtx_tx_close(tx);
    tx = order_of((cdtx_tx_options){0}, "one", "two");
    OK(cdtx_tx_submit(tx, &E));
    cdtx_work *work = take();
    drain();
    cdtx_tx_close(tx);
    cdtx_close(engine); /* one taken, one delivered and never taken */
    cdtx_settle(work, 0, NULL, NULL);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_link_free(courier);
    cdtx_test_env_free(world);
}
END_TEST

START_TEST(overload_is_busy) {
    make_world();
    open_shop_with(_i, (cdtx_options){.open_max = 2});
    cdtx_tx *first = new_tx((cdtx_tx_options){0}), *second = new_tx((cdtx_tx_options){0});
    cdtx_tx *third = order_of((cdtx_tx_options){0}, "one", "two");
    OK(cdtx_tx_begin(first, &E));
    OK(cdtx_tx_begin(second, &E));
    FAILS(CDTX_BUSY, "2", cdtx_tx_run(third, &E));
    ck_assert_int_gt(E.retry_after_ms, 0);
    FAILS(CDTX_BUSY, "2", cdtx_tx_submit(third, &E));
    ck_assert_str_eq(cdtx_tx_gid(third), "");
    ck_assert_uint_eq(lab_metrics(engine).in_work, 2);
    ck_assert_uint_eq(lab_metrics(engine).begun, 2);
    OK(cdtx_tx_rollback(first, &E));
    drain_all_but(1);
    OK(cdtx_tx_run(third, &E)); /* the same handle, once there is room */
    OK(cdtx_tx_commit(second, &E));
    cdtx_tx_close(first);
    cdtx_tx_close(second);
    cdtx_tx_close(third);
    drain();
    ck_assert_str_eq(all_effects(), "110 110");
    free_shop();
}
END_TEST

/* ---- step by step ---- */

START_TEST(steps_commit) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    FAILS(CDTX_MISUSE, "begun", cdtx_tx_try(tx, "order", "x", 1, &E));
    FAILS(CDTX_MISUSE, "begun", cdtx_tx_commit(tx, &E));
    FAILS(CDTX_MISUSE, "begun", cdtx_tx_rollback(tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    ck_assert_str_ne(cdtx_tx_gid(tx), "");
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ACTIVE);
    OK(cdtx_tx_try(tx, "order", "one", 3, &E));
    check_result(tx, 0, "order did one");
    FAILS(CDTX_MISUSE, "begun", cdtx_tx_add(tx, "order", "x", 1, &E));
    FAILS(CDTX_MISUSE, "already", cdtx_tx_begin(tx, &E));
    FAILS(CDTX_MISUSE, "already", cdtx_tx_run(tx, &E)); /* and it stays a step-by-step one */
    OK(cdtx_tx_try(tx, "stock", "two", 3, &E));
    check_result(tx, 1, "stock did two");
    ck_assert_str_eq(all_effects(), "100 100");
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ACTIVE);
    OK(cdtx_tx_commit(tx, &E));
    ck_assert_str_eq(all_effects(), "110 110");
    FAILS(CDTX_MISUSE, "", cdtx_tx_commit(tx, &E));
    FAILS(CDTX_MISUSE, "", cdtx_tx_try(tx, "stock", "x", 1, &E));
    ck_assert_int_ne(cdtx_tx_rollback(tx, &E), 0);
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    cdtx_tx_close(tx);
    ck_assert_str_eq(all_effects(), "110 110");
    free_shop();
}
END_TEST

START_TEST(steps_roll_back) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "order", "one", 3, &E));
    FAILS(CDTX_REFUSED, "sold out", cdtx_tx_try(tx, "stock", "no", 2, &E));
    FAILS(CDTX_REFUSED, "rolled back", cdtx_tx_try(tx, "order", "more", 4, &E));
    OK(cdtx_tx_rollback(tx, &E));
    FAILS(CDTX_MISUSE, "", cdtx_tx_rollback(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    cdtx_tx_close(tx);
    ck_assert_str_eq(all_effects(), "101 000");
    free_shop();
}
END_TEST

START_TEST(a_commit_after_a_no_is_a_rollback) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "order", "one", 3, &E));
    FAILS(CDTX_REFUSED, "sold out", cdtx_tx_try(tx, "stock", "no", 2, &E));
    FAILS(CDTX_REFUSED, "sold out", cdtx_tx_commit(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    cdtx_tx_close(tx);
    ck_assert_str_eq(all_effects(), "101 000");
    free_shop();
}
END_TEST

START_TEST(a_commit_after_the_deadline_is_a_rollback) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){.timeout_ms = 3000});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "order", "one", 3, &E));
    cdtx_test_env_advance(world, 3001);
    FAILS(CDTX_TIMEOUT, "", cdtx_tx_commit(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    cdtx_tx_close(tx);
    ck_assert_str_eq(all_effects(), "101 000");
    free_shop();
}
END_TEST

START_TEST(left_alone_it_is_rolled_back) {
    make_shop(_i);
    cdtx_tx *closed = new_tx((cdtx_tx_options){0}), *kept = new_tx((cdtx_tx_options){.timeout_ms = 3000});
    OK(cdtx_tx_begin(closed, &E));
    OK(cdtx_tx_begin(kept, &E));
    OK(cdtx_tx_try(closed, "order", "one", 3, &E));
    OK(cdtx_tx_try(kept, "stock", "one", 3, &E));
    cdtx_tx_close(closed);
    OK(cdtx_run(engine, 100, &E));
    ck_assert_str_eq(all_effects(), "101 100");
    OK(cdtx_run(engine, 6000, &E)); /* the handle is there, and nobody decides */
    ck_assert_str_eq(all_effects(), "101 101");
    int32_t state = 0;
    OK(cdtx_tx_wait(engine, cdtx_tx_gid(kept), 10000, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_ROLLED_BACK);
    int32_t rc = cdtx_tx_commit(kept, &E);
    ck_assert_msg(rc == CDTX_TIMEOUT || rc == CDTX_REFUSED, "%s", cdtx_code_name(rc));
    cdtx_tx_close(kept);
    drain();
    free_shop();
}
END_TEST

/* ---- mishaps ---- */

START_TEST(a_dead_participant_is_a_timeout) {
    make_shop(_i);
    OK(cdtx_test_link_rule(courier, "stock", CDTX_CALL_TRY, CDTX_FAULT_LOSE_CALL, 1000, &E));
    cdtx_tx *tx = order_of((cdtx_tx_options){.timeout_ms = 5000}, "one", "two");
    int64_t before = now_ms();
    FAILS(CDTX_TIMEOUT, "global timeout_ms, 5000,", cdtx_tx_run(tx, &E));
    ck_assert_int_ge(now_ms() - before, 5000);
    ck_assert_int_lt(now_ms() - before, 7000);
    drain();
    ck_assert_int_eq(lab_sql("stock.db", "SELECT state FROM cdtx_guard WHERE seq = 1"), 5);
    cdtx_tx_close(tx);
    tx = new_tx((cdtx_tx_options){.timeout_ms = 5000});
    OK(cdtx_tx_begin(tx, &E));
    FAILS(CDTX_TIMEOUT, "", cdtx_tx_try(tx, "stock", "two", 3, &E));
    FAILS(CDTX_TIMEOUT, "", cdtx_tx_commit(tx, &E));
    cdtx_tx_close(tx);
    drain();
    ck_assert_str_eq(all_effects(), "101 000"); /* an empty cancel has no effect */
    ck_assert_int_eq(lab_sql("stock.db", "SELECT state FROM cdtx_guard WHERE seq = 2"), 5);
    free_shop();
}
END_TEST

START_TEST(one_mishap_changes_nothing) {
    for (int32_t op = CDTX_CALL_TRY; op <= CDTX_CALL_CONFIRM; op++)
        for (int32_t fault = CDTX_FAULT_LOSE_CALL; fault <= CDTX_FAULT_DOUBLE; fault++) {
            lab_teardown();
            lab_setup();
            make_shop(_i);
            OK(cdtx_test_link_rule(courier, "stock", op, fault, 1, &E));
            cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "two");
            OK(cdtx_tx_run(tx, &E));
            check_result(tx, 1, "stock did two");
            cdtx_tx_close(tx);
            drain();
            ck_assert_msg(strcmp(all_effects(), "110 110") == 0, "op %d fault %d: %s", op, fault, all_effects());
            ck_assert_uint_eq(lab_metrics(engine).alarms, 0);
            free_shop();
        }
}
END_TEST

START_TEST(a_late_try_finds_its_cancel) {
    make_shop(_i);
    OK(cdtx_test_link_rule(courier, "stock", CDTX_CALL_TRY, CDTX_FAULT_HOLD, 1000, &E));
    cdtx_tx *tx = order_of((cdtx_tx_options){.timeout_ms = 5000}, "one", "two");
    FAILS(CDTX_TIMEOUT, "global timeout_ms, 5000,", cdtx_tx_run(tx, &E));
    drain();
    ck_assert_str_eq(all_effects(), "101 000");
    ck_assert_uint_ge(cdtx_test_link_release(courier), 2);
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_str_eq(all_effects(), "101 000");
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(confirms_are_repeated_with_growing_pauses) {
    make_world();
    open_shop_with(_i, (cdtx_options){.backoff_min_ms = 100, .backoff_max_ms = 2000});
    confirm_failures = 12;
    cdtx_tx *tx = order_of((cdtx_tx_options){0}, "one", "two");
    OK(cdtx_tx_run(tx, &E)); /* it is committed, whatever the first confirm said */
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTING);
    int32_t state = 0;
    FAILS(CDTX_TIMEOUT, "ended", cdtx_tx_wait(engine, cdtx_tx_gid(tx), 50, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTING);
    drain();
    ck_assert_int_eq(confirm_runs, 13);
    for (int i = 1; i < confirm_runs; i++) {
        ck_assert_int_ge(confirm_times[i] - confirm_times[i - 1], 100);
        ck_assert_int_le(confirm_times[i] - confirm_times[i - 1], 2000 + 200);
    }
    ck_assert_int_ge(confirm_times[12] - confirm_times[0], 3000); /* it grew: twelve pauses at the minimum are 1200 */
    ck_assert_str_eq(all_effects(), "110 110");                   /* the order was not asked again */
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

/* ---- business keys ---- */

START_TEST(a_key_joins_and_answers_alike) {
    make_shop(_i);
    for (int refused = 0; refused < 2; refused++) {
        const char *key = refused ? "order-2" : "order-1";
        cdtx_tx *first = order_of((cdtx_tx_options){.key = key}, "one", refused ? "no" : "two");
        int32_t rc = cdtx_tx_run(first, NULL);
        ck_assert_int_eq(rc, refused ? CDTX_REFUSED : 0);
        for (int life = 0; life < 2; life++) {
            cdtx_tx *again = order_of((cdtx_tx_options){.key = key}, "other", "two");
            ck_assert_int_eq(cdtx_tx_run(again, NULL), rc);
            ck_assert_str_eq(cdtx_tx_gid(again), cdtx_tx_gid(first));
            cdtx_tx_close(again);
            again = order_of((cdtx_tx_options){.key = key, .tag = 5}, "other", "two");
            OK(cdtx_tx_submit(again, &E));
            cdtx_tx_close(again);
            cdtx_work *work = take();
            ck_assert_uint_eq(cdtx_work_tag(work), 5);
            ck_assert_int_eq(cdtx_work_result(work, NULL), rc);
            ck_assert_str_eq(cdtx_work_gid(work), cdtx_tx_gid(first));
            OK(cdtx_settle(work, 0, NULL, &E));
            if (life == 0) {
                drain();
                reopen_shop(_i);
            }
        }
        cdtx_tx_close(first);
    }
    drain();
    ck_assert_str_eq(all_effects(), "211 110");
    free_shop();
}
END_TEST

START_TEST(a_joined_handle_follows) {
    make_shop(_i);
    cdtx_tx *leader = new_tx((cdtx_tx_options){.key = "k"}), *follower = new_tx((cdtx_tx_options){.key = "k"});
    OK(cdtx_tx_begin(leader, &E));
    OK(cdtx_tx_begin(follower, &E));
    ck_assert_str_eq(cdtx_tx_gid(leader), cdtx_tx_gid(follower));
    OK(cdtx_tx_try(leader, "stock", "one", 3, &E));
    OK(cdtx_tx_commit(leader, &E));
    FAILS(CDTX_REFUSED, "", cdtx_tx_try(follower, "stock", "two", 3, &E));
    OK(cdtx_tx_commit(follower, &E));
    cdtx_tx_close(follower);
    follower = new_tx((cdtx_tx_options){.key = "k"});
    OK(cdtx_tx_begin(follower, &E));
    FAILS(CDTX_REFUSED, "commit", cdtx_tx_rollback(follower, &E)); /* it is committed already */
    cdtx_tx_close(follower);
    cdtx_tx_close(leader);
    drain();
    ck_assert_str_eq(all_effects(), "000 110");
    free_shop();
}
END_TEST

START_TEST(closing_a_joined_handle_decides_nothing) {
    make_shop(_i);
    cdtx_tx *leader = new_tx((cdtx_tx_options){.key = "k"}), *follower = new_tx((cdtx_tx_options){.key = "k"});
    OK(cdtx_tx_begin(leader, &E));
    OK(cdtx_tx_begin(follower, &E));
    OK(cdtx_tx_try(leader, "stock", "one", 3, &E));
    cdtx_tx_close(follower);
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_int_eq(state_of(cdtx_tx_gid(leader)), CDTX_TX_ACTIVE);
    OK(cdtx_tx_commit(leader, &E));
    cdtx_tx_close(leader);
    drain();
    ck_assert_str_eq(all_effects(), "000 110");
    free_shop();
}
END_TEST

/* ---- asking ---- */

START_TEST(asking_by_gid_and_key) {
    make_shop(_i);
    char gid[CDTX_GID_MAX] = "untouched", other[CDTX_GID_MAX];
    int32_t state = -1;
    FAILS(CDTX_NOT_FOUND, "order-9", cdtx_tx_find(engine, "order-9", gid, &E));
    ck_assert_str_eq(gid, "untouched");
    cdtx_tx *tx = order_of((cdtx_tx_options){.key = "order-9"}, "one", "two");
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_tx_find(engine, "order-9", gid, &E));
    ck_assert_str_eq(gid, cdtx_tx_gid(tx));
    cdtx_tx_close(tx);
    OK(cdtx_tx_wait(engine, gid, 10000, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTED);
    state = -1;
    static const char *const wrong[] = {"",
                                        "1",
                                        "x",
                                        "0123456789abcdef0123456789abcdef",
                                        "0123456789abcdef0123456789abcdef-",
                                        "0123456789abcdef0123456789abcdef-0",
                                        "0123456789abcdef0123456789abcdef-01",
                                        "0123456789abcdef0123456789abcdef--1",
                                        "0123456789abcdef0123456789abcdef-1x",
                                        "0123456789ABCDEF0123456789ABCDEF-1",
                                        "0123456789abcdef0123456789abcdef-9223372036854775808",
                                        "0123456789abcdef0123456789abcdef-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        FAILS(CDTX_INVALID, wrong[i], cdtx_tx_query(engine, wrong[i], &state, &E));
        FAILS(CDTX_INVALID, wrong[i], cdtx_tx_wait(engine, wrong[i], 100, &state, &E));
    }
    FAILS(CDTX_INVALID, "NULL", cdtx_tx_query(engine, NULL, &state, &E));
    snprintf(other, sizeof other, "%.32s-1000", gid);
    FAILS(CDTX_NOT_FOUND, "1000", cdtx_tx_query(engine, other, &state, &E));
    lab_sql("log.db", "DELETE FROM cdtx_tx");
    FAILS(CDTX_EXPIRED, "", cdtx_tx_query(engine, gid, &state, &E));
    ck_assert_int_eq(state, -1);
    free_shop();
}
END_TEST

/* ---- another life ---- */

START_TEST(a_new_life_rolls_back_what_is_undecided) {
    make_shop(_i);
    cdtx_tx *tx = new_tx((cdtx_tx_options){.key = "k", .timeout_ms = 3600000});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "order", "one", 3, &E));
    reopen_shop(_i);
    FAILS(CDTX_MISUSE, "closed", cdtx_tx_commit(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    ck_assert_str_eq(all_effects(), "101 000");
    cdtx_tx_close(tx);
    tx = order_of((cdtx_tx_options){.key = "k"}, "one", "two");
    int32_t rc = cdtx_tx_run(tx, &E);
    ck_assert_msg(rc == CDTX_REFUSED || rc == CDTX_TIMEOUT, "%s", cdtx_code_name(rc));
    cdtx_tx_close(tx);
    ck_assert_str_eq(all_effects(), "101 000");
    free_shop();
}
END_TEST

START_TEST(a_new_life_finishes_what_is_decided) {
    make_shop(_i);
    OK(cdtx_test_link_rule(courier, "stock", CDTX_CALL_CONFIRM, CDTX_FAULT_LOSE_CALL, 1, &E));
    cdtx_tx *tx = order_of((cdtx_tx_options){.wait_for = CDTX_WAIT_DECIDED}, "one", "two");
    OK(cdtx_tx_run(tx, &E));
    reopen_shop(_i);
    ck_assert_int_eq(effects("stock", "confirm"), 0);
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    ck_assert_str_eq(all_effects(), "110 110");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(a_close_in_flight_loses_nothing) {
    make_shop(_i);
    cdtx_tx *tx[20];
    for (int i = 0; i < 20; i++) {
        tx[i] = order_of((cdtx_tx_options){.wait_for = CDTX_WAIT_DECIDED}, "one", "two");
        OK(cdtx_tx_submit(tx[i], &E));
    }
    OK(cdtx_run(engine, 0, &E));
    reopen_shop(_i);
    for (int i = 0; i < 20; i++)
        cdtx_tx_close(tx[i]);
    drain();
    ck_assert_int_eq(effects("order", "confirm"), effects("stock", "confirm"));
    ck_assert_int_eq(effects("order", "try"), effects("order", "confirm") + effects("order", "cancel"));
    ck_assert_int_eq(effects("stock", "try"), effects("stock", "confirm") + effects("stock", "cancel"));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE state < 4"), 0);
    free_shop();
}
END_TEST

/* ---- on the kernel's clock: threads inside while the engine stops or closes ---- */

struct inside {
    pthread_t thread;
    int32_t result, (*call)(struct inside *inside, cdtx_error *err);
    int entered; /* atomic */
    cdtx_db *db;
    cdtx_tx *tx;
    cdtx_error err;
};

static void *inside_thread(void *user) {
    struct inside *inside = user;
    __atomic_store_n(&inside->entered, 1, __ATOMIC_RELEASE);
    inside->result = inside->call(inside, &inside->err);
    return NULL;
}

static void send_in(struct inside *inside) {
    inside->entered = 0;
    inside->result = 77;
    ck_assert_int_eq(pthread_create(&inside->thread, NULL, inside_thread, inside), 0);
    while (!__atomic_load_n(&inside->entered, __ATOMIC_ACQUIRE))
        usleep(1000);
    usleep(20000); /* most likely it waits by now; every answer below is right if it does not yet */
}

static int32_t in_run(struct inside *inside, cdtx_error *err) {
    (void)inside;
    return cdtx_run(engine, -1, err);
}

static int32_t in_take(struct inside *inside, cdtx_error *err) {
    (void)inside;
    cdtx_work *work = NULL;
    int32_t rc = cdtx_take(engine, -1, &work, err);
    return work != NULL ? 88 : rc;
}

static int32_t in_tx_run(struct inside *inside, cdtx_error *err) {
    return cdtx_tx_run(inside->tx, err);
}

static int32_t in_local(struct inside *inside, cdtx_error *err) {
    return cdtx_local(inside->db, lab_statement, (void *)(uintptr_t) "INSERT INTO effect VALUES ('', 0, 'late', '')",
                      err);
}

START_TEST(stop_sends_everybody_out) {
    struct inside threads[3] = {{.call = in_run}, {.call = in_take}, {.call = in_run}};
    engine = lab_engine((cdtx_options){.coordinator = kinds[_i], .threads = 1});
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            send_in(&threads[i]);
        cdtx_stop(engine);
        for (int i = 0; i < 3; i++) {
            pthread_join(threads[i].thread, NULL);
            ck_assert_int_eq(threads[i].result, 0);
        }
    }
    OK(cdtx_run(engine, 10, &E));
    cdtx_close(engine);
}
END_TEST

START_TEST(close_answers_who_waits) {
    OK(cdtx_test_link_new(&courier, &E));
    OK(cdtx_test_link_rule(courier, "stock", CDTX_CALL_TRY, CDTX_FAULT_LOSE_CALL, 1000, &E));
    engine = lab_engine((cdtx_options){.coordinator = kinds[_i], .link = cdtx_test_link_port(courier)});
    add_participant("order");
    add_participant("stock");
    cdtx_db *db = NULL;
    cdtx_sql *sql = NULL;
    OK(cdtx_db_open(engine, "third", lab_url("third.db"), &db, &E));
    lab_exec(db, "CREATE TABLE effect (gid TEXT, branch INTEGER, op TEXT, payload BLOB)");
    OK(cdtx_sql_begin(db, &sql, &E));
    struct inside tx = {.call = in_tx_run, .tx = order_of((cdtx_tx_options){0}, "one", "two")};
    struct inside local = {.call = in_local, .db = db}, run = {.call = in_run};
    send_in(&tx);
    send_in(&local);
    send_in(&run);
    cdtx_close(engine);
    pthread_join(tx.thread, NULL);
    pthread_join(local.thread, NULL);
    pthread_join(run.thread, NULL);
    ck_assert_msg(tx.result == CDTX_UNKNOWN, "%s: %s", cdtx_code_name(tx.result), tx.err.text);
    ck_assert_msg(local.result == CDTX_STOPPED, "%s: %s", cdtx_code_name(local.result), local.err.text);
    ck_assert_int_eq(run.result, 0);
    cdtx_sql_close(sql);
    cdtx_db_close(db);
    ck_assert_int_eq(lab_sql("third.db", "SELECT count(*) FROM effect"), 0);
    engine = lab_engine((cdtx_options){.coordinator = kinds[_i]});
    add_participant("order");
    add_participant("stock");
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx.tx)), CDTX_TX_ROLLED_BACK);
    ck_assert_str_eq(all_effects(), "101 000");
    cdtx_tx_close(tx.tx);
    cdtx_close(engine);
    cdtx_test_link_free(courier);
}
END_TEST

enum { BUYERS = 8, ORDERS = 25 };

static void *buy(void *user) {
    int *bought = user;
    for (int i = 0; i < ORDERS; i++) {
        cdtx_tx *tx = NULL;
        if (cdtx_tx_new(engine, NULL, &tx, NULL) == 0 && cdtx_tx_add(tx, "order", "x", 1, NULL) == 0 &&
            cdtx_tx_add(tx, "stock", i % 5 ? "y" : "no", i % 5 ? 1 : 2, NULL) == 0)
            *bought += cdtx_tx_run(tx, NULL) == 0;
        cdtx_tx_close(tx);
    }
    return NULL;
}

static int32_t plain_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return note(sql, call, "confirm", err);
}

START_TEST(many_threads_agree) {
    pthread_t threads[BUYERS];
    int bought[BUYERS] = {0}, sum = 0;
    engine = lab_engine((cdtx_options){.coordinator = kinds[_i], .threads = 2});
    static const char *const names[] = {"order", "stock"};
    for (int i = 0; i < 2; i++) {
        cdtx_db *db = NULL;
        cdtx_tcc_handlers three = {.size = sizeof three,
                                   .on_try = on_try,
                                   .on_confirm = plain_confirm,
                                   .on_cancel = on_cancel,
                                   .user = (void *)(uintptr_t)names[i]};
        OK(cdtx_db_open(engine, names[i], lab_url(i ? "stock.db" : "order.db"), &db, &E));
        lab_exec(db, "CREATE TABLE effect (gid TEXT, branch INTEGER, op TEXT, payload BLOB)");
        OK(cdtx_tcc_add(db, names[i], &three, &E));
        cdtx_db_close(db);
    }
    for (int i = 0; i < BUYERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, buy, &bought[i]), 0);
    for (int i = 0; i < BUYERS; i++) {
        pthread_join(threads[i], NULL);
        sum += bought[i];
    }
    drain();
    cdtx_metrics metrics = lab_metrics(engine);
    ck_assert_int_eq(sum, BUYERS * ORDERS * 4 / 5);
    ck_assert_uint_eq(metrics.committed, (uint64_t)sum);
    ck_assert_uint_eq(metrics.begun, BUYERS * ORDERS);
    ck_assert_uint_lt(metrics.groups, metrics.riders); /* they shared their syncs */
    ck_assert_int_eq(effects("order", "confirm"), sum);
    ck_assert_int_eq(effects("stock", "confirm"), sum);
    ck_assert_int_eq(effects("order", "cancel"), BUYERS * ORDERS - sum);
    cdtx_close(engine);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_loop_test(tcase, declared_commits, 0, KINDS);
    tcase_add_loop_test(tcase, declared_refused, 0, KINDS);
    tcase_add_loop_test(tcase, nobody_of_that_name, 0, KINDS);
    tcase_add_loop_test(tcase, no_answer_is_asked_again, 0, KINDS);
    tcase_add_loop_test(tcase, no_answer_for_ever_is_a_timeout_that_says_why, 0, KINDS);
    tcase_add_loop_test(tcase, branches_have_edges, 0, KINDS);
    tcase_add_loop_test(tcase, payloads_have_a_sum, 0, KINDS);
    tcase_add_loop_test(tcase, a_transaction_without_branches_commits, 0, KINDS);
    tcase_add_loop_test(tcase, decided_is_enough_if_asked, 0, KINDS);
    tcase_add_loop_test(tcase, submitted_completes_once_with_its_tag, 0, KINDS);
    tcase_add_loop_test(tcase, a_completion_does_not_wait_for_the_lazy_end, 0, KINDS);
    tcase_add_loop_test(tcase, unsettled_completions_are_freed, 0, KINDS);
    tcase_add_loop_test(tcase, overload_is_busy, 0, KINDS);
    tcase_add_loop_test(tcase, steps_commit, 0, KINDS);
    tcase_add_loop_test(tcase, steps_roll_back, 0, KINDS);
    tcase_add_loop_test(tcase, a_commit_after_a_no_is_a_rollback, 0, KINDS);
    tcase_add_loop_test(tcase, a_commit_after_the_deadline_is_a_rollback, 0, KINDS);
    tcase_add_loop_test(tcase, left_alone_it_is_rolled_back, 0, KINDS);
    tcase_add_loop_test(tcase, a_dead_participant_is_a_timeout, 0, KINDS);
    tcase_add_loop_test(tcase, one_mishap_changes_nothing, 0, KINDS);
    tcase_add_loop_test(tcase, a_late_try_finds_its_cancel, 0, KINDS);
    tcase_add_loop_test(tcase, confirms_are_repeated_with_growing_pauses, 0, KINDS);
    tcase_add_loop_test(tcase, a_key_joins_and_answers_alike, 0, KINDS);
    tcase_add_loop_test(tcase, a_joined_handle_follows, 0, KINDS);
    tcase_add_loop_test(tcase, closing_a_joined_handle_decides_nothing, 0, KINDS);
    tcase_add_loop_test(tcase, asking_by_gid_and_key, 0, KINDS);
    tcase_add_loop_test(tcase, a_new_life_rolls_back_what_is_undecided, 0, KINDS);
    tcase_add_loop_test(tcase, a_new_life_finishes_what_is_decided, 0, KINDS);
    tcase_add_loop_test(tcase, a_close_in_flight_loses_nothing, 0, KINDS);
    tcase_add_loop_test(tcase, stop_sends_everybody_out, 0, KINDS);
    tcase_add_loop_test(tcase, close_answers_who_waits, 0, KINDS);
    tcase_add_loop_test(tcase, many_threads_agree, 0, KINDS);
}

int main(void) {
    return lab_main("tx", tests);
}
