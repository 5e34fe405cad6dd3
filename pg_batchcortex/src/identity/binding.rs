//! The identity bound to a transaction.
//!
//! It lives in one setting, `batchcortex.identity`, because settings follow transactions and savepoints exactly and
//! reach parallel workers. Its check hook refuses every writer but this module, superusers included.

use crate::assign;
use crate::settings::IDENTITY;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Between the fields of the packed identity. Field texts are cleaned of control characters before packing.
const SEPARATOR: char = '\u{1f}';
const NAME: &CStr = c"batchcortex.identity";

thread_local!(static BINDING: Cell<bool> = const { Cell::new(false) });

/// Who acts in this transaction, for which organisation, from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Organisation.
    pub org_id: [u8; 16],
    /// user, api_key, device or system (events_log.actor_kind).
    pub kind: String,
    /// Person, key or device; none for the system.
    pub id: Option<[u8; 16]>,
    /// Full name or device name, as it is now.
    pub name: String,
    /// Role, as it is now.
    pub role: String,
    /// Session, for people.
    pub session_id: Option<[u8; 16]>,
    /// Address, text form of inet.
    pub client_ip: String,
    /// User agent.
    pub user_agent: String,
    /// Request id.
    pub request_id: String,
    /// Permissions that an API key is confined to, comma-separated; empty for everyone else.
    pub scopes: String,
}

impl Identity {
    /// Nobody yet, as the API tells where a request comes from.
    pub fn from_client(
        client_ip: Option<pgrx::Inet>,
        user_agent: Option<&str>,
        request_id: Option<&str>,
    ) -> Self {
        Identity {
            client_ip: client_ip.map(|ip| ip.0).unwrap_or_default(),
            user_agent: user_agent.unwrap_or_default().to_owned(),
            request_id: request_id.unwrap_or_default().to_owned(),
            ..Identity::default()
        }
    }
}

/// Fields of the bound identity, borrowed from the setting.
pub struct Bound<'a>(Vec<&'a str>);

impl<'a> Bound<'a> {
    fn field(&self, i: usize) -> Option<&'a str> {
        self.0.get(i).copied().filter(|text| !text.is_empty())
    }
    fn uuid(&self, i: usize) -> Option<[u8; 16]> {
        parse_uuid(self.field(i)?)
    }
    /// Organisation.
    pub fn org_id(&self) -> Option<[u8; 16]> {
        self.uuid(0)
    }
    /// Actor kind.
    pub fn kind(&self) -> &'a str {
        self.field(1).unwrap_or("system")
    }
    /// Person, key or device.
    pub fn id(&self) -> Option<[u8; 16]> {
        self.uuid(2)
    }
    /// Full name.
    pub fn name(&self) -> &'a str {
        self.field(3).unwrap_or("")
    }
    /// Role.
    pub fn role(&self) -> &'a str {
        self.field(4).unwrap_or("")
    }
    /// Session.
    pub fn session_id(&self) -> Option<[u8; 16]> {
        self.uuid(5)
    }
    /// Address.
    pub fn client_ip(&self) -> Option<&'a str> {
        self.field(6)
    }
    /// User agent.
    pub fn user_agent(&self) -> Option<&'a str> {
        self.field(7)
    }
    /// Request id.
    pub fn request_id(&self) -> Option<&'a str> {
        self.field(8)
    }
    /// Permissions that an API key is confined to, comma-separated.
    pub fn scopes(&self) -> Option<&'a str> {
        self.field(9)
    }
    /// Everything that is bound, as values of its own.
    pub fn to_identity(&self) -> Identity {
        let own = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Identity {
            org_id: self.org_id().unwrap_or_default(),
            kind: self.kind().to_owned(),
            id: self.id(),
            name: self.name().to_owned(),
            role: self.role().to_owned(),
            session_id: self.session_id(),
            client_ip: own(self.client_ip()),
            user_agent: own(self.user_agent()),
            request_id: own(self.request_id()),
            scopes: own(self.scopes()),
        }
    }
}

/// The identity of this transaction, if one is bound.
pub fn bound<'a>() -> Option<Bound<'a>> {
    // SAFETY: the setting's value stays allocated until it is set again, and callers use it at once.
    let text = unsafe {
        let value: *mut c_char = *IDENTITY.as_ptr();
        if value.is_null() || *value == 0 {
            return None;
        }
        CStr::from_ptr(value).to_str().ok()?
    };
    Some(Bound(text.split(SEPARATOR).collect()))
}

/// The person of this transaction: none for a device, an API key or the server itself.
pub fn bound_person() -> Option<Identity> {
    bound()
        .filter(|bound| bound.kind() == "user")
        .map(|bound| bound.to_identity())
}

/// The account of that person.
pub fn bound_user() -> Option<Uuid> {
    bound()
        .filter(|bound| bound.kind() == "user")
        .and_then(|bound| bound.id().map(Uuid::from_bytes))
}

/// The binding as it is packed, empty without one: who acts has changed when this has.
pub fn packed<'a>() -> &'a [u8] {
    // SAFETY: the setting's value stays allocated until it is set again, and callers use it at once.
    unsafe {
        let value: *mut c_char = *IDENTITY.as_ptr();
        if value.is_null() {
            return &[];
        }
        CStr::from_ptr(value).to_bytes()
    }
}

/// Binds `identity` until the transaction or savepoint ends.
pub fn bind(identity: &Identity) {
    let id = |id: Option<[u8; 16]>| id.map(format_uuid).unwrap_or_default();
    let packed = [
        id(Some(identity.org_id)),
        identity.kind.clone(),
        id(identity.id),
        clean(&identity.name, 200),
        identity.role.clone(),
        id(identity.session_id),
        clean(&identity.client_ip, 60),
        clean(&identity.user_agent, 500),
        clean(&identity.request_id, 128),
        identity.scopes.clone(),
    ]
    .join(&SEPARATOR.to_string());
    set(&packed);
}

/// Runs `body` as `identity` and goes back to what was bound before. An error takes the binding back with it.
pub fn acting_as<T>(identity: &Identity, body: impl FnOnce() -> T) -> T {
    let before = IDENTITY
        .get()
        .and_then(|text| text.into_string().ok())
        .unwrap_or_default();
    bind(identity);
    let result = body();
    set(&before);
    result
}

/// Records an event of whoever is bound.
pub fn log(action: &str, record_type: &str, record_id: &str) {
    Spi::run_with_args(
        "select batchcortex.log_event($1, $2, $3)",
        &[action.into(), record_type.into(), record_id.into()],
    )
    .unwrap_or_report();
}

/// The server itself, in an organisation's log.
pub fn system(org_id: [u8; 16], name: &str, client_ip: &str, user_agent: &str, request_id: &str) -> Identity {
    Identity {
        org_id,
        kind: "system".into(),
        name: name.into(),
        role: "system".into(),
        client_ip: client_ip.into(),
        user_agent: user_agent.into(),
        request_id: request_id.into(),
        ..Identity::default()
    }
}

fn set(packed: &str) {
    let value = CString::new(packed).unwrap_or_default();
    let _writing = Writing::begin();
    assign::for_transaction(NAME, &value);
}

/// While it lives the check hook lets the identity through; an error ends it too.
struct Writing;

impl Writing {
    fn begin() -> Self {
        BINDING.set(true);
        Writing
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        BINDING.set(false);
    }
}

/// A text that can stand in a field and in a log line: no control characters, at most `most` bytes.
fn clean(text: &str, most: usize) -> String {
    if text.len() <= most && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    let mut cleaned: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut end = most.min(cleaned.len());
    while !cleaned.is_char_boundary(end) {
        end -= 1;
    }
    cleaned.truncate(end);
    cleaned
}

/// The usual text form, 36 characters. Every request writes three: the formatter of the standard library takes its time.
fn format_uuid(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Sixteen bytes of the usual text form, none for any other text.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    parse_digits(text.as_bytes())
}

/// Nothing is allocated: this runs with every change of the setting.
fn parse_digits(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = text
        .iter()
        .filter(|byte| **byte != b'-')
        .map(|byte| (*byte as char).to_digit(16));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(bytes)
}

/// Refuses every value that this module did not write. Empty (no identity) may be set by whoever may set it at all.
#[pg_guard]
pub unsafe extern "C-unwind" fn check_identity(
    newval: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the proposed value, which may be null.
    let empty = unsafe { (*newval).is_null() || **newval == 0 };
    // A parallel worker takes over the settings of its leader.
    // SAFETY: plain globals of the process.
    let inherited = unsafe { pg_sys::InitializingParallelWorker || pg_sys::ParallelWorkerNumber >= 0 };
    empty || inherited || BINDING.get()
}

/// The organisation of the setting, taken out of it whenever it changes: policies ask for it once a row at worst.
static ORG: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static ORG_BOUND: AtomicBool = AtomicBool::new(false);

/// Follows the setting: through SET, the end of a transaction or savepoint, and into parallel workers.
pub unsafe extern "C-unwind" fn assign_identity(newval: *const c_char, _extra: *mut c_void) {
    // SAFETY: null or NUL-terminated; strnlen does not read beyond the end. The first field is 36 characters and a separator.
    let org = unsafe {
        (!newval.is_null() && strnlen(newval, 37) == 37)
            .then(|| std::slice::from_raw_parts(newval.cast::<u8>(), 36))
            .and_then(parse_digits)
    };
    let [high, low] = org.map_or([0, 0], |org| {
        let org = u128::from_ne_bytes(org);
        [(org >> 64) as u64, org as u64]
    });
    ORG_BOUND.store(false, Ordering::Relaxed);
    ORG[0].store(high, Ordering::Relaxed);
    ORG[1].store(low, Ordering::Relaxed);
    ORG_BOUND.store(org.is_some(), Ordering::Relaxed);
}

/// `batchcortex.current_org_id`. A C function without pgrx's guard, because every read under row security waits for it: nothing in it
/// panics, and nothing is to be dropped when palloc raises.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn current_org_id(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: PostgreSQL passes its call frame; palloc gives 16 bytes or raises.
    unsafe {
        if !ORG_BOUND.load(Ordering::Relaxed) {
            (*fcinfo).isnull = true;
            return pg_sys::Datum::from(0usize);
        }
        let org =
            u128::from(ORG[0].load(Ordering::Relaxed)) << 64 | u128::from(ORG[1].load(Ordering::Relaxed));
        let copy = raw::palloc(16).cast::<[u8; 16]>();
        copy.write(org.to_ne_bytes());
        pg_sys::Datum::from(copy)
    }
}

crate::function_info!(pg_finfo_current_org_id);

mod raw {
    unsafe extern "C-unwind" {
        // The binding in pg_sys costs as much as all the rest of the function.
        pub fn palloc(size: usize) -> *mut std::ffi::c_void;
    }
}

unsafe extern "C" {
    fn strnlen(text: *const c_char, most: usize) -> usize;
}

/// Person bound to this transaction; null for devices, the system and without an identity.
#[pg_extern(stable, parallel_safe)]
pub fn current_user_id() -> Option<Uuid> {
    bound_user()
}

/// Role bound to this transaction; null without an identity.
#[pg_extern(stable, parallel_safe)]
pub fn current_role_name() -> Option<String> {
    bound().map(|bound| bound.role().to_owned())
}

/// Session bound to this transaction; null for devices, the system and without an identity.
#[pg_extern(stable, parallel_safe)]
pub fn current_session_id() -> Option<Uuid> {
    bound()?.session_id().map(Uuid::from_bytes)
}

/// Permissions that the API key bound to this transaction is confined to; null for everyone who is not confined.
#[pg_extern(stable, parallel_safe)]
pub fn current_scopes() -> Option<Vec<String>> {
    let bound = bound()?;
    // A key without scopes may do nothing, which is not the same as a person, who is not confined.
    match bound.scopes() {
        Some(scopes) => Some(scopes.split(',').map(str::to_owned).collect()),
        None => (bound.kind() == "api_key").then(Vec::new),
    }
}
