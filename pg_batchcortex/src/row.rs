//! Rows as record preimages: from PostgreSQL's tuples to the bytes that docs/format.md specifies.

use crate::assign;
use batchcortex_ledger::hash::Hash;
use batchcortex_ledger::record::RecordEncoder;
use pgrx::{PgTupleDesc, pg_sys};
use std::cell::RefCell;
use std::ffi::{CStr, CString};

/// A row taken apart: one datum and one null flag a column, in the table's order.
pub struct Row<'a> {
    pub desc: &'a PgTupleDesc<'a>,
    pub values: Vec<pg_sys::Datum>,
    pub nulls: Vec<bool>,
}

impl<'a> Row<'a> {
    /// Takes `tuple` apart; the datums point into it.
    ///
    /// # Safety
    /// `tuple` must be a valid heap tuple of the descriptor, and outlive the row.
    pub unsafe fn of(desc: &'a PgTupleDesc<'a>, tuple: pg_sys::HeapTuple) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Row::reusing(desc, tuple, Vec::new(), Vec::new()) }
    }

    /// A row of nulls.
    pub fn empty(desc: &'a PgTupleDesc<'a>) -> Self {
        Row {
            desc,
            values: vec![pg_sys::Datum::from(0usize); desc.len()],
            nulls: vec![true; desc.len()],
        }
    }

    /// As [`Row::of`], in the vectors of an earlier row.
    ///
    /// # Safety
    /// As for [`Row::of`].
    pub unsafe fn reusing(
        desc: &'a PgTupleDesc<'a>,
        tuple: pg_sys::HeapTuple,
        mut values: Vec<pg_sys::Datum>,
        mut nulls: Vec<bool>,
    ) -> Self {
        values.resize(desc.len(), pg_sys::Datum::from(0usize));
        nulls.resize(desc.len(), true);
        // SAFETY: both arrays have one element a column.
        unsafe { pg_sys::heap_deform_tuple(tuple, desc_ptr(desc), values.as_mut_ptr(), nulls.as_mut_ptr()) };
        Row { desc, values, nulls }
    }

    /// A new tuple of these values, in the current memory context.
    pub fn form(&mut self) -> pg_sys::HeapTuple {
        // SAFETY: both arrays have one element a column of the descriptor.
        unsafe {
            pg_sys::heap_form_tuple(
                desc_ptr(self.desc),
                self.values.as_mut_ptr(),
                self.nulls.as_mut_ptr(),
            )
        }
    }

    /// Position of a column by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        (0..self.desc.len()).find(|&i| {
            self.desc
                .get(i)
                .is_some_and(|a| !a.attisdropped && column_name(a) == name)
        })
    }

    /// Sets a column.
    pub fn set(&mut self, position: usize, value: Option<pg_sys::Datum>) {
        self.nulls[position] = value.is_none();
        self.values[position] = value.unwrap_or(pg_sys::Datum::from(0usize));
    }

    /// A column's datum, none when null.
    pub fn get(&self, position: usize) -> Option<pg_sys::Datum> {
        (!self.nulls[position]).then(|| self.values[position])
    }

    /// The record preimage of the row, without column `leaf_hash` (its position, if the table has one).
    pub fn preimage(&self, domain: &str, leaf_hash: Option<usize>) -> Result<Vec<u8>, String> {
        self.encode(domain, leaf_hash, Vec::with_capacity(1024))
            .finish()
            .map_err(|e| e.to_string())
    }

    /// The leaf hash of the row: SHA-256(0x00 ‖ preimage).
    pub fn leaf(&self, domain: &str, leaf_hash: Option<usize>) -> Result<Hash, String> {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(4096)));
        let buffer = BUFFER.take();
        let (hash, buffer) = self
            .encode(domain, leaf_hash, buffer)
            .leaf_hash()
            .map_err(|e| e.to_string())?;
        BUFFER.set(buffer);
        Ok(hash)
    }

    /// The leaf hash of the row of a table that is not the project's: fields in the order of the bytes of their names, which a
    /// restored table and its partitions share even when their columns stand in another order.
    pub fn leaf_by_name(&self, domain: &str) -> Result<Hash, String> {
        let encoded = self.encode_by_name(domain).leaf_hash();
        encoded.map(|(hash, _)| hash).map_err(|e| e.to_string())
    }

    /// The preimage behind [`Row::leaf_by_name`].
    pub fn preimage_by_name(&self, domain: &str) -> Result<Vec<u8>, String> {
        self.encode_by_name(domain).finish().map_err(|e| e.to_string())
    }

    fn encode_by_name(&self, domain: &str) -> RecordEncoder {
        let mut fields: Vec<Field<&str>> = fields(self.desc, None)
            .filter(|field| !self.nulls[field.position])
            .collect();
        fields.sort_unstable_by_key(|field| field.name);
        // SAFETY: the values are those of the descriptor's columns.
        unsafe {
            encode(
                &self.values,
                &self.nulls,
                domain,
                fields.into_iter(),
                Vec::with_capacity(512),
            )
        }
    }

    /// The bytes of a column as they stand in a preimage; none when null.
    pub fn bytes(&self, position: usize) -> Vec<u8> {
        let mut found = Vec::new();
        if let (Some(datum), Some(attribute)) = (self.get(position), self.desc.get(position)) {
            // SAFETY: the datum is not null and of the column's type.
            unsafe { value(attribute.atttypid, datum, |bytes| found.extend_from_slice(bytes)) };
        }
        found
    }

    fn encode(&self, domain: &str, leaf_hash: Option<usize>, buffer: Vec<u8>) -> RecordEncoder {
        // SAFETY: as above.
        unsafe {
            encode(
                &self.values,
                &self.nulls,
                domain,
                fields(self.desc, leaf_hash),
                buffer,
            )
        }
    }
}

/// A column that becomes a field of the preimage.
pub struct Field<N> {
    /// Name of the column.
    pub name: N,
    /// Its type.
    pub kind: pg_sys::Oid,
    /// Where it stands in a row.
    pub position: usize,
}

impl Field<&str> {
    /// With a name of its own.
    pub fn owned(self) -> Field<String> {
        Field {
            name: self.name.to_owned(),
            kind: self.kind,
            position: self.position,
        }
    }
}

impl Field<String> {
    /// With the name lent.
    pub fn borrowed(&self) -> Field<&str> {
        Field {
            name: &self.name,
            kind: self.kind,
            position: self.position,
        }
    }
}

/// The fields of a table's records in the order of its columns, `leaf_hash` (the position of that column) left out.
pub fn fields<'a>(
    desc: &'a PgTupleDesc<'_>,
    leaf_hash: Option<usize>,
) -> impl Iterator<Item = Field<&'a str>> {
    (0..desc.len())
        .filter(move |position| Some(*position) != leaf_hash)
        .filter_map(|position| {
            let attribute = desc.get(position).filter(|a| !a.attisdropped)?;
            Some(Field {
                name: column_name(attribute),
                kind: attribute.atttypid,
                position,
            })
        })
}

/// Encodes the fields of one row, whose values and null flags stand by position; NULL is left out.
///
/// # Safety
/// Each datum is of the type of its field.
pub unsafe fn encode<'a>(
    values: &[pg_sys::Datum],
    nulls: &[bool],
    domain: &str,
    fields: impl Iterator<Item = Field<&'a str>>,
    buffer: Vec<u8>,
) -> RecordEncoder {
    let mut encoder = RecordEncoder::with_buffer(domain, buffer);
    for field in fields.filter(|field| !nulls[field.position]) {
        // SAFETY: the datum is not null and, as the caller promises, of the type.
        unsafe {
            value(field.kind, values[field.position], |bytes| {
                encoder.field(field.name, bytes);
            });
        }
    }
    encoder
}

/// The descriptor as C functions take it.
fn desc_ptr(desc: &PgTupleDesc<'_>) -> pg_sys::TupleDesc {
    use std::ops::Deref;
    std::ptr::from_ref::<pg_sys::TupleDescData>(desc.deref()).cast_mut()
}

/// A column's name; column names of a UTF-8 database are UTF-8.
pub fn column_name(attribute: &pg_sys::FormData_pg_attribute) -> &str {
    // SAFETY: NameData is NUL-padded.
    unsafe { CStr::from_ptr(attribute.attname.data.as_ptr()) }
        .to_str()
        .unwrap_or("")
}

/// Hands over the bytes of one value: those of its type in network byte order.
unsafe fn value(kind: pg_sys::Oid, datum: pg_sys::Datum, sink: impl FnOnce(&[u8])) {
    // SAFETY: the caller promises that the datum is of this type.
    unsafe {
        match kind {
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID | pg_sys::JSONOID | pg_sys::BYTEAOID => {
                with_bytes(datum, sink);
            }
            pg_sys::UUIDOID => sink(std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), 16)),
            pg_sys::TIMESTAMPTZOID | pg_sys::TIMESTAMPOID | pg_sys::INT8OID => {
                sink(&(datum.value() as i64).to_be_bytes());
            }
            pg_sys::INT4OID | pg_sys::DATEOID => sink(&(datum.value() as i32).to_be_bytes()),
            pg_sys::INT2OID => sink(&(datum.value() as i16).to_be_bytes()),
            pg_sys::BOOLOID => sink(&[u8::from(datum.value() & 0xff != 0)]),
            pg_sys::FLOAT8OID => sink(&(datum.value() as u64).to_be_bytes()),
            pg_sys::INT8ARRAYOID | pg_sys::FLOAT8ARRAYOID => {
                with_bytes(datum, |bytes| match array_of_eight(bytes) {
                    Some(wire) => sink(&wire),
                    None => sent(kind, datum, sink),
                });
            }
            _ if holds_oids(kind) => text_form(kind, datum, sink),
            _ => sent(kind, datum, sink),
        }
    }
}

/// The content of a varlena: detoasted and decompressed where needed, freed again.
unsafe fn with_bytes(datum: pg_sys::Datum, body: impl FnOnce(&[u8])) {
    use pgrx::varlena::{varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u, varlena_to_byte_slice};
    // SAFETY: the caller promises a varlena.
    unsafe {
        let stored: *mut pg_sys::varlena = datum.cast_mut_ptr();
        // Most values stand as they are; every call of the server costs a jump buffer.
        if varatt_is_4b_u(stored) || varatt_is_1b(stored) && !varatt_is_1b_e(stored) {
            return body(varlena_to_byte_slice(stored));
        }
        let packed = pg_sys::pg_detoast_datum_packed(stored);
        body(varlena_to_byte_slice(packed));
        if !std::ptr::eq(packed, stored) {
            pg_sys::pfree(packed.cast());
        }
    }
}

/// What array_send gives for a one-dimensional array of float8 or int8 with lower bound 1, without a call for each
/// element: dimensions, null flag, element type, length, lower bound, then per element its length and bytes.
/// None for any other shape.
fn array_of_eight(body: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(i32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let (dimensions, offset, element) = (word(0)?, word(4)?, word(8)?);
    if dimensions != 1 || word(16)? != 1 {
        return None;
    }
    let length = usize::try_from(word(12)?).ok()?;
    // Without nulls the data follow the header at the next multiple of 8, counted with the 4 bytes of varlena header.
    let start = if offset == 0 {
        20
    } else {
        usize::try_from(offset).ok()?.checked_sub(4)?
    };
    let nulls = if offset == 0 {
        None
    } else {
        Some(body.get(20..20 + length.div_ceil(8))?)
    };
    let has_nulls = nulls.is_some_and(|bits| (0..length).any(|i| bits[i / 8] & (1 << (i % 8)) == 0));
    let mut wire = Vec::with_capacity(20 + 12 * length);
    for number in [1, i32::from(has_nulls), element, length as i32, 1] {
        wire.extend_from_slice(&number.to_be_bytes());
    }
    let mut at = start;
    for i in 0..length {
        if nulls.is_some_and(|bits| bits[i / 8] & (1 << (i % 8)) == 0) {
            wire.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        }
        wire.extend_from_slice(&8i32.to_be_bytes());
        wire.extend_from_slice(&u64::from_ne_bytes(body.get(at..at + 8)?.try_into().ok()?).to_be_bytes());
        at += 8;
    }
    Some(wire)
}

/// The type's own binary output (its send function), for types without a faster way.
unsafe fn sent(kind: pg_sys::Oid, datum: pg_sys::Datum, sink: impl FnOnce(&[u8])) {
    let _utf8 = ServerEncoding::enter();
    // SAFETY: the datum is of this type; the send function of a type takes one of its datums.
    unsafe {
        let mut function = pg_sys::InvalidOid;
        let mut varlena = false;
        pg_sys::getTypeBinaryOutputInfo(kind, &raw mut function, &raw mut varlena);
        let bytes = pg_sys::OidSendFunctionCall(function, datum);
        sink(pgrx::varlena::varlena_to_byte_slice(bytes.cast()));
        pg_sys::pfree(bytes.cast());
    }
}

/// regproc, regprocedure, regoper, regoperator, regclass, regtype, regconfig, regdictionary, regnamespace, regrole, regcollation, and the
/// arrays of each: their numbers never change.
const NAMES_OF_OBJECTS: [u32; 22] = [
    24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, //
    1008, 2207, 2208, 2209, 2210, 2211, 3735, 3770, 4090, 4097, 4192,
];

/// Whether the binary output of a type holds oids that change when a dump is restored: those of objects, and those of types that are not
/// PostgreSQL's own, which stand in composite types and in arrays of such types.
unsafe fn holds_oids(kind: pg_sys::Oid) -> bool {
    let own = |kind: pg_sys::Oid| kind.to_u32() < pg_sys::FirstNormalObjectId;
    let names = |kind: pg_sys::Oid| NAMES_OF_OBJECTS.contains(&kind.to_u32());
    if own(kind) {
        return names(kind);
    }
    // SAFETY: catalog look-ups of a type that exists.
    unsafe {
        let base = pg_sys::getBaseType(kind);
        names(base)
            || !own(base)
                && (pg_sys::get_typtype(base) as u8 == b'c'
                    || pg_sys::get_element_type(base) != pg_sys::InvalidOid
                    || !has_send(base))
    }
}

/// Whether a type has a binary output at all.
unsafe fn has_send(kind: pg_sys::Oid) -> bool {
    // SAFETY: a catalog cache look-up, released again.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::TYPEOID as i32,
            pg_sys::Datum::from(kind),
        );
        if tuple.is_null() {
            return false;
        }
        let header = (*tuple).t_data;
        let row = &*header
            .cast::<u8>()
            .add(usize::from((*header).t_hoff))
            .cast::<pg_sys::FormData_pg_type>();
        let found = row.typsend != pg_sys::InvalidOid;
        pg_sys::ReleaseSysCache(tuple);
        found
    }
}

/// Settings that the text of a value follows, as a preimage has it.
const OF_TEXT: [(&CStr, &CStr); 7] = [
    (c"datestyle", c"ISO, YMD"),
    (c"intervalstyle", c"postgres"),
    (c"timezone", c"UTC"),
    (c"extra_float_digits", c"1"),
    (c"bytea_output", c"hex"),
    (c"lc_monetary", c"C"),
    // Names of objects outside of it come with their schema.
    (c"search_path", c"pg_catalog, pg_temp"),
];

/// The text of a value (its type's output function) as it is under settings that no session can change.
unsafe fn text_form(kind: pg_sys::Oid, datum: pg_sys::Datum, sink: impl FnOnce(&[u8])) {
    // SAFETY: the datum is of this type.
    assign::during(&OF_TEXT, || unsafe {
        let mut function = pg_sys::InvalidOid;
        let mut varlena = false;
        pg_sys::getTypeOutputInfo(kind, &raw mut function, &raw mut varlena);
        let text = pg_sys::OidOutputFunctionCall(function, datum);
        sink(CStr::from_ptr(text).to_bytes());
        pg_sys::pfree(text.cast());
    });
}

/// A datum of a type from the bytes that stand for it in a preimage, in the current memory context. Raises when they are no value of it.
pub fn datum_of(kind: pg_sys::Oid, bytes: &[u8]) -> pg_sys::Datum {
    let _utf8 = ServerEncoding::enter();
    let buffer = CString::new(bytes.to_vec()).ok();
    // SAFETY: the type exists, it is a column's; its input functions check what they are given, and raise.
    unsafe {
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        if holds_oids(kind)
            && let Some(text) = &buffer
        {
            pg_sys::getTypeInputInfo(kind, &raw mut function, &raw mut parameter);
            return pg_sys::OidInputFunctionCall(function, text.as_ptr().cast_mut(), parameter, -1);
        }
        pg_sys::getTypeBinaryInputInfo(kind, &raw mut function, &raw mut parameter);
        let mut message = pg_sys::StringInfoData::default();
        pg_sys::initStringInfo(&raw mut message);
        pg_sys::appendBinaryStringInfo(&raw mut message, bytes.as_ptr().cast(), bytes.len() as i32);
        pg_sys::OidReceiveFunctionCall(function, &raw mut message, parameter, -1)
    }
}

/// Send functions of text convert to the client's encoding; a hash must not depend on who looks.
struct ServerEncoding(Option<i32>);

impl ServerEncoding {
    fn enter() -> Self {
        // SAFETY: reads and sets the session's client encoding; conversion from UTF-8 to UTF-8 needs no catalog look-up.
        unsafe {
            let client = pg_sys::pg_get_client_encoding();
            let server = pg_sys::GetDatabaseEncoding();
            if client == server {
                return ServerEncoding(None);
            }
            pg_sys::SetClientEncoding(server);
            ServerEncoding(Some(client))
        }
    }
}

impl Drop for ServerEncoding {
    fn drop(&mut self) {
        if let Some(client) = self.0 {
            // SAFETY: the encoding was prepared when the session set it.
            unsafe { pg_sys::SetClientEncoding(client) };
        }
    }
}

/// A text datum in the current memory context.
pub fn text_datum(text: &str) -> pg_sys::Datum {
    bytes_datum(text.as_bytes())
}

/// A bytea (or text, or json) datum in the current memory context.
pub fn bytes_datum(bytes: &[u8]) -> pg_sys::Datum {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    // SAFETY: palloc gives `size` writable bytes or raises.
    unsafe {
        let varlena = pg_sys::palloc(size).cast::<pg_sys::varlena>();
        pgrx::varlena::set_varsize_4b(varlena, size as i32);
        std::ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            varlena.cast::<u8>().add(pg_sys::VARHDRSZ),
            bytes.len(),
        );
        pg_sys::Datum::from(varlena)
    }
}

/// A uuid datum in the current memory context.
pub fn uuid_datum(bytes: &[u8; 16]) -> pg_sys::Datum {
    // SAFETY: palloc gives 16 writable bytes or raises.
    unsafe {
        let copy = pg_sys::palloc(16).cast::<[u8; 16]>();
        copy.write(*bytes);
        pg_sys::Datum::from(copy)
    }
}

/// The 16 bytes of a uuid datum.
///
/// # Safety
/// The datum must be a uuid.
pub unsafe fn uuid_bytes(datum: pg_sys::Datum) -> [u8; 16] {
    // SAFETY: a uuid datum points to 16 bytes.
    unsafe { datum.cast_mut_ptr::<[u8; 16]>().read() }
}

/// Calls `body` with the bytes of a bytea or text datum.
///
/// # Safety
/// The datum must be a varlena.
pub unsafe fn with_varlena<T>(datum: pg_sys::Datum, body: impl FnOnce(&[u8]) -> T) -> T {
    let mut result = None;
    // SAFETY: as the caller promises.
    unsafe { with_bytes(datum, |bytes| result = Some(body(bytes))) };
    result.expect("with_bytes calls its body once")
}
