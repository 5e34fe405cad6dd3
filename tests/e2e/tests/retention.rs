//! Seven years by the clock: records are written on a server that lives in the past and disposed of on one that lives today.

use anyhow::{Context, Result};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::line::findings;
use tokio_postgres::Client;
use uuid::Uuid;

/// Seven years and about two months.
const PAST: &str = "-2620d";

async fn text(database: &Client, query: &str) -> Result<String> {
    let row = database
        .query_one(query, &[])
        .await
        .with_context(|| query.to_owned())?;
    row.get::<_, Option<String>>(0)
        .with_context(|| format!("{query}: null"))
}

/// SQLSTATE and message of a refusal.
async fn refusal(database: &Client, statement: &str) -> Result<String> {
    let error = database
        .batch_execute(statement)
        .await
        .err()
        .with_context(|| format!("not refused: {statement}"))?;
    let error = error.as_db_error().context("not an error of the database")?;
    Ok(format!("{} {}", error.code().code(), error.message()))
}

const WITNESS: &str = "a+2727a2b9+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
const RETIRED: &str = "b+0fe0862e+BAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

async fn is_refused(database: &Client, statement: &str, expected: &str) -> Result<()> {
    let told = refusal(database, statement).await?;
    assert!(
        told.contains(expected),
        "{statement}: {told}, expected {expected}"
    );
    Ok(())
}

/// Size and root of an organisation's tree.
async fn head(database: &Client, org: Uuid) -> Result<(i64, Vec<u8>)> {
    let row = database
        .query_one(
            "select size, root from batchcortex.ledger_tree where org_id = $1",
            &[&org],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

/// Whether each leaf of a tree of that size and root has an inclusion proof that holds.
async fn proofs_hold(database: &Client, org: Uuid, (size, root): &(i64, Vec<u8>)) -> Result<bool> {
    let row = database
        .query_one(
            "select bool_and(batchcortex.verify_inclusion(t.tile_index * 256 + n - 1, $2, substr(t.hashes, (n * 32 - 31)::integer, 32),
                                                          batchcortex.inclusion_proof($1, t.tile_index * 256 + n - 1, $2), $3))
               from batchcortex.ledger_tile t cross join generate_series(1, t.width) n
              where t.org_id = $1 and t.level = 0 and t.tile_index * 256 + n <= $2",
            &[&org, size, root],
        )
        .await?;
    Ok(row.get::<_, Option<bool>>(0) == Some(true))
}

async fn partition(database: &Client, table: &str) -> Result<String> {
    // The oldest partition with rows in it.
    let names = database
        .query(
            "select c.oid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
              where i.inhparent = $1::text::regclass order by c.relname",
            &[&table],
        )
        .await?;
    for name in names {
        let name: String = name.get(0);
        if text(database, &format!("select exists (select from {name})::text")).await? == "true" {
            return Ok(name);
        }
    }
    anyhow::bail!("{table} has no rows")
}

async fn write_the_past(database: &Client, org: Uuid, batch: Uuid, of_batch: bool) -> Result<()> {
    let batch = of_batch.then_some(batch);
    database
        .execute(
            "select batchcortex.log_event('app.note', 'note', i::text, reason => 'long ago', batch_id => case when i = 1 then $2::uuid end, org_id => $1)
               from generate_series(1, 300) i",
            &[&org, &batch],
        )
        .await?;
    database
        .execute(
            "insert into batchcortex.sample_segment (org_id, segment_id, device_id, sequence, tag_id, batch_id, first_sample, last_sample, sample_count, data_type,
                                                     source_ticks, status, numbers)
             select $1, gen_random_uuid(), gen_random_uuid(), i, gen_random_uuid(), $2, 1, 1, 1, 'Double', '{1}', '{0}', array[i / 3.0] from generate_series(1, 20) i",
            &[&org, &batch],
        )
        .await?;
    database
        .execute(
            "insert into batchcortex.login_attempt (org_id, purpose, result) select $1, 'login', 'refused' from generate_series(1, 5)",
            &[&org],
        )
        .await?;
    Ok(())
}

// control: A17, A22, B31, R11
#[tokio::test(flavor = "multi_thread")]
async fn records_go_when_their_time_has_come_and_the_log_stays_whole() -> Result<()> {
    let cluster = Cluster::at_another_time("retention", PAST)?;
    let past = cluster.superuser().await?;
    let founded = past
        .query_one(
            "select org_id from batchcortex.create_organisation('held', 'ada')",
            &[],
        )
        .await?;
    let org: Uuid = founded.get(0);
    let other: Uuid = past
        .query_one(
            "select org_id from batchcortex.create_organisation('other', 'bob')",
            &[],
        )
        .await?
        .get(0);
    let batch: Uuid = past
        .query_one(
            "insert into batchcortex.batch (org_id, number, product) values ($1, 'LOT-1', 'penicillin') returning batch_id",
            &[&org],
        )
        .await?
        .get(0);
    past.batch_execute("create table public.weighing (id integer primary key, grams numeric); select batchcortex.protect('public.weighing')")
        .await?;
    // Registers that verification compares with their events: a witness, one that was retired, an end of the incarnation.
    past.batch_execute(&format!(
        "select batchcortex.add_witness('{WITNESS}', 'ours'); select batchcortex.add_witness('{RETIRED}', 'theirs');
         select batchcortex.retire_witness('{RETIRED}', 'over'); select batchcortex.seal(); select batchcortex.new_incarnation('a drill')"
    ))
    .await?;
    write_the_past(&past, org, batch, true).await?;
    write_the_past(&past, other, batch, false).await?;
    past.query_one("select batchcortex.seal()", &[]).await?;
    let before = head(&past, org).await?;
    // Records that nobody seals in their time: the sealer waits for a lock, and has no place after the next start.
    let locks = cluster.superuser().await?;
    locks
        .batch_execute("begin; lock table batchcortex.ledger_tree in share mode")
        .await?;
    past.execute(
        "select batchcortex.log_event('app.note', 'note', 'waits', org_id => $1)",
        &[&other],
    )
    .await?;
    past.batch_execute("alter system set max_worker_processes = 2")
        .await?;
    drop(past);
    cluster.stop()?;
    cluster.serve()?;

    let first = cluster.superuser().await?;
    first.batch_execute("select batchcortex.make_partitions(); create role second superuser login; create role plain login").await?;
    let events = partition(&first, "batchcortex.events_log").await?;
    first
        .query_one(
            &format!("select batchcortex.propose_disposal('{events}', 'six years are over')"),
            &[],
        )
        .await?;
    is_refused(
        &cluster.login("second").await?,
        &format!("select batchcortex.dispose('{events}')"),
        "seal first",
    )
    .await?;
    first
        .batch_execute("alter system reset max_worker_processes")
        .await?;
    drop((first, locks));
    cluster.stop()?;
    cluster.resume()?;
    let first = cluster.superuser().await?;
    first.query_one("select batchcortex.seal()", &[]).await?;
    assert_eq!(
        findings(&cluster).await?,
        Vec::<String>::new(),
        "today, before anything goes"
    );
    let second = cluster.login("second").await?;
    let samples = partition(&first, "batchcortex.sample_segment").await?;
    let attempts = partition(&first, "batchcortex.login_attempt").await?;
    let year: i32 = first
        .query_one(
            "select extract(year from age(now(), min(recorded_at)))::integer from batchcortex.events_log",
            &[],
        )
        .await?
        .get(0);
    assert_eq!(year, 7, "the past was not seven years ago");

    // Refused: this month's, other tables, an older snapshot, one person for both, whatever the session calls itself.
    let this_month = text(
        &first,
        "select 'batchcortex.events_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM')",
    )
    .await?;
    for (statement, expected) in [
        (
            format!("select batchcortex.propose_disposal('{this_month}', 'x')"),
            "BC001",
        ),
        (
            format!("select batchcortex.dispose('{this_month}')"),
            "early disposal is refused to everyone",
        ),
        (
            "select batchcortex.propose_disposal('public.weighing', 'x')".to_owned(),
            "BC422",
        ),
        (
            "select batchcortex.dispose('batchcortex.events_log')".to_owned(),
            "BC422",
        ),
        (
            "select batchcortex.dispose('batchcortex.ledger_tile')".to_owned(),
            "BC422",
        ),
        (
            format!("select batchcortex.dispose('{events}')"),
            "a disposal takes two people",
        ),
        (format!("drop table {events}"), "BC001"),
        (
            format!("alter table batchcortex.events_log detach partition {events}"),
            "BC001",
        ),
        (format!("truncate {events}"), "BC001"),
        (
            format!("select batchcortex.propose_disposal('{events}', ' ')"),
            "BC422",
        ),
        (
            format!("select batchcortex.record_disposal('{events}')"),
            "dispose() alone",
        ),
        (
            "select batchcortex.set_retention('audit', 60, 0, 'shorter')".to_owned(),
            "BC422",
        ),
    ] {
        is_refused(&first, &statement, expected).await?;
    }
    first
        .query_one(
            &format!("select batchcortex.propose_disposal('{events}', 'six years are over')"),
            &[],
        )
        .await?;
    for disguise in [
        "reset role",
        "set session authorization second",
        "set role second",
    ] {
        is_refused(
            &first,
            &format!("{disguise}; select batchcortex.dispose('{events}')"),
            "BC403",
        )
        .await?;
        first
            .batch_execute("rollback; reset session authorization; reset role")
            .await?;
    }
    is_refused(
        &second,
        &format!("begin isolation level repeatable read; select batchcortex.dispose('{events}')"),
        "BC409",
    )
    .await?;
    second.batch_execute("rollback").await?;
    let plain = cluster.login("plain").await?;
    is_refused(
        &plain,
        &format!("select batchcortex.dispose('{events}')"),
        "42501",
    )
    .await?;

    // Held: the organisation, the batch; kept longer: the batch's own date.
    let dispose = format!("select batchcortex.dispose('{events}')");
    for of in ["null".to_owned(), format!("'{batch}'")] {
        let hold = text(
            &first,
            &format!("select batchcortex.place_legal_hold('{org}', 'lawsuit', {of})::text"),
        )
        .await?;
        is_refused(&second, &dispose, &format!("BC409 legal hold {hold}")).await?;
        let listed = text(&first, &format!("select obstacles::text from batchcortex.list_disposable() where partition = '{events}'::regclass")).await?;
        assert!(listed.contains(&hold), "{listed}");
        first
            .query_one(
                &format!("select batchcortex.release_legal_hold('{hold}', 'settled')"),
                &[],
            )
            .await?;
        is_refused(
            &first,
            &format!("select batchcortex.release_legal_hold('{hold}', 'again')"),
            "BC409",
        )
        .await?;
        is_refused(&first, "delete from batchcortex.legal_hold", "BC001").await?;
    }

    // The events go; the login attempts and the other table's partitions stay.
    let went: i64 = second.query_one(&dispose, &[]).await?.get(0);
    assert!(went > 600, "{went} rows");
    assert_eq!(
        findings(&cluster).await?,
        Vec::<String>::new(),
        "after the events went"
    );
    // What explained a witness went with them: a row of long ago by hand has no event all the same.
    first
        .batch_execute(
            "begin;
             insert into batchcortex.ledger_witness (verifier_key, witness, key_id, active, reason, changed_at)
             select 'evil', 'evil', '\\x00000000', true, 'mine', min(changed_at) from batchcortex.ledger_witness",
        )
        .await?;
    let found: String = first
        .query_one(
            "select string_agg(relation || ' ' || record, ',') from batchcortex.verify() where code <> 'sealing_overdue'",
            &[],
        )
        .await?
        .get(0);
    assert_eq!(found, "batchcortex.ledger_witness evil+00000000");
    first.batch_execute("rollback").await?;
    let gone: bool = first
        .query_one("select to_regclass($1) is null", &[&events])
        .await?
        .get(0);
    assert!(gone);
    is_refused(
        &second,
        &format!("select batchcortex.dispose('{samples}')"),
        "nobody has proposed",
    )
    .await?;

    // The batch's own date holds its samples back, after they were proposed.
    first
        .query_one(
            &format!("select batchcortex.propose_disposal('{samples}', 'six years are over')"),
            &[],
        )
        .await?;
    first
        .query_one(
            "select batchcortex.retain_batch($1, $2, (now() + interval '1 month')::date, null, 'expires late')",
            &[&org, &batch],
        )
        .await?;
    is_refused(
        &second,
        &format!("select batchcortex.dispose('{samples}')"),
        "BC409 batch",
    )
    .await?;
    is_refused(
        &first,
        &format!("select batchcortex.retain_batch('{org}', '{batch}', current_date, null)"),
        "BC422",
    )
    .await?;
    // No leaves, ninety days.
    first
        .query_one(
            &format!("select batchcortex.propose_disposal('{attempts}', 'ninety days are over')"),
            &[],
        )
        .await?;
    let went: i64 = second
        .query_one(&format!("select batchcortex.dispose('{attempts}')"), &[])
        .await?
        .get(0);
    assert_eq!(went, 10);

    // What was there is still provable, and the tree has only grown.
    assert_eq!(findings(&cluster).await?, Vec::<String>::new());
    let after = head(&first, org).await?;
    assert!(after.0 > before.0);
    assert!(
        proofs_hold(&first, org, &before).await?,
        "proofs under the root of seven years ago"
    );
    assert!(
        proofs_hold(&first, org, &after).await?,
        "proofs under today's root"
    );
    let consistent: bool = first
        .query_one(
            "select batchcortex.verify_consistency($2, $4, $3, $5, batchcortex.consistency_proof($1, $2, $4))",
            &[&org, &before.0, &before.1, &after.0, &after.1],
        )
        .await?
        .get(0);
    assert!(consistent);
    let disposed: i64 = first
        .query_one(
            "select sum((l ->> 'leaves_disposed')::bigint)::bigint from json_array_elements(batchcortex.verify_report() -> 'logs') l",
            &[],
        )
        .await?
        .get(0);
    assert_eq!(
        disposed,
        first
            .query_one(
                "select sum(leaves)::bigint from batchcortex.partition_disposal",
                &[]
            )
            .await?
            .get::<_, i64>(0)
    );
    // Each log tells of it, with both people.
    let told: i64 = first
        .query_one(
            "select count(distinct org_id) from batchcortex.events_log
              where action = 'partition.disposed' and after ->> 'table' = 'events_log' and after ->> 'proposed_by' = 'postgres' and after ->> 'approved_by' = 'second'
                and org_id in ($1, $2, '00000000-0000-0000-0000-000000000000')",
            &[&org, &other],
        )
        .await?
        .get(0);
    assert_eq!(told, 3);
    drop((first, second, plain));

    // Behind broken glass: a disposal that says something else, one that is gone, one made up for this month, rows put back.
    cluster.break_glass("to see what is named").await?;
    let mut database = cluster.superuser().await?;
    let forged = format!(
        "insert into batchcortex.partition_disposal (org_id, relation, relation_id, partition, recorded_from, recorded_to, row_count, leaves, leaves_sha256,
                                                     reason, proposed_by, proposed_login_oid)
         select '{org}', 'events_log', r.relation_id, 'x', date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month', 0, l.leaves, l.sha256, 'x', 'x', 1
           from batchcortex.ledger_relation r, batchcortex.leaves_between('{org}', r.relation_id, date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month') l
          where r.domain = 'event'"
    );
    let cases = [
        ("count changed", "update batchcortex.partition_disposal set leaves = leaves - 1 where relation = 'events_log'".to_owned(), "wrong_disposal"),
        ("hash changed", "update batchcortex.partition_disposal set leaves_sha256 = sha256('x') where relation = 'events_log'".to_owned(), "wrong_disposal"),
        ("range widened", "update batchcortex.partition_disposal set recorded_to = recorded_to + interval '12 years' where relation = 'events_log'".to_owned(), "wrong_disposal"),
        ("range narrowed", "update batchcortex.partition_disposal set recorded_to = recorded_from + interval '1 minute' where relation = 'events_log'".to_owned(), "wrong_disposal"),
        ("table changed", "update batchcortex.partition_disposal set relation = 'sample_segment' where relation = 'events_log'".to_owned(), "wrong_disposal"),
        ("record gone", "delete from batchcortex.partition_disposal where relation = 'events_log'".to_owned(), "missing_row"),
        ("this month's records removed, and a disposal made up", format!("delete from batchcortex.events_log where org_id = '{org}' and action = 'partition.disposed'; {forged}"), "wrong_disposal"),
        ("samples removed without a disposal", "delete from batchcortex.sample_segment".to_owned(), "missing_row"),
        ("a time shortened", "delete from batchcortex.batch_retention".to_owned(), "missing_row"),
        ("a hold rewritten", "update batchcortex.legal_hold set reason = 'none'".to_owned(), "wrong_leaf"),
    ];
    for (case, statements, expected) in cases {
        let change = database.transaction().await?;
        let tables = change
            .query(
                "select c.oid::regclass::text from pg_class c
                  where c.relnamespace = 'batchcortex'::regnamespace and c.relkind in ('r', 'p')
                    and c.relname ~ '^(partition_disposal|events_log.*|sample_segment.*|legal_hold|batch_retention)$'",
                &[],
            )
            .await?;
        for table in tables {
            change
                .batch_execute(&format!(
                    "alter table {} disable trigger append_only_truncate",
                    table.get::<_, String>(0)
                ))
                .await
                .with_context(|| case.to_owned())?;
            let row_triggers = format!(
                "do $$ declare t record; begin for t in select tgname from pg_trigger where tgrelid = '{0}'::regclass and tgname in ('append_only', 'disposal_only')
                 loop execute format('alter table {0} disable trigger %I', t.tgname); end loop; end $$",
                table.get::<_, String>(0)
            );
            change.batch_execute(&row_triggers).await?;
        }
        change
            .batch_execute(&statements)
            .await
            .with_context(|| case.to_owned())?;
        let codes: Vec<String> = change
            .query(
                "select distinct code from batchcortex.verify() where code <> 'weakened_protection'",
                &[],
            )
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(codes.iter().any(|code| code == expected), "{case}: {codes:?}");
        change.rollback().await?;
    }
    drop(database);
    cluster.stop()?;
    cluster.resume()?;
    assert_eq!(
        findings(&cluster).await?,
        Vec::<String>::new(),
        "after all is rolled back and the glass is whole"
    );
    Ok(())
}
