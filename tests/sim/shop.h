/* The participants: an order service and a stock service, each with an effect log that their handlers write in the same
 * local transaction as everything else they do. */
#ifndef SIM_SHOP_H
#define SIM_SHOP_H

#include "sim.h"

enum shop_mode {
    SHOP_BY_STATE = 0,
    SHOP_NO,         /* the try is refused */
    SHOP_NO_AT_LAST, /* the confirm is, each time */
    SHOP_NO_AT_TIMES /* the confirm is, now and then */
};

/* What a branch is asked to do. Plain bytes. */
struct shop_order {
    uint32_t op; /* of the client; 0: the rogue's */
    uint8_t article;
    uint8_t quantity;
    uint8_t mode;  /* enum shop_mode */
    uint8_t posts; /* what it puts, see post.h */
};

enum { ARTICLES = 3 };

const char *shop_file(enum participant participant);
/* Opens the participant's database, creates its tables and registers its handlers. */
int32_t shop_open(struct life *life, enum participant participant, cdtx_error *err);

#endif
