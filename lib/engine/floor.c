/* A participant's side of the floor (trap 19): calls say below which gid of their log everything has ended; now and
 * then the guards below are deleted and the floor is stored, in one commit. A guard that is never deleted costs room,
 * one deleted too early costs the truth; so all of this may be lost, and none of it may come early. */
#include "engine/engine.h"
#include "store/guard.h"

/* Worth a rider; and how long a smaller step may wait. Rows of one rider are bounded so that the group is not held. */
enum { FLOOR_STEP = 256, FLOOR_WAIT_MS = 2000, FLOOR_ROWS = 2048, FLOOR_LOGS = 64 };

struct heard {
    uint8_t log[16];
    int64_t floor;  /* as calls said */
    int64_t stored; /* as we stored it, or higher ones did */
};

struct floor_keeper {
    struct rider rider;
    cdtx_db *db;
    struct timer timer;
    struct lock lock;
    struct heard heard[FLOOR_LOGS];
    uint32_t count;
    int at_work; /* the rider is under way */
    struct heard now;
};

static void trim_later(struct floor_keeper *keeper, int64_t in_ms) {
    cdtx *engine = keeper->db->engine;
    cdtx__pump_arm_by(&engine->pump, &keeper->timer, cdtx__now_us(engine->env) + in_ms * 1000);
}

static struct heard *find_locked(struct floor_keeper *keeper, const uint8_t *log) {
    for (uint32_t i = 0; i < keeper->count; i++)
        if (memcmp(keeper->heard[i].log, log, sizeof keeper->heard[i].log) == 0)
            return &keeper->heard[i];
    if (keeper->count == FLOOR_LOGS) /* more logs than that: the guards of the others stay */
        return NULL;
    struct heard *heard = &keeper->heard[keeper->count++];
    *heard = (struct heard){0};
    memcpy(heard->log, log, sizeof heard->log);
    return heard;
}

void cdtx__floor_heard(cdtx_db *db, const uint8_t *log, int64_t floor) {
    struct floor_keeper *keeper = db->floors;
    const cdtx_env *env = db->engine->env;
    if (keeper == NULL || floor <= 1)
        return;
    int64_t step = 0;
    cdtx__lock(env, &keeper->lock);
    struct heard *heard = find_locked(keeper, log);
    if (heard != NULL && floor > heard->floor) {
        heard->floor = floor;
        step = floor - heard->stored;
    }
    cdtx__unlock(env, &keeper->lock);
    if (step > 0)
        trim_later(keeper, step >= FLOOR_STEP ? 0 : FLOOR_WAIT_MS);
}

static int32_t run(struct rider *rider, cdtx_sql *sql, cdtx_error *err) {
    struct floor_keeper *keeper = LIST_OF(rider, struct floor_keeper, rider);
    return cdtx__guard_trim(sql, keeper->now.log, keeper->now.floor, FLOOR_ROWS, &keeper->now.stored, err);
}

static void done(struct rider *rider) {
    struct floor_keeper *keeper = LIST_OF(rider, struct floor_keeper, rider);
    cdtx *engine = keeper->db->engine;
    int64_t again_ms = 0;
    cdtx__lock(engine->env, &keeper->lock);
    keeper->at_work = 0;
    struct heard *heard = find_locked(keeper, keeper->now.log);
    if (rider->result == 0 && keeper->now.stored > heard->stored)
        heard->stored = keeper->now.stored;
    for (uint32_t i = 0; i < keeper->count; i++)
        if (keeper->heard[i].stored < keeper->heard[i].floor)
            again_ms = keeper->heard[i].floor - keeper->heard[i].stored >= FLOOR_STEP ? 1 : FLOOR_WAIT_MS;
    cdtx__unlock(engine->env, &keeper->lock);
    if (rider->result != 0)
        cdtx__log(engine->env, CDTX_LOG_WARNING, "old guards of '%s' stay: %s", keeper->db->store->name,
                  rider->err.text);
    if (rider->result == 0 && again_ms > 0)
        trim_later(keeper, again_ms);
}

static void fire(struct timer *timer) {
    struct floor_keeper *keeper = LIST_OF(timer, struct floor_keeper, timer);
    cdtx_db *db = keeper->db;
    const cdtx_env *env = db->engine->env;
    int ride = 0;
    if (FAILPOINT(env, "floor.trim")) {
        trim_later(keeper, FLOOR_WAIT_MS);
        return;
    }
    cdtx__lock(env, &keeper->lock);
    for (uint32_t i = 0; i < keeper->count && !keeper->at_work && !ride; i++)
        if (keeper->heard[i].stored < keeper->heard[i].floor) {
            keeper->now = keeper->heard[i];
            keeper->at_work = ride = 1;
        }
    cdtx__unlock(env, &keeper->lock);
    if (!ride)
        return; /* the end of the one at work looks again */
    keeper->rider = (struct rider){.flags = RIDER_LAZY, .run = run, .done = done};
    cdtx__store_submit(db->store, &keeper->rider);
}

int32_t cdtx__floor_keep(cdtx_db *db, cdtx_error *err) {
    cdtx *engine = db->engine;
    struct floor_keeper *keeper = cdtx__alloc(engine->env, sizeof *keeper);
    if (keeper == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the guards of '%s'", db->store->name);
    keeper->db = db;
    keeper->timer.fire = fire;
    cdtx__lock(engine->env, &engine->lock);
    int first = db->floors == NULL;
    if (first)
        db->floors = keeper;
    cdtx__unlock(engine->env, &engine->lock);
    if (!first)
        cdtx__free(engine->env, keeper, sizeof *keeper);
    return 0;
}

void cdtx__floor_close(cdtx_db *db) {
    cdtx__free(db->engine->env, db->floors, sizeof *db->floors);
    db->floors = NULL;
}
