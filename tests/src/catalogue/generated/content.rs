//! The values of products and models, made from their numbers.

use serde_json::{Value, json};

use super::LOCALES;
use super::layout::{Place, Role};
use super::words::{
    ADJECTIVES, BRANDS, COLORS, FEATURES, MATERIALS, NOUNS, SIZES, TAILS, hash, pick,
};
use crate::catalogue::{Entry, Values, format_stamp};

/// What a thing is about: the family decides its nouns and axes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    Clothing,
    Shoes,
    Accessories,
}

impl Theme {
    pub(super) const fn family(self) -> &'static str {
        match self {
            Self::Clothing => "clothing",
            Self::Shoes => "shoes",
            Self::Accessories => "accessories",
        }
    }
}

/// The values of one item while they are put together.
pub(super) struct Writer {
    values: Values,
    seed: u64,
    /// The number that all texts of this item come from.
    number: u64,
}

/// The texts that differ by locale: index into the tables of `words`.
struct Title {
    adjective: usize,
    noun: usize,
}

impl Writer {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self {
            values: Values::default(),
            seed,
            number,
        }
    }

    pub(super) fn finish(self) -> Values {
        self.values
    }

    fn roll(&self, salt: u64) -> u64 {
        hash(self.seed, salt, self.number)
    }

    /// True once in `n`.
    fn one_in(&self, n: u64, salt: u64) -> bool {
        self.roll(salt).is_multiple_of(n)
    }

    fn put(&mut self, code: &'static str, data: Value) {
        self.put_at(code, None, None, data);
    }

    fn put_at(
        &mut self,
        code: &'static str,
        locale: Option<&'static str>,
        scope: Option<&'static str>,
        data: Value,
    ) {
        self.values.add(
            code,
            Entry {
                locale: locale.map(Into::into),
                scope: scope.map(Into::into),
                data,
            },
        );
    }

    fn title(&self, theme: Theme) -> Title {
        let nouns = match theme {
            Theme::Clothing => [0, 1, 2, 3, 4],
            Theme::Shoes => [5, 6, 7, 8, 9],
            Theme::Accessories => [10, 11, 12, 13, 14],
        };
        let adjectives: [usize; 12] = std::array::from_fn(|index| index);
        Title {
            adjective: pick(&adjectives, self.roll(1)),
            noun: pick(&nouns, self.roll(2)),
        }
    }

    /// What a root model or a simple product says about itself.
    pub(super) fn common(&mut self, theme: Theme, with_price: bool, with_image: bool) {
        self.texts(theme);
        self.choices();
        self.numbers();
        if with_price {
            self.price();
        }
        if with_image {
            self.image();
        }
        self.rare();
    }

    fn texts(&mut self, theme: Theme) {
        let title = self.title(theme);
        let tail = pick(&TAILS, self.roll(3));
        let number = self.number;
        for (at, locale) in LOCALES.into_iter().enumerate() {
            // German is missing for one in nine, French for one in four; English is there except for one in forty.
            if self.one_in([40, 9, 4][at], 10 + at as u64) {
                continue;
            }
            let name = format!(
                "{} {} {number}{tail}",
                ADJECTIVES[title.adjective][at], NOUNS[title.noun][at]
            );
            self.put_at(
                "meta_title",
                Some(locale),
                None,
                json!(format!("{name} | crossdock")),
            );
            self.descriptions(locale, &name);
            self.put_at("name", Some(locale), None, json!(name));
        }
        if self.one_in(5, 14) {
            // A translation that was emptied, not removed.
            self.put_at("short_description", Some("fr_FR"), None, json!(""));
        }
        self.put("erp_name", json!(format!("ERP-{number:06}")));
    }

    fn descriptions(&mut self, locale: &'static str, name: &str) {
        for scope in ["ecommerce", "print"] {
            // The print channel has no French, and often no text at all.
            if scope == "print" && (locale == "fr_FR" || self.one_in(3, 15)) {
                continue;
            }
            let html = format!(
                "<p>{name}</p>\n<ul>\r\n<li>100&nbsp;% <em>tested</em>; \"as is\"</li>\n<li>5 < 6 &amp; 7 > 6</li></ul>\
                 <p>Channel {scope} 🚚 – l’été, größer, naïve</p>"
            );
            self.put_at("description", Some(locale), Some(scope), json!(html));
        }
        if !self.one_in(3, 16) {
            self.put_at(
                "short_description",
                Some(locale),
                None,
                json!(format!("{name}.\n\tSecond, indented line.")),
            );
        }
        if self.one_in(2, 17) {
            let keywords = "jacket; \"warm\", winter\nnew line";
            self.put_at("meta_keywords", Some(locale), None, json!(keywords));
        }
    }

    fn choices(&mut self) {
        if !self.one_in(8, 20) {
            // One brand in five is written in another case than its option.
            let brand = pick(&BRANDS, self.roll(21))[0];
            let brand = if self.one_in(5, 22) {
                brand.to_uppercase()
            } else {
                brand.to_owned()
            };
            self.put("brand", json!(brand));
        }
        let count = self.roll(23) % 4;
        let features: Vec<&str> = (0..count)
            .map(|n| FEATURES[((self.roll(24) + n) % 9) as usize][0])
            .collect();
        // Sometimes an empty list: a value that was emptied.
        if count > 0 || self.one_in(3, 25) {
            self.put("features", json!(features));
        }
        let year = 2021 + self.roll(26) % 6;
        self.put("collection", json!([format!("Summer_{year}")]));
        if self.one_in(4, 27) {
            self.put_at(
                "channel_flags",
                None,
                Some("ecommerce"),
                json!(["new", "sale"]),
            );
        }
        self.put(
            "tax_class",
            json!(pick(
                &["standard", "standard", "standard", "reduced", "zero"],
                self.roll(28)
            )),
        );
        self.put("waterproof", json!(self.one_in(3, 29)));
        self.put_at(
            "handmade",
            None,
            Some("ecommerce"),
            json!(self.one_in(2, 30)),
        );
        if self.one_in(6, 31) {
            self.put("country_of_origin", json!("PT"));
            self.put("fabrics", json!(["jersey", "twill"]));
        }
    }

    fn numbers(&mut self) {
        let day = super::reference::EPOCH
            + 86_400 * i64::try_from(self.roll(40) % 700).unwrap_or_default();
        self.put("release_date", json!(format_stamp(day)));
        // No decimals allowed: a number. Decimals allowed: a text.
        self.put(
            "length",
            json!({"amount": 20 + self.roll(41) % 180, "unit": "CENTIMETER"}),
        );
        let rating = self.roll(42) % 51;
        self.put(
            "rating",
            json!(format!("{}.{}000", rating / 10, rating % 10)),
        );
    }

    fn price(&mut self) {
        let cents = 495 + self.roll(43) % 40_000;
        let amount = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
        let prices = match self.roll(44) % 12 {
            0 => json!([{"amount": amount(cents), "currency": "EUR"}]),
            1 => json!([{"amount": (cents / 100).to_string(), "currency": "EUR"},
                {"amount": (cents / 90).to_string(), "currency": "USD"}]),
            2 => {
                json!([{"amount": amount(cents), "currency": "EUR"}, {"amount": null, "currency": "USD"}])
            }
            3 => {
                json!([{"amount": "0.00", "currency": "EUR"}, {"amount": "0.00", "currency": "USD"}])
            }
            _ => json!([{"amount": amount(cents), "currency": "EUR"},
                {"amount": amount(cents + cents / 10), "currency": "USD"}]),
        };
        self.put("price", prices);
        if self.one_in(3, 45) {
            let list = json!([{"amount": amount(cents + 1000), "currency": "EUR"}]);
            self.put_at("list_price", None, Some("ecommerce"), list);
        }
    }

    fn image(&mut self) {
        if !self.one_in(10, 50) {
            self.put("image", json!(media(self.number, "front", "png")));
        }
        if self.one_in(3, 51) {
            for locale in ["en_US", "de_DE"] {
                let code = media(
                    self.number,
                    &format!("gallery_{}", locale.to_lowercase()),
                    "jpg",
                );
                self.put_at(
                    "gallery_image",
                    Some(locale),
                    Some("ecommerce"),
                    json!(code),
                );
            }
        }
    }

    /// Types and oddities that few items have.
    fn rare(&mut self) {
        if self.one_in(12, 60) {
            self.put_at(
                "datasheet",
                Some("en_US"),
                None,
                json!(media(self.number, "sheet", "pdf")),
            );
        }
        if self.one_in(10, 61) {
            self.put_at("care_note", Some("en_US"), Some("ecommerce"), Value::Null);
            self.put_at(
                "care_note",
                Some("de_DE"),
                Some("ecommerce"),
                json!("Nicht heiß waschen;\nnicht bleichen."),
            );
        }
        if self.one_in(11, 62) {
            self.put("Legacy_Code", Value::Null);
        } else if self.one_in(4, 63) {
            self.put("Legacy_Code", json!(format!("00{:05}", self.number)));
        }
        if self.one_in(9, 64) {
            self.put_at(
                "legal_note",
                Some("de_DE"),
                None,
                json!("Alle Preise inkl. MwSt."),
            );
        }
        if self.one_in(20, 65) {
            self.put("designer", json!("ada_example"));
            self.put("certificates", json!(["oeko_100", "gots"]));
            self.put("media_assets", json!(["packshot_1", "packshot_2"]));
            self.put(
                "size_chart",
                json!([{"size": "s", "chest": "88"}, {"size": "m", "chest": "94"}]),
            );
            self.put("successor", Value::Null);
        }
    }

    /// The axis and texts of a sub model: the color, or the material.
    pub(super) fn sub_model(&mut self, axis: &'static str, nth: usize) {
        let row = if axis == "material" {
            MATERIALS[nth % 8]
        } else {
            COLORS[(nth * 3 + 1) % 12]
        };
        self.put(axis, json!(row[0]));
        self.variation(&row);
        self.put("image", json!(media(self.number, "variation", "png")));
    }

    fn variation(&mut self, row: &[&str; 4]) {
        for (at, locale) in LOCALES.into_iter().enumerate() {
            if !row[at + 1].is_empty() {
                self.put_at("variation_name", Some(locale), None, json!(row[at + 1]));
            }
        }
    }

    /// What each variant and simple product has of its own.
    pub(super) fn own(&mut self, place: Place, theme: Theme) {
        let nth = place.nth;
        match (place.owner, theme) {
            (Some(Role::C), theme) => {
                let color = COLORS[nth % 12];
                self.put("color", json!(color[0]));
                match theme {
                    Theme::Accessories => self.put("material", json!(MATERIALS[nth % 8][0])),
                    _ => self.put("size", json!(SIZES[nth % 7])),
                }
                self.variation(&color);
                self.price();
            }
            (Some(_), Theme::Clothing) => self.put("size", json!(SIZES[nth % 7])),
            (Some(_), Theme::Shoes) => self.put("shoe_size", json!((36 + nth).to_string())),
            (Some(_), Theme::Accessories) => self.put("material", json!(MATERIALS[nth % 8][0])),
            (None, _) => {
                if self.one_in(2, 70) {
                    self.put("color", json!(pick(&COLORS, self.roll(71))[0]));
                }
            }
        }
        // A product's number has at most 12 digits here; the check digit is left out, as bad feeds do.
        self.put(
            "ean",
            json!(format!("{:013}", 4_000_000_000_000_u64 + self.number)),
        );
        let weight = 80 + self.roll(72) % 2400;
        self.put(
            "weight",
            json!({"amount": format!("{weight}.{:04}", self.roll(73) % 10 * 1000), "unit": "GRAM"}),
        );
        if !self.one_in(6, 74) {
            self.put("stock_hint", json!(self.roll(75) % 500));
        }
    }
}

/// The code of a media file; [`super::Generated`] knows which codes exist by their form.
fn media(number: u64, name: &str, extension: &str) -> String {
    let spread = hash(0, 99, number);
    format!(
        "{:x}/{:x}/{number:08}_{name}.{extension}",
        spread & 15,
        (spread >> 4) & 15
    )
}

/// Whether `media` could have made this code.
pub(super) fn is_media(code: &str) -> bool {
    let Some(file) = code.rsplit('/').next() else {
        return false;
    };
    let Some((number, rest)) = file.split_once('_') else {
        return false;
    };
    let Some((name, extension)) = rest.rsplit_once('.') else {
        return false;
    };
    number
        .parse()
        .is_ok_and(|number| media(number, name, extension) == code)
}
