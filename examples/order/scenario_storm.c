/* kill -9 again and again at random moments of a busy shop. What a customer was told must hold for ever. */
#include "scenarios.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "life.h"
#include "story.h"

enum { LIVES = 8, IN_FLIGHT = 8, ORDERS_MAX = 4000, HEAR_MS = 5000, PIECES = 20000 };
/* A life is killed so long after it was heard; every third is killed while it may still be recovering from the last. */
enum { BUSY_MS = 150, OPENING_MS = 40 };

/* ---- in the child ---- */

static int32_t submit(struct shop *shop, char **argv, uint64_t number, cdtx_error *err) {
    struct order_line line;
    cdtx_tx *tx = NULL;
    (void)snprintf(line.request, sizeof line.request, "%s-%" PRIu64, argv[2], number);
    (void)snprintf(line.sku, sizeof line.sku, "%s", argv[3]);
    line.quantity = number % 7 == 0 ? PIECES * INT64_C(10) : (int64_t)(number % 3) + 1; /* some want too many */
    int32_t rc = shop_prepare(shop, &line, &(cdtx_tx_options){.tag = number}, &tx, err);
    if (rc == 0)
        rc = cdtx_tx_submit(tx, err);
    cdtx_tx_close(tx);
    return rc;
}

static int32_t take_answer(struct shop *shop, const char *prefix, int first, cdtx_error *err) {
    cdtx_work *work = NULL;
    cdtx_error why = {0};
    int32_t rc = cdtx_take(shop->engine, -1, &work, err);
    if (rc != 0 || work == NULL)
        return rc != 0 ? rc : say_no(err, CDTX_MISUSE, "no answer came");
    int32_t result = cdtx_work_result(work, &why);
    const char *word = result == 0 ? "yes" : cdtx_happened(result) == 0 ? "no" : "perhaps";
    if (first)
        (void)printf("selling\n");
    (void)printf("%s %s-%" PRIu64 "\n", word, prefix, cdtx_work_tag(work));
    return cdtx_settle(work, 0, NULL, err);
}

int32_t live_and_sell(char **argv, cdtx_error *err) {
    struct shop shop;
    uint64_t asked = 0, answered = 0;
    int32_t rc = shop_open(&shop, argv[1], &(struct shop_options){.threads = 1}, err);
    if (rc != 0)
        return rc;
    while (rc == 0 && answered < ORDERS_MAX) {
        while (rc == 0 && asked - answered < IN_FLIGHT && asked < ORDERS_MAX)
            rc = submit(&shop, argv, ++asked, err);
        if (rc == 0)
            rc = take_answer(&shop, argv[2], answered++ == 0, err);
    }
    while (rc == 0)
        (void)pause();
    shop_close(&shop);
    return rc;
}

/* ---- in the parent ---- */

static void sleep_random_ms(uint32_t most, uint32_t *slept) {
    uint32_t random = 0;
    (void)!getrandom(&random, sizeof random, 0);
    *slept = random % (most + 1);
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)*slept * 1000000L}, NULL);
}

/* Starts one life, kills it, and returns what it had told its customers. */
static int32_t short_life(struct stage *stage, int number, char **told, cdtx_error *err) {
    int opening = number % 3 == 0;
    char prefix[ORDER_REQUEST_MAX - 20];
    struct life life;
    uint32_t slept = 0;
    (void)snprintf(prefix, sizeof prefix, "%s-storm%d", stage->nonce, number);
    const char *const arguments[] = {"sell", stage->folder, prefix, stage->sku, NULL};
    int32_t rc = life_start(&life, arguments, err);
    if (rc != 0)
        return rc;
    if (!opening)
        rc = life_hear(&life, HEAR_MS, err);
    sleep_random_ms(opening ? OPENING_MS : BUSY_MS, &slept);
    rc = life_kill(&life, rc, told, err);
    if (rc != 0)
        return rc;
    story_event("- life %d: kill -9 after %u ms %s", number, slept, opening ? "of starting up" : "of selling");
    return stage_show(stage, "dead", err);
}

/* Compares each whole line with the tables; the last may have been cut off by the kill. */
static int32_t check_told(struct stage *stage, char *told, uint32_t count[2], cdtx_error *err) {
    struct books *books = NULL;
    int32_t rc = books_open(stage->folder, &books, err);
    if (rc == 0 && books == NULL)
        rc = say_no(err, CDTX_NOT_FOUND, "%s has no tables", stage->folder);
    for (char *end; rc == 0 && (end = strchr(told, '\n')) != NULL; told = end + 1) {
        int yes = strncmp(told, "yes ", 4) == 0, no = strncmp(told, "no ", 3) == 0;
        int confirmed = 0;
        *end = '\0';
        if (!yes && !no)
            continue;
        rc = books_confirmed(books, strchr(told, ' ') + 1, &confirmed, err);
        stage_expect(stage, rc != 0 || yes == confirmed, "a customer was told one thing and the tables say another");
        count[yes]++;
    }
    books_close(books);
    return rc;
}

static int32_t storm(struct stage *stage, char **told, cdtx_error *err) {
    struct shop shop;
    uint32_t count[2] = {0, 0};
    int32_t rc = 0;
    for (int i = 0; rc == 0 && i < LIVES; i++)
        rc = short_life(stage, i + 1, &told[i], err);
    if (rc == 0)
        rc = shop_open(&shop, stage->folder, NULL, err);
    if (rc != 0)
        return rc;
    rc = stage_settle(stage, &shop, err);
    shop_close(&shop);
    for (int i = 0; rc == 0 && i < LIVES; i++)
        rc = check_told(stage, told[i], count, err);
    stage_expect(stage, count[0] + count[1] > 0, "nobody was told anything");
    if (rc == 0)
        story_event("- restarted: %u customers had been told yes and %u no, %s", count[1], count[0],
                    stage->wrong[0] == 0 ? "and all of it is true" : "and not all of it is true");
    return rc;
}

int32_t play_storm(struct stage *stage, cdtx_error *err) {
    char *told[LIVES] = {NULL};
    struct shop shop;
    int32_t rc = stage_open(stage, &shop, NULL, PIECES, err);
    if (rc != 0)
        return rc;
    shop_close(&shop);
    rc = storm(stage, told, err);
    for (int i = 0; i < LIVES; i++)
        free(told[i]);
    if (rc == 0)
        rc = stage_judge(stage, STAGE_ANY, err);
    return rc;
}
