//! Identifiers. An integer identifier comes from a row and is never reused; a key ID is text that a client sees.

use std::fmt;

macro_rules! row_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

row_id! {
    /// A person's sign-in, across tenants.
    AccountId,
    /// A person or service account in one tenant.
    MemberId,
    /// A named set of console permissions in one tenant.
    ConsoleRoleId,
    /// A named set of scopes in one tenant.
    AccessRoleId,
    /// Something that a tenant's API guards.
    ResourceId,
    /// A gateway credential of one tenant.
    GatewayId,
    /// A mail of the outbox.
    MailId,
    /// One line of a digest.
    NoticeId,
}

/// A tenant. It is made from a row only, never from text: what a request may reach follows from who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(i64);

impl TenantId {
    /// Takes the `id` of a row of `tenants`. For the store alone (a test of the architecture sees to it).
    pub const fn from_row(id: i64) -> Self {
        Self(id)
    }

    /// The number to bind in a query.
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// The digits of base62, in their order.
pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many characters a key ID has.
pub const KEY_ID_LENGTH: usize = 16;

/// The stable public name of a key: 16 base62 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID_LENGTH]);

impl KeyId {
    /// Takes 16 characters of `0-9A-Za-z`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; KEY_ID_LENGTH] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphanumeric).then_some(Self(bytes))
    }

    /// A number in the same form: base62 digits, padded left with 0.
    pub fn of_number(number: i64) -> Self {
        let mut rest = number.unsigned_abs();
        let mut digits = [b'0'; KEY_ID_LENGTH];
        for digit in digits.iter_mut().rev() {
            *digit = BASE62[usize::try_from(rest % 62).unwrap_or_default()];
            rest /= 62;
        }
        Self(digits)
    }

    /// The number that [`Self::of_number`] was given; `None` where it is too large for one.
    pub fn number(&self) -> Option<i64> {
        self.0.iter().try_fold(0i64, |number, digit| {
            let value = BASE62.iter().position(|known| known == digit)?;
            number.checked_mul(62)?.checked_add(i64::try_from(value).ok()?)
        })
    }

    /// The 16 characters as bytes of ASCII.
    pub const fn bytes(&self) -> [u8; KEY_ID_LENGTH] {
        self.0
    }

    /// The 16 characters.
    pub fn as_str(&self) -> &str {
        // Only ASCII ever gets in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
