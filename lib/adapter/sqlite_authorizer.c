/* What a statement may do. The writing connection is shared by everybody's local transactions, so a statement of the
 * host's must not end a transaction, change settings, leave something behind on the connection, or touch cdtx_* tables.
 * SQLite asks while it compiles, so all answers are by the statement's meaning, never by its text. */
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "adapter/sqlite.h"

static const char prefix[] = "cdtx_";

enum { PREFIX = sizeof prefix - 1 };

static int is_ours(const char *name) {
    return name != NULL && strncasecmp(name, prefix, PREFIX) == 0;
}

int cdtx__sqlite_mentions_ours(const char *text) {
    while (*text != '\0' && !is_ours(text))
        text++;
    return *text != '\0';
}

__attribute__((format(printf, 2, 3))) static int refuse(struct sqlite *self, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(self->refusal, sizeof self->refusal, format, arguments);
    va_end(arguments);
    return SQLITE_DENY;
}

/* Pragmas that only read: those of the first list whatever their argument, those of the second without one. */
static int pragma_reads(const char *name, const char *value) {
    static const char *const about[] = {"table_info",       "table_xinfo",
                                        "table_list",       "index_list",
                                        "index_info",       "index_xinfo",
                                        "foreign_key_list", "foreign_key_check",
                                        "database_list",    "collation_list",
                                        "function_list",    "integrity_check",
                                        "quick_check",      NULL};
    static const char *const getters[] = {"user_version", "application_id", "schema_version",
                                          "data_version", "encoding",       "page_size",
                                          "page_count",   "freelist_count", NULL};
    for (const char *const *known = about; *known != NULL; known++)
        if (strcasecmp(name, *known) == 0)
            return 1;
    for (const char *const *known = getters; value == NULL && *known != NULL; known++)
        if (strcasecmp(name, *known) == 0)
            return 1;
    return 0;
}

static int on_write(struct sqlite *self, const char *table, const char *trigger) {
    /* Triggers that the library made may write our tables for anybody; the host's may not even for us. */
    if (!is_ours(table) || is_ours(trigger) || (self->ours && trigger == NULL))
        return SQLITE_OK;
    return refuse(self, "writing to table '%s' is not allowed: it is the library's own", table);
}

/* name is the object's own, of the table it stands on. */
static int on_schema(struct sqlite *self, const char *name, const char *table) {
    if (is_ours(name) || is_ours(table))
        return refuse(self, "changing '%s' is not allowed: names that start with cdtx_ are the library's own",
                      is_ours(name) ? name : table);
    return SQLITE_OK;
}

static int on_create(struct sqlite *self, const char *name, const char *table, const char *database) {
    if (database != NULL && strcasecmp(database, "temp") == 0)
        return refuse(self, "temporary '%s' is not allowed: it would stand before everybody's tables", name);
    return on_schema(self, name, table);
}

static int on_host(struct sqlite *self, int action, const char *first, const char *second, const char *database) {
    switch (action) {
    case SQLITE_TRANSACTION:
        return refuse(self, "%s is not allowed in a statement: the library begins and ends transactions", first);
    case SQLITE_SAVEPOINT:
        return refuse(self, "savepoints (%s) are not allowed in a statement", first);
    case SQLITE_ATTACH:
        return refuse(self, "ATTACH is not allowed: one database, one connection");
    case SQLITE_DETACH:
        return refuse(self, "DETACH is not allowed: one database, one connection");
    case SQLITE_PRAGMA:
        if (pragma_reads(first, second))
            return SQLITE_OK;
        return refuse(self, "PRAGMA %s is not allowed: settings are the library's", first);
    case SQLITE_FUNCTION:
        if (second == NULL || strcasecmp(second, "load_extension") != 0)
            return SQLITE_OK;
        return refuse(self, "load_extension is not allowed");
    case SQLITE_ALTER_TABLE:
        self->alters = 1; /* the new name is not told; the text is looked through */
        return on_schema(self, second, NULL);
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
        return on_create(self, first, second, database);
    case SQLITE_CREATE_VTABLE: /* second is the module */
        return on_create(self, first, NULL, database);
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_REINDEX:
        return on_schema(self, first, second);
    case SQLITE_DROP_VTABLE:
        return on_schema(self, first, NULL);
    default:
        return SQLITE_OK;
    }
}

int cdtx__sqlite_authorize(void *connection, int action, const char *first, const char *second, const char *database,
                           const char *trigger) {
    struct sqlite *self = connection;
    if (action == SQLITE_INSERT || action == SQLITE_UPDATE || action == SQLITE_DELETE)
        return on_write(self, first, trigger);
    return self->ours ? SQLITE_OK : on_host(self, action, first, second, database);
}
