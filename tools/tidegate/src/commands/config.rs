//! `tidegate config`: schema, check, show.

use std::path::PathBuf;

use anyhow::Result;
use tidegate_runtime::config::layers::Layers;
use tidegate_runtime::config::{ConfigError, profile_file, schema};

use crate::exit::{Exit, failed};
use crate::output::{Format, print_json};

/// Where configuration comes from.
#[derive(clap::Args, Debug)]
pub(crate) struct Layering {
    /// Configuration file; several are merged, later ones win
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set one value, such as replay.speed=10; wins over files and environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Layering {
    pub(crate) fn gather(&self) -> Result<Layers> {
        Layers::gather(&self.files, std::env::vars(), &self.sets).map_err(config_error)
    }
}

pub(crate) fn config_error(error: ConfigError) -> anyhow::Error {
    failed(Exit::Config, error.to_string())
}

/// Describes, checks and shows configurations.
#[derive(clap::Args, Debug)]
#[command(after_help = "EXAMPLES:
  tidegate config schema > tidegate.schema.json
  tidegate config check --config tidegate.toml
  tidegate config show --config tidegate.toml --origin")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Print the JSON schema of a configuration file
    Schema {
        /// JSON only; accepted for uniformity
        #[arg(long, value_enum, default_value = "json")]
        format: Format,
    },
    /// Check a configuration; exit 78 and a message when it is wrong
    Check {
        #[command(flatten)]
        layering: Layering,
        /// How to print
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Print the configuration in force, with the profiles of every venue
    Show {
        #[command(flatten)]
        layering: Layering,
        /// Say where each value came from
        #[arg(long)]
        origin: bool,
        /// `table` prints TOML
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
}

pub(crate) fn run(args: &Args) -> Result<Exit> {
    match &args.action {
        Action::Schema { .. } => print_json(&schema())?,
        Action::Check { layering, format } => {
            let layers = layering.gather()?;
            let config = layers.config().map_err(config_error)?;
            let plan = config.plan(|key| layers.origin(key)).map_err(config_error)?;
            config.screens(|key| layers.origin(key), &plan).map_err(config_error)?;
            match format {
                Format::Json => print_json(&serde_json::json!({ "ok": true, "sources": plan.sources.len() }))?,
                Format::Table => anstream::println!("ok: {} sources, speed {}", plan.sources.len(), plan.speed),
            }
        }
        Action::Show { layering, origin, format } => show(layering, *origin, *format)?,
    }
    Ok(Exit::Ok)
}

fn show(layering: &Layering, with_origin: bool, format: Format) -> Result<()> {
    let layers = layering.gather()?;
    let config = layers.config().map_err(config_error)?;
    let profiles = match config.plan(|key| layers.origin(key)) {
        Ok(plan) => plan.profiles.to_vec(),
        // Without sources there is nothing to run, but there are profiles to show.
        Err(error) if error.key == "sources" => {
            tidegate_wire::Venue::ALL.map(tidegate_guard::Profile::builtin).to_vec()
        }
        Err(error) => return Err(config_error(error)),
    };
    let value = serde_json::to_value(&config)?;
    let profiles: Vec<_> = profiles.iter().map(profile_file).collect();
    if format == Format::Json {
        return print_json(&serde_json::json!({ "config": value, "profiles": profiles }));
    }
    if with_origin {
        let mut lines = Vec::new();
        leaves("", &value, &mut lines);
        for (key, value) in lines {
            anstream::println!("{key} = {value}    # {}", layers.origin(&key));
        }
        return Ok(());
    }
    anstream::println!("{}", toml_text(&config)?);
    for profile in &profiles {
        anstream::println!("# Profile in force: {}\n{}", profile.name, commented(&toml_text(profile)?));
    }
    Ok(())
}

fn toml_text(value: &impl serde::Serialize) -> Result<String> {
    Ok(toml::to_string_pretty(value)?)
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}\n")).collect()
}

fn leaves(prefix: &str, value: &serde_json::Value, lines: &mut Vec<(String, String)>) {
    let join = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| leaves(&join(key), value, lines));
        }
        serde_json::Value::Array(items) if items.iter().any(serde_json::Value::is_object) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(&join(&index.to_string()), item, lines));
        }
        _ => lines.push((prefix.to_owned(), value.to_string())),
    }
}
