/* TZif files by hand (RFC 9636): type 0 before the first transition, then a type for each. */
#ifndef TESTS_PATTERN_TZIF_H
#define TESTS_PATTERN_TZIF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TZIF_ROOM = 4096, TZIF_CHANGES_MAX = 8 };

struct tzif {
    char version; /* '1' to '4'; 0: '3' */
    int32_t before;
    size_t count;
    struct {
        int64_t at;
        int32_t offset;
    } changes[TZIF_CHANGES_MAX];
    const char *footer; /* NULL: "" */
};

struct tzif_bytes {
    size_t length;
    uint8_t bytes[TZIF_ROOM];
};

static inline void tzif_number(struct tzif_bytes *to, int64_t number, size_t size) {
    for (size_t i = size; i-- > 0;)
        to->bytes[to->length++] = (uint8_t)((uint64_t)number >> 8 * i);
}

static inline void tzif_text(struct tzif_bytes *to, const char *text, size_t length) {
    memcpy(to->bytes + to->length, text, length);
    to->length += length;
}

static inline void tzif_block(struct tzif_bytes *to, char version, const struct tzif *tzif, size_t time_size) {
    char header[20] = {'T', 'Z', 'i', 'f', version == '1' ? '\0' : version};
    tzif_text(to, header, sizeof header);
    for (size_t i = 0; i < 3; i++)
        tzif_number(to, 0, 4); /* indicators and leap seconds */
    tzif_number(to, (int64_t)tzif->count, 4);
    tzif_number(to, (int64_t)tzif->count + 1, 4);
    tzif_number(to, 4, 4);
    for (size_t i = 0; i < tzif->count; i++)
        tzif_number(to, tzif->changes[i].at, time_size);
    for (size_t i = 0; i < tzif->count; i++)
        tzif_number(to, (int64_t)i + 1, 1);
    for (size_t i = 0; i <= tzif->count; i++) {
        tzif_number(to, i == 0 ? tzif->before : tzif->changes[i - 1].offset, 4);
        tzif_number(to, 0, 2); /* no saving, first name */
    }
    tzif_text(to, "LMT", 4);
}

static inline void tzif_write(struct tzif_bytes *to, const struct tzif *tzif) {
    char version = tzif->version == 0 ? '3' : tzif->version;
    const char *footer = tzif->footer == NULL ? "" : tzif->footer;
    to->length = 0;
    if (version == '1') {
        tzif_block(to, version, tzif, 4);
        return;
    }
    tzif_block(to, version, &(struct tzif){.version = version}, 4);
    tzif_block(to, version, tzif, 8);
    tzif_text(to, "\n", 1);
    tzif_text(to, footer, strlen(footer));
    tzif_text(to, "\n", 1);
}

#endif
