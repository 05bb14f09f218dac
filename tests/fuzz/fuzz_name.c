/* Names, against a second opinion on what UTF-8 and control characters are: one that computes code points. */
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "fuzz.h"

/* The code point at text, whose length is given; -1: no UTF-8. */
static int64_t code_point(const uint8_t *text, size_t length, size_t *used) {
    static const int64_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text[0];
    size_t want = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (want == 0 || want > length)
        return -1;
    int64_t value = want == 1 ? first : first & (0x7f >> want);
    for (size_t i = 1; i < want; i++) {
        if (text[i] >> 6 != 2)
            return -1;
        value = value << 6 | (text[i] & 0x3f);
    }
    *used = want;
    return value < least[want] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff) ? -1 : value;
}

/* Where the first wrong character is; length: nowhere. */
static size_t first_wrong(const uint8_t *text, size_t length) {
    size_t used = 0;
    for (size_t at = 0; at < length; at += used) {
        int64_t value = code_point(text + at, length - at, &used);
        if (value < 0x20 || (value >= 0x7f && value <= 0x9f))
            return at;
    }
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    cdtx_error err = {0};
    if (length >= FUZZ_LENGTH_MAX)
        return 0;
    const char *text = fuzz_edge_text(bytes, length);
    length = strlen(text);
    int32_t rc = cdtx__check_name(text, "the name", &err);
    fuzz_count(rc, CDTX_INVALID, &err);
    size_t wrong = first_wrong((const uint8_t *)text, length);
    MUST((rc == 0) == (length > 0 && length <= CDTX_NAME_MAX && wrong == length));
    if (rc != 0 && length > 0 && length <= CDTX_NAME_MAX)
        MUST(fuzz_place(&err, length, 0) == wrong);
    char clean[CDTX_NAME_MAX + 1];
    cdtx__clean_text(clean, sizeof clean, text);
    MUST(strnlen(clean, sizeof clean) < sizeof clean);
    MUST(length == 0 || cdtx__check_name(clean, "the clean name", NULL) == 0);
    MUST(rc != 0 || strcmp(clean, text) == 0);
    /* The same as a block that must be a name. */
    struct buf buf;
    cdtx__buf_init(&buf, fuzz_env(), 2 * FUZZ_LENGTH_MAX);
    cdtx__buf_block(&buf, text, length);
    struct reader reader = cdtx__reader(fuzz_edge(buf.bytes, buf.length), buf.length);
    const char *name = cdtx__read_name(&reader);
    MUST(cdtx__read_done(&reader) == (rc == 0) && strlen(name) == (rc == 0 ? length : 0));
    cdtx__buf_free(&buf);
    fuzz_check_heap();
    return 0;
}
