//! What the tests stand on: an API endpoint, a proxy that breaks connections, a directory and a plant.

pub mod api;
pub mod proxy;

use std::path::{Path, PathBuf};
use std::time::Duration;

use batchcortex_edge::agent::config::Config;
use batchcortex_edge::agent::{RunError, run};
use batchcortex_edge::plant::recording::{Channel, Recording, Row};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// A directory that goes away with the test.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Directory {
        let path = std::env::temp_dir().join(format!("bc-edge-{}", Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Directory(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner can read.
    pub fn private(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a test changes in a configuration.
pub struct Settings<'a> {
    pub api: &'a api::Api,
    pub endpoint: &'a str,
    pub tags: &'a [Channel],
    /// Lines of the `[opcua]` table.
    pub opcua: &'a str,
    /// Lines before it.
    pub top: &'a str,
}

/// Writes configuration and secret of an agent; gives the path of the configuration.
pub fn configure(directory: &Directory, settings: &Settings<'_>) -> PathBuf {
    directory.private(
        "device.secret",
        &format!("{}\n", hex::encode(settings.api.secret())),
    );
    let tags: Vec<String> = settings
        .tags
        .iter()
        .map(|tag| {
            format!(
                "{{ name = {:?}, node_id = \"nsu=urn:batchcortex:plant;s={}\" }}",
                tag.name, tag.name
            )
        })
        .collect();
    let text = format!(
        "api_url = \"{}\"\ndevice_id = \"{}\"\nkey_id = \"{}\"\nsecret_file = \"device.secret\"\n\
         batch = \"B-1\"\nspool_dir = \"spool\"\nflush_interval_ms = 200\n{}\n\
         [opcua]\nendpoint = \"{}\"\npublishing_interval_ms = 20\nqueue_size = 100000\n{}\ntags = [{}]\n",
        settings.api.url(),
        settings.api.device_id(),
        api::KEY_ID,
        settings.top,
        settings.endpoint,
        settings.opcua,
        tags.join(", ")
    );
    let path = directory.join("edge.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// An agent in this process.
pub struct Agent {
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), RunError>>,
}

impl Agent {
    pub fn start(config: &Path) -> Agent {
        let config = Config::load(config).unwrap();
        let status = config.spool_dir.with_file_name("status.json");
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(async move { run(config, Some(&status), stopped).await });
        Agent { stop, running }
    }

    /// Tells it to stop and waits until it has.
    pub async fn stop(self) -> Result<(), RunError> {
        self.stop.send_replace(true);
        self.end().await
    }

    /// Waits until it ends.
    pub async fn end(self) -> Result<(), RunError> {
        tokio::time::timeout(Duration::from_secs(60), self.running)
            .await
            .expect("the agent ends in time")
            .unwrap()
    }
}

/// A batch with values that are easily lost: repeated ones, negative zero, the smallest and the largest.
pub fn recording(rows: usize, tags: usize) -> Recording {
    let channels = (0..tags)
        .map(|tag| Channel {
            name: format!("T{tag}"),
            unit: "g/L".into(),
        })
        .collect();
    let value = |row: usize, tag: usize| match (row + tag) % 6 {
        0 => -0.0,
        1 => 0.0,
        2 => 5e-324,
        3 => f64::MAX,
        4 => 1.0 / 3.0 * row as f64,
        _ => 30.0,
    };
    let rows = (0..rows)
        .map(|row| Row {
            time_h: 0.2 * (row + 1) as f64,
            values: (0..tags)
                // Tag 0 never changes: every one of its samples differs in time only.
                .map(|tag| if tag == 0 { 7.25 } else { value(row, tag) })
                .collect(),
        })
        .collect();
    Recording::new(channels, rows)
}

/// Asserts that exactly the recorded samples were stored: each once, in order, bit by bit.
pub fn assert_complete(api: &api::Api, recording: &Recording, first_source_ticks: i64) {
    let stored = api.samples();
    assert_eq!(stored.len(), recording.channels().len(), "every tag was stored");
    let first_h = recording.rows()[0].time_h;
    for (index, channel) in recording.channels().iter().enumerate() {
        let samples = &stored[&channel.name];
        assert_eq!(
            samples.len(),
            recording.rows().len(),
            "samples of {}",
            channel.name
        );
        for (number, (sample, row)) in samples.iter().zip(recording.rows()).enumerate() {
            let place = format!("sample {} of {}", number + 1, channel.name);
            assert_eq!(sample.value.to_bits(), row.values[index].to_bits(), "{place}");
            assert_eq!(sample.status, 0, "{place}");
            let ticks = ((row.time_h - first_h) * 36e9).round() as i64 + first_source_ticks;
            assert!((sample.source_ticks - ticks).abs() <= 1, "{place}: time");
        }
    }
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(tokio::time::Instant::now() < patience, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
