//! The sidecar's own thread: newest vectors in, advice out, models swapped between two adjustments.

mod bars;
mod ratings;

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam::channel::Sender;
use tidegate_market::graph::MarketGraph;
use tidegate_market::graph::schema::{NODE_SLOTS, PRESENT};
use tidegate_wire::advice::{Advice, AdviceStamps};
use tidegate_wire::clock::Clock;
use tidegate_wire::event::Header;
use tidegate_wire::feature::{FeatureBody, MinuteBody};
use tidegate_wire::{InstrumentId, Registry};

use crate::contract::{STEPS_MAX, Source};
use crate::cpu_time::CpuTime;
use crate::messages::{Event, Listed};
use crate::model::{Model, Reads};
use crate::refusal::Refusal;
use crate::slot::{ShadowSettings, Slot};

/// Whoever takes advice.
pub(crate) trait Publish {
    /// Advice for one instrument.
    fn advice(&mut self, advice: &Advice);
    /// That was all of an adjustment.
    fn done(&mut self);
}

/// What the loader hands over.
#[derive(Debug)]
pub(crate) enum Handover {
    /// In force from the next adjustment on, without shadow: it was in force before this run.
    InForce(Box<Model>),
    /// To run in shadow.
    Shadow(Box<Model>),
}

/// The models and the market they look at.
#[derive(Debug)]
pub(crate) struct Sidecar {
    graph: MarketGraph,
    /// Number of instruments; their books come first among the nodes.
    instruments: usize,
    clock: Clock,
    slots: Vec<Slot>,
    shadow: ShadowSettings,
    adjustments: u64,
    /// How often another version came into force.
    changes: u64,
    newest_ns: i64,
    /// Event time of the signal that was rated last.
    rated_ns: i64,
    /// The last bars of every instrument, oldest first.
    bars: Vec<VecDeque<MinuteBody>>,
    events: Sender<Event>,
    /// Models that have no place any more; the loader's thread frees them.
    retired: Sender<Box<Model>>,
    /// Levels of the tuner in force, kept while its shadow is compared with them.
    output: Vec<f32>,
}

impl Sidecar {
    /// A sidecar without models.
    pub(crate) fn new(
        registry: &Registry,
        clock: Clock,
        shadow: ShadowSettings,
        events: Sender<Event>,
        retired: Sender<Box<Model>>,
    ) -> Self {
        let graph = MarketGraph::new(registry);
        let (slots, output) = (Vec::new(), Vec::new());
        let instruments = registry.len();
        let bars = vec![VecDeque::with_capacity(STEPS_MAX); instruments];
        let (adjustments, changes, newest_ns, rated_ns) = (0, 0, 0, 0);
        Self {
            graph,
            instruments,
            clock,
            slots,
            shadow,
            adjustments,
            changes,
            newest_ns,
            rated_ns,
            bars,
            events,
            retired,
            output,
        }
    }

    /// Adjustments so far.
    pub(crate) const fn adjustments(&self) -> u64 {
        self.adjustments
    }

    /// Takes an instrument's newest vector.
    pub(crate) fn see(&mut self, header: &Header, body: &FeatureBody) {
        self.newest_ns = self.newest_ns.max(header.event_ns);
        self.graph.see(header, body);
    }

    fn tell(&mut self, event: Event) {
        self.changes += u64::from(matches!(event, Event::Promoted { .. } | Event::RolledBack { .. }));
        // Whoever listened has gone: the sidecar is about to end too.
        let _ = self.events.send(event);
    }

    fn retire(&self, model: Option<Model>) {
        if let Some(model) = model {
            // Freed here only if whoever frees them has gone.
            let _ = self.retired.send(Box::new(model));
        }
    }

    fn slot(&mut self, name: &str) -> &mut Slot {
        let place = self.slots.iter().position(|slot| slot.name == name);
        let place = place.unwrap_or_else(|| {
            self.slots.push(Slot::new(name.to_owned()));
            self.slots.len() - 1
        });
        &mut self.slots[place]
    }

    /// Takes over what the loader has prepared.
    pub(crate) fn take_over(&mut self, handover: Handover) {
        let event_ns = self.newest_ns;
        match handover {
            Handover::InForce(model) => {
                let (name, to, hash) = (model.name.clone(), model.version, model.hash_hex());
                let slot = self.slot(&name);
                let from = slot.active.as_ref().map(|active| active.version);
                let retired = slot.put_in_force(*model);
                self.retire(retired);
                self.tell(Event::Promoted { name, from, to, hash, shadow: None, event_ns });
            }
            // It was asked for and found by the loader itself, and is in force meanwhile.
            Handover::Shadow(model) if self.is_in_force(&model.name, model.version) => self.retire(Some(*model)),
            Handover::Shadow(model) => {
                let name = model.name.clone();
                let retired = self.slot(&name).put_in_shadow(*model);
                self.retire(retired);
            }
        }
    }

    /// Puts a model's shadow in force.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn promote(&mut self, name: &str, version: Option<u32>) -> Result<(), String> {
        let event_ns = self.time_of(name);
        let in_shadow = self.slots.iter().find(|slot| slot.name == name).and_then(|slot| slot.shadow.as_ref());
        let found = in_shadow.map(|shadow| shadow.model.version);
        if let (Some(version), Some(found)) = (version, found)
            && version != found
        {
            return Err(format!("{name} {version} is not in shadow, {found} is"));
        }
        let promoted = self.slots.iter_mut().find(|slot| slot.name == name).and_then(|slot| slot.promote(event_ns));
        let (event, retired) = promoted.ok_or_else(|| format!("{name} has no version in shadow"))?;
        self.retire(retired);
        self.tell(event);
        Ok(())
    }

    /// Puts a model's previous version in force.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn roll_back(&mut self, name: &str) -> Result<(), String> {
        let event_ns = self.time_of(name);
        let slot = self.slots.iter_mut().find(|slot| slot.name == name);
        let event = slot.and_then(|slot| slot.roll_back(event_ns));
        self.tell(event.ok_or_else(|| format!("{name} has no version before the one in force"))?);
        Ok(())
    }

    /// How often another version came into force, for whatever reason.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether a version is in force.
    pub(crate) fn is_in_force(&self, name: &str, version: u32) -> bool {
        let active = self.slots.iter().find(|slot| slot.name == name).and_then(|slot| slot.active.as_ref());
        active.is_some_and(|model| model.version == version)
    }

    /// What is loaded.
    pub(crate) fn list(&self) -> Vec<Listed> {
        self.slots.iter().flat_map(Slot::list).collect()
    }

    /// One adjustment as of `moment`: runs every model in force and publishes, then every shadow.
    pub(crate) fn adjust(&mut self, moment: i64, mut stamps: AdviceStamps, publish: &mut impl Publish) {
        self.adjustments += 1;
        stamps.taken = self.clock.ticks();
        let mut faults = Vec::new();
        for index in 0..self.slots.len() {
            let ran = match self.slots[index].active.as_ref().map(|model| &model.reads) {
                Some(Reads::Graph(_)) => self.tune(index, moment, stamps, publish),
                _ => Ok(()),
            };
            faults.extend(ran.err().map(|fault| (index, fault)));
        }
        publish.done();
        // Nobody waits any more. Who failed is out of force before anybody is judged beside it.
        for (index, fault) in faults {
            self.failed(index, &fault);
        }
        for index in 0..self.slots.len() {
            if let Err(fault) = self.predict(index, moment) {
                self.failed(index, &fault);
            }
            if let Err(refusal) = self.run_shadow(index, moment) {
                self.refuse_shadow(index, &refusal);
            }
            // Models of bars are judged when bars end, those of signals by what became of the signals.
            if self.slots[index].shadow.as_ref().is_some_and(|shadow| shadow.model.looks_at_markets()) {
                self.judge(index);
            }
        }
    }

    /// Runs the tuners in force on the market as it is and forgets their answers, so that the next adjustment finds
    /// everything in its caches.
    pub(crate) fn rehearse(&mut self) {
        let Self { graph, slots, newest_ns, .. } = self;
        for model in slots.iter_mut().filter_map(|slot| slot.active.as_mut()) {
            if matches!(model.reads, Reads::Graph(_)) {
                // What fails here fails at the adjustment too, and is told then.
                let _ = model.run_graph(&graph.snapshot(*newest_ns));
            }
        }
    }

    fn judge(&mut self, index: usize) {
        match self.slots[index].judge(&self.shadow) {
            Some(Ok(())) => {
                let name = self.slots[index].name.clone();
                // It was there a line ago.
                let _ = self.promote(&name, None);
            }
            Some(Err(refusal)) => self.refuse_shadow(index, &refusal),
            None => {}
        }
    }

    fn tune(
        &mut self,
        index: usize,
        moment: i64,
        mut stamps: AdviceStamps,
        publish: &mut impl Publish,
    ) -> Result<(), Refusal> {
        let Self { graph, instruments, slots, clock, output, adjustments, .. } = self;
        // What it answered before is nothing to compare a shadow with, should it fail now.
        output.clear();
        let Some(model) = &mut slots[index].active else { return Ok(()) };
        let view = graph.snapshot(moment);
        let input_digest = view.digest();
        let result = model.run_graph(&view)?;
        stamps.inferred = clock.ticks();
        output.extend_from_slice(result);
        let Reads::Graph(levels) = &model.reads else { return Ok(()) };
        let name = Advice::name_field(&model.name);
        stamps.published = clock.ticks();
        for (book, node) in view.nodes.chunks_exact(NODE_SLOTS).take(*instruments).enumerate() {
            // A book that is not good has no say in its thresholds; its advice expires.
            if node[PRESENT] != 1.0 {
                continue;
            }
            publish.advice(&Advice {
                adjustment: *adjustments,
                event_ns: moment,
                input_digest,
                model_hash: model.hash,
                model: name,
                version: model.version,
                instrument: InstrumentId(book as u16),
                reserved: 0,
                levels: levels.of_book(output, book),
                stamps,
            });
        }
        slots[index].ran();
        Ok(())
    }

    fn predict(&mut self, index: usize, moment: i64) -> Result<(), Refusal> {
        let Self { graph, instruments, slots, events, .. } = self;
        let slot = &mut slots[index];
        let Some(model) = &mut slot.active else { return Ok(()) };
        let Reads::Row(row) = &model.reads else { return Ok(()) };
        if row.source != Source::Features {
            return Ok(());
        }
        for instrument in 0..*instruments as u16 {
            let Some(vector) = graph.latest(InstrumentId(instrument)) else { continue };
            if let Some((values, input_digest)) = model.run_row(std::iter::once(vector))? {
                let (values, name, version) = (values.to_vec(), model.name.clone(), model.version);
                let event = Event::Prediction { name, version, instrument, event_ns: moment, input_digest, values };
                let _ = events.send(event);
            }
        }
        slot.ran();
        Ok(())
    }

    fn run_shadow(&mut self, index: usize, moment: i64) -> Result<(), Refusal> {
        let Self { graph, instruments, slots, output, .. } = self;
        let slot = &mut slots[index];
        let Some(shadow) = &mut slot.shadow else { return Ok(()) };
        let budget_us = shadow.model.budget_us;
        let start = CpuTime::start();
        let (result, active): (Vec<f32>, Option<Vec<f32>>) = match &shadow.model.reads {
            Reads::Graph(_) => {
                let view = graph.snapshot(moment);
                let result = shadow.model.run_graph(&view)?.to_vec();
                (result, (!output.is_empty()).then(|| output.clone()))
            }
            Reads::Row(row) if row.source == Source::Features => {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                for instrument in 0..*instruments as u16 {
                    let Some(vector) = graph.latest(InstrumentId(instrument)) else { continue };
                    if let Some((values, _)) = shadow.model.run_row(std::iter::once(vector))? {
                        ours.extend_from_slice(values);
                    }
                    let active = slot.active.as_mut().map(|model| model.run_row(std::iter::once(vector)));
                    if let Some(Ok(Some((values, _)))) = active {
                        theirs.extend_from_slice(values);
                    }
                }
                (ours, slot.active.is_some().then_some(theirs))
            }
            Reads::Row(_) => (Vec::new(), None),
        };
        let took = start.elapsed();
        // Generous: a shadow runs with cold caches, once for every instrument; the gate has measured it warm.
        if took > Duration::from_secs_f64(budget_us * 1e-6 * 50.0) {
            return Err(Refusal::Shadow(format!("a run took {} us", took.as_micros())));
        }
        slot.shadow_ran(active.as_deref(), &result, took);
        Ok(())
    }

    fn refuse_shadow(&mut self, index: usize, refusal: &Refusal) {
        // Wrong inputs are not its fault, as with a version in force.
        if matches!(refusal, Refusal::InputNotFinite(_)) {
            return;
        }
        if let Some(shadow) = self.slots[index].shadow.take() {
            let (name, version) = (shadow.model.name.clone(), shadow.model.version);
            self.retire(Some(shadow.model));
            let (reason, text) = (refusal.reason(), refusal.to_string());
            self.tell(Event::Refused { name, version, reason, text });
        }
    }

    /// A model in force failed. Wrong inputs are not its fault; after anything else the version before takes over.
    fn failed(&mut self, index: usize, fault: &Refusal) {
        let slot = &mut self.slots[index];
        let Some(version) = slot.active.as_ref().map(|model| model.version) else { return };
        let name = slot.name.clone();
        let event_ns = self.time_of(&name);
        self.tell(Event::Fault { name: name.clone(), version, text: fault.to_string() });
        if matches!(fault, Refusal::InputNotFinite(_)) {
            return;
        }
        let slot = &mut self.slots[index];
        let broken = match slot.roll_back(event_ns) {
            Some(event) => {
                let broken = slot.previous.take();
                self.tell(event);
                broken
            }
            // Nothing to go back to. It gave no advice this time, and the static profile holds should that go on; a
            // market that it did not expect may pass.
            None => None,
        };
        self.retire(broken);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use crossbeam::channel::unbounded;
    use tidegate_market::features::schema as f;
    use tidegate_wire::event::BookQuality;
    use tidegate_wire::{Instrument, Price, Qty, RecordKind, Scale, Venue};

    use super::*;
    use crate::gate::{GateSettings, admit};
    use crate::messages::State;
    use crate::native;
    use crate::repository::VersionFiles;

    struct Nobody;

    impl Publish for Nobody {
        fn advice(&mut self, _: &Advice) {}
        fn done(&mut self) {}
    }

    fn registry() -> Registry {
        let (mut registry, scale) = (Registry::new(), Scale::saturating(2));
        let (tick, lot, contract) = (Price::from_raw(1), Qty::from_raw(1), Default::default());
        let (venue, symbol) = (Venue::BinanceSpot, "BTCUSDT".to_owned());
        let only = Instrument { venue, symbol, price_scale: scale, qty_scale: scale, tick, lot, contract };
        registry.add(only).expect("legal");
        registry
    }

    #[test]
    fn a_version_that_fails_in_force_is_replaced_and_its_fault_is_nobody_elses() {
        // SAFETY: no other test of this program reads or writes the variable.
        unsafe { native::disable_telemetry() };
        let environment = match native::find(None).and_then(|path| native::environment(&path)) {
            Ok(environment) => environment,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "{error}");
                let _ = writeln!(std::io::stderr(), "SKIPPED: {error}");
                return;
            }
        };
        let registry = registry();
        // At run time: two checkouts that share a build directory share test binaries too.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let files = VersionFiles::read(&Path::new(&package).join("../../onnx/breaker-tuner/1"));
        let files = files.expect("committed");
        let model = |version, range: Option<[f64; 2]>| {
            let mut admitted = admit(&files, &GateSettings::default(), &environment).expect("it is good");
            // Under another number, and with a range that no answer is in.
            admitted.contract.version = version;
            admitted.contract.outputs[0].range = range.or(admitted.contract.outputs[0].range);
            Box::new(Model::new(admitted, &MarketGraph::new(&registry)).expect("it fits"))
        };
        let ((told, events), (retire, _retired)) = (unbounded(), unbounded());
        let shadow = ShadowSettings { runs: 3, divergence: 1e-9 };
        let mut sidecar = Sidecar::new(&registry, Clock::calibrate(), shadow, told, retire);
        sidecar.take_over(Handover::InForce(model(1, Some([1e6, 2e6]))));
        sidecar.take_over(Handover::Shadow(model(2, None)));
        let mut body = FeatureBody { quality: BookQuality::Good as u64, ..FeatureBody::EMPTY };
        body.set(f::MID, Some(100.0));
        sidecar.see(&Header::new(RecordKind::Features, InstrumentId(0)), &body);
        (0..5).for_each(|moment| sidecar.adjust(moment, AdviceStamps::default(), &mut Nobody));
        let listed: Vec<_> = sidecar.list().into_iter().map(|model| (model.version, model.state)).collect();
        assert_eq!(listed, [(2, State::Active), (1, State::Previous)]);
        let faults: Vec<_> = events
            .try_iter()
            .filter_map(|event| if let Event::Fault { version, .. } = event { Some(version) } else { None })
            .collect();
        assert_eq!(faults, [1, 1, 1], "until the third run of the new one");
    }
}
