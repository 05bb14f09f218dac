/* Jobs that are put, taken and settled by the many-calls. */
#include "job_lab.h"

struct puts {
    cdtx_bytes *payloads;
    uint32_t count;
    cdtx_job_options *options;
    int64_t first;
};

static int32_t put_several(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct puts *puts = user;
    return cdtx_job_put_many(sql, "pull", puts->payloads, puts->count, puts->options, &puts->first, err);
}

START_TEST(many_at_once) {
    enum { MANY = 300 };
    cdtx_bytes payloads[MANY];
    cdtx_work *works[MANY + 1];
    int32_t codes[MANY], results[MANY];
    uint32_t count = 0;
    int64_t sum = 0;
    make_shop();
    handle("pull", (cdtx_handler_options){.lease_ms = 1000, .backoff_min_ms = 5000});
    for (int i = 0; i < MANY; i++)
        payloads[i] = (cdtx_bytes){i % 2 ? "odd" : "even", i % 2 ? 3 : 4};
    struct puts puts = {.payloads = payloads, .count = MANY};
    OK(cdtx_local(db, put_several, &puts, &E));
    OK(cdtx_take_many(engine, 100, works, MANY + 1, &count, &E));
    ck_assert_uint_eq(count, MANY);
    for (uint32_t i = 0; i < count; i++) {
        size_t length = 0;
        sum += cdtx_work_id(works[i]) - puts.first;
        cdtx_work_payload(works[i], &length);
        codes[i] = length == 3 ? 0 : CDTX_REFUSED;
    }
    ck_assert_int_eq(sum, MANY * (MANY - 1) / 2); /* each once, without a gap */
    uint64_t groups = lab_metrics(engine).groups;
    OK(cdtx_settle_many(works, codes, "even", count, results, &E));
    ck_assert_uint_le(lab_metrics(engine).groups - groups, 2);
    ck_assert_int_eq(results[0] | results[MANY - 1], 0);
    ck_assert_int_eq(jobs("state = 3 AND error = 'even'"), MANY / 2);
    ck_assert_int_eq(jobs("1"), MANY / 2);
    OK(cdtx_take_many(engine, 10, works, 2, &count, &E));
    ck_assert_uint_eq(count, 0);
    free_shop();
}
END_TEST

START_TEST(of_many_each_has_its_own_answer) {
    cdtx_bytes payloads[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    cdtx_work *works[4], *again = NULL;
    int32_t results[3];
    uint32_t count = 0;
    make_shop();
    handle("pull", (cdtx_handler_options){.lease_ms = 1000});
    struct puts puts = {.payloads = payloads, .count = 3};
    OK(cdtx_local(db, put_several, &puts, &E));
    OK(cdtx_take_many(engine, 100, works, 1, &count, &E)); /* no more than asked for */
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(jobs("state = 2"), 1);
    cdtx_test_env_advance(world, 2000);
    OK(cdtx_take_many(engine, 100, works + 1, 2, &count, &E));
    ck_assert_uint_eq(count, 2);
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle_many(works, NULL, NULL, 3, results, &E)); /* the first came too late */
    ck_assert_int_eq(results[0], CDTX_CONFLICT);
    ck_assert_int_eq(results[1] | results[2], 0);
    ck_assert_int_eq(jobs("1"), 1);
    OK(cdtx_run(engine, 2000, &E));
    OK(cdtx_take(engine, 5000, &again, &E));
    ck_assert_ptr_nonnull(again);
    OK(cdtx_settle_many(&again, NULL, NULL, 1, NULL, &E));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(many_calls_are_checked) {
    cdtx_bytes payloads[] = {{"a", 1}, {NULL, 1}};
    cdtx_job_options options = {.size = sizeof options, .unique_key = "k"};
    cdtx_work *works[2] = {NULL, NULL};
    uint32_t count = 7;
    make_shop();
    handle("pull", (cdtx_handler_options){0});
    struct puts puts = {.payloads = payloads, .count = 0};
    FAILS(CDTX_INVALID, "from 1", cdtx_local(db, put_several, &puts, &E));
    puts.count = CDTX_MANY_MAX + 1;
    FAILS(CDTX_INVALID, "4096", cdtx_local(db, put_several, &puts, &E));
    puts.count = 2;
    FAILS(CDTX_INVALID, "NULL", cdtx_local(db, put_several, &puts, &E));
    puts.options = &options;
    FAILS(CDTX_INVALID, "unique key", cdtx_local(db, put_several, &puts, &E));
    puts.payloads = NULL;
    FAILS(CDTX_INVALID, "payloads", cdtx_local(db, put_several, &puts, &E));
    ck_assert_int_eq(jobs("1"), 0);
    FAILS(CDTX_INVALID, "from 1", cdtx_take_many(engine, 0, works, 0, &count, &E));
    FAILS(CDTX_INVALID, "from 1", cdtx_take_many(engine, 0, works, CDTX_MANY_MAX + 1, &count, &E));
    FAILS(CDTX_INVALID, "place", cdtx_take_many(engine, 0, NULL, 1, &count, &E));
    FAILS(CDTX_INVALID, "place", cdtx_take_many(engine, 0, works, 1, NULL, &E));
    ck_assert_uint_eq(count, 7);
    FAILS(CDTX_INVALID, "at most", cdtx_settle_many(works, NULL, NULL, CDTX_MANY_MAX + 1, NULL, &E));
    FAILS(CDTX_INVALID, "at most", cdtx_settle_many(NULL, NULL, NULL, 1, NULL, &E));
    FAILS(CDTX_MISUSE, "work 0 of 2 is NULL", cdtx_settle_many(works, NULL, NULL, 2, NULL, &E));
    OK(cdtx_settle_many(NULL, NULL, NULL, 0, NULL, &E));
    free_shop();
}
END_TEST

/* ---- ends that ride as one ---- */

static void put_each(const char *const *handlers, int count) {
    for (int i = 0; i < count; i++)
        put(handlers[i], "x", (cdtx_job_options){0});
}

static uint32_t take_many(cdtx_work **works, uint32_t most) {
    uint32_t count = 0;
    OK(cdtx_take_many(engine, 100, works, most, &count, &E));
    return count;
}

START_TEST(ends_of_one_claim_are_one_ride) {
    enum { MANY = 300 };
    static cdtx_work *works[MANY];
    cdtx_bytes payloads[MANY];
    make_shop();
    handle("pull", (cdtx_handler_options){0});
    for (int i = 0; i < MANY; i++)
        payloads[i] = (cdtx_bytes){"x", 1};
    OK(cdtx_retry_put_many(db, "pull", payloads, MANY, NULL, NULL, &E));
    ck_assert_uint_eq(take_many(works, MANY), MANY);
    uint64_t riders = lab_metrics(engine).riders;
    OK(cdtx_settle_many(works, NULL, NULL, MANY, NULL, &E));
    ck_assert_uint_le(lab_metrics(engine).riders - riders, 2);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* Their numbers alternate with those of another handler, which has the same token. */
START_TEST(ends_leave_jobs_of_others_between_them_alone) {
    cdtx_work *works[6], *pulled[3], *others[3];
    int32_t results[3];
    uint32_t pulls = 0, other = 0;
    make_shop();
    handle("pull", (cdtx_handler_options){0});
    handle("other", (cdtx_handler_options){0});
    put_each((const char *[]){"pull", "other", "pull", "other", "pull", "other"}, 6);
    ck_assert_uint_eq(take_many(works, 6), 6);
    for (int i = 0; i < 6; i++)
        *(cdtx_work_handler(works[i])[0] == 'p' ? &pulled[pulls++] : &others[other++]) = works[i];
    uint64_t riders = lab_metrics(engine).riders;
    OK(cdtx_settle_many(pulled, NULL, NULL, 3, results, &E));
    ck_assert_uint_le(lab_metrics(engine).riders - riders, 2);
    ck_assert_int_eq(states("1"), 222);
    ck_assert_int_eq(jobs("handler = 'other'"), 3);
    OK(cdtx_settle_many(others, NULL, NULL, 3, results, &E));
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* One of its own handler, which was not due when those around it were claimed, and has their token. */
START_TEST(ends_leave_a_latecomer_between_them_alone) {
    cdtx_work *works[2];
    int32_t results[2];
    make_shop();
    handle("pull", (cdtx_handler_options){.lease_ms = 1000});
    put("pull", "a", (cdtx_job_options){0});
    int64_t late = put("pull", "b", (cdtx_job_options){.delay_ms = 500});
    put("pull", "c", (cdtx_job_options){0});
    ck_assert_uint_eq(take_many(works, 2), 2);
    cdtx_test_env_advance(world, 600);
    OK(cdtx_run(engine, 0, &E));
    cdtx_work *latecomer = take_this(100, "b");
    OK(cdtx_settle_many(works, NULL, NULL, 2, results, &E));
    ck_assert_int_eq(jobs("1"), 1);
    ck_assert_int_eq(job_value(late, "state"), 2);
    settle(latecomer, 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

/* The lost one and the latecomer make up for one another in number. */
START_TEST(of_ends_that_ride_as_one_each_has_its_own_answer) {
    cdtx_work *works[2];
    int32_t results[2];
    make_shop();
    handle("pull", (cdtx_handler_options){.lease_ms = 1000, .attempts_max = 9});
    put("pull", "a", (cdtx_job_options){0});
    int64_t late = put("pull", "b", (cdtx_job_options){.delay_ms = 900});
    put("pull", "c", (cdtx_job_options){0});
    ck_assert_uint_eq(take_many(works, 2), 2);
    cdtx_test_env_advance(world, 950);
    OK(cdtx_work_heartbeat(works[0], &E));
    cdtx_work *latecomer = take_this(100, "b");
    cdtx_test_env_advance(world, 100);
    OK(cdtx_run(engine, 0, &E));
    FAILS(CDTX_CONFLICT, "lease", cdtx_settle_many(works, NULL, NULL, 2, results, &E));
    ck_assert_int_eq(results[0], 0);
    ck_assert_int_eq(results[1], CDTX_CONFLICT);
    ck_assert_int_eq(job_value(late, "state"), 2);
    settle(latecomer, 0);
    settle(take_this(5000, "c"), 0);
    ck_assert_int_eq(jobs("1"), 0);
    free_shop();
}
END_TEST

START_TEST(a_row_that_cannot_be_deleted_holds_up_itself) {
    cdtx_work *works[3];
    int32_t results[3];
    make_shop();
    handle("pull", (cdtx_handler_options){0});
    put_each((const char *[]){"pull", "pull", "pull"}, 3);
    lab_sql("shop.db", "CREATE TRIGGER stays BEFORE DELETE ON cdtx_job WHEN old.id = 2"
                       " BEGIN SELECT RAISE(ABORT, 'it is nailed down'); END");
    ck_assert_uint_eq(take_many(works, 3), 3);
    FAILS(CDTX_SQL, "nailed down", cdtx_settle_many(works, NULL, NULL, 3, results, &E));
    ck_assert_int_eq(results[0] | results[2], 0);
    ck_assert_int_eq(results[1], CDTX_SQL);
    ck_assert_int_eq(jobs("1"), 1);
    free_shop();
}
END_TEST

/* Somebody's transaction outlives the patience of those who settle: nothing is written, all are told. */
START_TEST(ends_that_come_to_no_turn_are_busy) {
    cdtx_work *works[3];
    int32_t results[3];
    cdtx_sql *sql = NULL;
    OK(cdtx_test_env_new(&world, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world), .wait_ms = 50});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    handle("pull", (cdtx_handler_options){.lease_ms = 60000});
    put_each((const char *[]){"pull", "pull", "pull"}, 3);
    ck_assert_uint_eq(take_many(works, 3), 3);
    OK(cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_BUSY, "held by another", cdtx_settle_many(works, NULL, NULL, 3, results, &E));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(results[i], CDTX_BUSY);
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    ck_assert_int_eq(states("1"), 222);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, many_at_once);
    tcase_add_test(tcase, of_many_each_has_its_own_answer);
    tcase_add_test(tcase, many_calls_are_checked);
    tcase_add_test(tcase, ends_of_one_claim_are_one_ride);
    tcase_add_test(tcase, ends_leave_jobs_of_others_between_them_alone);
    tcase_add_test(tcase, ends_leave_a_latecomer_between_them_alone);
    tcase_add_test(tcase, of_ends_that_ride_as_one_each_has_its_own_answer);
    tcase_add_test(tcase, a_row_that_cannot_be_deleted_holds_up_itself);
    tcase_add_test(tcase, ends_that_come_to_no_turn_are_busy);
}

int main(void) {
    return lab_main("many", tests);
}
