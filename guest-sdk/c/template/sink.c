/* Puts every record to an API, under its key. */
#include "crossdock.h"

static cd_text connection, path;

/* `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it. */
static cd_fault *open_it(const cd_json *config, const cd_text *snapshot) {
    (void)snapshot; /* what was written is written: there is nothing to go on from */
    cd_keep(&connection, cd_get_text(config, "connection", ""));
    cd_keep(&path, cd_get_text(config, "path", "/items"));
    return NULL;
}

static cd_fault *check(const cd_json *config) {
    cd_response response;
    CD_TRY(open_it(config, NULL));
    CD_TRY(cd_http_get(connection, path, &response));
    return cd_error_for_status(&response);
}

/* Putting the same item twice is as good as once, so a crash between two checkpoints does no harm. */
static cd_fault *request_for(const cd_record *record, cd_request *request) {
    if (!record->key.len) return cd_permanent("the record has no key, so it has no place in the API");
    cd_text id = cd_url_encode(record->key);
    cd_text url = cd_format("%.*s/%.*s", CD_ARG(path), CD_ARG(id));
    if (record->op == CD_DELETE) {
        *request = (cd_request){.connection = connection, .method = CD("DELETE"), .url = url};
        return NULL;
    }
    cd_json *item;
    CD_TRY(cd_value(record, &item));
    *request = cd_json_request(CD("PUT"), connection, url, item);
    return NULL;
}

static cd_fault *answered(const cd_record *record, const cd_answer *answer) {
    if (answer->fault) return answer->fault;
    /* An item to delete that is not there is as good as deleted. */
    if (record->op == CD_DELETE && answer->response.status == 404) return NULL;
    return cd_error_for_status(&answer->response);
}

static cd_fault *write_it(const cd_batch *batch, cd_written *written) {
    size_t count = cd_records(batch), sent = 0;
    cd_record *records = cd_alloc(count * sizeof *records);
    cd_request *requests = cd_alloc(count * sizeof *requests);
    cd_answer *answers = cd_alloc(count * sizeof *answers);
    for (size_t i = 0; i < count; i++) {
        records[sent] = cd_record_at(batch, i);
        cd_fault *fault = request_for(&records[sent], &requests[sent]);
        if (fault)
            cd_reject(written, (uint32_t)i, fault);
        else
            sent++;
    }
    /* As many at a time as the connection allows. */
    cd_send_all(requests, sent, answers);
    for (size_t i = 0; i < sent; i++) {
        cd_fault *fault = answered(&records[i], &answers[i]);
        /* The operator's turn: no other record would fare better. */
        if (fault && fault->kind == CD_CONFIG) return fault;
        if (fault) cd_reject(written, records[i].index, fault);
    }
    return NULL;
}

const cd_sink crossdock_sink = {.check = check, .open = open_it, .write = write_it};
