/* A deliberately unreliable service outside the shop: a chain that mints a token for whoever paid. It runs in a process
 * of its own (chain_server.h), and this is the demo's hand on it: starts, kills, scripts its mishaps, and reads its
 * ledger behind its back. The program's "--life chain ..." must run chain_serve. */
#ifndef CHAIN_SERVICE_H
#define CHAIN_SERVICE_H

#include <stdint.h>

#include "chain_ledger.h"
#include "life.h"

struct chain_service {
    char url[32]; /* the same after a restart */
    char path[4096];
    uint16_t port;
    int port_holder;
    int patience_ms;
    int running;
    struct life life;
    struct chain_ledger *ledger;
};

/* The ledger in path may be one of an earlier run, whose script is forgotten. patience_ms (0: ten seconds) bounds each
 * request. From a thread that stays: the service dies with it. */
int32_t chain_service_start(struct chain_service *service, const char *path, int patience_ms, cdtx_error *err);
/* kill -9; until the restart nobody listens on the port. Errors: MISUSE when it had ended before, not by a mishap. */
int32_t chain_service_kill(struct chain_service *service, cdtx_error *err);
/* Kills it if it lives, and starts it on the same port and ledger; what is left of its script stays. */
int32_t chain_service_restart(struct chain_service *service, cdtx_error *err);
void chain_service_stop(struct chain_service *service);

/* As chain_ledger.h has them; work while the service is dead, too. */
int32_t chain_service_script(struct chain_service *service, const enum chain_mishap *mishaps, size_t count,
                             cdtx_error *err);
int32_t chain_service_tokens(struct chain_service *service, const char *article, int64_t *count, cdtx_error *err);
int32_t chain_service_requests(struct chain_service *service, const char *key, int64_t *count, cdtx_error *err);

#endif
