/* A record of branches: what is read is written again byte by byte; what is not is refused at a place. */
#include <string.h>

#include "fuzz.h"
#include "store/record.h"

static int inside(const void *pointer, size_t length, const uint8_t *bytes, size_t size) {
    const uint8_t *at = pointer;
    return at >= bytes && at <= bytes + size && length <= (size_t)(bytes + size - at);
}

static void write_again(const struct coord_branch *branches, uint32_t count, const uint8_t *bytes, size_t length) {
    struct buf whole, grown;
    cdtx__buf_init(&whole, fuzz_env(), 2 * FUZZ_LENGTH_MAX);
    cdtx__buf_init(&grown, fuzz_env(), 2 * FUZZ_LENGTH_MAX);
    cdtx__record_branches(&whole, branches, count);
    cdtx__record_branches(&grown, branches, 0);
    for (uint32_t i = 0; i < count; i++)
        cdtx__record_append_branch(&grown, &branches[i]);
    MUST(whole.failed == 0 && grown.failed == 0);
    MUST(whole.length == length && memcmp(whole.bytes, bytes, length) == 0);
    MUST(grown.length == length && memcmp(grown.bytes, bytes, length) == 0);
    cdtx__buf_free(&whole);
    cdtx__buf_free(&grown);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct coord_branch branches[CDTX_BRANCHES_MAX];
    uint32_t count = UINT32_MAX;
    cdtx_error err = {0};
    if (length > FUZZ_LENGTH_MAX)
        return 0;
    bytes = fuzz_edge(bytes, length);
    int32_t rc = cdtx__record_read(bytes, length, branches, &count, &err);
    fuzz_count(rc, CDTX_CORRUPT, &err);
    if (rc == 0) {
        MUST(count <= CDTX_BRANCHES_MAX);
        for (uint32_t i = 0; i < count; i++) {
            size_t name = strlen(branches[i].participant);
            MUST(inside(branches[i].participant, name + 1, bytes, length));
            MUST(inside(branches[i].payload, branches[i].length + (size_t)1, bytes, length));
            MUST(cdtx__check_name(branches[i].participant, "name", NULL) == 0);
        }
        write_again(branches, count, bytes, length);
    } else if (strstr(err.text, "version") == NULL) {
        MUST(count == UINT32_MAX);
        (void)fuzz_place(&err, length, 1);
    }
    fuzz_check_heap();
    return 0;
}
