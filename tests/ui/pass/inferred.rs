//! Types are inferred as for `Box`; generic code may ask for what a box is.

use std::error::Error;

use segment_pool::{PoolBox, SegmentPool, coerce};

struct Tree(Option<PoolBox<Tree>>);

fn cloned<T: Clone>(boxed: &PoolBox<T>) -> PoolBox<T> {
    boxed.clone()
}

fn owner(value: impl AsRef<str>) -> usize {
    value.as_ref().len()
}

fn fails() -> Result<(), PoolBox<dyn Error + Send + Sync>> {
    let _: u8 = "256".parse()?;
    Ok(())
}

fn objects<'a>(text: &'a str) -> Vec<PoolBox<dyn Fn() -> usize + 'a>> {
    vec![coerce!(PoolBox::new(move || text.len()) => dyn Fn() -> usize + 'a)]
}

fn main() {
    let tree = Tree(Some(PoolBox::new(Tree(None))));
    assert!(tree.0.is_some_and(|node| node.0.is_none()));
    let mut number = PoolBox::new(7);
    *number += 1_u64;
    assert_eq!(cloned(&number), number);
    assert_eq!(owner(PoolBox::<str>::from("seven")), 5);
    assert!(fails().is_err());
    assert_eq!(objects("seven")[0](), 5);
    static POOL: SegmentPool<u8> = SegmentPool::new();
    let slot = PoolBox::new_uninit_in(&POOL);
    assert_eq!(*PoolBox::write(slot, 7), 7);
    let words: PoolBox<[_]> = "a b".split(' ').collect();
    for word in &words {
        assert_eq!(word.len(), 1);
    }
}
