//! Four SHA-256 messages side by side. The instructions have a latency of several cycles and one stream of them cannot
//! fill it; four independent streams nearly do (half the time a hash of one).

use super::Hash;

/// Messages hashed at once.
pub(super) const LANES: usize = 4;
/// Longest message that goes through the lanes, blocks: leaves of up to 502 bytes.
pub(super) const BLOCKS_MAX: usize = 8;
/// Bytes of a block.
const BLOCK: usize = 64;

/// Blocks of a message of so many bytes: a mark of one byte and a length of eight follow it.
pub(super) const fn blocks(bytes: usize) -> usize {
    (bytes + 8) / BLOCK + 1
}

/// Proof that the CPU has what lanes need.
#[derive(Clone, Copy)]
pub(super) struct Lanes(());

type State = [u32; 8];

const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

fn bytes_of(state: &State) -> Hash {
    let mut hash = [0; 32];
    hash.chunks_exact_mut(4).zip(state).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_be_bytes()));
    hash
}

impl Lanes {
    /// Lanes, if this CPU has SHA instructions.
    #[inline]
    pub(super) fn of_this_cpu() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1") {
            return Some(Self(()));
        }
        None
    }

    /// Leaf hashes of four entries of so many blocks each, with their prefix.
    pub(super) fn messages(self, entries: [&[u8]; LANES], blocks: usize) -> [Hash; LANES] {
        let mut padded = [[0; BLOCKS_MAX * BLOCK]; LANES];
        for (message, entry) in padded.iter_mut().zip(entries) {
            let bytes = entry.len() + 1;
            message[1..bytes].copy_from_slice(entry);
            message[bytes] = 0x80;
            message[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&(bytes as u64 * 8).to_be_bytes());
        }
        self.hash(&padded, blocks)
    }

    /// Hashes of four inner nodes.
    pub(super) fn nodes(self, pairs: [[Hash; 2]; LANES]) -> [Hash; LANES] {
        const BYTES: usize = 65;
        let mut padded = [[0; 2 * BLOCK]; LANES];
        for (message, [left, right]) in padded.iter_mut().zip(&pairs) {
            message[0] = 1;
            message[1..33].copy_from_slice(left);
            message[33..BYTES].copy_from_slice(right);
            message[BYTES] = 0x80;
            message[2 * BLOCK - 8..].copy_from_slice(&(BYTES as u64 * 8).to_be_bytes());
        }
        self.hash(&padded, 2)
    }

    fn hash<const BYTES: usize>(self, padded: &[[u8; BYTES]; LANES], blocks: usize) -> [Hash; LANES] {
        debug_assert!(blocks * BLOCK <= BYTES, "the messages hold their blocks");
        let mut states = [START; LANES];
        for block in 0..blocks {
            let at: [&[u8; BLOCK]; LANES] = core::array::from_fn(|lane| {
                padded[lane][block * BLOCK..][..BLOCK].try_into().unwrap_or_else(|_| unreachable!("a whole block"))
            });
            compress(&mut states, &at);
        }
        states.map(|state| bytes_of(&state))
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn compress(_: &mut [State; LANES], _: &[&[u8; BLOCK]; LANES]) {
    unreachable!("no lanes on this CPU")
}

#[cfg(target_arch = "x86_64")]
fn compress(states: &mut [State; LANES], blocks: &[&[u8; BLOCK]; LANES]) {
    // SAFETY: whoever comes here holds a `Lanes`, which is only made where the CPU has these instructions.
    unsafe { x86::compress(states, blocks) }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x, _mm_setzero_si128,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
        _mm_storeu_si128,
    };

    use super::{BLOCK, LANES, State};

    #[rustfmt::skip]
    const ROUNDS: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ];

    /// One block of each message into its state. The instructions keep a state as (A B E F) and (C D G H) and do two
    /// rounds each; the schedule of 16 words turns in place, four words a step.
    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    pub(super) fn compress(states: &mut [State; LANES], blocks: &[&[u8; BLOCK]; LANES]) {
        // Words are big-endian in the message.
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let zero = _mm_setzero_si128();
        let (mut abef, mut cdgh, mut words) = ([zero; LANES], [zero; LANES], [[zero; 4]; LANES]);
        for lane in 0..LANES {
            (abef[lane], cdgh[lane]) = load(&states[lane]);
            for (quarter, four) in words[lane].iter_mut().enumerate() {
                // SAFETY: a quarter of the block, 16 of its 64 bytes; unaligned loads.
                let raw = unsafe { _mm_loadu_si128(blocks[lane].as_ptr().add(16 * quarter).cast()) };
                *four = _mm_shuffle_epi8(raw, swap);
            }
        }
        let before = (abef, cdgh);
        for step in 0..16 {
            let four = step % 4;
            // SAFETY: four of the 64 constants from a multiple of four on; unaligned loads.
            let constants = unsafe { _mm_loadu_si128(ROUNDS.as_ptr().add(4 * step).cast()) };
            for lane in 0..LANES {
                if step >= 4 {
                    extend(&mut words[lane], four);
                }
                let sum = _mm_add_epi32(words[lane][four], constants);
                cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);
                abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32(sum, 0x0e));
            }
        }
        for lane in 0..LANES {
            let (abef, cdgh) = (_mm_add_epi32(abef[lane], before.0[lane]), _mm_add_epi32(cdgh[lane], before.1[lane]));
            store(&mut states[lane], abef, cdgh);
        }
    }

    /// The next four words of the schedule in the place of the oldest four.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    fn extend(words: &mut [__m128i; 4], oldest: usize) {
        let [a, b, c, d] = core::array::from_fn(|k| words[(oldest + k) % 4]);
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(a, b), _mm_alignr_epi8(d, c, 4));
        words[oldest] = _mm_sha256msg2_epu32(sum, d);
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    fn load(state: &State) -> (__m128i, __m128i) {
        let words: *const __m128i = state.as_ptr().cast();
        // SAFETY: a state is two vectors long; unaligned loads.
        let (dcba, hgfe) = unsafe { (_mm_loadu_si128(words), _mm_loadu_si128(words.add(1))) };
        let (cdab, efgh) = (_mm_shuffle_epi32(dcba, 0xb1), _mm_shuffle_epi32(hgfe, 0x1b));
        (_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0))
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
    fn store(state: &mut State, abef: __m128i, cdgh: __m128i) {
        let (feba, dchg) = (_mm_shuffle_epi32(abef, 0x1b), _mm_shuffle_epi32(cdgh, 0xb1));
        let words: *mut __m128i = state.as_mut_ptr().cast();
        // SAFETY: a state is two vectors long; unaligned stores.
        unsafe {
            _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xf0));
            _mm_storeu_si128(words.add(1), _mm_alignr_epi8(dchg, feba, 8));
        }
    }
}
