/* Reads the items of an API, page by page. */
#include "crossdock.h"

static cd_text connection, path;
static int64_t page_size;

/* The id of the last item that was given out: all that a snapshot needs. */
static cd_text after;
/* What was fetched and not given out yet, as JSON, and how many items of it were. */
static cd_text fetched;
static size_t given;

static cd_fault *open_it(const cd_json *config, const cd_text *snapshot) {
    /* `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it. */
    cd_keep(&connection, cd_get_text(config, "connection", ""));
    cd_keep(&path, cd_get_text(config, "path", "/items"));
    page_size = cd_get_int(config, "page", 100);
    cd_keep(&after, CD(""));
    cd_keep(&fetched, (cd_text){0});
    if (!snapshot) return NULL;
    cd_json *known = NULL;
    bool usable = !cd_parse(*snapshot, &known) && cd_type_of(cd_get(known, "after")) == CD_TEXT;
    if (!usable) return cd_config_fault("the snapshot is not one of this plugin");
    cd_keep(&after, cd_get_text(known, "after", ""));
    return NULL;
}

static cd_fault *snapshot_it(cd_text *snapshot) {
    cd_json *known = cd_new_object();
    cd_set(known, "after", cd_new_text(after));
    *snapshot = cd_to_json(known);
    return NULL;
}

/* The next page: up to `page_size` items whose id is greater than `after`. */
static cd_fault *fetch(cd_json **items) {
    cd_text id = cd_url_encode(after);
    cd_text url = cd_format("%.*s?after=%.*s&limit=%lld", CD_ARG(path), CD_ARG(id), (long long)page_size);
    cd_response response;
    CD_TRY(cd_http_get(connection, url, &response));
    CD_TRY(cd_error_for_status(&response));
    CD_TRY(cd_response_json(&response, items));
    if (cd_type_of(*items) != CD_LIST) return cd_at(cd_permanent("the server did not answer with a list"), url);
    return NULL;
}

static cd_fault *check(const cd_json *config) {
    cd_json *items;
    CD_TRY(open_it(config, NULL));
    return fetch(&items);
}

static cd_fault *streams(const cd_json *config, cd_streams *streams) {
    static const cd_text key[] = {{"id", 2}};
    (void)config;
    cd_add_stream(streams, (cd_stream){.name = CD("items"), .key = key, .keys = 1, .incremental = true});
    return NULL;
}

static cd_fault *read_it(cd_page *page) {
    cd_json *items;
    if (fetched.ptr) {
        CD_TRY(cd_parse(fetched, &items));
    } else {
        CD_TRY(fetch(&items));
        given = 0;
        if (!cd_first(items)) {
            cd_end(page);
            return NULL;
        }
        /* What does not fit into this page is for the next one. */
        cd_keep(&fetched, cd_to_json(items));
    }
    cd_json *item = cd_first(items);
    for (size_t i = 0; i < given; i++) item = cd_next(item);
    for (; item && cd_wants(page); item = cd_next(item)) {
        cd_text id = cd_get_text(item, "id", "");
        if (!id.len) {
            cd_text shown = cd_to_json(item);
            return cd_at(cd_permanent("an item without an `id` that is a text: %.*s", CD_ARG(shown)), path);
        }
        if (!cd_add(page, (cd_output){.stream = CD("items"), .key = id, .value = item})) return NULL;
        cd_keep(&after, id);
        given++;
    }
    if (!item) cd_keep(&fetched, (cd_text){0});
    return NULL;
}

const cd_source crossdock_source = {
    .check = check, .streams = streams, .open = open_it, .read = read_it, .snapshot = snapshot_it};
