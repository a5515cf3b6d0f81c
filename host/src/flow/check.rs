//! What the schema cannot say: names that clash, limits that contradict each other, settings without effect.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    egress::{GrantError, TcpGrant, UrlGrant},
    finding::Finding,
    limits::limits,
    place::{Places, child},
    plugin_ref::{is_channel, is_path, stage_name},
    quantity::Size,
    spec::{FlowSpec, GrantsSpec, LimitsSpec},
};

/// A batch is one buffer that crosses into the sandbox: larger ones only make memory tight.
pub const MAX_BATCH: Size = Size(512 << 20);
/// No component starts in less.
pub const MIN_MEMORY: Size = Size(1 << 20);
/// The most a component can address.
pub const MAX_MEMORY: Size = Size(4 << 30);
/// Snapshots are written with every checkpoint.
pub const MAX_SNAPSHOT: Size = Size(64 << 20);
/// Each instance holds the batch that it gets and the one that it makes, at least.
const BATCHES_IN_MEMORY: u64 = 4;

/// All findings about a spec that has passed its schema.
pub fn findings(spec: &FlowSpec, places: &Places) -> Vec<Finding> {
    let mut checker = Checker {
        places,
        findings: Vec::new(),
    };
    let stages = stages(spec);
    checker.names(&stages);
    for stage in &stages {
        checker.plugin(stage);
        checker.limits(stage, spec.batch.bytes);
        checker.grants(stage);
        checker.streams(stage);
    }
    checker.bounds(spec);
    checker.findings
}

/// What is checked of every stage.
struct Stage<'a> {
    pointer: String,
    name: String,
    plugin: &'a str,
    limits: &'a LimitsSpec,
    grants: &'a GrantsSpec,
    streams: Option<&'a [String]>,
}

fn stages(spec: &FlowSpec) -> Vec<Stage<'_>> {
    let source = &spec.source;
    let mut stages = vec![Stage {
        pointer: "/source".to_owned(),
        name: stage_name(source.name.as_deref(), &source.plugin),
        plugin: &source.plugin,
        limits: &source.limits,
        grants: &source.grants,
        streams: None,
    }];
    stages.extend(
        spec.transformers
            .iter()
            .enumerate()
            .map(|(at, stage)| Stage {
                pointer: child("/transformers", &at.to_string()),
                name: stage_name(stage.name.as_deref(), &stage.plugin),
                plugin: &stage.plugin,
                limits: &stage.limits,
                grants: &stage.grants,
                streams: None,
            }),
    );
    stages.extend(spec.sinks.iter().enumerate().map(|(at, stage)| Stage {
        pointer: child("/sinks", &at.to_string()),
        name: stage_name(stage.name.as_deref(), &stage.plugin),
        plugin: &stage.plugin,
        limits: &stage.limits,
        grants: &stage.grants,
        streams: stage.streams.as_deref(),
    }));
    stages
}

struct Checker<'a> {
    places: &'a Places,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn push(&mut self, finding: Finding, pointer: &str) {
        // What is not written has no place of its own: the key of what it would be in stands for it.
        let written = self.places.holds(pointer);
        let location = if written {
            self.places.locate(pointer)
        } else {
            self.places.locate_key(pointer)
        };
        self.findings.push(finding.at(location));
    }

    fn names(&mut self, stages: &[Stage<'_>]) {
        let mut first: BTreeMap<&str, &Stage<'_>> = BTreeMap::new();
        for stage in stages {
            let Some(other) = first.get(stage.name.as_str()) else {
                first.insert(&stage.name, stage);
                continue;
            };
            let line = self
                .places
                .locate(&format!("{}/plugin", other.pointer))
                .map(|at| at.line);
            let line = line
                .map(|line| format!(" (line {line})"))
                .unwrap_or_default();
            let message = format!(
                "two stages have the name `{}`: this one and the one before{line}",
                stage.name
            );
            let advice = format!("give one of them another name: `name: {}-2`", stage.name);
            let pointer = self.name_pointer(stage);
            self.push(
                Finding::error("flow.duplicate-name", message).advice(advice),
                &pointer,
            );
        }
    }

    /// The name where it is written, else the plugin that it comes from.
    fn name_pointer(&self, stage: &Stage<'_>) -> String {
        let name = format!("{}/name", stage.pointer);
        if self.places.holds(&name) {
            name
        } else {
            format!("{}/plugin", stage.pointer)
        }
    }

    fn plugin(&mut self, stage: &Stage<'_>) {
        if is_path(stage.plugin) {
            return;
        }
        let usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let (name, version) = match stage.plugin.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (stage.plugin, None),
        };
        let (message, advice) = if name.is_empty() || !name.chars().all(usable) {
            (
                format!(
                    "`{}` is neither the name of a plugin nor a path",
                    stage.plugin
                ),
                "a name has lower-case letters, digits and `-`; a path ends with `.wasm`",
            )
        } else if let Some(version) = version
            && !is_channel(version)
            && semver::Version::parse(version).is_err()
            && let Err(error) = semver::VersionReq::parse(version)
        {
            (
                format!(
                    "`{version}` is neither a version, a range of versions nor a channel: {error}"
                ),
                "write `akeneo@1.2.0` for one version, `akeneo@^1.2` for it and compatible newer ones, `akeneo@beta` for a \
                 channel of its catalogue",
            )
        } else {
            return;
        };
        let finding = Finding::error("flow.bad-plugin", message).advice(advice);
        self.push(finding, &format!("{}/plugin", stage.pointer));
    }

    fn limits(&mut self, stage: &Stage<'_>, batch: Size) {
        let limits = limits(stage.limits);
        let memory = Size(limits.memory);
        let at = |field: &str| format!("{}/limits/{field}", stage.pointer);
        if memory < MIN_MEMORY || memory > MAX_MEMORY {
            let message =
                format!("`memory` must be from {MIN_MEMORY} to {MAX_MEMORY}, not {memory}");
            self.push(Finding::error("flow.bad-limit", message), &at("memory"));
        } else if limits.recycle_after_memory >= limits.memory {
            let message = format!(
                "`recycle-after-memory` ({}) is not below `memory` ({memory}): the instance would be stopped first",
                Size(limits.recycle_after_memory)
            );
            let advice = "leave it out for three quarters of `memory`";
            self.push(
                Finding::error("flow.bad-limit", message).advice(advice),
                &at("recycle-after-memory"),
            );
        } else if limits.memory < batch.0.saturating_mul(BATCHES_IN_MEMORY) {
            let message = format!("`memory` ({memory}) is tight for batches of {batch}");
            let advice = format!(
                "an instance holds several batches at a time: at least {}",
                Size(batch.0.saturating_mul(BATCHES_IN_MEMORY))
            );
            self.push(
                Finding::warning("flow.tight-memory", message).advice(advice),
                &at("memory"),
            );
        }
        let positive = [
            ("call-time", !limits.call_time.is_zero()),
            ("open-time", !limits.open_time.is_zero()),
            ("commit-time", !limits.commit_time.is_zero()),
            ("wait-time", !limits.wait_time.is_zero()),
            ("output", limits.output > 0),
            ("snapshot", limits.snapshot > 0),
            ("log-bytes", limits.log_bytes > 0),
        ];
        for (field, _) in positive.into_iter().filter(|(_, good)| !good) {
            let message = format!("`{field}` must not be 0");
            self.push(Finding::error("flow.bad-limit", message), &at(field));
        }
        if limits.snapshot > MAX_SNAPSHOT.0 {
            let message = format!("`snapshot` must be at most {MAX_SNAPSHOT}");
            self.push(Finding::error("flow.bad-limit", message), &at("snapshot"));
        }
    }

    fn grants(&mut self, stage: &Stage<'_>) {
        let lists = [
            ("files/read", &stage.grants.files.read),
            ("files/write", &stage.grants.files.write),
            ("connections", &stage.grants.connections),
            ("tables", &stage.grants.tables),
            ("http", &stage.grants.http),
            ("tcp", &stage.grants.tcp),
        ];
        for (field, list) in lists {
            self.repeated(
                &format!("{}/grants/{field}", stage.pointer),
                list,
                "granted",
            );
        }
        self.network(stage);
        let quota = format!("{}/grants/files/quota", stage.pointer);
        if stage.grants.files.quota.is_some() && stage.grants.files.write.is_empty() {
            let finding = Finding::warning("flow.no-effect", "`quota` has no effect")
                .advice("it is for what is written, and no folder is granted under `write`");
            self.push(finding, &quota);
        }
    }

    /// URLs and hosts that can be read as grants.
    fn network(&mut self, stage: &Stage<'_>) {
        let GrantsSpec {
            http,
            tcp,
            allow_private,
            ..
        } = stage.grants;
        let wrong_urls = http.iter().map(|text| text.parse::<UrlGrant>().err());
        let wrong_hosts = tcp.iter().map(|text| text.parse::<TcpGrant>().err());
        let wrong: Vec<(String, GrantError)> = wrong_urls
            .enumerate()
            .map(|(at, wrong)| (format!("http/{at}"), wrong))
            .chain(
                wrong_hosts
                    .enumerate()
                    .map(|(at, wrong)| (format!("tcp/{at}"), wrong)),
            )
            .filter_map(|(field, wrong)| Some((field, wrong?)))
            .collect();
        for (field, wrong) in wrong {
            let pointer = format!("{}/grants/{field}", stage.pointer);
            self.push(
                Finding::error("flow.bad-grant", wrong.to_string()),
                &pointer,
            );
        }
        if *allow_private && http.is_empty() && tcp.is_empty() {
            let finding = Finding::warning("flow.no-effect", "`allow-private` has no effect here")
                .advice("it is for names under `http` and `tcp`; a connection has its own");
            self.push(finding, &format!("{}/grants/allow-private", stage.pointer));
        }
    }

    fn streams(&mut self, stage: &Stage<'_>) {
        let Some(streams) = stage.streams else { return };
        let pointer = format!("{}/streams", stage.pointer);
        if streams.is_empty() {
            let message = format!(
                "the sink `{}` takes no stream: nothing would reach it",
                stage.name
            );
            let advice = "name its streams, leave `streams` out for all, or remove the sink";
            self.push(
                Finding::error("flow.no-streams", message).advice(advice),
                &pointer,
            );
        }
        self.repeated(&pointer, streams, "named");
    }

    fn repeated(&mut self, pointer: &str, list: &[String], done: &str) {
        let mut seen = BTreeSet::new();
        for (at, item) in list.iter().enumerate() {
            if !seen.insert(item) {
                let finding =
                    Finding::warning("flow.repeated", format!("`{item}` is {done} twice"));
                self.push(
                    finding.advice("remove one of them"),
                    &child(pointer, &at.to_string()),
                );
            }
        }
    }

    /// Bounds of the whole flow.
    fn bounds(&mut self, spec: &FlowSpec) {
        let (batch, flight) = (&spec.batch, &spec.in_flight);
        if batch.bytes.0 == 0 || batch.bytes > MAX_BATCH {
            let message = format!(
                "`batch.bytes` must be from 1B to {MAX_BATCH}, not {}",
                batch.bytes
            );
            self.push(Finding::error("flow.bad-limit", message), "/batch/bytes");
        } else if batch.bytes > flight.bytes {
            let message = format!(
                "a batch ({}) is larger than all that may be in flight ({})",
                batch.bytes, flight.bytes
            );
            let finding = Finding::error("flow.bad-limit", message)
                .advice("lower `batch.bytes` or raise `in-flight.bytes` to several batches");
            let pointer = if self.places.holds("/in-flight/bytes") {
                "/in-flight/bytes"
            } else {
                "/batch/bytes"
            };
            self.push(finding, pointer);
        }
        self.not_zero("batch.wait", batch.wait.0, "/batch/wait");
        self.not_zero(
            "checkpoint.every",
            spec.checkpoint.every.0,
            "/checkpoint/every",
        );
        self.not_zero("retry.initial", spec.retry.initial.0, "/retry/initial");
        if u64::from(batch.records) > spec.checkpoint.records {
            let message = format!(
                "a batch ({} records) is larger than what is between two checkpoints ({} records)",
                batch.records, spec.checkpoint.records
            );
            let finding = Finding::warning("flow.slow-checkpoints", message).advice(
                "every batch ends with a checkpoint, which is slow: raise `checkpoint.records`",
            );
            self.push(finding, "/checkpoint/records");
        }
        if spec.retry.initial > spec.retry.max {
            let message = format!(
                "the first wait (`retry.initial`, {}) is longer than the longest (`retry.max`, {})",
                spec.retry.initial, spec.retry.max
            );
            self.push(Finding::error("flow.bad-limit", message), "/retry/initial");
        }
        if spec.dead_letters.max_share.is_none() && self.places.holds("/dead-letters/min-records") {
            let finding =
                Finding::warning("flow.no-effect", "`dead-letters.min-records` has no effect")
                    .advice("it belongs to `max-share`, which is not set");
            self.push(finding, "/dead-letters/min-records");
        }
    }

    fn not_zero(&mut self, field: &str, time: Duration, pointer: &str) {
        if time.is_zero() {
            self.push(
                Finding::error("flow.bad-limit", format!("`{field}` must not be 0")),
                pointer,
            );
        }
    }
}
