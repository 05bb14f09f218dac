/* sqlite: URLs. What is taken is a path that is durable; written again with every byte percent-encoded it reads the
 * same. */
#include <string.h>

#include "adapter/sqlite.h"
#include "fuzz.h"

static size_t encode(char *to, const char *text) {
    size_t at = 0;
    for (; *text != '\0'; text++) {
        uint8_t byte = (uint8_t)*text;
        to[at++] = '%';
        to[at++] = "0123456789ABCDEF"[byte >> 4];
        to[at++] = "0123456789abcdef"[byte & 15];
    }
    to[at] = '\0';
    return at;
}

static void write_again(const struct sqlite_url *url) {
    static char text[3 * FUZZ_LENGTH_MAX + 64];
    struct sqlite_url again;
    size_t at = strlen(strcpy(text, "sqlite:"));
    at += encode(text + at, url->path);
    strcpy(text + at, url->share ? "?share=1" : "?share=0");
    at += strlen(text + at);
    if (url->vfs != NULL) {
        strcpy(text + at, "&vfs=");
        at += strlen(text + at);
        at += encode(text + at, url->vfs);
    }
    MUST(cdtx__sqlite_url_read(fuzz_env(), text, &again, NULL) == 0);
    MUST(strcmp(again.path, url->path) == 0 && again.share == url->share);
    MUST((again.vfs == NULL) == (url->vfs == NULL));
    MUST(url->vfs == NULL || strcmp(again.vfs, url->vfs) == 0);
    cdtx__sqlite_url_free(fuzz_env(), &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct sqlite_url url = {0};
    cdtx_error err = {0};
    if (length >= FUZZ_LENGTH_MAX)
        return 0;
    const char *text = fuzz_edge_text(bytes, length);
    int32_t rc = cdtx__sqlite_url_read(fuzz_env(), text, &url, &err);
    fuzz_count(rc, CDTX_INVALID, &err);
    if (rc == 0) {
        MUST(strncmp(text, "sqlite:", 7) == 0);
        MUST(url.path[0] != '\0' && strcmp(url.path, ":memory:") != 0 && strncmp(url.path, "file:", 5) != 0);
        MUST(url.share == 0 || url.share == 1);
        MUST(url.vfs == NULL || url.vfs[0] != '\0');
        write_again(&url);
        cdtx__sqlite_url_free(fuzz_env(), &url);
    }
    fuzz_check_heap();
    return 0;
}
