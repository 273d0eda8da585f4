//! Names, units and definitions of the features of one-minute bars, and the hash that binds models to them.
//!
//! A window of n bars is the finished bar and the n - 1 before it. A minute without a bar (nothing traded) counts as
//! one at the last close without volume; after more than 60 of them in a row everything begins anew. Volatilities are
//! annualised with 525,600 minutes. Every feature is null until its window is full.

use crate::columns::columns_hash;

/// What one feature of bars is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BarFeature {
    /// Name in files, models and reports.
    pub name: &'static str,
    /// Unit of its value.
    pub unit: &'static str,
    /// Moves whenever the definition does.
    pub version: u16,
    /// Definition, source and when it is null beside an unfilled window.
    pub about: &'static str,
}

/// Number of features.
pub const BAR_FEATURE_COUNT: usize = 29;

macro_rules! features {
    ($($index:literal $id:ident $name:literal $unit:literal $version:literal $about:literal;)*) => {
        $(#[doc = $about] pub const $id: usize = $index;)*

        /// All features, by index.
        pub const BAR_FEATURES: [BarFeature; BAR_FEATURE_COUNT] = [
            $(BarFeature { name: $name, unit: $unit, version: $version, about: $about },)*
        ];
    };
}

features! {
    0 RETURN_1 "return_1" "fraction" 1 "Log return of the close over 1 bar.";
    1 RETURN_5 "return_5" "fraction" 1 "The same over 5 bars.";
    2 RETURN_15 "return_15" "fraction" 1 "The same over 15 bars.";
    3 RETURN_60 "return_60" "fraction" 1 "The same over 60 bars.";
    4 RETURN_240 "return_240" "fraction" 1 "The same over 240 bars.";
    5 REALISED_VOL_15 "realised_vol_15" "fraction/year" 1 "Root of the sum of the squared one-bar log returns of 15 bars, annualised: Andersen, Bollerslev, Diebold, Labys, Modeling and forecasting realized volatility (2003).";
    6 REALISED_VOL_60 "realised_vol_60" "fraction/year" 1 "The same over 60 bars.";
    7 REALISED_VOL_240 "realised_vol_240" "fraction/year" 1 "The same over 240 bars.";
    8 PARKINSON_VOL_60 "parkinson_vol_60" "fraction/year" 1 "Root of the mean of ln(high/low)^2 / (4 ln 2) over 60 bars, annualised: Parkinson, The extreme value method (1980).";
    9 RANGE_15 "range_15" "fraction" 1 "Highest high over lowest low of 15 bars, less 1.";
    10 RANGE_60 "range_60" "fraction" 1 "The same over 60 bars.";
    11 VOLUME_RATIO_5_60 "volume_ratio_5_60" "ratio" 1 "Volume a bar of 5 bars over that of 60 bars; null where a volume is unknown or all are 0.";
    12 TAKER_BUY_SHARE_1 "taker_buy_share_1" "ratio" 1 "Part of the bar's volume bought by aggressors, in [0, 1]; null where unknown or without volume.";
    13 TAKER_BUY_SHARE_15 "taker_buy_share_15" "ratio" 1 "The same over 15 bars; null where one is unknown.";
    14 TAKER_BUY_SHARE_60 "taker_buy_share_60" "ratio" 1 "The same over 60 bars.";
    15 RSI_14 "rsi_14" "percent" 1 "Relative strength index of closes, in [0, 100]: Wilder, New concepts in technical trading systems (1978); means of 14 changes, then smoothed by 1/14; null while nothing moved.";
    16 MACD_HISTOGRAM "macd_histogram" "fraction" 1 "MACD (12, 26) less its signal (9), over the close: Appel, The moving average convergence-divergence method (1979); exponential means begin with the first close; null before 35 bars.";
    17 BOLLINGER_POSITION_20 "bollinger_position_20" "ratio" 1 "Close less the mean of 20 closes, over twice their standard deviation: 1 on the upper band: Bollinger, Bollinger on Bollinger bands (2001); null where none moved.";
    18 EMA_DISTANCE_20 "ema_distance_20" "fraction" 1 "Close over its exponential mean of span 20, less 1; the mean begins with the first close.";
    19 EMA_DISTANCE_50 "ema_distance_50" "fraction" 1 "The same with span 50.";
    20 EMA_DISTANCE_200 "ema_distance_200" "fraction" 1 "The same with span 200.";
    21 ATR_14 "atr_14" "fraction" 1 "Average true range over the close: Wilder (1978); mean of 14 true ranges, then smoothed by 1/14.";
    22 CLOSE_LOCATION "close_location" "ratio" 1 "(close - low) / (high - low), in [0, 1]; null where high is low.";
    23 MINUTE_OF_DAY_SIN "minute_of_day_sin" "ratio" 1 "Sine of the angle of the bar's end in the UTC day.";
    24 MINUTE_OF_DAY_COS "minute_of_day_cos" "ratio" 1 "Cosine of it.";
    25 MINUTE_OF_WEEK_SIN "minute_of_week_sin" "ratio" 1 "Sine of the angle of the bar's end in the week, which begins on Monday 00:00 UTC.";
    26 MINUTE_OF_WEEK_COS "minute_of_week_cos" "ratio" 1 "Cosine of it.";
    27 FUNDING_RATE "funding_rate" "fraction" 1 "Last funding rate of the instrument known before the bar's end; null without one or when it is older than a day.";
    28 DVOL "dvol" "fraction/year" 1 "Last value of Deribit's volatility index of the base asset over 100, of bitcoin's where the asset has none, known before the bar's end; null without one or when it is older than three days.";
}

/// SHA-256 over `index:name:unit:version` lines: models name the schema they were trained on by it.
pub fn bars_schema_hash() -> [u8; 32] {
    columns_hash(BAR_FEATURES.iter().map(|feature| (feature.name, feature.unit, feature.version)))
}

/// [`bars_schema_hash`] in hexadecimal.
pub fn bars_schema_hash_hex() -> String {
    hex::encode(bars_schema_hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_hash_is_pinned() {
        let mut names: Vec<_> = BAR_FEATURES.iter().map(|f| f.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BAR_FEATURE_COUNT);
        assert_eq!(BAR_FEATURES[DVOL].name, "dvol");
        // A change of this value means that every trained model must be trained anew: bump versions on purpose.
        assert_eq!(bars_schema_hash_hex(), PINNED);
    }

    const PINNED: &str = "976ea3e072d04b315c6ad67ba14b228aca759aae69c21b0bae4a68411e05ea57";
}
