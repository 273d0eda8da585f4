//! Every regime shows in the statistic it is about, and the market is the one that was calibrated.

mod support;

use std::time::Duration;
use strum::VariantArray as _;

use support::{at, correlation, frames, log_returns, mids, report, touches, with_regime};
use tidegate_simex::{Frame, FrameKind, Regime, RegimeKind, Script, SimConfig, Simulator, stats};

fn count(frames: &[Frame], instrument: usize, kind: FrameKind, from: i64, to: i64) -> usize {
    let within = |frame: &&Frame| frame.instrument == instrument && frame.kind == kind;
    frames.iter().filter(within).filter(|frame| (from..to).contains(&frame.recv_ns)).count()
}

#[test]
fn a_flash_crash_moves_every_price_as_configured() {
    let kind = RegimeKind::FlashCrash { drop_percent: 4.0, rebound: 0.5 };
    let config = with_regime(1, 16, 4, 10, kind, &[]);
    let all = frames(&config);
    for instrument in 0..config.instruments.len() {
        let mids = mids(&config, &all, instrument);
        let before = mids[2];
        let lowest = mids.iter().copied().fold(f64::INFINITY, f64::min);
        let after = mids[mids.len() - 1];
        assert!((lowest / before - 0.96).abs() < 0.006, "{instrument}: {}", lowest / before);
        assert!((after / before - 0.98).abs() < 0.008, "{instrument}: {}", after / before);
        let sells = |from: f64, to: f64| {
            let within = at(&config, from)..at(&config, to);
            let ours = |frame: &&Frame| frame.instrument == instrument && frame.kind == FrameKind::Trade;
            let trades = all.iter().filter(ours).filter(|frame| within.contains(&frame.recv_ns));
            trades.filter(|frame| frame.bytes.windows(8).any(|part| part == b"\"m\":true")).count()
        };
        assert!(sells(4.0, 7.0) > 3 * sells(0.0, 3.0).max(5), "{instrument}: no cascade of sells");
    }
}

#[test]
fn a_liquidity_hole_blows_the_spread_out_and_heals() {
    let kind = RegimeKind::LiquidityHole { half_width_bp: 25.0 };
    let config = with_regime(2, 10, 4, 3, kind, &[]);
    let all = frames(&config);
    for instrument in 0..config.instruments.len() {
        let touches = touches(&all, instrument);
        let mean = |from: f64, to: f64| {
            let within = touches.iter().filter(|touch| (at(&config, from)..at(&config, to)).contains(&touch.0));
            let spreads: Vec<_> = within.map(|touch| (touch.2 - touch.1) / touch.1 * 1e4).collect();
            spreads.iter().sum::<f64>() / spreads.len() as f64
        };
        let (before, hole, after) = (mean(1.0, 4.0), mean(4.5, 6.9), mean(7.5, 9.9));
        assert!(hole > 10.0 * before && hole > 40.0, "{instrument}: {before} bp, then {hole} bp");
        assert!(after < 0.1 * hole, "{instrument}: {after} bp after {hole} bp");
    }
}

#[test]
fn nothing_arrives_during_a_stall() {
    for lossy in [false, true] {
        let config = with_regime(3, 8, 3, 2, RegimeKind::FeedStall { lossy }, &[0, 4]);
        let all = frames(&config);
        let calm = frames(&SimConfig::calm(3, Duration::from_secs(8)));
        for instrument in 0..config.instruments.len() {
            let stalled = [0, 4].contains(&instrument);
            let during = |kind| count(&all, instrument, kind, at(&config, 3.0), at(&config, 5.0));
            let frames: usize = FrameKind::VARIANTS.iter().copied().map(during).sum();
            assert_eq!(frames == 0, stalled, "{instrument}: {frames} frames");
            let total = |frames: &[Frame]| count(frames, instrument, FrameKind::Depth, 0, i64::MAX);
            assert_eq!(total(&all) < total(&calm), stalled && lossy, "{instrument}");
        }
    }
}

#[test]
fn a_latency_spike_delays_receive_times() {
    let config = with_regime(4, 8, 3, 2, RegimeKind::LatencySpike { delay_ms: 300.0 }, &[2]);
    let delay = |instrument: usize, from: f64, to: f64| {
        let mut delays = Vec::new();
        for frame in frames(&config).iter().filter(|frame| frame.instrument == instrument) {
            let value: serde_json::Value = serde_json::from_slice(&frame.bytes).unwrap();
            if let Some(event_ms) = value["data"]["E"].as_i64()
                && (at(&config, from)..at(&config, to)).contains(&(event_ms * 1_000_000))
            {
                delays.push(frame.recv_ns as f64 * 1e-6 - event_ms as f64);
            }
        }
        delays.iter().sum::<f64>() / delays.len() as f64
    };
    assert!(delay(2, 3.3, 4.7) > 290.0);
    assert!((1.0..8.0).contains(&delay(2, 0.0, 2.9)));
    assert!((1.0..8.0).contains(&delay(3, 3.3, 4.7)));
}

#[test]
fn volatile_and_busy_regimes_show() {
    let rms = |returns: &[f64]| (returns.iter().map(|one| one * one).sum::<f64>() / returns.len() as f64).sqrt();
    let config = with_regime(5, 60, 30, 30, RegimeKind::Volatile { factor: 4.0 }, &[]);
    let returns = log_returns(&mids(&config, &frames(&config), 2));
    assert!(rms(&returns[31..]) > 2.0 * rms(&returns[..28]));

    let config = with_regime(5, 30, 15, 15, RegimeKind::VolumeSpike { factor: 8.0 }, &[2]);
    let all = frames(&config);
    let trades = |instrument, from, to| count(&all, instrument, FrameKind::Trade, at(&config, from), at(&config, to));
    assert!(trades(2, 15.0, 30.0) > 4 * trades(2, 0.0, 15.0));
    assert!(trades(3, 15.0, 30.0) < 4 * trades(3, 0.0, 15.0));
}

#[test]
fn instruments_are_correlated_until_the_correlation_breaks() {
    let config = SimConfig::calm(6, Duration::from_secs(90));
    let all = frames(&config);
    let returns: Vec<_> = (0..6).map(|instrument| log_returns(&mids(&config, &all, instrument))).collect();
    for (a, b) in [(0, 2), (0, 4), (2, 4), (1, 3), (1, 5), (3, 5)] {
        let rho = correlation(&returns[a], &returns[b]);
        assert!(rho > 0.6, "{a} and {b}: {rho}");
    }
    let across = correlation(&returns[2], &returns[3]);
    assert!((0.45..0.95).contains(&across), "BTC and ETH: {across}");

    let config = with_regime(6, 90, 1, 88, RegimeKind::CorrelationBreak, &[0]);
    let all = frames(&config);
    let returns: Vec<_> = (0..6).map(|instrument| log_returns(&mids(&config, &all, instrument))).collect();
    assert!(correlation(&returns[0][2..86], &returns[2][2..86]).abs() < 0.35);
    assert!(correlation(&returns[2][2..86], &returns[4][2..86]) > 0.6);
}

#[test]
fn the_ground_truth_is_that_of_the_script() {
    let config = SimConfig::demo(1, Duration::from_secs(120));
    let simulator = Simulator::new(config.clone()).unwrap();
    let truth = simulator.truth();
    assert_eq!(truth.len(), config.script.regimes.len());
    for (span, regime) in truth.iter().zip(&config.script.regimes) {
        assert_eq!(span.kind, regime.kind);
        assert_eq!(span.start_ns - config.start_ns, regime.start.as_nanos() as i64);
        assert_eq!(span.end_ns - span.start_ns, regime.duration.as_nanos() as i64);
        assert_eq!(span.instruments.len(), span.labels.len());
        assert!(!span.instruments.is_empty());
        assert!(span.covers(span.start_ns, span.instruments[0]) && !span.covers(span.end_ns, span.instruments[0]));
    }
}

/// The calibrated figures, averaged over a few seeds, stay within a factor of the recorded ones. Tails and fourth
/// moments of six minutes say little, so they are not here.
#[test]
fn a_calm_market_resembles_the_recorded_one() {
    const FIGURES: [(&str, f64); 9] = [
        ("depth_per_s", 1.5),
        ("book_ticker_per_s", 1.6),
        ("trade_per_s", 2.5),
        ("depth_levels_mean", 1.8),
        ("depth_levels_p50", 2.5),
        ("spread_ticks_p50", 1.01),
        ("touch_qty_p50", 2.0),
        ("depth_10bp_qty_p50", 2.0),
        ("depth_10bp_levels_p50", 1.6),
    ];
    let reports: Vec<_> = (0..3)
        .map(|seed| {
            let config = SimConfig::calm(seed, Duration::from_secs(30));
            report(&config, &frames(&config))
        })
        .collect();
    let reference = stats::reference().unwrap();
    for (label, recorded) in &reference.0 {
        for (statistic, factor) in FIGURES {
            let figures = reports.iter().map(|report| report.get(label, statistic).unwrap());
            let ratio = figures.sum::<f64>() / reports.len() as f64 / recorded[statistic];
            assert!((1.0 / factor..=factor).contains(&ratio), "{label} {statistic}: {ratio} times the recorded figure");
        }
        let over = |statistic: &str| reports.iter().map(|report| report.get(label, statistic).unwrap()).sum::<f64>();
        assert!(over("trade_fano_1s") > 3.0 * 4.0, "{label}: trades are not clustered");
    }
}

/// The strongest of everything at once, between two outages: books stay sound and nothing hangs. The first outage
/// begins with the run, so only the second breaks a sequence.
#[test]
fn extremes_together_leave_sound_books() {
    let seconds = Duration::from_secs;
    let regime =
        |start, length, kind| Regime { start: seconds(start), duration: seconds(length), kind, instruments: vec![] };
    let regimes = vec![
        regime(0, 1, RegimeKind::FeedStall { lossy: true }),
        regime(2, 6, RegimeKind::FlashCrash { drop_percent: 50.0, rebound: 1.0 }),
        regime(3, 2, RegimeKind::LiquidityHole { half_width_bp: 500.0 }),
        regime(3, 4, RegimeKind::Volatile { factor: 20.0 }),
        regime(4, 3, RegimeKind::VolumeSpike { factor: 50.0 }),
        regime(4, 4, RegimeKind::LatencySpike { delay_ms: 2_000.0 }),
        regime(5, 1, RegimeKind::FeedStall { lossy: false }),
        regime(7, 2, RegimeKind::CorrelationBreak),
        regime(9, 1, RegimeKind::FeedStall { lossy: true }),
    ];
    let config = SimConfig { script: Script { regimes }, ..SimConfig::calm(13, seconds(12)) };
    let all = frames(&config);
    let report = report(&config, &all);
    for spec in &config.instruments {
        for (statistic, expected) in [("sequence_gaps", 1.0), ("crossed_books", 0.0), ("touch_mismatches", 0.0)] {
            assert_eq!(report.get(&spec.label(), statistic), Some(expected), "{} {statistic}", spec.label());
        }
    }
}
