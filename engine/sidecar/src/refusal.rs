//! Why a model is not taken, in words that help whoever exported it.

use serde::{Deserialize, Serialize};

use crate::contract::Label;

/// A model that is refused. The version in force stays.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// A file is missing or cannot be read.
    #[error("{file}: {reason}")]
    Unreadable {
        /// Which file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// A signature is required and there is none.
    #[error("no signature: contract.json.sig is missing, and this engine takes signed models only")]
    Unsigned,
    /// The signature is not the configured key's over this contract.
    #[error("bad signature: {0}")]
    BadSignature(String),
    /// The contract is not JSON of the right form, or contradicts itself.
    #[error("contract.json: {0}")]
    Contract(String),
    /// A file is larger than is ever read.
    #[error("{file} has {bytes} bytes, more than the {limit} that are taken")]
    Oversize {
        /// Which file.
        file: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A file has another size than its contract says.
    #[error("{file} has {bytes} bytes, its contract says {expected}: it was cut off or replaced")]
    Truncated {
        /// Which file.
        file: String,
        /// Its size.
        bytes: u64,
        /// The contract's.
        expected: u64,
    },
    /// A file's contents are not those that its contract was written for.
    #[error("{file}: SHA-256 is {found}, its contract says {expected}: damaged or replaced")]
    WrongHash {
        /// Which file.
        file: String,
        /// Its hash.
        found: String,
        /// The contract's.
        expected: String,
    },
    /// Trained on features, graphs or bars of another definition.
    #[error("trained on {schema} schema {found}, this engine computes {expected}: train it anew")]
    WrongSchema {
        /// Which schema.
        schema: String,
        /// The model's.
        found: String,
        /// The engine's.
        expected: String,
    },
    /// States the probability of something else than the engine asks for.
    #[error("states the probability of {found}; this engine's signals are about {expected}: train it anew")]
    WrongLabel {
        /// The model's.
        found: Label,
        /// The engine's.
        expected: Label,
    },
    /// Not an ONNX model.
    #[error("model.onnx is no ONNX model: {0}")]
    NotOnnx(String),
    /// An operator that models have no need of.
    #[error("operator {0} is not among those that are allowed")]
    Operator(String),
    /// Weights in other files.
    #[error("tensor {0} lies outside model.onnx: external data is not taken")]
    ExternalData(String),
    /// Operator sets that this engine does not have, or that the contract does not name.
    #[error("operator set {domain} {found}, {expected}")]
    Opset {
        /// Domain of the operators.
        domain: String,
        /// Version in the file.
        found: i64,
        /// What would have been taken.
        expected: String,
    },
    /// Inputs or outputs that differ from the contract, or from what the kind needs.
    #[error("wrong shape: {0}")]
    Shape(String),
    /// ONNX Runtime would not load it.
    #[error("ONNX Runtime refuses it: {0}")]
    Load(String),
    /// Loading took too long.
    #[error("loading and checking took {0} ms of CPU time, more than the {1} that it may")]
    SlowLoad(u64, u64),
    /// An output of a golden case differs.
    #[error("golden case {case} on the {on}: output {output} differs by {difference:e}, {tolerance:e} is tolerated")]
    Golden {
        /// Which case, from 0.
        case: usize,
        /// The function's body or the kernel.
        on: &'static str,
        /// Which output.
        output: String,
        /// Largest absolute difference.
        difference: f64,
        /// The contract's tolerance.
        tolerance: f64,
    },
    /// The kernel and the function's body disagree on some graph.
    #[error("kernel and function body differ by {0:e} on a random graph, {1:e} is tolerated")]
    KernelDiffers(f64, f64),
    /// An input was not a number: nobody's fault but the caller's.
    #[error("input {0} is not finite")]
    InputNotFinite(String),
    /// A run failed.
    #[error("a run failed: {0}")]
    Run(String),
    /// An output was not a number.
    #[error("output {0} is not finite")]
    NotFinite(String),
    /// An output was outside the contract's range.
    #[error("output {output} is {value}, outside its range {lowest} to {highest}")]
    OutOfRange {
        /// Which output.
        output: String,
        /// What it was.
        value: f64,
        /// The contract's.
        lowest: f64,
        /// The contract's.
        highest: f64,
    },
    /// Too slow for its own budget, or for what the engine grants.
    #[error("too slow: p99 of {runs} runs is {p99_us} us, {budget_us} are granted")]
    TooSlow {
        /// Number of runs.
        runs: usize,
        /// What was measured.
        p99_us: f64,
        /// What was granted.
        budget_us: f64,
    },
    /// It differed too much from the version in force while in shadow.
    #[error("in shadow: {0}")]
    Shadow(String),
    /// Nothing can be loaded at all.
    #[error("no ONNX Runtime: {0}")]
    NoRuntime(String),
}

/// The reason as a word, for counters and screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Reason {
    /// A file cannot be read.
    Unreadable,
    /// Signed models only.
    Unsigned,
    /// Wrong signature.
    BadSignature,
    /// Wrong contract.
    Contract,
    /// Too large.
    Oversize,
    /// Cut off.
    Truncated,
    /// Wrong SHA-256.
    WrongHash,
    /// Wrong schema.
    WrongSchema,
    /// Wrong label.
    WrongLabel,
    /// No ONNX.
    NotOnnx,
    /// Forbidden operator.
    Operator,
    /// Weights elsewhere.
    ExternalData,
    /// Wrong operator set.
    Opset,
    /// Wrong shape.
    Shape,
    /// Cannot be loaded.
    Load,
    /// Loads too slowly.
    SlowLoad,
    /// Wrong answers.
    Golden,
    /// Kernel and body differ.
    KernelDiffers,
    /// Asked with an input that is not finite.
    InputNotFinite,
    /// Fails.
    Run,
    /// Not finite.
    NotFinite,
    /// Outside its range.
    OutOfRange,
    /// Runs too slowly.
    TooSlow,
    /// Failed in shadow.
    Shadow,
    /// No library.
    NoRuntime,
}

impl Refusal {
    /// The reason as a word.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } => Reason::Unreadable,
            Self::Unsigned => Reason::Unsigned,
            Self::BadSignature(_) => Reason::BadSignature,
            Self::Contract(_) => Reason::Contract,
            Self::Oversize { .. } => Reason::Oversize,
            Self::Truncated { .. } => Reason::Truncated,
            Self::WrongHash { .. } => Reason::WrongHash,
            Self::WrongSchema { .. } => Reason::WrongSchema,
            Self::WrongLabel { .. } => Reason::WrongLabel,
            Self::NotOnnx(_) => Reason::NotOnnx,
            Self::Operator(_) => Reason::Operator,
            Self::ExternalData(_) => Reason::ExternalData,
            Self::Opset { .. } => Reason::Opset,
            Self::Shape(_) => Reason::Shape,
            Self::Load(_) => Reason::Load,
            Self::SlowLoad(..) => Reason::SlowLoad,
            Self::Golden { .. } => Reason::Golden,
            Self::KernelDiffers(..) => Reason::KernelDiffers,
            Self::InputNotFinite(_) => Reason::InputNotFinite,
            Self::Run(_) => Reason::Run,
            Self::NotFinite(_) => Reason::NotFinite,
            Self::OutOfRange { .. } => Reason::OutOfRange,
            Self::TooSlow { .. } => Reason::TooSlow,
            Self::Shadow(_) => Reason::Shadow,
            Self::NoRuntime(_) => Reason::NoRuntime,
        }
    }
}
