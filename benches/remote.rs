//! Objects are allocated by one thread and freed by another: what a pool is for.
//!
//! Each workload is measured for `PoolBox`, for `Box`, and for the limit: the same objects go round by hand, and
//! nothing is allocated or freed. Payloads are 16 and 64 bytes; who receives an object reads it. The time is per
//! object. What the rows do is told in README.md.

mod common;
#[path = "common/mailbox.rs"]
mod mailbox;
#[path = "common/race.rs"]
mod race;
#[path = "common/ring.rs"]
mod ring;

use common::{Pointer, XorShift, object, touch};
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, measurement::WallTime,
};
use mailbox::{Mailbox, RawPointer};
use race::{Body, race};
use ring::ring;
use segment_pool::PoolBox;
use std::{hint::black_box, time::Duration};

/// Objects under way at most, in the ring and in the batches.
const IN_FLIGHT: usize = 4096;
const BATCH: usize = 256;
const THREADS: u64 = 4;
const LIMIT: &str = "recycled";

type Group<'a> = BenchmarkGroup<'a, WallTime>;

// --- a ring from one thread to another -----------------------------------------------------------------------------

/// One thread makes `count` messages, the other receives and finishes them.
fn send<M: Send>(
    count: u64,
    capacity: usize,
    mut make: impl FnMut(u64) -> M + Send,
    mut finish: impl FnMut(M) + Send,
) -> Duration {
    let (mut producer, mut consumer) = ring(capacity);
    let make_all = move || (0..count).for_each(|n| producer.push(make(n)));
    let finish_all = move || (0..count).for_each(|_| finish(consumer.pop()));
    race(vec![Box::new(make_all), Box::new(finish_all)], |_| {})
}

/// As `send`, but `len` messages, which then go back on a second ring, are used for ever.
fn send_recycled<M: Send>(
    count: u64,
    len: usize,
    new: impl Fn() -> M,
    renew: impl Fn(&mut M, u64) + Send,
    read: impl Fn(&M) + Send,
) -> Duration {
    let (mut back, mut spare) = ring(len);
    (0..len).for_each(|_| back.push(new()));
    let make = move |n| {
        let mut message = spare.pop();
        renew(&mut message, n);
        message
    };
    let finish = move |message| {
        read(&message);
        back.push(message);
    };
    send(count, len, make, finish)
}

fn renew<const W: usize>(object: &mut [u64; W], n: u64) {
    *object = [n; W];
    touch(object);
}

fn read<const W: usize>(object: &[u64; W]) {
    black_box(object[0]);
}

/// How many batches hold so many objects.
fn batches(count: u64) -> u64 {
    count.div_ceil(BATCH as u64)
}

fn batch<P: Pointer<W>, const W: usize>(n: u64) -> Vec<P> {
    (0..BATCH).map(|_| object(n)).collect()
}

fn ring_row<P: RawPointer<W>, const W: usize>(group: &mut Group<'_>) {
    time::<W>(group, P::NAME, |count| {
        send(count, IN_FLIGHT, object::<P, W>, |object: P| read(&object))
    });
}

fn ring_limit<const W: usize>(group: &mut Group<'_>) {
    time::<W>(group, LIMIT, |count| {
        send_recycled(
            count,
            IN_FLIGHT,
            || Box::new([0; W]),
            |object, n| renew(object, n),
            |object| read(object),
        )
    });
}

fn batch_row<P: RawPointer<W>, const W: usize>(group: &mut Group<'_>) {
    time::<W>(group, P::NAME, |count| {
        let finish = |batch: Vec<P>| batch.into_iter().for_each(|object| read(&object));
        send(batches(count), IN_FLIGHT / BATCH, batch::<P, W>, finish)
    });
}

fn batch_limit<const W: usize>(group: &mut Group<'_>) {
    time::<W>(group, LIMIT, |count| {
        let renew =
            |batch: &mut Vec<Box<_>>, n| batch.iter_mut().for_each(|object| renew(object, n));
        let read = |batch: &Vec<Box<_>>| batch.iter().for_each(|object| read(object));
        send_recycled(
            batches(count),
            IN_FLIGHT / BATCH,
            || batch::<Box<[u64; W]>, W>(0),
            renew,
            read,
        )
    });
}

// --- a mailbox that threads swap at random -------------------------------------------------------------------------

/// The threads share `count` swaps; between two of them, each makes a new object of the one it got.
fn swap<P: RawPointer<W>, const W: usize>(
    mailbox: &Mailbox<P, W>,
    count: u64,
    round: u64,
    renew: impl Fn(P, u64) -> P + Sync,
) -> Duration {
    let renew = &renew;
    let bodies = (0..THREADS).map(|thread| -> Body<'_> {
        let mut random = XorShift::new(round * THREADS + thread);
        Box::new(move || {
            let mut mine = object(thread);
            for n in 0..count.div_ceil(THREADS) {
                mine = mailbox.swap(random.below(mailbox.len()), renew(mine, n));
                read(&mine);
            }
        })
    });
    race(bodies.collect(), |_| {})
}

fn mailbox_row<P: RawPointer<W>, const W: usize>(
    group: &mut Group<'_>,
    name: &str,
    len: usize,
    renew: impl Fn(P, u64) -> P + Sync,
) {
    let mut mailbox = None; // made when it is needed: a filter may leave this row out
    let mut round = 0;
    time::<W>(group, name, |count| {
        round += 1;
        swap(
            mailbox.get_or_insert_with(|| Mailbox::new(len, object)),
            count,
            round,
            &renew,
        )
    });
}

fn free_and_allocate<P: Pointer<W>, const W: usize>(old: P, n: u64) -> P {
    drop(old);
    object(n)
}

fn recycle<const W: usize>(mut old: Box<[u64; W]>, n: u64) -> Box<[u64; W]> {
    renew(&mut old, n);
    old
}

// --- the rows ------------------------------------------------------------------------------------------------------

/// `run` does the work for so many objects and says how long it took.
fn time<const W: usize>(group: &mut Group<'_>, name: &str, mut run: impl FnMut(u64) -> Duration) {
    let id = BenchmarkId::new(name, W * size_of::<u64>());
    group.bench_function(id, |bencher| bencher.iter_custom(&mut run));
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30);
    group.sampling_mode(SamplingMode::Flat); // every sample is long, so that starting threads does not show
    group.throughput(Throughput::Elements(1));
    group
}

fn ring_rows<const W: usize>(group: &mut Group<'_>) {
    ring_row::<PoolBox<_>, W>(group);
    ring_row::<Box<_>, W>(group);
    ring_limit::<W>(group);
}

fn batch_rows<const W: usize>(group: &mut Group<'_>) {
    batch_row::<PoolBox<_>, W>(group);
    batch_row::<Box<_>, W>(group);
    batch_limit::<W>(group);
}

fn mailbox_rows<const W: usize>(group: &mut Group<'_>, len: usize) {
    mailbox_row::<PoolBox<_>, W>(group, PoolBox::<[u64; W]>::NAME, len, free_and_allocate);
    mailbox_row::<Box<_>, W>(group, Box::<[u64; W]>::NAME, len, free_and_allocate);
    mailbox_row::<Box<_>, W>(group, LIMIT, len, recycle);
}

fn main() {
    let criterion = &mut Criterion::default().configure_from_args();

    let mut rows = group(criterion, "ring");
    ring_rows::<2>(&mut rows);
    ring_rows::<8>(&mut rows);
    rows.finish();

    let mut rows = group(criterion, "batches");
    batch_rows::<2>(&mut rows);
    batch_rows::<8>(&mut rows);
    rows.finish();

    for (name, len) in [("mailbox 4Ki", 4 << 10), ("mailbox 1Mi", 1 << 20)] {
        let mut rows = group(criterion, name);
        mailbox_rows::<2>(&mut rows, len);
        mailbox_rows::<8>(&mut rows, len);
        rows.finish();
    }
    criterion.final_summary();
}
