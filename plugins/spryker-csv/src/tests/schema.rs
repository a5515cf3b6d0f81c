//! The JSON Schemas of records, for people and editors: made from the tables the sink works with.

use super::*;
use crate::sheet::{Cell, SHEETS};

/// The schema of one field.
fn field(cell: Cell) -> Value {
    let text = json!({ "type": ["string", "number", "boolean", "null"] });
    let local = json!({
        "description": "one text per locale, or one for all",
        "type": ["object", "string", "number", "array", "null"],
    });
    match cell {
        Cell::Key => json!({ "type": ["string", "number"] }),
        Cell::Text(_) => text,
        Cell::Local(_) => local,
        Cell::Url => {
            json!({ "description": "one URL per locale; made from name and key where it is absent", "type": ["object", "null"] })
        }
        Cell::Flag(_) | Cell::RootFlag => {
            json!({ "enum": [true, false, 0, 1, "0", "1", "true", "false", "", null] })
        }
        Cell::LocalFlag => {
            json!({ "description": "one flag per locale, or one for all", "type": ["object", "boolean", "integer", "string", "null"] })
        }
        Cell::Whole(_) => json!({ "type": ["integer", "string", "null"] }),
        Cell::Minor => {
            json!({ "description": "minor units: 19.99 EUR is 1999", "type": ["integer", "string", "null"] })
        }
        Cell::Date => {
            json!({ "description": "2017-06-01, 2017-06-01 10:30:00 or with an offset", "type": ["string", "null"] })
        }
        Cell::List => json!({ "type": ["array", "string", "null"], "items": { "type": "string" } }),
        Cell::Bundle => json!({
            "type": ["array", "string", "null"],
            "items": { "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string" }, "quantity": { "type": "integer" } } },
        }),
        Cell::Json => json!({ "description": "any JSON" }),
        Cell::Categories => json!({
            "type": ["array", "string", "null"],
            "items": { "type": ["string", "object"], "properties": { "category_key": { "type": "string" }, "order": { "type": "integer" } } },
        }),
        Cell::Pairs => json!({
            "description": "attributes by key: a text, number, flag or list, or an object with one of them per locale",
            "type": ["object", "null"],
        }),
    }
}

fn schema() -> Value {
    let mut streams = serde_json::Map::new();
    for sheet in &SHEETS {
        let fields: serde_json::Map<String, Value> = sheet
            .columns
            .iter()
            .map(|column| (column.name.to_owned(), field(column.cell)))
            .collect();
        let required: Vec<&str> = sheet
            .columns
            .iter()
            .filter(|column| {
                matches!(column.cell, Cell::Key | Cell::Local(true))
                    && sheet.store != Some(column.name)
            })
            .map(|column| column.name)
            .collect();
        streams.insert(
            sheet.stream.to_owned(),
            json!({ "type": "object", "additionalProperties": false, "required": required, "properties": fields }),
        );
    }
    let text = || field(Cell::Key);
    let choice = json!({
        "type": ["string", "object"],
        "required": ["value"],
        "properties": { "value": text(), "translation": field(Cell::Local(false)) },
    });
    let flag = || field(Cell::Flag(None));
    streams.insert(
        "attributes".to_owned(),
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["attribute_key"],
            "properties": {
                "attribute_key": text(), "is_super": flag(), "input_type": field(Cell::Key),
                "allow_input": flag(), "is_multiple": flag(), "visibility": field(Cell::Key),
                "key_translation": field(Cell::Local(false)), "values": { "type": ["array", "null"], "items": choice },
            },
        }),
    );
    streams.insert(
        "attribute-values".to_owned(),
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["attribute_key", "value"],
            "properties": { "attribute_key": text(), "value": text(), "translation": field(Cell::Local(false)) },
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Records that the spryker-csv sink takes, by stream",
        "$defs": streams,
    })
}

#[test]
fn the_schemas_beside_the_plugin_are_those_of_its_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("records.schema.json");
    let text = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        text,
        "run once with UPDATE_GOLDEN=1"
    );
    let mut known: Vec<&str> = crate::sink::streams();
    known.sort_unstable();
    let mut described: Vec<String> = schema()["$defs"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    described.sort_unstable();
    assert_eq!(described, known);
}

#[test]
fn no_sheet_has_more_fields_than_a_row_has_room_for() {
    assert!(
        SHEETS
            .iter()
            .all(|sheet| sheet.columns.len() <= crate::row::FIELDS)
    );
}
