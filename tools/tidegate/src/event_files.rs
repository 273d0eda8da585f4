//! Events as Parquet files, one a kind.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, Float64Builder, Int64Builder, StringDictionaryBuilder, TimestampNanosecondBuilder,
    UInt8Builder, UInt64Builder,
};
use arrow_array::types::Int32Type;
use arrow_schema::{DataType, Field, TimeUnit};
use tidegate_wire::event::{
    Bar, BookQuality, Depth, EventSink, FLAG_BUFFERED, FLAG_SELL, FLAG_SESSION, FLAG_SPARE, Header, Level,
    MARK_DECIMALS, Mark, OptionMark, Quote, RATE_DECIMALS, Status, Trade,
};
use tidegate_wire::{Instrument, Registry, Scale};

use crate::row_groups::{RowGroups, field};

/// A value on its way into a column.
enum Cell<'a> {
    /// Ns since the Unix epoch.
    Time(Option<i64>),
    Text(&'a str),
    Float(Option<f64>),
    Whole(Option<i64>),
    Count(Option<u64>),
    Small(u8),
    Flag(bool),
}

/// A column being filled.
enum Column {
    Time(TimestampNanosecondBuilder),
    Text(StringDictionaryBuilder<Int32Type>),
    Float(Float64Builder),
    Whole(Int64Builder),
    Count(UInt64Builder),
    Small(UInt8Builder),
    Flag(BooleanBuilder),
}

impl Column {
    fn push(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Time(column), Cell::Time(value)) => column.append_option(value),
            (Self::Text(column), Cell::Text(value)) => column.append_value(value),
            (Self::Float(column), Cell::Float(value)) => column.append_option(value),
            (Self::Whole(column), Cell::Whole(value)) => column.append_option(value),
            (Self::Count(column), Cell::Count(value)) => column.append_option(value),
            (Self::Small(column), Cell::Small(value)) => column.append_value(value),
            (Self::Flag(column), Cell::Flag(value)) => column.append_value(value),
            // A column of uneven length is refused when its group is written.
            _ => {}
        }
    }

    fn take(&mut self) -> ArrayRef {
        let builder: &mut dyn ArrayBuilder = match self {
            Self::Time(column) => column,
            Self::Text(column) => column,
            Self::Float(column) => column,
            Self::Whole(column) => column,
            Self::Count(column) => column,
            Self::Small(column) => column,
            Self::Flag(column) => column,
        };
        builder.finish()
    }
}

/// What a table's columns are.
#[derive(Default)]
struct Plan {
    fields: Vec<Field>,
    columns: Vec<Column>,
}

impl Plan {
    fn add(&mut self, column: Column, field: Field) {
        self.columns.push(column);
        self.fields.push(field);
    }

    fn time(&mut self, name: &str, nullable: bool, about: &str) {
        let kind = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let column = TimestampNanosecondBuilder::new().with_data_type(kind.clone());
        self.add(Column::Time(column), field(name, kind, nullable, "ns since the Unix epoch", about));
    }

    fn text(&mut self, name: &str, about: &str) {
        let kind = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        self.add(Column::Text(StringDictionaryBuilder::new()), field(name, kind, false, "", about));
    }

    fn count(&mut self, name: &str, nullable: bool, about: &str) {
        self.add(Column::Count(UInt64Builder::new()), field(name, DataType::UInt64, nullable, "", about));
    }

    fn flag(&mut self, name: &str, about: &str) {
        self.add(Column::Flag(BooleanBuilder::new()), field(name, DataType::Boolean, false, "", about));
    }

    /// A number as f64 and exactly.
    fn number(&mut self, name: &str, nullable: bool, unit: &str, about: &str) {
        self.add(Column::Float(Float64Builder::new()), field(name, DataType::Float64, nullable, unit, about));
        let exact = format!("{name} exactly: an integer, over ten to the power of its decimals");
        let raw = format!("{name}_raw");
        self.add(Column::Whole(Int64Builder::new()), field(&raw, DataType::Int64, nullable, unit, &exact));
    }

    fn decimals(&mut self, name: &str, about: &str) {
        self.add(Column::Small(UInt8Builder::new()), field(name, DataType::UInt8, false, "", about));
    }

    /// The decimals of an instrument's prices and quantities.
    fn scales(&mut self) {
        self.decimals("price_decimals", "decimals of every price_raw of the row");
        self.decimals("qty_decimals", "decimals of every qty_raw of the row");
    }

    /// What every row begins with.
    fn head() -> Self {
        let mut plan = Self::default();
        plan.time("event_time", false, "when the frame was received, on our clock");
        plan.time("venue_time", true, "the venue's own stamp; null where it sends none");
        plan.text("instrument", "symbol.venue");
        plan.text("venue", "market");
        plan.count("frame", false, "number of the frame it came from, from 1");
        plan
    }
}

/// A file and its columns.
struct Table {
    groups: RowGroups,
    columns: Vec<Column>,
}

impl Table {
    fn create(path: &Path, plan: Plan) -> Result<Self> {
        ensure!(!path.exists(), "{}: there already; choose another directory", path.display());
        let groups = RowGroups::create(path, plan.fields, ("tidegate.events_schema", "1".to_owned()))?;
        Ok(Self { groups, columns: plan.columns })
    }

    fn row<'a>(&mut self, cells: impl Iterator<Item = Cell<'a>>) {
        if !self.groups.is_open() {
            return;
        }
        let Self { groups, columns } = self;
        columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        groups.row(|| columns.iter_mut().map(Column::take).collect());
    }

    fn finish(mut self) -> Result<u64> {
        self.groups.finish(self.columns.iter_mut().map(Column::take).collect())
    }
}

/// The name of an instrument, and the grids of its prices and quantities.
struct Named {
    name: String,
    venue: &'static str,
    price: Scale,
    qty: Scale,
}

impl Named {
    fn of(instrument: &Instrument) -> Self {
        let (price, qty) = (instrument.price_scale, instrument.qty_scale);
        Self { name: instrument.name(), venue: instrument.venue.name(), price, qty }
    }

    fn head(&self, header: &Header) -> [Cell<'_>; 5] {
        [
            Cell::Time(Some(header.event_ns)),
            Cell::Time(told(header.venue_ns)),
            Cell::Text(&self.name),
            Cell::Text(self.venue),
            Cell::Count(Some(header.frame)),
        ]
    }

    fn level(&self, level: Level) -> [Cell<'static>; 4] {
        let ([price, price_raw], [qty, qty_raw]) =
            (number(level.price.raw(), self.price), number(level.qty.raw(), self.qty));
        [price, price_raw, qty, qty_raw]
    }

    fn scales(&self) -> [Cell<'static>; 2] {
        [Cell::Small(self.price.decimals()), Cell::Small(self.qty.decimals())]
    }
}

/// A number as f64 and exactly.
fn number(raw: i64, scale: Scale) -> [Cell<'static>; 2] {
    maybe(Some(raw), scale)
}

fn maybe(raw: Option<i64>, scale: Scale) -> [Cell<'static>; 2] {
    [Cell::Float(raw.map(|raw| raw as f64 / scale.units() as f64)), Cell::Whole(raw)]
}

/// Zero stands for what was not told.
fn told(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

const MARK: Scale = Scale::saturating(MARK_DECIMALS);
const RATE: Scale = Scale::saturating(RATE_DECIMALS);

/// All files of events.
pub(crate) struct EventFiles {
    depth: Table,
    quotes: Table,
    trades: Table,
    marks: Table,
    options: Table,
    status: Table,
    named: Vec<Named>,
}

impl EventFiles {
    /// Makes the directory and its files; those that exist are not touched.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let at = |error: std::io::Error| anyhow::anyhow!("{}: {error}", directory.display());
        std::fs::create_dir_all(directory).map_err(at)?;
        let table = |name: &str, plan: Plan| Table::create(&directory.join(format!("{name}.parquet")), plan);
        Ok(Self {
            depth: table("depth", depth())?,
            quotes: table("quotes", quotes())?,
            trades: table("trades", trades())?,
            marks: table("marks", marks())?,
            options: table("options", options())?,
            status: table("status", status())?,
            named: Vec::new(),
        })
    }

    /// Names the instruments by their ids.
    pub(crate) fn name_instruments(&mut self, registry: &Registry) {
        self.named = registry.iter().map(|(_, instrument)| Named::of(instrument)).collect();
    }

    /// Writes what is left and the footers; gives the number of rows of each.
    pub(crate) fn finish(self) -> Result<BTreeMap<String, u64>> {
        let Self { depth, quotes, trades, marks, options, status, .. } = self;
        let tables = [
            ("depth", depth),
            ("quotes", quotes),
            ("trades", trades),
            ("marks", marks),
            ("options", options),
            ("status", status),
        ];
        tables.into_iter().map(|(name, table)| Ok((format!("{name}.parquet"), table.finish()?))).collect()
    }

    fn book(&mut self, header: &Header, depth: Depth<'_>, is_snapshot: bool) {
        let Some(named) = self.named.get(header.instrument.index()) else { return };
        let sides = [("bid", depth.bids), ("ask", depth.asks)];
        for (side, level) in sides.iter().flat_map(|(side, levels)| levels.iter().map(move |level| (*side, *level))) {
            let ids = [depth.ids.first, depth.ids.last, depth.ids.prev].map(|id| Cell::Count(Some(id)));
            let flags = [FLAG_BUFFERED, FLAG_SESSION, FLAG_SPARE].map(|flag| Cell::Flag(header.flags & flag != 0));
            let row = named.head(header).into_iter().chain([Cell::Flag(is_snapshot), Cell::Text(side)]);
            self.depth.row(row.chain(named.level(level)).chain(named.scales()).chain(ids).chain(flags));
        }
    }
}

fn depth() -> Plan {
    let mut plan = Plan::head();
    plan.flag("is_snapshot", "the frame replaces the book; else it changes levels");
    plan.text("side", "bid or ask");
    plan.number("price", false, "quote", "price of the level");
    plan.number("qty", false, "qty", "quantity now there; 0: the level is gone");
    plan.scales();
    plan.count("first_id", false, "first update in the frame, as the venue counts");
    plan.count("last_id", false, "last update in the frame");
    plan.count("prev_id", false, "last update of the frame before; 0 where the venue has none");
    plan.flag("held_back", "it waited for a snapshot: its time is that of the release");
    plan.flag("new_session", "a new session of the stream: ids before say nothing about those to come");
    plan.flag("spare", "a snapshot that the sequence does not need");
    plan
}

fn quotes() -> Plan {
    let mut plan = Plan::head();
    for (side, about) in [("bid", "best bid"), ("ask", "best ask")] {
        plan.number(&format!("{side}_price"), false, "quote", about);
        plan.number(&format!("{side}_qty"), false, "qty", "quantity there");
    }
    plan.scales();
    plan.count("update_id", true, "the book's update it belongs to; null where quotes have no numbers of books");
    plan
}

fn trades() -> Plan {
    let mut plan = Plan::head();
    plan.time("transact_time", true, "when the venue matched it");
    plan.count("trade_id", false, "the venue's number");
    plan.text("aggressor", "buy or sell: who crossed the spread");
    plan.number("price", false, "quote", "price");
    plan.number("qty", false, "qty", "quantity");
    plan.scales();
    plan
}

fn marks() -> Plan {
    let mut plan = Plan::head();
    plan.number("mark", false, "quote", "mark price; 8 decimals");
    plan.number("index", true, "quote", "index price; 8 decimals; null where the venue sends none");
    plan.number("funding", false, "fraction", "rate of the running period; 12 decimals");
    plan.time("next_funding_time", true, "when funding is exchanged next; null without funding");
    plan
}

/// Members of an option's mark: name, grid, unit, definition.
const OPTION: [(&str, Scale, &str, &str); 11] = [
    ("mark", MARK, "the option's currency", "mark price; 8 decimals"),
    ("underlying", MARK, "quote", "price of the future or index it is priced against; 8 decimals"),
    ("mark_iv", RATE, "fraction a year", "volatility of the mark price; 12 decimals"),
    ("bid_iv", RATE, "fraction a year", "volatility of the best bid; 0 where nobody bids; 12 decimals"),
    ("ask_iv", RATE, "fraction a year", "volatility of the best ask; 0 where nobody offers; 12 decimals"),
    ("delta", RATE, "", "change of the price with the underlying's; 12 decimals"),
    ("gamma", RATE, "1/quote", "change of delta with the underlying's price; 12 decimals"),
    ("vega", RATE, "", "change of the price with volatility, a percentage point; 12 decimals"),
    ("theta", RATE, "", "change of the price with time, a day; 12 decimals"),
    ("rho", RATE, "", "change of the price with the interest rate, a percentage point; 12 decimals"),
    ("open_interest", MARK, "qty", "open contracts; 8 decimals"),
];

fn options() -> Plan {
    let mut plan = Plan::head();
    OPTION.iter().for_each(|(name, _, unit, about)| plan.number(name, true, unit, about));
    plan
}

fn status() -> Plan {
    let mut plan = Plan::head();
    plan.text("quality", "what the book is from here on; only `good` can be relied on");
    plan.count("expected", true, "the update that had to come; null when the change is no gap");
    plan.count("received", true, "the update that came instead; null when the change is no gap");
    plan
}

impl EventSink for EventFiles {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        self.book(header, depth, false);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.book(header, depth, true);
    }

    fn quote(&mut self, header: &Header, quote: &Quote) {
        let Some(named) = self.named.get(header.instrument.index()) else { return };
        let sides = [quote.bid, quote.ask].map(|level| named.level(level));
        let id = Cell::Count((quote.update_id != 0).then_some(quote.update_id));
        let row = named.head(header).into_iter().chain(sides.into_iter().flatten());
        self.quotes.row(row.chain(named.scales()).chain([id]));
    }

    fn trade(&mut self, header: &Header, trade: &Trade) {
        let Some(named) = self.named.get(header.instrument.index()) else { return };
        let side = if header.flags & FLAG_SELL != 0 { "sell" } else { "buy" };
        let id = [Cell::Time(told(trade.transact_ns)), Cell::Count(Some(trade.trade_id)), Cell::Text(side)];
        let level = named.level(Level { price: trade.price, qty: trade.qty });
        self.trades.row(named.head(header).into_iter().chain(id).chain(level).chain(named.scales()));
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        let Some(named) = self.named.get(header.instrument.index()) else { return };
        let numbers = [number(mark.mark, MARK), maybe(told(mark.index), MARK), number(mark.funding, RATE)];
        let row = named.head(header).into_iter().chain(numbers.into_iter().flatten());
        self.marks.row(row.chain([Cell::Time(told(mark.next_funding_ns))]));
    }

    fn option(&mut self, header: &Header, option: &OptionMark) {
        let Some(named) = self.named.get(header.instrument.index()) else { return };
        let OptionMark { mark, underlying, mark_iv, bid_iv, ask_iv, delta, gamma, .. } = *option;
        let OptionMark { vega, theta, rho, open_interest, .. } = *option;
        let values = [mark, underlying, mark_iv, bid_iv, ask_iv, delta, gamma, vega, theta, rho, open_interest];
        let numbers = OPTION
            .iter()
            .zip(values)
            .flat_map(|((_, scale, ..), value)| maybe((value != OptionMark::NOT_TOLD).then_some(value), *scale));
        self.options.row(named.head(header).into_iter().chain(numbers));
    }

    /// Bars are the venue's summaries of trades; `features --bars` writes them.
    fn bar(&mut self, _: &Header, _: &Bar) {}

    fn status(&mut self, header: &Header, status: &Status) {
        let Some(named) = self.named.get(header.instrument.index()) else { return };
        let quality = BookQuality::of_word(status.quality);
        let ids = [status.expected, status.received].map(|id| Cell::Count((id != 0).then_some(id)));
        self.status.row(named.head(header).into_iter().chain([Cell::Text(quality.name())]).chain(ids));
    }

    fn heartbeat(&mut self, _: &Header) {}
}
