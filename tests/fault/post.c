/* The post office: its tables, and who reads what. */
#include "post.h"

#include <cdtx/msg.h>
#include <cdtx/retry.h>
#include <cdtx/tcc.h>
#include <stdio.h>
#include <string.h>

#include "post_names.h"

enum { URL_MAX = 512 };
enum { FOR_EVER = 1000000, LEASE_MS = 1000, BACKOFF_MIN_MS = 20, BACKOFF_MAX_MS = 200, CHECK_MS = 100 };

/* ---- what its files share ---- */

void post_bind(cdtx_sql *sql, const char *text) {
    cdtx_sql_bind_text(sql, text, strlen(text));
}

void post_key(const cdtx_work *work, char key[LEDGER_KEY_MAX]) {
    size_t length = 0;
    const char *payload = cdtx_work_payload(work, &length);
    (void)snprintf(key, LEDGER_KEY_MAX, "%.*s", (int)length, payload);
}

int32_t post_verdict(const cdtx_work *work, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    post_key(work, key);
    if (strstr(key, "poison") != NULL)
        return cdtx_error_set(err, CDTX_REFUSED, "poison");
    if (strstr(key, "slow") != NULL && cdtx_work_attempt(work) == 1)
        return cdtx_error_set(err, CDTX_USER, "not at once");
    return 0;
}

/* ---- tables ---- */

/* Effects have no key, so that one that comes twice is seen. */
#define GOT     "CREATE TABLE IF NOT EXISTS got(id INTEGER PRIMARY KEY, key TEXT NOT NULL, message TEXT NOT NULL)"
#define PROMISE "CREATE TABLE IF NOT EXISTS promise(gid TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL)"

static const char *const post_tables[] = {
    GOT,
    PROMISE,
    "CREATE TABLE IF NOT EXISTS pulled(key TEXT NOT NULL, job INTEGER NOT NULL, token INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sent(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS chore(key TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS cancelled(key TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS stroke(slot INTEGER NOT NULL)",
    NULL,
};
static const char *const shop_tables[] = {
    GOT,
    PROMISE,
    "CREATE TABLE IF NOT EXISTS plain(key TEXT NOT NULL, job INTEGER NOT NULL, token INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS deal(key TEXT NOT NULL UNIQUE, handle TEXT NOT NULL)",
    NULL,
};
static const char *const log_tables[] = {
    "CREATE TABLE IF NOT EXISTS hook(kind TEXT NOT NULL, key TEXT NOT NULL, gid TEXT NOT NULL)",
    NULL,
};

static int32_t make_tables(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t rc = 0;
    for (const char *const *table = user; rc == 0 && *table != NULL; table++)
        rc = cdtx_sql_exec(sql, *table, NULL, err);
    return rc;
}

static int32_t open_databases(struct house *house, const struct house_site *site, cdtx_error *err) {
    char url[URL_MAX];
    int32_t rc = cdtx_db_log(house->engine, &house->log, err);
    house_url(site, "post.db", url, sizeof url);
    if (rc == 0)
        rc = cdtx_db_open(house->engine, "post", url, &house->post, err);
    house_url(site, "shop.db", url, sizeof url);
    if (rc == 0)
        rc = cdtx_db_open(house->engine, "shop", url, &house->shop, err);
    if (rc == 0)
        rc = cdtx_local(house->log, make_tables, (void *)(uintptr_t)log_tables, err);
    if (rc == 0)
        rc = cdtx_local(house->post, make_tables, (void *)(uintptr_t)post_tables, err);
    if (rc == 0)
        rc = cdtx_local(house->shop, make_tables, (void *)(uintptr_t)shop_tables, err);
    return rc;
}

/* ---- promises ---- */

static const char in_post[] = "post";

static size_t promise_key(const cdtx_tcc_call *call, char key[LEDGER_KEY_MAX]) {
    size_t length = 0;
    const char *payload = cdtx_tcc_payload(call, &length);
    (void)snprintf(key, LEDGER_KEY_MAX, "%.*s", (int)length, payload);
    return length;
}

static int32_t promise_try(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    size_t length = promise_key(call, key);
    post_bind(sql, cdtx_tcc_gid(call));
    post_bind(sql, key);
    int32_t rc = cdtx_sql_exec(sql, "INSERT INTO promise VALUES (?, ?, 'HELD')", NULL, err);
    if (rc == 0 && user == in_post && strstr(key, "taken-back") == NULL) {
        char order[2] = {key[0], '\0'};
        cdtx_msg_options o = {.size = sizeof o, .key = order};
        rc = cdtx_msg_put(sql, TOPIC, key, length, &o, NULL, err);
    } else if (rc == 0 && strstr(key, "refuse") != NULL) {
        rc = cdtx_error_set(err, CDTX_REFUSED, "the shop promises nothing of that kind");
    }
    return rc;
}

static int32_t promise_move(cdtx_sql *sql, cdtx_tcc_call *call, const char *from, const char *to, cdtx_error *err) {
    int64_t changes = 0;
    post_bind(sql, to);
    post_bind(sql, cdtx_tcc_gid(call));
    post_bind(sql, from);
    int32_t rc = cdtx_sql_exec(sql, "UPDATE promise SET state = ? WHERE gid = ? AND state = ?", &changes, err);
    return rc != 0 || changes == 1 ? rc : cdtx_error_set(err, CDTX_CORRUPT, "no such promise stands so");
}

/* What may be taken back is not kept yet. */
static int32_t promise_confirm(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    promise_key(call, key);
    if (strstr(key, "taken-back") == NULL)
        return promise_move(sql, call, "HELD", "KEPT", err);
    if (user != in_post)
        return cdtx_error_set(err, CDTX_REFUSED, "the shop takes it back");
    return promise_move(sql, call, "HELD", "CONFIRMED", err);
}

static int32_t promise_cancel(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return promise_move(sql, call, "HELD", "BROKEN", err);
}

static int32_t promise_reverse(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)user;
    return promise_move(sql, call, "CONFIRMED", "BROKEN", err);
}

static int32_t add_puts(struct house *house, cdtx_error *err) {
    cdtx_tcc_handlers h = {.size = sizeof h,
                           .on_try = promise_try,
                           .on_confirm = promise_confirm,
                           .on_cancel = promise_cancel,
                           .on_reverse = promise_reverse,
                           .user = (void *)(uintptr_t)in_post};
    int32_t rc = cdtx_topic_add(house->post, TOPIC, NULL, err);
    if (rc == 0)
        rc = cdtx_tcc_add(house->post, IN_POST, &h, err);
    h.user = NULL;
    if (rc == 0)
        rc = cdtx_tcc_add(house->shop, IN_SHOP, &h, err);
    return rc;
}

/* ---- readers ---- */

static int32_t write_got(cdtx_sql *sql, const cdtx_work *work, const char *key, cdtx_error *err) {
    char message[CDTX_GID_MAX];
    cdtx_msg_id(work, message);
    post_bind(sql, key);
    post_bind(sql, message);
    return cdtx_sql_exec(sql, "INSERT INTO got(key, message) VALUES (?, ?)", NULL, err);
}

static int32_t read_here(cdtx_work *work, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    (void)user;
    post_key(work, key);
    int32_t rc = post_verdict(work, err);
    return rc != 0 ? rc : write_got(cdtx_work_sql(work), work, key, err);
}

static int32_t read_away(cdtx_work *work, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    (void)user;
    post_key(work, key);
    return write_got(cdtx_work_sql(work), work, key, err);
}

int32_t post_write_done(cdtx_sql *sql, const char *statement, const cdtx_work *work, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    post_key(work, key);
    post_bind(sql, key);
    cdtx_sql_bind_int(sql, cdtx_work_id(work));
    cdtx_sql_bind_int(sql, cdtx_work_token(work));
    return cdtx_sql_exec(sql, statement, NULL, err);
}

static int32_t write_plain(cdtx_sql *sql, void *user, cdtx_error *err) {
    return post_write_done(sql, "INSERT INTO plain VALUES (?, ?, ?)", user, err);
}

/* Once it is done there, the world has seen it. */
static int32_t read_plain(cdtx_work *work, void *user, cdtx_error *err) {
    struct house *house = user;
    int32_t rc = cdtx_local(house->shop, write_plain, work, err);
    if (rc == 0 && house->left != NULL)
        house->left(house->witness, LEFT_EFFECT, cdtx_work_id(work), cdtx_work_token(work));
    return rc;
}

static int32_t add_readers(struct house *house, cdtx_error *err) {
    cdtx_consumer_options o = {.size = sizeof o,
                               .in_local = 1,
                               .in_order = 1,
                               .handler = read_here,
                               .attempts_max = FOR_EVER,
                               .crashes_max = FOR_EVER,
                               .lease_ms = LEASE_MS,
                               .backoff_min_ms = BACKOFF_MIN_MS,
                               .backoff_max_ms = BACKOFF_MAX_MS};
    int32_t rc = cdtx_consumer_add(house->post, TOPIC, "here", &o, err);
    o.in_order = 0;
    o.handler = read_away;
    o.local_db = house->shop;
    if (rc == 0)
        rc = cdtx_consumer_add(house->post, TOPIC, "away", &o, err);
    o.in_local = 0;
    o.handler = read_plain;
    o.user = house;
    o.local_db = NULL;
    if (rc == 0)
        rc = cdtx_consumer_add(house->post, TOPIC, "plain", &o, err);
    o.handler = NULL;
    o.user = NULL;
    if (rc == 0)
        rc = cdtx_consumer_add(house->post, TOPIC, "pulled", &o, err);
    cdtx_half_checker checker = {
        .size = sizeof checker, .guard_db = house->shop, .interval_ms = CHECK_MS, .checks_max = FOR_EVER};
    return rc != 0 ? rc : cdtx_half_checker_add(house->post, PRODUCER, &checker, err);
}

/* ---- jobs ---- */

static int32_t write_chore(cdtx_work *work, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    (void)user;
    post_key(work, key);
    if (strstr(key, "doom") != NULL)
        return cdtx_error_set(err, CDTX_BUSY, "never");
    if (strstr(key, "snooze") != NULL && cdtx_work_token(work) == 1)
        return cdtx_work_snooze(work, 60, "not yet", err);
    if (strstr(key, "again") != NULL && cdtx_work_attempt(work) == 1)
        return cdtx_work_retry_after(work, 60, "once more", err);
    post_bind(cdtx_work_sql(work), key);
    return cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO chore VALUES (?)", NULL, err);
}

static int32_t write_stroke(cdtx_work *work, void *user, cdtx_error *err) {
    (void)user;
    cdtx_sql_bind_int(cdtx_work_sql(work), cdtx_cron_slot_ms(work));
    return cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO stroke VALUES (?)", NULL, err);
}

static int32_t write_hook(cdtx_work *work, void *user, cdtx_error *err) {
    char key[LEDGER_KEY_MAX];
    (void)user;
    post_key(work, key);
    post_bind(cdtx_work_sql(work), cdtx_work_handler(work));
    post_bind(cdtx_work_sql(work), key);
    post_bind(cdtx_work_sql(work), cdtx_work_gid(work));
    return cdtx_sql_exec(cdtx_work_sql(work), "INSERT INTO hook VALUES (?, ?, ?)", NULL, err);
}

static int32_t add_jobs(struct house *house, cdtx_error *err) {
    static const char *const hooks[] = {HOOK_COMMIT_JOB, HOOK_LATE_JOB, HOOK_UNDO_JOB};
    cdtx_handler_options o = {.size = sizeof o,
                              .in_local = 1,
                              .handler = write_chore,
                              .attempts_max = FOR_EVER,
                              .crashes_max = FOR_EVER,
                              .lease_ms = LEASE_MS,
                              .backoff_min_ms = BACKOFF_MIN_MS,
                              .backoff_max_ms = BACKOFF_MAX_MS};
    cdtx_cron_options cron = {
        .size = sizeof cron, .when = "* * * * *", .handler = STROKE, .catch_up = CDTX_CATCH_UP_ALL};
    int32_t rc = cdtx_handler_add(house->post, CHORE, &o, err);
    o.handler = write_stroke;
    if (rc == 0)
        rc = cdtx_handler_add(house->post, STROKE, &o, err);
    o.handler = write_hook;
    for (size_t i = 0; rc == 0 && i < sizeof hooks / sizeof hooks[0]; i++)
        rc = cdtx_handler_add(house->log, hooks[i], &o, err);
    o.in_local = 0;
    o.handler = NULL;
    if (rc == 0)
        rc = cdtx_handler_add(house->post, ERRAND, &o, err);
    return rc != 0 ? rc : cdtx_cron_add(house->post, CLOCK, &cron, err);
}

/* ---- opening ---- */

int32_t post_open_part(struct house *house, const struct house_site *site, const struct house_options *options,
                       int part, cdtx_error *err) {
    int32_t rc = house_open_engine(house, site, options, err);
    if (rc == 0)
        rc = open_databases(house, site, err);
    if (rc == 0)
        rc = add_puts(house, err);
    if (rc == 0 && (part & POST_READS))
        rc = add_readers(house, err);
    if (rc == 0 && (part & POST_READS))
        rc = add_jobs(house, err);
    if (rc != 0)
        house_close(house);
    return rc;
}

int32_t post_open(struct house *house, const struct house_site *site, const struct house_options *options,
                  cdtx_error *err) {
    return post_open_part(house, site, options, POST_ALL, err);
}
