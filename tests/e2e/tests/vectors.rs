//! Proof cases of others, asked of the SQL functions, for which the largest size is 2^63 - 1.

use std::path::Path;

use anyhow::{Result, ensure};
use batchcortex_e2e::cluster::Cluster;

const INCLUSION: &str = "
    select c ->> 'case' from unnest($1::text[]) line, cast(line as json) c
     where (c ->> 'wantErr')::boolean = batchcortex.verify_inclusion(least((c ->> 'leafIdx')::numeric, 9223372036854775807)::bigint, least((c ->> 'treeSize')::numeric, 9223372036854775807)::bigint, decode(c ->> 'leafHash', 'base64'),
               array(select decode(p, 'base64') from json_array_elements_text(case json_typeof(c -> 'proof') when 'array' then c -> 'proof' else '[]' end) p),
               decode(c ->> 'root', 'base64'))";
const CONSISTENCY: &str = "
    select c ->> 'case' from unnest($1::text[]) line, cast(line as json) c
     where (c ->> 'wantErr')::boolean = batchcortex.verify_consistency(least((c ->> 'size1')::numeric, 9223372036854775807)::bigint, least((c ->> 'size2')::numeric, 9223372036854775807)::bigint,
               decode(c ->> 'root1', 'base64'), decode(c ->> 'root2', 'base64'),
               array(select decode(p, 'base64') from json_array_elements_text(case json_typeof(c -> 'proof') when 'array' then c -> 'proof' else '[]' end) p))";

// control: N1
#[tokio::test]
async fn the_proof_cases_of_rfc_6962_agree_in_sql() -> Result<()> {
    let cluster = Cluster::start("vectors")?;
    let database = cluster.superuser().await?;
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ledger/tests/data/rfc6962");
    for (file, query) in [("inclusion.jsonl", INCLUSION), ("consistency.jsonl", CONSISTENCY)] {
        let text = std::fs::read_to_string(cases.join(file))?;
        let lines: Vec<&str> = text.lines().collect();
        ensure!(lines.len() > 40, "{} cases", lines.len());
        let wrong: Vec<String> = database
            .query(query, &[&lines])
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect();
        ensure!(wrong.is_empty(), "{file}: {wrong:?}");
    }
    Ok(())
}
