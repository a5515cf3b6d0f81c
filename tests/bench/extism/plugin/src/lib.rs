//! The transform as a plugin for Extism: one JSON text per line, in and out.

use crossdock_sdk::json::Object;
use extism_pdk::{FnResult, WithReturnCode, plugin_fn};

#[path = "../../../src/by_value.rs"]
mod by_value;

const SOURCE: &str = "erp";

/// As an author writes it.
#[plugin_fn]
pub fn value(lines: Vec<u8>) -> FnResult<Vec<u8>> {
    each(&lines, |line, out| {
        by_value::reshape(line, SOURCE, out).map_err(|e| failed(&e))
    })
}

/// With the SDK's lazy JSON, the same steps as in `reshape`.
#[plugin_fn]
pub fn lazy(lines: Vec<u8>) -> FnResult<Vec<u8>> {
    each(&lines, |line, out| {
        let mut product = Object::parse(line).map_err(|e| failed(&e.to_string()))?;
        reshape(&mut product).ok_or_else(|| failed("a field is not as it should be"))?;
        product.write(out);
        Ok(())
    })
}

fn reshape(product: &mut Object<'_>) -> Option<()> {
    let price = product.original("price")?.as_str()?;
    let stock = product.get("stock")?.as_i64()?;
    let brand = product.original("brand")?.as_str()?;
    let cents = by_value::cents(&price)?;
    product.rename("name", "title");
    product.remove("updated");
    product.set("cents", cents);
    product.set("available", stock > 0);
    product.set("tier", by_value::tier(cents));
    product.set("vendor", brand.to_lowercase());
    product.set("source", SOURCE);
    Some(())
}

fn each(
    lines: &[u8],
    mut reshape: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), WithReturnCode<extism_pdk::Error>>,
) -> FnResult<Vec<u8>> {
    let mut out = Vec::with_capacity(lines.len() * 5 / 4);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        reshape(line, &mut out)?;
        out.push(b'\n');
    }
    Ok(out)
}

fn failed(why: &str) -> WithReturnCode<extism_pdk::Error> {
    extism_pdk::Error::msg(why.to_owned()).into()
}
