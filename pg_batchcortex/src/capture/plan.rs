//! What is captured of a table, and how: worked out once from its columns, its key and the arguments of its trigger, and kept until
//! the table changes.

use super::settings::{self, Follows};
use super::text::{self, Form};
use crate::error::{self, Refusal};
use crate::identity::unscoped::unscoped;
use crate::protection::mark;
use crate::row::{column_name, uuid_bytes, with_varlena};
use pgrx::{PgTupleDesc, Spi, pg_guard, pg_sys};
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

/// The row trigger of a tracked table, by which it is known.
pub const ROW_TRIGGER: &CStr = c"0_batchcortex_row";
/// The statement trigger that keeps the rows of TRUNCATE.
pub const TRUNCATE_TRIGGER: &CStr = c"0_batchcortex_truncate";

/// What is captured of one table.
pub struct Plan {
    /// The table that the records are said to be of: the partitioned table, for a partition.
    root: pg_sys::Oid,
    /// Schema and name of `root`, quoted where SQL would.
    pub record_type: String,
    /// UPDATE and DELETE need a reason.
    pub reason_required: bool,
    columns: Vec<Column>,
    /// Columns of the key by their places in `columns`, in the key's order; empty without a key.
    key: Vec<usize>,
    org: Option<usize>,
    follows: Follows,
    context: pg_sys::MemoryContext,
}

struct Column {
    /// Place in the row.
    at: usize,
    /// Separator, name and colon, as they stand in front of the value.
    lead: Vec<u8>,
    form: Form,
    masked: bool,
    by_value: bool,
    length: i16,
}

/// A row taken apart, as triggers get it.
#[derive(Default)]
pub struct Values {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Values {
    /// Takes `tuple` apart; the datums point into it.
    ///
    /// # Safety
    /// `tuple` must be a row of the relation, and stay.
    pub unsafe fn read(&mut self, relation: pg_sys::Relation, tuple: pg_sys::HeapTuple) {
        // SAFETY: both arrays have one element a column.
        unsafe {
            let desc = (*relation).rd_att;
            let columns = (*desc).natts as usize;
            self.values.resize(columns, pg_sys::Datum::from(0usize));
            self.nulls.resize(columns, true);
            pg_sys::heap_deform_tuple(tuple, desc, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        }
    }

    fn get(&self, at: usize) -> Option<pg_sys::Datum> {
        (!self.nulls[at]).then(|| self.values[at])
    }
}

thread_local! {
    static PLANS: RefCell<HashMap<pg_sys::Oid, Rc<Plan>>> = RefCell::default();
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

impl Plan {
    /// The plan of an open table that has `trigger`.
    ///
    /// # Safety
    /// Relation and trigger must be open and stay for the call.
    pub unsafe fn of(
        relation: pg_sys::Relation,
        trigger: *const pg_sys::Trigger,
    ) -> Result<Rc<Self>, Refusal> {
        // SAFETY: as the caller promises.
        unsafe {
            let id = (*relation).rd_id;
            if let Some(plan) = PLANS.with_borrow(|plans| plans.get(&id).cloned()) {
                return Ok(plan);
            }
            listen();
            let plan = Rc::new(Self::make(relation, trigger)?);
            PLANS.with_borrow_mut(|plans| plans.insert(id, plan.clone()));
            Ok(plan)
        }
    }

    unsafe fn make(relation: pg_sys::Relation, trigger: *const pg_sys::Trigger) -> Result<Self, Refusal> {
        // SAFETY: as the caller promises.
        unsafe {
            let id = (*relation).rd_id;
            let root = root(id);
            let record_type = qualified_name(root);
            // The project's own are in no register: `capture_by_hand` stands on those that a migration says.
            if pg_sys::get_rel_namespace(id) != mark::schema() {
                require_registered(id, &record_type)?;
            }
            let arguments = Arguments::of(trigger)?;
            let mut plan = Plan {
                root,
                record_type,
                reason_required: arguments.reason_required,
                columns: Vec::new(),
                key: Vec::new(),
                org: None,
                follows: Follows::Nothing,
                context: pg_sys::AllocSetContextCreateInternal(
                    pg_sys::CacheMemoryContext,
                    c"captured table".as_ptr(),
                    0,
                    1024,
                    8192,
                ),
            };
            plan.read_columns(relation, &arguments)?;
            let key = key(relation);
            for at in key {
                let Some(place) = plan.columns.iter().position(|c| c.at == at && !c.masked) else {
                    return Err(misfit(
                        &plan.record_type,
                        "its key has a column that is left out or masked",
                    ));
                };
                plan.key.push(place);
            }
            Ok(plan)
        }
    }

    unsafe fn read_columns(
        &mut self,
        relation: pg_sys::Relation,
        arguments: &Arguments,
    ) -> Result<(), Refusal> {
        // SAFETY: the relation is open.
        unsafe {
            let desc = PgTupleDesc::from_pg_unchecked((*relation).rd_att);
            let mut named = 0;
            for at in 0..desc.len() {
                let Some(column) = desc.get(at).filter(|a| !a.attisdropped) else {
                    continue;
                };
                let name = column_name(column);
                let masked = arguments.masked.iter().any(|m| m == name);
                let left_out = arguments.left_out.iter().any(|m| m == name);
                named += usize::from(masked) + usize::from(left_out);
                if arguments.org_column == name {
                    if column.atttypid != pg_sys::UUIDOID {
                        return Err(misfit(
                            &self.record_type,
                            "its column of the organisation is no uuid",
                        ));
                    }
                    self.org = Some(at);
                }
                if left_out {
                    continue;
                }
                let mut lead = vec![if self.columns.is_empty() { b'{' } else { b',' }];
                text::string(name.as_bytes(), &mut lead);
                lead.push(b':');
                let form = Form::of(column.atttypid, self.context);
                if !masked && !form.is_own() {
                    self.follows = self.follows.max(settings::follows(column.atttypid));
                }
                self.columns.push(Column {
                    at,
                    lead,
                    form,
                    masked,
                    by_value: column.attbyval,
                    length: column.attlen,
                });
            }
            // A renamed column would otherwise be captured in clear, or the organisation's rows go to another log.
            if named != arguments.masked.len() + arguments.left_out.len()
                || self.org.is_some() == arguments.org_column.is_empty()
            {
                return Err(misfit(
                    &self.record_type,
                    "a column that track() was told of is not there",
                ));
            }
            Ok(())
        }
    }

    /// What the session's settings must be fixed for while rows are written out.
    pub fn fixed(&self) -> Option<settings::Fixed> {
        settings::Fixed::of(self.follows)
    }

    /// The organisation that a row belongs to, by its column.
    ///
    /// # Safety
    /// The values must be of a row of this table.
    pub unsafe fn organisation(&self, row: &Values) -> Option<[u8; 16]> {
        // SAFETY: the column is a uuid.
        self.org
            .and_then(|at| row.get(at))
            .map(|datum| unsafe { uuid_bytes(datum) })
    }

    /// Appends a row as a JSON object. `changed_from` is the row before an update, for what is said of masked columns.
    ///
    /// # Safety
    /// The values must be of rows of this table, and [`Plan::fixed`] alive.
    pub unsafe fn write(&self, row: &Values, changed_from: Option<&Values>, out: &mut Vec<u8>) {
        for column in &self.columns {
            out.extend_from_slice(&column.lead);
            let value = row.get(column.at);
            if column.masked {
                out.extend_from_slice(match changed_from {
                    None => b"\"[masked]\"".as_slice(),
                    // SAFETY: values of this column.
                    Some(before) if unsafe { column.same(before.get(column.at), value) } => {
                        b"\"[masked, unchanged]\""
                    }
                    Some(_) => b"\"[masked, changed]\"",
                });
                continue;
            }
            match value {
                None => out.extend_from_slice(b"null"),
                // SAFETY: a value of this column.
                Some(datum) => unsafe { column.form.json(datum, out) },
            }
        }
        out.extend_from_slice(if self.columns.is_empty() { b"{}" } else { b"}" });
    }

    /// Appends what names the record: the key's text; several columns as a JSON array; without a key the SHA-256 of the row as it
    /// is recorded.
    ///
    /// # Safety
    /// As for [`Plan::write`]; `recorded` is what it wrote.
    pub unsafe fn identify(&self, row: &Values, recorded: &[u8], out: &mut Vec<u8>) {
        // SAFETY: columns of a primary key or a replica identity are not null.
        unsafe {
            match self.key.as_slice() {
                [] => {
                    out.extend_from_slice(b"sha256:");
                    out.extend_from_slice(hex::encode(Sha256::digest(recorded)).as_bytes());
                }
                [one] => {
                    let column = &self.columns[*one];
                    if let Some(datum) = row.get(column.at) {
                        column.form.text(datum, out);
                    }
                }
                several => {
                    for (i, place) in several.iter().enumerate() {
                        out.push(if i == 0 { b'[' } else { b',' });
                        let column = &self.columns[*place];
                        if let Some(datum) = row.get(column.at) {
                            column.form.json(datum, out);
                        }
                    }
                    out.push(b']');
                }
            }
        }
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by this plan, used by its columns alone.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

impl Column {
    /// Whether two values have the same bytes, wherever they are stored.
    unsafe fn same(&self, one: Option<pg_sys::Datum>, other: Option<pg_sys::Datum>) -> bool {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (one, other) => return one.is_none() && other.is_none(),
        };
        // SAFETY: not null, of this column's layout.
        unsafe {
            if self.by_value {
                one.value() == other.value()
            } else if self.length == -1 {
                with_varlena(one, |one| with_varlena(other, |other| one == other))
            } else if self.length == -2 {
                CStr::from_ptr(one.cast_mut_ptr()) == CStr::from_ptr(other.cast_mut_ptr())
            } else {
                let bytes = |datum: pg_sys::Datum| {
                    std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), self.length as usize)
                };
                bytes(one) == bytes(other)
            }
        }
    }
}

/// Arguments of a capture trigger: column of the organisation (empty for none), whether a reason is required, columns left out and
/// columns masked, both as JSON arrays.
struct Arguments {
    org_column: String,
    reason_required: bool,
    left_out: Vec<String>,
    masked: Vec<String>,
}

impl Arguments {
    unsafe fn of(trigger: *const pg_sys::Trigger) -> Result<Self, Refusal> {
        // SAFETY: the caller's trigger has tgnargs arguments, NUL-terminated.
        unsafe {
            let argument = |i: usize| {
                CStr::from_ptr(*(*trigger).tgargs.add(i))
                    .to_str()
                    .unwrap_or_default()
            };
            let names = |i| serde_json::from_str::<Vec<String>>(argument(i)).ok();
            let read = || {
                Some(Arguments {
                    org_column: argument(0).to_owned(),
                    reason_required: match argument(1) {
                        "reason required" => true,
                        "" => false,
                        _ => return None,
                    },
                    left_out: names(2)?,
                    masked: names(3)?,
                })
            };
            ((*trigger).tgnargs == 4).then(read).flatten().ok_or_else(|| {
                Refusal::new(
                    "39P01",
                    "the arguments of this trigger are not those that track() gives it",
                )
            })
        }
    }
}

fn misfit(table: &str, why: &str) -> Refusal {
    Refusal::new(
        error::UNAVAILABLE,
        format!("{table} cannot be captured as track() was told: {why}"),
    )
    .hint("Call batchcortex.untrack() and batchcortex.track() with the columns that the table has now.")
}

/// A trigger that somebody put on a table by hand must not write into the audit trail.
fn require_registered(id: pg_sys::Oid, name: &str) -> Result<(), Refusal> {
    let registered = unscoped(|| {
        Spi::get_one_with_args::<bool>(
            "select exists (select from batchcortex.tracked_table t where t.relation::pg_catalog.oid operator(pg_catalog.=)
                 any (array(select a.relid::pg_catalog.oid from pg_catalog.pg_partition_ancestors($1) a) operator(pg_catalog.||) $1::pg_catalog.oid))",
            &[id.into()],
        )
    });
    match registered {
        Ok(Some(true)) => Ok(()),
        _ => Err(Refusal::new(
            error::UNAVAILABLE,
            format!("{name} has a capture trigger, but is not in batchcortex.tracked_table"),
        )
        .hint("Call batchcortex.track() for it, or drop the trigger.")),
    }
}

/// The partitioned table at the top, or the table itself.
fn root(id: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: a catalog look-up; null for a table that is no part of a partitioned one.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::pg_partition_root, &[Some(pg_sys::Datum::from(id))])
            .map_or(id, |root| pg_sys::Oid::from(root.value() as u32))
    }
}

/// Schema and name of a table, quoted where SQL would.
pub fn qualified_name(id: pg_sys::Oid) -> String {
    // SAFETY: catalog look-ups; names are NUL-terminated, quote_identifier gives one back.
    unsafe {
        let quoted = |name: *mut std::ffi::c_char| {
            if name.is_null() {
                return "?".to_owned();
            }
            CStr::from_ptr(pg_sys::quote_identifier(name))
                .to_string_lossy()
                .into_owned()
        };
        let all = pg_sys::quote_all_identifiers;
        pg_sys::quote_all_identifiers = false;
        let schema = quoted(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(id)));
        let name = quoted(pg_sys::get_rel_name(id));
        pg_sys::quote_all_identifiers = all;
        format!("{schema}.{name}")
    }
}

/// Columns that name a row, as places in it: the primary key, else the replica identity, else none.
unsafe fn key(relation: pg_sys::Relation) -> Vec<usize> {
    let mut identity = Vec::new();
    // SAFETY: indexes of an open table, opened one by one; indkey holds indnatts column numbers.
    unsafe {
        let list = pg_sys::RelationGetIndexList(relation);
        let count = if list.is_null() { 0 } else { (*list).length };
        for i in 0..count {
            let id = (*(*list).elements.add(i as usize)).oid_value;
            let index = pg_sys::index_open(id, pg_sys::AccessShareLock as i32);
            let form = (*index).rd_index;
            let columns = (*form)
                .indkey
                .values
                .as_slice((*form).indnkeyatts as usize)
                .iter()
                .map(|number| *number as usize - 1);
            let primary = (*form).indisprimary;
            if primary || (*form).indisreplident {
                identity = columns.collect();
            }
            pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
            if primary {
                break;
            }
        }
        pg_sys::list_free(list);
    }
    identity
}

/// Once a session: forget plans when their tables change.
fn listen() {
    if LISTENING.replace(true) {
        return;
    }
    // SAFETY: the callbacks are guarded, touch memory of this process alone and stay loaded with the library.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(table_changed), pg_sys::Datum::from(0usize));
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as i32,
            Some(schema_changed),
            pg_sys::Datum::from(0usize),
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn table_changed(_argument: pg_sys::Datum, id: pg_sys::Oid) {
    PLANS.with_borrow_mut(|plans| {
        plans.retain(|table, plan| id != pg_sys::InvalidOid && *table != id && plan.root != id);
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn schema_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    PLANS.with_borrow_mut(HashMap::clear);
}
