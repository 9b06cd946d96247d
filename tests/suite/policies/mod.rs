//! Policies as they are known elsewhere, each set up with settings and roles alone, and walked from end to end as people do.

mod change_access;
mod roll;

use crate::support::browser::Browser;

/// Saves a card of the tenant's settings with just these boxes ticked and fields changed.
pub fn saves(admin: &Browser, tenant: &str, card: &str, ticked: &[&str], fields: &[(&str, &str)]) {
    let (page, action) = (format!("/t/{tenant}/settings"), format!("/t/{tenant}/settings/{card}"));
    let form = admin.open(&page);
    let boxes = ["see_all", "manage_all", "delete", "code_create", "code_enable", "code_turn_on", "require_totp"];
    let kept =
        form.form(&action).into_iter().filter(|(name, _)| !boxes.contains(&name.as_str()) && !fields.iter().any(|(changed, _)| changed == name));
    let kept: Vec<(String, String)> = kept.collect();
    let mut all: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(fields);
    all.extend(ticked.iter().map(|name| (*name, "on")));
    let answer = admin.post(&action, &all);
    assert_eq!(answer.status, 303, "{}", answer.text());
}

both! {
    fn each_policy_has_a_page_in_the_documentation(app) {
        let nora = app.signed_in("nora");
        let links: Vec<String> = nora.open("/docs").attributes("a", "href").into_iter().filter(|to| to.starts_with("/docs/")).collect();
        assert_eq!(links.len(), 5, "{links:?}");
        for link in &links {
            let page = nora.open(link);
            assert!(page.status == 200 && page.says("How to set it up"), "{link}: {}", page.text());
            assert!(page.attributes("main a", "href").iter().all(|to| !to.contains("/settings")), "no link to what she may not open");
        }
        assert!(app.signed_in("ada").open(&links[0]).attributes("main a", "href").contains(&"/t/acme/settings".to_owned()));
        assert_eq!(nora.get("/docs/nothing").status, 404);
        assert!(app.browser().get(&links[0]).location().unwrap().starts_with("/login"));
    }
}
