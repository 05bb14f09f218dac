/* The bytes of the chain service: a request as it comes from the wire, and an answer. Sees nothing but the bytes it is
 * given, and believes none of them. */
#ifndef CHAIN_HTTP_H
#define CHAIN_HTTP_H

#include <stddef.h>

enum { HTTP_REQUEST_MAX = 4096, HTTP_FIELD_MAX = 63, HTTP_ANSWER_MAX = 512 };

/* What http_read answers beside the status of a request that is wrong. */
enum { HTTP_INCOMPLETE = 0, HTTP_COMPLETE = 1 };

struct http_request {
    char method[8], path[HTTP_FIELD_MAX + 1];
    char key[HTTP_FIELD_MAX + 1]; /* of Idempotency-Key; "" there is none */
    const char *body;             /* points into the bytes that were read */
    size_t length;
};

/* HTTP_COMPLETE, HTTP_INCOMPLETE when more bytes must come first, or the status of the refusal. */
int http_read(const char *bytes, size_t length, struct http_request *request);
/* Is the body a form of exactly these names, each once, with values of letters, digits and -._~ only? */
int http_form(const struct http_request *request, const char *const *names, char (*values)[HTTP_FIELD_MAX + 1],
              size_t count);
/* Returns the length of the answer. */
size_t http_write(char answer[HTTP_ANSWER_MAX], int status, const char *text);

#endif
