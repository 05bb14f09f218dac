#include "table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "status.h"

enum { COLUMNS_MAX = 24, COLUMN_LEAST = 8, GAP = 2 };

struct cell {
    char *text;
    uint32_t width;
    int number;
};

struct table {
    const struct view_column *columns;
    uint32_t column_count;
    uint32_t in_line; /* of them, all but one that stands below */
    int whole;
    struct cell *cells; /* row by row */
    uint32_t rows, room;
};

struct table *table_new(const struct view *view) {
    struct table *table = status_memory(NULL, sizeof *table);
    *table = (struct table){.columns = view->columns, .whole = view->whole};
    while (view->columns[table->column_count].name != NULL && table->column_count < COLUMNS_MAX)
        table->in_line += view->columns[table->column_count++].title != NULL;
    return table;
}

/* Of valid, printable UTF-8, as the view writes it. */
static uint32_t width_of(const char *text) {
    uint32_t width = 0;
    mbstate_t state = {0};
    wchar_t character = 0;
    for (size_t got; (got = mbrtowc(&character, text, MB_CUR_MAX, &state)) != 0; text += got) {
        if (got == (size_t)-1 || got == (size_t)-2)
            return width;
        int columns = wcwidth(character);
        width += columns > 0 ? (uint32_t)columns : 0;
    }
    return width;
}

static struct cell make_cell(const struct view *view, const struct view_column *column, const cdtx_report *report) {
    struct cell cell = {0};
    size_t length = 0;
    FILE *out = open_memstream(&cell.text, &length);
    if (out == NULL)
        status_no_memory();
    view_write(out, view, column, report);
    if (fclose(out) != 0)
        status_no_memory();
    cell.width = width_of(cell.text);
    uint32_t at = view_find(report, column->name);
    cell.number =
        view_is_number(column->look) || (column->look == LOOK_PLAIN && cdtx_report_type(report, at) == CDTX_INT);
    return cell;
}

static struct cell *new_row(struct table *table) {
    if (table->rows == table->room) {
        table->room = table->room == 0 ? 64 : table->room * 2;
        table->cells = status_memory(table->cells, (size_t)table->room * table->column_count * sizeof *table->cells);
    }
    return &table->cells[(size_t)table->rows++ * table->column_count];
}

void table_add(struct table *table, const struct view *view, const cdtx_report *report) {
    struct cell *row = new_row(table);
    for (uint32_t i = 0; i < table->column_count; i++)
        row[i] = make_cell(view, &table->columns[i], report);
}

/* Escaped, as a report's are. */
static struct cell text_cell(const char *text, int number) {
    struct cell cell = {.number = number};
    size_t length = 0;
    FILE *out = open_memstream(&cell.text, &length);
    if (out == NULL)
        status_no_memory();
    view_write_text(out, text, strlen(text), 0);
    if (fclose(out) != 0)
        status_no_memory();
    cell.width = width_of(cell.text);
    return cell;
}

void table_add_texts(struct table *table, const char *const *texts, uint32_t numbers) {
    struct cell *row = new_row(table);
    for (uint32_t i = 0; i < table->column_count; i++)
        row[i] = text_cell(texts[i], i >= numbers);
}

void table_forget(struct table *table, uint32_t first, uint32_t count) {
    struct cell *from = &table->cells[(size_t)first * table->column_count];
    size_t gone = (size_t)count * table->column_count;
    for (size_t i = 0; i < gone; i++)
        free(from[i].text);
    table->rows -= count;
    memmove(from, from + gone, (size_t)(table->rows - first) * table->column_count * sizeof *from);
}

static uint32_t terminal_width(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col;
}

/* Which column gives way next: the last one, where the sentences are, then the widest of other texts; 0 for none. The
 * first is what a person copies: it stays whole. */
static uint32_t give_way(const struct table *table, const uint32_t *widths) {
    uint32_t last = table->in_line - 1, widest = 0;
    if (last > 0 && widths[last] > COLUMN_LEAST)
        return last;
    for (uint32_t i = 1; i < last; i++)
        if (table->columns[i].look == LOOK_PLAIN && widths[i] > COLUMN_LEAST &&
            (widest == 0 || widths[i] > widths[widest]))
            widest = i;
    return widest;
}

static void fit(const struct table *table, uint32_t *widths, uint32_t room) {
    uint32_t total = (table->in_line - 1) * GAP;
    for (uint32_t i = 0; i < table->in_line; i++)
        total += widths[i];
    for (uint32_t i; total > room && (i = give_way(table, widths)) != 0; total--)
        widths[i]--;
}

static void pad(uint32_t blanks) {
    (void)printf("%*s", (int)blanks, "");
}

/* Without blanks behind the last. */
static void print_cell(const char *text, uint32_t own, uint32_t width, int right, int last) {
    if (own > width) {
        view_write_text(stdout, text, strlen(text), width - 1);
        return; /* a wide character at the edge may leave it one short, which the gap hides */
    }
    if (right)
        pad(width - own);
    (void)fputs(text, stdout);
    if (!right && !last)
        pad(width - own);
}

struct columns {
    uint32_t widths[COLUMNS_MAX], titles[COLUMNS_MAX];
    int right[COLUMNS_MAX]; /* numbers stand at the right */
};

static void measure(const struct table *table, struct columns *columns) {
    for (uint32_t c = 0; c < table->in_line; c++) {
        columns->widths[c] = columns->titles[c] = width_of(table->columns[c].title);
        for (uint32_t r = 0; r < table->rows; r++) {
            const struct cell *cell = &table->cells[(size_t)r * table->column_count + c];
            columns->widths[c] = cell->width > columns->widths[c] ? cell->width : columns->widths[c];
            columns->right[c] = columns->right[c] || cell->number;
        }
    }
}

/* row NULL: the titles. */
static void print_row(const struct table *table, const struct columns *columns, const struct cell *row,
                      const char *indent) {
    (void)fputs(indent, stdout);
    for (uint32_t c = 0; c < table->in_line; c++) {
        if (c > 0)
            pad(GAP);
        print_cell(row == NULL ? table->columns[c].title : row[c].text, row == NULL ? columns->titles[c] : row[c].width,
                   columns->widths[c], columns->right[c], c + 1 == table->in_line);
    }
    (void)fputc('\n', stdout);
    if (row != NULL && table->in_line < table->column_count && strcmp(row[table->in_line].text, "-") != 0)
        (void)printf("%s    %s\n", indent, row[table->in_line].text);
}

void table_print(const struct table *table, const char *indent) {
    struct columns columns = {0};
    uint32_t room = terminal_width(), used = (uint32_t)strlen(indent);
    if (table->rows == 0)
        return;
    measure(table, &columns);
    if (!table->whole && room > used)
        fit(table, columns.widths, room - used);
    print_row(table, &columns, NULL, indent);
    for (uint32_t r = 0; r < table->rows; r++)
        print_row(table, &columns, &table->cells[(size_t)r * table->column_count], indent);
}

void table_free(struct table *table) {
    for (size_t i = 0; table != NULL && i < (size_t)table->rows * table->column_count; i++)
        free(table->cells[i].text);
    if (table != NULL)
        free(table->cells);
    free(table);
}

static void print_title(FILE *out, const struct view *view, const char *title) {
    uint32_t width = 0;
    for (const struct view_column *column = view->columns; column->name != NULL; column++)
        width = width_of(column->title) > width ? width_of(column->title) : width;
    (void)fprintf(out, "%s%*s", title, (int)(width - width_of(title) + GAP), "");
}

void fields_print(FILE *out, const struct view *view, const cdtx_report *report) {
    for (const struct view_column *column = view->columns; column->name != NULL; column++) {
        if (view_is_null(column, report))
            continue;
        print_title(out, view, column->title);
        view_write_full(out, view, column, report);
        (void)fputc('\n', out);
    }
}

void fields_print_text(FILE *out, const struct view *view, const char *title, const char *text) {
    print_title(out, view, title);
    view_write_text(out, text, strlen(text), 0);
    (void)fputc('\n', out);
}
