#include "which.h"

#include <stdio.h>
#include <string.h>

/* The only database that can be meant; NULL: several. "" when there is none at all. */
static const char *only(const struct options *options) {
    uint32_t count = options->database_count + (options->log != NULL);
    if (count == 0)
        return "";
    if (count > 1)
        return NULL;
    return options->log != NULL ? "log" : options->databases[0].name;
}

static enum status alone(const struct options *options, const char *word, const char *what, struct which *which) {
    const char *name = only(options);
    which->thing = word;
    if (name == NULL)
        return status_usage("%s '%s' may be in several databases: say NAME/%s, as 'cdtx %s list' shows it", what, word,
                            word, what);
    (void)snprintf(which->database, sizeof which->database, "%s", name);
    return STATUS_DONE;
}

static enum status split(const char *word, const char *slash, const char *form, struct which *which) {
    if ((size_t)(slash - word) >= sizeof which->database)
        return status_usage("'%s' is no %s", word, form);
    (void)snprintf(which->database, sizeof which->database, "%.*s", (int)(slash - word), word);
    which->thing = slash + 1;
    return STATUS_DONE;
}

enum status which_number(const struct options *options, const char *word, const char *what, struct which *which) {
    char names_it[64];
    const char *slash = strrchr(word, '/');
    enum status status = slash != NULL ? split(word, slash, "NAME/ID", which) : alone(options, word, what, which);
    (void)snprintf(names_it, sizeof names_it, "the %s's number", what);
    return status != STATUS_DONE ? status : options_number(which->thing, names_it, &which->id);
}

static int is_database(const struct options *options, const char *word, size_t length) {
    if (length == 3 && strncmp(word, "log", 3) == 0)
        return options->log != NULL;
    for (uint32_t i = 0; i < options->database_count; i++)
        if (strlen(options->databases[i].name) == length && strncmp(options->databases[i].name, word, length) == 0)
            return 1;
    return 0;
}

enum status which_handler(const struct options *options, const char *word, struct which *which) {
    const char *slash = strchr(word, '/');
    if (slash != NULL && is_database(options, word, (size_t)(slash - word)))
        return split(word, slash, "NAME/HANDLER", which);
    return alone(options, word, "handler", which);
}

enum status which_group(const struct options *options, const char *word, struct which_group *group) {
    static const char form[] = "TOPIC/GROUP or NAME/TOPIC/GROUP";
    struct which *which = &group->which;
    const char *slash = strchr(word, '/'), *last = strrchr(word, '/');
    if (slash == NULL)
        return status_usage("'%s' is no %s", word, form);
    enum status status = slash == last ? alone(options, word, "group", which) : split(word, slash, form, which);
    if (status != STATUS_DONE)
        return status;
    size_t length = (size_t)(last - which->thing);
    if (length >= sizeof group->topic || memchr(which->thing, '/', length) != NULL)
        return status_usage("'%s' is no %s", word, form);
    (void)snprintf(group->topic, sizeof group->topic, "%.*s", (int)length, which->thing);
    group->group = last + 1;
    return STATUS_DONE;
}

enum status which_find(const struct session *session, const struct which *which, cdtx_db **db) {
    *db = session_find(session, which->database);
    if (*db != NULL)
        return STATUS_DONE;
    if (strcmp(which->database, "log") == 0)
        return status_usage("no log: say --log URL, or set CDTX_LOG");
    return status_usage("no database is named '%s': say --db %s=URL", which->database, which->database);
}
