#include <cdtx/admin.h>
#include <cdtx/msg.h>

#include "../engine/lab.h"

static cdtx *engine;
static cdtx_db *queue, *shop;
static cdtx_test_env *env;

static void open_engine(void) {
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env)});
    OK(cdtx_db_open(engine, "queue", lab_url("queue.db"), &queue, &E));
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &shop, &E));
}

static void close_engine(void) {
    cdtx_db_close(queue), cdtx_db_close(shop);
    cdtx_close(engine);
}

static void set_up(void) {
    OK(cdtx_test_env_new(&env, &E));
    open_engine();
    OK(cdtx_topic_add(queue, "orders", NULL, &E));
    lab_exec(queue, "CREATE TABLE seen (payload TEXT)");
    lab_exec(shop, "CREATE TABLE seen (payload TEXT)");
}

static void tear_down(void) {
    close_engine();
    cdtx_test_env_free(env);
}

/* ---- consumers ---- */

static char order[512];
static uint32_t calls, fail_next;
static const char *poison;

static int32_t consume(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    (void)user;
    calls++;
    if (fail_next > 0) {
        fail_next--;
        return cdtx_error_set(err, CDTX_USER, "not now");
    }
    if (poison != NULL && length == strlen(poison) && memcmp(poison, payload, length) == 0)
        return cdtx_error_set(err, CDTX_USER, "poison");
    snprintf(order + strlen(order), sizeof order - strlen(order), "%.*s ", (int)length, payload);
    if (cdtx_work_sql(work) == NULL)
        return 0;
    cdtx_sql_bind_text(cdtx_work_sql(work), payload, length);
    return cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO seen VALUES (?)", NULL, err);
}

static void join(const char *group, cdtx_consumer_options o) {
    o.size = sizeof o;
    if (o.handler == NULL)
        o.handler = consume;
    OK(cdtx_consumer_add(queue, "orders", group, &o, &E));
}

static void clear(void) {
    order[0] = '\0';
    calls = fail_next = 0;
    poison = NULL;
}

static void send(const char *text) {
    OK(cdtx_msg_send(queue, "orders", text, strlen(text), NULL, NULL, &E));
}

static void send_keyed(const char *text, const char *key) {
    cdtx_msg_options o = {.size = sizeof o, .key = key};
    OK(cdtx_msg_send(queue, "orders", text, strlen(text), &o, NULL, &E));
}

/* ---- the outbox ---- */

START_TEST(a_message_is_visible_exactly_when_its_transaction_commits) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){0});
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_msg_put(sql, "orders", "never", 5, NULL, NULL, &E));
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_uint_eq(calls, 0);
    char id[CDTX_GID_MAX];
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_msg_put(sql, "orders", "now", 3, NULL, id, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "now ");
    tear_down();
}
END_TEST

START_TEST(each_group_gets_every_message_once) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){.in_local = 1});
    join("stock", (cdtx_consumer_options){.in_local = 1, .local_db = shop});
    for (int i = 0; i < 10; i++)
        send("m");
    OK(cdtx_run(engine, 5000, &E));
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM seen"), 10);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM seen"), 10);
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_job WHERE msg IS NOT NULL"), 0);
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_msg"), 0);
    OK(cdtx_run(engine, 5000, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_guard"), 0); /* nobody asks for them any more */
    tear_down();
}
END_TEST

START_TEST(what_has_no_group_waits_for_the_first) {
    clear(), set_up();
    send("one"), send("two");
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_msg"), 2);
    join("mail", (cdtx_consumer_options){0});
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "one two ");
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_msg"), 0);
    tear_down();
}
END_TEST

START_TEST(a_new_group_starts_where_it_wants) {
    clear(), set_up();
    cdtx_topic_options o = {.size = sizeof o, .retention_ms = 3600000};
    OK(cdtx_topic_add(queue, "orders", &o, &E));
    send("one");
    cdtx_test_env_advance(env, 60000);
    int64_t between = cdtx_test_env_port(env)->wall_us(cdtx_test_env_port(env)->user) / 1000 - 30000;
    send("two");
    join("first", (cdtx_consumer_options){0});
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "one two ");
    clear();
    join("last", (cdtx_consumer_options){.start = CDTX_START_LAST});
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "");
    join("time", (cdtx_consumer_options){.start = CDTX_START_TIME, .start_ms = between});
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "two ");
    OK(cdtx_run(engine, 2 * 3600000, &E));
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_msg"), 0);
    tear_down();
}
END_TEST

START_TEST(one_key_in_order_and_others_flow) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){.in_order = 1, .backoff_min_ms = 1000});
    fail_next = 1;
    send_keyed("a1", "a"), send_keyed("a2", "a"), send_keyed("b1", "b"), send_keyed("a3", "a"), send_keyed("b2", "b");
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_ptr_nonnull(strstr(order, "a1 a2 a3"));
    ck_assert_str_eq(order, "b1 b2 a1 a2 a3 ");
    tear_down();
}
END_TEST

START_TEST(poison_is_parked_unchanged_and_its_neighbours_flow) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){.attempts_max = 3, .backoff_min_ms = 1000, .in_order = 1});
    poison = "a1";
    send_keyed("a1", "a"), send_keyed("a2", "a"), send_keyed("b1", "b");
    OK(cdtx_run(engine, 60000, &E));
    ck_assert_str_eq(order, "b1 a2 ");
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_job WHERE state = 3 AND payload = x'6131'"), 1);
    poison = NULL;
    cdtx_redrive_filter f = {.size = sizeof f, .handler = "cdtx.msg/orders/mail"};
    int64_t count = 0;
    OK(cdtx_job_redrive(queue, &f, "ann", "mended", &count, &E));
    ck_assert_int_eq(count, 1);
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "b1 a2 a1 ");
    tear_down();
}
END_TEST

/* ---- inside a branch ---- */

static int try_fails, confirm_sends;

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    int32_t rc = cdtx_msg_put(sql, "orders", "held", 4, NULL, NULL, err);
    return rc != 0 ? rc : try_fails ? cdtx_error_set(err, CDTX_REFUSED, "no") : 0;
}

static int32_t on_end(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return confirm_sends ? cdtx_msg_put(sql, "orders", "end", 3, NULL, NULL, err) : 0;
}

static void add_branch(void) {
    cdtx_tcc_handlers h = {
        .size = sizeof h, .on_try = on_try, .on_confirm = on_end, .on_cancel = on_end, .on_reverse = on_end};
    OK(cdtx_tcc_add(queue, "order", &h, &E));
}

START_TEST(a_message_of_a_branch_waits_for_the_decision) {
    clear(), set_up();
    try_fails = confirm_sends = 0;
    join("mail", (cdtx_consumer_options){0});
    add_branch();
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_msg WHERE visible IS NULL"), 1);
    OK(cdtx_tx_commit(tx, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_str_eq(order, "held ");
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(a_message_of_a_cancelled_branch_is_never_visible) {
    clear(), set_up();
    try_fails = _i, confirm_sends = 1;
    join("mail", (cdtx_consumer_options){0});
    add_branch();
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    if (try_fails)
        FAILS(CDTX_REFUSED, "no", cdtx_tx_try(tx, "order", "x", 1, &E));
    else
        OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    OK(cdtx_tx_rollback(tx, &E));
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_str_eq(order, try_fails ? "" : "end ");
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_msg"), 0);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(a_branch_that_may_be_reversed_puts_none) {
    clear(), set_up();
    try_fails = 0;
    add_branch();
    cdtx_tx *tx = NULL;
    cdtx_tx_options o = {.size = sizeof o, .reverse_after = 1, .timeout_ms = 500};
    OK(cdtx_tx_new(engine, &o, &tx, &E));
    OK(cdtx_tx_add(tx, "order", "x", 1, &E));
    FAILS(CDTX_TIMEOUT, "cdtx_tx_after_commit", cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* ---- halves ---- */

static void prepare(char handle[CDTX_GID_MAX]) {
    cdtx_half_options o = {.size = sizeof o, .producer = "shop", .immunity_ms = 2000};
    OK(cdtx_half_prepare(queue, "orders", "half", 4, &o, handle, &E));
}

static void guard_checker(uint32_t checks_max) {
    cdtx_half_checker c = {.size = sizeof c, .guard_db = shop, .interval_ms = 1000, .checks_max = checks_max};
    OK(cdtx_half_checker_add(queue, "shop", &c, &E));
}

static int32_t mark(cdtx_sql *sql, void *handle, cdtx_error *err) {
    return cdtx_half_mark(sql, handle, err);
}

START_TEST(the_first_resolution_wins) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){0});
    char handle[CDTX_GID_MAX], other[CDTX_GID_MAX];
    prepare(handle), prepare(other);
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_uint_eq(calls, 0);
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_CONFLICT, "committed already", cdtx_half_resolve(queue, handle, CDTX_HALF_ROLLED_BACK, &E));
    OK(cdtx_half_resolve(queue, other, CDTX_HALF_ROLLED_BACK, &E));
    FAILS(CDTX_CONFLICT, "rolled back already", cdtx_half_resolve(queue, other, CDTX_HALF_COMMITTED, &E));
    OK(cdtx_run(engine, 60000, &E));
    ck_assert_str_eq(order, "half ");
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_audit WHERE action = 'half-conflict'"), 2);
    int32_t state = 0;
    OK(cdtx_half_query(queue, handle, &state, &E));
    ck_assert_int_eq(state, CDTX_HALF_COMMITTED);
    tear_down();
}
END_TEST

START_TEST(marks_answer_for_whom_resolves_nothing) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){0});
    char marked[CDTX_GID_MAX], unmarked[CDTX_GID_MAX];
    prepare(marked), prepare(unmarked);
    OK(cdtx_local(shop, mark, marked, &E));
    FAILS(CDTX_CONFLICT, "marked", cdtx_local(shop, mark, marked, &E));
    guard_checker(3);
    OK(cdtx_run(engine, 1900, &E));
    ck_assert_uint_eq(calls, 0);
    OK(cdtx_run(engine, 5000, &E));
    ck_assert_str_eq(order, "half ");
    int32_t state = 0;
    OK(cdtx_half_query(queue, unmarked, &state, &E));
    ck_assert_int_eq(state, CDTX_HALF_ROLLED_BACK);
    FAILS(CDTX_REFUSED, "roll back", cdtx_local(shop, mark, unmarked, &E)); /* too late */
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_guard"), 0);
    FAILS(CDTX_REFUSED, "roll back", cdtx_local(shop, mark, unmarked, &E));
    tear_down();
}
END_TEST

static uint32_t asked;
static int32_t answer;

static int32_t check(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)handle, (void)topic, (void)payload, (void)length, (void)user;
    asked++;
    return answer;
}

START_TEST(only_checks_that_were_made_count) {
    clear(), set_up();
    join("mail", (cdtx_consumer_options){0});
    char handle[CDTX_GID_MAX];
    prepare(handle);
    OK(cdtx_run(engine, 3600000, &E)); /* nobody is there who could answer */
    asked = 0, answer = CDTX_HALF_OPEN;
    cdtx_half_checker c = {.size = sizeof c, .check = check, .interval_ms = 1000, .checks_max = 4};
    OK(cdtx_half_checker_add(queue, "shop", &c, &E));
    OK(cdtx_run(engine, 3500, &E));
    ck_assert_uint_eq(asked, 4);
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_half WHERE parked IS NOT NULL"), 1);
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_case WHERE kind = 'half' AND state = 1"), 1);
    answer = CDTX_HALF_COMMITTED;
    OK(cdtx_run(engine, 60000, &E));
    ck_assert_uint_eq(asked, 5);
    ck_assert_str_eq(order, "half ");
    ck_assert_int_eq(lab_sql("queue.db", "SELECT count(*) FROM cdtx_case WHERE kind = 'half' AND state = 2"), 1);
    tear_down();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, a_message_is_visible_exactly_when_its_transaction_commits);
    tcase_add_test(tcase, each_group_gets_every_message_once);
    tcase_add_test(tcase, what_has_no_group_waits_for_the_first);
    tcase_add_test(tcase, a_new_group_starts_where_it_wants);
    tcase_add_test(tcase, one_key_in_order_and_others_flow);
    tcase_add_test(tcase, poison_is_parked_unchanged_and_its_neighbours_flow);
    tcase_add_test(tcase, a_message_of_a_branch_waits_for_the_decision);
    tcase_add_loop_test(tcase, a_message_of_a_cancelled_branch_is_never_visible, 0, 2);
    tcase_add_test(tcase, a_branch_that_may_be_reversed_puts_none);
    tcase_add_test(tcase, the_first_resolution_wins);
    tcase_add_test(tcase, marks_answer_for_whom_resolves_nothing);
    tcase_add_test(tcase, only_checks_that_were_made_count);
}

int main(void) {
    return lab_main("pattern-msg", tests);
}
