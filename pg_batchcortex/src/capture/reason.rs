//! The reason for a change: said once, for what follows in the transaction.
//!
//! It lives in a setting, because settings follow transactions and savepoints. Only `set_reason` can write it: a reason in a
//! configuration file, of a role or of a whole session would stand beside changes that nobody gave it for.

use crate::assign;
use crate::error::{self, Refusal};
use crate::row::with_varlena;
use crate::settings::REASON;
use pgrx::{pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};

/// The most characters that a reason has.
const LONGEST: usize = 4000;

thread_local!(static WRITING: Cell<bool> = const { Cell::new(false) });

/// The reason given in this transaction.
pub fn current<'a>() -> Option<&'a str> {
    // SAFETY: the setting's value stays allocated until it is set again, and callers use it at once.
    unsafe {
        let value: *mut c_char = *REASON.as_ptr();
        if value.is_null() || *value == 0 {
            return None;
        }
        CStr::from_ptr(value).to_str().ok()
    }
}

/// `set_reason(reason text) returns void`.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn set_reason(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: declared with one text argument, which may be null.
    unsafe {
        error::raising(|| {
            let argument = (*fcinfo).args.as_slice(1)[0];
            let reason = if argument.isnull {
                String::new()
            } else {
                with_varlena(argument.value, |text| String::from_utf8_lossy(text).into_owned())
            };
            if !argument.isnull && (reason.trim().is_empty() || reason.chars().count() > LONGEST) {
                return Err(Refusal::new(
                    error::UNACCEPTABLE,
                    "a reason has 1 to 4,000 characters",
                ));
            }
            set(&reason);
            Ok(pg_sys::Datum::from(0usize))
        })
    }
}

crate::function_info!(pg_finfo_set_reason);

fn set(reason: &str) {
    // Text of PostgreSQL holds no NUL.
    let value = CString::new(reason).unwrap_or_default();
    let _writing = Writing::begin();
    assign::for_transaction(c"batchcortex.reason", &value);
}

/// While it lives the check hook lets a reason through; an error ends it too.
struct Writing;

impl Writing {
    fn begin() -> Self {
        WRITING.set(true);
        Writing
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.set(false);
    }
}

/// Refuses every value that `set_reason` did not write.
#[pg_guard]
pub unsafe extern "C-unwind" fn check_reason(
    newval: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a pointer to the proposed value, which may be null.
    let empty = unsafe { (*newval).is_null() || **newval == 0 };
    // A parallel worker takes over the settings of its leader.
    // SAFETY: plain globals of the process.
    let inherited = unsafe { pg_sys::InitializingParallelWorker || pg_sys::ParallelWorkerNumber >= 0 };
    empty || inherited || WRITING.get()
}
