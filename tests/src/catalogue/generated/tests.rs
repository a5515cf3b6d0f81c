use std::collections::HashSet;

use super::*;

fn all(catalogue: &Generated, kind: Kind) -> Vec<Value> {
    (0..catalogue.len(kind))
        .map(|index| catalogue.item(kind, index).unwrap())
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_catalogue_and_another_seed_another() {
    let [one, two, other] = [
        Generated::new(60, 7),
        Generated::new(60, 7),
        Generated::new(60, 8),
    ];
    assert_eq!(all(&one, Kind::Products), all(&two, Kind::Products));
    assert_ne!(all(&one, Kind::Products), all(&other, Kind::Products));
}

#[test]
fn the_counts_are_what_the_layout_promises() {
    let expected = Generated::new(1000, 1).expected();
    // 50 blocks of 20 products, 5 models, 4 owners, 3 simple products.
    assert_eq!(expected.concretes, 1000);
    assert_eq!(expected.product_models, 250);
    assert_eq!(expected.owners, 200);
    assert_eq!(expected.simple, 150);
    assert_eq!(expected.abstracts, 350);
    assert_eq!(expected.attributes, 42);
    assert_eq!(expected.categories, 55);
    assert_eq!(expected.family_variants, 8);
    let axes: Vec<&str> = expected
        .super_attributes
        .iter()
        .map(String::as_str)
        .collect();
    assert_eq!(axes, ["color", "material", "shoe_size", "size"]);
}

#[test]
fn small_catalogues_define_only_the_family_variants_they_use() {
    let one = Generated::new(1, 1).expected();
    assert_eq!(
        (one.abstracts, one.concretes, one.family_variants),
        (1, 1, 1)
    );
    assert_eq!(
        one.super_attributes.into_iter().collect::<Vec<_>>(),
        ["size"]
    );
    assert_eq!(Generated::new(0, 1).expected().concretes, 0);
}

#[test]
fn every_item_is_found_by_its_code_in_any_case_and_by_its_uuid() {
    let catalogue = Generated::new(1100, 3);
    for kind in Kind::ALL {
        for (index, item) in all(&catalogue, kind).iter().enumerate() {
            let code = item[kind.key()].as_str().unwrap();
            assert_eq!(catalogue.find(kind, code), Some(index), "{code}");
            assert_eq!(
                catalogue.find(kind, &code.to_uppercase()),
                Some(index),
                "{code}"
            );
            assert_eq!(catalogue.find(kind, &format!("{code}x")), None, "{code}");
        }
    }
    for (index, item) in all(&catalogue, Kind::Products).iter().enumerate() {
        assert_eq!(
            catalogue.find_uuid(item["uuid"].as_str().unwrap()),
            Some(index)
        );
    }
    assert_eq!(
        catalogue.find_uuid("00000000-0000-4000-a000-000000000000"),
        None
    );
}

#[test]
fn heads_say_what_the_items_say() {
    let catalogue = Generated::new(300, 3);
    for kind in [Kind::Products, Kind::ProductModels, Kind::Categories] {
        for (index, item) in all(&catalogue, kind).iter().enumerate() {
            assert_eq!(catalogue.head(kind, index), Some(Head::of(kind, item)));
        }
    }
}

#[test]
fn every_reference_resolves_without_regard_to_case_and_some_only_so() {
    let catalogue = Generated::new(1000, 5);
    let mut mismatches = 0;
    for kind in [Kind::Products, Kind::ProductModels, Kind::Categories] {
        let parents = if kind == Kind::Categories {
            Kind::Categories
        } else {
            Kind::ProductModels
        };
        for item in all(&catalogue, kind) {
            let mut references = vec![];
            references.extend(item["parent"].as_str().map(|code| (parents, code)));
            for code in item["categories"].as_array().into_iter().flatten() {
                references.push((Kind::Categories, code.as_str().unwrap()));
            }
            references.extend(item["family"].as_str().map(|code| (Kind::Families, code)));
            for (kind, code) in references {
                let index = catalogue
                    .find(kind, code)
                    .unwrap_or_else(|| panic!("{code} does not exist"));
                mismatches += usize::from(catalogue.head(kind, index).unwrap().code != code);
            }
        }
    }
    assert!(mismatches > 50, "{mismatches}");
}

#[test]
fn variants_of_a_model_differ_in_their_axes() {
    let catalogue = Generated::new(240, 5);
    let axes = ["color", "size", "shoe_size", "material"];
    let mut seen = HashSet::new();
    for item in all(&catalogue, Kind::Products) {
        let Some(parent) = item["parent"].as_str() else {
            continue;
        };
        let key: Vec<String> = axes
            .iter()
            .map(|axis| item["values"][axis][0]["data"].to_string())
            .collect();
        assert!(
            key.iter().any(|value| value != "null"),
            "{parent} has a variant without axis"
        );
        assert!(
            seen.insert((parent.to_lowercase(), key.clone())),
            "{parent} has {key:?} twice"
        );
    }
}

#[test]
fn items_hold_only_the_values_of_their_level_and_known_options() {
    let catalogue = Generated::new(240, 9);
    let attributes = all(&catalogue, Kind::Attributes);
    for kind in [Kind::Products, Kind::ProductModels] {
        for item in all(&catalogue, kind) {
            for (code, entries) in item["values"].as_object().unwrap() {
                let attribute = attributes
                    .iter()
                    .find(|a| a["code"] == *code)
                    .unwrap_or_else(|| panic!("{code}"));
                for entry in entries.as_array().unwrap() {
                    assert_eq!(
                        attribute["localizable"] == true,
                        entry["locale"].is_string(),
                        "{code}"
                    );
                    assert_eq!(
                        attribute["scopable"] == true,
                        entry["scope"].is_string(),
                        "{code}"
                    );
                    if attribute["type"] == "pim_catalog_simpleselect" {
                        let options = catalogue.options(code).unwrap();
                        let data = entry["data"].as_str().unwrap();
                        assert!(
                            position(&options, data).is_some(),
                            "{code} has no option {data}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_third_of_the_categories_is_listed_before_its_parent() {
    let catalogue = Generated::new(10_000, 1);
    let codes: Vec<String> = all(&catalogue, Kind::Categories)
        .iter()
        .map(|c| c["code"].as_str().unwrap().into())
        .collect();
    assert_eq!(codes.len(), 280);
    let late = all(&catalogue, Kind::Categories)
        .iter()
        .enumerate()
        .filter_map(|(index, item)| {
            Some((
                index,
                catalogue.find(Kind::Categories, item["parent"].as_str()?)?,
            ))
        })
        .filter(|(index, parent)| parent > index)
        .count();
    assert!((60..200).contains(&late), "{late}");
}

#[test]
fn media_codes_that_items_name_exist_and_others_do_not() {
    let catalogue = Generated::new(200, 1);
    let mut seen = 0;
    for item in all(&catalogue, Kind::Products) {
        if let Some(code) = item["values"]["image"][0]["data"].as_str() {
            assert!(catalogue.has_media(code), "{code}");
            seen += 1;
        }
    }
    assert!(seen > 0);
    assert!(!catalogue.has_media("0/0/00000001_front.png"));
    assert!(!catalogue.has_media("nothing"));
}
