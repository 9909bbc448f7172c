//! Finds the orderings of the sources and makes each a switch.

/// The orderings that may go without a model's notice: (file, where and what, why no model can see it).
///
/// One that is seen after all, or is not in the sources any more, fails, too.
pub(crate) const UNSEEN: &[(&str, &str, &str)] = &[
    ("heap/permits.rs", "Permits::release: Acquire", ONE_ORDER),
    ("heap/permits.rs", "Permits::announce: Release", ONE_ORDER),
    ("heap/permits.rs", "Permits::set_bound: Acquire", ONE_ORDER),
];

/// Who sees WAITED must find the queue's lock as it is after that. Loom has all read-modify-writes, of different words too, happen one
/// after the other.
const ONE_ORDER: &str = "loom has one order for the read-modify-writes of all words";

/// An ordering that can be weakened.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// Function and what is taken away, as in `PendingList::push: Acquire`.
    pub(crate) what: String,
}

impl Site {
    /// Of the switch.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.file, self.what)
    }

    pub(crate) fn unseen(&self) -> Option<&'static str> {
        let mut all = UNSEEN.iter();
        all.find(|(file, what, _)| *file == self.file && *what == self.what)
            .map(|(.., reason)| *reason)
    }
}

/// The text with a switch in the place of every ordering, on the same lines, and the switches.
pub(crate) fn switched(file: &str, text: &str) -> (String, Vec<Site>) {
    let mut sites: Vec<Site> = Vec::new();
    let mut place = Place::default();
    let mut out = String::new();
    for (line, code) in text.lines().enumerate() {
        place.enter(code);
        let is_comment = code.trim_start().starts_with("//");
        let mut rest = code;
        while let Some((order, at)) = (!is_comment).then(|| next_ordering(rest)).flatten() {
            let mut switch = format!("crate::ground::sync::Ordering::{order}");
            for half in ["Acquire", "Release"] {
                if order == "AcqRel" || order == half {
                    let what = format!("{}: {half}", place.name());
                    let same = sites.iter().filter(|site| site.what.starts_with(&what));
                    let what = match same.count() {
                        0 => what,
                        n => format!("{}, {}: {half}", place.name(), n + 1),
                    };
                    let (file, line) = (file.to_owned(), line + 1);
                    sites.push(Site { file, line, what });
                    let name = sites[sites.len() - 1].name();
                    switch = format!("crate::ground::sync::mutants::without({switch}, {name:?})");
                }
            }
            out += &rest[..at];
            out += &switch;
            rest = &rest[at + "Ordering::".len() + order.len()..];
        }
        out += rest;
        out += "\n";
    }
    (out, sites)
}

/// The next ordering that can be weakened, and where it starts.
fn next_ordering(code: &str) -> Option<(&'static str, usize)> {
    let find = |order: &'static str| Some((order, code.find(&format!("Ordering::{order}"))?));
    let found = ["Acquire", "Release", "AcqRel"]
        .into_iter()
        .filter_map(find);
    found.min_by_key(|(_, at)| *at)
}

/// Type and function that a line is in.
#[derive(Default)]
struct Place {
    of: String,
    function: String,
}

impl Place {
    fn enter(&mut self, line: &str) {
        let is_impl = line.starts_with("impl") || line.starts_with("unsafe impl");
        if is_impl {
            self.of = implementer(line);
        } else if line.starts_with('}') {
            self.of.clear();
        }
        let before = |rest: &str| {
            rest.chars()
                .all(|c| c.is_alphanumeric() || "_()# ".contains(c))
        };
        if let Some((start, rest)) = line.split_once("fn ") {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if before(start) && !name.is_empty() {
                self.function = name;
            }
        }
    }

    fn name(&self) -> String {
        if self.of.is_empty() {
            self.function.clone()
        } else {
            format!("{}::{}", self.of, self.function)
        }
    }
}

/// `X` of `impl<A: B> Trait for X<A> {`.
fn implementer(line: &str) -> String {
    let line = line.rsplit(" for ").next().unwrap_or(line);
    let line = line.trim_start_matches("unsafe ");
    let line = match line.strip_prefix("impl<") {
        Some(rest) => rest.split_once("> ").map_or(rest, |(_, rest)| rest),
        None => line.trim_start_matches("impl "),
    };
    line.chars().take_while(|c| c.is_alphanumeric()).collect()
}

#[test]
fn every_ordering_of_a_text_is_found() {
    let text = "\
impl<N: Node> PendingList<N> {
    pub(crate) unsafe fn push(&self) {
        // Ordering::Acquire in words
        self.0.swap(1, Ordering::AcqRel).or(Ordering::Acquire, Ordering::Relaxed)
    }
}
fn free() {
    Ordering::Release
}
";
    let (switched, sites) = switched("x.rs", text);
    let found: Vec<_> = sites
        .iter()
        .map(|site| (site.line, site.what.as_str()))
        .collect();
    let expected = [
        (4, "PendingList::push: Acquire"),
        (4, "PendingList::push: Release"),
        (4, "PendingList::push, 2: Acquire"),
        (8, "free: Release"),
    ];
    assert_eq!(found, expected);
    assert_eq!(switched.lines().count(), text.lines().count());
    assert!(
        switched
            .contains("without(crate::ground::sync::Ordering::Release, \"x.rs free: Release\")")
    );
}
