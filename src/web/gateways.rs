//! The Gateways page: who may ask Keyward, when each last did, and how to set one up.

use actix_web::{
    http::StatusCode,
    web::{Path, Query},
};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_code, key_view,
    page::{Frame, Link, Question, WebResult, ask_as, done, show, show_as, status_of},
    recipes::{self, Recipe, To},
    session::Member,
};
use crate::{
    actions::{
        By, CodeProof,
        credentials::{self, CodeError},
        gateways::{self as action, GatewayError, Made},
    },
    chance,
    domain::{
        ids::GatewayId,
        key::Use,
        lifetime::{Choice, Lifetime},
        names::{self, Scope},
        permission::Permission,
        roll::Stop,
        time::{Time, ago, date, date_time, days, left, weekday_time},
        token::base62,
    },
    store::{
        Db, StoreError, Tx, access,
        gateways::{self, Gateway},
        tenants::Tenant,
    },
};

/// A line of the list, worded.
struct Row {
    id: i64,
    name: String,
    public_id: String,
    off: bool,
    badge: (&'static str, &'static str, &'static str),
    markers: Vec<String>,
    asked: (String, String),
    refused: String,
    created: String,
    expires: String,
    can_roll: bool,
    can_revoke: bool,
}

/// `soon` is how long before its expiry a credential is said to expire, as long as mails say so.
fn row(gateway: Gateway, soon: chrono::Duration, now: Time) -> Row {
    let ends = gateway.expires_at.filter(|end| gateway.is_active(now) && *end <= now + soon);
    let badge = match (&gateway.revoked, gateway.is_active(now)) {
        (Some(_), _) => ("revoked", "ban", "Revoked"),
        (None, true) => ("active", "dot", "Active"),
        (None, false) => ("", "timer-off", "Expired"),
    };
    let mut markers = Vec::new();
    if let Some((at, by)) = &gateway.revoked {
        markers.push(format!("by {by}, {}", date(*at)));
    }
    if let Some(end) = ends {
        markers.push(format!("Expiring soon: stops in {}", left(end, now)));
    }
    if let Some(until) = gateway.overlap(now).filter(|_| gateway.revoked.is_none()) {
        markers.push(format!("Old secret works until {}", date_time(until)));
    }
    let refused = gateway.refused.as_ref().map_or_else(String::new, |last: &Use| {
        let from = last.ip.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        format!("{} refused, the latest {}{from}", key_view::number(gateway.refused_count), ago(last.at, now))
    });
    Row {
        id: gateway.id.0,
        off: !gateway.is_active(now),
        badge,
        markers,
        asked: key_view::last_used(gateway.asked.as_ref(), now),
        refused,
        created: format!("{}, {}", gateway.created_by, date(gateway.created_at)),
        expires: gateway.expires_at.map_or_else(|| "Never".into(), date_time),
        can_roll: gateway.is_active(now),
        can_revoke: gateway.revoked.is_none(),
        name: gateway.name,
        public_id: gateway.public_id,
    }
}

#[derive(Template)]
#[template(path = "gateways/list.html")]
struct ListPage {
    frame: Frame,
    url: String,
    tenant: String,
    rows: Vec<Row>,
    scopes: Vec<String>,
    scope: String,
    recipes: Vec<Recipe>,
    program: String,
}

/// What the page is asked for.
#[derive(serde::Deserialize)]
pub struct ListQuery {
    scope: Option<String>,
}

/// The credentials of the tenant, and recipes.
pub async fn list(member: Member, query: Query<ListQuery>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let asked = query.into_inner().scope.unwrap_or_default();
    let now = member.site.clock.now();
    let found: Result<_, StoreError> = member.read(|db, reach| Ok((gateways::all(db, reach.tenant())?, access::scopes(db, reach.tenant())?))).await;
    let (found, scopes) = found?;
    let scopes: Vec<String> = scopes.into_iter().map(|(scope, _)| scope.to_string()).collect();
    let scope = asked.parse::<Scope>().ok().map(|scope| scope.to_string()).filter(|scope| scopes.contains(scope)).unwrap_or_default();
    let (recipes, program) = recipes::all(&To::new(&member.site.settings.public_url, &scope))?;
    show(&ListPage {
        frame: member.frame.clone(),
        url: member.url("/gateways"),
        tenant: member.acting.tenant.name.clone(),
        rows: found.into_iter().map(|gateway| row(gateway, member.acting.tenant.settings.expiring_soon(), now)).collect(),
        scopes,
        scope,
        recipes,
        program,
    })
}

/// Why a form is shown again.
enum Refused {
    Code(CodeError),
    Action(GatewayError),
}

/// Does something with a fresh code. A wrong one is counted, and nothing else is done.
async fn with_code<T: Send + 'static>(
    member: &Member,
    form: &Form,
    act: impl FnOnce(&mut Tx<'_>, &By, &CodeProof) -> Result<T, GatewayError> + Send + 'static,
) -> Result<Result<T, Refused>, WebError> {
    // A second click says what the first one did, not that its code is used up.
    let sent = form.text("form_id");
    if !sent.is_empty() && key_code::made_before(member, sent).await?.is_some() {
        return Ok(Err(Refused::Action(GatewayError::AlreadyDone)));
    }
    let code = form.text("totp").to_owned();
    let done: Result<Result<T, CodeError>, GatewayError> = member
        .write(move |tx, by| match credentials::confirm_code(tx, by, &code)? {
            Ok(proof) => act(tx, by, &proof).map(Ok),
            Err(wrong) => Ok(Err(wrong)),
        })
        .await;
    match done {
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(CodeError::Ended)) => Err(WebError::SignIn),
        Ok(Err(wrong)) => Ok(Err(Refused::Code(wrong))),
        Err(GatewayError::Store(error)) => Err(error.into()),
        Err(GatewayError::NoSuchGateway) => Err(WebError::NotFound),
        Err(GatewayError::NotAllowed) => Err(member.forbidden(Permission::SettingsManage)),
        Err(error) => Ok(Err(Refused::Action(error))),
    }
}

/// Says what is wrong beside its field.
fn tell(form: &mut Form, refused: &Refused) {
    match refused {
        Refused::Code(wrong) => form.wrong("totp", wrong),
        Refused::Action(error @ GatewayError::Expiry(_)) => form.wrong("expires", error),
        Refused::Action(error @ (GatewayError::StopPast | GatewayError::StopTooLate(_))) => form.wrong("stop_at", error),
        Refused::Action(error) => form.wrong("", error),
    }
}

fn crumbs(member: &Member) -> Vec<Link> {
    vec![Link::new("Gateways", member.url("/gateways"))]
}

#[derive(Template)]
#[template(path = "gateways/create.html")]
struct CreateBody<'a> {
    frame: &'a Frame,
    form: &'a Form,
}

pub(crate) const LIFETIMES: [(&str, &str); 6] =
    [("never", "Never"), ("P3M", "3 months"), ("P6M", "6 months"), ("P12M", "1 year"), ("days", "A number of days"), ("date", "On a date")];

fn ask_create(member: &Member, form: &Form) -> WebResult {
    let question = Question {
        asks: "Create gateway credential".into(),
        action: member.url("/gateways"),
        submit: "Create credential".into(),
        cancel: member.url("/gateways"),
        crumbs: crumbs(member),
        ..Question::default()
    };
    // The answer to this form is a page of its own, so the form is one, too.
    let frame = Frame { fragment: false, ..member.frame.clone() };
    ask_as(status_of(form), &frame, &question, form, &CreateBody { frame: &frame, form })
}

/// The form for a new credential.
pub async fn new(member: Member) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let mut form = Form::default();
    form.set("form_id", base62(24, &mut chance::fill));
    form.set("expires", "never");
    ask_create(&member, &form)
}

/// Makes a credential; its token is in this answer only.
pub async fn create(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["form_id", "name", "expires", "days", "date", "totp"])?;
    let id = key_code::form_id(&form)?;
    let name = form.parse("name", |text| names::line("Name", text, 1, 100));
    let expiry = expiry(&mut form);
    let (Some(name), Some(expiry), false) = (name, expiry, form.has_errors()) else { return ask_create(&member, &form) };
    match with_code(&member, &form, move |tx, by, proof| action::create(tx, by, &name, expiry, &id, proof)).await? {
        Ok(made) => show_token(&member, &made, "is ready."),
        Err(refused) => {
            tell(&mut form, &refused);
            ask_create(&member, &form)
        }
    }
}

fn expiry(form: &mut Form) -> Option<Choice> {
    match form.text("expires").to_owned().as_str() {
        "never" => Some(Choice::Never),
        "days" => form.parse("days", |text| match text.trim().parse::<u32>() {
            Ok(count) if (1..=36_500).contains(&count) => Ok(Choice::For(Lifetime::Days(count))),
            _ => Err("Enter 1 to 36500 days."),
        }),
        "date" => {
            form.parse("date", |text| text.parse::<chrono::NaiveDate>().map(|day| Choice::EndOf(day, chrono_tz::UTC)).map_err(|_| "Enter a date."))
        }
        text => match text.parse::<Lifetime>() {
            Ok(lifetime) => Some(Choice::For(lifetime)),
            Err(_) => {
                form.wrong("expires", "Choose one of these.");
                None
            }
        },
    }
}

#[derive(Template)]
#[template(path = "gateways/token.html")]
struct TokenPage<'a> {
    frame: Frame,
    name: &'a str,
    lead: String,
    tenant: &'a str,
    token: &'a str,
    id: &'a str,
    secret: &'a str,
    url: String,
}

fn show_token(member: &Member, made: &Made, lead: &str) -> WebResult {
    let page = TokenPage {
        frame: member.frame.clone(),
        name: &made.gateway.name,
        lead: lead.to_owned(),
        tenant: &member.acting.tenant.name,
        token: made.token.reveal(),
        id: &made.gateway.public_id,
        secret: made.token.reveal_secret(),
        url: member.url("/gateways"),
    };
    show_as(StatusCode::OK, &page)
}

/// When and from where it last asked, for the middle of a sentence; both empty where it never did.
fn asked(gateway: &Gateway, now: Time) -> (String, String) {
    gateway.asked.as_ref().map_or_else(Default::default, |last| (ago(last.at, now), last.ip.clone().unwrap_or_default()))
}

/// When the present secret may stop.
struct StopOption {
    value: String,
    label: &'static str,
    says: String,
}

#[derive(Template)]
#[template(path = "gateways/roll.html")]
struct RollBody<'a> {
    frame: &'a Frame,
    form: &'a Form,
    overlap: String,
    asked: &'a (String, String),
    stops: Vec<StopOption>,
    latest: String,
    latest_words: String,
}

const OVERLAPS: [(i64, &str); 4] = [(3_600, "1 hour"), (86_400, "1 day"), (259_200, "3 days"), (604_800, "7 days")];

fn stops(tenant: &Tenant, now: Time) -> Vec<StopOption> {
    let longest = i64::from(tenant.settings.overlap_days) * 86_400;
    let option = |value: String, label, says| StopOption { value, label, says };
    let mut options = vec![
        option("now".into(), "Now", "Requests with it are refused from now on.".into()),
        option("compromised".into(), "Now, it was leaked", "Both older secrets stop.".into()),
    ];
    for (seconds, label) in OVERLAPS {
        if seconds < longest {
            options.push(option(seconds.to_string(), label, weekday_time(now + chrono::Duration::seconds(seconds))));
        }
    }
    if longest > 0 {
        options.push(option("longest".into(), "The longest allowed", weekday_time(now + chrono::Duration::seconds(longest))));
    }
    options
}

fn ask_roll(member: &Member, gateway: &Gateway, form: &Form) -> WebResult {
    let now = member.site.clock.now();
    let tenant = &member.acting.tenant;
    let bound = now + days(tenant.settings.overlap_days.into());
    let question = Question {
        asks: format!("Roll “{}”?", gateway.name),
        action: member.url(&format!("/gateways/{}/roll", gateway.id)),
        submit: "Roll credential".into(),
        cancel: member.url("/gateways"),
        crumbs: crumbs(member),
        ..Question::default()
    };
    let frame = Frame { fragment: false, ..member.frame.clone() };
    let body = RollBody {
        frame: &frame,
        form,
        overlap: gateway.overlap(now).map(date_time).unwrap_or_default(),
        asked: &asked(gateway, now),
        stops: stops(tenant, now),
        latest: if bound > now { bound.format("%Y-%m-%dT%H:%M").to_string() } else { String::new() },
        latest_words: date_time(bound),
    };
    ask_as(status_of(form), &frame, &question, form, &body)
}

fn find(db: &mut Db, tenant: crate::domain::ids::TenantId, id: GatewayId) -> Result<Option<Gateway>, StoreError> {
    gateways::find(db, tenant, id)
}

async fn found(member: &Member, id: &str) -> Result<Gateway, WebError> {
    let id: GatewayId = id.parse().map_err(|_| WebError::NotFound)?;
    let found: Result<_, StoreError> = member.read(move |db, reach| find(db, reach.tenant(), id)).await;
    found?.ok_or(WebError::NotFound)
}

/// Asks when the present secret stops.
pub async fn roll_form(member: Member, path: Path<(String, String)>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let gateway = found(&member, &path.1).await?;
    let mut form = Form::default();
    form.set("form_id", base62(24, &mut chance::fill));
    form.set("stop", if member.acting.tenant.settings.overlap_days == 0 { "now" } else { "longest" });
    ask_roll(&member, &gateway, &form)
}

/// Gives a credential a new secret; its token is in this answer only.
pub async fn roll(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["form_id", "stop", "stop_at", "totp"])?;
    let gateway = found(&member, &path.1).await?;
    let (id, form_id) = (gateway.id, key_code::form_id(&form)?);
    let stop = match form.text("stop").to_owned().as_str() {
        "now" => Some(Stop::Now),
        "compromised" => Some(Stop::Compromised),
        "longest" => Some(Stop::Longest),
        "at" => form.parse("stop_at", |text| {
            let at = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M")
                .or_else(|_| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S"));
            at.map(|at| Stop::At(at.and_utc())).map_err(|_| "Enter a date and time.")
        }),
        text => match text.parse::<i64>() {
            Ok(seconds) if OVERLAPS.iter().any(|(known, _)| *known == seconds) => Some(Stop::After(seconds)),
            _ => {
                form.wrong("stop", "Choose when the present secret stops.");
                None
            }
        },
    };
    let Some(stop) = stop else { return ask_roll(&member, &gateway, &form) };
    match with_code(&member, &form, move |tx, by, proof| action::roll(tx, by, id, stop, &form_id, proof)).await? {
        Ok(made) => {
            let now = member.site.clock.now();
            let lead = made.gateway.overlap(now).map_or_else(
                || "was rolled. The secret before it has stopped.".to_owned(),
                |until| format!("was rolled. The secret before it works until {}.", date_time(until)),
            );
            show_token(&member, &made, &lead)
        }
        Err(refused) => {
            tell(&mut form, &refused);
            ask_roll(&member, &gateway, &form)
        }
    }
}

#[derive(Template)]
#[template(path = "gateways/revoke.html")]
struct RevokeBody<'a> {
    frame: &'a Frame,
    form: &'a Form,
    asked: &'a (String, String),
}

fn ask_revoke(member: &Member, gateway: &Gateway, form: &Form) -> WebResult {
    let question = Question {
        asks: format!("Revoke “{}”?", gateway.name),
        action: member.url(&format!("/gateways/{}/revoke", gateway.id)),
        submit: "Revoke credential".into(),
        danger: true,
        cancel: member.url("/gateways"),
        crumbs: crumbs(member),
        ..Question::default()
    };
    let asked = asked(gateway, member.site.clock.now());
    let body = RevokeBody { frame: &member.frame, form, asked: &asked };
    ask_as(status_of(form), &member.frame, &question, form, &body)
}

/// Asks before a credential is stopped for good.
pub async fn revoke_form(member: Member, path: Path<(String, String)>) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let gateway = found(&member, &path.1).await?;
    ask_revoke(&member, &gateway, &Form::default())
}

/// Stops a credential for good.
pub async fn revoke(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["totp"])?;
    let gateway = found(&member, &path.1).await?;
    let id = gateway.id;
    match with_code(&member, &form, move |tx, by, proof| action::revoke(tx, by, id, proof)).await? {
        Ok(_) => done(&member.site, &member.frame, "Gateway credential revoked.", &member.url("/gateways")),
        Err(refused) => {
            tell(&mut form, &refused);
            ask_revoke(&member, &gateway, &form)
        }
    }
}
