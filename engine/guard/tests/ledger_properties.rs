//! The ledger against a model that is written another way, over random histories and over all small ones.

use std::collections::HashMap;

use proptest::prelude::*;
use tidegate_guard::ledger::{Account, Command, Ledger, Limits, Outcome, Refusal, State};
use tidegate_wire::ledger::Name;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn account(number: u8) -> Account {
    Account { owner: name(&format!("owner{number}")), asset: name("USDT") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lock {
    account: u8,
    amount: u128,
    expires: u64,
    state: State,
}

/// The naive way: a list of locks, balances added up from scratch every time.
#[derive(Clone, Debug, Default)]
struct Model {
    free: HashMap<u8, u128>,
    locks: Vec<Lock>,
    outside: i128,
    now: u64,
}

/// A command by small numbers; locks are named by their place in the list.
#[derive(Clone, Copy, Debug)]
enum Step {
    Deposit(u8, u128),
    Withdraw(u8, u128),
    Reserve(u8, u128, u64),
    Post(usize, u128),
    Void(usize),
    Close(usize, i128),
    Sweep,
    Wait(u64),
}

impl Model {
    fn limits() -> Limits {
        Limits { buffer_ppm: 50_000, max_locked: 3 }
    }

    fn expire(&mut self, only: Option<u8>) -> u32 {
        let (now, mut expired) = (self.now, 0);
        for lock in &mut self.locks {
            let due =
                lock.state == State::Pending && now >= lock.expires && only.is_none_or(|only| only == lock.account);
            if due {
                lock.state = State::Expired;
                *self.free.entry(lock.account).or_default() += lock.amount;
                expired += 1;
            }
        }
        expired
    }

    fn live(&self, account: u8) -> impl Iterator<Item = &Lock> {
        self.locks.iter().filter(move |lock| lock.account == account && lock.state.is_live())
    }

    fn locked(&self, account: u8) -> u128 {
        self.live(account).map(|lock| lock.amount).sum()
    }

    fn total(&self, account: u8) -> u128 {
        self.free.get(&account).copied().unwrap_or(0) + self.locked(account)
    }

    /// Name of the refusal, or what was moved; a copy is tried first, so that refusals change nothing.
    fn apply(&mut self, step: Step) -> Result<u128, &'static str> {
        let mut tried = self.clone();
        let result = tried.try_step(step);
        if result.is_ok() {
            *self = tried;
        }
        result
    }

    fn try_step(&mut self, step: Step) -> Result<u128, &'static str> {
        match step {
            Step::Deposit(_, 0) | Step::Withdraw(_, 0) | Step::Reserve(_, 0, _) => Err("amount"),
            Step::Deposit(account, amount) => {
                *self.free.entry(account).or_default() += amount;
                self.outside -= amount as i128;
                Ok(amount)
            }
            Step::Withdraw(account, amount) => {
                let known = self.free.contains_key(&account);
                self.expire(Some(account));
                let free = self.free.get_mut(&account).filter(|_| known).ok_or("unknown-account")?;
                *free = free.checked_sub(amount).ok_or("available")?;
                self.outside += amount as i128;
                Ok(amount)
            }
            Step::Reserve(account, amount, ttl) => {
                if !self.free.contains_key(&account) {
                    return Err("unknown-account");
                }
                self.expire(Some(account));
                if self.live(account).count() >= 3 {
                    return Err("max-locked-positions");
                }
                let total = self.total(account);
                // In twentieths, rounded against the one who asks.
                if self.locked(account) + amount > total - total.div_ceil(20) {
                    return Err("protection-buffer");
                }
                *self.free.entry(account).or_default() -= amount;
                let expires = self.now + ttl;
                self.locks.push(Lock { account, amount, expires, state: State::Pending });
                Ok(amount)
            }
            Step::Post(place, amount) => {
                let lock = self.find(place, State::Pending)?;
                let posted = if amount == 0 { lock.amount } else { amount };
                let rest = lock.amount.checked_sub(posted).ok_or("exceeds-reserved")?;
                *self.free.entry(lock.account).or_default() += rest;
                self.locks[place] = Lock { amount: posted, state: State::Posted, ..lock };
                Ok(posted)
            }
            Step::Void(place) => {
                let lock = self.find(place, State::Pending)?;
                *self.free.entry(lock.account).or_default() += lock.amount;
                self.locks[place].state = State::Voided;
                Ok(lock.amount)
            }
            Step::Close(place, gain) => {
                let lock = self.find(place, State::Posted)?;
                if gain < 0 {
                    self.expire(Some(lock.account));
                }
                let free = self.free.entry(lock.account).or_default();
                *free += lock.amount;
                *free = free.checked_add_signed(gain).ok_or("loss")?;
                self.outside -= gain;
                self.locks[place].state = State::Closed;
                Ok(lock.amount)
            }
            Step::Sweep => {
                self.expire(None);
                Ok(0)
            }
            Step::Wait(time) => {
                self.now += time;
                Ok(0)
            }
        }
    }

    fn find(&self, place: usize, wanted: State) -> Result<Lock, &'static str> {
        let lock = *self.locks.get(place).ok_or("unknown-lock")?;
        let expired = lock.state == State::Pending && self.now >= lock.expires;
        match if expired { State::Expired } else { lock.state } {
            state if state == wanted => Ok(lock),
            State::Pending => Err("not-posted"),
            State::Posted => Err("already-posted"),
            State::Voided => Err("already-voided"),
            State::Expired => Err("already-expired"),
            State::Closed => Err("already-closed"),
        }
    }
}

/// Both side by side.
struct Pair {
    ledger: Ledger,
    model: Model,
    ids: Vec<u64>,
}

impl Pair {
    fn new() -> Self {
        let mut ledger = Ledger::default();
        ledger.apply(0, &Command::Configure(Model::limits()), 0).expect("limits");
        Self { ledger, model: Model::default(), ids: Vec::new() }
    }

    fn command(&self, step: Step) -> Option<Command> {
        let id = |place: usize| self.ids.get(place).copied().unwrap_or(u64::MAX);
        Some(match step {
            Step::Deposit(number, amount) => Command::Deposit { account: account(number), amount },
            Step::Withdraw(number, amount) => Command::Withdraw { account: account(number), amount },
            Step::Reserve(number, amount, ttl_ns) => {
                Command::Reserve { account: account(number), amount, symbol: name("BTCUSDT"), ttl_ns, wall_ns: 1_000 }
            }
            Step::Post(place, amount) => Command::Post { id: id(place), amount },
            Step::Void(place) => Command::Void { id: id(place) },
            Step::Close(place, gain) => Command::Close { id: id(place), gain },
            Step::Sweep => Command::Sweep { most: 1_000 },
            Step::Wait(_) => return None,
        })
    }

    /// One step on both; the same answer, and the same state afterwards.
    fn step(&mut self, key: u128, step: Step) -> Result<Option<(Command, Outcome)>, String> {
        let (before, hash) = (self.model.clone(), self.ledger.state_hash());
        let expected = self.model.apply(step);
        let Some(command) = self.command(step) else { return Ok(None) };
        let outcome = self.ledger.apply(key, &command, self.model.now);
        let got = outcome.map(|outcome| outcome.amount).map_err(|refusal| refusal.name());
        if got != expected {
            return Err(format!("{step:?} on {before:?}: {got:?}, the model says {expected:?}"));
        }
        match outcome {
            Ok(outcome) if matches!(step, Step::Reserve(..)) => self.ids.push(outcome.id),
            Err(_) if self.ledger.state_hash() != hash => {
                return Err(format!("{step:?} was refused and changed something"));
            }
            _ => {}
        }
        self.compare(step)?;
        Ok(outcome.ok().map(|outcome| (command, outcome)))
    }

    fn compare(&self, step: Step) -> Result<(), String> {
        self.ledger.check().map_err(|reason| format!("after {step:?}: {reason}"))?;
        let (mut sum, limits) = (self.model.outside, Model::limits());
        for number in 0..3 {
            let (model, balances) = (&self.model, self.ledger.balances(&account(number)).unwrap_or_default());
            sum += balances.total() as i128;
            let free = model.free.get(&number).copied().unwrap_or(0);
            let same = (balances.available, balances.locked()) == (free, model.locked(number))
                && balances.locked_count as usize == model.live(number).count();
            if !same || balances.locked_count > limits.max_locked {
                return Err(format!("after {step:?}: account {number} has {balances:?}, the model {model:?}"));
            }
        }
        if sum != 0 {
            return Err(format!("after {step:?}: {sum} came from nowhere"));
        }
        let states = self.ids.iter().zip(&self.model.locks);
        let other =
            states.filter(|(id, lock)| self.ledger.reservation(**id).map(|found| found.state) != Some(lock.state));
        match other.count() {
            0 => Ok(()),
            count => Err(format!("after {step:?}: {count} locks are in other states")),
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let amount = || prop_oneof![4 => 0u128..60, 1 => Just(20u128), 1 => 1_000u128..2_000];
    prop_oneof![
        3 => (0u8..3, amount()).prop_map(|(account, amount)| Step::Deposit(account, amount)),
        2 => (0u8..3, amount()).prop_map(|(account, amount)| Step::Withdraw(account, amount)),
        8 => (0u8..3, amount(), 0u64..30).prop_map(|(account, amount, ttl)| Step::Reserve(account, amount, ttl)),
        4 => (0usize..20, prop_oneof![Just(0u128), 1u128..60]).prop_map(|(place, amount)| Step::Post(place, amount)),
        3 => (0usize..20).prop_map(Step::Void),
        3 => (0usize..20, -80i128..80).prop_map(|(place, gain)| Step::Close(place, gain)),
        1 => Just(Step::Sweep),
        4 => (0u64..12).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Any history gives the model's answers and the model's state; doing it again from its records gives the same
    /// state at every step; asking twice with a key changes nothing.
    #[test]
    fn histories_are_the_models(history in prop::collection::vec(steps(), 1..250)) {
        let (mut pair, mut records) = (Pair::new(), Vec::new());
        records.push(pair.ledger.record(0, &Command::Configure(Model::limits())));
        for (number, step) in history.into_iter().enumerate() {
            let key = number as u128 % 7 * 1_000 + number as u128;
            let done = pair.step(key, step);
            prop_assert!(done.is_ok(), "{}", done.unwrap_err());
            let Ok(Some((command, outcome))) = done else { continue };
            records.push(pair.ledger.record(key, &command));
            if key != 0 {
                let hash = pair.ledger.state_hash();
                let again = pair.ledger.apply(key, &command, pair.model.now + 5);
                prop_assert_eq!(again, Ok(Outcome { exists: true, ..outcome }));
                let other = Command::Deposit { account: account(0), amount: 77_777 };
                prop_assert_eq!(pair.ledger.apply(key, &other, 0), Err(Refusal::Key { key }));
                prop_assert_eq!(pair.ledger.state_hash(), hash);
            }
        }
        let mut again = Ledger::default();
        for record in &records {
            let replayed = again.replay(record);
            prop_assert!(replayed.is_ok(), "{}", replayed.unwrap_err());
        }
        prop_assert_eq!(again.state_hash(), pair.ledger.state_hash());
        // A record that was changed is known.
        if let Some(last) = records.last_mut() {
            last.state ^= 1;
            let mut again = Ledger::default();
            let known = records.iter().any(|record| again.replay(record).is_err());
            prop_assert!(known);
        }
    }
}

/// Every history of up to six steps over one account and three locks: small enough to try all, large enough for every
/// race between posting, voiding, closing and expiring.
#[test]
fn all_small_histories_are_the_models() {
    const STEPS: [Step; 10] = [
        Step::Deposit(0, 21),
        Step::Reserve(0, 1, 2),
        Step::Reserve(0, 19, 1),
        Step::Post(0, 0),
        Step::Post(1, 1),
        Step::Void(0),
        Step::Close(0, -20),
        Step::Withdraw(0, 2),
        Step::Sweep,
        Step::Wait(1),
    ];
    const DEPTH: usize = 6;
    fn explore(pair: &Pair, depth: usize, tried: &mut u64) {
        if depth == 0 {
            return;
        }
        for step in STEPS {
            let mut next = Pair { ledger: pair.ledger.clone(), model: pair.model.clone(), ids: pair.ids.clone() };
            next.step(0, step).expect("as the model says");
            *tried += 1;
            explore(&next, depth - 1, tried);
        }
    }
    let (mut first, mut tried) = (Pair::new(), 0);
    first.step(0, Step::Deposit(0, 20)).expect("a beginning");
    explore(&first, DEPTH - 1, &mut tried);
    assert_eq!(tried, 111_110);
}
