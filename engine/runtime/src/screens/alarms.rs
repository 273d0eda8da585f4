//! Who is told when something happens: prices that were waited for, trips, kill switches, models, feeds.

use serde_json::json;
use tidegate_serve::webhooks::{Alert, Webhook, Webhooks, WebhooksThread};
use tidegate_serve::{Hub, Topic};

use crate::lines::DecisionLine;

/// Kinds of alerts that there are: the engine's, and those of the risk desk.
pub const ALERT_KINDS: [&str; 17] = [
    "trip",
    "price",
    "model",
    "feed",
    "trap",
    "signals",
    "refusal",
    "kill",
    "reset",
    "cancel-rate",
    "override",
    "unknown-execution",
    "emergency",
    "changed",
    "luld",
    "held-by-nobody",
    "unreadable",
];

/// A price that somebody waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceAlert {
    /// Instrument, such as `BTCUSDT.binance-usdm`.
    pub instrument: String,
    /// Alert at or above it, quote units.
    pub above: Option<f64>,
    /// Alert at or below it, quote units.
    pub below: Option<f64>,
    /// How far the price must come back before the same alert is given again, fraction of the level.
    pub rearm: f64,
}

/// Who is alerted to what.
#[derive(Clone, Debug, Default)]
pub struct AlarmsPlan {
    /// Receivers.
    pub webhooks: Vec<Webhook>,
    /// Prices.
    pub prices: Vec<PriceAlert>,
}

/// Gives alerts.
#[derive(Debug)]
pub(super) struct Alarms {
    hub: Hub,
    webhooks: Option<(Webhooks, WebhooksThread)>,
}

impl Alarms {
    pub(super) fn start(
        plan: &AlarmsPlan,
        hub: Hub,
        metrics: tidegate_serve::metrics::Metrics,
    ) -> std::io::Result<Self> {
        let webhooks =
            (!plan.webhooks.is_empty()).then(|| Webhooks::start(plan.webhooks.clone(), metrics)).transpose()?;
        Ok(Self { hub, webhooks })
    }

    /// Sends what was told already.
    pub(super) fn send(&self, kind: &str, text: String, event_ns: Option<i64>, data: serde_json::Value) {
        debug_assert!(ALERT_KINDS.contains(&kind), "{kind:?} is a kind that no configuration may name");
        if let Some((webhooks, _)) = &self.webhooks {
            webhooks.send(&Alert { kind: kind.to_owned(), text, event_ns, data });
        }
    }

    /// Tells and sends.
    pub(super) fn alert(&self, kind: &str, text: String, event_ns: Option<i64>, mut data: serde_json::Value) {
        data["kind"] = kind.into();
        data["text"] = text.as_str().into();
        self.hub.tell(Topic::Alert, event_ns, &data);
        self.send(kind, text, event_ns, data);
    }

    /// A breaker tripped.
    pub(super) fn tripped(&self, line: &DecisionLine) {
        let measured =
            line.value.map_or_else(String::new, |value| format!(" at {value:.4} against {:.4}", line.threshold));
        let text = format!("{} of {} {} tripped: {}{measured}", line.rule, line.scope, line.name, line.cause);
        self.send("trip", text, Some(line.event_ns), json!(line));
    }
}

/// Looks whether a price that somebody waits for has come.
#[derive(Debug)]
pub(super) struct PriceWatch {
    alerts: Vec<(PriceAlert, [bool; 2])>,
}

impl PriceWatch {
    pub(super) fn new(alerts: &[PriceAlert]) -> Self {
        Self { alerts: alerts.iter().map(|alert| (alert.clone(), [true, true])).collect() }
    }

    /// Takes a mid price; gives the levels that it has come to since it was last away from them: whether from below,
    /// and the level.
    pub(super) fn look(&mut self, instrument: &str, mid: f64) -> Vec<(bool, f64)> {
        let mut come = Vec::new();
        for (alert, armed) in self.alerts.iter_mut().filter(|(alert, _)| alert.instrument == instrument) {
            for (side, level) in [alert.above, alert.below].into_iter().enumerate() {
                let Some(level) = level else { continue };
                let (reached, back) = if side == 0 {
                    (mid >= level, mid < level * (1.0 - alert.rearm))
                } else {
                    (mid <= level, mid > level * (1.0 + alert.rearm))
                };
                if reached && armed[side] {
                    armed[side] = false;
                    come.push((side == 0, level));
                } else if back {
                    armed[side] = true;
                }
            }
        }
        come
    }
}

#[cfg(test)]
mod tests {
    use tidegate_wire::order::AlertKind;

    use super::*;

    #[test]
    fn every_kind_of_the_risk_desk_may_be_named() {
        let all = (0..=u8::MAX).filter_map(AlertKind::from_repr);
        let unknown: Vec<&str> = all.map(AlertKind::name).filter(|name| !ALERT_KINDS.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn a_level_alerts_once_until_the_price_has_been_away() {
        let alert = PriceAlert { instrument: "A".into(), above: Some(100.0), below: Some(90.0), rearm: 0.01 };
        let mut watch = PriceWatch::new(&[alert]);
        assert_eq!(watch.look("B", 200.0), []);
        let mids = [95.0, 100.0, 101.0, 99.5, 100.5, 98.9, 100.0, 89.0, 90.5, 90.0, 91.0, 90.0];
        let come: Vec<usize> = mids.iter().map(|mid| watch.look("A", *mid).len()).collect();
        assert_eq!(come, [0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1]);
    }
}
