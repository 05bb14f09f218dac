#include "life.h"

#include <stdlib.h>
#include <string.h>

const char *life_mutant;
int (*life_failpoint)(const char *name);

static struct prng stream;

static int32_t draw(void *user, void *bytes, size_t length) {
    (void)user;
    prng_bytes(&stream, bytes, length);
    return 0;
}

static int32_t failpoint(void *user, const char *name) {
    static const char prefix[] = "mutant:";
    (void)user;
    if (strncmp(name, prefix, strlen(prefix)) == 0)
        return life_mutant != NULL && strcmp(name + strlen(prefix), life_mutant) == 0;
    return life_failpoint != NULL && life_failpoint(name);
}

void life_begin(struct life *life, const char *name, struct disk *disk, int64_t later_ms, struct ledger *ledger) {
    memset(life, 0, sizeof *life);
    stream = prng_new(1, name);
    life->site = (struct house_site){.scheme = "sqlite", .folder = "house/"};
    life->disk_life = disk_life_new(disk, &life->site.vfs);
    life->ledger = ledger;
    if (cdtx_test_env_new(&life->heap, NULL) != 0)
        abort();
    cdtx_test_env_advance(life->heap, later_ms);
    life->env = *cdtx_test_env_port(life->heap);
    life->env.log = NULL;
    life->env.random = draw;
    life->env.failpoint = failpoint;
}

void life_check_alarms(struct life *life) {
    cdtx_metrics metrics = {.size = sizeof metrics};
    cdtx_error err = {0};
    int32_t rc = cdtx_metrics_read(life->house.engine, &metrics, &err);
    if (ledger_check(life->ledger, "cdtx_metrics_read", rc, &err) == 0 && metrics.alarms != 0)
        ledger_complain(life->ledger, "%llu things that must not happen were tried",
                        (unsigned long long)metrics.alarms);
}

void life_end(struct life *life) {
    house_close(&life->house);
    uint64_t bytes = cdtx_test_env_bytes(life->heap);
    uint32_t files = disk_life_handles(life->disk_life);
    if (bytes != 0)
        ledger_complain(life->ledger, "%llu bytes are left after closing", (unsigned long long)bytes);
    if (files != 0)
        ledger_complain(life->ledger, "%u files are left open after closing", files);
    cdtx_test_env_free(life->heap);
}
