//! Looks at Binance frames of unknown instruments: whose they are, of which market, and their prices and quantities.

use simd_json::Node;
use tidegate_wire::Venue;

use crate::frame::FrameMut;
use crate::venues::binance::parse::{Fields, payload};
use crate::venues::survey::{Found, Survey};
use crate::venues::tape::{Nodes, Parser};

/// Adds one frame; `symbol` names it where the frame does not.
pub(crate) fn see(parser: &mut Parser, frame: &mut FrameMut<'_>, symbol: Option<&str>, survey: &mut Survey) {
    // A frame that cannot be read is counted when it is replayed.
    let _ = parser.with_tape(frame, |nodes| {
        let fields = payload(nodes)?;
        survey.tell(|| venue_of(&fields));
        let named = fields.text("s").or_else(|_| fields.text("symbol")).ok().or(symbol);
        let found = survey.found(named);
        grids(&fields, found);
        if let Some(price) = best_price(&fields) {
            found.best(price);
        }
        Ok(())
    });
}

/// The market of a frame, where its shape tells: futures have `pu` in depth frames and an event type in bookTicker.
fn venue_of(fields: &Fields<'_>) -> Option<Venue> {
    let symbol = fields.text("s").ok()?;
    let futures = match fields.text("e") {
        Ok("depthUpdate") => fields.get("pu").is_some(),
        Ok("bookTicker" | "markPriceUpdate") => true,
        Err(_) if fields.get("u").is_some() && fields.get("b").is_some() => false,
        _ => return None,
    };
    Some(match (futures, symbol.split_once('_')) {
        (false, _) => Venue::BinanceSpot,
        // `BTCUSD_PERP` is coin-margined, `BTCUSDT_240927` a USD-margined delivery contract.
        (true, Some((pair, _))) if pair.ends_with("USD") => Venue::BinanceCoinm,
        (true, _) => Venue::BinanceUsdm,
    })
}

/// The best bid of a quote or a snapshot; single depth frames may begin far from the touch.
fn best_price<'t>(fields: &Fields<'t>) -> Option<&'t str> {
    match (fields.get("bids"), fields.get("B"), fields.get("b")) {
        (Some([Node::Array { .. }, Node::Array { len: 2, .. }, Node::String(price), ..]), _, _) => Some(price),
        (_, Some(_), Some([Node::String(price)])) => Some(price),
        _ => None,
    }
}

/// Only what the decoder reads lies on the grid: `p` of a mark price is an average, `q` of a ticker a turnover, and a
/// trade outside the book has whatever price the insurance fund paid.
fn grids(fields: &Fields<'_>, found: &mut Found) {
    let (prices, quantities): (&[&str], &[&str]) = match fields.text("e") {
        Ok("trade") if fields.get("X").is_some() && fields.text("X") != Ok("MARKET") => return,
        Ok("trade" | "aggTrade") => (&["p"], &["q"]),
        Ok("depthUpdate" | "bookTicker") | Err(_) => (&["b", "a", "bids", "asks"], &["B", "A"]),
        Ok(_) => return,
    };
    for key in prices {
        match fields.get(key) {
            Some([Node::Array { .. }, levels @ ..]) => side(levels, found),
            Some([Node::String(price)]) => found.price(price),
            _ => {}
        }
    }
    for key in quantities {
        if let Some([Node::String(qty)]) = fields.get(key) {
            found.qty(qty);
        }
    }
}

fn side(levels: Nodes<'_>, found: &mut Found) {
    for level in levels.chunks_exact(3) {
        if let [Node::Array { len: 2, .. }, Node::String(price), Node::String(qty)] = level {
            found.price(price);
            found.qty(qty);
        }
    }
}
