//! A source whose requests name the certificate that they are to be judged by.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use mainstay::intake::{Answer, Inbound};
use mainstay_domain::{Clock, intake::certificates::CertificateError};
use mainstay_testkit::on_both;

use crate::world::World;

const WEBHOOK: &str = "8PT597110X687430LKGECATA";
const BODY: &str = r#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED"}"#;
/// Made with openssl, of this body; nobody has the private key any more.
const SIGNATURE: &str = "g09tihFuzXxMwoWe4Vf4TjXigpK4d1zxoV4wGcmScCkSNK/GQngDpqwIet+MsaszlUku7MnUhjTzgRIUaHeb69PVsPljUnq5EgkZ8rCgdLDwxsk5i5z8zTO3owHw8NSKCkXuRIwncljEJZpulWabSXsFw4jhR4Q7hA4SNjKf9NVTFvPbp94PGMkQnVNWbwJPq02DtJaEUUiX5Tg+U/NRjw6Cf2sBfAMXyuM9iWVEA5EAoS/wW9n18uhMpZ/ZucMSRVmrtvkHS+W0bXRIPmyLQmte2pq28omR32VIEJ4BZLsCUpFvUhyKygQgUTjBb1NV94tZR6vGzAtFFux4eGORmA==";
/// The public key, as SubjectPublicKeyInfo in base64.
const KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAsjoyWptzjOaFk63yZzFgrb9fv9b7QCCDC4vIlbDS5LOFkivjgEybQ+zmnwRzqgz5rBbOhXA1vOnXakkzN++Y3nyJH0pdc+cToCvPWKzhHyvgVC+c1wnwWP408wTNtz1/sAdQgX3zLJY8N5n36+O8zL2xx189YHLGBz+oiTLExt8oEX7fKlZPPb4QyV1I/fBsGVkt9rLEvmWrm5APK8DFiJlHxqFyMz1fsouO7ztyV8Bd5DduOqviEG0JK5NgyTwnnze1eVHdU+x874jrlVNPObS0Wc7vm5dOJrH1Z962S3g0rNeGhuCeMSPXC3S+pLpQOKHhG29rMjIkWDwwiszhxQIDAQAB";

fn public() -> Bytes {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |digit: &u8| alphabet.iter().position(|one| one == digit).unwrap_or(0);
    let quads = KEY.trim_end_matches('=').as_bytes().chunks(4);
    quads
        .flat_map(|quad| {
            let bits = quad
                .iter()
                .fold(0_usize, |bits, digit| bits << 6 | value(digit));
            let bytes = (bits << (6 * (4 - quad.len()))).to_be_bytes();
            bytes[5..5 + quad.len() - 1].to_vec()
        })
        .collect()
}

async fn send(world: &World, certificate: &str, body: &str) -> Answer {
    let headers = [
        ("paypal-transmission-id", "t-1"),
        ("paypal-transmission-time", "2030-03-17T17:46:40Z"),
        ("paypal-auth-algo", "SHA256withRSA"),
        ("paypal-cert-url", certificate),
        ("paypal-transmission-sig", SIGNATURE),
    ];
    let inbound = Inbound {
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .to_vec(),
        body: Bytes::from(body.to_owned()),
        remote: "203.0.113.7".into(),
        url: String::new(),
        received_at: world.clock.now(),
    };
    world.intake.accept("paypal", inbound).await
}

const CERTIFICATE: &str = "https://api.paypal.com/v1/notifications/certs/CERT-1";

on_both!(
    a_webhook_is_sent_again_until_its_certificate_can_be_had,
    |db| async {
        let world = World::new(db.store()).await;
        world.source("paypal", WEBHOOK).await;
        let answer = send(&world, CERTIFICATE, BODY).await;
        assert_eq!(
            (answer.status, answer.code),
            (503, Some("certificate_unavailable"))
        );
        assert!(answer.retry_after_secs.is_some());
        assert_eq!(world.count("SELECT count(*) FROM event").await, 0);

        *world.certificates.answer.lock().expect("no panic") = Ok(public());
        let answer = send(&world, CERTIFICATE, BODY).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(world.count("SELECT count(*) FROM event").await, 1);
        let again = send(&world, CERTIFICATE, BODY).await;
        assert!(String::from_utf8_lossy(&again.body).contains("duplicate"));
    }
);

on_both!(
    a_certificate_that_nobody_vouches_for_or_another_body_is_refused,
    |db| async {
        let world = World::new(db.store()).await;
        world.source("paypal", WEBHOOK).await;
        let untrusted = CertificateError::Untrusted("self-signed".into());
        *world.certificates.answer.lock().expect("no panic") = Err(untrusted);
        let answer = send(&world, CERTIFICATE, BODY).await;
        assert_eq!(
            (answer.status, answer.code),
            (401, Some("certificate_untrusted"))
        );

        *world.certificates.answer.lock().expect("no panic") = Ok(public());
        let answer = send(&world, CERTIFICATE, &BODY.replace("WH-1", "WH-2")).await;
        assert_eq!((answer.status, answer.code), (401, Some("signature_wrong")));
        assert_eq!(world.count("SELECT count(*) FROM event").await, 0);
    }
);

on_both!(
    a_stranger_cannot_make_us_fetch_from_elsewhere_or_for_nothing,
    |db| async {
        let world = World::new(db.store()).await;
        world.source("paypal", WEBHOOK).await;
        for (certificate, body) in [
            ("https://evil.example/v1/notifications/certs/CERT-1", BODY),
            ("http://169.254.169.254/v1/notifications/certs/CERT-1", BODY),
            (CERTIFICATE, "{}"),
            (CERTIFICATE, "not JSON"),
        ] {
            let answer = send(&world, certificate, body).await;
            assert_eq!(answer.status, 400, "{certificate} {body} {answer:?}");
        }
        assert_eq!(world.certificates.asked.load(Ordering::Relaxed), 0);
    }
);
