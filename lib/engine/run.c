#include "engine/engine.h"

int32_t cdtx_run(cdtx *engine, int64_t for_ms, cdtx_error *err) {
    int32_t rc = for_ms == -1 ? 0 : cdtx__check_ms(for_ms, "for_ms", err);
    if (rc == 0)
        rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    rc = cdtx__may_wait(engine, "cdtx_run", err);
    if (rc == 0) {
        cdtx__pump_until(&engine->pump, NULL, cdtx__until_us(engine, for_ms), PUMP_TASKS | PUMP_WORK | PUMP_STOPS);
        rc = cdtx__any_stopped(engine, err);
    }
    cdtx__leave(engine);
    return rc;
}

void cdtx_stop(cdtx *engine) {
    if (cdtx__enter(engine, NULL) != 0)
        return;
    cdtx__pump_stop(&engine->pump);
    cdtx__leave(engine);
}

int32_t cdtx_fd(cdtx *engine, int32_t *fd, cdtx_error *err) {
    int32_t rc = cdtx__enter(engine, err);
    if (rc != 0)
        return rc;
    int32_t bell = cdtx__pump_bell(&engine->pump);
    if (bell < 0)
        rc = cdtx__fail(err, CDTX_UNSUPPORTED, "this environment has no descriptor to wait on");
    else
        *fd = bell;
    cdtx__leave(engine);
    return rc;
}
