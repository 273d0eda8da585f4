//! The schema scanner.
use crate::frame::FrameMut;
use crate::symbols::SymbolTable;
use crate::venues::{Levels, Scanned};
pub(super) fn scan(_: &FrameMut<'_>, _: &SymbolTable, _: &mut Levels, _: bool) -> Scanned {
    Scanned::OtherKind
}
