//! What must be known before the loop begins: instruments and, as far as venues tell in time, where they trade.

use std::time::{Duration, Instant};

use tidegate_feed::session::budget::Budget;
use tidegate_feed::session::definitions;
use tidegate_feed::session::plan::MarketPlan;
use tidegate_feed::transport::rest::{Client, Request};
use tidegate_wire::{Instrument, Price, Registry, Scale};

use super::{LiveError, LivePlan};

/// Attempts to learn instruments before a run is given up.
const ATTEMPTS: u32 = 5;

/// Longest order to stay away that is waited for; a longer one ends the start, with its time in the message.
const PENALTY_MAX: Duration = Duration::from_secs(120);

/// Asks the venues for every wanted instrument that `registry` does not have yet, and where instruments trade.
///
/// # Errors
/// [`LiveError::Instruments`] with the last reason, or which symbols a venue does not list.
pub(crate) fn learn_instruments(plan: &LivePlan, registry: &mut Registry) -> Result<(), LiveError> {
    for market in &plan.markets {
        let wrong = |reason: String| LiveError::Instruments { venue: market.venue.name(), reason };
        let mut venue = Asking::of(market, plan.settings.patience).map_err(wrong)?;
        let wanted: Vec<String> =
            market.symbols.iter().filter(|symbol| registry.find(market.venue, symbol).is_none()).cloned().collect();
        if !wanted.is_empty() {
            let found = venue.instruments(&wanted).map_err(wrong)?;
            let is_found = |symbol: &&String| found.iter().any(|instrument| instrument.symbol == **symbol);
            let missing: Vec<_> = wanted.iter().filter(|symbol| !is_found(symbol)).map(String::as_str).collect();
            if !missing.is_empty() {
                return Err(wrong(format!("the venue does not list {}", missing.join(", "))));
            }
            for instrument in found {
                registry.add(instrument).map_err(|error| wrong(error.to_string()))?;
            }
        }
        venue.learn_prices(registry);
    }
    Ok(())
}

/// One market being asked, within its budget.
struct Asking<'m> {
    market: &'m MarketPlan,
    client: Client,
    begun: Instant,
    budget: Budget,
}

/// Why a request was of no use.
enum Failure {
    /// In words; it may work at the next attempt.
    Passing(String),
    /// The venue wants none for so long.
    Away(Duration, String),
}

impl<'m> Asking<'m> {
    fn of(market: &'m MarketPlan, patience: Duration) -> Result<Self, String> {
        let client = Client::new(&market.rest, market.authorities.as_deref(), patience)?;
        Ok(Self { market, client, begun: Instant::now(), budget: Budget::new(market.limits.requests) })
    }

    /// Definitions of instruments; what fails is tried again, not before the venue allows it.
    fn instruments(&mut self, wanted: &[String]) -> Result<Vec<Instrument>, String> {
        let mut found: Vec<Instrument> = Vec::new();
        for request in self.market.dialect.instruments(wanted) {
            let (mut attempt, mut pause) = (1, Duration::from_millis(250));
            let rows = loop {
                let answer = self.get(&request, Duration::MAX);
                let read =
                    |body: Vec<u8>| self.market.dialect.read_instruments(&body, wanted).map_err(Failure::Passing);
                let (wait, reason) = match answer.and_then(read) {
                    Ok(rows) => break rows,
                    Err(Failure::Passing(reason)) => (pause, reason),
                    Err(Failure::Away(wait, reason)) => (wait.max(pause), reason),
                };
                if attempt >= ATTEMPTS || wait > PENALTY_MAX {
                    return Err(reason);
                }
                tracing::warn!(venue = self.market.venue.name(), reason, "instruments could not be asked for");
                std::thread::sleep(wait);
                (attempt, pause) = (attempt + 1, pause * 2);
            };
            for instrument in rows {
                if !found.iter().any(|known| known.symbol == instrument.symbol) {
                    found.push(instrument);
                }
            }
        }
        Ok(found)
    }

    /// Where instruments trade, so that their ladders are made before the loop begins. A price that does not come in
    /// time is no error: the first snapshot makes that ladder then.
    fn learn_prices(&mut self, registry: &mut Registry) {
        for symbol in &self.market.symbols {
            let Some(id) = registry.find(self.market.venue, symbol) else { continue };
            let Some(request) = self.market.dialect.touch(symbol) else { continue };
            let scale = registry.get(id).map_or(Scale::saturating(0), |instrument| instrument.price_scale);
            let reason = match self.get(&request, PRICE_WAIT).map(|body| price(&body, scale)) {
                Ok(Some(price)) => {
                    registry.set_price(id, price);
                    continue;
                }
                // An empty book has none.
                Ok(None) => continue,
                Err(Failure::Passing(reason)) => reason,
                Err(Failure::Away(wait, reason)) => {
                    std::thread::sleep(wait.min(PENALTY_MAX));
                    reason
                }
            };
            // Nor would the others come in time.
            let venue = self.market.venue.name();
            tracing::info!(venue, symbol, reason, "prices are learnt from the first books");
            return;
        }
    }

    /// Makes a request when the budget has room for it, which must be within `patience`.
    fn get(&mut self, request: &Request, patience: Duration) -> Result<Vec<u8>, Failure> {
        while let Err(wait) = self.budget.take_heavy(self.begun.elapsed(), request.weight) {
            if wait > patience {
                return Err(Failure::Passing("the venue allows too few requests".into()));
            }
            std::thread::sleep(wait);
        }
        let answer = self.client.get(request).map_err(|error| Failure::Passing(error.to_string()))?;
        if answer.status == 200 {
            return Ok(answer.body);
        }
        let reason = format!("{}: HTTP status {}", request.path, answer.status);
        let penalty = answer.retry_after.map(Duration::from_secs).or(self.market.dialect.penalty(answer.status));
        Err(match penalty {
            Some(wait) => Failure::Away(wait, format!("{reason}, not before {} s", wait.as_secs())),
            None => Failure::Passing(reason),
        })
    }
}

/// A price may wait so long for the venue's budget.
const PRICE_WAIT: Duration = Duration::from_millis(500);

fn price(body: &[u8], scale: Scale) -> Option<Price> {
    let scaled = definitions::price(body)? * scale.units() as f64;
    // Beyond what fixed point holds it is no price.
    (1.0..1e18).contains(&scaled).then(|| Price::from_raw(scaled as i64))
}
