/* SHA-256, from OpenSSL. */
#ifndef CDTX_BASE_DIGEST_H
#define CDTX_BASE_DIGEST_H

#include "base/error.h"

enum { DIGEST_SIZE = 32, DIGEST_HEX_SIZE = 65 };

int32_t cdtx__digest(const void *bytes, size_t length, uint8_t digest[DIGEST_SIZE], cdtx_error *err);
/* 64 lower-case digits and a NUL. */
void cdtx__digest_hex(const uint8_t digest[DIGEST_SIZE], char hex[DIGEST_HEX_SIZE]);
/* The other way; 0 when the text is something else. */
int cdtx__digest_read(const char *hex, uint8_t digest[DIGEST_SIZE]);

#endif
