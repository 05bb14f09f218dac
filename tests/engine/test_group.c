/* Calls that share a commit: what one that fails does to the others, and how often each runs. In virtual time nothing
 * runs before cdtx_run, so all calls of a round are one group. */
#include "lab.h"

enum { CALLS = 8, FAILING = 5 };

static cdtx_test_env *world;
static cdtx *engine;
static cdtx_db *db;
static int runs; /* of handlers */
static int64_t sequence;

struct answer {
    int count;
    int32_t code;
    char text[128];
};
static struct answer answers[CALLS];

/* ---- a participant that does what its payload says ---- */

static int32_t act(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    const char *what = cdtx_tcc_payload(call, NULL);
    runs++;
    cdtx_sql_bind_text(sql, what, strlen(what));
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO effect (what) VALUES (?)", NULL, err);
    if (rc == 0 && strcmp(what, "refuse") == 0)
        return cdtx_error_set(err, CDTX_REFUSED, "sold out");
    if (rc == 0 && strcmp(what, "fail") == 0)
        return cdtx_error_set(err, CDTX_USER, "jammed");
    if (rc == 0 && strcmp(what, "orphan") == 0)
        rc = cdtx_sql_exec(sql, "INSERT INTO child VALUES (7)", NULL, err);
    if (rc == 0 && strcmp(what, "end all") == 0)
        rc = cdtx_sql_exec(sql, "INSERT OR ROLLBACK INTO one SELECT 1 UNION ALL SELECT 1", NULL, err);
    return rc;
}

static void open_shop(void) {
    static const cdtx_tcc_handlers three = {.size = sizeof three, .on_try = act, .on_confirm = act, .on_cancel = act};
    OK(cdtx_test_env_new(&world, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world)});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE effect (what TEXT)");
    lab_exec(db, "CREATE TABLE one (id INTEGER PRIMARY KEY)");
    lab_exec(db, "CREATE TABLE child (parent INTEGER REFERENCES one DEFERRABLE INITIALLY DEFERRED)");
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    runs = 0;
    sequence = 0;
}

static void close_shop(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

static void note_answer(void *user, uint64_t id, const cdtx_reply *reply) {
    (void)user;
    answers[id].count++;
    answers[id].code = reply->code;
    snprintf(answers[id].text, sizeof answers[id].text, "%s", reply->text);
}

static void send(int i, int32_t op, int64_t number, const char *what) {
    cdtx_call call = {.sequence = number,
                      .id = (uint64_t)i,
                      .epoch = 1,
                      .op = op,
                      .attempt = 1,
                      .length = (uint32_t)strlen(what),
                      .participant = "stock",
                      .payload = what};
    OK(cdtx_serve(engine, &call, note_answer, NULL, &E));
}

/* Tries of CALLS transactions in one group, one of them doing `what`; how often handlers ran for it. */
static int round_with(const char *what) {
    int before = runs;
    memset(answers, 0, sizeof answers);
    for (int i = 0; i < CALLS; i++)
        send(i, CDTX_CALL_TRY, ++sequence, i == FAILING ? what : "work");
    ck_assert_int_eq(runs, before); /* nobody has led yet */
    OK(cdtx_run(engine, 0, &E));
    for (int i = 0; i < CALLS; i++) {
        ck_assert_int_eq(answers[i].count, 1);
        if (i != FAILING)
            ck_assert_int_eq(answers[i].code, 0);
    }
    return runs - before;
}

static int64_t effects(const char *what) {
    char query[128];
    snprintf(query, sizeof query, "SELECT count(*) FROM effect WHERE what = '%s'", what);
    return lab_sql("shop.db", query);
}

static int64_t guards(int state) {
    char query[128];
    snprintf(query, sizeof query, "SELECT count(*) FROM cdtx_guard WHERE state = %d", state);
    return lab_sql("shop.db", query);
}

static uint64_t groups(void) {
    return lab_metrics(engine).groups;
}

enum { TRIED = 1, REJECTED = 2 };

/* ---- */

START_TEST(calls_share_a_commit) {
    open_shop();
    uint64_t before = groups();
    ck_assert_int_eq(round_with("work"), CALLS);
    ck_assert_uint_eq(groups() - before, 1);
    ck_assert_int_eq(effects("work"), CALLS);
    ck_assert_int_eq(guards(TRIED), CALLS);
    close_shop();
}
END_TEST

START_TEST(a_refused_try_leaves_its_mark_alone) {
    open_shop();
    uint64_t before = groups();
    round_with("refuse");
    ck_assert_uint_eq(groups() - before, 1); /* whatever it took to find out */
    ck_assert_int_eq(answers[FAILING].code, CDTX_REFUSED);
    ck_assert_str_eq(answers[FAILING].text, "sold out");
    ck_assert_int_eq(effects("refuse"), 0);
    ck_assert_int_eq(effects("work"), CALLS - 1);
    ck_assert_int_eq(guards(TRIED), CALLS - 1);
    ck_assert_int_eq(guards(REJECTED), 1);
    close_shop();
}
END_TEST

START_TEST(a_failed_try_leaves_nothing) {
    open_shop();
    uint64_t before = groups();
    round_with("fail");
    ck_assert_uint_eq(groups() - before, 1);
    ck_assert_int_eq(answers[FAILING].code, CDTX_USER);
    ck_assert_str_eq(answers[FAILING].text, "jammed");
    ck_assert_int_eq(effects("fail"), 0);
    ck_assert_int_eq(effects("work"), CALLS - 1);
    ck_assert_int_eq(guards(TRIED), CALLS - 1);
    close_shop();
}
END_TEST

START_TEST(an_unmet_constraint_is_its_own) {
    open_shop();
    uint64_t before = groups();
    round_with("orphan");
    ck_assert_uint_eq(groups() - before, 1);
    ck_assert_int_eq(answers[FAILING].code, CDTX_SQL);
    ck_assert_ptr_nonnull(strstr(answers[FAILING].text, "FOREIGN KEY"));
    ck_assert_int_eq(effects("orphan"), 0);
    ck_assert_int_eq(effects("work"), CALLS - 1);
    ck_assert_int_eq(guards(TRIED), CALLS - 1);
    close_shop();
}
END_TEST

START_TEST(whoever_ends_the_transaction_hurts_only_itself) {
    open_shop();
    round_with("end all");
    ck_assert_int_eq(answers[FAILING].code, CDTX_SQL);
    ck_assert_int_eq(effects("end all"), 0);
    ck_assert_int_eq(effects("work"), CALLS - 1);
    ck_assert_int_eq(guards(TRIED), CALLS - 1);
    close_shop();
}
END_TEST

/* Where tries are often refused, only few groups run twice; where they are not any more, savepoints are left out again,
 * which shows in the second run that the next refusal takes. */
START_TEST(a_second_run_is_rare) {
    enum { ROUNDS = 20, CALM = 40 };
    open_shop();
    int again = 0;
    for (int i = 0; i < ROUNDS; i++)
        again += round_with("refuse") > CALLS;
    ck_assert_int_eq(again, 1);
    for (int i = 0; i < CALM; i++)
        ck_assert_int_eq(round_with("work"), CALLS);
    ck_assert_int_gt(round_with("refuse"), CALLS);
    ck_assert_int_eq(guards(REJECTED), ROUNDS + 1);
    ck_assert_int_eq(effects("work"), (ROUNDS + 1) * (CALLS - 1) + CALM * CALLS);
    close_shop();
}
END_TEST

START_TEST(alone_each_runs_once) {
    open_shop();
    send(0, CDTX_CALL_TRY, 1, "refuse");
    OK(cdtx_run(engine, 0, &E));
    send(1, CDTX_CALL_TRY, 2, "fail");
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(runs, 2);
    ck_assert_int_eq(effects("refuse") + effects("fail"), 0);
    close_shop();
}
END_TEST

/* The one that runs twice here has an alarm to give. */
START_TEST(an_alarm_is_given_once) {
    open_shop();
    memset(answers, 0, sizeof answers);
    send(0, CDTX_CALL_CONFIRM, 1, "never tried");
    send(1, CDTX_CALL_TRY, 2, "refuse");
    OK(cdtx_run(engine, 0, &E));
    ck_assert_int_eq(answers[0].code, CDTX_NOT_FOUND);
    ck_assert_int_eq(answers[1].code, CDTX_REFUSED);
    ck_assert_int_eq(runs, 2);
    ck_assert_uint_eq(lab_metrics(engine).alarms, 1);
    close_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, calls_share_a_commit);
    tcase_add_test(tcase, a_refused_try_leaves_its_mark_alone);
    tcase_add_test(tcase, a_failed_try_leaves_nothing);
    tcase_add_test(tcase, an_unmet_constraint_is_its_own);
    tcase_add_test(tcase, whoever_ends_the_transaction_hurts_only_itself);
    tcase_add_test(tcase, a_second_run_is_rare);
    tcase_add_test(tcase, alone_each_runs_once);
    tcase_add_test(tcase, an_alarm_is_given_once);
}

int main(void) {
    return lab_main("group", tests);
}
