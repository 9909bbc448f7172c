//! Permits and the queue of a pool with a bound: requests that wait, and values that are dropped meanwhile.
//!
//! A request that sleeps parks for ever, so a wake that is lost is a deadlock, which loom reports.

use core::pin::{Pin, pin};
use core::task::Waker;

use loom::thread;

use super::{join, model};
use crate::ground::sync::UnsafeCell;
use crate::heap::gate::Gate;
use crate::heap::queue::{Armed, Waiter, Wake};

fn gate(bound: usize) -> &'static Gate {
    Box::leak(Box::new(Gate::new(bound)))
}

fn take(gate: &Gate) -> bool {
    gate.permits.acquire(false).is_ok()
}

/// What the drop of a value does.
fn release(gate: &Gate) {
    gate.release().wake();
}

fn arm(gate: &Gate, waiter: Pin<&Waiter>) -> Armed {
    unsafe { gate.arm(waiter, Wake::Thread(thread::current())) }
}

/// As for a task that the model polls when it likes.
fn arm_task(gate: &Gate, waiter: Pin<&Waiter>) -> Armed {
    unsafe { gate.arm(waiter, Wake::Task(Waker::noop().clone())) }
}

fn waiter() -> Pin<&'static Waiter> {
    unsafe { Pin::new_unchecked(&*Box::leak(Box::new(Waiter::new()))) }
}

/// What a request does that waits; false when the waits were ended.
fn wait(gate: &Gate) -> bool {
    let waiter = pin!(Waiter::new());
    let waiter = waiter.as_ref();
    let mut reserves = false;
    loop {
        let armed = arm(gate, waiter);
        let mut taken = gate.permits.acquire(reserves).is_ok();
        if !taken && armed == Armed::Woken {
            reserves = reserves || gate.reserve(waiter);
            taken = gate.permits.acquire(reserves).is_ok();
        }
        if taken || armed == Armed::Closed {
            gate.leave(waiter);
            return taken;
        }
        thread::park();
    }
}

/// A request that is given up after its first attempt; it gives back what that got.
fn give_up(gate: &Gate) {
    let waiter = pin!(Waiter::new());
    _ = arm_task(gate, waiter.as_ref());
    let taken = take(gate);
    gate.leave(waiter.as_ref());
    if taken {
        release(gate);
    }
}

/// A value is dropped while a request begins to wait. Catches: a drop that sees nobody, and a request that sees no permit.
#[test]
fn a_drop_against_the_begin_of_a_wait() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let waiting = thread::spawn(move || assert!(wait(gate)));
        release(gate);
        waiting.join().unwrap();
        assert!(!take(gate), "one permit, and the request has it");
        release(gate);
        assert_eq!(gate.permits.in_use(), 0);
    });
}

/// The same, and the thread that drops is gone when the request asks again.
#[test]
fn a_drop_by_a_thread_that_ends() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let dropping = thread::spawn(move || release(gate));
        assert!(wait(gate));
        dropping.join().unwrap();
    });
}

/// Two requests wait for one value, and the first served drops it again. Catches: a wake that reaches neither, or the one that
/// was served already.
#[test]
fn two_waiters_and_one_drop() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let waiting = [(); 2].map(|()| {
            thread::spawn(move || {
                assert!(wait(gate));
                release(gate);
            })
        });
        release(gate);
        join(waiting);
        assert!(take(gate));
    });
}

/// Two values are dropped on two threads at once, and two requests wait. Catches: two wakes for the same request; a wake that is
/// left to who has the lock, and forgotten there.
#[test]
fn two_drops_at_once_and_two_waiters() {
    model(|| {
        let gate = gate(2);
        assert!(take(gate) && take(gate));
        let waiters = [waiter(), waiter()];
        let armed = waiters.map(|waiter| arm_task(gate, waiter));
        assert_eq!(armed, [Armed::Waiting; 2]);
        let dropping = thread::spawn(move || release(gate));
        release(gate);
        dropping.join().unwrap();
        for waiter in waiters {
            assert_eq!(arm_task(gate, waiter), Armed::Woken);
            assert!(take(gate));
            gate.leave(waiter);
        }
    });
}

/// A value is dropped while its request is armed, twice. Catches: a wake that is left to who has the lock, and comes without the permit.
#[test]
fn a_wake_that_is_owed_comes_with_its_permit() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let waiter = waiter();
        let dropping = thread::spawn(move || release(gate));
        assert_eq!(arm_task(gate, waiter), Armed::Waiting);
        if arm_task(gate, waiter) == Armed::Woken {
            assert!(take(gate));
        }
        dropping.join().unwrap();
        gate.leave(waiter);
    });
}

/// A request is given up while it is woken, and another waits behind it. Catches: a wake that is lost with the first.
#[test]
fn a_wait_that_is_given_up_against_a_wake() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let given_up = thread::spawn(move || give_up(gate));
        let waiting = thread::spawn(move || assert!(wait(gate)));
        release(gate);
        join([given_up, waiting]);
        assert!(!take(gate));
    });
}

/// The waits are ended while one begins. Catches: a request that sleeps after that.
#[test]
fn the_end_of_waits_against_a_wait() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let waiting = thread::spawn(move || assert!(!wait(gate)));
        gate.close();
        waiting.join().unwrap();
    });
}

/// The bound is raised while a request begins to wait. Catches: a request that sees the old bound and is not woken.
#[test]
fn a_raise_of_the_bound_against_a_wait() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let waiting = thread::spawn(move || assert!(wait(gate)));
        gate.set_bound(2);
        waiting.join().unwrap();
    });
}

/// The first in the queue has a permit reserved, and is given up while a value is dropped. Catches: a permit that stays reserved for
/// nobody; a request that is refused because of it and not woken later.
#[test]
fn a_reservation_that_is_given_up() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let first = waiter();
        assert_eq!(arm_task(gate, first), Armed::Waiting);
        assert!(gate.reserve(first));
        let waiting = thread::spawn(move || assert!(wait(gate)));
        release(gate);
        gate.leave(first);
        waiting.join().unwrap();
        release(gate);
        assert!(take(gate));
    });
}

/// The first in the queue is given up, for whom a free permit is reserved, while another request begins to wait. Catches: one that is
/// refused because of the reservation, and not woken when that ends.
#[test]
fn a_reservation_that_was_not_used() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let first = waiter();
        assert_eq!(arm_task(gate, first), Armed::Waiting);
        assert!(gate.reserve(first));
        release(gate);
        assert_eq!(arm_task(gate, first), Armed::Woken);
        let waiting = thread::spawn(move || assert!(wait(gate)));
        gate.leave(first);
        waiting.join().unwrap();
    });
}

/// What is reserved goes to whom it is reserved for, while another asks. Catches: a permit for both; for neither.
#[test]
fn a_reservation_against_a_request() {
    model(|| {
        let gate = gate(1);
        assert!(take(gate));
        let first = waiter();
        arm_task(gate, first);
        assert!(gate.reserve(first));
        let asking = thread::spawn(move || take(gate));
        release(gate);
        assert!(gate.permits.acquire(true).is_ok());
        gate.leave(first);
        assert!(!asking.join().unwrap());
    });
}

/// Memory comes within reach before the permit is returned, and who has the permit finds it. Catches: a return that does not
/// release, a request that does not acquire.
#[test]
fn memory_is_handed_on_with_a_permit() {
    model(|| {
        let gate = gate(1);
        let memory: &'static UnsafeCell<u64> = Box::leak(Box::new(UnsafeCell::new(0)));
        let use_it = move || {
            if take(gate) {
                memory.with_mut(|memory| unsafe { *memory += 1 });
                release(gate);
            }
        };
        let other = thread::spawn(use_it);
        use_it();
        other.join().unwrap();
    });
}

/// Three ask for two permits. Catches: more values than the bound.
#[test]
fn three_requests_and_two_permits() {
    model(|| {
        let gate = gate(2);
        let asking = [(); 2].map(|()| thread::spawn(move || take(gate)));
        let mine = take(gate);
        let theirs = asking.map(|asking| asking.join().unwrap());
        let served = [mine, theirs[0], theirs[1]]
            .iter()
            .filter(|served| **served)
            .count();
        assert_eq!((served, gate.permits.in_use()), (2, 2));
    });
}
