//! Registries of companies: an authority of their own, passwords, tokens, and `registries.yaml`, which says so.

use std::fs;

use crossdock_tests::{
    host::{Ended, TestHost, plugin},
    registry::{Access, IDENTITY, TestRegistry},
    variant,
};
use serde_json::json;

/// A project with a built plugin, and nothing said about registries.
fn project() -> TestHost {
    let host = TestHost::new().with("CROSSDOCK_PLUGINS", "");
    host.write("built.wasm", variant::version(&plugin("csv"), "1.0.0"));
    host
}

fn publish(host: &TestHost, registry: &TestRegistry) -> Ended {
    let place = registry.reference("shop/csv");
    host.crossdock(["plugin", "publish", &place, "built.wasm", "--timeout", "5s"])
        .end()
}

fn install(host: &TestHost, registry: &TestRegistry) -> Ended {
    let place = registry.reference("shop/csv");
    host.crossdock(["plugin", "install", &place])
        .input("y\n")
        .end()
}

/// The authority's certificate and where the login is.
fn settings(host: &TestHost, registry: &TestRegistry) {
    host.write("certs/ca.pem", fs::read(registry.authority()).unwrap());
    host.write(
        "registries.yaml",
        format!(
            "registries:\n  - registry: '{}'\n    ca: [certs/ca.pem]\n    docker-config: login.json\n",
            registry.host()
        ),
    );
}

fn login(host: &TestHost, registry: &TestRegistry, entry: &serde_json::Value) {
    let config = json!({ "auths": { registry.host(): entry } });
    host.write("login.json", config.to_string());
}

#[test]
fn an_authority_is_trusted_for_the_registry_that_it_is_named_for() {
    let (Some(company), Some(other)) = (
        TestRegistry::start_with(Access::Encrypted),
        TestRegistry::start_with(Access::Encrypted),
    ) else {
        return;
    };
    let host = project();
    // Nobody knows the authority; and nothing is sent in plain when that was not asked for.
    publish(&host, &company)
        .exits(1)
        .tells(&["cannot be reached: invalid peer certificate"]);
    settings(&host, &company);
    publish(&host, &company).exits(1).tells(&[
        "the credentials for",
        "there is no file",
        "login.json",
    ]);
    login(
        &host,
        &company,
        &json!({ "username": "ann", "password": "wrong" }),
    );
    publish(&host, &company)
        .exits(1)
        .tells(&["does not let `ann` read"]);
    login(
        &host,
        &company,
        &json!({ "username": "ann", "password": "secret" }),
    );
    publish(&host, &company).exits(0);
    install(&host, &company)
        .exits(0)
        .tells(&["csv 1.0.0 is installed"]);
    // Another registry that this authority never signed for, and the other way round.
    publish(&host, &other)
        .exits(1)
        .tells(&["cannot be reached: invalid peer certificate"]);
    let place = company.reference("shop/csv");
    let with = |ca: &TestRegistry| {
        let elsewhere = project();
        elsewhere.write("login.json", host.bytes("login.json"));
        elsewhere
            .crossdock(["plugin", "info", &place, "--ca"])
            .arg(ca.authority())
            .env("REGISTRY_AUTH_FILE", "login.json")
            .end()
    };
    with(&company).exits(0).tells(&["csv 1.0.0"]);
    with(&other).exits(1).tells(&["invalid peer certificate"]);

    // What is wrong with the file is told at its line, by every command that goes by it.
    host.write(
        "registries.yaml",
        "registries:\n  - { registry: x.example, password: secret }\n",
    );
    install(&host, &company)
        .exits(2)
        .tells(&["password", "registries.yaml:2"]);
    host.write(
        "registries.yaml",
        format!(
            "registries: [{{ registry: '{}', ca: [certs/none.pem] }}]\n",
            company.host()
        ),
    );
    install(&host, &company)
        .exits(1)
        .tells(&["certs/none.pem cannot be used"]);
}

#[test]
fn tokens_are_asked_for_as_far_as_they_are_needed() {
    let Some(registry) = TestRegistry::start_with(Access::Token) else {
        return;
    };
    let host = project();
    settings(&host, &registry);
    host.write("login.json", "{}");
    publish(&host, &registry)
        .exits(1)
        .tells(&["does not let anybody without a login read", "docker login"]);
    login(
        &host,
        &registry,
        &json!({ "username": "bob", "password": "reader" }),
    );
    publish(&host, &registry)
        .exits(1)
        .tells(&["does not let `bob` write"]);
    login(
        &host,
        &registry,
        &json!({ "username": "ann", "password": "secret" }),
    );
    publish(&host, &registry).exits(0);
    login(
        &host,
        &registry,
        &json!({ "username": "bob", "password": "reader" }),
    );
    install(&host, &registry).exits(0);
    let asked = registry.tokens();
    assert!(
        asked.contains(&"bob repository:shop/csv:pull".to_owned()),
        "{asked:?}"
    );
    assert!(
        asked.contains(&"ann repository:shop/csv:pull,push".to_owned()),
        "{asked:?}"
    );
    // One token serves all that one command does in one way.
    let of_bob = asked
        .iter()
        .filter(|one| *one == "bob repository:shop/csv:pull");
    assert!(of_bob.count() <= 2, "{asked:?}");

    // An identity instead of a password, as cloud registries give it; and the list of repositories has a scope of its own.
    login(&host, &registry, &json!({ "identitytoken": IDENTITY }));
    let place = registry.reference("shop");
    let built = host
        .crossdock(["catalogue", "build", &place, "--json"])
        .end()
        .finished();
    assert_eq!(built["plugins"], 1, "{built:#}");
    let asked = registry.tokens();
    assert!(
        asked.contains(&"ann registry:catalog:*".to_owned()),
        "{asked:?}"
    );
    login(
        &host,
        &registry,
        &json!({ "identitytoken": "of-somebody-else" }),
    );
    host.crossdock(["catalogue", "build", &place])
        .end()
        .exits(1)
        .tells(&["does not let `the holder of the identity token` read"]);
    // Who may not see the list names the plugins.
    login(
        &host,
        &registry,
        &json!({ "username": "bob", "password": "reader" }),
    );
    host.crossdock(["catalogue", "build", &place])
        .end()
        .exits(1)
        .tells(&["does not let `bob` read list of the repositories"]);
    host.write("plugins.txt", "# ours\ncsv\n");
    host.crossdock(["catalogue", "build", &place, "--list", "plugins.txt"])
        .end()
        .exits(0)
        .tells(&["serial 1, 1 plugin"]);
}

#[test]
fn nothing_is_sent_in_plain_unless_that_is_said() {
    let Some(registry) = TestRegistry::start() else {
        return;
    };
    let host = project();
    publish(&host, &registry)
        .exits(1)
        .tells(&["if it is meant to be unencrypted, say so with --plain-http"]);
    // In the user's own file, for all projects; what the project's file says wins.
    let of_registry = |plain: bool| {
        format!(
            "registries: [{{ registry: '{}', plain-http: {plain} }}]\n",
            registry.host()
        )
    };
    host.write(".config/crossdock/registries.yaml", of_registry(true));
    publish(&host, &registry).exits(0);
    host.write("registries.yaml", of_registry(false));
    install(&host, &registry)
        .exits(1)
        .tells(&["say so with --plain-http"]);
    host.write("registries.yaml", of_registry(true));
    install(&host, &registry).exits(0);
}
