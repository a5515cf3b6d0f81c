//! What the components of a segment are called. The places are those of the directories D.90 to D.24: they have hardly
//! moved. What a segment holds beyond these goes along as it is, see [`crate::record`].

/// What a component becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// A date whose format is the next component.
    Date,
    /// A list of texts: this component and those behind it, up to this one.
    Texts(u16),
    /// A list of objects `{id, type}`: this element and those behind it, up to this one.
    Items(u16),
}

/// One field: where it is, what it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) element: u16,
    pub(crate) component: u16,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// One kind of segment.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) tag: &'static str,
    /// The name of the list that such segments are in.
    pub(crate) list: &'static str,
    pub(crate) known: &'static [Field],
    /// Every composite is an entry of its own, not the segment as a whole.
    pub(crate) each: bool,
}

const fn t(element: u16, component: u16, name: &'static str) -> Field {
    Field {
        element,
        component,
        name,
        kind: Kind::Text,
    }
}

const fn n(element: u16, component: u16, name: &'static str) -> Field {
    Field {
        element,
        component,
        name,
        kind: Kind::Number,
    }
}

const fn texts(element: u16, component: u16, last: u16, name: &'static str) -> Field {
    Field {
        element,
        component,
        name,
        kind: Kind::Texts(last),
    }
}

const fn fields(tag: &'static str, list: &'static str, known: &'static [Field]) -> Fields {
    Fields {
        tag,
        list,
        known,
        each: false,
    }
}

/// Those of a segment with this tag.
pub(crate) fn of(tag: &str) -> Option<&'static Fields> {
    FIELDS.iter().find(|fields| fields.tag == tag)
}

/// The one that is there once, as an object.
pub(crate) const DOCUMENT: &str = "BGM";

static FIELDS: [Fields; 31] = [
    fields(
        "BGM",
        "document",
        &[
            t(0, 0, "code"),
            t(0, 1, "code_list"),
            t(0, 2, "agency"),
            t(0, 3, "name"),
            t(1, 0, "number"),
            t(1, 1, "version"),
            t(1, 2, "revision"),
            t(2, 0, "function"),
            t(3, 0, "response"),
        ],
    ),
    fields(
        "DTM",
        "dates",
        &[
            t(0, 0, "qualifier"),
            Field {
                element: 0,
                component: 1,
                name: "value",
                kind: Kind::Date,
            },
        ],
    ),
    fields(
        "RFF",
        "references",
        &[
            t(0, 0, "qualifier"),
            t(0, 1, "number"),
            t(0, 2, "line"),
            t(0, 3, "version"),
        ],
    ),
    fields(
        "NAD",
        "parties",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "id"),
            t(1, 1, "code_list"),
            t(1, 2, "agency"),
            texts(2, 0, 4, "address"),
            texts(3, 0, 4, "name"),
            texts(4, 0, 3, "street"),
            t(5, 0, "city"),
            t(6, 0, "region"),
            t(7, 0, "postcode"),
            t(8, 0, "country"),
        ],
    ),
    fields(
        "LOC",
        "locations",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "id"),
            t(1, 1, "code_list"),
            t(1, 2, "agency"),
            t(1, 3, "name"),
        ],
    ),
    fields(
        "CTA",
        "contacts",
        &[t(0, 0, "function"), t(1, 0, "id"), t(1, 1, "name")],
    ),
    Fields {
        tag: "COM",
        list: "communications",
        known: &[t(0, 0, "address"), t(0, 1, "channel")],
        each: true,
    },
    fields(
        "CUX",
        "currencies",
        &[
            t(0, 0, "usage"),
            t(0, 1, "currency"),
            t(0, 2, "qualifier"),
            n(0, 3, "base"),
            t(1, 0, "target_usage"),
            t(1, 1, "target_currency"),
            t(1, 2, "target_qualifier"),
            n(1, 3, "target_base"),
            n(2, 0, "rate"),
            t(3, 0, "market"),
        ],
    ),
    fields(
        "PAT",
        "payment_terms",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "id"),
            t(1, 1, "code_list"),
            t(1, 2, "agency"),
            texts(1, 3, 4, "text"),
            t(2, 0, "reference"),
            t(2, 1, "relation"),
            t(2, 2, "period"),
            n(2, 3, "periods"),
        ],
    ),
    fields(
        "PCD",
        "percentages",
        &[t(0, 0, "qualifier"), n(0, 1, "value"), t(0, 2, "basis")],
    ),
    fields(
        "MOA",
        "amounts",
        &[
            t(0, 0, "qualifier"),
            n(0, 1, "value"),
            t(0, 2, "currency"),
            t(0, 3, "currency_qualifier"),
            t(0, 4, "status"),
        ],
    ),
    fields(
        "TAX",
        "taxes",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "type"),
            t(1, 1, "code_list"),
            t(1, 2, "agency"),
            t(1, 3, "name"),
            t(2, 0, "account"),
            n(3, 0, "basis"),
            t(4, 0, "rate_id"),
            n(4, 3, "rate"),
            t(5, 0, "category"),
            t(6, 0, "registration"),
        ],
    ),
    fields(
        "ALC",
        "charges",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "number"),
            t(1, 1, "reason"),
            t(2, 0, "settlement"),
            t(3, 0, "sequence"),
            t(4, 0, "service"),
            t(4, 1, "code_list"),
            t(4, 2, "agency"),
            texts(4, 3, 4, "text"),
        ],
    ),
    fields(
        "LIN",
        "lines",
        &[
            t(0, 0, "number"),
            t(1, 0, "action"),
            t(2, 0, "item"),
            t(2, 1, "item_type"),
            t(2, 2, "code_list"),
            t(2, 3, "agency"),
            t(3, 0, "sub_line"),
            t(3, 1, "parent_line"),
            t(4, 0, "level"),
        ],
    ),
    fields(
        "PIA",
        "other_items",
        &[
            t(0, 0, "qualifier"),
            Field {
                element: 1,
                component: 0,
                name: "items",
                kind: Kind::Items(5),
            },
        ],
    ),
    fields(
        "IMD",
        "descriptions",
        &[
            t(0, 0, "format"),
            t(1, 0, "characteristic"),
            t(2, 0, "code"),
            t(2, 1, "code_list"),
            t(2, 2, "agency"),
            texts(2, 3, 4, "text"),
            t(2, 5, "language"),
        ],
    ),
    fields(
        "QTY",
        "quantities",
        &[t(0, 0, "qualifier"), n(0, 1, "value"), t(0, 2, "unit")],
    ),
    fields(
        "PRI",
        "prices",
        &[
            t(0, 0, "qualifier"),
            n(0, 1, "value"),
            t(0, 2, "type"),
            t(0, 3, "type_qualifier"),
            n(0, 4, "per"),
            t(0, 5, "unit"),
            t(1, 0, "sub_line"),
        ],
    ),
    fields(
        "RNG",
        "ranges",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "unit"),
            n(1, 1, "from"),
            n(1, 2, "to"),
        ],
    ),
    fields(
        "MEA",
        "measures",
        &[
            t(0, 0, "purpose"),
            t(1, 0, "dimension"),
            t(1, 1, "significance"),
            t(2, 0, "unit"),
            n(2, 1, "value"),
            n(2, 2, "from"),
            n(2, 3, "to"),
        ],
    ),
    fields(
        "FTX",
        "texts",
        &[
            t(0, 0, "qualifier"),
            t(1, 0, "function"),
            t(2, 0, "code"),
            t(2, 1, "code_list"),
            t(2, 2, "agency"),
            texts(3, 0, 4, "text"),
            t(4, 0, "language"),
        ],
    ),
    fields(
        "TOD",
        "delivery_terms",
        &[
            t(0, 0, "function"),
            t(1, 0, "payment"),
            t(2, 0, "code"),
            t(2, 1, "code_list"),
            t(2, 2, "agency"),
            texts(2, 3, 4, "text"),
        ],
    ),
    fields(
        "TDT",
        "transports",
        &[
            t(0, 0, "stage"),
            t(1, 0, "reference"),
            t(2, 0, "mode"),
            t(2, 1, "mode_name"),
            t(3, 0, "means"),
            t(3, 1, "means_name"),
            t(4, 0, "carrier"),
            t(4, 1, "code_list"),
            t(4, 2, "agency"),
            t(4, 3, "carrier_name"),
        ],
    ),
    fields(
        "CPS",
        "consignments",
        &[t(0, 0, "id"), t(1, 0, "parent"), t(2, 0, "level")],
    ),
    fields(
        "PAC",
        "packages",
        &[
            n(0, 0, "count"),
            t(1, 0, "level"),
            t(1, 1, "related"),
            t(1, 2, "terms"),
            t(2, 0, "type"),
            t(2, 1, "code_list"),
            t(2, 2, "agency"),
            t(2, 3, "name"),
        ],
    ),
    fields(
        "PCI",
        "marks",
        &[t(0, 0, "instruction"), texts(1, 0, 9, "text")],
    ),
    fields(
        "GIN",
        "identities",
        &[t(0, 0, "qualifier"), texts(1, 0, 1, "ids")],
    ),
    fields(
        "QVR",
        "variances",
        &[n(0, 0, "value"), t(0, 1, "qualifier"), t(1, 0, "reason")],
    ),
    fields(
        "CNT",
        "controls",
        &[t(0, 0, "qualifier"), n(0, 1, "value"), t(0, 2, "unit")],
    ),
    fields(
        "ALI",
        "conditions",
        &[t(0, 0, "origin"), t(1, 0, "duty"), t(2, 0, "condition")],
    ),
    fields(
        "PGI",
        "product_groups",
        &[
            t(0, 0, "type"),
            t(1, 0, "id"),
            t(1, 1, "code_list"),
            t(1, 2, "agency"),
            t(1, 3, "name"),
        ],
    ),
];
