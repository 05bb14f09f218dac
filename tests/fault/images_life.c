#include <string.h>

#include "images.h"

enum { A_WHILE_MS = 3000 };

static int begin(struct life *life, const char *name, int before, const struct scenario *scenario, struct disk *disk,
                 struct witness *witness, struct ledger *ledger) {
    cdtx_error err = {0};
    life_begin(life, name, disk, before * images_later_ms, ledger);
    life->site.share = scenario->share;
    int32_t rc = images_open(life, scenario, witness, &err);
    if (rc != 0)
        ledger_complain(ledger, "the house does not open: %s", err.text);
    return rc == 0;
}

/* ---- the life that is recorded ---- */

void images_day(const char *name, int number, const struct scenario *scenario, struct recording *recording,
                images_story story) {
    struct life life;
    if (begin(&life, name, number, scenario, recording->disk, recording->witness, recording->ledger)) {
        story(&life.house, scenario, recording);
        if (life_mutant == NULL) /* the images must notice it, not this */
            life_check_alarms(&life);
    }
    life_end(&life);
}

int images_live(const struct scenario *scenario, struct recording *recording) {
    static struct witness witness;
    struct house_site site = {.folder = "house/"};
    witness_init(&witness);
    recording->witness = &witness;
    recording->disk = disk_new("story", prng_new(recording->seed, "story"));
    images_tell(scenario, recording);
    recording_stop(recording);
    if (recording->liar == NULL) {
        (void)disk_life_new(recording->disk, &site.vfs);
        images_look(&site, &witness, recording->ledger, 1);
        images_check(recording->ledger);
    }
    disk_free(recording->disk);
    recording->disk = NULL;
    return recording->ledger->complaint[0] == '\0';
}

/* ---- after the cut ---- */

/* The tables as the power cut left them, seen on a copy: reading must not change what the engine will find. A house
 * that has not said anything yet may have no tables. */
static void look_at_ruins(struct image *image) {
    struct house_site site = {.folder = "house/"};
    if (image->ledger.count == 0)
        return;
    struct disk *copy = disk_fork_after_crash(image->disk, DISK_KEEP_ALL, "look", prng_new(1, "look"));
    (void)disk_life_new(copy, &site.vfs);
    images_look(&site, &image->witness, &image->ledger, 0);
    disk_free(copy);
}

/* Two days, and a recovery for each cut but the first; a place names a cut by two words behind the scenario's. */
static int lives_before(const struct image *image) {
    int words = 0;
    for (const char *place = image->place; (place = strchr(place, ' ')) != NULL; place++)
        words++;
    return 1 + words / 2;
}

static void heal(struct life *life, struct image *image) {
    struct ledger *ledger = &image->ledger;
    (void)images_drain(&life->house, ledger, A_WHILE_MS);
    images_look(&life->site, &image->witness, ledger, 1);
    if (images_ask_again(&life->house, ledger) > 0) {
        (void)images_drain(&life->house, ledger, A_WHILE_MS);
        images_look(&life->site, &image->witness, ledger, 1);
    }
    life_check_alarms(life);
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
    if (begin(&life, image->place, lives_before(image), scenario, image->disk, &image->witness, &image->ledger))
        heal(&life, image);
    life_end(&life);
    if (recording != NULL)
        recording_stop(recording);
}
