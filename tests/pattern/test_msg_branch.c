/* Messages that branches put: held until the decision, visible with it or never. */
#include "msg_lab.h"

enum { OPS = CDTX_CALL_REVERSE + 1 };

/* How many messages each operation puts, named after it, and what it answers then. */
static uint32_t puts_in[OPS];
static int32_t says[OPS];
static char last_id[CDTX_GID_MAX];
static cdtx_msg_options with;

static int32_t act(cdtx_sql *sql, int op, const char *name, cdtx_error *err) {
    with.size = sizeof with;
    for (uint32_t i = 0; i < puts_in[op]; i++) {
        int32_t rc = cdtx_msg_put(sql, i % 2 == 0 ? "orders" : "stock", name, strlen(name), &with, last_id, err);
        if (rc != 0)
            return rc;
    }
    return says[op] == 0 ? 0 : cdtx_error_set(err, says[op], "no");
}

static int32_t on_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return act(sql, CDTX_CALL_TRY, "try", err);
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return act(sql, CDTX_CALL_CONFIRM, "confirm", err);
}

static int32_t on_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return act(sql, CDTX_CALL_CANCEL, "cancel", err);
}

static int32_t on_reverse(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call, (void)user;
    return act(sql, CDTX_CALL_REVERSE, "reverse", err);
}

static void add_branch(void) {
    cdtx_tcc_handlers h = {
        .size = sizeof h, .on_try = on_try, .on_confirm = on_confirm, .on_cancel = on_cancel, .on_reverse = on_reverse};
    OK(cdtx_tcc_add(queue, "order", &h, &E));
}

static void branch_world(void) {
    memset(puts_in, 0, sizeof puts_in);
    memset(says, 0, sizeof says);
    memset(&with, 0, sizeof with);
    set_up();
    OK(cdtx_topic_add(queue, "stock", NULL, &E));
    join("mail", (cdtx_consumer_options){0});
    OK(join_as(queue, "stock", "mail", (cdtx_consumer_options){0}));
    add_branch();
}

static cdtx_tx *begin(cdtx_tx_options o) {
    cdtx_tx *tx = NULL;
    o.size = sizeof o;
    OK(cdtx_tx_new(engine, &o, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    return tx;
}

/* ---- the decision ---- */

START_TEST(what_a_try_puts_waits_for_the_decision) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = 7;
    cdtx_tx *tx = begin((cdtx_tx_options){0});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(topic_number("orders", "held"), 4);
    ck_assert_int_eq(topic_number("stock", "held"), 3);
    ck_assert_int_eq(topic_number("orders", "kept"), 0);
    OK(_i == 0 ? cdtx_tx_commit(tx, &E) : cdtx_tx_rollback(tx, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, _i == 0 ? 7 : 0);
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(the_id_is_that_of_the_try) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = 1;
    cdtx_consumer_options pulled = {.size = sizeof pulled};
    OK(cdtx_consumer_add(queue, "orders", "pull", &pulled, &E));
    cdtx_tx *tx = begin((cdtx_tx_options){0});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    OK(cdtx_tx_commit(tx, &E));
    cdtx_work *work = NULL;
    char id[CDTX_GID_MAX];
    OK(cdtx_take(engine, 1000, &work, &E));
    ck_assert_ptr_nonnull(work);
    cdtx_msg_id(work, id);
    ck_assert_str_eq(id, last_id);
    OK(cdtx_settle(work, 0, NULL, &E));
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(a_delay_counts_from_the_confirm) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = 1;
    with.delay_ms = 30000;
    cdtx_tx *tx = begin((cdtx_tx_options){.timeout_ms = 3600000});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    run_ms(60000);
    OK(cdtx_tx_commit(tx, &E));
    run_ms(29000);
    ck_assert_uint_eq(calls, 0);
    run_ms(1500);
    ck_assert_uint_eq(calls, 1);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* Groups that come while a message is held get it like those that were there. */
START_TEST(a_group_that_comes_meanwhile_gets_it) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = 1;
    cdtx_tx *tx = begin((cdtx_tx_options){0});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    join("last", (cdtx_consumer_options){.start = CDTX_START_LAST, .user = "last:"});
    OK(cdtx_tx_commit(tx, &E));
    run_ms(0);
    ck_assert_uint_eq(calls, 2);
    ck_assert_ptr_nonnull(strstr(order, "last:try "));
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(what_confirm_and_cancel_put_is_visible_with_them) {
    branch_world();
    puts_in[CDTX_CALL_CONFIRM] = puts_in[CDTX_CALL_CANCEL] = 1;
    cdtx_tx *tx = begin((cdtx_tx_options){0});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    OK(_i == 0 ? cdtx_tx_commit(tx, &E) : cdtx_tx_rollback(tx, &E));
    run_ms(1000);
    ck_assert_str_eq(order, _i == 0 ? "confirm " : "cancel ");
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(a_confirm_that_fails_releases_nothing_yet) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = puts_in[CDTX_CALL_CONFIRM] = 1;
    says[CDTX_CALL_CONFIRM] = CDTX_USER;
    cdtx_tx *tx = begin((cdtx_tx_options){.wait_for = CDTX_WAIT_DECIDED});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    OK(cdtx_tx_commit(tx, &E));
    run_ms(150);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(topic_number("orders", "held"), 1);
    says[CDTX_CALL_CONFIRM] = 0;
    OK(cdtx_drain(engine, 600000 + 60000, &E));
    run_ms(0);
    ck_assert_uint_eq(calls, 2);
    ck_assert_ptr_nonnull(strstr(order, "try "));
    ck_assert_ptr_nonnull(strstr(order, "confirm "));
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

START_TEST(two_branches_of_one_gid_in_one_database) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = 1;
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_add(tx, "order", "a", 1, &E));
    OK(cdtx_tx_add(tx, "order", "b", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    run_ms(0);
    ck_assert_str_eq(order, "try try ");
    cdtx_tx_close(tx);
    clear();
    tx = begin((cdtx_tx_options){0});
    OK(cdtx_tx_try(tx, "order", "a", 1, &E));
    says[CDTX_CALL_TRY] = CDTX_REFUSED;
    FAILS(CDTX_REFUSED, "no", cdtx_tx_try(tx, "order", "b", 1, &E));
    ck_assert_int_eq(topic_number("orders", "held"), 1); /* that of the branch that said no is gone */
    OK(cdtx_tx_rollback(tx, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* In one group with others that fail, and so run again behind savepoints, each is there once. */
START_TEST(riders_that_run_twice_put_once) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = puts_in[CDTX_CALL_CONFIRM] = 1;
    cdtx_tx *txs[20];
    for (int i = 0; i < 20; i++) {
        OK(cdtx_tx_new(engine, NULL, &txs[i], &E));
        OK(cdtx_tx_add(txs[i], "order", "x", 1, &E));
        OK(cdtx_tx_submit(txs[i], &E));
    }
    says[CDTX_CALL_CONFIRM] = CDTX_USER;
    run_ms(20);
    says[CDTX_CALL_CONFIRM] = 0;
    OK(cdtx_drain(engine, 700000, &E));
    run_ms(0);
    ck_assert_uint_eq(calls, 40);
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    for (int i = 0; i < 20; i++) {
        cdtx_work *work = NULL;
        OK(cdtx_take(engine, 0, &work, &E));
        ck_assert_ptr_nonnull(work);
        OK(cdtx_settle(work, 0, NULL, &E));
        cdtx_tx_close(txs[i]);
    }
    tear_down();
}
END_TEST

/* ---- the policy ---- */

START_TEST(a_branch_that_may_be_reversed_puts_none) {
    branch_world();
    puts_in[_i] = 1;
    cdtx_tx *tx = NULL;
    cdtx_tx_options o = {.size = sizeof o, .reverse_after = 1, .timeout_ms = 500, .wait_for = CDTX_WAIT_ENDED};
    OK(cdtx_tx_new(engine, &o, &tx, &E));
    OK(cdtx_tx_add(tx, "order", "x", 1, &E));
    if (_i == CDTX_CALL_TRY) {
        FAILS(CDTX_TIMEOUT, "cdtx_tx_after_commit", cdtx_tx_run(tx, &E));
    } else {
        FAILS(CDTX_UNKNOWN, "", cdtx_tx_run(tx, &E));
        cdtx_report *report = NULL;
        OK(cdtx_tx_show(engine, cdtx_tx_gid(tx), &report, &E));
        ck_assert_int_eq(cdtx_report_next(report), 1);
        ck_assert_ptr_nonnull(strstr(cdtx_report_text(report, 10, NULL), "cdtx_tx_after_commit"));
        cdtx_report_close(report);
        puts_in[_i] = 0;
        OK(cdtx_drain(engine, 700000, &E));
    }
    run_ms(0);
    ck_assert_uint_eq(calls, 0);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* What takes it back is sure. */
START_TEST(what_a_reverse_puts_is_visible_with_it) {
    branch_world();
    puts_in[CDTX_CALL_REVERSE] = puts_in[CDTX_CALL_CANCEL] = 1;
    cdtx_tx *tx = NULL;
    cdtx_tx_options o = {.size = sizeof o, .reverse_after = 1};
    OK(cdtx_tx_new(engine, &o, &tx, &E));
    OK(cdtx_tx_add(tx, "order", "x", 1, &E));
    says[CDTX_CALL_CONFIRM] = CDTX_REFUSED; /* so its reverse is a cancel */
    FAILS(CDTX_REFUSED, "", cdtx_tx_run(tx, &E));
    OK(cdtx_drain(engine, 60000, &E));
    run_ms(0);
    ck_assert_str_eq(order, "cancel ");
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

/* ---- calls in every order, as often as they like ---- */

static int32_t answered;

static void note_answer(void *user, uint64_t id, const cdtx_reply *reply) {
    (void)user, (void)id;
    answered = reply->code;
}

static int32_t serve(int64_t sequence, int op, int64_t floor) {
    cdtx_call call = {.log = "another log's id",
                      .sequence = sequence,
                      .id = 1,
                      .op = op,
                      .attempt = 1,
                      .length = 1,
                      .floor = floor,
                      .participant = "order",
                      .payload = "x"};
    answered = 1;
    OK(cdtx_serve(engine, &call, note_answer, NULL, &E));
    run_ms(10);
    ck_assert_int_ne(answered, 1);
    return answered;
}

enum { SEQUENCES = 4 * 4 * 4 * 4 };

/* Four calls, each try, confirm, cancel or reverse: at most one of confirm and cancel has taken effect, and the message
 * of the try is visible exactly when its confirm has. */
START_TEST(calls_in_every_order) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = 1;
    for (int64_t s = 0; s < SEQUENCES; s++) {
        int confirmed = 0, tried = 0, over = 0;
        clear();
        for (int64_t left = s, i = 0; i < 4; i++, left /= 4) {
            int op = CDTX_CALL_TRY + (int)(left % 4);
            int32_t code = serve(s + 1, op, 0);
            tried |= op == CDTX_CALL_TRY && code == 0;
            ck_assert(op != CDTX_CALL_TRY || !over || code == CDTX_REFUSED || tried);
            confirmed |= op == CDTX_CALL_CONFIRM && code == 0;
            over |= op == CDTX_CALL_CANCEL && code == 0;
        }
        ck_assert_msg(calls == (confirmed ? 1U : 0U), "sequence %d: %u visible, confirmed %d", (int)s, calls,
                      confirmed);
        char held[80];
        snprintf(held, sizeof held, "cdtx_msg WHERE seq = %d", (int)s + 1);
        int stays = in_queue(held) != 0;
        snprintf(held, sizeof held, "cdtx_guard WHERE state = 1 AND seq = %d", (int)s + 1);
        ck_assert_int_eq(stays, in_queue(held) != 0); /* held as long as the guard says TRIED */
    }
    tear_down();
}
END_TEST

START_TEST(an_empty_cancel_and_a_late_try) {
    branch_world();
    puts_in[CDTX_CALL_TRY] = puts_in[CDTX_CALL_CANCEL] = 1;
    ck_assert_int_eq(serve(1, CDTX_CALL_CANCEL, 0), 0);
    ck_assert_int_eq(serve(1, CDTX_CALL_TRY, 0), CDTX_REFUSED);
    ck_assert_int_eq(serve(1, CDTX_CALL_CANCEL, 0), 0);
    ck_assert_uint_eq(calls, 0); /* on_cancel was never called */
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    ck_assert_int_eq(serve(2, CDTX_CALL_TRY, 0), 0);
    ck_assert_int_eq(serve(2, CDTX_CALL_CONFIRM, 0), 0);
    ck_assert_int_eq(serve(2, CDTX_CALL_CONFIRM, 0), 0);
    ck_assert_int_eq(serve(2, CDTX_CALL_CANCEL, 0), CDTX_REFUSED);
    ck_assert_int_eq(serve(2, CDTX_CALL_TRY, 0), 0); /* the first answer again */
    run_ms(1000);
    ck_assert_str_eq(order, "try ");
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    tear_down();
}
END_TEST

/* ---- ended without its branch ---- */

/* A branch that cannot be reached is parked, and a person declares its transaction ended: nobody calls the branch any
 * more, so what it holds is that person's, too. */
static void park_and_resolve(int commit, char gid[CDTX_GID_MAX]) {
    puts_in[CDTX_CALL_TRY] = 3;
    cdtx_tx *tx = begin((cdtx_tx_options){.wait_for = CDTX_WAIT_DECIDED});
    OK(cdtx_tx_try(tx, "order", "x", 1, &E));
    snprintf(gid, CDTX_GID_MAX, "%s", cdtx_tx_gid(tx));
    int64_t count = 77;
    FAILS(CDTX_MISUSE, "not ended", cdtx_held_settle(queue, gid, CDTX_TX_COMMITTED, "ann", "too early", &count, &E));
    says[CDTX_CALL_CONFIRM] = says[CDTX_CALL_CANCEL] = CDTX_USER;
    OK(commit ? cdtx_tx_commit(tx, &E) : cdtx_tx_rollback(tx, &E));
    cdtx_tx_close(tx);
    run_ms(60000);
    FAILS(CDTX_MISUSE, "not ended", cdtx_held_settle(queue, gid, CDTX_TX_COMMITTED, "ann", "too early", &count, &E));
    OK(cdtx_tx_resolve(engine, gid, "ann", "done by hand", &E));
    run_ms(3600000);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(count, 77);
}

START_TEST(held_ones_of_what_a_person_has_ended) {
    branch_world();
    char gid[CDTX_GID_MAX];
    int commit = _i == 0;
    park_and_resolve(commit, gid);
    cdtx_report *report = NULL;
    OK(cdtx_held_list(queue, NULL, 2, &report, &E));
    static const char *const names[] = {"id", "topic", "key", "gid", "branch", "payload"};
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_str_eq(cdtx_report_name(report, i), names[i]);
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 1, NULL), "orders");
    ck_assert_int_eq(cdtx_report_type(report, 2), CDTX_NULL);
    ck_assert_str_eq(cdtx_report_text(report, 3, NULL), gid);
    ck_assert_int_eq(cdtx_report_int(report, 4), 0);
    ck_assert_int_eq(cdtx_report_int(report, 5), 3);
    ck_assert_int_eq(cdtx_report_next(report), 1);
    char second[CDTX_GID_MAX];
    snprintf(second, sizeof second, "%s", cdtx_report_text(report, 0, NULL));
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    OK(cdtx_held_list(queue, second, 0, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), last_id);
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);

    int32_t right = commit ? CDTX_TX_COMMITTED : CDTX_TX_ROLLED_BACK;
    FAILS(CDTX_CONFLICT, commit ? "ended committed" : "ended rolled back",
          cdtx_held_settle(queue, gid, commit ? CDTX_TX_ROLLED_BACK : CDTX_TX_COMMITTED, "ann", "wrong", NULL, &E));
    int64_t count = 0;
    OK(cdtx_held_settle(queue, gid, right, "ann", "as it ended", &count, &E));
    ck_assert_int_eq(count, 3);
    FAILS(CDTX_NOT_FOUND, "holds no message", cdtx_held_settle(queue, gid, right, "ann", "again", &count, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, commit ? 3 : 0);
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    char line[200];
    snprintf(line, sizeof line,
             "cdtx_audit WHERE actor = 'ann' AND subject = 'tx %s' AND action = '%s'"
             " AND reason = '3 messages: as it ended'",
             gid, commit ? "held-release" : "held-drop");
    ck_assert_int_eq(in_queue(line), 1);
    tear_down();
}
END_TEST

START_TEST(held_ones_are_checked) {
    branch_world();
    char gid[CDTX_GID_MAX];
    cdtx_report *report = NULL;
    park_and_resolve(1, gid);
    FAILS(CDTX_MISUSE, "NULL", cdtx_held_list(NULL, NULL, 0, &report, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_held_list(queue, NULL, 0, NULL, &E));
    FAILS(CDTX_INVALID, "limit", cdtx_held_list(queue, NULL, 10001, &report, &E));
    FAILS(CDTX_INVALID, "no gid", cdtx_held_list(queue, "x", 0, &report, &E));
    FAILS(CDTX_INVALID, "another database", cdtx_held_list(queue, gid, 0, &report, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_held_settle(NULL, gid, CDTX_TX_COMMITTED, "ann", "why", NULL, &E));
    FAILS(CDTX_INVALID, "gid", cdtx_held_settle(queue, NULL, CDTX_TX_COMMITTED, "ann", "why", NULL, &E));
    FAILS(CDTX_INVALID, "no gid", cdtx_held_settle(queue, "x", CDTX_TX_COMMITTED, "ann", "why", NULL, &E));
    FAILS(CDTX_INVALID, "actor", cdtx_held_settle(queue, gid, CDTX_TX_COMMITTED, NULL, "why", NULL, &E));
    FAILS(CDTX_INVALID, "reason", cdtx_held_settle(queue, gid, CDTX_TX_COMMITTED, "ann", "", NULL, &E));
    static const int32_t wrong[] = {0, CDTX_TX_ACTIVE, CDTX_TX_COMMITTING, CDTX_TX_ROLLING_BACK, CDTX_TX_REVERSING, 8};
    for (int i = 0; i < 6; i++)
        FAILS(CDTX_INVALID, "no outcome", cdtx_held_settle(queue, gid, wrong[i], "ann", "why", NULL, &E));
    FAILS(CDTX_NOT_FOUND, "holds no message", cdtx_held_settle(shop, gid, CDTX_TX_COMMITTED, "ann", "why", NULL, &E));
    run_ms(8 * (int64_t)86400000); /* its log has forgotten it */
    int64_t count = 0;
    OK(cdtx_held_settle(queue, gid, CDTX_TX_COMMITTED, "ann", "why", &count, &E));
    ck_assert_int_eq(count, 3);
    /* One of a log that is not ours, in which somebody else has looked. */
    ck_assert_int_eq(serve(1, CDTX_CALL_TRY, 0), 0);
    OK(cdtx_held_settle(queue, "616e6f74686572206c6f672773206964-1", CDTX_TX_REVERSED, "ann", "looked", &count, &E));
    ck_assert_int_eq(count, 3);
    ck_assert_int_eq(in_queue("cdtx_msg"), 0);
    tear_down();
}
END_TEST

/* ---- a lot at once ---- */

static int32_t large_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    static char payload[15 << 20];
    int32_t rc = 0;
    (void)call, (void)user;
    for (int i = 0; rc == 0 && i < 5; i++)
        rc = cdtx_msg_put(sql, "orders", payload, sizeof payload, NULL, NULL, err);
    return rc;
}

static uint32_t large_calls;

static int32_t large_consume(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    (void)user, (void)err;
    cdtx_work_payload(work, &length);
    ck_assert_uint_eq(length, 15 << 20);
    large_calls++;
    return 0;
}

/* 75 MiB in one branch, and for a group that comes later. */
START_TEST(large_payloads) {
    clear();
    large_calls = 0;
    OK(cdtx_test_env_new(&env, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env), .payload_max = 16 << 20});
    queue = open_db(engine, "queue", "share=0"), shop = open_db(engine, "shop", "share=0");
    OK(cdtx_topic_add(queue, "orders", NULL, &E));
    cdtx_tcc_handlers h = {.size = sizeof h, .on_try = large_try, .on_confirm = on_confirm, .on_cancel = on_cancel};
    memset(puts_in, 0, sizeof puts_in), memset(says, 0, sizeof says);
    OK(cdtx_tcc_add(queue, "large", &h, &E));
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_add(tx, "large", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    OK(cdtx_drain(engine, 0, &E)); /* the first confirm was enough */
    ck_assert_int_eq(topic_number("orders", "kept"), 5);
    join("mail", (cdtx_consumer_options){.handler = large_consume});
    run_ms(1000);
    ck_assert_uint_eq(large_calls, 5);
    cdtx_tx_close(tx);
    tear_down();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, what_a_try_puts_waits_for_the_decision, 0, 2);
    tcase_add_test(tcase, the_id_is_that_of_the_try);
    tcase_add_test(tcase, a_delay_counts_from_the_confirm);
    tcase_add_test(tcase, a_group_that_comes_meanwhile_gets_it);
    tcase_add_loop_test(tcase, what_confirm_and_cancel_put_is_visible_with_them, 0, 2);
    tcase_add_test(tcase, a_confirm_that_fails_releases_nothing_yet);
    tcase_add_test(tcase, two_branches_of_one_gid_in_one_database);
    tcase_add_test(tcase, riders_that_run_twice_put_once);
    tcase_add_loop_test(tcase, a_branch_that_may_be_reversed_puts_none, CDTX_CALL_TRY, CDTX_CALL_CONFIRM + 1);
    tcase_add_test(tcase, what_a_reverse_puts_is_visible_with_it);
    tcase_add_test(tcase, calls_in_every_order);
    tcase_add_test(tcase, an_empty_cancel_and_a_late_try);
    tcase_add_loop_test(tcase, held_ones_of_what_a_person_has_ended, 0, 2);
    tcase_add_test(tcase, held_ones_are_checked);
    tcase_add_test(tcase, large_payloads);
}

int main(void) {
    return lab_main("pattern-msg-branch", tests);
}
