//! Names, units and definitions of all features, and the hash that binds models to them.
//!
//! **Touch** is the best bid and ask by the newest of book and quote stream (by update id). Windows are counted in
//! event time: the "10 s window" is the running second and the nine whole ones before it. `tick`, `qty` and `quote` are
//! the instrument's own units (`qty` is contracts where contracts are traded); volatilities are annualised over 365
//! days.

use crate::columns::columns_hash;
use tidegate_wire::feature::FEATURE_SLOTS;

/// What one feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Feature {
    /// Name in files, models and reports.
    pub name: &'static str,
    /// Unit of its value.
    pub unit: &'static str,
    /// Moves whenever the definition does.
    pub version: u16,
    /// Whether it is masked while the book is not good.
    pub needs_book: bool,
    /// Definition and source.
    pub about: &'static str,
}

macro_rules! features {
    ($($index:literal $id:ident $name:literal $unit:literal $version:literal $book:ident $about:literal;)*) => {
        $(#[doc = $about] pub const $id: usize = $index;)*

        /// All features, by index.
        pub const FEATURES: [Feature; FEATURE_SLOTS] = [
            $(Feature { name: $name, unit: $unit, version: $version, needs_book: features!(@ $book), about: $about },)*
        ];
    };
    (@ book) => { true };
    (@ tape) => { false };
}

features! {
    0 MID "mid" "quote" 1 book "Mean of best bid and best ask of the touch.";
    1 SPREAD "spread" "quote" 1 book "Best ask less best bid.";
    2 SPREAD_BP "spread_bp" "bp" 1 book "Spread over mid.";
    3 MICRO_PRICE "micro_price" "quote" 1 book "Mid plus the expected next mid move given imbalance decile and spread in ticks (1, 2, 3 or more), learnt online and symmetrised: the first-order term of Stoikov, The micro-price (2018). Null until the state was left 50 times.";
    4 WEIGHTED_MID "weighted_mid" "quote" 1 book "(bid qty x ask + ask qty x bid) / (bid qty + ask qty) at the touch.";
    5 IMBALANCE_1 "imbalance_1" "ratio" 1 book "(bid qty - ask qty) / (bid qty + ask qty) at the touch, in [-1, 1].";
    6 IMBALANCE_5 "imbalance_5" "ratio" 1 book "The same over the best 5 levels of the book.";
    7 IMBALANCE_10 "imbalance_10" "ratio" 1 book "The same over the best 10 levels.";
    8 IMBALANCE_20 "imbalance_20" "ratio" 1 book "The same over the best 20 levels.";
    9 OFI_1S "ofi_1s" "qty" 1 book "Order-flow imbalance at the touch, 1 s window: sum of e_n of Cont, Kukanov, Stoikov, The price impact of order book events (2014), eq. 1-3.";
    10 OFI_10S "ofi_10s" "qty" 1 book "The same, 10 s window.";
    11 MLOFI_1S "mlofi_1s" "qty" 1 book "Order-flow imbalance of the best 5 levels of the book, mean over levels, 1 s window: Xu, Gould, Howison, Multi-level order-flow imbalance (2018).";
    12 MLOFI_10S "mlofi_10s" "qty" 1 book "The same, 10 s window.";
    13 DEPTH_BID_5BP "depth_bid_5bp" "qty" 1 book "Quantity of bids within 5 bp below mid.";
    14 DEPTH_ASK_5BP "depth_ask_5bp" "qty" 1 book "Quantity of asks within 5 bp above mid.";
    15 DEPTH_BID_10BP "depth_bid_10bp" "qty" 1 book "Quantity of bids within 10 bp below mid.";
    16 DEPTH_ASK_10BP "depth_ask_10bp" "qty" 1 book "Quantity of asks within 10 bp above mid.";
    17 DEPTH_BID_25BP "depth_bid_25bp" "qty" 1 book "Quantity of bids within 25 bp below mid.";
    18 DEPTH_ASK_25BP "depth_ask_25bp" "qty" 1 book "Quantity of asks within 25 bp above mid.";
    19 DEPTH_BID_50BP "depth_bid_50bp" "qty" 1 book "Quantity of bids within 50 bp below mid.";
    20 DEPTH_ASK_50BP "depth_ask_50bp" "qty" 1 book "Quantity of asks within 50 bp above mid.";
    21 SLOPE_BID "slope_bid" "qty/bp" 1 book "Least-squares slope through the origin of cumulated bid quantity on distance from mid, best 20 levels: Deuskar, Johnson, Market liquidity and flow-driven risk (2011).";
    22 SLOPE_ASK "slope_ask" "qty/bp" 1 book "The same for asks.";
    23 TRADE_FLOW_1S "trade_flow_1s" "ratio" 1 tape "(bought - sold) / (bought + sold) quantity by aggressor, 1 s window, in [-1, 1]; null without trades.";
    24 TRADE_FLOW_10S "trade_flow_10s" "ratio" 1 tape "The same, 10 s window.";
    25 TRADE_FLOW_60S "trade_flow_60s" "ratio" 1 tape "The same, 60 s window.";
    26 VPIN "vpin" "ratio" 1 tape "Volume-synchronised probability of informed trading: mean |bought - sold| / bucket over the last 50 volume buckets, aggressor sides as reported: Easley, Lopez de Prado, O'Hara, Flow toxicity and liquidity (2012). A bucket is two seconds' mean volume of the first 30 s of trades; null until 10 are full.";
    27 KYLE_LAMBDA "kyle_lambda" "quote/qty" 1 book "Slope of one-second mid changes on signed traded quantity, last 60 s: Kyle, Continuous auctions and insider trading (1985), estimated by least squares; null before 20 s.";
    28 REALISED_VOL_10S "realised_vol_10s" "fraction/year" 1 book "Root of the sum of squared one-second log mid returns of the last 10 s, annualised.";
    29 REALISED_VOL_60S "realised_vol_60s" "fraction/year" 1 book "The same, last 60 s.";
    30 REALISED_VOL_300S "realised_vol_300s" "fraction/year" 1 book "The same, last 300 s.";
    31 BIPOWER_VOL_60S "bipower_vol_60s" "fraction/year" 1 book "Root of bipower variation, last 60 s, annualised: Barndorff-Nielsen, Shephard, Power and bipower variation (2004).";
    32 BIPOWER_VOL_300S "bipower_vol_300s" "fraction/year" 1 book "The same, last 300 s.";
    33 JUMP_SHARE_300S "jump_share_300s" "ratio" 1 book "max(0, 1 - bipower variation / realised variance), last 300 s: the part of variance that came in jumps.";
    34 ROLL_SPREAD_BP "roll_spread_bp" "bp" 1 tape "2 sqrt(-autocovariance of trade price changes) over price, last 128 trades: Roll, A simple implicit measure of the effective bid-ask spread (1984); null where the autocovariance is not negative.";
    35 EFFECTIVE_SPREAD_BP "effective_spread_bp" "bp" 1 book "Mean of 2 x side x (trade price - mid before it) / mid, 10 s window.";
    36 TRADE_RATE_1S "trade_rate_1s" "1/s" 1 tape "Trades a second, 1 s window.";
    37 TRADE_RATE_10S "trade_rate_10s" "1/s" 1 tape "The same, 10 s window.";
    38 MESSAGE_RATE_1S "message_rate_1s" "1/s" 1 tape "Messages of the instrument a second, 1 s window.";
    39 MESSAGE_RATE_10S "message_rate_10s" "1/s" 1 tape "The same, 10 s window.";
    40 BID_ADD_RATE "bid_add_rate" "qty/s" 1 book "Quantity a second that came to the best bid, 10 s window.";
    41 BID_REMOVE_RATE "bid_remove_rate" "qty/s" 1 book "Quantity a second that left the best bid (cancelled or traded), 10 s window.";
    42 ASK_ADD_RATE "ask_add_rate" "qty/s" 1 book "Quantity a second that came to the best ask, 10 s window.";
    43 ASK_REMOVE_RATE "ask_remove_rate" "qty/s" 1 book "Quantity a second that left the best ask, 10 s window.";
    44 CANCEL_RATIO "cancel_ratio" "ratio" 1 book "Part of the quantity taken out of the best 20 levels that was not traded, 10 s window, in [0, 1].";
    45 RESILIENCY "resiliency" "1/s" 1 book "Speed at which top-5 depth returns to its mean: minus the slope of one-second depth changes on depth, last 60 s, after Obizhaeva, Wang, Optimal trading strategy and supply/demand dynamics (2013); null before 20 s.";
    46 FEED_LATENCY "feed_latency_us" "us" 1 tape "Receive time less the venue's stamp; negative where the clocks differ.";
    47 FEED_LATENCY_EWMA "feed_latency_ewma_us" "us" 1 tape "Exponential mean of it over about 32 messages.";
    48 FEED_LATENCY_EXCESS "feed_latency_excess_us" "us" 1 tape "The mean less the smallest latency of the last 60 s: free of any clock offset.";
    49 RETURN_1S "return_1s" "fraction" 1 book "Log return of mid since the newest one-second sample that is at least 1 s old.";
    50 RETURN_10S "return_10s" "fraction" 1 book "The same for 10 s.";
    51 RETURN_60S "return_60s" "fraction" 1 book "The same for 60 s.";
    52 RETURN_300S "return_300s" "fraction" 1 book "The same for 300 s.";
    53 RANGE_10S "range_10s" "fraction" 1 book "Highest over lowest mid of the 10 s window, less 1.";
    54 RANGE_60S "range_60s" "fraction" 1 book "The same, 60 s window.";
    55 VOLUME_10S "volume_10s" "qty" 1 tape "Traded quantity, 10 s window.";
    56 VOLUME_RATIO "volume_ratio" "ratio" 1 tape "Traded quantity a second of the 10 s window over that of the 300 s window; null until 30 s were seen.";
    57 DEPTH_RATIO "depth_ratio" "ratio" 1 book "Quantity within 10 bp of mid, both sides, over its exponential mean of about 60 s, in which a second counts at most three times and at least a third of the mean; 0 while a side of the book is empty; null until 10 s were seen.";
    58 SPREAD_RATIO "spread_ratio" "ratio" 1 book "Spread over its exponential mean of about 60 s, kept in the same way; null until 10 s were seen.";
    59 CORRELATION "correlation" "ratio" 1 book "Correlation of one-second mid returns with the reference instrument (the configured one, else another market of the same asset), last 60 s; null without one, before 30 s, or where one of them did not move.";
    60 MARK_BASIS_BP "mark_basis_bp" "bp" 1 book "Mid over mark price, less 1.";
    61 FUNDING_RATE "funding_rate" "fraction" 1 tape "Funding rate of the running period.";
    62 INDEX_BASIS_BP "index_basis_bp" "bp" 1 book "Mid over index price, less 1.";
    63 DEPTH_AGE_MS "depth_age_ms" "ms" 1 tape "Event time since the last depth frame.";
}

/// Bits of the features that are masked while the book is not good.
pub const NEEDS_BOOK: u64 = {
    let (mut bits, mut i) = (0, 0);
    while i < FEATURE_SLOTS {
        if FEATURES[i].needs_book {
            bits |= 1 << i;
        }
        i += 1;
    }
    bits
};

/// SHA-256 over `index:name:unit:version` lines: models name the schema they were trained on by it.
pub fn schema_hash() -> [u8; 32] {
    columns_hash(FEATURES.iter().map(|feature| (feature.name, feature.unit, feature.version)))
}

/// [`schema_hash`] in hexadecimal.
pub fn schema_hash_hex() -> String {
    hex::encode(schema_hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_hash_is_pinned() {
        let mut names: Vec<_> = FEATURES.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FEATURE_SLOTS);
        assert_eq!(FEATURES[DEPTH_AGE_MS].name, "depth_age_ms");
        // A change of this value means that every trained model must be trained anew: bump versions on purpose.
        assert_eq!(&schema_hash_hex()[..16], PINNED);
    }

    const PINNED: &str = "a56e31b4a1fad53b";
}
