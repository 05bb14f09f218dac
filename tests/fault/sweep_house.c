#include "sweep_house.h"

#include <string.h>

#include "post_judge.h"
#include "story.h"

/* ---- orders ---- */

static void tell_orders(struct house *house, struct ledger *ledger, int chapter) {
    (chapter == CHAPTER_BRIEF ? story_brief : story_full)(house, ledger);
}

static void ruin_orders(struct house *house, struct ledger *ledger, struct post_leftover *leftover) {
    story_of_ruin(house, ledger, &leftover->tx);
}

/* Whoever was not told yes or a definite no asks again with the same key, and gets one answer. Returns how many did. */
static uint32_t ask_orders_again(struct house *house, struct ledger *ledger) {
    uint32_t asked = 0;
    for (uint32_t i = 0, count = ledger->count; i < count; i++) {
        struct heard *heard = &ledger->list[i];
        if (heard->deed != DEED_ORDER || heard->code == 0 || heard->code == CDTX_REFUSED)
            continue;
        struct wish wish = {.sku = "apple", .quantity = 1};
        char key[LEDGER_KEY_MAX];
        memcpy(key, heard->key, sizeof key);
        wish.key = key;
        int32_t code = house_order(house, ledger, ORDER_DECLARED, &wish);
        ledger->list[i].code = code;
        ledger->count = count;
        if (cdtx_happened(code) < 0)
            ledger_complain(ledger, "order %s was asked about again without faults, and answered %s", key,
                            cdtx_code_name(code));
        asked++;
    }
    return asked;
}

const struct house_kind order_house = {
    .open = house_open,
    .before = story_before,
    .story = tell_orders,
    .ruin = ruin_orders,
    .resumed = story_resumed,
    .drain = house_drain,
    .ask_again = ask_orders_again,
    .judge = judge,
    .check = story_check,
};

/* ---- letters ---- */

/* Guards may go only with later work, and only slowly. */
static void after_letters(struct house *house, const struct house_site *site, struct ledger *ledger) {
    post_story_after(house, ledger);
    sqlite3 *db = post_judge_open(site, ledger);
    if (db != NULL)
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
