//! The API calls what the database offers: every function, with every parameter, as it is declared now.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use batchcortex_e2e::cluster::Cluster;
use batchcortex_e2e::root;

/// Functions that no handler calls, and why.
const NOT_CALLED: &[(&str, &str)] = &[];

/// The statements of the API: string literals that name a function of batchcortex_api.
fn statements(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            statements(&path, found)?;
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        found.extend(
            text.split('"')
                .filter(|literal| literal.starts_with("select ") && literal.contains("batchcortex_api."))
                .map(str::to_owned),
        );
    }
    Ok(())
}

/// The function that a statement calls.
fn called(statement: &str) -> Result<&str> {
    let (_, rest) = statement.split_once("batchcortex_api.").context("no function")?;
    rest.split_once('(')
        .map(|(name, _)| name)
        .with_context(|| format!("no call: {statement}"))
}

// control: A8
#[tokio::test(flavor = "multi_thread")]
async fn every_function_is_called_with_every_parameter() -> Result<()> {
    let cluster = Cluster::start("routes")?;
    let database = cluster.superuser().await?;
    let rows = database
        .query(
            "select proname::text, pronargs::int from pg_proc
              where pronamespace = 'batchcortex_api'::regnamespace and prokind in ('f', 'p') order by 1",
            &[],
        )
        .await?;
    let catalog: Vec<(String, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let names: BTreeSet<&str> = catalog.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(
        names.len() == catalog.len(),
        "a function is overloaded: which one is called?"
    );
    ensure!(names.len() > 40, "the catalog shows {} functions", names.len());

    // As the API's own login, so that a function that it may not execute, or in another schema, does not pass.
    let service = cluster.service().await?;
    let mut found = Vec::new();
    statements(&root().join("api/src"), &mut found)?;
    let mut reached = BTreeSet::new();
    for statement in &found {
        let name = called(statement)?;
        let prepared = service
            .prepare(statement)
            .await
            .with_context(|| format!("the database does not take: {statement}"))?;
        let declared = catalog
            .iter()
            .find(|(known, _)| known == name)
            .with_context(|| format!("no such function: {statement}"))?
            .1;
        ensure!(
            usize::try_from(declared)? == prepared.params().len(),
            "{name} takes {declared} parameters: {statement}"
        );
        reached.insert(name);
    }
    for (name, why) in NOT_CALLED {
        ensure!(
            !why.is_empty() && names.contains(name) && reached.insert(name),
            "{name}: {why}"
        );
    }
    let missing: Vec<_> = names.difference(&reached).collect();
    ensure!(missing.is_empty(), "no route calls {missing:?}");
    Ok(())
}
