//! What a run keeps up to date beside itself for other programs: the store of its log, and Redis.

use serde_json::{Value, json};
use tidegate_feed::session::status::SessionStatus;
use tidegate_serve::redis::{Key, Mirror, MirrorHandle, Settings, Source};
use tidegate_wire::InstrumentId;
use tidegate_wire::clock::realtime_ns;

use crate::audit::Audit;
use crate::control::Feeds;
use crate::replay::{ReplayPlan, ReplayReport};
use crate::stores::{StoreHandle, Stores};

/// Both, as far as the plan wants them.
#[derive(Debug)]
pub(crate) struct Beside {
    stores: Option<Stores>,
    mirror: Option<Mirror>,
    desk: StreamDesk,
}

impl Beside {
    /// Starts what the plan wants; neither database nor Redis need to be there.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(
        plan: &ReplayPlan,
        audit: Option<&Audit>,
        feeds: Option<Feeds>,
        instruments: usize,
    ) -> std::io::Result<Self> {
        let stores = plan.store.as_ref().zip(audit);
        let stores = stores.map(|(store, audit)| Stores::start(store, audit.directory(), audit.session()));
        let (stores, source) = (stores.transpose()?, source(feeds.clone()));
        let mirror = plan.redis.clone().map(|settings: Settings| Mirror::start(settings, source)).transpose()?;
        let desk = StreamDesk {
            store: stores.as_ref().map(Stores::handle),
            mirror: mirror.as_ref().map(Mirror::handle),
            feeds,
            instruments,
        };
        Ok(Self { stores, mirror, desk })
    }

    /// Speaks for both.
    pub(crate) fn desk(&self) -> StreamDesk {
        self.desk.clone()
    }

    /// Ends both, once the log has ended: the store when it has what the log has, within its time.
    pub(crate) fn finish(self, report: ReplayReport) -> ReplayReport {
        let last = vec![(Key::WsStatus, json!({ "state": "disconnected" }).to_string())];
        let (store, redis) = (self.stores.map(Stores::finish), self.mirror.map(|mirror| mirror.finish(last)));
        ReplayReport { store, redis, ..report }
    }
}

/// What operators can see of it and ask of it.
#[derive(Clone, Debug)]
pub(crate) struct StreamDesk {
    pub(crate) store: Option<StoreHandle>,
    pub(crate) mirror: Option<MirrorHandle>,
    feeds: Option<Feeds>,
    instruments: usize,
}

impl StreamDesk {
    /// Where the store and Redis stand.
    pub(crate) fn status(&self) -> Value {
        json!({
            "store": self.store.as_ref().map(StoreHandle::status).unwrap_or_default(),
            "redis": self.mirror.as_ref().map(MirrorHandle::status).unwrap_or_default(),
        })
    }

    /// Clears the keys in Redis, writes the newest values again and asks the venues for every book anew.
    ///
    /// # Errors
    /// Redis does not answer; books are realigned all the same.
    pub(crate) fn reset(&self) -> Result<Value, String> {
        for id in 0..self.instruments {
            let Ok(id) = u16::try_from(id) else { break };
            self.feeds.iter().for_each(|feeds| feeds.commands.realign(InstrumentId(id)));
        }
        let realigned = if self.feeds.is_some() { self.instruments } else { 0 };
        let cleared = self.mirror.as_ref().map(MirrorHandle::reset).transpose();
        cleared.map(|cleared| json!({ "cleared": cleared.is_some(), "realigned": realigned }))
    }
}

/// What Redis shows of the stream itself.
fn source(feeds: Option<Feeds>) -> Source {
    let status = feeds.map(|feeds| feeds.status);
    Box::new(move || {
        let now = realtime_ns();
        let Some(status) = &status else {
            // A replay has no connections; that it runs is all there is to say.
            let state = json!({ "state": "replaying" });
            return vec![
                (Key::WsStatus, state.to_string()),
                (Key::WsLastUpdate, json!({ "time_ns": now }).to_string()),
            ];
        };
        let status = status.lock().map(|status| status.clone()).unwrap_or_default();
        let heard = status.links.iter().filter_map(|link| link.heard_ms).min();
        let last = heard.map(|ms| (Key::WsLastUpdate, now - ms as i64 * 1_000_000));
        let last = last.map(|(key, time_ns)| (key, json!({ "time_ns": time_ns }).to_string()));
        [(Key::WsStatus, stream_state(&status).to_string())].into_iter().chain(last).collect()
    })
}

/// States of a connection, the worst first.
const STATES: [&str; 5] = ["error", "disconnected", "authenticating", "realigning", "connected"];

/// The stream is as well as the worst of its connections.
fn stream_state(status: &SessionStatus) -> Value {
    let links = status.links.iter().map(|link| json!({ "venue": link.venue, "name": link.name, "state": link.state }));
    let links: Vec<Value> = links.collect();
    let worst = STATES.into_iter().find(|state| links.iter().any(|link| link["state"] == *state));
    json!({ "state": worst.unwrap_or("disconnected"), "connections": links })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_connections_a_stream_is_disconnected() {
        assert_eq!(stream_state(&SessionStatus::default())["state"], "disconnected");
        let mut replay = source(None);
        assert_eq!(replay()[0], (Key::WsStatus, r#"{"state":"replaying"}"#.to_owned()));
    }
}
