//! REST: weights, faults, signatures, and the answers of each venue.

mod binance;
mod bitget;
mod bybit;
pub(crate) mod deribit;
mod okx;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::fault::{FaultKind, Planned};
use super::hub::{Hub, lock};
use super::market::{BookView, Instrument};
use super::net::{Reply, whole};
use super::rate::Verdict;
use super::venue::{Category, Venue};

/// A request.
pub(crate) struct Call {
    pub(crate) venue: Venue,
    pub(crate) method: String,
    pub(crate) path: String,
    /// As sent, not decoded: signatures cover it like that.
    pub(crate) query: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Call {
    /// A parameter of the query, or nothing.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or_default()
    }

    /// A number among the parameters.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.parameter(name).parse().ok()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Path with the query, as signatures want it.
    pub(crate) fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

/// A venue's answer: HTTP status and JSON.
pub(crate) type Answer = (u16, String);

/// Answers a request, after what faults and limits have to say about it.
pub(crate) async fn answer(hub: &Arc<Hub>, call: &Call) -> Reply {
    let venue = call.venue;
    let reigning = |kind| hub.reigning(kind, venue);
    let record = |planned: &Planned, detail: &str| hub.happened(planned, venue, None, None, detail);
    if let Some(planned) = reigning(FaultKind::RestSlow) {
        let delay = planned.fault.delay;
        tokio::time::sleep(delay).await;
        record(&planned, &format!("{} after {} ms", call.path, delay.as_millis()));
    }
    if let Some(planned) = reigning(FaultKind::RestError5xx) {
        let status = planned.fault.code.unwrap_or(503);
        record(&planned, &format!("{} answered {status}", call.path));
        return whole(status, "{\"code\":-1000,\"msg\":\"Service unavailable\"}".into());
    }
    if let Some(planned) = reigning(FaultKind::RateLimited) {
        let status = planned.fault.code.unwrap_or(429);
        record(&planned, &format!("{} answered {status}", call.path));
        return refusal(hub, venue, status, planned.fault.retry_after);
    }
    let weight = if venue.is_binance() { binance::weight(call) } else { 1 };
    let used = match hub.weigh(venue, weight) {
        Verdict::Fine(used) => used,
        Verdict::Slow(left_ns) => {
            hub.violation(venue, 0, "rest_rate", &call.path);
            let status = if venue == Venue::Bybit { 403 } else { 429 };
            return refusal(hub, venue, status, Duration::from_nanos(left_ns.unsigned_abs()));
        }
        Verdict::Banned(left_ns) => {
            hub.violation(venue, 0, "rest_ban", &call.path);
            return refusal(hub, venue, 418, Duration::from_nanos(left_ns.unsigned_abs()));
        }
    };
    let (status, body) = match venue {
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => binance::answer(hub, call),
        Venue::Bybit => bybit::answer(hub, call),
        Venue::Okx => okx::answer(hub, call),
        Venue::Bitget => bitget::answer(hub, call),
        Venue::Deribit => deribit::rest(hub, call),
    };
    let mut reply = whole(status, body);
    let limit = hub.limits(venue).rest_weight;
    let left = u64::from(limit).saturating_sub(used);
    let headers = match venue {
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => vec![("x-mbx-used-weight-1m", used)],
        Venue::Bitget => vec![("x-mbx-used-remain-limit", left)],
        Venue::Bybit => vec![("x-bapi-limit", u64::from(limit)), ("x-bapi-limit-status", left)],
        Venue::Okx | Venue::Deribit => Vec::new(),
    };
    for (name, value) in headers {
        reply.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    reply
}

/// Too many requests, in the venue's words.
fn refusal(hub: &Hub, venue: Venue, status: u16, retry_after: Duration) -> Reply {
    let until_ms = hub.clock.ms(venue) + retry_after.as_millis() as i64;
    let body = match venue {
        Venue::BinanceSpot | Venue::BinanceUsdm | Venue::BinanceCoinm => format!(
            "{{\"code\":-1003,\"msg\":\"Way too many requests; IP banned until {until_ms}. Please use the websocket \
             for live updates to avoid bans.\"}}"
        ),
        Venue::Okx => "{\"code\":\"50011\",\"msg\":\"Requests too frequent.\",\"data\":[]}".to_owned(),
        Venue::Bybit => {
            "{\"retCode\":10006,\"retMsg\":\"Too many visits!\",\"result\":{},\"retExtInfo\":{},\"time\":0}".to_owned()
        }
        Venue::Bitget => "{\"code\":\"429\",\"msg\":\"Too Many Requests\",\"requestTime\":0,\"data\":null}".to_owned(),
        Venue::Deribit => {
            "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":10028,\"message\":\"too_many_requests\",\"data\":null}}"
                .to_owned()
        }
    };
    let mut reply = whole(status, body);
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    reply.headers_mut().insert(HeaderName::from_static("retry-after"), HeaderValue::from(seconds));
    reply
}

/// Shows an instrument and its book as REST has it; `None` where there is no such instrument.
pub(crate) fn with_book<T>(
    hub: &Hub,
    venue: Venue,
    found: impl Fn(&Instrument) -> bool,
    show: impl FnOnce(&Instrument, BookView) -> T,
) -> Option<T> {
    let mut core = lock(&hub.core);
    let instrument = core.instruments.iter_mut().find(|instrument| instrument.venue() == venue && found(instrument))?;
    let (view, stale) = instrument.rest_view(hub.clock.now_ns());
    if stale && let Some(planned) = hub.reigning(FaultKind::StaleSnapshot, venue) {
        let detail = format!("book of id {} instead of {}", view.id, instrument.id);
        hub.happened(&planned, venue, Some(&instrument.symbol), None, &detail);
    }
    Some(show(instrument, view))
}

/// What `show` makes of every instrument of a venue.
pub(crate) fn listed<T>(hub: &Hub, venue: Venue, show: impl Fn(&Instrument) -> Option<T>) -> Vec<T> {
    let core = lock(&hub.core);
    core.instruments.iter().filter(|instrument| instrument.venue() == venue).filter_map(show).collect()
}

/// Size of a tick as text: `0.10`.
pub(crate) fn tick_text(instrument: &Instrument) -> String {
    instrument.price(1)
}

/// Size of a lot as text.
pub(crate) fn lot_text(instrument: &Instrument) -> String {
    instrument.quantity(1)
}

/// Whether it trades spot.
pub(crate) fn is_spot(instrument: &Instrument) -> bool {
    instrument.listing.config.category == Category::Spot
}
