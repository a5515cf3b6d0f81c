//! The form that key files have: base64 between two marks that say what it is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::zeroize::Zeroizing;

pub(super) const PUBLIC: &str = "PUBLIC KEY";
pub(super) const PRIVATE: &str = "PRIVATE KEY";
pub(super) const ENCRYPTED: &str = "CROSSDOCK ENCRYPTED PRIVATE KEY";

pub(super) fn has_label(pem: &str, label: &str) -> bool {
    pem.lines()
        .any(|line| line.trim_end() == format!("-----BEGIN {label}-----"))
}

/// What stands between the marks of a PEM text.
pub(super) fn from_pem(pem: &str, label: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let lines = || pem.lines().map(str::trim).filter(|line| !line.is_empty());
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mark = lines().find(|line| line.starts_with("-----BEGIN "));
    if mark != Some(&begin) {
        return Err(match mark {
            Some("-----BEGIN EC PRIVATE KEY-----") => {
                "it is in an older form; `openssl pkcs8 -topk8 -nocrypt -in OLD -out \
                 NEW` makes it the expected one"
                    .to_owned()
            }
            Some(found) => format!("it begins with `{found}`, expected `{begin}`"),
            None => format!("it does not begin with `{begin}`"),
        });
    }
    let mut inner = lines().skip_while(|line| **line != begin).skip(1);
    let text: Zeroizing<String> =
        Zeroizing::new(inner.by_ref().take_while(|line| **line != end).collect());
    if inner.next().is_some() || lines().next_back() != Some(&end) {
        return Err(format!("it does not end with `{end}`"));
    }
    let decoded = STANDARD.decode(text.as_bytes());
    decoded
        .map(Zeroizing::new)
        .map_err(|error| format!("it is no base64: {error}"))
}

pub(super) fn to_pem(der: &[u8], label: &str) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // All of its letters are one byte long.
        let (line, behind) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = behind;
    }
    for part in ["-----END ", label, "-----\n"] {
        pem.push_str(part);
    }
    pem
}
