//! Measures a detector: its alarms against what was true, its probabilities against what the labelling rules say.

// Tests and examples share it: none of them uses all of it.
#![allow(dead_code)]

use tidegate_market::traps::labels::{Candidate, Rule, Verdict};
use tidegate_market::traps::{Evidence, Moment, TrapDetector};
use tidegate_wire::Registry;
use tidegate_wire::event::BookQuality;
use tidegate_wire::look::LookRecord;
use tidegate_wire::order::Side;
use tidegate_wire::trap::{TRAP_PATTERNS, TrapPattern};

use crate::rig::{OPEN, SECOND, Truth};
use crate::scripted::Scripted;

/// How long behind a trap's end an alarm still is one of it, ns.
const LATE: i64 = 5 * SECOND;

/// A pattern was named.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Alarm {
    pub(crate) pattern: TrapPattern,
    pub(crate) lure: Option<Side>,
    pub(crate) ns: i64,
    /// When its candidate began.
    pub(crate) since_ns: i64,
}

/// A candidate to its end.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) candidate: Candidate,
    pub(crate) verdict: Verdict,
    pub(crate) instrument: usize,
    /// When the verdict fell, ns.
    pub(crate) ended_ns: i64,
    /// Evidence and probability at each look until the verdict.
    pub(crate) looks: Vec<(Evidence, f64)>,
    rule: Rule,
}

/// What a detector said of a stream of looks, and what the rules say with hindsight.
pub(crate) struct Evaluation {
    pub(crate) detector: TrapDetector,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) followed: Vec<Followed>,
    open: Vec<Followed>,
    /// Event time of good looks, ns: sum over instruments.
    pub(crate) watched_ns: i64,
    /// Signals by cadence, and all.
    pub(crate) signals: [u64; 2],
    last_ns: Vec<i64>,
}

impl Evaluation {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            detector: TrapDetector::new(registry),
            alarms: Vec::new(),
            followed: Vec::new(),
            open: Vec::new(),
            watched_ns: 0,
            signals: [0; 2],
            last_ns: vec![0; registry.len()],
        }
    }

    /// Takes the next look.
    pub(crate) fn see(&mut self, look: &LookRecord) {
        let (id, ns) = (look.header.instrument, look.header.event_ns);
        let signal = self.detector.look(look);
        let last = core::mem::replace(&mut self.last_ns[id.index()], ns);
        let moment = Moment::of(look).filter(|_| look.body.book_quality() == BookQuality::Good);
        match &moment {
            Some(moment) => {
                // Markets that follow each other have a night between them.
                self.watched_ns += if last == 0 || ns - last > 60 * SECOND { 0 } else { ns - last };
                self.open.iter_mut().filter(|open| open.instrument == id.index()).for_each(|open| {
                    (open.verdict, open.ended_ns) = (open.rule.see(moment, &look.body), ns);
                });
            }
            None => self.open.iter_mut().filter(|open| open.instrument == id.index()).for_each(|open| {
                open.rule.interrupt();
                open.verdict = open.rule.verdict();
            }),
        }
        for episode in self.detector.episodes(id) {
            let candidate = episode.candidate();
            let same = |open: &&mut Followed| {
                open.instrument == id.index()
                    && open.candidate.pattern == candidate.pattern
                    && open.candidate.start_ns == candidate.start_ns
            };
            let said = (*episode.evidence(), episode.probability());
            if let Some(open) = self.open.iter_mut().find(same) {
                open.looks.push(said);
            } else if let Some(moment) = moment.as_ref().filter(|moment| moment.ns == candidate.start_ns) {
                let rule = Rule::new(*candidate, moment);
                let (candidate, verdict, instrument) = (*candidate, Verdict::Open, id.index());
                let looks = vec![said];
                self.open.push(Followed { candidate, verdict, instrument, ended_ns: ns, looks, rule });
            }
        }
        let decided = self.open.extract_if(.., |open| open.verdict != Verdict::Open);
        self.followed.extend(decided);
        if let Some(body) = signal.map(|signal| signal.body) {
            self.signals[usize::from(body.cause != 0)] += 1;
            let alarm = Alarm { pattern: body.pattern(), lure: body.lure(), ns, since_ns: body.since_ns };
            let again = |old: &Alarm| (old.pattern, old.since_ns) == (alarm.pattern, alarm.since_ns);
            if alarm.pattern.index().is_some() && body.cause != 0 && !self.alarms.iter().rev().take(20).any(again) {
                self.alarms.push(alarm);
            }
        }
    }

    /// Candidates of a pattern that were decided.
    pub(crate) fn decided(&self, pattern: TrapPattern) -> impl Iterator<Item = &Followed> {
        let told = |f: &&Followed| matches!(f.verdict, Verdict::Trap | Verdict::NoTrap);
        self.followed.iter().filter(move |f| f.candidate.pattern == pattern).filter(told)
    }

    /// What was told of a pattern, measured by its labelling rule.
    pub(crate) fn by_rule(&self, pattern: TrapPattern) -> ByRule {
        let mut sum = ByRule::default();
        for followed in self.decided(pattern) {
            let (trap, n) = (followed.verdict == Verdict::Trap, followed.looks.len().max(1) as f64);
            let alarm = |a: &&Alarm| a.pattern == pattern && a.since_ns == followed.candidate.start_ns;
            let alarm = self.alarms.iter().find(alarm);
            let alarmed = alarm.is_some();
            sum.candidates += 1;
            sum.traps += u32::from(trap);
            sum.alarms += u32::from(alarmed);
            sum.hits += u32::from(alarmed && trap);
            let lead = alarm.filter(|_| trap).map_or(0, |alarm| followed.ended_ns - alarm.ns);
            sum.lead += lead as f64 / SECOND as f64;
            let square = |p: &f64| (p - f64::from(u8::from(trap))).powi(2);
            sum.brier += followed.looks.iter().map(|(_, p)| square(p)).sum::<f64>() / n;
        }
        sum.brier /= f64::from(sum.candidates.max(1));
        sum.lead /= f64::from(sum.hits.max(1));
        sum
    }

    /// Alarms of a pattern against the truths of a generator.
    pub(crate) fn by_truth(&self, pattern: TrapPattern, truths: &[Truth]) -> ByTruth {
        let of = |truth: &&Truth| truth.pattern == pattern;
        let within = |alarm: &Alarm, truth: &Truth| {
            alarm.lure == Some(truth.lure) && alarm.ns >= truth.start_ns && alarm.ns <= truth.end_ns + LATE
        };
        let alarms: Vec<&Alarm> = self.alarms.iter().filter(|alarm| alarm.pattern == pattern).collect();
        let hit = |alarm: &&&Alarm| truths.iter().filter(of).any(|truth| within(alarm, truth));
        let hits = alarms.iter().filter(hit).count();
        let labelled = |alarm: &&&Alarm| {
            let same = |f: &Followed| f.candidate.pattern == pattern && f.candidate.start_ns == alarm.since_ns;
            self.followed.iter().any(|f| same(f) && f.verdict == Verdict::Trap)
        };
        let complete = |truth: &&Truth| {
            let of = |f: &&Followed| f.verdict == Verdict::Trap && f.candidate.lure == truth.lure;
            let during = |f: &Followed| (truth.start_ns..=truth.end_ns).contains(&f.candidate.start_ns);
            self.decided(pattern).filter(of).any(during)
        };
        let found = |truth: &&Truth| alarms.iter().any(|alarm| within(alarm, truth));
        let any = |truth: &&Truth| self.alarms.iter().any(|alarm| within(alarm, truth));
        ByTruth {
            truths: truths.iter().filter(of).count(),
            alarms: alarms.len(),
            hits,
            natural: alarms.iter().filter(|alarm| !hit(alarm)).filter(labelled).count(),
            labelled: truths.iter().filter(of).filter(complete).count(),
            found: truths.iter().filter(of).filter(found).count(),
            found_as_any: truths.iter().filter(of).filter(any).count(),
        }
    }
}

/// Against the labelling rule.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ByRule {
    pub(crate) candidates: u32,
    pub(crate) traps: u32,
    pub(crate) alarms: u32,
    pub(crate) hits: u32,
    /// Mean squared error of the probability over looks, candidates weighing alike.
    pub(crate) brier: f64,
    /// How long before a trap was complete it was named, mean over true alarms, s.
    pub(crate) lead: f64,
}

impl ByRule {
    /// Part of the candidates that were traps.
    pub(crate) fn base(&self) -> f64 {
        f64::from(self.traps) / f64::from(self.candidates.max(1))
    }

    /// Brier score of always saying the base rate.
    pub(crate) fn brier_of_base(&self) -> f64 {
        self.base() * (1.0 - self.base())
    }
}

/// Against the truths of a generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByTruth {
    pub(crate) truths: usize,
    pub(crate) alarms: usize,
    /// Alarms within a truth of their pattern and lure.
    pub(crate) hits: usize,
    /// Other alarms that the labelling rule calls traps: nobody set them, they happened.
    pub(crate) natural: usize,
    /// Truths that the labelling rule, too, calls traps.
    pub(crate) labelled: usize,
    /// Truths with an alarm of their pattern.
    pub(crate) found: usize,
    /// Truths with an alarm of their lure, whatever its pattern.
    pub(crate) found_as_any: usize,
}

impl ByTruth {
    pub(crate) fn precision(&self) -> f64 {
        self.hits as f64 / self.alarms.max(1) as f64
    }

    pub(crate) fn recall(&self) -> f64 {
        self.found as f64 / self.truths.max(1) as f64
    }
}

/// Rows of a report against truths.
pub(crate) fn truth_rows(evaluation: &Evaluation, truths: &[Truth]) -> String {
    let mut text = String::from(
        "pattern         traps  by rule  alarms  hits  natural  precision  recall  recall as any  Brier  Brier of base  base\n",
    );
    for pattern in TRAP_PATTERNS {
        let (t, r) = (evaluation.by_truth(pattern, truths), evaluation.by_rule(pattern));
        let any = t.found_as_any as f64 / t.truths.max(1) as f64;
        text += &format!(
            "{:15} {:5} {:8} {:7} {:5} {:8} {:10.2} {:7.2} {any:14.2} {:6.3} {:14.3} {:5.2}\n",
            pattern.name(),
            t.truths,
            t.labelled,
            t.alarms,
            t.hits,
            t.natural,
            t.precision(),
            t.recall(),
            r.brier,
            r.brier_of_base(),
            r.base(),
        );
    }
    text
}

/// Rows of a report against the labelling rules, with alarms an hour of an instrument.
pub(crate) fn rule_rows(evaluation: &Evaluation) -> String {
    let hours = evaluation.watched_ns as f64 / (3600 * SECOND) as f64;
    let mut text = format!(
        "{hours:.3} instrument hours\n\
         pattern         candidates  traps  alarms  true  precision  recall  false/h  true/h  lead s  Brier  Brier of base\n"
    );
    for pattern in TRAP_PATTERNS {
        let r = evaluation.by_rule(pattern);
        let (precision, recall) =
            (f64::from(r.hits) / f64::from(r.alarms.max(1)), f64::from(r.hits) / f64::from(r.traps.max(1)));
        text += &format!(
            "{:15} {:10} {:6} {:7} {:5} {precision:10.2} {recall:7.2} {:8.1} {:7.1} {:7.1} {:6.3} {:14.3}\n",
            pattern.name(),
            r.candidates,
            r.traps,
            r.alarms,
            r.hits,
            f64::from(r.alarms - r.hits) / hours,
            f64::from(r.hits) / hours,
            r.lead,
            r.brier,
            r.brier_of_base(),
        );
    }
    text
}

/// An hour of each of some climates of the training generator, one after the other.
pub(crate) fn climates(seeds: core::ops::Range<u64>) -> (Evaluation, Vec<Truth>) {
    let (mut kept, mut truths) = (None, Vec::new());
    for seed in seeds {
        let mut market = Scripted::new(seed, OPEN + seed as i64 * 10_000 * SECOND);
        let evaluation = kept.get_or_insert_with(|| Evaluation::new(&market.market.registry));
        market.run(3600, &mut |look| evaluation.see(look));
        truths.append(&mut market.truths);
    }
    (kept.expect("seeds"), truths)
}
