//! What stands around messages: the interchange (`UNB`/`UNZ`) and the group (`UNG`/`UNE`).

use crossdock_sdk::json::write_string;
use serde::{Deserialize, Serialize};

use crate::charset::{Charset, Setting};
use crate::field::{Field, Kind};
use crate::record::{text, write_fields};
use crate::signs::Signs;
use crate::token::{Segment, split};
use crate::value;

/// What becomes of counts and references that do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Checks {
    /// What they stand around is unreadable.
    #[default]
    Reject,
    /// The log says so.
    Warn,
    /// Nothing.
    Ignore,
}

/// An open interchange.
#[derive(Debug, Clone)]
pub(crate) struct Interchange {
    /// `UNB` as it came, without its terminator.
    pub(crate) segment: Vec<u8>,
    /// As a JSON object.
    pub(crate) json: Vec<u8>,
    pub(crate) charset: Charset,
    pub(crate) sender: String,
    pub(crate) reference: String,
    /// The version of the syntax: `3`.
    pub(crate) version: String,
    pub(crate) messages: u64,
    pub(crate) groups: u64,
}

/// An open group.
#[derive(Debug, Clone)]
pub(crate) struct OpenGroup {
    /// `UNG` as it came, without its terminator.
    pub(crate) segment: Vec<u8>,
    /// As a JSON object.
    pub(crate) json: Vec<u8>,
    pub(crate) reference: String,
    pub(crate) messages: u64,
}

const fn named(element: u16, component: u16, name: &'static str) -> Field {
    Field {
        element,
        component,
        name,
        kind: Kind::Text,
    }
}

const SENDER: [Field; 3] = [
    named(1, 0, "id"),
    named(1, 1, "qualifier"),
    named(1, 2, "routing"),
];
const RECIPIENT: [Field; 3] = [
    named(2, 0, "id"),
    named(2, 1, "qualifier"),
    named(2, 2, "routing"),
];

/// A component as text; nothing when it is not there.
pub(crate) fn value(
    segment: &Segment<'_>,
    element: u16,
    component: u16,
    charset: Charset,
) -> Result<String, String> {
    let mut parts = segment.parts.iter();
    let found =
        parts.find(|part| (part.element, part.repeat, part.component) == (element, 0, component));
    found.map_or_else(
        || Ok(String::new()),
        |part| text(part, charset).map(std::borrow::Cow::into_owned),
    )
}

/// Writes an object of texts; empty ones are left out.
struct Object(Vec<u8>);

impl Object {
    fn new() -> Self {
        Self(b"{".to_vec())
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        write_string(name, &mut self.0);
        self.0.push(b':');
    }

    fn set(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.name(name);
            write_string(text, &mut self.0);
        }
    }

    fn party(
        &mut self,
        name: &str,
        segment: &Segment<'_>,
        fields: &[Field],
        charset: Charset,
    ) -> Result<(), String> {
        self.name(name);
        self.0.push(b'{');
        write_fields(segment, fields, charset, &mut true, &mut self.0)?;
        self.0.push(b'}');
        Ok(())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// Date and time of preparation: `YYMMDD` or `CCYYMMDD`, `HHMM`.
fn prepared(segment: &Segment<'_>, element: u16, charset: Charset) -> Result<String, String> {
    let date = value(segment, element, 0, charset)?;
    let time = value(segment, element, 1, charset)?;
    let format = if date.len() == 8 { "203" } else { "201" };
    Ok(
        value::date(&format!("{date}{time}"), format).unwrap_or_else(|| {
            let both = format!("{date} {time}");
            both.trim().to_owned()
        }),
    )
}

impl Interchange {
    /// Reads a `UNB`.
    pub(crate) fn read(
        raw: &[u8],
        signs: Signs,
        setting: Setting,
        marked: bool,
    ) -> Result<Self, String> {
        let segment = split(raw, signs);
        let syntax = value(&segment, 0, 0, Charset::Ascii)?;
        let version = value(&segment, 0, 1, Charset::Ascii)?;
        let charset = Charset::of(setting, marked, &syntax)?;
        let sender = value(&segment, 1, 0, charset)?;
        let reference = value(&segment, 4, 0, charset)?;
        let mut json = Object::new();
        json.set("reference", &reference);
        json.set("syntax", &format!("{syntax}:{version}"));
        json.party("sender", &segment, &SENDER, charset)?;
        json.party("recipient", &segment, &RECIPIENT, charset)?;
        json.set("prepared", &prepared(&segment, 3, charset)?);
        json.set("application", &value(&segment, 6, 0, charset)?);
        json.set("agreement", &value(&segment, 9, 0, charset)?);
        if value(&segment, 10, 0, charset)? == "1" {
            json.name("test");
            json.0.extend_from_slice(b"true");
        }
        Ok(Self {
            segment: raw.to_vec(),
            json: json.end(),
            charset,
            sender,
            reference,
            version,
            messages: 0,
            groups: 0,
        })
    }
}

impl OpenGroup {
    /// Reads a `UNG`.
    pub(crate) fn read(raw: &[u8], signs: Signs, charset: Charset) -> Result<Self, String> {
        let segment = split(raw, signs);
        let reference = value(&segment, 4, 0, charset)?;
        let mut json = Object::new();
        json.set("type", &value(&segment, 0, 0, charset)?);
        json.set("reference", &reference);
        json.party("sender", &segment, &SENDER, charset)?;
        json.party("recipient", &segment, &RECIPIENT, charset)?;
        json.set("prepared", &prepared(&segment, 3, charset)?);
        Ok(Self {
            segment: raw.to_vec(),
            json: json.end(),
            reference,
            messages: 0,
        })
    }
}

/// What a `UNH` says of its message.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) reference: String,
    /// `ORDERS`
    pub(crate) kind: String,
    /// As a JSON object.
    pub(crate) json: Vec<u8>,
}

impl Head {
    /// Reads a `UNH`.
    pub(crate) fn read(raw: &[u8], signs: Signs, charset: Charset) -> Result<Self, String> {
        let segment = split(raw, signs);
        let reference = value(&segment, 0, 0, charset)?;
        let kind = value(&segment, 1, 0, charset)?;
        if kind.is_empty() {
            return Err("UNH names no message type".to_owned());
        }
        let mut json = Object::new();
        json.set("reference", &reference);
        json.set("type", &kind);
        for (component, name) in [
            (1, "version"),
            (2, "release"),
            (3, "agency"),
            (4, "association"),
        ] {
            json.set(name, &value(&segment, 1, component, charset)?);
        }
        Ok(Self {
            reference,
            kind,
            json: json.end(),
        })
    }
}

/// What a closing segment says, against what was seen.
pub(crate) fn closes(
    segment: &Segment<'_>,
    charset: Charset,
    (count, of): (u64, &str),
    reference: &str,
) -> Result<(), String> {
    let tag = String::from_utf8_lossy(&segment.tag);
    let said = value(segment, 0, 0, charset)?;
    if said.parse() != Ok(count) {
        return Err(format!("{tag} counts {said} {of}, there are {count}"));
    }
    let said = value(segment, 1, 0, charset)?;
    if said != reference {
        return Err(format!(
            "{tag} has the reference `{said}`, what it closes has `{reference}`"
        ));
    }
    Ok(())
}

/// What is remembered of the place in a file. Segments are kept as they came, a character for a byte.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Remembered {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) una: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unb: Option<String>,
    #[serde(default)]
    pub(crate) messages: u64,
    #[serde(default)]
    pub(crate) groups: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ung: Option<String>,
    #[serde(default)]
    pub(crate) grouped: u64,
    /// Something of EDIFACT was there.
    #[serde(default)]
    pub(crate) begun: bool,
    /// The file is something else.
    #[serde(default)]
    pub(crate) foreign: bool,
}

/// Bytes as text, a character for a byte.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Back again; characters that [`to_text`] does not make are left out.
pub(crate) fn to_bytes(text: &str) -> Vec<u8> {
    text.chars()
        .filter_map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}
