/* The SQL port as our own code uses it: arguments as compound literals, and the list of adapters. */
#ifndef CDTX_PORT_SQL_H
#define CDTX_PORT_SQL_H

#include "port/rows.h"

#define SQL_INT(v) ((cdtx_value){.type = CDTX_INT, .integer = (v)})
#define SQL_NULL   ((cdtx_value){.type = CDTX_NULL})

static inline cdtx_value cdtx__sql_text(const char *text) {
    if (text == NULL)
        return SQL_NULL;
    return (cdtx_value){.type = CDTX_TEXT, .length = (uint32_t)strlen(text), .bytes = text};
}

static inline cdtx_value cdtx__sql_blob(const void *bytes, size_t length) {
    return (cdtx_value){.type = CDTX_BLOB, .length = (uint32_t)length, .bytes = bytes == NULL ? "" : bytes};
}

/* The built-in adapter for a URL's scheme, or NULL. Defined by the one file that names the adapters
 * (adapter/registry.c). */
const cdtx_sql_port *cdtx__adapter_builtin(const char *url);
/* Is url of that adapter's scheme? */
int cdtx__url_has_scheme(const char *url, const char *scheme);

#endif
