/* Buffers and readers: the first half of the input says what to write or read, the second half is the bytes. */
#include <string.h>

#include "base/buf.h"
#include "fuzz.h"

enum { OPS_MAX = 64, U8 = 0, U32, U64, BLOCK, BYTES, KINDS };

struct script {
    const uint8_t *ops;
    size_t count;
};

static struct script script_of(const uint8_t *bytes, size_t *length) {
    size_t count = *length / 2 < OPS_MAX ? *length / 2 : OPS_MAX;
    return (struct script){bytes, count};
}

/* Reading stops at the first failure for good, and never stands behind the end. */
static void read_any(struct script script, const uint8_t *bytes, size_t length) {
    struct reader reader = cdtx__reader(bytes, length);
    size_t before = 0;
    for (size_t i = 0; i < script.count; i++) {
        int failed = reader.failed;
        uint32_t size = 0;
        const void *block = NULL;
        uint64_t number = 0;
        switch (script.ops[i] % KINDS) {
        case U8:
            number = cdtx__read_u8(&reader);
            break;
        case U32:
            number = cdtx__read_u32(&reader);
            break;
        case U64:
            number = cdtx__read_u64(&reader);
            break;
        case BLOCK:
            block = cdtx__read_block(&reader, &size);
            break;
        default:
            block = cdtx__read_name(&reader);
            size = (uint32_t)strlen(block);
            MUST(reader.failed || cdtx__check_name(block, "name", NULL) == 0);
            break;
        }
        MUST(reader.at >= before && reader.at <= length);
        MUST(!failed || (reader.failed && reader.at == before && number == 0 && size == 0));
        MUST(block == NULL || ((const char *)block)[size] == '\0');
        MUST(cdtx__read_done(&reader) == (!reader.failed && reader.at == length));
        before = reader.at;
    }
    (void)(reader.failed ? fuzz_refused++ : fuzz_accepted++);
}

/* What is written is read again, up to the maximum of the buffer, behind which nothing is added. */
static void write_and_read(struct script script, const uint8_t *bytes, size_t length) {
    struct buf buf;
    cdtx__buf_init(&buf, fuzz_env(), script.count > 0 ? (size_t)script.ops[0] * 4 : 0);
    size_t written = 0, ends[OPS_MAX];
    for (; written < script.count; written++) {
        size_t size = length < script.ops[written] ? length : script.ops[written];
        uint64_t number = length < 8 ? 7 : (uint64_t)bytes[7] << 56 | bytes[0];
        switch (script.ops[written] % KINDS) {
        case U8:
            cdtx__buf_u8(&buf, (uint8_t)number);
            break;
        case U32:
            cdtx__buf_u32(&buf, (uint32_t)number);
            break;
        case U64:
            cdtx__buf_u64(&buf, number);
            break;
        case BLOCK:
            cdtx__buf_block(&buf, bytes, size);
            break;
        default:
            cdtx__buf_bytes(&buf, bytes, size);
            break;
        }
        ends[written] = buf.length;
        MUST(buf.length <= buf.max && buf.length <= buf.room);
        if (buf.failed != 0)
            break;
    }
    MUST(buf.failed == 0 || buf.failed == CDTX_LIMIT);
    struct reader reader = cdtx__reader(buf.bytes, buf.length);
    for (size_t i = 0; i < written; i++) {
        size_t size = length < script.ops[i] ? length : script.ops[i];
        uint64_t number = length < 8 ? 7 : (uint64_t)bytes[7] << 56 | bytes[0];
        uint32_t got = 0;
        int kind = script.ops[i] % KINDS;
        const void *block = bytes;
        if (kind == U8)
            MUST(cdtx__read_u8(&reader) == (uint8_t)number);
        else if (kind == U32)
            MUST(cdtx__read_u32(&reader) == (uint32_t)number);
        else if (kind == U64)
            MUST(cdtx__read_u64(&reader) == number);
        else if (kind == BLOCK)
            block = cdtx__read_block(&reader, &got);
        else
            for (size_t k = 0; k < size; k++)
                MUST(cdtx__read_u8(&reader) == bytes[k]);
        MUST(kind != BLOCK || (got == size && (size == 0 || memcmp(block, bytes, size) == 0)));
        MUST(!reader.failed && reader.at == ends[i]);
    }
    cdtx__buf_free(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    if (length > FUZZ_LENGTH_MAX)
        return 0;
    struct script script = script_of(bytes, &length);
    const uint8_t *rest = fuzz_edge(bytes + script.count, length - script.count);
    read_any(script, rest, length - script.count);
    write_and_read(script, rest, length - script.count);
    fuzz_check_heap();
    return 0;
}
