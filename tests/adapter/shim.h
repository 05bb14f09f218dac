/* A file system for SQLite that passes all on to the default one, writes down what happens, and fails where told. */
#ifndef TESTS_ADAPTER_SHIM_H
#define TESTS_ADAPTER_SHIM_H

#include <sqlite3.h>
#include <stdint.h>

enum shim_op { SHIM_READ = 1, SHIM_WRITE, SHIM_SYNC, SHIM_ANY };
enum shim_file { SHIM_DB = 1, SHIM_WAL, SHIM_OWNER, SHIM_OTHER, SHIM_ALL };

enum { SHIM_EVENTS_MAX = 8192 };

struct shim_event {
    int op, file;
    sqlite3_int64 at;
    int length;
    int same; /* of a write: these bytes stood there already */
};

struct shim {
    /* The nth such call from now fails with result, once; 0: none. */
    int fail_op, fail_file, fail_result;
    uint64_t fail_nth;
    int failed;
    int writes_anyway; /* a write that fails has reached the file */
    int not_powersafe; /* the device may damage what stands beside a write */
    int no_shared_memory;
    uint32_t count; /* events; beyond the maximum only counted */
    struct shim_event events[SHIM_EVENTS_MAX];
};

extern struct shim shim;

/* Registers it as "shim", and forgets plan and events. */
void shim_reset(void);
void shim_fail(int op, int file, uint64_t nth, int result);
/* Events of that kind so far. */
uint32_t shim_count(int op, int file);

#endif
