//! Best levels and trades for those who trade on paper, see [`tidegate_wire::top`].

use tidegate_wire::event::{BookQuality, Header};
use tidegate_wire::feature::FeatureSink;
use tidegate_wire::top::TopBody;
use tidegate_wire::{InstrumentId, RecordKind};

use super::MarketStage;
use super::looks::levels;
use crate::features::schema;

/// Whose tops are wanted, and room for the one that is shown.
#[derive(Debug)]
pub(super) struct Tops {
    wanted: Box<[bool]>,
    body: TopBody,
}

impl Tops {
    /// Whether an instrument's tops and trades are wanted.
    #[inline(always)]
    pub(super) fn wants(&self, instrument: InstrumentId) -> bool {
        self.wanted.get(instrument.index()).copied().unwrap_or(false)
    }
}

impl<S: FeatureSink> MarketStage<S> {
    /// Shows the best levels of these instruments' books to the consumer of the vectors, after each event that may have
    /// changed them and before its vector, and their trades.
    #[must_use]
    pub fn topped(mut self, instruments: &[InstrumentId]) -> Self {
        let mut wanted = vec![false; self.markets.len()].into_boxed_slice();
        for instrument in instruments {
            if let Some(place) = wanted.get_mut(instrument.index()) {
                *place = true;
            }
        }
        self.tops = wanted.contains(&true).then(|| Box::new(Tops { wanted, body: TopBody::EMPTY }));
        self
    }

    /// The top after an event, where it is wanted and the event is one that changes books.
    #[inline(never)]
    pub(super) fn top(&mut self, header: &Header) {
        let others = [RecordKind::Trade, RecordKind::Quote, RecordKind::Mark, RecordKind::Bar, RecordKind::Option];
        let Some(tops) = self.tops.as_mut().filter(|tops| tops.wants(header.instrument)) else { return };
        if others.iter().any(|kind| *kind as u8 == header.kind) {
            return;
        }
        let market = &self.markets[header.instrument.index()];
        let (quality, body) = (market.quality(), &mut tops.body);
        *body = TopBody { quality: quality as u64, ..TopBody::EMPTY };
        body.funding = market.engine.body().get(schema::FUNDING_RATE).unwrap_or(0.0);
        if quality == BookQuality::Good {
            body.bid_count = levels(&mut body.bids, market.book.iter_bids());
            body.ask_count = levels(&mut body.asks, market.book.iter_asks());
        }
        let header = Header { kind: RecordKind::Top as u8, count: 0, ..*header };
        self.sink.top(&header, body);
    }
}
