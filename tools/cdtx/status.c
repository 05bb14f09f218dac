#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum status status_of(int32_t code) {
    switch (code) {
    case CDTX_OK:
        return STATUS_DONE;
    case CDTX_REFUSED:
    case CDTX_NOT_FOUND:
    case CDTX_EXPIRED:
        return STATUS_NO;
    case CDTX_INVALID:
    case CDTX_LIMIT:
        return STATUS_USAGE;
    case CDTX_CONFLICT:
    case CDTX_BUSY:
    case CDTX_TIMEOUT:
    case CDTX_MISUSE:
        return STATUS_NOT_NOW;
    case CDTX_UNKNOWN:
    case CDTX_USER:
        return STATUS_UNKNOWN;
    default:
        return STATUS_FAILED;
    }
}

__attribute__((format(printf, 1, 0))) static void say(const char *format, va_list arguments) {
    /* What was printed before stands before it, also when both go to one file. */
    (void)fflush(stdout);
    (void)fputs("cdtx: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
}

void status_say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
}

enum status status_usage(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    return STATUS_USAGE;
}

enum status status_failed(const cdtx_error *err) {
    enum status status = status_of(err->code);
    status_say("%s", err->text);
    if (status == STATUS_UNKNOWN)
        status_say("it may have been done: look before it is repeated");
    return status;
}

void status_no_memory(void) {
    status_say("there is no memory left");
    exit(STATUS_FAILED);
}

void *status_memory(void *block, size_t size) {
    void *memory = realloc(block, size);
    if (memory == NULL)
        status_no_memory();
    return memory;
}
