/* shop FOLDER [share] [run]: the program that owns what the command line looks at. It has a log, two services with
 * databases of their own, and does what the lines on its standard input say, each answered by one line: "ok ..." or "no
 * ...". With "share" others may take turns with its files, with "run" it has a thread that works by itself. While the
 * file FOLDER/closed exists, the stock service says no to every confirm. Jobs, schedules, topics and half messages are
 * in the orders' database. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cdtx/admin.h>
#include <cdtx/msg.h>
#include <cdtx/retry.h>
#include <cdtx/tcc.h>

enum { URL_MAX = 4096, TRIES = 1000, STEP_MS = 10, HELD_MAX = 8 };
/* Columns of cdtx_tx_show and cdtx_half_list. */
enum { TX_PARKED = 2, HALF_PARKED = 4 };

struct shop {
    cdtx *engine;
    cdtx_db *orders, *stock;
    cdtx_work *held[HELD_MAX];
    cdtx_tx *open[HELD_MAX];
    int held_count, open_count;
    char topic[64]; /* that the stock service announces to; "": none */
    char closed[URL_MAX];
};

/* ---- services ---- */

static int32_t yes(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    (void)sql, (void)call, (void)user, (void)err;
    return 0;
}

/* What it announces is held until its confirm. */
static int32_t reserve(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    const struct shop *shop = user;
    (void)call;
    return shop->topic[0] == '\0' ? 0 : cdtx_msg_put(sql, shop->topic, "reserved", 8, NULL, NULL, err);
}

static int32_t ship(cdtx_sql *sql, cdtx_tcc_call *call, void *user, cdtx_error *err) {
    const struct shop *shop = user;
    (void)sql, (void)call;
    if (access(shop->closed, F_OK) == 0)
        return cdtx_error_set(err, CDTX_REFUSED, "the warehouse is closed");
    return 0;
}

static int32_t add_services(struct shop *shop, cdtx_error *err) {
    cdtx_tcc_handlers orders = {.size = sizeof orders, .on_try = yes, .on_confirm = yes, .on_cancel = yes};
    cdtx_tcc_handlers stock = {
        .size = sizeof stock, .on_try = reserve, .on_confirm = ship, .on_cancel = yes, .user = shop};
    cdtx_handler_options pulled = {.size = sizeof pulled};
    int32_t rc = cdtx_tcc_add(shop->orders, "order.place", &orders, err);
    if (rc == 0)
        rc = cdtx_tcc_add(shop->stock, "stock.reserve", &stock, err);
    return rc != 0 ? rc : cdtx_handler_add(shop->orders, "mint", &pulled, err);
}

static int32_t open_shop(struct shop *shop, const char *folder, const char *parameter, uint32_t threads,
                         cdtx_error *err) {
    char log[URL_MAX], orders[URL_MAX], stock[URL_MAX];
    (void)snprintf(shop->closed, sizeof shop->closed, "%s/closed", folder);
    (void)snprintf(log, sizeof log, "sqlite:%s/log.db%s", folder, parameter);
    (void)snprintf(orders, sizeof orders, "sqlite:%s/orders.db%s", folder, parameter);
    (void)snprintf(stock, sizeof stock, "sqlite:%s/stock.db%s", folder, parameter);
    cdtx_options options = {.size = sizeof options,
                            .log = log,
                            .threads = threads,
                            .backoff_min_ms = 1,
                            .backoff_max_ms = 2,
                            .park_attempts = 3};
    int32_t rc = cdtx_open(&options, &shop->engine, err);
    if (rc == 0)
        rc = cdtx_db_open(shop->engine, "orders", orders, &shop->orders, err);
    if (rc == 0)
        rc = cdtx_db_open(shop->engine, "stock", stock, &shop->stock, err);
    return rc != 0 ? rc : add_services(shop, err);
}

static void close_shop(struct shop *shop) {
    cdtx_error err;
    for (int i = 0; i < shop->held_count; i++)
        (void)cdtx_settle(shop->held[i], 0, NULL, &err);
    for (int i = 0; i < shop->open_count; i++)
        cdtx_tx_close(shop->open[i]);
    cdtx_db_close(shop->orders);
    cdtx_db_close(shop->stock);
    cdtx_close(shop->engine);
}

/* ---- what a line may ask ---- */

/* "order KEY": decided when it answers, and ended if the warehouse is open. "refused KEY" is rolled back. */
static int32_t order(struct shop *shop, const char *key, int roll_back, char *answer, size_t size, cdtx_error *err) {
    static const unsigned char line[] = {0, 1, 2, 255};
    cdtx_tx_options options = {.size = sizeof options, .name = "order", .key = key, .wait_for = CDTX_WAIT_ENDED};
    cdtx_tx *tx = NULL;
    int32_t rc = cdtx_tx_new(shop->engine, &options, &tx, err);
    if (rc == 0)
        rc = cdtx_tx_begin(tx, err);
    if (rc == 0)
        rc = cdtx_tx_try(tx, "order.place", "2 neon-crab", 11, err);
    if (rc == 0)
        rc = cdtx_tx_try(tx, "stock.reserve", line, sizeof line, err);
    if (rc == 0)
        rc = roll_back ? cdtx_tx_rollback(tx, err) : cdtx_tx_commit(tx, err);
    (void)snprintf(answer, size, "%s", cdtx_tx_gid(tx));
    cdtx_tx_close(tx);
    return rc;
}

/* "open KEY": begun and left undecided. */
static int32_t begin(struct shop *shop, const char *key, char *answer, size_t size, cdtx_error *err) {
    cdtx_tx_options options = {.size = sizeof options, .name = "basket", .key = key, .timeout_ms = 3600000};
    if (shop->open_count == HELD_MAX)
        return cdtx_error_set(err, CDTX_LIMIT, "too many are open");
    cdtx_tx **tx = &shop->open[shop->open_count];
    int32_t rc = cdtx_tx_new(shop->engine, &options, tx, err);
    if (rc != 0)
        return rc;
    shop->open_count++;
    rc = cdtx_tx_begin(*tx, err);
    (void)snprintf(answer, size, "%s", cdtx_tx_gid(*tx));
    return rc;
}

static int32_t is_parked(struct shop *shop, const char *gid, int *parked, cdtx_error *err) {
    cdtx_report *report = NULL;
    int32_t rc = cdtx_tx_show(shop->engine, gid, &report, err);
    *parked = rc == 0 && cdtx_report_next(report) && cdtx_report_type(report, TX_PARKED) == CDTX_TEXT;
    cdtx_report_close(report);
    return rc;
}

/* Any half message. */
static int32_t is_doubted(struct shop *shop, const char *none, int *parked, cdtx_error *err) {
    cdtx_report *report = NULL;
    (void)none;
    int32_t rc = cdtx_half_list(shop->orders, NULL, 0, &report, err);
    while (rc == 0 && !*parked && cdtx_report_next(report))
        *parked = cdtx_report_type(report, HALF_PARKED) == CDTX_TEXT;
    cdtx_report_close(report);
    return rc;
}

typedef int32_t (*parked_fn)(struct shop *shop, const char *what, int *parked, cdtx_error *err);

static int32_t until_parked(struct shop *shop, parked_fn is, const char *what, cdtx_error *err) {
    for (int i = 0; i < TRIES; i++) {
        int parked = 0;
        int32_t rc = is(shop, what, &parked, err);
        if (rc != 0 || parked)
            return rc;
        rc = cdtx_run(shop->engine, STEP_MS, err);
        if (rc != 0)
            return rc;
    }
    return cdtx_error_set(err, CDTX_TIMEOUT, "it is not parked");
}

/* "stuck KEY": an order, and runs until it is parked. */
static int32_t stuck(struct shop *shop, const char *key, char *answer, size_t size, cdtx_error *err) {
    int32_t rc = order(shop, key, 0, answer, size, err);
    return rc != 0 ? rc : until_parked(shop, is_parked, answer, err);
}

struct put {
    const char *handler;
    const char *payload;
    cdtx_job_options options;
    int64_t id;
};

static int32_t put_job(cdtx_sql *sql, void *user, cdtx_error *err) {
    struct put *put = user;
    return cdtx_job_put(sql, put->handler, put->payload, strlen(put->payload), &put->options, &put->id, err);
}

/* "job HANDLER KEY ROW": in the orders' database, due in an hour when its handler is "later"; ROW is its concurrency
 * key. */
static int32_t job(struct shop *shop, const char *handler, const char *key, const char *row, char *answer, size_t size,
                   cdtx_error *err) {
    struct put put = {.handler = handler, .payload = "mint neon-crab", .options = {.size = sizeof put.options}};
    put.options.unique_key = key[0] != '\0' ? key : NULL;
    put.options.unique_policy = CDTX_UNIQUE_REPLACE;
    put.options.concurrency_key = row;
    put.options.deadline_ms = row != NULL ? 7200000 : 0;
    put.options.delay_ms = strcmp(handler, "later") == 0 ? 3600000 : 0;
    int32_t rc = cdtx_local(shop->orders, put_job, &put, err);
    (void)snprintf(answer, size, "%" PRId64, put.id);
    return rc;
}

/* "take MS": holds the next job's lease, if one comes in that time (default: long). "kill": takes it, and says that it
 * can never be done. "fail": that it was not done now. */
static int32_t take(struct shop *shop, char how, const char *ms, char *answer, size_t size, cdtx_error *err) {
    cdtx_work *work = NULL;
    int64_t wait_ms = ms[0] == '\0' ? TRIES * STEP_MS : strtoll(ms, NULL, 10);
    int32_t rc = cdtx_take(shop->engine, wait_ms, &work, err);
    if (rc == 0 && work == NULL)
        rc = cdtx_error_set(err, CDTX_NOT_FOUND, "no job came");
    if (rc != 0)
        return rc;
    (void)snprintf(answer, size, "%" PRId64, cdtx_work_id(work));
    if (how == 'k')
        return cdtx_settle(work, CDTX_REFUSED, "no such collectible", err);
    if (how == 'f')
        return cdtx_settle(work, CDTX_IO, "the mint is closed", err);
    if (shop->held_count == HELD_MAX)
        return cdtx_settle(work, CDTX_BUSY, "too many are held", err);
    shop->held[shop->held_count++] = work;
    return 0;
}

/* "cron NAME": at half past two each night in Berlin. */
static int32_t cron(struct shop *shop, const char *name, cdtx_error *err) {
    cdtx_cron_options options = {
        .size = sizeof options, .when = "30 2 * * *", .zone = "Europe/Berlin", .handler = "mint"};
    return cdtx_cron_add(shop->orders, name, &options, err);
}

/* "join TOPIC GROUP": pulled by "take" and "kill". */
static int32_t join(struct shop *shop, const char *topic, const char *group, cdtx_error *err) {
    cdtx_consumer_options options = {.size = sizeof options, .in_order = 1};
    return cdtx_consumer_add(shop->orders, topic, group, &options, err);
}

/* "half TOPIC PRODUCER": due to be checked at once. */
static int32_t half(struct shop *shop, const char *topic, const char *producer, char *answer, cdtx_error *err) {
    cdtx_half_options options = {.size = sizeof options, .producer = producer, .immunity_ms = 1};
    return cdtx_half_prepare(shop->orders, topic, "paid", 4, &options, answer, err);
}

static int32_t cannot_tell(const char *handle, const char *topic, const void *payload, size_t length, void *user) {
    (void)handle, (void)topic, (void)payload, (void)length, (void)user;
    return CDTX_HALF_OPEN;
}

/* "checker PRODUCER": it never knows, and is asked once before the half is parked, which "doubt" waits for. */
static int32_t check(struct shop *shop, const char *producer, cdtx_error *err) {
    cdtx_half_checker checker = {.size = sizeof checker, .check = cannot_tell, .checks_max = 1};
    return cdtx_half_checker_add(shop->orders, producer, &checker, err);
}

/* "announce TOPIC": from then on the stock service does, in its own database. */
static int32_t announce(struct shop *shop, const char *topic, cdtx_error *err) {
    (void)snprintf(shop->topic, sizeof shop->topic, "%s", topic);
    return cdtx_topic_add(shop->stock, topic, NULL, err);
}

/* Schedules and messages. */
static int32_t serve_message(struct shop *shop, const char *what, const char *first, const char *second, char *answer,
                             cdtx_error *err) {
    if (strcmp(what, "cron") == 0)
        return cron(shop, first, err);
    if (strcmp(what, "topic") == 0)
        return cdtx_topic_add(shop->orders, first, NULL, err);
    if (strcmp(what, "join") == 0)
        return join(shop, first, second, err);
    if (strcmp(what, "send") == 0)
        return cdtx_msg_send(shop->orders, first, second, strlen(second), NULL, answer, err);
    if (strcmp(what, "half") == 0)
        return half(shop, first, second, answer, err);
    if (strcmp(what, "checker") == 0)
        return check(shop, first, err);
    if (strcmp(what, "doubt") == 0)
        return until_parked(shop, is_doubted, NULL, err);
    if (strcmp(what, "announce") == 0)
        return announce(shop, first, err);
    return cdtx_error_set(err, CDTX_INVALID, "no such command");
}

static int32_t wait_for(struct shop *shop, const char *gid, char *answer, size_t size, cdtx_error *err) {
    int32_t state = 0;
    int32_t rc = cdtx_tx_wait(shop->engine, gid, TRIES * STEP_MS, &state, err);
    (void)snprintf(answer, size, "%d", state);
    return rc;
}

static int32_t serve(struct shop *shop, char *line, char *answer, size_t size, cdtx_error *err) {
    char *rest = NULL;
    const char *what = strtok_r(line, " ", &rest), *first = strtok_r(NULL, " ", &rest);
    const char *second = strtok_r(NULL, " ", &rest);
    if (what == NULL)
        return cdtx_error_set(err, CDTX_INVALID, "an empty line");
    first = first != NULL ? first : "";
    if (strcmp(what, "order") == 0)
        return order(shop, first, 0, answer, size, err);
    if (strcmp(what, "refused") == 0)
        return order(shop, first, 1, answer, size, err);
    if (strcmp(what, "open") == 0)
        return begin(shop, first, answer, size, err);
    if (strcmp(what, "stuck") == 0)
        return stuck(shop, first, answer, size, err);
    if (strcmp(what, "wait") == 0)
        return wait_for(shop, first, answer, size, err);
    if (strcmp(what, "job") == 0)
        return job(shop, first, second != NULL ? second : "", strtok_r(NULL, " ", &rest), answer, size, err);
    if (strcmp(what, "take") == 0 || strcmp(what, "kill") == 0 || strcmp(what, "fail") == 0)
        return take(shop, what[0], first, answer, size, err);
    return serve_message(shop, what, first, second != NULL ? second : "", answer, err);
}

int main(int argc, char **argv) {
    struct shop shop = {0};
    cdtx_error err = {0};
    char line[URL_MAX];
    int share = 0, run = 0;
    for (int i = 2; i < argc; i++) {
        share |= strcmp(argv[i], "share") == 0;
        run |= strcmp(argv[i], "run") == 0;
    }
    if (argc < 2 || open_shop(&shop, argv[1], share ? "?share=1" : "", (uint32_t)run, &err) != 0) {
        (void)printf("no %s\n", err.text);
        close_shop(&shop);
        return EXIT_FAILURE;
    }
    (void)printf("ok\n");
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        char answer[CDTX_GID_MAX] = "";
        line[strcspn(line, "\n")] = '\0';
        int32_t rc = serve(&shop, line, answer, sizeof answer, &err);
        (void)printf("%s %s\n", rc == 0 ? "ok" : "no", rc == 0 ? answer : err.text);
    }
    close_shop(&shop);
    return EXIT_SUCCESS;
}
