//! Latent efficient prices: one path for each underlying, one mean-reverting basis for each instrument.
//!
//! The logarithm of an asset's price is a random walk with stochastic volatility: log-volatility is an
//! Ornstein-Uhlenbeck process, which gives volatility clustering and fat tails over seconds, and rare jumps add more.
//! Increments, log-volatilities and jumps of different assets share one factor with the configured correlation.

use crate::config::{AssetParams, InstrumentSpec};
use crate::draw::Draw;

/// Seconds of a 365-day year: crypto trades all of them.
const SECONDS_PER_YEAR: f64 = 365.0 * 86_400.0;

/// What the script asks of one asset within one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AssetConditions {
    /// Multiplies volatility.
    pub(crate) volatility: f64,
    /// Added to the logarithm of the price: the scripted part of a crash.
    pub(crate) drift: f64,
}

struct Asset {
    params: AssetParams,
    log_price: f64,
    /// Deviation of log-volatility from its mean.
    log_volatility: f64,
    /// Increment of the last step, for instruments that leave the common path.
    increment: f64,
    /// Volatility of the last step, 1/sqrt(s).
    volatility: f64,
}

struct Basis {
    asset: usize,
    /// Mean offset, as a logarithm.
    mean: f64,
    /// Stationary standard deviation.
    sd: f64,
    /// Rate of reversion, 1/s.
    reversion: f64,
    /// Present deviation from the mean; also carries what a decoupled instrument ran away.
    deviation: f64,
    tick_size: f64,
}

/// All latent prices of a run.
pub(crate) struct Latent {
    assets: Vec<Asset>,
    bases: Vec<Basis>,
    /// Weight of the common factor.
    common: f64,
    /// Weight of what is an asset's own.
    own: f64,
    draw: Draw,
}

impl Latent {
    pub(crate) fn new(assets: &[AssetParams], correlation: f64, specs: &[InstrumentSpec], mut draw: Draw) -> Self {
        let (common, own) = (libm::sqrt(correlation), libm::sqrt(1.0 - correlation));
        let factor = draw.normal();
        let assets = assets
            .iter()
            .map(|params| Asset {
                params: params.clone(),
                log_price: libm::log(params.price),
                log_volatility: params.log_volatility_sd * (common * factor + own * draw.normal()),
                increment: 0.0,
                volatility: 0.0,
            })
            .collect();
        let bases = specs
            .iter()
            .map(|spec| Basis {
                asset: spec.asset,
                mean: spec.flow.basis_bp * 1e-4,
                sd: spec.flow.basis_sd_bp.abs() * 1e-4,
                reversion: spec.flow.basis_reversion,
                deviation: spec.flow.basis_sd_bp * 1e-4 * draw.normal(),
                tick_size: spec.tick_size(),
            })
            .collect();
        Self { assets, bases, common, own, draw }
    }

    /// Advances every path by `seconds`. `decoupled` says which instruments follow paths of their own.
    pub(crate) fn step(
        &mut self,
        seconds: f64,
        conditions: impl Fn(usize) -> AssetConditions,
        decoupled: impl Fn(usize) -> bool,
    ) {
        let root = libm::sqrt(seconds);
        let factor = self.draw.normal();
        let volatility_factor = self.draw.normal();
        // Assets jump together: one draw decides for all, each with its own rate.
        let jump = self.draw.uniform() / seconds;
        let jump_factor = self.draw.normal();
        for (index, asset) in self.assets.iter_mut().enumerate() {
            let mut mixed = |shared: f64| self.common * shared + self.own * self.draw.normal();
            let params = &asset.params;
            let left = libm::exp(-params.volatility_reversion * seconds);
            let spread = params.log_volatility_sd * libm::sqrt(1.0 - left * left);
            asset.log_volatility = asset.log_volatility * left + spread * mixed(volatility_factor);
            let scripted = conditions(index);
            // The mean of exp(2 y) is exp(2 sd^2): dividing by it keeps the configured variance.
            let level = libm::exp(asset.log_volatility - params.log_volatility_sd * params.log_volatility_sd);
            asset.volatility = scripted.volatility * params.volatility * level / libm::sqrt(SECONDS_PER_YEAR);
            asset.increment = asset.volatility * root * mixed(factor);
            if jump < params.jump_rate {
                asset.increment += params.jump_sd_bp * 1e-4 * mixed(jump_factor);
            }
            asset.increment += scripted.drift;
            asset.log_price += asset.increment;
        }
        for (index, basis) in self.bases.iter_mut().enumerate() {
            let asset = &self.assets[basis.asset];
            let noise = self.draw.normal();
            if decoupled(index) {
                basis.deviation += asset.volatility * root * noise - asset.increment;
            } else {
                let left = libm::exp(-basis.reversion * seconds);
                basis.deviation = basis.deviation * left + basis.sd * libm::sqrt(1.0 - left * left) * noise;
            }
        }
    }

    /// Efficient price of an instrument, in its ticks.
    pub(crate) fn ticks(&self, instrument: usize) -> f64 {
        let basis = &self.bases[instrument];
        libm::exp(self.assets[basis.asset].log_price + basis.mean + basis.deviation) / basis.tick_size
    }

    /// Price of an instrument's underlying, quote currency.
    pub(crate) fn index_price(&self, instrument: usize) -> f64 {
        libm::exp(self.assets[self.bases[instrument].asset].log_price)
    }

    /// Volatility of an instrument's asset relative to its long-run level, without the script's part; about 1.
    pub(crate) fn activity(&self, instrument: usize) -> f64 {
        libm::exp(0.5 * self.assets[self.bases[instrument].asset].log_volatility)
    }
}
