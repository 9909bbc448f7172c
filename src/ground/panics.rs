//! Panics of foreign code that end here.
//!
//! A `tracing` subscriber runs in the entry points that take storage and give it back, whose callers hold values that are half way:
//! in a `ManuallyDrop`, or already the return value. So it must not unwind into them. Nor may a pool's `on_leak`, when the pool
//! is dropped because another panic unwinds: that would abort the process.

use core::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls foreign code, and returns also if it panics, with the payload dropped. If the payload's destructor panics, the payload of
/// that is leaked: it could go on so for ever.
///
/// The panic hook runs as for any panic. All this works while another panic unwinds, too.
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

    /// Panics when it is dropped, with another of its kind.
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
        mem::forget(contained); // the test's harness would drop it, and that never ends
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
