//! What a person or program can do. An action is a sync function on a [`Tx`]: one transaction that holds the change, its events
//! and the mails that follow from it.
//!
//! [`Tx`]: crate::store::Tx

pub mod access;
pub mod address;
pub mod credentials;
pub mod extend;
pub mod gateways;
pub mod hand_over;
pub mod installation;
pub mod invitations;
pub mod keys;
pub mod locked_out;
pub mod mail;
pub mod members;
pub mod operator;
pub mod roles;
pub mod set_up;
pub mod sign_in;
pub mod tenants;

use std::net::IpAddr;

use crate::{
    domain::{
        event::{Action, Event, EventActor},
        ids::AccountId,
        time::Time,
    },
    store::{
        StoreError, Tx,
        members::{Acting, acting as member_now},
    },
};

/// Who does something.
#[derive(Debug, Clone)]
pub enum Who {
    /// A signed-in person as a member of one tenant.
    Member(Box<Acting>),
    /// A signed-in person outside of any tenant: on the profile page, or the installation owner.
    Account {
        /// The account.
        id: AccountId,
        /// The person's name.
        name: String,
        /// Whether this is the installation owner.
        installation_owner: bool,
    },
    /// Whoever opened a one-time link.
    Link(String),
    /// A command of the operator.
    Command(String),
    /// Keyward itself.
    System,
}

/// Who does something, from where, and when.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub who: Who,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's user agent, cut to 200 characters.
    pub user_agent: String,
    /// When.
    pub now: Time,
    /// The session that asks, where it is one; wrong codes count on it.
    pub session: Option<[u8; 32]>,
}

impl By {
    /// Keyward itself, or a command of the operator where `command` names one.
    pub fn operator(command: Option<&str>, now: Time) -> Self {
        let who = command.map_or(Who::System, |command| Who::Command(command.to_owned()));
        Self { who, address: None, user_agent: String::new(), now, session: None }
    }

    /// The member who acts, where it is one.
    pub fn acting(&self) -> Option<&Acting> {
        match &self.who {
            Who::Member(acting) => Some(acting),
            _ => None,
        }
    }

    /// How the actor stands in an event.
    pub fn actor(&self) -> EventActor {
        let (kind, id, name) = match &self.who {
            Who::Member(acting) => ("member", acting.id.to_string(), acting.name.clone()),
            Who::Account { id, name, installation_owner: true } => ("installation_owner", id.to_string(), name.clone()),
            Who::Account { id, name, .. } => ("account", id.to_string(), name.clone()),
            Who::Link(name) => ("link", String::new(), name.clone()),
            Who::Command(name) => ("command", String::new(), name.clone()),
            Who::System => ("system", String::new(), "Keyward".to_owned()),
        };
        EventActor { kind: kind.to_owned(), id, name }
    }

    /// The event of something done to a target: its kind, ID and name; all empty for the tenant or account itself.
    pub fn event(&self, action: Action, (kind, id, name): (&str, &str, &str), details: serde_json::Value) -> Event {
        Event {
            at: self.now,
            actor: self.actor(),
            action,
            target_kind: kind.to_owned(),
            target_id: id.to_owned(),
            target_name: name.to_owned(),
            ip: self.address.map(|address| address.to_string()).unwrap_or_default(),
            user_agent: self.user_agent.clone(),
            details,
        }
    }
}

/// The same, with the acting member as they are once writers of the tenant take turns: roles and settings may have changed since the
/// request came. `None` where they are an active member no more.
fn in_turn(tx: &mut Tx<'_>, by: &By) -> Result<Option<By>, StoreError> {
    let Some(before) = by.acting() else { return Ok(None) };
    tx.lock(before.tenant.id)?;
    let acting = member_now(tx, &before.tenant.slug, before.account)?;
    Ok(acting.map(|acting| By { who: Who::Member(Box::new(acting)), ..by.clone() }))
}

/// The proof that the acting member just gave a fresh TOTP code, in this very transaction. Only the check of a code makes one.
#[derive(Debug)]
pub struct CodeProof(());

impl CodeProof {
    /// For the function that checks codes.
    #[allow(dead_code)]
    pub(in crate::actions) fn given() -> Self {
        Self(())
    }
}
