/* Lives of a post office for images of power cuts: one for each chapter of its story. */
#include "images.h"
#include "post_judge.h"
#include "post_story.h"

enum { A_WHILE_MS = 3000 };

const struct scenario images_scenarios[] = {
    {.name = "letters", .chapter = CHAPTER_LETTERS, .ways = 2, .least = 200},
    {.name = "promises", .chapter = CHAPTER_PROMISES, .coordinator = "loopback", .ways = 2, .least = 400},
    {.name = "deals", .chapter = CHAPTER_DEALS, .share = 1, .ways = 2, .least = 200},
    {.name = "jobs", .chapter = CHAPTER_JOBS, .ways = 2, .least = 350},
};
const size_t images_scenario_count = sizeof images_scenarios / sizeof images_scenarios[0];
const int64_t images_later_ms = 250000;

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

static int find(sqlite3_stmt *statement, const struct effect *effect, int *there) {
    *there = sqlite3_bind_int64(statement, 1, effect->job) == SQLITE_OK &&
             sqlite3_bind_int64(statement, 2, effect->token) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    return sqlite3_reset(statement);
}

/* What the world has seen is there, and tokens rise. */
static void look_at_effects(sqlite3 *db, const struct witness *witness, struct ledger *ledger) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(
        db, "SELECT 1 FROM (SELECT * FROM s.plain UNION ALL SELECT * FROM main.pulled) WHERE job = ? AND token = ?", -1,
        &statement, NULL);
    for (uint32_t i = 0; rc == SQLITE_OK && i < witness->effect_count; i++) {
        const struct effect *effect = &witness->effects[i];
        int there = 0;
        rc = find(statement, effect, &there);
        if (rc == SQLITE_OK && !there)
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

void images_look(const struct house_site *site, struct witness *witness, struct ledger *ledger, int at_rest) {
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

/* ---- the story ---- */

static void day_before(struct house *house, const struct scenario *scenario, struct recording *recording) {
    (void)scenario;
    post_story_before(house, recording->ledger);
}

static void day(struct house *house, const struct scenario *scenario, struct recording *recording) {
    post_story(house, recording->ledger, scenario->chapter);
    (void)post_drain(house, recording->ledger, A_WHILE_MS);
}

void images_tell(const struct scenario *scenario, struct recording *recording) {
    images_day("before", 0, scenario, recording, day_before);
    recording_start(recording);
    images_day("day", 1, scenario, recording, day);
}

/* ---- the house ---- */

int32_t images_open(struct life *life, const struct scenario *scenario, struct witness *witness, cdtx_error *err) {
    struct house_options options = {
        .env = &life->env, .coordinator = scenario->coordinator, .clock = life->heap, .left = left, .witness = witness};
    return post_open(&life->house, &life->site, &options, err);
}

void images_check(struct ledger *ledger) {
    post_story_check(ledger);
}

int32_t images_drain(struct house *house, struct ledger *ledger, int64_t for_ms) {
    return post_drain(house, ledger, for_ms);
}

uint32_t images_ask_again(struct house *house, struct ledger *ledger) {
    return post_ask_again(house, ledger);
}
