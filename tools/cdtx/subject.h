/* What people and the engine have said about one thing: its lines in the audit chain, its open case and the notes. */
#ifndef TOOLS_SUBJECT_H
#define TOOLS_SUBJECT_H

#include "listing.h"
#include "session.h"

struct subject {
    cdtx_report *open_case; /* on its row; NULL: there is none */
    const char *database;   /* where the case is */
    struct listing audit;   /* about the thing itself */
    struct listing notes;   /* about its case */
};

/* case.c */
extern const struct view case_view;

/* The lines of kind ("tx", "job") and name in db's chain. */
int32_t subject_read(struct subject *subject, cdtx_db *db, const struct options *options, const char *kind,
                     const char *name, cdtx_error *err);
/* Those about a case, as its notes. */
int32_t subject_read_notes(struct subject *subject, cdtx_db *db, const struct options *options, int64_t id,
                           cdtx_error *err);
/* The open case about it in that database of the session, if there is one, with its notes. */
int32_t subject_read_case(struct subject *subject, const struct session_database *database,
                          const struct options *options, const char *kind, const char *name, cdtx_error *err);
void subject_print(const struct subject *subject);
/* Puts "audit" and, as far as they were read, "case" and "notes". */
void subject_put(struct subject *subject, struct json_object *document);
void subject_free(struct subject *subject);

#endif
