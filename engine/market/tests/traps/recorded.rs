//! Recorded captures as looks. They are found through `TIDEGATE_DATA` and never copied.

// Tests and examples share it: none of them uses all of it.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};

use tidegate_feed::Feed;
use tidegate_feed::discover::discover;
use tidegate_feed::replay::{self, SourceSpec};
use tidegate_wire::Registry;
use tidegate_wire::clock::Clock;
use tidegate_wire::look::LookRecord;

use crate::rig::Looks;

/// Recordings that models may be fitted on: minutes of Binance USD-M in 2023 and 2024.
pub(crate) const FITTED: [&str; 3] = [
    "hftbacktest/usdm_btcusdt_20230404.dat.gz",
    "hftbacktest/usdm_btcusdt_20240718.gz",
    "hftbacktest/usdm_ethusdt_20240718.gz",
];

/// Six minutes of Binance that nothing was fitted on: spot, USD-M and COIN-M, BTC and ETH.
pub(crate) const HELD_OUT: [&str; 6] = [
    "hftbacktest/usdm_btcusdt_20240808.gz",
    "hftbacktest/usdm_ethusdt_20240808.gz",
    "hftbacktest/spot_btcusdt_20240808.gz",
    "hftbacktest/spot_ethusdt_20240808.gz",
    "hftbacktest/cm_btcusd_perp_20240808.gz",
    "hftbacktest/cm_ethusd_perp_20240808.gz",
];

/// Five hours of Bitstamp orders of 2015: the first half may be fitted on, the second is held out.
pub(crate) const BITSTAMP: [&str; 1] = ["ob_analytics/2015-05-01.log.xz"];

/// Where [`BITSTAMP`] is divided: 02:30 UTC, ns since the Unix epoch.
pub(crate) const DIVIDED_NS: i64 = 1_430_447_400_000_000_000;

/// An hour of a Coinbase book of 2018, held out. It has no trades: only breaks and layers can be seen.
pub(crate) const COINBASE: [&str; 6] = [
    "gdax_orderbook_ml/snapshot_bids.csv.gz",
    "gdax_orderbook_ml/snapshot_asks.csv.gz",
    "gdax_orderbook_ml/l2update_15min_1.csv.gz",
    "gdax_orderbook_ml/l2update_15min_2.csv.gz",
    "gdax_orderbook_ml/l2update_15min_3.csv.gz",
    "gdax_orderbook_ml/l2update_15min_4.csv.gz",
];

/// The folder of recorded data; `None` after saying loudly that something is skipped.
///
/// In CI it must be there: a skipped test would look like a passed one.
pub(crate) fn data() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os("TIDEGATE_DATA").map_or_else(|| workspace.join("../shared/data"), PathBuf::from);
    if folder.join(HELD_OUT[0]).exists() {
        return Some(folder);
    }
    let missing = format!("TIDEGATE_DATA: {} is not there", folder.join(HELD_OUT[0]).display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    // On the stream itself: what tests print is shown only when they fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
    None
}

/// Replays captures merged by receive time; shows every look to what `begin` makes of their registry.
pub(crate) fn replayed<T>(
    folder: &Path,
    files: &[&str],
    begin: impl FnOnce(&Registry) -> T,
    mut see: impl FnMut(&mut T, &LookRecord),
) -> T {
    let specs: Vec<SourceSpec> = files.iter().map(|f| SourceSpec { path: folder.join(f), venue: None }).collect();
    let mut registry = Registry::new();
    let found = discover(&specs, &mut registry).expect("captures");
    let (mut seen, mut looks) = (begin(&registry), Looks::new(&registry));
    let mut feed = Feed::new(&registry, Clock::monotonic()).expect("instruments");
    let reader = replay::start(found.sources, 8 << 20).expect("captures");
    while let Some(mut block) = reader.wait_next() {
        for index in 0..block.len() {
            let taken = block.frame(index).expect("a frame");
            taken.read_by(&mut feed, &mut looks.stage);
            looks.each(&mut |look| see(&mut seen, look));
        }
        reader.give_back(block);
    }
    reader.finish();
    seen
}
