#include "base/buf.h"
#include "base/text.h"

#include <cdtx/test.h>

#include "tests.h"

static const size_t edges[] = {1, 2, 63, 64, 65, 100, 127, 128, 129, 1000, 4096};

START_TEST(bytes_up_to_the_limit) {
    static const uint8_t zeros[5000];
    for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++) {
        for (size_t n = edges[e] - 1; n <= edges[e] + 1; n++) {
            struct buf buf;
            cdtx__buf_init(&buf, cdtx__env_posix(), edges[e]);
            cdtx__buf_bytes(&buf, zeros, n);
            ck_assert_int_eq(buf.failed, n <= edges[e] ? 0 : CDTX_LIMIT);
            ck_assert_uint_eq(buf.length, n <= edges[e] ? n : 0);
            cdtx__buf_free(&buf);
        }
    }
}
END_TEST

START_TEST(growing_one_byte_at_a_time) {
    for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++) {
        struct buf buf;
        cdtx__buf_init(&buf, cdtx__env_posix(), edges[e]);
        for (size_t i = 0; i < edges[e]; i++)
            cdtx__buf_u8(&buf, (uint8_t)(i * 7));
        ck_assert_int_eq(buf.failed, 0);
        cdtx__buf_u8(&buf, 1);
        ck_assert_int_eq(buf.failed, CDTX_LIMIT);
        ck_assert_uint_eq(buf.length, edges[e]);
        for (size_t i = 0; i < edges[e]; i++)
            ck_assert_uint_eq(buf.bytes[i], (uint8_t)(i * 7));
        cdtx__buf_free(&buf);
    }
}
END_TEST

START_TEST(blocks_and_numbers_up_to_the_limit) {
    static const uint8_t zeros[100];
    for (size_t max = 0; max < 40; max++) {
        for (size_t n = 0; n < 40; n++) {
            struct buf buf;
            cdtx__buf_init(&buf, cdtx__env_posix(), max);
            cdtx__buf_block(&buf, zeros, n);
            ck_assert_int_eq(buf.failed, n + 5 <= max ? 0 : CDTX_LIMIT);
            cdtx__buf_free(&buf);
        }
        struct buf buf;
        cdtx__buf_init(&buf, cdtx__env_posix(), max);
        cdtx__buf_u64(&buf, 1);
        cdtx__buf_u32(&buf, 1);
        ck_assert_int_eq(buf.failed, max >= 12 ? 0 : CDTX_LIMIT);
        cdtx__buf_free(&buf);
    }
}
END_TEST

START_TEST(failure_sticks_until_free) {
    struct buf buf;
    cdtx__buf_init(&buf, cdtx__env_posix(), 8);
    cdtx__buf_u32(&buf, 7);
    cdtx__buf_u64(&buf, 7);
    ck_assert_int_eq(buf.failed, CDTX_LIMIT);
    size_t length = buf.length;
    cdtx__buf_u8(&buf, 1);
    cdtx__buf_block(&buf, "", 0);
    ck_assert_uint_eq(buf.length, length);
    ck_assert_int_eq(buf.failed, CDTX_LIMIT);
    cdtx__buf_free(&buf);
    cdtx__buf_u64(&buf, 7);
    ck_assert_int_eq(buf.failed, 0);
    ck_assert_uint_eq(buf.length, 8);
    cdtx__buf_free(&buf);
}
END_TEST

START_TEST(a_block_longer_than_32_bits_is_over_the_limit) {
    struct buf buf;
    cdtx__buf_init(&buf, cdtx__env_posix(), SIZE_MAX);
    cdtx__buf_block(&buf, "", (size_t)UINT32_MAX + 1);
    ck_assert_int_eq(buf.failed, CDTX_LIMIT);
    ck_assert_uint_eq(buf.length, 0);
    cdtx__buf_free(&buf);
}
END_TEST

START_TEST(no_memory_sticks_and_keeps_what_was_there) {
    cdtx_test_env *env = NULL;
    ck_assert_int_eq(cdtx_test_env_new(&env, NULL), 0);
    struct buf buf;
    cdtx__buf_init(&buf, cdtx_test_env_port(env), 1000);
    cdtx__buf_bytes(&buf, "abc", 3);
    cdtx_test_env_fail_memory(env, 1, 0);
    static const uint8_t zeros[200];
    cdtx__buf_bytes(&buf, zeros, sizeof zeros);
    ck_assert_int_eq(buf.failed, CDTX_NO_MEMORY);
    cdtx__buf_u8(&buf, 1);
    ck_assert_int_eq(buf.failed, CDTX_NO_MEMORY);
    ck_assert_uint_eq(buf.length, 3);
    ck_assert_mem_eq(buf.bytes, "abc", 3);
    cdtx__buf_free(&buf);
    ck_assert_uint_eq(cdtx_test_env_bytes(env), 0);
    cdtx_test_env_free(env);
}
END_TEST

static void write_sample(struct buf *buf) {
    cdtx__buf_u8(buf, 0xfe);
    cdtx__buf_u32(buf, UINT32_MAX - 1);
    cdtx__buf_u64(buf, UINT64_MAX - 1);
    cdtx__buf_block(buf, "a\0b", 3);
    cdtx__buf_block(buf, "", 0);
    cdtx__buf_block(buf, "pay", 3);
}

/* Reads it back; 1 when all of it was there and nothing else. */
static int read_sample(const uint8_t *bytes, size_t length) {
    struct reader reader = cdtx__reader(bytes, length);
    uint32_t three = 9, none = 9;
    int same = cdtx__read_u8(&reader) == 0xfe;
    same &= cdtx__read_u32(&reader) == UINT32_MAX - 1;
    same &= cdtx__read_u64(&reader) == UINT64_MAX - 1;
    const void *block = cdtx__read_block(&reader, &three);
    same &= three == 3 && memcmp(block, "a\0b", 4) == 0;
    block = cdtx__read_block(&reader, &none);
    same &= none == 0 && memcmp(block, "", 1) == 0;
    same &= strcmp(cdtx__read_name(&reader), "pay") == 0;
    ck_assert(!cdtx__read_done(&reader) || same);
    return cdtx__read_done(&reader);
}

START_TEST(what_was_written_is_read) {
    struct buf buf;
    cdtx__buf_init(&buf, cdtx__env_posix(), 1000);
    write_sample(&buf);
    ck_assert_int_eq(buf.failed, 0);
    static const uint8_t start[] = {0xfe, 0xff, 0xff, 0xff, 0xfe, 0xff};
    ck_assert_mem_eq(buf.bytes, start, sizeof start);
    ck_assert(read_sample(buf.bytes, buf.length));
    cdtx__buf_u8(&buf, 0);
    ck_assert(!read_sample(buf.bytes, buf.length)); /* something is left over */
    cdtx__buf_free(&buf);
}
END_TEST

START_TEST(every_truncation_fails_inside_its_bytes) {
    struct buf buf;
    cdtx__buf_init(&buf, cdtx__env_posix(), 1000);
    write_sample(&buf);
    for (size_t n = 0; n < buf.length; n++) {
        uint8_t *exact = malloc(n + (n == 0)); /* so that a sanitizer sees a read behind the end */
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, buf.bytes, n);
        ck_assert(!read_sample(exact, n));
        free(exact);
    }
    cdtx__buf_free(&buf);
}
END_TEST

START_TEST(a_failed_read_gives_zero_and_sticks) {
    struct reader reader = cdtx__reader("\1\2\3", 3);
    uint32_t length = 9;
    ck_assert_uint_eq(cdtx__read_u32(&reader), 0);
    ck_assert_uint_eq(cdtx__read_u8(&reader), 0); /* three bytes are there, but the reader has failed */
    ck_assert_uint_eq(cdtx__read_u64(&reader), 0);
    ck_assert_str_eq(cdtx__read_block(&reader, &length), "");
    ck_assert_uint_eq(length, 0);
    ck_assert_str_eq(cdtx__read_name(&reader), "");
    ck_assert(!cdtx__read_done(&reader));
}
END_TEST

START_TEST(corrupt_blocks_fail) {
    static const struct {
        const char *bytes;
        size_t length;
    } corrupt[] = {
        {"\0\0\0\1a", 5},  /* NUL cut off */
        {"\0\0\0\1ab", 6}, /* something else than NUL */
        {"\0\0\0\3a", 6},  /* longer than what is there */
        {"\xff\xff\xff\xff"
         "a",
         6},
    };
    for (size_t i = 0; i < sizeof corrupt / sizeof corrupt[0]; i++) {
        struct reader reader = cdtx__reader(corrupt[i].bytes, corrupt[i].length);
        uint32_t length = 9;
        ck_assert_str_eq(cdtx__read_block(&reader, &length), "");
        ck_assert_uint_eq(length, 0);
        ck_assert(!cdtx__read_done(&reader));
    }
}
END_TEST

START_TEST(random_bytes_never_lead_outside) {
    uint64_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        size_t size = next_random(&seed) % 40;
        uint8_t *bytes = malloc(size + 1);
        ck_assert_ptr_nonnull(bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(next_random(&seed) % 8 == 0 ? next_random(&seed) : next_random(&seed) % 6);
        uint8_t *exact = realloc(bytes, size + (size == 0));
        ck_assert_ptr_nonnull(exact);
        struct reader reader = cdtx__reader(exact, size);
        while (!reader.failed && reader.at < size) {
            uint32_t length = 0;
            if (next_random(&seed) % 2 == 0) {
                const uint8_t *block = cdtx__read_block(&reader, &length);
                ck_assert(reader.failed ? length == 0 : block[length] == 0);
                ck_assert(reader.failed || (block >= exact && block + length < exact + size));
            } else {
                const char *name = cdtx__read_name(&reader);
                ck_assert(reader.failed || (strlen(name) > 0 && strlen(name) <= CDTX_NAME_MAX));
            }
        }
        ck_assert_uint_le(reader.at, size);
        free(exact);
    }
}
END_TEST

static int32_t check_name_of(size_t length) {
    char name[200];
    memset(name, 'x', length);
    name[length] = '\0';
    return cdtx__check_name(name, "queue", NULL);
}

START_TEST(names_have_1_to_127_bytes) {
    ck_assert_int_eq(check_name_of(0), CDTX_INVALID);
    ck_assert_int_eq(check_name_of(1), 0);
    ck_assert_int_eq(check_name_of(CDTX_NAME_MAX - 1), 0);
    ck_assert_int_eq(check_name_of(CDTX_NAME_MAX), 0);
    ck_assert_int_eq(check_name_of(CDTX_NAME_MAX + 1), CDTX_INVALID);
    ck_assert_int_eq(cdtx__check_name(NULL, "queue", NULL), CDTX_INVALID);
}
END_TEST

START_TEST(names_are_utf8_without_control_characters) {
    static const char *const good[] = {
        "a",
        "a b",
        "\xc2\xa0",
        "\xe5\xba\x93\xe5\xad\x98",
        "\xf0\x9f\x98\x80",
        "\xf4\x8f\xbf\xbf",
        "\xe0\xa0\x80",
        "\xf0\x90\x80\x80",
        "\xed\x9f\xbf",
    };
    static const char *const bad[] = {
        "a\n",
        "\x01",
        "\x1f",
        "a\x7f",    /* control characters */
        "\xc2\x85", /* and those behind ASCII */
        "\x80",
        "\xff",
        "a\xc3",
        "\xc3(", /* no sequence, or none that ends */
        "\xe5\xba",
        "\xf0\x9f\x98",
        "\xc0\xaf",
        "\xe0\x80\xaf",
        "\xf0\x80\x80\xaf",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf", /* longer than need be */
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", /* surrogate, over U+10FFFF */
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_int_eq(cdtx__check_name(good[i], "queue", NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cdtx_error err = {0};
        ck_assert_msg(cdtx__check_name(bad[i], "queue", &err) == CDTX_INVALID, "bad name %zu", i);
        ck_assert_ptr_nonnull(strstr(err.text, "queue"));
    }
}
END_TEST

START_TEST(texts_have_the_length_that_is_asked_for) {
    ck_assert_int_eq(cdtx__check_text("12345", 5, "reason", NULL), 0);
    ck_assert_int_eq(cdtx__check_text("123456", 5, "reason", NULL), CDTX_INVALID);
    ck_assert_int_eq(cdtx__check_text("", 5, "reason", NULL), CDTX_INVALID);
    ck_assert_int_eq(cdtx__check_text("a\tb", 5, "reason", NULL), CDTX_INVALID);
}
END_TEST

START_TEST(texts_from_outside_are_cleaned) {
    static const struct {
        const char *text, *clean;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"a\nb\x7f", "a?b?"},
        {"\xc2\x85", "?"}, /* a control character of two bytes is one mark */
        {"\xff\xfe", "??"},
        {"\xe2\x82", "??"},                       /* cut off */
        {"\xe2\x82\xac", "\xe2\x82\xac"},         /* the euro sign */
        {"123456789", "1234567"},                 /* as much as fits */
        {"123456\xe2\x82\xac", "123456"},         /* never half a character */
        {"1234\xe2\x82\xac", "1234\xe2\x82\xac"}, /* to the last byte */
        {"\xe2\x82\xac\xe2\x82\xac\x01\x02", "\xe2\x82\xac\xe2\x82\xac?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char clean[8];
        memset(clean, 'x', sizeof clean);
        cdtx__clean_text(clean, sizeof clean, cases[i].text);
        ck_assert_str_eq(clean, cases[i].clean);
    }
}
END_TEST

START_TEST(a_name_with_nul_inside_is_no_name) {
    struct buf buf;
    cdtx__buf_init(&buf, cdtx__env_posix(), 1000);
    cdtx__buf_block(&buf, "a\0b", 3);
    struct reader reader = cdtx__reader(buf.bytes, buf.length);
    ck_assert_str_eq(cdtx__read_name(&reader), "");
    ck_assert(!cdtx__read_done(&reader));
    cdtx__buf_free(&buf);
}
END_TEST

RUN_TESTS("buf", bytes_up_to_the_limit, growing_one_byte_at_a_time, blocks_and_numbers_up_to_the_limit,
          failure_sticks_until_free, a_block_longer_than_32_bits_is_over_the_limit,
          no_memory_sticks_and_keeps_what_was_there, what_was_written_is_read, every_truncation_fails_inside_its_bytes,
          a_failed_read_gives_zero_and_sticks, corrupt_blocks_fail, random_bytes_never_lead_outside,
          texts_have_the_length_that_is_asked_for, texts_from_outside_are_cleaned, names_have_1_to_127_bytes,
          names_are_utf8_without_control_characters, a_name_with_nul_inside_is_no_name)
