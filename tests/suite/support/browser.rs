//! A browser without JavaScript: cookies, pages, and forms filled in as a person does.

use std::cell::RefCell;

use scraper::{ElementRef, Html, Selector};
use ureq::{Agent, http::Response};

/// Keeps cookies, follows no redirect by itself, and sends forms with the token of the page that they stand on.
pub struct Browser {
    agent: Agent,
    base: String,
    csrf: RefCell<String>,
}

/// What came back.
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: ureq::http::HeaderMap,
    /// The text.
    pub body: String,
    /// The path that was asked for.
    pub path: String,
}

pub fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(std::time::Duration::from_secs(30)))
        .build()
        .into()
}

/// What came back, of a request that was put together by hand.
pub fn read(path: &str, answer: Result<Response<ureq::Body>, ureq::Error>) -> Page {
    page(path, answer)
}

fn page(path: &str, answer: Result<Response<ureq::Body>, ureq::Error>) -> Page {
    whole(path, answer).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn whole(path: &str, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<Page, ureq::Error> {
    let mut answer = answer?;
    let body = answer.body_mut().with_config().limit(50_000_000).lossy_utf8(true).read_to_string()?;
    Ok(Page { status: answer.status().as_u16(), headers: answer.headers().clone(), body, path: path.to_owned() })
}

impl Browser {
    /// A browser that nobody has used yet.
    pub fn new(base: &str) -> Self {
        Self { agent: agent(), base: base.to_owned(), csrf: RefCell::default() }
    }

    /// The same browser in another window: the same cookies, for requests at the same time.
    pub fn twin(&self) -> Self {
        Self { agent: self.agent.clone(), base: self.base.clone(), csrf: self.csrf.clone() }
    }

    /// The cookies, as a request carries them.
    pub fn cookies(&self) -> String {
        let jar = self.agent.cookie_jar_lock();
        jar.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect::<Vec<_>>().join("; ")
    }

    /// The token of the last page's forms.
    pub fn token(&self) -> String {
        self.csrf.borrow().clone()
    }

    /// Opens a page; a redirect is shown, not followed.
    pub fn get(&self, path: &str) -> Page {
        self.get_with(path, &[])
    }

    /// Opens a page with more headers, such as `hx-request`.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Page {
        let request = headers.iter().fold(self.agent.get(format!("{}{path}", self.base)), |request, (name, value)| request.header(*name, *value));
        self.seen(page(path, request.call()))
    }

    /// Opens a page of a server that may be gone at any moment; `None` where no whole answer came.
    pub fn attempt(&self, path: &str) -> Option<Page> {
        whole(path, self.agent.get(format!("{}{path}", self.base)).call()).ok()
    }

    /// Sends the form of a page as [`Browser::send`] does, to a server that may be gone; `None` where no whole answer came.
    pub fn attempt_send(&self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Option<Page> {
        let kept = page.form(action).into_iter().filter(|(name, _)| !fields.iter().any(|(changed, _)| changed == name));
        let all: Vec<(String, String)> = kept.chain(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).collect();
        let request = self.agent.post(format!("{}{action}", self.base)).header("origin", &self.base).header("sec-fetch-site", "same-origin");
        whole(action, request.send_form(all)).ok()
    }

    /// Opens a page and follows redirects within the console.
    pub fn open(&self, path: &str) -> Page {
        self.follow(self.get(path))
    }

    /// Follows redirects to the page that they lead to.
    pub fn follow(&self, mut page: Page) -> Page {
        for _ in 0..10 {
            let Some(to) = page.location().filter(|_| (300..400).contains(&page.status)) else { return page };
            page = self.get(to.strip_prefix(&self.base).unwrap_or(&to));
        }
        panic!("{} leads in circles", page.path);
    }

    fn seen(&self, page: Page) -> Page {
        if let Some(token) = page.csrf() {
            *self.csrf.borrow_mut() = token;
        }
        page
    }

    /// Posts these fields as they are, with the token of the last page.
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_with(path, fields, &[])
    }

    /// Posts fields with more headers.
    pub fn post_with(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let csrf = self.csrf.borrow().clone();
        let mut all: Vec<(&str, &str)> = fields.to_vec();
        if !fields.iter().any(|(name, _)| *name == "csrf") {
            all.push(("csrf", &csrf));
        }
        let request = self.agent.post(format!("{}{path}", self.base)).header("origin", &self.base).header("sec-fetch-site", "same-origin");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.seen(page(path, request.send_form(all)))
    }

    /// Posts fields as another site can make this browser do it: with these headers instead of those of our own forms.
    pub fn post_from(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let csrf = self.csrf.borrow().clone();
        let all: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        let request = headers.iter().fold(self.agent.post(format!("{}{path}", self.base)), |request, (name, value)| request.header(*name, *value));
        page(path, request.send_form(all))
    }

    /// Opens the page at `path`, changes these fields of its form that posts to `action`, and sends it.
    pub fn submit_to(&self, path: &str, action: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.open(path);
        assert_eq!(form.status, 200, "{path}: {}", form.text());
        self.send(&form, action, fields)
    }

    /// Opens the page at `path`, changes these fields of the form that posts there, and sends it.
    pub fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.submit_to(path, path, fields)
    }

    /// Follows a mailed link, and presses the button of the page that it leads to.
    pub fn press(&self, link: &str) -> Page {
        let page = self.open(link);
        assert_eq!(page.status, 200, "{link}: {}", page.text());
        self.send(&page, &page.path, &[])
    }

    /// Sends the form of a page that posts to `action` with these fields changed; several of one name are all sent.
    pub fn send(&self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let defaults = page.form(action);
        let kept = defaults.iter().filter(|(name, _)| !fields.iter().any(|(changed, _)| changed == name));
        let all: Vec<(&str, &str)> = kept.map(|(name, value)| (name.as_str(), value.as_str())).chain(fields.iter().copied()).collect();
        self.post(action, &all)
    }
}

impl Page {
    /// Where a redirect leads.
    pub fn location(&self) -> Option<String> {
        self.header("location")
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// The values of a header that may come several times.
    pub fn headers(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    }

    /// The parsed page.
    pub fn html(&self) -> Html {
        Html::parse_document(&self.body)
    }

    /// The text of every element that a CSS selector finds, white space folded.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.html().select(&Selector::parse(selector).unwrap()).map(text_of).collect()
    }

    /// The text of the first element that a CSS selector finds.
    pub fn find(&self, selector: &str) -> Option<String> {
        self.texts(selector).into_iter().next()
    }

    /// An attribute of every element that a CSS selector finds.
    pub fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        self.html().select(&Selector::parse(selector).unwrap()).filter_map(|found| found.attr(name).map(str::to_owned)).collect()
    }

    /// All text of the page, white space folded.
    pub fn text(&self) -> String {
        self.texts("body").join(" ")
    }

    /// Whether the page says this somewhere.
    pub fn says(&self, words: &str) -> bool {
        self.text().contains(words)
    }

    /// The token of its forms.
    pub fn csrf(&self) -> Option<String> {
        if !self.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            return None;
        }
        self.attributes("input[name=csrf]", "value").into_iter().next()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: {error}: {}", self.path, self.body))
    }

    /// What a person would send with the form that posts to `action`, if they changed nothing.
    pub fn form(&self, action: &str) -> Vec<(String, String)> {
        let html = self.html();
        let all = Selector::parse("form").unwrap();
        let here = |form: &ElementRef<'_>| form.attr("action").map_or(action == self.path, |to| to == action || to.split('?').next() == Some(action));
        let form = html.select(&all).find(|form| form.attr("method").is_some_and(|method| method.eq_ignore_ascii_case("post")) && here(form));
        let form = form.unwrap_or_else(|| panic!("{} ({}) has no form that posts to {action}: {}", self.path, self.status, self.text()));
        let id = form.attr("id");
        let fields = Selector::parse("input, select, textarea").unwrap();
        let option = Selector::parse("option").unwrap();
        let mut values = Vec::new();
        for field in html.select(&fields) {
            let inside = field.ancestors().any(|node| node.id() == form.id());
            let belongs = field.attr("form").map_or(inside, |other| Some(other) == id);
            let Some(name) = field.attr("name").filter(|_| belongs && field.attr("disabled").is_none()) else { continue };
            match (field.value().name(), field.attr("type")) {
                ("input", Some("checkbox" | "radio")) if field.attr("checked").is_none() => {}
                ("input", Some("submit" | "button" | "reset" | "file")) => {}
                ("input", Some("checkbox" | "radio")) => values.push((name.to_owned(), field.attr("value").unwrap_or("on").to_owned())),
                ("input", _) => values.push((name.to_owned(), field.attr("value").unwrap_or_default().to_owned())),
                ("textarea", _) => values.push((name.to_owned(), field.text().collect::<String>().trim_start_matches('\n').to_owned())),
                _ => {
                    let chosen = field.select(&option).find(|option| option.attr("selected").is_some()).or_else(|| field.select(&option).next());
                    if let Some(chosen) = chosen {
                        values.push((name.to_owned(), chosen.attr("value").map_or_else(|| text_of(chosen), str::to_owned)));
                    }
                }
            }
        }
        values
    }
}

fn text_of(element: ElementRef<'_>) -> String {
    element.text().collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Calls an address without cookies; a body is sent as JSON.
pub fn call(base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Option<serde_json::Value>) -> Page {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{base}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = match body {
        Some(body) => agent().run(request.header("content-type", "application/json").body(body.to_string()).unwrap()),
        None => agent().run(request.body(()).unwrap()),
    };
    page(path, answer)
}
