//! The process: its log, its command line, how it starts and stops. Without a database.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_batchcortex-api");

/// A running service; killed if a test fails before it has stopped.
struct Service {
    child: Child,
    lines: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Service {
    fn start(level: &str) -> Self {
        let mut child = Command::new(BINARY)
            .env_clear()
            .env("BATCHCORTEX_LISTEN", "127.0.0.1:0")
            .env("BATCHCORTEX_LOG", level)
            .env(
                "BATCHCORTEX_DATABASE_URL",
                "postgres://nobody:canary-url@127.0.0.1:1/none",
            )
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let first: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(first["message"], "listening");
        let address = first["address"].as_str().unwrap().parse().unwrap();
        Self {
            child,
            lines,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; its exit code and what remained of the log.
    fn finish(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// control: B9, B26
#[test]
fn the_log_holds_nothing_but_its_listed_fields() {
    let service = Service::start("trace");
    let body = r#"{"username": "canary-user", "password": "canary-password"}"#;
    let length = body.len();
    let head = "Host: canary-host\r\nAuthorization: Bearer bcs_canary-token\r\nCookie: __Host-bc_session=bcs_canary-cookie\r\nUser-Agent: canary-agent\r\nSignature: canary-signature\r\nX-Other: canary-header\r\nConnection: close\r\n";
    let answers = [
        service.exchange(&format!("POST /v1/login HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")),
        service.exchange(&format!("GET /v1/batches?before=canary-query HTTP/1.1\r\n{head}\r\n")),
        service.exchange(&format!("GET /v1/batches/canary-id HTTP/1.1\r\n{head}\r\n")),
        service.exchange(&format!("GET /canary-path HTTP/1.1\r\n{head}\r\n")),
        service.exchange(&format!("CANARY-METHOD /v1/login HTTP/1.1\r\n{head}\r\n")),
        service.exchange(&format!("POST /v1/ingest HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}")),
        service.exchange(&format!("GET /v1/whoami HTTP/1.1\r\n{head}X-Request-Id: canary id\r\n\r\n")),
    ];
    for answer in &answers {
        assert!(
            answer.starts_with("HTTP/1.1 ") && !answer.to_lowercase().contains("canary"),
            "{answer}"
        );
    }
    service.terminate();
    let (status, log) = service.finish();
    assert_eq!(status, Some(0));
    assert!(!log.to_lowercase().contains("canary"), "{log}");

    let listed = [
        "timestamp",
        "level",
        "message",
        "target",
        "request_id",
        "client_ip",
        "method",
        "route",
        "status",
        "code",
        "cause",
        "milliseconds",
    ];
    let requests = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"] == "request");
    let mut count = 0;
    for line in requests {
        count += 1;
        for field in line.as_object().unwrap().keys() {
            assert!(listed.contains(&field.as_str()), "{field} in {line}");
        }
    }
    assert_eq!(count, answers.len());
}

/// A client that sends on while it is refused still gets the answer, not a broken connection.
#[test]
fn a_large_body_is_answered_413_over_the_wire() {
    let service = Service::start("info");
    for size in [9 << 20, 31 << 20] {
        let mut stream = service.connect();
        let head = format!(
            "POST /v1/ingest HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; size]).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("BC413"),
            "{answer}"
        );
    }
    // Who asks before sending is told at once.
    let asks = format!(
        "POST /v1/ingest HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        9 << 20
    );
    assert!(service.exchange(&asks).starts_with("HTTP/1.1 413"));
}

#[test]
fn a_client_that_leaves_is_in_the_log() {
    let service = Service::start("info");
    let mut stream = service.connect();
    let head = "POST /v1/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    // An answer on another connection shows that the service has had its turn.
    for _ in 0..3 {
        service.exchange("GET /v1/health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    }
    service.terminate();
    let (_, log) = service.finish();
    assert!(log.contains(r#""route":"/v1/login","status":400"#), "{log}");
}

/// control: A7
#[test]
fn sigterm_lets_a_request_in_progress_finish() {
    let service = Service::start("info");
    let body = r#"{"username": "u", "password": "p"}"#;
    let (first, second) = body.split_at(10);
    let mut stream = service.connect();
    let length = body.len();
    let head = format!(
        "POST /v1/login HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(first.as_bytes()).unwrap();
    // An answer on another connection shows that the service has read what came before it.
    assert!(
        service
            .exchange("GET /v1/health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .contains("live")
    );

    service.terminate();
    let refused = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        TcpStream::connect(service.address).is_err()
    });
    assert!(refused, "new connections are still accepted");

    stream.write_all(second.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("The database cannot be reached."),
        "{answer}"
    );
    assert_eq!(service.finish().0, Some(0));
}

#[test]
fn without_a_database_named_it_says_what_to_set() {
    let output = Command::new(BINARY).env_clear().output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("BATCHCORTEX_DATABASE_URL"));
}

/// control: B9
#[test]
fn a_wrong_database_url_is_not_repeated() {
    let output = Command::new(BINARY)
        .env_clear()
        .env(
            "BATCHCORTEX_DATABASE_URL",
            "postgres://api:canary@host:canary/db?canary=1",
        )
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains("canary"));
}

#[test]
fn it_prints_the_openapi_document_without_a_database() {
    let output = Command::new(BINARY).arg("openapi").env_clear().output().unwrap();
    assert!(output.status.success());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn help_names_every_setting() {
    let output = Command::new(BINARY).arg("--help").env_clear().output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for setting in [
        "BATCHCORTEX_LISTEN",
        "BATCHCORTEX_DATABASE_URL",
        "BATCHCORTEX_POOL_SIZE",
        "BATCHCORTEX_TRUSTED_PROXIES",
        "BATCHCORTEX_LOG",
        "PGHOST",
        "openapi",
        "serve",
    ] {
        assert!(help.contains(setting), "{setting}");
    }
}
