#include "courier.h"

#include <string.h>

static int32_t knows(void *user, cdtx *engine, const char *participant) {
    (void)user;
    return cdtx_serves(engine, participant);
}

static void keep(struct courier *courier) {
    courier->kept++;
    if (courier->on_keep != NULL)
        courier->on_keep(courier->user, courier->kept);
}

static void bring_answer(void *user, uint64_t id, const cdtx_reply *reply) {
    struct courier *courier = user;
    cdtx_link_reply(courier->engine, id, reply);
}

static void keep_answer(void *user, uint64_t id, const cdtx_reply *reply) {
    struct courier *courier = user;
    if (courier->kept < COURIER_KEPT_MAX) {
        courier->answers[courier->kept].id = id;
        courier->answers[courier->kept].code = reply->code;
    }
    keep(courier);
}

static int32_t send(void *user, cdtx *engine, const cdtx_call *call, cdtx_error *err) {
    struct courier *courier = user;
    int met = courier->mishap != COURIER_NONE && (courier->op == 0 || courier->op == call->op) &&
              (courier->participant == NULL || strcmp(courier->participant, call->participant) == 0);
    courier->engine = engine;
    courier->sent++;
    if (met && courier->mishap == COURIER_KEEPS_CALLS) {
        keep(courier);
        return 0;
    }
    cdtx_answer_fn answer = met && courier->mishap == COURIER_KEEPS_ANSWERS ? keep_answer : bring_answer;
    uint32_t times = met && courier->mishap == COURIER_DOUBLES ? 2 : 1;
    int32_t rc = 0;
    for (uint32_t i = 0; rc == 0 && i < times; i++) {
        rc = cdtx_serve(engine, call, answer, courier, err);
        courier->delivered += rc == 0;
    }
    return rc;
}

static void detach(void *user, cdtx *engine) {
    (void)engine;
    ((struct courier *)user)->engine = NULL;
}

void courier_start(struct courier *courier) {
    memset(courier, 0, sizeof *courier);
    courier->link =
        (cdtx_link){.size = sizeof courier->link, .user = courier, .knows = knows, .send = send, .detach = detach};
}

void courier_hand_over(struct courier *courier) {
    uint32_t count = courier->kept < COURIER_KEPT_MAX ? courier->kept : COURIER_KEPT_MAX;
    courier->mishap = COURIER_NONE;
    courier->kept = 0;
    for (uint32_t i = 0; i < count; i++)
        cdtx_link_reply(courier->engine, courier->answers[i].id, &(cdtx_reply){.code = courier->answers[i].code});
}
