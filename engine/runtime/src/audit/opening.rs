//! What a log says before the first event: who runs, on what, under which rules.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tidegate_guard::Strategy;
use tidegate_guard::rules::{ESCALATION, MANUAL, RULE_COUNT, rule_name};
use tidegate_record::entry::Kind;
use tidegate_wire::{Registry, Venue};

use super::Audit;
use crate::config::profile_file;
use crate::replay::ReplayPlan;

/// Instruments named in one entry.
const NAMES: usize = 1_000;
/// Characters of text in one entry: what is longer comes in parts.
const PART: usize = 30_000;

impl Audit {
    /// Records the beginning of a run.
    ///
    /// # Errors
    /// A source that cannot be read.
    pub(crate) fn begin(
        &self,
        plan: &ReplayPlan,
        registry: &Registry,
        strategies: &[Strategy],
    ) -> Result<(), std::io::Error> {
        let sources: Result<Vec<Value>, std::io::Error> =
            plan.sources.iter().map(|source| digest(&source.path)).collect();
        let mut session = json!({
            "program": "tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "purpose": if plan.live.is_some() { "run" } else { "replay" },
            "sources": sources?,
            "models": plan.models.name(),
        });
        if let Some(live) = &plan.live {
            let markets: Vec<&str> = live.markets.iter().map(|market| market.venue.name()).collect();
            session["markets"] = markets.into();
            session["pid"] = std::process::id().into();
            session["host"] = hostname().into();
        }
        self.trail.tell(Kind::Session, &session);
        self.names(registry, strategies);
        self.configuration(plan, registry);
        Ok(())
    }

    /// Records that a balance ledger is hosted without an engine.
    pub(crate) fn begin_ledger(&self) {
        let body = json!({
            "program": "tidegate",
            "version": env!("CARGO_PKG_VERSION"),
            "purpose": "vmsp",
            "sources": [],
            "pid": std::process::id(),
            "host": hostname(),
        });
        self.trail.tell(Kind::Session, &body);
    }

    /// What the numbers in records mean.
    fn names(&self, registry: &Registry, strategies: &[Strategy]) {
        let rules = (0..RULE_COUNT as u8).chain([ESCALATION, MANUAL]);
        let rules: Vec<Value> = rules.map(|rule| json!([rule, rule_name(rule)])).collect();
        let venues: Vec<Value> = Venue::ALL.iter().map(|venue| json!([*venue as u8, venue.name()])).collect();
        let strategies: Vec<&str> = strategies.iter().map(|strategy| strategy.name.as_str()).collect();
        self.trail.tell(Kind::Names, &json!({ "rules": rules, "venues": venues, "strategies": strategies }));
        let instruments: Vec<(String, [u8; 2])> =
            registry.iter().map(|(_, i)| (i.name(), [i.price_scale.decimals(), i.qty_scale.decimals()])).collect();
        for (part, some) in instruments.chunks(NAMES).enumerate() {
            let (names, decimals): (Vec<&str>, Vec<[u8; 2]>) =
                some.iter().map(|(name, decimals)| (name.as_str(), *decimals)).unzip();
            let body = json!({ "first": part * NAMES, "instruments": names, "decimals": decimals });
            self.trail.tell(Kind::Names, &body);
        }
    }

    /// The configuration as far as decisions depend on it.
    fn configuration(&self, plan: &ReplayPlan, registry: &Registry) {
        let used = |venue: &Venue| registry.iter().any(|(_, instrument)| instrument.venue == *venue);
        let profiles: serde_json::Map<String, Value> = Venue::ALL
            .into_iter()
            .filter(used)
            .map(|venue| {
                let profile = serde_json::to_value(profile_file(&plan.profiles[venue as usize])).unwrap_or_default();
                (venue.name().to_owned(), profile)
            })
            .collect();
        let orders: Vec<String> = plan.orders.iter().map(ToString::to_string).collect();
        let calendar = format!("{:?}", plan.calendar);
        let mut text = json!({
            "profiles": profiles,
            "escalation": plan.escalation,
            "drawdown": plan.drawdown,
            "correlations": plan.correlations,
            "strategies": plan.strategies,
            "orders": orders,
            "calendar_sha256": hex::encode(Sha256::digest(&calendar)),
            "check_bbo": plan.check_bbo,
        });
        if let Some(signals) = &plan.signals {
            text["signals"] = json!(signals);
            self.trail.tell(Kind::Names, &json!({ "coins": signals.ml.trading_coins }));
        }
        if let Some(trading) = &plan.trading {
            text["trading"] = json!({ "settings": trading.settings, "limits": trading.limits });
        }
        let text = text.to_string();
        let digest = hex::encode(Sha256::digest(&text));
        let characters: Vec<char> = text.chars().collect();
        let parts = characters.chunks(PART);
        let of = parts.len();
        for (part, characters) in parts.enumerate() {
            let text: String = characters.iter().collect();
            self.trail.tell(Kind::Configuration, &json!({ "sha256": digest, "part": part, "of": of, "text": text }));
        }
    }
}

/// A file's name, length and SHA-256: what was replayed.
fn digest(path: &Path) -> Result<Value, std::io::Error> {
    let (length, hash) = file_digest(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(json!({ "name": name, "bytes": length, "sha256": hash }))
}

/// A file's length and SHA-256, as hex.
pub(crate) fn file_digest(path: &Path) -> Result<(usize, String), std::io::Error> {
    let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(named)?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).map_err(named)?;
        if read == 0 {
            break;
        }
        length += read;
        hash.update(&buffer[..read]);
    }
    Ok((length, hex::encode(hash.finalize())))
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".into(), |name| name.trim().into())
}
