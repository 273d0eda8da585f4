//! The command on real logs, and the shapes it prints.

use std::time::{Duration, UNIX_EPOCH};

use clap::Parser as _;
use tidegate_runtime::hlog::LogWriter;

use super::*;
use crate::exit::Failed;

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn args(list: &[&str]) -> Args {
    Command::try_parse_from(std::iter::once("hist").chain(list.iter().copied())).unwrap().args
}

fn log(directory: &Path, name: &str, tags: &[(&str, u64)]) -> String {
    let path = directory.join(name);
    let mut log = LogWriter::create(&path, UNIX_EPOCH).unwrap();
    for &(tag, count) in tags {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        (0..count).for_each(|k| histogram.record(1_000 + k).unwrap());
        log.write_interval(tag, Duration::ZERO, Duration::from_secs(1), &histogram).unwrap();
    }
    path.display().to_string()
}

fn exit_of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failed>().map_or(Exit::Failure, |failed| failed.exit)
}

#[test]
fn the_json_has_a_summary_a_tag_and_null_for_what_is_not_known() {
    let directory = tempfile::tempdir().unwrap();
    let path = log(directory.path(), "a.hlog", &[("parse", 20_000), ("", 50)]);
    let logs = [TaggedLog::read(Path::new(&path)).unwrap()];
    let json = serde_json::to_value(Report::of(&logs)).unwrap();
    let tags = &json["files"][0]["tags"];
    assert_eq!(tags["parse"]["count"], 20_000);
    assert!(tags["parse"]["p999_ns"].is_u64() && tags["parse"]["p9999_ns"].is_null());
    for key in ["p50_ns", "p90_ns", "p99_ns", "max_ns"] {
        assert!(tags[UNTAGGED][key].is_u64(), "{key}");
    }
    assert!(tags[UNTAGGED]["p999_ns"].is_null());
}

#[test]
fn the_table_shows_a_hyphen_for_what_is_not_known() {
    let directory = tempfile::tempdir().unwrap();
    let path = log(directory.path(), "a.hlog", &[("parse", 9_999)]);
    let logs = [TaggedLog::read(Path::new(&path)).unwrap()];
    let text = table(&all_series(&logs)).to_string();
    let last: Vec<&str> = text.lines().last().unwrap().split_ascii_whitespace().collect();
    assert_eq!(last[..2], ["parse", "9999"]);
    assert_eq!(last.iter().filter(|cell| **cell == NO_FIGURE).count(), 2, "{text}");
}

#[test]
fn pictures_pages_and_tables_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let a = log(directory.path(), "a.hlog", &[("parse", 2_000), ("book", 2_000)]);
    let b = log(directory.path(), "b.hlog", &[("parse", 3_000), ("other", 1)]);
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (svg, html, hgrm) = (at("p.svg"), at("p.html"), at("p.hgrm"));
    let command = args(&["--compare", &a, &b, "--svg", &svg, "--html", &html, "--hgrm", &hgrm]);
    assert_eq!(run(&command).unwrap(), Exit::Ok);
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));
    assert!(std::fs::read_to_string(html).unwrap().starts_with("<!doctype html>"));
    for name in ["p.parse--a.hlog.hgrm", "p.book--a.hlog.hgrm", "p.other--b.hlog.hgrm"] {
        assert!(directory.path().join(name).exists(), "{name}");
    }
}

#[test]
fn failures_have_their_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let good = log(directory.path(), "a.hlog", &[("parse", 10)]);
    let prose = directory.path().join("prose.txt");
    std::fs::write(&prose, "hello\nworld\n").unwrap();
    let prose = prose.display().to_string();
    for (list, exit) in [
        (vec!["no/such.hlog"], Exit::BadInput),
        (vec![prose.as_str()], Exit::BadInput),
        (vec![good.as_str(), "--tag", "nothing"], Exit::BadInput),
        (vec![good.as_str(), "--svg", "no/such/directory/a.svg"], Exit::Io),
    ] {
        let error = run(&args(&list)).unwrap_err();
        assert_eq!(exit_of(&error), exit, "{error}");
    }
    let error = run(&args(&[good.as_str(), "--tag", "nothing"])).unwrap_err();
    assert!(error.to_string().contains("there are: parse"), "{error}");
}

#[test]
fn labels_name_the_file_only_when_there_are_several() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("old")).unwrap();
    let a = log(directory.path(), "a.hlog", &[("parse", 10)]);
    let b = log(directory.path(), "old/a.hlog", &[("parse", 10)]);
    let read = |path: &String| TaggedLog::read(Path::new(path)).unwrap();
    assert_eq!(all_series(&[read(&a)])[0].label, "parse");
    let both = [read(&a), read(&b)];
    let labels: Vec<String> = all_series(&both).iter().map(|series| series.label.clone()).collect();
    assert_eq!(labels, [format!("parse ({a})"), format!("parse ({b})")], "same name: whole paths");
}

#[test]
fn a_label_goes_into_a_file_name() {
    let path = with_label(Path::new("out/x.hgrm"), "tick to decision (a/b.hlog)");
    assert_eq!(path, Path::new("out/x.tick-to-decision--a-b.hlog.hgrm"));
    assert_eq!(with_label(Path::new("x"), "parse"), Path::new("x.parse.hgrm"));
}
