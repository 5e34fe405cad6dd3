//! The audit trail: what the server sets on every event, whatever the writer said.

use crate::error::{self, Refusal};
use crate::identity::binding;
use crate::ledger::leaf::{self, Fired};
use crate::row::{Row, text_datum, uuid_datum};
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// Columns of events_log that the server sets.
#[derive(Clone, Copy)]
struct Columns {
    org_id: usize,
    event_id: usize,
    recorded_at: usize,
    actor_kind: usize,
    actor_id: usize,
    actor_name: usize,
    actor_role: usize,
    client_ip: usize,
    user_agent: usize,
    request_id: usize,
    leaf_hash: usize,
}

thread_local!(static COLUMNS: Cell<Option<(pg_sys::Oid, Columns)>> = const { Cell::new(None) });

/// BEFORE INSERT on events_log (arguments: relation id, domain, key column): sets id, time, actor, address and leaf
/// hash, and keeps an organisation's transaction inside its own log.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_stamp(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called by PostgreSQL as a trigger; Fired::of checks that it is.
    unsafe {
        error::raising(|| {
            let fired = Fired::of(fcinfo)?;
            let desc = fired.desc();
            let mut row = Row::of(&desc, fired.tuple());
            let columns = columns(&fired, &row)?;
            let now = leaf::time_of_record(row.get(columns.recorded_at));
            row.set(columns.recorded_at, Some(pg_sys::Datum::from(now)));
            row.set(columns.event_id, Some(uuid_datum(&leaf::uuid_v7(now))));
            stamp_actor(&mut row, &columns)?;
            fired.seal_in(&mut row, columns.leaf_hash)
        })
    }
}

crate::function_info!(pg_finfo_event_stamp);

fn columns(fired: &Fired, row: &Row<'_>) -> Result<Columns, Refusal> {
    if let Some((relation, columns)) = COLUMNS.get()
        && relation == fired.relation()
    {
        return Ok(columns);
    }
    let find = |name| leaf::position(row, name);
    let columns = Columns {
        org_id: find("org_id")?,
        event_id: find("event_id")?,
        recorded_at: find("recorded_at")?,
        actor_kind: find("actor_kind")?,
        actor_id: find("actor_id")?,
        actor_name: find("actor_name")?,
        actor_role: find("actor_role")?,
        client_ip: find("client_ip")?,
        user_agent: find("user_agent")?,
        request_id: find("request_id")?,
        leaf_hash: find("leaf_hash")?,
    };
    COLUMNS.set(Some((fired.relation(), columns)));
    Ok(columns)
}

fn stamp_actor(row: &mut Row<'_>, columns: &Columns) -> Result<(), Refusal> {
    let Some(identity) = binding::bound() else {
        return stamp_database_login(row, columns);
    };
    let Some(org_id) = identity.org_id() else {
        return Err(Refusal::new(
            error::FORGED,
            "the bound identity names no organisation",
        ));
    };
    // SAFETY: org_id is a uuid column.
    let given = row
        .get(columns.org_id)
        .map(|given| unsafe { crate::row::uuid_bytes(given) });
    if given.is_some_and(|given| given != org_id) {
        return Err(Refusal::new(
            error::FORGED,
            "an event belongs to the organisation of the request",
        ));
    }
    row.set(columns.org_id, Some(uuid_datum(&org_id)));
    row.set(columns.actor_kind, Some(text_datum(identity.kind())));
    row.set(columns.actor_id, identity.id().map(|id| uuid_datum(&id)));
    row.set(columns.actor_name, Some(text_datum(identity.name())));
    row.set(columns.actor_role, Some(text_datum(identity.role())));
    row.set(columns.client_ip, identity.client_ip().and_then(inet_datum));
    row.set(columns.user_agent, identity.user_agent().map(text_datum));
    row.set(columns.request_id, identity.request_id().map(text_datum));
    Ok(())
}

/// Without a credential the actor is the database login, or the server when a background worker writes.
fn stamp_database_login(row: &mut Row<'_>, columns: &Columns) -> Result<(), Refusal> {
    // SAFETY: reads globals of the backend; GetUserNameFromId gives a palloc'ed NUL-terminated name.
    unsafe {
        let server = pg_sys::MyProcPort.is_null();
        let login = pg_sys::GetSessionUserId();
        let name = if server {
            c"server".as_ptr()
        } else {
            pg_sys::GetUserNameFromId(login, false).cast_const()
        };
        let name = CStr::from_ptr(name).to_string_lossy();
        let role = match (server, pg_sys::superuser_arg(login)) {
            (true, _) => "system",
            (false, true) => "superuser",
            (false, false) => "login",
        };
        row.set(
            columns.actor_kind,
            Some(text_datum(if server { "system" } else { "database" })),
        );
        row.set(columns.actor_id, None);
        row.set(columns.actor_name, Some(text_datum(&name)));
        row.set(columns.actor_role, Some(text_datum(role)));
        row.set(columns.client_ip, client_address());
        row.set(columns.user_agent, None);
        row.set(columns.request_id, None);
    }
    Ok(())
}

/// Address of the session's client, none over a Unix socket.
unsafe fn client_address() -> Option<pg_sys::Datum> {
    // SAFETY: inet_client_addr takes no argument, reads MyProcPort, and gives null without a network connection.
    unsafe { pgrx::direct_function_call_as_datum(pg_sys::inet_client_addr, &[]) }
}

fn inet_datum(text: &str) -> Option<pg_sys::Datum> {
    let text = std::ffi::CString::new(text).ok()?;
    // SAFETY: inet_in takes a NUL-terminated string; the text was an inet when the identity was bound.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::inet_in, &[Some(pg_sys::Datum::from(text.as_ptr()))])
    }
}
