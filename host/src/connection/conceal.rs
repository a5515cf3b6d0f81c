//! What a server repeats of a connection's secrets, and what of it is taken out before a plugin sees it.
//!
//! What the plugin wrote into the very request is left as it is: it knows those bytes. Were they taken out, any server that
//! repeats what it is sent would tell which one of a million guesses is the secret.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use aho_corasick::packed;
use bytes::Bytes;
use memchr::memmem;
use secrecy::zeroize::Zeroize;

use super::{
    Request, Response,
    secret::{conceal, conceal_caseless, conceal_in, forms, longest_first},
};
use crate::flow::egress::decode;

/// Larger bodies are searched for secrets on a thread of their own: that takes milliseconds, for which no flow waits.
const MAX_INLINE: usize = 256 << 10;
/// Larger ones are not even looked over before. That one pass is many times as fast as a search for one form after the
/// other.
const MAX_PASSED: usize = 1 << 20;

/// What a plugin wrote into a request.
#[derive(Clone, Default)]
pub(super) struct Own {
    /// All of it but the body, one line each.
    head: Arc<[u8]>,
    body: Bytes,
}

impl Own {
    pub(super) fn of(request: &Request) -> Self {
        let pairs = request.headers.iter();
        let pairs = pairs.flat_map(|(name, value)| [name.as_str(), value]);
        let lines: Vec<&str> = [request.method.as_str(), &request.url]
            .into_iter()
            .chain(pairs)
            .collect();
        Self {
            head: lines.join("\n").into_bytes().into(),
            body: request.body.clone(),
        }
    }

    /// Whether one of these stands there, as it is or as a server may read it.
    fn has(&self, forms: &[Vec<u8>], caseless: bool) -> bool {
        let has = |text: &[u8]| {
            let text = folded(text, caseless);
            forms.iter().any(|form| memmem::find(&text, form).is_some())
        };
        [&self.head[..], &self.body[..]].into_iter().any(|written| {
            // In forms a plus stands for a space.
            let plain = |text: &[u8]| has(text) || (text.contains(&b'\\') && has(&unescaped(text)));
            let spaced = || {
                let bytes = written.iter();
                let spaces = bytes.map(|byte| if *byte == b'+' { b' ' } else { *byte });
                decode(&spaces.collect::<Vec<u8>>())
            };
            plain(written)
                || (written.contains(&b'%') && plain(&decode(written)))
                || (written.contains(&b'+') && plain(&spaced()))
        })
    }
}

fn folded(text: &[u8], caseless: bool) -> Cow<'_, [u8]> {
    if caseless {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// What JSON means where there are backslashes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let Some((&kind, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        let digits = after
            .get(..4)
            .and_then(|four| std::str::from_utf8(four).ok());
        let code = digits.and_then(|four| u32::from_str_radix(four, 16).ok());
        match (kind, code.and_then(char::from_u32)) {
            (b'u', Some(letter)) => {
                plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &after[4..];
            }
            (b'n', _) => plain.push(b'\n'),
            (b't', _) => plain.push(b'\t'),
            (b'r', _) => plain.push(b'\r'),
            (other, _) => plain.push(other),
        }
    }
    plain
}

/// Secrets in the forms in which servers repeat them, ready to be looked for. One set serves all answers to requests
/// with the same credentials.
#[derive(Default)]
pub(super) struct Forms {
    /// What they were made of.
    of: Vec<Vec<u8>>,
    plain: Set,
    /// Where case is lost on the way.
    folded: Set,
}

#[derive(Default)]
struct Set {
    /// The forms of each secret.
    secrets: Vec<Vec<Vec<u8>>>,
    /// All of them, to be looked for in one pass: nearly every answer has none. Not there when they are too many for it.
    any: Option<packed::Searcher>,
}

impl Set {
    fn new(secrets: Vec<Vec<Vec<u8>>>) -> Self {
        let any = packed::Searcher::new(secrets.iter().flatten());
        Self { secrets, any }
    }

    /// Whether one pass says that none of them is in there.
    fn is_passed(&self, text: &[u8]) -> bool {
        let any = self.any.as_ref();
        self.is_empty() || any.is_some_and(|any| any.find(text).is_none())
    }

    fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

impl Drop for Forms {
    /// They live as long as their credentials are in use, and no longer.
    fn drop(&mut self) {
        self.of.zeroize();
        for set in [&mut self.plain, &mut self.folded] {
            set.secrets.zeroize();
        }
    }
}

impl Forms {
    pub(super) fn new(secrets: Vec<Vec<u8>>) -> Self {
        let plain = secrets.iter().map(|secret| forms(vec![secret.clone()]));
        let plain: Vec<Vec<Vec<u8>>> = plain.filter(|forms| !forms.is_empty()).collect();
        let fold = |forms: &Vec<Vec<u8>>| -> Vec<Vec<u8>> {
            forms.iter().map(|form| form.to_ascii_lowercase()).collect()
        };
        let folded = plain.iter().map(fold).collect();
        Self {
            of: secrets,
            plain: Set::new(plain),
            folded: Set::new(folded),
        }
    }

    /// The same ones when they are those of these secrets already, new ones otherwise.
    pub(super) fn renewed(known: &Mutex<Arc<Self>>, mut secrets: Vec<Vec<u8>>) -> Arc<Self> {
        secrets.sort();
        secrets.dedup();
        // Whoever panicked has left a whole set there.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.of != secrets {
            *known = Arc::new(Self::new(secrets));
        }
        known.clone()
    }
}

/// What must not come back to a plugin with the answer to one request. Invariant 7
#[derive(Clone)]
pub(super) struct Hidden {
    forms: Arc<Forms>,
    own: Own,
}

impl Hidden {
    pub(super) fn new(forms: Arc<Forms>, own: Own) -> Self {
        Self { forms, own }
    }

    /// The same for what is not the answer to a plugin.
    pub(super) fn of(secrets: Vec<Vec<u8>>) -> Self {
        Self::new(Arc::new(Forms::new(secrets)), Own::default())
    }

    /// What is to be taken out of a text: what is in there and is not the plugin's own.
    fn found(&self, text: &[u8], caseless: bool) -> Vec<Vec<u8>> {
        let set = if caseless {
            &self.forms.folded
        } else {
            &self.forms.plain
        };
        let text = folded(text, caseless);
        let mut found = Vec::new();
        if set.is_passed(&text) {
            return found;
        }
        for forms in &set.secrets {
            let is_there = forms.iter().any(|form| memmem::find(&text, form).is_some());
            if is_there && !self.own.has(forms, caseless) {
                found.extend(forms.iter().cloned());
            }
        }
        longest_first(&mut found);
        found
    }

    /// A text without secrets, and whether there were any. Hosts are lowered on the way, so case does not count.
    pub(super) fn text(&self, text: String) -> (String, bool) {
        let found = self.found(text.as_bytes(), true);
        match conceal_caseless(text.as_bytes(), &found) {
            Some(hidden) => (String::from_utf8_lossy(&hidden).into_owned(), true),
            None => (text, false),
        }
    }

    /// Takes them out of the headers of a response, and says whether any were in there that servers do not repeat anyway:
    /// cookies come back with every answer.
    pub(super) fn headers(&self, response: &mut Response) -> bool {
        let headers = || response.headers.iter();
        let joined = |lines: Vec<&str>| lines.join("\n").into_bytes();
        let names = joined(headers().map(|(name, _)| name.as_str()).collect());
        let values = joined(headers().map(|(_, value)| value.as_str()).collect());
        // Names come in lower case, whatever the server wrote.
        let (in_names, in_values) = (self.found(&names, true), self.found(&values, false));
        if in_names.is_empty() && in_values.is_empty() {
            return false;
        }
        let mut repeated = false;
        for (name, value) in &mut response.headers {
            if let Some(hidden) = conceal(value.as_bytes(), &in_values) {
                *value = String::from_utf8_lossy(&hidden).into_owned();
                repeated |= name != "set-cookie";
            }
            if let Some(hidden) = conceal_caseless(name.as_bytes(), &in_names) {
                *name = String::from_utf8_lossy(&hidden).into_owned();
                repeated = true;
            }
        }
        repeated
    }

    /// A body without secrets, and whether there were any. What takes long is not done on the threads that all flows run
    /// on. `Err` says that the host is about to stop.
    pub(super) async fn body(&self, body: Vec<u8>) -> Result<(Vec<u8>, bool), String> {
        let plain = &self.forms.plain;
        // Of the body alone, and in one pass.
        if plain.is_empty() || (body.len() <= MAX_PASSED && plain.is_passed(&body)) {
            return Ok((body, false));
        }
        if body.len().max(self.own.body.len()) <= MAX_INLINE {
            return Ok(self.searched(body));
        }
        let hidden = self.clone();
        tokio::task::spawn_blocking(move || hidden.searched(body))
            .await
            .map_err(|error| format!("the host is about to stop: {error}"))
    }

    fn searched(&self, mut body: Vec<u8>) -> (Vec<u8>, bool) {
        let found = self.found(&body, false);
        let any = conceal_in(&mut body, &found);
        (body, any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(secret: &str, url: &str, header: &str, body: &str) -> Hidden {
        let request = Request {
            method: "GET".into(),
            url: url.into(),
            headers: vec![("X-Name".into(), header.into())],
            body: body.to_owned().into(),
            ..Request::default()
        };
        Hidden::new(Arc::new(Forms::new(vec![secret.into()])), Own::of(&request))
    }

    #[test]
    fn what_the_plugin_wrote_is_left_as_it_is() {
        const SECRET: &str = "a/b\"c d+e";
        for (url, header, body) in [
            ("/?q=a%2Fb%22c%20d%2Be", "", ""),
            ("/?q=a/b%22c+d%2be", "", ""),
            ("/%61/%62%22%63%20d+e", "", ""),
            ("/", SECRET, ""),
            ("/", "", "x a/b\"c d+e x"),
            ("/", "", r#"{"x":"a\/b\"c d+e"}"#),
            ("/", "", r#"{"x":"\u0061/b\u0022c d+e"}"#),
        ] {
            let hidden = hidden(SECRET, url, header, body);
            // In whatever form it comes back.
            for text in ["x a/b\"c d+e", r#"a\/b\"c d+e"#, "a%2Fb%22c+d%2Be"] {
                assert_eq!(
                    hidden.searched(text.into()),
                    (text.into(), false),
                    "{url} {body}"
                );
                assert_eq!(hidden.text(text.into()), (text.into(), false));
            }
        }
        let other = hidden(SECRET, "/a/b", "c d+e", "a/b\"c d+");
        let (text, any) = other.searched(b"x a/b\"c d+e".to_vec());
        assert_eq!((text.as_slice(), any), (&b"x [secret]"[..], true));
    }

    #[test]
    fn where_case_is_lost_it_does_not_count() {
        let hidden = hidden("Swordfish-77", "/", "", "");
        let (text, any) = hidden.text("at http://sWordfish-77.example".into());
        assert_eq!((text.as_str(), any), ("at http://[secret].example", true));
        let mut response = Response {
            status: 200,
            headers: vec![
                (
                    "x-swordfish-77-y".into(),
                    "Swordfish-77 swordfish-77".into(),
                ),
                ("set-cookie".into(), "fine".into()),
            ],
            body: Bytes::new(),
        };
        assert!(hidden.headers(&mut response));
        // A value keeps its case on the way: another one is another form.
        assert_eq!(
            response.headers[0],
            (
                "x-[secret]-y".to_owned(),
                "[secret] swordfish-77".to_owned()
            )
        );
        // Cookies come back with every answer: they are taken out without a count.
        response.headers = vec![("set-cookie".into(), "s=Swordfish-77".into())];
        assert!(!hidden.headers(&mut response));
        assert_eq!(response.headers[0].1, "s=[secret]");
    }

    #[test]
    fn forms_are_made_once_for_the_same_secrets() {
        let known = Mutex::default();
        let of = |secrets: &[&str]| {
            Forms::renewed(
                &known,
                secrets.iter().map(|secret| (*secret).into()).collect(),
            )
        };
        let first = of(&["one-secret", "other-secret"]);
        assert!(Arc::ptr_eq(
            &first,
            &of(&["other-secret", "one-secret", "one-secret"])
        ));
        let second = of(&["one-secret", "renewed-secret"]);
        assert!(!Arc::ptr_eq(&first, &second));
        let hidden = Hidden::new(second, Own::default());
        let (text, any) = hidden.searched(b"other-secret renewed-secret".to_vec());
        assert_eq!(
            (text.as_slice(), any),
            (&b"other-secret [secret]"[..], true)
        );
    }

    #[tokio::test]
    async fn bodies_of_any_size_are_searched() {
        let hidden = hidden("Swordfish-77", "/", "", "");
        let none = Hidden::of(vec![b"short".to_vec()]);
        for size in [10, MAX_INLINE + 1, MAX_PASSED + 1] {
            let plain = vec![b'a'; size];
            assert_eq!(none.body(plain.clone()).await, Ok((plain.clone(), false)));
            let kept = hidden.body(plain.clone()).await.unwrap();
            assert_eq!(kept, (plain.clone(), false));
            let (text, any) = hidden
                .body([&plain, &b"Swordfish-77"[..]].concat())
                .await
                .unwrap();
            assert_eq!((text, any), ([&plain, &b"[secret]"[..]].concat(), true));
        }
    }

    #[test]
    fn any_text_is_unescaped() {
        for (text, plain) in [
            ("", ""),
            ("\\", ""),
            ("a\\u00", "au00"),
            ("\\u00e9\\ud800", "éud800"),
            ("\\n\\t\\r\\\\\\/\\\"", "\n\t\r\\/\""),
        ] {
            assert_eq!(unescaped(text.as_bytes()), plain.as_bytes(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn one_pass_finds_what_a_look_for_each_form_does(
            secrets in proptest::collection::vec("[abAB:+/ ]{4,9}", 0..5),
            text in "[abA:+/ %=2]{0,90}",
            own in "[abA ]{0,4}",
        ) {
            let request = Request { url: own, ..Request::default() };
            let forms = || Forms::new(secrets.iter().map(|secret| secret.clone().into_bytes()).collect());
            let hidden = Hidden::new(Arc::new(forms()), Own::of(&request));
            let mut forms = forms();
            (forms.plain.any, forms.folded.any) = (None, None);
            let each = Hidden::new(Arc::new(forms), Own::of(&request));
            for caseless in [false, true] {
                let text = text.as_bytes();
                proptest::prop_assert_eq!(hidden.found(text, caseless), each.found(text, caseless));
            }
        }
    }
}
