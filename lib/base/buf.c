#include "base/buf.h"

void cdtx__buf_init(struct buf *buf, const cdtx_env *env, size_t max) {
    *buf = (struct buf){.env = env, .max = max};
}

void cdtx__buf_free(struct buf *buf) {
    cdtx__free(buf->env, buf->bytes, buf->room);
    cdtx__buf_init(buf, buf->env, buf->max);
}

static int reserve(struct buf *buf, size_t more) {
    if (buf->failed != 0)
        return 0;
    if (more > buf->max - buf->length) {
        buf->failed = CDTX_LIMIT;
        return 0;
    }
    size_t need = buf->length + more;
    if (need <= buf->room)
        return 1;
    size_t room = buf->room < 64 ? 64 : buf->room;
    while (room < need)
        room = room > buf->max / 2 ? buf->max : room * 2;
    uint8_t *bytes = cdtx__realloc(buf->env, buf->bytes, buf->room, room);
    if (bytes == NULL) {
        buf->failed = CDTX_NO_MEMORY;
        return 0;
    }
    buf->bytes = bytes;
    buf->room = room;
    return 1;
}

void cdtx__buf_bytes(struct buf *buf, const void *bytes, size_t length) {
    if (length == 0 || !reserve(buf, length))
        return;
    memcpy(buf->bytes + buf->length, bytes, length);
    buf->length += length;
}

void cdtx__buf_u8(struct buf *buf, uint8_t value) {
    cdtx__buf_bytes(buf, &value, 1);
}

void cdtx__buf_u32(struct buf *buf, uint32_t value) {
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    cdtx__buf_bytes(buf, bytes, sizeof bytes);
}

void cdtx__buf_u64(struct buf *buf, uint64_t value) {
    cdtx__buf_u32(buf, (uint32_t)(value >> 32));
    cdtx__buf_u32(buf, (uint32_t)value);
}

void cdtx__buf_block(struct buf *buf, const void *bytes, size_t length) {
    if (length > UINT32_MAX) {
        buf->failed = CDTX_LIMIT;
        return;
    }
    cdtx__buf_u32(buf, (uint32_t)length);
    cdtx__buf_bytes(buf, bytes, length);
    cdtx__buf_u8(buf, 0);
}

struct reader cdtx__reader(const void *bytes, size_t length) {
    return (struct reader){.bytes = bytes, .length = length};
}

static const uint8_t *take(struct reader *reader, size_t length) {
    if (reader->failed || length > reader->length - reader->at) {
        reader->failed = 1;
        return NULL;
    }
    const uint8_t *bytes = reader->bytes + reader->at;
    reader->at += length;
    return bytes;
}

uint8_t cdtx__read_u8(struct reader *reader) {
    const uint8_t *b = take(reader, 1);
    return b == NULL ? 0 : b[0];
}

uint32_t cdtx__read_u32(struct reader *reader) {
    const uint8_t *b = take(reader, 4);
    return b == NULL ? 0 : (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

uint64_t cdtx__read_u64(struct reader *reader) {
    uint64_t high = cdtx__read_u32(reader);
    return high << 32 | cdtx__read_u32(reader);
}

const void *cdtx__read_block(struct reader *reader, uint32_t *length) {
    uint32_t n = cdtx__read_u32(reader);
    const uint8_t *bytes = take(reader, (size_t)n + 1);
    if (bytes != NULL && bytes[n] != 0)
        reader->failed = 1;
    if (bytes == NULL || reader->failed) {
        *length = 0;
        return "";
    }
    *length = n;
    return bytes;
}

const char *cdtx__read_name(struct reader *reader) {
    uint32_t length = 0;
    const char *name = cdtx__read_block(reader, &length);
    if (reader->failed || strlen(name) != length || cdtx__check_name(name, "name", NULL) != 0) {
        reader->failed = 1;
        return "";
    }
    return name;
}

int cdtx__read_done(const struct reader *reader) {
    return !reader->failed && reader->at == reader->length;
}
