/* What every SQL adapter must do, whatever the database. An adapter's tests add this case to their suite. */
#ifndef TESTS_ADAPTER_CONFORMANCE_H
#define TESTS_ADAPTER_CONFORMANCE_H

#include <check.h>

#include "port/sql.h"

struct conformance {
    const cdtx_sql_port *port;
    const cdtx_env *env;
    /* Writes the URL of a new, empty database; each test asks once. */
    void (*fresh)(char *url, size_t size);
    /* A table t with k (integer, primary key), i (64 bits), r (double), s (text), b (bytes). */
    const char *create_t;
    /* A table child with k (primary key) and t, referencing t(k), INITIALLY DEFERRED; NULL: none such here. */
    const char *create_child;
};

/* target must outlive the run. */
TCase *conformance_tcase(const struct conformance *target);

#endif
