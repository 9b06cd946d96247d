//! The settings of a tenant: a card a subject. What would refuse something that works now is asked first.

use actix_web::{http::StatusCode, web::Path};
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    page::{self, Frame, Link, Question, WebResult, done, show_as, status_of},
    session::Member,
    settings_asks,
    settings_newer::{mark, newer},
};
use crate::{
    actions::{
        credentials::{self, CodeError},
        roles::disable_all,
        tenants::{SettingsError, change_settings},
    },
    domain::{
        ids::KeyId,
        lifetime::Lifetime,
        permission::Permission,
        tenant::{KeepRule, Settings},
    },
    store::{
        StoreError,
        tenants::{self, Working},
    },
};

#[derive(Template)]
#[template(path = "settings/page.html")]
struct SettingsPage {
    frame: Frame,
    form: Form,
    url: String,
    tenant: String,
    settings: Settings,
    keys_enabled: bool,
    suspended: bool,
    seats: String,
    newer: Vec<(&'static str, String)>,
    /// The card that was sent, and whether somebody else has changed it meanwhile.
    sent: Option<(&'static str, bool)>,
}

impl SettingsPage {
    /// The mark of what a card shows; one that is shown again for a fault goes on from what it showed.
    fn mark(&self, card: &str) -> String {
        match self.sent {
            Some((sent, false)) if sent == card && self.form.checked("seen") => self.form.text("seen").to_owned(),
            _ => mark(card, &self.settings),
        }
    }
}

/// The fields of each card, in the order of the page.
const CARDS: [(&str, &[&str]); 5] = [
    ("limits", &["maximum", "default", "default_days", "per_member"]),
    ("life", &["grace", "notices", "extensions", "overlap", "keep", "confirmed"]),
    ("admins", &["see_all", "manage_all", "delete", "disable*", "confirmed"]),
    ("codes", &["code_create", "code_enable", "code_turn_on", "require_totp"]),
    ("retention", &["events", "usage", "confirmed"]),
];

/// The fields of a card.
pub(super) fn fields_of(card: &str) -> &'static [&'static str] {
    CARDS.iter().find(|(name, _)| *name == card).map_or(&[], |(_, fields)| fields)
}

/// How many days something may be kept.
const KEPT: (u32, u32) = (1, 3650);

/// `GET /t/{tenant}/settings`
pub async fn show(member: Member) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let form = filled(&member.acting.tenant.settings);
    page(&member, &member.acting.tenant.settings, form, None)
}

/// The page; `sent` is the card that was sent, and whether somebody else has changed it meanwhile.
fn page(member: &Member, settings: &Settings, form: Form, sent: Option<(&'static str, bool)>) -> WebResult {
    let tenant = &member.acting.tenant;
    let changed = sent.filter(|(_, changed)| *changed).map(|(card, _)| card);
    let page = SettingsPage {
        frame: member.frame.clone(),
        url: member.url("/settings"),
        tenant: tenant.name.clone(),
        keys_enabled: settings.keys_enabled,
        newer: changed.map(|card| newer(card, settings)).unwrap_or_default(),
        settings: settings.clone(),
        sent,
        suspended: tenant.suspended_at.is_some(),
        seats: tenant.seats.map(|seats| seats.to_string()).unwrap_or_default(),
        form,
    };
    show_as(if changed.is_some() { StatusCode::CONFLICT } else { status_of(&page.form) }, &page)
}

/// The settings as the page shows them.
pub(super) fn filled(settings: &Settings) -> Form {
    let (default, default_days) = match settings.default_lifetime {
        None => ("never".to_owned(), String::new()),
        Some(Lifetime::Days(days)) => ("days".to_owned(), days.to_string()),
        Some(months @ Lifetime::Months(_)) => (months.to_string(), String::new()),
    };
    let notices: Vec<String> = settings.notice_days.iter().map(ToString::to_string).collect();
    let keep = match settings.rolling_again_keeps {
        KeepRule::InUse => "in_use",
        KeepRule::Original => "original",
        KeepRule::Latest => "latest",
        KeepRule::None => "none",
    };
    let boxes = [
        ("see_all", settings.admins_see_all),
        ("manage_all", settings.admins_manage_all),
        ("delete", settings.admins_delete),
        ("code_create", settings.code_actions.create_and_renew),
        ("code_enable", settings.code_actions.enable),
        ("code_turn_on", settings.code_actions.turn_on),
        ("require_totp", settings.require_totp),
    ];
    let texts = [
        ("maximum", settings.maximum_days.map(|days| days.to_string()).unwrap_or_default()),
        ("default", default),
        ("default_days", default_days),
        ("per_member", settings.keys_per_member.to_string()),
        ("grace", settings.grace_days.to_string()),
        ("notices", notices.join(", ")),
        ("extensions", settings.extensions.to_string()),
        ("overlap", settings.overlap_days.to_string()),
        ("keep", keep.to_owned()),
        ("events", settings.retention.events.to_string()),
        ("usage", settings.retention.usage.to_string()),
    ];
    Form::filled(texts.into_iter().chain(boxes.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "on".to_owned()))))
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let wrong = || format!("Enter a whole number from {least} to {most}.");
    text.trim().parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(wrong)
}

fn notices(text: &str) -> Result<Vec<u32>, String> {
    let wrong = "Enter up to five different numbers from 1 to 180, separated by commas.";
    let mut days =
        text.split([',', ' ']).filter(|part| !part.is_empty()).map(|part| number(part, 1, 180)).collect::<Result<Vec<_>, _>>().map_err(|_| wrong)?;
    days.sort_unstable_by(|a, b| b.cmp(a));
    let count = days.len();
    days.dedup();
    if count > 5 || days.len() < count { Err(wrong.into()) } else { Ok(days) }
}

/// Reads a card into `settings`; what is wrong stays in the form.
fn read(card: &str, form: &mut Form, settings: &mut Settings) {
    match card {
        "limits" => {
            let maximum = form.parse("maximum", |text| if text.trim().is_empty() { Ok(None) } else { number(text, 1, 36_500).map(Some) });
            let default = match form.text("default").to_owned().as_str() {
                "never" => Some(None),
                "days" => form.parse("default_days", |text| number(text, 1, 36_500)).map(|days| Some(Lifetime::Days(days))),
                _ => form.parse("default", str::parse::<Lifetime>).map(Some),
            };
            let per_member = form.parse("per_member", |text| number(text, 1, 1000));
            if let (Some(maximum), Some(default), Some(per_member)) = (maximum, default, per_member) {
                settings.maximum_days = maximum;
                // It stays the tenant's wish; while the maximum is less, forms start with that.
                settings.default_lifetime = default;
                settings.keys_per_member = per_member;
            }
        }
        "life" => {
            let grace = form.parse("grace", |text| number(text, 0, 90));
            let overlap = form.parse("overlap", |text| number(text, 0, 90));
            let notice_days = form.parse("notices", notices);
            let extensions = form.parse("extensions", |text| number(text, 0, 100));
            let keep = form.parse("keep", |text| match text {
                "in_use" => Ok(KeepRule::InUse),
                "original" => Ok(KeepRule::Original),
                "latest" => Ok(KeepRule::Latest),
                "none" => Ok(KeepRule::None),
                _ => Err("Choose one of these."),
            });
            if let (Some(grace), Some(overlap), Some(notice_days), Some(extensions), Some(keep)) = (grace, overlap, notice_days, extensions, keep) {
                settings.extensions = extensions;
                settings.grace_days = grace;
                settings.overlap_days = overlap;
                settings.notice_days = notice_days;
                settings.rolling_again_keeps = keep;
            }
        }
        "admins" => {
            settings.admins_see_all = form.checked("see_all");
            settings.admins_manage_all = form.checked("manage_all") && settings.admins_see_all;
            settings.admins_delete = form.checked("delete");
        }
        "retention" => {
            let events = form.parse("events", |text| number(text, KEPT.0, KEPT.1));
            let usage = form.parse("usage", |text| number(text, KEPT.0, KEPT.1));
            if let (Some(events), Some(usage)) = (events, usage) {
                settings.retention.events = events;
                settings.retention.usage = usage;
            }
        }
        _ => {
            settings.code_actions.create_and_renew = form.checked("code_create");
            settings.code_actions.enable = form.checked("code_enable");
            settings.code_actions.turn_on = form.checked("code_turn_on");
            settings.require_totp = form.checked("require_totp");
        }
    }
}

/// `POST /t/{tenant}/settings/{card}`
pub async fn save(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    let Some((card, fields)) = CARDS.iter().find(|(card, _)| *card == path.1) else { return Err(WebError::NotFound) };
    let known: Vec<&str> = fields.iter().copied().chain(["seen"]).collect();
    form.only(&known)?;
    let mut settings = member.acting.tenant.settings.clone();
    read(card, &mut form, &mut settings);
    if form.has_errors() {
        let settings = &member.acting.tenant.settings;
        return page(&member, settings, with_others(settings, form, fields), Some((card, false)));
    }
    let disable: Option<Vec<KeyId>> = form.all("disable").map(KeyId::parse).collect();
    let disable = disable.ok_or(WebError::NotFound)?;
    if !form.checked("confirmed") {
        let asked = match *card {
            "life" => settings_asks::shorter_grace(&member, &form, &settings).await?,
            "admins" => settings_asks::admins_lose(&member, &form, &settings).await?,
            "retention" => settings_asks::shorter_retention(&member, &form, &settings).await?,
            _ => None,
        };
        if let Some(question) = asked {
            return question;
        }
    }
    let card = *card;
    let sent = form.clone();
    let seen = form.text("seen").to_owned();
    let saved: Result<_, SettingsError> = member
        .write(move |tx, by| {
            disable_all(tx, by, &disable)?;
            let change = move |settings: &mut Settings| {
                let before = settings.clone();
                read(card, &mut sent.clone(), settings);
                if *settings != before && mark(card, &before) != seen { Err(SettingsError::Changed) } else { Ok(()) }
            };
            change_settings(tx, by, change, None)
        })
        .await;
    match saved {
        Ok(_) => done(&member.site, &member.frame, "Settings saved.", &member.url("/settings")),
        Err(SettingsError::Changed) => {
            // The member was read before the change that came first.
            let id = member.acting.tenant.id;
            let now: Result<_, StoreError> = member.read(move |db, _| tenants::get(db, id)).await;
            let settings = now?.settings;
            page(&member, &settings, with_others(&settings, form, fields), Some((card, true)))
        }
        Err(error) => refused(&member, with_others(&member.acting.tenant.settings, form, fields), Some((card, false)), error),
    }
}

/// What was typed in one card, and the rest as it is.
fn with_others(settings: &Settings, mut form: Form, fields: &[&str]) -> Form {
    let all = filled(settings);
    for (_, others) in CARDS {
        for name in others.iter().filter(|name| !fields.contains(name)) {
            if all.checked(name) {
                form.set(name, all.text(name).to_owned());
            }
        }
    }
    form
}

fn refused(member: &Member, mut form: Form, sent: Option<(&'static str, bool)>, error: SettingsError) -> WebResult {
    match error {
        SettingsError::Store(error) => Err(error.into()),
        SettingsError::NotAllowed => Err(member.forbidden(Permission::SettingsManage)),
        error => {
            form.wrong(if matches!(error, SettingsError::Bounds(_)) { "manage_all" } else { "" }, error);
            page(member, &member.acting.tenant.settings, form, sent)
        }
    }
}

#[derive(Template)]
#[template(path = "settings/switch.html")]
struct Switch<'a> {
    frame: &'a Frame,
    form: &'a Form,
    on: bool,
    asks_code: bool,
    working: Working,
}

/// `GET /t/{tenant}/settings/keys`: asks before the keys of the tenant are turned off or on.
pub async fn ask_switch(member: Member) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    question(&member, &Form::default()).await
}

async fn question(member: &Member, form: &Form) -> WebResult {
    let (tenant, now) = (member.acting.tenant.clone(), member.by().now);
    let on = tenant.settings.keys_enabled;
    let asks_code = !on && tenant.settings.code_actions.turn_on;
    let name = tenant.name.clone();
    let working: Result<_, StoreError> = member.read(move |db, _| tenants::working(db, &tenant, now)).await;
    let verb = if on { "Turn off API keys" } else { "Turn on API keys" };
    let question = Question {
        asks: format!("{verb} for {name}?"),
        action: member.url("/settings/keys"),
        submit: verb.into(),
        danger: on,
        cancel: member.url("/settings"),
        crumbs: vec![Link::new("Settings", member.url("/settings"))],
        ..Question::default()
    };
    let body = Switch { frame: &member.frame, form, on, asks_code, working: working? };
    page::ask(&member.frame, &question, form, &body)
}

/// `POST /t/{tenant}/settings/keys`: turns the keys of the tenant on or off, as the form says.
pub async fn switch(member: Member, mut form: Form) -> WebResult {
    member.needs(Permission::SettingsManage)?;
    form.only(&["enable", "totp"])?;
    let enable = form.parse("enable", |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("Say on or off."),
    });
    let Some(enable) = enable else { return question(&member, &form).await };
    let code = form.text("totp").to_owned();
    let saved: Result<_, SettingsError> = member
        .write(move |tx, by| {
            let proof = if enable && !code.trim().is_empty() {
                match credentials::confirm_code(tx, by, &code)? {
                    Ok(proof) => Some(proof),
                    Err(wrong) => return Ok(Err(wrong)),
                }
            } else {
                None
            };
            let change = |settings: &mut Settings| {
                settings.keys_enabled = enable;
                Ok(())
            };
            change_settings(tx, by, change, proof.as_ref()).map(Ok)
        })
        .await;
    match saved {
        Ok(Ok(_)) => done(&member.site, &member.frame, if enable { "API keys are on." } else { "API keys are off." }, &member.url("/settings")),
        Ok(Err(CodeError::Ended)) => Err(WebError::SignIn),
        Ok(Err(wrong)) => {
            form.wrong("totp", wrong);
            question(&member, &form).await
        }
        Err(SettingsError::NeedsCode) => {
            form.wrong("totp", SettingsError::NeedsCode);
            question(&member, &form).await
        }
        Err(error) => refused(&member, filled(&member.acting.tenant.settings), None, error),
    }
}
