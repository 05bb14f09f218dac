#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

const struct option_text option_texts[OPT_COUNT] = {
    [OPT_LOG] = {"log", "URL", "the database with the log; default $CDTX_LOG"},
    [OPT_DB] = {"db", "NAME=URL", "a participant's or job's database; may be repeated"},
    [OPT_JSON] = {"json", NULL, "one JSON document instead of a table"},
    [OPT_HELP] = {"help", NULL, "help for the command"},
    [OPT_VERSION] = {"version", NULL, "the version"},
    [OPT_STATE] = {"state", "STATE", "only those in that state"},
    [OPT_PARKED] = {"parked", NULL, "only parked ones"},
    [OPT_NAME] = {"name", "NAME", "only those of that name"},
    [OPT_HANDLER] = {"handler", "HANDLER", "only those of that handler"},
    [OPT_OLDER] = {"older", "TIME", "only those begun at least so long ago: 30s, 5m, 2h, 1d"},
    [OPT_LIMIT] = {"limit", "N", "at most so many rows; default 100"},
    [OPT_AFTER] = {"after", "ID", "read on behind that row"},
    [OPT_SUBJECT] = {"subject", "SUBJECT", "only about 'tx GID', 'job ID', 'handler NAME' or the like"},
    [OPT_HEAD] = {"head", "LINE:HASH", "the last line as kept elsewhere: it must still be there"},
    [OPT_DEEP] = {"deep", NULL, "also read every page of the files"},
    [OPT_REASON] = {"reason", "TEXT", "why; kept in the audit chain; required"},
    [OPT_ACTOR] = {"actor", "NAME", "who; default the login name"},
    [OPT_YES] = {"yes", NULL, "do not ask for confirmation"},
    [OPT_ERROR] = {"error", "TEXT", "only those whose last error contains it"},
    [OPT_UPTO] = {"upto", "N", "only those up to that number"},
    [OPT_MOST] = {"most", "N", "at most so many; default all"},
    [OPT_RATE] = {"rate", "N", "due one after the other, so many a second; default all at once"},
    [OPT_ZONE] = {"zone", "ZONE", "the time zone, such as Europe/Berlin; default UTC"},
    [OPT_TIMES] = {"count", "N", "so many; default 5"},
    [OPT_WITHOUT_LOG] = {"without-log", NULL, "the gid's log is lost or has forgotten it; nothing is checked"},
    [OPT_ALL] = {"all", NULL, "also the library's own, which schedules and topics live by"},
};

static enum status read_database(struct options *options, char *text) {
    const char *url = strchr(text, '=');
    if (url == NULL || url == text || url[1] == '\0')
        return status_usage("--db '%s' is not NAME=URL", text);
    if (options->database_count == DATABASES_MAX)
        return status_usage("more than %d databases", DATABASES_MAX);
    size_t length = (size_t)(url - text);
    if (length == 3 && strncmp(text, "log", 3) == 0)
        return status_usage("the database named 'log' is the one with the log: --log %s", url + 1);
    for (uint32_t i = 0; i < options->database_count; i++)
        if (strncmp(options->databases[i].name, text, length) == 0 && options->databases[i].name[length] == '\0')
            return status_usage("two databases are named '%s'", options->databases[i].name);
    char *name = status_memory(NULL, length + 1);
    memcpy(name, text, length);
    name[length] = '\0';
    options->databases[options->database_count++] = (struct database_option){name, url + 1};
    return STATUS_DONE;
}

enum status options_number(const char *text, const char *what, int64_t *number) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    /* strtoll would take blanks and signs. */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < 1)
        return status_usage("%s '%s' is not a number above 0", what, text);
    *number = value;
    return STATUS_DONE;
}

static enum status read_limit(struct options *options, const char *text) {
    int64_t number = 0;
    enum status status = options_number(text, "--limit", &number);
    if (status != STATUS_DONE)
        return status;
    if (number >= INT32_MAX)
        return status_usage("--limit %s is too large", text);
    options->limit = (uint32_t)number;
    return STATUS_DONE;
}

static enum status read_older(struct options *options, const char *text) {
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && errno == 0)
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
            if (strcmp(end, units[i].unit) == 0 && value <= CDTX_TIME_MAX_MS / units[i].ms) {
                options->older_ms = value * units[i].ms;
                return STATUS_DONE;
            }
    return status_usage("--older '%s' is not a time like 30s, 5m, 2h or 1d, at most ten years", text);
}

static enum status take(struct options *options, enum option_id id, char *value) {
    int again = options_have(options, id);
    options->given |= OPT_BIT(id);
    options->values[id] = value;
    if (id == OPT_DB)
        return read_database(options, value);
    if (again && value != NULL)
        return status_usage("--%s is given twice", option_texts[id].name);
    if (id == OPT_LIMIT)
        return read_limit(options, value);
    if (id == OPT_OLDER)
        return read_older(options, value);
    return STATUS_DONE;
}

static enum status complain(char **argv, int result) {
    if (result == ':')
        return status_usage("option '%s' needs a value", argv[optind - 1]);
    if (optopt >= 256 && optopt < OPT_COUNT + 256)
        return status_usage("option '--%s' takes no value", option_texts[optopt - 256].name);
    if (optopt != 0)
        return status_usage("unknown option '-%c'; 'cdtx help' lists them", optopt);
    return status_usage("unknown option '%s'; 'cdtx help' lists them", argv[optind - 1]);
}

enum status options_read(struct options *options, int argc, char **argv) {
    struct option known[OPT_COUNT + 1];
    memset(known, 0, sizeof known);
    /* Beyond all characters: getopt answers those of unknown short options. */
    for (int i = 0; i < OPT_COUNT; i++) {
        known[i].name = option_texts[i].name;
        known[i].has_arg = option_texts[i].argument != NULL ? required_argument : no_argument;
        known[i].val = 256 + i;
    }
    *options = (struct options){.limit = ROWS_DEFAULT};
    opterr = 0;
    enum status status = STATUS_DONE;
    for (int got = 0; status == STATUS_DONE;) {
        got = getopt_long(argc, argv, ":h", known, NULL);
        if (got == -1)
            break;
        if (got == 'h')
            status = take(options, OPT_HELP, NULL);
        else if (got >= 256)
            status = take(options, (enum option_id)(got - 256), optarg);
        else
            status = complain(argv, got);
    }
    options->log = options_have(options, OPT_LOG) ? options->values[OPT_LOG] : getenv("CDTX_LOG");
    if (options->log != NULL && options->log[0] == '\0')
        options->log = NULL;
    options->words = argv + optind;
    options->word_count = argc - optind;
    return status;
}

void options_free(struct options *options) {
    for (uint32_t i = 0; i < options->database_count; i++)
        free(options->databases[i].name);
}
