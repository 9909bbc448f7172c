//! The load: clients that send, wait for what comes back, and note how long that took.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Messages of a client under way at once.
const WINDOW: usize = 16;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    /// Of each client.
    pub(crate) messages: usize,
    /// Of each message.
    pub(crate) bytes: usize,
}

/// Runs all clients to their end; the latencies of all messages, in nanoseconds.
pub(crate) async fn run(load: Load, server: SocketAddr) -> io::Result<Vec<u64>> {
    let mut clients = JoinSet::new();
    for client in 0..load.clients {
        clients.spawn(run_client(load, server, client));
    }
    let mut latencies = Vec::with_capacity(load.clients * load.messages);
    while let Some(ended) = clients.join_next().await {
        latencies.extend(ended??);
    }
    Ok(latencies)
}

async fn run_client(load: Load, server: SocketAddr, client: usize) -> io::Result<Vec<u64>> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (input, output) = stream.into_split();
    let (sent, times) = mpsc::channel(WINDOW);
    let sender = tokio::spawn(send(load, client, output, sent));
    let latencies = receive(load, client, input, times).await?;
    sender.await??;
    Ok(latencies)
}

/// The channel holds the times of what is under way: when it is full, the sender waits.
async fn send(
    load: Load,
    client: usize,
    mut output: OwnedWriteHalf,
    sent: mpsc::Sender<Instant>,
) -> io::Result<()> {
    let mut frame = vec![0; 2 + load.bytes];
    frame[..2].copy_from_slice(&(load.bytes as u16).to_be_bytes());
    for number in 0..load.messages {
        frame[2..].fill(mark(client, number));
        if sent.send(Instant::now()).await.is_err() {
            break; // the receiver has failed and says why
        }
        output.write_all(&frame).await?;
    }
    output.shutdown().await
}

async fn receive(
    load: Load,
    client: usize,
    input: OwnedReadHalf,
    mut times: mpsc::Receiver<Instant>,
) -> io::Result<Vec<u64>> {
    let mut input = BufReader::new(input);
    let mut frame = vec![0; 2 + load.bytes];
    let mut latencies = Vec::with_capacity(load.messages);
    while let Some(start) = times.recv().await {
        input.read_exact(&mut frame).await?;
        latencies.push(start.elapsed().as_nanos() as u64);
        let expected = mark(client, latencies.len() - 1);
        if frame[2..].iter().any(|&byte| byte != expected) {
            return Err(io::Error::other("what came back is not what was sent"));
        }
    }
    Ok(latencies)
}

/// What a message is filled with: neighbours differ, and so do clients.
fn mark(client: usize, number: usize) -> u8 {
    (client * 31 + number) as u8
}
