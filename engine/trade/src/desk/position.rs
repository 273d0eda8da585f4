//! A position of the bounded-loss product, in integers, from the signal that asked for it to the money it brought.

use serde::Serialize;
use strum::{FromRepr, IntoStaticStr};
use tidegate_guard::risk::{Decimal, Rounding, Valuer};
use tidegate_wire::instrument::Contract;
use tidegate_wire::order::Side;
use tidegate_wire::{Instrument, InstrumentId};

/// Why a position ended, or never was.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromRepr, IntoStaticStr, Serialize, schemars::JsonSchema,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Ending {
    /// Its timer ended.
    Timer = 0,
    /// It had lost its margin.
    Margin = 1,
    /// The data ended before it could be closed.
    Open = 2,
    /// The entry found nothing to trade with.
    Unfilled = 3,
    /// The exchange took no entry.
    Rejected = 4,
    /// The risk gate took no entry.
    Refused = 5,
    /// The balance ledger locked no margin.
    Unlocked = 6,
    /// Less than a lot could be traded.
    TooSmall = 7,
    /// The book was not known, or a contract that the desk does not trade.
    NoMarket = 8,
    /// The other side of the instrument is held: what is held of one instrument is closed as one.
    Opposite = 9,
}

impl Ending {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The desk's valuer of an instrument; `None` for inverse contracts, whose value is in coin.
pub(super) fn valuer(instrument: &Instrument) -> Option<Valuer> {
    let linear = !matches!(instrument.contract, Contract::Inverse { .. });
    Valuer::new(instrument, Decimal::whole(1)).ok().filter(|_| linear)
}

/// The largest quantity, in whole lots, whose value at a price is not above `money` (millionths); mantissas.
pub(super) fn quantity(valuer: &Valuer, money: i64, price: i64, lot: i64) -> i64 {
    let one = valuer.value(price, lot, Rounding::Up).filter(|value| *value > 0);
    one.map_or(0, |one| (money.max(0) / one).saturating_mul(lot))
}

/// What a position's size came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum SizeBound {
    /// The signal's leverage, under its own caps.
    Signal,
    /// `trading.max_order_value`.
    MaxOrderValue,
    /// The smallest `max_order_value` of the limits' file: the firm's, the account's, the strategy's, the venue's or
    /// the instrument's.
    Limits,
}

impl SizeBound {
    /// Name as in reports.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Executions of one side of a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fills {
    /// Quantity, a mantissa.
    pub qty: i64,
    /// Value, millionths.
    pub value: i64,
    /// Executions.
    pub count: u32,
    /// Times of the first and the last of them, ns; 0 without one.
    pub times_ns: (i64, i64),
}

impl Fills {
    /// Another execution, its value rounded against whoever holds the position; `paying` where money is spent.
    pub fn add(&mut self, valuer: &Valuer, at_ns: i64, (price, qty): (i64, i64), paying: bool) {
        let rounding = if paying { Rounding::Up } else { Rounding::Down };
        // The exchange rejects what leaves 64 bits.
        self.value = self.value.saturating_add(valuer.value(price, qty, rounding).unwrap_or(0));
        self.qty += qty;
        self.times_ns = (if self.count == 0 { at_ns } else { self.times_ns.0 }, at_ns);
        self.count += 1;
    }
}

/// Where a position is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The entry is on its way.
    Entering,
    /// It is held.
    Held,
    /// A close is on its way.
    Closing,
    /// A close came back unfilled, in whole or in part; it is sent again from this time on, ns.
    Waiting(i64),
}

/// A position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// The reservation that holds its margin.
    pub reservation: u64,
    /// The signal that asked for it.
    pub signal: u64,
    /// Position of the coin in the configuration.
    pub coin: u16,
    /// What is traded.
    pub instrument: InstrumentId,
    /// Whether it gains when prices rise.
    pub side: Side,
    /// Stated probability of the signal.
    pub confidence: f64,
    /// Times the margin, as traded: value at entry over margin.
    pub leverage: f64,
    /// What made it smaller than the signal's leverage says: `signal` where nothing did.
    pub bound: SizeBound,
    /// Margin, millionths: the most it can lose.
    pub margin: i64,
    /// When the signal came, ns.
    pub signal_ns: i64,
    /// When its timer ends, ns.
    pub end_ns: i64,
    /// Quantity that was asked for, a mantissa.
    pub asked: i64,
    /// Client id of the entry.
    pub entry_id: u64,
    /// Client id of the newest close; 0 before it.
    pub close_id: u64,
    /// Executions that opened it.
    pub entry: Fills,
    /// Executions that closed it.
    pub exit: Fills,
    /// Fees, millionths.
    pub fees: i64,
    /// Funding paid, millionths; negative when received.
    pub funding: i64,
    /// Where it is on its way.
    pub stage: Stage,
    /// Why it is being closed.
    pub ending: Ending,
    /// The name of what the ledger, the risk gate or the exchange refused last; empty while nothing was.
    pub refusal: &'static str,
    /// In how many parts its next close goes: more after each refusal, because a part may fit a limit of value.
    pub parts: i64,
}

impl Position {
    /// Quantity still held, a mantissa.
    pub const fn held(&self) -> i64 {
        self.entry.qty - self.exit.qty
    }

    /// Profit if what is held were left at a price, after fees and funding, millionths; `None` when it leaves 64 bits.
    /// `fee_ppm` of the leaving trade, millionths of its value.
    pub fn profit_at(&self, valuer: &Valuer, price: i64, fee_ppm: i32) -> Option<i64> {
        let buys = self.side == Side::Buy;
        let rounding = if buys { Rounding::Down } else { Rounding::Up };
        let left = if self.held() == 0 { 0 } else { valuer.value(price, self.held(), rounding)? };
        let (earned, paid) = if buys {
            (self.exit.value.checked_add(left)?, self.entry.value)
        } else {
            (self.entry.value, self.exit.value.checked_add(left)?)
        };
        let fee = i64::try_from(i128::from(left) * i128::from(fee_ppm) / 1_000_000).ok()?;
        earned.checked_sub(paid)?.checked_sub(self.fees)?.checked_sub(self.funding)?.checked_sub(fee)
    }

    /// What it brought once it is flat, never less than its margin away, and what the product bore beyond that.
    pub fn settled(&self) -> (i64, i64) {
        let (earned, paid) = if self.side == Side::Buy {
            (self.exit.value, self.entry.value)
        } else {
            (self.entry.value, self.exit.value)
        };
        let net = earned.saturating_sub(paid).saturating_sub(self.fees).saturating_sub(self.funding);
        let settled = net.max(-self.margin);
        (settled, settled.saturating_sub(net))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_wire::Venue;

    use super::*;

    fn linear() -> Valuer {
        valuer(&Instrument::linear(Venue::BinanceUsdm, "BTCUSDT", 2, 3)).expect("linear")
    }

    fn position(side: Side, margin: i64) -> Position {
        Position {
            reservation: 1,
            signal: 1,
            coin: 0,
            instrument: InstrumentId(0),
            side,
            confidence: 0.4,
            leverage: 10.0,
            bound: SizeBound::Signal,
            margin,
            signal_ns: 0,
            end_ns: 600,
            asked: 100,
            entry_id: 1,
            close_id: 0,
            entry: Fills::default(),
            exit: Fills::default(),
            fees: 0,
            funding: 0,
            stage: Stage::Held,
            ending: Ending::Timer,
            refusal: "",
            parts: 1,
        }
    }

    #[test]
    fn quantities_are_whole_lots_and_inverse_contracts_are_none_of_ours() {
        let valuer_ = linear();
        // 0.1 BTC at 50,000.00.
        assert_eq!(quantity(&valuer_, 5_000_000_000, 5_000_000, 1), 100);
        assert_eq!(quantity(&valuer_, 5_049_999_999, 5_000_000, 10), 100, "whole lots");
        assert_eq!(quantity(&valuer_, 49_999_999, 5_000_000, 1), 0);
        assert_eq!(quantity(&valuer_, 5_000_000_000, 0, 1), 0);
        assert_eq!(quantity(&valuer_, -1, 5_000_000, 1), 0);
        let mut sized = Instrument::linear(Venue::Okx, "BTC-USDT-SWAP", 1, 0);
        sized.contract = Contract::Sized { base_per_contract: 0.01 };
        let of_contracts = valuer(&sized).expect("sized");
        assert_eq!(quantity(&of_contracts, 1_500_000_000, 500_000, 1), 3, "one contract at 50,000.0 is 500");
        sized.contract = Contract::Inverse { quote_per_contract: 100.0 };
        assert_eq!(valuer(&sized), None);
    }

    #[test]
    fn profit_is_after_fees_and_funding_and_never_below_the_margin() {
        let valuer = linear();
        for (side, exit, gross) in [
            (Side::Buy, 5_050_000, 50_000_000),
            (Side::Sell, 5_050_000, -50_000_000),
            (Side::Sell, 4_900_000, 100_000_000),
        ] {
            let mut held = position(side, 20_000_000);
            held.entry.add(&valuer, 5, (5_000_000, 100), side == Side::Buy);
            (held.fees, held.funding) = (2_500_000, 100_000);
            assert_eq!(held.profit_at(&valuer, exit, 0), Some(gross - 2_600_000));
            let fee = exit * 100 * 10 / 2_000;
            assert_eq!(held.profit_at(&valuer, exit, 500), Some(gross - 2_600_000 - fee));
            held.exit.add(&valuer, 7, (exit, 100), side == Side::Sell);
            held.fees += 2_500_000;
            let net = gross - 5_100_000;
            assert_eq!(held.settled(), (net.max(-20_000_000), (-20_000_000 - net).max(0)), "{side:?} {exit}");
        }
    }

    proptest! {
        #[test]
        fn a_loss_is_bounded_by_its_margin(
            entry in 1i64..10_000_000,
            exit in 1i64..10_000_000,
            qty in 1i64..100_000,
            margin in 1i64..1_000_000_000,
            fees in 0i64..1_000_000_000,
            short: bool,
        ) {
            let valuer = linear();
            let mut held = position(if short { Side::Sell } else { Side::Buy }, margin);
            held.entry.add(&valuer, 5, (entry, qty), !short);
            held.fees = fees;
            let before = held.profit_at(&valuer, exit, 0).expect("it fits");
            held.exit.add(&valuer, 7, (exit, qty), short);
            let (settled, borne) = held.settled();
            prop_assert!(settled >= -margin && borne >= 0);
            prop_assert_eq!(settled - borne, before);
        }
    }
}
