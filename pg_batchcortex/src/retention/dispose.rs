//! The one way on which records leave: a whole partition, after everything that stands in its way has been asked, with the guard open
//! for this one table and for this one statement.

use crate::error::{self, Refusal};
use crate::protection::guard;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// `dispose(partition regclass) returns bigint`: removes an expired partition that another login has proposed; gives how many rows went.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dispose(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared strict, with one argument of type regclass.
    unsafe {
        error::raising(|| {
            let arguments = (*fcinfo).args.as_slice(1);
            let partition = arguments[0].value;
            pg_sys::PreventCommandIfReadOnly(c"dispose()".as_ptr());
            remove(pg_sys::Oid::from(partition.value() as u32)).map(pg_sys::Datum::from)
        })
    }
}

crate::function_info!(pg_finfo_dispose);

fn remove(partition: pg_sys::Oid) -> Result<i64, Refusal> {
    // SAFETY: a catalog look-up of the current user.
    if !unsafe { pg_sys::superuser() } {
        return Err(Refusal::new("42501", "dispose() must be run by a superuser"));
    }
    // Asked through update: each question sees what others have committed until then, a hold placed a moment ago too.
    let refusal = Spi::connect_mut(|client| {
        client
            .update(
                "select r.sqlstate, r.refusal from batchcortex.disposal_refusal($1, true) r limit 1",
                None,
                &[partition.into()],
            )
            .unwrap_or_report()
            .next()
            .map(|row| {
                (
                    row.get::<String>(1).unwrap_or_report(),
                    row.get::<String>(2).unwrap_or_report(),
                )
            })
    });
    if let Some((sqlstate, message)) = refusal {
        let sqlstate = match sqlstate.as_deref() {
            Some("BC001") => error::APPEND_ONLY,
            Some("BC403") => error::FORBIDDEN,
            Some("BC422") => error::UNACCEPTABLE,
            _ => error::CONFLICT,
        };
        return Err(Refusal::new(sqlstate, message.unwrap_or_default())
            .hint("batchcortex.list_disposable() shows what stands in the way."));
    }
    Ok(guard::while_disposing(partition, || {
        Spi::connect_mut(|client| {
            let told = client
                .update(
                    "select batchcortex.record_disposal($1), $1::pg_catalog.regclass::text",
                    Some(1),
                    &[partition.into()],
                )
                .unwrap_or_report()
                .first();
            let (rows, name) = told.get_two::<i64, String>().unwrap_or_report();
            let name = name.unwrap_or_default();
            client
                .update(&format!("drop table {name} restrict"), None, &[])
                .unwrap_or_report();
            rows.unwrap_or(0)
        })
    }))
}

/// BEFORE INSERT on partition_disposal (statement): refuses everyone but dispose(). A row made by hand would tell of a disposal that
/// never was.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn refuse_disposals(_fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: nothing is left to drop.
    unsafe {
        error::raising(|| match guard::disposing() {
            Some(_) => Ok(pg_sys::Datum::from(0usize)),
            None => Err(Refusal::new(
                error::APPEND_ONLY,
                "INSERT refused: batchcortex.dispose() alone writes batchcortex.partition_disposal",
            )),
        })
    }
}

crate::function_info!(pg_finfo_refuse_disposals);

pgrx::extension_sql!(
    r"
create function batchcortex.dispose(partition regclass) returns bigint language c volatile strict parallel unsafe
    set search_path = pg_catalog, pg_temp as 'MODULE_PATHNAME', 'dispose';
comment on function batchcortex.dispose(regclass) is
'For the DBA: removes an expired monthly partition that another database login has proposed within 30 days (propose_disposal), and returns how many rows went. Each organisation whose records went, and the installation, keeps a row of batchcortex.partition_disposal and an event partition.disposed: table, range [from, to) in UTC, rows, number of leaves, SHA-256 over their hashes in the order of the log. The leaves stay in the ledger. Errors: 42501 not a superuser; BC001 its time has not come; BC403 proposed by the same login; BC409 a hold, a batch''s own date, unsealed rows, findings of verify(), no proposal; BC422 not a partition of BatchCortex.';
create function batchcortex.refuse_disposals() returns trigger language c as 'MODULE_PATHNAME', 'refuse_disposals';
comment on function batchcortex.refuse_disposals() is 'BEFORE INSERT trigger of partition_disposal (statement): refuses everyone but dispose() with SQLSTATE BC001.';
",
    name = "dispose",
    requires = ["triggers"]
);
