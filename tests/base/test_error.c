#include "base/error.h"

#include <stdio.h>

#include "tests.h"

START_TEST(fail_fills_all_and_returns_the_code) {
    cdtx_error err = {.code = 5, .retry_after_ms = 7, .text = "old"};
    ck_assert_int_eq(cdtx__fail(&err, CDTX_IO, "file '%s' number %d", "a.db", 3), CDTX_IO);
    ck_assert_int_eq(err.code, CDTX_IO);
    ck_assert_int_eq(err.retry_after_ms, 0);
    ck_assert_str_eq(err.text, "file 'a.db' number 3");
    ck_assert_int_eq(cdtx__fail(NULL, CDTX_IO, "nobody looks"), CDTX_IO);
}
END_TEST

START_TEST(busy_has_a_hint) {
    cdtx_error err = {0};
    ck_assert_int_eq(cdtx__busy(&err, 250, "held by '%s'", "x"), CDTX_BUSY);
    ck_assert_int_eq(err.code, CDTX_BUSY);
    ck_assert_int_eq(err.retry_after_ms, 250);
    ck_assert_str_eq(err.text, "held by 'x'");
    ck_assert_int_eq(cdtx__busy(NULL, 250, "held"), CDTX_BUSY);
}
END_TEST

START_TEST(an_error_can_explain_itself) {
    cdtx_error err = {0};
    cdtx__fail(&err, CDTX_IO, "disk full");
    cdtx__fail(&err, CDTX_UNKNOWN, "commit of 'log': %s", err.text);
    ck_assert_str_eq(err.text, "commit of 'log': disk full");
}
END_TEST

START_TEST(long_text_is_cut) {
    char text[600];
    for (size_t length = 500; length < 510; length++) {
        memset(text, 'x', length);
        text[length] = '\0';
        cdtx_error err = {0};
        size_t kept = length < sizeof err.text ? length : sizeof err.text - 1;
        cdtx__fail(&err, CDTX_IO, "%s", text);
        ck_assert_uint_eq(strlen(err.text), kept);
        err.text[0] = '\0';
        cdtx_error_set(&err, CDTX_IO, text);
        ck_assert_uint_eq(strlen(err.text), kept);
    }
}
END_TEST

START_TEST(text_is_cut_between_characters) {
    char text[600];
    for (size_t before = 495; before < 510; before++) {
        memset(text, 'x', before);
        strcpy(text + before, "\xe5\xba\x93\xe5\xad\x98");
        cdtx_error set = {0}, failed = {0};
        cdtx_error_set(&set, CDTX_USER, text);
        cdtx__fail(&failed, CDTX_USER, "%s", text);
        size_t whole = before + 6 <= 503 ? before + 6 : before + 3 <= 503 ? before + 3 : before <= 503 ? before : 503;
        ck_assert_uint_eq(strlen(set.text), whole);
        ck_assert_uint_eq(strlen(failed.text), whole);
    }
}
END_TEST

START_TEST(what_it_quotes_may_be_anything) {
    cdtx_error err;
    char text[600];
    cdtx__fail(&err, CDTX_INVALID, "'%s' is no gid", "a\xff\nb\xc3");
    ck_assert_str_eq(err.text, "'a??b?' is no gid");
    memset(text, 0x80, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    cdtx__fail(&err, CDTX_INVALID, "%s", text);
    ck_assert_uint_eq(strspn(err.text, "?"), sizeof err.text - 1);
}
END_TEST

START_TEST(set_by_a_callback) {
    cdtx_error err = {.code = 1, .retry_after_ms = 5, .text = "old"};
    ck_assert_int_eq(cdtx_error_set(&err, CDTX_REFUSED, "sold out"), CDTX_REFUSED);
    ck_assert_int_eq(err.code, CDTX_REFUSED);
    ck_assert_int_eq(err.retry_after_ms, 0);
    ck_assert_str_eq(err.text, "sold out");
    ck_assert_int_eq(cdtx_error_set(&err, CDTX_USER, err.text + 5), CDTX_USER);
    ck_assert_str_eq(err.text, "out");
    cdtx_error_set(&err, CDTX_USER, NULL);
    ck_assert_str_eq(err.text, "");
    ck_assert_int_eq(cdtx_error_set(NULL, CDTX_USER, "nobody looks"), CDTX_USER);
}
END_TEST

START_TEST(codes_have_names) {
    static const struct {
        int32_t code;
        const char *name;
        int32_t happened;
    } codes[] = {
        {CDTX_OK, "CDTX_OK", 1},
        {CDTX_REFUSED, "CDTX_REFUSED", 0},
        {CDTX_CONFLICT, "CDTX_CONFLICT", 0},
        {CDTX_BUSY, "CDTX_BUSY", 0},
        {CDTX_TIMEOUT, "CDTX_TIMEOUT", 0},
        {CDTX_UNKNOWN, "CDTX_UNKNOWN", -1},
        {CDTX_INVALID, "CDTX_INVALID", 0},
        {CDTX_MISUSE, "CDTX_MISUSE", 0},
        {CDTX_NOT_FOUND, "CDTX_NOT_FOUND", 0},
        {CDTX_EXPIRED, "CDTX_EXPIRED", 0},
        {CDTX_LIMIT, "CDTX_LIMIT", 0},
        {CDTX_NO_MEMORY, "CDTX_NO_MEMORY", 0},
        {CDTX_IO, "CDTX_IO", 0},
        {CDTX_CORRUPT, "CDTX_CORRUPT", 0},
        {CDTX_UNSUPPORTED, "CDTX_UNSUPPORTED", 0},
        {CDTX_STOPPED, "CDTX_STOPPED", 0},
        {CDTX_SQL, "CDTX_SQL", 0},
        {CDTX_USER, "CDTX_USER", -1},
        {1, "CDTX_?", -1},
        {CDTX_USER - 1, "CDTX_?", -1},
        {INT32_MAX, "CDTX_?", -1},
        {INT32_MIN, "CDTX_?", -1},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        ck_assert_str_eq(cdtx_code_name(codes[i].code), codes[i].name);
        ck_assert_int_eq(cdtx_happened(codes[i].code), codes[i].happened);
    }
}
END_TEST

START_TEST(the_version_has_three_numbers) {
    int number[3], end = 0;
    ck_assert_int_eq(sscanf(cdtx_version(), "%d.%d.%d%n", &number[0], &number[1], &number[2], &end), 3);
    ck_assert_uint_eq((size_t)end, strlen(cdtx_version()));
}
END_TEST

START_TEST(the_error_struct_is_frozen) {
    ck_assert_uint_eq(sizeof(cdtx_error), 512);
}
END_TEST

static void lie(void) {
    INVARIANT(1 + 1 == 2);
    INVARIANT(1 + 1 == 3);
}

START_TEST(a_broken_invariant_aborts_and_says_where) {
    ck_assert(breaks(lie, "1 + 1 == 3"));
    ck_assert(breaks(lie, "test_error.c:"));
}
END_TEST

RUN_TESTS("error", fail_fills_all_and_returns_the_code, busy_has_a_hint, an_error_can_explain_itself, long_text_is_cut,
          text_is_cut_between_characters, what_it_quotes_may_be_anything, set_by_a_callback, codes_have_names,
          the_version_has_three_numbers, the_error_struct_is_frozen, a_broken_invariant_aborts_and_says_where)
