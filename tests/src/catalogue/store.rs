//! Changes and inheritance, laid over a catalogue.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use serde_json::Value;

use super::{Catalogue, Head, Item, Kind};

/// A catalogue with the changes made to it since the start. Items may be changed and added, never removed, so that a
/// position keeps its item for ever and cursors stay true.
pub struct Store {
    base: Box<dyn Catalogue>,
    inherited: bool,
    edits: RwLock<HashMap<Kind, Edits>>,
}

/// What [`Store::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new item stands at the end of the listing.
    Created,
    /// A known item was replaced.
    Updated,
}

#[derive(Default)]
struct Edits {
    replaced: HashMap<usize, Value>,
    added: Vec<Value>,
    by_code: HashMap<String, usize>,
}

/// Ancestors seen while answering one request, so that siblings do not compute them again.
#[derive(Default)]
pub struct Ancestors(HashMap<usize, Option<Item>>);

impl Store {
    /// Lays an empty set of changes over `base`. With `inherited`, products and sub models show the values and categories
    /// of their ancestors too, as Akeneo does; without, each item shows only its own.
    pub fn new(base: Box<dyn Catalogue>, inherited: bool) -> Self {
        Self {
            base,
            inherited,
            edits: RwLock::default(),
        }
    }

    /// The item as the API shows it: with what it inherits, when the store was made so.
    pub fn shown(&self, kind: Kind, index: usize, ancestors: &mut Ancestors) -> Option<Item> {
        let mut item = self.parts(kind, index)?;
        if self.inherited
            && matches!(kind, Kind::Products | Kind::ProductModels)
            && let Some(parent) = self
                .parent_of(&item)
                .and_then(|parent| self.ancestor(parent, ancestors, 0))
        {
            item.inherit(parent);
        }
        Some(item)
    }

    /// The categories of a product or model, with those of its ancestors when they are inherited.
    pub fn categories(&self, kind: Kind, index: usize) -> Vec<String> {
        let item = self
            .shown(kind, index, &mut Ancestors::default())
            .unwrap_or_default();
        let list = item
            .fields
            .get("categories")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Stores a whole item under its own code.
    pub fn put(&self, kind: Kind, item: Value) -> Change {
        let code = item
            .get(kind.key())
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let known = self.find(kind, &code);
        let base = self.base.len(kind);
        let mut all = self.edits.write().unwrap_or_else(PoisonError::into_inner);
        let edits = all.entry(kind).or_default();
        match known {
            Some(index) if index >= base => {
                edits.added[index - base] = item;
                Change::Updated
            }
            Some(index) => {
                edits.replaced.insert(index, item);
                Change::Updated
            }
            None => {
                edits
                    .by_code
                    .insert(code.to_lowercase(), base + edits.added.len());
                edits.added.push(item);
                Change::Created
            }
        }
    }

    fn parent_of(&self, item: &Item) -> Option<usize> {
        self.find(Kind::ProductModels, item.text("parent")?)
    }

    fn ancestor<'a>(
        &self,
        index: usize,
        ancestors: &'a mut Ancestors,
        depth: usize,
    ) -> Option<&'a Item> {
        if !ancestors.0.contains_key(&index) {
            let mut item = self.parts(Kind::ProductModels, index);
            // Akeneo knows two levels of models; the bound keeps a wrong parent code from looping.
            if let Some(item) = item.as_mut().filter(|_| depth < 2) {
                let parent = self.parent_of(item);
                if let Some(parent) =
                    parent.and_then(|parent| self.ancestor(parent, ancestors, depth + 1))
                {
                    item.inherit(parent);
                }
            }
            ancestors.0.insert(index, item);
        }
        ancestors.0.get(&index)?.as_ref()
    }

    fn edited<T>(&self, kind: Kind, read: impl FnOnce(&Edits) -> Option<T>) -> Option<T> {
        self.edits
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&kind)
            .and_then(read)
    }

    fn edited_item<T>(
        &self,
        kind: Kind,
        index: usize,
        read: impl FnOnce(&Value) -> T,
    ) -> Option<T> {
        let base = self.base.len(kind);
        self.edited(kind, |edits| match index.checked_sub(base) {
            Some(added) => edits.added.get(added).map(read),
            None => edits.replaced.get(&index).map(read),
        })
    }
}

impl Catalogue for Store {
    fn len(&self, kind: Kind) -> usize {
        self.base.len(kind)
            + self
                .edited(kind, |edits| Some(edits.added.len()))
                .unwrap_or_default()
    }

    fn item(&self, kind: Kind, index: usize) -> Option<Value> {
        self.edited_item(kind, index, Value::clone)
            .or_else(|| self.base.item(kind, index))
    }

    fn parts(&self, kind: Kind, index: usize) -> Option<Item> {
        self.edited_item(kind, index, |item| Item::of(item.clone()))
            .or_else(|| self.base.parts(kind, index))
    }

    fn head(&self, kind: Kind, index: usize) -> Option<Head> {
        self.edited_item(kind, index, |item| Head::of(kind, item))
            .or_else(|| self.base.head(kind, index))
    }

    fn find(&self, kind: Kind, code: &str) -> Option<usize> {
        self.edited(kind, |edits| {
            edits.by_code.get(&code.to_lowercase()).copied()
        })
        .or_else(|| self.base.find(kind, code))
    }

    fn find_uuid(&self, uuid: &str) -> Option<usize> {
        let added = |edits: &Edits| {
            edits
                .added
                .iter()
                .position(|item| item.get("uuid").and_then(Value::as_str) == Some(uuid))
        };
        let base = self.base.len(Kind::Products);
        self.edited(Kind::Products, added)
            .map(|at| base + at)
            .or_else(|| self.base.find_uuid(uuid))
    }

    fn options(&self, attribute: &str) -> Option<Vec<Value>> {
        self.base.options(attribute)
    }

    fn family_variants(&self, family: &str) -> Option<Vec<Value>> {
        self.base.family_variants(family)
    }

    fn has_media(&self, code: &str) -> bool {
        self.base.has_media(code)
    }
}
