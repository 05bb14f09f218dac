/* Reports from the inside: rows that a question fills, with the static names of their columns. */
#ifndef CDTX_ENGINE_REPORT_H
#define CDTX_ENGINE_REPORT_H

#include <cdtx/admin.h>

#include "port/rows.h"

/* Independent of the engine, so that it may be read and closed after it. */
struct cdtx_report {
    const cdtx_env *env;
    const char *const *names; /* ends in NULL */
    cdtx_rows rows;
    uint32_t columns;
    uint32_t cursor; /* row number from 1; 0 before the first */
};

int32_t cdtx__report_new(const cdtx_env *env, const char *const *names, cdtx_report **report, cdtx_error *err);
/* Adds a row; values has one for each name. */
int32_t cdtx__report_add(cdtx_report *report, const cdtx_value *values, cdtx_error *err);

#endif
