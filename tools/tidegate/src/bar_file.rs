//! Bars as Parquet files: those of one minute with their features, others as they are cut.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, Int64Builder, StringBuilder, UInt64Builder};
use arrow_schema::DataType;
use tidegate_market::MarketStage;
use tidegate_market::bars::schema::{BAR_FEATURES, bars_schema_hash_hex};
use tidegate_market::bars::{BarBuilder, BarRule, BarVector, Finished, MINUTE_NS, MinuteBar, Origin};
use tidegate_wire::event::{Bar, Depth, EventSink, FLAG_SELL, Header, Mark, OptionMark, Quote, Status, Trade};
use tidegate_wire::{InstrumentId, Registry};

use crate::graph_file::FeatureFiles;
use crate::row_groups::{RowGroups, field};

/// A file of bars.
pub(crate) struct BarFile {
    groups: RowGroups,
    columns: Columns,
    rule: BarRule,
    names: Vec<String>,
}

#[derive(Default)]
struct Columns {
    times: [Int64Builder; 2],
    instrument: StringBuilder,
    origin: StringBuilder,
    /// Open, high, low, close, volume, bought, value.
    numbers: [Float64Builder; 7],
    trades: UInt64Builder,
    /// One column a feature; none unless the bars are minutes.
    features: Vec<Float64Builder>,
}

impl Columns {
    /// Empties the columns.
    fn take(&mut self) -> Vec<ArrayRef> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        columns.extend(self.times.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.instrument.finish()));
        columns.push(Arc::new(self.origin.finish()));
        columns.extend(self.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.trades.finish()));
        columns.extend(self.features.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns
    }
}

impl BarFile {
    pub(crate) fn create(path: &Path, rule: BarRule) -> Result<Self> {
        let price = |name: &str, about: &str| field(name, DataType::Float64, false, "quote", about);
        let float = |name: &str, unit: &str, about: &str| field(name, DataType::Float64, true, unit, about);
        let mut fields = vec![
            field("start_ns", DataType::Int64, false, "ns", "first trade, or begin of the interval"),
            field("end_ns", DataType::Int64, false, "ns", "last trade, or end of the interval: when the bar was known"),
            field("instrument", DataType::Utf8, false, "", "symbol.venue"),
            field("origin", DataType::Utf8, false, "", "venue: its own bar; trades or mids: built from those"),
            price("open", "first price"),
            price("high", "highest price"),
            price("low", "lowest price"),
            price("close", "last price"),
            float("volume", "qty", "quantity traded; null in bars of mids"),
            float("bought", "qty", "of that, bought by aggressors; null where the venue does not say"),
            float("value", "quote", "value traded; null unless built from trades"),
            field("trades", DataType::UInt64, true, "", "number of trades; null where the venue does not say"),
        ];
        let minutes = rule == BarRule::Time(MINUTE_NS);
        let features = if minutes { &BAR_FEATURES[..] } else { &[] };
        fields.extend(features.iter().map(|f| float(f.name, f.unit, f.about)));
        let bound = if minutes { bars_schema_hash_hex() } else { String::new() };
        let groups = RowGroups::create(path, fields, ("tidegate.bars_schema", bound))?;
        let features = features.iter().map(|_| Float64Builder::new()).collect();
        Ok(Self { groups, columns: Columns { features, ..Columns::default() }, rule, names: Vec::new() })
    }

    /// Names the instruments by their ids.
    pub(crate) fn name_instruments(&mut self, registry: &Registry) {
        self.names = registry.iter().map(|(_, instrument)| instrument.name()).collect();
    }

    /// Whether its bars are minutes, which the market stage finishes itself.
    pub(crate) fn is_minutes(&self) -> bool {
        self.rule == BarRule::Time(MINUTE_NS)
    }

    pub(crate) fn push(&mut self, instrument: InstrumentId, finished: &Finished) {
        if !self.groups.is_open() {
            return;
        }
        let (bar, columns) = (&finished.bar, &mut self.columns);
        for (column, value) in columns.times.iter_mut().zip([bar.start_ns, bar.end_ns]) {
            column.append_value(value);
        }
        columns.instrument.append_value(&self.names[instrument.index()]);
        columns.origin.append_value(finished.origin.name());
        let prices = [bar.open, bar.high, bar.low, bar.close].map(Some);
        let numbers = prices.into_iter().chain([bar.volume, bar.bought, bar.value]);
        columns.numbers.iter_mut().zip(numbers).for_each(|(column, value)| column.append_option(value));
        columns.trades.append_option(bar.trades);
        for (index, column) in columns.features.iter_mut().enumerate() {
            column.append_option(finished.features.get(index));
        }
        self.groups.row(|| columns.take());
    }

    pub(crate) fn finish(mut self) -> Result<u64> {
        self.groups.finish(self.columns.take())
    }
}

/// The market stage with bars cut from trades beside it, by another rule than the minute: those are the stage's own.
pub(crate) struct BarTee {
    stage: MarketStage<FeatureFiles>,
    cut: Option<Cut>,
}

struct Cut {
    builders: Vec<BarBuilder>,
    file: Box<BarFile>,
    /// Bars of the venues' own: they cannot be cut anew.
    refused: u64,
}

impl BarTee {
    pub(crate) fn new(stage: MarketStage<FeatureFiles>, file: Option<BarFile>, registry: &Registry) -> Self {
        let cut = file.map(|mut file| {
            file.name_instruments(registry);
            let builders = registry.iter().map(|(_, instrument)| BarBuilder::new(instrument, file.rule));
            Cut { builders: builders.collect(), file: Box::new(file), refused: 0 }
        });
        Self { stage, cut }
    }

    /// The stage, and the number of bars written. The last, unfinished bars are not written.
    pub(crate) fn finish(self) -> Result<(MarketStage<FeatureFiles>, u64)> {
        let bars = match self.cut {
            None => 0,
            Some(cut) if cut.refused == 0 => cut.file.finish()?,
            Some(cut) => {
                let bars = cut.refused;
                anyhow::bail!("{bars} bars are the venue's own and cannot be cut anew: leave --bar at time:60")
            }
        };
        Ok((self.stage, bars))
    }

    fn advance(&mut self, header: &Header) {
        let Some(cut) = &mut self.cut else { return };
        let builder = cut.builders.get_mut(header.instrument.index());
        if let Some(bar) = builder.and_then(|builder| builder.advance(header.event_ns)) {
            cut.file.push(header.instrument, &finished(&bar));
        }
    }
}

/// A bar cut by another rule than the minute has no features.
fn finished(bar: &tidegate_market::bars::Bar) -> Finished {
    Finished { bar: MinuteBar::from(bar), origin: Origin::Trades, features: BarVector::EMPTY }
}

impl EventSink for BarTee {
    fn delta(&mut self, header: &Header, depth: Depth<'_>) {
        self.advance(header);
        self.stage.delta(header, depth);
    }

    fn snapshot(&mut self, header: &Header, depth: Depth<'_>) {
        self.advance(header);
        self.stage.snapshot(header, depth);
    }

    fn quote(&mut self, header: &Header, quote: &Quote) {
        self.advance(header);
        self.stage.quote(header, quote);
    }

    fn trade(&mut self, header: &Header, trade: &Trade) {
        self.advance(header);
        if let Some(cut) = &mut self.cut {
            let builder = cut.builders.get_mut(header.instrument.index());
            let sell = header.flags & FLAG_SELL != 0;
            if let Some(bar) = builder.and_then(|builder| builder.trade(header.event_ns, trade, sell)) {
                cut.file.push(header.instrument, &finished(&bar));
            }
        }
        self.stage.trade(header, trade);
    }

    fn mark(&mut self, header: &Header, mark: &Mark) {
        self.advance(header);
        self.stage.mark(header, mark);
    }

    fn option(&mut self, header: &Header, option: &OptionMark) {
        self.advance(header);
        self.stage.option(header, option);
    }

    fn bar(&mut self, header: &Header, bar: &Bar) {
        self.cut.iter_mut().for_each(|cut| cut.refused += 1);
        self.stage.bar(header, bar);
    }

    fn status(&mut self, header: &Header, status: &Status) {
        self.stage.status(header, status);
    }

    fn heartbeat(&mut self, header: &Header) {
        EventSink::heartbeat(&mut self.stage, header);
    }
}
