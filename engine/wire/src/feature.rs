//! The record a feature vector travels in. What each feature means is the market room's matter; its schema hash
//! binds the two.

use bytemuck::{Pod, Zeroable};

use crate::event::{BookQuality, HEADER_WORDS, Header, RecordKind, Status, Trade, record_of};
use crate::top::TopBody;

/// Room for features in a vector; one mask word covers them.
pub const FEATURE_SLOTS: usize = 64;

/// A feature vector's body. Together with its header it is exactly eleven ring lines.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct FeatureBody {
    /// Bit `i` is set when `values[i]` means something; absent inputs clear it.
    pub mask: u64,
    /// A [`BookQuality`], as a word: how far the book behind the vector can be trusted.
    pub quality: u64,
    /// XXH3 of instrument, event time, mask, quality and values: what a decision cites as its input.
    pub digest: u64,
    /// Counter when the market stage took the event, ticks.
    pub taken_ticks: u64,
    /// Counter when the book was up to date, ticks.
    pub book_ticks: u64,
    /// Counter when the vector was complete, ticks.
    pub features_ticks: u64,
    /// The features; a masked one is 0.0 and must not be read.
    pub values: [f64; FEATURE_SLOTS],
}

impl FeatureBody {
    /// A vector with nothing in it.
    pub const EMPTY: Self = Self {
        mask: 0,
        quality: 0,
        digest: 0,
        taken_ticks: 0,
        book_ticks: 0,
        features_ticks: 0,
        values: [0.0; FEATURE_SLOTS],
    };

    /// Feature `index`, or `None` when it is masked.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<f64> {
        (self.mask >> index & 1 == 1).then(|| self.values[index])
    }

    /// Sets or masks feature `index`. What is not finite is masked: a model must never meet it.
    #[inline(always)]
    pub fn set(&mut self, index: usize, value: Option<f64>) {
        let value = value.filter(|v| v.is_finite());
        self.values[index] = value.unwrap_or(0.0);
        self.mask = self.mask & !(1 << index) | u64::from(value.is_some()) << index;
    }

    /// Masks every feature of `bits`, values included: equal vectors have equal bytes.
    pub fn mask_out(&mut self, bits: u64) {
        self.mask &= !bits;
        for (index, value) in self.values.iter_mut().enumerate() {
            if bits >> index & 1 == 1 {
                *value = 0.0;
            }
        }
    }

    /// The book's quality; `Building` should a foreign byte be in it.
    pub fn book_quality(&self) -> BookQuality {
        BookQuality::of_word(self.quality)
    }
}

/// Room for the features of a bar.
pub const MINUTE_SLOTS: usize = 32;

/// A finished one-minute bar with its features. What it means is the market room's matter, as with vectors.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MinuteBody {
    /// Begin, ns since the Unix epoch.
    pub start_ns: i64,
    /// End: when it was known, ns since the Unix epoch.
    pub end_ns: i64,
    /// What it was made of, by number.
    pub origin: u64,
    /// Bits 0 to 3 are set when volume, bought, value and trades are known.
    pub known: u64,
    /// Open, high, low, close, quote units.
    pub prices: [f64; 4],
    /// Quantity traded.
    pub volume: f64,
    /// Of that, bought by aggressors.
    pub bought: f64,
    /// Value traded, quote units.
    pub value: f64,
    /// Number of trades.
    pub trades: u64,
    /// Bit `i` is set when `values[i]` means something.
    pub mask: u64,
    /// The features; a masked one is 0.0 and must not be read.
    pub values: [f64; MINUTE_SLOTS],
}

impl MinuteBody {
    /// Feature `index`, or `None` when it is masked.
    pub fn get(&self, index: usize) -> Option<f64> {
        (index < MINUTE_SLOTS && self.mask >> index & 1 == 1).then(|| self.values[index])
    }
}

/// Whoever consumes feature vectors: the guard stage, a ring to another core, a file.
pub trait FeatureSink {
    /// A vector, in event order.
    fn features(&mut self, header: &Header, body: &FeatureBody);
    /// A one-minute bar has ended. Only those who look at bars want to know.
    fn minute(&mut self, _header: &Header, _body: &MinuteBody) {}
    /// Time passed and no vector came.
    fn heartbeat(&mut self, header: &Header);
    /// A book changed its quality; the vector that shows it follows. Only those who keep a log want to know.
    fn status(&mut self, _header: &Header, _status: &Status) {}
    /// The best levels of a book after it changed; the vector that shows it follows. Only those who trade on paper want
    /// to know.
    fn top(&mut self, _header: &Header, _top: &TopBody) {}
    /// A trade; the vector that shows it follows. Only those who trade on paper want to know.
    fn traded(&mut self, _header: &Header, _trade: &Trade) {}
}

/// Header and body as one record.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct FeatureRecord {
    /// Kind [`crate::RecordKind::Features`].
    pub header: Header,
    /// The vector.
    pub body: FeatureBody,
}

impl FeatureRecord {
    /// The record at the start of a ring's words; `None` when they are another one, or none.
    pub fn of_words(words: &[u64]) -> Option<&Self> {
        record_of(words, RecordKind::Features)
    }
}

/// Header and bar as one record.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct MinuteRecord {
    /// Kind [`crate::RecordKind::Minute`].
    pub header: Header,
    /// The bar.
    pub body: MinuteBody,
}

const _: () = {
    assert!(FEATURE_SLOTS == 64, "one bit of the mask word a feature");
    assert!(size_of::<FeatureRecord>() == 11 * HEADER_WORDS * 8);
};
