//! The addresses of the API and what each answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::auth::text;
use super::error::ApiError;
use super::lines::{self, LINES};
use super::present::{Form, View};
use super::query::{Paging, Query};
use super::search::Search;
use super::write::WRITABLE;
use super::{App, REST_PATH, TOKEN_PATH};
use crate::catalogue::{Ancestors, Catalogue, Change, Item, Kind};

type Answer = Result<Response, ApiError>;
type Shared = State<Arc<App>>;

/// Every address, without the guard.
pub(super) fn routes() -> Router<Arc<App>> {
    let at = |path: &str| format!("{REST_PATH}{path}");
    let mut router = Router::new()
        .route(TOKEN_PATH, post(token))
        .route(REST_PATH, get(index))
        .route(&at("/"), get(index))
        .route(&at("/families/{code}/variants"), get(family_variants))
        .route(
            &at("/families/{code}/variants/{variant}"),
            get(family_variant),
        )
        .route(&at("/attributes/{code}/options"), get(options))
        .route(&at("/attributes/{code}/options/{option}"), get(option))
        .route(&at("/media-files/{*file}"), get(media));
    let names = Kind::ALL
        .into_iter()
        .map(|kind| (kind.path(), kind, Form::Identifier));
    for (name, kind, form) in names.chain([("products-uuid", Kind::Products, Form::Uuid)]) {
        let mut list = get(
            move |app: Shared, query: RawQuery, uri: Uri, headers: HeaderMap| async move {
                collection(&app, kind, form, query.0.as_deref(), uri.path(), &headers)
            },
        );
        let mut one = get(
            move |app: Shared, code: Path<String>, query: RawQuery, headers: HeaderMap| async move {
                single(&app, kind, form, &code, query.0.as_deref(), &headers)
            },
        );
        if WRITABLE.contains(&kind) {
            list = list.patch(
                move |app: Shared, headers: HeaderMap, body: Bytes| async move {
                    patch_lines(&app, kind, form, &headers, &body)
                },
            );
            one = one.patch(
                move |app: Shared, code: Path<String>, headers: HeaderMap, body: Bytes| async move {
                    patch_one(&app, kind, form, &code, &headers, &body)
                },
            );
        }
        router = router
            .route(&at(&format!("/{name}")), list)
            .route(&at(&format!("/{name}/{{code}}")), one);
    }
    router
        .fallback(|method: Method, uri: Uri| async move {
            ApiError::not_found(format!("No route found for \"{method} {}\"", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let message = format!(
                "No route found for '{method} {}': Method Not Allowed",
                uri.path()
            );
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
}

async fn token(State(app): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    let pair = app.tokens.grant(&headers, &body)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(pair)).into_response())
}

async fn index(State(app): Shared, headers: HeaderMap) -> Response {
    let route = |path: String| json!({"route": path, "methods": ["GET"]});
    let mut routes = serde_json::Map::new();
    for kind in Kind::ALL {
        let name = format!("pim_api_{}_list", kind.path().replace('-', "_"));
        routes.insert(name, route(format!("{REST_PATH}/{}", kind.path())));
    }
    let token = json!({"fos_oauth_server_token": {"route": TOKEN_PATH, "methods": ["POST"]}});
    axum::Json(json!({"host": origin(&app, &headers), "authentication": token, "routes": routes}))
        .into_response()
}

/// Scheme, host and port as the client knows them.
fn origin(app: &App, headers: &HeaderMap) -> String {
    text(headers, header::HOST.as_str())
        .map_or_else(|| app.base_url.clone(), |host| format!("http://{host}"))
}

fn check_accept(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(accept) = text(headers, header::ACCEPT.as_str()) else {
        return Ok(());
    };
    let fine = |part: &str| {
        matches!(
            part.split(';').next().unwrap_or_default().trim(),
            "application/json" | "*/*" | "application/*"
        )
    };
    if accept.split(',').any(fine) {
        return Ok(());
    }
    let message =
        format!("'{accept}' in 'Accept' header is not valid. Only 'application/json' is allowed.");
    Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, message))
}

fn check_content_type(headers: &HeaderMap, wanted: &str) -> Result<(), ApiError> {
    let message = match text(headers, header::CONTENT_TYPE.as_str()) {
        None => {
            format!("The 'Content-type' header is missing. '{wanted}' has to specified as value.")
        }
        Some(kind) if kind.split(';').next().unwrap_or_default().trim() == wanted => return Ok(()),
        Some(kind) => {
            format!("'{kind}' in 'Content-type' header is not valid. Only '{wanted}' is allowed.")
        }
    };
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

fn collection(
    app: &App,
    kind: Kind,
    form: Form,
    query: Option<&str>,
    path: &str,
    headers: &HeaderMap,
) -> Answer {
    check_accept(headers)?;
    if kind == Kind::MeasurementFamilies {
        // The one list without pages.
        let all: Vec<Value> = (0..app.store.len(kind))
            .filter_map(|index| app.store.item(kind, index))
            .collect();
        return Ok(axum::Json(all).into_response());
    }
    let query = Query::parse(query);
    let paging = Paging::parse(&query, matches!(kind, Kind::Products | Kind::ProductModels))?;
    let search = query
        .get("search")
        .map(|text| {
            Search::parse(
                text,
                kind,
                &app.attributes.identifier,
                &app.store,
                app.now(),
            )
        })
        .transpose()?;
    let origin = origin(app, headers);
    let view = View::parse(form, &query, &origin, &app.attributes, &app.store)?;
    let matches = search
        .as_ref()
        .map(|search| |index| search.matches(&app.store, kind, index));
    let filter = matches
        .as_ref()
        .map(|matches| matches as &dyn Fn(usize) -> bool);
    let selected = paging.select(app.store.len(kind), filter);
    let url = format!("{origin}{path}");
    let mut ancestors = Ancestors::default();
    let mut items = vec![];
    for &index in &selected.indexes {
        let Some(mut item) = app.store.shown(kind, index, &mut ancestors) else {
            continue;
        };
        if kind == Kind::Categories && query.flag("with_position") {
            item.set("position", json!(position(app, &item)));
        }
        let name = item.text(key_of(kind, form)).unwrap_or_default();
        let link = address(&url, name);
        items.push(view.show(item, Some(link)));
    }
    Ok(axum::Json(paging.envelope(&url, &query, &selected, items)).into_response())
}

const fn key_of(kind: Kind, form: Form) -> &'static str {
    match form {
        Form::Identifier => kind.key(),
        Form::Uuid => "uuid",
    }
}

/// The address of an item: its code is one part of the path, whatever it holds.
fn address(url: &str, code: &str) -> String {
    let code: String = url::form_urlencoded::byte_serialize(code.as_bytes()).collect();
    // In a path a space is %20.
    format!("{url}/{}", code.replace('+', "%20"))
}

/// The place of a category among its siblings, from 1.
fn position(app: &App, item: &Item) -> usize {
    let fold = |code: Option<&str>| code.map(str::to_lowercase);
    let parent = fold(item.text("parent"));
    let siblings = (0..app.store.len(Kind::Categories))
        .filter_map(|index| app.store.head(Kind::Categories, index))
        .filter(|head| fold(head.parent.as_deref()) == parent);
    siblings
        .take_while(|head| item.text("code") != Some(head.code.as_str()))
        .count()
        + 1
}

fn single(
    app: &App,
    kind: Kind,
    form: Form,
    code: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Answer {
    check_accept(headers)?;
    let index = match form {
        Form::Identifier => app.store.find(kind, code),
        Form::Uuid => app.store.find_uuid(code),
    };
    let item = index.and_then(|index| app.store.shown(kind, index, &mut Ancestors::default()));
    let item = item.ok_or_else(|| missing(kind, code))?;
    let query = Query::parse(query);
    let origin = origin(app, headers);
    let view = View::parse(form, &query, &origin, &app.attributes, &app.store)?;
    Ok(axum::Json(view.show(item, None)).into_response())
}

fn missing(kind: Kind, code: &str) -> ApiError {
    let what = match kind {
        Kind::Products => "Product",
        Kind::ProductModels => "Product model",
        Kind::Families => "Family",
        Kind::Attributes => "Attribute",
        Kind::Categories => "Category",
        Kind::Channels => "Channel",
        Kind::Locales => "Locale",
        Kind::Currencies => "Currency",
        Kind::MeasurementFamilies => "Measurement family",
        Kind::AssociationTypes => "Association type",
    };
    ApiError::not_found(format!(
        "{what} \"{code}\" does not exist or you do not have permission to access it."
    ))
}

async fn family_variants(
    State(app): Shared,
    Path(code): Path<String>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let items = app
        .store
        .family_variants(&code)
        .ok_or_else(|| missing(Kind::Families, &code))?;
    inner_list(&app, &items, query.as_deref(), uri.path(), &headers)
}

async fn family_variant(
    State(app): Shared,
    Path((code, variant)): Path<(String, String)>,
) -> Answer {
    let items = app
        .store
        .family_variants(&code)
        .ok_or_else(|| missing(Kind::Families, &code))?;
    inner_item(items, &variant, "Family variant")
}

async fn options(
    State(app): Shared,
    Path(code): Path<String>,
    RawQuery(query): RawQuery,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    check_select(&app, &code)?;
    let items = app
        .store
        .options(&code)
        .ok_or_else(|| missing(Kind::Attributes, &code))?;
    inner_list(&app, &items, query.as_deref(), uri.path(), &headers)
}

async fn option(State(app): Shared, Path((code, option)): Path<(String, String)>) -> Answer {
    check_select(&app, &code)?;
    let items = app
        .store
        .options(&code)
        .ok_or_else(|| missing(Kind::Attributes, &code))?;
    inner_item(items, &option, "Attribute option")
}

/// Only select attributes have options; the others answer 404.
fn check_select(app: &App, code: &str) -> Result<(), ApiError> {
    let index = app
        .store
        .find(Kind::Attributes, code)
        .ok_or_else(|| missing(Kind::Attributes, code))?;
    let item = app.store.item(Kind::Attributes, index).unwrap_or_default();
    if matches!(
        item["type"].as_str(),
        Some("pim_catalog_simpleselect" | "pim_catalog_multiselect")
    ) {
        return Ok(());
    }
    let message = format!(
        "Attribute \"{code}\" does not support options. Only attributes of type \
        \"pim_catalog_simpleselect\", \"pim_catalog_multiselect\" support options."
    );
    Err(ApiError::not_found(message))
}

fn inner_list(
    app: &App,
    items: &[Value],
    query: Option<&str>,
    path: &str,
    headers: &HeaderMap,
) -> Answer {
    check_accept(headers)?;
    let query = Query::parse(query);
    let paging = Paging::parse(&query, false)?;
    let selected = paging.select(items.len(), None);
    let url = format!("{}{path}", origin(app, headers));
    let shown = selected
        .indexes
        .iter()
        .filter_map(|&index| items.get(index).cloned());
    let shown = shown
        .map(|mut item| {
            let link = address(&url, item["code"].as_str().unwrap_or_default());
            item["_links"] = json!({"self": {"href": link}});
            item
        })
        .collect();
    Ok(axum::Json(paging.envelope(&url, &query, &selected, shown)).into_response())
}

fn inner_item(items: Vec<Value>, code: &str, what: &str) -> Answer {
    let same = |item: &Value| {
        item["code"]
            .as_str()
            .is_some_and(|own| own.eq_ignore_ascii_case(code))
    };
    match items.into_iter().find(same) {
        Some(item) => Ok(axum::Json(item).into_response()),
        None => Err(ApiError::not_found(format!(
            "{what} \"{code}\" does not exist."
        ))),
    }
}

fn patch_lines(app: &App, kind: Kind, form: Form, headers: &HeaderMap, body: &[u8]) -> Answer {
    check_content_type(headers, LINES)?;
    let answer = lines::patch(&app.writer(), kind, form, body)?;
    Ok(([(header::CONTENT_TYPE, LINES)], answer).into_response())
}

fn patch_one(
    app: &App,
    kind: Kind,
    form: Form,
    code: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Answer {
    check_content_type(headers, "application/json")?;
    let change: serde_json::Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| ApiError::bad_request("Invalid json message received"))?;
    let key = key_of(kind, form);
    if change.get(key).is_some_and(|own| {
        own.as_str()
            .is_none_or(|own| !own.eq_ignore_ascii_case(code))
    }) {
        let message = format!(
            "The {key} \"{}\" provided in the request body must match the {key} \"{code}\" provided in \
            the url.",
            change[key].as_str().unwrap_or_default()
        );
        return Err(ApiError::unprocessable(message));
    }
    let writer = app.writer();
    let name = lines::code_of(&writer, form, code, &change)?;
    let status = match writer.patch(kind, &name, &change)? {
        Change::Created => StatusCode::CREATED,
        Change::Updated => StatusCode::NO_CONTENT,
    };
    let mut response = status.into_response();
    let url = format!(
        "{}{REST_PATH}/{}",
        origin(app, headers),
        path_of(kind, form)
    );
    if let Ok(location) = HeaderValue::from_str(&address(&url, code)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

const fn path_of(kind: Kind, form: Form) -> &'static str {
    match form {
        Form::Identifier => kind.path(),
        Form::Uuid => "products-uuid",
    }
}

async fn media(State(app): Shared, Path(file): Path<String>, headers: HeaderMap) -> Answer {
    let download = file.strip_suffix("/download");
    let code = download.unwrap_or(&file);
    if !app.store.has_media(code) {
        return Err(ApiError::not_found(format!(
            "Media file \"{code}\" does not exist."
        )));
    }
    let name = code.rsplit('/').next().unwrap_or(code);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let (mime, bytes): (_, &'static [u8]) = match extension {
        "pdf" => ("application/pdf", PDF),
        "png" => ("image/png", PNG),
        "jpg" | "jpeg" => ("image/jpeg", JPEG),
        _ => ("application/octet-stream", b"media"),
    };
    if download.is_some() {
        let disposition = format!("attachment; filename=\"{name}\"");
        return Ok((
            [
                (header::CONTENT_TYPE, mime.to_owned()),
                (header::CONTENT_DISPOSITION, disposition),
            ],
            bytes,
        )
            .into_response());
    }
    check_accept(&headers)?;
    let href = format!(
        "{}{REST_PATH}/media-files/{code}/download",
        origin(&app, &headers)
    );
    let info = json!({"code": code, "original_filename": name, "mime_type": mime, "size": bytes.len(),
        "extension": extension, "_links": {"download": {"href": href}}});
    Ok(axum::Json(info).into_response())
}

/// One white pixel.
const PNG: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0,
    1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x3A, 0x7E, 0x9B, 0x55, 0, 0, 0, 10, b'I', b'D', b'A', b'T',
    0x78, 0x9C, 0x63, 0xF8, 0x0F, 0, 0x01, 0x01, 0x01, 0, 0xB1, 0x38, 0xF6, 0x14, 0, 0, 0, 0, b'I',
    b'E', b'N', b'D', 0xAE, 0x42, 0x60, 0x82,
];
/// Only the first and last marker: enough for who moves bytes, not for who looks at them.
const JPEG: &[u8] = &[0xFF, 0xD8, 0xFF, 0xD9];
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n\
trailer<</Root 1 0 R>>\n%%EOF\n";
