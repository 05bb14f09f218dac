/* What the tests of messages share: a queue and a shop in virtual time, and consumers that note what came. */
#ifndef TESTS_PATTERN_MSG_LAB_H
#define TESTS_PATTERN_MSG_LAB_H

#include <cdtx/admin.h>
#include <cdtx/msg.h>

#include "../engine/lab.h"

static cdtx *engine;
static cdtx_db *queue, *shop;
static cdtx_test_env *env;

static inline cdtx_db *open_db(cdtx *of, const char *name, const char *parameters) {
    char url[700], file[64];
    cdtx_db *db = NULL;
    snprintf(file, sizeof file, "%s.db", name);
    snprintf(url, sizeof url, "%s?%s", lab_url(file), parameters);
    OK(cdtx_db_open(of, name, url, &db, &E));
    return db;
}

static inline void open_engine(void) {
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(env), .park_attempts = 3});
    queue = open_db(engine, "queue", "share=0");
    shop = open_db(engine, "shop", "share=0");
}

static inline void close_engine(void) {
    cdtx_db_close(queue), cdtx_db_close(shop);
    cdtx_close(engine);
}

/* ---- consumers ---- */

/* What the calls of consumers left, in their order: "payload " each. A payload that begins with a bang is poison. */
static char order[4096];
static uint32_t calls, fail_next;
static int32_t fail_code;
static int poisonous;

static inline void clear(void) {
    order[0] = '\0';
    calls = fail_next = 0;
    fail_code = CDTX_USER;
    poisonous = 1;
}

static inline int32_t consume(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    const char *who = user == NULL ? "" : user;
    int32_t code = 0;
    calls++;
    if (cdtx_work_sql(work) != NULL) {
        cdtx_sql_bind_text(cdtx_work_sql(work), payload, length);
        code = cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO seen VALUES (?)", NULL, err);
        if (code != 0)
            return code;
    }
    if (fail_next > 0) {
        fail_next--;
        return cdtx_error_set(err, fail_code, "not now");
    }
    if (poisonous && length > 0 && payload[0] == '!')
        return cdtx_error_set(err, CDTX_USER, "poison");
    snprintf(order + strlen(order), sizeof order - strlen(order), "%s%.*s ", who, (int)length, payload);
    return 0;
}

static inline int32_t join_as(cdtx_db *db, const char *topic, const char *group, cdtx_consumer_options o) {
    o.size = sizeof o;
    if (o.handler == NULL)
        o.handler = consume;
    return cdtx_consumer_add(db, topic, group, &o, &E);
}

static inline void join(const char *group, cdtx_consumer_options o) {
    OK(join_as(queue, "orders", group, o));
}

static inline void send_with(const char *text, cdtx_msg_options o) {
    o.size = sizeof o;
    OK(cdtx_msg_send(queue, "orders", text, strlen(text), &o, NULL, &E));
}

static inline void send(const char *text) {
    send_with(text, (cdtx_msg_options){0});
}

static inline void run_ms(int64_t ms) {
    OK(cdtx_run(engine, ms, &E));
}

static inline int64_t in_queue(const char *what) {
    char query[400];
    snprintf(query, sizeof query, "SELECT count(*) FROM %s", what);
    return lab_sql("queue.db", query);
}

static inline int64_t in_shop(const char *what) {
    char query[400];
    snprintf(query, sizeof query, "SELECT count(*) FROM %s", what);
    return lab_sql("shop.db", query);
}

static inline int64_t wall_ms(void) {
    return cdtx_test_env_port(env)->wall_us(cdtx_test_env_port(env)->user) / 1000;
}

static inline int64_t mono_ms(void) {
    return cdtx_test_env_port(env)->monotonic_us(cdtx_test_env_port(env)->user) / 1000;
}

/* ---- reports ---- */

/* The cell of that column in the first row whose first column, or second, is key (NULL: the first row). */
static inline const char *cell(cdtx_report *report, const char *key, const char *column, int64_t *number) {
    static char text[128];
    uint32_t at = 0;
    while (cdtx_report_name(report, at) != NULL && strcmp(cdtx_report_name(report, at), column) != 0)
        at++;
    ck_assert_msg(cdtx_report_name(report, at) != NULL, "no column %s", column);
    *number = -1;
    snprintf(text, sizeof text, "no row");
    while (cdtx_report_next(report)) {
        const char *first = cdtx_report_text(report, 0, NULL), *second = cdtx_report_text(report, 1, NULL);
        if (key != NULL && (first == NULL || strcmp(first, key) != 0) && (second == NULL || strcmp(second, key) != 0))
            continue;
        *number = cdtx_report_int(report, at);
        const char *found = cdtx_report_text(report, at, NULL);
        snprintf(text, sizeof text, "%s", found == NULL ? "NULL" : found);
        break;
    }
    cdtx_report_close(report);
    return text;
}

static inline int64_t topic_number(const char *topic, const char *column) {
    cdtx_report *report = NULL;
    int64_t number;
    OK(cdtx_topic_list(queue, &report, &E));
    cell(report, topic, column, &number);
    return number;
}

static inline int64_t group_number(const char *group, const char *column) {
    cdtx_report *report = NULL;
    int64_t number;
    OK(cdtx_group_list(queue, &report, &E));
    cell(report, group, column, &number);
    return number;
}

/* ---- the world ---- */

static inline void set_up(void) {
    clear();
    OK(cdtx_test_env_new(&env, &E));
    open_engine();
    OK(cdtx_topic_add(queue, "orders", NULL, &E));
    lab_exec(queue, "CREATE TABLE seen (payload TEXT)");
    lab_exec(shop, "CREATE TABLE seen (payload TEXT)");
}

static inline void tear_down(void) {
    close_engine();
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}

#endif
