//! The picture.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use serde_json::Value;

use super::seen::{Condition, Seen};
use crate::commands::running::text;
use crate::output::duration;

const GOOD: Color = Color::Green;
const WARN: Color = Color::Yellow;
const BAD: Color = Color::Red;

/// Draws everything; `scroll` leaves out that many of the newest trips.
pub(super) fn draw(frame: &mut Frame<'_>, seen: &Seen, scroll: usize, held: bool) {
    let [head, upper, lower, trips] =
        Layout::vertical([Constraint::Length(3), Constraint::Length(12), Constraint::Length(14), Constraint::Min(5)])
            .areas(frame.area());
    header(frame, head, seen, held);
    let [market, stopped] = Layout::horizontal([Constraint::Percentage(57), Constraint::Percentage(43)]).areas(upper);
    books(frame, market, seen);
    open(frame, stopped, seen);
    let [fast, models, feeds] =
        Layout::horizontal([Constraint::Percentage(45), Constraint::Percentage(27), Constraint::Percentage(28)])
            .areas(lower);
    latency(frame, fast, seen);
    loaded(frame, models, seen);
    links(frame, feeds, seen);
    told(frame, trips, seen, scroll);
}

fn header(frame: &mut Frame<'_>, area: Rect, seen: &Seen, held: bool) {
    let (condition, age) = seen.condition();
    let since = age.map_or_else(|| "never".into(), short);
    let (text, colour) = match condition {
        Condition::Live => ("● LIVE".to_owned(), GOOD),
        Condition::Stale => (format!("▲ STALE {since}"), WARN),
        Condition::Disconnected => (format!("■ DISCONNECTED {since}"), BAD),
    };
    let stopped = seen.one("breakers")["open"].as_array().map_or(0, Vec::len);
    let thrown = seen.one("risk")["thrown"].as_array().map_or(0, Vec::len);
    let known = condition != Condition::Disconnected && seen.of("breakers", "").is_some();
    let trading = match (thrown, stopped) {
        _ if !known => Span::raw("○ trading unknown"),
        (0, 0) => Span::styled("● trading allowed", Style::new().fg(GOOD)),
        (0, open) => Span::styled(format!("■ {open} breakers not closed"), Style::new().fg(BAD)),
        (thrown, _) => Span::styled(format!("■ {thrown} kill switches thrown"), Style::new().fg(BAD)),
    };
    let counts = seen.of("engine", "counts");
    let pace = counts.and_then(|entry| entry["data"]["vectors_per_s"].as_f64()).unwrap_or(0.0);
    let event = counts.and_then(|entry| entry["event_ns"].as_u64()).map_or_else(|| "-".into(), clock);
    let entries = seen.one("audit")["entries"].as_u64().map_or_else(|| "-".into(), |n| n.to_string());
    let bold = Style::new().fg(colour).add_modifier(Modifier::BOLD);
    let mut line = vec![
        Span::styled(text, bold),
        "   ".into(),
        trading,
        format!("   event time {event}   {pace:.0} events/s   audit {entries} entries").into(),
    ];
    if held {
        line.push(Span::styled("   HELD (p)", Style::new().fg(WARN)));
    }
    let title = " tidegate top   q end   p hold   up/down trips ";
    let second = seen.error.clone().map_or_else(Line::default, |error| Line::styled(error, Style::new().fg(BAD)));
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(vec![line.into(), second]).block(block), area);
}

fn table<'a>(title: &'a str, heads: &[&'a str], widths: &[u16], rows: Vec<Row<'a>>) -> Table<'a> {
    let header = Row::new(heads.iter().map(|head| Cell::from(*head))).style(Style::new().add_modifier(Modifier::DIM));
    let widths = widths.iter().map(|width| Constraint::Length(*width));
    Table::new(rows, widths).header(header).block(Block::new().borders(Borders::ALL).title(title))
}

fn state(text: &str) -> Span<'static> {
    let (shape, colour) = match text {
        "closed" | "good" | "active" | "connected" => ("●", GOOD),
        "half-open" | "cooling" | "building" | "synchronised" | "realigning" | "authenticating" | "shadow" => {
            ("◐", WARN)
        }
        "previous" => ("○", Color::Reset),
        _ => ("■", BAD),
    };
    Span::styled(format!("{shape} {text}"), Style::new().fg(colour))
}

fn number(value: &Value) -> String {
    match value.as_f64() {
        None => "-".into(),
        Some(0.0) => "0".into(),
        Some(value) if value.abs() >= 1_000.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

/// A duration of ns as everywhere.
fn ns(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), |ns| duration(ns.max(0.0) as u64))
}

fn short(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn clock(ns: u64) -> String {
    let seconds = ns / 1_000_000_000 % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03} UTC", seconds % 60, ns / 1_000_000 % 1_000)
}

fn books(frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
    let row = |(name, entry): (&str, &Value)| {
        let data = &entry["data"];
        let cells = vec![
            Cell::from(name.to_owned()),
            Cell::from(number(&data["mid"])),
            Cell::from(number(&data["spread_bp"])),
            Cell::from(state(&text(&data["flow"]))),
            Cell::from(state(&text(&data["quality"]))),
            Cell::from(seen.age(entry).map_or_else(|| "-".into(), short)),
        ];
        Row::new(cells)
    };
    let rows = seen.all("price").map(row).collect();
    let heads = ["instrument", "mid", "bp", "flow", "book", "age"];
    frame.render_widget(table(" Books ", &heads, &[20, 9, 6, 12, 9, 5], rows), area);
}

fn open(frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
    let row = |one: &Value| {
        let cells = vec![
            Cell::from(text(&one["name"])),
            Cell::from(text(&one["rule"])),
            Cell::from(state(&text(&one["to"]))),
            Cell::from(number(&one["value"])),
        ];
        Row::new(cells)
    };
    let rows: Vec<Row<'_>> = seen.one("breakers")["open"].as_array().into_iter().flatten().map(row).collect();
    let title = if seen.of("breakers", "").is_none() {
        " Breakers: unknown "
    } else if rows.is_empty() {
        " Breakers: all closed "
    } else {
        " Breakers that are not closed "
    };
    frame.render_widget(table(title, &["of", "rule", "state", "measured"], &[20, 12, 9, 7], rows), area);
}

fn latency(frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
    let stages = seen.one("latency")["stages"].as_array().into_iter().flatten();
    let row = |one: &Value| {
        let total = &one["total"];
        let keys = ["p50", "p99", "p99_9", "max"];
        let cells = keys.iter().map(|key| Cell::from(ns(&total[*key])));
        Row::new(std::iter::once(Cell::from(text(&one["stage"]))).chain(cells).collect::<Vec<_>>())
    };
    let rows = stages.filter(|one| one["of_venue"] == false).map(row).collect();
    let heads = ["stage", "p50", "p99", "p99.9", "largest"];
    frame.render_widget(table(" Latency ", &heads, &[14, 9, 9, 9, 9], rows), area);
}

fn loaded(frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
    let row = |one: &Value| {
        Row::new(vec![
            Cell::from(text(&one["name"])),
            Cell::from(text(&one["version"])),
            Cell::from(state(if one["state"] == "active" { "active" } else { one["state"].as_str().unwrap_or("-") })),
        ])
    };
    let rows: Vec<Row<'_>> = seen.one("models")["loaded"].as_array().into_iter().flatten().map(row).collect();
    let title = if rows.is_empty() { " Models: none, static profiles " } else { " Models " };
    frame.render_widget(table(title, &["model", "v", "state"], &[17, 3, 10], rows), area);
}

fn links(frame: &mut Frame<'_>, area: Rect, seen: &Seen) {
    let row = |one: &Value| {
        let heard = one["heard_ms"].as_u64().map_or_else(|| "-".into(), |ms| short(Duration::from_millis(ms)));
        Row::new(vec![Cell::from(text(&one["venue"])), Cell::from(state(&text(&one["state"]))), Cell::from(heard)])
    };
    let rows: Vec<Row<'_>> = seen.one("feeds")["links"].as_array().into_iter().flatten().map(row).collect();
    let title = if rows.is_empty() { " Feeds: recorded captures " } else { " Feeds " };
    frame.render_widget(table(title, &["market", "state", "heard"], &[13, 13, 6], rows), area);
}

fn told(frame: &mut Frame<'_>, area: Rect, seen: &Seen, scroll: usize) {
    let row = |entry: &Value| {
        let one = &entry["data"];
        Row::new(vec![
            Cell::from(one["event_ns"].as_u64().map_or_else(|| "-".into(), clock)),
            Cell::from(format!("{} {}", text(&one["scope"]), text(&one["name"]))),
            Cell::from(text(&one["rule"])),
            Cell::from(state(&text(&one["to"]))),
            Cell::from(text(&one["cause"])),
            Cell::from(format!("{} / {}", number(&one["value"]), number(&one["threshold"]))),
        ])
    };
    let room = usize::from(area.height.saturating_sub(3));
    let scroll = scroll.min(seen.trips.len().saturating_sub(1));
    let rows = seen.trips.iter().rev().skip(scroll).take(room).map(row).collect();
    let heads = ["event time", "of", "rule", "state", "why", "measured / trips"];
    frame.render_widget(table(" Breakers' changes, newest first ", &heads, &[17, 33, 18, 12, 13, 20], rows), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    fn picture(seen: &Seen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(120, 40)).expect("a terminal");
        terminal.draw(|frame| draw(frame, seen, 0, false)).expect("drawn");
        let content = &terminal.backend().buffer().content;
        let lines = content.chunks(120).map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }

    fn answer(wall_ns: u64) -> Value {
        let open = json!({ "name": "engine", "rule": "manual", "to": "tripped", "value": null, "threshold": 0.0 });
        let total = json!({ "p50": 1_450, "p99": 12_000, "p99_9": null, "max": 2_500_000, "count": 100_000 });
        let trip = json!({
            "scope": "instrument", "name": "BTCUSDT.okx", "rule": "spread", "to": "cooling", "cause": "released",
            "value": 0.5, "threshold": 8.0, "event_ns": 1_700_000_000_123_000_000u64,
        });
        json!({
            "wall_ns": wall_ns,
            "trips": [{ "data": trip }],
            "state": [
                { "topic": "price", "key": "BTCUSDT.okx", "wall_ns": 1_000_000_000u64, "data": {
                    "mid": 61_810.15, "spread_bp": 0.0162, "flow": "active", "quality": "good" } },
                { "topic": "breakers", "wall_ns": 1, "data": { "open": [open] } },
                { "topic": "latency", "wall_ns": 1, "data": { "stages": [
                    { "stage": "total", "of_venue": false, "total": total }] } },
                { "topic": "models", "wall_ns": 1, "data": { "loaded": [
                    { "name": "breaker-tuner", "version": 3, "state": "active" }] } },
                { "topic": "feeds", "wall_ns": 1, "data": { "links": [
                    { "venue": "okx", "state": "realigning", "heard_ms": 120 }] } },
            ],
        })
    }

    #[test]
    fn everything_is_in_the_picture() {
        let mut seen = Seen::default();
        assert!(picture(&seen).contains("■ DISCONNECTED never"));
        seen.take(answer(1_400_000_000));
        let shown = picture(&seen);
        for what in [
            "● LIVE",
            "■ 1 breakers not closed",
            "BTCUSDT.okx",
            "61810.15",
            "■ tripped",
            "1.45 us",
            "12.0 us",
            "2.50 ms",
            "breaker-tuner",
            "okx",
            "◐ realigning",
            "22:13:20.123 UTC",
            "released",
        ] {
            assert!(shown.contains(what), "{what}\n{shown}");
        }
        seen.take(answer(9_000_000_000));
        assert!(picture(&seen).contains("▲ STALE 8.0 s"));
        seen.lost("connection refused".into());
        let lost = picture(&seen);
        assert!(lost.contains("■ DISCONNECTED") && lost.contains("connection refused") && lost.contains("61810.15"));
    }
}
