//! Made-up products: the same ones for every candidate. Included by the bench for Extism too, so only `std`.

/// Records of one batch.
pub(crate) const BATCH: usize = 1000;

const WORDS: [&str; 16] = [
    "cotton", "linen", "shirt", "long", "sleeve", "summer", "collar", "button", "slim", "regular",
    "soft", "washed", "striped", "plain", "café", "größe",
];
const BRANDS: [&str; 4] = ["Nordwind", "ACME", "Atelier Lumière", "Hill & Sons"];
const COLOURS: [&str; 4] = ["red", "navy", "off-white", "olive"];

/// A product of about this many bytes: flat up to 250, with a description and nested values beyond.
pub(crate) fn product(number: usize, bytes: usize) -> String {
    let mut text = format!(
        r#"{{"sku":"SKU-{number:07}","name":"{}","brand":"{}","price":"{}.{:02}","currency":"EUR","stock":{},"active":{},"colour":"{}","updated":"2026-03-{:02}T12:00:00Z""#,
        words(number, 4),
        BRANDS[number % BRANDS.len()],
        number * 7 % 300,
        number * 13 % 100,
        number % 9,
        !number.is_multiple_of(5),
        COLOURS[number % COLOURS.len()],
        number % 28 + 1,
    );
    if bytes > 250 {
        text.push_str(r#","attributes":{"#);
        let mut at = 0;
        while text.len() < bytes * 6 / 10 {
            let comma = if at == 0 { "" } else { "," };
            let data = words(number + at, 2);
            let one =
                format!(r#"{comma}"a{at}":{{"scope":null,"locale":"de_DE","data":"{data}"}}"#);
            text.push_str(&one);
            at += 1;
        }
        text.push_str(r#"},"images":["/m/1.jpg","/m/2.jpg"],"description":""#);
        while text.len() < bytes {
            text.push_str(&words(number + text.len(), 6));
            text.push_str(r#" \"new\"<br>\n"#);
        }
        text.push('"');
    }
    text.push('}');
    text
}

fn words(seed: usize, count: usize) -> String {
    let words: Vec<&str> = (0..count)
        .map(|at| WORDS[(seed * 31 + at * 7) % WORDS.len()])
        .collect();
    words.join(" ")
}
