//! Requests without a connection: each goes as far as the grant that covers it.

use axum::{Router, routing::any};
use futures_util::future::join_all;

use super::{
    super::{Direct, SendError, StreamRequest},
    request, serve,
};
use crate::flow::{Budget, Grants, spec::GrantsSpec};

fn grants(http: String, allow_private: bool) -> Grants {
    Grants::from(GrantsSpec {
        http: vec![http],
        allow_private,
        ..GrantsSpec::default()
    })
}

/// The name of this machine is private, so that the address decides.
#[tokio::test]
async fn one_grants_flag_does_not_open_the_way_for_another() {
    let address = serve(Router::new().fallback(async || "inside")).await;
    let url = |path: &str| format!("http://localhost:{}/{path}", address.port());
    let both = grants(url("open"), true).union(&grants(url("closed"), false));
    let direct = Direct::new(both.egress().unwrap(), 4);
    // A connection is kept after the first; it must not be found by the second.
    for _ in 0..2 {
        let sent = direct.send(request("GET", &url("open/x"))).await.unwrap();
        assert_eq!(sent.body, "inside");
        let refused = direct.send(request("GET", &url("closed/x"))).await;
        let told = |refused: &SendError| matches!(refused, SendError::Denied(why) if why.contains("allow-private"));
        assert!(told(&refused.unwrap_err()));
        let stream = |path: &str| StreamRequest {
            method: "GET".into(),
            url: url(path),
            headers: Vec::new(),
            body: None,
            timeout: None,
        };
        assert_eq!(direct.stream(stream("open/x")).await.unwrap().status, 200);
        let refused = direct.stream(stream("closed/x")).await.err().unwrap();
        assert!(told(&refused), "{refused}");
    }
}

#[tokio::test]
async fn a_redirect_goes_as_far_as_its_own_grant() {
    let elsewhere =
        async |uri: axum::http::Uri| axum::response::Redirect::temporary(uri.query().unwrap());
    let router = Router::new()
        .route("/open/go", any(elsewhere))
        .fallback(async || "inside");
    let address = serve(router).await;
    let url = |path: &str| format!("http://localhost:{}/{path}", address.port());
    let both = grants(url("open"), true).union(&grants(url("closed"), false));
    let direct = Direct::new(both.egress().unwrap(), 4);
    let go = async |to: &str| {
        let from = format!("{}?{}", url("open/go"), url(to));
        direct.send(request("GET", &from)).await
    };
    assert_eq!(go("open/x").await.unwrap().body, "inside");
    let refused = go("closed/x").await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Denied(why) if why.contains("allow-private")),
        "{refused}"
    );
    assert!(
        go("else")
            .await
            .unwrap_err()
            .to_string()
            .contains("not granted")
    );
}

#[tokio::test]
async fn responses_that_come_at_the_same_time_share_one_budget() {
    const PART: usize = 1 << 20;
    let address = serve(Router::new().fallback(async || vec![b'x'; PART])).await;
    let url = format!("http://{address}/");
    let direct = Direct::new(grants(url.clone(), false).egress().unwrap(), 64);
    let budget = Budget::new(8 << 20);
    let all = (0..40).map(|_| {
        let mut asked = request("GET", &url);
        asked.budget = budget.part();
        direct.send(asked)
    });
    let (mut held, mut refused) = (0, 0);
    for outcome in join_all(all).await {
        match outcome {
            Ok(response) => held += response.body.len(),
            Err(SendError::TooLarge(why)) => {
                assert!(why.contains("8388608 bytes together"), "{why}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(held <= 8 << 20, "{held}");
    assert!(refused >= 33, "{refused}");
}
