//! What a model says of itself: `contract.json` and `golden.json`.
//!
//! The format is described in `onnx/README.md`. A contract is read before anything else of a version, and everything
//! the gate checks is checked against it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_market::bars::schema as bars;
use tidegate_market::features::schema as features;
use tidegate_market::signals::SIGNAL_COLUMNS;
use tidegate_wire::advice::{MODEL_NAME_MAX, TARGETS, Target};

use crate::refusal::Refusal;
use crate::repository::is_name;

/// The format that this engine reads.
pub const FORMAT: &str = "tidegate.model.v1";

/// How a model's inputs are made and its outputs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// The market graph to quantiles: moves thresholds.
    Tuner,
    /// One row of named features.
    Row,
    /// Several rows, oldest first.
    Sequence,
}

/// A dimension: a number, or a name of what is only known at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dimension {
    /// Always this.
    Fixed(i64),
    /// Depends on the input.
    Named(String),
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Element {
    /// 32-bit floating point.
    Float32,
    /// 64-bit whole numbers.
    Int64,
}

/// An input or an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    #[serde(rename = "type")]
    pub element: Element,
    /// Its dimensions.
    pub shape: Vec<Dimension>,
    /// Lowest and highest value that an output may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// Size and hash of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// A target of a tuner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// Which one.
    pub name: Target,
    /// Unit of its value.
    pub unit: String,
    /// `z = ln(1 + value / scale)`; > 0.
    pub scale: f64,
}

/// How a tuner's output is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunerEncoding {
    /// How far it looks ahead, ms.
    pub horizon_ms: u64,
    /// The quantiles it gives, rising, in (0, 1).
    pub quantiles: Vec<f64>,
    /// The targets, in the order of [`Target`].
    pub targets: Vec<TargetSpec>,
}

/// Where a row's columns come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Feature vectors.
    Features,
    /// Finished one-minute bars.
    Bars,
    /// Microstructure signals: asked for each of them.
    Signals,
}

/// A column of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name of the feature, or of the parameter.
    pub name: String,
    /// Its value where it is absent.
    pub fill: f64,
    /// Whether the caller states it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parameter: bool,
}

/// What a model of signals states the probability of: that a trade entered at the signal has earned so much, after
/// fees, before its timer ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What must be earned, bp.
    pub target_bp: f64,
    /// Fee of each side, bp of its value.
    pub fee_bp: f64,
    /// Length of the timer, minutes.
    pub timer_minutes: u32,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target_bp, fee_bp, timer_minutes } = self;
        write!(f, "{target_bp} bp after fees of {fee_bp} bp a side, in timers of {timer_minutes} minutes")
    }
}

/// How a row or a sequence is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowEncoding {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// Where they come from.
    pub source: Source,
    /// Horizons of the outputs, s.
    #[serde(default)]
    pub horizons_s: Vec<f64>,
    /// Rows of a sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Time between rows, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_ms: Option<u64>,
    /// What the outputs of a model of signals mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

/// How inputs are made and outputs are read, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Encoding {
    /// Of a tuner.
    Tuner(TunerEncoding),
    /// Of a row or a sequence.
    Row(RowEncoding),
}

/// A contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// [`FORMAT`].
    pub format: String,
    /// Name of the model.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// What it is for.
    pub kind: Kind,
    /// When it was exported, RFC 3339.
    pub created: String,
    /// Its inputs, in order.
    pub inputs: Vec<Port>,
    /// Its outputs, in order.
    pub outputs: Vec<Port>,
    /// SHA-256 by schema it depends on.
    pub schemas: BTreeMap<String, String>,
    /// Versions by operator domain.
    pub opset: BTreeMap<String, i64>,
    /// By kind; see [`Contract::encoding`].
    pub encoding: serde_json::Value,
    /// What it was trained on.
    pub training: serde_json::Value,
    /// What its report says.
    pub metrics: serde_json::Value,
    /// p99 of a run, us.
    pub latency_budget_us: f64,
    /// Largest absolute difference to golden outputs.
    pub tolerance: f64,
    /// Size and hash of the other files.
    pub files: BTreeMap<String, FileDigest>,
}

/// A tensor of a golden case.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenTensor {
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// Its elements, row-major.
    pub data: Vec<f64>,
}

/// Inputs with the outputs they must give.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// By name.
    pub inputs: BTreeMap<String, GoldenTensor>,
    /// By name.
    pub outputs: BTreeMap<String, GoldenTensor>,
}

/// Golden cases.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The cases.
    pub cases: Vec<GoldenCase>,
}

/// Largest latency budget that is granted, us: a fifth of the 5 ms that an adjustment may take in all.
pub const BUDGET_MAX_US: f64 = 1_000.0;
/// Most rows of a sequence: so many bars of every instrument are kept.
pub(crate) const STEPS_MAX: usize = 240;
/// Largest end of an output's range.
const RANGE_MAX: f64 = 1e6;
/// Fewest golden cases.
const GOLDEN_CASES: usize = 8;

fn wrong(reason: impl Into<String>) -> Refusal {
    Refusal::Contract(reason.into())
}

impl Contract {
    /// Reads a contract and checks what can be checked without its files.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let contract: Self = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| wrong(format!("{}: {}", error.path(), error.inner())))?;
        contract.check()?;
        Ok(contract)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.format != FORMAT {
            return Err(wrong(format!("format is {:?}, this engine reads {FORMAT:?}", self.format)));
        }
        if !is_name(&self.name) {
            let name = &self.name;
            return Err(wrong(format!("name is {name:?}, expected 1 to {MODEL_NAME_MAX} of a-z, 0-9 and -")));
        }
        if self.version == 0 {
            return Err(wrong("version is 0, expected a whole number from 1"));
        }
        if !(self.latency_budget_us > 0.0 && self.latency_budget_us <= BUDGET_MAX_US) {
            let budget = self.latency_budget_us;
            return Err(wrong(format!("latency_budget_us is {budget}, expected above 0 and at most {BUDGET_MAX_US}")));
        }
        if !(self.tolerance > 0.0 && self.tolerance <= 1e-2) {
            return Err(wrong(format!("tolerance is {}, expected above 0 and at most 0.01", self.tolerance)));
        }
        for output in &self.outputs {
            match output.range {
                Some([lowest, highest]) if lowest <= highest && lowest >= -RANGE_MAX && highest <= RANGE_MAX => {}
                _ => {
                    let text =
                        format!("outputs.{}.range must be [lowest, highest] within +-{RANGE_MAX:e}", output.name);
                    return Err(wrong(text));
                }
            }
        }
        for file in ["model.onnx", "golden.json"] {
            if !self.files.contains_key(file) {
                return Err(wrong(format!("files has no {file}")));
            }
        }
        self.encoding().map(|_| ())
    }

    /// How inputs are made and outputs are read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn encoding(&self) -> Result<Encoding, Refusal> {
        let syntax = |error: serde_json::Error| wrong(format!("encoding: {error}"));
        match self.kind {
            Kind::Tuner => {
                let encoding: TunerEncoding = serde_json::from_value(self.encoding.clone()).map_err(syntax)?;
                check_tuner(&encoding)?;
                Ok(Encoding::Tuner(encoding))
            }
            Kind::Row | Kind::Sequence => {
                let encoding: RowEncoding = serde_json::from_value(self.encoding.clone()).map_err(syntax)?;
                self.check_row(&encoding)?;
                Ok(Encoding::Row(encoding))
            }
        }
    }

    fn check_row(&self, encoding: &RowEncoding) -> Result<(), Refusal> {
        if encoding.columns.is_empty() {
            return Err(wrong("encoding.columns is empty"));
        }
        let sequence = self.kind == Kind::Sequence;
        if sequence != encoding.steps.is_some_and(|steps| (1..=STEPS_MAX).contains(&steps)) {
            return Err(wrong(format!("encoding.steps: a sequence needs 1 to {STEPS_MAX}, a row none")));
        }
        if sequence && (encoding.source != Source::Bars || encoding.step_ms.is_some_and(|ms| ms != 60_000)) {
            return Err(wrong("encoding.source: a sequence is one of bars, a minute apart"));
        }
        if (encoding.source == Source::Signals) != encoding.label.is_some() {
            return Err(wrong("encoding.label: a model of signals needs one, no other has it"));
        }
        for column in &encoding.columns {
            if !(column.fill as f32).is_finite() {
                return Err(wrong(format!("encoding.columns: the fill of {} is not finite", column.name)));
            }
            let known = match encoding.source {
                _ if column.parameter => true,
                Source::Features => feature_index(&column.name).is_some(),
                Source::Bars => bar_feature_index(&column.name).is_some(),
                Source::Signals => signal_column_index(&column.name).is_some(),
            };
            if !known {
                return Err(wrong(format!("encoding.columns: there is no feature {:?}", column.name)));
            }
        }
        Ok(())
    }
}

/// Dimensions of ports for a graph of so many nodes and edges; ports without named dimensions are as they are.
pub(crate) fn shapes(ports: &[Port], nodes: usize, edges: usize) -> Vec<Vec<i64>> {
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(number) => *number,
        Dimension::Named(name) if name == "edges" => edges as i64,
        Dimension::Named(_) => nodes as i64,
    };
    ports.iter().map(|port| port.shape.iter().map(size).collect()).collect()
}

/// Index of a feature by name.
pub(crate) fn feature_index(name: &str) -> Option<usize> {
    features::FEATURES.iter().position(|feature| feature.name == name)
}

/// Index of a bar feature by name.
pub(crate) fn bar_feature_index(name: &str) -> Option<usize> {
    bars::BAR_FEATURES.iter().position(|feature| feature.name == name)
}

/// Index of a signal's column by name.
pub(crate) fn signal_column_index(name: &str) -> Option<usize> {
    SIGNAL_COLUMNS.iter().position(|column| column.name == name)
}

fn check_tuner(encoding: &TunerEncoding) -> Result<(), Refusal> {
    let names: Vec<Target> = encoding.targets.iter().map(|target| target.name).collect();
    if names.len() != TARGETS || !names.iter().enumerate().all(|(index, name)| *name as usize == index) {
        return Err(wrong("encoding.targets must be volatility, spread, imbalance, latency, recovery, in this order"));
    }
    if let Some(target) = encoding.targets.iter().find(|target| !(target.scale > 0.0 && target.scale.is_finite())) {
        let (name, scale) = (target.name.name(), target.scale);
        return Err(wrong(format!("encoding.targets: the scale of {name} is {scale}, expected above 0")));
    }
    let quantiles = &encoding.quantiles;
    let rising = quantiles.windows(2).all(|pair| pair[0] < pair[1]);
    if quantiles.is_empty() || !rising || !quantiles.iter().all(|q| *q > 0.0 && *q < 1.0) {
        return Err(wrong("encoding.quantiles must rise, each above 0 and below 1"));
    }
    Ok(())
}

impl Golden {
    /// Reads golden cases.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let golden: Self = serde_json::from_slice(text).map_err(|error| wrong(format!("golden.json: {error}")))?;
        if golden.cases.len() < GOLDEN_CASES {
            let count = golden.cases.len();
            return Err(wrong(format!("golden.json has {count} cases, expected at least {GOLDEN_CASES}")));
        }
        Ok(golden)
    }
}
