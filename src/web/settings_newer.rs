//! Two who change one card of settings: a mark of what a form showed, and what is saved now, in words.

use super::settings::{fields_of, filled};
use crate::domain::{
    lifetime::{self, Lifetime},
    mark,
    tenant::Settings,
};

/// What the settings are called where a newer one is shown.
const LABELS: [(&str, &str); 18] = [
    ("maximum", "Maximum lifetime, in days"),
    ("default", "Default lifetime"),
    ("default_days", "Default lifetime, in days"),
    ("per_member", "Maximum keys per member"),
    ("grace", "Grace after expiry, in days"),
    ("notices", "Expiry notices, days before"),
    ("extensions", "Extensions by link"),
    ("overlap", "Longest overlap after a roll, in days"),
    ("keep", "Rolling again keeps"),
    ("see_all", "Admins see all keys"),
    ("manage_all", "Admins manage all keys"),
    ("delete", "Admins delete keys"),
    ("code_create", "A code for create and renew"),
    ("code_enable", "A code for enable"),
    ("code_turn_on", "A code for turning on API keys"),
    ("require_totp", "Two-step sign-in for everyone"),
    ("events", "Events kept, in days"),
    ("usage", "Usage kept, in days"),
];

/// A short mark of what a card shows, so that a form that showed something else is noticed.
pub fn mark(card: &str, settings: &Settings) -> String {
    let form = filled(settings);
    mark::mark(fields_of(card).iter().map(|name| form.text(name)))
}

/// What a card shows now, where somebody else has changed it meanwhile.
pub fn newer(card: &str, settings: &Settings) -> Vec<(&'static str, String)> {
    const SWITCHES: [&str; 7] = ["see_all", "manage_all", "delete", "code_create", "code_enable", "code_turn_on", "require_totp"];
    let form = filled(settings);
    let worded = |name: &str| match form.text(name) {
        _ if SWITCHES.contains(&name) => if form.checked(name) { "On" } else { "Off" }.to_owned(),
        "" => "None".to_owned(),
        "in_use" => "The secret in use".to_owned(),
        "original" => "The original".to_owned(),
        "latest" => "The latest".to_owned(),
        "none" => "None".to_owned(),
        "never" => "Never expires".to_owned(),
        "days" => "A number of days".to_owned(),
        text => text.parse::<Lifetime>().ok().filter(|_| name == "default").map_or_else(|| text.to_owned(), |length| lifetime::words(Some(length))),
    };
    LABELS
        .iter()
        .filter(|(name, _)| fields_of(card).contains(name) && (*name != "default_days" || form.has("default", "days")))
        .map(|(name, label)| (*label, worded(name)))
        .collect()
}
