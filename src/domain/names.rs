//! Text from outside that becomes a type whose existence is the proof that it is well formed.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Why a text was refused, in words for the field that it was typed into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TextError(pub String);

fn refuse<T>(why: impl Into<String>) -> Result<T, TextError> {
    Err(TextError(why.into()))
}

/// A line of text of `min` to `max` characters, trimmed, without control characters.
///
/// # Errors
/// Says which bound was passed, naming the field as `what` ("Name").
pub fn line(what: &str, text: &str, min: usize, max: usize) -> Result<String, TextError> {
    let text = text.trim();
    let length = text.chars().count();
    if length < min {
        return refuse(if min == 1 { format!("Enter a {}.", what.to_lowercase()) } else { format!("Enter {min} characters or more.") });
    }
    if length > max {
        return refuse(format!("Enter {max} characters or fewer; this has {length}."));
    }
    if text.chars().any(|c| c.is_control() || is_direction_mark(c)) {
        return refuse("Leave out line breaks and control characters.");
    }
    Ok(text.to_owned())
}

/// Why a key is disabled or revoked, as its owner reads it: a line of at most 200 characters, or nothing.
///
/// # Errors
/// Says which bound was passed.
pub fn reason(text: &str) -> Result<String, TextError> {
    line("Reason", text, 0, 200)
}

/// Several lines of text of up to `max` characters: line breaks stay, other control characters are refused.
///
/// # Errors
/// Says which bound was passed.
pub fn lines(text: &str, max: usize) -> Result<String, TextError> {
    let text = text.replace("\r\n", "\n").trim().to_owned();
    let length = text.chars().count();
    if length > max {
        return refuse(format!("Enter {max} characters or fewer; this has {length}."));
    }
    if text.chars().any(|c| (c.is_control() && c != '\n' && c != '\t') || is_direction_mark(c)) {
        return refuse("Leave out control characters.");
    }
    Ok(text)
}

/// Marks that turn the reading direction can make one name look like another (Unicode TR 36).
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

macro_rules! text_type {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                text.parse()
            }
        }
    )+};
}

text_type! {
    /// The name of a key: 1 to 100 characters.
    KeyName,
    /// A tenant's fixed address: `[a-z0-9-]{2,40}`.
    Slug,
    /// An e-mail address, at most 254 characters (RFC 5321 4.5.3.1).
    EmailAddress,
    /// A privilege that a tenant's own API defines: `[A-Za-z0-9._:/-]{1,100}`, compared whole, without wildcards.
    Scope,
}

impl FromStr for KeyName {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        line("Name", text, 1, 100).map(Self)
    }
}

impl FromStr for Slug {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let good = (2..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good { Ok(Self(text.to_owned())) } else { refuse("Enter 2 to 40 of a–z, 0–9 and -.") }
    }
}

impl FromStr for EmailAddress {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let text = text.trim();
        let well_formed = text.rsplit_once('@').is_some_and(|(user, host)| {
            (1..=64).contains(&user.len())
                && !user.starts_with('.')
                && !user.ends_with('.')
                && user.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
                && host.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                })
        });
        if well_formed && text.len() <= 254 { Ok(Self(text.to_owned())) } else { refuse("Enter an e-mail address such as name@example.com.") }
    }
}

impl EmailAddress {
    /// The spelling that accounts and sign-in counters are keyed by: lower case.
    pub fn canonical(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// What begins a scope that opens Keyward's own API.
pub const RESERVED_PREFIX: &str = "keyward:";

/// The scopes of the management API. They are chosen on a key itself, never through a role.
pub const RESERVED_SCOPES: [&str; 8] = [
    "keyward:keys.read",
    "keyward:keys.write",
    "keyward:keys.roll",
    "keyward:members.read",
    "keyward:members.write",
    "keyward:access.write",
    "keyward:settings.write",
    "keyward:events.read",
];

impl FromStr for Scope {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let good = (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b));
        if good { Ok(Self(text.to_owned())) } else { refuse("Enter 1 to 100 of A–Z, a–z, 0–9 and . _ : / -") }
    }
}

impl Scope {
    /// Whether it opens Keyward itself instead of the tenant's API.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED_PREFIX)
    }
}

/// A set of scopes, in order.
pub type Scopes = BTreeSet<Scope>;

/// Something that a tenant's API guards, written `kind:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// `[a-z0-9-]{1,40}`
    pub kind: String,
    /// `[A-Za-z0-9._/@-]{1,200}`
    pub name: String,
}

fn is_kind(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl FromStr for Resource {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.split_once(':') {
            Some((kind, name))
                if is_kind(kind) && (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/@-".contains(&b)) =>
            {
                Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
            }
            _ => refuse("Write it as kind:name, such as site:rotterdam."),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// One resource, or all of a kind (`kind:*`; a `*` is in no name).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ResourcePattern {
    /// Every resource of this kind.
    Kind(String),
    /// This resource.
    One(Resource),
}

impl ResourcePattern {
    /// Whether `resource` is meant.
    pub fn covers(&self, resource: &Resource) -> bool {
        match self {
            Self::Kind(kind) => *kind == resource.kind,
            Self::One(one) => one == resource,
        }
    }
}

impl FromStr for ResourcePattern {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text.strip_suffix(":*") {
            Some(kind) if is_kind(kind) => Ok(Self::Kind(kind.to_owned())),
            Some(_) => refuse("A kind is 1 to 40 of a–z, 0–9 and -."),
            None => text.parse().map(Self::One),
        }
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "{kind}:*"),
            Self::One(one) => one.fmt(f),
        }
    }
}

impl TryFrom<String> for ResourcePattern {
    type Error = TextError;

    fn try_from(text: String) -> Result<Self, TextError> {
        text.parse()
    }
}

impl From<ResourcePattern> for String {
    fn from(pattern: ResourcePattern) -> Self {
        pattern.to_string()
    }
}
