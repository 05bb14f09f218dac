/* cdtx completion: scripts for shells, made from the tables of commands and options. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "view.h"

static int noun_length(uint32_t command) {
    const char *blank = strchr(commands[command].name, ' ');
    return blank != NULL ? (int)(blank - commands[command].name) : (int)strlen(commands[command].name);
}

/* The commands of a noun stand together in the table. */
static int is_first_of_noun(uint32_t command) {
    int length = noun_length(command);
    return command == 0 || noun_length(command - 1) != length ||
           strncmp(commands[command - 1].name, commands[command].name, (size_t)length) != 0;
}

static void print_nouns(const char *between) {
    for (uint32_t i = 0; i < command_count; i++)
        if (is_first_of_noun(i))
            (void)printf("%s%.*s", i > 0 ? between : "", noun_length(i), commands[i].name);
}

/* Each once, also where several nouns have it. */
static void print_verbs(const char *between) {
    const char *before = "";
    for (uint32_t i = 0; i < command_count; i++) {
        const char *verb = strchr(commands[i].name, ' ');
        int known = verb == NULL;
        for (uint32_t j = 0; j < i && !known; j++) {
            const char *other = strchr(commands[j].name, ' ');
            known = other != NULL && strcmp(other, verb) == 0;
        }
        if (!known) {
            (void)printf("%s%s", before, verb + 1);
            before = between;
        }
    }
}

static void print_options(uint32_t wanted) {
    const char *before = "";
    for (int id = 0; id < OPT_COUNT; id++)
        if ((wanted & OPT_BIT(id)) != 0) {
            (void)printf("%s--%s", before, option_texts[id].name);
            before = " ";
        }
}

/* Patterns of a case: options with a value. */
static void print_with_value(void) {
    const char *before = "";
    for (int id = 0; id < OPT_COUNT; id++)
        if (option_texts[id].argument != NULL) {
            (void)printf("%s--%s", before, option_texts[id].name);
            before = " | ";
        }
}

static void print_states(const char *noun, enum look look) {
    const char *before = "", *state;
    (void)printf("        %s) list='", noun);
    for (int64_t i = 1; (state = view_state(look, i)) != NULL; i++) {
        (void)printf("%s%s", before, state);
        before = " ";
    }
    (void)printf("' ;;\n");
}

/* What may follow, as statements that both shells read: from noun, verb, before and word to list. */
static void print_choice(void) {
    (void)printf("    case $before in\n    --state)\n        case $noun in\n");
    print_states("tx", LOOK_TX_STATE);
    print_states("job", LOOK_JOB_STATE);
    print_states("case", LOOK_CASE_STATE);
    (void)printf("        esac ;;\n    --log | --db) list='sqlite:' ;;\n    ");
    print_with_value();
    (void)printf(") ;;\n    *)\n        case \"$word:$noun:$verb\" in\n");
    for (uint32_t i = 0; i < command_count; i++) {
        const char *verb = strchr(commands[i].name, ' ');
        (void)printf("        -*:%.*s:%s) list='", noun_length(i), commands[i].name, verb != NULL ? verb + 1 : "*");
        print_options(commands[i].options | OPT_EVERYWHERE);
        (void)printf("' ;;\n");
    }
    (void)printf("        -*) list='");
    print_options(OPT_EVERYWHERE);
    (void)printf("' ;;\n        *:completion:) list='bash zsh' ;;\n        *::*) list='");
    print_nouns(" ");
    (void)printf("' ;;\n");
    for (uint32_t i = 0; i < command_count; i++) {
        if (!is_first_of_noun(i) || commands[i].name[noun_length(i)] == '\0')
            continue;
        (void)printf("        *:%.*s:) list='", noun_length(i), commands[i].name);
        for (uint32_t j = i; j < command_count && (j == i || !is_first_of_noun(j)); j++)
            (void)printf("%s%s", j > i ? " " : "", commands[j].name + noun_length(j) + 1);
        (void)printf("' ;;\n");
    }
    (void)printf("        esac ;;\n    esac\n");
}

/* Finds noun and verb among the words before the cursor. Only known ones: bash breaks URLs at their colons. `help` is
 * passed over, since what may follow it are commands too. words is the shell's array, first its first word after the
 * command. */
static void print_walk(const char *words, int first, const char *cursor) {
    (void)printf("    for ((i = %d; i < %s; i++)); do\n        case ${%s[i]} in\n        ", first, cursor, words);
    print_with_value();
    (void)printf(") ((i++)) ;;\n        help) ;;\n        ");
    print_nouns(" | ");
    (void)printf(") if [ -z \"$noun\" ]; then noun=${%s[i]}; fi ;;\n        ", words);
    print_verbs(" | ");
    (void)printf(") if [ -n \"$noun\" ] && [ -z \"$verb\" ]; then verb=${%s[i]}; fi ;;\n        esac\n    done\n",
                 words);
}

static void print_bash(void) {
    (void)printf(
        "# bash completion for cdtx\n_cdtx() {\n"
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} noun='' verb='' list='' i\n");
    print_walk("COMP_WORDS", 1, "COMP_CWORD");
    print_choice();
    (void)printf(
        "    mapfile -t COMPREPLY < <(compgen -W \"$list\" -- \"$word\")\n}\ncomplete -o default -F _cdtx cdtx\n");
}

static void print_zsh(void) {
    (void)printf("#compdef cdtx\n_cdtx() {\n"
                 "    local word=${words[CURRENT]} before=${words[CURRENT-1]} noun='' verb='' list='' i\n");
    print_walk("words", 2, "CURRENT");
    print_choice();
    (void)printf("    if [ -n \"$list\" ]; then compadd -- ${=list}; else _files; fi\n}\n"
                 "if [ \"$funcstack[1]\" = _cdtx ]; then _cdtx \"$@\"; else compdef _cdtx cdtx; fi\n");
}

enum status completion(const struct options *options, char **arguments) {
    (void)options;
    if (strcmp(arguments[0], "bash") == 0)
        print_bash();
    else if (strcmp(arguments[0], "zsh") == 0)
        print_zsh();
    else
        return status_usage("no completion for '%s'; there is bash and zsh", arguments[0]);
    return STATUS_DONE;
}
