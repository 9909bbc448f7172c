//! Loom models of the crate's own words, segments, arenas, heaps and pools, with segments of two slots and
//! arenas of two segments.
//!
//! The name of a model is the race that it covers, and its comment says which bugs it catches.
//! `tests/mutants` plants such bugs and weakens every ordering, and checks that a model fails. Run the models
//! with `RUSTFLAGS="--cfg segment_pool_loom" cargo test --release --lib` and `LOOM_MAX_PREEMPTIONS=2` or 3.
//!
//! [`Pool::close`] checks at the end of each model that no arena is mapped and no pool or heap is left. Each
//! model owns its pools and arenas; the tokens of its heaps stand for its threads.

use core::ptr::NonNull;

use loom::thread;

use crate::ground::layout::Span;
use crate::heap::HeapRef;
use crate::heap::handover::{self, DeferredReclaims};
use crate::heap::registry::{RegistryRef, registry_of};
use crate::heap::remote_buffer::RemoteBuffer;
use crate::memory::arena::Arenas;
use crate::memory::segment::SegmentRef;
use crate::slot::{self, SlotPtr};

/// Room for loom's watched cell and a batch node.
const STRIDE: usize = 256;

mod arenas;
mod bounded;
mod gate;
mod heaps;
mod kept;
mod looks;
mod pools;
mod segments;
mod threads;
mod words;

/// A pool with arenas of its own, so that a model can check that everything was released.
#[derive(Clone, Copy)]
struct Pool {
    arenas: NonNull<Arenas>,
    registry: RegistryRef,
}

impl Pool {
    fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    fn with_limit(segments: usize) -> Self {
        Self::create_in(NonNull::from(Box::leak(Box::new(Arenas::new()))), segments)
    }

    fn create_in(arenas: NonNull<Arenas>, limit: usize) -> Self {
        let registry = RegistryRef::create_in(arenas, STRIDE, limit).unwrap();
        Self { arenas, registry }
    }

    /// Drops the handle and checks that nothing is left.
    fn close(self) {
        close(self.registry);
        self.check_all_freed();
    }

    fn check_all_freed(self) {
        let arenas = unsafe { Box::from_raw(self.arenas.as_ptr()) };
        assert_eq!(arenas.mapped(), 0, "every segment was released");
        assert_eq!(arenas.users(), 0, "the pool and its heaps were freed");
    }

    fn acquire(self, token: u64) -> HeapRef {
        self.registry.acquire(token).unwrap()
    }
}

/// Allocates as the owner and stores a value.
fn alloc(heap: HeapRef) -> Value {
    try_alloc(heap).unwrap()
}

/// As `alloc`. `None` if the pool's limit is reached.
fn try_alloc(heap: HeapRef) -> Option<Value> {
    let refill = || with_reclaims(|reclaims| handover::refill(heap, 0, reclaims));
    let slot = heap.bin(0).pop().or_else(refill)?;
    slot::erase(slot);
    Some(Value(slot))
}

/// Allocates and frees as the owner.
fn churn(heap: HeapRef) {
    alloc(heap).free_local(heap);
}

/// A slot in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Value(SlotPtr);

impl Value {
    fn segment(self) -> SegmentRef {
        unsafe { SegmentRef::of(self.0, Span::of(STRIDE)) }
    }

    fn free_local(self, heap: HeapRef) {
        slot::erase(self.0);
        if unsafe { heap.bin(0).push(self.0) } {
            with_reclaims(|reclaims| handover::spill(heap, 0, reclaims));
        }
    }

    /// Frees the slot as a thread that does not own the segment.
    fn free_remotely(self) {
        free_all_remotely([self]);
    }

    fn free_into(self, remote_buffer: &RemoteBuffer, reclaims: &DeferredReclaims) {
        slot::erase(self.0);
        let segment = self.segment();
        let offset = SegmentRef::offset_of(self.0, Span::of(STRIDE));
        if !unsafe { remote_buffer.join(segment, offset) } {
            unsafe { remote_buffer.add(segment, offset, reclaims, |_, _| ()) };
        }
    }
}

/// Frees in batches, through a remote-free buffer of one entry.
fn free_all_remotely<const N: usize>(values: [Value; N]) {
    let remote_buffer = RemoteBuffer::new();
    with_reclaims(|reclaims| {
        for value in values {
            value.free_into(&remote_buffer, reclaims);
        }
        remote_buffer.flush(reclaims);
    });
}

fn free_both_remotely(a: Value, b: Value) {
    free_all_remotely([a, b]);
}

fn join<const N: usize>(threads: [thread::JoinHandle<()>; N]) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Spawns a thread that only frees a slot.
fn push(value: Value) -> thread::JoinHandle<()> {
    thread::spawn(move || value.free_remotely())
}

fn end(heap: HeapRef) {
    with_reclaims(|reclaims| unsafe { handover::leave(heap, reclaims) });
}

/// Parks a heap and releases its reference.
fn park(heap: HeapRef) {
    let registry = registry_of(heap);
    park_for_now(heap);
    unsafe { registry.release_refs(1) };
}

/// Parks a heap and keeps the reference to its pool.
fn park_for_now(heap: HeapRef) {
    with_reclaims(|reclaims| unsafe { handover::park(heap, reclaims) });
}

/// Adopts a parked heap again unless another thread has it, and ends: an idle thread that resumes and ends.
fn readopt_and_end(pool: Pool, heap: HeapRef) {
    if pool.registry.adopt_one(heap) {
        heap.set_owner(1);
        churn(heap);
        end(heap);
    } else {
        unsafe { pool.registry.release_refs(1) };
    }
}

fn close(registry: RegistryRef) {
    with_reclaims(|reclaims| unsafe { handover::close(registry, reclaims) });
}

/// Does work that may leave heaps for a later visit, and visits them, as a thread does at its end at the
/// latest.
fn with_reclaims<R>(work: impl FnOnce(&DeferredReclaims) -> R) -> R {
    let reclaims = DeferredReclaims::new();
    let result = work(&reclaims);
    reclaims.visit_all();
    result
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = executions.clone();
    loom::model(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        run();
    });
    println!(
        "{} executions",
        executions.load(std::sync::atomic::Ordering::Relaxed)
    );
}
