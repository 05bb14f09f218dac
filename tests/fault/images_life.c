#include <stdlib.h>
#include <string.h>

#include "images.h"
#include "story.h"

enum { A_WHILE_MS = 3000, PAST_DEADLINE_MS = 1500, STOCK = 100, TOO_MANY = 1000 };

#define SKU "apple"

const char *images_mutant;
const struct scenario images_scenarios[] = {
    {.name = "alone", .least = 400},
    {.name = "shared", .share = 1, .coordinator = "loopback", .least = 450},
    {.name = "birth", .birth = 1, .least = 200},
};
const size_t images_scenario_count = sizeof images_scenarios / sizeof images_scenarios[0];

static const struct wish declared = {"declared", SKU, 2}, steps = {"steps", SKU, 3},
                         sold_out = {"sold-out", SKU, TOO_MANY}, given_up = {"given-up", SKU, 4},
                         submitted = {"submitted", SKU, 5}, left_open = {"left-open", SKU, 6},
                         another_day = {"another-day", SKU, 7}, before = {"before", SKU, 1};
static const struct wish *const wishes[] = {&declared, &steps, &sold_out, &submitted, &another_day, &before};

/* ---- a life ---- */

struct life {
    struct house house;
    struct house_site site;
    struct disk_life *disk_life;
    cdtx_test_env *heap;
    cdtx_env env;
    cdtx_link link;
    struct ledger *ledger;
};

static int32_t failpoint(void *user, const char *name) {
    static const char prefix[] = "mutant:";
    (void)user;
    return strncmp(name, prefix, strlen(prefix)) == 0 && strcmp(name + strlen(prefix), images_mutant) == 0;
}

static struct prng stream;

/* So that an image can be made again, bit by bit. */
static int32_t draw(void *user, void *bytes, size_t length) {
    (void)user;
    prng_bytes(&stream, bytes, length);
    return 0;
}

/* The name is unlike those of the lives before. */
static int begin(struct life *life, const char *name, const struct scenario *scenario, struct disk *disk,
                 struct witness *witness, struct ledger *ledger) {
    cdtx_error err = {0};
    stream = prng_new(1, name);
    memset(life, 0, sizeof *life);
    life->site = (struct house_site){.scheme = "sqlite", .folder = "house/", .share = scenario->share};
    life->disk_life = disk_life_new(disk, &life->site.vfs);
    life->ledger = ledger;
    if (cdtx_test_env_new(&life->heap, NULL) != 0)
        abort();
    life->env = *cdtx_test_env_port(life->heap);
    life->env.log = NULL;
    life->env.random = draw;
    life->env.failpoint = images_mutant != NULL ? failpoint : NULL;
    life->link = witness_link(witness);
    struct house_options options = {.env = &life->env, .link = &life->link, .coordinator = scenario->coordinator};
    int32_t rc = house_open(&life->house, &life->site, &options, &err);
    if (rc == 0)
        rc = witness_serve_letters(witness, &life->house, &err);
    if (rc != 0)
        ledger_complain(ledger, "the house does not open: %s", err.text);
    return rc == 0;
}

static void end(struct life *life) {
    house_close(&life->house);
    if (cdtx_test_env_bytes(life->heap) != 0)
        ledger_complain(life->ledger, "%llu bytes are left after closing",
                        (unsigned long long)cdtx_test_env_bytes(life->heap));
    if (disk_life_handles(life->disk_life) != 0)
        ledger_complain(life->ledger, "%u files are left open after closing", disk_life_handles(life->disk_life));
    cdtx_test_env_free(life->heap);
}

static void check_alarms(struct life *life) {
    cdtx_metrics counts = {.size = sizeof counts};
    cdtx_error err = {0};
    int32_t rc = cdtx_metrics_read(life->house.engine, &counts, &err);
    if (ledger_check(life->ledger, "cdtx_metrics_read", rc, &err) == 0 && counts.alarms != 0)
        ledger_complain(life->ledger, "%llu things that must not happen were tried", (unsigned long long)counts.alarms);
}

/* ---- the story ---- */

/* Said before it is asked for, so that a cut in the middle finds it in the ledger: UNKNOWN, or a definite no when
 * nobody will ever ask for it to be committed. */
static uint32_t announce(struct ledger *ledger, int deed, const char *key, int32_t code) {
    ledger_hear(ledger, deed, key, code);
    return ledger->count - 1;
}

static void deliver(struct house *house, struct ledger *ledger, const char *sku, int64_t quantity, int by_hand) {
    uint32_t place = announce(ledger, DEED_DELIVERY, sku, CDTX_UNKNOWN);
    int32_t rc =
        by_hand ? house_deliver_by_hand(house, ledger, sku, quantity) : house_deliver(house, ledger, sku, quantity);
    ledger->list[place].code = rc;
}

static void papers(struct house *house, struct ledger *ledger) {
    uint32_t place = announce(ledger, DEED_INVOICE, "invoice", CDTX_UNKNOWN);
    int32_t rc = house_invoice(house, ledger, "invoice");
    ledger->list[place].code = rc;
    place = announce(ledger, DEED_PARCEL, "parcel", CDTX_UNKNOWN);
    rc = house_parcel(house, ledger, "parcel");
    ledger->list[place].code = rc;
}

/* Tried, and left alone until its time is over; then it is too late to commit. */
static void run_out_of_time(struct house *house, struct ledger *ledger) {
    cdtx_error err = {0};
    cdtx_tx *tx = NULL;
    (void)announce(ledger, DEED_ORDER, left_open.key, CDTX_REFUSED);
    house_leave_open(house, ledger, &left_open, &tx);
    (void)ledger_check(ledger, "cdtx_run", cdtx_run(house->engine, PAST_DEADLINE_MS, &err), &err);
    int32_t rc = ledger_check(ledger, "cdtx_tx_commit", cdtx_tx_commit(tx, &err), &err);
    if (rc != CDTX_TIMEOUT)
        ledger_complain(ledger, "an order past its deadline was answered %s", cdtx_code_name(rc));
    cdtx_tx_close(tx);
}

static void first_day(struct house *house, struct ledger *ledger, struct witness *witness) {
    deliver(house, ledger, "pear", 7, 0);
    (void)house_order(house, ledger, ORDER_DECLARED, &declared);
    witness_put_letter(witness, house, ledger);
    (void)house_order(house, ledger, ORDER_STEPS, &steps);
    (void)announce(ledger, DEED_ORDER, sold_out.key, CDTX_REFUSED);
    (void)house_order(house, ledger, ORDER_DECLARED, &sold_out);
    papers(house, ledger);
    (void)announce(ledger, DEED_ORDER, given_up.key, CDTX_REFUSED);
    house_give_up(house, ledger, &given_up);
    (void)house_order(house, ledger, ORDER_SUBMITTED, &submitted);
    house_pull(house, ledger, A_WHILE_MS);
    run_out_of_time(house, ledger);
    deliver(house, ledger, "plum", 11, 1);
    (void)house_drain(house, ledger, A_WHILE_MS);
}

static void day(const char *name, const struct scenario *scenario, struct recording *recording, struct witness *witness,
                void (*story)(struct house *house, struct ledger *ledger, struct witness *witness)) {
    struct life life;
    if (begin(&life, name, scenario, recording->disk, witness, recording->ledger)) {
        story(&life.house, recording->ledger, witness);
        if (images_mutant == NULL) /* the images must notice it, not this */
            check_alarms(&life);
    }
    end(&life);
}

static void lay_stock(struct house *house, struct ledger *ledger, struct witness *witness) {
    (void)witness;
    deliver(house, ledger, SKU, STOCK, 0);
    (void)house_order(house, ledger, ORDER_DECLARED, &before);
}

/* On a log that the day before has moved into the database file. */
static void second_day(struct house *house, struct ledger *ledger, struct witness *witness) {
    (void)witness;
    (void)house_order(house, ledger, ORDER_DECLARED, &another_day);
    (void)house_drain(house, ledger, A_WHILE_MS);
}

/* What the tables say; at rest they must also add up. */
static void look(const struct house_site *site, struct witness *witness, struct ledger *ledger, int at_rest) {
    sqlite3 *db = judge_open(site, ledger);
    if (db == NULL)
        return;
    witness_look(witness, db, ledger);
    if (at_rest)
        judge_tables(db, ledger);
    (void)sqlite3_close(db);
}

static void judge_story(const struct recording *recording, struct witness *witness) {
    struct house_site site = {.folder = "house/"};
    (void)disk_life_new(recording->disk, &site.vfs);
    look(&site, witness, recording->ledger, 1);
    witness_check_letter(witness, recording->ledger);
    story_check(recording->ledger);
}

int images_live(const struct scenario *scenario, struct recording *recording) {
    static struct witness witness;
    witness_init(&witness);
    recording->witness = &witness;
    recording->disk = disk_new("story", prng_new(recording->seed, "story"));
    if (scenario->birth)
        recording_start(recording);
    day("before", scenario, recording, &witness, lay_stock);
    if (!scenario->birth) {
        recording_start(recording);
        day("first day", scenario, recording, &witness, first_day);
        day("second day", scenario, recording, &witness, second_day);
    }
    recording_stop(recording);
    if (recording->liar == NULL)
        judge_story(recording, &witness);
    disk_free(recording->disk);
    recording->disk = NULL;
    return recording->ledger->complaint[0] == '\0';
}

/* ---- after the cut ---- */

/* The tables as the power cut left them, seen on a copy: reading must not change what the engine will find. A house
 * that has not said anything yet may have no tables. */
static void look_at_ruins(struct image *image) {
    if (image->ledger.count == 0)
        return;
    struct house_site site = {.folder = "house/"};
    struct disk *copy = disk_fork_after_crash(image->disk, DISK_KEEP_ALL, "look", prng_new(1, "look"));
    (void)disk_life_new(copy, &site.vfs);
    look(&site, &image->witness, &image->ledger, 0);
    disk_free(copy);
}

static const struct wish *wish_of(const char *key) {
    for (size_t i = 0; i < sizeof wishes / sizeof wishes[0]; i++)
        if (strcmp(wishes[i]->key, key) == 0)
            return wishes[i];
    return NULL;
}

/* Who was not told the end asks again under the same key, and gets one answer. Returns how many did. */
static uint32_t ask_again(struct house *house, struct ledger *ledger) {
    uint32_t asked = 0;
    for (uint32_t i = 0, count = ledger->count; i < count; i++) {
        const struct wish *wish = wish_of(ledger->list[i].key);
        if (ledger->list[i].deed != DEED_ORDER || ledger->list[i].code != CDTX_UNKNOWN || wish == NULL)
            continue;
        int32_t code = house_order(house, ledger, ORDER_DECLARED, wish);
        ledger->list[i].code = code;
        if (cdtx_happened(code) < 0)
            ledger_complain(ledger, "order %s was asked about again without faults, and answered %s", wish->key,
                            cdtx_code_name(code));
        asked++;
    }
    return asked;
}

static void heal(struct life *life, struct image *image) {
    struct ledger *ledger = &image->ledger;
    (void)house_drain(&life->house, ledger, A_WHILE_MS);
    look(&life->site, &image->witness, ledger, 1);
    if (ask_again(&life->house, ledger) > 0) {
        (void)house_drain(&life->house, ledger, A_WHILE_MS);
        look(&life->site, &image->witness, ledger, 1);
    }
    witness_check_letter(&image->witness, ledger);
    check_alarms(life);
}

void images_heal(const struct scenario *scenario, struct image *image, struct recording *recording) {
    struct life life;
    look_at_ruins(image);
    if (recording != NULL) {
        recording->disk = image->disk;
        recording->ledger = &image->ledger;
        recording->witness = &image->witness;
        recording_start(recording);
    }
    if (begin(&life, image->place, scenario, image->disk, &image->witness, &image->ledger))
        heal(&life, image);
    end(&life);
    if (recording != NULL)
        recording_stop(recording);
}
