use super::*;

#[tokio::test]
async fn lines_change_and_create_items_and_fail_one_by_one() {
    let server = start(Options::generated(40, 1));
    server.set_clock(Some(1_800_000_000));
    let client = Client::new(&server).await;
    let before = client.json("products/AKN-00000001").await;
    let replies = client
        .patch_lines(
            "products",
            &[
                json!({"identifier": "AKN-00000001", "enabled": !before["enabled"].as_bool().unwrap(),
                    "values": {"name": [{"locale": "de_DE", "scope": null, "data": "Neu"}]}}),
                json!({"identifier": "new-1", "family": "shoes", "values": {"ean": [{"locale": null, "scope": null,
                    "data": "1"}]}}),
                json!({"identifier": "AKN-00000002", "group": ["x"]}),
                json!({"family": "shoes"}),
                json!({"identifier": "AKN-00000003", "family": "nothing"}),
                json!({"identifier": "AKN-00000003", "categories": "cat_0001"}),
            ],
        )
        .await;
    let statuses: Vec<u64> = replies
        .iter()
        .map(|reply| reply["status_code"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [204, 201, 422, 422, 422, 422]);
    assert_eq!(
        (&replies[0]["line"], &replies[0]["identifier"]),
        (&json!(1), &json!("AKN-00000001"))
    );
    assert!(
        replies[2]["message"]
            .as_str()
            .unwrap()
            .contains("\"group\" does not exist")
    );
    assert_eq!(replies[4]["errors"][0]["property"], "family");

    let after = client.json("products/AKN-00000001").await;
    assert_ne!(after["enabled"], before["enabled"]);
    assert_eq!(after["updated"], "2027-01-15T08:00:00+00:00");
    assert_eq!(after["created"], before["created"]);
    let german = after["values"]["name"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["locale"] == "de_DE")
        .unwrap();
    assert_eq!(german["data"], "Neu");
    assert_eq!(after["categories"], before["categories"]);
    assert_eq!(client.json("products/NEW-1").await["family"], "shoes");
    assert_eq!(server.expected().concretes, 41);
    let all = client
        .all("products?pagination_type=search_after&limit=7")
        .await;
    assert_eq!(all.len(), 41);
    assert_eq!(all[40]["identifier"], "new-1");
}

#[tokio::test]
async fn incremental_reads_see_what_changed_and_nothing_else() {
    let server = start(Options::generated(60, 1));
    let client = Client::new(&server).await;
    server.set_clock(Some(1_800_000_000));
    let newer = |kind: &str, stamp: &str| {
        format!(
            "{kind}?search={}",
            search(&json!({"updated": [{"operator": ">", "value": stamp}]}))
        )
    };
    let since = newer("products", "2027-01-15 07:59:59");
    assert_eq!(client.all(&since).await.len(), 0);
    let change = json!({"identifier": "akn 00000007", "enabled": false});
    client
        .patch_lines("products", std::slice::from_ref(&change))
        .await;
    let changed = client.all(&since).await;
    assert_eq!(changed.len(), 1);
    assert_eq!(
        changed[0]["uuid"],
        client.json("products/AKN%2000000007").await["uuid"]
    );
    // The same second is not newer; the same content is no change.
    assert_eq!(
        client
            .all(&newer("products", "2027-01-15 08:00:00"))
            .await
            .len(),
        0
    );
    server.set_clock(Some(1_800_000_100));
    client.patch_lines("products", &[change]).await;
    assert_eq!(
        client
            .all(&newer("products", "2027-01-15 08:00:00"))
            .await
            .len(),
        0
    );

    let model = json!({"code": "clothing-000000-a", "values": {"waterproof": [{"locale": null, "scope": null, "data": null}]}});
    assert_eq!(
        client.patch_lines("product-models", &[model]).await[0]["status_code"],
        204
    );
    let models = client
        .all(&newer("product-models", "2027-01-15 08:00:00"))
        .await;
    assert_eq!(models.len(), 1);
    assert_eq!(models[0]["values"]["waterproof"], Value::Null);
    let category = json!({"code": "cat_0003", "labels": {"en_US": "Renamed", "de_DE": null}});
    assert_eq!(
        client.patch_lines("categories", &[category]).await[0]["status_code"],
        204
    );
    let categories = client
        .all(&newer("categories", "2027-01-15T08:00:00Z"))
        .await;
    assert_eq!(categories.len(), 1);
    assert_eq!(categories[0]["labels"]["en_US"], "Renamed");
    assert_eq!(categories[0]["labels"]["de_DE"], Value::Null);
}

#[tokio::test]
async fn values_are_checked_against_their_attribute() {
    let server = start(Options::generated(20, 1));
    let client = Client::new(&server).await;
    let entry = |locale: Value, scope: Value, data: Value| json!([{"locale": locale, "scope": scope, "data": data}]);
    let none = Value::Null;
    for (attribute, value) in [
        ("name", entry(none.clone(), none.clone(), json!("x"))),
        ("name", entry(json!("xx_XX"), none.clone(), json!("x"))),
        ("name", entry(json!("de_DE"), json!("print"), json!("x"))),
        ("handmade", entry(none.clone(), none.clone(), json!(true))),
        (
            "waterproof",
            entry(none.clone(), none.clone(), json!("true")),
        ),
        ("stock_hint", entry(none.clone(), none.clone(), json!(1.5))),
        ("price", entry(none.clone(), none.clone(), json!("9.90"))),
        (
            "weight",
            entry(
                none.clone(),
                none.clone(),
                json!({"amount": "x", "unit": "GRAM"}),
            ),
        ),
        (
            "features",
            entry(none.clone(), none.clone(), json!("vegan")),
        ),
        ("unknown", entry(none.clone(), none.clone(), json!("x"))),
        ("ean", json!("x")),
    ] {
        let reply = client
            .patch_lines(
                "products",
                &[json!({"identifier": "AKN-00000001", "values": {attribute: value}})],
            )
            .await;
        assert_eq!(reply[0]["status_code"], 422, "{attribute}");
    }
    let wrong = json!({"identifier": "AKN-00000001", "values": {"waterproof": entry(none.clone(), none, json!(1))}});
    let reply = client.patch_lines("products", &[wrong]).await;
    assert_eq!(reply[0]["errors"][0]["attribute"], "waterproof");
}

#[tokio::test]
async fn single_items_and_uuids_are_patched_too() {
    let server = start(Options::generated(20, 1));
    let client = Client::new(&server).await;
    let reply = client
        .patch(
            "products/AKN-00000001",
            "application/json",
            r#"{"enabled":false}"#,
        )
        .await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("location").ends_with("/products/AKN-00000001"));
    let uuid = client.json("products/AKN-00000001").await["uuid"]
        .as_str()
        .unwrap()
        .to_owned();
    let line = json!({"uuid": uuid, "enabled": true});
    let replies = client
        .patch_lines("products-uuid", &[line, json!({"uuid": "none"})])
        .await;
    assert_eq!(
        (&replies[0]["status_code"], &replies[0]["uuid"]),
        (&json!(204), &json!(uuid))
    );
    assert_eq!(replies[1]["status_code"], 404);
    assert_eq!(client.json("products/AKN-00000001").await["enabled"], true);
    let reply = client
        .patch(
            "categories/new",
            "application/json",
            r#"{"parent":"MASTER"}"#,
        )
        .await;
    assert_eq!(reply.status, 201);
    assert_eq!(
        client
            .patch("categories/new", "application/json", r#"{"code":"other"}"#)
            .await
            .status,
        422
    );
    assert_eq!(
        client
            .patch("categories/new", "application/json", "{")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn bodies_of_the_wrong_type_or_size_are_refused() {
    let server = start(Options::generated(20, 1));
    let client = Client::new(&server).await;
    assert_eq!(
        client
            .patch("products", "application/json", "{}")
            .await
            .status,
        415
    );
    assert_eq!(
        client.patch("products/x", "text/plain", "{}").await.status,
        415
    );
    let many = "{\"identifier\":\"x\"}\n".repeat(101);
    assert_eq!(
        client.patch("products", lines::LINES, many).await.status,
        413
    );
    let long = format!(
        "{{\"identifier\":\"{}\"}}\nnonsense\n",
        "x".repeat(1_000_001)
    );
    let reply = client.patch("products", lines::LINES, long).await;
    let replies: Vec<Value> = std::str::from_utf8(&reply.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&replies[0]["status_code"], &replies[1]["status_code"]),
        (&json!(413), &json!(400))
    );
}
