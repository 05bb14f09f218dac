#include "give_back.h"

#include <cdtx/msg.h>
#include <string.h>

enum { ATTEMPTS_MAX = 4, BACKOFF_MIN_MS = 10, BACKOFF_MAX_MS = 40 };

/* Without a unique key on purpose: that each order stands here once is for the library to see to, and for the books to
 * check. */
static const char TABLE[] = "CREATE TABLE IF NOT EXISTS give_back(id INTEGER PRIMARY KEY, request_id TEXT NOT NULL, "
                            "sku TEXT NOT NULL, quantity INTEGER NOT NULL)";

static int32_t make_table(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_sql_exec(sql, TABLE, NULL, err);
}

static int32_t free_sold(cdtx_sql *sql, const struct order_line *line, cdtx_error *err) {
    size_t length = strlen(line->sku);
    cdtx_sql_bind_int(sql, line->quantity);
    cdtx_sql_bind_int(sql, line->quantity);
    cdtx_sql_bind_text(sql, line->sku, length);
    int32_t rc = cdtx_sql_exec(sql, "UPDATE stock SET sold = sold - ?, free = free + ? WHERE sku = ?", NULL, err);
    if (rc != 0)
        return rc;
    cdtx_sql_bind_text(sql, line->request, strlen(line->request));
    cdtx_sql_bind_text(sql, line->sku, length);
    cdtx_sql_bind_int(sql, line->quantity);
    return cdtx_sql_exec(sql, "INSERT INTO give_back(request_id, sku, quantity) VALUES (?, ?, ?)", NULL, err);
}

static int32_t give_back(cdtx_work *work, void *user, cdtx_error *err) {
    const struct shop_watch *watch = user;
    struct order_line line;
    size_t length;
    const void *payload = cdtx_work_payload(work, &length);
    int32_t rc = order_line_read(payload, length, &line, err);
    if (rc == 0)
        rc = free_sold(cdtx_work_sql(work), &line, err);
    if (rc == 0 && watch != NULL && watch->on_give_back != NULL)
        rc = watch->on_give_back(watch->user, &line, cdtx_work_attempt(work), err);
    return rc;
}

int32_t give_back_open(cdtx_db *stock, cdtx_db *orders, const struct shop_watch *watch, cdtx_error *err) {
    void *user = NULL;
    memcpy(&user, &watch, sizeof user);
    /* The queue is in the orders' database, the effects are in the stock's. */
    cdtx_consumer_options options = {.size = sizeof options,
                                     .in_local = 1,
                                     .local_db = stock,
                                     .handler = give_back,
                                     .user = user,
                                     .in_order = 1,
                                     .attempts_max = ATTEMPTS_MAX,
                                     .backoff_min_ms = BACKOFF_MIN_MS,
                                     .backoff_max_ms = BACKOFF_MAX_MS};
    int32_t rc = cdtx_local(stock, make_table, NULL, err);
    return rc != 0 ? rc : cdtx_consumer_add(orders, ORDER_CLOSED, "stock", &options, err);
}
