//! Single values: from JSON to the text of a CSV cell.

use std::borrow::Cow;

use crossdock_sdk::bytes::{append, find_any};
use crossdock_sdk::json::{Kind, Value};
use jiff::civil::DateTime;

/// What is wrong with a value. The caller adds which field it is.
pub(crate) type Problem = String;

/// Appends one cell: quoted where it must be, quotes doubled, line breaks as LF.
pub(crate) fn push(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    if find_any(rest, b",\"\n\r").is_none() {
        append(out, rest);
        return;
    }
    out.push(b'"');
    while let Some(at) = find_any(rest, b"\"\r") {
        let (before, found) = rest.split_at(at);
        append(out, before);
        rest = found.get(1..).unwrap_or_default();
        if found.first() == Some(&b'"') {
            out.extend_from_slice(b"\"\"");
        } else if rest.first() != Some(&b'\n') {
            out.push(b'\n');
        }
    }
    append(out, rest);
    out.push(b'"');
}

/// A text, number or flag as text. None when it is null or empty.
pub(crate) fn scalar(value: Value<'_>) -> Result<Option<Cow<'_, str>>, Problem> {
    let text = match value.kind() {
        Kind::Null => return Ok(None),
        Kind::String => value.as_str().ok_or("the text is malformed")?,
        Kind::Number => Cow::Borrowed(value.as_number_text().ok_or("the number is malformed")?),
        Kind::Bool => Cow::Borrowed(if value.as_bool() == Some(true) {
            "1"
        } else {
            "0"
        }),
        kind => return Err(format!("expected a text, found {}", name(kind))),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A scalar, or a list of them joined by `separator`.
pub(crate) fn joined<'a>(
    value: Value<'a>,
    separator: &str,
) -> Result<Option<Cow<'a, str>>, Problem> {
    if value.kind() != Kind::Array {
        return scalar(value);
    }
    let mut parts = Vec::new();
    for item in value.items() {
        parts.extend(scalar(item)?);
    }
    Ok((!parts.is_empty()).then(|| Cow::Owned(parts.join(separator))))
}

/// A list whose items end up in one cell, separated by commas.
pub(crate) fn comma_list(value: Value<'_>) -> Result<Option<String>, Problem> {
    if value.kind() != Kind::Array {
        return Ok(scalar(value)?.map(Cow::into_owned));
    }
    let mut list = String::new();
    for item in value.items() {
        let Some(text) = scalar(item)? else { continue };
        add(&mut list, without_comma(&text)?);
    }
    Ok(Some(list).filter(|list| !list.is_empty()))
}

fn add(list: &mut String, item: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(item);
}

fn without_comma(text: &str) -> Result<&str, Problem> {
    if text.contains(',') {
        return Err(format!(
            "`{text}` contains a comma, which separates the items of this cell"
        ));
    }
    Ok(text)
}

/// 1 or 0. None when it is null or empty.
pub(crate) fn flag(value: Value<'_>) -> Result<Option<&'static str>, Problem> {
    Ok(match scalar(value)?.as_deref() {
        None => None,
        Some("1" | "true") => Some("1"),
        Some("0" | "false") => Some("0"),
        Some(other) => return Err(format!("expected true or false, found `{other}`")),
    })
}

/// A whole number. `17.0` is one, `17.5` is not.
pub(crate) fn whole(value: Value<'_>) -> Result<Option<i64>, Problem> {
    let Some(text) = scalar(value)? else {
        return Ok(None);
    };
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            digits
        }
        _ => &text,
    };
    digits
        .parse()
        .map(Some)
        .map_err(|_| format!("expected a whole number, found `{text}`"))
}

/// Money in minor units: cents, not euros.
pub(crate) fn minor(value: Value<'_>) -> Result<Option<i64>, Problem> {
    match whole(value) {
        Ok(Some(amount)) if amount < 0 => Err(format!(
            "expected an amount of at least 0, found `{amount}`"
        )),
        Err(problem) => Err(format!(
            "{problem}: prices are counted in minor units, 19.99 EUR is 1999"
        )),
        amount => amount,
    }
}

/// A date as Spryker writes it. Dates with an offset are converted to UTC, others are taken as they are.
pub(crate) fn date(value: Value<'_>) -> Result<Option<String>, Problem> {
    let Some(text) = scalar(value)? else {
        return Ok(None);
    };
    let moment: Option<DateTime> = match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Some(jiff::tz::Offset::UTC.to_datetime(moment)),
        Err(_) => text.parse().ok(),
    };
    let moment =
        moment.ok_or_else(|| format!("expected a date like 2017-06-01, found `{text}`"))?;
    Ok(Some(moment.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()))
}

/// `sku/quantity, sku/quantity` from a list of `{sku, quantity}`.
pub(crate) fn bundle(value: Value<'_>) -> Result<Option<String>, Problem> {
    if value.kind() != Kind::Array {
        return Ok(scalar(value)?.map(Cow::into_owned));
    }
    let mut parts = Vec::new();
    for item in value.items() {
        let sku = item
            .get("sku")
            .map(scalar)
            .transpose()?
            .flatten()
            .ok_or("an item without `sku`")?;
        let quantity = item
            .get("quantity")
            .map(whole)
            .transpose()?
            .flatten()
            .unwrap_or(1);
        parts.push(format!("{}/{quantity}", without_comma(&sku)?));
    }
    Ok((!parts.is_empty()).then(|| parts.join(", ")))
}

/// The keys and the orders of categories, each joined by commas. Items are keys or `{category_key, order}`.
pub(crate) fn categories(value: Value<'_>) -> Result<(String, String), Problem> {
    let (mut keys, mut orders, mut ordered) = (String::new(), String::new(), false);
    if value.kind() != Kind::Array {
        return Ok((scalar(value)?.unwrap_or_default().into_owned(), orders));
    }
    for item in value.items() {
        let (key, order) = if item.kind() == Kind::Object {
            let key = item
                .get("category_key")
                .ok_or("a category without `category_key`")?;
            (
                scalar(key)?,
                item.get("order").map(whole).transpose()?.flatten(),
            )
        } else {
            (scalar(item)?, None)
        };
        let Some(key) = key else { continue };
        add(&mut keys, without_comma(&key)?);
        ordered |= order.is_some();
        add(&mut orders, &order.unwrap_or(0).to_string());
    }
    Ok((keys, if ordered { orders } else { String::new() }))
}

/// A part of a URL: lower case, words joined by `-`.
pub(crate) fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if let Some(plain) = transcribed(c) {
            out.push_str(plain);
        } else if c.is_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    out
}

/// Letters of European languages in ASCII.
fn transcribed(c: char) -> Option<&'static str> {
    Some(match c {
        'ä' | 'æ' => "ae",
        'ö' | 'œ' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ą' | 'ă' => "a",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ő' => "o",
        'ř' => "r",
        'ś' | 'š' | 'ș' => "s",
        'ť' | 'ț' => "t",
        'ù' | 'ú' | 'û' | 'ů' | 'ű' => "u",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

/// What a value is, in a sentence.
pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "true or false",
        Kind::Number => "a number",
        Kind::String => "a text",
        Kind::Array => "a list",
        Kind::Object => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One byte at a time.
    fn plain(text: &str) -> String {
        let lines = text.replace("\r\n", "\n").replace('\r', "\n");
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", lines.replace('"', "\"\""))
        } else {
            lines
        }
    }

    proptest! {
        #[test]
        fn cells_are_quoted_where_they_must_be(text in "[,\"\r\na\u{e4}]{0,80}") {
            let mut out = b"x,".to_vec();
            push(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("x,{}", plain(&text)));
        }
    }
}
