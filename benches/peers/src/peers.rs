//! What is compared: the trait over all peers, and who takes part in which kind of row.
//!
//! A row is generic over [`Peer`], so every peer runs the same code. Peers with a pointer of their own implement
//! [`Pointer`] and are peers by that; those with keys or recycled objects implement `Peer` themselves.

mod allocators;
mod pools;

use crate::{
    common::{Pointer, touch},
    job::{Job, Limited, Local, Remote},
};
use allocators::AllocBox;
use mimalloc::MiMalloc;
use rpmalloc::RpMalloc;
use segment_pool::PoolBox;
use snmalloc_rs::SnMalloc;
use tikv_jemallocator::Jemalloc;

#[path = "../../common/bare.rs"]
#[expect(
    clippy::manual_is_multiple_of,
    reason = "the root's oldest compiler has no other"
)]
mod bare;

pub(crate) use bare::Bare;

/// An owned object in a peer: made by `new`, freed by its drop. `W` is its size in words.
pub(crate) trait Peer<const W: usize>: Sized + 'static {
    const NAME: &'static str;

    fn new(value: [u64; W]) -> Self;

    fn read<R>(&self, look: impl FnOnce(&[u64; W]) -> R) -> R;

    fn write<R>(&mut self, change: impl FnOnce(&mut [u64; W]) -> R) -> R;

    /// The thread has no object of this size any more: where nothing is freed one by one, all of it is freed now.
    fn all_dropped() {}
}

impl<P: Pointer<W> + 'static, const W: usize> Peer<W> for P {
    const NAME: &'static str = P::NAME;

    #[inline(always)]
    fn new(value: [u64; W]) -> Self {
        P::new(value)
    }

    #[inline(always)]
    fn read<R>(&self, look: impl FnOnce(&[u64; W]) -> R) -> R {
        look(self)
    }

    #[inline(always)]
    fn write<R>(&mut self, change: impl FnOnce(&mut [u64; W]) -> R) -> R {
        change(self)
    }
}

/// A new object in use: written whole, and the optimiser believes that somebody reads it.
#[inline(always)]
pub(crate) fn object<P: Peer<W>, const W: usize>(word: u64) -> P {
    let object = P::new([word; W]);
    object.read(touch);
    object
}

/// Whoever receives an object reads it.
#[inline(always)]
pub(crate) fn receive<P: Peer<W>, const W: usize>(object: &P) {
    object.read(|words| {
        std::hint::black_box(words[0]);
    });
}

/// Writes an object anew, as `object` does, without an allocation.
#[inline(always)]
pub(crate) fn renew<P: Peer<W>, const W: usize>(object: &mut P, word: u64) {
    object.write(|words| {
        *words = [word; W];
        touch(words);
    });
}

/// What a measurement counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    /// What one could take instead.
    Peer,
    /// Shown, and not what a target is measured against: it cannot do what the others do (README says what).
    Special,
    /// No allocator: what the row costs at least.
    Limit,
}

/// One peer in one row, not yet set up.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) set_up: Box<dyn Fn() -> Job>,
}

pub(crate) const OURS: &str = "PoolBox";
pub(crate) const OURS_OWN_POOL: &str = "SegmentPool";
const LIMIT_REMOTE: &str = "recycled";

/// Everyone, in a row of threads that keep their objects to themselves.
pub(crate) fn local<const W: usize>(work: &(impl Local + Clone + 'static)) -> Vec<Contender> {
    let mut contenders = local_word::<W>(work);
    contenders.extend(wide_handles::<W>(work));
    contenders.push(contender::<pools::Bump<W>, W>(Kind::Special, work));
    contenders
}

/// As `local`, where a handle must be one word, and no arena may take part.
pub(crate) fn local_word<const W: usize>(work: &(impl Local + Clone + 'static)) -> Vec<Contender> {
    let mut contenders = word_handles::<W>(work);
    contenders.push(contender::<pools::Slab<W>, W>(Kind::Special, work));
    contenders.push(contender::<Bare<[u64; W]>, W>(Kind::Limit, work));
    contenders
}

/// Everyone whose objects may be dropped on another thread.
pub(crate) fn remote<const W: usize>(work: &(impl Remote + Clone + 'static)) -> Vec<Contender> {
    let mut contenders = remote_word_handles::<W>(work);
    contenders.extend(remote_wide_handles::<W>(work));
    contenders
}

/// As `remote`, and the limit.
pub(crate) fn remote_limited<const W: usize>(
    work: &(impl Limited + Clone + 'static),
) -> Vec<Contender> {
    let mut contenders = remote::<W>(work);
    let work = work.clone();
    contenders.push(Contender {
        name: LIMIT_REMOTE,
        kind: Kind::Limit,
        set_up: Box::new(move || work.limit::<Box<[u64; W]>, W>()),
    });
    contenders
}

/// Functions over the peers that can be in any row; `$contender` makes one of each.
macro_rules! everywhere {
    ($words:ident, $wide:ident, $work:ident, $contender:ident) => {
        fn $words<const W: usize>(work: &(impl $work + Clone + 'static)) -> Vec<Contender> {
            vec![
                $contender::<PoolBox<[u64; W]>, W>(Kind::Ours, work),
                $contender::<pools::OwnPool<W>, W>(Kind::Ours, work),
                $contender::<Box<[u64; W]>, W>(Kind::Peer, work),
                $contender::<AllocBox<MiMalloc, [u64; W]>, W>(Kind::Peer, work),
                $contender::<AllocBox<SnMalloc, [u64; W]>, W>(Kind::Peer, work),
                $contender::<AllocBox<Jemalloc, [u64; W]>, W>(Kind::Peer, work),
                $contender::<AllocBox<RpMalloc, [u64; W]>, W>(Kind::Peer, work),
                $contender::<pools::Plurality<W>, W>(Kind::Peer, work),
                $contender::<pools::Arena<W>, W>(Kind::Peer, work),
                $contender::<pools::Sharded<W>, W>(Kind::Peer, work),
            ]
        }

        fn $wide<const W: usize>(work: &(impl $work + Clone + 'static)) -> Vec<Contender> {
            vec![
                $contender::<pools::Infinity<W>, W>(Kind::Peer, work),
                $contender::<pools::ObjectPool<W>, W>(Kind::Peer, work),
                $contender::<pools::Opool<W>, W>(Kind::Peer, work),
            ]
        }
    };
}

everywhere!(word_handles, wide_handles, Local, contender);
everywhere!(
    remote_word_handles,
    remote_wide_handles,
    Remote,
    contender_remote
);

fn contender<P: Peer<W>, const W: usize>(
    kind: Kind,
    work: &(impl Local + Clone + 'static),
) -> Contender {
    let work = work.clone();
    Contender {
        name: P::NAME,
        kind,
        set_up: Box::new(move || work.job::<P, W>()),
    }
}

fn contender_remote<P: Peer<W> + Send, const W: usize>(
    kind: Kind,
    work: &(impl Remote + Clone + 'static),
) -> Contender {
    let work = work.clone();
    Contender {
        name: P::NAME,
        kind,
        set_up: Box::new(move || work.job::<P, W>()),
    }
}
