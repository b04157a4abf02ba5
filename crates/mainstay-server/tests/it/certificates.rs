//! A certificate authority of the test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Of this century and the next ones, and of one month in 2020.
const VALID: [&str; 2] = ["20200101000000Z", "21991231000000Z"];
const EXPIRED: [&str; 2] = ["20200101000000Z", "20200201000000Z"];
const CONFIGURATION: &str = "
[ca]
default_ca = own
[own]
database = index.txt
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
";

/// A certificate and its key, as PEM files.
pub(crate) struct Certified {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// An authority in a folder of its own.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let own = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        own.write("ca.cnf", CONFIGURATION);
        own.write("index.txt", "");
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", &subject];
        arguments.extend(["-addext", "basicConstraints=critical,CA:TRUE"]);
        arguments.extend(["-addext", "keyUsage=keyCertSign"]);
        arguments.extend(NEW_KEY);
        arguments.extend(["-keyout", "ca.key", "-out", "ca.pem"]);
        own.openssl(&arguments);
        own
    }

    /// The authority's own certificate: what those who trust it need.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Good for 127.0.0.1.
    pub(crate) fn certify(&self) -> Certified {
        self.signed("good", "IP:127.0.0.1", VALID)
    }

    /// Was good for 127.0.0.1 until 2020.
    pub(crate) fn certify_expired(&self) -> Certified {
        self.signed("expired", "IP:127.0.0.1", EXPIRED)
    }

    /// Good for another host.
    pub(crate) fn certify_other(&self) -> Certified {
        self.signed("other", "DNS:other.example", VALID)
    }

    fn signed(&self, name: &str, host: &str, [start, end]: [&str; 2]) -> Certified {
        let file = |end: &str| format!("{name}.{end}");
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let extensions = file("ext");
        self.write(
            &extensions,
            &format!("subjectAltName={host}\nbasicConstraints=critical,CA:FALSE\n"),
        );
        let mut arguments = vec!["req", "-subj", "/CN=test"];
        arguments.extend(NEW_KEY);
        arguments.extend(["-keyout", &key, "-out", &request]);
        self.openssl(&arguments);
        let mut arguments = vec!["ca", "-batch", "-config", "ca.cnf", "-notext"];
        arguments.extend(["-cert", "ca.pem", "-keyfile", "ca.key", "-outdir", "."]);
        arguments.extend(["-in", &request, "-extfile", &extensions]);
        arguments.extend(["-startdate", start, "-enddate", end, "-out", &certificate]);
        self.openssl(&arguments);
        Certified {
            certificate: self.path(&certificate),
            key: self.path(&key),
        }
    }

    fn openssl(&self, arguments: &[&str]) {
        let ran = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is installed");
        assert!(ran.status.success(), "{ran:?}");
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the folder is ours");
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}

const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
];
