//! The import configuration: which file feeds which entity, in the order in which they depend on each other.

/// The YAML for these (entity, path) pairs.
pub(crate) fn yaml(actions: &[(&str, String)]) -> String {
    let mut text = String::from("version: 0\n\nactions:\n");
    for (entity, path) in actions {
        text.push_str("    - data_entity: ");
        text.push_str(entity);
        text.push_str("\n      source: ");
        text.push_str(&scalar(path));
        text.push('\n');
    }
    text
}

/// A YAML scalar: plain where that is safe, else in single quotes.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-');
    if text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_where_yaml_needs_it() {
        let text = yaml(&[
            ("category", "data/category.csv".to_owned()),
            ("product-stock", "it's: here.csv".to_owned()),
        ]);
        assert_eq!(
            text,
            "version: 0\n\nactions:\n    - data_entity: category\n      source: data/category.csv\n    - data_entity: \
             product-stock\n      source: 'it''s: here.csv'\n"
        );
    }
}
