/* What a statement is, as far as text alone can say: there is no authorizer on somebody else's connection. */
#ifndef CDTX_ADAPTER_LENT_H
#define CDTX_ADAPTER_LENT_H

#include "base/buf.h"
#include "port/lent.h"

struct lent_statement {
    const char *text;
    int reads;          /* it changes nothing */
    int counts;         /* the rows that it changes are worth counting */
    int numbered;       /* has marks like ?1 */
    uint32_t marks;     /* how often an argument stands in it */
    uint32_t arguments; /* how many it wants */
};

/* Looks through text. ours: the library's own. Errors: MISUSE (what the host's statements may not do), SQL (empty),
 * LIMIT (a mark with too high a number). */
int32_t cdtx__lent_read(const char *text, int ours, struct lent_statement *statement, cdtx_error *err);
/* Does the statement stand as it is in that style, with the values as they come? */
int cdtx__lent_fits(const struct lent_statement *statement, int32_t parameters);
/* Appends it, with its NUL, in that style; order gets for each mark the number of its argument from 0. */
void cdtx__lent_rewrite(const struct lent_statement *statement, int32_t parameters, struct buf *out, uint32_t *order);

#endif
