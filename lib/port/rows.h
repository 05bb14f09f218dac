/* Result rows of one statement: values in row order, bytes in chunks of their own, all bounded. */
#ifndef CDTX_PORT_ROWS_H
#define CDTX_PORT_ROWS_H

#include "base/env.h"

struct rows_chunk;

struct cdtx_rows {
    const cdtx_env *env;
    cdtx_value *values;
    size_t value_room;
    uint32_t columns;
    uint32_t count;   /* rows */
    size_t bytes_max; /* of values and chunks together */
    size_t bytes;
    struct rows_chunk *chunks;
};

void cdtx__rows_init(cdtx_rows *rows, const cdtx_env *env, size_t bytes_max);
/* Empties, keeping memory for the next statement. */
void cdtx__rows_reset(cdtx_rows *rows);
void cdtx__rows_free(cdtx_rows *rows);
/* Borrowed until reset or free; a NULL value outside the set. */
const cdtx_value *cdtx__rows_at(const cdtx_rows *rows, uint32_t row, uint32_t column);
/* A value as an integer, 0 when it is none. */
int64_t cdtx__rows_int(const cdtx_rows *rows, uint32_t row, uint32_t column);

/* A reader's place: 0 before the first row, else its number from 1. Steps on: 1 when there is a row, else 0, and then
 * none is current. */
int cdtx__rows_step(const cdtx_rows *rows, uint32_t *cursor);
/* A column of the current row; NULL where there is none. */
const cdtx_value *cdtx__rows_current(const cdtx_rows *rows, uint32_t cursor, uint32_t column);

#endif
