//! Larson's server: each thread owns 5000 places; 500 000 times it picks one, frees what lies there and makes another
//! object, of any size below a KiB. Then it spawns a successor on the same places and ends.
//!
//! A successor begins with 5000 objects that others made. Phases with successors and phases in which the same threads
//! go on take turns, so that both see the same machine. With successors the throughput must be at least 0.8 of that
//! without, and in the second half of the time no more than a tenth more may be resident than in the first.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use segment_pool::PoolBox;

use crate::figure::{Bound, Figure};
use crate::programs::Scale;
use crate::resident::resident;
use crate::rng::Rng;

const PLACES: usize = 5000;
const STEPS: usize = 500_000;
/// As many phases with successors as without.
const PHASES: u32 = 6;

/// An object of one of these sizes.
macro_rules! sizes {
    ($($name:ident $bytes:literal),*) => {
        enum Object {
            $($name(PoolBox<[u8; $bytes]>)),*
        }

        impl Object {
            const SIZES: usize = [$($bytes),*].len();

            fn new(which: usize) -> Self {
                let mut _index = 0;
                $(
                    if which == _index {
                        return Self::$name(PoolBox::new([which as u8; $bytes]));
                    }
                    _index += 1;
                )*
                unreachable!("one of the sizes")
            }

            fn read(&self) -> u8 {
                match self {
                    $(Self::$name(object) => object[0]),*
                }
            }
        }
    };
}

sizes! {
    A 8, B 56, C 104, D 152, E 208, F 264, G 328, H 400, I 480, J 560, K 640, L 720, M 800, N 880, O 944, P 999
}

/// The places of one thread, and how it goes on drawing.
struct Server {
    places: Vec<Object>,
    rng: Rng,
}

impl Server {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let places = (0..PLACES).map(|_| Object::new(rng.below(Object::SIZES)));
        let places = places.collect();
        Self { places, rng }
    }

    fn serve(&mut self) {
        for _ in 0..STEPS {
            let place = self.rng.below(PLACES);
            self.places[place] = Object::new(self.rng.below(Object::SIZES));
            black_box(self.places[place].read());
        }
    }
}

/// What a thread says after each generation: nothing, or, at the end of the phase, its places.
type Said = Option<Server>;

pub(crate) fn run(scale: Scale) -> Vec<Figure> {
    let phase = scale.pick(Duration::from_secs(5), Duration::from_secs(1));
    let threads = thread::available_parallelism()
        .map_or(2, usize::from)
        .min(8);
    let mut servers: Vec<Server> = (0..threads as u64).map(Server::new).collect();
    let (mut samples, mut rates) = (Vec::new(), [0.0; 2]);
    for number in 0..2 * PHASES {
        let with_successors = number % 2 == 0;
        let rate = run_phase(&mut servers, phase, with_successors, &mut samples);
        eprintln!("   successors: {with_successors}, {:.1} M/s", rate / 1e6);
        rates[usize::from(with_successors)] += rate;
    }
    vec![
        Figure {
            name: "larson: throughput with successors / without",
            value: rates[1] / rates[0],
            bound: Bound::AtLeast(0.8),
            unit: "",
        },
        Figure {
            name: "larson: resident, second half / first",
            value: growth(&samples),
            bound: Bound::AtMost(1.1),
            unit: "",
        },
    ]
}

/// The most that was resident in the second half of the samples, by the most in the first.
fn growth(samples: &[usize]) -> f64 {
    let (first, second) = samples.split_at(samples.len() / 2);
    let most = |samples: &[usize]| samples.iter().copied().max().unwrap_or(0) as f64;
    eprintln!(
        "   {} KiB, then {} KiB resident",
        most(first) as usize >> 10,
        most(second) as usize >> 10
    );
    most(second) / most(first)
}

/// Steps per second of all threads, with a sample of what is resident after each generation.
fn run_phase(
    servers: &mut Vec<Server>,
    length: Duration,
    with_successors: bool,
    samples: &mut Vec<usize>,
) -> f64 {
    let (to, from) = unbounded();
    let start = Instant::now();
    let threads = servers.len();
    for server in servers.drain(..) {
        let to = to.clone();
        let until = start + length;
        thread::spawn(move || generation(server, until, with_successors, &to));
    }
    drop(to);
    let mut generations = threads;
    for said in from {
        match said {
            Some(server) => servers.push(server),
            None => generations += 1,
        }
        samples.push(resident());
    }
    (generations * STEPS) as f64 / start.elapsed().as_secs_f64()
}

/// Serves once, then has a successor do so or goes on itself, until the phase is over.
fn generation(mut server: Server, until: Instant, with_successors: bool, to: &Sender<Said>) {
    loop {
        server.serve();
        if Instant::now() >= until {
            return to.send(Some(server)).expect("main listens");
        }
        to.send(None).expect("main listens");
        if with_successors {
            let to = to.clone();
            thread::spawn(move || generation(server, until, with_successors, &to));
            return;
        }
    }
}
