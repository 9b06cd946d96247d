//! The files of `static/`, inside the binary. Their addresses carry a hash, so browsers may keep them for ever; each is
//! compressed once, when it is first asked for.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{LazyLock, OnceLock},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::header,
    web::{Data, Path},
};
use sha2::{Digest as _, Sha256};

use super::{press, site::Site};

#[derive(rust_embed::RustEmbed)]
#[folder = "static/"]
struct Files;

struct Asset {
    bytes: Vec<u8>,
    url: String,
    kind: &'static str,
    brotli: OnceLock<Vec<u8>>,
    gzip: OnceLock<Vec<u8>>,
}

/// By the name in `static/`.
static ASSETS: LazyLock<HashMap<String, Asset>> = LazyLock::new(|| {
    let mut names: Vec<String> = Files::iter().map(Into::into).collect();
    // Style sheets last: they name fonts by their hashed addresses.
    names.sort_by_key(|name| (has_extension(name, "css"), name.clone()));
    let mut assets = HashMap::new();
    for name in names {
        let Some(file) = Files::get(&name) else { continue };
        let mut bytes = file.data.into_owned();
        if has_extension(&name, "css") {
            bytes = shorten(&name_fonts(&String::from_utf8_lossy(&bytes), &assets), true).into_bytes();
        } else if name == "app.js" {
            bytes = shorten(&String::from_utf8_lossy(&bytes), false).into_bytes();
        }
        let asset = Asset { url: hashed_url(&name, &bytes), kind: kind(&name), bytes, brotli: OnceLock::new(), gzip: OnceLock::new() };
        assets.insert(name, asset);
    }
    assets
});

/// Which file a hashed address means.
static BY_URL: LazyLock<HashMap<&'static str, &'static Asset>> = LazyLock::new(|| ASSETS.values().map(|asset| (asset.url.as_str(), asset)).collect());

/// The address of a file in `static/`, for a template; empty for an unknown one.
pub fn url(name: &str) -> &'static str {
    ASSETS.get(name).map_or("", |asset| &asset.url)
}

fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| end == extension)
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn hashed_url(name: &str, bytes: &[u8]) -> String {
    let hash: String = Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("/static/{stem}-{hash}.{extension}")
}

/// Gives fonts their hashed addresses.
fn name_fonts(css: &str, assets: &HashMap<String, Asset>) -> String {
    assets.iter().fold(css.to_owned(), |css, (name, asset)| css.replace(&format!("url(\"{name}\")"), &format!("url(\"{}\")", asset.url)))
}

/// Leaves out what nobody reads there: comments (in a script, those that begin a line), indents, empty lines, and in a style
/// sheet the blanks around punctuation.
fn shorten(text: &str, is_style: bool) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    bare.push_str(rest);
    let lines = bare.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    if !is_style {
        return lines.fold(String::new(), |text, line| text + line + "\n");
    }
    let mut style = lines.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    // None of these stands in a string or, with its blank, in a selector.
    for (long, short) in [(" {", "{"), ("{ ", "{"), (" }", "}"), ("} ", "}"), ("; ", ";"), (": ", ":"), (", ", ","), (";}", "}")] {
        style = style.replace(long, short);
    }
    style
}

impl Asset {
    fn brotli(&self) -> &[u8] {
        self.brotli.get_or_init(|| press::brotli_of(&self.bytes, 11, 22).unwrap_or_default())
    }

    fn gzip(&self) -> &[u8] {
        self.gzip.get_or_init(|| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            out.write_all(&self.bytes).and_then(|()| out.finish()).unwrap_or_default()
        })
    }
}

/// `GET /static/{name}`
pub async fn file(req: HttpRequest, _name: Path<String>, site: Data<Site>) -> HttpResponse {
    let Some(asset) = BY_URL.get(req.path()) else {
        let mut answer = HttpResponse::NotFound();
        return kept_to_its_kind(&mut answer, &site).content_type("text/plain").body("There is nothing here.\n");
    };
    let mut answer = HttpResponse::Ok();
    kept_to_its_kind(&mut answer, &site)
        .insert_header((header::CONTENT_TYPE, asset.kind))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::VARY, "Accept-Encoding"));
    let takes = |coding| press::takes(req.headers(), coding);
    let (coding, body): (_, &'static [u8]) = match () {
        () if asset.kind == "font/woff2" => (None, &asset.bytes), // compressed in itself
        () if takes("br") && !asset.brotli().is_empty() => (Some("br"), asset.brotli()),
        () if takes("gzip") && !asset.gzip().is_empty() => (Some("gzip"), asset.gzip()),
        () => (None, &asset.bytes),
    };
    if let Some(coding) = coding {
        answer.insert_header((header::CONTENT_ENCODING, coding));
    }
    answer.body(actix_web::web::Bytes::from_static(body))
}

fn kept_to_its_kind<'a>(answer: &'a mut HttpResponseBuilder, site: &Site) -> &'a mut HttpResponseBuilder {
    answer.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(header) = site.only_https() {
        answer.insert_header(header);
    }
    answer
}
