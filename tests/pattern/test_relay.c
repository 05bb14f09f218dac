/* Relays to an engine that loses, holds, refuses and is away: whatever it does, each message is stored there at least
 * once, under its id, in order where order is promised, and what is refused for good is a dead letter here. */
#include "msg_lab.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static cdtx_test_queue *fake;
static cdtx_queue_port port;

/* ---- a port before the fake one, which counts and may do something first ---- */

static uint32_t sends, sent, largest;
static void (*before_send)(void), (*behind_send)(void);
static int32_t strange; /* answered instead; 1: leaves the results alone */

static int32_t counted_send(void *user, const cdtx_queue_message *messages, uint32_t count, cdtx_error *results) {
    const cdtx_queue_port *to = cdtx_test_queue_port(user);
    sends++;
    sent += count;
    largest = count > largest ? count : largest;
    if (before_send != NULL)
        before_send();
    if (strange != 0) {
        for (uint32_t i = 0; i < count && strange != 1; i++) {
            memset(&results[i], 'x', sizeof results[i]); /* no end of text */
            results[i].code = strange;
            results[i].retry_after_ms = 7000;
        }
        return CDTX_IO;
    }
    int32_t rc = to->send(to->user, messages, count, results);
    if (behind_send != NULL)
        behind_send();
    return rc;
}

static void open_fake(cdtx_test_queue_options o) {
    o.size = sizeof o;
    if (o.env == NULL)
        o.env = cdtx_test_env_port(env);
    OK(cdtx_test_queue_new(&o, &fake, &E));
    port = *cdtx_test_queue_port(fake);
    port.send = counted_send;
    sends = sent = largest = 0;
    before_send = behind_send = NULL;
    strange = 0;
}

static void set_up_relay(cdtx_test_queue_options o) {
    set_up();
    open_fake(o);
}

static void tear_down_relay(void) {
    close_engine();
    cdtx_test_queue_free(fake);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}

/* ---- short for what the tests do ---- */

static void relay(cdtx_relay_options o) {
    o.size = sizeof o;
    OK(cdtx_relay_add(queue, "orders", "away", &port, &o, &E));
}

static void send_ids(const char *key, uint32_t count, char ids[][CDTX_GID_MAX]) {
    for (uint32_t i = 0; i < count; i++) {
        cdtx_msg_options o = {.size = sizeof o, .key = key};
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        OK(cdtx_msg_send(queue, "orders", text, strlen(text), &o, ids[i], &E));
    }
}

static void faults(const char *key, int32_t fault, uint32_t times) {
    OK(cdtx_test_queue_rule(fake, NULL, key, fault, times, &E));
}

static uint32_t stored(const char *id) {
    return cdtx_test_queue_stored(fake, id);
}

static int64_t left(void) {
    return in_queue("cdtx_job WHERE msg IS NOT NULL AND state <> 3");
}

static int64_t dead(void) {
    return in_queue("cdtx_job WHERE msg IS NOT NULL AND state = 3");
}

static int error_has(const char *word) {
    char what[200];
    snprintf(what, sizeof what, "cdtx_job WHERE msg IS NOT NULL AND error LIKE '%%%s%%'", word);
    return in_queue(what) > 0;
}

/* First copies of one key are in the order in which they were put. */
static void in_order(const char *key, uint32_t count) {
    cdtx_queue_message message;
    uint32_t next = 0;
    for (uint32_t i = 0; cdtx_test_queue_at(fake, "orders", i, &message, NULL) == 0; i++) {
        char text[16];
        if (message.key == NULL || strcmp(message.key, key) != 0)
            continue;
        snprintf(text, sizeof text, "%.*s", (int)message.length, (const char *)message.payload);
        uint32_t number = (uint32_t)strtoul(text, NULL, 10);
        ck_assert_msg(number <= next, "message %u of key '%s' came before %u", number, key, next);
        if (number == next)
            next++;
    }
    ck_assert_uint_eq(next, count);
}

/* ---- all is well ---- */

START_TEST(each_message_is_stored_there_once_under_its_id) {
    char ids[200][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){0});
    relay((cdtx_relay_options){.topic = "orders-there"});
    send_ids("k", 200, ids);
    run_ms(1000);
    ck_assert_int_eq(left(), 0);
    ck_assert_uint_eq(stored(NULL), 200);
    cdtx_queue_message message;
    for (uint32_t i = 0; i < 200; i++)
        ck_assert_uint_eq(stored(ids[i]), 1);
    OK(cdtx_test_queue_at(fake, "orders-there", 0, &message, &E));
    ck_assert_str_eq(message.key, "k");
    ck_assert_int_eq(message.delay_ms, 0);
    ck_assert_uint_eq(largest, CDTX_RELAY_BATCH_MAX);
    ck_assert_uint_le(sends, 8);
    ck_assert_uint_eq(sent, 200);
    tear_down_relay();
}
END_TEST

START_TEST(batches_are_as_the_port_has_them) {
    static const uint32_t port_max[] = {1, 7, 64, 64}, wanted[] = {0, 0, 5, 64}, most[] = {1, 7, 5, 64};
    char ids[100][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.batch_max = port_max[_i]});
    relay((cdtx_relay_options){.batch_max = wanted[_i]});
    send_ids(NULL, 100, ids);
    run_ms(1000);
    ck_assert_uint_eq(stored(NULL), 100);
    ck_assert_uint_eq(largest, most[_i]);
    tear_down_relay();
}
END_TEST

START_TEST(other_groups_have_it_too_and_delays_are_kept_here) {
    set_up_relay((cdtx_test_queue_options){.no_delay = 1});
    relay((cdtx_relay_options){0});
    join("mail", (cdtx_consumer_options){0});
    send_with("later", (cdtx_msg_options){.delay_ms = 60000});
    run_ms(59000);
    ck_assert_uint_eq(stored(NULL), 0);
    run_ms(2000);
    ck_assert_uint_eq(stored(NULL), 1);
    ck_assert_str_eq(order, "later ");
    tear_down_relay();
}
END_TEST

START_TEST(a_new_relay_starts_where_it_wants) {
    set_up_relay((cdtx_test_queue_options){0});
    cdtx_topic_options kept = {.size = sizeof kept, .retention_ms = HOUR};
    OK(cdtx_topic_add(queue, "orders", &kept, &E));
    send("old");
    relay((cdtx_relay_options){.start = CDTX_START_LAST});
    send("new");
    run_ms(1000);
    ck_assert_uint_eq(stored(NULL), 1);
    tear_down_relay();
}
END_TEST

/* ---- confirms ---- */

/* With a window each id is stored once, without one at least once. */
START_TEST(lost_confirms_are_asked_again_under_the_same_id) {
    static const int32_t what[] = {CDTX_FAULT_LOSE_REPLY, CDTX_FAULT_LOSE_CALL, CDTX_FAULT_HOLD, CDTX_FAULT_AWAY};
    char ids[20][CDTX_GID_MAX];
    int window = _i / 4;
    set_up_relay((cdtx_test_queue_options){.repeat_ms = window ? DAY : 0});
    relay((cdtx_relay_options){0});
    faults(NULL, what[_i % 4], 30);
    send_ids("k", 20, ids);
    run_ms(10 * 60000);
    ck_assert_int_eq(left(), 0);
    ck_assert_int_eq(dead(), 0);
    cdtx_test_queue_release(fake);
    for (uint32_t i = 0; i < 20; i++) {
        ck_assert_uint_ge(stored(ids[i]), 1);
        ck_assert(!window || stored(ids[i]) == 1);
    }
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, NULL), 50);
    if (!window && what[_i % 4] == CDTX_FAULT_LOSE_REPLY)
        ck_assert_uint_eq(stored(NULL), 50); /* honest: repeats are the consumers' to tell */
    tear_down_relay();
}
END_TEST

START_TEST(silence_is_never_a_no) {
    char ids[2][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){0});
    relay((cdtx_relay_options){0});
    faults("bad", CDTX_FAULT_LOSE_CALL, UINT32_MAX);
    send_ids("bad", 1, ids);
    run_ms(20 * MINUTE);
    ck_assert_int_eq(left(), 1);
    ck_assert_int_eq(dead(), 0);
    ck_assert(error_has("CDTX_UNKNOWN"));
    int64_t since = mono_ms();
    send_ids("good", 1, ids + 1); /* a neighbour does not wait for it */
    run_ms(1000);
    ck_assert_uint_eq(stored(ids[1]), 1);
    ck_assert_int_le(mono_ms() - since, 1000);
    tear_down_relay();
}
END_TEST

START_TEST(a_limit_of_attempts_is_the_users_own) {
    char id[1][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){0});
    relay((cdtx_relay_options){.attempts_max = 3});
    faults(NULL, CDTX_FAULT_LOSE_REPLY, UINT32_MAX);
    send_ids(NULL, 1, id);
    run_ms(5 * MINUTE);
    ck_assert_int_eq(dead(), 1);
    ck_assert(error_has("CDTX_UNKNOWN"));
    ck_assert_uint_eq(stored(id[0]), 3);
    tear_down_relay();
}
END_TEST

START_TEST(strange_answers_say_nothing) {
    static const int32_t codes[] = {1, 5, -77, CDTX_USER, INT32_MIN};
    char id[1][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){0});
    relay((cdtx_relay_options){0});
    strange = codes[_i];
    send_ids(NULL, 1, id);
    run_ms(5 * MINUTE);
    ck_assert_uint_gt(sends, 1);
    ck_assert_int_eq(dead(), 0);
    ck_assert_int_eq(left(), 1);
    ck_assert(error_has("CDTX_UNKNOWN"));
    strange = 0;
    run_ms(2 * MINUTE);
    ck_assert_uint_eq(stored(id[0]), 1);
    tear_down_relay();
}
END_TEST

START_TEST(busy_says_when_to_come_back) {
    set_up_relay((cdtx_test_queue_options){0});
    relay((cdtx_relay_options){.backoff_min_ms = 100, .backoff_max_ms = 100});
    strange = CDTX_BUSY;
    send("x");
    run_ms(6900);
    ck_assert_uint_eq(sends, 1);
    run_ms(200);
    ck_assert_uint_eq(sends, 2);
    ck_assert(error_has("CDTX_BUSY"));
    tear_down_relay();
}
END_TEST

/* ---- refusals ---- */

START_TEST(what_is_refused_is_a_dead_letter_and_its_neighbours_flow) {
    char ids[3][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.in_order = 1, .payload_max = 10});
    relay((cdtx_relay_options){.in_order = _i});
    faults("bad", CDTX_FAULT_REFUSE, 1);
    send_ids("bad", 2, ids);
    send_with("more than it takes", (cdtx_msg_options){.key = "large"});
    send_ids("good", 1, ids + 2);
    run_ms(1000);
    ck_assert_int_eq(left(), 0);
    ck_assert_int_eq(dead(), 2);
    ck_assert(error_has("CDTX_REFUSED"));
    ck_assert(error_has("CDTX_LIMIT"));
    ck_assert_int_eq(in_queue("cdtx_job WHERE state = 3 AND attempts = 1"), 2);
    ck_assert_uint_eq(stored(ids[0]) + stored(ids[1]), 1);
    ck_assert_uint_eq(stored(ids[2]), 1);
    cdtx_redrive_filter f = {.size = sizeof f, .handler = "cdtx.msg/orders/away"};
    int64_t count = 0;
    OK(cdtx_job_redrive(queue, &f, "ann", "it takes it now", &count, &E));
    ck_assert_int_eq(count, 2);
    run_ms(1000);
    ck_assert_uint_eq(stored(ids[0]), 1);
    ck_assert_uint_eq(stored(ids[1]), 1);
    ck_assert_int_eq(dead(), 1);
    tear_down_relay();
}
END_TEST

START_TEST(each_definite_code_is_a_dead_letter) {
    static const int32_t codes[] = {CDTX_REFUSED, CDTX_INVALID, CDTX_LIMIT, CDTX_UNSUPPORTED, CDTX_CONFLICT};
    static const int32_t others[] = {CDTX_BUSY,    CDTX_TIMEOUT,   CDTX_UNKNOWN, CDTX_IO,     CDTX_NO_MEMORY,
                                     CDTX_STOPPED, CDTX_NOT_FOUND, CDTX_MISUSE,  CDTX_CORRUPT};
    set_up_relay((cdtx_test_queue_options){0});
    relay((cdtx_relay_options){0});
    strange = _i < 5 ? codes[_i] : others[_i - 5];
    send("x");
    run_ms(1000);
    ck_assert_int_eq(dead(), _i < 5);
    ck_assert_int_eq(left(), _i >= 5);
    ck_assert(error_has(cdtx_code_name(strange)));
    tear_down_relay();
}
END_TEST

/* ---- away ---- */

START_TEST(an_engine_that_is_away_for_long_costs_little_and_loses_nothing) {
    char ids[500][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.in_order = 1});
    relay((cdtx_relay_options){.in_order = _i});
    cdtx_test_queue_set_down(fake, 1);
    send_ids(_i ? NULL : "k", 500, ids);
    run_ms(2 * HOUR);
    ck_assert_int_eq(left(), 500);
    ck_assert_int_eq(dead(), 0);
    ck_assert_msg(sent < 1000, "%u in two hours", sent); /* a few ask for all */
    cdtx_test_queue_set_down(fake, 0);
    run_ms(3 * MINUTE);
    ck_assert_int_eq(left(), 0);
    ck_assert_uint_eq(stored(NULL), 500);
    tear_down_relay();
}
END_TEST

START_TEST(everything_at_once_and_in_order) {
    static const char *const keys[] = {"a", "b", "c", "d"};
    static const int32_t what[] = {CDTX_FAULT_LOSE_REPLY, CDTX_FAULT_LOSE_CALL, CDTX_FAULT_AWAY, CDTX_FAULT_HOLD,
                                   CDTX_FAULT_DOUBLE};
    char ids[4][50][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.in_order = 1, .repeat_ms = _i % 2 ? DAY : 0});
    relay((cdtx_relay_options){.in_order = 1});
    uint32_t dice = 12345 + (uint32_t)_i;
    for (int i = 0; i < 15; i++) {
        dice = dice * 1664525 + 1013904223;
        faults(keys[dice >> 30], what[(dice >> 16) % 5], 1 + (dice >> 8) % 8);
    }
    for (int k = 0; k < 4; k++)
        send_ids(keys[k], 50, ids[k]);
    for (int i = 0; i < 40 && left() > 0; i++) {
        run_ms(60000);
        cdtx_test_queue_release(fake);
        cdtx_test_queue_set_down(fake, i % 3 == 1);
    }
    cdtx_test_queue_set_down(fake, 0);
    run_ms(5 * MINUTE);
    ck_assert_int_eq(left() + dead(), 0);
    for (int k = 0; k < 4; k++) {
        in_order(keys[k], 50);
        for (int i = 0; i < 50; i++)
            ck_assert_uint_ge(stored(ids[k][i]), 1);
    }
    if (_i % 2)
        ck_assert_uint_eq(stored(NULL), 200);
    tear_down_relay();
}
END_TEST

/* ---- leases ---- */

static void takes_long(void) {
    cdtx_test_env_advance(env, 70000);
    before_send = NULL;
}

/* The first batch takes longer than a lease: what waited for it is claimed anew, and then sent, so that nobody else has
 * sent it meanwhile. */
START_TEST(a_batch_that_waited_too_long_is_claimed_anew) {
    char ids[128][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){0});
    send_ids(NULL, 128, ids);
    relay((cdtx_relay_options){0});
    before_send = takes_long;
    run_ms(1000);
    ck_assert_uint_eq(sends, 1);
    run_ms(1000);
    ck_assert_int_eq(left(), 0);
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, NULL), 128);
    for (int i = 0; i < 128; i++)
        ck_assert_uint_ge(stored(ids[i]), 1);
    tear_down_relay();
}
END_TEST

START_TEST(a_lease_that_was_lost_costs_a_repeat) {
    char ids[3][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.repeat_ms = DAY, .in_order = 1});
    send_ids("k", 3, ids);
    relay((cdtx_relay_options){.lease_ms = 1000, .in_order = 1});
    before_send = takes_long;
    run_ms(1000);
    run_ms(60000);
    ck_assert_int_eq(left() + dead(), 0);
    ck_assert_uint_eq(stored(NULL), 3);
    in_order("k", 3);
    tear_down_relay();
}
END_TEST

/* ---- our process dies between send and its end ---- */

static int images;

static void copy_file(const char *from, const char *to) {
    static char bytes[1 << 20];
    FILE *in = fopen(lab_path(from), "rb");
    if (in == NULL)
        return;
    FILE *out = fopen(lab_path(to), "wb");
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, in)) > 0;)
        ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    fclose(in), fclose(out);
}

/* The queue as a kill at this moment would leave it. */
static void take_image(void) {
    if (images++ > 0)
        return;
    copy_file("queue.db", "image.db");
    copy_file("queue.db-wal", "image.db-wal");
}

START_TEST(killed_between_send_and_its_end) {
    char ids[10][CDTX_GID_MAX];
    images = 0;
    set_up_relay((cdtx_test_queue_options){.in_order = 1, .repeat_ms = _i ? DAY : 0});
    relay((cdtx_relay_options){.in_order = 1, .crashes_max = 0});
    behind_send = take_image;
    send_ids("k", 10, ids);
    run_ms(1000);
    ck_assert_uint_eq(stored(NULL), 10);
    close_engine();
    ck_assert_int_ge(images, 1);
    ck_assert_int_eq(rename(lab_path("image.db"), lab_path("queue.db")), 0);
    remove(lab_path("queue.db-wal")), remove(lab_path("queue.db-shm"));
    rename(lab_path("image.db-wal"), lab_path("queue.db-wal"));
    open_engine();
    ck_assert_int_eq(left(), 10);
    relay((cdtx_relay_options){.in_order = 1});
    run_ms(1000);
    ck_assert_int_eq(left() + dead(), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_uint_eq(stored(ids[i]), _i ? 1 : 2);
    in_order("k", 10);
    tear_down_relay();
}
END_TEST

START_TEST(dying_again_and_again_makes_no_dead_letter) {
    char id[1][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.repeat_ms = DAY});
    relay((cdtx_relay_options){0});
    behind_send = take_image;
    for (int life = 0; life < 6; life++) {
        images = 0;
        if (life == 0)
            send_ids(NULL, 1, id);
        run_ms(1000);
        ck_assert_int_eq(images, 1);
        close_engine();
        ck_assert_int_eq(rename(lab_path("image.db"), lab_path("queue.db")), 0);
        remove(lab_path("queue.db-wal")), remove(lab_path("queue.db-shm"));
        rename(lab_path("image.db-wal"), lab_path("queue.db-wal"));
        open_engine();
        relay((cdtx_relay_options){0});
    }
    behind_send = NULL;
    run_ms(1000);
    ck_assert_int_eq(left() + dead(), 0);
    ck_assert_uint_eq(stored(id[0]), 1);
    tear_down_relay();
}
END_TEST

/* ---- halves for an engine that has none ---- */

static int32_t mark(cdtx_sql *sql, void *handle, cdtx_error *err) {
    return cdtx_half_mark(sql, handle, err);
}

START_TEST(a_half_is_sent_exactly_when_it_is_committed) {
    char handle[4][CDTX_GID_MAX];
    set_up_relay((cdtx_test_queue_options){.repeat_ms = DAY});
    relay((cdtx_relay_options){0});
    cdtx_half_options o = {.size = sizeof o, .producer = "shop", .key = "k"};
    for (int i = 0; i < 4; i++)
        OK(cdtx_half_prepare(queue, "orders", "half", 4, &o, handle[i], &E));
    run_ms(10 * MINUTE);
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, NULL), 0);
    faults(NULL, CDTX_FAULT_LOSE_REPLY, 1);
    OK(cdtx_half_resolve(queue, handle[0], CDTX_HALF_COMMITTED, &E));
    OK(cdtx_half_resolve(queue, handle[1], CDTX_HALF_ROLLED_BACK, &E));
    run_ms(60000);
    ck_assert_uint_eq(stored(handle[0]), 1); /* its id there is its handle here */
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, handle[1]), 0);
    OK(cdtx_local(shop, mark, handle[2], &E));
    cdtx_half_checker c = {.size = sizeof c, .guard_db = shop};
    OK(cdtx_half_checker_add(queue, "shop", &c, &E));
    run_ms(5 * MINUTE);
    ck_assert_uint_eq(stored(handle[2]), 1);
    ck_assert_uint_eq(cdtx_test_queue_arrived(fake, handle[3]), 0);
    ck_assert_uint_eq(stored(NULL), 2);
    tear_down_relay();
}
END_TEST

/* ---- from queue to queue ---- */

static char came[1024];

static int32_t note_id(cdtx_work *work, void *user, cdtx_error *err) {
    char id[CDTX_GID_MAX];
    (void)user, (void)err;
    cdtx_msg_id(work, id);
    snprintf(came + strlen(came), sizeof came - strlen(came), "%s ", id);
    return 0;
}

START_TEST(a_queue_may_be_behind_the_port) {
    char ids[3][CDTX_GID_MAX], wanted[1024] = "";
    set_up();
    came[0] = '\0';
    cdtx_queue_port there = {.size = sizeof there};
    OK(cdtx_topic_add(shop, "orders", NULL, &E));
    OK(cdtx_queue_embedded(shop, &there, &E));
    cdtx_relay_options o = {.size = sizeof o, .in_order = 1, .drop = there.close};
    OK(cdtx_relay_add(queue, "orders", "shop", &there, &o, &E));
    cdtx_consumer_options consumer = {.size = sizeof consumer, .handler = note_id, .in_order = 1};
    OK(cdtx_consumer_add(shop, "orders", "mail", &consumer, &E));
    send_ids("k", 3, ids);
    run_ms(1000);
    for (int i = 0; i < 3; i++)
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), "%s ", ids[i]);
    ck_assert_str_eq(came, wanted);
    tear_down();
}
END_TEST

/* ---- adding ---- */

static uint32_t dropped;

static void count_drop(void *user) {
    ck_assert_ptr_eq(user, fake);
    dropped++;
}

static int32_t add(cdtx_db *db, const char *topic, const char *name, const cdtx_queue_port *to, cdtx_relay_options o) {
    o.size = sizeof o;
    o.drop = count_drop;
    return cdtx_relay_add(db, topic, name, to, &o, &E);
}

START_TEST(bad_input) {
    set_up_relay((cdtx_test_queue_options){.not_durable = 1});
    dropped = 0;
    cdtx_relay_options short_one = {.size = 8}, fair = {.not_durable = 1};
    FAILS(CDTX_MISUSE, "NULL", add(NULL, "orders", "away", &port, fair));
    FAILS(CDTX_INVALID, "NULL", add(queue, "orders", "away", NULL, fair));
    FAILS(CDTX_INVALID, "size", cdtx_relay_add(queue, "orders", "away", &port, &short_one, &E));
    FAILS(CDTX_INVALID, "topic", add(queue, NULL, "away", &port, fair));
    FAILS(CDTX_INVALID, "slash", add(queue, "a/b", "away", &port, fair));
    FAILS(CDTX_INVALID, "relay", add(queue, "orders", "", &port, fair));
    FAILS(CDTX_INVALID, "there", add(queue, "orders", "away", &port, (cdtx_relay_options){.topic = "a/b"}));
    FAILS(CDTX_INVALID, "65",
          add(queue, "orders", "away", &port, (cdtx_relay_options){.not_durable = 1, .batch_max = 65}));
    FAILS(CDTX_INVALID, "lease_ms",
          add(queue, "orders", "away", &port, (cdtx_relay_options){.not_durable = 1, .lease_ms = -1}));
    FAILS(CDTX_NOT_FOUND, "nowhere", add(queue, "nowhere", "away", &port, fair));
    FAILS(CDTX_UNSUPPORTED, "lose", add(queue, "orders", "away", &port, (cdtx_relay_options){0}));
    FAILS(CDTX_UNSUPPORTED, "order", add(queue, "orders", "away", &port, (cdtx_relay_options){.in_order = 1}));
    cdtx_queue_port bad = port;
    bad.capabilities &= ~(uint32_t)CDTX_QUEUE_KEEPS_ID;
    FAILS(CDTX_UNSUPPORTED, "no id", add(queue, "orders", "away", &bad, fair));
    bad = port, bad.send = NULL;
    FAILS(CDTX_INVALID, "no send", add(queue, "orders", "away", &bad, fair));
    bad = port, bad.batch_max = 0;
    FAILS(CDTX_INVALID, "batch_max", add(queue, "orders", "away", &bad, fair));
    bad = port, bad.size = 16;
    FAILS(CDTX_INVALID, "cdtx_queue_port", add(queue, "orders", "away", &bad, fair));
    ck_assert_int_eq(in_queue("cdtx_group"), 0);
    OK(add(queue, "orders", "away", &port, fair));
    FAILS(CDTX_CONFLICT, "joined", add(queue, "orders", "away", &port, fair));
    ck_assert_uint_eq(dropped, 0);
    close_engine();
    ck_assert_uint_eq(dropped, 1);
    cdtx_test_queue_free(fake);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

START_TEST(memory_runs_out_anywhere) {
    int done = 0;
    for (uint64_t nth = 1; !done; nth++) {
        char ids[4][CDTX_GID_MAX];
        ck_assert_uint_lt(nth, 3000);
        if (nth > 1)
            lab_teardown(), lab_setup();
        set_up_relay((cdtx_test_queue_options){.repeat_ms = DAY});
        send_ids("k", 4, ids);
        uint64_t before = cdtx_test_env_allocations(env);
        cdtx_relay_options o = {.size = sizeof o};
        cdtx_test_env_fail_memory(env, nth, 0);
        int32_t rc = cdtx_relay_add(queue, "orders", "away", &port, &o, &E);
        if (rc == 0)
            cdtx_run(engine, 0, &E);
        done = cdtx_test_env_allocations(env) - before < nth;
        cdtx_test_env_fail_memory(env, 0, 0);
        ck_assert(rc == 0 || rc == CDTX_NO_MEMORY);
        if (rc != 0 && cdtx_relay_add(queue, "orders", "away", &port, &o, &E) != 0)
            ck_assert_int_eq(E.code, CDTX_CONFLICT);
        run_ms(10 * 60000);
        ck_assert_int_eq(left() + dead(), 0);
        for (int i = 0; i < 4; i++)
            ck_assert_uint_eq(stored(ids[i]), 1);
        tear_down_relay();
    }
}
END_TEST

/* ---- threads ---- */

START_TEST(many_threads_send_at_once) {
    char ids[300][CDTX_GID_MAX];
    clear();
    cdtx_options o = {.size = sizeof o, .threads = 4};
    OK(cdtx_open(&o, &engine, &E));
    queue = open_db(engine, "queue", "share=0");
    OK(cdtx_topic_add(queue, "orders", NULL, &E));
    cdtx_test_queue_options real = {.size = sizeof real, .repeat_ms = DAY, .batch_max = 8};
    OK(cdtx_test_queue_new(&real, &fake, &E));
    cdtx_relay_options r = {.size = sizeof r, .backoff_min_ms = 1, .backoff_max_ms = 5};
    OK(cdtx_relay_add(queue, "orders", "away", cdtx_test_queue_port(fake), &r, &E));
    OK(cdtx_test_queue_rule(fake, NULL, NULL, CDTX_FAULT_LOSE_REPLY, 50, &E));
    OK(cdtx_test_queue_rule(fake, NULL, NULL, CDTX_FAULT_LOSE_CALL, 50, &E));
    send_ids(NULL, 300, ids);
    for (int i = 0; i < 1000 && left() > 0; i++)
        OK(cdtx_run(engine, 10, &E));
    ck_assert_int_eq(left() + dead(), 0);
    ck_assert_uint_eq(stored(NULL), 300);
    cdtx_db_close(queue);
    cdtx_close(engine);
    cdtx_test_queue_free(fake);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, each_message_is_stored_there_once_under_its_id);
    tcase_add_loop_test(tcase, batches_are_as_the_port_has_them, 0, 4);
    tcase_add_test(tcase, other_groups_have_it_too_and_delays_are_kept_here);
    tcase_add_test(tcase, a_new_relay_starts_where_it_wants);
    tcase_add_loop_test(tcase, lost_confirms_are_asked_again_under_the_same_id, 0, 8);
    tcase_add_test(tcase, silence_is_never_a_no);
    tcase_add_test(tcase, a_limit_of_attempts_is_the_users_own);
    tcase_add_loop_test(tcase, strange_answers_say_nothing, 0, 5);
    tcase_add_test(tcase, busy_says_when_to_come_back);
    tcase_add_loop_test(tcase, what_is_refused_is_a_dead_letter_and_its_neighbours_flow, 0, 2);
    tcase_add_loop_test(tcase, each_definite_code_is_a_dead_letter, 0, 14);
    tcase_add_loop_test(tcase, an_engine_that_is_away_for_long_costs_little_and_loses_nothing, 0, 2);
    tcase_add_loop_test(tcase, everything_at_once_and_in_order, 0, 6);
    tcase_add_test(tcase, a_batch_that_waited_too_long_is_claimed_anew);
    tcase_add_test(tcase, a_lease_that_was_lost_costs_a_repeat);
    tcase_add_loop_test(tcase, killed_between_send_and_its_end, 0, 2);
    tcase_add_test(tcase, dying_again_and_again_makes_no_dead_letter);
    tcase_add_test(tcase, a_half_is_sent_exactly_when_it_is_committed);
    tcase_add_test(tcase, a_queue_may_be_behind_the_port);
    tcase_add_test(tcase, bad_input);
    tcase_add_test(tcase, memory_runs_out_anywhere);
    tcase_add_test(tcase, many_threads_send_at_once);
}

int main(void) {
    return lab_main("relay", tests);
}
