//! A global allocator that counts what hot threads allocate.
//!
//! The binary installs it; a hot loop declares itself hot for its lifetime. Everything else passes through unseen. The
//! count is what `allocations_hot` reports: after warm-up it must stay 0.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

thread_local! {
    /// Whether this thread is in a hot section. Constant initialisation: reading it never allocates.
    static HOT: Cell<bool> = const { Cell::new(false) };
}

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// The system's allocator, counting on hot threads.
#[derive(Debug, Default)]
pub struct CountingAllocator;

#[inline(always)]
fn count() {
    if HOT.with(Cell::get) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// While it lives, allocations of this thread count as hot.
#[derive(Debug)]
pub struct HotSection(());

impl HotSection {
    /// Begins a hot section on this thread.
    #[must_use]
    pub fn enter() -> Self {
        HOT.with(|hot| hot.set(true));
        Self(())
    }
}

impl Drop for HotSection {
    fn drop(&mut self) {
        HOT.with(|hot| hot.set(false));
    }
}

/// Says that [`CountingAllocator`] is this program's global allocator. The binary calls it once.
pub fn declare_installed() {
    INSTALLED.store(true, Ordering::Relaxed);
}

/// Allocations of hot sections so far; `None` when nobody counts.
pub fn hot_allocations() -> Option<u64> {
    INSTALLED.load(Ordering::Relaxed).then(|| ALLOCATIONS.load(Ordering::Relaxed))
}
