#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int32_t cdtx_error_set(cdtx_error *err, int32_t code, const char *text) {
    if (err == NULL)
        return code;
    size_t length = text == NULL ? 0 : strlen(text);
    if (length >= sizeof err->text) {
        length = sizeof err->text - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) /* never cut inside a character */
            length--;
    }
    err->code = code;
    err->retry_after_ms = 0;
    if (length > 0)
        memmove(err->text, text, length);
    err->text[length] = '\0';
    return code;
}

static void fill(cdtx_error *err, int32_t code, int32_t retry_after_ms, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

static void fill(cdtx_error *err, int32_t code, int32_t retry_after_ms, const char *format, va_list arguments) {
    if (err == NULL)
        return;
    /* The arguments may point into *err itself (a lower error being explained), so build beside it; longer by a
     * character, so that the cut sees whether one goes on behind it. What they quote may be anything. */
    char text[sizeof err->text + 4], clean[sizeof err->text];
    vsnprintf(text, sizeof text, format, arguments);
    cdtx__clean_text(clean, sizeof clean, text);
    cdtx_error_set(err, code, clean);
    err->retry_after_ms = retry_after_ms;
}

int32_t cdtx__fail(cdtx_error *err, int32_t code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fill(err, code, 0, format, arguments);
    va_end(arguments);
    return code;
}

int32_t cdtx__busy(cdtx_error *err, int32_t retry_after_ms, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fill(err, CDTX_BUSY, retry_after_ms, format, arguments);
    va_end(arguments);
    return CDTX_BUSY;
}

void cdtx__broken(const char *file, int line, const char *what) {
    fprintf(stderr, "libcdtx: broken invariant at %s:%d: %s\n", file, line, what);
    abort();
}

const char *cdtx_version(void) {
    return CDTX_VERSION;
}

static const char *const code_names[] = {
    "CDTX_OK",      "CDTX_REFUSED", "CDTX_CONFLICT",    "CDTX_BUSY",    "CDTX_TIMEOUT", "CDTX_UNKNOWN",
    "CDTX_INVALID", "CDTX_MISUSE",  "CDTX_NOT_FOUND",   "CDTX_EXPIRED", "CDTX_LIMIT",   "CDTX_NO_MEMORY",
    "CDTX_IO",      "CDTX_CORRUPT", "CDTX_UNSUPPORTED", "CDTX_STOPPED", "CDTX_SQL",     "CDTX_USER",
};

const char *cdtx_code_name(int32_t code) {
    if (code > 0 || code < CDTX_USER)
        return "CDTX_?";
    return code_names[-code];
}

int32_t cdtx_happened(int32_t code) {
    if (code == CDTX_OK)
        return 1;
    return code == CDTX_UNKNOWN || code == CDTX_USER || code > 0 || code < CDTX_USER ? -1 : 0;
}
