//! SQLSTATEs of class `BC`, and the two ways a refusal leaves the extension.
//!
//! The error machinery of pgrx knows PostgreSQL's own SQLSTATEs only. So a function in Rust that refuses gives
//! its [`Refusal`] back as data, and the SQL function in front of it raises it; a trigger function, which has nothing in
//! front of it, raises it through [`raising`].

use pgrx::pg_sys;
use std::ffi::CString;

/// Why a request is refused: one of the SQLSTATEs of the project and a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Five characters, class `BC`.
    pub sqlstate: &'static str,
    /// What was expected and what came. Never a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<&'static str>,
    /// For programs: the seconds to wait.
    pub detail: Option<String>,
}

impl Refusal {
    /// A refusal without a hint.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Self {
        Refusal {
            sqlstate,
            message: message.into(),
            hint: None,
            detail: None,
        }
    }

    /// Says what a program acts upon.
    pub fn detail(mut self, detail: String) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Says what to do.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

/// The record is append-only.
pub const APPEND_ONLY: &str = "BC001";
/// A value that only the server may set was changed on its way into the table.
pub const FORGED: &str = "BC002";
/// The body is not what the format says.
pub const MALFORMED: &str = "BC400";
/// No valid credential.
pub const UNAUTHENTICATED: &str = "BC401";
/// Known, and not allowed.
pub const FORBIDDEN: &str = "BC403";
/// The organisation, or a thing in it, does not exist.
pub const UNKNOWN: &str = "BC404";
/// It exists already, with other content.
pub const CONFLICT: &str = "BC409";
/// The message is not the device's next.
pub const OUT_OF_ORDER: &str = "BC410";
/// Larger than the limit.
pub const TOO_LARGE: &str = "BC413";
/// A value is not acceptable.
pub const UNACCEPTABLE: &str = "BC422";
/// No such tag on the device's equipment.
pub const UNKNOWN_TAG: &str = "BC423";
/// NaN or infinite.
pub const NOT_FINITE: &str = "BC424";
/// A time that has not come yet.
pub const FUTURE: &str = "BC425";
/// No such batch.
pub const UNKNOWN_BATCH: &str = "BC426";
/// The value is not of the tag's type.
pub const TYPE_MISMATCH: &str = "BC427";
/// The table takes no update or deletion without a reason.
pub const REASON_REQUIRED: &str = "BC428";
/// More requests than the limit; DETAIL holds the seconds to wait.
pub const RATE_LIMITED: &str = "BC429";
/// The request signature is missing, malformed or wrong.
pub const BAD_SIGNATURE: &str = "BC430";
/// The request was signed too long ago, or ahead of time.
pub const STALE_SIGNATURE: &str = "BC431";
/// No such device key.
pub const UNKNOWN_KEY: &str = "BC432";
/// Something the server needs is missing.
pub const UNAVAILABLE: &str = "BC503";

mod raw {
    use pgrx::pg_sys;
    unsafe extern "C-unwind" {
        // The binding in pg_sys would catch the error and forget its SQLSTATE.
        pub fn ThrowErrorData(edata: *mut pg_sys::ErrorData);
    }
}

/// Runs the body of a hand-written C function and raises its refusal with its own SQLSTATE.
///
/// # Safety
/// Must be the last call of an `extern "C-unwind"` function that PostgreSQL called, with nothing left to drop.
pub unsafe fn raising(body: impl FnOnce() -> Result<pg_sys::Datum, Refusal>) -> pg_sys::Datum {
    // SAFETY: the guard turns panics and PostgreSQL errors of the body into a PostgreSQL error after all Rust
    // frames are gone; a refusal comes back as plain memory of the current memory context.
    unsafe {
        match pg_sys::panic::pgrx_extern_c_guard(|| body().map_err(|refusal| error_data(&refusal))) {
            Ok(datum) => datum,
            Err(data) => {
                raw::ThrowErrorData(data);
                unreachable!("ThrowErrorData returned at level ERROR")
            }
        }
    }
}

/// `refusal` as PostgreSQL reports it, in palloc'ed memory.
fn error_data(refusal: &Refusal) -> *mut pg_sys::ErrorData {
    let copy = |text: &str| {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        // SAFETY: pstrdup copies a NUL-terminated string into the current memory context.
        unsafe { pg_sys::pstrdup(text.as_ptr()) }
    };
    // SAFETY: palloc0 gives zeroed memory or raises; ErrorData is a C struct of integers, booleans and pointers, for
    // which zero is a value.
    unsafe {
        let data = pg_sys::palloc0(size_of::<pg_sys::ErrorData>()).cast::<pg_sys::ErrorData>();
        (*data).elevel = pgrx::PgLogLevel::ERROR as i32;
        (*data).sqlerrcode = encode(refusal.sqlstate);
        (*data).message = copy(&refusal.message);
        if let Some(hint) = refusal.hint {
            (*data).hint = copy(hint);
        }
        if let Some(detail) = &refusal.detail {
            (*data).detail = copy(detail);
        }
        data
    }
}

/// Five characters as PostgreSQL's MAKE_SQLSTATE packs them: six bits each, first character lowest.
fn encode(sqlstate: &str) -> i32 {
    sqlstate.bytes().enumerate().fold(0, |code, (i, byte)| {
        code | (((i32::from(byte) - i32::from(b'0')) & 0x3f) << (6 * i))
    })
}

/// The record by which PostgreSQL recognises a hand-written C function.
#[macro_export]
macro_rules! function_info {
    ($name:ident) => {
        #[doc(hidden)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> *const pgrx::pg_sys::Pg_finfo_record {
            static RECORD: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &raw const RECORD
        }
    };
}
