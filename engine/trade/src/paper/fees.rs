//! What an execution is worth and what it costs.

use tidegate_guard::risk::{Decimal, Rounding, Valuer};
use tidegate_wire::Instrument;

use super::config::{FeeConfig, PaperError};
use crate::gateway::Liquidity;

/// Millionths in one.
const MILLION: i128 = 1_000_000;

/// Values and fees of one instrument, millionths of its quote currency. For inverse contracts, whose fees are paid in
/// coin, that is what the coin is worth at the price of the execution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fees {
    valuer: Valuer,
    maker_ppm: i32,
    taker_ppm: i32,
}

impl Fees {
    /// # Errors
    /// A contract whose values do not fit 64 bits.
    pub(super) fn new(instrument: &Instrument, config: &FeeConfig) -> Result<Self, PaperError> {
        let valuer = Valuer::new(instrument, Decimal::whole(1)).map_err(PaperError::Instrument)?;
        Ok(Self { valuer, maker_ppm: config.maker_ppm, taker_ppm: config.taker_ppm })
    }

    /// Value of a quantity at a price, rounded up; `None` when it does not fit.
    pub(super) fn value(&self, price: i64, qty: i64) -> Option<i64> {
        self.valuer.value(price, qty, Rounding::Up)
    }

    /// Fee of an execution, rounded against its owner: fees up, rebates down. `None` when it does not fit.
    pub(super) fn fee(&self, price: i64, qty: i64, liquidity: Liquidity) -> Option<i64> {
        let ppm = i128::from(if liquidity == Liquidity::Maker { self.maker_ppm } else { self.taker_ppm });
        let rounding = if ppm < 0 { Rounding::Down } else { Rounding::Up };
        let exact = i128::from(self.valuer.value(price, qty, rounding)?) * ppm;
        // Upwards either way: a fee grows, a rebate shrinks.
        let up = i128::from(exact % MILLION > 0);
        i64::try_from(exact / MILLION + up).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_wire::Venue;
    use tidegate_wire::instrument::Contract;

    fn fees(maker_ppm: i32, taker_ppm: i32, contract: Contract) -> Fees {
        let instrument = Instrument { contract, ..Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 2, 3) };
        Fees::new(&instrument, &FeeConfig { maker_ppm, taker_ppm }).expect("fits")
    }

    #[test]
    fn fees_round_up_and_rebates_down() {
        // 60,000.01 x 0.001 = 60.00001; 0.02 % of it 0.012000002, 0.05 % 0.030000005.
        let both = fees(200, 500, Contract::Linear);
        assert_eq!(both.fee(6_000_001, 1, Liquidity::Maker), Some(12_001));
        assert_eq!(both.fee(6_000_001, 1, Liquidity::Taker), Some(30_001));
        let rebate = fees(-200, 0, Contract::Linear);
        assert_eq!(rebate.fee(6_000_001, 1, Liquidity::Maker), Some(-12_000));
        assert_eq!(rebate.fee(6_000_001, 1, Liquidity::Taker), Some(0));
        assert_eq!(both.fee(6_000_000, 1, Liquidity::Maker), Some(12_000), "exact amounts stay");
    }

    #[test]
    fn inverse_contracts_are_worth_the_same_at_any_price() {
        let inverse = fees(100, 500, Contract::Inverse { quote_per_contract: 100.0 });
        assert_eq!(inverse.fee(1, 1_000, Liquidity::Taker), inverse.fee(9_999_999, 1_000, Liquidity::Taker));
        assert_eq!(inverse.fee(1, 1_000, Liquidity::Taker), Some(50_000), "0.05 % of 100");
    }

    #[test]
    fn what_does_not_fit_has_no_fee() {
        let fees = fees(10_000, 10_000, Contract::Linear);
        assert_eq!(fees.fee(i64::MAX, i64::MAX, Liquidity::Taker), None);
        assert_eq!(fees.value(i64::MAX, i64::MAX), None);
    }
}
