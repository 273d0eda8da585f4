//! Kill switches: everything, a venue, a strategy or an account stands still until somebody answers for it.
//!
//! A switch is latched: time does not reset it, nor does a restart ([`KillSwitch::to_bytes`]). While it is thrown
//! cancels go through, and orders that can only make a position smaller where the configuration says so (RTS 6 Art. 12,
//! FIA PTG 2010). Reset takes a designated person and a reason.

use tidegate_wire::Venue;
use tidegate_wire::order::{KillCause, LimitScope, Verdict};
use xxhash_rust::xxh3::xxh3_64;

use super::book::Who;
use super::people::PersonId;

/// A thrown switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latch {
    /// Why.
    pub cause: KillCause,
    /// The risk rule or emergency protocol, for those causes; else [`Verdict::NO_RULE`].
    pub rule: u8,
    /// Who; [`PersonId::NONE`] when nobody.
    pub person: PersonId,
    /// When, ns since the Unix epoch.
    pub event_ns: i64,
}

/// Why saved switches cannot be used. The safe answer is to stop everything, which [`KillSwitch::restore`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillStateError {
    /// Cut off, or of another version.
    #[error("{0} bytes are no saved kill switches")]
    Shape(usize),
    /// The checksum is not that of the bytes.
    #[error("the checksum of saved kill switches is wrong")]
    Checksum,
    /// A switch of something that the configuration does not have, or a cause nobody knows.
    #[error("saved kill switch {0} is of something that is not configured")]
    Unknown(usize),
}

/// A scope that has no switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kill switch for {scope} {id}", scope = .0.name(), id = .1)]
pub struct KillScopeError(pub LimitScope, pub u16);

/// All switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillSwitch {
    engine: Option<Latch>,
    venues: [Option<Latch>; Venue::ALL.len()],
    strategies: Box<[Option<Latch>]>,
    accounts: Box<[Option<Latch>]>,
    /// Hashes of names, so that saved switches find their owners under other numbers.
    strategy_names: Box<[u64]>,
    account_names: Box<[u64]>,
    thrown: u32,
}

const MAGIC: [u8; 8] = *b"TGKILL1\n";
/// Bytes of a saved switch: scope, cause, rule, zero, person, zero, name's hash, time.
const ENTRY: usize = 24;

impl KillSwitch {
    /// Switches that are not thrown, for named strategies and accounts.
    pub fn new(strategies: &[&str], accounts: &[&str]) -> Self {
        let hashes = |names: &[&str]| names.iter().map(|name| xxh3_64(name.as_bytes())).collect();
        Self {
            engine: None,
            venues: [None; Venue::ALL.len()],
            strategies: vec![None; strategies.len()].into(),
            accounts: vec![None; accounts.len()].into(),
            strategy_names: hashes(strategies),
            account_names: hashes(accounts),
            thrown: 0,
        }
    }

    /// Throws a switch; whether it was not thrown before. The first latch stays: it says what came first.
    ///
    /// # Errors
    /// No such scope.
    pub fn throw(&mut self, scope: LimitScope, id: u16, latch: Latch) -> Result<bool, KillScopeError> {
        let place = self.place(scope, id).ok_or(KillScopeError(scope, id))?;
        let new = place.is_none();
        if new {
            *place = Some(latch);
            self.thrown += 1;
        }
        Ok(new)
    }

    /// Resets a switch; gives what it was. Whoever calls has asked for the keys.
    ///
    /// # Errors
    /// No such scope.
    pub(crate) fn reset(&mut self, scope: LimitScope, id: u16) -> Result<Option<Latch>, KillScopeError> {
        let latch = self.place(scope, id).ok_or(KillScopeError(scope, id))?.take();
        self.thrown -= u32::from(latch.is_some());
        Ok(latch)
    }

    /// The latch of a scope, when it is thrown.
    pub fn get(&self, scope: LimitScope, id: u16) -> Option<&Latch> {
        let index = usize::from(id);
        match scope {
            LimitScope::Firm => self.engine.as_ref().filter(|_| id == 0),
            LimitScope::Venue => self.venues.get(index)?.as_ref(),
            LimitScope::Strategy => self.strategies.get(index)?.as_ref(),
            LimitScope::Account => self.accounts.get(index)?.as_ref(),
            LimitScope::Instrument => None,
        }
    }

    /// Whether anything is thrown.
    #[inline(always)]
    pub const fn is_any_thrown(&self) -> bool {
        self.thrown > 0
    }

    /// The widest thrown switch that concerns an order.
    #[inline(always)]
    pub(crate) fn stops(&self, who: Who) -> Option<(LimitScope, u16, &Latch)> {
        if self.thrown == 0 {
            return None;
        }
        let scopes = [
            (LimitScope::Firm, 0),
            (LimitScope::Venue, u16::from(who.venue)),
            (LimitScope::Account, who.account),
            (LimitScope::Strategy, who.strategy),
        ];
        scopes.into_iter().find_map(|(scope, id)| self.get(scope, id).map(|latch| (scope, id, latch)))
    }

    fn place(&mut self, scope: LimitScope, id: u16) -> Option<&mut Option<Latch>> {
        let index = usize::from(id);
        match scope {
            LimitScope::Firm => (id == 0).then_some(&mut self.engine),
            LimitScope::Venue => self.venues.get_mut(index),
            LimitScope::Strategy => self.strategies.get_mut(index),
            LimitScope::Account => self.accounts.get_mut(index),
            LimitScope::Instrument => None,
        }
    }

    /// Everything thrown, widest scope first.
    pub fn iter(&self) -> impl Iterator<Item = (LimitScope, u16, &Latch)> {
        fn of(scope: LimitScope, latches: &[Option<Latch>]) -> impl Iterator<Item = (LimitScope, u16, &Latch)> {
            let thrown = latches.iter().enumerate();
            thrown.filter_map(move |(id, latch)| Some((scope, id as u16, latch.as_ref()?)))
        }
        of(LimitScope::Firm, core::slice::from_ref(&self.engine))
            .chain(of(LimitScope::Venue, &self.venues))
            .chain(of(LimitScope::Account, &self.accounts))
            .chain(of(LimitScope::Strategy, &self.strategies))
    }

    /// As a file holds them: magic, count, entries, XXH3 of all of that. Strategies and accounts go by the hash of
    /// their name, so that another order in the configuration does not free the wrong one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.thrown.to_le_bytes());
        for (scope, id, latch) in self.iter() {
            let name = match scope {
                LimitScope::Strategy => self.strategy_names[usize::from(id)],
                LimitScope::Account => self.account_names[usize::from(id)],
                _ => u64::from(id),
            };
            bytes.extend_from_slice(&[scope as u8, latch.cause as u8, latch.rule, 0]);
            bytes.extend_from_slice(&u32::from(latch.person.0).to_le_bytes());
            bytes.extend_from_slice(&name.to_le_bytes());
            bytes.extend_from_slice(&latch.event_ns.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Switches as they were saved.
    ///
    /// # Errors
    /// See [`KillStateError`].
    pub fn from_bytes(bytes: &[u8], strategies: &[&str], accounts: &[&str]) -> Result<Self, KillStateError> {
        let shape = KillStateError::Shape(bytes.len());
        let (body, checksum) = bytes.split_last_chunk::<8>().ok_or(shape)?;
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return Err(KillStateError::Checksum);
        }
        let body = body.strip_prefix(&MAGIC).ok_or(shape)?;
        let (count, entries) = body.split_first_chunk::<4>().ok_or(shape)?;
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        if !rest.is_empty() || entries.len() != u32::from_le_bytes(*count) as usize {
            return Err(shape);
        }
        let mut switches = Self::new(strategies, accounts);
        for (index, entry) in entries.iter().enumerate() {
            let unknown = KillStateError::Unknown(index);
            let (scope, id, latch) = switches.entry(entry).ok_or(unknown)?;
            switches.throw(scope, id, latch).map_err(|_| unknown)?;
        }
        Ok(switches)
    }

    fn entry(&self, entry: &[u8; ENTRY]) -> Option<(LimitScope, u16, Latch)> {
        let word = |at: usize| entry[at..].first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let (scope, cause) = (LimitScope::from_repr(entry[0])?, KillCause::from_repr(entry[1])?);
        let (person, name, event_ns) = (u16::from_le_bytes([entry[4], entry[5]]), word(8)?, word(16)? as i64);
        let id = match scope {
            LimitScope::Strategy => self.strategy_names.iter().position(|known| *known == name)?,
            LimitScope::Account => self.account_names.iter().position(|known| *known == name)?,
            _ => usize::try_from(name).ok()?,
        };
        let latch = Latch { cause, rule: entry[2], person: PersonId(person), event_ns };
        Some((scope, u16::try_from(id).ok()?, latch))
    }

    /// As [`Self::from_bytes`]; what cannot be read stops everything, at `now`.
    pub fn restore(
        bytes: &[u8],
        strategies: &[&str],
        accounts: &[&str],
        now: i64,
    ) -> (Self, Result<(), KillStateError>) {
        match Self::from_bytes(bytes, strategies, accounts) {
            Ok(switches) => (switches, Ok(())),
            Err(error) => {
                let mut switches = Self::new(strategies, accounts);
                let (cause, rule) = (KillCause::Unreadable, Verdict::NO_RULE);
                switches.engine = Some(Latch { cause, rule, person: PersonId::NONE, event_ns: now });
                switches.thrown = 1;
                (switches, Err(error))
            }
        }
    }
}

/// The dead-man timer: an operator's heartbeat must come within a time, on whatever clock the caller reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadMan {
    span_ns: i64,
    deadline: i64,
}

impl DeadMan {
    /// Off when the span is 0. It runs from the first look at the clock.
    pub(crate) const fn new(span_ns: i64) -> Self {
        Self { span_ns, deadline: i64::MIN }
    }

    /// The operator is there.
    pub(crate) const fn beat(&mut self, now: i64) {
        self.deadline = now.saturating_add(self.span_ns);
    }

    /// Somebody answered for the silence: it runs from the next look at the clock.
    pub(crate) const fn restart(&mut self) {
        self.deadline = i64::MIN;
    }

    /// How long the heartbeat has been away beyond the last one, if that is too long.
    pub(crate) const fn tick(&mut self, now: i64) -> Option<i64> {
        if self.span_ns == 0 {
            return None;
        }
        if self.deadline == i64::MIN {
            self.beat(now);
        }
        if now >= self.deadline { Some(now.saturating_sub(self.deadline).saturating_add(self.span_ns)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATCH: Latch = Latch { cause: KillCause::Operator, rule: 255, person: PersonId(3), event_ns: 77 };

    fn switches() -> KillSwitch {
        KillSwitch::new(&["carry", "grid"], &["main", "hedge"])
    }

    #[test]
    fn switches_stop_whom_they_concern_and_stay() {
        let mut kill = switches();
        let who = |account, strategy, venue| Who { account, strategy, instrument: 0, venue };
        assert_eq!(kill.throw(LimitScope::Strategy, 1, LATCH), Ok(true));
        assert_eq!(kill.throw(LimitScope::Strategy, 1, Latch { event_ns: 99, ..LATCH }), Ok(false));
        assert_eq!(kill.get(LimitScope::Strategy, 1), Some(&LATCH), "the first stays");
        assert!(kill.stops(who(0, 1, 0)).is_some() && kill.stops(who(0, 0, 0)).is_none());
        assert_eq!(kill.throw(LimitScope::Account, 1, LATCH), Ok(true));
        assert_eq!(kill.throw(LimitScope::Venue, 7, LATCH), Ok(true));
        assert!(kill.stops(who(1, 0, 0)).is_some() && kill.stops(who(0, 0, 7)).is_some());
        assert_eq!(kill.throw(LimitScope::Firm, 0, LATCH), Ok(true));
        assert_eq!(kill.stops(who(0, 0, 0)).map(|(scope, ..)| scope), Some(LimitScope::Firm));
        for (scope, id) in [(LimitScope::Instrument, 0), (LimitScope::Firm, 1), (LimitScope::Strategy, 2)] {
            assert_eq!(kill.throw(scope, id, LATCH), Err(KillScopeError(scope, id)));
        }
        assert_eq!(kill.reset(LimitScope::Firm, 0), Ok(Some(LATCH)));
        assert_eq!(kill.reset(LimitScope::Firm, 0), Ok(None));
        assert_eq!(kill.iter().count(), 3);
    }

    #[test]
    fn a_restart_keeps_them_under_other_numbers() {
        let mut kill = switches();
        for (scope, id) in [(LimitScope::Strategy, 0), (LimitScope::Account, 1), (LimitScope::Venue, 3)] {
            assert_eq!(kill.throw(scope, id, LATCH), Ok(true));
        }
        let bytes = kill.to_bytes();
        assert_eq!(KillSwitch::from_bytes(&bytes, &["carry", "grid"], &["main", "hedge"]), Ok(kill));
        let moved = KillSwitch::from_bytes(&bytes, &["a", "b", "carry"], &["hedge"]).expect("known names");
        assert!(moved.get(LimitScope::Strategy, 2).is_some() && moved.get(LimitScope::Account, 0).is_some());
        let gone = KillSwitch::restore(&bytes, &["grid"], &["main", "hedge"], 5);
        assert!(matches!(gone.1, Err(KillStateError::Unknown(_))));
        let latch = gone.0.get(LimitScope::Firm, 0).expect("everything is stopped");
        assert_eq!((latch.cause, latch.event_ns), (KillCause::Unreadable, 5));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let mut kill = switches();
        assert_eq!(kill.throw(LimitScope::Strategy, 0, LATCH), Ok(true));
        let bytes = kill.to_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(KillSwitch::from_bytes(&flipped, &["carry"], &[]).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(KillSwitch::from_bytes(&bytes[..length], &["carry"], &[]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_dead_man_counts_from_the_last_heartbeat() {
        let mut timer = DeadMan::new(10);
        assert_eq!(timer.tick(100), None);
        assert_eq!(timer.tick(109), None);
        timer.beat(105);
        assert_eq!((timer.tick(114), timer.tick(115), timer.tick(120)), (None, Some(10), Some(15)));
        assert_eq!(DeadMan::new(0).tick(i64::MAX), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let (switches, result) = KillSwitch::restore(&bytes, &["carry"], &["main"], 1);
            prop_assert!(result.is_err() && switches.get(LimitScope::Firm, 0).is_some());
        }
    }
}
