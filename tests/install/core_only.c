/* Uses the engine and no pattern: links with cdtx-core alone. Prints the version of the library. */
#include <cdtx/cdtx.h>

#include <stdio.h>

static int32_t write_rows(cdtx_sql *sql, void *user, cdtx_error *err) {
    (void)user;
    int32_t code = cdtx_sql_exec(sql, "CREATE TABLE note (text TEXT NOT NULL)", NULL, err);
    if (code != 0)
        return code;
    cdtx_sql_bind_text(sql, "installed", 9);
    return cdtx_sql_exec(sql, "INSERT INTO note VALUES (?)", NULL, err);
}

static int32_t count_rows(cdtx_sql *sql, void *user, cdtx_error *err) {
    int32_t code = cdtx_sql_query(sql, "SELECT count(*) FROM note WHERE text = 'installed'", err);
    if (code == 0 && cdtx_sql_next(sql))
        *(int64_t *)user = cdtx_sql_int(sql, 0);
    return code;
}

int main(void) {
    cdtx_options options = {.size = sizeof options, .log = "sqlite:log.db"};
    cdtx *engine = NULL;
    cdtx_db *db = NULL;
    cdtx_error err;
    int64_t rows = 0;
    int status = 1;
    if (cdtx_open(&options, &engine, &err) != 0 || cdtx_db_log(engine, &db, &err) != 0 ||
        cdtx_local(db, write_rows, NULL, &err) != 0 || cdtx_local(db, count_rows, &rows, &err) != 0) {
        fprintf(stderr, "core_only: %s: %s\n", cdtx_code_name(err.code), err.text);
        goto out;
    }
    if (rows != 1) {
        fprintf(stderr, "core_only: %lld rows instead of 1\n", (long long)rows);
        goto out;
    }
    puts(cdtx_version());
    status = 0;
out:
    cdtx_db_close(db);
    cdtx_close(engine);
    return status;
}
