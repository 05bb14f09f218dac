#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

/* ---- conditions ---- */

static void read_cpu(char *cpu, size_t size) {
    snprintf(cpu, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value += strspn(value, ": ");
        snprintf(cpu, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    if (file != NULL)
        fclose(file);
}

/* The type of the mount with the longest path that leads to dir. */
static void read_file_system(const char *dir, char *type, size_t size) {
    snprintf(type, size, "unknown");
    char *path = realpath(dir, NULL);
    FILE *file = fopen("/proc/self/mounts", "re");
    char line[4096], mount[2048], kind[64];
    size_t longest = 0;
    while (path != NULL && file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%*s %2047s %63s", mount, kind) != 2)
            continue;
        size_t length = strcmp(mount, "/") == 0 ? 0 : strlen(mount);
        int leads = strncmp(path, mount, length) == 0 && (path[length] == '/' || path[length] == '\0');
        if (leads && length >= longest) {
            longest = length;
            snprintf(type, size, "%s", kind);
        }
    }
    if (file != NULL)
        fclose(file);
    free(path);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

static int measure_sync(const char *dir, double *us) {
    enum { TIMES = 51 };
    static const char page[4096];
    double took[TIMES];
    char path[4200];
    snprintf(path, sizeof path, "%s/sync", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    int ok = fd >= 0;
    for (int i = 0; ok && i < TIMES; i++) {
        int64_t from = now_us();
        ok = write(fd, page, sizeof page) == (ssize_t)sizeof page && fdatasync(fd) == 0;
        took[i] = (double)(now_us() - from);
    }
    if (fd >= 0)
        close(fd);
    unlink(path);
    if (!ok)
        return complain("cannot write and sync '%s'", path);
    *us = median(took, TIMES);
    return 1;
}

int conditions_read(const char *dir, struct conditions *conditions) {
    struct utsname name;
    time_t now = time(NULL);
    struct tm utc;
    conditions->cpus = sysconf(_SC_NPROCESSORS_ONLN);
    read_cpu(conditions->cpu, sizeof conditions->cpu);
    if (uname(&name) == 0)
        snprintf(conditions->kernel, sizeof conditions->kernel, "%.32s %.64s %.24s", name.sysname, name.release,
                 name.machine);
    read_file_system(dir, conditions->file_system, sizeof conditions->file_system);
    strftime(conditions->time, sizeof conditions->time, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    if (getloadavg(&conditions->load, 1) != 1)
        conditions->load = -1;
    return measure_sync(dir, &conditions->sync_us);
}

/* ---- figures ---- */

static int by_us(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

double percentile_ms(struct samples *samples, size_t percent) {
    qsort(samples->us, samples->count, sizeof *samples->us, by_us);
    return samples->count == 0 ? 0 : (double)samples->us[(samples->count - 1) * percent / 100] / 1000;
}

struct figure figure_of(struct run *run) {
    double seconds = (double)(run->ended_us - run->started_us) / 1e6;
    double transactions = (double)run->done;
    struct figure figure = {.transactions = run->done, .seconds = seconds};
    figure.p50_ms = percentile_ms(&run->latency, 50);
    figure.p99_ms = percentile_ms(&run->latency, 99);
    figure.per_second = seconds > 0 ? transactions / seconds : 0;
    figure.syncs_per_tx = run->done > 0 ? (double)run->syncs / transactions : 0;
    return figure;
}

static double median_of(const struct series *series, size_t member) {
    double values[ROUNDS_MAX * MODES_MAX];
    for (int i = 0; i < series->count; i++)
        memcpy(&values[i], (const char *)&series->runs[i] + member, sizeof values[i]);
    return median(values, series->count);
}

struct figure figure_median(const struct series *series) {
    struct figure figure = {
        .seconds = median_of(series, offsetof(struct figure, seconds)),
        .per_second = median_of(series, offsetof(struct figure, per_second)),
        .p50_ms = median_of(series, offsetof(struct figure, p50_ms)),
        .p99_ms = median_of(series, offsetof(struct figure, p99_ms)),
        .ratio = median_of(series, offsetof(struct figure, ratio)),
        .syncs_per_tx = median_of(series, offsetof(struct figure, syncs_per_tx)),
    };
    for (int i = 0; i < series->count; i++)
        figure.transactions += series->runs[i].transactions;
    return figure;
}

/* ---- table ---- */

void report_conditions(const struct conditions *c) {
    printf("%s, %ld cpus, load %.1f; %s; %s, %.0f us a sync\n", c->cpu, c->cpus, c->load, c->kernel, c->file_system,
           c->sync_us);
    printf("SQLite %s, WAL, synchronous=FULL; libcdtx %s, %ld threads of its own; medians of %ld rounds\n",
           sqlite3_libversion(), cdtx_version(), c->threads, c->rounds);
}

static void table_row(const struct series *series) {
    struct figure f = figure_median(series);
    double least = series->runs[0].ratio, most = least;
    for (int run = 1; run < series->count; run++) {
        double ratio = series->runs[run].ratio;
        least = ratio < least ? ratio : least;
        most = ratio > most ? ratio : most;
    }
    printf("%-13s %9.0f %7.3f %8.3f - %5.3f ", series->mode.name, f.per_second, f.ratio, least, most);
    printf("%9.2f %9.2f %9.3f  %s\n", f.p50_ms, f.p99_ms, f.syncs_per_tx, series->mode.what);
}

static void table_head(const char *unit) {
    char rate[16], syncs[16];
    snprintf(rate, sizeof rate, "%s/s", unit);
    snprintf(syncs, sizeof syncs, "syncs/%s", unit);
    printf("\n%-13s %9s %7s %16s %9s %9s %9s\n", "", rate, "ratio", "from - to", "p50 ms", "p99 ms", syncs);
}

void report_table(const struct series *all, int count) {
    for (int i = 0; i < count; i++) {
        if (all[i].mode.by_hand)
            table_head(all[i].mode.unit);
        table_row(&all[i]);
    }
    for (int i = 0; i < count; i++) {
        double syncs = figure_median(&all[i]).syncs_per_tx;
        if (strcmp(all[i].mode.name, "alone") == 0)
            printf("\nalone: %.3f synced commits a transaction, %.2f of the %d on its path\n", syncs,
                   syncs / PATH_COMMITS, PATH_COMMITS);
    }
}

/* ---- what was measured once ---- */

static double kib(int64_t bytes) {
    return (double)bytes / 1024;
}

static void print_stretch(const char *name, const struct stretch *s) {
    printf("  %-16s %9lld %9.0f tx/s %7.1f us CPU %8.2f ms p50 %8.2f ms p99\n", name, (long long)s->transactions,
           s->per_second, s->cpu_us, s->p50_ms, s->p99_ms);
}

static void print_memory(const char *name, const struct memory *m) {
    printf("  %-16s %9.0f KiB engine %9.0f KiB SQLite %9.0f KiB resident\n", name, kib(m->engine), kib(m->sqlite),
           kib(m->resident));
}

static void report_jobs(const struct singles *singles) {
    const struct jobs_due *d = singles->due;
    const struct jobs_backlog *b = singles->backlog;
    if (d != NULL)
        printf("\njobs-due: %lld jobs at %.0f jobs/s, one by one at most %.0f; start %.2f ms p50 and %.2f ms p99 after"
               " they are due; a put %.2f ms p99\n",
               (long long)d->jobs, d->per_second, d->single_per_second, d->p50_ms, d->p99_ms, d->put_p99_ms);
    if (b != NULL)
        printf("\njobs-backlog: %.0f jobs/s; %.3f of that before %lld jobs that are not due, %.3f before as many due"
               " ones of lower priority\n",
               b->none_per_second, b->later_per_second / b->none_per_second, (long long)b->jobs,
               b->lower_per_second / b->none_per_second);
}

void report_singles(const struct singles *singles) {
    const struct history *h = singles->history;
    const struct recovery *r = singles->recovery;
    if (singles->idle != NULL)
        printf("\nidle: an engine with log and two databases holds %.0f KiB, and SQLite %.0f KiB for it\n",
               kib(singles->idle->engine), kib(singles->idle->sqlite));
    if (r != NULL)
        printf("\nrecovery: %lld decided and %lld undecided at kill -9; all ended after %.2f s (opening %.2f s)\n",
               (long long)r->decided, (long long)r->undecided, r->ended_s, r->open_s);
    report_jobs(singles);
    if (h == NULL)
        return;
    printf("\nhistory: %lld transactions; the last tenth at %.3f of a first one beside it, %.3f by CPU\n",
           (long long)h->transactions, h->last.per_second / h->first.per_second, h->first.cpu_us / h->last.cpu_us);
    print_stretch("first tenth", &h->first);
    print_stretch("last tenth", &h->last);
    print_memory("at the start", &h->fresh);
    print_memory("after a tenth", &h->early);
    print_memory("before the last", &h->late);
}

/* ---- JSON ---- */

static void put_text(FILE *file, const char *name, const char *text) {
    fprintf(file, "    \"%s\": \"", name);
    for (; *text != '\0'; text++)
        fprintf(file, *text == '"' || *text == '\\' ? "\\%c" : (unsigned char)*text < ' ' ? " " : "%c", *text);
    fprintf(file, "\",\n");
}

static void put_figure(FILE *file, const struct figure *f) {
    fprintf(file,
            "{\"transactions\": %lld, \"seconds\": %.3f, \"per_second\": %.1f, \"ratio\": %.4f, \"p50_ms\": %.3f, "
            "\"p99_ms\": %.3f, \"syncs_per_tx\": %.4f}",
            (long long)f->transactions, f->seconds, f->per_second, f->ratio, f->p50_ms, f->p99_ms, f->syncs_per_tx);
}

static void put_conditions(FILE *file, const struct conditions *c) {
    fprintf(file, "  \"conditions\": {\n");
    put_text(file, "time", c->time);
    put_text(file, "cpu", c->cpu);
    put_text(file, "kernel", c->kernel);
    put_text(file, "file_system", c->file_system);
    put_text(file, "sqlite", sqlite3_libversion());
    put_text(file, "sync", "WAL, synchronous=FULL");
    put_text(file, "libcdtx", cdtx_version());
    put_text(file, "compiler", __VERSION__);
    fprintf(file, "    \"cpus\": %ld,\n    \"load\": %.2f,\n    \"sync_us\": %.1f,\n", c->cpus, c->load, c->sync_us);
    fprintf(file, "    \"group\": %d,\n    \"batch\": %d,\n    \"skus\": %d,\n    \"path_commits\": %d,\n", GROUP,
            BATCH, SKUS, PATH_COMMITS);
    fprintf(file, "    \"engine_threads\": %ld,\n    \"rounds\": %ld\n  },\n", c->threads, c->rounds);
}

static void put_series(FILE *file, const struct series *series) {
    struct figure median_figure = figure_median(series);
    fprintf(file, "   {\n");
    put_text(file, "name", series->mode.name);
    put_text(file, "unit", series->mode.unit);
    put_text(file, "what", series->mode.what);
    fprintf(file, "    \"median\": ");
    put_figure(file, &median_figure);
    fprintf(file, ",\n    \"runs\": [");
    for (int run = 0; run < series->count; run++) {
        fprintf(file, run == 0 ? "\n     " : ",\n     ");
        put_figure(file, &series->runs[run]);
    }
    fprintf(file, "\n    ]\n   }");
}

static void put_memory(FILE *file, const char *name, const struct memory *m, const char *end) {
    fprintf(file, "\"%s\": {\"engine\": %lld, \"sqlite\": %lld, \"resident\": %lld}%s", name, (long long)m->engine,
            (long long)m->sqlite, (long long)m->resident, end);
}

static void put_stretch(FILE *file, const char *name, const struct stretch *s) {
    fprintf(file,
            "\"%s\": {\"transactions\": %lld, \"per_second\": %.1f, \"cpu_us\": %.2f, \"p50_ms\": %.3f, "
            "\"p99_ms\": %.3f},\n    ",
            name, (long long)s->transactions, s->per_second, s->cpu_us, s->p50_ms, s->p99_ms);
}

static void put_jobs(FILE *file, const struct singles *singles) {
    const struct jobs_due *d = singles->due;
    const struct jobs_backlog *b = singles->backlog;
    if (d != NULL)
        fprintf(file,
                "  \"jobs_due\": {\"jobs\": %lld, \"per_second\": %.1f, \"single_per_second\": %.1f, \"p50_ms\": %.3f, "
                "\"p99_ms\": %.3f, \"put_p99_ms\": %.3f},\n",
                (long long)d->jobs, d->per_second, d->single_per_second, d->p50_ms, d->p99_ms, d->put_p99_ms);
    if (b != NULL)
        fprintf(file,
                "  \"jobs_backlog\": {\"jobs\": %lld, \"none_per_second\": %.1f, \"later_per_second\": %.1f, "
                "\"lower_per_second\": %.1f, \"later_ratio\": %.4f, \"lower_ratio\": %.4f},\n",
                (long long)b->jobs, b->none_per_second, b->later_per_second, b->lower_per_second,
                b->later_per_second / b->none_per_second, b->lower_per_second / b->none_per_second);
}

static void put_singles(FILE *file, const struct singles *singles) {
    const struct history *h = singles->history;
    const struct recovery *r = singles->recovery;
    if (singles->idle != NULL) {
        fprintf(file, "  ");
        put_memory(file, "idle", singles->idle, ",\n");
    }
    if (r != NULL)
        fprintf(file,
                "  \"recovery\": {\"decided\": %lld, \"undecided\": %lld, \"open_s\": %.3f, \"ended_s\": %.3f},\n",
                (long long)r->decided, (long long)r->undecided, r->open_s, r->ended_s);
    put_jobs(file, singles);
    if (h == NULL)
        return;
    fprintf(file, "  \"history\": {\"transactions\": %lld, \"ratio\": %.4f, \"cpu_ratio\": %.4f,\n    ",
            (long long)h->transactions, h->last.per_second / h->first.per_second, h->first.cpu_us / h->last.cpu_us);
    put_stretch(file, "first", &h->first);
    put_stretch(file, "last", &h->last);
    put_memory(file, "memory_fresh", &h->fresh, ",\n    ");
    put_memory(file, "memory_early", &h->early, ",\n    ");
    put_memory(file, "memory_late", &h->late, "},\n");
}

int report_json(const char *path, const struct conditions *conditions, const struct series *all, int count,
                const struct singles *singles) {
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return complain("cannot write '%s'", path);
    fprintf(file, "{\n");
    put_conditions(file, conditions);
    put_singles(file, singles);
    fprintf(file, "  \"modes\": [\n");
    for (int i = 0; i < count; i++) {
        put_series(file, &all[i]);
        fprintf(file, i + 1 < count ? ",\n" : "\n");
    }
    fprintf(file, "  ]\n}\n");
    int failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return complain("cannot write '%s'", path);
    return 1;
}
