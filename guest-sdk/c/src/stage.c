/* Batches, what is given of them, and the calls of the host. */
#include "internal.h"

#include <string.h>

/* The origin of a record that came from no record of the batch. */
#define NOWHERE 0xFFFFFFu
/* How many different reasons the summary is told. */
#define REASONS 64
/* The clock is looked at after so many records. */
#define BREATH 32

/* ---- Records ---- */

size_t cd_records(const cd_batch *batch) {
    return batch->words / 4;
}

cd_record cd_record_at(const cd_batch *batch, size_t at) {
    const uint32_t *ends = batch->index + 4 * at;
    uint32_t start = at ? ends[-2] : 0;
    const char *data = batch->data ? batch->data : "";
    return (cd_record){
        .stream = batch->stream,
        .key = {data + start, ends[0] - start},
        .headers = {data + ends[0], ends[1] - ends[0]},
        .payload = {data + ends[1], ends[2] - ends[1]},
        .form = batch->form,
        .op = (ends[3] & 0xFF) == 1 ? CD_DELETE : CD_UPSERT,
        .index = (uint32_t)at,
    };
}

cd_fault *cd_value(const cd_record *record, cd_json **value) {
    cd_fault *fault = cd_parse(record->payload, value);
    if (fault) fault->message = cd_format("the payload is %.*s", CD_ARG(fault->message));
    return fault;
}

cd_text cd_header(const cd_record *record, const char *name) {
    cd_json *all = NULL;
    if (!record->headers.len || cd_parse(record->headers, &all)) return (cd_text){0};
    return cd_get_text(all, name, NULL);
}

/* ---- Builders ---- */

size_t cd_builder_records(const cd_builder *builder) {
    return builder ? builder->index.len / 16 : 0;
}

cd_batch cd_builder_batch(const cd_builder *builder) {
    return (cd_batch){
        .stream = builder->stream,
        .form = builder->form,
        .index = (const uint32_t *)(const void *)builder->index.ptr,
        .words = builder->index.len / 4,
        .data = builder->data.ptr,
        .size = builder->data.len,
    };
}

static cd_builder *builder_of(cd_text stream, cd_form form) {
    cd_builder *builder = cd_alloc(sizeof *builder);
    *builder = (cd_builder){.stream = stream, .form = form};
    return builder;
}

/* An output made ready: what is not said is as in `record`. */
typedef struct ready {
    cd_text stream, key, headers, payload;
    cd_form form;
    uint32_t flags;
} ready;

static cd_fault *prepare(cd_output output, const cd_record *record, ready *out) {
    cd_op op = output.op != CD_SAME ? output.op : record ? record->op : CD_UPSERT;
    int said = (output.value != NULL) + (output.json.ptr != NULL) + (output.bytes.ptr != NULL);
    if (said > 1) return cd_permanent("a record that is given out has one of `value`, `json` and `bytes`");
    if (!said && op != CD_DELETE) return cd_permanent("a record without `value`, `json` or `bytes` was given out");
    *out = (ready){
        .stream = output.stream.ptr ? output.stream : record ? record->stream : (cd_text){0},
        .key = output.key.ptr ? output.key : record ? record->key : (cd_text){0},
        .headers = record ? record->headers : (cd_text){0},
        .payload = output.value       ? cd_to_json(output.value)
                   : output.json.ptr  ? output.json
                   : output.bytes.ptr ? output.bytes
                                      : CD("{}"),
        .form = output.bytes.ptr ? CD_BYTES : CD_JSON,
        .flags = (record ? record->index : NOWHERE) << 8 | (op == CD_DELETE),
    };
    if (output.headers) out->headers = cd_first(output.headers) ? cd_to_json(output.headers) : CD("");
    if (!out->stream.len) return cd_permanent("a record was given out without a `stream`");
    return NULL;
}

static void push(cd_builder *builder, ready one) {
    uint32_t *words = cd_push(&builder->index, 16);
    cd_put(&builder->data, one.key);
    words[0] = (uint32_t)builder->data.len;
    cd_put(&builder->data, one.headers);
    words[1] = (uint32_t)builder->data.len;
    cd_put(&builder->data, one.payload);
    words[2] = (uint32_t)builder->data.len;
    words[3] = one.flags;
}

/* ---- Transformers ---- */

static cd_builder *given_builder(cd_given *given, cd_text stream, cd_form form) {
    for (cd_builder *one = given->builders; one; one = one->next)
        if (one->form == form && cd_equal(one->stream, stream)) return one;
    cd_builder *builder = builder_of(stream, form);
    if (given->last)
        given->last->next = builder;
    else
        given->builders = builder;
    given->last = builder;
    return builder;
}

static void push_record(cd_given *given, const cd_record *record) {
    ready one = {record->stream, record->key, record->headers, record->payload, record->form,
                 record->index << 8 | (record->op == CD_DELETE)};
    push(given_builder(given, record->stream, record->form), one);
}

/* From now on records are copied: something else than input records is given. */
static void replace(cd_given *given) {
    if (given->replaces) return;
    given->replaces = true;
    const uint32_t *kept = (const uint32_t *)(const void *)given->kept.ptr;
    size_t count = given->kept.len / 4;
    for (size_t i = 0; i < count; i++) {
        /* What this record itself has given is taken back when it fails. */
        if (i == given->mark_kept / 4)
            for (cd_builder *one = given->builders; one; one = one->next) {
                one->mark_words = one->index.len;
                one->mark_bytes = one->data.len;
            }
        cd_record record = cd_record_at(given->batch, kept[i]);
        push_record(given, &record);
    }
    if (given->mark_kept / 4 == count)
        for (cd_builder *one = given->builders; one; one = one->next) {
            one->mark_words = one->index.len;
            one->mark_bytes = one->data.len;
        }
}

void cd_pass(cd_given *given) {
    if (!given->record) return;
    given->gave++;
    const uint32_t *kept = (const uint32_t *)(const void *)given->kept.ptr;
    size_t count = given->kept.len / 4;
    if (!given->replaces && (!count || kept[count - 1] != given->record->index)) {
        *(uint32_t *)cd_push(&given->kept, 4) = given->record->index;
        return;
    }
    replace(given);
    push_record(given, given->record);
}

void cd_give(cd_given *given, cd_output output) {
    ready one;
    cd_fault *fault = prepare(output, given->record, &one);
    if (fault) {
        if (!given->wrong) given->wrong = fault;
        return;
    }
    given->gave++;
    if (given->batch) replace(given);
    push(given_builder(given, one.stream, one.form), one);
}

void cd_filter(cd_given *given, const char *reason) {
    if (!given->reason) given->reason = reason;
}

static void tally(cd_given *given) {
    cd_tally *all = (cd_tally *)(void *)given->reasons.ptr;
    size_t count = given->reasons.len / sizeof *all;
    cd_text reason = cd_text_of(given->reason);
    for (size_t i = 0; i < count; i++)
        if (cd_equal(all[i].reason, reason)) {
            all[i].count++;
            return;
        }
    if (count < REASONS) *(cd_tally *)cd_push(&given->reasons, sizeof(cd_tally)) = (cd_tally){cd_copy(reason), 1};
}

static void take_back(cd_given *given) {
    if (!given->replaces) {
        given->kept.len = given->mark_kept;
        return;
    }
    for (cd_builder *one = given->builders; one; one = one->next) {
        one->index.len = one->mark_words;
        one->data.len = one->mark_bytes;
    }
}

cd_fault *cd_each(cd_given *given, cd_fault *(*map)(const cd_record *, cd_given *)) {
    size_t count = cd_records(given->batch);
    for (size_t i = 0; i < count; i++) {
        cd_record record = cd_record_at(given->batch, i);
        given->record = &record;
        given->mark_kept = given->kept.len;
        given->gave = 0;
        given->reason = NULL;
        for (cd_builder *one = given->builders; one; one = one->next) {
            one->mark_words = one->index.len;
            one->mark_bytes = one->data.len;
        }
        cd_fault *fault = map(&record, given);
        if (!fault) fault = given->wrong;
        given->wrong = NULL;
        given->record = NULL;
        if (fault) {
            /* It stops the run, whichever record it came with. */
            if (fault->kind == CD_CONFIG) return fault;
            take_back(given);
            *(cd_rejection *)cd_push(&given->rejected, sizeof(cd_rejection)) = (cd_rejection){record.index, fault};
        } else if (!given->gave && given->reason) {
            tally(given);
        }
    }
    return NULL;
}

static cd_fault *parsed_config(cd_text text, cd_json **config) {
    if (!text.len) {
        *config = cd_new_object();
        return NULL;
    }
    cd_fault *fault = cd_parse(text, config);
    if (fault) fault->kind = CD_CONFIG;
    return fault;
}

/* What all kinds share: `check` without one of its own is whether it can be opened. */
static cd_fault *check_by(cd_text text, cd_fault *(*check)(const cd_json *), cd_fault *(*open)(const cd_json *, const cd_text *),
                          void (*close)(void)) {
    cd_json *config;
    CD_TRY(parsed_config(text, &config));
    if (check) return check(config);
    if (!open) return NULL;
    CD_TRY(open(config, NULL));
    if (close) close();
    return NULL;
}

static cd_fault *open_by(cd_text text, cd_fault *(*open)(const cd_json *, const cd_text *), const cd_text *snapshot) {
    cd_json *config;
    CD_TRY(parsed_config(text, &config));
    return open ? open(config, snapshot) : NULL;
}

/* A snapshot for a plugin that gives none. */
static cd_fault *expect_nothing(const cd_text *snapshot, bool keeps) {
    if (keeps || !snapshot || !snapshot->len) return NULL;
    return cd_config_fault("the snapshot is not one of this plugin, which has none");
}

cd_fault *cd_stage_snapshot(cd_fault *(*snapshot)(cd_text *), cd_text *out) {
    *out = CD("");
    return snapshot ? snapshot(out) : NULL;
}

cd_fault *cd_transformer_check(const cd_transformer *stage, cd_text config) {
    return check_by(config, stage->check, stage->open, stage->close);
}

cd_fault *cd_transformer_open(const cd_transformer *stage, cd_text config, const cd_text *snapshot) {
    CD_TRY(expect_nothing(snapshot, stage->snapshot != NULL));
    return open_by(config, stage->open, snapshot);
}

cd_fault *cd_transformer_apply(const cd_transformer *stage, const cd_batch *batch, cd_given *given) {
    *given = (cd_given){.batch = batch};
    if (stage->apply) {
        CD_TRY(stage->apply(batch, given));
        return given->wrong;
    }
    if (stage->map) return cd_each(given, stage->map);
    return cd_permanent("this transformer has neither `map` nor `apply`");
}

cd_fault *cd_transformer_finish(const cd_transformer *stage, cd_given *given) {
    *given = (cd_given){0};
    if (stage->finish) CD_TRY(stage->finish(given));
    return given->wrong;
}

/* ---- Sources ---- */

void cd_add_stream(cd_streams *streams, cd_stream stream) {
    *(cd_stream *)cd_push(&streams->list, sizeof stream) = stream;
}

static size_t page_size(const cd_page *page) {
    return cd_builder_records(page->builder) + page->unreadable.len / sizeof(cd_unread);
}

bool cd_wants(cd_page *page) {
    if (page->full || page->ends || page->idles || page->wrong) return false;
    if (page_size(page) >= page->records) return false;
    if (page->builder && page->builder->data.len >= page->bytes) return false;
    if (++page->asked % BREATH == 0 && cd_now_ms() >= page->until) return false;
    return true;
}

bool cd_add(cd_page *page, cd_output output) {
    ready one;
    if (page->full || page_size(page) >= page->records) return false;
    cd_fault *fault = prepare(output, NULL, &one);
    if (fault) {
        page->wrong = fault;
        return false;
    }
    cd_builder *builder = page->builder;
    if (builder) {
        bool other = builder->form != one.form || !cd_equal(builder->stream, one.stream);
        size_t size = builder->data.len + one.key.len + one.headers.len + one.payload.len;
        if (other || size > page->bytes) {
            page->full = true;
            return false;
        }
    } else {
        builder = page->builder = builder_of(cd_copy(one.stream), one.form);
    }
    push(builder, one);
    return true;
}

bool cd_add_unreadable(cd_page *page, cd_text data, cd_fault *fault) {
    if (page->full || page_size(page) >= page->records) return false;
    *(cd_unread *)cd_push(&page->unreadable, sizeof(cd_unread)) = (cd_unread){cd_copy(data), fault};
    return true;
}

void cd_idle(cd_page *page, uint32_t ms) {
    page->idles = true;
    page->idle_ms = ms;
}

void cd_end(cd_page *page) {
    page->ends = true;
}

cd_fault *cd_source_check(const cd_source *stage, cd_text config) {
    return check_by(config, stage->check, stage->open, stage->close);
}

cd_fault *cd_source_streams(const cd_source *stage, cd_text text, cd_streams *streams) {
    cd_json *config;
    *streams = (cd_streams){0};
    CD_TRY(parsed_config(text, &config));
    return stage->streams ? stage->streams(config, streams) : NULL;
}

/* What failed behind records that were given: it is told at the next call. Its texts are kept. */
static struct {
    bool waits;
    cd_fault fault;
} later;

static void keep_fault(const cd_fault *fault) {
    cd_keep(&later.fault.message, fault->message);
    cd_keep(&later.fault.location, fault->location);
    cd_keep(&later.fault.field, fault->field);
    cd_keep(&later.fault.advice, fault->advice);
    later.fault.kind = fault->kind;
    later.fault.waits = fault->waits;
    later.fault.retry_after_ms = fault->retry_after_ms;
    later.waits = true;
}

cd_fault *cd_source_open(const cd_source *stage, cd_text config, const cd_text *snapshot) {
    later.waits = false;
    CD_TRY(expect_nothing(snapshot, stage->snapshot != NULL));
    return open_by(config, stage->open, snapshot);
}

cd_fault *cd_source_read(const cd_source *stage, cd_page *page) {
    if (later.waits) {
        later.waits = false;
        return &later.fault;
    }
    if (!stage->read) return cd_permanent("this source has no `read`");
    page->until = cd_now_ms() + page->millis;
    cd_fault *fault = stage->read(page);
    if (!fault) fault = page->wrong;
    if (fault && page_size(page)) {
        keep_fault(fault);
        fault = NULL;
    }
    return fault;
}

/* ---- Sinks ---- */

void cd_reject(cd_written *written, uint32_t index, cd_fault *fault) {
    const cd_rejection *all = (const cd_rejection *)(const void *)written->rejected.ptr;
    for (size_t i = written->rejected.len / sizeof *all; i-- > 0;)
        if (all[i].index == index) return;
    *(cd_rejection *)cd_push(&written->rejected, sizeof *all) = (cd_rejection){index, fault};
}

void cd_receipt(cd_written *written, const cd_record *record, cd_output output) {
    ready one;
    cd_fault *fault = prepare(output, record, &one);
    if (!fault && written->receipts && (written->receipts->form != one.form || !cd_equal(written->receipts->stream, one.stream)))
        fault = cd_permanent("receipts are of one stream");
    if (fault) {
        if (!written->wrong) written->wrong = fault;
        return;
    }
    if (!written->receipts) written->receipts = builder_of(one.stream, one.form);
    push(written->receipts, one);
}

cd_fault *cd_sink_check(const cd_sink *stage, cd_text config) {
    return check_by(config, stage->check, stage->open, stage->close);
}

cd_fault *cd_sink_open(const cd_sink *stage, cd_text config, const cd_text *snapshot) {
    CD_TRY(expect_nothing(snapshot, stage->snapshot != NULL));
    return open_by(config, stage->open, snapshot);
}

cd_fault *cd_sink_write(const cd_sink *stage, const cd_batch *batch, cd_written *written) {
    *written = (cd_written){.batch = batch};
    if (stage->write) {
        CD_TRY(stage->write(batch, written));
        return written->wrong;
    }
    if (!stage->write_record) return cd_permanent("this sink has neither `write_record` nor `write`");
    for (size_t i = 0; i < cd_records(batch); i++) {
        cd_record record = cd_record_at(batch, i);
        cd_fault *fault = stage->write_record(&record, written);
        /* It is the operator's turn: no other record would fare better. */
        if (fault && fault->kind == CD_CONFIG) return fault;
        if (fault) cd_reject(written, record.index, fault);
    }
    return written->wrong;
}
