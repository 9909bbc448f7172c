use super::*;

/// Of a small segment, in bytes.
const SEGMENT: usize = 64 << 10;
const MIB: usize = 1 << 20;

impl Retention {
    /// Forgets everything. For a process in which no other thread runs.
    pub(crate) fn start_anew(&self) {
        let words = [
            &self.held,
            &self.low,
            &self.budget,
            &self.lost,
            &self.in_use,
            &self.high,
            &self.peak,
        ];
        words.into_iter().for_each(|word| word.set(0));
    }
}

/// A span whose segments all get and lose their pages as the retention says, and the time.
struct World {
    retention: Retention,
    limits: Limits,
    now: u64,
}

impl World {
    fn new() -> Self {
        let (retention, limits, now) = (Retention::new(), Limits::new(), 1 << 40);
        retention.tick(now);
        Self {
            retention,
            limits,
            now,
        }
    }

    fn claim(&self, bytes: usize) {
        for _ in 0..bytes / SEGMENT {
            let had_pages = self.retention.held() > 0;
            self.retention.claimed(SEGMENT, had_pages);
        }
    }

    fn release(&self, bytes: usize) {
        for _ in 0..bytes / SEGMENT {
            let _kept = self.retention.released(SEGMENT, 0, &self.limits);
        }
    }

    /// Some time passes, and then a thread takes slow paths until nothing is to be returned.
    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.retention.tick(self.now);
        while self.retention.excess(0, &self.limits) > 0 {
            self.retention.purged(SEGMENT);
        }
    }

    /// Bytes without pages that a burst of so many claims.
    fn burst(&self, bytes: usize) -> usize {
        let without = bytes.saturating_sub(self.retention.held());
        self.claim(bytes);
        self.release(bytes);
        without
    }
}

#[test]
fn what_is_dropped_once_goes_back_at_once() {
    let world = World::new();
    world.claim(64 * MIB);
    world.release(64 * MIB);
    assert_eq!(world.retention.held(), BASE_BYTES);
    assert_eq!(world.retention.turnover().0 as usize, 64 * MIB - BASE_BYTES);
}

#[test]
fn steady_bursts_have_no_faults_after_the_third_round() {
    let mut world = World::new();
    let faults: Vec<_> = (0..200)
        .map(|_| {
            world.pass(10);
            world.burst(64 * MIB)
        })
        .collect();
    assert!(faults[3..].iter().all(|bytes| *bytes == 0), "{faults:?}");
    assert!(world.retention.held() <= 64 * MIB);
}

#[test]
fn bursts_a_tenth_of_a_second_apart_keep_their_pages_too() {
    let mut world = World::new();
    for round in 0..100 {
        world.pass(100);
        let faults = world.burst(16 * MIB);
        assert!(round < 3 || faults == 0, "round {round}");
    }
}

#[test]
fn two_seconds_after_bursts_of_a_gigabyte_little_is_held() {
    let mut world = World::new();
    for _ in 0..4 {
        world.pass(10);
        world.burst(1 << 30);
    }
    assert!(world.retention.held() > 1000 * MIB);
    let mut asleep = World {
        retention: world.retention,
        ..World::new()
    };
    asleep.now = world.now;
    asleep.pass(2000); // nobody takes a slow path in between
    assert!(asleep.retention.held() <= 8 * MIB);
}

#[test]
fn it_comes_down_by_halves_while_threads_take_slow_paths() {
    let mut world = World::new();
    for _ in 0..4 {
        world.pass(10);
        world.burst(64 * MIB);
    }
    let mut held = vec![];
    for _ in 0..12 {
        world.pass(TICK);
        held.push(world.retention.held() / MIB);
    }
    assert_eq!(held[..5], [64, 32, 16, 8, 4]);
    assert_eq!(held[11], 0, "half a mebibyte");
}

#[test]
fn what_was_returned_long_ago_was_not_asked_for_again() {
    let mut world = World::new();
    world.claim(64 * MIB);
    world.release(64 * MIB);
    world.pass(60_000);
    world.claim(64 * MIB);
    assert_eq!(world.retention.turnover().1, 0);
    world.release(64 * MIB);
    assert_eq!(world.retention.held(), BASE_BYTES);
}

#[test]
fn no_more_is_kept_than_was_in_use() {
    let mut world = World::new();
    // Twice as much is lost and claimed again as is ever in use at a time.
    for _ in 0..100 {
        world.claim(4 * MIB);
        world.release(4 * MIB);
        world
            .retention
            .purged(world.retention.held() / SEGMENT * SEGMENT);
    }
    assert!(world.retention.limit(0, &world.limits) <= 4 * MIB);
    world.pass(1);
}

#[test]
fn the_program_has_the_last_word() {
    let mut world = World::new();
    world.limits.set(16 * MIB, usize::MAX);
    world.claim(64 * MIB);
    world.release(64 * MIB);
    world.pass(3_600_000);
    assert_eq!(world.retention.held(), 16 * MIB);
    world.limits.set(0, 0);
    world.pass(1);
    assert_eq!(world.retention.held(), 0);
    world.claim(MIB);
    world.release(MIB);
    assert_eq!(world.retention.held(), 0);
    world.limits.set(2 * MIB, MIB); // the upper bound counts
    world.claim(4 * MIB);
    world.release(4 * MIB);
    assert_eq!(world.retention.held(), MIB);
}

#[test]
fn the_bounds_of_the_program_are_for_all_spans_together() {
    let world = World::new();
    world.limits.set(3 * MIB, 4 * MIB);
    assert_eq!(world.retention.limit(0, &world.limits), 3 * MIB);
    assert_eq!(world.retention.limit(2 * MIB, &world.limits), MIB);
    assert_eq!(world.retention.limit(4 * MIB, &world.limits), 0);
}

#[test]
fn a_clock_that_is_set_back_loses_a_tick_and_no_more() {
    let mut world = World::new();
    for _ in 0..4 {
        world.pass(10);
        world.burst(8 * MIB);
    }
    world.now -= 3_600_000;
    (0..10).for_each(|_| world.pass(TICK));
    assert!(world.retention.held() <= BASE_BYTES);
}

#[test]
fn threads_that_claim_at_once_do_not_count_the_same_lost_bytes_twice() {
    let world = World::new();
    let Retention { lost, .. } = &world.retention;
    lost.add(1000 * SEGMENT);
    let taken: usize = std::thread::scope(|scope| {
        let take = || (0..1000).map(|_| lost.take(SEGMENT)).sum::<usize>();
        [(); 4]
            .map(|()| scope.spawn(take))
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((taken, lost.get()), (1000 * SEGMENT, 0));
}
