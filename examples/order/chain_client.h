/* The shop's side of the chain: asks for one token over HTTP and says what is known afterwards.
 *
 * A retry with the same key and the same order is right after everything but MINT_REFUSED: the service mints once a
 * key, however often it is asked. A retry with another key is never right: what is unknown may have been minted. */
#ifndef CHAIN_CLIENT_H
#define CHAIN_CLIENT_H

#include <cdtx/cdtx.h>

enum mint_answer {
    MINTED = 0,       /* there is a token, now or since an earlier request with the key */
    MINT_REFUSED = 1, /* a 4xx other than 408 and 429, or what cannot be sent at all: it will not succeed */
    MINT_LATER = 2,   /* a 5xx, 408 or 429, or the request never left: again, not before retry_after_ms have passed; a
                       * 5xx does not say that nothing was minted */
    MINT_UNKNOWN = 3  /* it left, and no answer that can be used came back: again, to learn it */
};

enum { MINT_TOKEN_MAX = 63, MINT_KEY_MAX = 63, MINT_RETRY_AFTER_MAX_MS = 3600000 };

struct mint_order {
    const char *order, *article, *owner;
};

struct mint_outcome {
    enum mint_answer answer;
    int status;                     /* of HTTP; 0 when none came */
    int64_t retry_after_ms;         /* 0: the service did not say, else at most MINT_RETRY_AFTER_MAX_MS */
    char token[MINT_TOKEN_MAX + 1]; /* "" unless MINTED */
    char text[200];                 /* one sentence; the same for the same mishap */
};

/* Once, from main before other threads begin, and after they ended. */
int32_t chain_client_start(cdtx_error *err);
void chain_client_stop(void);

/* url is "http://127.0.0.1:PORT", nothing else is asked. Blocks, at most for timeout_ms. From any thread, any number
 * at a time. */
void chain_client_mint(const char *url, const char *key, const struct mint_order *order, int64_t timeout_ms,
                       struct mint_outcome *outcome);

#endif
