//! What is answered where something is not done to a key: in words, and with the way on.

use actix_web::http::StatusCode;
use askama::Template;

use super::{
    error::WebError,
    key_facts::{self, KeyFacts},
    key_token::instead_of_main,
    page::{Frame, Link, Refusal, WebResult, html, refuse},
    session::Member,
};
use crate::{actions::keys::KeyError, domain::permission::Permission};

/// Where the member's list of keys is.
pub fn list_link(member: &Member) -> Link {
    if member.may(Permission::KeysReadAny) {
        Link::new("API keys", member.url("/keys"))
    } else {
        Link::new("My API keys", format!("/profile?tenant={}", member.acting.tenant.slug))
    }
}

/// The pages above a page about one action on a key.
pub fn crumbs(member: &Member, facts: &KeyFacts) -> Vec<Link> {
    vec![list_link(member), Link::new(facts.key.name.as_str(), facts.url(member, ""))]
}

/// What an action refused, where no form can say it better.
pub fn error(error: KeyError) -> WebError {
    match error {
        KeyError::NoSuchKey => WebError::NotFound,
        KeyError::NotAllowed | KeyError::Climb | KeyError::DisabledByAnother(_) => WebError::Forbidden(format!("{error} Nothing was changed.")),
        KeyError::Store(error) => error.into(),
        other => WebError::BadRequest(format!("{other} Nothing was changed.")),
    }
}

/// 409: the state of the key, as it is now, does not allow it.
pub fn by_state(member: &Member, facts: &KeyFacts, words: &str) -> WebResult {
    let mut ways = vec![Link::new("Open key", facts.url(member, ""))];
    if facts.allowed(&member.acting, member.by().now).roll {
        ways.insert(0, Link::new("Roll key", facts.url(member, "/roll")));
    }
    let title = format!("Nothing was done to “{}”", facts.key.name);
    refuse(&member.frame, &Refusal { title, words: words.to_owned(), crumbs: crumbs(member, facts), ways })
}

/// A refusal of an action: 403 and 404 as pages, what the state forbids as 409.
pub fn by_action(member: &Member, facts: &KeyFacts, refusal: KeyError) -> WebResult {
    match refusal {
        KeyError::NoSuchKey | KeyError::NotAllowed | KeyError::Climb | KeyError::DisabledByAnother(_) | KeyError::Store(_) => Err(error(refusal)),
        other => by_state(member, facts, &other.to_string()),
    }
}

#[derive(Template)]
#[template(path = "keys/sent_before.html", blocks = ["again"])]
struct SentBeforePage {
    frame: Frame,
    title: String,
    words: String,
    url: String,
    roll: bool,
}

/// A form that makes a secret arrived again: nothing was made, and the key of the first time is named.
pub async fn sent_before(member: &Member, id: &str) -> WebResult {
    let facts = key_facts::find(member, id).await?;
    let page = SentBeforePage {
        frame: member.frame.clone(),
        title: "This form was sent before".into(),
        words: format!(
            "The token of “{}” was made then and shown once, so nothing was made now. If you did not save it, roll the key to get a new one.",
            facts.key.name
        ),
        url: facts.url(member, ""),
        roll: facts.allowed(&member.acting, member.by().now).roll,
    };
    if member.frame.fragment {
        return Ok(instead_of_main(StatusCode::CONFLICT, &page.as_again().render()?, &page.url));
    }
    Ok(html(StatusCode::CONFLICT, page.render()?))
}
