//! Verifying and reading by a rule instead of by code.

use aws_lc_rs::hmac;
use base64::Engine as _;
use serde_json::value::RawValue;

use super::{
    Verified,
    extracted::{self, Extracted, Payload, UNTYPED},
    header::{Fields, Request, SIGNATURES_MAX, timestamp},
    hmac_rule::{HeaderParts, HmacRule, IdFrom, KeyEncoding, KindFrom, SignatureEncoding},
    json,
    mac::{self, BASE64, Mismatch},
    pointer::JsonPointer,
    problem,
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

    pub(super) fn verify(
        &self,
        keys: &[hmac::Key],
        request: &Request<'_>,
    ) -> Result<Verified, Refusal> {
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
        let given = self.id(request)?;
        let provider_id = given.unwrap_or_else(|| extracted::digest_id([request.body].into_iter()));
        let mut dedup_keys = vec![extracted::dedup_key(&provider_id)];
        if matches!(self.id, IdFrom::Header(_)) && !self.signed.has_id() {
            let text = self.signature_header(request)?;
            let time = self.time(request, text)?.unwrap_or_default();
            let signed = self.signed.parts("", time, request.body);
            dedup_keys.push(extracted::dedup_key_signed(signed));
        }
        Ok(Extracted {
            provider_id,
            kind: self.kind(request)?,
            occurred_at_micros: None,
            dedup_keys,
            payload: Payload::Body,
        })
    }

    fn id(&self, request: &Request<'_>) -> Result<Option<String>, Refusal> {
        match &self.id {
            IdFrom::Digest => Ok(None),
            IdFrom::Header(name) => {
                let text = request.text(name)?;
                text.map(|text| extracted::provider_id(text, name))
                    .transpose()
            }
            IdFrom::Pointer(pointer) => {
                let found = pointer.find(json::text(request.body)?)?;
                found.map(|raw| id_in_body(raw, pointer)).transpose()
            }
        }
    }

    fn kind(&self, request: &Request<'_>) -> Result<String, Refusal> {
        let kind = match &self.kind {
            None => None,
            Some(KindFrom::Fixed(kind)) => Some(kind.clone()),
            Some(KindFrom::Header(name)) => request.text(name)?.and_then(extracted::kind),
            Some(KindFrom::Pointer(pointer)) => pointer
                .find(json::text(request.body)?)?
                .and_then(json::string)
                .and_then(|text| extracted::kind(&text)),
        };
        Ok(kind.unwrap_or_else(|| UNTYPED.to_owned()))
    }
}

/// A string, or a whole number as it is written: a large one would lose digits as a number.
fn id_in_body(raw: &RawValue, pointer: &JsonPointer) -> Result<String, Refusal> {
    let digits = raw.get().strip_prefix('-').unwrap_or(raw.get());
    let whole_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    match json::string(raw) {
        Some(text) => extracted::provider_id(&text, pointer.as_str()),
        None if whole_number => extracted::provider_id(raw.get(), pointer.as_str()),
        None => Err(Refusal::ProviderIdMalformed {
            place: pointer.as_str().to_owned().into(),
            problem: "is neither a string nor a whole number",
        }),
    }
}
