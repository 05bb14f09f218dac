#include "shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "give_back.h"
#include "order_service.h"
#include "stock_service.h"

enum { URL_MAX = 4096, BUSY_TRIES = 200, BUSY_PAUSE_MS = 10, CHAIN_MS = 10000 };

/* A folder's name may hold what has a meaning in a URL. */
static int32_t file_url(const char *folder, const char *file, char url[URL_MAX], cdtx_error *err) {
    size_t at = (size_t)snprintf(url, URL_MAX, "sqlite:");
    for (const char *c = folder; *c != '\0' && at < URL_MAX - 64; c++)
        at += (size_t)snprintf(url + at, 4, strchr("%?#", *c) != NULL ? "%%%02X" : "%c", (unsigned)(unsigned char)*c);
    if (at >= URL_MAX - 64)
        return say_no(err, CDTX_INVALID, "the name of folder %.100s... is too long", folder);
    (void)snprintf(url + at, 64, "/%s", file);
    return 0;
}

static int32_t open_log(struct shop *shop, const char *folder, const struct shop_options *options, cdtx_error *err) {
    char url[URL_MAX];
    cdtx_options engine = {.size = sizeof engine,
                           .log = url,
                           .link = options->link,
                           .threads = options->threads,
                           .call_timeout_ms = options->call_timeout_ms,
                           .park_attempts = options->park_attempts,
                           .backoff_min_ms = 20,
                           .backoff_max_ms = 200};
    int32_t rc = file_url(folder, "log.db", url, err);
    if (rc != 0)
        return rc;
    rc = cdtx_open(&engine, &shop->engine, err);
    for (int tries = 0; rc == CDTX_BUSY && tries < BUSY_TRIES; tries++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_MS * 1000000L}, NULL);
        rc = cdtx_open(&engine, &shop->engine, err);
    }
    return rc != 0 ? rc : cdtx_db_log(shop->engine, &shop->log, err);
}

static int32_t open_services(struct shop *shop, const char *folder, const struct shop_options *options,
                             cdtx_error *err) {
    char url[URL_MAX];
    shop->terms.watch = options->watch;
    int32_t rc = file_url(folder, "orders.db", url, err);
    if (rc == 0)
        rc = order_service_open(shop->engine, url, &shop->terms, &shop->orders, err);
    if (rc == 0)
        rc = file_url(folder, "stock.db", url, err);
    if (rc == 0)
        rc = stock_service_open(shop->engine, url, &shop->stock, err);
    return rc != 0 ? rc : give_back_open(shop->stock, shop->orders, options->watch, err);
}

static int32_t open_minting(struct shop *shop, const struct shop_options *options, cdtx_error *err) {
    struct minting *minting = &shop->minting;
    *minting = (struct minting){.timeout_ms = options->chain_timeout_ms > 0 ? options->chain_timeout_ms : CHAIN_MS,
                                .orders = shop->orders,
                                .watch = options->watch};
    (void)snprintf(minting->url, sizeof minting->url, "%s", options->chain);
    return mint_open(shop->log, minting, err);
}

int32_t shop_open(struct shop *shop, const char *folder, const struct shop_options *options, cdtx_error *err) {
    static const struct shop_options defaults = {0};
    if (options == NULL)
        options = &defaults;
    memset(shop, 0, sizeof *shop);
    int32_t rc = open_log(shop, folder, options, err);
    if (rc == 0)
        rc = open_services(shop, folder, options, err);
    if (rc == 0 && options->chain != NULL)
        rc = open_minting(shop, options, err);
    if (rc != 0)
        shop_close(shop);
    return rc;
}

void shop_close(struct shop *shop) {
    /* First: a handler that still runs may use the others. */
    cdtx_close(shop->engine);
    cdtx_db_close(shop->orders);
    cdtx_db_close(shop->stock);
    cdtx_db_close(shop->log);
    memset(shop, 0, sizeof *shop);
}

int32_t shop_prepare(struct shop *shop, const struct order_line *line, const cdtx_tx_options *options, cdtx_tx **tx,
                     cdtx_error *err) {
    cdtx_tx_options own = *options;
    own.size = sizeof own;
    own.name = "order";
    own.key = line->request;
    char text[ORDER_TEXT_MAX];
    size_t length = order_line_write(line, text);
    cdtx_tx *made = NULL;
    int32_t rc = cdtx_tx_new(shop->engine, &own, &made, err);
    if (rc == 0)
        rc = cdtx_tx_add(made, ORDER_PLACE, text, length, err);
    if (rc == 0)
        rc = cdtx_tx_add(made, STOCK_RESERVE, text, length, err);
    if (rc == 0 && shop->minting.url[0] != '\0')
        rc = mint_hook(made, text, length, err);
    if (rc == 0)
        *tx = made;
    else
        cdtx_tx_close(made);
    return rc;
}

int32_t shop_order(struct shop *shop, const struct order_line *line, int64_t timeout_ms, int64_t *number,
                   cdtx_error *err) {
    cdtx_tx *tx = NULL;
    int32_t rc = shop_prepare(shop, line, &(cdtx_tx_options){.timeout_ms = timeout_ms}, &tx, err);
    if (rc == 0)
        rc = cdtx_tx_run(tx, err);
    size_t length = 0;
    const char *answer = rc == 0 ? cdtx_tx_result(tx, 0, &length) : NULL;
    char text[24] = "";
    if (answer != NULL && length < sizeof text)
        memcpy(text, answer, length);
    if (number != NULL && rc == 0)
        *number = strtoll(text, NULL, 10);
    cdtx_tx_close(tx);
    return rc;
}
