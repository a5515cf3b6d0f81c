//! How messages lie in a file: service segments around them, each message a record.

use crossdock_sdk::prelude::{BatchBuilder, Fault, Result};
use file_drop::layout::{Layout, Skipped, Skipper, Step, View};
use file_drop::window::Window;

use crate::charset::{Charset, Setting};
use crate::envelope::{
    Checks, Head, Interchange, OpenGroup, Remembered, closes, to_bytes, to_text, value,
};
use crate::record::write_body;
use crate::signs::{Signs, UNA};
use crate::token::{Segment, end, is_break, split, tag};

/// How much of a file that is no EDIFACT goes into its dead letter.
const FOREIGN: usize = 256;

/// What the config says about messages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    pub(crate) setting: Setting,
    pub(crate) checks: Checks,
    /// Upper case. Empty: all.
    pub(crate) messages: Vec<String>,
    /// The config names one stream for all messages.
    pub(crate) one_stream: bool,
}

/// The EDIFACT layout.
pub(crate) struct Messages {
    rules: Rules,
    signs: Signs,
    /// The file has a byte order mark.
    marked: bool,
    una: bool,
    begun: bool,
    foreign: bool,
    interchange: Option<Interchange>,
    group: Option<OpenGroup>,
    scratch: Vec<u8>,
}

/// Where the segments of a message are.
enum Extent {
    /// From `UNH` to `UNT`, both included, without terminators; and where the next segment begins.
    Whole(Vec<(usize, usize)>, usize),
    /// Another message or the end of the envelope comes before `UNT`, here.
    Open(usize),
    More,
}

impl Messages {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            signs: Signs::default(),
            marked: false,
            una: false,
            begun: false,
            foreign: false,
            interchange: None,
            group: None,
            scratch: Vec::new(),
        }
    }

    fn charset(&self) -> Charset {
        let open = self.interchange.as_ref();
        // Without a UNB nothing names a character set.
        open.map_or_else(
            || Charset::of(self.rules.setting, self.marked, "").unwrap_or(Charset::Ascii),
            |open| open.charset,
        )
    }

    /// A fault where the envelope is checked, a line in the log where it is only looked at.
    fn complain(&self, view: View<'_>, lines: u64, problem: &str) -> Option<Fault> {
        match self.rules.checks {
            Checks::Reject => Some(Fault::permanent(problem).at(view.location(lines))),
            Checks::Warn => {
                crossdock_sdk::warn!("{}: {problem}", view.location(lines));
                None
            }
            Checks::Ignore => None,
        }
    }

    /// A service segment that ends before `used` is done with: nothing, or why not.
    fn done(view: View<'_>, used: usize, fault: Option<Fault>) -> Step {
        let lines = breaks(view.text, used);
        match fault {
            Some(fault) => Step::Unreadable { used, lines, fault },
            None => Step::Skip { used, lines },
        }
    }

    fn una(&mut self, view: View<'_>) -> Step {
        let Some(una) = view.text.get(..UNA) else {
            if !view.ended {
                return Step::More;
            }
            return self.truncated(view);
        };
        self.begun = true;
        self.group = None;
        let unclosed = self.interchange.take();
        let fault = unclosed.and_then(|open| self.complain(view, 0, &not_closed(&open)));
        match Signs::of_una(una) {
            Ok(signs) => {
                (self.signs, self.una) = (signs, true);
                Self::done(view, UNA, fault)
            }
            Err(problem) => {
                let fault = Fault::permanent(problem).at(view.location(0));
                Self::done(view, UNA, Some(fault))
            }
        }
    }

    fn truncated(&self, view: View<'_>) -> Step {
        let what = if *tag(view.text, self.signs) == *b"UNH" {
            "its last message has no UNT"
        } else {
            "its last segment has no end"
        };
        let fault = Fault::permanent(format!("the file is truncated: {what}")).at(view.location(0));
        Self::done(view, view.text.len(), Some(fault))
    }

    /// A file that begins with something else, mostly one of another format in the same folder.
    fn not_edifact(&mut self, view: View<'_>) -> Step {
        let start = view.text.get(..FOREIGN).unwrap_or(view.text);
        if start.len() < FOREIGN && !view.ended {
            return Step::More;
        }
        self.foreign = true;
        let begins: String = String::from_utf8_lossy(start).chars().take(12).collect();
        let message =
            format!("the file is no EDIFACT: it begins with {begins:?}, not with UNA, UNB or UNH");
        let fault = Fault::permanent(message).at(view.location(0));
        Self::done(view, start.len(), Some(fault))
    }

    fn open_interchange(&mut self, view: View<'_>, segment: &[u8], used: usize) -> Step {
        let unclosed = self.interchange.take();
        self.group = None;
        if !self.una {
            self.signs = Signs::default();
        }
        let mut fault = unclosed.and_then(|open| self.complain(view, 0, &not_closed(&open)));
        match Interchange::read(segment, self.signs, self.rules.setting, self.marked) {
            Ok(open) => {
                if !self.una {
                    self.signs = self.signs.for_version(&open.version);
                }
                self.interchange = Some(open);
            }
            Err(problem) => {
                fault = Some(Fault::permanent(format!("UNB: {problem}")).at(view.location(0)));
            }
        }
        Self::done(view, used, fault)
    }

    fn close_interchange(&mut self, view: View<'_>, segment: &[u8], used: usize) -> Step {
        let charset = self.charset();
        let unclosed = self.group.take().is_some();
        let problem = match self.interchange.take() {
            None => Some("UNZ closes an interchange that was never opened".to_owned()),
            Some(_) if unclosed => Some("a group of this interchange has no UNE".to_owned()),
            Some(open) => {
                let count = if open.groups > 0 {
                    (open.groups, "groups")
                } else {
                    (open.messages, "messages")
                };
                let closing = split(segment, self.signs);
                closes(&closing, charset, count, &open.reference).err()
            }
        };
        // The next interchange may name other characters.
        (self.una, self.signs) = (false, Signs::default());
        let fault = problem.and_then(|problem| self.complain(view, 0, &problem));
        Self::done(view, used, fault)
    }

    fn open_group(&mut self, view: View<'_>, segment: &[u8], used: usize) -> Step {
        let mut fault = None;
        if self.group.take().is_some() {
            fault = self.complain(view, 0, "the group before this one has no UNE");
        }
        if let Some(open) = &mut self.interchange {
            open.groups += 1;
        }
        match OpenGroup::read(segment, self.signs, self.charset()) {
            Ok(group) => self.group = Some(group),
            Err(problem) => {
                fault = Some(Fault::permanent(format!("UNG: {problem}")).at(view.location(0)));
            }
        }
        Self::done(view, used, fault)
    }

    fn close_group(&mut self, view: View<'_>, segment: &[u8], used: usize) -> Step {
        let closing = split(segment, self.signs);
        let problem = match self.group.take() {
            None => Some("UNE closes a group that was never opened".to_owned()),
            Some(group) => {
                let count = (group.messages, "messages");
                closes(&closing, self.charset(), count, &group.reference).err()
            }
        };
        let fault = problem.and_then(|problem| self.complain(view, 0, &problem));
        Self::done(view, used, fault)
    }

    /// Where the message ends that begins with the text.
    fn extent(&self, view: View<'_>, first: usize) -> Extent {
        let text = view.text;
        let mut segments = vec![(0, first)];
        let mut at = first + 1;
        loop {
            at += leading(text.get(at..).unwrap_or_default());
            let Some(to) = end(text, at, self.signs) else {
                return Extent::More;
            };
            let segment = text.get(at..to).unwrap_or_default();
            match &*tag(segment, self.signs) {
                b"UNT" => {
                    segments.push((at, to));
                    return Extent::Whole(segments, to + 1);
                }
                b"UNA" | b"UNB" | b"UNG" | b"UNH" | b"UNE" | b"UNZ" => return Extent::Open(at),
                _ => segments.push((at, to)),
            }
            at = to + 1;
        }
    }

    fn count_message(&mut self) {
        if let Some(open) = &mut self.interchange {
            open.messages += 1;
        }
        if let Some(group) = &mut self.group {
            group.messages += 1;
        }
    }

    fn message(&mut self, view: View<'_>, first: usize, out: &mut BatchBuilder) -> Step {
        let (segments, used) = match self.extent(view, first) {
            Extent::More if !view.ended => return Step::More,
            Extent::More => {
                self.count_message();
                return self.truncated(view);
            }
            Extent::Open(at) => {
                self.count_message();
                let fault = Fault::permanent("the message has no UNT").at(view.location(0));
                return Self::done(view, at, Some(fault));
            }
            Extent::Whole(segments, used) => (segments, used),
        };
        let charset = self.charset();
        let unh = view.text.get(..first).unwrap_or_default();
        let head = match Head::read(unh, self.signs, charset) {
            Ok(head) => head,
            Err(problem) => {
                self.count_message();
                let fault = Fault::permanent(problem).at(view.location(0));
                return Self::done(view, used, Some(fault));
            }
        };
        if !self.rules.messages.is_empty() && !self.rules.messages.contains(&head.kind) {
            self.count_message();
            return Self::done(view, used, None);
        }
        if !self.rules.one_stream {
            let stream = head.kind.to_ascii_lowercase();
            if out.stream() != stream {
                return Step::Turn(stream);
            }
        }
        self.count_message();
        let lines = breaks(view.text, used);
        if self.interchange.is_none() {
            let problem = "the message is outside of an interchange: there is no UNB before it";
            if let Some(fault) = self.complain(view, 0, problem) {
                return Step::Unreadable { used, lines, fault };
            }
        }
        match self.write(view, &segments, &head, charset, out) {
            Ok(()) => Step::Record { used, lines },
            Err(fault) => Step::Unreadable { used, lines, fault },
        }
    }

    /// Puts the message into the batch.
    fn write(
        &mut self,
        view: View<'_>,
        places: &[(usize, usize)],
        head: &Head,
        charset: Charset,
        out: &mut BatchBuilder,
    ) -> Result<()> {
        let segments: Vec<Segment<'_>> = places
            .iter()
            .map(|(from, to)| split(view.text.get(*from..*to).unwrap_or_default(), self.signs))
            .collect();
        if let Some(closing) = segments.last() {
            let count = (segments.len() as u64, "segments");
            if let Err(problem) = closes(closing, charset, count, &head.reference)
                && let Some(fault) = self.complain(view, 0, &problem)
            {
                return Err(fault);
            }
        }
        let body = segments
            .get(1..segments.len().saturating_sub(1))
            .unwrap_or_default();
        let json = &mut self.scratch;
        json.clear();
        json.extend_from_slice(b"{\"message\":");
        json.extend_from_slice(&head.json);
        let open = self.interchange.as_ref();
        for (name, part) in [
            ("interchange", open.map(|open| &open.json)),
            ("group", self.group.as_ref().map(|group| &group.json)),
        ] {
            if let Some(part) = part {
                json.extend_from_slice(b",\"");
                json.extend_from_slice(name.as_bytes());
                json.extend_from_slice(b"\":");
                json.extend_from_slice(part);
            }
        }
        let blame = |problem: String| Fault::permanent(problem).at(view.location(0));
        write_body(&head.kind, body, charset, json).map_err(blame)?;
        json.push(b'}');
        let mut number = String::new();
        if let Some(document) = body.iter().find(|segment| segment.is("BGM")) {
            number = value(document, 1, 0, charset).map_err(blame)?;
        }
        let (sender, reference) = open.map_or(("", ""), |open| {
            (open.sender.as_str(), open.reference.as_str())
        });
        let key = if number.is_empty() {
            format!("{sender}/{reference}/{}", head.reference)
        } else {
            format!("{sender}/{number}")
        };
        out.push(key.as_bytes(), json);
        Ok(())
    }

    fn restore(&mut self, remembered: &Remembered) -> std::result::Result<(), String> {
        (self.begun, self.foreign) = (remembered.begun, remembered.foreign);
        if let Some(una) = &remembered.una {
            (self.signs, self.una) = (Signs::of_una(&to_bytes(una))?, true);
        }
        if let Some(unb) = &remembered.unb {
            let mut open =
                Interchange::read(&to_bytes(unb), self.signs, self.rules.setting, self.marked)?;
            if !self.una {
                self.signs = self.signs.for_version(&open.version);
            }
            (open.messages, open.groups) = (remembered.messages, remembered.groups);
            self.interchange = Some(open);
        }
        if let Some(ung) = &remembered.ung {
            let mut group = OpenGroup::read(&to_bytes(ung), self.signs, self.charset())?;
            group.messages = remembered.grouped;
            self.group = Some(group);
        }
        Ok(())
    }
}

fn not_closed(open: &Interchange) -> String {
    format!(
        "the interchange `{}` before this one has no UNZ",
        open.reference
    )
}

/// Line ends among the first bytes.
fn breaks(text: &[u8], used: usize) -> u64 {
    memchr::memchr_iter(b'\n', text.get(..used).unwrap_or(text)).count() as u64
}

/// What may stand between segments: line ends, spaces, and what old systems fill files up with.
fn leading(text: &[u8]) -> usize {
    let fills = |byte: &u8| is_break(*byte) || matches!(byte, b' ' | b'\t' | 0 | 0x1A);
    text.iter().take_while(|byte| fills(byte)).count()
}

impl Layout for Messages {
    type Skipper = MessageSkipper;

    fn begin(&mut self, window: &mut Window, note: Option<&str>) -> Result<(u64, String)> {
        let rules = std::mem::take(&mut self.rules);
        *self = Self::new(rules);
        self.marked = window.marked().is_some();
        if let Some(note) = note.filter(|note| !note.is_empty()) {
            let bad = |error: &dyn std::fmt::Display| {
                let path = window.path();
                Fault::config(format!(
                    "what the snapshot says about `{path}` cannot be read: {error}"
                ))
                .advice("run with --from-start")
            };
            let remembered: Remembered = serde_json::from_str(note).map_err(|error| bad(&error))?;
            self.restore(&remembered).map_err(|error| bad(&error))?;
        }
        Ok((0, String::new()))
    }

    fn step(&mut self, view: View<'_>, out: &mut BatchBuilder) -> Step {
        if self.foreign {
            return Self::done(view, view.text.len(), None);
        }
        let blank = leading(view.text);
        if blank > 0 {
            return Self::done(view, blank, None);
        }
        let text = view.text;
        if text.len() < 4 && !view.ended {
            return Step::More;
        }
        if text.starts_with(b"UNA") {
            return self.una(view);
        }
        let first = tag(text.get(..4).unwrap_or(text), self.signs);
        if !self.begun && ![&b"UNB"[..], b"UNH", b"UNG"].contains(&&*first) {
            return self.not_edifact(view);
        }
        self.begun = true;
        let Some(to) = end(text, 0, self.signs) else {
            return if view.ended {
                self.truncated(view)
            } else {
                Step::More
            };
        };
        let segment = text.get(..to).unwrap_or_default();
        let used = to + 1;
        match &*tag(segment, self.signs) {
            b"UNH" => self.message(view, to, out),
            b"UNB" => self.open_interchange(view, segment, used),
            b"UNZ" => self.close_interchange(view, segment, used),
            b"UNG" => self.open_group(view, segment, used),
            b"UNE" => self.close_group(view, segment, used),
            other => {
                let name = String::from_utf8_lossy(other.get(..16).unwrap_or(other)).into_owned();
                let message = format!("the segment `{name}` stands outside of a message");
                let fault = Fault::permanent(message).at(view.location(0));
                Self::done(view, used, Some(fault))
            }
        }
    }

    fn skipper(&self) -> MessageSkipper {
        MessageSkipper {
            signs: self.signs,
            tag: [0; 3],
            length: 0,
            released: false,
        }
    }

    fn skipped(&mut self) {
        self.count_message();
    }

    fn note(&self) -> Option<String> {
        let open = self.interchange.as_ref();
        let group = self.group.as_ref();
        let remembered = Remembered {
            una: self.una.then(|| to_text(&self.signs.to_una())),
            unb: open.map(|open| to_text(&open.segment)),
            messages: open.map_or(0, |open| open.messages),
            groups: open.map_or(0, |open| open.groups),
            ung: group.map(|group| to_text(&group.segment)),
            grouped: group.map_or(0, |group| group.messages),
            begun: self.begun,
            foreign: self.foreign,
        };
        // Texts and numbers: that cannot fail.
        serde_json::to_string(&remembered).ok()
    }

    fn end(&mut self, path: &str, lines: u64) -> Option<(Vec<u8>, Fault)> {
        let open = self.interchange.as_ref()?;
        let problem = format!(
            "the file is truncated: the interchange `{}` has no UNZ",
            open.reference
        );
        let at = format!("{path}:{}", lines + 1);
        match self.rules.checks {
            Checks::Reject => {
                let mut unb = open.segment.clone();
                unb.push(self.signs.terminator);
                Some((unb, Fault::permanent(problem).at(at)))
            }
            Checks::Warn => {
                crossdock_sdk::warn!("{at}: {problem}");
                None
            }
            Checks::Ignore => None,
        }
    }
}

/// Finds the end of a message without keeping it: the segment `UNT`.
pub(crate) struct MessageSkipper {
    signs: Signs,
    /// The tag of the segment, as far as it has been seen; `length` 4 stands for all that is behind it.
    tag: [u8; 3],
    length: usize,
    released: bool,
}

impl Skipper for MessageSkipper {
    fn skip(&mut self, text: &[u8], _: bool) -> Skipped {
        let mut lines = 0;
        for (at, byte) in text.iter().copied().enumerate() {
            lines += u64::from(byte == b'\n');
            if is_break(byte) {
                continue;
            }
            if std::mem::take(&mut self.released) {
                self.length = 4;
                continue;
            }
            if Some(byte) == self.signs.release {
                self.released = true;
                continue;
            }
            if byte == self.signs.terminator {
                let ends = self.length >= 3 && self.tag == *b"UNT";
                if ends {
                    return Skipped {
                        used: at + 1,
                        lines,
                        done: true,
                    };
                }
                (self.length, self.tag) = (0, [0; 3]);
                continue;
            }
            if self.length == 0 && leading(&[byte]) > 0 {
                continue;
            }
            if let Some(place) = self.tag.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            } else if self.length == 3 {
                let separates = byte == self.signs.element || byte == self.signs.component;
                if !separates {
                    // A longer tag is another one.
                    self.tag = [0; 3];
                }
                self.length = 4;
            }
        }
        Skipped {
            used: text.len(),
            lines,
            done: false,
        }
    }

    fn fault_at_end(&self) -> Option<&'static str> {
        Some("the file is truncated: the message has no UNT")
    }
}
