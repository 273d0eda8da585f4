//! The load gate on the committed tuner, and on copies of it that are wrong in one way each.

mod common;

use base64::Engine;
use common::{Forge, environment, repository};
use ed25519_dalek::{Signer, SigningKey};
use tidegate_sidecar::gate::{GateSettings, admit, check_files};
use tidegate_sidecar::refusal::Reason;
use tidegate_sidecar::repository::{MODEL_BYTES_MAX, Repository, VersionFiles};

#[test]
fn every_committed_model_passes() {
    let Some(environment) = environment() else { return };
    let repository = Repository::new(repository());
    let mut models = 0;
    for name in repository.names() {
        for version in repository.versions(&name) {
            let files = VersionFiles::read(&repository.folder(&name, version)).expect("whole");
            let admitted = admit(&files, &GateSettings::default(), &environment);
            let admitted = admitted.unwrap_or_else(|refusal| panic!("{name} {version}: {refusal}"));
            println!("{name} {version}: {:?}", admitted.report);
            assert!(admitted.report.golden_difference <= 1e-4, "{name} {version}");
            models += 1;
        }
    }
    assert!(models > 0);
}

/// Why a forged version is refused, in a word and in words.
fn refused(forge: &Forge, settings: &GateSettings) -> Option<(Reason, String)> {
    let environment = environment()?;
    let refusal = match VersionFiles::read(&forge.folder) {
        Ok(files) => admit(&files, settings, &environment).err(),
        Err(refusal) => Some(refusal),
    };
    let refusal = refusal.expect("refused");
    println!("{refusal}");
    Some((refusal.reason(), refusal.to_string()))
}

#[test]
fn each_kind_of_bad_model_is_refused_with_its_reason() {
    type Damage = fn(&Forge);
    let cases: &[(Reason, &str, Damage)] = &[
        (Reason::Unreadable, "golden.json", |f| std::fs::remove_file(f.folder.join("golden.json")).expect("removed")),
        (Reason::Truncated, "cut off", |f| f.write("model.onnx", &f.read("model.onnx")[..9_000])),
        (Reason::WrongHash, "SHA-256", |f| {
            let mut bytes = f.read("model.onnx");
            bytes[12_345] ^= 1;
            f.write("model.onnx", &bytes);
        }),
        (Reason::Oversize, "more than", |f| {
            let file = std::fs::File::create(f.folder.join("model.onnx")).expect("made");
            file.set_len(MODEL_BYTES_MAX + 1).expect("room");
        }),
        (Reason::Contract, "EOF", |f| f.write("contract.json", &f.read("contract.json")[..500])),
        (Reason::Contract, "format is", |f| f.contract(|c| c["format"] = "tidegate.model.v9".into())),
        (Reason::Contract, "its folder is", |f| f.contract(|c| c["version"] = 7.into())),
        (Reason::Contract, "latency_budget_us", |f| f.contract(|c| c["latency_budget_us"] = 1e5.into())),
        (Reason::Contract, "inputs[0].type", |f| f.contract(|c| c["inputs"][0]["type"] = "float64".into())),
        (Reason::WrongSchema, "graph schema 00", |f| f.contract(|c| c["schemas"]["graph"] = "00".repeat(32).into())),
        (Reason::Contract, "no such schema", |f| f.contract(|c| c["schemas"]["moon"] = "00".into())),
        (Reason::NotOnnx, "no ONNX model", |f| f.replace("model.onnx", b"not a model at all")),
        (Reason::Operator, "Loop", |f| f.swap("Gemm", "Loop")),
        (Reason::Operator, "GatV2Nut", |f| f.swap("GatV2Net", "GatV2Nut")),
        (Reason::Opset, "the contract says 19", |f| f.contract(|c| c["opset"]["ai.onnx"] = 19.into())),
        (Reason::Opset, "does not name it", |f| {
            f.contract(|c| drop(c["opset"].as_object_mut().and_then(|o| o.remove("ai.tidegate"))));
        }),
        (Reason::Shape, "a tuner model has", |f| f.contract(|c| c["inputs"][0]["shape"][1] = 23.into())),
        (Reason::Golden, "golden case 3", |f| {
            let mut golden: serde_json::Value = serde_json::from_slice(&f.read("golden.json")).expect("JSON");
            let value = &mut golden["cases"][3]["outputs"]["y"]["data"][0];
            *value = (value.as_f64().expect("a number") + 0.01).into();
            f.replace("golden.json", golden.to_string().as_bytes());
        }),
        (Reason::Contract, "at least 8", |f| f.replace("golden.json", b"{\"cases\": []}")),
        (Reason::Golden, "on the function body", |f| f.swap("Div", "Mul")),
        (Reason::OutOfRange, "outside its range", |f| {
            f.contract(|c| c["outputs"][0]["range"] = [0.0, 1e-3].to_vec().into())
        }),
        (Reason::TooSlow, "p99", |f| f.contract(|c| c["latency_budget_us"] = 1e-3.into())),
        (Reason::Load, "head.bias has a value that is not finite", |f| f.tensor("head.bias", |_| f32::NAN)),
    ];
    for (reason, words, damage) in cases {
        let forge = Forge::new();
        damage(&forge);
        let Some((found, text)) = refused(&forge, &GateSettings::default()) else { return };
        assert_eq!(found, *reason, "{text}");
        assert!(text.contains(words), "{text:?} should say {words:?}");
    }
}

#[test]
fn an_output_that_is_not_finite_is_refused() {
    let forge = Forge::of("direction-lstm");
    forge.tensor("head.bias", |_| f32::NAN);
    let Some((reason, text)) = refused(&forge, &GateSettings::default()) else { return };
    assert_eq!((reason, text.as_str()), (Reason::NotFinite, "output p_up is not finite"));
}

#[test]
fn signatures_are_checked_before_anything_else() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public_key = Some(key.verifying_key().to_bytes());
    let required = GateSettings { public_key, require_signature: true, ..GateSettings::default() };
    let forge = Forge::new();
    let reason = |forge: &Forge, settings: &GateSettings| {
        let files = VersionFiles::read(&forge.folder).expect("whole");
        check_files(&files, settings).map(|_| ()).map_err(|refusal| refusal.reason())
    };
    assert_eq!(reason(&forge, &GateSettings::default()), Ok(()), "nobody asked for a signature");
    assert_eq!(reason(&forge, &required), Err(Reason::Unsigned));
    let sign = |key: &SigningKey| {
        let signature = key.sign(&forge.read("contract.json")).to_bytes();
        forge.write("contract.json.sig", base64::prelude::BASE64_STANDARD.encode(signature).as_bytes());
    };
    sign(&key);
    assert_eq!(reason(&forge, &required), Ok(()));
    sign(&SigningKey::from_bytes(&[8; 32]));
    assert_eq!(reason(&forge, &required), Err(Reason::BadSignature), "another key");
    for nonsense in [&b"!!!"[..], b"AAAA", b""] {
        forge.write("contract.json.sig", nonsense);
        assert_eq!(reason(&forge, &required), Err(Reason::BadSignature));
    }
    sign(&key);
    forge.contract(|contract| contract["tolerance"] = 1e-3.into());
    assert_eq!(reason(&forge, &required), Err(Reason::BadSignature), "changed after it was signed");
    let no_key = GateSettings { require_signature: true, ..GateSettings::default() };
    assert_eq!(reason(&forge, &no_key), Err(Reason::BadSignature), "nothing to check it with");
}

#[test]
fn nothing_of_telemetry_appears() {
    if environment().is_none() {
        return;
    }
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let files = VersionFiles::read(&repository().join("breaker-tuner/1")).expect("whole");
    let before = threads();
    for _ in 0..3 {
        let environment = environment().expect("there before");
        admit(&files, &GateSettings::default(), &environment).expect("passes");
    }
    // Test threads come and go; the runtime's own would have a name.
    let names = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names: Vec<String> = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect();
    println!("{before} threads before, {} after: {names:?}", threads());
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from).unwrap_or_default();
    let folder = home.join(".cache/Microsoft/DeveloperTools/.onnxruntime");
    let fresh = std::fs::metadata(&folder).and_then(|m| m.modified()).ok();
    let age = fresh.and_then(|time| time.elapsed().ok());
    assert!(age.is_none_or(|age| age.as_secs() > 3_600), "{} was touched", folder.display());
}
