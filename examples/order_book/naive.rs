//! A book that looks at every order for every trade, and the tests that compare the real one with it.

use proptest::prelude::*;

use crate::book::{Book, Side, Trade, Wish};
use crate::text::Command;

/// Orders in the order in which they came, each with what is left of it.
#[derive(Default)]
struct Naive(Vec<(Wish, u64)>);

impl Naive {
    fn submit(&mut self, wish: Wish) -> Vec<Trade> {
        let mut trades = Vec::new();
        let mut rest = wish.quantity;
        while rest > 0 {
            let Some(&(maker, left)) = self.waiting(other(wish.side)).first() else {
                break;
            };
            if !agree(&wish, &maker) {
                break;
            }
            let quantity = rest.min(left);
            rest -= quantity;
            trades.push(Trade {
                taker: wish.id,
                maker: maker.id,
                price: maker.price,
                quantity,
            });
            let place = self.0.iter().position(|(o, _)| o.id == maker.id).unwrap();
            self.0[place].1 -= quantity;
            self.0.retain(|&(_, left)| left > 0);
        }
        if rest > 0 {
            self.0.push((wish, rest));
        }
        trades
    }

    fn remove(&mut self, id: u64) -> Option<u64> {
        let place = self.0.iter().position(|(order, _)| order.id == id)?;
        Some(self.0.remove(place).1)
    }

    fn waiting(&self, side: Side) -> Vec<(Wish, u64)> {
        let orders = self.0.iter().filter(|(order, _)| order.side == side);
        let mut orders: Vec<_> = orders.copied().collect();
        // Stable: equal prices stay in the order in which they came.
        orders.sort_by_key(|(order, _)| match side {
            Side::Buy => u64::MAX - order.price,
            Side::Sell => order.price,
        });
        orders
    }
}

fn other(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    }
}

fn agree(taker: &Wish, maker: &Wish) -> bool {
    match taker.side {
        Side::Buy => maker.price <= taker.price,
        Side::Sell => maker.price >= taker.price,
    }
}

/// Commands that meet often: few prices, few pieces, and cancels of orders that were submitted, if not filled since.
fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command = (0..10, 90..110_u64, 1..20_u64, any::<prop::sample::Index>());
    prop::collection::vec(command, 0..300).prop_map(|commands| {
        let numbered = commands.into_iter().zip(0..);
        numbered
            .map(|((kind, price, quantity, victim), id)| {
                let side = match kind {
                    0..4 => Side::Buy,
                    4..8 => Side::Sell,
                    _ => return Command::Cancel(victim.index(id as usize + 1) as u64),
                };
                Command::Submit(Wish {
                    id,
                    side,
                    price,
                    quantity,
                })
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_book_does_what_the_naive_one_does(commands in commands()) {
        let (mut book, mut naive) = (Book::default(), Naive::default());
        for command in commands {
            match command {
                Command::Submit(wish) => prop_assert_eq!(book.submit(wish), naive.submit(wish)),
                Command::Cancel(id) => prop_assert_eq!(book.remove(id), naive.remove(id)),
            }
            for side in [Side::Buy, Side::Sell] {
                prop_assert_eq!(book.waiting(side), naive.waiting(side));
            }
        }
    }
}

#[test]
fn orders_leave_a_level_from_anywhere() {
    for leaving in 0..3 {
        let mut book = Book::default();
        let wish = |id| Wish {
            id,
            side: Side::Sell,
            price: 100,
            quantity: 5,
        };
        for id in 0..3 {
            book.submit(wish(id));
        }
        assert_eq!(book.remove(leaving), Some(5));
        assert_eq!(book.remove(leaving), None);
        book.submit(wish(3));
        let ids: Vec<_> = book.waiting(Side::Sell).iter().map(|o| o.0.id).collect();
        let expected: Vec<_> = (0..4).filter(|&id| id != leaving).collect();
        assert_eq!(ids, expected);
    }
}
