#include "base/gid.h"

void cdtx__gid_text(const uint8_t log[16], int64_t sequence, char text[CDTX_GID_MAX]) {
    for (size_t i = 0; i < 16; i++) {
        text[2 * i] = "0123456789abcdef"[log[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[log[i] & 15];
    }
    /* By hand: every call to a participant makes one, and formatted printing would be a tenth of the call's cost. */
    char digits[20];
    size_t count = 0;
    for (uint64_t rest = (uint64_t)sequence; count == 0 || rest > 0; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    text[32] = '-';
    for (size_t i = 0; i < count; i++)
        text[33 + i] = digits[count - 1 - i];
    text[33 + count] = '\0';
}

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int32_t cdtx__gid_parse(const char *text, uint8_t log[16], int64_t *sequence, cdtx_error *err) {
    if (text == NULL)
        return cdtx__fail(err, CDTX_INVALID, "the gid is NULL");
    uint8_t bytes[16];
    int64_t number = 0;
    size_t at = 0;
    for (; at < 32; at += 2) {
        int high = digit(text[at]);
        int low = high < 0 ? -1 : digit(text[at + 1]);
        if (low < 0)
            return cdtx__fail(err, CDTX_INVALID, "'%.80s' is no gid", text);
        bytes[at / 2] = (uint8_t)(high << 4 | low);
    }
    if (text[at++] != '-' || text[at] < '1' || text[at] > '9')
        return cdtx__fail(err, CDTX_INVALID, "'%.80s' is no gid", text);
    for (; text[at] != '\0'; at++) {
        if (text[at] < '0' || text[at] > '9' || number > (INT64_MAX - (text[at] - '0')) / 10)
            return cdtx__fail(err, CDTX_INVALID, "'%.80s' is no gid", text);
        number = number * 10 + (text[at] - '0');
    }
    for (size_t i = 0; i < 16; i++)
        log[i] = bytes[i];
    *sequence = number;
    return 0;
}
