//! The graph tuner, way by way: in its session with the kernel, in a session on stock operators, in plain Python, and
//! the kernel by itself, which is the floor of the arithmetic; then whole adjustments (`inference_adjust`).
//!
//! Every run gets other values, written where the last ones were, as the market graph leaves them: answers to a tensor
//! that never changes come from predictors and caches that know it by heart. A control loop of about the kernel's time
//! that touches registers only shows what the host adds.

use ort::environment::Environment;
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate_sidecar::contract::{Golden, GoldenCase};
use tidegate_sidecar::gat::{Gat, Graph};
use tidegate_sidecar::native;
use tidegate_sidecar::probe::{On, SessionProbe};
use tidegate_sidecar::repository::{Repository, VersionFiles};

use crate::peers::python::Python;
use crate::report::{Options, Report, Table};
use crate::rigs::inference_adjust;
use crate::tails::{COLUMNS, Control, Tails};
use crate::timing::{Stopwatch, keep};
use crate::{corpus, machine, weights};

/// Sizes of graphs with the bar on the median of a run with the kernel in its session, us.
const SIZES: [(usize, f64); 2] = [(16, 12.0), (64, 36.0)];
/// Bar on that median, of the plain export's.
const EXPORT_BAR: f64 = 1.0 / 8.0;
/// Bar on what the 99.9th percentile is above the control's, us.
const TAIL_BAR_US: f64 = 60.0;
/// Variants of a graph that runs take turns with.
const VARIANTS: usize = 64;
/// Largest difference between two ways: the contract's tolerance for one file on two machines.
const TOLERANCE: f32 = 1e-4;
/// The committed tuner.
const NAME: &str = "breaker-tuner";
const VERSION: u32 = 1;

/// Runs a repetition, of quick and of slow candidates.
pub(super) fn runs(options: &Options) -> (usize, usize) {
    if options.quick { (200, 50) } else { (20_000, 4_000) }
}

/// Repetitions.
pub(super) fn repetitions(options: &Options) -> usize {
    if options.quick { options.reps } else { options.reps.max(5) }
}

/// A tuner with the runtime that runs it.
pub(super) struct Tuner {
    pub(super) files: VersionFiles,
    pub(super) environment: Environment,
}

impl Tuner {
    /// The committed one.
    fn load() -> Result<Self, String> {
        let environment = native::find(None).and_then(|path| native::environment(&path));
        let environment = environment.map_err(|error| format!("ONNX RUNTIME ABSENT: {error}"))?;
        let folder = Repository::new(machine::workspace().join("onnx")).folder(NAME, VERSION);
        let files = VersionFiles::read(&folder).map_err(|refusal| refusal.to_string())?;
        Ok(Self { files, environment })
    }
}

/// Runs the rig.
pub fn run(options: &Options, watch: &Stopwatch) -> Report {
    let mut report = Report::open("inference", options, watch);
    let tuner = match Tuner::load() {
        Ok(tuner) => tuner,
        Err(reason) => {
            report.skip("inference", reason);
            return report;
        }
    };
    report.note(format!("kernel: {}; ONNX Runtime: {}", Gat::kernel(), ort::info()));
    let folder = Repository::new(machine::workspace().join("onnx")).folder(NAME, VERSION);
    let mut python = Python::start(&folder, options.cores.0);
    match &python {
        Ok(python) => report.note(format!(
            "Python: onnxruntime {}, one thread, {:.1e} from the golden outputs at most",
            python.release, python.difference
        )),
        Err(reason) => report.note(format!("Python: SKIPPED, no plain onnxruntime: {reason}")),
    }
    let close = python.as_ref().map_or(true, |python| python.difference <= f64::from(TOLERANCE));
    report.check(close, "plain onnxruntime for Python gives the golden outputs");
    for (nodes, bar) in SIZES {
        let outcome = measure(&mut report, options, watch, &tuner, (nodes, bar), &mut python);
        if let Err(reason) = outcome {
            report.check(false, format!("{nodes} nodes: {reason}"));
        }
    }
    if let Err(reason) = inference_adjust::measure(&mut report, options, watch, &tuner) {
        report.check(false, format!("adjustment: {reason}"));
    }
    report
}

/// A graph of a golden case whose values change from run to run.
struct Input {
    /// Number of the golden case.
    case: usize,
    index: Vec<i64>,
    variants: Vec<(Vec<f32>, Vec<f32>)>,
    nodes: Vec<f32>,
    edges: Vec<f32>,
    /// What the golden case says.
    expected: Vec<f32>,
}

impl Input {
    fn new(golden: &Golden, nodes: usize) -> Result<Self, String> {
        let size = |case: &GoldenCase| case.inputs.get("x").and_then(|x| x.shape.first().copied());
        let case = golden.cases.iter().position(|case| size(case) == Some(nodes as i64));
        let case = case.ok_or("there is no golden case of that size")?;
        let tensors = &golden.cases[case];
        let floats = |name: &str| -> Result<Vec<f32>, String> {
            let tensor = tensors.inputs.get(name).or(tensors.outputs.get(name)).ok_or(format!("no {name}"))?;
            Ok(tensor.data.iter().map(|value| *value as f32).collect())
        };
        let (nodes, edges, expected) = (floats("x")?, floats("edge_attr")?, floats("y")?);
        let index = tensors.inputs.get("edge_index").ok_or("no edge_index")?;
        let index = index.data.iter().map(|value| *value as i64).collect();
        let mut random = ChaCha8Rng::seed_from_u64(corpus::SEED);
        let mut vary = |values: &[f32]| -> Vec<f32> {
            values.iter().map(|value| value + random.random_range(-0.1..0.1f32)).collect()
        };
        let variants = (0..VARIANTS).map(|_| (vary(&nodes), vary(&edges))).collect();
        Ok(Self { case, index, variants, nodes, edges, expected })
    }

    /// Writes another variant's values where the last ones are.
    fn change(&mut self, run: usize) {
        let (nodes, edges) = &self.variants[run % VARIANTS];
        self.nodes.copy_from_slice(nodes);
        self.edges.copy_from_slice(edges);
    }

    fn graph(&self) -> Graph<'_> {
        let (sources, targets) = self.index.split_at(self.index.len() / 2);
        Graph { nodes: &self.nodes, sources, targets, edges: &self.edges }
    }
}

/// Everything that runs a graph in this process.
struct Ways {
    session: SessionProbe,
    body: SessionProbe,
    gat: Gat,
    out: Vec<f32>,
}

impl Ways {
    fn new(tuner: &Tuner, input: &Input, nodes: usize) -> Result<Self, String> {
        let size = (nodes, input.index.len() / 2);
        let open = |on| {
            let mut probe =
                SessionProbe::open(&tuner.files, &tuner.environment, on, size).map_err(|r| r.to_string())?;
            probe.join(&input.index);
            Ok::<_, String>(probe)
        };
        let gat = weights::kernel(&tuner.files, size)?;
        Ok(Self { session: open(On::Kernel)?, body: open(On::Body)?, out: vec![0.0; nodes * gat.outputs()], gat })
    }

    /// Whether all ways give the same answers to the golden case and to every variant of it.
    fn check(&mut self, report: &mut Report, input: &mut Input) -> Result<(), String> {
        let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let (mut body, mut portable, mut same) = (0.0f32, 0.0f32, true);
        let mut golden = 0.0f32;
        for variant in 0..=VARIANTS {
            if variant > 0 {
                input.change(variant - 1);
            }
            let kernel = self.session.run(&input.nodes, &input.edges).map_err(|r| r.to_string())?;
            if variant == 0 {
                golden = far(kernel, &input.expected);
            }
            body = body.max(far(kernel, self.body.run(&input.nodes, &input.edges).map_err(|r| r.to_string())?));
            self.gat.run(&input.graph(), &mut self.out).map_err(|error| error.to_string())?;
            same &= self.out == kernel;
            self.gat.run_portable(&input.graph(), &mut self.out).map_err(|error| error.to_string())?;
            portable = portable.max(far(kernel, &self.out));
        }
        report.check(golden <= TOLERANCE, format!("the kernel gives the golden outputs ({golden:.1e} off)"));
        report.check(body <= TOLERANCE, format!("stock operators agree with the kernel ({body:.1e} off)"));
        report.check(portable <= TOLERANCE, format!("the portable kernel agrees ({portable:.1e} off)"));
        report.check(same, "the kernel gives the same bits with and without ONNX Runtime");
        Ok(())
    }
}

/// Candidates in the order of the table.
const ROWS: [&str; 6] = [
    "kernel in its session",
    "session alone, stock operators",
    "plain Python onnxruntime",
    "kernel without ONNX Runtime",
    "portable kernel without it",
    "CONTROL, registers only",
];
const KERNEL: usize = 0;
const BODY: usize = 1;
const PYTHON: usize = 2;
const FLOOR: usize = 3;
const PORTABLE: usize = 4;
const CONTROL: usize = 5;

fn measure(
    report: &mut Report,
    options: &Options,
    watch: &Stopwatch,
    tuner: &Tuner,
    (nodes, bar): (usize, f64),
    python: &mut Result<Python, String>,
) -> Result<(), String> {
    let golden = Golden::parse(&tuner.files.golden).map_err(|refusal| refusal.to_string())?;
    let mut input = Input::new(&golden, nodes)?;
    let mut ways = Ways::new(tuner, &input, nodes)?;
    ways.check(report, &mut input)?;
    let mut tails = ROWS.map(Tails::new);
    let (quick, slow) = runs(options);
    let control = {
        let mut trial = Tails::new("trial");
        trial.repeat(watch, quick / 10, &mut (&mut input, &mut ways.session), prepare, |(input, session)| {
            keep(session.run(&input.nodes, &input.edges).is_ok());
        });
        Control::lasting(watch, trial.at(0.5))
    };
    let Ways { session, body, gat, out } = &mut ways;
    for _ in 0..repetitions(options) {
        for (row, probe, runs) in [(KERNEL, &mut *session, quick), (BODY, body, slow)] {
            tails[row].repeat(watch, runs, &mut (&mut input, probe), prepare, |(input, probe)| {
                keep(probe.run(&input.nodes, &input.edges).is_ok());
            });
        }
        // Right behind the kernel's turn or as near as can be: the host's mood lasts for a while.
        tails[CONTROL].repeat(watch, quick, &mut (), |(), _| (), |()| control.run());
        tails[FLOOR].repeat(watch, quick, &mut (&mut input, &mut *gat), prepare, |(input, gat)| {
            keep(gat.run(&input.graph(), out).is_ok());
        });
        tails[PORTABLE].repeat(watch, quick, &mut (&mut input, &mut *gat), prepare, |(input, gat)| {
            keep(gat.run_portable(&input.graph(), out).is_ok());
        });
        if let Ok(python) = python {
            tails[PYTHON].repeated(&python.time(input.case, slow)?);
        }
    }
    print(report, &tails, (nodes, bar), &input, python.as_ref().err());
    Ok(())
}

/// New values before a run, whatever runs.
fn prepare<P>((input, _): &mut (&mut Input, P), run: usize) {
    input.change(run);
}

fn print(report: &mut Report, tails: &[Tails], (nodes, bar): (usize, f64), input: &Input, no_python: Option<&String>) {
    let (kernel, edges) = (&tails[KERNEL], input.index.len() / 2);
    report.ratio(format!("inference_{nodes}_to_session"), kernel.ratio_to(&tails[BODY]), EXPORT_BAR, "x");
    let name = format!("inference_{nodes}_to_python");
    match no_python {
        None => report.ratio(name, kernel.ratio_to(&tails[PYTHON]), EXPORT_BAR, "x"),
        Some(reason) => report.skip(name, format!("no plain onnxruntime: {reason}")),
    }
    let title = format!("{nodes} nodes, {edges} edges; medians over repetitions, max over all");
    let mut table = Table::new(title, &COLUMNS);
    tails.iter().filter(|row| !row.is_empty()).for_each(|row| table.row(&row.name, &row.figures(kernel)));
    report.table(table);
    report.ratio(format!("inference_{nodes}_p50"), kernel.at(0.5), bar, "us");
    let above = kernel.above(&tails[CONTROL], 0.999);
    report.ratio(format!("inference_{nodes}_p999_over_control"), above, TAIL_BAR_US, "us");
}
