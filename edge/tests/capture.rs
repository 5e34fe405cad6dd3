//! The whole way of a sample: a real OPC UA server, a real agent, a real HTTP endpoint.

#![allow(clippy::unwrap_used)] // A test may panic, and so may what it is made of.

mod support;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use batchcortex_edge::agent::RunError;
use batchcortex_edge::agent::capture::CaptureError;
use batchcortex_edge::agent::tags::TagError;
use batchcortex_edge::agent::uplink::DeliveryError;
use batchcortex_edge::plant::recording::{Channel, Recording};
use batchcortex_edge::plant::replay::{Pace, Report, play};
use batchcortex_edge::plant::server::{Access, Plant};
use support::api::Api;
use support::proxy::Proxy;
use support::{Agent, Directory, Settings, assert_complete, configure, eventually, recording};

const LOOPBACK: &str = "127.0.0.1:0";

async fn plant(recording: &Recording) -> Plant {
    Plant::start(LOOPBACK.parse().unwrap(), recording, &Access::Anonymous)
        .await
        .unwrap()
}

fn pace(interval_ms: u64) -> Pace {
    Pace {
        interval: Duration::from_millis(interval_ms),
        wait_for_subscriber: true,
    }
}

fn settings<'a>(api: &'a Api, endpoint: &'a str, recording: &'a Recording) -> Settings<'a> {
    Settings {
        api,
        endpoint,
        tags: recording.channels(),
        opcua: "",
        top: "",
    }
}

fn samples(recording: &Recording) -> usize {
    recording.rows().len() * recording.channels().len()
}

fn address(plant: &Plant) -> SocketAddr {
    plant
        .endpoint()
        .trim_start_matches("opc.tcp://")
        .trim_end_matches('/')
        .parse()
        .unwrap()
}

async fn stored(api: &Api, count: usize) {
    eventually("everything is stored", || api.count() >= count).await;
}

// control: A22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_stored_once_in_order_and_bit_by_bit() {
    let recording = recording(150, 12);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let agent = Agent::start(&configure(
        &directory,
        &settings(&api, plant.endpoint(), &recording),
    ));
    let report = play(&plant, &recording, pace(2), None).await.unwrap();
    assert_eq!(report.samples_emitted, samples(&recording));
    stored(&api, samples(&recording)).await;
    agent.stop().await.unwrap();
    assert_complete(&api, &recording, report.first_source_ticks);
    assert_eq!(api.unsigned(), 0);
    plant.stop().await;
}

// control: A12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_in_trouble_costs_no_sample_and_doubles_none() {
    let recording = recording(200, 8);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let agent = Agent::start(&configure(
        &directory,
        &settings(&api, plant.endpoint(), &recording),
    ));
    let replay = play(&plant, &recording, pace(10), None);
    let trouble = async {
        eventually("the first message", || api.messages() > 0).await;
        api.swallow_answers(1);
        eventually("the message came again", || api.repeated() > 0).await;
        api.refuse(Some((503, "BC503")));
        eventually("some refusals", || api.refused() >= 3).await;
        api.refuse(None);
    };
    let (report, ()) = tokio::join!(replay, trouble);
    stored(&api, samples(&recording)).await;
    agent.stop().await.unwrap();
    assert_complete(&api, &recording, report.unwrap().first_source_ticks);
    plant.stop().await;
}

// control: A12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_to_the_equipment_cost_no_sample() {
    let recording = recording(500, 8);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let proxy = Proxy::start(address(&plant)).await;
    let agent = Agent::start(&configure(
        &directory,
        &settings(&api, &proxy.endpoint(), &recording),
    ));
    let replay = play(&plant, &recording, pace(10), None);
    let faults = async {
        eventually("the first message", || api.messages() > 0).await;
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(700)).await;
        // What the server sends is lost on the way, then the connection breaks.
        proxy.swallow(true);
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxy.refuse(true);
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(600)).await;
        proxy.swallow(false);
        proxy.refuse(false);
        eventually("samples after the faults", || api.count() > 8 * 250).await;
        proxy.cut();
    };
    let (report, ()) = tokio::join!(replay, faults);
    stored(&api, samples(&recording)).await;
    agent.stop().await.unwrap();
    assert_complete(&api, &recording, report.unwrap().first_source_ticks);
    let status: serde_json::Value =
        serde_json::from_slice(&std::fs::read(directory.join("status.json")).unwrap()).unwrap();
    assert_eq!(status["possible_gaps"], 0, "{status}");
    assert_eq!(status["pending"], 0, "{status}");
    plant.stop().await;
}

// control: A13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_stops_fetching_and_loses_nothing() {
    let recording = recording(400, 20);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let mut with = settings(&api, plant.endpoint(), &recording);
    with.top = "spool_limit_mib = 1";
    let mut config = batchcortex_edge::agent::config::Config::load(&configure(&directory, &with)).unwrap();
    config.spool_limit = 40_000;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let spool = config.spool_dir.clone();
    let agent = tokio::spawn(batchcortex_edge::agent::run(config, None, stopped));
    let bytes = || {
        let files = std::fs::read_dir(&spool).map(|files| files.flatten().collect::<Vec<_>>());
        let sizes = files
            .unwrap_or_default()
            .into_iter()
            .filter_map(|file| Some(file.metadata().ok()?.len()));
        sizes.sum::<u64>()
    };
    let outage = async {
        eventually("the first message", || api.messages() > 0).await;
        api.refuse(Some((503, "BC503")));
        eventually("a full spool", || bytes() > 40_000).await;
    };
    // The plant plays to its end, whatever the agent can take.
    let (report, ()) = tokio::join!(play(&plant, &recording, pace(5), None), outage);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_most = 40_000 + 400_000;
    assert!(bytes() < at_most, "the spool holds {} bytes", bytes());
    assert!(api.count() < samples(&recording));
    api.refuse(None);
    stored(&api, samples(&recording)).await;
    stop.send_replace(true);
    agent.await.unwrap().unwrap();
    assert_complete(&api, &recording, report.unwrap().first_source_ticks);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_refused_for_good_stops_the_agent_and_stays() {
    let recording = recording(20, 3);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let config = configure(&directory, &settings(&api, plant.endpoint(), &recording));
    let agent = Agent::start(&config);
    eventually("the first row", || api.count() > 0).await;
    api.refuse(Some((422, "BC423")));
    let report = play(&plant, &recording, pace(10), None).await.unwrap();
    let error = agent.end().await.unwrap_err();
    assert!(
        matches!(error, RunError::Delivery(DeliveryError::Refused { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("BC423"), "{error}");
    let waiting = std::fs::read_dir(directory.join("spool")).unwrap().flatten();
    assert!(
        waiting
            .filter(|file| file.path().extension().is_some_and(|end| end == "message"))
            .count()
            > 0
    );

    // The cause is removed: the kept message is the next one.
    api.refuse(None);
    let before = api.messages();
    let agent = Agent::start(&config);
    eventually("the kept message", || api.messages() > before).await;
    agent.stop().await.unwrap();
    let first = &api.samples()["T0"][0];
    assert_eq!(first.source_ticks, report.first_source_ticks);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_that_are_not_there_are_all_named() {
    let recording = recording(2, 2);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let tags = ["T0", "pH", "T1", "Bioreactor"].map(|name| Channel {
        name: name.into(),
        unit: "-".into(),
    });
    let mut with = settings(&api, plant.endpoint(), &recording);
    with.tags = &tags;
    let error = Agent::start(&configure(&directory, &with))
        .end()
        .await
        .unwrap_err();
    let RunError::Capture(CaptureError::Tags(TagError::Unavailable(missing))) = &error else {
        panic!("{error}");
    };
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(
        missing[0].starts_with("pH (nsu=urn:batchcortex:plant;s=pH): BadNodeIdUnknown"),
        "{missing:?}"
    );
    assert!(missing[1].contains("the node is no variable"), "{missing:?}");
    plant.stop().await;
}

/// The agent as its own process.
fn spawn(config: &Path) -> Child {
    let status = config.with_file_name("status.json");
    Command::new(env!("CARGO_BIN_EXE_batchcortex-edge"))
        .args(["run", "--config"])
        .arg(config)
        .arg("--status")
        .arg(status)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: &str) {
    assert!(
        Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

// control: A12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_goes_on_without_loss() {
    let recording = recording(600, 6);
    let (api, directory) = (Api::start().await, Directory::new());
    // The server gives a subscription back to the account that it belongs to.
    let access = Access::Account {
        user: "reader".into(),
        password: "only for this test".into(),
    };
    let plant = Plant::start(LOOPBACK.parse().unwrap(), &recording, &access)
        .await
        .unwrap();
    directory.private("opcua.password", "only for this test\n");
    let mut with = settings(&api, plant.endpoint(), &recording);
    with.opcua = "user = \"reader\"\npassword_file = \"opcua.password\"";
    let config = configure(&directory, &with);

    let replay = play(&plant, &recording, pace(10), None);
    let kills = async {
        let mut agent = spawn(&config);
        for number in 1..=3 {
            let before = api.count();
            eventually("progress", || api.count() > before + 6 * 60).await;
            signal(&agent, "-KILL");
            agent.wait().unwrap();
            if number == 2 {
                // It can also be down for a while, and the API with it when it returns.
                api.refuse(Some((503, "BC503")));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            agent = spawn(&config);
            tokio::time::sleep(Duration::from_millis(500)).await;
            api.refuse(None);
        }
        agent
    };
    let (report, mut agent) = tokio::join!(replay, kills);
    stored(&api, samples(&recording)).await;
    signal(&agent, "-TERM");
    assert!(agent.wait().unwrap().success(), "SIGTERM is an orderly end");
    assert_complete(&api, &recording, report.unwrap().first_source_ticks);
    plant.stop().await;
}

// control: A13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_listens_nowhere_and_the_plant_does_without_it() {
    let recording = recording(100, 3);
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let mut agent = spawn(&configure(
        &directory,
        &settings(&api, plant.endpoint(), &recording),
    ));
    eventually("the first row", || api.count() > 0).await;
    let (listening, connected) = sockets(agent.id());
    assert_eq!(listening, 0, "every connection goes out");
    assert!(connected > 0);

    let report = tokio::join!(play(&plant, &recording, pace(5), None), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        signal(&agent, "-KILL");
    })
    .0
    .unwrap();
    assert!(report.done, "the plant plays to its end: {report:?}");
    agent.wait().unwrap();
    plant.stop().await;
}

/// TCP sockets of a process: listening, and connected.
fn sockets(process: u32) -> (usize, usize) {
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| {
            std::fs::read_link(entry.ok()?.path())
                .ok()?
                .into_os_string()
                .into_string()
                .ok()
        })
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let tables = ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{process}/net/{table}")));
    let states: Vec<String> = tables
        .into_iter()
        .flatten()
        .flat_map(|table| table.lines().skip(1).map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            own.iter()
                .any(|inode| fields.get(9) == Some(&inode.as_str()))
                .then(|| fields[3].to_owned())
        })
        .collect();
    let count = |state: &str| states.iter().filter(|found| *found == state).count();
    (count("0A"), count("01"))
}

// control: A22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_batch_at_full_speed_is_stored_whole() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/indpensim/batch_101.csv");
    let recording = match File::open(&file) {
        Ok(file) => Recording::from_csv(file).unwrap(),
        // Without the published data set a batch of the same size takes its place.
        Err(_) => recording(1_155, 45),
    };
    let (api, plant, directory) = (Api::start().await, plant(&recording).await, Directory::new());
    let agent = Agent::start(&configure(
        &directory,
        &settings(&api, plant.endpoint(), &recording),
    ));
    let began = std::time::Instant::now();
    let report: Report = play(&plant, &recording, pace(0), None).await.unwrap();
    stored(&api, samples(&recording)).await;
    println!(
        "{} samples in {:?}, in {} messages",
        samples(&recording),
        began.elapsed(),
        api.messages()
    );
    agent.stop().await.unwrap();
    assert_complete(&api, &recording, report.first_source_ticks);
    plant.stop().await;
}
