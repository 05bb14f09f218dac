#include "bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* Business rows as in examples/order, without what only people need. */
static const char *const order_tables[] = {
    "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, sku INTEGER NOT NULL, quantity INTEGER NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('NEW', 'CONFIRMED', 'CANCELLED')))",
    NULL,
};
static const char *const stock_tables[] = {
    "CREATE TABLE IF NOT EXISTS stock (sku INTEGER PRIMARY KEY, free INTEGER NOT NULL CHECK (free >= 0),"
    " held INTEGER NOT NULL CHECK (held >= 0), sold INTEGER NOT NULL CHECK (sold >= 0))",
    NULL,
};

const char order_insert[] = "INSERT INTO orders (id, sku, quantity, state) VALUES (?, ?, 1, 'NEW')";
const char order_confirm[] = "UPDATE orders SET state = 'CONFIRMED' WHERE id = ? AND state = 'NEW'";
const char stock_hold[] = "UPDATE stock SET free = free - 1, held = held + 1 WHERE sku = ? AND free >= 1";
const char stock_sell[] = "UPDATE stock SET held = held - 1, sold = sold + 1 WHERE sku = ?";
static const char order_cancel[] = "UPDATE orders SET state = 'CANCELLED' WHERE id = ? AND state = 'NEW'";
static const char stock_free[] = "UPDATE stock SET held = held - 1, free = free + 1 WHERE sku = ?";

struct line line_of(int64_t number) {
    return (struct line){.number = number, .sku = number % SKUS};
}

/* ---- participants ---- */

static struct line line_in(const cdtx_tcc_call *call) {
    struct line line = {0};
    size_t length = 0;
    const void *payload = cdtx_tcc_payload(call, &length);
    if (length == sizeof line)
        memcpy(&line, payload, sizeof line);
    return line;
}

/* One row must move; another number of rows is a definite no. */
static int32_t move_row(cdtx_sql *sql, const char *statement, cdtx_error *err) {
    int64_t changes = 0;
    int32_t rc = cdtx_sql_exec(sql, statement, &changes, err);
    if (rc == 0 && changes != 1)
        rc = cdtx_error_set(err, CDTX_REFUSED, "no such row to move");
    return rc;
}

static int32_t order_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    struct line line = line_in(call);
    cdtx_sql_bind_int(sql, line.number);
    cdtx_sql_bind_int(sql, line.sku);
    return move_row(sql, order_insert, err);
}

static int32_t order_end(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql_bind_int(sql, line_in(call).number);
    return move_row(sql, order_confirm, err);
}

static int32_t order_undo(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql_bind_int(sql, line_in(call).number);
    return move_row(sql, order_cancel, err);
}

static int32_t stock_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql_bind_int(sql, line_in(call).sku);
    return move_row(sql, stock_hold, err);
}

static int32_t stock_end(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql_bind_int(sql, line_in(call).sku);
    return move_row(sql, stock_sell, err);
}

static int32_t stock_undo(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql_bind_int(sql, line_in(call).sku);
    return move_row(sql, stock_free, err);
}

static int32_t nothing(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql;
    (void)call;
    (void)user;
    (void)err;
    return 0;
}

/* ---- opening ---- */

static int32_t make_tables(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t rc = 0;
    for (const char *const *statement = user; *statement != NULL && rc == 0; statement++)
        rc = cdtx_sql_exec(sql, *statement, NULL, err);
    return rc;
}

static int32_t fill_stock(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    int32_t rc = 0;
    for (int64_t sku = 0; sku < SKUS && rc == 0; sku++) {
        cdtx_sql_bind_int(sql, sku);
        cdtx_sql_bind_int(sql, PER_SKU);
        rc = cdtx_sql_exec(sql, "INSERT OR IGNORE INTO stock (sku, free, held, sold) VALUES (?, ?, 0, 0)", NULL, err);
    }
    return rc;
}

static int32_t open_db(struct shop *shop, const char *dir, const char *name, const char *const *tables, cdtx_db **db,
                       cdtx_error *err) {
    char url[4200];
    snprintf(url, sizeof url, "sqlite:%s/%s.db", dir, name);
    int32_t rc = cdtx_db_open(shop->engine, name, url, db, err);
    return rc != 0 ? rc : cdtx_local(*db, make_tables, (void *)(uintptr_t)tables, err);
}

static int32_t add_participants(struct shop *shop, cdtx_error *err) {
    static const cdtx_tcc_handlers order_handlers = {
        .size = sizeof order_handlers, .on_try = order_try, .on_confirm = order_end, .on_cancel = order_undo};
    static const cdtx_tcc_handlers stock_handlers = {
        .size = sizeof stock_handlers, .on_try = stock_try, .on_confirm = stock_end, .on_cancel = stock_undo};
    static const cdtx_tcc_handlers noop_handlers = {
        .size = sizeof noop_handlers, .on_try = nothing, .on_confirm = nothing, .on_cancel = nothing};
    int32_t rc = cdtx_tcc_add(shop->orders, ORDER_PLACE, &order_handlers, err);
    if (rc == 0)
        rc = cdtx_tcc_add(shop->stock, STOCK_RESERVE, &stock_handlers, err);
    if (rc == 0)
        rc = cdtx_tcc_add(shop->orders, ORDER_NOOP, &noop_handlers, err);
    if (rc == 0)
        rc = cdtx_tcc_add(shop->stock, STOCK_NOOP, &noop_handlers, err);
    return rc;
}

static int32_t open_all(struct shop *shop, const char *dir, cdtx_options options, cdtx_error *err) {
    char url[4200];
    snprintf(url, sizeof url, "sqlite:%s/log.db", dir);
    options.size = sizeof options;
    options.log = url;
    int32_t rc = cdtx_open(&options, &shop->engine, err);
    if (rc == 0)
        rc = open_db(shop, dir, "order", order_tables, &shop->orders, err);
    if (rc == 0)
        rc = open_db(shop, dir, "stock", stock_tables, &shop->stock, err);
    if (rc == 0)
        rc = cdtx_local(shop->stock, fill_stock, NULL, err);
    return rc != 0 ? rc : add_participants(shop, err);
}

int shop_open(const char *dir, cdtx_options options, struct shop *shop) {
    cdtx_error err = {0};
    *shop = (struct shop){0};
    int32_t rc = open_all(shop, dir, options, &err);
    if (rc == 0)
        return 1;
    shop_close(shop);
    return complain("cannot open the shop in '%s': %s: %s", dir, cdtx_code_name(rc), err.text);
}

void shop_close(struct shop *shop) {
    cdtx_db_close(shop->orders);
    cdtx_db_close(shop->stock);
    cdtx_close(shop->engine);
    *shop = (struct shop){0};
}

/* ---- checking ---- */

/* The one number that the query gives; -1 after complaining. */
static int64_t ask(const char *dir, const char *name, const char *query) {
    char path[4200];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t answer = -1;
    snprintf(path, sizeof path, "%s/%s.db", dir, name);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, query, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        answer = sqlite3_column_int64(statement, 0);
    else
        complain("cannot check '%s': %s", path, sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return answer;
}

int expect(const char *dir, const char *name, const char *query, int64_t wanted) {
    int64_t got = ask(dir, name, query);
    if (got == wanted)
        return 1;
    return complain("the data is wrong: '%s' answers %lld, not %lld", query, (long long)got, (long long)wanted);
}

int shop_check(const char *dir, int64_t sold, int64_t begun) {
    return expect(dir, "order", "SELECT count(*) FROM orders WHERE state = 'CONFIRMED'", sold) &
           expect(dir, "order", "SELECT count(*) FROM orders WHERE state = 'NEW'", 0) &
           expect(dir, "stock", "SELECT sum(free + held + sold) FROM stock", (int64_t)PER_SKU * SKUS) &
           expect(dir, "stock", "SELECT sum(held) FROM stock", 0) &
           expect(dir, "stock", "SELECT sum(sold) FROM stock", sold) &
           expect(dir, "log", "SELECT count(*) FROM cdtx_tx", begun) &
           expect(dir, "log", "SELECT count(*) FROM cdtx_tx WHERE state NOT IN (2, 4, 5)", 0);
}

int check_sold(const struct run *run) {
    return shop_check(run->dir, run->done, run->done);
}

int check_begun(const struct run *run) {
    return shop_check(run->dir, 0, run->done);
}

int64_t sqlite_bytes(void) {
    return sqlite3_memory_used();
}
