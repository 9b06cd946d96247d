//! Finding a key by a whole token. The token comes in a POST and is shown nowhere.

use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_facts::{self, Used, expiry_words, used_words},
    key_refused::list_link,
    page::{Frame, Link, WebResult, show, show_as, status_of},
    session::Member,
};
use crate::{
    domain::{
        key::Status,
        time::{date_time, left},
        verdict::Presented,
    },
    store::StoreError,
    verify,
};

#[derive(Template)]
#[template(path = "keys/find.html")]
struct FindPage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    action: String,
    back: String,
}

/// The key that a token belongs to.
struct Found {
    name: String,
    id: String,
    url: String,
    owner: String,
    status: String,
    /// When its secret was made, and by whom; empty where it is too old to be known.
    made: String,
    used: Option<Used>,
    roll: bool,
    finish: bool,
    revoke: bool,
}

#[derive(Template)]
#[template(path = "keys/found.html")]
struct FoundPage {
    frame: Frame,
    crumbs: Vec<Link>,
    again: String,
    back: String,
    title: &'static str,
    tone: &'static str,
    symbol: &'static str,
    lead: String,
    words: String,
    code: &'static str,
    found: Option<Found>,
}

/// The form.
pub async fn form(member: Member) -> WebResult {
    show_form(&member, Form::default())
}

fn show_form(member: &Member, form: Form) -> WebResult {
    let list = list_link(member);
    let status = status_of(&form);
    show_as(status, &FindPage { frame: member.frame.clone(), form, crumbs: vec![list.clone()], action: member.url("/keys/find"), back: list.url })
}

/// Says whose token it is.
pub async fn find(member: Member, mut form: Form) -> WebResult {
    form.only(&["token"])?;
    let token = form.text("token").trim().to_owned();
    if token.is_empty() {
        form.wrong("token", "Enter a token.");
        return show_form(&member, form);
    }
    let (tenant, secrets) = (member.acting.tenant.id, member.site.secrets.clone());
    let found: Result<_, StoreError> = member.read(move |db, _| verify::find_by_token(db, &secrets, tenant, &token)).await;
    let facts = match found? {
        None => None,
        Some((id, presented)) => match key_facts::find(&member, id.as_str()).await {
            Ok(facts) => Some((facts, presented)),
            // Of a key that the member may not see, not even its existence is told.
            Err(WebError::NotFound) => None,
            Err(error) => return Err(error),
        },
    };
    let Some((facts, presented)) = facts else { return unknown(&member) };
    let (key, now) = (&facts.key, member.by().now);
    let tenant = &member.acting.tenant;
    let works = key.life.revoked_at.is_none()
        && key.life.disabled_at.is_none()
        && !key.life.is_past_grace(&tenant.grace, now)
        && tenant.settings.keys_enabled
        && tenant.suspended_at.is_none()
        && facts.owner.is_active();
    let overlap = (presented == Presented::Old).then(|| key.overlap(now)).flatten();
    let old = key.old.as_ref().filter(|_| presented == Presented::Old);
    let (secret, title, tone, symbol, lead, words, code) = match (presented, overlap) {
        (Presented::Current, _) if works => (
            Some(&key.current),
            "This token works",
            "ok",
            "circle-check",
            "The secret is current".to_owned(),
            "Requests with this token are accepted. If you found it where it should not be, roll the key now and say that it was leaked.".to_owned(),
            "",
        ),
        (Presented::Old, Some(old)) if works => (
            Some(&old.secret),
            "This token still works",
            "warn",
            "hourglass",
            "The secret is in overlap".to_owned(),
            format!(
                "It was replaced on {} and works until {}, {} more. Programs that hold it must move to the new token before then.",
                date_time(old.replaced_at),
                date_time(old.stops_at),
                left(old.stops_at, now)
            ),
            "",
        ),
        (Presented::Current, _) | (Presented::Old, Some(_)) => (
            old.map_or(Some(&key.current), |old| Some(&old.secret)),
            "This token is refused",
            "mute",
            "circle-x",
            "The secret is right, but the key does not work".to_owned(),
            "See the key for the reason. If you found the token where it should not be, roll or revoke the key before it is brought back.".to_owned(),
            "",
        ),
        _ => {
            let when = old.map(|old| format!(" on {}", date_time(old.stops_at))).unwrap_or_default();
            (
                old.map(|old| &old.secret),
                "This token is dead",
                "mute",
                "circle-x",
                "The secret was replaced".to_owned(),
                format!("It belongs to a key of this tenant but stopped working{when}. Nothing has to be done about it."),
                "rolled",
            )
        }
    };
    let allowed = facts.allowed(&member.acting, now);
    let is_dead = matches!((presented, overlap), (Presented::Dead, _) | (Presented::Old, None));
    let status = key.life.status(now);
    let found = Found {
        name: key.name.to_string(),
        id: key.id.to_string(),
        url: facts.url(&member, ""),
        owner: facts.owner.name.clone(),
        status: match (status, key.life.expires_at) {
            (Status::Active, Some(_)) => format!("Active, expires {}", expiry_words(key.life.expires_at, &tenant.grace, now)),
            (Status::Active, None) => "Active, never expires".into(),
            (Status::Expired, _) => format!("Expired {}", expiry_words(key.life.expires_at, &tenant.grace, now)),
            (status, _) => status.word().into(),
        },
        made: secret.map(|secret| format!("{}, by {}", date_time(secret.made_at), secret.made_by)).unwrap_or_default(),
        used: secret.map(|secret| used_words(secret.last_used.as_ref(), now)),
        roll: allowed.roll && presented == Presented::Current,
        finish: allowed.finish && overlap.is_some(),
        revoke: allowed.revoke && !is_dead,
    };
    let list = list_link(&member);
    show(&FoundPage {
        frame: member.frame.clone(),
        crumbs: vec![list.clone(), Link::new("Find by token", member.url("/keys/find"))],
        again: member.url("/keys/find"),
        back: list.url,
        title,
        tone,
        symbol,
        lead,
        words,
        code,
        found: Some(found),
    })
}

fn unknown(member: &Member) -> WebResult {
    let list = list_link(member);
    show(&FoundPage {
        frame: member.frame.clone(),
        crumbs: vec![list.clone(), Link::new("Find by token", member.url("/keys/find"))],
        again: member.url("/keys/find"),
        back: list.url,
        title: "No key has this token",
        tone: "mute",
        symbol: "search-x",
        lead: format!("Not a token of {} that you may see", member.acting.tenant.name),
        words: "It is mistyped or cut, its key was deleted, or it belongs elsewhere.".into(),
        code: "not_found",
        found: None,
    })
}
