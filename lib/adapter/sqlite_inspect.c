/* What a person should know of a connection: versions, settings, sizes, and on request the health of the file. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapter/sqlite.h"

enum { WAL_RESET_FIXED = 3051003, WAL_PAGES_MANY = 20000, FREE_PAGES_MANY = 10000 };

struct inspection {
    struct sqlite *self;
    cdtx_rows *rows;
    int32_t rc;
    cdtx_error *err;
};

__attribute__((format(printf, 5, 6))) static void say(struct inspection *in, const char *level, const char *check,
                                                      const char *advice, const char *format, ...) {
    char finding[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding, sizeof finding, format, arguments);
    va_end(arguments);
    if (in->rc != 0)
        return;
    cdtx_value row[] = {cdtx__sql_text(level), cdtx__sql_text(check), cdtx__sql_text(finding), cdtx__sql_text(advice)};
    in->rc = cdtx_rows_add(in->rows, row, 4, in->err);
}

/* The first column of a pragma's first row; "?" when it cannot be had. */
static void ask(struct inspection *in, const char *pragma, char *answer, size_t room) {
    sqlite3_stmt *statement = NULL;
    sqlite3_snprintf((int)room, answer, "?");
    in->self->ours = 1;
    if (sqlite3_prepare_v2(in->self->db, pragma, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        sqlite3_snprintf((int)room, answer, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
}

static int64_t ask_number(struct inspection *in, const char *pragma) {
    char answer[32];
    ask(in, pragma, answer, sizeof answer);
    return strtoll(answer, NULL, 10);
}

static void say_version(struct inspection *in) {
    int shared = in->self->ownership == CDTX_OWN_SHARED || in->self->ownership == CDTX_OWN_FIRST;
    if (shared && sqlite3_libversion_number() < WAL_RESET_FIXED)
        say(in, "note", "SQLite", "use SQLite 3.51.3 or later, or open the file from one process only",
            "version %s, and the file is shared: several writers can damage the log when it begins anew; only one of "
            "them checkpoints here, which makes it rare",
            sqlite3_libversion());
    else
        say(in, "ok", "SQLite", NULL, "version %s", sqlite3_libversion());
}

static void say_settings(struct inspection *in) {
    char mode[32], level[32];
    ask(in, "PRAGMA journal_mode", mode, sizeof mode);
    ask(in, "PRAGMA synchronous", level, sizeof level);
    int safe = sqlite3_stricmp(mode, "wal") == 0 && (in->self->url.read || strcmp(level, "2") == 0);
    say(in, safe ? "ok" : "problem", "settings", safe ? NULL : "commits are not safe here: reopen the database",
        "journal_mode %s, synchronous %s%s", mode, level, in->self->url.read ? ", reading only" : "");
    int used = 0, most = 0;
    (void)sqlite3_db_status(in->self->db, SQLITE_DBSTATUS_CACHE_USED, &used, &most, 0);
    say(in, "ok", "memory", NULL, "the page cache holds %d KiB", used / 1024);
}

static void say_sizes(struct inspection *in) {
    int64_t pages = ask_number(in, "PRAGMA page_count"), size = ask_number(in, "PRAGMA page_size");
    int64_t free_pages = ask_number(in, "PRAGMA freelist_count");
    int many = free_pages > FREE_PAGES_MANY && free_pages > pages / 2;
    say(in, many ? "note" : "ok", "file", many ? "VACUUM, while nobody has it open, would make it smaller" : NULL,
        "%lld KiB, of which %lld KiB are free", (long long)(pages * size / 1024),
        (long long)(free_pages * size / 1024));
    if (in->self->wal_pages > WAL_PAGES_MANY)
        say(in, "note", "log of writes", "look for a reader that stays in a transaction for long",
            "%lld pages wait in the -wal file: something keeps it from beginning anew", (long long)in->self->wal_pages);
}

static void say_health(struct inspection *in) {
    char answer[300];
    ask(in, "PRAGMA quick_check(1)", answer, sizeof answer);
    int whole = strcmp(answer, "ok") == 0;
    say(in, whole ? "ok" : "problem", "pages", whole ? NULL : "stop, copy the files, and restore a backup",
        whole ? "quick_check found nothing%s" : "quick_check: %s", whole ? "" : answer);
}

int32_t cdtx__sqlite_inspect(void *connection, uint32_t deep, cdtx_rows *rows, cdtx_error *err) {
    struct inspection in = {.self = connection, .rows = rows, .err = err};
    int32_t rc = cdtx__sqlite_stopped(in.self, err);
    if (rc != 0)
        return rc;
    say_version(&in);
    say_settings(&in);
    say_sizes(&in);
    if (deep)
        say_health(&in);
    return in.rc;
}
