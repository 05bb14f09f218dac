/* Rows in aligned columns, by the width that a terminal gives each character. */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

#include "view.h"

struct table;

/* With the view's titles; borrows the view's columns. */
struct table *table_new(const struct view *view);
/* Adds the report's current row; view may be another than the first, with the same columns. */
void table_add(struct table *table, const struct view *view, const cdtx_report *report);
/* Adds a row of texts, one for each column, copied; those from the column `numbers` on are numbers. */
void table_add_texts(struct table *table, const char *const *texts, uint32_t numbers);
/* Forgets so many rows, from the one numbered first on. */
void table_forget(struct table *table, uint32_t first, uint32_t count);
/* Prints it: nothing for no rows. On a terminal the widest columns are cut until a row fits. */
void table_print(const struct table *table, const char *indent);
void table_free(struct table *table);

/* One row as fields, "title  value" a line; what is NULL is left out. */
void fields_print(FILE *out, const struct view *view, const cdtx_report *report);
/* One more field among them, of a text. */
void fields_print_text(FILE *out, const struct view *view, const char *title, const char *text);

#endif
