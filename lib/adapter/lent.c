/* The SQL port over a connection that the host has open and speaks for (cdtx_host_port). */
#include <math.h>

#include "adapter/lent.h"

enum { RETRY_MS = 5, TEXT_MAX = 64 << 20 };

struct lent {
    const cdtx_env *env;
    const cdtx_host_port *host;
    void *theirs;
    const char *name;
    int borrowed;     /* the transaction is the host's */
    int checked;      /* own has seen its settings */
    int begun;        /* our own transaction is open, if the host still says so */
    int over;         /* the transaction has ended by an error, whatever the host says */
    int savepoint;    /* open, if the transaction still is */
    int lost;         /* the connection, or the outcome of a commit: everything but close answers STOPPED */
    struct buf text;  /* a rewritten statement */
    struct buf order; /* of uint32_t */
    struct buf values;
};

/* ---- what the host answers ---- */

static void roll_back(struct lent *self);

static int32_t lost(struct lent *self, const cdtx_error *why, cdtx_error *err) {
    self->lost = 1;
    return cdtx__fail(err, CDTX_IO, "database '%s': its lent connection is lost: %.300s", self->name, why->text);
}

/* The classes that a host may answer; a transaction that one of them ends is over for us whatever the host says. */
static int32_t classify(struct lent *self, int32_t rc, cdtx_error *why, cdtx_error *err) {
    if (why->code != rc || why->text[0] == '\0')
        cdtx__fail(why, rc, "database '%s': the host's exec answered %s (%d) without a sentence", self->name,
                   cdtx_code_name(rc), rc);
    why->text[sizeof why->text - 1] = '\0';
    switch (rc) {
    case CDTX_SQL:
    case CDTX_IO:
    case CDTX_NO_MEMORY:
    case CDTX_CORRUPT:
    case CDTX_LIMIT:
    case CDTX_INVALID:
        break;
    case CDTX_BUSY:
        if (why->retry_after_ms <= 0)
            why->retry_after_ms = RETRY_MS;
        break;
    case CDTX_CONFLICT:
        self->over = 1;
        break;
    case CDTX_UNKNOWN:
        return lost(self, why, err);
    default:
        self->over = 1;
        return cdtx__fail(err, CDTX_IO, "database '%s': the host's exec answered %s (%d), which says nothing: %.200s",
                          self->name, cdtx_code_name(rc), rc, why->text);
    }
    if (err != NULL)
        *err = *why;
    return rc;
}

static int32_t call(struct lent *self, const char *statement, const cdtx_value *values, uint32_t count, cdtx_rows *rows,
                    int64_t *changes, cdtx_error *err) {
    cdtx_error why = {0};
    int64_t changed = 0;
    int32_t rc = self->host->exec(self->host->user, self->theirs, statement, values, count, rows, &changed, &why);
    if (rc != 0)
        return classify(self, rc, &why, err);
    if (changes != NULL)
        *changes = changed > 0 ? changed : 0;
    return 0;
}

/* One of our own controls. */
static int32_t control(struct lent *self, const char *statement, cdtx_error *err) {
    return call(self, statement, NULL, 0, NULL, NULL, err);
}

static int open_at_host(const struct lent *self) {
    return self->host->in_transaction(self->host->user, self->theirs) != 0;
}

static int in_open(const struct lent *self) {
    return !self->lost && !self->over && (self->borrowed || self->begun) && open_at_host(self);
}

static int32_t stopped(const struct lent *self, cdtx_error *err) {
    if (!self->lost)
        return 0;
    return cdtx__fail(err, CDTX_STOPPED, "database '%s': its lent connection is lost; lend a new one", self->name);
}

static int32_t needs_transaction(struct lent *self, cdtx_error *err) {
    int32_t rc = stopped(self, err);
    if (rc == 0 && !in_open(self))
        rc = cdtx__fail(err, CDTX_MISUSE, "no transaction is open in database '%s'", self->name);
    return rc;
}

/* ---- opening, owning, closing ---- */

static int32_t open_url(const cdtx_env *env, const char *url, void **connection, cdtx_error *err) {
    (void)env;
    (void)connection;
    return cdtx__fail(err, CDTX_UNSUPPORTED, "'%.200s': a lent connection has no URL", url);
}

static void close_connection(void *connection) {
    struct lent *self = connection;
    roll_back(self);
    cdtx__buf_free(&self->text);
    cdtx__buf_free(&self->order);
    cdtx__buf_free(&self->values);
    cdtx__free(self->env, self, sizeof *self);
}

static int32_t read_pragma(struct lent *self, const char *statement, cdtx_rows *rows, cdtx_error *err) {
    cdtx__rows_reset(rows);
    int32_t rc = call(self, statement, NULL, 0, rows, NULL, err);
    if (rc == 0 && rows->count != 1)
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "database '%s': %s gave %u rows on the lent connection", self->name,
                        statement, rows->count);
    return rc;
}

static int32_t check_settings(struct lent *self, cdtx_rows *rows, cdtx_error *err) {
    static const char *const unsafe[] = {"off", "memory"};
    int32_t rc = read_pragma(self, "PRAGMA synchronous", rows, err);
    if (rc == 0 && cdtx__rows_int(rows, 0, 0) < 2)
        rc = cdtx__fail(err, CDTX_UNSUPPORTED,
                        "database '%s': the lent connection has PRAGMA synchronous = %lld, which can lose commits at a "
                        "power cut: set PRAGMA synchronous = FULL on it",
                        self->name, (long long)cdtx__rows_int(rows, 0, 0));
    if (rc == 0)
        rc = read_pragma(self, "PRAGMA journal_mode", rows, err);
    const cdtx_value *mode = rc == 0 ? cdtx__rows_at(rows, 0, 0) : NULL;
    for (size_t i = 0; rc == 0 && i < sizeof unsafe / sizeof unsafe[0]; i++)
        if (mode->type != CDTX_TEXT || strcmp(mode->bytes, unsafe[i]) == 0)
            rc = cdtx__fail(err, CDTX_UNSUPPORTED,
                            "database '%s': the lent connection has PRAGMA journal_mode = %.20s, which cannot undo a "
                            "half commit: set PRAGMA journal_mode = WAL on it",
                            self->name, mode->type == CDTX_TEXT ? (const char *)mode->bytes : "?");
    return rc;
}

static int32_t own(void *connection, int32_t *ownership, cdtx_error *err) {
    struct lent *self = connection;
    cdtx_rows rows;
    int32_t rc = stopped(self, err);
    if (rc != 0)
        return rc;
    cdtx__rows_init(&rows, self->env, 4096);
    rc = check_settings(self, &rows, err);
    cdtx__rows_free(&rows);
    if (rc != 0)
        return rc;
    self->checked = 1;
    *ownership = CDTX_OWN_SHARED;
    return 0;
}

int32_t cdtx__lent_open(const cdtx_env *env, const cdtx_host_port *host, void *theirs, int borrowed, const char *name,
                        void **connection, cdtx_error *err) {
    struct lent *self = cdtx__alloc(env, sizeof *self);
    if (self == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "database '%s': no memory for a lent connection", name);
    *self = (struct lent){.env = env, .host = host, .theirs = theirs, .name = name, .borrowed = borrowed};
    cdtx__buf_init(&self->text, env, TEXT_MAX);
    cdtx__buf_init(&self->order, env, TEXT_MAX);
    cdtx__buf_init(&self->values, env, TEXT_MAX);
    *connection = self;
    return 0;
}

/* ---- transactions ---- */

static int32_t begin(void *connection, cdtx_error *err) {
    struct lent *self = connection;
    int32_t rc = stopped(self, err);
    if (rc != 0)
        return rc;
    if (!self->checked || self->borrowed)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s': this lent connection is not for transactions of ours",
                          self->name);
    if (in_open(self))
        return cdtx__fail(err, CDTX_MISUSE, "a transaction is open in database '%s' already", self->name);
    self->begun = self->savepoint = self->over = 0;
    if (open_at_host(self)) /* a handler's own, on its way to its end */
        return cdtx__busy(err, RETRY_MS, "database '%s': the host has a transaction open on the lent connection",
                          self->name);
    rc = control(self, "BEGIN IMMEDIATE", err);
    self->begun = 1;
    if (rc == 0 && !in_open(self))
        rc = cdtx__fail(err, CDTX_IO, "database '%s': the host says that no transaction is open after BEGIN",
                        self->name);
    if (rc != 0)
        roll_back(self);
    return rc;
}

static int32_t in_transaction(void *connection) {
    return in_open(connection);
}

static int32_t needs_savepoint(struct lent *self, cdtx_error *err) {
    int32_t rc = needs_transaction(self, err);
    if (rc == 0 && !self->savepoint)
        rc = cdtx__fail(err, CDTX_MISUSE, "no savepoint is open in database '%s'", self->name);
    return rc;
}

static int32_t savepoint(void *connection, cdtx_error *err) {
    struct lent *self = connection;
    int32_t rc = needs_transaction(self, err);
    if (rc != 0)
        return rc;
    if (self->savepoint)
        return cdtx__fail(err, CDTX_MISUSE, "a savepoint is open in database '%s' already", self->name);
    rc = control(self, "SAVEPOINT cdtx", err);
    self->savepoint = rc == 0;
    return rc;
}

static int32_t release(void *connection, cdtx_error *err) {
    struct lent *self = connection;
    int32_t rc = needs_savepoint(self, err);
    if (rc != 0)
        return rc;
    rc = control(self, "RELEASE cdtx", err);
    self->savepoint = rc != 0;
    return rc;
}

static int32_t undo(void *connection, cdtx_error *err) {
    struct lent *self = connection;
    int32_t rc = needs_savepoint(self, err);
    if (rc != 0)
        return rc;
    rc = control(self, "ROLLBACK TO cdtx", err);
    if (rc != 0)
        roll_back(self); /* half undone must not be committed */
    return rc;
}

/* A transaction of ours that cannot be ended must not be followed by another. The host's own is only given up. */
static void roll_back(struct lent *self) {
    self->over = 1;
    if (self->borrowed || !self->begun || self->lost)
        return;
    self->begun = 0;
    if (!open_at_host(self))
        return;
    control(self, "ROLLBACK", NULL);
    if (open_at_host(self))
        self->lost = 1;
}

static void rollback(void *connection) {
    roll_back(connection);
}

/* Only the classes that say that the database itself refused are a definite no; whatever failed on the way may have
 * failed behind the commit. */
static int is_definite(int32_t rc) {
    return rc == CDTX_SQL || rc == CDTX_CONFLICT || rc == CDTX_BUSY;
}

static int32_t commit(void *connection, cdtx_error *err) {
    struct lent *self = connection;
    int32_t rc = needs_transaction(self, err);
    if (rc != 0)
        return rc;
    if (self->borrowed)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s': a lent transaction is committed by the host", self->name);
    cdtx_error why = {0};
    rc = control(self, "COMMIT", &why);
    if (rc == 0 && !open_at_host(self)) {
        self->begun = 0;
        return 0;
    }
    if (rc == 0)
        cdtx__fail(&why, CDTX_UNKNOWN, "the host says that the transaction is still open");
    if (is_definite(rc)) {
        roll_back(self);
        if (err != NULL)
            *err = why;
        return rc;
    }
    roll_back(self);
    self->lost = 1;
    return cdtx__fail(err, CDTX_UNKNOWN, "a commit to database '%s' on its lent connection may have happened: %.300s",
                      self->name, why.text);
}

/* After a failed sync the page cache may show what the disk never got (README, N7). Here the log cannot be written over
 * itself, for the host has it open; so all of it goes into the database file, with a sync of that, and begins anew. */
static int32_t tidy(void *connection, cdtx_error *err) {
    struct lent *self = connection;
    cdtx_rows rows;
    int32_t rc = stopped(self, err);
    if (rc != 0)
        return rc;
    cdtx__rows_init(&rows, self->env, 4096);
    rc = read_pragma(self, "PRAGMA wal_checkpoint(TRUNCATE)", &rows, err);
    if (rc == 0 && cdtx__rows_int(&rows, 0, 0) != 0)
        rc = cdtx__busy(err, RETRY_MS, "database '%s': another connection is at work, so its log cannot begin anew",
                        self->name);
    cdtx__rows_free(&rows);
    return rc;
}

static int32_t inspect(void *connection, uint32_t deep, cdtx_rows *rows, cdtx_error *err) {
    struct lent *self = connection;
    cdtx_rows pragmas;
    cdtx_error why = {0};
    (void)deep; /* a whole file is read by whoever has it open */
    cdtx__rows_init(&pragmas, self->env, 4096);
    int32_t rc = check_settings(self, &pragmas, &why);
    cdtx__rows_free(&pragmas);
    cdtx_value row[] = {cdtx__sql_text(rc == 0 ? "ok" : "problem"), cdtx__sql_text("settings"),
                        cdtx__sql_text(rc == 0 ? "commits on the lent connection are safe at a power cut" : why.text),
                        SQL_NULL};
    return cdtx_rows_add(rows, row, 4, err);
}

/* ---- statements ---- */

static int32_t check_values(const struct lent_statement *statement, const cdtx_value *values, uint32_t count,
                            cdtx_error *err) {
    if (statement->arguments != count)
        return cdtx__fail(err, CDTX_INVALID, "the statement wants %u arguments and got %u", statement->arguments,
                          count);
    for (uint32_t i = 0; i < count; i++) {
        if (values[i].type < CDTX_NULL || values[i].type > CDTX_BLOB)
            return cdtx__fail(err, CDTX_INVALID, "argument %u has the unknown type %d", i + 1, values[i].type);
        if (values[i].type == CDTX_REAL && isnan(values[i].real)) /* SQLite would store NULL */
            return cdtx__fail(err, CDTX_INVALID, "argument %u is not a number (NaN)", i + 1);
    }
    return 0;
}

/* In the host's style; with numbers the values stay as they are, else one comes for each mark. */
static int32_t run_rewritten(struct lent *self, const struct lent_statement *statement, const cdtx_value *values,
                             uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    int32_t style = self->host->parameters;
    if (cdtx__lent_fits(statement, style))
        return call(self, statement->text, values, count, rows, changes, err);
    uint32_t none = 0;
    self->text.length = self->order.length = self->values.length = 0;
    self->text.failed = self->order.failed = self->values.failed = 0;
    for (uint32_t i = 0; i < statement->marks; i++)
        cdtx__buf_bytes(&self->order, &none, sizeof none);
    if (self->order.failed == 0)
        cdtx__lent_rewrite(statement, style, &self->text, (uint32_t *)(void *)self->order.bytes);
    const uint32_t *order = (const uint32_t *)(void *)self->order.bytes;
    int each = style == CDTX_PARAMETERS_QUESTION || style == CDTX_PARAMETERS_FORMAT;
    for (uint32_t i = 0; each && self->order.failed == 0 && i < statement->marks; i++)
        cdtx__buf_bytes(&self->values, &values[order[i]], sizeof values[0]);
    if (self->text.failed != 0 || self->order.failed != 0 || self->values.failed != 0)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory to rewrite a statement for the host's connection");
    if (each) {
        values = (const cdtx_value *)(void *)self->values.bytes;
        count = statement->marks;
    }
    return call(self, (const char *)self->text.bytes, values, count, rows, changes, err);
}

/* A write that returns rows has made its changes before its first row; if there is no room for them, "it did not
 * happen" needs a savepoint of its own. */
static int32_t run_guarded(struct lent *self, const struct lent_statement *statement, const cdtx_value *values,
                           uint32_t count, cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    int32_t rc = control(self, "SAVEPOINT cdtx_statement", err);
    if (rc != 0)
        return rc;
    rc = run_rewritten(self, statement, values, count, rows, changes, err);
    if (!in_open(self))
        return rc;
    int32_t ended = rc == 0 ? 0 : control(self, "ROLLBACK TO cdtx_statement", NULL);
    if (ended == 0)
        ended = control(self, "RELEASE cdtx_statement", rc == 0 ? err : NULL);
    if (ended != 0)
        roll_back(self);
    return rc != 0 ? rc : ended;
}

static int32_t exec(void *connection, uint32_t flags, const char *text, const cdtx_value *values, uint32_t count,
                    cdtx_rows *rows, int64_t *changes, cdtx_error *err) {
    struct lent *self = connection;
    struct lent_statement statement;
    int32_t rc = stopped(self, err);
    if (rc == 0)
        rc = cdtx__lent_read(text, (flags & CDTX_SQL_OURS) != 0, &statement, err);
    if (rc == 0)
        rc = check_values(&statement, values, count, err);
    if (rc == 0 && !statement.reads && !in_open(self))
        rc = cdtx__fail(err, CDTX_MISUSE, "a statement that writes needs an open transaction");
    if (rc != 0)
        return rc;
    int64_t changed = 0;
    if (rows != NULL && !statement.reads)
        rc = run_guarded(self, &statement, values, count, rows, &changed, err);
    else
        rc = run_rewritten(self, &statement, values, count, rows, &changed, err);
    /* A host's transaction is not ours to end, but nothing more may be written in it by us. */
    if (rc != 0 && self->over)
        roll_back(self);
    if (rc == 0 && changes != NULL)
        *changes = statement.counts ? changed : 0;
    return rc;
}

static const cdtx_sql_port lent_port = {
    .size = sizeof lent_port,
    .scheme = "lent",
    .open = open_url,
    .close = close_connection,
    .own = own,
    .begin = begin,
    .exec = exec,
    .in_transaction = in_transaction,
    .savepoint = savepoint,
    .release = release,
    .undo = undo,
    .commit = commit,
    .rollback = rollback,
    .tidy = tidy,
    .inspect = inspect,
};

const cdtx_sql_port *cdtx__adapter_lent(void) {
    return &lent_port;
}
