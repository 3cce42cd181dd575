//! Calls to those who can not be called: somebody else carries them there, and all the rest is the same.

use super::{CallError, Caller, sending, shown};
use crate::text::slave_address::POLL;
use axum::http::Response;
use reqwest::{Request, RequestBuilder, Url};
use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

/// What carries calls to slaves that poll for them.
pub trait Carrier: Debug + Send + Sync {
    /// Carries a call to the slave with this address, and brings its answer. `patience` bounds each wait for more of the
    /// answer, beside what the request itself says about its whole time.
    fn carry(&self, address: String, request: Request, patience: Duration) -> Carried<'_>;
}

/// An answer that is being brought.
pub type Carried<'a> =
    Pin<Box<dyn Future<Output = Result<Response<reqwest::Body>, NotCarried>> + Send + 'a>>;

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCarried {
    /// The slave has no poll open.
    #[error("it can not be called, and does not poll for calls")]
    NoPoll,
    /// So many calls wait for it that no more are taken.
    #[error("it can not be called, and takes no more calls")]
    TooMany,
    /// The slave has the call, or it was lost on its way.
    #[error("it can not be called, and its answer did not come in time")]
    TimedOut,
    /// The poll or the answer broke off.
    #[error("it can not be called, and the connection over which it polls was lost")]
    BrokenOff,
    /// The call can not be said in a poll, or the answer is none.
    #[error("it can not be called, and what passed between it and its master can not be read")]
    Unreadable,
    /// Who calls has nothing that carries calls.
    #[error("it can not be called: it polls its master, who alone can call it")]
    NotHere,
}

impl NotCarried {
    /// Whether the call can not have arrived.
    #[must_use]
    pub fn never_arrived(self) -> bool {
        match self {
            Self::NoPoll | Self::TooMany | Self::NotHere => true,
            Self::TimedOut | Self::BrokenOff | Self::Unreadable => false,
        }
    }
}

impl Caller {
    /// Sends a request over the line that leads to its receiver.
    pub(super) async fn sent(
        &self,
        url: &Url,
        request: RequestBuilder,
    ) -> Result<reqwest::Response, CallError> {
        if url.scheme() != POLL {
            let sent = request.send().await;
            return sent.map_err(|source| sending::unreachable(url, source));
        }
        let request = request.build().map_err(CallError::Client)?;
        let carried = match &self.carrier {
            Some(carrier) => {
                let address = format!("{POLL}://{}", shown(url));
                carrier.carry(address, request, self.timeout).await
            }
            None => Err(NotCarried::NotHere),
        };
        let not_carried = |reason| CallError::NotCarried {
            url: shown(url),
            reason,
        };
        carried.map(reqwest::Response::from).map_err(not_carried)
    }
}
