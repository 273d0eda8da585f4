//! What becomes of signals: each is followed until its timer ends, in event time, to both sides.
//!
//! A trade enters at the price that is there for takers (a long one at the ask) and leaves at the other one, and pays
//! the fee twice: that is what "costs included" means. It has reached its profit at the first moment at which leaving
//! would have earned it. Both sides are followed whatever the signal said, so that always-LONG and always-SHORT are
//! measured on the same moments.

use tidegate_wire::signal::{OutcomeBody, SideOutcome, SignalBody};

/// Signals of one coin that may be open at once.
pub const OPEN_MAX: usize = 16;
/// Prices that were last seen longer ago than this before the timer's end say nothing about its end, ns.
const BLIND_NS: i64 = 5_000_000_000;
const BP: f64 = 10_000.0;

/// What a trade costs and is to earn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Profit after costs that counts as reached, bp.
    pub target_bp: f64,
    /// Fee of one side, bp.
    pub fee_bp: f64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    bid: f64,
    ask: f64,
    end_ns: i64,
    outcome: OutcomeBody,
}

/// The open signals of one coin.
#[derive(Clone, Debug)]
pub struct Follower {
    open: Vec<Open>,
    terms: Terms,
    /// End of the timer that ends next, ns; `i64::MAX` without one.
    next_end_ns: i64,
}

impl Follower {
    /// One that follows nothing yet.
    pub fn new(terms: Terms) -> Self {
        Self { open: Vec::with_capacity(OPEN_MAX), terms, next_end_ns: i64::MAX }
    }

    /// Whether another signal can be followed.
    pub fn has_room(&self) -> bool {
        self.open.len() < OPEN_MAX
    }

    /// End of the timer that ends next, ns since the Unix epoch; `i64::MAX` when nothing is open.
    pub const fn next_end_ns(&self) -> i64 {
        self.next_end_ns
    }

    /// Follows a signal from its moment on; there must be room ([`Self::has_room`]).
    pub fn follow(&mut self, signal: &SignalBody) {
        if !self.has_room() {
            return;
        }
        let instrument = u64::from(signal.instrument.0);
        let outcome =
            OutcomeBody { sequence: signal.sequence, seen_ns: signal.event_ns, instrument, ..OutcomeBody::default() };
        let mut open = Open { bid: signal.bid, ask: signal.ask, end_ns: signal.timer_end_ns, outcome };
        // What leaving at once would bring is the first of what is seen.
        for side in [&mut open.outcome.long, &mut open.outcome.short] {
            (side.best_bp, side.worst_bp) = (f64::NEG_INFINITY, f64::INFINITY);
        }
        see(&mut open, &self.terms, signal.event_ns, signal.bid, signal.ask);
        self.open.push(open);
        self.next_end_ns = self.next_end_ns.min(signal.timer_end_ns);
    }

    /// Best bid and ask of a good book, at a time before every open timer's end ([`Self::end`] comes first).
    #[inline]
    pub fn see(&mut self, now_ns: i64, bid: f64, ask: f64) {
        for open in &mut self.open {
            see(open, &self.terms, now_ns, bid, ask);
        }
    }

    /// Ends the timers that have ended at `now_ns`, in the order of their signals.
    pub fn end(&mut self, now_ns: i64, mut told: impl FnMut(&OutcomeBody)) {
        if now_ns < self.next_end_ns {
            return;
        }
        self.open.retain_mut(|open| {
            if now_ns < open.end_ns {
                return true;
            }
            let unseen = open.end_ns - open.outcome.seen_ns;
            open.outcome.blind_ns = open.outcome.blind_ns.max(unseen);
            open.outcome.complete = u64::from(open.outcome.blind_ns <= BLIND_NS);
            open.outcome.event_ns = open.end_ns;
            told(&open.outcome);
            false
        });
        self.next_end_ns = self.open.iter().map(|open| open.end_ns).min().unwrap_or(i64::MAX);
    }

    /// The data ended at `now_ns`: what is open stays incomplete.
    pub fn finish(&mut self, now_ns: i64, mut told: impl FnMut(&OutcomeBody)) {
        self.end(now_ns, &mut told);
        for mut open in self.open.drain(..) {
            open.outcome.event_ns = now_ns;
            told(&open.outcome);
        }
        self.next_end_ns = i64::MAX;
    }
}

fn see(open: &mut Open, terms: &Terms, now_ns: i64, bid: f64, ask: f64) {
    let outcome = &mut open.outcome;
    outcome.blind_ns = outcome.blind_ns.max(now_ns - outcome.seen_ns);
    outcome.seen_ns = now_ns;
    let moved_bp = ((bid + ask) / (open.bid + open.ask) - 1.0) * BP;
    let fees_bp = 2.0 * terms.fee_bp;
    let long_bp = (bid - open.ask) / open.ask * BP - fees_bp;
    let short_bp = (open.bid - ask) / open.bid * BP - fees_bp;
    for (side, net_bp, gross_bp) in [(&mut outcome.long, long_bp, moved_bp), (&mut outcome.short, short_bp, -moved_bp)]
    {
        let SideOutcome { reached_ns, touched_ns, best_bp, worst_bp, final_bp } = side;
        if *reached_ns == 0 && net_bp >= terms.target_bp {
            *reached_ns = now_ns;
        }
        if *touched_ns == 0 && gross_bp >= terms.target_bp {
            *touched_ns = now_ns;
        }
        (*best_bp, *worst_bp, *final_bp) = (best_bp.max(net_bp), worst_bp.min(net_bp), net_bp);
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const TERMS: Terms = Terms { target_bp: 10.0, fee_bp: 5.0 };

    fn signal(sequence: u64, at_s: i64, end_s: i64) -> SignalBody {
        let (event_ns, timer_end_ns) = (at_s * SECOND, end_s * SECOND);
        SignalBody { sequence, event_ns, timer_end_ns, bid: 99.99, ask: 100.01, ..SignalBody::zeroed() }
    }

    /// Prices each second around a mid that a function gives, until the timer's end at 60 s.
    fn follow(mid: impl Fn(i64) -> f64, seconds: std::ops::Range<i64>) -> OutcomeBody {
        let mut follower = Follower::new(TERMS);
        follower.follow(&signal(7, 0, 60));
        let mut outcomes = Vec::new();
        for second in seconds {
            follower.end(second * SECOND, |outcome| outcomes.push(*outcome));
            follower.see(second * SECOND, mid(second) - 0.01, mid(second) + 0.01);
        }
        follower.finish(61 * SECOND, |outcome| outcomes.push(*outcome));
        assert_eq!(outcomes.len(), 1);
        outcomes[0]
    }

    #[test]
    fn the_profit_is_after_spread_and_fees() {
        // 20 bp above the ask at which it entered: 10 for fees, 10 to keep. The bid must be there, not the mid.
        let needed = 100.01 * 1.002 + 0.01;
        let outcome = follow(|second| if second == 30 { needed + 1e-9 } else { 100.0 }, 1..60);
        assert_eq!((outcome.long.reached_ns, outcome.short.reached_ns), (30 * SECOND, 0));
        assert_eq!((outcome.long.touched_ns, outcome.complete), (30 * SECOND, 1));
        let outcome = follow(|second| if second == 30 { needed - 1e-6 } else { 100.0 }, 1..60);
        assert_eq!((outcome.long.reached_ns, outcome.long.touched_ns), (0, 30 * SECOND), "touched, not earned");
        // What is final is the last one: at the old prices a trade has lost spread and fees.
        assert!((outcome.long.final_bp - (-0.02 / 100.01 * 1e4 - 10.0)).abs() < 1e-9, "{}", outcome.long.final_bp);
        assert!(outcome.long.best_bp < 10.0 && outcome.long.worst_bp <= outcome.long.final_bp);
    }

    #[test]
    fn a_short_trade_is_the_mirror() {
        let outcome = follow(|second| if second >= 20 { 99.7 } else { 100.0 }, 1..60);
        assert_eq!((outcome.short.reached_ns, outcome.long.reached_ns), (20 * SECOND, 0));
        assert!(outcome.short.final_bp > 10.0 && outcome.long.final_bp < -30.0);
    }

    #[test]
    fn the_end_of_a_timer_is_not_part_of_it() {
        let outcome = follow(|second| if second >= 60 { 200.0 } else { 100.0 }, 1..62);
        assert_eq!((outcome.long.reached_ns, outcome.event_ns), (0, 60 * SECOND));
    }

    #[test]
    fn who_did_not_see_the_end_does_not_know() {
        let outcome = follow(|_| 100.0, 1..40);
        assert_eq!((outcome.complete, outcome.seen_ns), (0, 39 * SECOND));
        let outcome = follow(|_| 100.0, 1..57);
        assert_eq!(outcome.complete, 1, "four seconds are near enough");
        let mut follower = Follower::new(TERMS);
        follower.follow(&signal(1, 0, 60));
        let mut seen = 0;
        follower.finish(30 * SECOND, |outcome| {
            assert_eq!((outcome.complete, outcome.event_ns), (0, 30 * SECOND));
            seen += 1;
        });
        assert_eq!((seen, follower.next_end_ns()), (1, i64::MAX));
    }

    #[test]
    fn it_takes_no_more_than_it_has_room_for() {
        let mut follower = Follower::new(TERMS);
        for sequence in 0..OPEN_MAX as u64 + 3 {
            follower.follow(&signal(sequence, 0, 60));
        }
        assert!(!follower.has_room());
        let mut ended = Vec::new();
        follower.end(60 * SECOND, |outcome| ended.push(outcome.sequence));
        assert_eq!(ended, (0..OPEN_MAX as u64).collect::<Vec<_>>(), "in the order of the signals");
    }
}
