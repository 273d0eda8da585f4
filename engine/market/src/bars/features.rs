//! Features of one instrument's one-minute bars.
//!
//! What has a window lies in a ring and is added up anew with each bar, so that rounding errors do not build up; what
//! remembers everything is carried on. Nothing allocates after construction. Arithmetic is IEEE double precision in a
//! fixed order, `ln`, `sin` and `cos` come from `libm`: the same bars give the same bits on every machine.

use crate::bars::minutes::{MINUTE_NS, MinuteBar};
use crate::bars::recursive::{Ema, Wilder};
use crate::bars::schema::{self as f, BAR_FEATURE_COUNT};

/// Bars kept: the longest window and the close before it.
const KEPT: usize = 241;
/// Minutes without a bar in a row that count as bars without volume.
const GAP_MINUTES: i64 = 60;
/// Minutes of a year.
const YEAR_MINUTES: f64 = 525_600.0;
/// Minutes of a day, and of a week.
const DAY_MINUTES: i64 = 1_440;
const WEEK_MINUTES: i64 = 10_080;
/// 1970-01-01 was a Thursday, three days after Monday.
const EPOCH_MINUTE: i64 = 3 * DAY_MINUTES;
/// Bars before which MACD and its signal are mostly their beginning.
const MACD_BARS: usize = 35;
/// How long a funding rate counts, ns.
const FUNDING_NS: i64 = 24 * 60 * MINUTE_NS;
/// How long a volatility index counts, ns: a daily close and two that are missing.
const DVOL_NS: i64 = 3 * 24 * 60 * MINUTE_NS;

/// The features of one bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarVector {
    /// Bit `i` is set when `values[i]` means something.
    mask: u32,
    values: [f64; BAR_FEATURE_COUNT],
}

impl BarVector {
    /// A vector with nothing in it.
    pub const EMPTY: Self = Self { mask: 0, values: [0.0; BAR_FEATURE_COUNT] };

    /// The vector of these values.
    pub(super) fn of(value: impl Fn(usize) -> Option<f64>) -> Self {
        let mut vector = Self::EMPTY;
        for (index, slot) in vector.values.iter_mut().enumerate() {
            if let Some(known) = value(index) {
                *slot = known;
                vector.mask |= 1 << index;
            }
        }
        vector
    }

    /// Feature `index`, or `None` where it is absent.
    pub fn get(&self, index: usize) -> Option<f64> {
        (self.mask >> index & 1 == 1).then(|| self.values[index])
    }

    /// Sets or masks a feature. What is not finite is masked: a model must never meet it.
    fn set(&mut self, index: usize, value: Option<f64>) {
        let value = value.filter(|value| value.is_finite());
        self.values[index] = value.unwrap_or(0.0);
        self.mask = self.mask & !(1 << index) | u32::from(value.is_some()) << index;
    }
}

/// What is kept of a bar.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    high: f64,
    low: f64,
    close: f64,
    /// Log return since the close before; 0 for the first.
    change: f64,
    volume: Option<f64>,
    bought: Option<f64>,
}

/// What remembers everything since the beginning.
#[derive(Clone, Debug)]
struct Recursive {
    emas: [Ema; 3],
    fast: Ema,
    slow: Ema,
    signal: Ema,
    gains: Wilder,
    losses: Wilder,
    true_range: Wilder,
    /// MACD less its signal after the last bar.
    histogram: f64,
    /// Exponential means after the last bar.
    means: [f64; 3],
}

impl Default for Recursive {
    fn default() -> Self {
        let none = Wilder::default();
        Self {
            emas: [20, 50, 200].map(Ema::new),
            fast: Ema::new(12),
            slow: Ema::new(26),
            signal: Ema::new(9),
            gains: none,
            losses: none,
            true_range: none,
            histogram: 0.0,
            means: [0.0; 3],
        }
    }
}

/// The last two values with the times at which they were known, ns since the epoch; the newest first.
///
/// What becomes known in the very moment in which a bar ends is not part of it, whichever of both came first: two, so
/// that the one before still counts.
#[derive(Clone, Copy, Debug, Default)]
struct Known([Option<(i64, f64)>; 2]);

impl Known {
    const fn see(&mut self, at_ns: i64, value: f64) {
        let again = matches!(self.0[0], Some((last_ns, _)) if last_ns == at_ns);
        self.0 = [Some((at_ns, value)), if again { self.0[1] } else { self.0[0] }];
    }

    /// The newest value from before `end_ns`, unless it is older than `patience_ns`.
    fn before(&self, end_ns: i64, patience_ns: i64) -> Option<f64> {
        let (at_ns, value) = self.0.into_iter().flatten().find(|(at_ns, _)| *at_ns < end_ns)?;
        (end_ns - at_ns <= patience_ns).then_some(value)
    }
}

/// Incremental features of one instrument's one-minute bars.
#[derive(Clone, Debug)]
pub struct BarFeatures {
    ring: [Kept; KEPT],
    /// Bars since the beginning, the made-up ones included.
    seen: usize,
    /// End of the last bar, ns since the epoch; 0 before the first.
    end_ns: i64,
    recursive: Recursive,
    funding: Known,
    dvol: Known,
}

impl Default for BarFeatures {
    fn default() -> Self {
        let (ring, recursive) = ([Kept::default(); KEPT], Recursive::default());
        Self { ring, seen: 0, end_ns: 0, recursive, funding: Known::default(), dvol: Known::default() }
    }
}

impl BarFeatures {
    /// Takes note of a funding rate, a fraction.
    pub const fn funding(&mut self, at_ns: i64, rate: f64) {
        self.funding.see(at_ns, rate);
    }

    /// Takes note of a volatility index, in percentage points a year.
    pub const fn dvol(&mut self, at_ns: i64, points: f64) {
        self.dvol.see(at_ns, points);
    }

    /// Forgets all bars: what comes is not their continuation. Funding and index stay known.
    pub fn restart(&mut self) {
        let (funding, dvol) = (self.funding, self.dvol);
        *self = Self { funding, dvol, ..Self::default() };
    }

    /// Adds a finished bar; gives its features. A bar that is no minute, has no price or comes again has none and
    /// changes nothing.
    pub fn bar(&mut self, bar: &MinuteBar) -> BarVector {
        let minute = bar.end_ns - bar.start_ns == MINUTE_NS && bar.end_ns % MINUTE_NS == 0;
        if !minute || bar.end_ns <= self.end_ns || !(bar.low > 0.0 && bar.close > 0.0 && bar.high >= bar.low) {
            return BarVector::EMPTY;
        }
        let missing = (bar.start_ns - self.end_ns) / MINUTE_NS;
        if self.seen > 0 && missing > GAP_MINUTES {
            self.restart();
        } else if self.seen > 0 {
            // Nothing traded: the price stayed, and whether volumes are known is as before.
            let last = *self.back(0);
            let (zero, close) = (|known: Option<f64>| known.map(|_| 0.0), last.close);
            for _ in 0..missing {
                self.push(Kept {
                    high: close,
                    low: close,
                    volume: zero(last.volume),
                    bought: zero(last.bought),
                    ..last
                });
            }
        }
        self.end_ns = bar.end_ns;
        let MinuteBar { high, low, close, volume, bought, .. } = *bar;
        self.push(Kept { high, low, close, change: 0.0, volume, bought });
        self.vector()
    }

    /// The bar `bars` before the last one.
    const fn back(&self, bars: usize) -> &Kept {
        &self.ring[(self.seen - 1 - bars) % KEPT]
    }

    /// The last `bars` bars, newest first; `None` before there are so many.
    fn window(&self, bars: usize) -> Option<impl Iterator<Item = &Kept> + Clone> {
        (self.seen >= bars).then(|| (0..bars).map(|back| self.back(back)))
    }

    fn push(&mut self, mut bar: Kept) {
        let before = (self.seen > 0).then(|| self.back(0).close);
        let r = &mut self.recursive;
        if let Some(before) = before {
            bar.change = libm::log(bar.close / before);
            let moved = bar.close - before;
            r.gains.add(moved.max(0.0));
            r.losses.add((-moved).max(0.0));
            let range = (bar.high - bar.low).max((bar.high - before).abs()).max((bar.low - before).abs());
            r.true_range.add(range);
        }
        for (mean, ema) in r.means.iter_mut().zip(&mut r.emas) {
            *mean = ema.add(bar.close);
        }
        let macd = r.fast.add(bar.close) - r.slow.add(bar.close);
        r.histogram = macd - r.signal.add(macd);
        self.ring[self.seen % KEPT] = bar;
        self.seen += 1;
    }

    fn vector(&self) -> BarVector {
        let mut vector = BarVector::EMPTY;
        self.windows(&mut vector);
        self.volumes(&mut vector);
        self.indicators(&mut vector);
        self.surroundings(&mut vector);
        vector
    }

    /// Returns, volatilities and ranges.
    fn windows(&self, vector: &mut BarVector) {
        let close = self.back(0).close;
        for (index, bars) in
            [(f::RETURN_1, 1), (f::RETURN_5, 5), (f::RETURN_15, 15), (f::RETURN_60, 60), (f::RETURN_240, 240)]
        {
            vector.set(index, (self.seen > bars).then(|| libm::log(close / self.back(bars).close)));
        }
        for (index, bars) in [(f::REALISED_VOL_15, 15), (f::REALISED_VOL_60, 60), (f::REALISED_VOL_240, 240)] {
            // The first bar of all has no return.
            let window = self.window(bars).filter(|_| self.seen > bars);
            let squares = window.map(|window| window.map(|bar| bar.change * bar.change).sum::<f64>());
            vector.set(index, squares.map(|sum| (sum * YEAR_MINUTES / bars as f64).sqrt()));
        }
        let square = |bar: &Kept| {
            let range = libm::log(bar.high / bar.low);
            range * range
        };
        let squares = self.window(60).map(|window| window.map(square).sum::<f64>());
        let parkinson = |sum: f64| (sum * YEAR_MINUTES / (60.0 * 4.0 * core::f64::consts::LN_2)).sqrt();
        vector.set(f::PARKINSON_VOL_60, squares.map(parkinson));
        for (index, bars) in [(f::RANGE_15, 15), (f::RANGE_60, 60)] {
            let extremes = self.window(bars).map(|window| {
                window.fold((f64::INFINITY, 0.0f64), |(low, high), bar| (bar.low.min(low), bar.high.max(high)))
            });
            vector.set(index, extremes.map(|(low, high)| high / low - 1.0));
        }
    }

    fn volumes(&self, vector: &mut BarVector) {
        // One unknown volume makes the sum unknown.
        let volume = |bars| self.window(bars)?.map(|bar| bar.volume).sum::<Option<f64>>();
        let bought = |bars| self.window(bars)?.map(|bar| bar.bought).sum::<Option<f64>>();
        let ratio = volume(5).zip(volume(60)).filter(|(_, long)| *long > 0.0);
        vector.set(f::VOLUME_RATIO_5_60, ratio.map(|(short, long)| short / 5.0 / (long / 60.0)));
        for (index, bars) in [(f::TAKER_BUY_SHARE_1, 1), (f::TAKER_BUY_SHARE_15, 15), (f::TAKER_BUY_SHARE_60, 60)] {
            let share = bought(bars).zip(volume(bars)).filter(|(_, volume)| *volume > 0.0);
            vector.set(index, share.map(|(bought, volume)| bought / volume));
        }
    }

    fn indicators(&self, vector: &mut BarVector) {
        let (r, last) = (&self.recursive, self.back(0));
        let moves = r.gains.get().zip(r.losses.get()).filter(|(gain, loss)| gain + loss > 0.0);
        vector.set(f::RSI_14, moves.map(|(gain, loss)| 100.0 * gain / (gain + loss)));
        vector.set(f::MACD_HISTOGRAM, (self.seen >= MACD_BARS).then(|| r.histogram / last.close));
        let bands = self.window(20).map(|window| {
            let mean = window.clone().map(|bar| bar.close).sum::<f64>() / 20.0;
            let variance = window.map(|bar| (bar.close - mean) * (bar.close - mean)).sum::<f64>() / 20.0;
            (mean, variance.sqrt())
        });
        // Twenty equal closes have a mean that may miss them by a rounding error.
        let bands = bands.filter(|(mean, deviation)| *deviation > mean * 1e-12);
        vector.set(f::BOLLINGER_POSITION_20, bands.map(|(mean, deviation)| (last.close - mean) / (2.0 * deviation)));
        for ((index, span), mean) in
            [(f::EMA_DISTANCE_20, 20), (f::EMA_DISTANCE_50, 50), (f::EMA_DISTANCE_200, 200)].into_iter().zip(r.means)
        {
            vector.set(index, (self.seen >= span).then(|| last.close / mean - 1.0));
        }
        vector.set(f::ATR_14, r.true_range.get().map(|range| range / last.close));
        let range = last.high - last.low;
        vector.set(f::CLOSE_LOCATION, (range > 0.0).then(|| ((last.close - last.low) / range).clamp(0.0, 1.0)));
    }

    /// Time, funding and the volatility index.
    fn surroundings(&self, vector: &mut BarVector) {
        let minute = self.end_ns / MINUTE_NS;
        let angle = |minute: i64, of: i64| core::f64::consts::TAU * (minute.rem_euclid(of) as f64 / of as f64);
        let (day, week) = (angle(minute, DAY_MINUTES), angle(minute + EPOCH_MINUTE, WEEK_MINUTES));
        vector.set(f::MINUTE_OF_DAY_SIN, Some(libm::sin(day)));
        vector.set(f::MINUTE_OF_DAY_COS, Some(libm::cos(day)));
        vector.set(f::MINUTE_OF_WEEK_SIN, Some(libm::sin(week)));
        vector.set(f::MINUTE_OF_WEEK_COS, Some(libm::cos(week)));
        vector.set(f::FUNDING_RATE, self.funding.before(self.end_ns, FUNDING_NS));
        vector.set(f::DVOL, self.dvol.before(self.end_ns, DVOL_NS).map(|points| points / 100.0));
    }
}
