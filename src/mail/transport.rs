//! How a mail leaves: to an SMTP server, or as a file.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::NaiveDateTime;
use lettre::{
    Message, SmtpTransport, Transport as _,
    transport::smtp::{PoolConfig, extension::ClientId},
};

use crate::domain::time::Time;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes mails away.
#[derive(Debug, Clone)]
pub struct Mailer(Way);

#[derive(Debug, Clone)]
enum Way {
    Smtp(SmtpTransport),
    Folder(PathBuf),
}

/// Why mails cannot be sent at all.
#[derive(Debug, thiserror::Error)]
#[error("smtp_url cannot be used: {0}")]
pub struct SetUpError(String);

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the server said, or what came in the way.
    pub words: String,
    /// Whether trying again is of no use.
    pub is_final: bool,
}

impl Mailer {
    /// A mailer for `smtp_url`, or for files in `folder` where there is none. `host` is how it names itself to the server.
    /// Connections are kept for the next mail.
    ///
    /// # Errors
    /// An address that cannot be used, or no certificates to trust.
    pub fn new(smtp_url: Option<&str>, folder: &Path, host: &str) -> Result<Self, SetUpError> {
        let Some(url) = smtp_url else { return Ok(Self(Way::Folder(folder.to_owned()))) };
        let url = match url.split_once('?') {
            Some((plain, _)) => plain.to_owned(),
            None if url.starts_with("smtp://") => format!("{url}?tls=required"),
            None => url.to_owned(),
        };
        let builder = SmtpTransport::from_url(&url).map_err(|error| SetUpError(chain(&error)))?;
        let pool = PoolConfig::new().max_size(2).idle_timeout(Duration::from_mins(1));
        let transport = builder.hello_name(ClientId::Domain(host.to_owned())).timeout(Some(PATIENCE)).pool_config(pool).build();
        Ok(Self(Way::Smtp(transport)))
    }

    /// Whether mails become files, and in which folder.
    pub fn folder(&self) -> Option<&Path> {
        match &self.0 {
            Way::Folder(folder) => Some(folder),
            Way::Smtp(_) => None,
        }
    }

    /// Sends a mail, and answers what the server said; a file is named `name`, the same each time.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn send(&self, message: &Message, name: &str) -> Result<String, Refusal> {
        match &self.0 {
            Way::Smtp(transport) => match transport.send(message) {
                Ok(answer) => Ok(format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" ")).trim().to_owned()),
                Err(error) => Err(refusal(&error)),
            },
            Way::Folder(folder) => {
                let file = folder.join(format!("{name}.eml"));
                save(folder, &file, &message.formatted())
                    .map_err(|error| Refusal { words: format!("cannot write {}: {error}", file.display()), is_final: false })?;
                Ok(format!("written to {}", file.display()))
            }
        }
    }
}

/// Writes a file that only this user can read, whole or not at all; once it is written, a loss of power takes it away no more.
fn save(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        if let Some(parent) = folder.parent() {
            sync(parent)?;
        }
    }
    let half = file.with_extension("part");
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    fs::rename(&half, file)?;
    sync(folder)
}

/// Has the names in a folder written to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// How the name of a file begins, before its mail: when the mail was written.
pub const WRITTEN: &str = "%Y%m%d-%H%M%S";

/// Takes away the files of mails that were written before a moment. Other files in the folder stay. Answers how many went.
///
/// # Errors
/// The folder cannot be read, or a file cannot be taken away. A folder that is not there has no files.
pub fn purge_files(folder: &Path, before: Time) -> io::Result<usize> {
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    let mut gone = 0;
    for file in files {
        let path = file?.path();
        let is_mail = path.extension().is_some_and(|end| end == "eml" || end == "part");
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let written = name.get(..15).and_then(|at| NaiveDateTime::parse_from_str(at, WRITTEN).ok());
        if is_mail && written.is_some_and(|at| at.and_utc() < before) {
            fs::remove_file(&path)?;
            gone += 1;
        }
    }
    Ok(gone)
}

/// What went wrong, with what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        source = inner.source();
    }
    words
}

/// Whether a read or write ended because nothing came: on Linux that is called *would block*.
fn waited_in_vain(error: &lettre::transport::smtp::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
        {
            return true;
        }
        source = inner.source();
    }
    false
}

fn refusal(error: &lettre::transport::smtp::Error) -> Refusal {
    let code = error.status().map(|code| code.to_string());
    let words = match (&code, std::error::Error::source(error)) {
        (Some(code), Some(source)) => format!("{code} {source}"),
        (Some(code), None) => code.clone(),
        (None, _) if error.is_timeout() || waited_in_vain(error) => format!("the server did not answer within {} seconds", PATIENCE.as_secs()),
        (None, _) => chain(error),
    };
    // A refused log-in or an unknown command is about the configuration, not about this mail.
    let about_us = ["500", "501", "502", "503", "504", "530", "534", "535", "538"];
    let is_final = error.is_permanent() && !code.is_some_and(|code| about_us.contains(&code.as_str()));
    Refusal { words, is_final }
}
