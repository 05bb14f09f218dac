/* Lives of the order house for images of power cuts. */
#include "images.h"
#include "story.h"

enum { A_WHILE_MS = 3000, PAST_DEADLINE_MS = 1500, STOCK = 100 };

const struct scenario images_scenarios[] = {
    {.name = "alone", .least = 400},
    {.name = "shared", .share = 1, .coordinator = "loopback", .least = 450},
    {.name = "birth", .birth = 1, .least = 200},
};
const size_t images_scenario_count = sizeof images_scenarios / sizeof images_scenarios[0];
/* Leases that the cut life held are still valid. */
const int64_t images_later_ms = 0;

static const struct wish declared = {"declared", 2}, steps = {"steps", 3}, sold_out = {"sold-out", HOUSE_TOO_MANY},
                         given_up = {"given-up", 4}, submitted = {"submitted", 5}, left_open = {"left-open", 6},
                         another_day = {"another-day", 7}, before = {"before", 1};

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

static void lay_stock(struct house *house, const struct scenario *scenario, struct recording *recording) {
    (void)scenario;
    deliver(house, recording->ledger, HOUSE_SKU, STOCK, 0);
    (void)house_order(house, recording->ledger, ORDER_DECLARED, &before);
}

static void first_day(struct house *house, const struct scenario *scenario, struct recording *recording) {
    struct ledger *ledger = recording->ledger;
    (void)scenario;
    deliver(house, ledger, "pear", 7, 0);
    (void)house_order(house, ledger, ORDER_DECLARED, &declared);
    witness_put_letter(recording->witness, house, ledger);
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

/* On a log that the day before has moved into the database file. */
static void second_day(struct house *house, const struct scenario *scenario, struct recording *recording) {
    (void)scenario;
    (void)house_order(house, recording->ledger, ORDER_DECLARED, &another_day);
    (void)house_drain(house, recording->ledger, A_WHILE_MS);
}

void images_tell(const struct scenario *scenario, struct recording *recording) {
    if (scenario->birth)
        recording_start(recording);
    images_day("before", 0, scenario, recording, lay_stock);
    if (scenario->birth)
        return;
    recording_start(recording);
    images_day("first day", 1, scenario, recording, first_day);
    images_day("second day", 2, scenario, recording, second_day);
}

/* ---- the house ---- */

int32_t images_open(struct life *life, const struct scenario *scenario, struct witness *witness, cdtx_error *err) {
    cdtx_link link = witness_link(witness);
    struct house_options options = {.env = &life->env, .link = &link, .coordinator = scenario->coordinator};
    int32_t rc = house_open(&life->house, &life->site, &options, err);
    return rc != 0 ? rc : witness_serve_letters(witness, &life->house, err);
}

void images_check(struct ledger *ledger) {
    story_check(ledger);
}

int32_t images_drain(struct house *house, struct ledger *ledger, int64_t for_ms) {
    return house_drain(house, ledger, for_ms);
}

uint32_t images_ask_again(struct house *house, struct ledger *ledger) {
    return house_ask_again(house, ledger);
}

void images_look(const struct house_site *site, struct witness *witness, struct ledger *ledger, int at_rest) {
    sqlite3 *db = judge_open(site, ledger);
    if (db == NULL)
        return;
    witness_look(witness, db, ledger);
    if (at_rest) {
        judge_tables(db, ledger);
        witness_check_letter(witness, ledger);
    }
    (void)sqlite3_close(db);
}
