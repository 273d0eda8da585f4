//! Which connections carry what: topics dealt to connections within the venue's limits.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_wire::{Registry, Venue};

use super::credentials::Credentials;
use super::dialect::{Channel, ClientLimits, Dialect, Heartbeat, Route, Topic};
use super::link::LinkSettings;

/// What is wanted of one market.
#[derive(Clone, Debug)]
pub struct MarketPlan {
    /// The market.
    pub venue: Venue,
    /// Its dialect.
    pub dialect: &'static dyn Dialect,
    /// Base of its WebSocket URLs.
    pub stream: String,
    /// Base of its REST URLs.
    pub rest: String,
    /// Certificates to trust instead of the public authorities.
    pub authorities: Option<PathBuf>,
    /// Symbols.
    pub symbols: Vec<String>,
    /// Channels of each.
    pub channels: Vec<Channel>,
    /// Connections for each topic, 1 or 2.
    pub redundancy: usize,
    /// Keys of the account, if its channels are wanted.
    pub credentials: Option<Credentials>,
    /// The venue's limits.
    pub limits: ClientLimits,
    /// How connections are kept alive.
    pub heartbeat: Heartbeat,
}

/// One connection that is wanted.
#[derive(Clone, Debug)]
pub struct LinkPlan {
    /// Its market, as an index.
    pub market: usize,
    /// Its socket.
    pub route: Route,
    /// What it carries.
    pub topics: Vec<Topic>,
    /// Which of the redundant copies, from 0.
    pub copy: usize,
}

/// Deals the topics of all markets to connections.
pub fn links(markets: &[MarketPlan], registry: &Registry) -> Vec<LinkPlan> {
    let mut links = Vec::new();
    for (market, plan) in markets.iter().enumerate() {
        let mut topics: Vec<Topic> = Vec::new();
        for symbol in &plan.symbols {
            let Some(instrument) = registry.find(plan.venue, symbol) else { continue };
            topics.extend(plan.channels.iter().filter_map(|channel| plan.dialect.topic(instrument, symbol, *channel)));
        }
        for route in [Route::Public, Route::Market] {
            let of_route: Vec<_> = topics.iter().filter(|topic| topic.route == route).cloned().collect();
            for copy in 0..plan.redundancy.max(1) {
                for chunk in of_route.chunks(plan.limits.topics.max(1)) {
                    links.push(LinkPlan { market, route, topics: chunk.to_vec(), copy });
                }
            }
        }
        if plan.credentials.is_some() {
            let topics = plan.dialect.account();
            if !topics.is_empty() {
                links.push(LinkPlan { market, route: Route::Private, topics, copy: 0 });
            }
        }
    }
    links
}

/// Times of all sessions.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// Between attempts.
    pub backoff: super::backoff::BackoffSettings,
    /// A connection must be made, and a request answered, in this time.
    pub patience: Duration,
    /// A connection that lasted this long was a good one.
    pub stable_after: Duration,
    /// Rotate this long before the venue would cut the connection.
    pub rotate_before: Duration,
    /// A subscribed book without a frame for this long is asked for anew; zero: never.
    pub idle_after: Duration,
    /// How often each venue's clock is asked.
    pub clock_every: Duration,
    /// A venue's clock may be off by so much before it is told.
    pub clock_bound: Duration,
    /// Longest message accepted, bytes.
    pub message: usize,
    /// Poll the device's queue for up to this long at each read, us; 0 leaves it.
    pub busy_poll_us: u32,
}

impl SessionSettings {
    /// What they say of one connection that is kept alive so, within these limits.
    pub const fn link(&self, heartbeat: Heartbeat, limits: ClientLimits) -> LinkSettings {
        let Self { backoff, patience, stable_after, rotate_before, idle_after, .. } = *self;
        LinkSettings { backoff, heartbeat, limits, patience, stable_after, rotate_before, idle_after }
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            backoff: super::backoff::BackoffSettings::default(),
            patience: Duration::from_secs(10),
            stable_after: Duration::from_secs(30),
            rotate_before: Duration::from_secs(3600),
            idle_after: Duration::from_secs(60),
            clock_every: Duration::from_secs(30),
            clock_bound: Duration::from_millis(500),
            message: 2 << 20,
            busy_poll_us: 0,
        }
    }
}
