//! What is written down of a change: who did what to which, and its place in the tenant's chain.
//!
//! The chain: each event's hash is SHA-256 over the hash before it and the event's own text; count and head are sealed with an
//! HMAC of the secret file, so that a changed, missing, added or cut-off event is found.

use sha2::{Digest as _, Sha256};

use super::time::Time;

/// What can happen. The stored word is the verb that the console uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Action {
    KeyCreated,
    KeyEdited,
    KeyRolled,
    KeyFinished,
    KeyRenewed,
    KeyExtended,
    KeyDisabled,
    KeyEnabled,
    KeyRevoked,
    KeyDeleted,
    KeyHandedOver,
    KeyExported,
    GatewayCreated,
    GatewayRolled,
    GatewayRevoked,
    SignedIn,
    SignedOut,
    SignInFailed,
    SessionEnded,
    PasswordChanged,
    TotpEnrolled,
    TotpRemoved,
    RecoveryCodesMade,
    RecoveryCodeUsed,
    EmailChanged,
    AccountCreated,
    PasswordResetStarted,
    ProfileChanged,
    TenantCreated,
    TenantRenamed,
    TenantSuspended,
    TenantRestored,
    SeatsSet,
    SettingsChanged,
    MemberInvited,
    MemberJoined,
    MemberSuspended,
    MemberRestored,
    MemberRemoved,
    MemberRolesChanged,
    MemberAccessChanged,
    MemberEdited,
    ServiceAccountCreated,
    KeepersChanged,
    RoleCreated,
    RoleEdited,
    RoleDeleted,
    ScopeCreated,
    ScopeEdited,
    ScopeDeleted,
    AccessRoleCreated,
    AccessRoleEdited,
    AccessRoleDeleted,
    ResourceCreated,
    ResourceEdited,
    ResourceDeleted,
    EventsPurged,
    MailSentAgain,
}

macro_rules! action_words {
    ($($action:ident => $word:literal, $sentence:literal;)+) => {
        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$action),+];

            /// The stored word, `noun.verb`.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$action => $word),+ }
            }

            /// What people read after the actor's name: "rolled the key".
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$action => $sentence),+ }
            }
        }
    };
}

action_words! {
    KeyCreated => "key.create", "created the key";
    KeyEdited => "key.edit", "edited the key";
    KeyRolled => "key.roll", "rolled the key";
    KeyFinished => "key.finish", "finished the overlap";
    KeyRenewed => "key.renew", "renewed the key";
    KeyExtended => "key.extend", "extended the key";
    KeyDisabled => "key.disable", "disabled the key";
    KeyEnabled => "key.enable", "enabled the key";
    KeyRevoked => "key.revoke", "revoked the key";
    KeyDeleted => "key.delete", "deleted the key";
    KeyHandedOver => "key.hand_over", "handed over the key";
    KeyExported => "key.export", "exported keys";
    GatewayCreated => "gateway.create", "created the gateway credential";
    GatewayRolled => "gateway.roll", "rolled the gateway credential";
    GatewayRevoked => "gateway.revoke", "revoked the gateway credential";
    SignedIn => "account.sign_in", "signed in";
    SignedOut => "account.sign_out", "signed out";
    SignInFailed => "account.sign_in_failed", "failed to sign in";
    SessionEnded => "account.session_end", "ended a session";
    PasswordChanged => "account.password", "changed the password";
    TotpEnrolled => "account.totp_enrol", "set up two-step sign-in";
    TotpRemoved => "account.totp_remove", "removed two-step sign-in";
    RecoveryCodesMade => "account.recovery_codes", "made new recovery codes";
    RecoveryCodeUsed => "account.recovery_code_used", "used a recovery code";
    AccountCreated => "account.create", "created the account";
    PasswordResetStarted => "account.password_reset", "started a password reset";
    EmailChanged => "account.email", "changed the e-mail address";
    ProfileChanged => "account.profile", "changed the profile";
    TenantCreated => "tenant.create", "created the tenant";
    TenantRenamed => "tenant.rename", "renamed the tenant";
    TenantSuspended => "tenant.suspend", "suspended the tenant";
    TenantRestored => "tenant.restore", "restored the tenant";
    SeatsSet => "tenant.seats", "set the seats";
    SettingsChanged => "tenant.settings", "changed the settings";
    MemberInvited => "member.invite", "invited a member";
    MemberJoined => "member.join", "joined";
    MemberSuspended => "member.suspend", "suspended the member";
    MemberRestored => "member.restore", "brought back the member";
    MemberRemoved => "member.remove", "removed the member";
    MemberRolesChanged => "member.roles", "changed console roles";
    MemberAccessChanged => "member.access", "changed access";
    MemberEdited => "member.edit", "edited the member";
    ServiceAccountCreated => "member.create_service", "created the service account";
    KeepersChanged => "member.keepers", "changed the keepers";
    RoleCreated => "role.create", "created the console role";
    RoleEdited => "role.edit", "edited the console role";
    RoleDeleted => "role.delete", "deleted the console role";
    ScopeCreated => "scope.create", "created the scope";
    ScopeEdited => "scope.edit", "edited the scope";
    ScopeDeleted => "scope.delete", "deleted the scope";
    AccessRoleCreated => "access_role.create", "created the access role";
    AccessRoleEdited => "access_role.edit", "edited the access role";
    AccessRoleDeleted => "access_role.delete", "deleted the access role";
    ResourceCreated => "resource.create", "created the resource";
    ResourceEdited => "resource.edit", "edited the resource";
    ResourceDeleted => "resource.delete", "deleted the resource";
    EventsPurged => "events.purge", "purged old events";
    MailSentAgain => "mail.send_again", "sent the mail again";
}

impl Action {
    /// The action of a stored word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.word() == word)
    }
}

/// One line of the audit log, before it has its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// Who: the kind (`member`, `installation_owner`, `key`, `gateway`, `link`, `system`, `command`), an ID, and the name at that moment.
    pub actor: EventActor,
    /// What.
    pub action: Action,
    /// On what: the kind (`key`, `member`, …) and its ID; empty for the tenant itself.
    pub target_kind: String,
    /// The target's ID.
    pub target_id: String,
    /// The target's name at that moment.
    pub target_name: String,
    /// The client's address.
    pub ip: String,
    /// The client's user agent, cut to 200 characters.
    pub user_agent: String,
    /// What changed, from and to, as a JSON object; no secret is ever in it.
    pub details: serde_json::Value,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventActor {
    /// `member`, `installation_owner`, `key`, `gateway`, `link`, `system` or `command`.
    pub kind: String,
    /// The member's, account's or key's ID; empty for the system.
    pub id: String,
    /// The name at that moment.
    pub name: String,
}

/// The hash of the chain's beginning.
pub const CHAIN_START: [u8; 32] = [0; 32];

/// The hash of an event: over the hash before it, its number in the chain and its fields, each preceded by its length.
pub fn chain_hash(before: &[u8; 32], number: i64, event: &Event) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(number.to_be_bytes());
    hash.update(event.at.timestamp_micros().to_be_bytes());
    let details = event.details.to_string();
    let EventActor { kind, id, name } = &event.actor;
    for part in
        [kind, id, name, event.action.word(), &event.target_kind, &event.target_id, &event.target_name, &event.ip, &event.user_agent, &details]
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
