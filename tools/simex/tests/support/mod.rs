//! What the tests share: runs of the simulator, read back through the statistics.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::time::Duration;

use tidegate_simex::stats::{MarketStats, Report};
use tidegate_simex::{Frame, FrameKind, InstrumentSpec, Regime, RegimeKind, Script, SimConfig, Simulator};

/// Every frame of a run.
pub(crate) fn frames(config: &SimConfig) -> Vec<Frame> {
    let mut simulator = Simulator::new(config.clone()).unwrap();
    let (mut frame, mut all) = (Frame::default(), Vec::new());
    while simulator.next_frame(&mut frame) {
        all.push(frame.clone());
    }
    all
}

/// Statistics of frames.
pub(crate) fn report(config: &SimConfig, frames: &[Frame]) -> Report {
    let mut stats = MarketStats::new(config.instruments.iter().map(InstrumentSpec::label));
    for frame in frames {
        stats.record(frame.instrument, frame.recv_ns, &frame.bytes).unwrap();
    }
    stats.report()
}

/// A run of `seconds` with one regime.
pub(crate) fn with_regime(
    seed: u64,
    seconds: u64,
    start: u64,
    length: u64,
    kind: RegimeKind,
    only: &[usize],
) -> SimConfig {
    let regime = Regime {
        start: Duration::from_secs(start),
        duration: Duration::from_secs(length),
        kind,
        instruments: only.to_vec(),
    };
    SimConfig { script: Script { regimes: vec![regime] }, ..SimConfig::calm(seed, Duration::from_secs(seconds)) }
}

/// Venue time `seconds` after the start of a run.
pub(crate) fn at(config: &SimConfig, seconds: f64) -> i64 {
    config.start_ns + (seconds * 1e9) as i64
}

/// Best prices of the bookTickers of one instrument: receive time, bid, ask.
pub(crate) fn touches(frames: &[Frame], instrument: usize) -> Vec<(i64, f64, f64)> {
    let ours = frames.iter().filter(|frame| frame.instrument == instrument && frame.kind == FrameKind::BookTicker);
    ours.map(|frame| {
        let value: serde_json::Value = serde_json::from_slice(&frame.bytes).unwrap();
        let price = |key: &str| value["data"][key].as_str().unwrap().parse::<f64>().unwrap();
        (frame.recv_ns, price("b"), price("a"))
    })
    .collect()
}

/// Mids at whole seconds after the start, carried forward.
pub(crate) fn mids(config: &SimConfig, frames: &[Frame], instrument: usize) -> Vec<f64> {
    let touches = touches(frames, instrument);
    let mut next = 0;
    let mut mid = 0.5 * (touches[0].1 + touches[0].2);
    (1..config.duration.as_secs())
        .map(|second| {
            while next < touches.len() && touches[next].0 < at(config, second as f64) {
                mid = 0.5 * (touches[next].1 + touches[next].2);
                next += 1;
            }
            mid
        })
        .collect()
}

pub(crate) fn log_returns(mids: &[f64]) -> Vec<f64> {
    mids.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect()
}

pub(crate) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let cross: f64 = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum();
    let square = |values: &[f64], mean: f64| values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    cross / (square(a, mean_a) * square(b, mean_b)).sqrt()
}
