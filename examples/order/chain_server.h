/* The chain service's own process: HTTP/1.1 on 127.0.0.1, one thread, one request a connection; connections, bytes and
 * time of each are bounded.
 *
 *   POST /mint   Idempotency-Key: KEY, body order=ID&article=SKU&owner=NAME, values of letters, digits and -._~.
 *                201 and the token; 200 and the same token for a repeat; 409 for a repeat with another body;
 *                400 without a key or with another body; and by mishap what chain_ledger.h says
 *   GET /tokens  200 and how many there are
 *
 * Refusals have a sentence for a body. */
#ifndef CHAIN_SERVER_H
#define CHAIN_SERVER_H

#include <cdtx/cdtx.h>

/* argv[1] the ledger, argv[2] the port, argv[3] the milliseconds that a request may take to arrive. Prints a line when
 * it listens. Returns only on failure. */
int32_t chain_serve(char **argv, cdtx_error *err);

#endif
