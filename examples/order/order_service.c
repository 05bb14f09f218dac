#include "order_service.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "order_line.h"

static const char TABLE[] = "CREATE TABLE IF NOT EXISTS orders("
                            "id INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, sku TEXT NOT NULL, "
                            "quantity INTEGER NOT NULL CHECK (quantity > 0), to_pay INTEGER NOT NULL, token TEXT, "
                            "state TEXT NOT NULL CHECK (state IN ('NEW', 'CONFIRMED', 'CANCELLED', 'CLOSED')))";

static const char INSERT[] =
    "INSERT INTO orders(request_id, sku, quantity, to_pay, state) VALUES (?, ?, ?, ?, 'NEW') RETURNING id";
static const char LEAVE_NEW[] =
    "UPDATE orders SET state = ? WHERE id = CAST(? AS INTEGER) AND state = 'NEW' RETURNING request_id";

static int32_t make_table(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_sql_exec(sql, TABLE, NULL, err);
}

/* An order that exists already belongs to another global transaction: a repeat of this very call never gets here, its
 * guard answers. */
static int32_t must_be_new(cdtx_sql *sql, const char *request, cdtx_error *err) {
    cdtx_sql_bind_text(sql, request, strlen(request));
    int32_t rc = cdtx_sql_query(sql, "SELECT state FROM orders WHERE request_id = ?", err);
    if (rc == 0 && cdtx_sql_next(sql))
        rc = say_no(err, CDTX_REFUSED, "request %s has an order already, %s", request, cdtx_sql_text(sql, 0, NULL));
    return rc;
}

static int32_t insert(cdtx_sql *sql, const struct order_line *line, int to_pay, cdtx_tcc_call *call, cdtx_error *err) {
    cdtx_sql_bind_text(sql, line->request, strlen(line->request));
    cdtx_sql_bind_text(sql, line->sku, strlen(line->sku));
    cdtx_sql_bind_int(sql, line->quantity);
    cdtx_sql_bind_int(sql, to_pay);
    int32_t rc = cdtx_sql_query(sql, INSERT, err);
    if (rc != 0)
        return rc;
    (void)cdtx_sql_next(sql);
    char number[24];
    int digits = snprintf(number, sizeof number, "%" PRId64, cdtx_sql_int(sql, 0));
    return cdtx_tcc_answer(call, number, (size_t)digits, err);
}

static int32_t place(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    const struct payment_terms *terms = user;
    struct order_line line;
    size_t length;
    const void *payload = cdtx_tcc_payload(call, &length);
    int32_t rc = order_line_read(payload, length, &line, err);
    int to_pay = terms != NULL && terms->within_ms > 0;
    if (rc == 0)
        rc = must_be_new(sql, line.request, err);
    if (rc == 0)
        rc = insert(sql, &line, to_pay, call, err);
    if (rc == 0 && to_pay)
        rc = payment_expect(sql, terms, &line, err);
    return rc;
}

/* request gets the order's. */
static int32_t leave_new(cdtx_sql *sql, const cdtx_tcc_call *call, const char *state,
                         char request[ORDER_REQUEST_MAX + 1], cdtx_error *err) {
    size_t length;
    const char *number = cdtx_tcc_try_result(call, &length);
    cdtx_sql_bind_text(sql, state, strlen(state));
    cdtx_sql_bind_text(sql, number, length);
    int32_t rc = cdtx_sql_query(sql, LEAVE_NEW, err);
    if (rc == 0 && !cdtx_sql_next(sql))
        rc = say_no(err, CDTX_CORRUPT, "order no. %.*s is not NEW: someone changed it by hand", (int)length, number);
    if (rc == 0)
        (void)snprintf(request, ORDER_REQUEST_MAX + 1, "%s", cdtx_sql_text(sql, 0, NULL));
    return rc;
}

static int32_t confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    char request[ORDER_REQUEST_MAX + 1];
    (void)user;
    return leave_new(sql, call, "CONFIRMED", request, err);
}

static int32_t cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    char request[ORDER_REQUEST_MAX + 1];
    int32_t rc = leave_new(sql, call, "CANCELLED", request, err);
    return rc != 0 || user == NULL ? rc : payment_expect_no_more(sql, request, err);
}

int32_t order_service_open(cdtx *engine, const char *url, struct payment_terms *terms, cdtx_db **db, cdtx_error *err) {
    const cdtx_tcc_handlers handlers = {
        .size = sizeof handlers, .on_try = place, .on_confirm = confirm, .on_cancel = cancel, .user = terms};
    int32_t rc = cdtx_db_open(engine, "orders", url, db, err);
    if (rc == 0)
        rc = cdtx_local(*db, make_table, NULL, err);
    if (rc == 0 && terms != NULL)
        rc = payment_open(*db, terms, err);
    if (rc == 0)
        rc = cdtx_tcc_add(*db, ORDER_PLACE, &handlers, err);
    return rc;
}
