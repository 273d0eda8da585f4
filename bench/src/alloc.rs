//! An allocator that counts, so that "0 allocations" is a printed fact.
//!
//! Counts are kept a thread: the measured thread reads its own, and peers that allocate pay no shared cache line for
//! being watched. Behind it stands the engine's own counting allocator, which counts what hot loops allocate: a program
//! has one allocator, and the replay reports from that one.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use tidegate_runtime::alloc::CountingAllocator;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The engine's counting allocator with a counter a thread in front.
#[derive(Debug)]
pub struct Counting;

#[global_allocator]
static GLOBAL: Counting = Counting;

#[inline(always)]
fn count(bytes: usize) {
    // A thread that is being torn down has no counters any more; nobody reads them then.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _ = BYTES.try_with(|total| total.set(total.get() + bytes as u64));
}

// SAFETY: every call is handed to the engine's allocator unchanged; counting touches only two cells of this thread,
// which are constant-initialised and have no destructor, so it neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is that allocator's.
        unsafe { CountingAllocator.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { CountingAllocator.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { CountingAllocator.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { CountingAllocator.realloc(pointer, layout, size) }
    }
}

/// Allocations of the calling thread so far: calls and bytes asked for.
pub fn counted() -> (u64, u64) {
    (CALLS.with(Cell::get), BYTES.with(Cell::get))
}

#[cfg(test)]
mod tests {
    use tidegate_runtime::alloc::{HotSection, declare_installed, hot_allocations};

    #[test]
    fn both_counters_see_an_allocation_and_only_hot_ones_are_hot() {
        declare_installed();
        let (calls, hot) = (super::counted().0, hot_allocations());
        drop(std::hint::black_box(Box::new(1u64)));
        assert_eq!((super::counted().0 - calls, hot_allocations()), (1, hot));
        let section = HotSection::enter();
        drop(std::hint::black_box(Box::new(2u64)));
        drop(section);
        assert_eq!(hot_allocations(), hot.map(|hot| hot + 1));
    }
}
