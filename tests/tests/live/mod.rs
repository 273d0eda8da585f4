//! A simulated exchange in this process, and the configuration of an engine that reads it.

use std::path::Path;

use tidegate_simex::exchange::{CA_FILE, Exchange, ExchangeConfig, Keys, Venue, VenueConfig};

/// A venue of the exchange, the market that reads it, and a symbol.
pub const OKX: (Venue, &str, &str) = (Venue::Okx, "okx", "BTC-USDT-SWAP");
/// As [`OKX`].
pub const BITGET: (Venue, &str, &str) = (Venue::Bitget, "bitget-usdt", "BTCUSDT");

/// Starts an exchange whose authority is written to `folder`.
pub fn exchange(folder: &Path, venues: &[(Venue, &str, &str)], keys: Keys) -> Exchange {
    let venue = venues.iter().map(|(venue, ..)| (*venue, VenueConfig::default())).collect();
    let directory = Some(folder.to_owned());
    Exchange::start(ExchangeConfig { directory, venue, keys, ..ExchangeConfig::default() }).expect("an exchange")
}

/// The part of a configuration that reads `market` of an exchange; `more` are further keys of it.
pub fn venue(exchange: &Exchange, folder: &Path, market: (Venue, &str, &str), more: &str) -> String {
    let (venue, name, symbol) = market;
    let at = &exchange.addresses().venues[&venue];
    let authorities = folder.join(CA_FILE);
    let path = authorities.display().to_string();
    let (named, at) = (format!("symbols = [{symbol:?}]"), format!("stream = {:?}\nrest = {:?}", at.wss, at.https));
    format!("[[venues]]\nname = {name:?}\n{named}\n{at}\nauthorities = {path:?}\n{more}\n")
}
