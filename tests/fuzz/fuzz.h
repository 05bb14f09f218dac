/* What the fuzz targets share. Each is one function that libFuzzer calls, or plain.c with its own mutations; it aborts
 * when a property is broken. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <cdtx/test.h>

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_LENGTH_MAX = 1 << 16 };

/* libFuzzer's name for it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Inputs that were taken for valid and those that were not: a corpus without either tests little. */
extern uint64_t fuzz_accepted, fuzz_refused;

_Noreturn void fuzz_broken(const char *file, int line, const char *what);
#define MUST(condition) ((condition) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #condition))

/* A copy, at most FUZZ_LENGTH_MAX bytes, behind which the memory ends: who reads further dies. Lasts until the next. */
const uint8_t *fuzz_edge(const void *bytes, size_t length);
/* The same with a NUL at its end; what stands behind a NUL inside is not there. */
const char *fuzz_edge_text(const void *bytes, size_t length);
/* One environment for all inputs; its heap must be empty after each. */
const cdtx_env *fuzz_env(void);
void fuzz_check_heap(void);
/* Counts the input; a failure has that code and a sentence. */
void fuzz_count(int32_t rc, int32_t code, const cdtx_error *err);
/* The error says "at byte N", and with a total "at byte N of TOTAL"; N is at most length. Returns N. */
size_t fuzz_place(const cdtx_error *err, size_t length, int total);

#endif
