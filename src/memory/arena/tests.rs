use core::ptr;

use super::{Arenas, Entry};
use crate::ground::sync::Ordering;

impl Arenas {
    /// Forgets all arenas and the blocks added to the tables. For a process in which no other thread uses any
    /// of them.
    pub(crate) fn start_anew(&self) {
        // Relaxed (all): no other thread runs.
        for table in [&self.small, &self.medium, &self.large] {
            table.idle.store(0, Ordering::Relaxed);
            table.retention.start_anew();
            table.first.next.store(ptr::null_mut(), Ordering::Relaxed);
            for Entry {
                alive: _,
                free,
                dirty,
                base,
                pins,
            } in &table.first.entries
            {
                free.store(0, Ordering::Relaxed);
                dirty.store(0, Ordering::Relaxed);
                base.store(ptr::null_mut(), Ordering::Relaxed);
                pins.start_anew();
            }
        }
    }
}
