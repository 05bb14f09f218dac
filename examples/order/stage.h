/* The stage of one scenario: its goods, its customers' requests, what is expected, and the verdict over the tables. */
#ifndef STAGE_H
#define STAGE_H

#include "books.h"
#include "shop.h"

struct stage {
    const char *folder;
    const char *sku; /* what this scenario sells */
    char nonce[9];   /* keeps the requests of this run apart from those of earlier ones in the folder */
    uint32_t asked;  /* requests so far */
    struct balance before;
    int consistent;  /* the verdict */
    char wrong[160]; /* the first expectation that failed; "" none */
};

/* One scenario: 0 when it could be played to its verdict. */
struct scenario {
    const char *title;
    const char *sku;
    int32_t (*play)(struct stage *stage, cdtx_error *err);
};

enum { STAGE_ANY = -1, STAGE_JOB_MAX = 48 };

/* The next customer wants so many. */
struct order_line stage_request(struct stage *stage, int64_t quantity);
/* Opens the shop, delivers what lacks until so many are free, and shows the balances before the scenario. The caller
 * closes it. */
int32_t stage_open(struct stage *stage, struct shop *shop, const struct shop_options *options, int64_t pieces,
                   cdtx_error *err);
/* Places an order and tells how it went; returns how. */
int32_t stage_order(struct shop *shop, const struct order_line *line, int64_t timeout_ms);
/* Lends the shop this thread until its tables are quiet, no order is in work and no job is to be done (those that were
 * given up aside), at most five seconds: then the verdict says what was not. */
int32_t stage_settle(struct stage *stage, struct shop *shop, cdtx_error *err);
int32_t stage_look(struct stage *stage, struct balance *now, cdtx_error *err);
int32_t stage_show(struct stage *stage, const char *moment, cdtx_error *err);
/* The name by which the cdtx command knows the job of that handler that was given up in that database; expects one. */
int32_t stage_dead_job(struct stage *stage, const char *handler, const char *database, char job[STAGE_JOB_MAX],
                       cdtx_error *err);
void stage_expect(struct stage *stage, int condition, const char *what);
/* Shows the balances after it and judges: every sku right and quiet, so many more sold than before
 * (or STAGE_ANY), expectations met. */
int32_t stage_judge(struct stage *stage, int64_t sold, cdtx_error *err);

#endif
