//! A running witness and a server that lies to it: by silence, by showing too little, by mixing things up. Real HTTP, real disk.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use batchcortex_edge::agent::config::Config;
use batchcortex_edge::witness::settings::WitnessSettings;
use batchcortex_edge::witness::status::Report;
use batchcortex_keys::KeyFile;
use batchcortex_ledger::global::{self, Incarnation, Origin};
use batchcortex_ledger::hash::{Hash, leaf_hash};
use batchcortex_ledger::merkle::{consistency_proof, root_of};
use batchcortex_ledger::note::{SignatureType, SignedNote, Signer};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const LOG: &str = "batches.example.com";

fn signer(name: &str) -> Signer {
    Signer::new(name, &[1; 32]).expect("a name")
}

fn leaves(count: u8) -> Vec<Hash> {
    (0..count).map(|i| leaf_hash(&[i])).collect()
}

/// A history that differs from the other one after its second leaf.
fn another(count: u8) -> Vec<Hash> {
    (0..count)
        .map(|i| leaf_hash(if i < 2 { vec![i] } else { vec![i, 9] }.as_slice()))
        .collect()
}

/// The checkpoint of a log of that name over the leaves, sealed in the order of its sizes.
fn note_of(name: &str, leaves: &[Hash]) -> String {
    let incarnation = Incarnation {
        number: 1,
        random: [1; 4],
    };
    let origin = Origin::new(name, 7, incarnation).expect("a name");
    let size = leaves.len() as u64;
    let text = global::checkpoint(&origin, size, root_of(leaves), size as i64, None).expect("a checkpoint");
    let mut note = SignedNote::new(text.to_string()).expect("a note");
    note.add(signer(name).sign(&note));
    note.to_string()
}

fn note(leaves: &[Hash]) -> String {
    note_of(LOG, leaves)
}

/// What the server answers.
#[derive(Clone, Default)]
struct Answers {
    checkpoint: String,
    /// Leaves that proofs are made from; without any it says that there are none.
    proofs: Vec<Hash>,
    asked: u32,
    cosigned: Vec<String>,
}

type Shared = Arc<Mutex<Answers>>;

#[derive(Deserialize)]
struct Range {
    from: u64,
    to: u64,
}

async fn checkpoint(State(answers): State<Shared>) -> String {
    let mut answers = answers.lock().expect("no panic");
    answers.asked += 1;
    answers.checkpoint.clone()
}

async fn consistency(State(answers): State<Shared>, Query(range): Query<Range>) -> Response {
    let leaves = answers.lock().expect("no panic").proofs.clone();
    match consistency_proof(&leaves[..], range.from, range.to) {
        Ok(path) if !leaves.is_empty() => {
            let path: Vec<String> = path.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect();
            Json(serde_json::json!({ "path": path })).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn cosignatures(State(answers): State<Shared>, body: String) {
    answers.lock().expect("no panic").cosigned.push(body);
}

/// The server and the witness that follows it.
struct Plant {
    directory: TempDir,
    settings: WitnessSettings,
    answers: Shared,
    serving: JoinHandle<()>,
    stop: watch::Sender<bool>,
    witness: Option<JoinHandle<()>>,
}

impl Plant {
    /// A log of two leaves, and a witness that has cosigned them.
    async fn new(change: impl FnOnce(&mut WitnessSettings)) -> Plant {
        let answers = Shared::default();
        let router = Router::new()
            .route("/v1/ledger/global/checkpoint", get(checkpoint))
            .route("/v1/ledger/global/consistency", get(consistency))
            .route("/v1/ledger/global/cosignatures", post(cosignatures))
            .with_state(Arc::clone(&answers));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a server");
        });
        let directory = TempDir::with_prefix("bc-witness-").expect("a directory");
        let mut settings = settings(directory.path(), &format!("http://{address}"));
        change(&mut settings);
        let mut plant = Plant {
            directory,
            settings,
            answers,
            serving,
            stop: watch::channel(false).0,
            witness: None,
        };
        plant.show(note(&leaves(2)), leaves(8));
        plant.start();
        plant.until("it cosigns", |plant| plant.size() == 2).await;
        plant
    }

    fn start(&mut self) {
        let (settings, stop) = (self.settings.clone(), self.stop.subscribe());
        self.witness = Some(tokio::spawn(async move {
            batchcortex_edge::witness::run(settings, stop)
                .await
                .expect("it runs");
        }));
    }

    fn kill(&mut self) {
        if let Some(witness) = self.witness.take() {
            witness.abort();
        }
    }

    fn show(&self, checkpoint: String, proofs: Vec<Hash>) {
        let mut answers = self.answers.lock().expect("no panic");
        answers.checkpoint = checkpoint;
        answers.proofs = proofs;
    }

    fn asked(&self) -> u32 {
        self.answers.lock().expect("no panic").asked
    }

    fn report(&self) -> Report {
        Report::from_files(&self.settings).expect("a report")
    }

    fn size(&self) -> u64 {
        self.report().logs[0].size
    }

    /// Codes that the alarm command was told.
    fn alarms(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("alarms")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Plant) -> bool) {
        let begun = Instant::now();
        while !reached(self) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{what}: {:?}, {:?}",
                self.report(),
                self.alarms()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until the witness has asked again so many times, answers read to their end.
    async fn rounds(&self, count: u32) {
        let before = self.asked();
        self.until("it asks", |plant| plant.asked() > before + count)
            .await;
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.kill();
        self.serving.abort();
    }
}

fn settings(directory: &Path, api_url: &str) -> WitnessSettings {
    KeyFile::create(
        &directory.join("witness.keys"),
        "w.example",
        SignatureType::CosignatureV1,
    )
    .expect("a new file");
    let config = directory.join("edge.toml");
    let alarms = directory.join("alarms").display().to_string();
    let text = format!(
        "api_url = {api_url:?}\n[witness]\nkey_file = \"witness.keys\"\nstate_dir = \"state\"\nlog_keys = [\"{}\"]\n\
         interval_ms = 100\npatience_s = 1\nalarm = [\"/bin/sh\", \"-c\", 'echo \"$BATCHCORTEX_ALARM_CODE\" >>\"$0\"', {alarms:?}]\n",
        signer(LOG).verifier()
    );
    fs::write(&config, text).expect("a directory");
    Config::load_witness(&config).expect("settings")
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shows_nothing_new_is_stale_until_it_grows() {
    let mut plant = Plant::new(|settings| settings.stale_after = Some(Duration::from_secs(2))).await;
    assert_eq!(plant.report().state, "in order");
    plant
        .until("it is told", |plant| plant.alarms() == ["stale"])
        .await;
    assert_eq!(plant.report().state, "stale");
    assert!(!plant.report().is_in_order());
    // A standing log is no reason to stop, and told once; a witness that starts anew has not forgotten since when, and tells it again.
    plant.rounds(3).await;
    assert_eq!(plant.alarms(), ["stale"]);
    plant.kill();
    assert_eq!(plant.report().state, "stale");
    plant.start();
    plant
        .until("it is told again", |plant| plant.alarms().len() == 2)
        .await;
    plant.show(note(&leaves(4)), leaves(8));
    plant.until("it follows", |plant| plant.size() == 4).await;
    assert_eq!(plant.report().state, "in order");
    assert!(plant.report().logs[0].alarm.is_none());
    plant
        .until("it stands still again", |plant| plant.alarms().len() == 3)
        .await;
    assert_eq!(plant.alarms(), ["stale"; 3]);
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn one_answer_that_is_not_the_logs_stops_nothing() {
    let plant = Plant::new(|_| {}).await;
    let elsewhere = note_of("other.example", &leaves(5));
    let mut forged =
        SignedNote::new(note(&leaves(6)).split("\n\n").next().unwrap().to_owned() + "\n").unwrap();
    forged.add(Signer::new(LOG, &[2; 32]).unwrap().sign(&forged));
    for (number, stray) in [elsewhere.clone(), forged.to_string()].into_iter().enumerate() {
        plant.show(stray, leaves(8));
        plant
            .until("it is counted", |plant| {
                plant.report().last.strays > number as u64
            })
            .await;
        assert!(plant.alarms().is_empty());
        let next = 3 + number as u8;
        plant.show(note(&leaves(next)), leaves(8));
        plant
            .until("it goes on", |plant| plant.size() == u64::from(next))
            .await;
    }
    assert!(plant.report().is_in_order() && plant.alarms().is_empty());

    // Again and again it is a log that is not there any more. It is asked less and less often.
    plant.show(elsewhere, leaves(8));
    let (begun, before) = (Instant::now(), plant.asked());
    plant
        .until("it is told", |plant| plant.alarms() == ["unknown_origin"])
        .await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(plant.asked() - before <= 5, "{}", plant.asked() - before);
    let report = plant.report();
    let alarm = report.logs[0].alarm.as_ref().expect("an alarm");
    assert!(
        fs::read_to_string(&alarm.evidence)
            .unwrap()
            .contains("other.example")
    );
    assert_eq!(report.last.strays, 5);
    assert_eq!(plant.size(), 4);
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn showing_what_was_cosigned_takes_back_no_tree_that_was_signed() {
    // A larger tree is seen once, without its proof, and then the old one for ever.
    let plant = Plant::new(|_| {}).await;
    plant.show(note(&leaves(5)), vec![]);
    plant.rounds(1).await;
    plant.show(note(&leaves(2)), vec![]);
    plant
        .until("it is told", |plant| plant.alarms() == ["bad_proof"])
        .await;
    let report = plant.report();
    let alarm = report.logs[0].alarm.as_ref().expect("an alarm");
    let evidence: serde_json::Value = serde_json::from_slice(&fs::read(&alarm.evidence).unwrap()).unwrap();
    assert_eq!(evidence["offered"], note(&leaves(5)));
    assert_eq!(report.logs[0].size, 2);

    // With the proof it is cosigned, whatever the log shows at the moment: from then on the old answer is one that lags.
    let plant = Plant::new(|_| {}).await;
    plant.show(note(&leaves(5)), vec![]);
    plant.rounds(1).await;
    plant.show(note(&leaves(2)), leaves(8));
    plant.until("it is remembered", |plant| plant.size() == 5).await;
    plant.show(note(&leaves(6)), leaves(8));
    plant.until("it goes on", |plant| plant.size() == 6).await;
    plant.rounds(15).await;
    assert!(plant.alarms().is_empty(), "{:?}", plant.alarms());
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_proof_and_another_one_with_it_convict() {
    for (shown, told) in [
        (another(5), "fork"),
        (another(4), "bad_proof"),
        (another(7), "bad_proof"),
    ] {
        let plant = Plant::new(|_| {}).await;
        plant.show(note(&leaves(5)), vec![]);
        plant.rounds(1).await;
        plant.show(note(&shown), another(8));
        plant.until(told, |plant| plant.alarms() == [told]).await;
        let report = plant.report();
        let alarm = report.logs[0].alarm.as_ref().expect("an alarm");
        let evidence: serde_json::Value =
            serde_json::from_slice(&fs::read(&alarm.evidence).unwrap()).unwrap();
        assert_eq!(evidence["offered"], note(&leaves(5)));
        assert!(
            evidence["held"]
                .as_str()
                .unwrap()
                .starts_with(note(&shown).split("\n\n").next().unwrap())
        );
    }
}

// control: N3
#[tokio::test(flavor = "multi_thread")]
async fn an_older_answer_now_and_then_is_no_alarm() {
    let plant = Plant::new(|_| {}).await;
    plant.show(note(&leaves(5)), leaves(8));
    plant.until("it follows", |plant| plant.size() == 5).await;
    for _ in 0..6 {
        plant.show(note(&leaves(2)), leaves(8));
        plant.rounds(1).await;
        plant.show(note(&leaves(5)), leaves(8));
        plant.rounds(2).await;
    }
    assert!(plant.alarms().is_empty(), "{:?}", plant.alarms());
    plant.show(note(&leaves(2)), leaves(8));
    plant
        .until("it is told", |plant| plant.alarms() == ["rollback"])
        .await;
}
