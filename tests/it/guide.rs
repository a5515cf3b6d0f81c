//! What `guest-sdk/README.md` and the guides of the languages tell an author to type and to write does what they say.

use std::fs;

use crossdock_tests::{
    host::{Running, TestHost, workspace},
    languages::tool_chain,
};

use crate::readme::{blocks, words};

fn guide(path: &str) -> String {
    fs::read_to_string(workspace().join("guest-sdk").join(path)).unwrap()
}

/// The commands of "From nothing to a tested plugin", one after the other, as a reader types them; in JavaScript, which needs the
/// least time.
#[test]
fn the_commands_of_the_guide_lead_from_nothing_to_a_tested_plugin() {
    let Some(path) = tool_chain("javascript") else {
        return;
    };
    let text = guide("README.md");
    let (_, part) = text
        .split_once("## From nothing to a tested plugin")
        .unwrap();
    let (_, block) = blocks(part, "sh").into_iter().next().unwrap();
    let block = block.replace("--lang rust", "--lang js");
    let host = TestHost::new();
    let mut folder = host.path(".");
    let mut run = 0;
    for line in block.lines() {
        let line = line.split(" #").next().unwrap().trim();
        let typed = words(line);
        match typed.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["cd", name] => folder = folder.join(name),
            ["crossdock", ref arguments @ ..] => {
                let command = host.crossdock(arguments).env("PATH", &path).folder(&folder);
                if arguments.contains(&"dev") {
                    let mut dev: Running = command.start();
                    dev.says("waiting for a change");
                    dev.signal("INT");
                    dev.end().exits(0).tells(&["shop-items.wasm source"]);
                } else {
                    command.end().exits(0);
                }
                run += 1;
            }
            _ => panic!("nobody knows how to run {line:?}"),
        }
    }
    assert_eq!(run, 6, "{block}");
    assert!(folder.join("dist/shop-items.wasm").is_file());
}

/// The plugin that a language's guide shows tidies prices as the one in Rust does.
fn tidies(language: &str, tools: &str, source: &str, shown: &str) {
    let Some(path) = tool_chain(tools) else {
        return;
    };
    let host = TestHost::new();
    host.crossdock([
        "plugin",
        "new",
        "tidy-price",
        "--kind",
        "transformer",
        "--lang",
        language,
    ])
    .end()
    .exits(0);
    let (_, code) = blocks(&guide(&format!("{language}/README.md")), shown)
        .into_iter()
        .next()
        .unwrap();
    host.write(format!("tidy-price/{source}"), code);
    let rust = guide("rust/README.md");
    let (_, manifest) = blocks(&rust, "json").into_iter().next().unwrap();
    host.write("tidy-price/plugin.json", manifest);
    host.crossdock(["plugin", "build", "tidy-price"])
        .env("PATH", &path)
        .end()
        .exits(0);
    host.write("in/prices.csv", "sku,net\nA,9.95\nB,\nC,many\n");
    let (_, flow) = blocks(&rust, "yaml").into_iter().next().unwrap();
    host.write(
        "flows/tidy.yaml",
        flow.replace(
            "../target/wasm32-wasip2/release/tidy_price.wasm",
            "../tidy-price/dist/tidy-price.wasm",
        ),
    );
    let ended = host.run("tidy");
    ended.exits(3);
    assert_eq!(
        host.text("out/prices.jsonl"),
        "{\"sku\":\"A\",\"amount\":9.95,\"currency\":\"EUR\"}\n",
        "{ended}"
    );
    let told = ended.json().to_string();
    assert!(told.contains("no price"), "{told}");
}

#[test]
fn the_plugin_of_the_guide_to_javascript() {
    tidies("js", "javascript", "src/plugin.js", "js");
}

#[test]
fn the_plugin_of_the_guide_to_python() {
    tidies("python", "python", "src/plugin.py", "python");
}
