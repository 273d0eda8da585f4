//! What the server answers to which path.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};

use crate::access::{Level, bearer};
use crate::hub::{LOG_KEPT, wall_ns};
use crate::page;
use crate::protocol;
use crate::server::{Counts, Peer, Shared};
use crate::stream;
use crate::topic::Topic;

/// Every route: method, path, the least level that it takes. The router is made of it, and so is the test that walks
/// all of them.
pub const ROUTES: &[(&str, &str, Level)] = &[
    ("GET", "/", Level::Nobody),
    ("GET", "/assets/{name}", Level::Nobody),
    ("GET", "/healthz", Level::Nobody),
    ("GET", "/readyz", Level::Nobody),
    ("GET", "/ws", Level::Nobody),
    ("GET", "/metrics", Level::View),
    ("GET", "/api/schema", Level::View),
    ("GET", "/api/whoami", Level::View),
    ("GET", "/api/state", Level::View),
    ("GET", "/api/state/{topic}", Level::View),
    ("GET", "/api/state/{topic}/{key}", Level::View),
    ("GET", "/api/events/{topic}", Level::View),
    ("GET", "/reports/{number}", Level::View),
    ("POST", "/api/do", Level::Control),
];

/// Longest body of a request, bytes.
const BODY_MAX: usize = 64 << 10;

type App = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for (method, path, level) in ROUTES {
        let level = *level;
        let handler = match (*method, *path) {
            ("GET", "/") => get(page::index),
            ("GET", "/assets/{name}") => get(page::asset),
            ("GET", "/healthz") => get(healthz),
            ("GET", "/readyz") => get(readyz),
            ("GET", "/ws") => any(upgrade),
            ("GET", "/metrics") => get(metrics),
            ("GET", "/api/schema") => get(async || Json(protocol::schema())),
            ("GET", "/api/whoami") => get(whoami),
            ("GET", "/api/state") => get(states),
            ("GET", "/api/state/{topic}") => get(state),
            ("GET", "/api/state/{topic}/{key}") => get(value),
            ("GET", "/api/events/{topic}") => get(events),
            ("GET", "/reports/{number}") => get(report),
            ("POST", "/api/do") => post(carry_out),
            other => unreachable!("a route without a handler: {other:?}"),
        };
        let guard = middleware::from_fn_with_state(shared.clone(), move |state: App, request: Request, next: Next| {
            guard(state, request, next, level)
        });
        router = router.route(path, handler.layer(guard));
    }
    let admitted = middleware::from_fn_with_state(shared.clone(), admit);
    router.fallback(nothing).layer(DefaultBodyLimit::max(BODY_MAX)).layer(admitted).with_state(shared)
}

fn problem(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(json!({ "ok": false, "error": error.into() }))).into_response()
}

async fn nothing() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing here")
}

/// By a name and from a page that are ours, and answered with headers that keep a browser from doing harm.
async fn admit(State(shared): App, request: Request, next: Next) -> Response {
    // A load balancer asks for health by whatever name.
    let health = matches!(request.uri().path(), "/healthz" | "/readyz");
    if let Err(stranger) = shared.access.admit(request.headers())
        && !health
    {
        Counts::add(&shared.counts.refused);
        return problem(StatusCode::FORBIDDEN, stranger.to_string());
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("content-security-policy", page::POLICY),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if shared.secure {
        headers.insert("strict-transport-security", HeaderValue::from_static("max-age=31536000"));
    }
    response
}

async fn guard(State(shared): App, request: Request, next: Next, least: Level) -> Response {
    let level = shared.access.level(bearer(request.headers()));
    if level >= least {
        return next.run(request).await;
    }
    Counts::add(&shared.counts.refused);
    let error = match least {
        Level::Control => {
            "this takes the control token: Authorization: Bearer TOKEN (serve.control_token names its file)"
        }
        _ => "this takes a token: Authorization: Bearer TOKEN",
    };
    let mut response = problem(StatusCode::UNAUTHORIZED, error);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn healthz() -> Response {
    Json(json!({ "ok": true, "version": env!("CARGO_PKG_VERSION") })).into_response()
}

async fn readyz(State(shared): App, request: Request) -> Response {
    // Why it is not ready is for those who may see, by a name that is ours.
    let sees =
        shared.access.admit(request.headers()).is_ok() && shared.access.level(bearer(request.headers())) >= Level::View;
    match shared.steering.ready() {
        Ok(()) => Json(json!({ "ok": true })).into_response(),
        Err(why) if sees => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ok": false, "error": why.join("; "), "missing": why })))
                .into_response()
        }
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}

async fn metrics(State(shared): App) -> Response {
    match shared.metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn whoami(State(shared): App, request: Request) -> Response {
    let may = match shared.access.level(bearer(request.headers())) {
        Level::Control => "control",
        _ => "view",
    };
    Json(json!({ "ok": true, "may": may, "wall_ns": wall_ns() })).into_response()
}

fn list(texts: &[axum::extract::ws::Utf8Bytes]) -> String {
    let inner: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    format!("[{}]", inner.join(","))
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

async fn states(State(shared): App) -> Response {
    let (_, all) = shared.hub.changes(0, |_, _| true);
    let newest: serde_json::Map<String, Value> =
        Topic::logs().map(|topic| (topic.name().to_owned(), shared.hub.newest(topic).into())).collect();
    let epoch = shared.hub.epoch();
    let (state, newest) = (list(&all), Value::from(newest));
    json_text(format!("{{\"wall_ns\":{},\"epoch\":{epoch},\"state\":{state},\"newest\":{newest}}}", wall_ns()))
}

/// A topic of a path; an answer that names those there are otherwise.
fn topic(name: &str, log: bool) -> Result<Topic, Box<Response>> {
    let known = |topic: &Topic| topic.is_log() == log;
    name.parse().ok().filter(known).ok_or_else(|| {
        let names: Vec<&str> = <Topic as strum::IntoEnumIterator>::iter().filter(known).map(Topic::name).collect();
        Box::new(problem(StatusCode::NOT_FOUND, format!("topic {name:?}, expected one of {}", names.join(", "))))
    })
}

async fn state(State(shared): App, Path(name): Path<String>) -> Response {
    match topic(&name, false) {
        Ok(topic) => json_text(format!("{{\"wall_ns\":{},\"state\":{}}}", wall_ns(), list(&shared.hub.state(topic)))),
        Err(response) => *response,
    }
}

async fn value(State(shared): App, Path((name, key)): Path<(String, String)>) -> Response {
    match topic(&name, false) {
        Ok(topic) => match shared.hub.value(topic, &key) {
            Some(text) => json_text(text.to_string()),
            None => problem(StatusCode::NOT_FOUND, format!("nothing is known of {name} {key:?}")),
        },
        Err(response) => *response,
    }
}

/// Which entries.
#[derive(serde::Deserialize)]
struct Which {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn events(State(shared): App, Path(name): Path<String>, Query(which): Query<Which>) -> Response {
    let topic = match topic(&name, true) {
        Ok(topic) => topic,
        Err(response) => return *response,
    };
    let found = shared.hub.entries(topic, which.after, which.limit.unwrap_or(1_000).min(LOG_KEPT));
    let newest = shared.hub.newest(topic);
    json_text(format!(
        "{{\"wall_ns\":{},\"first\":{},\"newest\":{newest},\"missed\":{},\"events\":{}}}",
        wall_ns(),
        found.first,
        found.missed,
        list(&found.entries)
    ))
}

/// The report on the incident of a decision, as a page.
async fn report(State(shared): App, Path(number): Path<u64>) -> Response {
    let none = || problem(StatusCode::NOT_FOUND, format!("there is no report on decision {number}"));
    let Some(folder) = &shared.reports else { return none() };
    match tokio::fs::read(folder.join(number.to_string()).join("postmortem.html")).await {
        Ok(page) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response(),
        Err(_) => none(),
    }
}

async fn upgrade(
    State(shared): App,
    Extension(peer): Extension<Peer>,
    headers: axum::http::HeaderMap,
    socket: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let socket = match socket {
        Ok(socket) => socket,
        Err(rejection) => return rejection.into_response(),
    };
    let level = shared.access.level(bearer(&headers));
    socket
        .max_message_size(protocol::MESSAGE_MAX)
        .max_frame_size(protocol::MESSAGE_MAX)
        .write_buffer_size(32 << 10)
        .max_write_buffer_size(1 << 20)
        .on_upgrade(move |socket| stream::serve(socket, peer, level))
}

async fn carry_out(State(shared): App, Extension(peer): Extension<Peer>, body: axum::body::Bytes) -> Response {
    let request: Value = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, format!("no JSON: {error}")),
    };
    // What stops the trading has places of its own. A place belongs to the work, not to whoever waits for it.
    let lane = if shared.steering.stops(&request) { &shared.stops } else { &shared.requests };
    let Ok(place) = lane.clone().try_acquire_owned() else {
        return problem(StatusCode::TOO_MANY_REQUESTS, "too many requests to the engine at once; try again");
    };
    Counts::add(&shared.counts.requests);
    let (steering, who) = (shared.steering.clone(), format!("dashboard at {}", peer.0.peer.ip()));
    let work = move || {
        let answer = steering.carry_out(request, &who);
        drop(place);
        answer
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => {
            let done = answer["ok"].as_bool().unwrap_or(false);
            (if done { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, Json(answer)).into_response()
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
