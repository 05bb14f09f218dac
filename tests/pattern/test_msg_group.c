/* Consumer groups: who gets what, in which order, how often, and what becomes of what cannot be consumed. */
#include "../adapter/shim.h"
#include "msg_lab.h"

static void send_keyed(const char *text, const char *key) {
    send_with(text, (cdtx_msg_options){.key = key});
}

/* ---- bad input ---- */

START_TEST(consumers_are_checked) {
    set_up();
    cdtx_consumer_options o = {.size = sizeof o, .handler = consume};
    FAILS(CDTX_MISUSE, "NULL", cdtx_consumer_add(NULL, "orders", "mail", &o, &E));
    FAILS(CDTX_NOT_FOUND, "no topic 'none'", cdtx_consumer_add(queue, "none", "mail", &o, &E));
    o.size = 12;
    FAILS(CDTX_INVALID, "size", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o = (cdtx_consumer_options){.size = sizeof o, .start = 3};
    FAILS(CDTX_INVALID, "start 3", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o.start = -1;
    FAILS(CDTX_INVALID, "start -1", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o = (cdtx_consumer_options){.size = sizeof o, .start_ms = 1};
    FAILS(CDTX_INVALID, "start_ms", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o = (cdtx_consumer_options){.size = sizeof o, .start = CDTX_START_TIME, .start_ms = -1};
    FAILS(CDTX_INVALID, "start_ms", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    ck_assert_int_eq(in_queue("cdtx_group"), 0);
    tear_down();
}
END_TEST

/* What its handler is refused for leaves no group behind, and takes nothing from those that wait. */
START_TEST(a_bad_handler_makes_no_group) {
    static const cdtx_consumer_options bad[] = {
        {.in_local = 1},
        {.lease_ms = -1},
        {.backoff_min_ms = -1},
        {.backoff_min_ms = 2000, .backoff_max_ms = 1000},
        {.dead_retention_ms = CDTX_TIME_MAX_MS + 1},
    };
    static const char *const says[] = {"in_local", "lease_ms", "backoff_min_ms", "backoff_max_ms", "dead_retention_ms"};
    set_up();
    send("one");
    for (int i = 0; i < 5; i++) {
        cdtx_consumer_options o = bad[i];
        o.size = sizeof o;
        FAILS(CDTX_INVALID, says[i], cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    }
    cdtx_consumer_options o = {.size = sizeof o, .handler = consume, .local_db = shop};
    FAILS(CDTX_INVALID, "local_db", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    cdtx *other = NULL;
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(env)};
    OK(cdtx_open(&options, &other, &E));
    o.local_db = open_db(other, "theirs", "share=0"), o.in_local = 1;
    FAILS(CDTX_MISUSE, "another engine", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    cdtx_db_close(o.local_db);
    cdtx_close(other);
    ck_assert_int_eq(in_queue("cdtx_group"), 0);
    ck_assert_int_eq(in_queue("cdtx_msg"), 1);
    tear_down();
}
END_TEST

static void count_drop(void *user) {
    ++*(int *)user;
}

START_TEST(who_has_joined_joins_no_more) {
    int drops = 0;
    set_up();
    cdtx_consumer_options o = {.size = sizeof o, .handler = consume, .user = &drops, .drop = count_drop};
    OK(cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    FAILS(CDTX_CONFLICT, "already", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o.in_order = 1;
    FAILS(CDTX_CONFLICT, "already", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    close_engine();
    ck_assert_int_eq(drops, 1);
    open_engine();
    FAILS(CDTX_CONFLICT, "in no order", cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o.in_order = 0, o.start = CDTX_START_LAST; /* it is not new: start says nothing */
    OK(cdtx_consumer_add(queue, "orders", "mail", &o, &E));
    o.in_order = 7;
    OK(cdtx_consumer_add(queue, "orders", "sorted", &o, &E));
    ck_assert_int_eq(group_number("sorted", "in_order"), 1);
    close_engine();
    ck_assert_int_eq(drops, 3);
    open_engine();
    o.in_order = 0;
    FAILS(CDTX_CONFLICT, "in order", cdtx_consumer_add(queue, "orders", "sorted", &o, &E));
    o.in_order = 1;
    OK(cdtx_consumer_add(queue, "orders", "sorted", &o, &E));
    tear_down();
}
END_TEST

START_TEST(only_so_many_groups) {
    set_up();
    for (int i = 0; i < CDTX_GROUPS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "g%d", i);
        join(name, (cdtx_consumer_options){0});
    }
    FAILS(CDTX_LIMIT, "64 groups", join_as(queue, "orders", "more", (cdtx_consumer_options){0}));
    send("x");
    run_ms(0);
    ck_assert_uint_eq(calls, 64);
    OK(cdtx_group_remove(queue, "orders", "g5", "ann", "too many", &E));
    join("more", (cdtx_consumer_options){0});
    tear_down();
}
END_TEST

/* ---- who gets what ---- */

START_TEST(each_group_gets_every_message_once) {
    set_up();
    join("mail", (cdtx_consumer_options){.in_local = 1});
    join("stock", (cdtx_consumer_options){.in_local = 1, .local_db = shop});
    join("same", (cdtx_consumer_options){.in_local = 1, .local_db = queue});
    for (int i = 0; i < 10; i++)
        send("m");
    run_ms(5000);
    ck_assert_int_eq(in_queue("seen"), 20);
    ck_assert_int_eq(in_shop("seen"), 10);
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg IS NOT NULL"), 0);
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    run_ms(5000);
    ck_assert_int_eq(in_shop("cdtx_guard"), 0); /* nobody asks for them any more */
    ck_assert_int_eq(in_queue("cdtx_guard"), 0);
    tear_down();
}
END_TEST

START_TEST(what_has_no_group_waits_for_the_first) {
    set_up();
    send("one"), send("two");
    run_ms(3600000); /* whatever its topic's retention */
    ck_assert_int_eq(in_queue("cdtx_msg"), 2);
    join("mail", (cdtx_consumer_options){0});
    run_ms(0);
    ck_assert_str_eq(order, "one two ");
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    clear();
    join("late", (cdtx_consumer_options){0});
    run_ms(0);
    ck_assert_str_eq(order, "");
    tear_down();
}
END_TEST

START_TEST(the_first_group_may_leave_what_waited) {
    set_up();
    send("one");
    cdtx_test_env_advance(env, 60000);
    int64_t between = wall_ms() - 30000;
    send("two");
    join("mail", _i == 0 ? (cdtx_consumer_options){.start = CDTX_START_LAST}
                         : (cdtx_consumer_options){.start = CDTX_START_TIME, .start_ms = between});
    run_ms(0);
    ck_assert_str_eq(order, _i == 0 ? "" : "two ");
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    send("three");
    run_ms(0);
    ck_assert_str_eq(order, _i == 0 ? "three " : "two three ");
    tear_down();
}
END_TEST

START_TEST(a_new_group_starts_where_it_wants) {
    set_up();
    cdtx_topic_options o = {.size = sizeof o, .retention_ms = 3600000};
    OK(cdtx_topic_add(queue, "orders", &o, &E));
    send("one");
    cdtx_test_env_advance(env, 60000);
    int64_t between = wall_ms() - 30000;
    send("two");
    join("first", (cdtx_consumer_options){0});
    run_ms(0);
    ck_assert_str_eq(order, "one two ");
    clear();
    join("last", (cdtx_consumer_options){.start = CDTX_START_LAST});
    run_ms(0);
    ck_assert_str_eq(order, "");
    join("time", (cdtx_consumer_options){.start = CDTX_START_TIME, .start_ms = between});
    run_ms(0);
    ck_assert_str_eq(order, "two ");
    clear();
    join("future", (cdtx_consumer_options){.start = CDTX_START_TIME, .start_ms = wall_ms() + 3600000});
    run_ms(0);
    ck_assert_str_eq(order, "");
    ck_assert_int_eq(topic_number("orders", "kept"), 2);
    run_ms(3600000 - 60000 + 15000); /* the first is an hour old, the second is not */
    ck_assert_int_eq(topic_number("orders", "kept"), 1);
    run_ms(80000);
    ck_assert_int_eq(topic_number("orders", "kept"), 0);
    tear_down();
}
END_TEST

START_TEST(a_topic_without_a_group_keeps_all_beyond_its_retention) {
    set_up();
    cdtx_topic_options o = {.size = sizeof o, .retention_ms = 1000};
    OK(cdtx_topic_add(queue, "orders", &o, &E));
    send("one");
    run_ms(3600000);
    ck_assert_int_eq(topic_number("orders", "kept"), 1);
    join("mail", (cdtx_consumer_options){0});
    run_ms(15000);
    ck_assert_str_eq(order, "one ");
    ck_assert_int_eq(topic_number("orders", "kept"), 0);
    tear_down();
}
END_TEST

/* More than one step of the keeper, in the time that one step has. */
START_TEST(the_keeper_keeps_up) {
    set_up();
    cdtx_topic_options o = {.size = sizeof o, .retention_ms = 60000};
    OK(cdtx_topic_add(queue, "orders", &o, &E));
    join("mail", (cdtx_consumer_options){.start = CDTX_START_LAST});
    lab_sql("queue.db", "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
                        " INSERT INTO cdtx_msg SELECT 1000000 + i, 'orders', NULL, 0, 0, x'', 0, NULL, NULL, NULL, NULL"
                        " FROM n");
    run_ms(75000);
    ck_assert_int_eq(topic_number("orders", "kept"), 0);
    tear_down();
}
END_TEST

/* ---- several engines ---- */

static cdtx *engines[3];
static cdtx_db *queues[3];
static uint32_t got[3];

static int32_t count_for(cdtx_work *work, void *user, cdtx_error *err) {
    ++*(uint32_t *)user;
    return consume(work, NULL, err);
}

static void shared_world(int in_order) {
    clear();
    OK(cdtx_test_env_new(&env, &E));
    for (int i = 0; i < 3; i++) {
        cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(env)};
        OK(cdtx_open(&options, &engines[i], &E));
        queues[i] = open_db(engines[i], "queue", "share=1");
        OK(cdtx_topic_add(queues[i], "orders", NULL, &E));
        got[i] = 0;
        cdtx_consumer_options o = {.size = sizeof o,
                                   .handler = count_for,
                                   .user = &got[i],
                                   .in_order = in_order,
                                   .backoff_min_ms = 1000,
                                   .attempts_max = 3};
        OK(cdtx_consumer_add(queues[i], "orders", "mail", &o, &E));
    }
    queue = queues[0];
}

static void run_all(int64_t ms) {
    for (int64_t at = 0; at < ms; at += 600)
        for (int i = 0; i < 3; i++)
            OK(cdtx_run(engines[i], 200, &E));
}

static void shared_end(void) {
    for (int i = 0; i < 3; i++) {
        cdtx_db_close(queues[i]);
        cdtx_close(engines[i]);
    }
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}

START_TEST(each_message_to_one_of_the_engines) {
    shared_world(0);
    for (int i = 0; i < 60; i++) {
        OK(cdtx_msg_send(queues[i % 3], "orders", "m", 1, NULL, NULL, &E));
        if (i % 5 == 0)
            run_all(600);
    }
    run_all(3000);
    ck_assert_uint_eq(got[0] + got[1] + got[2], 60);
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg IS NOT NULL"), 0);
    shared_end();
}
END_TEST

START_TEST(in_order_over_several_engines) {
    shared_world(1);
    char expected[256] = "";
    fail_next = 2;
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, i == 7 ? "!%d" : "%d", i);
        if (i != 7)
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s ", text);
        cdtx_msg_options o = {.size = sizeof o, .key = "k"};
        OK(cdtx_msg_send(queues[i % 3], "orders", text, strlen(text), &o, NULL, &E));
    }
    run_all(120000);
    ck_assert_str_eq(order, expected);
    shared_end();
}
END_TEST

START_TEST(who_leaves_is_taken_over_from) {
    shared_world(1);
    cdtx_consumer_options o = {.size = sizeof o, .lease_ms = 5000};
    OK(cdtx_consumer_add(queues[0], "orders", "pull", &o, &E));
    OK(cdtx_consumer_add(queues[1], "orders", "pull", &o, &E));
    OK(cdtx_msg_send(queues[0], "orders", "m", 1, NULL, NULL, &E));
    cdtx_work *first = NULL, *second = NULL;
    char id[CDTX_GID_MAX], same[CDTX_GID_MAX];
    OK(cdtx_take(engines[0], 1000, &first, &E));
    ck_assert_ptr_nonnull(first);
    OK(cdtx_take(engines[1], 1000, &second, &E));
    ck_assert_ptr_null(second);
    OK(cdtx_take(engines[1], 10000, &second, &E)); /* its lease is over */
    ck_assert_ptr_nonnull(second);
    cdtx_msg_id(first, id), cdtx_msg_id(second, same);
    ck_assert_str_eq(id, same);
    ck_assert_int_gt(cdtx_work_token(second), cdtx_work_token(first));
    FAILS(CDTX_CONFLICT, "lost", cdtx_settle(first, 0, NULL, &E));
    OK(cdtx_settle(second, 0, NULL, &E));
    shared_end();
}
END_TEST

/* ---- order ---- */

START_TEST(one_key_in_order_and_others_flow) {
    set_up();
    join("mail", (cdtx_consumer_options){.in_order = 1, .backoff_min_ms = 1000});
    fail_next = 1;
    send_keyed("a1", "a"), send_keyed("a2", "a"), send_keyed("b1", "b"), send_keyed("a3", "a"), send_keyed("b2", "b");
    send("n1"), send("n2");
    run_ms(10000);
    ck_assert_ptr_nonnull(strstr(order, "a1 a2 a3 "));
    ck_assert_ptr_nonnull(strstr(order, "n1 n2 "));
    ck_assert(strstr(order, "b1 ") < strstr(order, "b2 ") && strstr(order, "b2 ") < strstr(order, "a1 "));
    ck_assert_uint_eq(calls, 8);
    tear_down();
}
END_TEST

/* Urgency and delay do not overtake within a key. */
START_TEST(nothing_overtakes_within_a_key) {
    set_up();
    join("mail", (cdtx_consumer_options){.in_order = 1});
    send_with("a1", (cdtx_msg_options){.key = "a", .delay_ms = 5000});
    send_with("a2", (cdtx_msg_options){.key = "a", .priority = 9});
    send_with("b1", (cdtx_msg_options){.key = "b"});
    run_ms(4000);
    ck_assert_str_eq(order, "b1 ");
    run_ms(2000);
    ck_assert_str_eq(order, "b1 a1 a2 ");
    tear_down();
}
END_TEST

/* A job of the host's that happens to have such a key is another matter. */
START_TEST(keys_of_jobs_are_no_keys_of_messages) {
    set_up();
    join("mail", (cdtx_consumer_options){.in_order = 1});
    cdtx_handler_options pulled = {.size = sizeof pulled};
    OK(cdtx_handler_add(queue, "print", &pulled, &E));
    cdtx_job_options o = {.size = sizeof o, .concurrency_key = "orders/mail/a"};
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_job_put(sql, "print", "x", 1, &o, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 1000, &work, &E));
    ck_assert_ptr_nonnull(work);
    send_keyed("a1", "a");
    run_ms(1000);
    ck_assert_str_eq(order, "a1 ");
    OK(cdtx_settle(work, 0, NULL, &E));
    tear_down();
}
END_TEST

static int put_off;

static int32_t snooze(cdtx_work *work, void *user, cdtx_error *err) {
    if (put_off > 0) {
        put_off--;
        return user != NULL ? cdtx_work_retry_after(work, 5000, "later", err)
                            : cdtx_work_snooze(work, 5000, "later", err);
    }
    return consume(work, NULL, err);
}

START_TEST(what_is_put_off_holds_its_key_up) {
    set_up();
    put_off = 1;
    join("mail", (cdtx_consumer_options){.in_order = 1, .handler = snooze, .user = _i == 0 ? NULL : &put_off});
    send_keyed("a1", "a"), send_keyed("a2", "a"), send_keyed("b1", "b");
    run_ms(4000);
    ck_assert_str_eq(order, "b1 ");
    run_ms(2000);
    ck_assert_str_eq(order, "b1 a1 a2 ");
    tear_down();
}
END_TEST

START_TEST(a_pause_keeps_the_order) {
    set_up();
    join("mail", (cdtx_consumer_options){.in_order = 1});
    OK(cdtx_handler_pause(queue, "cdtx.msg/orders/mail", "ann", "look", &E));
    send_keyed("a1", "a"), send_keyed("a2", "a");
    run_ms(10000);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_ne(group_number("mail", "paused_ms"), 0);
    ck_assert_int_eq(group_number("mail", "lag"), 2);
    ck_assert_int_ge(group_number("mail", "oldest_ms"), 10000);
    OK(cdtx_handler_resume(queue, "cdtx.msg/orders/mail", "ann", "seen", &E));
    run_ms(1000);
    ck_assert_str_eq(order, "a1 a2 ");
    ck_assert_int_eq(group_number("mail", "paused_ms"), 0);
    tear_down();
}
END_TEST

START_TEST(a_dead_letter_lets_its_key_go_on) {
    set_up();
    join("mail", (cdtx_consumer_options){.in_order = 1, .attempts_max = 2, .backoff_min_ms = 100});
    send_keyed("!a1", "a"), send_keyed("a2", "a"), send_keyed("!a3", "a"), send_keyed("a4", "a");
    run_ms(60000);
    ck_assert_str_eq(order, "a2 a4 ");
    ck_assert_int_eq(group_number("mail", "dead"), 2);
    ck_assert_int_eq(group_number("mail", "lag"), 0);
    poisonous = 0;
    int64_t count = 0;
    cdtx_redrive_filter f = {.size = sizeof f, .handler = "cdtx.msg/orders/mail"};
    OK(cdtx_job_redrive(queue, &f, "ann", "mended", &count, &E));
    ck_assert_int_eq(count, 2);
    run_ms(1000);
    ck_assert_str_eq(order, "a2 a4 !a1 !a3 ");
    ck_assert_int_eq(group_number("mail", "dead"), 0);
    tear_down();
}
END_TEST

START_TEST(a_new_group_in_order_gets_kept_ones_in_order) {
    set_up();
    cdtx_topic_options o = {.size = sizeof o, .retention_ms = 3600000};
    OK(cdtx_topic_add(queue, "orders", &o, &E));
    char expected[4096] = "";
    for (int i = 0; i < 600; i++) { /* more than a page, many in one millisecond */
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s ", text);
        send_keyed(text, "k");
    }
    join("mail", (cdtx_consumer_options){.in_order = 1});
    send_keyed("end", "k");
    snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "end ");
    run_ms(10000);
    ck_assert_str_eq(order, expected);
    tear_down();
}
END_TEST

/* ---- poison ---- */

START_TEST(poison_is_parked_unchanged_and_its_neighbours_flow) {
    set_up();
    join("mail", (cdtx_consumer_options){.attempts_max = 5, .backoff_min_ms = 1000, .backoff_max_ms = 2000});
    int64_t began = mono_ms();
    send("!\1bad");
    for (int i = 0; i < 50; i++)
        send("m");
    run_ms(100);
    ck_assert_uint_eq(calls, 51); /* neighbours did not wait */
    run_ms(20000);
    ck_assert_uint_eq(calls, 50 + 5);
    ck_assert_int_eq(in_queue("cdtx_job WHERE state = 3 AND attempts = 5 AND payload = x'2101626164'"), 1);
    ck_assert_int_le(mono_ms() - began, 21000);
    tear_down();
}
END_TEST

START_TEST(a_consumer_that_throws_any_code) {
    set_up();
    join("mail", (cdtx_consumer_options){.attempts_max = 3,
                                         .backoff_min_ms = 1000,
                                         .backoff_max_ms = 1000,
                                         .in_local = 1,
                                         .local_db = _i % 2 ? shop : NULL});
    static const int32_t codes[] = {-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16, -17, -99, 7};
    int32_t code = codes[_i / 2];
    fail_code = code, fail_next = 1;
    send("x");
    run_ms(60000);
    int dead = code == CDTX_REFUSED;
    ck_assert_uint_eq(calls, dead ? 1 : 2);
    ck_assert_int_eq(group_number("mail", "dead"), dead);
    ck_assert_int_eq(_i % 2 ? in_shop("seen") : in_queue("seen"), !dead); /* what it wrote went with it */
    tear_down();
}
END_TEST

static int overrun;

static int32_t overrun_lease(cdtx_work *work, void *user, cdtx_error *err) {
    if (overrun-- > 0)
        cdtx_test_env_advance(env, 60000);
    return consume(work, user, err);
}

/* Nobody else has it, so its end still counts. */
START_TEST(a_consumer_that_overruns_its_lease_alone) {
    set_up();
    overrun = 1;
    join("mail", (cdtx_consumer_options){.handler = overrun_lease, .lease_ms = 1000});
    send("x");
    run_ms(120000);
    ck_assert_str_eq(order, "x ");
    tear_down();
}
END_TEST

START_TEST(a_consumer_that_dies) {
    set_up();
    for (int life = 0; life < 3; life++) {
        cdtx_consumer_options o = {.size = sizeof o, .crashes_max = 3};
        OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
        if (life == 0)
            send("x");
        cdtx_work *work = NULL;
        OK(cdtx_take(engine, 1000, &work, &E));
        ck_assert_ptr_nonnull(work);
        ck_assert_uint_eq(cdtx_work_attempt(work), (uint32_t)life + 1);
        close_engine();
        FAILS(CDTX_MISUSE, "closed", cdtx_settle(work, 0, NULL, &E));
        open_engine();
    }
    cdtx_consumer_options o = {.size = sizeof o, .crashes_max = 3};
    OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
    run_ms(1000);
    ck_assert_int_eq(group_number("pull", "dead"), 1);
    ck_assert_int_eq(in_queue("cdtx_job WHERE state = 3 AND payload = x'78'"), 1);
    tear_down();
}
END_TEST

/* ---- the pull form ---- */

static cdtx_work *take(void) {
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 60000, &work, &E));
    ck_assert_ptr_nonnull(work);
    return work;
}

START_TEST(taken_and_settled) {
    set_up();
    cdtx_consumer_options o = {.size = sizeof o, .attempts_max = 5, .backoff_min_ms = 1000};
    OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
    send_with("x", (cdtx_msg_options){.key = "k"});
    cdtx_work *work = take();
    size_t length = 0;
    ck_assert_int_eq(cdtx_work_kind(work), CDTX_WORK_JOB);
    ck_assert_str_eq(cdtx_work_handler(work), "cdtx.msg/orders/pull");
    ck_assert_str_eq(cdtx_msg_topic(work), "orders");
    ck_assert_str_eq(cdtx_msg_group(work), "pull");
    ck_assert_str_eq(cdtx_msg_key(work), "k");
    ck_assert_mem_eq(cdtx_work_payload(work, &length), "x", 1);
    ck_assert_ptr_null(cdtx_work_sql(work));
    int64_t before = mono_ms();
    ck_assert_int_eq(cdtx_work_retry_after(work, 7000, "wait", &E), CDTX_BUSY);
    OK(cdtx_settle(work, CDTX_BUSY, "wait", &E));
    work = take(); /* nack with delay */
    ck_assert_int_ge(mono_ms() - before, 7000);
    ck_assert_uint_eq(cdtx_work_attempt(work), 2);
    OK(cdtx_settle(work, CDTX_USER, "again", &E));
    work = take();
    ck_assert_uint_eq(cdtx_work_attempt(work), 3);
    OK(cdtx_settle(work, CDTX_REFUSED, "never", &E));
    ck_assert_int_eq(group_number("pull", "dead"), 1);
    send("y");
    work = take();
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_int_eq(group_number("pull", "lag"), 0);
    tear_down();
}
END_TEST

START_TEST(done_in_the_consumers_own_transaction) {
    set_up();
    cdtx_consumer_options o = {.size = sizeof o, .lease_ms = 5000, .in_order = _i};
    OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
    send_with("x", (cdtx_msg_options){.key = "k"}), send_with("y", (cdtx_msg_options){.key = "k"});
    cdtx_work *work = take();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_sql_exec(sql, "INSERT INTO seen VALUES ('x')", NULL, &E));
    OK(cdtx_work_done(work, sql, &E));
    OK(cdtx_sql_rollback(sql, &E)); /* then it is not done */
    cdtx_sql_close(sql);
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_sql_exec(sql, "INSERT INTO seen VALUES ('x')", NULL, &E));
    OK(cdtx_work_done(work, sql, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_int_eq(in_queue("seen"), 1);
    work = take();
    ck_assert_mem_eq(cdtx_work_payload(work, NULL), "y", 1);
    OK(cdtx_sql_begin(shop, &sql, &E));
    FAILS(CDTX_MISUSE, "own database", cdtx_work_done(work, sql, &E));
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    OK(cdtx_settle(work, 0, NULL, &E));
    run_ms(60000);
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg IS NOT NULL"), 0);
    tear_down();
}
END_TEST

/* ---- effects in another database ---- */

START_TEST(dead_letters_hold_the_floor) {
    set_up();
    join("stock", (cdtx_consumer_options){.in_local = 1, .local_db = shop, .attempts_max = 2, .backoff_min_ms = 100});
    send("!x");
    for (int i = 0; i < 20; i++)
        send("m");
    run_ms(30000);
    ck_assert_int_eq(in_shop("seen"), 20);
    ck_assert_int_eq(in_shop("cdtx_guard"), 20);
    poisonous = 0;
    int64_t count = 0;
    cdtx_redrive_filter f = {.size = sizeof f, .handler = "cdtx.msg/orders/stock"};
    OK(cdtx_job_redrive(queue, &f, "ann", "mended", &count, &E));
    run_ms(10000);
    ck_assert_int_eq(in_shop("seen"), 21);
    ck_assert_int_eq(in_shop("cdtx_guard"), 0);
    tear_down();
}
END_TEST

/* The queue's file fails at its nth write or sync from the first attempt on, and the process dies of it, wherever that
 * is: lease, effect, end. The next life finishes: each message has taken effect exactly once. */
static int life_with_a_failing_queue(int op, uint64_t nth) {
    set_up();
    close_engine();
    shim_reset();
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env)});
    queue = open_db(engine, "queue", "vfs=shim"), shop = open_db(engine, "shop", "share=0");
    send("one"), send("two"), send("three");
    join("stock", (cdtx_consumer_options){.in_local = 1, .local_db = shop, .crashes_max = 100});
    shim_fail(op, SHIM_WAL, nth, 0);
    (void)cdtx_run(engine, 60000, &E);
    int failed = shim.failed;
    shim_fail(0, 0, 0, 0);
    close_engine();
    open_engine();
    join("stock", (cdtx_consumer_options){.in_local = 1, .local_db = shop, .crashes_max = 100});
    run_ms(60000);
    ck_assert_msg(in_shop("seen") == 3, "op %d, %d: %d effects", op, (int)nth, (int)in_shop("seen"));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(DISTINCT payload) FROM seen"), 3);
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg IS NOT NULL"), 0);
    run_ms(10000);
    ck_assert_int_eq(in_shop("cdtx_guard"), 0);
    tear_down();
    lab_teardown(), lab_setup();
    return failed;
}

START_TEST(the_end_of_a_delivery_is_lost) {
    uint64_t nth = 1;
    while (life_with_a_failing_queue(_i == 0 ? SHIM_SYNC : SHIM_WRITE, nth))
        nth++;
    ck_assert_uint_gt(nth, 3);
}
END_TEST

/* The effect is in the shop, its holder sleeps, another one comes; the sleeper's end is too late. */
static int slept;
static cdtx_work *none;

static int32_t sleep_inside(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    if (slept++ == 0) {
        cdtx_test_env_advance(env, 60000);
        ck_assert_int_eq(cdtx_take(engines[1], 3000, &none, NULL),
                         0); /* the other one claims it, and waits for the shop */
        ck_assert_ptr_null(none);
    }
    return consume(work, NULL, err);
}

START_TEST(a_stale_holder_comes_late) {
    shared_world(0);
    cdtx_db *shops[2];
    slept = 0;
    for (int i = 0; i < 2; i++) {
        shops[i] = open_db(engines[i], "shop", "share=1");
        if (i == 0)
            lab_exec(shops[i], "CREATE TABLE seen (payload TEXT)");
        cdtx_consumer_options o = {
            .size = sizeof o, .handler = sleep_inside, .in_local = 1, .local_db = shops[i], .lease_ms = 5000};
        OK(cdtx_consumer_add(queues[i], "orders", "stock", &o, &E));
    }
    OK(cdtx_msg_send(queues[0], "orders", "x", 1, NULL, NULL, &E));
    OK(cdtx_run(engines[0], 1000, &E));
    run_all(60000);
    ck_assert_int_eq(in_shop("seen"), 1);
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg IS NOT NULL"), 0);
    for (int i = 0; i < 2; i++)
        cdtx_db_close(shops[i]);
    shared_end();
}
END_TEST

/* ---- removing ---- */

START_TEST(a_group_is_removed_with_all_it_has) {
    set_up();
    cdtx_consumer_options o = {.size = sizeof o, .in_order = 1};
    OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
    join("mail", (cdtx_consumer_options){0});
    send_keyed("a1", "a"), send_keyed("a2", "a"), send_with("late", (cdtx_msg_options){.delay_ms = 60000});
    cdtx_work *work = take();
    OK(cdtx_settle(work, CDTX_REFUSED, "never", &E));
    work = take();
    FAILS(CDTX_CONFLICT, "under way", cdtx_group_remove(queue, "orders", "pull", "ann", "gone", &E));
    FAILS(CDTX_NOT_FOUND, "no group 'none'", cdtx_group_remove(queue, "orders", "none", "ann", "gone", &E));
    FAILS(CDTX_INVALID, "actor", cdtx_group_remove(queue, "orders", "pull", NULL, "gone", &E));
    FAILS(CDTX_INVALID, "reason", cdtx_group_remove(queue, "orders", "pull", "ann", "", &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_group_remove(NULL, "orders", "pull", "ann", "gone", &E));
    ck_assert_int_eq(group_number("pull", "lag"), 2);
    ck_assert_int_eq(group_number("pull", "leased"), 1);
    OK(cdtx_handler_pause(queue, "cdtx.msg/orders/pull", "ann", "gone", &E));
    OK(cdtx_settle(work, CDTX_USER, "again", &E));
    OK(cdtx_group_remove(queue, "orders", "pull", "ann", "nobody reads it", &E));
    ck_assert_int_eq(in_queue("cdtx_group"), 1);
    ck_assert_int_eq(in_queue("cdtx_job WHERE handler = 'cdtx.msg/orders/pull'"), 0);
    ck_assert_int_eq(in_queue("cdtx_audit WHERE action = 'remove' AND subject = 'group orders/pull'"
                              " AND reason = '3 deliveries: nobody reads it' AND actor = 'ann'"),
                     1);
    FAILS(CDTX_NOT_FOUND, "no group", cdtx_group_remove(queue, "orders", "pull", "ann", "gone", &E));
    int64_t lines = 0;
    char head[65];
    OK(cdtx_audit_verify(queue, 0, &lines, head, &E));
    run_ms(70000);
    ck_assert_str_eq(order, "a1 a2 late "); /* the other group has its own */
    close_engine();
    open_engine();
    /* One of the same name is new in every way. */
    join("pull", (cdtx_consumer_options){0});
    send("new");
    run_ms(0);
    ck_assert_ptr_nonnull(strstr(order, "new "));
    tear_down();
}
END_TEST

START_TEST(a_removed_group_is_not_made_again_by_mistake) {
    set_up();
    join("mail", (cdtx_consumer_options){0});
    OK(cdtx_group_remove(queue, "orders", "mail", "ann", "gone", &E));
    send("waits");
    FAILS(CDTX_CONFLICT, "already", join_as(queue, "orders", "mail", (cdtx_consumer_options){0}));
    ck_assert_int_eq(in_queue("cdtx_group"), 0);
    ck_assert_int_eq(topic_number("orders", "kept"), 1);
    tear_down();
}
END_TEST

/* ---- the list ---- */

START_TEST(what_there_is_of_a_group) {
    set_up();
    static const char *const names[] = {"topic", "group",  "here", "in_order",  "paused_ms",
                                        "lag",   "leased", "dead", "oldest_ms", "handler"};
    cdtx_report *report = NULL;
    FAILS(CDTX_INVALID, "NULL", cdtx_group_list(queue, NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_group_list(NULL, &report, &E));
    OK(cdtx_topic_add(queue, "a", NULL, &E));
    cdtx_consumer_options o = {.size = sizeof o, .in_order = 1};
    OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
    OK(join_as(queue, "a", "mail", (cdtx_consumer_options){0}));
    send_keyed("a1", "a"), send_keyed("a2", "a"), send_keyed("b", "b");
    run_ms(2000);
    cdtx_work *work = take();
    OK(cdtx_settle(work, CDTX_REFUSED, "no", &E));
    work = take();
    OK(cdtx_group_list(queue, &report, &E));
    ck_assert_uint_eq(cdtx_report_columns(report), 10);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_str_eq(cdtx_report_name(report, i), names[i]);
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), "a");
    ck_assert_int_eq(cdtx_report_int(report, 5), 0);
    ck_assert_int_eq(cdtx_report_type(report, 8), CDTX_NULL);
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 1, NULL), "pull");
    ck_assert_int_eq(cdtx_report_int(report, 2), 1);
    ck_assert_int_eq(cdtx_report_int(report, 3), 1);
    ck_assert_int_eq(cdtx_report_type(report, 4), CDTX_NULL);
    ck_assert_int_eq(cdtx_report_int(report, 5), 2);
    ck_assert_int_eq(cdtx_report_int(report, 6), 1);
    ck_assert_int_eq(cdtx_report_int(report, 7), 1);
    ck_assert_int_ge(cdtx_report_int(report, 8), 2000);
    ck_assert_str_eq(cdtx_report_text(report, 9, NULL), "cdtx.msg/orders/pull");
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    OK(cdtx_settle(work, 0, NULL, &E));
    tear_down();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, consumers_are_checked);
    tcase_add_test(tcase, a_bad_handler_makes_no_group);
    tcase_add_test(tcase, who_has_joined_joins_no_more);
    tcase_add_test(tcase, only_so_many_groups);
    tcase_add_test(tcase, each_group_gets_every_message_once);
    tcase_add_test(tcase, what_has_no_group_waits_for_the_first);
    tcase_add_loop_test(tcase, the_first_group_may_leave_what_waited, 0, 2);
    tcase_add_test(tcase, a_new_group_starts_where_it_wants);
    tcase_add_test(tcase, a_topic_without_a_group_keeps_all_beyond_its_retention);
    tcase_add_test(tcase, the_keeper_keeps_up);
    tcase_add_test(tcase, each_message_to_one_of_the_engines);
    tcase_add_test(tcase, in_order_over_several_engines);
    tcase_add_test(tcase, who_leaves_is_taken_over_from);
    tcase_add_test(tcase, one_key_in_order_and_others_flow);
    tcase_add_test(tcase, nothing_overtakes_within_a_key);
    tcase_add_test(tcase, keys_of_jobs_are_no_keys_of_messages);
    tcase_add_loop_test(tcase, what_is_put_off_holds_its_key_up, 0, 2);
    tcase_add_test(tcase, a_pause_keeps_the_order);
    tcase_add_test(tcase, a_dead_letter_lets_its_key_go_on);
    tcase_add_test(tcase, a_new_group_in_order_gets_kept_ones_in_order);
    tcase_add_test(tcase, poison_is_parked_unchanged_and_its_neighbours_flow);
    tcase_add_loop_test(tcase, a_consumer_that_throws_any_code, 0, 38);
    tcase_add_test(tcase, a_consumer_that_overruns_its_lease_alone);
    tcase_add_test(tcase, a_consumer_that_dies);
    tcase_add_test(tcase, taken_and_settled);
    tcase_add_loop_test(tcase, done_in_the_consumers_own_transaction, 0, 2);
    tcase_add_test(tcase, dead_letters_hold_the_floor);
    tcase_add_loop_test(tcase, the_end_of_a_delivery_is_lost, 0, 2);
    tcase_add_test(tcase, a_stale_holder_comes_late);
    tcase_add_test(tcase, a_group_is_removed_with_all_it_has);
    tcase_add_test(tcase, a_removed_group_is_not_made_again_by_mistake);
    tcase_add_test(tcase, what_there_is_of_a_group);
}

int main(void) {
    return lab_main("pattern-msg-group", tests);
}
