//! Checksums of books: CRC-32 over the best levels, made of the very texts the venue sent.
//!
//! Bitget and, until June 2026, OKX send with each frame the checksum of their book after it: `price:size` of the best
//! 25 bids and asks in turn, joined by `:`, read as a signed number. Trailing zeros count, so decimals that were parsed
//! and printed again do not give it: texts are kept as they came.

use tidegate_wire::Level;

use crate::counters::Reason;
use crate::ladder::Ladder;

/// Levels a side that a checksum covers.
const COVERED: usize = 25;
/// Levels a side that are kept: the venues send up to 400 to a few hundred more, and the best 25 must survive the
/// removal of all but the last of them.
const KEPT: usize = 2048;
/// Longest `price:size`. Mantissas below 2^49 with up to 18 decimals take less unless they are padded with zeros.
const TEXT_MAX: usize = 47;

/// `price:size` of a level, as the venue wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    bytes: [u8; TEXT_MAX],
    length: u8,
}

impl Text {
    pub(crate) const EMPTY: Self = Self { bytes: [0; TEXT_MAX], length: 0 };

    /// Joins the two texts of a level.
    ///
    /// # Errors
    /// [`Reason::BadDecimal`] where they are longer than any number needs.
    pub(crate) fn join(&mut self, price: &[u8], qty: &[u8]) -> Result<(), Reason> {
        let (colon, length) = (price.len(), price.len() + 1 + qty.len());
        if length > TEXT_MAX {
            return Err(Reason::BadDecimal);
        }
        self.bytes[..colon].copy_from_slice(price);
        self.bytes[colon] = b':';
        self.bytes[colon + 1..length].copy_from_slice(qty);
        self.length = length as u8;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// The texts of one book's levels, and room to join them.
#[derive(Debug)]
pub(crate) struct Checksum {
    ladder: Ladder<Text>,
    joined: Vec<u8>,
}

impl Checksum {
    /// An empty book.
    pub(crate) fn new() -> Self {
        Self { ladder: Ladder::new(KEPT), joined: Vec::with_capacity(2 * COVERED * (TEXT_MAX + 1)) }
    }

    /// Replaces the book, or changes some of its levels; `texts` are those of the levels, bids and asks.
    pub(crate) fn take(&mut self, whole: bool, (bids, asks): (&[Level], &[Level]), texts: (&[Text], &[Text])) {
        let text = |side: bool, index: usize| {
            let texts = if side { texts.0 } else { texts.1 };
            texts.get(index).copied().unwrap_or(Text::EMPTY)
        };
        if whole { self.ladder.load(bids, asks, text) } else { self.ladder.apply(bids, asks, text) }
    }

    /// The checksum of the book as it is.
    pub(crate) fn value(&mut self) -> i32 {
        self.joined.clear();
        let (mut bids, mut asks) = (self.ladder.best(true), self.ladder.best(false));
        for _ in 0..COVERED {
            for text in [bids.next(), asks.next()].into_iter().flatten() {
                if !self.joined.is_empty() {
                    self.joined.push(b':');
                }
                self.joined.extend_from_slice(text.bytes());
            }
        }
        crc32fast::hash(&self.joined) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_wire::{Price, Qty};

    /// Levels and their texts of a side; prices have one decimal.
    fn side(pairs: &[(&str, &str)]) -> (Vec<Level>, Vec<Text>) {
        let one = |(price, qty): &(&str, &str)| {
            let mut text = Text::EMPTY;
            text.join(price.as_bytes(), qty.as_bytes()).expect("short texts");
            let raw = (price.parse::<f64>().expect("a number") * 10.0).round() as i64;
            let qty = qty.parse().expect("a number");
            (Level { price: Price::from_raw(raw), qty: Qty::from_raw(qty) }, text)
        };
        pairs.iter().map(one).unzip()
    }

    fn value(bids: &[(&str, &str)], asks: &[(&str, &str)]) -> i32 {
        let (bids, asks) = (side(bids), side(asks));
        let mut checksum = Checksum::new();
        checksum.take(true, (&bids.0, &asks.0), (&bids.1, &asks.1));
        checksum.value()
    }

    #[test]
    fn the_venues_examples() {
        let value_of = |first: &[(&str, &str)], second: &[(&str, &str)]| value(first, second);
        let (bids, asks) = ([("43231.1", "4"), ("43231", "6")], [("43232.8", "9"), ("43232.9", "8")]);
        assert_eq!(value_of(&bids, &asks), -1_504_501_796);
        // One side is shorter: its entries are left out.
        let asks = [("3366.8", "9"), ("3368", "8"), ("3372", "8")];
        assert_eq!(value_of(&[("3366.1", "7")], &asks), 831_078_360);
        // Zeros at the end are part of the text.
        assert_ne!(value(&[("3366.10", "7")], &asks), value(&[("3366.1", "7")], &asks));
        assert_eq!(value(&[], &[]), 0);
    }

    #[test]
    fn only_the_best_levels_count_and_deeper_ones_move_up() {
        let name = |n: i64| (format!("{n}"), "1".to_owned());
        let all: Vec<_> = (1..=40).map(name).collect();
        let refer = |all: &[(String, String)]| {
            let pairs: Vec<_> = all.iter().map(|(price, qty)| (&**price, &**qty)).collect();
            side(&pairs)
        };
        let (levels, texts) = refer(&all);
        let mut checksum = Checksum::new();
        checksum.take(true, (&levels, &[]), (&texts, &[]));
        let best: Vec<String> = (16..=40).rev().map(|n| format!("{n}:1")).collect();
        assert_eq!(checksum.value(), crc32fast::hash(best.join(":").as_bytes()) as i32);
        let gone = Level { qty: Qty::ZERO, ..levels[39] };
        checksum.take(false, (&[gone], &[]), (&texts[39..], &[]));
        let best: Vec<String> = (15..40).rev().map(|n| format!("{n}:1")).collect();
        assert_eq!(checksum.value(), crc32fast::hash(best.join(":").as_bytes()) as i32);
    }

    #[test]
    fn texts_longer_than_any_number_are_refused() {
        let mut text = Text::EMPTY;
        assert_eq!(text.join(&[b'1'; 30], &[b'2'; 16]), Ok(()));
        assert_eq!(text.join(&[b'1'; 30], &[b'2'; 17]), Err(Reason::BadDecimal));
    }
}
