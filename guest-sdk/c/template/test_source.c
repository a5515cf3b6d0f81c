#include "crossdock_testing.h"

static const char CONFIG[] = "{\"connection\":\"shop\",\"page\":2}";

static cd_fault *api(const cd_request *request, cd_response *response) {
    char after = request->url.ptr[sizeof "/items?after=" - 1];
    if (after == '&') after = 0;
    cd_json *items = cd_new_list();
    for (char id = 'a'; id <= 'e' && cd_count_of(items) < 2; id++) {
        if (id <= after) continue;
        cd_json *item = cd_new_object();
        cd_set(item, "id", cd_new_text((cd_text){&id, 1}));
        cd_append(items, item);
    }
    response->body = cd_to_json(items);
    return NULL;
}

static cd_fault *out_of_order(const cd_request *request, cd_response *response) {
    (void)request;
    response->status = 503;
    response->body = CD("come back later");
    return NULL;
}

static void every_item_comes_once_wherever_it_is_interrupted(void) {
    cd_test_on_http(api);
    cd_tested_page all = cd_test_read_all(&crossdock_source, CONFIG);
    CD_CHECK(!all.fault);
    CD_CHECK_INT(all.count, 5);
    for (size_t i = 0; i < all.count; i++) CD_CHECK(all.records[i].key.ptr[0] == (char)('a' + i));
    CD_CHECK_TEXT(cd_test_request(0)->url, "/items?after=&limit=2");
}

static void what_the_api_refuses_is_told(void) {
    cd_test_on_http(out_of_order);
    CD_CHECK(!cd_test_open_source(&crossdock_source, CONFIG, NULL));
    CD_CHECK_FAULT(cd_test_read(&crossdock_source, 10).fault, CD_TRANSIENT, "503: come back later");
}

int main(void) {
    CD_RUN(every_item_comes_once_wherever_it_is_interrupted);
    CD_RUN(what_the_api_refuses_is_told);
    return cd_test_end();
}
