//! Open sessions as the profile and a member's page list them.

use super::site::Site;
use crate::{domain::time, store::sessions::Session};

/// A session that is open.
#[derive(Debug, Clone)]
pub struct SessionLine {
    /// What ending it names.
    pub id: String,
    /// Browser and system.
    pub what: String,
    /// Whether that is a telephone.
    pub phone: bool,
    /// When it began.
    pub when: String,
    /// From which address.
    pub ip: String,
    /// When it was last used.
    pub seen: String,
    /// Whether it is the one that looks at the page.
    pub current: bool,
}

/// Those of the sessions that have not ended by age or idleness; `current` is the one that looks at the page, if it is one of them.
pub fn open(list: Vec<Session>, site: &Site, current: Option<&[u8; 32]>) -> Vec<SessionLine> {
    let now = site.clock.now();
    let (oldest, idle) = (now - site.settings.session_max, now - site.settings.session_idle);
    list.into_iter()
        .filter(|session| session.created_at > oldest && session.seen_at > idle)
        .map(|session| SessionLine {
            what: device(&session.user_agent),
            phone: ["iPhone", "Android", "Mobile"].iter().any(|word| session.user_agent.contains(word)),
            when: time::date_time(session.created_at),
            ip: session.ip,
            seen: time::ago(session.seen_at, now),
            current: current == Some(&session.id),
            id: session.public_id,
        })
        .collect()
}

/// What a person calls their browser: "Firefox 145 on Linux".
fn device(user_agent: &str) -> String {
    let version = |name: &str| {
        let rest = user_agent.split_once(name)?.1;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(number)
    };
    let browsers = [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Version/", "Safari")];
    let browser = browsers.iter().find_map(|(mark, name)| version(mark).map(|number| format!("{name} {number}")));
    let systems = [("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux")];
    let system = systems.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser,
        _ if user_agent.is_empty() => "An unknown browser".into(),
        _ => user_agent.chars().take(60).collect(),
    }
}
