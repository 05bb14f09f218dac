#include "house.h"

#include <stdio.h>
#include <string.h>

#include "order_line.h"
#include "order_service.h"
#include "stock_service.h"

#define INVOICE "invoice.write"
#define PARCEL  "parcel.send"

enum { URL_MAX = 512, DRAIN_MS = 60000 };

/* ---- opening ---- */

void house_url(const struct house_site *site, const char *file, char *url, size_t room) {
    (void)snprintf(url, room, "%s:%s%s?share=%d%s%s", site->scheme, site->folder, file, site->share,
                   site->vfs != NULL ? "&vfs=" : "", site->vfs != NULL ? site->vfs : "");
}

/* Without a key, so that a job done twice is seen. */
static int32_t make_papers(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    return cdtx_sql_exec(sql, "CREATE TABLE IF NOT EXISTS paper(key TEXT NOT NULL)", NULL, err);
}

static int32_t write_paper(cdtx_sql *sql, const cdtx_work *work, cdtx_error *err) {
    size_t length;
    const char *key = cdtx_work_payload(work, &length);
    cdtx_sql_bind_text(sql, key, length);
    return cdtx_sql_exec(sql, "INSERT INTO paper(key) VALUES (?)", NULL, err);
}

static int32_t write_invoice(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    return write_paper(cdtx_work_sql(work), work, err);
}

static int32_t add_jobs(struct house *house, cdtx_error *err) {
    cdtx_handler_options o = {.size = sizeof o,
                              .in_local = 1,
                              .handler = write_invoice,
                              .attempts_max = 1000000,
                              .crashes_max = 1000000,
                              .lease_ms = 1000,
                              .backoff_min_ms = 20,
                              .backoff_max_ms = 200};
    int32_t rc = cdtx_local(house->orders, make_papers, NULL, err);
    if (rc == 0)
        rc = cdtx_local(house->stock, make_papers, NULL, err);
    if (rc == 0)
        rc = cdtx_handler_add(house->orders, INVOICE, &o, err);
    o.in_local = 0;
    o.handler = NULL;
    if (rc == 0)
        rc = cdtx_handler_add(house->stock, PARCEL, &o, err);
    return rc;
}

int32_t house_open_engine(struct house *house, const struct house_site *site, const struct house_options *options,
                          cdtx_error *err) {
    char url[URL_MAX];
    cdtx_options o = {.size = sizeof o,
                      .log = url,
                      .env = options->env,
                      .link = options->link,
                      .adapters = &options->adapter,
                      .adapter_count = options->adapter != NULL,
                      .coordinator = options->coordinator,
                      .threads = options->threads,
                      .call_timeout_ms = 100,
                      .wait_ms = options->wait_ms == 0 ? 200 : options->wait_ms,
                      .backoff_min_ms = 20,
                      .backoff_max_ms = 200};
    memset(house, 0, sizeof *house);
    house->clock = options->clock;
    house->left = options->left;
    house->witness = options->witness;
    house_url(site, "log.db", url, sizeof url);
    return cdtx_open(&o, &house->engine, err);
}

int32_t house_open(struct house *house, const struct house_site *site, const struct house_options *options,
                   cdtx_error *err) {
    char url[URL_MAX];
    int32_t rc = house_open_engine(house, site, options, err);
    house_url(site, "orders.db", url, sizeof url);
    if (rc == 0)
        rc = order_service_open(house->engine, url, NULL, &house->orders, err);
    house_url(site, "stock.db", url, sizeof url);
    if (rc == 0)
        rc = stock_service_open(house->engine, url, &house->stock, err);
    if (rc == 0)
        rc = add_jobs(house, err);
    if (rc != 0)
        house_close(house);
    return rc;
}

void house_close(struct house *house) {
    cdtx_db_close(house->orders);
    cdtx_db_close(house->stock);
    cdtx_db_close(house->log);
    cdtx_db_close(house->post);
    cdtx_db_close(house->shop);
    cdtx_close(house->engine);
    memset(house, 0, sizeof *house);
}

/* ---- orders ---- */

static size_t line_of(const struct wish *wish, char text[ORDER_TEXT_MAX]) {
    struct order_line line = {.quantity = wish->quantity};
    (void)snprintf(line.request, sizeof line.request, "%s", wish->key);
    (void)snprintf(line.sku, sizeof line.sku, HOUSE_SKU);
    return order_line_write(&line, text);
}

static int32_t new_order(struct house *house, const struct wish *wish, uint64_t tag, cdtx_tx **tx, cdtx_error *err) {
    cdtx_tx_options o = {.size = sizeof o, .name = "order", .key = wish->key, .timeout_ms = 1000, .tag = tag};
    return cdtx_tx_new(house->engine, &o, tx, err);
}

static int32_t declare(cdtx_tx *tx, struct ledger *ledger, const struct wish *wish, cdtx_error *err) {
    char text[ORDER_TEXT_MAX];
    size_t length = line_of(wish, text);
    int32_t rc = ledger_check(ledger, "cdtx_tx_add", cdtx_tx_add(tx, ORDER_PLACE, text, length, err), err);
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_tx_add", cdtx_tx_add(tx, STOCK_RESERVE, text, length, err), err);
    return rc;
}

static int32_t try_both(cdtx_tx *tx, struct ledger *ledger, const struct wish *wish, cdtx_error *err) {
    char text[ORDER_TEXT_MAX];
    size_t length = line_of(wish, text);
    int32_t rc = ledger_check(ledger, "cdtx_tx_begin", cdtx_tx_begin(tx, err), err);
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_tx_try", cdtx_tx_try(tx, ORDER_PLACE, text, length, err), err);
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_tx_try", cdtx_tx_try(tx, STOCK_RESERVE, text, length, err), err);
    return rc;
}

/* A transaction that nobody asked to commit cannot have been committed. */
static int32_t steps(cdtx_tx *tx, struct ledger *ledger, const struct wish *wish, cdtx_error *err) {
    cdtx_error last = {0};
    int32_t rc = try_both(tx, ledger, wish, err);
    if (rc == 0)
        return ledger_check(ledger, "cdtx_tx_commit", cdtx_tx_commit(tx, err), err);
    int32_t ended = ledger_check(ledger, "cdtx_tx_rollback", cdtx_tx_rollback(tx, &last), &last);
    if (ended == CDTX_REFUSED) /* joined by its key: committed before */
        return 0;
    return cdtx_happened(rc) == 0 ? rc : CDTX_REFUSED;
}

int32_t house_order(struct house *house, struct ledger *ledger, enum order_way way, const struct wish *wish) {
    cdtx_error err = {0};
    cdtx_tx *tx = NULL;
    uint32_t place = ledger->count;
    ledger_hear(ledger, DEED_ORDER, wish->key, CDTX_UNKNOWN);
    int32_t rc = ledger_check(ledger, "cdtx_tx_new", new_order(house, wish, place, &tx, &err), &err);
    if (rc == 0 && way != ORDER_STEPS)
        rc = declare(tx, ledger, wish, &err);
    if (rc == 0 && way == ORDER_DECLARED)
        rc = ledger_check(ledger, "cdtx_tx_run", cdtx_tx_run(tx, &err), &err);
    else if (rc == 0 && way == ORDER_STEPS)
        rc = steps(tx, ledger, wish, &err);
    else if (rc == 0) {
        rc = ledger_check(ledger, "cdtx_tx_submit", cdtx_tx_submit(tx, &err), &err);
        if (rc == 0)
            rc = CDTX_UNKNOWN; /* until its completion comes */
    }
    cdtx_tx_close(tx);
    ledger->list[place].code = rc;
    return rc;
}

void house_give_up(struct house *house, struct ledger *ledger, const struct wish *wish) {
    cdtx_error err = {0};
    cdtx_tx *tx = NULL;
    if (ledger_check(ledger, "cdtx_tx_new", new_order(house, wish, 0, &tx, &err), &err) == 0) {
        (void)try_both(tx, ledger, wish, &err);
        (void)ledger_check(ledger, "cdtx_tx_rollback", cdtx_tx_rollback(tx, &err), &err);
    }
    cdtx_tx_close(tx);
    ledger_hear(ledger, DEED_ORDER, wish->key, CDTX_REFUSED);
}

void house_leave_open(struct house *house, struct ledger *ledger, const struct wish *wish, cdtx_tx **tx) {
    cdtx_error err = {0};
    if (ledger_check(ledger, "cdtx_tx_new", new_order(house, wish, 0, tx, &err), &err) == 0)
        (void)try_both(*tx, ledger, wish, &err);
    ledger_hear(ledger, DEED_ORDER, wish->key, CDTX_REFUSED);
}

/* ---- local transactions ---- */

int32_t house_deliver(struct house *house, struct ledger *ledger, const char *sku, int64_t quantity) {
    cdtx_error err = {0};
    int32_t rc = stock_service_deliver(house->stock, sku, quantity, &err);
    ledger_hear(ledger, DEED_DELIVERY, sku, ledger_check(ledger, "cdtx_local", rc, &err));
    return rc;
}

static int32_t deliver(cdtx_sql *sql, struct ledger *ledger, const char *sku, int64_t quantity, cdtx_error *err) {
    cdtx_sql_bind_text(sql, sku, strlen(sku));
    cdtx_sql_bind_int(sql, quantity);
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO delivery(sku, quantity) VALUES (?, ?)", NULL, err);
    if (ledger_check(ledger, "cdtx_sql_exec", rc, err) != 0)
        return rc;
    cdtx_sql_bind_text(sql, sku, strlen(sku));
    cdtx_sql_bind_int(sql, quantity);
    rc = cdtx_sql_exec(sql, "INSERT INTO stock(sku, free, held, sold) VALUES (?, ?, 0, 0)", NULL, err);
    return ledger_check(ledger, "cdtx_sql_exec", rc, err);
}

int32_t house_deliver_by_hand(struct house *house, struct ledger *ledger, const char *sku, int64_t quantity) {
    cdtx_error err = {0}, last = {0};
    cdtx_sql *sql = NULL;
    int32_t rc = ledger_check(ledger, "cdtx_sql_begin", cdtx_sql_begin(house->stock, &sql, &err), &err);
    if (rc == 0) {
        rc = deliver(sql, ledger, sku, quantity, &err);
        if (rc == 0)
            rc = ledger_check(ledger, "cdtx_sql_commit", cdtx_sql_commit(sql, &err), &err);
        else
            (void)ledger_check(ledger, "cdtx_sql_rollback", cdtx_sql_rollback(sql, &last), &last);
    }
    cdtx_sql_close(sql);
    ledger_hear(ledger, DEED_DELIVERY, sku, rc);
    return rc;
}

/* ---- jobs ---- */

struct order_of_work {
    const char *handler, *key;
};

static int32_t put(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct order_of_work *work = user;
    cdtx_job_options o = {.size = sizeof o, .unique_key = work->key};
    return cdtx_job_put(sql, work->handler, work->key, strlen(work->key), &o, NULL, err);
}

int32_t house_invoice(struct house *house, struct ledger *ledger, const char *key) {
    cdtx_error err = {0};
    int32_t rc = cdtx_local(house->orders, put, &(struct order_of_work){INVOICE, key}, &err);
    ledger_hear(ledger, DEED_INVOICE, key, ledger_check(ledger, "cdtx_job_put", rc, &err));
    return rc;
}

int32_t house_parcel(struct house *house, struct ledger *ledger, const char *key) {
    cdtx_error err = {0};
    int32_t rc = cdtx_local(house->stock, put, &(struct order_of_work){PARCEL, key}, &err);
    ledger_hear(ledger, DEED_PARCEL, key, ledger_check(ledger, "cdtx_job_put", rc, &err));
    return rc;
}

/* The parcel and the end of its job are one commit. */
static int32_t send_parcel(cdtx_sql *sql, void *user, cdtx_error *err) {
    cdtx_work *work = user;
    int32_t rc = write_paper(sql, work, err);
    return rc != 0 ? rc : cdtx_work_done(work, sql, err);
}

static void do_work(struct house *house, struct ledger *ledger, cdtx_work *work) {
    cdtx_error err = {0};
    int32_t rc = 0;
    if (cdtx_work_kind(work) == CDTX_WORK_COMPLETION) {
        uint64_t place = cdtx_work_tag(work);
        int32_t code = cdtx_work_result(work, &err);
        if (place >= ledger->count)
            ledger_complain(ledger, "a completion came with the tag %llu, which was not given",
                            (unsigned long long)place);
        else
            ledger->list[place].code = ledger_check(ledger, "cdtx_work_result", code, &err);
    } else {
        rc = ledger_check(ledger, "a parcel's cdtx_local", cdtx_local(house->stock, send_parcel, work, &err), &err);
    }
    char reason[sizeof err.text];
    memcpy(reason, err.text, sizeof reason);
    (void)ledger_check(ledger, "cdtx_settle", cdtx_settle(work, rc, rc != 0 ? reason : NULL, &err), &err);
}

void house_pull(struct house *house, struct ledger *ledger, int64_t for_ms) {
    for (;;) {
        cdtx_error err = {0};
        cdtx_work *work = NULL;
        int32_t rc = ledger_check(ledger, "cdtx_take", cdtx_take(house->engine, for_ms, &work, &err), &err);
        if (rc != 0 || work == NULL)
            return;
        do_work(house, ledger, work);
    }
}

int32_t house_drain(struct house *house, struct ledger *ledger, int64_t for_ms) {
    cdtx_error err = {0};
    int32_t rc = ledger_check(ledger, "cdtx_run", cdtx_run(house->engine, for_ms, &err), &err);
    house_pull(house, ledger, for_ms);
    if (rc == 0)
        rc = ledger_check(ledger, "cdtx_drain", cdtx_drain(house->engine, DRAIN_MS, &err), &err);
    if (rc != 0 && rc != CDTX_STOPPED)
        ledger_complain(ledger, "the house does not come to rest: %s", err.text);
    return rc;
}

uint32_t house_ask_again(struct house *house, struct ledger *ledger) {
    uint32_t asked = 0;
    for (uint32_t i = 0, count = ledger->count; i < count; i++) {
        struct heard heard = ledger->list[i]; /* the list may move */
        if (heard.deed != DEED_ORDER || heard.code == 0 || heard.code == CDTX_REFUSED)
            continue;
        struct wish wish = {heard.key, strstr(heard.key, "sold-out") != NULL ? HOUSE_TOO_MANY : 1};
        int32_t code = house_order(house, ledger, ORDER_DECLARED, &wish);
        ledger->list[i].code = code;
        ledger->count = count;
        if (cdtx_happened(code) < 0)
            ledger_complain(ledger, "order %s was asked about again without faults, and answered %s", heard.key,
                            cdtx_code_name(code));
        asked++;
    }
    return asked;
}
