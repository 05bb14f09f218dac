#include "act.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "json.h"

const char *act_actor(const struct options *options) {
    static char name[CDTX_NAME_MAX + 1];
    if (options_have(options, OPT_ACTOR))
        return options->values[OPT_ACTOR];
    if (getlogin_r(name, sizeof name) == 0 && name[0] != '\0')
        return name;
    const struct passwd *user = getpwuid(getuid());
    if (user != NULL)
        (void)snprintf(name, sizeof name, "%s", user->pw_name);
    else
        (void)snprintf(name, sizeof name, "uid %lu", (unsigned long)getuid());
    return name;
}

enum status act_can_confirm(const struct options *options) {
    if (options_have(options, OPT_YES) || (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)))
        return STATUS_DONE;
    return status_usage("this asks for confirmation, and there is no terminal: say --yes");
}

enum status act_confirm(const struct options *options, const char *question) {
    char answer[16] = "";
    if (options_have(options, OPT_YES))
        return STATUS_DONE;
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s [y/N] ", question);
    if (fgets(answer, sizeof answer, stdin) == NULL || (strcmp(answer, "y\n") != 0 && strcmp(answer, "yes\n") != 0)) {
        status_say("nothing was done");
        return STATUS_NO;
    }
    return STATUS_DONE;
}

enum status act_look_first(const struct options *options, const struct which *which, show_fn show, const void *user,
                           const char *question) {
    struct session session;
    cdtx_db *db = NULL;
    enum status status = act_can_confirm(options);
    if (status != STATUS_DONE || options_have(options, OPT_YES))
        return status;
    status = session_look(&session, options, 0);
    if (status == STATUS_DONE)
        status = which_find(&session, which, &db);
    if (status == STATUS_DONE)
        status = show(db, options, user);
    if (status == STATUS_DONE)
        status = act_confirm(options, question);
    session_close(&session);
    return status;
}

static struct json_object *json_done(const char *what, const char *subject) {
    struct json_object *document = json_new_object();
    json_put_text(document, "done", what);
    json_put_text(document, "subject", subject);
    return document;
}

void act_done(const struct options *options, const char *what, const char *subject, const char *sentence) {
    if (options_have(options, OPT_JSON))
        json_print(json_done(what, subject));
    else
        (void)printf("%s: %s\n", subject, sentence);
}

void act_done_many(const struct options *options, const char *what, const char *subject, int64_t count,
                   const char *sentence) {
    if (options_have(options, OPT_JSON)) {
        struct json_object *document = json_done(what, subject);
        json_put_number(document, "count", count);
        json_print(document);
        return;
    }
    (void)printf("%s: %" PRId64 " %s\n", subject, count, sentence);
}
