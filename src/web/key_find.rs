//! Finding a key by a whole token. The token comes in a POST and is shown nowhere.

use actix_web::http::StatusCode;
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_facts::{self, KeyFacts, Used, expiry_words, used_words},
    key_refused::list_link,
    key_token::instead_of_main,
    page::{Frame, Link, Question, WebResult, ask, show},
    session::Member,
};
use crate::{
    domain::{
        key::{SecretFacts, Status},
        time::{date_time, left},
        verdict::Presented,
    },
    store::StoreError,
    verify,
};

#[derive(Template)]
#[template(path = "keys/find.html")]
struct FindBody<'a> {
    form: &'a Form,
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
#[template(path = "keys/found.html", blocks = ["found"])]
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
///
/// # Errors
/// See [`WebError`].
pub async fn form(member: Member) -> WebResult {
    ask_for_token(&member, &Form::default())
}

fn ask_for_token(member: &Member, form: &Form) -> WebResult {
    let list = list_link(member);
    let question = Question {
        asks: "Find a key by its token".into(),
        action: member.url("/keys/find"),
        submit: "Find key".into(),
        cancel: list.url.clone(),
        crumbs: vec![list],
        ..Question::default()
    };
    ask(&member.frame, &question, form, &FindBody { form })
}

/// Shows what was found: as a page, or in place of the one that htmx asked from.
fn answer(member: &Member, page: &FoundPage) -> WebResult {
    if member.frame.fragment {
        return Ok(instead_of_main(StatusCode::OK, &page.as_found().render()?, &page.again));
    }
    show(page)
}

/// Says whose token it is.
pub async fn find(member: Member, mut form: Form) -> WebResult {
    form.only(&["token"])?;
    let token = form.text("token").trim().to_owned();
    if token.is_empty() {
        form.wrong("token", "Enter a token.");
        return ask_for_token(&member, &form);
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
    let said = say(&member, &facts, presented);
    let found = tell(&member, &facts, presented, said.secret);
    let list = list_link(&member);
    let page = FoundPage {
        frame: member.frame.clone(),
        crumbs: vec![list.clone(), Link::new("Find by token", member.url("/keys/find"))],
        again: member.url("/keys/find"),
        back: list.url,
        title: said.title,
        tone: said.tone,
        symbol: said.symbol,
        lead: said.lead.into(),
        words: said.words,
        code: said.code,
        found: Some(found),
    };
    answer(&member, &page)
}

/// What is said of a token that belongs to a key.
struct Said<'a> {
    /// Its secret; `None` where it is too old to be known.
    secret: Option<&'a SecretFacts>,
    title: &'static str,
    tone: &'static str,
    symbol: &'static str,
    lead: &'static str,
    words: String,
    code: &'static str,
}

fn say<'a>(member: &Member, facts: &'a KeyFacts, presented: Presented) -> Said<'a> {
    let (key, tenant, now) = (&facts.key, &member.acting.tenant, member.by().now);
    let is_open = key.life.revoked_at.is_none()
        && key.life.disabled_at.is_none()
        && !key.life.is_past_grace(&tenant.grace, now)
        && tenant.settings.keys_enabled
        && tenant.suspended_at.is_none()
        && facts.owner.is_active();
    let old = key.old.as_ref().filter(|_| presented == Presented::Old);
    let overlap = old.filter(|old| old.stops_at > now);
    match (presented, overlap) {
        (Presented::Current, _) if is_open => Said {
            secret: Some(&key.current),
            title: "This token works",
            tone: "ok",
            symbol: "circle-check",
            lead: "The secret is current",
            words: "Requests with this token are accepted. If you found it where it should not be, roll the key now and say that it was leaked."
                .into(),
            code: "",
        },
        (Presented::Old, Some(old)) if is_open => Said {
            secret: Some(&old.secret),
            title: "This token still works",
            tone: "warn",
            symbol: "hourglass",
            lead: "The secret is in overlap",
            words: format!(
                "It was replaced on {} and works until {}, {} more. Programs that hold it must move to the new token before then.",
                date_time(old.replaced_at),
                date_time(old.stops_at),
                left(old.stops_at, now)
            ),
            code: "",
        },
        (Presented::Current, _) | (Presented::Old, Some(_)) => Said {
            secret: old.map_or(Some(&key.current), |old| Some(&old.secret)),
            title: "This token is refused",
            tone: "mute",
            symbol: "circle-x",
            lead: "The secret is right, but the key does not work",
            words: "See the key for the reason. If you found the token where it should not be, roll or revoke the key before it is brought back."
                .into(),
            code: "",
        },
        _ => Said {
            secret: old.map(|old| &old.secret),
            title: "This token is dead",
            tone: "mute",
            symbol: "circle-x",
            lead: "The secret was replaced",
            words: format!(
                "It belongs to a key of this tenant but stopped working{}. Nothing has to be done about it.",
                old.map(|old| format!(" on {}", date_time(old.stops_at))).unwrap_or_default()
            ),
            code: "rolled",
        },
    }
}

fn tell(member: &Member, facts: &KeyFacts, presented: Presented, secret: Option<&SecretFacts>) -> Found {
    let (key, grace, now) = (&facts.key, &member.acting.tenant.grace, member.by().now);
    let allowed = facts.allowed(&member.acting, now);
    let in_overlap = presented == Presented::Old && key.overlap(now).is_some();
    Found {
        name: key.name.to_string(),
        id: key.id.to_string(),
        url: facts.url(member, ""),
        owner: facts.owner.name.clone(),
        status: match (key.life.status(now), key.life.expires_at) {
            (Status::Active, Some(_)) => format!("Active, expires {}", expiry_words(key.life.expires_at, grace, now)),
            (Status::Active, None) => "Active, never expires".into(),
            (Status::Expired, _) => format!("Expired {}", expiry_words(key.life.expires_at, grace, now)),
            (status, _) => status.word().into(),
        },
        made: secret.map(|secret| format!("{}, by {}", date_time(secret.made_at), secret.made_by)).unwrap_or_default(),
        used: secret.map(|secret| used_words(secret.last_used.as_ref(), now)),
        roll: allowed.roll && presented == Presented::Current,
        finish: allowed.finish && in_overlap,
        revoke: allowed.revoke && (presented == Presented::Current || in_overlap),
    }
}

fn unknown(member: &Member) -> WebResult {
    let list = list_link(member);
    let page = FoundPage {
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
    };
    answer(member, &page)
}
