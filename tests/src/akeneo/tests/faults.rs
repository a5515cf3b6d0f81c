use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn statuses_come_as_planned_and_then_no_more() {
    let server = start(Options::generated(10, 1));
    let client = Client::new(&server).await;
    server.fault(Fault::new("products", FaultKind::RetryAfter(7)));
    server.fault(Fault::new("products", FaultKind::Status(429)));
    server.fault(Fault::new("products", FaultKind::Status(503)).times(2));
    server.fault(Fault::new("products", FaultKind::Status(401)));
    let mut statuses = vec![];
    for _ in 0..6 {
        let reply = client.get("products").await;
        statuses.push((reply.status, reply.header("retry-after").to_owned()));
    }
    let none = String::new;
    let wanted = [
        (429, "7".to_owned()),
        (429, none()),
        (503, none()),
        (503, none()),
        (401, none()),
        (200, none()),
    ];
    assert_eq!(statuses, wanted);
    assert_eq!(server.count("products"), 6);
    assert_eq!(server.count("categories"), 0);
    server.fault(Fault::new("token", FaultKind::Status(500)));
    assert_eq!(
        grant(&server, &basic(&server), &password(&server))
            .await
            .status,
        500
    );
}

#[tokio::test]
async fn bodies_break_off_in_two_ways() {
    let server = start(Options::generated(100, 1));
    let client = Client::new(&server).await;
    server.fault(Fault::new("products", FaultKind::Drop));
    let dropped = client.try_get("products?limit=100").await;
    assert!(matches!(dropped, Err(HttpError::Answer(_))), "{dropped:?}");
    server.fault(Fault::new("products", FaultKind::Truncate));
    let cut = client.get("products?limit=100").await;
    assert_eq!(cut.status, 200);
    assert!(cut.json().is_err());
    client.json("products?limit=100").await;
}

#[tokio::test]
async fn slow_answers_and_the_most_calls_at_a_time_are_seen() {
    let server = start(Options::generated(10, 1));
    let client = Client::new(&server).await;
    // Only answers that wait for each other overlap for sure.
    server.fault(Fault::new("products", FaultKind::Slow(Duration::from_millis(300))).times(3));
    let replies = join_all((0..3).map(|_| client.get("products"))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(server.max_concurrent(), 3);
    server.fault(Fault::new(
        "products",
        FaultKind::Slow(Duration::from_secs(30)),
    ));
    let headers = [("authorization", client.bearer.as_str())];
    let late = send(
        "GET",
        &client.address("products"),
        &headers,
        "",
        Duration::from_millis(20),
    )
    .await;
    assert!(matches!(late, Err(HttpError::Timeout(_))), "{late:?}");
}

#[tokio::test]
async fn a_fifth_call_at_a_time_is_429() {
    let limits = Limits {
        concurrent: Some(4),
        per_second: None,
        retry_after: Some(2),
    };
    let server = start(Options {
        limits,
        ..Options::generated(10, 1)
    });
    let client = Client::new(&server).await;
    server.fault(Fault::new("products", FaultKind::Slow(Duration::from_millis(400))).times(5));
    let replies = join_all((0..5).map(|_| client.get("products"))).await;
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].header("retry-after"), "2");
}

#[tokio::test]
async fn too_many_calls_in_a_second_are_429() {
    let limits = Limits {
        concurrent: None,
        per_second: Some(5),
        retry_after: None,
    };
    let server = start(Options {
        limits,
        ..Options::generated(10, 1)
    });
    let client = Client::new(&server).await;
    let replies = join_all((0..30).map(|_| client.get("channels"))).await;
    assert!(replies.iter().filter(|reply| reply.status == 200).count() >= 5);
    let refused = replies.iter().find(|reply| reply.status == 429).unwrap();
    assert_eq!(refused.header("retry-after"), "");
}

#[tokio::test]
async fn the_catalogue_changes_between_two_pages() {
    let server = start(Options::generated(20, 1));
    let client = Client::new(&server).await;
    let price =
        json!([{"locale": null, "scope": null, "data": [{"amount": "1.00", "currency": "EUR"}]}]);
    let change = json!({"identifier": "AKN-00000013", "values": {"price": price}});
    server.fault(Fault::new(
        "products",
        FaultKind::Change(Kind::Products, change),
    ));
    let first = client.json("products?pagination_type=search_after").await;
    let second = client
        .json(first["_links"]["next"]["href"].as_str().unwrap())
        .await;
    assert_eq!(
        second["_embedded"]["items"][3]["values"]["price"][0]["data"][0]["amount"],
        "1.00"
    );
    server.fault(Fault::new(
        "products",
        FaultKind::Change(Kind::Products, json!({"nothing": 1})),
    ));
    assert_eq!(client.get("products").await.status, 501);
}

#[tokio::test]
async fn requests_are_on_record() {
    let server = start(Options::generated(10, 1));
    let client = Client::new(&server).await;
    server.clear_requests();
    client.json("products?limit=3&search=%7B%7D").await;
    client.get("categories/none").await;
    let query = vec![
        ("limit".to_owned(), "3".to_owned()),
        ("search".to_owned(), "{}".to_owned()),
    ];
    let request = |path: &str, query, status| Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        query,
        status,
    };
    let wanted = vec![
        request("/api/rest/v1/products", query, 200),
        request("/api/rest/v1/categories/none", vec![], 404),
    ];
    assert_eq!(server.requests(), wanted);
    assert_eq!((server.count("*"), server.count("categories")), (2, 1));
}
