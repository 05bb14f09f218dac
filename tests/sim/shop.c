#include "shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checks.h"
#include "clerk.h"
#include "cover.h"
#include "post.h"

const char *const participant_names[PARTICIPANTS] = {"order", "stock"};

struct service {
    struct life *life;
    enum participant participant;
};

const char *shop_file(enum participant participant) {
    return participant == ORDER ? "order.db" : "stock.db";
}

/* ---- tables ---- */

static const char *const order_tables[] = {
    "CREATE TABLE IF NOT EXISTS orders (gid TEXT, branch INTEGER, quantity INTEGER, state TEXT, PRIMARY KEY (gid, "
    "branch))",
    NULL,
};
static const char *const stock_tables[] = {
    "CREATE TABLE IF NOT EXISTS stock (article INTEGER PRIMARY KEY, free INTEGER NOT NULL,"
    " held INTEGER NOT NULL, sold INTEGER NOT NULL)",
    NULL,
};

static int32_t make_tables(cdtx_sql *sql, void *user, cdtx_error *err) {
    const struct service *service = user;
    int32_t rc = cdtx_sql_exec(sql,
                               "CREATE TABLE IF NOT EXISTS effect_log (seq INTEGER PRIMARY KEY AUTOINCREMENT, gid TEXT,"
                               " branch INTEGER, op TEXT, key TEXT, value INTEGER)",
                               NULL, err);
    if (rc == 0)
        rc = clerk_tables(sql, err);
    for (const char *const *table = service->participant == ORDER ? order_tables : stock_tables; rc == 0 && *table;
         table++)
        rc = cdtx_sql_exec(sql, *table, NULL, err);
    for (int article = 0; rc == 0 && service->participant == STOCK && article < ARTICLES; article++) {
        cdtx_sql_bind_int(sql, article);
        cdtx_sql_bind_int(sql, service->life->sim->knobs.stock);
        rc = cdtx_sql_exec(sql, "INSERT INTO stock VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING", NULL, err);
    }
    return rc;
}

/* ---- what every handler does ---- */

static int32_t add_effect(struct service *service, cdtx_sql *sql, cdtx_tcc_call *call, const char *op,
                          const struct shop_order *order, cdtx_error *err) {
    const char *gid = cdtx_tcc_gid(call);
    char key[16];
    int length = snprintf(key, sizeof key, "a%u", order->article);
    cdtx_sql_bind_text(sql, gid, strlen(gid));
    cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    cdtx_sql_bind_text(sql, op, 1);
    cdtx_sql_bind_text(sql, key, (size_t)length);
    cdtx_sql_bind_int(sql, order->quantity);
    int32_t rc =
        cdtx_sql_exec(sql, "INSERT INTO effect_log (gid, branch, op, key, value) VALUES (?, ?, ?, ?, ?)", NULL, err);
    return rc != 0 || order->posts == 0 ? rc
                                        : post_in_branch(service->life, (int)service->participant, sql, gid,
                                                         cdtx_tcc_branch(call), op[0], order->posts, err);
}

/* What goes wrong in a handler without being an answer: after it wrote, so that undoing it is tested too. */
static int32_t mishap(struct service *service, cdtx_error *err) {
    struct sim *sim = service->life->sim;
    if (sim_fault(sim, FAULT_HANDLER_SLOW, &sim->world.faults, 12))
        env_think(service->life, prng_range(&sim->world.faults, 1, 3 * SECOND));
    else if (prng_chance(&sim->world.schedule, 1, 10))
        env_think(service->life, prng_range(&sim->world.schedule, 0, MS));
    if (!sim_fault(sim, FAULT_HANDLER_ERROR, &sim->world.faults, 5))
        return 0;
    if (err != NULL) {
        err->code = CDTX_USER;
        snprintf(err->text, sizeof err->text, "the service stumbled");
    }
    return CDTX_USER;
}

static int32_t definite_no(cdtx_error *err, const char *why, int64_t number) {
    if (err != NULL) {
        err->code = CDTX_REFUSED;
        snprintf(err->text, sizeof err->text, "%s %lld", why, (long long)number);
    }
    return CDTX_REFUSED;
}

static int32_t read_order(cdtx_tcc_call *call, struct shop_order *order) {
    size_t length;
    const void *payload = cdtx_tcc_payload(call, &length);
    if (length != sizeof *order)
        return CDTX_CORRUPT;
    memcpy(order, payload, sizeof *order);
    return 0;
}

/* One number of the business state. */
static int32_t ask(cdtx_sql *sql, const char *query, int64_t argument, int64_t *number, cdtx_error *err) {
    cdtx_sql_bind_int(sql, argument);
    int32_t rc = cdtx_sql_query(sql, query, err);
    if (rc == 0)
        *number = cdtx_sql_next(sql) ? cdtx_sql_int(sql, 0) : -1;
    return rc;
}

/* No constraint stops an effect that should not be: it must stay to be seen in the effect log. */
static int32_t move(cdtx_sql *sql, const char *statement, cdtx_tcc_call *call, const struct shop_order *order,
                    cdtx_error *err) {
    if (call != NULL) {
        const char *gid = cdtx_tcc_gid(call);
        cdtx_sql_bind_text(sql, gid, strlen(gid));
        cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    } else {
        cdtx_sql_bind_int(sql, order->quantity);
        cdtx_sql_bind_int(sql, order->article);
    }
    return cdtx_sql_exec(sql, statement, NULL, err);
}

static int32_t answer(cdtx_tcc_call *call, const char *word, int64_t number, cdtx_error *err) {
    char text[40];
    int length = snprintf(text, sizeof text, "%s %lld", word, (long long)number);
    return cdtx_tcc_answer(call, text, (size_t)length, err);
}

/* Some confirms are refused once it is too late, when the transaction has the policy for it; nothing else is. */
static int32_t end_answer(struct service *service, cdtx_tcc_call *call, const char *op, const struct shop_order *order,
                          cdtx_error *err) {
    struct sim *sim = service->life->sim;
    int refuses =
        order->mode == SHOP_NO_AT_LAST || (order->mode == SHOP_NO_AT_TIMES && prng_chance(&sim->world.work, 1, 2));
    if (op[0] != 'C' || !refuses)
        return mishap(service, err);
    check_said_no(sim, cdtx_tcc_gid(call));
    return definite_no(err, "it can no longer be confirmed, article", order->article);
}

/* ---- order ---- */

static int32_t order_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    struct service *service = user;
    struct shop_order order;
    int64_t open = 0;
    int32_t rc = read_order(call, &order);
    if (rc == 0)
        rc = add_effect(service, sql, call, "T", &order, err);
    if (rc == 0)
        rc = ask(sql, "SELECT count(*) FROM orders WHERE state = 'NEW' AND ?1 = ?1", 0, &open, err);
    if (rc == 0)
        rc = mishap(service, err);
    if (rc != 0)
        return rc;
    if (order.mode == SHOP_NO || (order.mode == SHOP_BY_STATE && open >= 12))
        return definite_no(err, "too many open orders:", open);
    cdtx_sql_bind_text(sql, cdtx_tcc_gid(call), strlen(cdtx_tcc_gid(call)));
    cdtx_sql_bind_int(sql, cdtx_tcc_branch(call));
    cdtx_sql_bind_int(sql, order.quantity);
    rc = cdtx_sql_exec(sql, "INSERT INTO orders VALUES (?, ?, ?, 'NEW') ON CONFLICT DO NOTHING", NULL, err);
    return rc != 0 ? rc : answer(call, "open", open, err);
}

static int32_t order_end(cdtx_sql *sql, cdtx_tcc_call *call, struct service *service, const char *op,
                         const char *statement, cdtx_error *err) {
    struct shop_order order;
    int32_t rc = read_order(call, &order);
    if (rc == 0)
        rc = add_effect(service, sql, call, op, &order, err);
    if (rc == 0)
        rc = move(sql, statement, call, &order, err);
    return rc != 0 ? rc : end_answer(service, call, op, &order, err);
}

static int32_t order_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    return order_end(sql, call, user, "C", "UPDATE orders SET state = 'CONFIRMED' WHERE gid = ? AND branch = ?", err);
}

static int32_t order_reverse(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    return order_end(sql, call, user, "R", "UPDATE orders SET state = 'REVERSED' WHERE gid = ? AND branch = ?", err);
}

static int32_t order_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    return order_end(sql, call, user, "X", "UPDATE orders SET state = 'CANCELLED' WHERE gid = ? AND branch = ?", err);
}

/* ---- stock ---- */

static int32_t stock_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    struct service *service = user;
    struct shop_order order;
    int64_t left = 0;
    int32_t rc = read_order(call, &order);
    if (rc == 0)
        rc = ask(sql, "SELECT free FROM stock WHERE article = ?", order.article, &left, err);
    if (rc == 0)
        rc = add_effect(service, sql, call, "T", &order, err);
    if (rc == 0)
        rc = mishap(service, err);
    if (rc != 0)
        return rc;
    if (order.mode == SHOP_NO || left < order.quantity)
        return definite_no(err, "sold out, left are", left);
    rc = move(sql, "UPDATE stock SET free = free - ?1, held = held + ?1 WHERE article = ?2", NULL, &order, err);
    return rc != 0 ? rc : answer(call, "left", left - order.quantity, err);
}

static int32_t stock_end(cdtx_sql *sql, cdtx_tcc_call *call, struct service *service, const char *op,
                         const char *statement, cdtx_error *err) {
    struct shop_order order;
    int32_t rc = read_order(call, &order);
    if (rc == 0)
        rc = add_effect(service, sql, call, op, &order, err);
    if (rc == 0)
        rc = move(sql, statement, NULL, &order, err);
    return rc != 0 ? rc : end_answer(service, call, op, &order, err);
}

static int32_t stock_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    return stock_end(sql, call, user, "C", "UPDATE stock SET held = held - ?1, sold = sold + ?1 WHERE article = ?2",
                     err);
}

static int32_t stock_reverse(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    return stock_end(sql, call, user, "R", "UPDATE stock SET sold = sold - ?1, free = free + ?1 WHERE article = ?2",
                     err);
}

static int32_t stock_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    return stock_end(sql, call, user, "X", "UPDATE stock SET held = held - ?1, free = free + ?1 WHERE article = ?2",
                     err);
}

/* ---- opening ---- */

int32_t shop_open(struct life *life, enum participant participant, cdtx_error *err) {
    struct service *service = world_alloc(&life->sim->world, sizeof *service);
    *service = (struct service){life, participant};
    char url[120];
    snprintf(url, sizeof url, "sqlite:%s?vfs=%s%s", shop_file(participant), life->vfs,
             life->node->shared ? "&share=1" : "");
    cdtx_db **db = &life->dbs[participant];
    int32_t rc = cdtx_db_open(life->engine, participant_names[participant], url, db, err);
    if (rc == 0)
        rc = cdtx_local(*db, make_tables, service, err);
    if (rc == 0) {
        cdtx_tcc_handlers handlers = {
            .size = sizeof handlers,
            .on_try = participant == ORDER ? order_try : stock_try,
            .on_confirm = participant == ORDER ? order_confirm : stock_confirm,
            .on_cancel = participant == ORDER ? order_cancel : stock_cancel,
            .on_reverse = participant == ORDER ? order_reverse : stock_reverse,
            .user = service,
        };
        rc = cdtx_tcc_add(*db, participant_names[participant], &handlers, err);
    }
    return rc != 0 ? rc : clerk_serve(life, (int)participant, err);
}
