//! Verification of an evidence file, line by line, in O(log n) memory beside the longest line.

use super::finding::{Finding, FindingKind, Unreadable};
use super::hex;
use super::line::{Header, Line};
use super::show::record_name;
use super::text::{instant, uuid_text};
use super::trust::{GlobalCheckpoint, OldCheckpoint, Trust, is_doubt};
use crate::checkpoint::Checkpoint;
use crate::commitment::{self, SALT};
use crate::global::{self, Origin};
use crate::hash::{Hash, leaf_hash};
use crate::merkle::{CompactRange, verify_consistency, verify_inclusion};
use crate::record;

/// What has been checked. It means what it says only when there was no finding.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Origin of the organisation's log.
    pub origin: String,
    /// What the exporter was asked for, as it says.
    pub scope: String,
    /// When it was exported, as it says.
    pub exported_at: String,
    /// The number of leaves of the organisation's log.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// When it was sealed.
    pub sealed_at: String,
    /// Index of its checkpoint in the global log.
    pub global_index: u64,
    /// The global log, with the keys that have signed it and the witnesses that have cosigned it.
    pub global: Option<GlobalCheckpoint>,
    /// Records in the file by kind, each with their number.
    pub records: Vec<(String, u64)>,
    /// Values that records commit to and that the file shows.
    pub openings: u64,
    /// Leaves that the file shows as hashes only: nothing is said about their records.
    pub not_shown: u64,
    /// Leaves whose record the exporting database did not have.
    pub missing: u64,
    /// Lines read.
    pub lines: u64,
    /// Old checkpoints that this log was shown to contain, by name.
    pub consistent_with: Vec<String>,
}

/// A record that has been read.
#[derive(Clone, Copy, Debug)]
pub struct Leaf<'a> {
    /// Its place in the organisation's log, from 0.
    pub index: u64,
    /// Its preimage: [`record::decode`] reads it.
    pub preimage: &'a [u8],
}

/// Where in the file the next line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Walk,
    Inclusion,
    End,
    After,
}

/// Verifies an evidence file as it streams.
///
/// Give it line after line, ask for [`findings`](Self::findings) as often as you like, and
/// [`finish`](Self::finish). A file proves something only when no line was unreadable, nothing was
/// found, and `finish` succeeded.
#[derive(Debug)]
pub struct Verifier {
    trust: Trust,
    place: Place,
    line: u64,
    walk: CompactRange,
    /// Leaves were left out or came twice: the root is known to be wrong, and where.
    broken: bool,
    preimage: Vec<u8>,
    /// The leaf that the line before was of, or belongs to.
    opened: Option<u64>,
    last_kind: usize,
    checkpoint_leaf: Hash,
    origin: Option<Origin>,
    path: Vec<Hash>,
    consistency: Vec<(u64, Vec<Hash>)>,
    findings: Vec<Finding>,
    report: Report,
}

impl Verifier {
    /// A verifier for one file.
    pub fn new(trust: Trust) -> Self {
        Verifier {
            trust,
            place: Place::Header,
            line: 0,
            walk: CompactRange::new(),
            broken: false,
            preimage: Vec::new(),
            opened: None,
            last_kind: 0,
            checkpoint_leaf: [0; 32],
            origin: None,
            path: Vec::new(),
            consistency: Vec::new(),
            findings: Vec::new(),
            report: Report::default(),
        }
    }

    /// Takes the next line, without its newline. Gives the record when it is one, altered or not.
    ///
    /// # Errors
    /// [`Unreadable`]: no further line may be given.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Leaf<'_>>, Unreadable> {
        self.line += 1;
        if self.place == Place::Header {
            return self.header(line).map(|()| None);
        }
        let line = Line::parse(line).map_err(|error| self.unreadable(error.to_string()))?;
        if let (
            Place::Walk,
            Line::Opening {
                index,
                field,
                salt,
                value,
            },
        ) = (self.place, &line)
        {
            return self.opening(*index, field, salt, value).map(|()| None);
        }
        self.opened = None;
        match (self.place, line) {
            (
                Place::Walk,
                Line::Leaf {
                    index,
                    hash,
                    preimage,
                },
            ) => return self.leaf(index, hash, preimage).map(Some),
            (Place::Walk, Line::Subtree { first, level, hash }) => self.subtree(first, level, hash)?,
            (Place::Walk, Line::Missing { index, hash, record }) => self.missing(index, hash, record),
            (Place::Walk, Line::Checkpoint(text)) => self.checkpoint(&text)?,
            (Place::Inclusion, Line::Inclusion { index, path }) => {
                self.report.global_index = index;
                self.path = path;
                self.place = Place::End;
            }
            (Place::End, Line::Consistency { size, path }) => {
                // Kept only where someone asks: a file with many of them takes no memory.
                if self.trust.old.iter().any(|old| old.checkpoint.size == size) {
                    self.consistency.retain(|(other, _)| *other != size);
                    self.consistency.push((size, path));
                }
            }
            (Place::End, Line::Global(note)) => self.global(&note)?,
            (place, _) => return Err(self.unreadable(expected(place).to_owned())),
        }
        Ok(None)
    }

    /// Takes the findings since the last call.
    pub fn findings(&mut self) -> std::vec::Drain<'_, Finding> {
        self.findings.drain(..)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Unreadable`] when the file is not whole.
    pub fn finish(mut self) -> Result<Report, Unreadable> {
        if self.place != Place::After {
            self.line += 1;
            return Err(self.unreadable(format!("the file ends early: {}", expected(self.place))));
        }
        self.report.lines = self.line;
        Ok(self.report)
    }

    /// The number of lines taken so far.
    pub fn lines(&self) -> u64 {
        self.line
    }

    fn unreadable(&self, why: String) -> Unreadable {
        Unreadable { line: self.line, why }
    }

    fn found(&mut self, kind: FindingKind, detail: impl Into<String>) {
        self.findings.push(Finding {
            kind,
            line: self.line,
            index: None,
            record: None,
            detail: detail.into(),
        });
    }

    fn found_at(&mut self, kind: FindingKind, index: u64, record: Option<String>, detail: String) {
        self.findings.push(Finding {
            kind,
            line: self.line,
            index: Some(index),
            record,
            detail,
        });
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Unreadable> {
        let header = Header::parse(line).map_err(|error| self.unreadable(error.to_string()))?;
        let origin: Option<Origin> = header.origin.parse().ok();
        let origin = origin.filter(|origin| origin.organisation().is_some());
        self.origin = Some(origin.ok_or_else(|| {
            self.unreadable(
                "the origin must be <log name>/<16 hex digits>/<incarnation>/<uuid of an organisation>"
                    .to_owned(),
            )
        })?);
        self.report.origin = header.origin;
        self.report.scope = header.scope;
        self.report.exported_at = header.exported_at;
        self.place = Place::Walk;
        Ok(())
    }

    fn leaf(&mut self, index: u64, hash: Hash, digits: &[u8]) -> Result<Leaf<'_>, Unreadable> {
        if !hex::decode(digits, &mut self.preimage) {
            return Err(self.unreadable("the preimage must be lower-case hexadecimal".to_owned()));
        }
        self.step(index, 0, hash)?;
        self.opened = Some(index);
        match record::check(&self.preimage) {
            Ok(kind) => {
                count(&mut self.report.records, &mut self.last_kind, kind);
                let own = record::OWN_RELATIONS.iter().any(|(own, ..)| *own == kind);
                if own {
                    self.same_organisation(index);
                }
            }
            Err(error) => self.found_at(FindingKind::NotARecord, index, None, error.to_string()),
        }
        if leaf_hash(&self.preimage) != hash {
            let record = record_name(&self.preimage);
            self.found_at(
                FindingKind::WrongLeaf,
                index,
                record,
                "the record does not hash to its leaf: it was altered".to_owned(),
            );
        }
        Ok(Leaf {
            index,
            preimage: &self.preimage,
        })
    }

    /// A record of BatchCortex's own tables says itself whose it is: sealed in another organisation's log it would pass there for one of
    /// theirs. What someone else's table calls org_id is that table's matter.
    fn same_organisation(&mut self, index: u64) {
        let Some(log) = self.origin.as_ref().and_then(Origin::organisation) else {
            return;
        };
        let says = match record::value(&self.preimage, "org_id") {
            Some(own) if own == log => return,
            Some(other) => <&[u8; 16]>::try_from(other).map_or_else(
                |_| "names no organisation".to_owned(),
                |other| format!("is one of organisation {}", uuid_text(other)),
            ),
            None => "names no organisation".to_owned(),
        };
        let detail = format!("the record {says}, the log is that of {}", uuid_text(&log));
        let record = record_name(&self.preimage);
        self.found_at(FindingKind::WrongOrganisation, index, record, detail);
    }

    /// A value of the record before it.
    fn opening(&mut self, index: u64, field: &str, salt: &[u8; SALT], value: &str) -> Result<(), Unreadable> {
        if self.opened != Some(index) {
            return Err(self.unreadable("an opening belongs right after its record".to_owned()));
        }
        self.report.openings += 1;
        if !names(
            &self.preimage,
            field,
            &commitment::text(&commitment::commit(salt, value)),
        ) {
            let record = record_name(&self.preimage);
            let detail = format!("its {field} is not a commitment to this value");
            self.found_at(FindingKind::WrongOpening, index, record, detail);
        }
        Ok(())
    }

    fn subtree(&mut self, first: u64, level: u8, hash: Hash) -> Result<(), Unreadable> {
        self.step(first, level, hash)?;
        self.report.not_shown = self.report.not_shown.saturating_add(1 << level);
        Ok(())
    }

    fn missing(&mut self, index: u64, hash: Hash, record: String) {
        // One leaf cannot be out of line with the levels of the tree.
        let _ = self.step(index, 0, hash);
        self.report.missing += 1;
        self.found_at(
            FindingKind::MissingRecord,
            index,
            Some(record),
            "the log has its leaf, the database had no such record".to_owned(),
        );
    }

    /// Goes on in the walk by 2^level leaves from `first`.
    fn step(&mut self, first: u64, level: u8, hash: Hash) -> Result<(), Unreadable> {
        let next = self.walk.size();
        if first != next {
            let detail = if first > next {
                format!("leaves {next} to {} are not in the file", first - 1)
            } else {
                format!("the walk goes back: leaf {next} was expected")
            };
            self.found_at(FindingKind::OutOfOrder, first, None, detail);
            self.broken = true;
            // Where the walk goes on does not matter any more, but that each break is found once.
            let nodes = vec![[0; 32]; first.count_ones() as usize];
            self.walk =
                CompactRange::from_nodes(first, nodes).map_err(|error| self.unreadable(error.to_string()))?;
        }
        let appended = self.walk.append_subtree(level, hash);
        appended.map_err(|error| self.unreadable(error.to_string()))
    }

    fn checkpoint(&mut self, text: &str) -> Result<(), Unreadable> {
        let checkpoint: Checkpoint = text
            .parse()
            .map_err(|error| self.unreadable(format!("{error}")))?;
        let sealed_at = global::sealed_at(&checkpoint).and_then(instant).ok_or_else(|| {
            self.unreadable("the checkpoint's fourth line must be: sealed <time in UTC>".to_owned())
        })?;
        self.report.size = checkpoint.size();
        self.report.root = *checkpoint.root();
        self.report.sealed_at = sealed_at;
        self.checkpoint_leaf = leaf_hash(text.as_bytes());
        if checkpoint.origin() != self.report.origin {
            let detail = format!(
                "the checkpoint is of {}, the file says {}",
                checkpoint.origin(),
                self.report.origin
            );
            self.found(FindingKind::WrongOrigin, detail);
        }
        let size = self.walk.size();
        if checkpoint.size() != size {
            let detail = format!("the file has {size} leaves, the checkpoint {}", checkpoint.size());
            self.found(FindingKind::WrongSize, detail);
        } else if !self.broken && self.walk.root() != *checkpoint.root() {
            self.found(
                FindingKind::WrongRoot,
                "the leaves do not give the root of the checkpoint",
            );
        }
        self.place = Place::Inclusion;
        Ok(())
    }

    fn global(&mut self, note: &str) -> Result<(), Unreadable> {
        let global = match GlobalCheckpoint::open(note.as_bytes(), &self.trust.log, &self.trust.witnesses) {
            Err(error) if is_doubt(&error) => {
                self.found(FindingKind::NotSigned, error.to_string());
                GlobalCheckpoint::unsigned(note.as_bytes())
            }
            opened => opened,
        };
        let global = global.map_err(|error| self.unreadable(error.to_string()))?;

        let index = self.report.global_index;
        let included = verify_inclusion(
            index,
            global.size,
            &self.checkpoint_leaf,
            &self.path,
            &global.root,
        );
        if let Err(error) = included {
            let detail =
                format!("the organisation's checkpoint is not leaf {index} of the global log: {error}");
            self.found(FindingKind::NotIncluded, detail);
        }
        self.same_log(&global);
        self.witnesses(&global);
        for old in std::mem::take(&mut self.trust.old) {
            self.old(&old, &global);
        }
        self.report.global = Some(global);
        self.place = Place::After;
        Ok(())
    }

    /// The organisation's log belongs to the global one: it bears its name, or that of an earlier
    /// incarnation, which has the same key name or is the one that the global log says it continues.
    fn same_log(&mut self, global: &GlobalCheckpoint) {
        let Some(organisation) = &self.origin else { return };
        let same = organisation.global() == global.origin;
        let continued = global.continues.as_ref().map(|(_, origin)| origin.as_str());
        let named = organisation.log_name() == global.origin.log_name()
            || continued == Some(organisation.global().to_string().as_str());
        let earlier = organisation.incarnation().number < global.origin.incarnation().number;
        if !(same || earlier && named) {
            let detail = format!("{organisation} is no log of {}", global.origin);
            self.found(FindingKind::WrongOrigin, detail);
        }
    }

    fn witnesses(&mut self, global: &GlobalCheckpoint) {
        let mut names: Vec<&str> = global
            .cosignatures
            .iter()
            .map(|cosignature| cosignature.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < self.trust.quorum {
            let detail = format!(
                "{} of the given witnesses have cosigned, {} were asked for",
                names.len(),
                self.trust.quorum
            );
            self.found(FindingKind::NotWitnessed, detail);
        }
    }

    /// Whether the log of an old checkpoint is the beginning of this one.
    fn old(&mut self, old: &OldCheckpoint, global: &GlobalCheckpoint) {
        let name = &old.name;
        let known = &old.checkpoint;
        let proof = self.consistency.iter().find(|(size, _)| *size == known.size);
        let path = match proof {
            Some((_, path)) => path.as_slice(),
            None if known.size == global.size => &[],
            None if known.size > global.size => {
                let later = global.sealed_at > known.sealed_at;
                // A newer incarnation that began below the old size, or a younger seal on a smaller tree.
                if later {
                    let detail = format!(
                        "the log had {} leaves in {name}, sealed {}; at {} it has {}: what was sealed between is gone",
                        known.size, known.sealed_at, global.sealed_at, global.size
                    );
                    self.found(FindingKind::Inconsistent, detail);
                } else {
                    let detail = format!(
                        "{name} has {} leaves and is younger than this file: take a newer export, or an older checkpoint",
                        known.size
                    );
                    self.found(FindingKind::NotShown, detail);
                }
                return;
            }
            None => {
                let detail = format!(
                    "the file has no proof that the log of {name} is the beginning of its own: export it with since => {}",
                    known.size
                );
                self.found(FindingKind::NotShown, detail);
                return;
            }
        };
        let consistent = verify_consistency(known.size, global.size, &known.root, &global.root, path);
        match consistent {
            Ok(()) => self.report.consistent_with.push(name.clone()),
            Err(error) => {
                let mut detail = format!(
                    "the log of {name} ({} leaves, sealed {}) is not the beginning of this one ({} leaves): {error}",
                    known.size, known.sealed_at, global.size
                );
                if let Some((size, origin)) = &global.continues {
                    detail.push_str(&format!(
                        "; this log continues {origin} from {size} leaves, after a restore or a copy"
                    ));
                }
                self.found(FindingKind::Inconsistent, detail);
            }
        }
    }
}

fn expected(place: Place) -> &'static str {
    match place {
        Place::Header => "expected a header",
        Place::Walk => "expected a leaf, a subtree, a missing record, or the checkpoint",
        Place::Inclusion => "expected the inclusion of the checkpoint",
        Place::End => "expected a proof of consistency or the global checkpoint",
        Place::After => "expected nothing after the global checkpoint",
    }
}

/// Adds one to the number of `kind`. Records of a kind come in runs, so `last` is where it mostly is.
fn count(records: &mut Vec<(String, u64)>, last: &mut usize, kind: &str) {
    if records.get(*last).is_none_or(|(known, _)| known != kind) {
        *last = records
            .iter()
            .position(|(known, _)| known == kind)
            .unwrap_or_else(|| {
                records.push((kind.to_owned(), 0));
                records.len() - 1
            });
    }
    if let Some((_, number)) = records.get_mut(*last) {
        *number += 1;
    }
}

/// Whether a record has the text as its field: a column, or after a dot a member of the JSON object in it.
fn names(preimage: &[u8], field: &str, text: &str) -> bool {
    let Ok(record) = record::decode(preimage) else {
        return false;
    };
    match field.split_once('.') {
        None => record.value(field) == Some(text.as_bytes()),
        Some((column, member)) => record
            .value(column)
            .and_then(|json| serde_json::from_slice::<serde_json::Value>(json).ok())
            .is_some_and(|json| json.get(member).and_then(serde_json::Value::as_str) == Some(text)),
    }
}
