#include "chain_client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order_line.h"

enum { CONNECT_MS = 2000, URL_MAX = 64, BODY_MAX = 1024 };

/* The beginning of an answer's body; what is longer is none of ours. */
struct body {
    char text[BODY_MAX + 1];
    size_t length;
};

struct request {
    CURL *curl;
    struct curl_slist *headers;
    char url[URL_MAX], form[BODY_MAX];
    struct body body;
};

static void __attribute__((format(printf, 3, 4)))
end(struct mint_outcome *outcome, enum mint_answer answer, const char *format, ...) {
    va_list arguments;
    outcome->answer = answer;
    va_start(arguments, format);
    (void)vsnprintf(outcome->text, sizeof outcome->text, format, arguments);
    va_end(arguments);
}

int32_t chain_client_start(cdtx_error *err) {
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    return code == CURLE_OK ? 0 : say_no(err, CDTX_IO, "libcurl does not start: %s", curl_easy_strerror(code));
}

void chain_client_stop(void) {
    curl_global_cleanup();
}

static int visible(const char *text, size_t max) {
    size_t length = strnlen(text, max + 1);
    if (length == 0 || length > max)
        return 0;
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)text[i]))
            return 0;
    return 1;
}

/* A body that is too long ends the transfer. */
static size_t take(char *bytes, size_t size, size_t count, void *user) {
    struct body *body = user;
    size_t length = size * count;
    if (length > BODY_MAX - body->length)
        return 0;
    memcpy(body->text + body->length, bytes, length);
    body->length += length;
    return length;
}

static int write_url(struct request *request, const char *url) {
    unsigned port;
    char more;
    if (sscanf(url, "http://127.0.0.1:%5u%c", &port, &more) != 1 || port == 0 || port > UINT16_MAX)
        return 0;
    (void)snprintf(request->url, sizeof request->url, "http://127.0.0.1:%u/mint", port);
    return 1;
}

static int write_form(struct request *request, const struct mint_order *order) {
    const char *const fields[][2] = {{"order", order->order}, {"article", order->article}, {"owner", order->owner}};
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        char *value = curl_easy_escape(request->curl, fields[i][1], 0);
        size_t room = sizeof request->form - at;
        int length = -1;
        if (value != NULL)
            length = snprintf(request->form + at, room, "%s%s=%s", i > 0 ? "&" : "", fields[i][0], value);
        curl_free(value);
        if (length < 0 || (size_t)length >= room)
            return 0;
        at += (size_t)length;
    }
    return 1;
}

static int write_headers(struct request *request, const char *key) {
    char line[MINT_KEY_MAX + 32];
    (void)snprintf(line, sizeof line, "Idempotency-Key: %s", key);
    request->headers = curl_slist_append(NULL, line);
    return request->headers != NULL;
}

/* A handle of its own for each request: a connection that was used before may make libcurl send the request twice by
 * itself. And no proxy: the environment's must not learn of it. */
static CURLcode set_up(struct request *request, int64_t timeout_ms) {
    CURL *curl = request->curl;
    CURLcode codes[] = {
        curl_easy_setopt(curl, CURLOPT_URL, request->url),
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http"),
        curl_easy_setopt(curl, CURLOPT_PROXY, ""),
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L),
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L),
        curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L),
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS),
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(timeout_ms > 0 ? timeout_ms : 1)),
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, request->headers),
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->form),
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take),
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &request->body),
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] != CURLE_OK)
            return codes[i];
    return CURLE_OK;
}

/* No answer, or not all of one: was the request on its way? */
static void judge_failure(struct request *request, CURLcode code, int64_t timeout_ms, struct mint_outcome *outcome) {
    long sent = 0;
    if (curl_easy_getinfo(request->curl, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK)
        sent = 1;
    if (code == CURLE_COULDNT_CONNECT)
        end(outcome, MINT_LATER, "nobody listens there");
    else if (sent == 0)
        end(outcome, MINT_LATER, "the request never left: %s", curl_easy_strerror(code));
    else if (code == CURLE_OPERATION_TIMEDOUT)
        end(outcome, MINT_UNKNOWN, "no answer within %" PRId64 " ms", timeout_ms);
    else
        end(outcome, MINT_UNKNOWN, "the answer was lost: %s", curl_easy_strerror(code));
}

static void read_retry_after(CURL *curl, struct mint_outcome *outcome) {
    curl_off_t seconds = 0;
    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return;
    outcome->retry_after_ms =
        seconds < MINT_RETRY_AFTER_MAX_MS / 1000 ? (int64_t)seconds * 1000 : MINT_RETRY_AFTER_MAX_MS;
}

static void judge_answer(struct request *request, struct mint_outcome *outcome) {
    int status = outcome->status;
    const char *said = request->body.text;
    size_t length = request->body.length;
    int token = visible(said, MINT_TOKEN_MAX) && strlen(said) == length;
    /* It came from outside and goes to a terminal. */
    for (size_t i = 0; i < length; i++)
        if (!isprint((unsigned char)said[i]))
            request->body.text[i] = '?';
    if ((status == 200 || status == 201) && token) {
        memcpy(outcome->token, said, length);
        end(outcome, MINTED, "%s", status == 201 ? "minted" : "minted before");
    } else if (status >= 500 || status == 408 || status == 429) {
        read_retry_after(request->curl, outcome);
        end(outcome, MINT_LATER, "%d: %.120s", status, said);
    } else if (status >= 400) {
        end(outcome, MINT_REFUSED, "%d: %.120s", status, said);
    } else {
        end(outcome, MINT_UNKNOWN, "an answer of status %d without a token", status);
    }
}

static void perform(struct request *request, int64_t timeout_ms, struct mint_outcome *outcome) {
    long status = 0;
    CURLcode code = set_up(request, timeout_ms);
    if (code != CURLE_OK) {
        end(outcome, MINT_LATER, "the request never left: %s", curl_easy_strerror(code));
        return;
    }
    code = curl_easy_perform(request->curl);
    if (curl_easy_getinfo(request->curl, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
        outcome->status = (int)status;
    if (code != CURLE_OK)
        judge_failure(request, code, timeout_ms, outcome);
    else
        judge_answer(request, outcome);
}

void chain_client_mint(const char *url, const char *key, const struct mint_order *order, int64_t timeout_ms,
                       struct mint_outcome *outcome) {
    struct request request = {.curl = curl_easy_init()};
    *outcome = (struct mint_outcome){.answer = MINT_LATER};
    if (request.curl == NULL)
        end(outcome, MINT_LATER, "the request never left: no memory");
    else if (!write_url(&request, url))
        end(outcome, MINT_REFUSED, "the address must be http://127.0.0.1:PORT");
    else if (!visible(key, MINT_KEY_MAX))
        end(outcome, MINT_REFUSED, "the key must be 1 to %d visible characters", MINT_KEY_MAX);
    else if (!write_form(&request, order))
        end(outcome, MINT_REFUSED, "the order is too long");
    else if (!write_headers(&request, key))
        end(outcome, MINT_LATER, "the request never left: no memory");
    else
        perform(&request, timeout_ms, outcome);
    curl_slist_free_all(request.headers);
    curl_easy_cleanup(request.curl);
}
