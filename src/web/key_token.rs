//! The one page that shows a token. It is the direct answer to the POST that made it: nothing keeps the token for a redirect.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use askama::Template;

use super::{
    page::{Frame, WebResult, html},
    session::Member,
};
use crate::domain::{ids::KeyId, token::Token};

/// A line below the token: what, in words, and whether in mono.
pub struct Fact(pub &'static str, pub Vec<String>, pub bool);

#[derive(Template)]
#[template(path = "keys/token.html", blocks = ["token"])]
struct TokenPage<'a> {
    frame: Frame,
    lead: String,
    token: &'a str,
    id: &'a str,
    secret: &'a str,
    url: String,
    facts: Vec<Fact>,
}

/// Shows the token of a key, which is stored by now: this page needs nothing more from the database, for there is no second one.
pub fn show(member: &Member, id: KeyId, token: &Token, lead: String, list: Vec<Fact>, status: StatusCode) -> WebResult {
    let url = member.url(&format!("/keys/{id}"));
    let page = TokenPage {
        frame: member.frame.clone(),
        lead,
        token: token.reveal(),
        id: id.as_str(),
        secret: token.reveal_secret(),
        url: url.clone(),
        facts: list,
    };
    if !member.frame.fragment {
        return Ok(html(status, page.render()?));
    }
    Ok(instead_of_main(status, &page.as_token().render()?, &url))
}

/// Answers htmx with what takes the place of the whole page; a reload then opens `url`.
pub fn instead_of_main(status: StatusCode, text: &str, url: &str) -> HttpResponse {
    let mut answer = html(status, format!("<main id=\"main\" tabindex=\"-1\" class=\"narrow\">{text}</main>"));
    let headers = answer.headers_mut();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = header::HeaderValue::from_str(value) {
            headers.insert(header::HeaderName::from_static(name), value);
        }
    };
    set("hx-retarget", "#main");
    set("hx-reswap", "outerHTML");
    set("hx-push-url", url);
    set("hx-trigger", "{\"dialogClose\":true}");
    answer
}
