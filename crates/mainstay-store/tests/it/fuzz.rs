//! Targets over what an operator writes; see `mainstay-fuzz`.

use mainstay_fuzz::{Script, target};
use mainstay_store::PostgresUrl;

/// Whatever stands around it, neither an address nor what is wrong with it shows its password.
#[test]
fn postgres_urls() {
    fn one(script: &mut Script) {
        const SECRET: &str = "S3CRETS3CRET";
        const AROUND: [&str; 26] = [
            "db.example",
            "[::1]",
            "127.0.0.1",
            ":5432",
            ":notaport",
            ":0",
            "/shop",
            "/",
            "?",
            "&",
            "=",
            "%20",
            "%+f",
            "%",
            "sslmode=require",
            "sslmode=perhaps",
            "sslrootcert=/etc/ca%20s.pem",
            "connect_timeout=3",
            "connect_timeout=-1",
            "options=-c%20a",
            "host=/tmp",
            "target_session_attrs=any",
            "application_name=x",
            ",",
            "port=99999",
            "%2Ftmp",
        ];
        let user = script
            .pieces(&["ada", "%41", "-", "_", "b"], 4)
            .replace(|c: char| !c.is_ascii_alphanumeric(), "x");
        let scheme = script.word(&["postgres://", "postgresql://", "postgres:/", "mysql://", ""]);
        let text = match script.flag() {
            true => format!("{scheme}{user}:{SECRET}@{}", script.pieces(&AROUND, 10)),
            false => format!(
                "{scheme}{user}@{}?password={SECRET}&{}",
                script.pieces(&AROUND[..8], 4),
                script.pieces(&AROUND, 6)
            ),
        };
        match text.parse::<PostgresUrl>() {
            Ok(url) => {
                let shown = format!("{url} {url:?} {}", url.with_database("other"));
                assert!(!shown.contains(SECRET), "{text}: {shown}");
            }
            Err(error) => assert!(
                !format!("{error} {error:?}").contains(SECRET),
                "{text}: {error}"
            ),
        }
    }
    target!(one);
}
