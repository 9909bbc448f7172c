//! The bugs of `bugs.txt`, and how one is planted.

use std::ops::Range;

/// A bug, behind a switch.
#[derive(Debug)]
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    pub(crate) changes: Vec<Change>,
}

/// A part of a bug.
#[derive(Debug)]
pub(crate) struct Change {
    bug: &'static str,
    pub(crate) file: &'static str,
    old: Vec<&'static str>,
    new: Vec<&'static str>,
}

/// All of them.
pub(crate) fn bugs() -> Vec<Bug> {
    parse(include_str!("bugs.txt"))
}

fn parse(text: &'static str) -> Vec<Bug> {
    let (_, text) = text.split_once("\n\n").expect("a text above the bugs");
    let mut bugs: Vec<Bug> = Vec::new();
    for line in text.lines() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mark == "#" {
            let (name, changes) = (rest, Vec::new());
            bugs.push(Bug { name, changes });
            continue;
        }
        let Some(bug) = bugs.last_mut() else { continue };
        match mark {
            "in" => bug.changes.push(Change::new(bug.name, rest)),
            "-" => bug.changes.last_mut().unwrap().old.push(rest.trim()),
            "+" => bug.changes.last_mut().unwrap().new.push(rest.trim()),
            _ => assert!(matches!(mark, "" | "=="), "bugs.txt: {line}"),
        }
    }
    bugs
}

impl Change {
    fn new(bug: &'static str, file: &'static str) -> Self {
        let (old, new) = (Vec::new(), Vec::new());
        Self {
            bug,
            file,
            old,
            new,
        }
    }

    /// The text with the change in it, behind its switch; or why there is no such text.
    pub(crate) fn plant(&self, text: &str) -> Result<String, String> {
        let Self { bug, file, .. } = self;
        let found: Vec<_> = text
            .match_indices(self.old[0])
            .filter_map(|(start, _)| self.found_at(text, start))
            .collect();
        let [place] = found.as_slice() else {
            let old = self.old.join("\n");
            let times = found.len();
            return Err(format!("{bug}: {file} has {times} times\n{old}"));
        };
        let switch = format!("crate::ground::sync::mutants::on({bug:?})");
        let new = self.new.join("\n").replace("PLANTED", &switch);
        Ok([&text[..place.start], &new, &text[place.end..]].concat())
    }

    fn found_at(&self, text: &str, start: usize) -> Option<Range<usize>> {
        let mut rest = text[start..].strip_prefix(self.old[0])?;
        for line in &self.old[1..] {
            rest = rest.strip_prefix('\n')?.trim_start_matches(' ');
            rest = rest.strip_prefix(line)?;
        }
        Some(start..text.len() - rest.len())
    }
}

#[test]
fn a_bug_is_planted_where_it_is_meant() {
    let bugs =
        parse("Words.\n\n== A part\n\n# a name\nin x.rs\n- a(1);\n- b\n+ if PLANTED { c }\n+ b\n");
    let planted = bugs[0].changes[0].plant("a(1);\nc;\n    a(1);\n    b(2);\n");
    let switch = "crate::ground::sync::mutants::on(\"a name\")";
    assert_eq!(
        planted.unwrap(),
        format!("a(1);\nc;\n    if {switch} {{ c }}\nb(2);\n")
    );
}
