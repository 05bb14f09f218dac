/* A simulated host's disk and page cache as an SQLite VFS: in memory, in one OS thread, never yielding, deterministic.
 *
 * Model. A file has cached bytes, which reads see, and durable bytes, which survive a power loss; between them stands
 * the ordered list of effects (writes, truncations) not yet synced. xSync makes the effects of that file durable.
 * Directory entries have cached and durable states of their own: creates and deletes become durable when the directory
 * is synced, which, as in SQLite's unix VFS, happens at the first xSync of a handle that opened a journal or WAL with
 * CREATE, and in xDelete with its sync flag. Overwriting is power safe: bytes outside a written range are not damaged.
 *
 * A life is one simulated process on the host. Each has its own sqlite3_vfs "DISK/1", "DISK/2", ... on the same files;
 * file locks and WAL shared memory work between lives as between processes, and between connections of one life as
 * within a process, on any file (an owner lock on a side file too). File names are taken as they are; there are no
 * folders, every path can be created.
 *
 * Out of memory aborts. Times come from a clock that the simulation sets; xSleep does not sleep. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "prng.h"

struct disk;
struct disk_life;

/* A disk without files or lives. The name must be unlike all other disks' now alive; the generator is copied: it is the
 * disk's own stream. */
struct disk *disk_new(const char *name, struct prng prng);
/* Kills all lives and frees everything. Connections on it must have been closed, or never be used (nor closed) again.
 * NULL is allowed. */
void disk_free(struct disk *disk);

/* Starts a process on the host; *vfs_name (may be NULL) gets the name of its VFS, registered until disk_free. Lives are
 * freed by disk_free. */
struct disk_life *disk_life_new(struct disk *disk, const char **vfs_name);
/* 1 once it was killed. */
int disk_life_dead(const struct disk_life *life);
/* From 1, in order of start. */
uint32_t disk_life_number(const struct disk_life *life);
/* The connections' open files, for a check that a clean end left none. */
uint32_t disk_life_handles(const struct disk_life *life);

/* kill -9: every later VFS call of that life fails with SQLITE_IOERR. Closing works and has no effect on others, so
 * sqlite3_close may free what is left, at any time before disk_free: a dead connection cannot even touch the shared
 * memory that others use. Its locks vanish, cached bytes stay, shared memory stays while another life has it open.
 * Killing twice is allowed. */
void disk_kill_life(struct disk_life *life);

/* What becomes of effects not yet synced. */
enum disk_crash {
    DISK_KEEP_ALL = 1, /* all kept, even what a failed sync lost: the bytes that readers see now */
    DISK_KEEP_NONE,    /* all lost: only what was synced */
    DISK_KEEP_SOME,    /* each kept, lost or torn at 512- or 4096-byte boundaries; names kept or lost: drawn */
    DISK_TEAR_512,     /* all kept but the last of each file: of a write, one side of a drawn 512-byte boundary */
    DISK_TEAR_4096     /* the same at a 4096-byte boundary; a write that crosses none is lost */
};

/* Power loss: all lives die, shared memory is gone, effects are kept or lost as `what` says, drawn from the disk's
 * generator. May be called from the fault hook; the call in progress then fails. */
void disk_power_loss(struct disk *disk, enum disk_crash what);
/* A new disk, without lives, clock or fault hook, that looks as this one would after a power loss now. This one and its
 * generator are not disturbed. Cheap: pages are shared until written. */
struct disk *disk_fork_after_crash(const struct disk *disk, enum disk_crash what, const char *name, struct prng prng);

/* Around fork: WAL shared memory is mapped shared. The parent saves it before, so that the child may go on with a copy
 * of its own however the parent goes on. */
void disk_before_fork(struct disk *disk);
void disk_in_child(struct disk *disk);

/* ---- faults ---- */

enum disk_op { DISK_OPEN = 1, DISK_READ, DISK_WRITE, DISK_SYNC, DISK_TRUNCATE, DISK_DELETE, DISK_SHM_MAP };
enum { DISK_OPS = 8 }; /* one above the highest */

/* A call that is about to happen. Borrowed for the hook's run. */
struct disk_call {
    enum disk_op op;
    struct disk_life *life;
    const char *file; /* "" for a temporary file without a name */
    int64_t offset;   /* read, write: where; truncate: the new size; map: region; else 0 */
    int64_t length;   /* read, write, map: bytes; else 0 */
    uint64_t index;   /* how many calls this disk has shown before this one, all operations and lives together */
};

enum disk_verdict {
    DISK_PASS = 0,
    DISK_FAIL_IO,     /* no effect; the operation's SQLITE_IOERR_* (open: SQLITE_CANTOPEN, as the unix VFS answers) */
    DISK_FAIL_FULL,   /* write: no effect; SQLITE_FULL. Others: as DISK_FAIL_IO */
    DISK_SHORT_WRITE, /* write: a drawn prefix is written, perhaps nothing; SQLITE_FULL. Others: as DISK_FAIL_IO */
    DISK_FAIL_SYNC,   /* sync: SQLITE_IOERR_FSYNC once. Cached bytes stay visible but count as clean: no later sync
                         writes them, and the durable bytes lack all or some of them, drawn, until they are written
                         again. Others: as DISK_FAIL_IO */
    DISK_LIE,         /* sync: SQLITE_OK, and nothing became durable, as by a drive that only says so. Others: passed */
    DISK_DIE_BEFORE,  /* the life dies, then the call fails without effect */
    DISK_DIE_AFTER    /* the call has its effect (a sync: it is durable), then the life dies, and the call fails */
};

/* Returns a verdict. It may kill lives and cut the power itself, but must not use SQLite. NULL: no faults. */
typedef int (*disk_fault_fn)(void *user, const struct disk_call *call);
void disk_set_fault(struct disk *disk, disk_fault_fn fault, void *user);

/* ---- the rest of the world ---- */

/* Microseconds since 1970 for SQLite's date functions; without one it is 2000-01-01. */
void disk_set_clock(struct disk *disk, int64_t (*wall_us)(void *user), void *user);
/* Restarts SQLite's own generator (one for the whole process: WAL salts, temporary names, random()) from a seed. Call
 * it at the start of every run, before the first connection: what SQLite draws then depends on the run alone. */
void disk_reset_sqlite_random(uint64_t seed);

struct disk_counts {
    uint64_t calls[DISK_OPS]; /* by disk_op, those that failed included */
    uint64_t faults;          /* verdicts other than DISK_PASS */
    uint64_t bytes_written;
    uint64_t kills; /* lives killed, by power loss too */
    uint64_t power_losses;
    uint64_t kept, lost, torn; /* effects met by power losses and failed syncs that drew */
};
struct disk_counts disk_count(const struct disk *disk);

enum disk_view { DISK_CACHED = 1, DISK_DURABLE = 2 };
/* A copy of a file's bytes, freed by the caller with free(); NULL when there is no such file in that view. */
uint8_t *disk_export(const struct disk *disk, enum disk_view view, const char *file, size_t *length);
/* Makes a file of those bytes, cached and durable; it must not exist. */
void disk_import(struct disk *disk, const char *file, const void *bytes, size_t length);
/* Over names and bytes of all files in that view: equal runs give equal digests. */
uint64_t disk_digest(const struct disk *disk, enum disk_view view);

#endif
