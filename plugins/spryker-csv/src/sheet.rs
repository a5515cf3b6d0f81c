//! The CSV files of an import: which stream fills which file, with which columns.
//!
//! Field names in records are the column names; a localised field is an object with one text per locale.

use crossdock_sdk::bytes::same;

use crate::config::Config;

/// One CSV file.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// Stream whose records become its rows.
    pub(crate) stream: &'static str,
    /// Name of the file.
    pub(crate) file: &'static str,
    /// Name of the entity in the import YAML.
    pub(crate) entity: &'static str,
    /// Fields of a record. Each has its columns in the file.
    pub(crate) columns: &'static [Column],
    /// Fields that identify a row.
    pub(crate) key: &'static [&'static str],
    /// The field that refers to a row of another file, which is checked at the end.
    pub(crate) refers: Option<&'static str>,
    /// Exactly one of the fields `abstract_sku` and `concrete_sku` must be there.
    pub(crate) either_sku: bool,
    /// Records without `store_name`/`store` become one row for each configured store.
    pub(crate) store: Option<&'static str>,
}

/// A field of a record and what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Name of the field and, without a locale, of the column.
    pub(crate) name: &'static str,
    /// How its value is read and written.
    pub(crate) cell: Cell,
}

/// How a value is read and written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell {
    /// A text that must be there.
    Key,
    /// A text, or what the config says when it is absent.
    Text(fn(&Config) -> &str),
    /// A text per locale. `true`: it must be there in one of them at least.
    Local(bool),
    /// A URL per locale, made from name and key where it is absent.
    Url,
    /// 1 or 0, with this default. `None`: empty when absent.
    Flag(Option<bool>),
    /// 1 or 0, default 1 for a category without parent.
    RootFlag,
    /// 1 or 0 per locale, default 1.
    LocalFlag,
    /// A whole number, with this default. `None`: empty when absent.
    Whole(Option<i64>),
    /// Money in minor units.
    Minor,
    /// A date: `2017-06-01 00:00:00.000000`.
    Date,
    /// A list, joined by commas.
    List,
    /// A list of `{sku, quantity}`: `sku/2, sku/1`.
    Bundle,
    /// Any JSON, as its text.
    Json,
    /// Categories: the columns `category_key` and `category_product_order`, lists joined by commas.
    Categories,
    /// `attributes`: no column of its own.
    Pairs,
}

#[allow(
    clippy::unnecessary_literal_bound,
    reason = "has the type of its siblings, which borrow from the config"
)]
fn empty(_: &Config) -> &str {
    ""
}

const fn column(name: &'static str, cell: Cell) -> Column {
    Column { name, cell }
}

const TEXT: Cell = Cell::Text(empty);
const LOCAL: Cell = Cell::Local(false);
const TRUE: Cell = Cell::Flag(Some(true));
const FALSE: Cell = Cell::Flag(Some(false));

/// The files that are written record by record, in the order of their import. The files of attributes come between
/// categories and abstracts, see [`crate::attribute`].
pub(crate) const SHEETS: [Sheet; 9] = [
    Sheet {
        stream: "categories",
        file: "category.csv",
        entity: "category",
        columns: &[
            column("category_key", Cell::Key),
            column("parent_category_key", TEXT),
            column("name", Cell::Local(true)),
            column("meta_title", LOCAL),
            column("meta_description", LOCAL),
            column("meta_keywords", LOCAL),
            column("is_active", TRUE),
            column("is_in_menu", TRUE),
            column("is_clickable", TRUE),
            column("is_searchable", TRUE),
            column("is_root", Cell::RootFlag),
            column("is_main", TRUE),
            column("node_order", Cell::Whole(None)),
            column("template_name", Cell::Text(|config| &config.template_name)),
        ],
        key: &["category_key"],
        refers: Some("parent_category_key"),
        either_sku: false,
        store: None,
    },
    Sheet {
        stream: "category-stores",
        file: "category_store.csv",
        entity: "category-store",
        columns: &[
            column("category_key", Cell::Key),
            column("included_store_names", Cell::List),
            column("excluded_store_names", Cell::List),
        ],
        key: &["category_key"],
        refers: Some("category_key"),
        either_sku: false,
        store: None,
    },
    Sheet {
        stream: "abstracts",
        file: "product_abstract.csv",
        entity: "product-abstract",
        columns: &[
            column("categories", Cell::Categories),
            column("abstract_sku", Cell::Key),
            column("name", Cell::Local(true)),
            column("url", Cell::Url),
            column("color_code", TEXT),
            column("description", LOCAL),
            column("tax_set_name", Cell::Text(|config| &config.tax_set)),
            column("meta_title", LOCAL),
            column("meta_keywords", LOCAL),
            column("meta_description", LOCAL),
            column("new_from", Cell::Date),
            column("new_to", Cell::Date),
            column("attributes", Cell::Pairs),
        ],
        key: &["abstract_sku"],
        refers: Some("categories"),
        either_sku: false,
        store: None,
    },
    Sheet {
        stream: "approval-statuses",
        file: "product_abstract_approval_status.csv",
        entity: "product-abstract-approval-status",
        columns: &[
            column("sku", Cell::Key),
            column("approval_status", Cell::Key),
        ],
        key: &["sku"],
        refers: Some("sku"),
        either_sku: false,
        store: None,
    },
    Sheet {
        stream: "abstract-stores",
        file: "product_abstract_store.csv",
        entity: "product-abstract-store",
        columns: &[
            column("abstract_sku", Cell::Key),
            column("store_name", Cell::Key),
        ],
        key: &["abstract_sku", "store_name"],
        refers: Some("abstract_sku"),
        either_sku: false,
        store: Some("store_name"),
    },
    Sheet {
        stream: "concretes",
        file: "product_concrete.csv",
        entity: "product-concrete",
        columns: &[
            column("abstract_sku", Cell::Key),
            column("concrete_sku", Cell::Key),
            column("name", Cell::Local(true)),
            column("description", LOCAL),
            column("is_searchable", Cell::LocalFlag),
            column("bundled", Cell::Bundle),
            column("is_quantity_splittable", TRUE),
            column("is_active", TRUE),
            column("attributes", Cell::Pairs),
        ],
        key: &["concrete_sku"],
        refers: Some("abstract_sku"),
        either_sku: false,
        store: None,
    },
    Sheet {
        stream: "images",
        file: "product_image.csv",
        entity: "product-image",
        columns: &[
            column("image_set_name", Cell::Text(|config| &config.image_set)),
            column("external_url_large", Cell::Key),
            column("external_url_small", TEXT),
            column("locale", TEXT),
            column("abstract_sku", TEXT),
            column("concrete_sku", TEXT),
            column("sort_order", Cell::Whole(Some(0))),
            column("product_image_key", TEXT),
            column("product_image_set_key", TEXT),
            column("alt_text_small", LOCAL),
            column("alt_text_large", LOCAL),
        ],
        key: &[
            "image_set_name",
            "external_url_large",
            "locale",
            "abstract_sku",
            "concrete_sku",
        ],
        refers: None,
        either_sku: true,
        store: None,
    },
    Sheet {
        stream: "prices",
        file: "product_price.csv",
        entity: "product-price",
        columns: &[
            column("abstract_sku", TEXT),
            column("concrete_sku", TEXT),
            column("price_type", Cell::Text(|config| &config.price_type)),
            column("store", Cell::Key),
            column("currency", Cell::Key),
            column("value_net", Cell::Minor),
            column("value_gross", Cell::Minor),
            column("price_data.volume_prices", Cell::Json),
        ],
        key: &[
            "abstract_sku",
            "concrete_sku",
            "price_type",
            "store",
            "currency",
        ],
        refers: None,
        either_sku: true,
        store: Some("store"),
    },
    Sheet {
        stream: "stocks",
        file: "product_stock.csv",
        entity: "product-stock",
        columns: &[
            column("concrete_sku", Cell::Key),
            column("name", Cell::Text(|config| &config.warehouse)),
            column("quantity", Cell::Whole(Some(0))),
            column("is_never_out_of_stock", FALSE),
            column("is_bundle", FALSE),
        ],
        key: &["concrete_sku", "name"],
        refers: Some("concrete_sku"),
        either_sku: false,
        store: None,
    },
];

impl Sheet {
    /// Position of a field.
    pub(crate) fn position(&self, field: &str) -> Option<usize> {
        let named = |name: &str| same(name.as_bytes(), field.as_bytes());
        self.columns.iter().position(|column| named(column.name))
    }

    /// The header of all columns but the numbered pairs.
    pub(crate) fn header(&self, config: &Config) -> Vec<String> {
        let mut names = Vec::new();
        for column in self.columns {
            match column.cell {
                Cell::Local(_) | Cell::Url | Cell::LocalFlag => {
                    names.extend(
                        config
                            .locales
                            .iter()
                            .map(|locale| format!("{}.{locale}", column.name)),
                    );
                }
                Cell::Categories => {
                    names.extend([
                        "category_key".to_owned(),
                        "category_product_order".to_owned(),
                    ]);
                }
                Cell::Pairs => {}
                _ => names.push(column.name.to_owned()),
            }
        }
        names
    }

    /// The header of the numbered pairs: `plain` of them without locale, `localised` in each locale.
    pub(crate) fn pair_header(config: &Config, plain: usize, localised: usize) -> Vec<String> {
        let mut names = Vec::new();
        for number in 1..=plain {
            names.extend([format!("attribute_key_{number}"), format!("value_{number}")]);
        }
        for number in 1..=localised {
            for locale in &config.locales {
                names.extend([
                    format!("attribute_key_{number}.{locale}"),
                    format!("value_{number}.{locale}"),
                ]);
            }
        }
        names
    }
}
