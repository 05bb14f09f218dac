/* The text of a gid: what is read is written again letter by letter, and every number has one text. */
#include <string.h>

#include "base/gid.h"
#include "fuzz.h"

static void read_text(const uint8_t *bytes, size_t length) {
    const char *text = fuzz_edge_text(bytes, length);
    uint8_t log[16], untouched[16];
    char again[CDTX_GID_MAX];
    int64_t sequence = -77;
    cdtx_error err = {0};
    memset(untouched, 0x5a, sizeof untouched);
    memcpy(log, untouched, sizeof log);
    int32_t rc = cdtx__gid_parse(text, log, &sequence, &err);
    fuzz_count(rc, CDTX_INVALID, &err);
    if (rc == 0) {
        MUST(sequence > 0);
        cdtx__gid_text(log, sequence, again);
        MUST(strcmp(text, again) == 0);
    } else {
        MUST(sequence == -77 && memcmp(log, untouched, sizeof log) == 0);
    }
}

static void write_number(const uint8_t *bytes, size_t length) {
    uint8_t raw[24] = {0}, log[16];
    char text[CDTX_GID_MAX];
    int64_t sequence, again = 0;
    memcpy(raw, bytes, length < sizeof raw ? length : sizeof raw);
    memcpy(&sequence, raw + 16, sizeof sequence);
    if (sequence <= 0)
        return;
    memset(text, 'x', sizeof text);
    cdtx__gid_text(raw, sequence, text);
    MUST(strnlen(text, sizeof text) < sizeof text);
    MUST(cdtx__gid_parse(text, log, &again, NULL) == 0);
    MUST(again == sequence && memcmp(log, raw, sizeof log) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length > FUZZ_LENGTH_MAX || length == 0)
        return 0;
    read_text(bytes, length);
    write_number(bytes, length);
    return 0;
}
