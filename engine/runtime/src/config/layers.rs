//! Configuration layers: merged tables that remember where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Prefix of environment variables; `__` separates keys.
pub const ENV_PREFIX: &str = "TIDEGATE__";

/// Where files are looked for when none is named, weakest first.
pub const DEFAULT_FILES: [&str; 2] = ["/etc/tidegate/tidegate.toml", "tidegate.toml"];

/// Merged tables and the origin of every value in them.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    table: Table,
    /// Origin by dotted key.
    origins: BTreeMap<String, String>,
}

impl Layers {
    /// All layers in their order. A named file must exist; the default files need not.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, a `--set` without `=`.
    pub fn gather(
        files: &[PathBuf],
        environment: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        for file in DEFAULT_FILES.map(Path::new).into_iter().filter(|file| file.exists()) {
            layers.file(file)?;
        }
        for file in files {
            layers.file(file)?;
        }
        let mut environment: Vec<_> =
            environment.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        environment.sort();
        for (name, value) in environment {
            let key = name[ENV_PREFIX.len()..].to_lowercase().replace("__", ".");
            layers.set(&key, &value, &format!("environment variable {name}"))?;
        }
        for set in sets {
            let (key, value) = set.split_once('=').ok_or_else(|| ConfigError {
                origin: "--set".into(),
                key: set.clone(),
                reason: "expected KEY=VALUE such as replay.speed=10".into(),
            })?;
            layers.set(key.trim(), value.trim(), "--set")?;
        }
        Ok(layers)
    }

    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let origin = path.display().to_string();
        let wrong = |reason: String| ConfigError { origin: origin.clone(), key: "file".into(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        self.merge(table, &origin, &text);
        Ok(())
    }

    fn merge(&mut self, table: Table, origin: &str, text: &str) {
        let mut leaves = Vec::new();
        collect("", &Value::Table(table.clone()), &mut leaves);
        for key in leaves {
            let last = key.rsplit('.').next().unwrap_or(&key);
            let line = text.lines().position(|line| line.trim_start().starts_with(last)).map(|line| line + 1);
            let place = line.map_or(origin.to_owned(), |line| format!("{origin}:{line}"));
            self.origins.insert(key, place);
        }
        merge_tables(&mut self.table, table);
    }

    /// Sets one value. The text is read as TOML (`10`, `true`, `[2, 3]`); what is none is a string.
    fn set(&mut self, key: &str, text: &str, origin: &str) -> Result<(), ConfigError> {
        let value = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        let mut value = value.unwrap_or_else(|| Value::String(text.to_owned()));
        // `speed` is text in the file because it may be `max`; a bare number means the same.
        if key == "replay.speed" && !value.is_str() {
            value = Value::String(text.to_owned());
        }
        let wrong = |reason: &str| ConfigError { origin: origin.into(), key: key.into(), reason: reason.into() };
        let mut table = &mut self.table;
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() {
                return Err(wrong("an empty part in the key"));
            }
            if parts.peek().is_none() {
                table.insert(part.to_owned(), value);
                break;
            }
            let entry = table.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().ok_or_else(|| wrong(&format!("{part} is a value, not a table")))?;
        }
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }

    /// Where a key's value came from; `default` where nothing named it.
    pub fn origin(&self, key: &str) -> String {
        let exact = self.origins.get(key);
        let below = || self.origins.iter().find(|(known, _)| known.starts_with(&format!("{key}.")));
        let above = || {
            let mut key = key;
            while let Some((shorter, _)) = key.rsplit_once('.') {
                if let Some(origin) = self.origins.get(shorter) {
                    return Some(origin);
                }
                key = shorter;
            }
            None
        };
        exact.or_else(|| below().map(|(_, origin)| origin)).or_else(above).map_or("default".into(), Clone::clone)
    }

    /// The configuration.
    ///
    /// # Errors
    /// The first key that is unknown or of another type, with its origin.
    pub fn config(&self) -> Result<Config, ConfigError> {
        serde_path_to_error::deserialize(self.table.clone()).map_err(|error| {
            let path = error.path().to_string();
            let mut reason = error.inner().message().to_owned();
            let unknown =
                reason.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next().map(str::to_owned));
            let key = match &unknown {
                Some(field) if !path.ends_with(field.as_str()) && path != "." => format!("{path}.{field}"),
                Some(field) if path == "." => field.clone(),
                _ => path,
            };
            if let Some(near) = unknown.and_then(|field| nearest(&field, &reason)) {
                reason.push_str(&format!("; did you mean `{near}`?"));
            }
            ConfigError { origin: self.origin(&key), key, reason }
        })
    }
}

/// The expected name in a message that is nearest to what was written.
fn nearest(written: &str, message: &str) -> Option<String> {
    let names = message.split("expected").nth(1)?.split('`').skip(1).step_by(2);
    names.map(|name| (distance(written, name), name)).filter(|(d, _)| *d <= 3).min().map(|(_, name)| name.to_owned())
}

/// Edits between two short names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn collect(prefix: &str, value: &Value, leaves: &mut Vec<String>) {
    let join = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| collect(&join(key), value, leaves)),
        Value::Array(items) if items.iter().any(Value::is_table) => {
            items.iter().enumerate().for_each(|(index, item)| collect(&join(&index.to_string()), item, leaves));
        }
        _ => leaves.push(prefix.to_owned()),
    }
}

fn merge_tables(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge_tables(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
