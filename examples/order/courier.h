/* A link with a mind of its own: it brings calls to the services of the same engine, and can keep some of them, keep
 * their answers, or bring everything twice. For one thread: the engine must have none of its own. */
#ifndef COURIER_H
#define COURIER_H

#include <cdtx/port.h>

enum courier_mishap { COURIER_NONE = 0, COURIER_KEEPS_CALLS = 1, COURIER_KEEPS_ANSWERS = 2, COURIER_DOUBLES = 3 };
enum { COURIER_KEPT_MAX = 64 };

struct courier {
    cdtx_link link; /* give &link to the engine */
    int32_t mishap;
    int32_t op;              /* the mishap meets calls of this cdtx_call_op, 0: any */
    const char *participant; /* and of this participant, NULL: any */
    /* Called when something was kept, with how many there are now; may be NULL. */
    void (*on_keep)(void *user, uint32_t kept);
    void *user;
    uint32_t sent, delivered, kept;
    cdtx *engine;
    struct {
        uint64_t id;
        int32_t code;
    } answers[COURIER_KEPT_MAX];
};

/* Needs no closing; must outlive the engine. */
void courier_start(struct courier *courier);
/* Hands over the answers it has kept, late, and keeps no more. */
void courier_hand_over(struct courier *courier);

#endif
