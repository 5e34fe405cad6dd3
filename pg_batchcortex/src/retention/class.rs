//! Classes of records. Their times are part of the library: what stands in a table can make them longer, never shorter.

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

/// The classes as rows of SQL: table, months, days.
pub fn values() -> String {
    let rows: Vec<String> = CLASSES
        .iter()
        .map(|class| format!("('{}', {}, {})", class.table, class.months, class.days))
        .collect();
    format!("(values {})", rows.join(", "))
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
