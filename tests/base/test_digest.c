#include "base/digest.h"

#include "tests.h"

/* From FIPS 180-2, and of nothing. */
START_TEST(known_values) {
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t digest[DIGEST_SIZE];
        char hex[DIGEST_HEX_SIZE];
        ck_assert_int_eq(cdtx__digest(cases[i].text, strlen(cases[i].text), digest, NULL), 0);
        cdtx__digest_hex(digest, hex);
        ck_assert_str_eq(hex, cases[i].hex);
    }
}
END_TEST

RUN_TESTS("digest", known_values)
