#include "crossdock_testing.h"

static const char CONFIG[] = "{\"connection\":\"shop\"}";

static cd_fault *api(const cd_request *request, cd_response *response) {
    response->status = cd_is(request->method, "DELETE") ? 404 : cd_is(request->url, "/items/bad") ? 422 : 204;
    return NULL;
}

static void each_record_is_put_under_its_key_and_what_is_refused_is_rejected(void) {
    cd_test_on_http(api);
    CD_CHECK(!cd_test_open_sink(&crossdock_sink, CONFIG, NULL));
    cd_input inputs[] = {
        {.key = "a/1", .payload = "{\"name\":\"Cup\"}"}, {.key = "bad", .payload = "{\"name\":\"Cup\"}"}, {.payload = "{}"}};
    cd_tested done = cd_test_write(&crossdock_sink, "items", inputs, 3);
    CD_CHECK(!done.fault && !done.rejected[0]);
    CD_CHECK_FAULT(done.rejected[1], CD_PERMANENT, "422");
    CD_CHECK_FAULT(done.rejected[2], CD_PERMANENT, "no key");
    CD_CHECK_TEXT(cd_test_request(0)->url, "/items/a%2F1");
    CD_CHECK_TEXT(cd_test_request(0)->body, "{\"name\":\"Cup\"}");
}

static void an_item_to_delete_that_is_not_there_is_as_good_as_deleted(void) {
    cd_test_on_http(api);
    CD_CHECK(!cd_test_open_sink(&crossdock_sink, CONFIG, NULL));
    cd_input inputs[] = {{.key = "a", .op = CD_DELETE}};
    cd_tested done = cd_test_write(&crossdock_sink, "items", inputs, 1);
    CD_CHECK(!done.fault && !done.rejected[0]);
}

int main(void) {
    CD_RUN(each_record_is_put_under_its_key_and_what_is_refused_is_rejected);
    CD_RUN(an_item_to_delete_that_is_not_there_is_as_good_as_deleted);
    return cd_test_end();
}
