//! That what people typed stays text, and that each question is a page or a dialog.

use super::{NEW_RESOURCE, NEW_ROLE, NEW_SCOPE, RESOURCES, ROLES, SCOPES, make_developer, resource, role};

both! {
    fn hostile_text_stays_text_everywhere(app) {
        make_developer(app, "ada");
        let ada = app.signed_in("ada");
        let evil = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;";
        for (path, fields) in [
            (NEW_SCOPE, vec![("scope", "evil"), ("description", evil)]),
            (NEW_ROLE, vec![("name", evil), ("description", evil), ("scope", "evil")]),
            (NEW_RESOURCE, vec![("kind", "evil"), ("name", "evil"), ("description", evil)]),
        ] {
            assert_eq!(ada.submit(path, &fields).status, 303, "{path}");
        }
        let (role, resource) = (format!("{ROLES}/{}", role(app, "acme", evil)), format!("{RESOURCES}/{}", resource(app, "acme", "evil:evil")));
        let shown = [
            SCOPES.to_owned(),
            ROLES.to_owned(),
            RESOURCES.to_owned(),
            format!("{SCOPES}?q=%3Cscript%3Ealert(1)"),
            format!("{RESOURCES}?kind=%3Cscript%3Ealert(1)&after=%3Cscript%3Ealert(1)"),
            "/t/acme/access/scopes/edit?scope=evil".into(),
            "/t/acme/access/scopes/remove?scope=evil".into(),
            role.clone(),
            format!("{role}/remove"),
            format!("{resource}/edit"),
            format!("{resource}/remove"),
            NEW_RESOURCE.into(),
            "/t/acme/keys/new".into(),
        ];
        for path in shown {
            for headers in [&[][..], &[("hx-request", "true")]] {
                let page = ada.get_with(&path, headers);
                assert_eq!(page.status, 200, "{path}");
                assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{path}");
            }
        }
        assert_eq!(ada.open(&role).form(&role).iter().find(|(name, _)| name == "name").map(|(_, value)| value.as_str()), Some(evil));
    }

    fn a_question_is_a_page_or_a_dialog(app) {
        let ada = app.signed_in("ada");
        for path in [NEW_SCOPE.to_owned(), format!("{ROLES}/{}/remove", role(app, "acme", "Billing"))] {
            assert!(ada.get(&path).body.contains("<html"), "{path}");
            let dialog = ada.get_with(&path, &[("hx-request", "true")]);
            assert!(!dialog.body.contains("<html") && dialog.body.contains("dialog-title"), "{}", dialog.body);
        }
    }

    fn lists_that_are_empty_say_what_belongs_there(app) {
        let tenant = app.write(|tx| Ok(keyward::store::tenants::create(tx, &"fresh".parse().unwrap(), "Fresh", &Default::default())?.unwrap()));
        let ada = app.person("ada").account;
        app.write(|tx| {
            let member = keyward::store::members::create(tx, tenant, Some(ada), "Ada Example", "ada@acme.example")?;
            keyward::store::members::give_built_in(tx, tenant, member, keyward::domain::permission::BuiltIn::TenantAdmin)
        });
        let ada = app.signed_in("ada");
        for (list, words) in [("", "No scopes yet"), ("/roles", "No access roles yet"), ("/resources", "No resources yet")] {
            let page = ada.open(&format!("/t/fresh/access{list}"));
            assert!(page.says(words), "{}", page.text());
        }
        assert!(ada.open("/t/fresh/access/roles/new").says("There are no scopes yet."));
    }
}
