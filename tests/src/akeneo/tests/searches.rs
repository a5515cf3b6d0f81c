use super::lists::codes;
use super::*;

#[tokio::test]
async fn searches_find_what_they_say() {
    let server = start(Options::generated(200, 1));
    let client = Client::new(&server).await;
    let everything = client.all("products?limit=100").await;
    let find = async |path: &str, conditions: Value| {
        client
            .all(&format!("{path}?limit=100&search={}", search(&conditions)))
            .await
    };

    let simple = find("products", json!({"parent": [{"operator": "EMPTY"}]})).await;
    assert_eq!(simple.len(), server.expected().simple);
    let off = find(
        "products",
        json!({"enabled": [{"operator": "=", "value": false}]}),
    )
    .await;
    assert!(!off.is_empty() && off.iter().all(|item| item["enabled"] == false));
    let both = find(
        "products",
        json!({"enabled": [{"operator": "=", "value": true}], "parent": [{"operator": "EMPTY"}]}),
    )
    .await;
    assert!(both.len() < simple.len());
    let shoes = find(
        "products",
        json!({"family": [{"operator": "IN", "value": ["shoes"]}]}),
    )
    .await;
    let none = find("products", json!({"family": [{"operator": "EMPTY"}]})).await;
    assert!(!shoes.is_empty() && shoes.iter().all(|item| item["family"] == "shoes"));
    assert!(!none.is_empty() && none.iter().all(|item| item["family"].is_null()));
    let two = find(
        "products",
        json!({"identifier": [{"operator": "IN", "value": ["akn-00000002", "AKN-00000003"]}]}),
    )
    .await;
    assert_eq!(codes(&two, "identifier"), ["AKN-00000002", "AKN-00000003"]);
    assert_eq!(
        find(
            "products",
            json!({"sku": [{"operator": "=", "value": "AKN-00000002"}]})
        )
        .await
        .len(),
        1
    );
    let below = find(
        "products",
        json!({"parent": [{"operator": "=", "value": "clothing-000000-b"}]}),
    )
    .await;
    assert_eq!(below.len(), 8);
    let roots = find("product-models", json!({"parent": [{"operator": "EMPTY"}]})).await;
    let subs = find(
        "product-models",
        json!({"parent": [{"operator": "NOT EMPTY"}]}),
    )
    .await;
    assert_eq!((roots.len(), subs.len()), (30, 20));

    let category = everything[0]["categories"][0].as_str().unwrap();
    let inside = find(
        "products",
        json!({"categories": [{"operator": "IN", "value": [category]}]}),
    )
    .await;
    let outside = find(
        "products",
        json!({"categories": [{"operator": "NOT IN", "value": [category]}]}),
    )
    .await;
    assert!(!inside.is_empty());
    assert_eq!(inside.len() + outside.len(), 200);
    let tree = find(
        "products",
        json!({"categories": [{"operator": "IN CHILDREN", "value": ["master"]}]}),
    )
    .await;
    let loose = find(
        "products",
        json!({"categories": [{"operator": "UNCLASSIFIED"}]}),
    )
    .await;
    assert_eq!(tree.len() + loose.len(), 200);

    let root = find(
        "categories",
        json!({"is_root": [{"operator": "=", "value": true}]}),
    )
    .await;
    assert_eq!(codes(&root, "code"), ["master"]);
    assert!(
        find(
            "categories",
            json!({"parent": [{"operator": "=", "value": "master"}]})
        )
        .await
        .len()
            > 3
    );
    let axes = find(
        "attributes",
        json!({"type": [{"operator": "IN", "value": ["pim_catalog_multiselect"]}]}),
    )
    .await;
    assert_eq!(axes.len(), 3);
}

#[tokio::test]
async fn times_are_compared_to_the_second() {
    let server = start(Options::generated(100, 1));
    let client = Client::new(&server).await;
    let everything = client.all("products?limit=100").await;
    let mut stamps: Vec<i64> = everything
        .iter()
        .map(|item| crate::catalogue::parse_iso(item["updated"].as_str().unwrap()).unwrap())
        .collect();
    stamps.sort_unstable();
    let plain = |seconds: i64| crate::catalogue::format_stamp(seconds)[..19].replace('T', " ");
    let count = async |operator: &str, value: Value| {
        let conditions = json!({"updated": [{"operator": operator, "value": value}]});
        client
            .all(&format!(
                "products?limit=100&search={}",
                search(&conditions)
            ))
            .await
            .len()
    };
    let is = |test: &dyn Fn(i64) -> bool| stamps.iter().filter(|stamp| test(**stamp)).count();
    let (low, high) = (stamps[20], stamps[70]);
    assert_eq!(
        count(">", json!(plain(high))).await,
        is(&|stamp| stamp > high)
    );
    assert_eq!(
        count("<", json!(plain(low))).await,
        is(&|stamp| stamp < low)
    );
    assert_eq!(
        count("=", json!(plain(low))).await,
        is(&|stamp| stamp == low)
    );
    assert_eq!(
        count("!=", json!(plain(low))).await,
        is(&|stamp| stamp != low)
    );
    let between = json!([plain(low), plain(high)]);
    assert_eq!(
        count("BETWEEN", between.clone()).await,
        is(&|stamp| (low..=high).contains(&stamp))
    );
    assert_eq!(
        count("NOT BETWEEN", between).await,
        is(&|stamp| !(low..=high).contains(&stamp))
    );
    server.set_clock(Some(u32::try_from(high).unwrap()));
    assert_eq!(
        count("SINCE LAST N DAYS", json!(1)).await,
        is(&|stamp| stamp >= high - 86_400)
    );
    // Other kinds write times as ISO 8601.
    let newer = search(&json!({"updated": [{"operator": ">", "value": "2024-01-01T00:10:00Z"}]}));
    assert_eq!(
        client
            .all(&format!("categories?search={newer}"))
            .await
            .len(),
        server.expected().categories - 11
    );
}

#[tokio::test]
async fn wrong_searches_are_422() {
    let server = start(Options::generated(10, 1));
    let client = Client::new(&server).await;
    for (path, conditions) in [
        ("products", json!("text")),
        ("products", json!({"updated": {"operator": ">"}})),
        ("products", json!({"updated": [{"value": "x"}]})),
        (
            "products",
            json!({"updated": [{"operator": ">", "value": "2024-01-01T00:00:00Z"}]}),
        ),
        (
            "products",
            json!({"updated": [{"operator": "BETWEEN", "value": "2024-01-01 00:00:00"}]}),
        ),
        (
            "categories",
            json!({"updated": [{"operator": ">", "value": "2024-01-01 00:00:00"}]}),
        ),
        (
            "categories",
            json!({"updated": [{"operator": "<", "value": "2024-01-01T00:00:00Z"}]}),
        ),
        (
            "products",
            json!({"colour": [{"operator": "=", "value": "red"}]}),
        ),
        (
            "products",
            json!({"family": [{"operator": "IN", "value": ["nothing"]}]}),
        ),
        (
            "products",
            json!({"categories": [{"operator": "IN", "value": "cat_0001"}]}),
        ),
        (
            "products",
            json!({"enabled": [{"operator": "=", "value": "yes"}]}),
        ),
        (
            "product-models",
            json!({"enabled": [{"operator": "=", "value": true}]}),
        ),
    ] {
        let path = format!("{path}?search={}", search(&conditions));
        assert_eq!(client.refused(&path).await.0, 422, "{path}");
    }
    assert_eq!(client.refused("products?search={").await.0, 422);
}
