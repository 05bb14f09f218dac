/* One verb on its way through the local coordinator: a rider of the log's groups, and what its file knows of rows. */
#ifndef CDTX_ENGINE_COORD_OP_H
#define CDTX_ENGINE_COORD_OP_H

#include "base/sm.h"
#include "engine/engine.h"

enum { COORD_RECORD_MAX = 16 << 20, COORD_ROWS_MAX = COORD_RECORD_MAX + 65536 };

struct coord_op {
    struct rider rider;
    struct coord_request *request;
    int32_t reason;
    int64_t epoch; /* both as asked: a rerun starts from them, while the request gets the answer */
    struct buf record;
    cdtx_rows rows;
    struct coord_item *items;
    struct coord_branch *branches; /* of all items */
    uint32_t item_room, branch_room;
};

/* The published graph of a global transaction's states (README.md, D2), and where each decision ends. */
extern const struct sm cdtx__coord_machine;
extern const int32_t cdtx__coord_ends[];

static inline int64_t cdtx__coord_now_ms(const cdtx_sql *sql) {
    return cdtx__store_clock_ms(sql->store);
}

/* A time that goes into a row. */
static inline int64_t cdtx__coord_in_ms(const cdtx_sql *sql, int64_t ms) {
    return cdtx__store_stamp_ms(sql->store) + ms;
}

/* EXPIRED or NOT_FOUND, for a number that has no row. */
int32_t cdtx__coord_absent(const cdtx_sql *sql, int64_t sequence, cdtx_error *err);

/* After a write by the number, epoch and state that the holder knows: CONFLICT when somebody else has it. */
int32_t cdtx__coord_held(const struct coord_request *request, int64_t changes, cdtx_error *err);

/* The verbs (port/coord.h). coord_decide.c: */
int32_t cdtx__coord_begin(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
int32_t cdtx__coord_register(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
int32_t cdtx__coord_decide(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
int32_t cdtx__coord_query(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
int32_t cdtx__coord_hook(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
/* coord_take.c: */
int32_t cdtx__coord_list(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
int32_t cdtx__coord_take(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
/* coord_settle.c: */
int32_t cdtx__coord_settle(struct rider *rider, cdtx_sql *sql, cdtx_error *err);
int32_t cdtx__coord_trim(struct rider *rider, cdtx_sql *sql, cdtx_error *err);

#endif
