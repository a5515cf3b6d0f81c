//! What compiled rules do to a record and its variables, found without running them.

use crate::syntax::{Action, Items, Path, Root, Rule};

/// Whether no record gets past this rule.
pub(crate) fn ends(rule: &Rule) -> bool {
    rule.when.is_none()
        && match &rule.action {
            Action::Drop(_) | Action::Raise(_) | Action::Done | Action::Explode(..) => true,
            Action::Group { rules, otherwise } => {
                rules.last().is_some_and(ends) && otherwise.is_empty()
            }
            _ => false,
        }
}

/// Whether these rules write to a variable.
pub(crate) fn writes(rules: &[Rule], slot: usize) -> bool {
    let hits = |path: &Path| path.root == Root::Variable(slot);
    rules.iter().any(|rule| match &rule.action {
        Action::Set(path, _)
        | Action::Default(path, _)
        | Action::Change(path, _)
        | Action::Rename(path, _)
        | Action::Remove(path)
        | Action::Copy(_, path)
        | Action::Merge { into: path, .. } => hits(path),
        Action::Move(from, into) => hits(from) || hits(into),
        Action::Lookup(lookup) => hits(&lookup.into),
        Action::Group { rules, otherwise } => writes(rules, slot) || writes(otherwise, slot),
        Action::ForEach(each) => {
            let inner = match &each.items {
                Items::Place(path) => hits(path) && writes(&each.rules, each.item),
                Items::Value(_) => false,
            };
            inner || writes(&each.rules, slot)
        }
        Action::Explode(each, _) => writes(&each.rules, slot),
        _ => false,
    })
}

/// Whether these rules only touch the top level of the record, so that no tree is needed.
pub(crate) fn lazy(rules: &[Rule]) -> bool {
    let top = |path: &Path| path.root != Root::Record || path.top_field().is_some();
    rules.iter().all(|rule| match &rule.action {
        Action::Set(path, _)
        | Action::Default(path, _)
        | Action::Change(path, _)
        | Action::Rename(path, _)
        | Action::Remove(path)
        | Action::Merge { into: path, .. } => top(path),
        Action::Copy(_, into) => top(into),
        Action::Move(from, into) => top(from) && top(into),
        Action::Lookup(lookup) => top(&lookup.into),
        Action::Group { rules, otherwise } => lazy(rules) && lazy(otherwise),
        Action::ForEach(each) => {
            matches!(&each.items, Items::Place(path) if top(path))
                | matches!(each.items, Items::Value(_))
                && lazy(&each.rules)
        }
        Action::Explode(each, _) => lazy(&each.rules),
        Action::Jq(_) => false,
        _ => true,
    })
}
