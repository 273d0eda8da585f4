//! Which version is in force: at a start, after a death, when others appear, and what never takes part.

mod common;

use std::path::Path;
use std::time::Duration;

use common::service::Engine;
use common::{Forge, environment};
use tidegate_sidecar::Resume;
use tidegate_sidecar::messages::{Event, Request};
use tidegate_sidecar::refusal::Reason;
use tidegate_sidecar::serve::Settings;

const NAME: &str = "breaker-tuner";

/// A repository with these versions of the committed tuner, and settings for it.
fn repository(versions: &[u32]) -> (Forge, Settings) {
    let forge = Forge::new();
    for version in versions.iter().filter(|version| **version != 1) {
        add(forge.root.path(), NAME, *version, |_| {});
    }
    if !versions.contains(&1) {
        std::fs::remove_dir_all(&forge.folder).expect("removed");
    }
    let mut settings = Settings::new(forge.root.path());
    (settings.shadow.runs, settings.loader.gate.runs) = (5, 0);
    (forge, settings)
}

/// Adds a version, changed, in one step.
fn add(root: &Path, name: &str, version: u32, change: impl FnOnce(&Forge)) {
    let forge = Forge::version(version);
    forge.contract(|contract| contract["name"] = name.into());
    change(&forge);
    std::fs::create_dir_all(root.join(name)).expect("made");
    std::fs::rename(&forge.folder, root.join(name).join(version.to_string())).expect("one file system");
}

fn promoted(event: &Event) -> Option<(Option<u32>, u32)> {
    match event {
        Event::Promoted { from, to, .. } => Some((*from, *to)),
        _ => None,
    }
}

fn in_force(engine: &mut Engine) -> Option<(Option<u32>, u32)> {
    promoted(&engine.until(|event| promoted(event).is_some()))
}

/// A tolerance that no runtime meets: golden vectors refuse the version.
fn spoil(forge: &Forge) {
    forge.contract(|contract| contract["tolerance"] = 1e-12.into());
}

#[test]
fn where_nothing_points_the_newest_that_passes_is_in_force_and_remembered() {
    if environment().is_none() {
        return;
    }
    let (forge, mut settings) = repository(&[1, 2]);
    add(forge.root.path(), NAME, 9, spoil);
    settings.remember = true;
    let mut engine = Engine::start(settings.clone());
    assert_eq!(in_force(&mut engine), Some((None, 2)), "9 is refused");
    engine.stop();
    let pointer = forge.root.path().join(NAME).join("CURRENT");
    assert_eq!(std::fs::read_to_string(&pointer).expect("remembered").trim(), "2");
    // What an operator points to is in force, and what was there before it started is left alone.
    std::fs::write(&pointer, "1\n").expect("written");
    let mut engine = Engine::start(settings);
    assert_eq!(in_force(&mut engine), Some((None, 1)));
    let later = engine.for_a_while(Duration::from_millis(1_500));
    assert!(later.iter().all(|event| promoted(event).is_none()), "{later:?}");
    engine.stop();
}

#[test]
fn a_version_that_is_being_copied_at_the_start_is_taken_when_it_is_whole() {
    if environment().is_none() {
        return;
    }
    let (forge, settings) = repository(&[1, 5]);
    let copied = forge.root.path().join(NAME).join("5").join("model.onnx");
    let whole = std::fs::read(&copied).expect("there");
    std::fs::write(&copied, &whole[..whole.len() / 2]).expect("written");
    let mut engine = Engine::start(settings);
    assert_eq!(in_force(&mut engine), Some((None, 1)));
    std::fs::write(&copied, &whole).expect("written");
    assert_eq!(in_force(&mut engine), Some((Some(1), 5)));
    engine.stop();
}

#[test]
fn a_restart_goes_on_where_the_dead_one_was() {
    if environment().is_none() {
        return;
    }
    let (_forge, mut settings) = repository(&[1, 2, 3]);
    // Version 1 was in force, 2 killed the sidecar in the gate, 3 had not shown anything yet.
    let resume = Resume { in_force: Some(1), known: 1, deadly: vec![2] };
    settings.loader.resume.insert(NAME.into(), resume);
    let mut engine = Engine::start(settings);
    assert_eq!(in_force(&mut engine), Some((None, 1)), "without proof nothing newer");
    assert_eq!(in_force(&mut engine), Some((Some(1), 3)), "3 has its time in shadow, 2 is not looked at");
    engine.stop();
}

#[test]
fn older_versions_and_second_tuners_are_not_taken() {
    if environment().is_none() {
        return;
    }
    let (forge, settings) = repository(&[1]);
    let mut engine = Engine::start(settings);
    assert_eq!(in_force(&mut engine), Some((None, 1)));
    add(forge.root.path(), NAME, 5, |_| {});
    assert_eq!(in_force(&mut engine), Some((Some(1), 5)));
    add(forge.root.path(), NAME, 3, |_| {});
    add(forge.root.path(), "another-tuner", 1, |_| {});
    let refused = engine.until(|event| matches!(event, Event::Refused { .. }));
    let Event::Refused { name, reason, text, .. } = refused else { unreachable!("asked for") };
    assert_eq!((name.as_str(), reason), ("another-tuner", Reason::Contract), "{text}");
    let later = engine.for_a_while(Duration::from_millis(1_500));
    assert!(later.iter().all(|event| promoted(event).is_none()), "{later:?}");
    engine.stop();
}

#[test]
fn names_and_files_that_lead_elsewhere_are_refused_at_once() {
    if environment().is_none() {
        return;
    }
    let (forge, settings) = repository(&[1]);
    let mut engine = Engine::start(settings);
    assert_eq!(in_force(&mut engine), Some((None, 1)));
    // A pipe that nobody writes to would hold whoever opens it for ever.
    let folder = forge.root.path().join(NAME).join("2");
    std::fs::create_dir(&folder).expect("made");
    let pipe = std::ffi::CString::new(folder.join("contract.json").display().to_string()).expect("a path");
    // SAFETY: the pointer is to a text of our own that ends in zero.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    std::os::unix::fs::symlink("/etc/hostname", folder.join("golden.json")).expect("made");
    let refused = engine.until(|event| matches!(event, Event::Refused { version: 2, .. }));
    let Event::Refused { text, .. } = refused else { unreachable!("asked for") };
    assert!(text.contains("no regular file"), "{text}");
    for name in ["../elsewhere/breaker-tuner", "/etc", "breaker-tuner/..", ""] {
        let error = engine.ask_in_vain(|id| Request::Load { id, name: name.into(), version: 1 });
        assert!(error.contains("has no"), "{error}");
    }
    engine.stop();
}

/// Golden cases as the changed model itself answers them, by ONNX Runtime on its function body.
fn answer_golden(forge: &Forge) {
    use ort::value::{DynTensor, Tensor};
    let environment = environment().expect("asked before");
    let builder = ort::session::Session::builder(&environment).expect("a builder");
    let mut session = { builder }.commit_from_memory(&forge.read("model.onnx")).expect("loads");
    let mut golden: serde_json::Value = serde_json::from_slice(&forge.read("golden.json")).expect("JSON");
    for case in golden["cases"].as_array_mut().expect("cases") {
        let inputs: Vec<(String, DynTensor)> = ["x", "edge_index", "edge_attr"]
            .map(|name| {
                let numbers = |key: &str| case["inputs"][name][key].as_array().expect("numbers").clone();
                let shape: Vec<i64> = numbers("shape").iter().filter_map(serde_json::Value::as_i64).collect();
                let data = numbers("data").into_iter().filter_map(|value| value.as_f64());
                let tensor = if name == "edge_index" {
                    Tensor::from_array((shape, data.map(|v| v as i64).collect::<Vec<_>>())).expect("fits").upcast()
                } else {
                    Tensor::from_array((shape, data.map(|v| v as f32).collect::<Vec<_>>())).expect("fits").upcast()
                };
                (name.to_owned(), tensor)
            })
            .into();
        let outputs = session.run(inputs).expect("runs");
        case["outputs"]["y"]["data"] = outputs["y"].try_extract_tensor::<f32>().expect("floats").1.to_vec().into();
    }
    forge.replace("golden.json", golden.to_string().as_bytes());
}

#[test]
fn a_version_that_answers_otherwise_is_refused_in_shadow() {
    if environment().is_none() {
        return;
    }
    let (forge, mut settings) = repository(&[1]);
    settings.shadow.divergence = 0.05;
    let mut engine = Engine::start(settings);
    assert_eq!(in_force(&mut engine), Some((None, 1)));
    add(forge.root.path(), NAME, 2, |other| {
        other.tensor("head.bias", |bias| bias + 1.0);
        answer_golden(other);
    });
    let refused = engine.until(|event| matches!(event, Event::Refused { .. }));
    let Event::Refused { reason, text, .. } = refused else { unreachable!("asked for") };
    assert_eq!(reason, Reason::Shadow, "{text}");
    assert!(text.contains("0.05 is tolerated"), "{text}");
    let models = engine.ask(|id| Request::List { id });
    assert_eq!(models.iter().map(|model| model.version).collect::<Vec<_>>(), [1]);
    engine.stop();
}
