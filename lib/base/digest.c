#include "base/digest.h"

#include <openssl/evp.h>

int32_t cdtx__digest(const void *bytes, size_t length, uint8_t digest[DIGEST_SIZE], cdtx_error *err) {
    size_t size = DIGEST_SIZE;
    if (EVP_Q_digest(NULL, "SHA256", NULL, bytes, length, digest, &size) != 1 || size != DIGEST_SIZE)
        return cdtx__fail(err, CDTX_NO_MEMORY, "libcrypto did not compute a SHA-256");
    return 0;
}

void cdtx__digest_hex(const uint8_t digest[DIGEST_SIZE], char hex[DIGEST_HEX_SIZE]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * DIGEST_SIZE] = '\0';
}

static int read_digit(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int cdtx__digest_read(const char *hex, uint8_t digest[DIGEST_SIZE]) {
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        int high = read_digit(hex[2 * i]);
        int low = high < 0 ? -1 : read_digit(hex[2 * i + 1]);
        if (low < 0)
            return 0;
        digest[i] = (uint8_t)(high * 16 + low);
    }
    return hex[2 * DIGEST_SIZE] == '\0';
}
