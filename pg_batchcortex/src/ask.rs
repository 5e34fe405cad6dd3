//! Questions that take no transaction id, as those of `Spi::get_one` do: a replica has none to give, and a transaction that has one sees
//! each further query under a newer snapshot.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;

/// The first column of the first row; none when it is null or there is no row.
pub fn one<A: FromDatum + IntoDatum>(query: &str, arguments: &[DatumWithOid<'_>]) -> Option<A> {
    Spi::connect(|client| {
        let mut rows = client.select(query, Some(1), arguments).unwrap_or_report();
        rows.next().and_then(|row| row.get(1).unwrap_or_report())
    })
}

/// The first two columns of the first row.
pub fn two<A: FromDatum + IntoDatum, B: FromDatum + IntoDatum>(
    query: &str,
    arguments: &[DatumWithOid<'_>],
) -> (Option<A>, Option<B>) {
    Spi::connect(|client| {
        let mut rows = client.select(query, Some(1), arguments).unwrap_or_report();
        rows.next().map_or((None, None), |row| {
            (row.get(1).unwrap_or_report(), row.get(2).unwrap_or_report())
        })
    })
}
