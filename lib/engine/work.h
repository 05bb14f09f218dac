/* What cdtx_take hands out: a claimed job, or the completion of a submitted transaction. */
#ifndef CDTX_ENGINE_WORK_H
#define CDTX_ENGINE_WORK_H

#include <cdtx/cdtx.h>

#include "base/list.h"

/* Embedded in a job (job.c) or in a transaction (drive.h); cdtx_work is this. */
struct cdtx_work {
    struct list link; /* in the pump's inbox */
    int32_t kind;     /* enum cdtx_work_kind */
    cdtx *engine;
};

#endif
