//! Two-step sign-in: set up by QR code or typed secret, new recovery codes, and taking it away.

use actix_web::{HttpRequest, http::StatusCode};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    page::{Frame, WebResult, done, html, see_other, show, show_as, status_of},
    password::look_at_current,
    session::{Arriving, SignedIn},
    sign_in::{frame_after, safe_next, set_session, with_next},
};
use crate::{
    actions::credentials::{self, CodeError},
    domain::totp::Seed,
    store::{StoreError, accounts::Account, sessions::Stage},
};

#[derive(Template)]
#[template(path = "profile/two_step.html")]
struct TwoStepPage {
    frame: Frame,
    form: Form,
    next: String,
    /// The sign-in asks for it: there is no way around.
    must: bool,
    /// It may not be taken away.
    required: bool,
    /// A secret waits for its first code.
    waiting: Option<Waiting>,
}

struct Waiting {
    qr: Qr,
    typed: String,
}

/// A QR code as one SVG path.
struct Qr {
    width: usize,
    path: String,
}

#[derive(Template)]
#[template(path = "profile/recovery_codes.html")]
struct RecoveryCodesPage {
    frame: Frame,
    codes: Vec<String>,
    next: String,
    enrolled: bool,
}

/// Draws each run of dark modules as one rectangle.
fn qr(text: &str) -> Option<Qr> {
    let code = qrcode::QrCode::new(text.as_bytes()).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let run = row[x..].iter().take_while(|color| **color == qrcode::Color::Dark).count();
            if run > 0 {
                path.push_str(&format!("M{x} {y}h{run}v1h-{run}z"));
            }
            x += run.max(1);
        }
    }
    Some(Qr { width, path })
}

fn waiting(arriving: &Arriving, seed: &Seed) -> Option<Waiting> {
    let typed: Vec<char> = seed.base32().chars().collect();
    let typed = typed.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
    Some(Waiting { qr: qr(&seed.uri(&arriving.account.email))?, typed })
}

async fn page(arriving: &Arriving, form: Form) -> Result<TwoStepPage, WebError> {
    let seed = credentials::pending_seed(&arriving.site.secrets, &arriving.account);
    Ok(TwoStepPage {
        frame: arriving.frame.clone(),
        next: safe_next(form.text("next")).unwrap_or_default().to_owned(),
        must: arriving.session.stage == Stage::Enrol,
        required: is_required(arriving, &arriving.account).await?,
        waiting: seed.and_then(|seed| waiting(arriving, &seed)),
        form,
    })
}

async fn is_required(arriving: &Arriving, account: &Account) -> Result<bool, WebError> {
    let id = account.id;
    let required: Result<bool, StoreError> = arriving.read(move |db| crate::actions::sign_in::requires_totp(db, id)).await;
    Ok(account.installation_owner || required?)
}

fn may_set_up(arriving: &Arriving) -> Result<(), WebError> {
    match arriving.session.stage {
        Stage::Full | Stage::Enrol => Ok(()),
        Stage::NewPassword => Err(WebError::Elsewhere("/profile/password".into())),
        Stage::Code => Err(WebError::SignIn),
    }
}

/// `GET /profile/totp`
pub async fn ask(req: HttpRequest, arriving: Arriving) -> WebResult {
    may_set_up(&arriving)?;
    let mut form = Form::from_query(&req)?;
    form.only(&["next"])?;
    show(&page(&arriving, form).await?)
}

/// `POST /profile/totp/start`: makes the secret that the app is given.
pub async fn start(req: HttpRequest, arriving: Arriving, mut form: Form) -> WebResult {
    form.only(&["current_password", "totp", "next"])?;
    may_set_up(&arriving)?;
    // Whoever is made to set it up has just typed the password.
    if arriving.session.stage == Stage::Full {
        look_at_current(&req, &arriving, &mut form).await?;
    }
    if form.has_errors() {
        return show_as(status_of(&form), &page(&arriving, form).await?);
    }
    let (account, typed) = (arriving.account.clone(), form.text("totp").to_owned());
    let begun: Result<_, StoreError> = arriving
        .write(move |tx, by| {
            if account.has_totp()
                && let Err(wrong) = credentials::confirm_code(tx, by, &typed)?
            {
                return Ok(Err(wrong));
            }
            credentials::begin_totp(tx, account.id)?;
            Ok(Ok(()))
        })
        .await;
    match begun? {
        Ok(()) => Ok(see_other(&arriving.frame, &with_next("/profile/totp", form.text("next")))),
        Err(CodeError::Ended) => Err(WebError::SignIn),
        Err(wrong) => {
            form.wrong("totp", wrong);
            show_as(status_of(&form), &page(&arriving, form).await?)
        }
    }
}

/// `POST /profile/totp`: the first code turns it on; the recovery codes are in this answer alone.
pub async fn enrol(arriving: Arriving, mut form: Form) -> WebResult {
    form.only(&["totp", "next"])?;
    may_set_up(&arriving)?;
    let (account, typed) = (arriving.account.id, form.text("totp").to_owned());
    let enrolled: Result<_, StoreError> = arriving.write(move |tx, by| credentials::enrol_totp(tx, by, account, &typed)).await;
    match enrolled? {
        Ok(enrolled) => {
            let page = RecoveryCodesPage {
                frame: frame_after(&arriving.site, &arriving.frame, &enrolled.opened),
                codes: enrolled.recovery_codes,
                next: safe_next(form.text("next")).unwrap_or_default().to_owned(),
                enrolled: true,
            };
            let mut answer = html(StatusCode::OK, page.render()?);
            set_session(&arriving.site, &mut answer, &enrolled.opened)?;
            Ok(answer)
        }
        Err(CodeError::NotSetUp) => Ok(see_other(&arriving.frame, &with_next("/profile/totp", form.text("next")))),
        Err(wrong) => {
            form.wrong("totp", wrong);
            show_as(status_of(&form), &page(&arriving, form).await?)
        }
    }
}

/// `GET /profile/totp/done`: leads to where the person came from.
pub async fn finished(req: HttpRequest, person: SignedIn) -> WebResult {
    let form = Form::from_query(&req)?;
    Ok(see_other(&person.frame, safe_next(form.text("next")).unwrap_or("/profile")))
}

/// `POST /profile/recovery-codes`: ten new ones; those before die.
pub async fn new_codes(req: HttpRequest, person: SignedIn, mut form: Form) -> WebResult {
    form.only(&["current_password", "totp"])?;
    look_at_current(&req, &person, &mut form).await?;
    if !form.has_errors() {
        let (account, typed) = (person.account.id, form.text("totp").to_owned());
        let made: Result<_, StoreError> = person
            .write(move |tx, by| match credentials::confirm_code(tx, by, &typed)? {
                Ok(proof) => Ok(Ok(credentials::new_recovery_codes(tx, by, account, proof)?)),
                Err(wrong) => Ok(Err(wrong)),
            })
            .await;
        match made? {
            Ok(codes) => return show(&RecoveryCodesPage { frame: person.frame.clone(), codes, next: String::new(), enrolled: false }),
            Err(CodeError::Ended) => return Err(WebError::SignIn),
            Err(wrong) => form.wrong("totp", wrong),
        }
    }
    show_as(status_of(&form), &page(&person, form).await?)
}

/// `POST /profile/totp/remove`
pub async fn remove(req: HttpRequest, person: SignedIn, mut form: Form) -> WebResult {
    form.only(&["current_password", "totp"])?;
    if is_required(&person, &person.account).await? {
        return Err(WebError::Forbidden("Two-step sign-in is required for this account. Nothing was changed.".into()));
    }
    look_at_current(&req, &person, &mut form).await?;
    if !form.has_errors() {
        let (account, typed) = (person.account.id, form.text("totp").to_owned());
        let removed: Result<_, StoreError> = person
            .write(move |tx, by| match credentials::confirm_code(tx, by, &typed)? {
                Ok(_) => Ok(Ok(credentials::remove_totp(tx, by, account)?)),
                Err(wrong) => Ok(Err(wrong)),
            })
            .await;
        match removed? {
            Ok(()) => {
                let words = if credentials::is_long_enough_alone(&person.account) {
                    "Two-step sign-in is off. All other sessions have ended."
                } else {
                    "Two-step sign-in is off. The next sign-in asks for a longer password."
                };
                return done(&person.site, &person.frame, words, "/profile");
            }
            Err(CodeError::Ended) => return Err(WebError::SignIn),
            Err(wrong) => form.wrong("totp", wrong),
        }
    }
    show_as(status_of(&form), &page(&person, form).await?)
}
