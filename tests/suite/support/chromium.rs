//! A real Chromium, driven as a person would: by the role and the accessible name of things, as axe-core computes them.

use std::{
    cell::Cell,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// axe-core 4.14.1 (MPL-2.0), as published.
const AXE: &str = include_str!("../../vendor/axe.min.js");

/// How a browser is set up.
#[derive(Clone, Copy)]
pub struct Look {
    /// The width of the window; under 500 it is a phone.
    pub width: u32,
    /// Whether pages may run scripts.
    pub scripts: bool,
    /// Whether the person prefers dark.
    pub dark: bool,
}

/// A desktop in light colours, with scripts.
pub const DESKTOP: Look = Look { width: 1440, scripts: true, dark: false };

/// One browser with its own profile, spoken to by the W3C WebDriver protocol, which is JSON over HTTP.
pub struct Browser {
    driver: Child,
    session: String,
    base: String,
    look: Cell<Look>,
}

/// An element of the page.
struct Element(String);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("DELETE", "", &json!({}));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn request(method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(180))).build(),
    );
    let answer = match method {
        "GET" => agent.get(url).call(),
        "DELETE" => agent.delete(url).call(),
        _ => agent.post(url).send_json(body),
    };
    let value: Value =
        answer.map_err(|error| error.to_string())?.body_mut().with_config().limit(64 << 20).read_json().map_err(|error| error.to_string())?;
    match value["value"]["error"].as_str() {
        Some(error) => Err(format!("{error}: {}", value["value"]["message"].as_str().unwrap_or_default())),
        None => Ok(value["value"].clone()),
    }
}

impl Browser {
    /// Starts one; `base` is what addresses begin with.
    pub fn open(base: &str, look: Look) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed");
        let size = format!("--window-size={},1000", look.width.max(500));
        let mut args = vec!["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
        args.extend(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", size.as_str()]);
        let mut options = json!({ "args": args });
        if look.width < 500 {
            options["mobileEmulation"] = json!({ "deviceMetrics": { "width": look.width, "height": 844, "pixelRatio": 1.0, "touch": true } });
        }
        if !look.scripts {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let url = format!("http://127.0.0.1:{port}/session");
        let deadline = Instant::now() + Duration::from_secs(60);
        let made = loop {
            match request("POST", &url, &wanted) {
                Ok(made) => break made,
                Err(error) if Instant::now() > deadline => panic!("chromedriver: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        let browser =
            Self { driver, session: format!("{url}/{}", made["sessionId"].as_str().unwrap()), base: base.to_owned(), look: Cell::new(look) };
        if look.dark {
            browser.prefers(look);
        }
        browser
    }

    fn prefers(&self, look: Look) {
        let scheme = if look.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.post("/goog/cdp/execute", &json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } }));
    }

    /// Shows the page that is open, with all that is open on it, at another width and in other colours.
    pub fn look_as(&self, look: Look) {
        let metrics =
            json!({ "width": look.width, "height": if look.width < 500 { 844 } else { 900 }, "deviceScaleFactor": 1, "mobile": look.width < 500 });
        self.post("/goog/cdp/execute", &json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics }));
        self.prefers(look);
        self.look.set(look);
        // Colours change gradually, and what is measured on the way is neither.
        self.evaluate("document.getAnimations().forEach(a => { try { a.finish() } catch { a.cancel() } })");
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        request(method, &format!("{}{path}", self.session), body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &json!({})).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn execute(&self, script: &str, args: Value) -> Result<Value, String> {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": args }))
    }

    /// Opens an address of the console.
    pub fn goto(&self, path: &str) {
        self.post("/url", &json!({ "url": format!("{}{path}", self.base) }));
    }

    /// Path and query of the page.
    pub fn path(&self) -> String {
        let url = self.get("/url");
        let url = url.as_str().unwrap_or_default();
        url.strip_prefix(&self.base).unwrap_or(url).to_owned()
    }

    /// Reloads the page.
    pub fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    /// The browser's back button.
    pub fn back(&self) {
        self.post("/back", &json!({}));
    }

    /// Runs a script in the page, for looking at it.
    pub fn evaluate(&self, script: &str) -> Value {
        self.execute(script, json!([])).unwrap()
    }

    /// All the text that a person can see.
    pub fn text(&self) -> String {
        self.evaluate("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// The page as markup.
    pub fn source(&self) -> String {
        self.get("/source").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says `words`.
    pub fn sees(&self, words: &str) {
        self.wait(&format!("the words “{words}”"), || self.text().contains(words).then_some(()));
    }

    /// Waits until the page no longer says `words`.
    pub fn sees_no(&self, words: &str) {
        self.wait(&format!("no words “{words}”"), || (!self.text().contains(words)).then_some(()));
    }

    /// Waits until path and query of the page are as `fits` says.
    pub fn wait_until(&self, fits: impl Fn(&str) -> bool) {
        self.wait("another page", || fits(&self.path()).then_some(()));
    }

    /// Clicks what has this role and accessible name (`button`, `link`, `checkbox`, `radio`, `tab` …).
    pub fn click(&self, role: &str, name: &str) {
        let element = self.find(role, name);
        self.ask("POST", &format!("/element/{}/click", element.0), &json!({})).unwrap_or_else(|error| panic!("clicking {role} “{name}”: {error}"));
    }

    /// Types into the field with this name, in place of what is there.
    pub fn fill(&self, name: &str, text: &str) {
        let element = self.find("textbox|searchbox|spinbutton|combobox|password", name);
        self.post(&format!("/element/{}/clear", element.0), &json!({}));
        self.post(&format!("/element/{}/value", element.0), &json!({ "text": text }));
    }

    /// Chooses the option with these words in the list with this name.
    pub fn choose(&self, name: &str, option: &str) {
        let element = self.find("combobox|listbox", name);
        let script = "const [list, words] = arguments; return [...list.options].findIndex(o => o.label.trim().startsWith(words))";
        let index = self.execute(script, json!([reference(&element), option])).unwrap().as_i64().unwrap_or(-1);
        assert!(index >= 0, "“{name}” has no option “{option}”");
        let script = "const [list, index] = arguments; list.selectedIndex = index; list.dispatchEvent(new Event('input', {bubbles: true})); list.dispatchEvent(new Event('change', {bubbles: true}))";
        self.execute(script, json!([reference(&element), index])).unwrap();
    }

    /// Whether something with this role and name can be seen now.
    pub fn has(&self, role: &str, name: &str) -> bool {
        self.look_for(role, name).is_some()
    }

    fn find(&self, role: &str, name: &str) -> Element {
        self.wait(&format!("{role} “{name}”"), || self.look_for(role, name))
    }

    fn look_for(&self, role: &str, name: &str) -> Option<Element> {
        let script = r#"
            const [roles, name] = arguments;
            if (!window.axe) return null;
            axe.setup();
            try {
                const wanted = roles.split("|");
                const top = document.querySelector("dialog[open]") ?? document;
                const all = [...top.querySelectorAll("a,button,input,select,textarea,summary,[role]")];
                const fits = e => {
                    const role = e.matches("input[type=password]") ? "password" : axe.commons.aria.getRole(e);
                    return wanted.includes(role) && e.checkVisibility({ visibilityProperty: true }) && axe.commons.text.accessibleText(e).replace(/\s+/g, " ").trim() === name;
                };
                return all.find(fits) ?? null;
            } finally { axe.teardown(); }
        "#;
        self.add_axe();
        let found = self.execute(script, json!([role, name])).ok()?;
        found["element-6066-11e4-a52e-4f735466cecf"].as_str().map(|id| Element(id.to_owned()))
    }

    fn add_axe(&self) {
        if self.execute("return !!window.axe", json!([])) != Ok(Value::Bool(true)) {
            let _ = self.execute(AXE, json!([]));
        }
    }

    /// What lies in the clipboard.
    pub fn copied(&self) -> String {
        let origin = json!({ "permission": { "name": "clipboard-read" }, "setting": "granted", "origin": self.base });
        self.post("/goog/cdp/execute", &json!({ "cmd": "Browser.setPermission", "params": origin }));
        let script = "const done = arguments[arguments.length - 1]; navigator.clipboard.readText().then(done, e => done(String(e)))";
        self.post("/execute/async", &json!({ "script": script, "args": [] })).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until there is what is looked for.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() > deadline {
                let shot = self.screenshot("failed");
                panic!("waited for {what} on {}; {} shows:\n{}", self.path(), shot.display(), self.text());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything that axe-core finds wrong with the page: WCAG 2.0 to 2.2 A and AA, and best practice.
    pub fn violations(&self) -> Vec<String> {
        self.add_axe();
        let script = "const done = arguments[arguments.length - 1]; axe.run(document).then(r => done(r.violations.map(v => v.id + ': ' + v.help + ' ' + v.nodes.map(n => n.html.slice(0, 160)).join(' | '))), e => done([String(e)]))";
        let found = self.post("/execute/async", &json!({ "script": script, "args": [] }));
        found.as_array().unwrap().iter().map(|words| words.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Fails with what axe-core finds wrong, or where the page is wider than the window.
    pub fn is_accessible(&self, what: &str) {
        // axe-core needs scripts; a page is the same without them.
        let look = self.look.get();
        let violations = if look.scripts { self.violations() } else { Vec::new() };
        assert!(violations.is_empty(), "{what} at {} px, dark {}: {violations:#?}", look.width, look.dark);
        let wide = self.evaluate("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert!(wide.as_i64().unwrap_or(0) <= 0, "{what} at {} px scrolls sideways by {wide} px", look.width);
    }

    /// Saves a picture of the whole page under `target/screenshots`.
    pub fn screenshot(&self, name: &str) -> PathBuf {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let look = self.look.get();
        let theme = if look.dark { "dark" } else { "light" };
        let path = folder.join(format!("{}-{theme}-{name}.png", look.width));
        let full = json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        let image = self.post("/goog/cdp/execute", &full);
        let decoded = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(std::fs::File::create(&path).unwrap()).spawn();
        let mut decoder = decoded.unwrap();
        std::io::Write::write_all(&mut decoder.stdin.take().unwrap(), image["data"].as_str().unwrap().as_bytes()).unwrap();
        decoder.wait().unwrap();
        path
    }

    /// What the browser complained about since the last call: refused by the content security policy, failed to load, thrown.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries.iter().filter(|entry| entry["level"] == "SEVERE").map(|entry| entry["message"].to_string()).collect()
    }
}

/// An element as an argument of a script.
fn reference(element: &Element) -> Value {
    json!({ "element-6066-11e4-a52e-4f735466cecf": element.0 })
}
