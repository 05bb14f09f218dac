#include "command.h"

#include <stdio.h>
#include <string.h>

static void print_command(const struct command *command) {
    char line[64];
    (void)snprintf(line, sizeof line, "%s %s", command->name, command->arguments);
    (void)printf("  %-31s  %s\n", line, command->summary);
}

static void print_options(uint32_t wanted) {
    for (int id = 0; id < OPT_COUNT; id++) {
        const struct option_text *text = &option_texts[id];
        char line[64];
        if ((wanted & OPT_BIT(id)) == 0)
            continue;
        (void)snprintf(line, sizeof line, "--%s %s", text->name, text->argument != NULL ? text->argument : "");
        (void)printf("  %-22s  %s\n", line, text->help);
    }
}

static enum status help_all(void) {
    (void)printf("usage: cdtx [OPTIONS] COMMAND [ARGUMENTS]\n\n"
                 "Looks into the log of libcdtx and the databases beside it, and steps in.\n\nCommands:\n");
    for (uint32_t i = 0; i < command_count; i++)
        print_command(&commands[i]);
    (void)printf("\nOptions of every command:\n");
    print_options(OPT_EVERYWHERE);
    (void)printf("\nA URL is 'sqlite:PATH'; a path that begins with '/' or '.' will do. Exit codes: 0 done, 1 no,\n"
                 "2 wrong command, 3 not now, 4 failed, 5 it may have happened. More is in cdtx(1).\n");
    return STATUS_DONE;
}

static enum status help_command(const struct command *command) {
    (void)printf("usage: cdtx [OPTIONS] %s %s\n\n  %s\n", command->name, command->arguments, command->summary);
    if (command->options != 0)
        (void)printf("\nOptions:\n");
    print_options(command->options);
    (void)printf("\nOptions of every command:\n");
    print_options(OPT_EVERYWHERE);
    return STATUS_DONE;
}

enum status help_about(char **words, int count) {
    int named = 0, listed = 0;
    if (count == 0)
        return help_all();
    for (uint32_t i = 0; count == 1 && i < command_count; i++) {
        if (!command_about(&commands[i], words[0]))
            continue;
        if (strcmp(commands[i].name, words[0]) == 0)
            return help_command(&commands[i]);
        print_command(&commands[i]);
        listed++;
    }
    if (listed > 0)
        return STATUS_DONE;
    const struct command *command = command_find(words, count, &named);
    return command == NULL ? STATUS_USAGE : help_command(command);
}

enum status help(const struct options *options, char **arguments) {
    return help_about(arguments, options->word_count - 1);
}
