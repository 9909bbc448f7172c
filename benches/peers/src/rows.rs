//! The rows: what is measured, with which sizes and how many threads. None of them is measured for some peers only
//! because of what came out; who cannot take part is said in `peers.rs`.

mod churn;
mod free_in_order;
mod larson;
mod mailbox;
mod messages;
mod mstress;
mod new_drop;
mod ring;
mod rounds;
mod scratch;
mod simple;
mod stack;
mod survivors;
mod trees;

use crate::{
    common::XorShift,
    job::{Limited, Local, Remote},
    peers::{self, Contender},
};
use churn::Churn;
use free_in_order::FreeInOrder;
use larson::Larson;
use mailbox::Mailbox;
use messages::Messages;
use mstress::Mstress;
use new_drop::NewDrop;
use ring::{Batches, Ring};
use rounds::Rounds;
use scratch::Scratch;
use simple::Simple;
use stack::Stack;
use survivors::Survivors;
use trees::Trees;

/// One row of the table.
pub(crate) struct Row {
    /// Rows of a group share a chart and a table.
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) bytes: usize,
    pub(crate) threads: usize,
    /// Objects that live at the same time, where it is a number of the row's and not of chance.
    pub(crate) live: Option<usize>,
    pub(crate) contenders: Vec<Contender>,
}

impl Row {
    /// What `--only` looks at.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}B/{}T", self.name, self.bytes, self.threads)
    }
}

pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    new_drop(&mut rows);
    ordered(&mut rows);
    churn(&mut rows);
    other_local(&mut rows);
    rings(&mut rows);
    mailboxes(&mut rows);
    crowds(&mut rows);
    rows
}

const NEW_DROP: &str = "new+drop";
const ORDERED: &str = "1000 objects";
const CHURN: &str = "churn";
const LOCAL: &str = "other local rows";
const RING: &str = "rings, batches, messages";
const MAILBOX: &str = "mailbox";
const CROWD: &str = "threads that come, go and share";

fn new_drop(rows: &mut Vec<Row>) {
    let mut add = |row| rows.push(row);
    let one = NewDrop { threads: 1 };
    add(local::<2>(NEW_DROP, "new+drop", 1, None, &one));
    add(local::<4>(NEW_DROP, "new+drop", 1, None, &one));
    add(local::<8>(NEW_DROP, "new+drop", 1, None, &one));
    add(local::<32>(NEW_DROP, "new+drop", 1, None, &one));
    add(local::<128>(NEW_DROP, "new+drop", 1, None, &one));
    for threads in [2, 4] {
        let work = NewDrop { threads };
        add(local::<8>(NEW_DROP, "new+drop", threads, None, &work));
    }
}

fn ordered(rows: &mut Vec<Row>) {
    let orders = [
        ("1000 LIFO", FreeInOrder::lifo()),
        ("1000 FIFO", FreeInOrder::fifo()),
        ("1000 random", FreeInOrder::random()),
    ];
    let live = Some(free_in_order::OBJECTS);
    for (name, work) in orders {
        rows.push(local::<2>(ORDERED, name, 1, live, &work));
        rows.push(local::<4>(ORDERED, name, 1, live, &work));
        rows.push(local::<8>(ORDERED, name, 1, live, &work));
        rows.push(local::<32>(ORDERED, name, 1, live, &work));
        rows.push(local::<128>(ORDERED, name, 1, live, &work));
    }
}

fn churn(rows: &mut Vec<Row>) {
    let sizes = [
        ("churn 1k", 1_000),
        ("churn 100k", 100_000),
        ("churn 1M", 1_000_000),
    ];
    for (name, live) in sizes {
        let work = Churn { live };
        rows.push(local::<2>(CHURN, name, 1, Some(live), &work));
        rows.push(local::<8>(CHURN, name, 1, Some(live), &work));
        rows.push(local::<32>(CHURN, name, 1, Some(live), &work));
    }
}

fn other_local(rows: &mut Vec<Row>) {
    let mut add = |row| rows.push(row);
    let live = Some(simple::LIVE);
    add(local::<2>(LOCAL, "glibc-simple", 1, live, &Simple));
    add(local::<4>(LOCAL, "glibc-simple", 1, live, &Simple));
    add(local::<8>(LOCAL, "glibc-simple", 1, live, &Simple));

    let trees = Trees { depth: 18 };
    let live = Some(trees.live());
    add(local_word::<2>(LOCAL, "binary-trees 18", 1, live, &trees));

    for threads in [1, 2, 4] {
        let (work, live) = (Rounds { threads }, Some(rounds::OBJECTS));
        add(local::<1>(LOCAL, "threadtest", threads, live, &work));
        add(local::<8>(LOCAL, "threadtest", threads, live, &work));
    }
    for threads in [1, 2, 4] {
        let (work, live) = (Survivors { threads }, Some(survivors::OBJECTS * threads));
        add(local::<2>(LOCAL, "survivors", threads, live, &work));
        add(local::<8>(LOCAL, "survivors", threads, live, &work));
    }
}

fn rings(rows: &mut Vec<Row>) {
    let mut add = |row| rows.push(row);
    let live = Some(ring::IN_FLIGHT);
    add(limited::<2>(RING, "ring", 2, live, &Ring));
    add(limited::<4>(RING, "ring", 2, live, &Ring));
    add(limited::<8>(RING, "ring", 2, live, &Ring));
    add(limited::<32>(RING, "ring", 2, live, &Ring));
    add(limited::<128>(RING, "ring", 2, live, &Ring));

    add(limited::<2>(RING, "batches of 256", 2, live, &Batches));
    add(limited::<8>(RING, "batches of 256", 2, live, &Batches));

    let live = Some(messages::IN_FLIGHT);
    for (name, pairs) in [("msgpass 1/1", 1), ("msgpass 2/2", 2)] {
        let work = Messages { pairs };
        add(limited::<2>(RING, name, 2 * pairs, live, &work));
        add(limited::<8>(RING, name, 2 * pairs, live, &work));
    }
}

fn mailboxes(rows: &mut Vec<Row>) {
    let sizes = [
        ("mailbox 4Ki", 4 << 10),
        ("mailbox 64Ki", 64 << 10),
        ("mailbox 1Mi", 1 << 20),
    ];
    for (name, entries) in sizes {
        let work = Mailbox { entries };
        let live = Some(entries);
        rows.push(limited::<2>(MAILBOX, name, mailbox::THREADS, live, &work));
        rows.push(limited::<8>(MAILBOX, name, mailbox::THREADS, live, &work));
    }
}

fn crowds(rows: &mut Vec<Row>) {
    let mut add = |row| rows.push(row);
    let (work, threads) = (Stack::XMALLOC, Stack::XMALLOC.threads());
    add(remote::<2>(CROWD, "xmalloc", threads, None, &work));
    add(remote::<8>(CROWD, "xmalloc", threads, None, &work));

    let (work, threads) = (Stack::LOTS_OF_THREADS, Stack::LOTS_OF_THREADS.threads());
    add(remote::<2>(CROWD, "lotsofthreads", threads, None, &work));
    add(remote::<8>(CROWD, "lotsofthreads", threads, None, &work));

    for threads in [1, 2, 4] {
        let (work, live) = (Larson { threads }, Some(larson::SLOTS * threads));
        add(remote::<2>(CROWD, "larson", threads, live, &work));
        add(remote::<8>(CROWD, "larson", threads, live, &work));
    }
    for threads in [1, 2, 4] {
        let work = Mstress { threads };
        add(remote::<2>(CROWD, "mstress", threads, None, &work));
        add(remote::<8>(CROWD, "mstress", threads, None, &work));
    }
    for threads in [1, 2, 4] {
        let work = Scratch { threads };
        add(remote::<1>(CROWD, "cache-scratch", threads, None, &work));
    }
}

/// A row's constructor, for each kind of work; the size comes as a constant.
macro_rules! row_of {
    ($name:ident, $work:ident, $contenders:path) => {
        fn $name<const W: usize>(
            group: &'static str,
            name: &'static str,
            threads: usize,
            live: Option<usize>,
            work: &(impl $work + Clone + 'static),
        ) -> Row {
            Row {
                group,
                name,
                bytes: W * size_of::<u64>(),
                threads,
                live,
                contenders: $contenders(work),
            }
        }
    };
}

row_of!(local, Local, peers::local::<W>);
row_of!(local_word, Local, peers::local_word::<W>);
row_of!(remote, Remote, peers::remote::<W>);
row_of!(limited, Limited, peers::remote_limited::<W>);

fn shuffle<T>(items: &mut [T], random: &mut XorShift) {
    for n in (1..items.len()).rev() {
        items.swap(n, random.below(n + 1));
    }
}
