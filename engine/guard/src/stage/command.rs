//! What operators order: tripping and resetting breakers by hand, and the news flag.

use tidegate_wire::decision::{Cause, DecisionSink, Scope};

use super::{GuardStage, Place};
use crate::breaker::Breaker;
use crate::orders::{Command, CommandError, Orders};
use crate::rules::{DRAWDOWN, ESCALATION, MANUAL, RULE_COUNT};
use crate::scopes::Group;

#[derive(Clone, Copy)]
enum Change {
    Trip,
    Reset,
}

impl<D: DecisionSink> GuardStage<D> {
    /// Commands to be carried out some nanoseconds after the first event, in event time: a replay obeys them at the
    /// same place whatever its speed and topology.
    ///
    /// # Errors
    /// A scope does not exist; nothing is scheduled.
    pub fn schedule(&mut self, orders: Vec<(i64, Command)>) -> Result<(), CommandError> {
        orders.iter().try_for_each(|(_, command)| self.check(*command))?;
        self.orders = Orders::new(orders);
        // The first event begins them.
        self.next_deadline = i64::MIN;
        Ok(())
    }

    pub(super) fn check(&self, command: Command) -> Result<(), CommandError> {
        let (scope, id) = match command {
            Command::Trip(scope, id) | Command::Reset(scope, id) => (scope, id),
            Command::Drawdown(scope @ (Scope::Strategy | Scope::Engine), id, _) => (scope, id),
            Command::Drawdown(scope, id, _) => return Err(CommandError(scope, id)),
            Command::News(_) => return Ok(()),
        };
        let count = match scope {
            Scope::Instrument => self.watches.len(),
            Scope::Venue => self.venues.len(),
            Scope::Strategy => self.strategies.len(),
            Scope::Engine => 1,
        };
        if usize::from(id) < count { Ok(()) } else { Err(CommandError(scope, id)) }
    }

    /// Carries out a command that came from outside event time, before the next event, and records it so that a
    /// re-enactment can repeat it.
    ///
    /// # Errors
    /// The scope does not exist; nothing was done.
    pub fn operate(&mut self, command: Command, now: i64) -> Result<(), CommandError> {
        self.check(command)?;
        self.advance_between(now);
        self.sink.operated(&command.operated(self.next_event(), self.now));
        self.between = true;
        let done = self.command(command);
        self.between = false;
        done
    }

    /// Carries out an operator's command, in event time.
    ///
    /// # Errors
    /// The scope does not exist; nothing was done.
    pub fn command(&mut self, command: Command) -> Result<(), CommandError> {
        self.check(command)?;
        let (scope, id) = match command {
            Command::Trip(scope, id) | Command::Reset(scope, id) => (scope, id),
            Command::News(there_is) => {
                self.news(there_is);
                return Ok(());
            }
            Command::Drawdown(scope, id, millionths) => {
                let group = self.group_index(scope, usize::from(id));
                self.group(group).drawdown_value = f64::from(millionths) / 1e6;
                self.measure_drawdown(group);
                return Ok(());
            }
        };
        let index = usize::from(id);
        match (command, scope) {
            (Command::Trip(..), Scope::Instrument) => self.change(Place::Manual(index), Change::Trip),
            (Command::Trip(..), _) => self.change(Place::Group(self.group_index(scope, index), MANUAL), Change::Trip),
            (_, Scope::Instrument) => {
                for rule in 0..RULE_COUNT {
                    self.change(Place::Rule(index, rule), Change::Reset);
                }
                self.change(Place::Manual(index), Change::Reset);
            }
            (_, _) => {
                let group = self.group_index(scope, index);
                self.change(Place::Group(group, ESCALATION), Change::Reset);
                self.change(Place::Group(group, MANUAL), Change::Reset);
                self.change(Place::Group(group, DRAWDOWN), Change::Reset);
                // Members that are still stopped trip it again at once: nobody would measure it otherwise.
                let at = self.now;
                let members = self.group(group);
                let (share, limits) = (members.share(), members.limits);
                if let Some(mut transition) = members.escalation.measure(share, &limits, at) {
                    transition.cause = Cause::Escalated;
                    self.decided(Place::Group(group, ESCALATION), transition, at, None);
                }
                // So does a loss that stands.
                self.measure_drawdown(group);
            }
        }
        Ok(())
    }

    /// Groups are numbered venues first, then strategies, then the engine.
    pub(super) fn group_index(&self, scope: Scope, index: usize) -> usize {
        match scope {
            Scope::Instrument | Scope::Venue => index,
            Scope::Strategy => self.venues.len() + index,
            Scope::Engine => self.venues.len() + self.strategies.len(),
        }
    }

    pub(super) fn group(&mut self, index: usize) -> &mut Group {
        let (venues, strategies) = (self.venues.len(), self.strategies.len());
        match index {
            _ if index < venues => &mut self.venues[index],
            _ if index < venues + strategies => &mut self.strategies[index - venues],
            _ => &mut self.engine,
        }
    }

    fn change(&mut self, place: Place, change: Change) {
        let apply = |breaker: &mut Breaker| match change {
            Change::Trip => breaker.force(Cause::ManualTrip),
            Change::Reset => breaker.reset(),
        };
        let transition = match place {
            Place::Rule(index, rule) => apply(&mut self.watches[index].breakers[rule]),
            Place::Manual(index) => apply(&mut self.watches[index].manual),
            Place::Group(index, ESCALATION) => apply(&mut self.group(index).escalation),
            Place::Group(index, DRAWDOWN) => apply(&mut self.group(index).drawdown),
            Place::Group(index, _) => apply(&mut self.group(index).manual),
            Place::Advice(_) | Place::Time => None,
        };
        if let Some(transition) = transition {
            self.decided(place, transition, self.now, None);
        }
    }
}
