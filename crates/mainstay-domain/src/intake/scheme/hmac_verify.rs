//! Verifying and reading by a rule instead of by code.

use aws_lc_rs::hmac;
use base64::Engine as _;

use super::{
    Verified,
    extracted::{self, Extracted, Payload},
    header::{Fields, Request, SIGNATURES_MAX, timestamp},
    hmac_rule::{HeaderParts, HmacRule, KeyEncoding, SignatureEncoding},
    key::Key,
    mac::{self, BASE64, Mismatch},
    problem,
    reading::IdFrom,
    refusal::Refusal,
};
use crate::intake::settings::SettingProblem;

impl HmacRule {
    pub(super) fn key(&self, secret: &str) -> Result<hmac::Key, SettingProblem> {
        let bytes = match self.key_encoding {
            KeyEncoding::Utf8 => secret.as_bytes().to_vec(),
            KeyEncoding::Base64 => BASE64
                .decode(secret)
                .map_err(|_| problem("secret", "must be base64"))?,
            KeyEncoding::Hex => {
                let mut bytes = vec![0; secret.len() / 2];
                mac::unhex(secret.as_bytes(), &mut bytes)
                    .ok_or_else(|| problem("secret", "must be hexadecimal"))?;
                bytes
            }
        };
        if bytes.is_empty() {
            return Err(problem("secret", "stands for no bytes"));
        }
        Ok(hmac::Key::new(self.algorithm.hmac(), &bytes))
    }

    pub(super) fn verify(&self, keys: &[Key], request: &Request<'_>) -> Result<Verified, Refusal> {
        let text = self.signature_header(request)?;
        let time = self.time(request, text)?;
        let signed_at = time
            .map(|time| timestamp(time, self.time_place()))
            .transpose()?;
        let id = self.signed_id(request)?;
        let signed = self
            .signed
            .parts(id, time.unwrap_or_default(), request.body);
        let encoding = self.encoding.into();
        let matched = match &self.parts {
            None => {
                let signature = text
                    .strip_prefix(self.prefix.as_str())
                    .ok_or_else(|| self.malformed())?;
                mac::matching(keys, signed, encoding, [signature].into_iter())
            }
            Some(parts) => {
                let signatures = self.fields(text, parts).all(&parts.signature);
                if signatures.clone().count() > SIGNATURES_MAX {
                    return Err(self.malformed());
                }
                mac::matching(keys, signed, encoding, signatures)
            }
        };
        matched
            .map(|secret_index| Verified {
                secret_index,
                signed_at,
            })
            .map_err(|mismatch| match mismatch {
                Mismatch::Unreadable => self.malformed(),
                Mismatch::Wrong => Refusal::SignatureWrong,
            })
    }

    pub(super) fn claimed_time(&self, request: &Request<'_>) -> Option<i64> {
        let text = self.signature_header(request).ok()?;
        timestamp(self.time(request, text).ok()??, self.time_place()).ok()
    }

    fn signature_header<'a>(&self, request: &Request<'a>) -> Result<&'a str, Refusal> {
        request
            .text(&self.header)?
            .ok_or_else(|| Refusal::SignatureMissing {
                header: self.header.clone().into(),
            })
    }

    fn fields<'a>(&self, text: &'a str, parts: &HeaderParts) -> Fields<'a> {
        Fields {
            text,
            separator: parts.separator,
        }
    }

    /// The time as it is written, where the rule has one.
    fn time<'a>(&self, request: &Request<'a>, text: &'a str) -> Result<Option<&'a str>, Refusal> {
        if let Some(parts) = &self.parts
            && let Some(name) = &parts.timestamp
        {
            return self.fields(text, parts).time(name, &self.header).map(Some);
        }
        let Some(name) = &self.timestamp_header else {
            return Ok(None);
        };
        let time = request.text(name)?;
        time.map(Some).ok_or_else(|| Refusal::TimestampMissing {
            header: name.clone().into(),
        })
    }

    fn time_place(&self) -> &str {
        self.timestamp_header.as_deref().unwrap_or(&self.header)
    }

    /// The id where it is signed, else nothing.
    fn signed_id<'a>(&self, request: &Request<'a>) -> Result<&'a str, Refusal> {
        match &self.id {
            IdFrom::Header(name) if self.signed.has_id() => {
                request
                    .text(name)?
                    .ok_or_else(|| Refusal::ProviderIdMissing {
                        place: name.clone().into(),
                    })
            }
            _ => Ok(""),
        }
    }

    fn malformed(&self) -> Refusal {
        let signature = match self.encoding {
            SignatureEncoding::Hex => "<hexadecimal>",
            SignatureEncoding::Base64 => "<base64>",
        };
        let expected = match &self.parts {
            None => format!("{}{signature}", self.prefix),
            Some(parts) => match &parts.timestamp {
                None => format!("{}={signature}", parts.signature),
                Some(time) => {
                    format!(
                        "{time}=<seconds>{}{}={signature}",
                        parts.separator, parts.signature
                    )
                }
            },
        };
        Refusal::SignatureMalformed {
            header: self.header.clone().into(),
            expected: expected.into(),
        }
    }

    pub(super) fn extract(&self, request: &Request<'_>) -> Result<Extracted, Refusal> {
        let reading = self.reading();
        let given = reading.id(request)?;
        let provider_id = given.unwrap_or_else(|| extracted::digest_id([request.body].into_iter()));
        let mut dedup_keys = vec![extracted::dedup_key(&provider_id)];
        if matches!(self.id, IdFrom::Header(_)) && !self.signed.has_id() {
            let text = self.signature_header(request)?;
            let time = self.time(request, text)?.unwrap_or_default();
            let signed = self.signed.parts("", time, request.body);
            let occasion = reading.occasion(request)?;
            dedup_keys.push(extracted::dedup_key_signed(signed.chain(occasion)));
        }
        Ok(Extracted {
            provider_id,
            kind: reading.kind(request)?,
            occurred_at_micros: reading.occurred_at(request)?,
            dedup_keys,
            payload: Payload::Body,
        })
    }
}
