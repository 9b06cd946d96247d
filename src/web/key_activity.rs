//! The events of a key in words.

use serde_json::Value;

use crate::domain::{
    event::{Action, Event},
    time::{Time, ago, date, date_time},
};

/// One line of the list.
#[derive(Debug, Clone)]
pub struct Line {
    /// The icon.
    pub symbol: &'static str,
    /// The class of its colour; empty for none.
    pub tone: &'static str,
    /// Who.
    pub who: String,
    /// What they did.
    pub did: &'static str,
    /// More of it; may be empty.
    pub more: String,
    /// When, in short.
    pub when: String,
    /// When, exactly.
    pub at: String,
}

/// An event in words.
pub fn line(event: &Event, now: Time) -> Line {
    let (symbol, tone) = match event.action {
        Action::KeyCreated => ("plus", "ic-ok"),
        Action::KeyEdited => ("pencil", ""),
        Action::KeyRolled => ("rotate-cw", "ic-accent"),
        Action::KeyFinished => ("check", ""),
        Action::KeyRenewed | Action::KeyExtended => ("calendar-plus", "ic-ok"),
        Action::KeyDisabled => ("circle-pause", "ic-warn"),
        Action::KeyEnabled => ("circle-play", "ic-ok"),
        Action::KeyRevoked => ("ban", "ic-bad"),
        Action::KeyDeleted => ("trash-2", "ic-bad"),
        _ => ("info", ""),
    };
    Line {
        symbol,
        tone,
        who: event.actor.name.clone(),
        did: event.action.sentence(),
        more: more(event.action, &event.details),
        when: ago(event.at, now),
        at: date_time(event.at),
    }
}

fn more(action: Action, details: &Value) -> String {
    match action {
        Action::KeyCreated => format!("{}.", expires(&details["expires_at"])),
        Action::KeyEdited => edited(details),
        Action::KeyRolled => rolled(details),
        Action::KeyFinished => format!("Instead of on {}.", moment(&details["old_secret_stops_at"]["from"]).map(date_time).unwrap_or_default()),
        Action::KeyRenewed | Action::KeyExtended => {
            let before = moment(&details["expires_at"]["from"]).map(|at| format!(" instead of {}", date(at))).unwrap_or_default();
            format!("{}{before}.", expires(&details["expires_at"]["to"]))
        }
        Action::KeyDisabled | Action::KeyRevoked => {
            details["reason"].as_str().filter(|reason| !reason.is_empty()).map(|reason| format!("Reason: {reason}")).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn rolled(details: &Value) -> String {
    let stops = match (details["keep"].as_str(), moment(&details["old_secret_stops_at"])) {
        (Some("none") | None, _) | (_, None) if details["compromised"].as_bool() == Some(true) => {
            "The old secret stopped at once: it was leaked".to_owned()
        }
        (Some("none") | None, _) | (_, None) => "The old secret stopped at once".to_owned(),
        (Some("original"), Some(at)) => format!("The roll before it was undone; the original secret stops on {}", date_time(at)),
        (_, Some(at)) => format!("Old secret stops on {}", date_time(at)),
    };
    if details["expires_at"]["from"] == details["expires_at"]["to"] {
        format!("{stops}; confirmed with a code.")
    } else {
        format!("{stops}. {}; confirmed with a code.", expires(&details["expires_at"]["to"]))
    }
}

fn edited(details: &Value) -> String {
    let Some(changes) = details.as_object() else { return String::new() };
    let mut parts = Vec::new();
    for (field, change) in changes {
        let (from, to) = (&change["from"], &change["to"]);
        parts.push(match field.as_str() {
            "name" => format!("Name: “{}”, before “{}”", text(to), text(from)),
            "comment" => "Comment".to_owned(),
            "expires_at" => format!("{}, before: {}", expires(to), moment(from).map_or_else(|| "never".to_owned(), date)),
            "ip_ranges" => listed("IP ranges", from, to, "any address"),
            "notice_recipients" => listed("Notices to", from, to, "the owner only"),
            "resources" => listed("Resources", from, to, "all of the owner’s"),
            "access" => listed("Access", from, to, "as the owner"),
            other => other.to_owned(),
        });
    }
    parts.join("; ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What was added to a list and what was taken away; `whole` stands for no list.
fn listed(what: &str, from: &Value, to: &Value, whole: &str) -> String {
    let list = |value: &Value| value.as_array().map(|list| list.iter().map(|item| text(item).to_owned()).collect::<Vec<_>>());
    match (list(from), list(to)) {
        (Some(before), Some(after)) if !after.is_empty() => {
            let added: Vec<&str> = after.iter().filter(|item| !before.contains(item)).map(String::as_str).collect();
            let gone: Vec<&str> = before.iter().filter(|item| !after.contains(item)).map(String::as_str).collect();
            let mut words = Vec::new();
            if !added.is_empty() {
                words.push(format!("added {}", added.join(", ")));
            }
            if !gone.is_empty() {
                words.push(format!("removed {}", gone.join(", ")));
            }
            format!("{what}: {}", words.join(", "))
        }
        (_, Some(after)) if !after.is_empty() => format!("{what}: {}", after.join(", ")),
        _ if to.get("role").is_some() => format!("{what}: an access role"),
        _ => format!("{what}: {whole}"),
    }
}

fn moment(value: &Value) -> Option<Time> {
    value.as_str()?.parse().ok()
}

fn expires(value: &Value) -> String {
    moment(value).map_or_else(|| "Never expires".into(), |at| format!("Expires on {}", date(at)))
}
