//! Text forms must not follow the session's settings: who changes a row could otherwise choose how it is recorded.

use crate::assign;
use pgrx::pg_sys;
use std::cell::Cell;

/// What the text form of a type follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Follows {
    /// The value alone.
    Nothing,
    /// Settings of date, time, number and byte formats.
    Formats,
    /// Possibly also the search path and the locale of money.
    Anything,
}

mod raw {
    unsafe extern "C" {
        // Globals of the server that the bindings leave out.
        pub static mut bytea_output: std::ffi::c_int;
    }
}

/// BYTEA_OUTPUT_HEX of bytea.h.
const HEX: i32 = 1;

/// While it lives, output functions give one and the same text for one value: ISO dates in UTC, ISO 8601 intervals, shortest exact
/// floating point numbers, bytes in hex, qualified names, money as in locale C.
pub struct Fixed {
    date_style: i32,
    interval_style: i32,
    float_digits: i32,
    bytea: i32,
    quote_all: bool,
    zone: *mut pg_sys::pg_tz,
    level: Option<i32>,
}

thread_local!(static UTC: Cell<*mut pg_sys::pg_tz> = const { Cell::new(std::ptr::null_mut()) });

impl Fixed {
    /// Fixes what a text form may follow; none when it follows nothing.
    pub fn of(follows: Follows) -> Option<Self> {
        if follows == Follows::Nothing {
            return None;
        }
        // SAFETY: globals of the backend that output functions read, put back when this value is dropped; settings of a level of
        // their own, which ends with this value, or with the transaction after an error.
        unsafe {
            if UTC.get().is_null() {
                UTC.set(pg_sys::pg_tzset(c"GMT".as_ptr()));
            }
            let mut fixed = Fixed {
                date_style: pg_sys::DateStyle,
                interval_style: pg_sys::IntervalStyle,
                float_digits: pg_sys::extra_float_digits,
                bytea: raw::bytea_output,
                quote_all: pg_sys::quote_all_identifiers,
                zone: pg_sys::session_timezone,
                level: None,
            };
            if follows == Follows::Anything {
                fixed.level = Some(pg_sys::NewGUCNestLevel());
                assign::for_level(c"search_path", c"pg_catalog");
                assign::for_level(c"lc_monetary", c"C");
            }
            pg_sys::DateStyle = pg_sys::USE_ISO_DATES as i32;
            pg_sys::IntervalStyle = pg_sys::INTSTYLE_ISO_8601 as i32;
            pg_sys::extra_float_digits = 3;
            raw::bytea_output = HEX;
            pg_sys::quote_all_identifiers = false;
            pg_sys::session_timezone = UTC.get();
            Some(fixed)
        }
    }
}

impl Drop for Fixed {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            pg_sys::DateStyle = self.date_style;
            pg_sys::IntervalStyle = self.interval_style;
            pg_sys::extra_float_digits = self.float_digits;
            raw::bytea_output = self.bytea;
            pg_sys::quote_all_identifiers = self.quote_all;
            pg_sys::session_timezone = self.zone;
            // After an error the settings go back with the transaction or the savepoint.
            if let Some(level) = self.level.filter(|_| !std::thread::panicking()) {
                pg_sys::AtEOXact_GUC(true, level);
            }
        }
    }
}

/// What the text form of a type follows.
pub fn follows(kind: pg_sys::Oid) -> Follows {
    // SAFETY: catalog look-ups.
    unsafe {
        match kind {
            pg_sys::BOOLOID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::NUMERICOID
            | pg_sys::TEXTOID
            | pg_sys::VARCHAROID
            | pg_sys::BPCHAROID
            | pg_sys::NAMEOID
            | pg_sys::CHAROID
            | pg_sys::JSONOID
            | pg_sys::JSONBOID
            | pg_sys::JSONPATHOID
            | pg_sys::XMLOID
            | pg_sys::UUIDOID
            | pg_sys::INETOID
            | pg_sys::CIDROID
            | pg_sys::MACADDROID
            | pg_sys::MACADDR8OID
            | pg_sys::BITOID
            | pg_sys::VARBITOID
            | pg_sys::OIDOID
            | pg_sys::XIDOID
            | pg_sys::XID8OID
            | pg_sys::CIDOID
            | pg_sys::TIDOID
            | pg_sys::PG_LSNOID
            | pg_sys::TIMEOID
            | pg_sys::TSVECTOROID
            | pg_sys::TSQUERYOID
            | pg_sys::INT2VECTOROID
            | pg_sys::OIDVECTOROID => return Follows::Nothing,
            pg_sys::MONEYOID
            | pg_sys::REGCLASSOID
            | pg_sys::REGPROCOID
            | pg_sys::REGPROCEDUREOID
            | pg_sys::REGOPEROID
            | pg_sys::REGOPERATOROID
            | pg_sys::REGTYPEOID
            | pg_sys::REGCONFIGOID
            | pg_sys::REGDICTIONARYOID
            | pg_sys::REGNAMESPACEOID
            | pg_sys::REGROLEOID
            | pg_sys::REGCOLLATIONOID => return Follows::Anything,
            _ => {}
        }
        let element = pg_sys::get_element_type(kind);
        if element != pg_sys::InvalidOid {
            return follows(element);
        }
        match pg_sys::get_typtype(kind) as u8 {
            b'e' => Follows::Nothing,
            b'd' => follows(pg_sys::getBaseType(kind)),
            b'r' => follows(pg_sys::get_range_subtype(kind)),
            #[cfg(not(feature = "pg13"))]
            b'm' => follows(pg_sys::get_range_subtype(pg_sys::get_multirange_range(kind))),
            // A type of PostgreSQL's own.
            b'b' if kind.to_u32() < pg_sys::FirstNormalObjectId => Follows::Formats,
            _ => Follows::Anything,
        }
    }
}
