//! What a hostile plugin tries, one record an attack, and how each of it must end.

use std::path::Path;

use crossdock_tests::trap_server::TrapServer;

/// Never to be seen outside of the host, and backwards, as the puppet is told it.
pub(crate) const SECRET: &str = "swordfish-7781-hunter2";

pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// What the puppet is told to do.
    pub(crate) act: String,
    /// The kind of the fault that it must end with, `alive` when the record must go through.
    pub(crate) fault: &'static str,
    /// Words of the report, any of them.
    pub(crate) words: &'static [&'static str],
}

fn attack(
    name: &'static str,
    act: impl Into<String>,
    fault: &'static str,
    words: &'static [&'static str],
) -> Attack {
    Attack {
        name,
        act: act.into(),
        fault,
        words,
    }
}

/// Attacks on the host's time, memory and log, and lies.
pub(crate) fn inside() -> Vec<Attack> {
    vec![
        attack("panic", "trap", "trap", &["panicked"]),
        attack("endless loop", "loop", "time", &["500 ms"]),
        attack(
            "endless recursion",
            "recurse",
            "trap",
            &["stack overflowed", "out of bounds memory access"],
        ),
        attack("memory bomb", "memory", "memory", &["its limit is 64 MiB"]),
        attack("memory grown to the limit", "grow", "alive", &[]),
        attack("abort", "abort", "trap", &["aborted"]),
        attack("exit", "exit", "trap", &["exit code"]),
        attack("sleep for an hour", "sleep", "time", &["500 ms"]),
        attack("standard output without an end", "mutter", "alive", &[]),
        attack("terminal codes and bytes in the log", "bytes", "alive", &[]),
        attack("output bomb", "flood", "memory", &["its limit is 64 MiB"]),
        attack(
            "output beyond its limit",
            "flood-some",
            "contract",
            &["handed over more than 4 MiB"],
        ),
        attack(
            "name of a megabyte",
            "long-name",
            "contract",
            &["stream name"],
        ),
        attack(
            "text that is none",
            "text",
            "contract",
            &["malformed value"],
        ),
        attack(
            "index beyond the batch",
            "wild-index",
            "contract",
            &["of a batch of"],
        ),
        attack("a record twice", "twice", "contract", &["twice"]),
        attack(
            "a record passed on and rejected",
            "both",
            "contract",
            &["selected and rejected"],
        ),
        attack(
            "more filtered than there were",
            "lose",
            "contract",
            &["filtered"],
        ),
        attack(
            "offsets that go down",
            "offsets",
            "contract",
            &["malformed batch"],
        ),
        attack(
            "offsets beyond the data",
            "beyond",
            "contract",
            &["malformed batch"],
        ),
        attack(
            "a record from nowhere",
            "origin",
            "contract",
            &["of a batch of"],
        ),
    ]
}

/// Attacks on files, environment and clocks. `in` may be read, `den` may be written, 8 MiB.
pub(crate) fn files(secret_file: &Path) -> Vec<Attack> {
    let told = |name, act: String, words| attack(name, act, "permanent", words);
    let no: &[&str] = &["refused: "];
    vec![
        told("granted folder", "read in/r.csv".into(), &["got: id,n"]),
        told("path with ..", "read in/../secret.txt".into(), no),
        told(
            "path with .. from inside",
            "read in/sub/../../secret.txt".into(),
            no,
        ),
        told(
            "absolute path",
            format!("read {}", secret_file.display()),
            no,
        ),
        told("/etc/passwd", "read /etc/passwd".into(), no),
        told("/proc/self/environ", "read /proc/self/environ".into(), no),
        told(
            "/proc of a granted name",
            "read in/../../../../../../proc/self/environ".into(),
            no,
        ),
        told("symlink out that was there", "read in/way-out".into(), no),
        told(
            "folder symlink out that was there",
            "read in/folder-out/secret.txt".into(),
            no,
        ),
        told(
            "symlink out that it makes",
            "symlink ../secret.txt den/link".into(),
            no,
        ),
        told(
            "absolute symlink that it makes",
            format!("symlink {} den/link2", secret_file.display()),
            no,
        ),
        told(
            "hard link out",
            "hard-link in/../secret.txt den/hard".into(),
            no,
        ),
        told("rename out", "rename den/x ../x".into(), no),
        told(
            "rename from a folder that is read-only",
            "rename in/r.csv den/r.csv".into(),
            no,
        ),
        told(
            "write where reading is granted",
            "write in/new.txt".into(),
            no,
        ),
        told(
            "remove where reading is granted",
            "remove in/r.csv".into(),
            no,
        ),
        told("the folder above", "list ..".into(), no),
        told("the root", "list /".into(), no),
        told(
            "write that is granted",
            "write den/x".into(),
            &["got: written"],
        ),
        told(
            "more bytes than the quota",
            "fill den/big 64".into(),
            &["refused: "],
        ),
        told(
            "a sparse file beyond the quota",
            "stretch den/sparse 4096".into(),
            &["refused: "],
        ),
        attack(
            "files without an end",
            "handles in/r.csv",
            "contract",
            &["files, streams and connections open"],
        ),
        told("environment and arguments", "env".into(), &["got: [] []"]),
        told("standard input", "stdin".into(), &["got: 0 bytes"]),
        told(
            "fine clocks",
            "clock".into(),
            &["got: resolution 1000000, fine false, step true"],
        ),
    ]
}

/// Attacks on the network. `http://TRAP/granted`, `http://localhost:INNER/` and raw TCP to TRAP and `localhost:INNER`
/// are granted; private addresses are not.
pub(crate) fn network(trap: &TrapServer, inner: u16) -> Vec<Attack> {
    let told = |name, act: String, words| attack(name, act, "permanent", words);
    let not: &[&str] = &["refused: url `", "refused: \"http"];
    let inside: &[&str] = &["private or loopback address"];
    let (url, address) = (trap.url(), trap.address());
    let mut attacks = vec![
        told(
            "granted URL",
            format!("http GET {url}/granted/x"),
            &["got: 200 hello"],
        ),
        told(
            "granted URL by wasi:http",
            format!("wasi-http GET {url}/granted/x"),
            &["got: 200 18 bytes hello"],
        ),
        told(
            "body by wasi:http",
            format!("wasi-http POST {url}/granted/x"),
            &["got: 200 18 bytes hello"],
        ),
        told("another path", format!("http GET {url}/other"), not),
        told(
            "path with ..",
            format!("http GET {url}/granted/../other"),
            not,
        ),
        told(
            "path with encoded ..",
            format!("http GET {url}/granted/..%2fother"),
            not,
        ),
        told(
            "method that is not granted",
            format!("http DELETE {url}/granted/x"),
            not,
        ),
        told(
            "by wasi:http what is not granted",
            format!("wasi-http GET http://127.0.0.1:{inner}/"),
            &["HttpRequestDenied"],
        ),
        told(
            "method with a second request",
            format!("http GET\\r\\nX:1 {url}/granted/x"),
            &["is no HTTP method"],
        ),
        told(
            "header with a line break",
            format!("http GET {url}/granted/x X-A=1\\r\\nX-B:2"),
            &["control characters"],
        ),
        told(
            "header name with a line break",
            format!("http GET {url}/granted/x X-A\\r\\nX-B=2"),
            &["is no header name"],
        ),
        told(
            "Host header",
            format!("http GET {url}/granted/x Host=inner"),
            &["set by the host"],
        ),
        told(
            "Content-Length header",
            format!("http POST {url}/granted/x Content-Length=100"),
            &["set by the host"],
        ),
        told(
            "Transfer-Encoding header",
            format!("http POST {url}/granted/x Transfer-Encoding=chunked"),
            &["set by the host"],
        ),
        told(
            "Proxy header",
            format!("http GET {url}/granted/x Proxy-Authorization=x"),
            &["set by the host"],
        ),
        told(
            "line break by wasi:http",
            format!("wasi-http GET {url}/granted/x x-a=1\\r\\nx-b:2"),
            &["InvalidSyntax"],
        ),
        told(
            "Host header by wasi:http",
            format!("wasi-http GET {url}/granted/x host=inner"),
            &["Forbidden"],
        ),
        told(
            "redirect to metadata",
            format!("http GET {url}/granted/redirect?http://169.254.169.254/latest/"),
            &["is not granted"],
        ),
        told(
            "redirect inside",
            format!("http GET {url}/granted/redirect?http://127.0.0.1:{inner}/"),
            &["is not granted"],
        ),
        told(
            "redirect to a granted name that leads inside",
            format!("http GET {url}/granted/redirect?http://localhost:{inner}/"),
            inside,
        ),
        told(
            "redirect to a file",
            format!("http GET {url}/granted/redirect?file:///etc/passwd"),
            &["is not granted"],
        ),
        told(
            "redirect without an end",
            format!("http GET {url}/granted/redirect?/granted/redirect?/granted/redirect"),
            &["redirects more than", "got: 200"],
        ),
        told(
            "granted name that leads inside",
            format!("http GET http://localhost:{inner}/"),
            inside,
        ),
        attack(
            "response head that trickles",
            format!("http GET {url}/granted/slow-head"),
            "time",
            &["HTTP answers"],
        ),
        told(
            "body without an end",
            format!("http GET {url}/granted/endless"),
            &["may have 67108864 bytes together"],
        ),
        attack(
            "body without an end by wasi:http",
            format!("wasi-http GET {url}/granted/endless"),
            "time",
            &["500 ms"],
        ),
        told(
            "gzip bomb",
            format!("http GET {url}/granted/bomb"),
            &["may have 67108864 bytes together"],
        ),
        told(
            "response with 20,000 headers",
            format!("http GET {url}/granted/many-headers"),
            &["refused: "],
        ),
        told(
            "response with two lengths",
            format!("http GET {url}/granted/two-lengths"),
            &["refused: "],
        ),
        told(
            "granted raw connection",
            format!("tcp {address}"),
            &["got: HTTP/1.1 200 OK"],
        ),
        told(
            "raw connection to a database",
            format!("tcp 127.0.0.1:{inner}"),
            &["refused: "],
        ),
        told(
            "raw connection by a name that leads inside",
            format!("tcp localhost:{inner}"),
            &["refused: "],
        ),
        told(
            "raw connection by IPv6",
            format!("tcp [::1]:{inner}"),
            &["refused: "],
        ),
        told(
            "raw connection to metadata",
            "tcp 169.254.169.254:80".into(),
            &["refused: "],
        ),
        told("listening", "listen 0.0.0.0:0".into(), &["refused: "]),
        told("UDP", "udp 127.0.0.1:53".into(), &["refused: "]),
        told(
            "lookup of a granted name that leads inside",
            "lookup localhost".into(),
            &["got: 0 addresses"],
        ),
        told(
            "lookup of any name",
            "lookup data.exfiltrated.example.com".into(),
            &["access-denied"],
        ),
        told(
            "connection that is not granted",
            "via other GET /".into(),
            &["connection `other` is not granted"],
        ),
        told(
            "another host by a connection",
            "via vault GET http://169.254.169.254/".into(),
            &["is not this connection"],
        ),
        told(
            "above a connection's base",
            "via vault GET /../admin".into(),
            &["is not below"],
        ),
        told(
            "above a connection's base, encoded",
            "via vault GET /%2e%2e/admin".into(),
            &["is not below"],
        ),
        told(
            "a connection's own header",
            "via vault GET /echo Authorization=x".into(),
            &["set by the connection"],
        ),
        told(
            "secret that the server repeats",
            "via vault GET /echo".into(),
            &["Bearer [secret]"],
        ),
        told(
            "secret in memory",
            format!("via-and-scan vault {} GET /echo", backwards()),
            &["got: 0 secrets in memory after 200"],
        ),
        told(
            "secret in a response header",
            format!("via-and-scan vault {} GET /echo-header", backwards()),
            &["got: 0 secrets in memory after 200"],
        ),
        told(
            "secret in an encoding that the plugin asks for",
            "via vault GET /echo Accept-Encoding=br".into(),
            &["accept-encoding is set by the connection"],
        ),
        told(
            "secret in pieces that the plugin asks for",
            "via vault GET /echo Range=bytes=0-9".into(),
            &["range is set by the connection"],
        ),
        told(
            "secret in an encoding that nobody asked for",
            "via vault GET /echo-encoded".into(),
            &["in the encoding `br`"],
        ),
        told(
            "one of several secrets in a header",
            "via cookie GET /echo-last".into(),
            &["lang=[secret]"],
        ),
        told(
            "a whole value with a space in it",
            "via spaced GET /echo".into(),
            &["x-api-key: [secret]"],
        ),
        told(
            "a header of a variable, whatever its name",
            "via varied GET /echo".into(),
            &["x-shop: [secret]"],
        ),
    ];
    for (name, host) in [
        ("127.0.0.1 in decimal", "2130706433"),
        ("127.0.0.1 in octal", "0177.0.0.1"),
        ("127.0.0.1 in hexadecimal", "0x7f000001"),
        ("127.0.0.1 in short", "127.1"),
        ("127.0.0.1 in wide digits", "１２７.0.0.1"),
        ("127.0.0.1 in IPv6", "[::ffff:127.0.0.1]"),
        ("127.0.0.1 in IPv6, hexadecimal", "[::ffff:7f00:1]"),
        ("IPv6 loopback", "[::1]"),
        ("IPv6 loopback in long", "[0:0:0:0:0:0:0:1]"),
        ("every address", "0.0.0.0"),
        ("every IPv6 address", "[::]"),
        ("granted host as user", "127.0.0.1@127.0.0.2"),
    ] {
        attacks.push(told(name, format!("http GET http://{host}:{inner}/"), not));
    }
    for (name, target) in [
        ("metadata", "http://169.254.169.254/latest/meta-data/"),
        ("metadata in IPv6", "http://[fd00:ec2::254]/latest/"),
        ("metadata by name", "http://metadata.google.internal/"),
        ("scheme file", "file:///etc/passwd"),
        ("scheme gopher", "gopher://127.0.0.1:25/"),
    ] {
        attacks.push(told(
            name,
            format!("http GET {target}"),
            &["refused: url `"],
        ));
    }
    attacks
}

fn backwards() -> String {
    SECRET.chars().rev().collect()
}
