#include "crossdock_testing.h"

static void a_field_is_changed_what_lacks_it_is_filtered_what_is_no_text_is_rejected(void) {
    cd_input inputs[] = {{.payload = "{\"name\":\"straße\",\"net\":9.90}"}, {.payload = "{\"net\":1}"}, {.payload = "{\"name\":7}"}};
    cd_tested done = cd_test_transform(&crossdock_transformer, "{\"field\":\"name\"}", "items", inputs, 3);
    CD_CHECK(!done.fault);
    CD_CHECK_INT(done.count, 1);
    CD_CHECK_TEXT(done.records[0].payload, "{\"name\":\"STRASSE\",\"net\":9.90}");
    CD_CHECK_INT(cd_get_int(done.filtered, "the field is missing", 0), 1);
    CD_CHECK_FAULT(done.rejected[2], CD_PERMANENT, "`name` is no text: 7");
}

static void small_letters(void) {
    cd_input inputs[] = {{.payload = "{\"name\":\"CUP\"}"}};
    cd_tested done = cd_test_transform(&crossdock_transformer, "{\"field\":\"name\",\"letters\":\"lower\"}", "items", inputs, 1);
    CD_CHECK_INT(done.count, 1);
    CD_CHECK_TEXT(done.records[0].payload, "{\"name\":\"cup\"}");
}

int main(void) {
    CD_RUN(a_field_is_changed_what_lacks_it_is_filtered_what_is_no_text_is_rejected);
    CD_RUN(small_letters);
    return cd_test_end();
}
