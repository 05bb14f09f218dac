#include "store/lent.h"

void cdtx__lent_begin(struct store *store) {
    store->lent = 1;
    store->ownership = CDTX_OWN_SHARED; /* whoever else has connections may write too */
}

void cdtx__lent_view(struct store *store, void *connection, struct store *view) {
    *view = (struct store){
        .env = store->env,
        .port = store->port,
        .connection = connection,
        .hooks = store->hooks,
        .limits = store->limits,
        .name = store->name,
        .process = store->process,
        .ownership = CDTX_OWN_SHARED,
        .lent = 1,
        .owner = store->owner,
    };
    list_init(&view->queue);
    cdtx__rows_init(&view->rows, store->env, 65536);
    cdtx__lock(store->env, &store->lock);
    memcpy(view->uuid, store->uuid, sizeof view->uuid);
    view->epoch = store->epoch;
    view->clock_offset_ms = store->clock_offset_ms;
    cdtx__unlock(store->env, &store->lock);
}

void cdtx__lent_view_free(struct store *view) {
    cdtx__rows_free(&view->rows);
}

int32_t cdtx__lent_publish(struct store *store, const struct store *view, cdtx_error *err) {
    static const uint8_t none[16];
    int32_t rc = 0;
    cdtx__lock(store->env, &store->lock);
    int known = memcmp(store->uuid, none, sizeof none) != 0;
    if (known && memcmp(store->uuid, view->uuid, sizeof none) != 0) {
        rc = cdtx__fail(err, CDTX_CONFLICT, "this is not the database that was prepared as '%s' before", store->name);
    } else {
        memcpy(store->uuid, view->uuid, sizeof store->uuid);
        store->epoch = view->epoch;
        if (!known || view->clock_offset_ms > store->clock_offset_ms)
            store->clock_offset_ms = view->clock_offset_ms;
        store->stop_err = (cdtx_error){0};
        store->lent_ready = 1;
    }
    cdtx__unlock(store->env, &store->lock);
    return rc;
}

int cdtx__lent_in_doubt(struct store *store) {
    cdtx__lock(store->env, &store->lock);
    int doubt = !store->lent_ready && store->stop_err.code != 0;
    cdtx__unlock(store->env, &store->lock);
    return doubt;
}

/* ---- whose database it is ---- */

static int32_t fenced(const struct store *store, const cdtx_value *owner, cdtx_error *err) {
    if (owner->type == CDTX_TEXT && strncmp(owner->bytes, STORE_HOST_OWNER, strlen(STORE_HOST_OWNER)) == 0)
        return 0;
    return cdtx__fail(err, CDTX_STOPPED, "database '%s' was opened by %.60s as its owner", store->name,
                      owner->type == CDTX_TEXT ? (const char *)owner->bytes : "another process");
}

int32_t cdtx__lent_recognise(struct store *view, cdtx_error *err) {
    cdtx__rows_reset(&view->rows);
    int32_t rc = view->port->exec(view->connection, CDTX_SQL_OURS,
                                  "SELECT uuid, owner, clock - mono FROM cdtx_meta WHERE id = 1", NULL, 0, &view->rows,
                                  NULL, err);
    if (rc != 0)
        return rc;
    const cdtx_value *uuid = cdtx__rows_at(&view->rows, 0, 0);
    if (view->rows.count != 1 || uuid->length != sizeof view->uuid ||
        memcmp(uuid->bytes, view->uuid, sizeof view->uuid) != 0)
        return cdtx__fail(err, CDTX_CONFLICT, "the lent connection is not to the database that was prepared as '%s'",
                          view->name);
    if (cdtx__rows_int(&view->rows, 0, 2) > view->clock_offset_ms)
        view->clock_offset_ms = cdtx__rows_int(&view->rows, 0, 2); /* who is ahead leads */
    return fenced(view, cdtx__rows_at(&view->rows, 0, 1), err);
}

int32_t cdtx__lent_owner(struct store *store, cdtx_error *err) {
    cdtx_error why;
    cdtx__rows_reset(&store->rows);
    int32_t rc = store->port->exec(store->connection, CDTX_SQL_OURS, "SELECT owner FROM cdtx_meta WHERE id = 1", NULL,
                                   0, &store->rows, NULL, err);
    if (rc != 0)
        return rc;
    rc = fenced(store, cdtx__rows_at(&store->rows, 0, 0), &why);
    if (rc != 0) {
        cdtx__lent_stop(store, why.text);
        if (err != NULL)
            *err = why;
        return rc;
    }
    cdtx__lock(store->env, &store->lock);
    store->epoch = store->meta.epoch;
    cdtx__unlock(store->env, &store->lock);
    return 0;
}

/* ---- turns ---- */

void cdtx__lent_turn(struct store *store, void *connection) {
    store->connection = connection;
    cdtx__lock(store->env, &store->lock);
    store->busy_since_us = 0; /* of a turn long ago */
    cdtx__unlock(store->env, &store->lock);
}

int cdtx__lent_pauses(struct store *store) {
    cdtx__lock(store->env, &store->lock);
    int pauses = store->busy && store->busy_since_us == 0;
    cdtx__unlock(store->env, &store->lock);
    return pauses;
}

void cdtx__lent_stop(struct store *store, const char *why) {
    cdtx__lock(store->env, &store->lock);
    store->lent_ready = 0;
    cdtx__fail(&store->stop_err, CDTX_STOPPED, "database '%s': %.300s; prepare it again on a new connection",
               store->name, why);
    cdtx__unlock(store->env, &store->lock);
    cdtx__log(store->env, CDTX_LOG_ALARM, "database '%s' takes no more turns until it is prepared again: %s",
              store->name, why);
    store->hooks.stopped(store->hooks.user, store);
}

int32_t cdtx__lent_stopped(struct store *store, cdtx_error *err) {
    cdtx__lock(store->env, &store->lock);
    int32_t rc = store->lent_ready ? 0 : CDTX_STOPPED;
    int never = store->stop_err.code == 0;
    if (rc != 0 && !never && err != NULL)
        *err = store->stop_err;
    cdtx__unlock(store->env, &store->lock);
    if (rc != 0 && never)
        return cdtx__fail(err, CDTX_MISUSE, "database '%s' is not prepared: call cdtx_host_prepare first", store->name);
    return rc;
}

/* ---- counters ---- */

int32_t cdtx__lent_next_job(cdtx_sql *sql, int64_t *number, cdtx_error *err) {
    struct store *store = sql->store;
    if (sql->enter == NULL) {
        store->meta.dirty = 1;
        *number = ++store->meta.job;
        return 0;
    }
    /* The change comes first, so that what is read is nobody else's. Who is ahead leads the clock. */
    cdtx_value mono = SQL_INT(cdtx__now_us(store->env) / 1000);
    cdtx_value arguments[] = {SQL_INT(store->clock_offset_ms), mono, SQL_INT(cdtx__wall_ms(store->env)), mono};
    int32_t rc =
        cdtx__sql_run(sql,
                      "UPDATE cdtx_meta SET job = job + 1, clock = max(clock - mono, ?) + ?, wall = ?, mono = ?"
                      " WHERE id = 1",
                      arguments, 4, NULL, NULL, err);
    if (rc != 0)
        return rc;
    cdtx__rows_reset(&store->rows);
    rc = cdtx__sql_run(sql, "SELECT job FROM cdtx_meta WHERE id = 1", NULL, 0, &store->rows, NULL, err);
    if (rc != 0)
        return rc;
    if (store->rows.count != 1)
        return cdtx__fail(err, CDTX_CORRUPT, "database '%s': cdtx_meta has no row", store->name);
    *number = cdtx__rows_int(&store->rows, 0, 0);
    store->meta.dirty = 0;
    return 0;
}
