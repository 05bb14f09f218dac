/* A hash map from 64-bit keys to pointers; open addressing, grows, shrinks never. Not locked. Zeroed memory is an empty
 * map. */
#ifndef CDTX_BASE_MAP_H
#define CDTX_BASE_MAP_H

#include "base/env.h"

struct map_slot {
    uint64_t key;
    void *value; /* NULL: free */
};

struct map {
    struct map_slot *slots;
    size_t room, count; /* room is a power of two or 0 */
};

void cdtx__map_free(const cdtx_env *env, struct map *map);
/* Adds a key that is not in the map; value is not NULL. 0 or NO_MEMORY. */
int32_t cdtx__map_put(const cdtx_env *env, struct map *map, uint64_t key, void *value);
void *cdtx__map_get(const struct map *map, uint64_t key);
/* Removes and returns the value; NULL when absent. */
void *cdtx__map_take(struct map *map, uint64_t key);

#endif
