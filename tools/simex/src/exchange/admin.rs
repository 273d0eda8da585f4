//! The admin interface: plain HTTP on the loopback, JSON.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::fault::Fault;
use super::hub::{Hub, lock};
use super::net::{Reply, whole};
use super::venue::{Category, Venue};
use super::{Addresses, BookState};

/// Largest body of a request.
const BODY_BYTES: usize = 1 << 16;

/// Serves the interface until the runtime ends.
pub(super) async fn serve(hub: Arc<Hub>, addresses: Addresses, listener: TcpListener) {
    let addresses = Arc::new(addresses);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (hub, addresses) = (Arc::clone(&hub), Arc::clone(&addresses));
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&hub), Arc::clone(&addresses), request));
            // A client that goes away in the middle is its own business.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(hub: Arc<Hub>, addresses: Arc<Addresses>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let reply = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/addresses") => show(&*addresses),
        (&Method::GET, "/book") => book(&hub, &query),
        (&Method::GET, "/books") => {
            let books: Vec<BookState> = lock(&hub.core).instruments.iter().map(BookState::of).collect();
            show(&books)
        }
        (&Method::GET, "/faults") => show(&hub.faults()),
        (&Method::GET, "/violations") => show(&hub.violations()),
        (&Method::GET, "/clients") => show(&hub.clients()),
        (&Method::GET, "/stats") => show(&hub.stats()),
        (&Method::POST, "/freeze") => {
            hub.freeze();
            show(&json!({"frozen": true}))
        }
        (&Method::POST, "/thaw") => {
            hub.thaw();
            show(&json!({"frozen": false}))
        }
        (&Method::POST, "/fault") => {
            let body = Limited::new(body, BODY_BYTES).collect().await;
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            match serde_json::from_slice::<Fault>(&body) {
                Ok(fault) => match hub.inject(fault) {
                    Ok(id) => show(&json!({"id": id})),
                    Err(error) => refuse(400, &error.to_string()),
                },
                Err(error) => refuse(400, &error.to_string()),
            }
        }
        _ => refuse(404, "no such path"),
    };
    Ok(reply)
}

fn show(value: &impl Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(text) => whole(200, text),
        Err(error) => refuse(500, &error.to_string()),
    }
}

fn refuse(status: u16, reason: &str) -> Reply {
    whole(status, json!({"error": reason}).to_string())
}

fn book(hub: &Hub, query: &str) -> Reply {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let venue = value("venue").and_then(|text| text.parse::<Venue>().ok());
    let (Some(venue), Some(symbol)) = (venue, value("symbol")) else {
        return refuse(400, "expected venue and symbol");
    };
    let category = match value("category") {
        None => None,
        Some(text) => match serde_json::from_value::<Category>(text.into()) {
            Ok(category) => Some(category),
            Err(_) => return refuse(400, "no such category"),
        },
    };
    let core = lock(&hub.core);
    match core.find(venue, symbol, category).and_then(|index| core.instruments.get(index)) {
        Some(instrument) => show(&BookState::of(instrument)),
        None => refuse(404, "no such instrument"),
    }
}
