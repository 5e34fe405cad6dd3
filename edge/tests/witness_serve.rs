//! A witness that others ask over HTTP: what it answers by C2SP tlog-witness, and what it keeps whatever it answers.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use batchcortex_edge::agent::config::Config;
use batchcortex_edge::witness::settings::WitnessSettings;
use batchcortex_keys::KeyFile;
use batchcortex_ledger::global::{self, Incarnation, Origin};
use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle::root_of;
use batchcortex_ledger::note::{SignatureType, SignedNote, Signer};
use batchcortex_ledger::witness::AddCheckpoint;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LOG: &str = "batches.example.com";

fn signer() -> Signer {
    Signer::new(LOG, &[1; 32]).expect("a name")
}

fn leaves(count: u8) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&[i])).collect()
}

/// The log's checkpoint over these leaves, sealed at a time in microseconds.
fn note(leaves: &[Hash], sealed: i64) -> SignedNote {
    let incarnation = Incarnation {
        number: 1,
        random: [1; 4],
    };
    let origin = Origin::new(LOG, 7, incarnation).expect("a name");
    let text = global::checkpoint(&origin, leaves.len() as u64, root_of(leaves), sealed, None)
        .expect("a checkpoint");
    let mut note = SignedNote::new(text.to_string()).expect("a note");
    note.add(signer().sign(&note));
    note
}

/// A witness with a directory of its own that answers others; the API whose log it follows is not there.
struct Witness {
    directory: TempDir,
    settings: WitnessSettings,
    url: String,
    client: reqwest::Client,
    running: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

impl Witness {
    /// It has cosigned the first four leaves, which the log sealed at 40.
    async fn new() -> Witness {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = TempDir::with_prefix("bc-witness-").expect("a directory");
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let settings = settings(directory.path(), port);
        let (stop, stopped) = watch::channel(false);
        let running = {
            let settings = settings.clone();
            tokio::spawn(async move {
                batchcortex_edge::witness::run(settings, stopped)
                    .await
                    .expect("it runs");
            })
        };
        let witness = Witness {
            directory,
            settings,
            url: format!("http://127.0.0.1:{port}"),
            client: reqwest::Client::new(),
            running,
            _stop: stop,
        };
        let begun = Instant::now();
        while witness.client.get(witness.at("status")).send().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(witness.ask(0, &note(&leaves(4), 40)).await.0, 200);
        witness
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    async fn post(&self, body: String) -> (u16, String, String) {
        let request = self.client.post(self.at("add-checkpoint")).body(body);
        let response = request.send().await.expect("an answer");
        let kind = response.headers()["content-type"]
            .to_str()
            .expect("ASCII")
            .to_owned();
        (
            response.status().as_u16(),
            kind,
            response.text().await.expect("a text"),
        )
    }

    async fn ask(&self, old_size: u64, note: &SignedNote) -> (u16, String, String) {
        let request = AddCheckpoint {
            old_size,
            proof: Vec::new(),
            note: note.clone(),
        };
        self.post(request.to_string()).await
    }

    /// Codes that the alarm command was told.
    fn alarms(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("alarms")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn evidence(&self) -> Vec<serde_json::Value> {
        fs::read_dir(self.settings.state_dir.join("evidence"))
            .expect("a directory")
            .map(|entry| {
                let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
                serde_json::from_slice(&bytes).expect("JSON")
            })
            .collect()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn settings(directory: &Path, port: u16) -> WitnessSettings {
    let keys = directory.join("witness.keys");
    KeyFile::create(&keys, "w.example", SignatureType::CosignatureV1).expect("a new file");
    let config = directory.join("edge.toml");
    let alarms = directory.join("alarms").display().to_string();
    let text = format!(
        "api_url = \"http://127.0.0.1:9\"\n[witness]\nkey_file = \"witness.keys\"\nstate_dir = \"state\"\nlog_keys = [\"{}\"]\n\
         listen = \"127.0.0.1:{port}\"\nalarm = [\"/bin/sh\", \"-c\", 'echo \"$BATCHCORTEX_ALARM_CODE\" >>\"$0\"', {alarms:?}]\n",
        signer().verifier()
    );
    fs::write(&config, text).expect("a directory");
    Config::load_witness(&config).expect("settings")
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn what_convicts_the_log_is_kept_however_it_is_asked() {
    let mut forked = leaves(4);
    forked[1] = [9; 32];
    let (rollback, fork) = (note(&leaves(3), 50), note(&forked, 40));
    // By C2SP tlog-witness the size to prove from decides what is answered, before any tree is looked at.
    for (offered, code, old, status) in [
        (&rollback, "rollback", 4, 400),
        (&rollback, "rollback", 3, 409),
        (&rollback, "rollback", 0, 409),
        (&fork, "fork", 0, 409),
        (&fork, "fork", 4, 422),
        (&fork, "fork", 5, 400),
    ] {
        let witness = Witness::new().await;
        let (answered, kind, body) = witness.ask(old, offered).await;
        assert_eq!(answered, status, "{code} from {old}: {body}");
        if status == 409 {
            assert_eq!((kind.as_str(), body.as_str()), ("text/x.tlog.size", "4\n"));
        }
        let begun = Instant::now();
        while witness.alarms() != [code] {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{code} from {old}: {:?}",
                witness.alarms()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let evidence = witness.evidence();
        assert_eq!(evidence.len(), 1, "{evidence:?}");
        assert_eq!(evidence[0]["code"], code);
        assert_eq!(evidence[0]["offered_by"], "add-checkpoint");
        assert_eq!(evidence[0]["offered"], offered.to_string());
        let held = evidence[0]["held"].as_str().expect("a note");
        assert!(held.starts_with(note(&leaves(4), 40).text()));
        // From now on nothing of the log is cosigned, until a person has looked.
        assert_eq!(witness.ask(4, &note(&leaves(4), 40)).await.0, 503);
        let status = witness
            .client
            .get(witness.at("status"))
            .send()
            .await
            .expect("an answer");
        assert_eq!(status.status().as_u16(), 503);
    }
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn what_convicts_nobody_is_refused_and_no_more() {
    let witness = Witness::new().await;
    let mut forked = leaves(4);
    forked[1] = [9; 32];
    // Sealed before the one held: an old checkpoint, which anyone may have kept.
    for (old, status) in [(4, 400), (3, 409), (0, 409)] {
        assert_eq!(witness.ask(old, &note(&leaves(3), 30)).await.0, status, "{old}");
    }
    // A proof that is missing is the asker's doing.
    assert_eq!(witness.ask(4, &note(&leaves(5), 50)).await.0, 422);
    // What the log has not signed says nothing about it: not a word, or a stranger's.
    let fork = note(&forked, 40);
    for body in [
        format!("old 4\n\n{}", fork.text()),
        format!("old 4\n\n{}\n", fork.text()),
    ] {
        assert_eq!(witness.post(body).await.0, 403);
    }
    let elsewhere = fork.text().replacen(LOG, "other.example", 1);
    assert_eq!(witness.post(format!("old 4\n\n{elsewhere}\n")).await.0, 404);
    let mut stranger = SignedNote::new(fork.text()).expect("a note");
    stranger.add(Signer::new(LOG, &[2; 32]).expect("a name").sign(&stranger));
    assert_eq!(witness.ask(4, &stranger).await.0, 403);
    assert_eq!(witness.post("nonsense".to_owned()).await.0, 400);
    assert!(witness.alarms().is_empty() && witness.evidence().is_empty());
    assert_eq!(witness.ask(4, &note(&leaves(4), 40)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_alarm_command_a_witness_does_not_begin() {
    let directory = TempDir::with_prefix("bc-witness-").expect("a directory");
    let mut settings = settings(directory.path(), 0);
    settings.alarm = Some(vec!["/nonexistent/page".to_owned()]);
    let (_stop, stopped) = watch::channel(false);
    let refused = batchcortex_edge::witness::run(settings, stopped)
        .await
        .expect_err("no witness");
    assert!(
        refused
            .to_string()
            .starts_with("witness.alarm: /nonexistent/page cannot be run"),
        "{refused}"
    );
}
