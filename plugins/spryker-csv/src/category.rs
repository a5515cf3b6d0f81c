//! The order of categories: parents before children, otherwise as they came.

use std::collections::{HashMap, HashSet};

/// Why categories have no order.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OrderError {
    /// Parents that never came.
    #[error("categories whose parent never came: {}", list(.0.iter().map(|(key, parent)| format!("{key} (parent {parent})"))))]
    MissingParent(Vec<(String, String)>),
    /// Categories that are their own ancestors.
    #[error("categories that are their own ancestors: {}", list(.0.iter().cloned()))]
    Cycle(Vec<String>),
}

/// The first ten of a list, for a message.
pub(crate) fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 10;
    let rest = items.len().saturating_sub(SHOWN);
    let mut text = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if rest > 0 {
        text.push_str(" and ");
        text.push_str(&rest.to_string());
        text.push_str(" more");
    }
    text
}

/// Gives each category the key of its parent as the parent writes it, where it differs only in case: Akeneo's codes match
/// so. A key that fits several categories is left alone. Answers the positions of those that were changed.
pub(crate) fn resolve(categories: &mut [(String, String)]) -> Vec<usize> {
    let mut folded: HashMap<String, Option<String>> = HashMap::new();
    for (key, _) in categories.iter() {
        folded
            .entry(key.to_lowercase())
            .and_modify(|known| *known = None)
            .or_insert_with(|| Some(key.clone()));
    }
    let exact: HashSet<String> = categories.iter().map(|(key, _)| key.clone()).collect();
    let mut changed = Vec::new();
    for (at, (_, parent)) in categories.iter_mut().enumerate() {
        if parent.is_empty() || exact.contains(parent) {
            continue;
        }
        if let Some(Some(key)) = folded.get(&parent.to_lowercase()) {
            parent.clone_from(key);
            changed.push(at);
        }
    }
    changed
}

/// The order in which categories are written, as positions in `categories`: (key, parent), where an empty parent means
/// a root. `known` are parents that need not be among them.
pub(crate) fn order(
    categories: &[(String, String)],
    known: &[String],
) -> Result<Vec<usize>, OrderError> {
    let positions: HashMap<&str, usize> = categories
        .iter()
        .enumerate()
        .map(|(at, (key, _))| (key.as_str(), at))
        .collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); categories.len()];
    let mut roots = Vec::new();
    let mut missing = Vec::new();
    for (at, (key, parent)) in categories.iter().enumerate() {
        match positions.get(parent.as_str()) {
            Some(above) if !parent.is_empty() => children
                .get_mut(*above)
                .into_iter()
                .for_each(|list| list.push(at)),
            _ if parent.is_empty() || known.contains(parent) => roots.push(at),
            _ => missing.push((key.clone(), parent.clone())),
        }
    }
    if !missing.is_empty() {
        return Err(OrderError::MissingParent(missing));
    }
    let mut order = Vec::with_capacity(categories.len());
    // Level by level, so that the depth of the tree costs no stack.
    let mut level = roots;
    while !level.is_empty() {
        let below = level
            .iter()
            .filter_map(|at| children.get(*at))
            .flatten()
            .copied()
            .collect();
        order.append(&mut level);
        level = below;
    }
    if order.len() < categories.len() {
        let mut reached = vec![false; categories.len()];
        for at in &order {
            reached
                .get_mut(*at)
                .into_iter()
                .for_each(|flag| *flag = true);
        }
        let unreached = categories
            .iter()
            .zip(&reached)
            .filter(|(_, reached)| !**reached);
        return Err(OrderError::Cycle(
            unreached.map(|((key, _), _)| key.clone()).collect(),
        ));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(key, parent)| ((*key).to_owned(), (*parent).to_owned()))
            .collect()
    }

    #[test]
    fn children_may_come_first() {
        let forest = pairs(&[("c", "b"), ("b", "a"), ("a", ""), ("z", "")]);
        assert_eq!(order(&forest, &[]).unwrap(), [2, 3, 1, 0]);
    }

    #[test]
    fn a_known_parent_need_not_come() {
        let forest = pairs(&[("a", "demoshop")]);
        assert_eq!(order(&forest, &["demoshop".to_owned()]).unwrap(), [0]);
        let error = order(&forest, &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "categories whose parent never came: a (parent demoshop)"
        );
    }

    #[test]
    fn parents_are_found_whatever_their_case() {
        let mut forest = pairs(&[
            ("c", "B"),
            ("b", "A"),
            ("A", ""),
            ("d", "X"),
            ("x", ""),
            ("X", ""),
        ]);
        forest.push(("e".to_owned(), "Äpfel".to_owned()));
        forest.push(("äpfel".to_owned(), String::new()));
        assert_eq!(resolve(&mut forest), [0, 6]);
        assert_eq!(forest[0].1, "b");
        assert_eq!(forest[6].1, "äpfel");
        // Two categories that differ only in case are told apart by it, and not guessed.
        let mut forest = pairs(&[("d", "Xy"), ("xy", ""), ("XY", "")]);
        assert_eq!(resolve(&mut forest), Vec::<usize>::new());
    }

    #[test]
    fn cycles_are_named() {
        let forest = pairs(&[("a", "b"), ("b", "a"), ("c", "c"), ("d", "")]);
        let error = order(&forest, &[]).unwrap_err();
        assert_eq!(
            error,
            OrderError::Cycle(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
        );
    }

    proptest! {
        #[test]
        fn parents_precede_children(parents in proptest::collection::vec(any::<proptest::sample::Index>(), 1..60), seed: u64) {
            // Node i hangs below one of the nodes before it, then all are shuffled.
            let mut forest: Vec<(String, String)> = parents
                .iter()
                .enumerate()
                .map(|(at, parent)| {
                    let above = parent.index(at + 1);
                    (format!("k{at}"), if above == at { String::new() } else { format!("k{above}") })
                })
                .collect();
            forest.sort_by_key(|(key, _)| crate::survivor::hash(&format!("{seed}{key}")));
            let order = order(&forest, &[]).unwrap();
            prop_assert_eq!(order.len(), forest.len());
            let mut seen = std::collections::HashSet::new();
            for at in order {
                let (key, parent) = &forest[at];
                prop_assert!(parent.is_empty() || seen.contains(parent));
                prop_assert!(seen.insert(key.clone()));
            }
        }
    }
}
