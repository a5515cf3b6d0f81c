//! Connection files: what is wrong is said with file, line and advice, and without secrets.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    super::{
        ConnectionError, ConnectionSpec, Connections, Secret, spec::ApiKeySpec, spec::AuthSpec,
    },
    SECRET, assert_discreet, load,
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
    let nothing = Connections::load(&folder.path().join("missing"), &Variables::default()).unwrap();
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
    assert!(Connections::load(folder.path(), &variables(&[])).is_err());
}

#[test]
fn two_of_a_name_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = "connection: pim\nbase-url: https://a.example\n";
    write(folder.path(), &[("a.yaml", text), ("b.yaml", text)]);
    let found = told(
        &Connections::load(folder.path(), &variables(&[])).unwrap_err(),
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
