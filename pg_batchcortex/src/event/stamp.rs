//! What the server sets on every event, whatever the writer said.

use crate::error::{self, Refusal};
use crate::identity::binding;
use crate::identity::unscoped::unscoped;
use crate::ledger::leaf::{self, Fired};
use crate::row::{Row, text_datum, uuid_bytes, uuid_datum};
use pgrx::datum::Uuid;
use pgrx::{Spi, pg_sys};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashSet;
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
    let actor = Actor::of_transaction()?;
    // SAFETY: org_id is a uuid column.
    let given = row.get(columns.org_id).map(|given| unsafe { uuid_bytes(given) });
    // Within a request the log is the request's organisation's; without one the writer names it, and left out it is the installation.
    let org_id = actor.log_of(given.or(actor.org_id))?;
    row.set(columns.org_id, Some(uuid_datum(&org_id)));
    actor.put(row, columns);
    Ok(())
}

/// Who acts and from where, as every event of one statement says it.
#[derive(Debug)]
pub struct Actor {
    /// Organisation of the request; none without an identity.
    org_id: Option<[u8; 16]>,
    kind: String,
    id: Option<[u8; 16]>,
    name: String,
    role: String,
    client_ip: Option<String>,
    user_agent: Option<String>,
    request_id: Option<String>,
}

impl Actor {
    /// The identity of this transaction; without one the database login, or the server when a background worker writes.
    pub fn of_transaction() -> Result<Self, Refusal> {
        let Some(identity) = binding::bound() else {
            return Ok(Self::database_login());
        };
        let org_id = identity.org_id();
        if org_id.is_none() {
            return Err(Refusal::new(
                error::FORGED,
                "the bound identity names no organisation",
            ));
        }
        Ok(Actor {
            org_id,
            kind: identity.kind().to_owned(),
            id: identity.id(),
            name: identity.name().to_owned(),
            role: identity.role().to_owned(),
            client_ip: identity.client_ip().map(str::to_owned),
            user_agent: identity.user_agent().map(str::to_owned),
            request_id: identity.request_id().map(str::to_owned),
        })
    }

    fn database_login() -> Self {
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
            let role = if server {
                "system"
            } else if pg_sys::superuser_arg(login) {
                "superuser"
            } else {
                "login"
            };
            Actor {
                org_id: None,
                kind: if server { "system" } else { "database" }.to_owned(),
                id: None,
                name: CStr::from_ptr(name).to_string_lossy().into_owned(),
                role: role.to_owned(),
                client_ip: client_address(),
                user_agent: None,
                request_id: None,
            }
        }
    }

    /// The log that an event of this organisation goes to, the installation's for none: it must exist, and be the request's own
    /// within a request.
    pub fn log_of(&self, org_id: Option<[u8; 16]>) -> Result<[u8; 16], Refusal> {
        let org_id = org_id.unwrap_or(INSTALLATION);
        match self.org_id {
            Some(own) if own == org_id => Ok(org_id),
            Some(_) => Err(Refusal::new(
                error::FORGED,
                "an event belongs to the organisation of the request",
            )),
            None => known(org_id).map(|()| org_id),
        }
    }

    /// The log that a changed row's event goes to: that of the organisation which the row names, the installation's when it names
    /// none, within a request too.
    pub fn log_of_row(&self, org_id: Option<[u8; 16]>) -> Result<[u8; 16], Refusal> {
        match org_id {
            None | Some(INSTALLATION) => Ok(INSTALLATION),
            named => self.log_of(named),
        }
    }

    /// Sets the columns that name actor and address.
    pub fn put(&self, row: &mut Row<'_>, columns: &Columns) {
        row.set(columns.actor_kind, Some(text_datum(&self.kind)));
        row.set(columns.actor_id, self.id.map(|id| uuid_datum(&id)));
        row.set(columns.actor_name, Some(text_datum(&self.name)));
        row.set(columns.actor_role, Some(text_datum(&self.role)));
        row.set(columns.client_ip, self.client_ip.as_deref().and_then(inet_datum));
        row.set(columns.user_agent, self.user_agent.as_deref().map(text_datum));
        row.set(columns.request_id, self.request_id.as_deref().map(text_datum));
    }
}

/// The installation itself, whose log takes what belongs to no organisation.
pub const INSTALLATION: [u8; 16] = [0; 16];

/// How many organisations a session remembers.
const REMEMBERED: usize = 1024;

thread_local!(static KNOWN: RefCell<HashSet<[u8; 16]>> = RefCell::default());

/// Refuses an organisation that does not exist.
fn known(org_id: [u8; 16]) -> Result<(), Refusal> {
    if org_id == INSTALLATION || KNOWN.with_borrow(|known| known.contains(&org_id)) {
        return Ok(());
    }
    let found = unscoped(|| {
        Spi::get_one_with_args::<bool>(
            "select created_at operator(pg_catalog.<) pg_catalog.transaction_timestamp() from batchcortex.organisation where org_id operator(pg_catalog.=) $1",
            &[Uuid::from_bytes(org_id).into()],
        )
    });
    match found {
        Ok(Some(true)) => KNOWN.with_borrow_mut(|known| {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(org_id);
        }),
        // An organisation made by this transaction may still be rolled back: it is looked up again each time.
        Ok(Some(false)) => {}
        _ => {
            return Err(Refusal::new(
                error::UNKNOWN,
                format!("unknown organisation {}", Uuid::from_bytes(org_id)),
            ));
        }
    }
    Ok(())
}

/// Address of the session's client, none over a Unix socket. Asked once: it does not change while the session lasts.
fn client_address() -> Option<String> {
    thread_local!(static ADDRESS: OnceCell<Option<String>> = const { OnceCell::new() });
    // SAFETY: as there.
    ADDRESS.with(|address| address.get_or_init(|| unsafe { ask_address() }).clone())
}

unsafe fn ask_address() -> Option<String> {
    // SAFETY: inet_client_addr takes no argument, reads MyProcPort, and gives null without a network connection; inet_out gives a
    // NUL-terminated text.
    unsafe {
        let address = pgrx::direct_function_call_as_datum(pg_sys::inet_client_addr, &[])?;
        let text = pgrx::direct_function_call_as_datum(pg_sys::inet_out, &[Some(address)])?;
        Some(CStr::from_ptr(text.cast_mut_ptr()).to_string_lossy().into_owned())
    }
}

fn inet_datum(text: &str) -> Option<pg_sys::Datum> {
    let text = std::ffi::CString::new(text).ok()?;
    // SAFETY: inet_in takes a NUL-terminated string; the text was an inet when the identity was bound.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::inet_in, &[Some(pg_sys::Datum::from(text.as_ptr()))])
    }
}
