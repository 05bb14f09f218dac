#include "books.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "order_line.h"

enum { PATH_ROOM = 4096, LOCKED_TRIES_MS = 2000 };

struct books {
    sqlite3 *stock; /* with the orders attached as o, the log as l, and the chain's ledger as c */
    int chain;      /* is there one? */
};

static int32_t failed(const struct books *books, cdtx_error *err) {
    return say_no(err, CDTX_IO, "the tables cannot be read: %s", sqlite3_errmsg(books->stock));
}

/* Prepares with one text argument (may be NULL) and steps once; *row is 1 when there is a row. */
static int32_t first_row(struct books *books, const char *query, const char *text, sqlite3_stmt **statement, int *row,
                         cdtx_error *err) {
    int rc = sqlite3_prepare_v2(books->stock, query, -1, statement, NULL);
    if (rc == SQLITE_OK && text != NULL)
        rc = sqlite3_bind_text(*statement, 1, text, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(*statement);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : failed(books, err);
}

static int there(const char *folder, const char *file, char path[PATH_ROOM]) {
    (void)snprintf(path, PATH_ROOM, "%s/%s", folder, file);
    return access(path, F_OK) == 0;
}

/* The first number of a query's first row; 0 when there is none. */
static int32_t ask(struct books *books, const char *query, const char *text, int64_t *number, cdtx_error *err) {
    sqlite3_stmt *statement = NULL;
    int row = 0;
    int32_t rc = first_row(books, query, text, &statement, &row, err);
    if (rc == 0)
        *number = row ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return rc;
}

static int32_t attach(struct books *books, const char *folder, const char *file, const char *statement,
                      cdtx_error *err) {
    char path[PATH_ROOM];
    int64_t none;
    return there(folder, file, path) ? ask(books, statement, path, &none, err) : 0;
}

/* *ready: have all tables been made? That the chain has none yet is no harm. */
static int32_t attach_all(struct books *books, const char *folder, int *ready, cdtx_error *err) {
    char path[PATH_ROOM];
    int64_t tables = 0, chain = 0;
    int32_t rc = attach(books, folder, "orders.db", "ATTACH ? AS o", err);
    if (rc == 0)
        rc = attach(books, folder, "log.db", "ATTACH ? AS l", err);
    if (rc == 0)
        rc = attach(books, folder, "chain.db", "ATTACH ? AS c", err);
    if (rc == 0 && there(folder, "chain.db", path))
        rc = ask(books, "SELECT count(*) FROM c.sqlite_master WHERE name = 'token'", NULL, &chain, err);
    if (rc == 0)
        rc = ask(books,
                 "SELECT (SELECT count(*) FROM main.sqlite_master WHERE name IN ('stock', 'hold', 'delivery', "
                 "'give_back')) + (SELECT count(*) FROM o.sqlite_master WHERE name IN ('orders', 'payment'))",
                 NULL, &tables, err);
    books->chain = chain == 1;
    *ready = tables == 6;
    return rc;
}

int32_t books_open(const char *folder, struct books **books, cdtx_error *err) {
    char path[PATH_ROOM];
    struct books *made = NULL;
    int ready = 0;
    int32_t rc = 0;
    *books = NULL;
    if (!there(folder, "log.db", path) || !there(folder, "orders.db", path) || !there(folder, "stock.db", path))
        return 0;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return say_no(err, CDTX_NO_MEMORY, "no memory to read %s", path);
    if (sqlite3_open_v2(path, &made->stock, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_db_config(made->stock, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(made->stock, LOCKED_TRIES_MS) != SQLITE_OK)
        rc = failed(made, err);
    if (rc == 0)
        rc = attach_all(made, folder, &ready, err);
    if (rc == 0 && ready)
        *books = made;
    else
        books_close(made);
    return rc;
}

void books_close(struct books *books) {
    if (books == NULL)
        return;
    (void)sqlite3_close(books->stock);
    free(books);
}

/* Of all articles, for what they are about is in their payloads. State 3 is dead: given up, and kept for a person.
 * Deliveries of messages are jobs; the other "cdtx." ones are the library's own, and never done. */
#define JOBS                                                                                                           \
    "(SELECT handler, state, id FROM (SELECT * FROM main.cdtx_job UNION ALL SELECT * FROM o.cdtx_job "                 \
    "UNION ALL SELECT * FROM l.cdtx_job) WHERE handler NOT LIKE 'cdtx.%' OR handler LIKE 'cdtx.msg/%')"

static int32_t count_rest(struct books *books, const char *sku, struct balance *balance, cdtx_error *err) {
    int32_t rc = ask(books, "SELECT count(*) FROM " JOBS " WHERE state <> 3", NULL, &balance->jobs, err);
    if (rc == 0)
        rc = ask(books, "SELECT count(*) FROM " JOBS " WHERE state = 3", NULL, &balance->dead, err);
    if (rc == 0)
        rc = ask(books, "SELECT count(*) FROM main.give_back WHERE ?1 IS NULL OR sku = ?1", sku, &balance->given_back,
                 err);
    if (rc == 0 && books->chain)
        rc = ask(books, "SELECT count(*) FROM c.token WHERE ?1 IS NULL OR article = ?1", sku, &balance->tokens, err);
    return rc;
}

int32_t books_balance(struct books *books, const char *sku, struct balance *balance, cdtx_error *err) {
    static const char query[] =
        "WITH s AS (SELECT * FROM stock WHERE ?1 IS NULL OR sku = ?1), "
        "d AS (SELECT * FROM delivery WHERE ?1 IS NULL OR sku = ?1), "
        "b AS (SELECT * FROM o.orders WHERE ?1 IS NULL OR sku = ?1) "
        "SELECT (SELECT total(quantity) FROM d), (SELECT total(free) FROM s), (SELECT total(held) FROM s), "
        "(SELECT total(sold) FROM s), (SELECT count(*) FROM b WHERE state = 'NEW'), "
        "(SELECT count(*) FROM b WHERE state = 'CONFIRMED'), (SELECT count(*) FROM b WHERE state = 'CANCELLED'), "
        "(SELECT total(quantity) FROM b WHERE state = 'CONFIRMED'), (SELECT count(*) FROM b WHERE state = 'CLOSED')";
    sqlite3_stmt *statement = NULL;
    int row = 0;
    int32_t rc = first_row(books, query, sku, &statement, &row, err);
    if (rc == 0)
        *balance = (struct balance){.delivered = sqlite3_column_int64(statement, 0),
                                    .free = sqlite3_column_int64(statement, 1),
                                    .held = sqlite3_column_int64(statement, 2),
                                    .sold = sqlite3_column_int64(statement, 3),
                                    .fresh = sqlite3_column_int64(statement, 4),
                                    .confirmed = sqlite3_column_int64(statement, 5),
                                    .cancelled = sqlite3_column_int64(statement, 6),
                                    .confirmed_pieces = sqlite3_column_int64(statement, 7),
                                    .closed = sqlite3_column_int64(statement, 8)};
    (void)sqlite3_finalize(statement);
    return rc != 0 ? rc : count_rest(books, sku, balance, err);
}

/* Each says a sentence about something that must not be once all is quiet. */
static const char *const wrongs[] = {
    "SELECT printf('%s: free + held + sold are %d, but %d were delivered', sku, has, came) FROM (SELECT sku, "
    "free + held + sold AS has, (SELECT total(quantity) FROM delivery d WHERE d.sku = s.sku) AS came FROM stock s) "
    "WHERE has <> came",
    "SELECT printf('%s: a balance is below 0', sku) FROM stock WHERE min(free, held, sold) < 0",
    "SELECT printf('%s: %d are sold, but confirmed orders have %d', sku, sold, ordered) FROM (SELECT sku, sold, "
    "(SELECT total(quantity) FROM o.orders b WHERE b.sku = s.sku AND state = 'CONFIRMED') AS ordered FROM stock s) "
    "WHERE sold <> ordered",
    "SELECT sku || ' is not in stock' FROM o.orders WHERE state = 'CONFIRMED' AND sku NOT IN (SELECT sku FROM stock)",
    "SELECT printf('%s: %d are still held', sku, held) FROM stock WHERE held <> 0",
    "SELECT printf('%s: a hold of %d is left over from %s', sku, quantity, gid) FROM hold",
    "SELECT printf('%s: order %s is still NEW', sku, request_id) FROM o.orders WHERE state = 'NEW'",
    "SELECT printf('%s: order %s was paid, but it is %s', sku, request_id, state) FROM o.orders "
    "WHERE state <> 'CONFIRMED' AND request_id IN (SELECT request_id FROM o.payment)",
    "SELECT printf('%s: order %s is neither paid nor closed', sku, request_id) FROM o.orders "
    "WHERE state = 'CONFIRMED' AND to_pay AND request_id NOT IN (SELECT request_id FROM o.payment)",
    "SELECT printf('%s: order %s is closed, but its pieces came back %d times', sku, request_id, times) FROM "
    "(SELECT *, (SELECT count(*) FROM give_back g WHERE g.request_id = b.request_id AND g.sku = b.sku "
    "AND g.quantity = b.quantity) AS times FROM o.orders b WHERE state = 'CLOSED') WHERE times <> 1",
    "SELECT printf('%s: pieces of %s came back, but it is not closed', sku, request_id) FROM give_back "
    "WHERE request_id NOT IN (SELECT request_id FROM o.orders WHERE state = 'CLOSED')",
    "SELECT printf('%s no. %d is still to be done', handler, id) FROM " JOBS,
    "SELECT printf('a message is left in %s', topic) FROM o.cdtx_msg",
};

/* The same where there is a chain: what it minted, and for whom. */
static const char *const wrongs_of_chain[] = {
    "SELECT printf('%s: %d tokens were minted for order %s', article, count(*), order_id) FROM c.token "
    "GROUP BY order_id HAVING count(*) > 1",
    "SELECT printf('%s: a token was minted for %s, which is no confirmed order', article, order_id) FROM c.token t "
    "WHERE NOT EXISTS (SELECT 1 FROM o.orders WHERE request_id = t.order_id AND sku = t.article "
    "AND state = 'CONFIRMED')",
    "SELECT printf('%s: order %s is confirmed and has no token', sku, request_id) FROM o.orders "
    "WHERE state = 'CONFIRMED' AND sku IN (SELECT article FROM c.token) "
    "AND request_id NOT IN (SELECT order_id FROM c.token)",
    "SELECT printf('%s: order %s has %s written down, the chain has another', sku, request_id, "
    "coalesce(token, 'none')) FROM o.orders b WHERE token IS NOT (SELECT 'token-' || t.id FROM c.token t WHERE "
    "t.order_id = b.request_id)",
};

static int32_t check(struct books *books, const char *const *queries, size_t count, cdtx_error *err) {
    for (size_t i = 0; i < count; i++) {
        sqlite3_stmt *statement = NULL;
        int row = 0;
        int32_t rc = first_row(books, queries[i], NULL, &statement, &row, err);
        if (rc == 0 && row)
            rc = say_no(err, CDTX_REFUSED, "%s", (const char *)sqlite3_column_text(statement, 0));
        (void)sqlite3_finalize(statement);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int32_t books_check(struct books *books, cdtx_error *err) {
    int32_t rc = check(books, wrongs, sizeof wrongs / sizeof wrongs[0], err);
    if (rc == 0 && books->chain)
        rc = check(books, wrongs_of_chain, sizeof wrongs_of_chain / sizeof wrongs_of_chain[0], err);
    return rc;
}

int32_t books_confirmed(struct books *books, const char *request, int *confirmed, cdtx_error *err) {
    int64_t found = 0;
    int32_t rc =
        ask(books, "SELECT 1 FROM o.orders WHERE request_id = ? AND state = 'CONFIRMED'", request, &found, err);
    if (rc == 0)
        *confirmed = found == 1;
    return rc;
}

int32_t books_given_back(struct books *books, const char *request, int *given_back, cdtx_error *err) {
    int64_t found = 0;
    int32_t rc = ask(books, "SELECT count(*) FROM give_back WHERE request_id = ?", request, &found, err);
    if (rc == 0)
        *given_back = found > 0;
    return rc;
}

int32_t books_dead_job(struct books *books, const char *handler, int64_t *id, cdtx_error *err) {
    return ask(books, "SELECT min(id) FROM " JOBS " WHERE state = 3 AND handler = ?", handler, id, err);
}
