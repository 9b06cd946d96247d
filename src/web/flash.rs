//! One sentence that the next page says once: kept in a cookie, with a keyed hash so that nobody else can put words there.

use actix_web::{HttpRequest, cookie::Cookie, web::Data};

use super::site::{CookieName, Site};

/// Carries `words` to the next page.
pub fn cookie(site: &Site, words: &str) -> Cookie<'static> {
    let text = serde_urlencoded::to_string([("m", words)]).unwrap_or_default();
    site.make_cookie(CookieName::Flash, format!("{}.{text}", hash(site, &text)), None)
}

/// The sentence that the page before left.
pub fn read(req: &HttpRequest) -> Option<String> {
    let site = req.app_data::<Data<Site>>()?;
    let value = site.cookie_of(req, CookieName::Flash)?;
    let (given, text) = value.split_once('.')?;
    if given != hash(site, text) {
        return None;
    }
    serde_urlencoded::from_str::<Vec<(String, String)>>(text).ok()?.into_iter().next().map(|(_, words)| words)
}

fn hash(site: &Site, text: &str) -> String {
    super::guard::hex(&site.secrets.keyed("flash", text.as_bytes())[..16])
}
