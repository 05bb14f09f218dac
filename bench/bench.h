/* What the files of the benchmark share: the shop whose rows all modes write, one mode's run, and the report. */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>

#include <cdtx/port.h>
#include <cdtx/tcc.h>

enum {
    GROUP = 64,        /* transactions in one commit of the baseline, and in flight in the other modes */
    SKUS = 100,        /* rows of stock, taken in turn */
    PER_SKU = 1 << 30, /* free at the start */
    PATH_COMMITS = 6   /* that one declared transaction cannot do without: begin, decision, two tries, two confirms */
};

#define ORDER_PLACE   "order.place"
#define STOCK_RESERVE "stock.reserve"
#define ORDER_NOOP    "order.noop" /* the guard alone */
#define STOCK_NOOP    "stock.noop"

/* ---- one run of one mode (main.c) ---- */

struct samples {
    int64_t *us;
    size_t count, room;
};

struct run {
    const char *dir; /* fresh, for this run alone */
    int64_t count;   /* transactions to do; 0: as many as fit in `seconds` */
    double seconds;
    uint32_t threads;   /* the engine's own */
    int64_t started_us; /* by run_start */
    int64_t ended_us;   /* the last completion */
    int64_t given;      /* numbers given out, atomic */
    int64_t done;
    uint64_t syncs; /* synced commits; 0: not counted */
    struct samples latency;
};

int64_t now_us(void);
/* 1, or 0 after complaining that memory ran out. */
int samples_add(struct samples *samples, int64_t us);
void samples_free(struct samples *samples);
void run_start(struct run *run);
/* The number of the next transaction, from 1; 0: enough. Any thread. */
int64_t run_next(struct run *run);
/* How many numbers without a gap from *first on, at most so many; 0: enough. */
int64_t run_next_many(struct run *run, int64_t most, int64_t *first);
/* So many, which were begun at that time, are done now. 1, or 0 after complaining. */
int run_done(struct run *run, int64_t count, int64_t from_us);
/* Of so many numbers without a gap, from first on. */
static inline int64_t sum_of(int64_t first, int64_t count) {
    return count * (2 * first + count - 1) / 2;
}
/* Says what went wrong, for people, and makes run_next answer 0 from then on; returns 0. Any thread. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same of what the library has refused. */
int refused(const char *what, int32_t rc, const cdtx_error *err);
int complained(void);
/* Synced commits so far; 0 after complaining. */
uint64_t syncs_of(cdtx *engine);

/* ---- the shop: three files (shop.c) ---- */

/* What a branch gets as payload. */
struct line {
    int64_t number; /* of the order */
    int64_t sku;
};

struct shop {
    cdtx *engine;
    cdtx_db *orders, *stock;
};

struct line line_of(int64_t number);
/* Opens the files, with our tables, the business tables and the stock made if need be; size and log of the options are
 * filled in here. 1, or 0 after complaining. */
int shop_open(const char *dir, cdtx_options options, struct shop *shop);
void shop_close(struct shop *shop);
/* Reads the closed files: exactly `sold` orders are confirmed and sold, nothing is held, no stock appeared or vanished,
 * and of `begun` transactions none is open. 1, or 0 after complaining. */
int shop_check(const char *dir, int64_t sold, int64_t begun);
/* That query of NAME.db has that one number as its answer. 1, or 0 after complaining. */
int expect(const char *dir, const char *name, const char *query, int64_t wanted);
int check_sold(const struct run *run);  /* all that it did */
int check_begun(const struct run *run); /* the same without business rows */
/* What SQLite holds in this process. */
int64_t sqlite_bytes(void);
/* The statements that move the business rows, in the order of the ? marks: number and sku, number, sku, sku. */
extern const char order_insert[], order_confirm[], stock_hold[], stock_sell[];

/* ---- callers: threads that do one thing after another (callers.c) ---- */

typedef int32_t (*call_fn)(void *place, int caller, int64_t number, cdtx_error *err);

struct caller {
    pthread_t thread;
    struct callers *all;
    int index;
    int64_t done, ended_us;
    struct samples latency;
};

struct callers {
    struct run *run;
    call_fn call;
    void *place;
    int started, living; /* living: atomic */
    struct caller each[GROUP];
};

/* Starts the run with so many, of whom each calls with number after number until run_next says that it is enough. */
void callers_start(struct callers *callers, int count);
int callers_living(const struct callers *callers);
/* Adds what they did to the run. */
void callers_join(struct callers *callers);

/* ---- the modes: 1, or 0 after complaining ---- */

int baseline(struct run *run);      /* baseline.c: by hand */
int tcc_submitted(struct run *run); /* tcc.c: declared, GROUP in flight from one thread */
int tcc_blocking(struct run *run);  /* declared, GROUP threads that wait */
int tcc_stepwise(struct run *run);  /* step by step, GROUP threads */
int tcc_alone(struct run *run);     /* declared, one caller */
int tcc_noop(struct run *run);      /* as submitted, without business rows */

/* One more in flight, with those participants; 0: enough, or after complaining. */
int flight_submit(struct run *run, struct shop *shop, const char *first, const char *second);
/* Waits for one to come back; its latency, or -1 after complaining. */
int64_t flight_take(struct run *run, struct shop *shop);

/* ---- jobs: one file with a queue (jobs.c) ---- */

enum { BATCH = 512, PATIENCE_MS = 60000 };

#define JOB_NOOP "bench.noop"

/* The payload. */
struct note {
    int64_t number; /* 0: of a backlog, nobody waits for it */
    int64_t value;  /* as the mode likes */
};

struct queue {
    cdtx *engine;
    cdtx_db *db;
};

/* Opens jobs.db, without a handler yet. 1, or 0 after complaining, as all here. */
int queue_open(const char *dir, uint32_t threads, struct queue *queue);
void queue_close(struct queue *queue);
/* NULL: to be pulled; else it runs in the local transaction that ends the job. */
int queue_handle(struct queue *queue, cdtx_handler_fn handler, void *user);
/* One commit with so many, numbered from first on, or all 0 if that is. */
int queue_put(struct queue *queue, int64_t first, uint32_t count, const cdtx_job_options *options);
struct note note_in(const cdtx_work *work);
/* Batch after batch is put, taken and settled, until so many jobs are done or run_next says that it is enough. What
 * comes of a backlog is settled and counted in *strays. */
int queue_flow(struct run *run, struct queue *queue, int64_t most, const cdtx_job_options *options, int64_t *strays);
int queue_check(const char *dir, const char *table, int64_t left);

int jobs(struct run *run);
int jobs_single(struct run *run);  /* jobs_single.c: one by one, GROUP in flight, run by the engine */
int jobs_by_hand(struct run *run); /* jobs_baseline.c */
int check_jobs(const struct run *run);
int check_jobs_by_hand(const struct run *run);

/* ---- messages: an outbox in orders.db, a consumer in stock.db (messages.c) ---- */

int messages(struct run *run);         /* put and delivered in batches, one thread */
int messages_by_hand(struct run *run); /* messages_baseline.c */
int halves(struct run *run);           /* prepared and resolved, GROUP threads */
int check_messages(const struct run *run);
int check_messages_by_hand(const struct run *run);
int check_halves(const struct run *run);

/* ---- memory (env.c) ---- */

struct memory {
    int64_t engine;   /* held by engines that run with counting_env */
    int64_t sqlite;   /* held by SQLite */
    int64_t resident; /* the process */
};

extern const cdtx_env counting_env; /* for engines without threads of their own */
struct memory memory_now(void);

/* ---- single measurements: 1, or 0 after complaining ---- */

/* An engine with log and two databases that does nothing. */
int idle(const char *dir, struct memory *memory);

/* One tenth of a long run. */
struct stretch {
    int64_t transactions;
    double per_second, cpu_us, p50_ms, p99_ms;
};

struct history {
    int64_t transactions;
    struct stretch last;              /* of the long run, side by side with ... */
    struct stretch first;             /* ... the first of another engine */
    struct memory fresh, early, late; /* before the first transaction, after a tenth, before the last tenth */
};

int history(const char *dir, int64_t count, struct history *history);

struct recovery {
    int64_t decided, undecided; /* in doubt when their process was killed */
    double open_s, ended_s;     /* from the start of opening */
};

int recovery(const char *dir, int64_t count, struct recovery *recovery);

struct jobs_due {
    double single_per_second; /* as jobs_single measured it before */
    int64_t jobs;
    double per_second;     /* that were put, about half as many */
    double put_p99_ms;     /* a put alone: what takes longer than the delay is late for that */
    double p50_ms, p99_ms; /* from its due time to its start */
};

int jobs_due(const char *dir, int64_t count, struct jobs_due *due); /* 0: as many as some seconds take */

struct jobs_backlog {
    int64_t jobs; /* behind the head: */
    double none_per_second, later_per_second, lower_per_second;
};

int jobs_backlog(const char *dir, int64_t count, struct jobs_backlog *backlog);

/* ---- report.c ---- */

enum { ROUNDS_MAX = 51, MODES_MAX = 16 };

struct mode {
    const char *name, *unit, *what;
    int (*run)(struct run *run);
    int (*check)(const struct run *run); /* of the files that it left */
    int by_hand;                         /* a baseline */
};

/* One run, or the median of several. */
struct figure {
    int64_t transactions;
    double seconds, per_second, p50_ms, p99_ms, ratio, syncs_per_tx;
};

/* All runs of one mode, in order. */
struct series {
    struct mode mode;
    struct figure runs[ROUNDS_MAX * MODES_MAX];
    int count;
};

struct conditions {
    char cpu[128], kernel[128], file_system[64], time[32];
    long cpus;
    double load;
    double sync_us; /* median of one 4 KiB append with fdatasync */
    long rounds, threads;
};

int conditions_read(const char *dir, struct conditions *conditions);
/* What was measured once, beside the modes; NULL: not asked for. */
struct singles {
    const struct memory *idle;
    const struct recovery *recovery;
    const struct history *history;
    const struct jobs_due *due;
    const struct jobs_backlog *backlog;
};

/* Sorts its latencies. */
struct figure figure_of(struct run *run);
/* Sorts them. */
double percentile_ms(struct samples *samples, size_t percent);
struct figure figure_median(const struct series *series);
void report_conditions(const struct conditions *conditions);
void report_table(const struct series *all, int count);
void report_singles(const struct singles *singles);
int report_json(const char *path, const struct conditions *conditions, const struct series *all, int count,
                const struct singles *singles);

#endif
