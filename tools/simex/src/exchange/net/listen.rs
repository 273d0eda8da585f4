//! Listeners: TCP, TLS, HTTP, and the upgrade.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tungstenite::handshake::derive_accept_key;

use super::reader;
use crate::exchange::fault::FaultKind;
use crate::exchange::hub::Hub;
use crate::exchange::rest::{self, Call};
use crate::exchange::session;
use crate::exchange::venue::Venue;

/// A handshake may take this long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Largest body of a request.
const BODY_BYTES: usize = 1 << 20;

/// An HTTP answer.
pub(crate) type Reply = Response<Full<Bytes>>;

/// A whole JSON answer.
pub(crate) fn whole(status: u16, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// Serves a venue.
pub(crate) async fn listen(hub: Arc<Hub>, venue: Venue, listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&hub), venue, stream, acceptor.clone()));
            }
            // Out of file descriptors, for example: others may close theirs.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(hub: Arc<Hub>, venue: Venue, mut stream: TcpStream, acceptor: TlsAcceptor) {
    // Latency is the point here; a socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    if let Some(planned) = hub.reigning(FaultKind::TlsAbort, venue) {
        let mut hello = [0; 16];
        let read = timeout(HANDSHAKE, stream.read(&mut hello)).await;
        if matches!(read, Ok(Ok(length)) if length > 0) {
            hub.happened(&planned, venue, None, None, "connection ended during the handshake");
        }
        return;
    }
    let bad = hub.reigning(FaultKind::TlsBadCertificate, venue);
    let accepted = timeout(HANDSHAKE, acceptor.accept(stream)).await;
    if let Some(planned) = bad {
        let certificate = format!("{:?} certificate shown", planned.fault.certificate);
        hub.happened(&planned, venue, None, None, &certificate);
    }
    let Ok(Ok(stream)) = accepted else { return };
    let service = service_fn(|request| answer(Arc::clone(&hub), venue, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    // A client that goes away in the middle is its own business.
    drop(served);
}

async fn answer(hub: Arc<Hub>, venue: Venue, request: Request<Incoming>) -> Result<Reply, std::convert::Infallible> {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Ok(upgraded(hub, venue, request));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
        return Ok(whole(413, "{\"msg\":\"body too large\"}".into()));
    };
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_ascii_lowercase(), value.to_str().ok()?.to_owned())));
    let call = Call {
        venue,
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    };
    Ok(rest::answer(&hub, &call).await)
}

/// Answers the opening handshake of a WebSocket.
fn upgraded(hub: Arc<Hub>, venue: Venue, mut request: Request<Incoming>) -> Reply {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION).is_some_and(|value| value == "13");
    let Some(key) = key.filter(|_| version && request.method() == Method::GET) else {
        return whole(400, "{\"msg\":\"bad handshake\"}".into());
    };
    if !session::serves(venue, &path) {
        return whole(404, "{\"msg\":\"no such path\"}".into());
    }
    if let Err(rule) = hub.admit(venue) {
        hub.violation(venue, 0, rule, &path);
        return whole(429, format!("{{\"msg\":\"{rule}\"}}"));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            reader::serve(hub, venue, path, query, TokioIo::new(stream)).await;
        }
    });
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    reply
}
