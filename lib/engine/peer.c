/* Participants as the coordinator's side sees them: how many branches wait for each. One that is dead holds what it was
 * asked, and must not hold the room of everybody else (L2). */
#include "engine/engine.h"

struct peer {
    struct list link; /* engine->peers */
    char *name;
    uint32_t waiting; /* atomic: branches without an answer */
};

static struct peer *find_locked(cdtx *engine, const char *name) {
    for (struct list *link = engine->peers.next; link != &engine->peers; link = link->next) {
        struct peer *peer = LIST_OF(link, struct peer, link);
        if (strcmp(peer->name, name) == 0)
            return peer;
    }
    return NULL;
}

static struct peer *add_locked(cdtx *engine, const char *name) {
    struct peer *peer = cdtx__alloc(engine->env, sizeof *peer);
    char *copy = cdtx__copy_text(engine->env, name);
    if (peer == NULL || copy == NULL) {
        cdtx__free_text(engine->env, copy);
        cdtx__free(engine->env, peer, sizeof *peer);
        return NULL;
    }
    peer->name = copy;
    list_push(&engine->peers, &peer->link);
    return peer;
}

struct peer *cdtx__peer(cdtx *engine, const char *name) {
    cdtx__lock(engine->env, &engine->lock);
    struct peer *peer = find_locked(engine, name);
    if (peer == NULL)
        peer = add_locked(engine, name);
    cdtx__unlock(engine->env, &engine->lock);
    return peer;
}

int32_t cdtx__peer_has_room(const cdtx *engine, const struct peer *peer, cdtx_error *err) {
    uint32_t waiting = __atomic_load_n(&peer->waiting, __ATOMIC_RELAXED);
    if (waiting < engine->options.participant_max || MUTANT(engine->env, "dead-takes-all"))
        return 0;
    return cdtx__busy(err, 100, "participant '%s' has not answered %u branches yet (participant_max %u)", peer->name,
                      waiting, engine->options.participant_max);
}

void cdtx__peer_waits(struct peer *peer, int by) {
    __atomic_add_fetch(&peer->waiting, (uint32_t)by, __ATOMIC_RELAXED);
}

void cdtx__peers_free(cdtx *engine) {
    struct list *link;
    while ((link = list_pop(&engine->peers)) != NULL) {
        struct peer *peer = LIST_OF(link, struct peer, link);
        cdtx__free_text(engine->env, peer->name);
        cdtx__free(engine->env, peer, sizeof *peer);
    }
}
