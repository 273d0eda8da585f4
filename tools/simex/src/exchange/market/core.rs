//! The clockwork: moves every market, and has what is due pushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use strum::VariantArray;

use super::capture::Capture;
use super::options::Quoter;
use super::source::{Present, Source};
use super::{Instrument, Listing, TopicSpec, built_in, option_listings};
use crate::defaults;
use crate::draw::Draw;
use crate::exchange::ExchangeError;
use crate::exchange::clock::Clock;
use crate::exchange::config::ExchangeConfig;
use crate::exchange::net::Outbox;
use crate::exchange::venue::{Category, Venue};
use crate::market::MarketEvent;
use crate::market::flow::Flow;
use crate::market::latent::{AssetConditions, Latent};

/// A pause longer than this is not made up for, ns.
const MOST_NS: i64 = 200_000_000;
/// Streams of draws of each instrument.
const STREAM: u64 = 1 << 41;

/// Every market.
pub(crate) struct Core {
    pub(crate) instruments: Vec<Instrument>,
    sources: Vec<Source>,
    latent: Latent,
    clock: Arc<Clock>,
    draw: Draw,
    /// Last id of the venues that share ids between instruments.
    counters: Vec<i64>,
    /// Factor of a flood and its end, by venue.
    floods: Vec<(f64, i64)>,
    speed: f64,
    activity: f64,
    interval_scale: f64,
    market_ns: i64,
    last_ns: i64,
    frozen: bool,
    events: Vec<MarketEvent>,
}

impl Core {
    pub(crate) fn new(config: &ExchangeConfig, clock: Arc<Clock>) -> Result<Self, ExchangeError> {
        let listings = listings(config, &clock);
        let mut bases = BTreeMap::new();
        let mut assets = Vec::new();
        let mut specs = Vec::new();
        for listing in &listings {
            let asset = *bases.entry(listing.config.base.clone()).or_insert_with(|| {
                assets.push(listing.asset());
                assets.len() - 1
            });
            specs.push(listing.spec(asset));
        }
        let latent = Latent::new(&assets, 0.8, &specs, Draw::new(config.seed, STREAM));
        let market_ns = defaults::START_NS;
        let (mut instruments, mut sources) = (Vec::new(), Vec::new());
        for (position, listing) in listings.into_iter().enumerate() {
            let draw = Draw::new(config.seed, STREAM + 1 + position as u64);
            let mut instrument = Instrument::new(listing.clone(), position);
            let source = if let Some(terms) = listing.option.clone() {
                Source::Quoter(Box::new(Quoter::new(terms, draw)))
            } else if let Some(path) = &listing.config.capture {
                let (tick, lot) = (listing.tick_size(), listing.lot_size());
                Source::Capture(Box::new(Capture::open(path, listing.config.repeat, tick, lot)?))
            } else {
                let flow = Flow::new(specs[position].flow.clone(), latent.ticks(position), market_ns, draw);
                instrument.seed(flow.book());
                Source::Flow(Box::new(flow))
            };
            instruments.push(instrument);
            sources.push(source);
        }
        let last_ns = clock.now_ns();
        let mut core = Self {
            instruments,
            sources,
            latent,
            clock,
            draw: Draw::new(config.seed, STREAM + (1 << 20)),
            counters: Venue::VARIANTS.iter().map(|venue| 5_123_107_832_006 + venue.index() as i64).collect(),
            floods: vec![(1.0, 0); Venue::VARIANTS.len()],
            speed: config.speed,
            activity: config.activity,
            interval_scale: config.interval_scale,
            market_ns,
            last_ns,
            frozen: false,
            events: Vec::new(),
        };
        // Captures and options have their first book before anybody can ask for it.
        core.last_ns -= 20_000_000;
        core.advance();
        Ok(core)
    }

    /// Moves the markets to now.
    pub(crate) fn advance(&mut self) {
        let now_ns = self.clock.now_ns();
        let passed_ns = (now_ns - self.last_ns).clamp(0, MOST_NS);
        self.last_ns = now_ns;
        if !self.frozen && passed_ns > 0 {
            self.step((passed_ns as f64 * self.speed) as i64);
        }
        for index in 0..self.instruments.len() {
            let scale = self.interval_scale / self.flood(self.instruments[index].venue(), now_ns);
            self.instruments[index].advance(now_ns, scale, &self.clock);
        }
    }

    fn step(&mut self, step_ns: i64) {
        self.market_ns += step_ns.max(1);
        let calm = |_| AssetConditions { volatility: 1.0, drift: 0.0 };
        self.latent.step(step_ns.max(1) as f64 * 1e-9, calm, |_| false);
        for index in 0..self.instruments.len() {
            let instrument = &mut self.instruments[index];
            let venue = instrument.venue();
            let flood = if self.floods[venue.index()].1 > self.last_ns { self.floods[venue.index()].0 } else { 1.0 };
            let tick_size = instrument.listing.tick_size();
            let ticks = self.latent.ticks(index);
            let underlying = self.latent.index_price(index);
            instrument.index = underlying;
            instrument.mark = ticks * tick_size;
            if let Source::Capture(capture) = &self.sources[index]
                && let Some(mid) = capture.mid()
            {
                (instrument.mark, instrument.index) = (mid, mid);
            }
            let premium = instrument.mark / instrument.index - 1.0;
            instrument.funding = premium + (0.0001 - premium).clamp(-0.0005, 0.0005);
            let present = Present {
                to_ns: self.market_ns,
                now_ms: self.clock.ms(venue),
                ticks,
                underlying,
                tick_size,
                activity: self.activity * flood,
            };
            self.sources[index].advance(&present, &mut self.events);
            if !self.events.is_empty() {
                let counter = &mut self.counters[venue.index()];
                instrument.apply(&self.events, counter, &mut self.draw, &self.clock);
                self.events.clear();
            }
        }
    }

    fn flood(&self, venue: Venue, now_ns: i64) -> f64 {
        let (factor, until_ns) = self.floods[venue.index()];
        if until_ns > now_ns { factor } else { 1.0 }
    }

    /// More of everything for a while.
    pub(crate) fn start_flood(&mut self, venue: Venue, factor: f64, until_ns: i64) {
        self.floods[venue.index()] = (factor, until_ns);
    }

    /// Stops the order flow and pushes everything pending.
    pub(crate) fn freeze(&mut self) {
        self.frozen = true;
        for instrument in &mut self.instruments {
            instrument.flush(&self.clock);
        }
    }

    /// Lets the order flow go on where it stopped.
    pub(crate) fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Position of an instrument by its venue and name, and where names repeat, by its category.
    pub(crate) fn find(&self, venue: Venue, symbol: &str, category: Option<Category>) -> Option<usize> {
        self.instruments.iter().position(|instrument| {
            instrument.venue() == venue
                && &*instrument.symbol == symbol
                && category.is_none_or(|category| category == instrument.listing.config.category)
        })
    }

    /// Adds a listener.
    pub(crate) fn join(&mut self, index: usize, spec: TopicSpec, connection: u64, outbox: Outbox) {
        if let Some(instrument) = self.instruments.get_mut(index) {
            instrument.join(spec, connection, outbox, &self.clock);
        }
    }

    /// Removes a listener from everything.
    pub(crate) fn leave(&mut self, connection: u64) {
        for instrument in &mut self.instruments {
            instrument.leave(None, connection);
        }
    }
}

fn listings(config: &ExchangeConfig, clock: &Clock) -> Vec<Listing> {
    let mut listings = Vec::new();
    for venue in config.venues() {
        let own: Vec<_> = config.instrument.iter().filter(|instrument| instrument.venue == venue).cloned().collect();
        let configs = if own.is_empty() { built_in(venue) } else { own };
        let options = if venue == Venue::Deribit { option_listings(&configs, clock.ms(venue)) } else { Vec::new() };
        listings.extend(configs.into_iter().map(|config| Listing { config, option: None }));
        listings.extend(options);
    }
    listings
}
