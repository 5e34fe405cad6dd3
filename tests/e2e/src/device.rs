//! A device that signs its messages itself, so that a test can also send wrong ones.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use batchcortex_ledger::request_signature::{SignedHeaders, sign};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Answer, client};

/// 100 ns units from 1601-01-01 to 1970-01-01 UTC.
const UNIX_EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// An enrolled device.
#[derive(Debug, Clone)]
pub struct Device {
    client: reqwest::Client,
    url: String,
    /// Its id.
    pub id: Uuid,
    /// Name of its key.
    pub key_id: String,
    /// Its key, 32 bytes.
    pub secret: Vec<u8>,
}

impl Device {
    /// A device that posts to `url`.
    pub fn new(url: &str, id: Uuid, key_id: &str, secret: Vec<u8>) -> Device {
        Device {
            client: client(),
            url: url.to_owned(),
            id,
            key_id: key_id.to_owned(),
            secret,
        }
    }

    /// A message of the device with one segment of one sample.
    pub fn message(
        &self,
        sequence: u64,
        batch: Option<&str>,
        tag: &str,
        first_sample: u64,
        ticks: i64,
        value: Value,
    ) -> Value {
        let mut message = json!({
            "device_id": self.id, "sequence": sequence,
            "segments": [{
                "tag": tag, "data_type": "Double", "first_sample": first_sample,
                "source_ticks": [ticks], "values": [value], "status": [0],
            }],
        });
        if let Some(batch) = batch {
            message["batch"] = json!(batch);
        }
        message
    }

    /// Sends a message as it ought to be sent.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn send(&self, message: &Value) -> Result<Answer> {
        self.send_bytes(&serde_json::to_vec(message)?).await
    }

    /// Sends one sample of a batch a message, from the first message of the device on.
    ///
    /// # Errors
    /// With what the API refuses.
    pub async fn send_samples(&self, batch: &str, tag: &str, values: &[Value]) -> Result<()> {
        for (sequence, value) in (1..).zip(values) {
            let ticks = now_ticks() - 1_000;
            let message = self.message(sequence, Some(batch), tag, sequence, ticks, value.clone());
            self.send(&message).await?.ok()?;
        }
        Ok(())
    }

    /// Sends bytes, rightly signed.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn send_bytes(&self, body: &[u8]) -> Result<Answer> {
        self.deliver(body, Some(self.sign(body, now_seconds())?)).await
    }

    /// Signs a body for `/v1/ingest` as of a time.
    ///
    /// # Errors
    /// When the key is no key.
    pub fn sign(&self, body: &[u8], created: i64) -> Result<SignedHeaders> {
        let nonce = URL_SAFE_NO_PAD.encode(Uuid::new_v4().as_bytes());
        let authority = self.url.trim_start_matches("http://");
        Ok(sign(
            &self.secret,
            "POST",
            authority,
            "/v1/ingest",
            body,
            created,
            &nonce,
            &self.key_id,
        )?)
    }

    /// Sends bytes with the headers given, or without any signature.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn deliver(&self, body: &[u8], signed: Option<SignedHeaders>) -> Result<Answer> {
        let mut request = self
            .client
            .post(format!("{}/v1/ingest", self.url))
            .header("content-type", "application/json");
        if let Some(signed) = signed {
            request = request
                .header("content-digest", signed.content_digest)
                .header("signature-input", signed.signature_input)
                .header("signature", signed.signature);
        }
        Answer::of(request.body(body.to_vec()).send().await?).await
    }
}

/// Seconds since 1970-01-01 UTC.
pub fn now_seconds() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// The present as OPC UA counts it: 100 ns since 1601-01-01 UTC.
pub fn now_ticks() -> i64 {
    UNIX_EPOCH_TICKS + now_seconds() * 10_000_000
}
