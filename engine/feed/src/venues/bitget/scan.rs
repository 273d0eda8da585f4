//! The schema scanner.
use crate::frame::FrameMut;
use crate::venues::bitget::Symbols;
use crate::venues::{Levels, Scanned};
pub(super) fn scan(_: &FrameMut<'_>, _: &Symbols, _: &mut Levels, _: bool) -> Scanned {
    Scanned::OtherKind
}
