/* The loopback coordinator: every verb goes to the inner one as encoded bytes, and every answer comes back as bytes, so
 * that nothing but bytes is shared. It proves that the port can be crossed by a wire; a remote log puts one between. */
#include "base/buf.h"
#include "engine/engine.h"

struct loopback {
    const cdtx_env *env;
    struct coord_port inner;
    size_t message_max;
};

/* One verb on the far side. */
struct crossing {
    struct coord_request far;
    struct coord_request *near;
    struct loopback *self;
    struct buf asked, answered;
    struct coord_branch branches[CDTX_BRANCHES_MAX];
    struct coord_item *items; /* of the near request */
    struct coord_branch *item_branches;
    uint32_t item_room, branch_room;
};

/* ---- the codec ---- */

static void put_text(struct buf *buf, const char *text) {
    cdtx__buf_u8(buf, text != NULL);
    if (text != NULL)
        cdtx__buf_block(buf, text, strlen(text));
}

/* A message has one form: what is decoded encodes to the same bytes, and anything else is garbage. */
static int get_flag(struct reader *reader) {
    uint8_t flag = cdtx__read_u8(reader);
    if (flag > 1)
        reader->failed = 1;
    return flag == 1;
}

static const char *get_text(struct reader *reader) {
    return get_flag(reader) ? cdtx__read_name(reader) : NULL;
}

static const char *get_sentence(struct reader *reader) {
    if (!get_flag(reader))
        return NULL;
    uint32_t length = 0;
    const char *text = cdtx__read_block(reader, &length);
    if (!reader->failed && strlen(text) != length)
        reader->failed = 1;
    return reader->failed ? NULL : text;
}

static void put_branches(struct buf *buf, const struct coord_branch *branches, uint32_t count) {
    cdtx__buf_u32(buf, count);
    for (uint32_t i = 0; i < count; i++) {
        cdtx__buf_block(buf, branches[i].participant, strlen(branches[i].participant));
        cdtx__buf_block(buf, branches[i].payload, branches[i].length);
    }
}

static uint32_t get_branches(struct reader *reader, struct coord_branch *branches, uint32_t room) {
    uint32_t count = cdtx__read_u32(reader);
    if (count > room)
        reader->failed = 1;
    for (uint32_t i = 0; i < count && !reader->failed; i++) {
        branches[i].participant = cdtx__read_name(reader);
        branches[i].payload = cdtx__read_block(reader, &branches[i].length);
    }
    return reader->failed ? 0 : count;
}

static void put_i64(struct buf *buf, int64_t value) {
    cdtx__buf_u64(buf, (uint64_t)value);
}

static int64_t get_i64(struct reader *reader) {
    return (int64_t)cdtx__read_u64(reader);
}

static void encode_request(struct buf *buf, const struct coord_request *r) {
    cdtx__buf_u32(buf, (uint32_t)r->verb);
    put_text(buf, r->name);
    put_text(buf, r->key);
    put_branches(buf, r->branches, r->branch_count);
    cdtx__buf_u32(buf, r->limit);
    put_i64(buf, r->sequence);
    put_i64(buf, r->epoch);
    put_i64(buf, r->timeout_ms);
    put_i64(buf, r->lease_ms);
    put_i64(buf, r->due_in_ms);
    put_i64(buf, r->acked);
    put_i64(buf, r->after);
    cdtx__buf_u32(buf, (uint32_t)r->state);
    cdtx__buf_u32(buf, (uint32_t)r->outcome);
    cdtx__buf_u32(buf, (uint32_t)r->reason);
    cdtx__buf_u32(buf, (uint32_t)r->ended);
    put_i64(buf, r->retention_ms);
    cdtx__buf_u32(buf, r->reverse_after);
    cdtx__buf_u32(buf, r->noes);
    cdtx__buf_u32(buf, (uint32_t)r->parked);
    put_text(buf, r->error);
    put_text(buf, r->park);
    cdtx__buf_block(buf, r->hooks, r->hooks_length);
    cdtx__buf_u8(buf, r->hooked != 0);
}

static int32_t decode_request(struct crossing *crossing, cdtx_error *err) {
    struct reader reader = cdtx__reader(crossing->asked.bytes, crossing->asked.length);
    struct coord_request *r = &crossing->far;
    r->verb = (int32_t)cdtx__read_u32(&reader);
    r->name = get_text(&reader);
    r->key = get_text(&reader);
    r->branches = crossing->branches;
    r->branch_count = get_branches(&reader, crossing->branches, CDTX_BRANCHES_MAX);
    r->limit = cdtx__read_u32(&reader);
    r->sequence = get_i64(&reader);
    r->epoch = get_i64(&reader);
    r->timeout_ms = get_i64(&reader);
    r->lease_ms = get_i64(&reader);
    r->due_in_ms = get_i64(&reader);
    r->acked = get_i64(&reader);
    r->after = get_i64(&reader);
    r->state = (int32_t)cdtx__read_u32(&reader);
    r->outcome = (int32_t)cdtx__read_u32(&reader);
    r->reason = (int32_t)cdtx__read_u32(&reader);
    r->ended = (int32_t)cdtx__read_u32(&reader);
    r->retention_ms = get_i64(&reader);
    r->reverse_after = cdtx__read_u32(&reader);
    r->noes = cdtx__read_u32(&reader);
    r->parked = (int32_t)cdtx__read_u32(&reader);
    r->error = get_sentence(&reader);
    r->park = get_sentence(&reader);
    r->hooks = cdtx__read_block(&reader, &r->hooks_length);
    r->hooked = get_flag(&reader);
    if (!cdtx__read_done(&reader) || r->verb < COORD_BEGIN || r->verb > COORD_TRIM)
        return cdtx__fail(err, CDTX_CORRUPT, "a coordinator's request is cut or garbled at byte %zu of %zu", reader.at,
                          reader.length);
    return 0;
}

static void encode_answer(struct buf *buf, const struct coord_request *r) {
    cdtx__buf_u32(buf, (uint32_t)r->result);
    cdtx__buf_block(buf, r->err.text, r->result == 0 ? 0 : strlen(r->err.text));
    cdtx__buf_u32(buf, r->result == 0 ? 0 : (uint32_t)r->err.retry_after_ms);
    put_i64(buf, r->sequence);
    put_i64(buf, r->epoch);
    cdtx__buf_u32(buf, (uint32_t)r->state);
    cdtx__buf_u32(buf, (uint32_t)r->reason);
    cdtx__buf_u32(buf, (uint32_t)r->found);
    cdtx__buf_u32(buf, r->branch);
    put_i64(buf, r->next_due_ms);
    put_i64(buf, r->floor);
    cdtx__buf_u32(buf, r->reverse_after);
    uint32_t items = r->result == 0 ? r->item_count : 0, branches = 0;
    for (uint32_t i = 0; i < items; i++)
        branches += r->items[i].branch_count;
    cdtx__buf_u32(buf, items);
    cdtx__buf_u32(buf, branches);
    for (uint32_t i = 0; i < items; i++) {
        const struct coord_item *item = &r->items[i];
        put_i64(buf, item->sequence);
        put_i64(buf, item->epoch);
        put_i64(buf, item->acked);
        cdtx__buf_u32(buf, (uint32_t)item->state);
        cdtx__buf_u32(buf, (uint32_t)item->reason);
        cdtx__buf_u32(buf, item->attempts);
        cdtx__buf_u32(buf, item->reverse_after);
        cdtx__buf_u32(buf, item->noes);
        cdtx__buf_u32(buf, (uint32_t)item->parked);
        cdtx__buf_u8(buf, item->hooked != 0);
        put_text(buf, item->name);
        put_branches(buf, item->branches, item->branch_count);
    }
}

/* Every item takes at least its fixed fields, every branch its two lengths: a count that the bytes cannot hold is
 * garbage. */
static int32_t reserve(struct crossing *crossing, const struct reader *reader, uint32_t items, uint32_t branches) {
    const cdtx_env *env = crossing->self->env;
    size_t left = reader->length - reader->at;
    if (reader->failed || items > left / 48 || branches > left / 10)
        return CDTX_CORRUPT;
    if (items > 0)
        crossing->items = cdtx__alloc(env, items * sizeof *crossing->items);
    if (branches > 0)
        crossing->item_branches = cdtx__alloc(env, branches * sizeof *crossing->item_branches);
    crossing->item_room = crossing->items == NULL ? 0 : items;
    crossing->branch_room = crossing->item_branches == NULL ? 0 : branches;
    return crossing->item_room == items && crossing->branch_room == branches ? 0 : CDTX_NO_MEMORY;
}

static void decode_item(struct crossing *crossing, struct reader *reader, uint32_t i, uint32_t *branches) {
    struct coord_item *item = &crossing->items[i];
    item->sequence = get_i64(reader);
    item->epoch = get_i64(reader);
    item->acked = get_i64(reader);
    item->state = (int32_t)cdtx__read_u32(reader);
    item->reason = (int32_t)cdtx__read_u32(reader);
    item->attempts = cdtx__read_u32(reader);
    item->reverse_after = cdtx__read_u32(reader);
    item->noes = cdtx__read_u32(reader);
    item->parked = (int32_t)cdtx__read_u32(reader);
    item->hooked = get_flag(reader);
    item->name = get_text(reader);
    item->branches = crossing->item_branches == NULL ? NULL : crossing->item_branches + *branches;
    item->branch_count = get_branches(reader, item->branches, crossing->branch_room - *branches);
    *branches += item->branch_count;
}

static int32_t decode_answer(struct crossing *crossing, cdtx_error *err) {
    struct reader reader = cdtx__reader(crossing->answered.bytes, crossing->answered.length);
    struct coord_request *r = crossing->near;
    r->result = (int32_t)cdtx__read_u32(&reader);
    uint32_t length = 0;
    const char *text = cdtx__read_block(&reader, &length);
    int32_t retry_after_ms = (int32_t)cdtx__read_u32(&reader);
    r->sequence = get_i64(&reader);
    r->epoch = get_i64(&reader);
    r->state = (int32_t)cdtx__read_u32(&reader);
    r->reason = (int32_t)cdtx__read_u32(&reader);
    r->found = (int32_t)cdtx__read_u32(&reader);
    r->branch = cdtx__read_u32(&reader);
    r->next_due_ms = get_i64(&reader);
    r->floor = get_i64(&reader);
    r->reverse_after = cdtx__read_u32(&reader);
    uint32_t items = cdtx__read_u32(&reader), count = cdtx__read_u32(&reader), branches = 0;
    if (r->result == 0 ? length != 0 || retry_after_ms != 0 : items != 0)
        reader.failed = 1;
    if (strlen(text) != length || length >= sizeof r->err.text)
        reader.failed = 1;
    int32_t rc = reserve(crossing, &reader, items, count);
    for (uint32_t i = 0; rc == 0 && i < items && !reader.failed; i++)
        decode_item(crossing, &reader, i, &branches);
    if (rc == CDTX_NO_MEMORY)
        return cdtx__fail(err, rc, "no memory for a coordinator's answer");
    if (rc != 0 || !cdtx__read_done(&reader) || branches != count)
        return cdtx__fail(err, CDTX_CORRUPT, "a coordinator's answer is cut or garbled at byte %zu of %zu", reader.at,
                          reader.length);
    if (r->result != 0) {
        cdtx_error_set(&r->err, r->result, text);
        r->err.retry_after_ms = retry_after_ms;
    }
    r->items = crossing->items;
    r->item_count = items;
    return 0;
}

/* ---- the crossing ---- */

static int32_t encoded(const struct buf *buf, cdtx_error *err) {
    if (buf->failed == CDTX_LIMIT)
        return cdtx__fail(err, CDTX_LIMIT, "a message to the coordinator is over %zu bytes", buf->max);
    if (buf->failed != 0)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a message to the coordinator");
    return 0;
}

static void free_crossing(struct crossing *crossing) {
    const cdtx_env *env = crossing->self->env;
    cdtx__buf_free(&crossing->asked);
    cdtx__buf_free(&crossing->answered);
    cdtx__free(env, crossing->items, crossing->item_room * sizeof *crossing->items);
    cdtx__free(env, crossing->item_branches, crossing->branch_room * sizeof *crossing->item_branches);
    cdtx__free(env, crossing, sizeof *crossing);
}

/* The verb took effect or not, and we cannot say which. */
static void lose_answer(struct coord_request *near, const cdtx_error *why) {
    near->item_count = 0;
    near->result = cdtx__fail(&near->err, CDTX_UNKNOWN, "the coordinator's answer was lost: %.400s", why->text);
}

static void come_back(struct coord_request *far) {
    struct crossing *crossing = LIST_OF(far, struct crossing, far);
    struct loopback *self = crossing->self;
    struct coord_request *near = crossing->near;
    cdtx_error err;
    encode_answer(&crossing->answered, far);
    self->inner.release(self->inner.self, far);
    int32_t rc = encoded(&crossing->answered, &err);
    if (rc == 0)
        rc = decode_answer(crossing, &err);
    if (rc != 0)
        lose_answer(near, &err);
    near->held = crossing; /* the items borrow from its bytes */
    if (near->item_count == 0) {
        near->held = NULL;
        free_crossing(crossing);
    }
    near->done(near);
}

static int32_t cross(struct loopback *self, struct coord_request *near, struct crossing **crossing, cdtx_error *err) {
    struct crossing *c = cdtx__alloc(self->env, sizeof *c);
    if (c == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for a message to the coordinator");
    c->self = self;
    c->near = near;
    cdtx__buf_init(&c->asked, self->env, self->message_max);
    cdtx__buf_init(&c->answered, self->env, SIZE_MAX / 2); /* what the inner one found, it must be able to say */
    encode_request(&c->asked, near);
    int32_t rc = encoded(&c->asked, err);
    if (rc == 0)
        rc = decode_request(c, err);
    if (rc != 0) {
        free_crossing(c);
        return rc;
    }
    c->far.done = come_back;
    *crossing = c;
    return 0;
}

static void submit(void *self, struct coord_request *near) {
    struct loopback *loopback = self;
    struct crossing *crossing = NULL;
    near->held = NULL;
    near->items = NULL;
    near->item_count = 0;
    near->result = cross(loopback, near, &crossing, &near->err);
    if (near->result != 0)
        near->done(near);
    else
        loopback->inner.submit(loopback->inner.self, &crossing->far);
}

static void release(void *self, struct coord_request *near) {
    (void)self;
    if (near->held != NULL)
        free_crossing(near->held);
    near->held = NULL;
    near->items = NULL;
    near->item_count = 0;
}

static const uint8_t *log_of(void *self) {
    struct loopback *loopback = self;
    return loopback->inner.log(loopback->inner.self);
}

static void close_loopback(void *self) {
    struct loopback *loopback = self;
    loopback->inner.close(loopback->inner.self);
    cdtx__free(loopback->env, loopback, sizeof *loopback);
}

int32_t cdtx__coord_loopback_open(const cdtx_env *env, size_t message_max, const struct coord_port *inner,
                                  struct coord_port *port, cdtx_error *err) {
    struct loopback *loopback = cdtx__alloc(env, sizeof *loopback);
    if (loopback == NULL)
        return cdtx__fail(err, CDTX_NO_MEMORY, "no memory for the coordinator");
    *loopback = (struct loopback){.env = env, .inner = *inner, .message_max = message_max};
    *port = (struct coord_port){
        .self = loopback, .submit = submit, .release = release, .log = log_of, .close = close_loopback};
    return 0;
}
