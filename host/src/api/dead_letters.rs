//! `/api/v1/dead-letters`.

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{flows::ACTOR, problem::Problem};
use crate::app::{
    Action, AuditEntry, Daemon, DeadLetter, DeadLetterDocument, DeadLetterFilter, Edit, FaultKind,
    PAGE_BYTES, ReplaySummary, edited,
};

/// The most that one answer has.
const MOST: usize = 1000;

pub(super) fn router() -> OpenApiRouter<Daemon> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, edit))
        .routes(routes!(replay))
        .routes(routes!(discard))
}

/// Which dead letters are meant. Without any of it: all.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct Choice {
    /// Only of this flow.
    pub flow: Option<String>,
    /// Only of this run.
    pub run: Option<String>,
    /// Only of this stage.
    pub stage: Option<String>,
    /// Only of this stream.
    pub stream: Option<String>,
    /// Only of this plugin.
    pub plugin: Option<String>,
    /// Only of this version of the plugin.
    pub version: Option<String>,
    /// Only with this kind of fault: `permanent`, `trap`, ...
    pub fault: Option<String>,
    /// Only made then or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only made before then, in milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// Only where message, location, key or payload contains this text.
    pub text: Option<String>,
    /// Only these: their numbers, comma-separated.
    pub ids: Option<String>,
    /// Only behind this number.
    pub after: Option<u64>,
    /// At most this many: 100 unless said otherwise for a list, all for a change. A list ends at about 16 MiB as well: the
    /// next one is asked for with `after`, until one is empty.
    pub limit: Option<usize>,
    /// For a list: without headers, payload and backtrace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brief: Option<bool>,
    /// For a list: as they are stored, with all bytes in base64, not as people read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<bool>,
    /// For giving them again, when the flow does not run: another version of the plugin of their stage, a path or
    /// `name@path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// For discarding: yes, every dead letter of the project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
}

impl Choice {
    /// The same, for a client.
    pub fn of(filter: &DeadLetterFilter) -> Self {
        let ids: Vec<String> = filter.ids.iter().map(u64::to_string).collect();
        let filter = filter.clone();
        Self {
            flow: filter.flow,
            run: filter.run,
            stage: filter.stage,
            stream: filter.stream,
            plugin: filter.plugin,
            version: filter.version,
            fault: filter.fault,
            since_ms: filter.since_ms,
            until_ms: filter.until_ms,
            text: filter.text,
            ids: (!ids.is_empty()).then(|| ids.join(",")),
            after: Some(filter.after),
            limit: Some(filter.limit),
            brief: filter.brief.then_some(true),
            stored: None,
            with: None,
            all: None,
        }
    }

    /// As the query of a URL.
    pub fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            for (name, value) in fields {
                match value {
                    Value::Null => {}
                    Value::String(text) => drop(query.append_pair(&name, &text)),
                    other => drop(query.append_pair(&name, &other.to_string())),
                }
            }
        }
        query.finish()
    }

    fn filter(self, limit: usize) -> Result<DeadLetterFilter, Problem> {
        let ids = self.ids.as_deref().unwrap_or_default().split(',');
        let ids = ids
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(|id| {
                id.parse()
                    .map_err(|_| Problem::invalid(format!("`{id}` is no number of a dead letter")))
            })
            .collect::<Result<_, Problem>>()?;
        Ok(DeadLetterFilter {
            flow: self.flow,
            run: self.run,
            stage: self.stage,
            stream: self.stream,
            plugin: self.plugin,
            version: self.version,
            fault: self.fault.map(known_fault).transpose()?,
            since_ms: self.since_ms,
            until_ms: self.until_ms,
            text: self.text,
            ids,
            after: self.after.unwrap_or(0),
            up_to: None,
            limit: self.limit.unwrap_or(limit),
            brief: self.brief == Some(true),
            ..DeadLetterFilter::default()
        })
    }
}

fn known_fault(name: String) -> Result<String, Problem> {
    let known = FaultKind::ALL.map(FaultKind::as_str);
    if known.contains(&name.as_str()) {
        return Ok(name);
    }
    let known = known.join("`, `");
    Err(Problem::invalid(format!(
        "`{name}` is no kind of fault; there is `{known}`"
    )))
}

/// How dead letters are shown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
struct Form {
    /// As they are stored, with all bytes in base64; otherwise with texts and JSON as people read them.
    stored: bool,
}

/// As text: a tree of values would take many times the size of a record.
fn shown(letter: &DeadLetter, stored: bool) -> Result<Box<RawValue>, Problem> {
    let shown = if stored {
        to_raw_value(letter)
    } else {
        to_raw_value(&DeadLetterDocument::of(letter))
    };
    shown.map_err(|error| Problem::invalid(error.to_string()))
}

/// Dead letters, oldest first.
#[utoipa::path(
    get, path = "/dead-letters", params(Choice),
    responses((status = 200, body = Vec<Value>), (status = 422, body = Problem))
)]
async fn list(
    State(daemon): State<Daemon>,
    Query(choice): Query<Choice>,
) -> Result<Json<Vec<Box<RawValue>>>, Problem> {
    let stored = choice.stored == Some(true);
    let mut filter = choice.filter(100)?;
    filter.limit = filter.limit.min(MOST);
    filter.bytes = PAGE_BYTES;
    let letters = tokio::task::block_in_place(|| daemon.dead_letters().list(&filter))?;
    let shown: Result<_, _> = letters.iter().map(|letter| shown(letter, stored)).collect();
    Ok(Json(shown?))
}

/// One dead letter.
#[utoipa::path(
    get, path = "/dead-letters/{id}", params(("id" = u64, Path), Form),
    responses((status = 200, body = Value), (status = 422, body = Problem))
)]
async fn show(
    State(daemon): State<Daemon>,
    Path(id): Path<u64>,
    Query(form): Query<Form>,
) -> Result<Response, Problem> {
    let letter = tokio::task::block_in_place(|| daemon.dead_letters().show(id))?;
    Ok(Json(shown(&letter, form.stored)?).into_response())
}

/// Change what will be given again.
#[utoipa::path(
    patch, path = "/dead-letters/{id}", params(("id" = u64, Path), Form),
    request_body(content = Value, description = "`key`, `headers`, `form`: texts; `payload`: a list of bytes"),
    responses((status = 200, body = Value), (status = 422, body = Problem))
)]
async fn edit(
    State(daemon): State<Daemon>,
    Path(id): Path<u64>,
    Query(form): Query<Form>,
    Json(edit): Json<Edit>,
) -> Result<Json<Box<RawValue>>, Problem> {
    let letter = daemon.dead_letters().edit(id, edit.clone()).await?;
    daemon.note(edited(&letter, &edit, ACTOR));
    Ok(Json(shown(&letter, form.stored)?))
}

/// Give dead letters of a running flow again, from the stage that could not process them. Answers when they are settled.
#[utoipa::path(
    post, path = "/flows/{flow}/replay", params(("flow" = String, Path)), request_body = Choice,
    responses(
        (status = 200, body = Value), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)
    )
)]
async fn replay(
    State(daemon): State<Daemon>,
    Path(flow): Path<String>,
    Json(mut choice): Json<Choice>,
) -> Result<Json<ReplaySummary>, Problem> {
    let with = choice.with.take();
    let filter = choice.filter(usize::MAX)?;
    Ok(Json(daemon.replay(&flow, &filter, with, ACTOR).await?))
}

/// How many there were.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Discarded {
    /// Dead letters that are gone.
    discarded: u64,
}

/// Remove dead letters for good. At least one part of the choice must be given.
#[utoipa::path(
    post, path = "/dead-letters/discard", request_body = Choice,
    responses((status = 200, body = Discarded), (status = 422, body = Problem))
)]
async fn discard(
    State(daemon): State<Daemon>,
    Json(choice): Json<Choice>,
) -> Result<Json<Discarded>, Problem> {
    let all = choice.all == Some(true);
    let filter = choice.filter(usize::MAX)?;
    let everything = DeadLetterFilter {
        limit: filter.limit,
        brief: filter.brief,
        ..DeadLetterFilter::default()
    };
    if filter == everything && !all {
        return Err(Problem::invalid(
            "this would remove every dead letter of the project: name a flow, a stage or numbers, or say `\"all\": true`",
        ));
    }
    let discarded = daemon.dead_letters().discard(&filter).await?;
    daemon.note(
        AuditEntry::new(Action::DeadLettersDiscarded, ACTOR)
            .flow(filter.flow.unwrap_or_default())
            .detail(format!("{discarded} removed")),
    );
    Ok(Json(Discarded { discarded }))
}
