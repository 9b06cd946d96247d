//! The mails about what others did with one's key, and about changes of how one signs in, as they arrive.

use chrono::Duration;
use keyward::{
    actions::{
        By, Who,
        hand_over::{self, Fate},
        members::MemberError,
    },
    domain::tenant::Settings,
    store::{accounts, members},
};

use super::sending::{Sending, sending, spawn};
use crate::support::{self, Backend, TestApp, smtp};

/// The mails that arrived since the last look, after all that is written was sent.
fn new(at: &Sending, seen: &mut usize) -> Vec<smtp::Mail> {
    at.app.advance(Duration::minutes(2));
    at.app.app.post.round().unwrap();
    let mails = at.server.mails();
    let new = mails[*seen..].to_vec();
    *seen = mails.len();
    new
}

fn settings(app: &TestApp, change: impl FnOnce(&mut Settings)) {
    app.write(|tx| {
        let tenant = keyward::store::tenants::get(tx, app.fixture.tenants["acme"])?;
        let mut settings = tenant.settings.clone();
        change(&mut settings);
        keyward::store::tenants::save_settings(tx, &tenant, &settings)
    });
}

sending! {
    fn every_kind_of_change_by_another_is_told_in_words(at) {
        let app = &at.app;
        settings(app, |settings| settings.admins_manage_all = true);
        let ada = app.signed_in("ada");
        let (dora, mut seen) = (app.fixture.members["acme/dora"].to_string(), 0);
        let made = ada.submit_to(&format!("/t/acme/keys/new?owner={dora}"), "/t/acme/keys/new", &[("name", "made for dora")]);
        assert_eq!(made.status, 200, "{}", made.text());
        let mut told = |subject: &str, words: &[&str]| {
            let mails = new(at, &mut seen);
            assert_eq!(mails.len(), 1, "{subject}: {mails:?}");
            assert_eq!((mails[0].to[0].as_str(), mails[0].header("Subject")), ("dora@acme.example", subject));
            let text = mails[0].text.as_ref().unwrap().replace('\n', " ");
            assert!(words.iter().all(|words| text.contains(words)), "{words:?} in {text}");
        };
        told("Ada Example created your key “made for dora”", &["Whoever made it holds its token.", "Expires: never"]);
        let path = |end: &str| format!("/t/acme/keys/{}/{end}", app.fixture.key("dora").id);
        let does = |end: &str, fields: &[(&str, &str)]| {
            let done = ada.submit(&path(end), fields);
            assert!(matches!(done.status, 200 | 303), "{end}: {}", done.text());
        };
        does("edit", &[("ips", "10.0.0.0/8")]);
        told("Ada Example edited your key “key of dora”", &["Changed: IP ranges", "The change counts from the next request on."]);
        does("renew", &[]);
        told("Ada Example renewed your key “key of dora”", &["Expires now: "]);
        does("roll", &[("totp", &app.code("ada"))]);
        told("Ada Example rolled your key “key of dora”", &["It has a new secret", "Old secret stops: "]);
        does("disable", &[("reason", "seen in a public log")]);
        told("Ada Example disabled your key “key of dora”", &["refused until it is enabled again", "Reason: seen in a public log"]);
        does("enable", &[]);
        told("Ada Example enabled your key “key of dora”", &["let in again"]);
        does("revoke", &[("reason", "deleted")]);
        told("Ada Example revoked your key “key of dora”", &["Reason: deleted", "This cannot be undone."]);
        does("delete", &[("confirm", "delete")]);
        told("Ada Example deleted your key “key of dora”", &["/profile?tenant=acme"]);
    }

    fn what_changes_a_sign_in_is_told_to_its_owner(at) {
        let (app, mut seen) = (&at.app, 0);
        let emil = app.person("emil");
        let browser = app.signed_in("emil");
        let page = browser.open("/profile/totp");
        let page = browser.follow(browser.send(&page, "/profile/totp/start", &[("current_password", emil.password)]));
        let secret = page.find("#c-t").unwrap().replace(' ', "");
        assert_eq!(browser.send(&page, "/profile/totp", &[("totp", &support::oathtool(&secret, app.now()))]).status, 200);
        let mut told = |subject: &str, words: &str| {
            let mails = new(at, &mut seen);
            assert_eq!(mails.iter().map(|mail| (mail.to[0].as_str(), mail.header("Subject"))).collect::<Vec<_>>(), [("emil@acme.example", subject)]);
            let text = mails[0].text.as_ref().unwrap().replace('\n', " ");
            assert!(text.contains(words) && text.contains("If it was not you") && text.contains("From the address: 127.0.0.1"), "{text}");
        };
        told("Two-step sign-in was set up: Keyward", "asks for a code of the app, too.");
        let page = browser.open("/profile/totp");
        let code = support::oathtool(&secret, app.now());
        let fields = [("current_password", emil.password), ("totp", code.as_str())];
        assert_eq!(browser.send(&page, "/profile/recovery-codes", &fields).status, 200);
        told("Your recovery codes were replaced: Keyward", "The ones before no longer work.");
        let code = support::oathtool(&secret, app.now());
        let token = browser.open("/profile/totp").csrf().unwrap();
        let fields = [("csrf", token.as_str()), ("current_password", emil.password), ("totp", code.as_str())];
        assert_eq!(browser.post("/profile/totp/remove", &fields).status, 303);
        told("Two-step sign-in was taken away: Keyward", "From now on the password alone signs in");
    }

    fn two_service_accounts_with_one_contact_are_each_told_of_their_keys(at) {
        let (app, acme) = (&at.app, at.app.fixture.tenants["acme"]);
        let keys = crate::notices::make_many(app, "dora", "dora", &["first", "second"], 28, &[]);
        let (account, ci, own) = (app.person("ada").account, app.fixture.members["acme/ci"], app.fixture.key("dora").id);
        let removed: Result<(), MemberError> = app.app.store.write(app.now(), |tx| {
            let cd = members::create(tx, acme, None, "CD", "ci@acme.example")?;
            let acting = members::acting(tx, "acme", account)?.unwrap();
            let by = By { who: Who::Member(Box::new(acting)), address: None, user_agent: String::new(), now: tx.now(), session: None };
            let fates = [(keys[0], Fate::HandOver(ci)), (keys[1], Fate::HandOver(cd)), (own, Fate::Revoke)];
            hand_over::remove(tx, &by, app.fixture.members["acme/dora"], &fates, None)
        });
        removed.unwrap();
        let mut subjects: Vec<String> =
            new(at, &mut 0).iter().filter(|mail| mail.to == ["ci@acme.example"]).map(|mail| mail.header("Subject").to_owned()).collect();
        subjects.sort();
        assert_eq!(subjects, ["Ada Example handed over the key “first” to you", "Ada Example handed over the key “second” to you"]);
    }

    fn a_mailed_invitation_lets_in_and_shows_that_its_reader_has_the_address(at) {
        let app = &at.app;
        assert_eq!(app.signed_in("ada").submit("/t/acme/members/invite", &[("email", "guest@partner.example")]).status, 200);
        let mail = new(at, &mut 0).remove(0);
        assert_eq!((mail.to[0].as_str(), mail.header("List-Id")), ("guest@partner.example", "<accounts.acme.keyward.127.0.0.1>"));
        assert!(mail.header("Subject").contains("Acme") && mail.text.as_ref().unwrap().contains("Ada Example"), "{mail:?}");
        let link = mail.link("/invite/kwi_");
        assert!(mail.html.as_ref().unwrap().contains(&link));
        let path = link.strip_prefix(&app.url).unwrap();
        let guest = app.browser();
        let joined = guest.submit(path, &[("name", "Gwen Guest"), ("new_password", "seven grey herons standing")]);
        assert_eq!(joined.status, 303, "{}", joined.text());
        let opened = app.write(|tx| {
            let account = accounts::by_email(tx, "guest@partner.example")?.unwrap();
            accounts::has_opened_mail(tx, account.id)
        });
        assert!(opened);
        assert_eq!(app.browser().get(path).status, 410);
    }
}
