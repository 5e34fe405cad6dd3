//! A database as a works has it: organisations, events, samples, and tables of the DBA's own under protection. It is carried through
//! backups and restores, and must come out the same.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::device::now_ticks;
use crate::line::findings_of;
use crate::program::Api;
use crate::site::Site;

/// Tables of the DBA's own: composite keys, partitions, a column that names the organisation, types whose oids a restore changes, and
/// triggers that alter rows on their way in, one before and one after ours in the alphabet.
const TABLES: &str = r"
    create type public.state as enum ('planned', 'running', 'done');
    create type public.bounds as (low numeric, high numeric, state public.state);
    create function public.trim_note() returns trigger language plpgsql as $$ begin new.note := btrim(new.note); return new; end $$;
    create table public.weighing (
        lot text, number integer, org uuid, note text, state public.state, states public.state[], bounds public.bounds,
        of_table regclass, of_tables regclass[], amount numeric(12, 3), measured double precision, primary key (lot, number));
    create trigger a_trim before insert on public.weighing for each row execute function public.trim_note();
    create trigger z_trim before insert on public.weighing for each row execute function public.trim_note();
    create table public.reading (at timestamptz not null, sensor text not null, value double precision, primary key (sensor, at)) partition by range (at);
    create table public.reading_2025 partition of public.reading for values from ('2025-01-01') to ('2026-01-01');
    create table public.reading_rest partition of public.reading default;
    insert into public.reading select '2025-12-01'::timestamptz + i * interval '1 day', 'pH', i / 7.0 from generate_series(1, 100) i;
    create table public.recipe (id integer primary key, note text, pin text);
    select batchcortex.track('public.recipe', mask => '{pin}', require_reason => true);
    insert into public.recipe select i, 'recipe ' || i, 'secret' from generate_series(1, 10) i;
    alter table public.recipe add column grade text default 'A';
    create table public.label (id integer primary key, text text);
    insert into public.label select i, 'label ' || i from generate_series(1, 10) i;
    select batchcortex.make_soft_deletable('public.label');
    select batchcortex.soft_delete('public.label', json_build_object('id', 3), 'printed twice');";

const WEIGHINGS: &str = "
    insert into public.weighing
    select 'LOT', i, case when i % 2 = 0 then $1::uuid end, '  weighed ' || i || ' ', 'running'::public.state, array['planned', null, 'done']::public.state[],
           row(i / 3.0, null, 'done')::public.bounds, 'public.reading'::regclass, array['public.reading', 'pg_catalog.pg_class']::regclass[],
           i + 0.125, i / 3.0::float8
      from generate_series($2::integer, $3::integer) i";

/// Statements that nobody may run, superusers included, and that no restore may make possible.
pub const REFUSED: [&str; 17] = [
    "update batchcortex.events_log set reason = 'x'",
    "delete from batchcortex.sample_segment",
    "truncate batchcortex.events_log",
    "update public.weighing set note = 'x'",
    "delete from public.reading_2025",
    "truncate public.reading_rest",
    "alter table public.weighing disable trigger all",
    "alter table batchcortex.events_log disable trigger append_only",
    "drop trigger leaf_enqueue on public.weighing",
    "drop table public.reading",
    "delete from batchcortex.ledger_tree",
    "delete from batchcortex.tracked_table",
    "alter table public.recipe disable trigger all",
    "delete from public.label",
    "delete from public.label_tombstone",
    "create or replace view public.label_living as select * from public.label",
    "create trigger forge before insert on public.weighing for each row execute function public.trim_note()",
];

/// A database with records of every kind.
#[derive(Debug)]
pub struct Works {
    /// The server.
    pub cluster: Cluster,
    /// The organisation whose records they are.
    pub org_id: Uuid,
}

/// Size and root of one organisation's tree.
pub type Head = (Uuid, i64, Vec<u8>);

impl Works {
    /// Founds it in a cluster that is migrated and empty.
    ///
    /// # Errors
    /// When anything is refused.
    pub async fn found(cluster: Cluster) -> Result<Works> {
        let api = Api::start(&cluster).await?;
        let site = Site::found(&cluster, &api.url(), "works").await?;
        site.batch("LOT-1").await?;
        site.tag("pH", "Double", "pH").await?;
        let device = site.device("edge", &api.url()).await?;
        for (sequence, value) in (1..).zip([0.1 + 0.2, -0.0, 5e-324, 1.797_693_134_862_315_7e308]) {
            let message = device.message(
                sequence,
                Some("LOT-1"),
                "pH",
                sequence,
                now_ticks() - 1_000,
                json!(value),
            );
            device.send(&message).await?.ok()?;
        }
        drop(api);
        let works = Works {
            cluster,
            org_id: site.org_id,
        };
        let database = works.cluster.superuser().await?;
        database
            .execute(
                "select batchcortex.create_organisation('Neighbour', 'neighbour-admin')",
                &[],
            )
            .await?;
        database.batch_execute(TABLES).await?;
        database.execute(WEIGHINGS, &[&works.org_id, &1, &300]).await?;
        database
            .batch_execute(
                "select batchcortex.protect('public.weighing', 'org'); select batchcortex.protect('public.reading')",
            )
            .await?;
        database
            .execute(
                "select batchcortex.log_event('app.note', 'note', i::text, reason => 'as planned ' || i, org_id => $1) from generate_series(1, 600) i",
                &[&works.org_id],
            )
            .await?;
        database.execute(WEIGHINGS, &[&works.org_id, &301, &310]).await?;
        ensure!(findings_of(&database).await?.is_empty());
        Ok(works)
    }

    /// Lets the sealer sleep for a minute, and leaves rows that wait for it.
    ///
    /// # Errors
    /// When the sealer does not sleep.
    pub async fn leave_waiting(&self) -> Result<()> {
        let database = self.cluster.superuser().await?;
        database
            .batch_execute("alter system set batchcortex.seal_interval = '60s'")
            .await?;
        database
            .batch_execute("select pg_reload_conf(); select pg_sleep(0.3); select batchcortex.seal()")
            .await?;
        self.write_more(&database).await?;
        let waiting: i64 = database
            .query_one("select count(*) from batchcortex.ledger_queue", &[])
            .await?
            .get(0);
        ensure!(waiting > 0, "nothing waits for the sealer");
        Ok(())
    }

    /// A record of each kind more.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn write_more(&self, database: &Client) -> Result<()> {
        database
            .batch_execute(&format!(
                "do $$ declare
                     next integer := (select max(number) + 1 from public.weighing);
                 begin
                     insert into public.weighing (lot, number, org, note, states) values ('LOT', next, '{0}', ' more ', '{{done}}');
                     insert into public.reading values (clock_timestamp(), 'pH', 7.25);
                     perform batchcortex.log_event('app.note', 'note', 'more', org_id => '{0}');
                     perform batchcortex.set_reason('written on');
                     update public.recipe set note = 'note ' || next where id = 1;
                     if not exists (select from batchcortex.events_log
                                     where record_type = 'public.recipe' and action = 'row.updated' and reason = 'written on' and after ->> 'note' = 'note ' || next) then
                         raise exception 'a tracked table is not captured';
                     end if;
                 end $$",
                self.org_id
            ))
            .await?;
        Ok(())
    }

    /// Whether a database that came from this one is sound: nothing is found, the trees that it had then are its own, what waits is
    /// sealed, new records too, and nobody can change what is there.
    ///
    /// # Errors
    /// With what is not so.
    pub async fn is_carried_on_by(&self, database: &Client, before: &[Head]) -> Result<()> {
        let found = verify(database).await?;
        ensure!(found.is_empty(), "found after the restore: {found:?}");
        for (org_id, size, root) in before {
            let kept = database
                .query_opt(
                    "select from batchcortex.ledger_checkpoint where org_id = $1 and tree_size = $2 and root = $3",
                    &[org_id, size, root],
                )
                .await?;
            ensure!(
                kept.is_some(),
                "the tree of {org_id} with {size} leaves has not the root that it had"
            );
        }
        self.write_more(database).await?;
        let found = findings_of(database).await?;
        ensure!(found.is_empty(), "found after writing on: {found:?}");
        let lives = database
            .query(
                "select origin, previous, batchcortex.latest_checkpoint('ffffffff-ffff-ffff-ffff-ffffffffffff') from batchcortex.ledger_incarnation order by incarnation",
                &[],
            )
            .await?;
        let [first, second] = &lives[..] else {
            anyhow::bail!("{} lives of the log instead of two", lives.len());
        };
        let (origin, previous): (String, Option<String>) = (second.get(0), second.get(1));
        let note: String = second.get(2);
        ensure!(
            previous.as_deref() == Some(first.get(0)) && note.starts_with(&format!("{origin}\n")),
            "what is sealed now is not under an origin that continues the one before: {note}"
        );
        let now = heads(database).await?;
        for (org_id, size, root) in before.iter().filter(|(org_id, ..)| *org_id == self.org_id) {
            ensure!(
                now.iter().any(|(org, grown, _)| org == org_id && grown > size),
                "nothing more is sealed"
            );
            ensure!(
                extends(database, (*org_id, *size, root.clone())).await?,
                "the tree does not extend the one before"
            );
        }
        refuses_changes(database).await
    }
}

/// Refuses every statement of [`REFUSED`].
///
/// # Errors
/// With the one that it lets pass.
pub async fn refuses_changes(database: &Client) -> Result<()> {
    for statement in REFUSED {
        let error = database
            .batch_execute(statement)
            .await
            .err()
            .with_context(|| format!("not refused: {statement}"))?;
        ensure!(
            error.code().is_some_and(|code| code.code() == "BC001"),
            "{statement}: {error:?}"
        );
    }
    Ok(())
}

/// Size and root of every tree.
///
/// # Errors
/// When the database does not answer.
pub async fn heads(database: &Client) -> Result<Vec<Head>> {
    let rows = database
        .query(
            "select org_id, size, root from batchcortex.ledger_tree order by org_id",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

/// Whether the organisation's tree, as it stands now, extends the one that somebody has kept: the auditor's comparison.
///
/// # Errors
/// When the database does not answer.
pub async fn extends(database: &Client, (org_id, size, root): Head) -> Result<bool> {
    let row = database
        .query_one(
            "select case when t.size >= $2
                         then batchcortex.verify_consistency($2, t.size, $3, t.root, batchcortex.consistency_proof(t.org_id, $2, t.size))
                         else false end
               from batchcortex.ledger_tree t where t.org_id = $1",
            &[&org_id, &size, &root],
        )
        .await?;
    Ok(row.get(0))
}

/// What `verify()` finds, one line a finding: code, relation, record, detail. Nothing is sealed before.
///
/// # Errors
/// When the database does not answer.
pub async fn verify(database: &Client) -> Result<Vec<String>> {
    let rows = database
        .query(
            "select concat_ws(' ', code, relation, record, detail) from batchcortex.verify() order by 1",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
