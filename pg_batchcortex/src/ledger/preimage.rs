//! The preimage of a row as SQL functions, so that anyone can hash it with a tool of their own.

use crate::error::{self, Refusal};
use crate::row::{Row, bytes_datum};
use pgrx::{PgTupleDesc, pg_sys};

/// `event_preimage(record) returns bytea`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_preimage(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared strict with one composite argument.
    unsafe { error::raising(|| of_composite(fcinfo, "event")) }
}

crate::function_info!(pg_finfo_event_preimage);

/// `segment_preimage(record) returns bytea`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn segment_preimage(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared strict with one composite argument.
    unsafe { error::raising(|| of_composite(fcinfo, "sample_segment")) }
}

crate::function_info!(pg_finfo_segment_preimage);

unsafe fn of_composite(fcinfo: pg_sys::FunctionCallInfo, domain: &str) -> Result<pg_sys::Datum, Refusal> {
    // SAFETY: as the caller promises.
    let preimage = unsafe { with_composite(fcinfo, |row| row.preimage(domain, row.position("leaf_hash"))) };
    Ok(bytes_datum(
        &preimage.map_err(|e| Refusal::new(error::TOO_LARGE, e))?,
    ))
}

/// Calls `body` with the composite value that is the first argument.
unsafe fn with_composite<R>(fcinfo: pg_sys::FunctionCallInfo, body: impl FnOnce(&Row<'_>) -> R) -> R {
    // SAFETY: a composite datum is a varlena that starts with a heap tuple header.
    unsafe {
        let argument = (*fcinfo).args.as_slice(1)[0].value;
        let header = pg_sys::pg_detoast_datum(argument.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let mut tuple: pg_sys::HeapTupleData = std::mem::zeroed();
        tuple.t_len = pgrx::varlena::varsize(header.cast::<pg_sys::varlena>()) as u32;
        tuple.t_data = header;
        let kind = (*header).t_choice.t_datum;
        let desc = PgTupleDesc::from_pg(pg_sys::lookup_rowtype_tupdesc(
            kind.datum_typeid,
            kind.datum_typmod,
        ));
        body(&Row::of(&desc, &raw mut tuple))
    }
}
