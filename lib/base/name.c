#include "base/name.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"

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
        step = cdtx__utf8_length(text + i);
        if (step == 0)
            return cdtx__fail(err, CDTX_INVALID, "%s is not UTF-8 at byte %zu", what, i);
        if (cdtx__is_control(text + i))
            return cdtx__fail(err, CDTX_INVALID, "%s has a control character at byte %zu", what, i);
    }
    return 0;
}

int32_t cdtx__check_name(const char *text, const char *what, cdtx_error *err) {
    return cdtx__check_text(text, CDTX_NAME_MAX, what, err);
}
