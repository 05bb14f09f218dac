/* Half messages: who resolves them first, who answers for those that nobody resolves, and what a checker may do. */
#include "../adapter/plain_host.h"
#include "msg_lab.h"

static void prepare_as(const char *text, cdtx_half_options o, char handle[CDTX_GID_MAX]) {
    o.size = sizeof o;
    if (o.producer == NULL)
        o.producer = "shop";
    OK(cdtx_half_prepare(queue, "orders", text, strlen(text), &o, handle, &E));
}

static void prepare(char handle[CDTX_GID_MAX]) {
    prepare_as("half", (cdtx_half_options){.immunity_ms = 2000}, handle);
}

static int32_t state_of(const char *handle) {
    int32_t state = 0;
    OK(cdtx_half_query(queue, handle, &state, &E));
    return state;
}

static int32_t mark(cdtx_sql *sql, void *handle, cdtx_error *err) {
    return cdtx_half_mark(sql, handle, err);
}

static int32_t mark_and_fail(cdtx_sql *sql, void *handle, cdtx_error *err) {
    int32_t rc = cdtx_half_mark(sql, handle, err);
    return rc != 0 ? rc : cdtx_error_set(err, CDTX_USER, "no");
}

/* ---- a checker that a test tells what to say ---- */

static uint32_t asked;
static int32_t answer;
static int64_t asked_at[64];
static char last_handle[CDTX_GID_MAX];

static int32_t check(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)user;
    ck_assert_str_eq(topic, "orders");
    ck_assert_ptr_nonnull(payload);
    ck_assert_int_eq(((const char *)payload)[length], 0);
    if (asked < 64)
        asked_at[asked] = mono_ms();
    asked++;
    snprintf(last_handle, sizeof last_handle, "%s", handle);
    return answer;
}

static void checker(cdtx_half_checker c) {
    c.size = sizeof c;
    if (c.guard_db == NULL && c.check == NULL)
        c.check = check;
    if (c.interval_ms == 0)
        c.interval_ms = 1000;
    OK(cdtx_half_checker_add(queue, "shop", &c, &E));
}

static void half_world(void) {
    asked = 0, answer = CDTX_HALF_OPEN, last_handle[0] = '\0';
    set_up();
    join("mail", (cdtx_consumer_options){0});
}

/* ---- bad input ---- */

START_TEST(a_half_is_checked) {
    half_world();
    static const char large[CDTX_PAYLOAD_DEFAULT + 1];
    char handle[CDTX_GID_MAX] = "untouched", name[102];
    cdtx_half_options o = {.size = sizeof o, .producer = "shop"};
    FAILS(CDTX_MISUSE, "NULL", cdtx_half_prepare(NULL, "orders", "x", 1, &o, handle, &E));
    FAILS(CDTX_INVALID, "handle", cdtx_half_prepare(queue, "orders", "x", 1, &o, NULL, &E));
    FAILS(CDTX_INVALID, "producer", cdtx_half_prepare(queue, "orders", "x", 1, NULL, handle, &E));
    FAILS(CDTX_NOT_FOUND, "no topic 'none'", cdtx_half_prepare(queue, "none", "x", 1, &o, handle, &E));
    FAILS(CDTX_LIMIT, "payload_max", cdtx_half_prepare(queue, "orders", large, sizeof large, &o, handle, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_half_prepare(queue, "orders", NULL, 1, &o, handle, &E));
    o.size = 20;
    FAILS(CDTX_INVALID, "size", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    static const char *const bad[] = {"", "a\nb", "\xff"};
    for (int i = 0; i < 3; i++) {
        o = (cdtx_half_options){.size = sizeof o, .producer = bad[i]};
        FAILS(CDTX_INVALID, "producer", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
        o = (cdtx_half_options){.size = sizeof o, .producer = "shop", .key = bad[i]};
        FAILS(CDTX_INVALID, "key", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    }
    memset(name, 'p', 101), name[101] = '\0';
    o = (cdtx_half_options){.size = sizeof o, .producer = name};
    FAILS(CDTX_INVALID, "longer than 100", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    o = (cdtx_half_options){.size = sizeof o, .producer = "shop", .immunity_ms = -1};
    FAILS(CDTX_INVALID, "immunity_ms", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    o.immunity_ms = CDTX_TIME_MAX_MS + 1;
    FAILS(CDTX_INVALID, "immunity_ms", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    o = (cdtx_half_options){.size = sizeof o, .producer = "shop", .delay_ms = -1};
    FAILS(CDTX_INVALID, "delay_ms", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    o = (cdtx_half_options){.size = sizeof o, .producer = "shop", .priority = 10};
    FAILS(CDTX_INVALID, "priority", cdtx_half_prepare(queue, "orders", "x", 1, &o, handle, &E));
    ck_assert_str_eq(handle, "untouched");
    ck_assert_int_eq(in_queue("cdtx_half"), 0);
    name[100] = '\0';
    o = (cdtx_half_options){.size = sizeof o, .producer = name, .immunity_ms = CDTX_TIME_MAX_MS};
    OK(cdtx_half_prepare(queue, "orders", NULL, 0, &o, handle, &E));
    tear_down();
}
END_TEST

START_TEST(handles_that_are_none) {
    half_world();
    static const char *const bad[] = {NULL,
                                      "",
                                      "x",
                                      "4185b69e78c7f46c68aa7a79e9deec79-",
                                      "4185b69e78c7f46c68aa7a79e9deec79-0",
                                      "4185b69e78c7f46c68aa7a79e9deec79--1",
                                      "4185b69e78c7f46c68aa7a79e9deec79-99999999999999999999"};
    char handle[CDTX_GID_MAX], other[CDTX_GID_MAX];
    int32_t state = 77;
    cdtx_report *report = NULL;
    prepare(handle);
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(shop, &sql, &E));
    for (int i = 0; i < 7; i++) {
        FAILS(CDTX_INVALID, "handle", cdtx_half_mark(sql, bad[i], &E));
        FAILS(CDTX_INVALID, "handle", cdtx_half_rule_out(sql, bad[i], &state, &E));
        FAILS(CDTX_INVALID, "handle", cdtx_half_resolve(queue, bad[i], CDTX_HALF_COMMITTED, &E));
        FAILS(CDTX_INVALID, "handle", cdtx_half_settle(queue, bad[i], CDTX_HALF_COMMITTED, "ann", "why", &E));
        FAILS(CDTX_INVALID, "handle", cdtx_half_query(queue, bad[i], &state, &E));
        if (bad[i] != NULL)
            FAILS(CDTX_INVALID, "handle", cdtx_half_list(queue, bad[i], 0, &report, &E));
    }
    FAILS(CDTX_MISUSE, "", cdtx_half_mark(NULL, handle, &E));
    FAILS(CDTX_MISUSE, "", cdtx_half_rule_out(NULL, handle, &state, &E));
    FAILS(CDTX_INVALID, "state", cdtx_half_rule_out(sql, handle, NULL, &E));
    OK(cdtx_sql_rollback(sql, &E));
    FAILS(CDTX_MISUSE, "ended", cdtx_half_mark(sql, handle, &E));
    cdtx_sql_close(sql);
    /* One of another queue. */
    FAILS(CDTX_INVALID, "another database", cdtx_half_resolve(shop, handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_INVALID, "another database", cdtx_half_query(shop, handle, &state, &E));
    FAILS(CDTX_INVALID, "another database", cdtx_half_list(shop, handle, 0, &report, &E));
    /* One that was never prepared. */
    memcpy(other, handle, sizeof other);
    snprintf(strchr(other, '-'), 8, "-9999");
    FAILS(CDTX_NOT_FOUND, "never prepared", cdtx_half_resolve(queue, other, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_NOT_FOUND, "never prepared", cdtx_half_settle(queue, other, CDTX_HALF_COMMITTED, "ann", "why", &E));
    FAILS(CDTX_NOT_FOUND, "never prepared", cdtx_half_query(queue, other, &state, &E));
    /* Outcomes that are none. */
    static const int32_t outcomes[] = {0, CDTX_HALF_OPEN, 4, -1};
    for (int i = 0; i < 4; i++) {
        FAILS(CDTX_INVALID, "no resolution", cdtx_half_resolve(queue, handle, outcomes[i], &E));
        FAILS(CDTX_INVALID, "no resolution", cdtx_half_settle(queue, handle, outcomes[i], "ann", "why", &E));
    }
    FAILS(CDTX_INVALID, "actor", cdtx_half_settle(queue, handle, CDTX_HALF_COMMITTED, "", "why", &E));
    FAILS(CDTX_INVALID, "reason", cdtx_half_settle(queue, handle, CDTX_HALF_COMMITTED, "ann", NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_half_resolve(NULL, handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_half_settle(NULL, handle, CDTX_HALF_COMMITTED, "ann", "why", &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_half_query(NULL, handle, &state, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_half_query(queue, handle, NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_half_list(NULL, NULL, 0, &report, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_half_list(queue, NULL, 0, NULL, &E));
    FAILS(CDTX_INVALID, "limit", cdtx_half_list(queue, NULL, 10001, &report, &E));
    ck_assert_int_eq(state, 77);
    ck_assert_int_eq(state_of(handle), CDTX_HALF_OPEN);
    tear_down();
}
END_TEST

START_TEST(checkers_are_checked) {
    half_world();
    cdtx_half_checker c = {.size = sizeof c, .check = check};
    FAILS(CDTX_MISUSE, "NULL", cdtx_half_checker_add(NULL, "shop", &c, &E));
    FAILS(CDTX_INVALID, "producer", cdtx_half_checker_add(queue, NULL, &c, &E));
    FAILS(CDTX_INVALID, "producer", cdtx_half_checker_add(queue, "", &c, &E));
    FAILS(CDTX_INVALID, "neither", cdtx_half_checker_add(queue, "shop", NULL, &E));
    c.guard_db = shop;
    FAILS(CDTX_INVALID, "both", cdtx_half_checker_add(queue, "shop", &c, &E));
    c = (cdtx_half_checker){.size = sizeof c, .check = check, .interval_ms = -1};
    FAILS(CDTX_INVALID, "interval_ms", cdtx_half_checker_add(queue, "shop", &c, &E));
    c = (cdtx_half_checker){.size = 4, .check = check};
    FAILS(CDTX_INVALID, "size", cdtx_half_checker_add(queue, "shop", &c, &E));
    cdtx *other = NULL;
    cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(env)};
    OK(cdtx_open(&options, &other, &E));
    cdtx_db *theirs = open_db(other, "theirs", "share=0");
    c = (cdtx_half_checker){.size = sizeof c, .guard_db = theirs};
    FAILS(CDTX_MISUSE, "another engine", cdtx_half_checker_add(queue, "shop", &c, &E));
    /* One that can only be read will never hold a mark. */
    cdtx_db *read = open_db(engine, "theirs", "read=1");
    c.guard_db = read;
    FAILS(CDTX_MISUSE, "reading only", cdtx_half_checker_add(queue, "shop", &c, &E));
    cdtx_db_close(read), cdtx_db_close(theirs);
    cdtx_close(other);
    checker((cdtx_half_checker){0});
    c = (cdtx_half_checker){.size = sizeof c, .check = check};
    FAILS(CDTX_CONFLICT, "already", cdtx_half_checker_add(queue, "shop", &c, &E));
    OK(cdtx_half_checker_add(queue, "another", &c, &E));
    tear_down();
}
END_TEST

static int dropped;

static void drop(void *user) {
    ck_assert_ptr_eq(user, &dropped);
    dropped++;
}

START_TEST(a_checkers_user_is_dropped_once) {
    half_world();
    dropped = 0;
    checker((cdtx_half_checker){.user = &dropped, .drop = drop});
    cdtx_half_checker c = {.size = sizeof c, .check = check, .user = &dropped, .drop = drop};
    FAILS(CDTX_CONFLICT, "already", cdtx_half_checker_add(queue, "shop", &c, &E));
    ck_assert_int_eq(dropped, 0);
    tear_down();
    ck_assert_int_eq(dropped, 1);
}
END_TEST

/* ---- every order of resolutions ---- */

enum {
    BY_COMMIT,
    BY_ROLLBACK,
    BY_CHECK_COMMIT,
    BY_CHECK_ROLLBACK,
    BY_CHECK_OPEN,
    BY_PERSON_COMMIT,
    BY_PERSON_ROLLBACK,
    WAYS
};

/* What one way of resolving it answers, given what it was resolved to before. */
static void one_way(const char *handle, int way, int32_t *resolved) {
    int32_t wants = way == BY_COMMIT || way == BY_CHECK_COMMIT || way == BY_PERSON_COMMIT ? CDTX_HALF_COMMITTED
                                                                                          : CDTX_HALF_ROLLED_BACK;
    int32_t rc = 0;
    uint32_t before = asked;
    switch (way) {
    case BY_COMMIT:
    case BY_ROLLBACK:
        rc = cdtx_half_resolve(queue, handle, wants, NULL);
        break;
    case BY_PERSON_COMMIT:
    case BY_PERSON_ROLLBACK:
        rc = cdtx_half_settle(queue, handle, wants, "ann", "why", NULL);
        break;
    default:
        answer = way == BY_CHECK_OPEN ? CDTX_HALF_OPEN : wants;
        run_ms(1000);
        ck_assert_uint_eq(asked - before, *resolved == CDTX_HALF_OPEN); /* no check of what is resolved */
        answer = CDTX_HALF_OPEN;
        break;
    }
    if (way == BY_CHECK_OPEN)
        return;
    if (*resolved == CDTX_HALF_OPEN)
        *resolved = wants;
    else if (way != BY_CHECK_COMMIT && way != BY_CHECK_ROLLBACK)
        ck_assert_int_eq(rc, *resolved == wants ? 0 : CDTX_CONFLICT);
}

START_TEST(resolutions_in_every_order) {
    half_world();
    checker((cdtx_half_checker){.checks_max = 1000});
    for (int n = 0; n < WAYS * WAYS * WAYS; n++) {
        char handle[CDTX_GID_MAX];
        int32_t resolved = CDTX_HALF_OPEN;
        int64_t conflicts = in_queue("cdtx_audit WHERE action = 'half-conflict'"), contradicted = 0;
        clear();
        prepare_as("h", (cdtx_half_options){.immunity_ms = 1}, handle);
        run_ms(5); /* the first check finds it open */
        for (int left = n, i = 0; i < 3; i++, left /= WAYS) {
            int32_t was = resolved;
            int way = left % WAYS, by_call = way <= BY_ROLLBACK || way >= BY_PERSON_COMMIT;
            int commits = way == BY_COMMIT || way == BY_PERSON_COMMIT;
            one_way(handle, way, &resolved);
            contradicted += by_call && was != CDTX_HALF_OPEN && (was == CDTX_HALF_COMMITTED) != commits;
        }
        if (resolved == CDTX_HALF_OPEN) /* three times open: let it go */
            one_way(handle, BY_ROLLBACK, &resolved);
        run_ms(3000);
        ck_assert_msg(calls == (resolved == CDTX_HALF_COMMITTED), "order %d: %u published", n, calls);
        ck_assert_int_eq(state_of(handle), resolved);
        ck_assert_int_eq(in_queue("cdtx_audit WHERE action = 'half-conflict'") - conflicts, contradicted);
    }
    int64_t lines = 0;
    char head[65];
    OK(cdtx_audit_verify(queue, 0, &lines, head, &E));
    ck_assert_int_eq(in_queue("cdtx_job WHERE handler LIKE 'cdtx.half%'"), 0);
    tear_down();
}
END_TEST

START_TEST(a_resolved_half_is_a_message_like_any) {
    half_world();
    char handle[CDTX_GID_MAX], id[CDTX_GID_MAX];
    cdtx_consumer_options o = {.size = sizeof o};
    OK(cdtx_consumer_add(queue, "orders", "pull", &o, &E));
    prepare_as("h", (cdtx_half_options){.key = "k", .priority = 3, .delay_ms = 5000}, handle);
    run_ms(3000);
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    cdtx_work *work = NULL;
    int64_t from = mono_ms();
    OK(cdtx_take(engine, 60000, &work, &E));
    ck_assert_ptr_nonnull(work);
    ck_assert_int_ge(mono_ms() - from, 4999); /* from when it is visible */
    cdtx_msg_id(work, id);
    ck_assert_str_eq(id, handle);
    ck_assert_str_eq(cdtx_msg_key(work), "k");
    ck_assert_mem_eq(cdtx_work_payload(work, NULL), "h", 2);
    OK(cdtx_settle(work, 0, NULL, &E));
    ck_assert_int_eq(in_queue("cdtx_half WHERE length(payload) > 0"), 0);
    tear_down();
}
END_TEST

/* ---- marks ---- */

START_TEST(marks_answer_for_whom_resolves_nothing) {
    half_world();
    char marked[CDTX_GID_MAX], unmarked[CDTX_GID_MAX], undone[CDTX_GID_MAX];
    prepare(marked), prepare(unmarked), prepare(undone);
    OK(cdtx_local(shop, mark, marked, &E));
    FAILS(CDTX_CONFLICT, "marked", cdtx_local(shop, mark, marked, &E));
    FAILS(CDTX_USER, "no", cdtx_local(shop, mark_and_fail, undone, &E));
    checker((cdtx_half_checker){.guard_db = shop, .checks_max = 3});
    run_ms(1900);
    ck_assert_uint_eq(calls, 0);
    run_ms(5000);
    ck_assert_str_eq(order, "half ");
    ck_assert_int_eq(state_of(marked), CDTX_HALF_COMMITTED);
    ck_assert_int_eq(state_of(unmarked), CDTX_HALF_ROLLED_BACK);
    ck_assert_int_eq(state_of(undone), CDTX_HALF_ROLLED_BACK);
    FAILS(CDTX_REFUSED, "roll back", cdtx_local(shop, mark, unmarked, &E)); /* too late */
    run_ms(10000);
    ck_assert_int_eq(in_shop("cdtx_guard"), 0); /* no half below is open */
    FAILS(CDTX_REFUSED, "roll back", cdtx_local(shop, mark, unmarked, &E));
    FAILS(CDTX_REFUSED, "roll back", cdtx_local(shop, mark, marked, &E));
    tear_down();
}
END_TEST

/* Crash between the local commit and resolve: nobody is left who knows, but the mark is there. */
START_TEST(a_crash_behind_the_local_commit) {
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    OK(cdtx_local(shop, mark, handle, &E));
    close_engine();
    cdtx_test_env_advance(env, 3 * 86400000);
    open_engine();
    join("mail", (cdtx_consumer_options){0});
    checker((cdtx_half_checker){.guard_db = shop});
    run_ms(1000);
    ck_assert_str_eq(order, "half ");
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E)); /* the same again */
    run_ms(60000);
    ck_assert_uint_eq(calls, 1);
    tear_down();
}
END_TEST

/* The local transaction holds its database when the check comes: nobody can tell, and no quota is spent. */
START_TEST(the_local_transaction_is_still_open_at_the_check) {
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    checker((cdtx_half_checker){.guard_db = shop, .checks_max = 2});
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(shop, &sql, &E));
    OK(cdtx_half_mark(sql, handle, &E));
    run_ms(300000);
    ck_assert_int_eq(state_of(handle), CDTX_HALF_OPEN);
    ck_assert_int_eq(in_queue("cdtx_half WHERE checks = 0 AND parked IS NULL"), 1);
    OK(_i == 0 ? cdtx_sql_commit(sql, &E) : cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    run_ms(60000);
    ck_assert_int_eq(state_of(handle), _i == 0 ? CDTX_HALF_COMMITTED : CDTX_HALF_ROLLED_BACK);
    ck_assert_uint_eq(calls, _i == 0 ? 1 : 0);
    ck_assert_int_eq(in_queue("cdtx_case"), 0);
    tear_down();
}
END_TEST

/* While a producer's database is held, the work of others goes on: one thread waits for it at most once an interval. */
START_TEST(a_held_guard_db_holds_nobody_else_up) {
    half_world();
    char handle[CDTX_GID_MAX];
    for (int i = 0; i < 200; i++)
        prepare_as("h", (cdtx_half_options){.immunity_ms = 1}, handle);
    checker((cdtx_half_checker){.guard_db = shop, .interval_ms = 30000});
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(shop, &sql, &E));
    run_ms(60000);
    int64_t worst = 0;
    for (int i = 0; i < 20; i++) {
        int64_t from = mono_ms();
        uint32_t before = calls;
        send("x");
        while (calls == before)
            run_ms(1);
        worst = mono_ms() - from > worst ? mono_ms() - from : worst;
        run_ms(5000);
    }
    ck_assert_msg(worst <= 15000, "a neighbour waited %d ms", (int)worst);
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    run_ms(120000);
    ck_assert_int_eq(in_queue("cdtx_half WHERE state = 3"), 200);
    tear_down();
}
END_TEST

static struct plain_host host;

/* A database of the host's that lends no turn. */
START_TEST(a_guard_db_without_a_turn_spends_no_quota) {
    half_world();
    cdtx_db *theirs = NULL;
    char handle[CDTX_GID_MAX], other[CDTX_GID_MAX];
    plain_host_init(&host);
    OK(cdtx_db_host(engine, "theirs", &host.port, &theirs, &E));
    sqlite3 *conn = plain_host_open(lab_path("theirs.db"));
    OK(cdtx_host_prepare(theirs, conn, &E));
    prepare(handle), prepare(other);
    ck_assert_int_eq(sqlite3_exec(conn, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    cdtx_sql *sql = NULL;
    OK(cdtx_lend(theirs, conn, &sql, &E)); /* a mark in a transaction of the host's own */
    OK(cdtx_half_mark(sql, handle, &E));
    ck_assert_int_eq(sqlite3_exec(conn, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    OK(cdtx_lent_settle(sql, 0, &E));
    checker((cdtx_half_checker){.guard_db = theirs, .checks_max = 1});
    run_ms(1990);
    for (int i = 0; i < 20; i++) {
        send("x");
        int64_t from = mono_ms();
        while (calls == (uint32_t)i)
            run_ms(1);
        ck_assert_int_le(mono_ms() - from, 1000); /* nobody waits for a turn that may never come */
        run_ms(700);
    }
    run_ms(600000);
    ck_assert_int_eq(in_queue("cdtx_half WHERE state = 1 AND checks = 0 AND parked IS NULL"), 2);
    OK(cdtx_host_run(theirs, conn, 10000, &E));
    run_ms(1000);
    ck_assert_int_eq(state_of(handle), CDTX_HALF_COMMITTED);
    ck_assert_int_eq(state_of(other), CDTX_HALF_ROLLED_BACK);
    cdtx_db_close(theirs);
    close_engine();
    sqlite3_close(conn);
    cdtx_test_env_free(env);
}
END_TEST

/* One thread that is now in a turn and now not, and halves that fall due at any time. */
START_TEST(short_turns_are_enough) {
    half_world();
    cdtx_db *theirs = NULL;
    char handle[CDTX_GID_MAX];
    plain_host_init(&host);
    OK(cdtx_db_host(engine, "theirs", &host.port, &theirs, &E));
    sqlite3 *conn = plain_host_open(lab_path("theirs.db"));
    OK(cdtx_host_prepare(theirs, conn, &E));
    for (int i = 0; i < 30; i++)
        prepare_as("h", (cdtx_half_options){.immunity_ms = 1 + i}, handle);
    checker((cdtx_half_checker){.guard_db = theirs, .interval_ms = 30000});
    for (int i = 0; i < 2000; i++) {
        run_ms(30 + i * 17 % 40); /* in no step with the checks */
        OK(cdtx_host_run(theirs, conn, 10, &E));
    }
    ck_assert_int_eq(in_queue("cdtx_half WHERE state = 3"), 30);
    cdtx_db_close(theirs);
    close_engine();
    sqlite3_close(conn);
    cdtx_test_env_free(env);
}
END_TEST

static int32_t rule_out(cdtx_sql *sql, void *user, cdtx_error *err) {
    void **arguments = user;
    return cdtx_half_rule_out(sql, arguments[0], arguments[1], err);
}

START_TEST(a_checker_of_ones_own_rules_out) {
    half_world();
    char handle[CDTX_GID_MAX], marked[CDTX_GID_MAX];
    int32_t state = 0;
    prepare(handle), prepare(marked);
    OK(cdtx_local(shop, mark, marked, &E));
    void *arguments[] = {handle, &state};
    OK(cdtx_local(shop, rule_out, arguments, &E));
    ck_assert_int_eq(state, CDTX_HALF_ROLLED_BACK);
    OK(cdtx_local(shop, rule_out, arguments, &E)); /* and again */
    ck_assert_int_eq(state, CDTX_HALF_ROLLED_BACK);
    FAILS(CDTX_REFUSED, "ruled out", cdtx_local(shop, mark, handle, &E));
    arguments[0] = marked;
    OK(cdtx_local(shop, rule_out, arguments, &E));
    ck_assert_int_eq(state, CDTX_HALF_COMMITTED);
    /* Long after, when no half below is open. */
    checker((cdtx_half_checker){.guard_db = shop});
    run_ms(20000);
    ck_assert_int_eq(in_shop("cdtx_guard"), 0);
    FAILS(CDTX_EXPIRED, "mark is gone", cdtx_local(shop, rule_out, arguments, &E));
    tear_down();
}
END_TEST

/* A mark that cannot be asked for any more, as after the queue was restored from a copy: somebody must look. */
START_TEST(marks_that_are_gone_become_a_case) {
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    checker((cdtx_half_checker){.guard_db = shop, .checks_max = 3});
    lab_sql("queue.db", "UPDATE cdtx_half SET state = 2"); /* as if it were resolved, ... */
    prepare(handle);
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_ROLLED_BACK, &E));
    run_ms(1500);
    lab_sql("queue.db", "UPDATE cdtx_half SET state = 1 WHERE state = 2"); /* ... and is not */
    run_ms(30000);
    ck_assert_int_eq(in_shop("cdtx_floor"), 1);
    ck_assert_int_eq(in_queue("cdtx_half WHERE parked IS NOT NULL"), 1);
    ck_assert_int_eq(in_queue("cdtx_case WHERE state = 1"), 1);
    tear_down();
}
END_TEST

START_TEST(an_open_half_keeps_the_marks_above_it) {
    half_world();
    char open[CDTX_GID_MAX], handle[CDTX_GID_MAX];
    prepare_as("o", (cdtx_half_options){.producer = "away"}, open);
    for (int i = 0; i < 10; i++) {
        prepare(handle);
        OK(cdtx_local(shop, mark, handle, &E));
    }
    checker((cdtx_half_checker){.guard_db = shop});
    run_ms(20000);
    ck_assert_uint_eq(calls, 10);
    ck_assert_int_eq(in_shop("cdtx_guard"), 10);
    OK(cdtx_half_resolve(queue, open, CDTX_HALF_ROLLED_BACK, &E)); /* nobody here knows its marks */
    prepare(handle);
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    run_ms(5000);
    ck_assert_int_eq(in_shop("cdtx_guard"), 0);
    tear_down();
}
END_TEST

/* ---- time and quota ---- */

START_TEST(immune_ones_are_not_asked_about) { /* bug 22 */
    half_world();
    char handle[CDTX_GID_MAX];
    prepare_as("h", (cdtx_half_options){.immunity_ms = 600000}, handle);
    checker((cdtx_half_checker){.interval_ms = 30000, .checks_max = 15});
    run_ms(599000);
    ck_assert_uint_eq(asked, 0);
    ck_assert_int_eq(in_queue("cdtx_half WHERE checks = 0"), 1);
    run_ms(2000);
    ck_assert_uint_eq(asked, 1);
    run_ms(14 * 30000 - 15000);
    ck_assert_uint_eq(asked, 14);
    ck_assert_int_eq(in_queue("cdtx_half WHERE parked IS NULL"), 1);
    run_ms(30000);
    ck_assert_uint_eq(asked, 15);
    ck_assert_int_eq(in_queue("cdtx_half WHERE parked IS NOT NULL"), 1);
    tear_down();
}
END_TEST

START_TEST(defaults_of_time) {
    half_world();
    char handle[CDTX_GID_MAX];
    int64_t from = mono_ms();
    prepare_as("h", (cdtx_half_options){0}, handle);
    cdtx_half_checker c = {.size = sizeof c, .check = check};
    OK(cdtx_half_checker_add(queue, "shop", &c, &E));
    run_ms(100000);
    ck_assert_uint_eq(asked, 4);
    ck_assert_int_ge(asked_at[0] - from, 6000);
    ck_assert_int_le(asked_at[0] - from, 6100);
    ck_assert_int_ge(asked_at[1] - asked_at[0], 30000);
    ck_assert_int_le(asked_at[3] - asked_at[0], 3 * 30100);
    tear_down();
}
END_TEST

START_TEST(two_halves_in_one_millisecond) { /* bug 21 */
    half_world();
    char handles[20][CDTX_GID_MAX];
    answer = CDTX_HALF_COMMITTED;
    checker((cdtx_half_checker){0});
    int64_t from = mono_ms();
    for (int i = 0; i < 20; i++)
        prepare_as("h", (cdtx_half_options){.immunity_ms = 2000}, handles[i]);
    ck_assert_int_eq(mono_ms(), from); /* no time has passed: all are of one moment */
    run_ms(5000);
    ck_assert_uint_eq(calls, 20);
    ck_assert_uint_eq(asked, 20);
    tear_down();
}
END_TEST

/* A wall clock that jumps brings no check early or late. */
START_TEST(checks_do_not_go_by_the_wall) {
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    checker((cdtx_half_checker){0});
    cdtx_test_env_step_wall(env, 86400000);
    run_ms(1900);
    ck_assert_uint_eq(asked, 0);
    cdtx_test_env_step_wall(env, -2 * 86400000);
    run_ms(200);
    ck_assert_uint_eq(asked, 1);
    tear_down();
}
END_TEST

START_TEST(a_checker_that_is_away_for_days_costs_nothing) {
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    run_ms(3 * 86400000);
    ck_assert_int_eq(in_queue("cdtx_half WHERE checks = 0 AND parked IS NULL"), 1);
    ck_assert_int_eq(in_queue("cdtx_job WHERE handler LIKE 'cdtx.half%' AND attempts = 0"), 1);
    answer = CDTX_HALF_COMMITTED;
    checker((cdtx_half_checker){.checks_max = 1});
    run_ms(100);
    ck_assert_uint_eq(asked, 1);
    ck_assert_str_eq(last_handle, handle);
    ck_assert_str_eq(order, "half ");
    tear_down();
}
END_TEST

START_TEST(so_many_checks_a_second) {
    half_world();
    char handle[CDTX_GID_MAX];
    for (int i = 0; i < 300; i++)
        prepare_as("h", (cdtx_half_options){.immunity_ms = 1}, handle);
    checker((cdtx_half_checker){.rate_per_s = 20, .interval_ms = 600000});
    run_ms(5000);
    ck_assert_uint_ge(asked, 95);
    ck_assert_uint_le(asked, 105);
    run_ms(11000);
    ck_assert_uint_eq(asked, 300);
    tear_down();
}
END_TEST

/* ---- what checkers get wrong ---- */

START_TEST(another_answer_counts_as_open) {
    static const int32_t wrong[] = {0, 4, -1, 99, CDTX_UNKNOWN};
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    answer = wrong[_i];
    checker((cdtx_half_checker){.checks_max = 2});
    run_ms(10000);
    ck_assert_int_eq(state_of(handle), CDTX_HALF_OPEN);
    ck_assert_int_eq(in_queue("cdtx_half WHERE checks = 2 AND parked IS NOT NULL"), 1);
    tear_down();
}
END_TEST

/* One that fails for one of a thousand, and a row that is damaged, stop none of the others (bug 25). */
static int32_t check_but(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)handle, (void)topic, (void)user;
    asked++;
    return length == 1 && *(const char *)payload == '?' ? CDTX_HALF_OPEN : CDTX_HALF_COMMITTED;
}

START_TEST(one_bad_half_among_a_thousand) {
    half_world();
    char handle[CDTX_GID_MAX];
    for (int i = 0; i < 1000; i++)
        prepare_as(i == 500 || i == 700 ? "?" : "m", (cdtx_half_options){.immunity_ms = 1}, handle);
    lab_sql("queue.db", "UPDATE cdtx_half SET topic = 'gone' WHERE id = (SELECT id FROM cdtx_half LIMIT 1 OFFSET 300)");
    ck_assert_int_eq(in_queue("cdtx_half WHERE topic = 'gone'"), 1);
    lab_sql("queue.db", "UPDATE cdtx_job SET payload = x'ff' WHERE unique_key = (SELECT id FROM cdtx_half"
                        " WHERE payload = x'3f' ORDER BY id LIMIT 1)");
    checker((cdtx_half_checker){.check = check_but, .checks_max = 3});
    run_ms(15000);
    ck_assert_uint_eq(calls, 997);
    ck_assert_int_eq(in_queue("cdtx_half WHERE state = 1"), 3);
    run_ms(60000);
    ck_assert_uint_eq(calls, 997);
    tear_down();
}
END_TEST

/* It kills its process each time: that is no answer either, and must not go unnoticed, nor kill for ever at once. */
static int kills;

static int32_t killing_check(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)handle, (void)topic, (void)payload, (void)length, (void)user;
    kills++;
    cdtx_test_env_advance(env, 40000); /* its lease is over, and its end comes to nothing */
    lab_sql("queue.db", "UPDATE cdtx_job SET token = token + 1, due = 0 WHERE handler LIKE 'cdtx.half%' AND state = 2");
    return CDTX_HALF_OPEN;
}

START_TEST(a_checker_that_kills_its_process) {
    half_world();
    char handle[CDTX_GID_MAX];
    prepare(handle);
    checker((cdtx_half_checker){.check = killing_check, .checks_max = 4, .interval_ms = 30000});
    lab_sql("queue.db", "CREATE TRIGGER t BEFORE UPDATE OF checks ON cdtx_half WHEN new.checks > old.checks"
                        " BEGIN SELECT RAISE(ABORT, 'it is dead'); END"); /* nothing it says gets through */
    kills = 0;
    run_ms(600000);
    ck_assert_int_eq(in_queue("cdtx_half WHERE parked IS NOT NULL"), 1);
    ck_assert_int_eq(in_queue("cdtx_case WHERE kind = 'half' AND state = 1"), 1);
    ck_assert_int_eq(in_queue("cdtx_job WHERE handler LIKE 'cdtx.half%' AND state = 3"), 0);
    ck_assert_int_ge(kills, 4);
    ck_assert_int_le(kills, 5);
    ck_assert_uint_eq(lab_metrics(engine).alarms, 1);
    OK(cdtx_half_settle(queue, handle, CDTX_HALF_ROLLED_BACK, "ann", "the checker is broken", &E));
    run_ms(3600000);
    ck_assert_int_eq(in_queue("cdtx_job WHERE handler LIKE 'cdtx.half%'"), 0);
    ck_assert_int_eq(in_queue("cdtx_case WHERE state = 1"), 0);
    tear_down();
}
END_TEST

/* So slow that others lose their lease while they wait for it: none of them was asked about, so none counts. */
static int32_t slow_check(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)handle, (void)topic, (void)payload, (void)length, (void)user;
    asked++;
    cdtx_test_env_advance(env, 5000);
    return CDTX_HALF_COMMITTED;
}

START_TEST(a_slow_checker_parks_nothing_unasked) {
    half_world();
    char handle[CDTX_GID_MAX];
    for (int i = 0; i < 100; i++)
        prepare_as("m", (cdtx_half_options){.immunity_ms = 1}, handle);
    checker((cdtx_half_checker){.check = slow_check, .checks_max = 2, .rate_per_s = 1000});
    run_ms(3600000);
    ck_assert_int_eq(in_queue("cdtx_half WHERE state = 2"), 100);
    ck_assert_uint_eq(asked, 100);
    ck_assert_int_eq(in_queue("cdtx_case"), 0);
    tear_down();
}
END_TEST

/* ---- parked ---- */

static void park(char handle[CDTX_GID_MAX]) {
    prepare(handle);
    checker((cdtx_half_checker){.checks_max = 4});
    run_ms(5500);
    ck_assert_uint_eq(asked, 4);
}

START_TEST(parked_ones_are_asked_about_rarely_and_resolved_by_a_check) {
    half_world();
    char handle[CDTX_GID_MAX];
    park(handle);
    ck_assert_uint_eq(lab_metrics(engine).alarms, 1);
    ck_assert_int_eq(in_queue("cdtx_case WHERE kind = 'half' AND state = 1"), 1);
    ck_assert_int_eq(in_queue("cdtx_audit WHERE action = 'case-open'"), 1);
    cdtx_report *report = NULL;
    int64_t number;
    OK(cdtx_half_list(queue, NULL, 0, &report, &E));
    ck_assert_str_eq(cell(report, handle, "parked", &number), "4 checks without an answer");
    OK(cdtx_case_list(queue, NULL, &report, &E));
    ck_assert_str_eq(cell(report, NULL, "subject", &number), handle);
    run_ms(41000);
    ck_assert_uint_eq(asked, 6); /* every twenty intervals */
    ck_assert_uint_eq(lab_metrics(engine).alarms, 1);
    ck_assert_int_eq(in_queue("cdtx_case"), 1);
    answer = _i == 0 ? CDTX_HALF_COMMITTED : CDTX_HALF_ROLLED_BACK;
    run_ms(21000);
    ck_assert_str_eq(order, _i == 0 ? "half " : "");
    ck_assert_int_eq(in_queue("cdtx_case WHERE state = 2"), 1);
    ck_assert_int_eq(in_queue("cdtx_audit WHERE action = 'case-close' AND actor = 'cdtx'"), 1);
    ck_assert_int_eq(in_queue("cdtx_half WHERE parked IS NULL"), 1);
    tear_down();
}
END_TEST

START_TEST(parked_ones_are_resolved_by_a_person) {
    half_world();
    char handle[CDTX_GID_MAX], subject[CDTX_GID_MAX + 8];
    park(handle);
    OK(cdtx_half_settle(queue, handle, CDTX_HALF_COMMITTED, "ann", "the order is there", &E));
    run_ms(100);
    ck_assert_str_eq(order, "half ");
    ck_assert_int_eq(in_queue("cdtx_case WHERE state = 2"), 1);
    ck_assert_int_eq(
        in_queue("cdtx_audit WHERE actor = 'ann' AND action = 'half-commit' AND reason = 'the order is there'"), 1);
    ck_assert_int_eq(in_queue("cdtx_audit WHERE actor = 'ann' AND action = 'case-close'"), 1);
    snprintf(subject, sizeof subject, "half %s", handle);
    cdtx_audit_filter f = {.size = sizeof f, .subject = subject};
    cdtx_report *report = NULL;
    OK(cdtx_audit_list(queue, &f, &report, &E));
    int rows = 0;
    while (cdtx_report_next(report))
        rows++;
    cdtx_report_close(report);
    ck_assert_int_eq(rows, 3); /* opened, settled, closed */
    FAILS(CDTX_CONFLICT, "committed already", cdtx_half_settle(queue, handle, CDTX_HALF_ROLLED_BACK, "bob", "no", &E));
    OK(cdtx_half_settle(queue, handle, CDTX_HALF_COMMITTED, "bob", "me too", &E));
    ck_assert_int_eq(in_queue("cdtx_audit WHERE actor = 'bob' AND action = 'half-conflict'"), 1);
    run_ms(120000);
    ck_assert_uint_eq(calls, 1);
    ck_assert_uint_eq(asked, 4);
    ck_assert_int_eq(in_queue("cdtx_job WHERE handler LIKE 'cdtx.half%'"), 0);
    tear_down();
}
END_TEST

START_TEST(parked_ones_are_resolved_by_their_producer) {
    half_world();
    char handle[CDTX_GID_MAX];
    park(handle);
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_ROLLED_BACK, &E));
    run_ms(120000);
    ck_assert_uint_eq(asked, 4);
    ck_assert_uint_eq(calls, 0);
    ck_assert_int_eq(in_queue("cdtx_case WHERE state = 2"), 1);
    tear_down();
}
END_TEST

/* ---- other processes ---- */

START_TEST(another_engine_resolves_and_checks) {
    clear();
    asked = 0, answer = CDTX_HALF_OPEN;
    OK(cdtx_test_env_new(&env, &E));
    cdtx *engines[2];
    cdtx_db *queues[2];
    for (int i = 0; i < 2; i++) {
        cdtx_options options = {.size = sizeof options, .env = cdtx_test_env_port(env)};
        OK(cdtx_open(&options, &engines[i], &E));
        queues[i] = open_db(engines[i], "queue", "share=1");
        OK(cdtx_topic_add(queues[i], "orders", NULL, &E));
    }
    cdtx_consumer_options c = {.size = sizeof c, .handler = consume};
    OK(cdtx_consumer_add(queues[1], "orders", "mail", &c, &E));
    char handle[CDTX_GID_MAX], other[CDTX_GID_MAX];
    queue = queues[0];
    prepare(handle), prepare(other);
    OK(cdtx_half_resolve(queues[1], handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_CONFLICT, "committed already", cdtx_half_resolve(queues[0], handle, CDTX_HALF_ROLLED_BACK, &E));
    OK(cdtx_run(engines[1], 600, &E));
    ck_assert_str_eq(order, "half ");
    /* Only the second one has the checker; it answers for what the first has prepared. */
    answer = CDTX_HALF_COMMITTED;
    cdtx_half_checker k = {.size = sizeof k, .check = check};
    OK(cdtx_half_checker_add(queues[1], "shop", &k, &E));
    OK(cdtx_run(engines[0], 10000, &E));
    ck_assert_uint_eq(asked, 0);
    OK(cdtx_run(engines[1], 1000, &E));
    ck_assert_uint_eq(asked, 1);
    ck_assert_str_eq(last_handle, other);
    for (int i = 0; i < 2; i++) {
        cdtx_db_close(queues[i]);
        cdtx_close(engines[i]);
    }
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

/* ---- how long it can be asked for ---- */

START_TEST(after_its_retention_it_is_expired) {
    half_world();
    char handle[CDTX_GID_MAX], open[CDTX_GID_MAX];
    int32_t state = 0;
    prepare(handle), prepare(open);
    OK(cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    run_ms(6 * 86400000);
    ck_assert_int_eq(state_of(handle), CDTX_HALF_COMMITTED);
    FAILS(CDTX_CONFLICT, "already", cdtx_half_resolve(queue, handle, CDTX_HALF_ROLLED_BACK, &E));
    run_ms(86400000 + 20000);
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_half_query(queue, handle, &state, &E));
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_half_resolve(queue, handle, CDTX_HALF_COMMITTED, &E));
    FAILS(CDTX_EXPIRED, "no longer kept", cdtx_half_settle(queue, handle, CDTX_HALF_ROLLED_BACK, "ann", "why", &E));
    ck_assert_int_eq(state_of(open), CDTX_HALF_OPEN); /* that one waits for ever */
    ck_assert_uint_eq(calls, 1);
    tear_down();
}
END_TEST

/* ---- the list ---- */

START_TEST(what_is_not_resolved) {
    half_world();
    static const char *const names[] = {"handle", "topic", "producer", "checks", "parked", "age_ms", "payload"};
    char handles[5][CDTX_GID_MAX];
    cdtx_report *report = NULL;
    for (int i = 0; i < 5; i++)
        prepare_as("12345", (cdtx_half_options){0}, handles[i]);
    OK(cdtx_half_resolve(queue, handles[1], CDTX_HALF_COMMITTED, &E));
    run_ms(3000);
    OK(cdtx_half_list(queue, NULL, 0, &report, &E));
    for (uint32_t i = 0; i < 7; i++)
        ck_assert_str_eq(cdtx_report_name(report, i), names[i]);
    static const int left[] = {0, 2, 3, 4};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(cdtx_report_next(report), 1);
        ck_assert_str_eq(cdtx_report_text(report, 0, NULL), handles[left[i]]);
        ck_assert_str_eq(cdtx_report_text(report, 1, NULL), "orders");
        ck_assert_str_eq(cdtx_report_text(report, 2, NULL), "shop");
        ck_assert_int_eq(cdtx_report_int(report, 3), 0);
        ck_assert_int_eq(cdtx_report_type(report, 4), CDTX_NULL);
        ck_assert_int_ge(cdtx_report_int(report, 5), 3000);
        ck_assert_int_eq(cdtx_report_int(report, 6), 5);
    }
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    OK(cdtx_half_list(queue, handles[2], 1, &report, &E));
    ck_assert_int_eq(cdtx_report_next(report), 1);
    ck_assert_str_eq(cdtx_report_text(report, 0, NULL), handles[3]);
    ck_assert_int_eq(cdtx_report_next(report), 0);
    cdtx_report_close(report);
    tear_down();
}
END_TEST

/* ---- memory that runs out ---- */

/* The nth allocation of all that follows fails. What was answered with success is delivered once, what was not is
 * never; 0: there was no nth. */
static int life_without_memory(uint64_t nth) {
    asked = 0;
    set_up();
    join("mail", (cdtx_consumer_options){.in_local = 1});
    cdtx_half_options h = {.size = sizeof h, .producer = "shop", .immunity_ms = 1000};
    cdtx_half_checker k = {.size = sizeof k, .guard_db = shop, .interval_ms = 1000};
    cdtx_consumer_options c = {.size = sizeof c, .handler = consume};
    cdtx_report *report = NULL;
    char marked[CDTX_GID_MAX], resolved[CDTX_GID_MAX];
    uint64_t before = cdtx_test_env_allocations(env);
    cdtx_test_env_fail_memory(env, nth, 0);
    int sent = cdtx_msg_send(queue, "orders", "sent", 4, NULL, NULL, NULL) == 0;
    int added = cdtx_topic_add(queue, "more", NULL, NULL) == 0;
    int joined = added && cdtx_consumer_add(queue, "more", "mail", &c, NULL) == 0;
    int checked = cdtx_half_checker_add(queue, "shop", &k, NULL) == 0;
    int committed = cdtx_half_prepare(queue, "orders", "marked", 6, &h, marked, NULL) == 0 &&
                    cdtx_local(shop, mark, marked, NULL) == 0;
    int visible = cdtx_half_prepare(queue, "orders", "resolved", 8, &h, resolved, NULL) == 0 &&
                  cdtx_half_resolve(queue, resolved, CDTX_HALF_COMMITTED, NULL) == 0;
    (void)cdtx_run(engine, 5000, NULL);
    if (cdtx_topic_list(queue, &report, NULL) == 0)
        cdtx_report_close(report);
    if (cdtx_group_list(queue, &report, NULL) == 0)
        cdtx_report_close(report);
    if (cdtx_half_list(queue, NULL, 0, &report, NULL) == 0)
        cdtx_report_close(report);
    uint64_t made = cdtx_test_env_allocations(env) - before;
    cdtx_test_env_fail_memory(env, 0, 0);
    if (!added)
        OK(cdtx_topic_add(queue, "more", NULL, &E));
    if (!joined)
        OK(cdtx_consumer_add(queue, "more", "mail", &c, &E));
    if (!checked)
        OK(cdtx_half_checker_add(queue, "shop", &k, &E));
    run_ms(120000);
    ck_assert_int_eq(in_queue("seen WHERE payload = 'sent'"), sent);
    ck_assert_int_eq(in_queue("seen WHERE payload = 'marked'"), committed);
    ck_assert_int_eq(in_queue("seen WHERE payload = 'resolved'"), visible);
    ck_assert_int_eq(in_queue("cdtx_half WHERE state = 1"), 0);
    tear_down();
    lab_teardown(), lab_setup();
    return made >= nth;
}

START_TEST(memory_runs_out_anywhere) {
    uint64_t nth = 1;
    while (life_without_memory(nth))
        nth++;
    ck_assert_uint_gt(nth, 50);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_half_is_checked);
    tcase_add_test(tcase, handles_that_are_none);
    tcase_add_test(tcase, checkers_are_checked);
    tcase_add_test(tcase, a_checkers_user_is_dropped_once);
    tcase_add_test(tcase, resolutions_in_every_order);
    tcase_add_test(tcase, a_resolved_half_is_a_message_like_any);
    tcase_add_test(tcase, marks_answer_for_whom_resolves_nothing);
    tcase_add_test(tcase, a_crash_behind_the_local_commit);
    tcase_add_loop_test(tcase, the_local_transaction_is_still_open_at_the_check, 0, 2);
    tcase_add_test(tcase, a_held_guard_db_holds_nobody_else_up);
    tcase_add_test(tcase, a_guard_db_without_a_turn_spends_no_quota);
    tcase_add_test(tcase, short_turns_are_enough);
    tcase_add_test(tcase, a_checker_of_ones_own_rules_out);
    tcase_add_test(tcase, marks_that_are_gone_become_a_case);
    tcase_add_test(tcase, an_open_half_keeps_the_marks_above_it);
    tcase_add_test(tcase, immune_ones_are_not_asked_about);
    tcase_add_test(tcase, defaults_of_time);
    tcase_add_test(tcase, two_halves_in_one_millisecond);
    tcase_add_test(tcase, checks_do_not_go_by_the_wall);
    tcase_add_test(tcase, a_checker_that_is_away_for_days_costs_nothing);
    tcase_add_test(tcase, so_many_checks_a_second);
    tcase_add_loop_test(tcase, another_answer_counts_as_open, 0, 5);
    tcase_add_test(tcase, one_bad_half_among_a_thousand);
    tcase_add_test(tcase, a_checker_that_kills_its_process);
    tcase_add_test(tcase, a_slow_checker_parks_nothing_unasked);
    tcase_add_loop_test(tcase, parked_ones_are_asked_about_rarely_and_resolved_by_a_check, 0, 2);
    tcase_add_test(tcase, parked_ones_are_resolved_by_a_person);
    tcase_add_test(tcase, parked_ones_are_resolved_by_their_producer);
    tcase_add_test(tcase, another_engine_resolves_and_checks);
    tcase_add_test(tcase, after_its_retention_it_is_expired);
    tcase_add_test(tcase, what_is_not_resolved);
    tcase_add_test(tcase, memory_runs_out_anywhere);
}

int main(void) {
    return lab_main("pattern-msg-half", tests);
}
