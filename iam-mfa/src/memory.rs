use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use iam_core::Channel;
use iam_core::ports::{Accepted, Content, Message, OtpSender, SendError};

/// Keeps messages instead of sending them, for the tests of hosts. Clones share what they keep.
///
/// ```
/// use iam_core::Channel;
/// use iam_core::ports::SendError;
/// use iam_mfa::{MemoryOutcome, MemorySender};
///
/// let sender = MemorySender::new(Channel::Email);
/// let service = sender.clone(); // goes to the builder of `Iam`
/// assert_eq!(sender.last_code(), None);
/// sender.set_outcome(MemoryOutcome::Fail(SendError::NotNow("down".to_owned())));
/// # let _ = service;
/// ```
#[derive(Clone, Debug)]
pub struct MemorySender {
    channel: Channel,
    provider: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    outcome: MemoryOutcome,
    attempts: u64,
    messages: Vec<Message>,
}

/// What a [`MemorySender`] does with the next messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryOutcome {
    /// Keeps them.
    #[default]
    Accept,
    /// Keeps them, and says this of it.
    AcceptWith(Accepted),
    /// Fails, and keeps nothing.
    Fail(SendError),
    /// Never ends, as no sender should: to see that nothing waits for it.
    Hang,
}

impl MemorySender {
    /// For messages by this channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel, provider: "memory", state: Arc::default() }
    }

    /// As another provider, where a channel has several.
    #[must_use]
    pub fn named(self, provider: &'static str) -> Self {
        Self { provider, ..self }
    }

    /// Says what becomes of messages from now on.
    pub fn set_outcome(&self, outcome: MemoryOutcome) {
        self.state().outcome = outcome;
    }

    /// What was accepted, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// The code of the latest message that has one.
    pub fn last_code(&self) -> Option<String> {
        self.state().messages.iter().rev().find_map(|message| match &message.content {
            Content::Code { code, .. } => Some(code.clone()),
            _ => None,
        })
    }

    /// How often sending was tried, whatever came of it.
    pub fn attempts(&self) -> u64 {
        self.state().attempts
    }

    /// Forgets all messages.
    pub fn clear(&self) {
        self.state().messages.clear();
    }

    /// A test that panicked leaves what it kept readable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl OtpSender for MemorySender {
    fn provider(&self) -> &str {
        self.provider
    }

    fn channel(&self) -> Channel {
        self.channel
    }

    async fn send(&self, _: &str, message: &Message) -> Result<Accepted, SendError> {
        let outcome = {
            let mut state = self.state();
            state.attempts += 1;
            if matches!(state.outcome, MemoryOutcome::Accept | MemoryOutcome::AcceptWith(_)) {
                state.messages.push(message.clone());
            }
            state.outcome.clone()
        };
        match outcome {
            MemoryOutcome::Accept => Ok(Accepted::default()),
            MemoryOutcome::AcceptWith(accepted) => Ok(accepted),
            MemoryOutcome::Fail(error) => Err(error),
            MemoryOutcome::Hang => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::code_for;

    #[tokio::test(start_paused = true)]
    async fn it_keeps_fails_or_hangs_as_told() {
        let sender = MemorySender::new(Channel::Email);
        let message = code_for("a@b.example");
        assert_eq!(sender.send("Acme", &message).await, Ok(Accepted::default()));
        assert_eq!(sender.last_code().as_deref(), Some("01234567"));

        for error in [
            SendError::NotNow("x".to_owned()),
            SendError::Refused("x".to_owned()),
            SendError::Unknown("x".to_owned()),
        ] {
            sender.set_outcome(MemoryOutcome::Fail(error.clone()));
            assert_eq!(sender.clone().send("Acme", &message).await, Err(error));
        }
        sender.set_outcome(MemoryOutcome::Hang);
        let hung = tokio::time::timeout(Duration::from_hours(1), sender.send("Acme", &message)).await;
        assert!(hung.is_err());
        assert_eq!((sender.messages().len(), sender.attempts()), (1, 5));
        sender.clear();
        assert!(sender.messages().is_empty());
    }
}
