//! Forms offer what the key's owner holds, whoever fills them in.

use serde_json::json;

use super::{gateway, led_to, set, token_of, url, verify};

both! {
    fn an_admin_is_offered_what_the_owner_holds_and_not_what_they_hold_themself(app) {
        let gateway = gateway(app);
        set(app, |settings| settings.admins_manage_all = true);
        let ada = app.signed_in("ada");
        let form = |owner: &str| ada.open(&format!("/t/acme/keys/new?owner={}", app.fixture.members[owner]));
        let new = "/t/acme/keys/new";
        let values = |page: &crate::support::browser::Page, name: &str| -> Vec<String> {
            page.attributes(&format!("input[name={name}]"), "value").into_iter().filter(|value| !value.starts_with("keyward:")).collect()
        };

        // emil holds Shipping, and one site of the two that ada holds.
        let page = form("acme/emil");
        assert_eq!(values(&page, "scope"), ["shipments:read", "shipments:write"]);
        assert_eq!(values(&page, "resource"), ["site:rotterdam"]);
        let refused = ada.send(&page, new, &[("res", "some"), ("resource", "site:hamburg")]);
        assert_eq!(refused.status, 422);
        assert!(refused.find("#res .errmsg").unwrap().contains("Emil Example does not hold site:hamburg"), "{}", refused.text());
        let (token, _) = token_of(&ada.send(&page, new, &[("access", "scopes"), ("scope", "shipments:read"), ("res", "some"), ("resource", "site:rotterdam")]));
        let answer = verify(app, &gateway, &token);
        assert_eq!((&answer["scopes"], &answer["resources"]), (&json!(["shipments:read"]), &json!(["site:rotterdam"])));
        // *Same as owner* is the owner's, too.
        let (token, _) = token_of(&ada.send(&form("acme/emil"), new, &[("access", "same"), ("res", "all")]));
        let answer = verify(app, &gateway, &token);
        assert_eq!((&answer["scopes"], &answer["resources"]), (&json!(["shipments:read", "shipments:write"]), &json!(["site:rotterdam"])));

        // dora holds Billing, which ada lacks.
        let page = form("acme/dora");
        assert_eq!(values(&page, "scope"), ["invoices:read", "shipments:read", "shipments:write"]);
        assert_eq!(page.texts("select[name=role] option"), ["Billing", "Shipping"]);
        let (token, id) = token_of(&ada.send(&page, new, &[("access", "scopes"), ("scope", "invoices:read")]));
        assert_eq!(verify(app, &gateway, &token)["scopes"], json!(["invoices:read"]));
        assert!(values(&ada.open(&url(&id, "/edit")), "scope").contains(&"invoices:read".to_owned()), "the form to edit as well");

        // nora holds nothing.
        let page = form("acme/nora");
        assert_eq!((values(&page, "scope"), page.texts("select[name=role] option")), (vec![], vec![]));
        let refused = ada.send(&page, new, &[("access", "scopes"), ("scope", "shipments:read")]);
        assert!(refused.status == 422 && refused.says("Nora Example does not hold the scope shipments:read"), "{}", refused.text());

        // And in a form to edit: what emil holds, not what ada does.
        let edit = url(app.fixture.key("emil").id.as_str(), "/edit");
        let page = ada.open(&edit);
        assert_eq!((values(&page, "scope"), values(&page, "resource")), (vec!["shipments:read".to_owned(), "shipments:write".to_owned()], vec!["site:rotterdam".to_owned()]));
        assert_eq!(ada.send(&page, &edit, &[("res", "some"), ("resource", "site:hamburg")]).status, 422);
        led_to(&ada.send(&page, &edit, &[("comment", "by ada")]));
    }
}
