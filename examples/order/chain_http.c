#include "chain_http.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LINE_MAX_LENGTH = 127, FORM_MAX = 8 };

struct span {
    const char *at;
    size_t length;
};

/* The header lines that matter here. */
struct head {
    struct span body_length, key, coding;
};

/* Takes what is before the mark off the rest; without a mark that is all of it. */
static struct span cut(struct span *rest, const char *mark) {
    const char *end = memmem(rest->at, rest->length, mark, strlen(mark));
    struct span piece = {rest->at, end != NULL ? (size_t)(end - rest->at) : rest->length};
    size_t gone = piece.length + (end != NULL ? strlen(mark) : 0);
    *rest = (struct span){rest->at + gone, rest->length - gone};
    return piece;
}

static struct span trimmed(struct span text) {
    while (text.length > 0 && (*text.at == ' ' || *text.at == '\t'))
        text = (struct span){text.at + 1, text.length - 1};
    while (text.length > 0 && strchr(" \t", text.at[text.length - 1]) != NULL)
        text.length--;
    return text;
}

/* Copies a text of 1 to HTTP_FIELD_MAX characters, each a letter, a digit or one of more. */
static int copy_field(struct span text, const char *more, char field[HTTP_FIELD_MAX + 1]) {
    if (text.length == 0 || text.length > HTTP_FIELD_MAX)
        return 0;
    for (size_t i = 0; i < text.length; i++)
        if (!isalnum((unsigned char)text.at[i]) && (text.at[i] == '\0' || strchr(more, text.at[i]) == NULL))
            return 0;
    memcpy(field, text.at, text.length);
    field[text.length] = '\0';
    return 1;
}

static int read_request_line(struct span text, struct http_request *request) {
    char line[LINE_MAX_LENGTH + 1] = "";
    char minor[2], more;
    if (text.length > LINE_MAX_LENGTH || memchr(text.at, '\0', text.length) != NULL)
        return 0;
    memcpy(line, text.at, text.length);
    return sscanf(line, "%7[A-Z] %63[!-~] HTTP/1.%1[01]%c", request->method, request->path, minor, &more) == 3;
}

static int is(struct span name, const char *other) {
    return name.length == strlen(other) && strncasecmp(name.at, other, name.length) == 0;
}

/* Two lines that could be read one way by us and another way by somebody before us are refused. */
static int read_header(struct span line, struct head *head) {
    struct span value = line, *place = NULL;
    struct span name = cut(&value, ":");
    if (name.length == 0 || name.length == line.length || memchr(line.at, '\0', line.length) != NULL ||
        memchr(name.at, ' ', name.length) != NULL || memchr(name.at, '\t', name.length) != NULL)
        return 0;
    if (is(name, "Content-Length"))
        place = &head->body_length;
    else if (is(name, "Idempotency-Key"))
        place = &head->key;
    else if (is(name, "Transfer-Encoding"))
        place = &head->coding;
    if (place != NULL && place->at != NULL)
        return 0;
    if (place != NULL)
        *place = trimmed(value);
    return 1;
}

static int read_length(struct span text, size_t *length) {
    *length = 0;
    if (text.length == 0 || text.length > 9)
        return 0;
    for (size_t i = 0; i < text.length; i++) {
        if (!isdigit((unsigned char)text.at[i]))
            return 0;
        *length = *length * 10 + (size_t)(text.at[i] - '0');
    }
    return 1;
}

/* The lines after the first, up to the empty one. */
static int read_headers(struct span lines, struct http_request *request) {
    struct head head = {0};
    while (lines.length > 0)
        if (!read_header(cut(&lines, "\r\n"), &head))
            return 400;
    if (head.coding.at != NULL)
        return 501;
    if (head.key.at != NULL && !copy_field(head.key, "-._~:/+=", request->key))
        return 400;
    if (head.body_length.at != NULL && !read_length(head.body_length, &request->length))
        return 400;
    return head.body_length.at == NULL && strcmp(request->method, "POST") == 0 ? 411 : HTTP_COMPLETE;
}

int http_read(const char *bytes, size_t length, struct http_request *request) {
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    size_t head_length = end != NULL ? (size_t)(end - bytes) : length;
    struct span head = {bytes, head_length};
    struct span line = cut(&head, "\r\n");
    *request = (struct http_request){0};
    /* Said at once, even to a visitor who never sends an empty line. */
    if ((end != NULL || line.length < length) && !read_request_line(line, request))
        return 400;
    if (end == NULL)
        return length < HTTP_REQUEST_MAX ? HTTP_INCOMPLETE : 431;
    int status = read_headers(head, request);
    if (status != HTTP_COMPLETE)
        return status;
    size_t start = head_length + 4;
    if (request->length > HTTP_REQUEST_MAX - start)
        return 413;
    request->body = bytes + start;
    return length - start < request->length ? HTTP_INCOMPLETE : HTTP_COMPLETE;
}

int http_form(const struct http_request *request, const char *const *names, char (*values)[HTTP_FIELD_MAX + 1],
              size_t count) {
    struct span rest = {request->body, request->length};
    size_t found = 0, seen[FORM_MAX] = {0};
    for (; rest.length > 0 && found < count; found++) {
        struct span value = cut(&rest, "&");
        struct span name = cut(&value, "=");
        size_t i = 0;
        while (i < count && (name.length != strlen(names[i]) || memcmp(name.at, names[i], name.length) != 0))
            i++;
        if (i == count || seen[i]++ > 0 || !copy_field(value, "-._~", values[i]))
            return 0;
    }
    return found == count && rest.length == 0;
}

size_t http_write(char answer[HTTP_ANSWER_MAX], int status, const char *text) {
    int length = snprintf(answer, HTTP_ANSWER_MAX,
                          "HTTP/1.1 %d \r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%sConnection: close\r\n"
                          "\r\n%.256s",
                          status, strnlen(text, 256), status == 503 ? "Retry-After: 1\r\n" : "", text);
    return (size_t)length;
}
