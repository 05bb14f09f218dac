/* Our tables over time: an older file is brought up and its work finished, a newer one is refused, a present one is
 * left as it is. */
#include "../engine/lab.h"

enum { NEWEST = 4 };

static cdtx *engine;
static cdtx_db *db;

/* ---- fixtures ---- */

static void make_from(const char *file, const char *fixture) {
    static char text[16384];
    char path[512];
    const char *folder = getenv("FIXTURES"), *slash = strrchr(__FILE__, '/');
    if (folder != NULL)
        snprintf(path, sizeof path, "%s/%s", folder, fixture);
    else
        snprintf(path, sizeof path, "%.*s/%s", (int)(slash - __FILE__), __FILE__, fixture);
    FILE *stream = fopen(path, "r");
    ck_assert_msg(stream != NULL, "no fixture %s", path);
    size_t length = fread(text, 1, sizeof text - 1, stream);
    fclose(stream);
    ck_assert_uint_lt(length, sizeof text - 1);
    text[length] = '\0';
    lab_sql(file, text);
}

static int32_t open_db(const char *file) {
    cdtx_options options = {.size = sizeof options};
    OK(cdtx_open(&options, &engine, &E));
    return cdtx_db_open(engine, "shop", lab_url(file), &db, &E);
}

static void close_db(void) {
    cdtx_db_close(db);
    db = NULL;
    cdtx_close(engine);
}

static void touch_db(const char *file) {
    OK(open_db(file));
    close_db();
}

static int64_t version(const char *file) {
    return lab_sql(file, "SELECT version FROM cdtx_meta");
}

/* ---- participants of the old file's work ---- */

static uint32_t confirms, mails;

static int32_t never(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    ck_abort_msg("nobody tries or cancels what an older library decided to commit");
}

static int32_t on_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    size_t length = 0;
    (void)user;
    confirms++;
    ck_assert_str_eq(cdtx_tcc_gid(call), "000102030405060708090a0b0c0d0e0f-41");
    ck_assert_mem_eq(cdtx_tcc_payload(call, &length), "xyz", 3);
    ck_assert_uint_eq(length, 3);
    ck_assert_mem_eq(cdtx_tcc_try_result(call, &length), "held", 4);
    ck_assert_uint_eq(length, 4);
    return cdtx_sql_exec(sql, "UPDATE stock SET held = held - 1, sold = sold + 1", NULL, err);
}

static int32_t mail(cdtx_work *work, void *user, cdtx_error *err) {
    size_t length = 0;
    (void)user, (void)err;
    mails++;
    ck_assert_int_eq(cdtx_work_id(work), 8);
    ck_assert_uint_eq(cdtx_work_attempt(work), 3);
    ck_assert_int_eq(cdtx_work_token(work), 3);
    ck_assert_mem_eq(cdtx_work_payload(work, &length), "dear", 4);
    return 0;
}

/* ---- upgrade ---- */

START_TEST(work_of_an_older_library_is_finished) {
    confirms = mails = 0;
    make_from("old.db", "fixture-v1.sql");
    engine = lab_engine((cdtx_options){.log = lab_url("old.db"), .retention_ms = CDTX_TIME_MAX_MS});
    OK(cdtx_db_log(engine, &db, &E));
    cdtx_tcc_handlers three = {.size = sizeof three, .on_try = never, .on_confirm = on_confirm, .on_cancel = never};
    cdtx_handler_options options = {.size = sizeof options, .handler = mail};
    OK(cdtx_tcc_add(db, "stock", &three, &E));
    OK(cdtx_handler_add(db, "mail", &options, &E));
    OK(cdtx_drain(engine, 20000, &E));
    for (int i = 0; i < 100 && mails == 0; i++)
        OK(cdtx_run(engine, 10, &E));
    ck_assert_uint_eq(confirms, 1);
    ck_assert_uint_eq(mails, 1);
    int32_t state = 0;
    char gid[CDTX_GID_MAX];
    OK(cdtx_tx_find(engine, "order-41", gid, &E));
    OK(cdtx_tx_query(engine, gid, &state, &E));
    ck_assert_int_eq(state, CDTX_TX_COMMITTED);
    OK(cdtx_tx_find(engine, "order-40", gid, &E));
    ck_assert_str_eq(gid, "000102030405060708090a0b0c0d0e0f-40");
    cdtx_tx *tx = NULL;
    OK(cdtx_tx_new(engine, NULL, &tx, &E));
    OK(cdtx_tx_begin(tx, &E));
    ck_assert_str_eq(cdtx_tx_gid(tx), "000102030405060708090a0b0c0d0e0f-42");
    cdtx_tx_close(tx);
    close_db();
    ck_assert_int_eq(version("old.db"), NEWEST);
    ck_assert_int_eq(lab_sql("old.db", "SELECT sold FROM stock"), 1);
    ck_assert_int_eq(
        lab_sql("old.db", "SELECT count(*) FROM cdtx_job WHERE id = 9 AND state = 3 AND payload = x'64656164'"), 1);
}
END_TEST

START_TEST(an_upgraded_file_is_as_a_new_one) {
    char query[400];
    make_from("old.db", "fixture-v1.sql");
    touch_db("old.db");
    touch_db("new.db");
    snprintf(query, sizeof query,
             "ATTACH '%s' AS new; WITH a AS (SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE name LIKE "
             "'cdtx%%'),"
             " b AS (SELECT type, name, tbl_name, sql FROM new.sqlite_schema)"
             " SELECT (SELECT count(*) FROM (SELECT * FROM a EXCEPT SELECT * FROM b))"
             " + (SELECT count(*) FROM (SELECT * FROM b EXCEPT SELECT * FROM a))",
             lab_path("new.db"));
    ck_assert_int_eq(lab_sql("old.db", query), 0);
    ck_assert_int_gt(lab_sql("old.db", "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'cdtx%'"), 8);
    ck_assert_int_eq(
        lab_sql("old.db", "SELECT count(*) FROM cdtx_meta WHERE uuid = x'000102030405060708090a0b0c0d0e0f'"), 1);
}
END_TEST

START_TEST(a_failed_upgrade_changes_nothing) {
    make_from("old.db", "fixture-v1.sql");
    lab_sql("old.db", "CREATE TABLE cdtx_audit (mine INTEGER)"); /* the last table of version 2 */
    FAILS(CDTX_CORRUPT, "cdtx_audit", open_db("old.db"));
    cdtx_close(engine);
    ck_assert_int_eq(version("old.db"), 1);
    ck_assert_int_eq(lab_sql("old.db", "SELECT count(*) FROM sqlite_schema WHERE name = 'cdtx_case'"), 0);
    ck_assert_int_eq(lab_sql("old.db", "SELECT epoch FROM cdtx_meta WHERE owner = 'process 4711'"), 6);
    lab_sql("old.db", "DROP TABLE cdtx_audit");
    touch_db("old.db");
    ck_assert_int_eq(version("old.db"), NEWEST);
}
END_TEST

/* ---- other versions ---- */

START_TEST(a_newer_file_is_refused_untouched) {
    touch_db("shop.db");
    int64_t epoch =
        lab_sql("shop.db", "UPDATE cdtx_meta SET version = 99, owner = 'process 99'; SELECT epoch FROM cdtx_meta");
    FAILS(CDTX_UNSUPPORTED, "99", open_db("shop.db"));
    ck_assert_ptr_nonnull(strstr(E.text, "shop"));
    cdtx_options options = {.size = sizeof options, .log = lab_url("shop.db")};
    cdtx *none = NULL;
    FAILS(CDTX_UNSUPPORTED, "99", cdtx_open(&options, &none, &E));
    ck_assert_ptr_null(none);
    ck_assert_int_eq(version("shop.db"), 99);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT epoch FROM cdtx_meta WHERE owner = 'process 99'"), epoch);
    lab_sql("shop.db", "UPDATE cdtx_meta SET version = 4");
    OK(cdtx_db_open(engine, "shop", lab_url("shop.db"), &db, &E)); /* neither name nor ownership were kept */
    close_db();
}
END_TEST

START_TEST(a_second_opening_changes_no_schema) {
    touch_db("shop.db");
    int64_t schema = lab_sql("shop.db", "PRAGMA schema_version"),
            epoch = lab_sql("shop.db", "SELECT epoch FROM cdtx_meta");
    lab_sql("shop.db", "CREATE TABLE kept AS SELECT uuid FROM cdtx_meta");
    touch_db("shop.db");
    ck_assert_int_eq(lab_sql("shop.db", "PRAGMA schema_version"), schema + 1); /* ours, for kept */
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM cdtx_meta JOIN kept USING (uuid)"), 1);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT length(uuid) FROM cdtx_meta"), 16);
    ck_assert_int_gt(lab_sql("shop.db", "SELECT epoch FROM cdtx_meta"), epoch); /* a fenced owner notices */
    touch_db("other.db");
    char query[400];
    snprintf(query, sizeof query,
             "ATTACH '%s' AS other; SELECT count(DISTINCT uuid) FROM (SELECT uuid FROM main.cdtx_meta"
             " UNION ALL SELECT uuid FROM other.cdtx_meta)",
             lab_path("other.db"));
    ck_assert_int_eq(lab_sql("shop.db", query), 2);
}
END_TEST

/* ---- damage ---- */

static const struct damage {
    const char *statement, *word;
} damages[] = {
    {"UPDATE cdtx_meta SET version = -1", "version"},
    {"UPDATE cdtx_meta SET uuid = x'0102'", "uuid"},
    {"DELETE FROM cdtx_meta", "cdtx_meta"},
    {"DROP TABLE cdtx_meta; CREATE TABLE cdtx_meta (id INTEGER PRIMARY KEY, version TEXT);"
     " INSERT INTO cdtx_meta VALUES (1, 'two')",
     "version"},
};

START_TEST(a_damaged_row_is_corrupt) {
    touch_db("shop.db");
    lab_sql("shop.db", damages[_i].statement);
    int64_t tables = lab_sql("shop.db", "SELECT count(*) FROM sqlite_schema");
    FAILS(CDTX_CORRUPT, damages[_i].word, open_db("shop.db"));
    cdtx_close(engine);
    ck_assert_int_eq(lab_sql("shop.db", "SELECT count(*) FROM sqlite_schema"), tables);
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, work_of_an_older_library_is_finished);
    tcase_add_test(tcase, an_upgraded_file_is_as_a_new_one);
    tcase_add_test(tcase, a_failed_upgrade_changes_nothing);
    tcase_add_test(tcase, a_newer_file_is_refused_untouched);
    tcase_add_test(tcase, a_second_opening_changes_no_schema);
    tcase_add_loop_test(tcase, a_damaged_row_is_corrupt, 0, (int)(sizeof damages / sizeof damages[0]));
}

int main(void) {
    return lab_main("schema", tests);
}
