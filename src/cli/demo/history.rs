//! What happened before the demo began, as events: what the keys' facts tell of, and who signed in.

use chrono::Duration;
use serde_json::{Value, json};

use super::{
    dice::Dice,
    keys::{Draft, Fate},
    people::{People, Place, SUSPENDED, left_at},
};
use crate::{
    domain::{
        event::{Action, Event, EventActor},
        ids::{MemberId, TenantId},
        key::Key,
        time::Time,
    },
    store::{StoreError, Tx, events},
};

const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
];

/// Something that a member did.
struct Deed<'a> {
    at: Time,
    place: &'a Place,
    who: (&'a str, MemberId),
    action: Action,
    /// Kind, ID and name.
    target: (&'static str, String, String),
    details: Value,
}

impl Deed<'_> {
    fn event(self) -> (TenantId, Event) {
        let (name, id) = self.who;
        // Everybody has a desk and a browser of their own.
        let desk = id.0.rem_euclid(40);
        let event = Event {
            at: self.at,
            actor: EventActor { kind: "member".into(), id: id.to_string(), name: name.into() },
            action: self.action,
            target_kind: self.target.0.into(),
            target_id: self.target.1,
            target_name: self.target.2,
            ip: format!("10.20.1.{}", desk + 11),
            user_agent: BROWSERS.iter().cycle().nth(usize::try_from(desk).unwrap_or_default()).copied().unwrap_or_default().into(),
            details: self.details,
        };
        (self.place.id, event)
    }
}

/// Writes the events in the order in which they happened.
pub fn write(tx: &mut Tx<'_>, told: &[(&Place, &str, Draft)], people: &People, now: Time) -> Result<(), StoreError> {
    let mut deeds: Vec<Deed<'_>> = told.iter().flat_map(|(place, owner, draft)| of_key(place, owner, draft)).collect();
    deeds.extend(people.tenants.iter().flat_map(|place| sign_ins(place, now)));
    deeds.extend(people.tenants.iter().filter_map(|place| suspension(place, now)));
    deeds.retain(|deed| deed.at <= now);
    deeds.sort_by_key(|deed| deed.at);
    for deed in deeds {
        let (tenant, event) = deed.event();
        events::add(tx, tenant, &event)?;
    }
    Ok(())
}

fn of_key<'a>(place: &'a Place, owner: &'a str, Draft { key, fate, .. }: &'a Draft) -> Vec<Deed<'a>> {
    let (actor, id) = place.actor(owner);
    let who = (actor, id.unwrap_or(key.owner));
    let target = || ("key", key.id.to_string(), key.name.to_string());
    let deed = |at, who, action, details| Deed { at, place, who, action, target: target(), details };
    let Key { created_at, expiry_set_at, life, .. } = key;
    let mut deeds = vec![deed(*created_at, who, Action::KeyCreated, json!({ "owner": owner, "expires_at": life.expires_at }))];
    if expiry_set_at > created_at {
        deeds.push(deed(*expiry_set_at, who, Action::KeyRenewed, json!({ "expires_at": { "from": expiry_set_at, "to": life.expires_at } })));
    }
    if let (Fate::Overlap, Some(old)) = (fate, &key.old) {
        let details = json!({ "old_secret_stops_at": old.stops_at, "keep": "latest", "compromised": false });
        deeds.push(deed(old.replaced_at, who, Action::KeyRolled, details));
    }
    if let Some(at) = life.disabled_at {
        let by = key.disabled_by.as_ref().and_then(|by| Some((by.name.as_str(), by.member?)));
        deeds.push(deed(at, by.unwrap_or(who), Action::KeyDisabled, json!({ "reason": key.disable_reason })));
    }
    if let Some(at) = life.revoked_at {
        let by = key.revoked_by.as_ref().and_then(|by| Some((by.name.as_str(), by.member?)));
        deeds.push(deed(at, by.unwrap_or(who), Action::KeyRevoked, json!({ "reason": key.revoke_reason })));
    }
    deeds
}

/// The admin suspended who left.
fn suspension(place: &Place, now: Time) -> Option<Deed<'_>> {
    let member = place.members.get(SUSPENDED)?;
    let (admin, id) = place.members.iter().find(|(_, id)| **id == place.admin)?;
    Some(Deed {
        at: left_at(now),
        place,
        who: (admin, *id),
        action: Action::MemberSuspended,
        target: ("member", member.to_string(), SUSPENDED.to_owned()),
        details: json!({}),
    })
}

/// Most people were here within the last day or two; Daniel has not been for long.
fn sign_ins(place: &Place, now: Time) -> Vec<Deed<'_>> {
    let mut dice = Dice::new(1_108);
    let people = place.members.iter().filter(|(name, _)| !place.keepers.contains_key(**name));
    let mut deeds = Vec::new();
    for (name, id) in people {
        let first = if *name == SUSPENDED { 90 * 1_440 } else { dice.between(20, 1_900) };
        for earlier in [first, first + dice.between(2_000, 9_000), first + dice.between(9_000, 20_000)] {
            deeds.push(Deed {
                at: now - Duration::minutes(earlier),
                place,
                who: (name, *id),
                action: Action::SignedIn,
                target: ("member", id.to_string(), (*name).to_owned()),
                details: json!({}),
            });
        }
    }
    deeds
}
