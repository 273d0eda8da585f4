//! What operators see of the live connections and ask of them.

use std::sync::{Arc, Mutex};

use tidegate_feed::session::desk::DeskCommands;
use tidegate_feed::session::status::SessionStatus;
use tidegate_wire::Venue;

use super::{Ask, Reply};
use crate::scribe::Healer;

/// The live connections, for operators.
#[derive(Clone, Debug)]
pub(crate) struct Feeds {
    pub(crate) commands: DeskCommands,
    pub(crate) status: Arc<Mutex<SessionStatus>>,
}

impl Feeds {
    /// Starts corrupt books anew.
    pub(crate) fn healer(self) -> Healer {
        Box::new(move |instrument| self.commands.realign(instrument))
    }

    pub(super) fn carry_out(&self, ask: &Ask) -> Result<Reply, String> {
        if let Ask::FeedsClear { venue } = ask {
            let named = |name: &String| Venue::from_name(name).ok_or_else(|| format!("unknown venue {name:?}"));
            self.commands.clear(venue.as_ref().map(named).transpose()?);
            return Ok(Reply { ok: true, ..Reply::default() });
        }
        let status = self.status.lock().map(|status| status.clone()).unwrap_or_default();
        let feeds = serde_json::to_value(status).map_err(|error| error.to_string())?;
        Ok(Reply { ok: true, feeds: Some(feeds), ..Reply::default() })
    }
}
