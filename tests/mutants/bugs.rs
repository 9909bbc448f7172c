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
            &new.replace("PLANTED", &format!("crate::sync::mutants::on({name:?})")),
        )
    }
}

/// In each new text `PLANTED` is the switch.
pub(crate) const BUGS: &[Bug] = &[
    // --- The remote word ---------------------------------------------------------------------------------------------
    Bug {
        name: "push forgets QUEUED",
        changes: &[(
            "remote.rs",
            "u64::from(Offset::to_raw(Some(head))) | QUEUED",
            "u64::from(Offset::to_raw(Some(head))) | if PLANTED { 0 } else { QUEUED }",
        )],
    },
    Bug {
        name: "a joined segment is put in an inbox, too",
        changes: &[(
            "remote.rs",
            "Ok(_) => return Pushed::Joined,",
            "Ok(_) if PLANTED => return Pushed::Queued,\n Ok(_) => return Pushed::Joined,",
        )],
    },
    Bug {
        name: "carrier linked after the push",
        changes: &[
            (
                "remote.rs",
                "link_tail(Offset::from_raw(old as u16));",
                "if !PLANTED { link_tail(Offset::from_raw(old as u16)) }",
            ),
            (
                "remote.rs",
                "Ok(_) if turned_queued_on => return Pushed::Queued,",
                "Ok(_) if { if PLANTED { link_tail(Offset::from_raw(old as u16)) } turned_queued_on } => return Pushed::Queued,",
            ),
        ],
    },
    Bug {
        name: "tail linked to the head of the first attempt",
        changes: &[
            (
                "remote.rs",
                "mut link_tail: impl FnMut(Option<Offset>),\n    ) -> Pushed {",
                "mut link_tail: impl FnMut(Option<Offset>),\n    ) -> Pushed {
                    let mut first = None;
                    let mut link_tail = |next| link_tail(if PLANTED { *first.get_or_insert(next) } else { next });",
            ),
        ],
    },
    Bug {
        name: "a batch counts as one slot",
        changes: &[(
            "remote.rs",
            "((count as u64) << COUNT_SHIFT)",
            "(if PLANTED { 1 } else { count as u64 } << COUNT_SHIFT)",
        )],
    },
    Bug {
        name: "a purge ends without a look at whether it was taken",
        changes: &[(
            "remote.rs",
            "if purge.turned_queued_on || was_taken {",
            "if purge.turned_queued_on || was_taken && !PLANTED {",
        )],
    },
    Bug {
        name: "a purged segment is never queued",
        changes: &[(
            "remote.rs",
            "            Pushed::Queued\n        } else {\n            Pushed::Joined",
            "            if PLANTED { Pushed::Joined } else { Pushed::Queued }\n        } else {\n            Pushed::Joined",
        )],
    },
    Bug {
        name: "a purged segment is always queued",
        changes: &[(
            "remote.rs",
            "        } else {\n            Pushed::Joined",
            "        } else if PLANTED { Pushed::Queued } else {\n            Pushed::Joined",
        )],
    },
    Bug {
        name: "an owner takes a segment that is being purged for purged",
        changes: &[(
            "remote.rs",
            "            Self::Purging\n",
            "            if PLANTED { Self::Purged { batches: 1 } } else { Self::Purging }\n",
        )],
    },
    Bug {
        name: "purged before the push",
        changes: &[(
            "handover.rs",
            "    let purges = |total| completion.purges(total);\n",
            "    let purges = |total| {
                let purges = completion.purges(total);
                if PLANTED && purges { unsafe { segment.purge(os::page_bytes(), os::purge) } }
                purges
            };\n",
        )],
    },
    // --- The inbox ---------------------------------------------------------------------------------------------------
    Bug {
        name: "inbox linked after the push",
        changes: &[
            (
                "remote.rs",
                "unsafe { N::set_inbox_link(node, first(old)) };",
                "if !PLANTED { unsafe { N::set_inbox_link(node, first(old)) } };",
            ),
            (
                "remote.rs",
                "Ok(_) if has(old, ABANDONED) => return Delivered::Acquired,",
                "Ok(_) if { if PLANTED { unsafe { N::set_inbox_link(node, first(old)) } } has(old, ABANDONED) } => {
                    return Delivered::Acquired
                }",
            ),
        ],
    },
    Bug {
        name: "a push leaves the heap abandoned",
        changes: &[(
            "remote.rs",
            "with(node.as_ptr(), old.addr() & SIGNALLED);",
            "with(node.as_ptr(), old.addr() & (SIGNALLED | if PLANTED { ABANDONED } else { 0 }));",
        )],
    },
    Bug {
        name: "a push loses the signal",
        changes: &[(
            "remote.rs",
            "old.addr() & (SIGNALLED |",
            "old.addr() & (if PLANTED { 0 } else { SIGNALLED } |",
        )],
    },
    Bug {
        name: "a pusher does not notice that it has the heap",
        changes: &[(
            "handover.rs",
            "if unsafe { heap.inbox().push(segment.into()) } == Delivered::Acquired {",
            "if unsafe { heap.inbox().push(segment.into()) } == Delivered::Acquired && !PLANTED {",
        )],
    },
    Bug {
        name: "an adoption leaves the heap abandoned",
        changes: &[(
            "remote.rs",
            "compare_exchange_weak(old, first(old),",
            "compare_exchange_weak(old, if PLANTED { old } else { first(old) },",
        )],
    },
    Bug {
        name: "a signal is not left",
        changes: &[(
            "remote.rs",
            "                with(old, SIGNALLED)\n",
            "                if PLANTED { old } else { with(old, SIGNALLED) }\n",
        )],
    },
    Bug {
        name: "a signal is not taken",
        changes: &[(
            "remote.rs",
            "signalled: has(word, SIGNALLED),",
            "signalled: has(word, SIGNALLED) && !PLANTED,",
        )],
    },
    Bug {
        name: "a signal is taken and ignored",
        changes: &[("heap.rs", "if self.own.closing.get() {", "if self.own.closing.get() && !PLANTED {")],
    },
    Bug {
        name: "a heap is left with a list in spite of a signal",
        changes: &[("remote.rs", "while !has(old, SIGNALLED) {", "while PLANTED || !has(old, SIGNALLED) {")],
    },
    Bug {
        name: "a heap is left with a list and no debt",
        changes: &[(
            "heap.rs",
            "            if self.inbox().try_abandon() {",
            "            if self.inbox().try_abandon() || PLANTED && self.inbox().try_abandon_with_list() {",
        )],
    },
    // --- Segments and heaps ------------------------------------------------------------------------------------------
    Bug {
        name: "a queued segment is taken, emptied and released",
        changes: &[(
            "bin.rs",
            "            if segment.is_empty() {\n",
            "            if PLANTED {
                if let Taken::List(list) = unsafe { segment.take_remote() } {
                    unsafe { segment.unpack(list, |slot| { segment.bring_home(slot); }) };
                }
            }
            if segment.is_empty() {\n",
        )],
    },
    Bug {
        name: "a segment is released with a slot still out",
        changes: &[(
            "segment.rs",
            "        owner.home_len.get() == owner.bumped.get()\n",
            "        owner.home_len.get() + usize::from(PLANTED) >= owner.bumped.get()\n",
        )],
    },
    Bug {
        name: "unused segments are not released",
        changes: &[("bin.rs", "            if segment.is_empty() {\n", "            if segment.is_empty() && !(PLANTED && segment.bumped() == 0) {\n")],
    },
    Bug {
        name: "a stray is served as a member",
        changes: &[(
            "heap.rs",
            "Some(segment) if segment.heap() == self.id() => return Some(segment),",
            "Some(segment) if PLANTED || segment.heap() == self.id() => return Some(segment),",
        )],
    },
    Bug {
        name: "a stray is dropped",
        changes: &[(
            "heap.rs",
            "Some(stray) => unsafe { self.own.outgoing.strays.push(stray) },",
            "Some(stray) => if !PLANTED { unsafe { self.own.outgoing.strays.push(stray) } },",
        )],
    },
    Bug {
        name: "strays stay with a heap that is left",
        changes: &[(
            "heap.rs",
            "self.serve() + self.settle_if_closing();\n            outgoing.take_from(&self.own.outgoing);",
            "self.serve() + self.settle_if_closing();\n            if !PLANTED { outgoing.take_from(&self.own.outgoing) }",
        )],
    },
    Bug {
        name: "a kept slot is brought home to a segment of another heap",
        changes: &[(
            "bin.rs",
            "            if segment.heap() == self.heap.get() {",
            "            if PLANTED || segment.heap() == self.heap.get() {",
        )],
    },
    Bug {
        name: "a kept slot is dropped",
        changes: &[("bin.rs", "unsafe { left.foreign.push(slot, span) };", "if !PLANTED { unsafe { left.foreign.push(slot, span) } };")],
    },
    Bug {
        name: "kept slots of a heap that is left are dropped",
        changes: &[(
            "lists.rs",
            "unsafe { self.foreign.push(slot, segment.identity().span) };\n        }\n    }\n}\n",
            "if !PLANTED { unsafe { self.foreign.push(slot, segment.identity().span) } };\n        }\n    }\n}\n",
        )],
    },
    // --- Handing over ------------------------------------------------------------------------------------------------
    Bug {
        name: "a merged segment gets its heap after the donor was left",
        changes: &[
            ("heap.rs", "                segment.set_heap(to.id());\n", "                if !PLANTED { segment.set_heap(to.id()) }\n"),
            (
                "handover.rs",
                "        heap.take_over(segment);\n",
                "        if PLANTED { segment.set_heap(heap.id()) }\n        heap.take_over(segment);\n",
            ),
        ],
    },
    Bug {
        name: "merging does not ask whether the donor has an owner",
        changes: &[("handover.rs", "            && registry.adopt_one(candidate)\n", "            && (registry.adopt_one(candidate) || PLANTED)\n")],
    },
    Bug {
        name: "the thread's reference is given up before the heap is left",
        changes: &[
            (
                "handover.rs",
                "    let released = settled + heap.abandon(&outgoing);\n    pass_on(&outgoing, debts);\n",
                "    if PLANTED { unsafe { registry.give_up(1) } }
                let released = settled + heap.abandon(&outgoing);\n    pass_on(&outgoing, debts);\n",
            ),
            (
                "handover.rs",
                "unsafe { registry.give_up(released + 1) };",
                "unsafe { registry.give_up(released + usize::from(!PLANTED)) };",
            ),
        ],
    },
    Bug {
        name: "released segments' references are given up before the heap is left",
        changes: &[(
            "handover.rs",
            "    let owed = debts.owe(heap);\n    let released = owed.abandon(heap, outgoing);\n",
            "    if PLANTED {
                let served = heap.serve();
                unsafe { registry.give_up(served) };
                let rest = heap.abandon(outgoing);
                return unsafe { registry.give_up(rest) };
            }
            let owed = debts.owe(heap);\n    let released = owed.abandon(heap, outgoing);\n",
        )],
    },
    Bug {
        name: "strays are passed on before the heap is left",
        changes: &[(
            "handover.rs",
            "    // Noted before the heap is left, for",
            "    if PLANTED {
                let served = heap.serve();
                outgoing.take_from(heap.outgoing());
                pass_on(outgoing, debts);
                let rest = heap.abandon(outgoing);
                return unsafe { registry.give_up(served + rest) };
            }
            // Noted before the heap is left, for",
        )],
    },
    Bug {
        name: "a debt is noted after the heap was left",
        changes: &[(
            "handover.rs",
            "    // Noted before the heap is left,",
            "    if PLANTED {
                let (released, served) = heap.abandon_soon(TENURE_SLOTS, outgoing);
                if !served { let _ = debts.owe(heap); }
                return unsafe { registry.give_up(released) };
            }
            // Noted before the heap is left,",
        )],
    },
    Bug {
        name: "a debt is noted without a reference",
        changes: &[("handover.rs", "        registry_of(heap).count_held();\n", "        if !PLANTED { registry_of(heap).count_held() }\n")],
    },
    Bug {
        name: "a debt is forgotten",
        changes: &[("handover.rs", "            Self::Now(debt) if served => {", "            Self::Now(debt) if served || PLANTED => {")],
    },
    Bug {
        name: "a debt is paid although the heap was left too soon again",
        changes: &[(
            "handover.rs",
            "        heap.abandon_soon(most, outgoing)\n    } else {",
            "        let (released, paid) = heap.abandon_soon(most, outgoing);
            (released, paid || PLANTED)\n    } else {",
        )],
    },
    Bug {
        name: "a debtor visits a heap that has an owner",
        changes: &[(
            "handover.rs",
            "    let (released, paid) = if registry.adopt_one(heap) {",
            "    let (released, paid) = if registry.adopt_one(heap) || PLANTED {",
        )],
    },
    Bug {
        name: "closing counts no reference for a heap it adopted",
        changes: &[(
            "handover.rs",
            "        if registry.adopt_or_signal(heap) {\n            registry.count_held();",
            "        if registry.adopt_or_signal(heap) {\n            if !PLANTED { registry.count_held() };",
        )],
    },
    Bug {
        name: "trimming counts no reference for a heap it adopted",
        changes: &[(
            "handover.rs",
            "        if registry.adopt_one(heap) {\n            registry.count_held();",
            "        if registry.adopt_one(heap) {\n            if !PLANTED { registry.count_held() };",
        )],
    },
    Bug {
        name: "closing passes abandoned heaps by",
        changes: &[(
            "handover.rs",
            "        if registry.adopt_or_signal(heap) {\n",
            "        if !PLANTED && registry.adopt_or_signal(heap) {\n",
        )],
    },
    // --- The outbox --------------------------------------------------------------------------------------------------
    Bug {
        name: "a batch holds a slot twice",
        changes: &[("outbox.rs", "            *copy = offset.get();\n", "            *copy = offset.get();\n            if PLANTED && len > 1 { *copy = self.offsets[0].get() }\n")],
    },
    Bug {
        name: "a displaced batch is dropped",
        changes: &[("outbox.rs", "            entry.send(debts);\n            entry.open(segment);", "            if !PLANTED { entry.send(debts) } else { entry.len.set(0) }\n            entry.open(segment);")],
    },
    Bug {
        name: "a displaced batch goes to the next segment",
        changes: &[(
            "outbox.rs",
            "            entry.thin_out(keep);\n",
            "            entry.thin_out(keep);\n            if PLANTED && entry.len.get() > 0 { entry.open(segment) }\n",
        )],
    },
    // --- Pools -------------------------------------------------------------------------------------------------------
    Bug {
        name: "a heap is listed without those before it",
        changes: &[(
            "registry.rs",
            "            heap.next().store(first, Ordering::Relaxed);",
            "            if !PLANTED { heap.next().store(first, Ordering::Relaxed) }",
        )],
    },
    Bug {
        name: "a thread's heap is not counted",
        changes: &[("registry.rs", "        self.count_held();\n", "        if !PLANTED { self.count_held() }\n")],
    },
    Bug {
        name: "a released segment's reference is kept",
        changes: &[("heap.rs", "                released += 1;\n", "                released += usize::from(!PLANTED);\n")],
    },
    Bug {
        name: "a segment is not counted as a reference",
        changes: &[(
            "heap.rs",
            "        self.refs.fetch_add(1, Ordering::Relaxed); // Relaxed: as above",
            "        if !PLANTED { self.refs.fetch_add(1, Ordering::Relaxed); }",
        )],
    },
    Bug {
        name: "the limit is asked first and counted later",
        changes: &[(
            "heap.rs",
            "        if self.in_use.fetch_add(1, Ordering::Relaxed) >= self.limit {",
            "        if PLANTED {
                if self.in_use.load(Ordering::Relaxed) >= self.limit { return false; }
                self.in_use.fetch_add(1, Ordering::Relaxed);
            } else if self.in_use.fetch_add(1, Ordering::Relaxed) >= self.limit {",
        )],
    },
    Bug {
        name: "a refused segment counts towards the limit",
        changes: &[(
            "heap.rs",
            "            self.in_use.fetch_sub(1, Ordering::Relaxed); // Relaxed: as above\n",
            "            if !PLANTED { self.in_use.fetch_sub(1, Ordering::Relaxed); }\n",
        )],
    },
    Bug {
        name: "the second registry of a pool is used by who made it",
        changes: &[("registry.rs", "        if won.is_err() {\n            // SAFETY: its only", "        if PLANTED { return Some(new) }\n        if won.is_err() {\n            // SAFETY: its only")],
    },
    Bug {
        name: "the second registry of a pool is forgotten",
        changes: &[("registry.rs", "            unsafe { new.give_up(1) };\n        }\n        self.get()", "            if !PLANTED { unsafe { new.give_up(1) } };\n        }\n        self.get()")],
    },
    // --- Arenas ------------------------------------------------------------------------------------------------------
    Bug {
        name: "an arena's base is read before the bit was won",
        changes: &[
            (
                "arena.rs",
                "        while free != 0 {\n            let bit",
                "        let early = if PLANTED { entry.base.load(Ordering::Relaxed) } else { ptr::null_mut() };\n        while free != 0 {\n            let bit",
            ),
            (
                "arena.rs",
                "                    return Some(self.slice(entry, base, bit.trailing_zeros()));",
                "                    let base = if PLANTED { early } else { base };\n                    return Some(self.slice(entry, base, bit.trailing_zeros()));",
            ),
        ],
    },
    Bug {
        name: "an arena is unmapped and its bits stay",
        changes: &[(
            "arena.rs",
            ".compare_exchange(self.all(), 0,",
            ".compare_exchange(self.all(), if PLANTED { self.all() } else { 0 },",
        )],
    },
    Bug {
        name: "an arena is unmapped before its bits were taken",
        changes: &[(
            "arena.rs",
            "        if won.is_err() {\n            return false;",
            "        if won.is_err() && !(PLANTED && !entry.base.load(Ordering::Relaxed).is_null()) {\n            return false;",
        )],
    },
    Bug {
        name: "a claimed bit stays in the bitmap",
        changes: &[("arena.rs", "                free & !bit,\n", "                if PLANTED { free } else { free & !bit },\n")],
    },
    Bug {
        name: "who fails to unmap an arena looks for no other",
        changes: &[("arena.rs", "if idle_before >= SPARE_ARENAS && !self.retire(entry) {", "if idle_before >= SPARE_ARENAS && !self.retire(entry) && !PLANTED {")],
    },
    Bug {
        name: "trimming purges a segment in use",
        changes: &[("arena.rs", "        if free & bit == 0 {\n            return;", "        if free & bit == 0 && !PLANTED {\n            return;")],
    },
    Bug {
        name: "trimming keeps what it purged",
        changes: &[("arena.rs", "        self.publish_free(entry, bit);\n    }\n\n    #[cfg(all(test, loom))]", "        if !PLANTED { self.publish_free(entry, bit) }\n    }\n\n    #[cfg(all(test, loom))]")],
    },
    Bug {
        name: "an arena is filed in a block that was thrown away",
        changes: &[(
            "arena.rs",
            "        self.next()\n    }\n}\n\n#[cfg(not(loom))]\nconst fn entries",
            "        if PLANTED && won.is_err() { return Some(unsafe { new.as_ref() }) }
        self.next()\n    }\n}\n\n#[cfg(not(loom))]\nconst fn entries",
        )],
    },
    // --- The counts of a `PoolArc` -----------------------------------------------------------------------------------
    Bug {
        name: "a dead value is upgraded",
        changes: &[("refcount.rs", "            (counts.strong() > 0).then_some(counts.0 + STRONG)", "            (PLANTED || counts.strong() > 0).then_some(counts.0 + STRONG)")],
    },
    Bug {
        name: "who is alone among the strong counts as alone",
        changes: &[
            (
                "refcount.rs",
                " == Counts::ALONE\n    }\n\n    /// The value that was to come",
                ".if_alone(PLANTED) == Counts::ALONE\n    }\n\n    /// The value that was to come",
            ),
            (
                "refcount.rs",
                "    fn strong(self) -> u64 {",
                "    fn if_alone(self, planted: bool) -> Self {
                    if planted && self.strong() == 1 { Self::ALONE } else { self }
                }
                fn strong(self) -> u64 {",
            ),
        ],
    },
    Bug {
        name: "the last strong handle forgets the weak ones",
        changes: &[("refcount.rs", "        if before == Counts::ALONE {\n            Left::Nobody", "        if PLANTED || before == Counts::ALONE {\n            Left::Nobody")],
    },
    Bug {
        name: "a value with two strong handles is taken out",
        changes: &[("refcount.rs", "            (counts.strong() == 1).then_some(counts.0 - STRONG)", "            (PLANTED || counts.strong() == 1).then_some(counts.0 - STRONG)")],
    },
];
