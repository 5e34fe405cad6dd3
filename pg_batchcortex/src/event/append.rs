//! `log_event`: one event, straight into the partition of its month.
//!
//! Every transaction of the product ends in it, so it does without a plan, without tuple routing and without triggers: it
//! stamps, hashes, stores and queues the row itself, with the same code that the triggers of events_log call for whoever writes
//! by INSERT. A trigger that somebody adds to events_log therefore neither alters nor drops what is written here.

use super::month::{self, month_of};
use super::stamp::{self, Columns};
use super::target::Target;
use crate::error::{self, Refusal};
use crate::ledger::leaf;
use crate::row::Row;
use pgrx::{PgTupleDesc, pg_sys};
use std::cell::Cell;
use std::ffi::CString;

/// Parameters of log_event in their order, as columns of events_log.
const PARAMETERS: [&str; 9] = [
    "action",
    "record_type",
    "record_id",
    "before",
    "after",
    "reason",
    "batch_id",
    "client_time",
    "org_id",
];

/// `log_event(action, record_type, record_id, before, after, reason, batch_id, client_time, org_id) returns uuid`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn log_event(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared with nine arguments of the types of the columns that PARAMETERS names.
    unsafe {
        error::raising(|| {
            let arguments = (*fcinfo).args.as_slice(PARAMETERS.len());
            let given = |i: usize| (!arguments[i].isnull).then(|| arguments[i].value);
            if (0..3).any(|i| given(i).is_none()) {
                return Err(Refusal::new(
                    error::UNACCEPTABLE,
                    "action, record_type and record_id must not be null",
                ));
            }
            pg_sys::PreventCommandIfReadOnly(c"log_event()".as_ptr());
            let now = pg_sys::GetCurrentTimestamp();
            let relation = pg_sys::table_open(partition(now)?, pg_sys::RowExclusiveLock as i32);
            let id = store(relation, now, given);
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            id
        })
    }
}

crate::function_info!(pg_finfo_log_event);

unsafe fn store(
    relation: pg_sys::Relation,
    now: i64,
    given: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> Result<pg_sys::Datum, Refusal> {
    // SAFETY: the relation is open and locked for writing; the slot and the executor state live until the end.
    unsafe {
        let source = leaf::Source::of(relation)?;
        let desc = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
        let mut row = Row::empty(&desc);
        let columns = Columns::of((*relation).rd_id, &row)?;
        for (i, name) in PARAMETERS.iter().enumerate() {
            if let Some(value) = given(i) {
                row.set(leaf::position(&row, name)?, Some(value));
            }
        }
        stamp::stamp(&mut row, &columns, now)?;
        let hash = source.seal(&mut row, columns.leaf_hash)?;

        let mut target = Target::open(relation);
        for slot in target.slots(1) {
            std::ptr::copy_nonoverlapping(row.values.as_ptr(), (*slot).tts_values, row.values.len());
            std::ptr::copy_nonoverlapping(row.nulls.as_ptr(), (*slot).tts_isnull, row.nulls.len());
            pg_sys::ExecStoreVirtualTuple(slot);
            target.insert(slot);
        }
        target.close();

        source.enqueue(&row, hash)?;
        let id = row.get(columns.event_id);
        id.ok_or_else(|| Refusal::new(error::FORGED, "the event has no id"))
    }
}

thread_local!(static MONTH: Cell<Option<(i64, i64, pg_sys::Oid)>> = const { Cell::new(None) });

/// The partition that holds `now`: found by name once a month, and looked at again each time, since it may have gone.
pub fn partition(now: i64) -> Result<pg_sys::Oid, Refusal> {
    if let Some((from, to, relation)) = MONTH.get()
        && (from..to).contains(&now)
        // SAFETY: a catalog look-up.
        && unsafe { pg_sys::get_rel_relispartition(relation) }
    {
        return Ok(relation);
    }
    let (year, month) = month_of(now);
    let name = CString::new(format!("events_log_{year:04}_{month:02}")).unwrap_or_default();
    // SAFETY: catalog look-ups with NUL-terminated names.
    let relation = unsafe {
        let schema = pg_sys::get_namespace_oid(c"batchcortex".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if relation == pg_sys::InvalidOid {
        return Err(Refusal::new(
            error::UNAVAILABLE,
            format!(
                "batchcortex.{} does not exist: events of this month have no place",
                name.to_string_lossy()
            ),
        )
        .hint("Run CALL batchcortex.migrate(), which makes the partitions of the coming months."));
    }
    let (from, to) = month::bounds(year, month);
    MONTH.set(Some((from, to, relation)));
    Ok(relation)
}

/// Whether two times lie in one month, when [`partition`] was last asked for the first of them.
pub fn same_month(asked: i64, other: i64) -> bool {
    MONTH
        .get()
        .is_some_and(|(from, to, _)| (from..to).contains(&asked) && (from..to).contains(&other))
}
