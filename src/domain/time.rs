//! Moments and how people read them. A moment is UTC, cut to microseconds (what PostgreSQL keeps); a day is 24 hours.

use chrono::{DateTime, Datelike, Duration, Timelike, Utc};

/// A moment in UTC.
pub type Time = DateTime<Utc>;

/// Whole days as a duration of 24 hours each.
pub const fn days(count: i64) -> Duration {
    Duration::seconds(count * 86_400)
}

/// The last moment that a key may expire at: the end of the year 9999.
pub fn last_moment() -> Time {
    DateTime::from_timestamp(253_402_300_799, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// `3 Dec 2026`
pub fn date(at: Time) -> String {
    at.format("%-d %b %Y").to_string()
}

/// `3 Dec 2026, 08:47 UTC`
pub fn date_time(at: Time) -> String {
    at.format("%-d %b %Y, %H:%M UTC").to_string()
}

/// `Tue 24 Nov 2026, 14:32 UTC`
pub fn weekday_time(at: Time) -> String {
    at.format("%a %-d %b %Y, %H:%M UTC").to_string()
}

/// How long ago: relative under 24 hours (`2 min ago`), else the date.
pub fn ago(at: Time, now: Time) -> String {
    let passed = now - at;
    if passed < Duration::minutes(1) {
        "just now".into()
    } else if passed < Duration::hours(1) {
        format!("{} min ago", passed.num_minutes())
    } else if passed < days(1) {
        format!("{} h ago", passed.num_hours())
    } else if at.year() == now.year() {
        at.format("%-d %b, %H:%M").to_string()
    } else {
        date(at)
    }
}

/// What is left until `until`, in whole days rounded down, hours under one day: `12 days`, `1 day`, `5 hours`, `under an hour`.
pub fn left(until: Time, now: Time) -> String {
    let rest = until - now;
    match (rest.num_days(), rest.num_hours()) {
        (1, _) => "1 day".into(),
        (d, _) if d > 1 => format!("{d} days"),
        (_, 1) => "1 hour".into(),
        (_, h) if h > 1 => format!("{h} hours"),
        _ => "under an hour".into(),
    }
}

/// Cuts what is finer than a microsecond.
pub fn cut(at: Time) -> Time {
    at.with_nanosecond(at.nanosecond() / 1000 * 1000).unwrap_or(at)
}
