//! The text format, a command a line: read whole, so that a bad line is found before anything is done.
//!
//! ```text
//! buy 1 100 @ 99.50       order 1 wants 100 pieces for at most 99.50 each
//! sell 2 40 @ 99.25       order 2 has 40 and wants at least 99.25 each
//! cancel 1                order 1 leaves the book
//! # text                  is skipped, as empty lines are
//! ```

use std::collections::HashSet;
use std::fmt;

use crate::book::{Price, Side, Wish};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Submit(Wish),
    Cancel(u64),
}

/// A price as people write it.
pub(crate) struct Money(pub(crate) Price);

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:02}", self.0 / 100, self.0 % 100);
        f.pad(&text)
    }
}

/// All commands, or the first line that makes no sense, and why.
pub(crate) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let mut ids = HashSet::new();
    let mut commands = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let command = parse_line(line)
            .and_then(|command| is_new(command, &mut ids))
            .map_err(|problem| format!("line {}: {problem}", index + 1))?;
        commands.push(command);
    }
    Ok(commands)
}

/// No two orders have the same number.
fn is_new(command: Command, ids: &mut HashSet<u64>) -> Result<Command, String> {
    match command {
        Command::Submit(Wish { id, .. }) if !ids.insert(id) => {
            Err(format!("there was an order {id} before"))
        }
        _ => Ok(command),
    }
}

fn parse_line(line: &str) -> Result<Command, String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["cancel", id] => Ok(Command::Cancel(parse_number(id)?)),
        ["buy", id, quantity, "@", price] => submit(Side::Buy, id, quantity, price),
        ["sell", id, quantity, "@", price] => submit(Side::Sell, id, quantity, price),
        _ => Err(format!(
            "{line:?} is neither `buy ID QUANTITY @ PRICE`, `sell ID QUANTITY @ PRICE` nor `cancel ID`"
        )),
    }
}

fn submit(side: Side, id: &str, quantity: &str, price: &str) -> Result<Command, String> {
    let wish = Wish {
        id: parse_number(id)?,
        side,
        price: parse_price(price)?,
        quantity: parse_number(quantity)?,
    };
    if wish.quantity == 0 {
        return Err("an order for nothing".to_string());
    }
    Ok(Command::Submit(wish))
}

fn parse_number(word: &str) -> Result<u64, String> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| format!("{word:?} is no number from 0 to {}", u64::MAX))
}

/// `12`, `12.3` or `12.34`, in hundredths.
fn parse_price(word: &str) -> Result<Price, String> {
    let problem = || format!("{word:?} is no price such as 99.50");
    let (whole, hundredths) = word.split_once('.').unwrap_or((word, "0"));
    if !(1..=2).contains(&hundredths.len()) {
        return Err(problem());
    }
    let whole = parse_number(whole).map_err(|_| problem())?;
    let hundredths = parse_number(&format!("{hundredths:0<2}")).map_err(|_| problem())?;
    whole
        .checked_mul(100)
        .and_then(|price| price.checked_add(hundredths))
        .ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_prices_and_comments_are_read() {
        let text = "# start\n\nbuy 1 100 @ 99.5\r\n  sell 2 40 @ 7 # all\ncancel 1\nbuy 3 1 @ 0.05";
        let wish = |id, side, price, quantity| {
            Command::Submit(Wish {
                id,
                side,
                price,
                quantity,
            })
        };
        let expected = [
            wish(1, Side::Buy, 9950, 100),
            wish(2, Side::Sell, 700, 40),
            Command::Cancel(1),
            wish(3, Side::Buy, 5, 1),
        ];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_bad_line_is_named() {
        for bad in [
            "buy 1 100 99.50",
            "buy one 100 @ 1",
            "buy 1 -5 @ 1",
            "buy 1 +5 @ 1",
            "buy 1 0 @ 1",
            "buy 1 5 @ 1.234",
            "buy 1 5 @ 1.",
            "buy 1 5 @ .5",
            "buy 1 5 @ 1.x",
            "buy 1 5 @ 18446744073709551615",
            "buy 99999999999999999999 5 @ 1",
            "cancel",
            "cancel x",
            "hold 1",
        ] {
            let problem = parse(&format!("cancel 4\n{bad}")).unwrap_err();
            assert!(problem.starts_with("line 2: "), "{bad}: {problem}");
        }
        let twice = parse("buy 1 1 @ 1\n\nsell 1 1 @ 1").unwrap_err();
        assert_eq!(twice, "line 3: there was an order 1 before");
    }

    #[test]
    fn money_is_written_as_it_is_read() {
        for price in [0, 5, 50, 100, 9950, u64::MAX] {
            assert_eq!(parse_price(&Money(price).to_string()), Ok(price));
        }
    }
}
