//! Keeps credentials out of the server's log, whatever it is told to log.
//!
//! With `log_statement = all` PostgreSQL writes statements and, beside them, the values of their parameters; failing statements are
//! written too. Both may hold a token or a password. Before a message is written, tokens are overwritten wherever they stand, and
//! in statements that call the API every parameter and literal. Nothing is allocated: this runs while errors are reported.

use pgrx::{pg_guard, pg_sys};
use std::ffi::{CStr, c_char};

type Hook = Option<unsafe extern "C-unwind" fn(*mut pg_sys::ErrorData)>;
static mut NEXT: Hook = None;

const PREFIXES: [&[u8]; 3] = [b"bcs_", b"bck_", b"bci_"];
/// Hex digits that make a token: what [`super::credential::generate`] gives has 64; a part of one is no better in a log.
const DIGITS: usize = 24;
const API: &[u8] = b"batchcortex_api.";

/// At library load.
pub fn install() {
    // SAFETY: runs once a process, before anything else does; keeps the hook of a library loaded earlier.
    unsafe {
        NEXT = pg_sys::emit_log_hook;
        pg_sys::emit_log_hook = Some(redact);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn redact(report: *mut pg_sys::ErrorData) {
    // SAFETY: the fields are null or NUL-terminated strings of the report's own memory; the statement is only read.
    unsafe {
        let data = &mut *report;
        let call = contains(data.message, API) || contains(pg_sys::debug_query_string, API);
        for text in [
            data.message,
            data.detail,
            data.detail_log,
            data.context,
            data.internalquery,
        ] {
            if text.is_null() {
                continue;
            }
            let bytes =
                std::slice::from_raw_parts_mut(text.cast::<u8>(), CStr::from_ptr(text).to_bytes().len());
            mask_tokens(bytes);
            // Messages that repeat a statement or its parameters; errors of the API's own have no literal worth keeping out.
            if call && (repeats_statement(bytes) || (text == data.context && contains(text, b"parameters:")))
            {
                mask_literals(bytes);
            }
        }
        if call && (has_token(pg_sys::debug_query_string) || contains(pg_sys::debug_query_string, b"'")) {
            data.hide_stmt = true;
        }
        if let Some(next) = NEXT {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(report));
        }
    }
}

fn repeats_statement(text: &[u8]) -> bool {
    [
        &b"statement: "[..],
        b"execute ",
        b"duration: ",
        b"parse ",
        b"bind ",
        b"parameters: ",
        b"Parameters: ",
        b"prepare: ",
    ]
    .iter()
    .any(|start| text.starts_with(start))
}

fn token_at(text: &[u8], at: usize) -> Option<usize> {
    let rest = &text[at..];
    let prefix = PREFIXES.iter().find(|prefix| rest.starts_with(prefix))?;
    let digits = rest[prefix.len()..]
        .iter()
        .take_while(|b| b.is_ascii_hexdigit())
        .count();
    (digits >= DIGITS).then_some(prefix.len() + digits)
}

/// Overwrites credentials wherever they stand.
pub fn mask_tokens(text: &mut [u8]) {
    for at in 0..text.len() {
        if let Some(length) = token_at(text, at) {
            text[at + 4..at + length].fill(b'*');
        }
    }
}

/// Overwrites what stands between single quotes; a doubled quote inside a literal ends one and begins the next.
fn mask_literals(text: &mut [u8]) {
    let mut inside = false;
    for byte in text {
        match *byte {
            b'\'' => inside = !inside,
            _ if inside => *byte = b'*',
            _ => {}
        }
    }
}

unsafe fn contains(text: *const c_char, part: &[u8]) -> bool {
    // SAFETY: null or NUL-terminated.
    !text.is_null()
        && unsafe { CStr::from_ptr(text) }
            .to_bytes()
            .windows(part.len())
            .any(|w| w == part)
}

unsafe fn has_token(text: *const c_char) -> bool {
    // SAFETY: null or NUL-terminated.
    !text.is_null() && {
        // SAFETY: texts of an error report are NUL-terminated.
        let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
        (0..bytes.len()).any(|at| token_at(bytes, at).is_some())
    }
}
