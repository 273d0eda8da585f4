//! The decoders of the venues whose streams bring snapshots, as one.

use tidegate_feed::venues::{Decode, Kit, Message, Scanned, bitget, bybit, deribit, okx};
use tidegate_feed::{FrameMut, Reason};
use tidegate_wire::{InstrumentId, Registry, Venue};

/// The decoder of a market, whichever that is.
pub(crate) enum Any {
    Okx(okx::Decoder),
    Bybit(bybit::Decoder),
    Bitget(bitget::Decoder),
    Deribit(deribit::Decoder),
}

impl Any {
    pub(crate) fn new(registry: &Registry, venue: Venue) -> Self {
        match venue {
            Venue::Okx => Self::Okx(okx::Decoder::new(registry)),
            Venue::Deribit => Self::Deribit(deribit::Decoder::new(registry)),
            Venue::Bybit | Venue::BybitSpot | Venue::BybitInverse => Self::Bybit(bybit::Decoder::new(registry, venue)),
            _ => Self::Bitget(bitget::Decoder::new(registry)),
        }
    }
}

macro_rules! each {
    ($self:ident, $decoder:ident => $call:expr) => {
        match $self {
            Any::Okx($decoder) => $call,
            Any::Bybit($decoder) => $call,
            Any::Bitget($decoder) => $call,
            Any::Deribit($decoder) => $call,
        }
    };
}

impl Decode for Any {
    fn kit(&self) -> &Kit {
        each!(self, decoder => decoder.kit())
    }

    fn kit_mut(&mut self) -> &mut Kit {
        each!(self, decoder => decoder.kit_mut())
    }

    fn scanned(&mut self, frame: &FrameMut<'_>, vectors: bool) -> Scanned {
        each!(self, decoder => decoder.scanned(frame, vectors))
    }

    fn parse(&mut self, frame: &mut FrameMut<'_>, hint: InstrumentId) -> Result<Message, Reason> {
        each!(self, decoder => decoder.parse(frame, hint))
    }
}
