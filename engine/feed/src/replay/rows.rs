//! Tables: rows of a file as frames.

use std::io::{Cursor, Read};

use serde_json::value::RawValue;

use crate::replay::ReplayError;
use crate::replay::capture::{CaptureReader, Captured, Format};
use crate::tables::{names, stamps};

/// Largest list that is read; such a file is read whole.
const LIST_BYTES: u64 = 64 << 20;

impl CaptureReader {
    /// The first line told the format: whose rows follow?
    pub(super) fn begin_table(&mut self, format: Format) -> Result<(), ReplayError> {
        self.format = format;
        self.symbol = names::symbol(format, &self.name).map_err(|reason| self.unknown(&reason))?;
        let venue = names::venue(format, &self.name, self.venue, &self.symbol);
        self.venue = Some(venue.map_err(|reason| self.unknown(&reason))?);
        Ok(())
    }

    /// A list `[[ms, value], ...]` over any number of lines becomes rows `ms,value`; `line` counts its entries then.
    pub(super) fn begin_list(&mut self) -> Result<(), ReplayError> {
        let format = names::list_format(&self.name, self.venue).ok_or_else(|| {
            self.unknown(
                "no capture, or a list that does not tell what it holds: say deribit=FILE (volatility) or binance-usdm=FILE (funding)",
            )
        })?;
        let mut text = std::mem::take(&mut self.buffer);
        text.push(b'\n');
        let rest = self.lines.by_ref().take(LIST_BYTES).read_to_end(&mut text);
        rest.map_err(|source| ReplayError::Damaged { path: self.path.clone(), line: self.line, source })?;
        let pairs: Vec<(i64, &RawValue)> =
            serde_json::from_slice(&text).map_err(|error| self.unknown(&format!("no list of [ms, value]: {error}")))?;
        let rows: String = pairs.iter().map(|(ms, value)| format!("{ms},{}\n", value.get())).collect();
        (self.lines, self.line, self.pending) = (Box::new(Cursor::new(rows.into_bytes())), 0, false);
        self.begin_table(format)
    }

    /// The rows of the next frame into `captured`; `false` at the end.
    pub(super) fn next_rows(&mut self, captured: &mut Captured) -> Result<bool, ReplayError> {
        captured.bytes.clear();
        captured.symbol.clear();
        loop {
            if !std::mem::take(&mut self.pending) && !self.read_line()? {
                return Ok(!captured.bytes.is_empty());
            }
            let row = &self.buffer[..];
            // Headers stand at the beginning, and again wherever files were put one behind the other.
            let header = stamps::format_of(row).filter(|_| !row.first().is_some_and(u8::is_ascii_digit));
            if row.is_empty() || header == Some(self.format) {
                self.unused_lines += u64::from(!row.is_empty());
                continue;
            }
            let known = stamps::known_ns(self.format, row);
            let recv_ns = match known {
                Some(ns) => ns,
                None if self.format == Format::CoinbaseBook => 0,
                // The row of a book must not vanish: the decoder cannot read it either, and leaves a gap for it.
                None if self.format.is_depth() && self.last_ns != 0 => self.last_ns,
                None => {
                    self.bad_lines += 1;
                    continue;
                }
            };
            let begins = captured.bytes.is_empty();
            if !begins && recv_ns != captured.recv_ns {
                self.pending = true;
                return Ok(true);
            }
            if begins {
                (captured.recv_ns, captured.line) = (recv_ns, self.line);
                match self.format {
                    Format::Funding => captured.symbol.extend(names::row_symbol(row)),
                    _ => captured.symbol.push_str(&self.symbol),
                }
            } else {
                captured.bytes.push(b'\n');
            }
            self.last_ns = recv_ns;
            captured.bytes.extend_from_slice(&self.buffer);
            if !matches!(self.format, Format::CoinbaseBook | Format::CoinbaseUpdates) {
                return Ok(true);
            }
        }
    }
}
