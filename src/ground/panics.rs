//! Containment of panics of foreign code.
//!
//! A `tracing` subscriber runs in the entry points that allocate and free storage. Their callers hold values
//! in an intermediate state: in a `ManuallyDrop`, or already the return value. So a subscriber must not
//! unwind into them. A pool's `on_leak` must not unwind either if another panic drops the pool: that would
//! abort the process.
//!
//! There is no state here; any thread may call it.

use core::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls foreign code. If it panics, drops the payload and returns. If the payload's destructor panics, the
/// payload of that panic is leaked, because this might repeat without end.
///
/// The panic hook runs as for any panic. This also works while another panic unwinds.
pub(crate) fn contain(foreign: impl FnOnce()) {
    let Err(payload) = catch_unwind(AssertUnwindSafe(foreign)) else {
        return;
    };
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    mem::forget(dropped);
}

#[cfg(all(test, not(segment_pool_loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::{panic_any, resume_unwind};

    thread_local! {
        static DROPS: Cell<u32> = const { Cell::new(0) };
    }

    /// Panics when it is dropped, with another value of this type.
    struct Endless;

    impl Drop for Endless {
        fn drop(&mut self) {
            DROPS.set(DROPS.get() + 1);
            resume_unwind(Box::new(Endless));
        }
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_is_dropped_once() {
        let contained = catch_unwind(|| contain(|| panic_any(Endless)));
        let returned = contained.is_ok();
        mem::forget(contained); // the test harness would drop it, which never ends
        assert!(returned);
        assert_eq!(DROPS.get(), 1);
    }

    #[test]
    fn a_panic_is_contained_while_another_unwinds() {
        struct Calls;

        impl Drop for Calls {
            fn drop(&mut self) {
                contain(|| panic_any("the second"));
                assert!(std::thread::panicking());
            }
        }

        let first = catch_unwind(|| {
            let _calls = Calls;
            panic_any("the first")
        });
        assert_eq!(first.unwrap_err().downcast_ref(), Some(&"the first"));
    }
}
