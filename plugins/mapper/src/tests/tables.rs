//! Tables within one batch.

use crossdock_sdk::prelude::*;
use crossdock_sdk::testing::{Host, TransformerDriver};

use super::sample::Sample;
use crate::Mapper;

#[test]
fn a_record_sees_what_earlier_ones_of_its_batch_and_it_itself_wrote() {
    let mapping = "
tables: { models: {} }
streams:
  products:
    - lookup: { table: models, key: $.parent, into: before, missing: skip }
    - put: { table: models, key: $.sku, value: { n: $.n } }
    - forget: { table: models, key: $.gone }
      when: { gone: { is: filled } }
    - lookup: { table: models, key: $.sku, into: own, missing: skip }
";
    let mut sample = Sample::new(mapping);
    sample.tables = vec![(
        "models".into(),
        vec![("old".into(), r#"{"n": "stored"}"#.into())],
    )];
    let out = sample.map(
        r#"
{"sku": "a", "parent": "old", "n": 1}
{"sku": "b", "parent": "a", "n": 2}
{"sku": "c", "parent": "b", "gone": "a"}
{"sku": "d", "parent": "a", "gone": "d", "n": 4}
"#,
    );
    assert_eq!(
        out,
        r#"{"sku": "a", "parent": "old", "n": 1, "before": {"n": "stored"}, "own": {"n": 1}}
{"sku": "b", "parent": "a", "n": 2, "before": {"n": 1}, "own": {"n": 2}}
{"sku": "c", "parent": "b", "gone": "a", "before": {"n": 2}, "own": {}}
{"sku": "d", "parent": "a", "gone": "d", "n": 4}
"#
    );
}

#[test]
fn a_table_that_gives_no_answer_fails_the_batch_and_rejects_no_record() {
    let host = Host::new();
    host.deny_table("models");
    let sample = Sample::new(
        "tables: { models: {} }\nstreams: { products: [{ lookup: { table: models, key: $.sku, into: m } }] }",
    );
    let mut driver = TransformerDriver::<Mapper>::open(sample.config(), None).unwrap();
    let mut batch = BatchBuilder::json("products");
    batch.push(b"k", br#"{"sku": "a"}"#);
    let fault = driver.apply(batch.finish()).unwrap_err();
    assert!(fault.to_string().contains("models"), "{fault}");
}
