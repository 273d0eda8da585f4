//! The ledger at its borders.

use tidegate_guard::ledger::{AMOUNT_MAX, Account, Command, Ledger, Limits, Outcome, Refusal, State};
use tidegate_wire::Scale;
use tidegate_wire::ledger::Name;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn main_account() -> Account {
    Account { owner: name("main"), asset: name("USDT") }
}

const TTL: u64 = 30_000_000_000;

fn reserve(amount: u128) -> Command {
    Command::Reserve { account: main_account(), amount, symbol: name("BTCUSDT"), ttl_ns: TTL, wall_ns: 5_000 }
}

fn with(amount: u128) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.apply(0, &Command::Deposit { account: main_account(), amount }, 0).expect("a deposit");
    ledger
}

#[test]
fn the_buffer_is_exact_to_the_unit() {
    for (total, most) in [(20, 19), (21, 19), (39, 37), (40, 38), (1, 0), (19, 18), (1_000_000, 950_000)] {
        let mut ledger = with(total);
        let usable = |refused| matches!(refused, Err(Refusal::Usable { usable, .. }) if usable == most);
        assert!(usable(ledger.apply(0, &reserve(most + 1), 0)), "{total}");
        assert_eq!(ledger.apply(0, &reserve(most), 0).is_ok(), most > 0, "{total}");
        ledger.check().expect("it balances");
    }
}

#[test]
fn the_eleventh_is_refused_by_name_and_value() {
    let mut ledger = with(1_000_000_000);
    let ids: Vec<u64> = (0..10).map(|_| ledger.apply(0, &reserve(5_000_000), 0).expect("a place").id).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "unique although the host's clock stood still: {ids:?}");
    let refused = ledger.apply(0, &reserve(5_000_000), 0).expect_err("no place");
    let text = refused.told(Scale::saturating(6)).to_string();
    assert_eq!(refused.name(), "max-locked-positions");
    assert!(text.contains("max_locked_positions is 10 and 10 are locked") && text.contains("5.000000"), "{text}");
    // Positions take places as reservations do; one that has expired does not, seen or not.
    ledger.apply(0, &Command::Post { id: ids[0], amount: 0 }, 1).expect("in time");
    assert!(ledger.apply(0, &reserve(1), TTL - 1).is_err());
    let outcome = ledger.apply(0, &reserve(1), TTL).expect("nine places are free again");
    assert_eq!((outcome.expired, ledger.balances(&main_account()).expect("there").locked_count), (9, 2));
}

#[test]
fn a_lock_resolves_once_and_expiry_is_to_the_nanosecond() {
    for (at, expired) in [(TTL - 1, false), (TTL, true), (TTL + 1, true)] {
        for post in [false, true] {
            let mut ledger = with(1_000);
            let id = ledger.apply(0, &reserve(100), 0).expect("room").id;
            let resolve = if post { Command::Post { id, amount: 60 } } else { Command::Void { id } };
            let first = ledger.apply(0, &resolve, at);
            let over = |state| Err(Refusal::Resolved { id, state });
            if expired {
                assert_eq!(first, over(State::Expired));
                assert_eq!(ledger.apply(0, &Command::Sweep { most: 9 }, at).expect("swept").expired, 1);
                assert_eq!(ledger.apply(0, &Command::Sweep { most: 9 }, at).expect("once").expired, 0);
                assert_eq!(ledger.apply(0, &resolve, at), over(State::Expired));
            } else {
                assert!(first.is_ok());
                let state = if post { State::Posted } else { State::Voided };
                assert_eq!(ledger.apply(0, &resolve, at), over(state));
                assert_eq!(ledger.apply(0, &Command::Sweep { most: 9 }, 10 * TTL).expect("swept").expired, 0);
            }
            let locked = if post && !expired { 60 } else { 0 };
            assert_eq!(ledger.balances(&main_account()).expect("there").locked(), locked);
            ledger.check().expect("it balances");
        }
    }
}

/// Time that goes back (it should not) changes nothing that was decided.
#[test]
fn time_does_not_go_back() {
    let mut ledger = with(1_000);
    let id = ledger.apply(0, &reserve(100), 50).expect("room").id;
    ledger.apply(0, &Command::Sweep { most: 1 }, TTL + 50).expect("expired");
    assert_eq!(ledger.apply(0, &Command::Void { id }, 60), Err(Refusal::Resolved { id, state: State::Expired }));
    let later = ledger.apply(0, &reserve(100), 0).expect("room");
    assert_eq!(later.expires_ns, 2 * TTL + 50);
}

#[test]
fn gains_and_losses_move_real_money_only() {
    let open = |loss: i128| {
        let mut ledger = with(1_000);
        let id = ledger.apply(0, &reserve(900), 0).expect("room").id;
        ledger.apply(0, &Command::Post { id, amount: 0 }, 0).expect("posted");
        let closed = ledger.apply(0, &Command::Close { id, gain: loss }, 1);
        ledger.check().expect("it balances");
        (closed.map(|outcome| outcome.amount), ledger.balances(&main_account()).expect("there").total())
    };
    assert_eq!(open(-1_000), (Ok(900), 0));
    assert_eq!(open(-1_001), (Err(Refusal::Loss { loss: 1_001, covered: 1_000 }), 1_000));
    assert_eq!(open(50), (Ok(900), 1_050));
    assert_eq!(open(i128::MIN).1, 1_000);
    assert!(matches!(open(i128::MAX).0, Err(Refusal::Amount { .. })));
}

#[test]
fn amounts_and_names_have_borders() {
    let mut ledger = Ledger::default();
    let deposit = |amount| Command::Deposit { account: main_account(), amount };
    for bad in [0, AMOUNT_MAX + 1, u128::MAX] {
        assert_eq!(ledger.apply(0, &deposit(bad), 0), Err(Refusal::Amount { asked: bad }));
    }
    assert!(ledger.apply(0, &reserve(1), 0).is_err(), "nobody has put anything there");
    ledger.apply(0, &deposit(AMOUNT_MAX), 0).expect("it just fits");
    assert!(matches!(ledger.apply(0, &deposit(1), 0), Err(Refusal::Amount { .. })));
    assert!(matches!(ledger.apply(0, &reserve(AMOUNT_MAX), 0), Err(Refusal::Usable { .. })));
    let nameless = Account { owner: Name::NONE, asset: name("USDT") };
    assert_eq!(ledger.apply(0, &Command::Deposit { account: nameless, amount: 1 }, 0), Err(Refusal::Name));
    for (buffer_ppm, max_locked, good) in
        [(0, 1, true), (1_000_000, 65_536, true), (1_000_001, 1, false), (0, 0, false)]
    {
        let limits = Command::Configure(Limits { buffer_ppm, max_locked });
        assert_eq!(ledger.apply(0, &limits, 0).is_ok(), good);
    }
}

/// What is remembered is bounded, and what is forgotten is said to be.
#[test]
fn the_window_is_bounded() {
    let mut ledger = Ledger::with_window(2);
    ledger.apply(0, &Command::Deposit { account: main_account(), amount: 1_000 }, 0).expect("a deposit");
    let mut lock = |key| {
        let id = ledger.apply(key, &reserve(1), 0).expect("room").id;
        ledger.apply(0, &Command::Void { id }, 0).expect("voided");
        id
    };
    let ids = [lock(1), lock(2), lock(3)];
    assert_eq!(ledger.apply(0, &Command::Void { id: ids[0] }, 0), Err(Refusal::NoReservation { id: ids[0] }));
    let voided = Err(Refusal::Resolved { id: ids[1], state: State::Voided });
    assert_eq!(ledger.apply(0, &Command::Void { id: ids[1] }, 0), voided);
    assert!(matches!(ledger.apply(2, &reserve(1), 9), Ok(Outcome { exists: true, .. })));
    assert!(matches!(ledger.apply(1, &reserve(1), 9), Ok(Outcome { exists: false, .. })), "forgotten: a new lock");
}

/// Very many that expire at once are given back in bounded steps, oldest first.
#[test]
fn a_hundred_thousand_expire_in_bounded_steps() {
    let mut ledger = Ledger::default();
    let accounts: Vec<Account> =
        (0..10_000).map(|n| Account { owner: name(&format!("o{n}")), asset: name("USDT") }).collect();
    for (n, account) in accounts.iter().enumerate() {
        ledger.apply(0, &Command::Deposit { account: *account, amount: 1_000 }, 0).expect("a deposit");
        for _ in 0..10 {
            let ttl_ns = 1_000 - n as u64 % 7;
            let lock = Command::Reserve { account: *account, amount: 9, symbol: name("B"), ttl_ns, wall_ns: 1 };
            ledger.apply(0, &lock, 0).expect("room");
        }
    }
    let (mut swept, mut last) = (0, 0);
    while let Some(expires) = ledger.next_expiry() {
        assert!(expires >= last, "oldest first");
        last = expires;
        let outcome = ledger.apply(0, &Command::Sweep { most: 1_024 }, 1_000).expect("swept");
        assert!((1..=1_024).contains(&outcome.expired));
        swept += outcome.expired;
    }
    assert_eq!(swept, 100_000);
    ledger.check().expect("it balances");
}
