#include "base/env.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/name.h"

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

/* A version 1 file with one type of local time: offset 0, no daylight saving time, called "UTC". */
static const uint8_t utc_file[44 + 6 + 4] = {'T', 'Z', 'i', 'f', [39] = 1, [43] = 4, [50] = 'U', 'T', 'C', 0};

static int32_t copy_utc(void *bytes, size_t room, size_t *length) {
    if (room < sizeof utc_file)
        return CDTX_LIMIT;
    memcpy(bytes, utc_file, sizeof utc_file);
    *length = sizeof utc_file;
    return 0;
}

static int32_t explain_zone(int32_t code, const char *name, size_t room, cdtx_error *err) {
    switch (code) {
    case 0:
        return 0;
    case CDTX_INVALID:
        return cdtx__fail(err, code, "'%.128s' is no name of a time zone", name);
    case CDTX_NOT_FOUND:
        return cdtx__fail(err, code, "there is no time zone '%.128s' here", name);
    case CDTX_LIMIT:
        return cdtx__fail(err, code, "the file of time zone '%.128s' is larger than %zu bytes", name, room);
    default:
        return cdtx__fail(err, code, "the file of time zone '%.128s' cannot be read", name);
    }
}

int32_t cdtx__env_zone(const cdtx_env *env, const char *name, void *bytes, size_t room, size_t *length,
                       cdtx_error *err) {
    *length = 0;
    int32_t rc = cdtx__check_name(name, "the time zone", err);
    if (rc != 0)
        return rc;
    if (strcmp(name, "UTC") == 0)
        return explain_zone(copy_utc(bytes, room, length), name, room, err);
    if (env->size <= ENV_SIZE_MIN || env->zone == NULL)
        return cdtx__fail(err, CDTX_UNSUPPORTED, "the environment knows no time zone but UTC, so not '%s'", name);
    rc = explain_zone(env->zone(env->user, name, bytes, room, length), name, room, err);
    INVARIANT(rc != 0 || *length <= room);
    return rc;
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
