//! Limit-up, limit-down bands: the parameters of the US plan to address extraordinary market volatility, as a preset
//! for crypto instruments.
//!
//! # Source
//! National Market System Plan to Address Extraordinary Market Volatility, as amended by Amendment 18 (83 FR 66464): no
//! doubling of bands after the open. Bands lie around a reference price: the first price, then the mean of the last
//! five minutes, taken over when it differs by 1 % or more and the reference has held for 30 s.
//!
//! | reference | tier 1 | tier 2 |
//! |---|---|---|
//! | above 3.00 | 5 % | 10 % |
//! | 0.75 to 3.00 | 20 % | 20 % |
//! | below 0.75 | 0.15 or 75 %, whichever is less | the same |
//!
//! A price at a band is a limit state; 15 s of it are a pause of 5 minutes; the first price after the pause is the new
//! reference. What differs from the plan: prices are mids, so quotes beyond a band are not forbidden but count as being
//! at it; the mean is of one price a second; the reference rests while it is a limit state; there is no auction.

use tidegate_wire::{Price, Scale};

/// Seconds of the reference's mean.
const WINDOW_S: usize = 300;
const SECOND: i64 = 1_000_000_000;
/// How long a limit state lasts before it is a pause, ns.
pub const LIMIT_NS: i64 = 15 * SECOND;
/// How long a pause lasts, ns.
pub const PAUSE_NS: i64 = 300 * SECOND;
/// How long a reference holds at least, ns.
pub const REFERENCE_NS: i64 = 30 * SECOND;

/// Which bands an instrument has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The most liquid: 5 %.
    Tier1,
    /// Others: 10 %.
    Tier2,
}

/// Where an instrument stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// Between the bands.
    Normal,
    /// At a band.
    Limit,
    /// No trading.
    Pause,
    /// The pause is over; the next price is the new reference.
    Reopen,
}

impl Phase {
    /// Whether trading is allowed.
    pub const fn allows_trading(self) -> bool {
        matches!(self, Self::Normal | Self::Limit)
    }
}

/// A change of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Phase before.
    pub from: Phase,
    /// Phase now.
    pub to: Phase,
    /// Since when, ns of event time: a timer's own deadline for pauses and their ends.
    pub at_ns: i64,
}

/// Bands and phase of one instrument. Times do not decrease.
#[derive(Clone, Debug)]
pub struct Luld {
    tier: Tier,
    scale: Scale,
    phase: Phase,
    since_ns: i64,
    /// Reference, mantissa; 0 before the first price.
    reference: i64,
    reference_ns: i64,
    mean: Mean,
}

impl Luld {
    /// An instrument without a price yet.
    pub fn new(tier: Tier, scale: Scale) -> Self {
        let (phase, mean) = (Phase::Normal, Mean::new());
        Self { tier, scale, phase, since_ns: i64::MIN, reference: 0, reference_ns: i64::MIN, mean }
    }

    /// Phase now.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Reference price; zero before the first price.
    pub const fn reference(&self) -> Price {
        Price::from_raw(self.reference)
    }

    /// Lower and upper band, rounded towards the reference; `None` before the first price.
    pub fn bands(&self) -> Option<(Price, Price)> {
        if self.reference == 0 {
            return None;
        }
        let width = width(self.tier, self.reference, self.scale);
        Some((Price::from_raw(self.reference - width), Price::from_raw(self.reference.saturating_add(width))))
    }

    /// A price above zero at event time `now`; every change of phase is told to `changed`, in order.
    pub fn price(&mut self, price: Price, now: i64, mut changed: impl FnMut(Change)) {
        self.time(now, &mut changed);
        if price.raw() <= 0 || self.phase == Phase::Pause {
            return;
        }
        if self.phase == Phase::Reopen || self.reference == 0 {
            self.mean = Mean::new();
            self.refer(price.raw(), now);
            self.mean.note(price.raw(), now);
            if self.phase == Phase::Reopen {
                self.turn(Phase::Normal, now, &mut changed);
            }
            return;
        }
        // The mean of what was before: a price does not move the bands that it is held against.
        if self.phase == Phase::Normal && now.saturating_sub(self.reference_ns) >= REFERENCE_NS {
            let mean = self.mean.value(now).unwrap_or(self.reference);
            let moved = i128::from((mean - self.reference).unsigned_abs()) * 100 >= i128::from(self.reference);
            if moved {
                self.refer(mean, now);
            }
        }
        self.mean.note(price.raw(), now);
        let Some((low, high)) = self.bands() else { return };
        let at_band = price <= low || price >= high;
        match (self.phase, at_band) {
            (Phase::Normal, true) => self.turn(Phase::Limit, now, &mut changed),
            (Phase::Limit, false) => self.turn(Phase::Normal, now, &mut changed),
            _ => {}
        }
    }

    /// Time passed: a limit state becomes a pause, a pause ends, each at its own time.
    pub fn time(&mut self, now: i64, mut changed: impl FnMut(Change)) {
        if self.phase == Phase::Limit && now.saturating_sub(self.since_ns) >= LIMIT_NS {
            self.turn(Phase::Pause, self.since_ns + LIMIT_NS, &mut changed);
        }
        if self.phase == Phase::Pause && now.saturating_sub(self.since_ns) >= PAUSE_NS {
            self.turn(Phase::Reopen, self.since_ns + PAUSE_NS, &mut changed);
        }
    }

    const fn refer(&mut self, price: i64, now: i64) {
        (self.reference, self.reference_ns) = (price, now);
    }

    fn turn(&mut self, to: Phase, at_ns: i64, changed: &mut impl FnMut(Change)) {
        let from = core::mem::replace(&mut self.phase, to);
        self.since_ns = at_ns;
        changed(Change { from, to, at_ns });
    }
}

/// Distance of a band from its reference, mantissa, rounded down.
fn width(tier: Tier, reference: i64, scale: Scale) -> i64 {
    let (price, unit) = (i128::from(reference), i128::from(scale.units()));
    let percent = |percent: i128| price * percent / 100;
    let width = if price > 3 * unit {
        percent(if tier == Tier::Tier1 { 5 } else { 10 })
    } else if price * 100 >= 75 * unit {
        percent(20)
    } else {
        percent(75).min(unit * 15 / 100)
    };
    i64::try_from(width).unwrap_or(i64::MAX)
}

/// Mean of the last price of each second of the window.
#[derive(Clone, Debug)]
struct Mean {
    /// Second and price, by second modulo the window.
    seconds: Box<[(i64, i64)]>,
}

impl Mean {
    fn new() -> Self {
        Self { seconds: vec![(i64::MIN, 0); WINDOW_S].into() }
    }

    fn note(&mut self, price: i64, now: i64) {
        let second = now.div_euclid(SECOND);
        self.seconds[second.rem_euclid(WINDOW_S as i64) as usize] = (second, price);
    }

    /// Over the window that ends now; `None` when nothing was in it.
    fn value(&self, now: i64) -> Option<i64> {
        let oldest = now.div_euclid(SECOND).saturating_sub(WINDOW_S as i64);
        let prices = self.seconds.iter().filter(|(second, _)| *second > oldest);
        let (sum, count) =
            prices.fold((0i128, 0i128), |(sum, count), (_, price)| (sum + i128::from(*price), count + 1));
        i64::try_from(sum.checked_div(count)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bands(tier: Tier, reference: i64) -> (i64, i64) {
        let mut luld = Luld::new(tier, Scale::saturating(2));
        luld.price(Price::from_raw(reference), 0, |_| {});
        luld.bands().map(|(low, high)| (low.raw(), high.raw())).expect("a reference")
    }

    #[test]
    fn bands_are_those_of_the_plan_at_their_borders() {
        assert_eq!(bands(Tier::Tier1, 10_000), (9_500, 10_500));
        assert_eq!(bands(Tier::Tier2, 10_000), (9_000, 11_000));
        assert_eq!(bands(Tier::Tier1, 301), (286, 316), "above 3.00");
        assert_eq!(bands(Tier::Tier1, 300), (240, 360), "3.00 is of the middle class");
        assert_eq!(bands(Tier::Tier2, 75), (60, 90), "and so is 0.75");
        assert_eq!(bands(Tier::Tier2, 74), (59, 89), "0.15 is less than 75 %");
        assert_eq!(bands(Tier::Tier1, 10), (3, 17), "75 % is less than 0.15");
    }

    /// Everything that changes while prices come once a second.
    fn run(prices: impl IntoIterator<Item = (i64, i64)>) -> (Luld, Vec<(Phase, Phase, i64)>) {
        let (mut luld, mut told) = (Luld::new(Tier::Tier1, Scale::saturating(2)), Vec::new());
        for (second, price) in prices {
            let note = |change: Change| told.push((change.from, change.to, change.at_ns / SECOND));
            luld.price(Price::from_raw(price), second * SECOND, note);
        }
        (luld, told)
    }

    #[test]
    fn fifteen_seconds_at_a_band_are_a_pause_of_five_minutes() {
        use Phase::{Limit, Normal, Pause, Reopen};
        let crash = (0..10).map(|s| (s, 10_000)).chain((10..400).map(|s| (s, 9_400)));
        let (luld, told) = run(crash);
        let expected = [(Normal, Limit, 10), (Limit, Pause, 25), (Pause, Reopen, 325), (Reopen, Normal, 325)];
        assert_eq!(told, expected);
        assert_eq!((luld.phase(), luld.reference().raw()), (Normal, 9_400), "the price of the reopening");
    }

    #[test]
    fn whoever_comes_back_in_time_is_not_paused() {
        use Phase::{Limit, Normal};
        let touch = [(0, 10_000), (1, 9_500), (15, 9_500), (16, 9_501), (17, 10_499), (18, 10_500)];
        let (luld, told) = run(touch);
        // The pause of second 16 comes before the price of second 16: fifteen seconds were over.
        assert_eq!(told[..2], [(Normal, Limit, 1), (Limit, Phase::Pause, 16)]);
        assert_eq!(luld.phase(), Phase::Pause);
        let (luld, told) = run([(0, 10_000), (1, 9_500), (15, 9_501), (17, 10_499), (18, 10_500)]);
        assert_eq!(told, [(Normal, Limit, 1), (Limit, Normal, 15), (Normal, Limit, 18)]);
        assert_eq!(luld.phase(), Limit);
    }

    #[test]
    fn the_reference_follows_by_one_per_cent_and_not_before_thirty_seconds() {
        // 2 % up at once: the mean passes 1 % soon, the reference waits for its 30 seconds.
        let step = |until| (0..2).map(|s| (s, 10_000)).chain((2..until).map(|s| (s, 10_200)));
        assert_eq!(run(step(30)).0.reference().raw(), 10_000);
        let mean = (2 * 10_000 + 28 * 10_200) / 30;
        assert_eq!(run(step(31)).0.reference().raw(), mean);
        // After a silence the first price is held against the old bands, not against itself.
        let (luld, told) = run([(0, 10_000), (1_000, 6_000)]);
        assert_eq!((luld.phase(), told.len(), luld.reference().raw()), (Phase::Limit, 1, 10_000));
        // Half a per cent never moves it.
        let small = (0..900).map(|s| (s, if s < 2 { 10_000 } else { 10_050 }));
        assert_eq!(run(small).0.reference().raw(), 10_000);
        // A slow climb of 20 % in 20 minutes is followed, and nothing stops.
        let (luld, told) = run((0..1_200).map(|s| (s, 10_000 + s * 2_000 / 1_200)));
        assert!(told.is_empty() && luld.reference().raw() > 11_500, "{told:?} {luld:?}");
    }

    #[test]
    fn timers_fire_without_prices_and_nonsense_changes_nothing() {
        let (mut luld, _) = run([(0, 10_000), (1, 9_000)]);
        let mut told = Vec::new();
        luld.time(1_000 * SECOND, |change| told.push((change.to, change.at_ns / SECOND)));
        assert_eq!(told, [(Phase::Pause, 16), (Phase::Reopen, 316)]);
        assert!(!luld.phase().allows_trading());
        let before = luld.phase();
        luld.price(Price::ZERO, 1_001 * SECOND, |_| panic!("no price"));
        assert_eq!(luld.phase(), before);
        luld.price(Price::from_raw(9_100), 1_002 * SECOND, |change| told.push((change.to, 0)));
        assert_eq!((luld.phase(), luld.reference().raw()), (Phase::Normal, 9_100));
        assert_eq!(Luld::new(Tier::Tier2, Scale::saturating(2)).bands(), None);
    }
}
