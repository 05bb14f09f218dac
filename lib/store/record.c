#include "store/record.h"

enum { RECORD_VERSION = 1 };

void cdtx__record_append_branch(struct buf *buf, const struct coord_branch *branch) {
    cdtx__buf_block(buf, branch->participant, strlen(branch->participant));
    cdtx__buf_block(buf, branch->payload, branch->length);
}

void cdtx__record_branches(struct buf *buf, const struct coord_branch *branches, uint32_t count) {
    cdtx__buf_u8(buf, RECORD_VERSION);
    for (uint32_t i = 0; i < count; i++)
        cdtx__record_append_branch(buf, &branches[i]);
}

int32_t cdtx__record_read(const void *bytes, size_t length, struct coord_branch *branches, uint32_t *count,
                          cdtx_error *err) {
    struct reader reader = cdtx__reader(bytes, length);
    uint32_t n = 0;
    uint8_t version = cdtx__read_u8(&reader);
    if (!reader.failed && version != RECORD_VERSION)
        return cdtx__fail(err, CDTX_CORRUPT, "a record of branches has version %u", version);
    while (!reader.failed && !cdtx__read_done(&reader)) {
        if (n == CDTX_BRANCHES_MAX)
            return cdtx__fail(err, CDTX_CORRUPT, "a record of branches has more than %d, at byte %zu of %zu",
                              CDTX_BRANCHES_MAX, reader.at, length);
        branches[n].participant = cdtx__read_name(&reader);
        branches[n].payload = cdtx__read_block(&reader, &branches[n].length);
        n++;
    }
    if (reader.failed)
        return cdtx__fail(err, CDTX_CORRUPT, "a record of branches is cut or garbled at byte %zu of %zu", reader.at,
                          length);
    *count = n;
    return 0;
}
