//! "Did you mean": the known name that is nearest to a mistyped one.

/// The nearest of the known names, when it is near enough to be a typo of it.
pub(super) fn nearest<'a>(
    found: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = found.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Advice for a mistyped name: the nearest known one, or all of them.
pub(super) fn suggestion(found: &str, what: &str, known: &[&str]) -> String {
    match nearest(found, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => String::new(),
        None => format!("{what}: {}", list(known)),
    }
}

/// `a, b, c`, each in backticks.
pub(super) fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognised_and_a_different_word_is_not() {
        let known = ["records", "bytes", "wait"];
        assert_eq!(nearest("recods", known), Some("records"));
        assert_eq!(nearest("Records", known), Some("records"));
        assert_eq!(nearest("waits", known), Some("wait"));
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(nearest("max_count", ["max-count"]), Some("max-count"));
        assert_eq!(
            suggestion("timeout", "known fields", &known),
            "known fields: `records`, `bytes`, `wait`"
        );
        assert_eq!(suggestion("timeout", "known fields", &[]), "");
    }
}
