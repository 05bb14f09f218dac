/* Reading statements by their text: marks, quotes, comments, and what a host's statement may not do. */
#include <stdio.h>
#include <strings.h>

#include "adapter/lent.h"

enum { ARGUMENTS_MAX = 32766 };

enum kind { END, WORD, QUOTED, MARK, SEMICOLON, OTHER };

struct token {
    enum kind kind;
    const char *at;
    size_t length;
};

static int is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           (unsigned char)c >= 0x80;
}

static const char *past_line(const char *at) {
    return at + strcspn(at, "\n");
}

static const char *past_comment(const char *at) {
    const char *end = strstr(at + 2, "*/");
    return end == NULL ? at + strlen(at) : end + 2;
}

static const char *past_blank(const char *at) {
    for (;;) {
        at += strspn(at, " \t\r\n\f");
        if (at[0] == '-' && at[1] == '-')
            at = past_line(at);
        else if (at[0] == '/' && at[1] == '*')
            at = past_comment(at);
        else
            return at;
    }
}

/* A doubled quote is two quoted pieces side by side, which is as good. */
static const char *past_quoted(const char *at) {
    char close = *at == '[' ? ']' : *at;
    const char *end = strchr(at + 1, close);
    return end == NULL ? at + strlen(at) : end + 1;
}

static struct token next_token(const char *from) {
    struct token token = {.at = past_blank(from)};
    const char *end = token.at;
    char c = *end;
    if (c == '\0') {
        token.kind = END;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
        token.kind = QUOTED;
        end = past_quoted(end);
    } else if (c == '?') {
        token.kind = MARK;
        end += 1 + strspn(end + 1, "0123456789");
    } else if (is_word(c)) {
        token.kind = WORD;
        while (is_word(*end))
            end++;
    } else {
        token.kind = c == ';' ? SEMICOLON : OTHER;
        end++;
    }
    token.length = (size_t)(end - token.at);
    return token;
}

static struct token after(const struct token *token) {
    return next_token(token->at + token->length);
}

static int is(const struct token *token, const char *word) {
    return token->kind == WORD && token->length == strlen(word) && strncasecmp(token->at, word, token->length) == 0;
}

static int is_one_of(const struct token *token, const char *const *words) {
    for (; *words != NULL; words++)
        if (is(token, *words))
            return 1;
    return 0;
}

/* ---- what a host's statement may not do ---- */

static const char *const reading[] = {"SELECT", "VALUES", "EXPLAIN", "PRAGMA", NULL};
static const char *const counting[] = {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", NULL};
static const char *const refused[] = {"BEGIN",  "START",  "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE",
                                      "ATTACH", "DETACH", "PRAGMA", "SET", "VACUUM",   NULL};

static int names_ours(const struct token *token) {
    static const char prefix[] = "cdtx_";
    size_t skip = token->kind == QUOTED ? 1 : 0;
    return (token->kind == WORD || token->kind == QUOTED) && token->length >= skip + sizeof prefix - 1 &&
           strncasecmp(token->at + skip, prefix, sizeof prefix - 1) == 0;
}

/* The body of a trigger has statements of its own. */
static int makes_trigger(const struct token *first) {
    if (!is(first, "CREATE"))
        return 0;
    struct token second = after(first), third = after(&second);
    return is(&second, "TRIGGER") || is(&third, "TRIGGER");
}

static int32_t allowed(const struct lent_statement *statement, const struct token *first, cdtx_error *err) {
    if (is_one_of(first, refused))
        return cdtx__fail(err, CDTX_MISUSE,
                          "%.*s is not allowed in a statement: the transaction and its settings are %s",
                          (int)first->length, first->at, "not its own");
    int many = makes_trigger(first), ended = 0;
    for (struct token token = *first; token.kind != END; token = after(&token)) {
        if (!statement->reads && names_ours(&token))
            return cdtx__fail(
                err, CDTX_MISUSE,
                "a statement that writes may not name %.*s: such names are the library's own; bind a text "
                "that begins so as an argument",
                (int)(token.length > 100 ? 100 : token.length), token.at);
        if (ended && !many && token.kind != SEMICOLON)
            return cdtx__fail(err, CDTX_MISUSE, "more than one statement in one text; run them one by one");
        ended |= token.kind == SEMICOLON;
    }
    return 0;
}

/* ---- marks ---- */

/* As SQLite counts: a mark without a number is one more than the highest so far. 0: too high. */
static uint32_t number_of(const struct token *mark, uint32_t highest) {
    if (mark->length == 1)
        return highest < ARGUMENTS_MAX ? highest + 1 : 0;
    uint32_t number = 0;
    for (size_t i = 1; i < mark->length && number <= ARGUMENTS_MAX; i++)
        number = number * 10 + (uint32_t)(mark->at[i] - '0');
    return number <= ARGUMENTS_MAX ? number : 0;
}

int32_t cdtx__lent_read(const char *text, int ours, struct lent_statement *statement, cdtx_error *err) {
    *statement = (struct lent_statement){.text = text};
    struct token first = next_token(text);
    while (first.kind == SEMICOLON)
        first = after(&first);
    if (first.kind == END)
        return cdtx__fail(err, CDTX_SQL, "the statement is empty");
    statement->reads = is_one_of(&first, reading);
    statement->counts = is_one_of(&first, counting);
    int32_t rc = ours ? 0 : allowed(statement, &first, err);
    for (struct token token = first; rc == 0 && token.kind != END; token = after(&token)) {
        if (token.kind != MARK)
            continue;
        uint32_t number = number_of(&token, statement->arguments);
        if (number == 0)
            rc = cdtx__fail(err, CDTX_LIMIT, "the mark %.*s is not from ?1 to ?%d",
                            (int)(token.length > 20 ? 20 : token.length), token.at, ARGUMENTS_MAX);
        statement->marks++;
        statement->numbered |= token.length > 1;
        if (number > statement->arguments)
            statement->arguments = number;
    }
    return rc;
}

int cdtx__lent_fits(const struct lent_statement *statement, int32_t parameters) {
    if (parameters == CDTX_PARAMETERS_FORMAT)
        return statement->marks == 0 && strchr(statement->text, '%') == NULL;
    return statement->marks == 0 || (parameters == CDTX_PARAMETERS_QUESTION && !statement->numbered);
}

static void copy(struct buf *out, const char *from, const char *to, int32_t parameters) {
    for (; parameters == CDTX_PARAMETERS_FORMAT && from < to; from++) {
        cdtx__buf_bytes(out, from, 1);
        if (*from == '%')
            cdtx__buf_u8(out, '%');
    }
    cdtx__buf_bytes(out, from, (size_t)(to - from));
}

static void put_mark(struct buf *out, int32_t parameters, uint32_t number) {
    static const char *const marks[] = {
        [CDTX_PARAMETERS_QUESTION] = "?", [CDTX_PARAMETERS_NUMBERED] = "?", [CDTX_PARAMETERS_DOLLAR] = "$",
        [CDTX_PARAMETERS_FORMAT] = "%s",  [CDTX_PARAMETERS_COLON] = ":",
    };
    cdtx__buf_bytes(out, marks[parameters], strlen(marks[parameters]));
    if (parameters == CDTX_PARAMETERS_QUESTION || parameters == CDTX_PARAMETERS_FORMAT)
        return;
    char text[16];
    snprintf(text, sizeof text, "%u", number);
    cdtx__buf_bytes(out, text, strlen(text));
}

void cdtx__lent_rewrite(const struct lent_statement *statement, int32_t parameters, struct buf *out, uint32_t *order) {
    const char *done = statement->text;
    uint32_t highest = 0, marks = 0;
    for (struct token token = next_token(done); token.kind != END; token = after(&token)) {
        if (token.kind != MARK)
            continue;
        uint32_t number = number_of(&token, highest);
        highest = number > highest ? number : highest;
        copy(out, done, token.at, parameters);
        put_mark(out, parameters, number);
        order[marks++] = number - 1;
        done = token.at + token.length;
    }
    copy(out, done, done + strlen(done), parameters);
    cdtx__buf_u8(out, 0);
}
