/* Bad input and bad places: each answer has its code, names the thing, and nothing is half done. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cdtx/admin.h>
#include <cdtx/retry.h>

#include "lab.h"

enum { PAYLOAD_MAX = 1000 };

static cdtx *engine;
static cdtx_db *db;

static int32_t yes(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    return 0;
}

static cdtx_tcc_handlers three(cdtx_tcc_fn every) {
    return (cdtx_tcc_handlers){
        .size = sizeof(cdtx_tcc_handlers), .on_try = every, .on_confirm = every, .on_cancel = every};
}

static void open_shop(void) {
    cdtx_tcc_handlers handlers = three(yes);
    engine = lab_engine((cdtx_options){.payload_max = PAYLOAD_MAX});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT)");
    OK(cdtx_tcc_add(db, "stock", &handlers, &E));
}

static void close_shop(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

static int64_t notes(void) {
    return lab_sql("shop.db", "SELECT count(*) FROM note");
}

/* A place that a failing call must leave as it is. */
#define UNTOUCHED(type) ((type *)(uintptr_t)0x5a5a)

/* ---- names ---- */

static char name_127[128], name_128[129];

static const struct name {
    const char *name, *word;
} bad_names[] = {
    {"", "empty"},          {name_128, "127"},         {"a\nb", "control"}, {"\x01", "control"},
    {"a\x7f", "control"},   {"a\xc2\x85", "control"},  {"\xff", "UTF-8"},   {"\xc0\x80", "UTF-8"},
    {"a\xe6\xbc", "UTF-8"}, {"\xed\xa0\x80", "UTF-8"}, {NULL, "empty"},
};

static void refuse_name(const struct name *bad) {
    cdtx_db *no_db = UNTOUCHED(cdtx_db);
    cdtx_tx *tx = NULL, *no_tx = UNTOUCHED(cdtx_tx);
    cdtx_sql *sql = NULL;
    cdtx_tcc_handlers handlers = three(yes);
    cdtx_handler_options options = {.size = sizeof options};
    FAILS(CDTX_INVALID, bad->word, cdtx_db_open(engine, bad->name, lab_url("other.db"), &no_db, &E));
    ck_assert_int_eq(access(lab_path("other.db"), F_OK), -1);
    ck_assert_ptr_eq(no_db, UNTOUCHED(cdtx_db));
    FAILS(CDTX_INVALID, bad->word, cdtx_tcc_add(db, bad->name, &handlers, &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_handler_add(db, bad->name, &options, &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_retry_put(db, bad->name, "x", 1, NULL, NULL, &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_handler_pause(db, bad->name, "ann", "why", &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_handler_resume(db, bad->name, "ann", "why", &E));
    cdtx_redrive_filter filter = {.size = sizeof filter, .handler = bad->name};
    FAILS(CDTX_INVALID, bad->word, cdtx_job_redrive(db, &filter, "ann", "why", NULL, &E));
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_tx_add(tx, bad->name, "x", 1, &E));
    cdtx_tx_close(tx);
    if (bad->name != NULL) { /* where NULL has a meaning of its own */
        cdtx_tx_options named = {.size = sizeof named, .name = bad->name},
                        keyed = {.size = sizeof keyed, .key = bad->name};
        FAILS(CDTX_INVALID, bad->word, cdtx_tx_new(engine, &named, &no_tx, &E));
        FAILS(CDTX_INVALID, bad->word, cdtx_tx_new(engine, &keyed, &no_tx, &E));
        ck_assert_ptr_eq(no_tx, UNTOUCHED(cdtx_tx));
    }
    char gid[CDTX_GID_MAX] = "untouched";
    FAILS(CDTX_INVALID, bad->word, cdtx_tx_find(engine, bad->name, gid, &E));
    ck_assert_str_eq(gid, "untouched");
    OK(cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_job_put(sql, bad->name, "x", 1, NULL, NULL, &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_retry_cancel_key(sql, bad->name, "k", &E));
    FAILS(CDTX_INVALID, bad->word, cdtx_retry_cancel_key(sql, "pull", bad->name, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
}

START_TEST(names) {
    memset(name_127, 'n', 127);
    memset(name_128, 'n', 128);
    open_shop();
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++)
        refuse_name(&bad_names[i]);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_job"), 0);
    static const char *const good[] = {name_127, "订单", "a b/c:d", "\xf0\x9f\x8e\xb4", "'; DROP TABLE note; --"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cdtx_tcc_handlers handlers = three(yes);
        cdtx_tx_options options = {.size = sizeof options, .name = good[i], .key = good[i]};
        cdtx_tx *tx = NULL;
        char gid[CDTX_GID_MAX];
        OK(cdtx_tcc_add(db, good[i], &handlers, &E));
        OK(cdtx_tx_new(engine, &options, &tx, &E));
        OK(cdtx_tx_add(tx, good[i], NULL, 0, &E));
        OK(cdtx_tx_run(tx, &E));
        OK(cdtx_tx_find(engine, good[i], gid, &E));
        ck_assert_str_eq(gid, cdtx_tx_gid(tx));
        cdtx_tx_close(tx);
    }
    close_shop();
}
END_TEST

/* ---- payloads, numbers, structs ---- */

START_TEST(payloads) {
    static char bytes[PAYLOAD_MAX + 1];
    open_shop();
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_add(tx, "stock", bytes, PAYLOAD_MAX - 1, &E));
    OK(cdtx_tx_add(tx, "stock", bytes, PAYLOAD_MAX, &E));
    FAILS(CDTX_LIMIT, "payload_max", cdtx_tx_add(tx, "stock", bytes, PAYLOAD_MAX + 1, &E));
    FAILS(CDTX_LIMIT, "payload_max", cdtx_tx_add(tx, "stock", bytes, SIZE_MAX, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_tx_add(tx, "stock", NULL, 1, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    FAILS(CDTX_LIMIT, "payload_max", cdtx_tx_try(tx, "stock", bytes, PAYLOAD_MAX + 1, &E));
    OK(cdtx_tx_try(tx, "stock", bytes, PAYLOAD_MAX, &E));
    OK(cdtx_tx_commit(tx, &E)); /* an argument that was refused does not spoil the transaction */
    cdtx_tx_close(tx);
    OK(cdtx_drain(engine, 10000, &E));
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_guard"), 3);
    close_shop();
}
END_TEST

START_TEST(times) {
    static const int64_t wrong[] = {-1, INT64_MIN, CDTX_TIME_MAX_MS + 1, INT64_MAX};
    open_shop();
    for (size_t i = 0; i < 4; i++) {
        int32_t state = -9;
        cdtx_tx *tx = UNTOUCHED(cdtx_tx);
        cdtx_work *work = UNTOUCHED(cdtx_work);
        cdtx_tx_options options = {.size = sizeof options, .timeout_ms = wrong[i]};
        FAILS(CDTX_INVALID, "timeout_ms", cdtx_tx_new(engine, &options, &tx, &E));
        ck_assert_ptr_eq(tx, UNTOUCHED(cdtx_tx));
        FAILS(CDTX_INVALID, "for_ms", cdtx_tx_wait(engine, "x", wrong[i], &state, &E));
        ck_assert_int_eq(state, -9);
        FAILS(CDTX_INVALID, "for_ms", cdtx_drain(engine, wrong[i], &E));
        if (wrong[i] == -1)
            continue; /* until cdtx_stop */
        FAILS(CDTX_INVALID, "for_ms", cdtx_run(engine, wrong[i], &E));
        FAILS(CDTX_INVALID, "for_ms", cdtx_take(engine, wrong[i], &work, &E));
        ck_assert_ptr_eq(work, UNTOUCHED(cdtx_work));
    }
    cdtx_tx *tx = NULL;
    cdtx_tx_options longest = {.size = sizeof longest, .timeout_ms = CDTX_TIME_MAX_MS};
    OK(cdtx_tx_new(engine, &longest, &tx, &E));
    OK(cdtx_tx_add(tx, "stock", "x", 1, &E));
    OK(cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    close_shop();
}
END_TEST

START_TEST(engine_options) {
    cdtx *none = UNTOUCHED(cdtx);
    static const struct {
        cdtx_options options;
        const char *word;
    } wrong[] = {
        {{.threads = 65}, "threads"},
        {{.payload_max = (16 << 20) + 1}, "payload_max"},
        {{.call_timeout_ms = -1}, "call_timeout_ms"},
        {{.call_timeout_ms = CDTX_TIME_MAX_MS + 1}, "call_timeout_ms"},
        {{.wait_ms = -5}, "wait_ms"},
        {{.backoff_min_ms = -1}, "backoff_min_ms"},
        {{.backoff_max_ms = INT64_MAX}, "backoff_max_ms"},
        {{.backoff_min_ms = 200, .backoff_max_ms = 100}, "backoff_max_ms"},
        {{.coordinator = "remote"}, "remote"},
        {{.adapter_count = 1}, "adapter"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cdtx_options options = wrong[i].options;
        options.size = sizeof options;
        FAILS(CDTX_INVALID, wrong[i].word, cdtx_open(&options, &none, &E));
        options.log = lab_url("log.db");
        FAILS(CDTX_INVALID, wrong[i].word, cdtx_open(&options, &none, &E));
    }
    ck_assert_int_eq(access(lab_path("log.db"), F_OK), -1);
    FAILS(CDTX_INVALID, "NULL", cdtx_open(NULL, NULL, &E));
    ck_assert_ptr_eq(none, UNTOUCHED(cdtx));
}
END_TEST

/* Every option struct: smaller is refused, larger is accepted while its unknown end is zero. */
static int32_t use_options(int which, const void *options, cdtx_sql *sql) {
    switch (which) {
    case 0: {
        cdtx *other = NULL;
        int32_t rc = cdtx_open(options, &other, &E);
        cdtx_close(other);
        return rc;
    }
    case 1: {
        cdtx_tx *tx = NULL;
        int32_t rc = cdtx_tx_new(engine, options, &tx, &E);
        cdtx_tx_close(tx);
        return rc;
    }
    case 2:
        return cdtx_handler_add(db, "handler", options, &E);
    case 3:
        return cdtx_job_put(sql, "handler", "x", 1, options, NULL, &E);
    case 4:
        return cdtx_tcc_add(db, "participant", options, &E);
    default: {
        cdtx_db *log = NULL; /* an open transaction has the other */
        int32_t rc = cdtx_db_log(engine, &log, &E);
        rc = rc != 0 ? rc : cdtx_job_redrive(log, options, "ann", "why", NULL, &E);
        cdtx_db_close(log);
        return rc;
    }
    }
}

START_TEST(option_structs) {
    static const uint32_t sizes[] = {sizeof(cdtx_options),     sizeof(cdtx_tx_options),   sizeof(cdtx_handler_options),
                                     sizeof(cdtx_job_options), sizeof(cdtx_tcc_handlers), sizeof(cdtx_redrive_filter)};
    union {
        uint32_t size;
        cdtx_tcc_handlers tcc;
        cdtx_redrive_filter redrive;
        unsigned char bytes[512];
    } options = {.size = 0};
    cdtx_sql *sql = NULL;
    open_shop();
    OK(cdtx_sql_begin(db, &sql, &E));
    if (_i == 4)
        options.tcc = three(yes);
    if (_i == 5)
        options.redrive.handler = "handler";
    for (uint32_t size = 0; size < sizes[_i]; size += size < 4 ? 1 : 4) {
        options.size = size;
        FAILS(CDTX_INVALID, "size", use_options(_i, &options, sql));
    }
    options.size = sizeof options;
    options.bytes[sizeof options - 1] = 1;
    FAILS(CDTX_INVALID, "does not know", use_options(_i, &options, sql));
    options.bytes[sizeof options - 1] = 0;
    OK(use_options(_i, &options, sql));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    cdtx_metrics metrics = {.size = sizeof metrics - 1, .begun = 77};
    FAILS(CDTX_INVALID, "size", cdtx_metrics_read(engine, &metrics, &E));
    ck_assert_uint_eq(metrics.begun, 77);
    FAILS(CDTX_INVALID, "cdtx_metrics", cdtx_metrics_read(engine, NULL, &E));
    close_shop();
}
END_TEST

START_TEST(errors_and_names_without_an_engine) {
    ck_assert_uint_eq(sizeof(cdtx_error), 512);
    for (int32_t code = CDTX_USER; code <= 0; code++) {
        ck_assert_int_eq(strncmp(cdtx_code_name(code), "CDTX_", 5), 0);
        ck_assert_str_ne(cdtx_code_name(code), "CDTX_?");
        ck_assert_int_eq(cdtx_happened(code), code == 0 ? 1 : code == CDTX_UNKNOWN || code == CDTX_USER ? -1 : 0);
    }
    ck_assert_str_eq(cdtx_code_name(1), "CDTX_?");
    ck_assert_str_eq(cdtx_code_name(CDTX_USER - 1), "CDTX_?");
    ck_assert_str_eq(cdtx_code_name(INT32_MIN), "CDTX_?");
    ck_assert_int_eq(cdtx_has("sqlite"), 1);
    ck_assert_int_eq(cdtx_has("oracle"), 0);
    ck_assert_int_eq(cdtx_has(""), 0);
    ck_assert_int_eq(cdtx_has(NULL), 0);
    static char text[601];
    cdtx_error err;
    for (int shift = 0; shift < 3; shift++) { /* a sign of three bytes at the end of the room, wherever it falls */
        memset(text, 'x', (size_t)shift);
        for (int i = shift; i + 3 <= 600; i += 3)
            memcpy(text + i, "漢", 3);
        ck_assert_int_eq(cdtx_error_set(&err, CDTX_USER, text), CDTX_USER);
        size_t length = strlen(err.text);
        ck_assert_uint_ge(length, sizeof err.text - 3);
        ck_assert_uint_eq((length - (size_t)shift) % 3, 0);
        ck_assert_int_eq(err.code, CDTX_USER);
        ck_assert_int_eq(err.retry_after_ms, 0);
    }
    ck_assert_int_eq(cdtx_error_set(NULL, CDTX_BUSY, "x"), CDTX_BUSY);
}
END_TEST

/* ---- every call on the handles of an engine: closed, forked away, inside a closure ---- */

static struct handles {
    cdtx_sql *sql, *ended;
    cdtx_tx *fresh, *begun;
    cdtx_work *work;
} h;

static int32_t nothing(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)sql, (void)user, (void)err;
    return 0;
}

static void no_answer(void *user, uint64_t id, const cdtx_reply *reply) {
    (void)user, (void)id, (void)reply;
    ck_abort_msg("answered");
}

static int32_t call_local(cdtx_error *err) {
    return cdtx_local(db, nothing, NULL, err);
}
static int32_t call_begin(cdtx_error *err) {
    return cdtx_sql_begin(db, UNTOUCHED(cdtx_sql *), err);
}
static int32_t call_tx_run(cdtx_error *err) {
    return cdtx_tx_run(h.fresh, err);
}
static int32_t call_tx_begin(cdtx_error *err) {
    return cdtx_tx_begin(h.fresh, err);
}
static int32_t call_try(cdtx_error *err) {
    return cdtx_tx_try(h.begun, "stock", "x", 1, err);
}
static int32_t call_commit(cdtx_error *err) {
    return cdtx_tx_commit(h.begun, err);
}
static int32_t call_rollback(cdtx_error *err) {
    return cdtx_tx_rollback(h.begun, err);
}
static int32_t call_open(cdtx_error *err) {
    return cdtx_db_open(engine, "o", lab_url("o.db"), UNTOUCHED(cdtx_db *), err);
}
static int32_t call_run(cdtx_error *err) {
    return cdtx_run(engine, 0, err);
}
static int32_t call_drain(cdtx_error *err) {
    return cdtx_drain(engine, 0, err);
}
static int32_t call_take(cdtx_error *err) {
    return cdtx_take(engine, 0, UNTOUCHED(cdtx_work *), err);
}
static int32_t call_query(cdtx_error *err) {
    return cdtx_tx_query(engine, cdtx_tx_gid(h.begun), UNTOUCHED(int32_t), err);
}
static int32_t call_wait(cdtx_error *err) {
    return cdtx_tx_wait(engine, cdtx_tx_gid(h.begun), 0, UNTOUCHED(int32_t), err);
}
static int32_t call_find(cdtx_error *err) {
    return cdtx_tx_find(engine, "k", UNTOUCHED(char), err);
}
static int32_t call_add(cdtx_error *err) {
    return cdtx_tx_add(h.fresh, "stock", "x", 1, err);
}
static int32_t call_submit(cdtx_error *err) {
    return cdtx_tx_submit(h.fresh, err);
}
static int32_t call_exec(cdtx_error *err) {
    return cdtx_sql_exec(h.sql, "INSERT INTO note VALUES (7, 'x')", NULL, err);
}
static int32_t call_ask(cdtx_error *err) {
    return cdtx_sql_query(h.sql, "SELECT 1", err);
}
static int32_t call_put(cdtx_error *err) {
    return cdtx_job_put(h.sql, "pull", "x", 1, NULL, NULL, err);
}
static int32_t call_done(cdtx_error *err) {
    return cdtx_work_done(h.work, h.sql, err);
}
static int32_t call_sql_commit(cdtx_error *err) {
    return cdtx_sql_commit(h.sql, err);
}
static int32_t call_sql_rollback(cdtx_error *err) {
    return cdtx_sql_rollback(h.sql, err);
}
static int32_t call_exec_ended(cdtx_error *err) {
    return cdtx_sql_exec(h.ended, "SELECT 1", NULL, err);
}
static int32_t call_commit_ended(cdtx_error *err) {
    return cdtx_sql_commit(h.ended, err);
}
static int32_t call_put_ended(cdtx_error *err) {
    return cdtx_job_put(h.ended, "pull", "x", 1, NULL, NULL, err);
}
static int32_t call_log(cdtx_error *err) {
    return cdtx_db_log(engine, UNTOUCHED(cdtx_db *), err);
}
static int32_t call_new(cdtx_error *err) {
    return cdtx_tx_new(engine, NULL, UNTOUCHED(cdtx_tx *), err);
}
static int32_t call_fd(cdtx_error *err) {
    return cdtx_fd(engine, UNTOUCHED(int32_t), err);
}
static int32_t call_settle(cdtx_error *err) {
    return cdtx_settle(h.work, 0, NULL, err);
}

static int32_t call_count(cdtx_error *err) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    return cdtx_metrics_read(engine, &metrics, err);
}

static int32_t call_handler(cdtx_error *err) {
    cdtx_handler_options options = {.size = sizeof options};
    return cdtx_handler_add(db, "late", &options, err);
}

static int32_t call_tcc(cdtx_error *err) {
    cdtx_tcc_handlers handlers = three(yes);
    return cdtx_tcc_add(db, "late", &handlers, err);
}

static int32_t call_retry_put(cdtx_error *err) {
    return cdtx_retry_put(db, "pull", "x", 1, NULL, UNTOUCHED(int64_t), err);
}
static int32_t call_retry_many(cdtx_error *err) {
    return cdtx_retry_put_many(db, "pull", &(cdtx_bytes){"x", 1}, 1, NULL, UNTOUCHED(int64_t), err);
}
static int32_t call_cancel(cdtx_error *err) {
    return cdtx_retry_cancel(h.sql, 1, err);
}
static int32_t call_cancel_key(cdtx_error *err) {
    return cdtx_retry_cancel_key(h.sql, "pull", "k", err);
}
static int32_t call_heartbeat(cdtx_error *err) {
    return cdtx_work_heartbeat(h.work, err);
}
static int32_t call_history(cdtx_error *err) {
    return cdtx_job_history(db, 1, UNTOUCHED(cdtx_report *), err);
}
static int32_t call_handlers(cdtx_error *err) {
    return cdtx_handler_list(db, UNTOUCHED(cdtx_report *), err);
}
static int32_t call_pause(cdtx_error *err) {
    return cdtx_handler_pause(db, "pull", "ann", "why", err);
}
static int32_t call_resume(cdtx_error *err) {
    return cdtx_handler_resume(db, "pull", "ann", "why", err);
}
static int32_t call_redrive(cdtx_error *err) {
    cdtx_redrive_filter filter = {.size = sizeof filter, .handler = "pull"};
    return cdtx_job_redrive(db, &filter, "ann", "why", NULL, err);
}

static int32_t call_serve(cdtx_error *err) {
    cdtx_call call = {.sequence = 1, .op = CDTX_CALL_TRY, .participant = "stock", .payload = ""};
    return cdtx_serve(engine, &call, no_answer, NULL, err);
}

enum { WAITS = 1, CHILD = 2, ANY_WORD = 4 };

static const struct call {
    const char *name;
    int32_t (*call)(cdtx_error *err);
    int kind; /* WAITS: for a commit; CHILD: on a handle that outlives its engine */
} calls[] = {
    {"cdtx_local", call_local, WAITS | CHILD},
    {"cdtx_sql_begin", call_begin, WAITS | CHILD},
    {"cdtx_tx_run", call_tx_run, WAITS | CHILD},
    {"cdtx_tx_begin", call_tx_begin, WAITS | CHILD},
    {"cdtx_tx_try", call_try, WAITS | CHILD},
    {"cdtx_tx_commit", call_commit, WAITS | CHILD},
    {"cdtx_tx_rollback", call_rollback, WAITS | CHILD},
    {"cdtx_db_open", call_open, WAITS},
    {"cdtx_run", call_run, WAITS},
    {"cdtx_drain", call_drain, WAITS},
    {"cdtx_take", call_take, WAITS},
    {"cdtx_tx_query", call_query, WAITS},
    {"cdtx_tx_wait", call_wait, WAITS},
    {"cdtx_tx_find", call_find, WAITS},
    {"cdtx_tx_add", call_add, CHILD},
    {"cdtx_tx_submit", call_submit, CHILD},
    {"cdtx_handler_add", call_handler, CHILD},
    {"cdtx_tcc_add", call_tcc, CHILD},
    {"cdtx_sql_exec", call_exec, CHILD | ANY_WORD},
    {"cdtx_sql_query", call_ask, CHILD | ANY_WORD},
    {"cdtx_job_put", call_put, CHILD | ANY_WORD},
    {"cdtx_work_done", call_done, CHILD | ANY_WORD},
    {"cdtx_sql_commit", call_sql_commit, CHILD},
    {"cdtx_sql_rollback", call_sql_rollback, CHILD},
    {"cdtx_sql_exec, ended", call_exec_ended, CHILD | ANY_WORD},
    {"cdtx_sql_commit, ended", call_commit_ended, CHILD | ANY_WORD},
    {"cdtx_job_put, ended", call_put_ended, CHILD | ANY_WORD},
    {"cdtx_db_log", call_log, 0},
    {"cdtx_tx_new", call_new, 0},
    {"cdtx_fd", call_fd, 0},
    {"cdtx_metrics_read", call_count, 0},
    {"cdtx_serve", call_serve, 0},
    {"cdtx_retry_put", call_retry_put, WAITS | CHILD},
    {"cdtx_retry_put_many", call_retry_many, WAITS | CHILD},
    {"cdtx_retry_cancel", call_cancel, CHILD | ANY_WORD},
    {"cdtx_retry_cancel_key", call_cancel_key, CHILD | ANY_WORD},
    {"cdtx_work_heartbeat", call_heartbeat, CHILD},
    {"cdtx_job_history", call_history, WAITS | CHILD},
    {"cdtx_handler_list", call_handlers, WAITS | CHILD},
    {"cdtx_handler_pause", call_pause, WAITS | CHILD},
    {"cdtx_handler_resume", call_resume, WAITS | CHILD},
    {"cdtx_job_redrive", call_redrive, WAITS | CHILD},
    {"cdtx_settle", call_settle, CHILD}, /* the last: it frees */
};

enum { CALLS = sizeof calls / sizeof calls[0] };

/* The first of these calls that does not answer MISUSE with a text, or -1. */
static int first_not_misuse(int kind, const char *word) {
    for (int i = 0; i < CALLS; i++) {
        cdtx_error err = {.text = ""};
        if ((calls[i].kind & kind) != kind)
            continue;
        if (calls[i].call(&err) != CDTX_MISUSE || err.code != CDTX_MISUSE)
            return i;
        if (strstr(err.text, calls[i].kind & ANY_WORD ? " " : word) == NULL)
            return i;
    }
    return -1;
}

static void check_misuse(int at) {
    ck_assert_msg(at < 0, "%s: no MISUSE, or without its word", at < 0 ? "" : calls[at].name);
}

static int32_t put_pull(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_job_put(sql, "pull", "x", 1, NULL, NULL, err);
}

static void make_work(void) {
    cdtx_handler_options options = {.size = sizeof options};
    OK(cdtx_handler_add(db, "pull", &options, &E));
    OK(cdtx_local(db, put_pull, NULL, &E));
    OK(cdtx_take(engine, 5000, &h.work, &E));
    ck_assert_ptr_nonnull(h.work);
}

static void make_transactions(void) {
    OK(cdtx_tx_new(engine, NULL, &h.fresh, &E));
    OK(cdtx_tx_new(engine, NULL, &h.begun, &E));
    OK(cdtx_tx_begin(h.begun, &E));
}

static void make_handles(void) {
    make_work();
    make_transactions();
    OK(cdtx_sql_begin(db, &h.ended, &E));
    OK(cdtx_sql_commit(h.ended, &E));
    OK(cdtx_sql_begin(db, &h.sql, &E));
    OK(cdtx_sql_exec(h.sql, "INSERT INTO note VALUES (1, 'the parent was here')", NULL, &E));
}

static void close_handles(void) {
    cdtx_sql_close(h.sql);
    cdtx_sql_close(h.ended);
    cdtx_tx_close(h.fresh);
    cdtx_tx_close(h.begun);
}

START_TEST(a_handle_after_close) {
    open_shop();
    make_handles();
    cdtx_close(engine);
    check_misuse(first_not_misuse(CHILD, "closed"));
    ck_assert_int_eq(cdtx_sql_next(h.sql), 0);
    cdtx_sql_bind_int(h.sql, 1);
    close_handles();
    cdtx_db_close(db);
    ck_assert_int_eq(notes(), 0);
    open_shop(); /* the job of the abandoned work is still there */
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_job"), 1);
    close_shop();
}
END_TEST

START_TEST(in_a_forked_child) {
    open_shop();
    make_handles();
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int at = first_not_misuse(0, "fork");
        if (at >= 0)
            _exit(at);
        cdtx_stop(engine);
        cdtx_link_reply(engine, 1, &(cdtx_reply){.code = 0});
        at = cdtx_serves(engine, "stock") == 0 ? CALLS : CALLS + 1;
        close_handles();
        cdtx_db_close(db);
        cdtx_close(engine);
        _exit(at);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status), "the child died of signal %d", WTERMSIG(status));
    int at = WEXITSTATUS(status);
    check_misuse(at >= CALLS ? -1 : at);
    ck_assert_int_eq(at, CALLS);
    OK(cdtx_sql_commit(h.sql, &E)); /* the parent's is as it was */
    OK(cdtx_tx_try(h.begun, "stock", "x", 1, &E));
    OK(cdtx_tx_commit(h.begun, &E));
    OK(cdtx_settle(h.work, 0, NULL, &E));
    close_handles();
    ck_assert_int_eq(notes(), 1);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_job"), 0);
    close_shop();
}
END_TEST

static int inside_at, inside_runs;

/* In a closure: whatever waits for a commit is refused, and so is what only handles may do. */
static int32_t inside_closure(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    inside_runs++;
    inside_at = first_not_misuse(WAITS, "wait");
    ck_assert_int_eq(cdtx_sql_commit(sql, NULL), CDTX_MISUSE);
    ck_assert_int_eq(cdtx_sql_rollback(sql, NULL), CDTX_MISUSE);
    cdtx_sql_close(sql);
    return cdtx_sql_exec(sql, "INSERT INTO note VALUES (NULL, 'inside')", NULL, err);
}

static int32_t inside_participant(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)call;
    return inside_closure(sql, user, err);
}

static int32_t inside_handler(cdtx_work *work, void *user, cdtx_error *err) {
    return inside_closure(cdtx_work_sql(work), user, err);
}

static int32_t inside_plain(cdtx_work *work, void *user, cdtx_error *err) {
    inside_runs++;
    ck_assert_ptr_null(cdtx_work_sql(work));
    return cdtx_local(db, nothing, user, err); /* not in a transaction, so it may wait */
}

static void check_inside(int runs, int64_t written) {
    check_misuse(inside_at);
    ck_assert_int_eq(inside_runs, runs);
    ck_assert_int_eq(notes(), written); /* what the closure wrote beside is kept */
}

static void run_a_job(const char *name, cdtx_handler_options options) {
    options.size = sizeof options;
    OK(cdtx_handler_add(db, name, &options, &E));
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_job_put(sql, name, "x", 1, NULL, NULL, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    int before = inside_runs;
    for (int i = 0; i < 200 && inside_runs == before; i++)
        OK(cdtx_run(engine, 10, &E));
}

START_TEST(waiting_inside_a_closure) {
    cdtx_tcc_handlers handlers = three(inside_participant);
    open_shop();
    inside_runs = 0;
    make_transactions();
    OK(cdtx_local(db, inside_closure, NULL, &E));
    check_inside(1, 1);
    OK(cdtx_tcc_add(db, "nosy", &handlers, &E));
    for (int commit = 0; commit < 2; commit++) {
        cdtx_tx *tx = NULL;
        OK(cdtx_tx_new(engine, NULL, &tx, &E));
        OK(cdtx_tx_begin(tx, &E));
        OK(cdtx_tx_try(tx, "nosy", "x", 1, &E));
        check_inside(2 + 2 * commit, 2 + 2 * commit);
        OK(commit ? cdtx_tx_commit(tx, &E) : cdtx_tx_rollback(tx, &E));
        check_inside(3 + 2 * commit, 3 + 2 * commit);
        cdtx_tx_close(tx);
    }
    run_a_job("nosy", (cdtx_handler_options){.in_local = 1, .handler = inside_handler});
    check_inside(6, 6);
    run_a_job("plain", (cdtx_handler_options){.handler = inside_plain});
    ck_assert_int_eq(inside_runs, 7);
    cdtx_tx_close(h.fresh);
    cdtx_tx_close(h.begun);
    close_shop();
}
END_TEST

static int32_t settle_inside(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)sql, (void)user, (void)err;
    inside_at = cdtx_settle(h.work, 0, NULL, NULL);
    return 0;
}

START_TEST(settling_inside_a_closure) {
    open_shop();
    make_work();
    OK(cdtx_local(db, settle_inside, NULL, &E));
    ck_assert_int_eq(inside_at, CDTX_MISUSE);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_job WHERE state = 2"), 1); /* freed, not answered */
    close_shop();
}
END_TEST

/* A handle is no closure, yet who holds it would wait for itself: that ends after wait_ms. */
START_TEST(waiting_for_ones_own_handle) {
    engine = lab_engine((cdtx_options){.wait_ms = 50});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_BUSY, "shop", cdtx_local(db, nothing, NULL, &E));
    ck_assert_int_gt(E.retry_after_ms, 0);
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    OK(cdtx_local(db, nothing, NULL, &E));
    close_shop();
}
END_TEST

/* ---- statements ---- */

static const char *const refused[] = {
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ROLLBACK TO cdtx",
    "SAVEPOINT mine",
    "RELEASE cdtx",
    " /* hidden */ COMMIT",
    "-- hidden\nCOMMIT",
    "ATTACH 'other.db' AS other",
    "DETACH main",
    "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA user_version = 3",
    "PRAGMA writable_schema = 1",
    "PRAGMA wal_checkpoint",
    "PRAGMA busy_timeout = 100000",
    "INSERT INTO cdtx_guard VALUES (x'00', 1, 1, 1, NULL)",
    "DELETE FROM cdtx_job",
    "UPDATE cdtx_meta SET seq = 0",
    "UPDATE CDTX_META SET seq = 0",
    "DROP TABLE cdtx_tx",
    "ALTER TABLE cdtx_tx RENAME TO mine",
    "ALTER TABLE note RENAME TO cdtx_note",
    "CREATE TABLE cdtx_mine (id INTEGER)",
    "CREATE INDEX mine ON cdtx_job (id)",
    "CREATE TRIGGER mine AFTER INSERT ON cdtx_job BEGIN SELECT 1; END",
    "CREATE TRIGGER cdtx_mine AFTER INSERT ON note BEGIN SELECT 1; END",
    "CREATE VIEW cdtx_view AS SELECT 1",
    "DROP INDEX cdtx_job_due",
    "SELECT load_extension('x')",
    "UPDATE sqlite_schema SET sql = ''",
    "INSERT INTO note VALUES (5, 'a'); INSERT INTO note VALUES (6, 'b')",
    "VACUUM",
};

START_TEST(statements_that_are_refused) {
    open_shop();
    cdtx_sql *sql = NULL;
    int64_t changes = -7;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        OK(cdtx_sql_begin(db, &sql, &E));
        OK(cdtx_sql_exec(sql, "INSERT INTO note VALUES (NULL, 'mine')", NULL, &E));
        for (int query = 0; query < 2; query++) {
            memset(&E, 0, sizeof E);
            int32_t rc = query ? cdtx_sql_query(sql, refused[i], &E) : cdtx_sql_exec(sql, refused[i], &changes, &E);
            ck_assert_msg(rc == CDTX_MISUSE || (rc == CDTX_SQL && strstr(refused[i], "sqlite_schema") != NULL) ||
                              (rc == CDTX_SQL && strcmp(refused[i], "VACUUM") == 0),
                          "%s: %s %s", refused[i], cdtx_code_name(rc), E.text);
            ck_assert_uint_gt(strlen(E.text), 8);
            ck_assert_int_eq(changes, -7);
        }
        OK(cdtx_sql_commit(sql, &E)); /* the transaction has not noticed */
        cdtx_sql_close(sql);
        ck_assert_msg(notes() == (int64_t)i + 1, "%s had an effect", refused[i]);
    }
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_meta WHERE version = 4"), 1);
    close_shop();
}
END_TEST

START_TEST(statements_that_are_wrong) {
    open_shop();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_SQL, "SELEKT", cdtx_sql_exec(sql, "SELEKT 1", NULL, &E));
    FAILS(CDTX_SQL, "", cdtx_sql_exec(sql, "", NULL, &E));
    FAILS(CDTX_SQL, "", cdtx_sql_exec(sql, " -- nothing", NULL, &E));
    FAILS(CDTX_INVALID, "NULL", cdtx_sql_exec(sql, NULL, NULL, &E));
    FAILS(CDTX_SQL, "mismatch", cdtx_sql_exec(sql, "INSERT INTO note VALUES ('x', 'y')", NULL, &E));
    FAILS(CDTX_MISUSE, "", cdtx_sql_exec(NULL, "SELECT 1", NULL, &E));
    OK(cdtx_sql_query(sql, "SELECT count(*) FROM cdtx_meta", &E)); /* ours may be read */
    OK(cdtx_sql_query(sql, "PRAGMA table_info(note)", &E));
    OK(cdtx_sql_rollback(sql, &E));
    cdtx_sql_close(sql);
    close_shop();
}
END_TEST

/* ---- places ---- */

static int32_t open_place(const char *url) {
    cdtx_db *none = UNTOUCHED(cdtx_db);
    int32_t rc = cdtx_db_open(engine, "place", url, &none, &E);
    if (rc == 0)
        cdtx_db_close(none);
    else
        ck_assert_ptr_eq(none, UNTOUCHED(cdtx_db));
    return rc;
}

static void write_file(const char *file, const char *bytes, size_t length, off_t at) {
    int fd = open(lab_path(file), O_WRONLY | O_CREAT, 0644);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, length, at), (ssize_t)length);
    close(fd);
}

START_TEST(urls) {
    static const char *const wrong[] = {"sqlite:", "sqlite::memory:", "sqlite:x.db?share=2", "sqlite:x.db?colour=red",
                                        "sqlite:x%zz.db"};
    open_shop();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        FAILS(CDTX_INVALID, "", open_place(wrong[i]));
    FAILS(CDTX_UNSUPPORTED, "oracle", open_place("oracle:x"));
    FAILS(CDTX_UNSUPPORTED, "", open_place(""));
    FAILS(CDTX_UNSUPPORTED, "/tmp/x.db", open_place("/tmp/x.db"));
    FAILS(CDTX_INVALID, "NULL", open_place(NULL));
    FAILS(CDTX_NOT_FOUND, "nowhere", open_place(lab_url("nowhere/x.db")));
    OK(open_place(lab_url("x.db"))); /* the name was given to none of them */
    close_shop();
}
END_TEST

START_TEST(a_file_that_is_no_database) {
    static char letter[8192];
    open_shop();
    memset(letter, 'l', sizeof letter);
    write_file("letter.txt", letter, sizeof letter, 0);
    FAILS(CDTX_CORRUPT, "letter.txt", open_place(lab_url("letter.txt")));
    cdtx_options options = {.size = sizeof options, .log = lab_url("letter.txt")};
    cdtx *none = UNTOUCHED(cdtx);
    FAILS(CDTX_CORRUPT, "letter.txt", cdtx_open(&options, &none, &E));
    ck_assert_ptr_eq(none, UNTOUCHED(cdtx));
    struct stat info;
    ck_assert_int_eq(stat(lab_path("letter.txt"), &info), 0);
    ck_assert_int_eq(info.st_size, sizeof letter);
    ck_assert_int_eq(mkdir(lab_path("folder.db"), 0755), 0);
    FAILS(CDTX_IO, "folder.db", open_place(lab_url("folder.db")));
    OK(open_place(lab_url("x.db")));
    close_shop();
}
END_TEST

START_TEST(a_corrupt_page) {
    static char noise[4096];
    open_shop();
    lab_exec(db, "CREATE TABLE big (id INTEGER PRIMARY KEY, text TEXT)");
    lab_exec(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                 " INSERT INTO big SELECT i, hex(zeroblob(50)) FROM n");
    close_shop();
    lab_sql("shop.db", "PRAGMA wal_checkpoint(TRUNCATE)");
    int64_t page = lab_sql("shop.db", "SELECT rootpage FROM sqlite_schema WHERE name = 'big'");
    memset(noise, 0x7f, sizeof noise);
    write_file("shop.db", noise, sizeof noise, (off_t)(page - 1) * 4096);
    open_shop();
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    FAILS(CDTX_CORRUPT, "shop", cdtx_sql_query(sql, "SELECT sum(id) FROM big", &E));
    ck_assert_int_eq(cdtx_sql_next(sql), 0);
    cdtx_sql_close(sql);
    lab_exec(db, "INSERT INTO note VALUES (1, 'elsewhere it is well')");
    close_shop();
    ck_assert_int_eq(notes(), 1);
}
END_TEST

/* Not root, for whom nothing is read-only. 0 when opening answers IO and names the file. */
static int as_nobody(const char *file) {
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        cdtx_error err = {.text = ""};
        cdtx *own = NULL;
        cdtx_options options = {.size = sizeof options, .log = lab_url(file)};
        if (getuid() == 0 && setuid(65534) != 0)
            _exit(2);
        int32_t rc = cdtx_open(&options, &own, &err);
        _exit(rc == CDTX_IO && own == NULL && strstr(err.text, file) != NULL ? 0 : 100 - rc);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

START_TEST(a_read_only_place) {
    cdtx *first = lab_engine((cdtx_options){.log = lab_url("locked.db")});
    cdtx_close(first);
    ck_assert_int_eq(chmod(lab_path("locked.db"), 0444), 0);
    ck_assert_int_eq(chmod(lab_dir, 0555), 0);
    int existing = as_nobody("locked.db"), missing = as_nobody("missing.db");
    ck_assert_int_eq(chmod(lab_dir, 0755), 0);
    ck_assert_msg(existing == 0, "an existing file: exit status %d, 100 + -code", existing);
    ck_assert_msg(missing == 0, "a missing file: exit status %d, 100 + -code", missing);
    ck_assert_int_eq(access(lab_path("missing.db"), F_OK), -1);
}
END_TEST

/* ---- a full disk, and one that can't sync: the default file system with two of its methods in between ---- */

static sqlite3_vfs *real_vfs, failing_vfs;
static sqlite3_io_methods failing_methods[2]; /* of databases and of their logs, which need no locks */
static int (*real_write)(sqlite3_file *, const void *, int, sqlite3_int64);
static int (*real_sync)(sqlite3_file *, int);
static int disk_full, syncs_fail;

static int failing_write(sqlite3_file *file, const void *bytes, int amount, sqlite3_int64 at) {
    return disk_full ? SQLITE_FULL : real_write(file, bytes, amount, at);
}

static int failing_sync(sqlite3_file *file, int flags) {
    return syncs_fail ? SQLITE_IOERR_FSYNC : real_sync(file, flags);
}

static int failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    (void)vfs;
    int rc = real_vfs->xOpen(real_vfs, name, file, flags, out);
    if (rc != SQLITE_OK || (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) == 0)
        return rc;
    sqlite3_io_methods *methods = &failing_methods[(flags & SQLITE_OPEN_WAL) != 0];
    *methods = *file->pMethods;
    real_write = methods->xWrite; /* the same for both */
    real_sync = methods->xSync;
    methods->xWrite = failing_write;
    methods->xSync = failing_sync;
    file->pMethods = methods;
    return rc;
}

static const char *failing_url(const char *file) {
    static char url[700];
    if (real_vfs == NULL) {
        real_vfs = sqlite3_vfs_find(NULL);
        failing_vfs = *real_vfs;
        failing_vfs.zName = "failing";
        failing_vfs.xOpen = failing_open;
        ck_assert_int_eq(sqlite3_vfs_register(&failing_vfs, 0), SQLITE_OK);
    }
    disk_full = syncs_fail = 0;
    snprintf(url, sizeof url, "%s?vfs=failing", lab_url(file));
    return url;
}

static const char *note_one = "INSERT INTO note VALUES (NULL, 'one')";

START_TEST(a_full_disk) {
    cdtx_tcc_handlers handlers = three(yes);
    engine = lab_engine((cdtx_options){.log = failing_url("log.db")});
    const char *url = failing_url("place.db");
    disk_full = 1;
    FAILS(CDTX_IO, "full", open_place(url));
    disk_full = 0;
    OK(cdtx_db_open(engine, "shop", failing_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)");
    OK(cdtx_tcc_add(db, "stock", &handlers, &E));
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_add(tx, "stock", "x", 1, &E));
    disk_full = 1;
    FAILS(CDTX_IO, "full", cdtx_local(db, lab_statement, (void *)(uintptr_t)note_one, &E));
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, note_one, NULL, &E));
    FAILS(CDTX_IO, "full", cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    FAILS(CDTX_IO, "full", cdtx_tx_run(tx, &E));
    cdtx_tx_close(tx);
    disk_full = 0;
    ck_assert_int_eq(notes(), 0);
    lab_exec(db, note_one); /* it goes on as soon as there is room */
    ck_assert_int_eq(notes(), 1);
    OK(cdtx_drain(engine, 10000, &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_tx"), 0);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_guard"), 0);
    close_shop();
}
END_TEST

START_TEST(a_failed_sync_is_unknown_and_stops) {
    engine = lab_engine((cdtx_options){0});
    OK(cdtx_db_open(engine, "shop", failing_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)");
    syncs_fail = 1;
    FAILS(CDTX_UNKNOWN, "shop", cdtx_local(db, lab_statement, (void *)(uintptr_t)note_one, &E));
    syncs_fail = 0;
    FAILS(CDTX_STOPPED, "shop", cdtx_local(db, lab_statement, (void *)(uintptr_t)note_one, &E));
    cdtx_sql *sql = UNTOUCHED(cdtx_sql);
    FAILS(CDTX_STOPPED, "shop", cdtx_sql_begin(db, &sql, &E));
    ck_assert_ptr_eq(sql, UNTOUCHED(cdtx_sql));
    FAILS(CDTX_STOPPED, "shop", cdtx_run(engine, 0, &E));
    FAILS(CDTX_STOPPED, "shop", cdtx_run(engine, 100, &E));
    close_shop();
    engine = lab_engine((cdtx_options){0});
    OK(cdtx_db_open(engine, "shop", failing_url("shop.db"), &db, &E));
    int64_t found = notes(); /* it may have happened: both are true answers, but only one of them for ever */
    ck_assert(found == 0 || found == 1);
    lab_exec(db, note_one);
    ck_assert_int_eq(notes(), found + 1);
    close_shop();
}
END_TEST

START_TEST(a_handle_whose_sync_fails) {
    engine = lab_engine((cdtx_options){0});
    OK(cdtx_db_open(engine, "shop", failing_url("shop.db"), &db, &E));
    lab_exec(db, "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)");
    cdtx_sql *sql = NULL;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_sql_exec(sql, note_one, NULL, &E));
    syncs_fail = 1;
    FAILS(CDTX_UNKNOWN, "shop", cdtx_sql_commit(sql, &E));
    syncs_fail = 0;
    FAILS(CDTX_MISUSE, "ended", cdtx_sql_rollback(sql, &E));
    FAILS(CDTX_STOPPED, "shop", cdtx_local(db, lab_statement, (void *)(uintptr_t)note_one, &E));
    cdtx_sql_close(sql);
    close_shop();
}
END_TEST

START_TEST(a_log_that_stops_makes_transactions_unknown) {
    cdtx_tcc_handlers handlers = three(yes);
    engine = lab_engine((cdtx_options){.log = failing_url("log.db")});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock", &handlers, &E));
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, &(cdtx_tx_options){.size = sizeof(cdtx_tx_options), .key = "k"}, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    OK(cdtx_tx_try(tx, "stock", "x", 1, &E));
    syncs_fail = 1;
    FAILS(CDTX_UNKNOWN, "", cdtx_tx_commit(tx, &E)); /* the decision may be on the disk */
    syncs_fail = 0;
    int32_t state = -9;
    int32_t rc = cdtx_tx_query(engine, cdtx_tx_gid(tx), &state, &E);
    ck_assert_msg(rc == CDTX_UNKNOWN, "%s: %s", cdtx_code_name(rc), E.text);
    ck_assert_int_eq(state, -9);
    cdtx_tx_close(tx);
    close_shop();
    engine = lab_engine((cdtx_options){.log = failing_url("log.db")});
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E));
    OK(cdtx_tcc_add(db, "stock", &handlers, &E));
    OK(cdtx_drain(engine, 20000, &E));
    char gid[CDTX_GID_MAX];
    OK(cdtx_tx_find(engine, "k", gid, &E));
    OK(cdtx_tx_query(engine, gid, &state, &E));
    int64_t guard = lab_sql("shop.db", "SELECT state FROM cdtx_guard");
    ck_assert_msg((state == CDTX_TX_COMMITTED && guard == 3) || (state == CDTX_TX_ROLLED_BACK && guard == 4),
                  "state %d, guard %d", state, (int)guard);
    close_shop();
}
END_TEST

/* ---- a second owner ---- */

START_TEST(a_second_owner_in_this_process) {
    open_shop();
    cdtx *second = UNTOUCHED(cdtx);
    cdtx_options options = {.size = sizeof options, .log = lab_url("log.db")};
    char first[40];
    snprintf(first, sizeof first, "%d", (int)getpid());
    FAILS(CDTX_BUSY, first, cdtx_open(&options, &second, &E));
    ck_assert_int_gt(E.retry_after_ms, 0);
    ck_assert_ptr_eq(second, UNTOUCHED(cdtx));
    lab_exec(db, note_one); /* the first did not feel it */
    close_shop();
    OK(cdtx_open(&options, &second, &E));
    cdtx_close(second);
}
END_TEST

START_TEST(a_second_owner_in_another_process) {
    int ready[2], end[2];
    char byte = 0, first[40];
    ck_assert_int_eq(pipe(ready) + pipe(end), 0);
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        cdtx *own = NULL;
        cdtx_options options = {.size = sizeof options, .log = lab_url("log.db")};
        byte = cdtx_open(&options, &own, NULL) == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) == 1 && read(end[0], &byte, 1) == 1)
            _exit(0); /* without closing: as if killed */
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    cdtx_options options = {.size = sizeof options, .log = lab_url("log.db")};
    snprintf(first, sizeof first, "%d", (int)child);
    FAILS(CDTX_BUSY, first, cdtx_open(&options, &engine, &E));
    ck_assert_int_eq(write(end[1], "e", 1), 1);
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    OK(cdtx_open(&options, &engine, &E));
    cdtx_close(engine);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(end[i]);
    }
}
END_TEST

/* ---- no log ---- */

START_TEST(an_engine_without_a_log) {
    cdtx_tx *tx = UNTOUCHED(cdtx_tx);
    int32_t state = -9;
    char gid[CDTX_GID_MAX] = "untouched";
    OK(cdtx_open(NULL, &engine, &E));
    FAILS(CDTX_MISUSE, "log", cdtx_tx_new(engine, NULL, &tx, &E));
    ck_assert_ptr_eq(tx, UNTOUCHED(cdtx_tx));
    FAILS(CDTX_MISUSE, "log", cdtx_tx_query(engine, "x", &state, &E));
    FAILS(CDTX_MISUSE, "log", cdtx_tx_wait(engine, "x", 0, &state, &E));
    FAILS(CDTX_MISUSE, "log", cdtx_tx_find(engine, "x", gid, &E));
    FAILS(CDTX_MISUSE, "log", cdtx_drain(engine, 0, &E));
    ck_assert_int_eq(state, -9);
    OK(cdtx_run(engine, 0, &E));
    cdtx_close(engine);
}
END_TEST

START_TEST(null_is_no_handle) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    cdtx_db *none = NULL;
    cdtx_sql *sql = NULL;
    int32_t number = 0;
    FAILS(CDTX_MISUSE, "NULL", cdtx_run(NULL, 0, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_metrics_read(NULL, &metrics, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_db_open(NULL, "x", "sqlite:x", &none, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_db_log(NULL, &none, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_local(NULL, nothing, NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_sql_begin(NULL, &sql, &E));
    FAILS(CDTX_MISUSE, "", cdtx_sql_commit(NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_tx_run(NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_tx_commit(NULL, &E));
    FAILS(CDTX_MISUSE, "NULL", cdtx_fd(NULL, &number, &E));
    FAILS(CDTX_MISUSE, "", cdtx_job_put(NULL, "x", "x", 1, NULL, NULL, &E));
    FAILS(CDTX_MISUSE, "", cdtx_work_done(NULL, NULL, &E));
    ck_assert_str_eq(cdtx_tx_gid(NULL), "");
    ck_assert_ptr_null(cdtx_tx_result(NULL, 0, NULL));
    ck_assert_int_eq(cdtx_sql_next(NULL), 0);
    ck_assert_int_eq(cdtx_serves(NULL, "x"), 0);
    cdtx_sql_bind_int(NULL, 1);
    cdtx_link_reply(NULL, 1, NULL);
    cdtx_stop(NULL);
    cdtx_close(NULL);
    cdtx_db_close(NULL);
    cdtx_sql_close(NULL);
    cdtx_tx_close(NULL);
    cdtx_test_env_free(NULL);
    cdtx_test_link_free(NULL);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, names);
    tcase_add_test(tcase, payloads);
    tcase_add_test(tcase, times);
    tcase_add_test(tcase, engine_options);
    tcase_add_loop_test(tcase, option_structs, 0, 6);
    tcase_add_test(tcase, errors_and_names_without_an_engine);
    tcase_add_test(tcase, a_handle_after_close);
    tcase_add_test(tcase, in_a_forked_child);
    tcase_add_test(tcase, waiting_inside_a_closure);
    tcase_add_test(tcase, settling_inside_a_closure);
    tcase_add_test(tcase, waiting_for_ones_own_handle);
    tcase_add_test(tcase, statements_that_are_refused);
    tcase_add_test(tcase, statements_that_are_wrong);
    tcase_add_test(tcase, urls);
    tcase_add_test(tcase, a_file_that_is_no_database);
    tcase_add_test(tcase, a_corrupt_page);
    tcase_add_test(tcase, a_read_only_place);
    tcase_add_test(tcase, a_full_disk);
    tcase_add_test(tcase, a_failed_sync_is_unknown_and_stops);
    tcase_add_test(tcase, a_handle_whose_sync_fails);
    tcase_add_test(tcase, a_log_that_stops_makes_transactions_unknown);
    tcase_add_test(tcase, a_second_owner_in_this_process);
    tcase_add_test(tcase, a_second_owner_in_another_process);
    tcase_add_test(tcase, an_engine_without_a_log);
    tcase_add_test(tcase, null_is_no_handle);
}

int main(void) {
    return lab_main("bad_input", tests);
}
