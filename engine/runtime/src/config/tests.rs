//! Layers, origins and messages.

use std::path::PathBuf;

use super::layers::Layers;
use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("test.toml");
    std::fs::write(&path, text).expect("written");
    (dir, path)
}

fn load(text: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<(Config, Layers), ConfigError> {
    let (_dir, path) = file(text);
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    let layers = Layers::gather(&[path], env, &sets)?;
    Ok((layers.config()?, layers))
}

const FILE: &str = r#"
[engine]
topology = "staged"

[[sources]]
path = "a.gz"

[replay]
speed = "10"

[profiles.binance-usdm.rules.price_move]
threshold = 0.08

[[instruments]]
venue = "binance-usdm"
symbol = "BTCUSDT"
tick = "0.10"
lot = "0.001"
"#;

#[test]
fn later_layers_win_and_origins_are_known() {
    let env = [("TIDEGATE__REPLAY__REPEAT", "true"), ("TIDEGATE__ENGINE__CORES", "[2, 3]"), ("OTHER", "x")];
    let (config, layers) = load(FILE, &env, &["replay.speed=max", "engine.wait=yield"]).expect("a good file");
    assert_eq!(config.engine.topology, Topology::Staged);
    assert_eq!((config.engine.cores.clone(), config.engine.wait), (vec![2, 3], WaitStrategy::Yield));
    assert_eq!((config.replay.speed.as_str(), config.replay.repeat), ("max", true));
    assert!(layers.origin("engine.topology").ends_with("test.toml:3"), "{}", layers.origin("engine.topology"));
    assert_eq!(layers.origin("replay.repeat"), "environment variable TIDEGATE__REPLAY__REPEAT");
    assert_eq!(layers.origin("replay.speed"), "--set");
    assert_eq!(layers.origin("output.directory"), "default");

    let plan = config.plan(|key| layers.origin(key)).expect("a good plan");
    assert_eq!(plan.speed, Speed::Max);
    let instrument = plan.registry.get(tidegate_wire::InstrumentId(0)).expect("one");
    assert_eq!((instrument.price_scale.decimals(), instrument.tick.raw()), (1, 1));
    let usdm = &plan.profiles[Venue::BinanceUsdm as usize];
    assert_eq!(usdm.rule("price_move").map(|s| s.threshold), Some(0.08));
    let spot = &plan.profiles[Venue::BinanceSpot as usize];
    assert_eq!(spot.rule("price_move").map(|s| s.threshold), Some(0.05));
}

#[test]
fn errors_name_origin_key_value_and_expectation() {
    let error = |text: &str, sets: &[&str]| match load(text, &[], sets) {
        Err(error) => error.to_string(),
        Ok((config, layers)) => config.plan(|key| layers.origin(key)).expect_err("wrong").to_string(),
    };
    let message = error("[engine]\ntopolgy = \"fused\"\n", &[]);
    assert!(message.contains("test.toml:2") && message.contains("engine.topolgy"), "{message}");
    assert!(message.contains("did you mean `topology`"), "{message}");
    let message = error(FILE, &["engine.topology=ring"]);
    assert!(message.starts_with("--set: engine.topology") && message.contains("`fused`"), "{message}");
    let message = error(FILE, &["replay.speed=-3"]);
    assert!(message.starts_with("--set: replay.speed") && message.contains("\"-3\""), "{message}");
    assert!(error("", &[]).contains("[[sources]]"));
    assert!(error("engine = 3", &[]).contains("engine"));
    assert!(error("[engine\n", &[]).contains("test.toml"));
    assert!(error(FILE, &["nonsense"]).contains("KEY=VALUE"));
    let bad_tick = FILE.replace("0.10", "zero");
    assert!(error(&bad_tick, &[]).contains("instruments.0.tick") && error(&bad_tick, &[]).contains("\"zero\""));
    let bad_rule = FILE.replace("price_move", "price_moves");
    assert!(error(&bad_rule, &[]).contains("no such rule"), "{}", error(&bad_rule, &[]));
    let bad_venue = FILE.replace("profiles.binance-usdm", "profiles.binance");
    assert!(error(&bad_venue, &[]).contains("expected one of binance-spot"));
}

#[test]
fn the_schema_describes_every_section() {
    let schema = schema();
    for section in ["engine", "sources", "replay", "instruments", "profiles", "strategies", "output", "vmsp"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[test]
fn a_drawdown_is_a_threshold_and_little_else() {
    let plan = |text: &str| {
        let (config, layers) = load(&format!("{FILE}[drawdown]\n{text}\n"), &[], &[]).expect("a good file");
        config.plan(|key| layers.origin(key)).map(|plan| plan.drawdown)
    };
    let lower = plan("threshold = 0.01").expect("a good plan");
    assert_eq!((lower.threshold, lower.release), (0.01, 0.01), "the shipped release is above it");
    let error = plan("hold_ms = 5").expect_err("it is judged when it is told").to_string();
    assert!(error.contains("drawdown.hold_ms is 5") && !error.contains("rules."), "{error}");
    assert!(plan("threshold = 0.01\nrelease = 0.02").is_err());
}

#[test]
fn stores_and_redis_are_places_and_their_passwords_come_from_elsewhere() {
    let plan = |text: &str| {
        let (config, layers) = load(&format!("{FILE}{text}\n"), &[], &[]).expect("a good file");
        config.plan(|key| layers.origin(key))
    };
    let off = plan("").expect("a good plan");
    assert!(off.store.is_none() && off.redis.is_none());
    let plain = plan("[store]\nenabled = true\n[redis]\nenabled = true\nprefix = \"t:\"").expect("a good plan");
    assert_eq!(plain.store.map(|store| store.place.to_string()).as_deref(), Some("sqlite:run/store.sqlite"));
    assert_eq!(plain.redis.map(|redis| redis.prefix).as_deref(), Some("t:"));
    for (text, key, reason) in [
        ("[store]\nenabled = true\nurl = \"postgres://a:canary@h/d\"", "store.url", "holds a password"),
        ("[store]\nenabled = true\nurl = \"canary\"", "store.url", "expected sqlite:PATH or"),
        ("[store]\nenabled = true\n[audit]\nenabled = false", "store.enabled", "expected audit.enabled = true"),
        ("[store]\nenabled = true\npassword = { env = \"NO_SUCH\" }", "store.password", "NO_SUCH is not set"),
        ("[redis]\nenabled = true\nurl = \"rediss://h\"", "redis.url", "expected redis://"),
        ("[redis]\nenabled = true\nhistory = 0", "redis.history", "expected 1 to 100,000"),
    ] {
        let error = plan(text).expect_err(text).to_string();
        assert!(error.contains(key) && error.contains(reason) && !error.contains("canary"), "{error}");
    }
}

#[test]
fn kinds_of_alerts_that_there_are_not_are_errors_that_name_those_there_are() {
    let plan = |kinds: &str| {
        let hook = format!("[[alerts.webhooks]]\nname = \"desk\"\nurl = \"https://h/\"\nkinds = {kinds}");
        let text = format!("{FILE}[serve]\nenabled = true\n{hook}\n");
        let (config, layers) = load(&text, &[], &[]).expect("a good file");
        let plan = config.plan(|key| layers.origin(key)).expect("a good plan");
        config.screens(|key| layers.origin(key), &plan).map(|screens| screens.alarms.webhooks.len())
    };
    for good in ["[]", "[\"trip\", \"cancel-rate\", \"luld\"]"] {
        assert_eq!(plan(good).ok(), Some(1), "{good}");
    }
    let error = plan("[\"trip\", \"trips\"]").expect_err("no such kind").to_string();
    for part in ["test.toml:", "alerts.webhooks.0.kinds", "\"trips\"", "expected one of trip, price, model"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_models_confidence_needs_models_and_training_needs_somebody_who_asks_it() {
    let plan = |text: &str| {
        let (config, layers) = load(&format!("{FILE}{text}\n"), &[], &[]).expect("a good file");
        config.plan(|key| layers.origin(key))
    };
    let on = "[ml_microstructure]\nenabled = true\n";
    let by_model = format!("{on}confidence = \"model\"\n");
    let training = "[ml_microstructure.learning]\ntraining = true\n";
    let plain = plan(&format!("{by_model}{training}")).expect("a good plan");
    assert_eq!(plain.outputs.outcomes, Some("run/data/outcomes".into()));
    assert!(plan(&by_model).expect("a good plan").outputs.outcomes.is_none(), "nothing is trained");
    let signed = "[models]\nrequire_signature = true\npublic_key = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"";
    for (text, key, reason) in [
        (format!("{by_model}[models]\nmode = \"off\""), "ml_microstructure.confidence", "expected models"),
        (format!("{on}{training}"), "ml_microstructure.learning.training", "never asked"),
        (format!("{by_model}{training}{signed}"), "ml_microstructure.learning.key", "expected a key"),
        (format!("{on}confidence = \"guess\""), "ml_microstructure.confidence", "guess"),
        (format!("{on}[trading]\nmax_positions = 0"), "trading.max_positions", "expected 1 to 65536"),
        (format!("{on}[superp]\nenabled = false\n[trading]\nenabled = true"), "trading.enabled", "superp.enabled"),
    ] {
        let loaded = load(&format!("{FILE}{text}\n"), &[], &[]);
        let error = match loaded {
            Ok((config, layers)) => config.plan(|key| layers.origin(key)).expect_err(&text).to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(key) && error.contains(reason), "{error}");
    }
    let pinned = FILE.replace("[engine]", "[engine]\ncores = [1]");
    let (config, layers) = load(&format!("{pinned}{by_model}{training}core = 1\n"), &[], &[]).expect("a good file");
    let error = config.plan(|key| layers.origin(key)).expect_err("a hot core").to_string();
    assert!(error.contains("ml_microstructure.learning.core") && error.contains("hot loop"), "{error}");
}

#[test]
fn a_live_run_of_signals_needs_its_reference_among_the_symbols() {
    let checked = |text: &str| {
        let (config, layers) = load(text, &[], &[]).expect("a file that can be read");
        config.plan(|key| layers.origin(key)).map(|_| ()).map_err(|error| error.to_string())
    };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/tidegate/examples/signals.toml");
    let example = std::fs::read_to_string(path).expect("the example");
    assert_eq!(checked(&example), Ok(()));
    let error = checked(&example.replace("TONUSDT", "ADAUSDT")).expect_err("there is no TON");
    assert!(error.contains("psc_integration.reference") && error.contains("TONUSDT"), "{error}");
    let named = format!("{}\n[psc_integration]\nreference = \"BTC\"\n", example.replace("TONUSDT", "ADAUSDT"));
    assert_eq!(checked(&named), Ok(()));
}
