//! Names become addresses, for plugins' requests and for their raw connections.
//!
//! The system's resolver blocks, and cannot be stopped once it has begun. So it is asked on threads of its own, few of them,
//! which nothing else of the host waits for. What nobody waits for any more keeps its place until the system has answered:
//! who asks and goes away, again and again, makes no more of them. One name is asked for once for all who wait for it, and
//! neither one asker nor one domain, whose server may be slow on purpose, gets all the places.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use tokio::sync::oneshot;

/// Lookups of the whole process that are under way at the same time.
const PLACES: usize = 32;
/// Of them, those that one asker began.
const SHARE: usize = 8;
/// Of them, those of one domain: whoever asks for the names of another one as well has places left for it.
const DOMAIN_SHARE: usize = 4;
/// Names that wait for a place.
const LINE: usize = 1024;
/// Of them, those of one asker.
const LINE_SHARE: usize = 256;

/// Addresses of a name, with port 0.
pub(crate) type Outcome = Result<Arc<[SocketAddr]>, NameError>;

/// A name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// There is no place for one more.
    #[error("too many lookups are under way")]
    TooMany,
    /// What the system says.
    #[error("{0}")]
    Failed(Arc<str>),
}

type Ask = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Something that is held until a lookup is over.
pub(crate) type Kept = Box<dyn Send>;

/// All lookups of one resolver.
#[derive(Clone)]
pub(crate) struct Names(Arc<Shared>);

struct Shared {
    ask: Box<Ask>,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    lookups: HashMap<String, Lookup>,
    /// Names that nobody asks the system for yet, the oldest first.
    line: VecDeque<String>,
    /// Who began a lookup that is under way, and its domain.
    under_way: Vec<(u64, String)>,
}

/// One name.
struct Lookup {
    answers: Vec<oneshot::Sender<Outcome>>,
    kept: Vec<Kept>,
    /// Who asked while it waits for a place; whoever has one left may begin it.
    askers: Vec<u64>,
    domain: String,
    has_begun: bool,
}

/// Somebody who asks: a client of a connection or of a stage.
#[derive(Clone)]
pub(crate) struct Asker {
    names: Names,
    id: u64,
}

impl Asker {
    /// Asks the system.
    pub(crate) fn new() -> Self {
        static SYSTEM: LazyLock<Names> = LazyLock::new(|| {
            Names::new(|name| Ok((name, 0).to_socket_addrs()?.collect::<Vec<_>>()))
        });
        Self::of(&SYSTEM)
    }

    pub(crate) fn of(names: &Names) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self {
            names: names.clone(),
            id: LAST.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Asks for a name. What is `kept` is dropped when the lookup is over, or will not begin.
    pub(crate) fn ask(&self, name: &str, kept: Option<Kept>) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let mut work = self.names.work();
        if work.join(self.id, name, sender, kept) {
            self.names.begin(&mut work);
        }
        Answer {
            names: self.names.clone(),
            name: name.to_owned(),
            receiver,
        }
    }
}

/// An answer on its way. A name that nobody waits for any more is not asked for, unless it is asked for already.
pub(crate) struct Answer {
    names: Names,
    name: String,
    receiver: oneshot::Receiver<Outcome>,
}

impl Future for Answer {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let answer = Pin::new(&mut self.receiver).poll(context);
        // Who does not answer has ended without a word.
        answer.map(|outcome| outcome.unwrap_or_else(|_| Err(NameError::Failed("no answer".into()))))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.receiver.close();
        self.names.work().leave(&self.name);
    }
}

impl Names {
    pub(crate) fn new(
        ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            ask: Box::new(ask),
            work: Mutex::default(),
        }))
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins what may begin, each on a thread.
    fn begin(&self, work: &mut Work) {
        while let Some((name, place)) = work.next() {
            let (names, asked) = (self.clone(), name.clone());
            let taken = place.clone();
            let thread = thread::Builder::new().name("lookup".to_owned());
            if let Err(error) = thread.spawn(move || names.run(&asked, &taken)) {
                work.settle(&name, &place, &failed(&error));
            }
        }
    }

    fn run(&self, name: &str, place: &(u64, String)) {
        let outcome = match (self.0.ask)(name) {
            Ok(found) => Ok(found.into()),
            Err(error) => failed(&error),
        };
        let mut work = self.work();
        work.settle(name, place, &outcome);
        self.begin(&mut work);
    }
}

fn failed(error: &io::Error) -> Outcome {
    Err(NameError::Failed(error.to_string().into()))
}

impl Work {
    /// Waits for a name together with all who do. Whether there may be something to begin.
    fn join(
        &mut self,
        asker: u64,
        name: &str,
        answer: oneshot::Sender<Outcome>,
        kept: Option<Kept>,
    ) -> bool {
        if let Some(lookup) = self.lookups.get_mut(name) {
            lookup.answers.retain(|answer| !answer.is_closed());
            lookup.answers.push(answer);
            lookup.kept.extend(kept);
            if !lookup.has_begun && !lookup.askers.contains(&asker) {
                lookup.askers.push(asker);
            }
            return !lookup.has_begun;
        }
        let first_asked = |name: &&String| {
            self.lookups
                .get(*name)
                .is_some_and(|lookup| lookup.askers.first() == Some(&asker))
        };
        // Invariant 6.
        if self.line.len() >= LINE || self.line.iter().filter(first_asked).count() >= LINE_SHARE {
            drop(answer.send(Err(NameError::TooMany)));
            return false;
        }
        let lookup = Lookup {
            answers: vec![answer],
            kept: kept.into_iter().collect(),
            askers: vec![asker],
            domain: domain(name),
            has_begun: false,
        };
        self.lookups.insert(name.to_owned(), lookup);
        self.line.push_back(name.to_owned());
        true
    }

    /// Forgets those who went away.
    fn leave(&mut self, name: &str) {
        let Some(lookup) = self.lookups.get_mut(name) else {
            return;
        };
        lookup.answers.retain(|answer| !answer.is_closed());
        if lookup.answers.is_empty() && !lookup.has_begun {
            self.lookups.remove(name);
            self.line.retain(|waiting| waiting != name);
        }
    }

    /// The oldest name that has a place, which is taken.
    fn next(&mut self) -> Option<(String, (u64, String))> {
        if self.under_way.len() >= PLACES {
            return None;
        }
        let taken = |place: &dyn Fn(&(u64, String)) -> bool| {
            self.under_way.iter().filter(|taken| place(taken)).count()
        };
        let found = self.line.iter().enumerate().find_map(|(at, name)| {
            let lookup = self.lookups.get(name)?;
            if taken(&|(_, domain)| *domain == lookup.domain) >= DOMAIN_SHARE {
                return None;
            }
            let mut askers = lookup.askers.iter().copied();
            let asker = askers.find(|asker| taken(&|(of, _)| of == asker) < SHARE)?;
            Some((at, (asker, lookup.domain.clone())))
        });
        let (at, place) = found?;
        let name = self.line.remove(at)?;
        self.lookups.get_mut(&name)?.has_begun = true;
        self.under_way.push(place.clone());
        Some((name, place))
    }

    /// Gives a place back, and tells all who wait.
    fn settle(&mut self, name: &str, place: &(u64, String), outcome: &Outcome) {
        if let Some(at) = self.under_way.iter().position(|taken| taken == place) {
            self.under_way.swap_remove(at);
        }
        if let Some(lookup) = self.lookups.remove(name) {
            for answer in lookup.answers {
                // Who went away has no use for it.
                drop(answer.send(outcome.clone()));
            }
        }
    }
}

/// What is behind one server of names, as far as the name tells: `example.com`, `example.co.uk`.
fn domain(name: &str) -> String {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let mut labels = name.rsplit('.');
    let (top, second) = (labels.next(), labels.next());
    // Short ones below a country are as good as a top one.
    let is_short = top.is_some_and(|top| top.len() == 2) && second.is_some_and(|two| two.len() < 4);
    let third = labels.next().filter(|_| is_short);
    let labels = [third, second, top].into_iter().flatten();
    labels.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;

    use super::*;

    /// A system that answers when it is told to: who is asked, and the word to answer.
    struct Slow {
        names: Names,
        asked: mpsc::Receiver<String>,
        answer: mpsc::Sender<()>,
    }

    fn slow() -> Slow {
        let (tell, asked) = mpsc::channel();
        let (answer, told) = mpsc::channel();
        let told = Mutex::new(told);
        let names = Names::new(move |name: &str| {
            if name.ends_with("quick.test") {
                return Ok(vec!["8.8.8.8:0".parse().unwrap()]);
            }
            tell.send(name.to_owned()).unwrap();
            let word = told.lock().unwrap().recv();
            word.map_err(io::Error::other)?;
            Err(io::Error::other("there is no such name"))
        });
        Slow {
            names,
            asked,
            answer,
        }
    }

    fn under_way(names: &Names) -> usize {
        names.work().under_way.len()
    }

    #[tokio::test]
    async fn who_asks_and_goes_away_makes_no_more_lookups() {
        let slow = slow();
        let asker = Asker::of(&slow.names);
        for at in 0..3000 {
            // The request ends before there is an answer.
            drop(asker.ask(&format!("n{at}.slow.test"), None));
        }
        assert_eq!(under_way(&slow.names), DOMAIN_SHARE);
        assert!(slow.names.work().line.is_empty());
        // A new client of the same stage gets no further: it is the same domain.
        let again = Asker::of(&slow.names);
        let mut waits = again.ask("again.slow.test", None);
        assert!((&mut waits).now_or_never().is_none());
        assert_eq!(under_way(&slow.names), DOMAIN_SHARE);
        // Everybody else is answered at once.
        let other = Asker::of(&slow.names);
        assert_eq!(other.ask("db.quick.test", None).await.unwrap().len(), 1);
        // So is the same one, for another domain.
        assert_eq!(asker.ask("of.quick.test", None).await.unwrap().len(), 1);
        // When one lookup is over, the next one is begun.
        for _ in 0..DOMAIN_SHARE {
            assert_ne!(slow.asked.recv().unwrap(), "again.slow.test");
        }
        slow.answer.send(()).unwrap();
        assert_eq!(slow.asked.recv().unwrap(), "again.slow.test");
        for _ in 0..DOMAIN_SHARE {
            slow.answer.send(()).unwrap();
        }
        let told = waits.await.unwrap_err();
        assert_eq!(told.to_string(), "there is no such name");
    }

    #[tokio::test]
    async fn neither_an_asker_nor_all_of_them_take_more_than_their_places() {
        let slow = slow();
        let asker = Asker::of(&slow.names);
        let mut waiting: Vec<Answer> = (0..100)
            .map(|at| asker.ask(&format!("n.domain{at}.test"), None))
            .collect();
        assert_eq!(under_way(&slow.names), SHARE);
        for at in 0..10 {
            let asker = Asker::of(&slow.names);
            let ask = |more: usize| asker.ask(&format!("n.other{at}-{more}.test"), None);
            waiting.extend((0..10).map(ask));
        }
        assert_eq!(under_way(&slow.names), PLACES);
        let line = slow.names.work().line.len();
        assert_eq!(line, 200 - PLACES);
        drop(waiting);
        assert_eq!(slow.names.work().line.len(), 0);
        assert_eq!(under_way(&slow.names), PLACES);
    }

    #[tokio::test]
    async fn one_name_is_asked_for_once_for_all_who_wait() {
        let slow = slow();
        let (one, other) = (Asker::of(&slow.names), Asker::of(&slow.names));
        let waiting: Vec<Answer> = (0..50)
            .flat_map(|_| [one.ask("a.slow.test", None), other.ask("a.slow.test", None)])
            .collect();
        assert_eq!(under_way(&slow.names), 1);
        slow.answer.send(()).unwrap();
        for answer in waiting {
            assert!(answer.await.is_err());
        }
        assert_eq!(slow.asked.recv().unwrap(), "a.slow.test");
        assert!(slow.asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_what_is_kept_is_given_back() {
        let slow = slow();
        let asker = Asker::of(&slow.names);
        let held = Arc::new(());
        let ask = |at: usize| asker.ask(&format!("n{at}.slow.test"), Some(Box::new(held.clone())));
        let mut waiting: Vec<Answer> = (0..DOMAIN_SHARE + LINE_SHARE).map(ask).collect();
        let mut beyond = ask(9999);
        assert_eq!((&mut beyond).now_or_never(), Some(Err(NameError::TooMany)));
        assert_eq!(Arc::strong_count(&held), 1 + DOMAIN_SHARE + LINE_SHARE);
        waiting.truncate(DOMAIN_SHARE);
        assert_eq!(Arc::strong_count(&held), 1 + DOMAIN_SHARE);
        waiting.clear();
        // They are under way.
        assert_eq!(Arc::strong_count(&held), 1 + DOMAIN_SHARE);
    }

    #[test]
    fn names_of_one_domain_are_told() {
        for (name, expected) in [
            ("a.b.Slow.example.com.", "example.com"),
            ("a.example.co.uk", "example.co.uk"),
            ("a.example.de", "example.de"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(domain(name), expected);
        }
    }
}
