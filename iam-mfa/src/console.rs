use std::io::{self, Write};

use async_trait::async_trait;
use iam_core::Channel;
use iam_core::ports::{Accepted, Message, OtpSender, SendError};

use crate::texts::Texts;

/// Writes messages to standard error, for development: nothing to set up, and the code at hand.
///
/// It is written there directly, never by way of `tracing`, so that no collector of logs keeps a code. Whoever reads the output of the
/// process reads the codes: not for production.
///
/// ```
/// use iam_core::Channel;
/// use iam_core::ports::OtpSender;
/// use iam_mfa::Console;
///
/// assert_eq!(Console::new(Channel::Sms).channel(), Channel::Sms);
/// ```
#[derive(Debug)]
pub struct Console {
    channel: Channel,
    texts: Texts,
}

impl Console {
    /// In place of what would send by this channel.
    pub fn new(channel: Channel) -> Self {
        Self { channel, texts: Texts::with(Vec::new(), &mut Vec::new()) }
    }

    fn framed(&self, service: &str, message: &Message) -> Option<String> {
        let written = self.texts.write(service, message)?;
        let mut framed = format!("+-- {} to {}: {}\n", self.channel, plain(&message.to), *written.subject);
        for line in written.body.lines() {
            framed.push_str("| ");
            framed.push_str(&plain(line));
            framed.push('\n');
        }
        framed.push_str("+--\n");
        Some(framed)
    }
}

/// Without anything that a terminal would obey.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[async_trait]
impl OtpSender for Console {
    fn provider(&self) -> &'static str {
        "console"
    }

    fn channel(&self) -> Channel {
        self.channel
    }

    async fn send(&self, service: &str, message: &Message) -> Result<Accepted, SendError> {
        let framed = self.framed(service, message);
        let framed = framed.ok_or_else(|| SendError::Refused("there are no words for this".to_owned()))?;
        // In one piece, so that other output does not come between.
        let written = io::stderr().lock().write_all(framed.as_bytes());
        written.map(|()| Accepted::default()).map_err(|error| SendError::NotNow(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{code_for, message};

    #[test]
    fn a_message_has_a_frame() {
        let framed = Console::new(Channel::Email).framed("Acme", &code_for("amy@acme.example")).unwrap();
        assert!(framed.starts_with("+-- email to amy@acme.example: Your code for Acme\n| Your code"));
        assert!(framed.contains("\n|     01234567\n") && framed.ends_with("\n+--\n"), "{framed}");
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        let content =
            serde_json::json!({ "notice": { "notice": "factors_reset", "at": "now\u{7}", "address": null } });
        let message = message("a\u{1b}[2J@b.example", "amy\u{1b}]0;x", &content);
        let framed = Console::new(Channel::Sms).framed("Acme", &message).unwrap();
        assert!(framed.chars().all(|c| c == '\n' || !c.is_control()), "{framed:?}");
    }

    #[tokio::test]
    async fn it_is_written() {
        assert_eq!(
            Console::new(Channel::Email).send("Acme", &code_for("a@b.example")).await,
            Ok(Accepted::default())
        );
    }
}
