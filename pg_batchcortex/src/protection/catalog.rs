//! What an object belongs to: the table of a trigger, policy, constraint or rule.

use pgrx::pg_sys;

/// Catalogs that pgrx does not name; their numbers never change.
pub const POLICY: pg_sys::Oid = pg_sys::Oid::from_u32(3256);
/// pg_rewrite.
pub const RULE: pg_sys::Oid = pg_sys::Oid::from_u32(2618);
/// pg_inherits.
pub const INHERITS: pg_sys::Oid = pg_sys::Oid::from_u32(2611);
/// pg_constraint.
pub const CONSTRAINT: pg_sys::Oid = pg_sys::Oid::from_u32(2606);

/// The first columns of pg_constraint: oid, name, schema, kind, deferrable, deferred, validated, table.
#[repr(C)]
struct Constraint {
    oid: pg_sys::Oid,
    name: pg_sys::NameData,
    namespace: pg_sys::Oid,
    kind: [u8; 4],
    table: pg_sys::Oid,
}

/// The first columns of pg_policy and of pg_rewrite: oid, name, table.
#[repr(C)]
struct Named {
    oid: pg_sys::Oid,
    name: pg_sys::NameData,
    table: pg_sys::Oid,
}

/// A trigger, as its catalog row says.
pub struct Trigger {
    /// Its table.
    pub table: pg_sys::Oid,
    /// The function that it calls.
    pub function: pg_sys::Oid,
}

/// The trigger of an oid.
pub fn trigger(oid: pg_sys::Oid) -> Option<Trigger> {
    row(
        pg_sys::TriggerRelationId,
        oid,
        |row: &pg_sys::FormData_pg_trigger| Trigger {
            table: row.tgrelid,
            function: row.tgfoid,
        },
    )
}

/// The table of a policy.
pub fn policy_table(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    row(POLICY, oid, |row: &Named| row.table)
}

/// The table of a constraint.
pub fn constraint_table(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    row(CONSTRAINT, oid, |row: &Constraint| row.table)
}

/// The table or view of a rule.
pub fn rule_table(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    row(RULE, oid, |row: &Named| row.table)
}

/// Reads one row of a catalog by oid, its first column; none when it is not there, or not yet visible.
fn row<Form, T>(catalog: pg_sys::Oid, oid: pg_sys::Oid, read: impl FnOnce(&Form) -> T) -> Option<T> {
    // SAFETY: the catalog's rows are of this form; the tuple is a copy or pinned by the catalog cache until the end of the
    // transaction at the latest.
    unsafe {
        let open = pg_sys::table_open(catalog, pg_sys::AccessShareLock as i32);
        let tuple = pg_sys::get_catalog_object_by_oid(open, 1, oid);
        let found = (!tuple.is_null()).then(|| {
            let header = (*tuple).t_data;
            read(
                &*header
                    .cast::<u8>()
                    .add(usize::from((*header).t_hoff))
                    .cast::<Form>(),
            )
        });
        pg_sys::table_close(open, pg_sys::AccessShareLock as i32);
        found
    }
}

/// Whether a table is a partition somewhere below another.
pub fn is_below(table: pg_sys::Oid, above: pg_sys::Oid) -> bool {
    unsafe extern "C-unwind" {
        fn get_partition_ancestors(table: pg_sys::Oid) -> *mut pg_sys::List;
    }
    // SAFETY: a catalog look-up that gives a list of oids; a table without parents has none.
    unsafe {
        let ancestors = pg_sys::ffi::pg_guard_ffi_boundary(|| get_partition_ancestors(table));
        super::plan::cells(ancestors).any(|cell| cell.oid_value == above)
    }
}

/// Looks at every row of a catalog, as its fixed columns say. No operator takes part that somebody could have made.
pub fn each<Form>(catalog: pg_sys::Oid, mut look: impl FnMut(&Form)) {
    // SAFETY: a scan of a catalog, whose rows are of this form, under its own snapshot; closed below or by the abort of the transaction.
    unsafe {
        let open = pg_sys::table_open(catalog, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::systable_beginscan(
            open,
            pg_sys::InvalidOid,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let header = (*tuple).t_data;
            look(
                &*header
                    .cast::<u8>()
                    .add(usize::from((*header).t_hoff))
                    .cast::<Form>(),
            );
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(open, pg_sys::AccessShareLock as i32);
    }
}

/// Tables and views of a schema.
pub fn relations(schema: pg_sys::Oid) -> impl Iterator<Item = pg_sys::Oid> {
    let mut found = Vec::new();
    each(pg_sys::RelationRelationId, |row: &pg_sys::FormData_pg_class| {
        if row.relnamespace == schema && matches!(row.relkind as u8, b'r' | b'p' | b'v' | b'm') {
            found.push(row.oid);
        }
    });
    found.into_iter()
}

/// File and symbol of a C function; none for functions in other languages.
pub fn library(function: pg_sys::Oid) -> Option<(String, String)> {
    // SAFETY: a catalog cache look-up, released again; probin and prosrc are null or texts.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            pg_sys::Datum::from(function),
        );
        if tuple.is_null() {
            return None;
        }
        let text = |column: u32| {
            let mut null = false;
            let value = pg_sys::SysCacheGetAttr(
                pg_sys::SysCacheIdentifier::PROCOID as i32,
                tuple,
                column as pg_sys::AttrNumber,
                &raw mut null,
            );
            (!null)
                .then(|| crate::row::with_varlena(value, |bytes| String::from_utf8_lossy(bytes).into_owned()))
        };
        let found = text(pg_sys::Anum_pg_proc_probin).zip(text(pg_sys::Anum_pg_proc_prosrc));
        pg_sys::ReleaseSysCache(tuple);
        found
    }
}
