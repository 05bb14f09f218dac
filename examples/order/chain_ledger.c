#include "chain_ledger.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "order_line.h"

enum { LOCKED_TRIES_MS = 10000 };

struct chain_ledger {
    sqlite3 *file;
};

static const char TABLES[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; "
    "CREATE TABLE IF NOT EXISTS token(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL, "
    "article TEXT NOT NULL, owner TEXT NOT NULL); "
    "CREATE TABLE IF NOT EXISTS arrival(id INTEGER PRIMARY KEY, key TEXT NOT NULL, mishap INTEGER NOT NULL, "
    "status INTEGER NOT NULL); "
    "CREATE TABLE IF NOT EXISTS script(id INTEGER PRIMARY KEY, mishap INTEGER NOT NULL); COMMIT";

static int32_t failed(const struct chain_ledger *ledger, cdtx_error *err) {
    return say_no(err, CDTX_IO, "the chain's ledger: %s", sqlite3_errmsg(ledger->file));
}

static int32_t run(struct chain_ledger *ledger, const char *statements, cdtx_error *err) {
    return sqlite3_exec(ledger->file, statements, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(ledger, err);
}

/* One statement with texts for its parameters (any may be NULL). *row is 1 when it answers a row, whose first two
 * numbers are then in numbers. */
static int32_t ask(struct chain_ledger *ledger, const char *query, const char *const *texts, int count, int *row,
                   int64_t numbers[2], cdtx_error *err) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(ledger->file, query, -1, &statement, NULL);
    for (int i = 0; rc == SQLITE_OK && i < count; i++)
        rc = sqlite3_bind_text(statement, i + 1, texts[i], -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    *row = rc == SQLITE_ROW;
    for (int i = 0; *row && i < 2; i++)
        numbers[i] = sqlite3_column_int64(statement, i);
    /* To its end: it may have more to write than it has answered. */
    while (rc == SQLITE_ROW)
        rc = sqlite3_step(statement);
    int32_t code = rc == SQLITE_DONE ? 0 : failed(ledger, err);
    (void)sqlite3_finalize(statement);
    return code;
}

int32_t chain_ledger_open(const char *path, struct chain_ledger **ledger, cdtx_error *err) {
    struct chain_ledger *made = calloc(1, sizeof *made);
    int32_t rc = 0;
    *ledger = NULL;
    if (made == NULL)
        return say_no(err, CDTX_NO_MEMORY, "no memory for the chain's ledger");
    if (sqlite3_open_v2(path, &made->file, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(made->file, LOCKED_TRIES_MS) != SQLITE_OK)
        rc = failed(made, err);
    if (rc == 0)
        rc = run(made, TABLES, err);
    if (rc == 0)
        *ledger = made;
    else
        chain_ledger_close(made);
    return rc;
}

void chain_ledger_close(struct chain_ledger *ledger) {
    if (ledger == NULL)
        return;
    (void)sqlite3_close(ledger->file);
    free(ledger);
}

/* Ends the transaction in which rc came about. */
static int32_t end(struct chain_ledger *ledger, int32_t rc, cdtx_error *err) {
    if (rc == 0)
        rc = run(ledger, "COMMIT", err);
    if (rc != 0)
        (void)sqlite3_exec(ledger->file, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int32_t meet_mishap(struct chain_ledger *ledger, struct chain_ruling *ruling, cdtx_error *err) {
    int64_t met[2] = {0, CHAIN_NONE};
    int row;
    int32_t rc = ask(ledger, "DELETE FROM script WHERE id = (SELECT min(id) FROM script) RETURNING id, mishap", NULL, 0,
                     &row, met, err);
    ruling->mishap = (enum chain_mishap)met[1];
    return rc;
}

static int32_t mint_token(struct chain_ledger *ledger, const struct chain_mint *mint, struct chain_ruling *ruling,
                          cdtx_error *err) {
    const char *const texts[] = {mint->key, mint->order, mint->article, mint->owner};
    int64_t token[2] = {0, 0};
    int minted = 0, found = 0;
    int32_t rc = ask(ledger,
                     "INSERT INTO token(key, order_id, article, owner) VALUES (?1, ?2, ?3, ?4) "
                     "ON CONFLICT(key) DO NOTHING RETURNING id, 1",
                     texts, 4, &minted, token, err);
    if (rc == 0 && !minted)
        rc = ask(ledger, "SELECT id, order_id = ?2 AND article = ?3 AND owner = ?4 FROM token WHERE key = ?1", texts, 4,
                 &found, token, err);
    if (rc != 0)
        return rc;
    ruling->status = minted ? 201 : found && token[1] ? 200 : 409;
    if (ruling->status != 409)
        (void)snprintf(ruling->token, sizeof ruling->token, "token-%" PRId64, token[0]);
    return 0;
}

static int32_t note_arrival(struct chain_ledger *ledger, const char *key, const struct chain_ruling *ruling,
                            cdtx_error *err) {
    char mishap[12], status[12];
    const char *const texts[] = {key, mishap, status};
    int64_t none[2];
    int row;
    (void)snprintf(mishap, sizeof mishap, "%d", (int)ruling->mishap);
    (void)snprintf(status, sizeof status, "%d", ruling->status);
    return ask(ledger, "INSERT INTO arrival(key, mishap, status) VALUES (?, ?, ?)", texts, 3, &row, none, err);
}

int32_t chain_ledger_mint(struct chain_ledger *ledger, const struct chain_mint *mint, struct chain_ruling *ruling,
                          cdtx_error *err) {
    *ruling = (struct chain_ruling){0};
    int32_t rc = run(ledger, "BEGIN IMMEDIATE", err);
    if (rc != 0)
        return rc;
    rc = meet_mishap(ledger, ruling, err);
    if (rc == 0 && ruling->mishap == CHAIN_BUSY)
        ruling->status = 503;
    else if (rc == 0 && ruling->mishap == CHAIN_REFUSES)
        ruling->status = 422;
    else if (rc == 0)
        rc = mint_token(ledger, mint, ruling, err);
    if (rc == 0)
        rc = note_arrival(ledger, mint->key, ruling, err);
    return end(ledger, rc, err);
}

int32_t chain_ledger_script(struct chain_ledger *ledger, const enum chain_mishap *mishaps, size_t count,
                            cdtx_error *err) {
    int32_t rc = run(ledger, "BEGIN IMMEDIATE", err);
    if (rc != 0)
        return rc;
    rc = run(ledger, "DELETE FROM script", err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char mishap[12];
        const char *const texts[] = {mishap};
        int64_t none[2];
        int row;
        (void)snprintf(mishap, sizeof mishap, "%d", (int)mishaps[i]);
        rc = ask(ledger, "INSERT INTO script(mishap) VALUES (?)", texts, 1, &row, none, err);
    }
    return end(ledger, rc, err);
}

static int32_t count_rows(struct chain_ledger *ledger, const char *query, const char *text, int64_t *count,
                          cdtx_error *err) {
    int64_t numbers[2] = {0, 0};
    int row;
    int32_t rc = ask(ledger, query, &text, 1, &row, numbers, err);
    *count = numbers[0];
    return rc;
}

int32_t chain_ledger_tokens(struct chain_ledger *ledger, const char *article, int64_t *count, cdtx_error *err) {
    return count_rows(ledger, "SELECT count(*) FROM token WHERE ?1 IS NULL OR article = ?1", article, count, err);
}

int32_t chain_ledger_requests(struct chain_ledger *ledger, const char *key, int64_t *count, cdtx_error *err) {
    return count_rows(ledger, "SELECT count(*) FROM arrival WHERE ?1 IS NULL OR key = ?1", key, count, err);
}
