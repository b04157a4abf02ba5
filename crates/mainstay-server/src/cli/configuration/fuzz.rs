//! Targets over files that people write; see `mainstay-fuzz`.

use mainstay_fuzz::{Script, target};

use super::read::read;

/// A declaration is read or refused, and nothing that is said about it repeats a secret.
#[test]
fn declarations() {
    fn one(script: &mut Script) {
        const SECRET: &str = "S3CRETS3CRET";
        let pieces = [
            "sources:\n",
            "endpoints:\n",
            "bindings: []\n",
            "- ",
            "  ",
            "    ",
            "name: a\n",
            "scheme: stripe\n",
            "secret: ${KEY}\n",
            "\"${KEY}\"",
            "'$$'",
            "!!int ",
            "!!bool ${KEY}\n",
            "!!float ",
            "&a ",
            "*a",
            "<<: *a\n",
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "|\n",
            ">-\n",
            "\n",
            "---\n",
            "...\n",
            "#x\n",
            "%YAML 1.2\n",
            "${",
            "${MISSING}",
            "? ",
            "\t",
            "~",
            "1e999",
            "0x10",
            "é",
        ];
        let text = match script.one_in(4) {
            true => script.json(&[
                "sources",
                "endpoints",
                "bindings",
                "name",
                "${KEY}",
                "settings",
            ]),
            false => script.pieces(&pieces, 40),
        };
        let variable = |name: &str| (name == "KEY").then(|| SECRET.to_owned());
        match read(&text, &variable) {
            Ok(declared) => {
                assert!(declared.value.is_object(), "{text}");
                assert!(
                    !declared
                        .place("/configuration/sources/0/name")
                        .contains(SECRET)
                );
            }
            Err(wrong) => {
                assert!(!wrong.is_empty());
                for (place, problem) in wrong {
                    assert!(
                        !place.contains(SECRET) && !problem.contains(SECRET),
                        "{place} {problem}"
                    );
                }
            }
        }
    }
    target!(one, iterations = 1_000);
}
