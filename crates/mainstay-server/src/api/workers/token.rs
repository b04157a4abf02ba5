//! What a worker shows to speak of an attempt in its hands: which one it is. Nobody needs to read it. It is no secret; that it
//! is old is seen by whoever owns the jobs, and in the end by the attempt's row.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_domain::{JobId, TenantId};
use uuid::Uuid;

/// Bytes of a token: tenant, job, attempt.
const BYTES: usize = 36;

/// Which attempt of which job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) tenant: TenantId,
    pub(super) job: JobId,
    pub(super) attempt: i32,
}

impl Token {
    pub(super) fn encode(self) -> String {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(self.tenant.uuid().as_bytes());
        bytes[16..32].copy_from_slice(self.job.uuid().as_bytes());
        bytes[32..].copy_from_slice(&self.attempt.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let uuid = |from: usize| Uuid::from_slice(&bytes[from..from + 16]).ok();
        Some(Self {
            tenant: TenantId::from_uuid(uuid(0)?),
            job: JobId::from_uuid(uuid(16)?),
            attempt: i32::from_be_bytes(bytes[32..].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_which_attempt_it_is_and_nothing_else_is_one() {
        let token = Token {
            tenant: TenantId::from_uuid(Uuid::from_u128(7)),
            job: JobId::from_uuid(Uuid::from_u128(u128::MAX)),
            attempt: 3,
        };
        let text = token.encode();
        assert_eq!(text.len(), 48);
        assert_eq!(Token::decode(&text), Some(token));
        for wrong in ["", "abc", &text[1..], &format!("{text}A"), "ä"] {
            assert_eq!(Token::decode(wrong), None);
        }
    }
}
