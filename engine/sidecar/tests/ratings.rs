//! Models of signals: asked for each signal, in force by a pointer or a won trial and by nothing else.

mod common;

use std::path::Path;

use common::service::Engine;
use common::{Forge, environment};
use tidegate_market::signals::SIGNAL_COLUMN_COUNT;
use tidegate_sidecar::contract::Label;
use tidegate_sidecar::messages::{Event, Request, State};
use tidegate_sidecar::refusal::Reason;
use tidegate_sidecar::serve::Settings;

const NAME: &str = "confidence";

/// A repository whose pointer says that version 1 is in force.
fn pointed() -> Forge {
    let forge = Forge::of(NAME);
    point(&forge);
    forge
}

fn point(forge: &Forge) {
    std::fs::write(forge.root.path().join(NAME).join("CURRENT"), "1\n").expect("written");
}

/// Another version of the committed model in the same repository.
fn add(forge: &Forge, version: u32) {
    let folder = Forge::copy(forge.root.path(), NAME, version);
    let path = folder.join("contract.json");
    let mut contract: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("JSON");
    contract["version"] = version.into();
    std::fs::write(&path, contract.to_string()).expect("written");
}

fn settings(root: &Path) -> Settings {
    let mut settings = Settings::new(root);
    settings.loader.watch = false;
    // One look at the market would promote any other model.
    settings.shadow.runs = 1;
    settings.loader.gate.enforce_latency = false;
    settings
}

/// A row in which everything is known.
fn row(value: f64) -> Vec<Option<f64>> {
    vec![Some(value); SIGNAL_COLUMN_COUNT]
}

#[test]
fn a_version_comes_into_force_by_a_pointer_or_a_promotion_that_names_it() {
    if environment().is_none() {
        return;
    }
    let forge = Forge::of(NAME);
    let mut engine = Engine::start(settings(forge.root.path()));
    // Nothing points: what was trained and never tried is on trial.
    let (in_force, shadow) = engine.rate(NAME, &row(0.5));
    let shadow = shadow.expect("it is on trial");
    assert!(in_force.is_none() && shadow.version == 1 && (0.0..=1.0).contains(&shadow.value));
    (0..5).for_each(|_| engine.see());
    let reason = engine.ask_in_vain(|id| Request::Promote { id, name: NAME.into(), version: Some(2) });
    assert_eq!(reason, "confidence 2 is not in shadow, 1 is");
    let listed = engine.ask(|id| Request::Promote { id, name: NAME.into(), version: Some(1) });
    assert!(listed.iter().any(|model| model.name == NAME && model.state == State::Active));
    assert_eq!(engine.rate(NAME, &row(0.5)), (Some(shadow), None), "the same row has the same rating");
    engine.stop();
    point(&forge);
    let mut engine = Engine::start(settings(forge.root.path()));
    assert_eq!(engine.rate(NAME, &row(0.5)).0.map(|rated| rated.version), Some(1));
    engine.stop();
}

#[test]
fn champion_and_challenger_say_the_same_of_the_same_row_until_one_goes() {
    if environment().is_none() {
        return;
    }
    let forge = pointed();
    add(&forge, 2);
    let mut engine = Engine::start(settings(forge.root.path()));
    engine.ask(|id| Request::Load { id, name: NAME.into(), version: 2 });
    let (champion, challenger) = engine.rate(NAME, &row(1.0));
    let (champion, challenger) = (champion.expect("in force"), challenger.expect("on trial"));
    assert_eq!((champion.version, challenger.version), (1, 2));
    assert_eq!((champion.value, champion.input_digest), (challenger.value, challenger.input_digest));
    // What is not known has its fill; it is another row.
    let unknown = engine.rate(NAME, &vec![None; SIGNAL_COLUMN_COUNT]).0.expect("fills are numbers");
    assert_ne!(unknown.input_digest, champion.input_digest);
    let text = || "log loss better by 0.001, 0.005 is asked for".to_owned();
    let reason = engine.ask_in_vain(|id| Request::Dismiss { id, name: NAME.into(), version: 3, text: text() });
    assert_eq!(reason, "confidence 3 is not in shadow");
    engine.send(|id| Request::Dismiss { id, name: NAME.into(), version: 2, text: text() });
    let refused = engine.until(|event| matches!(event, Event::Refused { .. }));
    assert!(matches!(refused, Event::Refused { version: 2, reason: Reason::Shadow, .. }), "{refused:?}");
    let (champion, challenger) = engine.rate(NAME, &row(1.0));
    assert!(champion.is_some() && challenger.is_none());
    assert_eq!(engine.rate("breaker-tuner", &row(1.0)), (None, None), "who is not there says nothing");
    engine.stop();
}

#[test]
fn a_version_that_states_something_else_is_refused_by_name() {
    if environment().is_none() {
        return;
    }
    let forge = pointed();
    for (target_bp, refused) in [(10.0, false), (25.0, true)] {
        let mut settings = settings(forge.root.path());
        settings.loader.gate.label = Some(Label { target_bp, fee_bp: 5.0, timer_minutes: 10 });
        let mut engine = Engine::start(settings);
        let told = engine.until(|event| matches!(event, Event::Refused { .. } | Event::Promoted { .. }));
        if refused {
            let Event::Refused { reason: Reason::WrongLabel, text, .. } = told else { panic!("{told:?}") };
            assert!(text.contains("10 bp") && text.contains("25 bp"), "{text}");
        }
        assert_eq!(engine.rate(NAME, &row(0.5)).0.is_none(), refused);
        engine.stop();
    }
}

#[test]
fn a_start_says_which_newer_version_it_does_not_take_up() {
    if environment().is_none() {
        return;
    }
    let forge = pointed();
    add(&forge, 2);
    let mut engine = Engine::start(settings(forge.root.path()));
    let told = engine.until(|event| matches!(event, Event::Newer { .. }));
    assert_eq!(told, Event::Newer { name: NAME.into(), version: 2, pointed: 1 });
    engine.until(|event| matches!(event, Event::Promoted { .. }));
    assert!(matches!(engine.rate(NAME, &row(0.5)), (Some(rated), None) if rated.version == 1));
    engine.stop();
}
