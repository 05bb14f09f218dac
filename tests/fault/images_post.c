/* Lives of a post office for images of power cuts: one for each chapter of its story. */
#include <stdlib.h>
#include <string.h>

#include "images.h"
#include "post_judge.h"
#include "post_story.h"

enum { A_WHILE_MS = 3000, NEXT_DAY_MS = 250000 };

const char *images_mutant;
const struct scenario images_scenarios[] = {
    {.name = "letters", .chapter = CHAPTER_LETTERS, .ways = 2, .least = 200},
    {.name = "promises", .chapter = CHAPTER_PROMISES, .coordinator = "loopback", .ways = 2, .least = 400},
    {.name = "deals", .chapter = CHAPTER_DEALS, .share = 1, .ways = 2, .least = 200},
    {.name = "jobs", .chapter = CHAPTER_JOBS, .ways = 2, .least = 350},
};
const size_t images_scenario_count = sizeof images_scenarios / sizeof images_scenarios[0];

/* ---- the witness ---- */

static void left(void *user, enum left what, int64_t number, int64_t value) {
    struct witness *witness = user;
    if (what == LEFT_RESOLUTION && number < HALVES_MAX)
        witness->half[number] = (int32_t)value;
    else if (what == LEFT_EFFECT && witness->effect_count < EFFECTS_MAX)
        witness->effects[witness->effect_count++] = (struct effect){number, value};
    else
        witness->too_many = 1;
}

static int is_there(sqlite3_stmt *statement, const struct effect *effect) {
    int there = sqlite3_bind_int64(statement, 1, effect->job) == SQLITE_OK &&
                sqlite3_bind_int64(statement, 2, effect->token) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    (void)sqlite3_reset(statement);
    return there;
}

/* What the world has seen is there, and tokens rise. */
static void look_at_effects(sqlite3 *db, const struct witness *witness, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT 1 FROM s.plain WHERE job = ? AND token = ?", -1, &statement, NULL);
    for (uint32_t i = 0; rc == SQLITE_OK && i < witness->effect_count; i++) {
        const struct effect *effect = &witness->effects[i];
        if (!is_there(statement, effect))
            ledger_complain(ledger, "what job %lld did under token %lld is gone", (long long)effect->job,
                            (long long)effect->token);
        for (uint32_t k = 0; k < i; k++)
            if (witness->effects[k].job == effect->job && witness->effects[k].token >= effect->token)
                ledger_complain(ledger, "job %lld came under token %lld after %lld", (long long)effect->job,
                                (long long)effect->token, (long long)witness->effects[k].token);
    }
    if (rc != SQLITE_OK)
        ledger_complain(ledger, "the effects cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(statement);
}

/* A resolution, told or seen, is never another one later. */
static void look_at_halves(sqlite3 *db, struct witness *witness, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int32_t states[HALVES_MAX] = {0};
    int rc = sqlite3_prepare_v2(db, "SELECT id, state FROM main.cdtx_half", -1, &statement, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(statement, 0);
        if (number > 0 && number < HALVES_MAX)
            states[number] = sqlite3_column_int(statement, 1);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE)
        ledger_complain(ledger, "the halves cannot be read: %s", sqlite3_errmsg(db));
    (void)sqlite3_finalize(statement);
    for (int i = 0; i < HALVES_MAX; i++) {
        if (witness->half[i] > 1 && states[i] != witness->half[i])
            ledger_complain(ledger, "half %d was resolved as %d, and is %d", i, witness->half[i], states[i]);
        if (witness->half[i] == 1 && states[i] == 0)
            ledger_complain(ledger, "half %d was prepared, and is gone", i);
        witness->half[i] = states[i];
    }
}

static void look(const struct house_site *site, struct witness *witness, struct ledger *ledger, int at_rest) {
    sqlite3 *db = post_judge_open(site, ledger);
    if (db == NULL)
        return;
    witness_look_at_decisions(db, witness, ledger);
    look_at_effects(db, witness, ledger);
    look_at_halves(db, witness, ledger);
    if (witness->too_many)
        ledger_complain(ledger, "more has left the house than an honest story needs");
    (at_rest ? post_judge_rest : post_judge_ruins)(db, ledger);
    (void)sqlite3_close(db);
}

/* ---- a life ---- */

struct life {
    struct house house;
    struct house_site site;
    struct disk_life *disk_life;
    cdtx_test_env *heap;
    cdtx_env env;
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

static int begin(struct life *life, const char *name, int day, const struct scenario *scenario, struct disk *disk,
                 struct witness *witness, struct ledger *ledger) {
    cdtx_error err = {0};
    stream = prng_new(1, name);
    memset(life, 0, sizeof *life);
    life->site = (struct house_site){.scheme = "sqlite", .folder = "house/", .share = scenario->share};
    life->disk_life = disk_life_new(disk, &life->site.vfs);
    life->ledger = ledger;
    if (cdtx_test_env_new(&life->heap, NULL) != 0)
        abort();
    cdtx_test_env_advance(life->heap, (int64_t)day * NEXT_DAY_MS);
    life->env = *cdtx_test_env_port(life->heap);
    life->env.log = NULL;
    life->env.random = draw;
    life->env.failpoint = images_mutant != NULL ? failpoint : NULL;
    struct house_options options = {
        .env = &life->env, .coordinator = scenario->coordinator, .clock = life->heap, .left = left, .witness = witness};
    int32_t rc = post_open(&life->house, &life->site, &options, &err);
    if (rc != 0)
        ledger_complain(ledger, "the house does not open: %s", err.text);
    return rc == 0;
}

static void end(struct life *life) {
    post_close(&life->house);
    if (cdtx_test_env_bytes(life->heap) != 0)
        ledger_complain(life->ledger, "%llu bytes are left after closing",
                        (unsigned long long)cdtx_test_env_bytes(life->heap));
    if (disk_life_handles(life->disk_life) != 0)
        ledger_complain(life->ledger, "%u files are left open after closing", disk_life_handles(life->disk_life));
    cdtx_test_env_free(life->heap);
}

/* ---- the story ---- */

int images_live(const struct scenario *scenario, struct recording *recording) {
    static struct witness witness;
    struct life life;
    struct house_site site = {.folder = "house/"};
    witness_init(&witness);
    recording->witness = &witness;
    recording->disk = disk_new("story", prng_new(recording->seed, "story"));
    if (begin(&life, "before", 0, scenario, recording->disk, &witness, recording->ledger))
        post_story_before(&life.house, recording->ledger);
    end(&life);
    recording_start(recording);
    if (begin(&life, "day", 1, scenario, recording->disk, &witness, recording->ledger)) {
        post_story(&life.house, recording->ledger, scenario->chapter);
        (void)post_drain(&life.house, recording->ledger, A_WHILE_MS);
    }
    end(&life);
    recording_stop(recording);
    if (recording->liar == NULL) {
        (void)disk_life_new(recording->disk, &site.vfs);
        look(&site, &witness, recording->ledger, 1);
        post_story_check(recording->ledger);
    }
    disk_free(recording->disk);
    recording->disk = NULL;
    return recording->ledger->complaint[0] == '\0';
}

/* ---- after the cut ---- */

/* The tables as the power cut left them, seen on a copy: reading must not change what the engine will find. */
static void look_at_ruins(struct image *image) {
    struct house_site site = {.folder = "house/"};
    struct disk *copy = disk_fork_after_crash(image->disk, DISK_KEEP_ALL, "look", prng_new(1, "look"));
    (void)disk_life_new(copy, &site.vfs);
    look(&site, &image->witness, &image->ledger, 0);
    disk_free(copy);
}

/* Each later than the one that was cut. */
static int day_of(const struct image *image) {
    int day = 1;
    for (const char *place = image->place; (place = strchr(place, ' ')) != NULL; place++)
        day++;
    return day;
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
    if (begin(&life, image->place, day_of(image), scenario, image->disk, &image->witness, &image->ledger)) {
        (void)post_drain(&life.house, &image->ledger, A_WHILE_MS);
        look(&life.site, &image->witness, &image->ledger, 1);
        if (post_ask_again(&life.house, &image->ledger) > 0) {
            (void)post_drain(&life.house, &image->ledger, A_WHILE_MS);
            look(&life.site, &image->witness, &image->ledger, 1);
        }
    }
    end(&life);
    if (recording != NULL)
        recording_stop(recording);
}
