/* cdtx: looks into the log of libcdtx and steps in. cdtx(1) says how. */
#include "command.h"

#include <locale.h>
#include <stdio.h>

/* *acts: is it an action? */
static enum status run(struct options *options, int argc, char **argv, int *acts) {
    int named = 0;
    *acts = 0;
    enum status status = options_read(options, argc, argv);
    if (status != STATUS_DONE)
        return status;
    if (options_have(options, OPT_VERSION)) {
        (void)printf("cdtx %s\n", cdtx_version());
        return STATUS_DONE;
    }
    if (options_have(options, OPT_HELP))
        return help_about(options->words, options->word_count);
    const struct command *command = command_find(options->words, options->word_count, &named);
    if (command == NULL)
        return STATUS_USAGE;
    status = command_check(command, options, options->word_count - named);
    *acts = (command->options & OPT_BIT(OPT_ACTOR)) != 0;
    return status != STATUS_DONE ? status : command->run(options, options->words + named);
}

int main(int argc, char **argv) {
    struct options options;
    int acts;
    /* Texts in the log are UTF-8, whatever the terminal's locale says. */
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    enum status status = run(&options, argc, argv, &acts);
    options_free(&options);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == STATUS_DONE) {
        status_say("%sstandard output cannot be written", acts ? "it was done, but " : "");
        status = acts ? STATUS_UNKNOWN : STATUS_FAILED;
    }
    return (int)status;
}
