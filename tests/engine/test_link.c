/* The link with mishaps between engines that only remember. This program defines the three engine functions which the
 * link calls, so that no engine is linked. */
#include <cdtx/test.h>

#include <poll.h>

#include "../base/tests.h"
#include "base/env.h"

enum { CALLS_MAX = 64 };

struct cdtx {
    int served, replied;
    uint64_t reply_id;
    int32_t serve_result;
    int silent; /* keeps the answer functions for later */
    char participants[CALLS_MAX][CDTX_NAME_MAX + 1];
    char payloads[CALLS_MAX][32];
    uint64_t ids[CALLS_MAX];
    cdtx_answer_fn answers[CALLS_MAX];
    void *users[CALLS_MAX];
};

static cdtx sender, other, third;
static cdtx_test_link *mishaps;
static const cdtx_link *port;
static uint32_t slow_word; /* while 1, cdtx_link_reply does not return */

static const cdtx_reply yes = {.code = 0};

int32_t cdtx_serves(cdtx *engine, const char *participant) {
    return engine == &other && strcmp(participant, "stock") == 0;
}

int32_t cdtx_serve(cdtx *engine, const cdtx_call *call, cdtx_answer_fn answer, void *user, cdtx_error *err) {
    if (engine->serve_result != 0)
        return cdtx__fail(err, engine->serve_result, "no");
    int n = engine->served++;
    ck_assert_int_lt(n, CALLS_MAX);
    strcpy(engine->participants[n], call->participant);
    if (call->length > 0)
        memcpy(engine->payloads[n], call->payload, call->length);
    engine->ids[n] = call->id;
    engine->answers[n] = answer;
    engine->users[n] = user;
    if (!engine->silent)
        answer(user, call->id, &yes);
    return 0;
}

void cdtx_link_reply(cdtx *engine, uint64_t id, const cdtx_reply *reply) {
    ck_assert_int_eq(reply->code, 0);
    engine->reply_id = id;
    __atomic_add_fetch(&engine->replied, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&slow_word, __ATOMIC_ACQUIRE) != 0)
        poll(NULL, 0, 1);
}

static void open_link(void) {
    memset(&sender, 0, sizeof sender);
    memset(&other, 0, sizeof other);
    memset(&third, 0, sizeof third);
    ck_assert_int_eq(cdtx_test_link_new(&mishaps, NULL), 0);
    port = cdtx_test_link_port(mishaps);
}

static void close_link(void) {
    cdtx_test_link_free(mishaps);
}

static int32_t send_op(const char *participant, int32_t op, uint64_t id) {
    char payload[] = "payload";
    char name[CDTX_NAME_MAX + 1];
    strcpy(name, participant);
    cdtx_call call = {.sequence = 7, .id = id, .op = op, .attempt = 1, .participant = name};
    call.payload = payload;
    call.length = sizeof payload;
    cdtx_error err = {0};
    int32_t rc = port->send(port->user, &sender, &call, &err);
    ck_assert_int_eq(err.code, rc);
    memset(name, '?', sizeof name); /* both were borrowed */
    memset(payload, '?', sizeof payload);
    return rc;
}

static int32_t rule(const char *participant, int32_t op, int32_t fault, uint32_t times) {
    return cdtx_test_link_rule(mishaps, participant, op, fault, times, NULL);
}

static void target(const char *participant, cdtx *engine) {
    ck_assert_int_eq(cdtx_test_link_set_target(mishaps, participant, engine, NULL), 0);
}

START_TEST(calls_go_to_the_sender_or_the_target) {
    open_link();
    target("stock", &other);
    ck_assert_int_eq(send_op("order", CDTX_CALL_TRY, 1), 0);
    ck_assert_int_eq(send_op("stock", CDTX_CALL_TRY, 2), 0);
    ck_assert_int_eq(sender.served, 1);
    ck_assert_int_eq(other.served, 1);
    ck_assert_str_eq(other.participants[0], "stock");
    ck_assert_str_eq(other.payloads[0], "payload");
    ck_assert_int_eq(sender.replied, 2);
    ck_assert_uint_eq(sender.reply_id, 2);
    ck_assert_int_eq(other.replied, 0);
    target("stock", &third); /* and may change */
    send_op("stock", CDTX_CALL_TRY, 3);
    ck_assert_int_eq(third.served, 1);
    ck_assert_int_eq(other.served, 1);
    close_link();
}
END_TEST

START_TEST(an_answer_may_come_later) {
    open_link();
    other.silent = 1;
    target("stock", &other);
    send_op("stock", CDTX_CALL_TRY, 1);
    send_op("stock", CDTX_CALL_TRY, 2);
    ck_assert_int_eq(sender.replied, 0);
    other.answers[1](other.users[1], 2, &yes);
    ck_assert_uint_eq(sender.reply_id, 2);
    other.answers[0](other.users[0], 1, &yes);
    ck_assert_uint_eq(sender.reply_id, 1);
    send_op("stock", CDTX_CALL_TRY, 3); /* never answered: freed with the link */
    close_link();
}
END_TEST

START_TEST(lost_call) {
    open_link();
    ck_assert_int_eq(rule("order", 0, CDTX_FAULT_LOSE_CALL, 1), 0);
    ck_assert_int_eq(send_op("order", CDTX_CALL_TRY, 1), 0);
    ck_assert_int_eq(sender.served + sender.replied, 0);
    send_op("order", CDTX_CALL_TRY, 2);
    ck_assert_int_eq(sender.served, 1);
    close_link();
}
END_TEST

START_TEST(lost_reply) {
    open_link();
    ck_assert_int_eq(rule("order", 0, CDTX_FAULT_LOSE_REPLY, 1), 0);
    ck_assert_int_eq(send_op("order", CDTX_CALL_TRY, 1), 0);
    ck_assert_int_eq(sender.served, 1);
    ck_assert_int_eq(sender.replied, 0);
    close_link();
}
END_TEST

START_TEST(doubled_call) {
    open_link();
    target("stock", &other);
    ck_assert_int_eq(rule(NULL, 0, CDTX_FAULT_DOUBLE, 1), 0);
    ck_assert_int_eq(send_op("stock", CDTX_CALL_TRY, 9), 0);
    ck_assert_int_eq(other.served, 2);
    ck_assert_uint_eq(other.ids[0], 9);
    ck_assert_uint_eq(other.ids[1], 9);
    ck_assert_int_eq(sender.replied, 2);
    close_link();
}
END_TEST

START_TEST(held_calls_come_in_order_and_unchanged) {
    open_link();
    target("stock", &other);
    ck_assert_int_eq(rule("stock", CDTX_CALL_TRY, CDTX_FAULT_HOLD, 2), 0);
    send_op("stock", CDTX_CALL_TRY, 1);
    send_op("stock", CDTX_CALL_TRY, 2);
    send_op("stock", CDTX_CALL_TRY, 3);
    ck_assert_int_eq(other.served, 1);
    ck_assert_uint_eq(cdtx_test_link_release(mishaps), 2);
    ck_assert_int_eq(other.served, 3);
    ck_assert_uint_eq(other.ids[0], 3);
    ck_assert_uint_eq(other.ids[1], 1);
    ck_assert_uint_eq(other.ids[2], 2);
    ck_assert_str_eq(other.participants[2], "stock");
    ck_assert_str_eq(other.payloads[2], "payload");
    ck_assert_int_eq(sender.replied, 3);
    ck_assert_uint_eq(cdtx_test_link_release(mishaps), 0);
    rule(NULL, 0, CDTX_FAULT_HOLD, 1);
    send_op("stock", CDTX_CALL_TRY, 4); /* never released: freed with the link */
    close_link();
}
END_TEST

START_TEST(rules_are_tried_in_order_and_used_up) {
    open_link();
    rule("stock", 0, CDTX_FAULT_LOSE_CALL, 1);
    rule(NULL, CDTX_CALL_CONFIRM, CDTX_FAULT_NONE, 1);
    rule(NULL, CDTX_CALL_CONFIRM, CDTX_FAULT_LOSE_CALL, 1);
    send_op("order", CDTX_CALL_TRY, 1);
    ck_assert_int_eq(sender.served, 1); /* no rule */
    send_op("order", CDTX_CALL_CONFIRM, 2);
    ck_assert_int_eq(sender.served, 2); /* let through by the second */
    send_op("stock", CDTX_CALL_CONFIRM, 3);
    ck_assert_int_eq(sender.served, 2); /* lost by the first */
    send_op("stock", CDTX_CALL_CONFIRM, 4);
    ck_assert_int_eq(sender.served, 2); /* lost by the third */
    send_op("stock", CDTX_CALL_CONFIRM, 5);
    ck_assert_int_eq(sender.served, 3);
    close_link();
}
END_TEST

START_TEST(limits) {
    open_link();
    cdtx_error err = {0};
    char name[] = "participant-a";
    for (int i = 0; i < 16; i++, name[12]++) {
        target(name, &other);
        ck_assert_int_eq(rule(name, 0, CDTX_FAULT_LOSE_CALL, 1), 0);
    }
    ck_assert_int_eq(cdtx_test_link_set_target(mishaps, name, &other, &err), CDTX_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, name));
    ck_assert_int_eq(rule(name, 0, CDTX_FAULT_LOSE_CALL, 1), CDTX_LIMIT);
    target("participant-a", &third); /* no new place */
    send_op("participant-c", CDTX_CALL_TRY, 1);
    ck_assert_int_eq(rule(name, 0, CDTX_FAULT_LOSE_CALL, 1), 0); /* one was used up */
    ck_assert_int_eq(rule(name, 0, CDTX_FAULT_LOSE_CALL, 1), CDTX_LIMIT);
    close_link();
}
END_TEST

START_TEST(bad_input) {
    open_link();
    char name[CDTX_NAME_MAX + 2];
    memset(name, 'x', sizeof name);
    name[CDTX_NAME_MAX + 1] = '\0';
    ck_assert_int_eq(rule(name, 0, CDTX_FAULT_NONE, 1), CDTX_INVALID);
    ck_assert_int_eq(rule("", 0, CDTX_FAULT_NONE, 1), CDTX_INVALID);
    ck_assert_int_eq(rule("stock", -1, CDTX_FAULT_NONE, 1), CDTX_INVALID);
    ck_assert_int_eq(rule("stock", CDTX_CALL_CANCEL + 1, CDTX_FAULT_NONE, 1), CDTX_INVALID);
    ck_assert_int_eq(rule("stock", 0, -1, 1), CDTX_INVALID);
    ck_assert_int_eq(rule("stock", 0, CDTX_FAULT_HOLD + 1, 1), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_link_set_target(mishaps, NULL, &other, NULL), CDTX_INVALID);
    ck_assert_int_eq(cdtx_test_link_set_target(mishaps, name, &other, NULL), CDTX_INVALID);
    name[CDTX_NAME_MAX] = '\0';
    ck_assert_int_eq(rule(name, CDTX_CALL_CANCEL, CDTX_FAULT_LOSE_CALL, 1), 0);
    target(name, &other);
    send_op(name, CDTX_CALL_CANCEL, 1);
    send_op(name, CDTX_CALL_CANCEL, 2);
    ck_assert_int_eq(other.served, 1);
    ck_assert_int_eq(cdtx_test_link_new(NULL, NULL), CDTX_INVALID);
    close_link();
    cdtx_test_link_free(NULL);
}
END_TEST

START_TEST(knows) {
    open_link();
    ck_assert_int_eq(port->knows(port->user, &sender, "stock"), 0);
    target("stock", &other);
    ck_assert_int_eq(port->knows(port->user, &sender, "stock"), 1);
    target("order", &other);
    ck_assert_int_eq(port->knows(port->user, &sender, "order"), 0);
    target("order", NULL); /* down, but may come back */
    ck_assert_int_eq(port->knows(port->user, &sender, "order"), 1);
    close_link();
}
END_TEST

START_TEST(not_served_is_not_sent) {
    open_link();
    sender.serve_result = CDTX_NO_MEMORY;
    ck_assert_int_eq(send_op("order", CDTX_CALL_TRY, 1), CDTX_NO_MEMORY);
    sender.serve_result = CDTX_STOPPED;
    cdtx_call call = {.op = CDTX_CALL_TRY, .participant = "order"};
    ck_assert_int_eq(port->send(port->user, &sender, &call, NULL), CDTX_IO);
    rule(NULL, 0, CDTX_FAULT_LOSE_REPLY, 1);
    ck_assert_int_eq(port->send(port->user, &sender, &call, NULL), CDTX_IO);
    target("order", NULL);
    ck_assert_int_eq(send_op("order", CDTX_CALL_TRY, 1), CDTX_IO);
    ck_assert_int_eq(sender.replied, 0);
    close_link();
}
END_TEST

/* What names a detached engine: a target, a held call, an answer still to come. None may touch it. */
START_TEST(a_closed_sender_gets_nothing) {
    open_link();
    target("stock", &other);
    other.silent = 1;
    send_op("stock", CDTX_CALL_TRY, 1);
    rule(NULL, 0, CDTX_FAULT_HOLD, 2);
    send_op("stock", CDTX_CALL_TRY, 2);
    send_op("order", CDTX_CALL_TRY, 3); /* its target is the sender itself */
    port->detach(port->user, &sender);
    other.answers[0](other.users[0], 1, &yes);
    other.silent = 0;
    ck_assert_uint_eq(cdtx_test_link_release(mishaps), 1); /* the late call of a dead coordinator */
    ck_assert_int_eq(other.served, 2);
    ck_assert_int_eq(sender.served + sender.replied, 0);
    close_link();
}
END_TEST

START_TEST(a_closed_target_is_down_until_set_again) {
    open_link();
    target("stock", &other);
    rule("stock", 0, CDTX_FAULT_HOLD, 1);
    send_op("stock", CDTX_CALL_TRY, 1);
    port->detach(port->user, &other);
    ck_assert_int_eq(send_op("stock", CDTX_CALL_TRY, 2), CDTX_IO);
    ck_assert_uint_eq(cdtx_test_link_release(mishaps), 0);
    ck_assert_int_eq(other.served + sender.served, 0);
    target("stock", &third);
    ck_assert_int_eq(send_op("stock", CDTX_CALL_TRY, 3), 0);
    ck_assert_int_eq(third.served, 1);
    close_link();
}
END_TEST

static void answer_first(void *argument) {
    (void)argument;
    other.answers[0](other.users[0], 1, &yes);
}

static uint32_t detached;

static void detach_sender(void *argument) {
    (void)argument;
    port->detach(port->user, &sender);
    __atomic_store_n(&detached, 1, __ATOMIC_RELEASE);
}

START_TEST(detach_waits_for_a_reply_under_way) {
    const cdtx_env *env = cdtx__env_posix();
    uint64_t threads[2];
    open_link();
    target("stock", &other);
    other.silent = 1;
    send_op("stock", CDTX_CALL_TRY, 1);
    __atomic_store_n(&slow_word, 1, __ATOMIC_RELEASE);
    detached = 0;
    ck_assert_int_eq(env->spawn(env->user, answer_first, NULL, &threads[0]), 0);
    while (__atomic_load_n(&sender.replied, __ATOMIC_ACQUIRE) == 0)
        poll(NULL, 0, 1);
    ck_assert_int_eq(env->spawn(env->user, detach_sender, NULL, &threads[1]), 0);
    poll(NULL, 0, 20);
    ck_assert_uint_eq(__atomic_load_n(&detached, __ATOMIC_ACQUIRE), 0);
    __atomic_store_n(&slow_word, 0, __ATOMIC_RELEASE);
    env->join(env->user, threads[0]);
    env->join(env->user, threads[1]);
    ck_assert_uint_eq(detached, 1);
    close_link();
}
END_TEST

RUN_TESTS("link", calls_go_to_the_sender_or_the_target, an_answer_may_come_later, lost_call, lost_reply, doubled_call,
          held_calls_come_in_order_and_unchanged, rules_are_tried_in_order_and_used_up, limits, bad_input, knows,
          not_served_is_not_sent, a_closed_sender_gets_nothing, a_closed_target_is_down_until_set_again,
          detach_waits_for_a_reply_under_way)
