//! What a person can do. One function is one change: it checks that the member may, lets the domain decide, writes the state and
//! the event. Everything that it writes is in the caller's transaction.

pub mod keys;

use crate::{
    domain::event::{Action, Event, EventActor},
    store::{StoreError, Tx, events, members::Acting},
};

/// Who acts, and from where.
#[derive(Debug, Clone)]
pub struct By {
    /// The signed-in member.
    pub acting: Acting,
    /// The client's address.
    pub ip: String,
    /// The client's user agent, cut to 200 characters.
    pub user_agent: String,
}

/// The proof that the acting member just gave a fresh TOTP code, in this very transaction.
#[derive(Debug)]
pub struct CodeProof(());

impl CodeProof {
    /// For [`credentials`](crate::actions), which checks the code.
    #[allow(dead_code)]
    pub(in crate::actions) fn given() -> Self {
        Self(())
    }
}

/// What an event is about: its kind, ID and name.
pub(in crate::actions) struct Target<'a>(pub &'a str, pub String, pub &'a str);

/// Writes an event of the acting member into the chain of their tenant.
pub(in crate::actions) fn note(tx: &mut Tx<'_>, by: &By, action: Action, target: Target<'_>, details: serde_json::Value) -> Result<(), StoreError> {
    let event = Event {
        at: tx.now(),
        actor: EventActor { kind: "member".into(), id: by.acting.id.to_string(), name: by.acting.name.clone() },
        action,
        target_kind: target.0.to_owned(),
        target_id: target.1,
        target_name: target.2.to_owned(),
        ip: by.ip.clone(),
        user_agent: by.user_agent.clone(),
        details,
    };
    events::add(tx, by.acting.tenant.id, &event)
}
