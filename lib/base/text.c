#include "base/text.h"

size_t cdtx__utf8_length(const char *text) {
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

int cdtx__is_control(const char *text) {
    const uint8_t *b = (const uint8_t *)text;
    return b[0] < 0x20 || b[0] == 0x7f || (b[0] == 0xc2 && b[1] < 0xa0);
}

void cdtx__clean_text(char *clean, size_t room, const char *text) {
    size_t at = 0;
    while (*text != '\0') {
        size_t length = cdtx__utf8_length(text);
        int bad = length == 0 || cdtx__is_control(text);
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
