/* The audit chain: who did what and why, one line an action, each with the hash of the line before it. */
#ifndef CDTX_ENGINE_AUDIT_H
#define CDTX_ENGINE_AUDIT_H

#include "base/digest.h"
#include "store/sql.h"

/* Bytes of a reason, a note, or a case's evidence. */
enum { REASON_MAX = 1000 };

/* The actor of what the engine does by itself. */
#define AUDIT_ENGINE "cdtx"

struct audit_line {
    const char *actor;
    const char *action;
    const char *subject; /* "tx GID", "job ID" or "case ID" */
    const char *reason;
};

/* Appends the line in the open transaction. Texts that came from outside unchecked are cleaned, not refused. */
int32_t cdtx__audit_append(cdtx_sql *sql, const struct audit_line *line, cdtx_error *err);

/* What the hash is over (README.md). The texts need not end in a NUL. */
struct audit_bytes {
    const void *previous; /* DIGEST_SIZE */
    int64_t id, at_ms;
    const cdtx_value *texts; /* actor, action, subject, reason */
};
int32_t cdtx__audit_hash(const cdtx_env *env, const struct audit_bytes *line, uint8_t hash[DIGEST_SIZE],
                         cdtx_error *err);

/* What every action checks first: who, and why. */
int32_t cdtx__audit_check(const char *actor, const char *reason, cdtx_error *err);

#endif
