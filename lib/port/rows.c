#include "port/rows.h"

enum { CHUNK = 4096 };

struct rows_chunk {
    struct rows_chunk *next;
    size_t room, used;
    char bytes[];
};

void cdtx__rows_init(cdtx_rows *rows, const cdtx_env *env, size_t bytes_max) {
    *rows = (cdtx_rows){.env = env, .bytes_max = bytes_max};
}

static void free_chunks(cdtx_rows *rows, const struct rows_chunk *keep) {
    while (rows->chunks != NULL && rows->chunks != keep) {
        struct rows_chunk *chunk = rows->chunks;
        rows->chunks = chunk->next;
        cdtx__free(rows->env, chunk, sizeof *chunk + chunk->room);
    }
}

void cdtx__rows_reset(cdtx_rows *rows) {
    /* One ordinary chunk stays: most statements then allocate nothing. */
    struct rows_chunk *last = rows->chunks;
    while (last != NULL && last->next != NULL)
        last = last->next;
    free_chunks(rows, last != NULL && last->room == CHUNK ? last : NULL);
    if (rows->chunks != NULL)
        rows->chunks->used = 0;
    rows->columns = rows->count = 0;
    rows->bytes = 0;
}

void cdtx__rows_free(cdtx_rows *rows) {
    free_chunks(rows, NULL);
    cdtx__free(rows->env, rows->values, rows->value_room * sizeof *rows->values);
    cdtx__rows_init(rows, rows->env, rows->bytes_max);
}

static const void *keep(cdtx_rows *rows, const void *bytes, size_t length) {
    size_t need = length + 1;
    struct rows_chunk *chunk = rows->chunks;
    if (chunk == NULL || chunk->room - chunk->used < need) {
        size_t room = need > CHUNK ? need : CHUNK;
        chunk = rows->env->memory(rows->env->user, NULL, 0, sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        chunk->next = rows->chunks;
        chunk->room = room;
        chunk->used = 0;
        rows->chunks = chunk;
    }
    char *copy = chunk->bytes + chunk->used;
    if (length > 0)
        memcpy(copy, bytes, length);
    copy[length] = '\0';
    chunk->used += need;
    return copy;
}

static int32_t reserve(cdtx_rows *rows, uint32_t count, cdtx_error *err) {
    size_t need = (size_t)rows->count * rows->columns + count;
    if (need <= rows->value_room)
        return 0;
    size_t room = rows->value_room < 16 ? 16 : rows->value_room * 2;
    if (room < need)
        room = need;
    cdtx_value *values =
        cdtx__realloc(rows->env, rows->values, rows->value_room * sizeof *values, room * sizeof *values);
    if (values == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for result row %u", rows->count + 1);
    rows->values = values;
    rows->value_room = room;
    return 0;
}

int32_t cdtx_rows_add(cdtx_rows *rows, const cdtx_value *values, uint32_t count, cdtx_error *err) {
    if (count == 0 || (rows->count > 0 && count != rows->columns))
        return cdtx__fail(err, CDTX_INVALID, "a row of %u columns in a result of %u", count, rows->columns);
    size_t bytes = count * sizeof *values;
    for (uint32_t i = 0; i < count; i++)
        bytes += values[i].length;
    if (bytes > rows->bytes_max - rows->bytes)
        return cdtx__fail(err, CDTX_LIMIT, "the result is larger than %zu bytes", rows->bytes_max);
    rows->columns = count;
    int32_t rc = reserve(rows, count, err);
    if (rc != 0)
        return rc;
    cdtx_value *row = rows->values + (size_t)rows->count * count;
    for (uint32_t i = 0; i < count; i++) {
        row[i] = values[i];
        if (values[i].type != CDTX_TEXT && values[i].type != CDTX_BLOB)
            continue;
        row[i].bytes = keep(rows, values[i].bytes, values[i].length);
        if (row[i].bytes == NULL)
            return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for result row %u", rows->count + 1);
    }
    rows->bytes += bytes;
    rows->count++;
    return 0;
}

const cdtx_value *cdtx__rows_at(const cdtx_rows *rows, uint32_t row, uint32_t column) {
    static const cdtx_value null;
    if (row >= rows->count || column >= rows->columns)
        return &null;
    return &rows->values[(size_t)row * rows->columns + column];
}

int64_t cdtx__rows_int(const cdtx_rows *rows, uint32_t row, uint32_t column) {
    const cdtx_value *value = cdtx__rows_at(rows, row, column);
    return value->type == CDTX_INT ? value->integer : 0;
}

int cdtx__rows_step(const cdtx_rows *rows, uint32_t *cursor) {
    if (*cursor <= rows->count)
        ++*cursor; /* one past the last: no row is current */
    return *cursor <= rows->count;
}

const cdtx_value *cdtx__rows_current(const cdtx_rows *rows, uint32_t cursor, uint32_t column) {
    return cdtx__rows_at(rows, cursor - 1, column); /* before the first it is past the last */
}
