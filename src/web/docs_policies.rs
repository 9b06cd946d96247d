//! Policies as they are known elsewhere, a short page each: what one gets, and with which settings and roles.

use actix_web::web::Path;
use askama::Template;

use super::{
    error::WebError,
    page::{Frame, Link, WebResult, show},
    session::SignedIn,
};
use crate::domain::permission::Permission;

/// The last part of each page's address, its title, and what it is about.
pub const PAGES: [(&str, &str, &str); 5] = [
    ("own-keys", "Own keys for everybody", "Every member makes up to five keys of their own; an admin manages all of them."),
    ("watch-only", "Watched from above", "The installation owner sees, revokes and deletes; everybody else sees only their own keys."),
    (
        "seats",
        "A switch, seats and a role",
        "Keys are off until the tenant admin turns them on; making one takes a seat and the role Developer; admins only revoke.",
    ),
    ("roll", "A code for every roll", "A roll asks for a code from an authenticator app, and the old secret stops at once or on a chosen date."),
    ("change-access", "Access that changes", "A key’s access role, or the role itself, is changed, and a key is locked for a while, at any time."),
];

macro_rules! bodies {
    ($($name:ident => $path:literal;)+) => {$(
        #[derive(Template)]
        #[template(path = $path)]
        struct $name<'a> {
            to: &'a Doors,
        }
    )+};
}

bodies! {
    OwnKeys => "docs/policies/own_keys.html";
    WatchOnly => "docs/policies/watch_only.html";
    Seats => "docs/policies/seats.html";
    Roll => "docs/policies/roll.html";
    ChangeAccess => "docs/policies/change_access.html";
}

/// The pages that a step leads to; empty for who may not open it.
struct Doors {
    settings: String,
    members: String,
    access: String,
}

#[derive(Template)]
#[template(path = "docs/policy.html")]
struct PolicyPage {
    frame: Frame,
    crumbs: Vec<Link>,
    title: &'static str,
    about: &'static str,
    body: String,
}

/// `GET /docs/{policy}`
///
/// # Errors
/// 404 where there is no such page.
pub async fn page(person: SignedIn, path: Path<String>) -> WebResult {
    let (name, title, about) = PAGES.into_iter().find(|(name, ..)| *name == *path).ok_or(WebError::NotFound)?;
    let door = |permission, end: &str| {
        let acting = person.acting.as_ref().filter(|acting| acting.may(permission));
        acting.map(|acting| format!("/t/{}{end}", acting.tenant.slug)).unwrap_or_default()
    };
    let to = Doors {
        settings: door(Permission::SettingsManage, "/settings"),
        members: door(Permission::MembersManage, "/members"),
        access: door(Permission::AccessManage, "/access"),
    };
    let body = match name {
        "own-keys" => OwnKeys { to: &to }.render(),
        "watch-only" => WatchOnly { to: &to }.render(),
        "seats" => Seats { to: &to }.render(),
        "roll" => Roll { to: &to }.render(),
        _ => ChangeAccess { to: &to }.render(),
    };
    show(&PolicyPage { frame: person.frame.clone(), crumbs: vec![Link::new("API documentation", "/docs")], title, about, body: body? })
}
