/* What a global transaction may become besides committed and rolled back: taken back by its policy, parked, ended by a
 * time-out that says which, forgotten. Over both coordinators, in virtual time. */
#include "lab.h"

static const char *const kinds[] = {"local", "loopback"};
enum { KINDS = 2 };

static cdtx_test_env *world;
static cdtx_test_link *courier;
static cdtx *engine;
static int noes;       /* definite ones that confirms of stock still have to say */
static int failures;   /* and other failures */
static int reversible; /* stock has on_reverse */
static char alarms[2048];

/* ---- two participants that note what they did ---- */

static int32_t note(cdtx_sql *sql, cdtx_tcc_call *call, const char *op, cdtx_error *err) {
    cdtx_sql_bind_text(sql, cdtx_tcc_gid(call), strlen(cdtx_tcc_gid(call)));
    cdtx_sql_bind_text(sql, op, strlen(op));
    return cdtx_sql_exec(sql, "INSERT INTO effect VALUES (?, ?)", NULL, err);
}

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return note(sql, call, "try", err);
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    int32_t rc = note(sql, call, "confirm", err);
    if (rc != 0 || strcmp(user, "stock") != 0)
        return rc;
    if (noes > 0) {
        noes--;
        return cdtx_error_set(err, CDTX_REFUSED, "the shelf has burnt");
    }
    if (failures > 0) {
        failures--;
        return cdtx_error_set(err, CDTX_USER, "the printer is jammed");
    }
    return 0;
}

static int32_t on_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return note(sql, call, "cancel", err);
}

static int32_t on_reverse(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return note(sql, call, "reverse", err);
}

static void add_participant(const char *name) {
    cdtx_db *db = NULL;
    char file[32];
    cdtx_tcc_handlers handlers = {.size = sizeof handlers,
                                  .on_try = on_try,
                                  .on_confirm = on_confirm,
                                  .on_cancel = on_cancel,
                                  .on_reverse = strcmp(name, "stock") != 0 || reversible ? on_reverse : NULL,
                                  .user = (void *)(uintptr_t)name};
    snprintf(file, sizeof file, "%s.db", name);
    OK(cdtx_db_open(engine, name, lab_url(file), &db, &E));
    lab_exec(db, "CREATE TABLE IF NOT EXISTS effect (gid TEXT, op TEXT)");
    OK(cdtx_tcc_add(db, name, &handlers, &E));
    cdtx_db_close(db);
}

static void open_shop(int kind, cdtx_options options) {
    options.env = cdtx_test_env_port(world);
    options.link = cdtx_test_link_port(courier);
    options.coordinator = kinds[kind];
    engine = lab_engine(options);
    add_participant("order");
    add_participant("stock");
}

static void make_shop(int kind, cdtx_options options) {
    noes = failures = 0;
    reversible = 1;
    OK(cdtx_test_env_new(&world, &E));
    OK(cdtx_test_link_new(&courier, &E));
    open_shop(kind, options);
}

static void free_shop(void) {
    cdtx_close(engine);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_link_free(courier);
    cdtx_test_env_free(world);
}

static int64_t effects(const char *participant, const char *op) {
    char file[32], query[128];
    snprintf(file, sizeof file, "%s.db", participant);
    snprintf(query, sizeof query, "SELECT count(*) FROM effect WHERE op = '%s'", op);
    return lab_sql(file, query);
}

/* What ever took effect, as digits for try, confirm, cancel and reverse. */
static void effects_are(const char *order, const char *stock) {
    const char *const want[] = {order, stock}, *const names[] = {"order", "stock"};
    for (int i = 0; i < 2; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d%d%d%d", (int)effects(names[i], "try"), (int)effects(names[i], "confirm"),
                 (int)effects(names[i], "cancel"), (int)effects(names[i], "reverse"));
        ck_assert_msg(strcmp(text, want[i]) == 0, "%s: %s, not %s", names[i], text, want[i]);
    }
}

static cdtx_tx *new_tx(cdtx_tx_options options) {
    cdtx_tx *tx = NULL;
    options.size = sizeof options;
    OK(cdtx_tx_new(engine, &options, &tx, &E));
    OK(cdtx_tx_add(tx, "order", "1", 1, &E));
    OK(cdtx_tx_add(tx, "stock", "1", 1, &E));
    return tx;
}

static void drain(void) {
    OK(cdtx_drain(engine, 600000, &E));
}

static int32_t state_of(const char *gid) {
    int32_t state = 0;
    OK(cdtx_tx_query(engine, gid, &state, &E));
    return state;
}

/* ---- the policy ---- */

START_TEST(definite_noes_take_it_back) {
    make_shop(_i, (cdtx_options){0});
    noes = 100;
    cdtx_tx *tx = new_tx((cdtx_tx_options){.reverse_after = 2});
    FAILS(CDTX_REFUSED, "the shelf has burnt", cdtx_tx_run(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_REVERSED);
    effects_are("1101", "1010"); /* what was confirmed is reversed, what was only tried is cancelled */
    ck_assert_int_eq(noes, 98);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT state FROM cdtx_guard"), 6);
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(fewer_noes_still_commit) {
    make_shop(_i, (cdtx_options){0});
    noes = 2;
    failures = 3; /* no definite noes: they do not count */
    cdtx_tx *tx = new_tx((cdtx_tx_options){.reverse_after = 3, .timeout_ms = 60000});
    OK(cdtx_tx_run(tx, &E));
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED); /* answered only at the end */
    effects_are("1100", "1100");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(the_default_keeps_confirming) {
    make_shop(_i, (cdtx_options){0});
    noes = 8;
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_run(tx, &E));
    drain();
    ck_assert_int_eq(noes, 0);
    effects_are("1100", "1100");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(who_cannot_be_reversed_is_not_tried) {
    make_shop(_i, (cdtx_options){0});
    cdtx_close(engine);
    reversible = 0;
    open_shop(_i, (cdtx_options){0});
    cdtx_tx *tx = new_tx((cdtx_tx_options){.reverse_after = 1});
    FAILS(CDTX_UNSUPPORTED, "on_reverse", cdtx_tx_run(tx, &E));
    drain();
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_ROLLED_BACK);
    effects_are("1010", "0000");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(a_submitted_one_completes_at_the_end) {
    make_shop(_i, (cdtx_options){0});
    cdtx_work *work = NULL;
    noes = 1;
    cdtx_tx *tx = new_tx((cdtx_tx_options){.reverse_after = 1, .tag = 7});
    OK(cdtx_tx_submit(tx, &E));
    OK(cdtx_take(engine, 20000, &work, &E));
    ck_assert_ptr_nonnull(work);
    ck_assert_uint_eq(cdtx_work_tag(work), 7);
    FAILS(CDTX_REFUSED, "taken back", cdtx_work_result(work, &E));
    ck_assert_int_eq(state_of(cdtx_work_gid(work)), CDTX_TX_REVERSED);
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(the_policy_outlives_its_engine) {
    make_shop(_i, (cdtx_options){0});
    char gid[CDTX_GID_MAX];
    failures = 1;
    cdtx_tx *tx = new_tx((cdtx_tx_options){.reverse_after = 2, .key = "order-1"});
    OK(cdtx_tx_submit(tx, &E));
    for (int i = 0; i < 50 && failures > 0; i++)
        OK(cdtx_run(engine, 1, &E));
    snprintf(gid, sizeof gid, "%s", cdtx_tx_gid(tx));
    cdtx_tx_close(tx);
    cdtx_close(engine);
    noes = 2;
    open_shop(_i, (cdtx_options){0});
    tx = new_tx((cdtx_tx_options){.key = "order-1"});
    FAILS(CDTX_REFUSED, "taken back", cdtx_tx_run(tx, &E)); /* joined: waits for the end, as its policy says */
    ck_assert_str_eq(cdtx_tx_gid(tx), gid);
    drain();
    ck_assert_int_eq(state_of(gid), CDTX_TX_REVERSED);
    effects_are("1101", "1010");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(the_policy_needs_the_end) {
    make_shop(_i, (cdtx_options){0});
    cdtx_tx *tx = NULL;
    cdtx_tx_options options = {.size = sizeof options, .reverse_after = 1, .wait_for = CDTX_WAIT_DECIDED};
    FAILS(CDTX_INVALID, "wait_for", cdtx_tx_new(engine, &options, &tx, &E));
    ck_assert_ptr_null(tx);
    free_shop();
}
END_TEST

/* ---- parking ---- */

static void keep_alarm(void *user, int32_t level, const char *line) {
    (void)user;
    if (level == CDTX_LOG_ALARM)
        snprintf(alarms + strlen(alarms), sizeof alarms - strlen(alarms), "%s\n", line);
}

START_TEST(what_does_not_end_is_parked) {
    make_shop(_i, (cdtx_options){0});
    cdtx_close(engine);
    cdtx_env env = *cdtx_test_env_port(world);
    env.log = keep_alarm;
    alarms[0] = '\0';
    cdtx_options options = {.env = &env, .coordinator = kinds[_i], .park_attempts = 4, .park_retry_ms = 3600000};
    engine = lab_engine(options);
    add_participant("order");
    add_participant("stock");
    failures = 6;
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_run(engine, 600000, &E));
    ck_assert_int_eq(failures, 2); /* four attempts, then rarely */
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTING);
    ck_assert_ptr_nonnull(strstr(alarms, "parked"));
    ck_assert_ptr_nonnull(strstr(alarms, "the printer is jammed"));
    ck_assert_ptr_null(strstr(strstr(alarms, "parked") + 1, "parked")); /* one alarm */
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_case WHERE state = 1"), 1);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE parked LIKE '4 attempts%'"), 1);
    OK(cdtx_run(engine, 3 * 3600000, &E));
    ck_assert_int_eq(state_of(cdtx_tx_gid(tx)), CDTX_TX_COMMITTED);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_case WHERE state = 1"), 0);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_case WHERE state = 2"), 1);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx WHERE parked IS NOT NULL"), 0);
    effects_are("1100", "1100");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

/* ---- the floor, and outcomes that are forgotten ---- */

START_TEST(guards_go_when_all_below_has_ended) {
    make_shop(_i, (cdtx_options){0});
    for (int i = 0; i < 5; i++) {
        cdtx_tx *tx = new_tx((cdtx_tx_options){0});
        OK(cdtx_tx_run(tx, &E));
        cdtx_tx_close(tx);
    }
    failures = 100000;
    cdtx_tx *stuck = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_run(stuck, &E));
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT floor FROM cdtx_meta"), 6);
    ck_assert_int_eq(lab_sql("order.db", "SELECT min(seq) FROM cdtx_guard"), 6);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT count(*) FROM cdtx_guard"), 2);
    failures = 0;
    OK(cdtx_run(engine, 60000, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT floor FROM cdtx_meta"), 8);
    ck_assert_int_eq(lab_sql("order.db", "SELECT count(*) FROM cdtx_guard"), 0);
    ck_assert_int_eq(lab_sql("stock.db", "SELECT floor FROM cdtx_floor"), 8);
    cdtx_tx_close(tx);
    cdtx_tx_close(stuck);
    free_shop();
}
END_TEST

struct answer {
    int32_t code;
    int answered;
};

static void keep(void *user, uint64_t id, const cdtx_reply *reply) {
    struct answer *answer = user;
    (void)id;
    answer->code = reply->code;
    answer->answered = 1;
}

START_TEST(work_below_the_floor_has_expired) {
    make_shop(_i, (cdtx_options){0});
    uint8_t log[16];
    cdtx_tx *tx = new_tx((cdtx_tx_options){0});
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_run(engine, 10000, &E));
    ck_assert_int_eq(lab_sql("order.db", "SELECT count(*) FROM cdtx_guard"), 0);
    for (int i = 0; i < 16; i++) {
        unsigned byte = 0;
        sscanf(cdtx_tx_gid(tx) + (size_t)(2 * i), "%2x", &byte);
        log[i] = (uint8_t)byte;
    }
    for (int32_t op = CDTX_CALL_TRY; op <= CDTX_CALL_REVERSE; op++) {
        struct answer answer = {0};
        cdtx_call call = {.sequence = 1, .op = op, .attempt = 9, .participant = "order", .payload = "1", .length = 1};
        memcpy(call.log, log, sizeof log);
        OK(cdtx_serve(engine, &call, keep, &answer, &E));
        OK(cdtx_run(engine, 100, &E));
        ck_assert_int_eq(answer.answered, 1);
        ck_assert_int_eq(answer.code, CDTX_EXPIRED);
    }
    effects_are("1100", "1100");
    ck_assert_int_eq(lab_sql("order.db", "SELECT count(*) FROM cdtx_guard"), 0);
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(outcomes_are_kept_for_a_while) {
    make_shop(_i, (cdtx_options){.retention_ms = 3600000});
    int32_t state = 0;
    char gid[CDTX_GID_MAX];
    cdtx_tx *tx = new_tx((cdtx_tx_options){.key = "order-1"});
    OK(cdtx_tx_run(tx, &E));
    snprintf(gid, sizeof gid, "%s", cdtx_tx_gid(tx));
    cdtx_tx_close(tx);
    OK(cdtx_run(engine, 3500000, &E));
    ck_assert_int_eq(state_of(gid), CDTX_TX_COMMITTED);
    OK(cdtx_run(engine, 200000, &E));
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_tx_query(engine, gid, &state, &E));
    FAILS(CDTX_NOT_FOUND, "order-1", cdtx_tx_find(engine, "order-1", gid, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx"), 0);
    tx = new_tx((cdtx_tx_options){.key = "order-1"});
    OK(cdtx_tx_run(tx, &E)); /* a new one */
    ck_assert_int_eq(lab_sql("log.db", "SELECT seq FROM cdtx_tx"), 2);
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

/* ---- time-outs and room ---- */

START_TEST(the_branch_time_out_says_so) {
    make_shop(_i, (cdtx_options){.call_timeout_ms = 500});
    OK(cdtx_test_link_set_target(courier, "stock", NULL, &E));
    cdtx_tx *tx = new_tx((cdtx_tx_options){.timeout_ms = 60000, .branch_timeout_ms = 1800});
    FAILS(CDTX_TIMEOUT, "branch_timeout_ms, 1800, was over before 'stock' had answered try (4 calls",
          cdtx_tx_run(tx, &E));
    OK(cdtx_test_link_set_target(courier, "stock", engine, &E));
    drain();
    effects_are("1010", "0000");
    cdtx_tx_close(tx);
    free_shop();
}
END_TEST

START_TEST(a_dead_participant_leaves_room_for_others) {
    make_shop(_i, (cdtx_options){.participant_max = 3});
    cdtx_tx *stuck[3], *tx = NULL;
    OK(cdtx_test_link_set_target(courier, "stock", NULL, &E));
    for (int i = 0; i < 3; i++) {
        stuck[i] = new_tx((cdtx_tx_options){.timeout_ms = 5000});
        OK(cdtx_tx_submit(stuck[i], &E));
    }
    OK(cdtx_run(engine, 100, &E));
    tx = new_tx((cdtx_tx_options){0});
    FAILS(CDTX_BUSY, "'stock' has not answered 3 branches", cdtx_tx_run(tx, &E));
    ck_assert_int_gt(E.retry_after_ms, 0);
    cdtx_tx *other = NULL;
    OK(cdtx_tx_new(engine, NULL, &other, &E));
    OK(cdtx_tx_add(other, "order", "1", 1, &E));
    OK(cdtx_tx_run(other, &E));
    cdtx_tx_close(other);
    OK(cdtx_test_link_set_target(courier, "stock", engine, &E));
    drain();
    OK(cdtx_tx_run(tx, &E)); /* nothing was begun before: the same handle goes on */
    cdtx_tx_close(tx);
    for (int i = 0; i < 3; i++)
        cdtx_tx_close(stuck[i]);
    free_shop();
}
END_TEST

START_TEST(a_passive_engine_decides_nothing) {
    make_shop(_i, (cdtx_options){0});
    cdtx_tx *tx = NULL;
    failures = 1;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "stock", "1", 1, &E));
    char gid[CDTX_GID_MAX];
    snprintf(gid, sizeof gid, "%s", cdtx_tx_gid(tx));
    cdtx_tx *left = tx;
    cdtx_close(engine);
    cdtx_tx_close(left);
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world), .coordinator = kinds[_i], .passive = 1});
    OK(cdtx_run(engine, 600000, &E));
    ck_assert_int_eq(state_of(gid), CDTX_TX_ACTIVE);
    FAILS(CDTX_MISUSE, "passive", cdtx_tx_new(engine, NULL, &tx, &E));
    cdtx_close(engine);
    open_shop(_i, (cdtx_options){0});
    drain();
    ck_assert_int_eq(state_of(gid), CDTX_TX_ROLLED_BACK);
    free_shop();
}
END_TEST

/* ---- memory ---- */

static void run_some(int count) {
    for (int i = 0; i < count; i++) {
        cdtx_tx *tx = new_tx((cdtx_tx_options){0});
        OK(cdtx_tx_run(tx, &E));
        cdtx_tx_close(tx);
    }
    OK(cdtx_run(engine, 10000, &E)); /* until their guards are gone, too */
}

START_TEST(a_transaction_takes_and_gives_back_the_same) {
    enum { COUNT = 100, ALLOCATIONS = 40 };
    make_shop(_i, (cdtx_options){.retention_ms = 1000});
    run_some(COUNT);
    uint64_t bytes = cdtx_test_env_bytes(world), before = cdtx_test_env_allocations(world);
    run_some(COUNT);
    uint64_t first = cdtx_test_env_allocations(world) - before;
    ck_assert_uint_le(first / COUNT, ALLOCATIONS);
    before = cdtx_test_env_allocations(world);
    run_some(5 * COUNT);
    ck_assert_uint_le((cdtx_test_env_allocations(world) - before) / (5 * COUNT), first / COUNT + 1);
    ck_assert_uint_le(cdtx_test_env_bytes(world), bytes);
    free_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_loop_test(tcase, a_transaction_takes_and_gives_back_the_same, 0, KINDS);
    tcase_add_loop_test(tcase, definite_noes_take_it_back, 0, KINDS);
    tcase_add_loop_test(tcase, fewer_noes_still_commit, 0, KINDS);
    tcase_add_loop_test(tcase, the_default_keeps_confirming, 0, KINDS);
    tcase_add_loop_test(tcase, who_cannot_be_reversed_is_not_tried, 0, KINDS);
    tcase_add_loop_test(tcase, a_submitted_one_completes_at_the_end, 0, KINDS);
    tcase_add_loop_test(tcase, the_policy_outlives_its_engine, 0, KINDS);
    tcase_add_loop_test(tcase, the_policy_needs_the_end, 0, KINDS);
    tcase_add_loop_test(tcase, what_does_not_end_is_parked, 0, KINDS);
    tcase_add_loop_test(tcase, guards_go_when_all_below_has_ended, 0, KINDS);
    tcase_add_loop_test(tcase, work_below_the_floor_has_expired, 0, KINDS);
    tcase_add_loop_test(tcase, outcomes_are_kept_for_a_while, 0, KINDS);
    tcase_add_loop_test(tcase, the_branch_time_out_says_so, 0, KINDS);
    tcase_add_loop_test(tcase, a_dead_participant_leaves_room_for_others, 0, KINDS);
    tcase_add_loop_test(tcase, a_passive_engine_decides_nothing, 0, KINDS);
}

int main(void) {
    return lab_main("states", tests);
}
