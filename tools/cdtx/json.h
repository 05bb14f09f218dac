/* Reports as JSON: column names as keys, numbers as numbers, states as words, bytes as text or {"hex": ...}. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <json.h>

#include "view.h"

/* The report's current row as an object. */
struct json_object *json_row(const struct view *view, const cdtx_report *report);
/* The value of one of its columns. */
struct json_object *json_value(const struct view *view, const cdtx_report *report, const char *column);
/* Never NULL, like the next two. */
struct json_object *json_new_object(void);
struct json_object *json_new_array(void);
struct json_object *json_text(const char *text, size_t length);
void json_put_text(struct json_object *object, const char *key, const char *text);
void json_put_number(struct json_object *object, const char *key, int64_t number);
void json_put_truth(struct json_object *object, const char *key, int truth);
/* Takes value over. */
void json_put(struct json_object *object, const char *key, struct json_object *value);
void json_append(struct json_object *array, struct json_object *value);
/* Prints the document and frees it. */
void json_print(struct json_object *document);

#endif
