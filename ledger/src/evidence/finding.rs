//! What verification says.

use std::fmt;

use super::show::clean;

/// The file cannot be read: nothing is said about the records in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, from 1.
    pub line: u64,
    /// What was expected.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, clean(&self.why))
    }
}

impl std::error::Error for Unreadable {}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// The line of the file, from 1.
    pub line: u64,
    /// The leaf, from 0, where it is about one.
    pub index: Option<u64>,
    /// The record, where it is about one: its kind and its id.
    pub record: Option<String>,
    /// What does not hold.
    pub detail: String,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingKind {
    /// A record does not hash to its leaf: it was altered.
    WrongLeaf,
    /// The log has a leaf for a record that the database did not have any more.
    MissingRecord,
    /// The bytes of a leaf are no record.
    NotARecord,
    /// A record of another organisation than the one whose log it is a leaf of.
    WrongOrganisation,
    /// A value is not the one that the record before it commits to.
    WrongOpening,
    /// Leaves are left out of the walk, or come twice.
    OutOfOrder,
    /// The walk has not as many leaves as the checkpoint says.
    WrongSize,
    /// The leaves do not give the root that the checkpoint says.
    WrongRoot,
    /// The file mixes logs: its origins do not belong together, or no key of that name was given.
    WrongOrigin,
    /// The organisation's checkpoint is not a leaf of the global log.
    NotIncluded,
    /// No given key of the log has signed the global checkpoint, or a signature does not hold.
    NotSigned,
    /// Fewer witnesses than asked for have cosigned.
    NotWitnessed,
    /// The global log does not contain the one of an old checkpoint: its history was rewritten, or it
    /// was restored to an earlier time.
    Inconsistent,
    /// The file cannot show that an old checkpoint's log is the beginning of its own. Not tampering:
    /// the export must be asked for with that size.
    NotShown,
}

impl FindingKind {
    /// The name that findings are searched by.
    pub fn code(self) -> &'static str {
        match self {
            FindingKind::WrongLeaf => "wrong_leaf",
            FindingKind::MissingRecord => "missing_record",
            FindingKind::NotARecord => "not_a_record",
            FindingKind::WrongOrganisation => "wrong_organisation",
            FindingKind::WrongOpening => "wrong_opening",
            FindingKind::OutOfOrder => "out_of_order",
            FindingKind::WrongSize => "wrong_size",
            FindingKind::WrongRoot => "wrong_root",
            FindingKind::WrongOrigin => "wrong_origin",
            FindingKind::NotIncluded => "not_included",
            FindingKind::NotSigned => "not_signed",
            FindingKind::NotWitnessed => "not_witnessed",
            FindingKind::Inconsistent => "inconsistent",
            FindingKind::NotShown => "not_shown",
        }
    }

    /// Whether the file speaks against itself or its log; else something is merely not shown.
    pub fn is_tampering(self) -> bool {
        self != FindingKind::NotShown
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: line {}", self.kind.code(), self.line)?;
        if let Some(index) = self.index {
            write!(f, ", leaf {index}")?;
        }
        if let Some(record) = &self.record {
            write!(f, ", {}", clean(record))?;
        }
        write!(f, ": {}", clean(&self.detail))
    }
}
