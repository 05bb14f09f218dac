#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

static struct json_object *must(struct json_object *object) {
    if (object == NULL)
        status_no_memory();
    return object;
}

struct json_object *json_new_object(void) {
    return must(json_object_new_object());
}

struct json_object *json_new_array(void) {
    return must(json_object_new_array());
}

void json_put(struct json_object *object, const char *key, struct json_object *value) {
    if (json_object_object_add(object, key, value) != 0)
        status_no_memory();
}

void json_append(struct json_object *array, struct json_object *value) {
    if (json_object_array_add(array, value) != 0)
        status_no_memory();
}

static struct json_object *hexadecimal(const char *bytes, size_t length) {
    static const char digits[] = "0123456789abcdef";
    char *text = status_memory(NULL, length * 2 + 1);
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[(unsigned char)bytes[i] >> 4];
        text[2 * i + 1] = digits[(unsigned char)bytes[i] & 15];
    }
    text[2 * length] = '\0';
    struct json_object *object = json_new_object();
    json_put(object, "hex", must(json_object_new_string(text)));
    free(text);
    return object;
}

struct json_object *json_text(const char *text, size_t length) {
    if (!view_is_utf8(text, length) || length > INT32_MAX)
        return hexadecimal(text, length);
    return must(json_object_new_string_len(text, (int)length));
}

void json_put_text(struct json_object *object, const char *key, const char *text) {
    json_put(object, key, text == NULL ? NULL : json_text(text, strlen(text)));
}

void json_put_number(struct json_object *object, const char *key, int64_t number) {
    json_put(object, key, must(json_object_new_int64(number)));
}

void json_put_truth(struct json_object *object, const char *key, int truth) {
    json_put(object, key, must(json_object_new_boolean(truth)));
}

static const char *state_of(const struct view *view, const char *name, int64_t number) {
    for (const struct view_column *column = view->columns; column->name != NULL; column++)
        if (strcmp(column->name, name) == 0)
            return view_state(column->look, number);
    return NULL;
}

struct json_object *json_value(const struct view *view, const cdtx_report *report, const char *column) {
    uint32_t at = view_find(report, column);
    int64_t number = cdtx_report_int(report, at);
    size_t length = 0;
    const char *text = cdtx_report_text(report, at, &length), *state = state_of(view, column, number);
    int32_t type = cdtx_report_type(report, at);
    if (type == CDTX_BLOB && !view_is_text(text, length))
        return hexadecimal(text, length);
    if (type != CDTX_INT)
        return text == NULL ? NULL : json_text(text, length);
    return state != NULL ? json_text(state, strlen(state)) : must(json_object_new_int64(number));
}

struct json_object *json_row(const struct view *view, const cdtx_report *report) {
    struct json_object *row = json_new_object();
    if (view->database != NULL)
        json_put_text(row, "database", view->database);
    for (uint32_t i = 0; i < cdtx_report_columns(report); i++) {
        const char *name = cdtx_report_name(report, i);
        json_put(row, name, json_value(view, report, name));
    }
    return row;
}

void json_print(struct json_object *document) {
    size_t length = 0;
    const char *text = json_object_to_json_string_length(
        document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
    if (text == NULL)
        status_no_memory();
    (void)fwrite(text, 1, length, stdout);
    (void)fputc('\n', stdout);
    json_object_put(document);
}
