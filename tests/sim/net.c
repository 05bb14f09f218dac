#include "net.h"

#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "cover.h"
#include "weather.h"

enum { KEPT_MAX = 4000 };

struct net {
    uint64_t letters;
    struct letter *kept[KEPT_MAX]; /* for replays */
    uint32_t kept_count;
};

/* A reply on its way back. */
struct answer {
    struct letter *letter;
    cdtx_reply reply;
};

void net_init(struct sim *sim) {
    sim->net = world_alloc(&sim->world, sizeof *sim->net);
}

struct node *net_home(struct sim *sim, const char *participant) {
    struct node *home = NULL;
    for (uint32_t i = 0; i < sim->node_count; i++)
        for (int p = 0; p < PARTICIPANTS; p++)
            if ((sim->nodes[i].serves >> p & 1) && strcmp(participant_names[p], participant) == 0 &&
                (home == NULL || node_up(home) == NULL))
                home = &sim->nodes[i];
    return home;
}

struct letter *net_letter(struct sim *sim, struct life *from, struct node *to, const cdtx_call *call) {
    struct letter *letter = world_alloc(&sim->world, sizeof *letter);
    *letter = (struct letter){.sim = sim,
                              .from = from,
                              .to = to,
                              .call = *call,
                              .number = ++sim->net->letters,
                              .engine = from == NULL ? 0 : from->engines};
    letter->call.participant = world_copy(&sim->world, call->participant, strlen(call->participant));
    letter->call.payload = world_copy(&sim->world, call->payload, call->length);
    return letter;
}

/* ---- the way back ---- */

static int still_there(const struct letter *letter) {
    return letter->from->attached && letter->from->engines == letter->engine;
}

static void hand_reply(void *argument) {
    struct answer *answer = argument;
    struct life *life = answer->letter->from;
    if (still_there(answer->letter))
        cdtx_link_reply(life->engine, answer->letter->call.id, &answer->reply);
}

static void reply_arrives(struct world *world, void *argument, uint64_t number) {
    struct answer *answer = argument;
    struct life *life = answer->letter->from;
    (void)number;
    if (still_there(answer->letter))
        strand_new(world, &life->owner, "reply", hand_reply, answer, 0);
}

static int64_t travel(struct sim *sim) {
    struct prng *net = &sim->world.net;
    int64_t delay = prng_range(net, sim->knobs.latency_min, sim->knobs.latency_max);
    if (sim_fault(sim, FAULT_REORDER, net, 4))
        delay *= prng_range(net, 2, 40);
    return delay;
}

static void send_reply(struct answer *answer) {
    struct sim *sim = answer->letter->sim;
    if (sim_fault(sim, FAULT_LOSS, &sim->world.net, sim->knobs.loss_in))
        return;
    world_post(&sim->world, travel(sim), reply_arrives, answer, 0);
    if (sim_fault(sim, FAULT_DOUBLE, &sim->world.net, 6))
        world_post(&sim->world, travel(sim), reply_arrives, answer, 0);
}

/* Called by the participant's engine once its answer is durable. */
static void answered(void *user, uint64_t id, const cdtx_reply *reply) {
    struct letter *letter = user;
    struct sim *sim = letter->sim;
    struct life *life = sim_life(sim);
    if (life == NULL)
        return;
    env_alive(life);
    if (id != letter->call.id)
        violate(&sim->world, "C1", "%s answers call %llu under the id %llu", life->name,
                (unsigned long long)letter->call.id, (unsigned long long)id);
    tell(&sim->world, life->name, "answers letter %llu, %s %lld/%u: %s %.*s%s%.60s", (unsigned long long)letter->number,
         call_name(letter->call.op), (long long)letter->call.sequence, letter->call.branch, cdtx_code_name(reply->code),
         (int)reply->length, reply->length == 0 ? "" : (const char *)reply->result, reply->length == 0 ? "" : " ",
         reply->text == NULL ? "" : reply->text);
    check_answer(life, &letter->call, reply);
    if (letter->answered != NULL) {
        letter->answered(letter, reply);
        return;
    }
    struct answer *answer = world_alloc(&sim->world, sizeof *answer);
    answer->letter = letter;
    answer->reply = *reply;
    answer->reply.result = world_copy(&sim->world, reply->result, reply->length);
    answer->reply.text = reply->text == NULL ? NULL : world_copy(&sim->world, reply->text, strlen(reply->text));
    send_reply(answer);
}

/* ---- the way there ---- */

static void serve(void *argument) {
    struct letter *letter = argument;
    struct life *life = sim_life(letter->sim);
    cdtx_error err = {0};
    int32_t rc = life->open ? cdtx_serve(life->engine, &letter->call, answered, letter, &err) : CDTX_STOPPED;
    env_alive(life);
    if (rc != 0) {
        letter->dropped = 1;
        tell(&letter->sim->world, life->name, "does not serve letter %llu: %s", (unsigned long long)letter->number,
             err.text);
    }
}

static void arrive(struct world *world, void *argument, uint64_t number) {
    struct letter *letter = argument;
    struct sim *sim = letter->sim;
    (void)number;
    if (letter->from != NULL && sim->faults_on && letter->to->clogged[letter->from->node - sim->nodes]) {
        world_post(world, 50 * MS, arrive, letter, 0);
        return;
    }
    struct life *life = node_up(letter->to);
    if (life == NULL) {
        letter->dropped = 1;
        return;
    }
    strand_new(world, &life->owner, "serve", serve, letter, 0);
}

void net_deliver(struct letter *letter, int64_t delay) {
    world_post(&letter->sim->world, delay, arrive, letter, 0);
}

static void post(struct letter *letter) {
    struct sim *sim = letter->sim;
    struct prng *net = &sim->world.net;
    if (sim->net->kept_count < KEPT_MAX)
        sim->net->kept[sim->net->kept_count++] = letter;
    if (!sim_fault(sim, FAULT_LOSS, net, sim->knobs.loss_in))
        net_deliver(letter, travel(sim));
    for (int copies = 0; copies < 3 && sim_fault(sim, FAULT_DOUBLE, net, 4); copies++)
        net_deliver(letter, travel(sim));
    if (sim_fault(sim, FAULT_REPLAY, net, 6))
        net_deliver(letter, prng_range(net, SECOND, 30 * SECOND));
    if (weather_morning(sim) > 0 && prng_chance(net, 1, 4)) {
        cover("replay hours later");
        net_deliver(letter, weather_morning(sim) + prng_range(net, 0, sim->knobs.run / 2));
    }
}

struct letter *net_in_flight(const struct event *event, const cdtx_reply **reply) {
    struct answer *answer = event->fire == reply_arrives ? event->argument : NULL;
    *reply = answer == NULL ? NULL : &answer->reply;
    return answer != NULL ? answer->letter : event->fire == arrive ? event->argument : NULL;
}

uint32_t net_echo(struct sim *sim) {
    uint32_t sent = 0;
    for (uint32_t i = 0; i < sim->net->kept_count; i++) {
        if (!prng_chance(&sim->world.net, 1, 3))
            continue;
        net_deliver(sim->net->kept[i], prng_range(&sim->world.net, 0, SECOND));
        sent++;
    }
    return sent;
}

/* ---- the link of an engine ---- */

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    struct life *life = user;
    (void)engine;
    return net_home(life->sim, participant) != NULL;
}

static int32_t send_call(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    struct life *life = user;
    struct sim *sim = life->sim;
    (void)engine;
    env_alive(life);
    check_send(life, call);
    struct node *to = net_home(sim, call->participant);
    if (to == NULL || sim_fault(sim, FAULT_SEND, &sim->world.net, 8)) {
        if (err != NULL) {
            *err = (cdtx_error){.code = CDTX_IO};
            snprintf(err->text, sizeof err->text, "the link says no");
        }
        return CDTX_IO;
    }
    struct letter *letter = net_letter(sim, life, to, call);
    tell(&sim->world, life->name, "sends letter %llu to %s: %s %lld/%u, epoch %lld, attempt %u",
         (unsigned long long)letter->number, to->name, call_name(call->op), (long long)call->sequence, call->branch,
         (long long)call->epoch, call->attempt);
    post(letter);
    return 0;
}

static void detach(void *user, cdtx *engine) {
    struct life *life = user;
    (void)engine;
    life->attached = 0;
}

void net_link(struct life *life) {
    life->link =
        (cdtx_link){.size = sizeof life->link, .user = life, .knows = knows, .send = send_call, .detach = detach};
}
