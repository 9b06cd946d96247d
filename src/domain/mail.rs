//! The kinds of mail, each as the facts that it tells of; and when a mail that was not taken is tried again.
//!
//! A mail is kept as facts. Its text is rendered, and its links are derived from the number of its row, at the moment of sending.

use chrono::Duration;

use super::time::{Time, days};

/// What a mail tells of. Names are those of the moment when it happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Mail {
    /// The keys that end soon; its lines are rows of their own.
    Digest,
    /// Somebody else did something with one's key.
    KeyChanged {
        /// The key.
        key: KeyName,
        /// The stored word of the event: `key.revoke`.
        action: String,
        /// By whom.
        by: String,
        /// When.
        at: Time,
        /// Further facts in words, each with its label: `("Expires", "3 Dec 2026, 08:47 UTC")`.
        facts: Vec<(String, String)>,
    },
    /// Somebody else did the same with several of one's keys.
    KeysChanged {
        /// The keys.
        keys: Vec<KeyName>,
        /// The stored word of the events.
        action: String,
        /// By whom.
        by: String,
        /// When the first was changed.
        at: Time,
        /// Further facts in words, the same for all.
        facts: Vec<(String, String)>,
    },
    /// Keys were handed over to the recipient.
    HandedOver {
        /// The keys.
        keys: Vec<KeyName>,
        /// Whose they were.
        from: String,
        /// By whom.
        by: String,
        /// When.
        at: Time,
        /// What the keys lost because the new owner lacks it, in words.
        lost: Vec<String>,
    },
    /// Another recipient of the notices extended one's key.
    KeyExtended {
        /// The key.
        key: KeyName,
        /// The expiry before.
        from: Time,
        /// The expiry now.
        to: Time,
        /// When.
        at: Time,
    },
    /// An extra recipient wants no more notices of one's key.
    RecipientLeft {
        /// The key.
        key: KeyName,
        /// The address that was taken off.
        address: String,
        /// When.
        at: Time,
    },
    /// A gateway credential ends soon, or has ended.
    GatewayExpires {
        /// The credential's ID.
        id: String,
        /// Its name.
        name: String,
        /// When it ends.
        expires_at: Time,
    },
    /// An invitation to a tenant, with a link.
    Invitation {
        /// Who invites.
        by: String,
        /// Until when the link works.
        until: Time,
        /// Whether there is an account of that address already.
        has_account: bool,
    },
    /// A link to set a new password.
    PasswordReset {
        /// Until when the link works.
        until: Time,
    },
    /// A link that confirms a new address.
    ConfirmAddress {
        /// The address that the account has now.
        from: String,
        /// Until when the link works.
        until: Time,
    },
    /// Something that one signs in with was changed.
    SecurityChanged {
        /// What.
        what: SecurityChange,
        /// When.
        at: Time,
        /// From which address, where it is known.
        from_address: String,
        /// By whom, where it was not the person.
        by: Option<String>,
    },
}

/// A key as a mail names it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyName {
    /// The key ID.
    pub id: String,
    /// The name.
    pub name: String,
}

/// What a digest says of one key, as it was when the mail was sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// The key.
    pub key: KeyName,
    /// The stored word of the stage.
    pub stage: String,
    /// When it expires.
    pub expires_at: Time,
    /// When it stops, after its grace.
    pub works_until: Time,
    /// When it expires after its link was used; `None` where a link would do nothing.
    pub extended_to: Option<Time>,
    /// When it was last used.
    pub last_used_at: Option<Time>,
    /// From where.
    pub last_used_from: Option<String>,
    /// Whether the recipient is an extra one, who learns less and may ask for no more.
    pub for_extra: bool,
    /// Whether the recipient administers the tenant and stands in for an owner who is not active.
    #[serde(default)]
    pub for_admin: bool,
}

impl Line {
    /// When the key stops working next, as far as is known at a moment.
    pub fn urgency(&self, now: Time) -> Time {
        if self.expires_at > now { self.expires_at } else { self.works_until }
    }
}

/// How many keys a digest names, each with its link; the others are counted. A mail of 500 keys has about half a megabyte.
pub const MOST_LINES: usize = 500;

/// What became of a line of a digest when the mail was sent or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It was shown, with this in it.
    Full(Box<Line>),
    /// It was counted among those that found no room.
    Counted,
    /// It was left out: its cause had gone.
    Gone,
}

/// What a mail says besides its facts, gathered when it is sent.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Address and name of the tenant.
    pub tenant: Option<(String, String)>,
    /// The days before an expiry at which the tenant sends notices.
    pub notice_days: Vec<u32>,
    /// The lines of a digest, each with the token of its link.
    pub lines: Vec<(Line, Option<String>)>,
    /// How many further keys a digest counts without showing them.
    pub more: usize,
    /// The token of the link of an invitation, a reset or a new address.
    pub token: Option<String>,
}

/// What of signing in was changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityChange {
    /// The password.
    Password,
    /// Two-step sign-in was set up.
    TotpEnrolled,
    /// Two-step sign-in was taken away.
    TotpRemoved,
    /// The recovery codes were replaced.
    RecoveryCodes,
    /// A change of the address was asked for.
    AddressAsked(String),
    /// The address was changed from one to another.
    Address {
        /// The address before.
        from: String,
        /// The address now.
        to: String,
    },
}

impl Mail {
    /// The stored word of the kind.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::KeyChanged { .. } => "key_changed",
            Self::KeysChanged { .. } => "keys_changed",
            Self::HandedOver { .. } => "handed_over",
            Self::KeyExtended { .. } => "key_extended",
            Self::RecipientLeft { .. } => "recipient_left",
            Self::GatewayExpires { .. } => "gateway_expires",
            Self::Invitation { .. } => "invitation",
            Self::PasswordReset { .. } => "password_reset",
            Self::ConfirmAddress { .. } => "confirm_address",
            Self::SecurityChanged { .. } => "security_changed",
        }
    }

    /// What the Mail page calls a stored word.
    pub fn label(word: &str) -> &'static str {
        match word {
            "digest" => "Expiry notices",
            "key_changed" => "Key changed by someone else",
            "keys_changed" => "Keys changed by someone else",
            "handed_over" => "Key handed over",
            "key_extended" => "Key extended by another recipient",
            "recipient_left" => "Recipient left",
            "gateway_expires" => "Gateway credential expires",
            "invitation" => "Invitation",
            "password_reset" => "Password reset",
            "confirm_address" => "Confirm an address",
            "security_changed" => "Sign-in changed",
            _ => "Mail",
        }
    }

    /// Until when it is of any use: a link that has run out helps nobody.
    pub const fn useful_until(&self) -> Option<Time> {
        match self {
            Self::Invitation { until, .. } | Self::PasswordReset { until } | Self::ConfirmAddress { until, .. } => Some(*until),
            _ => None,
        }
    }
}

/// Which mails leave first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A person waits for its link, or it warns of a change of how they sign in. The cap of a day does not hold it back.
    First,
    /// It tells of something that has just happened.
    Middle,
    /// A digest.
    Last,
}

impl Rank {
    /// All, in the order in which they leave.
    pub const ALL: [Self; 3] = [Self::First, Self::Middle, Self::Last];

    /// The stored number.
    pub const fn number(self) -> i64 {
        match self {
            Self::First => 0,
            Self::Middle => 1,
            Self::Last => 2,
        }
    }
}

impl Mail {
    /// When it leaves among others that are due.
    pub const fn rank(&self) -> Rank {
        match self {
            Self::Invitation { .. } | Self::PasswordReset { .. } | Self::ConfirmAddress { .. } | Self::SecurityChanged { .. } => Rank::First,
            Self::Digest => Rank::Last,
            _ => Rank::Middle,
        }
    }

    /// Whether it names keys of somebody, as digests and mails about changes do.
    pub const fn is_about_keys(&self) -> bool {
        matches!(
            self,
            Self::Digest
                | Self::KeyChanged { .. }
                | Self::KeysChanged { .. }
                | Self::HandedOver { .. }
                | Self::KeyExtended { .. }
                | Self::RecipientLeft { .. }
        )
    }
}

impl SecurityChange {
    /// A word for what changed.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::TotpEnrolled => "totp_enrolled",
            Self::TotpRemoved => "totp_removed",
            Self::RecoveryCodes => "recovery_codes",
            Self::AddressAsked(_) => "address_asked",
            Self::Address { .. } => "address",
        }
    }
}

/// Why somebody gets the notices of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// They own it; for a service account, this is its contact.
    Owner,
    /// They keep the service account that owns it.
    Keeper,
    /// They were named on the key.
    Extra,
    /// Nobody else is left: they administer the tenant.
    Admin,
}

impl Role {
    const WORDS: [(Self, &'static str); 4] = [(Self::Owner, "owner"), (Self::Keeper, "keeper"), (Self::Extra, "extra"), (Self::Admin, "admin")];

    /// The stored word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(role, _)| *role == self).map_or("", |(_, word)| word)
    }

    /// The role of a stored word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(role, _)| *role)
    }
}

/// Whether a mail is still of use: the link in it, if it has one, works.
pub fn useful(mail: &Mail, now: Time) -> bool {
    mail.useful_until().is_none_or(|until| until > now)
}

/// How long a mail is tried.
pub const TRIED_FOR: i64 = 2;

/// How many mails one address gets in a day, whoever causes them; those of [`Rank::First`] have limits of their own.
pub const MOST_IN_A_DAY: i64 = 100;

/// How many keys one mail about changes names.
pub const MOST_KEYS: usize = 500;

/// When a mail that was first tried at `first` and has been tried `tries` times is tried next; `None` after two days. The pauses
/// grow from one minute to four hours.
pub fn next_try(first: Time, tries: i64, now: Time) -> Option<Time> {
    const MINUTES: [i64; 7] = [1, 5, 15, 30, 60, 120, 240];
    let last = first + days(TRIED_FOR);
    let pause = usize::try_from(tries.max(1) - 1).ok().and_then(|tried| MINUTES.get(tried)).unwrap_or(&MINUTES[MINUTES.len() - 1]);
    (now < last).then(|| (now + Duration::minutes(*pause)).min(last))
}
