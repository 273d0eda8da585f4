//! REST requests: snapshots, instruments, server time. Cold: it blocks, with a deadline.

use std::time::{Duration, Instant};

use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Longest answer accepted, bytes: all instruments of a venue are a few megabytes.
const ANSWER_MAX: u64 = 32 << 20;

/// A request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Path and query, behind the venue's base URL.
    pub path: String,
    /// Headers; signatures are among them.
    pub headers: Vec<(&'static str, String)>,
    /// What the venue counts it as.
    pub weight: u32,
}

impl Request {
    /// A public request.
    pub fn public(path: impl Into<String>) -> Self {
        Self { path: path.into(), headers: Vec::new(), weight: 1 }
    }

    /// The same request, of so much weight.
    #[must_use]
    pub fn weighing(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }
}

/// Seconds to stay away. The longest ban of any venue is three days: what says more is not believed.
pub(super) fn retry_after(text: &str) -> Option<u64> {
    text.parse().ok().map(|seconds: u64| seconds.min(3 * 24 * 3600))
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What `Retry-After` says, s.
    pub retry_after: Option<u64>,
    /// The body, whatever the status.
    pub body: Vec<u8>,
    /// When the request was sent and the answer's head had come.
    pub sent: Instant,
    /// See `sent`.
    pub answered: Instant,
}

/// No answer at all.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct RestError {
    /// Which URL, without its query.
    pub url: String,
    /// What went wrong.
    pub reason: String,
}

/// Makes requests to one venue, over connections that are kept.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

impl Client {
    /// A client for `base` (`https://host`), trusting the public authorities or those of `authorities` (PEM) instead.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(base: &str, authorities: Option<&std::path::Path>, timeout: Duration) -> Result<Self, String> {
        let roots = match authorities {
            None => RootCerts::WebPki,
            Some(path) => {
                let wrong = |error: String| format!("{}: {error}", path.display());
                let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
                let mut found: Vec<Certificate<'static>> = Vec::new();
                for item in ureq::tls::parse_pem(&text) {
                    if let ureq::tls::PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
                        found.push(certificate);
                    }
                }
                RootCerts::new_with_certs(&found)
            }
        };
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self { agent: config.into(), base: base.trim_end_matches('/').to_owned() })
    }

    /// Makes a request and waits for the answer.
    ///
    /// # Errors
    /// [`RestError`] when there is none; a status that means an error is an [`Answer`].
    pub fn get(&self, request: &Request) -> Result<Answer, RestError> {
        let url = format!("{}{}", self.base, request.path);
        let wrong = |error: ureq::Error| RestError {
            url: url.split('?').next().unwrap_or_default().to_owned(),
            reason: error.to_string(),
        };
        let mut call = self.agent.get(&url);
        for (name, value) in &request.headers {
            call = call.header(*name, value);
        }
        let sent = Instant::now();
        let mut response = call.call().map_err(wrong)?;
        let answered = Instant::now();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).and_then(self::retry_after);
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_MAX).read_to_vec().map_err(wrong)?;
        Ok(Answer { status, retry_after, body, sent, answered })
    }
}
