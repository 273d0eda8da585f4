//! A ledger with everybody who may ask it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::channel::ChannelServer;
use super::{Client, Host, Request, VmspError, VmspPlan};
use crate::audit::{Audit, AuditPlan, Trail};
use crate::control::{Ask, Claim, Control, Operator, Reply};

/// How often a host without an engine looks whether it shall end.
const POLL: Duration = Duration::from_millis(20);

/// A hosted ledger with its channel.
#[derive(Debug)]
pub(crate) struct Hosted {
    // Dropped first: nobody asks a host that has ended.
    _channel: Option<ChannelServer>,
    host: Host,
}

impl Hosted {
    pub(crate) fn start(plan: &VmspPlan, trail: Option<Trail>) -> Result<Self, VmspError> {
        let host = Host::start_told(plan, trail.clone())?;
        let client = host.client();
        let answer = move |peer: &str, message: &[u8]| answer(&client, trail.as_ref(), peer, message);
        let channel = plan.channel.as_ref().map(|channel| ChannelServer::start(channel, answer)).transpose()?;
        if let Some(channel) = &channel {
            tracing::info!(address = %channel.address(), "vmsp: the control channel listens");
        }
        Ok(Self { _channel: channel, host })
    }

    pub(crate) fn client(&self) -> Client {
        self.host.client()
    }
}

/// Answers what a peer of the channel asks: the same as at the control socket, about the ledger only.
fn answer(client: &Client, trail: Option<&Trail>, peer: &str, message: &[u8]) -> Vec<u8> {
    let reply = match serde_json::from_slice::<Request>(message) {
        Ok(request) => {
            let ask = Ask::Vmsp { request: request.clone() };
            match crate::control::record(trail, &ask, &format!("channel {peer}")) {
                Ok(()) => Reply::of_ledger(client.ask(request)),
                Err(error) => Reply { error: Some(error), ..Reply::default() },
            }
        }
        Err(error) => Reply { error: Some(format!("no request of ours: {error}")), ..Reply::default() },
    };
    // Plain data without maps of odd keys: it is always JSON.
    serde_json::to_vec(&reply).unwrap_or_default()
}

/// Hosts a ledger without an engine, in a claimed directory, until `stop` is set.
///
/// # Errors
/// [`VmspError`].
pub fn serve(
    plan: &VmspPlan,
    audit: Option<&AuditPlan>,
    claim: &Claim,
    stop: &Arc<AtomicBool>,
) -> Result<(), VmspError> {
    let audit = audit.map(|audit| Audit::open(audit, true)).transpose()?;
    if let Some(audit) = &audit {
        audit.begin_ledger();
    }
    let trail = audit.as_ref().map(Audit::trail);
    let hosted = Hosted::start(plan, trail.clone())?;
    let operator = Operator::of_ledger(hosted.client()).audited_by(trail);
    let control = Control::open(claim, operator)?;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(POLL);
    }
    drop(control);
    drop(hosted);
    audit.map(|audit| audit.end(&serde_json::json!({ "purpose": "vmsp" }))).transpose()?;
    Ok(())
}
