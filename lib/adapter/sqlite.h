/* The SQLite adapter from the inside; README.md has the numbered promises. Used from one thread at a time. */
#ifndef CDTX_ADAPTER_SQLITE_H
#define CDTX_ADAPTER_SQLITE_H

#include <sqlite3.h>

#include "base/list.h"
#include "port/sql.h"

enum { SQLITE_RETRY_MS = 5, SQLITE_BUCKETS = 512 };

/* Statements that the adapter itself needs, prepared with the connection so that undoing never needs memory. */
enum sqlite_control {
    CONTROL_BEGIN,
    CONTROL_COMMIT,
    CONTROL_ROLLBACK,
    CONTROL_SAVEPOINT,
    CONTROL_RELEASE,
    CONTROL_UNDO,
    CONTROL_INNER_SAVEPOINT,
    CONTROL_INNER_RELEASE,
    CONTROL_INNER_UNDO,
    CONTROL_COUNT
};

struct sqlite_url {
    char *text; /* owns what path and vfs point into */
    size_t size;
    const char *path;
    const char *vfs; /* NULL: SQLite's default */
    int share;
    int read; /* never writes, whoever owns the file */
};

struct sqlite_statement;

struct sqlite {
    const cdtx_env *env;
    struct sqlite_url url;
    sqlite3_vfs *vfs;
    sqlite3 *db; /* NULL only after a failed own */
    int32_t ownership;
    int stopped;   /* a sync failed: everything but close answers STOPPED */
    int savepoint; /* open, if the transaction still is */

    sqlite3_file *owner; /* the lock that makes us a writer; NULL: none */
    const char *owner_name;
    uint32_t owner_tries;

    int ours;          /* the statement at work is the library's own */
    int alters;        /* ... is an ALTER TABLE */
    char refusal[192]; /* why the authorizer said no */

    int64_t wal_pages; /* in the log when we last committed */
    int64_t wal_done;  /* of those, already in the database file */
    int64_t tidied_us;

    sqlite3_stmt *control[CONTROL_COUNT];
    struct sqlite_statement *buckets[SQLITE_BUCKETS];
    struct list used; /* cached statements, least recently used first */
    uint32_t cached;
    cdtx_value *row;
    size_t row_room;
};

extern const cdtx_sql_port cdtx__sqlite_port;

/* sqlite_url.c */
int32_t cdtx__sqlite_url_read(const cdtx_env *env, const char *url, struct sqlite_url *out, cdtx_error *err);
void cdtx__sqlite_url_free(const cdtx_env *env, struct sqlite_url *url);

/* sqlite_error.c */
/* Fills err by the class of SQLite's result; a failed sync also stops the connection. */
int32_t cdtx__sqlite_fail(struct sqlite *self, int result, cdtx_error *err);
int32_t cdtx__sqlite_stopped(const struct sqlite *self, cdtx_error *err);

/* sqlite_connect.c */
/* Opens the file without reading it. */
int32_t cdtx__sqlite_connect(struct sqlite *self, cdtx_error *err);
/* Applies the settings and reads them back; as a writer, also the journal mode. */
int32_t cdtx__sqlite_settle(struct sqlite *self, int writer, cdtx_error *err);
void cdtx__sqlite_disconnect(struct sqlite *self);

/* sqlite_statement.c */
int cdtx__sqlite_prepare_controls(struct sqlite *self);
/* Runs one; SQLITE_OK or SQLite's error. */
int cdtx__sqlite_control(struct sqlite *self, enum sqlite_control which);
int cdtx__sqlite_in_transaction(const struct sqlite *self);
void cdtx__sqlite_roll_back(struct sqlite *self);
void cdtx__sqlite_forget_statements(struct sqlite *self);
int32_t cdtx__sqlite_exec(void *connection, uint32_t flags, const char *text, const cdtx_value *arguments,
                          uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err);

/* sqlite_authorizer.c */
int cdtx__sqlite_authorize(void *connection, int action, const char *first, const char *second, const char *database,
                           const char *trigger);
int cdtx__sqlite_mentions_ours(const char *text);

/* sqlite_owner.c */
int32_t cdtx__sqlite_own(void *connection, int32_t *ownership, cdtx_error *err);
void cdtx__sqlite_disown(struct sqlite *self);
/* One of several sharers: becomes the one that checkpoints, if nobody is. */
void cdtx__sqlite_promote(struct sqlite *self);

/* sqlite_inspect.c */
int32_t cdtx__sqlite_inspect(void *connection, uint32_t deep, cdtx_rows *rows, cdtx_error *err);

#endif
