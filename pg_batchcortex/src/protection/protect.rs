//! `protect()`: tables of others under the same three layers, and their rows as leaves without a column added to them.

use crate::error::{self, Refusal};
use crate::identity::lent::lent;
use crate::ledger::foreign::Foreign;
use crate::ledger::scan::Scan;
use pgrx::PgTupleDesc;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Whether a trigger was there when its table was protected: a restore makes it again after the table is guarded.
pub fn is_known_trigger(table: pg_sys::Oid, name: &CStr) -> bool {
    let query = "select $2 operator(pg_catalog.=) any (r.known_triggers) from batchcortex.ledger_relation r
                  where r.relation operator(pg_catalog.=) coalesce(pg_catalog.pg_partition_root($1), $1::pg_catalog.regclass)";
    let name = name.to_string_lossy().into_owned();
    Spi::get_one_with_args::<bool>(query, &[table.into(), name.into()])
        .ok()
        .flatten()
        .unwrap_or(false)
}

/// Whether a table of the project is registered as one whose rows are leaves.
pub fn has_leaves(table: pg_sys::Oid) -> bool {
    let query = "select exists (select from batchcortex.ledger_relation r where r.hashed and r.relation operator(pg_catalog.=) $1)";
    Spi::get_one_with_args::<bool>(query, &[table.into()])
        .ok()
        .flatten()
        .unwrap_or(false)
}

/// Queues a leaf for each row that a protected table holds; returns how many.
#[pg_extern(volatile, parallel_unsafe)]
#[search_path(pg_catalog, pg_temp)]
pub fn enqueue_present_rows(relation_id: i32) -> i64 {
    // SAFETY: one SPI connection for the scan, closed below or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    let foreign = Foreign::registered(relation_id);
    let mut count = 0;
    let query = format!("select * from {}", foreign.relation);
    let mut scan =
        lent(foreign.owner, || Scan::open(&query, &[], 1000)).unwrap_or_else(|error| error.rethrow());
    while scan.next(|row| {
        // SAFETY: a row of the table that the source describes.
        unsafe { foreign.enqueue(row) }.unwrap_or_else(|refusal| error!("{}", refusal.message));
        count += 1;
    }) {}
    scan.close();
    // SAFETY: as above.
    unsafe { pg_sys::SPI_finish() };
    count
}

/// AFTER INSERT on a protected table (argument: relation id): queues the leaf of the row as it was stored.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn row_enqueue(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger, which is checked.
    unsafe {
        error::raising(|| {
            let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
            if data.is_null()
                || (*data).type_ != pg_sys::NodeTag::T_TriggerData
                || (*(*data).tg_trigger).tgnargs < 4
            {
                return Err(Refusal::new("39P01", "row_enqueue is a trigger function"));
            }
            let trigger = (*data).tg_trigger;
            let arguments: Vec<&str> = (0..(*trigger).tgnargs as usize)
                .map(|i| CStr::from_ptr(*(*trigger).tgargs.add(i)).to_str().unwrap_or(""))
                .collect();
            let foreign = Foreign::from_arguments(&arguments).ok_or_else(|| {
                Refusal::new("39P01", "the trigger's arguments are not those of row_enqueue")
            })?;
            let desc = PgTupleDesc::from_pg_unchecked((*(*data).tg_relation).rd_att);
            let row = crate::row::Row::of(&desc, (*data).tg_trigtuple);
            foreign.enqueue(&row)?;
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

crate::function_info!(pg_finfo_row_enqueue);

pgrx::extension_sql!(
    r"
create function batchcortex.row_enqueue() returns trigger language c as 'MODULE_PATHNAME', 'row_enqueue';
comment on function batchcortex.row_enqueue() is 'AFTER INSERT trigger (arguments: relation id, domain, organisation column or empty, key columns): queues the leaf of a row of a protected table.';
",
    name = "row_enqueue",
    requires = ["triggers"]
);
