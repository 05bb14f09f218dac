/* The message engine with mishaps: it must be right where a test asks for none, and wrong exactly where one does. */
#include <cdtx/test.h>

#include <stdio.h>

#include "../base/tests.h"
#include "queue_conformance.h"

static cdtx_test_env *env;
static cdtx_test_queue *fake;
static const cdtx_queue_port *port;
static cdtx_error err, results[64];
static cdtx_queue_delivery got[64];

static void open_fake(cdtx_test_queue_options o) {
    ck_assert_int_eq(cdtx_test_env_new(&env, NULL), 0);
    o.size = sizeof o;
    o.env = cdtx_test_env_port(env);
    ck_assert_int_eq(cdtx_test_queue_new(&o, &fake, NULL), 0);
    port = cdtx_test_queue_port(fake);
}

static void close_fake(void) {
    port->close(port->user);
    cdtx_test_queue_free(fake);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}

/* ---- what every engine must do ---- */

static cdtx_test_queue_options conforming;

static const cdtx_queue_port *conforming_open(void) {
    open_fake(conforming);
    return port;
}

static void conforming_advance(int64_t ms) {
    cdtx_test_env_advance(env, ms);
}

static uint32_t conforming_dead(const char *topic, const char *group) {
    return cdtx_test_queue_dead(fake, topic, group);
}

/* ---- short for what the tests do ---- */

static int32_t send_text(const char *id, const char *key) {
    cdtx_queue_message message = {.id = id, .topic = "t", .key = key, .payload = id, .length = strlen(id)};
    int32_t rc = port->send(port->user, &message, 1, results);
    ck_assert_int_eq(results[0].code, rc);
    return rc;
}

static uint32_t fetch(void) {
    uint32_t count = 0;
    ck_assert_int_eq(port->fetch(port->user, 0, got, 64, &count, &err), 0);
    return count;
}

static int32_t settle(uint64_t token, int32_t kind) {
    cdtx_queue_answer answer = {.token = token, .kind = kind};
    return port->settle(port->user, &answer, 1, results);
}

static void rule(const char *key, int32_t fault, uint32_t times) {
    ck_assert_int_eq(cdtx_test_queue_rule(fake, NULL, key, fault, times, NULL), 0);
}

static void subscribe(void) {
    ck_assert_int_eq(port->subscribe(port->user, "t", "g", NULL, &err), 0);
}

/* The ids that are stored in the topic, in their order. */
static const char *stored_ids(void) {
    static char text[512];
    cdtx_queue_message message;
    text[0] = '\0';
    for (uint32_t i = 0; cdtx_test_queue_at(fake, "t", i, &message, NULL) == 0; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", message.id);
    return text;
}

START_TEST(faults_of_sending) {
    open_fake((cdtx_test_queue_options){0});
    subscribe();
    rule("k", CDTX_FAULT_LOSE_CALL, 1), rule("k", CDTX_FAULT_LOSE_REPLY, 1), rule("k", CDTX_FAULT_REFUSE, 1);
    rule("k", CDTX_FAULT_AWAY, 1), rule("k", CDTX_FAULT_DOUBLE, 1), rule(NULL, CDTX_FAULT_OVERTAKE, 1);
    ck_assert_int_eq(send_text("1", "k"), CDTX_UNKNOWN);
    ck_assert_uint_eq(cdtx_test_queue_stored(fake, "1"), 0);
    ck_assert_int_eq(send_text("2", "k"), CDTX_UNKNOWN);
    ck_assert_uint_eq(cdtx_test_queue_stored(fake, "2"), 1);
    ck_assert_int_eq(send_text("3", "k"), CDTX_REFUSED);
    ck_assert_ptr_nonnull(strstr(results[0].text, "3"));
    ck_assert_int_eq(send_text("4", "k"), CDTX_IO);
    ck_assert_int_eq(send_text("5", "k"), 0);
    ck_assert_int_eq(send_text("6", NULL), 0);
    ck_assert_int_eq(send_text("7", "k"), 0);
    ck_assert_str_eq(stored_ids(), "6 2 5 7 ");
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, "4"), 1);
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, NULL), 7);
    ck_assert_uint_eq(fetch(), 5);
    ck_assert_str_eq(got[0].id, "6");
    ck_assert_str_eq(got[2].id, "5");
    ck_assert_str_eq(got[3].id, "5");
    ck_assert_uint_ne(got[2].token, got[3].token);
    ck_assert_uint_eq(cdtx_test_queue_lag(fake, "t", "g"), 5);
    ck_assert_int_eq(settle(got[2].token, CDTX_QUEUE_ACK), 0);
    ck_assert_uint_eq(cdtx_test_queue_lag(fake, "t", "g"), 4);
    close_fake();
}
END_TEST

START_TEST(what_is_held_comes_late) {
    open_fake((cdtx_test_queue_options){.repeat_ms = 60000});
    subscribe();
    rule(NULL, CDTX_FAULT_HOLD, 2);
    ck_assert_int_eq(send_text("1", NULL), CDTX_UNKNOWN);
    ck_assert_int_eq(send_text("2", NULL), CDTX_UNKNOWN);
    ck_assert_uint_eq(fetch(), 0);
    ck_assert_int_eq(send_text("1", NULL), 0); /* the repeat is there first */
    ck_assert_uint_eq(cdtx_test_queue_release(fake), 2);
    ck_assert_uint_eq(cdtx_test_queue_release(fake), 0);
    ck_assert_str_eq(stored_ids(), "1 2 ");
    ck_assert_uint_eq(fetch(), 2);
    rule(NULL, CDTX_FAULT_HOLD, 1);
    ck_assert_int_eq(send_text("3", NULL), CDTX_UNKNOWN); /* never released */
    close_fake();
}
END_TEST

START_TEST(rules_are_tried_in_order_and_used_up) {
    open_fake((cdtx_test_queue_options){0});
    ck_assert_int_eq(cdtx_test_queue_rule(fake, "other", NULL, CDTX_FAULT_REFUSE, 1, NULL), 0);
    rule("poison", CDTX_FAULT_REFUSE, UINT32_MAX);
    rule(NULL, CDTX_FAULT_NONE, 1);
    rule(NULL, CDTX_FAULT_AWAY, 1);
    ck_assert_int_eq(send_text("1", NULL), 0);
    ck_assert_int_eq(send_text("2", "poison"), CDTX_REFUSED);
    ck_assert_int_eq(send_text("3", NULL), CDTX_IO);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(send_text("2", "poison"), CDTX_REFUSED);
    ck_assert_int_eq(send_text("4", "sound"), 0);
    close_fake();
}
END_TEST

START_TEST(down_is_down_for_all) {
    open_fake((cdtx_test_queue_options){0});
    uint32_t count = 7;
    subscribe();
    ck_assert_int_eq(send_text("1", NULL), 0);
    ck_assert_uint_eq(fetch(), 1);
    cdtx_test_queue_set_down(fake, 1);
    ck_assert_int_eq(send_text("2", NULL), CDTX_IO);
    ck_assert_int_eq(port->fetch(port->user, 1000, got + 1, 1, &count, &err), CDTX_IO);
    ck_assert_int_eq(port->subscribe(port->user, "t", "h", NULL, &err), CDTX_IO);
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), CDTX_IO);
    ck_assert_uint_eq(count, 7);
    cdtx_test_queue_set_down(fake, 0);
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), CDTX_NOT_FOUND); /* it is used up */
    cdtx_test_env_advance(env, 30000);
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_uint_eq(got[0].attempt, 2);
    close_fake();
}
END_TEST

START_TEST(a_restart_gives_out_again) {
    open_fake((cdtx_test_queue_options){.repeat_ms = 60000});
    subscribe();
    send_text("1", NULL), send_text("2", NULL), send_text("3", NULL);
    rule(NULL, CDTX_FAULT_HOLD, 1);
    send_text("4", NULL);
    ck_assert_uint_eq(fetch(), 3);
    uint64_t token = got[1].token;
    ck_assert_int_eq(settle(got[0].token, CDTX_QUEUE_ACK), 0);
    ck_assert_int_eq(settle(got[2].token, CDTX_QUEUE_DEAD), 0);
    cdtx_test_queue_restart(fake);
    ck_assert_int_eq(settle(token, CDTX_QUEUE_ACK), CDTX_NOT_FOUND);
    ck_assert_int_eq(send_text("2", NULL), 0); /* a repeat still */
    ck_assert_uint_eq(cdtx_test_queue_release(fake), 0);
    ck_assert_uint_eq(fetch(), 1);
    ck_assert_str_eq(got[0].id, "2");
    ck_assert_uint_eq(cdtx_test_queue_dead(fake, "t", "g"), 1);
    close_fake();
}
END_TEST

START_TEST(the_window_of_repeats_ends) {
    open_fake((cdtx_test_queue_options){.repeat_ms = 60000});
    send_text("1", NULL);
    cdtx_test_env_advance(env, 59000);
    send_text("1", NULL);
    ck_assert_str_eq(stored_ids(), "1 ");
    cdtx_test_env_advance(env, 2000);
    send_text("1", NULL);
    ck_assert_str_eq(stored_ids(), "1 1 ");
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, "1"), 3);
    close_fake();
}
END_TEST

START_TEST(limits) {
    open_fake((cdtx_test_queue_options){.messages_max = 2, .payload_max = 1, .batch_max = 1});
    ck_assert_int_eq(send_text("12", NULL), CDTX_LIMIT);
    ck_assert_int_eq(send_text("1", NULL), 0);
    ck_assert_int_eq(send_text("2", NULL), 0);
    ck_assert_int_eq(send_text("3", NULL), CDTX_LIMIT);
    char key[] = "key-a";
    for (int i = 0; i < 16; i++, key[4]++)
        rule(key, CDTX_FAULT_REFUSE, 1);
    ck_assert_int_eq(cdtx_test_queue_rule(fake, NULL, key, CDTX_FAULT_REFUSE, 1, &err), CDTX_LIMIT);
    ck_assert_int_eq(send_text("4", "key-c"), CDTX_REFUSED);
    rule(key, CDTX_FAULT_REFUSE, 1); /* one was used up */
    close_fake();
}
END_TEST

START_TEST(bad_input) {
    cdtx_test_queue *none = NULL;
    cdtx_queue_message message;
    cdtx_test_queue_options o = {.size = 4};
    ck_assert_int_eq(cdtx_test_queue_new(NULL, NULL, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_new(&o, &none, &err), CDTX_INVALID);
    o = (cdtx_test_queue_options){.size = sizeof o, .repeat_ms = -1};
    ck_assert_int_eq(cdtx_test_queue_new(&o, &none, &err), CDTX_INVALID);
    o = (cdtx_test_queue_options){.size = sizeof o, .lease_ms = CDTX_TIME_MAX_MS + 1};
    ck_assert_int_eq(cdtx_test_queue_new(&o, &none, &err), CDTX_INVALID);
    o = (cdtx_test_queue_options){.size = sizeof o, .batch_max = CDTX_MANY_MAX + 1};
    ck_assert_int_eq(cdtx_test_queue_new(&o, &none, &err), CDTX_INVALID);
    ck_assert_ptr_null(none);
    cdtx_test_queue_free(NULL);
    open_fake((cdtx_test_queue_options){.in_order = 1});
    ck_assert_int_eq(cdtx_test_queue_rule(fake, "", NULL, CDTX_FAULT_NONE, 1, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_rule(fake, "a/b", NULL, CDTX_FAULT_NONE, 1, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_rule(fake, NULL, "", CDTX_FAULT_NONE, 1, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_rule(fake, NULL, NULL, -1, 1, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_rule(fake, NULL, NULL, CDTX_FAULT_OVERTAKE + 1, 1, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_rule(fake, NULL, NULL, CDTX_FAULT_OVERTAKE, 1, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_at(fake, NULL, 0, &message, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_at(fake, "t", 0, NULL, &err), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_queue_at(fake, "t", 0, &message, &err), CDTX_NOT_FOUND);
    ck_assert_uint_eq(cdtx_test_queue_lag(fake, "t", "g"), 0);
    close_fake();
}
END_TEST

START_TEST(memory_runs_out_anywhere) {
    for (uint64_t nth = 1, made = 0; made < 20; nth++) {
        cdtx_test_queue_options o = {.size = sizeof o};
        ck_assert_int_eq(cdtx_test_env_new(&env, NULL), 0);
        o.env = cdtx_test_env_port(env);
        cdtx_test_env_fail_memory(env, nth, 0);
        fake = NULL;
        int32_t rc = cdtx_test_queue_new(&o, &fake, &err);
        if (rc != 0) {
            ck_assert_int_eq(rc, CDTX_NO_MEMORY);
            cdtx_test_env_free(env);
            continue;
        }
        port = cdtx_test_queue_port(fake);
        uint32_t wanted = 0;
        rule(NULL, CDTX_FAULT_DOUBLE, 1);
        wanted += send_text("1", NULL) == 0;
        rc = port->subscribe(port->user, "t", "g", NULL, &err);
        int joined = rc == 0;
        ck_assert(joined || rc == CDTX_NO_MEMORY);
        rule(NULL, CDTX_FAULT_DOUBLE, 1);
        uint32_t doubled = send_text("2", NULL) == 0;
        ck_assert_uint_eq(cdtx_test_queue_stored(fake, NULL), wanted + doubled);
        ck_assert_uint_eq(cdtx_test_queue_lag(fake, "t", "g"), joined ? wanted + 2 * doubled : 0);
        made = cdtx_test_env_allocations(env) < nth ? 20 : 0;
        close_fake();
    }
}
END_TEST

int main(void) {
    static const struct queue_conformance target = {conforming_open, close_fake, conforming_advance, conforming_dead};
    const TTest *const tests[] = {
        faults_of_sending,
        what_is_held_comes_late,
        rules_are_tried_in_order_and_used_up,
        down_is_down_for_all,
        a_restart_gives_out_again,
        the_window_of_repeats_ends,
        limits,
        bad_input,
        memory_runs_out_anywhere,
    };
    static const cdtx_test_queue_options variants[] = {
        {.repeat_ms = 0},
        {.in_order = 1, .repeat_ms = 120000},
        {.no_delay = 1, .forgets_id = 1, .not_durable = 1, .batch_max = 1},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        conforming = variants[i];
        failed += queue_conformance_run("queue-conformance-fake", &target);
    }
    int status = run_tests("queue-fake", tests, sizeof tests / sizeof tests[0]);
    return failed > 0 ? EXIT_FAILURE : status;
}
