/* The command line taken apart. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include "status.h"

enum { DATABASES_MAX = 32, ROWS_DEFAULT = 100 };

enum option_id {
    OPT_LOG,
    OPT_DB,
    OPT_JSON,
    OPT_HELP,
    OPT_VERSION,
    OPT_STATE,
    OPT_PARKED,
    OPT_NAME,
    OPT_HANDLER,
    OPT_OLDER,
    OPT_LIMIT,
    OPT_AFTER,
    OPT_SUBJECT,
    OPT_HEAD,
    OPT_DEEP,
    OPT_REASON,
    OPT_ACTOR,
    OPT_YES,
    OPT_ERROR,
    OPT_UPTO,
    OPT_MOST,
    OPT_RATE,
    OPT_ZONE,
    OPT_TIMES,
    OPT_WITHOUT_LOG,
    OPT_ALL,
    OPT_COUNT
};
#define OPT_BIT(id) (UINT32_C(1) << (id))
/* Those that every command takes. */
#define OPT_EVERYWHERE                                                                                                 \
    (OPT_BIT(OPT_LOG) | OPT_BIT(OPT_DB) | OPT_BIT(OPT_JSON) | OPT_BIT(OPT_HELP) | OPT_BIT(OPT_VERSION))

struct option_text {
    const char *name;     /* without the two dashes */
    const char *argument; /* what stands for its value in help; NULL: it takes none */
    const char *help;
};
extern const struct option_text option_texts[OPT_COUNT];

struct database_option {
    char *name;
    const char *url;
};

struct options {
    uint32_t given; /* OPT_BIT of each */
    const char *log;
    struct database_option databases[DATABASES_MAX];
    uint32_t database_count;
    uint32_t limit;
    int64_t older_ms;
    const char *values[OPT_COUNT]; /* as written */
    char **words;                  /* what is not an option, in order */
    int word_count;
};

/* Borrows argv, whose words it may put in another order. Prints what is wrong with it. */
enum status options_read(struct options *options, int argc, char **argv);
void options_free(struct options *options);
/* A whole number above 0; what names it. */
enum status options_number(const char *text, const char *what, int64_t *number);

static inline int options_have(const struct options *options, enum option_id id) {
    return (options->given & OPT_BIT(id)) != 0;
}

#endif
