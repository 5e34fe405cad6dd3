//! A table opened for rows that no statement of its own inserts: constraints and indexes as usual, no trigger.

use pgrx::pg_sys;

/// An open table with its indexes, outside any plan.
pub struct Target {
    state: *mut pg_sys::EState,
    result: *mut pg_sys::ResultRelInfo,
}

impl Target {
    /// # Safety
    /// `relation` must be open and locked for writing until [`Target::close`].
    pub unsafe fn open(relation: pg_sys::Relation) -> Self {
        // SAFETY: a result relation outside any range table (index 0).
        unsafe {
            let state = pg_sys::CreateExecutorState();
            let result = pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
            (*result).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(result, relation, 0, std::ptr::null_mut(), 0);
            (*result).ri_TrigDesc = std::ptr::null_mut();
            pg_sys::ExecOpenIndices(result, false);
            #[cfg(feature = "pg13")]
            {
                (*state).es_result_relation_info = result;
            }
            Target { state, result }
        }
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

    /// Closes the indexes and frees what was opened; the table itself stays open.
    pub fn close(self) {
        // SAFETY: opened by `open`, closed once.
        unsafe {
            pg_sys::ExecCloseIndices(self.result);
            pg_sys::FreeExecutorState(self.state);
        }
    }
}
