//! `/api/v1/metrics`: numbers for a monitoring system, in the text format of Prometheus.
//!
//! Labels are bounded: flows and stages come from files, states and ways are the host's own words, and the names that a
//! plugin gives its numbers are at most 128 a stage. Streams, URLs and paths, of which a plugin can make any number, are
//! no labels; what was denied where is in the audit log.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::{
    Daemon, Denial, FlowState, FlowStatus, Metric, MetricValue, StreamCounts, SwapView,
};

/// Version of the text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number of a flow.
type OfFlow = fn(&FlowStatus) -> Option<f64>;

/// One of the counts of a flow.
type OfCounts = fn(StreamCounts) -> u64;

pub(super) fn router() -> OpenApiRouter<Daemon> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Numbers of the flows, of their plugins, and of what plugins were denied, in the text format of Prometheus.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn metrics(State(daemon): State<Daemon>) -> Response {
    let text = render(
        &daemon.flows(),
        &daemon.swaps(),
        &daemon.metrics(),
        &daemon.denials(),
    );
    ([(CONTENT_TYPE, FORMAT)], text).into_response()
}

/// The text that is being written.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Begins a metric.
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One number of it.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for letter in text.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn render(
    flows: &[FlowStatus],
    swaps: &[SwapView],
    numbers: &[Metric],
    denials: &[Denial],
) -> String {
    let mut page = Page::default();
    let name = "crossdock_build_info";
    page.metric(name, "gauge", "The version that runs; always 1.");
    page.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    states(&mut page, flows);
    records(&mut page, flows);
    life(&mut page, flows);
    swapped(&mut page, swaps);
    of_plugins(&mut page, numbers);
    denied(&mut page, denials);
    page.0
}

fn states(page: &mut Page, flows: &[FlowStatus]) {
    let name = "crossdock_flow_state";
    page.metric(
        name,
        "gauge",
        "Whether the flow is in this state: 1 for one of them, 0 for the others.",
    );
    for flow in flows {
        for state in FlowState::ALL {
            let labels = [("flow", flow.flow.as_str()), ("state", state.as_str())];
            page.sample(name, &labels, u8::from(flow.state == state));
        }
    }
}

/// All streams of the last checkpoint together: how many streams there are is the plugin's to say.
fn total(flow: &FlowStatus) -> StreamCounts {
    let mut total = StreamCounts::default();
    let counts = flow
        .checkpoint
        .iter()
        .flat_map(|last| last.streams.values());
    for one in counts {
        total += *one;
    }
    total
}

fn records(page: &mut Page, flows: &[FlowStatus]) {
    let counts: [(&str, &str, OfCounts); 6] = [
        ("read", "Records that the source gave", |all| all.read),
        (
            "expanded",
            "Records that stages made beyond those that they got",
            |all| all.expanded,
        ),
        ("filtered", "Records that stages let go", |all| all.filtered),
        ("written", "Records that all sinks wrote", |all| all.written),
        ("dead_lettered", "Records that became dead letters", |all| {
            all.dead
        }),
        ("replayed", "Dead letters that were given again", |all| {
            all.replayed
        }),
    ];
    for (what, help, count) in counts {
        let name = format!("crossdock_flow_records_{what}_total");
        let help = format!("{help}, in the last run, as of its last checkpoint.");
        page.metric(&name, "counter", &help);
        for flow in flows {
            page.sample(&name, &[("flow", &flow.flow)], count(total(flow)));
        }
    }
}

fn life(page: &mut Page, flows: &[FlowStatus]) {
    #[allow(
        clippy::cast_precision_loss,
        reason = "numbers of this format are floating point"
    )]
    let numbers: [(&str, &str, &str, OfFlow); 5] = [
        (
            "crossdock_flow_runs_total",
            "counter",
            "Runs that this daemon has started.",
            |flow| Some(flow.runs as f64),
        ),
        (
            "crossdock_flow_restarts",
            "gauge",
            "Restarts after failures, since the last run that went well.",
            |flow| Some(f64::from(flow.restarts)),
        ),
        (
            "crossdock_flow_dead_letters",
            "gauge",
            "Dead letters that wait for somebody.",
            |flow| Some(flow.dead_letters as f64),
        ),
        (
            "crossdock_flow_state_timestamp_seconds",
            "gauge",
            "When the flow came into its state, in seconds since 1970.",
            |flow| Some(flow.since_ms as f64 / 1000.0),
        ),
        (
            "crossdock_flow_checkpoint_timestamp_seconds",
            "gauge",
            "When the last checkpoint was made, in seconds since 1970.",
            |flow| Some(flow.checkpoint.as_ref()?.at_ms as f64 / 1000.0),
        ),
    ];
    for (name, kind, help, number) in numbers {
        page.metric(name, kind, help);
        for flow in flows {
            if let Some(value) = number(flow) {
                page.sample(name, &[("flow", &flow.flow)], value);
            }
        }
    }
}

fn swapped(page: &mut Page, swaps: &[SwapView]) {
    let name = "crossdock_flow_swaps";
    page.metric(
        name,
        "gauge",
        "Swaps since the daemon started, by how far they came; of many, the last 1000.",
    );
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for swap in swaps {
        let key = (swap.flow.as_str(), swap.status.state.as_str());
        *counts.entry(key).or_default() += 1;
    }
    for ((flow, state), count) in counts {
        page.sample(name, &[("flow", flow), ("state", state)], count);
    }
}

fn of_plugins(page: &mut Page, numbers: &[Metric]) {
    let kinds = [
        (
            "crossdock_plugin_count_total",
            "counter",
            "What a plugin counts itself, by the name that it gives it.",
        ),
        (
            "crossdock_plugin_gauge",
            "gauge",
            "What a plugin measures itself, by the name that it gives it.",
        ),
    ];
    for (metric, kind, help) in kinds {
        page.metric(metric, kind, help);
        for number in numbers {
            let labels = [
                ("flow", number.flow.as_str()),
                ("stage", &number.stage),
                ("plugin", &number.plugin),
                ("name", &number.name),
            ];
            match number.value {
                MetricValue::Count(count) if kind == "counter" => {
                    page.sample(metric, &labels, count);
                }
                MetricValue::Gauge(gauge) if kind == "gauge" => {
                    page.sample(metric, &labels, written(gauge));
                }
                MetricValue::Count(_) | MetricValue::Gauge(_) => {}
            }
        }
    }
}

/// As the format has what is no number.
fn written(gauge: f64) -> String {
    if gauge.is_infinite() {
        return if gauge > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    gauge.to_string()
}

fn denied(page: &mut Page, denials: &[Denial]) {
    let name = "crossdock_plugin_denied_total";
    page.metric(
        name,
        "counter",
        "Attempts of plugins to reach what they were not granted, by the way that they tried.",
    );
    let mut counts: BTreeMap<[&str; 4], u64> = BTreeMap::new();
    for denial in denials {
        let key = [
            denial.flow.as_str(),
            &denial.stage,
            &denial.plugin,
            denial.what,
        ];
        let sum = counts.entry(key).or_default();
        *sum = sum.saturating_add(denial.count);
    }
    for ([flow, stage, plugin, way], count) in counts {
        let labels = [
            ("flow", flow),
            ("stage", stage),
            ("plugin", plugin),
            ("way", way),
        ];
        page.sample(name, &labels, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(name: &str) -> FlowStatus {
        FlowStatus {
            flow: name.to_owned(),
            state: FlowState::Running,
            restarts: 2,
            runs: 3,
            since_ms: 1_700_000_000_500,
            ..FlowStatus::default()
        }
    }

    fn metric(name: &str, value: MetricValue) -> Metric {
        Metric {
            flow: "prices".to_owned(),
            stage: "map".to_owned(),
            plugin: "a\\b\"c\nd".to_owned(),
            name: name.to_owned(),
            value,
        }
    }

    fn denial(what: &'static str, name: &str, count: u64) -> Denial {
        Denial {
            flow: "prices".to_owned(),
            stage: "map".to_owned(),
            plugin: "csv".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "sha256:0".to_owned(),
            what,
            name: name.to_owned(),
            count,
        }
    }

    #[test]
    fn numbers_are_in_the_format_of_prometheus() {
        let numbers = [
            metric("rows", MetricValue::Count(7)),
            metric("lag", MetricValue::Gauge(1.5)),
            metric("most", MetricValue::Gauge(f64::INFINITY)),
            metric("none", MetricValue::Gauge(f64::NAN)),
        ];
        let denials = [
            denial("url", "http://a", 2),
            denial("url", "http://b", 3),
            denial("path", "../x", 1),
        ];
        let text = render(&[flow("prices")], &[], &numbers, &denials);
        for line in [
            "crossdock_flow_state{flow=\"prices\",state=\"running\"} 1",
            "crossdock_flow_state{flow=\"prices\",state=\"failed\"} 0",
            "crossdock_flow_records_written_total{flow=\"prices\"} 0",
            "crossdock_flow_restarts{flow=\"prices\"} 2",
            "crossdock_flow_runs_total{flow=\"prices\"} 3",
            "crossdock_flow_state_timestamp_seconds{flow=\"prices\"} 1700000000.5",
            r#"crossdock_plugin_count_total{flow="prices",stage="map",plugin="a\\b\"c\nd",name="rows"} 7"#,
            r#"crossdock_plugin_gauge{flow="prices",stage="map",plugin="a\\b\"c\nd",name="lag"} 1.5"#,
            r#"crossdock_plugin_gauge{flow="prices",stage="map",plugin="a\\b\"c\nd",name="most"} +Inf"#,
            r#"crossdock_plugin_gauge{flow="prices",stage="map",plugin="a\\b\"c\nd",name="none"} NaN"#,
            "crossdock_plugin_denied_total{flow=\"prices\",stage=\"map\",plugin=\"csv\",way=\"url\"} 5",
            "crossdock_plugin_denied_total{flow=\"prices\",stage=\"map\",plugin=\"csv\",way=\"path\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        // Every sample belongs to the metric that was begun last, and each is begun once.
        let (mut begun, mut all) = (String::new(), Vec::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                begun = name.to_owned();
                all.push(name.to_owned());
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, begun, "{line}");
            }
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        // What a plugin tried to reach is no label: it could make any number of them.
        assert!(!text.contains("http://"), "{text}");
    }
}
