/* A growing byte buffer with a maximum fixed at its start, and a reader that never passes its end. Integers are
 * big-endian. Errors stick: after one failed append or read the rest do nothing, so a codec checks once at its end. */
#ifndef CDTX_BASE_BUF_H
#define CDTX_BASE_BUF_H

#include "base/env.h"
#include "base/name.h"

struct buf {
    const cdtx_env *env;
    uint8_t *bytes;
    size_t length, room, max;
    int32_t failed; /* 0, CDTX_LIMIT or CDTX_NO_MEMORY */
};

void cdtx__buf_init(struct buf *buf, const cdtx_env *env, size_t max);
void cdtx__buf_free(struct buf *buf);
void cdtx__buf_bytes(struct buf *buf, const void *bytes, size_t length);
void cdtx__buf_u8(struct buf *buf, uint8_t value);
void cdtx__buf_u32(struct buf *buf, uint32_t value);
void cdtx__buf_u64(struct buf *buf, uint64_t value);
/* Length as u32, then the bytes, then a NUL that the length does not count: readers can borrow both text and blobs. */
void cdtx__buf_block(struct buf *buf, const void *bytes, size_t length);

struct reader {
    const uint8_t *bytes;
    size_t length, at;
    int failed;
};

struct reader cdtx__reader(const void *bytes, size_t length);
uint8_t cdtx__read_u8(struct reader *reader);
uint32_t cdtx__read_u32(struct reader *reader);
uint64_t cdtx__read_u64(struct reader *reader);
/* Borrows; "" with length 0 after a failure. */
const void *cdtx__read_block(struct reader *reader, uint32_t *length);
/* A block that must be a name (1 to CDTX_NAME_MAX bytes, no control characters, no NUL inside); "" after a failure. */
const char *cdtx__read_name(struct reader *reader);
/* Did everything fit, with nothing left over? */
int cdtx__read_done(const struct reader *reader);

#endif
