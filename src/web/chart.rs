//! The bar chart of a key's requests a day, as SVG: percent across and pixels up, so that text never stretches.

use chrono::{Days, NaiveDate};

use super::{key_facts::digits, key_view::number};
use crate::domain::time::{Time, days};

/// How many days are shown, today the last.
const DAYS: usize = 30;
/// Days before today.
const BEFORE: u32 = 29;
/// Where the bars stand.
const FLOOR: f64 = 168.0;
/// How high the highest may be.
const HEIGHT: f64 = 160.0;

/// A rectangle of a bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// `b` for accepted, `d` for refused.
    pub class: &'static str,
    /// In percent.
    pub x: String,
    /// In pixels.
    pub y: String,
    /// In pixels.
    pub height: String,
}

/// A day's numbers, for the table.
#[derive(Debug, Clone)]
pub struct DayRow {
    /// `21 Nov 2026`
    pub day: String,
    /// Accepted requests.
    pub accepted: String,
    /// Refused requests.
    pub refused: String,
}

/// The chart with the numbers that go with it.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Whether there was any request.
    pub any: bool,
    /// The bars.
    pub bars: Vec<Bar>,
    /// Days below the bars: where in percent, and the words.
    pub labels: Vec<(String, String)>,
    /// The numbers of the scale, highest first.
    pub scale: Vec<String>,
    /// Where the roll stands, in percent; empty where none lies in these days.
    pub rolled: String,
    /// The chart in one sentence.
    pub sentence: String,
    /// All requests.
    pub total: String,
    /// Refused ones.
    pub refused: String,
    /// Their share.
    pub share: String,
    /// The most on one day.
    pub busiest: String,
    /// Which day that was.
    pub busiest_day: String,
    /// The numbers of each day, newest first.
    pub rows: Vec<DayRow>,
}

/// Draws the hours of 30 days: `(hour, accepted, refused)`.
pub fn draw(hours: &[(Time, i64, i64)], rolled_at: Option<Time>, now: Time) -> Chart {
    let today = now.date_naive();
    let first = today.checked_sub_days(Days::new(BEFORE.into())).unwrap_or(today);
    let mut sums = [(0i64, 0i64); DAYS];
    for (hour, accepted, refused) in hours {
        if let Some(sum) = usize::try_from((hour.date_naive() - first).num_days()).ok().and_then(|day| sums.get_mut(day)) {
            sum.0 += accepted;
            sum.1 += refused;
        }
    }
    let day = |i: usize| first.checked_add_days(Days::new(i as u64)).unwrap_or(first);
    let most = sums.iter().map(|(a, r)| a + r).max().unwrap_or(0);
    let top = round_up(most);
    let busiest = sums.iter().enumerate().max_by_key(|(_, (a, r))| a + r).map_or(0, |(i, _)| i);
    let (accepted, refused) = sums.iter().fold((0, 0), |(a, r), (da, dr)| (a + da, r + dr));
    let total = accepted + refused;
    let short = |day: NaiveDate| day.format("%-d %b").to_string();
    let share = if total > 0 { format!("{:.1} %", float(refused) * 100.0 / float(total)) } else { String::new() };
    let mut bars = Vec::new();
    for (i, (accepted, refused)) in sums.iter().enumerate() {
        let x = format!("{:.2}%", float_of(i) * 100.0 / float_of(DAYS) + 0.4);
        let up = |count: i64| (float(count) / float(top) * HEIGHT).max(if count > 0 { 1.5 } else { 0.0 });
        let (green, red) = (up(*accepted), up(*refused));
        let mut bar = |class, y: f64, height: f64| {
            if height > 0.0 {
                bars.push(Bar { class, x: x.clone(), y: format!("{y:.1}"), height: format!("{height:.1}") });
            }
        };
        bar("b", FLOOR - green, green);
        bar("d", FLOOR - green - red - if green > 0.0 { 1.5 } else { 0.0 }, red);
    }
    let rolled = rolled_at
        .and_then(|at| usize::try_from((at.date_naive() - first).num_days()).ok())
        .filter(|i| *i < DAYS)
        .map(|i| format!("{:.2}%", (float_of(i) + 0.5) * 100.0 / float_of(DAYS)))
        .unwrap_or_default();
    let sentence = if total == 0 {
        "No request in the last 30 days.".to_owned()
    } else {
        format!(
            "Bar chart of requests a day, {} to {}: {} in all, {} of them refused, {} on the busiest day, {}.",
            short(first),
            short(today),
            digits(total),
            digits(refused),
            digits(most),
            short(day(busiest))
        )
    };
    Chart {
        any: total > 0,
        bars,
        labels: [0, 7, 14, 21].iter().map(|i| (format!("{:.2}%", float_of(*i) * 100.0 / float_of(DAYS) + 0.4), short(day(*i)))).collect(),
        scale: [3, 2, 1, 0].iter().map(|third| number(top * third / 3)).collect(),
        rolled,
        sentence,
        total: number(total),
        refused: number(refused),
        share,
        busiest: number(most),
        busiest_day: short(day(busiest)),
        rows: (0..DAYS)
            .rev()
            .map(|i| DayRow { day: day(i).format("%-d %b %Y").to_string(), accepted: digits(sums[i].0), refused: digits(sums[i].1) })
            .collect(),
    }
}

/// The first moment of the first day that is shown.
pub fn from(now: Time) -> Time {
    let midnight = now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    midnight - days(BEFORE.into())
}

/// The next number that divides by three into round numbers.
fn round_up(most: i64) -> i64 {
    let mut unit = 1;
    loop {
        for step in [3, 6, 9, 12, 15, 24] {
            if step * unit >= most {
                return step * unit;
            }
        }
        unit *= 10;
    }
}

#[allow(clippy::cast_precision_loss)] // a pixel shows no more
fn float(count: i64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss)]
fn float_of(index: usize) -> f64 {
    index as f64
}
