//! Pools with a value that must be kept somewhere: here in statics, one for each size of payload.
//!
//! Where a pool may be shared between threads, the static is; where it may not, each thread has one. Generics cannot
//! have statics of their own, so [`per_size!`] makes all of them and `Any` checks that the right one is taken, which
//! the optimiser knows to be so.
//!
//! The handles are newtypes, because `Pointer` and these crates' types are both foreign to a blanket impl.

use super::Peer;
use crate::common::Pointer;
use segment_pool::{PoolBox, SegmentPool};
use std::{
    any::Any,
    cell::{RefCell, UnsafeCell},
    num::NonZeroUsize,
    ops::{Deref, DerefMut},
    sync::LazyLock,
};

/// The same reference, whose type is known by another name.
#[inline(always)]
fn same<A: Any, B: Any>(pool: &A) -> &B {
    let pool: &dyn Any = pool;
    pool.downcast_ref().expect("the match chose the size")
}

/// `fn name<W>() -> &'static Pool<W>`, and the statics behind it.
macro_rules! per_size {
    ($(#[$doc:meta])* $name:ident: $pool:ident = $new:expr) => {
        $(#[$doc])*
        #[inline(always)]
        fn $name<const W: usize>() -> &'static $pool<W> {
            static WORD: $pool<1> = $new;
            static WORDS_2: $pool<2> = $new;
            static WORDS_4: $pool<4> = $new;
            static WORDS_8: $pool<8> = $new;
            static WORDS_32: $pool<32> = $new;
            static WORDS_128: $pool<128> = $new;
            match W {
                1 => same(&WORD),
                2 => same(&WORDS_2),
                4 => same(&WORDS_4),
                8 => same(&WORDS_8),
                32 => same(&WORDS_32),
                128 => same(&WORDS_128),
                _ => unreachable!("no row has this size"),
            }
        }
    };
}

/// As `per_size!`, for each thread: `fn name<W, R>(ask: impl FnOnce(&Pool<W>) -> R) -> R`.
macro_rules! per_size_and_thread {
    ($name:ident: $pool:ident = $new:expr) => {
        #[inline(always)]
        fn $name<const W: usize, R>(ask: impl FnOnce(&$pool<W>) -> R) -> R {
            thread_local! {
                static WORD: $pool<1> = $new;
                static WORDS_2: $pool<2> = $new;
                static WORDS_4: $pool<4> = $new;
                static WORDS_8: $pool<8> = $new;
                static WORDS_32: $pool<32> = $new;
                static WORDS_128: $pool<128> = $new;
            }
            match W {
                1 => WORD.with(|pool| ask(same(pool))),
                2 => WORDS_2.with(|pool| ask(same(pool))),
                4 => WORDS_4.with(|pool| ask(same(pool))),
                8 => WORDS_8.with(|pool| ask(same(pool))),
                32 => WORDS_32.with(|pool| ask(same(pool))),
                128 => WORDS_128.with(|pool| ask(same(pool))),
                _ => unreachable!("no row has this size"),
            }
        }
    };
}

/// A newtype that is a `Pointer` by the pointer in it.
macro_rules! pointer {
    ($(#[$doc:meta])* $name:ident($inner:ty) is $title:literal: $new:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<const W: usize>($inner);

        impl<const W: usize> Pointer<W> for $name<W> {
            const NAME: &'static str = $title;

            #[inline(always)]
            fn new(value: [u64; W]) -> Self {
                let new: fn([u64; W]) -> $inner = $new;
                Self(new(value))
            }
        }

        impl<const W: usize> Deref for $name<W> {
            type Target = [u64; W];

            #[inline(always)]
            fn deref(&self) -> &[u64; W] {
                &self.0
            }
        }

        impl<const W: usize> DerefMut for $name<W> {
            #[inline(always)]
            fn deref_mut(&mut self) -> &mut [u64; W] {
                &mut self.0
            }
        }
    };
}

// --- ours ----------------------------------------------------------------------------------------------------------

type Segments<const W: usize> = SegmentPool<[u64; W]>;
per_size!(own_pool: Segments = SegmentPool::new());
pointer! {
    /// A box from a pool of one's own, in a static.
    OwnPool(PoolBox<[u64; W]>) is "SegmentPool": |value| own_pool::<W>().alloc(value)
}

// --- pools of values -----------------------------------------------------------------------------------------------

type PluralityPool<const W: usize> = plurality::Pool<[u64; W]>;
per_size_and_thread!(plurality_pool: PluralityPool = plurality::Pool::new());
pointer! {
    /// A pool is one thread's; its boxes may be dropped anywhere, and outlive it.
    Plurality(plurality::Box<[u64; W]>) is "plurality": |value| plurality_pool::<W, _>(|pool| pool.alloc_box(value))
}

type ArenaPool<const W: usize> = LazyLock<shared_arena::SharedArena<[u64; W]>>;
per_size!(arena: ArenaPool = LazyLock::new(shared_arena::SharedArena::new));
pointer! {
    /// One pool for all threads.
    Arena(shared_arena::ArenaBox<[u64; W]>) is "shared_arena": |value| arena::<W>().alloc(value)
}

type InfinityPool<const W: usize> = LazyLock<infinity_pool::PinnedPool<[u64; W]>>;
per_size!(infinity: InfinityPool = LazyLock::new(infinity_pool::PinnedPool::new));
pointer! {
    /// One pool for all threads, behind a mutex. A handle is four words.
    Infinity(infinity_pool::PooledMut<[u64; W]>) is "infinity_pool": |value| infinity::<W>().insert(value)
}

// --- pools of used objects -----------------------------------------------------------------------------------------

/// How many free objects the bounded one of them keeps.
const KEPT: usize = 1 << 16;

type Recycled<const W: usize> = Box<[u64; W]>;

type ObjectPools<const W: usize> = LazyLock<object_pool::Pool<Recycled<W>>>;
per_size!(object_pool: ObjectPools = LazyLock::new(|| object_pool::Pool::from_vec(Vec::new())));
pointer! {
    /// One pool for all threads, behind a mutex. What it holds are boxes of the system's allocator, written again.
    ObjectPool(object_pool::Reusable<'static, Recycled<W>>) is "object-pool": |value| {
        let mut object = object_pool::<W>().pull(|| Box::new(value));
        **object = value;
        object
    }
}

/// Makes what [`Opool`] holds.
struct NewBoxes;

impl<const W: usize> opool::PoolAllocator<Recycled<W>> for NewBoxes {
    fn allocate(&self) -> Recycled<W> {
        Box::new([0; W])
    }
}

type OpoolOf<const W: usize> = LazyLock<opool::Pool<NewBoxes, Recycled<W>>>;
per_size!(opool: OpoolOf = LazyLock::new(|| opool::Pool::new(KEPT, NewBoxes)));
pointer! {
    /// One pool for all threads, over a lock-free queue; as for `ObjectPool`.
    Opool(opool::RefGuard<'static, NewBoxes, Recycled<W>>) is "opool": |value| {
        let mut object = opool::<W>().get();
        **object = value;
        object
    }
}

// --- slabs: keys instead of pointers -------------------------------------------------------------------------------

/// A value that is written through a shared borrow, by the one who has its key.
struct Keyed<const W: usize>(UnsafeCell<[u64; W]>);

// SAFETY: the value is reached only through its key, which one thread has at a time and borrows as the value.
unsafe impl<const W: usize> Sync for Keyed<W> {}

type ShardedSlab<const W: usize> = LazyLock<sharded_slab::Slab<Keyed<W>>>;
per_size!(sharded: ShardedSlab = LazyLock::new(sharded_slab::Slab::new));

/// A key and one, so that there is room for `None`. One slab for all threads.
pub(crate) struct Sharded<const W: usize>(NonZeroUsize);

impl<const W: usize> Sharded<W> {
    fn key(&self) -> usize {
        self.0.get() - 1
    }

    fn entry(&self) -> sharded_slab::Entry<'static, Keyed<W>> {
        sharded::<W>().get(self.key()).expect("has a key")
    }
}

impl<const W: usize> Peer<W> for Sharded<W> {
    const NAME: &'static str = "sharded-slab";

    fn new(value: [u64; W]) -> Self {
        let key = sharded::<W>().insert(Keyed(UnsafeCell::new(value)));
        let key = key.expect("the slab is not full");
        Self(NonZeroUsize::MIN.saturating_add(key))
    }

    fn read<R>(&self, look: impl FnOnce(&[u64; W]) -> R) -> R {
        // SAFETY: the key is borrowed, so nobody writes the value meanwhile.
        look(unsafe { &*self.entry().0.get() })
    }

    fn write<R>(&mut self, change: impl FnOnce(&mut [u64; W]) -> R) -> R {
        // SAFETY: the key is borrowed mutably, so nobody else reaches the value meanwhile.
        change(unsafe { &mut *self.entry().0.get() })
    }
}

impl<const W: usize> Drop for Sharded<W> {
    fn drop(&mut self) {
        sharded::<W>().remove(self.key());
    }
}

/// A slab that one thread has to itself. Not in a `RefCell`, whose counter would be most of the time.
struct LocalSlab<const W: usize>(UnsafeCell<slab::Slab<[u64; W]>>);

impl<const W: usize> LocalSlab<W> {
    const fn new() -> Self {
        Self(UnsafeCell::new(slab::Slab::new()))
    }
}

per_size_and_thread!(local_slab: LocalSlab = const { LocalSlab::new() });

#[inline(always)]
fn slab<const W: usize, R>(ask: impl FnOnce(&mut slab::Slab<[u64; W]>) -> R) -> R {
    // SAFETY: only this thread reaches it, and what a row does with an object asks for no other.
    local_slab(|slab: &LocalSlab<W>| ask(unsafe { &mut *slab.0.get() }))
}

/// A key of this thread's slab. Values move when the slab grows.
pub(crate) struct Slab<const W: usize>(usize);

impl<const W: usize> Peer<W> for Slab<W> {
    const NAME: &'static str = "slab";

    #[inline(always)]
    fn new(value: [u64; W]) -> Self {
        Self(slab(|slab| slab.insert(value)))
    }

    #[inline(always)]
    fn read<R>(&self, look: impl FnOnce(&[u64; W]) -> R) -> R {
        slab(|slab| look(&slab[self.0]))
    }

    #[inline(always)]
    fn write<R>(&mut self, change: impl FnOnce(&mut [u64; W]) -> R) -> R {
        slab(|slab| change(&mut slab[self.0]))
    }
}

impl<const W: usize> Drop for Slab<W> {
    #[inline(always)]
    fn drop(&mut self) {
        slab::<W, _>(|slab| slab.remove(self.0));
    }
}

// --- an arena ------------------------------------------------------------------------------------------------------

type BumpArena<const W: usize> = RefCell<SizedBump<W>>;
per_size_and_thread!(bump: BumpArena = RefCell::new(SizedBump(bumpalo::Bump::new())));

/// An arena for values of one size, as the others have: all of them are freed together.
struct SizedBump<const W: usize>(bumpalo::Bump);

/// A reference into this thread's arena. Its drop does nothing; `all_dropped` frees.
pub(crate) struct Bump<const W: usize>(&'static mut [u64; W]);

impl<const W: usize> Peer<W> for Bump<W> {
    const NAME: &'static str = "bumpalo";

    #[inline(always)]
    fn new(value: [u64; W]) -> Self {
        bump::<W, _>(|bump| {
            let value: *mut [u64; W] = bump.borrow().0.alloc(value);
            // SAFETY: the value stays until `all_dropped`, which is called when no handle is left, or until the
            // thread ends, and no handle leaves it.
            Self(unsafe { &mut *value })
        })
    }

    #[inline(always)]
    fn read<R>(&self, look: impl FnOnce(&[u64; W]) -> R) -> R {
        look(self.0)
    }

    #[inline(always)]
    fn write<R>(&mut self, change: impl FnOnce(&mut [u64; W]) -> R) -> R {
        change(self.0)
    }

    #[inline(always)]
    fn all_dropped() {
        bump::<W, _>(|bump| bump.borrow_mut().0.reset());
    }
}
