//! What is altered of a table that is tracked, or whose rows are not deleted: an event `table.altered` in the same transaction, with the
//! statement. Rows that a statement rewrites, moves to another table or shows under another name fire no trigger.

use super::mark;
use crate::capture::reason;
use crate::identity::{log_redaction, unscoped::unscoped};
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::{Spi, pg_sys};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char};

/// The most bytes of a statement that are recorded.
const LONGEST: usize = 10_000;

/// Where a statement stands in the text that was sent.
#[derive(Clone, Copy)]
pub struct Source {
    text: *const c_char,
    location: i32,
    length: i32,
}

impl Source {
    /// The statement of a plan.
    ///
    /// # Safety
    /// Must be the arguments of the utility hook, and must not outlive its call.
    pub unsafe fn of(plan: &pg_sys::PlannedStmt, text: *const c_char) -> Self {
        Source {
            text,
            location: plan.stmt_location,
            length: plan.stmt_len,
        }
    }

    /// The statement without credentials; cut off before its first literal where columns of the table are not to be told.
    fn text(&self, masked: bool) -> String {
        if self.text.is_null() {
            return String::new();
        }
        // SAFETY: NUL-terminated, as the hook got it.
        let all = unsafe { CStr::from_ptr(self.text) }.to_bytes();
        let from = usize::try_from(self.location).unwrap_or(0).min(all.len());
        let to = match self.length {
            ..=0 => all.len(),
            length => (from + length as usize).min(all.len()),
        };
        let mut bytes = all[from..to].trim_ascii().to_vec();
        log_redaction::mask_tokens(&mut bytes);
        let literal = bytes
            .iter()
            .position(|byte| masked && matches!(byte, b'\'' | b'$'));
        bytes.truncate(literal.unwrap_or(bytes.len()).min(LONGEST));
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if literal.is_some() {
            text.push_str("[masked]");
        }
        text
    }
}

thread_local! {
    static STATEMENT: Cell<usize> = const { Cell::new(0) };
    static NOTED: RefCell<Vec<(usize, pg_sys::Oid, String)>> = const { RefCell::new(Vec::new()) };
}

/// Enters a utility statement, known by its address; gives the one around it, to be given back to [`leave`].
pub fn enter(statement: usize, nested: bool) -> usize {
    // What a statement that failed had noted does not count.
    NOTED.with_borrow_mut(|noted| noted.retain(|(of, ..)| nested && *of != statement));
    let outer = STATEMENT.replace(statement);
    if nested { outer } else { 0 }
}

/// Leaves a utility statement that has run.
pub fn leave(outer: usize) {
    STATEMENT.set(outer);
}

/// Notes, while a statement alters a table, what the table is called before.
pub fn note(table: pg_sys::Oid) {
    let statement = STATEMENT.get();
    NOTED.with_borrow_mut(|noted| {
        if !noted
            .iter()
            .any(|(of, other, _)| (*of, *other) == (statement, table))
        {
            noted.push((statement, table, name(table)));
        }
    });
}

/// Whether anything is noted: asked after every statement.
pub fn is_noted() -> bool {
    NOTED.with_borrow(|noted| !noted.is_empty())
}

/// Records what the statement that has just run has altered.
pub fn record_noted(source: &Source) {
    let statement = STATEMENT.get();
    let mut mine = NOTED.with_borrow_mut(|noted| {
        let (mine, others): (Vec<_>, Vec<_>) = std::mem::take(noted)
            .into_iter()
            .partition(|(of, ..)| *of == statement);
        *noted = others;
        mine
    });
    if mine.is_empty() {
        return;
    }
    // By name: a statement that alters several notes them in the order in which catalog indexes happen to hold them.
    mine.sort_by(|(.., a), (.., b)| a.cmp(b));
    // What the statement has written must be seen.
    // SAFETY: between two statements of a transaction.
    unsafe { pg_sys::CommandCounterIncrement() };
    for (_, table, was) in mine {
        record(table, &was, source);
    }
}

/// Records that a statement alters a table that was called `was`.
pub fn record(table: pg_sys::Oid, was: &str, source: &Source) {
    let before = serde_json::json!({ "name": was }).to_string();
    let after = serde_json::json!({ "name": name(table), "statement": source.text(hides_columns(table)) });
    // The owner of a table of their own has no privilege on the log, and needs none.
    unscoped(|| {
        Spi::run_with_args(
            "select batchcortex.log_event('table.altered', 'table', $1, before => $2::pg_catalog.json, after => $3::pg_catalog.json, reason => $4)",
            &[
                was.into(),
                before.into(),
                after.to_string().into(),
                reason::current().into(),
            ],
        )
    })
    .unwrap_or_report();
}

/// Qualified name of a relation, quoted where it must be; as the statement that alters it finds it.
pub fn name(relation: pg_sys::Oid) -> String {
    // SAFETY: catalog look-ups; names are NUL-terminated or null.
    unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        let name = pg_sys::get_rel_name(relation);
        if schema.is_null() || name.is_null() {
            return relation.to_u32().to_string();
        }
        CStr::from_ptr(pg_sys::quote_qualified_identifier(schema, name))
            .to_string_lossy()
            .into_owned()
    }
}

/// Whether columns of a tracked table are left out or masked: what their values were must not stand in a statement either.
fn hides_columns(table: pg_sys::Oid) -> bool {
    let namespace = mark::schema();
    // SAFETY: the relation cache gives null for what does not exist; trigger arguments are NUL-terminated.
    unsafe {
        let open = pg_sys::RelationIdGetRelation(table);
        if open.is_null() {
            return false;
        }
        let triggers = (*open).trigdesc;
        let count = if triggers.is_null() {
            0
        } else {
            (*triggers).numtriggers as usize
        };
        let hides = (0..count).any(|i| {
            let trigger = &*(*triggers).triggers.add(i);
            trigger.tgnargs == 4
                && mark::trigger(trigger.tgfoid, namespace) == Some(mark::Mark::Tracked)
                && (2..4).any(|i| CStr::from_ptr(*trigger.tgargs.add(i)) != c"[]")
        });
        pg_sys::RelationClose(open);
        hides
    }
}
