//! How a key looks wherever it is shown: badge and marker, remaining lifetime, last use, 30 days of requests, and the menu of
//! what may be done with it. Templates read it with the macros of `keys/parts.html`.

use std::{collections::HashMap, fmt::Write as _};

use super::key_facts::Allowed;
use crate::{
    domain::{
        access::KeyAccess,
        ids::{AccessRoleId, MemberId},
        key::{Key, Life, Status, Use},
        time::{Time, ago, date, date_time, days, left},
    },
    store::{
        grid::Month,
        members::{Acting, Owner},
        tenants::Tenant,
    },
};

/// A second line under a badge: what works in spite of the status, or fails in spite of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The icon.
    pub symbol: &'static str,
    /// The words.
    pub words: String,
    /// Whether it tells of a key that fails; amber otherwise.
    pub quiet: bool,
}

/// The badge of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusView {
    /// The class after `b-`.
    pub class: &'static str,
    /// The icon, `dot` for the dot.
    pub symbol: &'static str,
    /// The word.
    pub word: &'static str,
    /// The lines under it.
    pub markers: Vec<Marker>,
    /// Whether the row goes grey.
    pub off: bool,
}

/// The badge and markers of a key, decided as verification decides.
pub fn status(life: &Life, tenant: &Tenant, owner_active: bool, now: Time) -> StatusView {
    let status = life.status(now);
    let works_until = life.works_until(&tenant.grace, now).filter(|end| *end > now);
    let in_grace = status == Status::Expired && works_until.is_some();
    let amber = |symbol, words| Marker { symbol, words, quiet: false };
    let mut markers = Vec::new();
    let works = status == Status::Active || in_grace;
    if works && !owner_active {
        markers.push(Marker { symbol: "lock", words: "Owner suspended".into(), quiet: true });
    } else if works && !tenant.settings.keys_enabled {
        markers.push(Marker { symbol: "power-off", words: "Keys are off".into(), quiet: true });
    } else if works && tenant.suspended_at.is_some() {
        markers.push(Marker { symbol: "lock", words: "Tenant suspended".into(), quiet: true });
    }
    match (status, life.expires_at) {
        (Status::Active, Some(end)) if end <= now + tenant.settings.expiring_soon() => markers.push(amber("clock", "Expiring soon".into())),
        (Status::Expired, _) => markers.extend(works_until.map(|end| amber("hourglass", format!("Works until {}", end.format("%-d %b"))))),
        _ => {}
    }
    let (class, symbol) = match status {
        Status::Active => ("active", "dot"),
        Status::Expired if in_grace => ("grace", "timer-off"),
        Status::Expired => ("expired", "timer-off"),
        Status::Disabled => ("disabled", "circle-pause"),
        Status::Revoked => ("revoked", "ban"),
    };
    StatusView { class, symbol, word: status.word(), markers, off: !works }
}

/// When a key expires, in two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryView {
    /// The date, or *Never*.
    pub date: String,
    /// The exact moment, for a title.
    pub exact: String,
    /// What is left, or what happened.
    pub note: String,
    /// The meter: its class and its width of 100.
    pub meter: Option<(&'static str, i64)>,
}

/// When a key expires and what is left of its life.
pub fn expiry(key: &Key, tenant: &Tenant, now: Time) -> ExpiryView {
    let life = &key.life;
    let date_shown = life.expires_at.map_or_else(|| "Never".into(), date);
    let exact = life.expires_at.map(date_time).unwrap_or_default();
    let plain = |note: String| ExpiryView { date: date_shown.clone(), exact: exact.clone(), note, meter: None };
    if let Some(at) = life.revoked_at {
        return plain(format!("Revoked {}", date(at)));
    }
    let Some(end) = life.expires_at else { return plain("No expiry set".into()) };
    let share = |part: chrono::Duration, of: chrono::Duration| (part.num_seconds() * 100 / of.num_seconds().max(1)).clamp(1, 100);
    if end <= now {
        let grace_end = tenant.grace.end(end, now);
        if grace_end > now && life.disabled_at.is_none() {
            let meter = Some(("x", share(grace_end - now, grace_end - end)));
            return ExpiryView { note: format!("{} of grace", left(grace_end, now)), meter, ..plain(String::new()) };
        }
        return plain(match (now - end).num_days() {
            0 => "today".into(),
            1 => "1 day ago".into(),
            n => format!("{n} days ago"),
        });
    }
    let class = match end - now {
        rest if rest < days(8) => "x",
        rest if rest < days(15) => "w",
        _ => "",
    };
    ExpiryView { note: format!("{} left", left(end, now)), meter: Some((class, share(end - now, end - key.expiry_set_at))), ..plain(String::new()) }
}

/// The last use in two lines: when, and from where.
pub fn last_used(last: Option<&Use>, now: Time) -> (String, String) {
    last.map_or_else(|| ("Never".into(), String::new()), |last| (sentence(&ago(last.at, now)), last.ip.clone().unwrap_or_default()))
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `4,310`, `86.2 k`, `1.42 M`
pub fn number(n: i64) -> String {
    // Three figures are what is read; the cut is down, so that 99 999 is not 100 k.
    match n {
        0..1_000 => n.to_string(),
        1_000..10_000 => format!("{},{:03}", n / 1000, n % 1000),
        10_000..100_000 => format!("{}.{} k", n / 1000, n % 1000 / 100),
        100_000..1_000_000 => format!("{} k", n / 1000),
        1_000_000..10_000_000 => format!("{}.{:02} M", n / 1_000_000, n % 1_000_000 / 10_000),
        10_000_000..100_000_000 => format!("{}.{} M", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{} M", n / 1_000_000),
    }
}

/// 30 bars with what they add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageView {
    /// The SVG path of the accepted requests.
    pub accepted: String,
    /// The SVG path of the refused ones, on top of the others.
    pub refused: String,
    /// The sentence for those who do not see the bars.
    pub label: String,
    /// The number of all requests, or *No requests*.
    pub total: String,
    /// How many were refused; empty for none.
    pub refused_total: String,
}

/// The bars of a key's last 30 days.
pub fn usage(month: Option<&Month>) -> UsageView {
    let none = UsageView { label: "No requests in the last 30 days".into(), total: "No requests".into(), ..UsageView::default() };
    let Some(month) = month else { return none };
    let (accepted, refused) = month.iter().fold((0, 0), |sum, day| (sum.0 + day.accepted, sum.1 + day.refused));
    if accepted + refused == 0 {
        return none;
    }
    let most = month.iter().map(|day| day.accepted + day.refused).max().unwrap_or(1).max(1);
    let mut view = UsageView { total: number(accepted + refused), ..UsageView::default() };
    // Lines two pixels wide, 22 pixels high at most; a day with few requests still shows, beside many others too.
    let height = |n: i64| if n == 0 { 0 } else { ((n * 44 / most + 1) / 2).max(1) };
    let mut foot = None;
    for (at, day) in month.iter().enumerate() {
        let red = height(day.refused).min(if day.accepted > 0 { 21 } else { 22 });
        let top = 22 - height(day.accepted).min(22 - red);
        if day.accepted > 0 {
            // From foot to foot: that is the shortest way to say it, fifty times a page.
            let _ = match foot.replace(at) {
                None => write!(view.accepted, "M{} 22V{top}z", at * 3 + 1),
                Some(before) => write!(view.accepted, "m{} 0V{top}z", (at - before) * 3),
            };
        }
        if day.refused > 0 {
            let _ = write!(view.refused, "M{} {top}V{}", at * 3 + 1, top - red);
        }
    }
    view.label = format!("{} requests in the last 30 days", view.total);
    if refused > 0 {
        view.refused_total = number(refused);
        let _ = write!(view.label, ", {} of them refused", view.refused_total);
    }
    view
}

/// One line of a row's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuItem {
    /// The icon.
    pub symbol: &'static str,
    /// The verb; an ellipsis marks what asks first.
    pub label: &'static str,
    /// Where to.
    pub url: String,
    /// Whether it opens in the dialog.
    pub dialog: bool,
    /// Whether it posts at once, with the key's version, by the form `one-key` of the page.
    pub posts: bool,
    /// Whether it is red.
    pub danger: bool,
}

/// What may be done with a key, in three groups: look, renew, stop. What may not be done is left out.
pub fn menu(key: &Key, acting: &Acting, allowed: Allowed) -> Vec<Vec<MenuItem>> {
    let base = format!("/t/{}/keys/{}", acting.tenant.slug, key.id);
    let tenant = format!("/t/{}", acting.tenant.slug);
    let link = |symbol, label, url: String| MenuItem { symbol, label, url, dialog: false, posts: false, danger: false };
    let ask = |symbol, label, verb: &str| MenuItem { dialog: true, ..link(symbol, label, format!("{base}/{verb}")) };
    let asks_code = acting.tenant.settings.code_actions.enable;
    let enable = ask("circle-play", if asks_code { "Enable…" } else { "Enable" }, "enable");
    let look = [
        (true, link("file-text", "View details", base.clone())),
        (allowed.edit, link("pencil", "Edit", format!("{base}/edit"))),
        (true, link("scroll-text", "Search in logs", format!("{tenant}/events?key={}", key.id))),
        (true, link("list-checks", "Explain", format!("{tenant}/explain?key={}", key.id))),
    ];
    let renew = [
        (allowed.roll, ask("rotate-cw", "Roll…", "roll")),
        (allowed.renew, ask("calendar-plus", "Renew…", "renew")),
        (allowed.finish, ask("unlink", "Finish now…", "finish")),
        (allowed.hand_over, link("user-round", "Hand over…", format!("{base}/hand-over"))),
    ];
    let stop = [
        (allowed.disable, ask("circle-pause", "Disable…", "disable")),
        (allowed.enable, MenuItem { dialog: asks_code, posts: !asks_code, ..enable }),
        (allowed.revoke, MenuItem { danger: true, ..ask("ban", "Revoke…", "revoke") }),
        (allowed.delete, MenuItem { danger: true, ..ask("trash-2", "Delete…", "delete") }),
    ];
    let groups = [look, renew, stop].map(|group| group.into_iter().filter(|(may, _)| *may).map(|(_, item)| item).collect::<Vec<_>>());
    groups.into_iter().filter(|group| !group.is_empty()).collect()
}

/// How a key's scopes were chosen, in words. *Same as mine* is what the owner reads.
pub fn access(key: &Key, reader: Option<MemberId>, roles: &HashMap<AccessRoleId, String>) -> (String, String) {
    match &key.access {
        KeyAccess::Owner if Some(key.owner) == reader => ("Same as mine".into(), String::new()),
        KeyAccess::Owner => ("Same as owner".into(), String::new()),
        KeyAccess::Role(role) => (roles.get(role).cloned().unwrap_or_else(|| "A deleted access role".into()), String::new()),
        KeyAccess::Scopes(scopes) => {
            let all: Vec<&str> = scopes.iter().map(crate::domain::names::Scope::as_str).collect();
            let words = match all.as_slice() {
                [] => "No scopes".into(),
                [one] => (*one).to_owned(),
                [first, rest @ ..] => format!("{first} +{}", rest.len()),
            };
            (words, all.join(", "))
        }
    }
}

/// Everything that a row shows.
#[derive(Debug, Clone)]
pub struct KeyView {
    /// The key ID.
    pub id: String,
    /// The name.
    pub name: String,
    /// Its page.
    pub url: String,
    /// The tenant's name.
    pub tenant: String,
    /// Badge and markers.
    pub status: StatusView,
    /// The owner's name.
    pub owner: String,
    /// The owner's address, or *Service account*.
    pub owner_line: String,
    /// How the scopes were chosen.
    pub access: String,
    /// All scopes, for a title.
    pub access_title: String,
    /// The first IP range.
    pub ip: String,
    /// How many more there are.
    pub more_ips: usize,
    /// All IP ranges, for a title.
    pub ip_title: String,
    /// Which resources.
    pub resources: String,
    /// All chosen resources, for a title.
    pub resources_title: String,
    /// The date.
    pub created: String,
    /// The date.
    pub changed: String,
    /// The exact moments, for titles.
    pub created_exact: String,
    /// The exact moment of the last change.
    pub changed_exact: String,
    /// When it expires.
    pub expiry: ExpiryView,
    /// When it was last used.
    pub last_used: String,
    /// From where.
    pub last_ip: String,
    /// 30 days of requests.
    pub usage: UsageView,
    /// The comment.
    pub comment: String,
    /// What may be done.
    pub menu: Vec<Vec<MenuItem>>,
    /// What a form that acts at once has seen.
    pub version: i64,
}

impl KeyView {
    /// A key as `acting` sees it, who may do with it what is `allowed`.
    pub fn new(
        key: &Key,
        owner: Option<&Owner>,
        roles: &HashMap<AccessRoleId, String>,
        month: Option<&Month>,
        (acting, allowed): (&Acting, Allowed),
        now: Time,
    ) -> Self {
        let url = format!("/t/{}/keys/{}", acting.tenant.slug, key.id);
        Self::of(key, owner, roles, month, &acting.tenant, Some(acting.id), (url, menu(key, acting, allowed)), now)
    }

    /// A key of a tenant as a member of it, or nobody in it, sees it; with its address and menu.
    #[allow(clippy::too_many_arguments)]
    pub fn of(
        key: &Key,
        owner: Option<&Owner>,
        roles: &HashMap<AccessRoleId, String>,
        month: Option<&Month>,
        tenant: &Tenant,
        reader: Option<MemberId>,
        (url, menu): (String, Vec<Vec<MenuItem>>),
        now: Time,
    ) -> Self {
        let (access, access_title) = access(key, reader, roles);
        let ranges: Vec<String> = key.ip_ranges.texts();
        let chosen: Option<Vec<String>> = key.resources.chosen().map(|patterns| patterns.iter().map(ToString::to_string).collect());
        let (last_used, last_ip) = last_used(key.last_used.as_ref(), now);
        Self {
            id: key.id.to_string(),
            name: key.name.to_string(),
            url,
            tenant: tenant.name.clone(),
            status: status(&key.life, tenant, owner.is_some_and(Owner::is_active), now),
            owner: owner.map_or_else(|| "Unknown".into(), |owner| owner.name.clone()),
            owner_line: owner.map_or_else(String::new, |owner| if owner.is_service() { "Service account".into() } else { owner.email.clone() }),
            access,
            access_title,
            ip: ranges.first().cloned().unwrap_or_default(),
            more_ips: ranges.len().saturating_sub(1),
            ip_title: ranges.join(", "),
            resources: match chosen.as_deref() {
                None => "All of the owner’s".into(),
                Some([]) => "None".into(),
                Some([one]) => one.clone(),
                Some([first, rest @ ..]) => format!("{first} +{}", rest.len()),
            },
            resources_title: chosen.unwrap_or_default().join(", "),
            created: date(key.created_at),
            changed: date(key.changed_at),
            created_exact: date_time(key.created_at),
            changed_exact: date_time(key.changed_at),
            expiry: expiry(key, tenant, now),
            last_used,
            last_ip,
            usage: usage(month),
            comment: key.comment.clone(),
            menu,
            version: key.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::grid::Day;

    #[test]
    fn numbers_are_short_and_never_rounded_up() {
        let shown = [0, 999, 1_000, 9_806, 86_240, 99_999, 318_400, 999_999, 1_420_000, 20_800_000, 1_234_000_000].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "9,806", "86.2 k", "99.9 k", "318 k", "999 k", "1.42 M", "20.8 M", "1234 M"]);
    }

    #[test]
    fn bars_stay_inside_their_picture_and_say_how_many_were_refused() {
        let mut month = [Day::default(); 30];
        month[29] = Day { accepted: 1, refused: 999 };
        let view = usage(Some(&month));
        assert_eq!((view.accepted.as_str(), view.refused.as_str()), ("M88 22V21z", "M88 21V0"));
        month[0].accepted = 500;
        month[27].accepted = 1000;
        assert_eq!(usage(Some(&month)).accepted, "M1 22V11zm81 0V0zm6 0V21z");
        assert_eq!((view.total.as_str(), view.refused_total.as_str()), ("1,000", "999"));
        assert_eq!(usage(Some(&[Day::default(); 30])).total, "No requests");
    }
}
