//! Eight single-precision lanes, in AVX2 registers or in plain arrays.

/// Lanes of a vector: the channels of one attention head.
pub(crate) const LANES: usize = 8;

/// A vector of [`LANES`] floats. Both implementations take the same steps; a fused multiply-add rounds once where the
/// portable one rounds twice, so results agree to about 1e-6, not to the bit.
pub(crate) trait Lanes: Copy {
    fn splat(value: f32) -> Self;
    fn load(from: &[f32; LANES]) -> Self;
    fn store(self, to: &mut [f32; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    /// `self * factor + term`.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// The sums of all lanes of eight vectors.
    fn sums(all: [Self; LANES]) -> Self;
    /// The upper four lanes below the lower four.
    fn swap_halves(self) -> Self;
    /// `self` where it is above zero, else `other`.
    fn positive_or(self, other: Self) -> Self;
    /// `2^self` for whole numbers in [-126, 127].
    fn exp2_whole(self) -> Self;

    /// `e^self`, relative error below 3e-7; 0 and infinity are never reached.
    #[inline(always)]
    fn exp(self) -> Self {
        // Adding and taking away 1.5 * 2^23 rounds to a whole number.
        let rounder = Self::splat(12_582_912.0);
        let x = self.max(Self::splat(-87.0)).min(Self::splat(88.0));
        let whole = x.mul_add(Self::splat(core::f32::consts::LOG2_E), rounder).sub(rounder);
        // ln 2 in two parts, the first with few enough bits that its product with a whole number is exact.
        let rest = whole.mul_add(Self::splat(-355.0 / 512.0), x);
        let rest = whole.mul_add(Self::splat(2.121_944_4e-4), rest);
        // The Taylor series to the seventh power: |rest| is at most ln 2 / 2.
        let mut sum = Self::splat(1.0 / 5040.0);
        for factorial in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
            sum = sum.mul_add(rest, Self::splat(1.0 / factorial));
        }
        sum.mul(whole.exp2_whole())
    }
}

/// Plain arrays; the compiler makes of them what the target has.
#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(core::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Self {
        Self(*from)
    }
    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self.mul(factor).add(term)
    }
    #[inline(always)]
    fn sums(all: [Self; LANES]) -> Self {
        Self(all.map(|Self([a, b, c, d, e, f, g, h])| ((a + b) + (c + d)) + ((e + f) + (g + h))))
    }
    #[inline(always)]
    fn swap_halves(self) -> Self {
        let [a, b, c, d, e, f, g, h] = self.0;
        Self([e, f, g, h, a, b, c, d])
    }
    #[inline(always)]
    fn positive_or(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > 0.0 { a } else { b })
    }
    #[inline(always)]
    fn exp2_whole(self) -> Self {
        Self(self.0.map(|whole| f32::from_bits(((whole as i32 + 127) << 23) as u32)))
    }
}

/// AVX2 with fused multiply-add.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Avx2(core::arch::x86_64::__m256);

#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "one comment stands for all of them, below")]
mod avx2 {

    use core::arch::x86_64::*;

    use super::{Avx2, LANES, Lanes};

    // SAFETY of every block below: an `Avx2` is made only by functions that are built for and called on CPUs with AVX2
    // and FMA (`Gat::run_avx2`); loads and stores go through references to eight floats.
    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        fn load(from: &[f32; LANES]) -> Self {
            Self(unsafe { _mm256_loadu_ps(from.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; LANES]) {
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm256_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            Self(unsafe { _mm256_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Self(unsafe { _mm256_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Self(unsafe { _mm256_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, term: Self) -> Self {
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, term.0) })
        }
        #[inline(always)]
        fn sums(all: [Self; LANES]) -> Self {
            unsafe {
                let two = |at: usize| _mm256_hadd_ps(all[at].0, all[at + 1].0);
                let (lower, upper) = (_mm256_hadd_ps(two(0), two(2)), _mm256_hadd_ps(two(4), two(6)));
                let firsts = _mm256_permute2f128_ps::<0x20>(lower, upper);
                let seconds = _mm256_permute2f128_ps::<0x31>(lower, upper);
                Self(_mm256_add_ps(firsts, seconds))
            }
        }
        #[inline(always)]
        fn swap_halves(self) -> Self {
            Self(unsafe { _mm256_permute2f128_ps::<0x01>(self.0, self.0) })
        }
        #[inline(always)]
        fn positive_or(self, other: Self) -> Self {
            unsafe {
                let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, _mm256_setzero_ps());
                Self(_mm256_blendv_ps(other.0, self.0, positive))
            }
        }
        #[inline(always)]
        fn exp2_whole(self) -> Self {
            unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
                Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
            }
        }
    }
}
