#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The URL's own parameters but `share`: a URL copied from the program's settings says it, and here it is the command
 * that decides. */
static void write_parameters(FILE *out, const char *from, char *before) {
    while (*from != '\0') {
        size_t length = strcspn(from, "&");
        if (strncmp(from, "share=", 6) != 0) {
            (void)fprintf(out, "%c%.*s", *before, (int)length, from);
            *before = '&';
        }
        from += length + (from[length] == '&');
    }
}

/* The URL with one more parameter; a plain path becomes one. */
static char *make_url(const char *text, const char *parameter) {
    size_t length = 0;
    char *url = NULL, before = '?';
    FILE *out = open_memstream(&url, &length);
    if (out == NULL)
        status_no_memory();
    if (text[0] == '/' || text[0] == '.') {
        (void)fputs("sqlite:", out);
        for (; *text != '\0'; text++)
            (void)fprintf(out, *text == '?' || *text == '%' ? "%%%02x" : "%c", (unsigned char)*text);
    } else {
        size_t plain = strcspn(text, "?");
        (void)fprintf(out, "%.*s", (int)plain, text);
        if (text[plain] == '?')
            write_parameters(out, text + plain + 1, &before);
    }
    (void)fprintf(out, "%c%s", before, parameter);
    if (fclose(out) != 0)
        status_no_memory();
    return url;
}

static int32_t open_engine(struct session *session, const char *log, const char *parameter, cdtx_error *err) {
    char *url = log == NULL ? NULL : make_url(log, parameter);
    /* Nothing here holds a database but questions: how long they take is no cause for an alarm. */
    cdtx_options options = {.size = sizeof options, .log = url, .passive = 1, .closure_ms = CDTX_TIME_MAX_MS};
    int32_t rc = cdtx_open(&options, &session->engine, err);
    free(url);
    if (rc != 0 || log == NULL)
        return rc;
    session->databases[session->count++].name = "log";
    return cdtx_db_log(session->engine, &session->databases[0].db, err);
}

static int32_t open_database(struct session *session, const char *name, const char *text, const char *parameter,
                             cdtx_error *err) {
    char *url = make_url(text, parameter);
    struct session_database *database = &session->databases[session->count];
    int32_t rc = cdtx_db_open(session->engine, name, url, &database->db, err);
    free(url);
    if (rc == 0) {
        database->name = name;
        session->count++;
    }
    return rc;
}

static enum status no_log(void) {
    return status_usage("no log: say --log URL, or set CDTX_LOG");
}

static enum status no_database(void) {
    return status_usage("no database: say --log URL or --db NAME=URL, or set CDTX_LOG");
}

enum status session_look(struct session *session, const struct options *options, int log_needed) {
    cdtx_error err;
    *session = (struct session){0};
    if (options->log == NULL && log_needed)
        return no_log();
    if (options->log == NULL && options->database_count == 0)
        return no_database();
    int32_t rc = open_engine(session, options->log, "read=1", &err);
    for (uint32_t i = 0; rc == 0 && i < options->database_count; i++)
        rc = open_database(session, options->databases[i].name, options->databases[i].url, "read=1", &err);
    return rc == 0 ? STATUS_DONE : status_failed(&err);
}

static const char *url_of(const struct options *options, const char *name) {
    if (strcmp(name, "log") == 0)
        return options->log;
    for (uint32_t i = 0; i < options->database_count; i++)
        if (strcmp(options->databases[i].name, name) == 0)
            return options->databases[i].url;
    return NULL;
}

enum status session_none(struct session *session) {
    cdtx_error err;
    *session = (struct session){0};
    return open_engine(session, NULL, NULL, &err) == 0 ? STATUS_DONE : status_failed(&err);
}

/* Opening for writing makes what is missing, and a wrong path must not leave an empty log behind. */
static int32_t check_there(const char *name, const char *url, cdtx_error *err) {
    struct session session = {0};
    int32_t rc = open_engine(&session, NULL, NULL, err);
    if (rc == 0)
        rc = open_database(&session, name, url, "read=1", err);
    session_close(&session);
    return rc;
}

static enum status not_opened(const cdtx_error *err) {
    enum status status = status_failed(err);
    if (status == STATUS_NOT_NOW)
        status_say("nothing was done: do it in the program that owns the file, let that program share it"
                   " (\"?share=1\" in its URL), or stop it first");
    return status;
}

enum status session_act(struct session *session, const struct options *options, const char *name) {
    cdtx_error err;
    int is_log = strcmp(name, "log") == 0;
    const char *url = url_of(options, name);
    *session = (struct session){0};
    if (name[0] == '\0')
        return no_database();
    if (url == NULL)
        return is_log ? no_log() : status_usage("no database is named '%s': say --db %s=URL", name, name);
    int32_t rc = check_there(name, url, &err);
    if (rc != 0)
        return status_failed(&err);
    rc = open_engine(session, is_log ? url : NULL, "share=1", &err);
    if (rc == 0 && !is_log)
        rc = open_database(session, name, url, "share=1", &err);
    return rc == 0 ? STATUS_DONE : not_opened(&err);
}

enum status session_act_on(struct session *session, const struct options *options, const char *const *names,
                           uint32_t count) {
    cdtx_error err;
    uint32_t opened = count > 0 && strcmp(names[0], "log") == 0;
    *session = (struct session){0};
    int32_t rc = open_engine(session, options->log, opened == 1 ? "share=1" : "read=1", &err);
    for (; rc == 0 && opened < count; opened++)
        rc = open_database(session, names[opened], url_of(options, names[opened]), "share=1", &err);
    return rc == 0 ? STATUS_DONE : not_opened(&err);
}

void session_close(struct session *session) {
    for (uint32_t i = 0; i < session->count; i++)
        cdtx_db_close(session->databases[i].db);
    cdtx_close(session->engine);
    *session = (struct session){0};
}

cdtx_db *session_find(const struct session *session, const char *name) {
    for (uint32_t i = 0; i < session->count; i++)
        if (strcmp(session->databases[i].name, name) == 0)
            return session->databases[i].db;
    return NULL;
}
