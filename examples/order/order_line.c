#include "order_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

size_t order_line_write(const struct order_line *line, char text[ORDER_TEXT_MAX]) {
    int length = snprintf(text, ORDER_TEXT_MAX, "%s %s %" PRId64, line->request, line->sku, line->quantity);
    return (size_t)length;
}

int32_t order_line_read(const void *text, size_t length, struct order_line *line, cdtx_error *err) {
    char copy[ORDER_TEXT_MAX] = "";
    char more;
    if (text != NULL && length < sizeof copy)
        memcpy(copy, text, length);
    if (sscanf(copy, "%47s %31s %" SCNd64 "%c", line->request, line->sku, &line->quantity, &more) != 3 ||
        line->quantity <= 0)
        return say_no(err, CDTX_REFUSED, "'%s' is no order line: request, sku and a quantity above 0", copy);
    return 0;
}

int32_t say_no(cdtx_error *err, int32_t code, const char *format, ...) {
    char text[sizeof err->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return cdtx_error_set(err, code, text);
}
