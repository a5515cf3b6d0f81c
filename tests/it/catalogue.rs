//! What people do with a catalogue: a publisher builds, signs and serves an index, hosts find plugins in it, are warned of
//! some, and renew what they know.

use std::fs;

use serde_json::json;

use crate::market::{Market, signature_in};

const NOTES: &str = "
plugins:
  csv:
    yanked: [{ version: 1.2.0, reason: writes the last row twice }]
    advisories:
      - { id: ACME-1, affected: '<1.1.0', severity: high, text: reads files that it should not, fixed: 1.1.0 }
    channels: { stable: 1.1.0, beta: 2.0.0-rc.1 }
  jsonl:
    deprecated: { reason: nobody mends it any more, replacement: csv }
";

#[test]
fn plugins_are_found_chosen_and_warned_of_by_a_signed_index() {
    let Some(market) = Market::open() else { return };
    market.publish_all();
    market.publisher.write("catalogue.yaml", NOTES);
    let built = market.build().finished();
    assert_eq!(
        (&built["serial"], &built["plugins"]),
        (&json!(1), &json!(2)),
        "{built:#}"
    );
    assert_eq!(built["added"].as_array().unwrap().len(), 5, "{built:#}");
    // Nobody serves what nobody signed.
    market.serve().exits(2).tells(&["it is not signed"]);
    market.sign("catalogue.json", "acme");
    market.serve().finished();
    assert_eq!(market.serve().finished()["served"]["was_there"], true);

    market
        .update()
        .exits(0)
        .tells(&["serial 1, 2 plugins, signed by acme"]);
    market
        .plugin(&["search", "tabular", "source"])
        .exits(0)
        .tells(&[
            "csv 1.1.0 (source, sink)",
            "of acme · claims nothing",
            "channels: beta 2.0.0-rc.1, stable 1.1.0",
            "jsonl 1.0.0",
            "deprecated: nobody mends it any more; use csv instead",
        ]);
    let found = market.plugin(&["search", "json", "--json"]).finished();
    assert_eq!(found["plugins"][0]["name"], "jsonl", "{found:#}");
    market.plugin(&["search", "nothing-like-it"]).exits(1);

    // By its name: the newest that is not yanked; a yanked one when it is named and meant.
    market
        .plugin(&["install", "csv@=1.2.0"])
        .exits(1)
        .tells(&["csv@1.2.0 was yanked: writes the last row twice; no other version fits"]);
    market
        .plugin(&["install", "csv@1.2.0"])
        .exits(1)
        .tells(&["was yanked: writes the last row twice; add --yanked"]);
    market
        .plugin(&["install", "csv@1.0.0"])
        .exits(0)
        .tells(&["ACME-1 (high): reads files that it should not; fixed in 1.1.0"]);
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&["advisory", "csv 1.0.0: ACME-1 (high)"]);
    market
        .plugin(&["outdated"])
        .exits(0)
        .tells(&["csv 1.0.0 - 1.1.0 1.0.0", "ACME-1 (high)"]);
    market
        .plugin(&["install", "csv@^1"])
        .exits(0)
        .tells(&["csv 1.1.0 is installed"]);
    market
        .plugin(&["install", "csv@1.2.0", "--yanked"])
        .exits(0)
        .tells(&[
            "yanked: writes the last row twice",
            "csv 1.2.0 is installed",
        ]);
    market
        .plugin(&["rollback", "csv", "--to", "1.0.0"])
        .exits(0)
        .tells(&["csv 1.0.0 is back", "csv 1.0.0: ACME-1 (high)"]);
    market
        .plugin(&["rollback", "csv", "--to", "1.2.0"])
        .exits(0)
        .tells(&["csv 1.2.0: yanked: writes the last row twice"]);
    // Who has it keeps it: it is fetched again, and told.
    fs::remove_dir_all(market.user.path(".crossdock/installed")).unwrap();
    market
        .plugin(&["install"])
        .exits(0)
        .tells(&["csv 1.2.0 fetched", "yanked: writes the last row twice"]);
    market
        .plugin(&["install", "csv@beta"])
        .exits(0)
        .tells(&["csv 2.0.0-rc.1 is installed"]);
    assert!(
        market
            .user
            .text("plugins.lock")
            .contains("wanted: \"beta\"")
    );
    market
        .plugin(&["install", "csv@nightly"])
        .exits(2)
        .tells(&["has no channel `nightly`; there are beta, stable"]);
    market
        .plugin(&["install", "jsnl"])
        .exits(2)
        .tells(&["no catalogue has a plugin `jsnl` (did you mean `jsonl`?)"]);
    market
        .plugin(&["info", "jsonl"])
        .exits(0)
        .tells(&["deprecated: nobody mends it any more; use csv instead"]);
    market.plugin(&["install", "jsonl"]).exits(0);
    the_next_index_is_built_upon_the_last(&market);
}

fn the_next_index_is_built_upon_the_last(market: &Market) {
    // A flow runs what its channel was at, until an upgrade moves on with the channel.
    market.user.flow(
        "copy",
        "
source: { plugin: csv@beta, config: { files: in/*.csv }, grants: { files: { read: [in] } } }
sinks: [{ plugin: jsonl, config: { file: out/a.jsonl }, grants: { files: { write: [out] } } }]
",
    );
    market
        .user
        .check("copy")
        .exits(0)
        .tells(&["jsonl 1.0.0: deprecated: nobody mends it any more; use csv instead"]);
    market.user.run("copy").finished();
    market.publish("csv", "2.0.0");
    market.publisher.write(
        "catalogue.yaml",
        NOTES.replace("beta: 2.0.0-rc.1", "beta: 2.0.0"),
    );
    let built = market.build().finished();
    assert_eq!(
        (&built["serial"], &built["added"]),
        (&json!(2), &json!(["csv 2.0.0"]))
    );
    // The signature beside it is that of the former one.
    market
        .serve()
        .exits(2)
        .tells(&["it was made for sha256:", "sign the index again"]);
    market.sign("catalogue.json", "acme");
    market.serve().finished();
    market.update().exits(0).tells(&["serial 2"]);
    market
        .plugin(&["upgrade"])
        .exits(0)
        .tells(&["2.0.0-rc.1 → 2.0.0"]);
    // Without notes what was said stays; with notes they are all that counts.
    fs::remove_file(market.publisher.path("catalogue.yaml")).unwrap();
    market.next();
    let index = market.index();
    assert_eq!(index["serial"], 3);
    assert!(index["plugins"]["csv"]["versions"]["1.2.0"]["yanked"].is_string());
    market.publisher.write(
        "catalogue.yaml",
        "plugins: { csv: { channels: { stable: 3.0.0 } } }\n",
    );
    market
        .build()
        .exits(2)
        .tells(&["there is no version 3.0.0 in the catalogue"]);
    // One that was overtaken.
    fs::remove_file(market.publisher.path("catalogue.yaml")).unwrap();
    let old = market.publisher.bytes("catalogue.json");
    let signature = signature_in(&market.publisher, ".");
    market.next();
    let beside: Vec<_> = market.publisher.list(".");
    let beside = beside
        .iter()
        .find(|name| name.ends_with(".sigstore.json"))
        .unwrap();
    market.publisher.write("catalogue.json", old);
    market.publisher.write(beside, signature);
    market
        .serve()
        .exits(1)
        .tells(&["has an index with the serial 4 already, and this one has 3"]);
}

#[test]
fn what_is_known_is_renewed_by_itself_and_by_hand_where_no_registry_is() {
    let Some(market) = Market::open() else { return };
    market.publish("csv", "1.0.0");
    market.next();
    // Nothing is known yet: whoever looks fetches it.
    market
        .plugin(&["list"])
        .exits(0)
        .tells(&["nothing is known of the catalogue"]);
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["csv 1.0.0"]);
    market.publish("csv", "1.1.0");
    // A second signer beside the first one: each of them is enough.
    market.build().finished();
    market.sign("catalogue.json", "evil");
    market.sign("catalogue.json", "acme");
    assert_eq!(market.serve().finished()["served"]["signatures"], 2);
    // What was asked for just now is not asked for again, unless it is said how old it may be.
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["csv 1.0.0"]);
    let settings = market.user.text("registries.yaml") + "catalogue-age: 0ms\n";
    market.user.write("registries.yaml", &settings);
    market
        .plugin(&["search", "csv"])
        .exits(0)
        .tells(&["csv 1.1.0"]);
    // All at once: none is in the way of another.
    let all: Vec<_> = (0..4)
        .map(|_| market.user.crossdock(["catalogue", "update"]).start())
        .collect();
    for one in all {
        one.end().exits(0).tells(&["serial 2"]);
    }

    // A site that reaches no registry: the index is carried there with its signatures.
    market.publish("csv", "1.2.0");
    for _ in 0..2 {
        signature_in(&market.publisher, ".");
    }
    market.next();
    let Market {
        registry,
        publisher,
        user,
    } = market;
    drop(registry);
    user.crossdock(["plugin", "search", "csv", "--timeout", "1s"])
        .end()
        .exits(0)
        .tells(&[
            "cannot be reached",
            "what was known of it before is used",
            "csv 1.1.0",
        ]);
    for name in publisher.list(".") {
        if name.starts_with("catalogue.json") {
            user.write(format!("carried/{name}"), publisher.bytes(&name));
        }
    }
    let update = || {
        user.crossdock(["catalogue", "update", "carried/catalogue.json"])
            .end()
    };
    update()
        .exits(0)
        .tells(&["serial 3, 1 plugin, signed by acme"]);
    let changed = user
        .text("carried/catalogue.json")
        .replace("1.2.0", "6.6.6");
    user.write("carried/catalogue.json", changed);
    update().exits(1).tells(&["it was made for sha256:"]);
}
