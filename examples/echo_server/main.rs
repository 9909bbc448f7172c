//! An echo server on loopback and its load, with each message in a `Box`, then in a `PoolBox`.
//!
//! ```sh
//! cargo run --release --bin echo_server -- --clients 8 --messages 5000
//! ```
//!
//! `server.rs` is the server, `load.rs` the clients. Server and clients have a tokio runtime each. The server's one
//! calls `segment_pool::idle` whenever a worker parks: that is all a program must do for threads that may sleep.

mod load;
mod server;

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use segment_pool::PoolBox;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use load::Load;
use server::{MOST_BYTES, Pointer, REQUESTS, Request, Served};

const HELP: &str = "\
Sends messages to an echo server on loopback, which keeps each in a Box, then in a PoolBox, and compares the two.

Usage: echo_server [--clients N] [--messages N] [--bytes N]

  --clients N    clients at once, 1 to 200 (8)
  --messages N   messages of each client, 1 to 1000000 (5000)
  --bytes N      bytes of each message, 1 to 1000 (64)
  --help         this text

Latency is the time from sending a message to having its echo; each client has up to 16 messages under way.
";

/// Runs of each kind, in turns. All latencies of a kind are taken together.
const ROUNDS: usize = 3;

/// What came out of the runs of one kind.
#[derive(Default)]
struct Outcome {
    name: &'static str,
    latencies: Vec<u64>,
    time: Duration,
    served: Vec<Served>,
}

impl Outcome {
    /// One run: a server of its own, and the load.
    fn add_run<P: Pointer>(&mut self, load: Load) -> io::Result<()> {
        self.name = P::NAME;
        let (latencies, time, served) = run::<P>(load)?;
        self.latencies.extend(latencies);
        self.time += time;
        self.served.push(served);
        Ok(())
    }

    /// The latency that so many of a thousand messages did not exceed. Wants them sorted.
    fn percentile(&self, of_thousand: usize) -> f64 {
        let last = self.latencies.len() - 1;
        self.latencies[last * of_thousand / 1000] as f64 / 1000.0
    }
}

fn run<P: Pointer>(load: Load) -> io::Result<(Vec<u64>, Duration, Served)> {
    let server = server_runtime::<P>()?;
    let clients = Builder::new_current_thread().enable_io().build()?;
    let listener = server.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel();
    let serving = server.spawn(server::serve::<P>(listener, stopped));
    let start = Instant::now();
    let latencies = clients.block_on(load::run(load, address))?;
    let time = start.elapsed();
    let _ = stop.send(()); // a server that has failed is not there to hear it
    let served = server.block_on(serving)??;
    Ok((latencies, time, served)) // the runtimes end here, and their threads
}

fn server_runtime<P: Pointer>() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_park(P::ON_PARK)
        .enable_io()
        .build()
}

fn compare(load: Load) -> io::Result<[Outcome; 2]> {
    let mut results = <[Outcome; 2]>::default();
    for _ in 0..ROUNDS {
        results[0].add_run::<Box<Request>>(load)?;
        results[1].add_run::<PoolBox<Request>>(load)?;
    }
    for result in &mut results {
        result.latencies.sort_unstable();
    }
    Ok(results)
}

/// Whether every message was served, and none failed.
fn is_complete(load: Load, results: &[Outcome]) -> bool {
    let expected = Served {
        connections: load.clients as u64,
        messages: (load.clients * load.messages) as u64,
        failures: 0,
    };
    let mut served = results.iter().flat_map(|result| &result.served);
    served.all(|served| *served == expected)
}

fn report(out: &mut dyn Write, load: Load, results: &[Outcome; 2]) -> io::Result<()> {
    let Load {
        clients,
        messages,
        bytes,
    } = load;
    writeln!(
        out,
        "{clients} clients, {messages} messages of {bytes} bytes each, {ROUNDS} runs of each kind\n"
    )?;
    if cfg!(debug_assertions) {
        writeln!(out, "(not optimised: compare with `cargo run --release`)\n")?;
    }
    let [left, right] = results;
    writeln!(out, "{:<20}{:>14}{:>14}", "", left.name, right.name)?;
    let speed = results
        .each_ref()
        .map(|result| result.latencies.len() as f64 / result.time.as_secs_f64());
    row(out, "messages per second", speed)?;
    for (name, of_thousand) in [
        ("latency, us   50 %", 500),
        ("              90 %", 900),
        ("              99 %", 990),
        ("            99.9 %", 999),
        ("              most", 1000),
    ] {
        let times = results.each_ref().map(|r| r.percentile(of_thousand));
        row(out, name, times)?;
    }
    writeln!(out, "\nthe pool, all runs\n{}", REQUESTS.stats())
}

fn row(out: &mut dyn Write, name: &str, [left, right]: [f64; 2]) -> io::Result<()> {
    writeln!(out, "{name:<20}{left:>14.0}{right:>14.0}")
}

/// The load to run, or nothing if help was asked for.
fn parse_arguments(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Load>, String> {
    let mut load = Load {
        clients: 8,
        messages: 5000,
        bytes: 64,
    };
    while let Some(argument) = arguments.next() {
        let (value, range) = match argument.to_str() {
            Some("-h" | "--help") => return Ok(None),
            Some("--clients") => (&mut load.clients, 1..=200),
            Some("--messages") => (&mut load.messages, 1..=1_000_000),
            Some("--bytes") => (&mut load.bytes, 1..=MOST_BYTES),
            _ => return Err(format!("unknown argument {argument:?}")),
        };
        *value = parse_number(arguments.next(), &range).ok_or_else(|| {
            let (least, most) = range.into_inner();
            format!("{argument:?} wants a number from {least} to {most}")
        })?;
    }
    Ok(Some(load))
}

fn parse_number(word: Option<OsString>, range: &RangeInclusive<usize>) -> Option<usize> {
    let number = word?.to_str()?.parse().ok()?;
    range.contains(&number).then_some(number)
}

fn main() -> ExitCode {
    match parse_arguments(env::args_os().skip(1)) {
        Ok(None) => print(|out| out.write_all(HELP.as_bytes())),
        Ok(Some(load)) => compare_and_print(load),
        Err(problem) => {
            eprintln!("echo_server: {problem}; --help says what is possible");
            ExitCode::from(2)
        }
    }
}

fn compare_and_print(load: Load) -> ExitCode {
    match compare(load) {
        Ok(results) if is_complete(load, &results) => print(|out| report(out, load, &results)),
        Ok(_) => {
            eprintln!("echo_server: not all messages were served");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("echo_server: stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{Shutdown, TcpStream};

    /// Sends bytes and reads what comes back until the server hangs up, or has nothing left to say.
    fn talk(runtime: &Runtime, address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let _guard = runtime.enter();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // a reset is an end, too
        answer
    }

    /// What the server says to each of the clients, one after the other, and what it counted.
    fn serve_them<P: Pointer>(clients: &[&[u8]]) -> (Vec<Vec<u8>>, Served) {
        let runtime = server_runtime::<P>().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(server::serve::<P>(listener, stopped));
        let answers = clients.iter().map(|bytes| talk(&runtime, address, bytes));
        let answers = answers.collect();
        stop.send(()).unwrap();
        (answers, runtime.block_on(serving).unwrap().unwrap())
    }

    #[test]
    fn bad_clients_are_disconnected_and_good_ones_served() {
        let good: &[u8] = b"\0\x05hello\0\x01!";
        let (answers, served) = serve_them::<PoolBox<Request>>(&[
            good,
            b"",
            b"\0\0",
            b"\xff\xffx",
            b"\0\x01x\x03\xe9too long",
            b"\0",
            b"\0\x05hel",
            good,
        ]);
        assert_eq!((&answers[0][..], &answers[7][..]), (good, good));
        assert_eq!(answers[1], b"");
        let expected = Served {
            connections: 8,
            messages: 5,
            failures: 5,
        };
        assert_eq!(served, expected);
    }

    #[test]
    fn both_kinds_serve_the_same_load() {
        let load = Load {
            clients: 3,
            messages: 100,
            bytes: MOST_BYTES,
        };
        let results = compare(load).unwrap();
        assert!(is_complete(load, &results));
        for result in results {
            assert_eq!(result.latencies.len(), 3 * 100 * ROUNDS);
        }
    }
}
