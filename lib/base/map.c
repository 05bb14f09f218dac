#include "base/map.h"

/* Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): keys here are mostly consecutive numbers. */
static size_t home(const struct map *map, uint64_t key) {
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (map->room - 1);
}

static size_t find(const struct map *map, uint64_t key) {
    size_t i = home(map, key);
    while (map->slots[i].value != NULL && map->slots[i].key != key)
        i = (i + 1) & (map->room - 1);
    return i;
}

void cdtx__map_free(const cdtx_env *env, struct map *map) {
    cdtx__free(env, map->slots, map->room * sizeof *map->slots);
    *map = (struct map){0};
}

static int32_t grow(const cdtx_env *env, struct map *map) {
    struct map bigger = {.room = map->room == 0 ? 16 : map->room * 2};
    bigger.slots = cdtx__alloc(env, bigger.room * sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return CDTX_NO_MEMORY;
    for (size_t i = 0; i < map->room; i++)
        if (map->slots[i].value != NULL)
            bigger.slots[find(&bigger, map->slots[i].key)] = map->slots[i];
    bigger.count = map->count;
    cdtx__map_free(env, map);
    *map = bigger;
    return 0;
}

int32_t cdtx__map_put(const cdtx_env *env, struct map *map, uint64_t key, void *value) {
    if (map->count * 4 >= map->room * 3 && grow(env, map) != 0)
        return CDTX_NO_MEMORY;
    size_t i = find(map, key);
    INVARIANT(map->slots[i].value == NULL);
    map->slots[i] = (struct map_slot){.key = key, .value = value};
    map->count++;
    return 0;
}

void *cdtx__map_get(const struct map *map, uint64_t key) {
    return map->room == 0 ? NULL : map->slots[find(map, key)].value;
}

void *cdtx__map_take(struct map *map, uint64_t key) {
    if (map->room == 0)
        return NULL;
    size_t i = find(map, key);
    void *value = map->slots[i].value;
    if (value == NULL)
        return NULL;
    /* Close the gap, so that every key stays reachable from its home without tombstones. */
    size_t hole = i;
    for (size_t j = (i + 1) & (map->room - 1); map->slots[j].value != NULL; j = (j + 1) & (map->room - 1)) {
        size_t distance = (j - home(map, map->slots[j].key)) & (map->room - 1);
        if (distance >= ((j - hole) & (map->room - 1))) {
            map->slots[hole] = map->slots[j];
            hole = j;
        }
    }
    map->slots[hole].value = NULL;
    map->count--;
    return value;
}
