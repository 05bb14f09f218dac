/* The coordinator's messages, both directions: the first byte says which. What is decoded encodes to the same bytes. */
#include <string.h>

/* The codec is private to its file. */
#include "engine/coord_loopback.c"
#include "fuzz.h"

static void check_same(struct buf *buf, const uint8_t *bytes, size_t length) {
    MUST(buf->failed == 0);
    MUST(buf->length == length && memcmp(buf->bytes, bytes, length) == 0);
    cdtx__buf_free(buf);
}

static void read_request(struct crossing *crossing, const uint8_t *bytes, size_t length) {
    cdtx_error err = {0};
    struct buf buf;
    crossing->asked = (struct buf){.bytes = (uint8_t *)(uintptr_t)bytes, .length = length};
    int32_t rc = decode_request(crossing, &err);
    fuzz_count(rc, CDTX_CORRUPT, &err);
    if (rc != 0) {
        (void)fuzz_place(&err, length, 1);
        return;
    }
    cdtx__buf_init(&buf, fuzz_env(), 2 * FUZZ_LENGTH_MAX);
    encode_request(&buf, &crossing->far);
    check_same(&buf, bytes, length);
}

static void read_answer(struct crossing *crossing, const uint8_t *bytes, size_t length) {
    struct coord_request near = {0};
    cdtx_error err = {0};
    struct buf buf;
    crossing->near = &near;
    crossing->answered = (struct buf){.bytes = (uint8_t *)(uintptr_t)bytes, .length = length};
    int32_t rc = decode_answer(crossing, &err);
    fuzz_count(rc, CDTX_CORRUPT, &err);
    if (rc != 0) {
        (void)fuzz_place(&err, length, 1);
        return;
    }
    cdtx__buf_init(&buf, fuzz_env(), 2 * FUZZ_LENGTH_MAX);
    encode_answer(&buf, &near);
    check_same(&buf, bytes, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static struct crossing crossing;
    struct loopback self = {.env = fuzz_env(), .message_max = FUZZ_LENGTH_MAX};
    if (length == 0 || length > FUZZ_LENGTH_MAX)
        return 0;
    int asks = bytes[0] == '?';
    crossing = (struct crossing){.self = &self};
    bytes = fuzz_edge(bytes + 1, length - 1);
    (asks ? read_request : read_answer)(&crossing, bytes, length - 1);
    cdtx__free(self.env, crossing.items, crossing.item_room * sizeof *crossing.items);
    cdtx__free(self.env, crossing.item_branches, crossing.branch_room * sizeof *crossing.item_branches);
    fuzz_check_heap();
    return 0;
}
