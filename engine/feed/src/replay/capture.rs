//! One recorded file, line by line, plain or compressed with gzip, zstd or xz: captures of frames and tables of rows.
//!
//! | format | a line |
//! |---|---|
//! | stamped | `<receive time, ns or us> <frame>` |
//! | cryptofeed, older | `<seconds>: <frame>`; `<url> -> <seconds>: <answer>`; `<url> <-> <seconds>`; `<url> <- ...` |
//! | cryptofeed, newer | `{"t":"recv"\|"http"\|..., "ts":<seconds>, "data":"<frame>", ...}` |
//! | tables | see [`Format`]; told by their header, rows are handed out as frames |

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use tidegate_wire::decimal::quoted_scalar;
use tidegate_wire::{Scale, Venue};

use crate::capture::{CaptureHeader, EntryKind, MAGIC};
use crate::replay::native::Native;
use crate::replay::{ReplayError, SourceSpec};

/// How a capture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Receive time and frame.
    Stamped,
    /// cryptofeed up to version 2.
    CryptofeedText,
    /// cryptofeed version 3 (JSON lines).
    CryptofeedJson,
    /// Our own ([`crate::capture`]): everything that a live feed was given, in its order.
    Tidegate,
    /// Opening book of Coinbase as rows `side,price,size`: one frame. It has no time: it begins the updates it is given
    /// with.
    CoinbaseBook,
    /// Book changes of Coinbase as rows `side,price,size,time`: those of one instant are one frame.
    CoinbaseUpdates,
    /// Bitstamp's orders, trades and order books as lines `<ms> <kind> <json>`.
    BitstampOrders,
    /// Binance's kline files.
    BinanceKlines,
    /// One-minute bars of BitMEX as rows `open_time_s,open,high,low,close,volume_usd`.
    BitmexBuckets,
    /// Funding rates as rows `Symbol,Date,Funding Rate`; dates three hours ahead of UTC, rates fractions.
    Funding,
    /// Funding rates as a JSON list `[[ms, percent], ...]`.
    FundingPercent,
    /// Daily closes of a volatility index as a JSON list `[[ms of the day's begin, percentage points], ...]`.
    VolatilityIndex,
}

impl Format {
    /// Whether its frames are rows of a table, which [`crate::Feed::row`] reads, and not a venue's own frames.
    pub const fn is_table(self) -> bool {
        !matches!(self, Self::Stamped | Self::CryptofeedText | Self::CryptofeedJson | Self::Tidegate)
    }

    /// Whether a row that is lost leaves a hole in a book.
    pub(super) const fn is_depth(self) -> bool {
        matches!(self, Self::CoinbaseBook | Self::CoinbaseUpdates | Self::BitstampOrders)
    }
}

/// A frame as it was recorded; the buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// When it was received, ns since the Unix epoch.
    pub recv_ns: i64,
    /// What comes before what: never falls within a file. Frames of several connections may be stamped out of order.
    pub order_ns: i64,
    /// What a capture of our own says of it besides.
    pub own: Option<Own>,
    /// Its line, from 1.
    pub line: u64,
    /// The frame.
    pub bytes: Vec<u8>,
    /// Symbol of the request it answers, or of the table; empty for a stream frame.
    pub symbol: String,
    /// Market of the connection it came over, where the recording names the connection's address.
    pub venue: Option<Venue>,
}

/// What a capture of our own knows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// A frame, the passing of time, or a book taken out of service.
    pub kind: EntryKind,
    /// Which connection's.
    pub source: u16,
    /// Number of its instrument in the capture's header, where the frame does not say.
    pub hint: u16,
}

/// Reads one capture.
pub struct CaptureReader {
    pub(super) path: String,
    /// The file's name: it tells whose a table is.
    pub(super) name: String,
    pub(super) lines: Box<dyn BufRead + Send>,
    pub(super) format: Format,
    pub(super) buffer: Vec<u8>,
    pub(super) line: u64,
    /// A line that was read to find the format or the end of a frame, and not yet handed out.
    pub(super) pending: bool,
    pub(super) venue: Option<Venue>,
    /// Whether the user said so: then it holds for every connection.
    said: bool,
    /// Connections of a recording, by the name it gives them, with the market that their address tells.
    connections: Vec<(String, Option<Venue>)>,
    /// Symbol of a table whose rows do not name it.
    pub(super) symbol: String,
    /// Receive time of the last row, ns since the epoch; 0 before the first.
    pub(super) last_ns: i64,
    pub(super) bad_lines: u64,
    pub(super) unused_lines: u64,
    /// A capture of our own.
    pub(super) native: Option<Native>,
}

impl std::fmt::Debug for CaptureReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, format, line, .. } = self;
        f.debug_struct("CaptureReader").field("path", path).field("format", format).field("line", line).finish()
    }
}

impl CaptureReader {
    /// Opens a capture; compression and format are told from its first bytes.
    ///
    /// # Errors
    /// The file cannot be opened, is empty, or is no capture.
    pub fn open(spec: &SourceSpec) -> Result<Self, ReplayError> {
        let path = spec.path.display().to_string();
        let open = |source| ReplayError::Open { path: path.clone(), source };
        let mut file = BufReader::with_capacity(1 << 18, File::open(&spec.path).map_err(open)?);
        let magic = file.fill_buf().map_err(open)?;
        let native = if magic.starts_with(MAGIC) { Some(Native::open(&spec.path)?) } else { None };
        let lines: Box<dyn BufRead + Send> = match magic {
            [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(1 << 18, flate2::bufread::MultiGzDecoder::new(file))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(open)?;
                Box::new(BufReader::with_capacity(1 << 18, decoder))
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                Box::new(BufReader::with_capacity(1 << 18, lzma_rust2::XzReader::new(file, true)))
            }
            _ => Box::new(file),
        };
        let mut reader = Self {
            path,
            name: spec.name(),
            lines,
            format: Format::Stamped,
            buffer: Vec::with_capacity(1 << 16),
            line: 0,
            pending: true,
            venue: spec.venue,
            said: spec.venue.is_some(),
            connections: Vec::new(),
            symbol: String::new(),
            last_ns: 0,
            bad_lines: 0,
            unused_lines: 0,
            native,
        };
        reader.detect()?;
        Ok(reader)
    }

    fn detect(&mut self) -> Result<(), ReplayError> {
        if let Some(native) = &self.native {
            (self.format, self.venue) = (Format::Tidegate, native.header().instruments.first().map(|i| i.venue));
            return Ok(());
        }
        if !self.read_line()? {
            return Err(self.unknown("the file is empty"));
        }
        let line = &self.buffer[..];
        if let Some(format) = crate::tables::stamps::format_of(line) {
            return self.begin_table(format);
        }
        if line.first() == Some(&b'[') {
            return self.begin_list();
        }
        self.format = if stamped(line).is_some() {
            Format::Stamped
        } else if line.starts_with(b"{\"t\":") {
            Format::CryptofeedJson
        } else if line.starts_with(b"configuration: ")
            || seconds(line).is_some_and(|(_, rest)| rest.starts_with(b": "))
            || split(line, b" -> ").or_else(|| split(line, b" <-> ")).is_some()
        {
            Format::CryptofeedText
        } else {
            let start = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
            return Err(self.unknown(&format!(
                "no capture: line 1 begins {start:?}, expected `<ns> <frame>`, a cryptofeed recording or a known table"
            )));
        };
        Ok(())
    }

    pub(super) fn unknown(&self, reason: &str) -> ReplayError {
        ReplayError::Format { path: self.path.clone(), reason: reason.into() }
    }

    /// How the capture is written.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The market, where the capture itself or the user has said so.
    pub const fn venue(&self) -> Option<Venue> {
        self.venue
    }

    /// Lines that should have been frames but could not be read.
    pub const fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Lines that are no frames: requests, connections, other answers, configuration.
    pub const fn unused_lines(&self) -> u64 {
        self.unused_lines
    }

    /// The next frame into `captured`; `false` at the end.
    ///
    /// # Errors
    /// [`ReplayError::Damaged`] when the compressed stream breaks off; everything before it was delivered.
    pub fn next(&mut self, captured: &mut Captured) -> Result<bool, ReplayError> {
        if let Some(native) = &mut self.native {
            return native.next(captured);
        }
        let more = if self.format.is_table() { self.next_rows(captured)? } else { self.next_line(captured)? };
        captured.order_ns = captured.recv_ns;
        Ok(more)
    }

    /// The header of a capture of our own.
    pub fn header(&self) -> Option<&CaptureHeader> {
        self.native.as_ref().map(Native::header)
    }

    fn next_line(&mut self, captured: &mut Captured) -> Result<bool, ReplayError> {
        loop {
            if self.pending {
                self.pending = false;
            } else if !self.read_line()? {
                return Ok(false);
            }
            if self.buffer.is_empty() {
                continue;
            }
            captured.line = self.line;
            captured.symbol.clear();
            captured.venue = None;
            let outcome = match self.format {
                Format::Stamped => read_stamped(&self.buffer, captured),
                Format::CryptofeedText => read_text(&self.buffer, captured, &mut self.venue),
                _ => read_json(&self.buffer, captured, &mut self.venue, &mut self.connections),
            };
            if self.said {
                captured.venue = self.venue;
            }
            match outcome {
                Outcome::Frame => return Ok(true),
                Outcome::Unused => self.unused_lines += 1,
                Outcome::Bad => self.bad_lines += 1,
            }
        }
    }

    /// Reads a line without its end into the buffer; `false` at the end of the file.
    pub(super) fn read_line(&mut self) -> Result<bool, ReplayError> {
        self.buffer.clear();
        match self.lines.by_ref().read_until(b'\n', &mut self.buffer) {
            Ok(0) => Ok(false),
            Ok(_) => {
                self.line += 1;
                while self.buffer.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                    self.buffer.pop();
                }
                Ok(true)
            }
            Err(source) => Err(ReplayError::Damaged { path: self.path.clone(), line: self.line, source }),
        }
    }
}

enum Outcome {
    Frame,
    Unused,
    Bad,
}

fn split<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).take(4096).position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

/// A stamp beyond the year 2100 is no stamp: one such line would carry event time away for good.
pub(crate) const LATEST_NS: i64 = 4_102_444_800_000_000_000;

/// Receive time and the rest of a stamped line. 19 digits are nanoseconds, 16 microseconds, 13 milliseconds.
fn stamped(line: &[u8]) -> Option<(i64, &[u8])> {
    let digits = line.iter().position(|b| !b.is_ascii_digit())?;
    let rest = line[digits..].strip_prefix(b" ")?;
    let (value, _) = quoted_scalar(&line[..digits], Scale::default()).ok()?;
    let scale = match digits {
        19 => 1,
        16 => 1_000,
        13 => 1_000_000,
        _ => return None,
    };
    let recv_ns = value.checked_mul(scale)?;
    (recv_ns < LATEST_NS).then_some((recv_ns, rest))
}

/// Seconds since the epoch as nanoseconds, and what follows them.
fn seconds(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().position(|b| !b.is_ascii_digit() && *b != b'.').unwrap_or(text.len());
    // Python prints at most seven decimals of such a number; anything beyond nine is noise of the last bit.
    let kept = text[..length].iter().position(|b| *b == b'.').map_or(length, |dot| length.min(dot + 10));
    let (ns, _) = quoted_scalar(&text[..kept], Scale::saturating(9)).ok()?;
    (ns < LATEST_NS).then_some((ns, &text[length..]))
}

fn read_stamped(line: &[u8], captured: &mut Captured) -> Outcome {
    let Some((recv_ns, frame)) = stamped(line) else { return Outcome::Bad };
    take(captured, recv_ns, frame);
    Outcome::Frame
}

fn take(captured: &mut Captured, recv_ns: i64, frame: &[u8]) {
    captured.recv_ns = recv_ns;
    captured.bytes.clear();
    captured.bytes.extend_from_slice(frame);
}

fn read_text(line: &[u8], captured: &mut Captured, venue: &mut Option<Venue>) -> Outcome {
    if let Some((recv_ns, rest)) = seconds(line).filter(|_| line[0].is_ascii_digit()) {
        let Some(frame) = rest.strip_prefix(b": ") else { return Outcome::Bad };
        take(captured, recv_ns, frame);
        return Outcome::Frame;
    }
    if let Some((url, rest)) = split(line, b" -> ") {
        let url = String::from_utf8_lossy(url);
        *venue = venue.or_else(|| venue_of_url(&url));
        let Some(symbol) = depth_request(&url) else { return Outcome::Unused };
        let Some((recv_ns, rest)) = seconds(rest) else { return Outcome::Bad };
        let Some(frame) = rest.strip_prefix(b": ") else { return Outcome::Bad };
        take(captured, recv_ns, frame);
        captured.symbol.push_str(symbol);
        return Outcome::Frame;
    }
    if let Some((url, _)) = split(line, b" <-> ") {
        *venue = venue.or_else(|| venue_of_url(&String::from_utf8_lossy(url)));
    }
    Outcome::Unused
}

/// The members of a cryptofeed version 3 line that matter.
#[derive(serde::Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    t: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    ts: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    data: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default, alias = "addr")]
    url: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    conn: Option<std::borrow::Cow<'a, str>>,
}

/// Most connections of one recording whose address is remembered.
const CONNECTIONS: usize = 4096;

fn read_json(
    line: &[u8],
    captured: &mut Captured,
    venue: &mut Option<Venue>,
    connections: &mut Vec<(String, Option<Venue>)>,
) -> Outcome {
    let Ok(line) = serde_json::from_slice::<JsonLine<'_>>(line) else { return Outcome::Bad };
    let known = line.conn.as_ref().and_then(|conn| connections.iter().position(|(name, _)| name == conn));
    if let Some(url) = &line.url {
        let told = venue_of_url(url);
        *venue = venue.or(told);
        match (&line.conn, known) {
            (_, Some(known)) => connections[known].1 = told,
            (Some(conn), None) if connections.len() < CONNECTIONS => connections.push((conn.to_string(), told)),
            _ => {}
        }
    }
    captured.venue = known.and_then(|known| connections[known].1);
    let symbol = match &*line.t {
        "recv" => "",
        "http" => match line.url.as_deref().and_then(depth_request) {
            Some(symbol) => symbol,
            None => return Outcome::Unused,
        },
        _ => return Outcome::Unused,
    };
    let (Some(ts), Some(data)) = (line.ts, &line.data) else { return Outcome::Bad };
    // With an exponent it would be another number.
    let Some((recv_ns, [])) = seconds(ts.get().as_bytes()) else { return Outcome::Bad };
    take(captured, recv_ns, data.as_bytes());
    captured.symbol.push_str(symbol);
    Outcome::Frame
}

/// The symbol that a REST depth request asks for.
fn depth_request(url: &str) -> Option<&str> {
    let (path, query) = url.split_once('?')?;
    path.ends_with("/depth").then_some(())?;
    query.split('&').find_map(|pair| pair.strip_prefix("symbol="))
}

/// A venue's market by address: by host, and by path where one host serves several markets.
fn venue_of_url(url: &str) -> Option<Venue> {
    let address = url.split("://").nth(1)?;
    let host = address.split(['/', ':', '?']).next()?;
    let path = &address[host.len()..];
    let of = |domains: &[&str]| domains.iter().any(|domain| host.ends_with(domain));
    match host {
        _ if of(&[".okx.com", ".okex.com"]) => Some(Venue::Okx),
        _ if of(&[".deribit.com"]) => Some(Venue::Deribit),
        // Frames say which of Bitget's markets they are of.
        _ if of(&[".bitget.com"]) && path.contains("spot") => Some(Venue::BitgetSpot),
        _ if of(&[".bitget.com"]) => Some(Venue::BitgetUsdt),
        _ if of(&[".bybit.com", ".bytick.com"]) && path.contains("spot") => Some(Venue::BybitSpot),
        _ if of(&[".bybit.com", ".bytick.com"]) && path.contains("inverse") => Some(Venue::BybitInverse),
        _ if of(&[".bybit.com", ".bytick.com"]) => Some(Venue::Bybit),
        _ if !of(&[".binance.com", ".binance.us"]) => None,
        _ if host.starts_with("fstream") || host.starts_with("fapi") => Some(Venue::BinanceUsdm),
        _ if host.starts_with("dstream") || host.starts_with("dapi") => Some(Venue::BinanceCoinm),
        _ => Some(Venue::BinanceSpot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_every_kind_become_nanoseconds() {
        assert_eq!(stamped(b"1723161255030314667 {}"), Some((1_723_161_255_030_314_667, &b"{}"[..])));
        assert_eq!(stamped(b"1680652701048293 {}"), Some((1_680_652_701_048_293_000, &b"{}"[..])));
        assert_eq!(stamped(b"1680652701048 {}"), Some((1_680_652_701_048_000_000, &b"{}"[..])));
        for wrong in ["", "12 {}", "1723161255030314667", "1723161255030314667{}", "x", "9123161255030314667 {}"] {
            assert_eq!(stamped(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(seconds(b"1617647603.4249449: {}"), Some((1_617_647_603_424_944_900, &b": {}"[..])));
        assert_eq!(seconds(b"1617647603"), Some((1_617_647_603_000_000_000, &b""[..])));
        assert_eq!(seconds(b"1.12345678912"), Some((1_123_456_789, &b""[..])));
        assert_eq!(seconds(b"4102444800"), None, "beyond 2100");
    }

    #[test]
    fn hosts_name_their_market() {
        for (url, venue) in [
            ("wss://stream.binance.com:9443/stream?streams=x", Some(Venue::BinanceSpot)),
            ("https://www.binance.com/api/v1/depth?symbol=A", Some(Venue::BinanceSpot)),
            ("wss://stream.binance.us:9443/stream", Some(Venue::BinanceSpot)),
            ("https://fapi.binance.com/fapi/v1/depth", Some(Venue::BinanceUsdm)),
            ("wss://dstream.binance.com/stream", Some(Venue::BinanceCoinm)),
            ("wss://ws.okx.com:8443/ws/v5/public", Some(Venue::Okx)),
            ("wss://stream.bybit.com/v5/public/linear", Some(Venue::Bybit)),
            ("wss://stream.bybit.com/v5/public/spot", Some(Venue::BybitSpot)),
            ("wss://stream.bybit.com/v5/public/inverse", Some(Venue::BybitInverse)),
            ("wss://ws.bitget.com/spot/v1/stream", Some(Venue::BitgetSpot)),
            ("wss://ws.bitget.com/v2/ws/public", Some(Venue::BitgetUsdt)),
            ("wss://www.deribit.com/ws/api/v2", Some(Venue::Deribit)),
            ("wss://www.bitmex.com/realtime", None),
            ("nonsense", None),
        ] {
            assert_eq!(venue_of_url(url), venue, "{url}");
        }
        assert_eq!(depth_request("https://x/api/v3/depth?symbol=ABC&limit=5"), Some("ABC"));
        assert_eq!(depth_request("https://x/api/v3/exchangeInfo"), None);
    }
}
