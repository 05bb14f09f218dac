/* The coordinator port: one suite over the local coordinator and its loopback twin. The engine has no log of its own,
 * so that nothing but the test drives what is in the rows. */
#include "engine/engine.h"

#include "lab.h"

enum { LOCAL, LOOPBACK, KINDS };

static cdtx_test_env *world;
static cdtx *engine;
static cdtx_db *db;
static struct coord_port port;

static void open_log(int kind) {
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(world)};
    OK(cdtx_open(&options, &engine, &E));
    OK(cdtx_db_open(engine, "decisions", lab_url("log.db"), &db, &E));
    OK(cdtx__coord_local_open(db, &port, &E));
    if (kind == LOCAL)
        return;
    struct coord_port inner = port;
    OK(cdtx__coord_loopback_open(engine->env, 8 << 20, &inner, &port, &E));
}

static void close_log(void) {
    port.close(port.self);
    cdtx_db_close(db);
    cdtx_close(engine);
}

static void make_log(int kind) {
    OK(cdtx_test_env_new(&world, &E));
    open_log(kind);
}

static void free_log(void) {
    close_log();
    ck_assert_uint_eq(cdtx_test_env_bytes(world), 0);
    cdtx_test_env_free(world);
}

/* ---- asking ---- */

static void note_done(struct coord_request *request) {
    ++*(int *)request->user;
}

static void ask_two(struct coord_request *first, struct coord_request *second) {
    int done = 0;
    struct coord_request *both[] = {first, second};
    int count = second == NULL ? 1 : 2;
    for (int i = 0; i < count; i++) {
        both[i]->done = note_done;
        both[i]->user = &done;
        port.submit(port.self, both[i]);
    }
    for (int i = 0; i < 100 && done < count; i++)
        OK(cdtx_run(engine, 10, &E));
    ck_assert_int_eq(done, count);
}

static int32_t ask(struct coord_request *request) {
    ask_two(request, NULL);
    return request->result;
}

static const struct coord_branch order_and_stock[] = {
    {.participant = "order", .payload = "o\0one", .length = 5},
    {.participant = "stock", .payload = "", .length = 0},
};

static struct coord_request begin_request(const char *key, int64_t timeout_ms) {
    return (struct coord_request){.verb = COORD_BEGIN,
                                  .name = "sale",
                                  .key = key,
                                  .timeout_ms = timeout_ms,
                                  .branches = order_and_stock,
                                  .branch_count = 2};
}

static struct coord_request begin(const char *key, int64_t timeout_ms) {
    struct coord_request request = begin_request(key, timeout_ms);
    ck_assert_msg(ask(&request) == 0, "%s", request.err.text);
    return request;
}

static struct coord_request decide_request(int64_t sequence, int64_t epoch, int32_t outcome) {
    return (struct coord_request){.verb = COORD_DECIDE,
                                  .sequence = sequence,
                                  .epoch = epoch,
                                  .outcome = outcome,
                                  .lease_ms = 1000,
                                  .reason = COORD_REASON_ASKED};
}

static struct coord_request decide(int64_t sequence, int64_t epoch, int32_t outcome) {
    struct coord_request request = decide_request(sequence, epoch, outcome);
    ck_assert_msg(ask(&request) == 0, "%s", request.err.text);
    return request;
}

static struct coord_request query(int64_t sequence, const char *key) {
    struct coord_request request = {.verb = COORD_QUERY, .sequence = sequence, .key = key};
    ask(&request);
    return request;
}

static int32_t state_of(int64_t sequence) {
    struct coord_request request = query(sequence, NULL);
    ck_assert_msg(request.result == 0, "%s", request.err.text);
    return request.state;
}

/* The answered items stay until port.release. */
static struct coord_request take(uint32_t limit) {
    struct coord_request request = {.verb = COORD_TAKE, .limit = limit, .lease_ms = 1000};
    ck_assert_msg(ask(&request) == 0, "%s", request.err.text);
    return request;
}

static uint32_t take_count(uint32_t limit) {
    struct coord_request request = take(limit);
    uint32_t count = request.item_count;
    port.release(port.self, &request);
    return count;
}

static struct coord_request settle(int64_t sequence, int64_t epoch, int32_t outcome, int64_t acked, int ended,
                                   int64_t due) {
    struct coord_request request = {.verb = COORD_SETTLE,
                                    .sequence = sequence,
                                    .epoch = epoch,
                                    .outcome = outcome,
                                    .acked = acked,
                                    .ended = ended,
                                    .due_in_ms = due};
    ask(&request);
    return request;
}

#define REFUSES(asked, want, word)                                                                                     \
    do {                                                                                                               \
        ck_assert_msg((asked).result == (want), "%s: %s", cdtx_code_name((asked).result), (asked).err.text);           \
        ck_assert_int_eq((asked).err.code, (want));                                                                    \
        ck_assert_msg(strstr((asked).err.text, word) != NULL, "%s", (asked).err.text);                                 \
    } while (0)

/* ---- begin, register ---- */

START_TEST(sequences_rise_and_keys_join) {
    make_log(_i);
    struct coord_request one = begin(NULL, 5000), two = begin("order-7", 5000), joined = begin("order-7", 1);
    ck_assert_int_eq(one.sequence, 1);
    ck_assert_int_eq(one.epoch, 1);
    ck_assert_int_eq(one.state, CDTX_TX_ACTIVE);
    ck_assert_int_eq(one.found, 0);
    ck_assert_int_eq(two.sequence, 2);
    ck_assert_int_eq(two.found, 0);
    ck_assert_int_eq(joined.sequence, 2);
    ck_assert_int_eq(joined.found, 1);
    decide(2, two.epoch, CDTX_TX_COMMITTING);
    joined = begin("order-7", 5000);
    ck_assert_int_eq(joined.found, 1);
    ck_assert_int_eq(joined.state, CDTX_TX_COMMITTING);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx"), 2);
    struct coord_request first = begin_request("same", 5000), second = begin_request("same", 5000);
    ask_two(&first, &second);
    ck_assert_int_eq(first.result + second.result, 0);
    ck_assert_int_eq(first.sequence, second.sequence);
    ck_assert_int_eq(first.found + second.found, 1);
    free_log();
}
END_TEST

START_TEST(the_log_names_the_gid) {
    make_log(_i);
    ck_assert_mem_eq(port.log(port.self), db->store->uuid, 16);
    free_log();
}
END_TEST

static struct coord_request add_branch(int64_t sequence, int64_t epoch) {
    static const struct coord_branch branch = {.participant = "points", .payload = "p", .length = 1};
    struct coord_request request = {
        .verb = COORD_REGISTER, .sequence = sequence, .epoch = epoch, .branches = &branch, .branch_count = 1};
    ask(&request);
    return request;
}

START_TEST(branches_are_registered_while_active) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000), added = add_branch(tx.sequence, tx.epoch);
    ck_assert_int_eq(added.result, 0);
    ck_assert_uint_eq(added.branch, 2);
    ck_assert_int_gt(added.epoch, tx.epoch);
    struct coord_request refused = add_branch(tx.sequence, tx.epoch); /* an old epoch */
    REFUSES(refused, CDTX_REFUSED, "1");
    while (added.branch < CDTX_BRANCHES_MAX - 1) {
        added = add_branch(tx.sequence, added.epoch);
        ck_assert_msg(added.result == 0, "%s", added.err.text);
    }
    refused = add_branch(tx.sequence, added.epoch);
    REFUSES(refused, CDTX_LIMIT, "62");
    struct coord_request decided = decide(tx.sequence, added.epoch, CDTX_TX_COMMITTING);
    refused = add_branch(tx.sequence, decided.epoch);
    REFUSES(refused, CDTX_REFUSED, "COMMITTING");
    refused = add_branch(99, 1);
    REFUSES(refused, CDTX_NOT_FOUND, "99");
    free_log();
}
END_TEST

/* ---- decide ---- */

START_TEST(the_first_decision_stands) {
    make_log(_i);
    for (int32_t outcome = CDTX_TX_COMMITTING; outcome <= CDTX_TX_ROLLING_BACK; outcome++) {
        int32_t other = CDTX_TX_COMMITTING + CDTX_TX_ROLLING_BACK - outcome;
        struct coord_request tx = begin(NULL, 5000), decided = decide(tx.sequence, tx.epoch, outcome);
        ck_assert_int_eq(decided.found, 0);
        ck_assert_int_eq(decided.state, outcome);
        ck_assert_int_gt(decided.epoch, tx.epoch);
        for (int64_t epoch = tx.epoch; epoch <= decided.epoch; epoch++) {
            struct coord_request late = decide(tx.sequence, epoch, other);
            ck_assert_int_eq(late.found, 1);
            ck_assert_int_eq(late.state, outcome);
        }
        ck_assert_int_eq(state_of(tx.sequence), outcome);
    }
    struct coord_request none = decide_request(77, 1, CDTX_TX_COMMITTING);
    ask(&none);
    REFUSES(none, CDTX_NOT_FOUND, "77");
    free_log();
}
END_TEST

START_TEST(two_decisions_at_once_are_one) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000);
    struct coord_request commit = decide_request(tx.sequence, tx.epoch, CDTX_TX_COMMITTING);
    struct coord_request rollback = decide_request(tx.sequence, tx.epoch, CDTX_TX_ROLLING_BACK);
    ask_two(&commit, &rollback);
    ck_assert_int_eq(commit.result + rollback.result, 0);
    ck_assert_int_eq(commit.state, rollback.state);
    ck_assert_int_eq(commit.found + rollback.found, 1);
    ck_assert_int_eq(state_of(tx.sequence), commit.state);
    free_log();
}
END_TEST

START_TEST(an_old_epoch_decides_nothing) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000), added = add_branch(tx.sequence, tx.epoch);
    ck_assert_int_eq(added.result, 0);
    struct coord_request stale = decide_request(tx.sequence, tx.epoch, CDTX_TX_COMMITTING);
    ask(&stale);
    REFUSES(stale, CDTX_CONFLICT, "1");
    ck_assert_int_eq(state_of(tx.sequence), CDTX_TX_ACTIVE);
    free_log();
}
END_TEST

START_TEST(a_commit_after_the_deadline_rolls_back) {
    make_log(_i);
    struct coord_request in_time = begin(NULL, 5000), late = begin(NULL, 5000), aborted = begin(NULL, 5000);
    cdtx_test_env_advance(world, 4900);
    ck_assert_int_eq(decide(in_time.sequence, 1, CDTX_TX_COMMITTING).state, CDTX_TX_COMMITTING);
    cdtx_test_env_advance(world, 200);
    struct coord_request decided = decide(late.sequence, 1, CDTX_TX_COMMITTING);
    ck_assert_int_eq(decided.state, CDTX_TX_ROLLING_BACK);
    ck_assert_int_eq(decided.reason, COORD_REASON_TIMEOUT);
    decided = decide(aborted.sequence, 1, CDTX_TX_ROLLING_BACK);
    ck_assert_int_eq(decided.state, CDTX_TX_ROLLING_BACK);
    ck_assert_int_eq(decided.reason, COORD_REASON_ASKED);
    ck_assert_int_eq(state_of(in_time.sequence), CDTX_TX_COMMITTING);
    free_log();
}
END_TEST

START_TEST(deadlines_do_not_follow_the_wall_clock) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000);
    cdtx_test_env_step_wall(world, 86400000);
    ck_assert_uint_eq(take_count(10), 0);
    ck_assert_int_eq(decide(tx.sequence, tx.epoch, CDTX_TX_COMMITTING).state, CDTX_TX_COMMITTING);
    tx = begin(NULL, 5000);
    cdtx_test_env_step_wall(world, -2 * INT64_C(86400000));
    cdtx_test_env_advance(world, 6000);
    ck_assert_int_eq(decide(tx.sequence, tx.epoch, CDTX_TX_COMMITTING).state, CDTX_TX_ROLLING_BACK);
    free_log();
}
END_TEST

/* ---- query and list ---- */

START_TEST(queries_tell_never_from_no_longer) {
    make_log(_i);
    struct coord_request tx = begin("order-1", 5000), answer = query(0, "order-1");
    ck_assert_int_eq(answer.result, 0);
    ck_assert_int_eq(answer.sequence, tx.sequence);
    ck_assert_int_eq(answer.state, CDTX_TX_ACTIVE);
    answer = query(tx.sequence + 1, NULL);
    REFUSES(answer, CDTX_NOT_FOUND, "2");
    answer = query(0, "order-2");
    REFUSES(answer, CDTX_NOT_FOUND, "order-2");
    lab_sql("log.db", "DELETE FROM cdtx_tx");
    answer = query(tx.sequence, NULL);
    REFUSES(answer, CDTX_EXPIRED, "1");
    free_log();
}
END_TEST

START_TEST(a_state_that_is_none_is_corrupt) {
    make_log(_i);
    struct coord_request tx = begin("order-1", 5000);
    lab_sql("log.db", "UPDATE cdtx_tx SET state = 9");
    struct coord_request answer = query(tx.sequence, NULL);
    REFUSES(answer, CDTX_CORRUPT, "9");
    answer = decide_request(tx.sequence, tx.epoch, CDTX_TX_COMMITTING);
    ask(&answer);
    REFUSES(answer, CDTX_CORRUPT, "9");
    free_log();
}
END_TEST

/* Version, then for each branch its name and payload, each with its length before it and a NUL behind. */
static const char *const garbled[] = {
    "",                             /* nothing at all */
    "02",                           /* a version to come */
    "010000000573746f",             /* cut in the name */
    "0100000003610062000000000000", /* a NUL inside the name */
    "01000000000000000000000000",   /* an empty name */
    "0100000001610000000000",       /* cut in the payload */
    "01000000016100000000017800ff", /* more than it says */
    "01ffffffff6100",               /* a length beyond everything */
    "0100000001610000000001789a",   /* no NUL behind the payload */
    "01000000020a6100000000017800", /* a control character in the name */
};

/* It stays as it is, and its neighbour is taken. */
START_TEST(a_garbled_record_is_left_alone) {
    char statement[200];
    make_log(_i);
    begin("order-1", 5000);
    begin("order-2", 5000);
    for (size_t i = 0; i < sizeof garbled / sizeof garbled[0]; i++) {
        snprintf(statement, sizeof statement,
                 "UPDATE cdtx_tx SET state = 2, due = 0, branches = iif(seq = 1, x'%s', x'01')", garbled[i]);
        lab_sql("log.db", statement);
        struct coord_request request = {.verb = COORD_TAKE, .limit = 5, .lease_ms = 1000};
        ck_assert_msg(ask(&request) == 0, "%s: %s", garbled[i], cdtx_code_name(request.result));
        ck_assert_uint_eq(request.item_count, 1);
        ck_assert_int_eq(request.items[0].sequence, 2);
        ck_assert_int_gt(request.next_due_ms, 0); /* no busy loop over what cannot be taken */
        port.release(port.self, &request);
        ck_assert_int_eq(lab_sql("log.db", "SELECT due FROM cdtx_tx WHERE seq = 1"), 0);
    }
    free_log();
}
END_TEST

static uint32_t list(int32_t state, int64_t after, uint32_t limit, int64_t *first) {
    struct coord_request request = {.verb = COORD_LIST, .state = state, .after = after, .limit = limit};
    ck_assert_msg(ask(&request) == 0, "%s", request.err.text);
    uint32_t count = request.item_count;
    *first = count == 0 ? 0 : request.items[0].sequence;
    for (uint32_t i = 0; i < count; i++)
        ck_assert_str_eq(request.items[i].name, "sale");
    for (uint32_t i = 1; i < count; i++)
        ck_assert_int_gt(request.items[i].sequence, request.items[i - 1].sequence);
    port.release(port.self, &request);
    return count;
}

START_TEST(lists_go_by_state_and_sequence) {
    make_log(_i);
    int64_t first = 0;
    for (int i = 0; i < 6; i++)
        begin(NULL, 5000);
    decide(2, 1, CDTX_TX_COMMITTING);
    struct coord_request tx = decide(4, 1, CDTX_TX_COMMITTING);
    ck_assert_int_eq(settle(4, tx.epoch, CDTX_TX_COMMITTING, 3, 1, 0).result, 0);
    ck_assert_uint_eq(list(0, 0, 100, &first), 5);
    ck_assert_int_eq(first, 1);
    ck_assert_uint_eq(list(0, 2, 2, &first), 2);
    ck_assert_int_eq(first, 3);
    ck_assert_uint_eq(list(CDTX_TX_COMMITTING, 0, 100, &first), 1);
    ck_assert_int_eq(first, 2);
    ck_assert_uint_eq(list(CDTX_TX_COMMITTED, 0, 100, &first), 1);
    ck_assert_int_eq(first, 4);
    ck_assert_uint_eq(list(CDTX_TX_ROLLED_BACK, 0, 100, &first), 0);
    free_log();
}
END_TEST

/* ---- take and settle ---- */

START_TEST(take_decides_what_ran_out_of_time) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000), none = take(10);
    ck_assert_uint_eq(none.item_count, 0);
    ck_assert_int_gt(none.next_due_ms, 4000);
    ck_assert_int_le(none.next_due_ms, 5000);
    cdtx_test_env_advance(world, 5001);
    struct coord_request taken = take(10);
    ck_assert_uint_eq(taken.item_count, 1);
    const struct coord_item *item = &taken.items[0];
    ck_assert_int_eq(item->sequence, tx.sequence);
    ck_assert_int_eq(item->state, CDTX_TX_ROLLING_BACK);
    ck_assert_int_eq(item->reason, COORD_REASON_TIMEOUT);
    ck_assert_int_gt(item->epoch, tx.epoch);
    ck_assert_str_eq(item->name, "sale");
    ck_assert_uint_eq(item->branch_count, 2);
    ck_assert_str_eq(item->branches[0].participant, "order");
    ck_assert_uint_eq(item->branches[0].length, 5);
    ck_assert_mem_eq(item->branches[0].payload, "o\0one", 5);
    ck_assert_str_eq(item->branches[1].participant, "stock");
    ck_assert_uint_eq(item->branches[1].length, 0);
    port.release(port.self, &taken);
    ck_assert_int_eq(state_of(tx.sequence), CDTX_TX_ROLLING_BACK);
    struct coord_request late = decide(tx.sequence, tx.epoch, CDTX_TX_COMMITTING);
    ck_assert_int_eq(late.found, 1);
    ck_assert_int_eq(late.state, CDTX_TX_ROLLING_BACK);
    free_log();
}
END_TEST

START_TEST(a_lease_keeps_others_away_until_it_ends) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000), decided = decide(tx.sequence, tx.epoch, CDTX_TX_COMMITTING);
    ck_assert_uint_eq(take_count(10), 0); /* the decider's own */
    cdtx_test_env_advance(world, 1001);
    struct coord_request taken = take(10);
    ck_assert_uint_eq(taken.item_count, 1);
    int64_t epoch = taken.items[0].epoch;
    ck_assert_int_gt(epoch, decided.epoch);
    ck_assert_int_eq(taken.items[0].state, CDTX_TX_COMMITTING); /* time moves only what is undecided */
    port.release(port.self, &taken);
    ck_assert_uint_eq(take_count(10), 0);
    struct coord_request stale = settle(tx.sequence, decided.epoch, CDTX_TX_COMMITTING, 3, 1, 0);
    REFUSES(stale, CDTX_CONFLICT, "1");
    ck_assert_int_eq(state_of(tx.sequence), CDTX_TX_COMMITTING);
    struct coord_request ended = settle(tx.sequence, epoch, CDTX_TX_COMMITTING, 3, 1, 0);
    ck_assert_int_eq(ended.result, 0);
    ck_assert_int_eq(ended.state, CDTX_TX_COMMITTED);
    ck_assert_int_eq(state_of(tx.sequence), CDTX_TX_COMMITTED);
    cdtx_test_env_advance(world, 100000);
    struct coord_request none = take(10);
    ck_assert_uint_eq(none.item_count, 0);
    ck_assert_int_eq(none.next_due_ms, -1);
    port.release(port.self, &none);
    free_log();
}
END_TEST

START_TEST(half_settled_comes_again) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000), decided = decide(tx.sequence, tx.epoch, CDTX_TX_ROLLING_BACK);
    ck_assert_int_eq(settle(tx.sequence, decided.epoch, CDTX_TX_ROLLING_BACK, 2, 0, 300).result, 0);
    cdtx_test_env_advance(world, 200);
    ck_assert_uint_eq(take_count(10), 0);
    cdtx_test_env_advance(world, 101);
    struct coord_request taken = take(10);
    ck_assert_uint_eq(taken.item_count, 1);
    ck_assert_int_eq(taken.items[0].acked, 2);
    ck_assert_uint_ge(taken.items[0].attempts, 2);
    int64_t epoch = taken.items[0].epoch;
    port.release(port.self, &taken);
    struct coord_request ended = settle(tx.sequence, epoch, CDTX_TX_ROLLING_BACK, 3, 1, 0);
    ck_assert_int_eq(ended.state, CDTX_TX_ROLLED_BACK);
    free_log();
}
END_TEST

/* A settle names the outcome that it carried out; it never changes which one was decided. */
START_TEST(a_settle_changes_no_decision) {
    make_log(_i);
    struct coord_request tx = begin(NULL, 5000), decided = decide(tx.sequence, tx.epoch, CDTX_TX_COMMITTING);
    struct coord_request wrong = settle(tx.sequence, decided.epoch, CDTX_TX_ROLLING_BACK, 3, 1, 0);
    ck_assert_int_ne(wrong.result, 0);
    ck_assert_int_eq(state_of(tx.sequence), CDTX_TX_COMMITTING);
    free_log();
}
END_TEST

START_TEST(take_is_bounded_and_oldest_first) {
    make_log(_i);
    for (int i = 0; i < 5; i++) {
        begin(NULL, 1000);
        cdtx_test_env_advance(world, 10);
    }
    cdtx_test_env_advance(world, 2000);
    struct coord_request taken = take(3);
    ck_assert_uint_eq(taken.item_count, 3);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(taken.items[i].sequence, i + 1);
    ck_assert_int_eq(taken.next_due_ms, 0); /* there are more now */
    port.release(port.self, &taken);
    ck_assert_uint_eq(take_count(3), 2);
    ck_assert_uint_eq(take_count(3), 0);
    free_log();
}
END_TEST

/* ---- recovery ---- */

START_TEST(a_new_life_takes_everything_up) {
    make_log(_i);
    struct coord_request undecided = begin("a", 600000), decided = begin("b", 600000), ended = begin("c", 600000);
    decide(decided.sequence, 1, CDTX_TX_COMMITTING);
    struct coord_request last = decide(ended.sequence, 1, CDTX_TX_COMMITTING);
    settle(ended.sequence, last.epoch, CDTX_TX_COMMITTING, 3, 1, 0);
    close_log();
    open_log(_i);
    struct coord_request taken = take(10);
    ck_assert_uint_eq(taken.item_count, 2);
    ck_assert_int_eq(taken.items[0].sequence, undecided.sequence);
    ck_assert_int_eq(taken.items[0].state, CDTX_TX_ROLLING_BACK);
    ck_assert_int_eq(taken.items[0].reason, COORD_REASON_ABANDONED);
    ck_assert_int_eq(taken.items[1].sequence, decided.sequence);
    ck_assert_int_eq(taken.items[1].state, CDTX_TX_COMMITTING);
    port.release(port.self, &taken);
    ck_assert_int_eq(query(0, "c").state, CDTX_TX_COMMITTED);
    ck_assert_int_eq(begin(NULL, 5000).sequence, 4);
    free_log();
}
END_TEST

START_TEST(sequences_never_come_again) {
    make_log(_i);
    begin(NULL, 5000);
    begin(NULL, 5000);
    lab_sql("log.db", "DELETE FROM cdtx_tx"); /* records expire, numbers do not */
    close_log();
    open_log(_i);
    ck_assert_int_eq(begin(NULL, 5000).sequence, 3);
    free_log();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_loop_test(tcase, sequences_rise_and_keys_join, 0, KINDS);
    tcase_add_loop_test(tcase, the_log_names_the_gid, 0, KINDS);
    tcase_add_loop_test(tcase, branches_are_registered_while_active, 0, KINDS);
    tcase_add_loop_test(tcase, the_first_decision_stands, 0, KINDS);
    tcase_add_loop_test(tcase, two_decisions_at_once_are_one, 0, KINDS);
    tcase_add_loop_test(tcase, an_old_epoch_decides_nothing, 0, KINDS);
    tcase_add_loop_test(tcase, a_commit_after_the_deadline_rolls_back, 0, KINDS);
    tcase_add_loop_test(tcase, deadlines_do_not_follow_the_wall_clock, 0, KINDS);
    tcase_add_loop_test(tcase, queries_tell_never_from_no_longer, 0, KINDS);
    tcase_add_loop_test(tcase, a_state_that_is_none_is_corrupt, 0, KINDS);
    tcase_add_loop_test(tcase, a_garbled_record_is_left_alone, 0, KINDS);
    tcase_add_loop_test(tcase, lists_go_by_state_and_sequence, 0, KINDS);
    tcase_add_loop_test(tcase, take_decides_what_ran_out_of_time, 0, KINDS);
    tcase_add_loop_test(tcase, a_lease_keeps_others_away_until_it_ends, 0, KINDS);
    tcase_add_loop_test(tcase, half_settled_comes_again, 0, KINDS);
    tcase_add_loop_test(tcase, a_settle_changes_no_decision, 0, KINDS);
    tcase_add_loop_test(tcase, take_is_bounded_and_oldest_first, 0, KINDS);
    tcase_add_loop_test(tcase, a_new_life_takes_everything_up, 0, KINDS);
    tcase_add_loop_test(tcase, sequences_never_come_again, 0, KINDS);
}

int main(void) {
    return lab_main("coord", tests);
}
