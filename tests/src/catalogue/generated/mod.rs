//! A catalogue made from a seed and a size. Nothing is stored: every item is computed from its number.
//!
//! Choices that keep the counts plain: every leaf-level model owns at least one variant (none is left empty), only the
//! family variants that the catalogue uses are defined, and products are cut off at exactly the size asked for.
//! What is nasty on purpose: a tenth of the category codes and a thirteenth of the parent codes are written in another
//! case, a third of the categories is listed before its parent, every seventh block lists a sub model before
//! its root, some identifiers hold a slash or a space, some products have no family or are disabled, and values are missing,
//! `null`, empty or full of markup.

mod content;
mod layout;
mod reference;
mod words;

use std::collections::HashMap;

use serde_json::{Value, json};

use self::content::{Theme, Writer};
use self::layout::Role;
use self::words::hash;
use super::{Catalogue, Head, Item, Kind, Values, format_stamp};

/// The enabled locales.
const LOCALES: [&str; 3] = ["en_US", "de_DE", "fr_FR"];

/// A catalogue of any size in flat memory.
pub struct Generated {
    products: usize,
    seed: u64,
    categories: usize,
    /// The kinds that do not grow.
    fixed: HashMap<Kind, Vec<Value>>,
}

impl Generated {
    /// A catalogue with exactly `products` products (variants and simple ones together). The same seed and size give the
    /// same catalogue; another size keeps the products that both have.
    pub fn new(products: usize, seed: u64) -> Self {
        let fixed = HashMap::from([
            (Kind::Families, reference::families()),
            (Kind::Attributes, reference::attributes()),
            (Kind::Channels, reference::channels()),
            (Kind::Locales, reference::locales()),
            (Kind::Currencies, reference::currencies()),
            (Kind::MeasurementFamilies, reference::measurement_families()),
            (Kind::AssociationTypes, reference::association_types()),
        ]);
        Self {
            products,
            seed,
            categories: (30 + products / 40).min(400),
            fixed,
        }
    }

    fn used_variants(&self) -> Vec<&'static str> {
        // After six blocks every family variant has been used.
        let models = layout::models(self.products.min(6 * layout::BLOCK));
        let mut used: Vec<_> = (0..models)
            .map(layout::model)
            .map(|(block, role)| family_variant(block, role))
            .collect();
        used.sort_unstable();
        used.dedup();
        used
    }

    fn category_parent(node: usize) -> Option<String> {
        let parent = node.checked_sub(1)? / 6;
        Some(if node % 11 == 5 {
            category_code(parent).to_uppercase()
        } else {
            category_code(parent)
        })
    }

    /// Children first, for a third of them: the listing starts late in the tree and wraps around.
    fn category_node(&self, index: usize) -> usize {
        (index + self.categories * 2 / 3) % self.categories
    }

    fn category(&self, index: usize) -> Value {
        let node = self.category_node(index);
        let texts = ["Category", "Kategorie", "Catégorie"];
        let tail = words::pick(&words::TAILS, hash(self.seed, 300, node as u64));
        let labels: serde_json::Map<String, Value> = LOCALES
            .iter()
            .zip(texts)
            .enumerate()
            .filter(|(at, _)| {
                node == 0 || !hash(self.seed, 301 + *at as u64, node as u64).is_multiple_of(5)
            })
            .map(|(_, (locale, text))| {
                ((*locale).to_owned(), json!(format!("{text} {node}{tail}")))
            })
            .collect();
        json!({
            "code": category_code(node),
            "parent": Self::category_parent(node),
            "updated": format_stamp(reference::EPOCH + signed(node as u64) * 60),
            "labels": labels,
        })
    }

    /// One to three categories below the root, sometimes in another case than the tree writes them.
    fn categories_of(&self, salt: u64, number: u64) -> Vec<String> {
        let roll = hash(self.seed, salt, number);
        (0..=roll % 3)
            .map(|n| {
                let below_root = self.categories as u64 - 1;
                let code =
                    category_code(1 + ((roll >> 8).wrapping_add(n * 7) % below_root) as usize);
                if (roll >> 4).wrapping_add(n).is_multiple_of(10) {
                    code.to_uppercase()
                } else {
                    code
                }
            })
            .collect()
    }

    fn product_head(&self, index: usize) -> Head {
        let place = layout::place(index);
        let number = index as u64;
        let created = reference::EPOCH + signed(index as u64) * 60 % 20_000_000;
        let family = match place.owner {
            None if hash(self.seed, 210, number).is_multiple_of(17) => None,
            _ => Some(theme(place.block, place.owner).family().to_owned()),
        };
        Head {
            code: identifier(index),
            uuid: Some(self.uuid(index)),
            parent: place.owner.map(|role| {
                let code = model_code(place.block, role);
                if index % 13 == 4 {
                    code.to_uppercase()
                } else {
                    code
                }
            }),
            family,
            family_variant: None,
            enabled: index % 17 != 3,
            created,
            updated: created + signed(hash(self.seed, 211, number) % 10_000_000),
        }
    }

    fn product(&self, index: usize) -> Item {
        let head = self.product_head(index);
        let place = layout::place(index);
        let theme = theme(place.block, place.owner);
        let mut values = Writer::new(self.seed, index as u64);
        if place.owner.is_none() {
            values.common(theme, true, true);
        }
        values.own(place, theme);
        // Variants of two-level models mostly leave the categories to their models.
        let categories = match place.owner {
            Some(Role::B1 | Role::B2) if !index.is_multiple_of(4) => vec![],
            _ => self.categories_of(220, index as u64),
        };
        let mut item = Self::shared(&head, &categories, values.finish());
        item.set("identifier", json!(head.code));
        item.set("uuid", json!(head.uuid));
        item.set("enabled", json!(head.enabled));
        item.set("groups", json!([]));
        if index > 0 && index.is_multiple_of(9) {
            let other = index / 2;
            item.set(
                "associations",
                json!({"X_SELL": {"products": [identifier(other)],
                "product_models": [model_code(other / layout::BLOCK, Role::A)], "groups": []}}),
            );
        }
        if index > 0 && index.is_multiple_of(21) {
            item.set(
                "quantified_associations",
                json!({"PRODUCT_SET": {"products":
                [{"identifier": identifier(index - 1), "quantity": 2}], "product_models": []}}),
            );
        }
        item
    }

    fn model_head(&self, index: usize) -> Head {
        let (block, role) = layout::model(index);
        let created = reference::EPOCH + signed(index as u64) * 180 % 20_000_000;
        Head {
            code: model_code(block, role),
            uuid: None,
            parent: role.parent().map(|root| {
                let code = model_code(block, root);
                if block % 13 == 6 {
                    code.to_uppercase()
                } else {
                    code
                }
            }),
            family: Some(theme(block, Some(role)).family().to_owned()),
            family_variant: Some(family_variant(block, role).to_owned()),
            enabled: true,
            created,
            updated: created + signed(hash(self.seed, 212, index as u64) % 10_000_000),
        }
    }

    fn model(&self, index: usize) -> Item {
        let (block, role) = layout::model(index);
        let head = self.model_head(index);
        // Roots and simple products share the texts' number space without clashing: models count from the top.
        let number = 50_000_000 + (block * layout::MODELS) as u64 + role as u64;
        let mut values = Writer::new(self.seed, number);
        let variant = family_variant(block, role);
        match role {
            Role::A | Role::B => values.common(theme(block, Some(role)), true, role == Role::A),
            Role::C => values.common(theme(block, Some(role)), false, false),
            Role::B1 => values.sub_model(first_axis(variant), 0),
            Role::B2 => values.sub_model(first_axis(variant), 1),
        }
        let categories = if role.parent().is_some() {
            vec![]
        } else {
            self.categories_of(221, number)
        };
        let mut item = Self::shared(&head, &categories, values.finish());
        item.set("code", json!(head.code));
        item.set("family_variant", json!(head.family_variant));
        item
    }

    fn shared(head: &Head, categories: &[String], values: Values) -> Item {
        let fields = json!({
            "family": head.family,
            "parent": head.parent,
            "categories": categories,
            "associations": {},
            "quantified_associations": {},
            "created": format_stamp(head.created),
            "updated": format_stamp(head.updated),
        });
        Item {
            values: Some(values),
            ..Item::of(fields)
        }
    }

    /// The last 48 bits are the number, masked; the rest only looks random.
    fn uuid(&self, index: usize) -> String {
        let roll = hash(self.seed, 200, index as u64);
        let node = (index as u64) ^ (hash(self.seed, 201, 0) & 0xFFFF_FFFF_FFFF);
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{node:012x}",
            roll >> 32,
            (roll >> 16) & 0xFFFF,
            (roll >> 4) & 0xFFF,
            roll & 0xFFF
        )
    }
}

/// A small number with a sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn category_code(node: usize) -> String {
    if node == 0 {
        "master".to_owned()
    } else {
        format!("cat_{node:04}")
    }
}

fn identifier(index: usize) -> String {
    match index {
        _ if index % 997 == 5 => format!("AKN/{index:08}"),
        _ if index % 499 == 7 => format!("AKN {index:08}"),
        _ if index % layout::BLOCK >= 17 => format!("simple.{index:08}"),
        _ => format!("AKN-{index:08}"),
    }
}

fn theme(block: usize, owner: Option<Role>) -> Theme {
    match owner {
        Some(Role::A) => [Theme::Clothing, Theme::Shoes, Theme::Accessories][block % 3],
        Some(Role::B | Role::B1 | Role::B2) => {
            [Theme::Clothing, Theme::Shoes, Theme::Clothing][block % 3]
        }
        Some(Role::C) => [Theme::Clothing, Theme::Accessories][block % 2],
        None => [Theme::Accessories, Theme::Clothing][block % 2],
    }
}

fn family_variant(block: usize, role: Role) -> &'static str {
    let row = match role {
        Role::A => block % 3,
        Role::B | Role::B1 | Role::B2 => 3 + block % 3,
        Role::C => 6 + block % 2,
    };
    reference::VARIANTS[row][0]
}

fn first_axis(variant: &str) -> &'static str {
    reference::VARIANTS
        .iter()
        .find(|row| row[0] == variant)
        .map_or("color", |row| row[2])
}

fn model_code(block: usize, role: Role) -> String {
    let family = theme(block, Some(role)).family();
    format!("{family}-{block:06}-{}", role.suffix())
}

/// The first run of digits in a code.
fn digits(code: &str) -> Option<usize> {
    let start = code.find(|c: char| c.is_ascii_digit())?;
    let rest = &code[start..];
    rest[..rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len())]
        .parse()
        .ok()
}

fn position(items: &[Value], code: &str) -> Option<usize> {
    items.iter().position(|item| {
        item["code"]
            .as_str()
            .is_some_and(|own| own.eq_ignore_ascii_case(code))
    })
}

impl Generated {
    fn fixed(&self, kind: Kind) -> &[Value] {
        self.fixed.get(&kind).map_or(&[], Vec::as_slice)
    }
}

impl Catalogue for Generated {
    fn len(&self, kind: Kind) -> usize {
        match kind {
            Kind::Products => self.products,
            Kind::ProductModels => layout::models(self.products),
            Kind::Categories => self.categories,
            _ => self.fixed(kind).len(),
        }
    }

    fn item(&self, kind: Kind, index: usize) -> Option<Value> {
        match kind {
            Kind::Products | Kind::ProductModels => self.parts(kind, index).map(Item::into_whole),
            Kind::Categories => (index < self.categories).then(|| self.category(index)),
            _ => self.fixed(kind).get(index).cloned(),
        }
    }

    fn parts(&self, kind: Kind, index: usize) -> Option<Item> {
        match kind {
            Kind::Products => (index < self.products).then(|| self.product(index)),
            Kind::ProductModels => {
                (index < layout::models(self.products)).then(|| self.model(index))
            }
            _ => self.item(kind, index).map(Item::of),
        }
    }

    fn head(&self, kind: Kind, index: usize) -> Option<Head> {
        match kind {
            Kind::Products => (index < self.products).then(|| self.product_head(index)),
            Kind::ProductModels => {
                (index < layout::models(self.products)).then(|| self.model_head(index))
            }
            _ => self.item(kind, index).map(|item| Head::of(kind, &item)),
        }
    }

    fn find(&self, kind: Kind, code: &str) -> Option<usize> {
        let same = |own: &str| own.eq_ignore_ascii_case(code);
        match kind {
            Kind::Products => {
                digits(code).filter(|&index| index < self.products && same(&identifier(index)))
            }
            Kind::ProductModels => {
                let first = digits(code)?.checked_mul(layout::MODELS)?;
                let last = first
                    .saturating_add(layout::MODELS)
                    .min(layout::models(self.products));
                (first..last).find(|&index| {
                    let (block, role) = layout::model(index);
                    same(&model_code(block, role))
                })
            }
            Kind::Categories => {
                let node = if same("master") { 0 } else { digits(code)? };
                (node < self.categories && same(&category_code(node)))
                    .then(|| (node + self.categories - self.category_node(0)) % self.categories)
            }
            _ => position(self.fixed(kind), code),
        }
    }

    fn find_uuid(&self, uuid: &str) -> Option<usize> {
        let node = u64::from_str_radix(uuid.rsplit('-').next()?, 16).ok()?;
        let index = usize::try_from(node ^ (hash(self.seed, 201, 0) & 0xFFFF_FFFF_FFFF)).ok()?;
        (index < self.products && self.uuid(index).eq_ignore_ascii_case(uuid)).then_some(index)
    }

    fn options(&self, attribute: &str) -> Option<Vec<Value>> {
        let attributes = self.fixed(Kind::Attributes);
        let code = attributes[position(attributes, attribute)?]["code"].as_str()?;
        Some(reference::options(code))
    }

    fn family_variants(&self, family: &str) -> Option<Vec<Value>> {
        let families = self.fixed(Kind::Families);
        let code = families[position(families, family)?]["code"].as_str()?;
        Some(reference::family_variants(code, &self.used_variants()))
    }

    fn has_media(&self, code: &str) -> bool {
        content::is_media(code)
    }
}

#[cfg(test)]
mod tests;
