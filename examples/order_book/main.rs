//! An order book with priority by price, then by time: orders in `PoolBox`es, linked with each other by plain pointers.
//!
//! ```sh
//! cargo run --release --bin order_book examples/order_book/sample.txt
//! ```
//!
//! `main.rs` is the command line and the report, `text.rs` the input format, `book.rs` the book itself, and
//! `naive.rs` a book so simple that it must be right, which the tests compare with.

mod book;
#[cfg(test)]
mod naive;
mod text;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use book::{Book, ORDERS, Side, Trade};
use text::{Command, Money};

const HELP: &str = "\
Matches orders by price, then by time, and prints the trades and the orders left.

Usage: order_book [FILE]

  FILE      the orders; without one, or for `-`, they are read from stdin
  --help    this text

A line of input is one of
  buy ID QUANTITY @ PRICE
  sell ID QUANTITY @ PRICE
  cancel ID
Numbers are whole, prices have up to two decimals, no two orders have the same ID. What follows a # is skipped.
Input with a bad line is refused as a whole.
";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    if arguments
        .iter()
        .any(|word| word == "-h" || word == "--help")
    {
        return print(|out| out.write_all(HELP.as_bytes()));
    }
    match read(&arguments).and_then(|text| text::parse(&text)) {
        Ok(commands) => print(|out| run(out, &commands)),
        Err(problem) => {
            eprintln!("order_book: {problem}; --help says what is possible");
            ExitCode::from(2)
        }
    }
}

fn read(arguments: &[OsString]) -> Result<String, String> {
    match arguments {
        [] => read_stdin(),
        [file] if file == "-" => read_stdin(),
        [file] => fs::read_to_string(file)
            .map_err(|error| format!("{}: {error}", Path::new(file).display())),
        _ => Err("one file at most".to_string()),
    }
}

fn read_stdin() -> Result<String, String> {
    let mut text = String::new();
    match io::stdin().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("stdin: {error}")),
    }
}

fn run(out: &mut dyn Write, commands: &[Command]) -> io::Result<()> {
    let mut book = Book::default();
    for command in commands {
        match *command {
            Command::Submit(wish) => print_trades(out, &book.submit(wish))?,
            Command::Cancel(id) => match book.remove(id) {
                Some(rest) => writeln!(out, "cancelled {id}: {rest} were left")?,
                None => writeln!(out, "cannot cancel {id}: not in the book")?,
            },
        }
    }
    print_book(out, &book)?;
    print_pool(out, book)
}

fn print_trades(out: &mut dyn Write, trades: &[Trade]) -> io::Result<()> {
    for Trade {
        taker,
        maker,
        price,
        quantity,
    } in trades
    {
        let price = Money(*price);
        writeln!(out, "trade: {quantity} @ {price}, {taker} with {maker}")?;
    }
    Ok(())
}

/// The dearest first, as books are drawn: sellers above, buyers below.
fn print_book(out: &mut dyn Write, book: &Book) -> io::Result<()> {
    writeln!(out, "\nside     price  quantity  order")?;
    let sellers = book.waiting(Side::Sell).into_iter().rev();
    for (wish, rest) in sellers.chain(book.waiting(Side::Buy)) {
        let side = match wish.side {
            Side::Buy => "buy",
            Side::Sell => "sell",
        };
        writeln!(
            out,
            "{side:<4}{:>10}{rest:>10}  {}",
            Money(wish.price),
            wish.id
        )?;
    }
    Ok(())
}

/// The pool before and after the book is dropped.
fn print_pool(out: &mut dyn Write, book: Book) -> io::Result<()> {
    let waiting = ORDERS.stats().live();
    drop(book);
    let stats = ORDERS.stats();
    let (made, left) = (stats.allocations, stats.live());
    writeln!(
        out,
        "\npool: {made} orders had to wait, {waiting} at the end, {left} when the book was dropped"
    )
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> ExitCode {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("order_book: stdout: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
