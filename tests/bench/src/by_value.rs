//! The transform as it is usually written: over a tree of values. Included by the bench for Extism too.

use serde_json::Value;

/// Reads three fields, renames one, drops one and adds five. The same as the plugin `reshape`.
pub(crate) fn reshape(payload: &[u8], source: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let mut value: Value = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
    let product = value.as_object_mut().ok_or("the payload is no object")?;
    let price = product
        .get("price")
        .and_then(Value::as_str)
        .ok_or("the price is no text")?;
    let cents = cents(price).ok_or("the price is no amount")?;
    let stock = product
        .get("stock")
        .and_then(Value::as_i64)
        .ok_or("the stock is no integer")?;
    let brand = product
        .get("brand")
        .and_then(Value::as_str)
        .ok_or("the brand is no text")?;
    let vendor = brand.to_lowercase();

    if let Some(name) = product.remove("name") {
        product.insert("title".to_owned(), name);
    }
    product.remove("updated");
    product.insert("cents".to_owned(), cents.into());
    product.insert("available".to_owned(), (stock > 0).into());
    product.insert("tier".to_owned(), tier(cents).into());
    product.insert("vendor".to_owned(), vendor.into());
    product.insert("source".to_owned(), source.into());
    serde_json::to_writer(out, &value).map_err(|e| e.to_string())
}

/// `19.90` is 1990.
pub(crate) fn cents(price: &str) -> Option<i64> {
    let (whole, part) = price.split_once('.').unwrap_or((price, "00"));
    (part.len() == 2).then_some(())?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(part.parse().ok()?)
}

/// What a shop sorts by.
pub(crate) fn tier(cents: i64) -> &'static str {
    match cents {
        ..2_000 => "budget",
        2_000..10_000 => "standard",
        _ => "premium",
    }
}
