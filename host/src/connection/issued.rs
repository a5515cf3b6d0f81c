//! The tokens that were issued and may still be good, and how often there may be a new one, so that these are few.
//!
//! A plugin can make a server answer with 401 as often as it likes, and each of them asks for a new token. Were that
//! granted, it would be a storm on the token endpoint, and old tokens would be forgotten while they are good.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::secret::Secret;

/// Whoever was refused is not asked for again before this time; it doubles with each further refusal. Servers lock users
/// out who try a wrong password too often.
pub(super) const MIN_QUIET: Duration = Duration::from_secs(30);
/// The longest of these times.
pub(super) const MAX_QUIET: Duration = Duration::from_mins(15);
/// How long a token lives when the server does not say, and a refresh token that has a successor at most: servers that
/// change them let the former one die.
const ASSUMED: Duration = Duration::from_hours(8);
/// Servers let some tokens live longer than they say: so much, or as long again when that is shorter.
const MAX_SLACK: Duration = Duration::from_hours(1);
const MIN_SLACK: Duration = Duration::from_mins(1);
/// Renewals that may follow each other at once.
const BURST: u32 = 8;
/// Renewals within the time for which a token is kept, beyond the burst.
const SPREAD: u32 = 120;
/// The shortest time between two renewals in the long run, whatever the server says.
const MIN_PAUSE: Duration = Duration::from_secs(5);
/// Secrets that are remembered, whatever happens. [`Pace`] keeps to far fewer, but where tokens live for seconds.
const MAX_ISSUED: usize = 2048;

/// Tokens of both kinds, each until it can be good no more.
#[derive(Default)]
pub(super) struct Issued {
    /// With the end of the time for which each is kept.
    all: VecDeque<(Secret, Instant)>,
    /// The refresh token in use, which is kept for as long as that.
    refresh: Option<Secret>,
}

impl Issued {
    /// Those that may be good.
    pub(super) fn secrets(&mut self) -> impl Iterator<Item = &Secret> {
        let now = Instant::now();
        self.all.retain(|(_, until)| now < *until);
        self.all
            .iter()
            .map(|(secret, _)| secret)
            .chain(&self.refresh)
    }

    /// Keeps a token that lives so long, and says for how long it is kept.
    pub(super) fn keep(&mut self, secret: Secret, life: Option<Duration>) -> Duration {
        let life = life.unwrap_or(ASSUMED);
        self.put(
            secret,
            life.saturating_add(life.clamp(MIN_SLACK, MAX_SLACK)),
        )
    }

    /// Keeps a refresh token that lives so long. The former one is kept for what is left of its time.
    pub(super) fn keep_refresh(&mut self, secret: Secret, life: Option<Duration>) -> Duration {
        self.refresh = Some(secret.clone());
        self.keep(secret, Some(life.unwrap_or(ASSUMED).min(ASSUMED)))
    }

    fn put(&mut self, secret: Secret, kept: Duration) -> Duration {
        // A server may give the same one again.
        self.all
            .retain(|(known, _)| known.expose() != secret.expose());
        let now = Instant::now();
        // A time beyond all clocks is as good as one of ten years.
        let until = now.checked_add(kept);
        let far = || now + Duration::from_hours(24 * 3650);
        self.all.push_back((secret, until.unwrap_or_else(far)));
        if self.all.len() > MAX_ISSUED {
            self.all.pop_front();
        }
        kept
    }
}

/// How often there may be a new token.
#[derive(Default)]
pub(super) struct Pace {
    /// When the renewals so far would have been done, had they been spread out.
    next: Option<Instant>,
    /// The time between two of them then.
    pause: Duration,
    /// The last new token that was refused like the one before it.
    useless: Option<Useless>,
}

struct Useless {
    at: Instant,
    generation: u64,
    /// Until it has passed, a refused token is no reason for a new one.
    quiet: Duration,
}

impl Pace {
    /// Whether there may be one now. `is_refused`: because the server has refused the one at hand, and not because its time
    /// is over.
    pub(super) fn allows(&self, is_refused: bool) -> bool {
        let is_quiet = |useless: &Useless| useless.at.elapsed() < useless.quiet;
        if is_refused && self.useless.as_ref().is_some_and(is_quiet) {
            return false;
        }
        let ahead = self
            .next
            .map(|next| next.saturating_duration_since(Instant::now()));
        ahead.is_none_or(|ahead| ahead <= self.pause * (BURST - 1))
    }

    /// There was one, which is kept so long and lives so long.
    pub(super) fn renewed(&mut self, kept: Duration, life: Option<Duration>) {
        // Tokens that live for a short time are renewed as often as that.
        let half = life.map_or(Duration::MAX, |life| life / 2);
        self.pause = (kept / SPREAD).min(half).max(MIN_PAUSE);
        let now = Instant::now();
        let from = self.next.map_or(now, |next| next.max(now));
        self.next = from.checked_add(self.pause);
    }

    /// That one was refused, too.
    pub(super) fn was_useless(&mut self, generation: u64) {
        let quiet = match &self.useless {
            Some(before) if before.generation == generation => return,
            Some(before) if before.at.elapsed() < before.quiet + MAX_QUIET => {
                (before.quiet * 2).clamp(MIN_QUIET, MAX_QUIET)
            }
            _ => MIN_QUIET,
        };
        let at = Instant::now();
        self.useless = Some(Useless {
            at,
            generation,
            quiet,
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Renews whenever it is allowed, each second for so long, and gives how often.
    async fn greedy(pace: &mut Pace, issued: &mut Issued, life: Option<u64>, hours: u64) -> usize {
        let life = life.map(Duration::from_secs);
        let mut count = 0;
        for second in 0..hours * 3600 {
            while pace.allows(true) {
                let kept = issued.keep(Secret::new(format!("token-{second}-{count}")), life);
                pace.renewed(kept, life);
                count += 1;
            }
            advance(Duration::from_secs(1)).await;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn no_token_is_forgotten_while_it_may_be_good() {
        for life in [Some(300), Some(3600), Some(86_400), None] {
            let (mut pace, mut issued) = (Pace::default(), Issued::default());
            issued.keep(Secret::new("the-first"), life.map(Duration::from_secs));
            let count = greedy(&mut pace, &mut issued, life, 2).await;
            // Some at once, then no more than one in the pause.
            let kept = life.map_or(9 * 3600, |life| life + life.min(3600));
            let pause = (kept / 120).min(life.unwrap_or(u64::MAX) / 2).max(5);
            let most = 8 + 7200 / usize::try_from(pause).unwrap() + 1;
            assert!((9..=most).contains(&count), "{life:?}: {count} of {most}");
            let all: Vec<_> = issued.secrets().map(Secret::expose).collect();
            assert!(all.len() <= 130, "{life:?}: {}", all.len());
            assert_eq!(all.contains(&"the-first"), kept > 7200, "{life:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_lives_for_a_short_time_is_renewed_in_time() {
        for life in [15, 60, 600] {
            let life = Duration::from_secs(life);
            let (mut pace, mut issued) = (Pace::default(), Issued::default());
            for at in 0..200 {
                assert!(pace.allows(false), "{life:?}: {at}");
                let kept = issued.keep(Secret::new(format!("token-{at}")), Some(life));
                let refresh = issued.keep_refresh(Secret::new(format!("refresh-{at}")), None);
                pace.renewed(kept.max(refresh), Some(life));
                advance(life * 9 / 10).await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_was_of_no_use_is_not_repeated_for_a_while() {
        let mut pace = Pace::default();
        let second = Duration::from_secs(1);
        for (generation, quiet) in [
            (1, 30),
            (2, 60),
            (3, 120),
            (4, 240),
            (5, 480),
            (6, 900),
            (7, 900),
        ] {
            assert!(pace.allows(true));
            pace.was_useless(generation);
            advance(second * (quiet - 1)).await;
            // The same one counts once.
            pace.was_useless(generation);
            assert!(!pace.allows(true) && pace.allows(false), "{quiet}");
            advance(second).await;
        }
        advance(MAX_QUIET).await;
        pace.was_useless(8);
        advance(second * 30).await;
        assert!(pace.allows(true));
    }
}
