//! Drives a plugin's code natively, through the same glue as in the sandbox.

mod drive;
pub(crate) mod host;
mod resume;

pub use drive::{Applied, Rejected, SinkDriver, SourceDriver, TransformerDriver, run_transformer};
pub use host::{Host, HostTable};
pub use resume::Drive;

/// Makes a batch of JSON values: `batch!("products", [{"sku": "A-1"}, {"sku": "B-2"}])`. Keys are empty.
#[macro_export]
macro_rules! batch {
    ($stream:expr, [$($record:tt),* $(,)?]) => {
        $crate::testing::batch($stream, &[$($crate::serde_json::json!($record)),*])
    };
}

pub use crate::batch;

/// A batch of JSON values without keys.
pub fn batch(stream: &str, records: &[serde_json::Value]) -> crate::Batch {
    keyed_batch(stream, records.iter().map(|record| ("", record)))
}

/// A batch of JSON values with keys.
pub fn keyed_batch<'r>(
    stream: &str,
    records: impl IntoIterator<Item = (&'r str, &'r serde_json::Value)>,
) -> crate::Batch {
    let mut builder = crate::BatchBuilder::json(stream);
    for (key, record) in records {
        builder.push_with(key.as_bytes(), |buffer| json_of(record, buffer));
    }
    builder.finish()
}

fn json_of(value: &serde_json::Value, buffer: &mut Vec<u8>) {
    crate::json::ToJson::write_json(value, buffer);
}

/// Checks that a manifest is well-formed and agrees with the crate: `check_manifest(env!("CARGO_PKG_VERSION"),
/// include_str!("../plugin.json"))`.
///
/// # Panics
/// With what is wrong: it is for tests.
#[allow(clippy::panic, clippy::expect_used, reason = "an assertion for tests")]
pub fn check_manifest(version: &str, manifest: &str) {
    let manifest: serde_json::Value =
        serde_json::from_str(manifest).expect("the manifest is a JSON text");
    let text = |name: &str| {
        let value = manifest
            .get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        assert!(!value.is_empty(), "the manifest has no `{name}`");
        value
    };
    let name = text("name");
    assert!(
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
        "the name `{name}` has other characters than a-z, 0-9 and `-`"
    );
    assert_eq!(
        text("version"),
        version,
        "the manifest's version is not the crate's"
    );
    text("description");
    text("license");
    let kinds = manifest
        .get("kinds")
        .and_then(serde_json::Value::as_object)
        .expect("the manifest has `kinds`");
    assert!(!kinds.is_empty(), "`kinds` is empty");
    for (kind, about) in kinds {
        let delivery: &[&str] = match kind.as_str() {
            "source" => &["replayable", "volatile"],
            "sink" => &["exactly-once", "idempotent", "at-least-once"],
            "transformer" => &["deterministic", "volatile"],
            _ => panic!("unknown kind `{kind}`"),
        };
        let given = about
            .get("delivery")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        assert!(
            delivery.contains(&given),
            "kind `{kind}`: delivery `{given}` is none of {delivery:?}"
        );
        let config = about.get("config").unwrap_or(&serde_json::Value::Null);
        check_schema(config, &format!("kinds.{kind}.config"));
    }
    for (kind, asked) in manifest
        .get("permissions")
        .and_then(serde_json::Value::as_object)
        .into_iter()
        .flatten()
    {
        assert!(
            ["files", "connections", "tables"].contains(&kind.as_str()),
            "unknown permission `{kind}`"
        );
        for permission in asked.as_array().expect("a permission is a list") {
            let reason = permission
                .get("reason")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            assert!(!reason.is_empty(), "permission `{kind}` has no reason");
        }
    }
}

/// The schema of a config is an object that refuses unknown fields, each described.
#[allow(clippy::panic, clippy::expect_used, reason = "an assertion for tests")]
fn check_schema(schema: &serde_json::Value, place: &str) {
    assert_eq!(
        schema.get("type"),
        Some(&"object".into()),
        "{place}: `type` is not `object`"
    );
    assert_eq!(
        schema.get("additionalProperties"),
        Some(&false.into()),
        "{place}: `additionalProperties` is not `false`"
    );
    let fields = schema
        .get("properties")
        .and_then(serde_json::Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        assert!(
            field.get("description").is_some(),
            "{place}: field `{name}` has no description"
        );
    }
    for name in schema
        .get("required")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
    {
        let name = name.as_str().expect("`required` lists names");
        assert!(
            fields.is_some_and(|fields| fields.contains_key(name)),
            "{place}: `{name}` is required but not described"
        );
    }
}

#[cfg(test)]
mod tests;
