//! Fixed-point prices and quantities, and the one grammar by which decimal text becomes an integer.
//!
//! A value is `mantissa * 10^-scale`; the mantissa lives in [`Price`] or [`Qty`], the [`Scale`] in the instrument.
//! Reading is exact or an error: text with more non-zero decimals than the scale is [`DecimalError::Inexact`], a value
//! that does not fit an `i64` is [`DecimalError::Overflow`]. Trailing zeros beyond the scale are accepted because
//! venues pad (`"61800.20"` at scale 1).
//!
//! Grammar: `digit+ [ '.' digit+ ]`, plus a leading `-` for [`parse_signed`]. No exponent, no `+`, no blanks.
//! [`quoted_scalar`] and the 16-byte SIMD reader behind `simd::quoted` implement it twice; property tests hold them to
//! each other and to `rust_decimal`.

use core::fmt;

use bytemuck::{Pod, Zeroable};

/// Powers of ten that fit an `i64`.
pub const POW10: [i64; 19] = {
    let mut table = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        table[i] = table[i - 1] * 10;
        i += 1;
    }
    table
};

/// Largest price or quantity mantissa that a feed lets through: 2^49, so that every one is exact as an `f64` and the
/// sum of 8,192 of them fits an `i64`.
pub const MANTISSA_MAX: i64 = 1 << 49;

/// Why a decimal text is not a fixed-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not of the grammar: empty, a sign, two dots, a letter.
    #[error("not a plain decimal number")]
    Malformed,
    /// More non-zero decimals than the scale holds.
    #[error("more decimals than the instrument's scale")]
    Inexact,
    /// Does not fit an `i64` mantissa at this scale.
    #[error("does not fit 64 bits at the instrument's scale")]
    Overflow,
}

/// Number of decimals of an instrument's prices or quantities, in `[0, 18]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scale(u8);

impl Scale {
    /// The largest scale: `10^18` is the largest power of ten in an `i64`.
    pub const MAX: u8 = 18;

    /// `decimals` in `[0, 18]`, else `None`.
    pub const fn new(decimals: u8) -> Option<Self> {
        if decimals <= Self::MAX { Some(Self(decimals)) } else { None }
    }

    /// The scale, cut to `[0, 18]`; for constants.
    pub const fn saturating(decimals: u8) -> Self {
        if decimals <= Self::MAX { Self(decimals) } else { Self(Self::MAX) }
    }

    /// Number of decimals, in `[0, 18]`.
    pub const fn decimals(self) -> u8 {
        self.0
    }

    /// `10^decimals`: how many mantissa units one whole unit has.
    pub const fn units(self) -> i64 {
        POW10[self.0 as usize]
    }
}

macro_rules! fixed_point {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Pod, Zeroable)]
        #[repr(transparent)]
        pub struct $name(i64);

        impl $name {
            /// Zero at every scale.
            pub const ZERO: Self = Self(0);

            /// From a mantissa at the instrument's scale.
            #[inline(always)]
            pub const fn from_raw(mantissa: i64) -> Self {
                Self(mantissa)
            }

            /// The mantissa at the instrument's scale.
            #[inline(always)]
            pub const fn raw(self) -> i64 {
                self.0
            }

            /// Reads unsigned decimal text exactly.
            ///
            /// # Errors
            /// See [`DecimalError`]; the whole text must be a number.
            pub fn parse(text: &[u8], scale: Scale) -> Result<Self, DecimalError> {
                parse(text, scale).map(Self)
            }

            /// Sum, or `None` on overflow.
            #[inline]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// Difference, or `None` on overflow.
            #[inline]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(difference) => Some(Self(difference)),
                    None => None,
                }
            }

            /// The nearest `f64`; for features and screens, never for money.
            #[inline(always)]
            pub fn to_f64(self, scale: Scale) -> f64 {
                self.0 as f64 / scale.units() as f64
            }

            /// Exact decimal text with `scale` decimals.
            pub const fn display(self, scale: Scale) -> Fixed {
                Fixed { mantissa: self.0, scale }
            }
        }
    };
}

fixed_point! {
    /// A price mantissa; quote currency units times `10^scale` of the instrument.
    Price
}
fixed_point! {
    /// A quantity mantissa; base units (or contracts) times `10^scale` of the instrument.
    Qty
}

/// A mantissa with its scale, for printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    mantissa: i64,
    scale: Scale,
}

impl Fixed {
    /// A mantissa at a scale.
    pub const fn new(mantissa: i64, scale: Scale) -> Self {
        Self { mantissa, scale }
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, decimals) = (self.scale.units().unsigned_abs(), usize::from(self.scale.0));
        let (whole, fraction) = (self.mantissa.unsigned_abs() / units, self.mantissa.unsigned_abs() % units);
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if decimals == 0 { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction:0decimals$}") }
    }
}

/// Reads a whole text as an unsigned decimal.
///
/// # Errors
/// See [`DecimalError`].
pub fn parse(text: &[u8], scale: Scale) -> Result<i64, DecimalError> {
    match quoted_scalar(text, scale)? {
        (value, length) if length == text.len() => Ok(value),
        _ => Err(DecimalError::Malformed),
    }
}

/// Reads a whole text as a decimal with an optional leading `-` (funding rates are signed).
///
/// # Errors
/// See [`DecimalError`].
pub fn parse_signed(text: &[u8], scale: Scale) -> Result<i64, DecimalError> {
    match text.strip_prefix(b"-") {
        Some(rest) => parse(rest, scale).map(|value| -value),
        None => parse(text, scale),
    }
}

/// Reads the decimal at the start of `text`; gives the mantissa and the number of bytes read.
///
/// It stops at the first byte that is no digit and no dot; the caller checks that this byte is the closing quote.
///
/// # Errors
/// See [`DecimalError`].
#[inline]
pub fn quoted_scalar(text: &[u8], scale: Scale) -> Result<(i64, usize), DecimalError> {
    let mut value: i64 = 0;
    let mut dot: Option<usize> = None;
    let mut kept = 0u8; // decimals taken into `value`, in [0, scale]
    let mut length = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            if byte != b'.' {
                break;
            }
            if dot.is_some() || length == 0 {
                return Err(DecimalError::Malformed);
            }
            dot = Some(length);
        } else if dot.is_some() && kept == scale.0 {
            if digit != 0 {
                return Err(DecimalError::Inexact);
            }
        } else {
            kept += u8::from(dot.is_some());
            value =
                value.checked_mul(10).and_then(|v| v.checked_add(i64::from(digit))).ok_or(DecimalError::Overflow)?;
        }
        length += 1;
    }
    if length == 0 || dot == Some(length - 1) {
        return Err(DecimalError::Malformed);
    }
    let value = value.checked_mul(POW10[usize::from(scale.0 - kept)]).ok_or(DecimalError::Overflow)?;
    Ok((value, length))
}

/// Reads decimals and integers with 16-byte vectors where the CPU has them.
#[cfg(target_arch = "x86_64")]
pub mod simd {
    use super::{POW10, Scale};
    use core::arch::x86_64::*;

    #[repr(align(16))]
    #[derive(Clone, Copy)]
    struct Lanes([u8; 16]);

    /// `SHUFFLE[whole][decimals]` right-aligns `whole` digits and, one byte further on, `decimals` digits.
    /// Lanes that hold no digit read as zero (high bit of the control set).
    static SHUFFLE: [[Lanes; 16]; 17] = {
        let mut table = [[Lanes([0x80; 16]); 16]; 17];
        let mut whole = 0;
        while whole <= 16 {
            let mut decimals = 0;
            while decimals < 16 && whole + decimals <= 16 {
                let mut lane = 16;
                let mut k = 0;
                while k < decimals {
                    lane -= 1;
                    table[whole][decimals].0[lane] = (whole + decimals - k) as u8;
                    k += 1;
                }
                let mut k = 0;
                while k < whole {
                    lane -= 1;
                    table[whole][decimals].0[lane] = (whole - 1 - k) as u8;
                    k += 1;
                }
                decimals += 1;
            }
            whole += 1;
        }
        table
    };

    /// Sixteen characters: their values as digits, which of them are no digits, and which are dots.
    #[derive(Clone, Copy)]
    struct Characters {
        digits: __m128i,
        others: u32,
        dots: u32,
    }

    /// # Safety
    /// 16 bytes are readable at `text`.
    #[inline(always)]
    unsafe fn characters(text: *const u8) -> Characters {
        // SAFETY: 16 bytes are readable by contract; the rest are register operations of SSE2, which x86-64 always has.
        unsafe {
            let bytes = _mm_loadu_si128(text.cast());
            let digits = _mm_sub_epi8(bytes, _mm_set1_epi8(b'0' as i8));
            let others = _mm_cmpeq_epi8(_mm_max_epu8(digits, _mm_set1_epi8(10)), digits);
            let dots = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'.' as i8));
            Characters { digits, others: _mm_movemask_epi8(others) as u32, dots: _mm_movemask_epi8(dots) as u32 }
        }
    }

    impl Characters {
        /// The decimal that the first `length` characters are, `length` in `[0, 15]`.
        ///
        /// # Safety
        /// The CPU has SSE4.1.
        #[inline(always)]
        unsafe fn decimal(self, length: u32, scale: Scale) -> Option<i64> {
            let scale = u32::from(scale.decimals());
            let inside = (1u32 << length) - 1;
            let dot = self.others & inside;
            let whole = (dot | 1 << length).trailing_zeros();
            // Whatever is no digit must be one dot, with digits on both sides.
            let shaped = dot == self.dots & inside && dot & dot.wrapping_sub(1) == 0;
            if !shaped || whole == 0 || whole + 1 == length && dot != 0 {
                return None;
            }
            let decimals = (length - whole).saturating_sub(1);
            let mut kept = decimals;
            if decimals > scale {
                // SAFETY: register operations of SSE2.
                let zeros = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self.digits, _mm_setzero_si128())) as u32 };
                let cut = inside & !((1u32 << (whole + 1 + scale)) - 1);
                if zeros & cut != cut {
                    return None;
                }
                kept = scale;
            }
            // SAFETY: SSE4.1 by contract.
            let value = unsafe { gather(self.digits, &SHUFFLE[whole as usize & 15][kept as usize & 15]) } as i64;
            if kept == scale { Some(value) } else { value.checked_mul(POW10[(scale - kept) as usize]) }
        }
    }

    /// The decimal at `text`, as [`super::quoted_scalar`] reads it; `None` where that must decide (longer than
    /// 15 characters, or any error).
    ///
    /// # Safety
    /// 16 bytes are readable at `text`, and the CPU has SSE4.1 (SSSE3 included).
    #[inline(always)]
    pub unsafe fn quoted(text: *const u8, scale: Scale) -> Option<(i64, usize)> {
        // SAFETY: 16 bytes by contract.
        let characters = unsafe { characters(text) };
        let length = ((characters.others & !characters.dots) | 1 << 16).trailing_zeros();
        // 16 means that the end was not seen.
        if length == 16 {
            return None;
        }
        // SAFETY: SSE4.1 by contract.
        let value = unsafe { characters.decimal(length, scale) }?;
        Some((value, length as usize))
    }

    /// The decimal that the `length` characters at `text` are; `None` where [`super::quoted_scalar`] must decide
    /// (longer than 15 characters, or any error). Whoever knows where it ends spares the search.
    ///
    /// # Safety
    /// As for [`quoted`].
    #[inline(always)]
    pub unsafe fn exact(text: *const u8, length: usize, scale: Scale) -> Option<i64> {
        if length > 15 {
            return None;
        }
        // SAFETY: as above.
        unsafe { characters(text).decimal(length as u32, scale) }
    }

    /// The JSON integer of up to 15 digits at `text`: value and length. `None` where a scalar reader must decide
    /// (longer, not a digit first, a leading zero).
    ///
    /// # Safety
    /// As for [`quoted`].
    #[inline(always)]
    pub unsafe fn integer(text: *const u8) -> Option<(u64, usize)> {
        // SAFETY: 16 bytes are readable by contract; the rest are register operations the CPU has by contract.
        let (digits, others) = unsafe {
            let digits = _mm_sub_epi8(_mm_loadu_si128(text.cast()), _mm_set1_epi8(b'0' as i8));
            let others = _mm_cmpeq_epi8(_mm_max_epu8(digits, _mm_set1_epi8(10)), digits);
            (digits, _mm_movemask_epi8(others) as u32)
        };
        let length = (others | 1 << 16).trailing_zeros() as usize;
        // SAFETY: one byte of the 16 is readable.
        let leading_zero = length > 1 && unsafe { *text } == b'0';
        if length == 0 || length == 16 || leading_zero {
            return None;
        }
        // SAFETY: as above.
        Some((unsafe { gather(digits, &SHUFFLE[length][0]) }, length))
    }

    /// The number whose digits `lanes` picks.
    ///
    /// # Safety
    /// The CPU has SSE4.1.
    #[inline(always)]
    unsafe fn gather(digits: __m128i, lanes: &Lanes) -> u64 {
        // SAFETY: `lanes` is 16 aligned bytes; the operations are SSSE3 and SSE4.1, which the CPU has by contract.
        let pair = unsafe {
            let aligned = _mm_shuffle_epi8(digits, _mm_load_si128(lanes.0.as_ptr().cast()));
            let tens = _mm_maddubs_epi16(aligned, _mm_set1_epi16(0x010A));
            let hundreds = _mm_madd_epi16(tens, _mm_set1_epi32(0x0001_0064));
            let packed = _mm_packus_epi32(hundreds, hundreds);
            _mm_cvtsi128_si64(_mm_madd_epi16(packed, _mm_set1_epi32(0x0001_2710))) as u64
        };
        (pair & 0xffff_ffff) * 100_000_000 + (pair >> 32)
    }

    /// Whether this CPU can run the vector readers (AVX2 and the bit-manipulation sets the scanners are built for).
    pub fn available() -> bool {
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("lzcnt")
            && std::arch::is_x86_feature_detected!("popcnt")
    }
}
