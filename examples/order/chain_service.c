#include "chain_service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "order_line.h"

enum { PATIENCE_MS = 10000, HEAR_MS = 10000 };

/* A socket that is bound and never listens: it keeps the port ours while the service is dead, lets the service bind it
 * too, and nobody's outgoing connection can get it. */
static int32_t hold_port(struct chain_service *service, cdtx_error *err) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof here;
    int yes = 1;
    service->port_holder = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (service->port_holder < 0 || setsockopt(service->port_holder, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(service->port_holder, (struct sockaddr *)&here, size) != 0 ||
        getsockname(service->port_holder, (struct sockaddr *)&here, &size) != 0)
        return say_no(err, CDTX_IO, "there is no port for the chain service: %s", strerror(errno));
    service->port = ntohs(here.sin_port);
    (void)snprintf(service->url, sizeof service->url, "http://127.0.0.1:%u", (unsigned)service->port);
    return 0;
}

static int32_t launch(struct chain_service *service, cdtx_error *err) {
    char port[8], patience[12];
    cdtx_error ignored = {0};
    (void)snprintf(port, sizeof port, "%u", (unsigned)service->port);
    (void)snprintf(patience, sizeof patience, "%d", service->patience_ms);
    const char *const arguments[] = {"chain", service->path, port, patience, NULL};
    int32_t rc = life_start(&service->life, arguments, err);
    if (rc != 0)
        return rc;
    service->running = 1;
    rc = life_hear(&service->life, HEAR_MS, err);
    if (rc != 0)
        (void)chain_service_kill(service, &ignored);
    return rc;
}

int32_t chain_service_start(struct chain_service *service, const char *path, int patience_ms, cdtx_error *err) {
    *service = (struct chain_service){.port_holder = -1, .patience_ms = patience_ms > 0 ? patience_ms : PATIENCE_MS};
    int length = snprintf(service->path, sizeof service->path, "%s", path);
    if (length <= 0 || (size_t)length >= sizeof service->path)
        return say_no(err, CDTX_INVALID, "the ledger's name is empty or over %zu bytes", sizeof service->path - 1);
    int32_t rc = chain_ledger_open(path, &service->ledger, err);
    if (rc == 0)
        rc = chain_ledger_script(service->ledger, NULL, 0, err);
    if (rc == 0)
        rc = hold_port(service, err);
    if (rc == 0)
        rc = launch(service, err);
    if (rc != 0)
        chain_service_stop(service);
    return rc;
}

int32_t chain_service_kill(struct chain_service *service, cdtx_error *err) {
    if (!service->running)
        return say_no(err, CDTX_MISUSE, "the chain service does not run");
    service->running = 0;
    return life_kill(&service->life, 0, NULL, err);
}

int32_t chain_service_restart(struct chain_service *service, cdtx_error *err) {
    int32_t rc = service->running ? chain_service_kill(service, err) : 0;
    return rc != 0 ? rc : launch(service, err);
}

void chain_service_stop(struct chain_service *service) {
    cdtx_error ignored = {0};
    if (service->running)
        (void)chain_service_kill(service, &ignored);
    if (service->port_holder >= 0)
        (void)close(service->port_holder);
    service->port_holder = -1;
    chain_ledger_close(service->ledger);
    service->ledger = NULL;
}

int32_t chain_service_script(struct chain_service *service, const enum chain_mishap *mishaps, size_t count,
                             cdtx_error *err) {
    return chain_ledger_script(service->ledger, mishaps, count, err);
}

int32_t chain_service_tokens(struct chain_service *service, const char *article, int64_t *count, cdtx_error *err) {
    return chain_ledger_tokens(service->ledger, article, count, err);
}

int32_t chain_service_requests(struct chain_service *service, const char *key, int64_t *count, cdtx_error *err) {
    return chain_ledger_requests(service->ledger, key, count, err);
}
