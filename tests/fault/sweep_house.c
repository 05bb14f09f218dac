#include "sweep_house.h"

#include "post_judge.h"
#include "story.h"

/* ---- orders ---- */

static void tell_orders(struct house *house, struct ledger *ledger, int chapter) {
    (chapter == CHAPTER_BRIEF ? story_brief : story_full)(house, ledger);
}

static void ruin_orders(struct house *house, struct ledger *ledger, struct post_leftover *leftover) {
    story_of_ruin(house, ledger, &leftover->tx);
}

const struct house_kind order_house = {
    .open = house_open,
    .before = story_before,
    .story = tell_orders,
    .ruin = ruin_orders,
    .resumed = story_resumed,
    .drain = house_drain,
    .ask_again = house_ask_again,
    .judge = judge,
    .check = story_check,
};

/* ---- letters ---- */

/* Guards may go only with later work, and only slowly. */
static void after_letters(struct house *house, const struct house_site *site, struct ledger *ledger) {
    post_story_after(house, ledger);
    sqlite3 *db = post_judge_open(site, ledger);
    if (db == NULL)
        return;
    post_judge_rest(db, ledger);
    post_judge_guards(db, ledger);
    (void)sqlite3_close(db);
}

/* Later than any story ends, so that no clock stands still or goes back. */
const struct house_kind post_office = {
    .open = post_open,
    .before = post_story_before,
    .story = post_story,
    .ruin = post_story_of_ruin,
    .resumed = post_story_resumed,
    .drain = post_drain,
    .ask_again = post_ask_again,
    .judge = post_judge,
    .check = post_story_check,
    .after = after_letters,
    .later_ms = 250000,
};
