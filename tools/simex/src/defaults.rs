//! The default market: six Binance instruments, calibrated against recordings of 8 August 2024.
//!
//! Rates, densities and sizes were set so that [`crate::stats`] of a calm run comes close to `reference.json`; the
//! crate documentation lists what differs.

use crate::config::{AssetParams, FlowParams, InstrumentSpec, Product};

/// 2024-08-09 00:00:00 UTC, ns since the epoch.
pub(crate) const START_NS: i64 = 1_723_161_600_000_000_000;

/// Spot, USD-M and COIN-M perpetuals of BTC and ETH, in this order: spot BTC, spot ETH, USD-M BTC, USD-M ETH,
/// COIN-M BTC, COIN-M ETH.
pub(crate) fn instruments() -> Vec<InstrumentSpec> {
    vec![spot_btc(), spot_eth(), usdm_btc(), usdm_eth(), coinm_btc(), coinm_eth()]
}

/// BTC and ETH.
pub(crate) fn assets() -> Vec<AssetParams> {
    let btc = AssetParams {
        price: 61_800.0,
        volatility: 0.68,
        log_volatility_sd: 0.6,
        volatility_reversion: 0.05,
        jump_rate: 0.012,
        jump_sd_bp: 6.0,
    };
    let eth = AssetParams { price: 2_682.0, volatility: 0.7, jump_sd_bp: 4.0, ..btc.clone() };
    vec![btc, eth]
}

/// Symbol, price, decimals of prices, decimals of quantities and median fill in lots of the thin market's perpetuals.
const THIN: [(&str, f64, u32, u32, f64); 7] = [
    ("BTCUSDT", 61_800.0, 1, 3, 40.0),
    ("ETHUSDT", 2_682.0, 2, 3, 900.0),
    ("SOLUSDT", 154.0, 3, 1, 150.0),
    ("1000SHIBUSDT", 0.013_9, 6, 0, 100_000.0),
    ("DOGEUSDT", 0.104, 5, 0, 20_000.0),
    ("1000PEPEUSDT", 0.007_8, 7, 0, 200_000.0),
    ("TONUSDT", 6.4, 4, 1, 3_000.0),
];

/// Six coins and TON, USD-M perpetuals with a few quotes a second.
pub(crate) fn thin_instruments() -> Vec<InstrumentSpec> {
    let thin = |(asset, (symbol, _, price_decimals, qty_decimals, fill)): (usize, &(&str, f64, u32, u32, f64))| {
        InstrumentSpec {
            symbol: (*symbol).to_owned(),
            asset,
            price_decimals: *price_decimals,
            tick_units: 1,
            qty_decimals: *qty_decimals,
            lot_units: 1,
            ids_per_second: 50.0,
            flow: FlowParams {
                order_rate: 0.25,
                branching: 0.5,
                excitation_decay: 1.0,
                min_fill_lots: 1,
                fill_lots: *fill,
                fill_log_sd: 1.2,
                touch_rate: 1.6,
                touch_lots: 30.0 * fill,
                touch_order_lots: 5.0 * fill,
                deep_rate: 1.6,
                burst_events: 1.0,
                burst_log_sd: 0.5,
                density_per_bp: 1.0,
                near_density_per_bp: 0.8,
                level_lots: 10.0 * fill,
                fleeting_share: 0.0,
                reprice_bp: 1.5,
                reprice_rate: 2.0,
                refill_rate: 2.0,
                basis_sd_bp: 0.2,
                basis_reversion: 0.01,
                ..common_flow()
            },
            ..usdm_btc()
        }
    };
    THIN.iter().enumerate().map(thin).collect()
}

/// Latent prices of the thin market.
pub(crate) fn thin_assets() -> Vec<AssetParams> {
    let asset = |(_, price, ..): &(&str, f64, u32, u32, f64)| AssetParams {
        price: *price,
        volatility: 0.5,
        log_volatility_sd: 0.7,
        volatility_reversion: 0.000_3,
        jump_rate: 0.000_1,
        jump_sd_bp: 15.0,
    };
    THIN.iter().map(asset).collect()
}

/// What the six have in common; every instrument overrides what it differs in.
fn common_flow() -> FlowParams {
    FlowParams {
        order_rate: 10.0,
        branching: 0.84,
        cross_share: 0.25,
        excitation_decay: 6.0,
        fills_tail: 1.45,
        fills_scale: 1.2,
        min_fill_lots: 2,
        fill_lots: 16.0,
        fill_log_sd: 2.1,
        round_share: 0.3,
        touch_rate: 150.0,
        touch_lots: 2_500.0,
        touch_order_lots: 150.0,
        deep_rate: 480.0,
        burst_events: 5.2,
        burst_log_sd: 2.0,
        burst_decay: 15.0,
        density_per_bp: 40.0,
        near_density_per_bp: 16.0,
        density_scale_bp: 35.0,
        level_lots: 42.0,
        level_log_sd: 1.5,
        distance_scale_bp: 6.0,
        distance_tail: 0.9,
        change_share: 0.6,
        fleeting_share: 0.25,
        fleeting_life_ms: 20.0,
        reprice_bp: 0.5,
        reprice_rate: 25.0,
        snipe_share: 0.3,
        refill_rate: 60.0,
        step_share: 0.0,
        basis_bp: 0.0,
        basis_sd_bp: 0.3,
        basis_reversion: 0.4,
    }
}

fn spot_btc() -> InstrumentSpec {
    InstrumentSpec {
        product: Product::Spot,
        symbol: "BTCUSDT".to_owned(),
        pair: String::new(),
        asset: 0,
        price_decimals: 8,
        tick_units: 1_000_000,
        qty_decimals: 8,
        lot_units: 1_000,
        ids_per_second: 0.0,
        first_update_id: 50_093_239_189,
        first_trade_id: 3_735_683_259,
        flow: FlowParams {
            snipe_share: 0.15,
            refill_rate: 40.0,
            step_share: 0.93,
            min_fill_lots: 8,
            order_rate: 7.0,
            fill_lots: 60.0,
            fill_log_sd: 3.2,
            touch_rate: 65.0,
            touch_lots: 100_000.0,
            touch_order_lots: 8_000.0,
            deep_rate: 100.0,
            burst_events: 3.4,
            density_per_bp: 24.0,
            density_scale_bp: 55.0,
            level_lots: 4_500.0,
            change_share: 0.15,
            basis_bp: 6.0,
            ..common_flow()
        },
    }
}

fn spot_eth() -> InstrumentSpec {
    InstrumentSpec {
        symbol: "ETHUSDT".to_owned(),
        asset: 1,
        lot_units: 10_000,
        first_update_id: 35_346_513_499,
        first_trade_id: 1_512_347_801,
        flow: FlowParams {
            snipe_share: 0.2,
            refill_rate: 40.0,
            step_share: 0.75,
            branching: 0.78,
            fills_tail: 1.6,
            min_fill_lots: 19,
            order_rate: 4.2,
            fill_lots: 80.0,
            fill_log_sd: 3.3,
            touch_rate: 58.0,
            touch_lots: 60_000.0,
            touch_order_lots: 5_000.0,
            deep_rate: 80.0,
            burst_events: 4.2,
            density_per_bp: 11.0,
            near_density_per_bp: 9.0,
            density_scale_bp: 110.0,
            level_lots: 9_000.0,
            change_share: 0.5,
            ..spot_btc().flow
        },
        ..spot_btc()
    }
}

fn usdm_btc() -> InstrumentSpec {
    InstrumentSpec {
        product: Product::UsdM,
        symbol: "BTCUSDT".to_owned(),
        pair: String::new(),
        asset: 0,
        price_decimals: 2,
        tick_units: 10,
        qty_decimals: 3,
        lot_units: 1,
        ids_per_second: 110_000.0,
        first_update_id: 5_123_107_832_006,
        first_trade_id: 5_266_583_935,
        flow: FlowParams { order_rate: 17.0, basis_bp: 0.0, ..common_flow() },
    }
}

fn usdm_eth() -> InstrumentSpec {
    InstrumentSpec {
        symbol: "ETHUSDT".to_owned(),
        asset: 1,
        tick_units: 1,
        first_trade_id: 4_177_308_220,
        flow: FlowParams {
            burst_events: 6.5,
            branching: 0.78,
            fills_tail: 1.6,
            min_fill_lots: 7,
            order_rate: 12.5,
            fill_lots: 80.0,
            touch_rate: 130.0,
            touch_lots: 12_000.0,
            touch_order_lots: 900.0,
            density_per_bp: 23.0,
            near_density_per_bp: 11.0,
            density_scale_bp: 55.0,
            level_lots: 560.0,
            change_share: 0.75,
            ..common_flow()
        },
        ..usdm_btc()
    }
}

fn coinm_btc() -> InstrumentSpec {
    InstrumentSpec {
        product: Product::CoinM,
        symbol: "BTCUSD_PERP".to_owned(),
        pair: "BTCUSD".to_owned(),
        asset: 0,
        price_decimals: 1,
        tick_units: 1,
        qty_decimals: 0,
        lot_units: 1,
        ids_per_second: 18_000.0,
        first_update_id: 1_007_198_631_260,
        first_trade_id: 849_714_402,
        flow: FlowParams {
            fill_log_sd: 2.3,
            fleeting_life_ms: 8.0,
            snipe_share: 0.04,
            min_fill_lots: 1,
            order_rate: 1.4,
            fill_lots: 5.0,
            touch_rate: 45.0,
            touch_lots: 900.0,
            touch_order_lots: 60.0,
            deep_rate: 450.0,
            burst_events: 12.0,
            density_per_bp: 14.0,
            near_density_per_bp: 8.0,
            density_scale_bp: 110.0,
            level_lots: 50.0,
            change_share: 0.35,
            fleeting_share: 0.6,
            basis_bp: 0.5,
            ..common_flow()
        },
    }
}

fn coinm_eth() -> InstrumentSpec {
    InstrumentSpec {
        symbol: "ETHUSD_PERP".to_owned(),
        pair: "ETHUSD".to_owned(),
        asset: 1,
        price_decimals: 2,
        first_trade_id: 612_004_118,
        flow: FlowParams {
            fill_log_sd: 1.9,
            branching: 0.75,
            fills_tail: 1.8,
            change_share: 0.45,
            min_fill_lots: 5,
            order_rate: 1.6,
            fill_lots: 35.0,
            touch_rate: 38.0,
            touch_lots: 2_000.0,
            touch_order_lots: 150.0,
            deep_rate: 300.0,
            density_per_bp: 10.0,
            near_density_per_bp: 4.0,
            density_scale_bp: 160.0,
            level_lots: 270.0,
            fleeting_share: 0.65,
            ..coinm_btc().flow
        },
        ..coinm_btc()
    }
}
