//! Recorded tables of made-up rows through readers, discovery, merge and feed.

mod common;

use std::io::Write;
use std::path::PathBuf;

use common::random::Random;
use common::{Replayed, replay};
use tidegate_feed::discover::discover;
use tidegate_feed::replay::{CaptureReader, Captured, Format, ReplayError, SourceSpec};
use tidegate_feed::{FeedCounters, Reason};
use tidegate_wire::event::{Bar, BookQuality, FLAG_SELL};
use tidegate_wire::instrument::Contract;
use tidegate_wire::{Price, Qty, RecordKind, Registry, Venue};

/// Files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> SourceSpec {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        SourceSpec { path, venue: None }
    }

    fn text(&self, name: &str, text: &str) -> SourceSpec {
        self.bytes(name, text.as_bytes())
    }
}

const BIDS: &str = "side,price,size\nbuy,100.01,2\nbuy,99.5,1.5\n";
const ASKS: &str = "side,price,size\nsell,100.02,3.00000000000004\nsell,9999999999,1\n";
const UPDATES: &str = "side,price,size,time\n\
    buy,100.01,0.0,2020-01-02T03:04:05.100Z\n\
    sell,100.02,0.11244000000000001,2020-01-02T03:04:05.100Z\n\
    sell,100.05,1e-05,2020-01-02T03:04:05.200Z\n";
/// The first update's time.
const FIRST_NS: i64 = 1_577_934_245_100_000_000;

fn played(specs: &[SourceSpec]) -> Replayed {
    replay(specs).expect("an instrument")
}

fn refused(specs: &[SourceSpec]) -> String {
    discover(specs, &mut Registry::new()).expect_err("something is wrong").to_string()
}

#[test]
fn coinbase_books_are_good_from_the_first_change_after_both_halves() {
    let folder = Folder::new();
    // Named so that the updates sort before the opening: the order of names must not matter.
    let specs = [folder.text("a.csv", UPDATES), folder.text("b.csv", ASKS), folder.text("c.csv", BIDS)];
    let Replayed { rig, registry, reports } = played(&specs);
    let (_, instrument) = registry.iter().next().expect("an instrument");
    assert_eq!(instrument.name(), "BTCUSD.coinbase");
    assert_eq!((instrument.price_scale.decimals(), instrument.qty_scale.decimals()), (2, 5));
    let book = rig.book();
    assert_eq!((book.quality, book.statuses.len()), (BookQuality::Good, 1));
    assert_eq!(book.bids, [(9_950, 150_000)].into());
    assert_eq!(book.asks, [(10_002, 11_244), (10_005, 1), (999_999_999_900, 100_000)].into());
    // One frame an instant, numbered as read.
    assert_eq!(book.applied, [1, 2]);
    let FeedCounters { snapshots, level_changes, gaps, .. } = rig.counters();
    assert_eq!((snapshots, level_changes, gaps), (1, 3, 0));
    assert_eq!(
        reports.iter().map(|r| (r.format, r.frames)).collect::<Vec<_>>(),
        [(Format::CoinbaseUpdates, 2), (Format::CoinbaseBook, 1), (Format::CoinbaseBook, 1)]
    );
    let found = discover(&specs, &mut Registry::new()).expect("tables");
    let begins: Vec<_> = found.sources.iter().map(|source| source.begin_ns).collect();
    assert_eq!(begins, [None, Some(FIRST_NS - 1), Some(FIRST_NS - 1)]);
    // Both halves in one file, headers and all.
    let both = folder.text("both.csv", &format!("{BIDS}{ASKS}"));
    assert_eq!(played(&[specs[0].clone(), both]).rig.book(), book);
}

#[test]
fn an_opening_needs_both_halves_and_its_updates() {
    let folder = Folder::new();
    let (bids, asks) = (folder.text("bids.csv", BIDS), folder.text("asks.csv", ASKS));
    let updates = folder.text("updates.csv", UPDATES);
    assert!(refused(&[bids.clone(), updates.clone()]).contains("bids.csv: an opening snapshot without its asks"));
    assert!(refused(&[updates.clone(), asks.clone()]).contains("asks.csv: an opening snapshot without its bids"));
    assert!(refused(&[bids, asks]).contains("give the updates that follow it"));
    // Without the opening nothing is known of the book.
    let alone = played(&[updates]);
    assert_eq!((alone.rig.book().quality, alone.rig.counters().held_back), (BookQuality::Building, 2));
}

#[test]
fn a_row_that_cannot_be_read_takes_a_numberless_book_out_of_service() {
    let folder = Folder::new();
    let (bids, asks) = (folder.text("bids.csv", BIDS), folder.text("asks.csv", ASKS));
    for wrong in ["buy,1x,2,2020-01-02T03:04:05.150Z", "buy,100.01", "garbage", "hold,1,2,2020-01-02T03:04:05.150Z"] {
        let updates = UPDATES.replace("sell,100.05", &format!("{wrong}\nsell,100.05"));
        let Replayed { rig, .. } = played(&[folder.text("u.csv", &updates), bids.clone(), asks.clone()]);
        let counters = rig.counters();
        assert_eq!((rig.book().quality, counters.gaps), (BookQuality::Gapped, 1), "{wrong}");
        assert_eq!(counters.decode_errors(), 1, "{wrong}");
    }
}

const ORDERS: &str = r#"1430000000000 order_created {"price": "100.00", "amount": "2.00000000", "datetime": "1430000000", "id": 10, "order_type": 0}
1430000000100 order_book {"bids": [["100.00", "2.00000000"], ["99.00", "5.00000000"]], "asks": [["101.00", "1.00000000"], ["102.00", "1.50000000"]]}
1430000000200 order_created {"price": "101.00", "amount": "0.40000000", "datetime": "1430000000", "id": 11, "order_type": 0}
1430000000210 order_deleted {"price": "101.00", "amount": "0.00000000", "datetime": "1430000000", "id": 11, "order_type": 0}
1430000000220 order_changed {"price": "101.00", "amount": "0.60000000", "datetime": "1430000000", "id": 3, "order_type": 1}
1430000000230 trade {"price": 101.00, "amount": 0.40000000, "id": 77}
1430000000240 order_changed {"price": "100.00", "amount": "1.75000000", "datetime": "1430000000", "id": 10, "order_type": 0}
1430000000250 trade {"price": 100.00, "amount": 0.25, "id": 78}
1430000000300 order_book {"bids": [["100.00", "1.75000000"], ["99.00", "5.00000000"]], "asks": [["101.00", "0.60000000"], ["102.00", "1.50000000"]]}
1430000000400 order_deleted {"price": "102.00", "amount": "0.50000000", "datetime": "1430000000", "id": 4, "order_type": 1}
1430000000500 order_book {"bids": [["100.00", "1.75000000"], ["99.00", "5.00000000"]], "asks": [["101.00", "0.60000000"], ["102.00", "1.00000000"]]}
"#;

#[test]
fn bitstamp_orders_add_up_to_a_book_that_recorded_books_put_right() {
    let folder = Folder::new();
    let Replayed { rig, registry, .. } = played(&[folder.text("orders.log", ORDERS)]);
    assert_eq!(registry.iter().next().map(|(_, i)| i.name()).as_deref(), Some("BTCUSD.bitstamp"));
    let book = rig.book();
    let scale = 100; // Amounts have two decimals that matter.
    assert_eq!(book.quality, BookQuality::Good);
    assert_eq!(book.bids, [(99, 5 * scale), (100, 175)].into());
    assert_eq!(book.asks, [(101, 60), (102, scale)].into());
    let counters = rig.counters();
    // The change of order 3, from before the recording, was learnt from the second book; the third agreed.
    assert_eq!((counters.books_checked, counters.books_agreed), (2, 1));
    assert_eq!((counters.snapshots, counters.snapshots_unneeded, counters.gaps), (1, 2, 0));
    let trades: Vec<_> = rig.sink.trades.iter().map(|t| (t.trade_id, t.price.raw(), t.qty.raw())).collect();
    assert_eq!(trades, [(77, 101, 40), (78, 100, 25)]);
    let kinds = rig.sink.headers.iter().filter(|header| header.kind == RecordKind::Trade as u8);
    // The newer order bought from one that is older than the recording; then a bid alone lost what was traded: somebody
    // sold to it.
    assert_eq!(kinds.map(|header| header.flags & FLAG_SELL != 0).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_lost_order_is_a_gap_that_the_next_recorded_book_heals() {
    let folder = Folder::new();
    let lost = ORDERS.replacen("1430000000240 order_changed {", "1430000000240 order_changed [", 1);
    let Replayed { rig, .. } = played(&[folder.text("orders.log", &lost)]);
    let counters = rig.counters();
    assert_eq!((counters.gaps, counters.resyncs, counters.skipped[Reason::BadField as usize]), (1, 1, 1));
    assert_eq!(rig.book().quality, BookQuality::Good);
    assert_eq!(rig.book().asks, [(101, 60), (102, 100)].into());
}

const KLINES: &str = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n\
    1600000020000,1.50,1.75,1.25,1.625,1000.5,1600000079999,1500.0,12,400.5,600.0,0\n";

#[test]
fn klines_become_bars_that_nobody_knows_before_they_end() {
    let folder = Folder::new();
    let bar = Bar {
        start_ns: 1_600_000_020_000_000_000,
        end_ns: 1_600_000_080_000_000_000,
        open: Price::from_raw(1_500),
        high: Price::from_raw(1_750),
        low: Price::from_raw(1_250),
        close: Price::from_raw(1_625),
        volume: Qty::from_raw(10_005),
        bought: Qty::from_raw(4_005),
        trades: 12,
    };
    let micro = KLINES.replace("0020000,", "0020000000,").replace("0079999,", "0079999999,");
    let bare = KLINES.lines().nth(1).expect("a row");
    for (name, text) in [("ABCUSDT-1m.csv", KLINES), ("ABCUSDT-a.csv", &micro), ("ABCUSDT-b.csv", bare)] {
        let Replayed { rig, registry, .. } = played(&[folder.text(name, text)]);
        assert_eq!(registry.iter().next().map(|(_, i)| i.name()).as_deref(), Some("ABCUSDT.binance-usdm"));
        assert_eq!(rig.sink.bars, [bar], "{name}");
        assert_eq!(rig.sink.headers[0].event_ns, bar.end_ns, "{name}");
        assert_eq!((rig.counters().bars, rig.counters().events), (1, 1));
    }
    let spot = SourceSpec { venue: Some(Venue::BinanceSpot), ..folder.text("XYZBTC-1m.csv", KLINES) };
    assert!(played(&[spot]).registry.find(Venue::BinanceSpot, "XYZBTC").is_some());
    assert!(refused(&[folder.text("klines.csv", KLINES)]).contains("name must begin with it"));
}

#[test]
fn bars_that_cannot_be_are_counted_and_skipped() {
    let folder = Folder::new();
    for (from, to, bad_lines, errors) in [
        ("1.75,1.25", "1.25,1.75", 0, 1),
        ("1000.5,", "100.5,", 0, 1),
        ("1.50,", "-1.50,", 0, 1),
        ("1.625,", ",", 0, 1),
        ("1600000020000", "now", 1, 0),
        (",0\n", "\n", 1, 0),
        ("1600000079999", "1500000079999", 1, 0),
    ] {
        let text = format!("{KLINES}{}", KLINES.lines().nth(1).expect("a row").to_owned() + "\n").replacen(from, to, 1);
        let Replayed { rig, reports, .. } = played(&[folder.text("ABCUSDT-1m.csv", &text)]);
        let found = (reports[0].bad_lines, rig.counters().decode_errors(), rig.counters().bars);
        assert_eq!(found, (bad_lines, errors, 1), "{from} -> {to}");
    }
}

#[test]
fn bitmex_buckets_tell_neither_aggressors_nor_trades() {
    let folder = Folder::new();
    let text = "open_time_s,open,high,low,close,volume_usd\n1500000000,10.5,10.4,10.1,10.2,300\n";
    let Replayed { rig, registry, .. } = played(&[folder.text("XBTUSD-1m.csv", text)]);
    let bar = rig.sink.bars[0];
    assert_eq!((bar.start_ns, bar.end_ns), (1_500_000_000_000_000_000, 1_500_000_060_000_000_000));
    assert_eq!((bar.bought, bar.trades, bar.volume.raw()), (Bar::NOT_TOLD, Bar::NOT_COUNTED, 300));
    let (_, instrument) = registry.iter().next().expect("an instrument");
    assert_eq!(instrument.contract, Contract::Inverse { quote_per_contract: 1.0 });
}

#[test]
fn funding_and_indices_are_marks_from_when_they_were_known() {
    let folder = Folder::new();
    let rows =
        "Symbol,Date,Funding Rate\nABC-USDT,2020-01-01 03:00:00.000,-0.00012359\nABC-USDT,2020-01-01 11:00:00,1e-4\n";
    let Replayed { rig, registry, .. } = played(&[folder.text("ABC-USDT_bybit_2020.csv", rows)]);
    assert_eq!(registry.iter().next().map(|(_, i)| i.name()).as_deref(), Some("ABCUSDT.bybit"));
    let midnight = 1_577_836_800_000_000_000;
    let eight_hours = 8 * 3_600_000_000_000;
    let marks: Vec<_> = rig.sink.marks.iter().map(|m| (m.mark, m.index, m.funding, m.next_funding_ns)).collect();
    assert_eq!(marks, [(0, 0, -123_590_000, midnight + eight_hours), (0, 0, 100_000_000, midnight + 2 * eight_hours)]);
    assert_eq!(rig.sink.headers[0].event_ns, midnight);
    assert!(
        refused(&[folder.text("ABC-USDT_gate_2020.csv", rows)]).contains("say VENUE=FILE with binance-usdm or bybit")
    );

    let percent = "[\n  [\n    1577836800016,\n    0.006940000000000001\n  ], [1577865600000, -26.5]\n]\n";
    let Replayed { rig, registry, .. } = played(&[folder.text("funding_rate_abc.json", percent)]);
    assert_eq!(registry.iter().next().map(|(_, i)| i.name()).as_deref(), Some("ABCUSDT.binance-usdm"));
    assert_eq!((rig.sink.marks[0].funding, rig.sink.headers[0].event_ns), (69_400_000, midnight + 16_000_000));
    // No venue charges a quarter: whoever wrote that meant another unit.
    assert_eq!((rig.sink.marks.len(), rig.counters().decode_errors()), (1, 1));

    let index = folder.text("dvol_abc.json", "[[1577836800000, 56.76]]");
    let Replayed { rig, registry, .. } = played(&[index]);
    assert_eq!(registry.iter().next().map(|(_, i)| i.name()).as_deref(), Some("ABCDVOL.deribit"));
    assert_eq!((rig.sink.marks[0].index, rig.sink.marks[0].next_funding_ns), (5_676_000_000, 0));
    assert_eq!(rig.sink.headers[0].event_ns, midnight + 3 * eight_hours, "a daily close is known when the day is over");
}

#[test]
fn what_is_no_table_is_refused_with_a_reason() {
    let folder = Folder::new();
    for (name, text, reason) in [
        ("x.json", "[[1577836800000, 1]]", "say deribit=FILE"),
        ("dvol_btc.json", "[[1577836800000, 1]", "no list of [ms, value]: EOF"),
        ("dvol_btc.json", "[{\"a\":1}]", "no list of [ms, value]"),
        ("dvol.json", "[[1577836800000, 1]]", "name must end with it"),
        ("prices.csv", "time,price\n1,2\n", "a known table"),
        ("empty.csv", "", "the file is empty"),
    ] {
        assert!(refused(&[folder.text(name, text)]).contains(reason), "{name} {text}: {reason}");
    }
    let wrong = SourceSpec { venue: Some(Venue::Bitstamp), ..folder.text("u.csv", UPDATES) };
    assert!(refused(&[wrong]).contains("a table of coinbase, not of bitstamp"));
}

/// Reads a file to its end or its damage.
fn read(spec: &SourceSpec) -> Result<u64, ReplayError> {
    let (mut reader, mut captured, mut frames) = (CaptureReader::open(spec)?, Captured::default(), 0);
    while reader.next(&mut captured)? {
        frames += 1;
    }
    Ok(frames)
}

#[test]
fn compressed_tables_that_break_off_say_after_which_line() {
    let folder = Folder::new();
    let row = KLINES.lines().nth(1).expect("a row");
    // Noise that does not compress to nothing: a cut must fall far behind the first block.
    let mut random = Random(7);
    let rows: String = (0..20_000).map(|_| row.replace(",12,", &format!(",{},", random.next() >> 2)) + "\n").collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(rows.as_bytes()).expect("memory");
    let gz = gz.finish().expect("memory");
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).expect("options");
    xz.write_all(rows.as_bytes()).expect("memory");
    let xz = xz.finish().expect("memory");
    let zst = zstd::encode_all(rows.as_bytes(), 1).expect("memory");
    for (name, bytes) in [("ABCUSDT.gz", gz), ("ABCUSDT.xz", xz), ("ABCUSDT.zst", zst)] {
        assert_eq!(read(&folder.bytes(name, &bytes)).expect("whole"), 20_000, "{name}");
        let cut = folder.bytes(name, &bytes[..bytes.len() / 2]);
        match read(&cut) {
            Err(ReplayError::Damaged { line, .. }) => assert!(line > 100, "{name}: after line {line}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn mutated_tables_never_panic() {
    let folder = Folder::new();
    let mut random = Random(20_261_121);
    let funding = "Symbol,Date,Funding Rate\nABC-USDT,2020-01-01 03:00:00.000,-0.00012359\n";
    let dvol = "[[1577836800000, 56.76], [1577923200000, 1e2]]";
    let (bids, asks) = (folder.text("bids.csv", BIDS), folder.text("asks.csv", ASKS));
    for round in 0..400 {
        for (name, text) in [
            ("u.csv", UPDATES),
            ("o.log", ORDERS),
            ("ABCUSDT.csv", KLINES),
            ("ABC_binance_.csv", funding),
            ("dvol_abc.json", dvol),
        ] {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = b"0123456789,.-eE\n\"[]{} "[random.below(22)],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
                if bytes.is_empty() {
                    bytes.push(b'x');
                }
            }
            let mut specs = vec![folder.bytes(name, &bytes)];
            if name == "u.csv" && round % 2 == 0 {
                specs.extend([bids.clone(), asks.clone()]);
            }
            if discover(&specs, &mut Registry::new()).is_ok()
                && let Some(Replayed { rig, .. }) = replay(&specs)
            {
                assert!(rig.counters().events <= 64, "{round}: {name}");
            }
        }
    }
}
