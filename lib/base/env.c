#include "base/env.h"

#include <stdarg.h>
#include <stdio.h>

char *cdtx__copy_text(const cdtx_env *env, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = cdtx__alloc(env, size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

void cdtx__free_text(const cdtx_env *env, char *text) {
    if (text != NULL)
        cdtx__free(env, text, strlen(text) + 1);
}

void cdtx__log(const cdtx_env *env, int32_t level, const char *format, ...) {
    if (env->log == NULL)
        return;
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    env->log(env->user, level, line);
}
