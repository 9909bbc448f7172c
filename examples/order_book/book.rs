//! The book: price levels, each a queue of orders in the order in which they came.
//!
//! An order lies in a `PoolBox` that the index of all orders owns, and is linked with its neighbours in the queue by
//! plain pointers. So any order is found by its number and leaves its queue in a few steps, wherever it stands.
//!
//! ```text
//! orders (by number)     7: box    3: box    9: box
//!                             |         |         |
//!                             v         v         v
//! level 10.05   first --> order 3 <-> order 7 <-> order 9 <-- last
//! ```
//!
//! Why this is sound: boxes in a map move when the map grows, and a `PoolBox`, unlike a `Box`, promises that pointers to
//! its value stay usable then. Orders are only ever reached through shared references; what changes is in cells.
//! **What always holds: a linked order's box is in `orders`.** An order is unlinked before its box is dropped.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::ptr::NonNull;

use segment_pool::{PoolBox, SegmentPool};

/// The orders of all books lie together, and can be counted.
pub(crate) static ORDERS: SegmentPool<Order> = SegmentPool::new();

/// In hundredths.
pub(crate) type Price = u64;
type Link = Option<NonNull<Order>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Buy,
    Sell,
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) id: u64,
    pub(crate) side: Side,
    pub(crate) price: Price,
    pub(crate) quantity: u64,
}

/// A wish that waits in the book.
#[derive(Debug)]
pub(crate) struct Order {
    /// Its quantity is what was asked for at first.
    wish: Wish,
    rest: Cell<u64>,
    before: Cell<Link>,
    behind: Cell<Link>,
}

/// `taker` came, `maker` had waited, at the price of the one who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trade {
    pub(crate) taker: u64,
    pub(crate) maker: u64,
    pub(crate) price: Price,
    pub(crate) quantity: u64,
}

/// The orders of one side and price, the oldest first.
#[derive(Debug, Default)]
struct Level {
    first: Cell<Link>,
    last: Cell<Link>,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    orders: HashMap<u64, PoolBox<Order>>,
    buyers: BTreeMap<Price, Level>,
    sellers: BTreeMap<Price, Level>,
}

impl Book {
    /// Trades with those who wait, best price first, then oldest first; what is left waits.
    ///
    /// # Panics
    ///
    /// If the number is in the book already.
    pub(crate) fn submit(&mut self, wish: Wish) -> Vec<Trade> {
        assert!(!self.contains(wish.id), "order {} is new", wish.id);
        let mut trades = Vec::new();
        let mut rest = wish.quantity;
        while let Some(maker) = self.best_match(&wish).filter(|_| rest > 0) {
            let quantity = rest.min(maker.rest.get());
            trades.push(Trade {
                taker: wish.id,
                maker: maker.wish.id,
                price: maker.wish.price,
                quantity,
            });
            rest -= quantity;
            maker.rest.set(maker.rest.get() - quantity);
            if maker.rest.get() == 0 {
                let id = maker.wish.id;
                self.remove(id);
            }
        }
        if rest > 0 {
            self.wait(wish, rest);
        }
        trades
    }

    /// Takes an order out; what was left of it, or nothing if it is not in the book.
    pub(crate) fn remove(&mut self, id: u64) -> Option<u64> {
        let order = self.orders.remove(&id)?;
        let Wish { side, price, .. } = order.wish;
        let level = &self.side(side)[&price];
        level.unlink(&order);
        if level.first.get().is_none() {
            self.side_mut(side).remove(&price);
        }
        Some(order.rest.get())
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.orders.contains_key(&id)
    }

    /// What waits on a side, in the order in which it would trade: each wish with what is left of it.
    pub(crate) fn waiting(&self, side: Side) -> Vec<(Wish, u64)> {
        let levels: Box<dyn Iterator<Item = &Level>> = match side {
            Side::Buy => Box::new(self.buyers.values().rev()),
            Side::Sell => Box::new(self.sellers.values()),
        };
        levels
            .flat_map(Level::iter)
            .map(|order| (order.wish, order.rest.get()))
            .collect()
    }

    /// The order that a wish trades with next.
    fn best_match(&self, wish: &Wish) -> Option<&Order> {
        let (_, level) = match wish.side {
            Side::Buy => self.sellers.range(..=wish.price).next(),
            Side::Sell => self.buyers.range(wish.price..).next_back(),
        }?;
        level.iter().next()
    }

    fn wait(&mut self, wish: Wish, rest: u64) {
        let mut order = ORDERS.alloc(Order {
            wish,
            rest: Cell::new(rest),
            before: Cell::new(None),
            behind: Cell::new(None),
        });
        let link = NonNull::new(PoolBox::as_mut_ptr(&mut order));
        let level = self.side_mut(wish.side).entry(wish.price).or_default();
        level.link_last(&order, link);
        self.orders.insert(wish.id, order);
    }

    fn side(&self, side: Side) -> &BTreeMap<Price, Level> {
        match side {
            Side::Buy => &self.buyers,
            Side::Sell => &self.sellers,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Level> {
        match side {
            Side::Buy => &mut self.buyers,
            Side::Sell => &mut self.sellers,
        }
    }
}

impl Level {
    /// `link` points to the order.
    fn link_last(&self, order: &Order, link: Link) {
        let before = self.last.replace(link);
        order.before.set(before);
        match self.order(before) {
            Some(before) => before.behind.set(link),
            None => self.first.set(link),
        }
    }

    fn unlink(&self, order: &Order) {
        let (before, behind) = (order.before.take(), order.behind.take());
        match self.order(before) {
            Some(order) => order.behind.set(behind),
            None => self.first.set(behind),
        }
        match self.order(behind) {
            Some(order) => order.before.set(before),
            None => self.last.set(before),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Order> {
        iter::successors(self.order(self.first.get()), |order| {
            self.order(order.behind.get())
        })
    }

    /// Follows a link of this level.
    fn order(&self, link: Link) -> Option<&Order> {
        // SAFETY: a linked order's box is in `orders`, which nobody changes while the level is borrowed but `remove`,
        // and that unlinks what it took out before it drops it. No mutable reference to an order is ever made.
        link.map(|order| unsafe { order.as_ref() })
    }
}
