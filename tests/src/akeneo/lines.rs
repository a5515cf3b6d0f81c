//! PATCH of a collection: one JSON object a line, one answer a line.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::present::Form;
use super::write::Writer;
use crate::catalogue::{Catalogue, Change, Kind};

/// The media type of both the request and the answer.
pub(super) const LINES: &str = "application/vnd.akeneo.collection+json";
const MOST_LINES: usize = 100;
const LONGEST_LINE: usize = 1_000_000;

/// Applies a body of lines; each line fails on its own.
pub(super) fn patch(
    writer: &Writer<'_>,
    kind: Kind,
    form: Form,
    body: &[u8],
) -> Result<String, ApiError> {
    let text = String::from_utf8_lossy(body);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.len() > MOST_LINES {
        let message =
            format!("Too many resources to process, {MOST_LINES} is the maximum allowed.");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let mut answer = String::new();
    for (index, line) in lines.into_iter().enumerate() {
        let mut reply = one(writer, kind, form, line);
        reply["line"] = json!(index + 1);
        answer.push_str(&reply.to_string());
        answer.push('\n');
    }
    Ok(answer)
}

fn one(writer: &Writer<'_>, kind: Kind, form: Form, line: &str) -> Value {
    let failed = |error: &ApiError| {
        let mut reply = error.fields();
        reply["status_code"] = json!(error.status.as_u16());
        reply
    };
    if line.len() > LONGEST_LINE {
        return failed(&ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Line is too long.",
        ));
    }
    let Ok(Value::Object(change)) = serde_json::from_str::<Value>(line) else {
        return failed(&ApiError::bad_request("Invalid json message received"));
    };
    let key = if form == Form::Uuid {
        "uuid"
    } else {
        kind.key()
    };
    let Some(name) = change
        .get(key)
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty())
    else {
        let subject = if key == "code" {
            "Code"
        } else if key == "uuid" {
            "Uuid"
        } else {
            "Identifier"
        };
        return failed(&ApiError::unprocessable(format!("{subject} is missing.")));
    };
    let mut reply = match code_of(writer, form, name, &change)
        .and_then(|code| writer.patch(kind, &code, &change))
    {
        Ok(Change::Created) => json!({"status_code": 201}),
        Ok(Change::Updated) => json!({"status_code": 204}),
        Err(error) => failed(&error),
    };
    reply[key] = json!(name);
    reply
}

/// The identifier of the product that a uuid names; a new product takes it from its values.
pub(super) fn code_of(
    writer: &Writer<'_>,
    form: Form,
    name: &str,
    change: &Map<String, Value>,
) -> Result<String, ApiError> {
    if form == Form::Identifier {
        return Ok(name.to_owned());
    }
    if let Some(head) = writer
        .store
        .find_uuid(name)
        .and_then(|index| writer.store.head(Kind::Products, index))
    {
        return Ok(head.code);
    }
    let entries = change
        .get("values")
        .and_then(|values| values.get(&writer.attributes.identifier));
    let code = entries.and_then(|entries| entries[0]["data"].as_str());
    code.map(str::to_owned)
        .ok_or_else(|| ApiError::not_found(format!("Product \"{name}\" does not exist.")))
}
