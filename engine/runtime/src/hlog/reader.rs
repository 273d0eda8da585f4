//! Reading a log, of ours or of any tool that writes the format.

use std::path::Path;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::HlogError;

/// Some writers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Interval starts more than a year before the log's start time are offsets from it; the rule of the reference
/// implementation for logs without a base time.
const YEAR_S: f64 = 365.0 * 24.0 * 3600.0;

/// One line of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// What was measured; empty when the line has no tag.
    pub tag: String,
    /// When the interval began, in s since the epoch where the log says when it started, else as written.
    pub start_s: f64,
    /// How long it lasted, in s.
    pub duration_s: f64,
    /// The values; ns in our logs.
    pub histogram: Histogram<u64>,
}

/// A log as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// The `StartTime` header, in s since the epoch.
    pub start_time_s: Option<f64>,
    /// Intervals in file order.
    pub intervals: Vec<Interval>,
    /// Lines that are neither header, comment, legend nor interval: skipped.
    pub unknown_lines: usize,
    /// 1 when the last line breaks off (a writer that is running, or that died), else 0: skipped.
    pub torn_lines: usize,
}

/// Reads a whole log.
///
/// # Errors
/// When the file cannot be read, or a line other than the last starts like an interval and is none.
pub fn read(path: &Path) -> Result<Log, HlogError> {
    let bytes = std::fs::read(path).map_err(|error| HlogError::io(path, error))?;
    parse(path, &bytes)
}

/// Reads a log that is already in memory; `path` is only for messages.
///
/// # Errors
/// When a line other than the last starts like an interval and is none.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Log, HlogError> {
    let mut parser = Parser::default();
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let is_whole = line.ends_with(b"\n");
        match parser.line(line) {
            // Only the last line can lack its end, and then nothing it says is an error.
            Err(_) if !is_whole => parser.log.torn_lines += 1,
            Err(problem) => return Err(HlogError::Line { path: path.to_owned(), line: parser.lines, problem }),
            Ok(()) => {}
        }
    }
    Ok(parser.log)
}

/// The state between lines; shared by the whole-file reader and the follower.
#[derive(Default)]
pub(super) struct Parser {
    pub(super) log: Log,
    /// Lines taken so far.
    pub(super) lines: usize,
    /// What interval starts count from, in s since the epoch.
    base_s: Option<f64>,
    decoder: Deserializer,
    encoded: Vec<u8>,
}

impl Parser {
    /// Takes one line, with or without its end. An error says what is wrong with it, and the line is then skipped.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), String> {
        self.lines += 1;
        let Ok(text) = std::str::from_utf8(line) else {
            // Not text at all: no interval either, unless it begins like one.
            return match line.first() {
                Some(b'T' | b'0'..=b'9') => Err(String::from("not UTF-8")),
                _ => self.skip(),
            };
        };
        let text = text.trim();
        if let Some(comment) = text.strip_prefix('#') {
            self.header(comment);
            return Ok(());
        }
        if text.is_empty() || text.starts_with('"') {
            return Ok(());
        }
        if !text.starts_with("Tag=") && !text.starts_with(|c: char| c.is_ascii_digit()) {
            return self.skip();
        }
        let interval = self.interval(text)?;
        self.log.intervals.push(interval);
        Ok(())
    }

    fn skip(&mut self) -> Result<(), String> {
        self.log.unknown_lines += 1;
        Ok(())
    }

    fn header(&mut self, comment: &str) {
        if let Some(seconds) = header_seconds(comment, "[StartTime:") {
            self.log.start_time_s = Some(seconds);
        } else if let Some(seconds) = header_seconds(comment, "[BaseTime:") {
            self.base_s = Some(seconds);
        }
    }

    fn interval(&mut self, text: &str) -> Result<Interval, String> {
        let (tag, rest) = match text.strip_prefix("Tag=") {
            Some(tagged) => tagged.split_once(',').ok_or("no comma after the tag")?,
            None => ("", text),
        };
        let mut fields = rest.splitn(4, ',');
        let written_s = number(fields.next(), "start")?;
        let duration_s = number(fields.next(), "length")?;
        let _max = number(fields.next(), "maximum")?;
        let payload = fields.next().ok_or("no histogram after the maximum")?;
        let base_s = *self.base_s.get_or_insert(match self.log.start_time_s {
            Some(start_s) if written_s < start_s - YEAR_S => start_s,
            _ => 0.0,
        });
        let histogram = self.histogram(payload.trim())?;
        Ok(Interval { tag: tag.to_owned(), start_s: base_s + written_s, duration_s, histogram })
    }

    fn histogram(&mut self, payload: &str) -> Result<Histogram<u64>, String> {
        self.encoded.clear();
        BASE64
            .decode_vec(payload, &mut self.encoded)
            .map_err(|error| format!("the histogram is not base64: {error}"))?;
        self.decoder
            .deserialize(&mut self.encoded.as_slice())
            .map_err(|error| format!("the histogram cannot be decoded: {error}"))
    }
}

/// The number after `name` in a header: `[StartTime: 1441812279.474 (seconds since epoch), ...]`.
fn header_seconds(comment: &str, name: &str) -> Option<f64> {
    let value = comment.trim_start().strip_prefix(name)?.trim_start();
    let end = value.find([' ', ']', ',']).unwrap_or(value.len());
    value[..end].parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

fn number(field: Option<&str>, what: &str) -> Result<f64, String> {
    let text = field.ok_or_else(|| format!("the {what} is missing"))?.trim();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("the {what} is not a number: `{text}`")),
    }
}
