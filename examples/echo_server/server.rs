//! The server. Every message is a `Request` in a box of its own, which travels through three tasks:
//!
//! ```text
//!            +--------+  box   +---------+  box   +--------+
//! socket --> | reader | -----> | service | -----> | writer | --> socket
//!            +--------+        +---------+        +--------+
//!             makes it          counts it          drops it
//! ```
//!
//! Each connection has these three tasks. They run on whatever worker of the runtime is free, so a box is often dropped
//! on another thread than the one it was made on.
//!
//! On the wire a message is its length, two bytes, the high one first, and then that many bytes, 1 to `MOST_BYTES`. Who
//! sends another length is disconnected.

use std::io;
use std::ops::{Deref, DerefMut};

use segment_pool::{PoolBox, SegmentPool};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub(crate) const MOST_BYTES: usize = 1000;

/// Messages of a connection that may wait for the next task. A client that does not read its answers is not read from.
const QUEUE: usize = 256;

pub(crate) static REQUESTS: SegmentPool<Request> = SegmentPool::new();

/// One message, in place: its box is all the memory it needs.
pub(crate) struct Request {
    len: u16,
    bytes: [u8; MOST_BYTES],
}

/// All the server asks of an owning pointer.
pub(crate) trait Pointer: Deref<Target = Request> + DerefMut + Send + 'static {
    const NAME: &'static str;
    /// What a worker thread does before it parks.
    const ON_PARK: fn();
    fn new(request: Request) -> Self;
}

impl Pointer for Box<Request> {
    const NAME: &'static str = "Box";
    const ON_PARK: fn() = || {};

    fn new(request: Request) -> Self {
        Box::new(request)
    }
}

impl Pointer for PoolBox<Request> {
    const NAME: &'static str = "PoolBox";
    /// Lends the thread's free slots to the others, and lets them bring home what they free of its own.
    const ON_PARK: fn() = segment_pool::idle;

    fn new(request: Request) -> Self {
        REQUESTS.alloc(request)
    }
}

/// What the server did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) connections: u64,
    pub(crate) messages: u64,
    /// Connections that ended in an error: a wrong length, half a message, a reset.
    pub(crate) failures: u64,
}

/// Serves until told to stop, then until those who are connected have left.
pub(crate) async fn serve<P: Pointer>(
    listener: TcpListener,
    mut stop: oneshot::Receiver<()>,
) -> io::Result<Served> {
    let mut connections = JoinSet::new();
    let mut served = Served::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.spawn(connection::<P>(accepted?.0));
                served.connections += 1;
            }
            Some(ended) = connections.join_next() => served.add(ended?),
            _ = &mut stop => break,
        }
    }
    while let Some(ended) = connections.join_next().await {
        served.add(ended?);
    }
    Ok(served)
}

impl Served {
    /// How a connection ended, and its messages.
    fn add(&mut self, (messages, end): (u64, io::Result<()>)) {
        self.messages += messages;
        self.failures += u64::from(end.is_err());
    }
}

/// Until the client stops sending and has got all answers.
async fn connection<P: Pointer>(stream: TcpStream) -> (u64, io::Result<()>) {
    if let Err(error) = stream.set_nodelay(true) {
        return (0, Err(error));
    }
    let (input, output) = stream.into_split();
    let (to_service, requests) = mpsc::channel::<P>(QUEUE);
    let (to_writer, answers) = mpsc::channel(QUEUE);
    let service = tokio::spawn(service(requests, to_writer));
    let writer = tokio::spawn(write_all(output, answers));
    let read = read_all(input, to_service).await;
    let messages = service.await.expect("the service does not panic");
    let written = writer.await.expect("the writer does not panic");
    (messages, read.and(written))
}

async fn read_all<P: Pointer>(input: OwnedReadHalf, to_service: mpsc::Sender<P>) -> io::Result<()> {
    let mut input = BufReader::new(input);
    while let Some(request) = read_request(&mut input).await? {
        if to_service.send(request).await.is_err() {
            break; // the writer has failed, and says why
        }
    }
    Ok(())
}

/// The next message; none when the client stops between two.
async fn read_request<P: Pointer>(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<P>> {
    let mut prefix = [0; 2];
    if input.read(&mut prefix[..1]).await? == 0 {
        return Ok(None);
    }
    input.read_exact(&mut prefix[1..]).await?;
    let len = u16::from_be_bytes(prefix);
    let mut request = P::new(Request {
        len,
        bytes: [0; MOST_BYTES],
    });
    let bytes = request.bytes.get_mut(..usize::from(len));
    match bytes.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => input.read_exact(bytes).await?,
        None => return Err(io::Error::other("a message of a wrong length")),
    };
    Ok(Some(request))
}

/// Where a real server would do its work. Says how many messages there were.
async fn service<P: Pointer>(mut requests: mpsc::Receiver<P>, to_writer: mpsc::Sender<P>) -> u64 {
    let mut messages = 0;
    while let Some(request) = requests.recv().await {
        messages += 1;
        if to_writer.send(request).await.is_err() {
            break;
        }
    }
    messages
}

async fn write_all<P: Pointer>(
    mut output: OwnedWriteHalf,
    mut answers: mpsc::Receiver<P>,
) -> io::Result<()> {
    while let Some(request) = answers.recv().await {
        let bytes = &request.bytes[..usize::from(request.len)];
        let mut frame = [0; 2 + MOST_BYTES];
        frame[..2].copy_from_slice(&request.len.to_be_bytes());
        frame[2..2 + bytes.len()].copy_from_slice(bytes);
        output.write_all(&frame[..2 + bytes.len()]).await?;
    }
    output.shutdown().await
}
