//! What follows a change of one key: the page that the browser is on, brought up to date, with one sentence that says what was done.

use actix_web::HttpRequest;

use super::{
    key_facts::KeyFacts,
    key_refused,
    page::{WebResult, done},
    session::Member,
};

/// Leads back to where the question was asked from: the list that htmx shows, else the key's page.
pub fn changed(member: &Member, req: &HttpRequest, facts: &KeyFacts, words: &str) -> WebResult {
    let url = list_shown(member, req).unwrap_or_else(|| facts.url(member, ""));
    done(&member.site, &member.frame, words, &url)
}

/// The same after the key is gone.
pub fn gone(member: &Member, req: &HttpRequest, words: &str) -> WebResult {
    let url = list_shown(member, req).unwrap_or_else(|| key_refused::list_link(member).url);
    done(&member.site, &member.frame, words, &url)
}

/// The list, with its filter, that htmx asks from.
fn list_shown(member: &Member, req: &HttpRequest) -> Option<String> {
    let current = req.headers().get("hx-current-url")?.to_str().ok()?;
    let path = current.strip_prefix(&member.site.origin())?;
    let bare = path.split(['?', '#']).next()?;
    let is_list = bare == member.url("/keys") || bare == "/profile";
    (is_list && path.starts_with('/') && !path.starts_with("//")).then(|| path.split('#').next().unwrap_or(path).to_owned())
}
