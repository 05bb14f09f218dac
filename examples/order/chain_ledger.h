/* The ledger of the chain, one SQLite file: the tokens minted, the mint requests that arrived, and the mishaps that are
 * still to come. The service writes it in a process of its own and may be killed at any moment; the demo scripts the
 * mishaps and reads the truth by a connection of its own, and asks the service nothing. */
#ifndef CHAIN_LEDGER_H
#define CHAIN_LEDGER_H

#include <cdtx/cdtx.h>

enum chain_mishap {
    CHAIN_NONE = 0,
    CHAIN_BUSY = 1,     /* answers 503 with Retry-After, before any effect */
    CHAIN_REFUSES = 2,  /* answers 422, without effect */
    CHAIN_FAILS = 3,    /* mints, and answers 500 */
    CHAIN_HANGS = 4,    /* mints, and never answers */
    CHAIN_DROPS = 5,    /* mints, and closes the connection instead of an answer */
    CHAIN_STUTTERS = 6, /* mints, and answers twice */
    CHAIN_DIES = 7      /* mints, and kills itself by SIGKILL before the answer */
};

enum { CHAIN_FIELD_MAX = 63, CHAIN_TOKEN_MAX = 31 };

struct chain_mint {
    char key[CHAIN_FIELD_MAX + 1];
    char order[CHAIN_FIELD_MAX + 1], article[CHAIN_FIELD_MAX + 1], owner[CHAIN_FIELD_MAX + 1];
};

/* status is what is true: 201 minted, 200 minted before, 409 the key has another token, 422 and 503 nothing was done;
 * the mishap says what the customer hears of it. token is "" unless there is one. */
struct chain_ruling {
    int status;
    enum chain_mishap mishap;
    char token[CHAIN_TOKEN_MAX + 1];
};

struct chain_ledger;

int32_t chain_ledger_open(const char *path, struct chain_ledger **ledger, cdtx_error *err);
void chain_ledger_close(struct chain_ledger *ledger);
/* At most one token a key, whatever happens; one commit with the request's own line and the mishap it met. */
int32_t chain_ledger_mint(struct chain_ledger *ledger, const struct chain_mint *mint, struct chain_ruling *ruling,
                          cdtx_error *err);
/* The next mint requests meet these, one each in that order; what was left of an earlier script is forgotten. */
int32_t chain_ledger_script(struct chain_ledger *ledger, const enum chain_mishap *mishaps, size_t count,
                            cdtx_error *err);
/* Of one article, or of all with NULL. */
int32_t chain_ledger_tokens(struct chain_ledger *ledger, const char *article, int64_t *count, cdtx_error *err);
/* Requests with that key that arrived, or with any key with NULL. */
int32_t chain_ledger_requests(struct chain_ledger *ledger, const char *key, int64_t *count, cdtx_error *err);

#endif
