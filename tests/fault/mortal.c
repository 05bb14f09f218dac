#include "mortal.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"

static void log_line(void *user, int32_t level, const char *line) {
    (void)user;
    if (level != CDTX_LOG_ALARM)
        return;
    (void)fprintf(stderr, "alarm: %s\n", line);
    abort();
}

cdtx_env mortal_env(void) {
    cdtx_env env = *cdtx__env_posix();
    env.log = log_line;
    return env;
}

int64_t mortal_now_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ---- processes ---- */

/* In the child, where only async-signal-safe functions are allowed. */
static _Noreturn void become(char *const *argv, int to, pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && (to < 0 || dup2(to, STDOUT_FILENO) >= 0))
        (void)execv("/proc/self/exe", argv);
    _exit(127);
}

pid_t mortal_start(char *const *argv, int to) {
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become(argv, to, parent);
    if (pid < 0)
        abort();
    return pid;
}

void mortal_end(pid_t pid, const char *who, struct ledger *ledger) {
    int status = 0;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        ledger_complain(ledger, "%s ended by itself, with status %d", who, status);
}

/* ---- folders ---- */

int mortal_folder_new(char folder[MORTAL_PATH]) {
    const char *root = getenv("TMPDIR");
    (void)snprintf(folder, MORTAL_PATH, "%s/cdtx-kill-XXXXXX", root != NULL ? root : "/tmp");
    if (mkdtemp(folder) == NULL) {
        printf("no folder %s: %s\n", folder, strerror(errno));
        return 0;
    }
    (void)strcat(folder, "/");
    return 1;
}

static void remove_folder(const char *folder) {
    DIR *entries = opendir(folder);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        (void)unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries == NULL || closedir(entries) != 0 || rmdir(folder) != 0)
        printf("folder %s is left over: %s\n", folder, strerror(errno));
}

void mortal_folder_end(const char *folder, uint64_t seed, const struct ledger *ledger) {
    if (ledger->complaint[0] != '\0')
        printf("seed %llu: %s\nits files stay in %s\n", (unsigned long long)seed, ledger->complaint, folder);
    else
        remove_folder(folder);
}
