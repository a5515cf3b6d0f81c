//! The catalogues that the Akeneo stand-in serves.
//!
//! A [`Catalogue`] answers by number: item `n` of a kind, in listing order. Nothing needs to be stored, so the
//! [`Generated`] one holds any size in flat memory, and the [`Fixtures`] one reads a folder of CSV files. [`Store`] lays
//! changes (from PATCH) and inherited values over either of them.
//!
//! What a correct integration must make of a catalogue is [`Expected`], counted from the catalogue itself by this
//! rule: the model that owns the variants is the *abstract*, each product a *concrete*, a simple product makes its own
//! abstract, and the axes of the family variants in use are the super attributes.

pub mod fixtures;
pub mod generated;
mod item;
mod stamp;
mod store;

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

pub use fixtures::{FixtureError, Fixtures, uuid as uuid_of};
pub use generated::Generated;
pub use item::{Entry, Item, Text, Values};
pub use stamp::{format_stamp, parse_iso, parse_plain};
pub use store::{Ancestors, Change, Store};

/// A kind of item that can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Variants and simple products.
    Products,
    /// Root models and sub models.
    ProductModels,
    /// Families.
    Families,
    /// Attributes.
    Attributes,
    /// Categories.
    Categories,
    /// Channels.
    Channels,
    /// Locales.
    Locales,
    /// Currencies.
    Currencies,
    /// Measurement families.
    MeasurementFamilies,
    /// Association types.
    AssociationTypes,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Products,
        Self::ProductModels,
        Self::Families,
        Self::Attributes,
        Self::Categories,
        Self::Channels,
        Self::Locales,
        Self::Currencies,
        Self::MeasurementFamilies,
        Self::AssociationTypes,
    ];

    /// The last part of the path of its collection, for example `product-models`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::ProductModels => "product-models",
            Self::Families => "families",
            Self::Attributes => "attributes",
            Self::Categories => "categories",
            Self::Channels => "channels",
            Self::Locales => "locales",
            Self::Currencies => "currencies",
            Self::MeasurementFamilies => "measurement-families",
            Self::AssociationTypes => "association-types",
        }
    }

    /// The kind with that [`Kind::path`].
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path() == path)
    }

    /// The field that names an item of this kind.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Products => "identifier",
            _ => "code",
        }
    }
}

/// What filters look at, without the cost of the whole item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Identifier of a product, code of everything else.
    pub code: String,
    /// Only products have one.
    pub uuid: Option<String>,
    /// Code of the parent, as written in the item: its case may differ from the parent's own code.
    pub parent: Option<String>,
    /// Code of the family.
    pub family: Option<String>,
    /// Only product models have one.
    pub family_variant: Option<String>,
    /// `true` where the kind knows no status.
    pub enabled: bool,
    /// Seconds since 1970, UTC.
    pub created: i64,
    /// Seconds since 1970, UTC.
    pub updated: i64,
}

impl Head {
    /// Reads the head from a whole item.
    pub fn of(kind: Kind, item: &Value) -> Self {
        let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
        let time = |key: &str| {
            item.get(key)
                .and_then(Value::as_str)
                .and_then(parse_iso)
                .unwrap_or_default()
        };
        Self {
            code: text(kind.key()).unwrap_or_default(),
            uuid: text("uuid"),
            parent: text("parent"),
            family: text("family"),
            family_variant: text("family_variant"),
            enabled: item.get("enabled").and_then(Value::as_bool).unwrap_or(true),
            created: time("created"),
            updated: time("updated"),
        }
    }
}

/// Items by number, in listing order, each with its *own* values only: what it inherits is added by [`Store`].
///
/// Items are JSON objects in the form of Akeneo's API. A product carries both `identifier` and `uuid`, and its identifier
/// is not among its values. Codes are looked up without regard to case, as Akeneo does.
pub trait Catalogue: Send + Sync {
    /// How many items of that kind there are.
    fn len(&self, kind: Kind) -> usize;

    /// Item `index` of the listing, `None` past the end.
    fn item(&self, kind: Kind, index: usize) -> Option<Value>;

    /// The same item in parts.
    fn parts(&self, kind: Kind, index: usize) -> Option<Item> {
        self.item(kind, index).map(Item::of)
    }

    /// The position of the item with that identifier or code.
    fn find(&self, kind: Kind, code: &str) -> Option<usize>;

    /// The position of the product with that uuid.
    fn find_uuid(&self, uuid: &str) -> Option<usize>;

    /// The options of an attribute, `None` when there is no such attribute.
    fn options(&self, attribute: &str) -> Option<Vec<Value>>;

    /// The family variants of a family, `None` when there is no such family.
    fn family_variants(&self, family: &str) -> Option<Vec<Value>>;

    /// Whether a media file with that code exists.
    fn has_media(&self, code: &str) -> bool;

    /// What filters need of item `index`.
    fn head(&self, kind: Kind, index: usize) -> Option<Head> {
        self.item(kind, index).map(|item| Head::of(kind, &item))
    }

    /// What a correct integration makes of this catalogue.
    fn expected(&self) -> Expected {
        count(self)
    }
}

/// The true counts of a catalogue, to compare an integration's result with.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Expected {
    /// Categories.
    pub categories: usize,
    /// Attributes, the identifier included.
    pub attributes: usize,
    /// Options of all attributes.
    pub options: usize,
    /// Axes of the family variants that some model uses.
    pub super_attributes: BTreeSet<String>,
    /// Families.
    pub families: usize,
    /// Family variants of all families.
    pub family_variants: usize,
    /// Root and sub models.
    pub product_models: usize,
    /// Models that directly own products.
    pub owners: usize,
    /// Products without a parent.
    pub simple: usize,
    /// Spryker abstracts: owners + simple.
    pub abstracts: usize,
    /// Spryker concretes: all products.
    pub concretes: usize,
}

fn count<C: Catalogue + ?Sized>(catalogue: &C) -> Expected {
    let heads =
        |kind| (0..catalogue.len(kind)).filter_map(move |index| catalogue.head(kind, index));
    let mut used = HashSet::new();
    for head in heads(Kind::ProductModels) {
        used.extend(head.family_variant.map(|code| code.to_lowercase()));
    }
    let mut owners = HashSet::new();
    let mut simple = 0;
    for head in heads(Kind::Products) {
        match head.parent {
            None => simple += 1,
            Some(parent) => owners.extend(catalogue.find(Kind::ProductModels, &parent)),
        }
    }
    let variants: Vec<Value> = heads(Kind::Families)
        .filter_map(|family| catalogue.family_variants(&family.code))
        .flatten()
        .collect();
    let options = heads(Kind::Attributes)
        .filter_map(|attribute| catalogue.options(&attribute.code))
        .map(|options| options.len())
        .sum();
    Expected {
        categories: catalogue.len(Kind::Categories),
        attributes: catalogue.len(Kind::Attributes),
        options,
        super_attributes: axes(&variants, &used),
        families: catalogue.len(Kind::Families),
        family_variants: variants.len(),
        product_models: catalogue.len(Kind::ProductModels),
        owners: owners.len(),
        simple,
        abstracts: owners.len() + simple,
        concretes: catalogue.len(Kind::Products),
    }
}

fn axes(variants: &[Value], used: &HashSet<String>) -> BTreeSet<String> {
    let strings = |value: &Value, key: &str| -> Vec<Value> {
        value
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    variants
        .iter()
        .filter(|variant| {
            variant
                .get("code")
                .and_then(Value::as_str)
                .is_some_and(|code| used.contains(&code.to_lowercase()))
        })
        .flat_map(|variant| strings(variant, "variant_attribute_sets"))
        .flat_map(|set| strings(&set, "axes"))
        .filter_map(|axis| axis.as_str().map(str::to_owned))
        .collect()
}
