/* Transition tables: a noun's states and the moves allowed between them, so that every move goes through one check. */
#ifndef CDTX_BASE_SM_H
#define CDTX_BASE_SM_H

#include "base/error.h"

struct sm_state {
    const char *name;
    uint32_t to; /* bit s: a move to state s is allowed */
    int final;   /* absorbs: no move leaves it */
};

struct sm {
    const char *noun;
    const struct sm_state *states; /* by number */
    uint32_t count;
};

#define SM_TO(state) (UINT32_C(1) << (state))

static inline int cdtx__sm_known(const struct sm *sm, int64_t state) {
    return state >= 0 && state < sm->count && sm->states[state].name != NULL;
}

/* The name of a state; "?" for a number that is none. */
static inline const char *cdtx__sm_name(const struct sm *sm, int64_t state) {
    return cdtx__sm_known(sm, state) ? sm->states[state].name : "?";
}

static inline int cdtx__sm_allows(const struct sm *sm, int64_t from, int64_t to) {
    return cdtx__sm_known(sm, from) && cdtx__sm_known(sm, to) && (sm->states[from].to & SM_TO(to)) != 0;
}

static inline int cdtx__sm_final(const struct sm *sm, int64_t state) {
    return cdtx__sm_known(sm, state) && sm->states[state].final;
}

#endif
