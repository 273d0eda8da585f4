//! Every OKX message by simd-json.

use tidegate_wire::event::{DepthIds, MARK_DECIMALS, OptionMark, Quote, RATE_DECIMALS, Trade};
use tidegate_wire::{InstrumentId, Level};

use crate::counters::Reason;
use crate::symbols::{Entry, SymbolTable};
use crate::sync::StreamIds;
use crate::venues::tape::{Nodes, Value, book, pick};
use crate::venues::{Batch, Body, Levels, Marks, Message, OptionMessage, StreamFrame};

/// How much each book channel knows: the rank of its stream. `None` for other channels.
pub(crate) fn rank(channel: &str) -> Option<u16> {
    match channel {
        "books5" => Some(5),
        "books50-l2-tbt" => Some(50),
        "books" => Some(BOOKS),
        "books-l2-tbt" => Some(401),
        _ => None,
    }
}

/// The rank of the channel whose every push is a whole book.
pub(super) const WHOLE_ONLY: u16 = 5;

/// The rank of the channel that books are kept by, whose numbers those of REST are.
pub(crate) const BOOKS: u16 = 400;

/// The books themselves are the only channels a scanner reads.
pub(super) struct Reader<'a> {
    pub(super) symbols: &'a SymbolTable,
    pub(super) levels: &'a mut Levels,
    pub(super) batch: &'a mut Batch,
    pub(super) marks: &'a mut Marks,
    /// Whose an answer of REST is, which does not say.
    pub(super) hint: InstrumentId,
}

impl<'a> Reader<'a> {
    pub(super) fn read(self, nodes: Nodes<'_>) -> Result<Message, Reason> {
        let keys = ["event", "op", "arg", "data", "action", "code"];
        let [event, op, arg, data, action, code] = pick(Value::of(nodes), &keys).map_err(|_| Reason::UnknownMessage)?;
        if code.text_or_empty() == "0" && !event.is_there() && !op.is_there() && !arg.is_there() {
            return self.beginning(data);
        }
        if event.is_there() || op.is_there() || code.is_there() {
            return Err(Reason::Control);
        }
        if !arg.is_object() || !data.is_there() {
            return Err(Reason::UnknownMessage);
        }
        let [channel, symbol] = pick(arg, &["channel", "instId"])?;
        let channel = channel.text()?;
        self.batch.clear();
        match channel {
            "bbo-tbt" => self.best(data.only()?, symbol),
            "tickers" => self.ticker(data.only()?, symbol),
            "trades" | "trades-all" => self.trades(data, symbol),
            "funding-rate" | "mark-price" => self.mark(data, symbol),
            "opt-summary" => self.options(data),
            channel => match rank(channel) {
                Some(rank) => self.depth(data.only()?, symbol, action, rank),
                None => Err(Reason::UnusedStream),
            },
        }
    }

    /// The instrument that a message names itself, or the channel names for it.
    fn entry(&self, own: Value<'_>, channel: Value<'_>) -> Result<&'a Entry, Reason> {
        self.symbols.find(own.or(channel).text()?.as_bytes()).ok_or(Reason::UnknownSymbol)
    }

    fn depth(self, data: Value<'_>, symbol: Value<'_>, action: Value<'_>, rank: u16) -> Result<Message, Reason> {
        let entry = self.entry(symbol, symbol)?;
        let keys = ["asks", "bids", "ts", "checksum", "seqId", "prevSeqId"];
        let [asks, bids, ts, checksum, seq, prev] = pick(data, &keys)?;
        let whole = match action.text_or_empty() {
            "snapshot" => true,
            "update" => false,
            "" if rank == WHOLE_ONLY && !action.is_there() => true,
            _ => return Err(Reason::BadField),
        };
        book(bids, asks, entry, self.levels)?;
        let ids = StreamIds { last: seq.told(Value::integer)?, previous: prev.previous()?, rank };
        let frame = StreamFrame { checksum: checksum.checksum()?, ..StreamFrame::new(whole, ids) };
        Ok(Message { instrument: entry.id, venue_ns: ts.ms()?, body: Body::Stream(frame) })
    }

    /// A book of REST, if that is what was answered. It joins a stream by its `seqId`, which is there when it was asked
    /// for.
    fn beginning(self, data: Value<'_>) -> Result<Message, Reason> {
        let Ok(data) = data.only() else { return Err(Reason::Control) };
        let Ok([asks, bids, ts, seq]) = pick(data, &["asks", "bids", "ts", "seqId"]) else {
            return Err(Reason::Control);
        };
        if !asks.is_there() || !bids.is_there() || !seq.is_there() {
            return Err(Reason::Control);
        }
        let entry = self.symbols.entry(self.hint).ok_or(Reason::UnnamedSnapshot)?;
        book(bids, asks, entry, self.levels)?;
        let id = seq.integer()?;
        let body = Body::Snapshot(DepthIds { first: id, last: id, prev: 0 });
        Ok(Message { instrument: entry.id, venue_ns: ts.ms()?, body })
    }

    fn best(self, data: Value<'_>, symbol: Value<'_>) -> Result<Message, Reason> {
        let entry = self.entry(symbol, symbol)?;
        let [asks, bids, ts, seq] = pick(data, &["asks", "bids", "ts", "seqId"])?;
        let best = |side: Value<'_>| -> Result<Level, Reason> {
            let mut level = side.elements()?.next().ok_or(Reason::OneSided)?.elements()?;
            let (Some(price), Some(qty)) = (level.next(), level.next()) else { return Err(Reason::BadField) };
            Ok(Level { price: price.price(entry)?, qty: qty.qty(entry)? })
        };
        // `seqId` orders the pushes of this channel; whether those of `books` have the same numbers is not said.
        let quote = Quote { update_id: 0, bid: best(bids)?, ask: best(asks)? };
        let body = Body::Quote { quote, order: seq.told(Value::integer)?.unwrap_or(0) };
        Ok(Message { instrument: entry.id, venue_ns: ts.ms()?, body })
    }

    fn ticker(self, data: Value<'_>, symbol: Value<'_>) -> Result<Message, Reason> {
        let keys = ["instId", "bidPx", "bidSz", "askPx", "askSz", "ts"];
        let [own, bid, bid_qty, ask, ask_qty, ts] = pick(data, &keys)?;
        let entry = self.entry(own, symbol)?;
        if !bid.says() || !ask.says() {
            return Err(Reason::OneSided);
        }
        let level = |price: Value<'_>, qty: Value<'_>| -> Result<Level, Reason> {
            Ok(Level { price: price.price(entry)?, qty: qty.qty(entry)? })
        };
        let quote = Quote { update_id: 0, bid: level(bid, bid_qty)?, ask: level(ask, ask_qty)? };
        // A ticker has no number, and its time is not to be mixed with those of `bbo-tbt`.
        Ok(Message { instrument: entry.id, venue_ns: ts.ms()?, body: Body::Quote { quote, order: 0 } })
    }

    fn trades(self, data: Value<'_>, symbol: Value<'_>) -> Result<Message, Reason> {
        for row in data.elements()? {
            let [own, id, price, qty, side, ts] = pick(row, &["instId", "tradeId", "px", "sz", "side", "ts"])?;
            let Ok(entry) = self.entry(own, symbol) else { continue };
            let transact_ns = ts.ms()?;
            let (price, qty) = (price.price(entry)?, qty.qty_above_zero(entry)?);
            let trade = Trade { price, qty, trade_id: id.identity(), transact_ns };
            let body = Body::Trade { trade, sell: side.sold()?, raw: false };
            self.batch.messages.push(Message { instrument: entry.id, venue_ns: transact_ns, body });
        }
        self.batch.message(Reason::UnknownSymbol)
    }

    fn mark(self, data: Value<'_>, symbol: Value<'_>) -> Result<Message, Reason> {
        for row in data.elements()? {
            let [own, mark, rate, time, ts] = pick(row, &["instId", "markPx", "fundingRate", "fundingTime", "ts"])?;
            let Ok(entry) = self.entry(own, symbol) else { continue };
            let kept = self.marks.of(entry.id);
            if let Some(mark) = mark.told(|value| value.rounded(MARK_DECIMALS))? {
                kept.mark = mark;
            }
            if let Some(rate) = rate.told(|value| value.rounded(RATE_DECIMALS))? {
                // The rate is exchanged at `fundingTime`; `nextFundingTime` is the one after.
                (kept.funding, kept.next_funding_ns) = (rate, time.ms_or_zero()?);
            }
            let body = Body::Mark(*kept);
            self.batch.messages.push(Message { instrument: entry.id, venue_ns: ts.ms_or_zero()?, body });
        }
        self.batch.message(Reason::UnknownSymbol)
    }

    fn options(self, data: Value<'_>) -> Result<Message, Reason> {
        for row in data.elements()? {
            let keys = ["instId", "ts", "fwdPx", "markVol", "bidVol", "askVol"];
            let [own, ts, forward, mark_iv, bid_iv, ask_iv] = pick(row, &keys)?;
            let Some(entry) = self.symbols.find(own.text()?.as_bytes()) else { continue };
            // Both sets of greeks come; those of Black and Scholes are in dollars, as other venues' are.
            let [delta, gamma, vega, theta] = pick(row, &["deltaBS", "gammaBS", "vegaBS", "thetaBS"])?;
            let rounded = |value: Value<'_>, absent: i64, decimals: u8| -> Result<i64, Reason> {
                Ok(value.told(|value| value.rounded(decimals))?.unwrap_or(absent))
            };
            let rate = |value: Value<'_>| rounded(value, OptionMark::NOT_TOLD, RATE_DECIMALS);
            let option = OptionMark {
                underlying: rounded(forward, OptionMark::NOT_TOLD, MARK_DECIMALS)?,
                mark_iv: rate(mark_iv)?,
                // Nothing is written where nobody bids or offers.
                bid_iv: rounded(bid_iv, 0, RATE_DECIMALS)?,
                ask_iv: rounded(ask_iv, 0, RATE_DECIMALS)?,
                delta: rate(delta)?,
                gamma: rate(gamma)?,
                vega: rate(vega)?,
                theta: rate(theta)?,
                ..OptionMark::UNKNOWN
            };
            self.batch.options.push(OptionMessage { instrument: entry.id, venue_ns: ts.ms_or_zero()?, option });
        }
        self.batch.message(Reason::UnknownSymbol)
    }
}
