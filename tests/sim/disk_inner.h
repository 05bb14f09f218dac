/* What the two halves of the simulated disk share: disk.c keeps files, effects and crashes, disk_vfs.c is what SQLite
 * calls. */
#ifndef SIM_DISK_INNER_H
#define SIM_DISK_INNER_H

#include <sqlite3.h>

#include "base/list.h"
#include "disk.h"
#include "disk_bytes.h"

/* One change of a file that is not durable yet. */
struct effect {
    struct effect *next;
    int64_t offset; /* of the bytes, or the new size */
    size_t length;
    int truncates;
    uint8_t bytes[];
};

/* WAL shared memory of one file, while at least one live handle uses it. */
struct shm {
    int fd; /* an anonymous file, so that a dead life's mapping can be cut off without moving it */
    int regions;
    int region_size;
    uint32_t users;
    uint8_t *saved; /* the regions, between disk_before_fork and disk_in_child */
};

/* A file, whatever its name is now. */
struct node {
    struct bytes cached, durable;
    struct effect *first, **last;
    size_t effects;
    uint32_t uses; /* by entries, their changes and live handles */
    int temporary; /* never durable: gone with its handle */
    struct list handles;
    struct shm *shm;
};

/* One step of a name's history that is not durable yet. */
struct change {
    struct change *next;
    struct node *node; /* NULL: the name was deleted */
};

/* A name in the one directory. Stays when its file is gone. */
struct entry {
    struct entry *next;
    struct node *cached, *durable; /* NULL: no such file */
    struct change *first, **last;
    char name[];
};

struct disk {
    char name[64];
    struct prng prng;
    struct entry *entries, **last_entry;
    struct disk_life *lives;
    uint32_t life_count;
    uint64_t shown; /* calls shown to the hook */
    disk_fault_fn fault;
    void *fault_user;
    int64_t (*wall_us)(void *user);
    void *clock_user;
    struct disk_counts counts;
};

struct disk_life {
    sqlite3_vfs vfs;
    struct disk_life *next;
    struct disk *disk;
    uint32_t number;
    int dead;
    struct list handles;
    char name[80];
};

/* An open file. The death of its life leaves only the base and the regions, and cuts every other tie. */
struct handle {
    sqlite3_file base;
    struct list in_life, in_node;
    struct disk_life *life;
    struct node *node;
    struct entry *entry; /* NULL: temporary */
    int level;           /* SQLITE_LOCK_* */
    int reserved;        /* came to its level through RESERVED, and so holds that byte */
    int syncs_directory; /* at its first sync */
    int deletes;         /* at close */
    int keeps_wal;
    struct shm *shm;
    uint32_t shared, exclusive; /* shared-memory locks held, by bit */
    void **regions;
    int region_count, region_size;
};

/* disk.c */
struct entry *disk__entry(struct disk *disk, const char *name); /* made when missing */
struct node *disk__node_new(void);
void disk__node_drop(struct node *node);
void disk__name(struct entry *entry, struct node *node); /* NULL: deletes the name */
void disk__write(struct node *node, int64_t at, const void *bytes, size_t length);
void disk__truncate(struct node *node, int64_t size);
void disk__sync(struct node *node);
void disk__sync_directory(struct disk *disk);
void disk__fail_sync(struct disk *disk, struct node *node);

/* disk_vfs.c */
void disk__vfs_init(struct disk_life *life);
/* Cuts a handle off its dead life. */
void disk__handle_bury(struct handle *handle);

#endif
