/* What the process answers: one number for scripts, one sentence on stderr for people. */
#ifndef TOOLS_STATUS_H
#define TOOLS_STATUS_H

#include <cdtx/cdtx.h>

/* Stable, and listed in cdtx(1). */
enum status {
    STATUS_DONE = 0,
    STATUS_NO = 1,      /* the answer is no, or there is no such thing, or something is wrong with what was looked at */
    STATUS_USAGE = 2,   /* the command is wrong; nothing was done */
    STATUS_NOT_NOW = 3, /* somebody else has it, or its state does not allow it now; nothing was done */
    STATUS_FAILED = 4,  /* it could not be asked or done; nothing was done */
    STATUS_UNKNOWN = 5  /* it may have been done, or was in part: look before it is repeated */
};

enum status status_of(int32_t code);
/* Prints the error's sentence; answers its status. */
enum status status_failed(const cdtx_error *err);
/* Prints "cdtx: " and the sentence; the two answer STATUS_USAGE. */
void status_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
enum status status_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The tool's own memory: never NULL, since without it there is nothing left to do but say so. */
void *status_memory(void *block, size_t size);
void status_no_memory(void) __attribute__((noreturn));

#endif
