#include "disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "disk_inner.h"

/* More unsynced effects of one file than this are written back, oldest first, as a kernel would in its own time. */
enum { WRITE_BACK = 8192 };

static _Noreturn void broken(const char *what, const char *name) {
    fprintf(stderr, "simulated disk: %s: %s\n", what, name);
    abort();
}

/* ---- files ---- */

struct node *disk__node_new(void) {
    struct node *node = bytes_alloc(sizeof *node);
    node->last = &node->first;
    list_init(&node->handles);
    return node;
}

static struct node *use(struct node *node) {
    if (node != NULL)
        node->uses++;
    return node;
}

static void effect_pop(struct node *node) {
    struct effect *effect = node->first;
    node->first = effect->next;
    if (node->first == NULL)
        node->last = &node->first;
    node->effects--;
    free(effect);
}

void disk__node_drop(struct node *node) {
    if (node == NULL || --node->uses > 0)
        return;
    while (node->first != NULL)
        effect_pop(node);
    bytes_free(&node->cached);
    bytes_free(&node->durable);
    free(node);
}

static void apply(struct bytes *bytes, const struct effect *effect) {
    if (effect->truncates)
        bytes_truncate(bytes, effect->offset);
    else
        bytes_write(bytes, effect->offset, effect->bytes, effect->length);
}

static void add_effect(struct node *node, struct effect *effect) {
    apply(&node->cached, effect);
    if (node->temporary) {
        free(effect);
        return;
    }
    *node->last = effect;
    node->last = &effect->next;
    if (++node->effects > WRITE_BACK) {
        apply(&node->durable, node->first);
        effect_pop(node);
    }
}

void disk__write(struct node *node, int64_t at, const void *bytes, size_t length) {
    struct effect *effect = bytes_alloc(sizeof *effect + length);
    effect->offset = at;
    effect->length = length;
    memcpy(effect->bytes, bytes, length);
    add_effect(node, effect);
}

void disk__truncate(struct node *node, int64_t size) {
    struct effect *effect = bytes_alloc(sizeof *effect);
    effect->offset = size;
    effect->truncates = 1;
    add_effect(node, effect);
}

void disk__sync(struct node *node) {
    for (; node->first != NULL; effect_pop(node))
        apply(&node->durable, node->first);
}

/* ---- the directory ---- */

static struct entry *find(const struct disk *disk, const char *name) {
    struct entry *entry = disk->entries;
    while (entry != NULL && strcmp(entry->name, name) != 0)
        entry = entry->next;
    return entry;
}

struct entry *disk__entry(struct disk *disk, const char *name) {
    struct entry *entry = find(disk, name);
    if (entry != NULL)
        return entry;
    size_t length = strlen(name) + 1;
    entry = bytes_alloc(sizeof *entry + length);
    memcpy(entry->name, name, length);
    entry->last = &entry->first;
    *disk->last_entry = entry;
    disk->last_entry = &entry->next;
    return entry;
}

void disk__name(struct entry *entry, struct node *node) {
    struct change *change = bytes_alloc(sizeof *change);
    change->node = use(node);
    *entry->last = change;
    entry->last = &change->next;
    use(node);
    disk__node_drop(entry->cached);
    entry->cached = node;
}

static void drop_changes(struct entry *entry) {
    while (entry->first != NULL) {
        struct change *change = entry->first;
        entry->first = change->next;
        disk__node_drop(change->node);
        free(change);
    }
    entry->last = &entry->first;
}

void disk__sync_directory(struct disk *disk) {
    for (struct entry *entry = disk->entries; entry != NULL; entry = entry->next) {
        if (entry->first == NULL)
            continue;
        use(entry->cached);
        disk__node_drop(entry->durable);
        entry->durable = entry->cached;
        drop_changes(entry);
    }
}

static void free_entries(struct entry *entry) {
    while (entry != NULL) {
        struct entry *next = entry->next;
        drop_changes(entry);
        disk__node_drop(entry->cached);
        disk__node_drop(entry->durable);
        free(entry);
        entry = next;
    }
}

/* ---- what survives ---- */

struct draw {
    enum disk_crash what;
    struct prng *prng;
    uint64_t keep; /* of 4: drawn once a crash, so that some crashes lose nearly all and others nearly nothing */
    struct disk_counts *counts;
};

static struct draw draw_new(enum disk_crash what, struct prng *prng, struct disk_counts *counts) {
    return (struct draw){.what = what, .prng = prng, .counts = counts, .keep = prng_below(prng, 5)};
}

/* Each block that the write touches is kept or not, by itself. */
static void tear(struct draw *draw, struct bytes *bytes, const struct effect *effect) {
    size_t unit = prng_chance(draw->prng, 1, 2) ? 512 : 4096;
    for (size_t done = 0; done < effect->length;) {
        int64_t at = effect->offset + (int64_t)done;
        size_t part = unit - (size_t)at % unit;
        if (part > effect->length - done)
            part = effect->length - done;
        if (prng_chance(draw->prng, 1, 2))
            bytes_write(bytes, at, effect->bytes + done, part);
        done += part;
    }
}

static void draw_effect(struct draw *draw, struct bytes *bytes, const struct effect *effect) {
    if (!effect->truncates && prng_chance(draw->prng, 1, 8)) {
        tear(draw, bytes, effect);
        draw->counts->torn++;
    } else if (prng_chance(draw->prng, draw->keep, 4)) {
        apply(bytes, effect);
        draw->counts->kept++;
    } else {
        draw->counts->lost++;
    }
}

static void write_part(struct bytes *bytes, const struct effect *effect, size_t from, size_t to) {
    bytes_write(bytes, effect->offset + (int64_t)from, effect->bytes + from, to - from);
}

/* One side of one of the boundaries inside the write came through; without a boundary, nothing. */
static void tear_last(struct draw *draw, struct bytes *bytes, const struct effect *effect, size_t unit) {
    size_t first = unit - (size_t)(effect->offset % (int64_t)unit);
    if (effect->truncates || first >= effect->length) {
        draw->counts->lost++;
        return;
    }
    size_t cut = first + unit * (size_t)prng_below(draw->prng, (effect->length - first - 1) / unit + 1);
    if (prng_chance(draw->prng, 1, 2))
        write_part(bytes, effect, 0, cut);
    else
        write_part(bytes, effect, cut, effect->length);
    draw->counts->torn++;
}

static void tear_file(struct draw *draw, struct bytes *bytes, const struct node *node, size_t unit) {
    for (const struct effect *effect = node->first; effect != NULL; effect = effect->next) {
        if (effect->next == NULL) {
            tear_last(draw, bytes, effect, unit);
        } else {
            apply(bytes, effect);
            draw->counts->kept++;
        }
    }
}

static struct bytes surviving_bytes(struct draw *draw, const struct node *node) {
    struct bytes bytes = bytes_share(draw->what == DISK_KEEP_ALL ? &node->cached : &node->durable);
    if (draw->what == DISK_KEEP_SOME)
        for (const struct effect *effect = node->first; effect != NULL; effect = effect->next)
            draw_effect(draw, &bytes, effect);
    if (draw->what == DISK_TEAR_512 || draw->what == DISK_TEAR_4096)
        tear_file(draw, &bytes, node, draw->what == DISK_TEAR_512 ? 512 : 4096);
    return bytes;
}

static const struct node *surviving_node(struct draw *draw, const struct entry *entry) {
    if (draw->what != DISK_KEEP_NONE && draw->what != DISK_KEEP_SOME)
        return entry->cached;
    const struct node *node = entry->durable;
    if (draw->what == DISK_KEEP_SOME)
        for (const struct change *change = entry->first; change != NULL; change = change->next)
            if (prng_chance(draw->prng, draw->keep, 4))
                node = change->node;
    return node;
}

static void place(struct disk *disk, const char *name, struct bytes durable) {
    struct entry *entry = disk__entry(disk, name);
    struct node *node = disk__node_new();
    node->durable = durable;
    node->cached = bytes_share(&durable);
    entry->cached = use(node);
    entry->durable = use(node);
}

/* Fills a disk without files with what survives of another one's. */
static void crash_into(struct disk *to, const struct entry *from, struct draw *draw) {
    for (; from != NULL; from = from->next) {
        const struct node *node = surviving_node(draw, from);
        if (node != NULL)
            place(to, from->name, surviving_bytes(draw, node));
    }
}

void disk_power_loss(struct disk *disk, enum disk_crash what) {
    for (struct disk_life *life = disk->lives; life != NULL; life = life->next)
        disk_kill_life(life);
    struct entry *before = disk->entries;
    disk->entries = NULL;
    disk->last_entry = &disk->entries;
    struct draw draw = draw_new(what, &disk->prng, &disk->counts);
    crash_into(disk, before, &draw);
    free_entries(before);
    disk->counts.power_losses++;
}

struct disk *disk_fork_after_crash(const struct disk *disk, enum disk_crash what, const char *name, struct prng prng) {
    struct disk *fork = disk_new(name, prng);
    struct draw draw = draw_new(what, &fork->prng, &fork->counts);
    crash_into(fork, disk->entries, &draw);
    return fork;
}

void disk__fail_sync(struct disk *disk, struct node *node) {
    struct draw draw = draw_new(DISK_KEEP_SOME, &disk->prng, &disk->counts);
    int all_lost = prng_chance(&disk->prng, 1, 2);
    for (; node->first != NULL; effect_pop(node)) {
        if (all_lost)
            disk->counts.lost++;
        else
            draw_effect(&draw, &node->durable, node->first);
    }
}

/* ---- disks and lives ---- */

struct disk *disk_new(const char *name, struct prng prng) {
    struct disk *disk = bytes_alloc(sizeof *disk);
    if (strlen(name) >= sizeof disk->name)
        broken("the name is too long", name);
    strcpy(disk->name, name);
    disk->prng = prng;
    disk->last_entry = &disk->entries;
    return disk;
}

void disk_free(struct disk *disk) {
    if (disk == NULL)
        return;
    while (disk->lives != NULL) {
        struct disk_life *life = disk->lives;
        disk->lives = life->next;
        disk_kill_life(life);
        sqlite3_vfs_unregister(&life->vfs);
        free(life);
    }
    free_entries(disk->entries);
    free(disk);
}

struct disk_life *disk_life_new(struct disk *disk, const char **vfs_name) {
    struct disk_life *life = bytes_alloc(sizeof *life);
    life->disk = disk;
    life->number = ++disk->life_count;
    list_init(&life->handles);
    snprintf(life->name, sizeof life->name, "%s/%u", disk->name, life->number);
    if (sqlite3_vfs_find(life->name) != NULL)
        broken("two disks of one name", life->name);
    disk__vfs_init(life);
    if (sqlite3_vfs_register(&life->vfs, 0) != SQLITE_OK)
        broken("cannot register", life->name);
    life->next = disk->lives;
    disk->lives = life;
    if (vfs_name != NULL)
        *vfs_name = life->name;
    return life;
}

int disk_life_dead(const struct disk_life *life) {
    return life->dead;
}

uint32_t disk_life_number(const struct disk_life *life) {
    return life->number;
}

uint32_t disk_life_handles(const struct disk_life *life) {
    uint32_t count = 0;
    for (const struct list *link = life->handles.next; link != &life->handles; link = link->next)
        count++;
    return count;
}

void disk_kill_life(struct disk_life *life) {
    if (life->dead)
        return;
    life->dead = 1;
    life->disk->counts.kills++;
    while (!list_empty(&life->handles))
        disk__handle_bury(LIST_OF(life->handles.next, struct handle, in_life));
}

/* ---- the rest of the world ---- */

void disk_set_fault(struct disk *disk, disk_fault_fn fault, void *user) {
    disk->fault = fault;
    disk->fault_user = user;
}

void disk_set_clock(struct disk *disk, int64_t (*wall_us)(void *user), void *user) {
    disk->wall_us = wall_us;
    disk->clock_user = user;
}

void disk_reset_sqlite_random(uint64_t seed) {
    struct prng prng = prng_new(seed, "sqlite");
    sqlite3_initialize();
    /* Zero would mean: ask the operating system. */
    sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)prng_range(&prng, 1, INT32_MAX), (sqlite3 *)NULL);
}

struct disk_counts disk_count(const struct disk *disk) {
    return disk->counts;
}

static const struct bytes *view_of(const struct entry *entry, enum disk_view view) {
    const struct node *node = view == DISK_CACHED ? entry->cached : entry->durable;
    return node == NULL ? NULL : view == DISK_CACHED ? &node->cached : &node->durable;
}

uint8_t *disk_export(const struct disk *disk, enum disk_view view, const char *file, size_t *length) {
    const struct entry *entry = find(disk, file);
    const struct bytes *bytes = entry == NULL ? NULL : view_of(entry, view);
    if (bytes == NULL)
        return NULL;
    uint8_t *copy = bytes_alloc((size_t)bytes->size + 1);
    bytes_read(bytes, 0, copy, (size_t)bytes->size);
    *length = (size_t)bytes->size;
    return copy;
}

void disk_import(struct disk *disk, const char *file, const void *bytes, size_t length) {
    struct entry *entry = disk__entry(disk, file);
    if (entry->cached != NULL || entry->durable != NULL || entry->first != NULL)
        broken("imported over an existing file", file);
    struct bytes durable = {0};
    bytes_write(&durable, 0, bytes, length);
    place(disk, file, durable);
}

/* Summed over files, so that the order in which they were made does not matter. */
uint64_t disk_digest(const struct disk *disk, enum disk_view view) {
    uint64_t sum = 0;
    for (const struct entry *entry = disk->entries; entry != NULL; entry = entry->next) {
        const struct bytes *bytes = view_of(entry, view);
        if (bytes != NULL)
            sum += bytes_digest(bytes, prng_new(0, entry->name).s[0]);
    }
    return sum;
}
