/* sqlite:PATH[?share=0|1][&read=0|1][&vfs=NAME], PATH and NAME percent-decoded. */
#include "adapter/sqlite.h"

static int hex(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* In place; 0 when a % is not followed by two digits, or they are a NUL. */
static int decode(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; from++, to++) {
        *to = *from;
        if (*from != '%')
            continue;
        int high = hex(from[1]);
        int low = high < 0 ? -1 : hex(from[2]);
        if (low < 0 || high * 16 + low == 0)
            return 0;
        *to = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
    return 1;
}

static int32_t read_parameter(struct sqlite_url *out, char *name, cdtx_error *err) {
    char *value = strchr(name, '=');
    if (value != NULL)
        *value++ = '\0';
    int *flag = strcmp(name, "share") == 0 ? &out->share : strcmp(name, "read") == 0 ? &out->read : NULL;
    if (flag == NULL && strcmp(name, "vfs") != 0)
        return cdtx__fail(err, CDTX_INVALID, "unknown parameter '%s' in a sqlite: URL (known: read, share, vfs)", name);
    if (value == NULL || !decode(value) || value[0] == '\0')
        return cdtx__fail(err, CDTX_INVALID, "parameter '%s' of a sqlite: URL needs a value", name);
    if (flag == NULL) {
        out->vfs = value;
        return 0;
    }
    if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
        return cdtx__fail(err, CDTX_INVALID, "%s=%s in a sqlite: URL (known: 0, 1)", name, value);
    *flag = value[0] == '1';
    return 0;
}

static int32_t read_path(struct sqlite_url *out, cdtx_error *err) {
    if (!decode(out->text))
        return cdtx__fail(err, CDTX_INVALID, "a %% in the path of a sqlite: URL needs two hex digits other than 00");
    out->path = out->text;
    if (out->path[0] == '\0' || strcmp(out->path, ":memory:") == 0)
        return cdtx__fail(err, CDTX_INVALID, "a sqlite: URL needs the path of a file; '%s' is not durable", out->path);
    /* A host may have switched SQLite's own URLs on for the process; their parameters can switch durability off. */
    if (strncmp(out->path, "file:", 5) == 0)
        return cdtx__fail(err, CDTX_INVALID, "write './%s' for a path that starts with 'file:'", out->path);
    return 0;
}

int32_t cdtx__sqlite_url_read(const cdtx_env *env, const char *url, struct sqlite_url *out, cdtx_error *err) {
    const char *scheme = cdtx__sqlite_port.scheme;
    if (!cdtx__url_has_scheme(url, scheme))
        return cdtx__fail(err, CDTX_INVALID, "'%s' is no %s: URL", url, scheme);
    const char *rest = url + strlen(scheme) + 1;
    *out = (struct sqlite_url){.size = strlen(rest) + 1};
    out->text = cdtx__alloc(env, out->size);
    if (out->text == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the URL of a database");
    memcpy(out->text, rest, out->size);
    char *parameter = strchr(out->text, '?');
    if (parameter != NULL)
        *parameter++ = '\0';
    int32_t rc = read_path(out, err);
    while (rc == 0 && parameter != NULL) {
        char *next = strchr(parameter, '&');
        if (next != NULL)
            *next++ = '\0';
        rc = read_parameter(out, parameter, err);
        parameter = next;
    }
    if (rc == 0 && out->share && out->read)
        rc = cdtx__fail(err, CDTX_INVALID, "share=1 and read=1 in a sqlite: URL: who only reads takes no turns");
    if (rc != 0)
        cdtx__sqlite_url_free(env, out);
    return rc;
}

void cdtx__sqlite_url_free(const cdtx_env *env, struct sqlite_url *url) {
    cdtx__free(env, url->text, url->size);
    *url = (struct sqlite_url){0};
}
