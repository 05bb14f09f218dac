#include "command.h"

#include <string.h>

#define ACTION    (OPT_BIT(OPT_REASON) | OPT_BIT(OPT_ACTOR))
#define CONFIRMED (ACTION | OPT_BIT(OPT_YES))
#define PAGES     (OPT_BIT(OPT_LIMIT) | OPT_BIT(OPT_AFTER))
#define TX_LIST   (PAGES | OPT_BIT(OPT_STATE) | OPT_BIT(OPT_PARKED) | OPT_BIT(OPT_NAME) | OPT_BIT(OPT_OLDER))
#define JOB_LIST  (PAGES | OPT_BIT(OPT_STATE) | OPT_BIT(OPT_HANDLER) | OPT_BIT(OPT_ALL))
#define REDRIVE                                                                                                        \
    (OPT_BIT(OPT_HANDLER) | OPT_BIT(OPT_ERROR) | OPT_BIT(OPT_AFTER) | OPT_BIT(OPT_UPTO) | OPT_BIT(OPT_MOST) |          \
     OPT_BIT(OPT_RATE) | CONFIRMED)
#define HELD_SETTLE (CONFIRMED | OPT_BIT(OPT_WITHOUT_LOG))
#define CASE_LIST   (PAGES | OPT_BIT(OPT_STATE))
#define AUDIT_LIST  (PAGES | OPT_BIT(OPT_SUBJECT))

const struct command commands[] = {
    {"tx list", "", "transactions that have not ended, oldest first", TX_LIST, 0, 0, tx_list},
    {"tx show", "GID|KEY", "one transaction: its branches, case and audit lines", 0, 1, 0, tx_show},
    {"tx retry", "GID|KEY", "look at it again at once", ACTION, 1, 0, tx_retry},
    {"tx park", "GID|KEY", "try it only rarely from now on, and open a case", ACTION, 1, 0, tx_park},
    {"tx unpark", "GID|KEY", "try it at once and as often as others; close its case", ACTION, 1, 0, tx_unpark},
    {"tx resolve", "GID|KEY", "declare a parked one ended: a person did what was left", CONFIRMED, 1, 0, tx_resolve},
    {"job list", "", "jobs of the databases given, by number", JOB_LIST, 0, 0, job_list},
    {"job show", "[NAME/]ID", "one job: its payload, bad attempts and audit lines", 0, 1, 0, job_show},
    {"job retry", "[NAME/]ID", "make it due now, counted from 0 again", ACTION, 1, 0, job_retry},
    {"job cancel", "[NAME/]ID", "take it away for good", CONFIRMED, 1, 0, job_cancel},
    {"job redrive", "--handler HANDLER", "give its dead jobs another life", REDRIVE, 0, 0, job_redrive},
    {"handler list", "", "what jobs wait for: how many, and what is paused", 0, 0, 0, handler_list},
    {"handler pause", "[NAME/]HANDLER", "begin no attempt of it any more", ACTION, 1, 0, handler_pause},
    {"handler resume", "[NAME/]HANDLER", "let it go on", ACTION, 1, 0, handler_resume},
    {"cron list", "", "schedules, and when each fires next", 0, 0, 0, cron_list},
    {"cron next", "WHEN", "when a text such as '30 2 * * *' would fire", OPT_BIT(OPT_ZONE) | OPT_BIT(OPT_TIMES), 1, 0,
     cron_next},
    {"topic list", "", "topics, and the messages they keep", 0, 0, 0, topic_list},
    {"group list", "", "consumer groups, and how far behind each is", 0, 0, 0, group_list},
    {"group remove", "[NAME/]TOPIC/GROUP", "forget a group and what it has not consumed", CONFIRMED, 1, 0,
     group_remove},
    {"half list", "", "half messages that are not resolved", PAGES, 0, 0, half_list},
    {"half show", "HANDLE", "one half message: its case and audit lines", 0, 1, 0, half_show},
    {"half commit", "HANDLE", "its local transaction committed: let it be visible", CONFIRMED, 1, 0, half_commit},
    {"half rollback", "HANDLE", "it did not, and never will: forget it", CONFIRMED, 1, 0, half_rollback},
    {"held list", "", "messages that branches hold until the decision", PAGES, 0, 0, held_list},
    {"held commit", "GID", "it has ended committed: let what is held be visible", HELD_SETTLE, 1, 0, held_commit},
    {"held rollback", "GID", "it has ended otherwise: forget what is held", HELD_SETTLE, 1, 0, held_rollback},
    {"case list", "", "what waits for a person", CASE_LIST, 0, 0, case_list},
    {"case show", "[NAME/]ID", "one case with its evidence and notes", 0, 1, 0, case_show},
    {"case note", "[NAME/]ID TEXT", "leave a note for whoever comes next", OPT_BIT(OPT_ACTOR), 2, 0, case_note},
    {"case assign", "[NAME/]ID PERSON", "say who looks after it", ACTION, 2, 0, case_assign},
    {"audit list", "", "who did what and why; the latest lines", AUDIT_LIST, 0, 0, audit_list},
    {"audit verify", "", "recompute the chain of hashes", OPT_BIT(OPT_HEAD), 0, 0, audit_verify},
    {"doctor", "", "look for what is wrong, and say what to do", OPT_BIT(OPT_DEEP), 0, 0, doctor},
    {"stats", "", "how many of what there are", 0, 0, 0, stats},
    {"completion", "bash|zsh", "print the shell's completion script", 0, 1, 0, completion},
    {"help", "[COMMAND]", "this, or help for one command", 0, 2, 2, help},
};
const uint32_t command_count = sizeof commands / sizeof commands[0];

int command_about(const struct command *command, const char *noun) {
    size_t length = strlen(noun);
    return strncmp(command->name, noun, length) == 0 && (command->name[length] == ' ' || command->name[length] == '\0');
}

static const struct command *no_verb(const char *noun, const char *verb) {
    if (verb == NULL)
        status_say("'%s' needs to know what; 'cdtx help %s' lists it", noun, noun);
    else
        status_say("unknown command '%s %s'; 'cdtx help %s' lists what there is", noun, verb, noun);
    return NULL;
}

const struct command *command_find(char **words, int count, int *named) {
    const char *noun = count > 0 ? words[0] : NULL, *verb = count > 1 ? words[1] : NULL;
    int known = 0;
    if (noun == NULL) {
        status_say("no command; 'cdtx help' lists them");
        return NULL;
    }
    for (uint32_t i = 0; i < command_count; i++) {
        if (!command_about(&commands[i], noun))
            continue;
        known = 1;
        const char *own = strchr(commands[i].name, ' ');
        if (own != NULL && (verb == NULL || strcmp(own + 1, verb) != 0))
            continue;
        *named = own == NULL ? 1 : 2;
        return &commands[i];
    }
    if (known)
        return no_verb(noun, verb);
    status_say("unknown command '%s'; 'cdtx help' lists them", noun);
    return NULL;
}

enum status command_check(const struct command *command, const struct options *options, int arguments) {
    uint32_t wrong = options->given & ~(command->options | OPT_EVERYWHERE);
    for (int id = 0; id < OPT_COUNT; id++)
        if ((wrong & OPT_BIT(id)) != 0)
            return status_usage("--%s is not for '%s'", option_texts[id].name, command->name);
    if (arguments < command->words - command->optional)
        return status_usage("'%s' needs %s", command->name, command->arguments);
    if (arguments > command->words)
        return status_usage("'%s': '%s' is too much", command->name,
                            options->words[options->word_count - arguments + command->words]);
    if ((command->options & OPT_BIT(OPT_REASON)) != 0 && !options_have(options, OPT_REASON))
        return status_usage("'%s' needs --reason TEXT, which is kept in the audit chain", command->name);
    return STATUS_DONE;
}
