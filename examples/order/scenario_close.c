/* Orders that are not paid in time: closed by a delayed job, their pieces given back by way of a message, whatever
 * fails, dies or comes in between. */
#include "scenarios.h"

#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "give_back.h"
#include "life.h"
#include "story.h"

enum { PATIENCE_MS = 10000, HEAR_MS = 10000, STEP_MS = 10, STEPS = 500, PIECES = 10 };
/* Time to pay: long enough to begin with it, or for the order to be told of before it is closed. */
enum { ENOUGH_MS = 1000, SHORT_MS = 300, FAILURES = 2 };

struct night {
    struct shop *shop;
    struct shop_watch watch;
    uint32_t deliveries; /* that the stock service was asked to carry out */
    uint32_t failures;   /* so many attempts at a delivery fail */
    const char *poison;  /* the request whose message cannot be read; NULL: none */
    /* A customer who pays while the order is being closed. */
    char late_request[ORDER_REQUEST_MAX + 1]; /* "": nobody does */
    int came, joined;
    pthread_t customer;
    int32_t answer;
    cdtx_error why;
};

/* ---- the shop's handlers meet it ---- */

static void *pay_late(void *user) {
    struct night *night = user;
    night->answer = cdtx_local(night->shop->orders, payment_record, night->late_request, &night->why);
    return NULL;
}

static void on_close(void *user, const struct order_line *line) {
    struct night *night = user;
    if (night->came || strcmp(night->late_request, line->request) != 0)
        return;
    night->came = pthread_create(&night->customer, NULL, pay_late, night) == 0;
}

static int32_t on_give_back(void *user, const struct order_line *line, uint32_t attempt, cdtx_error *err) {
    struct night *night = user;
    night->deliveries++;
    if (night->poison != NULL && strcmp(night->poison, line->request) == 0)
        return say_no(err, CDTX_USER, "the label of this parcel cannot be read");
    return attempt <= night->failures ? say_no(err, CDTX_USER, "the scanner is broken") : 0;
}

static void watch_night(struct night *night, struct shop *shop) {
    *night = (struct night){.shop = shop};
    night->watch = (struct shop_watch){.user = night, .on_close = on_close, .on_give_back = on_give_back};
}

/* ---- paying in time, and too late ---- */

/* The payment's local transaction stays open while the deadline passes; everybody else waits for the database. */
static int32_t pay_across_deadline(struct shop *shop, char *request, cdtx_error *err) {
    cdtx_sql *sql = NULL;
    int32_t rc = cdtx_sql_begin(shop->orders, &sql, err);
    if (rc == 0)
        rc = payment_record(sql, request, err);
    if (rc == 0)
        rc = cdtx_run(shop->engine, ENOUGH_MS + SHORT_MS, err);
    if (rc == 0)
        rc = cdtx_sql_commit(sql, err);
    cdtx_sql_close(sql);
    return rc;
}

static int32_t play_in_time(struct stage *stage, struct shop *shop, cdtx_error *err) {
    struct order_line line = stage_request(stage, 2);
    struct balance now;
    shop->terms.within_ms = ENOUGH_MS;
    stage_expect(stage, stage_order(shop, &line, PATIENCE_MS) == 0, "the order was not confirmed");
    story_event("- pays in the last moment: the deadline passes while the payment is being written");
    int32_t rc = pay_across_deadline(shop, line.request, err);
    if (rc == 0)
        rc = stage_settle(stage, shop, err);
    if (rc == 0)
        rc = stage_look(stage, &now, err);
    if (rc != 0)
        return rc;
    int paid = now.confirmed == stage->before.confirmed + 1 && now.closed == stage->before.closed;
    stage_expect(stage, paid, "an order that was paid was closed");
    story_why("the payment's commit took the closing job back with it: nothing is closed");
    return 0;
}

static int32_t until_customer_came(struct night *night, cdtx_error *err) {
    for (int i = 0; i < STEPS && !night->came; i++) {
        int32_t rc = cdtx_run(night->shop->engine, STEP_MS, err);
        if (rc != 0)
            return rc;
    }
    if (!night->came)
        return say_no(err, CDTX_TIMEOUT, "the unpaid order was not closed");
    (void)pthread_join(night->customer, NULL);
    night->joined = 1;
    return 0;
}

static int32_t play_too_late(struct stage *stage, struct shop *shop, struct night *night, cdtx_error *err) {
    struct order_line line = stage_request(stage, 3);
    shop->terms.within_ms = SHORT_MS;
    night->failures = FAILURES;
    (void)snprintf(night->late_request, sizeof night->late_request, "%s", line.request);
    stage_expect(stage, stage_order(shop, &line, PATIENCE_MS) == 0, "the order was not confirmed");
    int32_t rc = until_customer_came(night, err);
    if (rc != 0)
        return rc;
    story_event("- pays too late, while the job is closing the order: %s, %s", cdtx_code_name(night->answer),
                night->why.text);
    stage_expect(stage, night->answer == CDTX_REFUSED, "an order that was closed could be paid");
    story_why("one commit closed the order and put the message \"order closed\" for the stock service");
    rc = stage_settle(stage, shop, err);
    if (rc != 0)
        return rc;
    stage_expect(stage, night->deliveries == FAILURES + 1, "the stock service did not fail twice");
    story_event("- the stock service fails %d times (the scanner is broken), then gives the pieces back", FAILURES);
    night->failures = 0;
    night->late_request[0] = '\0';
    return stage_show(stage, "now", err);
}

static int32_t play_payments(struct stage *stage, cdtx_error *err) {
    struct shop shop;
    struct night night;
    watch_night(&night, &shop);
    int32_t rc = stage_open(stage, &shop, &(struct shop_options){.watch = &night.watch}, PIECES, err);
    if (rc != 0)
        return rc;
    story_why("orders must be paid in time: the commit that makes one also puts a delayed job that closes it");
    rc = play_in_time(stage, &shop, err);
    if (rc == 0)
        rc = play_too_late(stage, &shop, &night, err);
    if (night.came && !night.joined)
        (void)pthread_join(night.customer, NULL);
    shop_close(&shop);
    return rc;
}

/* ---- kill -9 between the stock's commit and the end of the delivery ---- */

struct gate {
    sem_t given, go;
    int passed;
};

/* The pieces are given back in this local transaction of stock.db, but it waits until orders.db is taken. */
static int32_t wait_at_gate(void *user, const struct order_line *line, uint32_t attempt, cdtx_error *err) {
    struct gate *gate = user;
    (void)line, (void)attempt, (void)err;
    if (gate->passed)
        return 0;
    gate->passed = 1;
    (void)sem_post(&gate->given);
    while (sem_wait(&gate->go) != 0)
        continue;
    return 0;
}

static int32_t until_given_back(const char *folder, const char *request, cdtx_error *err) {
    int given_back = 0;
    int32_t rc = 0;
    while (rc == 0 && !given_back) {
        struct books *books = NULL;
        rc = books_open(folder, &books, err);
        if (rc == 0 && books != NULL)
            rc = books_given_back(books, request, &given_back, err);
        books_close(books);
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
    return rc;
}

/* The engine's own thread works; this one takes orders.db, so that the delivery's end must wait. */
static int32_t stop_between(struct shop *shop, struct gate *gate, char **argv, cdtx_error *err) {
    struct order_line line;
    cdtx_sql *sql = NULL;
    shop->terms.within_ms = 1;
    int32_t rc = order_line_read(argv[2], strlen(argv[2]), &line, err);
    if (rc == 0)
        rc = shop_order(shop, &line, PATIENCE_MS, NULL, err);
    if (rc != 0)
        return rc;
    while (sem_wait(&gate->given) != 0)
        continue;
    rc = cdtx_sql_begin(shop->orders, &sql, err);
    (void)sem_post(&gate->go);
    if (rc == 0)
        rc = until_given_back(argv[1], line.request, err);
    if (rc == 0)
        (void)printf("now\n");
    while (rc == 0)
        (void)pause();
    cdtx_sql_close(sql);
    return rc;
}

int32_t live_and_close(char **argv, cdtx_error *err) {
    struct shop shop;
    struct gate gate = {.passed = 0};
    struct shop_watch watch = {.user = &gate, .on_give_back = wait_at_gate};
    if (sem_init(&gate.given, 0, 0) != 0 || sem_init(&gate.go, 0, 0) != 0)
        return say_no(err, CDTX_IO, "there are no semaphores");
    int32_t rc = shop_open(&shop, argv[1], &(struct shop_options){.threads = 1, .watch = &watch}, err);
    if (rc != 0)
        return rc;
    rc = stop_between(&shop, &gate, argv, err);
    shop_close(&shop);
    return rc;
}

static int32_t kill_between(struct stage *stage, cdtx_error *err) {
    struct order_line line = stage_request(stage, 1);
    struct life life;
    struct balance dead;
    char order[ORDER_TEXT_MAX];
    (void)order_line_write(&line, order);
    const char *const arguments[] = {"close", stage->folder, order, NULL};
    story_event("- wants %" PRId64 " %s and never pays: kill -9 of the whole shop when stock.db has committed the",
                line.quantity, line.sku);
    story_event("  giving back, and orders.db does not know yet that the message was delivered");
    int32_t rc = life_start(&life, arguments, err);
    if (rc != 0)
        return rc;
    rc = life_kill(&life, life_hear(&life, HEAR_MS, err), NULL, err);
    if (rc == 0)
        rc = stage_look(stage, &dead, err);
    if (rc != 0)
        return rc;
    stage_expect(stage, dead.jobs == 1, "it was not killed between the two commits");
    return stage_show(stage, "dead", err);
}

static int32_t play_killed(struct stage *stage, cdtx_error *err) {
    struct shop shop;
    struct night night;
    watch_night(&night, &shop);
    int32_t rc = kill_between(stage, err);
    if (rc == 0)
        rc = shop_open(&shop, stage->folder, &(struct shop_options){.watch = &night.watch}, err);
    if (rc != 0)
        return rc;
    rc = stage_settle(stage, &shop, err);
    shop_close(&shop);
    stage_expect(stage, night.deliveries == 0, "the stock service was asked to give back a second time");
    if (rc == 0)
        story_why("restarted: the message is delivered again, and its mark in stock.db says that it has taken effect");
    return rc != 0 ? rc : stage_show(stage, "now", err);
}

/* ---- a message that cannot be read ---- */

static int32_t live_with_poison(struct stage *stage, struct shop *shop, struct night *night, cdtx_error *err) {
    struct order_line lines[] = {stage_request(stage, 1), stage_request(stage, 2), stage_request(stage, 1)};
    struct balance now = {0};
    shop->terms.within_ms = SHORT_MS;
    night->poison = lines[1].request;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        stage_expect(stage, stage_order(shop, &lines[i], PATIENCE_MS) == 0, "an order was not confirmed");
    int32_t rc = stage_settle(stage, shop, err);
    if (rc == 0)
        rc = stage_look(stage, &now, err);
    night->poison = NULL;
    stage_expect(stage, rc != 0 || now.dead == 1, "not just the one message was given up");
    return rc;
}

/* The shop's files have one owner, so it is closed for that. */
static int32_t step_in(struct stage *stage, cdtx_error *err) {
    char job[STAGE_JOB_MAX];
    int32_t rc = stage_dead_job(stage, STOCK_GROUP, "orders", job, err);
    const char *const list[] = {"job", "list", "--db", "orders=./orders.db", "--state", "dead", NULL};
    const char *const retry[] = {
        "job", "retry", job, "--db", "orders=./orders.db", "--actor", "ann", "--reason", "the stock can read it now",
        NULL};
    if (rc == 0)
        rc = command_run(stage->folder, list, err);
    if (rc != 0)
        return rc;
    story_event("- the stock service learns to read it, and ann lets the message go on");
    return command_run(stage->folder, retry, err);
}

static int32_t play_poison(struct stage *stage, cdtx_error *err) {
    struct shop shop;
    struct night night;
    watch_night(&night, &shop);
    struct shop_options options = {.watch = &night.watch};
    int32_t rc = shop_open(&shop, stage->folder, &options, err);
    if (rc != 0)
        return rc;
    rc = live_with_poison(stage, &shop, &night, err);
    shop_close(&shop);
    if (rc != 0)
        return rc;
    story_event("- nobody pays: all three are closed, but the stock service cannot read the second message");
    story_why("after some attempts that message is given up and kept for a person; its neighbours went through");
    rc = stage_show(stage, "stuck", err);
    if (rc == 0)
        rc = step_in(stage, err);
    if (rc == 0)
        rc = shop_open(&shop, stage->folder, &options, err);
    if (rc != 0)
        return rc;
    rc = stage_settle(stage, &shop, err);
    shop_close(&shop);
    return rc;
}

int32_t play_close(struct stage *stage, cdtx_error *err) {
    int32_t rc = play_payments(stage, err);
    if (rc == 0)
        rc = play_killed(stage, err);
    if (rc == 0)
        rc = play_poison(stage, err);
    return rc != 0 ? rc : stage_judge(stage, 2, err);
}
