//! What follows a change of one key: the page that the browser is on, brought up to date, with one sentence that says what was done.

use actix_web::HttpRequest;

use super::{
    key_facts::KeyFacts,
    key_refused, keys,
    page::{WebResult, done, done_in},
    session::Member,
};

/// Where a question was asked from.
enum From {
    /// The grid, with its query.
    Grid(String),
    /// The member's own keys.
    Own(String),
    /// The key's page, or a question that is a page of its own.
    Key,
}

/// Brings the list up to date that htmx shows, else leads to the key's page.
pub async fn changed(member: &Member, req: &HttpRequest, facts: &KeyFacts, words: &str) -> WebResult {
    after(member, req, words, &facts.url(member, "")).await
}

/// The same after the key is gone.
pub async fn gone(member: &Member, req: &HttpRequest, words: &str) -> WebResult {
    after(member, req, words, &key_refused::list_link(member).url).await
}

async fn after(member: &Member, req: &HttpRequest, words: &str, otherwise: &str) -> WebResult {
    match asked_from(member, req) {
        From::Grid(query) => Ok(done_in(words, "#grid", keys::fragments(member, &query).await?)),
        From::Own(url) => done(&member.site, &member.frame, words, &url),
        From::Key => done(&member.site, &member.frame, words, otherwise),
    }
}

fn asked_from(member: &Member, req: &HttpRequest) -> From {
    let current = req.headers().get("hx-current-url").and_then(|url| url.to_str().ok()).filter(|_| member.frame.fragment);
    let Some(path) = current.and_then(|url| url.strip_prefix(&member.site.origin())) else { return From::Key };
    let path = path.split('#').next().unwrap_or_default();
    match path.split_once('?').unwrap_or((path, "")) {
        (bare, query) if bare == member.url("/keys") => From::Grid(query.to_owned()),
        ("/profile", _) => From::Own(path.to_owned()),
        _ => From::Key,
    }
}
