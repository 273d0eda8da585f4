//! The state machine.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tidegate_wire::ledger::{LedgerKind, LedgerRecord, Name};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::hash::{account_hash, key_hash, reservation_hash};
use super::{AMOUNT_MAX, Account, Balances, Command, Limits, Outcome, Refusal, Reservation, State, Unreadable, WINDOW};

/// Most places an account may be given.
pub const PLACES_MAX: u32 = 1 << 16;

/// Where money lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pot {
    Outside,
    Available,
    Pending,
    Posted,
}

#[derive(Clone, Debug, Default)]
struct Pots {
    balances: Balances,
    /// Reservations and positions, oldest first.
    locked: Vec<Place>,
}

/// One of an account's places. The amount is here too, so that what has expired needs no look-up.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: u64,
    /// Positions have [`NEVER`].
    expires_ns: u64,
    amount: u128,
}

/// Stands for an expiry that never comes.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Done {
    content: u128,
    outcome: Outcome,
}

/// The ledger. See the [module](super) for what it promises.
#[derive(Clone, Debug)]
pub struct Ledger {
    limits: Limits,
    now_ns: u64,
    last_id: u64,
    applied: u64,
    accounts: HashMap<Account, Pots>,
    /// What came in, less what went out; as a debt, < 0.
    outside: HashMap<Name, i128>,
    reservations: HashMap<u64, Reservation>,
    /// Reservations that can expire, by time and number.
    due: BTreeSet<(u64, u64)>,
    /// Resolved ones that are remembered, oldest first.
    resolved: VecDeque<u64>,
    keys: HashMap<u128, Done>,
    key_order: VecDeque<u128>,
    window: usize,
    /// Sum over the hashes of all accounts, reservations and keys: kept with every change.
    sum: u64,
}

/// A record that does not lead where it led once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// No command of this version.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The command is refused where it was accepted once.
    #[error("a {} that was accepted once is refused now: {refusal}", .kind.name())]
    Refused {
        /// What it was.
        kind: LedgerKind,
        /// Why.
        refusal: Refusal,
    },
    /// It leads to another state.
    #[error("a {} leads to state {found:016x}, and led to {recorded:016x}", .kind.name())]
    State {
        /// What it was.
        kind: LedgerKind,
        /// As recorded.
        recorded: u64,
        /// As computed.
        found: u64,
    },
}

impl Default for Ledger {
    fn default() -> Self {
        Self::with_window(WINDOW)
    }
}

impl Ledger {
    /// An empty ledger that remembers so many keys and resolved reservations (at least one), instead of [`WINDOW`].
    pub fn with_window(window: usize) -> Self {
        Self {
            limits: Limits::default(),
            now_ns: 0,
            last_id: 0,
            applied: 0,
            accounts: HashMap::new(),
            outside: HashMap::new(),
            reservations: HashMap::new(),
            due: BTreeSet::new(),
            resolved: VecDeque::new(),
            keys: HashMap::new(),
            key_order: VecDeque::new(),
            window: window.max(1),
            sum: 0,
        }
    }

    /// Carries out a command at a time of the ledger's clock, ns; a time before the last one counts as the last one.
    /// `key` is the client's, 0 for none.
    ///
    /// # Errors
    /// [`Refusal`]: nothing has changed.
    pub fn apply(&mut self, key: u128, command: &Command, now_ns: u64) -> Result<Outcome, Refusal> {
        let now = now_ns.max(self.now_ns);
        let content = content(command);
        if let Some(done) = self.keys.get(&key).filter(|_| key != 0) {
            let same = done.content == content;
            return if same { Ok(Outcome { exists: true, ..done.outcome }) } else { Err(Refusal::Key { key }) };
        }
        let outcome = self.carry_out(command, now)?;
        self.now_ns = now;
        self.applied += 1;
        if key != 0 {
            self.remember(key, Done { content, outcome });
        }
        Ok(outcome)
    }

    /// A command that was carried out, as the journal keeps it.
    pub fn record(&self, key: u128, command: &Command) -> LedgerRecord {
        LedgerRecord { key, now_ns: self.now_ns, state: self.state_hash(), ..command.record() }
    }

    /// Carries out a record again, and compares where it leads with where it led.
    ///
    /// # Errors
    /// [`ReplayError`]: the journal or this program is not what it was.
    pub fn replay(&mut self, record: &LedgerRecord) -> Result<Outcome, ReplayError> {
        let command = Command::of(record)?;
        let kind = command.kind();
        let outcome = self.apply(record.key, &command, record.now_ns);
        let outcome = outcome.map_err(|refusal| ReplayError::Refused { kind, refusal })?;
        let found = self.state_hash();
        if found == record.state {
            Ok(outcome)
        } else {
            Err(ReplayError::State { kind, recorded: record.state, found })
        }
    }

    /// Hash of everything that decides about later outcomes. Not for adversaries: XXH3.
    pub fn state_hash(&self) -> u64 {
        let scalars = [
            self.sum,
            self.now_ns,
            self.last_id,
            self.applied,
            u64::from(self.limits.buffer_ppm) << 32 | u64::from(self.limits.max_locked),
        ];
        xxh3_64_with_seed(bytemuck::cast_slice(&scalars), 0)
    }

    /// The limits in force.
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The time of the last command, ns.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Commands carried out.
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// What an account has; `None` when nobody has ever put anything there.
    pub fn balances(&self, account: &Account) -> Option<Balances> {
        self.accounts.get(account).map(|pots| pots.balances)
    }

    /// What could be locked at a time, and the buffer, minor units.
    pub fn usable(&self, account: &Account, now_ns: u64) -> (u128, u128) {
        let Some(pots) = self.accounts.get(account) else { return (0, 0) };
        let (_, due) = pots.due(now_ns.max(self.now_ns));
        let (total, buffer) = (pots.balances.total(), self.buffer(pots.balances.total()));
        (total.saturating_sub(buffer).saturating_sub(pots.balances.locked() - due), buffer)
    }

    /// A reservation; `None` when there never was one, or it is no longer remembered.
    pub fn reservation(&self, id: u64) -> Option<&Reservation> {
        self.reservations.get(&id)
    }

    /// Reservations and positions of an account, oldest first.
    pub fn locked(&self, account: &Account) -> impl Iterator<Item = &Reservation> {
        let locked = self.accounts.get(account).map_or(&[][..], |pots| &pots.locked);
        locked.iter().filter_map(|place| self.reservations.get(&place.id))
    }

    /// When the next reservation expires, ns.
    pub fn next_expiry(&self) -> Option<u64> {
        self.due.first().map(|(expires, _)| *expires)
    }

    /// Looks at every account: money is conserved, no pot is in debt, pots are what their reservations say.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), String> {
        let mut sums = self.outside.clone();
        for (account, pots) in &self.accounts {
            let sum = |state: State| -> u128 {
                let of = |place: &Place| self.reservations.get(&place.id).filter(|found| found.state == state);
                pots.locked.iter().filter_map(of).map(|found| found.amount).sum()
            };
            let Balances { pending, posted, locked_count, .. } = pots.balances;
            if (pending, posted) != (sum(State::Pending), sum(State::Posted)) {
                return Err(format!("{account:?}: {pending} pending and {posted} posted are not what is locked"));
            }
            if locked_count as usize != pots.locked.len() {
                return Err(format!("{account:?}: {locked_count} places are counted, {} taken", pots.locked.len()));
            }
            *sums.entry(account.asset).or_default() += pots.balances.total() as i128;
        }
        match sums.iter().find(|(_, sum)| **sum != 0) {
            Some((asset, sum)) => Err(format!("{asset}: {sum} came from nowhere")),
            None => Ok(()),
        }
    }

    fn carry_out(&mut self, command: &Command, now: u64) -> Result<Outcome, Refusal> {
        let nothing = Outcome { kind: command.kind(), id: 0, amount: 0, expires_ns: 0, expired: 0, exists: false };
        match *command {
            Command::Configure(limits) => {
                let Limits { buffer_ppm, max_locked } = limits;
                if buffer_ppm > 1_000_000 || !(1..=PLACES_MAX).contains(&max_locked) {
                    return Err(Refusal::Limits { buffer_ppm: buffer_ppm.into(), max_locked: max_locked.into() });
                }
                self.limits = limits;
                Ok(nothing)
            }
            Command::Deposit { account, amount } => {
                let total = self.balances(&account).map_or(0, |balances| balances.total());
                if !account.owner.is_valid() || !account.asset.is_valid() {
                    return Err(Refusal::Name);
                }
                sane(amount)?;
                sane(total.saturating_add(amount))?;
                self.shift(account, Pot::Outside, Pot::Available, amount);
                Ok(Outcome { amount, ..nothing })
            }
            Command::Withdraw { account, amount } => {
                sane(amount)?;
                let pots = self.accounts.get(&account).ok_or(Refusal::Unknown(account))?;
                let available = pots.balances.available + pots.due(now).1;
                if amount > available {
                    return Err(Refusal::Available { asked: amount, available });
                }
                let expired = self.settle(account, now);
                self.shift(account, Pot::Available, Pot::Outside, amount);
                Ok(Outcome { amount, expired, ..nothing })
            }
            Command::Reserve { .. } => self.reserve(command, now, nothing),
            Command::Post { id, amount } => self.post(id, amount, now, nothing),
            Command::Void { id } => {
                let found = self.find(id, State::Pending, now)?;
                self.resolve(id, State::Voided);
                Ok(Outcome { id, amount: found.amount, ..nothing })
            }
            Command::Close { id, gain } => self.close(id, gain, now, nothing),
            Command::Sweep { most } => {
                let mut expired = 0;
                while expired < most {
                    let Some(&(_, id)) = self.due.first().filter(|(expires, _)| now >= *expires) else { break };
                    self.resolve(id, State::Expired);
                    expired += 1;
                }
                Ok(Outcome { expired, ..nothing })
            }
        }
    }

    fn reserve(&mut self, command: &Command, now: u64, nothing: Outcome) -> Result<Outcome, Refusal> {
        let &Command::Reserve { account, amount, symbol, ttl_ns, wall_ns } = command else { return Ok(nothing) };
        sane(amount)?;
        if !symbol.is_valid() {
            return Err(Refusal::Name);
        }
        let pots = self.accounts.get(&account).ok_or(Refusal::Unknown(account))?;
        let (due_count, due) = pots.due(now);
        let (locked_count, limit) = (pots.balances.locked_count - due_count, self.limits.max_locked);
        if locked_count >= limit {
            return Err(Refusal::Places { limit, locked: locked_count, asked: amount });
        }
        let (total, locked) = (pots.balances.total(), pots.balances.locked() - due);
        let (usable, buffer) = self.usable(&account, now);
        if amount > usable {
            return Err(Refusal::Usable { asked: amount, usable, total, locked, buffer });
        }
        let expired = self.settle(account, now);
        let id = wall_ns.max(self.last_id + 1);
        self.last_id = id;
        let expires_ns = now.saturating_add(ttl_ns).min(NEVER - 1);
        self.shift(account, Pot::Available, Pot::Pending, amount);
        self.edit(account, |pots| {
            pots.locked.push(Place { id, expires_ns, amount });
            pots.balances.locked_count += 1;
        });
        let reservation = Reservation { id, account, symbol, amount, expires_ns, state: State::Pending };
        self.sum = self.sum.wrapping_add(reservation_hash(&reservation));
        self.reservations.insert(id, reservation);
        self.due.insert((expires_ns, id));
        Ok(Outcome { id, amount, expires_ns, expired, ..nothing })
    }

    fn post(&mut self, id: u64, amount: u128, now: u64, nothing: Outcome) -> Result<Outcome, Refusal> {
        let found = self.find(id, State::Pending, now)?;
        let posted = if amount == 0 { found.amount } else { amount };
        if posted > found.amount {
            return Err(Refusal::Exceeds { asked: posted, reserved: found.amount });
        }
        self.shift(found.account, Pot::Pending, Pot::Posted, posted);
        self.shift(found.account, Pot::Pending, Pot::Available, found.amount - posted);
        self.edit(found.account, |pots| {
            let place = pots.locked.iter_mut().find(|place| place.id == id);
            place.into_iter().for_each(|place| (place.expires_ns, place.amount) = (NEVER, posted));
        });
        self.due.remove(&(found.expires_ns, id));
        self.replace(Reservation { amount: posted, state: State::Posted, ..found });
        Ok(Outcome { id, amount: posted, ..nothing })
    }

    fn close(&mut self, id: u64, gain: i128, now: u64, nothing: Outcome) -> Result<Outcome, Refusal> {
        let found = self.find(id, State::Posted, now)?;
        let (account, size) = (found.account, gain.unsigned_abs());
        let pots = self.accounts.get(&account).ok_or(Refusal::Unknown(account))?;
        let covered = found.amount + pots.balances.available + pots.due(now).1;
        if gain < 0 && size > covered {
            return Err(Refusal::Loss { loss: size, covered });
        }
        if gain > 0 {
            sane(pots.balances.total().saturating_add(size))?;
        }
        let expired = if gain < 0 { self.settle(account, now) } else { 0 };
        self.resolve(id, State::Closed);
        match gain {
            0 => {}
            1.. => self.shift(account, Pot::Outside, Pot::Available, size),
            _ => self.shift(account, Pot::Available, Pot::Outside, size),
        }
        Ok(Outcome { id, amount: found.amount, expired, ..nothing })
    }

    /// A reservation in the state that a command is for.
    fn find(&self, id: u64, wanted: State, now: u64) -> Result<Reservation, Refusal> {
        let found = *self.reservations.get(&id).ok_or(Refusal::NoReservation { id })?;
        let over = found.state == State::Pending && now >= found.expires_ns;
        let state = if over { State::Expired } else { found.state };
        if state == wanted { Ok(found) } else { Err(Refusal::Resolved { id, state }) }
    }

    /// The part of a total that cannot be locked, rounded up.
    const fn buffer(&self, total: u128) -> u128 {
        (total * self.limits.buffer_ppm as u128).div_ceil(1_000_000)
    }

    /// Gives back what of an account has expired.
    fn settle(&mut self, account: Account, now: u64) -> u32 {
        let mut expired = 0;
        while let Some(id) = self.accounts.get(&account).and_then(|pots| pots.first_due(now)) {
            self.resolve(id, State::Expired);
            expired += 1;
        }
        expired
    }

    /// Ends a live reservation: what it holds is available again.
    fn resolve(&mut self, id: u64, state: State) {
        let Some(&found) = self.reservations.get(&id) else { return };
        let from = if found.state == State::Posted { Pot::Posted } else { Pot::Pending };
        self.shift(found.account, from, Pot::Available, found.amount);
        self.edit(found.account, |pots| {
            pots.locked.retain(|place| place.id != id);
            pots.balances.locked_count -= 1;
        });
        self.due.remove(&(found.expires_ns, id));
        self.replace(Reservation { state, ..found });
        self.resolved.push_back(id);
        if self.resolved.len() > self.window
            && let Some(old) = self.resolved.pop_front()
            && let Some(old) = self.reservations.remove(&old)
        {
            self.sum = self.sum.wrapping_sub(reservation_hash(&old));
        }
    }

    fn replace(&mut self, reservation: Reservation) {
        self.sum = self.sum.wrapping_add(reservation_hash(&reservation));
        if let Some(old) = self.reservations.insert(reservation.id, reservation) {
            self.sum = self.sum.wrapping_sub(reservation_hash(&old));
        }
    }

    /// Moves money: the one place where balances change. Callers have seen that it is there; no sum comes near the end
    /// of 128 bits, because none passes [`AMOUNT_MAX`].
    fn shift(&mut self, account: Account, from: Pot, to: Pot, amount: u128) {
        if from == Pot::Outside || to == Pot::Outside {
            let outside = self.outside.entry(account.asset).or_default();
            *outside += if from == Pot::Outside { -(amount as i128) } else { amount as i128 };
        }
        self.edit(account, |pots| {
            if let Some(pot) = pots.pot(from) {
                *pot -= amount;
            }
            if let Some(pot) = pots.pot(to) {
                *pot += amount;
            }
        });
    }

    fn edit(&mut self, account: Account, change: impl FnOnce(&mut Pots)) {
        let mut before = 0;
        let pots = self
            .accounts
            .entry(account)
            .and_modify(|pots| before = account_hash(&account, &pots.balances))
            .or_default();
        change(pots);
        self.sum = self.sum.wrapping_sub(before).wrapping_add(account_hash(&account, &pots.balances));
    }

    fn remember(&mut self, key: u128, done: Done) {
        self.sum = self.sum.wrapping_add(key_hash(key, done.content, &done.outcome));
        self.keys.insert(key, done);
        self.key_order.push_back(key);
        if self.key_order.len() > self.window
            && let Some(old) = self.key_order.pop_front()
            && let Some(done) = self.keys.remove(&old)
        {
            self.sum = self.sum.wrapping_sub(key_hash(old, done.content, &done.outcome));
        }
    }
}

impl Pots {
    const fn pot(&mut self, pot: Pot) -> Option<&mut u128> {
        match pot {
            Pot::Outside => None,
            Pot::Available => Some(&mut self.balances.available),
            Pot::Pending => Some(&mut self.balances.pending),
            Pot::Posted => Some(&mut self.balances.posted),
        }
    }

    /// Number and sum of the reservations that have expired and were not given back yet.
    fn due(&self, now: u64) -> (u32, u128) {
        let due = self.locked.iter().filter(|place| now >= place.expires_ns);
        due.fold((0, 0), |(count, sum), place| (count + 1, sum + place.amount))
    }

    fn first_due(&self, now: u64) -> Option<u64> {
        self.locked.iter().find(|place| now >= place.expires_ns).map(|place| place.id)
    }
}

fn sane(amount: u128) -> Result<(), Refusal> {
    if (1..=AMOUNT_MAX).contains(&amount) { Ok(()) } else { Err(Refusal::Amount { asked: amount }) }
}

/// What makes two commands the same: everything but the host's time, which differs between two tries.
fn content(command: &Command) -> u128 {
    xxh3_128(bytemuck::bytes_of(&LedgerRecord { wall_ns: 0, ..command.record() }))
}
