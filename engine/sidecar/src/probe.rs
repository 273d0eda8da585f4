//! One session and one adjustment by themselves, without an engine, a loader or a shadow: what rigs measure.
//!
//! Both take the same steps as a running sidecar, on the same code; nothing here is for engines.

use std::sync::Arc;

use crossbeam::channel::{Receiver, unbounded};
use ort::environment::Environment;
use tidegate_market::graph::MarketGraph;
use tidegate_wire::Registry;
use tidegate_wire::advice::AdviceStamps;
use tidegate_wire::clock::Clock;
use tidegate_wire::event::Header;
use tidegate_wire::feature::FeatureBody;

use crate::contract::shapes;
use crate::core::{Handover, Sidecar};
use crate::gate::{GateSettings, admit, check_files};
use crate::messages::Event;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::repository::VersionFiles;
use crate::serve::{AdviceCells, CellPublisher};
use crate::session::{Runner, open};
use crate::slot::ShadowSettings;

pub use crate::session::On;

/// A tuner's session for graphs of one size.
#[derive(Debug)]
pub struct SessionProbe {
    runner: Runner,
}

impl SessionProbe {
    /// Opens a tuner for graphs of so many nodes and edges. Of the gate it passes what needs no runtime.
    ///
    /// # Errors
    /// The version is refused, is no tuner, or cannot be loaded.
    pub fn open(
        files: &VersionFiles,
        environment: &Environment,
        on: On,
        (nodes, edges): (usize, usize),
    ) -> Result<Self, Refusal> {
        let contract = check_files(files, &GateSettings::default())?.contract;
        if contract.inputs.len() != GRAPH_INPUTS {
            return Err(Refusal::Shape(format!("{} {} is no tuner", contract.name, contract.version)));
        }
        let session = open(environment, &files.model, on)?;
        let (inputs, outputs) = (shapes(&contract.inputs, nodes, edges), shapes(&contract.outputs, nodes, edges));
        let runner = Runner::new(session, &contract, &inputs, &outputs)?;
        Ok(Self { runner })
    }

    /// Says which nodes the edges of the following runs join: sources, then targets.
    ///
    /// # Panics
    /// On another number of edges than it was opened for.
    pub fn join(&mut self, index: &[i64]) {
        self.runner.integers(1).copy_from_slice(index);
    }

    /// Runs the tuner on values of nodes and edges, row-major; gives its output.
    ///
    /// # Errors
    /// The runtime's refusal, or a value that is not finite or out of range.
    ///
    /// # Panics
    /// On another number of values than it was opened for.
    #[inline]
    pub fn run(&mut self, nodes: &[f32], edges: &[f32]) -> Result<&[f32], Refusal> {
        self.runner.floats(0).copy_from_slice(nodes);
        self.runner.floats(2).copy_from_slice(edges);
        self.runner.run()?;
        Ok(self.runner.output(0))
    }
}

/// Inputs of a tuner: nodes, index, edges.
const GRAPH_INPUTS: usize = 3;

/// A sidecar with one tuner in force that adjusts when it is told to, on the caller's thread.
#[derive(Debug)]
pub struct AdjustProbe {
    sidecar: Sidecar,
    publisher: CellPublisher,
    clock: Clock,
    events: Receiver<Event>,
    /// Kept, so that the sidecar can hand models over.
    _retired: Receiver<Box<Model>>,
}

impl AdjustProbe {
    /// Passes a version through the whole gate and puts it in force for a market; advice goes into `cells`.
    ///
    /// # Errors
    /// The version is refused.
    pub fn new(
        files: &VersionFiles,
        environment: &Environment,
        registry: &Registry,
        clock: Clock,
        cells: Arc<AdviceCells>,
    ) -> Result<Self, Refusal> {
        let admitted = admit(files, &GateSettings::default(), environment)?;
        let model = Model::new(admitted, &MarketGraph::new(registry))?;
        let ((told, events), (retire, retired)) = (unbounded(), unbounded());
        let mut sidecar = Sidecar::new(registry, clock, ShadowSettings::default(), told, retire);
        sidecar.take_over(Handover::InForce(Box::new(model)));
        Ok(Self { sidecar, publisher: CellPublisher(cells), clock, events, _retired: retired })
    }

    /// Takes an instrument's newest vector.
    #[inline]
    pub fn see(&mut self, header: &Header, body: &FeatureBody) {
        self.sidecar.see(header, body);
    }

    /// One adjustment as of `moment`, ns of event time: graph, run, publication.
    #[inline]
    pub fn adjust(&mut self, moment: i64) {
        let stamps = AdviceStamps { features: self.clock.ticks(), ..AdviceStamps::default() };
        self.sidecar.adjust(moment, stamps, &mut self.publisher);
    }

    /// Failures since the last call, in words.
    pub fn faults(&self) -> Vec<String> {
        let fault = |event| if let Event::Fault { text, .. } = event { Some(text) } else { None };
        self.events.try_iter().filter_map(fault).collect()
    }
}
