/* Local transactions: closures that ride together, handles alone, and what a lost group does to its riders. */
#include <float.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "lab.h"

enum { THREADS = 8, ROUNDS = 200 };

static cdtx *engine;
static cdtx_db *db;

static void open_with(cdtx_options options) {
    engine = lab_engine(options);
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0))");
    lab_exec(db, "INSERT INTO account VALUES (1, 0), (2, 0)");
}

static void open_shop(void) {
    open_with((cdtx_options){0});
}

static void close_shop(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

static int64_t cents(void) {
    return lab_sql("shop.db", "SELECT sum(cents) FROM account");
}

/* ---- one closure ---- */

static int32_t add_then_return(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t *code = user;
    int32_t rc = cdtx_sql_exec(sql, "UPDATE account SET cents = cents + 5", NULL, err);
    if (rc == 0 && *code != 0)
        rc = cdtx_error_set(err, *code, "the shop is closed");
    return rc;
}

START_TEST(closure_commits_or_undoes) {
    open_shop();
    int32_t code = 0;
    OK(cdtx_local(db, add_then_return, &code, &E));
    ck_assert_int_eq(cents(), 10);
    for (code = CDTX_USER; code < 0; code++) {
        FAILS(code, "the shop is closed", cdtx_local(db, add_then_return, &code, &E));
        ck_assert_int_eq(cdtx_local(db, add_then_return, &code, NULL), code);
        ck_assert_int_eq(cents(), 10);
    }
    close_shop();
}
END_TEST

static int32_t ignore_a_failure(cdtx_sql *sql, void *user, cdtx_error *err) {
    int64_t changes = -7;
    int32_t rc = cdtx_sql_exec(sql, "UPDATE account SET cents = 3 WHERE id = 1", NULL, err);
    if (rc != 0)
        return rc;
    /* Row 1 would fit; row 2 breaks the check, so the statement has no effect at all. */
    *(int32_t *)user = cdtx_sql_exec(sql, "UPDATE account SET cents = cents - 1 + (2 - id)", &changes, err);
    ck_assert_int_eq(changes, -7);
    return 0;
}

START_TEST(failed_statement_has_no_effect) {
    open_shop();
    int32_t inner = 0;
    OK((cdtx_local(db, ignore_a_failure, &inner, NULL)));
    ck_assert_int_eq(inner, CDTX_SQL);
    ck_assert_int_eq(cents(), 3);
    close_shop();
}
END_TEST

static int32_t stay_open_foreign_key(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_sql_exec(sql, "INSERT INTO child VALUES (1, 99)", NULL, err);
}

START_TEST(unmet_deferred_constraint_fails_its_closure_only) {
    open_shop();
    lab_exec(db, "CREATE TABLE parent (id INTEGER PRIMARY KEY)");
    lab_exec(db, "CREATE TABLE child (id INTEGER PRIMARY KEY,"
                 " parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)");
    FAILS(CDTX_SQL, "", cdtx_local(db, stay_open_foreign_key, NULL, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM child"), 0);
    lab_exec(db, "INSERT INTO parent VALUES (99)");
    OK(cdtx_local(db, stay_open_foreign_key, NULL, &E));
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, "DELETE FROM parent", NULL, &E));
    FAILS(CDTX_SQL, "", cdtx_sql_commit(sql, &E));
    FAILS(CDTX_MISUSE, "ended", cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM parent"), 1);
    close_shop();
}
END_TEST

/* ---- values ---- */

static void check_values(cdtx_sql *sql) {
    size_t length = 7;
    cdtx_sql_bind_int(sql, INT64_MIN);
    cdtx_sql_bind_int(sql, INT64_MAX);
    cdtx_sql_bind_real(sql, DBL_MIN);
    cdtx_sql_bind_text(sql, "", 0);
    cdtx_sql_bind_text(sql, NULL, 0);
    cdtx_sql_bind_blob(sql, "a\0b", 3);
    cdtx_sql_bind_blob(sql, "", 0);
    cdtx_sql_bind_null(sql);
    cdtx_sql_bind_text(sql, "grün!", 5);
    OK(cdtx_sql_query(sql, "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?", &E));
    ck_assert_int_eq(cdtx_sql_int(sql, 0), 0);
    ck_assert_int_eq(cdtx_sql_is_null(sql, 0), 1);
    ck_assert_int_eq(cdtx_sql_next(sql), 1);
    ck_assert_int_eq(cdtx_sql_int(sql, 0), INT64_MIN);
    ck_assert_int_eq(cdtx_sql_int(sql, 1), INT64_MAX);
    ck_assert(cdtx_sql_real(sql, 2) == DBL_MIN);
    ck_assert_str_eq(cdtx_sql_text(sql, 3, &length), "");
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(cdtx_sql_is_null(sql, 3), 0);
    ck_assert_int_eq(cdtx_sql_is_null(sql, 4), 1);
    ck_assert_mem_eq(cdtx_sql_blob(sql, 5, &length), "a\0b", 3);
    ck_assert_uint_eq(length, 3);
    ck_assert_int_eq(cdtx_sql_is_null(sql, 6), 0);
    length = 7;
    ck_assert_ptr_null(cdtx_sql_blob(sql, 7, &length));
    ck_assert_uint_eq(length, 0);
    ck_assert_str_eq(cdtx_sql_text(sql, 8, NULL), "grün");
    length = 7;
    ck_assert_ptr_null(cdtx_sql_text(sql, 9, &length));
    ck_assert_uint_eq(length, 0);
    ck_assert_int_eq(cdtx_sql_int(sql, UINT32_MAX), 0);
    ck_assert_int_eq(cdtx_sql_next(sql), 0);
    ck_assert_int_eq(cdtx_sql_is_null(sql, 0), 1);
    ck_assert_int_eq(cdtx_sql_next(sql), 0);
}

static void check_limits(cdtx_sql *sql) {
    for (int i = 0; i < 65; i++)
        cdtx_sql_bind_int(sql, i);
    FAILS(CDTX_LIMIT, "64", cdtx_sql_query(sql, "SELECT 1", &E));
    OK(cdtx_sql_query(sql, "SELECT 1", &E)); /* the arguments are gone with the call that reported them */
    FAILS(CDTX_LIMIT, "larger", cdtx_sql_query(sql, "SELECT zeroblob(16777216)", &E));
    ck_assert_int_eq(cdtx_sql_next(sql), 0);
    OK(cdtx_sql_query(sql, "SELECT zeroblob(16000000)", &E));
    int64_t changes = -1;
    OK(cdtx_sql_exec(sql, "UPDATE account SET cents = 1", &changes, &E));
    ck_assert_int_eq(changes, 2);
    OK(cdtx_sql_exec(sql, "SELECT 1", &changes, &E));
    ck_assert_int_eq(changes, 0);
    cdtx_sql_bind_int(sql, 1);
    FAILS(CDTX_INVALID, "1", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    FAILS(CDTX_INVALID, "1", cdtx_sql_exec(sql, "SELECT ?", NULL, &E));
    FAILS(CDTX_SQL, "nowhere", cdtx_sql_exec(sql, "SELECT 1 FROM nowhere", NULL, &E));
}

START_TEST(values_are_exact) {
    open_shop();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    check_values(sql);
    check_limits(sql);
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    ck_assert_int_eq(cents(), 2);
    close_shop();
}
END_TEST

/* ---- riders on threads ---- */

struct rider {
    pthread_t thread;
    int32_t tid; /* atomic: set just before the call that waits */
    int32_t runs, result, kind;
    char text[64];
};

enum { RIDER_ADDS, RIDER_FAILS, RIDER_ENDS_ALL };

static int32_t ride(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct rider *rider = user;
    rider->runs++;
    int32_t rc = cdtx_sql_exec(sql, "UPDATE account SET cents = cents + 1 WHERE id = 1", NULL, err);
    if (rc == 0 && rider->kind == RIDER_FAILS)
        rc = cdtx_error_set(err, CDTX_USER, "no more riders");
    if (rc == 0 && rider->kind == RIDER_ENDS_ALL)
        rc = cdtx_sql_exec(sql, "INSERT OR ROLLBACK INTO account VALUES (1, 0)", NULL, err);
    return rc;
}

static void *ride_thread(void *user) {
    struct rider *rider = user;
    cdtx_error err = {0};
    __atomic_store_n(&rider->tid, (int32_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
    rider->result = cdtx_local(db, ride, rider, &err);
    snprintf(rider->text, sizeof rider->text, "%.60s", err.text);
    return NULL;
}

/* Is the thread asleep in the kernel? */
static int asleep(int32_t tid) {
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
    fclose(file);
    const char *state = strrchr(line, ')');
    return state != NULL && state[1] == ' ' && state[2] == 'S';
}

/* Starts the thread and returns when it waits in cdtx_local. */
static void send_rider(struct rider *rider, int32_t kind) {
    *rider = (struct rider){.kind = kind};
    ck_assert_int_eq(pthread_create(&rider->thread, NULL, ride_thread, rider), 0);
    int32_t tid;
    while ((tid = __atomic_load_n(&rider->tid, __ATOMIC_ACQUIRE)) == 0 || !asleep(tid))
        usleep(1000);
}

/* Riders that queue behind one handle, the last of them of that kind, and leave in one group. */
static void one_group(struct rider riders[THREADS], int32_t last) {
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    for (int i = 0; i < THREADS; i++)
        send_rider(&riders[i], i == THREADS - 1 ? last : RIDER_ADDS);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(riders[i].runs, 0); /* everybody else waits for a handle */
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    for (int i = 0; i < THREADS; i++)
        pthread_join(riders[i].thread, NULL);
}

START_TEST(riders_share_a_commit) {
    open_shop();
    struct rider riders[THREADS];
    cdtx_metrics before = lab_metrics(engine);
    one_group(riders, RIDER_ADDS);
    cdtx_metrics after = lab_metrics(engine);
    ck_assert_int_eq(cents(), THREADS);
    ck_assert_uint_le(after.groups - before.groups,
                      4); /* the handle's, the riders', and one that came early at each end */
    ck_assert_uint_ge(after.riders - before.riders, THREADS);
    close_shop();
}
END_TEST

START_TEST(one_failure_does_not_hurt_neighbours) {
    open_shop();
    struct rider riders[THREADS];
    one_group(riders, RIDER_FAILS);
    for (int i = 0; i < THREADS - 1; i++)
        ck_assert_int_eq(riders[i].result, 0);
    ck_assert_int_eq(riders[THREADS - 1].result, CDTX_USER);
    ck_assert_str_eq(riders[THREADS - 1].text, "no more riders");
    ck_assert_int_eq(cents(), THREADS - 1);
    close_shop();
}
END_TEST

START_TEST(lost_group_is_run_again) {
    open_shop();
    struct rider riders[THREADS];
    one_group(riders, RIDER_ENDS_ALL);
    int32_t runs = 0;
    for (int i = 0; i < THREADS - 1; i++) {
        ck_assert_int_eq(riders[i].result, 0);
        runs += riders[i].runs;
    }
    ck_assert_int_gt(runs, THREADS - 1); /* the last one did end a transaction that others were in */
    ck_assert_int_eq(riders[THREADS - 1].result, CDTX_SQL);
    ck_assert_int_eq(cents(), THREADS - 1); /* each once, whatever it was run */
    close_shop();
}
END_TEST

static void *hammer(void *user) {
    struct rider *rider = user;
    cdtx_error err;
    for (int i = 0; i < ROUNDS; i++) {
        rider->kind = i % 7 == 3 ? RIDER_FAILS : i % 50 == 10 ? RIDER_ENDS_ALL : RIDER_ADDS;
        if (cdtx_local(db, ride, rider, &err) == 0)
            rider->result++;
    }
    return NULL;
}

START_TEST(many_threads_sum_up) {
    open_shop();
    cdtx_metrics before = lab_metrics(engine);
    struct rider riders[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&riders[i].thread, NULL, hammer, &riders[i]), 0);
    int64_t sum = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(riders[i].thread, NULL);
        sum += riders[i].result;
    }
    cdtx_metrics after = lab_metrics(engine);
    int expected = 0;
    for (int i = 0; i < ROUNDS; i++)
        expected += i % 7 != 3 && i % 50 != 10;
    ck_assert_int_eq(sum, (int64_t)THREADS * expected);
    ck_assert_int_eq(cents(), sum);
    ck_assert_uint_gt(after.groups, before.groups);
    ck_assert_uint_lt(after.groups - before.groups, after.riders - before.riders);
    close_shop();
    ck_assert_int_eq(cents(), sum);
}
END_TEST

/* ---- readers beside the owner ---- */

static int32_t move_a_cent(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    int32_t rc = cdtx_sql_exec(sql, "UPDATE account SET cents = cents - 1 WHERE id = 1", NULL, err);
    return rc != 0 ? rc : cdtx_sql_exec(sql, "UPDATE account SET cents = cents + 1 WHERE id = 2", NULL, err);
}

static void *move_many(void *user) {
    int *moving = user;
    while (__atomic_load_n(moving, __ATOMIC_ACQUIRE) && cdtx_local(db, move_a_cent, NULL, NULL) == 0) {
    }
    return NULL;
}

START_TEST(readers_see_whole_transactions) {
    pthread_t thread;
    int moving = 1;
    int64_t seen = 0, first = -1;
    open_shop();
    lab_exec(db, "UPDATE account SET cents = 1000000 WHERE id = 1");
    ck_assert_int_eq(pthread_create(&thread, NULL, move_many, &moving), 0);
    for (int i = 0; i < 200 || seen == first; i++) {
        seen = lab_sql("shop.db", "SELECT cents FROM account WHERE id = 2");
        first = first < 0 ? seen : first;
        ck_assert_int_eq(cents(), 1000000);
    }
    __atomic_store_n(&moving, 0, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    close_shop();
}
END_TEST

/* ---- handles ---- */

START_TEST(handle_is_alone) {
    open_with((cdtx_options){.wait_ms = 60});
    cdtx_sql *sql = NULL, *second = (cdtx_sql *)(uintptr_t)1;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, "UPDATE account SET cents = 4 WHERE id = 1", NULL, &E));
    ck_assert_int_eq(cents(), 0); /* a reader sees what is committed */
    int32_t code = 0;
    FAILS(CDTX_BUSY, "shop", cdtx_local(db, add_then_return, &code, &E));
    ck_assert_int_gt(E.retry_after_ms, 0);
    FAILS(CDTX_BUSY, "shop", cdtx_sql_begin(db, &second, &E));
    ck_assert_ptr_eq(second, (cdtx_sql *)(uintptr_t)1);
    OK(cdtx_sql_commit(sql, &E));
    FAILS(CDTX_MISUSE, "ended", cdtx_sql_exec(sql, "SELECT 1", NULL, &E));
    FAILS(CDTX_MISUSE, "ended", cdtx_sql_rollback(sql, &E));
    ck_assert_int_eq(cents(), 4);
    OK(cdtx_sql_begin(db, &second, &E)); /* its turn has ended with its commit, not with its close */
    cdtx_sql_close(sql);
    OK(cdtx_sql_exec(second, "UPDATE account SET cents = 5", NULL, &E));
    OK(cdtx_sql_rollback(second, &E));
    FAILS(CDTX_MISUSE, "ended", cdtx_sql_commit(second, &E));
    cdtx_sql_close(second);
    ck_assert_int_eq(cents(), 4);
    close_shop();
}
END_TEST

START_TEST(closing_an_open_handle_rolls_back) {
    open_shop();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, "UPDATE account SET cents = 4", NULL, &E));
    cdtx_sql_close(sql);
    cdtx_sql_close(NULL);
    lab_exec(db, "UPDATE account SET cents = cents + 1");
    ck_assert_int_eq(cents(), 2);
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, "UPDATE account SET cents = 4", NULL, &E));
    close_shop();
    cdtx_sql_close(sql);
    ck_assert_int_eq(cents(), 2);
}
END_TEST

START_TEST(handle_whose_transaction_a_statement_ended) {
    open_shop();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, "UPDATE account SET cents = 4", NULL, &E));
    FAILS(CDTX_SQL, "UNIQUE", cdtx_sql_exec(sql, "INSERT OR ROLLBACK INTO account VALUES (1, 0)", NULL, &E));
    FAILS(CDTX_SQL, "ended", cdtx_sql_exec(sql, "UPDATE account SET cents = 9", NULL, &E));
    FAILS(CDTX_SQL, "ended", cdtx_sql_commit(sql, &E)); /* success would be a lie: the update is gone */
    cdtx_sql_close(sql);
    ck_assert_int_eq(cents(), 0);
    lab_exec(db, "UPDATE account SET cents = 1");
    close_shop();
}
END_TEST

START_TEST(handle_waits_for_its_turn) {
    open_shop();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    struct rider rider;
    send_rider(&rider, RIDER_ADDS);
    OK(cdtx_sql_exec(sql, "UPDATE account SET cents = 10 * (cents + 1) WHERE id = 1", NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    pthread_join(rider.thread, NULL);
    ck_assert_int_eq(rider.result, 0);
    ck_assert_int_eq(cents(), 11);
    cdtx_sql_close(sql);
    close_shop();
}
END_TEST

/* ---- databases ---- */

START_TEST(databases_have_one_name) {
    open_shop();
    cdtx_db *other = (cdtx_db *)(uintptr_t)1;
    FAILS(CDTX_CONFLICT, "shop", cdtx_db_open(engine, "shop", lab_url("other.db"), &other, &E));
    ck_assert_int_eq(access(lab_path("other.db"), F_OK), -1);
    int32_t rc = cdtx_db_open(engine, "shop again", lab_url("shop.db"), &other, &E);
    ck_assert_msg(rc == CDTX_CONFLICT && strstr(E.text, "shop") != NULL, "%s %s", cdtx_code_name(rc), E.text);
    ck_assert_int_eq(symlink(lab_path("shop.db"), lab_path("alias.db")), 0);
    rc = cdtx_db_open(engine, "alias", lab_url("alias.db"), &other, &E);
    ck_assert_msg(rc == CDTX_CONFLICT || rc == CDTX_BUSY, "%s %s", cdtx_code_name(rc), E.text);
    ck_assert_ptr_eq(other, (cdtx_db *)(uintptr_t)1);
    OK(cdtx_db_log(engine, &other, &E));
    lab_exec(other, "CREATE TABLE mine (id INTEGER PRIMARY KEY)");
    cdtx_db_close(other);
    cdtx_db_close(NULL);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM mine"), 0);
    close_shop();
}
END_TEST

START_TEST(no_log_no_log_database) {
    cdtx_options options = {.size = sizeof options};
    OK(cdtx_open(&options, &engine, &E));
    FAILS(CDTX_NOT_FOUND, "log", cdtx_db_log(engine, &db, &E));
    cdtx_close(engine);
}
END_TEST

START_TEST(database_outlives_its_handle) {
    open_shop();
    cdtx_db_close(db);
    FAILS(CDTX_CONFLICT, "shop", cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    cdtx_close(engine);
    OK(cdtx_open(NULL, &engine, &E));
    OK(cdtx_db_open(engine, "other", lab_url("shop.db"), &db, &E)); /* the engine is gone, and so is its ownership */
    lab_exec(db, "UPDATE account SET cents = 1");
    cdtx_close(engine);
    cdtx_db_close(db);
}
END_TEST

/* ---- who holds others up ---- */

static int32_t linger(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_test_env_advance(user, 1500);
    return cdtx_sql_exec(sql, "UPDATE account SET cents = 7", NULL, err);
}

START_TEST(a_slow_closure_is_an_alarm) {
    cdtx_test_env *world = NULL;
    OK(cdtx_test_env_new(&world, &E));
    open_with((cdtx_options){.env = cdtx_test_env_port(world), .closure_ms = 2000});
    OK(cdtx_local(db, linger, world, &E));
    ck_assert_uint_eq(lab_metrics(engine).alarms, 0);
    close_shop();
    cdtx_test_env_free(world);
    OK(cdtx_test_env_new(&world, &E));
    engine = lab_engine((cdtx_options){.env = cdtx_test_env_port(world), .closure_ms = 1500});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    OK(cdtx_local(db, linger, world, &E)); /* it is told, and still whole */
    ck_assert_int_eq(cents(), 14);
    ck_assert_uint_eq(lab_metrics(engine).alarms, 1);
    close_shop();
    cdtx_test_env_free(world);
}
END_TEST

static uint32_t hold, held;

static int32_t hold_on(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user, (void)err;
    __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&hold, __ATOMIC_ACQUIRE) == 1)
        usleep(1000);
    return sql == NULL ? CDTX_USER : 0;
}

static void *hold_thread(void *argument) {
    return cdtx_local(argument, hold_on, NULL, NULL) == 0 ? argument : NULL;
}

static void *wait_thread(void *argument) {
    int32_t code = 0, rc;
    do
        rc = cdtx_local(argument, add_then_return, &code, NULL);
    while (rc == CDTX_BUSY);
    return rc == 0 ? argument : NULL;
}

START_TEST(too_many_waiters_are_busy) {
    pthread_t holder, waiters[2];
    void *done = NULL;
    int32_t code = 0;
    open_with((cdtx_options){.waiting_max = 2, .closure_ms = 20, .wait_ms = 30});
    hold = 1;
    held = 0;
    pthread_create(&holder, NULL, hold_thread, db);
    while (__atomic_load_n(&held, __ATOMIC_ACQUIRE) == 0) /* whoever helps now could be the one to hold it */
        usleep(1000);
    while (lab_metrics(engine).alarms == 0) /* a second thread sees that the first holds the database */
        OK(cdtx_run(engine, 10, &E));
    for (int i = 0; i < 2; i++)
        pthread_create(&waiters[i], NULL, wait_thread, db);
    memset(&E, 0, sizeof E);
    for (int i = 0; i < 1000 && strstr(E.text, "waiting_max") == NULL; i++) {
        cdtx_sql *sql = NULL;
        ck_assert_int_eq(cdtx_sql_begin(db, &sql, &E), CDTX_BUSY);
    }
    ck_assert_ptr_nonnull(strstr(E.text, "'shop'"));
    ck_assert_int_gt(E.retry_after_ms, 0);
    __atomic_store_n(&hold, 0, __ATOMIC_RELEASE);
    pthread_join(holder, &done);
    ck_assert_ptr_nonnull(done);
    for (int i = 0; i < 2; i++) {
        pthread_join(waiters[i], &done);
        ck_assert_ptr_nonnull(done);
    }
    OK(cdtx_local(db, add_then_return, &code, &E)); /* and there is room again */
    ck_assert_int_eq(cents(), 30);
    close_shop();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, a_slow_closure_is_an_alarm);
    tcase_add_test(tcase, too_many_waiters_are_busy);
    tcase_add_test(tcase, closure_commits_or_undoes);
    tcase_add_test(tcase, failed_statement_has_no_effect);
    tcase_add_test(tcase, unmet_deferred_constraint_fails_its_closure_only);
    tcase_add_test(tcase, values_are_exact);
    tcase_add_test(tcase, riders_share_a_commit);
    tcase_add_test(tcase, one_failure_does_not_hurt_neighbours);
    tcase_add_test(tcase, lost_group_is_run_again);
    tcase_add_test(tcase, many_threads_sum_up);
    tcase_add_test(tcase, readers_see_whole_transactions);
    tcase_add_test(tcase, handle_is_alone);
    tcase_add_test(tcase, closing_an_open_handle_rolls_back);
    tcase_add_test(tcase, handle_whose_transaction_a_statement_ended);
    tcase_add_test(tcase, handle_waits_for_its_turn);
    tcase_add_test(tcase, databases_have_one_name);
    tcase_add_test(tcase, no_log_no_log_database);
    tcase_add_test(tcase, database_outlives_its_handle);
}

int main(void) {
    return lab_main("local", tests);
}
