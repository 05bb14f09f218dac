/* order-demo: the shop's story, with mishaps. Judged by the raw tables; exits 0 only when all of it is consistent. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <cdtx/admin.h>

#include "chain_server.h"
#include "chain_service.h"
#include "folder.h"
#include "give_back.h"
#include "scenarios.h"
#include "story.h"

static const struct scenario SCENARIOS[] = {
    {"An ordinary order", "pixel-cat", play_ordinary},
    {"Sold out", "glass-fox", play_sold_out},
    {"A stock service that answers too late", "paper-owl", play_late_answer},
    {"kill -9 between try and decision", "stone-bee", play_kill_undecided},
    {"kill -9 between decision and confirm", "neon-crab", play_kill_decided},
    {"A try that arrives after its cancel", "moss-hare", play_late_try},
    {"Everything doubled", "ink-koi", play_doubled},
    {"Three in the morning", "fog-lynx", play_morning},
    {"Closing an unpaid order", "sky-wren", play_close},
    {"Minting after payment", "gold-newt", play_mint},
    {"kill -9 at random moments of a busy day", "dust-moth", play_storm},
};
enum { SCENARIO_COUNT = sizeof SCENARIOS / sizeof SCENARIOS[0] };

static const char USAGE[] =
    "usage: order-demo [--dir DIR]\n"
    "  Plays the shop's story. With --dir the files stay in DIR, and what a killed demo left there is recovered\n"
    "  first; without it they are in a temporary folder, which is removed at the end.\n";

static int fail(const char *what, const cdtx_error *err) {
    (void)fflush(stdout);
    (void)fprintf(stderr, "order-demo: %s: %s\n", what, err->text);
    return EXIT_FAILURE;
}

/* Whatever kept them from being done, a demo that was killed can no longer tell. */
static int32_t redrive(cdtx_db *db, const char *handler, cdtx_error *err) {
    cdtx_redrive_filter filter = {.size = sizeof filter, .handler = handler};
    int64_t count = 0;
    int32_t rc = cdtx_job_redrive(db, &filter, "demo", "the demo was killed before somebody could look", &count, err);
    if (rc == 0 && count > 0)
        story_event("- %" PRId64 " of %s had been given up and have another life now", count, handler);
    return rc;
}

static int32_t settle(struct stage *all, struct shop *shop, cdtx_error *err) {
    int32_t rc = stage_settle(all, shop, err);
    if (rc == 0)
        rc = redrive(shop->orders, STOCK_GROUP, err);
    if (rc == 0)
        rc = redrive(shop->log, ORDER_MINT, err);
    return rc != 0 ? rc : stage_settle(all, shop, err);
}

/* What a demo that was killed in this folder left behind: the shop needs the chain for it. */
static int32_t recover(const char *folder, cdtx_error *err) {
    static struct chain_service chain;
    struct stage all = {.folder = folder};
    struct shop shop;
    struct books *books = NULL;
    char path[4096];
    int32_t rc = books_open(folder, &books, err);
    if (rc != 0 || books == NULL)
        return rc;
    books_close(books);
    story_title(0, "This folder was used before");
    (void)snprintf(path, sizeof path, "%s/chain.db", folder);
    rc = chain_service_start(&chain, path, 0, err);
    if (rc != 0)
        return rc;
    rc = stage_show(&all, "found", err);
    if (rc == 0)
        rc = shop_open(&shop, folder, &(struct shop_options){.chain = chain.url}, err);
    if (rc == 0) {
        rc = settle(&all, &shop, err);
        shop_close(&shop);
    }
    chain_service_stop(&chain);
    if (rc == 0)
        rc = stage_judge(&all, STAGE_ANY, err);
    if (rc == 0 && !all.consistent)
        rc = say_no(err, CDTX_CORRUPT, "it was not consistent after recovery");
    return rc;
}

static int play_all(const char *folder) {
    cdtx_error err = {0};
    uint32_t nonce = 0;
    int consistent = 0;
    if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce)
        return fail("start", &(cdtx_error){.text = "the system has no random bytes"});
    if (recover(folder, &err) != 0)
        return fail(folder, &err);
    for (int i = 0; i < SCENARIO_COUNT; i++) {
        struct stage stage = {.folder = folder, .sku = SCENARIOS[i].sku};
        (void)snprintf(stage.nonce, sizeof stage.nonce, "%08x", nonce);
        story_title(i + 1, SCENARIOS[i].title);
        if (SCENARIOS[i].play(&stage, &err) != 0)
            return fail(SCENARIOS[i].title, &err);
        consistent += stage.consistent;
    }
    story_end(consistent, SCENARIO_COUNT);
    return consistent == SCENARIO_COUNT ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int live(int count, char **argv) {
    static const struct {
        const char *name;
        int count; /* of arguments, its name included */
        int32_t (*live)(char **argv, cdtx_error *err);
    } lives[] = {{"until", 4, live_until},
                 {"sell", 4, live_and_sell},
                 {"close", 3, live_and_close},
                 {"mint", 4, live_and_mint},
                 {"chain", 4, chain_serve}};
    cdtx_error err = {.text = "--life is for the demo's own use"};
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++)
        if (count == lives[i].count && strcmp(argv[0], lives[i].name) == 0)
            (void)lives[i].live(argv, &err);
    return fail("child process", &err);
}

int main(int argc, char **argv) {
    const char *path = NULL;
    struct folder folder;
    cdtx_error err = {0};
    if (argc >= 2 && strcmp(argv[1], "--life") == 0)
        return live(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return printf("%s", USAGE) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (argc == 3 && strcmp(argv[1], "--dir") == 0)
        path = argv[2];
    else if (argc != 1)
        return fprintf(stderr, "%s", USAGE), 2;
    if (chain_client_start(&err) != 0)
        return fail("no client for the chain", &err);
    if (folder_take(&folder, path, &err) != 0)
        return fail("no folder for the shop", &err);
    story_start();
    (void)printf("The shop keeps its files in %s\n", folder.path);
    int status = play_all(folder.path);
    folder_drop(&folder);
    chain_client_stop();
    if (fflush(stdout) != 0 || ferror(stdout))
        return fail("standard output", &(cdtx_error){.text = "it cannot be written"});
    return status;
}
