#include "base/gid.h"

#include "tests.h"

static const uint8_t log_id[16] = {0x00, 0x1f, 0xa0, 0xff, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xef};
#define LOG_TEXT "001fa0ff0405060708090a0b0c0d0eef"

START_TEST(text_and_back) {
    static const int64_t sequences[] = {1, 9, 10, 4711, INT64_C(1) << 53, INT64_MAX};
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++) {
        char text[CDTX_GID_MAX];
        uint8_t log[16] = {0};
        int64_t sequence = 0;
        cdtx__gid_text(log_id, sequences[i], text);
        ck_assert_int_eq(strncmp(text, LOG_TEXT "-", 33), 0);
        ck_assert_int_eq(cdtx__gid_parse(text, log, &sequence, NULL), 0);
        ck_assert_mem_eq(log, log_id, 16);
        ck_assert_int_eq(sequence, sequences[i]);
    }
}
END_TEST

START_TEST(what_is_no_gid_is_refused_untouched) {
    static const char *const bad[] = {
        NULL,
        "",
        "0",
        "001fa0ff0405060708090a0b0c0d0ee",
        LOG_TEXT,
        LOG_TEXT "-",
        LOG_TEXT "-0",
        LOG_TEXT "-01",
        LOG_TEXT "--1",
        LOG_TEXT "-+1",
        LOG_TEXT "- 1",
        LOG_TEXT "-1 ",
        LOG_TEXT "-1x",
        LOG_TEXT "_1",
        LOG_TEXT "0-1",
        LOG_TEXT "-99999999999999999999",
        LOG_TEXT "-9223372036854775808",
        "001FA0FF0405060708090A0B0C0D0EEF-1",
        "001fa0ff0405060708090a0b0c0d0ee\xc3-1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t log[16];
        memcpy(log, log_id, 16);
        int64_t sequence = -5;
        cdtx_error err = {0};
        ck_assert_msg(cdtx__gid_parse(bad[i], log, &sequence, &err) == CDTX_INVALID, "gid %zu", i);
        ck_assert_int_eq(err.code, CDTX_INVALID);
        ck_assert_uint_gt(strlen(err.text), 0);
        ck_assert_mem_eq(log, log_id, 16);
        ck_assert_int_eq(sequence, -5);
    }
}
END_TEST

START_TEST(the_longest_gid_fits) {
    char text[CDTX_GID_MAX];
    cdtx__gid_text(log_id, INT64_MAX, text);
    ck_assert_str_eq(text, LOG_TEXT "-9223372036854775807");
}
END_TEST

RUN_TESTS("gid", text_and_back, what_is_no_gid_is_refused_untouched, the_longest_gid_fits)
