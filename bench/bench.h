/* What the files of the benchmark share: the shop whose rows all modes write, one mode's run, and the report. */
#ifndef BENCH_H
#define BENCH_H

#include <cdtx/tcc.h>

enum {
    GROUP = 64,       /* transactions in one commit of the baseline, and in flight in the other modes */
    SKUS = 100,       /* rows of stock, taken in turn */
    PER_SKU = 1 << 30 /* free at the start */
};

#define ORDER_PLACE   "order.place"
#define STOCK_RESERVE "stock.reserve"

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
/* Says what went wrong, for people, and makes run_next answer 0 from then on; returns 0. Any thread. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
int complained(void);

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
/* Makes the files with our tables, the business tables and the stock, and opens them. 1, or 0 after complaining. */
int shop_open(const char *dir, uint32_t threads, struct shop *shop);
void shop_close(struct shop *shop);
/* Reads the closed files: exactly `sold` orders are confirmed and sold, nothing is held and no stock appeared or
 * vanished. 1, or 0 after complaining. */
int shop_check(const char *dir, int64_t sold);
/* The statements that move the business rows, in the order of the ? marks: number and sku, number, sku, sku. */
extern const char order_insert[], order_confirm[], stock_hold[], stock_sell[];

/* ---- the modes: 1, or 0 after complaining ---- */

int baseline(struct run *run);      /* baseline.c: by hand */
int tcc_submitted(struct run *run); /* tcc.c: declared, GROUP in flight from one thread */
int tcc_blocking(struct run *run);  /* declared, GROUP threads that wait */
int tcc_stepwise(struct run *run);  /* step by step, GROUP threads */
int tcc_alone(struct run *run);     /* declared, one caller */

/* ---- report.c ---- */

enum { ROUNDS_MAX = 51, MODES_MAX = 8 };

struct mode {
    const char *name, *what;
    int (*run)(struct run *run);
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
struct figure figure_of(const struct run *run);
struct figure figure_median(const struct series *series);
void report_table(const struct conditions *conditions, const struct series *all, int count);
int report_json(const char *path, const struct conditions *conditions, const struct series *all, int count);

#endif
