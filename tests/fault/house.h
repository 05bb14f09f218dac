/* The system under test: an engine with a log, the order and stock services of examples/order, and two kinds of jobs,
 * in three database files. Another kind of house is in post.h. */
#ifndef FAULT_HOUSE_H
#define FAULT_HOUSE_H

#include <cdtx/test.h>

#include "ledger.h"

enum deed { DEED_ORDER, DEED_DELIVERY, DEED_INVOICE, DEED_PARCEL, DEEDS };

/* What has left the house: a job's effect and its token, a half message's resolution. */
enum left { LEFT_EFFECT, LEFT_RESOLUTION };

struct house {
    cdtx *engine;
    cdtx_db *orders, *stock;
    cdtx_db *log, *post, *shop; /* of a post office */
    cdtx_test_env *clock;       /* the others are its options */
    void (*left)(void *witness, enum left what, int64_t number, int64_t value);
    void *witness;
};

/* Where the files are: URLs are SCHEME:FOLDERname.db?share=SHARE&vfs=VFS. */
struct house_site {
    const char *scheme, *folder;
    const char *vfs; /* NULL: the default one */
    int share;       /* with other processes */
};

struct house_options {
    const cdtx_env *env;
    const cdtx_link *link;
    const cdtx_sql_port *adapter;
    const char *coordinator;
    uint32_t threads;
    int64_t wait_ms;      /* for a database that others hold; default 200 */
    cdtx_test_env *clock; /* NULL: the real one */
    /* Hears what cannot be taken back; NULL: nobody does. */
    void (*left)(void *witness, enum left what, int64_t number, int64_t value);
    void *witness;
};

/* Only the engine with its log: what each kind of house begins with. */
int32_t house_open_engine(struct house *house, const struct house_site *site, const struct house_options *options,
                          cdtx_error *err);
void house_url(const struct house_site *site, const char *file, char *url, size_t room);
int32_t house_open(struct house *house, const struct house_site *site, const struct house_options *options,
                   cdtx_error *err);
void house_close(struct house *house);

/* ---- deeds: each is done once, and its answer is heard ---- */

/* What all orders are for, and more of it than there ever is: what a key with "sold-out" in it asks for. */
#define HOUSE_SKU "apple"
enum { HOUSE_TOO_MANY = 1000000000 };

struct wish {
    const char *key;
    int64_t quantity;
};

/* How an order is placed. */
enum order_way { ORDER_DECLARED, ORDER_STEPS, ORDER_SUBMITTED };

/* An order; submitted, its answer comes by house_pull. */
int32_t house_order(struct house *house, struct ledger *ledger, enum order_way way, const struct wish *wish);
/* Tried step by step, and then given up by the customer: heard as REFUSED whatever happens. */
void house_give_up(struct house *house, struct ledger *ledger, const struct wish *wish);
/* The same, but neither decided nor closed: the house is about to die. *tx must be closed after it. */
void house_leave_open(struct house *house, struct ledger *ledger, const struct wish *wish, cdtx_tx **tx);
/* New pieces of a sku that was never delivered before, by a closure or by a handle. */
int32_t house_deliver(struct house *house, struct ledger *ledger, const char *sku, int64_t quantity);
int32_t house_deliver_by_hand(struct house *house, struct ledger *ledger, const char *sku, int64_t quantity);
/* A job that cdtx_run does, inside a local transaction. */
int32_t house_invoice(struct house *house, struct ledger *ledger, const char *key);
/* A job that house_pull does. */
int32_t house_parcel(struct house *house, struct ledger *ledger, const char *key);
/* Takes and settles work until none comes for that long. */
void house_pull(struct house *house, struct ledger *ledger, int64_t for_ms);
/* Does the engine's work for that long, then until no global transaction is open. Answers the first error. */
int32_t house_drain(struct house *house, struct ledger *ledger, int64_t for_ms);
/* Whoever was not told yes or a definite no asks again with the same key, and gets one answer. Returns how many did. */
uint32_t house_ask_again(struct house *house, struct ledger *ledger);

#endif
