/* The chain service with every mishap, and its client: whatever happens, one key is one token. The service is this
 * program once more, by --life. */
#include <check.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "chain_client.h"
#include "chain_http.h"
#include "chain_server.h"
#include "chain_service.h"

/* SOON_MS is for what never comes, PATIENT_MS for what does. */
enum { SOON_MS = 1000, PATIENT_MS = 60000, SHORT_MS = 50, THREADS = 16, CROWD = 80, PADDING = 100000 };
/* More than the system keeps between two sockets. */
enum { FLOOD = 16 << 20 };

#define HEAD "POST /mint HTTP/1.1\r\nIdempotency-Key: k\r\n"
#define OK   "HTTP/1.1 201 Created\r\n"

static const struct mint_order ORDER = {"order-1", "pixel-cat", "ann"};
static const char FORM[] = "order=order-1&article=pixel-cat&owner=ann";

static char folder[] = "/tmp/test-chain-XXXXXX";
static struct chain_service service;
static cdtx_error err;

/* Of what fills err. */
static void must(int32_t rc) {
    ck_assert_msg(rc == 0, "%s", err.text);
}

static void begin(void) {
    char path[64];
    (void)snprintf(path, sizeof path, "%s/chain.db", folder);
    must(chain_service_start(&service, path, 0, &err));
}

static void finish(void) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[64];
    /* Whatever it was asked, it must not have fallen over it. */
    int32_t rc = service.running ? chain_service_kill(&service, &err) : 0;
    chain_service_stop(&service);
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/chain.db%s", folder, ends[i]);
        (void)unlink(path);
    }
    must(rc);
}

static void become_short_of_patience(void) {
    service.patience_ms = SHORT_MS;
    must(chain_service_restart(&service, &err));
}

static struct mint_outcome mint(const char *key, int64_t timeout_ms) {
    struct mint_outcome outcome;
    chain_client_mint(service.url, key, &ORDER, timeout_ms, &outcome);
    return outcome;
}

static void expect(struct mint_outcome outcome, enum mint_answer answer, int status, const char *token) {
    ck_assert_msg(outcome.answer == answer, "answer %d: %s", (int)outcome.answer, outcome.text);
    ck_assert_int_eq(outcome.status, status);
    ck_assert_str_eq(outcome.token, token);
    ck_assert_str_ne(outcome.text, "");
}

static int64_t tokens_of(const char *article) {
    int64_t count;
    must(chain_service_tokens(&service, article, &count, &err));
    return count;
}

static int64_t requests_of(const char *key) {
    int64_t count;
    must(chain_service_requests(&service, key, &count, &err));
    return count;
}

static void expect_ledger(int64_t tokens, int64_t requests) {
    ck_assert_int_eq(tokens_of(NULL), tokens);
    ck_assert_int_eq(requests_of(NULL), requests);
}

static void script(const enum chain_mishap *mishaps, size_t count) {
    must(chain_service_script(&service, mishaps, count, &err));
}

/* One request that meets this. */
static struct mint_outcome mint_under(enum chain_mishap mishap, int64_t timeout_ms) {
    script(&mishap, 1);
    return mint("key-1", timeout_ms);
}

/* ---- without the client ---- */

static struct sockaddr_in address(uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
}

static int visit(void) {
    struct sockaddr_in there = address(service.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&there, sizeof there), 0);
    return fd;
}

static void put(int fd, const char *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        ssize_t sent = send(fd, bytes + at, length - at, MSG_NOSIGNAL);
        ck_assert_int_gt(sent, 0);
        at += (size_t)sent;
    }
}

/* Reads to the end of the connection; the answer's status. */
static int hear(int fd, char *answer, size_t room) {
    size_t length = 0;
    ssize_t got;
    int status = 0;
    while (length + 1 < room && (got = recv(fd, answer + length, room - length - 1, 0)) > 0)
        length += (size_t)got;
    answer[length] = '\0';
    (void)close(fd);
    (void)sscanf(answer, "HTTP/1.1 %d", &status);
    return status;
}

static int ask_and_hear(const char *bytes, size_t length, char *answer, size_t room) {
    int fd = visit();
    put(fd, bytes, length);
    return hear(fd, answer, room);
}

static int ask(const char *bytes, size_t length) {
    char answer[4096];
    return ask_and_hear(bytes, length, answer, sizeof answer);
}

static size_t good_request(char *bytes, size_t room, const char *key, const char *form) {
    int length = snprintf(bytes, room,
                          "POST /mint HTTP/1.1\r\nHost: chain\r\nidempotency-key:  %s \r\nContent-Length: %zu\r\n\r\n"
                          "%s",
                          key, strlen(form), form);
    return (size_t)length;
}

static int ask_to_mint(const char *key, const char *form) {
    char bytes[1024];
    return ask(bytes, good_request(bytes, sizeof bytes, key, form));
}

START_TEST(a_repeat_is_no_second_token) {
    expect(mint("key-1", PATIENT_MS), MINTED, 201, "token-1");
    expect(mint("key-1", PATIENT_MS), MINTED, 200, "token-1");
    expect(mint("key-2", PATIENT_MS), MINTED, 201, "token-2");
    struct mint_order other = ORDER;
    struct mint_outcome outcome;
    other.owner = "bob";
    chain_client_mint(service.url, "key-1", &other, PATIENT_MS, &outcome);
    expect(outcome, MINT_REFUSED, 409, "");
    expect_ledger(2, 4);
    ck_assert_int_eq(requests_of("key-1"), 3);
    ck_assert_int_eq(tokens_of("stone-bee"), 0);
}
END_TEST

START_TEST(tokens_are_counted) {
    static const char request[] = "GET /tokens HTTP/1.1\r\n\r\n";
    char answer[1024];
    expect(mint("key-1", PATIENT_MS), MINTED, 201, "token-1");
    ck_assert_int_eq(ask_and_hear(request, strlen(request), answer, sizeof answer), 200);
    ck_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n1");
}
END_TEST

START_TEST(bad_requests_mint_nothing) {
    static const struct {
        int status;
        const char *bytes;
    } cases[] = {
        {400, "how do you do\r\n"},
        {400, "POST /mint HTTP/2.0\r\n"},
        {400, "post /mint HTTP/1.1\r\n"},
        {400, "POST  HTTP/1.1\r\n"},
        {400, "POST /mint HTTP/1.1 \r\n"},
        {400, "\r\n\r\n"},
        {400, "POST /mint HTTP/1.1\r\nno colon\r\n\r\n"},
        {400, "POST /mint HTTP/1.1\r\n: no name\r\n\r\n"},
        {400, "POST /mint HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n"},
        {400, "POST /mint HTTP/1.1\r\nContent-Length: 0\r\n\r\n"},
        {400, HEAD "Idempotency-Key: k\r\nContent-Length: 0\r\n\r\n"},
        {400, HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"},
        {400, HEAD "Content-Length: -1\r\n\r\n"},
        {400, HEAD "Content-Length: 99999999999999999999\r\n\r\n"},
        {400, HEAD "Content-Length: 0x10\r\n\r\n"},
        {400, HEAD "Content-Length:\r\n\r\n"},
        {400, "POST /mint HTTP/1.1\r\nIdempotency-Key: \r\nContent-Length: 0\r\n\r\n"},
        {400, "POST /mint HTTP/1.1\r\nIdempotency-Key: a\nb\r\nContent-Length: 0\r\n\r\n"},
        {411, HEAD "\r\n"},
        {413, HEAD "Content-Length: 100000\r\n\r\n"},
        {501, HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {404, "GET / HTTP/1.1\r\n\r\n"},
        {404, "GET /mint HTTP/1.0\r\n\r\n"},
        {404, "DELETE /tokens HTTP/1.1\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = ask(cases[i].bytes, strlen(cases[i].bytes));
        ck_assert_msg(status == cases[i].status, "%d instead of %d: %s", status, cases[i].status, cases[i].bytes);
    }
    static const char zero[] = "POST /mint\0 HTTP/1.1\r\n\r\n";
    ck_assert_int_eq(ask(zero, sizeof zero - 1), 400);
    expect_ledger(0, 0);
}
END_TEST

START_TEST(bad_orders_mint_nothing) {
    static const char *const forms[] = {
        "",
        "order=1",
        "order=1&article=a&owner=",
        "order=1&article=a&owner=b&more=c",
        "order=1&order=1&owner=b",
        "order=1&article=a&owner=b%00",
        "order=1&article=a b&owner=b",
        "{\"order\": 1}",
        "order=1&article=a&owner=0123456789012345678901234567890123456789012345678901234567890123",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        ck_assert_msg(ask_to_mint("key-1", forms[i]) == 400, "%s", forms[i]);
    ck_assert_int_eq(ask_to_mint("0123456789012345678901234567890123456789012345678901234567890123", FORM), 400);
    expect_ledger(0, 0);
    ck_assert_int_eq(ask_to_mint("key-1", FORM), 201);
    ck_assert_int_eq(ask_to_mint("key-1", "owner=ann&order=order-1&article=pixel-cat"), 200);
    expect_ledger(1, 2);
}
END_TEST

/* The answer gets through although the visitor is still speaking. */
START_TEST(oversized_requests_are_refused) {
    char *bytes = malloc(FLOOD);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', FLOOD);
    ck_assert_int_eq(ask(bytes, FLOOD), 431);
    memcpy(bytes, "GET /tokens HTTP/1.1\r\nHost: ", 28);
    ck_assert_int_eq(ask(bytes, FLOOD), 431);
    size_t length = good_request(bytes, FLOOD, "key-1", FORM);
    memset(bytes + length, 'x', FLOOD - length);
    ck_assert_int_eq(ask(bytes, FLOOD), 201);
    free(bytes);
    expect_ledger(1, 1);
}
END_TEST

START_TEST(a_slow_visitor_is_heard) {
    char bytes[1024], answer[1024];
    size_t length = good_request(bytes, sizeof bytes, "key-1", FORM);
    int fd = visit();
    for (size_t i = 0; i < length; i++)
        put(fd, bytes + i, 1);
    ck_assert_int_eq(hear(fd, answer, sizeof answer), 201);
}
END_TEST

START_TEST(an_endless_visitor_is_not) {
    static const char *const beginnings[] = {"", "POST /mi", HEAD "Content-Length: 9\r\n",
                                             HEAD "Content-Length: 9\r\n\r\nx"};
    become_short_of_patience();
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        ck_assert_int_eq(ask(beginnings[i], strlen(beginnings[i])), 408);
    expect_ledger(0, 0);
}
END_TEST

/* More than there is room for, and all of them silent: the customer waits outside and gets in. */
START_TEST(a_crowd_does_not_lock_it) {
    int crowd[CROWD];
    become_short_of_patience();
    for (int i = 0; i < CROWD; i++)
        crowd[i] = visit();
    struct mint_outcome outcome = mint("key-1", PATIENT_MS);
    for (int i = 0; outcome.answer == MINT_LATER && i < 100; i++)
        outcome = mint("key-1", PATIENT_MS);
    expect(outcome, MINTED, 201, "token-1");
    for (int i = 0; i < CROWD; i++)
        (void)close(crowd[i]);
}
END_TEST

/* Of a good request, each beginning is incomplete; with any one byte changed it is read to some answer. */
START_TEST(every_byte_counts) {
    char bytes[1024];
    struct http_request request;
    size_t length = good_request(bytes, sizeof bytes, "key-1", FORM);
    for (size_t i = 0; i < length; i++) {
        char *copy = malloc(i + 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, bytes, i + 1);
        ck_assert_int_eq(http_read(copy, i, &request), HTTP_INCOMPLETE);
        for (int byte = 0; byte < 256; byte++) {
            copy[i] = (char)byte;
            (void)http_read(copy, i + 1, &request);
        }
        free(copy);
    }
    ck_assert_int_eq(http_read(bytes, length, &request), HTTP_COMPLETE);
    ck_assert_str_eq(request.key, "key-1");
    ck_assert_uint_eq(request.length, strlen(FORM));
}
END_TEST

/* ---- mishaps ---- */

static void after_which_a_retry_finds(int64_t tokens, int status) {
    expect_ledger(tokens, 1);
    expect(mint("key-1", PATIENT_MS), MINTED, status, "token-1");
    expect(mint("key-1", PATIENT_MS), MINTED, 200, "token-1");
    expect_ledger(1, 3);
}

START_TEST(busy) {
    struct mint_outcome outcome = mint_under(CHAIN_BUSY, PATIENT_MS);
    expect(outcome, MINT_LATER, 503, "");
    ck_assert_int_eq(outcome.retry_after_ms, 1000);
    after_which_a_retry_finds(0, 201);
}
END_TEST

START_TEST(refuses) {
    expect(mint_under(CHAIN_REFUSES, PATIENT_MS), MINT_REFUSED, 422, "");
    expect_ledger(0, 1);
}
END_TEST

START_TEST(fails_after_minting) {
    struct mint_outcome outcome = mint_under(CHAIN_FAILS, PATIENT_MS);
    expect(outcome, MINT_LATER, 500, "");
    ck_assert_int_eq(outcome.retry_after_ms, 0);
    after_which_a_retry_finds(1, 200);
}
END_TEST

START_TEST(hangs_after_minting) {
    struct mint_outcome outcome = mint_under(CHAIN_HANGS, SOON_MS);
    expect(outcome, MINT_UNKNOWN, 0, "");
    ck_assert_str_eq(outcome.text, "no answer within 1000 ms");
    after_which_a_retry_finds(1, 200);
}
END_TEST

START_TEST(drops_after_minting) {
    expect(mint_under(CHAIN_DROPS, PATIENT_MS), MINT_UNKNOWN, 0, "");
    after_which_a_retry_finds(1, 200);
}
END_TEST

START_TEST(answers_twice) {
    expect(mint_under(CHAIN_STUTTERS, PATIENT_MS), MINTED, 201, "token-1");
    after_which_a_retry_finds(1, 200);
    char bytes[1024], answer[2048];
    script((enum chain_mishap[]){CHAIN_STUTTERS}, 1);
    size_t length = good_request(bytes, sizeof bytes, "key-1", FORM);
    ck_assert_int_eq(ask_and_hear(bytes, length, answer, sizeof answer), 200);
    ck_assert_ptr_nonnull(strstr(answer + 1, "HTTP/1.1 200"));
}
END_TEST

START_TEST(dies_after_minting) {
    script((enum chain_mishap[]){CHAIN_DIES, CHAIN_BUSY}, 2);
    expect(mint("key-1", PATIENT_MS), MINT_UNKNOWN, 0, "");
    /* Its last connection may be gone before itself: after the kill it is. */
    must(chain_service_kill(&service, &err));
    expect(mint("key-1", PATIENT_MS), MINT_LATER, 0, "");
    expect_ledger(1, 1);
    must(chain_service_restart(&service, &err));
    expect(mint("key-1", PATIENT_MS), MINT_LATER, 503, "");
    expect(mint("key-1", PATIENT_MS), MINTED, 200, "token-1");
    expect_ledger(1, 3);
}
END_TEST

START_TEST(a_script_is_met_in_order) {
    script((enum chain_mishap[]){CHAIN_REFUSES}, 1);
    script((enum chain_mishap[]){CHAIN_BUSY, CHAIN_NONE, CHAIN_BUSY, CHAIN_DROPS}, 4);
    ck_assert_int_eq(ask_to_mint("key-1", "nonsense"), 400);
    expect(mint("key-1", PATIENT_MS), MINT_LATER, 503, "");
    expect(mint("key-1", PATIENT_MS), MINTED, 201, "token-1");
    expect(mint("key-1", PATIENT_MS), MINT_LATER, 503, "");
    expect(mint("key-1", PATIENT_MS), MINT_UNKNOWN, 0, "");
    expect(mint("key-1", PATIENT_MS), MINTED, 200, "token-1");
    expect_ledger(1, 5);
}
END_TEST

struct customer {
    pthread_t thread;
    struct mint_outcome outcome;
};

static void *be_customer(void *user) {
    ((struct customer *)user)->outcome = mint("key-1", PATIENT_MS);
    return NULL;
}

static void send_customer(struct customer *customer) {
    ck_assert_int_eq(pthread_create(&customer->thread, NULL, be_customer, customer), 0);
}

START_TEST(killed_while_a_customer_waits) {
    struct customer customer;
    script((enum chain_mishap[]){CHAIN_HANGS}, 1);
    send_customer(&customer);
    for (int waited = 0; requests_of(NULL) == 0 && waited < PATIENT_MS; waited++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ck_assert_int_eq(requests_of(NULL), 1);
    must(chain_service_kill(&service, &err));
    ck_assert_int_eq(pthread_join(customer.thread, NULL), 0);
    expect(customer.outcome, MINT_UNKNOWN, 0, "");
    struct mint_outcome outcome = mint("key-1", PATIENT_MS);
    expect(outcome, MINT_LATER, 0, "");
    ck_assert_str_eq(outcome.text, "nobody listens there");
    char url[sizeof service.url];
    memcpy(url, service.url, sizeof url);
    must(chain_service_restart(&service, &err));
    ck_assert_str_eq(url, service.url);
    after_which_a_retry_finds(1, 200);
}
END_TEST

START_TEST(many_at_once_with_one_key) {
    struct customer customers[THREADS];
    int minted = 0;
    for (int i = 0; i < THREADS; i++)
        send_customer(&customers[i]);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_join(customers[i].thread, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        expect(customers[i].outcome, MINTED, customers[i].outcome.status == 201 ? 201 : 200, "token-1");
        minted += customers[i].outcome.status == 201;
    }
    ck_assert_int_eq(minted, 1);
    expect_ledger(1, THREADS);
}
END_TEST

START_TEST(an_old_ledger_is_taken_up) {
    char path[64];
    expect(mint("key-1", PATIENT_MS), MINTED, 201, "token-1");
    script((enum chain_mishap[]){CHAIN_REFUSES}, 1);
    chain_service_stop(&service);
    (void)snprintf(path, sizeof path, "%s/nowhere/chain.db", folder);
    ck_assert_int_eq(chain_service_start(&service, path, 0, &err), CDTX_IO);
    begin();
    expect(mint("key-2", PATIENT_MS), MINTED, 201, "token-2");
    expect(mint("key-1", PATIENT_MS), MINTED, 200, "token-1");
    expect_ledger(2, 3);
}
END_TEST

/* ---- the client, and services that are none ---- */

struct impostor {
    pthread_t thread;
    int listener;
    const char *answer;
    size_t length;
};

static void *be_impostor(void *user) {
    const struct impostor *impostor = user;
    char bytes[4096];
    size_t length = 0;
    ssize_t got = 1;
    int fd = accept4(impostor->listener, NULL, NULL, SOCK_CLOEXEC);
    while (got > 0 && memmem(bytes, length, FORM, strlen(FORM)) == NULL) {
        got = recv(fd, bytes + length, sizeof bytes - length, 0);
        length += got > 0 ? (size_t)got : 0;
    }
    /* Who has had enough may have left. */
    (void)send(fd, impostor->answer, impostor->length, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        continue;
    (void)close(fd);
    return NULL;
}

static struct mint_outcome mint_at_impostor(const char *answer, size_t length) {
    struct impostor impostor = {.answer = answer, .length = length};
    struct sockaddr_in here = address(0);
    socklen_t size = sizeof here;
    struct mint_outcome outcome;
    char url[32];
    impostor.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(impostor.listener, (struct sockaddr *)&here, size), 0);
    ck_assert_int_eq(listen(impostor.listener, 1), 0);
    ck_assert_int_eq(getsockname(impostor.listener, (struct sockaddr *)&here, &size), 0);
    ck_assert_int_eq(pthread_create(&impostor.thread, NULL, be_impostor, &impostor), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)ntohs(here.sin_port));
    chain_client_mint(url, "key-1", &ORDER, PATIENT_MS, &outcome);
    /* For one that nobody came to. */
    (void)shutdown(impostor.listener, SHUT_RDWR);
    ck_assert_int_eq(pthread_join(impostor.thread, NULL), 0);
    (void)close(impostor.listener);
    return outcome;
}

START_TEST(other_answers) {
    static const struct {
        enum mint_answer answer;
        int status;
        int64_t retry_after_ms;
        const char *bytes;
    } cases[] = {
        {MINTED, 201, 0, OK "Content-Length: 3\r\n\r\nabc"},
        {MINTED, 201, 0, OK "\r\nabc"},
        {MINTED, 200, 0, "HTTP/1.1 200 \r\nContent-Length: 3\r\nRetry-After: 9\r\n\r\nabcHTTP/1.1 500 \r\n\r\n"},
        {MINT_UNKNOWN, 0, 0, ""},
        {MINT_UNKNOWN, 0, 0, "HTTP/1.1 2"},
        {MINT_UNKNOWN, 0, 0, "how do you do\r\n"},
        {MINT_UNKNOWN, 201, 0, OK "Content-Length: 30\r\n\r\nabc"},
        {MINT_UNKNOWN, 201, 0, OK "Content-Length: 0\r\n\r\n"},
        {MINT_UNKNOWN, 201, 0, OK "Content-Length: 3\r\n\r\na\033c"},
        {MINT_UNKNOWN, 201, 0, OK "\r\n0123456789012345678901234567890123456789012345678901234567890123"},
        {MINT_UNKNOWN, 204, 0, "HTTP/1.1 204 \r\n\r\n"},
        {MINT_UNKNOWN, 302, 0, "HTTP/1.1 302 \r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
        {MINT_UNKNOWN, 307, 0, "HTTP/1.1 307 \r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
        {MINT_REFUSED, 404, 0, "HTTP/1.1 404 \r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\nno"},
        {MINT_LATER, 408, 0, "HTTP/1.1 408 \r\nContent-Length: 0\r\n\r\n"},
        {MINT_LATER, 429, 3000, "HTTP/1.1 429 \r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"},
        {MINT_LATER, 503, 0, "HTTP/1.1 503 \r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n"},
        {MINT_LATER, 503, 0, "HTTP/1.1 503 \r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n"},
        {MINT_LATER, 503, MINT_RETRY_AFTER_MAX_MS,
         "HTTP/1.1 503 \r\nRetry-After: 999999999999\r\nContent-Length: 0\r\n\r\n"},
        {MINT_LATER, 503, MINT_RETRY_AFTER_MAX_MS,
         "HTTP/1.1 503 \r\nRetry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mint_outcome outcome = mint_at_impostor(cases[i].bytes, strlen(cases[i].bytes));
        ck_assert_msg(outcome.answer == cases[i].answer && outcome.status == cases[i].status &&
                          outcome.retry_after_ms == cases[i].retry_after_ms,
                      "answer %d, status %d, %s: %s", (int)outcome.answer, outcome.status, outcome.text,
                      cases[i].bytes);
        ck_assert_str_eq(outcome.token, cases[i].answer == MINTED ? "abc" : "");
    }
    ck_assert_str_eq(mint_at_impostor("HTTP/1.1 400 \r\n\r\na\033[2Jb", 23).text, "400: a?[2Jb");
}
END_TEST

START_TEST(an_endless_answer_ends) {
    char *bytes = malloc(PADDING);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', PADDING);
    memcpy(bytes, OK "\r\n", strlen(OK "\r\n"));
    expect(mint_at_impostor(bytes, PADDING), MINT_UNKNOWN, 201, "");
    free(bytes);
}
END_TEST

START_TEST(what_is_not_sent) {
    static const char *const urls[] = {"",
                                       "https://127.0.0.1:80",
                                       "file:///etc/passwd",
                                       "http://127.0.0.1",
                                       "http://127.0.0.1:0",
                                       "http://127.0.0.1:65536",
                                       "http://127.0.0.1:80@example.org",
                                       "http://127.0.0.1:80/",
                                       "http://localhost:80"};
    static const char *const keys[] = {"", "a b", "a\r\nContent-Length: 0", "\303\244",
                                       "0123456789012345678901234567890123456789012345678901234567890123"};
    struct mint_outcome outcome;
    struct mint_order order = ORDER;
    char *longest = malloc(PADDING);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        chain_client_mint(urls[i], "key-1", &ORDER, PATIENT_MS, &outcome);
        expect(outcome, MINT_REFUSED, 0, "");
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        expect(mint(keys[i], PATIENT_MS), MINT_REFUSED, 0, "");
    ck_assert_ptr_nonnull(longest);
    memset(longest, 'x', PADDING);
    longest[PADDING - 1] = '\0';
    order.owner = longest;
    chain_client_mint(service.url, "key-1", &order, PATIENT_MS, &outcome);
    expect(outcome, MINT_REFUSED, 0, "");
    free(longest);
    expect_ledger(0, 0);
    order.owner = "ann&owner=bob";
    chain_client_mint(service.url, "key-1", &order, PATIENT_MS, &outcome);
    expect(outcome, MINT_REFUSED, 400, "");
    expect_ledger(0, 0);
}
END_TEST

/* ---- the program ---- */

static int run_all(void) {
    const TTest *const tests[] = {a_repeat_is_no_second_token,
                                  tokens_are_counted,
                                  bad_requests_mint_nothing,
                                  bad_orders_mint_nothing,
                                  oversized_requests_are_refused,
                                  a_slow_visitor_is_heard,
                                  an_endless_visitor_is_not,
                                  a_crowd_does_not_lock_it,
                                  every_byte_counts,
                                  busy,
                                  refuses,
                                  fails_after_minting,
                                  hangs_after_minting,
                                  drops_after_minting,
                                  answers_twice,
                                  dies_after_minting,
                                  a_script_is_met_in_order,
                                  killed_while_a_customer_waits,
                                  many_at_once_with_one_key,
                                  an_old_ledger_is_taken_up,
                                  other_answers,
                                  an_endless_answer_ends,
                                  what_is_not_sent};
    Suite *suite = suite_create("chain");
    TCase *tcase = tcase_create("chain");
    tcase_add_checked_fixture(tcase, begin, finish);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "--life") == 0 && strcmp(argv[2], "chain") == 0) {
        (void)chain_serve(argv + 2, &err);
        return fprintf(stderr, "chain: %s\n", err.text), EXIT_FAILURE;
    }
    /* The client must not ask a proxy, which this is none. */
    if (setenv("http_proxy", "http://127.0.0.1:1", 1) != 0 || mkdtemp(folder) == NULL || chain_client_start(&err) != 0)
        return fprintf(stderr, "test_chain cannot start: %s\n", err.text), EXIT_FAILURE;
    int status = run_all();
    chain_client_stop();
    (void)rmdir(folder);
    return status;
}
