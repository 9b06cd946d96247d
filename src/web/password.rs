//! A new password: changed by its owner, or set through a link.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    http::header,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::WebError,
    flash,
    form::Form,
    page::{Frame, WebResult, add_cookie, see_other, show, show_as, status_of},
    session::Arriving,
    sign_in::{client, safe_next, set_session},
    site::Site,
};
use crate::{
    actions::{
        By, Who,
        credentials::{self, CodeError, NewPassword},
        sign_in,
    },
    chance,
    domain::{names::EmailAddress, password::PasswordError, token::Purpose},
    store::{
        StoreError, accounts, links,
        reset_requests::{self, Asked},
        sessions::Stage,
        sign_in_failures,
    },
};

#[derive(Template)]
#[template(path = "sign_in/forgot.html")]
struct ForgotPage {
    frame: Frame,
    form: Form,
    sent: bool,
}

#[derive(Template)]
#[template(path = "sign_in/reset.html")]
struct ResetPage {
    frame: Frame,
    form: Form,
    email: String,
    action: String,
    shortest: usize,
}

#[derive(Template)]
#[template(path = "sign_in/dead_link.html")]
struct DeadLinkPage {
    frame: Frame,
    words: &'static str,
}

#[derive(Template)]
#[template(path = "profile/password.html")]
struct ChangePage {
    frame: Frame,
    form: Form,
    email: String,
    must: bool,
    shortest: usize,
}

/// `GET /password/forgot`
pub async fn forgot(req: HttpRequest) -> WebResult {
    show(&ForgotPage { frame: Frame::bare(&req), form: Form::default(), sent: false })
}

/// `POST /password/forgot`: the same answer, as soon, whether there is such an account or not.
pub async fn send_link(req: HttpRequest, site: Data<Site>, mut form: Form) -> WebResult {
    form.only(&["email"])?;
    site.slow_down_forgetting(&req)?;
    let Some(email) = form.parse("email", str::parse::<EmailAddress>) else {
        return show_as(status_of(&form), &ForgotPage { frame: Frame::bare(&req), form, sent: false });
    };
    let asked = Asked {
        email: email.canonical(),
        address: site.address(&req).map(|address| address.to_string()).unwrap_or_default(),
        user_agent: site.user_agent(&req),
    };
    // What is written here is the same for every address; whether it has an account is looked up after the answer.
    let is_kept: Result<_, StoreError> = site.write(move |tx| reset_requests::add(tx, &asked)).await;
    if !is_kept? {
        return Err(WebError::Busy);
    }
    show(&ForgotPage { frame: Frame::bare(&req), form, sent: true })
}

/// A page whose address holds a token: no other site learns it, and no search engine keeps it.
pub(super) fn with_token(mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    answer.headers_mut().insert(header::HeaderName::from_static("x-robots-tag"), header::HeaderValue::from_static("noindex"));
    answer
}

/// One answer for used, late and unknown links.
pub(super) fn dead_link(req: &HttpRequest, words: &'static str) -> WebResult {
    show_as(StatusCode::GONE, &DeadLinkPage { frame: Frame::bare(req), words }).map(with_token)
}

const DEAD_RESET: &str = "It may have been used already, be past its hour, or have been replaced by a newer one. Ask for a new link.";

struct ByLink {
    account: accounts::Account,
    second_factor: bool,
    context: Vec<String>,
}

async fn by_link(site: &Site, token: &str) -> Result<Option<ByLink>, WebError> {
    let hash = credentials::link_hash(&site.secrets, Purpose::Reset, token);
    let now = site.clock.now();
    let found: Result<_, StoreError> = site
        .read(move |db| {
            let Some(id) = links::find(db, Purpose::Reset, &hash, now)?.and_then(|link| link.account) else { return Ok(None) };
            let account = accounts::get(db, id)?;
            let second_factor = credentials::has_second_factor(db, &account)?;
            let context = credentials::password_context(db, &account)?;
            Ok(Some(ByLink { account, second_factor, context }))
        })
        .await;
    Ok(found?)
}

fn shortest(second_factor: bool) -> usize {
    if second_factor { crate::domain::password::SHORTEST_WITH_TOTP } else { crate::domain::password::SHORTEST }
}

/// `GET /password/reset/{token}`: shows, and changes nothing.
pub async fn ask_reset(req: HttpRequest, site: Data<Site>, token: Path<String>) -> WebResult {
    site.slow_down(&req)?;
    let Some(found) = by_link(&site, &token).await? else { return dead_link(&req, DEAD_RESET) };
    let page = ResetPage {
        frame: Frame::bare(&req),
        form: Form::default(),
        email: found.account.email,
        action: format!("/password/reset/{token}"),
        shortest: shortest(found.second_factor),
    };
    show(&page).map(with_token)
}

/// `POST /password/reset/{token}`
pub async fn reset(req: HttpRequest, site: Data<Site>, token: Path<String>, mut form: Form) -> WebResult {
    form.only(&["new_password", "email"])?;
    site.slow_down(&req)?;
    let Some(found) = by_link(&site, &token).await? else { return dead_link(&req, DEAD_RESET) };
    let ByLink { account, second_factor, context } = found;
    match new_password(&site, form.text("new_password"), second_factor, context).await? {
        Ok(new) => {
            let name = account.name.clone();
            let by =
                By { who: Who::Link(name), address: site.address(&req), user_agent: site.user_agent(&req), now: site.clock.now(), session: None };
            let token = token.into_inner();
            let set: Result<_, StoreError> = site
                .write(move |tx| {
                    let by = By { now: tx.now(), ..by };
                    credentials::reset_password(tx, &by, &token, &new)
                })
                .await;
            if set?.is_none() {
                return dead_link(&req, DEAD_RESET);
            }
            let mut answer = see_other(&Frame::bare(&req), "/login");
            add_cookie(&mut answer, &flash::cookie(&site, "The new password is set. Sign in with it."))?;
            Ok(answer)
        }
        Err(wrong) => {
            form.wrong("new_password", wrong);
            let page = ResetPage {
                frame: Frame::bare(&req),
                form,
                email: account.email,
                action: format!("/password/reset/{token}"),
                shortest: shortest(second_factor),
            };
            show_as(StatusCode::UNPROCESSABLE_ENTITY, &page).map(with_token)
        }
    }
}

/// Checks and hashes a password in its turn.
pub(super) async fn new_password(
    site: &Site,
    typed: &str,
    second_factor: bool,
    context: Vec<String>,
) -> Result<Result<NewPassword, PasswordError>, WebError> {
    let typed = typed.to_owned();
    site.hashing(move || NewPassword::make(&typed, second_factor, &context)).await
}

/// Looks at the current password of whoever is signed in, which every change of what one signs in with asks for. A wrong one is
/// counted like at sign-in, and said at its field.
///
/// # Errors
/// The database is away, or too many passwords are being checked.
pub(super) async fn look_at_current(req: &HttpRequest, arriving: &Arriving, form: &mut Form) -> Result<(), WebError> {
    let site = &arriving.site;
    if form.text("current_password").is_empty() {
        form.wrong("current_password", "Enter your password.");
        return Ok(());
    }
    let who = client(site, req, &arriving.account.email_canonical);
    let counted: Result<_, StoreError> = site.write(move |tx| sign_in_failures::attempt(tx, &who.email, &who.network, true)).await;
    let Some(counted) = counted? else {
        form.wrong("current_password", "Too many wrong passwords from here. Wait 15 minutes.");
        return Ok(());
    };
    let (typed, stored) = (form.text("current_password").to_owned(), arriving.account.password_hash.clone());
    let looked = site.hashing(move || sign_in::look_at(&typed, stored.as_deref(), &chance::bytes())).await;
    // What nobody looked at was no wrong password.
    if looked.as_ref().map_or(true, |(matched, _)| *matched) {
        let forgiven: Result<(), StoreError> = site.write(move |tx| sign_in_failures::forgive(tx, counted)).await;
        forgiven?;
    } else {
        form.wrong("current_password", "This is not your password.");
    }
    looked.map(|_| ())
}

async fn change_page(arriving: &Arriving, form: Form) -> Result<ChangePage, WebError> {
    let account = arriving.account.clone();
    let second_factor: Result<bool, StoreError> = arriving.read(move |db| credentials::has_second_factor(db, &account)).await;
    Ok(ChangePage {
        frame: arriving.frame.clone(),
        form,
        email: arriving.account.email.clone(),
        must: arriving.session.stage == Stage::NewPassword,
        shortest: shortest(second_factor?),
    })
}

fn may_change(arriving: &Arriving) -> Result<(), WebError> {
    match arriving.session.stage {
        Stage::Full | Stage::NewPassword => Ok(()),
        Stage::Enrol => Err(WebError::Elsewhere("/profile/totp".into())),
        Stage::Code => Err(WebError::SignIn),
    }
}

/// `GET /profile/password`
pub async fn ask_change(req: HttpRequest, arriving: Arriving) -> WebResult {
    may_change(&arriving)?;
    let form = Form::from_query(&req)?;
    show(&change_page(&arriving, form).await?)
}

/// `POST /profile/password`
pub async fn change(req: HttpRequest, arriving: Arriving, mut form: Form) -> WebResult {
    form.only(&["current_password", "new_password", "totp", "email", "next"])?;
    may_change(&arriving)?;
    look_at_current(&req, &arriving, &mut form).await?;
    if form.has_errors() {
        return show_as(status_of(&form), &change_page(&arriving, form).await?);
    }
    let account = arriving.account.clone();
    let known: Result<_, StoreError> =
        arriving.read(move |db| Ok((credentials::has_second_factor(db, &account)?, credentials::password_context(db, &account)?))).await;
    let (second_factor, context) = known?;
    let new = match new_password(&arriving.site, form.text("new_password"), second_factor, context).await? {
        Ok(new) => new,
        Err(wrong) => {
            form.wrong("new_password", wrong);
            return show_as(status_of(&form), &change_page(&arriving, form).await?);
        }
    };
    let (account, typed) = (arriving.account.clone(), form.text("totp").to_owned());
    let changed: Result<_, StoreError> = arriving
        .write(move |tx, by| {
            if account.has_totp()
                && let Err(wrong) = credentials::confirm_code(tx, by, &typed)?
            {
                return Ok(Err(wrong));
            }
            Ok(Ok(credentials::change_password(tx, by, account.id, account.password_hash.as_deref(), &new)?))
        })
        .await;
    match changed? {
        Ok(Some(opened)) => {
            let next = safe_next(form.text("next")).unwrap_or("/profile").to_owned();
            let mut answer = see_other(&arriving.frame, &next);
            set_session(&arriving.site, &mut answer, &opened)?;
            add_cookie(&mut answer, &flash::cookie(&arriving.site, "Password changed. All other sessions have ended."))?;
            Ok(answer)
        }
        Ok(None) => {
            form.wrong("current_password", "The password was changed a moment ago, elsewhere.");
            show_as(status_of(&form), &change_page(&arriving, form).await?)
        }
        Err(CodeError::Ended) => Err(WebError::SignIn),
        Err(wrong) => {
            form.wrong("totp", wrong);
            show_as(status_of(&form), &change_page(&arriving, form).await?)
        }
    }
}
