//! A dump of the whole database, and one of what an auditor may read: `bcverify --dump` recomputes every record of it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::program::Api;
use batchcortex_e2e::root;
use batchcortex_e2e::site::Site;
use serde_json::json;
use uuid::Uuid;

/// What an auditor needs of a dump.
const TABLES: [&str; 12] = [
    "events_log*",
    "sample_segment*",
    "ledger_relation",
    "ledger_incarnation",
    "ledger_tree",
    "ledger_tile",
    "ledger_checkpoint",
    "partition_disposal",
    "batch_retention",
    "legal_hold",
    "legal_hold_release",
    "batch",
];

fn verify(dump: &str, key: &str, more: &[&str]) -> Result<(i32, String)> {
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), PathBuf::from);
    let output = Command::new(target.join("release/bcverify"))
        .args(["--dump", dump, "--log-key", key])
        .args(more)
        .env_clear()
        .output()
        .context("bcverify: run scripts/build")?;
    let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    Ok((output.status.code().context("a code")?, text))
}

// control: A19, N1
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_verifies_without_the_database_and_names_what_was_altered() -> Result<()> {
    let cluster = Cluster::start("dump")?;
    let api = Api::start(&cluster).await?;
    let site = Site::found(&cluster, &api.url(), "dumped").await?;
    site.batch("LOT-1").await?;
    site.tag("pH", "Double", "pH").await?;
    let device = site.device("edge", &api.url()).await?;
    device
        .send_samples("LOT-1", "pH", &[json!(-0.1), json!(null), json!(-0.1 / 3.0)])
        .await?;
    for number in 0..300 {
        let event = json!({"action": "app.note", "record_type": "note", "record_id": format!("n\t{number}\n\\"), "reason": "as planned, \u{e9}", "after": {"a": [1.50, "\\N"]}});
        site.operator.post("/v1/events", &event).await?.ok()?;
    }
    let other = Site::found(&cluster, &api.url(), "another").await?;
    let mut database = cluster.superuser().await?;
    for statement in [
        "create schema weighing",
        "create table weighing.scale (n integer primary key, kg numeric)",
        "select batchcortex.protect('weighing.scale')",
        "create function weighing.twice(n integer) returns integer begin atomic select case when n > 0 then 2 * n else 0 end; end",
        "create function weighing.\"odd; name\"() returns text language sql as $f$ select '; $$ DROP TABLE x; $$ \\! id' $f$",
        "create table weighing.\"other table\" (\"a, b\" text default '; \\! id' check (\"a, b\" <> ')'), c serial primary key, d float8 default 1e300)",
        "insert into weighing.\"other table\" (\"a, b\") values ('DROP TABLE x;'), (E'\\\\.')",
        "create view weighing.heavy as select n from weighing.scale where kg > 1",
        "create materialized view weighing.sums as select sum(kg) from weighing.scale",
        "create rule nothing as on insert to weighing.\"other table\" where new.c < 0 do instead (select 1; select 2)",
        "comment on table weighing.scale is E'it''s\\n-- not; a \\\\! command /*'",
        "create index on weighing.\"other table\" (lower(\"a, b\"))",
        "create function weighing.noted() returns trigger language plpgsql as 'begin return new; end'",
        "create trigger noted after update of \"a, b\" on weighing.\"other table\" for each row when (new.c > 1) execute function weighing.noted()",
        "alter table weighing.\"other table\" disable trigger noted",
        "create type weighing.state as enum ('a;', 'b')",
        "select lo_from_bytea(0, '\\x00ff3b')",
        "insert into weighing.scale select i, i / 3.0 from generate_series(1, 5) i",
        "select batchcortex.seal()",
        "create role eva login",
    ] {
        database.batch_execute(statement).await?;
    }
    database
        .execute(
            "select batchcortex.grant_auditor('eva', $1, now() + interval '1 day', 'inspection')",
            &[&site.org_id],
        )
        .await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let key: String = database
        .query_one("select batchcortex.checkpoint_keys()", &[])
        .await?
        .get(0);
    let desk = cluster.directory("desk")?;
    let path = |name: &str| desk.join(name).to_str().map(str::to_owned).context("a path");

    let whole = path("whole.sql")?;
    cluster.call("pg_dump", &["-f", &whole])?;
    let (code, text) = verify(&whole, &key, &[])?;
    assert_eq!(code, 0, "{text}");
    for expected in [
        "3 sample_segment, each recomputed",
        "5 table:weighing.scale: leaves whose rows",
        "holds:",
        "signed by batchcortex.test+",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let compressed = path("compressed.dump")?;
    cluster.call("pg_dump", &["-Fc", "-f", &compressed])?;
    assert_eq!(verify(&compressed, &key, &[])?.0, 2);

    // What one organisation's auditor may read, and no other's.
    let own = path("own.sql")?;
    let tables: Vec<String> = TABLES
        .iter()
        .map(|table| format!("-tbatchcortex.{table}"))
        .collect();
    let mut arguments = vec!["-U", "eva", "--enable-row-security", "-f", &own];
    arguments.extend(tables.iter().map(String::as_str));
    cluster.call("pg_dump", &arguments)?;
    let (code, text) = verify(&own, &key, &[])?;
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains(&format!("log:        {} size", site.org_id)),
        "{text}"
    );
    assert!(!text.contains(&other.org_id.to_string()), "{text}");
    assert!(
        text.contains("checkpoints of organisations that the dump does not hold"),
        "{text}"
    );

    // Altered in the file itself: one digit of a sample, one letter of a reason.
    let content = std::fs::read_to_string(&whole)?;
    let altered = path("altered.sql")?;
    std::fs::write(&altered, content.replacen("as planned, ", "as plannee, ", 1))?;
    let (code, text) = verify(&altered, &key, &[])?;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("wrong_leaf: line ") && text.contains("TAMPERED:   1 finding"),
        "{text}"
    );
    let line = content
        .lines()
        .find(|line| line.contains("as planned, "))
        .context("a row")?;
    std::fs::write(&altered, content.replacen(&format!("{line}\n"), "", 1))?;
    let (code, text) = verify(&altered, &key, &[])?;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.starts_with("missing_record: ") && text.contains("TAMPERED:   1 finding"),
        "{text}"
    );

    // Signed by nobody: without the global log, without its checkpoints, with a stranger's signatures, and asked for another log's key.
    let global = "ffffffff-ffff-ffff-ffff-ffffffffffff\t";
    let without = |gone: &dyn Fn(&str) -> bool| -> String {
        content.split_inclusive('\n').filter(|line| !gone(line)).collect()
    };
    for (unsigned, says) in [
        (
            without(&|line| line.starts_with(global)),
            "the dump holds no global log",
        ),
        (
            without(&|line| line.starts_with(global) && line.contains("batchcortex.test/")),
            "signatures by given keys cover 0 of them",
        ),
        (
            content.replace("\u{2014} batchcortex.test ", "\u{2014} nobody.example "),
            "signatures by given keys cover 0 of them",
        ),
    ] {
        std::fs::write(&altered, unsigned)?;
        let (code, text) = verify(&altered, &key, &[])?;
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("not_signed: ") && text.contains(says), "{text}");
    }
    // A key of C2SP's documents, of another name.
    let other_key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let (code, text) = verify(&whole, other_key, &[])?;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("not_signed: "), "{text}");
    // Beside the rows, what restoring the dump would run as well.
    let (head, tail) = content.split_once("\nCOPY ").context("rows")?;
    for statement in [
        "UPDATE batchcortex.batch SET name = 'another';",
        "alter table batchcortex.events_log disable trigger all;",
        "ALTER TABLE weighing.scale DISABLE TRIGGER append_only;",
        "DO $$ BEGIN DELETE FROM batchcortex.tag; END $$;",
        "COMMENT ON SCHEMA weighing IS ''; DROP TABLE weighing.scale;",
        "SET session_replication_role = replica;",
        "\\! id",
    ] {
        for altered_dump in [
            format!("{head}\n{statement}\nCOPY {tail}"),
            format!("{content}{statement}\n"),
        ] {
            std::fs::write(&altered, altered_dump)?;
            let (code, text) = verify(&altered, &key, &[])?;
            assert_eq!(code, 1, "{statement}: {text}");
            assert!(
                text.starts_with("foreign_statement: line ") && text.contains("TAMPERED:   1 finding"),
                "{statement}: {text}"
            );
        }
    }

    // Altered in the database, behind broken glass, the hash made to fit.
    drop(api);
    cluster.break_glass("to see what the dump shows").await?;
    database = cluster.superuser().await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let change = database.transaction().await?;
    let partitions = change
        .query(
            "select relid::regclass::text from pg_partition_tree('batchcortex.events_log')",
            &[],
        )
        .await?;
    for partition in partitions {
        let partition: String = partition.get(0);
        change
            .batch_execute(&format!("alter table {partition} disable trigger all"))
            .await?;
    }
    let one: Uuid = change
        .query_one(
            "update batchcortex.events_log set reason = 'otherwise' where event_id = (select event_id from batchcortex.events_log where action = 'app.note' limit 1) returning event_id",
            &[],
        )
        .await?
        .get(0);
    change
        .execute(
            r"update batchcortex.events_log e set leaf_hash = sha256('\x00'::bytea || batchcortex.event_preimage(e)) where event_id = $1",
            &[&one],
        )
        .await?;
    change.commit().await?;
    cluster.call("pg_dump", &["-f", &whole])?;
    let (code, text) = verify(&whole, &key, &[])?;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with("wrong_leaf: ") && line.contains(&one.to_string())),
        "{text}"
    );
    // The triggers that were switched off for it are in the dump as well.
    assert!(
        text.contains("foreign_statement: ")
            && text.contains("what protects a table of records is switched off"),
        "{text}"
    );
    Ok(())
}
