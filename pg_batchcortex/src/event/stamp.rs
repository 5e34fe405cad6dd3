//! What the server sets on every event, whatever the writer said.

use crate::error::{self, Refusal};
use crate::identity::binding;
use crate::identity::unscoped::unscoped;
use crate::ledger::leaf::{self, Fired};
use crate::row::{Row, text_datum, uuid_bytes, uuid_datum};
use pgrx::datum::Uuid;
use pgrx::{Spi, pg_sys};
use std::cell::Cell;
use std::ffi::CStr;

/// Columns of events_log that the server sets.
#[derive(Clone, Copy)]
pub struct Columns {
    pub org_id: usize,
    pub event_id: usize,
    pub recorded_at: usize,
    pub actor_kind: usize,
    pub actor_id: usize,
    pub actor_name: usize,
    pub actor_role: usize,
    pub client_ip: usize,
    pub user_agent: usize,
    pub request_id: usize,
    pub leaf_hash: usize,
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
            let columns = Columns::of(fired.relation(), &row)?;
            let now = leaf::time_of_record(row.get(columns.recorded_at));
            stamp(&mut row, &columns, now)?;
            fired.seal_in(&mut row, columns.leaf_hash)
        })
    }
}

crate::function_info!(pg_finfo_event_stamp);

impl Columns {
    /// Found by name once and kept for the table that was last written: columns of events_log do not move.
    pub fn of(relation: pg_sys::Oid, row: &Row<'_>) -> Result<Self, Refusal> {
        if let Some((known, columns)) = COLUMNS.get()
            && known == relation
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
        COLUMNS.set(Some((relation, columns)));
        Ok(columns)
    }
}

/// Sets time, id, organisation, actor and address of an event that is recorded at `now`.
pub fn stamp(row: &mut Row<'_>, columns: &Columns, now: i64) -> Result<(), Refusal> {
    row.set(columns.recorded_at, Some(pg_sys::Datum::from(now)));
    row.set(columns.event_id, Some(uuid_datum(&leaf::uuid_v7(now))));
    stamp_actor(row, columns)
}

fn stamp_actor(row: &mut Row<'_>, columns: &Columns) -> Result<(), Refusal> {
    let Some(identity) = binding::bound() else {
        own_organisation(row, columns)?;
        return stamp_database_login(row, columns);
    };
    let Some(org_id) = identity.org_id() else {
        return Err(Refusal::new(
            error::FORGED,
            "the bound identity names no organisation",
        ));
    };
    // SAFETY: org_id is a uuid column.
    let given = row.get(columns.org_id).map(|given| unsafe { uuid_bytes(given) });
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

thread_local!(static KNOWN: Cell<[u8; 16]> = const { Cell::new(INSTALLATION) });

/// The installation itself, whose log takes what belongs to no organisation.
const INSTALLATION: [u8; 16] = [0; 16];

/// Without a credential the writer names the organisation, which must exist; left out it is the installation.
fn own_organisation(row: &mut Row<'_>, columns: &Columns) -> Result<(), Refusal> {
    // SAFETY: org_id is a uuid column.
    let org_id = row
        .get(columns.org_id)
        .map_or(INSTALLATION, |given| unsafe { uuid_bytes(given) });
    if org_id != INSTALLATION && org_id != KNOWN.get() {
        let found = unscoped(|| {
            Spi::get_one_with_args::<bool>(
                "select created_at operator(pg_catalog.<) pg_catalog.transaction_timestamp() from batchcortex.organisation where org_id operator(pg_catalog.=) $1",
                &[Uuid::from_bytes(org_id).into()],
            )
        });
        // An organisation made by this transaction may still be rolled back: it is looked up again each time.
        match found {
            Ok(Some(true)) => KNOWN.set(org_id),
            Ok(Some(false)) => {}
            _ => {
                return Err(Refusal::new(
                    error::UNKNOWN,
                    format!("unknown organisation {}", Uuid::from_bytes(org_id)),
                ));
            }
        }
    }
    row.set(columns.org_id, Some(uuid_datum(&org_id)));
    Ok(())
}

/// Without a credential the actor is the database login, or the server when a background worker writes.
fn stamp_database_login(row: &mut Row<'_>, columns: &Columns) -> Result<(), Refusal> {
    // SAFETY: reads globals of the backend; GetUserNameFromId gives a palloc'ed NUL-terminated name.
    unsafe {
        let server = pg_sys::MyProcPort.is_null();
        // Who logged in: SET SESSION AUTHORIZATION changes the session's user, not who opened it.
        let login = if server {
            pg_sys::InvalidOid
        } else {
            pg_sys::GetAuthenticatedUserId()
        };
        let name = if server {
            c"server".as_ptr()
        } else {
            pg_sys::GetUserNameFromId(login, false).cast_const()
        };
        let name = CStr::from_ptr(name).to_string_lossy();
        let role = if server {
            "system"
        } else if pg_sys::superuser_arg(login) {
            "superuser"
        } else {
            "login"
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
