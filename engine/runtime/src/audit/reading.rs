//! Entries as people and programs read them: numbers of records as the names that the log itself gives them.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;
use tidegate_record::entry::{BookChange, Entry, EntryError, Kind};
use tidegate_record::hash;
use tidegate_trade::lines::{SignalLine, outcome_json};
use tidegate_wire::advice::{Adjustment, Operated};
use tidegate_wire::decision::Decision;
use tidegate_wire::event::Header;
use tidegate_wire::signal::{OutcomeBody, SignalBody};
use tidegate_wire::{InstrumentId, RecordKind};

use super::orders::{OrderNames, OrderRecords};
use crate::lines::Names;
use crate::models::{AdjustmentLine, OperatedLine};

/// An entry with its names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Number in the log, from 0.
    pub index: u64,
    /// When, RFC 3339, UTC; absent before a replay's first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The same, ns since the Unix epoch.
    pub time_ns: i64,
    /// What it tells.
    pub kind: &'static str,
    /// Who did it; absent for the engine itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Number of the entry that it follows from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<u64>,
    /// Hash of its bytes in the tree, as hex.
    pub leaf: String,
    /// What it says.
    pub body: Value,
}

/// Reads a log from its first entry on, and keeps what names need.
#[derive(Debug)]
pub struct Reading {
    names: Names,
    orders: OrderNames,
    actors: HashMap<u16, String>,
    coins: Vec<String>,
}

impl Default for Reading {
    fn default() -> Self {
        let names = Names::of(Vec::new(), Vec::new());
        Self { names, orders: OrderNames::default(), actors: HashMap::new(), coins: Vec::new() }
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

impl Reading {
    /// Takes notice of an entry, without a row of it: entries before those that are wanted.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn pass(&mut self, bytes: &[u8]) -> Result<(), EntryError> {
        let entry = Entry::read(bytes)?;
        if matches!(entry.kind, Kind::Session | Kind::Actor | Kind::Names) {
            self.learn(&entry, &serde_json::from_slice(entry.body).unwrap_or_default());
        }
        Ok(())
    }

    /// The order record of an entry, if it makes one; entries come in the order of the log.
    ///
    /// # Errors
    /// [`EntryError`]: an entry that this program does not know.
    pub fn order_record(
        &mut self,
        index: u64,
        bytes: &[u8],
        records: &mut OrderRecords,
    ) -> Result<Option<Value>, EntryError> {
        self.pass(bytes)?;
        Ok(records.of(index, &Entry::read(bytes)?, &self.orders))
    }

    /// The row of an entry; entries come in the order of the log.
    ///
    /// # Errors
    /// [`EntryError`]: an entry that this program does not know.
    pub fn row(&mut self, index: u64, bytes: &[u8]) -> Result<Row, EntryError> {
        let entry = Entry::read(bytes)?;
        let body = self.body(&entry);
        self.learn(&entry, &body);
        let at = UNIX_EPOCH + Duration::from_nanos(entry.time_ns.max(0) as u64);
        Ok(Row {
            index,
            time: (entry.time_ns > 0).then(|| humantime::format_rfc3339_nanos(at).to_string()),
            time_ns: entry.time_ns,
            kind: entry.kind.name(),
            actor: (entry.actor != 0).then(|| self.actor(entry.actor)),
            follows: (entry.back != 0).then(|| index.saturating_sub(u64::from(entry.back))),
            leaf: hex::encode(hash::leaf(bytes)),
            body,
        })
    }

    fn actor(&self, number: u16) -> String {
        self.actors.get(&number).cloned().unwrap_or_else(|| format!("actor {number}"))
    }

    fn learn(&mut self, entry: &Entry<'_>, body: &Value) {
        match entry.kind {
            // A session has names of its own.
            Kind::Session => *self = Self::default(),
            Kind::Actor => {
                let number = body["actor"].as_u64().and_then(|number| u16::try_from(number).ok());
                if let (Some(number), Some(name)) = (number, body["name"].as_str()) {
                    self.actors.insert(number, name.to_owned());
                }
            }
            Kind::Names => {
                let orders = &mut self.orders;
                if let Some(strategies) = strings(&body["strategies"]) {
                    orders.strategies = strategies;
                }
                if let Some(coins) = strings(&body["coins"]) {
                    self.coins = coins;
                }
                if let Some(accounts) = strings(&body["accounts"]) {
                    orders.accounts = accounts;
                }
                if let Some(instruments) = strings(&body["instruments"]) {
                    let first = body["first"].as_u64().unwrap_or(0) as usize;
                    orders.instruments.truncate(first);
                    orders.instruments.extend(instruments);
                    let decimals: Vec<(u8, u8)> = serde_json::from_value(body["decimals"].clone()).unwrap_or_default();
                    orders.decimals.truncate(first);
                    orders.decimals.extend(decimals);
                }
                self.names = Names::of(orders.instruments.clone(), orders.strategies.clone());
            }
            _ => {}
        }
    }

    fn body(&self, entry: &Entry<'_>) -> Value {
        let named = match entry.kind {
            Kind::Decision => {
                entry.record().map(|decision: Decision| serde_json::to_value(self.names.decision(&decision)))
            }
            Kind::Adjustment => entry.record().map(|adjustment: Adjustment| {
                let name = self.names.instrument(adjustment.instrument);
                serde_json::to_value(AdjustmentLine::of(&adjustment, name))
            }),
            Kind::Operated => {
                entry.record().map(|operated: Operated| serde_json::to_value(OperatedLine::of(&operated, &self.names)))
            }
            Kind::Signal => entry.record().map(|signal: SignalBody| {
                let coin = self.coins.get(usize::from(signal.coin)).map_or("unknown", String::as_str);
                serde_json::to_value(SignalLine::new(&signal, coin, self.names.instrument(signal.instrument), None))
            }),
            Kind::Outcome => entry.record().map(|outcome: OutcomeBody| Ok(outcome_json(&outcome))),
            Kind::Book => entry.record().map(|change: BookChange| {
                let instrument: InstrumentId = change.instrument;
                let header = Header::new(RecordKind::Status, instrument);
                let header = Header { event_ns: entry.time_ns, frame: change.frame, ..header };
                serde_json::to_value(self.names.book(&header, &change.status))
            }),
            Kind::Order
            | Kind::Verdict
            | Kind::Execution
            | Kind::PaperOrder
            | Kind::PaperVerdict
            | Kind::PaperExecution => self.orders.body(entry).map(Ok),
            _ => Some(serde_json::from_slice(entry.body)),
        };
        named.and_then(Result::ok).unwrap_or_default()
    }
}
