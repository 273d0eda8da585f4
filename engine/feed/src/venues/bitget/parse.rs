//! Every Bitget message by simd-json.

use tidegate_wire::Venue;
use tidegate_wire::event::{MARK_DECIMALS, Mark, Quote, RATE_DECIMALS, Trade};

use crate::counters::Reason;
use crate::symbols::Entry;
use crate::sync::StreamIds;
use crate::venues::bitget::{MARKETS, Symbols};
use crate::venues::tape::{Nodes, Value, book, pick};
use crate::venues::{Batch, Body, Levels, Message, StreamFrame};

pub(super) struct Reader<'a> {
    pub(super) symbols: &'a Symbols,
    pub(super) levels: &'a mut Levels,
    pub(super) batch: &'a mut Batch,
}

/// The market of an `instType`, where the symbol helps to tell. Versions 2 and 3 differ in case.
pub(crate) fn market(kind: &str, symbol: &str) -> Option<Venue> {
    let is = |names: &[&str]| names.iter().any(|name| kind.eq_ignore_ascii_case(name));
    Some(match () {
        () if is(&["spot", "sp"]) => Venue::BitgetSpot,
        () if is(&["usdt-futures", "umcbl"]) => Venue::BitgetUsdt,
        () if is(&["coin-futures", "dmcbl"]) => Venue::BitgetCoin,
        () if is(&["usdc-futures", "cmcbl"]) => Venue::BitgetUsdc,
        // Version 1: `BTCUSDT`, `BTCPERP`, and `BTCUSD` or `BTCUSDH23` margined in coin.
        () if !is(&["mc"]) => return None,
        () if symbol.ends_with("USDT") => Venue::BitgetUsdt,
        () if symbol.ends_with("PERP") => Venue::BitgetUsdc,
        () => Venue::BitgetCoin,
    })
}

/// The instrument of a market's symbol.
pub(super) fn find<'a>(symbols: &'a Symbols, venue: Venue, symbol: &[u8]) -> Option<&'a Entry> {
    let market = MARKETS.iter().position(|market| *market == venue)?;
    symbols[market].find(symbol)
}

/// How much each book channel knows: the rank of its stream. Every push of a channel with a number is a whole book.
pub(super) fn rank(channel: &str) -> Option<u16> {
    match channel {
        "books5" => Some(5),
        "books15" => Some(15),
        "books" => Some(BOOKS),
        _ => None,
    }
}

/// The rank of the channel that sends changes.
pub(super) const BOOKS: u16 = 1000;

impl Reader<'_> {
    pub(super) fn read(self, nodes: Nodes<'_>) -> Result<Message, Reason> {
        let keys = ["event", "op", "arg", "data", "action", "ts", "code"];
        let [event, op, arg, data, action, ts, code] =
            pick(Value::of(nodes), &keys).map_err(|_| Reason::UnknownMessage)?;
        if event.is_there() || op.is_there() || code.is_there() {
            return Err(Reason::Control);
        }
        if !arg.is_object() || !data.is_there() {
            return Err(Reason::UnknownMessage);
        }
        let [kind, channel, topic, symbol, symbol_v3] =
            pick(arg, &["instType", "channel", "topic", "instId", "symbol"])?;
        let (channel, symbol) = (channel.or(topic).text()?, symbol.or(symbol_v3));
        self.batch.clear();
        let rank = rank(channel);
        if rank.is_none() && !matches!(channel, "books1" | "trade" | "publicTrade" | "ticker") {
            return Err(Reason::UnusedStream);
        }
        let whole = match action.text()? {
            "snapshot" => true,
            "update" => false,
            _ => return Err(Reason::BadField),
        };
        let symbol = symbol.text()?;
        let venue = market(kind.text()?, symbol).ok_or(Reason::UnknownSymbol)?;
        let entry = find(self.symbols, venue, symbol.as_bytes()).ok_or(Reason::UnknownSymbol)?;
        match (channel, rank) {
            (_, Some(rank)) => self.depth(data.only()?, entry, (whole, rank), ts),
            ("books1", _) => self.best(data.only()?, entry, ts),
            ("ticker", _) => self.ticker(data.only()?, entry, ts),
            // The first push repeats trades from before the subscription: they are no news.
            _ if whole => Err(Reason::UnusedStream),
            _ => self.trades(data, entry),
        }
    }

    fn depth(self, data: Value<'_>, entry: &Entry, kind: (bool, u16), outer: Value<'_>) -> Result<Message, Reason> {
        let (whole, rank) = kind;
        let keys = ["asks", "bids", "a", "b", "checksum", "seq", "pseq", "ts"];
        let [asks, bids, asks_v3, bids_v3, checksum, seq, pseq, ts] = pick(data, &keys)?;
        book(bids.or(bids_v3), asks.or(asks_v3), entry, self.levels)?;
        let ids = StreamIds { last: seq.told(Value::integer)?, previous: pseq.previous()?, rank };
        let frame = StreamFrame { checksum: checksum.checksum()?, ..StreamFrame::new(whole, ids) };
        Ok(Message { instrument: entry.id, venue_ns: ts.or(outer).ms_or_zero()?, body: Body::Stream(frame) })
    }

    fn best(self, data: Value<'_>, entry: &Entry, outer: Value<'_>) -> Result<Message, Reason> {
        let [asks, bids, asks_v3, bids_v3, seq, ts] = pick(data, &["asks", "bids", "a", "b", "seq", "ts"])?;
        book(bids.or(bids_v3), asks.or(asks_v3), entry, self.levels)?;
        let (&[bid, ..], &[ask, ..]) = (self.levels.bids(), self.levels.asks()) else { return Err(Reason::OneSided) };
        // `seq` rises with every change of the book; recordings from before 2025 have none.
        let order = seq.told(Value::integer)?.unwrap_or(0);
        let body = Body::Quote { quote: Quote { update_id: 0, bid, ask }, order };
        Ok(Message { instrument: entry.id, venue_ns: ts.or(outer).ms_or_zero()?, body })
    }

    /// Newest first within a push: they are handed on in the order of time.
    fn trades(self, data: Value<'_>, entry: &Entry) -> Result<Message, Reason> {
        for row in data.elements()? {
            let (trade, sell) = if row.is_object() { trade(row, entry)? } else { trade_v1(row, entry)? };
            let body = Body::Trade { trade, sell, raw: false };
            self.batch.messages.push(Message { instrument: entry.id, venue_ns: trade.transact_ns, body });
        }
        self.batch.messages.reverse();
        self.batch.message(Reason::UnusedStream)
    }

    /// Best prices of a ticker are some hundred milliseconds old and, in version 1, rounded: `books1` has them.
    fn ticker(self, data: Value<'_>, entry: &Entry, outer: Value<'_>) -> Result<Message, Reason> {
        let keys = ["markPrice", "indexPrice", "fundingRate", "capitalRate", "nextFundingTime", "nextSettleTime"];
        let [mark, index, rate, rate_v1, time, time_v1] = pick(data, &keys)?;
        if !mark.says() {
            return Err(Reason::UnusedStream);
        }
        let [ts, ts_v1] = pick(data, &["ts", "systemTime"])?;
        let price = |value: Value<'_>| -> Result<i64, Reason> {
            Ok(value.told(|value| value.rounded(MARK_DECIMALS))?.unwrap_or(0))
        };
        let funding = rate.or(rate_v1).told(|value| value.rounded(RATE_DECIMALS))?.unwrap_or(0);
        let next_funding_ns = time.or(time_v1).ms_or_zero()?;
        let mark = Mark { mark: price(mark)?, index: price(index)?, funding, next_funding_ns };
        let venue_ns = ts.or(ts_v1).or(outer).ms_or_zero()?;
        Ok(Message { instrument: entry.id, venue_ns, body: Body::Mark(mark) })
    }
}

/// A trade of version 2 or 3, and whether the aggressor sold.
fn trade(row: Value<'_>, entry: &Entry) -> Result<(Trade, bool), Reason> {
    let [ts, price, size, side, id] = pick(row, &["ts", "price", "size", "side", "tradeId"])?;
    if price.is_there() {
        return trade_of(ts, (price, size), side, id, entry);
    }
    let [time, price, size, side, id] = pick(row, &["T", "p", "v", "S", "i"])?;
    trade_of(time, (price, size), side, id, entry)
}

/// A trade of version 1, `[ts, price, size, side]`; it has no id.
fn trade_v1(row: Value<'_>, entry: &Entry) -> Result<(Trade, bool), Reason> {
    let mut columns = row.elements()?;
    let mut column = || columns.next().unwrap_or_default();
    let (time, price, size, side) = (column(), column(), column(), column());
    trade_of(time, (price, size), side, Value::default(), entry)
}

fn trade_of(
    time: Value<'_>,
    (price, size): (Value<'_>, Value<'_>),
    side: Value<'_>,
    id: Value<'_>,
    entry: &Entry,
) -> Result<(Trade, bool), Reason> {
    let (price, qty) = (price.price(entry)?, size.qty_above_zero(entry)?);
    Ok((Trade { price, qty, trade_id: id.identity(), transact_ns: time.ms()? }, side.sold()?))
}
