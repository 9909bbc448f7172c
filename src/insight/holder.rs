//! Who has a heap: the thread, when it last took what others freed, and what is in the heap, by its counters.

use core::fmt;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ground::os;
use crate::heap::registry::RegistryRef;
use crate::heap::{HeapRef, OS_ID_BITS};
use crate::insight::census::HeapCount;
use crate::insight::look::Size;
use crate::thread;

/// Who has a heap.
///
/// # Examples
///
/// ```
/// use segment_pool::{Holder, SegmentPool};
///
/// let pool = SegmentPool::new();
/// let _boxed = pool.alloc(1);
/// assert_eq!(pool.snapshot().heaps[0].holder, Holder::ThisThread);
/// segment_pool::idle();
/// assert_eq!(pool.snapshot().heaps[0].holder, Holder::Nobody);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Holder {
    /// The thread that asks.
    ThisThread,
    /// No thread: it ended, or idles.
    Nobody,
    /// Another thread, whose lists cannot be looked into while it runs.
    OtherThread,
}

impl Holder {
    /// Any thread may ask; the answer may lag.
    pub(crate) fn of(heap: HeapRef) -> Self {
        match heap.is_held() {
            _ if thread::holds(heap) => Self::ThisThread,
            true => Self::OtherThread,
            false => Self::Nobody,
        }
    }
}

/// A thread that has a heap, or had it last.
///
/// # Examples
///
/// ```
/// let pool = segment_pool::SegmentPool::new();
/// let _boxed = pool.alloc(1);
/// let report = pool.report();
/// let thread = report.heaps[0].thread.as_ref().unwrap();
/// println!("{thread}"); // thread 1 "main" (4711)
/// # #[cfg(all(target_os = "linux", not(miri)))]
/// assert!(thread.system_id.is_some() && thread.name.is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadTag {
    /// Threads are numbered from 1, in the order in which they first had a heap. No two have the same number.
    pub number: u64,
    /// What the operating system calls the thread, as in `top -H` and in a debugger. On Linux only.
    pub system_id: Option<u32>,
    /// The name that the operating system has for it (of at most 15 bytes), if it runs. On Linux only, with `/proc`.
    pub name: Option<String>,
}

impl ThreadTag {
    /// The thread with this token, which runs or does not. Foreign code runs.
    fn new(token: u64, runs: bool) -> Option<Self> {
        let id = token & ((1 << OS_ID_BITS) - 1);
        let known = id != 0;
        (token != 0).then(|| Self {
            number: token >> OS_ID_BITS,
            system_id: known.then_some(id as u32),
            name: (known && runs).then(|| os::thread_name(id)).flatten(),
        })
    }
}

impl fmt::Display for ThreadTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.number)?;
        if let Some(name) = &self.name {
            write!(f, " {name:?}")?;
        }
        match self.system_id {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

/// Who a heap belongs to, as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belongs {
    pub(crate) holder: Holder,
    token: u64,
    served: u64,
}

impl Belongs {
    /// Any thread may ask; the answer may lag.
    pub(crate) fn of(heap: HeapRef) -> Self {
        let (token, served) = heap.last_owner();
        Self {
            holder: Holder::of(heap),
            token,
            served,
        }
    }

    /// The same, if the heap turned out to have this holder.
    pub(crate) fn to(self, holder: Holder) -> Self {
        Self { holder, ..self }
    }

    /// Foreign code runs.
    pub(crate) fn thread(&self) -> Option<ThreadTag> {
        ThreadTag::new(self.token, self.holder != Holder::Nobody)
    }

    pub(crate) fn last_served(&self) -> Option<SystemTime> {
        (self.served != 0).then(|| UNIX_EPOCH + Duration::from_millis(self.served))
    }
}

/// Whose a heap is, as people read it.
pub(crate) struct Whose<'a> {
    pub(crate) holder: Holder,
    pub(crate) thread: Option<&'a ThreadTag>,
    pub(crate) last_served: Option<SystemTime>,
}

impl fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.holder, self.thread) {
            (Holder::ThisThread, _) => write!(f, "this thread's"),
            (Holder::OtherThread, Some(thread)) => write!(f, "of {thread}"),
            (Holder::OtherThread, None) => write!(f, "another thread's"),
            (Holder::Nobody, Some(thread)) => {
                write!(f, "nobody's, last of thread {}", thread.number)
            }
            (Holder::Nobody, None) => write!(f, "nobody's"),
        }?;
        let ago = self.last_served.and_then(|served| served.elapsed().ok());
        match ago {
            Some(ago) if self.holder == Holder::OtherThread => {
                write!(f, ", served {:.1} s ago", ago.as_secs_f64())
            }
            _ => Ok(()),
        }
    }
}

/// A heap by its counters, whoever has it.
///
/// # Examples
///
/// ```
/// use segment_pool::{Holder, SegmentPool};
///
/// static POOL: SegmentPool<u64> = SegmentPool::new();
///
/// let (to_main, boxes) = std::sync::mpsc::channel();
/// let (wake, sleep) = std::sync::mpsc::channel::<()>();
/// let maker = std::thread::spawn(move || {
///     (0..100).for_each(|n| to_main.send(POOL.alloc(n)).unwrap());
///     drop(to_main);
///     _ = sleep.recv(); // it does not look what comes back
/// });
/// drop(boxes.iter().collect::<Vec<_>>());
/// segment_pool::flush();
/// let report = POOL.report();
/// println!("{report}");
/// assert_eq!((report.total.live(), report.heaps[0].unreclaimed), (0, 100));
/// assert_eq!(report.heaps[0].holder, Holder::OtherThread);
/// # drop(wake);
/// # maker.join().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapReport {
    /// Who has it.
    pub holder: Holder,
    /// The thread that has it, or had it last. `None` in a pool with a limit, of which no thread keeps a heap.
    pub thread: Option<ThreadTag>,
    /// When the thread got the heap, or what others had freed of it was last taken, whichever came last. `None` where there is no
    /// clock.
    pub last_served: Option<SystemTime>,
    /// Its segments, not counting spares.
    pub segments: u64,
    /// Slots that other threads freed and that wait for who has the heap, as in [`Stats::unreclaimed`](crate::Stats::unreclaimed),
    /// but for open batches.
    pub unreclaimed: u64,
    /// Free slots in the lists of the thread that has it: handed out next.
    pub at_hand: u64,
}

impl HeapReport {
    /// Of the heaps of a pool, with what was counted, by heap in the order of addresses. Foreign code runs.
    pub(crate) fn of(pool: RegistryRef, counts: &[HeapCount]) -> Vec<Self> {
        let unreclaimed = |heap: HeapRef| {
            let place = counts.binary_search_by_key(&heap.id(), |count| count.heap.id());
            place.map_or(0, |place| counts[place].unreclaimed)
        };
        let report = |heap| Self::new(heap, unreclaimed(heap));
        pool.heaps().map(report).collect()
    }

    fn new(heap: HeapRef, unreclaimed: u64) -> Self {
        let belongs = Belongs::of(heap);
        Self {
            holder: belongs.holder,
            thread: belongs.thread(),
            last_served: belongs.last_served(),
            segments: Size::of(heap).segments as u64,
            unreclaimed,
            at_hand: at_hand(heap) as u64,
        }
    }
}

impl fmt::Display for HeapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            holder,
            thread,
            last_served,
            segments,
            unreclaimed,
            at_hand,
        } = self;
        let whose = Whose {
            holder: *holder,
            thread: thread.as_ref(),
            last_served: *last_served,
        };
        write!(
            f,
            "{whose}: {segments} segments, {unreclaimed} unreclaimed, {at_hand} at hand"
        )
    }
}

/// Free slots in the lists of a heap. Any thread may ask; the answer may lag.
pub(crate) fn at_hand(heap: HeapRef) -> usize {
    let bins = heap.bins().enumerate();
    bins.map(|(index, bin)| bin.at_hand(heap.stride(index)))
        .sum()
}
