#include <cdtx/admin.h>
#include <cdtx/retry.h>

#include "../engine/lab.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE };

static cdtx *engine;
static cdtx_db *db;
static cdtx_test_env *env;
static uint32_t runs;
static int64_t slots[2000];

static int32_t run(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    (void)user, (void)err;
    ck_assert_uint_eq(length, 4);
    ck_assert_mem_eq(payload, "bill", 4);
    slots[runs++ % 2000] = cdtx_cron_slot_ms(work);
    return 0;
}

static int64_t wall_ms(void) {
    const cdtx_env *port = cdtx_test_env_port(env);
    return port->wall_us(port->user) / 1000;
}

static void open_engine(void) {
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env)});
    OK(cdtx_db_log(engine, &db, &E));
    cdtx_handler_options o = {.size = sizeof o, .handler = run};
    OK(cdtx_handler_add(db, "bills", &o, &E));
}

static void close_engine(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

/* The wall clock stands at a full hour. */
static void set_up(void) {
    runs = 0;
    OK(cdtx_test_env_new(&env, &E));
    cdtx_test_env_step_wall(env, HOUR - wall_ms() % HOUR);
    open_engine();
}

static void tear_down(void) {
    close_engine();
    cdtx_test_env_free(env);
}

static cdtx_cron_options every(const char *when) {
    return (cdtx_cron_options){
        .size = sizeof(cdtx_cron_options), .when = when, .handler = "bills", .payload = "bill", .length = 4};
}

static void add(const char *when) {
    cdtx_cron_options o = every(when);
    OK(cdtx_cron_add(db, "night", &o, &E));
}

START_TEST(each_slot_puts_one_job) {
    set_up();
    int64_t start = wall_ms();
    add("*/15 * * * *");
    OK(cdtx_run(engine, 2 * HOUR + 1000, &E));
    ck_assert_uint_eq(runs, 8);
    for (uint32_t i = 0; i < runs; i++)
        ck_assert_int_eq(slots[i], start + (i + 1) * 15 * MINUTE);
    tear_down();
}
END_TEST

START_TEST(the_same_again_changes_nothing_and_another_begins_anew) {
    set_up();
    add("*/15 * * * *");
    OK(cdtx_run(engine, 20 * MINUTE, &E));
    add("*/15 * * * *");
    OK(cdtx_run(engine, 5 * MINUTE, &E));
    ck_assert_uint_eq(runs, 1);
    add("*/20 * * * *");
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job"), 1);
    OK(cdtx_run(engine, 30 * MINUTE, &E)); /* 25 to 55 past */
    ck_assert_uint_eq(runs, 2);
    OK(cdtx_cron_remove(db, "night", &E));
    OK(cdtx_run(engine, 3 * HOUR, &E));
    ck_assert_uint_eq(runs, 2);
    FAILS(CDTX_NOT_FOUND, "night", cdtx_cron_remove(db, "night", &E));
    tear_down();
}
END_TEST

static cdtx_env slow;
static int early_reads;

/* Whoever reads it first comes to write much later. */
static int64_t slow_wall_us(void *user) {
    const cdtx_env *port = cdtx_test_env_port(env);
    (void)user;
    return port->wall_us(port->user) - (early_reads-- > 0 ? MINUTE * (int64_t)1000 : 0);
}

START_TEST(a_slot_that_is_fired_while_another_text_waits_for_its_turn_is_not_fired_again) {
    set_up();
    close_engine();
    early_reads = 0;
    slow = *cdtx_test_env_port(env);
    slow.wall_us = slow_wall_us;
    engine = lab_engine((cdtx_options){.env = &slow});
    OK(cdtx_db_log(engine, &db, &E));
    cdtx_handler_options o = {.size = sizeof o, .handler = run};
    OK(cdtx_handler_add(db, "bills", &o, &E));
    add("*/15 * * * *");
    OK(cdtx_run(engine, 15 * MINUTE + 1000, &E));
    ck_assert_uint_eq(runs, 1);
    early_reads = 2; /* as often as it looks before its turn */
    add("*/5 * * * *");
    OK(cdtx_run(engine, MINUTE, &E));
    ck_assert_uint_eq(runs, 1);
    OK(cdtx_run(engine, 5 * MINUTE, &E));
    ck_assert_uint_eq(runs, 2);
    tear_down();
}
END_TEST

static void be_away_for(int64_t ms) {
    close_engine();
    cdtx_test_env_advance(env, ms);
    open_engine();
}

static const struct {
    int32_t catch_up;
    uint32_t most, want;
    int64_t first_back; /* minutes before now of the first that is caught up */
} caught[] = {{CDTX_CATCH_UP_SKIP, 0, 2, 1},
              {CDTX_CATCH_UP_ONCE, 0, 1, 0},
              {CDTX_CATCH_UP_ALL, 0, 60, 59},
              {CDTX_CATCH_UP_ALL, 7, 7, 6}};

/* Somebody cancelled it, as any job. */
START_TEST(a_tick_that_is_missing_is_put_again) {
    set_up();
    cdtx_cron_options o = every("*/15 * * * *");
    o.catch_up = CDTX_CATCH_UP_ALL;
    OK(cdtx_cron_add(db, "night", &o, &E));
    int64_t tick = lab_sql("log.db", "SELECT id FROM cdtx_job WHERE handler = 'cdtx.cron'");
    OK(cdtx_job_cancel(db, tick, "ann", "a slip", &E));
    OK(cdtx_run(engine, 40 * MINUTE, &E));
    ck_assert_uint_eq(runs, 0);
    OK(cdtx_cron_add(db, "night", &o, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(runs, 2);
    OK(cdtx_run(engine, 10 * MINUTE, &E));
    ck_assert_uint_eq(runs, 3);
    tear_down();
}
END_TEST

/* A lease's end is on another clock than slots are. */
START_TEST(while_it_fires_a_schedule_has_no_next_slot) {
    set_up();
    add("*/15 * * * *");
    lab_sql("log.db", "UPDATE cdtx_job SET state = 2 WHERE handler = 'cdtx.cron'");
    cdtx_report *report = NULL;
    OK(cdtx_cron_list(db, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_int_eq(cdtx_report_type(report, 5), CDTX_NULL);
    cdtx_report_close(report);
    tear_down();
}
END_TEST

START_TEST(slots_that_passed_are_caught_up_with) {
    set_up();
    cdtx_cron_options o = every("* * * * *");
    o.catch_up = caught[_i].catch_up;
    o.catch_up_max = caught[_i].most;
    OK(cdtx_cron_add(db, "night", &o, &E));
    be_away_for(HOUR);
    int64_t now = wall_ms();
    OK(cdtx_cron_add(db, "night", &o, &E));
    OK(cdtx_run(engine, 1000, &E));
    ck_assert_uint_eq(runs, caught[_i].want);
    ck_assert_int_eq(slots[0], now - caught[_i].first_back * MINUTE);
    OK(cdtx_run(engine, 5 * MINUTE, &E));
    ck_assert_uint_eq(runs, caught[_i].want + 5);
    tear_down();
}
END_TEST

START_TEST(a_long_absence_is_passed_in_steps) {
    set_up();
    cdtx_cron_options o = every("* * * * *");
    o.catch_up = CDTX_CATCH_UP_ONCE;
    OK(cdtx_cron_add(db, "night", &o, &E));
    be_away_for(120 * 24 * (int64_t)HOUR);
    int64_t now = wall_ms();
    OK(cdtx_cron_add(db, "night", &o, &E));
    OK(cdtx_run(engine, 5000, &E));
    ck_assert_uint_eq(runs, 1);
    ck_assert_int_eq(slots[0], now);
    tear_down();
}
END_TEST

START_TEST(clocks_that_jump_fire_nothing_twice) {
    set_up();
    add("*/15 * * * *");
    OK(cdtx_run(engine, 16 * MINUTE, &E));
    ck_assert_uint_eq(runs, 1);
    cdtx_test_env_step_wall(env, -5 * MINUTE);
    OK(cdtx_run(engine, 10 * MINUTE, &E)); /* 11 to 21 past, once more */
    ck_assert_uint_eq(runs, 1);
    OK(cdtx_run(engine, 10 * MINUTE, &E));
    ck_assert_uint_eq(runs, 2);
    tear_down();
}
END_TEST

START_TEST(two_processes_fire_a_slot_once) {
    set_up();
    close_engine();
    cdtx_db *dbs[2];
    cdtx *engines[2];
    cdtx_cron_options o = every("* * * * *");
    for (int i = 0; i < 2; i++) {
        engines[i] = lab_engine(
            (cdtx_options){.env = cdtx_test_env_port(env), .log = i == 0 ? lab_url("a.db") : lab_url("b.db")});
        OK(cdtx_db_open(engines[i], "shared", lab_url("shared.db?share=1"), &dbs[i], &E));
        cdtx_handler_options h = {.size = sizeof h, .handler = run};
        OK(cdtx_handler_add(dbs[i], "bills", &h, &E));
        OK(cdtx_cron_add(dbs[i], "night", &o, &E));
    }
    for (int i = 0; i < 20; i++)
        OK(cdtx_run(engines[i % 2], MINUTE / 2, &E));
    ck_assert_uint_ge(runs, 9);
    ck_assert_uint_le(runs, 10);
    for (uint32_t i = 1; i < runs; i++)
        ck_assert_int_eq(slots[i], slots[i - 1] + MINUTE);
    for (int i = 0; i < 2; i++)
        cdtx_db_close(dbs[i]), cdtx_close(engines[i]);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(next_and_list) {
    set_up();
    int64_t slot = 0;
    OK(cdtx_cron_next(engine, "30 2 * * *", NULL, 0, &slot, &E));
    ck_assert_int_eq(slot, 2 * HOUR + 30 * MINUTE);
    add("@daily");
    cdtx_report *report = NULL;
    OK(cdtx_cron_list(db, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), "night");
    ck_assert_str_eq(cdtx_report_text(report, 1, NULL), "@daily");
    ck_assert_str_eq(cdtx_report_text(report, 2, NULL), "UTC");
    ck_assert_str_eq(cdtx_report_text(report, 4, NULL), "skip");
    ck_assert_int_eq(cdtx_report_int(report, 5) % (24 * HOUR), 0);
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    tear_down();
}
END_TEST

START_TEST(bad_input) {
    set_up();
    cdtx_cron_options o = every("30 25 * * *");
    FAILS(CDTX_INVALID, "hour", cdtx_cron_add(db, "night", &o, &E));
    o = every(NULL);
    FAILS(CDTX_INVALID, "NULL", cdtx_cron_add(db, "night", &o, &E));
    o = every("@daily");
    FAILS(CDTX_INVALID, "name", cdtx_cron_add(db, NULL, &o, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_cron_add(NULL, "night", &o, &E));
    o.zone = "Atlantis/Poseidonis";
    FAILS(CDTX_NOT_FOUND, "Atlantis", cdtx_cron_add(db, "night", &o, &E));
    o = every("@daily"), o.catch_up = 3;
    FAILS(CDTX_INVALID, "catch_up 3", cdtx_cron_add(db, "night", &o, &E));
    o = every("@daily"), o.catch_up_max = 1001;
    FAILS(CDTX_INVALID, "1000", cdtx_cron_add(db, "night", &o, &E));
    o = every("@daily"), o.handler = "cdtx.cron";
    FAILS(CDTX_INVALID, "own", cdtx_cron_add(db, "night", &o, &E));
    o = every("@daily"), o.handler = NULL;
    FAILS(CDTX_INVALID, "handler", cdtx_cron_add(db, "night", &o, &E));
    int64_t slot = 0;
    FAILS(CDTX_INVALID, "day-of-month", cdtx_cron_next(engine, "0 0 32 * *", NULL, 0, &slot, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_cron_next(engine, "@daily", NULL, 0, NULL, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_cron"), 0);
    tear_down();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, each_slot_puts_one_job);
    tcase_add_test(tcase, the_same_again_changes_nothing_and_another_begins_anew);
    tcase_add_test(tcase, a_slot_that_is_fired_while_another_text_waits_for_its_turn_is_not_fired_again);
    tcase_add_test(tcase, a_tick_that_is_missing_is_put_again);
    tcase_add_test(tcase, while_it_fires_a_schedule_has_no_next_slot);
    tcase_add_loop_test(tcase, slots_that_passed_are_caught_up_with, 0, 4);
    tcase_add_test(tcase, a_long_absence_is_passed_in_steps);
    tcase_add_test(tcase, clocks_that_jump_fire_nothing_twice);
    tcase_add_test(tcase, two_processes_fire_a_slot_once);
    tcase_add_test(tcase, next_and_list);
    tcase_add_test(tcase, bad_input);
}

int main(void) {
    return lab_main("pattern-schedule", tests);
}
