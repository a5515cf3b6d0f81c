use std::path::Path;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Api, Endpoint, Token,
    client::{Client, ClientError},
    description,
};
use crate::app::{Daemon, ServeOptions};

/// A daemon of a project without flows, and its client.
async fn served(project: &Path) -> (Client, CancellationToken, tokio::task::JoinHandle<()>) {
    std::fs::create_dir_all(project.join("flows")).unwrap();
    let daemon = Daemon::start(ServeOptions {
        project: project.to_owned(),
        state: None,
        plugin_dirs: Vec::new(),
        variables: std::collections::BTreeMap::new(),
        watch: false,
        drain: std::time::Duration::from_secs(5),
        actor: "test".to_owned(),
    })
    .unwrap();
    let token = Token::random().unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let api = Api::bind(daemon.clone(), address, token).await.unwrap();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serving = tokio::spawn(async move {
        api.serve(async move { stopped.cancelled().await })
            .await
            .unwrap();
        daemon.shutdown().await;
    });
    let client = Client::find(&project.join(".crossdock")).await.unwrap();
    (client.unwrap(), stop, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_token_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (client, stop, serving) = served(dir.path()).await;
    let flows: Vec<Value> = client.get("flows").await.unwrap();
    assert!(flows.is_empty());

    let state = dir.path().join(".crossdock");
    let mut endpoint = Endpoint::read(&state).unwrap();
    let file = std::fs::metadata(state.join("daemon.json")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
    assert_eq!(mode & 0o077, 0, "others must not read the token");
    for wrong in ["", "wrong", &endpoint.token[1..]] {
        let asked = reqwest_get(&format!("{}/api/v1/flows", endpoint.url), wrong).await;
        assert_eq!(asked.0, 401, "{wrong:?}");
        assert!(asked.1.contains("authorization: Bearer"), "{}", asked.1);
        assert!(!asked.1.contains(&endpoint.token));
    }
    // Nothing but these two is told to strangers.
    for open in ["health", "openapi.json"] {
        let url = format!("{}/api/v1/{open}", endpoint.url);
        assert_eq!(reqwest_get(&url, "").await.0, 200, "{open}");
    }
    let nothing = reqwest_get(&format!("{}/api/v2/flows", endpoint.url), "").await;
    assert_eq!(nothing.0, 401, "not even what there is not");
    endpoint.token.clear();

    stop.cancel();
    serving.await.unwrap();
    assert!(Endpoint::read(&state).is_none(), "it is not found any more");
    assert!(Client::find(&state).await.unwrap().is_none());
}

async fn reqwest_get(url: &str, token: &str) -> (u16, String) {
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let mut request = http.get(url);
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (client, stop, serving) = served(dir.path()).await;
    let told = |result: Result<Value, ClientError>| match result {
        Err(ClientError::Refused { status, error, .. }) => (status, error),
        other => panic!("{other:?}"),
    };
    let swap = json!({ "stage": "map", "plugin": "mapper" });
    let cases = [
        (
            client.get("flows/prices").await,
            404,
            "there is no flow `prices`",
        ),
        (
            client.post("flows/prices/start", &json!({})).await,
            404,
            "the project has none",
        ),
        (
            client.post("flows/prices/swaps", &swap).await,
            404,
            "there is no flow",
        ),
        (
            client
                .post("flows/prices/swaps", &json!({ "stage": "map" }))
                .await,
            422,
            "another plugin, another config",
        ),
        (client.get("swaps/7").await, 404, "there is no swap 7"),
        (
            client.get("dead-letters/7").await,
            422,
            "there is no dead letter 7",
        ),
        (
            client.post("dead-letters/discard", &json!({})).await,
            422,
            "every dead letter",
        ),
        (
            client
                .post("dead-letters/discard", &json!({ "ids": "1,x" }))
                .await,
            422,
            "`x` is no number",
        ),
    ];
    for (result, status, text) in cases {
        let (found, error) = told(result);
        assert_eq!(found, status, "{error}");
        assert!(error.contains(text), "{error}");
    }
    let share = json!({ "stage": "map", "plugin": "mapper", "max-fault-share": 2 });
    assert_eq!(told(client.post("flows/a/swaps", &share).await).0, 422);
    let typo = json!({ "stage": "map", "plugin": "mapper", "probation": 1 });
    let (status, error) = told(client.post("flows/a/swaps", &typo).await);
    assert!(
        status == 422 && error.contains("probation"),
        "{status} {error}"
    );
    stop.cancel();
    serving.await.unwrap();
}

#[test]
fn the_description_says_what_there_is() {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let mut all: Vec<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    all.sort();
    insta::assert_snapshot!(all.join("\n"));
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for name in [
        "FlowStatus",
        "SwapView",
        "SwapOptions",
        "Problem",
        "Progress",
    ] {
        assert!(schemas.contains_key(name), "{name}");
    }
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(
                operation["summary"].is_string(),
                "{method} {path} says nothing of itself"
            );
        }
    }
}

#[test]
fn a_token_that_can_be_guessed_is_refused() {
    assert!(Token::chosen(" short\n").is_err());
    assert!(Token::chosen("0123456789abcdef\n").is_ok());
    let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
    assert_ne!(one.expose(), other.expose());
    assert!(!format!("{one:?}").contains(one.expose()));
}
