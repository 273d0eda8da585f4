//! Frames by simd-json: the tape is filled in place, walked once and kept for the next frame.

use simd_json::{Buffers, Node, StaticNode, Tape, fill_tape_padded};
use tidegate_wire::decimal::{MANTISSA_MAX, quoted_scalar};
use tidegate_wire::{Level, Price, Qty, Scale};

use crate::counters::Reason;
use crate::frame::FrameMut;
use crate::numbers::{ms_ns, rounded};
use crate::symbols::Entry;
use crate::sync::Previous;
use crate::venues::Levels;

/// Room for the tape of the largest frame expected (a snapshot of 5,000 levels a side); larger ones grow it once.
const TAPE_NODES: usize = 32 * 1024;

/// Buffers and tape, reused: no allocation in steady state.
pub(crate) struct Parser {
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl core::fmt::Debug for Parser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self { buffers: Buffers::new(256 * 1024), tape: Some(Tape(Vec::with_capacity(TAPE_NODES))) }
    }
}

impl Parser {
    /// Fills the tape with a frame and shows it to `read`.
    pub(crate) fn with_tape<T>(
        &mut self,
        frame: &mut FrameMut<'_>,
        read: impl FnOnce(Nodes<'_>) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        let mut tape = self.tape.take().unwrap_or_else(|| Tape(Vec::with_capacity(TAPE_NODES))).reset();
        let (buffer, length) = frame.padded_mut();
        let result = match fill_tape_padded(buffer, length, &mut self.buffers, &mut tape) {
            Ok(()) => read(&tape.0),
            Err(_) => Err(Reason::NotJson),
        };
        self.tape = Some(tape.reset());
        result
    }
}

pub(crate) type Nodes<'t> = &'t [Node<'t>];

/// Number of nodes of the value that starts at `nodes[0]`.
fn size(nodes: Nodes<'_>) -> usize {
    match nodes.first() {
        Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
        Some(_) => 1,
        None => 0,
    }
}

/// The members of an object; `None` unless `nodes` starts with one.
pub(crate) fn members<'t>(nodes: Nodes<'t>) -> Option<impl Iterator<Item = (&'t str, Nodes<'t>)>> {
    let &Node::Object { len, count } = nodes.first()? else { return None };
    let mut rest = nodes.get(1..=count)?;
    Some((0..len).map_while(move |_| {
        let (Node::String(key), value) = rest.split_first()? else { return None };
        let (value, after) = value.split_at_checked(size(value))?;
        rest = after;
        Some((*key, value))
    }))
}

/// An unsigned decimal that is a whole text.
#[inline]
pub(crate) fn number(text: &str, scale: Scale) -> Result<i64, Reason> {
    let (value, length) = quoted_scalar(text.as_bytes(), scale)?;
    match () {
        () if length != text.len() => Err(Reason::BadDecimal),
        () if value >= MANTISSA_MAX => Err(Reason::Overflow),
        () => Ok(value),
    }
}

/// The value of a key: nothing where the key is absent, and nothing of any type where it came twice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Value<'t>(Option<Nodes<'t>>);

/// The values of some keys of an object; other keys are passed over.
///
/// # Errors
/// [`Reason::BadField`] unless it is an object.
pub(crate) fn pick<'t, const N: usize>(object: Value<'t>, keys: &[&str; N]) -> Result<[Value<'t>; N], Reason> {
    let mut found = [Value(None); N];
    for (key, value) in object.0.and_then(members).ok_or(Reason::BadField)? {
        if let Some(slot) = keys.iter().position(|known| *known == key) {
            let twice = found[slot].0.is_some();
            found[slot] = Value(Some(if twice { &[] } else { value }));
        }
    }
    Ok(found)
}

impl<'t> Value<'t> {
    /// The value that a tape begins with.
    pub(crate) const fn of(nodes: Nodes<'t>) -> Self {
        Self(Some(nodes))
    }

    /// Whether the key is there at all.
    pub(crate) const fn is_there(self) -> bool {
        self.0.is_some()
    }

    /// Whether there is something to read: neither absent, nor `null`, nor an empty text, which venues write for
    /// "does not apply".
    pub(crate) fn says(self) -> bool {
        !matches!(self.0, None | Some([Node::Static(StaticNode::Null), ..] | [Node::String(""), ..]))
    }

    /// This value, or the other one where its key is absent: venues rename keys from version to version.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.is_there() { self } else { other }
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self.0, Some([Node::Object { .. }, ..]))
    }

    /// The value if there is something to read, else `read` is not asked.
    pub(crate) fn told<T>(self, read: impl FnOnce(Self) -> Result<T, Reason>) -> Result<Option<T>, Reason> {
        if self.says() { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn text(self) -> Result<&'t str, Reason> {
        match self.0 {
            Some([Node::String(text)]) => Ok(text),
            _ => Err(Reason::BadField),
        }
    }

    /// The text, or nothing where there is none.
    pub(crate) fn text_or_empty(self) -> &'t str {
        self.text().unwrap_or_default()
    }

    /// A whole number in `[0, i64::MAX]`, as a number or as a text of digits.
    pub(crate) fn integer(self) -> Result<u64, Reason> {
        u64::try_from(self.signed()?).map_err(|_| Reason::BadField)
    }

    /// A whole number of 64 bits, as a number or as a text of digits.
    pub(crate) fn signed(self) -> Result<i64, Reason> {
        match self.0 {
            Some([Node::Static(StaticNode::U64(value))]) => i64::try_from(*value).map_err(|_| Reason::BadField),
            Some([Node::Static(StaticNode::I64(value))]) => Ok(*value),
            // `+1` is a number to Rust but to no venue.
            Some([Node::String(text)]) if !text.starts_with('+') => text.parse().map_err(|_| Reason::BadField),
            _ => Err(Reason::BadField),
        }
    }

    /// A number as a double; whole ones beyond 2^53 lose their last digits.
    pub(crate) fn double(self) -> Option<f64> {
        match self.0 {
            Some([Node::Static(StaticNode::F64(value))]) => Some(*value),
            Some([Node::Static(StaticNode::U64(value))]) => Some(*value as f64),
            Some([Node::Static(StaticNode::I64(value))]) => Some(*value as f64),
            _ => None,
        }
    }

    /// What identifies a trade: a number, or the first 64 bits of a UUID; 0 where there is neither.
    pub(crate) fn identity(self) -> u64 {
        self.integer().unwrap_or_else(|_| {
            let digits = self.text_or_empty().bytes().filter_map(|byte| char::from(byte).to_digit(16));
            digits.take(16).fold(0, |id, digit| id << 4 | u64::from(digit))
        })
    }

    /// The aggressor's side, `Buy` or `Sell` in any case: whether it sold.
    pub(crate) fn sold(self) -> Result<bool, Reason> {
        let text = self.text()?;
        let is = |side: &str| text.eq_ignore_ascii_case(side);
        if is("sell") || is("buy") { Ok(is("sell")) } else { Err(Reason::BadField) }
    }

    /// The number of the frame before; a negative one says that there is none.
    pub(crate) fn previous(self) -> Result<Previous, Reason> {
        let id = self.told(Self::signed)?;
        Ok(id.map_or(Previous::Absent, |id| u64::try_from(id).map_or(Previous::Nothing, Previous::Id)))
    }

    /// A signed 32-bit checksum; 0 where there is none.
    pub(crate) fn checksum(self) -> Result<i32, Reason> {
        let value = self.told(Self::signed)?.unwrap_or(0);
        i32::try_from(value).map_err(|_| Reason::BadField)
    }

    /// A time of the venue in milliseconds, as ns since the Unix epoch.
    pub(crate) fn ms(self) -> Result<i64, Reason> {
        self.signed().and_then(ms_ns)
    }

    /// As [`Self::ms`]; 0 where the venue does not say.
    pub(crate) fn ms_or_zero(self) -> Result<i64, Reason> {
        Ok(self.told(Self::ms)?.unwrap_or(0))
    }

    /// A price or quantity on the instrument's grid: a text, or a number.
    #[inline]
    pub(crate) fn decimal(self, scale: Scale) -> Result<i64, Reason> {
        match self.0 {
            Some([Node::String(text)]) => number(text, scale),
            Some([node]) => exact(node, scale),
            _ => Err(Reason::BadField),
        }
    }

    pub(crate) fn price(self, entry: &Entry) -> Result<Price, Reason> {
        self.decimal(entry.price_scale).map(Price::from_raw)
    }

    pub(crate) fn qty(self, entry: &Entry) -> Result<Qty, Reason> {
        self.decimal(entry.qty_scale).map(Qty::from_raw)
    }

    /// A quantity that a trade or quote must have.
    pub(crate) fn qty_above_zero(self, entry: &Entry) -> Result<Qty, Reason> {
        self.qty(entry).and_then(|qty| if qty > Qty::ZERO { Ok(qty) } else { Err(Reason::BadField) })
    }

    /// A signed number that lies on no grid (rates, greeks, mark prices), rounded to `decimals`.
    pub(crate) fn rounded(self, decimals: u8) -> Result<i64, Reason> {
        match self.0 {
            Some([Node::String(text)]) => rounded(text.as_bytes(), decimals),
            Some([Node::Static(StaticNode::F64(value))]) => whole(value * 10f64.powi(i32::from(decimals))),
            _ => Scale::new(decimals)
                .and_then(|scale| self.signed().ok()?.checked_mul(scale.units()))
                .ok_or(Reason::BadField),
        }
    }

    /// The elements of an array.
    pub(crate) fn elements(self) -> Result<impl Iterator<Item = Self>, Reason> {
        let Some([Node::Array { len, .. }, rest @ ..]) = self.0 else { return Err(Reason::BadField) };
        let mut rest = rest;
        Ok((0..*len).map_while(move |_| {
            let (value, after) = rest.split_at_checked(size(rest))?;
            rest = after;
            Some(Self(Some(value)))
        }))
    }

    /// The only element of an array: where venues send a list of one.
    pub(crate) fn only(self) -> Result<Self, Reason> {
        let mut elements = self.elements()?;
        match (elements.next(), elements.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Reason::BadField),
        }
    }

    /// `[[price, quantity, ...], ...]` into `levels`, texts or numbers; what stands behind the two is passed over.
    /// Gives their number, and shows the two texts of each level to `see`.
    pub(crate) fn levels(
        self,
        entry: &Entry,
        levels: &mut [Level],
        mut see: impl FnMut(usize, &str, &str) -> Result<(), Reason>,
    ) -> Result<usize, Reason> {
        let mut count = 0;
        for level in self.elements()? {
            let mut columns = level.elements()?;
            let (Some(price), Some(qty)) = (columns.next(), columns.next()) else { return Err(Reason::BadField) };
            let room = levels.get_mut(count).ok_or(Reason::TooManyLevels)?;
            *room = Level { price: price.price(entry)?, qty: qty.qty(entry)? };
            see(count, price.text_or_empty(), qty.text_or_empty())?;
            count += 1;
        }
        Ok(count)
    }
}

/// Both sides of a book, with their texts where the venue has checksums over them.
pub(crate) fn book(bids: Value<'_>, asks: Value<'_>, entry: &Entry, levels: &mut Levels) -> Result<(), Reason> {
    for (side, room, texts, count) in [
        (bids, &mut levels.bids, &mut levels.bid_texts, &mut levels.bid_count),
        (asks, &mut levels.asks, &mut levels.ask_texts, &mut levels.ask_count),
    ] {
        *count = side.levels(entry, room, |index, price, qty| match texts.get_mut(index) {
            // A number instead of a text would have no checksum.
            Some(_) if price.is_empty() || qty.is_empty() => Err(Reason::BadField),
            Some(text) => text.join(price.as_bytes(), qty.as_bytes()),
            None => Ok(()),
        })?;
    }
    Ok(())
}

/// A JSON number on a grid, exactly.
///
/// The tape holds numbers with a fraction as the nearest double. For a decimal of at most `scale` decimals and a
/// mantissa below 2^49, that double times `10^scale` is less than 2^-2 away from the mantissa, because each of the two
/// steps rounds by at most 2^-53 of the value: rounding gives the mantissa itself. A number that is further from a
/// whole one than those two steps explain has more decimals than the instrument.
fn exact(node: &Node<'_>, scale: Scale) -> Result<i64, Reason> {
    let units = scale.units();
    let value = match node {
        Node::Static(StaticNode::U64(value)) => {
            i64::try_from(*value).ok().and_then(|value| value.checked_mul(units)).ok_or(Reason::Overflow)?
        }
        Node::Static(StaticNode::I64(value)) => value.checked_mul(units).ok_or(Reason::Overflow)?,
        Node::Static(StaticNode::F64(value)) => {
            let scaled = value * units as f64;
            let value = whole(scaled)?;
            if (scaled - value as f64).abs() > scaled.abs() * (f64::EPSILON * 2.0) {
                return Err(Reason::OffGrid);
            }
            value
        }
        _ => return Err(Reason::BadField),
    };
    match value {
        _ if value < 0 => Err(Reason::BadField),
        _ if value >= MANTISSA_MAX => Err(Reason::Overflow),
        _ => Ok(value),
    }
}

/// The nearest whole number, if it fits.
fn whole(value: f64) -> Result<i64, Reason> {
    // Above 9.2e18 the conversion saturates; NaN is refused with it.
    let fits = value.abs() < 9.2e18;
    if fits { Ok(value.round() as i64) } else { Err(Reason::Overflow) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PADDING;

    /// One value in an array, read by `read`.
    fn of<T>(text: &str, read: impl FnOnce(Value<'_>) -> Result<T, Reason>) -> Result<T, Reason> {
        let mut bytes = format!("[{text}]").into_bytes();
        let length = bytes.len();
        bytes.resize(length + PADDING, 0);
        let mut frame = FrameMut::new(&mut bytes, length).expect("padding");
        Parser::default().with_tape(&mut frame, |nodes| read(Value::of(nodes).only()?))
    }

    #[test]
    fn numbers_and_texts_mean_the_same() {
        let scale = Scale::saturating(4);
        for (text, expected) in [
            ("42500.0", Ok(425_000_000)),
            ("\"42500.0\"", Ok(425_000_000)),
            ("42500", Ok(425_000_000)),
            ("0.0005", Ok(5)),
            ("5e-4", Ok(5)),
            ("0.3415", Ok(3415)),
            ("0", Ok(0)),
            ("0.00005", Err(Reason::OffGrid)),
            ("\"0.00005\"", Err(Reason::OffGrid)),
            ("-1.5", Err(Reason::BadField)),
            ("1e30", Err(Reason::Overflow)),
            ("99999999999999", Err(Reason::Overflow)),
            ("null", Err(Reason::BadField)),
        ] {
            assert_eq!(of(text, |value| value.decimal(scale)), expected, "{text}");
        }
        // The largest mantissas: every one of them survives the way through a double.
        for mantissa in (MANTISSA_MAX - 2000..MANTISSA_MAX).chain(1..2000) {
            let text = format!("{}.{:04}", mantissa / 10_000, mantissa % 10_000);
            assert_eq!(of(&text, |value| value.decimal(scale)), Ok(mantissa), "{text}");
        }
    }

    #[test]
    fn whole_numbers_come_in_both_forms() {
        for (text, expected) in [
            ("7", Ok(7)),
            ("\"7\"", Ok(7)),
            ("-1", Ok(-1)),
            ("\"-1\"", Ok(-1)),
            ("\"+1\"", Err(Reason::BadField)),
            ("\"\"", Err(Reason::BadField)),
            ("7.0", Err(Reason::BadField)),
            ("9223372036854775808", Err(Reason::BadField)),
        ] {
            assert_eq!(of(text, |value| value.signed()), expected, "{text}");
        }
        assert_eq!(of("-1", |value| value.integer()), Err(Reason::BadField));
        assert_eq!(of("\"\"", |value| value.told(Value::integer)), Ok(None));
        assert_eq!(of("null", |value| value.told(Value::integer)), Ok(None));
        assert_eq!(of("1672304484978", |value| value.ms()), Ok(1_672_304_484_978_000_000));
        assert_eq!(of("9999999999999999", |value| value.ms()), Err(Reason::Overflow));
    }

    #[test]
    fn what_lies_on_no_grid_is_rounded() {
        for (text, value) in [
            ("\"39016.8143629068452065\"", 3_901_681_436_291),
            ("120.74", 12_074_000_000),
            ("-1.64029", -164_029_000),
            ("1.742e-05", 1742),
            ("12685", 1_268_500_000_000),
            ("\"-0.0000809873\"", -8099),
        ] {
            assert_eq!(of(text, |number| number.rounded(8)), Ok(value), "{text}");
        }
        assert_eq!(of("1e300", |number| number.rounded(8)), Err(Reason::Overflow));
        assert_eq!(of("{}", |number| number.rounded(8)), Err(Reason::BadField));
    }
}
