//! The rebuilt book against the venue's own best bid and ask: equal wherever both name the same update id.
//!
//! Quote and depth streams are independent, so either may come first; the last thousand of each are remembered by
//! update id. A mismatch means that the book is wrong although its sequence is unbroken.

use tidegate_wire::Level;
use tidegate_wire::event::Quote;

/// Remembered states of each stream; recorded streams lie at most 82 messages apart.
const REMEMBERED: usize = 1024;

/// Both best levels at an update id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Best {
    update_id: u64,
    bid: Level,
    ask: Level,
}

/// Compares one instrument's book with its quote stream.
#[derive(Debug)]
pub struct CrossCheck {
    quotes: Box<[Best; REMEMBERED]>,
    books: Box<[Best; REMEMBERED]>,
    checked: u64,
    mismatched: u64,
}

impl Default for CrossCheck {
    fn default() -> Self {
        let empty = || Box::new([Best::default(); REMEMBERED]);
        Self { quotes: empty(), books: empty(), checked: 0, mismatched: 0 }
    }
}

#[inline(always)]
fn place(update_id: u64) -> usize {
    (update_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize
}

impl CrossCheck {
    /// The quote stream said this.
    #[inline]
    pub fn quote(&mut self, quote: &Quote) {
        let best = Best { update_id: quote.update_id, bid: quote.bid, ask: quote.ask };
        self.compare(&self.books[place(best.update_id)].clone(), &best);
        self.quotes[place(best.update_id)] = best;
    }

    /// The book, good and after update `update_id`, has these best levels.
    #[inline]
    pub fn book(&mut self, update_id: u64, bid: Option<Level>, ask: Option<Level>) {
        let best = Best { update_id, bid: bid.unwrap_or_default(), ask: ask.unwrap_or_default() };
        self.compare(&self.quotes[place(update_id)].clone(), &best);
        self.books[place(update_id)] = best;
    }

    #[inline(always)]
    fn compare(&mut self, remembered: &Best, best: &Best) {
        if remembered.update_id == best.update_id && best.update_id != 0 {
            self.checked += 1;
            self.mismatched += u64::from(remembered != best);
        }
    }

    /// Forgets the book's states: it was wrong or is being rebuilt.
    pub fn forget_book(&mut self) {
        self.books.fill(Best::default());
    }

    /// Comparisons made, and how many failed.
    pub const fn counts(&self) -> (u64, u64) {
        (self.checked, self.mismatched)
    }
}
