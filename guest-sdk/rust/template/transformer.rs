//! Writes a field of every record in capital or small letters.

use crossdock_sdk::prelude::*;
use serde::Deserialize;

/// What the flow file says under `config`; `plugin.json` describes every field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    field: String,
    #[serde(default)]
    letters: Letters,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum Letters {
    #[default]
    Upper,
    Lower,
}

struct {{Type}} {
    config: Config,
}

impl Transformer for {{Type}} {
    type Config = Config;

    fn open(config: Config, _snapshot: Option<&[u8]>) -> Result<Self> {
        Ok(Self { config })
    }

    fn map(&mut self, record: Record<'_>, out: &mut Output<'_>) -> Result<()> {
        let field = self.config.field.as_str();
        let mut object = record.object()?;
        let Some(value) = object.get(field).filter(|value| !value.is_null()) else {
            out.filter("the field is missing");
            return Ok(());
        };
        // Only this record becomes a dead letter; its neighbours go on.
        let Some(text) = value.as_str() else {
            return Err(Fault::permanent(format!("`{field}` is no text: {value}")).at(format!("/{field}")));
        };
        let changed = match self.config.letters {
            Letters::Upper => text.to_uppercase(),
            Letters::Lower => text.to_lowercase(),
        };
        object.set(field, changed.as_str());
        out.emit_object(record.stream(), record.key(), &object);
        Ok(())
    }
}

crossdock_sdk::export! { manifest: "plugin.json", transformer: {{Type}} }

#[cfg(test)]
mod tests {
    use super::*;
    use crossdock_sdk::serde_json::json;
    use crossdock_sdk::testing::{batch, check_manifest, run_transformer};

    #[test]
    fn the_manifest_is_in_order() {
        check_manifest(env!("CARGO_PKG_VERSION"), include_str!("../plugin.json"));
    }

    #[test]
    fn a_field_is_changed_and_numbers_stay_as_written() {
        let records = batch!("items", [{"name": "straße", "net": 9.90}, {"net": 1}, {"name": 7}]);
        let applied = run_transformer::<{{Type}}>(json!({ "field": "name" }), records).unwrap();
        assert_eq!(applied.stream("items"), [json!({"name": "STRASSE", "net": 9.90})]);
        assert_eq!(applied.rejected[0].0, 2);
    }

    #[test]
    fn a_wrong_config_is_refused() {
        let wrong = json!({ "field": "name", "letters": "bold" });
        let fault = run_transformer::<{{Type}}>(wrong, batch!("items", [])).unwrap_err();
        assert!(fault.is_config(), "{fault:?}");
    }
}
