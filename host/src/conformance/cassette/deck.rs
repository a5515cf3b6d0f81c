//! What turns a cassette: it writes down what a plugin imports, or answers from what was written down.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{MAX_BYTES, difference::cut};
use crate::{
    conformance::scrub,
    plugin::{Answered, Given, Import, Tape},
};

/// Differences that are told; whoever has that many does not read more.
const TOLD: usize = 20;

/// One call of an import, and what it gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Event {
    #[serde(flatten)]
    pub(super) call: Import,
    #[serde(default, skip_serializing_if = "is_done")]
    pub(super) gave: Given,
}

fn is_done(given: &Given) -> bool {
    *given == Given::Done
}

impl Event {
    /// A line for people: what was called, and with what.
    fn shown(&self) -> String {
        shown(&self.call)
    }

    fn bytes(&self) -> usize {
        // What is written is about as long as this.
        serde_json::to_vec(self).map_or(0, |text| text.len())
    }
}

fn shown(call: &Import) -> String {
    let first = call.requests().first();
    if let Some(request) = first {
        let rest = match call.requests().len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let from = if request.connection.is_empty() {
            String::new()
        } else {
            format!(" ({})", request.connection)
        };
        return cut(&format!("{} {}{from}{rest}", request.method, request.url));
    }
    let value = serde_json::to_value(call).unwrap_or_default();
    let name = value["import"].as_str().unwrap_or_default().to_owned();
    let mut value = value;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("import");
    }
    cut(&format!("{name} {value}"))
}

/// What the calls of a plugin import, one after the other.
pub(super) trait Deck: Tape {
    /// A call of the plugin has ended: what it imported.
    fn turn(&self) -> Vec<Event>;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down.
#[derive(Default)]
pub(super) struct Recorder(Mutex<Written>);

#[derive(Default)]
struct Written {
    events: Vec<Event>,
    bytes: usize,
}

impl Recorder {
    /// Whether more was imported than a cassette holds.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.0).bytes > MAX_BYTES
    }
}

impl Tape for Recorder {
    fn answer(&self, _: &Import) -> Option<Given> {
        None
    }

    fn note(&self, call: Import, given: Given) -> Given {
        let event = Event {
            call: scrub::import(call),
            // The plugin sees what will be played back.
            gave: scrub::given(given),
        };
        let gave = event.gave.clone();
        let mut written = lock(&self.0);
        written.bytes += event.bytes();
        if written.bytes <= MAX_BYTES {
            written.events.push(event);
        }
        gave
    }
}

impl Deck for Recorder {
    fn turn(&self) -> Vec<Event> {
        std::mem::take(&mut lock(&self.0).events)
    }
}

/// Plays back.
pub(super) struct Player(Mutex<Playing>);

struct Playing {
    /// What each call imported, the one under way first.
    calls: VecDeque<VecDeque<Event>>,
    /// How many have ended.
    at: usize,
    played: usize,
    requests: usize,
    differences: Vec<String>,
}

impl Player {
    pub(super) fn new(calls: impl IntoIterator<Item = Vec<Event>>) -> Self {
        Self(Mutex::new(Playing {
            calls: calls.into_iter().map(VecDeque::from).collect(),
            at: 0,
            played: 0,
            requests: 0,
            differences: Vec::new(),
        }))
    }

    /// What came of it: imports, requests among them, and every difference.
    pub(super) fn result(&self) -> (usize, usize, Vec<String>) {
        let mut playing = lock(&self.0);
        let differences = std::mem::take(&mut playing.differences);
        (playing.played, playing.requests, differences)
    }
}

impl Playing {
    /// Takes the recorded event of a call: the next one. When it comes later only, those before it were left out.
    fn take(&mut self, call: &Import) -> Option<Event> {
        let call = scrub::import(call.clone());
        self.played += 1;
        self.requests += call.requests().len();
        let place = self.at;
        let queue = self.calls.front_mut();
        let found = queue
            .as_ref()
            .and_then(|queue| queue.iter().position(|event| event.call == call));
        let (Some(queue), Some(found)) = (queue, found) else {
            let next = self.calls.front().and_then(VecDeque::front);
            let next = next.map_or_else(
                || "nothing more".to_owned(),
                |event| format!("`{}`", event.shown()),
            );
            self.differ(format!(
                "call {place}: `{}` is not on the cassette; recorded is {next}",
                shown(&call)
            ));
            return None;
        };
        let skipped: Vec<Event> = queue.drain(..found).collect();
        let event = queue.pop_front();
        for left_out in skipped {
            self.differ(format!(
                "call {place}: `{}` was recorded, and is left out now",
                left_out.shown()
            ));
        }
        event
    }

    fn differ(&mut self, what: String) {
        if self.differences.len() < TOLD {
            self.differences.push(what);
        }
    }
}

impl Tape for Player {
    fn answer(&self, call: &Import) -> Option<Given> {
        let count = match call {
            Import::Send { .. } | Import::Handle { .. } => 1,
            Import::SendAll { requests } => requests.len(),
            Import::GetMany { .. } | Import::Find { .. } => 0,
            // The host knows, and it is compared when it is noted.
            _ => return None,
        };
        if let Some(event) = lock(&self.0).take(call) {
            return Some(event.gave);
        }
        let why = "this is not on the cassette".to_owned();
        Some(if count == 0 {
            Given::TableFailed(why)
        } else {
            Given::Answers(vec![Answered::Denied(why); count])
        })
    }

    fn note(&self, call: Import, given: Given) -> Given {
        match lock(&self.0).take(&call) {
            Some(event) => event.gave,
            None => given,
        }
    }
}

impl Deck for Player {
    fn turn(&self) -> Vec<Event> {
        let mut playing = lock(&self.0);
        let place = playing.at;
        let left = playing.calls.pop_front().unwrap_or_default();
        if let Some(first) = left.front() {
            let what = format!(
                "call {place}: {} recorded imports do not come, first `{}`",
                left.len(),
                first.shown()
            );
            playing.differ(what);
        }
        playing.at += 1;
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(message: &str) -> Import {
        Import::Log {
            level: "info".to_owned(),
            message: message.to_owned(),
        }
    }

    fn event(call: Import, gave: Given) -> Event {
        Event { call, gave }
    }

    #[test]
    fn what_is_written_down_is_played_back_in_its_order() {
        let recorder = Recorder::default();
        recorder.note(log("a"), Given::Done);
        recorder.note(Import::Random, Given::Number(7));
        let first = recorder.turn();
        recorder.note(log("b"), Given::Done);
        let second = recorder.turn();
        assert!(recorder.turn().is_empty() && !recorder.is_full());

        let calls = || [first.clone(), second.clone()];
        let player = Player::new(calls());
        player.note(log("a"), Given::Done);
        assert_eq!(
            player.note(Import::Random, Given::Number(9)),
            Given::Number(7)
        );
        player.turn();
        player.note(log("b"), Given::Done);
        player.turn();
        assert_eq!(player.result(), (3, 0, Vec::new()));

        let player = Player::new(calls());
        player.note(Import::Random, Given::Number(9));
        player.note(log("c"), Given::Done);
        player.turn();
        player.turn();
        let (_, _, told) = player.result();
        assert_eq!(
            told,
            [
                "call 0: `log.write {\"level\":\"info\",\"message\":\"a\"}` was recorded, and is left out now",
                "call 0: `log.write {\"level\":\"info\",\"message\":\"c\"}` is not on the cassette; recorded is nothing more",
                "call 1: 1 recorded imports do not come, first `log.write {\"level\":\"info\",\"message\":\"b\"}`",
            ]
        );
    }

    #[test]
    fn a_table_answers_from_the_cassette_and_nobody_else_is_asked() {
        let get = |key: &str| Import::GetMany {
            table: "t".to_owned(),
            keys: vec![crate::plugin::Blob(key.as_bytes().to_vec())],
        };
        let known = Given::Items(vec![crate::plugin::Blob(b"1".to_vec())]);
        let player = Player::new([vec![event(get("a"), known.clone())]]);
        assert_eq!(player.answer(&get("a")), Some(known));
        assert!(matches!(
            player.answer(&get("b")),
            Some(Given::TableFailed(_))
        ));
        assert_eq!(player.answer(&Import::Now), None);
        assert_eq!(player.result().2.len(), 1);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let all = [
            event(log("x"), Given::Done),
            event(Import::Now, Given::Number(5)),
            event(
                Import::Put {
                    table: "t".to_owned(),
                    entries: vec![crate::plugin::Blob(vec![0xff])],
                },
                Given::TableInvalid("no".to_owned()),
            ),
        ];
        let text = serde_json::to_string(&all).unwrap();
        assert!(
            text.contains("\"import\":\"clock.now-ms\",\"gave\":{\"number\":5}"),
            "{text}"
        );
        let read: Vec<Event> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, all);
    }
}
