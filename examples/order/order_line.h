/* What a customer asks for, and its text form "REQUEST SKU QUANTITY", the payload that both services read. */
#ifndef ORDER_LINE_H
#define ORDER_LINE_H

#include <cdtx/tcc.h>

enum { ORDER_REQUEST_MAX = 47, ORDER_SKU_MAX = 31, ORDER_TEXT_MAX = 128 };

struct order_line {
    char request[ORDER_REQUEST_MAX + 1]; /* the customer's own id: the same id is the same order */
    char sku[ORDER_SKU_MAX + 1];
    int64_t quantity;
};

/* Returns the length of the text. */
size_t order_line_write(const struct order_line *line, char text[ORDER_TEXT_MAX]);
/* Errors: REFUSED when the text is no order line. */
int32_t order_line_read(const void *text, size_t length, struct order_line *line, cdtx_error *err);

/* A service's answer other than 0: fills *err and returns code. */
int32_t say_no(cdtx_error *err, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
