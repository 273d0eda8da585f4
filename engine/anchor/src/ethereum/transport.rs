//! JSON-RPC over HTTP for alloy, by the HTTP client that the rest of the product uses: no second one, no second TLS.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use tower_service::Service;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub(super) struct Http {
    agent: ureq::Agent,
    url: Arc<str>,
}

impl Http {
    pub(super) fn new(url: &str) -> Self {
        // Nodes answer some errors of JSON-RPC with a status that is an error too: the body says more.
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Self { agent: config.build().into(), url: url.into() }
    }

    fn ask(&self, request: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = serde_json::to_vec(request).map_err(TransportError::ser_err)?;
        let post = self.agent.post(&*self.url).header("content-type", "application/json");
        let mut response = post.send(&body[..]).map_err(TransportErrorKind::custom)?;
        let status = response.status();
        let body = response.body_mut().read_to_vec().map_err(TransportErrorKind::custom)?;
        serde_json::from_slice(&body).map_err(|error| {
            let text = String::from_utf8_lossy(&body).into_owned();
            if status.is_success() {
                TransportError::deser_err(error, text)
            } else {
                TransportErrorKind::http_error(status.as_u16(), text)
            }
        })
    }
}

impl Service<RequestPacket> for Http {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        let this = self.clone();
        // It blocks the thread that waits for it, which has nothing else to do.
        Box::pin(async move { this.ask(&request) })
    }
}
