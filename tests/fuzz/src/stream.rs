//! What the fuzz targets of stream decoders share: the oracle is the one of the room's tests.

#[path = "../../../engine/feed/tests/common/any.rs"]
mod any;
#[path = "../../../engine/feed/tests/common/differential.rs"]
mod differential;
#[path = "../../../engine/feed/tests/common/streams.rs"]
#[allow(dead_code)]
mod streams;

use std::cell::RefCell;

use tidegate_wire::{InstrumentId, Venue};

thread_local! {
    static DECODER: RefCell<Option<any::Any>> = const { RefCell::new(None) };
}

/// Shows a frame to all readers of a venue. What it says does not matter here, only that all of them say it.
pub(crate) fn read(venue: Venue, frame: &[u8]) {
    DECODER.with_borrow_mut(|decoder| {
        let decoder = decoder.get_or_insert_with(|| any::Any::new(&streams::registry(), venue));
        _ = differential::differential(decoder, frame, InstrumentId::NONE);
    });
}
