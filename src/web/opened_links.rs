//! The links of expiry notices that a browser has opened lately. Their tokens go from the address into a cookie, and the page stands
//! under the number of the notice: so no token stays in an address bar, in the history, or on a screen that others see.

use actix_web::{HttpRequest, cookie::time::Duration};

use super::{
    page::{Frame, WebResult, add_cookie, see_other},
    password::with_token,
    site::{CookieName, Site},
};
use crate::domain::token::{Purpose, Token};

/// How many links are kept: who opens several of one mail has a page for each.
const KEPT: usize = 8;
/// How long they are kept.
const KEPT_FOR: Duration = Duration::hours(1);

/// The address of a link's page.
pub(super) fn address(notice: i64) -> String {
    format!("/extend/open/{notice}")
}

/// The tokens that a browser has kept, newest first.
fn kept(req: &HttpRequest, site: &Site) -> Vec<String> {
    let all = site.cookie_of(req, CookieName::Links).unwrap_or_default();
    all.split('.').filter(|text| Token::parse(Purpose::Extend, text).is_some()).take(KEPT).map(str::to_owned).collect()
}

/// Has the browser keep the token of a notice, and leads it to the page without it; `end` is what follows the number.
///
/// # Errors
/// The cookie cannot be written.
pub(super) fn keep(req: &HttpRequest, site: &Site, token: &str, notice: i64, end: &str) -> WebResult {
    let mut all = vec![token.to_owned()];
    all.extend(kept(req, site).into_iter().filter(|other| other != token).take(KEPT - 1));
    let mut cookie = site.make_cookie(CookieName::Links, all.join("."), None);
    cookie.set_max_age(KEPT_FOR);
    let mut answer = with_token(see_other(&Frame::bare(req), &format!("{}{end}", address(notice))));
    add_cookie(&mut answer, &cookie)?;
    Ok(answer)
}

/// The token of a notice, where this browser has kept it.
pub(super) fn find(req: &HttpRequest, site: &Site, notice: i64) -> Option<String> {
    kept(req, site).into_iter().find(|text| Token::parse(Purpose::Extend, text).and_then(|token| token.row()) == Some(notice))
}
