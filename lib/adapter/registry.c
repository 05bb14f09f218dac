/* The one file that names the built-in adapters. */
#include "adapter/sqlite.h"

static const cdtx_sql_port *const built_in[] = {&cdtx__sqlite_port};

enum { BUILT_IN = sizeof built_in / sizeof built_in[0] };

int cdtx__url_has_scheme(const char *url, const char *scheme) {
    size_t length = strlen(scheme);
    return length > 0 && strncmp(url, scheme, length) == 0 && url[length] == ':';
}

const cdtx_sql_port *cdtx__adapter_builtin(const char *url) {
    for (int i = 0; i < BUILT_IN; i++)
        if (cdtx__url_has_scheme(url, built_in[i]->scheme))
            return built_in[i];
    return NULL;
}

int32_t cdtx_has(const char *scheme) {
    if (scheme == NULL)
        return 0;
    for (int i = 0; i < BUILT_IN; i++)
        if (strcmp(scheme, built_in[i]->scheme) == 0)
            return 1;
    return 0;
}
