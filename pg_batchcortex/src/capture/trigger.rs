//! The trigger functions of tracked tables.

use super::batch;
use super::plan::{Plan, Values};
use super::reason;
use super::truncate;
use crate::error::{self, Refusal};
use crate::event::bulk::Draft;
use crate::protection::mark;
use pgrx::pg_sys;
use std::cell::RefCell;

/// What is kept between rows, so that nothing is allocated for each.
#[derive(Default)]
struct Scratch {
    before: Values,
    after: Values,
    before_text: Vec<u8>,
    after_text: Vec<u8>,
    record_id: Vec<u8>,
}

thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());

/// Buffers above this size are given back after a row.
const KEPT: usize = 1 << 20;

/// A change to one row.
#[derive(Clone, Copy)]
pub enum Change {
    Inserted(pg_sys::HeapTuple),
    Updated(pg_sys::HeapTuple, pg_sys::HeapTuple),
    Deleted(pg_sys::HeapTuple),
    Truncated(pg_sys::HeapTuple),
}

/// AFTER INSERT, UPDATE or DELETE, for each row: records it.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn capture_row(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger, which `data` checks.
    unsafe {
        error::raising(|| {
            record_row(&*data(fcinfo)?)?;
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

/// The same on a table of the project, for what no function of the project does: those run as batchcortex_owner and tell what they do
/// themselves. SET ROLE does not make a session one of them.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn capture_by_hand(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger, which `data` checks; reads the user of this backend.
    unsafe {
        error::raising(|| {
            let data = &*data(fcinfo)?;
            let own = pg_sys::InLocalUserIdChange() && pg_sys::GetUserId() == mark::owner();
            if !own {
                if pg_sys::get_rel_namespace((*data.tg_relation).rd_id) != mark::schema() {
                    return Err(protocol("capture_by_hand is for tables of BatchCortex"));
                }
                record_row(data)?;
            }
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

/// Records the change that a row trigger fired for.
unsafe fn record_row(data: &pg_sys::TriggerData) -> Result<(), Refusal> {
    let wanted = pg_sys::TRIGGER_EVENT_ROW;
    if data.tg_event & (wanted | pg_sys::TRIGGER_EVENT_TIMINGMASK) != wanted {
        return Err(protocol("this trigger function is for rows, after they changed"));
    }
    let change = match data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
        pg_sys::TRIGGER_EVENT_INSERT => Change::Inserted(data.tg_trigtuple),
        pg_sys::TRIGGER_EVENT_UPDATE => Change::Updated(data.tg_trigtuple, data.tg_newtuple),
        _ => Change::Deleted(data.tg_trigtuple),
    };
    // SAFETY: the tuples of a row trigger live until it returns; relation and trigger are open.
    unsafe {
        let plan = Plan::of(data.tg_relation, data.tg_trigger)?;
        record(&plan, data.tg_relation, change)
    }
}

crate::function_info!(pg_finfo_capture_by_hand);
crate::function_info!(pg_finfo_capture_row);

/// BEFORE INSERT, UPDATE or DELETE, for each statement: from here on its rows are gathered.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn capture_begin(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger, which `data` checks.
    unsafe {
        error::raising(|| {
            data(fcinfo)?;
            batch::begin();
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

crate::function_info!(pg_finfo_capture_begin);

/// AFTER INSERT, UPDATE or DELETE, for each statement: what was gathered is stored.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn capture_end(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger, which `data` checks.
    unsafe {
        error::raising(|| {
            data(fcinfo)?;
            batch::end()?;
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

crate::function_info!(pg_finfo_capture_end);

/// BEFORE TRUNCATE, for each statement: the rows that go are recorded, and that they went.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn capture_truncate(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger, which `data` checks; the table is locked exclusively.
    unsafe {
        error::raising(|| {
            let data = &*data(fcinfo)?;
            if data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK != pg_sys::TRIGGER_EVENT_TRUNCATE {
                return Err(protocol("this trigger function is for TRUNCATE"));
            }
            let plan = Plan::of(data.tg_relation, data.tg_trigger)?;
            truncate::record(&plan, data.tg_relation)?;
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

crate::function_info!(pg_finfo_capture_truncate);

unsafe fn data(fcinfo: pg_sys::FunctionCallInfo) -> Result<*mut pg_sys::TriggerData, Refusal> {
    // SAFETY: context is null or a node.
    unsafe {
        let data = (*fcinfo).context.cast::<pg_sys::TriggerData>();
        if data.is_null() || (*data).type_ != pg_sys::NodeTag::T_TriggerData {
            return Err(protocol("this is a trigger function"));
        }
        Ok(data)
    }
}

fn protocol(why: &str) -> Refusal {
    Refusal::new("39P01", why)
}

/// Records one change.
///
/// # Safety
/// The tuples must be rows of the open relation that the plan is of.
pub unsafe fn record(plan: &Plan, relation: pg_sys::Relation, change: Change) -> Result<(), Refusal> {
    let why = reason::current();
    if plan.reason_required && why.is_none() && !matches!(change, Change::Inserted(_)) {
        return Err(reason_missing(plan));
    }
    // Output functions may be anyone's and may change tracked tables themselves: the buffers are not borrowed meanwhile.
    let mut scratch = SCRATCH.take();
    // SAFETY: as the caller promises.
    let result = unsafe { write(plan, relation, change, why, &mut scratch) };
    for text in [
        &mut scratch.before_text,
        &mut scratch.after_text,
        &mut scratch.record_id,
    ] {
        text.clear();
        text.shrink_to(KEPT);
    }
    SCRATCH.set(scratch);
    result
}

unsafe fn write(
    plan: &Plan,
    relation: pg_sys::Relation,
    change: Change,
    why: Option<&str>,
    scratch: &mut Scratch,
) -> Result<(), Refusal> {
    let (before, after) = match change {
        Change::Inserted(row) => (None, Some(row)),
        Change::Updated(before, after) => (Some(before), Some(after)),
        Change::Deleted(row) | Change::Truncated(row) => (Some(row), None),
    };
    let action = match change {
        Change::Inserted(_) => "row.inserted",
        Change::Updated(..) => "row.updated",
        Change::Deleted(_) => "row.deleted",
        Change::Truncated(_) => "row.truncated",
    };
    let Scratch {
        before: old,
        after: new,
        before_text,
        after_text,
        record_id,
    } = scratch;
    // SAFETY: as the caller of `record` promises; settings are fixed while texts are made.
    unsafe {
        let _fixed = plan.fixed();
        let mut organisations = (None, None);
        if let Some(tuple) = before {
            old.read(relation, tuple);
            plan.write(old, None, before_text);
            organisations.0 = Some(plan.organisation(old));
        }
        if let Some(tuple) = after {
            new.read(relation, tuple);
            plan.write(new, before.is_some().then_some(&*old), after_text);
            organisations.1 = Some(plan.organisation(new));
        }
        if before.is_some() {
            plan.identify(old, before_text, record_id);
        } else {
            plan.identify(new, after_text, record_id);
        }
        drop(_fixed);
        let draft = Draft {
            org_id: Default::default(),
            at: pg_sys::GetCurrentTimestamp(),
            action,
            record_type: &plan.record_type,
            record_id,
            before: before.map(|_| before_text.as_slice()),
            after: after.map(|_| after_text.as_slice()),
            reason: why,
        };
        match organisations {
            // A row that changes its organisation leaves one log and enters the other: neither sees the other's side.
            (Some(from), Some(to)) if from != to => {
                batch::add(
                    from,
                    Draft {
                        action: "row.deleted",
                        after: None,
                        ..draft
                    },
                )?;
                let mut entered = Vec::new();
                plan.identify(new, after_text, &mut entered);
                batch::add(
                    to,
                    Draft {
                        action: "row.inserted",
                        before: None,
                        record_id: &entered,
                        ..draft
                    },
                )
            }
            (from, to) => batch::add(to.or(from).flatten(), draft),
        }
    }
}

/// The refusal of a change that nobody gave a reason for.
pub fn reason_missing(plan: &Plan) -> Refusal {
    Refusal::new(
        error::REASON_REQUIRED,
        format!(
            "{} takes no update or deletion without a reason",
            plan.record_type
        ),
    )
    .hint("SELECT batchcortex.set_reason('…') first, in the same transaction.")
}

pgrx::extension_sql!(
    r"
create function batchcortex.capture_row() returns trigger language c as 'MODULE_PATHNAME', 'capture_row';
create function batchcortex.capture_by_hand() returns trigger language c as 'MODULE_PATHNAME', 'capture_by_hand';
create function batchcortex.capture_begin() returns trigger language c as 'MODULE_PATHNAME', 'capture_begin';
create function batchcortex.capture_end() returns trigger language c as 'MODULE_PATHNAME', 'capture_end';
create function batchcortex.capture_truncate() returns trigger language c as 'MODULE_PATHNAME', 'capture_truncate';
create function batchcortex.set_reason(reason text) returns void language c volatile parallel unsafe as 'MODULE_PATHNAME', 'set_reason';
",
    name = "capture_functions",
    requires = ["access"]
);
