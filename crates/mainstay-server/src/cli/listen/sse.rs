//! Server-sent events, as they come in pieces.

use super::super::failure::{Exit, Failure};

/// The largest message: a body as large as a source can be told to take, in base64.
const MESSAGE_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// One message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: String,
}

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// What has been searched for the end of a line.
    searched: usize,
    message: Message,
    begun: bool,
}

impl Messages {
    /// Takes in what came.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.bytes.extend_from_slice(bytes);
        match self.bytes.len() + self.message.data.len() > MESSAGE_BYTES_MAX {
            true => Err(Failure::new(
                Exit::Failed,
                "the server sent a message without an end",
            )),
            false => Ok(()),
        }
    }

    /// The next message that is whole.
    pub(super) fn next(&mut self) -> Option<Message> {
        loop {
            let end = self.bytes[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            let Some(end) = end.map(|end| end + self.searched) else {
                self.searched = self.bytes.len();
                return None;
            };
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            self.searched = 0;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if std::mem::take(&mut self.begun) {
                    return Some(std::mem::take(&mut self.message));
                }
                continue;
            }
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.name),
            "id" => self.message.id = Some(value.to_owned()),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment keeps the connection alive.
            _ => return,
        }
        self.begun = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_together_however_they_are_cut() {
        let text = ": hello\n\nevent: event\r\nid: n.1\r\ndata: {\"a\":\ndata: 1}\n\nid:2\nevent:now\ndata\n\n";
        let expected = [
            Message {
                name: "event".into(),
                id: Some("n.1".into()),
                data: "{\"a\":\n1}".into(),
            },
            Message {
                name: "now".into(),
                id: Some("2".into()),
                data: String::new(),
            },
        ];
        for size in 1..text.len() {
            let mut messages = Messages::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                messages.push(piece).expect("it fits");
                found.extend(std::iter::from_fn(|| messages.next()));
            }
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_without_an_end_is_refused() {
        let mut messages = Messages::default();
        let piece = vec![b'x'; MESSAGE_BYTES_MAX / 2];
        messages.push(&piece).expect("it fits");
        assert!(messages.next().is_none());
        messages.push(&piece).expect("it fits");
        assert!(messages.push(b"x").is_err());
    }
}
