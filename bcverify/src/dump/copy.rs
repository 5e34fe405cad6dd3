//! A dump in plain format (`pg_dump`) as rows: COPY blocks, their columns, and fields with PostgreSQL's escapes taken back.

use std::collections::HashMap;

use anyhow::{Context as _, bail};

use super::allowed;
use super::statement::{Piece, Scanner};
use crate::input::Input;

/// A COPY block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Schema and table, as the dump spells them.
    pub table: String,
    /// Columns in the order of the fields.
    pub columns: Vec<String>,
}

/// A row of a block; none for NULL.
pub type Fields = Vec<Option<String>>;

/// Reads a dump through: `want` says of each block whether its rows are to be read, `row` takes them with their line, `other` what stands
/// between the blocks.
///
/// Gives the tables that partitions belong to, by partition.
pub fn read(
    input: &mut Input,
    mut want: impl FnMut(&Block, &HashMap<String, String>) -> bool,
    mut row: impl FnMut(&Block, u64, Fields) -> anyhow::Result<()>,
    mut other: impl FnMut(Piece),
) -> anyhow::Result<HashMap<String, String>> {
    let mut parents = HashMap::new();
    let mut block: Option<(Block, bool)> = None;
    let mut scanner = Scanner::default();
    let (mut number, mut blocks) = (0, 0u64);
    while let Some(line) = input.next()? {
        number += 1;
        match &block {
            Some(_) if line == b"\\." => block = None,
            Some((_, false)) => {}
            Some((open, true)) => {
                let line =
                    std::str::from_utf8(line).with_context(|| format!("line {number} is not UTF-8"))?;
                let fields: Fields = line.split('\t').map(field).collect();
                if fields.len() != open.columns.len() {
                    bail!(
                        "line {number}: {} has {} columns, the row {}",
                        open.table,
                        open.columns.len(),
                        fields.len()
                    );
                }
                row(open, number, fields)?;
            }
            None => {
                let line = String::from_utf8_lossy(line);
                if scanner.is_between() {
                    if let Some(header) = header(&line) {
                        blocks += 1;
                        let wanted = want(&header, &parents);
                        block = Some((header, wanted));
                        continue;
                    }
                    if let Some((parent, partition)) = attached(&line) {
                        parents.insert(partition, parent);
                    }
                }
                scanner.line(number, &line).into_iter().for_each(&mut other);
            }
        }
    }
    if let Some(line) = scanner.unfinished() {
        bail!("line {line}: the dump ends inside a statement");
    }
    if block.is_some() {
        bail!("line {number}: the dump ends inside a table");
    }
    if blocks == 0 {
        bail!(
            "no table was found: expected a dump in plain format (pg_dump without -Fc, -Fd, -Ft and --inserts) that holds data"
        );
    }
    Ok(parents)
}

/// `COPY schema.table (column, …) FROM stdin;` and nothing else on the line.
fn header(line: &str) -> Option<Block> {
    let rest = line.strip_prefix("COPY ")?;
    let (_, after) = allowed::name(rest)?;
    let table = &rest[..rest.len() - after.len()];
    let (mut columns, mut rest) = (Vec::new(), after.strip_prefix(" (")?);
    loop {
        let (column, after) = allowed::part(rest)?;
        columns.push(column);
        match after.strip_prefix(", ") {
            Some(more) => rest = more,
            None if after == ") FROM stdin;" => break,
            None => return None,
        }
    }
    Some(Block {
        table: table.to_owned(),
        columns,
    })
}

/// `ALTER TABLE ONLY parent ATTACH PARTITION partition FOR VALUES …`
fn attached(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("ALTER TABLE ONLY ")?;
    let (parent, rest) = rest.split_once(" ATTACH PARTITION ")?;
    let (partition, _) = rest.split_once(" FOR VALUES ")?;
    Some((parent.to_owned(), partition.to_owned()))
}

/// A field as COPY writes it.
fn field(text: &str) -> Option<String> {
    if text == "\\N" {
        return None;
    }
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut value = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('b') => value.push('\u{8}'),
                Some('f') => value.push('\u{c}'),
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some('v') => value.push('\u{b}'),
                Some(other) => value.push(other),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::{attached, field, header};

    #[test]
    fn statements_and_fields() {
        let block = header("COPY batchcortex.events_log_2026_11 (org_id, \"before\", after) FROM stdin;")
            .expect("a block");
        assert_eq!(block.table, "batchcortex.events_log_2026_11");
        assert_eq!(block.columns, ["org_id", "before", "after"]);
        assert!(header("COPY nonsense").is_none());
        assert!(header("COPY a.b (c) FROM stdin; DROP TABLE d; COPY e.f (g) FROM stdin;").is_none());
        let block = header("COPY a.b (\"c, \"\"d\", e) FROM stdin;").expect("a block");
        assert_eq!(block.columns, ["c, \"d", "e"]);
        assert_eq!(
            attached(
                "ALTER TABLE ONLY batchcortex.events_log ATTACH PARTITION batchcortex.e1 FOR VALUES FROM ('a') TO ('b');"
            ),
            Some(("batchcortex.events_log".to_owned(), "batchcortex.e1".to_owned()))
        );
        assert_eq!(field("\\N"), None);
        assert_eq!(field("a\\tb\\\\c\\nd").as_deref(), Some("a\tb\\c\nd"));
        assert_eq!(field("\\\\N").as_deref(), Some("\\N"));
    }
}
