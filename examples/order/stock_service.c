#include "stock_service.h"

#include <inttypes.h>
#include <string.h>

#include "order_line.h"

/* What was delivered is written beside the stock, so that anybody can check free + held + sold against it. */
static const char *const TABLES[] = {
    "CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, free INTEGER NOT NULL CHECK (free >= 0), "
    "held INTEGER NOT NULL CHECK (held >= 0), sold INTEGER NOT NULL CHECK (sold >= 0))",
    "CREATE TABLE IF NOT EXISTS hold(gid TEXT, branch INTEGER, sku TEXT NOT NULL, quantity INTEGER NOT NULL, "
    "PRIMARY KEY (gid, branch))",
    "CREATE TABLE IF NOT EXISTS delivery(id INTEGER PRIMARY KEY, sku TEXT NOT NULL, quantity INTEGER NOT NULL)"};

static const char HOLD[] = "UPDATE stock SET free = free - ?, held = held + ? WHERE sku = ? AND free >= ?";

static int32_t make_tables(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    int32_t rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof TABLES / sizeof TABLES[0]; i++)
        rc = cdtx_sql_exec(sql, TABLES[i], NULL, err);
    return rc;
}

static int32_t refuse_sold_out(cdtx_sql *sql, const struct order_line *line, cdtx_error *err) {
    cdtx_sql_bind_text(sql, line->sku, strlen(line->sku));
    int32_t rc = cdtx_sql_query(sql, "SELECT free FROM stock WHERE sku = ?", err);
    if (rc != 0)
        return rc;
    int64_t left = cdtx_sql_next(sql) ? cdtx_sql_int(sql, 0) : 0;
    return say_no(err, CDTX_REFUSED, "sold out: %" PRId64 " %s wanted, %" PRId64 " free", line->quantity, line->sku,
                  left);
}

static int32_t reserve(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    struct order_line line;
    size_t length;
    const void *payload = cdtx_tcc_payload(call, &length);
    int32_t rc = order_line_read(payload, length, &line, err);
    if (rc != 0)
        return rc;
    int64_t changes = 0;
    cdtx_sql_bind_int(sql, line.quantity);
    cdtx_sql_bind_int(sql, line.quantity);
    cdtx_sql_bind_text(sql, line.sku, strlen(line.sku));
    cdtx_sql_bind_int(sql, line.quantity);
    rc = cdtx_sql_exec(sql, HOLD, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return refuse_sold_out(sql, &line, err);
    const char *gid = cdtx_tcc_gid(call);
    cdtx_sql_bind_text(sql, gid, strlen(gid));
    cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    cdtx_sql_bind_text(sql, line.sku, strlen(line.sku));
    cdtx_sql_bind_int(sql, line.quantity);
    return cdtx_sql_exec(sql, "INSERT INTO hold(gid, branch, sku, quantity) VALUES (?, ?, ?, ?)", NULL, err);
}

/* Ends this branch's hold; *line gets what it held. */
static int32_t end_hold(cdtx_sql *sql, const cdtx_tcc_call *call, struct order_line *line, cdtx_error *err) {
    const char *gid = cdtx_tcc_gid(call);
    cdtx_sql_bind_text(sql, gid, strlen(gid));
    cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    int32_t rc = cdtx_sql_query(sql, "DELETE FROM hold WHERE gid = ? AND branch = ? RETURNING sku, quantity", err);
    if (rc != 0)
        return rc;
    if (!cdtx_sql_next(sql))
        return say_no(err, CDTX_CORRUPT, "%s has no hold: someone removed it by hand", gid);
    size_t length;
    const char *sku = cdtx_sql_text(sql, 0, &length);
    memcpy(line->sku, sku, length + 1);
    line->quantity = cdtx_sql_int(sql, 1);
    return 0;
}

static int32_t move_held(cdtx_sql *sql, const cdtx_tcc_call *call, const char *statement, cdtx_error *err) {
    struct order_line line;
    int32_t rc = end_hold(sql, call, &line, err);
    if (rc != 0)
        return rc;
    cdtx_sql_bind_int(sql, line.quantity);
    cdtx_sql_bind_int(sql, line.quantity);
    cdtx_sql_bind_text(sql, line.sku, strlen(line.sku));
    return cdtx_sql_exec(sql, statement, NULL, err);
}

static int32_t confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return move_held(sql, call, "UPDATE stock SET held = held - ?, sold = sold + ? WHERE sku = ?", err);
}

static int32_t cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return move_held(sql, call, "UPDATE stock SET held = held - ?, free = free + ? WHERE sku = ?", err);
}

int32_t stock_service_open(cdtx *engine, const char *url, cdtx_db **db, cdtx_error *err) {
    static const cdtx_tcc_handlers handlers = {
        .size = sizeof handlers, .on_try = reserve, .on_confirm = confirm, .on_cancel = cancel};
    int32_t rc = cdtx_db_open(engine, "stock", url, db, err);
    if (rc == 0)
        rc = cdtx_local(*db, make_tables, NULL, err);
    if (rc == 0)
        rc = cdtx_tcc_add(*db, STOCK_RESERVE, &handlers, err);
    return rc;
}

static int32_t deliver(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct order_line *line = user;
    size_t length = strlen(line->sku);
    cdtx_sql_bind_text(sql, line->sku, length);
    cdtx_sql_bind_int(sql, line->quantity);
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO delivery(sku, quantity) VALUES (?, ?)", NULL, err);
    if (rc != 0)
        return rc;
    cdtx_sql_bind_text(sql, line->sku, length);
    cdtx_sql_bind_int(sql, line->quantity);
    return cdtx_sql_exec(sql,
                         "INSERT INTO stock(sku, free, held, sold) VALUES (?, ?, 0, 0) "
                         "ON CONFLICT (sku) DO UPDATE SET free = free + excluded.free",
                         NULL, err);
}

int32_t stock_service_deliver(cdtx_db *db, const char *sku, int64_t quantity, cdtx_error *err) {
    struct order_line line = {.quantity = quantity};
    if (strlen(sku) > ORDER_SKU_MAX)
        return say_no(err, CDTX_INVALID, "sku %s is longer than %d bytes", sku, ORDER_SKU_MAX);
    memcpy(line.sku, sku, strlen(sku) + 1);
    return cdtx_local(db, deliver, &line, err);
}
