//! Three small programs, each written once with the name `Box` and compiled twice: as it is, and with `Box` being
//! `PoolBox`. Same text, same output.
//!
//! They avoid two things that only the compiler's own `Box` can do: move out of `*boxed` (use `into_inner`, `take()` or
//! `mem::take`), and coerce to a `Box<dyn Trait>` implicitly (use `coerce!`).

/// Compiles the program in `mod std_box` and in `mod pool_box`.
macro_rules! with_either_box {
    ($($program:tt)*) => {
        mod std_box {
            // Without the coercion that the compiler does for `Box` alone, spelt the same for both.
            macro_rules! coerce {
                ($boxed:expr => $Object:ty) => {{
                    let coerced: std::pin::Pin<Box<$Object>> = $boxed;
                    coerced
                }};
            }
            $($program)*
        }
        mod pool_box {
            use segment_pool::{PoolBox as Box, coerce};
            $($program)*
        }
    };
}

with_either_box! {
    /// A binary search tree of boxes.
    pub(crate) mod tree {
        #[allow(unused_imports)] // the prelude has std's `Box`
        use super::*;
        use std::cmp::Ordering;
        use std::fmt::Write;

        #[derive(Clone, Debug, Default, PartialEq)]
        struct Tree {
            root: Option<Box<Node>>,
        }

        #[derive(Clone, Debug, PartialEq)]
        struct Node {
            key: u32,
            left: Option<Box<Node>>,
            right: Option<Box<Node>>,
        }

        impl Tree {
            fn insert(&mut self, key: u32) -> bool {
                let mut place = &mut self.root;
                while let Some(node) = place {
                    place = match key.cmp(&node.key) {
                        Ordering::Less => &mut node.left,
                        Ordering::Greater => &mut node.right,
                        Ordering::Equal => return false,
                    };
                }
                *place = Some(Box::new(Node { key, left: None, right: None }));
                true
            }

            fn remove_least(&mut self) -> Option<u32> {
                let mut place = &mut self.root;
                while place.as_ref()?.left.is_some() {
                    place = &mut place.as_mut()?.left;
                }
                let mut least = place.take()?;
                *place = least.right.take();
                Some(least.key)
            }
        }

        fn walk(node: &Option<Box<Node>>, visit: &mut dyn FnMut(u32)) {
            if let Some(node) = node {
                walk(&node.left, visit);
                visit(node.key);
                walk(&node.right, visit);
            }
        }

        pub(crate) fn run() -> String {
            let mut tree = Tree::default();
            let mut output = String::new();
            for i in 0..100 {
                tree.insert(i * 37 % 64);
            }
            let copy = tree.clone();
            while let Some(key) = tree.remove_least() {
                write!(output, "{key} ").unwrap();
            }
            walk(&copy.root, &mut |key| write!(output, "{key},").unwrap());
            writeln!(output, "{}", copy == tree).unwrap();
            writeln!(output, "{:?}", copy.root.map(|mut root| (root.key, root.left.take()))).unwrap();
            output
        }
    }

    /// A linked list that is pushed, popped, reversed, merged and sorted, by taking nodes out and putting them in.
    pub(crate) mod list {
        #[allow(unused_imports)] // the prelude has std's `Box`
        use super::*;
        use std::fmt::{self, Display};

        type Link<T> = Option<Box<Node<T>>>;

        struct Node<T> {
            value: T,
            next: Link<T>,
        }

        struct List<T> {
            head: Link<T>,
        }

        impl<T: Ord + Default> List<T> {
            fn push(&mut self, value: T) {
                let next = self.head.take();
                self.head = Some(Box::new(Node { value, next }));
            }

            fn pop(&mut self) -> Option<T> {
                self.head.take().map(|mut node| {
                    self.head = node.next.take();
                    std::mem::take(&mut node.value)
                })
            }

            fn reverse(&mut self) {
                let mut reversed = None;
                let mut rest = self.head.take();
                while let Some(mut node) = rest {
                    rest = std::mem::replace(&mut node.next, reversed);
                    reversed = Some(node);
                }
                self.head = reversed;
            }

            fn sort(&mut self) {
                let mut sorted: Link<T> = None;
                while let Some(mut node) = self.head.take() {
                    self.head = node.next.take();
                    let mut place = &mut sorted;
                    while place.as_ref().is_some_and(|other| other.value < node.value) {
                        place = &mut place.as_mut().unwrap().next;
                    }
                    node.next = place.take();
                    *place = Some(node);
                }
                self.head = sorted;
            }

            fn iter(&self) -> impl Iterator<Item = &T> {
                let mut next = self.head.as_deref();
                std::iter::from_fn(move || {
                    let node = next?;
                    next = node.next.as_deref();
                    Some(&node.value)
                })
            }
        }

        impl<T> Drop for List<T> {
            fn drop(&mut self) {
                let mut next = self.head.take();
                while let Some(mut node) = next {
                    next = node.next.take();
                }
            }
        }

        impl<T: Ord + Default + Display> Display for List<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.iter().try_for_each(|value| write!(f, "{value} -> "))?;
                writeln!(f, "end")
            }
        }

        pub(crate) fn run() -> String {
            let mut list = List { head: None };
            let mut output = String::new();
            for word in "the quick brown fox jumps over the lazy dog".split(' ') {
                list.push(word.to_owned());
            }
            output += &list.to_string();
            list.reverse();
            output += &list.to_string();
            list.sort();
            output += &list.to_string();
            output += &list.pop().unwrap();
            for i in 0..100_000 {
                list.push(i.to_string());
            }
            output + &list.iter().count().to_string()
        }
    }

    /// A list of tasks on tokio, some of which make others.
    pub(crate) mod tasks {
        #[allow(unused_imports)] // the prelude has std's `Box`
        use super::*;
        use std::future::Future;
        use std::pin::Pin;

        type Task = Pin<Box<dyn Future<Output = Vec<u32>> + Send>>;

        fn countdown(from: u32) -> Task {
            coerce!(Box::pin(async move {
                tokio::task::yield_now().await;
                let mut counted = vec![from];
                if from > 0 {
                    counted.extend(countdown(from - 1).await);
                }
                counted
            }) => dyn Future<Output = Vec<u32>> + Send)
        }

        fn sum(tasks: Vec<Task>) -> Task {
            coerce!(Box::pin(async move {
                let mut sums = Vec::new();
                for task in tasks {
                    sums.push(tokio::spawn(task).await.unwrap().iter().sum());
                }
                sums
            }) => dyn Future<Output = Vec<u32>> + Send)
        }

        pub(crate) fn run() -> String {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let tasks: Vec<Task> = (0..20).map(countdown).collect();
                let nested = sum(vec![sum(tasks), countdown(3)]);
                let mut spawned: Vec<_> = (0..3).map(countdown).map(tokio::spawn).collect();
                spawned.push(tokio::spawn(nested));
                let mut output = String::new();
                for handle in spawned {
                    output += &format!("{:?}\n", handle.await.unwrap());
                }
                output
            })
        }
    }
}

#[test]
fn a_binary_tree() {
    let output = pool_box::tree::run();
    assert_eq!(output, std_box::tree::run());
    assert!(output.starts_with("0 1 2 3 "));
}

#[test]
fn a_linked_list() {
    let output = pool_box::list::run();
    assert_eq!(output, std_box::list::run());
    assert!(output.starts_with("dog -> lazy -> "));
}

#[test]
fn a_list_of_tasks() {
    let output = pool_box::tasks::run();
    assert_eq!(output, std_box::tasks::run());
    assert!(output.ends_with("[1330, 6]\n"), "{output}");
}
