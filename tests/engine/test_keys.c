/* Who may run beside whom: concurrency keys, order, limits, rates and pauses. "Slow" is looked for in the rows, never
 * by a clock. Virtual time. */
#include "job_lab.h"

static cdtx_job_options keyed(const char *key) {
    return (cdtx_job_options){.concurrency_key = key};
}

static void put_row(const char *handler, const char *payloads, const char *key) {
    for (; *payloads != '\0'; payloads++)
        put(handler, (char[]){*payloads, '\0'}, keyed(key));
}

/* ---- concurrency keys ---- */

START_TEST(one_of_a_key_at_a_time) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 1000, .backoff_max_ms = 1000, .lease_ms = 2000});
    put_row("print", "abcdefg", "k");
    cdtx_work *work = take_this(0, "a");
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 2444444);
    settle(work, 0); /* done */
    work = take_this(0, "b");
    ck_assert_int_eq(states("1"), 244444);
    settle(work, CDTX_REFUSED); /* dead */
    work = take_this(0, "c");
    settle(work, CDTX_USER); /* its back-off is nobody's turn */
    work = take_this(0, "d");
    FAILS(CDTX_BUSY, "", cdtx_work_snooze(work, 1000, NULL, &E));
    OK(cdtx_settle(work, CDTX_BUSY, NULL, &E)); /* nor is a snooze */
    work = take_this(0, "e");
    ck_assert_ptr_null(take(1900));
    cdtx_work *late = work;
    work = take_this(200, "c"); /* e's lease is lost, and c is the first of those that are due again */
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(late, 0, NULL, &E));
    settle(work, 0);
    for (int left = 4; left > 0; left--) {
        work = take(100);
        ck_assert_ptr_nonnull(work);
        ck_assert_int_eq(jobs("state = 2"), 1);
        settle(work, 0);
    }
    ck_assert_int_eq(states("1"), 3);
    free_shop();
}
END_TEST

START_TEST(taken_back_among_those_that_wait) {
    make_shop();
    handle("print", (cdtx_handler_options){.backoff_min_ms = 5000});
    put_row("print", "abcd", "k");
    cdtx_work *work = take_this(0, "a");
    ck_assert_ptr_null(take(10));
    settle(work, 0);
    struct shop_step step = {.run = step_cancel, .id = 2};
    ck_assert_int_eq(states("1"), 144);
    OK(cdtx_local(db, shop_step_run, &step, &E)); /* the one whose turn it is */
    work = take_this(0, "c");
    OK(cdtx_job_cancel(db, 4, "ann", "why not", &E));
    put_row("print", "e", "k");
    settle(work, 0);
    settle(take_this(0, "e"), 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(some_of_a_key_at_a_time) {
    cdtx_work *works[3];
    make_shop();
    handle("print", (cdtx_handler_options){.key_running_max = 3, .lease_ms = 1000});
    put_row("print", "abcdefghi", "k");
    put_row("print", "x", "other");
    for (int i = 0; i < 3; i++)
        works[i] = take_this(0, (const char *[]){"a", "b", "c"}[i]);
    cdtx_work *other = take_this(100, "x");
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 2224444442);
    settle(other, 0);
    settle(works[1], 0);
    settle(works[0], CDTX_REFUSED);
    works[0] = take_this(0, "d");
    works[1] = take_this(0, "e");
    ck_assert_ptr_null(take(100));
    cdtx_test_env_advance(world, 5000); /* all three are lost, and three come again */
    for (int i = 0; i < 3; i++) {
        cdtx_work *again = take(0);
        ck_assert_ptr_nonnull(again);
        ck_assert_int_eq(cdtx_settle(works[i], 0, NULL, NULL), CDTX_CONFLICT);
        works[i] = again;
    }
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(jobs("state = 2"), 3);
    for (int i = 0; i < 3; i++)
        settle(works[i], 0);
    for (int left = 4; left > 0; left--)
        settle(take(100), 0);
    ck_assert_int_eq(states("1"), 3);
    free_shop();
}
END_TEST

START_TEST(lost_leases_give_every_turn_back) {
    make_shop();
    handle("print", (cdtx_handler_options){.key_running_max = 2, .lease_ms = 1000, .crashes_max = 1});
    put_row("print", "abcde", "k");
    cdtx_work *a = take_this(0, "a"), *b = take_this(0, "b");
    ck_assert_ptr_null(take(900));
    cdtx_work *c = take_this(200, "c"), *d = take_this(0, "d"); /* both are dead, so two others come */
    ck_assert_ptr_null(take(100));
    ck_assert_int_eq(states("1"), 33224);
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(a, 0, NULL, &E));
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(b, CDTX_USER, NULL, &E));
    ck_assert_ptr_null(take(100)); /* their late answers free nobody's turn */
    settle(c, 0);
    settle(take_this(0, "e"), 0);
    settle(d, 0);
    free_shop();
}
END_TEST

/* A long row of one key is looked at once, and then costs its neighbours nothing. */
START_TEST(a_long_row_is_out_of_the_way) {
    enum { MANY = 3000 };
    static cdtx_bytes payloads[MANY];
    make_shop();
    handle("print", (cdtx_handler_options){0});
    for (int i = 0; i < MANY; i++)
        payloads[i] = (cdtx_bytes){"k", 1};
    cdtx_job_options options = {.size = sizeof options, .concurrency_key = "k"};
    OK(cdtx_retry_put_many(db, "print", payloads, MANY, &options, NULL, &E));
    put("print", "x", (cdtx_job_options){0});
    put("print", "y", keyed("other"));
    cdtx_work *head = take_this(0, "k");
    uint64_t groups = lab_metrics(engine).groups;
    cdtx_work *x = take_this(0, "x"), *y = take_this(0, "y");
    ck_assert_uint_le(lab_metrics(engine).groups - groups, 20); /* by one taker too */
    ck_assert_int_eq(jobs("state = 1"), 0);
    ck_assert_int_eq(jobs("state = 4"), MANY - 1);
    settle(x, 0);
    settle(y, 0);
    settle(head, 0);
    ck_assert_int_eq(jobs("state = 1"), 1); /* one, not all of them */
    for (int i = 1; i < 50; i++)
        settle(take_this(0, "k"), 0);
    ck_assert_int_eq(jobs("1"), MANY - 50);
    free_shop();
}
END_TEST

/* Whoever opens the file next finds the turn free. */
START_TEST(a_key_outlives_its_process) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 3600000});
    put_row("print", "abc", "k");
    cdtx_work *a = take_this(0, "a");
    ck_assert_ptr_null(take(10));
    reopen_shop();
    ck_assert_int_eq(cdtx_settle(a, 0, NULL, NULL), CDTX_MISUSE);
    handle("print", (cdtx_handler_options){.key_running_max = 3});
    ck_assert_ptr_nonnull(a = take(0)); /* and what it may do now */
    cdtx_work *b = take(0), *c = take(0);
    ck_assert_ptr_nonnull(b);
    ck_assert_ptr_nonnull(c);
    settle(a, 0);
    settle(b, 0);
    settle(c, 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* One handler more than fits one look at lost leases. */
START_TEST(many_leases_of_a_former_life) {
    enum { MANY = 600 };
    static cdtx_bytes payloads[MANY];
    static cdtx_work *works[MANY];
    uint32_t count = 0, total = 0;
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 3600000});
    for (int i = 0; i < MANY; i++)
        payloads[i] = (cdtx_bytes){"k", 1};
    OK(cdtx_retry_put_many(db, "print", payloads, MANY, NULL, NULL, &E));
    OK(cdtx_take_many(engine, 10, works, MANY, &total, &E));
    ck_assert_uint_ge(total, 500);
    reopen_shop();
    for (uint32_t i = 0; i < total; i++)
        ck_assert_int_eq(cdtx_settle(works[i], 0, NULL, NULL), CDTX_MISUSE);
    handle("print", (cdtx_handler_options){.lease_ms = 3600000});
    for (total = 0; total < MANY; total += count) {
        OK(cdtx_take_many(engine, 10, works, MANY, &count, &E));
        ck_assert_msg(count > 0, "only %u came", total);
        OK(cdtx_settle_many(works, NULL, NULL, count, NULL, &E));
    }
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- several handlers and one key ---- */

START_TEST(a_pause_holds_up_its_own_only) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    handle("mail", (cdtx_handler_options){0});
    put_row("print", "ab", "k");
    put_row("mail", "m", "k");
    put_row("print", "c", "k");
    put_row("mail", "n", "k");
    cdtx_work *work = take_this(0, "a");
    ck_assert_ptr_null(take(10));
    ck_assert_int_eq(states("1"), 24444);
    OK(cdtx_handler_pause(db, "print", "ann", "the printer is away", &E));
    settle(work, 0);
    settle(take_this(0, "m"), 0);
    settle(take_this(0, "n"), 0);
    ck_assert_ptr_null(take(1000));
    OK(cdtx_handler_resume(db, "print", "ann", "it is back", &E));
    settle(take_this(0, "b"), 0);
    settle(take_this(0, "c"), 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(a_pause_gives_a_turn_back) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    handle("mail", (cdtx_handler_options){0});
    put_row("print", "ab", "k");
    put_row("mail", "m", "k");
    cdtx_work *work = take_this(0, "a");
    ck_assert_ptr_null(take(10));
    settle(work, 0);
    ck_assert_int_eq(states("1"), 14); /* it is b's turn, and then b's handler is paused */
    OK(cdtx_handler_pause(db, "print", "ann", "the printer is away", &E));
    settle(take_this(0, "m"), 0);
    ck_assert_ptr_null(take(1000));
    OK(cdtx_handler_resume(db, "print", "ann", "it is back", &E));
    settle(take_this(0, "b"), 0);
    free_shop();
}
END_TEST

/* A turn that fell to a handler that is not here any more is given out anew when one is registered. */
START_TEST(a_turn_of_a_handler_that_is_gone) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    handle("mail", (cdtx_handler_options){0});
    put_row("print", "ab", "k");
    put_row("mail", "m", "k");
    cdtx_work *work = take_this(0, "a");
    ck_assert_ptr_null(take(10));
    settle(work, 0);
    ck_assert_int_eq(states("1"), 14);
    reopen_shop();
    handle("mail", (cdtx_handler_options){0});
    settle(take_this(0, "m"), 0);
    handle("print", (cdtx_handler_options){0});
    settle(take_this(0, "b"), 0);
    free_shop();
}
END_TEST

/* It was due by a clock that was wrong, waits for its time again, and holds nobody up. */
START_TEST(a_wall_clock_that_goes_back) {
    make_shop();
    handle("print", (cdtx_handler_options){0});
    put_row("print", "a", "k");
    put("print", "w", (cdtx_job_options){.concurrency_key = "k", .at_ms = wall_ms() + 1000});
    put_row("print", "b", "k");
    cdtx_work *work = take_this(0, "a");
    cdtx_test_env_step_wall(world, 2000);
    ck_assert_ptr_null(take(6000));
    ck_assert_int_eq(states("1"), 244);
    cdtx_test_env_step_wall(world, -20000);
    settle(work, 0);
    settle(take_this(0, "b"), 0);
    ck_assert_ptr_null(take(5000));
    settle(take_this(30000, "w"), 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- in order ---- */

START_TEST(in_the_order_of_their_numbers) {
    make_shop();
    handle("print",
           (cdtx_handler_options){.in_order = 1, .backoff_min_ms = 1000, .backoff_max_ms = 1000, .attempts_max = 3});
    put("print", "a", (cdtx_job_options){.concurrency_key = "k", .delay_ms = 500});
    put("print", "b", (cdtx_job_options){.concurrency_key = "k", .priority = 9});
    put("print", "c", keyed("k"));
    put_row("print", "xy", "other");
    settle(take_this(0, "x"), 0); /* other keys flow */
    settle(take_this(0, "y"), 0);
    ck_assert_ptr_null(take(400)); /* the first has its delay, and comes first all the same */
    settle(take_this(200, "a"), CDTX_USER);
    ck_assert_int_eq(states("1"), 144);
    put_row("print", "z", "other");
    settle(take_this(0, "z"), 0);
    ck_assert_ptr_null(take(900)); /* its back-off too */
    cdtx_work *work = take_this(200, "a");
    FAILS(CDTX_BUSY, "", cdtx_work_snooze(work, 500, NULL, &E));
    OK(cdtx_settle(work, CDTX_BUSY, NULL, &E));
    ck_assert_ptr_null(take(400));
    settle(take_this(200, "a"), CDTX_USER);
    settle(take_this(1100, "a"), CDTX_USER); /* dead: the rest goes on */
    settle(take_this(0, "b"), 0);
    settle(take_this(0, "c"), 0);
    ck_assert_int_eq(states("1"), 3);
    free_shop();
}
END_TEST

START_TEST(order_survives_lost_leases) {
    make_shop();
    handle("print", (cdtx_handler_options){.in_order = 1, .lease_ms = 1000, .crashes_max = 2});
    put_row("print", "abc", "k");
    cdtx_work *late = take_this(0, "a");
    ck_assert_ptr_null(take(900));
    cdtx_work *work = take_this(200, "a");
    ck_assert_int_eq(cdtx_settle(late, 0, NULL, NULL), CDTX_CONFLICT);
    ck_assert_ptr_null(take(900));
    settle(take_this(200, "b"), 0); /* a is dead */
    ck_assert_int_eq(cdtx_settle(work, 0, NULL, NULL), CDTX_CONFLICT);
    reopen_shop();
    handle("print", (cdtx_handler_options){.in_order = 1});
    settle(take_this(0, "c"), 0);
    ck_assert_int_eq(states("1"), 3);
    free_shop();
}
END_TEST

/* A hundred jobs of ten keys, of which every third attempt fails: each key keeps its order. */
static int order_calls, order_seen[10];

static int32_t run_in_order(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    const char *payload = cdtx_work_payload(work, NULL);
    int key = payload[0] - '0', number = payload[1] - '0';
    if (++order_calls % 3 == 0)
        return cdtx_error_set(err, CDTX_USER, "the printer is jammed");
    ck_assert_int_eq(number, order_seen[key]);
    order_seen[key]++;
    return 0;
}

START_TEST(every_key_keeps_its_order) {
    make_shop();
    order_calls = 0;
    memset(order_seen, 0, sizeof order_seen);
    handle("print", (cdtx_handler_options){.handler = run_in_order,
                                           .in_local = _i,
                                           .in_order = 1,
                                           .attempts_max = 100,
                                           .backoff_min_ms = 100,
                                           .backoff_max_ms = 1000});
    for (int number = 0; number < 10; number++)
        for (int key = 0; key < 10; key++)
            put("print", (char[]){(char)('0' + key), (char)('0' + number), '\0'},
                (cdtx_job_options){.concurrency_key = (char[]){(char)('0' + key), '\0'}, .priority = number});
    OK(cdtx_run(engine, 60000, &E));
    for (int key = 0; key < 10; key++)
        ck_assert_int_eq(order_seen[key], 10);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* ---- limits ---- */

/* A second engine has the shop's file open too. */
static cdtx *second;
static cdtx_db *its;

static void share_shop(uint32_t passive) {
    char url[700];
    make_shop();
    snprintf(url, sizeof url, "%s?share=1", lab_url("shared.db"));
    cdtx_db_close(db);
    OK(cdtx_db_open(engine, "shared", url, &db, &E));
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world), .passive = passive};
    OK(cdtx_open(&options, &second, &E));
    OK(cdtx_db_open(second, "shared", url, &its, &E));
}

static void free_shared_shop(void) {
    cdtx_db_close(its);
    cdtx_close(second);
    free_shop();
}

START_TEST(running_max_is_for_all_engines) {
    cdtx_work *work = NULL;
    share_shop(0);
    cdtx_handler_options pulled = {.size = sizeof pulled, .running_max = 2};
    OK(cdtx_handler_add(db, "print", &pulled, &E));
    OK(cdtx_handler_add(its, "print", &pulled, &E));
    for (int i = 0; i < 4; i++)
        put("print", "x", (cdtx_job_options){0});
    cdtx_work *first = take(1000);
    ck_assert_ptr_nonnull(first);
    OK(cdtx_take(second, 1000, &work, &E));
    ck_assert_ptr_nonnull(work);
    cdtx_work *none = NULL;
    OK(cdtx_take(second, 2000, &none, &E));
    ck_assert_ptr_null(none);
    ck_assert_ptr_null(take(2000));
    settle(first, 0); /* one end here, and there is room there */
    OK(cdtx_take(second, 1000, &first, &E));
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(take(2000));
    ck_assert_int_eq(lab_sql("shared.db", "SELECT count(*) FROM cdtx_job WHERE state = 2"), 2);
    settle(first, CDTX_REFUSED);
    settle(work, 0);
    settle(take(1000), 0);
    ck_assert_int_eq(lab_sql("shared.db", "SELECT count(*) FROM cdtx_job"), 1);
    free_shared_shop();
}
END_TEST

START_TEST(room_comes_back_with_every_end) {
    make_shop();
    handle("print", (cdtx_handler_options){.running_max = 1, .lease_ms = 1000, .backoff_min_ms = 5000});
    for (int i = 0; i < 5; i++)
        put("print", (char[]){(char)('a' + i), '\0'}, (cdtx_job_options){0});
    settle(take_this(0, "a"), 0);
    settle(take_this(0, "b"), CDTX_REFUSED);
    settle(take_this(0, "c"), CDTX_USER);
    cdtx_work *late = take_this(0, "d");
    ck_assert_ptr_null(take(900));
    cdtx_work *work = take(200);
    ck_assert_ptr_nonnull(work);
    ck_assert_int_eq(jobs("state = 2"), 1);
    settle(work, 0);
    ck_assert_int_eq(cdtx_settle(late, 0, NULL, NULL), CDTX_CONFLICT);
    settle(take(10), 0);
    settle(take_this(20000, "c"), 0);
    ck_assert_int_eq(states("1"), 3);
    free_shop();
}
END_TEST

START_TEST(a_rate_is_kept) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler, .rate_per_s = 20});
    handle("slow", (cdtx_handler_options){.handler = shop_handler, .rate_per_s = 1});
    cdtx_bytes payloads[200];
    for (int i = 0; i < 200; i++)
        payloads[i] = (cdtx_bytes){"x", 1};
    OK(cdtx_retry_put_many(db, "print", payloads, 200, NULL, NULL, &E));
    int64_t start = now_ms();
    OK(cdtx_run(engine, 20000, &E));
    ck_assert_int_eq(shop_run_count, 200);
    for (int i = 0; i < 200; i++) { /* never more than so many in a second, and a tenth of them at once */
        int within = 0;
        for (int j = i; j < 200 && shop_runs[j].at < shop_runs[i].at + 1000; j++)
            within++;
        ck_assert_int_le(within, 20 + 2);
    }
    ck_assert_int_ge(shop_runs[199].at - start, 9800);
    ck_assert_int_le(shop_runs[199].at - start, 10200); /* nor fewer */
    shop_run_count = 0;
    start = now_ms();
    OK(cdtx_retry_put_many(db, "slow", payloads, 5, NULL, NULL, &E));
    put("print", "y", (cdtx_job_options){0}); /* not held up by it */
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(shop_run_count, 6);
    ck_assert_int_ge(shop_runs[5].at - start, 4000);
    ck_assert_int_le(shop_runs[5].at - start, 4100);
    free_shop();
}
END_TEST

enum { RATE = 10 };

/* Holds the one thread for long, which looks for jobs whenever it waits. */
static int32_t toil(cdtx_work *work, void *user, cdtx_error *err) {
    (void)work;
    (void)user;
    cdtx_bytes payloads[3 * RATE];
    for (int i = 0; i < 3 * RATE; i++)
        payloads[i] = (cdtx_bytes){"x", 1};
    int32_t rc = cdtx_retry_put_many(db, "print", payloads, 3 * RATE, NULL, NULL, err);
    for (int i = 0; rc == 0 && i < 3 * RATE; i++) {
        cdtx_test_env_advance(world, 1000 / RATE);
        rc = cdtx_retry_put(db, "nobody", "x", 1, NULL, NULL, err);
    }
    return rc;
}

START_TEST(a_rate_is_of_what_begins) {
    make_shop();
    handle("print", (cdtx_handler_options){.handler = shop_handler, .rate_per_s = RATE});
    handle("toil", (cdtx_handler_options){.handler = toil});
    put("print", "first", (cdtx_job_options){0});
    OK(cdtx_run(engine, 1000, &E));
    put("toil", "x", (cdtx_job_options){0});
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(shop_run_count, 1 + 3 * RATE);
    for (int i = 0; i + RATE + 1 < shop_run_count; i++)
        ck_assert_int_ge(shop_runs[i + RATE + 1].at - shop_runs[i].at, 1000);
    free_shop();
}
END_TEST

/* ---- pauses ---- */

START_TEST(a_paused_handler_begins_nothing) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 1000});
    handle("mail", (cdtx_handler_options){0});
    put("print", "a", (cdtx_job_options){0});
    cdtx_work *late = take_this(0, "a"), *none = NULL;
    OK(cdtx_handler_pause(db, "print", "ann", "no paper", &E));
    put("print", "b", (cdtx_job_options){.priority = 9});
    put("mail", "m", (cdtx_job_options){0});
    settle(take_this(0, "m"), 0);
    OK(cdtx_work_heartbeat(late, &E)); /* what is under way goes on */
    ck_assert_ptr_null(take(900));
    ck_assert_int_eq(states("1"), 21);
    ck_assert_ptr_null(take(200)); /* its lease still ends */
    ck_assert_int_eq(states("1"), 11);
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(late, 0, NULL, &E));
    reopen_shop(); /* a pause is in the file */
    handle("print", (cdtx_handler_options){0});
    ck_assert_ptr_null(none = take(100000));
    OK(cdtx_handler_resume(db, "print", "ann", "paper", &E));
    settle(take_this(0, "b"), 0);
    settle(take_this(0, "a"), 0);
    free_shop();
}
END_TEST

START_TEST(paused_by_another_engine) {
    share_shop(1);
    handle("print", (cdtx_handler_options){.handler = shop_handler});
    OK(cdtx_handler_pause(its, "print", "ann", "no paper", &E));
    put("print", "a", (cdtx_job_options){0});
    OK(cdtx_run(engine, 5000, &E));
    check_runs("");
    OK(cdtx_handler_resume(its, "print", "ann", "paper", &E));
    OK(cdtx_run(engine, 600, &E));
    check_runs("a");
    free_shared_shop();
}
END_TEST

/* ---- damage ---- */

/* Rows with numbers that cannot be counted on: each is left alone, and holds nobody up. */
START_TEST(damaged_rows_hold_nobody_up) {
    make_shop();
    handle("print", (cdtx_handler_options){.lease_ms = 1000});
    put_row("print", "abcd", "k");
    cdtx_work *a = take_this(0, "a");
    ck_assert_ptr_null(take(10));
    lab_sql("shop.db", "UPDATE cdtx_job SET crashes = 9223372036854775807, token = 9223372036854775807 WHERE id = 1;"
                       "UPDATE cdtx_job SET attempts = 9223372036854775807 WHERE id = 2");
    put("print", "x", (cdtx_job_options){0});
    settle(take_this(0, "x"), 0);
    cdtx_work *c = take_this(1100, "c"); /* a is dead, b cannot be begun */
    ck_assert_int_eq(states("1"), 3124);
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle(a, 0, NULL, &E));
    settle(c, 0);
    settle(take_this(10, "d"), 0);
    ck_assert_ptr_null(take(20000));
    ck_assert_int_eq(states("1"), 31);
    uint64_t groups = lab_metrics(engine).groups;
    ck_assert_ptr_null(take(60000));
    ck_assert_uint_le(lab_metrics(engine).groups - groups, 20); /* it is looked at now and then */
    free_shop();
}
END_TEST

START_TEST(damaged_times) {
    make_shop();
    handle("print", (cdtx_handler_options){.dead_retention_ms = 1000});
    for (int i = 0; i < 4; i++)
        put("print", (char[]){(char)('a' + i), '\0'}, (cdtx_job_options){0});
    lab_sql("shop.db", "UPDATE cdtx_job SET due = 9223372036854775807 WHERE id = 1;"
                       "UPDATE cdtx_job SET due = -9223372036854775807 - 1 WHERE id = 2;"
                       "UPDATE cdtx_job SET deadline = -9223372036854775807, put = 9223372036854775807 WHERE id = 3;"
                       "UPDATE cdtx_job SET state = 3, died = 9223372036854775807 WHERE id = 4");
    settle(take_this(0, "b"), 0);
    ck_assert_ptr_null(take(3600000));
    ck_assert_int_eq(states("1"), 13); /* c was dead, and is forgotten */
    free_shop();
}
END_TEST

/* More bytes than a look may hold: they come one by one. */
START_TEST(large_payloads) {
    enum { LARGE = 16 << 20, MANY = 6 };
    OK(cdtx_test_env_new(&world, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world), .payload_max = LARGE});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    handle("print", (cdtx_handler_options){0});
    char *large = calloc(1, LARGE);
    ck_assert_ptr_nonnull(large);
    for (int i = 0; i < MANY; i++)
        OK(cdtx_retry_put(db, "print", large, LARGE, NULL, NULL, &E));
    free(large);
    put("print", "x", (cdtx_job_options){0});
    for (int i = 0; i < MANY; i++) {
        size_t length = 0;
        cdtx_work *work = take(1000);
        ck_assert_ptr_nonnull(work);
        cdtx_work_payload(work, &length);
        ck_assert_uint_eq(length, LARGE);
        settle(work, 0);
    }
    settle(take_this(1000, "x"), 0);
    free_shop();
}
END_TEST

/* Those that follow one another are leased together; whatever stands between them is not. */
START_TEST(what_is_between_the_leased) {
    make_shop();
    for (int i = 0; i < 5; i++) {
        put("print", "a", (cdtx_job_options){0});
        put("print", "b", (cdtx_job_options){.delay_ms = 1000});
        put("other", "c", (cdtx_job_options){0});
        put("print", "d", (cdtx_job_options){.priority = 5});
        put("print", "e", (cdtx_job_options){.deadline_ms = 500});
        put("print", "f", keyed("k"));
    }
    handle("print", (cdtx_handler_options){.handler = shop_handler, .in_local = 1, .key_running_max = 1});
    OK(cdtx_run(engine, 100, &E));
    ck_assert_int_eq(shop_run_count, 20);
    ck_assert_int_eq(jobs("state = 1 AND attempts = 0 AND token = 0 AND payload = x'62'"), 5);
    ck_assert_int_eq(jobs("state = 1 AND attempts = 0 AND token = 0 AND handler = 'other'"), 5);
    ck_assert_int_eq(jobs("1"), 10);
    OK(cdtx_run(engine, 2000, &E));
    ck_assert_int_eq(shop_run_count, 25);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, what_is_between_the_leased);
    tcase_add_test(tcase, one_of_a_key_at_a_time);
    tcase_add_test(tcase, taken_back_among_those_that_wait);
    tcase_add_test(tcase, some_of_a_key_at_a_time);
    tcase_add_test(tcase, lost_leases_give_every_turn_back);
    tcase_add_test(tcase, a_long_row_is_out_of_the_way);
    tcase_add_test(tcase, a_key_outlives_its_process);
    tcase_add_test(tcase, many_leases_of_a_former_life);
    tcase_add_test(tcase, a_pause_holds_up_its_own_only);
    tcase_add_test(tcase, a_pause_gives_a_turn_back);
    tcase_add_test(tcase, a_turn_of_a_handler_that_is_gone);
    tcase_add_test(tcase, a_wall_clock_that_goes_back);
    tcase_add_test(tcase, in_the_order_of_their_numbers);
    tcase_add_test(tcase, order_survives_lost_leases);
    tcase_add_loop_test(tcase, every_key_keeps_its_order, 0, 2);
    tcase_add_test(tcase, running_max_is_for_all_engines);
    tcase_add_test(tcase, room_comes_back_with_every_end);
    tcase_add_test(tcase, a_rate_is_kept);
    tcase_add_test(tcase, a_rate_is_of_what_begins);
    tcase_add_test(tcase, a_paused_handler_begins_nothing);
    tcase_add_test(tcase, paused_by_another_engine);
    tcase_add_test(tcase, damaged_rows_hold_nobody_up);
    tcase_add_test(tcase, damaged_times);
    tcase_add_test(tcase, large_payloads);
}

int main(void) {
    return lab_main("keys", tests);
}
