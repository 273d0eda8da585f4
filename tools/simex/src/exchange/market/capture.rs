//! A recorded Binance capture as the source of a market: its book and trades, not its frames.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::exchange::ExchangeError;
use crate::market::MarketEvent;
use crate::market::book::{Book, Level, Side};

/// The first snapshot must be within this many lines.
const SNAPSHOT_LINES: usize = 100_000;

/// Smaller times are microseconds: as nanoseconds they would lie before 1973.
const MICROSECONDS_BELOW: i64 = 100_000_000_000_000_000;

/// Plays a capture.
pub(crate) struct Capture {
    path: PathBuf,
    repeat: bool,
    tick_size: f64,
    lot_size: f64,
    lines: Box<dyn BufRead + Send>,
    line: String,
    /// The line read but not yet due: its time, and what it does.
    ahead: Option<(i64, Value)>,
    /// Capture time minus market time.
    shift_ns: Option<i64>,
    /// Depth frames up to this id are in the snapshot.
    seeded: i64,
    book: Book,
    seed: Option<Value>,
}

impl Capture {
    pub(crate) fn open(path: &Path, repeat: bool, tick_size: f64, lot_size: f64) -> Result<Self, ExchangeError> {
        let seed = first_snapshot(path)?;
        let mut capture = Self {
            path: path.to_owned(),
            repeat,
            tick_size,
            lot_size,
            lines: open(path)?,
            line: String::new(),
            ahead: None,
            shift_ns: None,
            seeded: seed.as_ref().and_then(|value| value["lastUpdateId"].as_i64()).unwrap_or(0),
            book: Book::new(4_096),
            seed,
        };
        capture.read();
        Ok(capture)
    }

    /// Mid price, once there is a book.
    pub(crate) fn mid(&self) -> Option<f64> {
        let (bid, ask) = self.book.touch()?;
        Some(0.5 * (bid.tick + ask.tick) as f64 * self.tick_size)
    }

    /// Appends what the next line before `to_ns` does; false when none is due.
    pub(crate) fn next(&mut self, to_ns: i64, events: &mut Vec<MarketEvent>) -> bool {
        if let Some(snapshot) = self.seed.take() {
            self.replace(&snapshot, events);
            return true;
        }
        let Some((time_ns, _)) = self.ahead else { return false };
        let shift_ns = *self.shift_ns.get_or_insert(time_ns - to_ns);
        if time_ns - shift_ns > to_ns {
            return false;
        }
        if let Some((_, value)) = self.ahead.take() {
            self.play(&value, events);
        }
        self.read();
        if self.ahead.is_none() && self.repeat {
            self.rewind();
        }
        true
    }

    fn play(&mut self, value: &Value, events: &mut Vec<MarketEvent>) {
        let data = value.get("data").unwrap_or(value);
        match data["e"].as_str() {
            Some("depthUpdate") if data["u"].as_i64().is_some_and(|id| id > self.seeded) => {
                for (side, key) in [(Side::Buy, "b"), (Side::Sell, "a")] {
                    for level in data[key].as_array().into_iter().flatten() {
                        if let Some(level) = self.level(side, level) {
                            self.change(side, level, events);
                        }
                    }
                }
                self.commit(events);
            }
            Some("trade") => {
                let taker = if data["m"].as_bool() == Some(true) { Side::Sell } else { Side::Buy };
                let price = Value::from(vec![data["p"].clone(), data["q"].clone()]);
                if let Some(Level { tick, lots }) = self.level(Side::Buy, &price)
                    && lots > 0
                {
                    events.push(MarketEvent::Trade { tick, lots, taker });
                }
            }
            _ => {}
        }
    }

    /// A price and a quantity on this market's grid. Bids round down and asks up, so a coarser grid never crosses.
    fn level(&self, side: Side, pair: &Value) -> Option<Level> {
        let number = |index: usize| pair[index].as_str()?.parse::<f64>().ok().filter(|value| value.is_finite());
        let (price, quantity) = (number(0)? / self.tick_size, number(1)? / self.lot_size);
        let slack = 1e-6;
        let tick = match side {
            Side::Buy => libm::floor(price + slack),
            Side::Sell => libm::ceil(price - slack),
        } as i64;
        // A quantity below one lot is still there.
        let lots = (libm::round(quantity) as i64).max(i64::from(quantity > 0.0));
        (tick > 0).then_some(Level { tick, lots })
    }

    /// The snapshot replaces the book, as changes.
    fn replace(&mut self, snapshot: &Value, events: &mut Vec<MarketEvent>) {
        for (side, key) in [(Side::Buy, "bids"), (Side::Sell, "asks")] {
            let rows = snapshot[key].as_array().into_iter().flatten();
            let wanted: Vec<Level> = rows.filter_map(|row| self.level(side, row)).collect();
            let old: Vec<Level> = self.book.side(side).outward().collect();
            for level in old.iter().filter(|level| !wanted.iter().any(|new| new.tick == level.tick)) {
                self.change(side, Level { lots: 0, ..*level }, events);
            }
            for level in wanted {
                self.change(side, level, events);
            }
        }
        self.commit(events);
    }

    fn change(&mut self, side: Side, level: Level, events: &mut Vec<MarketEvent>) {
        self.book.side_mut(side).set(level.tick, level.lots);
        events.push(MarketEvent::Change { side, level });
    }

    fn commit(&mut self, events: &mut Vec<MarketEvent>) {
        if let Some((bid, ask)) = self.book.touch() {
            events.push(MarketEvent::Commit { bid, ask });
        }
    }

    /// Reads the next line that can be read; a damaged end ends the capture.
    fn read(&mut self) {
        loop {
            self.line.clear();
            if !self.lines.read_line(&mut self.line).is_ok_and(|length| length > 0) {
                return;
            }
            if let Some(parsed) = parse(&self.line) {
                self.ahead = Some(parsed);
                return;
            }
        }
    }

    /// Begins again, with the snapshot.
    fn rewind(&mut self) {
        if let (Ok(seed), Ok(lines)) = (first_snapshot(&self.path), open(&self.path)) {
            self.lines = lines;
            self.seed = seed;
            self.shift_ns = None;
            self.read();
        }
    }
}

fn parse(line: &str) -> Option<(i64, Value)> {
    let (time, json) = line.split_once(' ')?;
    let time: i64 = time.parse().ok()?;
    // Older recordings have microseconds.
    let time_ns = if time < MICROSECONDS_BELOW { time.checked_mul(1_000)? } else { time };
    Some((time_ns, serde_json::from_str(json).ok()?))
}

fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, ExchangeError> {
    let file = File::open(path).map_err(|source| ExchangeError::File { action: "open", path: path.into(), source })?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file))))
}

fn first_snapshot(path: &Path) -> Result<Option<Value>, ExchangeError> {
    let lines = open(path)?.lines().take(SNAPSHOT_LINES).map_while(Result::ok);
    let snapshots = lines.filter(|line| line.contains("\"lastUpdateId\""));
    Ok(snapshots.filter_map(|line| parse(&line)).map(|(_, value)| value).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_nanoseconds_or_microseconds() {
        let time = |line: &str| parse(line).map(|(time, _)| time);
        assert_eq!(time("1723161253937085768 {}"), Some(1_723_161_253_937_085_768));
        assert_eq!(time("1680652800004107 {}"), Some(1_680_652_800_004_107_000));
        assert!(["", "1", "x {}", "1 {", "99999999999999999999 {}"].iter().all(|line| time(line).is_none()));
    }
}
