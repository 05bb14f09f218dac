#include "story.h"

#include <string.h>

#define SOLD_OUT "sold-out"
#define GIVEN_UP "given-up"
#define LEFT_OPEN "left-open"

enum { STOCK = 100, A_WHILE_MS = 300 };

void story_before(struct house *house, struct ledger *ledger) {
    (void)house_deliver(house, ledger, HOUSE_SKU, STOCK);
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){"before", 1});
}

/* A gid that can be found by its key has a state. */
static void ask(struct house *house, struct ledger *ledger, const char *key) {
    char gid[CDTX_GID_MAX];
    int32_t state = 0;
    cdtx_error err = {0};
    if (ledger_check(ledger, "cdtx_tx_find", cdtx_tx_find(house->engine, key, gid, &err), &err) != 0)
        return;
    int32_t rc = ledger_check(ledger, "cdtx_tx_query", cdtx_tx_query(house->engine, gid, &state, &err), &err);
    if (rc == CDTX_NOT_FOUND || (rc == 0 && (state < CDTX_TX_ACTIVE || state > CDTX_TX_ROLLED_BACK)))
        ledger_complain(ledger, "%s was found by its key, but its state is %d (%s)", gid, state, cdtx_code_name(rc));
}

void story_full(struct house *house, struct ledger *ledger) {
    (void)house_deliver(house, ledger, "pear", 7);
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){"declared", 2});
    (void)house_order(house, ledger, ORDER_STEPS, &(struct wish){"steps", 3});
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){SOLD_OUT, HOUSE_TOO_MANY});
    (void)house_invoice(house, ledger, "invoice");
    house_give_up(house, ledger, &(struct wish){GIVEN_UP, 4});
    (void)house_order(house, ledger, ORDER_SUBMITTED, &(struct wish){"submitted", 5});
    (void)house_parcel(house, ledger, "parcel");
    house_pull(house, ledger, A_WHILE_MS);
    (void)house_deliver_by_hand(house, ledger, "plum", 11);
    ask(house, ledger, "declared");
    house_pull(house, ledger, A_WHILE_MS);
}

void story_brief(struct house *house, struct ledger *ledger) {
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){"declared", 2});
    (void)house_order(house, ledger, ORDER_STEPS, &(struct wish){"steps", 3});
}

void story_of_ruin(struct house *house, struct ledger *ledger, cdtx_tx **left_open) {
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){"declared", 2});
    (void)house_order(house, ledger, ORDER_STEPS, &(struct wish){"steps", 3});
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){SOLD_OUT, HOUSE_TOO_MANY});
    house_give_up(house, ledger, &(struct wish){GIVEN_UP, 4});
    house_leave_open(house, ledger, &(struct wish){LEFT_OPEN, 5}, left_open);
    (void)house_parcel(house, ledger, "parcel");
    (void)house_invoice(house, ledger, "invoice");
}

void story_resumed(struct house *house, struct ledger *ledger) {
    cdtx_error err = {0};
    house_pull(house, ledger, A_WHILE_MS);
    (void)ledger_check(ledger, "cdtx_drain", cdtx_drain(house->engine, A_WHILE_MS, &err), &err);
    (void)house_order(house, ledger, ORDER_DECLARED, &(struct wish){"resumed", 6});
}

void story_check(struct ledger *ledger) {
    for (uint32_t i = 0; i < ledger->count; i++) {
        const struct heard *heard = &ledger->list[i];
        int no = strcmp(heard->key, SOLD_OUT) == 0 || strcmp(heard->key, GIVEN_UP) == 0 ||
                 strcmp(heard->key, LEFT_OPEN) == 0;
        if (heard->code != (no ? CDTX_REFUSED : 0))
            ledger_complain(ledger, "%s was answered %s although nothing failed", heard->key,
                            cdtx_code_name(heard->code));
    }
}
