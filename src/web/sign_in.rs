//! Signing in and out.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::Data,
};
use askama::Template;

use super::{
    error::WebError,
    flash,
    form::Form,
    guard,
    page::{Frame, WebResult, add_cookie, see_other, show, show_as, status_of},
    session::{Arriving, SignedIn, anyone},
    site::{CookieName, Site},
};
use crate::{
    actions::{
        By, Who,
        credentials::CodeError,
        sign_in::{self, Client, Opened},
    },
    chance,
    store::{StoreError, sessions::Stage},
};

/// How long a browser is known to an account that has signed in with it, in days.
const KNOWN_FOR: i64 = 400;

#[derive(Template)]
#[template(path = "sign_in/password.html")]
struct PasswordPage {
    frame: Frame,
    form: Form,
}

#[derive(Template)]
#[template(path = "sign_in/code.html")]
struct CodePage {
    frame: Frame,
    form: Form,
    email: String,
    recovery: bool,
}

/// A path of this site that may follow a form, and nothing else.
pub fn safe_next(text: &str) -> Option<&str> {
    let plain = text.starts_with('/') && !text.starts_with("//") && !text.contains('\\') && text.len() <= 2_000;
    let good = plain && text.bytes().all(|b| b.is_ascii_graphic()) && !["/login", "/logout", "/setup"].iter().any(|path| text.starts_with(path));
    good.then_some(text)
}

/// The address `path`, with where to go after it.
pub fn with_next(path: &str, next: &str) -> String {
    match safe_next(next) {
        Some(next) => format!("{path}?{}", serde_urlencoded::to_string([("next", next)]).unwrap_or_default()),
        None => path.to_owned(),
    }
}

/// `GET /`
pub async fn root(person: SignedIn) -> WebResult {
    Ok(see_other(&person.frame, &person.frame.home))
}

/// `GET /login`
pub async fn ask_password(req: HttpRequest) -> WebResult {
    let mut form = Form::from_query(&req)?;
    form.only(&["next"])?;
    if safe_next(form.text("next")).is_none() && anyone(&req).await.is_some() {
        return Ok(see_other(&Frame::bare(&req), "/"));
    }
    show(&PasswordPage { frame: Frame::bare(&req), form })
}

fn by_visitor(site: &Site, req: &HttpRequest) -> By {
    By { who: Who::System, address: site.address(req), user_agent: site.user_agent(req), now: site.clock.now(), session: None }
}

pub(super) fn client(site: &Site, req: &HttpRequest, email: &str) -> Client {
    let email = email.trim().to_lowercase().chars().take(254).collect();
    Client { email, network: sign_in::network(site.address(req)), browser: site.cookie_of(req, CookieName::Known) }
}

/// `POST /login`
pub async fn password(req: HttpRequest, site: Data<Site>, mut form: Form) -> WebResult {
    form.only(&["email", "password", "next"])?;
    let frame = Frame::bare(&req);
    if form.text("email").trim().is_empty() {
        form.wrong("email", "Enter your e-mail.");
    }
    if form.text("password").is_empty() {
        form.wrong("password", "Enter your password.");
    }
    if form.has_errors() {
        return show_as(status_of(&form), &PasswordPage { frame, form });
    }
    let (by, who) = (by_visitor(&site, &req), client(&site, &req, form.text("email")));
    let attempt = {
        let who = who.clone();
        site.write(move |tx| sign_in::attempt(tx, &who)).await.map_err(|error: StoreError| WebError::from(error))?
    };
    let typed = form.text("password").to_owned();
    let stored = attempt.account.as_ref().and_then(|account| account.password_hash.clone());
    let (matched, stronger) = match site.hashing(move || sign_in::look_at(&typed, stored.as_deref(), &chance::bytes())).await {
        Ok(looked) => looked,
        Err(busy) => {
            let taken_back: Result<(), StoreError> = site.write(move |tx| sign_in::take_back(tx, &attempt)).await;
            return Err(taken_back.map_or_else(WebError::from, |()| busy));
        }
    };
    let opened = site
        .write(move |tx| {
            let by = By { now: tx.now(), ..by };
            sign_in::with_password(tx, &by, &who, &attempt, matched, stronger.as_deref())
        })
        .await
        .map_err(|error: StoreError| WebError::from(error))?;
    match opened {
        Some(opened) => go_on(&site, &frame, &opened, form.text("next")),
        None => {
            form.wrong("email", "E-mail or password is not right. After several tries, wait 15 minutes.");
            show_as(StatusCode::UNPROCESSABLE_ENTITY, &PasswordPage { frame, form })
        }
    }
}

/// Gives the browser its new session.
pub(super) fn set_session(site: &Site, answer: &mut HttpResponse, opened: &Opened) -> Result<(), WebError> {
    add_cookie(answer, &site.make_cookie(CookieName::Session, opened.cookie.clone(), None))?;
    if let Some(browser) = &opened.browser {
        add_cookie(answer, &site.make_cookie(CookieName::Known, browser.clone(), Some(KNOWN_FOR)))?;
    }
    Ok(())
}

/// Leads on to what the sign-in still asks for, else to where the person wanted to go.
fn go_on(site: &Site, frame: &Frame, opened: &Opened, next: &str) -> WebResult {
    let url = match opened.stage {
        Stage::Code => with_next("/login/code", next),
        Stage::Enrol => with_next("/profile/totp", next),
        Stage::NewPassword => with_next("/profile/password", next),
        Stage::Full => safe_next(next).unwrap_or("/").to_owned(),
    };
    let mut answer = see_other(frame, &url);
    set_session(site, &mut answer, opened)?;
    Ok(answer)
}

fn code_page(arriving: &Arriving, form: Form) -> CodePage {
    let mut frame = arriving.frame.clone();
    frame.person = None;
    CodePage { frame, email: arriving.account.email.clone(), recovery: form.text("with") == "recovery", form }
}

/// `GET /login/code`
pub async fn ask_code(req: HttpRequest, arriving: Arriving) -> WebResult {
    let mut form = Form::from_query(&req)?;
    form.only(&["next", "with"])?;
    if arriving.session.stage != Stage::Code {
        return Ok(see_other(&arriving.frame, "/"));
    }
    show(&code_page(&arriving, form))
}

/// `POST /login/code`
pub async fn code(req: HttpRequest, arriving: Arriving, mut form: Form) -> WebResult {
    form.only(&["totp", "next", "with"])?;
    let site = &arriving.site;
    if arriving.session.stage != Stage::Code {
        return Ok(see_other(&arriving.frame, "/"));
    }
    let who = client(site, &req, &arriving.account.email_canonical);
    let (typed, session) = (form.text("totp").to_owned(), arriving.session.id);
    let result =
        arriving.write(move |tx, by| sign_in::with_code(tx, by, &who, &session, &typed)).await.map_err(|error: StoreError| WebError::from(error))?;
    match result {
        Ok(opened) => go_on(site, &arriving.frame, &opened, form.text("next")),
        Err(CodeError::Ended) => {
            let mut answer = see_other(&arriving.frame, "/login");
            add_cookie(&mut answer, &flash::cookie(site, "Too many wrong codes. Wait 15 minutes, then sign in again."))?;
            add_cookie(&mut answer, &site.drop_cookie(CookieName::Session))?;
            Ok(answer)
        }
        Err(error) => {
            form.wrong("totp", error);
            show_as(status_of(&form), &code_page(&arriving, form))
        }
    }
}

/// `POST /logout`
pub async fn out(arriving: Arriving) -> WebResult {
    let account = arriving.account.clone();
    arriving.write(move |tx, by| sign_in::out(tx, by, &account)).await.map_err(|error: StoreError| WebError::from(error))?;
    let mut answer = see_other(&arriving.frame, "/login");
    answer.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), header::HeaderValue::from_static("\"cache\", \"storage\""));
    add_cookie(&mut answer, &arriving.site.drop_cookie(CookieName::Session))?;
    add_cookie(&mut answer, &flash::cookie(&arriving.site, "You have signed out."))?;
    Ok(answer)
}

/// `POST /profile/theme`: with a session or without.
pub async fn theme(req: HttpRequest, site: Data<Site>, mut form: Form) -> WebResult {
    form.only(&["theme", "next"])?;
    let theme = ["system", "light", "dark"].into_iter().find(|known| *known == form.text("theme"));
    let theme = theme.ok_or_else(|| WebError::BadRequest("There is no such theme.".into()))?;
    let mut look = site.look(&req);
    look.theme = theme.to_owned();
    if let Some(id) = anyone(&req).await {
        let saved: Result<(), StoreError> = site
            .write(move |tx| {
                let account = crate::store::accounts::get(tx, id)?;
                crate::store::accounts::set_look(tx, id, theme, account.shortcuts, &account.time_zone)
            })
            .await;
        saved?;
    }
    let mut answer = see_other(&Frame::bare(&req), safe_next(form.text("next")).unwrap_or("/"));
    add_cookie(&mut answer, &site.look_cookie(&look))?;
    Ok(answer)
}

/// A page that is the direct answer to a post which renewed the session: its forms belong to the new one.
pub(super) fn frame_after(site: &Site, frame: &Frame, opened: &Opened) -> Frame {
    Frame { csrf: guard::token_for(site, &opened.cookie), has_totp: true, ..frame.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_follow() {
        assert_eq!(safe_next("/t/acme/keys?status=active"), Some("/t/acme/keys?status=active"));
        for bad in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb", "/login?next=/", "/logout", "javascript:alert(1)"] {
            assert_eq!(safe_next(bad), None, "{bad}");
        }
    }
}
