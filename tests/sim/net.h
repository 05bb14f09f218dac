/* Calls between nodes: delayed, lost, doubled, reordered, clogged, and replayed much later. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "sim.h"

/* A call that somebody has sent; lives as long as the world. */
struct letter {
    struct sim *sim;
    struct life *from; /* NULL: the rogue's */
    uint32_t engine;   /* of from's: ids of calls are its own */
    struct node *to;
    cdtx_call call; /* its own copy */
    uint64_t number;
    void (*answered)(struct letter *letter, const cdtx_reply *reply); /* of the rogue: at the participant, at once */
    void *user;
    int dropped; /* the participant was down, or said no at once */
};

void net_init(struct sim *sim);
void net_link(struct life *life);
/* The node that serves a participant now; for engines that serve themselves, any that is up. */
struct node *net_home(struct sim *sim, const char *participant);
struct letter *net_letter(struct sim *sim, struct life *from, struct node *to, const cdtx_call *call);
void net_deliver(struct letter *letter, int64_t delay);
/* A call that is about to arrive, or a reply to one; NULL: an event of another kind. */
struct letter *net_in_flight(const struct event *event, const cdtx_reply **reply);
/* Delivers copies of many of the calls ever sent once more, much later. Returns how many. */
uint32_t net_echo(struct sim *sim);

#endif
