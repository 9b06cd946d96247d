//! What each kind of mail says.

use chrono::Datelike as _;

use super::letter::{Block, Letter};
use crate::domain::{
    event::Action,
    mail::{Contents, KeyName, Line, Mail, SecurityChange},
    time::{Time, date, date_time, left},
};

/// Whom a mail is for, and where its links lead.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// What links begin with.
    pub public_url: &'a str,
    /// The recipient's name; may be empty.
    pub name: &'a str,
    /// The recipient's address.
    pub address: &'a str,
    /// When it is sent.
    pub now: Time,
    /// Whether links are left out: for who is not the recipient.
    pub hidden: bool,
}

/// Writes a mail.
pub fn write(mail: &Mail, contents: &Contents, about: &About<'_>) -> Letter {
    let mut letter = match mail {
        Mail::Digest => digest(contents, about),
        Mail::KeyChanged { key, action, by, at, facts } => key_changed(key, action, by, *at, facts),
        Mail::KeysChanged { keys, action, by, at, facts } => keys_changed(keys, action, by, *at, facts),
        Mail::HandedOver { keys, from, by, at, lost } => handed_over(keys, from, by, *at, lost),
        Mail::KeyExtended { key, from, to, at } => key_extended(key, *from, *to, *at),
        Mail::RecipientLeft { key, address, at } => recipient_left(key, address, *at),
        Mail::GatewayExpires { id, name, expires_at } => gateway_expires(id, name, *expires_at, about.now),
        Mail::Invitation { by, until, has_account } => invitation(contents, about, by, *until, *has_account),
        Mail::PasswordReset { until } => password_reset(contents, about, *until),
        Mail::ConfirmAddress { from, until } => confirm_address(contents, about, from, *until),
        Mail::SecurityChanged { what, at, from_address, by } => security_changed(about, what, *at, from_address, by.as_deref()),
    };
    letter.hidden = about.hidden;
    if let Some((slug, name)) = &contents.tenant {
        letter.place.clone_from(name);
        if has_page(mail) {
            letter.after.push(("See it in Keyward:".into(), Some(page(mail, about, slug))));
        }
    }
    if letter.preview.is_empty() {
        letter.preview = letter.paragraphs.first().cloned().unwrap_or_default();
    }
    if !about.name.is_empty() && !matches!(mail, Mail::Invitation { .. }) {
        letter.paragraphs.insert(0, format!("Hello {},", about.name));
    }
    letter
}

const fn has_page(mail: &Mail) -> bool {
    matches!(
        mail,
        Mail::KeyChanged { .. }
            | Mail::KeysChanged { .. }
            | Mail::HandedOver { .. }
            | Mail::KeyExtended { .. }
            | Mail::RecipientLeft { .. }
            | Mail::GatewayExpires { .. }
    )
}

/// The page about what the mail tells of.
fn page(mail: &Mail, about: &About<'_>, slug: &str) -> String {
    let base = format!("{}/t/{slug}", about.public_url);
    match mail {
        Mail::KeyChanged { action, .. } if action == Action::KeyDeleted.word() => format!("{}/profile?tenant={slug}", about.public_url),
        Mail::KeyChanged { key, .. } | Mail::KeyExtended { key, .. } | Mail::RecipientLeft { key, .. } => format!("{base}/keys/{}", key.id),
        Mail::GatewayExpires { .. } => format!("{base}/gateways"),
        _ => format!("{}/profile?tenant={slug}", about.public_url),
    }
}

/// The address of a link; without its token where the reader is not the recipient.
fn link(about: &About<'_>, path: &str, token: &str) -> String {
    let token = if about.hidden { format!("{}_…", token.split_once('_').map_or("", |(prefix, _)| prefix)) } else { token.to_owned() };
    format!("{}/{path}/{token}", about.public_url)
}

fn used(line: &Line, now: Time) -> String {
    let Some(at) = line.last_used_at else { return "Never used.".into() };
    let shown = if at.year() == now.year() { at.format("%-d %b, %H:%M UTC").to_string() } else { date_time(at) };
    let from = line.last_used_from.as_ref().map_or_else(String::new, |ip| format!(", from {ip}"));
    format!("Last used {shown}{from}.")
}

/// How urgent a line is, and the words of its mark.
fn mark(line: &Line, now: Time) -> (&'static str, String) {
    match line.expires_at > now {
        true => {
            let rest = left(line.expires_at, now);
            (if line.expires_at - now <= chrono::Duration::hours(48) { "bad" } else { "warn" }, format!("{rest} left"))
        }
        false if line.works_until <= now => ("bad", "Expired".into()),
        false if line.stage == "grace_ends" => ("bad", format!("Stops in {}", left(line.works_until, now))),
        false => ("bad", "Expired, in grace".into()),
    }
}

fn ends(line: &Line, now: Time) -> String {
    let expiry = date_time(line.expires_at);
    match line.expires_at > now {
        true if line.works_until > line.expires_at => format!("Expires on {expiry}, and stops on {} after its grace.", date_time(line.works_until)),
        true => format!("Expires on {expiry}, and stops then."),
        false if line.works_until > now => format!("Expired on {expiry}, works until {}.", date_time(line.works_until)),
        false => format!("Expired on {expiry}, and no longer works."),
    }
}

fn subject_of(line: &Line, now: Time) -> String {
    let name = &line.key.name;
    match line.expires_at > now {
        true => format!("“{name}” expires in {}", left(line.expires_at, now)),
        false if line.works_until <= now => format!("“{name}” has expired"),
        false if line.stage == "grace_ends" => format!("“{name}” stops on {}", date(line.works_until)),
        false => format!("“{name}” has expired and works until {}", date(line.works_until)),
    }
}

/// The subject of a digest of several keys.
pub fn digest_subject(count: usize) -> String {
    format!("{count} API keys need your attention")
}

/// How many keys a digest shows in full; the others have a line and their link.
const IN_FULL: usize = 100;

fn digest(contents: &Contents, about: &About<'_>) -> Letter {
    let now = about.now;
    let mut lines: Vec<&(Line, Option<String>)> = contents.lines.iter().collect();
    // The one that stops working first stands first.
    lines.sort_by_key(|(line, _)| line.urgency(now));
    let any_link = lines.iter().any(|(line, token)| token.is_some() && line.extended_to.is_some());
    let for_extra = lines.iter().all(|(line, _)| line.for_extra);
    let for_admin = lines.iter().all(|(line, _)| line.for_admin);
    let is_theirs = |line: &Line| !line.for_extra && !line.for_admin;
    let count = lines.len() + contents.more;
    let (subject, heading, opening) = match lines.as_slice() {
        [(line, _)] if contents.more == 0 => {
            let subject = subject_of(line, now);
            let whose = if is_theirs(line) { "Your" } else { "The" };
            let opening = format!("{whose} API key “{}”{}", line.key.name, ends_of_sentence(line, now));
            (subject.clone(), subject, opening)
        }
        _ => {
            let whose = if lines.iter().all(|(line, _)| is_theirs(line)) { "of your " } else { "" };
            (digest_subject(count), format!("{count} {whose}API keys need your attention"), String::new())
        }
    };
    let blocks = lines.iter().take(IN_FULL).map(|(line, token)| {
        let mut facts = vec![("Key ID".to_owned(), line.key.id.clone())];
        let mut said = vec![ends(line, now)];
        match line.extended_to {
            Some(to) => said.push(format!("If extended: {}.", date_time(to))),
            None => said.push("It cannot be extended by link.".into()),
        }
        if !line.for_extra {
            facts.push(("Use".to_owned(), used(line, now)));
        }
        let address = token.as_ref().map(|token| link(about, "extend", token));
        Block {
            mark: Some(mark(line, now)),
            title: line.key.name.clone(),
            lines: said,
            facts,
            button: address.clone().filter(|_| line.extended_to.is_some()).map(|address| ("Extend by 14 days".to_owned(), address)),
            aside: address.filter(|_| line.for_extra).map(|address| ("No more of these".to_owned(), format!("{address}/stop"))),
        }
    });
    let needed = if count == 1 {
        "If it is still needed, extend it by 14 days. Its secret and access stay the same, so nothing has to be changed where it is used."
    } else {
        "Extend those that are still needed by 14 days each. Secrets and access stay the same, so nothing has to be changed where they are used."
    };
    let mut paragraphs: Vec<String> = Some(opening).filter(|words| !words.is_empty()).into_iter().collect();
    if any_link {
        paragraphs.push(needed.into());
    }
    let mut after = Vec::new();
    if lines.len() > IN_FULL {
        after.push((format!("{} more, with the link to extend each by 14 days:", lines.len() - IN_FULL), None));
    }
    after.extend(lines.iter().skip(IN_FULL).map(|(line, token)| {
        let address = token.as_ref().filter(|_| line.extended_to.is_some()).map(|token| link(about, "extend", token));
        let without = if address.is_some() { "" } else { " It cannot be extended by link." };
        (format!("{} ({}). {}{without}", line.key.name, line.key.id, ends(line, now)), address)
    }));
    if contents.more > 0 {
        let words = format!("The {} most urgent are above; {} more are not shown here.", lines.len(), contents.more);
        let list = contents.tenant.as_ref().filter(|_| !for_extra).map(|(slug, _)| format!("{}/t/{slug}/keys?status=expiring", about.public_url));
        after.push((if list.is_some() { format!("{words} The list of keys has them all:") } else { words }, list));
    }
    if any_link {
        after.push(("Each button opens a page that asks you to confirm. A link works once and can do nothing but extend its key.".to_owned(), None));
    }
    if let Some((slug, _)) = contents.tenant.as_ref().filter(|_| for_admin) {
        let words = if count == 1 {
            "Those who look after the key are no longer active. To see whose it is and decide what becomes of it, sign in:"
        } else {
            "Those who look after these keys are no longer active. To see whose they are and decide what becomes of them, sign in:"
        };
        after.push((words.to_owned(), Some(format!("{}/t/{slug}/keys?status=expiring", about.public_url))));
    } else if !for_extra && let Some((slug, _)) = &contents.tenant {
        after.push((
            "To give a key its full lifetime again, sign in and renew it:".to_owned(),
            Some(format!("{}/profile?tenant={slug}", about.public_url)),
        ));
    }
    after.push(("No longer needed? Do nothing: a key stops when its grace after the expiry ends.".to_owned(), None));
    let when = contents.notice_days.iter().map(u32::to_string).collect::<Vec<_>>();
    let when = match when.split_last() {
        Some((last, [])) => format!("{last} days before a key expires"),
        Some((last, before)) => format!("{} and {last} days before a key expires", before.join(", ")),
        None => "when a key has expired".into(),
    };
    let because = match (for_extra, count) {
        (true, 1) => "You get this because you were named as a recipient of notices of this key.",
        (true, _) => "You get this because you were named as a recipient of notices of these keys.",
        (false, _) if for_admin => "You get this because you administer the tenant, and nobody else is left to be told.",
        (false, 1) => "You get this because you look after the key.",
        (false, _) => "You get this because you look after these keys.",
    };
    Letter {
        subject,
        heading,
        paragraphs,
        blocks: blocks.collect(),
        after,
        why: format!("{because} Notices go out {when}, gathered in one mail a day."),
        ..Letter::default()
    }
}

fn ends_of_sentence(line: &Line, now: Time) -> String {
    if line.expires_at > now {
        format!(" expires on {}.", date_time(line.expires_at))
    } else {
        format!(" expired on {}.", date_time(line.expires_at))
    }
}

const WHY_KEY: &str = "You get this because you look after the key, and someone else did this.";

fn key_facts(key: &KeyName, at: Time) -> Vec<(String, String)> {
    vec![("Key ID".into(), key.id.clone()), ("When".into(), date_time(at))]
}

fn key_changed(key: &KeyName, action: &str, by: &str, at: Time, facts: &[(String, String)]) -> Letter {
    let did = match Action::of_word(action) {
        Some(Action::KeyFinished) => format!("finished the overlap of your key “{}”", key.name),
        _ => format!("{} your key “{}”", verb(action), key.name),
    };
    let mut all = key_facts(key, at);
    all.extend(facts.iter().cloned());
    Letter {
        subject: format!("{by} {did}"),
        heading: format!("{by} {did}"),
        paragraphs: Some(advice(action).to_owned()).filter(|words| !words.is_empty()).into_iter().collect(),
        blocks: vec![Block { title: key.name.clone(), facts: all, ..Block::default() }],
        why: WHY_KEY.into(),
        ..Letter::default()
    }
}

/// What was done, as in “disabled your key”.
fn verb(action: &str) -> &'static str {
    Action::of_word(action).and_then(|action| action.sentence().strip_suffix(" the key")).unwrap_or("changed")
}

/// What it means for the programs that use the key.
fn advice(action: &str) -> &'static str {
    match Action::of_word(action) {
        Some(Action::KeyCreated) => "Whoever made it holds its token. If you did not expect this, disable or revoke the key.",
        Some(Action::KeyRolled) => {
            "It has a new secret, which whoever rolled it holds. Programs with the old one stop working when its overlap ends."
        }
        Some(Action::KeyRevoked | Action::KeyDeleted) => "Programs that use it are refused from now on. This cannot be undone.",
        Some(Action::KeyDisabled) => "Programs that use it are refused until it is enabled again.",
        Some(Action::KeyEnabled) => "Programs that use it are let in again.",
        Some(Action::KeyFinished) => "Programs that still use the old secret are refused from now on.",
        Some(Action::KeyEdited) => "The change counts from the next request on.",
        _ => "",
    }
}

fn keys_changed(keys: &[KeyName], action: &str, by: &str, at: Time, facts: &[(String, String)]) -> Letter {
    let did = format!("{} {} of your keys", verb(action), keys.len());
    let advice = match Action::of_word(action) {
        Some(Action::KeyRevoked | Action::KeyDeleted) => "Programs that use them are refused from now on. This cannot be undone.",
        Some(Action::KeyDisabled) => "Programs that use them are refused until they are enabled again.",
        Some(Action::KeyEnabled) => "Programs that use them are let in again.",
        _ => "",
    };
    let mut about = vec![("When".to_owned(), date_time(at))];
    about.extend(facts.iter().cloned());
    let lines = keys.iter().map(|key| format!("{}: {}", key.id, key.name)).collect();
    Letter {
        subject: format!("{by} {did}"),
        heading: format!("{by} {did}"),
        paragraphs: Some(advice.to_owned()).filter(|words| !words.is_empty()).into_iter().collect(),
        blocks: vec![Block { title: "The keys".into(), lines, facts: about, ..Block::default() }],
        why: "You get this because you look after the keys, and someone else did this.".into(),
        ..Letter::default()
    }
}

fn handed_over(keys: &[KeyName], from: &str, by: &str, at: Time, lost: &[String]) -> Letter {
    let (what, they) = match keys {
        [one] => (format!("the key “{}”", one.name), "key"),
        many => (format!("{} keys", many.len()), "keys"),
    };
    let (keep, yours) = if keys.len() == 1 { ("It keeps", "the key is yours") } else { ("Each keeps", "the keys are yours") };
    let mut paragraphs =
        vec![format!("{by} handed over {what} of {from} to you on {}. {keep} the access that it had, as far as you hold it.", date_time(at))];
    if !lost.is_empty() {
        paragraphs.push(format!("You do not hold, so the {they} lost: {}.", lost.join(", ")));
    }
    paragraphs.push("Whoever had a key may still know its secret: roll it.".into());
    let blocks = keys.iter().map(|key| Block { title: key.name.clone(), facts: vec![("Key ID".into(), key.id.clone())], ..Block::default() });
    Letter {
        subject: format!("{by} handed over {what} to you"),
        heading: format!("{by} handed over {what} to you"),
        paragraphs,
        blocks: blocks.collect(),
        why: format!("You get this because {yours} now."),
        ..Letter::default()
    }
}

fn key_extended(key: &KeyName, from: Time, to: Time, at: Time) -> Letter {
    let mut facts = key_facts(key, at);
    facts.extend([("Expired or was to expire".into(), date_time(from)), ("Expires now".into(), date_time(to))]);
    Letter {
        subject: format!("Your key “{}” was extended to {}", key.name, date(to)),
        heading: format!("Your key “{}” was extended", key.name),
        paragraphs: vec!["Another recipient of its notices used the link in their mail.".into()],
        blocks: vec![Block { title: key.name.clone(), facts, ..Block::default() }],
        why: "You get this because you look after the key.".into(),
        ..Letter::default()
    }
}

fn recipient_left(key: &KeyName, address: &str, at: Time) -> Letter {
    Letter {
        subject: format!("A recipient wants no more notices of “{}”", key.name),
        heading: format!("{address} wants no more notices of “{}”", key.name),
        paragraphs: vec!["The address was taken off the extra recipients of the key’s notices. You still get them.".into()],
        blocks: vec![Block { title: key.name.clone(), facts: key_facts(key, at), ..Block::default() }],
        why: "You get this because you look after the key.".into(),
        ..Letter::default()
    }
}

fn gateway_expires(id: &str, name: &str, expires_at: Time, now: Time) -> Letter {
    let (subject, words) = if expires_at > now {
        (
            format!("The gateway credential “{name}” expires in {}", left(expires_at, now)),
            "It has no grace: from then on the gateway is refused, and with it every key that it asks about. Make or roll a credential before.",
        )
    } else {
        (
            format!("The gateway credential “{name}” has expired"),
            "The gateway is refused, and with it every key that it asks about. Make a new credential.",
        )
    };
    Letter {
        heading: subject.clone(),
        subject,
        paragraphs: vec![words.into()],
        blocks: vec![Block {
            title: name.into(),
            facts: vec![("ID".into(), id.into()), ("Expires".into(), date_time(expires_at))],
            ..Block::default()
        }],
        why: "You get this because you manage the settings of the tenant.".into(),
        ..Letter::default()
    }
}

/// A part that is a button alone.
fn button(label: &str, contents: &Contents, about: &About<'_>, path: &str) -> Vec<Block> {
    let address = contents.token.as_ref().map(|token| link(about, path, token));
    vec![Block { button: address.map(|address| (label.to_owned(), address)), ..Block::default() }]
}

fn invitation(contents: &Contents, about: &About<'_>, by: &str, until: Time, has_account: bool) -> Letter {
    let place = contents.tenant.as_ref().map_or("Keyward", |(_, name)| name.as_str());
    let how = if has_account {
        "Sign in to your account, and accept."
    } else {
        "Choose a password, or sign in where you have an account already, and you are in."
    };
    Letter {
        subject: format!("{by} invites you to {place} on Keyward"),
        heading: format!("Join {place} on Keyward"),
        paragraphs: vec![
            format!("{by} invites you to {place}, where API keys are looked after. {how}"),
            format!("The link works once, until {}.", date_time(until)),
        ],
        blocks: button("Accept the invitation", contents, about, "invite"),
        why: "You get this because somebody entered your address. If you did not expect it, do nothing.".into(),
        ..Letter::default()
    }
}

fn password_reset(contents: &Contents, about: &About<'_>, until: Time) -> Letter {
    Letter {
        subject: "Set a new password for Keyward".into(),
        heading: "Set a new password".into(),
        paragraphs: vec![
            "Somebody, you we hope, asked for a new password for your account.".into(),
            format!(
                "The link works once, until {}. A newer one takes its place. It signs nobody in, and two-step sign-in stays as it is.",
                date_time(until)
            ),
        ],
        blocks: button("Set a new password", contents, about, "password/reset"),
        why: "You get this because somebody entered your address. If it was not you, do nothing: your password stays as it is.".into(),
        ..Letter::default()
    }
}

fn confirm_address(contents: &Contents, about: &About<'_>, from: &str, until: Time) -> Letter {
    Letter {
        subject: "Confirm your new e-mail address for Keyward".into(),
        heading: "Confirm your new e-mail address".into(),
        paragraphs: vec![format!(
            "The account {from} is to sign in with {} from now on. The link works once, until {}.",
            about.address,
            date_time(until)
        )],
        blocks: button("Confirm the address", contents, about, "profile/email"),
        why: "You get this because somebody entered your address. If it was not you, do nothing.".into(),
        ..Letter::default()
    }
}

fn security_changed(about: &About<'_>, what: &SecurityChange, at: Time, from_address: &str, by: Option<&str>) -> Letter {
    let (subject, words) = match what {
        SecurityChange::Password => ("Your password was changed", "All other sessions have ended.".to_owned()),
        SecurityChange::TotpEnrolled => ("Two-step sign-in was set up", "From now on signing in asks for a code of the app, too.".to_owned()),
        SecurityChange::TotpRemoved => {
            ("Two-step sign-in was taken away", "From now on the password alone signs in, unless a tenant asks for more.".to_owned())
        }
        SecurityChange::RecoveryCodes => ("Your recovery codes were replaced", "The ones before no longer work.".to_owned()),
        SecurityChange::AddressAsked(to) => {
            ("A new e-mail address was asked for", format!("The account is to sign in with {to} once that address is confirmed."))
        }
        SecurityChange::Address { from, to } => {
            ("Your e-mail address was changed", format!("The account signs in with {to} from now on, no longer with {from}."))
        }
    };
    let mut facts = vec![("When".to_owned(), date_time(at))];
    if let Some(by) = by {
        facts.push(("By".into(), by.into()));
    }
    if !from_address.is_empty() {
        facts.push(("From the address".into(), from_address.into()));
    }
    Letter {
        subject: format!("{subject}: Keyward"),
        heading: subject.into(),
        paragraphs: vec![words],
        blocks: vec![Block { facts, ..Block::default() }],
        after: vec![(
            "If it was not you, set a new password now, and tell your tenant’s admins:".into(),
            Some(format!("{}/password/forgot", about.public_url)),
        )],
        why: "You get this because it is your account.".into(),
        ..Letter::default()
    }
}
