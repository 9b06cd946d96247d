//! Showing pages: the frame that every page sits in, whole page or fragment, questions in a dialog, and what follows a change.
//!
//! A page's struct has a field `frame: Frame` and extends `layout.html` (or `solo.html`, a card on its own).

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    cookie::Cookie,
    http::{StatusCode, header},
};
use askama::Template;

use super::{assets, error::WebError, flash, form::Form, guard, site::Site};

/// What a handler answers.
pub type WebResult = Result<HttpResponse, WebError>;

/// A link in the navigation or a menu.
#[derive(Debug, Clone)]
pub struct Link {
    /// The words.
    pub label: String,
    /// Where to.
    pub url: String,
    /// Whether it is the page or tenant that is shown.
    pub current: bool,
}

impl Link {
    /// A link that is not the current page.
    pub fn new(label: impl Into<String>, url: impl Into<String>) -> Self {
        Self { label: label.into(), url: url.into(), current: false }
    }
}

/// The person whose menu is in the top bar.
#[derive(Debug, Clone)]
pub struct Person {
    /// The name.
    pub name: String,
    /// E-mail and console roles.
    pub line: String,
    /// At most two letters.
    pub initials: String,
}

/// What surrounds a page: made by the extractors of [`super::session`], or by [`Frame::bare`] where nobody is signed in.
#[derive(Debug, Clone)]
pub struct Frame {
    /// `system`, `light` or `dark`.
    pub theme: String,
    /// Whether keyboard shortcuts are on.
    pub shortcuts: bool,
    /// For the forms of this page; another one in every answer.
    pub csrf: String,
    /// Who is signed in.
    pub person: Option<Person>,
    /// The tenant's name, or "Installation".
    pub place: Option<String>,
    /// Where one can switch to.
    pub tenants: Vec<Link>,
    /// The pages that this person may open.
    pub nav: Vec<Link>,
    /// The first page of this person.
    pub home: String,
    /// What that page is called.
    pub home_label: String,
    /// The profile page.
    pub profile: String,
    /// Whether the person may have keys.
    pub has_keys: bool,
    /// Whether the person has set up two-step sign-in.
    pub has_totp: bool,
    /// One sentence on what was just done.
    pub flash: Option<String>,
    /// Path and query of this page.
    pub path: String,
    /// Whether htmx asks, so that a fragment will do.
    pub fragment: bool,
    /// The Mail page, for who may see it, and how many mails failed within a week.
    pub mail: Option<(String, i64)>,
}

impl Frame {
    /// The frame of a page for somebody who is not signed in.
    pub fn bare(req: &HttpRequest) -> Self {
        let look = req.app_data::<actix_web::web::Data<Site>>().map(|site| site.look(req)).unwrap_or_default();
        Self {
            theme: look.theme,
            shortcuts: look.shortcuts,
            csrf: guard::token(req),
            person: None,
            place: None,
            tenants: Vec::new(),
            nav: Vec::new(),
            home: "/login".into(),
            home_label: "Sign in".into(),
            profile: "/profile".into(),
            has_keys: false,
            has_totp: false,
            flash: flash::read(req),
            path: req.uri().path_and_query().map_or_else(|| "/".into(), ToString::to_string),
            fragment: is_htmx(req),
            mail: None,
        }
    }

    /// Keeps the frame for error pages of this request.
    pub(super) fn remember(&self, req: &HttpRequest) {
        req.extensions_mut().insert(self.clone());
    }

    /// The frame that an extractor of this request has made, else a bare one.
    pub(super) fn of(req: &HttpRequest) -> Self {
        let known = req.extensions().get::<Self>().cloned();
        known.unwrap_or_else(|| Self::bare(req))
    }

    /// The address of a static file.
    pub fn asset(&self, name: &str) -> &'static str {
        assets::url(name)
    }
}

/// Whether htmx sent the request.
pub fn is_htmx(req: &HttpRequest) -> bool {
    req.headers().contains_key("hx-request")
}

/// A whole page.
pub fn show(page: &impl Template) -> WebResult {
    show_as(StatusCode::OK, page)
}

/// A whole page, or a fragment (`page.as_grid()` of `#[template(…, blocks = ["grid"])]`), with a status.
pub fn show_as(status: StatusCode, page: &impl Template) -> WebResult {
    Ok(html(status, page.render()?))
}

/// HTML that is rendered already: fragments one after another, for example.
pub fn html(status: StatusCode, text: String) -> HttpResponse {
    HttpResponse::build(status).content_type("text/html; charset=utf-8").insert_header((header::VARY, "HX-Request")).body(text)
}

/// 200, or 422 where the form has errors: for pages that show a form again.
pub fn status_of(form: &Form) -> StatusCode {
    if form.has_errors() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
}

/// Leads to another page.
pub fn see_other(frame: &Frame, url: &str) -> HttpResponse {
    if frame.fragment {
        HttpResponse::Ok().insert_header(("HX-Redirect", url)).finish()
    } else {
        HttpResponse::SeeOther().insert_header((header::LOCATION, url)).finish()
    }
}

/// After a change: leads to `url`, which says `words` once.
pub fn done(site: &Site, frame: &Frame, words: &str, url: &str) -> WebResult {
    let mut answer = see_other(frame, url);
    add_cookie(&mut answer, &flash::cookie(site, words))?;
    Ok(answer)
}

/// After a change that htmx asked for: closes the dialog, says `words` in a toast, and swaps in `fragments`, each of which
/// carries `hx-swap-oob`.
pub fn done_here(words: &str, fragments: String) -> HttpResponse {
    let mut answer = html(StatusCode::OK, fragments);
    let headers = answer.headers_mut();
    if let Ok(value) = header::HeaderValue::from_str(&ascii_json(&serde_json::json!({ "dialogClose": true, "toast": words }))) {
        headers.insert(header::HeaderName::from_static("hx-trigger"), value);
    }
    headers.insert(header::HeaderName::from_static("hx-reswap"), header::HeaderValue::from_static("none"));
    answer
}

/// The same with one fragment that takes the place of `target`.
pub fn done_in(words: &str, target: &'static str, fragment: String) -> HttpResponse {
    let mut answer = done_here(words, fragment);
    let headers = answer.headers_mut();
    headers.insert(header::HeaderName::from_static("hx-retarget"), header::HeaderValue::from_static(target));
    headers.insert(header::HeaderName::from_static("hx-reswap"), header::HeaderValue::from_static("outerHTML"));
    answer
}

/// JSON of which a header can carry every character.
fn ascii_json(value: &serde_json::Value) -> String {
    let mut text = String::new();
    for unit in value.to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    text
}

pub(super) fn add_cookie(answer: &mut HttpResponse, cookie: &Cookie<'_>) -> Result<(), WebError> {
    answer.add_cookie(cookie).map_err(|error| WebError::unexpected(&error))
}

/// A question that is asked before something is done: as a page, or in the dialog where htmx asks.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The question in words, with the name of the thing: `Revoke “Returns portal”?`
    pub asks: String,
    /// Where the form posts to.
    pub action: String,
    /// Verb and noun on the button: `Revoke key`.
    pub submit: String,
    /// Whether the button is red.
    pub danger: bool,
    /// Where *Cancel* leads without script.
    pub cancel: String,
    /// The pages above this one.
    pub crumbs: Vec<Link>,
    /// Whether the dialog is a wide one.
    pub wide: bool,
}

#[derive(Template)]
#[template(path = "question.html")]
struct QuestionPage<'a> {
    frame: &'a Frame,
    question: &'a Question,
    form: &'a Form,
    body: String,
}

#[derive(Template)]
#[template(path = "dialog.html")]
struct QuestionDialog<'a> {
    frame: &'a Frame,
    question: &'a Question,
    form: &'a Form,
    body: String,
}

/// Asks a question. `body` is a template of its own with the words and fields between title and buttons. The status is 422
/// where `form` has errors.
pub fn ask(frame: &Frame, question: &Question, form: &Form, body: &impl Template) -> WebResult {
    ask_as(status_of(form), frame, question, form, body)
}

/// The same with a status: 409 where something has changed meanwhile and is asked again.
pub fn ask_as(status: StatusCode, frame: &Frame, question: &Question, form: &Form, body: &impl Template) -> WebResult {
    let body = body.render()?;
    if frame.fragment {
        show_as(status, &QuestionDialog { frame, question, form, body })
    } else {
        show_as(status, &QuestionPage { frame, question, form, body })
    }
}

/// Why something is not done that the state of things forbids.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// What was not done.
    pub title: String,
    /// Why.
    pub words: String,
    /// The pages above this one.
    pub crumbs: Vec<Link>,
    /// Ways on; the last one is the first to take.
    pub ways: Vec<Link>,
}

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'a> {
    frame: &'a Frame,
    refusal: &'a Refusal,
}

#[derive(Template)]
#[template(path = "refused_dialog.html")]
struct RefusedDialog<'a> {
    refusal: &'a Refusal,
}

/// 409, as a page, or in the dialog where htmx asks.
pub fn refuse(frame: &Frame, refusal: &Refusal) -> WebResult {
    if frame.fragment {
        show_as(StatusCode::CONFLICT, &RefusedDialog { refusal })
    } else {
        show_as(StatusCode::CONFLICT, &RefusedPage { frame, refusal })
    }
}
