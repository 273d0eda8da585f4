//! Adjustments as JSON lines: what people read, and what a replay re-enacts.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_guard::conditions::Condition;
use tidegate_guard::{Command, Strategy};
use tidegate_wire::Registry;
use tidegate_wire::advice::{ADVICE_UNITS, Adjustment, Advice, AdviceStamps, Clamp, Operated, Origin, TARGETS, Target};
use tidegate_wire::decision::Scope;

use super::{Recorded, Taken};
use crate::lines::Names;
use crate::orders::Instruction;

/// Levels by name; thresholds in their rule's unit, recovery as seconds (advised) or as a factor on cooling (in force).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelsLine {
    /// fraction/year.
    pub volatility: f64,
    /// ratio.
    pub spread: f64,
    /// ratio.
    pub imbalance: f64,
    /// us.
    pub latency: f64,
    /// s, or a factor.
    pub recovery: f64,
}

impl LevelsLine {
    fn of(levels: [i64; TARGETS]) -> Self {
        let [volatility, spread, imbalance, latency, recovery] = levels.map(|level| level as f64 / ADVICE_UNITS);
        Self { volatility, spread, imbalance, latency, recovery }
    }

    /// Advised levels: they are multiples of a thousand units, six decimals, which a double and its text keep up to
    /// nine million.
    fn levels(&self) -> [i64; TARGETS] {
        [self.volatility, self.spread, self.imbalance, self.latency, self.recovery]
            .map(|level| (level * (ADVICE_UNITS * 1e-3)).round() as i64 * 1_000)
    }
}

/// The advice behind an adjustment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdviceLine {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its file.
    pub hash: String,
    /// Number of the adjustment in the sidecar.
    pub adjustment: u64,
    /// Moment it was computed for, ns since the Unix epoch.
    pub moment_ns: i64,
    /// XXH3 of the input.
    pub input_digest: String,
    /// What it advised.
    pub levels: LevelsLine,
}

/// A change of thresholds as people and programs read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdjustmentLine {
    /// Number, from 1.
    pub sequence: u64,
    /// Number of the guard's event from which it holds.
    pub event: u64,
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// Until when it holds unless renewed; absent for the static profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<i64>,
    /// Whose thresholds.
    pub instrument: String,
    /// Why.
    pub origin: Origin,
    /// The advice, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<AdviceLine>,
    /// Levels before.
    pub before: LevelsLine,
    /// Levels from now on.
    pub after: LevelsLine,
    /// What held levels back, by target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clamps: Vec<String>,
    /// Conditions in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}

impl AdjustmentLine {
    /// The line of an adjustment of the instrument with this name.
    pub fn of(adjustment: &Adjustment, instrument: &str) -> Self {
        let origin = Origin::from_repr(adjustment.origin).unwrap_or(Origin::Conditions);
        let advice = &adjustment.advice;
        let advised = (origin == Origin::Advised).then(|| AdviceLine {
            model: advice.model_name().to_owned(),
            version: advice.version,
            hash: hex::encode(advice.model_hash),
            adjustment: advice.adjustment,
            moment_ns: advice.event_ns,
            input_digest: format!("{:016x}", advice.input_digest),
            levels: LevelsLine::of(advice.levels),
        });
        let clamps = adjustment.clamps.iter().enumerate().flat_map(|(target, bits)| {
            let target = Target::from_repr(target as u8).map_or("", |target| target.name());
            Clamp::of_bits(*bits).map(move |clamp| format!("{target}:{}", <&str>::from(clamp)))
        });
        Self {
            sequence: adjustment.sequence,
            event: adjustment.event,
            event_ns: adjustment.event_ns,
            until_ns: (adjustment.until_ns != 0).then_some(adjustment.until_ns),
            instrument: instrument.to_owned(),
            origin,
            advice: advised,
            before: LevelsLine::of(adjustment.before),
            after: LevelsLine::of(adjustment.after),
            clamps: clamps.collect(),
            conditions: Condition::names(adjustment.conditions).into_iter().map(str::to_owned).collect(),
        }
    }

    fn recorded(&self, registry: &Registry) -> Result<Option<Recorded>, String> {
        let Some(line) = self.advice.as_ref().filter(|_| self.origin == Origin::Advised) else { return Ok(None) };
        let instrument = registry.iter().find(|(_, i)| i.name() == self.instrument).map(|(id, _)| id);
        let instrument = instrument.ok_or_else(|| format!("there is no instrument {}", self.instrument))?;
        let mut model_hash = [0; 32];
        hex::decode_to_slice(&line.hash, &mut model_hash).map_err(|_| "advice.hash is no SHA-256")?;
        let input_digest = u64::from_str_radix(&line.input_digest, 16).map_err(|_| "advice.input_digest is none")?;
        let advice = Advice {
            adjustment: line.adjustment,
            event_ns: line.moment_ns,
            input_digest,
            model_hash,
            model: Advice::name_field(&line.model),
            version: line.version,
            instrument,
            reserved: 0,
            levels: line.levels.levels(),
            stamps: AdviceStamps::default(),
        };
        Ok(Some(Recorded { event: self.event, event_ns: self.event_ns, what: Taken::Advice(advice) }))
    }
}

/// An operator's command as people and programs read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatedLine {
    /// Number of the guard's event from which it holds.
    pub event: u64,
    /// Event time, ns since the Unix epoch.
    pub event_ns: i64,
    /// What was ordered, such as `trip:venue:binance-spot`.
    pub operator: String,
}

impl OperatedLine {
    /// The line of a command.
    pub(crate) fn of(operated: &Operated, names: &Names) -> Self {
        let name = |scope, id| if scope == Scope::Engine { String::new() } else { names.scope(scope, id) };
        let breaker = |reset, scope, id| Instruction::Breaker { reset, scope, name: name(scope, id) };
        let instruction = Command::of_record(operated).map(|command| match command {
            Command::News(there_is) => Instruction::News(there_is),
            Command::Trip(scope, id) => breaker(false, scope, id),
            Command::Reset(scope, id) => breaker(true, scope, id),
            Command::Drawdown(scope, id, millionths) => {
                Instruction::Drawdown { scope, name: name(scope, id), millionths }
            }
        });
        let operator = instruction.map_or_else(|| "unknown".to_owned(), |instruction| instruction.to_string());
        Self { event: operated.event, event_ns: operated.event_ns, operator }
    }

    fn recorded(&self, registry: &Registry, strategies: &[Strategy]) -> Result<Recorded, String> {
        let instruction: Instruction = self.operator.parse()?;
        let command = instruction.resolve(registry, strategies).map_err(|error| error.to_string())?;
        Ok(Recorded { event: self.event, event_ns: self.event_ns, what: Taken::Command(command) })
    }
}

/// A line of a record: one or the other.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Operated(OperatedLine),
    Adjustment(Box<AdjustmentLine>),
}

/// A record that cannot be re-enacted.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is none of ours, or of another run.
    #[error("{path}: line {line}: {reason}")]
    Line {
        /// Which file.
        path: String,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads what a run took from outside event time, in order.
///
/// # Errors
/// The file cannot be read, or the first line that is wrong.
pub fn read_record(path: &Path, registry: &Registry, strategies: &[Strategy]) -> Result<Vec<Recorded>, RecordError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| RecordError::Io { path: name(), source })?;
    let mut recorded: Vec<Recorded> = Vec::new();
    // A crash may have cut the last line off: what has no end was never adopted for sure.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for (index, line) in whole.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let wrong = |reason: String| RecordError::Line { path: name(), line: index + 1, reason };
        let parsed = serde_json::from_str(line).map_err(|error| wrong(format!("no line of a record: {error}")))?;
        let next = match parsed {
            Line::Operated(line) => Some(line.recorded(registry, strategies).map_err(wrong)?),
            Line::Adjustment(line) => line.recorded(registry).map_err(wrong)?,
        };
        if let Some(next) = next {
            if recorded.last().is_some_and(|last| last.event > next.event) {
                return Err(wrong("its event comes before that of the line above".into()));
            }
            recorded.push(next);
        }
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;
    use tidegate_wire::{Instrument, InstrumentId, Price, Qty, Scale, Venue};

    use super::*;

    #[test]
    fn a_line_gives_the_advice_back_bit_for_bit() {
        let mut registry = Registry::new();
        let scale = Scale::saturating(2);
        let (tick, lot, contract) = (Price::from_raw(1), Qty::from_raw(1), Default::default());
        let (venue, symbol) = (Venue::BinanceUsdm, "BTCUSDT".to_owned());
        let instrument = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
        registry.add(instrument).expect("legal");
        let levels = [1_234_567_000, 3_333_333_000, 981_000_000, 8_999_999_999_999_000, 7_000];
        let advice = Advice {
            adjustment: 9,
            event_ns: 1_723_161_255_000_000_123,
            input_digest: u64::MAX - 5,
            model_hash: core::array::from_fn(|i| i as u8 * 7),
            model: Advice::name_field("breaker-tuner"),
            version: 4,
            levels,
            instrument: InstrumentId(0),
            ..Advice::zeroed()
        };
        let adjustment = Adjustment { event: 77, event_ns: 5, advice, clamps: [0, 4, 1, 0, 6], ..Adjustment::zeroed() };
        let line = AdjustmentLine::of(&adjustment, "BTCUSDT.binance-usdm");
        assert_eq!(line.clamps, ["spread:slew", "imbalance:lowest", "recovery:highest", "recovery:slew"]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("adjustments.jsonl");
        let text = serde_json::to_string(&line).expect("JSON");
        let trip = Operated { event: 78, event_ns: 6, command: 0, scope: 1, scope_id: 2, ..Operated::zeroed() };
        let names = Names::new(&registry, Vec::new());
        let order = OperatedLine::of(&trip, &names);
        assert_eq!(order.operator, "trip:venue:binance-coinm");
        let order = serde_json::to_string(&order).expect("JSON");
        std::fs::write(&path, format!("{text}\n\n{order}\n")).expect("written");
        let recorded = read_record(&path, &registry, &[]).expect("read");
        let command = Taken::Command(Command::Trip(Scope::Venue, 2));
        let expected = [
            Recorded { event: 77, event_ns: 5, what: Taken::Advice(advice) },
            Recorded { event: 78, event_ns: 6, what: command },
        ];
        assert_eq!(recorded, expected);
        std::fs::write(&path, format!("{text}\nnonsense\n")).expect("written");
        assert!(read_record(&path, &registry, &[]).expect_err("nonsense").to_string().contains("line 2"));
        std::fs::write(&path, format!("{text}\n{}", &text[..40])).expect("written");
        assert_eq!(read_record(&path, &registry, &[]).expect("torn").len(), 1);
        let error = read_record(&path, &Registry::new(), &[]).expect_err("another run").to_string();
        assert!(error.contains("BTCUSDT.binance-usdm"), "{error}");
    }
}
