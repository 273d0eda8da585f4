//! Every Bybit message by simd-json.

use tidegate_wire::event::{MARK_DECIMALS, OptionMark, Quote, RATE_DECIMALS, Trade};

use crate::counters::Reason;
use crate::symbols::SymbolTable;
use crate::sync::{Previous, StreamIds};
use crate::venues::tape::{Nodes, Value, pick};
use crate::venues::{Batch, Body, LEVELS_MAX, Levels, Marks, Message, OptionMessage, StreamFrame};

/// Most levels a side of one frame: as many may have to be removed behind them.
pub(super) const FRAME_LEVELS: usize = LEVELS_MAX / 2;

pub(super) struct Reader<'a> {
    pub(super) symbols: &'a SymbolTable,
    pub(super) levels: &'a mut Levels,
    pub(super) batch: &'a mut Batch,
    pub(super) marks: &'a mut Marks,
}

impl Reader<'_> {
    pub(super) fn read(self, nodes: Nodes<'_>) -> Result<Message, Reason> {
        let keys = ["topic", "type", "ts", "cts", "data", "op", "success", "retCode", "ret_code"];
        let [topic, kind, ts, cts, data, op, success, code, old_code] =
            pick(Value::of(nodes), &keys).map_err(|_| Reason::UnknownMessage)?;
        if !topic.is_there() {
            let control = [op, success, code, old_code].iter().any(|value| value.is_there());
            return Err(if control { Reason::Control } else { Reason::UnknownMessage });
        }
        let snapshot = match kind.text_or_empty() {
            "snapshot" => true,
            "delta" => false,
            // Versions before 5 have other types and other topics.
            _ => return Err(Reason::UnusedStream),
        };
        self.batch.clear();
        match topic.text()?.split_once('.') {
            Some(("orderbook", rest)) => {
                let depth = depth_of(rest).ok_or(Reason::UnusedStream)?;
                let venue_ns = if cts.says() { cts.ms()? } else { ts.ms()? };
                self.depth(data, snapshot, depth, venue_ns)
            }
            Some(("publicTrade", _)) => self.trades(data),
            Some(("tickers", _)) => self.ticker(data, snapshot, ts.ms()?),
            _ => Err(Reason::UnusedStream),
        }
    }

    fn depth(self, data: Value<'_>, whole: bool, depth: u16, venue_ns: i64) -> Result<Message, Reason> {
        let [symbol, bids, asks, id, seq] = pick(data, &["s", "b", "a", "u", "seq"])?;
        let entry = self.symbols.find(symbol.text()?.as_bytes()).ok_or(Reason::UnknownSymbol)?;
        let levels = self.levels;
        for (side, room, count) in
            [(bids, &mut levels.bids, &mut levels.bid_count), (asks, &mut levels.asks, &mut levels.ask_count)]
        {
            *count = side.levels(entry, &mut room[..FRAME_LEVELS], |_, _, _| Ok(()))?;
        }
        let body = if depth == 1 {
            quote(whole, levels, seq.told(Value::integer)?)?
        } else {
            let ids = StreamIds { last: Some(id.integer()?), previous: Previous::Absent, rank: depth };
            Body::Stream(StreamFrame { window: depth, ..StreamFrame::new(whole, ids) })
        };
        Ok(Message { instrument: entry.id, venue_ns, body })
    }

    fn trades(self, data: Value<'_>) -> Result<Message, Reason> {
        for row in data.elements()? {
            let [symbol, time, side, qty, price, id] = pick(row, &["s", "T", "S", "v", "p", "i"])?;
            let Some(entry) = self.symbols.find(symbol.text()?.as_bytes()) else { continue };
            let transact_ns = time.ms()?;
            let (price, qty) = (price.price(entry)?, qty.qty_above_zero(entry)?);
            let trade = Trade { price, qty, trade_id: id.identity(), transact_ns };
            let body = Body::Trade { trade, sell: side.sold()?, raw: false };
            self.batch.messages.push(Message { instrument: entry.id, venue_ns: transact_ns, body });
        }
        self.batch.message(Reason::UnknownSymbol)
    }

    /// A delta holds only what changed: the rest is as it was.
    fn ticker(self, data: Value<'_>, snapshot: bool, venue_ns: i64) -> Result<Message, Reason> {
        let keys = ["symbol", "markPriceIv", "markPrice", "indexPrice", "fundingRate", "nextFundingTime"];
        let [symbol, iv, mark, index, rate, time] = pick(data, &keys)?;
        let entry = self.symbols.find(symbol.text()?.as_bytes()).ok_or(Reason::UnknownSymbol)?;
        if iv.is_there() {
            let option = option(data)?;
            self.batch.options.push(OptionMessage { instrument: entry.id, venue_ns, option });
            return self.batch.message(Reason::BadField);
        }
        // Spot has no mark, and most deltas are about best prices and turnover.
        if ![mark, index, rate, time].iter().any(|value| value.says()) {
            return Err(Reason::UnusedStream);
        }
        let price = |value: Value<'_>| value.told(|value| value.rounded(MARK_DECIMALS));
        let (mark, index) = (price(mark)?, price(index)?);
        let rate = rate.told(|value| value.rounded(RATE_DECIMALS))?;
        let time = time.told(Value::ms)?;
        let kept = self.marks.of(entry.id);
        if snapshot {
            *kept = Default::default();
        }
        kept.mark = mark.unwrap_or(kept.mark);
        kept.index = index.unwrap_or(kept.index);
        kept.funding = rate.unwrap_or(kept.funding);
        kept.next_funding_ns = time.unwrap_or(kept.next_funding_ns);
        Ok(Message { instrument: entry.id, venue_ns, body: Body::Mark(*kept) })
    }
}

/// The depth in a topic behind `orderbook.`; the books of other kinds (`full`, `rpi`) have other shapes.
pub(super) fn depth_of(rest: &str) -> Option<u16> {
    rest.split('.').next()?.parse().ok().filter(|depth| *depth > 0)
}

/// The best levels of depth 1, which sends snapshots only. `seq` orders all that is sent of a symbol, and goes on where
/// `u` begins again with 1.
pub(super) fn quote(whole: bool, levels: &Levels, seq: Option<u64>) -> Result<Body, Reason> {
    match (levels.bids(), levels.asks()) {
        (&[bid, ..], &[ask, ..]) if whole && bid.qty.raw() > 0 && ask.qty.raw() > 0 => {
            // `u` of depth 1 counts its own pushes, not those of the book.
            Ok(Body::Quote { quote: Quote { update_id: 0, bid, ask }, order: seq.unwrap_or(0) })
        }
        // Until 2025 spot sent deltas: what they leave out is not known here.
        _ => Err(Reason::OneSided),
    }
}

fn option(data: Value<'_>) -> Result<OptionMark, Reason> {
    let keys = ["markPrice", "underlyingPrice", "openInterest", "markPriceIv", "bidIv", "askIv"];
    let [mark, underlying, interest, mark_iv, bid_iv, ask_iv] = pick(data, &keys)?;
    let [delta, gamma, vega, theta] = pick(data, &["delta", "gamma", "vega", "theta"])?;
    let rounded = |value: Value<'_>, decimals: u8| -> Result<i64, Reason> {
        Ok(value.told(|value| value.rounded(decimals))?.unwrap_or(OptionMark::NOT_TOLD))
    };
    let (price, rate) = (|value| rounded(value, MARK_DECIMALS), |value| rounded(value, RATE_DECIMALS));
    Ok(OptionMark {
        mark: price(mark)?,
        underlying: price(underlying)?,
        open_interest: price(interest)?,
        mark_iv: rate(mark_iv)?,
        bid_iv: rate(bid_iv)?,
        ask_iv: rate(ask_iv)?,
        delta: rate(delta)?,
        gamma: rate(gamma)?,
        vega: rate(vega)?,
        theta: rate(theta)?,
        rho: OptionMark::NOT_TOLD,
    })
}
