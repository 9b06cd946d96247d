//! The real program against a mail server with encryption, a log-in and faults.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::killed::Killed;
use crate::support::{
    Backend, new_dir,
    smtp::{Server, Tls, certificate},
};

fn doctor(smtp_url: &str, trusted: Option<&Path>) -> String {
    let dir = new_dir();
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    command.args(["doctor", "--mail-to", "someone@example.com", "--data-dir"]).arg(&dir).current_dir(&dir).env("KEYWARD_SMTP_URL", smtp_url);
    if let Some(file) = trusted {
        command.env("SSL_CERT_FILE", file);
    }
    let out = command.output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find(|line| line.contains(" Mail: ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn doctor_sends_a_test_mail_or_says_what_is_wrong_in_words() {
    let dir = new_dir();
    let trusted = Some(certificate().0.as_path());
    for (tls, scheme) in [(Tls::Starttls, "smtp"), (Tls::Wrapped, "smtps")] {
        let server = Server::start_with(&dir, tls, Some(("keyward", "pa:ss w@rd")));
        let url = format!("{scheme}://keyward:pa%3Ass%20w%40rd@localhost:{}", server.port);
        let said = doctor(&url, trusted);
        assert!(said.starts_with("ok") && said.contains("a test mail went to someone@example.com; the server said 250"), "{said}");
        let mail = &server.mails()[0];
        assert!(mail.tls && mail.user.is_some(), "{mail:?}");
        assert_eq!(mail.header("Subject"), "Test mail of Keyward");
        let said = doctor(&format!("{scheme}://keyward:wrong@localhost:{}", server.port), trusted);
        assert!(said.starts_with("problem") && said.contains("535") && said.contains("check user and password"), "{said}");
        let said = doctor(&url, None);
        assert!(said.starts_with("problem") && said.contains("certificate"), "a certificate that nobody vouches for: {said}");
        let said = doctor(&url.replace("localhost", "127.0.0.1"), trusted);
        assert!(said.starts_with("problem") && said.contains("certificate"), "a certificate of another name: {said}");
        assert_eq!(server.mails().len(), 1);
    }
    let plain = Server::start(&dir);
    let said = doctor(&format!("smtp://localhost:{}", plain.port), trusted);
    assert!(said.starts_with("problem") && said.to_lowercase().contains("starttls"), "no encryption, no mail: {said}");
    assert_eq!(plain.mails().len(), 0);
    assert!(doctor(&plain.url(), None).starts_with("ok"));
    let said = doctor("smtp://localhost:1", None);
    assert!(said.starts_with("problem") && said.contains("check host and port"), "{said}");
}

#[test]
fn the_program_sends_what_waits_over_tls_and_logs_in() {
    for (tls, scheme) in [(Tls::Starttls, "smtp"), (Tls::Wrapped, "smtps")] {
        let server = Server::start_with(&new_dir(), tls, Some(("keyward", "pa:ss w@rd")));
        let url = format!("{scheme}://keyward:pa%3Ass%20w%40rd@localhost:{}", server.port);
        let at = Killed::with(Backend::Sqlite, server, url);
        at.add(0, 3);
        let mut child = at.serve();
        let start = Instant::now();
        while at.waiting() > 0 && start.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mails = at.server.mails();
        assert_eq!(mails.len(), 3, "{tls:?}");
        assert!(mails.iter().all(|mail| mail.tls && mail.user.as_deref() == Some("keyward") && mail.defects.is_empty()), "{mails:?}");
    }
}
