//! The files of `static/`, inside the binary. Their addresses carry a hash, so browsers may keep them for ever; each is
//! compressed once, when it is first asked for.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{LazyLock, OnceLock},
};

use actix_web::{HttpRequest, HttpResponse, http::header, web::Path};
use sha2::{Digest as _, Sha256};

use super::error::WebError;

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
            bytes = name_fonts(&String::from_utf8_lossy(&bytes), &assets).into_bytes();
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

/// Gives fonts their hashed addresses, and leaves out comments and indents, which nobody reads there.
fn name_fonts(css: &str, assets: &HashMap<String, Asset>) -> String {
    let mut css = css.to_owned();
    for (name, asset) in assets {
        css = css.replace(&format!("url(\"{name}\")"), &format!("url(\"{}\")", asset.url));
    }
    let mut short = String::with_capacity(css.len());
    let mut rest = css.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        short.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    short.push_str(rest);
    short.lines().map(str::trim).filter(|line| !line.is_empty()).fold(String::with_capacity(short.len()), |text, line| text + line + "\n")
}

impl Asset {
    fn brotli(&self) -> &[u8] {
        self.brotli.get_or_init(|| {
            let mut out = Vec::new();
            let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
            // Writing into memory does not fail; were it to, the file itself is sent.
            if brotli::BrotliCompress(&mut self.bytes.as_slice(), &mut out, &params).is_err() {
                out.clear();
            }
            out
        })
    }

    fn gzip(&self) -> &[u8] {
        self.gzip.get_or_init(|| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            out.write_all(&self.bytes).and_then(|()| out.finish()).unwrap_or_default()
        })
    }
}

/// `GET /static/{name}`
pub async fn file(req: HttpRequest, _name: Path<String>) -> Result<HttpResponse, WebError> {
    let asset = BY_URL.get(req.path()).ok_or(WebError::NotFound)?;
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, asset.kind))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::VARY, "Accept-Encoding"));
    let accepted = req.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes = |coding: &str| {
        accepted.split(',').any(|part| {
            part.split(';').next().is_some_and(|name| name.trim() == coding) && !part.contains("q=0,") && !part.trim_end().ends_with("q=0")
        })
    };
    let (coding, body): (_, &'static [u8]) = match () {
        () if asset.kind == "font/woff2" => (None, &asset.bytes), // compressed in itself
        () if takes("br") && !asset.brotli().is_empty() => (Some("br"), asset.brotli()),
        () if takes("gzip") && !asset.gzip().is_empty() => (Some("gzip"), asset.gzip()),
        () => (None, &asset.bytes),
    };
    if let Some(coding) = coding {
        answer.insert_header((header::CONTENT_ENCODING, coding));
    }
    Ok(answer.body(actix_web::web::Bytes::from_static(body)))
}
