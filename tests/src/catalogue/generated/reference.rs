//! Everything that does not grow with the catalogue: attributes, options, families, channels.

use serde_json::{Value, json};

use super::LOCALES;
use super::words::{BRANDS, COLORS, FEATURES, MATERIALS, SIZES};
use crate::catalogue::format_stamp;

/// 2024-01-01, the day on which all of it was made.
pub(super) const EPOCH: i64 = 1_704_067_200;

/// Code, type, localizable, scopable, labels in the order of [`LOCALES`] (empty = missing).
type Row = (&'static str, &'static str, bool, bool, [&'static str; 3]);

const ATTRIBUTES: [Row; 42] = [
    (
        "sku",
        "pim_catalog_identifier",
        false,
        false,
        ["SKU", "Artikelnummer", "Référence"],
    ),
    (
        "name",
        "pim_catalog_text",
        true,
        false,
        ["Name", "Name", "Nom"],
    ),
    (
        "description",
        "pim_catalog_textarea",
        true,
        true,
        ["Description", "Beschreibung", "Description"],
    ),
    (
        "short_description",
        "pim_catalog_textarea",
        true,
        false,
        ["Short description", "Kurzbeschreibung", ""],
    ),
    (
        "erp_name",
        "pim_catalog_text",
        false,
        false,
        ["ERP name", "", ""],
    ),
    (
        "meta_title",
        "pim_catalog_text",
        true,
        false,
        ["Meta title", "Meta-Titel", "Méta-titre"],
    ),
    (
        "meta_description",
        "pim_catalog_textarea",
        true,
        false,
        ["Meta description", "Meta-Beschreibung", ""],
    ),
    (
        "meta_keywords",
        "pim_catalog_textarea",
        true,
        false,
        ["Keywords", "Schlüsselwörter", "Mots-clés"],
    ),
    (
        "variation_name",
        "pim_catalog_text",
        true,
        false,
        ["Variation name", "Variantenname", "Nom de la variante"],
    ),
    (
        "ean",
        "pim_catalog_text",
        false,
        false,
        ["EAN", "EAN", "EAN"],
    ),
    (
        "brand",
        "pim_catalog_simpleselect",
        false,
        false,
        ["Brand", "Marke", "Marque"],
    ),
    (
        "color",
        "pim_catalog_simpleselect",
        false,
        false,
        ["Color", "Farbe", "Couleur"],
    ),
    (
        "size",
        "pim_catalog_simpleselect",
        false,
        false,
        ["Size", "Größe", "Taille"],
    ),
    (
        "shoe_size",
        "pim_catalog_simpleselect",
        false,
        false,
        ["Shoe size (EU)", "Schuhgröße", "Pointure"],
    ),
    (
        "material",
        "pim_catalog_simpleselect",
        false,
        false,
        ["Material", "Material", "Matière"],
    ),
    (
        "collection",
        "pim_catalog_multiselect",
        false,
        false,
        ["Collection", "Kollektion", "Collection"],
    ),
    (
        "features",
        "pim_catalog_multiselect",
        false,
        false,
        ["Features", "Merkmale", "Caractéristiques"],
    ),
    (
        "channel_flags",
        "pim_catalog_multiselect",
        false,
        true,
        ["Channel flags", "", ""],
    ),
    (
        "tax_class",
        "pim_catalog_simpleselect",
        false,
        false,
        ["Tax class", "Steuerklasse", "Classe de taxe"],
    ),
    (
        "weight",
        "pim_catalog_metric",
        false,
        false,
        ["Weight", "Gewicht", "Poids"],
    ),
    (
        "length",
        "pim_catalog_metric",
        false,
        false,
        ["Length", "Länge", "Longueur"],
    ),
    (
        "price",
        "pim_catalog_price_collection",
        false,
        false,
        ["Price", "Preis", "Prix"],
    ),
    (
        "list_price",
        "pim_catalog_price_collection",
        false,
        true,
        ["List price", "Listenpreis", "Prix conseillé"],
    ),
    (
        "waterproof",
        "pim_catalog_boolean",
        false,
        false,
        ["Waterproof", "Wasserdicht", "Imperméable"],
    ),
    (
        "handmade",
        "pim_catalog_boolean",
        false,
        true,
        ["Handmade", "Handgemacht", "Fait main"],
    ),
    (
        "release_date",
        "pim_catalog_date",
        false,
        false,
        ["Release date", "Erscheinungsdatum", "Date de sortie"],
    ),
    (
        "stock_hint",
        "pim_catalog_number",
        false,
        false,
        ["Stock hint", "Bestandshinweis", ""],
    ),
    (
        "rating",
        "pim_catalog_number",
        false,
        false,
        ["Rating", "Bewertung", "Note"],
    ),
    (
        "image",
        "pim_catalog_image",
        false,
        false,
        ["Image", "Bild", "Image"],
    ),
    (
        "gallery_image",
        "pim_catalog_image",
        true,
        true,
        ["Gallery image", "Galeriebild", "Image de galerie"],
    ),
    (
        "datasheet",
        "pim_catalog_file",
        true,
        false,
        ["Data sheet", "Datenblatt", "Fiche technique"],
    ),
    (
        "country_of_origin",
        "pim_reference_data_simpleselect",
        false,
        false,
        ["Origin", "Herkunft", "Origine"],
    ),
    (
        "fabrics",
        "pim_reference_data_multiselect",
        false,
        false,
        ["Fabrics", "Stoffe", "Tissus"],
    ),
    (
        "designer",
        "akeneo_reference_entity",
        false,
        false,
        ["Designer", "", ""],
    ),
    (
        "certificates",
        "akeneo_reference_entity_collection",
        false,
        false,
        ["Certificates", "Zertifikate", ""],
    ),
    (
        "media_assets",
        "pim_catalog_asset_collection",
        false,
        false,
        ["Assets", "", ""],
    ),
    (
        "size_chart",
        "pim_catalog_table",
        false,
        false,
        ["Size chart", "Größentabelle", ""],
    ),
    (
        "successor",
        "pim_catalog_product_link",
        false,
        false,
        ["Successor", "Nachfolger", ""],
    ),
    (
        "care_note",
        "pim_catalog_textarea",
        true,
        true,
        ["Care note", "Pflegehinweis", "Note d'entretien"],
    ),
    (
        "legal_note",
        "pim_catalog_textarea",
        true,
        false,
        ["", "Rechtshinweis", ""],
    ),
    (
        "Legacy_Code",
        "pim_catalog_text",
        false,
        false,
        ["Legacy; \"code\"", "", ""],
    ),
    (
        "never_filled",
        "pim_catalog_text",
        false,
        false,
        ["Never filled", "Nie gefüllt", "Jamais rempli"],
    ),
];

/// Code, family, axes and attributes of level 1, axes and attributes of level 2 (comma lists; empty = no such level).
pub(super) const VARIANTS: [[&str; 6]; 8] = [
    [
        "clothing_size",
        "clothing",
        "size",
        "size,sku,ean,weight,stock_hint",
        "",
        "",
    ],
    [
        "shoes_size",
        "shoes",
        "shoe_size",
        "shoe_size,sku,ean,weight,stock_hint",
        "",
        "",
    ],
    [
        "accessories_material",
        "accessories",
        "material",
        "material,sku,ean,weight,stock_hint",
        "",
        "",
    ],
    [
        "clothing_color_size",
        "clothing",
        "color",
        "color,variation_name,image",
        "size",
        "size,sku,ean,weight,stock_hint",
    ],
    [
        "shoes_color_size",
        "shoes",
        "color",
        "color,variation_name,image",
        "shoe_size",
        "shoe_size,sku,ean,weight,stock_hint",
    ],
    [
        "clothing_material_size",
        "clothing",
        "material",
        "material,variation_name,image",
        "size",
        "size,sku,ean,weight,stock_hint",
    ],
    [
        "clothing_colorsize",
        "clothing",
        "color,size",
        "color,size,sku,ean,weight,stock_hint,price,variation_name,image",
        "",
        "",
    ],
    [
        "accessories_color_material",
        "accessories",
        "color,material",
        "color,material,sku,ean,weight,stock_hint,price,variation_name,image",
        "",
        "",
    ],
];

/// What every family has.
const COMMON: &str = "sku,name,description,short_description,erp_name,meta_title,meta_description,meta_keywords,\
    variation_name,ean,brand,color,material,collection,features,channel_flags,tax_class,weight,length,price,list_price,\
    waterproof,handmade,release_date,stock_hint,rating,image,gallery_image,datasheet,country_of_origin,fabrics,designer,\
    certificates,media_assets,size_chart,successor,care_note,legal_note,Legacy_Code,never_filled";

const FAMILIES: [(&str, &str, [&str; 3]); 4] = [
    ("clothing", "size", ["Clothing", "Bekleidung", "Vêtements"]),
    ("shoes", "shoe_size", ["Shoes", "Schuhe", "Chaussures"]),
    ("accessories", "", ["Accessories", "Accessoires", ""]),
    ("empty_family", "", ["", "", ""]),
];

/// Labels of the locales that have one.
pub(super) fn labels(texts: &[&str]) -> Value {
    LOCALES
        .iter()
        .zip(texts)
        .filter(|(_, text)| !text.is_empty())
        .map(|(locale, text)| (*locale, *text))
        .collect()
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').filter(|part| !part.is_empty()).collect()
}

pub(super) fn attributes() -> Vec<Value> {
    ATTRIBUTES
        .iter()
        .enumerate()
        .map(|(order, row)| attribute(order, row))
        .collect()
}

fn attribute(order: usize, &(code, kind, localizable, scopable, names): &Row) -> Value {
    let group = match kind {
        "pim_catalog_identifier" | "pim_catalog_price_collection" => "erp",
        "pim_catalog_image" | "pim_catalog_file" | "pim_catalog_asset_collection" => "media",
        "pim_catalog_text" | "pim_catalog_textarea" => "marketing",
        _ => "technical",
    };
    let number = matches!(
        kind,
        "pim_catalog_number" | "pim_catalog_metric" | "pim_catalog_price_collection"
    );
    let decimals = matches!(code, "weight" | "rating" | "price" | "list_price");
    let (metric_family, unit) = match code {
        "weight" => (Some("Weight"), Some("GRAM")),
        "length" => (Some("Length"), Some("CENTIMETER")),
        _ => (None, None),
    };
    let extensions: &[&str] = match kind {
        "pim_catalog_image" => &["png", "jpg", "jpeg"],
        "pim_catalog_file" => &["pdf"],
        _ => &[],
    };
    json!({
        "code": code,
        "type": kind,
        "group": group,
        "group_labels": {"en_US": group},
        "labels": labels(&names),
        "sort_order": order,
        "localizable": localizable,
        "scopable": scopable,
        // One attribute is restricted to one locale, as real catalogues have it.
        "available_locales": if code == "legal_note" { vec!["de_DE"] } else { vec![] },
        "unique": matches!(code, "sku" | "ean"),
        "is_main_identifier": code == "sku",
        "is_mandatory": code == "sku",
        "useable_as_grid_filter": order < 16,
        "max_characters": (kind == "pim_catalog_text").then_some(255),
        "validation_rule": null,
        "validation_regexp": null,
        "wysiwyg_enabled": (kind == "pim_catalog_textarea").then_some(code == "description"),
        "number_min": (code == "rating").then_some("0.0000"),
        "number_max": (code == "rating").then_some("5.0000"),
        "decimals_allowed": number.then_some(decimals),
        "negative_allowed": matches!(kind, "pim_catalog_number" | "pim_catalog_metric").then_some(false),
        "metric_family": metric_family,
        "default_metric_unit": unit,
        "date_min": null,
        "date_max": null,
        "allowed_extensions": extensions,
        "max_file_size": null,
        "minimum_input_length": null,
        "reference_data_name": reference_data(code),
        "default_value": (kind == "pim_catalog_boolean").then_some(false),
    })
}

fn reference_data(code: &str) -> Option<&'static str> {
    match code {
        "country_of_origin" => Some("country"),
        "fabrics" => Some("fabrics"),
        "designer" => Some("designer"),
        "certificates" => Some("certificate"),
        _ => None,
    }
}

/// The options of a select attribute; none for other types and for reference data, as in Akeneo.
pub(super) fn options(attribute: &str) -> Vec<Value> {
    let translated = |rows: &[[&'static str; 4]]| {
        rows.iter()
            .map(|row| (row[0].to_owned(), labels(&row[1..])))
            .collect()
    };
    let plain = |codes: &[&str]| -> Vec<(String, Value)> {
        codes
            .iter()
            .map(|code| {
                (
                    (*code).to_owned(),
                    labels(&[&code.to_uppercase(), &code.to_uppercase(), ""]),
                )
            })
            .collect()
    };
    let rows: Vec<(String, Value)> = match attribute {
        "color" => translated(&COLORS),
        "material" => translated(&MATERIALS),
        "brand" => translated(&BRANDS),
        "features" => translated(&FEATURES),
        "size" => plain(&SIZES),
        "shoe_size" => (36..48)
            .map(|size| {
                (
                    size.to_string(),
                    labels(&[&size.to_string(), &size.to_string()]),
                )
            })
            .collect(),
        "collection" => (2021..2027)
            .map(|year| (format!("Summer_{year}"), season(year)))
            .collect(),
        "channel_flags" => plain(&["new", "sale", "bestseller"]),
        "tax_class" => plain(&["standard", "reduced", "zero"]),
        _ => return Vec::new(),
    };
    rows.into_iter()
        .enumerate()
        .map(|(order, (code, labels))| {
            json!({"code": code, "attribute": attribute, "sort_order": order + 1, "labels": labels})
        })
        .collect()
}

fn season(year: u16) -> Value {
    labels(&[
        &format!("Summer {year}"),
        &format!("Sommer {year}"),
        &format!("Été {year}"),
    ])
}

pub(super) fn families() -> Vec<Value> {
    FAMILIES
        .iter()
        .map(|(code, extra, names)| {
            let attributes: Vec<&str> = if *code == "empty_family" {
                vec!["sku"]
            } else {
                list(COMMON).into_iter().chain(list(extra)).collect()
            };
            json!({
                "code": code,
                "attributes": attributes,
                "attribute_as_label": if attributes.len() > 1 { "name" } else { "sku" },
                "attribute_as_image": (attributes.len() > 1).then_some("image"),
                "attribute_requirements": {"ecommerce": ["sku"], "print": ["sku"]},
                "labels": labels(names),
                "updated": format_stamp(EPOCH),
            })
        })
        .collect()
}

/// Those of the family variants whose codes are in `used`.
pub(super) fn family_variants(family: &str, used: &[&str]) -> Vec<Value> {
    VARIANTS
        .iter()
        .filter(|row| row[1] == family && used.contains(&row[0]))
        .map(|[code, _, axes1, attributes1, axes2, attributes2]| {
            let mut sets =
                vec![json!({"level": 1, "axes": list(axes1), "attributes": list(attributes1)})];
            if !axes2.is_empty() {
                sets.push(
                    json!({"level": 2, "axes": list(axes2), "attributes": list(attributes2)}),
                );
            }
            let own: Vec<&str> = list(attributes1)
                .into_iter()
                .chain(list(attributes2))
                .collect();
            let common: Vec<&str> = list(COMMON)
                .into_iter()
                .filter(|code| !own.contains(code))
                .collect();
            json!({
                "code": code,
                "labels": labels(&[&code.replace('_', " by "), "", ""]),
                "variant_attribute_sets": sets,
                "common_attributes": common,
            })
        })
        .collect()
}

pub(super) fn channels() -> Vec<Value> {
    let channel = |code: &str,
                   currencies: &[&str],
                   locales: &[&str],
                   units: Value,
                   names: [&str; 3]| {
        json!({"code": code, "currencies": currencies, "locales": locales, "category_tree": "master",
            "conversion_units": units, "labels": labels(&names)})
    };
    vec![
        channel(
            "ecommerce",
            &["EUR", "USD"],
            &LOCALES,
            json!({"weight": "KILOGRAM"}),
            ["Ecommerce", "Onlineshop", ""],
        ),
        channel(
            "print",
            &["EUR"],
            &LOCALES[..2],
            json!({}),
            ["Print", "Druck", "Impression"],
        ),
    ]
}

pub(super) fn locales() -> Vec<Value> {
    let locale = |code: &&str| json!({"code": code, "enabled": LOCALES.contains(code)});
    [
        "de_AT", "de_DE", "en_GB", "en_US", "es_ES", "fr_FR", "it_IT", "ja_JP",
    ]
    .iter()
    .map(locale)
    .collect()
}

pub(super) fn currencies() -> Vec<Value> {
    let currency = |code: &&str| json!({"code": code, "enabled": matches!(*code, "EUR" | "USD"), "label": code});
    ["CHF", "EUR", "GBP", "JPY", "USD"]
        .iter()
        .map(currency)
        .collect()
}

pub(super) fn measurement_families() -> Vec<Value> {
    let unit = |code: &str, name: &str, factor: &str, symbol: &str| {
        json!({"code": code, "labels": {"en_US": name}, "symbol": symbol,
            "convert_from_standard": [{"operator": "mul", "value": factor}]})
    };
    vec![
        json!({"code": "Length", "labels": {"en_US": "Length", "de_DE": "Länge", "fr_FR": "Longueur"},
            "standard_unit_code": "METER", "units": {
                "METER": unit("METER", "Meter", "1", "m"),
                "CENTIMETER": unit("CENTIMETER", "Centimeter", "0.01", "cm")}}),
        json!({"code": "Weight", "labels": {"en_US": "Weight", "de_DE": "Gewicht"},
            "standard_unit_code": "KILOGRAM", "units": {
                "KILOGRAM": unit("KILOGRAM", "Kilogram", "1", "kg"),
                "GRAM": unit("GRAM", "Gram", "0.001", "g")}}),
    ]
}

pub(super) fn association_types() -> Vec<Value> {
    let row = |code: &str, two_way: bool, quantified: bool, names: [&str; 3]| json!({"code": code, "labels": labels(&names), "is_two_way": two_way, "is_quantified": quantified});
    vec![
        row(
            "X_SELL",
            false,
            false,
            ["Cross sell", "Cross-Selling", "Vente croisée"],
        ),
        row("UPSELL", false, false, ["Upsell", "", ""]),
        row(
            "COMPATIBLE",
            true,
            false,
            ["Compatible with", "Kompatibel mit", ""],
        ),
        row(
            "PRODUCT_SET",
            false,
            true,
            ["Product set", "Produktset", "Ensemble"],
        ),
    ]
}
