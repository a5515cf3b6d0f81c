//! `crossdock audit`: who did what.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    Failure,
    arguments::AuditArguments,
    folders,
    output::{Output, table},
    style,
};
use crate::app::{self, AuditEntry, AuditFilter, AuditPage, DeadLetterDocument};

/// Longer texts are cut in the table; `--json` has them whole.
const MAX_TARGET: usize = 60;
const MAX_DETAIL: usize = 80;

pub(super) fn show(arguments: AuditArguments, output: Output) -> Result<u8, Failure> {
    let folder = folders::existing(arguments.state.state)?;
    let since_ms = arguments.since.map_or(0, |since| {
        // Before 1970 there was nothing.
        u64::try_from(since.as_millisecond()).unwrap_or(0)
    });
    let filter = AuditFilter {
        flow: arguments.flow,
        plugin: arguments.plugin,
        actions: arguments.actions,
        since_ms,
        limit: arguments.limit,
    };
    let page = app::audit_log(&folder, &filter)?;
    if arguments.json {
        output.print_json(&List {
            ok: true,
            entries: &page.entries,
            damaged: page.damaged,
        });
    } else {
        output.print(&listed(&page));
    }
    if page.damaged > 0 {
        let lines = style::counted(page.damaged, "line");
        let place = style::path(&folder.join("audit"));
        output.tell(&format!(
            "warning: {lines} in {place} cannot be read: cut by a crash, or changed by somebody"
        ));
    }
    Ok(0)
}

#[derive(Serialize)]
struct List<'a> {
    ok: bool,
    entries: &'a [AuditEntry],
    damaged: u64,
}

fn listed(page: &AuditPage) -> String {
    if page.entries.is_empty() {
        return "nothing in the audit log\n".to_owned();
    }
    let rows: Vec<Vec<String>> = page.entries.iter().map(row).collect();
    let header = [
        "when", "action", "by", "flow", "stage", "plugin", "what", "count",
    ];
    table(&header, header.len() - 1, &rows)
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let mut plugin = entry.plugin.clone();
    if !entry.version.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(plugin, " {}", entry.version);
    }
    let target = style::cut(&entry.target, MAX_TARGET);
    let detail = style::cut(&entry.detail, MAX_DETAIL);
    let what = match (target.is_empty(), detail.is_empty()) {
        (false, false) => format!("{target}: {detail}"),
        _ => format!("{target}{detail}"),
    };
    vec![
        DeadLetterDocument::time(entry.at_ms),
        entry.action.to_string(),
        entry.actor.clone(),
        entry.flow.clone(),
        entry.stage.clone(),
        plugin,
        what,
        if entry.count == 1 {
            String::new()
        } else {
            style::count(entry.count)
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Action;

    #[test]
    fn the_log_is_a_table() {
        let mut denied = AuditEntry::new(Action::Denied, "plugin")
            .flow("prices")
            .stage("shop")
            .plugin("csv", "1.2.0", "sha256:00")
            .target("url http://169.254.169.254");
        denied.count = 12_345;
        let granted = AuditEntry::new(Action::GrantChanged, "cli:ann")
            .flow("prices")
            .stage("shop")
            .detail("+ http: https://api.example.com/");
        let entries = [denied, granted].map(|entry| AuditEntry {
            at_ms: 1_700_000_000_000,
            ..entry
        });
        let page = AuditPage {
            entries: entries.into(),
            damaged: 0,
        };
        insta::assert_snapshot!(listed(&page));
        assert_eq!(listed(&AuditPage::default()), "nothing in the audit log\n");
    }
}
