/* The audit chain: what its hash is over, and that no change to it goes unseen. */
#include <cdtx/admin.h>

#include "engine/audit.h"
#include "lab.h"

static cdtx *engine;
static cdtx_db *db;

static void make_chain(int lines) {
    engine = lab_engine((cdtx_options){0});
    OK(cdtx_db_log(engine, &db, &E));
    for (int i = 0; i < lines; i++) {
        cdtx_sql *sql = NULL;
        int64_t id = 0;
        cdtx_job_options never = {.size = sizeof never, .delay_ms = 100000000};
        OK(cdtx_sql_begin(db, &sql, &E));
        OK(cdtx_job_put(sql, "mail", "x", 1, &never, &id, &E));
        OK(cdtx_sql_commit(sql, &E));
        cdtx_sql_close(sql);
        OK(cdtx_job_cancel(db, id, "ann", "not wanted", &E));
    }
}

static void free_chain(void) {
    cdtx_db_close(db);
    cdtx_close(engine);
}

static const char zeroes[65] = "0000000000000000000000000000000000000000000000000000000000000000";

START_TEST(the_hash_is_over_these_bytes) {
    uint8_t previous[DIGEST_SIZE], hash[DIGEST_SIZE];
    char hex[DIGEST_HEX_SIZE];
    for (size_t i = 0; i < sizeof previous; i++)
        previous[i] = (uint8_t)i;
    cdtx_value texts[] = {cdtx__sql_text("ann"), cdtx__sql_text("park"),
                          cdtx__sql_text("tx 00112233445566778899aabbccddeeff-42"),
                          cdtx__sql_text("stock says no, best\xc3\xa4tigt")};
    struct audit_bytes line = {.previous = previous, .id = 7, .at_ms = 1700000000123, .texts = texts};
    OK(cdtx__audit_hash(cdtx__env_posix(), &line, hash, &E));
    cdtx__digest_hex(hash, hex);
    ck_assert_str_eq(hex, "3c5acb07613dfecdd99eb6ec5b22636450ec9bf9f7aa95e87d555a02515e4553");
    texts[0] = cdtx__sql_text("annp");
    texts[1] = cdtx__sql_text("ark"); /* the same bytes, cut elsewhere */
    OK(cdtx__audit_hash(cdtx__env_posix(), &line, hash, &E));
    cdtx__digest_hex(hash, hex);
    ck_assert_str_ne(hex, "3c5acb07613dfecdd99eb6ec5b22636450ec9bf9f7aa95e87d555a02515e4553");
}
END_TEST

START_TEST(an_empty_chain_is_whole) {
    int64_t lines = 0;
    char head[65] = "";
    make_chain(0);
    OK(cdtx_audit_verify(db, 0, &lines, head, &E));
    ck_assert_int_eq(lines, 0);
    ck_assert_str_eq(head, zeroes);
    free_chain();
}
END_TEST

static void verify(int64_t want) {
    int64_t lines = 0;
    char head[65] = "";
    OK(cdtx_audit_verify(db, 0, &lines, head, &E));
    ck_assert_int_eq(lines, want);
    ck_assert_uint_eq(strlen(head), 64);
    ck_assert_str_ne(head, zeroes);
    char query[160];
    snprintf(query, sizeof query, "SELECT lower(hex(hash)) = '%s' FROM cdtx_audit ORDER BY id DESC LIMIT 1", head);
    ck_assert_int_eq(lab_sql("log.db", query), 1);
}

START_TEST(a_chain_is_whole_over_several_pages) {
    make_chain(256);
    verify(256);
    free_chain();
    make_chain(10);
    verify(266);
    free_chain();
}
END_TEST

/* What somebody does to the file, and what the check says. */
static const struct {
    const char *damage, *word;
} damages[] = {
    {"UPDATE cdtx_audit SET reason = 'nothing' WHERE id = 3", "audit line 3 was changed"},
    {"UPDATE cdtx_audit SET actor = 'bob' WHERE id = 1", "audit line 1 was changed"},
    {"UPDATE cdtx_audit SET at_ms = at_ms + 1 WHERE id = 5", "audit line 5 was changed"},
    {"UPDATE cdtx_audit SET action = 'retry' WHERE id = 2", "audit line 2 was changed"},
    {"UPDATE cdtx_audit SET subject = 'job 9' WHERE id = 2", "audit line 2 was changed"},
    {"UPDATE cdtx_audit SET hash = zeroblob(32) WHERE id = 5", "audit line 5 was changed"},
    {"UPDATE cdtx_audit SET hash = x'00' WHERE id = 4", "audit line 4 was changed"},
    {"UPDATE cdtx_audit SET previous = zeroblob(32) WHERE id = 4", "audit line 4 does not follow"},
    {"DELETE FROM cdtx_audit WHERE id = 3", "audit line 3 is missing"},
    {"DELETE FROM cdtx_audit WHERE id = 1", "audit line 1 is missing"},
    {"UPDATE cdtx_audit SET id = -1 WHERE id = 2; UPDATE cdtx_audit SET id = 2 WHERE id = 3;"
     " UPDATE cdtx_audit SET id = 3 WHERE id = -1",
     "audit line 2 does not follow"},
    {"UPDATE cdtx_audit SET id = -1 WHERE id = 2", "audit line 1 is missing"},
    {"DELETE FROM cdtx_audit WHERE id = 3; UPDATE cdtx_audit SET id = 3 WHERE id = 4;"
     " UPDATE cdtx_audit SET id = 4 WHERE id = 5",
     "audit line 3 does not follow"},
    /* Rehashed by somebody who does not go on to the end. */
    {"UPDATE cdtx_audit SET hash = (SELECT hash FROM cdtx_audit WHERE id = 1) WHERE id = 2",
     "audit line 2 was changed"},
};

START_TEST(damage_is_found) {
    int64_t lines = 0;
    char head[65] = "untouched";
    make_chain(5);
    verify(5);
    lab_sql("log.db", damages[_i].damage);
    FAILS(CDTX_CORRUPT, damages[_i].word, cdtx_audit_verify(db, 0, &lines, head, &E));
    ck_assert_int_eq(lines, 0);
    ck_assert_str_eq(head, "untouched");
    free_chain();
}
END_TEST

/* A chain cannot know what stood behind its end: that is what the head kept elsewhere is for. */
START_TEST(a_cut_end_shows_in_the_head) {
    int64_t lines = 0, known = 5;
    char before[65] = "", after[65] = "";
    make_chain(5);
    OK(cdtx_audit_verify(db, 0, &lines, before, &E));
    lab_sql("log.db", "DELETE FROM cdtx_audit WHERE id = 5");
    lines = 0;
    OK(cdtx_audit_verify(db, 0, &lines, after, &E));
    ck_assert_int_eq(lines, 4);
    ck_assert_str_ne(before, after);
    FAILS(CDTX_CORRUPT, "audit line 5 has not the hash", cdtx_audit_verify(db, 0, &known, before, &E));
    free_chain();
    make_chain(1); /* written anew */
    FAILS(CDTX_CORRUPT, "audit line 5 has not the hash", cdtx_audit_verify(db, 0, &known, before, &E));
    ck_assert_int_eq(known, 5);
    verify(5);
    free_chain();
}
END_TEST

START_TEST(a_check_goes_on_where_it_stopped) {
    static const int64_t stops[] = {0, 1, 3, 200, 456, 600};
    int64_t lines = 0, whole = 0;
    char head[65] = "", end[65] = "";
    make_chain(600);
    for (size_t i = 1; i < sizeof stops / sizeof stops[0]; i++) {
        OK(cdtx_audit_verify(db, (uint32_t)(stops[i] - stops[i - 1]), &lines, head, &E));
        ck_assert_int_eq(lines, stops[i]);
    }
    OK(cdtx_audit_verify(db, 0, &whole, end, &E));
    ck_assert_int_eq(whole, 600);
    ck_assert_str_eq(head, end);
    OK(cdtx_audit_verify(db, 7, &lines, head, &E)); /* nothing came since */
    ck_assert_int_eq(lines, 600);
    ck_assert_str_eq(head, end);
    free_chain();
}
END_TEST

START_TEST(no_line_without_its_action_and_no_action_without_its_line) {
    make_chain(1);
    lab_sql("log.db", "CREATE TRIGGER no_more BEFORE INSERT ON cdtx_audit BEGIN SELECT RAISE(ABORT, 'disk'); END");
    cdtx_sql *sql = NULL;
    int64_t id = 0;
    OK(cdtx_sql_begin(db, &sql, &E));
    OK(cdtx_job_put(sql, "mail", "x", 1, NULL, &id, &E));
    OK(cdtx_sql_commit(sql, &E));
    cdtx_sql_close(sql);
    FAILS(CDTX_SQL, "disk", cdtx_job_cancel(db, id, "ann", "not wanted", &E));
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_job"), 1);
    ck_assert_int_eq(lab_sql("log.db", "SELECT count(*) FROM cdtx_audit"), 1);
    free_chain();
}
END_TEST

START_TEST(bad_input_is_refused) {
    int64_t lines = 0;
    char head[65] = "";
    cdtx_report *report = NULL;
    make_chain(0);
    FAILS(CDTX_INVALID, "place", cdtx_audit_verify(db, 0, NULL, head, &E));
    FAILS(CDTX_INVALID, "place", cdtx_audit_verify(db, 0, &lines, NULL, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_audit_verify(NULL, 0, &lines, head, &E));
    lines = -1;
    FAILS(CDTX_INVALID, "audit line -1", cdtx_audit_verify(db, 0, &lines, head, &E));
    lines = 1;
    FAILS(CDTX_INVALID, "hexadecimal", cdtx_audit_verify(db, 0, &lines, head, &E));
    memset(head, 'A', 64);
    FAILS(CDTX_INVALID, "hexadecimal", cdtx_audit_verify(db, 0, &lines, head, &E));
    memset(head, 'a', 64);
    FAILS(CDTX_CORRUPT, "line 1", cdtx_audit_verify(db, 0, &lines, head, &E));
    FAILS(CDTX_MISUSE, "database is NULL", cdtx_audit_list(NULL, NULL, &report, &E));
    FAILS(CDTX_INVALID, "report", cdtx_audit_list(db, NULL, NULL, &E));
    cdtx_audit_filter f = {.size = sizeof f, .limit = 10001};
    FAILS(CDTX_INVALID, "limit", cdtx_audit_list(db, &f, &report, &E));
    f = (cdtx_audit_filter){.size = sizeof f, .subject = ""};
    FAILS(CDTX_INVALID, "subject", cdtx_audit_list(db, &f, &report, &E));
    free_chain();
}
END_TEST

static void tests(TCase *tcase) {
    tcase_add_test(tcase, the_hash_is_over_these_bytes);
    tcase_add_test(tcase, an_empty_chain_is_whole);
    tcase_add_test(tcase, a_chain_is_whole_over_several_pages);
    tcase_add_loop_test(tcase, damage_is_found, 0, (int)(sizeof damages / sizeof damages[0]));
    tcase_add_test(tcase, a_cut_end_shows_in_the_head);
    tcase_add_test(tcase, a_check_goes_on_where_it_stopped);
    tcase_add_test(tcase, no_line_without_its_action_and_no_action_without_its_line);
    tcase_add_test(tcase, bad_input_is_refused);
}

int main(void) {
    return lab_main("engine-audit", tests);
}
