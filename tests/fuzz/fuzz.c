#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buf.h"

uint64_t fuzz_accepted, fuzz_refused;

_Noreturn void fuzz_broken(const char *file, int line, const char *what) {
    (void)fprintf(stderr, "%s:%d: broken: %s\n", file, line, what);
    abort();
}

static uint8_t *edge(void) {
    static uint8_t *end;
    enum { GUARD = 1 << 16, ROOM = FUZZ_LENGTH_MAX + 4096 };
    if (end != NULL)
        return end;
    uint8_t *start = mmap(NULL, ROOM + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + ROOM, GUARD, PROT_NONE) != 0)
        abort();
    return end = start + ROOM;
}

const uint8_t *fuzz_edge(const void *bytes, size_t length) {
    MUST(length <= FUZZ_LENGTH_MAX);
    uint8_t *copy = edge() - length;
    if (length > 0)
        memcpy(copy, bytes, length);
    return copy;
}

const char *fuzz_edge_text(const void *bytes, size_t length) {
    length = length == 0 ? 0 : strnlen(bytes, length);
    uint8_t *copy = edge() - length - 1;
    if (length > 0)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    return (const char *)copy;
}

static cdtx_test_env *heap(void) {
    static cdtx_test_env *env;
    if (env == NULL && cdtx_test_env_new(&env, NULL) != 0)
        abort();
    return env;
}

const cdtx_env *fuzz_env(void) {
    return cdtx_test_env_port(heap());
}

void fuzz_check_heap(void) {
    MUST(cdtx_test_env_bytes(heap()) == 0);
}

void fuzz_count(int32_t rc, int32_t code, const cdtx_error *err) {
    if (rc == 0) {
        fuzz_accepted++;
        return;
    }
    fuzz_refused++;
    MUST(rc == code);
    MUST(err->code == code);
    MUST(memchr(err->text, '\0', sizeof err->text) != NULL);
    MUST(cdtx__check_text(err->text, sizeof err->text, "the sentence", NULL) == 0);
}

size_t fuzz_place(const cdtx_error *err, size_t length, int total) {
    const char *at = strstr(err->text, "at byte ");
    size_t place = 0, of = length;
    int end = 0;
    MUST(at != NULL && sscanf(at, "at byte %zu%n", &place, &end) == 1);
    if (total)
        MUST(sscanf(at + end, " of %zu", &of) == 1);
    MUST(place <= length && of == length);
    return place;
}
