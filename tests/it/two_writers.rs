//! A file has one writer: two sinks on one are refused before anything runs, and fail where nobody can see it before.

use crossdock_tests::{daemon::TestDaemon, host::TestHost};

const SOURCE: &str = "source: { plugin: generate, config: { stream: things, records: 3000, fields: { id: { kind: sequence } } } }\n";

/// A sink that may write to `out`.
fn sink(name: &str, plugin: &str, config: &str) -> String {
    format!(
        "  - {{ name: {name}, plugin: {plugin}, config: {{ {config} }}, grants: {{ files: {{ write: [out] }} }} }}\n"
    )
}

fn flow(host: &TestHost, name: &str, sinks: &[String]) {
    host.flow(name, &format!("{SOURCE}sinks:\n{}", sinks.concat()));
}

#[test]
fn two_sinks_of_a_flow_on_one_file_are_refused() {
    let host = TestHost::new();
    std::os::unix::fs::symlink("out", host.path("alias")).unwrap();
    let one = "file: out/x.jsonl";
    for (other, config) in [
        ("jsonl", "file: out/x.jsonl, envelope: true"),
        ("jsonl", "file: ./out/x.jsonl, mode: append"),
        ("jsonl", "file: alias/x.jsonl"),
        ("csv", "file: out/x.jsonl"),
    ] {
        flow(
            &host,
            "two",
            &[sink("j1", "jsonl", one), sink("j2", other, config)],
        );
        host.check("two").exits(2).tells(&[
            "sink `j2` writes",
            "and so does sink `j1`",
            "flows/two.yaml:4:",
            "give each a file of its own",
        ]);
        host.run("two").exits(2);
        assert_eq!(host.list("out"), Vec::<String>::new());
    }
    let redb =
        |name: &str, table: &str| sink(name, "redb", &format!("file: out/x.redb, table: {table}"));
    flow(&host, "two", &[redb("r1", "one"), redb("r2", "two")]);
    host.check("two")
        .exits(2)
        .tells(&["sink `r2` writes `out/x.redb`, and so does sink `r1`"]);
    host.run("two").exits(2);
    assert_eq!(host.list("out"), Vec::<String>::new());
}

#[test]
fn sinks_with_files_of_their_own_are_fine() {
    let host = TestHost::new();
    let streams = |name: &str, stream: &str| {
        format!(
            "  - {{ name: {name}, plugin: jsonl, streams: [{stream}], config: {{ file: \"out/{{stream}}.jsonl\" }}, \
             grants: {{ files: {{ write: [out] }} }} }}\n"
        )
    };
    flow(
        &host,
        "apart",
        &[
            sink("j1", "jsonl", "file: out/x.jsonl"),
            sink("j2", "csv", "file: out/x.csv"),
            streams("j3", "things"),
            streams("j4", "others"),
        ],
    );
    host.check("apart").exits(0);
    host.run("apart").finished();
    assert_eq!(host.list("out"), ["things.jsonl", "x.csv", "x.jsonl"]);
    flow(
        &host,
        "apart",
        &[
            streams("j3", "things"),
            sink("j4", "jsonl", "file: \"out/{stream}.jsonl\""),
        ],
    );
    host.check("apart").exits(2).tells(&["sink `j4` writes"]);
}

#[test]
fn a_file_belongs_to_one_flow_of_a_project() {
    let host = TestHost::new();
    for name in ["r-a", "r-b"] {
        flow(
            &host,
            name,
            &[sink("out", "jsonl", "file: out/r.jsonl, mode: append")],
        );
    }
    host.check("r-a").exits(2).tells(&[
        "sink `out` writes `out/r.jsonl`, and so does sink `out` of flow `r-b`",
        "b.yaml:4:",
    ]);
    host.check("r-b").exits(2).tells(&["of flow `r-a`"]);

    let mut daemon = TestDaemon::start(&host);
    daemon.until_state("r-a", "finished");
    let refused = daemon.until_state("r-b", "failed");
    let findings = refused["findings"].to_string();
    assert!(
        findings.contains("files.two-writers") && findings.contains("of flow `r-a`"),
        "{refused:#}"
    );
    daemon.end().exits(0).no_panic();
    assert_eq!(host.text("out/r.jsonl").lines().count(), 3_000);
    assert_eq!(host.list("out"), ["r.jsonl"]);
}

/// What no check can see: one file with two names.
#[test]
fn two_sinks_that_nobody_could_tell_apart_do_not_finish() {
    let host = TestHost::new();
    host.write("out/x.jsonl", "");
    std::fs::hard_link(host.path("out/x.jsonl"), host.path("out/y.jsonl")).unwrap();
    let append = |name: &str, file: &str| {
        sink(
            name,
            "jsonl",
            &format!("file: out/{file}.jsonl, mode: append"),
        )
    };
    flow(&host, "two", &[append("j1", "x"), append("j2", "y")]);
    host.check("two").exits(0);
    host.run("two")
        .exits(1)
        .tells(&["somebody else writes", "a file of its own"]);
}
