/* The queue in a database behind a queue port: what every engine must do, and what only this one does. */
#include "msg_lab.h"
#include "queue_conformance.h"

static cdtx_queue_port port;
static cdtx_error results[8];

static void open_port(void) {
    port = (cdtx_queue_port){.size = sizeof port};
    OK(cdtx_queue_embedded(queue, &port, &E));
}

static void set_up_port(void) {
    set_up();
    open_port();
}

static void tear_down_port(void) {
    port.close(port.user);
    tear_down();
}

/* ---- what every engine must do ---- */

static const cdtx_queue_port *conforming_open(void) {
    lab_setup();
    set_up_port();
    OK(cdtx_topic_add(queue, "bills", NULL, &E));
    return &port;
}

static void conforming_close(void) {
    tear_down_port();
    lab_teardown();
}

static void conforming_advance(int64_t ms) {
    cdtx_test_env_advance(env, ms);
    run_ms(0);
}

static uint32_t conforming_dead(const char *topic, const char *group) {
    char what[200];
    snprintf(what, sizeof what, "cdtx_job WHERE state = 3 AND handler = 'cdtx.msg/%s/%s'", topic, group);
    return (uint32_t)in_queue(what);
}

/* ---- short for what the tests do ---- */

static int32_t send_id(const char *id, const char *text) {
    cdtx_queue_message message = {.id = id, .topic = "orders", .payload = text, .length = strlen(text)};
    int32_t rc = port.send(port.user, &message, 1, results);
    ck_assert_int_eq(results[0].code, rc);
    return rc;
}

static void subscribe(const char *group) {
    OK(port.subscribe(port.user, "orders", group, NULL, &E));
}

static cdtx_queue_delivery got[8];

static uint32_t fetch(void) {
    uint32_t count = 99;
    OK(port.fetch(port.user, 0, got, 8, &count, &E));
    return count;
}

static int32_t settle(uint64_t token, int32_t kind) {
    cdtx_queue_answer answer = {.token = token, .kind = kind};
    return port.settle(port.user, &answer, 1, results);
}

/* ---- ids ---- */

static char ids[512];

static int32_t note_id(cdtx_work *work, void *user, cdtx_error *err) {
    char id[CDTX_GID_MAX];
    (void)user, (void)err;
    cdtx_msg_id(work, id);
    snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s ", id);
    return 0;
}

START_TEST(an_id_is_on_every_copy) {
    set_up_port();
    ids[0] = '\0';
    cdtx_topic_options kept = {.size = sizeof kept, .retention_ms = 3600000};
    OK(cdtx_topic_add(queue, "orders", &kept, &E));
    ck_assert_int_eq(send_id("from-elsewhere", "x"), 0);
    join("early", (cdtx_consumer_options){.handler = note_id});
    run_ms(0);
    join("late", (cdtx_consumer_options){.handler = note_id}); /* from what is kept */
    run_ms(0);
    ck_assert_str_eq(ids, "from-elsewhere from-elsewhere ");
    ids[0] = '\0';
    char own[CDTX_GID_MAX];
    OK(cdtx_msg_send(queue, "orders", "y", 1, NULL, own, &E)); /* its number is its id */
    run_ms(0);
    ck_assert_uint_eq(strlen(ids), 2 * (strlen(own) + 1));
    ck_assert(strncmp(ids, own, strlen(own)) == 0);
    ck_assert_int_eq(in_queue("cdtx_msg_once"), 1);
    tear_down_port();
}
END_TEST

START_TEST(an_id_is_remembered_as_long_as_outcomes) {
    set_up_port();
    subscribe("mail");
    ck_assert_int_eq(port.repeat_ms, INT64_C(7) * 24 * 3600 * 1000);
    ck_assert_int_eq(send_id("id", "x"), 0);
    ck_assert_int_eq(send_id("id", "x"), 0);
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), 0);
    cdtx_test_env_advance(env, port.repeat_ms - 60000);
    run_ms(0);
    ck_assert_int_eq(in_queue("cdtx_msg_once"), 1);
    cdtx_test_env_advance(env, 120000);
    run_ms(20000);
    ck_assert_int_eq(in_queue("cdtx_msg_once"), 0);
    ck_assert_int_eq(send_id("id", "x"), 0);
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), 0);
    tear_down_port();
}
END_TEST

START_TEST(an_id_is_remembered_over_a_restart) {
    set_up_port();
    subscribe("mail");
    ck_assert_int_eq(send_id("id", "x"), 0);
    port.close(port.user);
    close_engine();
    open_engine();
    open_port();
    ck_assert_int_eq(send_id("id", "x"), 0);
    subscribe("mail");
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_str_eq(got[0].id, "id");
    tear_down_port();
}
END_TEST

/* A prepare whose answer was lost is made again: then a checker finds both, and answers for the id. */
START_TEST(two_halves_of_one_id_are_one_message) {
    char first[CDTX_QUEUE_HANDLE_MAX], second[CDTX_QUEUE_HANDLE_MAX];
    int32_t applied = 0;
    set_up_port();
    subscribe("mail");
    cdtx_queue_message message = {.id = "id", .topic = "orders", .payload = "x", .length = 1};
    OK(port.prepare(port.user, &message, "shop", first, &E));
    OK(port.prepare(port.user, &message, "shop", second, &E));
    ck_assert_str_ne(first, second);
    OK(port.resolve(port.user, first, CDTX_QUEUE_COMMIT, &applied, &E));
    ck_assert_int_eq(applied, CDTX_QUEUE_APPLIED);
    OK(port.resolve(port.user, second, CDTX_QUEUE_COMMIT, &applied, &E));
    ck_assert_int_eq(send_id("id", "x"), 0);
    ck_assert_uint_eq(fetch(), 1);
    tear_down_port();
}
END_TEST

/* The port's handles are those of the calls for half messages, so marks answer for them too. */
static int32_t mark(cdtx_sql *sql, void *handle, cdtx_error *err) {
    return cdtx_half_mark(sql, handle, err);
}

START_TEST(marks_answer_for_halves_of_the_port) {
    char handle[CDTX_QUEUE_HANDLE_MAX];
    set_up_port();
    subscribe("mail");
    cdtx_half_checker checker = {.size = sizeof checker, .guard_db = shop};
    OK(cdtx_half_checker_add(queue, "shop", &checker, &E));
    cdtx_queue_message message = {.id = "id", .topic = "orders", .payload = "x", .length = 1};
    OK(port.prepare(port.user, &message, "shop", handle, &E));
    OK(cdtx_local(shop, mark, handle, &E));
    OK(port.poll(port.user, 60000, &E));
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_str_eq(got[0].id, "id");
    tear_down_port();
}
END_TEST

/* ---- sending ---- */

START_TEST(a_topic_that_is_not_there_keeps_no_others_back) {
    set_up_port();
    subscribe("mail");
    cdtx_queue_message batch[] = {{.id = "1", .topic = "orders", .payload = "x", .length = 1},
                                  {.id = "2", .topic = "nowhere", .payload = "x", .length = 1},
                                  {.id = "3", .topic = "orders", .payload = "x", .length = 1}};
    ck_assert_int_eq(port.send(port.user, batch, 3, results), CDTX_NOT_FOUND);
    ck_assert_int_eq(results[0].code, 0);
    ck_assert_int_eq(results[1].code, CDTX_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(results[1].text, "nowhere"));
    ck_assert_int_eq(results[2].code, 0);
    ck_assert_uint_eq(fetch(), 2);
    char handle[CDTX_QUEUE_HANDLE_MAX];
    FAILS(CDTX_NOT_FOUND, "nowhere", port.prepare(port.user, &batch[1], "shop", handle, &E));
    tear_down_port();
}
END_TEST

static int32_t send_inside(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)sql, (void)user, (void)err;
    uint32_t count = 0;
    cdtx_error inner;
    ck_assert_int_eq(send_id("id", "x"), CDTX_MISUSE);
    ck_assert_int_eq(port.fetch(port.user, 0, got, 1, &count, &inner), CDTX_MISUSE);
    return 0;
}

START_TEST(inside_a_local_transaction_nothing_waits) {
    set_up_port();
    OK(cdtx_local(shop, send_inside, NULL, &E));
    ck_assert_int_eq(in_queue("cdtx_msg_once"), 0);
    tear_down_port();
}
END_TEST

START_TEST(what_cannot_be_written_did_not_happen) {
    set_up_port();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    ck_assert_int_eq(send_id("id", "x"), CDTX_BUSY); /* wait_ms is over */
    cdtx_queue_message batch[] = {{.id = "", .topic = "orders"}, {.id = "3", .topic = "orders"}};
    ck_assert_int_eq(port.send(port.user, batch, 2, results), CDTX_INVALID);
    ck_assert_int_eq(results[0].code, CDTX_INVALID);
    ck_assert_int_eq(results[1].code, CDTX_BUSY);
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    ck_assert_int_eq(in_queue("cdtx_msg_once"), 0);
    tear_down_port();
}
END_TEST

/* ---- other pulled work ---- */

static int32_t put_job(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_job_put(sql, "pulled", "job", 3, NULL, NULL, err);
}

START_TEST(other_pulled_work_stays_for_cdtx_take) {
    set_up_port();
    cdtx_handler_options pulled = {.size = sizeof pulled};
    OK(cdtx_handler_add(queue, "pulled", &pulled, &E));
    OK(cdtx_handler_add(shop, "pulled", &pulled, &E));
    subscribe("mail");
    OK(cdtx_local(queue, put_job, NULL, &E));
    OK(cdtx_local(shop, put_job, NULL, &E));
    uint32_t count = 7;
    FAILS(CDTX_MISUSE, "pulled", port.fetch(port.user, 1000, got, 8, &count, &E));
    ck_assert_uint_eq(count, 7);
    ck_assert_int_eq(send_id("id", "x"), 0);
    for (int i = 0; i < 2; i++) {
        cdtx_work *work = NULL;
        OK(cdtx_take(engine, 1000, &work, &E));
        ck_assert_ptr_nonnull(work);
        ck_assert_str_eq(cdtx_work_handler(work), "pulled");
        ck_assert_uint_eq(cdtx_work_attempt(work), 1);
        OK(cdtx_settle(work, 0, NULL, &E));
    }
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_str_eq(got[0].id, "id");
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), 0);
    tear_down_port();
}
END_TEST

START_TEST(a_completion_stays_for_cdtx_take) {
    set_up_port();
    subscribe("mail");
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_submit(tx, &E));
    uint32_t count = 7;
    FAILS(CDTX_MISUSE, "completion", port.fetch(port.user, 1000, got, 8, &count, &E));
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 1000, &work, &E));
    ck_assert_int_eq(cdtx_work_kind(work), CDTX_WORK_COMPLETION);
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_tx_close(tx);
    ck_assert_uint_eq(fetch(), 0);
    tear_down_port();
}
END_TEST

/* ---- closing ---- */

START_TEST(what_is_not_settled_comes_again_uncounted) {
    set_up_port();
    subscribe("mail");
    ck_assert_int_eq(send_id("id", "x"), 0);
    ck_assert_uint_eq(fetch(), 1);
    port.close(port.user);
    open_port();
    FAILS(CDTX_CONFLICT, "joined", port.subscribe(port.user, "orders", "mail", NULL, &E)); /* the engine has */
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), CDTX_NOT_FOUND);
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_uint_eq(got[0].attempt, 1);
    tear_down_port();
}
END_TEST

START_TEST(a_closed_engine_does_nothing_more) {
    set_up_port();
    subscribe("mail");
    ck_assert_int_eq(send_id("id", "x"), 0);
    ck_assert_int_eq(send_id("id-2", "x"), 0);
    ck_assert_uint_eq(fetch(), 2);
    uint64_t token = got[0].token;
    close_engine();
    uint32_t count = 0;
    int32_t applied = 0;
    cdtx_queue_message message = {.id = "id", .topic = "orders"};
    char handle[CDTX_QUEUE_HANDLE_MAX];
    ck_assert_int_eq(send_id("id-3", "x"), CDTX_MISUSE);
    ck_assert_int_eq(settle(token, CDTX_QUEUE_ACK), CDTX_MISUSE);
    ck_assert_int_eq(settle(token, CDTX_QUEUE_ACK), CDTX_NOT_FOUND);
    FAILS(CDTX_MISUSE, "closed", port.fetch(port.user, 0, got, 1, &count, &E));
    FAILS(CDTX_MISUSE, "closed", port.subscribe(port.user, "orders", "x", NULL, &E));
    FAILS(CDTX_MISUSE, "closed", port.poll(port.user, 0, &E));
    FAILS(CDTX_MISUSE, "closed", port.prepare(port.user, &message, "shop", handle, &E));
    FAILS(CDTX_MISUSE, "closed", port.resolve(port.user, "0-1", CDTX_QUEUE_COMMIT, &applied, &E));
    port.close(port.user);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    open_engine();
    open_port();
    subscribe("mail");
    ck_assert_uint_eq(fetch(), 2);
    tear_down_port();
}
END_TEST

START_TEST(bad_input) {
    set_up();
    cdtx_db *reader = NULL;
    FAILS(CDTX_MISUSE, "NULL", cdtx_queue_embedded(NULL, &port, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_queue_embedded(queue, NULL, &E));
    port = (cdtx_queue_port){.size = sizeof port - 1};
    FAILS(CDTX_INVALID, "size", cdtx_queue_embedded(queue, &port, &E));
    ck_assert_ptr_null(port.send);
    cdtx *other = NULL;
    cdtx_options o = {.size = sizeof o};
    OK(cdtx_open(&o, &other, &E));
    reader = open_db(other, "queue", "read=1");
    port.size = sizeof port;
    FAILS(CDTX_MISUSE, "reading", cdtx_queue_embedded(reader, &port, &E));
    cdtx_db_close(reader);
    cdtx_close(other);
    tear_down();
}
END_TEST

/* ---- memory ---- */

static void nothing_asked(void *user) {
    (void)user;
}

static int32_t answer_open(const char *handle, const cdtx_queue_message *message, void *user) {
    (void)handle, (void)message, (void)user;
    return CDTX_QUEUE_OPEN;
}

/* Everything once; how far it came. */
static uint32_t walk(void) {
    char handle[CDTX_QUEUE_HANDLE_MAX];
    int32_t applied = 0;
    uint32_t count = 0;
    cdtx_error err;
    cdtx_queue_message half = {.id = "half", .topic = "orders", .payload = "h", .length = 1};
    cdtx_queue_checker checker = {.size = sizeof checker, .check = answer_open, .drop = nothing_asked};
    port = (cdtx_queue_port){.size = sizeof port};
    if (cdtx_queue_embedded(queue, &port, &err) != 0)
        return 0;
    uint32_t step = 1;
    int32_t rc = port.checker_add(port.user, "shop", &checker, &err);
    if (rc == 0 && step++)
        rc = port.subscribe(port.user, "orders", "mail", NULL, &err);
    if (rc == 0 && step++)
        rc = send_id("id", "x");
    if (rc == 0 && step++)
        rc = port.prepare(port.user, &half, "shop", handle, &err);
    if (rc == 0 && step++)
        rc = port.resolve(port.user, handle, CDTX_QUEUE_COMMIT, &applied, &err);
    if (rc == 0 && step++)
        rc = port.fetch(port.user, 100, got, 8, &count, &err);
    if (rc == 0 && count > 0 && step++)
        rc = settle(got[0].token, CDTX_QUEUE_ACK);
    if (rc == 0 && count > 0)
        step++;
    port.close(port.user);
    ck_assert_msg(rc == 0 || rc == CDTX_NO_MEMORY || rc == CDTX_CONFLICT, "%s", cdtx_code_name(rc));
    return step;
}

START_TEST(memory_runs_out_anywhere) {
    uint32_t reached = 0;
    for (uint64_t nth = 1; reached < 8; nth++) {
        ck_assert_uint_lt(nth, 3000);
        if (nth > 1)
            lab_teardown(), lab_setup();
        set_up();
        cdtx_test_env_fail_memory(env, nth, 0);
        reached = walk();
        cdtx_test_env_fail_memory(env, 0, 0);
        if (reached < 8)
            reached = 0;
        /* Whatever failed, what was stored comes, and is stored once. */
        port = (cdtx_queue_port){.size = sizeof port};
        OK(cdtx_queue_embedded(queue, &port, &E));
        if (port.subscribe(port.user, "orders", "mail", NULL, &E) != 0)
            ck_assert_int_eq(E.code, CDTX_CONFLICT);
        ck_assert_int_eq(send_id("id", "x"), 0);
        ck_assert_int_le(in_queue("cdtx_msg_once WHERE msg_id = 'id'"), 1);
        OK(port.poll(port.user, 120000, &E));
        uint32_t count = 0;
        OK(port.fetch(port.user, 0, got, 8, &count, &E));
        for (uint32_t i = 0; i < count; i++)
            ck_assert_int_eq(settle(got[i].token, CDTX_QUEUE_ACK), 0);
        tear_down_port();
    }
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, an_id_is_on_every_copy);
    tcase_add_test(tcase, an_id_is_remembered_as_long_as_outcomes);
    tcase_add_test(tcase, an_id_is_remembered_over_a_restart);
    tcase_add_test(tcase, two_halves_of_one_id_are_one_message);
    tcase_add_test(tcase, marks_answer_for_halves_of_the_port);
    tcase_add_test(tcase, a_topic_that_is_not_there_keeps_no_others_back);
    tcase_add_test(tcase, inside_a_local_transaction_nothing_waits);
    tcase_add_test(tcase, what_cannot_be_written_did_not_happen);
    tcase_add_test(tcase, other_pulled_work_stays_for_cdtx_take);
    tcase_add_test(tcase, a_completion_stays_for_cdtx_take);
    tcase_add_test(tcase, what_is_not_settled_comes_again_uncounted);
    tcase_add_test(tcase, a_closed_engine_does_nothing_more);
    tcase_add_test(tcase, bad_input);
    tcase_add_test(tcase, memory_runs_out_anywhere);
}

int main(void) {
    static const struct queue_conformance target = {conforming_open, conforming_close, conforming_advance,
                                                    conforming_dead};
    int failed = queue_conformance_run("queue-conformance-embedded", &target);
    int status = lab_main("queue-embedded", tests);
    return failed > 0 ? 1 : status;
}
