use super::PoolBox;
use crate::ground::error::AllocErrorKind;
use crate::ground::os::refusal::while_refused;
use crate::pool::SegmentPool;

/// Memory is refused from the first heap on: the thread has none yet.
#[test]
fn a_failed_allocation_returns_the_value() {
    let thread = std::thread::spawn(|| {
        // Enough boxes that the heaps left by other tests cannot serve them all.
        let mut kept = Vec::new();
        let error = while_refused(|| {
            loop {
                match PoolBox::try_new([7_u64; 100]) {
                    Ok(boxed) => kept.push(boxed),
                    Err(error) => break error,
                }
            }
        });
        assert_eq!(error.kind(), AllocErrorKind::OutOfMemory);
        assert_eq!(error.into_inner(), [7; 100]);
        assert_eq!(
            *PoolBox::new([8_u64; 100]),
            [8; 100],
            "allocation works again when there is memory"
        );
    });
    thread.join().unwrap();
}

#[test]
fn a_failed_allocation_leaves_the_pool_unchanged() {
    let pool = SegmentPool::<String>::new();
    let error = while_refused(|| pool.try_alloc("kept".to_owned())).unwrap_err();
    assert_eq!(error.into_inner(), "kept");
    assert_eq!(pool.stats(), SegmentPool::<String>::new().stats());
    assert_eq!(*pool.alloc("later".to_owned()), "later");
    let held = pool.alloc("one".to_owned());
    let validation = pool.validate();
    assert_eq!(validation.live, 1);
    drop(held);
}

#[test]
#[expect(clippy::result_large_err, reason = "large is the point")]
fn a_value_for_a_dedicated_mapping_is_returned_too() {
    let on_a_large_stack = std::thread::Builder::new().stack_size(64 << 20).spawn(|| {
        let big = [3_u8; 200_000];
        let error = while_refused(|| PoolBox::try_new(big)).unwrap_err();
        assert!(error.into_inner() == big);
        assert!(*PoolBox::new(big) == big);
    });
    on_a_large_stack.unwrap().join().unwrap();
}
