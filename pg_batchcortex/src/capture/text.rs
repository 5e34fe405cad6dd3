//! Values as text, exactly: what `value::text` gives under fixed settings, so that casting the text back gives the same value.
//!
//! The common types are written here; the others by their own output functions. In JSON, booleans and finite numbers stand bare,
//! everything else is a string.

use crate::event::month::civil;
use crate::row::with_varlena;
use pgrx::pg_sys;
use std::ffi::CStr;

mod raw {
    use std::ffi::{c_char, c_int};
    unsafe extern "C" {
        // Of src/common; neither raises. The buffer takes 25 and 16 bytes.
        pub fn double_to_shortest_decimal_bufn(value: f64, result: *mut c_char) -> c_int;
        pub fn float_to_shortest_decimal_bufn(value: f32, result: *mut c_char) -> c_int;
    }
}

/// How the text of a column's values is made.
pub enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// The bytes themselves: text, varchar, char(n), json.
    Text,
    Bytea,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    /// The type's output function.
    Output(Box<pg_sys::FmgrInfo>),
}

impl Form {
    /// Of a type; what an output function keeps goes to `context`, which must live as long as the form.
    pub fn of(kind: pg_sys::Oid, context: pg_sys::MemoryContext) -> Self {
        // SAFETY: catalog look-ups.
        unsafe {
            match pg_sys::getBaseType(kind) {
                pg_sys::BOOLOID => Form::Bool,
                pg_sys::INT2OID => Form::Int2,
                pg_sys::INT4OID => Form::Int4,
                pg_sys::INT8OID => Form::Int8,
                pg_sys::FLOAT4OID => Form::Float4,
                pg_sys::FLOAT8OID => Form::Float8,
                pg_sys::NUMERICOID => Form::Numeric,
                pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::JSONOID => Form::Text,
                pg_sys::BYTEAOID => Form::Bytea,
                pg_sys::UUIDOID => Form::Uuid,
                pg_sys::DATEOID => Form::Date,
                pg_sys::TIMESTAMPOID => Form::Timestamp,
                pg_sys::TIMESTAMPTZOID => Form::Timestamptz,
                _ => {
                    let mut output = pg_sys::InvalidOid;
                    let mut varlena = false;
                    pg_sys::getTypeOutputInfo(kind, &raw mut output, &raw mut varlena);
                    let mut function = Box::new(pg_sys::FmgrInfo::default());
                    pg_sys::fmgr_info_cxt(output, &raw mut *function, context);
                    Form::Output(function)
                }
            }
        }
    }

    /// Whether this module writes the text itself, whatever the settings.
    pub fn is_own(&self) -> bool {
        !matches!(self, Form::Output(_))
    }

    /// Appends the value as JSON.
    ///
    /// # Safety
    /// The datum must be of the form's type, and settings fixed as [`super::settings::follows`] says.
    pub unsafe fn json(&self, datum: pg_sys::Datum, out: &mut Vec<u8>) {
        // SAFETY: as the caller promises.
        unsafe {
            match self {
                Form::Bool | Form::Int2 | Form::Int4 | Form::Int8 => self.text(datum, out),
                Form::Float4 | Form::Float8 | Form::Numeric => {
                    let start = out.len();
                    self.text(datum, out);
                    // NaN, Infinity and -Infinity are the ones that do not end in a digit.
                    if !out.last().is_some_and(u8::is_ascii_digit) {
                        out.insert(start, b'"');
                        out.push(b'"');
                    }
                }
                Form::Text => with_varlena(datum, |bytes| string(bytes, out)),
                Form::Bytea => {
                    // The backslash of \x, escaped.
                    out.extend_from_slice(b"\"\\");
                    self.text(datum, out);
                    out.push(b'"');
                }
                Form::Uuid | Form::Date | Form::Timestamp | Form::Timestamptz => {
                    out.push(b'"');
                    self.text(datum, out);
                    out.push(b'"');
                }
                Form::Output(function) => with_output(function, datum, |bytes| string(bytes, out)),
            }
        }
    }

    /// Appends the value as text.
    ///
    /// # Safety
    /// As for [`Form::json`].
    pub unsafe fn text(&self, datum: pg_sys::Datum, out: &mut Vec<u8>) {
        // SAFETY: as the caller promises; datums of fixed length are read as their types lay them out.
        unsafe {
            match self {
                Form::Bool => out.extend_from_slice(if datum.value() & 0xff != 0 {
                    b"true"
                } else {
                    b"false"
                }),
                Form::Int2 => integer(i64::from(datum.value() as i16), out),
                Form::Int4 => integer(i64::from(datum.value() as i32), out),
                Form::Int8 => integer(datum.value() as i64, out),
                Form::Float4 => {
                    let value = f32::from_bits(datum.value() as u32);
                    float(f64::from(value), out, |buffer| {
                        raw::float_to_shortest_decimal_bufn(value, buffer)
                    });
                }
                Form::Float8 => {
                    let value = f64::from_bits(datum.value() as u64);
                    float(value, out, |buffer| {
                        raw::double_to_shortest_decimal_bufn(value, buffer)
                    });
                }
                Form::Numeric => {
                    if let Some(text) =
                        pgrx::direct_function_call_as_datum(pg_sys::numeric_out, &[Some(datum)])
                    {
                        out.extend_from_slice(CStr::from_ptr(text.cast_mut_ptr()).to_bytes());
                    }
                }
                Form::Text => with_varlena(datum, |bytes| out.extend_from_slice(bytes)),
                Form::Bytea => with_varlena(datum, |bytes| {
                    out.extend_from_slice(b"\\x");
                    hex(bytes, out);
                }),
                Form::Uuid => {
                    let bytes = std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), 16);
                    for (i, part) in [
                        &bytes[..4],
                        &bytes[4..6],
                        &bytes[6..8],
                        &bytes[8..10],
                        &bytes[10..],
                    ]
                    .into_iter()
                    .enumerate()
                    {
                        if i > 0 {
                            out.push(b'-');
                        }
                        hex(part, out);
                    }
                }
                Form::Date => date(datum.value() as i32, out),
                Form::Timestamp => timestamp(datum.value() as i64, false, out),
                Form::Timestamptz => timestamp(datum.value() as i64, true, out),
                Form::Output(function) => with_output(function, datum, |bytes| out.extend_from_slice(bytes)),
            }
        }
    }
}

unsafe fn with_output(function: &pg_sys::FmgrInfo, datum: pg_sys::Datum, body: impl FnOnce(&[u8])) {
    // SAFETY: an output function takes a datum of its type and gives a NUL-terminated text; it may keep notes in FmgrInfo.
    unsafe {
        let text = pg_sys::OutputFunctionCall(std::ptr::from_ref(function).cast_mut(), datum);
        body(CStr::from_ptr(text).to_bytes());
        pg_sys::pfree(text.cast());
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn integer(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(value.unsigned_abs(), 1, out);
}

/// Digits, at least `width` of them.
fn unsigned(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width)..]);
}

/// The shortest digits that give the same bits back.
fn float(value: f64, out: &mut Vec<u8>, shortest: impl FnOnce(*mut std::ffi::c_char) -> i32) {
    if value.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
    let mut buffer = [0u8; 32];
    let length = shortest(buffer.as_mut_ptr().cast());
    out.extend_from_slice(&buffer[..usize::try_from(length).unwrap_or(0)]);
}

const DAY: i64 = 86_400_000_000;

fn date(days: i32, out: &mut Vec<u8>) {
    match days {
        i32::MIN => out.extend_from_slice(b"-infinity"),
        i32::MAX => out.extend_from_slice(b"infinity"),
        _ => {
            if day(i64::from(days), out) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

fn timestamp(microseconds: i64, zone: bool, out: &mut Vec<u8>) {
    match microseconds {
        i64::MIN => return out.extend_from_slice(b"-infinity"),
        i64::MAX => return out.extend_from_slice(b"infinity"),
        _ => {}
    }
    let before_christ = day(microseconds.div_euclid(DAY), out);
    let rest = microseconds.rem_euclid(DAY) as u64;
    let seconds = rest / 1_000_000;
    for (separator, part) in [
        (b' ', seconds / 3600),
        (b':', seconds / 60 % 60),
        (b':', seconds % 60),
    ] {
        out.push(separator);
        unsigned(part, 2, out);
    }
    let fraction = rest % 1_000_000;
    if fraction > 0 {
        out.push(b'.');
        unsigned(fraction, 6, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    if zone {
        out.extend_from_slice(b"+00");
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// Year, month and day of a day counted from 2000-01-01; whether it lies before Christ.
fn day(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil(days);
    // There is no year 0: the one before 1 is 1 BC.
    unsigned(if year > 0 { year } else { 1 - year }.unsigned_abs(), 4, out);
    out.push(b'-');
    unsigned(month.unsigned_abs(), 2, out);
    out.push(b'-');
    unsigned(day.unsigned_abs(), 2, out);
    year <= 0
}

/// Appends a JSON string (RFC 8259 §7): what must be escaped is, and nothing else.
pub fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut copied = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..i]);
        copied = i + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                hex(&[byte], out);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}
