//! The names of the columns.

use std::collections::HashSet;

/// What had to be done to the names of a header to make them usable.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Renamed {
    /// Columns without a name, from 1.
    pub(crate) unnamed: Vec<usize>,
    /// Names that were there already.
    pub(crate) doubled: Vec<String>,
}

impl Renamed {
    /// One sentence about it, if anything was done.
    pub(crate) fn sentence(&self) -> Option<String> {
        let list = |numbers: &[usize]| {
            numbers
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut parts = Vec::new();
        match self.unnamed.as_slice() {
            [] => {}
            [one] => parts.push(format!(
                "column {one} has no name and is called `column_{one}`"
            )),
            many => parts.push(format!(
                "columns {} have no names and are called `column_N`",
                list(many)
            )),
        }
        if !self.doubled.is_empty() {
            parts.push(format!(
                "doubled names get a number (`name_2`): {}",
                self.doubled.join(", ")
            ));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Makes every name usable: an empty one becomes `column_7`, the second `name` becomes `name_2`.
pub(crate) fn unique(names: Vec<String>) -> (Vec<String>, Renamed) {
    let mut renamed = Renamed::default();
    // Names that are in the file keep their meaning: a made one must not take the place of a later one.
    let given: HashSet<String> = names.iter().cloned().collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut result = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let (base, first) = if name.is_empty() {
            renamed.unnamed.push(index + 1);
            (format!("column_{}", index + 1), true)
        } else {
            if taken.contains(&name) {
                renamed.doubled.push(name.clone());
            }
            (name, false)
        };
        let mut made = base.clone();
        let mut number = 1;
        while taken.contains(&made) || ((number > 1 || first) && given.contains(&made)) {
            number += 1;
            made = format!("{base}_{number}");
        }
        taken.insert(made.clone());
        result.push(made);
    }
    (result, renamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(given: &[&str]) -> Vec<String> {
        unique(given.iter().map(ToString::to_string).collect()).0
    }

    #[test]
    fn empty_and_doubled_names_become_usable() {
        assert_eq!(
            names(&["a", "", "a", "b", ""]),
            ["a", "column_2", "a_2", "b", "column_5"]
        );
        assert_eq!(names(&["a", "a", "a_2", "a"]), ["a", "a_3", "a_2", "a_4"]);
        assert_eq!(names(&["", "column_1"]), ["column_1_2", "column_1"]);
        let (_, renamed) = unique(vec!["x".into(), String::new(), "x".into()]);
        let sentence = renamed.sentence().unwrap();
        assert!(
            sentence.contains("`column_2`") && sentence.contains(": x"),
            "{sentence}"
        );
        assert_eq!(unique(vec!["a".into()]).1.sentence(), None);
    }

    proptest! {
        #[test]
        fn no_name_is_there_twice(given in prop::collection::vec("(a|b|a_2|column_1|column_2|)", 0..9)) {
            let (made, _) = unique(given);
            let distinct: HashSet<&String> = made.iter().collect();
            prop_assert_eq!(distinct.len(), made.len());
            prop_assert!(made.iter().all(|name| !name.is_empty()));
        }
    }
}
