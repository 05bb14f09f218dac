#include <cdtx/admin.h>

#include "lab.h"

static cdtx *engine;
static cdtx_db *log_db;
static cdtx_test_env *env;
static uint32_t commits, rollbacks, failures;
static char last_gid[CDTX_GID_MAX], last_payload[64];

static int32_t ran(cdtx_work *work, void *user, cdtx_error *err) {
    uint32_t *counter = user;
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    ++*counter;
    snprintf(last_gid, sizeof last_gid, "%s", cdtx_work_gid(work));
    snprintf(last_payload, sizeof last_payload, "%.*s", (int)length, payload);
    if (failures > 0) {
        failures--;
        return cdtx_error_set(err, CDTX_USER, "not now");
    }
    return 0;
}

enum say { SAY_YES, SAY_NO, SAY_LATER };
static enum say try_says, confirm_says, end_says;

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user;
    return try_says == SAY_NO ? cdtx_error_set(err, CDTX_REFUSED, "sold out") : 0;
}

static int32_t on_yes(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    return 0;
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user;
    if (confirm_says == SAY_LATER)
        return cdtx_error_set(err, CDTX_USER, "not now");
    return confirm_says == SAY_NO ? cdtx_error_set(err, CDTX_REFUSED, "cannot") : 0;
}

static int32_t on_end(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user;
    return end_says == SAY_LATER ? cdtx_error_set(err, CDTX_USER, "not now") : 0;
}

static void open_engine(const char *coordinator) {
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env), .coordinator = coordinator, .park_attempts = 5});
    OK(cdtx_db_log(engine, &log_db, &E));
    cdtx_tcc_handlers handlers = {
        .size = sizeof handlers, .on_try = on_try, .on_confirm = on_confirm, .on_cancel = on_end, .on_reverse = on_end};
    OK(cdtx_tcc_add(log_db, "shop", &handlers, &E));
}

static void add_handlers(void) {
    cdtx_handler_options o = {.size = sizeof o, .handler = ran, .user = &commits};
    OK(cdtx_handler_add(log_db, "committed", &o, &E));
    o.user = &rollbacks;
    OK(cdtx_handler_add(log_db, "undone", &o, &E));
}

static void close_engine(void) {
    cdtx_db_close(log_db);
    cdtx_close(engine);
}

static void set_up(const char *coordinator) {
    commits = rollbacks = failures = 0;
    try_says = confirm_says = end_says = SAY_YES;
    OK(cdtx_test_env_new(&env, &E));
    open_engine(coordinator);
    add_handlers();
}

static void tear_down(void) {
    close_engine();
    cdtx_test_env_free(env);
}

static cdtx_tx *new_tx(cdtx_tx_options options) {
    cdtx_tx *tx = NULL;
    options.size = sizeof options;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    return tx;
}

static cdtx_tx *hooked_tx(cdtx_tx_options options) {
    cdtx_tx *tx = new_tx(options);
    OK(cdtx_tx_after_commit(tx, "committed", "mint", 4, NULL, &E));
    OK(cdtx_tx_after_rollback(tx, "undone", "sorry", 5, NULL, &E));
    return tx;
}

static const char *const coordinators[] = {"local", "loopback"};

START_TEST(a_commit_puts_its_hooks_and_no_others) {
    set_up(coordinators[_i]);
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){0});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job"), 1);
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 1);
    ck_assert_uint_eq(rollbacks, 0);
    ck_assert_str_eq(last_gid, cdtx_tx_gid(tx));
    ck_assert_str_eq(last_payload, "mint");
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(a_rollback_puts_the_other_ones) {
    set_up(coordinators[_i]);
    try_says = SAY_NO;
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){0});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    FAILS(CDTX_REFUSED, "sold out", cdtx_tx_run(tx, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 0);
    ck_assert_uint_eq(rollbacks, 1);
    ck_assert_str_eq(last_payload, "sorry");
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(step_by_step_hooks_are_recorded_at_once) {
    set_up(coordinators[_i]);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE hooks IS NULL"), 1);
    OK(cdtx_tx_after_commit(tx, "committed", "one", 3, NULL, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE hooks IS NULL"), 0);
    OK(cdtx_tx_try(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_after_commit(tx, "committed", "two", 3, NULL, &E));
    OK(cdtx_tx_commit(tx, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job"), 2);
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 2);
    FAILS(CDTX_MISUSE, "after_commit", cdtx_tx_after_commit(tx, "committed", "late", 4, NULL, &E));
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(the_hooks_of_one_whose_initiator_died_run) {
    set_up(coordinators[_i]);
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_after_rollback(tx, "undone", "before", 6, NULL, &E));
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_after_rollback(tx, "undone", "behind", 6, NULL, &E));
    OK(cdtx_tx_try(tx, "shop", "x", 1, &E));
    char gid[CDTX_GID_MAX];
    snprintf(gid, sizeof gid, "%s", cdtx_tx_gid(tx));
    close_engine(); /* nobody decides it; the next life finds it */
    cdtx_tx_close(tx);
    open_engine(coordinators[_i]);
    add_handlers();
    OK(cdtx_drain(engine, 60000, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(rollbacks, 2);
    ck_assert_uint_eq(commits, 0);
    ck_assert_str_eq(last_gid, gid);
    tear_down();
}
END_TEST

START_TEST(a_crash_after_the_decision_makes_them_run_later) {
    set_up(coordinators[_i]);
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){0});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    close_engine();
    ck_assert_uint_eq(commits, 0);
    open_engine(coordinators[_i]);
    add_handlers();
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 1);
    tear_down();
}
END_TEST

START_TEST(a_failing_hook_leaves_the_transaction_alone) {
    set_up("local");
    failures = 2;
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){0});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_drain(engine, 1000, &E));
    OK(cdtx_run(engine, 60000, &E));
    ck_assert_uint_eq(commits, 3);
    int32_t state = 0;
    OK(cdtx_tx_query(engine, cdtx_tx_gid(tx), &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTED);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* Under the policy a commit is certain only at its end, and what is taken back is no commit. */
START_TEST(under_the_policy_they_wait_for_the_end) {
    set_up(coordinators[_i]);
    confirm_says = SAY_NO;
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){.reverse_after = 2});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_submit(tx, &E));
    for (int i = 0; i < 20 && lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE state = 2") != 1; i++)
        OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job"), 0);
    cdtx_work *work = NULL;
    while (work == NULL)
        OK(cdtx_take(engine, 60000, &work, &E));
    ck_assert_int_eq(cdtx_work_result(work, &E), CDTX_REFUSED);
    OK(cdtx_settle(work, 0, NULL, &E));
    OK(cdtx_drain(engine, 60000, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 0);
    ck_assert_uint_eq(rollbacks, 1);
    cdtx_tx_close(tx);

    confirm_says = SAY_YES;
    tx = hooked_tx((cdtx_tx_options){.reverse_after = 2});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_drain(engine, 60000, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 1);
    ck_assert_uint_eq(rollbacks, 1);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* Parked, and declared ended by a person: what its outcome activates is put then, unless its decision has put it. */
START_TEST(who_resolves_it_puts_what_is_left) {
    static const struct {
        uint32_t reverse_after;
        enum say tries, confirms, ends;
        uint32_t commits_before, rollbacks_before, commits, rollbacks;
        int32_t outcome;
    } ways[] = {
        {0, SAY_YES, SAY_LATER, SAY_YES, 1, 0, 1, 0, CDTX_TX_COMMITTED},
        {9, SAY_YES, SAY_LATER, SAY_YES, 0, 0, 1, 0, CDTX_TX_COMMITTED},
        {0, SAY_NO, SAY_YES, SAY_LATER, 0, 1, 0, 1, CDTX_TX_ROLLED_BACK},
        {9, SAY_NO, SAY_YES, SAY_LATER, 0, 1, 0, 1, CDTX_TX_ROLLED_BACK},
        {1, SAY_YES, SAY_NO, SAY_LATER, 0, 0, 0, 1, CDTX_TX_REVERSED},
    };
    set_up("local");
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){.reverse_after = ways[_i].reverse_after});
    cdtx_tcc_handlers yes = {
        .size = sizeof yes, .on_try = on_yes, .on_confirm = on_confirm, .on_cancel = on_end, .on_reverse = on_end};
    OK(cdtx_tcc_add(log_db, "other", &yes, &E));
    try_says = ways[_i].tries, confirm_says = ways[_i].confirms, end_says = ways[_i].ends;
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "other", "x", 1, &E));
    (void)cdtx_tx_try(tx, "shop", "x", 1, NULL);
    (void)(try_says == SAY_NO ? cdtx_tx_rollback(tx, NULL) : cdtx_tx_commit(tx, NULL));
    OK(cdtx_run(engine, 120000, &E));
    ck_assert_uint_eq(commits, ways[_i].commits_before);
    ck_assert_uint_eq(rollbacks, ways[_i].rollbacks_before);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE parked IS NOT NULL"), 1);
    OK(cdtx_tx_resolve(engine, cdtx_tx_gid(tx), "ann", "done by hand", &E));
    OK(cdtx_run(engine, 120000, &E));
    int32_t state = 0;
    OK(cdtx_tx_query(engine, cdtx_tx_gid(tx), &state, &E));
    ck_assert_int_eq(state, ways[_i].outcome);
    ck_assert_uint_eq(commits, ways[_i].commits);
    ck_assert_uint_eq(rollbacks, ways[_i].rollbacks);
    ck_assert_str_eq(last_gid, cdtx_tx_gid(tx));
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* The one that decided dies; another one that shares the log ends it, and runs its hooks once. */
START_TEST(another_engine_takes_over) {
    commits = rollbacks = failures = 0;
    try_says = confirm_says = end_says = SAY_YES;
    char url[700];
    cdtx *engines[2];
    cdtx_db *logs[2];
    OK(cdtx_test_env_new(&env, &E));
    snprintf(url, sizeof url, "%s?share=1", lab_url("log.db"));
    for (int i = 0; i < 2; i++) {
        engine = engines[i] = lab_engine((cdtx_options){.env = cdtx_test_env_port(env), .log = url});
        OK(cdtx_db_log(engine, &logs[i], &E));
        cdtx_tcc_handlers h = {
            .size = sizeof h, .on_try = on_try, .on_confirm = on_confirm, .on_cancel = on_end, .on_reverse = on_end};
        OK(cdtx_tcc_add(logs[i], "shop", &h, &E));
        log_db = logs[i];
        add_handlers();
    }
    engine = engines[0];
    int policy = _i & 1, decided = _i & 2;
    confirm_says = SAY_LATER;
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){.reverse_after = policy ? 3 : 0, .timeout_ms = 5000});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "shop", "x", 1, &E));
    char gid[CDTX_GID_MAX];
    snprintf(gid, sizeof gid, "%s", cdtx_tx_gid(tx));
    if (decided)
        (void)cdtx_tx_commit(tx, NULL);
    cdtx_db_close(logs[0]);
    cdtx_close(engines[0]);
    cdtx_tx_close(tx);
    if (policy)
        ck_assert_uint_eq(commits + rollbacks, 0);
    confirm_says = SAY_YES;
    OK(cdtx_run(engines[1], 120000, &E));
    int32_t state = 0;
    OK(cdtx_tx_query(engines[1], gid, &state, &E));
    ck_assert_int_eq(state, decided ? CDTX_TX_COMMITTED : CDTX_TX_ROLLED_BACK);
    ck_assert_uint_eq(commits, decided ? 1 : 0);
    ck_assert_uint_eq(rollbacks, decided ? 0 : 1);
    ck_assert_str_eq(last_gid, gid);
    cdtx_db_close(logs[1]);
    cdtx_close(engines[1]);
    cdtx_test_env_free(env);
}
END_TEST

/* Names with marks that our own keys use, and keys of the host's that look like ours. */
START_TEST(names_and_keys_that_look_like_ours) {
    static const char *const names[] = {"nightly@02:30", "a#1", "x/y/z", "cdtx", "#", "@"};
    set_up("local");
    cdtx_handler_options o = {.size = sizeof o, .handler = ran, .user = &commits};
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    for (int i = 0; i < 6; i++) {
        OK(cdtx_handler_add(log_db, names[i], &o, &E));
        OK(cdtx_tx_after_commit(tx, names[i], names[i], strlen(names[i]), NULL, &E));
    }
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 6);
    ck_assert_str_eq(last_gid, cdtx_tx_gid(tx));
    static const char *const keys[] = {"#", "x#1", "#1", "0123456789abcdef0123456789abcdef-#1", "no-gid-at-all#0"};
    for (int i = 0; i < 5; i++) {
        cdtx_sql *sql = NULL;
        cdtx_job_options job = {.size = sizeof job, .unique_key = keys[i]};
        OK(cdtx_sql_begin(log_db, &sql, &E));
        OK(cdtx_job_put(sql, "@", "x", 1, &job, NULL, &E));
        OK(cdtx_sql_commit(sql, &E));
        cdtx_sql_close(sql);
        OK(cdtx_run(engine, 0, &E));
        ck_assert_uint_eq(commits, 7 + (uint32_t)i);
        ck_assert_str_eq(last_gid, "");
    }
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(who_joins_keeps_the_first_ones_hooks) {
    set_up("local");
    cdtx_tx *tx = hooked_tx((cdtx_tx_options){.key = "order-1"});
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx *again = hooked_tx((cdtx_tx_options){.key = "order-1"});
    OK(cdtx_tx_add(again, "shop", "x", 1, &E));
    OK(cdtx_tx_run(again, &E));
    cdtx_tx *steps = new_tx((cdtx_tx_options){.key = "order-1"});
    OK(cdtx_tx_begin(steps, &E));
    FAILS(CDTX_REFUSED, "joined", cdtx_tx_after_commit(steps, "committed", "", 0, NULL, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 1);
    cdtx_tx_close(tx), cdtx_tx_close(again), cdtx_tx_close(steps);
    tear_down();
}
END_TEST

START_TEST(options_of_a_hook) {
    set_up("local");
    cdtx_job_options o = {.size = sizeof o, .delay_ms = 5000, .priority = 7, .concurrency_key = "chain"};
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_after_commit(tx, "committed", "x", 1, &o, &E));
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_run(engine, 4000, &E));
    ck_assert_uint_eq(commits, 0);
    ck_assert_int_eq(
        lab_sql("log.db", "SELECT count(*) FROM cdtx_job WHERE priority = 7 AND concurrency_key = 'chain'"), 1);
    OK(cdtx_run(engine, 2000, &E));
    ck_assert_uint_eq(commits, 1);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(bad_input) {
    set_up("local");
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    cdtx_job_options o = {.size = sizeof o, .unique_key = "k"};
    FAILS(CDTX_MISUSE, "NULL", cdtx_tx_after_commit(NULL, "committed", "", 0, NULL, &E));
    FAILS(CDTX_INVALID, "handler", cdtx_tx_after_commit(tx, NULL, "", 0, NULL, &E));
    FAILS(CDTX_INVALID, "handler", cdtx_tx_after_rollback(tx, "", "", 0, NULL, &E));
    FAILS(CDTX_INVALID, "cdtx.cron", cdtx_tx_after_commit(tx, "cdtx.cron", "", 0, NULL, &E));
    FAILS(CDTX_INVALID, "unique_key", cdtx_tx_after_commit(tx, "committed", "", 0, &o, &E));
    o = (cdtx_job_options){.size = sizeof o, .at_ms = 1};
    FAILS(CDTX_INVALID, "at_ms", cdtx_tx_after_commit(tx, "committed", "", 0, &o, &E));
    o = (cdtx_job_options){.size = 3};
    FAILS(CDTX_INVALID, "size", cdtx_tx_after_commit(tx, "committed", "", 0, &o, &E));
    static char large[CDTX_PAYLOAD_DEFAULT + 1];
    FAILS(CDTX_LIMIT, "payload", cdtx_tx_after_commit(tx, "committed", large, sizeof large, NULL, &E));
    for (int i = 0; i < 16; i++)
        OK(cdtx_tx_after_commit(tx, "committed", "", 0, NULL, &E));
    FAILS(CDTX_LIMIT, "16 hooks", cdtx_tx_after_commit(tx, "committed", "", 0, NULL, &E));
    OK(cdtx_tx_add(tx, "shop", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    FAILS(CDTX_MISUSE, "cdtx_tx_after_rollback", cdtx_tx_after_rollback(tx, "undone", "", 0, NULL, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 16);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* What cannot be read must not keep the transaction from its decision. */
START_TEST(a_garbled_record_stops_nothing) {
    set_up("local");
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_after_commit(tx, "committed", "x", 1, NULL, &E));
    lab_sql("log.db", "UPDATE cdtx_tx SET hooks = x'0101ff'");
    OK(cdtx_tx_commit(tx, &E));
    OK(cdtx_run(engine, 0, &E));
    ck_assert_uint_eq(commits, 0);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_loop_test(tcase, a_commit_puts_its_hooks_and_no_others, 0, 2);
    tcase_add_loop_test(tcase, a_rollback_puts_the_other_ones, 0, 2);
    tcase_add_loop_test(tcase, step_by_step_hooks_are_recorded_at_once, 0, 2);
    tcase_add_loop_test(tcase, the_hooks_of_one_whose_initiator_died_run, 0, 2);
    tcase_add_loop_test(tcase, a_crash_after_the_decision_makes_them_run_later, 0, 2);
    tcase_add_test(tcase, a_failing_hook_leaves_the_transaction_alone);
    tcase_add_loop_test(tcase, under_the_policy_they_wait_for_the_end, 0, 2);
    tcase_add_loop_test(tcase, who_resolves_it_puts_what_is_left, 0, 5);
    tcase_add_loop_test(tcase, another_engine_takes_over, 0, 4);
    tcase_add_test(tcase, names_and_keys_that_look_like_ours);
    tcase_add_test(tcase, who_joins_keeps_the_first_ones_hooks);
    tcase_add_test(tcase, options_of_a_hook);
    tcase_add_test(tcase, bad_input);
    tcase_add_test(tcase, a_garbled_record_stops_nothing);
}

int main(void) {
    return lab_main("engine-hooks", tests);
}
