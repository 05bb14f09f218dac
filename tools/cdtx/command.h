/* The commands: what each takes, who does it. Help and completion are made from the same table. */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include "options.h"

struct command {
    const char *name;      /* "tx list": noun and verb; or the noun alone */
    const char *arguments; /* for people: "GID|KEY" */
    const char *summary;
    uint32_t options; /* OPT_BIT of those it takes, besides those of every command */
    int32_t words;    /* how many arguments it takes */
    int32_t optional; /* and how many of them may be left out */
    enum status (*run)(const struct options *options, char **arguments);
};
extern const struct command commands[];
extern const uint32_t command_count;

/* What the words ask for, and how many of them are its name; else prints what is wrong with them, and NULL. */
const struct command *command_find(char **words, int count, int *named);
/* Whether the options and the number of arguments are right for it. */
enum status command_check(const struct command *command, const struct options *options, int arguments);

/* Whether it is a command about that noun. */
int command_about(const struct command *command, const char *noun);
/* Help on the whole, on a noun or on a command, as the words say. */
enum status help_about(char **words, int count);

/* Each in the file of its noun. */
enum status tx_list(const struct options *options, char **arguments);
enum status tx_show(const struct options *options, char **arguments);
enum status tx_retry(const struct options *options, char **arguments);
enum status tx_park(const struct options *options, char **arguments);
enum status tx_unpark(const struct options *options, char **arguments);
enum status tx_resolve(const struct options *options, char **arguments);
enum status job_list(const struct options *options, char **arguments);
enum status job_show(const struct options *options, char **arguments);
enum status job_retry(const struct options *options, char **arguments);
enum status job_cancel(const struct options *options, char **arguments);
enum status job_redrive(const struct options *options, char **arguments);
enum status handler_list(const struct options *options, char **arguments);
enum status handler_pause(const struct options *options, char **arguments);
enum status handler_resume(const struct options *options, char **arguments);
enum status cron_list(const struct options *options, char **arguments);
enum status cron_next(const struct options *options, char **arguments);
enum status topic_list(const struct options *options, char **arguments);
enum status group_list(const struct options *options, char **arguments);
enum status group_remove(const struct options *options, char **arguments);
enum status half_list(const struct options *options, char **arguments);
enum status half_show(const struct options *options, char **arguments);
enum status half_commit(const struct options *options, char **arguments);
enum status half_rollback(const struct options *options, char **arguments);
enum status held_list(const struct options *options, char **arguments);
enum status held_commit(const struct options *options, char **arguments);
enum status held_rollback(const struct options *options, char **arguments);
enum status case_list(const struct options *options, char **arguments);
enum status case_show(const struct options *options, char **arguments);
enum status case_note(const struct options *options, char **arguments);
enum status case_assign(const struct options *options, char **arguments);
enum status audit_list(const struct options *options, char **arguments);
enum status audit_verify(const struct options *options, char **arguments);
enum status doctor(const struct options *options, char **arguments);
enum status stats(const struct options *options, char **arguments);
enum status completion(const struct options *options, char **arguments);
enum status help(const struct options *options, char **arguments);

#endif
