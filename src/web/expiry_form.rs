//! The choice of an expiry in a form: a lifetime, never, a number of days, or a date in the member's time zone.

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::form::Form;
use crate::{
    domain::{
        lifetime::{self, Choice, Lifetime},
        tenant::Settings,
        time::{Time, date, date_time},
    },
    store::tenants::Tenant,
};

/// The lifetimes that every form offers.
const OFFERED: [Lifetime; 3] = [Lifetime::Months(3), Lifetime::Months(6), Lifetime::Months(12)];

/// A lifetime that is offered.
#[derive(Debug, Clone)]
pub struct LifeOption {
    /// What the form sends: `P3M`, `never`.
    pub value: String,
    /// The words.
    pub label: String,
    /// The day that it ends on; empty for never.
    pub until: String,
}

/// What a form offers as expiry.
#[derive(Debug, Clone)]
pub struct LifeOffer {
    /// Lifetimes, and never where the tenant allows it.
    pub options: Vec<LifeOption>,
    /// The last day that may be chosen; empty where there is no maximum.
    pub last_day: String,
    /// The most days that may be chosen.
    pub most_days: Option<u32>,
    /// The member's time zone, in which a date ends.
    pub zone: String,
    /// Grace and maximum in words.
    pub rules: String,
    /// What the choice in the form comes to; empty where nothing right is chosen.
    pub says: String,
}

/// The member's time zone.
pub fn zone(name: &str) -> Tz {
    name.parse().unwrap_or(Tz::UTC)
}

/// What may be chosen; `also` is offered where it is none of the usual ones.
pub fn offer(tenant: &Tenant, also: Option<Lifetime>, zone: Tz, now: Time) -> LifeOffer {
    let settings = &tenant.settings;
    let extra = also.filter(|lifetime| matches!(lifetime, Lifetime::Months(_)) && !OFFERED.contains(lifetime));
    let mut options: Vec<LifeOption> = OFFERED
        .into_iter()
        .chain(extra)
        .filter(|lifetime| settings.maximum_days.is_none_or(|max| lifetime.counted_days() <= max))
        .map(|lifetime| LifeOption {
            value: lifetime.to_string(),
            label: lifetime::words(Some(lifetime)),
            until: lifetime.after(now).map(date).unwrap_or_default(),
        })
        .collect();
    if settings.maximum_days.is_none() {
        options.push(LifeOption { value: "never".into(), label: "Never".into(), until: String::new() });
    }
    let last_day = settings
        .maximum_days
        .and_then(|max| now.checked_add_signed(crate::domain::time::days(max.into())))
        .map(|end| end.with_timezone(&zone).format("%Y-%m-%d").to_string())
        .unwrap_or_default();
    LifeOffer { options, last_day, most_days: settings.maximum_days, zone: zone.name().to_owned(), rules: rules(settings), says: String::new() }
}

fn rules(settings: &Settings) -> String {
    let grace = match settings.grace_days {
        0 => "There is no grace after the expiry.".to_owned(),
        1 => "After its expiry a key works for 1 day of grace.".to_owned(),
        days => format!("After its expiry a key works for {days} days of grace."),
    };
    settings.maximum_days.map_or_else(|| grace.clone(), |max| format!("{grace} The maximum here is {max} days, so “Never” is not offered."))
}

/// What a form sends for a lifetime: `P3M`, `never`, or `days`, which goes with the number.
pub fn value_of(lifetime: Option<Lifetime>) -> (String, Option<u32>) {
    match lifetime {
        None => ("never".into(), None),
        Some(Lifetime::Days(days)) => ("days".into(), Some(days)),
        Some(months) => (months.to_string(), None),
    }
}

/// Reads the choice that field `name` made, with the fields `days` and `date` beside it. What is wrong is kept in the form.
pub fn read(form: &mut Form, name: &str, zone: Tz) -> Option<Choice> {
    match form.text(name).to_owned().as_str() {
        "never" => Some(Choice::Never),
        "days" => form
            .parse("days", |text| match text.trim().parse::<u32>() {
                Ok(days) if days > 0 => Ok(days),
                _ => Err("Enter a whole number of days, 1 or more."),
            })
            .map(|days| Choice::For(Lifetime::Days(days))),
        "date" => form
            .parse("date", |text| NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").map_err(|_| "Choose a date, such as 2027-06-30."))
            .map(|day| Choice::EndOf(day, zone)),
        other => {
            let lifetime = other.parse::<Lifetime>().ok();
            if lifetime.is_none() {
                form.wrong(name, "Choose when the key expires.");
            }
            lifetime.map(Choice::For)
        }
    }
}

/// The field that an error about the expiry belongs to.
pub fn field_of<'a>(form: &Form, name: &'a str) -> &'a str {
    match form.text(name) {
        "days" => "days",
        "date" => "date",
        _ => name,
    }
}

/// What the choice in a form comes to, for showing it before it is sent: `Expires on 21 Nov 2027, 23:00 UTC.`
pub fn says(form: &Form, name: &str, zone: Tz, settings: &Settings, now: Time) -> String {
    let mut form = form.clone();
    let Some(choice) = read(&mut form, name, zone) else { return String::new() };
    match lifetime::decide(choice, settings.maximum_days, now) {
        Ok(expiry) => expiry.at.map_or_else(|| "The key never expires.".into(), |at| format!("Expires on {}.", date_time(at))),
        Err(_) => String::new(),
    }
}
