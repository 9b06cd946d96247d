//! The text that a client presents, and what is stored of it.
//!
//! `kwk_<key id>_<secret><checksum>`: 16 and 32 characters of base62 from the operating system's generator (190 bits of secret),
//! then the CRC-32 of all before it as 6 base62 digits (`0-9A-Za-z`, padded left with 0). The prefix never changes, so that
//! scanners find leaked tokens. Stored is an HMAC-SHA-256 under a pepper, bound to tenant and key ID, with the pepper's version.
//! The secret has full entropy, so a slow hash would add nothing but load (OWASP ASVS 5.0, 6.5.2 and 11.4.1).

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::ids::{BASE62, KEY_ID_LENGTH, KeyId, TenantId};

const SECRET_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 6;

/// How many random bytes `base62` needs at the most likely; it asks for more when they run out.
pub type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// What a token is for; its prefix is fixed for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A key.
    Key,
    /// A gateway credential.
    Gateway,
    /// An extend link.
    Extend,
    /// A password reset link.
    Reset,
    /// An invitation link.
    Invite,
    /// The first-run set-up link.
    SetUp,
}

impl Purpose {
    /// The prefix with its underscore.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Key => "kwk_",
            Self::Gateway => "kwg_",
            Self::Extend => "kwx_",
            Self::Reset => "kwr_",
            Self::Invite => "kwi_",
            Self::SetUp => "kwb_",
        }
    }
}

/// A well-formed token: prefix, ID and secret, with the right checksum. `Debug` never prints the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: KeyId,
    text: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.id)
    }
}

impl Token {
    /// Makes a token with this ID and a fresh secret.
    pub fn make(purpose: Purpose, id: KeyId, random: Random<'_>) -> Self {
        let mut text = format!("{}{id}_{}", purpose.prefix(), base62(SECRET_LENGTH, random));
        text.extend(checksum(text.as_bytes()).map(char::from));
        Self { id, text }
    }

    /// Reads a token; only one spelling is right. `None` without any look-up for everything else.
    pub fn parse(purpose: Purpose, text: &str) -> Option<Self> {
        let id = Self::check(purpose, text)?;
        Some(Self { id, text: text.to_owned() })
    }

    /// The ID in a well-formed token, without keeping a copy of the text.
    pub fn check(purpose: Purpose, text: &str) -> Option<KeyId> {
        let prefix = purpose.prefix().len();
        let body = prefix + KEY_ID_LENGTH + 1 + SECRET_LENGTH;
        if text.len() != body + CHECKSUM_LENGTH || !text.is_ascii() || !text.starts_with(purpose.prefix()) {
            return None;
        }
        let bytes = text.as_bytes();
        let secret = &bytes[prefix + KEY_ID_LENGTH + 1..];
        if bytes[prefix + KEY_ID_LENGTH] != b'_' || !secret.iter().all(u8::is_ascii_alphanumeric) || checksum(&bytes[..body]) != bytes[body..] {
            return None;
        }
        KeyId::parse(&text[prefix..prefix + KEY_ID_LENGTH])
    }

    /// The token of a mailed link: derived from the row that it stands for, so that it is the same each time and stored nowhere.
    /// `facts` are what the row is about: where the row's number is given to another one, by a backup that was restored, a
    /// token that was mailed before does not open it.
    pub fn of_row(purpose: Purpose, key: &MacKey, row: i64, facts: &[&[u8]]) -> Self {
        let number = row.to_be_bytes();
        let mut round = 0u64;
        let secret = base62(SECRET_LENGTH, &mut |bytes| {
            for chunk in bytes.chunks_mut(32) {
                let count = round.to_be_bytes();
                let parts: Vec<&[u8]> =
                    [b"keyward/link/v1", purpose.prefix().as_bytes(), &number, &count].into_iter().chain(facts.iter().copied()).collect();
                chunk.copy_from_slice(&key.keyed(&parts)[..chunk.len()]);
                round += 1;
            }
        });
        let id = KeyId::of_number(row);
        let mut text = format!("{}{id}_{secret}", purpose.prefix());
        text.extend(checksum(text.as_bytes()).map(char::from));
        Self { id, text }
    }

    /// The row that a mailed link says it stands for.
    pub fn row(&self) -> Option<i64> {
        self.id.number()
    }

    /// Compares in constant time.
    pub fn is(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.text.as_bytes(), other.text.as_bytes()).into()
    }

    /// The ID.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The whole token, for the one response that shows it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The secret alone with its checksum, for the one response that shows it.
    pub fn reveal_secret(&self) -> &str {
        &self.text[self.text.len() - SECRET_LENGTH - CHECKSUM_LENGTH..]
    }
}

/// A fresh key ID.
pub fn fresh_id(random: Random<'_>) -> KeyId {
    loop {
        if let Some(id) = KeyId::parse(&base62(KEY_ID_LENGTH, random)) {
            return id;
        }
    }
}

/// `length` characters of base62, by rejection sampling, so none is likelier than another.
pub fn base62(length: usize, random: Random<'_>) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0u8; 64];
    while text.len() < length {
        random(&mut bytes);
        let fair = bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(BASE62[usize::from(byte % 62)]));
        text.extend(fair.take(length - text.len()));
    }
    text
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let mut rest = crc32fast::hash(bytes);
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// The stored form of a key's or gateway credential's secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecretHash(pub [u8; 32]);

/// A key for HMAC-SHA-256, with the work that is the same for every message done once. `Debug` never prints it.
#[derive(Clone)]
pub struct MacKey {
    bytes: [u8; 32],
    begun: Hmac<Sha256>,
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey")
    }
}

impl From<[u8; 32]> for MacKey {
    fn from(bytes: [u8; 32]) -> Self {
        #[allow(clippy::expect_used)] // HMAC takes a key of any length
        let begun = Hmac::new_from_slice(&bytes).expect("any length");
        Self { bytes, begun }
    }
}

impl MacKey {
    /// The key itself, for the file that keeps it.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// HMAC-SHA-256 of the parts, each preceded by its length, so that no two lists of parts look alike.
    pub fn keyed(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.begun.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// HMAC-SHA-256 under `pepper` of domain, tenant, ID and the token's text: a row copied to another key or tenant does not verify.
pub fn hash(pepper: &MacKey, purpose: Purpose, tenant: TenantId, token: &str) -> SecretHash {
    SecretHash(pepper.keyed(&[b"keyward/token/v1", purpose.prefix().as_bytes(), &tenant.number().to_be_bytes(), token.as_bytes()]))
}

impl SecretHash {
    /// Compares in constant time. Sixteen bytes at a time: each step is fenced off from the optimiser, and costs more than the
    /// comparison in it.
    pub fn matches(&self, other: &Self) -> bool {
        let ((ours, _), (theirs, _)) = (self.0.as_chunks::<16>(), other.0.as_chunks::<16>());
        let same = |a: &[u8; 16], b: &[u8; 16]| subtle::ConstantTimeEq::ct_eq(&u128::from_ne_bytes(*a), &u128::from_ne_bytes(*b));
        ours.iter().zip(theirs).fold(subtle::Choice::from(1), |all, (a, b)| all & same(a, b)).into()
    }
}
