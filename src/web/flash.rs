//! One sentence that the next page says once: kept in a cookie, with a keyed hash so that nobody else can put words there.

use actix_web::{HttpRequest, cookie::Cookie, web::Data};

use super::site::{CookieName, Site};

/// Carries `words` to the next page.
pub fn cookie(site: &Site, words: &str) -> Cookie<'static> {
    // Cookies are read with their %-escapes undone and are written as they are, so only `%20` comes back as a space.
    let text = serde_urlencoded::to_string([("", words)]).unwrap_or_default().replace('+', "%20");
    site.make_cookie(CookieName::Flash, format!("{}.{}", hash(site, words), text.trim_start_matches('=')), None)
}

/// The sentence that the page before left.
pub fn read(req: &HttpRequest) -> Option<String> {
    let site = req.app_data::<Data<Site>>()?;
    let value = site.cookie_of(req, CookieName::Flash)?;
    let (given, words) = value.split_once('.')?;
    (given == hash(site, words)).then(|| words.to_owned())
}

fn hash(site: &Site, words: &str) -> String {
    super::guard::hex(&site.secrets.keyed("flash", words.as_bytes())[..16])
}
