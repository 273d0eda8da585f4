//! Orders of an operator as people write them: `60s:trip:engine`, `90s:reset:instrument:BTCUSDT.binance-usdm`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tidegate_guard::{Command, Strategy};
use tidegate_wire::decision::Scope;
use tidegate_wire::{Registry, Venue};

use super::RunError;

/// A breaker to trip or to reset by hand, some event time after the first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Event time after the first frame.
    pub after: Duration,
    /// Reset instead of trip.
    pub reset: bool,
    /// What kind of scope.
    pub scope: Scope,
    /// Which one, by name; empty for the engine.
    pub name: String,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "order {text:?}: {what}; expected TIME:trip|reset:instrument|venue|strategy|engine[:NAME], such as \
                 60s:trip:engine or 1m30s:reset:instrument:BTCUSDT.binance-usdm"
            )
        };
        let mut parts = text.splitn(4, ':');
        let mut next = || parts.next().unwrap_or_default();
        let after = humantime::parse_duration(next()).map_err(|error| wrong(&format!("its time: {error}")))?;
        let reset = match next() {
            "trip" => false,
            "reset" => true,
            _ => return Err(wrong("neither trip nor reset")),
        };
        let scope: Scope = next().parse().map_err(|_| wrong("no such kind of scope"))?;
        let name = next().to_owned();
        if name.is_empty() != (scope == Scope::Engine) {
            return Err(wrong("the engine has no name, everything else needs one"));
        }
        Ok(Self { after, reset, scope, name })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, order) = (humantime::format_duration(self.after), if self.reset { "reset" } else { "trip" });
        write!(f, "{after}:{order}:{}", self.scope.name())?;
        if self.name.is_empty() { Ok(()) } else { write!(f, ":{}", self.name) }
    }
}

impl Order {
    /// The order by numbers: nanoseconds after the first event, and the command.
    pub(super) fn resolve(&self, registry: &Registry, strategies: &[Strategy]) -> Result<(i64, Command), RunError> {
        let (known, index): (Vec<String>, _) = match self.scope {
            Scope::Instrument => {
                let names: Vec<String> = registry.iter().map(|(_, instrument)| instrument.name()).collect();
                let index = names.iter().position(|name| *name == self.name);
                (names, index)
            }
            Scope::Venue => {
                let index = Venue::from_name(&self.name).map(|venue| venue as usize);
                (Venue::ALL.map(|venue| venue.name().to_owned()).into(), index)
            }
            Scope::Strategy => {
                let index = strategies.iter().position(|strategy| strategy.name == self.name);
                (strategies.iter().map(|strategy| strategy.name.clone()).collect(), index)
            }
            Scope::Engine => (Vec::new(), Some(0)),
        };
        let id = index.and_then(|index| u16::try_from(index).ok());
        let unknown =
            || RunError::Unknown { by: format!("order {self}"), name: self.name.clone(), known: known.join(", ") };
        let id = id.ok_or_else(unknown)?;
        let command = if self.reset { Command::Reset(self.scope, id) } else { Command::Trip(self.scope, id) };
        Ok((i64::try_from(self.after.as_nanos()).unwrap_or(i64::MAX), command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_written_alike() {
        for text in ["1m:trip:engine", "1m 30s:reset:instrument:BTCUSDT.binance-usdm", "0s:trip:venue:binance-spot"] {
            let order: Order = text.parse().expect(text);
            assert_eq!(order.to_string(), text);
        }
    }

    #[test]
    fn wrong_orders_say_what_was_expected() {
        for (text, what) in [
            ("", "its time"),
            ("60:trip:engine", "its time"),
            ("60s:stop:engine", "neither trip nor reset"),
            ("60s:trip:market", "no such kind of scope"),
            ("60s:trip:engine:all", "no name"),
            ("60s:trip:venue", "needs one"),
        ] {
            let error = text.parse::<Order>().expect_err(text);
            assert!(error.contains(what) && error.contains("expected TIME"), "{error}");
        }
    }

    #[test]
    fn names_that_are_not_there_are_refused_with_those_that_are() {
        let strategies = [Strategy { name: "carry".into(), instruments: Vec::new() }];
        let resolve = |text: &str| text.parse::<Order>().expect(text).resolve(&Registry::new(), &strategies);
        assert!(matches!(resolve("2s:trip:strategy:carry"), Ok((2_000_000_000, Command::Trip(Scope::Strategy, 0)))));
        assert!(matches!(resolve("0s:reset:venue:binance-usdm"), Ok((0, Command::Reset(Scope::Venue, 1)))));
        let error = resolve("2s:trip:strategy:basis").expect_err("no such strategy").to_string();
        assert!(error.contains("basis") && error.contains("carry"), "{error}");
    }
}
