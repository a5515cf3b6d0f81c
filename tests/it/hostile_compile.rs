//! Components that are small and take the compiler minutes: they hold up nobody, and can be called off.

use std::fs;

use crossdock_tests::{
    daemon::TestDaemon,
    host::{TestHost, program, test_plugin},
    variant,
};

/// A number as WebAssembly writes it.
fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], number(content.len()).as_slice(), content].concat()
}

/// One function whose values are all alive through many loops: what registers they get takes the compiler minutes.
fn slow_module() -> Vec<u8> {
    const LOCALS: usize = 10_000;
    const LOOPS: usize = 20;
    let i32s = [&[1], number(LOCALS).as_slice(), &[0x7f]].concat();
    // Each is read, one is added, and it is written.
    let work = (0..LOCALS).flat_map(|at| {
        let at = number(at);
        [&[0x20], at.as_slice(), &[0x41, 1, 0x6a, 0x21], &at].concat()
    });
    let mut body = i32s;
    body.extend([0x03, 0x40].repeat(LOOPS));
    body.extend(work);
    // It goes on when 0 is not 0.
    body.extend([0x41, 0, 0x0d, 0, 0x0b].repeat(LOOPS));
    body.push(0x0b);
    let code = [&[1], number(body.len()).as_slice(), &body].concat();
    let head = b"\0asm\x01\0\0\0".to_vec();
    let (types, functions) = (section(1, &[1, 0x60, 0, 0]), section(3, &[1, 0]));
    [head, types, functions, section(10, &code)].concat()
}

/// A good plugin with a core module more that nothing uses.
fn bomb(component: &[u8]) -> Vec<u8> {
    [component, &section(1, &slow_module())].concat()
}

/// generate → puppet → jsonl.
fn flow(host: &TestHost, name: &str, puppet: &str) {
    host.flow(
        name,
        &format!(
            "
source: {{ plugin: generate, config: {{ records: 100000000, rate: 1000 }} }}
transformers:
  - {{ plugin: {puppet}, name: middle, config: {{ on: {{}} }} }}
sinks:
  - plugin: jsonl
    config: {{ file: out/{name}.jsonl, mode: append }}
    grants: {{ files: {{ write: [out] }} }}
checkpoint: {{ records: 100, every: 50ms }}
"
        ),
    );
}

#[test]
fn a_run_that_waits_for_the_compiler_can_be_stopped() {
    let host = TestHost::new();
    let puppet = fs::read(test_plugin("puppet")).unwrap();
    host.write("bomb.wasm", bomb(&puppet));
    flow(&host, "bombed", "../bomb.wasm");
    // A group of processes of its own, as a shell makes one.
    let mut running = host
        .command("setsid")
        .args([program()])
        .args(["run", "flows/bombed.yaml", "--json"])
        .env("CROSSDOCK_LOG", "info")
        .start();
    while !running.says("compiling it").contains("bomb.wasm") {}
    // Ctrl-C reaches all of them.
    let group = format!("-{}", running.id());
    let sent = host.command("kill").args(["-INT", "--", &group]).end();
    sent.exits(0);
    let ended = running.end();
    let summary = ended.no_panic().exits(0).json();
    assert_eq!(summary["outcome"], "stopped", "{summary:#}");
    assert_eq!(summary["records"], 0);
}

#[test]
fn a_swap_that_waits_for_the_compiler_holds_up_no_other_and_can_be_called_off() {
    let host = TestHost::new();
    fs::create_dir(host.path("plugins")).unwrap();
    fs::copy(test_plugin("puppet"), host.path("plugins/puppet.wasm")).unwrap();
    let next = variant::version(&test_plugin("puppet"), "9.0.0");
    host.write("next/bomb.wasm", bomb(&next));
    host.write("next/puppet.wasm", next);
    for name in ["one", "two"] {
        flow(&host, name, "../plugins/puppet.wasm");
    }
    let mut daemon = TestDaemon::start(&host);
    daemon.until_checkpoints("one", 1);
    daemon.until_checkpoints("two", 1);
    let begun = daemon.swap(&["one", "middle", "next/bomb.wasm", "--no-wait"]);
    let id = begun.finished()["id"].to_string();
    let other = daemon.swap(&["two", "middle", "next/puppet.wasm", "--probation", "100ms"]);
    assert_eq!(other.finished()["state"], "done");
    let waits = daemon.ask(&["swaps", &id, "--json"]).finished();
    assert_eq!(waits["state"], "prepare", "{waits:#}");
    daemon.ask(&["swaps", &id, "--cancel"]).exits(0);
    daemon.until("one", "called its swap off", |status| {
        status["swap"].is_null()
    });
    let swap = daemon.ask(&["swaps", &id, "--json"]).finished();
    assert_eq!(swap["state"], "refused", "{swap:#}");
    assert_eq!(swap["reason"], "it was called off");
    daemon.end().exits(0).no_panic();
}

#[test]
fn the_compiler_has_only_so_much_time() {
    let host = TestHost::new();
    let puppet = fs::read(test_plugin("puppet")).unwrap();
    host.write("good.wasm", &puppet);
    host.write("bomb.wasm", bomb(&puppet));
    host.write("noise.wasm", &puppet[..puppet.len() / 2]);
    let compile = |file: &str, seconds: u32| {
        let script = format!(
            "{} --compile-a-plugin {seconds} no-lines at-once < {file} > code; exit $?",
            program().display()
        );
        host.command("sh").args(["-c", &script]).end()
    };
    compile("good.wasm", 60).exits(0);
    assert!(host.bytes("code").len() > puppet.len() / 2);
    // 128 and the signal of whose time is over.
    compile("bomb.wasm", 1).exits(128 + 24);
    let ended = compile("noise.wasm", 60);
    ended.exits(1);
    assert!(!ended.stderr.is_empty() && ended.stderr.lines().count() == 1);
    assert!(host.bytes("code").is_empty());
}
