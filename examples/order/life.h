/* A life: this program run again as a child process, to be killed. The kernel kills it too when its parent dies. What
 * the child prints reaches the parent line by line. */
#ifndef LIFE_H
#define LIFE_H

#include <sys/types.h>

#include <cdtx/cdtx.h>

struct life {
    pid_t pid;
    int from; /* its standard output */
};

/* Runs this program with "--life" and the arguments, a list that ends with NULL. */
int32_t life_start(struct life *life, const char *const *arguments, cdtx_error *err);
/* Waits for its first line, at most so long; the life must print one. */
int32_t life_hear(struct life *life, int timeout_ms, cdtx_error *err);
/* SIGKILL. rc is what came of the time before: when that went wrong already it is answered, and its *err stays. *words
 * (words may be NULL) gets all that it had printed and nobody had read, NUL-terminated, to be freed. Errors: MISUSE
 * (with its words) when it had ended before; NO_MEMORY. */
int32_t life_kill(struct life *life, int32_t rc, char **words, cdtx_error *err);

#endif
