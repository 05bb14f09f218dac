/* Recovery: a process is killed with many transactions in doubt, and another one opens its files and ends them. Half of
 * them are decided and no confirm has arrived; half are undecided, with the order placed and the stock never asked. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { LONG_MS = 600000 };

/* ---- the process that is killed ---- */

static uint64_t placed; /* atomic: orders whose try has been answered */

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    (void)engine;
    (void)participant;
    return 1;
}

static void answer(void *user, uint64_t id, const cdtx_reply *reply) {
    __atomic_add_fetch(&placed, 1, __ATOMIC_RELAXED);
    cdtx_link_reply(user, id, reply);
}

/* Loses every confirm, and the stock's try of every other order. */
static int32_t send_some(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    (void)user;
    struct line line;
    int is_line = call->length == sizeof line;
    if (is_line)
        memcpy(&line, call->payload, sizeof line);
    if (!is_line || call->op != CDTX_CALL_TRY ||
        (line.number % 2 == 0 && strcmp(call->participant, STOCK_RESERVE) == 0))
        return 0;
    return cdtx_serve(engine, call, answer, engine, err);
}

static int begin_all(struct shop *shop, int64_t count) {
    cdtx_tx_options options = {
        .size = sizeof options, .name = "bench", .timeout_ms = LONG_MS, .wait_for = CDTX_WAIT_DECIDED};
    cdtx_error err = {0};
    for (int64_t n = 1; n <= count; n++) {
        cdtx_tx *tx = NULL;
        struct line line = line_of(n);
        int32_t rc = cdtx_tx_new(shop->engine, &options, &tx, &err);
        if (rc == 0)
            rc = cdtx_tx_add(tx, ORDER_PLACE, &line, sizeof line, &err);
        if (rc == 0)
            rc = cdtx_tx_add(tx, STOCK_RESERVE, &line, sizeof line, &err);
        if (rc == 0)
            rc = cdtx_tx_submit(tx, &err);
        cdtx_tx_close(tx);
        if (rc != 0)
            return complain("transaction %lld: %s: %s", (long long)n, cdtx_code_name(rc), err.text);
    }
    return 1;
}

/* Until half are decided, and every try that is ever answered has been. */
static int wait_for_doubt(struct shop *shop, int64_t count) {
    cdtx_error err = {0};
    for (int64_t decided = 0; decided < count - count / 2; decided++) {
        cdtx_work *work = NULL;
        int32_t rc = cdtx_take(shop->engine, LONG_MS, &work, &err);
        if (rc == 0 && work == NULL)
            return complain("no decision within %d ms", LONG_MS);
        if (rc == 0)
            rc = cdtx_work_result(work, &err);
        if (rc != 0)
            return refused("a decision", rc, &err);
        cdtx_settle(work, 0, NULL, NULL);
    }
    uint64_t all = (uint64_t)(count + count - count / 2);
    for (int i = 0; i < LONG_MS / 10 && __atomic_load_n(&placed, __ATOMIC_RELAXED) < all; i++)
        cdtx_run(shop->engine, 10, NULL);
    return __atomic_load_n(&placed, __ATOMIC_RELAXED) == all ? 1 : complain("some tries were not answered");
}

/* Writes one byte when all is in doubt, and then waits for its end. */
static void doubt(const char *dir, int64_t count, int tell) {
    static const cdtx_link link = {.size = sizeof link, .knows = knows, .send = send_some};
    struct shop shop;
    cdtx_options options = {.link = &link, .call_timeout_ms = LONG_MS};
    options.open_max = options.participant_max = (uint32_t)count + 1;
    if (!shop_open(dir, options, &shop) || !begin_all(&shop, count) || !wait_for_doubt(&shop, count))
        _exit(1);
    if (write(tell, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static int kill_in_doubt(const char *dir, int64_t count) {
    int ends[2];
    if (pipe(ends) != 0)
        return complain("no pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return complain("no process: %s", strerror(errno));
    }
    if (child == 0) {
        close(ends[0]);
        doubt(dir, count, ends[1]);
    }
    close(ends[1]);
    char byte;
    ssize_t got;
    while ((got = read(ends[0], &byte, 1)) < 0 && errno == EINTR) {
    }
    close(ends[0]);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return got == 1 ? 1 : complain("the process that was to be killed ended by itself");
}

/* ---- the one that comes after it ---- */

int recovery(const char *dir, int64_t count, struct recovery *recovery) {
    recovery->undecided = count / 2;
    recovery->decided = count - recovery->undecided;
    if (!kill_in_doubt(dir, count))
        return 0;
    int64_t from = now_us();
    struct shop shop;
    if (!shop_open(dir, (cdtx_options){0}, &shop))
        return 0;
    recovery->open_s = (double)(now_us() - from) / 1e6;
    cdtx_error err = {0};
    int32_t rc = cdtx_drain(shop.engine, LONG_MS, &err);
    recovery->ended_s = (double)(now_us() - from) / 1e6;
    cdtx_metrics counts = {.size = sizeof counts};
    if (rc == 0)
        rc = cdtx_metrics_read(shop.engine, &counts, &err);
    shop_close(&shop);
    if (rc != 0)
        return refused("after the kill", rc, &err);
    if (counts.in_work != 0 || counts.alarms != 0)
        return complain("after the kill: %llu still open, %llu alarms", (unsigned long long)counts.in_work,
                        (unsigned long long)counts.alarms);
    return shop_check(dir, recovery->decided, count);
}
