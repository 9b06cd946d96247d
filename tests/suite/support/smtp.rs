//! A real SMTP server, in Python: it refuses, stalls and hangs up by recipient, and reads mails with Python's own parser.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// How its connections are secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// After STARTTLS, which it insists on.
    Starttls,
    /// From the first byte.
    Wrapped,
}

/// A running server; it ends when this is dropped, or when this process dies.
pub struct Server {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// What it has taken.
    pub mailbox: PathBuf,
    child: Child,
}

/// A mail as the recipient's program reads it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Mail {
    /// The recipients that the server was told.
    pub to: Vec<String>,
    /// The client's port: the same for mails of one connection.
    pub peer: u16,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// Who logged in.
    pub user: Option<String>,
    /// All headers of the head, decoded.
    pub headers: Vec<(String, String)>,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML.
    pub html: Option<String>,
    /// What the parser finds wrong.
    pub defects: Vec<String>,
    /// The message as it came.
    pub raw: String,
}

impl Mail {
    /// The one header of a name.
    pub fn header(&self, name: &str) -> &str {
        let found: Vec<_> = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", self.headers);
        &found[0].1
    }

    /// The first address in the text that leads to a path.
    pub fn link(&self, path: &str) -> String {
        let text = self.text.as_deref().unwrap_or_default();
        let found = text.split_whitespace().find(|word| word.starts_with("http") && word.contains(path));
        found.unwrap_or_else(|| panic!("no link to {path} in {text}")).to_owned()
    }
}

/// A certificate for localhost and its key, made by openssl.
pub fn certificate() -> &'static (PathBuf, PathBuf) {
    static MADE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    MADE.get_or_init(another_certificate)
}

/// One more, which whoever trusts the first does not trust.
pub fn another_certificate() -> (PathBuf, PathBuf) {
    let dir = super::new_dir();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (cert, key)
}

impl Server {
    /// Starts one that takes mails from anybody.
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, Tls::None, None)
    }

    /// Starts one with encryption and a log-in.
    pub fn start_with(dir: &Path, tls: Tls, log_in: Option<(&str, &str)>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/support/smtp_server.py");
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let mailbox = dir.join(format!("mailbox-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        fs::write(&mailbox, "").unwrap();
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(&mailbox);
        if tls != Tls::None {
            let (cert, key) = certificate();
            command.args(["--tls", if tls == Tls::Starttls { "starttls" } else { "wrapped" }]).arg("--cert").arg(cert).arg("--key").arg(key);
        }
        if let Some((user, password)) = log_in {
            command.args(["--user", user, "--password", password]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("python3-aiosmtpd; tests/run installs it");
        Self { port, mailbox, child }
    }

    /// Its address for `smtp_url`, without encryption.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// What it has taken, in order.
    pub fn mails(&self) -> Vec<Mail> {
        fs::read_to_string(&self.mailbox).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
