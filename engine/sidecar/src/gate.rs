//! The load gate: what a model has to show before it may run, in an order in which nothing is parsed, loaded or run
//! that has not earned it.
//!
//! Signature, size, SHA-256 (before any parsing: one flipped bit in fourteen loads and answers wrongly), contract and
//! schema hashes, operators and operator sets, loading, shapes, golden vectors on function body and kernel, ranges on
//! random inputs, latency. It runs on the loader's thread, never on one that anybody waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use ed25519_dalek::{Signature, VerifyingKey};
use ort::environment::Environment;
use ort::session::Session;
use sha2::{Digest, Sha256};
use tidegate_market::bars::schema as bars;
use tidegate_market::features::schema as features;
use tidegate_market::graph::schema as graph;
use tidegate_market::signals::signals_schema_hash_hex;

use crate::contract::{
    Contract, Dimension, Element, Encoding, Golden, GoldenCase, GoldenTensor, Kind, Label, Port, Source,
};
use crate::cpu_time::CpuTime;
use crate::onnx;
use crate::refusal::Refusal;
use crate::repository::VersionFiles;
use crate::session::{On, Runner, check_ports, open, run_once};

/// What the gate asks for.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct GateSettings {
    /// Ed25519 key that contracts are signed with.
    pub public_key: Option<[u8; 32]>,
    /// Refuse unsigned contracts.
    pub require_signature: bool,
    /// Most CPU time that loading and all checks before the timing may take.
    pub load_limit: Duration,
    /// Runs that latency is measured over.
    pub runs: usize,
    /// Refuse slow models. A replay in lockstep waits for every answer, and must not depend on how busy its host is.
    pub enforce_latency: bool,
    /// What the run's signals are about; models of signals that were trained on something else are refused. Nothing is
    /// compared where it is not known.
    pub label: Option<Label>,
}

impl Default for GateSettings {
    fn default() -> Self {
        Self {
            public_key: None,
            require_signature: false,
            load_limit: Duration::from_secs(5),
            runs: 1_000,
            enforce_latency: true,
            label: None,
        }
    }
}

/// A model that passed, with a session that has been warmed up.
#[derive(Debug)]
pub struct Admitted {
    /// Its contract.
    pub contract: Contract,
    /// How inputs are made and outputs are read.
    pub encoding: Encoding,
    /// SHA-256 of its file.
    pub hash: [u8; 32],
    /// What was measured.
    pub report: GateReport,
    pub(crate) session: Session,
}

/// What the gate measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GateReport {
    /// Whether the contract was signed.
    pub signed: bool,
    /// Time to open the session, ms.
    pub load_ms: f64,
    /// Largest absolute difference to a golden output.
    pub golden_difference: f64,
    /// Largest absolute difference between kernel and function body; 0 without a kernel.
    pub kernel_difference: f64,
    /// p50 of a run on this host, us of CPU time.
    pub p50_us: f64,
    /// p99 of a run on this host, us of CPU time.
    pub p99_us: f64,
}

/// Random inputs tried for range and for agreement of kernel and body.
const RANDOM_CASES: usize = 24;

/// What files say once they have been checked.
#[derive(Debug)]
pub struct Checked {
    /// Its contract.
    pub contract: Contract,
    /// How inputs are made and outputs are read.
    pub encoding: Encoding,
    /// SHA-256 of `model.onnx`.
    pub hash: [u8; 32],
    /// Whether a node of the graph has a kernel of ours.
    pub has_kernel: bool,
}

/// The part of the gate that needs no runtime: signature, sizes, hashes, contract, schemas, operators.
///
/// # Errors
/// The first reason to refuse.
pub fn check_files(files: &VersionFiles, settings: &GateSettings) -> Result<Checked, Refusal> {
    check_signature(files, settings)?;
    let contract = Contract::parse(&files.contract)?;
    if (contract.name.as_str(), contract.version) != (files.name.as_str(), files.version) {
        let (name, version) = (&contract.name, contract.version);
        let reason = format!("it is {name} {version}, its folder is {}/{}", files.name, files.version);
        return Err(Refusal::Contract(reason));
    }
    let hash = check_digest(&contract, "model.onnx", &files.model)?;
    check_digest(&contract, "golden.json", &files.golden)?;
    let encoding = contract.encoding()?;
    check_schemas(&contract, &encoding)?;
    check_label(&encoding, settings)?;
    let survey = onnx::survey(&files.model)?;
    for (domain, found) in survey.opsets {
        match contract.opset.get(&domain) {
            Some(version) if *version == found => {}
            Some(version) => {
                return Err(Refusal::Opset { domain, found, expected: format!("the contract says {version}") });
            }
            None => return Err(Refusal::Opset { domain, found, expected: "the contract does not name it".into() }),
        }
    }
    check_kind(&contract, &encoding)?;
    Ok(Checked { contract, encoding, hash, has_kernel: survey.has_kernel })
}

fn check_signature(files: &VersionFiles, settings: &GateSettings) -> Result<(), Refusal> {
    let bad = |reason: &str| Refusal::BadSignature(reason.into());
    let (signature, key) = match (&files.signature, &settings.public_key) {
        (None, _) if settings.require_signature => return Err(Refusal::Unsigned),
        (Some(_), None) if settings.require_signature => return Err(bad("this engine has no public key configured")),
        (Some(signature), Some(key)) => (signature, key),
        // Nobody asked for it, or nobody can check it.
        _ => return Ok(()),
    };
    let text = signature.trim_ascii();
    let bytes = base64::prelude::BASE64_STANDARD.decode(text).map_err(|_| bad("it is not base64"))?;
    let signature = Signature::from_slice(&bytes).map_err(|_| bad("it is not 64 bytes"))?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| bad("the configured public key is none"))?;
    key.verify_strict(&files.contract, &signature)
        .map_err(|_| bad("it is not the configured key's signature of this contract"))
}

fn check_digest(contract: &Contract, file: &str, bytes: &[u8]) -> Result<[u8; 32], Refusal> {
    let Some(digest) = contract.files.get(file) else {
        return Err(Refusal::Contract(format!("files has no {file}")));
    };
    let (size, expected) = (bytes.len() as u64, digest.bytes);
    if size != expected {
        return Err(Refusal::Truncated { file: file.into(), bytes: size, expected });
    }
    let hash = Sha256::digest(bytes).into();
    let found = hex::encode(hash);
    let expected = digest.sha256.to_ascii_lowercase();
    if found == expected { Ok(hash) } else { Err(Refusal::WrongHash { file: file.into(), found, expected }) }
}

fn check_schemas(contract: &Contract, encoding: &Encoding) -> Result<(), Refusal> {
    let known = |schema: &str| match schema {
        "features" => Some(features::schema_hash_hex()),
        "graph" => Some(graph::schema_hash_hex()),
        "bars" => Some(bars::bars_schema_hash_hex()),
        "signals" => Some(signals_schema_hash_hex()),
        _ => None,
    };
    let needed = match encoding {
        Encoding::Tuner(_) => "graph",
        Encoding::Row(row) => match row.source {
            Source::Bars => "bars",
            Source::Features => "features",
            Source::Signals => "signals",
        },
    };
    if !contract.schemas.contains_key(needed) {
        return Err(Refusal::Contract(format!("schemas does not name {needed}, which this kind depends on")));
    }
    for (schema, found) in &contract.schemas {
        let expected = known(schema).ok_or_else(|| Refusal::Contract(format!("schemas.{schema}: no such schema")))?;
        if *found != expected {
            return Err(Refusal::WrongSchema { schema: schema.clone(), found: found.clone(), expected });
        }
    }
    Ok(())
}

fn check_label(encoding: &Encoding, settings: &GateSettings) -> Result<(), Refusal> {
    let stated = match encoding {
        Encoding::Row(row) => row.label,
        Encoding::Tuner(_) => None,
    };
    match (stated, settings.label) {
        (Some(found), Some(expected)) if found != expected => Err(Refusal::WrongLabel { found, expected }),
        _ => Ok(()),
    }
}

/// Whether inputs and outputs are those that the engine gives and reads for the kind.
fn check_kind(contract: &Contract, encoding: &Encoding) -> Result<(), Refusal> {
    use Element::{Float32, Int64};
    let fixed = |number: usize| Dimension::Fixed(number as i64);
    let named = |name: &str| Dimension::Named(name.into());
    let port = |name: &str, element, shape: &[Dimension]| (name.to_owned(), element, shape.to_vec());
    let expected = match encoding {
        Encoding::Tuner(tuner) => vec![
            port("x", Float32, &[named("nodes"), fixed(graph::NODE_SLOTS)]),
            port("edge_index", Int64, &[fixed(2), named("edges")]),
            port("edge_attr", Float32, &[named("edges"), fixed(graph::EDGE_SLOTS)]),
            port("y", Float32, &[named("nodes"), fixed(tuner.targets.len() * tuner.quantiles.len())]),
        ],
        Encoding::Row(row) => {
            let columns = fixed(row.columns.len());
            let shape = match row.steps {
                Some(steps) => vec![fixed(steps), fixed(1), columns],
                None => vec![fixed(1), columns],
            };
            vec![port("features", Float32, &shape)]
        }
    };
    let described = |port: &Port| (port.name.clone(), port.element, port.shape.clone());
    let mut found: Vec<_> = contract.inputs.iter().map(described).collect();
    if matches!(encoding, Encoding::Tuner(_)) {
        found.extend(contract.outputs.iter().map(described));
    }
    if found != expected {
        let kind: &str = contract.kind.into();
        return Err(Refusal::Shape(format!("a {kind} model has {expected:?}, the contract says {found:?}")));
    }
    let numbers = |port: &Port| port.shape.iter().all(|d| matches!(d, Dimension::Fixed(n) if *n > 0));
    let outputs_fit = contract.outputs.iter().all(|port| port.element == Float32)
        && (contract.kind == Kind::Tuner || !contract.outputs.is_empty() && contract.outputs.iter().all(numbers));
    if outputs_fit { Ok(()) } else { Err(Refusal::Shape("outputs must be float32 of fixed shapes".into())) }
}

/// Passes a version through the whole gate.
///
/// # Errors
/// The first reason to refuse.
pub fn admit(files: &VersionFiles, settings: &GateSettings, environment: &Environment) -> Result<Admitted, Refusal> {
    let Checked { contract, encoding, hash, has_kernel } = check_files(files, settings)?;
    let patience = Patience::begin(settings);
    let mut session = open(environment, &files.model, On::Kernel)?;
    let load = patience.spent()?;
    check_ports(&session, &contract)?;
    let golden = Golden::parse(&files.golden)?;
    let mut golden_difference = check_golden(&mut session, &contract, &golden, On::Kernel, &patience)?;
    let mut kernel_difference = 0.0;
    let mut random = Random::new();
    if has_kernel {
        let mut body = open(environment, &files.model, On::Body)?;
        golden_difference = golden_difference.max(check_golden(&mut body, &contract, &golden, On::Body, &patience)?);
        kernel_difference = compare(&mut session, &mut body, &contract, &mut random, &patience)?;
    } else {
        for _ in 0..RANDOM_CASES {
            run_once(&mut session, &contract, &random.inputs(&contract))?;
            patience.spent()?;
        }
    }
    let (session, p50_us, p99_us) = time(session, &contract, &golden, settings)?;
    let load_ms = load.as_secs_f64() * 1e3;
    let signed = files.signature.is_some() && settings.public_key.is_some();
    let report = GateReport { signed, load_ms, golden_difference, kernel_difference, p50_us, p99_us };
    Ok(Admitted { contract, encoding, hash, report, session })
}

/// Largest absolute differences of a version's outputs to given cases, on the kernel and on the function body.
///
/// # Errors
/// The version does not pass the part of the gate that needs no runtime, or a case cannot be run.
pub fn compare_cases(files: &VersionFiles, cases: &[u8], environment: &Environment) -> Result<(f64, f64), Refusal> {
    let Checked { contract, .. } = check_files(files, &GateSettings::default())?;
    // Differences are what is asked for, on inputs that no market need have.
    let mut lenient = Contract { tolerance: f64::INFINITY, ..contract };
    lenient.outputs.iter_mut().for_each(|port| port.range = None);
    let golden = Golden::parse(cases)?;
    let mut differences = [0.0; 2];
    for (on, difference) in [On::Kernel, On::Body].into_iter().zip(&mut differences) {
        let mut session = open(environment, &files.model, on)?;
        *difference = check_golden(&mut session, &lenient, &golden, on, &Patience::endless())?;
    }
    Ok((differences[0], differences[1]))
}

/// What of its time a version may still take before it is timed. Nothing that has begun can be interrupted: it is
/// asked for between two runs.
struct Patience {
    start: CpuTime,
    limit: Option<Duration>,
}

impl Patience {
    fn begin(settings: &GateSettings) -> Self {
        Self { start: CpuTime::start(), limit: settings.enforce_latency.then_some(settings.load_limit) }
    }

    fn endless() -> Self {
        Self { start: CpuTime::start(), limit: None }
    }

    /// CPU time since the beginning.
    fn spent(&self) -> Result<Duration, Refusal> {
        let spent = self.start.elapsed();
        match self.limit {
            Some(limit) if spent > limit => Err(Refusal::SlowLoad(spent.as_millis() as u64, limit.as_millis() as u64)),
            _ => Ok(spent),
        }
    }
}

/// A golden case's inputs in the contract's order.
fn inputs_of(contract: &Contract, case: &GoldenCase) -> Result<Vec<GoldenTensor>, Refusal> {
    let get = |port: &Port| {
        let tensor = case.inputs.get(&port.name).cloned();
        let tensor = tensor.ok_or_else(|| Refusal::Contract(format!("golden.json: no input {}", port.name)))?;
        check_shape(port, &tensor)?;
        Ok(tensor)
    };
    contract.inputs.iter().map(get).collect()
}

fn check_shape(port: &Port, tensor: &GoldenTensor) -> Result<(), Refusal> {
    let fits = tensor.shape.len() == port.shape.len()
        && tensor.shape.iter().zip(&port.shape).all(|(found, expected)| match expected {
            Dimension::Fixed(number) => found == number,
            Dimension::Named(_) => (0..=1_000_000).contains(found),
        })
        && tensor.shape.iter().product::<i64>() == tensor.data.len() as i64;
    let (name, shape, count) = (&port.name, &tensor.shape, tensor.data.len());
    if fits { Ok(()) } else { Err(Refusal::Shape(format!("golden.json: {name} is {shape:?} with {count} values"))) }
}

/// Largest difference over all golden cases.
fn check_golden(
    session: &mut Session,
    contract: &Contract,
    golden: &Golden,
    on: On,
    patience: &Patience,
) -> Result<f64, Refusal> {
    let mut most: f64 = 0.0;
    for (number, case) in golden.cases.iter().enumerate() {
        let outputs = run_once(session, contract, &inputs_of(contract, case)?)?;
        patience.spent()?;
        for (port, values) in contract.outputs.iter().zip(&outputs) {
            let expected = case.outputs.get(&port.name);
            let expected =
                expected.ok_or_else(|| Refusal::Contract(format!("golden.json: no output {}", port.name)))?;
            check_shape(port, expected)?;
            if expected.data.len() != values.len() {
                return Err(Refusal::Shape(format!("output {} has {} values", port.name, values.len())));
            }
            let differences = values.iter().zip(&expected.data).map(|(a, b)| (f64::from(*a) - b).abs());
            // A golden value that is not a number would compare as no difference at all.
            let difference = differences.fold(0.0, |most: f64, d| if d.is_nan() { f64::INFINITY } else { most.max(d) });
            if difference > contract.tolerance {
                let (output, tolerance) = (port.name.clone(), contract.tolerance);
                return Err(Refusal::Golden { case: number, on: on.name(), output, difference, tolerance });
            }
            most = most.max(difference);
        }
    }
    Ok(most)
}

/// Largest difference between kernel and body on random graphs.
fn compare(
    kernel: &mut Session,
    body: &mut Session,
    contract: &Contract,
    random: &mut Random,
    patience: &Patience,
) -> Result<f64, Refusal> {
    let mut most: f64 = 0.0;
    for _ in 0..RANDOM_CASES {
        patience.spent()?;
        let inputs = random.inputs(contract);
        let fast = run_once(kernel, contract, &inputs)?;
        let slow = run_once(body, contract, &inputs)?;
        if fast.iter().map(Vec::len).ne(slow.iter().map(Vec::len)) {
            return Err(Refusal::Shape("kernel and function body give outputs of other lengths".into()));
        }
        let differences = fast.iter().flatten().zip(slow.iter().flatten()).map(|(a, b)| f64::from((a - b).abs()));
        most = differences.fold(most, f64::max);
    }
    // The tolerance is about one file on two machines; the two ways of one machine have to be as close.
    if most <= contract.tolerance { Ok(most) } else { Err(Refusal::KernelDiffers(most, contract.tolerance)) }
}

/// Warms the session up and measures it on the largest golden case of at most 16 nodes (or the first case).
fn time(
    session: Session,
    contract: &Contract,
    golden: &Golden,
    settings: &GateSettings,
) -> Result<(Session, f64, f64), Refusal> {
    let size = |case: &&GoldenCase| case.inputs.get("x").and_then(|x| x.shape.first().copied()).unwrap_or(0);
    let case = golden.cases.iter().filter(|case| size(case) <= 16).max_by_key(size).unwrap_or(&golden.cases[0]);
    let inputs = inputs_of(contract, case)?;
    let outputs: Vec<Vec<i64>> =
        contract.outputs.iter().map(|port| case.outputs.get(&port.name).map_or(vec![], |o| o.shape.clone())).collect();
    let shapes: Vec<Vec<i64>> = inputs.iter().map(|input| input.shape.clone()).collect();
    let mut runner = Runner::new(session, contract, &shapes, &outputs)?;
    for (index, input) in inputs.iter().enumerate() {
        runner.floats(index).iter_mut().zip(&input.data).for_each(|(to, from)| *to = *from as f32);
        runner.integers(index).iter_mut().zip(&input.data).for_each(|(to, from)| *to = *from as i64);
    }
    let budget_us = contract.latency_budget_us;
    let (mut times, mut late) = (Vec::with_capacity(settings.runs), 0);
    for run in 0..settings.runs + settings.runs / 10 {
        let start = CpuTime::start();
        runner.run()?;
        // The first runs warm caches and the runtime's own buffers.
        let us = start.elapsed().as_secs_f64() * 1e6;
        if run >= settings.runs / 10 {
            times.push(us);
        }
        // A hundredth beyond the budget decides; nobody waits for the rest of a model that takes seconds a run.
        late += usize::from(us > budget_us);
        if settings.enforce_latency && late > 1 + settings.runs / 50 {
            return Err(Refusal::TooSlow { runs: run + 1, p99_us: us, budget_us });
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or(0.0);
    let (p50_us, p99_us) = (at(0.5), at(0.99));
    if settings.enforce_latency && p99_us > budget_us {
        return Err(Refusal::TooSlow { runs: settings.runs, p99_us, budget_us });
    }
    Ok((runner.into_session(), p50_us, p99_us))
}

/// Random inputs of a contract's shapes: the same for every load.
struct Random(u64);

impl Random {
    const fn new() -> Self {
        Self(0x7469_6465)
    }

    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn inputs(&mut self, contract: &Contract) -> Vec<GoldenTensor> {
        let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
        // A graph of 1 to 24 nodes with up to eight edges a node, each node joined to itself.
        let nodes = 1 + (self.next() * 24.0) as i64;
        sizes.insert("nodes".into(), nodes);
        sizes.insert("edges".into(), nodes + (self.next() * 8.0 * nodes as f64) as i64);
        let make = |port: &Port| {
            let size = |dimension: &Dimension| match dimension {
                Dimension::Fixed(number) => *number,
                Dimension::Named(name) => sizes.get(name).copied().unwrap_or(1),
            };
            let shape: Vec<i64> = port.shape.iter().map(size).collect();
            let count = shape.iter().product::<i64>();
            let half = count / 2;
            let data = (0..count).map(|at| match port.element {
                Element::Float32 => (self.next() * 2.0 - 1.0) * 3.0,
                Element::Int64 if at % half.max(1) < nodes => (at % half.max(1)) as f64,
                Element::Int64 => (self.next() * nodes as f64).floor(),
            });
            GoldenTensor { shape, data: data.collect() }
        };
        contract.inputs.iter().map(make).collect()
    }
}
