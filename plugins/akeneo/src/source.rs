//! The source: streams one after the other, pages by the links that Akeneo gives.

use std::collections::VecDeque;
use std::time::Duration;

use crossdock_sdk::clock;
use crossdock_sdk::http::{self, Request};
use crossdock_sdk::json::Object;
use crossdock_sdk::prelude::*;

use crate::answer::{Answer, Refusal};
use crate::config::{Config, OtherStreams};
use crate::item;
use crate::mark;
use crate::state::{Place, State};
use crate::stream::{Nesting, Stream};

/// Lists of nested streams that are asked for together. The host lets as many run at a time as the connection allows;
/// more than this would only make answers wait in memory.
const GROUP: usize = 8;

/// Reads a catalogue.
#[derive(Debug)]
pub struct AkeneoSource {
    config: Config,
    state: State,
    /// The stream that is read. None: the end.
    stream: Option<Stream>,
    /// Pages of the stream, the current one first.
    pages: VecDeque<Page>,
    /// Nested streams: the page of parents.
    parents: Parents,
    /// The next request is the first one since the instance was opened from a snapshot.
    resumed: bool,
}

/// A page to be read, or being read.
#[derive(Debug, Default)]
struct Page {
    /// The parent whose items these are.
    parent: Option<String>,
    /// None: the first one.
    url: Option<String>,
    position: usize,
    /// Key of the last record given out.
    key: Option<String>,
    answer: Option<Answer>,
}

/// Where a nested stream is in the list of parents.
#[derive(Debug, Default)]
struct Parents {
    /// The page. None: the first one.
    url: Option<String>,
    /// Its children are in `pages`; `next` is known.
    loaded: bool,
    next: Option<String>,
}

impl Source for AkeneoSource {
    type Config = Config;

    fn check(config: Config) -> Result<()> {
        config.validate()?;
        crate::probe::probe(&config)
    }

    fn streams(config: Config) -> Result<Vec<StreamInfo>> {
        config.validate()?;
        Ok(config
            .streams
            .iter()
            .map(|stream| describe(*stream, &config))
            .collect())
    }

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        config.validate()?;
        let mut state = State::open(snapshot)?;
        let place = state.place.take();
        let resumed = place.is_some();
        let mut source = Self {
            config,
            state,
            stream: None,
            pages: VecDeque::new(),
            parents: Parents::default(),
            resumed,
        };
        source.stream = source.following();
        match place {
            Some(place) if Some(place.stream) == source.stream => source.take_place(place),
            _ => source.begin(),
        }
        Ok(source)
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        let deadline = clock::now_ms()
            .saturating_add(u64::try_from(budget.time.as_millis()).unwrap_or(u64::MAX));
        let mut called = false;
        while let Some(stream) = self.stream {
            if self.pages.front().is_some_and(|page| page.answer.is_some()) {
                let page = self.give(stream, budget);
                self.settle(stream);
                if let Some(page) = page {
                    return Ok(Read::Page(page));
                }
            } else if called && clock::now_ms() >= deadline {
                // Nothing but lists without items: the host has the turn before more are asked for.
                return Ok(Read::Idle(Duration::ZERO));
            } else {
                called = true;
                self.load(stream)?;
                self.settle(stream);
            }
        }
        self.state.ended = true;
        Ok(Read::End)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.state.place = self.place();
        self.state.encode()
    }
}

fn describe(stream: Stream, config: &Config) -> StreamInfo {
    StreamInfo {
        name: stream.name().to_owned(),
        schema: stream.schema(config),
        key: stream
            .key_fields(config)
            .iter()
            .map(|field| (*field).to_owned())
            .collect(),
        incremental: config.is_incremental(stream),
    }
}

impl AkeneoSource {
    /// The first stream that this run has not read. Later runs may leave some out.
    fn following(&self) -> Option<Stream> {
        let later_run = self.state.marks.values().any(|mark| mark.since.is_some());
        self.config.streams.iter().copied().find(|stream| {
            let left_out = later_run
                && self.config.incremental
                && self.config.other_streams == OtherStreams::Skip
                && !self.config.is_incremental(*stream);
            !left_out && !self.state.done.contains(stream)
        })
    }

    /// Goes to the start of the current stream.
    fn begin(&mut self) {
        self.pages.clear();
        self.parents = Parents::default();
        if self.stream.is_some_and(|stream| stream.nesting().is_none()) {
            self.pages.push_back(Page::default());
        }
    }

    /// Goes to the place of a snapshot.
    fn take_place(&mut self, place: Place) {
        self.parents = Parents {
            url: place.parents,
            ..Parents::default()
        };
        let nested = place.stream.nesting().is_some();
        if !nested || place.parent.is_some() {
            self.pages.push_back(Page {
                parent: place.parent,
                url: place.url,
                position: place.position,
                key: place.key,
                answer: None,
            });
        }
    }

    /// The place behind the last record given out.
    fn place(&self) -> Option<Place> {
        let stream = self.stream?;
        let front = self.pages.front();
        Some(Place {
            stream,
            parents: self.parents.url.clone(),
            parent: front.and_then(|page| page.parent.clone()),
            url: front.and_then(|page| page.url.clone()),
            position: front.map_or(0, |page| page.position),
            key: front.and_then(|page| page.key.clone()),
        })
    }

    /// Leaves what is exhausted behind: pages, pages of parents, the stream.
    fn settle(&mut self, stream: Stream) {
        while let Some(front) = self.pages.front_mut() {
            let Some(answer) = &mut front.answer else {
                return;
            };
            if front.position < answer.len() {
                return;
            }
            match answer.next.take() {
                Some(next) => {
                    *front = Page {
                        parent: front.parent.take(),
                        url: Some(next),
                        ..Page::default()
                    };
                    return;
                }
                None => {
                    self.pages.pop_front();
                }
            }
        }
        if stream.nesting().is_some() {
            if !self.parents.loaded {
                return;
            }
            if let Some(next) = self.parents.next.take() {
                self.parents = Parents {
                    url: Some(next),
                    ..Parents::default()
                };
                return;
            }
        }
        self.state.done.push(stream);
        self.stream = self.following();
        self.begin();
    }

    /// Asks for the next pages. Nothing changes when that fails, so it can be tried again.
    fn load(&mut self, stream: Stream) -> Result<()> {
        match stream.nesting() {
            Some(nesting) if !self.parents.loaded => self.load_parents(stream, nesting),
            nesting => self.load_pages(stream, nesting),
        }
    }

    /// Loads the current page, for nested streams those behind it as well.
    fn load_pages(&mut self, stream: Stream, nesting: Option<Nesting>) -> Result<()> {
        let urls: Vec<String> = self
            .pages
            .iter()
            .take_while(|page| page.answer.is_none())
            .take(GROUP)
            .map(|page| match (&page.url, nesting, &page.parent) {
                (Some(url), ..) => url.clone(),
                (None, Some(nesting), Some(parent)) => {
                    Stream::child_url(nesting, &self.config, parent, self.config.page_size)
                }
                (None, ..) => self.first_url(stream),
            })
            .collect();
        for (at, outcome) in fetch(&self.config, &urls).into_iter().enumerate() {
            let answer = match outcome {
                Ok(answer) => answer,
                // The parent was deleted after its page was read: it owns nothing any more.
                Err(Refusal {
                    status: Some(404), ..
                }) if nesting.is_some() && self.is_first_page(at) => {
                    warn!(
                        "{} is gone, its {} are left out",
                        self.parent_name(at),
                        stream.name()
                    );
                    Answer::empty()
                }
                Err(refusal) if at == 0 => return self.refused(stream, refusal),
                // Asked again when its turn comes.
                Err(_) => break,
            };
            if at == 0 {
                self.resumed = false;
                self.note_time(stream, &answer);
            }
            self.accept(stream, at, answer);
        }
        Ok(())
    }

    fn is_first_page(&self, at: usize) -> bool {
        self.pages.get(at).is_some_and(|page| page.url.is_none())
    }

    fn parent_name(&self, at: usize) -> &str {
        self.pages
            .get(at)
            .and_then(|page| page.parent.as_deref())
            .unwrap_or_default()
    }

    /// Takes an answer in, and finds the place of a snapshot in it.
    fn accept(&mut self, stream: Stream, at: usize, answer: Answer) {
        let Some(page) = self.pages.get_mut(at) else {
            return;
        };
        if let Some(wanted) = page.key.as_deref().filter(|_| page.position > 0) {
            let key_at = |position: usize| {
                let object = Object::parse(answer.item(position)?).ok()?;
                item::key(stream, &self.config, &object, page.parent.as_deref())
            };
            if key_at(page.position - 1).as_deref() != Some(wanted) {
                // The page has changed since. Without its last record it is read again: twice is better than never.
                page.position = (0..answer.len())
                    .find(|position| key_at(*position).as_deref() == Some(wanted))
                    .map_or(0, |position| position + 1);
            }
        }
        page.answer = Some(answer);
    }

    /// Loads a page of parents and lines up the lists of their children.
    fn load_parents(&mut self, stream: Stream, nesting: Nesting) -> Result<()> {
        let url = match &self.parents.url {
            Some(url) => url.clone(),
            None => nesting
                .parent
                .first_url(&self.config, None, self.config.page_size),
        };
        let answer = match fetch(&self.config, &[url]).into_iter().next() {
            Some(Ok(answer)) => answer,
            Some(Err(refusal)) => return self.refused(stream, refusal),
            None => return Ok(()),
        };
        let mut codes = VecDeque::new();
        for at in 0..answer.len() {
            let object = answer.item(at).and_then(|bytes| Object::parse(bytes).ok());
            let Some(object) = object.filter(|object| stream.has_children(object)) else {
                continue;
            };
            codes.extend(item::text(&object, "code"));
        }
        let place = self.pages.pop_front();
        if let Some(code) = place.as_ref().and_then(|page| page.parent.clone()) {
            let Some(at) = codes.iter().position(|known| *known == code) else {
                warn!(
                    "{code} is no longer listed where it was: {} is read from its start",
                    stream.name()
                );
                self.resumed = false;
                self.begin();
                return Ok(());
            };
            codes.drain(..=at);
        }
        self.pages = place.into_iter().collect();
        self.pages.extend(codes.into_iter().map(|code| Page {
            parent: Some(code),
            ..Page::default()
        }));
        self.parents.next = answer.next;
        self.parents.loaded = true;
        Ok(())
    }

    /// A cursor of an earlier run may have expired: then the stream is read from its start. Everything else is a fault.
    fn refused(&mut self, stream: Stream, refusal: Refusal) -> Result<()> {
        let from_snapshot = self.resumed
            && (self.parents.url.is_some()
                || self.pages.front().is_some_and(|page| page.url.is_some()));
        if from_snapshot && matches!(refusal.status, Some(400 | 404 | 410 | 422)) {
            warn!(
                "the place in {} is no longer valid, it is read from its start: {}",
                stream.name(),
                refusal.fault
            );
            self.resumed = false;
            self.begin();
            return Ok(());
        }
        Err(refusal.fault)
    }

    /// The first page of a stream, narrowed by the filter of the config and to what changed.
    fn first_url(&self, stream: Stream) -> String {
        let mut search = self
            .config
            .filters
            .get(&stream)
            .cloned()
            .unwrap_or_default();
        let since = self.state.marks.get(&stream).and_then(|mark| mark.since);
        if let (Some(since), Some(style), true) = (
            since,
            stream.date_style(),
            self.config.is_incremental(stream),
        ) {
            let overlap = Duration::from_secs(self.config.overlap_seconds.into());
            let value = mark::filter_value(since, overlap, style, self.state.offset);
            let clause = serde_json::json!({ "operator": ">", "value": value });
            match search
                .get_mut("updated")
                .and_then(serde_json::Value::as_array_mut)
            {
                Some(clauses) => clauses.push(clause),
                None => drop(search.insert("updated".to_owned(), serde_json::json!([clause]))),
            }
        }
        let search = (!search.is_empty()).then(|| serde_json::Value::Object(search).to_string());
        stream.first_url(&self.config, search.as_deref(), self.config.page_size)
    }

    /// Remembers when this run began to read an incremental stream.
    fn note_time(&mut self, stream: Stream, answer: &Answer) {
        if self.config.is_incremental(stream) {
            let mark = self.state.marks.entry(stream).or_default();
            if mark.next.is_none() {
                mark.next = Some(mark::server_time(answer.date.as_deref()));
            }
        }
    }

    /// Gives out items of the current page.
    fn give(&mut self, stream: Stream, budget: Budget) -> Option<crossdock_sdk::Page> {
        let page = self.pages.front_mut()?;
        let answer = page.answer.as_ref()?;
        let dates = self.config.is_incremental(stream);
        let mut records = BatchBuilder::json(stream.name());
        let mut unreadable = Vec::new();
        while let Some(bytes) = answer.item(page.position) {
            let given = records.len() + unreadable.len();
            if given > 0 && (given >= budget.records || records.bytes() >= budget.bytes) {
                break;
            }
            page.position += 1;
            let object = Object::parse(bytes).ok();
            let key = object
                .as_ref()
                .and_then(|object| item::key(stream, &self.config, object, page.parent.as_deref()));
            let (Some(object), Some(key)) = (object, key) else {
                let fields = stream.key_fields(&self.config).join("`, `");
                let fault = Fault::permanent(format!("an item without `{fields}`")).at(format!(
                    "{}[{}]",
                    stream.name(),
                    page.position - 1
                ));
                unreadable.push(Unreadable {
                    data: bytes.to_vec(),
                    fault,
                });
                page.key = None;
                continue;
            };
            if dates {
                let seen =
                    item::text(&object, "updated").and_then(|date| mark::offset_seconds(&date));
                self.state.offset = self.state.offset.into_iter().chain(seen).min();
            }
            match stream.nesting().zip(page.parent.as_deref()) {
                Some((nesting, parent)) if !object.contains(nesting.field) => {
                    records.push(
                        key.as_bytes(),
                        &item::with_field(bytes, nesting.field, parent),
                    );
                }
                _ => records.push(key.as_bytes(), bytes),
            }
            page.key = Some(key);
        }
        if records.is_empty() && unreadable.is_empty() {
            return None;
        }
        Some(crossdock_sdk::Page {
            records: records.finish(),
            unreadable,
        })
    }
}

/// Sends requests together and reads their answers, in the same order.
pub(crate) fn fetch(config: &Config, urls: &[String]) -> Vec<Result<Answer, Refusal>> {
    let request = |url: &String| {
        Request::get(url)
            .connection(&config.connection)
            .header("accept", "application/json")
    };
    let outcomes = match urls {
        [url] => vec![request(url).send()],
        _ => http::send_all(urls.iter().map(request).collect()),
    };
    outcomes
        .into_iter()
        .zip(urls)
        .map(|(outcome, url)| match outcome {
            Ok(response) => Answer::read(url, response),
            Err(error) => Err(Refusal {
                fault: error.into(),
                status: None,
            }),
        })
        .collect()
}
