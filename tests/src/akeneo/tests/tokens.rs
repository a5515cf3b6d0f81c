use super::*;

#[tokio::test]
async fn both_grants_give_a_new_pair_in_json_and_as_a_form() {
    let server = start(Options::generated(1, 1));
    let first = grant(&server, &basic(&server), &password(&server))
        .await
        .json()
        .unwrap();
    assert_eq!(
        (&first["expires_in"], &first["token_type"]),
        (&json!(3600), &json!("bearer"))
    );
    assert_eq!(first["scope"], Value::Null);

    let own = server.credentials();
    let form = format!(
        "grant_type=password&username={}&password={}",
        own.username, own.password
    );
    let kind = "application/x-www-form-urlencoded";
    let headers = [
        ("authorization", basic(&server)),
        ("content-type", kind.to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let address = format!("{}{TOKEN_PATH}", server.base_url());
    let reply = send("POST", &address, &headers, form, TIMEOUT)
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    assert_ne!(reply.json().unwrap()["access_token"], first["access_token"]);

    let refresh = json!({"grant_type": "refresh_token", "refresh_token": first["refresh_token"]});
    let second = grant(&server, &basic(&server), &refresh).await;
    assert_eq!(second.status, 200);
    let second = second.json().unwrap();
    assert_ne!(second["access_token"], first["access_token"]);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    // A refresh token works once.
    let again = grant(&server, &basic(&server), &refresh).await;
    assert_eq!(
        (again.status, again.json().unwrap()["code"].clone()),
        (422, json!(422))
    );
}

#[tokio::test]
async fn wrong_clients_users_grants_and_bodies_are_refused() {
    let server = start(Options::generated(1, 1));
    let status =
        async |authorization: &str, body: Value| grant(&server, authorization, &body).await;
    let reply = status("Basic bm90OnJpZ2h0", password(&server)).await;
    assert_eq!(reply.status, 422);
    assert!(
        reply.json().unwrap()["message"]
            .as_str()
            .unwrap()
            .contains("client_id")
    );
    let basic = basic(&server);
    assert_eq!(
        status(
            &basic,
            json!({"grant_type": "password", "username": "x", "password": "y"})
        )
        .await
        .status,
        422
    );
    assert_eq!(
        status(&basic, json!({"grant_type": "magic"})).await.status,
        422
    );
    assert_eq!(
        status(
            &basic,
            json!({"grant_type": "refresh_token", "refresh_token": "x"})
        )
        .await
        .status,
        422
    );
    assert_eq!(status(&basic, json!("no object")).await.status, 400);
    let address = format!("{}{TOKEN_PATH}", server.base_url());
    let headers = [
        ("authorization", basic.as_str()),
        ("content-type", "text/plain"),
    ];
    assert_eq!(
        send("POST", &address, &headers, "x", TIMEOUT)
            .await
            .unwrap()
            .status,
        415
    );
    let reply = send("GET", &address, &[], "", TIMEOUT).await.unwrap();
    assert_eq!(
        (reply.status, reply.json().unwrap()["code"].clone()),
        (405, json!(405))
    );
}

#[tokio::test]
async fn a_missing_a_wrong_and_an_expired_token_are_told_apart() {
    let server = start(Options::generated(1, 1));
    let mut client = Client::new(&server).await;
    client.json("products").await;
    server.expire_tokens();
    assert_eq!(
        client.refused("products").await,
        (401, "The access token provided has expired.".to_owned())
    );
    client.bearer = "Bearer nonsense".to_owned();
    assert_eq!(
        client.refused("products").await,
        (401, "The access token provided is invalid.".to_owned())
    );
    client.bearer = basic(&server);
    assert_eq!(
        client.refused("products").await,
        (401, "Authentication is required".to_owned())
    );
    // The list of endpoints is open.
    assert_eq!(client.get("").await.status, 200);
}

#[tokio::test]
async fn tokens_live_as_long_as_told() {
    let server = start(Options {
        token_life: Duration::ZERO,
        refresh_life: Duration::ZERO,
        ..Options::generated(1, 1)
    });
    let reply = grant(&server, &basic(&server), &password(&server))
        .await
        .json()
        .unwrap();
    let client = Client {
        server: &server,
        bearer: format!("Bearer {}", reply["access_token"].as_str().unwrap()),
    };
    assert_eq!(client.get("products").await.status, 401);
    let refresh = json!({"grant_type": "refresh_token", "refresh_token": reply["refresh_token"]});
    assert_eq!(grant(&server, &basic(&server), &refresh).await.status, 422);
}
