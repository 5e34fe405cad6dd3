//! Classes of records. Their times are part of the library: what stands in a table can make them longer, never shorter.

use crate::event::month;
use pgrx::prelude::*;

/// A class of records and the least time that it is kept, from the end of its month.
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// Table of schema batchcortex that holds records of it.
    pub table: &'static str,
    /// Months.
    pub months: i32,
    /// Days, besides the months.
    pub days: i32,
}

const fn class(name: &'static str, table: &'static str, months: i32, days: i32) -> Class {
    Class {
        name,
        table,
        months,
        days,
    }
}

/// A table may hold records of several classes: the longest time decides.
pub const CLASSES: [Class; 6] = [
    class("audit", "events_log", 72, 0),
    class("change_history", "events_log", 72, 0),
    class("signatures", "events_log", 72, 0),
    class("samples", "sample_segment", 72, 0),
    class("access_log", "access_log", 12, 0),
    class("login_attempts", "login_attempt", 0, 90),
];

/// The earliest time, in microseconds since 2000-01-01 UTC, at which records of a table made until `end` may be disposed of; none for a table
/// that holds records of no class.
pub fn kept_until(table: &str, end: i64) -> Option<i64> {
    CLASSES
        .iter()
        .filter(|class| class.table == table)
        .map(|class| month::later(end, class.months.into()) + i64::from(class.days) * 86_400_000_000)
        .max()
}

/// Classes of records: name, table of schema batchcortex, and the least time that they are kept, in months and days.
#[pg_extern(immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
pub fn retention_classes() -> TableIterator<
    'static,
    (
        name!(record_class, &'static str),
        name!(relation, &'static str),
        name!(months, i32),
        name!(days, i32),
    ),
> {
    TableIterator::new(
        CLASSES
            .iter()
            .map(|class| (class.name, class.table, class.months, class.days)),
    )
}
