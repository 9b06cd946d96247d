//! Rolling a key: when the old secret stops, the new expiry, the code, and the page that shows the token.

use actix_web::{http::StatusCode, web::Path};
use askama::Template;

use super::{
    expiry_form,
    form::Form,
    key_code::{self, Outcome},
    key_edit::seen,
    key_facts::{self, KeyFacts, Used, expiry_words, used_words},
    key_refused,
    key_token::{self, Fact},
    page::{Question, WebResult, ask_as, status_of},
    session::Member,
};
use crate::{
    actions::keys::{self, KeyError, Made},
    chance,
    domain::{
        change::{self, Refused},
        key::Key,
        lifetime::{self, Choice, Lifetime},
        roll::{self, Bound, BoundReason, Request, RollError, Stop},
        tenant::Keep,
        time::{Time, date, date_time, weekday_time},
        token::base62,
    },
    store::tenants::Tenant,
};

/// The overlaps that are offered, in seconds.
const OVERLAPS: [(i64, &str); 4] = [(3_600, "1 hour"), (86_400, "1 day"), (259_200, "3 days"), (604_800, "7 days")];

/// When the old secret may stop.
struct StopOption {
    value: String,
    label: String,
    says: String,
    /// For the sentence that names both dates.
    ends: String,
}

/// Which older secret may stay.
struct KeepOption {
    value: &'static str,
    label: String,
    used: Option<Used>,
    stops: String,
    /// For the sentence that names both dates.
    sum: String,
}

/// What the expiry may become.
struct ExpiryOption {
    value: String,
    label: String,
    ends: String,
}

#[derive(Template)]
#[template(path = "keys/roll.html")]
struct RollBody<'a> {
    frame: &'a super::page::Frame,
    form: &'a Form,
    changed: bool,
    keeps: Vec<KeepOption>,
    stops: Vec<StopOption>,
    /// The latest moment, for the field; empty where only now is left.
    latest: String,
    latest_words: String,
    expiries: Vec<ExpiryOption>,
    most_days: String,
    last_day: String,
    zone: String,
    sum_keep: String,
    sum_stop: String,
    sum_expires: String,
}

fn allowed(member: &Member, facts: &KeyFacts) -> Result<(), KeyError> {
    if facts.allowed(&member.acting, member.by().now).roll {
        Ok(())
    } else if !member.acting.may_manage(facts.key.owner) {
        Err(KeyError::NotAllowed)
    } else if facts.key.life.revoked_at.is_some() {
        Err(Refused::Roll(RollError::Revoked).into())
    } else {
        member.acting.tenant.policy().keys_on()?;
        Err(KeyError::Climb)
    }
}

/// The bounds of an overlap, for each secret that may stay.
struct Bounds {
    latest: Bound,
    original: Option<Bound>,
}

impl Bounds {
    fn of(key: &Key, tenant: &Tenant, expires_at: Option<Time>, now: Time) -> Self {
        let bound = |keep| roll::bound(key, keep, expires_at, &tenant.settings, &tenant.grace, now);
        match key.overlap(now) {
            None => Self { latest: bound(None), original: None },
            Some(_) => Self { latest: bound(Some(Keep::Latest)), original: Some(bound(Some(Keep::Original))) },
        }
    }

    fn earlier(&self) -> Bound {
        self.original.map_or(self.latest, |original| if original.at < self.latest.at { original } else { self.latest })
    }
}

const fn keep_value(keep: Keep) -> &'static str {
    match keep {
        Keep::Original => "original",
        Keep::Latest => "latest",
        Keep::None => "none",
    }
}

/// Fills in what is preselected: the tenant's rule, the longest overlap, and the expiry as it is.
fn preselect(form: &mut Form, key: &Key, tenant: &Tenant, now: Time) {
    if let Some(keep) = roll::keep_by_rule(key, tenant.settings.rolling_again_keeps, now) {
        form.set("keep", keep_value(keep));
    }
    let expired = key.life.expires_at.is_some_and(|end| end <= now);
    let bounds = Bounds::of(key, tenant, key.life.expires_at.filter(|_| !expired), now);
    form.set("stop", if bounds.latest.at > now { "longest" } else { "0" });
    form.set("expires", if expired { "original" } else { "keep" });
    form.set("days", "30");
    form.set("form_id", base62(22, &mut chance::fill));
}

fn stop_options(bounds: &Bounds, tenant: &Tenant, again: bool, now: Time) -> Vec<StopOption> {
    let option = |value: &str, label: String, says: String, ends: String| StopOption { value: value.into(), label, says, ends };
    let mut options = vec![option("0", "Now".into(), "clients fail until they have the new one".into(), "now".into())];
    if !again {
        options.push(option("leaked", "Now, it was leaked".into(), "as above; the event log says why".into(), "now".into()));
    }
    let earlier = bounds.earlier();
    for (seconds, label) in OVERLAPS {
        let at = now + chrono::Duration::seconds(seconds);
        if at < earlier.at {
            options.push(option(&seconds.to_string(), label.into(), format!("until {}", weekday_time(at)), format!("on {}", weekday_time(at))));
        }
    }
    let furthest = bounds.original.map_or(bounds.latest.at, |original| original.at.max(bounds.latest.at));
    if furthest > now {
        let label = match bounds.latest.why {
            BoundReason::LongestOverlap if bounds.original.is_none_or(|original| original.at == bounds.latest.at) => {
                let days = tenant.settings.overlap_days;
                format!("{days} {}, the longest allowed", if days == 1 { "day" } else { "days" })
            }
            _ => "As long as allowed".into(),
        };
        let (says, ends) = match bounds.original {
            Some(original) if original.at != bounds.latest.at => (
                format!("the original until {}, the latest until {}", weekday_time(original.at), weekday_time(bounds.latest.at)),
                "as late as allowed".to_owned(),
            ),
            _ => (format!("until {}", weekday_time(bounds.latest.at)), format!("on {}", weekday_time(bounds.latest.at))),
        };
        options.push(option("longest", label, says, ends));
    }
    options
}

fn keep_options(key: &Key, now: Time) -> Vec<KeepOption> {
    let Some(old) = key.overlap(now) else { return Vec::new() };
    let (original, latest) = (date_time(old.secret.made_at), date_time(key.current.made_at));
    vec![
        KeepOption {
            value: "original",
            label: format!("The original, made {original}"),
            used: Some(used_words(old.secret.last_used.as_ref(), now)),
            stops: format!("The latest, made {latest}, stops now."),
            sum: format!("The original, made {original}, stops"),
        },
        KeepOption {
            value: "latest",
            label: format!("The latest, made {latest}"),
            used: Some(used_words(key.current.last_used.as_ref(), now)),
            stops: format!("The original, made {original}, stops now."),
            sum: format!("The latest, made {latest}, stops"),
        },
        KeepOption { value: "none", label: "None".into(), used: None, stops: "Both stop now,".into(), sum: "Both older secrets stop".into() },
    ]
}

fn expiry_options(key: &Key, tenant: &Tenant, now: Time) -> Vec<ExpiryOption> {
    let max = tenant.settings.maximum_days;
    let mut options = Vec::new();
    match key.life.expires_at {
        None => options.push(ExpiryOption { value: "keep".into(), label: "Keep: it never expires".into(), ends: "never, as before".into() }),
        Some(at) if at > now => {
            options.push(ExpiryOption { value: "keep".into(), label: format!("Keep {}", date(at)), ends: format!("on {}, as before", date(at)) });
        }
        Some(_) => {}
    }
    let mut lengths: Vec<(String, Lifetime, String)> = Vec::new();
    if let Some(original) = key.lifetime {
        lengths.push(("original".into(), original, format!("{}, as first set", lifetime::words(Some(original)))));
    }
    for months in [12, 6, 3] {
        let length = Lifetime::Months(months);
        if key.lifetime != Some(length) {
            lengths.push((length.to_string(), length, lifetime::words(Some(length))));
        }
    }
    for (value, length, label) in lengths {
        let capped = if value == "original" { original_choice(key, tenant) } else { Choice::For(length) };
        if let Ok(lifetime::Expiry { at: Some(at), .. }) = lifetime::decide(capped, max, now) {
            options.push(ExpiryOption { value, label: format!("{label} – until {}", date(at)), ends: format!("on {}", date(at)) });
        }
    }
    options.push(ExpiryOption { value: "days".into(), label: "A number of days".into(), ends: "after the days you choose".into() });
    options.push(ExpiryOption { value: "date".into(), label: "A date".into(), ends: "on the date you choose".into() });
    if max.is_none() && key.life.expires_at.is_some() {
        options.push(ExpiryOption { value: "never".into(), label: "Never".into(), ends: "never".into() });
    }
    options
}

/// The original lifetime, no longer than the maximum.
fn original_choice(key: &Key, tenant: &Tenant) -> Choice {
    match (key.lifetime, tenant.settings.maximum_days) {
        (Some(length), Some(max)) if length.counted_days() > max => Choice::For(Lifetime::Days(max)),
        (Some(length), _) => Choice::For(length),
        (None, Some(max)) => Choice::For(Lifetime::Days(max)),
        (None, None) => Choice::Never,
    }
}

fn show(member: &Member, facts: &KeyFacts, form: &Form, changed: bool) -> WebResult {
    let (key, tenant, now) = (&facts.key, &member.acting.tenant, member.by().now);
    let keep_expiry = key.life.expires_at.filter(|end| *end > now);
    let bounds = Bounds::of(key, tenant, keep_expiry, now);
    let keeps = keep_options(key, now);
    let stops = stop_options(&bounds, tenant, !keeps.is_empty(), now);
    let expiries = expiry_options(key, tenant, now);
    let furthest = bounds.original.map_or(bounds.latest.at, |original| original.at.max(bounds.latest.at));
    let zone = expiry_form::zone(&member.account.time_zone);
    let life = expiry_form::offer(tenant, None, zone, now);
    let none_stays = form.has("keep", "none");
    let chosen =
        stops.iter().find(|stop| form.has("stop", &stop.value)).map_or_else(|| "at the time you choose".to_owned(), |stop| stop.ends.clone());
    let body = RollBody {
        frame: &member.frame,
        form,
        changed,
        sum_keep: keeps.iter().find(|keep| form.has("keep", keep.value)).map_or_else(|| "The old secret stops".into(), |keep| keep.sum.clone()),
        sum_stop: if none_stays { "now".into() } else { chosen },
        sum_expires: expiries.iter().find(|expiry| form.has("expires", &expiry.value)).map(|expiry| expiry.ends.clone()).unwrap_or_default(),
        latest: if furthest > now { furthest.format("%Y-%m-%dT%H:%M").to_string() } else { String::new() },
        latest_words: weekday_time(furthest),
        keeps,
        stops,
        expiries,
        most_days: life.most_days.map(|max| format!(", {max} at most")).unwrap_or_default(),
        last_day: life.last_day,
        zone: life.zone,
    };
    let question = Question {
        asks: if key.overlap(now).is_some() { format!("Roll “{}” again?", key.name) } else { format!("Roll “{}”?", key.name) },
        action: facts.url(member, "/roll"),
        submit: "Roll key".into(),
        cancel: facts.url(member, ""),
        crumbs: key_refused::crumbs(member, facts),
        wide: true,
        ..Question::default()
    };
    let status = if changed { StatusCode::CONFLICT } else { status_of(form) };
    ask_as(status, &member.frame, &question, form, &body)
}

/// The question.
pub async fn ask(member: Member, path: Path<(String, String)>) -> WebResult {
    let facts = key_facts::find(&member, &path.1).await?;
    if let Err(refusal) = allowed(&member, &facts) {
        return key_refused::by_action(&member, &facts, refusal);
    }
    let mut form = Form::default();
    preselect(&mut form, &facts.key, &member.acting.tenant, member.by().now);
    form.set("seen", facts.key.version.to_string());
    show(&member, &facts, &form, false)
}

fn read_stop(form: &mut Form) -> Option<Stop> {
    match form.text("stop").to_owned().as_str() {
        "0" => Some(Stop::Now),
        "leaked" => Some(Stop::Compromised),
        "longest" => Some(Stop::Longest),
        "at" => form.parse("stop_at", |text| {
            let text = text.trim();
            let read = |form: &str| chrono::NaiveDateTime::parse_from_str(text, form);
            read("%Y-%m-%dT%H:%M")
                .or_else(|_| read("%Y-%m-%dT%H:%M:%S"))
                .map(|at| Stop::At(at.and_utc()))
                .map_err(|_| "Choose a date and time, such as 2026-12-05T14:30.")
        }),
        seconds => match seconds.parse::<i64>() {
            Ok(seconds) if OVERLAPS.iter().any(|(offered, _)| *offered == seconds) => Some(Stop::After(seconds)),
            _ if form.has("keep", "none") => Some(Stop::Now),
            _ => {
                form.wrong("stop", "Choose when the old secret stops.");
                None
            }
        },
    }
}

fn read(member: &Member, facts: &KeyFacts, form: &mut Form) -> Option<Request> {
    let keep = match form.text("keep") {
        "original" => Some(Keep::Original),
        "latest" => Some(Keep::Latest),
        "none" => Some(Keep::None),
        "" => None,
        _ => {
            form.wrong("keep", "Choose which older secret stays.");
            None
        }
    };
    let stop = read_stop(form);
    let expiry = match form.text("expires") {
        "keep" => Some(None),
        "original" => Some(Some(original_choice(&facts.key, &member.acting.tenant))),
        _ => expiry_form::read(form, "expires", expiry_form::zone(&member.account.time_zone)).map(Some),
    };
    if form.text("totp").trim().is_empty() {
        form.wrong("totp", KeyError::NeedsCode);
    }
    if form.has_errors() {
        return None;
    }
    Some(Request { stop: stop?, expiry: expiry?, keep })
}

/// Rolls the key and shows the token.
pub async fn roll(member: Member, path: Path<(String, String)>, mut form: Form) -> WebResult {
    form.only(&["keep", "stop", "stop_at", "expires", "days", "date", "totp", "form_id", "seen"])?;
    let facts = key_facts::find(&member, &path.1).await?;
    let form_id = key_code::form_id(&form)?;
    if let Some(made) = key_code::made_before(&member, &form_id).await? {
        return key_refused::sent_before(&member, &made).await;
    }
    if let Err(refusal) = allowed(&member, &facts) {
        return key_refused::by_action(&member, &facts, refusal);
    }
    let seen = seen(&form)?;
    if seen != facts.key.version {
        return changed(&member, &facts, form);
    }
    let Some(request) = read(&member, &facts, &mut form) else { return show(&member, &facts, &form, false) };
    // What would be refused anyway must not use up the code.
    if let Err(refusal) = change::roll(&facts.key, &request, &member.acting.tenant.policy(), &member.acting.name, member.by().now) {
        return refused(&member, &facts, form, refusal.into());
    }
    let (id, used) = (facts.key.id, form_id.clone());
    let outcome = key_code::act(&member, &form, true, move |tx, by, proof| keys::roll(tx, by, id, seen, &request, &used, proof)).await?;
    match outcome {
        Outcome::Done(made) => rolled(&member, &facts, &made),
        Outcome::WrongCode(words) => {
            if let Some(made) = key_code::made_before(&member, &form_id).await? {
                return key_refused::sent_before(&member, &made).await;
            }
            form.wrong("totp", words);
            show(&member, &facts, &form, false)
        }
        Outcome::Refused(KeyError::AlreadyDone(made)) => key_refused::sent_before(&member, &made).await,
        Outcome::Refused(KeyError::Changed) => {
            let facts = key_facts::find(&member, &path.1).await?;
            changed(&member, &facts, form)
        }
        Outcome::Refused(refusal) => refused(&member, &facts, form, refusal),
    }
}

/// Asks again, with the key as it is now. What was chosen stays chosen: whoever says that a secret leaked still means it.
fn changed(member: &Member, facts: &KeyFacts, mut form: Form) -> WebResult {
    let chosen: Vec<(&str, String)> = ["form_id", "stop", "stop_at", "keep", "expires", "days", "date"]
        .into_iter()
        .filter(|name| !form.text(name).is_empty())
        .map(|name| (name, form.text(name).to_owned()))
        .collect();
    preselect(&mut form, &facts.key, &member.acting.tenant, member.by().now);
    for (name, value) in chosen {
        form.set(name, value);
    }
    form.set("seen", facts.key.version.to_string());
    show(member, facts, &form, true)
}

fn refused(member: &Member, facts: &KeyFacts, mut form: Form, refusal: KeyError) -> WebResult {
    let field = match &refusal {
        KeyError::Refused(Refused::Roll(error)) => match error {
            RollError::StopPast | RollError::StopTooLate(_) | RollError::NoOverlap(_) if form.has("stop", "at") => "stop_at",
            RollError::StopPast | RollError::StopTooLate(_) | RollError::NoOverlap(_) => "stop",
            RollError::Expiry(_) => expiry_form::field_of(&form, "expires"),
            RollError::Expired => "expires",
            RollError::Revoked => return key_refused::by_action(member, facts, refusal),
        },
        KeyError::NeedsCode => "totp",
        _ => return key_refused::by_action(member, facts, refusal),
    };
    form.wrong(field, refusal);
    show(member, facts, &form, false)
}

fn rolled(member: &Member, before: &KeyFacts, made: &Made) -> WebResult {
    let (key, now) = (&made.key, member.by().now);
    let stops = match key.overlap(now) {
        None if before.key.overlap(now).is_some() => vec!["Both older secrets have stopped.".to_owned()],
        None => vec!["It has stopped.".to_owned()],
        Some(old) => {
            let mut lines = vec![format!("{}, made {}", weekday_time(old.stops_at), date_time(old.secret.made_at))];
            if before.key.overlap(now).is_some() {
                let dead = if old.secret.made_at == before.key.current.made_at {
                    before.key.old.as_ref().map(|old| old.secret.made_at)
                } else {
                    Some(before.key.current.made_at)
                };
                lines.extend(dead.map(|made_at| format!("The secret of {} has stopped.", date_time(made_at))));
            }
            lines
        }
    };
    let list = vec![
        Fact("Old secret stops", stops, false),
        Fact("Key expires", vec![expiry_words(key.life.expires_at, &member.acting.tenant.grace, now)], false),
        Fact("Owner", vec![before.owner.name.clone()], false),
        Fact("Access", vec![before.access_words(&member.acting)], false),
        Fact("Resources", before.resource_words(&member.acting), false),
    ];
    let lead = format!("“{}” has a new secret.", key.name);
    key_token::show(member, key.id, &made.token, lead, list, StatusCode::OK)
}
