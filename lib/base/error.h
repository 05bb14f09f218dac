/* Results and their text. Every failing path ends in cdtx__fail, so that a code never travels without a sentence. */
#ifndef CDTX_BASE_ERROR_H
#define CDTX_BASE_ERROR_H

#include <cdtx/cdtx.h>

/* Fills *err (may be NULL) and returns code. The text names the thing; no trailing full stop or newline. */
int32_t cdtx__fail(cdtx_error *err, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4), cold));
/* The same with a hint when to come back; always CDTX_BUSY. */
int32_t cdtx__busy(cdtx_error *err, int32_t retry_after_ms, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

/* A broken promise of our own: prints where and aborts, in every build. Foreign data is CDTX_CORRUPT, never this. */
_Noreturn void cdtx__broken(const char *file, int line, const char *what) __attribute__((cold));
#define INVARIANT(condition) ((condition) ? (void)0 : cdtx__broken(__FILE__, __LINE__, #condition))

#endif
