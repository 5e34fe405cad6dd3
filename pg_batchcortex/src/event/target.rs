//! A table opened for rows that no statement of its own inserts: constraints and indexes as usual, no trigger.
//!
//! What the executor prepares for that (index descriptions, their predicates, the partition's bounds as an expression) costs more
//! than storing a row. It is kept between statements, in the session, until the table or one of its indexes changes.

use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};

/// An open table with its indexes, outside any plan.
pub struct Target {
    relation: pg_sys::Oid,
    generation: u64,
    context: pg_sys::MemoryContext,
    state: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
    desc: pg_sys::TupleDesc,
    indexes: Vec<pg_sys::Oid>,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
}

thread_local! {
    static KEPT: RefCell<Option<Target>> = const { RefCell::new(None) };
    /// Tables and indexes that targets were prepared for: a handful in the life of a session.
    static WATCHED: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

impl Target {
    /// # Safety
    /// `relation` must be open and locked for writing until [`Target::close`].
    pub unsafe fn open(relation: pg_sys::Relation) -> Self {
        // SAFETY: as the caller promises.
        unsafe {
            let id = (*relation).rd_id;
            // The lock was taken a moment ago: what others have changed before it is known by now.
            match KEPT.take() {
                Some(kept) if kept.relation == id && kept.generation == GENERATION.get() => {
                    kept.reopen(relation);
                    kept
                }
                _ => Self::prepare(relation),
            }
        }
    }

    unsafe fn prepare(relation: pg_sys::Relation) -> Self {
        listen();
        // SAFETY: a result relation outside any range table (index 0); everything lies in a context of its own.
        unsafe {
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CacheMemoryContext,
                c"event target".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let mut target = Target {
                relation: (*relation).rd_id,
                generation: GENERATION.get(),
                context,
                state: std::ptr::null_mut(),
                result: std::ptr::null_mut(),
                desc: std::ptr::null_mut(),
                indexes: Vec::new(),
                slots: Vec::new(),
            };
            watch(target.relation);
            let before = pg_sys::MemoryContextSwitchTo(context);
            target.state = pg_sys::CreateExecutorState();
            target.desc = pg_sys::CreateTupleDescCopy((*relation).rd_att);
            let result = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(result, relation, 0, std::ptr::null_mut(), 0);
            (*result).ri_TrigDesc = std::ptr::null_mut();
            pg_sys::ExecOpenIndices(result, false);
            #[cfg(feature = "pg13")]
            {
                (*target.state).es_result_relation_info = result;
            }
            target.result = result;
            target.indexes = (0..(*result).ri_NumIndices as usize)
                .map(|i| (**(*result).ri_IndexRelationDescs.add(i)).rd_id)
                .collect();
            target.indexes.iter().for_each(|index| watch(*index));
            pg_sys::MemoryContextSwitchTo(before);
            target
        }
    }

    unsafe fn reopen(&self, relation: pg_sys::Relation) {
        // SAFETY: the table is the one that this was prepared for, and so are its indexes.
        unsafe {
            (*self.result).ri_RelationDesc = relation;
            for (i, index) in self.indexes.iter().enumerate() {
                let index = pg_sys::index_open(*index, pg_sys::RowExclusiveLock as i32);
                (*self.result).ri_IndexRelationDescs.add(i).write(index);
                // CREATE INDEX CONCURRENTLY changes this beside us.
                let info = *(*self.result).ri_IndexRelationInfo.add(i);
                (*info).ii_ReadyForInserts = (*(*index).rd_index).indisready;
            }
        }
    }

    /// Empty slots for rows of the table, `count` of them, each with an array of values and one of nulls.
    pub fn slots(&mut self, count: usize) -> Vec<*mut pg_sys::TupleTableSlot> {
        // SAFETY: slots of the description that this target keeps, in its context.
        unsafe {
            while self.slots.len() < count {
                let before = pg_sys::MemoryContextSwitchTo(self.context);
                let slot = pg_sys::MakeSingleTupleTableSlot(self.desc, &raw const pg_sys::TTSOpsVirtual);
                pg_sys::MemoryContextSwitchTo(before);
                self.slots.push(slot);
            }
            for slot in &self.slots[..count] {
                clear(*slot);
            }
        }
        self.slots[..count].to_vec()
    }

    /// Stores a row with its constraints and indexes, as logical replication does it, and fires no trigger.
    ///
    /// # Safety
    /// The slot must hold a row of the table.
    pub unsafe fn insert(&self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: as the caller promises.
        unsafe {
            #[cfg(feature = "pg13")]
            pg_sys::ExecSimpleRelationInsert(self.state, slot);
            #[cfg(not(feature = "pg13"))]
            pg_sys::ExecSimpleRelationInsert(self.result, self.state, slot);
        }
    }

    /// As [`Target::insert`] for many rows: pages and their log records are written once for all the rows on them.
    ///
    /// # Safety
    /// Each slot must hold a row of the table.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    pub unsafe fn insert_all(&self, slots: &mut [*mut pg_sys::TupleTableSlot]) {
        // SAFETY: as the caller promises; what ExecSimpleRelationInsert does for one row, in the same order.
        unsafe {
            if let [one] = slots {
                return self.insert(*one);
            }
            let relation = (*self.result).ri_RelationDesc;
            for slot in slots.iter().copied() {
                pg_sys::ExecConstraints(self.result, slot, self.state);
                if (*(*relation).rd_rel).relispartition {
                    pg_sys::ExecPartitionCheck(self.result, slot, self.state, true);
                }
            }
            let command = pg_sys::GetCurrentCommandId(true);
            pg_sys::heap_multi_insert(
                relation,
                slots.as_mut_ptr(),
                slots.len() as i32,
                command,
                0,
                std::ptr::null_mut(),
            );
            for slot in slots.iter().copied() {
                pg_sys::ExecInsertIndexTuples(
                    self.result,
                    slot,
                    self.state,
                    false,
                    false,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                );
            }
        }
    }

    /// As [`Target::insert`] for many rows.
    ///
    /// # Safety
    /// Each slot must hold a row of the table.
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    pub unsafe fn insert_all(&self, slots: &mut [*mut pg_sys::TupleTableSlot]) {
        for slot in slots.iter().copied() {
            // SAFETY: as the caller promises.
            unsafe { self.insert(slot) };
        }
    }

    /// Closes the indexes; the table itself stays open. What was prepared is kept for the next rows.
    pub fn close(self) {
        // SAFETY: opened by `open`, closed once; expressions have left nothing but memory of the row's context.
        unsafe {
            pg_sys::ExecCloseIndices(self.result);
            let rows = (*self.state).es_per_tuple_exprcontext;
            if !rows.is_null() {
                pg_sys::MemoryContextReset((*rows).ecxt_per_tuple_memory);
            }
            for slot in &self.slots {
                clear(*slot);
            }
            (*self.result).ri_RelationDesc = std::ptr::null_mut();
        }
        KEPT.set(Some(self));
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: made by this target, which goes; nothing in it refers to open tables once a transaction has closed them.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

/// Empties a virtual slot.
unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: a slot of this module; a virtual slot has this function.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}

fn watch(id: pg_sys::Oid) {
    WATCHED.with_borrow_mut(|watched| {
        if !watched.contains(&id) {
            watched.push(id);
        }
    });
}

/// Once a session.
fn listen() {
    if LISTENING.replace(true) {
        return;
    }
    // SAFETY: the callback is guarded, touches memory of this process alone and stays loaded with the library.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::from(0usize)) };
}

#[pg_guard]
unsafe extern "C-unwind" fn changed(_argument: pg_sys::Datum, id: pg_sys::Oid) {
    if id == pg_sys::InvalidOid || WATCHED.with_borrow(|watched| watched.contains(&id)) {
        GENERATION.set(GENERATION.get() + 1);
    }
}
