#include "payment.h"

#include <cdtx/msg.h>
#include <cdtx/retry.h>
#include <string.h>

enum { UNDECIDED_MS = 20, BACKOFF_MIN_MS = 10, BACKOFF_MAX_MS = 200 };

static const char TABLE[] =
    "CREATE TABLE IF NOT EXISTS payment(request_id TEXT PRIMARY KEY REFERENCES orders(request_id))";
static const char CLOSE[] = "UPDATE orders SET state = 'CLOSED' WHERE request_id = ? AND state = 'CONFIRMED' "
                            "AND request_id NOT IN (SELECT request_id FROM payment)";

static int32_t make_table(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_sql_exec(sql, TABLE, NULL, err);
}

/* *state gets that of the order, borrowed until the next statement; NULL: there is none. */
static int32_t find_order(cdtx_sql *sql, const char *request, const char **state, cdtx_error *err) {
    cdtx_sql_bind_text(sql, request, strlen(request));
    int32_t rc = cdtx_sql_query(sql, "SELECT state FROM orders WHERE request_id = ?", err);
    if (rc == 0)
        *state = cdtx_sql_next(sql) ? cdtx_sql_text(sql, 0, NULL) : NULL;
    return rc;
}

/* ---- the closing ---- */

/* One that is paid, or was never confirmed, is left as it is; one that is not decided yet is asked again soon. */
static int32_t not_closed(cdtx_work *work, const char *request, cdtx_error *err) {
    const char *state = NULL;
    int32_t rc = find_order(cdtx_work_sql(work), request, &state, err);
    if (rc != 0 || state == NULL || strcmp(state, "NEW") != 0)
        return rc;
    return cdtx_work_snooze(work, UNDECIDED_MS, "the order is not decided yet", err);
}

/* The order and the message that it is closed, in one local transaction; the end of the job goes with them. */
static int32_t close_unpaid(cdtx_work *work, void *user, cdtx_error *err) {
    const struct payment_terms *terms = user;
    cdtx_sql *sql = cdtx_work_sql(work);
    struct order_line line;
    size_t length;
    int64_t changes = 0;
    const void *payload = cdtx_work_payload(work, &length);
    int32_t rc = order_line_read(payload, length, &line, err);
    if (rc != 0)
        return rc;
    if (terms->watch != NULL && terms->watch->on_close != NULL)
        terms->watch->on_close(terms->watch->user, &line);
    cdtx_sql_bind_text(sql, line.request, strlen(line.request));
    rc = cdtx_sql_exec(sql, CLOSE, &changes, err);
    if (rc != 0)
        return rc;
    if (changes == 0)
        return not_closed(work, line.request, err);
    cdtx_msg_options options = {.size = sizeof options, .key = line.request};
    return cdtx_msg_put(sql, ORDER_CLOSED, payload, length, &options, NULL, err);
}

int32_t payment_expect(cdtx_sql *sql, const struct payment_terms *terms, const struct order_line *line,
                       cdtx_error *err) {
    char text[ORDER_TEXT_MAX];
    size_t length = order_line_write(line, text);
    cdtx_job_options options = {.size = sizeof options, .delay_ms = terms->within_ms, .unique_key = line->request};
    return cdtx_job_put(sql, ORDER_CLOSE, text, length, &options, NULL, err);
}

int32_t payment_expect_no_more(cdtx_sql *sql, const char *request, cdtx_error *err) {
    int32_t rc = cdtx_retry_cancel_key(sql, ORDER_CLOSE, request, err);
    return rc == CDTX_NOT_FOUND || rc == CDTX_CONFLICT ? 0 : rc;
}

/* ---- the payment ---- */

int32_t payment_record(cdtx_sql *sql, void *request, cdtx_error *err) {
    const char *state = NULL;
    int32_t rc = find_order(sql, request, &state, err);
    if (rc == 0 && (state == NULL || strcmp(state, "CONFIRMED") != 0))
        rc = say_no(err, CDTX_REFUSED, "it cannot be paid: the order %s%s", state != NULL ? "is " : "does not exist",
                    state != NULL ? state : "");
    if (rc != 0)
        return rc;
    cdtx_sql_bind_text(sql, request, strlen(request));
    rc = cdtx_sql_exec(sql, "INSERT INTO payment VALUES (?) ON CONFLICT DO NOTHING", NULL, err);
    return rc != 0 ? rc : payment_expect_no_more(sql, request, err);
}

int32_t payment_open(cdtx_db *orders, struct payment_terms *terms, cdtx_error *err) {
    cdtx_handler_options options = {.size = sizeof options,
                                    .in_local = 1,
                                    .handler = close_unpaid,
                                    .user = terms,
                                    .backoff_min_ms = BACKOFF_MIN_MS,
                                    .backoff_max_ms = BACKOFF_MAX_MS};
    int32_t rc = cdtx_local(orders, make_table, NULL, err);
    if (rc == 0)
        rc = cdtx_topic_add(orders, ORDER_CLOSED, NULL, err);
    if (rc == 0)
        rc = cdtx_handler_add(orders, ORDER_CLOSE, &options, err);
    return rc;
}
