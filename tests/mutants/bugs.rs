//! Bugs to plant in the copy, each with the text that it replaces.

/// A bug, behind a switch.
#[derive(Debug)]
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    changes: &'static [(&'static str, &'static str, &'static str)],
}

/// A part of a bug.
#[derive(Debug)]
pub(crate) struct Change {
    name: &'static str,
    pub(crate) file: &'static str,
    old: &'static str,
    new: &'static str,
}

impl Bug {
    pub(crate) fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        self.changes.iter().map(|&(file, old, new)| Change {
            name: self.name,
            file,
            old,
            new,
        })
    }
}

impl Change {
    pub(crate) fn plant(&self, text: &str) -> String {
        let Self {
            name,
            file,
            old,
            new,
        } = self;
        let found = text.matches(old).count();
        assert_eq!(
            found, 1,
            "{name}: this is to be replaced in {file}, once:\n{old}"
        );
        text.replace(
            old,
            &new.replace("ON", &format!("crate::sync::mutants::on({name:?})")),
        )
    }
}

/// In each new text `ON` is the switch.
pub(crate) const BUGS: &[Bug] = &[];
