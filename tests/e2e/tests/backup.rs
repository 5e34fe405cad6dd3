//! What a DBA does to keep records safe, and what a thief of backups may try: dumps, base backups, replicas and upgrades carry every
//! record and every root along, and a copy that was altered on the way is found out.
//!
//! The commands are those of docs/operations.md.

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::until;
use batchcortex_e2e::works::{Works, extends, heads, refuses_changes, verify};
use std::time::Duration;

async fn works(name: &str) -> Result<Works> {
    Works::found(Cluster::start(name)?).await
}

// control: A4, A17, A22
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_restored_with_its_roots_and_an_altered_one_is_found() -> Result<()> {
    let works = works("dumped").await?;
    works.leave_waiting().await?;
    let before = heads(&works.cluster.superuser().await?).await?;
    let files = works.cluster.run();
    let file =
        |name: &str| -> Result<String> { files.join(name).to_str().map(ToOwned::to_owned).context("path") };
    let (roles, plain, custom, directory) = (
        file("roles.sql")?,
        file("works.sql")?,
        file("works.dump")?,
        file("works.dir")?,
    );
    if files.join("works.dir").exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    works
        .cluster
        .call("pg_dumpall", &["--roles-only", "-f", &roles])?;
    works.cluster.call("pg_dump", &["-f", &plain])?;
    works.cluster.call("pg_dump", &["-Fc", "-f", &custom])?;
    works
        .cluster
        .call("pg_dump", &["-Fd", "-j", "2", "-f", &directory])?;

    let target = Cluster::bare("restored")?;
    // A sealer for each database.
    target.configure(
        "max_worker_processes = 24
",
    )?;
    target.stop()?;
    target.take_keys_of(&works.cluster)?;
    target.serve()?;
    // The role that makes the others is there already: that one line fails, and psql goes on.
    target.call("psql", &["-Xq", "-d", "postgres", "-f", &roles])?;
    for database in ["plain", "custom", "parallel"] {
        target.call("createdb", &["-T", "template0", "-E", "UTF8", database])?;
        match database {
            "plain" => target.call(
                "psql",
                &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", &plain],
            ),
            "custom" => target.call("pg_restore", &["--exit-on-error", "-d", database, &custom]),
            _ => target.call(
                "pg_restore",
                &["--exit-on-error", "-j", "3", "-d", database, &directory],
            ),
        }
        .with_context(|| database.to_owned())?;
        let restored = target.superuser_of(database).await?;
        let logs = heads(&restored).await?;
        ensure!(logs == before, "{database}: {logs:?} instead of {before:?}");
        works
            .is_carried_on_by(&restored, &before)
            .await
            .with_context(|| database.to_owned())?;
    }

    let text = std::fs::read_to_string(&plain)?;
    for (case, altered, expected) in altered_dumps(&text)? {
        std::fs::write(&plain, altered)?;
        target.call("createdb", &["-T", "template0", "-E", "UTF8", case])?;
        target
            .call(
                "psql",
                &["-Xq", "-v", "ON_ERROR_STOP=1", "-d", case, "-f", &plain],
            )
            .with_context(|| case.to_owned())?;
        let found = verify(&target.superuser_of(case).await?).await?;
        ensure!(
            !found.is_empty() && found.iter().all(|finding| finding.starts_with(&expected)),
            "{case}: {found:?} instead of {expected:?}"
        );
    }
    ensure!(
        target.call("dropdb", &["--force", "plain"]).is_err(),
        "a database that keeps records was dropped"
    );
    Ok(())
}

/// What somebody may do to a dump before it is restored, and what verification says then.
type Altered = (&'static str, String, String);

fn altered_dumps(text: &str) -> Result<Vec<Altered>> {
    let line = |part: &str| {
        text.lines()
            .find(|line| line.contains(part))
            .with_context(|| format!("the dump has no line with {part}"))
    };
    let event = line("\tas planned 17\t")?;
    let id = event.split('\t').nth(1).context("an event has an id")?;
    let weighing = line("\tweighed 42\t")?;
    let trigger = line("CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON public.weighing")?;
    let enabled = line("ENABLE ALWAYS TRIGGER append_only;")?;
    let weighing_enabled = text
        .lines()
        .find(|line| line.contains("public.weighing") && line.ends_with("ENABLE ALWAYS TRIGGER append_only;"))
        .unwrap_or(enabled);
    Ok(vec![
        (
            "byte",
            text.replace("\tas planned 17\t", "\tas planneb 17\t"),
            format!("wrong_leaf batchcortex.events_log {id}"),
        ),
        (
            "deleted",
            text.replace(&format!("{event}\n"), ""),
            format!("missing_row batchcortex.events_log {id}"),
        ),
        (
            "weighing",
            text.replace(weighing, &weighing.replace("42.125", "42.126")),
            "wrong_leaf public.weighing".to_owned(),
        ),
        (
            "trigger",
            text.replace(trigger, "").replace(weighing_enabled, ""),
            "weakened_protection public.weighing append_only".to_owned(),
        ),
    ])
}

// control: A4, A17, A22
#[tokio::test(flavor = "multi_thread")]
async fn a_base_backup_goes_back_to_a_moment_and_a_replica_verifies() -> Result<()> {
    let works = works("archived").await?;
    let database = works.cluster.superuser().await?;
    let archive = works.cluster.directory("archive")?;
    let archive = archive.to_str().context("path")?;
    for statement in [
        "alter system set archive_mode = on".to_owned(),
        format!("alter system set archive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'"),
    ] {
        database.batch_execute(&statement).await?;
    }
    drop(database);
    works.cluster.stop()?;
    works.cluster.serve()?;
    let database = works.cluster.superuser().await?;

    // A replica: it verifies while it follows, and goes on sealing once it is promoted.
    let replica = Cluster::from_base_backup("replica", &works.cluster, &["-X", "stream", "-R"])?;
    replica.serve()?;
    works.write_more(&database).await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let before = heads(&database).await?;
    let standby = replica.superuser().await?;
    until("the replica has caught up", Duration::from_secs(30), || async {
        Ok((heads(&standby).await? == before).then_some(()))
    })
    .await?;
    ensure!(verify(&standby).await?.is_empty(), "found on the replica");
    // It proves, too, and says how it is.
    let proves: bool = standby
        .query_one(
            "select bool_and(batchcortex.verify_consistency(size, size, root, root, batchcortex.consistency_proof(org_id, size, size)))
                    and (select count(*) > 0 from batchcortex.health())
               from batchcortex.ledger_tree",
            &[],
        )
        .await?
        .get(0);
    ensure!(proves, "no proof on the replica");
    let report: String = standby
        .query_one("select batchcortex.verify_report()::text", &[])
        .await?
        .get(0);
    ensure!(report.contains("\"intact\":true"), "{report}");

    // A base backup, then the moment to go back to, then what is lost by going back.
    let restored = Cluster::from_base_backup("restored-to-moment", &works.cluster, &["-X", "none"])?;
    works.write_more(&database).await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let moment = heads(&database).await?;
    database
        .batch_execute("select pg_create_restore_point('before the mistake')")
        .await?;
    works.write_more(&database).await?;
    database.batch_execute("select batchcortex.seal()").await?;
    let kept = heads(&database)
        .await?
        .into_iter()
        .find(|(org_id, ..)| *org_id == works.org_id)
        .context("the organisation has a tree")?;
    let wal: String = database
        .query_one("select pg_walfile_name(pg_switch_wal())", &[])
        .await?
        .get(0);
    until("the log is archived", Duration::from_secs(30), || async {
        Ok(std::path::Path::new(archive).join(&wal).exists().then_some(()))
    })
    .await?;
    restored.configure(&format!(
        "restore_command = 'cp {archive}/%f %p'\nrecovery_target_name = 'before the mistake'\nrecovery_target_action = 'promote'\n"
    ))?;
    std::fs::write(restored.data()?.join("recovery.signal"), "")?;
    restored.serve()?;
    let back = restored.superuser().await?;
    until("recovery ends", Duration::from_secs(30), || async {
        let recovering: bool = back.query_one("select pg_is_in_recovery()", &[]).await?.get(0);
        Ok((!recovering).then_some(()))
    })
    .await?;
    ensure!(heads(&back).await? == moment);
    ensure!(
        !extends(&back, kept.clone()).await?,
        "what was lost by going back is not seen"
    );
    works.is_carried_on_by(&back, &moment).await?;
    ensure!(
        !extends(&back, kept).await?,
        "other records in the place of the lost ones are not seen"
    );

    standby.batch_execute("select pg_promote()").await?;
    works.is_carried_on_by(&standby, &before).await
}

// control: A17
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_place_keeps_every_root() -> Result<()> {
    let works = works("upgraded-from").await?;
    works.leave_waiting().await?;
    let before = heads(&works.cluster.superuser().await?).await?;
    let new = Cluster::bare("upgraded-to")?;
    let programs = new.programs()?;
    works.cluster.stop()?;
    new.stop()?;
    let (old_data, new_data) = (works.cluster.data()?, new.data()?);
    // Keys are no part of what pg_upgrade carries over.
    new.take_keys_of(&works.cluster)?;
    let text =
        |path: &std::path::Path| -> Result<String> { path.to_str().map(ToOwned::to_owned).context("path") };
    let (programs, old_data, new_data) = (text(&programs)?, text(&old_data)?, text(&new_data)?);
    new.call_as_server(
        "pg_upgrade",
        &[
            "--link", "-b", &programs, "-B", &programs, "-d", &old_data, "-D", &new_data, "-U", "postgres",
            "-s", "/tmp",
        ],
    )?;
    new.serve()?;
    let database = new.superuser().await?;
    works.is_carried_on_by(&database, &before).await?;
    refuses_changes(&database).await
}
