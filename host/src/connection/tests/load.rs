//! Connection files: what is wrong is said with file, line and advice, and without secrets.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    super::{
        ConnectionError, ConnectionSpec, Connections, Secret, SecretStore, Secrets,
        secrets::KeySource, spec::ApiKeySpec, spec::AuthSpec,
    },
    SECRET, assert_discreet, load, no_secrets,
};
use crate::flow::{Variables, schema};

fn variables(pairs: &[(&str, &str)]) -> Variables {
    Variables::only(
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn told(error: &ConnectionError, folder: &Path) -> Vec<String> {
    assert_discreet(&format!("{error} {error:?}"));
    let prefix = format!("{}/", folder.display());
    error
        .findings
        .iter()
        .map(|finding| finding.to_string().replace(&prefix, ""))
        .collect()
}

#[test]
fn a_folder_of_files_becomes_connections() {
    let folder = tempfile::tempdir().unwrap();
    let akeneo = r"
connection: akeneo
base-url: ${AKENEO_URL:-https://pim.example.com}/api
auth:
  oauth2-password:
    token-url: /oauth/v1/token
    client-id: ${CLIENT}
    client-secret: ${SECRET}
    username: ann
    password: ${SECRET}
    body: json
limits: { max-concurrent: 4, requests-per-second: 100, timeout: 30s, max-response: 64MiB }
retry: { attempts: 8, initial: 500ms, max: 30s }
headers: { X-Shop: a }
";
    let files = [
        ("akeneo.yaml", akeneo),
        (
            "erp.yml",
            "connection: erp\nbase-url: https://erp.example.com\nauth: none\n",
        ),
        ("README.md", "no connection"),
    ];
    write(folder.path(), &files);
    let connections = Connections::load(
        folder.path(),
        &variables(&[("CLIENT", "app"), ("SECRET", SECRET)]),
        &no_secrets(),
    )
    .unwrap();
    assert_eq!(connections.names().collect::<Vec<_>>(), ["akeneo", "erp"]);
    assert_eq!(
        connections.get("akeneo").unwrap().base_url(),
        "https://pim.example.com/api"
    );
    assert_eq!(connections.get("akeneo").unwrap().name(), "akeneo");
    assert_discreet(&format!("{connections:?}"));
    assert!(connections.get("none").is_none());
    let nothing = Connections::load(
        &folder.path().join("missing"),
        &Variables::default(),
        &no_secrets(),
    )
    .unwrap();
    assert_eq!(nothing.names().count(), 0);
}

#[test]
fn only_the_named_ones_must_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("a.yaml", "connection: good\nbase-url: https://a.example\n"),
        ("b.yaml", "connection: poor\nbase-url: ${MISSING}\n"),
        ("broken.yaml", "connection: [\n"),
    ];
    write(folder.path(), &files);
    let named = |names: &[&str]| {
        Connections::load_named(
            folder.path(),
            names.iter().map(|name| (*name, None)),
            &variables(&[]),
            &no_secrets(),
        )
    };
    assert_eq!(
        named(&["good"]).unwrap().names().collect::<Vec<_>>(),
        ["good"]
    );
    assert_eq!(named(&[]).unwrap().names().count(), 0);
    let poor = told(&named(&["good", "poor"]).unwrap_err(), folder.path());
    assert_eq!(poor.len(), 1, "{poor:?}");
    assert!(
        poor[0].starts_with("b.yaml:2:11: the variable `MISSING` has no value"),
        "{poor:?}"
    );
    let broken = told(&named(&["broken"]).unwrap_err(), folder.path());
    assert!(
        broken.len() == 1 && broken[0].contains("broken.yaml:1:13"),
        "{broken:?}"
    );
    let missing = told(&named(&["godo"]).unwrap_err(), folder.path());
    assert!(
        missing[0].contains("there is no connection `godo`") && missing[0].contains("good"),
        "{missing:?}"
    );
    assert!(Connections::load(folder.path(), &variables(&[]), &no_secrets()).is_err());
}

#[test]
fn two_of_a_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = "connection: pim\nbase-url: https://a.example\n";
    write(folder.path(), &[("a.yaml", text), ("b.yaml", text)]);
    let found = told(
        &Connections::load(folder.path(), &variables(&[]), &no_secrets()).unwrap_err(),
        folder.path(),
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("b.yaml:1:13: the connection `pim` is defined in a.yaml already"),
        "{found:?}"
    );
    let specs = ["pim", "pim"].map(|name| ConnectionSpec::new(name, "https://a.example"));
    assert!(
        Connections::from_specs(specs)
            .unwrap_err()
            .to_string()
            .contains("two connections `pim`")
    );
}

#[test]
fn what_is_wrong_is_said_where_it_is() {
    let base = "connection: pim\nbase-url: https://a.example\n";
    let cases = [
        ("connection: pim\n", ":1:", "`base-url` is missing"),
        (
            "connection: Pim!\nbase-url: https://a.example\n",
            ":1:13",
            "connection",
        ),
        (
            "connection: pim\nbase-url: a.example\n",
            ":2:11",
            "https://",
        ),
        (
            "connection: pim\nbase-url: https://ann:x@a.example\n",
            ":2:11",
            "`auth`",
        ),
        (&format!("{base}retries: 3\n"), ":3:1", "retry"),
        (
            &format!("{base}auth: {{ basic: {{ username: a, password: b, user: c }} }}\n"),
            ":3:44",
            "`user`",
        ),
        (
            &format!("{base}auth: {{ bearr: {{ token: a }} }}\n"),
            ":3:9",
            "`bearer`",
        ),
        (&format!("{base}auth: {{}}\n"), ":3:7", ""),
        (&format!("{base}auth: nothing\n"), ":3:7", "none"),
        (
            &format!(
                "{base}auth: {{ bearer: {{ token: a }}, basic: {{ username: a, password: b }} }}\n"
            ),
            ":3:7",
            "",
        ),
        (
            &format!("{base}auth: {{ api-key: {{ value: b }} }}\n"),
            ":3:18",
            "either `header` or `query`",
        ),
        (
            &format!("{base}auth: {{ api-key: {{ header: 'a b', value: b }} }}\n"),
            ":3:28",
            "no header name",
        ),
        (
            &format!("{base}auth: {{ basic: {{ username: 'a:b', password: b }} }}\n"),
            ":3:28",
            "colon",
        ),
        (
            &format!(
                "{base}auth: {{ oauth2-client-credentials: {{ token-url: 'https://', client-id: a, client-secret: b }} }}\n"
            ),
            ":3:49",
            "no path below the base URL",
        ),
        (
            &format!("{base}limits: {{ timeout: 30 }}\n"),
            ":3:20",
            "such as `500ms`",
        ),
        (
            &format!("{base}limits: {{ timeout: 0s }}\n"),
            ":3:20",
            "more than 0",
        ),
        (
            &format!("{base}limits: {{ max-response: 0B }}\n"),
            ":3:25",
            "more than 0",
        ),
        (
            &format!("{base}limits: {{ max-concurrent: 0 }}\n"),
            ":3:27",
            "",
        ),
        (
            &format!("{base}limits: {{ requests-per-second: 0 }}\n"),
            ":3:32",
            "",
        ),
        (&format!("{base}retry: {{ attempts: 0 }}\n"), ":3:20", ""),
        (
            &format!("{base}headers: {{ 'X Y': a }}\n"),
            ":3:10",
            "no header name",
        ),
        (
            &format!("{base}headers: {{ Host: a }}\n"),
            ":3:10",
            "set by the host",
        ),
        (
            &format!("{base}headers: {{ X: \"a\\nb\" }}\n"),
            ":3:10",
            "line break",
        ),
        (&format!("{base}ca-file: none.pem\n"), ":3:10", "none.pem"),
    ];
    for (text, place, says) in cases {
        let error = load(text).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains(&format!("pim.yaml{place}")) && shown.contains(says),
            "{text}\n{shown}"
        );
        assert_eq!(error.findings.len(), 1, "{shown}");
    }
}

#[test]
fn no_finding_shows_a_secret() {
    let base = "connection: pim\nbase-url: https://a.example\n";
    for auth in [
        "auth: { basic: { username: a, password: [hunter2] } }",
        "auth: { basic: { username: a, password: { x: hunter2 } } }",
        "auth: { bearer: { token: \"hunter2\\n\" } }",
        "auth: { api-key: { header: X, value: \"hunter2\\n\" } }",
        "headers: { X: [hunter2] }",
        "headers: { X: \"hunter2\\nx\" }",
    ] {
        let error = load(&format!("{base}{auth}\n")).unwrap_err();
        assert_discreet(&format!("{error} {error:?}"));
    }
    let error = load(&format!(
        "{base}auth: {{ basic: {{ username: a, password: 12345 }} }}\n"
    ))
    .unwrap_err();
    assert!(!error.to_string().contains("12345"), "{error}");
    assert!(error.to_string().contains("pim.yaml:3:41"), "{error}");
    let spec = ConnectionSpec {
        auth: AuthSpec::ApiKey(ApiKeySpec {
            header: None,
            query: None,
            value: Secret::new(SECRET),
        }),
        headers: BTreeMap::from([("X".to_owned(), Secret::new(SECRET))]),
        ..ConnectionSpec::new("pim", "https://a.example")
    };
    assert_discreet(&format!("{spec:?}"));
    let error = Connections::from_specs([spec]).unwrap_err();
    assert_discreet(&format!("{error} {error:?}"));
    assert!(
        error
            .to_string()
            .contains("connection `pim`: `auth.api-key` needs"),
        "{error}"
    );
}

#[test]
fn the_schema_for_editors_describes_every_field() {
    let schema = schema::of::<ConnectionSpec>();
    let fields = schema["properties"].as_object().unwrap();
    for name in [
        "connection",
        "base-url",
        "auth",
        "limits",
        "retry",
        "headers",
        "allow-private",
        "ca-file",
    ] {
        assert!(fields[name]["description"].is_string(), "{name}");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema.to_string().contains("oauth2-client-credentials"));
    assert!(schema.to_string().contains("writeOnly"));
}

#[test]
fn secrets_come_from_the_store_and_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeySource::File(folder.path().join("key"));
    let sealed = folder.path().join("secrets.sealed");
    let (mut store, _) = SecretStore::open_or_create(&sealed, &key).unwrap();
    store.set("shop-token", Secret::new(SECRET)).unwrap();
    store.save().unwrap();
    std::fs::write(folder.path().join("token"), format!("{SECRET}\r\n")).unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let load = |key: &KeySource, more: &str| {
        let yaml = format!("connection: shop\nbase-url: https://shop.example\n{more}\n");
        std::fs::write(folder.path().join("shop.yaml"), yaml).unwrap();
        let secrets = Secrets::new(sealed.clone(), key.clone());
        let name = variables(&[("NAME", "shop-token"), ("SHOP_PASS", "hunter2-pass")]);
        Connections::load(folder.path(), &name, &secrets)
    };
    for (at, fine) in [
        "auth: { bearer: { token: { secret: shop-token } } }",
        "auth: { bearer: { token: { secret: \"${NAME}\" } } }",
        "auth: { bearer: { token: { file: token } } }",
        "auth: { basic: { username: u, password: { secret: shop-token } } }",
        "headers: { X-Key: { secret: shop-token } }",
    ]
    .into_iter()
    .enumerate()
    {
        let connections = load(&key, fine).unwrap();
        let connection = connections.get("shop").unwrap();
        assert!(connection.knows(SECRET), "{at}: {fine}");
        assert_discreet(&format!("{connections:?}"));
    }
    for (key, more, said) in [
        (
            &key,
            "auth: { bearer: { token: { secret: shop-tokn } } }",
            "did you mean `shop-token`",
        ),
        (
            &key,
            "auth: { bearer: { token: { secret: other } } }",
            "crossdock secret set other",
        ),
        (
            &KeySource::None,
            "auth: { bearer: { token: { secret: shop-token } } }",
            "CROSSDOCK_SECRETS_KEY_FILE",
        ),
        (
            &key,
            "auth: { bearer: { token: { secrte: shop-token } } }",
            "`secret`",
        ),
        (
            &key,
            "auth: { bearer: { token: { file: nowhere } } }",
            "cannot be read",
        ),
        (
            &key,
            "auth: { bearer: { token: { file: empty } } }",
            "is empty",
        ),
        (
            &key,
            "auth: { bearer: { token: { file: token, secret: a } } }",
            "at most 1 field",
        ),
        (
            &key,
            "auth: { bearer: { token: [hunter2] } }",
            "this secret must be a text",
        ),
    ] {
        let error = load(key, more).unwrap_err();
        let told = error
            .findings
            .iter()
            .map(|finding| format!("{finding} {:?}", finding.advice))
            .collect::<Vec<_>>()
            .join("\n");
        assert!(told.contains(said), "{more}: {told}");
        assert!(
            error
                .findings
                .iter()
                .all(|finding| finding.location.is_some()),
            "{told}"
        );
        assert_discreet(&told);
    }
    // What came from the store is taken out of responses, whatever its header is called.
    let named = load(
        &key,
        "headers: { X-Shop: { secret: shop-token }, X-Other: plain-value, X-Some: \"one of ${SHOP_PASS}\", X-Channel: \"${NAME}\" }",
    )
    .unwrap();
    let hidden = named.get("shop").unwrap().hides();
    assert!(hidden.contains(&SECRET.as_bytes().to_vec()));
    // So is what came from a variable whose name says so; the name of a channel stays where it is.
    assert!(hidden.contains(&b"one of hunter2-pass".to_vec()));
    assert!(hidden.contains(&b"hunter2-pass".to_vec()));
    assert!(!hidden.contains(&b"shop-token".to_vec()));
    assert!(!hidden.contains(&b"plain-value".to_vec()));
    // Nobody asks for a secret: neither key nor store is needed.
    load(&KeySource::Both, "auth: { bearer: { token: x } }").unwrap();
}
