/* Writes a field of every record in capital or small letters. */
#include "crossdock.h"

static cd_text field;
static bool lower;

/* `config` is what the flow file says; `plugin.json` describes every field, and the host has checked it. */
static cd_fault *open_it(const cd_json *config, const cd_text *snapshot) {
    (void)snapshot; /* every record stands alone: there is nothing to go on from */
    cd_keep(&field, cd_get_text(config, "field", ""));
    lower = cd_is(cd_get_text(config, "letters", "upper"), "lower");
    return NULL;
}

static cd_fault *map(const cd_record *record, cd_given *given) {
    cd_json *item;
    CD_TRY(cd_value(record, &item));
    cd_json *value = cd_get_named(item, field);
    if (!value) {
        cd_filter(given, "the field is missing");
        return NULL;
    }
    if (cd_type_of(value) != CD_TEXT) {
        /* Only this record becomes a dead letter; its neighbours go on. */
        cd_text shown = cd_to_json(value);
        return cd_at(cd_permanent("`%.*s` is no text: %.*s", CD_ARG(field), CD_ARG(shown)), cd_format("/%.*s", CD_ARG(field)));
    }
    cd_text text = cd_as_text(value, CD(""));
    cd_set_named(item, field, cd_new_text(lower ? cd_lower(text) : cd_upper(text)));
    cd_give(given, (cd_output){.value = item});
    return NULL;
}

const cd_transformer crossdock_transformer = {.open = open_it, .map = map};
