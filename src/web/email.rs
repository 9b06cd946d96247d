//! A new e-mail address: asked for with the password, told to the old one, and confirmed through a link in a mail to the new one.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Data, Path},
};
use askama::Template;

use super::{
    error::WebError,
    flash,
    form::Form,
    page::{Frame, WebResult, add_cookie, done, see_other, show, show_as, status_of},
    password::{dead_link, look_at_current, with_token},
    session::{Arriving, SignedIn},
    site::Site,
};
use crate::{
    actions::{
        By, Who,
        address::{self, Confirmed},
        credentials::{self, CodeError},
    },
    domain::names::EmailAddress,
    store::{StoreError, links},
};

#[derive(Template)]
#[template(path = "profile/email.html")]
struct AskPage {
    frame: Frame,
    form: Form,
    email: String,
}

#[derive(Template)]
#[template(path = "profile/email_confirm.html")]
struct ConfirmPage {
    frame: Frame,
    email: String,
    action: String,
}

const DEAD: &str = "It may have been used already, be past its day, or have been replaced by a newer one. Ask for a new one on your profile page.";

fn page(person: &Arriving, form: Form) -> AskPage {
    AskPage { frame: person.frame.clone(), form, email: person.account.email.clone() }
}

/// `GET /profile/email`
pub async fn ask(person: SignedIn) -> WebResult {
    show(&page(&person, Form::default()))
}

/// `POST /profile/email`
pub async fn send(req: HttpRequest, person: SignedIn, mut form: Form) -> WebResult {
    form.only(&["email", "current_password", "totp"])?;
    person.site.slow_down(&req)?;
    let email = form.parse("email", str::parse::<EmailAddress>);
    if email.as_ref().is_some_and(|email| email.canonical() == person.account.email_canonical) {
        form.wrong("email", "This is your address already.");
    }
    look_at_current(&req, &person, &mut form).await?;
    let Some(email) = email.filter(|_| !form.has_errors()) else { return show_as(status_of(&form), &page(&person, form)) };
    let (account, typed, to) = (person.account.clone(), form.text("totp").to_owned(), email.to_string());
    let asked: Result<_, StoreError> = person
        .write(move |tx, by| {
            if account.has_totp()
                && let Err(wrong) = credentials::confirm_code(tx, by, &typed)?
            {
                return Ok(Err(wrong));
            }
            address::ask(tx, by, &account, &email).map(Ok)
        })
        .await;
    match asked? {
        Ok(()) => done(
            &person.site,
            &person.frame,
            &format!("Open the link in the mail to {to} to confirm it. Until then everything stays as it is."),
            &person.frame.profile,
        ),
        Err(CodeError::Ended) => Err(WebError::SignIn),
        Err(wrong) => {
            form.wrong("totp", wrong);
            show_as(StatusCode::UNPROCESSABLE_ENTITY, &page(&person, form))
        }
    }
}

/// `GET /profile/email/{token}`: shows, and changes nothing.
pub async fn ask_confirm(req: HttpRequest, site: Data<Site>, token: Path<String>) -> WebResult {
    site.slow_down(&req)?;
    let hash = address::hash(&site.secrets, &token);
    let now = site.clock.now();
    let found: Result<_, StoreError> = site.read(move |db| links::address(db, &hash, now)).await;
    let Some((_, email)) = found? else { return dead_link(&req, DEAD) };
    show(&ConfirmPage { frame: Frame::bare(&req), email, action: format!("/profile/email/{token}") }).map(with_token)
}

/// `POST /profile/email/{token}`
pub async fn confirm(req: HttpRequest, site: Data<Site>, token: Path<String>, mut form: Form) -> WebResult {
    form.only(&[])?;
    site.slow_down(&req)?;
    let by = By {
        who: Who::Link("The new address".into()),
        address: site.address(&req),
        user_agent: site.user_agent(&req),
        now: site.clock.now(),
        session: None,
    };
    let confirmed: Result<_, StoreError> = site
        .write(move |tx| {
            let by = By { now: tx.now(), ..by };
            address::confirm(tx, &by, &token)
        })
        .await;
    match confirmed? {
        Confirmed::Changed => {
            let mut answer = see_other(&Frame::bare(&req), "/login");
            add_cookie(&mut answer, &flash::cookie(&site, "The address is confirmed. Sign in with it from now on."))?;
            Ok(answer)
        }
        Confirmed::Dead => dead_link(&req, DEAD),
    }
}
