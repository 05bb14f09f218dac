#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "order_line.h"
#include "story.h"

enum { WORDS_MAX = 16, LINE_MAX_BYTES = 512 };

extern char **environ;

static void tell_command(const char *const *words) {
    char line[LINE_MAX_BYTES] = "";
    size_t at = 0;
    for (; *words != NULL && at < sizeof line; words++)
        at += (size_t)snprintf(line + at, sizeof line - at, strchr(*words, ' ') != NULL ? " \"%s\"" : " %s", *words);
    story_event("$ cdtx%s", line);
}

static void tell_answer(int from) {
    char line[LINE_MAX_BYTES];
    FILE *answer = fdopen(from, "r");
    if (answer == NULL) {
        (void)close(from);
        return;
    }
    while (fgets(line, sizeof line, answer) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        story_event("  %s", line);
    }
    (void)fclose(answer);
}

/* Both outputs go into the pipe. */
static int spawn(const char *folder, char *const *argv, const int ends[2], pid_t *pid) {
    posix_spawn_file_actions_t actions;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return failed;
    failed = posix_spawn_file_actions_addchdir_np(&actions, folder);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    if (failed == 0)
        failed = posix_spawn(pid, CDTX_COMMAND, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return failed;
}

int32_t command_run(const char *folder, const char *const *words, cdtx_error *err) {
    char *argv[WORDS_MAX + 2] = {(char[]){"cdtx"}};
    int ends[2], status = 0;
    pid_t pid = 0;
    for (size_t i = 0; words[i] != NULL && i < WORDS_MAX; i++)
        memcpy(&argv[i + 1], &words[i], sizeof argv[0]);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return say_no(err, CDTX_IO, "no pipe to the cdtx command: %s", strerror(errno));
    tell_command(words);
    int failed = spawn(folder, argv, ends, &pid);
    (void)close(ends[1]);
    if (failed != 0) {
        (void)close(ends[0]);
        return say_no(err, CDTX_IO, "%s cannot be run: %s", CDTX_COMMAND, strerror(failed));
    }
    tell_answer(ends[0]);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return say_no(err, CDTX_REFUSED, "cdtx %s %s did not succeed", words[0], words[1] != NULL ? words[1] : "");
    return 0;
}
