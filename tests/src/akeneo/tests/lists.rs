use std::collections::HashSet;

use super::*;

pub(super) fn codes(items: &[Value], key: &str) -> Vec<String> {
    items
        .iter()
        .map(|item| item[key].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn both_pagings_give_every_item_once_and_in_order() {
    let server = start(Options::generated(250, 1));
    let client = Client::new(&server).await;
    let expected = server.expected();
    let by_page = client.all("products?limit=100").await;
    let after = client
        .all("products?pagination_type=search_after&limit=100")
        .await;
    assert_eq!(by_page.len(), 250);
    assert_eq!(by_page, after);
    assert_eq!(
        codes(&by_page, "identifier")
            .into_iter()
            .collect::<HashSet<_>>()
            .len(),
        250
    );
    assert_eq!(
        client
            .all("product-models?pagination_type=search_after&limit=7")
            .await
            .len(),
        expected.product_models
    );
    assert_eq!(
        client.all("categories?limit=9").await.len(),
        expected.categories
    );
    assert_eq!(
        client.all("attributes?limit=100").await.len(),
        expected.attributes
    );
    for path in [
        "families",
        "channels",
        "locales",
        "currencies",
        "association-types",
    ] {
        assert!(client.all(path).await.len() > 1, "{path}");
    }
    assert!(
        client
            .json("measurement-families")
            .await
            .as_array()
            .unwrap()
            .len()
            > 1
    );
    assert_eq!(
        client.all("families/clothing/variants?limit=1").await.len(),
        4
    );
    assert_eq!(
        client.all("attributes/color/options?limit=5").await.len(),
        12
    );
}

#[tokio::test]
async fn the_envelope_is_the_documented_one() {
    let server = start(Options::generated(25, 1));
    let client = Client::new(&server).await;
    let page = client
        .json("products?page=2&with_count=true&locales=en_US")
        .await;
    assert_eq!(
        (&page["current_page"], &page["items_count"]),
        (&json!(2), &json!(25))
    );
    assert_eq!(page["_embedded"]["items"].as_array().unwrap().len(), 10);
    for (name, number) in [("self", 2), ("first", 1), ("previous", 1), ("next", 3)] {
        let href = page["_links"][name]["href"].as_str().unwrap();
        assert!(
            href.starts_with(&format!("{}{REST_PATH}/products?", server.base_url())),
            "{href}"
        );
        assert!(
            href.contains(&format!("page={number}")) && href.contains("locales=en_US"),
            "{href}"
        );
    }
    let first = client.json("products").await;
    assert_eq!(first["_links"]["previous"], Value::Null);
    assert_eq!(first["items_count"], Value::Null);
    let last = client.json("products?page=3").await;
    assert_eq!(last["_links"]["next"], Value::Null);
    assert_eq!(
        client.json("products?page=9").await["_embedded"]["items"],
        json!([])
    );

    let after = client
        .json("products?pagination_type=search_after&limit=20&with_count=true")
        .await;
    assert_eq!(
        (&after["current_page"], &after["items_count"]),
        (&Value::Null, &Value::Null)
    );
    assert!(
        after["_links"]["next"]["href"]
            .as_str()
            .unwrap()
            .contains("search_after=")
    );
    let end = client
        .json(after["_links"]["next"]["href"].as_str().unwrap())
        .await;
    assert_eq!(end["_links"]["next"], Value::Null);
    assert_eq!(end["_embedded"]["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn wrong_pages_limits_and_cursors_are_422() {
    let server = start(Options::generated(10, 1));
    let client = Client::new(&server).await;
    for path in [
        "products?limit=101",
        "categories?limit=0",
        "products?limit=many",
        "products?page=0",
        "products?pagination_type=cursor",
        "products?pagination_type=search_after&search_after=100",
        "products?page=101&limit=100",
        "products?scope=nowhere",
        "products?locales=xx_XX",
        "products?locales=es_ES",
        "products?scope=print&locales=fr_FR",
        "products?attributes=unknown",
    ] {
        assert_eq!(client.refused(path).await.0, 422, "{path}");
    }
    let body = client
        .get("products?page=101&limit=100")
        .await
        .json()
        .unwrap();
    assert!(
        body["_links"]["documentation"]["href"]
            .as_str()
            .unwrap()
            .contains("search-after")
    );
    // Just below the limit, and lists that have no such limit.
    assert_eq!(client.get("products?page=100&limit=100").await.status, 200);
    assert_eq!(
        client.get("categories?page=500&limit=100").await.status,
        200
    );
}

#[tokio::test]
async fn single_items_are_found_by_code_in_any_case() {
    let server = start(Options::generated(1100, 1));
    let client = Client::new(&server).await;
    let item = client.json("products/akn-00000001").await;
    assert_eq!(item["identifier"], "AKN-00000001");
    let by_uuid = client
        .json(&format!("products-uuid/{}", item["uuid"].as_str().unwrap()))
        .await;
    assert_eq!(by_uuid["identifier"], Value::Null);
    assert_eq!(by_uuid["values"]["sku"][0]["data"], "AKN-00000001");
    // Identifiers with a slash or a space, by the link of the list.
    let slash = client.json("products/AKN%2F00000005").await;
    assert_eq!(slash["identifier"], "AKN/00000005");
    for item in client.json("products?limit=20").await["_embedded"]["items"]
        .as_array()
        .unwrap()
    {
        let link = item["_links"]["self"]["href"].as_str().unwrap();
        assert_eq!(
            client.json(link).await["identifier"],
            item["identifier"],
            "{link}"
        );
    }
    assert_eq!(
        client.json("families/shoes/variants/shoes_size").await["code"],
        "shoes_size"
    );
    assert_eq!(
        client.json("attributes/color/options/RED").await["code"],
        "red"
    );
    for path in [
        "products/none",
        "products-uuid/none",
        "categories/none",
        "families/none/variants",
        "families/shoes/variants/none",
        "attributes/none/options",
        "attributes/name/options",
        "attributes/color/options/none",
        "media-files/none/download",
        "nothing",
    ] {
        assert_eq!(client.refused(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn values_are_typed_inherited_and_filtered() {
    let server = start(Options::generated(100, 1));
    let client = Client::new(&server).await;
    // A variant of a two-level model has the values of both levels, and its own.
    let item = client.json("products?limit=1&search={\"parent\":[{\"operator\":\"IN\",\"value\":[\"clothing-000000-b-1\"]}]}").await;
    let item = &item["_embedded"]["items"][0];
    for attribute in ["size", "color", "name", "ean"] {
        assert!(item["values"][attribute].is_array(), "{attribute}: {item}");
    }
    assert_eq!(
        item["values"]["size"][0]["attribute_type"],
        "pim_catalog_simpleselect"
    );
    assert!(item["values"]["weight"][0]["data"]["amount"].is_string());
    assert!(!item["categories"].as_array().unwrap().is_empty());

    let path = "products?limit=100&locales=de_DE&scope=ecommerce&attributes=description,weight&with_attribute_options=true";
    let mut seen = 0;
    for item in client.json(path).await["_embedded"]["items"]
        .as_array()
        .unwrap()
    {
        for (code, entries) in item["values"].as_object().unwrap() {
            assert!(code == "description" || code == "weight", "{code}");
            for entry in entries.as_array().unwrap() {
                assert!(entry["locale"].is_null() || entry["locale"] == "de_DE");
                assert!(entry["scope"].is_null() || entry["scope"] == "ecommerce");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
    let linked = client
        .json("products?limit=1&attributes=size&with_attribute_options=true")
        .await;
    let entry = &linked["_embedded"]["items"][0]["values"]["size"][0];
    assert_eq!(entry["linked_data"]["code"], entry["data"]);
    assert_eq!(entry["linked_data"]["labels"]["en_US"], "XS");
}

#[tokio::test]
async fn own_values_stay_at_their_level_when_asked() {
    let server = start(Options {
        inherited: false,
        ..Options::generated(20, 1)
    });
    let client = Client::new(&server).await;
    let variant = client.json("products/AKN-00000006").await;
    assert_eq!(variant["values"]["name"], Value::Null);
    let sub = client.json("product-models/clothing-000000-b-1").await;
    assert!(sub["values"]["color"].is_array() && sub["values"]["name"].is_null());
}

#[tokio::test]
async fn headers_are_checked_and_forbidden_lists_are_403() {
    let server = start(Options {
        forbidden: vec![Kind::Products],
        ..Options::generated(10, 1)
    });
    let client = Client::new(&server).await;
    assert_eq!(client.refused("products").await.0, 403);
    assert_eq!(client.refused("products-uuid").await.0, 403);
    let headers = [
        ("authorization", client.bearer.as_str()),
        ("accept", "text/html"),
    ];
    let reply = send("GET", &client.address("categories"), &headers, "", TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.json().unwrap()["code"].clone()),
        (406, json!(406))
    );
    let headers = [
        ("authorization", client.bearer.as_str()),
        ("accept", "text/html, */*;q=0.1"),
    ];
    assert_eq!(
        send("GET", &client.address("categories"), &headers, "", TIMEOUT)
            .await
            .unwrap()
            .status,
        200
    );
    let reply = send(
        "DELETE",
        &client.address("categories"),
        &headers[..1],
        "",
        TIMEOUT,
    )
    .await
    .unwrap();
    assert_eq!(reply.status, 405);
}

#[tokio::test]
async fn media_files_are_bytes() {
    let server = start(Options::generated(100, 1));
    let client = Client::new(&server).await;
    let items = client.all("products?limit=100&attributes=image").await;
    let entry = items
        .iter()
        .find_map(|item| item["values"]["image"].get(0))
        .unwrap();
    let reply = client
        .get(entry["_links"]["download"]["href"].as_str().unwrap())
        .await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "image/png")
    );
    assert!(reply.body.starts_with(b"\x89PNG"));
    let info = client
        .json(&format!("media-files/{}", entry["data"].as_str().unwrap()))
        .await;
    assert_eq!(info["size"], reply.body.len());
}

#[tokio::test]
async fn categories_tell_their_position_when_asked() {
    let server = start(Options::generated(100, 1));
    let client = Client::new(&server).await;
    let all = client.all("categories?limit=100&with_position=true").await;
    let mut below: Vec<u64> = all
        .iter()
        .filter(|item| item["parent"] == "master")
        .map(|item| item["position"].as_u64().unwrap())
        .collect();
    below.sort_unstable();
    assert_eq!(below.first(), Some(&1));
    assert_eq!(
        client.json("categories").await["_embedded"]["items"][0]["position"],
        Value::Null
    );
}

#[tokio::test]
async fn a_folder_of_csv_files_is_served_whole() {
    let Some(folder) = crate::host::test_data("akeneo/catalog_modeling") else {
        return;
    };
    let server = start(Options::fixtures(folder).unwrap());
    let client = Client::new(&server).await;
    let products = client
        .all("products?pagination_type=search_after&limit=100")
        .await;
    assert_eq!(products.len(), 242);
    assert_eq!(
        client
            .all("product-models?pagination_type=search_after&limit=100")
            .await
            .len(),
        80
    );
    assert_eq!(client.all("categories?limit=100").await.len(), 30);
    assert_eq!(client.all("attributes?limit=100").await.len(), 27);
    let variant = products
        .iter()
        .find(|item| item["identifier"] == "1111111111")
        .unwrap();
    assert_eq!(
        variant["values"]["weight"][0]["data"],
        json!({"amount": "800", "unit": "GRAM"})
    );
    assert_eq!(variant["values"]["name"][0]["locale"], "en_US");
    assert_eq!(
        variant["values"]["collection"][0]["data"],
        json!(["summer_2016"])
    );
    assert_eq!(
        variant["values"]["price"][0]["data"],
        json!([{"amount": "999", "currency": "EUR"}])
    );
}
