//! A caller of the API.

use anyhow::{Context, Result, ensure};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// An HTTP client. The agent, built in the same workspace, has reqwest speak TLS, so a provider must be there to be asked
/// even though the tests stay on loopback without it.
pub fn client() -> reqwest::Client {
    // An error says that a provider was installed before: by another test of this program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// An answer of the API: status, head and body; an empty body is `Null`.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Media type without parameters.
    pub media_type: String,
    /// The head.
    pub headers: HeaderMap,
    /// The JSON body; lines of JSON are one string.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Result<Answer> {
        let status = response.status();
        let media_type = response
            .headers()
            .get("content-type")
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().to_owned();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() {
            Value::Null
        } else if media_type == "application/jsonl" {
            Value::String(String::from_utf8(bytes.to_vec()).context("no text")?)
        } else {
            serde_json::from_slice(&bytes).context("no JSON")?
        };
        Ok(Answer {
            status,
            media_type,
            headers,
            body,
        })
    }

    /// The body of an answer that must be a success.
    ///
    /// # Errors
    /// With the problem document when it is none.
    pub fn ok(self) -> Result<Value> {
        ensure!(self.status.is_success(), "{}: {}", self.status, self.body);
        Ok(self.body)
    }

    /// Seconds that the answer says to wait, in its head as in its body.
    ///
    /// # Errors
    /// When it does not, or head and body differ.
    pub fn retry_after(&self) -> Result<u64> {
        let header = self.headers.get("retry-after").context("no Retry-After")?;
        let seconds: u64 = header.to_str()?.parse()?;
        ensure!(
            self.body["retry_after"] == seconds && seconds > 0,
            "head and body differ: {self:?}"
        );
        Ok(seconds)
    }

    /// Code of a problem document (RFC 9457), such as `BC423`, with the HTTP status.
    ///
    /// # Errors
    /// When the answer is no problem document, or says another status in its body than in its head.
    pub fn problem(&self) -> Result<(u16, String)> {
        ensure!(
            self.media_type == "application/problem+json",
            "no problem document: {self:?}"
        );
        ensure!(
            self.body["status"] == self.status.as_u16(),
            "status and body differ: {self:?}"
        );
        let code = self.body["code"]
            .as_str()
            .with_context(|| format!("no code: {self:?}"))?;
        Ok((self.status.as_u16(), code.to_owned()))
    }
}

/// Someone who calls the API, with a session or without.
#[derive(Debug, Clone)]
pub struct Caller {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
    headers: HeaderMap,
}

impl Caller {
    /// A caller who has not signed in.
    pub fn nobody(url: &str) -> Caller {
        Caller {
            client: client(),
            url: url.to_owned(),
            token: None,
            headers: HeaderMap::new(),
        }
    }

    /// The same caller at another API process.
    #[must_use]
    pub fn at(&self, url: &str) -> Caller {
        Caller {
            url: url.to_owned(),
            ..self.clone()
        }
    }

    /// The same caller with a header in every request.
    ///
    /// # Errors
    /// When it is none.
    pub fn with_header(&self, name: &'static str, value: &str) -> Result<Caller> {
        let mut caller = self.clone();
        caller
            .headers
            .insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(caller)
    }

    /// The same caller with the token of a session.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Caller {
        Caller {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The same caller before signing in.
    #[must_use]
    pub fn without_token(&self) -> Caller {
        Caller {
            token: None,
            ..self.clone()
        }
    }

    /// GET of a path such as `/v1/batches`.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// POST of a JSON body.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(serde_json::to_vec(body)?))
            .await
    }

    /// PUT of a JSON body.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, path, Some(serde_json::to_vec(body)?))
            .await
    }

    /// DELETE of a path.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, None).await
    }

    /// POST of bytes that claim to be JSON.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn post_bytes(&self, path: &str, body: &[u8]) -> Result<Answer> {
        self.send(Method::POST, path, Some(body.to_vec())).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .headers(self.headers.clone());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        Answer::of(request.send().await?).await
    }
}
