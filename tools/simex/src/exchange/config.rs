//! What the exchange is told at start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::ExchangeError;
use super::fault::{Chaos, Fault};
use super::venue::{Category, Limits, Venue};

/// The whole exchange. `Default` is every venue with its built-in instruments on ports the system chooses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExchangeConfig {
    /// Seed of the order flow and of everything else random.
    pub seed: u64,
    /// Market seconds (or capture seconds) for each second of wall time.
    pub speed: f64,
    /// Multiplies the rates of the order flow.
    pub activity: f64,
    /// Multiplies every protocol time limit: ping intervals, deadlines, lifetimes, bans. 0.01 makes a minute 600 ms.
    pub time_scale: f64,
    /// Multiplies every push interval of the channels.
    pub interval_scale: f64,
    /// Venue clocks minus wall time at start, ms.
    pub clock_offset_ms: i64,
    /// Where `ca.pem` is written; nowhere if it is missing.
    pub directory: Option<PathBuf>,
    /// Port of the admin interface; 0 lets the system choose.
    pub admin_port: u16,
    /// Threads of the server.
    pub workers: usize,
    /// The one API key there is.
    pub keys: Keys,
    /// Which venues, and their settings; empty means all of them.
    pub venue: BTreeMap<Venue, VenueConfig>,
    /// Instruments instead of the built-in ones, for the venues they name.
    pub instrument: Vec<InstrumentConfig>,
    /// Scripted faults.
    pub fault: Vec<Fault>,
    /// Random faults.
    pub chaos: Option<Chaos>,
}

impl Default for ExchangeConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            speed: 1.0,
            activity: 1.0,
            time_scale: 1.0,
            interval_scale: 1.0,
            clock_offset_ms: 0,
            directory: None,
            admin_port: 0,
            workers: 2,
            keys: Keys::default(),
            venue: BTreeMap::new(),
            instrument: Vec::new(),
            fault: Vec::new(),
            chaos: None,
        }
    }
}

impl ExchangeConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, or it is not a configuration.
    pub fn load(path: &Path) -> Result<Self, ExchangeError> {
        let text = std::fs::read_to_string(path).map_err(|source| ExchangeError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        toml::from_str(&text).map_err(|error| ExchangeError::Config(format!("{}: {error}", path.display())))
    }

    /// The venues that are served.
    pub fn venues(&self) -> Vec<Venue> {
        if self.venue.is_empty() { Venue::VARIANTS.to_vec() } else { self.venue.keys().copied().collect() }
    }

    pub(crate) fn validate(&self) -> Result<(), ExchangeError> {
        let positive = [
            ("speed", self.speed, 1_000.0),
            ("activity", self.activity, 100.0),
            ("time_scale", self.time_scale, 100.0),
            ("interval_scale", self.interval_scale, 100.0),
        ];
        for (name, value, most) in positive {
            if !(value > 0.0 && value <= most) {
                return Err(ExchangeError::Config(format!("{name} is {value}, expected above 0 and at most {most}")));
            }
        }
        if !(1..=16).contains(&self.workers) {
            return Err(ExchangeError::Config(format!("workers is {}, expected 1 to 16", self.workers)));
        }
        for instrument in &self.instrument {
            instrument.validate()?;
        }
        if let Some((venue, _)) = self.venue.iter().find(|(venue, it)| it.no_snapshots && **venue != Venue::Okx) {
            return Err(ExchangeError::Config(format!("{}: no_snapshots is for okx", venue.name())));
        }
        if let Some(chaos) = &self.chaos {
            chaos.validate()?;
        }
        self.fault.iter().try_for_each(Fault::validate)
    }
}

/// The API key that is accepted; anything else is refused as the venue refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// API key or client id.
    pub key: String,
    /// Secret.
    pub secret: String,
    /// Passphrase, where the venue has one.
    pub passphrase: String,
}

impl Default for Keys {
    fn default() -> Self {
        Self { key: "test".into(), secret: "test".into(), passphrase: "test".into() }
    }
}

/// Settings of one venue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VenueConfig {
    /// Port; 0 lets the system choose.
    pub port: u16,
    /// `books` begin with the next change instead of a snapshot, which REST has (OKX).
    pub no_snapshots: bool,
    /// Limits other than the venue's own.
    pub limits: Limits,
}

/// An instrument of a venue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentConfig {
    /// Where it trades.
    pub venue: Venue,
    /// The venue's name of it: `BTCUSDT`, `BTC-USDT-SWAP`, `BTC-PERPETUAL`.
    pub symbol: String,
    /// What it is.
    pub category: Category,
    /// Base currency: `BTC`.
    pub base: String,
    /// Quote currency: `USDT`.
    pub quote: String,
    /// First price. BTC and ETH instruments follow the same two paths whatever it is.
    pub price: f64,
    /// Decimals printed in prices, 0 to 8.
    pub price_decimals: u32,
    /// One tick, in units of the last price decimal.
    pub tick_units: i64,
    /// Decimals printed in quantities, 0 to 8.
    pub qty_decimals: u32,
    /// One lot, in units of the last quantity decimal.
    pub lot_units: i64,
    /// Underlying of one contract: base currency (linear) or quote currency (inverse); 1 where sizes are no contracts.
    #[serde(default = "one")]
    pub contract: f64,
    /// A recorded Binance capture that drives the book and the trades instead of the simulated order flow.
    #[serde(default)]
    pub capture: Option<PathBuf>,
    /// Whether the capture starts again at its end.
    #[serde(default)]
    pub repeat: bool,
}

fn one() -> f64 {
    1.0
}

impl InstrumentConfig {
    fn validate(&self) -> Result<(), ExchangeError> {
        let fail = |what: &str| Err(ExchangeError::Config(format!("instrument {}: {what}", self.symbol)));
        if self.category == Category::Option {
            return fail("options are made by the exchange");
        }
        if self.price_decimals > 8 || self.qty_decimals > 8 || self.tick_units < 1 || self.lot_units < 1 {
            return fail("decimals are 0 to 8, tick_units and lot_units at least 1");
        }
        if self.tick_units > 1_000_000_000 || self.lot_units > 1_000_000_000 {
            return fail("tick_units and lot_units are at most 1e9");
        }
        let tick = self.tick_units as f64 / libm::pow(10.0, f64::from(self.price_decimals));
        if !(1e3..1e11).contains(&(self.price / tick)) {
            return fail("the price must be 1e3 to 1e11 ticks");
        }
        if self.symbol.is_empty() || self.base.is_empty() || self.contract <= 0.0 {
            return fail("symbol and base must have names, and contract be above 0");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_says_everything_that_can_be_said() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/simex.toml");
        let config = ExchangeConfig::load(&path).unwrap();
        config.validate().unwrap();
        assert_eq!(config.venues().len(), Venue::VARIANTS.len());
        assert_eq!((config.fault.len(), config.instrument.len()), (7, 1));
        let written: toml::Table = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let keys = toml::Table::try_from(&config).unwrap();
        assert!(keys.keys().all(|key| written.contains_key(key)), "a key is not in the example");
    }

    #[test]
    fn impossible_settings_are_named() {
        for (text, part) in [
            ("speed = 0.0", "speed"),
            ("workers = 0", "workers"),
            ("[venue.bitget]\nno_snapshots = true", "no_snapshots"),
            ("[chaos]\nseed = 1\nper_minute = 0.0", "per_minute"),
            ("[[fault]]\nkind = 'flood'\nfactor = 0.5", "factor"),
        ] {
            let config: ExchangeConfig = toml::from_str(text).unwrap();
            assert!(config.validate().unwrap_err().to_string().contains(part), "{text}");
        }
        assert!(toml::from_str::<ExchangeConfig>("sped = 1").is_err());
    }
}
