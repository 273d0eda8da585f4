//! The signal desk: feature vectors in, signals and what became of them out.

use tidegate_market::features::schema as f;
use tidegate_wire::event::Header;
use tidegate_wire::feature::FeatureBody;
use tidegate_wire::signal::{
    Action, FLAG_BELOW_CONFIDENCE, FLAG_REARMED, FLAG_REFERENCE_SIMULATED, FLAG_STOPPED, FLAG_SUPERP, FLAG_VOLATILITY,
    OutcomeBody, SignalBody, SignalSink, TimerWindow,
};
use tidegate_wire::{Instrument, InstrumentId, Registry};
use xxhash_rust::xxh3::xxh3_64;

use super::confidence::{Inputs, confidence, market_boost};
use super::config::{SignalConfig, SignalConfigError};
use super::leverage::{Caps, of_action};
use super::outcomes::{Follower, Terms};
use super::ratio::{Thresholds, psc_ratio, ratio_strength};
use super::reference::Reference;
use super::score::score;
use super::timer::{Moment, Timers, efficiency};
use super::volatility::Realised;

/// What the desk counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SignalCounters {
    /// Vectors of coins with a good book and a fresh reference: each was looked at.
    pub looked_at: u64,
    /// Vectors of coins without a usable price.
    pub no_price: u64,
    /// Vectors of coins while the reference price was stale or had not come.
    pub no_reference: u64,
    /// LONG signals.
    pub long: u64,
    /// SHORT signals.
    pub short: u64,
    /// Candidates for a model.
    pub candidates: u64,
    /// Signals that a crossing armed again within their window.
    pub rearmed: u64,
    /// Signals that were not told because too many of their coin were open.
    pub crowded: u64,
}

/// One coin.
#[derive(Clone, Debug)]
struct Coin {
    /// Position in the configuration.
    number: u16,
    instrument: InstrumentId,
    /// Coins in one unit of the instrument's price: 1000 for `1000SHIBUSDT`.
    per_price: f64,
    caps: Caps,
    volatility: Realised,
    follower: Follower,
    /// The window of its last signal or candidate, by its timer's begin, and what it was.
    spent: Option<(i64, TimerWindow, Action)>,
    /// A crossing armed it again in that window.
    armed: bool,
}

/// What a vector was to the desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Of no coin.
    Elsewhere,
    /// Of a coin, and no signal.
    Coin,
    /// A signal.
    Told,
}

/// What an instrument is to the desk.
#[derive(Clone, Copy, Debug, Default)]
struct Role {
    coin: Option<u16>,
    /// Coins in one unit of its price, where it is the reference's.
    reference: Option<f64>,
}

/// The signal desk. After [`SignalDesk::new`] nothing allocates.
#[derive(Clone, Debug)]
pub struct SignalDesk {
    thresholds: Thresholds,
    timers: Timers,
    coins: Vec<Coin>,
    roles: Box<[Role]>,
    reference: Reference,
    reference_name: String,
    config: SignalConfig,
    counters: SignalCounters,
    sequence: u64,
    digest: u64,
    /// End of the timer that ends next, ns; `i64::MAX` without one.
    next_end_ns: i64,
    now_ns: i64,
}

/// Quotes that are no dollars, of those that [`Instrument::base`] knows.
const FOREIGN: [&str; 3] = ["BTC", "ETH", "EUR"];

/// Symbols of contracts on so many coins begin with that number.
const MULTIPLES: [(&str, f64); 3] = [("1000000", 1e6), ("10000", 1e4), ("1000", 1e3)];

impl SignalDesk {
    /// A desk for the coins of a configuration, as far as the registry has instruments of them.
    ///
    /// # Errors
    /// A setting makes no sense, names an instrument that is not there, or there is no reference.
    pub fn new(registry: &Registry, config: &SignalConfig) -> Result<Self, SignalConfigError> {
        config.check()?;
        let (ml, psc) = (&config.ml, &config.psc);
        let mut roles = vec![Role::default(); registry.len()].into_boxed_slice();
        let mut coins: Vec<Coin> = Vec::new();
        let terms = Terms { target_bp: ml.target_bp, fee_bp: ml.fee_bp };
        for (number, name) in (0..).zip(&ml.trading_coins) {
            let key = format!("ml_microstructure.instruments.{name}");
            let Some((id, per_price)) = chosen(registry, name, ml.instruments.get(name), &key)? else { continue };
            if roles[id.index()].coin.is_some() {
                let reason = format!("{name:?} is there twice: expected each coin once");
                return Err(SignalConfigError { key: "ml_microstructure.trading_coins".into(), reason });
            }
            roles[id.index()].coin = Some(coins.len() as u16);
            let venue = registry.get(id).map(|instrument| instrument.venue.name()).unwrap_or_default();
            coins.push(Coin {
                number,
                instrument: id,
                per_price,
                caps: Caps::of(config, venue),
                volatility: Realised::new(ml.volatility_hours),
                follower: Follower::new(terms),
                spent: None,
                armed: false,
            });
        }
        let (reference, reference_name) = reference(registry, config, &mut roles)?;
        Ok(Self {
            thresholds: Thresholds {
                long: psc.long_threshold,
                short: psc.short_threshold,
                candidate: ml.min_signal_ratio,
            },
            timers: Timers::new(ml.timer_limit_minutes, ml.entry_until_minute, ml.exit_from_minute),
            coins,
            roles,
            reference,
            reference_name,
            config: config.clone(),
            counters: SignalCounters::default(),
            sequence: 0,
            digest: 0,
            next_end_ns: i64::MAX,
            now_ns: 0,
        })
    }

    /// Coins that there are instruments of, by name, with their instruments.
    pub fn coins(&self) -> impl Iterator<Item = (&str, InstrumentId)> {
        let name = |coin: &Coin| self.config.ml.trading_coins.get(usize::from(coin.number)).map_or("", String::as_str);
        self.coins.iter().map(move |coin| (name(coin), coin.instrument))
    }

    /// What the reference price is taken from.
    pub fn reference(&self) -> &str {
        &self.reference_name
    }

    /// What was counted.
    pub const fn counters(&self) -> &SignalCounters {
        &self.counters
    }

    /// Running digest over all signals and outcomes.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// A vector, in event order. `permitted`: whether the breakers let the instrument be traded.
    #[inline]
    pub fn features(
        &mut self,
        header: &Header,
        body: &FeatureBody,
        permitted: bool,
        sink: &mut impl SignalSink,
    ) -> Looked {
        self.advance(header.event_ns, sink);
        let Some(role) = self.roles.get(header.instrument.index()).copied() else { return Looked::Elsewhere };
        if let Some(per_price) = role.reference
            && let Some(mid) = body.get(f::MID)
        {
            self.reference.observe(header.event_ns, mid / per_price);
        }
        let Some(coin) = role.coin else { return Looked::Elsewhere };
        let before = self.sequence;
        self.look(usize::from(coin), header, body, permitted, sink);
        if self.sequence == before { Looked::Coin } else { Looked::Told }
    }

    /// Time passed: timers that have ended are told, earliest first.
    #[inline]
    pub fn advance(&mut self, now_ns: i64, sink: &mut impl SignalSink) {
        self.now_ns = self.now_ns.max(now_ns);
        if now_ns >= self.next_end_ns {
            self.end(now_ns, sink);
        }
    }

    /// The data ended: what is open is told as far as it is known.
    pub fn finish(&mut self, sink: &mut impl SignalSink) {
        let (now, digest) = (self.now_ns, &mut self.digest);
        for coin in &mut self.coins {
            coin.follower.finish(now, |outcome| told(digest, outcome, sink));
        }
        self.next_end_ns = i64::MAX;
    }

    #[cold]
    fn end(&mut self, now_ns: i64, sink: &mut impl SignalSink) {
        let digest = &mut self.digest;
        for coin in &mut self.coins {
            coin.follower.end(now_ns, |outcome| told(digest, outcome, sink));
        }
        self.next_end_ns = self.coins.iter().map(|coin| coin.follower.next_end_ns()).min().unwrap_or(i64::MAX);
    }

    #[inline]
    fn look(&mut self, index: usize, header: &Header, body: &FeatureBody, permitted: bool, sink: &mut impl SignalSink) {
        let now = header.event_ns;
        let prices = body.get(f::MID).zip(body.get(f::SPREAD)).filter(|(mid, _)| *mid > 0.0);
        let Some((mid, spread)) = prices else {
            self.counters.no_price += 1;
            return;
        };
        let coin = &mut self.coins[index];
        coin.volatility.observe(now, mid);
        let (bid, ask) = ((mid - spread / 2.0) / coin.per_price, (mid + spread / 2.0) / coin.per_price);
        coin.follower.see(now, bid, ask);
        let Some((reference, age_ns)) = self.reference.at(now) else {
            self.counters.no_reference += 1;
            return;
        };
        let Some(ratio) = psc_ratio(mid / coin.per_price, reference) else {
            self.counters.no_price += 1;
            return;
        };
        self.counters.looked_at += 1;
        let action = self.thresholds.action(ratio);
        let moment = self.timers.at(now);
        let Some(rearmed) = coin.may(&self.thresholds, (action, ratio), &moment, self.config.ml.rearm_margin) else {
            return;
        };
        if action == Action::Neutral && !self.thresholds.is_candidate(ratio) {
            return;
        }
        if !coin.follower.has_room() {
            // It was this window's signal all the same, so it counts once.
            (coin.spent, coin.armed) = (Some((moment.start_ns, moment.window, action)), false);
            self.counters.crowded += 1;
            return;
        }
        let seen = Seen { bid, ask, reference, age_ns, ratio, action, moment, rearmed, permitted };
        self.signal(index, header, body, &seen, sink);
    }

    #[cold]
    #[inline(never)]
    fn signal(&mut self, index: usize, header: &Header, body: &FeatureBody, seen: &Seen, sink: &mut impl SignalSink) {
        let (ml, superp) = (&self.config.ml, &self.config.superp);
        let coin = &mut self.coins[index];
        coin.spent = Some((seen.moment.start_ns, seen.moment.window, seen.action));
        coin.armed = false;
        let volatility = coin.volatility.value();
        let score = score(body, seen.action);
        let inputs = Inputs {
            score: score.total,
            ratio_strength: ratio_strength(self.thresholds.difference(seen.action, seen.ratio)),
            market_boost: market_boost(body.get(f::SPREAD_BP), ml.tight_spread_bp, volatility),
            timer_efficiency: efficiency(seen.moment.window),
        };
        let stated = confidence(&inputs);
        let (times, bound) = of_action(seen.action, stated, volatility, coin.caps);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        self.sequence += 1;
        let signal = SignalBody {
            sequence: self.sequence,
            event_ns: header.event_ns,
            frame: header.frame,
            features_digest: body.digest,
            timer_start_ns: seen.moment.start_ns,
            timer_end_ns: seen.moment.end_ns,
            reference_age_ns: seen.age_ns,
            price: (seen.bid + seen.ask) / 2.0,
            bid: seen.bid,
            ask: seen.ask,
            reference: seen.reference,
            psc_ratio: seen.ratio,
            parts: score.parts,
            score: inputs.score,
            ratio_strength: inputs.ratio_strength,
            market_boost: inputs.market_boost,
            timer_efficiency: inputs.timer_efficiency,
            confidence: stated,
            volatility: volatility.unwrap_or(0.0),
            volatility_covered: coin.volatility.covered(),
            leverage: times,
            known: score.known,
            recent_volatility: body.get(f::REALISED_VOL_300S).unwrap_or(0.0) as f32,
            coin: coin.number,
            instrument: coin.instrument,
            action: seen.action as u8,
            window: seen.moment.window as u8,
            bound: bound as u8,
            flags: flag(self.reference.is_simulated(), FLAG_REFERENCE_SIMULATED)
                | flag(stated < ml.min_confidence, FLAG_BELOW_CONFIDENCE)
                | flag(!seen.permitted, FLAG_STOPPED)
                | flag(superp.enabled, FLAG_SUPERP)
                | flag(volatility.is_some(), FLAG_VOLATILITY)
                | flag(seen.rearmed, FLAG_REARMED),
        };
        let counter = match seen.action {
            Action::Long => &mut self.counters.long,
            Action::Short => &mut self.counters.short,
            Action::Neutral => &mut self.counters.candidates,
        };
        *counter += 1;
        self.counters.rearmed += u64::from(seen.rearmed);
        coin.follower.follow(&signal);
        self.next_end_ns = self.next_end_ns.min(signal.timer_end_ns);
        digest_more(&mut self.digest, xxh3_64(bytemuck::bytes_of(&signal)));
        sink.signal(&signal);
    }
}

/// What led to a signal.
struct Seen {
    bid: f64,
    ask: f64,
    reference: f64,
    age_ns: i64,
    ratio: f64,
    action: Action,
    moment: Moment,
    rearmed: bool,
    permitted: bool,
}

impl Coin {
    /// Whether the coin may signal, and if so whether a crossing armed it again: once in a window, and again after its
    /// ratio has left and comes back, or once a candidate becomes more.
    #[inline]
    fn may(
        &mut self,
        thresholds: &Thresholds,
        (action, ratio): (Action, f64),
        moment: &Moment,
        margin: f64,
    ) -> Option<bool> {
        match self.spent {
            Some((start_ns, window, before)) if start_ns == moment.start_ns && window == moment.window => {
                self.armed |= thresholds.rearms(before, ratio, margin);
                if action == Action::Neutral {
                    return None;
                }
                let more = before == Action::Neutral;
                (more || self.armed || action != before).then_some(!more)
            }
            _ => Some(false),
        }
    }
}

fn told(digest: &mut u64, outcome: &OutcomeBody, sink: &mut impl SignalSink) {
    digest_more(digest, xxh3_64(bytemuck::bytes_of(outcome)));
    sink.outcome(outcome);
}

const fn digest_more(digest: &mut u64, record: u64) {
    *digest = (digest.rotate_left(5) ^ record).wrapping_mul(0x9e37_79b9_7f4a_7c15);
}

/// The instrument of a coin and how many coins its price stands for; `None` where the run has none of it.
fn chosen(
    registry: &Registry,
    coin: &str,
    named: Option<&String>,
    key: &str,
) -> Result<Option<(InstrumentId, f64)>, SignalConfigError> {
    let wanted = |instrument: &Instrument| match named {
        Some(name) => instrument.name() == *name,
        None => in_dollars(instrument) && coins_per_price(instrument, coin).is_some(),
    };
    match registry.iter().find(|(_, instrument)| wanted(instrument)) {
        Some((id, instrument)) => match coins_per_price(instrument, coin) {
            Some(per_price) => Ok(Some((id, per_price))),
            None => {
                let reason = format!("{:?}: expected an instrument whose base is {coin}", instrument.name());
                Err(SignalConfigError { key: key.into(), reason })
            }
        },
        None => match named {
            None => Ok(None),
            Some(name) => {
                let known: Vec<String> = registry.iter().map(|(_, instrument)| instrument.name()).collect();
                let reason = format!("there is no {name:?}; there is {}", known.join(", "));
                Err(SignalConfigError { key: key.into(), reason })
            }
        },
    }
}

/// Whether an instrument's price is the dollars that its base costs: prices of coins and reference are compared, so one
/// in bitcoin or the premium of an option is none. What is named by hand is taken as it is.
fn in_dollars(instrument: &Instrument) -> bool {
    let mut parts = instrument.symbol.split(['_', '-']);
    let pair = parts.next().unwrap_or_default();
    let joined = pair.strip_prefix(instrument.base()).filter(|quote| !quote.is_empty());
    let (mut quote, mut option) = (joined, false);
    for part in parts {
        // `BTC-USDT-SWAP` names its quote, `BTC-PERPETUAL` and `BTC-27DEC24` have none but dollars.
        quote = quote.or_else(|| FOREIGN.contains(&part).then_some(part));
        option |= part == "C" || part == "P";
    }
    !option && !quote.is_some_and(|quote| FOREIGN.contains(&quote))
}

/// How many coins an instrument's price stands for; `None` when it is of another asset.
pub(super) fn coins_per_price(instrument: &Instrument, coin: &str) -> Option<f64> {
    let base = instrument.base();
    if base == coin {
        return Some(1.0);
    }
    MULTIPLES.iter().find_map(|(prefix, times)| (base.strip_prefix(prefix)? == coin).then_some(*times))
}

fn reference(
    registry: &Registry,
    config: &SignalConfig,
    roles: &mut [Role],
) -> Result<(Reference, String), SignalConfigError> {
    let psc = &config.psc;
    if let Some(simulated) = psc.simulated_reference {
        let name = format!("{} simulated around {} (seed {})", psc.reference, simulated.price, simulated.seed);
        return Ok((Reference::simulated(simulated), name));
    }
    let key = match psc.reference_instrument {
        Some(_) => "psc_integration.reference_instrument",
        None => "psc_integration.reference",
    };
    match chosen(registry, &psc.reference, psc.reference_instrument.as_ref(), key)? {
        Some((id, per_price)) => {
            roles[id.index()].reference = Some(per_price);
            let name = registry.get(id).map(Instrument::name).unwrap_or_default();
            let stale_ns = i64::try_from(psc.reference_stale_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
            Ok((Reference::observed(stale_ns), name))
        }
        None => {
            let reason = format!(
                "{:?}: there is no instrument of it; expected one, or psc_integration.simulated_reference for data \
                 without it",
                psc.reference
            );
            Err(SignalConfigError { key: key.into(), reason })
        }
    }
}
