#include "books.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "order_line.h"

enum { PATH_ROOM = 4096, LOCKED_TRIES_MS = 2000 };

struct books {
    sqlite3 *stock; /* with the orders attached as o */
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

static int32_t attach(struct books *books, const char *folder, int *ready, cdtx_error *err) {
    sqlite3_stmt *statement = NULL;
    char path[PATH_ROOM];
    int row = 0;
    (void)snprintf(path, sizeof path, "%s/orders.db", folder);
    int32_t rc = first_row(books, "ATTACH ? AS o", path, &statement, &row, err);
    (void)sqlite3_finalize(statement);
    statement = NULL;
    if (rc == 0)
        rc = first_row(books,
                       "SELECT (SELECT count(*) FROM main.sqlite_master WHERE name IN ('stock', 'hold', 'delivery')) + "
                       "(SELECT count(*) FROM o.sqlite_master WHERE name = 'orders') = 4",
                       NULL, &statement, &row, err);
    if (rc == 0)
        *ready = sqlite3_column_int(statement, 0);
    (void)sqlite3_finalize(statement);
    return rc;
}

int32_t books_open(const char *folder, struct books **books, cdtx_error *err) {
    char path[PATH_ROOM];
    struct books *made = NULL;
    int ready = 0;
    int32_t rc = 0;
    *books = NULL;
    (void)snprintf(path, sizeof path, "%s/orders.db", folder);
    if (access(path, F_OK) != 0)
        return 0;
    (void)snprintf(path, sizeof path, "%s/stock.db", folder);
    if (access(path, F_OK) != 0)
        return 0;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return say_no(err, CDTX_NO_MEMORY, "no memory to read %s", path);
    if (sqlite3_open_v2(path, &made->stock, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_db_config(made->stock, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(made->stock, LOCKED_TRIES_MS) != SQLITE_OK)
        rc = failed(made, err);
    if (rc == 0)
        rc = attach(made, folder, &ready, err);
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

int32_t books_balance(struct books *books, const char *sku, struct balance *balance, cdtx_error *err) {
    static const char query[] =
        "WITH s AS (SELECT * FROM stock WHERE ?1 IS NULL OR sku = ?1), "
        "d AS (SELECT * FROM delivery WHERE ?1 IS NULL OR sku = ?1), "
        "b AS (SELECT * FROM o.orders WHERE ?1 IS NULL OR sku = ?1) "
        "SELECT (SELECT total(quantity) FROM d), (SELECT total(free) FROM s), (SELECT total(held) FROM s), "
        "(SELECT total(sold) FROM s), (SELECT count(*) FROM b WHERE state = 'NEW'), "
        "(SELECT count(*) FROM b WHERE state = 'CONFIRMED'), (SELECT count(*) FROM b WHERE state = 'CANCELLED'), "
        "(SELECT total(quantity) FROM b WHERE state = 'CONFIRMED')";
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
                                    .confirmed_pieces = sqlite3_column_int64(statement, 7)};
    (void)sqlite3_finalize(statement);
    return rc;
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
};

int32_t books_check(struct books *books, cdtx_error *err) {
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        sqlite3_stmt *statement = NULL;
        int row = 0;
        int32_t rc = first_row(books, wrongs[i], NULL, &statement, &row, err);
        if (rc == 0 && row)
            rc = say_no(err, CDTX_REFUSED, "%s", (const char *)sqlite3_column_text(statement, 0));
        (void)sqlite3_finalize(statement);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int32_t books_confirmed(struct books *books, const char *request, int *confirmed, cdtx_error *err) {
    static const char query[] = "SELECT 1 FROM o.orders WHERE request_id = ? AND state = 'CONFIRMED'";
    sqlite3_stmt *statement = NULL;
    int32_t rc = first_row(books, query, request, &statement, confirmed, err);
    (void)sqlite3_finalize(statement);
    return rc;
}
