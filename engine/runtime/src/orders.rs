//! Orders of an operator as people write them: `60s:trip:engine`, `90s:reset:instrument:BTCUSDT.binance-usdm`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tidegate_guard::risk::Decimal;
use tidegate_guard::{Command, Strategy};
use tidegate_wire::decimal::Fixed;
use tidegate_wire::decision::Scope;
use tidegate_wire::{Registry, Scale, Venue};

use crate::lines::UnknownName;

/// What an operator wants: `trip:engine`, `reset:instrument:BTCUSDT.binance-usdm`, `news:on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// A breaker to trip or to reset by hand.
    Breaker {
        /// Reset instead of trip.
        reset: bool,
        /// What kind of scope.
        scope: Scope,
        /// Which one, by name; empty for the engine.
        name: String,
    },
    /// There is news, or no more.
    News(bool),
    /// A strategy or the engine has lost so much since its highest equity.
    Drawdown {
        /// What kind of scope.
        scope: Scope,
        /// Which one, by name; empty for the engine.
        name: String,
        /// Over that equity, millionths.
        millionths: u32,
    },
}

/// An instruction, some event time after the first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Event time after the first frame.
    pub after: Duration,
    /// What is wanted then.
    pub instruction: Instruction,
}

/// What an instruction looks like.
const EXPECTED: &str =
    "trip|reset:instrument|venue|strategy|engine[:NAME] or news:on|off or drawdown:strategy|engine[:NAME]:FRACTION";

impl FromStr for Instruction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?}: {what}; expected {EXPECTED}");
        let (words, drawdown) = match text.strip_prefix("drawdown:").and_then(|rest| rest.rsplit_once(':')) {
            Some((_, fraction)) => (&text[..text.len() - fraction.len() - 1], Some(fraction)),
            None => (text, None),
        };
        let mut parts = words.splitn(3, ':');
        let mut next = || parts.next().unwrap_or_default();
        let reset = match next() {
            "trip" => false,
            "reset" => true,
            "drawdown" if drawdown.is_some() => false,
            "news" => {
                return match next() {
                    "on" => Ok(Self::News(true)),
                    "off" => Ok(Self::News(false)),
                    _ => Err(wrong("news is on or off")),
                };
            }
            _ => return Err(wrong("neither trip nor reset nor news nor a drawdown")),
        };
        let scope: Scope = next().parse().map_err(|_| wrong("no such kind of scope"))?;
        let name = next().to_owned();
        if name.is_empty() != (scope == Scope::Engine) {
            return Err(wrong("the engine has no name, everything else needs one"));
        }
        let Some(fraction) = drawdown else { return Ok(Self::Breaker { reset, scope, name }) };
        if !matches!(scope, Scope::Strategy | Scope::Engine) {
            return Err(wrong("only a strategy and the engine have a drawdown"));
        }
        let fraction = Decimal::parse(fraction).map_err(|_| wrong("the drawdown is no decimal"))?;
        let millionths = fraction.at_scale(6).ok().and_then(|millionths| u32::try_from(millionths).ok());
        let millionths = millionths.ok_or_else(|| wrong("the drawdown has six decimals at most, from 0 to 4294"))?;
        Ok(Self::Drawdown { scope, name, millionths })
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "order {text:?}: {what}; expected TIME:INSTRUCTION, such as 60s:trip:engine, 2m:news:on or \
                 1m30s:reset:instrument:BTCUSDT.binance-usdm"
            )
        };
        let (time, instruction) = text.split_once(':').unwrap_or((text, ""));
        let after = humantime::parse_duration(time).map_err(|error| wrong(&format!("its time: {error}")))?;
        let instruction = instruction.parse().map_err(|reason: String| wrong(&reason))?;
        Ok(Self { after, instruction })
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::News(there_is) => f.write_str(if *there_is { "news:on" } else { "news:off" }),
            Self::Breaker { reset, scope, name } => {
                write!(f, "{}:{}", if *reset { "reset" } else { "trip" }, scope.name())?;
                if name.is_empty() { Ok(()) } else { write!(f, ":{name}") }
            }
            Self::Drawdown { scope, name, millionths } => {
                let colon = if name.is_empty() { "" } else { ":" };
                let fraction = Fixed::new(i64::from(*millionths), Scale::saturating(6));
                write!(f, "drawdown:{}{colon}{name}:{fraction}", scope.name())
            }
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", humantime::format_duration(self.after), self.instruction)
    }
}

impl Instruction {
    /// The scope that it resets, as the risk desk names it; `None` for other instructions.
    pub(crate) fn resets(&self) -> Option<String> {
        match self {
            Self::Breaker { reset: true, scope: Scope::Engine, .. } => Some("engine".into()),
            Self::Breaker { reset: true, scope, name } => Some(format!("{}:{name}", scope.name())),
            _ => None,
        }
    }

    /// The command by numbers.
    pub(crate) fn resolve(&self, registry: &Registry, strategies: &[Strategy]) -> Result<Command, UnknownName> {
        let (scope, name) = match self {
            Self::News(there_is) => return Ok(Command::News(*there_is)),
            Self::Breaker { scope, name, .. } | Self::Drawdown { scope, name, .. } => (*scope, name),
        };
        let (known, index): (Vec<String>, _) = match scope {
            Scope::Instrument => {
                let names: Vec<String> = registry.iter().map(|(_, instrument)| instrument.name()).collect();
                let index = names.iter().position(|known| known == name);
                (names, index)
            }
            Scope::Venue => {
                let index = Venue::from_name(name).map(|venue| venue as usize);
                (Venue::ALL.map(|venue| venue.name().to_owned()).into(), index)
            }
            Scope::Strategy => {
                let index = strategies.iter().position(|strategy| strategy.name == *name);
                (strategies.iter().map(|strategy| strategy.name.clone()).collect(), index)
            }
            Scope::Engine => (Vec::new(), Some(0)),
        };
        let id = index.and_then(|index| u16::try_from(index).ok());
        let unknown = || UnknownName { by: format!("order {self}"), name: name.clone(), known: known.join(", ") };
        let id = id.ok_or_else(unknown)?;
        Ok(match self {
            Self::Breaker { reset: true, .. } => Command::Reset(scope, id),
            Self::Drawdown { millionths, .. } => Command::Drawdown(scope, id, *millionths),
            Self::Breaker { .. } | Self::News(_) => Command::Trip(scope, id),
        })
    }
}

impl Order {
    /// The order by numbers: nanoseconds after the first event, and the command.
    pub(crate) fn resolve(&self, registry: &Registry, strategies: &[Strategy]) -> Result<(i64, Command), UnknownName> {
        let command = self.instruction.resolve(registry, strategies)?;
        Ok((i64::try_from(self.after.as_nanos()).unwrap_or(i64::MAX), command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_written_alike() {
        for text in [
            "1m:trip:engine",
            "1m 30s:reset:instrument:BTCUSDT.binance-usdm",
            "0s:trip:venue:binance-spot",
            "2m:news:on",
            "3s:drawdown:engine:0.050000",
            "3s:drawdown:strategy:carry:1.250001",
        ] {
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
            ("60s:news:maybe", "on or off"),
            ("60s:trip:market", "no such kind of scope"),
            ("60s:trip:engine:all", "no name"),
            ("60s:trip:venue", "needs one"),
            ("60s:drawdown:engine", "neither trip nor reset"),
            ("60s:drawdown:venue:binance-spot:0.1", "only a strategy"),
            ("60s:drawdown:engine:-0.1", "from 0"),
            ("60s:drawdown:strategy:0.1", "needs one"),
            ("60s:drawdown:engine:much", "no decimal"),
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
