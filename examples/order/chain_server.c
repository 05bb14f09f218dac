#include "chain_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "chain_http.h"
#include "chain_ledger.h"
#include "order_line.h"

enum { VISITORS_MAX = 64, BACKLOG = 128 };

enum step { READING, ANSWERING, LEAVING };

struct visitor {
    int fd; /* -1: nobody */
    enum step step;
    int64_t until; /* its step ends by then */
    size_t got, length, sent;
    char request[HTTP_REQUEST_MAX];
    char answer[2 * HTTP_ANSWER_MAX];
};

struct server {
    int listener;
    int64_t patience_ms;
    struct chain_ledger *ledger;
    struct visitor visitors[VISITORS_MAX];
};

static int64_t now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void go(struct server *server, struct visitor *visitor, enum step step) {
    visitor->step = step;
    visitor->until = now_ms() + server->patience_ms;
}

static void hang_up(struct visitor *visitor) {
    (void)close(visitor->fd);
    visitor->fd = -1;
}

/* Of what recv or send returned: is this visitor gone? */
static int gone(ssize_t moved) {
    return moved == 0 || (moved < 0 && errno != EAGAIN && errno != EINTR);
}

static void answer(struct server *server, struct visitor *visitor, int status, const char *text) {
    visitor->length = http_write(visitor->answer, status, text);
    go(server, visitor, ANSWERING);
}

static void answer_twice(struct server *server, struct visitor *visitor, int status, const char *text) {
    char again[HTTP_ANSWER_MAX];
    size_t length = http_write(again, status, text);
    answer(server, visitor, status, text);
    memcpy(visitor->answer + visitor->length, again, length);
    visitor->length += length;
}

static const char *sentence(int status) {
    switch (status) {
    case 400:
        return "this is no request";
    case 408:
        return "the request took too long to arrive";
    case 409:
        return "this key has minted something else";
    case 411:
        return "a body needs its length";
    case 413:
    case 431:
        return "the request is too large";
    case 422:
        return "the chain does not mint this";
    case 501:
        return "only bodies of a known length are read";
    default:
        return "the chain is busy";
    }
}

/* The ruling is durable by now; what the customer hears of it is another matter. */
static void tell(struct server *server, struct visitor *visitor, const struct chain_ruling *ruling) {
    const char *text = ruling->token[0] != '\0' ? ruling->token : sentence(ruling->status);
    switch (ruling->mishap) {
    case CHAIN_FAILS:
        answer(server, visitor, 500, "the chain broke down");
        break;
    case CHAIN_HANGS:
        go(server, visitor, LEAVING);
        break;
    case CHAIN_DROPS:
        hang_up(visitor);
        break;
    case CHAIN_STUTTERS:
        answer_twice(server, visitor, ruling->status, text);
        break;
    case CHAIN_DIES:
        (void)raise(SIGKILL);
        break;
    default:
        answer(server, visitor, ruling->status, text);
    }
}

static void mint(struct server *server, struct visitor *visitor, const struct http_request *request) {
    static const char *const names[] = {"order", "article", "owner"};
    char values[3][HTTP_FIELD_MAX + 1];
    struct chain_mint ask;
    struct chain_ruling ruling;
    cdtx_error err = {0};
    if (request->key[0] == '\0') {
        answer(server, visitor, 400, "an Idempotency-Key is missing");
        return;
    }
    if (!http_form(request, names, values, 3)) {
        answer(server, visitor, 400, "the body must be order=...&article=...&owner=...");
        return;
    }
    (void)snprintf(ask.key, sizeof ask.key, "%s", request->key);
    (void)snprintf(ask.order, sizeof ask.order, "%s", values[0]);
    (void)snprintf(ask.article, sizeof ask.article, "%s", values[1]);
    (void)snprintf(ask.owner, sizeof ask.owner, "%s", values[2]);
    if (chain_ledger_mint(server->ledger, &ask, &ruling, &err) != 0)
        answer(server, visitor, 500, err.text);
    else
        tell(server, visitor, &ruling);
}

static void count_tokens(struct server *server, struct visitor *visitor) {
    char text[24];
    int64_t count;
    cdtx_error err = {0};
    int32_t rc = chain_ledger_tokens(server->ledger, NULL, &count, &err);
    (void)snprintf(text, sizeof text, "%" PRId64, count);
    answer(server, visitor, rc == 0 ? 200 : 500, rc == 0 ? text : err.text);
}

static void read_more(struct server *server, struct visitor *visitor) {
    struct http_request request;
    ssize_t got = recv(visitor->fd, visitor->request + visitor->got, sizeof visitor->request - visitor->got, 0);
    if (gone(got))
        hang_up(visitor);
    if (got <= 0)
        return;
    visitor->got += (size_t)got;
    int status = http_read(visitor->request, visitor->got, &request);
    if (status == HTTP_INCOMPLETE)
        return;
    if (status != HTTP_COMPLETE)
        answer(server, visitor, status, sentence(status));
    else if (strcmp(request.method, "POST") == 0 && strcmp(request.path, "/mint") == 0)
        mint(server, visitor, &request);
    else if (strcmp(request.method, "GET") == 0 && strcmp(request.path, "/tokens") == 0)
        count_tokens(server, visitor);
    else
        answer(server, visitor, 404, "there are POST /mint and GET /tokens");
}

static void write_more(struct server *server, struct visitor *visitor) {
    ssize_t sent = send(visitor->fd, visitor->answer + visitor->sent, visitor->length - visitor->sent, MSG_NOSIGNAL);
    if (gone(sent))
        hang_up(visitor);
    if (sent <= 0)
        return;
    visitor->sent += (size_t)sent;
    if (visitor->sent < visitor->length)
        return;
    (void)shutdown(visitor->fd, SHUT_WR);
    go(server, visitor, LEAVING);
}

/* A connection closed with bytes unread is reset, and a reset takes the answer with it: so what still comes is read. */
static void see_off(struct visitor *visitor) {
    char rest[HTTP_REQUEST_MAX];
    if (gone(recv(visitor->fd, rest, sizeof rest, 0)))
        hang_up(visitor);
}

static void serve(struct server *server, struct visitor *visitor) {
    if (visitor->step == READING)
        read_more(server, visitor);
    else if (visitor->step == ANSWERING)
        write_more(server, visitor);
    else
        see_off(visitor);
}

static void lose_patience(struct server *server, struct visitor *visitor) {
    if (visitor->step == READING)
        answer(server, visitor, 408, sentence(408));
    else
        hang_up(visitor);
}

static struct visitor *room(struct server *server) {
    for (size_t i = 0; i < VISITORS_MAX; i++)
        if (server->visitors[i].fd < 0)
            return &server->visitors[i];
    return NULL;
}

static void welcome(struct server *server, struct visitor *visitor) {
    visitor->fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    visitor->got = visitor->length = visitor->sent = 0;
    go(server, visitor, READING);
}

/* How long nobody needs us; -1 without an end. */
static int idle_ms(const struct server *server) {
    int64_t first = INT64_MAX, now = now_ms();
    for (size_t i = 0; i < VISITORS_MAX; i++)
        if (server->visitors[i].fd >= 0 && server->visitors[i].until < first)
            first = server->visitors[i].until;
    return first == INT64_MAX ? -1 : first <= now ? 0 : (int)(first - now);
}

/* While there is no room, newcomers wait outside. */
static int32_t turn(struct server *server, cdtx_error *err) {
    struct pollfd ready[VISITORS_MAX + 1];
    struct visitor *place = room(server);
    for (size_t i = 0; i < VISITORS_MAX; i++)
        ready[i] = (struct pollfd){.fd = server->visitors[i].fd,
                                   .events = server->visitors[i].step == ANSWERING ? POLLOUT : POLLIN};
    ready[VISITORS_MAX] = (struct pollfd){.fd = place != NULL ? server->listener : -1, .events = POLLIN};
    if (poll(ready, VISITORS_MAX + 1, idle_ms(server)) < 0 && errno != EINTR)
        return say_no(err, CDTX_IO, "the chain service cannot wait: %s", strerror(errno));
    for (size_t i = 0; i < VISITORS_MAX; i++) {
        struct visitor *visitor = &server->visitors[i];
        if (visitor->fd >= 0 && ready[i].revents != 0)
            serve(server, visitor);
        if (visitor->fd >= 0 && now_ms() >= visitor->until)
            lose_patience(server, visitor);
    }
    if (ready[VISITORS_MAX].revents != 0)
        welcome(server, place);
    return 0;
}

static int32_t listen_on(struct server *server, const char *port, cdtx_error *err) {
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int yes = 1;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listener < 0 || setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(server->listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(server->listener, BACKLOG) != 0)
        return say_no(err, CDTX_IO, "the chain service cannot listen on port %s: %s", port, strerror(errno));
    return 0;
}

int32_t chain_serve(char **argv, cdtx_error *err) {
    static struct server server;
    server.patience_ms = strtoll(argv[3], NULL, 10);
    for (size_t i = 0; i < VISITORS_MAX; i++)
        server.visitors[i].fd = -1;
    int32_t rc = chain_ledger_open(argv[1], &server.ledger, err);
    if (rc == 0)
        rc = listen_on(&server, argv[2], err);
    if (rc == 0 && (printf("listening\n") < 0 || fflush(stdout) != 0))
        rc = say_no(err, CDTX_IO, "standard output cannot be written");
    while (rc == 0)
        rc = turn(&server, err);
    chain_ledger_close(server.ledger);
    return rc;
}
