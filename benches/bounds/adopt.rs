//! 64 threads end and leave every second of their objects alive. One thread, which has a heap of its own, then makes
//! as many as were freed: by their owners before they ended, or by another thread after.
//!
//! At least 90 % of the new objects must lie in segments that existed before.

use std::collections::HashSet;
use std::mem;
use std::sync::Barrier;
use std::thread;

use segment_pool::PoolBox;

use crate::figure::{Bound, Figure};
use crate::programs::Scale;

const THREADS: usize = 64;

type Object = PoolBox<[u64; 8]>;

pub(crate) fn freed_by_the_owner(scale: Scale) -> Vec<Figure> {
    let name = "half freed at home, then adopted: in old segments";
    vec![measure(name, scale, drop_every_second, |_| ())]
}

pub(crate) fn freed_elsewhere(scale: Scale) -> Vec<Figure> {
    let name = "half freed elsewhere, then adopted: in old segments";
    vec![measure(name, scale, |_| (), drop_every_second)]
}

type Drops = fn(&mut Vec<Object>);

fn measure(name: &'static str, scale: Scale, by_owner: Drops, by_another: Drops) -> Figure {
    let count = scale.pick(20_000, 5000);
    let own = PoolBox::new([0; 8]);
    let (mut left, segments) = leave(count, by_owner);
    left.iter_mut().for_each(by_another);
    segment_pool::flush();
    let freed = THREADS * count - left.iter().map(Vec::len).sum::<usize>();
    let new: Vec<Object> = (0..freed).map(|n| PoolBox::new([n as u64; 8])).collect();
    let in_old = new
        .iter()
        .filter(|object| segments.contains(&segment_of(object)));
    let share = in_old.count() as f64 * 100.0 / freed as f64;
    drop((own, left));
    Figure {
        name,
        value: share,
        bound: Bound::AtLeast(90.0),
        unit: "%",
    }
}

/// What the threads left, and every segment they had objects in.
fn leave(count: usize, by_owner: Drops) -> (Vec<Vec<Object>>, HashSet<usize>) {
    let all_have_made = Barrier::new(THREADS);
    let work = || {
        let mut objects: Vec<Object> = (0..count).map(|n| PoolBox::new([n as u64; 8])).collect();
        let segments: HashSet<usize> = objects.iter().map(segment_of).collect();
        all_have_made.wait();
        by_owner(&mut objects);
        (objects, segments)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let results = threads
            .into_iter()
            .map(|thread| thread.join().expect("it ends"));
        let (left, segments): (Vec<_>, Vec<_>) = results.unzip();
        (left, segments.into_iter().flatten().collect())
    })
}

fn drop_every_second(objects: &mut Vec<Object>) {
    let mut index = 0;
    let all = mem::take(objects);
    objects.extend(all.into_iter().filter(|_| {
        index += 1;
        index % 2 == 0
    }));
}

/// Which 64 KiB an object lies in.
fn segment_of(object: &Object) -> usize {
    (&raw const **object).addr() >> 16
}
