#include "engine/report.h"

enum { REPORT_BYTES_MAX = 64 << 20 };

int32_t cdtx__report_new(const cdtx_env *env, const char *const *names, cdtx_report **report, cdtx_error *err) {
    cdtx_report *r = cdtx__alloc(env, sizeof *r);
    if (r == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a report");
    r->env = env;
    r->names = names;
    while (names[r->columns] != NULL)
        r->columns++;
    cdtx__rows_init(&r->rows, env, REPORT_BYTES_MAX);
    *report = r;
    return 0;
}

int32_t cdtx__report_add(cdtx_report *report, const cdtx_value *values, cdtx_error *err) {
    return cdtx_rows_add(&report->rows, values, report->columns, err);
}

int32_t cdtx_report_next(cdtx_report *report) {
    return report == NULL ? 0 : cdtx__rows_step(&report->rows, &report->cursor);
}

uint32_t cdtx_report_columns(const cdtx_report *report) {
    return report == NULL ? 0 : report->columns;
}

const char *cdtx_report_name(const cdtx_report *report, uint32_t column) {
    return report == NULL || column >= report->columns ? NULL : report->names[column];
}

static const cdtx_value *value_of(const cdtx_report *report, uint32_t column) {
    static const cdtx_value null;
    return report == NULL ? &null : cdtx__rows_current(&report->rows, report->cursor, column);
}

int32_t cdtx_report_type(const cdtx_report *report, uint32_t column) {
    return value_of(report, column)->type;
}

int64_t cdtx_report_int(const cdtx_report *report, uint32_t column) {
    const cdtx_value *v = value_of(report, column);
    return v->type == CDTX_INT ? v->integer : 0;
}

const char *cdtx_report_text(const cdtx_report *report, uint32_t column, size_t *length) {
    const cdtx_value *v = value_of(report, column);
    int fits = v->type == CDTX_TEXT || v->type == CDTX_BLOB;
    if (length != NULL)
        *length = fits ? v->length : 0;
    return fits ? v->bytes : NULL;
}

void cdtx_report_close(cdtx_report *report) {
    if (report == NULL)
        return;
    cdtx__rows_free(&report->rows);
    cdtx__free(report->env, report, sizeof *report);
}
