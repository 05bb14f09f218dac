#include "queue_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 64, HOUR = 3600000 };

static const struct queue_conformance *on;
static const cdtx_queue_port *port;
static cdtx_error err, results[ROOM];
static cdtx_queue_delivery got[ROOM];
static uint32_t got_count;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        err = (cdtx_error){0};                                                                                         \
        int32_t got_ = (call);                                                                                         \
        ck_assert_msg(got_ == 0, "%s: %s: %s", #call, cdtx_code_name(got_), err.text);                                 \
    } while (0)
#define FAILS(wanted, call)                                                                                            \
    do {                                                                                                               \
        err = (cdtx_error){0};                                                                                         \
        int32_t got_ = (call);                                                                                         \
        ck_assert_msg(got_ == (wanted), "%s: %s, not %s (%s)", #call, cdtx_code_name(got_), #wanted, err.text);        \
        ck_assert_int_eq(err.code, (wanted));                                                                          \
        ck_assert_msg(err.text[0] != '\0', "%s: no sentence", #call);                                                  \
    } while (0)

static int promises(uint32_t capability) {
    return (port->capabilities & capability) == capability;
}

/* ---- short for what the tests do ---- */

static cdtx_queue_message message_of(const char *id, const char *key, const char *text) {
    return (cdtx_queue_message){.id = id, .topic = "orders", .key = key, .payload = text, .length = strlen(text)};
}

static int32_t send_one(cdtx_queue_message message) {
    memset(results, 0x55, sizeof results);
    int32_t rc = port->send(port->user, &message, 1, results);
    ck_assert_int_eq(results[0].code, rc);
    return rc;
}

static void send_text(const char *id, const char *key, const char *text) {
    ck_assert_int_eq(send_one(message_of(id, key, text)), 0);
}

static void join_with(const char *group, int in_order, int64_t lease_ms) {
    cdtx_queue_subscription o = {.size = sizeof o, .in_order = in_order, .lease_ms = lease_ms};
    OK(port->subscribe(port->user, "orders", group, &o, &err));
}

static void fetch_now(void) {
    got_count = 99;
    OK(port->fetch(port->user, 0, got, ROOM, &got_count, &err));
    ck_assert_uint_le(got_count, ROOM);
}

/* Engines may need a moment, and may come in parts. */
static void fetch_all(uint32_t wanted) {
    uint32_t have = 0, count = 0;
    for (int i = 0; i < 20 && have < wanted; i++) {
        OK(port->fetch(port->user, 100, got + have, ROOM - have, &count, &err));
        have += count;
    }
    ck_assert_uint_eq(have, wanted);
    got_count = have;
}

static void nothing_comes(void) {
    fetch_now();
    ck_assert_msg(got_count == 0, "%u deliveries, of '%s'", got_count, got[0].id);
}

static int32_t settle_with(uint64_t token, int32_t kind, int64_t delay_ms) {
    cdtx_queue_answer answer = {.token = token, .kind = kind, .delay_ms = delay_ms, .reason = "a reason"};
    memset(results, 0x55, sizeof results[0]);
    int32_t rc = port->settle(port->user, &answer, 1, results);
    ck_assert_int_eq(results[0].code, rc);
    ck_assert(rc == 0 || results[0].text[0] != '\0');
    return rc;
}

static void ack_all(void) {
    for (uint32_t i = 0; i < got_count; i++)
        ck_assert_int_eq(settle_with(got[i].token, CDTX_QUEUE_ACK, 0), 0);
}

static int is_text(const cdtx_queue_delivery *delivery, const char *text) {
    return delivery->length == strlen(text) && memcmp(delivery->payload, text, delivery->length) == 0;
}

static const cdtx_queue_delivery *find(const char *group, const char *text) {
    for (uint32_t i = 0; i < got_count; i++)
        if (strcmp(got[i].group, group) == 0 && is_text(&got[i], text))
            return &got[i];
    ck_abort_msg("no delivery of '%s' to '%s'", text, group);
}

static void set_up(void) {
    port = on->open();
}

static void tear_down(void) {
    on->close();
}

/* ---- the table ---- */

START_TEST(the_table_fits_its_promises) {
    ck_assert_uint_ge(port->size, sizeof *port);
    ck_assert(port->send != NULL && port->subscribe != NULL && port->fetch != NULL);
    ck_assert(port->settle != NULL && port->close != NULL);
    ck_assert_uint_ge(port->batch_max, 1);
    ck_assert_uint_le(port->batch_max, CDTX_MANY_MAX);
    ck_assert_int_eq(promises(CDTX_QUEUE_DROPS_REPEATS), port->repeat_ms > 0);
    int halves = promises(CDTX_QUEUE_HALVES);
    ck_assert_int_eq(halves, port->prepare != NULL);
    ck_assert_int_eq(halves, port->resolve != NULL);
    ck_assert_int_eq(halves, port->checker_add != NULL);
    ck_assert(halves || !(port->capabilities & (CDTX_QUEUE_REMEMBERS | CDTX_QUEUE_HALVES_NATIVE)));
    ck_assert_int_eq(promises(CDTX_QUEUE_KEEPS_DEAD), on->dead != NULL);
}
END_TEST

/* ---- messages ---- */

START_TEST(each_group_gets_what_was_sent) {
    join_with("mail", 0, 0), join_with("stock", 0, 0);
    send_text("id-1", "key", "one");
    send_text("id-2", NULL, "two");
    fetch_all(4);
    for (uint32_t i = 0; i < 4; i++) {
        const cdtx_queue_delivery *one = find(i % 2 ? "mail" : "stock", i < 2 ? "one" : "two");
        ck_assert_uint_ne(one->token, 0);
        ck_assert_str_eq(one->topic, "orders");
        ck_assert_uint_eq(one->attempt, promises(CDTX_QUEUE_COUNTS) ? 1 : 0);
        ck_assert_str_eq(one->id, !promises(CDTX_QUEUE_KEEPS_ID) ? "" : i < 2 ? "id-1" : "id-2");
        if (i < 2)
            ck_assert_str_eq(one->key, "key");
        else
            ck_assert_ptr_null(one->key);
    }
    ack_all();
    on->advance(HOUR);
    nothing_comes();
}
END_TEST

START_TEST(bytes_come_back_exactly) {
    char id[CDTX_QUEUE_ID_MAX + 1];
    size_t size = port->payload_max > 0 ? port->payload_max : 1000;
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7);
    memset(id, 'i', CDTX_QUEUE_ID_MAX);
    id[CDTX_QUEUE_ID_MAX] = '\0';
    join_with("mail", 0, 0);
    cdtx_queue_message large = message_of(id, NULL, ""), empty = message_of("empty", NULL, "");
    large.payload = bytes, large.length = size;
    empty.payload = NULL;
    ck_assert_int_eq(send_one(large), 0);
    ck_assert_int_eq(send_one(empty), 0);
    memset(id, '?', sizeof id - 1); /* it was borrowed */
    fetch_all(2);
    const cdtx_queue_delivery *first = got[0].length == 0 ? &got[1] : &got[0];
    const cdtx_queue_delivery *second = got[0].length == 0 ? &got[0] : &got[1];
    ck_assert_uint_eq(first->length, size);
    ck_assert(memcmp(first->payload, bytes, size) == 0);
    ck_assert_uint_eq(second->length, 0);
    if (promises(CDTX_QUEUE_KEEPS_ID)) {
        ck_assert_uint_eq(strlen(first->id), CDTX_QUEUE_ID_MAX);
        ck_assert_uint_eq(strspn(first->id, "i"), CDTX_QUEUE_ID_MAX);
    }
    ack_all();
    free(bytes);
}
END_TEST

START_TEST(what_is_no_message_does_not_keep_others_back) {
    char long_id[CDTX_QUEUE_ID_MAX + 2];
    memset(long_id, 'i', sizeof long_id);
    long_id[CDTX_QUEUE_ID_MAX + 1] = '\0';
    char *large = calloc(1, (size_t)port->payload_max + 1);
    cdtx_queue_message all[9];
    for (int i = 0; i < 9; i++)
        all[i] = message_of("id", NULL, "x");
    all[0].id = NULL, all[1].id = "", all[2].id = long_id, all[3].topic = "", all[4].topic = "a/b";
    all[5].key = "", all[6].payload = NULL, all[7].delay_ms = -1;
    all[8].payload = large, all[8].length = (size_t)port->payload_max + 1;
    join_with("mail", 0, 0);
    for (int i = 0; i < 9; i++) {
        int large_one = i == 8;
        if (large_one && port->payload_max == 0)
            continue;
        cdtx_queue_message batch[3] = {message_of("before", NULL, "before"), all[i],
                                       message_of("behind", NULL, "behind")};
        if (port->batch_max < 3) {
            ck_assert_int_eq(send_one(all[i]), large_one ? CDTX_LIMIT : CDTX_INVALID);
            continue;
        }
        char before[32], behind[32];
        snprintf(before, sizeof before, "before-%d", i), snprintf(behind, sizeof behind, "behind-%d", i);
        batch[0].id = before, batch[2].id = behind;
        memset(results, 0x55, sizeof results);
        int32_t wanted = large_one ? CDTX_LIMIT : CDTX_INVALID;
        ck_assert_int_eq(port->send(port->user, batch, 3, results), wanted);
        ck_assert_int_eq(results[0].code, 0);
        ck_assert_int_eq(results[1].code, wanted);
        ck_assert_ptr_nonnull(memchr(results[1].text, 0, sizeof results[1].text));
        ck_assert_int_eq(results[2].code, 0);
        fetch_all(2);
        find("mail", "before"), find("mail", "behind");
        ack_all();
    }
    free(large);
    nothing_comes();
}
END_TEST

START_TEST(a_batch_has_its_limit) {
    size_t count = (size_t)port->batch_max + 1;
    cdtx_queue_message *many = calloc(count, sizeof *many);
    cdtx_error *said = calloc(count, sizeof *said);
    for (size_t i = 0; i < count; i++)
        many[i] = message_of("id", NULL, "x");
    join_with("mail", 0, 0);
    ck_assert_int_eq(port->send(port->user, many, (uint32_t)count, said), CDTX_LIMIT);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(said[i].code, CDTX_LIMIT);
    ck_assert_int_eq(port->send(port->user, NULL, 1, said), CDTX_INVALID);
    ck_assert_int_eq(port->send(port->user, NULL, 0, said), 0);
    nothing_comes();
    free(many), free(said);
}
END_TEST

START_TEST(a_delayed_message_waits) {
    cdtx_queue_message later = message_of("later", NULL, "later");
    later.delay_ms = 60000;
    join_with("mail", 0, 0);
    if (!promises(CDTX_QUEUE_DELAY)) {
        ck_assert_int_eq(send_one(later), CDTX_UNSUPPORTED);
        nothing_comes();
        return;
    }
    ck_assert_int_eq(send_one(later), 0);
    send_text("now", NULL, "now");
    fetch_all(1);
    find("mail", "now");
    ack_all();
    on->advance(59000);
    nothing_comes();
    on->advance(2000);
    fetch_all(1);
    find("mail", "later");
    ack_all();
}
END_TEST

START_TEST(repeats_are_dropped_if_promised) {
    join_with("mail", 0, 0);
    cdtx_queue_message elsewhere = message_of("id", NULL, "elsewhere");
    elsewhere.topic = "bills";
    send_text("id", NULL, "first");
    ck_assert_int_eq(send_one(elsewhere), 0); /* one topic's id is not another's */
    if (!promises(CDTX_QUEUE_DROPS_REPEATS)) {
        send_text("id", NULL, "first");
        fetch_all(2);
        ack_all();
        return;
    }
    send_text("id", NULL, "second");
    fetch_all(1);
    find("mail", "first");
    ack_all();
    send_text("id", NULL, "third"); /* done, but not forgotten */
    on->advance(port->repeat_ms - 1000);
    send_text("id", NULL, "fourth");
    if (port->batch_max > 1) {
        cdtx_queue_message two[2] = {message_of("twin", NULL, "twin"), message_of("twin", NULL, "twin")};
        ck_assert_int_eq(port->send(port->user, two, 2, results), 0);
        fetch_all(1);
        find("mail", "twin");
        ack_all();
    }
    nothing_comes();
}
END_TEST

/* ---- deliveries ---- */

START_TEST(what_is_not_acknowledged_comes_again) {
    join_with("mail", 0, 0);
    send_text("id", NULL, "x");
    fetch_all(1);
    uint64_t first = got[0].token;
    ck_assert_int_eq(settle_with(first, CDTX_QUEUE_NACK, 0), 0);
    on->advance(HOUR);
    fetch_all(1);
    ck_assert_uint_ne(got[0].token, first);
    ck_assert_uint_eq(got[0].attempt, promises(CDTX_QUEUE_COUNTS) ? 2 : 0);
    ck_assert(is_text(&got[0], "x"));
    if (!promises(CDTX_QUEUE_NACK_DELAY)) {
        ck_assert_int_eq(settle_with(got[0].token, CDTX_QUEUE_NACK, 5000), CDTX_UNSUPPORTED);
        ack_all(); /* the token stayed */
        return;
    }
    ck_assert_int_eq(settle_with(got[0].token, CDTX_QUEUE_NACK, 60000), 0);
    on->advance(59000);
    nothing_comes();
    on->advance(2000);
    fetch_all(1);
    ck_assert_uint_eq(got[0].attempt, promises(CDTX_QUEUE_COUNTS) ? 3 : 0);
    ack_all();
}
END_TEST

START_TEST(what_is_dead_never_comes_again_to_that_group) {
    join_with("mail", 0, 0), join_with("stock", 0, 0);
    send_text("id", NULL, "x");
    fetch_all(2);
    uint64_t mail = find("mail", "x")->token, stock = find("stock", "x")->token;
    ck_assert_int_eq(settle_with(mail, CDTX_QUEUE_DEAD, 0), 0);
    ck_assert_int_eq(settle_with(stock, CDTX_QUEUE_NACK, 0), 0);
    on->advance(HOUR);
    fetch_all(1);
    find("stock", "x");
    ack_all();
    if (promises(CDTX_QUEUE_KEEPS_DEAD)) {
        ck_assert_uint_eq(on->dead("orders", "mail"), 1);
        ck_assert_uint_eq(on->dead("orders", "stock"), 0);
    }
}
END_TEST

START_TEST(a_lost_lease_changes_nothing) {
    join_with("mail", 0, 2000);
    send_text("id", NULL, "x");
    fetch_all(1);
    uint64_t lost = got[0].token;
    nothing_comes();
    on->advance(60000);
    fetch_all(1);
    uint64_t now = got[0].token;
    ck_assert_uint_ne(now, lost);
    int32_t rc = settle_with(lost, CDTX_QUEUE_ACK, 0);
    ck_assert_msg(rc == CDTX_CONFLICT || rc == CDTX_NOT_FOUND, "%s", cdtx_code_name(rc));
    ck_assert_int_eq(settle_with(lost, CDTX_QUEUE_ACK, 0), CDTX_NOT_FOUND);
    ck_assert_int_eq(settle_with(now, CDTX_QUEUE_NACK, 0), 0); /* it was still there */
    on->advance(HOUR);
    fetch_all(1);
    ack_all();
}
END_TEST

START_TEST(a_token_is_good_once) {
    join_with("mail", 0, 0);
    send_text("id-1", NULL, "one"), send_text("id-2", NULL, "two");
    fetch_all(2);
    cdtx_queue_answer answers[] = {{.token = 0, .kind = CDTX_QUEUE_ACK},
                                   {.token = got[0].token, .kind = 0},
                                   {.token = got[0].token, .kind = CDTX_QUEUE_DEAD + 1},
                                   {.token = got[0].token, .kind = CDTX_QUEUE_NACK, .delay_ms = -1},
                                   {.token = got[0].token, .kind = CDTX_QUEUE_ACK, .delay_ms = 5},
                                   {.token = got[0].token, .kind = CDTX_QUEUE_ACK, .reason = "why"},
                                   {.token = got[0].token, .kind = CDTX_QUEUE_ACK},
                                   {.token = got[1].token, .kind = CDTX_QUEUE_ACK},
                                   {.token = UINT64_MAX, .kind = CDTX_QUEUE_ACK}};
    static const int32_t wanted[] = {
        CDTX_NOT_FOUND, CDTX_INVALID, CDTX_INVALID, CDTX_INVALID, CDTX_INVALID, 0, CDTX_NOT_FOUND, 0, CDTX_NOT_FOUND};
    memset(results, 0x55, sizeof results);
    ck_assert_int_eq(port->settle(port->user, answers, 9, results), CDTX_NOT_FOUND);
    for (int i = 0; i < 9; i++)
        ck_assert_msg(results[i].code == wanted[i], "answer %d: %s", i, cdtx_code_name(results[i].code));
    ck_assert_int_eq(port->settle(port->user, NULL, 0, results), 0);
    on->advance(HOUR);
    nothing_comes();
}
END_TEST

START_TEST(many_are_settled_at_once) {
    cdtx_queue_answer answers[ROOM];
    char id[16];
    join_with("mail", 0, 0);
    for (int i = 0; i < ROOM; i++) {
        snprintf(id, sizeof id, "id-%d", i);
        send_text(id, NULL, id);
    }
    fetch_all(ROOM);
    for (uint32_t i = 0; i < ROOM; i++)
        answers[i] = (cdtx_queue_answer){.token = got[i].token,
                                         .kind = i % 4 == 0 ? CDTX_QUEUE_NACK : CDTX_QUEUE_ACK,
                                         .reason = i % 4 == 0 ? "again" : NULL};
    ck_assert_int_eq(port->settle(port->user, answers, ROOM, results), 0);
    on->advance(HOUR);
    fetch_all(ROOM / 4);
    ack_all();
    nothing_comes();
}
END_TEST

START_TEST(one_key_comes_in_order_if_promised) {
    if (!promises(CDTX_QUEUE_ORDER)) {
        cdtx_queue_subscription o = {.size = sizeof o, .in_order = 1};
        FAILS(CDTX_UNSUPPORTED, port->subscribe(port->user, "orders", "mail", &o, &err));
        return;
    }
    join_with("mail", 1, 0);
    send_text("a1", "a", "a1"), send_text("a2", "a", "a2"), send_text("b1", "b", "b1"), send_text("a3", "a", "a3");
    fetch_all(2);
    uint64_t a1 = find("mail", "a1")->token, b1 = find("mail", "b1")->token;
    ck_assert_int_eq(settle_with(a1, CDTX_QUEUE_NACK, 0), 0);
    ck_assert_int_eq(settle_with(b1, CDTX_QUEUE_ACK, 0), 0);
    on->advance(HOUR);
    fetch_all(1);
    ck_assert_int_eq(settle_with(find("mail", "a1")->token, CDTX_QUEUE_ACK, 0), 0);
    fetch_all(1);
    uint64_t second = find("mail", "a2")->token;
    nothing_comes();
    ck_assert_int_eq(settle_with(second, CDTX_QUEUE_DEAD, 0), 0); /* lets the next go on */
    fetch_all(1);
    find("mail", "a3");
    ack_all();
    if (port->batch_max < 8)
        return;
    cdtx_queue_message batch[8];
    static const char *const texts[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
    for (int i = 0; i < 8; i++)
        batch[i] = message_of(texts[i], "c", texts[i]);
    ck_assert_int_eq(port->send(port->user, batch, 8, results), 0);
    for (int i = 0; i < 8; i++) {
        fetch_all(1);
        ck_assert(is_text(&got[0], texts[i]));
        ack_all();
    }
}
END_TEST

START_TEST(joining_is_checked) {
    char long_name[CDTX_QUEUE_GROUP_MAX + 2];
    memset(long_name, 'n', sizeof long_name);
    long_name[CDTX_QUEUE_GROUP_MAX + 1] = '\0';
    static const char *const bad[] = {NULL, "", "a/b", "a\nb", "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FAILS(CDTX_INVALID, port->subscribe(port->user, bad[i], "mail", NULL, &err));
        FAILS(CDTX_INVALID, port->subscribe(port->user, "orders", bad[i], NULL, &err));
    }
    FAILS(CDTX_INVALID, port->subscribe(port->user, long_name, "mail", NULL, &err));
    FAILS(CDTX_INVALID, port->subscribe(port->user, "orders", long_name, NULL, &err));
    cdtx_queue_subscription o = {.size = 4};
    FAILS(CDTX_INVALID, port->subscribe(port->user, "orders", "mail", &o, &err));
    o = (cdtx_queue_subscription){.size = sizeof o, .lease_ms = -1};
    FAILS(CDTX_INVALID, port->subscribe(port->user, "orders", "mail", &o, &err));
    OK(port->subscribe(port->user, "orders", "mail", NULL, &err));
    FAILS(CDTX_CONFLICT, port->subscribe(port->user, "orders", "mail", NULL, &err));
    OK(port->subscribe(port->user, "bills", "mail", NULL, &err));
    long_name[CDTX_QUEUE_GROUP_MAX] = '\0';
    OK(port->subscribe(port->user, "orders", long_name, NULL, &err));
}
END_TEST

START_TEST(fetching_is_checked) {
    uint32_t count = 7;
    join_with("mail", 0, 0);
    FAILS(CDTX_INVALID, port->fetch(port->user, 0, NULL, 1, &count, &err));
    FAILS(CDTX_INVALID, port->fetch(port->user, 0, got, 1, NULL, &err));
    FAILS(CDTX_INVALID, port->fetch(port->user, 0, got, 0, &count, &err));
    FAILS(CDTX_INVALID, port->fetch(port->user, 0, got, CDTX_MANY_MAX + 1, &count, &err));
    FAILS(CDTX_INVALID, port->fetch(port->user, -1, got, 1, &count, &err));
    FAILS(CDTX_INVALID, port->fetch(port->user, CDTX_TIME_MAX_MS + 1, got, 1, &count, &err));
    ck_assert_uint_eq(count, 7);
    OK(port->fetch(port->user, 50, got, 1, &count, &err));
    ck_assert_uint_eq(count, 0);
    send_text("id-1", NULL, "one"), send_text("id-2", NULL, "two");
    for (int i = 0; i < 2; i++) {
        OK(port->fetch(port->user, 1000, got, 1, &count, &err));
        ck_assert_uint_eq(count, 1);
        ck_assert_int_eq(settle_with(got[0].token, CDTX_QUEUE_ACK, 0), 0);
    }
    if (port->poll != NULL)
        OK(port->poll(port->user, 10, &err));
}
END_TEST

/* ---- halves ---- */

static void prepare(const char *id, char handle[CDTX_QUEUE_HANDLE_MAX]) {
    cdtx_queue_message message = message_of(id, "key", id);
    memset(handle, '?', CDTX_QUEUE_HANDLE_MAX);
    OK(port->prepare(port->user, &message, "shop", handle, &err));
    ck_assert_ptr_nonnull(memchr(handle, 0, CDTX_QUEUE_HANDLE_MAX));
}

static int32_t resolved(const char *handle, int32_t outcome) {
    int32_t applied = 0;
    OK(port->resolve(port->user, handle, outcome, &applied, &err));
    return applied;
}

START_TEST(a_half_is_visible_from_its_commit) {
    char yes[CDTX_QUEUE_HANDLE_MAX], no[CDTX_QUEUE_HANDLE_MAX];
    if (!promises(CDTX_QUEUE_HALVES))
        return;
    join_with("mail", 0, 0);
    prepare("yes", yes), prepare("no", no);
    ck_assert_str_ne(yes, no);
    nothing_comes();
    ck_assert_int_eq(resolved(yes, CDTX_QUEUE_COMMIT), CDTX_QUEUE_APPLIED);
    ck_assert_int_eq(resolved(no, CDTX_QUEUE_ROLLBACK), CDTX_QUEUE_APPLIED);
    fetch_all(1);
    find("mail", "yes");
    ck_assert_str_eq(got[0].id, promises(CDTX_QUEUE_KEEPS_ID) ? "yes" : "");
    ck_assert_str_eq(got[0].key, "key");
    ack_all();
    on->advance(HOUR);
    nothing_comes();
}
END_TEST

START_TEST(a_resolution_stands_if_promised) {
    char yes[CDTX_QUEUE_HANDLE_MAX], no[CDTX_QUEUE_HANDLE_MAX];
    int32_t applied = 7;
    if (!promises(CDTX_QUEUE_REMEMBERS))
        return;
    join_with("mail", 0, 0);
    prepare("yes", yes), prepare("no", no);
    resolved(yes, CDTX_QUEUE_COMMIT), resolved(no, CDTX_QUEUE_ROLLBACK);
    ck_assert_int_eq(resolved(yes, CDTX_QUEUE_COMMIT), CDTX_QUEUE_ALREADY);
    ck_assert_int_eq(resolved(no, CDTX_QUEUE_ROLLBACK), CDTX_QUEUE_ALREADY);
    FAILS(CDTX_CONFLICT, port->resolve(port->user, yes, CDTX_QUEUE_ROLLBACK, &applied, &err));
    FAILS(CDTX_CONFLICT, port->resolve(port->user, no, CDTX_QUEUE_COMMIT, &applied, &err));
    ck_assert_int_eq(applied, 7);
    fetch_all(1);
    ack_all();
    nothing_comes();
}
END_TEST

START_TEST(halves_are_checked) {
    char handle[CDTX_QUEUE_HANDLE_MAX];
    int32_t applied = 7;
    if (!promises(CDTX_QUEUE_HALVES))
        return;
    cdtx_queue_message message = message_of("id", NULL, "x"), bad = message_of("", NULL, "x");
    FAILS(CDTX_INVALID, port->prepare(port->user, NULL, "shop", handle, &err));
    FAILS(CDTX_INVALID, port->prepare(port->user, &bad, "shop", handle, &err));
    FAILS(CDTX_INVALID, port->prepare(port->user, &message, NULL, handle, &err));
    FAILS(CDTX_INVALID, port->prepare(port->user, &message, "shop", NULL, &err));
    prepare("id", handle);
    FAILS(CDTX_INVALID, port->resolve(port->user, NULL, CDTX_QUEUE_COMMIT, &applied, &err));
    FAILS(CDTX_INVALID, port->resolve(port->user, "", CDTX_QUEUE_COMMIT, &applied, &err));
    FAILS(CDTX_INVALID, port->resolve(port->user, handle, CDTX_QUEUE_OPEN, &applied, &err));
    FAILS(CDTX_INVALID, port->resolve(port->user, handle, CDTX_QUEUE_ROLLBACK + 1, &applied, &err));
    FAILS(CDTX_INVALID, port->resolve(port->user, handle, CDTX_QUEUE_COMMIT, NULL, &err));
    FAILS(CDTX_INVALID, port->checker_add(port->user, "shop", NULL, &err));
    cdtx_queue_checker checker = {.size = sizeof checker};
    FAILS(CDTX_INVALID, port->checker_add(port->user, "shop", &checker, &err));
    ck_assert_int_eq(applied, 7);
}
END_TEST

static uint32_t asked, dropped;
static int32_t answer_yes;

static int32_t check(const char *handle, const cdtx_queue_message *message, void *user) {
    ck_assert_ptr_eq(user, &asked);
    ck_assert_uint_gt(strlen(handle), 0);
    ck_assert_str_eq(message->topic, "orders");
    ck_assert_str_eq(message->key, "key");
    ck_assert_uint_eq(message->length, strlen(message->id));
    ck_assert(memcmp(message->payload, message->id, message->length) == 0);
    asked++;
    return strcmp(message->id, "no") == 0 ? CDTX_QUEUE_ROLLBACK : answer_yes;
}

static void drop(void *user) {
    ck_assert_ptr_eq(user, &asked);
    dropped++;
}

static void let_it_check(void) {
    for (int i = 0; i < 30; i++) {
        on->advance(10000);
        if (port->poll != NULL)
            OK(port->poll(port->user, 0, &err));
    }
}

START_TEST(who_resolves_nothing_is_asked_by_id) {
    char handle[CDTX_QUEUE_HANDLE_MAX];
    if (!promises(CDTX_QUEUE_HALVES))
        return;
    asked = dropped = 0;
    answer_yes = CDTX_QUEUE_OPEN;
    cdtx_queue_checker checker = {.size = sizeof checker, .check = check, .user = &asked, .drop = drop};
    OK(port->checker_add(port->user, "shop", &checker, &err));
    FAILS(CDTX_CONFLICT, port->checker_add(port->user, "shop", &checker, &err));
    join_with("mail", 0, 0);
    prepare("yes", handle), prepare("no", handle);
    let_it_check();
    ck_assert_uint_ge(asked, 2);
    nothing_comes();
    answer_yes = CDTX_QUEUE_COMMIT;
    for (int i = 0; i < 20 && got_count == 0; i++) {
        let_it_check();
        fetch_now();
    }
    ck_assert_uint_eq(got_count, 1);
    find("mail", "yes");
    ack_all();
    uint32_t before = asked;
    let_it_check();
    ck_assert_uint_eq(asked, before);
    nothing_comes();
}
END_TEST

int queue_conformance_run(const char *name, const struct queue_conformance *target) {
    static const TTest *const *const tests[] = {
        &the_table_fits_its_promises,
        &each_group_gets_what_was_sent,
        &bytes_come_back_exactly,
        &what_is_no_message_does_not_keep_others_back,
        &a_batch_has_its_limit,
        &a_delayed_message_waits,
        &repeats_are_dropped_if_promised,
        &what_is_not_acknowledged_comes_again,
        &what_is_dead_never_comes_again_to_that_group,
        &a_lost_lease_changes_nothing,
        &a_token_is_good_once,
        &many_are_settled_at_once,
        &one_key_comes_in_order_if_promised,
        &joining_is_checked,
        &fetching_is_checked,
        &a_half_is_visible_from_its_commit,
        &a_resolution_stands_if_promised,
        &halves_are_checked,
        &who_resolves_nothing_is_asked_by_id,
    };
    on = target;
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, *tests[i]);
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}
