//! The tables whose rows are leaves: the project's own, as this library knows them, and those given to `protect()`, as the log tells.

use super::{Finding, unreadable};
use crate::ask;
use crate::identity::lent::lent;
use crate::identity::unscoped::unscoped;
use crate::ledger::scan::Scan;
use crate::row::with_varlena;
use batchcortex_ledger::record::OWN_RELATIONS;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportable};
use pgrx::prelude::*;
use std::collections::HashSet;

/// A table whose rows are leaves.
pub struct Source {
    /// ledger_relation.relation_id.
    pub id: u32,
    /// Qualified and quoted.
    pub relation: String,
    /// Domain of its preimages.
    pub domain: String,
    /// Column that names the organisation; none for the installation's log.
    pub org_column: Option<String>,
    /// Columns that name a record.
    pub key_columns: Vec<String>,
    /// Types of the key columns.
    pub key_kinds: Vec<pg_sys::Oid>,
    /// Whether the rows carry their leaf hash.
    pub hashed: bool,
    /// Whether it is partitioned.
    pub partitioned: bool,
    /// Whether row security decides which of its rows the caller sees.
    pub filtered: bool,
    /// Whether the rows can be read: the caller may, or the table's owner in their place, and the columns are there.
    pub readable: bool,
    /// Whether the caller may read them without that, so that they are named to them.
    pub named: bool,
    /// Owner of a table of others, in whose name it is read.
    lender: Option<pg_sys::Oid>,
}

impl Source {
    /// Runs `body`, which opens a query of a table of others, so that it reads every row: with the rights of the table's owner. A leaf could
    /// otherwise be hidden from auditors by a label that says it is of a table that they may not read. What they learn of such a table are names
    /// of records, which stand in the tiles that they read, and that one differs.
    ///
    /// # Errors
    /// What it raised.
    pub fn read_whole<T>(&self, body: impl FnOnce() -> T) -> Result<T, String> {
        let lender = self.lender.ok_or("nobody lends their rights to read it")?;
        lent(lender, body).map_err(|error| match *error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                if !unreadable::ENDS.contains(&report.sql_error_code()) =>
            {
                report.message().to_owned()
            }
            error => error.rethrow(),
        })
    }

    /// As [`Self::read_whole`] for a superuser, who may read the table anyway; anybody else reads it with their own rights. Raises what it raised.
    pub fn read_as_caller<T>(&self, body: impl FnOnce() -> T) -> T {
        // SAFETY: a catalog look-up.
        match self.lender.filter(|_| unsafe { pg_sys::superuser() }) {
            Some(lender) => lent(lender, body).unwrap_or_else(|error| error.rethrow()),
            None => body(),
        }
    }
}

/// The relations of the project's own tables, whose keys are UUIDs version 7.
pub fn own(sources: &[Source]) -> HashSet<u32> {
    let own = sources.iter().filter(|source| source.hashed);
    own.map(|source| source.id).collect()
}

const REGISTER: &str = "
    select r.relation_id, case when c.oid is null then r.domain else format('%I.%I', n.nspname, c.relname) end, r.domain, r.org_column::text,
           r.key_columns::text[], r.hashed,
           array(select coalesce(a.atttypid, 0) from unnest(r.key_columns) with ordinality k (name, i)
                   left join pg_attribute a on a.attrelid = r.relation and a.attname = k.name and not a.attisdropped order by k.i)::oid[],
           c.oid is not null and has_table_privilege(c.oid, 'select')
             or r.hashed and pg_has_role('batchcortex_owner', 'usage'),
           c.oid is not null and not exists (
               select from unnest(r.key_columns || r.org_column || case when r.hashed then '{recorded_at,leaf_hash}'::name[] end) k (name)
                where k.name is not null
                  and not exists (select from pg_attribute a where a.attrelid = r.relation and a.attname = k.name and not a.attisdropped
                                     -- Rows of the project's own tables are read by these types.
                                     and (not r.hashed or a.atttypid = case k.name when 'recorded_at' then 'timestamptz'::regtype
                                                                                   when 'leaf_hash' then 'bytea'::regtype else 'uuid'::regtype end))),
           c.relowner,
           coalesce(has_table_privilege(c.relowner, c.oid, 'select') and has_schema_privilege(c.relowner, c.relnamespace, 'usage'), false)
             -- What the owner of a partition wrote is not run as somebody else.
             and not exists (select from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid where p.relowner <> c.relowner)
      from batchcortex.ledger_relation r left join pg_class c on c.oid = r.relation left join pg_namespace n on n.oid = c.relnamespace
     order by 1";

/// The registered tables; what is wrong with the register is found.
pub fn read(findings: &mut Vec<Finding>) -> Vec<Source> {
    let mut find = |record: &str, detail: &str| {
        findings.push(Finding {
            log: "installation".to_owned(),
            code: "weakened_protection",
            relation: "batchcortex.ledger_relation".to_owned(),
            record: record.to_owned(),
            detail: detail.to_owned(),
        });
    };
    let mut sources: Vec<Source> = Spi::connect(|client| {
        client
            .select(REGISTER, None, &[])
            .unwrap_or_report()
            .filter_map(|row| {
                let source = Source {
                    id: row.get::<i32>(1).unwrap_or_report()? as u32,
                    relation: row.get(2).unwrap_or_report()?,
                    domain: row.get(3).unwrap_or_report()?,
                    org_column: row.get(4).unwrap_or_report(),
                    key_columns: row.get(5).unwrap_or_report()?,
                    hashed: row.get(6).unwrap_or_report()?,
                    key_kinds: row.get(7).unwrap_or_report()?,
                    readable: row.get(8).unwrap_or_report()?,
                    named: row.get(8).unwrap_or_report()?,
                    lender: row.get(10).unwrap_or_report(),
                    partitioned: false,
                    filtered: true,
                };
                let complete = row.get::<bool>(9).unwrap_or_report()?;
                Some((source, complete, row.get::<bool>(11).unwrap_or_report()?))
            })
            .map(|(mut source, complete, lendable)| {
                if source.hashed {
                    source.lender = None;
                } else if lendable {
                    source.readable = true;
                } else {
                    source.lender = None;
                    source.readable = false;
                }
                if !lendable && !source.hashed && complete {
                    find(
                        &source.relation,
                        "its owner may not read the table, or not all of its partitions are that owner's: leaves that are said to be of it cannot be verified",
                    );
                }
                if !complete {
                    find(
                        &source.relation,
                        "the table or a column of it that a leaf needs is missing or of another type: its rows cannot be verified",
                    );
                    source.readable = false;
                }
                source
            })
            .collect()
    });
    for (domain, relation, key) in OWN_RELATIONS {
        match sources.iter_mut().find(|source| source.domain == domain) {
            None => find(relation, "the table is not registered: its rows have no leaves"),
            Some(source) => {
                if source.relation != relation
                    || source.key_columns != [key]
                    || source.org_column.as_deref() != Some("org_id")
                    || !source.hashed
                {
                    find(
                        relation,
                        &format!("the register says {} instead", source.relation),
                    );
                }
                source.relation = relation.to_owned();
                source.key_columns = vec![key.to_owned()];
                source.key_kinds = vec![pg_sys::UUIDOID];
                source.org_column = Some("org_id".to_owned());
                source.hashed = true;
            }
        }
    }
    for source in sources.iter_mut().filter(|source| source.hashed) {
        if !OWN_RELATIONS.iter().any(|(domain, ..)| *domain == source.domain) {
            find(
                &source.relation,
                "a table that is not the project's own is registered as if its rows carried their leaf hashes",
            );
            source.readable = false;
        }
        // Of the table that is read, whatever the register says.
        let query = "select c.relkind = 'p', row_security_active(c.oid) from pg_class c where c.oid = to_regclass($1)";
        let (partitioned, filtered) = ask::two::<bool, bool>(query, &[source.relation.as_str().into()]);
        source.partitioned = partitioned.unwrap_or(false);
        source.filtered = filtered.unwrap_or(true);
    }
    sources
}

/// Tables of others must be registered as their event in the installation's log says, and only those.
pub fn compare_with_log(findings: &mut Vec<Finding>) {
    let query = "
        select coalesce(r.domain, e.domain, e.relation_id, 'table.protected'),
               case when e.relation_id is null and r.relation_id is not null then 'no event table.protected tells of the table'
                    when r.domain is null then 'the table was protected and is not registered any more'
                    else 'the register differs from the event table.protected' end
          from (select relation_id::text, domain, org_column::text, array_to_json(key_columns::text[])::text as key_columns
                  from batchcortex.ledger_relation where not hashed) r
          full join (select batchcortex.event_member(after::text, 'relation_id') as relation_id, batchcortex.event_member(after::text, 'domain') as domain,
                            batchcortex.event_member(after::text, 'org_column') as org_column,
                            batchcortex.event_member(after::text, 'key_columns') as key_columns
                       from batchcortex.events_log
                      where org_id = '00000000-0000-0000-0000-000000000000' and action = 'table.protected') e
            on e.relation_id = r.relation_id
         where (e.relation_id, e.domain, e.org_column, e.key_columns) is distinct from (r.relation_id, r.domain, r.org_column, r.key_columns)";
    // An auditor does not read the installation's log, which tells of tables and no organisation's data.
    let mut told = Vec::new();
    unscoped(|| {
        let mut scan = Scan::open(query, &[], 1000);
        while scan.next(|row| {
            let text = |i: usize| {
                // SAFETY: text columns.
                row.get(i)
                    .map(|datum| unsafe {
                        with_varlena(datum, |bytes| String::from_utf8_lossy(bytes).into_owned())
                    })
                    .unwrap_or_default()
            };
            told.push((text(0), text(1)));
        }) {}
        scan.close();
    });
    findings.extend(told.into_iter().map(|(record, detail)| Finding {
        log: "installation".to_owned(),
        code: "weakened_protection",
        relation: "batchcortex.ledger_relation".to_owned(),
        record,
        detail,
    }));
}
