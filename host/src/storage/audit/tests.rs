//! The audit log: whole lines, bounded, whatever plugins and crashes do.

use std::{
    fs,
    io::Write as _,
    time::{Duration, Instant},
};

use super::*;

fn entry(action: Action, target: &str) -> AuditEntry {
    AuditEntry::new(action, "host")
        .flow("prices")
        .target(target)
}

fn denied(target: &str) -> AuditEntry {
    entry(Action::Denied, target)
        .stage("shop")
        .plugin("evil", "1.0.0", "sha256:00")
}

fn all(state: &Path) -> AuditPage {
    let filter = AuditFilter {
        limit: usize::MAX,
        ..AuditFilter::default()
    };
    read(state, &filter).unwrap()
}

#[test]
fn actions_have_one_name() {
    for action in Action::ALL {
        assert_eq!(
            serde_json::to_value(action).unwrap(),
            action.as_str(),
            "{action:?}"
        );
        assert_eq!(action.as_str().parse(), Ok(action));
    }
    let newer: Action = serde_json::from_str("\"moon-landed\"").unwrap();
    assert_eq!(newer, Action::Unknown);
    assert!("nothing".parse::<Action>().unwrap_err().contains("denied"));
}

#[test]
fn what_was_recorded_is_read_by_others_while_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(all(dir.path()), AuditPage::default());
    let audit = Audit::open(dir.path()).unwrap();
    let first = entry(Action::FlowStarted, "");
    let second = entry(Action::SecretSet, "shop-key").detail("a\u{1b}[2J\nline");
    let (log, another) = (audit.clone(), Audit::open(dir.path()).unwrap());
    log.record(first.clone());
    log.flush().unwrap();
    another.record(second.clone());
    another.flush().unwrap();
    let found = all(dir.path());
    assert_eq!((found.entries.len(), found.damaged), (2, 0));
    assert_eq!(found.entries[0], first);
    assert_eq!(found.entries[1].detail, "a[2Jline");
    let of = |filter: AuditFilter| read(dir.path(), &filter).unwrap().entries.len();
    let no = || AuditFilter::default();
    assert_eq!(
        of(AuditFilter {
            flow: Some("prices".into()),
            ..no()
        }),
        2
    );
    assert_eq!(
        of(AuditFilter {
            flow: Some("other".into()),
            ..no()
        }),
        0
    );
    assert_eq!(
        of(AuditFilter {
            plugin: Some("csv".into()),
            ..no()
        }),
        0
    );
    assert_eq!(
        of(AuditFilter {
            actions: vec![Action::SecretSet],
            ..no()
        }),
        1
    );
    assert_eq!(
        of(AuditFilter {
            since_ms: u64::MAX,
            ..no()
        }),
        0
    );
    assert_eq!(of(AuditFilter { limit: 1, ..no() }), 1);
    Audit::off().record(second);
    Audit::off().flush().unwrap();
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    audit.record(denied("url http://a"));
    audit.record(entry(Action::Applied, ""));
    drop(audit);
    let mut files = 0;
    for file in fs::read_dir(dir.path().join("audit")).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        files += 1;
    }
    assert_eq!(files, 3);
}

#[test]
fn a_flood_of_denials_is_a_few_lines_and_none_is_lost() {
    const MANY: u64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    let begun = Instant::now();
    for at in 0..MANY {
        // Half of them are the same, the others differ each time.
        let target = if at % 2 == 0 {
            "url http://169.254.169.254".to_owned()
        } else {
            format!("url http://{at}.example.com")
        };
        audit.record(denied(&target));
    }
    println!("{MANY} denials: {:?}", begun.elapsed());
    audit.record(entry(Action::GrantChanged, "after the flood"));
    drop(audit);
    let found = all(dir.path());
    let counted: u64 = found
        .entries
        .iter()
        .filter(|one| one.action == Action::Denied)
        .map(|one| one.count)
        .sum();
    assert_eq!(counted, MANY);
    assert!(found.entries.len() < 600, "{}", found.entries.len());
    let last = found.entries.last().unwrap();
    let more = found.entries.iter().filter(|one| one.target == "(more)");
    assert!(more.map(|one| one.count).sum::<u64>() > MANY / 3);
    assert!(
        found
            .entries
            .iter()
            .any(|one| one.target == "after the flood"),
        "{last:?}"
    );
}

#[test]
fn counts_are_written_at_growing_distances_while_it_goes_on() {
    let mut repeats = queue::Repeats::default();
    let start = Instant::now();
    assert!(repeats.note(denied("a"), start).is_some());
    assert!(repeats.note(denied("a"), start).is_none());
    assert!(repeats.note(denied("a"), start).is_none());
    let sums = repeats.sum_up(start);
    assert_eq!((sums.len(), sums[0].count), (1, 2));
    // It went on, so it is still known and counted.
    assert!(repeats.note(denied("a"), start).is_none());
    assert_eq!(repeats.sum_up(start)[0].count, 1);
    // It stopped, so it is told anew when it begins again.
    assert!(repeats.sum_up(start).is_empty());
    assert!(
        repeats
            .note(denied("a"), start + Duration::from_secs(1))
            .is_some()
    );
}

#[test]
fn denials_never_push_out_what_operators_did() {
    let dir = tempfile::tempdir().unwrap();
    let files = Files::with_size(folder(dir.path()), 2_000).unwrap();
    let write = |entry: AuditEntry| files.append(&mut [entry].into()).unwrap();
    write(entry(Action::GrantChanged, "the first"));
    for at in 0..200 {
        write(denied(&format!("url http://{at}.example.com")));
    }
    let found = all(dir.path()).entries;
    assert_eq!(found[0].target, "the first");
    assert!(found.len() < 100, "{}", found.len());
    assert_eq!(found.last().unwrap().target, "url http://199.example.com");
    // The oldest actions go in the end, too.
    for at in 0..200 {
        write(entry(Action::FlowStarted, &at.to_string()));
    }
    let names = fs::read_dir(folder(dir.path())).unwrap();
    assert_eq!(names.count(), 8 + 4 + 1);
    let found = all(dir.path()).entries;
    assert!(found.iter().all(|one| one.target != "the first"));
    assert!(found.iter().any(|one| one.target == "199"));
}

#[test]
fn a_cut_line_costs_itself_only() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    audit.record(entry(Action::Applied, "before"));
    audit.flush().unwrap();
    let file = folder(dir.path()).join("actions.jsonl");
    let mut cut = fs::OpenOptions::new().append(true).open(&file).unwrap();
    cut.write_all(b"{\"at\":\"2026-").unwrap();
    audit.record(entry(Action::Applied, "after"));
    audit.flush().unwrap();
    let found = all(dir.path());
    let targets: Vec<_> = found
        .entries
        .iter()
        .map(|one| one.target.as_str())
        .collect();
    assert_eq!((targets, found.damaged), (vec!["before", "after"], 1));
}

#[test]
fn what_the_disk_refuses_is_said_and_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path()).unwrap();
    let folder = folder(dir.path());
    // A folder in the place of the file: it cannot be written.
    fs::create_dir(folder.join("actions.jsonl")).unwrap();
    audit.record(entry(Action::Applied, "x"));
    let error = audit.flush().unwrap_err();
    assert!(error.to_string().contains("audit"), "{error}");
    fs::remove_dir(folder.join("actions.jsonl")).unwrap();
    audit.record(entry(Action::Applied, "y"));
    drop(audit);
    let found = all(dir.path()).entries;
    let targets: Vec<_> = found.iter().map(|one| one.target.as_str()).collect();
    assert_eq!(targets, ["x", "y"]);
}
