//! A cursor over a padded frame for scanners that know their schema.
//!
//! It accepts a strict subset of JSON: no white space, no escapes, no bytes outside printable ASCII in strings. At the
//! first surprise a method answers `None`, the scanner gives up and simd-json reads the frame; whatever the cursor
//! accepts, simd-json reads the same way (the differential fuzz target holds them to it).

use tidegate_wire::decimal::{MANTISSA_MAX, quoted_scalar};
use tidegate_wire::{Level, Price, Qty, Scale};

use crate::frame::{FrameMut, PADDING};
use crate::numbers::ms_ns;
use crate::symbols::{Entry, SymbolTable};

/// How numbers and strings are read: by vectors where the CPU has them, else byte by byte.
pub(crate) trait Numbers {
    /// The decimal at `bytes[at..]`: mantissa and length.
    fn decimal(cursor: &Cursor<'_>, scale: Scale) -> Option<(i64, usize)>;
    /// The unsigned integer at `bytes[at..]`: value and length.
    fn integer(cursor: &Cursor<'_>) -> Option<(u64, usize)>;
    /// Length of the plain string that ends at the next quote; `None` where it must be looked at byte by byte.
    #[inline(always)]
    fn string(_: &Cursor<'_>) -> Option<usize> {
        None
    }
    /// The level `["price","qty"]` at `bytes[at..]`: both mantissas and the length, brackets included. `None` where the
    /// level must be read number by number.
    #[inline(always)]
    fn level(_: &Cursor<'_>, _: Scale, _: Scale) -> Option<(i64, i64, usize)> {
        None
    }
}

/// Byte by byte; works everywhere.
pub(crate) struct Scalar;

impl Numbers for Scalar {
    #[inline(always)]
    fn decimal(cursor: &Cursor<'_>, scale: Scale) -> Option<(i64, usize)> {
        quoted_scalar(cursor.rest(), scale).ok()
    }

    #[inline(always)]
    fn integer(cursor: &Cursor<'_>) -> Option<(u64, usize)> {
        integer_scalar(cursor.rest())
    }
}

/// Sixteen bytes at a time.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Vector;

#[cfg(target_arch = "x86_64")]
impl Numbers for Vector {
    #[inline(always)]
    fn decimal(cursor: &Cursor<'_>, scale: Scale) -> Option<(i64, usize)> {
        // SAFETY: the cursor stands at or before the end and 64 bytes follow that; only built for CPUs that have
        // the vector instructions.
        let fast = unsafe { tidegate_wire::decimal::simd::quoted(cursor.pointer(), scale) };
        fast.or_else(|| Scalar::decimal(cursor, scale))
    }

    #[inline(always)]
    fn integer(cursor: &Cursor<'_>) -> Option<(u64, usize)> {
        // SAFETY: as above.
        let fast = unsafe { tidegate_wire::decimal::simd::integer(cursor.pointer()) };
        fast.or_else(|| Scalar::integer(cursor))
    }

    #[inline(always)]
    fn string(cursor: &Cursor<'_>) -> Option<usize> {
        // SAFETY: 64 bytes are readable from the cursor; only built for CPUs with AVX2.
        let (quotes, odd) = unsafe {
            use core::arch::x86_64::*;
            let bytes = _mm256_loadu_si256(cursor.pointer().cast());
            let is = |byte: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte as i8));
            // As signed bytes, control characters and everything beyond ASCII are below the space.
            let low = _mm256_cmpgt_epi8(_mm256_set1_epi8(b' ' as i8), bytes);
            let odd = _mm256_or_si256(low, _mm256_or_si256(is(b'\\'), is(0x7f)));
            (_mm256_movemask_epi8(is(b'"')) as u32, _mm256_movemask_epi8(odd) as u32)
        };
        // An odd byte before the first quote: somebody else must look. Both masks empty: it is longer than a look.
        let first = quotes & quotes.wrapping_neg();
        (first != 0 && odd & (first - 1) == 0).then(|| first.trailing_zeros() as usize)
    }

    /// One 32-byte look finds all four quotes, so where the next level begins does not wait for any digit.
    #[inline(always)]
    fn level(cursor: &Cursor<'_>, price_scale: Scale, qty_scale: Scale) -> Option<(i64, i64, usize)> {
        use tidegate_wire::decimal::simd;
        let text = cursor.pointer();
        // SAFETY: 64 bytes are readable from the cursor; only built for CPUs with AVX2.
        let quotes = unsafe {
            use core::arch::x86_64::*;
            let bytes = _mm256_loadu_si256(text.cast());
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"' as i8))) as u32
        };
        let second = quotes & quotes.wrapping_sub(1);
        let third = second & second.wrapping_sub(1);
        let fourth = third & third.wrapping_sub(1);
        // Four quotes, so that all positions below are within the 32 bytes.
        if fourth == 0 {
            return None;
        }
        let (price_end, qty_at) = (second.trailing_zeros() as usize, third.trailing_zeros() as usize + 1);
        let qty_end = fourth.trailing_zeros() as usize;
        let (head, middle, tail) = (cursor.peek::<2>(), cursor.peek_at::<3>(price_end), cursor.peek_at::<2>(qty_end));
        // The third quote opens the quantity, so the second one closes the price right before it.
        let shaped = head == *b"[\"" && middle == *b"\",\"" && tail == *b"\"]" && qty_at == price_end + 3;
        if !shaped {
            return None;
        }
        // SAFETY: `qty_at` is at most 31 and 64 bytes are readable, so 16 are from there.
        let price = unsafe { simd::exact(text.add(2), price_end - 2, price_scale) }?;
        // SAFETY: as above.
        let qty = unsafe { simd::exact(text.add(qty_at), qty_end - qty_at, qty_scale) }?;
        Some((price, qty, qty_end + 2))
    }
}

/// A JSON integer of up to 19 digits that fits an `i64`; no sign, no leading zero.
fn integer_scalar(text: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    let mut length = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        length += 1;
    }
    (length > 0 && (length == 1 || text[0] != b'0') && value <= i64::MAX as u64).then_some((value, length))
}

/// A position in a frame. It never moves past the end, so that 64 bytes from it are always readable.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    /// The frame and its padding.
    buffer: &'a [u8],
    /// Position, in `[0, end]`.
    at: usize,
    /// Length of the frame; `buffer.len() >= end + PADDING`.
    end: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub(crate) fn new(frame: &'a FrameMut<'_>) -> Self {
        debug_assert!(frame.padded().len() >= frame.len() + PADDING);
        Self { buffer: frame.padded(), at: 0, end: frame.len() }
    }

    /// Bytes from the position to the end of the frame.
    #[inline(always)]
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.buffer[self.at..self.end]
    }

    #[inline(always)]
    pub(crate) fn at_end(&self) -> bool {
        self.at == self.end
    }

    /// The cursor's address; 64 bytes are readable from it.
    #[inline(always)]
    pub(crate) fn pointer(&self) -> *const u8 {
        self.buffer[self.at..].as_ptr()
    }

    /// `N <= 64` bytes from the position on, padding included.
    #[inline(always)]
    pub(crate) fn peek<const N: usize>(&self) -> [u8; N] {
        const { assert!(N <= PADDING) };
        // SAFETY: `at <= end` always, the buffer is at least `end + PADDING` long, and `N <= PADDING`.
        unsafe { self.buffer.as_ptr().add(self.at).cast::<[u8; N]>().read_unaligned() }
    }

    /// As [`Self::peek`], `offset <= 32` bytes further on.
    #[inline(always)]
    pub(crate) fn peek_at<const N: usize>(&self, offset: usize) -> [u8; N] {
        const { assert!(N <= PADDING / 2) };
        debug_assert!(offset <= PADDING / 2);
        // SAFETY: as in `peek`; `offset + N <= PADDING`.
        unsafe { self.buffer.as_ptr().add(self.at + offset).cast::<[u8; N]>().read_unaligned() }
    }

    #[inline(always)]
    pub(crate) fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at += bytes;
        if self.at > self.end {
            self.at = self.end;
            return None;
        }
        Some(())
    }

    /// Moves past `literal`, or gives up.
    #[inline(always)]
    pub(crate) fn expect<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        if self.peek::<N>() == *literal { self.skip(N) } else { None }
    }

    /// Moves past `literal` if it is there.
    #[inline(always)]
    pub(crate) fn eat<const N: usize>(&mut self, literal: &[u8; N]) -> bool {
        self.peek::<N>() == *literal && self.skip(N).is_some()
    }

    #[inline(always)]
    pub(crate) fn integer<R: Numbers>(&mut self) -> Option<u64> {
        let (value, length) = R::integer(self)?;
        self.skip(length)?;
        // A fraction or an exponent would make it another number.
        if matches!(self.peek::<1>()[0], b'.' | b'e' | b'E') { None } else { Some(value) }
    }

    /// A quoted decimal, both quotes included.
    #[inline(always)]
    pub(crate) fn decimal<R: Numbers>(&mut self, scale: Scale) -> Option<i64> {
        self.expect(b"\"")?;
        let (value, length) = R::decimal(self, scale)?;
        self.skip(length)?;
        self.expect(b"\"")?;
        (value < MANTISSA_MAX).then_some(value)
    }

    /// A plain string after its opening quote; moves past the closing one.
    #[inline(always)]
    pub(crate) fn string<R: Numbers>(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        if let Some(length) = R::string(self) {
            // A quote behind the end of the frame is none.
            self.skip(length + 1)?;
            return rest.get(..length);
        }
        let mut length = 0;
        loop {
            match *rest.get(length)? {
                b'"' => break,
                b'\\' | 0..0x20 | 0x7f.. => return None,
                _ => length += 1,
            }
        }
        self.skip(length + 1)?;
        Some(&rest[..length])
    }

    /// Skips the value of a key the scanner does not know: a plain string, an integer, `true`, `false` or `null`.
    #[inline(never)]
    pub(crate) fn skip_scalar(&mut self) -> Option<()> {
        match self.peek::<1>()[0] {
            b'"' => {
                self.skip(1)?;
                self.string::<Scalar>().map(|_| ())
            }
            b'0'..=b'9' => self.integer::<Scalar>().map(|_| ()),
            b't' => self.expect(b"true"),
            b'f' => self.expect(b"false"),
            b'n' => self.expect(b"null"),
            _ => None,
        }
    }

    /// `[["price","qty"],...]`, with the position at the outer bracket; gives the number of levels.
    #[inline(always)]
    pub(crate) fn levels<R: Numbers>(
        &mut self,
        price_scale: Scale,
        qty_scale: Scale,
        levels: &mut [Level],
    ) -> Option<usize> {
        self.expect(b"[")?;
        if self.eat(b"]") {
            return Some(0);
        }
        let (mut count, mut all) = (0, 0);
        loop {
            let (price, qty) = match R::level(self, price_scale, qty_scale) {
                Some((price, qty, length)) => {
                    self.skip(length)?;
                    (price, qty)
                }
                None => self.level_by_numbers::<R>(price_scale, qty_scale)?,
            };
            *levels.get_mut(count)? = Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) };
            count += 1;
            // One test for all levels: a bit above the limit in any of them stays set.
            all |= price | qty;
            let [next] = self.peek::<1>();
            self.skip(1)?;
            match next {
                b',' => {}
                b']' => return (all < MANTISSA_MAX).then_some(count),
                _ => return None,
            }
        }
    }

    /// `[["price","qty",...],...]` with the position at the outer bracket: levels whose texts matter, or with columns
    /// behind the two. `see` gets each level's number and texts; gives the number of levels.
    #[inline(always)]
    pub(crate) fn rows<R: Numbers>(
        &mut self,
        entry: &Entry,
        levels: &mut [Level],
        mut see: impl FnMut(usize, &[u8], &[u8]) -> Option<()>,
    ) -> Option<usize> {
        self.list(|cursor, count| {
            cursor.expect(b"[\"")?;
            let (price, price_text) = cursor.number::<R>(entry.price_scale)?;
            cursor.expect(b"\",\"")?;
            let (qty, qty_text) = cursor.number::<R>(entry.qty_scale)?;
            cursor.expect(b"\"")?;
            while cursor.eat(b",") {
                cursor.skip_scalar()?;
            }
            cursor.expect(b"]")?;
            *levels.get_mut(count)? = Level { price: Price::from_raw(price), qty: Qty::from_raw(qty) };
            see(count, price_text, qty_text)
        })
    }

    /// A list with the position at its bracket; `element` reads each, and gets its number. Gives how many there are.
    #[inline(always)]
    pub(crate) fn list(&mut self, mut element: impl FnMut(&mut Self, usize) -> Option<()>) -> Option<usize> {
        self.expect(b"[")?;
        if self.eat(b"]") {
            return Some(0);
        }
        let mut count = 0;
        loop {
            element(self, count)?;
            count += 1;
            let [next] = self.peek::<1>();
            self.skip(1)?;
            match next {
                b',' => {}
                b']' => return Some(count),
                _ => return None,
            }
        }
    }

    /// The digits of a decimal, without quotes: its mantissa and its text.
    #[inline(always)]
    pub(crate) fn number<R: Numbers>(&mut self, scale: Scale) -> Option<(i64, &'a [u8])> {
        let (value, length) = R::decimal(self, scale)?;
        let text = self.rest().get(..length)?;
        self.skip(length)?;
        (value < MANTISSA_MAX).then_some((value, text))
    }

    /// A decimal that is a JSON number: no leading zero, no exponent.
    #[inline(always)]
    pub(crate) fn bare<R: Numbers>(&mut self, scale: Scale) -> Option<i64> {
        let (value, text) = self.number::<R>(scale)?;
        let leading_zero = matches!(text, [b'0', b'0'..=b'9', ..]);
        (!leading_zero && matches!(self.peek::<1>()[0], b',' | b']' | b'}')).then_some(value)
    }

    /// An integer, as a number or as a text of digits.
    #[inline(always)]
    pub(crate) fn digits<R: Numbers>(&mut self) -> Option<u64> {
        let quoted = self.eat(b"\"");
        let value = self.integer::<R>()?;
        if quoted {
            self.expect(b"\"")?;
        }
        Some(value)
    }

    /// A whole number with an optional sign; no negative zero.
    #[inline(always)]
    pub(crate) fn signed<R: Numbers>(&mut self) -> Option<i64> {
        let negative = self.eat(b"-");
        let value = i64::try_from(self.integer::<R>()?).ok()?;
        match (negative, value) {
            (true, 0) => None,
            (true, value) => Some(-value),
            (false, value) => Some(value),
        }
    }

    /// A time in milliseconds, as a number or as a text, in ns since the Unix epoch.
    #[inline(always)]
    pub(crate) fn ms<R: Numbers>(&mut self) -> Option<i64> {
        ms_ns(i64::try_from(self.digits::<R>()?).ok()?).ok()
    }

    /// A plain text with its quotes.
    #[inline(always)]
    pub(crate) fn text<R: Numbers>(&mut self) -> Option<&'a str> {
        self.expect(b"\"")?;
        core::str::from_utf8(self.string::<R>()?).ok()
    }

    /// A key; leaves the cursor at its value.
    #[inline(always)]
    pub(crate) fn key<R: Numbers>(&mut self) -> Option<&'a [u8]> {
        self.expect(b"\"")?;
        let key = self.string::<R>()?;
        self.expect(b":")?;
        Some(key)
    }

    /// After a value of an object: `true` at a comma, `false` behind its closing bracket.
    #[inline(always)]
    pub(crate) fn another(&mut self) -> Option<bool> {
        let [next] = self.peek::<1>();
        self.skip(1)?;
        match next {
            b',' => Some(true),
            b'}' => Some(false),
            _ => None,
        }
    }

    /// A quoted symbol, looked up.
    #[inline(always)]
    pub(crate) fn symbol<'t, R: Numbers>(&mut self, symbols: &'t SymbolTable) -> Option<&'t Entry> {
        self.expect(b"\"")?;
        let bytes = self.peek::<24>();
        let text = self.string::<R>()?;
        symbols.find_padded(&bytes, text.len())
    }

    /// A level, number by number.
    #[cold]
    #[inline(never)]
    fn level_by_numbers<R: Numbers>(&mut self, price_scale: Scale, qty_scale: Scale) -> Option<(i64, i64)> {
        self.expect(b"[\"")?;
        let (price, length) = R::decimal(self, price_scale)?;
        self.skip(length)?;
        self.expect(b"\",\"")?;
        let (qty, length) = R::decimal(self, qty_scale)?;
        self.skip(length)?;
        self.expect(b"\"]")?;
        Some((price, qty))
    }
}
