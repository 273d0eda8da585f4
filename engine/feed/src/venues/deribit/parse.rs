//! Every Deribit message by simd-json.

use tidegate_wire::event::{MARK_DECIMALS, Mark, OptionMark, Quote, RATE_DECIMALS, Trade};
use tidegate_wire::instrument::FUNDING_PERIOD_NS;
use tidegate_wire::{Instrument, Level, Qty};

use crate::counters::Reason;
use crate::symbols::{Entry, SymbolTable};
use crate::sync::{Previous, StreamIds};
use crate::venues::tape::{Nodes, Value, pick};
use crate::venues::{Batch, Body, Levels, Message, OptionMessage, StreamFrame};

pub(super) struct Reader<'a> {
    pub(super) symbols: &'a SymbolTable,
    pub(super) levels: &'a mut Levels,
    pub(super) batch: &'a mut Batch,
}

/// How much a book channel knows: the rank of its stream, and whether every push is a whole book.
pub(crate) fn rank(channel: &str) -> Option<(u16, bool)> {
    rank_of(channel.strip_prefix("book.")?)
}

/// As [`rank`], behind `book.`: `X.INTERVAL`, or `X.GROUP.DEPTH.INTERVAL` with 1, 10 or 20 levels.
pub(super) fn rank_of(rest: &str) -> Option<(u16, bool)> {
    let mut parts = rest.split('.').skip(1);
    match (parts.next()?, parts.next()) {
        ("raw", None) => Some((103, false)),
        ("100ms", None) => Some((102, false)),
        ("agg2", None) => Some((101, false)),
        (_, depth) => depth?.parse().ok().filter(|depth| (1..=100).contains(depth)).map(|depth| (depth, true)),
    }
}

/// The symbol of a volatility index: `BTCDVOL` of `btc_usd`.
pub(crate) fn index_symbol(name: &str) -> Option<([u8; Instrument::SYMBOL_MAX], usize)> {
    let base = name.split('_').next().filter(|base| !base.is_empty())?;
    let mut symbol = [0; Instrument::SYMBOL_MAX];
    let length = base.len() + DVOL.len();
    symbol.get_mut(..base.len())?.copy_from_slice(base.as_bytes());
    symbol.make_ascii_uppercase();
    symbol.get_mut(base.len()..length)?.copy_from_slice(DVOL);
    Some((symbol, length))
}

const DVOL: &[u8] = b"DVOL";

impl Reader<'_> {
    pub(super) fn read(self, nodes: Nodes<'_>) -> Result<Message, Reason> {
        let keys = ["method", "params", "id", "result", "error"];
        let [method, params, id, result, error] = pick(Value::of(nodes), &keys).map_err(|_| Reason::UnknownMessage)?;
        match method.text_or_empty() {
            "subscription" => {}
            "heartbeat" => return Err(Reason::Control),
            _ if id.is_there() || result.is_there() || error.is_there() => return Err(Reason::Control),
            _ => return Err(Reason::UnknownMessage),
        }
        let [channel, data] = pick(params, &["channel", "data"])?;
        let channel = channel.text()?;
        self.batch.clear();
        match channel.split('.').next() {
            Some("book") => self.depth(data, rank(channel).ok_or(Reason::UnusedStream)?),
            Some("trades") => self.trades(data),
            Some("ticker") => self.ticker(data),
            Some("quote") => self.quote(data),
            Some("deribit_volatility_index") => self.index(data),
            _ => Err(Reason::UnusedStream),
        }
    }

    fn entry(&self, symbol: Value<'_>) -> Result<&Entry, Reason> {
        self.symbols.find(symbol.text()?.as_bytes()).ok_or(Reason::UnknownSymbol)
    }

    fn depth(self, data: Value<'_>, (rank, whole_only): (u16, bool)) -> Result<Message, Reason> {
        let keys = ["type", "instrument_name", "timestamp", "change_id", "prev_change_id", "bids", "asks"];
        let [kind, symbol, ts, id, previous, bids, asks] = pick(data, &keys)?;
        let entry = *self.entry(symbol)?;
        let previous = if previous.says() { Previous::Id(previous.integer()?) } else { Previous::Nothing };
        let whole = match kind.text_or_empty() {
            "snapshot" => true,
            "change" => false,
            // Until 2019 only the missing predecessor told a snapshot.
            _ if !kind.is_there() => whole_only || previous == Previous::Nothing,
            _ => return Err(Reason::BadField),
        };
        let levels = self.levels;
        for (side, room, count) in
            [(bids, &mut levels.bids, &mut levels.bid_count), (asks, &mut levels.asks, &mut levels.ask_count)]
        {
            *count =
                if whole_only { side.levels(&entry, room, |_, _, _| Ok(()))? } else { actions(side, &entry, room)? };
        }
        let ids = StreamIds { last: Some(id.integer()?), previous, rank };
        let frame = StreamFrame::new(whole, ids);
        Ok(Message { instrument: entry.id, venue_ns: ts.ms()?, body: Body::Stream(frame) })
    }

    fn trades(self, data: Value<'_>) -> Result<Message, Reason> {
        for row in data.elements()? {
            let keys = ["instrument_name", "price", "amount", "direction", "trade_seq", "timestamp"];
            let [symbol, price, amount, side, seq, ts] = pick(row, &keys)?;
            let Some(entry) = self.symbols.find(symbol.text()?.as_bytes()) else { continue };
            let transact_ns = ts.ms()?;
            let (price, qty) = (price.price(entry)?, amount.qty_above_zero(entry)?);
            // `trade_seq` counts the instrument's trades without a hole; `trade_id` those of a currency.
            let trade = Trade { price, qty, trade_id: seq.integer()?, transact_ns };
            let body = Body::Trade { trade, sell: side.sold()?, raw: true };
            self.batch.messages.push(Message { instrument: entry.id, venue_ns: transact_ns, body });
        }
        self.batch.message(Reason::UnknownSymbol)
    }

    fn ticker(self, data: Value<'_>) -> Result<Message, Reason> {
        let keys = ["instrument_name", "timestamp", "mark_price", "index_price", "current_funding", "mark_iv"];
        let [symbol, ts, mark, index, funding, mark_iv] = pick(data, &keys)?;
        let (instrument, venue_ns) = (self.entry(symbol)?.id, ts.ms()?);
        if mark_iv.is_there() {
            let option = option(data)?;
            self.batch.options.push(OptionMessage { instrument, venue_ns, option });
            return self.batch.message(Reason::BadField);
        }
        let price = |value: Value<'_>| -> Result<i64, Reason> {
            Ok(value.told(|value| value.rounded(MARK_DECIMALS))?.unwrap_or(0))
        };
        let funding = funding.told(|value| value.rounded(RATE_DECIMALS))?;
        // Funding flows all the time; its rate is that of eight hours, as other venues exchange it at their end.
        let next = || (venue_ns / FUNDING_PERIOD_NS).saturating_add(1).saturating_mul(FUNDING_PERIOD_NS);
        let next_funding_ns = funding.map_or(0, |_| next());
        let mark = Mark { mark: price(mark)?, index: price(index)?, funding: funding.unwrap_or(0), next_funding_ns };
        Ok(Message { instrument, venue_ns, body: Body::Mark(mark) })
    }

    fn quote(self, data: Value<'_>) -> Result<Message, Reason> {
        let keys =
            ["instrument_name", "timestamp", "best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount"];
        let [symbol, ts, bid, bid_qty, ask, ask_qty] = pick(data, &keys)?;
        let entry = self.entry(symbol)?;
        if !bid.says() || !ask.says() {
            return Err(Reason::OneSided);
        }
        let level = |price: Value<'_>, qty: Value<'_>| -> Result<Level, Reason> {
            Ok(Level { price: price.price(entry)?, qty: qty.qty(entry)? })
        };
        let quote = Quote { update_id: 0, bid: level(bid, bid_qty)?, ask: level(ask, ask_qty)? };
        // No amount on a side: nobody is there, whatever price is written.
        if quote.bid.qty == Qty::ZERO || quote.ask.qty == Qty::ZERO {
            return Err(Reason::OneSided);
        }
        // Nothing but the matching engine's time orders them: several may have the same millisecond.
        let venue_ns = ts.ms()?;
        let body = Body::Quote { quote, order: u64::try_from(venue_ns).unwrap_or(0) };
        Ok(Message { instrument: entry.id, venue_ns, body })
    }

    /// A volatility index, as recorded tables of it give it: the index price of an instrument of its own.
    fn index(self, data: Value<'_>) -> Result<Message, Reason> {
        let [name, ts, volatility] = pick(data, &["index_name", "timestamp", "volatility"])?;
        let (symbol, length) = index_symbol(name.text()?).ok_or(Reason::UnknownSymbol)?;
        let entry = self.symbols.find(&symbol[..length]).ok_or(Reason::UnknownSymbol)?;
        let index = volatility.rounded(MARK_DECIMALS)?;
        if index <= 0 {
            return Err(Reason::BadField);
        }
        let body = Body::Mark(Mark { index, ..Mark::default() });
        Ok(Message { instrument: entry.id, venue_ns: ts.ms()?, body })
    }
}

/// `[[action, price, amount], ...]`: `new` and `change` set, `delete` removes.
fn actions(side: Value<'_>, entry: &Entry, levels: &mut [Level]) -> Result<usize, Reason> {
    let mut count = 0;
    for level in side.elements()? {
        let mut columns = level.elements()?;
        let (Some(action), Some(price), Some(qty)) = (columns.next(), columns.next(), columns.next()) else {
            return Err(Reason::BadField);
        };
        let (price, qty) = (price.price(entry)?, qty.qty(entry)?);
        let qty = match action.text()? {
            "new" | "change" => qty,
            "delete" => Qty::ZERO,
            _ => return Err(Reason::BadField),
        };
        *levels.get_mut(count).ok_or(Reason::TooManyLevels)? = Level { price, qty };
        count += 1;
    }
    Ok(count)
}

fn option(data: Value<'_>) -> Result<OptionMark, Reason> {
    let keys = ["mark_price", "underlying_price", "open_interest", "mark_iv", "bid_iv", "ask_iv", "greeks"];
    let [mark, underlying, interest, mark_iv, bid_iv, ask_iv, greeks] = pick(data, &keys)?;
    let rounded = |value: Value<'_>, decimals: u8| -> Result<i64, Reason> {
        Ok(value.told(|value| value.rounded(decimals))?.unwrap_or(OptionMark::NOT_TOLD))
    };
    let (price, rate) = (|value| rounded(value, MARK_DECIMALS), |value| rounded(value, RATE_DECIMALS));
    // Percent here, fractions in the record: two decimals less to read.
    let percent = |value| rounded(value, RATE_DECIMALS - 2);
    let mut option = OptionMark {
        mark: price(mark)?,
        underlying: price(underlying)?,
        open_interest: price(interest)?,
        mark_iv: percent(mark_iv)?,
        bid_iv: percent(bid_iv)?,
        ask_iv: percent(ask_iv)?,
        ..OptionMark::UNKNOWN
    };
    if greeks.is_object() {
        let [delta, gamma, vega, theta, rho] = pick(greeks, &["delta", "gamma", "vega", "theta", "rho"])?;
        (option.delta, option.gamma, option.vega) = (rate(delta)?, rate(gamma)?, rate(vega)?);
        (option.theta, option.rho) = (rate(theta)?, rate(rho)?);
    }
    Ok(option)
}
