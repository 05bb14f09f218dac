/* The environment as the rest of lib/ uses it: the only way to time, memory, waiting and identity. */
#ifndef CDTX_BASE_ENV_H
#define CDTX_BASE_ENV_H

#include <cdtx/port.h>

#include <stddef.h>
#include <string.h>

#include "base/error.h"

/* The operating system's environment (env_posix.c). */
const cdtx_env *cdtx__env_posix(void);

/* Zeroed memory, or NULL. */
static inline void *cdtx__alloc(const cdtx_env *env, size_t size) {
    void *block = env->memory(env->user, NULL, 0, size);
    if (block != NULL)
        memset(block, 0, size);
    return block;
}

static inline void *cdtx__realloc(const cdtx_env *env, void *block, size_t old_size, size_t new_size) {
    return env->memory(env->user, block, old_size, new_size);
}

static inline void cdtx__free(const cdtx_env *env, void *block, size_t size) {
    if (block != NULL)
        env->memory(env->user, block, size, 0);
}

static inline int64_t cdtx__now_us(const cdtx_env *env) {
    return env->monotonic_us(env->user);
}

static inline int64_t cdtx__wall_ms(const cdtx_env *env) {
    return env->wall_us(env->user) / 1000;
}

/* An environment of a program that was built before its optional last functions were there. */
#define ENV_SIZE_MIN offsetof(cdtx_env, zone)

/* The TZif file of a time zone as the environment has it; "UTC" in any environment. Errors: those of the environment's
 * function, each with its sentence, and UNSUPPORTED when it has none. */
int32_t cdtx__env_zone(const cdtx_env *env, const char *name, void *bytes, size_t room, size_t *length,
                       cdtx_error *err);

/* A copy of text with its NUL, freed by cdtx__free_text; NULL: no memory. */
char *cdtx__copy_text(const cdtx_env *env, const char *text);
void cdtx__free_text(const cdtx_env *env, char *text);

/* One line at a level of CDTX_LOG_*; dropped when the environment has no log. */
void cdtx__log(const cdtx_env *env, int32_t level, const char *format, ...) __attribute__((format(printf, 3, 4), cold));

/* A named point where a test build may fail, stop or switch to a known bug; nothing in other builds. FAILPOINT also
 * lets the simulator switch fibers, so it must not stand where a lock is held or SQLite is on the stack. MUTANT only
 * asks. */
#ifdef CDTX_FAILPOINTS
#define FAILPOINT(env, name) ((env)->failpoint != NULL && (env)->failpoint((env)->user, name) != 0)
#define MUTANT(env, name)    FAILPOINT(env, "mutant:" name)
#else
#define FAILPOINT(env, name) ((void)(env), 0)
#define MUTANT(env, name)    ((void)(env), 0)
#endif

#endif
