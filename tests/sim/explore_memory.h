/* What an engine at rest remembers, as far as it can matter: its transactions in work and its timers. Two engines that
 * came to the same by different ways are the same. Apart from the simulator's own headers: this looks inside of the
 * library, where other things have the same names. */
#ifndef SIM_EXPLORE_MEMORY_H
#define SIM_EXPLORE_MEMORY_H

#include <cdtx/port.h>

uint64_t explore_mix(uint64_t hash, uint64_t value);
uint64_t explore_mix_bytes(uint64_t hash, const void *bytes, size_t length);
/* 1 when it is in a state that can be described so; now_us is its monotonic clock. */
int explore_memory(cdtx *engine, int64_t now_us, uint64_t *hash);
/* No transaction is in work. */
int explore_idle(const cdtx *engine);
/* Is a call of that id, sent by this engine, still waited for? */
int explore_awaits(const cdtx *engine, uint64_t call);

#endif
