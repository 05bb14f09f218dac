#include "life.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "order_line.h"

enum { ARGUMENTS_MAX = 8 };

/* In the child, where only async-signal-safe functions are allowed. */
static _Noreturn void become(char *const *argv, int to, pid_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && dup2(to, STDOUT_FILENO) >= 0)
        (void)execv("/proc/self/exe", argv);
    _exit(127);
}

int32_t life_start(struct life *life, const char *const *arguments, cdtx_error *err) {
    char *argv[ARGUMENTS_MAX + 3] = {(char[]){"order-demo"}, (char[]){"--life"}};
    for (size_t i = 0; arguments[i] != NULL && i < ARGUMENTS_MAX; i++)
        memcpy(&argv[i + 2], &arguments[i], sizeof argv[0]);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return say_no(err, CDTX_IO, "no pipe to a child process: %s", strerror(errno));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(argv, ends[1], parent);
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        return say_no(err, CDTX_IO, "no child process: %s", strerror(errno));
    }
    *life = (struct life){.pid = pid, .from = ends[0]};
    return 0;
}

int32_t life_hear(struct life *life, int timeout_ms, cdtx_error *err) {
    struct pollfd ready = {.fd = life->from, .events = POLLIN};
    if (poll(&ready, 1, timeout_ms) != 1)
        return say_no(err, CDTX_TIMEOUT, "the child process said nothing for %d ms", timeout_ms);
    for (char c = ' '; c != '\n';)
        if (read(life->from, &c, 1) != 1)
            return say_no(err, CDTX_MISUSE, "the child process ended before its time");
    return 0;
}

static char *read_rest(int from) {
    size_t room = 4096, length = 0;
    char *words = malloc(room);
    while (words != NULL) {
        ssize_t got = read(from, words + length, room - length - 1);
        if (got <= 0)
            break;
        length += (size_t)got;
        if (length + 1 < room)
            continue;
        char *more = realloc(words, room *= 2);
        if (more == NULL)
            free(words);
        words = more;
    }
    if (words != NULL)
        words[length] = '\0';
    return words;
}

int32_t life_kill(struct life *life, int32_t rc, char **words, cdtx_error *err) {
    int status = 0;
    (void)kill(life->pid, SIGKILL);
    (void)waitpid(life->pid, &status, 0);
    char *said = read_rest(life->from);
    (void)close(life->from);
    if (rc == 0 && said == NULL)
        rc = say_no(err, CDTX_NO_MEMORY, "no memory for what the child process said");
    else if (rc == 0 && (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL))
        rc = say_no(err, CDTX_MISUSE, "the child process ended by itself: %.300s", said);
    if (rc == 0 && words != NULL)
        *words = said;
    else
        free(said);
    return rc;
}
