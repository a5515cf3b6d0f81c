//! Runs that are asked for something while records flow.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::memory::{Trouble, World, many, same};
use crate::engine::{
    run::{Command, Control, RunError, Summary},
    swap::{Candidate, Probation, SwapRequest, SwapStatus},
};

/// A run with somebody who can ask it for something.
pub(super) struct Live<'a> {
    pub(super) world: &'a World,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) pause: watch::Sender<bool>,
}

impl Live<'_> {
    pub(super) async fn ask(&self, request: SwapRequest) {
        let _ = self.commands.send(Command::Swap(Box::new(request))).await;
    }

    /// Asks for a swap and waits for its end. `None`: the run was over before the switch.
    pub(super) async fn swap(&self, request: SwapRequest) -> Option<SwapStatus> {
        let mut status = request.status.subscribe();
        self.ask(request).await;
        loop {
            if status.borrow_and_update().state.is_final() {
                return Some(status.borrow().clone());
            }
            if status.changed().await.is_err() {
                let last = status.borrow().clone();
                return last.state.is_final().then_some(last);
            }
        }
    }

    pub(super) async fn swap_to(&self, candidate: Candidate) -> SwapStatus {
        self.swap(request(candidate))
            .await
            .expect("the run goes on")
    }

    pub(super) async fn until(&self, condition: impl Fn(&crate::engine::run::Progress) -> bool) {
        let mut progress = self.world.progress.subscribe();
        let _ = progress.wait_for(|p| condition(p)).await;
    }

    pub(super) fn candidate(&self, stage: &'static str, trouble: Trouble) -> Candidate {
        let version = self.world.version(stage, "2", trouble);
        match stage {
            "source" => Candidate::Source(version),
            "map" => Candidate::Transformer(version),
            _ => Candidate::Sink(version),
        }
    }
}

pub(super) fn request(candidate: Candidate) -> SwapRequest {
    SwapRequest {
        stage: candidate.identity().plugin.as_str().into(),
        candidate,
        shadow: None,
        probation: Probation {
            time: Duration::from_millis(2),
            max_fault_share: 0.0,
        },
        open_time: Duration::from_secs(5),
        rewindable: true,
        cancel: CancellationToken::new(),
        status: watch::Sender::default(),
    }
}

/// Runs a world while somebody does something to it.
pub(super) async fn run_while<T>(
    world: &World,
    doing: impl AsyncFnOnce(&Live<'_>) -> T,
) -> (Result<Summary, RunError>, T) {
    let (commands, receiver) = mpsc::channel(4);
    let (pause, paused) = watch::channel(false);
    let control = Control {
        stop: world.stop.clone(),
        pause: paused,
        commands: receiver,
        progress: world.progress.clone(),
    };
    let live = Live {
        world,
        commands,
        pause,
    };
    tokio::join!(world.run_with(control), doing(&live))
}

/// Records flow for as long as somebody does something; then the input ends.
pub(super) fn endless(stateful: bool) -> World {
    World {
        records: many(1 << 40),
        stateful,
        settings: crate::engine::run::Settings {
            checkpoint_records: 50,
            ..World::default().settings
        },
        ..World::default()
    }
}

/// Whatever happened: the output is that of a run in which nothing happened, as far as it got.
pub(super) fn undisturbed(world: &World, summary: &Summary, context: &str) {
    let visible = world.visible("sink");
    let expected: Vec<String> = (0..visible.len())
        .map(|n| {
            if world.stateful {
                format!("{}:{n}", n + 1)
            } else {
                n.to_string()
            }
        })
        .collect();
    same(&visible, &expected, context);
    let total = summary.ledger.total();
    assert!(summary.ledger.balances(), "{context}: {total:?}");
    assert_eq!(total.written, visible.len() as u64, "{context}");
    assert_eq!(total.read, visible.len() as u64, "{context}");
    assert_eq!(total.dead, 0, "{context}");
    assert_eq!(summary.records, total.read, "{context}");
}
