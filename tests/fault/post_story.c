#include "post_story.h"

#include <string.h>

enum { A_WHILE_MS = 300, GUARDS_GO_MS = 8000, MINUTE_MS = 60000 };

void post_story_before(struct house *house, struct ledger *ledger) {
    (void)post_letter(house, ledger, LETTER_SENT, "a-before");
    (void)post_promise(house, ledger, PROMISE_DECLARED, "b-before");
    (void)post_deal(house, ledger, DEAL_TOLD, "c-before", NULL);
    (void)post_drain(house, ledger, A_WHILE_MS);
}

/* Pulled together they are done, not yet, refused, done, not yet. */
static void letters(struct house *house, struct ledger *ledger) {
    (void)post_letter(house, ledger, LETTER_SENT, "b-one");
    (void)post_letter(house, ledger, LETTER_SENT, "a-slow");
    (void)post_letter(house, ledger, LETTER_BY_HAND, "a-poison");
    (void)post_letter(house, ledger, LETTER_TORN, "a-torn");
    (void)post_letter(house, ledger, LETTER_SENT, "a-three");
    (void)post_letter(house, ledger, LETTER_TORN_BY_HAND, "b-torn");
    (void)post_letter(house, ledger, LETTER_SENT, "b-slow");
    post_pull(house, ledger, A_WHILE_MS);
}

static void promises(struct house *house, struct ledger *ledger) {
    (void)post_promise(house, ledger, PROMISE_DECLARED, "a-declared");
    (void)post_promise(house, ledger, PROMISE_FORGOTTEN, "a-forgotten");
    (void)post_promise(house, ledger, PROMISE_STEPS, "a-late");
    (void)post_promise(house, ledger, PROMISE_DECLARED, "b-refused");
    (void)post_promise(house, ledger, PROMISE_GIVEN_UP, "b-given-up");
    (void)post_promise(house, ledger, PROMISE_DECLARED, "b-taken-back");
    post_pull(house, ledger, 3 * A_WHILE_MS);
}

static void deals(struct house *house, struct ledger *ledger) {
    char told[CDTX_GID_MAX], broken[CDTX_GID_MAX], forgotten[CDTX_GID_MAX];
    (void)post_deal(house, ledger, DEAL_FORGOTTEN, "c-forgotten", forgotten);
    (void)post_deal(house, ledger, DEAL_TOLD, "c-told", told);
    post_contradict(house, ledger, "c-told", told);
    (void)post_deal(house, ledger, DEAL_UNTOLD, "d-untold", NULL);
    (void)post_deal(house, ledger, DEAL_BROKEN, "d-broken", broken);
    post_contradict(house, ledger, "d-broken", broken);
    (void)post_letter(house, ledger, LETTER_SENT, "c-letter");
    post_dawdle(house, ledger, A_WHILE_MS);
    post_pull(house, ledger, A_WHILE_MS);
    post_deal_late(house, ledger, "c-forgotten", forgotten);
    post_pull(house, ledger, A_WHILE_MS);
}

static void errands(struct house *house, struct ledger *ledger) {
    post_errand(house, ledger, DEED_ERRAND, "errand-one");
    cdtx_work *work = post_take(house, ledger, A_WHILE_MS);
    post_errand(house, ledger, DEED_ERRAND, "errand-two");
    post_errand(house, ledger, DEED_ERRAND, "errand-three");
    post_run_errand(house, ledger, work);
    post_errand(house, ledger, DEED_KEPT, "kept");
    post_pull(house, ledger, 0);
    post_errand(house, ledger, DEED_KEPT, "kept");
    work = post_take(house, ledger, A_WHILE_MS);
    post_errand(house, ledger, DEED_KEPT, "kept");
    post_run_errand(house, ledger, work);
}

static void jobs(struct house *house, struct ledger *ledger) {
    int64_t off = 0, on = 0;
    const cdtx_job_options later = {.size = sizeof later, .delay_ms = A_WHILE_MS};
    const cdtx_job_options doomed = {.size = sizeof doomed, .deadline_ms = A_WHILE_MS};
    (void)post_chore(house, ledger, DEED_CHORE, "off", &later, &off);
    (void)post_chore(house, ledger, DEED_CHORE, "on", &later, &on);
    (void)post_chore(house, ledger, DEED_CHORE, "snooze", NULL, NULL);
    (void)post_chore(house, ledger, DEED_CHORE, "again", NULL, NULL);
    (void)post_chore(house, ledger, DEED_DOOM, "doom", &doomed, NULL);
    post_call_off(house, ledger, "off", off, 0);
    post_call_off(house, ledger, "on", on, 1);
    errands(house, ledger);
    post_pull(house, ledger, A_WHILE_MS);
    if (house->clock != NULL) {
        cdtx_test_env_advance(house->clock, MINUTE_MS);
        post_pull(house, ledger, A_WHILE_MS);
        cdtx_test_env_advance(house->clock, 2 * MINUTE_MS);
        post_pull(house, ledger, A_WHILE_MS);
    }
}

void post_story(struct house *house, struct ledger *ledger, int chapter) {
    static void (*const chapters[CHAPTERS])(struct house *, struct ledger *) = {
        [CHAPTER_LETTERS] = letters, [CHAPTER_PROMISES] = promises, [CHAPTER_DEALS] = deals, [CHAPTER_JOBS] = jobs};
    chapters[chapter](house, ledger);
}

/* The handler of errands takes only what is asked for, so the last one is under way when the house dies. */
void post_story_of_ruin(struct house *house, struct ledger *ledger, struct post_leftover *leftover) {
    post_errand(house, ledger, DEED_ERRAND, "errand-before");
    leftover->work = post_take(house, ledger, A_WHILE_MS);
    post_errand(house, ledger, DEED_ERRAND, "errand-behind");
    (void)post_chore(house, ledger, DEED_CHORE, "chore",
                     &(cdtx_job_options){.size = sizeof(cdtx_job_options), .delay_ms = A_WHILE_MS}, NULL);
    (void)post_deal(house, ledger, DEAL_FORGOTTEN, "d-forgotten", NULL);
    (void)post_deal(house, ledger, DEAL_UNTOLD, "d-untold", NULL);
    (void)post_promise(house, ledger, PROMISE_DECLARED, "a-declared");
    (void)post_promise(house, ledger, PROMISE_DECLARED, "b-refused");
    (void)post_promise(house, ledger, PROMISE_GIVEN_UP, "b-given-up");
    post_leave_open(house, ledger, "c-late-left-open", &leftover->tx);
    (void)post_letter(house, ledger, LETTER_SENT, "a-slow");
    (void)post_letter(house, ledger, LETTER_SENT, "a-two");
    (void)post_letter(house, ledger, LETTER_SENT, "b-three");
}

void post_leftover_free(struct post_leftover *leftover) {
    cdtx_tx_close(leftover->tx);
    if (leftover->work != NULL)
        (void)cdtx_settle(leftover->work, 0, NULL, NULL);
}

void post_story_resumed(struct house *house, struct ledger *ledger) {
    cdtx_error err = {0};
    post_pull(house, ledger, 2 * A_WHILE_MS);
    (void)ledger_check(ledger, "cdtx_drain", cdtx_drain(house->engine, A_WHILE_MS, &err), &err);
    (void)post_letter(house, ledger, LETTER_SENT, "a-resumed");
}

void post_story_after(struct house *house, struct ledger *ledger) {
    cdtx_error err = {0};
    (void)post_letter(house, ledger, LETTER_SENT, "e-after");
    (void)post_deal(house, ledger, DEAL_TOLD, "d-after", NULL);
    (void)post_drain(house, ledger, A_WHILE_MS);
    (void)ledger_check(ledger, "cdtx_run", cdtx_run(house->engine, GUARDS_GO_MS, &err), &err);
}

static int never(const struct heard *heard) {
    static const char *const keys[] = {"torn", "refused", "given-up", "forgotten", "broken", "left-open", "taken-back"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strstr(heard->key, keys[i]) != NULL)
            return 1;
    return heard->deed == DEED_OFF && strcmp(heard->key, "on") == 0;
}

void post_story_check(struct ledger *ledger) {
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct heard *heard = &ledger->list[i];
        if (heard->code != (never(heard) ? CDTX_REFUSED : 0))
            ledger_complain(ledger, "%s was answered %s although nothing failed", heard->key,
                            cdtx_code_name(heard->code));
    }
}
