/* Putting messages: the outbox, what is refused, and what every message carries. */
#include "../adapter/plain_host.h"
#include "msg_lab.h"

/* ---- bad input ---- */

static const char long_name[] = "a234567890123456789012345678901234567890123456789012345x7"; /* 57 bytes */

static const struct {
    const char *name, *says;
} bad_names[] = {{NULL, "empty"},
                 {"", "empty"},
                 {"a/b", "slash"},
                 {"a\nb", "control"},
                 {"\xff", "UTF-8"},
                 {"a\xc2\x85", "control"},
                 {long_name, "longer than 56"}};
enum { BAD_NAMES = sizeof bad_names / sizeof bad_names[0] };

START_TEST(names_that_are_none) {
    set_up();
    cdtx_consumer_options c = {.size = sizeof c, .handler = consume};
    cdtx_half_options h = {.size = sizeof h, .producer = "shop"};
    char handle[CDTX_GID_MAX];
    for (int i = 0; i < BAD_NAMES; i++) {
        const char *name = bad_names[i].name, *says = bad_names[i].says;
        FAILS(CDTX_INVALID, says, cdtx_topic_add(queue, name, NULL, &E));
        FAILS(CDTX_INVALID, says, cdtx_msg_send(queue, name, "x", 1, NULL, NULL, &E));
        FAILS(CDTX_INVALID, says, cdtx_consumer_add(queue, name, "mail", &c, &E));
        FAILS(CDTX_INVALID, says, cdtx_consumer_add(queue, "orders", name, &c, &E));
        FAILS(CDTX_INVALID, says, cdtx_group_remove(queue, name, "mail", "ann", "why", &E));
        FAILS(CDTX_INVALID, says, cdtx_group_remove(queue, "orders", name, "ann", "why", &E));
        FAILS(CDTX_INVALID, says, cdtx_half_prepare(queue, name, "x", 1, &h, handle, &E));
    }
    char most[57];
    ck_assert_uint_eq(strlen(long_name), 57);
    memcpy(most, long_name, 56), most[56] = '\0';
    OK(cdtx_topic_add(queue, most, NULL, &E));
    OK(cdtx_topic_add(queue,
                      "B\xc3\xbc"
                      "cher",
                      NULL, &E));
    OK(join_as(queue, most, most, (cdtx_consumer_options){0}));
    OK(cdtx_msg_send(queue, most, "x", 1, NULL, NULL, &E));
    run_ms(0);
    ck_assert_uint_eq(calls, 1);
    tear_down();
}
END_TEST

START_TEST(a_topic_is_checked) {
    set_up();
    cdtx_topic_options o = {.size = 3};
    FAILS(CDTX_INVALID, "size", cdtx_topic_add(queue, "t", &o, &E));
    o = (cdtx_topic_options){.size = sizeof o, .retention_ms = -1};
    FAILS(CDTX_INVALID, "retention_ms", cdtx_topic_add(queue, "t", &o, &E));
    o.retention_ms = CDTX_TIME_MAX_MS + 1;
    FAILS(CDTX_INVALID, "retention_ms", cdtx_topic_add(queue, "t", &o, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_topic_add(NULL, "t", NULL, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_topic_list(queue, NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_topic_list(NULL, &(cdtx_report *){NULL}, &E));
    ck_assert_int_eq(in_queue("cdtx_topic"), 1);
    o.retention_ms = CDTX_TIME_MAX_MS;
    OK(cdtx_topic_add(queue, "t", &o, &E));
    ck_assert_int_eq(topic_number("t", "retention_ms"), CDTX_TIME_MAX_MS);
    OK(cdtx_topic_add(queue, "t", NULL, &E));
    ck_assert_int_eq(topic_number("t", "retention_ms"), 0);
    tear_down();
}
END_TEST

static int32_t put_x(cdtx_sql *sql, cdtx_msg_options *o, const char *topic, size_t length) {
    static const char large[CDTX_PAYLOAD_DEFAULT + 1];
    char id[CDTX_GID_MAX] = "untouched";
    int32_t rc = cdtx_msg_put(sql, topic, length == 0 ? NULL : large, length, o, id, &E);
    ck_assert(rc == 0 || strcmp(id, "untouched") == 0);
    return rc;
}

START_TEST(a_message_is_checked) {
    set_up();
    char key[129];
    memset(key, 'k', 128), key[128] = '\0';
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    FAILS(CDTX_NOT_FOUND, "no topic 'none'", put_x(sql, NULL, "none", 1));
    FAILS(CDTX_LIMIT, "payload_max", put_x(sql, NULL, "orders", CDTX_PAYLOAD_DEFAULT + 1));
    FAILS(CDTX_INVALID, "NULL", cdtx_msg_put(sql, "orders", NULL, 1, NULL, NULL, &E));
    FAILS(CDTX_INVALID, "size", put_x(sql, &(cdtx_msg_options){.size = 8}, "orders", 1));
    cdtx_msg_options o = {.size = sizeof o, .key = ""};
    FAILS(CDTX_INVALID, "key", put_x(sql, &o, "orders", 1));
    o.key = key;
    FAILS(CDTX_INVALID, "key", put_x(sql, &o, "orders", 1));
    o.key = "a\tb";
    FAILS(CDTX_INVALID, "key", put_x(sql, &o, "orders", 1));
    o = (cdtx_msg_options){.size = sizeof o, .delay_ms = -1};
    FAILS(CDTX_INVALID, "delay_ms", put_x(sql, &o, "orders", 1));
    o.delay_ms = CDTX_TIME_MAX_MS + 1;
    FAILS(CDTX_INVALID, "delay_ms", put_x(sql, &o, "orders", 1));
    o = (cdtx_msg_options){.size = sizeof o, .priority = -1};
    FAILS(CDTX_INVALID, "priority", put_x(sql, &o, "orders", 1));
    o.priority = CDTX_PRIORITY_MAX + 1;
    FAILS(CDTX_INVALID, "priority", put_x(sql, &o, "orders", 1));
    OK(put_x(sql, NULL, "orders", CDTX_PAYLOAD_DEFAULT));
    OK(put_x(sql, NULL, "orders", 0));
    o = (cdtx_msg_options){.size = sizeof o, .delay_ms = CDTX_TIME_MAX_MS, .key = key, .priority = 9};
    key[127] = '\0';
    OK(put_x(sql, &o, "orders", 1));
    OK(cdtx_sql_commit(sql, &E));
    FAILS(CDTX_MISUSE, "ended", put_x(sql, NULL, "orders", 1));
    cdtx_sql_close(sql);
    FAILS(CDTX_MISUSE, "", put_x(NULL, NULL, "orders", 1));
    FAILS(CDTX_MISUSE, "NULL", cdtx_msg_send(NULL, "orders", "x", 1, NULL, NULL, &E));
    FAILS(CDTX_NOT_FOUND, "no topic", cdtx_msg_send(shop, "orders", "x", 1, NULL, NULL, &E));
    ck_assert_int_eq(in_queue("cdtx_msg"), 3);
    tear_down();
}
END_TEST

START_TEST(accessors_of_what_is_no_delivery) {
    set_up();
    char id[CDTX_GID_MAX] = "x";
    cdtx_msg_id(NULL, id);
    ck_assert_str_eq(id, "");
    ck_assert_ptr_null(cdtx_msg_topic(NULL));
    ck_assert_ptr_null(cdtx_msg_group(NULL));
    ck_assert_ptr_null(cdtx_msg_key(NULL));
    cdtx_handler_options o = {.size = sizeof o};
    OK(cdtx_handler_add(queue, "print", &o, &E));
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_job_put(sql, "print", "x", 1, NULL, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    cdtx_work *work = NULL;
    OK(cdtx_take(engine, 1000, &work, &E));
    strcpy(id, "x");
    cdtx_msg_id(work, id);
    ck_assert_str_eq(id, "");
    ck_assert_ptr_null(cdtx_msg_topic(work));
    ck_assert_ptr_null(cdtx_msg_group(work));
    ck_assert_ptr_null(cdtx_msg_key(work));
    OK(cdtx_settle(work, 0, NULL, &E));
    tear_down();
}
END_TEST

/* Every call that would wait for a commit, inside one. */
static int32_t wait_inside(cdtx_sql *sql, void *user, cdtx_error *err) {
    char handle[CDTX_GID_MAX];
    int32_t state = 0;
    cdtx_report *report = NULL;
    cdtx_consumer_options c = {.size = sizeof c, .handler = consume};
    cdtx_half_options h = {.size = sizeof h, .producer = "shop"};
    (void)err;
    FAILS(CDTX_MISUSE, "own commit", cdtx_topic_add(queue, "t", NULL, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_topic_list(queue, &report, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_msg_send(queue, "orders", "x", 1, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_consumer_add(queue, "orders", "mail", &c, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_group_remove(queue, "orders", "mail", "ann", "why", &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_group_list(queue, &report, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_half_prepare(queue, "orders", "x", 1, &h, handle, &E));
    snprintf(handle, sizeof handle, "%s", (const char *)user);
    FAILS(CDTX_MISUSE, "own commit", cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_half_settle(queue, handle, CDTX_HALF_COMMITTED, "ann", "why", &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_half_query(queue, handle, &state, &E));
    FAILS(CDTX_MISUSE, "own commit", cdtx_half_list(queue, NULL, 0, &report, &E));
    return cdtx_msg_put(sql, "orders", "inside", 6, NULL, NULL, &E);
}

START_TEST(nothing_waits_inside_a_closure) {
    set_up();
    char handle[CDTX_GID_MAX];
    cdtx_half_options h = {.size = sizeof h, .producer = "shop"};
    OK(cdtx_half_prepare(queue, "orders", "x", 1, &h, handle, &E));
    ck_assert_int_eq(cdtx_local(queue, wait_inside, handle, NULL), 0);
    ck_assert_int_eq(in_queue("cdtx_group"), 0);
    ck_assert_int_eq(in_queue("cdtx_msg"), 1);
    /* What failed before has left nothing in the way. */
    join("mail", (cdtx_consumer_options){0});
    run_ms(0);
    ck_assert_str_eq(order, "inside ");
    tear_down();
}
END_TEST

START_TEST(a_closed_engine_answers_misuse) {
    set_up();
    char handle[CDTX_GID_MAX];
    int32_t state = 0;
    cdtx_report *report = NULL;
    cdtx_consumer_options c = {.size = sizeof c, .handler = consume};
    cdtx_half_options h = {.size = sizeof h, .producer = "shop"};
    cdtx_half_checker k = {.size = sizeof k, .guard_db = shop};
    OK(cdtx_half_prepare(queue, "orders", "x", 1, &h, handle, &E));
    cdtx_close(engine);
    FAILS(CDTX_MISUSE, "closed", cdtx_topic_add(queue, "t", NULL, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_topic_list(queue, &report, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_msg_send(queue, "orders", "x", 1, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_consumer_add(queue, "orders", "mail", &c, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_group_remove(queue, "orders", "mail", "ann", "why", &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_group_list(queue, &report, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_half_prepare(queue, "orders", "x", 1, &h, handle, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_half_settle(queue, handle, CDTX_HALF_COMMITTED, "ann", "why", &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_half_query(queue, handle, &state, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_half_list(queue, NULL, 0, &report, &E));
    FAILS(CDTX_MISUSE, "closed", cdtx_half_checker_add(queue, "shop", &k, &E));
    cdtx_db_close(queue), cdtx_db_close(shop);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(who_only_reads_is_refused_what_writes) {
    set_up();
    join("mail", (cdtx_consumer_options){0});
    send("one");
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(env)};
    cdtx *reader = NULL;
    cdtx_report *report = NULL;
    OK(cdtx_open(&options, &reader, &E));
    cdtx_db *db = open_db(reader, "queue", "read=1");
    cdtx_consumer_options c = {.size = sizeof c, .handler = consume};
    cdtx_half_options h = {.size = sizeof h, .producer = "shop"};
    cdtx_half_checker k = {.size = sizeof k, .guard_db = db};
    char handle[CDTX_GID_MAX];
    FAILS(CDTX_MISUSE, "reading only", cdtx_topic_add(db, "t", NULL, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_msg_send(db, "orders", "x", 1, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_consumer_add(db, "orders", "mail", &c, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_group_remove(db, "orders", "mail", "ann", "why", &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_half_prepare(db, "orders", "x", 1, &h, handle, &E));
    FAILS(CDTX_MISUSE, "reading only", cdtx_half_checker_add(db, "shop", &k, &E));
    OK(cdtx_topic_list(db, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    cdtx_report_close(report);
    OK(cdtx_group_list(db, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 1, NULL), "mail");
    ck_assert_int_eq(cdtx_report_int(report, 2), 0); /* not joined here */
    cdtx_report_close(report);
    OK(cdtx_half_list(db, NULL, 0, &report, &E));
    cdtx_report_close(report);
    cdtx_db_close(db);
    cdtx_close(reader);
    tear_down();
}
END_TEST

START_TEST(a_passive_engine_puts_and_takes_up_nothing) {
    clear();
    OK(cdtx_test_env_new(&env, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env), .passive = 1});
    queue = open_db(engine, "queue", "share=0"), shop = open_db(engine, "shop", "share=0");
    OK(cdtx_topic_add(queue, "orders", NULL, &E));
    join("mail", (cdtx_consumer_options){0});
    send("one");
    run_ms(60000);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(group_number("mail", "lag"), 1);
    tear_down();
}
END_TEST

/* ---- the outbox ---- */

START_TEST(a_message_is_visible_exactly_when_its_transaction_commits) {
    set_up();
    join("mail", (cdtx_consumer_options){0});
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_msg_put(sql, "orders", "never", 5, NULL, NULL, &E));
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    run_ms(1000);
    ck_assert_uint_eq(calls, 0);
    OK(cdtx_sql_begin(queue, &sql, &E));
    OK(cdtx_msg_put(sql, "orders", "now", 3, NULL, NULL, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, 0);
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    run_ms(0);
    ck_assert_str_eq(order, "now ");
    tear_down();
}
END_TEST

struct batch {
    int fails;
};

static int32_t put_many(cdtx_sql *sql, void *user, cdtx_error *err) {
    static const char *const topics[] = {"orders", "stock", "bare"};
    const struct batch *batch = user;
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO seen VALUES ('order')", NULL, err);
    for (int i = 0; rc == 0 && i < 30; i++)
        rc = cdtx_msg_put(sql, topics[i % 3], "m", 1, NULL, NULL, err);
    return rc == 0 && batch->fails ? cdtx_error_set(err, CDTX_USER, "changed my mind") : rc;
}

START_TEST(many_messages_of_many_topics_in_one_transaction) {
    set_up();
    OK(cdtx_topic_add(queue, "stock", NULL, &E));
    OK(cdtx_topic_add(queue, "bare", NULL, &E));
    join("mail", (cdtx_consumer_options){0});
    OK(join_as(queue, "stock", "a", (cdtx_consumer_options){0}));
    OK(join_as(queue, "stock", "b", (cdtx_consumer_options){0}));
    struct batch batch = {.fails = 1};
    FAILS(CDTX_USER, "mind", cdtx_local(queue, put_many, &batch, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, 0);
    batch.fails = 0;
    OK(cdtx_local(queue, put_many, &batch, &E));
    run_ms(1000);
    ck_assert_uint_eq(calls, 10 + 20);
    ck_assert_int_eq(in_queue("cdtx_msg"), 10); /* nobody wants them yet */
    ck_assert_int_eq(in_queue("seen"), 1);
    ck_assert_int_eq(topic_number("bare", "kept"), 10);
    ck_assert_int_eq(topic_number("orders", "kept"), 0);
    ck_assert_int_eq(topic_number("stock", "groups"), 2);
    tear_down();
}
END_TEST

static char ids[16][CDTX_GID_MAX];
static uint32_t id_count;

static int32_t note_id(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user, (void)err;
    ck_assert_uint_lt(id_count, 16);
    cdtx_msg_id(work, ids[id_count++]);
    ck_assert_str_eq(cdtx_msg_topic(work), "orders");
    ck_assert_ptr_nonnull(cdtx_msg_group(work));
    ck_assert_str_eq(cdtx_msg_key(work), "k");
    ck_assert_str_eq(cdtx_work_gid(work), "");
    return id_count == 1 ? cdtx_error_set(err, CDTX_USER, "once more") : 0;
}

/* To each group, to each attempt, and to groups that come later. */
START_TEST(every_copy_has_the_same_id) {
    set_up();
    id_count = 0;
    cdtx_topic_options t = {.size = sizeof t, .retention_ms = 3600000};
    OK(cdtx_topic_add(queue, "orders", &t, &E));
    join("a", (cdtx_consumer_options){.handler = note_id});
    join("b", (cdtx_consumer_options){.handler = note_id});
    char id[CDTX_GID_MAX];
    cdtx_msg_options o = {.size = sizeof o, .key = "k"};
    OK(cdtx_msg_send(queue, "orders", "x", 1, &o, id, &E));
    run_ms(60000);
    join("c", (cdtx_consumer_options){.handler = note_id, .in_order = 1});
    run_ms(0);
    ck_assert_uint_eq(id_count, 4);
    for (uint32_t i = 0; i < id_count; i++)
        ck_assert_str_eq(ids[i], id);
    tear_down();
}
END_TEST

static char bytes[16];
static size_t byte_count;

static int32_t keep_bytes(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user, (void)err;
    const void *payload = cdtx_work_payload(work, &byte_count);
    ck_assert_uint_le(byte_count, sizeof bytes);
    memcpy(bytes, payload, byte_count);
    ck_assert_ptr_null(cdtx_msg_key(work));
    return 0;
}

START_TEST(a_payload_is_any_bytes) {
    set_up();
    join("mail", (cdtx_consumer_options){.handler = keep_bytes});
    OK(cdtx_msg_send(queue, "orders", "a\0\xff", 3, NULL, NULL, &E));
    run_ms(0);
    ck_assert_mem_eq(bytes, "a\0\xff", 3);
    ck_assert_uint_eq(byte_count, 3);
    OK(cdtx_msg_send(queue, "orders", NULL, 0, NULL, NULL, &E));
    run_ms(0);
    ck_assert_uint_eq(byte_count, 0);
    tear_down();
}
END_TEST

static int32_t put_by_urgency(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t rc = 0;
    (void)user;
    for (const char *p = "0591"; rc == 0 && *p != '\0'; p++) {
        cdtx_msg_options o = {.size = sizeof o, .priority = *p - '0'};
        rc = cdtx_msg_put(sql, "orders", p, 1, &o, NULL, err);
    }
    return rc;
}

START_TEST(the_more_urgent_first) {
    set_up();
    join("mail", (cdtx_consumer_options){0});
    OK(cdtx_local(queue, put_by_urgency, NULL, &E));
    run_ms(0);
    ck_assert_str_eq(order, "9 5 1 0 ");
    tear_down();
}
END_TEST

START_TEST(a_delay_counts_from_when_it_is_visible) {
    set_up();
    join("mail", (cdtx_consumer_options){0});
    send_with("late", (cdtx_msg_options){.delay_ms = 60000});
    send("now");
    cdtx_test_env_step_wall(env, 86400000);
    run_ms(59900);
    ck_assert_str_eq(order, "now ");
    cdtx_test_env_step_wall(env, -2 * 86400000);
    run_ms(200);
    ck_assert_str_eq(order, "now late ");
    tear_down();
}
END_TEST

/* What waits for its first group, or is kept for a later one, has its delay all the same. */
START_TEST(a_delay_holds_for_groups_that_come_later) {
    set_up();
    if (_i == 1) {
        cdtx_topic_options t = {.size = sizeof t, .retention_ms = 3600000};
        OK(cdtx_topic_add(queue, "orders", &t, &E));
        join("first", (cdtx_consumer_options){.user = "1:"});
    }
    send_with("late", (cdtx_msg_options){.delay_ms = 60000});
    run_ms(20000);
    join("mail", (cdtx_consumer_options){0});
    run_ms(39000);
    ck_assert_str_eq(order, "");
    run_ms(1500);
    ck_assert_str_eq(order, _i == 1 ? "1:late late " : "late ");
    clear();
    if (_i == 1) {
        join("third", (cdtx_consumer_options){0});
        run_ms(10);
        ck_assert_str_eq(order, "late ");
    }
    tear_down();
}
END_TEST

/* ---- transactions of the host's ---- */

static struct plain_host host;
static sqlite3 *conn;

static void host_sql(const char *statements) {
    char *text = NULL;
    int rc = sqlite3_exec(conn, statements, NULL, NULL, &text);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", statements, text);
}

static void lend_and_put(const char *payload, int commit) {
    cdtx_sql *sql = NULL;
    host_sql("BEGIN IMMEDIATE; INSERT INTO seen VALUES ('an order')");
    OK(cdtx_lend(queue, conn, &sql, &E));
    OK(cdtx_msg_put(sql, "orders", payload, strlen(payload), NULL, NULL, &E));
    host_sql(commit ? "COMMIT" : "ROLLBACK");
    OK(cdtx_lent_settle(sql, commit ? 0 : CDTX_REFUSED, &E));
}

static int32_t add_topic(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_msg_put(sql, "none", "x", 1, NULL, NULL, err);
}

START_TEST(a_lent_transaction_puts_messages) {
    clear();
    OK(cdtx_test_env_new(&env, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env), .wait_ms = 100});
    plain_host_init(&host);
    conn = plain_host_open(lab_path("queue.db"));
    OK(cdtx_db_host(engine, "queue", &host.port, &queue, &E));
    OK(cdtx_host_prepare(queue, conn, &E));
    host_sql("CREATE TABLE seen (payload TEXT)");
    FAILS(CDTX_BUSY, "cdtx_host_run", cdtx_topic_add(queue, "orders", NULL, &E)); /* it needs a turn */
    /* Added by whoever has the file; here another engine, once the host lets go. */
    cdtx_db_close(queue);
    cdtx_close(engine);
    open_engine();
    OK(cdtx_topic_add(queue, "orders", NULL, &E));
    cdtx_consumer_options c = {.in_local = 1};
    join("mail", c);
    close_engine();
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env)});
    plain_host_init(&host);
    OK(cdtx_db_host(engine, "queue", &host.port, &queue, &E));
    OK(cdtx_host_prepare(queue, conn, &E));
    lend_and_put("never", 0);
    lend_and_put("now", 1);
    cdtx_sql *sql = NULL;
    host_sql("BEGIN IMMEDIATE");
    OK(cdtx_lend(queue, conn, &sql, &E));
    FAILS(CDTX_NOT_FOUND, "no topic", add_topic(sql, NULL, &E));
    host_sql("ROLLBACK");
    OK(cdtx_lent_settle(sql, CDTX_REFUSED, &E));
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg IS NOT NULL"), 1);
    ck_assert_int_eq(in_queue("cdtx_job WHERE msg >= (SELECT job FROM cdtx_meta)"), 0);
    cdtx_handler_options unused = {.size = sizeof unused};
    OK(cdtx_handler_add(queue, "unused", &unused, &E));
    OK(cdtx_host_run(queue, conn, 0, &E));
    ck_assert_uint_eq(calls, 0); /* nobody has joined here yet */
    cdtx_db_close(queue);
    cdtx_close(engine);
    sqlite3_close(conn);
    open_engine();
    join("mail", c);
    run_ms(0);
    ck_assert_str_eq(order, "now ");
    tear_down();
}
END_TEST

/* ---- the lists ---- */

START_TEST(what_there_is_of_a_topic) {
    set_up();
    cdtx_report *report = NULL;
    OK(cdtx_topic_add(queue, "a", NULL, &E));
    OK(cdtx_topic_list(queue, &report, &E));
    static const char *const names[] = {"topic", "retention_ms", "groups", "kept", "held", "halves"};
    ck_assert_uint_eq(cdtx_report_columns(report), 6);
    for (uint32_t i = 0; i < 6; i++)
        ck_assert_str_eq(cdtx_report_name(report, i), names[i]);
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), "a");
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), "orders");
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    cdtx_half_options h = {.size = sizeof h, .producer = "shop"};
    char handle[CDTX_GID_MAX];
    OK(cdtx_half_prepare(queue, "orders", "x", 1, &h, handle, &E));
    OK(cdtx_half_prepare(queue, "orders", "x", 1, &h, handle, &E));
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_ROLLED_BACK, &E));
    send("x");
    ck_assert_int_eq(topic_number("orders", "halves"), 1);
    ck_assert_int_eq(topic_number("orders", "kept"), 1);
    ck_assert_int_eq(topic_number("a", "kept"), 0);
    tear_down();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, names_that_are_none);
    tcase_add_test(tcase, a_topic_is_checked);
    tcase_add_test(tcase, a_message_is_checked);
    tcase_add_test(tcase, accessors_of_what_is_no_delivery);
    tcase_add_test(tcase, nothing_waits_inside_a_closure);
    tcase_add_test(tcase, a_closed_engine_answers_misuse);
    tcase_add_test(tcase, who_only_reads_is_refused_what_writes);
    tcase_add_test(tcase, a_passive_engine_puts_and_takes_up_nothing);
    tcase_add_test(tcase, a_message_is_visible_exactly_when_its_transaction_commits);
    tcase_add_test(tcase, many_messages_of_many_topics_in_one_transaction);
    tcase_add_test(tcase, every_copy_has_the_same_id);
    tcase_add_test(tcase, a_payload_is_any_bytes);
    tcase_add_test(tcase, the_more_urgent_first);
    tcase_add_test(tcase, a_delay_counts_from_when_it_is_visible);
    tcase_add_loop_test(tcase, a_delay_holds_for_groups_that_come_later, 0, 2);
    tcase_add_test(tcase, a_lent_transaction_puts_messages);
    tcase_add_test(tcase, what_there_is_of_a_topic);
}

int main(void) {
    return lab_main("pattern-msg", tests);
}
