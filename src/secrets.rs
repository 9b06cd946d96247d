//! The secret file: peppers by version, the key that encrypts TOTP secrets, the key that seals events, and the key that
//! sessions, links and forms are hashed with. Mode 0600, beside the database or where `secret_file` says. Without it nothing verifies.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::domain::{
    ids::TenantId,
    token::{self, MacKey, Purpose, SecretHash, Token},
};

/// The secrets of one installation. `Debug` shows none.
#[derive(Clone)]
pub struct Secrets {
    peppers: BTreeMap<i64, MacKey>,
    totp: [u8; 32],
    seal: MacKey,
    session: MacKey,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets(peppers {:?})", self.peppers.keys())
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct OnDisk {
    peppers: BTreeMap<String, String>,
    totp: String,
    seal: String,
    session: String,
}

/// Why the secret file cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SecretsError {
    #[error("cannot read or write the secret file {path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("the secret file {0} is damaged: restore it from a backup")]
    Damaged(String),
    #[error("the secret file {0} can be read by others: run chmod 600 on it")]
    TooOpen(String),
    #[error("the secret file {0} is missing, but the database has been set up: restore the file, without it nothing verifies")]
    Missing(String),
}

impl Secrets {
    /// Fresh secrets from 128 random bytes.
    pub fn fresh(random: &[u8; 128]) -> Self {
        let part = |n: usize| std::array::from_fn(|i| random[n * 32 + i]);
        Self { peppers: BTreeMap::from([(1, part(0).into())]), totp: part(1), seal: part(2).into(), session: part(3).into() }
    }

    /// Reads the file at `path`, or makes it where there is none and `may_make` allows it.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn open(path: &Path, may_make: bool) -> Result<Self, SecretsError> {
        let shown = path.display().to_string();
        let io_error = |source| SecretsError::Io { path: shown.clone(), source };
        match fs::read_to_string(path) {
            Ok(text) => {
                if fs::metadata(path).map_err(io_error)?.permissions().mode() & 0o077 != 0 {
                    return Err(SecretsError::TooOpen(shown));
                }
                Self::parse(&text).ok_or(SecretsError::Damaged(shown))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_make => {
                let secrets = Self::fresh(&crate::chance::bytes());
                secrets.save(path).map_err(io_error)?;
                Ok(secrets)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SecretsError::Missing(shown)),
            Err(error) => Err(io_error(error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let file: OnDisk = toml::from_str(text).ok()?;
        let peppers =
            file.peppers.iter().map(|(version, hex)| Some((version.parse().ok()?, from_hex(hex)?.into()))).collect::<Option<BTreeMap<_, _>>>()?;
        (!peppers.is_empty()).then_some(())?;
        Some(Self { peppers, totp: from_hex(&file.totp)?, seal: from_hex(&file.seal)?.into(), session: from_hex(&file.session)?.into() })
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let file = OnDisk {
            peppers: self.peppers.iter().map(|(version, pepper)| (version.to_string(), to_hex(pepper.bytes()))).collect(),
            totp: to_hex(&self.totp),
            seal: to_hex(self.seal.bytes()),
            session: to_hex(self.session.bytes()),
        };
        let text = toml::to_string(&file).map_err(io::Error::other)?;
        let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        out.write_all(format!("# The secrets of this Keyward. Keep a copy apart from the database: without it no key verifies.\n{text}").as_bytes())?;
        out.sync_all()
    }

    /// The version that new secrets are hashed under.
    pub fn pepper_version(&self) -> i64 {
        self.peppers.keys().next_back().copied().unwrap_or(1)
    }

    /// The stored form of a token under a version of the pepper; `None` where that version is not in the file.
    pub fn token_hash(&self, version: i64, purpose: Purpose, tenant: TenantId, token: &str) -> Option<SecretHash> {
        self.peppers.get(&version).map(|pepper| token::hash(pepper, purpose, tenant, token))
    }

    /// A keyed hash for what opens a session or a link: `purpose` keeps one kind from standing for another.
    pub fn keyed(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        self.session.keyed(&[purpose.as_bytes(), value])
    }

    /// The token of a mailed link to a row with these facts; see [`Token::of_row`].
    pub fn link(&self, purpose: Purpose, row: i64, facts: &[&[u8]]) -> Token {
        Token::of_row(purpose, &self.seal, row, facts)
    }

    /// The key that encrypts TOTP secrets.
    pub const fn totp_key(&self) -> &[u8; 32] {
        &self.totp
    }

    /// The seal over a chain's count and head.
    pub fn seal(&self, tenant: i64, count: i64, head: &[u8]) -> [u8; 32] {
        self.seal.keyed(&[b"keyward/events/v1", &tenant.to_be_bytes(), &count.to_be_bytes(), head])
    }

    /// The seal over where a chain begins after its oldest events were purged.
    pub fn seal_of_purge(&self, tenant: i64, purged_to: i64, head: &[u8]) -> [u8; 32] {
        self.seal.keyed(&[b"keyward/purge/v1", &tenant.to_be_bytes(), &purged_to.to_be_bytes(), head])
    }
}

fn to_hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}
