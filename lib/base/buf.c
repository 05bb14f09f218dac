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

/* Bytes of the UTF-8 character that text starts with (RFC 3629); 0 when it is none. */
static size_t utf8_length(const char *text) {
    const uint8_t *b = (const uint8_t *)text;
    if (b[0] < 0x80)
        return 1;
    size_t length = b[0] < 0xc2 || b[0] > 0xf4 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < length; i++)
        if ((b[i] & 0xc0) != 0x80) /* also the NUL: nothing behind it is read */
            return 0;
    int overlong = (b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xf0 && b[1] < 0x90);
    int surrogate = b[0] == 0xed && b[1] > 0x9f;
    int beyond = b[0] == 0xf4 && b[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

/* U+0000 to U+001F, U+007F to U+009F. */
static int is_control(const char *text) {
    const uint8_t *b = (const uint8_t *)text;
    return b[0] < 0x20 || b[0] == 0x7f || (b[0] == 0xc2 && b[1] < 0xa0);
}

int32_t cdtx__check_text(const char *text, size_t max, const char *what, cdtx_error *err) {
    if (text == NULL || text[0] == '\0')
        return cdtx__fail(err, CDTX_INVALID, "%s is empty", what);
    size_t length = strnlen(text, max + 1);
    if (length > max)
        return cdtx__fail(err, CDTX_INVALID, "%s is longer than %zu bytes: '%.40s...'", what, max, text);
    size_t step = 1;
    for (size_t i = 0; i < length; i += step) {
        if (text[i] > 0x1f && text[i] < 0x7f) { /* char may be signed: beyond ASCII fails either way */
            step = 1;
            continue;
        }
        step = utf8_length(text + i);
        if (step == 0)
            return cdtx__fail(err, CDTX_INVALID, "%s is not UTF-8 at byte %zu", what, i);
        if (is_control(text + i))
            return cdtx__fail(err, CDTX_INVALID, "%s has a control character at byte %zu", what, i);
    }
    return 0;
}

int32_t cdtx__check_name(const char *text, const char *what, cdtx_error *err) {
    return cdtx__check_text(text, CDTX_NAME_MAX, what, err);
}

void cdtx__clean_text(char *clean, size_t room, const char *text) {
    size_t at = 0;
    while (*text != '\0') {
        size_t length = utf8_length(text);
        int bad = length == 0 || is_control(text);
        if (at + (bad ? 1 : length) >= room)
            break;
        if (bad)
            clean[at++] = '?';
        for (size_t i = 0; !bad && i < length; i++)
            clean[at++] = text[i];
        text += length == 0 ? 1 : length;
    }
    clean[at] = '\0';
}
