/* The Nth event between the engine and its participants goes wrong: a call or a reply is lost, doubled, overtaken by
 * the next, very late, or comes only when the engine that asked is dead. Alone, and in all pairs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "sweep.h"

enum fault { NONE, LOST, DOUBLED, OVERTAKEN, OUTLIVED, LATE, NOT_SENT, FAULTS };

enum { PAYLOAD_MAX = 256, KEPT_MAX = 64 };
/* In the brief story, two orders over two participants: eight calls and eight replies. Pairs leave out what is LOST
 * until after the story. */
enum { PAIRED = 16, FAULTS_PAIRED = LATE - LOST };
enum { PAIRS = PAIRED * (PAIRED - 1) / 2 * FAULTS_PAIRED * FAULTS_PAIRED };

/* A call, or a reply when op is 0. */
struct sending {
    cdtx_call call;
    cdtx_reply reply;
    char participant[CDTX_NAME_MAX + 1], text[sizeof((cdtx_error){0}.text)];
    unsigned char bytes[PAYLOAD_MAX];
    enum fault fault;
};

static struct {
    cdtx *engine;
    uint64_t seen;
    struct {
        uint64_t nth;
        enum fault fault;
        int struck;
    } plan[2];
    struct sending kept[KEPT_MAX];
    uint32_t count;
} wire;

static enum fault next_fault(void) {
    enum fault fault = NONE;
    wire.seen++;
    for (int i = 0; i < 2; i++)
        if (wire.plan[i].nth == wire.seen) {
            wire.plan[i].struck = 1;
            fault = wire.plan[i].fault;
        }
    return fault;
}

static void keep(enum fault fault, const cdtx_call *call, uint64_t id, const cdtx_reply *reply) {
    if (wire.count == KEPT_MAX)
        abort();
    struct sending *sending = &wire.kept[wire.count++];
    *sending = (struct sending){.fault = fault};
    const void *bytes = call != NULL ? call->payload : reply->result;
    uint32_t length = call != NULL ? call->length : reply->length;
    if (length > PAYLOAD_MAX)
        abort();
    if (length > 0)
        memcpy(sending->bytes, bytes, length);
    if (call != NULL) {
        sending->call = *call;
        (void)snprintf(sending->participant, sizeof sending->participant, "%s", call->participant);
    } else {
        sending->call.id = id;
        sending->reply = *reply;
        (void)snprintf(sending->text, sizeof sending->text, "%s", reply->text != NULL ? reply->text : "");
    }
}

static void answer(void *user, uint64_t id, const cdtx_reply *reply);

static void answer_nobody(void *user, uint64_t id, const cdtx_reply *reply) {
    (void)user;
    (void)id;
    (void)reply;
}

/* To the engine that is there now; one that has died gets no replies. */
static void deliver(struct sending *sending, cdtx *engine) {
    sending->call.participant = sending->participant;
    sending->call.payload = sending->bytes;
    sending->reply.result = sending->bytes;
    sending->reply.text = sending->text;
    if (sending->call.op != 0)
        (void)cdtx_serve(engine, &sending->call, engine == wire.engine ? answer : answer_nobody, engine, NULL);
    else if (engine == wire.engine)
        cdtx_link_reply(engine, sending->call.id, &sending->reply);
}

/* Delivers all that is kept for that fault; what is kept anew meanwhile waits for the next time. 1: there was some. */
static int hand_out(enum fault fault, cdtx *engine) {
    static struct sending going[KEPT_MAX];
    uint32_t out = 0, stay = 0;
    for (uint32_t i = 0; i < wire.count; i++)
        if (wire.kept[i].fault == fault)
            going[out++] = wire.kept[i];
        else if (stay++ != i)
            wire.kept[stay - 1] = wire.kept[i];
    wire.count = stay;
    for (uint32_t i = 0; i < out; i++)
        deliver(&going[i], engine);
    return out > 0;
}

static void answer(void *user, uint64_t id, const cdtx_reply *reply) {
    enum fault fault = next_fault();
    if (fault >= OVERTAKEN && fault <= LATE)
        keep(fault, NULL, id, reply);
    else if (fault != LOST && fault != NOT_SENT)
        cdtx_link_reply(user, id, reply);
    if (fault == DOUBLED)
        cdtx_link_reply(user, id, reply);
    if (fault == NONE)
        (void)hand_out(OVERTAKEN, user);
}

static int32_t send_call(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    (void)user;
    int32_t rc = 0;
    wire.engine = engine;
    enum fault fault = next_fault();
    if (fault == NOT_SENT)
        return cdtx__fail(err, CDTX_IO, "no way to '%s'", call->participant);
    if (fault >= OVERTAKEN)
        keep(fault, call, 0, NULL);
    else if (fault != LOST)
        rc = cdtx_serve(engine, call, answer, engine, err);
    if (fault == DOUBLED)
        (void)cdtx_serve(engine, call, answer, engine, NULL);
    if (fault == NONE)
        (void)hand_out(OVERTAKEN, engine);
    return rc;
}

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    return cdtx_serves(engine, participant);
}

static void detach(void *user, cdtx *engine) {
    (void)user;
    if (wire.engine == engine)
        wire.engine = NULL;
}

static const cdtx_link faulty_link = {.size = sizeof faulty_link, .knows = knows, .send = send_call, .detach = detach};

static void arm(struct run *run) {
    memset(&wire, 0, sizeof wire);
    wire.plan[0].nth = run->n;
    wire.plan[0].fault = (enum fault)run->sweep->fault;
    run->options.link = &faulty_link;
}

/* Run n of the pairs: for each second place, each earlier first place, each fault at either. */
static void arm_pair(struct run *run) {
    uint64_t n = run->n - 1, faults = FAULTS_PAIRED;
    uint64_t fault = n % (faults * faults), second = 2;
    n /= faults * faults;
    while (n >= second - 1)
        n -= second++ - 1;
    arm(run);
    wire.plan[0].nth = n + 1;
    wire.plan[0].fault = (enum fault)(LOST + fault % faults);
    wire.plan[1].nth = second;
    wire.plan[1].fault = (enum fault)(LOST + fault / faults);
}

/* A pair strikes if both do: where the first has lost the last calls of the story, the second finds no place. */
static int disarm(struct run *run) {
    (void)run;
    int struck = wire.plan[0].struck && (wire.plan[1].nth == 0 || wire.plan[1].struck);
    wire.plan[0].nth = wire.plan[1].nth = 0;
    return struck;
}

static int late(struct run *run, struct house *house) {
    (void)run;
    int last = hand_out(OVERTAKEN, house->engine); /* nothing followed it */
    return hand_out(LATE, house->engine) || last;
}

static int later(struct run *run, struct house *house) {
    (void)run;
    return hand_out(OUTLIVED, house->engine);
}

int main(int argc, char **argv) {
    static const char *const names[FAULTS] = {NULL, "lost", "doubled", "overtaken", "outlived", "late", "not sent"};
    struct sweep sweep = {.harmless = 1, .disarm = disarm, .late = late, .later = later};
    for (int fault = LOST; fault < FAULTS; fault++) {
        sweep.least = 30;
        sweep.fault = fault;
        sweep.no_floor = fault == LATE || fault == OUTLIVED;
        sweep.arm = arm;
        (void)snprintf(sweep.name, sizeof sweep.name, "link %s", names[fault]);
        sweep_add(&sweep);
        sweep_add_post(&sweep, (uint64_t[CHAPTERS]){12, 0, 40, 0, 0});
    }
    sweep.runs = PAIRS;
    sweep.least = PAIRS - PAIRS / 20;
    sweep.no_floor = 0;
    sweep.chapter = CHAPTER_BRIEF;
    sweep.arm = arm_pair;
    (void)snprintf(sweep.name, sizeof sweep.name, "link pairs");
    sweep_add(&sweep);
    return sweep_main(argc, argv);
}
