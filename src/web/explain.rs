//! Explain: what a request with a key would be answered, and which rule decides it. The question names the key by its ID, never
//! by a token, so it may stand in an address.

use std::net::IpAddr;

use actix_web::HttpRequest;
use askama::Template;

use super::{
    error::WebError,
    form::Form,
    key_facts::{self, KeyFacts},
    key_refused::{self, list_link},
    page::{Frame, Link, WebResult, show_as, status_of},
    session::Member,
};
use crate::{
    domain::{
        ids::KeyId,
        names::{Resource, Scope},
        time::{Time, date, date_time, left},
        verdict::{Code, GraceReason, Outcome, Presented, Request},
    },
    store::{StoreError, access},
    verify::{self, Explanation},
};

/// A rule as it came out.
struct Rule {
    class: &'static str,
    symbol: &'static str,
    title: &'static str,
    says: String,
    code: &'static str,
}

/// The verdict in words.
struct Answer {
    tone: &'static str,
    symbol: &'static str,
    accepted: bool,
    code: &'static str,
    words: String,
    rules: Vec<Rule>,
    /// What to change; may be empty.
    advice: String,
    advice_url: String,
    advice_label: &'static str,
}

#[derive(Template)]
#[template(path = "explain/page.html")]
struct ExplainPage {
    frame: Frame,
    form: Form,
    crumbs: Vec<Link>,
    action: String,
    key_name: String,
    scopes: Vec<String>,
    has_overlap: bool,
    now: String,
    answer: Option<Answer>,
}

/// What is asked, read from the form.
struct Asked {
    scope: Option<Scope>,
    resource: Option<Resource>,
    ip: Option<IpAddr>,
    presented: Presented,
    at: Time,
}

fn read(form: &mut Form, now: Time) -> Option<Asked> {
    let blank = |text: &str| text.trim().is_empty();
    let scope = form.parse("scope", |text| if blank(text) { Ok(None) } else { text.trim().parse::<Scope>().map(Some) });
    let resource = form.parse("resource", |text| if blank(text) { Ok(None) } else { text.trim().parse::<Resource>().map(Some) });
    let ip = form.parse("ip", |text| {
        if blank(text) {
            Ok(None)
        } else {
            text.trim().parse::<IpAddr>().map(|ip| Some(ip.to_canonical())).map_err(|_| "Enter an IPv4 or IPv6 address.")
        }
    });
    let at = form.parse("at", |text| {
        let text = text.trim();
        let read = |form: &str| chrono::NaiveDateTime::parse_from_str(text, form);
        match text {
            "" => Ok(now),
            _ => match read("%Y-%m-%dT%H:%M").or_else(|_| read("%Y-%m-%dT%H:%M:%S")).map(|at| at.and_utc()) {
                // The field has no seconds, so the present minute means now.
                Ok(at) if at >= now => Ok(at),
                Ok(at) if now - at < chrono::Duration::minutes(2) => Ok(now),
                Ok(_) => Err("Choose now or a later moment: past settings are not replayed."),
                Err(_) => Err("Choose a date and time, such as 2026-12-10T09:00."),
            },
        }
    });
    let presented = match form.text("which") {
        "" | "current" => Some(Presented::Current),
        "old" => Some(Presented::Old),
        _ => {
            form.wrong("which", "Choose a secret.");
            None
        }
    };
    Some(Asked { scope: scope?, resource: resource?, ip: ip?, presented: presented?, at: at? })
}

/// The page.
pub async fn page(member: Member, req: HttpRequest) -> WebResult {
    let mut form = Form::from_query(&req)?;
    form.only(&["key", "scope", "resource", "ip", "which", "at"])?;
    let now = member.by().now;
    let text = form.text("key").trim().to_owned();
    let facts = match KeyId::parse(&text) {
        None if text.is_empty() => None,
        None => {
            form.wrong("key", "Enter a key ID: 16 letters and digits, not a token.");
            if text.starts_with("kwk_") {
                form.set("key", "");
            }
            None
        }
        Some(_) => match key_facts::find(&member, &text).await {
            Ok(facts) => Some(facts),
            Err(WebError::NotFound) => {
                form.wrong("key", "There is no key with this ID that you may see.");
                None
            }
            Err(error) => return Err(error),
        },
    };
    let asked = read(&mut form, now);
    let tenant = member.acting.tenant.id;
    let scopes: Result<_, StoreError> = member.read(move |db, _| access::scopes(db, tenant)).await;
    let scopes: Vec<String> = scopes?.into_iter().map(|(scope, _)| scope.to_string()).collect();
    let answer = match (&facts, asked) {
        (Some(facts), Some(asked)) if !form.has_errors() => Some(answer(&member, facts, asked).await?),
        _ => None,
    };
    let shown = now.format("%Y-%m-%dT%H:%M").to_string();
    if form.text("at").is_empty() {
        form.set("at", shown.clone());
    }
    if form.text("which").is_empty() {
        form.set("which", "current");
    }
    let page = ExplainPage {
        frame: member.frame.clone(),
        crumbs: facts.as_ref().map_or_else(|| vec![list_link(&member)], |facts| key_refused::crumbs(&member, facts)),
        action: member.url("/explain"),
        key_name: facts.as_ref().map(|facts| facts.key.name.to_string()).unwrap_or_default(),
        has_overlap: facts.as_ref().is_some_and(|facts| facts.key.old.is_some()) || form.has("which", "old"),
        scopes,
        now: shown,
        answer,
        form,
    };
    show_as(status_of(&page.form), &page)
}

async fn answer(member: &Member, facts: &KeyFacts, asked: Asked) -> Result<Answer, WebError> {
    let (tenant, id) = (facts.key.tenant, facts.key.id);
    let asked = std::sync::Arc::new(asked);
    let question = asked.clone();
    let explained: Result<_, StoreError> = member
        .read(move |db, _| {
            let scopes: Vec<Scope> = question.scope.iter().cloned().collect();
            let request = Request { scopes: &scopes, resource: question.resource.as_ref(), ip: question.ip };
            verify::explain(db, tenant, id, question.presented, &request, question.at)
        })
        .await;
    let explained = explained?.ok_or(WebError::NotFound)?;
    let mut rules = vec![Rule {
        class: "ok",
        symbol: "circle-check",
        title: "The token belongs to a key of this tenant",
        says: format!("{}, made {}", facts.key.name, date(facts.key.created_at)),
        code: "not_found",
    }];
    rules.extend(explained.rules.iter().map(|(code, outcome)| rule(member, facts, &asked, &explained, *code, *outcome)));
    let verdict = explained.verdict;
    let (tone, symbol) = match verdict.code {
        Code::Valid => ("ok", "circle-check"),
        Code::ValidInGrace => ("warn", "hourglass"),
        _ => ("bad", "ban"),
    };
    let (advice, advice_url, advice_label) = advice(member, facts, &asked, verdict.code);
    Ok(Answer {
        tone,
        symbol,
        accepted: verdict.code.is_accepted(),
        code: verdict.code.as_str(),
        words: verdict_words(member, facts, &asked, &explained),
        rules,
        advice,
        advice_url,
        advice_label,
    })
}

fn verdict_words(member: &Member, facts: &KeyFacts, asked: &Asked, explained: &Explanation) -> String {
    let status = |code: Code| match code {
        Code::IpDenied | Code::ResourceDenied | Code::InsufficientScope => "A gateway gets 403.",
        _ => "A gateway gets 401.",
    };
    let code = explained.verdict.code;
    let why = match code {
        Code::Valid => return "Every rule is met. A gateway gets 200.".into(),
        Code::ValidInGrace => {
            let grace = explained.verdict.grace;
            let until = grace.map(|grace| date_time(grace.until)).unwrap_or_default();
            let why = match grace.map(|grace| grace.reason) {
                Some(GraceReason::Rolled) => "This is the old secret, which works",
                _ => "The key has expired and works",
            };
            return format!("{why} until {until}. The answer carries Deprecation and Sunset, so that clients hear of it.");
        }
        Code::TenantDisabled if member.acting.tenant.suspended_at.is_some() => format!("{} is suspended.", member.acting.tenant.name),
        Code::TenantDisabled => format!("API keys are turned off for {}.", member.acting.tenant.name),
        Code::OwnerInactive => format!("{}, who owns the key, is suspended or removed.", facts.owner.name),
        Code::Revoked => "The key was revoked for good.".into(),
        Code::Disabled => "The key is disabled.".into(),
        Code::Rolled => "The old secret has stopped.".into(),
        Code::Expired => "The key has expired, and its grace is over.".into(),
        Code::IpDenied => ip_words(facts, asked.ip),
        Code::ResourceDenied => "The key does not reach this resource.".into(),
        Code::InsufficientScope => "The key does not have this scope.".into(),
        Code::NotFound => "There is no such key.".into(),
    };
    format!("{why} {}", status(code))
}

fn ip_words(facts: &KeyFacts, ip: Option<IpAddr>) -> String {
    let ranges = facts.key.ip_ranges.texts();
    let many = if ranges.len() == 1 { "the one range".to_owned() } else { format!("any of the {} ranges", ranges.len()) };
    ip.map_or_else(
        || "The client’s address is not known, and the key has IP ranges.".into(),
        |ip| format!("The address {ip} is not in {many} that this key allows."),
    )
}

fn rule(member: &Member, facts: &KeyFacts, asked: &Asked, explained: &Explanation, code: Code, outcome: Option<Outcome>) -> Rule {
    let key = &facts.key;
    let failed = outcome == Some(Outcome::Failed);
    let until = match outcome {
        Some(Outcome::PassedByGrace(until)) => Some(until),
        _ => None,
    };
    let (title, says) = match code {
        Code::TenantDisabled => ("API keys are on for the tenant", member.acting.tenant.name.clone()),
        Code::OwnerInactive => ("The owner is active", facts.owner.name.clone()),
        Code::Revoked => ("Not revoked", key.life.revoked_at.map_or_else(|| "Never".into(), |at| format!("Revoked on {}", date_time(at)))),
        Code::Disabled => ("Not disabled", key.life.disabled_at.map_or_else(|| "It is not".into(), |at| format!("Disabled on {}", date_time(at)))),
        Code::Rolled => match (asked.presented, until, &key.old) {
            (Presented::Current, ..) => ("The secret is current", format!("Made {}", date_time(key.current.made_at))),
            (_, Some(until), _) => ("The secret is current, or in overlap", format!("The old secret works until {}", date_time(until))),
            (_, None, Some(old)) => ("The secret is current, or in overlap", format!("The old secret stops on {}", date_time(old.stops_at))),
            (_, None, None) => ("The secret is current, or in overlap", "The key has no old secret".into()),
        },
        Code::Expired => (
            "Not expired, or in grace",
            match (key.life.expires_at, until) {
                (None, _) => "It never expires".into(),
                (Some(end), Some(until)) => format!("Expired {}; works until {}", date_time(end), date_time(until)),
                (Some(end), None) if failed => format!("Expired {}", date_time(end)),
                (Some(end), None) => format!("Until {}, {} left", date_time(end), left(end, asked.at)),
            },
        ),
        Code::IpDenied => ("The address is in an allowed range", ip_says(facts, asked.ip, failed)),
        Code::ResourceDenied => (
            "The resource is allowed",
            match &asked.resource {
                None => "No resource is asked for".into(),
                Some(resource) if failed && key.resources.covers(resource) => {
                    format!("{resource} is given to the key, but its owner does not hold it")
                }
                Some(resource) if failed => format!("{resource} is not given to the key"),
                Some(resource) => format!("{resource}: given to the key, held by its owner"),
            },
        ),
        _ => (
            "The scopes are held",
            match &asked.scope {
                None => "No scope is asked for".into(),
                Some(scope) if failed && explained.facts.owner_scopes.contains(scope) => format!("{scope} is not given to the key"),
                Some(scope) if failed => format!("{scope} is not held by the key’s owner"),
                Some(scope) => format!("{scope}, from {}", facts.access_words(&member.acting)),
            },
        ),
    };
    let (class, symbol) = match outcome {
        None => ("untried", "circle-minus"),
        Some(Outcome::Passed) => ("ok", "circle-check"),
        Some(Outcome::PassedByGrace(_)) => ("wait", "hourglass"),
        Some(Outcome::Failed) => ("no", "circle-x"),
    };
    Rule { class, symbol, title, says: if outcome.is_none() { "Not tried".into() } else { says }, code: code.as_str() }
}

fn ip_says(facts: &KeyFacts, ip: Option<IpAddr>, failed: bool) -> String {
    let ranges = facts.key.ip_ranges.texts();
    let shown = if ranges.len() > 4 { format!("{} and {} more", ranges[..4].join(", "), ranges.len() - 4) } else { ranges.join(", ") };
    match ip {
        _ if ranges.is_empty() => "Any address is allowed".into(),
        None => format!("The address is not known; allowed are {shown}"),
        Some(ip) if failed => format!("{ip} is not in {shown}"),
        Some(ip) => format!("{ip} is in {shown}"),
    }
}

/// What to change so that the request passes, for those who may.
fn advice(member: &Member, facts: &KeyFacts, asked: &Asked, code: Code) -> (String, String, &'static str) {
    let allowed = facts.allowed(&member.acting, member.by().now);
    let none = (String::new(), String::new(), "");
    match code {
        Code::IpDenied if allowed.edit => match asked.ip {
            Some(ip) => (format!("To let this address through, add {ip} to the key’s IP ranges."), facts.url(member, "/edit"), "Edit key"),
            None => none,
        },
        Code::ResourceDenied | Code::InsufficientScope if allowed.edit => {
            ("Edit the key to give it more, as far as its owner holds it.".into(), facts.url(member, "/edit"), "Edit key")
        }
        Code::Disabled if allowed.enable => ("Enable the key to let it through.".into(), facts.url(member, "/enable"), "Enable key"),
        Code::Expired | Code::Rolled if allowed.roll => ("Roll the key to give it a new secret.".into(), facts.url(member, "/roll"), "Roll key"),
        Code::ValidInGrace if allowed.renew && facts.key.life.expires_at.is_some_and(|end| end <= asked.at) => {
            ("Renew the key to start its lifetime again.".into(), facts.url(member, "/renew"), "Renew key")
        }
        _ => none,
    }
}
