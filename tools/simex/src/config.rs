//! What is simulated: instruments, their order flow, the script and the seed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::SimError;
use crate::defaults;
use crate::script::Script;

/// Largest number of instruments: exchange-wide update ids keep one residue class for each.
pub const MAX_INSTRUMENTS: usize = 16;

/// A whole run. `Default` is the two-minute demo with seed 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimConfig {
    /// Everything random follows from this number; the same seed gives the same bytes on every host.
    pub seed: u64,
    /// Venue time of the start, ns since the Unix epoch.
    pub start_ns: i64,
    /// Length of the run in venue time. Frames still under way at the end are delivered.
    pub duration: Duration,
    /// Instruments, 1 to [`MAX_INSTRUMENTS`]; their position is the index used everywhere else.
    pub instruments: Vec<InstrumentSpec>,
    /// Latent prices, one for each underlying asset; [`InstrumentSpec::asset`] points into it.
    pub assets: Vec<AssetParams>,
    /// Correlation of the increments of any two assets' latent prices, in [0, 1].
    pub asset_correlation: f64,
    /// When which regime rules.
    pub script: Script,
    /// The way from the venue to the recorder.
    pub network: NetworkParams,
    /// Also emit `@aggTrade` frames. The recorded captures have none, so this is off by default.
    pub agg_trades: bool,
}

impl SimConfig {
    /// The default six instruments, with one regime of each kind at fixed fractions of `duration`.
    pub fn demo(seed: u64, duration: Duration) -> Self {
        Self {
            seed,
            start_ns: defaults::START_NS,
            duration,
            instruments: defaults::instruments(),
            assets: defaults::assets(),
            asset_correlation: 0.8,
            script: Script::demo(duration),
            network: NetworkParams::default(),
            agg_trades: false,
        }
    }

    /// The same market with nothing happening: what the calibration compares with recorded, uneventful minutes.
    pub fn calm(seed: u64, duration: Duration) -> Self {
        Self { script: Script::default(), ..Self::demo(seed, duration) }
    }

    /// Perpetuals of six coins and of TON with a few quotes a second and nothing happening: what a market of a whole
    /// day is made of that nobody wants to wait long for. Its volatility comes and goes over an hour.
    pub fn thin(seed: u64, duration: Duration) -> Self {
        Self {
            instruments: defaults::thin_instruments(),
            assets: defaults::thin_assets(),
            asset_correlation: 0.6,
            ..Self::calm(seed, duration)
        }
    }

    /// Checks every range; [`crate::Simulator::new`] does it first.
    ///
    /// # Errors
    /// Names the first setting outside its range.
    pub fn validate(&self) -> Result<(), SimError> {
        let count = self.instruments.len();
        if count == 0 || count > MAX_INSTRUMENTS {
            return Err(SimError::InstrumentCount { count, max: MAX_INSTRUMENTS });
        }
        let seconds = self.duration.as_secs_f64();
        // A quarter of the range is left for latencies and for the times derived from the end.
        let end = i64::try_from(self.duration.as_nanos()).ok().and_then(|run| self.start_ns.checked_add(run));
        if self.start_ns < 0 || end.is_none_or(|end| end > i64::MAX / 4 * 3) {
            return Err(SimError::Time { start_ns: self.start_ns, seconds });
        }
        in_range("all", "asset_correlation", self.asset_correlation, 0.0, 1.0, "a number in [0, 1]")?;
        for asset in &self.assets {
            asset.validate()?;
        }
        self.network.validate()?;
        for instrument in &self.instruments {
            instrument.validate(self.assets.len())?;
            let ticks = self.assets[instrument.asset].price / instrument.tick_size();
            in_range(&instrument.symbol, "price in ticks", ticks, 1e4, 1e10, "1e4 to 1e10: a tick of at most 1 bp")?;
        }
        self.script.validate(count)
    }
}

impl Default for SimConfig {
    fn default() -> Self {
        Self::demo(1, Duration::from_secs(120))
    }
}

/// Which Binance product an instrument belongs to: it decides frame formats, batching and sequence rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// Spot: `@depth@100ms`, ids per symbol, no event time in bookTicker.
    Spot,
    /// USD-margined futures: about 50 ms batches, exchange-wide ids chained by `pu`.
    UsdM,
    /// Coin-margined futures: about 12 ms batches, contract quantities, `ps` in every frame.
    CoinM,
}

impl Product {
    /// Prefix of capture files: `spot`, `usdm` or `cm`.
    pub fn prefix(self) -> &'static str {
        match self {
            Product::Spot => "spot",
            Product::UsdM => "usdm",
            Product::CoinM => "cm",
        }
    }

    /// Whether it is a perpetual future (mark price, funding, `pu`).
    pub fn is_future(self) -> bool {
        self != Product::Spot
    }
}

/// One instrument: names, grids and order flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstrumentSpec {
    /// Product, which implies the frame formats.
    pub product: Product,
    /// Symbol as in frames, upper case: `BTCUSDT`, `BTCUSD_PERP`.
    pub symbol: String,
    /// Pair as in COIN-M frames (`BTCUSD`); ignored elsewhere.
    pub pair: String,
    /// Position of the underlying in [`SimConfig::assets`].
    pub asset: usize,
    /// Decimals printed in prices, 0 to 8.
    pub price_decimals: u32,
    /// One tick, in units of the last printed price decimal; at least 1.
    pub tick_units: i64,
    /// Decimals printed in quantities, 0 to 8.
    pub qty_decimals: u32,
    /// One lot, in units of the last printed quantity decimal; at least 1.
    pub lot_units: i64,
    /// Update ids per second the whole venue spends; only futures, whose ids are exchange-wide.
    pub ids_per_second: f64,
    /// First update id.
    pub first_update_id: i64,
    /// First trade id.
    pub first_trade_id: i64,
    /// Order flow.
    pub flow: FlowParams,
}

impl InstrumentSpec {
    /// Price of one tick in quote currency.
    pub fn tick_size(&self) -> f64 {
        self.tick_units as f64 / libm::pow(10.0, f64::from(self.price_decimals))
    }

    /// Quantity of one lot: base currency on spot and USD-M, contracts on COIN-M.
    pub fn lot_size(&self) -> f64 {
        self.lot_units as f64 / libm::pow(10.0, f64::from(self.qty_decimals))
    }

    /// `usdm_btcusdt`: product prefix and lower-case symbol, unique in a run.
    pub fn label(&self) -> String {
        format!("{}_{}", self.product.prefix(), self.symbol.to_lowercase())
    }

    fn validate(&self, assets: usize) -> Result<(), SimError> {
        let check = |field, value, low, high, expected| in_range(&self.symbol, field, value, low, high, expected);
        check("asset", self.asset as f64, 0.0, assets as f64 - 1.0, "an index into assets")?;
        check("price_decimals", f64::from(self.price_decimals), 0.0, 8.0, "0 to 8")?;
        check("qty_decimals", f64::from(self.qty_decimals), 0.0, 8.0, "0 to 8")?;
        check("tick_units", self.tick_units as f64, 1.0, 1e12, "at least 1")?;
        check("lot_units", self.lot_units as f64, 1.0, 1e12, "at least 1")?;
        check("ids_per_second", self.ids_per_second, 0.0, 1e6, "in [0, 1e6]")?;
        check("first_update_id", self.first_update_id as f64, 1.0, 1e15, "in [1, 1e15]")?;
        check("first_trade_id", self.first_trade_id as f64, 1.0, 1e15, "in [1, 1e15]")?;
        self.flow.validate(&self.symbol)
    }
}

/// Order flow of one instrument. Rates are per second at the calm level of activity; distances are in basis points
/// of the price (bp, 1e-4); quantities are in lots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowParams {
    /// Mean rate of market orders, both sides together and including the self-excited ones.
    pub order_rate: f64,
    /// Hawkes branching ratio, in [0, 1).
    pub branching: f64,
    /// Part of the branching ratio that excites the other side, in [0, 1].
    pub cross_share: f64,
    /// Rate at which excitation dies away, 1/s.
    pub excitation_decay: f64,
    /// Tail exponent of the number of resting orders a market order meets, above 1.
    pub fills_tail: f64,
    /// Scale of that number; its mean is about 1 + scale / (tail - 1).
    pub fills_scale: f64,
    /// Smallest size of a fill unless a level has less left, at least 1: the venue's least order value.
    pub min_fill_lots: i64,
    /// Median size of one fill.
    pub fill_lots: f64,
    /// Standard deviation of the logarithm of fill sizes.
    pub fill_log_sd: f64,
    /// Part of order sizes that are round amounts, in [0, 1].
    pub round_share: f64,
    /// Rate of limit orders and cancellations at the touch, both sides together.
    pub touch_rate: f64,
    /// Typical quantity at the touch.
    pub touch_lots: f64,
    /// Median size of one order at the touch.
    pub touch_order_lots: f64,
    /// Rate of limit orders and cancellations behind the touch, without bursts.
    pub deep_rate: f64,
    /// Median number of additional events behind the touch that one market order or repricing sets off.
    pub burst_events: f64,
    /// Standard deviation of the logarithm of that number: it gives depth frames their long tail.
    pub burst_log_sd: f64,
    /// Rate at which a burst dies away, 1/s.
    pub burst_decay: f64,
    /// Levels per basis point and side that the flow behind the touch tends to.
    pub density_per_bp: f64,
    /// Levels per basis point left next to the touch after a repricing.
    pub near_density_per_bp: f64,
    /// Distance at which the density has fallen to a half, bp.
    pub density_scale_bp: f64,
    /// Median quantity of a level behind the touch.
    pub level_lots: f64,
    /// Standard deviation of the logarithm of level quantities.
    pub level_log_sd: f64,
    /// Scale of the power-law distance of orders from the touch, bp.
    pub distance_scale_bp: f64,
    /// Tail exponent of that distance.
    pub distance_tail: f64,
    /// Part of the flow behind the touch that changes a quantity instead of adding or removing a level.
    pub change_share: f64,
    /// Part of new levels that are cancelled again within [`FlowParams::fleeting_life_ms`].
    pub fleeting_share: f64,
    /// Mean life of a fleeting order, ms.
    pub fleeting_life_ms: f64,
    /// Distance between the efficient price and the mid at which quotes are moved, bp.
    pub reprice_bp: f64,
    /// Rate of repricing beyond that distance.
    pub reprice_rate: f64,
    /// Part of repricings in which a fast taker gets to the stale quotes before their owners do, in [0, 1].
    pub snipe_share: f64,
    /// Rate at which a spread wider than a tick is closed again.
    pub refill_rate: f64,
    /// Part of those closings that are a step only: one side improves by a random part of the gap, in [0, 1].
    pub step_share: f64,
    /// Mean offset from the asset's latent price, bp.
    pub basis_bp: f64,
    /// Standard deviation of the mean-reverting part of the basis, bp.
    pub basis_sd_bp: f64,
    /// Rate of that mean reversion, 1/s.
    pub basis_reversion: f64,
}

impl FlowParams {
    fn validate(&self, symbol: &str) -> Result<(), SimError> {
        let shares = [
            ("cross_share", self.cross_share),
            ("round_share", self.round_share),
            ("change_share", self.change_share),
            ("snipe_share", self.snipe_share),
            ("step_share", self.step_share),
        ];
        for (field, value) in shares {
            in_range(symbol, field, value, 0.0, 1.0, "a share in [0, 1]")?;
        }
        in_range(symbol, "fleeting_share", self.fleeting_share, 0.0, 0.9, "a share in [0, 0.9]")?;
        in_range(symbol, "branching", self.branching, 0.0, 0.98, "in [0, 0.98]: arrivals explode at 1")?;
        in_range(symbol, "fills_tail", self.fills_tail, 1.05, 20.0, "in [1.05, 20], for a finite mean")?;
        in_range(symbol, "min_fill_lots", self.min_fill_lots as f64, 1.0, 1e9, "at least 1")?;
        in_range(symbol, "reprice_bp", self.reprice_bp, 0.01, 100.0, "in [0.01, 100] bp")?;
        in_range(symbol, "reprice_rate", self.reprice_rate, 1.0, 1e4, "in [1, 10000] per second")?;
        in_range(symbol, "refill_rate", self.refill_rate, 1.0, 1e4, "in [1, 10000] per second")?;
        for (field, value) in self.positive_settings() {
            in_range(symbol, field, value, 1e-3, 1e7, "in [0.001, 1e7]")?;
        }
        for (field, value) in [("basis_bp", self.basis_bp), ("basis_sd_bp", self.basis_sd_bp)] {
            in_range(symbol, field, value, -1_000.0, 1_000.0, "in [-1000, 1000] bp")?;
        }
        for (field, value) in [
            ("fill_log_sd", self.fill_log_sd),
            ("burst_log_sd", self.burst_log_sd),
            ("level_log_sd", self.level_log_sd),
        ] {
            in_range(symbol, field, value, 0.0, 4.0, "in [0, 4]")?;
        }
        Ok(())
    }

    /// Rates, scales and sizes, which only have to be positive and finite.
    fn positive_settings(&self) -> [(&'static str, f64); 19] {
        [
            ("order_rate", self.order_rate),
            ("excitation_decay", self.excitation_decay),
            ("fills_scale", self.fills_scale),
            ("fill_lots", self.fill_lots),
            ("touch_rate", self.touch_rate),
            ("touch_lots", self.touch_lots),
            ("touch_order_lots", self.touch_order_lots),
            ("deep_rate", self.deep_rate),
            ("burst_events", self.burst_events),
            ("burst_decay", self.burst_decay),
            ("density_per_bp", self.density_per_bp),
            ("near_density_per_bp", self.near_density_per_bp),
            ("density_scale_bp", self.density_scale_bp),
            ("level_lots", self.level_lots),
            ("distance_scale_bp", self.distance_scale_bp),
            ("distance_tail", self.distance_tail),
            ("fleeting_life_ms", self.fleeting_life_ms),
            ("basis_reversion", self.basis_reversion),
            ("reprice_bp", self.reprice_bp),
        ]
    }
}

/// The latent price of one underlying asset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssetParams {
    /// Price at the start, quote currency.
    pub price: f64,
    /// Annualised volatility at the calm level (365 days), for example 0.6.
    pub volatility: f64,
    /// Standard deviation of the logarithm of volatility around its mean.
    pub log_volatility_sd: f64,
    /// Rate at which log-volatility returns to its mean, 1/s.
    pub volatility_reversion: f64,
    /// Jumps per second.
    pub jump_rate: f64,
    /// Standard deviation of a jump, bp.
    pub jump_sd_bp: f64,
}

impl AssetParams {
    fn validate(&self) -> Result<(), SimError> {
        let check = |field, value, low, high, expected| in_range("asset", field, value, low, high, expected);
        check("price", self.price, 1e-6, 1e9, "in [1e-6, 1e9]")?;
        check("volatility", self.volatility, 0.0, 10.0, "in [0, 10] a year")?;
        check("log_volatility_sd", self.log_volatility_sd, 0.0, 2.0, "in [0, 2]")?;
        check("volatility_reversion", self.volatility_reversion, 1e-6, 10.0, "in [1e-6, 10] per second")?;
        check("jump_rate", self.jump_rate, 0.0, 10.0, "in [0, 10] per second")?;
        check("jump_sd_bp", self.jump_sd_bp, 0.0, 500.0, "in [0, 500] bp")
    }
}

/// Log-normal network latency from the venue's event to the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkParams {
    /// Median latency, ms.
    pub median_ms: f64,
    /// Standard deviation of its logarithm.
    pub log_sd: f64,
    /// Shortest possible latency, ms: the distance.
    pub floor_ms: f64,
}

impl NetworkParams {
    fn validate(&self) -> Result<(), SimError> {
        in_range("network", "median_ms", self.median_ms, 0.0, 1e5, "in [0, 1e5] ms")?;
        in_range("network", "log_sd", self.log_sd, 0.0, 3.0, "in [0, 3]")?;
        in_range("network", "floor_ms", self.floor_ms, 0.0, 1e5, "in [0, 1e5] ms")
    }
}

impl Default for NetworkParams {
    fn default() -> Self {
        Self { median_ms: 2.0, log_sd: 0.5, floor_ms: 0.8 }
    }
}

/// NaN is outside every range.
fn in_range(
    symbol: &str,
    field: &'static str,
    value: f64,
    low: f64,
    high: f64,
    expected: &'static str,
) -> Result<(), SimError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(SimError::Setting { symbol: symbol.to_owned(), field, value, expected })
}
